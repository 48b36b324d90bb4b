"""Embedded photos and procedural paintings."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from d2lstyle.samples.paintings import painting, painting_names
from d2lstyle.samples.photos import PHOTOS, sample, sample_names

README = Path(__file__).parents[2] / "data" / "README.md"
REQUIRED_PHOTOS = {"china", "flower", "coffee", "chelsea", "astronaut", "rocket"}
REQUIRED_PAINTINGS = {"starry", "stained_glass", "woodcut", "pointillism", "mosaic", "marbling"}


@pytest.fixture(scope="module")
def gallery():
    """Every painting at 128 pixels, seed 0, drawn once."""
    return {name: painting(name, size=128) for name in painting_names()}


@pytest.fixture(scope="module")
def others():
    """Every painting at 128 pixels, seed 1, drawn once."""
    return {name: painting(name, size=128, seed=1) for name in painting_names()}


@pytest.fixture(scope="module")
def small():
    """Every painting at 64 pixels, seed 0, drawn once."""
    return {name: painting(name, size=64) for name in painting_names()}


def check_contract(image, height, width):
    assert image.dtype == torch.float32 and image.shape == (1, 3, height, width) and image.is_contiguous()
    assert image.isfinite().all() and image.min() >= 0 and image.max() <= 1


# photos


def test_the_photos_the_notebooks_use_are_there():
    assert set(sample_names()) >= REQUIRED_PHOTOS


@pytest.mark.parametrize("name", sample_names())
def test_photo_keeps_the_image_contract(name):
    image = sample(name, size=96)
    check_contract(image, *image.shape[-2:])
    assert max(image.shape[-2:]) == 96
    assert image.std() > 0.05  # a picture, not a blank


def test_photo_has_the_files_own_size_by_default():
    check_contract(sample("china"), 427, 640)


def test_photo_is_upright_and_in_rgb_order():
    china = sample("china", size=(64, 96))
    sky, ground = china[..., :12, :].mean((0, 2, 3)), china[..., -12:, :].mean((0, 2, 3))
    assert sky[2] > sky[0] and sky.mean() > ground.mean()
    chelsea = sample("chelsea", size=64).mean((0, 2, 3))
    assert chelsea[0] > chelsea[2]  # a ginger cat


def test_photo_is_a_fresh_tensor_each_time():
    first = sample("flower", size=32)
    first.zero_()
    assert sample("flower", size=32).mean() > 0.05


def test_every_photo_has_a_full_credit_and_stands_in_the_readme():
    lines = README.read_text(encoding="utf-8").splitlines()
    for name, photo in PHOTOS.items():
        row = next(line for line in lines if line.startswith(f"| `{name}` |"))
        for fact in (photo.package, photo.file.rsplit("/")[-1], photo.author, photo.licence):
            assert fact and fact in row, f"data/README.md does not say {fact!r} of {name}"


def test_reading_a_photo_imports_none_of_the_packages_that_ship_them(monkeypatch):
    packages = {photo.file.split("/")[0] for photo in PHOTOS.values()}
    for package in packages:
        monkeypatch.delitem(sys.modules, package, raising=False)
    for name in sample_names():
        sample(name, size=16)
    assert not packages & set(sys.modules)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("d2lstyle.samples.photos.find_spec", lambda folder: None)
    with pytest.raises(FileNotFoundError, match="'china' comes with scikit-learn, which is not installed"):
        sample("china")


def test_unknown_photo_names_the_likely_one_and_all():
    with pytest.raises(ValueError, match="did you mean 'chelsea'") as caught:
        sample("chelsey")
    assert all(name in str(caught.value) for name in sample_names())
    with pytest.raises(ValueError, match="unknown photo None"):
        sample(None)


# paintings


def test_there_are_at_least_eight_paintings():
    assert set(painting_names()) >= REQUIRED_PAINTINGS and len(painting_names()) >= 8


@pytest.mark.parametrize("name", painting_names())
def test_painting_keeps_the_image_contract(name, gallery):
    check_contract(gallery[name], 128, 128)


@pytest.mark.parametrize("name", ["stained_glass", "woodcut", "mosaic"])
@pytest.mark.parametrize("height, width", [(16, 16), (40, 25)])
def test_painting_of_any_shape(name, height, width):
    check_contract(painting(name, size=(height, width)), height, width)


@pytest.mark.parametrize("name", painting_names())
def test_same_seed_same_painting_whatever_the_global_random_state(name, small):
    np.random.seed(1)
    torch.manual_seed(1)
    state = np.random.get_state()[1].copy(), torch.get_rng_state()
    assert torch.equal(painting(name, size=64, seed=0), small[name])
    assert (np.random.get_state()[1] == state[0]).all() and torch.equal(torch.get_rng_state(), state[1])


@pytest.mark.parametrize("name", painting_names())
def test_other_seed_other_painting(name, gallery, others):
    """Two seeds differ by 0.12 or more; one composition with other grain alone would differ by about 0.03."""
    assert (others[name] - gallery[name]).abs().mean() > 0.06


def check_same_composition(lesser, large):
    """Thin lines blur differently at another size, a moved composition is another matter.

    Two seeds of one painting differ by 0.12 or more on average and correlate by 0.6 or less.
    """
    shrunk = F.avg_pool2d(large, 2)
    assert (lesser - shrunk).abs().mean() < 0.06
    assert torch.corrcoef(torch.stack([lesser.flatten(), shrunk.flatten()]))[0, 1] > 0.93


@pytest.mark.parametrize("name", painting_names())
def test_same_composition_at_half_the_size(name, gallery, small):
    check_same_composition(small[name], gallery[name])


@pytest.mark.parametrize("name", ["mosaic", "seigaiha"])
def test_same_composition_at_twice_the_size(name, gallery):
    check_same_composition(gallery[name], painting(name, size=256))


@pytest.mark.parametrize("name", painting_names())
def test_painting_has_strokes(name, gallery):
    """Style lives in texture: detail finer than 12 pixels of 128, and contrast overall."""
    image = gallery[name]
    blurred = F.avg_pool2d(F.pad(image, (6, 6, 6, 6), mode="reflect"), 13, stride=1)
    assert (image - blurred).std() > 0.05
    assert image.mean(1).std() > 0.12


def texture_statistics(images):
    """Mean of colour and of its differences at two scales, and the Gram matrix of colour: (number of images, 24)."""
    rows = []
    for image in images:
        parts = [image]
        for scale in (1, 4):
            shrunk = F.avg_pool2d(image, scale)
            right = F.pad(shrunk[..., 1:] - shrunk[..., :-1], (0, 1))
            down = F.pad(shrunk[..., 1:, :] - shrunk[..., :-1, :], (0, 0, 0, 1))
            parts += [right.abs(), down.abs()]
        colour = image[0].flatten(1)
        means = torch.cat([part.mean((0, 2, 3)) for part in parts])
        rows.append(torch.cat([means, (colour @ colour.T / colour.shape[1]).flatten()]))
    return torch.stack(rows)


def test_paintings_differ_in_colour_and_texture(gallery):
    statistics = texture_statistics(gallery.values())
    distance = torch.cdist(statistics, statistics).fill_diagonal_(1)
    closest = [painting_names()[k] for k in divmod(int(distance.argmin()), len(statistics))]
    assert distance.min() > 0.08, f"{closest} look alike"


def test_each_painting_is_known_by_its_style_whatever_the_seed(gallery, others):
    """By colour and texture alone, the other seed's picture is nearest to its own kind."""
    distance = torch.cdist(texture_statistics(others.values()), texture_statistics(gallery.values()))
    assert [painting_names()[k] for k in distance.argmin(1)] == painting_names()


def test_unknown_painting_names_the_likely_one_and_all():
    with pytest.raises(ValueError, match="did you mean 'pointillism'") as caught:
        painting("pointilism")
    assert all(name in str(caught.value) for name in painting_names())


@pytest.mark.parametrize("size", [15, 64.0, "64", None, True, (64,), (64, 8), (64, None)])
def test_wrong_size_is_refused(size):
    with pytest.raises(ValueError, match="at least 16 pixels.*got"):
        painting("mosaic", size=size)


def test_a_ribbon_is_refused():
    with pytest.raises(ValueError, match="factor of 8"):
        painting("mosaic", size=(16, 1024))


@pytest.mark.parametrize("seed", [-1, 1.5, None])
def test_wrong_seed_is_refused(seed):
    with pytest.raises(ValueError, match="expected seed as an integer"):
        painting("mosaic", size=16, seed=seed)
