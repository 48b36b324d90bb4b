"""Files to tensors and back."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from d2lstyle import read_image, write_image
from d2lstyle.engine import checks
from d2lstyle.engine.decoding import check_writable
from d2lstyle.images import read_alpha, resize, scaled_size


def random_image(height=20, width=30, seed=0):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["picture.png", "picture.PNG", "picture.bmp", "picture.tif", "with a space é.png"])
def test_lossless_files_keep_every_pixel_to_half_a_step(tmp_path, name):
    image = random_image()
    write_image(image, tmp_path / name)
    back = read_image(tmp_path / name)
    assert back.shape == image.shape and back.dtype == torch.float32 and back.is_contiguous()
    assert (back - image).abs().max() <= 1 / 255 / 2 + 1e-6


def test_pixels_are_those_that_pillow_reads_and_a_second_round_trip_changes_nothing(tmp_path):
    write_image(random_image(), tmp_path / "a.png")
    once = read_image(tmp_path / "a.png")
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    assert np.array_equal((once[0].permute(1, 2, 0) * 255).round().numpy(), pixels)
    write_image(once, tmp_path / "b.png")
    assert torch.equal(read_image(tmp_path / "b.png"), once)


@pytest.mark.parametrize("ending, kind", [("jpg", "JPEG"), ("jpeg", "JPEG"), ("webp", "WEBP"), ("png", "PNG")])
def test_the_ending_chooses_the_format(tmp_path, ending, kind):
    smooth = resize(random_image(4, 6), (40, 60))
    write_image(smooth, tmp_path / f"a.{ending}")
    with Image.open(tmp_path / f"a.{ending}") as file:
        assert file.format == kind and file.size == (60, 40)
    # JPEG halves the resolution of colour: the mean error stays below 4 of 255 steps on a smooth picture
    assert (read_image(tmp_path / f"a.{ending}") - smooth).abs().mean() < 4 / 255


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.float16])
def test_any_float_is_written_even_in_a_graph_and_a_little_outside(tmp_path, kind):
    values = torch.tensor([-5e-5, 0.5, 1 + 5e-5], dtype=kind, requires_grad=True)
    write_image(values.view(1, 3, 1, 1), tmp_path / "a.png")
    assert np.asarray(Image.open(tmp_path / "a.png")).tolist() == [[[0, 128, 255]]]


def test_a_file_object_is_read(tmp_path):
    write_image(random_image(), tmp_path / "a.png")
    with open(tmp_path / "a.png", "rb") as file:
        assert torch.equal(read_image(file), read_image(str(tmp_path / "a.png")))


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("exists", [True, False])
def test_a_failing_write_leaves_what_was_there(tmp_path, monkeypatch, error, exists):
    def failing_save(image, file, **options):
        file.write(b"half a picture")
        raise error

    target = tmp_path / "a.png"
    if exists:
        write_image(random_image(), target)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(Image.Image, "save", failing_save)
    with pytest.raises(type(error)):
        write_image(random_image(seed=1), target)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_write_replaces_the_file_and_leaves_nothing_else(tmp_path):
    check_writable(tmp_path / "a.png")  # to ask leaves no trace
    assert os.listdir(tmp_path) == []
    write_image(torch.zeros(1, 3, 4, 4), tmp_path / "a.png")
    write_image(torch.ones(1, 3, 4, 4), tmp_path / "a.png")
    assert os.listdir(tmp_path) == ["a.png"]
    assert torch.equal(read_image(tmp_path / "a.png"), torch.ones(1, 3, 4, 4))


NOTES = {"d2lstyle": '{"alpha": 0.5}', "Comment": "two\nlines, \u00fc and \u4e2d"}


@pytest.mark.parametrize("notes", [NOTES, {}, None])
def test_notes_are_kept_beside_the_same_pixels(tmp_path, notes):
    write_image(random_image(), tmp_path / "plain.png")
    write_image(random_image(), tmp_path / "noted.PNG", notes=notes)
    assert torch.equal(read_image(tmp_path / "noted.PNG"), read_image(tmp_path / "plain.png"))
    with Image.open(tmp_path / "noted.PNG") as file:
        assert file.text == (notes or {})
    assert sorted(os.listdir(tmp_path)) == ["noted.PNG", "plain.png"]


def test_a_file_that_keeps_no_notes_is_not_written_without_them(tmp_path):
    with pytest.raises(ValueError, match="a.jpg: expected a file name ending in .png, other files keep no notes"):
        write_image(random_image(), tmp_path / "a.jpg", notes=NOTES)
    assert os.listdir(tmp_path) == []
    write_image(random_image(), tmp_path / "a.jpg", notes={})


# transparency

RAMP = torch.arange(600).remainder(256).view(1, 1, 20, 30) / 255  # every shade of 8 bits


@pytest.mark.parametrize("ending", ["png", "webp", "tif"])
def test_alpha_is_a_files_fourth_channel(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    write_image(random_image(), path, alpha=RAMP)
    with Image.open(path) as file:
        assert file.mode == "RGBA" and np.array_equal(np.asarray(file)[..., 3], (RAMP[0, 0] * 255).round().numpy())
        colours = torch.tensor(np.asarray(file)[..., :3]).permute(2, 0, 1)[None] / 255
    assert torch.equal(read_alpha(path), RAMP) and torch.equal(read_alpha(path, (10, 15)), resize(RAMP, (10, 15)))
    assert (read_image(path) - (RAMP * colours + 1 - RAMP)).abs().max() <= 1 / 255  # over white
    if ending != "webp":  # which loses a little
        assert (colours - random_image()).abs().max() <= 1 / 255 / 2 + 1e-6


def save_transparent(path, mode, pixels, **options):
    """A file of one row; colours of a palette are red and green."""
    image = Image.new(mode, (len(pixels), 1))
    if mode == "P":
        image.putpalette([255, 0, 0, 0, 255, 0])
    for x, pixel in enumerate(pixels):
        image.putpixel((x, 0), pixel)
    image.save(path, **options)


@pytest.mark.parametrize(
    "mode, pixels, options, expected",
    [
        ("RGBA", [(1, 2, 3, 0), (9, 9, 9, 51), (7, 7, 7, 255)], {}, [0, 51, 255]),
        ("LA", [(0, 102), (200, 255)], {}, [102, 255]),
        ("P", [0, 1, 0], {"transparency": 1}, [255, 0, 255]),
        ("P", [0, 1], {"transparency": bytes([128, 3])}, [128, 3]),
        ("L", [7, 8], {"transparency": 8}, [255, 0]),
        ("RGB", [(1, 2, 3), (4, 5, 6)], {"transparency": (4, 5, 6)}, [255, 0]),
        ("RGB", [(1, 2, 3)], {}, None),
        ("L", [7], {}, None),
        ("P", [0], {}, None),
        ("I;16", [7], {}, None),
    ],
)
def test_alpha_of_every_mode(tmp_path, mode, pixels, options, expected):
    save_transparent(tmp_path / "a.png", mode, pixels, **options)
    alpha = read_alpha(tmp_path / "a.png")
    assert alpha is expected or torch.equal(alpha, torch.tensor(expected).view(1, 1, 1, -1) / 255)


def test_alpha_is_upright_as_the_image_is(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    save_transparent(tmp_path / "a.png", "RGBA", [(0, 0, 0, 255), (0, 0, 0, 0)], exif=exif)
    assert torch.equal(read_alpha(tmp_path / "a.png"), torch.tensor([[[[1.0], [0.0]]]]))
    assert torch.equal(read_image(tmp_path / "a.png")[:, :1], torch.tensor([[[[0.0], [1.0]]]]))


# sizes


@pytest.mark.parametrize(
    "shape, size, expected",
    [
        ((20, 30), 60, (40, 60)),
        ((30, 20), 60, (60, 40)),
        ((20, 30), 15, (10, 15)),
        ((20, 30), 30, (20, 30)),
        ((1, 1000), 10, (1, 10)),  # a side never vanishes
        ((20, 30), (7, 9), (7, 9)),
        ((20, 30), [7, 9], (7, 9)),
    ],
)
def test_scaled_size(shape, size, expected):
    assert scaled_size(shape, size) == expected
    assert resize(random_image(*shape), size).shape == (1, 3, *expected)


@pytest.mark.parametrize("size", [0, -3, 2.5, "64", True, None, (), (12,), (0, 4), (4, -1), (4, 4, 4), (4, 2.0)])
def test_other_sizes_are_refused(size):
    with pytest.raises(ValueError, match="expected size in pixels"):
        scaled_size((20, 30), size)


def test_read_image_scales(tmp_path):
    write_image(random_image(20, 30), tmp_path / "a.png")
    whole = read_image(tmp_path / "a.png")
    assert torch.equal(read_image(tmp_path / "a.png", size=12), resize(whole, 12))
    assert read_image(tmp_path / "a.png", size=(9, 5)).shape == (1, 3, 9, 5)


def test_resize_to_the_same_size_is_the_identity():
    image = random_image()
    assert resize(image, 30) is image and resize(image, (20, 30)) is image


@pytest.mark.parametrize("size", [12, 29, 90, (64, 5)])
def test_resize_keeps_the_range(size):
    extreme = random_image().round()  # black and white pixels, where a bicubic filter overshoots
    small = resize(extreme, size)
    assert small.min() >= 0 and small.max() <= 1


def test_resize_agrees_with_pillow():
    image = random_image(40, 60)
    channels = [Image.fromarray(plane.numpy()).resize((21, 14), Image.Resampling.BICUBIC) for plane in image[0]]
    expected = torch.from_numpy(np.stack([np.asarray(channel) for channel in channels])).clamp(0, 1)
    torch.testing.assert_close(resize(image, (14, 21))[0], expected, rtol=0, atol=1e-5)


def test_resize_of_a_batch_equals_singles():
    images = torch.cat([random_image(), random_image(seed=1)])
    singles = torch.cat([resize(image, 17) for image in images.split(1)])
    torch.testing.assert_close(resize(images, 17), singles, rtol=0, atol=1e-6)


def test_an_image_within_the_contract_passes():
    for shape in ((1, 3, 1, 1), (5, 3, 2, 9)):
        checks.image(torch.rand(shape))
        checks.image(torch.full(shape, 1 + 5e-5))  # rounding errors of a filter are no fault
