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
from PIL import Image, PngImagePlugin

import d2lstyle as ds
from d2lstyle import backbone, cli, painting, read_image, sample, stylize, write_image

# files


def chunked(*chunks):
    """A PNG file of (kind, data)."""
    packed = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def png(width, height):
    """A valid PNG header that promises this many grey pixels, and hardly any data."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return chunked((b"IHDR", header), (b"IDAT", zlib.compress(bytes(64))), (b"IEND", b""))


def rgb48(pixels, *chunks):
    """A PNG file of 16-bit colours in one row, which Pillow cannot write."""
    header, data = (
        struct.pack(">IIBBBBB", len(pixels), 1, 16, 2, 0, 0, 0),
        b"".join(struct.pack(">3H", *p) for p in pixels),
    )
    return chunked((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(b"\0" + data)), (b"IEND", b""))


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


def twelve_bits(*pixels):
    """A TIFF file of four 12-bit pixels in one row, which Pillow cannot write."""
    bits = "".join(f"{pixel:012b}" for pixel in pixels)
    tags = {256: len(pixels), 257: 1, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: len(bits) // 8}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    data = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)


RED_GREEN = [255, 0, 0, 0, 255, 0]
RED, GREEN, BLUE, BLACK, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0,) * 3, (255,) * 3

# name: (bytes, rows of the expected pixels, of 255)
READABLE = {
    "RGB": (picture("RGB", [(1, 2, 3), (255, 0, 128)]), [[(1, 2, 3), (255, 0, 128)]]),
    "one pixel": (picture("RGB", [(9, 8, 7)]), [[(9, 8, 7)]]),
    # over white: color * alpha / 255 + 255 - alpha; 0 * 128/255 + 127 = 127
    "RGBA": (picture("RGBA", [(255, 0, 0, 0), (255, 0, 0, 255), (0, 0, 0, 128)]), [[WHITE, RED, (127,) * 3]]),
    "grey with alpha": (picture("LA", [(0, 0), (100, 255), (0, 51)]), [[WHITE, (100,) * 3, (204,) * 3]]),
    "grey": (picture("L", [0, 77, 255]), [[BLACK, (77,) * 3, WHITE]]),
    "grey with a transparent value": (picture("L", [77, 78], transparency=77), [[WHITE, (78,) * 3]]),
    "black and white": (picture("1", [0, 1]), [[BLACK, WHITE]]),
    # 65535 = 257 * 255
    "16-bit grey": (picture("I;16", [0, 1000, 65535]), [[BLACK, (1000 / 257,) * 3, WHITE]]),
    "16-bit grey, big-endian": (picture("I;16B", [0, 1000, 65535], "TIFF"), [[BLACK, (1000 / 257,) * 3, WHITE]]),
    "16-bit grey, black": (picture("I;16", [0, 0]), [[BLACK, BLACK]]),
    "16-bit grey, PGM": (picture("I", [0, 1000, 65535], "PPM"), [[BLACK, (1000 / 257,) * 3, WHITE]]),
    "16-bit grey, white is zero": (
        picture("I;16", [0, 257, 65535], "TIFF", tiffinfo={262: 0}),
        [[WHITE, (254,) * 3, BLACK]],
    ),
    "16-bit grey, one transparent": (picture("I;16", [9, 257, 65535], transparency=9), [[WHITE, (1,) * 3, WHITE]]),
    "16-bit colours": (rgb48([(0, 257, 514), (65535, 1, 0)]), [[(0, 1, 2), RED]]),
    "16-bit colours, one transparent": (
        rgb48([(771, 257, 514), (65535, 1, 0)], (b"tRNS", struct.pack(">3H", 771, 257, 514))),
        [[WHITE, RED]],
    ),
    "12-bit grey": (twelve_bits(0, 819, 4095, 0), [[BLACK, (51,) * 3, WHITE, BLACK]]),
    "12-bit grey that says so": (picture("I;16", [0, 819], "TIFF", tiffinfo={281: 4000}), [[BLACK, (51,) * 3]]),
    "12-bit grey, PGM": (b"P5 2 1 4095\n" + struct.pack(">2H", 819, 4095), [[(13107 / 257,) * 3, WHITE]]),
    "a dark 16-bit grey that says so": (picture("I;16", [0, 257], "TIFF", tiffinfo={281: 65535}), [[BLACK, (1,) * 3]]),
    "32-bit integers": (picture("I", [0, 257, 65535], "TIFF"), [[BLACK, (1,) * 3, WHITE]]),
    "float grey, PFM": (picture("F", [0.0, 0.25, 1.0], "PPM"), [[BLACK, (63.75,) * 3, WHITE]]),
    "float grey": (picture("F", [0.0, 0.25, 1.0], "TIFF"), [[BLACK, (63.75,) * 3, WHITE]]),
    "CMYK": (picture("CMYK", [(0,) * 4, (255, 0, 0, 0), (0, 0, 0, 255)], "TIFF"), [[WHITE, (0, 255, 255), BLACK]]),
    "palette": (picture("P", [1, 0], palette=RED_GREEN), [[GREEN, RED]]),
    "palette, one transparent": (picture("P", [1, 0], palette=RED_GREEN, transparency=1), [[WHITE, RED]]),
    "GIF, one transparent": (picture("P", [1, 0], "GIF", palette=RED_GREEN, transparency=1), [[WHITE, RED]]),
    "animated GIF": (animated(), [[RED, RED]]),
    # stored as red, blue from left to right; the tag says how a viewer turns it
    "EXIF upright": (rotated(1), [[RED, BLUE]]),
    "EXIF upside down": (rotated(3), [[BLUE, RED]]),
    "EXIF turned clockwise": (rotated(6), [[RED], [BLUE]]),
    "EXIF that is none, PNG": (picture("RGB", [(255, 0, 0), (0, 0, 255)], exif=b"Exif\0\0garbage"), [[RED, BLUE]]),
    "EXIF that is none, JPEG": (picture("L", [128, 128], "JPEG", exif=b"Exif\0\0garbage"), [[(128,) * 3] * 2]),
    "EXIF that is none, WebP": (
        picture("RGB", [(255, 0, 0), (0, 0, 255)], "WEBP", lossless=True, exif=b"Exif\0\0garbage"),
        [[RED, BLUE]],
    ),
    "EXIF of no known turn, TIFF": (
        picture("RGB", [(255, 0, 0), (0, 0, 255)], "TIFF", tiffinfo={274: 9}),
        [[RED, BLUE]],
    ),
    "EXIF turned anticlockwise": (rotated(8), [[BLUE], [RED]]),
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
    "an EPS file, which Pillow would give to Ghostscript": (b"%!PS-Adobe-3.0 EPSF\n%%BoundingBox: 0 0 9 9\n", NO_IMAGE),
    "a DDS file": (encoded(Image.new("RGB", (4, 4)), "DDS"), NO_IMAGE),
    "float values to 255": (
        picture("F", [0.0, 255.0], "TIFF"),
        r"holds float values .* 255, expected numbers .* 0 to 1",
    ),
    "float values below 0": (picture("F", [-0.1, 1.0], "PPM"), "holds float values from -0.1 to 1, expected numbers"),
    "NaN": (picture("F", [0.0, float("nan"), 1.0], "TIFF"), "holds float values from nan to nan, expected numbers"),
    "an infinite value": (picture("F", [0.0, float("inf")], "TIFF"), "holds float values from 0 to inf, expected"),
    "integers of 17 bits": (picture("I", [0, 65536], "TIFF"), "holds integers from 0 to 65536, expected .* to 65535"),
    "negative integers": (picture("I", [-1, 65535], "TIFF"), "holds integers from -1 to 65535, expected"),
    "12 of 16 bits": (picture("I;16", [0, 4095]), "holds 16-bit values of at most 4095, .* scale them to 0 to 65535"),
    "12 of 16 bits, TIFF": (picture("I;16B", [0, 4095], "TIFF"), "holds 16-bit values of at most 4095, "),
    "12 of 16 bits, integers": (picture("I", [0, 4095], "TIFF"), "holds 16-bit values of at most 4095, "),
    "12 of 16 bits, colours": (rgb48([(0, 4095, 77)]), "holds 16-bit values below 4096, .* scale them to 0 to 65535"),
    "signed numbers of 8 bits": (picture("L", [251, 5], "TIFF", tiffinfo={339: 2}), "holds signed numbers of 8 bits, "),
    "13 bits that say 12": (
        picture("I;16", [8191], "TIFF", tiffinfo={281: 4095}),
        "holds integers .* 0 to 4095: scale",
    ),
}


ENTRANCES = {
    "a backbone": lambda net, images: net(images, ["relu1_1"]),
    "its scores": lambda net, images: net.logits(images),
    "a classifier": lambda net, images: ds.replace_head(net, 2)(images),
    "RandomStyle": lambda net, images: ds.RandomStyle(1.0, styles=["starry"], device="cpu")(images),
    "stylize": lambda net, images: stylize(images, IMAGE, net=net, steps=1),
    "fast_stylize": lambda net, images: ds.fast_stylize(images, IMAGE, device="cpu"),
    "a map": lambda net, images: ds.saliency(net, images, 3),
    "ColorJitter": lambda net, images: ds.ColorJitter(0.5)(images),
    "evaluate": lambda net, images: ds.evaluate(ds.replace_head(net, 2), (images, [0])),
}


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize(
    "scaled", [lambda image: 255 * image, lambda image: (255 * image).byte()], ids=["255", "uint8"]
)
def test_images_on_another_scale_are_refused_wherever_they_enter(net, entrance, scaled):
    with pytest.raises(ValueError, match=r"\[0, 1\], got "):
        ENTRANCES[entrance](net, scaled(IMAGE))


@pytest.mark.parametrize("name", READABLE)
def test_every_kind_of_image_reads_as_a_person_sees_it(tmp_path, name):
    data, rows = READABLE[name]
    (tmp_path / "file").write_bytes(data)
    expected = torch.tensor(rows, dtype=torch.float32).permute(2, 0, 1)[None] / 255
    for source in (tmp_path / "file", io.BytesIO(data)):
        torch.testing.assert_close(read_image(source), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_no_image_is_one_error_that_names_the_file(tmp_path, name):
    data, words = UNREADABLE[name]
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    for source, called in ((path, re.escape(str(path))), (io.BytesIO(data), "the file")):
        with pytest.raises(ValueError, match=f"^{called} ({words})") as refused:
            read_image(source)
        assert "\n" not in str(refused.value)


# functions

IMAGE = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
PAIR, TWO = torch.cat([IMAGE, IMAGE.flip(3)]), [IMAGE, IMAGE]
MASK, DOT = torch.ones(1, 1, 32, 32), torch.eye(32) > 0


def with_value(value):
    image = IMAGE.clone()
    image[0, 1, 2, 3] = value
    return image


# (call with a folder, error, words)
FILES = [
    (lambda tmp: read_image(tmp / "absent.png"), FileNotFoundError, "there is no file .*absent.png"),
    (lambda tmp: read_image(tmp / "file" / "a.png"), FileNotFoundError, "there is no file .*a.png"),
    (lambda tmp: read_image(tmp), ValueError, "is a folder, expected one image file"),
    (lambda tmp: read_image(tmp / ("a" * 300)), OSError, "File name too long"),
    (lambda tmp: read_image(tmp / "photo.png", size=0), ValueError, "size in pixels, .* got 0"),
    (lambda tmp: write_image(IMAGE, tmp / "no" / "a.png"), FileNotFoundError, "no folder .*no to write a.png in"),
    (lambda tmp: write_image(IMAGE, tmp / "file" / "a.png"), FileNotFoundError, "no folder .*file to write a.png in"),
    (lambda tmp: write_image(IMAGE, tmp / "sub.png"), IsADirectoryError, "is a folder, expected the name of a file"),
    (lambda tmp: write_image(IMAGE, tmp / "a.xyz"), ValueError, r"ending in .png, .jpg, .* got '.xyz'"),
    (lambda tmp: write_image(IMAGE, tmp / "a"), ValueError, "got 'no ending'"),
    (lambda tmp: write_image(IMAGE, tmp / "a.psd"), ValueError, "got '.psd'"),  # Pillow reads these only
    (lambda tmp: write_image(IMAGE, tmp / ("a" * 300 + ".png")), OSError, "File name too long"),
    (lambda tmp: write_image(PAIR, tmp / "a.png"), ValueError, "batch of 2"),
    (lambda tmp: write_image(IMAGE, tmp / "a.jpg", alpha=MASK), ValueError, ".png, .webp or .tif, .* no transparency"),
    (lambda tmp: write_image(IMAGE, tmp / "a.png", alpha=MASK[..., 1:]), ValueError, r"alpha \(1, 1, 32, 32\), got"),
    (lambda tmp: write_image(IMAGE, tmp / "a.png", alpha=2 * MASK), ValueError, r"alpha in \[0, 1\], got .* to 2"),
    (lambda tmp: write_image(with_value(torch.nan), tmp / "a.png"), ValueError, "NaN or infinite"),
    (lambda tmp: write_image(IMAGE * 255, tmp / "a.png"), ValueError, "got values from .* to 25"),
    (lambda tmp: backbone("resnet18", weights=tmp / "file"), ValueError, "file is damaged, or not a state dict"),
    (lambda tmp: sample("chna"), ValueError, "unknown photo 'chna': did you mean 'china'"),
    (lambda tmp: painting("stary"), ValueError, "unknown painting 'stary': did you mean 'starry'"),
]

# (arguments of `stylize` besides an image for the content and for the style, words of a ValueError)
STYLIZE = [
    (dict(content=with_value(torch.nan)), "content in .0, 1., got NaN"),
    (dict(content=with_value(torch.inf)), "content in .0, 1., got NaN or infinite"),
    (dict(content=with_value(-0.5)), "content in .0, 1., got values from -0.5 to"),
    (dict(content=IMAGE * 255), "content in .0, 1., got values"),
    (dict(content=(IMAGE * 255).byte()), "content as float .*uint8"),
    (dict(content=IMAGE[0]), r"content of shape \(B, 3, H, W\), got \(3, 32, 32\)"),
    (dict(content=IMAGE[:, :1]), r"content of shape .* got \(1, 1, 32, 32\)"),
    (dict(content=IMAGE.permute(0, 2, 3, 1)), r"got \(1, 32, 32, 3\)"),
    (dict(content=IMAGE[:0]), r"got \(0, 3, 32, 32\)"),
    (dict(content="photo.png"), "content as a tensor .* got str: see read_image"),
    (dict(content=IMAGE.numpy()), "content as a tensor .* got ndarray"),
    (dict(content=IMAGE[..., :1, :1]), "at least 32 x 32 pixels .* got 1 x 1"),
    (dict(style=with_value(torch.nan)), "style in .0, 1., got NaN"),
    (dict(style=["starry"]), "style as a tensor .* got str"),
    (dict(style=[]), "at least one style"),
    (dict(style=PAIR), "one for each of 1 contents, got 2"),
    (dict(style=TWO, style_weights=[1]), "weight for each of 2 styles, .* got \\(1,\\)"),
    (dict(style_weights=[1, 2]), "weight for each of 1 styles, .* got \\(2,\\)"),
    (dict(style=TWO, style_weights=[2, -1]), "none negative"),
    (dict(style=TWO, style_weights=[0, 0]), "not all zero"),
    (dict(style=TWO, style_weights=[1, torch.nan]), "expected style weights"),
    (dict(style=TWO, style_weights=torch.ones(1, 1, 2)), r"each of 2 styles, \(2,\) or \(1, 2\), got \(1, 1, 2\)"),
    (dict(style_weights=1.0), r"each of 1 styles, \(1,\) or \(1, 1\), got \(\)"),
    (dict(content=PAIR, style=TWO, style_weights=[[1, 2], [1]]), r"weights as numbers, .* got \[\[1, 2\], \[1\]\]"),
    (dict(style=TWO, style_weights=["a", "b"]), "style weights as numbers, one a style, got"),
    (dict(content=PAIR.repeat(2, 1, 1, 1), style=TWO, style_weights=[[1, 2]] * 2), r"or \(4, 2\), got \(2, 2\)"),
    (dict(style=TWO, style_weights=[[1, 2]] * 3), r"each of 2 styles, \(2,\) or \(1, 2\), got \(3, 2\)"),
    (dict(content=PAIR, style=TWO, style_weights=[[1, 2, 3]] * 2), r"\(2,\) or \(2, 2\), got \(2, 3\)"),
    (dict(content=PAIR, style=TWO, style_weights=[[1, 2], [0, 0]]), "not all zero"),
    (dict(content=PAIR, style=TWO, style_weights=[[1, 2], [3, -1]]), "none negative"),
    (dict(style=TWO, mix="gram"), "unknown mix 'gram': did you mean 'grams'"),
    (dict(style_masks=0 * MASK), "style masks .* with a positive sum"),
    (dict(content=PAIR, style_masks=torch.cat([MASK, 0 * MASK])), "style masks .* with a positive sum"),
    (dict(style_masks=MASK[..., 1:]), r"their style's size \(1, 1, 32, 32\), got \(1, 1, 32, 31\)"),
    (dict(style=torch.rand(1, 3, 48, 40), style_masks=MASK), r"their style's size \(1, 1, 48, 40\), got"),
    (dict(style_masks=MASK[0, 0]), r"their style's size \(1, 1, 32, 32\), got \(32, 32\)"),
    (dict(style_masks=IMAGE), r"their style's size .*got \(1, 3, 32, 32\)"),
    (dict(style_masks=MASK.numpy()), "their style's size .* got ndarray"),
    (dict(style_masks="left"), "their style's size .* got str"),
    (dict(style_masks=MASK.masked_fill(DOT, -1)), "finite, non-negative style masks"),
    (dict(style_masks=MASK.masked_fill(DOT, torch.nan)), "finite, non-negative style masks"),
    (dict(style_masks=MASK.masked_fill(DOT, torch.inf)), "finite, non-negative style masks"),
    (dict(style=TWO, style_masks=[MASK]), "a mask for each of 2 styles, or None in its place, got 1"),
    (dict(style=TWO, style_masks=MASK), "a mask for each of 2 styles, or None in its place, got 1"),
    (dict(style_masks=[MASK, None]), "a mask for each of 1 styles, or None in its place, got 2"),
    (dict(style_masks=[]), "a mask for each of 1 styles, or None in its place, got 0"),
    (dict(style_masks=MASK.expand(2, -1, -1, -1)), r"their style's size \(1, 1, 32, 32\), got \(2, 1, 32, 32\)"),
    (dict(content_mask=0 * MASK), "content masks that are above zero somewhere"),
    (dict(style=TWO, content_mask=[MASK, 0 * MASK]), "content masks that are above zero somewhere"),
    (dict(content_mask=MASK[..., 1:]), r"the content's size \(1, 1, 32, 32\), got \(1, 1, 32, 31\)"),
    (dict(content_mask=IMAGE), r"the content's size \(1, 1, 32, 32\), got \(1, 3, 32, 32\)"),
    (dict(content_mask="left"), "content masks of the content's size .* got str"),
    (dict(style=TWO, content_mask=[MASK, None]), "content masks of the content's size .* got NoneType"),
    (dict(content_mask=2 * MASK), r"content masks of the content's size in \[0, 1\], got values from 2 to 2"),
    (dict(content_mask=MASK.masked_fill(DOT, torch.nan)), r"content masks .* in \[0, 1\], got values from nan"),
    (dict(style=TWO, content_mask=[MASK]), "one content mask, or a list with one for each of 2 styles, got 1"),
    (dict(content_mask=[]), "one content mask, or a list with one for each of 1 styles, got 0"),
    (dict(style=TWO, content_mask=[MASK, MASK], style_weights=[1, 2]), "nothing to mix: leave out style_weights"),
    (dict(style=TWO, content_mask=[MASK, MASK], mix="features"), "nothing to mix: leave out style_weights and mix"),
    (dict(style_channels=0), "style_channels as a part, above 0 and at most 1, or as a number from 2 to 32, got 0"),
    (dict(style_channels=10**6), "style_channels as a part, .* got 1000000"),
    (dict(content_weight=-1), "content_weight of at least 0 and finite, got -1"),
    (dict(style_weight=-0.1), "style_weight of at least 0 and finite, got -0.1"),
    (dict(style_weight=torch.nan), "style_weight of at least 0 and finite, got nan"),
    (dict(tv_weight=torch.inf), "tv_weight of at least 0 and finite, got inf"),
    (dict(tv_weight="light"), "tv_weight as a number or a tensor of them, got 'light'"),
    (dict(style_scale=0), "style_scale as a number of at least 0.01 and finite, got 0"),
    (dict(style_scale=-1), "style_scale as a number of at least 0.01 and finite, got -1"),
    (dict(style_scale=torch.inf), "style_scale as a number of at least 0.01 and finite, got inf"),
    (dict(style_scale="half"), "style_scale as a number of at least 0.01 and finite, got 'half'"),
    (dict(content_layers=["relu4-1"]), "unknown layer of efficientnet_lite0 'relu4-1': did you mean 'relu4_1'"),
    (dict(style_layers=[]), r"list of layers of efficientnet_lite0, got \[\]"),
    (dict(style_layers="relu1_1"), "list of layers .* got 'relu1_1'"),
    (dict(layer_weights={"relu9_9": 1}), r"layer_weights for .* got \['relu9_9'\]"),
    (dict(layer_weights={"conv1_1": -1}), "the layer weight of conv1_1 as a number of at least 0 and finite, got -1"),
    (dict(net="vgg91"), "unknown backbone 'vgg91': did you mean 'vgg19'"),
    (dict(content=255 * IMAGE), r"content in \[0, 1\], got values from .*: divide by 255"),
    (dict(net=None, device="warp"), "device that this computer has .* got 'warp'"),
    (dict(convention="gatis"), "unknown convention 'gatis': did you mean 'gatys'"),
    (dict(optimizer="sgd"), "unknown optimizer 'sgd': There are lbfgs, adam"),
    (dict(init="random"), "unknown init 'random'"),
    (dict(precision="fp16"), "unknown precision 'fp16': did you mean"),
    (dict(steps=0), "steps as an integer of at least 1, got 0"),
    (dict(steps=-5), "steps as an integer of at least 1, got -5"),
    (dict(steps=2.5), "steps as an integer of at least 1, got 2.5"),
    (dict(sizes=[32, 64], steps=[3]), r"steps for each of 2 sizes, got \[3\]"),
    (dict(sizes=[32, 64], steps=[3, 0]), r"steps as an integer of at least 1, got 0"),
    (dict(sizes=[]), "expected sizes in pixels, got an empty list"),
    (dict(sizes=[16, 32]), "at least 32 x 32 pixels at every size, got 16 x 16"),
    (dict(sizes=0), "size in pixels, .* got 0"),
    (dict(sizes=32.5), "size in pixels, .* got 32.5"),
    (dict(init="noise", seed=2**70), "seed as an integer from -9223.* got 11805"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with one good photo, one file that is none and a folder named as a picture; also where commands run."""
    write_image(IMAGE, tmp_path / "photo.png")
    (tmp_path / "file").write_bytes(b"hello")
    (tmp_path / "sub.png").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("call, error, words", FILES)
def test_bad_files_and_names_are_one_clear_error(folder, call, error, words):
    before = sorted(os.listdir(folder))
    with pytest.raises(error, match=words) as refused:
        call(folder)
    assert type(refused.value) is error and "\n" not in str(refused.value)
    assert sorted(os.listdir(folder)) == before  # nothing half done is left


@pytest.mark.parametrize("arguments, words", STYLIZE, ids=[" ".join(arguments) for arguments, _ in STYLIZE])
def test_bad_arguments_are_one_clear_error(net, arguments, words):
    error = TypeError if re.search("as a.* tensor", words) else ValueError
    with pytest.raises(error, match=words) as refused:
        stylize(**{"content": IMAGE, "style": IMAGE, "net": net} | arguments)
    assert type(refused.value) is error and "\n" not in str(refused.value)


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied", "photo.png"), MemoryError()], ids=repr)
def test_what_the_system_says_is_no_damaged_file(folder, monkeypatch, error):
    def refuse(path, *args, **options):
        raise error

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", refuse)
    with pytest.raises(type(error)) as refused:
        read_image(folder / "photo.png")
    assert str(refused.value) == str(error)


def test_a_folder_that_may_not_be_written(folder, monkeypatch):
    def refuse(self, *args, **options):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "touch", refuse)  # a superuser may write everywhere
    with pytest.raises(OSError, match="cannot write in .*: Permission denied$"):
        write_image(IMAGE, folder / "a.png")
    assert not (folder / "a.png").exists()


# the command

GOOD = "stylize photo.png photo.png -o out.png --backbone efficientnet_lite0 --size 32 --steps 1"

# (arguments, text after "d2lstyle: ")
COMMANDS = [
    ("stylize absent.png starry -o out.png", "there is no file absent.png, and no embedded picture of that name"),
    ("stylize chna starry -o out.png", "there is no file chna, .* did you mean 'china'[?]"),
    ("stylize photo.png stary -o out.png", "there is no file stary, .* did you mean 'starry'[?]"),
    ("stylize file starry -o out.png", "file is not an image"),
    ("stylize sub.png starry -o out.png", "sub.png is a folder"),
    ("stylize empty.png starry -o out.png", "empty.png is not an image"),
    ("stylize short.png starry -o out.png", "short.png is damaged or cut short"),
    ("stylize bomb.png starry -o out.png", "bomb.png is too large to read"),
    ("stylize photo.png starry -o no/out.png", "there is no folder no to write out.png in"),
    ("stylize photo.png starry -o file/out.png", "there is no folder file to write"),
    ("stylize photo.png starry -o sub.png", "sub.png is a folder"),
    ("stylize photo.png starry -o out.xyz", "out.xyz: expected a file name ending in"),
    (f"{GOOD} --backbone vgg91", "unknown backbone 'vgg91': did you mean"),
    (f"{GOOD} --weights file", "file is damaged, or not a state dict"),
    (f"{GOOD} --weights absent.pth", "there is no file of weights absent.pth"),
    (f"{GOOD} --device warp", "expected a device that this computer has"),
    (f"{GOOD} --steps 0", "expected steps as an integer of at least 1, got 0"),
    (f"{GOOD} --steps many", ".*--steps"),
    (f"{GOOD} --size 0", ".*--size.*expected a positive number of pixels, or original, got '0'"),
    (f"{GOOD} --size own", ".*--size.*expected a positive number of pixels, or original, got 'own'"),
    (f"{GOOD} --save-every 0", "expected save_every as an integer from 1 to 1, got 0"),
    (f"{GOOD} --save-every 2", "expected save_every as an integer from 1 to 1, got 2"),
    ("stylize bomb.png starry -o out.jpg --keep-alpha", "out.jpg: expected a file name ending in .png, .webp or .tif"),
    (f"{GOOD} --size 16", "expected at least 32 x 32 pixels"),
    (f"{GOOD} --size 100000000000", "there is not enough memory: try a smaller --size"),
    (GOOD.replace("-o", "photo.png --mix 1 -o"), "expected a weight for each of 2 styles, .* got \\(1,\\)"),
    (f"{GOOD} --mix -1", "expected style weights, none negative"),
    (f"{GOOD} --style-weight -2", "expected style_weight of at least 0 and finite, got -2"),
    (f"{GOOD} --tv-weight 1e39", "the loss is not finite at step 1 of 1"),
    (f"{GOOD} --content-mask absent.png", "there is no file absent.png"),
    (f"{GOOD} --content-mask wide.png", "expected wide.png in the shape of the photo, 32 x 32 pixels, got 48 x 32 pix"),
    (f"{GOOD} --content-mask photo.png --content-mask photo.png", "expected one content mask, or a list with one for"),
    (f"{GOOD} --style-scale 0", "expected style_scale as a number of at least 0.01 and finite, got 0"),
    (f"{GOOD} --optimizer sgd", ".*--optimizer.*sgd"),
    (f"{GOOD} --init random", ".*--init.*random"),
    (f"{GOOD} --precision fp8", ".*--precision.*fp8"),
    (f"{GOOD} --bogus", "No such option.*--bogus"),
    ("stylize photo.png starry", "Missing option.*--output"),
    ("stylize", "Missing argument"),
    ("paint", "No such command .paint."),
]


@pytest.fixture
def command_folder(folder):
    (folder / "empty.png").touch()
    (folder / "short.png").write_bytes(WHOLE_PNG[: len(WHOLE_PNG) // 2])
    (folder / "bomb.png").write_bytes(png(20_000, 20_000))
    write_image(torch.ones(1, 3, 32, 48), folder / "wide.png")
    return folder


@pytest.mark.parametrize("line, words", COMMANDS)
def test_bad_commands_end_in_one_sentence(command_folder, monkeypatch, capsys, line, words):
    before = sorted(os.listdir(command_folder))
    monkeypatch.setattr(sys, "argv", ["d2lstyle", *line.split()])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr()
    assert ended.value.code == 2
    assert re.fullmatch(f"d2lstyle: {words}[^\n]*\n", printed.err), printed.err
    assert printed.out == "" and sorted(os.listdir(command_folder)) == before


def test_the_good_command_of_the_table_is_good(command_folder, monkeypatch, capsys):
    """Else its variations above might fail for another reason."""
    monkeypatch.setattr(sys, "argv", ["d2lstyle", *GOOD.split()])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code and (command_folder / "out.png").exists(), capsys.readouterr().err


def test_the_installed_command_does_the_same(command_folder):
    before = sorted(os.listdir(command_folder))
    command = [Path(sys.executable).with_name("d2lstyle"), *"stylize file starry -o out.png".split()]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=one_thread)
    assert done.returncode == 2 and done.stdout == ""
    assert re.fullmatch("d2lstyle: file is not an image[^\n]*\n", done.stderr), done.stderr  # no traceback
    assert sorted(os.listdir(command_folder)) == before
