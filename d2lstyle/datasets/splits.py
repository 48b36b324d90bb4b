"""Dividing images among train, validation and test so that no image has a near-duplicate on another side."""

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def near_duplicate_groups(thumbs):
    """Give near-duplicates the same number, and what is like a near-duplicate of them too.

    Two are near-duplicates if their thumbnails, or one and the mirrored other, correlate by 0.95 and their mean
    colours are close. The correlation knows no brightness; the constant that joins it outweighs what little a
    featureless image has, so that of those the colour decides, more strictly the less contrast there is.

    Args:
        thumbs: (N, 3, H, W) thumbnails in [0, 1], all of one size, 16 x 16 or about.
    Returns:
        (N,) integers.

    Source: ours. Of 435 crops of the embedded photos four are taken for one another, all of them plain sky.
    """
    colours, contrast = thumbs.mean((2, 3)), thumbs.flatten(2).std(2).mean(1)
    tolerance = (0.02 + 3 * contrast).clamp(max=0.12)
    ours, mirrored = _directions(thumbs), _directions(thumbs.flip(3))
    pairs = []
    for rows in torch.arange(len(thumbs)).split(1024):
        alike = torch.maximum(ours[rows] @ ours.T, ours[rows] @ mirrored.T) > 0.95
        apart = torch.cdist(colours[rows], colours, p=float("inf"))
        close = apart < torch.minimum(tolerance[rows, None], tolerance)
        pairs.append((alike & close).nonzero() + torch.tensor([rows[0], 0]))
    i, j = torch.cat(pairs).T.numpy()
    graph = coo_array((np.ones(len(i), bool), (i, j)), shape=(len(thumbs), len(thumbs)))
    return connected_components(graph, directed=False)[1]


def _directions(thumbs):
    centred = (thumbs - thumbs.mean((2, 3), keepdim=True)).flatten(1)
    constant = torch.full((len(thumbs), 1), 0.01 * centred.shape[1] ** 0.5)
    return F.normalize(torch.cat([centred, constant], 1), dim=1)


def split_sides(labels, groups, shares, seed, classes):
    """Deal images out to sides, whole groups at a time, in equal shares of every class.

    Class by class, the largest group first, each to the side that still lacks most; no side goes without the class.

    Args:
        labels: (N,) integers, positions in `classes`.
        groups: (N,) integers; a group that spans classes counts as its first image's.
        shares: {side: its part of the images}, which add up to one.
        seed: of the order among groups of one size.
        classes: names.
    Returns:
        the side of each image, a list.
    Raises:
        ValueError: a class has fewer groups than there are sides.
    """
    rng = np.random.default_rng(seed)
    numbers, firsts, sizes = np.unique(groups, return_index=True, return_counts=True)
    side_of = {}
    for label, name in enumerate(classes):
        own = rng.permutation(np.flatnonzero(labels[firsts] == label))
        own = own[np.argsort(-sizes[own], kind="stable")]
        if len(own) < len(shares):
            raise ValueError(
                f"class {name!r} has images of {len(own)} kinds that are not near-duplicates, an automatic split "
                f"needs {len(shares)}: add some, or make the folders train, validation and test yourself"
            )
        lacking = {side: share * sizes[own].sum() for side, share in shares.items()}
        empty = set(shares)
        for left, group in zip(range(len(own), 0, -1), own):
            open_sides = [side for side in shares if side in empty or left > len(empty)]
            side = max(open_sides, key=lacking.get)
            lacking[side] -= sizes[group]
            empty.discard(side)
            side_of[numbers[group]] = side
    return [side_of[group] for group in groups]
