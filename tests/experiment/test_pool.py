"""The pictures of the experiment, on a class folder of tiny photos: whose copies they are, and that no side leaks."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from shared_helpers import manifest_of, photo_of

from d2lstyle import backbone, load_dataset, painting, read_image, write_image
from d2lstyle.datasets.loading import draw_per_class
from d2lstyle.experiment import Plan, pool
from d2lstyle.experiment.arms import color_statistics
from d2lstyle.experiment.pool import (
    RECOLOUR_STRENGTHS,
    CopyMaker,
    build_pool,
    check_sides,
    load_pool,
    load_sides,
    strongest,
)
from d2lstyle.images import resize

SIDES = {"train": 6, "validation": 3, "test": 5}  # photos of each class
TINY = Plan(
    seeds=2,
    per_class=(2, 3),
    models=("scratch",),
    arms=("A", "B", "C", "D", "E"),
    size=32,
    paint_size=40,
    copies=2,
    method="fast",
    paint_steps=2,
    strengths=(0.3, 1.0),
    validation=2,
    steps=(4, 2),
    batch=6,
)


def tiny_plan(folder):
    """`TINY` of a new class folder of cats and cups, no two photos alike, and of two small styles."""
    number = 0
    for side, count in SIDES.items():
        for name in ("cat", "cup"):
            (folder / side / name).mkdir(parents=True)
            for i in range(count):
                write_image(photo_of(number := number + 1, 44, 48), folder / side / name / f"{i}.png")
    styles = [folder.parent / f"{name}.png" for name in ("starry", "mosaic")]
    for style in styles:
        write_image(painting(style.stem, 48), style)
    return replace(TINY, data=str(folder), styles=tuple(map(str, styles)))


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return tiny_plan(tmp_path_factory.mktemp("pool") / "photos")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Where the copies are written, one folder for both pools."""
    return tmp_path_factory.mktemp("copies")


@pytest.fixture(scope="module")
def fast(plan, work):
    return build_pool(plan, load_sides(plan, "."), work, workers=1)


@pytest.fixture(scope="module")
def optimised(plan, work, fast):
    """Made after the other one, in the same folder."""
    return build_pool(replace(plan, method="optimise"), load_sides(plan, "."), work, workers=1)


@pytest.fixture(scope="module")
def maker(plan, work):
    return CopyMaker(plan, work, 1, lambda *_: None)


@pytest.fixture(scope="module")
def train(plan):
    return load_dataset(plan.data, "train", size=40)


@pytest.fixture(scope="module")
def used(train):
    """The positions of all photos that a seed draws."""
    draws = [draw_per_class(train.labels, n, seed, train.classes) for seed in range(2) for n in (2, 3)]
    return torch.cat(draws).unique()


def as_bytes(images):
    return (images * 255).round().to(torch.uint8)


def small(images):
    """At 32 pixels as bytes, one by one."""
    return torch.cat([as_bytes(resize(image[None], (32, 32))) for image in images])


def files_of(folder):
    files = (path for path in Path(folder).rglob("*") if path.is_file() and path.name != "manifest.jsonl")
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in files}


def rows_in(work, name):
    """The manifest of one folder of copies: {(source, copy): row}."""
    return {(row["source"], row["copy"]): row for row in manifest_of(work / "photos 40 px" / name)}


# the whole


def test_photos_and_tests_are_those_of_the_data_set(fast, plan, train, used):
    test = load_dataset(plan.data, "test", size=40)
    assert fast.classes == ["cat", "cup"] and list(fast.tests) == ["test"]
    assert torch.equal(fast.copies.photos, small([train[i][0] for i in used]))
    assert torch.equal(fast.copies.labels, train.labels[used])
    assert torch.equal(fast.tests["test"][0], small([image for image, _ in test]))
    assert torch.equal(fast.tests["test"][1], test.labels) and test.labels.tolist() == [0] * 5 + [1] * 5


def test_each_seed_draws_its_own_photos_and_fewer_are_among_more(fast, train, used):
    assert set(fast.rows) == {(seed, n) for seed in (0, 1) for n in (2, 3)}
    for (seed, n), rows in fast.rows.items():
        assert torch.equal(used[rows], draw_per_class(train.labels, n, seed, train.classes))
        assert torch.bincount(fast.copies.labels[rows]).tolist() == [n, n]
        assert {*fast.rows[seed, 2].tolist()} <= {*fast.rows[seed, 3].tolist()}
    assert fast.rows[0, 3].tolist() != fast.rows[1, 3].tolist()


def test_copies_belong_to_their_own_photos(fast, work, train, used):
    """Each is the file that the manifest names for the photo, at the size trained on."""
    n, of = len(used), fast.copies.of
    shapes = {"styled": (n, 2, 3, 32, 32), "recoloured": (n, 2, 3, 32, 32), "unpainted": (n, 1, 3, 32, 32)}
    assert {kind: images.shape for kind, images in of.items()} == shapes
    assert all(images.dtype == torch.uint8 for images in (fast.copies.photos, *of.values()))
    for kind, alpha, name in (("styled", fast.chosen["styled"], "x2"), ("unpainted", 0, "x1")):
        name = f"train fast {alpha:g} {name}"
        rows, folder = rows_in(work, name), work / "photos 40 px" / name
        for i, copies in zip(used, of[kind]):
            image, label = train[i]
            digest = hashlib.sha256(as_bytes(image).numpy().tobytes()).hexdigest()[:16]
            for number, picture in enumerate(copies):
                row = rows[f"{train.classes[label]}/{digest}.png", number]
                assert row["method"] == "fast" and row["alpha"] == alpha
                assert torch.equal(picture[None], small([read_image(folder / row["file"])[0]]))
        seconds = [row["seconds"] for row in rows.values()]
        assert fast.seconds[kind] == pytest.approx(sum(seconds) / len(seconds)) and fast.seconds[kind] > 0


def test_painted_copies_are_like_their_own_photo_and_unlike_each_other(optimised):
    photos, copies = optimised.copies.photos.double(), optimised.copies.of["styled"].double()
    apart = (copies[:, :, None] - photos[None, None]).abs().mean((3, 4, 5))  # photo, copy, photo
    assert (apart.argmin(2) == torch.arange(len(photos))[:, None]).all()
    differ = (copies[:, 0] - copies[:, 1]).abs().amax((1, 2, 3)) > 2
    assert differ.sum() > len(photos) / 2  # some have one style in both


def test_strength_zero_gives_the_photos_back_bit_for_bit(optimised, fast):
    assert torch.equal(optimised.copies.photos, fast.copies.photos)
    assert all(torch.equal(made.copies.of["unpainted"][:, 0], made.copies.photos) for made in (optimised, fast))


def test_the_referee_chooses_on_one_thread_whatever_the_machine_has(plan, work, fast, monkeypatch):
    threads, seen, told = torch.get_num_threads(), [], pool.evaluate
    monkeypatch.setattr(pool, "evaluate", lambda *a, **k: seen.append(torch.get_num_threads()) or told(*a, **k))
    trained = pool.trained_model
    monkeypatch.setattr(pool, "trained_model", lambda *a, **k: seen.append(torch.get_num_threads()) or trained(*a, **k))
    torch.set_num_threads(2)
    try:
        assert_same_pool(fast, build_pool(plan, load_sides(plan, "."), work, workers=1))
        assert torch.get_num_threads() == 2 and set(seen) == {1} and len(seen) > 5
    finally:
        torch.set_num_threads(threads)


def test_the_content_of_all_that_the_plan_names_is_in_its_digest(plan, tmp_path, monkeypatch):
    """Under the same names, one after another; put back, it is the same again."""
    photos, digest = Path(plan.data), lambda: pool.content_digest(plan, load_sides(plan, "."))
    first, digests = digest(), set()
    for file in (*(photos / side / "cup" / "1.png" for side in SIDES), Path(plan.styles[1])):
        whole = file.read_bytes()
        write_image(photo_of(200, 44, 48), file)
        digests.add(digest())
        file.write_bytes(whole)
    (photos / "test" / "cat" / "more.png").write_bytes((photos / "test" / "cat" / "0.png").read_bytes())
    digests.add(digest())
    (photos / "test" / "cat" / "more.png").unlink()
    for module, name in ((pool, "RECIPE"), (pool.jobs, "RECIPE"), (pool, "FAST_WEIGHTS")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, "another")
            digests.add(digest())
    with monkeypatch.context() as patch:
        other = backbone("efficientnet_lite0", weights=None, device="cpu")
        patch.setattr(pool, "backbone", lambda *_, **__: other)
        digests.add(digest())
    assert len(digests - {first}) == 9 and digest() == first


def test_the_referee_chooses_the_strength(fast, optimised):
    for made in (fast, optimised):
        steps = [("photos", 0), ("styled", 0.3), ("styled", 1), *(("recoloured", s) for s in RECOLOUR_STRENGTHS)]
        assert [(row["kind"], row["strength"]) for row in made.strengths] == steps
        assert all(row["preserved"] in (0, 0.25, 0.5, 0.75, 1) for row in made.strengths)  # of two photos of each class
        kinds = ("styled", "recoloured")
        assert made.chosen == {kind: strongest(made.strengths, kind, TINY.preserved) for kind in kinds}


def test_more_seeds_paint_nothing_again_and_leave_the_others_as_they_were(fast, plan, work):
    """A row of a run must not depend on how many others there are, for its recipe does not tell."""
    before, seen = files_of(work), []
    show = lambda *what: seen.append(what)  # noqa: E731
    again = build_pool(plan, load_sides(plan, ".", show), work, workers=1, callback=show)
    assert files_of(work) == before
    assert_same_pool(fast, again)
    assert {"train", "validation", "test", "referee"} <= {what for what, *_ in seen}
    assert all(0 < done <= total for _, done, total in seen)
    wider = replace(plan, seeds=3, per_class=(3,), arms=("A", "C"))
    more = build_pool(wider, load_sides(plan, "."), work, workers=1)
    assert set(more.copies.of) == set(more.seconds) | {"recoloured"} == {"styled", "recoloured"}  # what those arms need
    assert more.chosen == fast.chosen and more.strengths == fast.strengths
    assert set(more.rows) == {(0, 3), (1, 3), (2, 3)} and files_of(work).items() >= before.items()
    for seed in (0, 1):
        rows, others = fast.rows[seed, 3], more.rows[seed, 3]
        assert torch.equal(fast.copies.photos[rows], more.copies.photos[others])
        for kind in more.copies.of:
            assert torch.equal(fast.copies.of[kind][rows], more.copies.of[kind][others])


def assert_same_pool(one, other):
    """Tensors bit for bit, and in whatever holds them."""
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype and torch.equal(one, other)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        assert_same_pool([*one.values()], [*other.values()])
    elif isinstance(one, (list, tuple)):
        assert type(one) is type(other) and len(one) == len(other)
        for part, same in zip(one, other):
            assert_same_pool(part, same)
    else:
        assert one == other


def test_a_pool_comes_back_from_its_file_which_is_whole_or_the_old_one(fast, tmp_path, monkeypatch):
    pool.save_pool(fast, tmp_path / "pool.pt")
    assert_same_pool(fast, load_pool(tmp_path / "pool.pt"))

    def fail(state, path):
        Path(path).write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="no space"):
        pool.save_pool(fast._replace(classes=["x"]), tmp_path / "pool.pt")
    assert load_pool(tmp_path / "pool.pt").classes == ["cat", "cup"] and len(list(tmp_path.iterdir())) == 1


def test_a_photo_of_the_test_side_among_the_training_photos_is_refused(plan, tmp_path):
    photos, work = shutil.copytree(plan.data, tmp_path / "photos"), tmp_path / "work"
    shutil.copy(photos / "test" / "cup" / "3.png", photos / "train" / "cat" / "new.png")
    words = "a picture of the train side lies on the test side, too: remove it from one of them"
    with pytest.warns(UserWarning, match="1 files of test are in train too"), pytest.raises(ValueError, match=words):
        other = replace(plan, data=str(photos))
        build_pool(other, load_sides(other, tmp_path), work, workers=1)
    assert not work.exists()


@pytest.mark.parametrize(
    "change, kind, words",
    [
        ({"per_class": (2, 7)}, ValueError, "expected per_class of at most 6, the images of class 'cat', got 7"),
        ({"styles": ("stary",)}, FileNotFoundError, "did you mean 'starry'"),
        ({"data": "nowhere"}, ValueError, "unknown dataset 'nowhere'"),
    ],
)
def test_what_cannot_be_built_is_said_before_anything_is_painted(plan, tmp_path, change, kind, words):
    with pytest.raises(kind, match=words):
        other = replace(plan, **change)
        build_pool(other, load_sides(other, tmp_path), tmp_path / "work", workers=1)
    assert not (tmp_path / "work").exists()


def test_a_picture_on_two_sides_is_found():
    images = torch.randint(0, 256, (9, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    sides = {"train": images[:4], "validation": images[4:6], "test": images[6:]}
    check_sides(sides | {"train": images[[0, 1, 1, 2]]})  # twice on one side is no leak
    almost = images[3:4].clone()
    almost[0, 2, 7, 7] ^= 1
    check_sides(sides | {"test": torch.cat([images[6:], almost])})
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        with pytest.raises(ValueError, match=f"a picture of the {one} side lies on the {other} side, too"):
            check_sides(sides | {other: torch.cat([sides[other], sides[one][-1:]])})


# strength


@pytest.mark.parametrize(
    "told, expected",
    [
        ({0.1: 1.0, 0.3: 0.9, 1.0: 0.5}, 0.3),  # as many as wanted are enough
        ({1.0: 0.92, 0.1: 1.0, 0.3: 0.5}, 1.0),  # the strongest, wherever it stands
        ({0.3: 0.2, 0.1: 0.3, 1.0: 0.89}, 0.1),  # none is good enough
        ({0.3: 0.1}, 0.3),
    ],
)
def test_the_strongest_that_keeps_the_labels(told, expected):
    rows = [{"kind": "styled", "strength": strength, "preserved": part} for strength, part in told.items()]
    others = [{"kind": kind, "strength": 5.0, "preserved": 1.0} for kind in ("photos", "recoloured")]
    assert strongest(others + rows, "styled", 0.9) == expected


class FirstPixels(torch.nn.Linear):
    """A referee whose scores are the first channel's first two pixels."""

    def forward(self, images):
        return images[:, 0, 0, :2]


def pictures_of(labels):
    """Pictures that `FirstPixels` takes for these classes, as bytes."""
    images = torch.zeros(len(labels), 3, 32, 32, dtype=torch.uint8)
    images[torch.arange(len(labels)), 0, 0, labels] = 200
    return images


def test_the_referee_is_asked_of_each_strength_and_of_its_own_pictures(plan):
    """Copies that lose the class of one photo of four at 0.3, and of all at 1; recoloured ones at 1 alone."""
    validation = load_dataset(plan.data, "validation", size=40)
    few = draw_per_class(validation.labels, 2, 0, validation.classes)
    pictures, lost = pictures_of(validation.labels), {0.1: 0, 0.3: 1, 1.0: 4}

    class FakeMaker:
        plan = replace(TINY, strengths=(0.1, 0.3, 1.0), preserved=0.75)

        def painted(self, photos, name, strength, n):
            assert (name, n) == ("validation", 1)
            assert torch.equal(photos.batch(range(4))[0], validation.batch(few)[0])
            labels = photos.labels.clone()
            labels[: lost[strength]] = 1 - labels[: lost[strength]]
            return pictures_of(labels)[:, None], ["the rows"]

        def recoloured(self, photos, rows, strength):
            assert rows == ["the rows"]
            return pictures_of(1 - photos.labels if strength == 1 else photos.labels)[:, None]

    strengths, chosen = pool._choose(FakeMaker(), FirstPixels(1, 1), validation, pictures)
    assert strengths[0] == {"kind": "photos", "strength": 0, "preserved": 1}
    styled = [(row["strength"], row["preserved"]) for row in strengths if row["kind"] == "styled"]
    assert styled == [(0.1, 1), (0.3, 0.75), (1, 0)]
    assert [row["preserved"] for row in strengths if row["kind"] == "recoloured"] == [1, 1, 1, 1, 0]
    assert chosen == {"styled": 0.3, "recoloured": 0.75}


# the copies


def test_photos_are_written_as_they_are_under_names_of_their_own(plan, train, tmp_path):
    maker = CopyMaker(plan, tmp_path, 1, lambda *_: None)
    paths = maker.exported(train, "train")
    assert len(set(paths)) == 12 and [path.split("/")[0] for path in paths] == ["cat"] * 6 + ["cup"] * 6
    for (image, _), path in zip(train, paths):
        assert torch.equal(read_image(maker.folder / "train photos" / path)[0], image)
    before = files_of(tmp_path)
    assert maker.exported(train.subset([9, 0, 3]), "train") == [paths[9], paths[0], paths[3]]
    assert files_of(tmp_path) == before and len(before) == 12


def test_any_subset_in_any_order_gets_its_own_copies(train, used, maker, fast):
    order, strength = [5, 0, 7], fast.chosen["styled"]
    photos = train.subset(used[order])
    images, rows = maker.painted(photos, "train", strength, 2)
    assert torch.equal(images, fast.copies.of["styled"][order])
    paths = maker.exported(photos, "train")
    assert [(row["source"], row["copy"]) for row in rows] == [(path, copy) for path in paths for copy in (0, 1)]
    assert torch.equal(maker.recoloured(photos, rows, fast.chosen["recoloured"]), fast.copies.of["recoloured"][order])


def test_photos_that_cannot_be_painted_are_an_error_that_names_one(plan, tmp_path):
    photos = load_dataset(plan.data, "train", size=24).subset([0, 1, 6, 7])
    words = "4 photos could not be painted, such as .*at least 32 x 32 pixels, got 24 x 24"
    with pytest.raises(ValueError, match=words):
        CopyMaker(plan, tmp_path, 1, lambda *_: None).painted(photos, "train", 0.3, 1)


def test_recoloured_copies_take_the_colours_of_their_own_mixture(plan, train, maker, fast):
    """By numpy and scipy, from the shares in the manifest."""
    photos = train.subset([1, 8, 10])
    _, rows = maker.painted(photos, "train", fast.chosen["styled"], 2)
    shares = [[row["styles"].get(f"style {s}", 0) for s in range(2)] for row in rows]
    assert len(set(map(tuple, shares))) == 6
    pixels = [picture[0].flatten(1).double().numpy() for picture in map(read_image, plan.styles)]
    out = maker.recoloured(photos, rows, 0.8).flatten(0, 1)
    for i, share in enumerate(shares):
        image = photos[i // 2][0].flatten(1).double().numpy()
        weights = np.concatenate([np.full(p.shape[1], part / p.shape[1]) for p, part in zip(pixels, share)])
        target = np.concatenate(pixels, axis=1)
        mean, covariance = np.average(target, axis=1, weights=weights), np.cov(target, aweights=weights, bias=True)
        root = scipy.linalg.sqrtm(np.cov(image, bias=True) + 1e-6 * np.eye(3))
        move = np.linalg.inv(root) @ scipy.linalg.sqrtm(root @ covariance @ root).real @ np.linalg.inv(root)
        moved = move @ (image - image.mean(1, keepdims=True)) + mean[:, None]
        moved = (0.2 * image + 0.8 * moved).clip(0, 1).reshape(1, 3, 40, 40)
        assert (out[i] / 255 - resize(torch.from_numpy(moved).float(), (32, 32))[0]).abs().max() < 1 / 255
    means = color_statistics(maker.recoloured(photos, rows, 1.0).flatten(0, 1) / 255).mean
    assert (means[::2] - means[1::2]).abs().max() > 0.02  # two copies of one photo, in other mixtures
    unmoved = small([image for image, _ in photos])[:, None].expand(-1, 2, -1, -1, -1)
    assert torch.equal(maker.recoloured(photos, rows, 0), unmoved)


def test_many_pictures_are_recoloured_as_a_few_are(train, maker):
    """More than one part of 256: the parts take their own targets."""
    many, rng = train.subset(np.arange(130) % 12), np.random.default_rng(0)
    rows = [{"styles": {"style 0": float(part), "style 1": 1 - float(part)}} for part in rng.random(260)]
    together = maker.recoloured(many, rows, 1.0)
    for i in (0, 127, 128, 129):
        alone = maker.recoloured(many.subset([i]), rows[2 * i : 2 * i + 2], 1.0)
        assert (together[i].int() - alone[0].int()).abs().max() <= 1
