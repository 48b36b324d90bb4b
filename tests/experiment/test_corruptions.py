"""Photos gone wrong in eight ways, against torchvision called by hand."""

import pytest
import torch
from shared_helpers import user_defaults
from torchvision.transforms import v2

from d2lstyle.experiment.corruptions import CORRUPTIONS, _seed_of, corrupted

RANDOM = ("noise", "occlusion", "elastic")
IMAGES = torch.rand(3, 3, 48, 40, generator=torch.Generator().manual_seed(0))
BY_HAND = {
    "noise": v2.GaussianNoise(sigma=0.1),
    "occlusion": v2.RandomErasing(p=1, scale=(0.15, 0.15), ratio=(0.7, 1.4), value=0.5),
    "elastic": v2.Compose(
        [v2.Pad(8, padding_mode="edge"), v2.ElasticTransform(alpha=60.0, sigma=4.0), v2.CenterCrop((48, 40))]
    ),
}


def test_the_names_in_order():
    expected = ["noise", "blur", "jpeg", "brightness", "contrast", "colour cast", "occlusion", "elastic"]
    assert list(CORRUPTIONS) == expected


@pytest.mark.parametrize("name", RANDOM)
def test_each_image_draws_what_torchvision_draws_by_its_seed_name_and_position(name):
    images = corrupted(IMAGES, name, seed=7)
    for i, image in enumerate(IMAGES):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_seed_of(7, name, i))
            torch.testing.assert_close(images[i], BY_HAND[name](image), rtol=0, atol=1e-6)
    assert len({_seed_of(*parts) for parts in [(7, name, 0), (7, name, 1), (8, name, 0), (7, "other", 0)]}) == 4


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_image_is_the_same_beside_whatever_others(name):
    others = torch.cat([IMAGES[:2], IMAGES[2:].flip(1), IMAGES])
    assert torch.equal(corrupted(others, name, seed=1)[:2], corrupted(IMAGES, name, seed=1)[:2])


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_same_seed_same_images_and_another_seed_others_where_something_is_random(name):
    images, before, state = corrupted(IMAGES, name), IMAGES.clone(), torch.get_rng_state()
    with user_defaults():
        again = corrupted(IMAGES, name, seed=0)
    assert torch.equal(images, again)
    assert torch.equal(images, corrupted(IMAGES, name, seed=1)) == (name not in RANDOM)
    assert torch.equal(torch.get_rng_state(), state) and torch.equal(IMAGES, before)
    assert images.shape == IMAGES.shape and images.dtype == torch.float32
    assert images.min() >= 0 and images.max() <= 1 and (images - IMAGES).abs().mean() > 0.02


def test_what_is_not_random_by_hand():
    """One pixel of each; a box of a single colour has its mean as contrast, and no blur changes it."""
    plain = torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    pixel = {name: corrupted(plain, name)[0, :, 8, 8] for name in CORRUPTIONS}
    torch.testing.assert_close(pixel["blur"], torch.tensor([0.2, 0.4, 0.6]))
    torch.testing.assert_close(pixel["brightness"], torch.tensor([0.4, 0.8, 1.0]))
    grey = 0.2989 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6
    torch.testing.assert_close(pixel["contrast"], grey + 0.35 * (torch.tensor([0.2, 0.4, 0.6]) - grey))
    torch.testing.assert_close(pixel["colour cast"], torch.tensor([0.3, 0.36, 0.12]))
    assert (corrupted(plain, "occlusion") == 0.5).all(1).float().mean().item() == pytest.approx(0.15, abs=0.02)


def test_jpeg_is_the_file_of_quality_10():
    bytes_of = (IMAGES * 255).round().to(torch.uint8)
    expected = torch.stack([v2.functional.jpeg(image, quality=10) for image in bytes_of])
    assert torch.equal((corrupted(IMAGES, "jpeg") * 255).round().to(torch.uint8), expected)


@pytest.mark.parametrize(
    "images, name, seed, error",
    [
        (IMAGES, "nois", 0, "unknown corruption 'nois': did you mean 'noise'"),
        (IMAGES, "noise", -1, "expected seed as an integer of at least 0, got -1"),
        (IMAGES * 255, "noise", 0, r"expected images in \[0, 1\]"),
        (IMAGES[0], "noise", 0, "expected images of shape"),
    ],
)
def test_what_is_wrong_is_named(images, name, seed, error):
    with pytest.raises(ValueError, match=error):
        corrupted(images, name, seed=seed)
