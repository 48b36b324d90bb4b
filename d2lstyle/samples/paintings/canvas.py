"""What the paintings are drawn with: a sheet of coordinates, colours, noise, light, a brush.

Every painter takes a `Sheet` (the grid to draw on) and a numpy generator and returns an (h, w, 3) array.
Lengths are fractions of the sheet's shorter side, and random numbers are drawn per mark, never per pixel,
so one seed gives one composition at every size. `painting` is the public door.
"""

from typing import NamedTuple

import numpy as np
import scipy  # its parts are loaded when they are used


class Sheet(NamedTuple):
    """The grid to draw on: coordinates in units of the shorter side, y downwards."""

    x: np.ndarray  # (h, w)
    y: np.ndarray  # (h, w)
    width: float  # 1.0 for a square
    height: float
    scale: int  # pixels per unit


def sheet(height, width):
    """A `Sheet` of height x width pixels; coordinates are those of the pixel centres."""
    scale = min(height, width)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return Sheet((x + 0.5) / scale, (y + 0.5) / scale, width / scale, height / scale, scale)


def rgb(hexes):
    """Colours written as "0b1a3f f7d154" -> an (n, 3) array in [0, 1]."""
    return np.array([[int(h[i : i + 2], 16) / 255 for i in (0, 2, 4)] for h in hexes.split()], np.float32)


def palettes(hexes):
    """Palettes written as "0b1a3f f7d154 / ..." -> a (palettes, n, 3) array."""
    return np.stack([rgb(palette) for palette in hexes.split("/")])


def ramp(t, hexes):
    """Colours at t along evenly spaced stops, held beyond [0, 1]: (...,) -> (..., 3)."""
    stops = rgb(hexes)
    at = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(t, at, stops[:, c]) for c in range(3)], -1).astype(np.float32)


def mix(below, above, alpha):
    """`above` laid over `below` where alpha (without colour axis) is 1."""
    return below + (above - below) * np.asarray(alpha)[..., None]


def step(d, soft=0.004):
    """0 below d = 0, 1 above it, with an edge `soft` wide."""
    t = np.clip(d / soft + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def line(d, half_width, soft=0.004):
    """1 where |d| < half_width."""
    return step(half_width - np.abs(d), soft)


def bell(d, radius):
    """exp(-(d / radius)^2)."""
    return np.exp(-np.square(d / radius))


def noise(rng, frequency, octaves=3):
    """A smooth random function of the plane with values in [-1, 1]; `frequency` cells per unit."""
    lattices = rng.uniform(-1, 1, (octaves, 64, 64)).astype(np.float32)

    def field(x, y):
        scales = [2**k for k in range(octaves)]
        waves = (_lattice_at(of, x * (frequency * s), y * (frequency * s)) / s for of, s in zip(lattices, scales))
        return np.clip(sum(waves) * 0.9, -1, 1)

    return field


def _lattice_at(lattice, x, y):
    row, column = np.floor(y), np.floor(x)
    v, u = y - row, x - column
    v, u = v * v * (3 - 2 * v), u * u * (3 - 2 * u)
    i, j = row.astype(np.int32), column.astype(np.int32)
    i0, i1, j0, j1 = i & 63, (i + 1) & 63, j & 63, (j + 1) & 63
    top = lattice[i0, j0] + (lattice[i0, j1] - lattice[i0, j0]) * u
    low = lattice[i1, j0] + (lattice[i1, j1] - lattice[i1, j0]) * u
    return top + (low - top) * v


def hashed(rng, *integers):
    """A random number in [0, 1) for each tuple of integer arrays (tile row, tile column, ...)."""
    table = rng.random(4096).astype(np.float32)
    key = 0
    for prime, value in zip((73856093, 19349663, 83492791), integers):
        key = key ^ (np.asarray(value).astype(np.int64) * prime)
    return table[(key ^ (key >> 9)) & 4095]


def lit(picture, relief, at, strength=1.0, gloss=0.1):
    """The picture under a lamp from the upper left, `relief` being its surface height."""
    dy, dx = np.gradient(scipy.ndimage.gaussian_filter(relief, 0.0016 * at.scale), 1 / at.scale)
    slope = np.tanh((dx + dy) * 0.01 * strength)
    return picture * (1 + 0.45 * slope[..., None]) + gloss * np.clip(slope, 0, 1)[..., None] ** 2


def scatter(rng, at, density, margin=0.03):
    """Evenly spread points, about `density` per unit area: (x, y)."""
    width, height = at.width + 2 * margin, at.height + 2 * margin
    steps = rng.permutation(int(density * width * height))[:, None] * np.array([0.7548776662, 0.5698402910])
    u = (rng.random(2) + steps) % 1
    return (u[:, 0] * width - margin).astype(np.float32), (u[:, 1] * height - margin).astype(np.float32)


def nearest(at, x, y):
    """For every pixel the nearest of the points (x, y): its number, its distance, how much farther the second is."""
    distance, number = scipy.spatial.cKDTree(np.stack([x, y], 1)).query(np.stack([at.x, at.y], -1), k=2)
    return number[..., 0], distance[..., 0], distance[..., 1] - distance[..., 0]


def jitter(rng, colours, amount, lightness=None):
    """Colours (n, 3) moved by independent noise per channel, and by common noise in lightness."""
    common = rng.normal(0, amount if lightness is None else lightness, (len(colours), 1))
    return np.clip(colours + rng.normal(0, amount, colours.shape) + common, 0, 1).astype(np.float32)


class Canvas:
    """A picture and its paint height, to be covered with bristle strokes."""

    def __init__(self, at, ground, rng):
        self.at = at
        self.picture = np.array(np.broadcast_to(ground, (*at.x.shape, 3)), np.float32)
        self.relief = np.zeros(at.x.shape, np.float32)
        # twelve bristle textures (32 across, 32 along): fast across the stroke, slow along it
        texture = scipy.ndimage.gaussian_filter(rng.random((12, 32, 32)), (0, 1.0, 7.0), mode="wrap")
        texture -= texture.min((1, 2), keepdims=True)
        self.hairs = (texture / texture.max((1, 2), keepdims=True)).astype(np.float32)

    def paint(self, rng, x, y, angle, length, width, colour, bend=0.0, streak=0.12, dry=0.3):
        """Strokes at (x, y), in order; every argument is an (n,) array or a number, colour is (n, 3).

        `bend` is how far the ends curve away, in half widths; `streak` how much the hairs differ in
        lightness; `dry` how early the paint breaks up towards the stroke's end.
        """
        columns = (np.broadcast_to(column, len(x)).tolist() for column in (x, y, angle, length, width, bend))
        hairs = self.hairs[rng.integers(len(self.hairs), size=len(x))]
        for shape in zip(*columns, colour, hairs):
            self._stroke(*shape, streak, dry)

    def _stroke(self, x, y, angle, length, width, bend, colour, hairs, streak, dry):
        x, y, half_length, half_width = (value * self.at.scale for value in (x, y, length / 2, width / 2))
        c, s, wide = float(np.cos(angle)), float(np.sin(angle)), half_width * (1 + abs(bend))
        rx, ry = half_length * abs(c) + wide * abs(s), half_length * abs(s) + wide * abs(c)
        x0, x1 = max(int(x - rx), 0), min(int(x + rx) + 2, self.relief.shape[1])
        y0, y1 = max(int(y - ry), 0), min(int(y + ry) + 2, self.relief.shape[0])
        if x0 >= x1 or y0 >= y1:
            return
        dx = np.arange(x0, x1, dtype=np.float32) + (0.5 - x)
        dy = np.arange(y0, y1, dtype=np.float32)[:, None] + (0.5 - y)
        u = dx * (c / half_length) + dy * (s / half_length)
        uu = u * u
        v = dy * (c / half_width) - dx * (s / half_width) - bend * uu
        # beyond the stroke the place among the hairs is wrong and does not matter: nothing is laid there
        place = (v * 16 + 16).astype(np.int32) * 32 + (u * 16 + 16).astype(np.int32)
        hair = hairs.take(place, mode="clip")
        inside = 1 - uu * uu - v * v - np.maximum(u, 0) * (dry - (2 * dry) * hair)
        alpha = np.minimum(np.maximum(inside * (half_width * 0.6 + 0.4), 0), 1)
        part, height = self.picture[y0:y1, x0:x1], self.relief[y0:y1, x0:x1]
        part += (colour * ((1 - streak) + (2 * streak) * hair)[..., None] - part) * alpha[..., None]
        height += (0.5 + 0.7 * hair + 0.35 * v * v - 0.7 * height) * alpha

    def lit(self, strength=1.0, gloss=0.1):
        """The picture with its relief lit from the upper left."""
        return lit(self.picture, self.relief, self.at, strength, gloss)
