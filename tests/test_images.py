"""Files to tensors and back."""

import os
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageOps
from pretend_gpu import GPU, pretend_gpu

from d2lstyle import read_image, write_image
from d2lstyle.engine import checks, decoding
from d2lstyle.engine.decoding import check_writable, upright_shape
from d2lstyle.images import read_alpha, resize, scaled_size


def random_image(height=20, width=30, seed=0):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def as_pil(image):
    return Image.fromarray((image[0] * 255).round().byte().permute(1, 2, 0).numpy())


LOSSY = {".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif"}


HERE = [ending for ending in decoding.WRITTEN if ending in Image.registered_extensions()]  # older Pillow: no AVIF


@pytest.mark.parametrize("name", [*(f"picture{ending}" for ending in HERE), "picture.PNG", "a space é.png"])
def test_the_ending_chooses_a_format_and_its_loss(tmp_path, name):
    image = resize(random_image(4, 6), (40, 60))
    write_image(image, tmp_path / name)
    back, ending = read_image(tmp_path / name), os.path.splitext(name)[1].lower()
    assert back.shape == image.shape and back.dtype == torch.float32 and back.is_contiguous()
    with Image.open(tmp_path / name) as file:
        assert file.format == Image.registered_extensions()[ending]
    if ending in LOSSY:  # they halve the resolution of colour
        assert (back - image).abs().mean() < 3 / 255 and (back - image).abs().max() < 16 / 255
    else:
        assert (back - image).abs().max() <= 1 / 255 / 2 + 1e-6


@pytest.mark.parametrize("ending", sorted({*Image.registered_extensions(), ".xyz", ""} - {*decoding.WRITTEN}))
def test_other_endings_are_refused_before_the_work(tmp_path, ending):
    for refusing in (decoding.check_writable, lambda path: write_image(random_image(), path)):
        with pytest.raises(ValueError, match=f"expected a file name ending in .*, got '{ending or 'no ending'}'"):
            refusing(tmp_path / f"picture{ending}")
    assert os.listdir(tmp_path) == []


def test_pixels_are_those_that_pillow_reads_and_a_second_round_trip_changes_nothing(tmp_path):
    write_image(random_image(), tmp_path / "a.png")
    once = read_image(tmp_path / "a.png")
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    assert np.array_equal((once[0].permute(1, 2, 0) * 255).round().numpy(), pixels)
    write_image(once, tmp_path / "b.png")
    assert torch.equal(read_image(tmp_path / "b.png"), once)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.float16])
def test_any_float_is_written_even_in_a_graph_and_a_little_outside(tmp_path, kind):
    values = torch.tensor([-5e-5, 0.5, 1 + 5e-5], dtype=kind, requires_grad=True)
    write_image(values.view(1, 3, 1, 1), tmp_path / "a.png")
    assert np.asarray(Image.open(tmp_path / "a.png")).tolist() == [[[0, 128, 255]]]


def test_an_image_on_a_gpu_is_fetched_once_and_written_as_it_is(tmp_path):
    image, alpha = torch.rand(1, 3, 8, 9), torch.rand(1, 1, 8, 9)
    write_image(image, tmp_path / "a.png", alpha=alpha)
    with pretend_gpu(has_float64=False) as log:
        write_image(image.to(GPU), tmp_path / "b.png", alpha=alpha)
        assert log.totals()["wait"] == 1
        write_image(image, tmp_path / "c.png", alpha=alpha.to(GPU))
        assert torch.equal(resize(image.to(GPU), 16).cpu(), resize(image, 16))
    assert len({(tmp_path / f"{name}.png").read_bytes() for name in "abc"}) == 1


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


@pytest.mark.skipif(os.name != "posix", reason="modes and links of POSIX")
def test_links_and_modes_stay(tmp_path):
    umask = os.umask(0)
    os.umask(umask)
    folder, target, link = tmp_path / "photos", tmp_path / "photos" / "a.png", tmp_path / "link.png"
    folder.mkdir()
    link.symlink_to(target)
    for mode in (None, 0o600, 0o444, 0o666):  # first, the link leads to no file
        if mode is not None:
            target.chmod(mode)
        write_image(random_image(seed=mode or 0), link)
        assert link.is_symlink() and target.stat().st_mode & 0o777 == (0o666 & ~umask if mode is None else mode)
        assert (read_image(target) - random_image(seed=mode or 0)).abs().max() < 0.01
    assert os.listdir(folder) == ["a.png"] and sorted(os.listdir(tmp_path)) == ["link.png", "photos"]


@pytest.mark.skipif(os.name != "posix", reason="links and pipes of POSIX")
@pytest.mark.parametrize(
    "kind, words",
    [("loop", "or a link that leads to itself"), ("pipe", "a device, or"), ("nowhere", "there is no folder .*nowhere")],
)
def test_no_device_is_replaced(tmp_path, kind, words):
    path, target = tmp_path / "a.png", tmp_path / {"loop": "a.png", "pipe": "pipe", "nowhere": "nowhere/b.png"}[kind]
    if kind == "pipe":
        os.mkfifo(target)
    path.symlink_to(target)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(OSError, match=words):
        write_image(random_image(), path)
    assert path.is_symlink() and sorted(os.listdir(tmp_path)) == before


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


# colour profiles: the expected colours are computed by hand from the published primaries and curves


def profile(space, **tags):
    """An ICC profile of these tags, over CIE XYZ or Lab."""
    tags = {"cprt": b"text\0\0\0\0none\0", "wtpt": xyz(0.9642, 1, 0.8249)} | tags
    table, data = struct.pack(">I", len(tags)), b""
    for name, tag in tags.items():
        table += struct.pack(">4sII", name.encode(), 132 + 12 * len(tags) + len(data), len(tag))
        data += tag + bytes(-len(tag) % 4)
    pcs, illuminant = (b"Lab " if "A2B0" in tags else b"XYZ "), xyz(0.9642, 1, 0.8249)[8:]
    head = struct.pack(">4xI4s4s4s12x4s24x", 0x02100000, b"prtr", space, pcs, b"acsp") + bytes(4) + illuminant
    body = head.ljust(124, b"\0") + table + data
    return struct.pack(">I", 4 + len(body)) + body


def xyz(*numbers):
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(number * 65536) for number in numbers))


def gamma(exponent):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(exponent * 256))


def rgb_profile(exponent, *primaries):
    curves = dict.fromkeys(("rTRC", "gTRC", "bTRC"), gamma(exponent))
    return profile(b"RGB ", **dict(zip(("rXYZ", "gXYZ", "bXYZ"), (xyz(*colour) for colour in primaries))), **curves)


# Primaries after adaptation to D50, as ICC profiles have them; and linear colours -> linear sRGB, which all have D65.
ADOBE = rgb_profile(563 / 256, (0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
ADOBE_TO_SRGB = [[1.39836, -0.39836, 0], [0, 1, 0], [0, -0.04293, 1.04293]]
P3 = rgb_profile(2.2, (0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
P3_TO_SRGB = [[1.22494, -0.22494, 0], [-0.04206, 1.04206, 0], [-0.01964, -0.07864, 1.09827]]
GREY, SRGB = profile(b"GRAY", kTRC=gamma(1)), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
IDENTITY = bytes(range(256))
# CMYK -> L* = 100 without ink, 0 with any; a* = b* = 0, which is 128 of 255
INKS = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
INKS += IDENTITY * 4 + bytes([255, 128, 128]) + bytes([0, 128, 128]) * 15 + IDENTITY * 3
CMYK = profile(b"CMYK", A2B0=INKS)


def srgb(linear):
    """The curve of sRGB."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def by_matrix(exponent, matrix, *colours):
    return srgb((np.array(colours) / 255) ** exponent @ np.transpose(matrix)) * 255


SOME = [(200, 100, 50), (120, 130, 140), (90, 160, 90), (255, 255, 255), (0, 0, 0), (30, 60, 20)]
LEVELS = list(range(0, 256, 17))
GREYS, LINEAR = [(level,) * 3 for level in LEVELS], [(level,) * 3 for level in srgb(np.array(LEVELS) / 255) * 255]

# name: (profile, mode, pixels, expected colours of 255)
PROFILED = {
    "Adobe RGB": (ADOBE, "RGB", SOME, by_matrix(563 / 256, ADOBE_TO_SRGB, *SOME)),
    "Display P3": (P3, "RGB", SOME, by_matrix(2.2, P3_TO_SRGB, *SOME)),
    "grey in Adobe RGB": (ADOBE, "L", LEVELS, by_matrix(563 / 256, ADOBE_TO_SRGB, *GREYS)),
    "a palette in Adobe RGB": (ADOBE, "P", [1], by_matrix(563 / 256, ADOBE_TO_SRGB, (200, 100, 50))),
    "linear grey": (GREY, "L", LEVELS, LINEAR),
    "linear grey, opaque": (GREY, "LA", [(level, 255) for level in LEVELS], LINEAR),
    "linear 16-bit grey": (GREY, "I;16", [level * 257 for level in LEVELS], LINEAR),
    "CMYK, where L* = 50 is Y = 0.1842": (
        *(CMYK, "CMYK", [(0,) * 4, (255, 0, 0, 0), (128, 0, 0, 0)]),
        [(255,) * 3, (0,) * 3, srgb(np.full(3, 0.1842)) * 255],
    ),
    "sRGB": (SRGB, "RGB", GREYS + SOME, GREYS + SOME),
    "grey's does not fit colours": (GREY, "RGB", SOME, SOME),
    "Adobe RGB does not fit inks": (ADOBE, "CMYK", [(255, 0, 0, 0)], [(0, 255, 255)]),
    "cut short": (ADOBE[:300], "RGB", SOME, SOME),
    "damaged": (b"no profile", "RGB", SOME, SOME),
}


@pytest.mark.parametrize("name", PROFILED)
def test_colours_become_those_of_srgb(tmp_path, name):
    icc, mode, pixels, expected = PROFILED[name]
    image = Image.new(mode, (len(pixels), 1))
    if mode == "P":
        image.putpalette([0, 0, 0, 200, 100, 50])
    for x, pixel in enumerate(pixels):
        image.putpixel((x, 0), pixel)
    image.save(tmp_path / "a", "TIFF" if mode == "CMYK" else "PNG", icc_profile=icc)
    seen = read_image(tmp_path / "a")[0, :, 0].T * 255
    assert np.abs(seen.numpy() - np.array(expected)).max() <= 1.01  # the engine computes in 8 bits


def test_the_profile_of_a_transparent_picture(tmp_path):
    save_transparent(tmp_path / "a.png", "RGBA", [(200, 100, 50, 51), (9, 9, 9, 0)], icc_profile=ADOBE)
    colour = by_matrix(563 / 256, ADOBE_TO_SRGB, (200, 100, 50))[0]
    seen = read_image(tmp_path / "a.png")[0, :, 0].T * 255
    assert np.abs(seen.numpy() - [colour * 0.2 + 204, (255,) * 3]).max() <= 1
    assert torch.equal(read_alpha(tmp_path / "a.png"), torch.tensor([[[[0.2, 0.0]]]]))


# large pictures, which are scaled down while they are read

READ = """
import resource, sys
from d2lstyle import read_image
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
before = peak()
image = read_image(sys.argv[1], 512)
print(peak() - before, max(image.shape), *image.amin((0, 2, 3)).tolist(), *image.amax((0, 2, 3)).tolist())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere ru_maxrss has another unit")
@pytest.mark.parametrize("name, size", [("a.png", (9450, 9450)), ("a.jpg", (6000, 4000))])
def test_a_huge_picture_is_read_small_within_400_mb(tmp_path, name, size):
    Image.new("RGB", size, (200, 100, 50)).save(tmp_path / name, compress_level=1)
    command = [sys.executable, "-c", READ, tmp_path / name]
    grown, side, *colours = map(
        float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    )
    assert grown < 400 and side == 512
    assert colours == pytest.approx([200 / 255, 100 / 255, 50 / 255] * 2, abs=1.01 / 255)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "tif"])
def test_every_orientation_is_the_one_that_pillow_gives(tmp_path, kind, orientation):
    path, exif = tmp_path / f"a.{kind}", Image.Exif()
    exif[0x0112] = orientation
    as_pil(random_image()).save(path, exif=exif)
    with Image.open(path) as file:
        expected = np.asarray(ImageOps.exif_transpose(file))
    assert np.array_equal((read_image(path)[0] * 255).round().permute(1, 2, 0), expected)
    assert upright_shape(path) == expected.shape[:2]


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("mode, size", [("RGB", 20), ("RGBA", (31, 7)), ("P", 20), ("I;16", 60), ("CMYK", 5)])
def test_a_large_picture_is_scaled_as_a_small_one(tmp_path, monkeypatch, mode, size, orientation):
    path, exif = tmp_path / "a.tif", Image.Exif()
    exif[0x0112] = orientation
    image = as_pil(random_image(33, 47))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    elif mode == "RGBA":
        image.putalpha(as_pil(random_image(33, 47, seed=1)).convert("L"))
    image.convert(mode).save(path, exif=exif)
    whole = [(read, read(path, size)) for read in (read_image, read_alpha)]
    monkeypatch.setattr(decoding, "LARGE", 0)
    monkeypatch.setattr(decoding, "STRIP", 47 * 5)
    for read, expected in whole:
        if expected is None:
            assert read(path, size) is None
        else:
            torch.testing.assert_close(read(path, size), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("orientation", [1, 8])
def test_a_huge_jpeg_is_decoded_small(tmp_path, monkeypatch, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    smooth = resize(random_image(15, 22), (303, 437))  # sides that are no multiples of 8
    as_pil(smooth).save(tmp_path / "a.jpg", quality=95, exif=exif)
    expected, decoded = read_image(tmp_path / "a.jpg", 40), []
    monkeypatch.setattr(decoding, "LARGE", 0)
    monkeypatch.setattr(decoding, "HUGE", 0)
    strips = decoding._strips
    monkeypatch.setattr(decoding, "_strips", lambda image: decoded.append(image.size) or strips(image))
    small = read_image(tmp_path / "a.jpg", 40)
    assert decoded == [(219, 152)] and (small - expected).abs().max() <= 3 / 255


def test_a_picture_may_be_a_thread(tmp_path):
    for size, expected in (((6_000_000, 1), (1, 50)), ((3, 1_500_000), (50, 1))):
        Image.new("L", size, 77).save(tmp_path / "a.png")
        uniform = torch.full((1, 3, *expected), 77 / 255)
        torch.testing.assert_close(read_image(tmp_path / "a.png", 50), uniform, rtol=0, atol=1 / 255 / 2)


def test_what_takes_too_much_memory_is_refused_by_its_numbers(tmp_path, recwarn):
    Image.new("1", (9460, 9460)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a.png is too large .*: 9460 x 9460 pixels take 1.3 GiB, .* 1: give size="):
        read_image(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"take 1.3 GiB, .* 1: scale it down, or give a smaller size="):
        read_image(tmp_path / "a.png", 9460)
    assert read_image(tmp_path / "a.png", 32).shape == (1, 3, 32, 32) and not recwarn  # of Pillow's
