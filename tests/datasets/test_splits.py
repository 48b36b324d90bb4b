"""Near-duplicates are found and stay on one side; distinct pictures are told apart."""

import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.sparse import coo_array
from sklearn.model_selection import StratifiedGroupKFold

from d2lstyle import read_image, sample
from d2lstyle.datasets import splits
from d2lstyle.datasets.splits import near_duplicate_groups, split_sides
from d2lstyle.images import resize

THREE = ("train", "validation", "test")
SHARES = (5 / 7, 1 / 7, 1 / 7)


def jpeg(image, quality):
    file = io.BytesIO()
    Image.fromarray((image[0] * 255).round().byte().permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
    return read_image(file)


VARIANTS = {
    "the same": lambda image: image,
    "encoded again": lambda image: jpeg(image, 50),
    "half as large": lambda image: jpeg(resize(image, image.shape[-1] // 2), 85),
    "enlarged": lambda image: jpeg(resize(image, (230, 230)), 85),
    "mirrored": lambda image: image.flip(3),
    "brighter": lambda image: image * 0.93 + 0.05,
    "darker": lambda image: image * 0.9,
    "all of it": lambda image: jpeg(resize((image * 0.95 + 0.03).flip(3), 100), 60),
}


def thumb(image):
    return F.interpolate(image, (16, 16), mode="area")[0]


def crops(side=140):
    """Distinct pictures: tiles of the photos that do not overlap; without the rocket's plain sky."""
    tiles = []
    for name in ("china", "flower", "coffee", "chelsea", "astronaut", "hopper", "galaxies", "brick", "grass", "gravel"):
        image = sample(name)
        for y in range(0, image.shape[2] - side + 1, side):
            tiles += [image[..., y : y + side, x : x + side] for x in range(0, image.shape[3] - side + 1, side)]
    return tiles


CROPS = crops()
STRUCTURED = [crop for crop in CROPS if crop.std() > 0.1 and crop.max() < 1.01][:40]


def test_distinct_pictures_are_not_merged():
    assert len(CROPS) > 90
    assert len(set(near_duplicate_groups(torch.stack([thumb(crop) for crop in CROPS])))) == len(CROPS)


@pytest.mark.parametrize("variant", VARIANTS)
def test_near_duplicates_are_found(variant):
    copies = [VARIANTS[variant](crop) for crop in STRUCTURED]
    groups = near_duplicate_groups(torch.stack([thumb(image) for image in STRUCTURED + copies]))
    n = len(STRUCTURED)
    assert len(set(groups)) == n and (groups[:n] == groups[n:]).all()


def test_featureless_pictures_are_told_apart_by_colour():
    colours = torch.tensor([(r, g, b) for r in (0, 0.5, 1) for g in (0, 0.5, 1) for b in (0, 0.5, 1)])
    flat = colours[:, :, None, None].expand(-1, 3, 16, 16)
    noise = 0.002 * torch.randn(flat.shape, generator=torch.Generator().manual_seed(0))
    groups = near_duplicate_groups(torch.cat([flat, (flat + noise).clamp(0, 1)]))
    assert len(set(groups)) == 27 and (groups[:27] == groups[27:]).all()


def test_groups_are_chains():
    """a like b and b like c: one group, though a and c may differ."""
    a = thumb(STRUCTURED[0]) * 0.6
    groups = near_duplicate_groups(torch.stack([a, a + 0.08, a + 0.16, thumb(STRUCTURED[1])]))
    assert groups[0] == groups[1] == groups[2] != groups[3]


def test_blocks_of_the_comparison_find_what_all_pairs_tell(monkeypatch):
    """In many blocks, the last of them short; and no more pairs in memory than are asked for."""
    rng = torch.Generator().manual_seed(0)
    thumbs = torch.rand(24, 3, 16, 16, generator=rng)[torch.randint(24, (300,), generator=rng)]
    thumbs = (thumbs + 0.22 * torch.rand(thumbs.shape, generator=rng)) * 0.8  # some copies are alike, some no more
    thumbs[::3] = thumbs[::3].flip(3)
    most, graphs = 300 * 7, []
    monkeypatch.setattr(splits, "_PAIRS", most)
    monkeypatch.setattr(splits, "coo_array", lambda *args, **kw: graphs.append(coo_array(*args, **kw)) or graphs[-1])
    groups = near_duplicate_groups(thumbs)
    assert len(graphs) > 40 and max(graph.nnz for graph in graphs) <= most
    values, flat = thumbs.double().numpy(), thumbs.flatten(2).double()
    centred = values - values.mean((2, 3), keepdims=True)
    # the constant that each vector holds, 0.01 for each of 768 values
    scalars = [np.einsum("ichw,jchw->ij", centred, other) + 0.01**2 * 768 for other in (centred, centred[..., ::-1])]
    norm = scalars[0].diagonal() ** 0.5
    colours, tolerance = flat.mean(2).numpy(), (0.02 + 3 * flat.std(2).mean(1)).clamp(max=0.12).numpy()
    close = abs(colours[:, None] - colours).max(2) < np.minimum(tolerance[:, None], tolerance)
    chained = close & (np.maximum(*scalars) > 0.95 * norm[:, None] * norm)
    pairs = chained.sum()
    for _ in range(9):  # chains of up to 2 ** 9
        chained = chained.astype(np.float32) @ chained > 0
    assert pairs < chained.sum() < 300**2 / 4 and 10 < len(set(groups)) < 200
    assert (chained == (groups[:, None] == groups)).all()


def counts(sides, labels):
    """Per class, how many images are on each side."""
    return [[int((sides[labels == label] == side).sum()) for side in THREE] for label in np.unique(labels)]


@pytest.mark.parametrize(
    "first, second, expected",
    [
        (3, 3, [[1, 1, 1], [1, 1, 1]]),
        (5, 7, [[3, 1, 1], [5, 1, 1]]),
        (4, 140, [[2, 1, 1], [100, 20, 20]]),  # a small class does not change the shares of a large one
        (70, 7, [[50, 10, 10], [5, 1, 1]]),
    ],
)
def test_shares_of_each_class(first, second, expected):
    labels = np.repeat([0, 1], [first, second])
    assert counts(split_sides(labels, np.arange(len(labels)), THREE, 0, ["a", "b"]), labels) == expected


@pytest.mark.parametrize("seed", range(3))
def test_groups_stay_whole_and_shares_hold(seed):
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1, 2], (100, 200, 150))
    groups = 1000 * labels + rng.integers(0, 60, len(labels))  # up to eight images each
    groups[[0, 100]] = 5000  # one that spans two classes
    sides = split_sides(labels, groups, THREE, seed, ["a", "b", "c"])
    assert all(len(set(sides[groups == group])) == 1 for group in groups)
    for images in counts(sides, labels):
        assert np.array(images) / sum(images) == pytest.approx(SHARES, abs=0.03)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("count", [2, 7])
def test_folds_are_as_even_as_scikit_learns(count, seed):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat([0, 1, 2, 3], (40, 90, 150, 7)))
    groups = 1000 * labels + (rng.integers(0, 40, len(labels)) * rng.random(len(labels))).astype(int)
    folds, expected = splits.folds(labels, groups, count, seed), np.empty(len(labels), int)
    folder = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    for number, (_, rows) in enumerate(folder.split(labels, labels, groups)):
        expected[rows] = number
    ours, theirs = np.zeros((2, 4, count), int)
    np.add.at(ours, (labels, folds), 1)
    np.add.at(theirs, (labels, expected), 1)
    assert (np.sort(ours) == np.sort(theirs)).all() and np.ptp(ours.sum(0)) <= np.ptp(theirs.sum(0)) + 1
    assert all(len(set(folds[groups == group])) == 1 for group in groups)


def test_the_largest_group_goes_to_train():
    labels, groups = np.repeat([0, 1], 100), np.concatenate([np.zeros(60), np.arange(1, 141)])
    for seed in range(5):
        assert split_sides(labels, groups, THREE, seed, ["a", "b"])[0] == "train"


def test_a_seed_is_one_split_whatever_the_numbers_of_the_groups():
    labels, groups = np.repeat([0, 1], 30), np.arange(60)
    splits = [tuple(split_sides(labels, groups, THREE, seed, ["a", "b"])) for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]
    assert tuple(split_sides(labels, 7 * groups - 3, THREE, 0, ["a", "b"])) == splits[0]


def test_a_class_without_a_group_of_its_own_is_refused():
    with pytest.raises(ValueError, match="class 'b' has images of 0 kinds .* needs 3"):
        split_sides(np.array([0, 0, 0, 1, 1, 1]), np.zeros(6), THREE, 0, ["a", "b"])
