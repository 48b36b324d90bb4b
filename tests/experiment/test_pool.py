"""The pictures of the experiment, on a class folder of tiny photos: who has which copies, and that no side leaks."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from shared_helpers import photo_of

from d2lstyle import backbone, load_dataset, painting, write_image
from d2lstyle.datasets.loading import draw_per_class
from d2lstyle.experiment import QUICK, copies, pool
from d2lstyle.experiment.copies import KINDS, CopyMaker
from d2lstyle.experiment.corruptions import CORRUPTIONS, corrupted
from d2lstyle.experiment.pool import build_pool, check_sides, counts, load_pool, load_sides
from d2lstyle.images import resize
from d2lstyle.samples import vending

SIDES = {"train": 6, "validation": 3, "test": 5}  # photos of each class
COUNTS = {"per_class": (2, 3), "optimised_at": 2, "invented_at": 2, "tuned_at": 2, "copies": 2, "judged": 5}
COST = {"model": "scratch", "size": 32, "paint_size": 40, "paint_steps": 2, "steps": 4, "batch": 6}
TINY = replace(QUICK, arms=("A", "B", "C", "D", "F", "I", "R", "N", "Dv"), strengths=(0.3, 1.0), **COUNTS, **COST)


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


def small(images):
    """At 32 pixels as bytes, one by one."""
    return torch.cat([(resize(image[None], (32, 32)) * 255).round().to(torch.uint8) for image in images])


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return tiny_plan(tmp_path_factory.mktemp("pool") / "photos")


@pytest.fixture(scope="module", autouse=True)
def work(tmp_path_factory):
    """Where VGG-19's copies are written; a GAN has two steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copies, "trained_generator", partial(copies.trained_generator, steps=2))
        yield tmp_path_factory.mktemp("copies")


@pytest.fixture(scope="module")
def made(plan, work):
    return build_pool(plan, load_sides(plan, "."), work, workers=1)


@pytest.fixture(scope="module")
def train(plan):
    return load_dataset(plan.data, "train", size=40)


@pytest.fixture(scope="module")
def used(train):
    """The positions of all photos that a seed draws."""
    draws = [draw_per_class(train.labels, n, seed, train.classes) for seed in range(2) for n in (2, 3)]
    return torch.cat(draws).unique()


def test_photos_and_sides_are_those_of_the_data_set(made, plan, train, used):
    assert made.classes == ["cat", "cup"] and list(made.validations) == ["validation"]
    photos = small([train[i][0] for i in used])
    assert torch.equal(made.copies.photos, photos) and torch.equal(made.copies.labels, train.labels[used])
    assert list(made.tests) == ["clean", *CORRUPTIONS] == sum(plan.asked().values(), [])
    assert counts(made.tests) == dict.fromkeys(made.tests, 10)
    for side, sets in (("validation", made.validations.values()), ("test", made.tests.values())):
        photos = load_dataset(plan.data, side, size=40)
        assert all(torch.equal(labels, photos.labels) for _, labels in sets)
        assert torch.equal(next(iter(sets))[0], small([image for image, _ in photos]))
    clean = made.tests["clean"][0] / 255
    for name in CORRUPTIONS:
        assert torch.equal(made.tests[name][0], (corrupted(clean, name) * 255).round().to(torch.uint8))


def test_each_seed_draws_its_own_photos_and_fewer_are_among_more(made, train, used):
    assert set(made.rows) == {(seed, n) for seed in (0, 1) for n in (2, 3)}
    for (seed, n), rows in made.rows.items():
        assert torch.equal(used[rows], draw_per_class(train.labels, n, seed, train.classes))
        assert {*made.rows[seed, 2].tolist()} <= {*made.rows[seed, 3].tolist()}


def test_who_has_copies_of_which_kind(made):
    """All photos, those of the seeds at one number, or those of a seed; and seconds are told of every kind."""
    expected = dict.fromkeys(("styled", "recoloured", "regions"), list(range(len(made.copies.photos))))
    expected["optimised"] = torch.cat([made.rows[0, 2], made.rows[1, 2]]).unique().tolist()
    expected |= {f"relatives {seed}": sorted(made.rows[seed, 3].tolist()) for seed in (0, 1)}
    expected |= {f"invented {seed}": sorted(made.rows[seed, 2].tolist()) for seed in (0, 1)}
    assert made.copies.of.keys() == expected.keys()
    for kind, photos in expected.items():
        pictures, where = made.copies.of[kind]
        assert pictures.shape == (len(photos), 1 if kind == "optimised" else 2, 3, 32, 32)
        assert pictures.dtype == torch.uint8 and (where >= 0).nonzero()[:, 0].tolist() == photos
        assert sorted(where[photos].tolist()) == list(range(len(photos)))
    assert made.seconds.keys() == set(KINDS) and all(seconds > 0 for seconds in made.seconds.values())


@pytest.mark.parametrize("kind", ["styled", "recoloured", "regions", "optimised", "relatives", "invented"])
def test_copies_belong_to_their_own_photos(made, plan, work, train, used, kind):
    """They are the maker's of that photo, in another order, at the place where the photo's copies are looked up."""
    maker, rows = CopyMaker(plan, work, 1, lambda *_: None), made.rows[1, 2]
    photos = train.subset(used[rows])
    if kind == "invented":
        expected = maker.invented(photos, 1)
    elif kind == "relatives":
        every = made.rows[1, 3].sort()[0]
        styles = torch.tensor([every.tolist().index(row) for row in rows.tolist()])
        expected = maker.relatives(train.subset(used[every]), styles, 1)[styles]  # styles are of the fewest alone
    else:
        expected = maker.make(kind, photos, used[rows])
    apart = made.copies.beside(kind, 1, rows).int() - expected.int()
    assert apart.abs().max() <= 1


def test_more_seeds_and_fewer_arms_leave_the_others_as_they_were(made, plan, work):
    """A row of a run must not depend on how many others there are, for its recipe does not tell; nor on threads."""
    times, threads = lambda: {file: file.stat().st_mtime_ns for file in work.rglob("*.png")}, torch.get_num_threads()
    files, seen = times(), []
    torch.set_num_threads(2)
    try:
        wider = replace(plan, seeds=3, arms=("A", "C", "F", "I", "Dv"))
        more = build_pool(wider, load_sides(wider, "."), work, workers=1, callback=lambda *what: seen.append(what))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert {"corruptions", "painting: styled", "referee: styled"} <= {stage for stage, *_ in seen}
    assert all(0 < done <= total for _, done, total in seen) and times().items() >= files.items()  # nothing anew
    assert set(more.copies.of) == {"styled", "recoloured", "optimised", *(f"relatives {seed}" for seed in range(3))}
    assert set(more.rows) == {(seed, n) for seed in range(3) for n in (2, 3)}
    for (seed, n), rows in made.rows.items():
        others = more.rows[seed, n]
        assert torch.equal(made.copies.photos[rows], more.copies.photos[others])
        for kind in ("styled", "recoloured", "relatives", *(["optimised"] if n == 2 else [])):
            one, other = made.copies.beside(kind, seed, rows), more.copies.beside(kind, seed, others)
            assert torch.equal(one, other), kind


def test_the_referee_tells_what_copies_keep(made, plan, work, monkeypatch):
    """Of each kind by copies of another painter; here one that names the brighter half of all pictures cups."""
    steps = [(kind, strength) for kind in ("styled", "recoloured", "optimised") for strength in (0, 0.3, 1)]
    assert [(row["kind"], row["strength"]) for row in made.preserved] == steps
    assert [row["referee"] for row in made.preserved[::3]] == ["optimised", "styled", "styled"]
    assert all(row["preserved"] in np.arange(7) / 6 for row in made.preserved)
    validation, maker = load_sides(plan, ".")["validation"], CopyMaker(plan, work, 1, lambda *_: None)
    monkeypatch.setattr(pool, "trained_model", lambda plan, classes, stream, **_: stream)
    monkeypatch.setattr(pool, "predictions", lambda referee, images: (images.float().mean((1, 2, 3)) > 100).long())
    told = pool._preserved(plan, maker, made.copies, validation, lambda *_: None)
    order = draw_per_class(validation.photos.labels, 3, 0, ["cat", "cup"])
    copies = maker.make("recoloured", validation.photos.subset(order), order, "validation")[:, 0].float()
    for row, strength in zip(told[3:6], (0, 0.3, 1)):
        mixed = ((1 - strength) * validation.small[order].float() + strength * copies).round()
        right = (mixed.mean((1, 2, 3)) > 100).long() == validation.photos.labels[order]
        assert row["preserved"] == pytest.approx(right.double().mean().item())


def test_vending_has_three_places_and_fresh_pictures(tmp_path, monkeypatch):
    def noise(*place):
        rng = np.random.default_rng(list(repr(place).encode()))
        return Image.fromarray(rng.integers(256, size=(32, 32, 3), dtype=np.uint8))

    monkeypatch.setattr(vending, "draw", noise)
    monkeypatch.setattr(vending, "PER_CLASS", dict.fromkeys(vending.PER_CLASS, 2))
    goods = replace(TINY, data="vending", paint_size=32, per_class=(2,), arms=("A",))
    sides = load_sides(goods, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"vending-20"}
    first = noise("studio", "train", next(iter(vending.GOODS)), 1, 20)
    assert (sides["train"].small[1].permute(1, 2, 0).numpy() == np.asarray(first)).all()
    made = build_pool(goods, sides, tmp_path / "work")
    assert list(made.validations) == list(made.tests) == list(goods.asked()) == list(vending.DOMAINS)
    for name, side in sides.items():
        of = {"test": made.tests, "validation": made.validations}.get(name.partition(" ")[0], {})
        assert name == "train" or torch.equal(of[name.partition(" ")[2]][0], side.small)


def test_the_content_of_all_that_the_plan_names_is_in_its_digest(plan, monkeypatch):
    """Under the same names, one after another; put back, it is the same again."""
    photos, digest = Path(plan.data), lambda: pool.content_digest(plan, load_sides(plan, "."))
    first, digests = digest(), set()
    for file in (*(photos / side / "cup" / "1.png" for side in SIDES), Path(plan.styles[1])):
        whole = file.read_bytes()
        write_image(photo_of(200, 44, 48), file)
        digests.add(digest())
        file.write_bytes(whole)
    for module, name in ((pool, "RECIPE"), (pool.jobs, "RECIPE"), (pool, "FAST_WEIGHTS")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, "another")
            digests.add(digest())
    with monkeypatch.context() as patch:
        other = backbone("efficientnet_lite0", weights=None, device="cpu")
        patch.setattr(pool, "backbone", lambda *_, **__: other)
        digests.add(digest())
    assert len(digests - {first}) == 8 and digest() == first


def test_a_pool_comes_back_from_its_file(made, tmp_path):
    pool.save_pool(made, tmp_path / "pool.pt")
    again = load_pool(tmp_path / "pool.pt")
    assert [again.classes, again.preserved, again.seconds] == [made.classes, made.preserved, made.seconds]
    one, other = ([*each.copies, each.rows, each.validations, each.tests] for each in (made, again))
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_photo_of_the_test_side_among_the_training_photos_is_refused(plan, tmp_path):
    photos, work = shutil.copytree(plan.data, tmp_path / "photos"), tmp_path / "work"
    shutil.copy(photos / "test" / "cup" / "3.png", photos / "train" / "cat" / "new.png")
    words = "a picture of the train side lies on the test side, too: remove it from one of them"
    with pytest.warns(UserWarning, match="1 files of test are in train too"), pytest.raises(ValueError, match=words):
        other = replace(plan, data=str(photos))
        build_pool(other, load_sides(other, tmp_path), work, workers=1)
    assert not work.exists()


def test_a_picture_on_two_sides_is_found():
    images = torch.randint(0, 256, (9, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    sides = {"train": images[:4], "validation": images[4:6], "test": images[6:]}
    almost = images[3:4].clone()
    almost[0, 2, 7, 7] ^= 1
    check_sides(sides | {"train": images[[0, 1, 1, 2, 3]], "test": almost})  # twice on one side is no leak
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        with pytest.raises(ValueError, match=f"a picture of the {one} side lies on the {other} side, too"):
            check_sides(sides | {other: torch.cat([sides[other], sides[one][-1:]])})
