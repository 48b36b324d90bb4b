"""Whatever a user may hand in: the right picture, or one clear error; from the functions and from the command."""

import io
import os
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
import torch
from PIL import Image

from d2lstyle import backbone, cli, painting, read_image, sample, stylize, write_image

# files


def png(width, height):
    """A valid PNG header that promises this many grey pixels, and hardly any data."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")
    )


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture(mode, pixels, kind="PNG", palette=None, **options):
    """A file with these pixels in one row; the first of them at the left."""
    image = Image.new(mode, (len(pixels), 1))
    if palette:
        image.putpalette(palette)
    for x, pixel in enumerate(pixels):
        image.putpixel((x, 0), pixel)
    return encoded(image, kind, **options)


def rotated(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return picture("RGB", [(255, 0, 0), (0, 0, 255)], exif=exif)


def animated():
    frames = [Image.new("RGB", (2, 1), color) for color in ("red", "blue", "lime")]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


RED_GREEN = [255, 0, 0, 0, 255, 0]

# name: (bytes, rows of the expected pixels, of 255)
READABLE = {
    "RGB": (picture("RGB", [(1, 2, 3), (255, 0, 128)]), [[(1, 2, 3), (255, 0, 128)]]),
    "one pixel": (picture("RGB", [(9, 8, 7)]), [[(9, 8, 7)]]),
    # over white: color * alpha / 255 + 255 - alpha; 0 * 128/255 + 127 = 127
    "RGBA": (
        picture("RGBA", [(255, 0, 0, 0), (255, 0, 0, 255), (0, 0, 0, 128)]),
        [[(255, 255, 255), (255, 0, 0), (127, 127, 127)]],
    ),
    "grey with alpha": (picture("LA", [(0, 0), (100, 255), (0, 51)]), [[(255,) * 3, (100,) * 3, (204,) * 3]]),
    "grey": (picture("L", [0, 77, 255]), [[(0,) * 3, (77,) * 3, (255,) * 3]]),
    "grey with a transparent value": (picture("L", [77, 78], transparency=77), [[(255,) * 3, (78,) * 3]]),
    "black and white": (picture("1", [0, 1]), [[(0,) * 3, (255,) * 3]]),
    "16-bit grey": (
        picture("I;16", [0, 1000, 32768, 65535]),
        [[(0,) * 3, (1000 / 257,) * 3, (32768 / 257,) * 3, (255,) * 3]],  # 65535 = 257 * 255
    ),
    "float grey": (picture("F", [0.0, 0.25, 1.0], "TIFF"), [[(0,) * 3, (63.75,) * 3, (255,) * 3]]),
    "CMYK": (
        picture("CMYK", [(0, 0, 0, 0), (255, 0, 0, 0), (0, 0, 0, 255)], "TIFF"),
        [[(255, 255, 255), (0, 255, 255), (0, 0, 0)]],
    ),
    "palette": (picture("P", [1, 0], palette=RED_GREEN), [[(0, 255, 0), (255, 0, 0)]]),
    "palette with a transparent colour": (
        picture("P", [1, 0], palette=RED_GREEN, transparency=1),
        [[(255, 255, 255), (255, 0, 0)]],
    ),
    "GIF with a transparent colour": (
        picture("P", [1, 0], "GIF", palette=RED_GREEN, transparency=1),
        [[(255, 255, 255), (255, 0, 0)]],
    ),
    "animated GIF": (animated(), [[(255, 0, 0), (255, 0, 0)]]),
    # stored as red, blue from left to right; the tag says how a viewer turns it
    "EXIF upright": (rotated(1), [[(255, 0, 0), (0, 0, 255)]]),
    "EXIF upside down": (rotated(3), [[(0, 0, 255), (255, 0, 0)]]),
    "EXIF turned clockwise": (rotated(6), [[(255, 0, 0)], [(0, 0, 255)]]),
    "EXIF turned anticlockwise": (rotated(8), [[(0, 0, 255)], [(255, 0, 0)]]),
}

WHOLE_PNG = encoded(Image.effect_noise((64, 64), 90), "PNG")
WHOLE_JPEG = encoded(Image.effect_noise((64, 64), 90), "JPEG")
NO_IMAGE, DAMAGED = "is not an image that can be read", "is damaged or cut short"

# name: (bytes, text of the one error)
UNREADABLE = {
    "zero bytes": (b"", NO_IMAGE),
    "a text": (b"not an image, though it is called one\n", NO_IMAGE),
    "a PNG without its data": (WHOLE_PNG[:20], f"{NO_IMAGE}|{DAMAGED}"),
    "a PNG cut in half": (WHOLE_PNG[: len(WHOLE_PNG) // 2], DAMAGED),
    "a JPEG cut in half": (WHOLE_JPEG[: len(WHOLE_JPEG) // 2], DAMAGED),
    "a JPEG's first bytes": (WHOLE_JPEG[:10], f"{NO_IMAGE}|{DAMAGED}"),
    "a PNG with a wrong byte": (WHOLE_PNG[:300] + b"\0\0\0\0" + WHOLE_PNG[304:], DAMAGED),
    "20,000 x 20,000 pixels": (png(20_000, 20_000), "is too large to read"),
    "10,000 x 10,000 pixels": (png(10_000, 10_000), "is too large to read"),  # here Pillow would only warn
    "a DDS of no known format": (
        b"DDS "
        + struct.pack("<7I", 124, 0, 1, 1, 0, 0, 0)
        + bytes(44)
        + struct.pack("<8I", 32, 0, 0, 0, 0, 0, 0, 0)
        + bytes(20),
        DAMAGED,  # the decoder raises NotImplementedError
    ),
}


@pytest.mark.parametrize("name", READABLE)
@pytest.mark.parametrize("from_memory", [True, False])
def test_every_kind_of_image_reads_as_a_person_sees_it(tmp_path, name, from_memory):
    data, rows = READABLE[name]
    (tmp_path / "file").write_bytes(data)
    image = read_image(io.BytesIO(data) if from_memory else tmp_path / "file")
    expected = torch.tensor(rows, dtype=torch.float32).permute(2, 0, 1)[None] / 255
    assert image.dtype == torch.float32
    torch.testing.assert_close(image, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.parametrize("from_memory", [True, False])
def test_what_is_no_image_is_one_error_that_names_the_file(tmp_path, name, from_memory):
    data, text = UNREADABLE[name]
    (tmp_path / "photo.png").write_bytes(data)
    with pytest.raises(
        ValueError, match=f"^{'the file' if from_memory else re.escape(str(tmp_path / 'photo.png'))} ({text})"
    ) as caught:
        read_image(io.BytesIO(data) if from_memory else tmp_path / "photo.png")
    assert "\n" not in str(caught.value)


# functions

IMAGE = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
PAIR, MASK = torch.cat([IMAGE, IMAGE.flip(3)]), torch.ones(1, 1, 32, 32)


def with_value(value):
    image = IMAGE.clone()
    image[0, 1, 2, 3] = value
    return image


# name: (call with the network and a folder, error, text)
REFUSED = {
    "read: a missing file": (
        lambda net, tmp: read_image(tmp / "absent.png"),
        FileNotFoundError,
        "there is no file .*absent.png",
    ),
    "read: a file in a file": (
        lambda net, tmp: read_image(tmp / "file" / "a.png"),
        FileNotFoundError,
        "there is no file .*a.png",
    ),
    "read: a folder": (lambda net, tmp: read_image(tmp), ValueError, "is a folder, expected one image file"),
    "read: a name too long": (lambda net, tmp: read_image(tmp / ("a" * 300)), OSError, "File name too long"),
    "read: a wrong size": (
        lambda net, tmp: read_image(tmp / "photo.png", size=0),
        ValueError,
        "size in pixels, .* got 0",
    ),
    "write: a missing folder": (
        lambda net, tmp: write_image(IMAGE, tmp / "no" / "a.png"),
        FileNotFoundError,
        "there is no folder .*no to write a.png in",
    ),
    "write: a file as folder": (
        lambda net, tmp: write_image(IMAGE, tmp / "file" / "a.png"),
        FileNotFoundError,
        "there is no folder .*file to write a.png in",
    ),
    "write: a folder as file": (
        lambda net, tmp: write_image(IMAGE, tmp / "sub.png"),
        IsADirectoryError,
        "is a folder, expected the name of a file",
    ),
    "write: an unknown ending": (
        lambda net, tmp: write_image(IMAGE, tmp / "a.xyz"),
        ValueError,
        r"ending in .png, .jpg, .* got '.xyz'",
    ),
    "write: no ending": (lambda net, tmp: write_image(IMAGE, tmp / "a"), ValueError, "got 'no ending'"),
    "write: an ending only read": (lambda net, tmp: write_image(IMAGE, tmp / "a.psd"), ValueError, "got '.psd'"),
    "write: a name too long": (
        lambda net, tmp: write_image(IMAGE, tmp / ("a" * 300 + ".png")),
        OSError,
        "File name too long",
    ),
    "write: a batch": (
        lambda net, tmp: write_image(IMAGE.expand(2, -1, -1, -1), tmp / "a.png"),
        ValueError,
        "batch of 2",
    ),
    "write: NaN": (lambda net, tmp: write_image(with_value(torch.nan), tmp / "a.png"), ValueError, "NaN or infinite"),
    "write: 0 to 255": (
        lambda net, tmp: write_image(IMAGE * 255, tmp / "a.png"),
        ValueError,
        "got values from .* to 25",
    ),
    "content: NaN": (
        lambda net, tmp: stylize(with_value(torch.nan), IMAGE, net=net),
        ValueError,
        "content in .0, 1., got NaN",
    ),
    "content: infinite": (
        lambda net, tmp: stylize(with_value(torch.inf), IMAGE, net=net),
        ValueError,
        "content in .0, 1., got NaN or infinite",
    ),
    "content: negative": (
        lambda net, tmp: stylize(with_value(-0.5), IMAGE, net=net),
        ValueError,
        "content in .0, 1., got values from -0.5 to",
    ),
    "content: 0 to 255": (
        lambda net, tmp: stylize(IMAGE * 255, IMAGE, net=net),
        ValueError,
        "content in .0, 1., got values",
    ),
    "content: integers": (
        lambda net, tmp: stylize((IMAGE * 255).byte(), IMAGE, net=net),
        ValueError,
        "content as float .*uint8",
    ),
    "content: three axes": (
        lambda net, tmp: stylize(IMAGE[0], IMAGE, net=net),
        ValueError,
        r"content of shape \(B, 3, H, W\), got \(3, 32, 32\)",
    ),
    "content: grey": (
        lambda net, tmp: stylize(IMAGE[:, :1], IMAGE, net=net),
        ValueError,
        r"content of shape .* got \(1, 1, 32, 32\)",
    ),
    "content: channels last": (
        lambda net, tmp: stylize(IMAGE.permute(0, 2, 3, 1), IMAGE, net=net),
        ValueError,
        r"got \(1, 32, 32, 3\)",
    ),
    "content: no image": (lambda net, tmp: stylize(IMAGE[:0], IMAGE, net=net), ValueError, r"got \(0, 3, 32, 32\)"),
    "content: a path": (
        lambda net, tmp: stylize("photo.png", IMAGE, net=net),
        TypeError,
        "content as a tensor .* got str: see read_image",
    ),
    "content: an array": (
        lambda net, tmp: stylize(IMAGE.numpy(), IMAGE, net=net),
        TypeError,
        "content as a tensor .* got ndarray",
    ),
    "content: one pixel": (
        lambda net, tmp: stylize(IMAGE[..., :1, :1], IMAGE, net=net),
        ValueError,
        "at least 32 x 32 pixels .* got 1 x 1",
    ),
    "style: NaN": (
        lambda net, tmp: stylize(IMAGE, with_value(torch.nan), net=net),
        ValueError,
        "style in .0, 1., got NaN",
    ),
    "style: a path": (lambda net, tmp: stylize(IMAGE, ["starry"], net=net), TypeError, "style as a tensor .* got str"),
    "style: none": (lambda net, tmp: stylize(IMAGE, [], net=net), ValueError, "at least one style"),
    "style: too many": (
        lambda net, tmp: stylize(IMAGE, IMAGE.expand(2, -1, -1, -1), net=net),
        ValueError,
        "one for each of 1 contents, got 2",
    ),
    "style: a thin line": (
        lambda net, tmp: stylize(IMAGE, IMAGE[..., :1, :], net=net),
        ValueError,
        "at least 32 x 32 pixels",
    ),
    "style_weights: too few": (
        lambda net, tmp: stylize(IMAGE, [IMAGE] * 2, style_weights=[1], net=net),
        ValueError,
        "weight for each of 2 styles, got 1",
    ),
    "style_weights: too many": (
        lambda net, tmp: stylize(IMAGE, IMAGE, style_weights=[1, 2], net=net),
        ValueError,
        "weight for each of 1 styles, got 2",
    ),
    "style_weights: negative": (
        lambda net, tmp: stylize(IMAGE, [IMAGE] * 2, style_weights=[2, -1], net=net),
        ValueError,
        "none negative",
    ),
    "style_weights: all zero": (
        lambda net, tmp: stylize(IMAGE, [IMAGE] * 2, style_weights=[0, 0], net=net),
        ValueError,
        "not all zero",
    ),
    "style_weights: NaN": (
        lambda net, tmp: stylize(IMAGE, [IMAGE] * 2, style_weights=[1, torch.nan], net=net),
        ValueError,
        "expected style weights",
    ),
    "style_weights: three axes": (
        lambda net, tmp: stylize(IMAGE, [IMAGE] * 2, style_weights=torch.ones(1, 1, 2), net=net),
        ValueError,
        r"style weights \(2,\) or \(1, 2\), got \(1, 1, 2\)",
    ),
    "style_weights: one number": (
        lambda net, tmp: stylize(IMAGE, IMAGE, style_weights=1.0, net=net),
        ValueError,
        r"style weights \(1,\) or \(1, 1\), got \(\)",
    ),
    "style_weights: ragged": (
        lambda net, tmp: stylize(PAIR, [IMAGE] * 2, style_weights=[[1, 2], [1]], net=net),
        ValueError,
        r"style weights as numbers, one a style, got \[\[1, 2\], \[1\]\]",
    ),
    "style_weights: words": (
        lambda net, tmp: stylize(IMAGE, [IMAGE] * 2, style_weights=["a", "b"], net=net),
        ValueError,
        "style weights as numbers, one a style, got",
    ),
    "style_weights: too few rows": (
        lambda net, tmp: stylize(PAIR.repeat(2, 1, 1, 1), [IMAGE] * 2, style_weights=[[1, 2]] * 2, net=net),
        ValueError,
        r"style weights \(2,\) or \(4, 2\), got \(2, 2\)",
    ),
    "style_weights: too many rows": (
        lambda net, tmp: stylize(IMAGE, [IMAGE] * 2, style_weights=[[1, 2]] * 3, net=net),
        ValueError,
        r"style weights \(2,\) or \(1, 2\), got \(3, 2\)",
    ),
    "style_weights: rows too long": (
        lambda net, tmp: stylize(PAIR, [IMAGE] * 2, style_weights=[[1, 2, 3]] * 2, net=net),
        ValueError,
        r"style weights \(2,\) or \(2, 2\), got \(2, 3\)",
    ),
    "style_weights: a row of zeros": (
        lambda net, tmp: stylize(PAIR, [IMAGE] * 2, style_weights=[[1, 2], [0, 0]], net=net),
        ValueError,
        "not all zero",
    ),
    "style_weights: a row with a negative": (
        lambda net, tmp: stylize(PAIR, [IMAGE] * 2, style_weights=[[1, 2], [3, -1]], net=net),
        ValueError,
        "none negative",
    ),
    "mix: unknown": (
        lambda net, tmp: stylize(IMAGE, [IMAGE] * 2, mix="gram", net=net),
        ValueError,
        "unknown mix 'gram': did you mean 'grams'",
    ),
    "style_masks: empty": (
        lambda net, tmp: stylize(IMAGE, IMAGE, style_masks=0 * MASK, net=net),
        ValueError,
        "keep some position, got an empty one",
    ),
    "style_masks: empty for one image": (
        lambda net, tmp: stylize(PAIR, IMAGE, style_masks=torch.cat([MASK, 0 * MASK]), net=net),
        ValueError,
        "keep some position, got an empty one",
    ),
    "style_masks: another size": (
        lambda net, tmp: stylize(IMAGE, IMAGE, style_masks=MASK[..., 1:], net=net),
        ValueError,
        r"its style's size, \(1, 1, 32, 32\), got \(1, 1, 32, 31\)",
    ),
    "style_masks: the content's size": (
        lambda net, tmp: stylize(IMAGE[..., :40], torch.rand(1, 3, 48, 40), style_masks=MASK, net=net),
        ValueError,
        r"its style's size, \(1, 1, 48, 40\), got",
    ),
    "style_masks: two axes": (
        lambda net, tmp: stylize(IMAGE, IMAGE, style_masks=MASK[0, 0], net=net),
        ValueError,
        r"its style's size, \(1, 1, 32, 32\), got \(32, 32\)",
    ),
    "style_masks: three channels": (
        lambda net, tmp: stylize(IMAGE, IMAGE, style_masks=IMAGE, net=net),
        ValueError,
        r"its style's size, .*got \(1, 3, 32, 32\)",
    ),
    "style_masks: an array": (
        lambda net, tmp: stylize(IMAGE, IMAGE, style_masks=MASK.numpy(), net=net),
        ValueError,
        "its style's size",
    ),
    "style_masks: a word": (
        lambda net, tmp: stylize(IMAGE, IMAGE, style_masks="left", net=net),
        ValueError,
        "its style's size, .* got str",
    ),
    "style_masks: negative": (
        lambda net, tmp: stylize(IMAGE, IMAGE, style_masks=MASK - 2 * torch.eye(32), net=net),
        ValueError,
        "finite values, none negative",
    ),
    "style_masks: NaN": (
        lambda net, tmp: stylize(IMAGE, IMAGE, style_masks=MASK.masked_fill(torch.eye(32) > 0, torch.nan), net=net),
        ValueError,
        "finite values, none negative",
    ),
    "style_masks: infinite": (
        lambda net, tmp: stylize(IMAGE, IMAGE, style_masks=MASK.masked_fill(torch.eye(32) > 0, torch.inf), net=net),
        ValueError,
        "finite values, none negative",
    ),
    "style_masks: too few": (
        lambda net, tmp: stylize(IMAGE, [IMAGE] * 2, style_masks=[MASK], net=net),
        ValueError,
        "a mask for each of 2 styles, or None in its place, got 1",
    ),
    "style_masks: one for two styles": (
        lambda net, tmp: stylize(IMAGE, [IMAGE] * 2, style_masks=MASK, net=net),
        ValueError,
        "a mask for each of 2 styles, or None in its place, got 1",
    ),
    "style_masks: too many": (
        lambda net, tmp: stylize(IMAGE, IMAGE, style_masks=[MASK, None], net=net),
        ValueError,
        "a mask for each of 1 styles, or None in its place, got 2",
    ),
    "style_masks: none": (
        lambda net, tmp: stylize(IMAGE, IMAGE, style_masks=[], net=net),
        ValueError,
        "a mask for each of 1 styles, or None in its place, got 0",
    ),
    "style_masks: for more images": (
        lambda net, tmp: stylize(IMAGE, IMAGE, style_masks=MASK.expand(2, -1, -1, -1), net=net),
        ValueError,
        r"its style's size, \(1, 1, 32, 32\), got \(2, 1, 32, 32\)",
    ),
    "style_channels: zero": (
        lambda net, tmp: stylize(IMAGE, IMAGE, style_channels=0, net=net),
        ValueError,
        "style_channels as a part, above 0 and at most 1, or as a number from 2 to 32, got 0",
    ),
    "style_channels: above one": (
        lambda net, tmp: stylize(IMAGE, IMAGE, style_channels=1.5, net=net),
        ValueError,
        "style_channels as a part, .* got 1.5",
    ),
    "style_channels: negative": (
        lambda net, tmp: stylize(IMAGE, IMAGE, style_channels=-0.5, net=net),
        ValueError,
        "style_channels as a part, .* got -0.5",
    ),
    "style_channels: NaN": (
        lambda net, tmp: stylize(IMAGE, IMAGE, style_channels=torch.nan, net=net),
        ValueError,
        "style_channels as a part, .* got nan",
    ),
    "style_channels: more than there are": (
        lambda net, tmp: stylize(IMAGE, IMAGE, style_channels=10**6, net=net),
        ValueError,
        "style_channels as a part, .* got 1000000",
    ),
    "content_weight: negative": (
        lambda net, tmp: stylize(IMAGE, IMAGE, content_weight=-1, net=net),
        ValueError,
        "content_weight of zero or more, got -1",
    ),
    "style_weight: negative": (
        lambda net, tmp: stylize(IMAGE, IMAGE, style_weight=-0.1, net=net),
        ValueError,
        "style_weight of zero or more, got -0.1",
    ),
    "style_weight: NaN": (
        lambda net, tmp: stylize(IMAGE, IMAGE, style_weight=torch.nan, net=net),
        ValueError,
        "style_weight of zero or more, got nan",
    ),
    "tv_weight: infinite": (
        lambda net, tmp: stylize(IMAGE, IMAGE, tv_weight=torch.inf, net=net),
        ValueError,
        "tv_weight of zero or more, got inf",
    ),
    "style_scale: zero": (
        lambda net, tmp: stylize(IMAGE, IMAGE, style_scale=0, net=net),
        ValueError,
        "style_scale above zero, got 0",
    ),
    "style_scale: negative": (
        lambda net, tmp: stylize(IMAGE, IMAGE, style_scale=-1, net=net),
        ValueError,
        "style_scale above zero, got -1",
    ),
    "style_scale: NaN": (
        lambda net, tmp: stylize(IMAGE, IMAGE, style_scale=torch.nan, net=net),
        ValueError,
        "style_scale above zero, got nan",
    ),
    "layer: unknown": (
        lambda net, tmp: stylize(IMAGE, IMAGE, content_layers=["relu4-1"], net=net),
        ValueError,
        "unknown layer of efficientnet_lite0 'relu4-1': did you mean 'relu4_1'",
    ),
    "layer: none": (
        lambda net, tmp: stylize(IMAGE, IMAGE, style_layers=[], net=net),
        ValueError,
        r"list of layers of efficientnet_lite0, got \[\]",
    ),
    "layer: no list": (
        lambda net, tmp: stylize(IMAGE, IMAGE, style_layers="relu1_1", net=net),
        ValueError,
        "list of layers .* got 'relu1_1'",
    ),
    "layer_weights: another layer": (
        lambda net, tmp: stylize(IMAGE, IMAGE, layer_weights={"relu9_9": 1}, net=net),
        ValueError,
        r"layer_weights for .* got \['relu9_9'\]",
    ),
    "backbone: unknown": (
        lambda net, tmp: backbone("vgg91"),
        ValueError,
        "unknown backbone 'vgg91': did you mean 'vgg19'",
    ),
    "backbone: a file that is none": (
        lambda net, tmp: backbone("resnet18", weights=tmp / "file"),
        ValueError,
        "file is damaged, or not a state dict",
    ),
    "device: unknown": (
        lambda net, tmp: stylize(IMAGE, IMAGE, device="warp"),
        ValueError,
        "device that this computer has .* got 'warp'",
    ),
    "convention: unknown": (
        lambda net, tmp: stylize(IMAGE, IMAGE, convention="gatis", net=net),
        ValueError,
        "unknown convention 'gatis': did you mean 'gatys'",
    ),
    "optimizer: unknown": (
        lambda net, tmp: stylize(IMAGE, IMAGE, optimizer="sgd", net=net),
        ValueError,
        "unknown optimizer 'sgd': There are lbfgs, adam",
    ),
    "init: unknown": (
        lambda net, tmp: stylize(IMAGE, IMAGE, init="random", net=net),
        ValueError,
        "unknown init 'random'",
    ),
    "precision: unknown": (
        lambda net, tmp: stylize(IMAGE, IMAGE, precision="fp16", net=net),
        ValueError,
        "unknown precision 'fp16': did you mean",
    ),
    "steps: zero": (lambda net, tmp: stylize(IMAGE, IMAGE, steps=0, net=net), ValueError, "at least one step, got 0"),
    "steps: negative": (
        lambda net, tmp: stylize(IMAGE, IMAGE, steps=-5, net=net),
        ValueError,
        "at least one step, got -5",
    ),
    "steps: a fraction": (
        lambda net, tmp: stylize(IMAGE, IMAGE, steps=2.5, net=net),
        ValueError,
        "positive number of steps .* got 2.5",
    ),
    "steps: a list too short": (
        lambda net, tmp: stylize(IMAGE, IMAGE, sizes=[32, 64], steps=[3], net=net),
        ValueError,
        r"steps for each of 2 sizes, got \[3\]",
    ),
    "steps: a list with zero": (
        lambda net, tmp: stylize(IMAGE, IMAGE, sizes=[32, 64], steps=[3, 0], net=net),
        ValueError,
        r"positive number of steps .* got \[3, 0\]",
    ),
    "sizes: none": (
        lambda net, tmp: stylize(IMAGE, IMAGE, sizes=[], net=net),
        ValueError,
        "expected sizes in pixels, got an empty list",
    ),
    "sizes: too small": (
        lambda net, tmp: stylize(IMAGE, IMAGE, sizes=[16, 32], net=net),
        ValueError,
        "at least 32 x 32 pixels at every size, got 16 x 16",
    ),
    "sizes: zero": (lambda net, tmp: stylize(IMAGE, IMAGE, sizes=0, net=net), ValueError, "size in pixels, .* got 0"),
    "sizes: a fraction": (
        lambda net, tmp: stylize(IMAGE, IMAGE, sizes=32.5, net=net),
        ValueError,
        "size in pixels, .* got 32.5",
    ),
    "seed: too large": (
        lambda net, tmp: stylize(IMAGE, IMAGE, init="noise", seed=2**70, net=net),
        ValueError,
        "seed of at most 64 bits, got 11805",
    ),
    "sample: unknown": (lambda net, tmp: sample("chna"), ValueError, "unknown photo 'chna': did you mean 'china'"),
    "painting: unknown": (
        lambda net, tmp: painting("stary"),
        ValueError,
        "unknown painting 'stary': did you mean 'starry'",
    ),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with one good photo, one file that is none and a folder named as a picture; also where commands run."""
    write_image(IMAGE, tmp_path / "photo.png")
    (tmp_path / "file").write_bytes(b"hello")
    (tmp_path / "sub.png").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", REFUSED)
def test_bad_arguments_are_one_clear_error(net, folder, name):
    call, error, text = REFUSED[name]
    before = sorted(os.listdir(folder))
    with pytest.raises(error, match=text) as caught:
        call(net, folder)
    assert type(caught.value) is error and "\n" not in str(caught.value)
    assert sorted(os.listdir(folder)) == before  # nothing half done is left


def test_a_folder_that_may_not_be_written(folder, monkeypatch):
    def refuse(self, *args, **options):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "touch", refuse)  # a superuser may write everywhere
    with pytest.raises(OSError, match="cannot write in .*: Permission denied$"):
        write_image(IMAGE, folder / "a.png")
    assert not (folder / "a.png").exists()


def test_a_file_that_may_not_be_read(folder, monkeypatch):
    def refuse(path, *args, **options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(PermissionError, match="Permission denied.*photo.png"):
        read_image(folder / "photo.png")


def test_memory_that_runs_out_is_no_damaged_file(folder, monkeypatch):
    def refuse(path, *args, **options):
        raise MemoryError

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(MemoryError):
        read_image(folder / "photo.png")


# the command

GOOD = [
    "stylize",
    "photo.png",
    "photo.png",
    "-o",
    "out.png",
    "--backbone",
    "efficientnet_lite0",
    "--size",
    "32",
    "--steps",
    "1",
]

# name: (arguments, text after "d2lstyle: ")
COMMANDS = {
    "a missing photo": (["stylize", "absent.png", "starry", "-o", "out.png"], "there is no file absent.png"),
    "a missing style": (["stylize", "photo.png", "stary", "-o", "out.png"], "there is no file stary"),
    "a photo that is none": (["stylize", "file", "starry", "-o", "out.png"], "file is not an image"),
    "a folder as photo": (["stylize", "sub.png", "starry", "-o", "out.png"], "sub.png is a folder"),
    "zero bytes": (["stylize", "empty.png", "starry", "-o", "out.png"], "empty.png is not an image"),
    "a photo cut short": (["stylize", "short.png", "starry", "-o", "out.png"], "short.png is damaged or cut short"),
    "a decompression bomb": (["stylize", "bomb.png", "starry", "-o", "out.png"], "bomb.png is too large to read"),
    "an output in no folder": (
        ["stylize", "photo.png", "starry", "-o", "no/out.png"],
        "there is no folder no to write out.png in",
    ),
    "an output in a file": (
        ["stylize", "photo.png", "starry", "-o", "file/out.png"],
        "there is no folder file to write",
    ),
    "an output that is a folder": (["stylize", "photo.png", "starry", "-o", "sub.png"], "sub.png is a folder"),
    "an output of no kind": (
        ["stylize", "photo.png", "starry", "-o", "out.xyz"],
        "out.xyz: expected a file name ending in",
    ),
    "an unknown backbone": ([*GOOD, "--backbone", "vgg91"], "unknown backbone 'vgg91': did you mean"),
    "weights that are none": ([*GOOD, "--weights", "file"], "file is damaged, or not a state dict"),
    "missing weights": ([*GOOD, "--weights", "absent.pth"], "there is no file of weights absent.pth"),
    "an unknown device": ([*GOOD, "--device", "warp"], "expected a device that this computer has"),
    "no steps": ([*GOOD, "--steps", "0"], "expected at least one step, got 0"),
    "steps in words": ([*GOOD, "--steps", "many"], ".*--steps"),
    "no size": ([*GOOD, "--size", "0"], "expected size in pixels"),
    "a size too small": ([*GOOD, "--size", "16"], "expected at least 32 x 32 pixels"),
    "a size beyond any memory": ([*GOOD, "--size", "100000000000"], "there is not enough memory: try a smaller --size"),
    "one proportion for two styles": (
        [*GOOD[:3], *GOOD[2:], "--mix", "1"],
        "expected a weight for each of 2 styles, got 1",
    ),
    "a negative proportion": ([*GOOD, "--mix", "-1"], "expected style weights, none negative"),
    "a negative weight": ([*GOOD, "--style-weight", "-2"], "expected style_weight of zero or more, got -2"),
    "a weight that overflows": ([*GOOD, "--tv-weight", "1e39"], "the loss is not finite at step 1 of 1"),
    "a scale of zero": ([*GOOD, "--style-scale", "0"], "expected style_scale above zero"),
    "an unknown optimizer": ([*GOOD, "--optimizer", "sgd"], ".*--optimizer.*sgd"),
    "an unknown init": ([*GOOD, "--init", "random"], ".*--init.*random"),
    "an unknown precision": ([*GOOD, "--precision", "fp8"], ".*--precision.*fp8"),
    "an unknown option": ([*GOOD, "--bogus"], "No such option.*--bogus"),
    "no output": (["stylize", "photo.png", "starry"], "Missing option.*--output"),
    "nothing to paint": (["stylize"], "Missing argument"),
    "an unknown command": (["paint"], "No such command .paint."),
    "something unknown to fetch": (["fetch", "vgg19"], ".*vgg19"),
}


@pytest.fixture
def command_folder(folder):
    (folder / "empty.png").touch()
    (folder / "short.png").write_bytes(WHOLE_PNG[: len(WHOLE_PNG) // 2])
    (folder / "bomb.png").write_bytes(png(20_000, 20_000))
    return folder


@pytest.mark.parametrize("name", COMMANDS)
def test_bad_commands_end_in_one_sentence(command_folder, monkeypatch, capsys, name):
    arguments, text = COMMANDS[name]
    before = sorted(os.listdir(command_folder))
    monkeypatch.setattr(sys, "argv", ["d2lstyle", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr()
    assert ended.value.code == 2
    assert re.fullmatch(f"d2lstyle: {text}[^\n]*\n", printed.err), printed.err
    assert printed.out == "" and sorted(os.listdir(command_folder)) == before


def test_the_good_command_of_the_table_is_good(command_folder, monkeypatch, capsys):
    """Else its variations above might fail for another reason."""
    monkeypatch.setattr(sys, "argv", ["d2lstyle", *GOOD])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code and (command_folder / "out.png").exists(), capsys.readouterr().err


def test_the_installed_command_does_the_same(command_folder):
    arguments, text = COMMANDS["a photo that is none"]
    before = sorted(os.listdir(command_folder))
    done = subprocess.run(
        [Path(sys.executable).with_name("d2lstyle"), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 2 and done.stdout == ""
    assert re.fullmatch(f"d2lstyle: {text}[^\n]*\n", done.stderr), done.stderr  # no traceback
    assert sorted(os.listdir(command_folder)) == before
