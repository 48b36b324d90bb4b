"""Dividing images among train, validation and test so that no image has a near-duplicate on another side."""

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

_FOLDS = 7  # validation and test are one of them each: 14 %
_PAIRS = 1 << 22  # compared at once, so that the memory does not grow with the number of pairs


def near_duplicate_groups(thumbs):
    """(N,) numbers of (N, 3, 16, 16) thumbnails: one for near-duplicates, and for what is like one of them.

    Two are near-duplicates if they, or one and the mirrored other, correlate by 0.95 and their mean colours are close.
    Of 435 crops of the embedded photos this takes four for one another, all of them plain sky.
    """
    # The correlation knows no brightness: the colour decides, more strictly the less contrast there is.
    colours, contrast = thumbs.mean((2, 3)), thumbs.flatten(2).std(2).mean(1)
    tolerance = (0.02 + 3 * contrast).clamp(max=0.12)
    upright, groups = _directions(thumbs), np.arange(len(thumbs))
    for rows in torch.arange(len(thumbs), device="cpu").split(max(1, _PAIRS // len(thumbs))):
        later = slice(int(rows[0]), None)  # who comes before has been compared with these
        mirrored = _directions(thumbs[rows].flip(3))
        alike = torch.maximum(upright[rows] @ upright[later].T, mirrored @ upright[later].T) > 0.95
        apart = torch.cdist(colours[rows], colours[later], p=float("inf"))
        close = apart < torch.minimum(tolerance[rows, None], tolerance[later])
        i, j = groups[(alike & close).nonzero().T.numpy() + later.start]
        graph = coo_array((np.ones(len(i), bool), (i, j)), shape=(len(thumbs), len(thumbs)))
        groups = connected_components(graph, directed=False)[1][groups]
    return groups


def _directions(thumbs):
    """Unit vectors; a constant joins each, which outweighs what little structure a featureless image has."""
    centred = (thumbs - thumbs.mean((2, 3), keepdim=True)).flatten(1)
    constant = centred.new_full((len(thumbs), 1), 0.01 * centred.shape[1] ** 0.5)
    return F.normalize(torch.cat([centred, constant], 1), dim=1)


def split_sides(labels, groups, sides, seed, classes):
    """The side of each image, (N,) names: groups stay whole, and every class is on every side, else a ValueError.

    Each side but the first has a fold of seven, or of fewer where a class has fewer groups; a group that spans classes
    counts as its first image's.
    """
    _, firsts, groups = np.unique(groups, return_index=True, return_inverse=True)
    kinds = np.bincount(labels[firsts], minlength=len(classes))
    if kinds.min() < len(sides):
        raise ValueError(
            f"class {classes[kinds.argmin()]!r} has images of {kinds.min()} kinds that are not near-duplicates, an "
            f"automatic split needs {len(sides)}: add some, or make the folders train, validation and test yourself"
        )
    labels = labels[firsts][groups]
    counts = kinds.clip(max=_FOLDS)[labels]
    side_of_image = np.full(len(labels), sides[0], dtype=object)
    for count in np.unique(counts):
        rows = np.flatnonzero(counts == count)
        held_out = folds(labels[rows], groups[rows], count, seed) - count + len(sides)
        side_of_image[rows] = np.array(sides, dtype=object)[held_out.clip(min=0)]  # the first have the largest groups
    return side_of_image


def folds(labels, groups, count, seed):
    """(N,) numbers below `count`: the large groups first, each to the fold that has the least of its label, and of all.

    For groups of one label this is scikit-learn's StratifiedGroupKFold, but for ties, in a hundredth of the time.
    """
    _, firsts, groups, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    shuffled = np.random.RandomState(seed).permutation(len(sizes))
    filled, fold = np.zeros((labels.max() + 1, count)), np.empty(len(sizes), int)
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        label = labels[firsts[group]]
        fold[group] = np.lexsort((filled.sum(0), filled[label]))[0]
        filled[label, fold[group]] += sizes[group]
    return fold[groups]
