"""The pictures of the experiment, on a class folder of tiny photos: whose copies they are, and that no side leaks."""

import hashlib
import json
import shutil
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch

from d2lstyle import load_dataset, read_image, sample, write_image
from d2lstyle.datasets.loading import draw_per_class
from d2lstyle.experiment import pool
from d2lstyle.experiment.arms import Colors, Copies, color_statistics
from d2lstyle.experiment.plan import Plan
from d2lstyle.experiment.pool import RECOLOUR_STRENGTHS, Pool, build_pool, check_sides, load_pool, save_pool, strongest
from d2lstyle.folders.painting import read_manifest
from d2lstyle.images import resize
from d2lstyle.samples.styles import named_styles

SIDES = {"train": 6, "validation": 3, "test": 5}  # photos of each class
STYLES = ("starry", "mosaic")
TINY = Plan(
    seeds=2,
    per_class=(2, 3),
    models=("scratch",),
    arms=("A", "B", "C", "D", "E"),
    size=32,
    paint_size=40,
    copies=2,
    styles=STYLES,
    method="fast",
    paint_steps=2,
    strengths=(0.3, 1.0),
    validation=2,
    steps=(4, 3),
    batch=6,
)


def photo_of(number, side=44):
    """Another piece of a photo for each number."""
    left, top = 37 * number % 500, 53 * number % 300
    return resize(sample("coffee")[..., top : top + 96, left : left + 96], (side, side + 4))


def draw_folder(folder):
    """A class folder of cats and cups, train, validation and test, no two photos alike."""
    number = 0
    for side, count in SIDES.items():
        for name in ("cat", "cup"):
            (folder / side / name).mkdir(parents=True)
            for i in range(count):
                write_image(photo_of(number := number + 1), folder / side / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return draw_folder(tmp_path_factory.mktemp("pool") / "photos")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Where the copies are written, one folder for both pools."""
    return tmp_path_factory.mktemp("copies")


@pytest.fixture(scope="module")
def fast(data, work):
    return build_pool(replace(TINY, data=str(data)), data.parent, work, workers=1)


@pytest.fixture(scope="module")
def optimised(data, work, fast):
    """Made after the other one, in the same folder."""
    return build_pool(replace(TINY, data=str(data), method="optimise"), data.parent, work, workers=1)


@pytest.fixture(scope="module")
def painter(data, work):
    return pool._Painter(replace(TINY, data=str(data)), work, 1, lambda *_: None)


def as_bytes(images):
    return (images * 255).round().to(torch.uint8)


def side_of(data, split):
    """(dataset at 40 pixels, its pictures at 32 pixels as bytes, one by one)."""
    dataset = load_dataset(str(data), split, size=40)
    return dataset, torch.cat([as_bytes(resize(image[None], (32, 32))) for image, _ in dataset])


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def rows_in(work, name):
    """The manifest of one folder of copies: {(source, copy): row}."""
    return {(row["source"], row["copy"]): row for row in read_manifest(work / "photos 40 px" / name)}


# the whole


def test_photos_and_tests_are_those_of_the_data_set(fast, data):
    train, photos = side_of(data, "train")
    test, tests = side_of(data, "test")
    used = torch.cat(
        [draw_per_class(train.labels, n, seed, train.classes) for seed in range(2) for n in (2, 3)]
    ).unique()
    assert fast.classes == ["cat", "cup"] and torch.equal(fast.copies.photos, photos[used])
    assert torch.equal(fast.copies.labels, train.labels[used]) and not torch.equal(
        train.labels[used], train.labels[: len(used)]
    )
    assert list(fast.tests) == ["test"] and torch.equal(fast.tests["test"][0], tests)
    assert torch.equal(fast.tests["test"][1], test.labels) and test.labels.tolist() == [0] * 5 + [1] * 5


def test_each_seed_draws_its_own_photos_and_fewer_are_among_more(fast, data):
    train, photos = side_of(data, "train")
    assert set(fast.rows) == {(seed, n) for seed in (0, 1) for n in (2, 3)}
    for (seed, n), rows in fast.rows.items():
        drawn = draw_per_class(train.labels, n, seed, train.classes)
        assert torch.equal(fast.copies.photos[rows], photos[drawn]) and torch.equal(
            fast.copies.labels[rows], train.labels[drawn]
        )
        assert torch.bincount(fast.copies.labels[rows]).tolist() == [n, n]
        assert {*fast.rows[seed, 2].tolist()} <= {*fast.rows[seed, 3].tolist()}
    assert fast.rows[0, 3].tolist() != fast.rows[1, 3].tolist()


def test_copies_belong_to_their_own_photos(fast, work, data):
    """Each is the file that the manifest names for the photo, at the size trained on."""
    photos, n = fast.copies.photos, len(fast.copies.photos)
    assert {kind: each.shape for kind, each in fast.copies.of.items()} == {
        "styled": (n, 2, 3, 32, 32),
        "recoloured": (n, 2, 3, 32, 32),
        "unpainted": (n, 1, 3, 32, 32),
    }
    assert all(each.dtype == torch.uint8 for each in (photos, *fast.copies.of.values()))
    train, all_photos = side_of(data, "train")
    digests = {
        all_photos[i].numpy().tobytes(): hashlib.sha256(as_bytes(image).numpy().tobytes()).hexdigest()[:16]
        for i, (image, _) in enumerate(train)
    }
    for kind, name in (("styled", f"train fast {fast.chosen['styled']:g} x2"), ("unpainted", "train fast 0 x1")):
        rows, folder = rows_in(work, name), work / "photos 40 px" / name
        for photo, label, copies in zip(photos, fast.copies.labels, fast.copies.of[kind]):
            source = f"{fast.classes[label]}/{digests[photo.numpy().tobytes()]}.png"
            for number, copy in enumerate(copies):
                row = rows[source, number]
                assert row["method"] == "fast" and row["alpha"] == (fast.chosen["styled"] if kind == "styled" else 0)
                assert torch.equal(copy[None], as_bytes(resize(read_image(folder / row["file"]), (32, 32))))


def test_painted_copies_are_like_their_own_photo_and_unlike_each_other(optimised):
    photos, copies = optimised.copies.photos.double(), optimised.copies.of["styled"].double()
    apart = (copies[:, :, None] - photos[None, None]).abs().mean((3, 4, 5))  # photo, copy, photo
    assert (apart.argmin(2) == torch.arange(len(photos))[:, None]).all()
    assert ((copies[:, 0] - copies[:, 1]).abs().amax((1, 2, 3)) > 2).sum() > len(
        photos
    ) / 2  # some have one style in both


def test_the_optimisation_at_strength_zero_gives_the_photos_back_bit_for_bit(optimised, fast):
    assert torch.equal(optimised.copies.of["unpainted"][:, 0], optimised.copies.photos)
    assert not torch.equal(fast.copies.of["unpainted"][:, 0], fast.copies.photos)  # what the fast network cannot do
    assert torch.equal(optimised.copies.photos, fast.copies.photos)


def test_the_referee_chooses_the_strength(fast, optimised):
    for each in (fast, optimised):
        found = [(row["kind"], row["strength"]) for row in each.strengths]
        assert found == [
            ("photos", 0),
            ("styled", 0.3),
            ("styled", 1),
            *(("recoloured", s) for s in RECOLOUR_STRENGTHS),
        ]
        assert all(row["preserved"] in (0, 0.25, 0.5, 0.75, 1) for row in each.strengths)  # of two photos of each class
        assert each.chosen == {
            kind: strongest(each.strengths, kind, TINY.preserved) for kind in ("styled", "recoloured")
        }


def test_seconds_are_the_manifests_mean(fast, work):
    for kind, name in (("styled", f"train fast {fast.chosen['styled']:g} x2"), ("unpainted", "train fast 0 x1")):
        seconds = [row["seconds"] for row in rows_in(work, name).values()]
        assert fast.seconds[kind] == pytest.approx(sum(seconds) / len(seconds)) and fast.seconds[kind] > 0
    assert (
        pool._mean([{"seconds": None}, {"seconds": 2}, {"seconds": 4}]) == 3 and pool._mean([{"seconds": None}]) is None
    )


def test_a_second_call_paints_nothing_and_gives_the_same(fast, data, work):
    before, seen = files_of(work), []
    again = build_pool(
        replace(TINY, data=str(data)), data.parent, work, workers=1, callback=lambda *what: seen.append(what)
    )
    after = files_of(work)
    assert {name for name in after if after[name] != before[name]} <= {
        name for name in after if name.endswith("manifest.jsonl")
    }
    assert_same_pool(fast, again)
    assert {"train", "validation", "test", "referee"} <= {what for what, *_ in seen}
    assert all(0 < done <= total for _, done, total in seen)


def test_more_seeds_leave_the_photos_and_copies_of_the_others_as_they_were(fast, data, work):
    """A row of a run must not depend on how many others there are, for its recipe does not tell."""
    more = build_pool(
        replace(TINY, data=str(data), seeds=3, per_class=(3,), arms=("A", "C")), data.parent, work, workers=1
    )
    assert set(more.copies.of) == set(more.seconds) | {"recoloured"} == {"styled", "recoloured"}  # what those arms need
    assert (
        more.chosen == fast.chosen and more.strengths == fast.strengths and set(more.rows) == {(0, 3), (1, 3), (2, 3)}
    )
    for seed in (0, 1):
        rows, others = fast.rows[seed, 3], more.rows[seed, 3]
        assert torch.equal(fast.copies.photos[rows], more.copies.photos[others])
        assert torch.equal(fast.copies.labels[rows], more.copies.labels[others])
        for kind in more.copies.of:
            assert torch.equal(fast.copies.of[kind][rows], more.copies.of[kind][others])


def assert_same_pool(one, other):
    assert one.classes == other.classes and one.strengths == other.strengths and one.chosen == other.chosen
    assert (
        one.seconds == other.seconds and one.rows.keys() == other.rows.keys() and one.tests.keys() == other.tests.keys()
    )
    pairs = [(one.copies.photos, other.copies.photos), (one.copies.labels, other.copies.labels)]
    pairs += [(one.rows[key], other.rows[key]) for key in one.rows]
    pairs += [pair for name in one.tests for pair in zip(one.tests[name], other.tests[name])]
    assert one.copies.of.keys() == other.copies.of.keys()
    pairs += [(one.copies.of[kind], other.copies.of[kind]) for kind in one.copies.of]
    assert all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)


def test_a_pool_comes_back_from_its_file(fast, tmp_path):
    save_pool(fast, tmp_path / "pool.pt")
    found = load_pool(tmp_path / "pool.pt")
    assert isinstance(found, Pool) and isinstance(found.copies, Copies)
    assert_same_pool(fast, found)
    assert [path.name for path in tmp_path.iterdir()] == ["pool.pt"]


def test_a_pool_that_cannot_be_written_whole_leaves_the_old_one(fast, tmp_path, monkeypatch):
    save_pool(fast, tmp_path / "pool.pt")

    def fail(state, path):
        Path(path).write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="no space"):
        save_pool(fast._replace(classes=["x"]), tmp_path / "pool.pt")
    assert load_pool(tmp_path / "pool.pt").classes == ["cat", "cup"]


def test_a_photo_of_the_test_side_among_the_training_photos_is_refused(data, tmp_path):
    shutil.copytree(data, tmp_path / "photos")
    shutil.copy(tmp_path / "photos" / "test" / "cup" / "3.png", tmp_path / "photos" / "train" / "cat" / "new.png")
    with pytest.warns(UserWarning, match="1 files of test are in train too"):
        with pytest.raises(
            ValueError, match="a picture of the train side lies on the test side, too: remove it from one of them"
        ):
            build_pool(replace(TINY, data=str(tmp_path / "photos")), tmp_path, tmp_path / "work", workers=1)
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    "change, words",
    [
        ({"per_class": (2, 7)}, "expected per_class of at most 6, the images of class 'cat', got 7"),
        ({"styles": ("stary",)}, "'starry'"),
        ({"data": "nowhere"}, "unknown dataset 'nowhere'"),
    ],
)
def test_what_cannot_be_built_is_said_before_anything_is_painted(data, tmp_path, change, words):
    with pytest.raises(ValueError, match=words):
        build_pool(replace(TINY, **{"data": str(data)} | change), tmp_path, tmp_path / "work", workers=1)
    assert not (tmp_path / "work").exists()


# sides


def test_a_picture_on_two_sides_is_found():
    images = torch.randint(0, 256, (9, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    sides = {"train": images[:4], "validation": images[4:6], "test": images[6:]}
    assert check_sides(sides) is None
    assert check_sides(sides | {"train": images[[0, 1, 1, 2]]}) is None  # twice on one side is no leak
    almost = images[3:4].clone()
    almost[0, 2, 7, 7] ^= 1
    assert check_sides(sides | {"test": torch.cat([images[6:], almost])}) is None
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        with pytest.raises(ValueError, match=f"a picture of the {one} side lies on the {other} side, too"):
            check_sides(sides | {other: torch.cat([sides[other], sides[one][-1:]])})


# strength


def found_at(**preserved):
    return [{"kind": "styled", "strength": float(name[1:]) / 10, "preserved": part} for name, part in preserved.items()]


@pytest.mark.parametrize(
    "found, expected",
    [
        (found_at(s1=1.0, s3=0.95, s10=0.5), 0.3),
        (found_at(s1=1.0, s3=0.9, s10=0.5), 0.3),  # as many as wanted are enough
        (found_at(s1=1.0, s3=0.5, s10=0.92), 1.0),
        (found_at(s10=0.92, s1=1.0, s3=0.5), 1.0),  # the strongest, wherever it stands
        (found_at(s3=0.2, s1=0.3, s10=0.89), 0.1),
        (found_at(s3=0.95), 0.3),
        (found_at(s3=0.1), 0.3),  # none is good enough
    ],
)
def test_the_strongest_that_keeps_the_labels(found, expected):
    others = [
        {"kind": "photos", "strength": 0.0, "preserved": 1.0},
        {"kind": "recoloured", "strength": 5.0, "preserved": 1.0},
    ]
    assert strongest(others + found, "styled", 0.9) == expected


class First(torch.nn.Module):
    """A referee whose scores are the first channel's first two pixels."""

    def __init__(self):
        super().__init__()
        self.none = torch.nn.Parameter(torch.zeros(1))

    def forward(self, images):
        return images[:, 0, 0, :2]


def pictures_of(labels):
    """Pictures that `First` takes for these classes, as bytes."""
    images = torch.zeros(len(labels), 3, 32, 32, dtype=torch.uint8)
    images[torch.arange(len(labels)), 0, 0, labels] = 200
    return images


def test_the_part_told_is_the_referees_accuracy():
    labels = torch.arange(40) % 2
    images = pictures_of(labels)
    assert pool._told(First(), images, labels) == 1
    labels[:10] = 1 - labels[:10]
    assert pool._told(First(), images, labels) == 0.75


def test_the_referee_is_asked_of_each_strength_and_of_its_own_pictures(data):
    """A painter whose pictures lose the class of one photo of four at 0.3, and of all at 1; recoloured ones at 1 alone."""
    validation = load_dataset(str(data), "validation", size=40)
    few = draw_per_class(validation.labels, 2, 0, validation.classes)
    lost = {0.1: 0, 0.3: 1, 1.0: 4}

    class Painter:
        plan = replace(TINY, strengths=(0.1, 0.3, 1.0), preserved=0.75)
        calls = []

        def painted(self, photos, name, strength, n):
            assert (name, n) == ("validation", 1) and torch.equal(
                photos.batch(range(4))[0], validation.batch(few.tolist())[0]
            )
            self.calls.append(strength)
            labels = photos.labels.clone()
            labels[: lost[strength]] = 1 - labels[: lost[strength]]
            return pictures_of(labels)[:, None], ["the rows"]

        def recoloured(self, photos, rows, strength):
            assert rows == ["the rows"]
            return pictures_of(1 - photos.labels if strength == 1 else photos.labels)[:, None]

    found, chosen = pool._choose(Painter(), First(), validation)
    assert [(row["strength"], row["preserved"]) for row in found if row["kind"] == "styled"] == [
        (0.1, 1),
        (0.3, 0.75),
        (1, 0),
    ]
    assert [row["preserved"] for row in found if row["kind"] == "recoloured"] == [1, 1, 1, 1, 0]
    assert chosen == {"styled": 0.3, "recoloured": 0.75} and Painter.calls == [0.1, 0.3, 1]
    photos = torch.cat([as_bytes(resize(validation[i][0][None], (32, 32))) for i in few])
    assert found[0] == {
        "kind": "photos",
        "strength": 0,
        "preserved": pool._told(First(), photos, validation.labels[few]),
    }


# the painter


def test_a_path_is_a_photos_own_in_any_company(data, painter):
    train = load_dataset(str(data), "train", size=40)
    paths = painter._paths(train)
    assert len(set(paths)) == 12 and [path.split("/")[0] for path in paths] == ["cat"] * 6 + ["cup"] * 6
    assert painter._paths(train.subset([9, 0, 3])) == [paths[9], paths[0], paths[3]]
    assert not set(paths) & set(painter._paths(load_dataset(str(data), "test", size=40)))


def test_the_photos_are_painted_as_they_are(data, painter, fast, work):
    """The exported files hold the pixels of the data set; the same ones painted before are not written again."""
    validation = load_dataset(str(data), "validation", size=40)
    few = validation.subset(draw_per_class(validation.labels, 2, 0, validation.classes))
    before = files_of(work)
    source = painter._export(few, "validation")
    assert files_of(work) == before
    for (image, label), path in zip(few, painter._paths(few)):
        assert torch.equal(read_image(source / path)[0], image) and path.startswith(few.classes[label])


def test_any_subset_in_any_order_gets_its_own_copies(data, painter, fast, work):
    train, strength = load_dataset(str(data), "train", size=40), fast.chosen["styled"]
    used = torch.cat(
        [draw_per_class(train.labels, n, seed, train.classes) for seed in range(2) for n in (2, 3)]
    ).unique()
    order = [5, 0, 7]
    images, rows = painter.painted(train.subset(used[order]), "train", strength, 2)
    assert torch.equal(images, fast.copies.of["styled"][order])
    assert [(row["source"], row["copy"]) for row in rows] == [
        (path, copy) for path in painter._paths(train.subset(used[order])) for copy in (0, 1)
    ]


def test_photos_that_cannot_be_painted_are_an_error_that_names_one(data, tmp_path):
    small = pool._Painter(replace(TINY, data=str(data)), tmp_path, 1, lambda *_: None)
    with pytest.raises(
        ValueError, match="4 photos could not be painted, such as .*at least 32 x 32 pixels, got 24 x 24"
    ):
        small.painted(load_dataset(str(data), "train", size=24).subset([0, 1, 6, 7]), "train", 0.3, 1)


def test_recoloured_at_strength_zero_is_the_photo(data, painter, work, fast):
    train, photos = side_of(data, "train")
    images, rows = painter.painted(train.subset([1, 8]), "train", fast.chosen["styled"], 2)
    out = painter.recoloured(train.subset([1, 8]), rows, 0)
    assert out.shape == (2, 2, 3, 32, 32) and torch.equal(out, photos[[1, 8]][:, None].expand(-1, 2, -1, -1, -1))
    assert not torch.equal(images, out)


def test_recoloured_copies_take_the_colours_of_their_own_mixture(data, painter, work, fast):
    """By numpy and scipy, from the shares in the manifest."""
    train, _ = side_of(data, "train")
    photos = train.subset([1, 8, 10])
    _, rows = painter.painted(photos, "train", fast.chosen["styled"], 2)
    shares = {key: row["styles"] for key, row in rows_in(work, f"train fast {fast.chosen['styled']:g} x2").items()}
    assert len({json.dumps(shares[row["source"], row["copy"]]) for row in rows}) == 6
    pixels = [picture[0].flatten(1).double().numpy() for picture in named_styles(list(STYLES)).values()]
    out = painter.recoloured(photos, rows, 0.8)
    for i, path in enumerate(painter._paths(photos)):
        image = photos[i][0].flatten(1).double().numpy()
        for copy in (0, 1):
            parts = np.array([shares[path, copy].get(f"style {s}", 0) for s in range(2)])
            weights = np.concatenate(
                [np.full(each.shape[1], part / each.shape[1]) for each, part in zip(pixels, parts)]
            )
            target = np.concatenate(pixels, axis=1)
            mean, covariance = np.average(target, axis=1, weights=weights), np.cov(target, aweights=weights, bias=True)
            root = scipy.linalg.sqrtm(np.cov(image, bias=True) + 1e-6 * np.eye(3))
            move = np.linalg.inv(root) @ scipy.linalg.sqrtm(root @ covariance @ root).real @ np.linalg.inv(root)
            moved = move @ (image - image.mean(1, keepdims=True)) + mean[:, None]
            moved = (0.2 * image + 0.8 * moved).clip(0, 1).reshape(1, 3, 40, 40)
            expected = resize(torch.from_numpy(moved).float(), (32, 32))[0]
            assert (out[i, copy] / 255 - expected).abs().max() < 1 / 255
    found = color_statistics(painter.recoloured(photos, rows, 1.0).flatten(0, 1) / 255).mean
    assert (found[0] - found[1]).abs().max() > 0.02  # two copies of one photo, in other mixtures


def test_recoloured_copies_of_the_pool_have_the_shares_of_the_painted_ones(data, painter, work, fast):
    train = load_dataset(str(data), "train", size=40)
    used = torch.cat(
        [draw_per_class(train.labels, n, seed, train.classes) for seed in range(2) for n in (2, 3)]
    ).unique()
    by_key = rows_in(work, f"train fast {fast.chosen['styled']:g} x2")
    rows = [by_key[path, copy] for path in painter._paths(train.subset(used)) for copy in (0, 1)]
    assert torch.equal(
        fast.copies.of["recoloured"], painter.recoloured(train.subset(used), rows, fast.chosen["recoloured"])
    )


def test_many_pictures_are_recoloured_as_a_few_are(data, painter):
    """More than one part of 256: the parts take their own targets."""
    train = load_dataset(str(data), "train", size=40)
    many = train.subset(np.arange(150) % 12)
    rng = np.random.default_rng(0)
    rows = [{"styles": {"style 0": float(part), "style 1": 1 - float(part)}} for part in rng.random(300)]
    together = painter.recoloured(many, rows, 1.0)
    for i in (0, 127, 128, 149):
        alone = painter.recoloured(many.subset([i]), rows[2 * i : 2 * i + 2], 1.0)
        assert (together[i].int() - alone[0].int()).abs().max() <= 1


def test_the_colours_of_the_styles_are_kept_once_each(painter):
    expected = [color_statistics(picture) for picture in named_styles(list(STYLES)).values()]
    assert isinstance(painter.colors, Colors) and painter.colors.mean.shape == (2, 3)
    for i, each in enumerate(expected):
        assert torch.equal(painter.colors.mean[i : i + 1], each.mean)
        assert torch.equal(painter.colors.covariance[i : i + 1], each.covariance)


# the recipe


OTHER = {
    "data": "cifar10",
    "size": 33,
    "paint_size": 41,
    "copies": 3,
    "p": 0.4,
    "styles": ("starry",),
    "mixture": 0.3,
    "method": "optimise",
    "paint_steps": 3,
    "strengths": (0.3,),
    "preserved": 0.8,
    "validation": 1,
    "steps": (4, 4),
    "batch": 7,
    "lr": (1e-3, 1e-4),
    "frozen": 4,
}
EXTENT = {"seeds": 9, "per_class": (2,), "models": ("fine-tuned",), "arms": ("A",)}


def test_the_recipe_tells_what_a_row_depends_on_and_nothing_else():
    assert OTHER.keys() | EXTENT.keys() == {field.name for field in fields(Plan)}
    assert all(getattr(TINY, name) != value for name, value in (OTHER | EXTENT).items())
    recipes = [replace(TINY, **{name: value}).recipe() for name, value in OTHER.items()]
    assert len({TINY.recipe(), *recipes}) == len(OTHER) + 1
    assert {replace(TINY, **{name: value}).recipe() for name, value in EXTENT.items()} == {TINY.recipe()}
