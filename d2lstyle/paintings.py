"""Style pictures drawn from mathematics, one function per painting.

Every painter takes a `Sheet` (the grid to draw on) and a numpy generator and returns an (h, w, 3) array.
Lengths are fractions of the sheet's shorter side, and random numbers are drawn per mark, never per pixel,
so one seed gives one composition at every size. `d2lstyle.samples.painting` is the public door.
"""

from typing import NamedTuple

import numpy as np


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


# ---------------------------------------------------------------- colour, noise, light


def rgb(hexes):
    """Colours written as "0b1a3f f7d154" -> an (n, 3) array in [0, 1]."""
    return np.array([[int(h[i : i + 2], 16) / 255 for i in (0, 2, 4)] for h in hexes.split()], np.float32)


def ramp(t, hexes):
    """Colours at t in [0, 1] along evenly spaced stops: (...,) -> (..., 3)."""
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
        total = 0
        for k, lattice in enumerate(lattices):
            total = total + _lattice_at(lattice, x * (frequency * 2**k), y * (frequency * 2**k)) / 2**k
        return np.clip(total * 0.9, -1, 1)

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
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(relief, 0.0016 * at.scale)
    dy, dx = np.gradient(smooth, 1 / at.scale)
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
    from scipy.spatial import cKDTree

    pixels = np.stack([at.x, at.y], -1).reshape(-1, 2)
    distance, number = cKDTree(np.stack([x, y], 1)).query(pixels, k=2)
    distance, number = distance.reshape(*at.x.shape, 2), number.reshape(*at.x.shape, 2)
    return number[..., 0], distance[..., 0], distance[..., 1] - distance[..., 0]


def jitter(rng, colours, amount, lightness=None):
    """Colours (n, 3) moved by independent noise per channel, and by common noise in lightness."""
    n = len(colours)
    common = rng.normal(0, amount if lightness is None else lightness, (n, 1))
    return np.clip(colours + rng.normal(0, amount, (n, 3)) + common, 0, 1).astype(np.float32)


# ---------------------------------------------------------------- the brush


class Canvas:
    """A picture and its paint height, to be covered with bristle strokes."""

    def __init__(self, at, ground, rng):
        self.at = at
        self.picture = np.array(np.broadcast_to(ground, (*at.x.shape, 3)), np.float32)
        self.relief = np.zeros(at.x.shape, np.float32)
        self.hairs = _hairs(rng)

    def paint(self, rng, x, y, angle, length, width, colour, bend=0.0, streak=0.12, dry=0.3):
        """Strokes at (x, y), in order; every argument is an (n,) array or a number, colour is (n, 3).

        `bend` is how far the ends curve away, in half widths; `streak` how much the hairs differ in
        lightness; `dry` how early the paint breaks up towards the stroke's end.
        """
        n, scale = len(x), self.at.scale
        columns = [np.broadcast_to(v, n) for v in (angle, length, width, bend)]
        hair = rng.integers(len(self.hairs), size=n)
        for k in range(n):
            a, l, w, b = (float(column[k]) for column in columns)
            self._stroke(float(x[k]) * scale, float(y[k]) * scale, a, l * scale / 2, w * scale / 2, b, colour[k],
                         self.hairs[hair[k]], streak, dry)

    def _stroke(self, x, y, angle, half_length, half_width, bend, colour, hairs, streak, dry):
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


def _hairs(rng):
    """Twelve bristle textures (32 across, 32 along): fast across the stroke, slow along it."""
    from scipy.ndimage import gaussian_filter

    texture = gaussian_filter(rng.random((12, 32, 32)), (0, 1.0, 7.0), mode="wrap")
    texture -= texture.min((1, 2), keepdims=True)
    return (texture / texture.max((1, 2), keepdims=True)).astype(np.float32)


# ---------------------------------------------------------------- starry


def starry(at, rng):
    """A night of whirling thick strokes: blues, a moon, glowing stars, hills and a cypress."""
    scene = _night(at, rng)
    canvas = Canvas(at, rgb("0d1b45")[0], rng)
    layers = (800, 0.14, 0.038, -0.06), (1900, 0.095, 0.022, 0.0), (900, 0.07, 0.012, 0.1)
    for density, length, width, lift in layers:
        x, y = scatter(rng, at, density)
        colour, angle = _night_sky(scene, x, y)
        colour = jitter(rng, colour + lift, 0.025, 0.045)
        angle, bend = angle + rng.normal(0, 0.1, len(x)), rng.normal(0, 0.5, len(x))
        canvas.paint(rng, x, y, angle, length, width, colour, bend, streak=0.16)
    for cx, cy, r in scene["lamps"]:
        _star(canvas, rng, cx, cy, r)
    _night_land(canvas, rng, at, scene)
    return canvas.lit(1.0, 0.12)


def _night(at, rng):
    """Where the lamps (x, y, radius) and the whirls (x, y, radius, sense) are, and the noise fields."""
    w, h = at.width, at.height
    turn = rng.choice([-1, 1])
    whirls = [(rng.uniform(0.4, 0.46) * w, rng.uniform(0.3, 0.36) * h, 0.17, turn),
              (rng.uniform(0.66, 0.72) * w, rng.uniform(0.46, 0.52) * h, 0.12, -turn)]
    lamps = [(rng.uniform(0.78, 0.86) * w, rng.uniform(0.15, 0.2) * h, 0.07)]
    for x in rng.permutation(np.linspace(0.24, 0.97, 16)) * w:
        y, r = rng.uniform(0.06, 0.62) * h, rng.uniform(0.012, 0.027)
        crowded = any(np.hypot(x - cx, y - cy) < 2 * size + 0.06 for cx, cy, size in lamps)
        if not crowded and all(np.hypot(x - cx, y - cy) > 1.2 * size for cx, cy, size, _ in whirls):
            lamps.append((float(x), y, r))
    fields = {"drift": noise(rng, 2.2), "tone": noise(rng, 5), "ridge": noise(rng, 1.3, 2)}
    return {"lamps": lamps, "whirls": whirls, **fields}


def _night_sky(scene, x, y):
    drift = scene["drift"](x, y)
    vx, vy = np.ones_like(x), 0.35 * np.sin(5 * x + 2 * drift) + 0.3 * drift
    tone = 0.36 + 0.3 * scene["tone"](x * 0.7, y * 2.2)
    for cx, cy, r, turn in scene["whirls"]:
        dx, dy = x - cx, y - cy
        d = np.hypot(dx, dy) + 1e-4
        pull = 4 * bell(d, r)
        vx, vy = vx + turn * pull * (-dy + 0.25 * dx) / d, vy + turn * pull * (dx + 0.25 * dy) / d
        tone += bell(d, r) * (0.2 + 0.34 * np.cos(d / r * 11 - 2 * turn * np.arctan2(dy, dx)))
    glow = np.zeros_like(x)
    for cx, cy, r in scene["lamps"]:
        dx, dy = x - cx, y - cy
        d = np.hypot(dx, dy) + 1e-4
        pull = 5 * bell(d, 2.6 * r + 0.015)
        vx, vy = vx - pull * dy / d, vy + pull * dx / d
        glow = np.maximum(glow, bell(d, 2.3 * r + 0.012) * (0.86 + 0.14 * np.cos(d / (r + 0.01) * 5)))
    night = ramp(np.clip(tone, 0, 1), "0a1640 132c6e 1f4a9c 3c78bd 74aacf b9d8d2")
    return mix(night, ramp(glow, "3c78bd 8fbfb0 d9dd8c f6d34c fbe27a"), np.clip(glow * 1.7, 0, 1)), np.arctan2(vy, vx)


def _star(canvas, rng, cx, cy, r):
    """Short strokes round a bright core."""
    n = int(500 * r) + 10
    d = np.sort(0.9 * r * np.sqrt(rng.random(n)))[::-1]
    turn = rng.uniform(0, 2 * np.pi, n)
    colour = jitter(rng, ramp(1 - d / r, "f2b632 f9d65a fff0a8 fffbe0"), 0.02)
    length, width = min(0.035, 1.4 * r), 0.011
    bend = np.clip(length**2 / (4 * d * width), 0, 2)  # follows the circle
    canvas.paint(rng, cx + d * np.cos(turn), cy + d * np.sin(turn), turn + np.pi / 2, length, width, colour, bend)


def _night_land(canvas, rng, at, scene):
    for level, swing, hexes in ((0.74, 0.06, "10204a 2c5c96 6ba3bf"), (0.83, 0.05, "0c2240 1f6068 7fae8a"),
                                (0.92, 0.03, "0a1826 26503c 8a8f45")):
        x, y = scatter(rng, at, 2600)
        ridge = scene["ridge"](x + 9 * level, 0 * x)
        slope = swing * (scene["ridge"](x + 9 * level + 0.01, 0 * x) - ridge) / 0.01
        keep = y > level * at.height + swing * ridge
        depth = np.clip((y - level * at.height - swing * ridge) / 0.09, 0, 1)
        tone = np.clip(0.95 - depth + rng.normal(0, 0.2, len(x)), 0, 1)
        angle = np.arctan(slope) * (1 - depth) + 0.5 * np.sin(14 * x + 20 * level) * depth
        canvas.paint(rng, x[keep], y[keep], angle[keep], 0.06, 0.016, jitter(rng, ramp(tone, hexes), 0.02)[keep], 0.4)
    _windows(canvas, rng, at)
    _cypress(canvas, rng, at)


def _windows(canvas, rng, at):
    x = rng.uniform(0.35, 0.95, 26) * at.width
    y = (0.87 + 0.06 * rng.random(26)) * at.height
    colour = jitter(rng, rgb("f4b942 f9dc7a e58a3a")[rng.integers(3, size=26)], 0.03)
    canvas.paint(rng, x, y, rng.normal(0, 0.1, 26), 0.02, 0.012, colour)


def _cypress(canvas, rng, at):
    base = rng.uniform(0.1, 0.17) * at.width
    t = np.sort(rng.random(420))  # 0 at the tip
    side = np.clip(rng.normal(0, 0.5, 420), -1, 1)
    half = 0.1 * np.sin(np.pi * np.minimum(t, 0.97) ** 0.6) ** 1.1 * (1 + 0.25 * np.sin(t * 37)) + 0.004
    x, y = base + half * side + 0.018 * np.sin(t * 11), (0.2 + 0.85 * t) * at.height
    tone = np.clip(0.35 + 0.5 * side + rng.normal(0, 0.2, 420), 0, 1)
    colour = jitter(rng, ramp(tone, "07130f 10261c 1f4028 4b5a2a"), 0.015)
    angle = np.pi / 2 + 0.3 * side * (2 * t - 0.9) - 0.22 * np.cos(t * 11) + rng.normal(0, 0.08, 420)
    canvas.paint(rng, x, y, angle, 0.1, 0.014, colour, rng.normal(0, 0.8, 420))


# ---------------------------------------------------------------- pointillism


def pointillism(at, rng):
    """A river bank at noon in pure dots, each colour broken by its complement."""
    bank, leaf = noise(rng, 1.6, 2), noise(rng, 5)
    sun = rng.uniform(0.62, 0.8) * at.width, 0.2 * at.height
    places, sizes = rng.uniform((0.12, 0.36), (0.22, 0.48)) * at.width, rng.uniform((0.17, 0.1), (0.21, 0.13))
    canvas = Canvas(at, rgb("e9dcc0")[0], rng)
    for density, size, broken in ((2600, 0.036, 0.1), (3800, 0.027, 0.16), (2700, 0.021, 0.24)):
        x, y = scatter(rng, at, density)
        colour = _river(at, x, y, sun, list(zip(places, sizes)), bank, leaf)
        mean = colour.mean(1, keepdims=True)
        loud = mean + (colour - mean) * rng.uniform(0.9, 1.5, (len(x), 1))
        complement = 2 * mean + 0.1 - colour
        colour = np.where(rng.random((len(x), 1)) < broken, 0.35 * loud + 0.65 * complement, loud)
        size = size * rng.uniform(0.75, 1.15, len(x))
        colour = jitter(rng, colour, 0.045, 0.05)
        canvas.paint(rng, x, y, rng.uniform(0, 6.3, len(x)), size, size, colour, streak=0.05, dry=0)
    return canvas.lit(0.45, 0.03)


def _river(at, x, y, sun, trees, bank, leaf):
    h = at.height
    d = np.hypot(x - sun[0], y - sun[1])
    sky = mix(ramp(y / (0.5 * h), "5f8fd0 8fb8e0 c9d8dc f7d9b0 f6b98f"), rgb("fff2b0")[0], bell(d, 0.1))
    colour = mix(sky, rgb("ffd873")[0], 0.6 * bell(d, 0.22))
    far = 0.46 * h + 0.05 * bank(x, 0 * x)
    colour = mix(colour, ramp(np.clip((y - far) / 0.08, 0, 1), "8d86c4 6f74b4 5f9a8e"), y > far)
    shore = 0.55 * h
    ripple = 0.5 + 0.5 * np.sin(90 * np.clip(y - shore, 0, 1) ** 0.8 + 3 * bank(2 * x, 6 * y))
    water = ramp((y - shore) / (0.4 * h), "f4c79a 7fb0cf 3f78b5 2b559c")
    water = mix(water, rgb("ffe2a0")[0], 0.85 * bell(x - sun[0], 0.07) * ripple)
    colour = mix(colour, mix(water, rgb("dcecf0")[0], 0.3 * ripple), y > shore)
    near = (0.83 - 0.16 * x / at.width) * h + 0.05 * bank(1.5 * x + 7, 0 * x)
    sunlit = np.clip(0.5 + 0.5 * leaf(x, 2 * y) + 0.6 * (x / at.width - 0.4), 0, 1)
    colour = mix(colour, ramp(sunlit, "23506e 2f7a5a 6fa546 c9c850 f2d98a"), y > near)
    return _trees(x, y, colour, trees, 0.3 * h, near + 0.05, leaf)


def _trees(x, y, colour, trees, middle, foot, leaf):
    for cx, r in trees:
        trunk = (np.abs(x - cx - 0.01 * np.sin(20 * y)) < 0.1 * r) & (y > middle) & (y < foot)
        colour = mix(colour, ramp(np.clip(0.5 + (x - cx) / (0.2 * r), 0, 1), "3b2a5a 7a4a4a d08850"), trunk)
        crown = np.hypot(x - cx, (y - middle) * 1.05) < r * (1 + 0.6 * leaf(x, 1.3 * y))
        light = np.clip(0.5 + 0.55 * ((x - cx) - (y - middle)) / r + 0.35 * leaf(2 * x, 2 * y), 0, 1)
        colour = mix(colour, ramp(light, "1e3d6b 1f6a55 4fa044 b7cf45 f7e06a"), crown)
    return colour


# ---------------------------------------------------------------- water lilies


def water_lilies(at, rng):
    """A pond of soft broken dabs: willow reflections, pads in perspective, pink blooms."""
    deep, willow = noise(rng, 2.2), noise(rng, 5)
    canvas = Canvas(at, rgb("3d5f7a")[0], rng)
    for density, length, width in ((1000, 0.12, 0.036), (2200, 0.085, 0.02), (1500, 0.06, 0.012)):
        x, y = scatter(rng, at, density)
        hang = willow(2.2 * x, 0.35 * y) - 0.35 * (y / at.height)
        tone = np.clip(0.5 + 0.5 * deep(x, 2.5 * y) + rng.normal(0, 0.13, len(x)), 0, 1)
        water = ramp(tone, "24365e 3c5f94 6a86bd 9a9fd0 c9b9d9 e9cfd0")
        green = ramp(tone, "12332f 1f5a48 3f8560 8fb56b d4d58a")
        under = hang > 0.0
        colour = jitter(rng, mix(water, green, 0.85 * under), 0.03, 0.04)
        angle = np.where(under, np.pi / 2, 0) + rng.normal(0, 0.18, len(x))
        bend = rng.normal(0, 0.5, len(x))
        canvas.paint(rng, x, y, angle, length * np.where(under, 0.9, 1.1), width, colour, bend, streak=0.18, dry=0.6)
    for cx, cy, r in _pads(at, rng):
        _pad(canvas, rng, cx, cy, r)
    return canvas.lit(0.9, 0.06)


def _pads(at, rng):
    """Clusters of pads, larger towards the lower edge, far ones first."""
    pads = []
    for row in (0.16, 0.33, 0.52, 0.74, 0.95):
        for centre in rng.uniform(0, 1, 1 + round(2 * at.width)) * at.width:
            r = 0.03 + 0.062 * row
            n = int(rng.integers(3, 6))
            spread = rng.normal(0, 1, (n, 2)) * (2.2 * r, 0.5 * r)
            pads += [(centre + dx, row * at.height + dy, r * rng.uniform(0.75, 1.15)) for dx, dy in spread]
    return sorted(pads, key=lambda p: p[1])


def _pad(canvas, rng, cx, cy, r):
    n = int(26 + 500 * r)
    d, turn = np.sqrt(rng.random(n)), rng.uniform(0, 6.283, n)
    order = np.argsort(d * np.sin(turn))[::-1]
    d, turn = d[order], turn[order]
    x, y = cx + r * d * np.cos(turn), cy + 0.36 * r * d * np.sin(turn)
    light = np.clip(0.55 - 0.35 * d * np.sin(turn) + rng.normal(0, 0.2, n), 0, 1)
    colour = jitter(rng, ramp(light, "1f4a5a 2f7a5f 6faa5e b5cf7a e6e3a6"), 0.025)
    shadow = np.linspace(-1, 1, 9)
    dark = np.tile(rgb("1b2a4f"), (9, 1))
    canvas.paint(rng, cx + r * shadow, np.full(9, cy + 0.32 * r), 0, 0.7 * r, 0.2 * r, dark)
    canvas.paint(rng, x, y, rng.normal(0, 0.15, n), 0.75 * r, 0.19 * r, colour, 0.5 * np.sin(turn), 0.16)
    if rng.random() < 0.42:
        _bloom(canvas, rng, cx + rng.normal(0, 0.3 * r), cy - 0.15 * r, 0.42 * r)


def _bloom(canvas, rng, cx, cy, r):
    n = 22
    turn = rng.permutation(np.linspace(np.pi, 2 * np.pi, n)) + rng.normal(0, 0.15, n)
    d = np.linspace(0.95, 0.25, n)
    hexes = ("a8326a e0699a f7b3c6 fff0ea", "b98a9a f2d3cf fff3e6 fffdf5")[rng.integers(2)]
    colour = jitter(rng, ramp(1 - d + rng.normal(0, 0.12, n), hexes), 0.02)
    x, y = cx + r * d * np.cos(turn), cy + r * (0.8 * d * np.sin(turn) + 0.3)
    canvas.paint(rng, x, y, turn, 0.95 * r, 0.42 * r, colour, 0.3, streak=0.1)
    x, y = cx + r * rng.normal(0, 0.1, 4), cy + r * rng.normal(0, 0.06, 4)
    canvas.paint(rng, x, y, 0, 0.4 * r, 0.25 * r, np.tile(rgb("f7c531"), (4, 1)))


# ---------------------------------------------------------------- cubism


def cubism(at, rng):
    """A still life broken into planes that fade from one edge: umber, ochre, slate and cream."""
    cuts, seeds = _cuts(at, rng), rng.integers(1 << 30, size=3)
    canvas = Canvas(at, rgb("8a7a5f")[0], rng)
    for density, length, width in ((1300, 0.075, 0.03), (3000, 0.05, 0.017), (1500, 0.035, 0.011)):
        x, y = scatter(rng, at, density)
        colour, angle, _ = _planes(at, x, y, cuts, seeds)
        colour, angle = jitter(rng, colour, 0.016, 0.035), angle + rng.normal(0, 0.12, len(x))
        canvas.paint(rng, x, y, angle, length, width, colour)
    crisp, _, edge = _planes(at, at.x, at.y, cuts, seeds)
    canvas.picture = mix((canvas.picture + crisp) / 2, rgb("1d1712")[0], edge)
    return canvas.lit(1.0, 0.05)


def _cuts(at, rng):
    """(kind, a, b, c, extent, shift), each seen in part.

    Kind 0 is a line through (b, c) with normal angle a, kind 1 a circle round (b, c) of radius a.
    """
    cuts = []
    angles = rng.normal([0.45] * 5 + [-0.5] * 5 + [1.57] * 3 + [0.9] * 2, 0.14)
    spots = (rng.permutation(15)[:, None] * np.array([0.7549, 0.5698]) + rng.random(2)) % 1
    for a, (b, c) in zip(angles, spots):
        b, c = (0.08 + 0.84 * b) * at.width, (0.08 + 0.84 * c) * at.height
        cuts.append((0, a, b, c, rng.uniform(0.2, 0.42), rng.uniform(-0.1, 0.1)))
    for r in rng.uniform(0.09, 0.24, 4):
        b, c = rng.uniform(0.28, 0.72, 2) * (at.width, at.height)
        cuts.append((1, r, b, c, rng.uniform(1.2, 2.2), rng.uniform(0, 6.3)))
    return cuts


def _planes(at, x, y, cuts, seeds):
    """Colour, stroke angle and ink line at the points (x, y)."""
    key, shade, edge = 0 * x, 0 * x, 0 * x
    for k, (kind, a, b, c, extent, shift) in enumerate(cuts):
        if kind == 0:
            d, along = (x - b) * np.cos(a) + (y - c) * np.sin(a), (y - c) * np.cos(a) - (x - b) * np.sin(a)
            seen = step(extent - np.abs(along - shift), 0.12)
        else:
            d, along = np.hypot(x - b, y - c) - a, np.arctan2(y - c, x - b)
            seen = step(extent - np.abs((along - shift + np.pi) % (2 * np.pi) - np.pi), 0.4)
        key = key + (d > 0) * (seen > 0.5) * (1 << k)
        fade = np.where(d > 0, -1.1 * np.exp(-np.abs(d) / 0.07), 0.9 * np.exp(-np.abs(d) / 0.06))
        shade = shade + seen * fade * (1 if k % 2 else -1)
        edge = np.maximum(edge, seen * line(d, 0.0025 + 0.0012 * (k % 3), 0.003) * 0.9)
    pick, turn = (hashed(np.random.default_rng(seed), key) for seed in seeds[:2])
    middle = bell(np.hypot(x - 0.5 * at.width, y - 0.5 * at.height), 0.42)
    light = np.clip(0.33 + 0.27 * middle + 0.3 * shade + 0.4 * (turn - 0.4), 0, 1)
    return _facet_colour(x, y, pick, turn, light), np.floor(turn * 6) * np.pi / 6, edge


def _facet_colour(x, y, pick, turn, light):
    warm = ramp(light, "1f1610 5a3d22 a8773a dcb46e f6e6bd")
    cool = ramp(light, "12171f 2c4450 5f7f8a a9b9b0 f0ead2")
    rust = ramp(light, "240f0b 6a2717 b9502a e0985c f6dcb4")
    colour = np.where((pick < 0.42)[..., None], warm, np.where((pick < 0.84)[..., None], cool, rust))
    a = np.floor(turn * 6) * np.pi / 6
    u, v = x * np.cos(a) + y * np.sin(a), y * np.cos(a) - x * np.sin(a)
    stripes = line((u / 0.022) % 1 - 0.5, 0.14, 0.1) * (np.abs(pick - 0.3) < 0.05)
    dots = step(0.3 - np.hypot((u / 0.03) % 1 - 0.5, (v / 0.03) % 1 - 0.5), 0.15) * (np.abs(pick - 0.7) < 0.06)
    colour = mix(colour, rgb("2a1a10")[0], 0.7 * stripes)
    return mix(colour, rgb("f3e6c6")[0], 0.75 * dots)


# ---------------------------------------------------------------- stained glass


def stained_glass(at, rng):
    """A leaded window: sun, hills and river in glowing panes."""
    regions, leads = _window(at, rng)
    sx, sy = scatter(rng, at, 95, 0.1)
    sx, sy = sx + rng.normal(0, 0.012, len(sx)), sy + rng.normal(0, 0.012, len(sy))
    wobble = noise(rng, 4, 2)
    bent = at._replace(x=at.x + 0.012 * wobble(at.x, at.y), y=at.y + 0.012 * wobble(at.y + 5, at.x))
    pane, _, gap = nearest(bent, sx, sy)
    edge = np.minimum(0.6 * gap, leads - 0.003)
    glass = _glass(at, rng, regions, pane, sx, sy) * (0.72 + 0.4 * step(edge - 0.028, 0.05))[..., None]
    relief = np.sqrt(np.clip(1 - (edge / 0.0085) ** 2, 0, 1))
    came = lit(np.broadcast_to(rgb("26231f")[0], glass.shape), relief, at, 1.6, 0.35)
    return mix(glass, came, step(0.0075 - edge, 0.003))


def _window(at, rng):
    """Region number of every pixel, and distance to the large curved leads."""
    w, h, x, y = at.width, at.height, at.x, at.y
    cx, cy, r = rng.uniform(0.35, 0.65) * w, 0.34 * h, 0.17
    d = np.hypot(x - cx, y - cy)
    phase = rng.uniform(0, 6.3, 3)
    hills = zip((0.6, 0.73, 0.87), (0.06, 0.05, 0.04), (5, 6.5, 4.2), phase)
    ridges = [level * h + swing * np.sin(often * x / w + p) for level, swing, often, p in hills]
    turn = (np.arctan2(y - cy, x - cx) + 0.6 * (d - r)) / (2 * np.pi) * 14
    ray = np.floor(turn).astype(int) % 2
    regions = np.where(d < 0.55 * r, 0, np.where(d < r, 1, 2 + ray + 2 * (d > 2.1 * r)))
    leads = np.minimum(np.abs(d - r), np.abs(d - 0.55 * r))
    spokes = np.minimum(np.abs(turn - np.round(turn)) / 14 * 6.28 * d, np.abs(d - 2.1 * r))
    leads = np.where(d > r, np.minimum(leads, spokes), leads)
    for k, top in enumerate(ridges):
        leads = np.where(y > top, np.abs(y - top), np.minimum(leads, np.abs(y - top)))
        regions = np.where(y > top, 6 + k, regions)
    return regions, leads * 0.9


def _glass(at, rng, regions, pane, sx, sy):
    palettes = ("fff3b0 ffd84a", "ffb01f f26a1b", "2a5fd0 1d3fa8", "f6c445 f08a24", "12237a 2d55c4", "5b2a9c 8e3fb8",
                "1f8f5a 0f6a4f", "8fc22f 3f9a3a", "0f7fae 16b0b8")
    stops = np.stack([ramp(np.linspace(0, 1, 8), p) for p in palettes])
    lot = hashed(rng, pane, regions)
    colour = stops[regions, (lot * 8).astype(int)]
    turn, tilt = 6.28 * hashed(rng, pane, regions), hashed(rng, pane, regions)
    dx, dy = at.x - sx[pane].astype(np.float32), at.y - sy[pane].astype(np.float32)
    along, across = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
    streak, seed = noise(rng, 14), noise(rng, 60, 2)
    grain = streak(along + turn, 5 * across) + 0.5 * seed(at.x, at.y)
    glow = 1.02 + 0.16 * grain + 2.2 * (tilt - 0.5) * along + 0.35 * (lot - 0.5)
    colour = colour * glow[..., None] + 0.1 * np.clip(grain, 0, 1)[..., None]
    return colour + 0.22 * bell(np.hypot(dx, dy), 0.05)[..., None] * (0.4 + colour)


# ---------------------------------------------------------------- mosaic


def mosaic(at, rng):
    """Tesserae in rows that follow the drawing: rings of a sun, hills, waves, with grout between."""
    size, radius = 0.027, 0.16
    across, along, region = _cartoon(at, rng, radius)
    row = np.floor(across / size).astype(int)
    pitch = size * (0.85 + 0.5 * hashed(rng, row, region))
    girth, ring = 2 * np.pi * (row + 0.5) * size, region < 2
    count = np.maximum(np.round(girth / pitch), 3)  # a ring holds a whole number of tiles
    place = np.where(ring, along / (2 * np.pi) * count, along / pitch) + 7 * hashed(rng, row, region)
    pitch = np.where(ring, girth / count, pitch)
    column = np.where(ring, np.floor(place) % count, np.floor(place)).astype(int)
    lot, tilt, skew = (hashed(rng, row, column, region) for _ in range(3))
    u, v = place % 1 - 0.5, across / size % 1 - 0.5
    u, v = u + 0.4 * (skew - 0.5) * v, v + 0.22 * (tilt - 0.5) * u
    inside = np.minimum((0.44 - 0.05 * lot - np.abs(u)) * pitch, (0.43 - 0.05 * skew - np.abs(v)) * size)
    inside, chip = inside - 0.016 * np.clip(np.abs(u) + np.abs(v) - 0.7, 0, 1), noise(rng, 45)(at.x, at.y)
    tile = _tile_colour(region, across, along, (row + 0.5) * size, radius, lot, skew)
    tile = tile * (1 + 0.1 * chip + 0.5 * ((tilt - 0.5) * u + (skew - 0.5) * v))[..., None]
    grout = rgb("3a332c")[0] * (1 + 0.35 * noise(rng, 90, 2)(at.x, at.y))[..., None]
    relief = 0.9 * step(inside - 0.003, 0.009) + 0.08 * chip
    return lit(mix(grout, tile, step(inside + 0.001 * chip, 0.003)), relief, at, 1.1, 0.25)


def _cartoon(at, rng, radius):
    """The drawing under the tiles: each pixel's place across and along the rows, and its region.

    Regions 0 and 1 are the sun and its sky, where `along` is an angle; 2 a hill; 3 and 4 the sea.
    """
    dx, dy = at.x - rng.uniform(0.3, 0.7) * at.width, at.y - 0.36 * at.height
    across, along = np.hypot(dx, dy), np.arctan2(dy, dx)
    region = np.where(across < radius, 0, 1)
    shapes = (0.63, 0.05, 6.0), (0.76, 0.025, 12.0), (0.9, 0.02, 15.0)
    for k, (level, swing, often) in enumerate(shapes):
        wave = often * at.x + rng.uniform(0, 6.3)
        depth = at.y - level * at.height - swing * np.sin(wave)
        below, steep = depth > 0, (swing * often * np.cos(wave)) ** 2
        region, along = np.where(below, 2 + k, region), np.where(below, at.x, along)
        across = np.where(below, depth / np.sqrt(1 + 0.6 * steep), across)
    return across, along, region


def _tile_colour(region, across, along, middle, radius, lot, skew):
    palettes = (("fff0a8 ffcf3a f59a1e d9481c", 0, radius), ("f7d873 f2a65a 4fa3c7 1f5fa8 173a7a", radius, 0.62),
                ("c8b04a 6f9a3c 2f6b45 1f4a3c", 0, 0.14), ("d8f0e4 4fc0c0 1a86a8 135a8c", 0, 0.14),
                ("e8f4ea 2f9fb4 14588f 0d2f63", 0, 0.13))
    rays = 0.16 * np.sin(12 * along) * bell(across - radius, 0.2) * (region == 1)
    colour = np.zeros((*region.shape, 3), np.float32)
    for k, (hexes, start, reach) in enumerate(palettes):
        t = (middle - start) / reach + 0.36 * (lot - 0.5) + rays
        colour = np.where((region == k)[..., None], ramp(np.clip(t, 0, 1), hexes), colour)
    odd = rgb("e5392f fff6dc f2c230 0e2450")[(skew * 4).astype(int)]
    return np.clip(mix(colour, odd, 0.75 * (lot > 0.955)) * (0.86 + 0.3 * skew)[..., None], 0, 1)


# ---------------------------------------------------------------- marbling


def marbling(at, rng):
    """Ebru: rings of ink dropped on water, combed to and fro, stirred once."""
    x, y = _combed(at, rng, at.x, at.y)
    inks = rgb("12284f 0f4f6e f3e6c8 f7efdc c8372d 1f8a8f e3a32b 7a1f35")
    cx, cy = scatter(rng, at, 38, 0.08)
    drops = []
    rounds = (0.07, (0, 1, 7)), (0.05, (2, 3)), (0.058, (4, 5, 6)), (0.038, (2, 0, 1)), (0.026, (4, 5, 3, 6))
    for radius, choice in rounds:
        moved = np.stack([cx, cy], 1) + rng.normal(0, 0.012, (len(cx), 2))
        drops += [(a, b, radius * rng.uniform(0.8, 1.2), rng.choice(choice)) for a, b in moved.tolist()]
    ink = np.full(x.shape, -1, np.int8)
    for a, b, radius, which in drops[::-1]:  # the last drop lies on top and has pushed the others out
        dx, dy = x - np.float32(a), y - np.float32(b)
        near = np.float32(radius**2) / np.maximum(dx * dx + dy * dy, np.float32(1e-9))
        ink[(ink < 0) & (near > 1)] = which
        pull = np.sqrt(np.maximum(1 - near, 0))
        x, y = a + dx * pull, b + dy * pull
    picture = np.where((ink < 0)[..., None], rgb("e9d9b0")[0], inks[ink])
    vein, paper = noise(rng, 26)(x, y), noise(rng, 70, 2)(at.x, at.y)
    return picture * (1 + 0.13 * vein + 0.07 * paper)[..., None]


def _combed(at, rng, x, y):
    """Where each pixel's ink lay before the stirring: the moves undone, last one first."""
    cx, cy = rng.uniform(0.35, 0.65, 2) * (at.width, at.height)
    dx, dy = x - cx, y - cy
    turn = rng.choice([-1, 1]) * 1.5 * bell(np.hypot(dx, dy), 0.27)
    x, y = cx + dx * np.cos(turn) - dy * np.sin(turn), cy + dx * np.sin(turn) + dy * np.cos(turn)
    phase = rng.uniform(0, 1, 3)
    x = x + 0.05 * np.sin(2 * np.pi * (y / 0.5 + phase[0]))
    teeth = (x / 0.085 + phase[1]) % 1 - 0.5
    y = y + 0.13 * (np.exp(-np.abs(teeth) / 0.14) - 0.25)
    teeth = (y / 0.26 + phase[2]) % 1 - 0.5
    return x + 0.11 * np.sign(np.sin(np.pi * (y / 0.26 + phase[2]))) * np.exp(-np.abs(teeth) / 0.2), y


# ---------------------------------------------------------------- woodcut


def woodcut(at, rng):
    """A print in few inks: a red sun, a far peak and rows of hooked, striped waves."""
    grain = noise(rng, 3)(0.35 * at.x, 16 * at.y + 0.6 * np.sin(3 * at.x))
    picture = _print_sky(at, rng, grain)
    for k in range(5):
        picture = _print_wave(at, rng, picture, k / 4)
    paper = noise(rng, 80, 2)(at.x, at.y)
    ink = np.clip(1 - picture.mean(-1, keepdims=True), 0, 1)
    return np.clip(picture + ink * (0.09 * grain + 0.06 * paper)[..., None] - 0.02 * np.abs(paper)[..., None], 0, 1)


def _print_sky(at, rng, grain):
    w, h, x, y = at.width, at.height, at.x, at.y
    fade = np.clip(1 - y / (0.36 * h), 0, 1) ** 1.6
    picture = ramp(y / (0.6 * h), "f3e7cb f1dfb9 eccf9f")
    picture = mix(picture, rgb("24497a")[0], 0.92 * np.clip(fade + 0.12 * grain * fade, 0, 1))
    gouge = line((y * 62 + 0.7 * noise(rng, 2)(x, y)) % 1 - 0.5, 0.16, 0.2) * (noise(rng, 9)(x * 0.5, y * 7) > 0.15)
    picture = mix(picture, rgb("f3e7cb")[0], 0.4 * gouge * (fade > 0.12))
    middle = rng.uniform(0.2, 0.8)
    sun = ramp(np.clip((y - 0.2 * h) / 0.2, 0, 1), "d2402a ee7a45")
    picture = mix(picture, sun, step(0.13 - np.hypot(x - middle * w, y - 0.29 * h)))
    return _print_peak(at, picture, grain, (0.3 if middle > 0.5 else 0.7) * w)


def _print_peak(at, picture, grain, middle):
    h, x, y = at.height, at.x, at.y
    top = 0.33 * h + 0.04 + 0.62 * np.abs(x - middle) ** 0.86 - 0.1 * bell(x - middle, 0.05)
    teeth = 0.07 * np.abs((x * 17 + 0.5 * grain) % 2 - 1) * (1 + np.sin(9 * x))
    peak = mix(ramp((y - top) / 0.25, "2b4f7f 5c83a0 c9c7a6"), rgb("f6eedb")[0], step(0.4 * h + 0.02 + teeth - y))
    strokes = line(((x - middle) / (0.12 + y) * 34 + 0.4 * grain) % 1 - 0.5, 0.13, 0.15) * (y - top > 0.12)
    peak = mix(peak, rgb("1b355c")[0], 0.55 * strokes)
    return mix(mix(picture, peak, step(y - top)), rgb("16233f")[0], line(y - top, 0.0035))


def _print_wave(at, rng, picture, near):
    """One row of waves; near = 0 is the horizon, 1 the front."""
    x, y = at.x, at.y
    base, tall, long = (0.6 + 0.4 * near) * at.height, 0.035 + 0.16 * near * (1 - 0.35 * near), 0.2 + 0.34 * near
    phase, lean, rise = rng.uniform(0, 1), rng.uniform(0.9, 1.2), np.clip(base - y, 0, None)
    u = (x + lean * rise * (1 + 3.2 * rise) + 0.03 * noise(rng, 3)(x, y)) / long + phase
    crest = 1 - np.abs(np.sin(np.pi * u)) ** 0.75
    d = y - base + tall * crest * (0.75 + 0.5 * noise(rng, 1.5, 1)(np.floor(u + 0.5), 0 * u))
    scallop = 0.012 * np.abs(np.sin(u * 30 + 2 * np.sin(u * 7))) * (0.4 + near)
    foam = (0.012 + 0.035 * near) * np.clip(crest * 1.6 - 0.35, 0.12, 1) + scallop
    carved = (d / (0.021 + 0.012 * near) + 0.5 * noise(rng, 5)(x, y)) % 1
    inks = "9fc0b6 3f78a0 1f4477 14294f" if near > 0.3 else "7fa7ab 3f6f95 24497a"
    body = ramp(np.clip(d / (0.17 + 0.1 * near), 0, 1), inks)
    body = mix(body, rgb("efe6cc")[0], line(carved - 0.5, 0.17 * np.clip(1.1 - d / 0.16, 0, 1), 0.12) * 0.95)
    body = mix(body, rgb("14294f")[0], line(carved - 0.02, 0.05, 0.06) * 0.8)
    body = mix(body, rgb("14233f")[0], line(d - foam, 0.0035 + 0.001 * near))
    body = mix(body, rgb("f7f0dc")[0], step(foam - d))
    body = mix(body, rgb("8fb0b0")[0], 0.8 * line(d - 0.5 * foam - 0.3 * scallop, 0.0016) * (crest > 0.35))
    return mix(mix(picture, body, step(d)), rgb("14233f")[0], line(d, 0.003 + 0.0015 * near))


# ---------------------------------------------------------------- watercolour


def watercolour(at, rng):
    """Wet washes over rough paper: a low sun, misty ridges, pines; pigment gathers at the edges."""
    x, y, w, h = at.x, at.y, at.width, at.height
    tooth = noise(rng, 60, 2)(x, y) + 0.5 * noise(rng, 28, 2)(x, y)
    bloom = noise(rng, 2.6, 4)
    ragged = bloom(6 * x, 6 * y)
    light = np.broadcast_to(rgb("fbf6e9")[0], (*x.shape, 3)) * (1 + 0.03 * tooth)[..., None]
    d = np.hypot(x - rng.uniform(0.3, 0.7) * w, y - 0.3 * h) + 0.004 * ragged
    dry = step(d - 0.082, 0.02)
    light = _wash(light, _layers(bloom(x, 1.7 * y) + 0.75 - 2.2 * y / h) * dry, "4f8fd0", tooth, 0.8)
    light = _wash(light, _layers(bloom(x + 3, 1.7 * y) + 0.55 - 5 * np.abs(y / h - 0.4)) * dry, "f2a35e", tooth, 0.6)
    disc = 0.7 + 0.6 * np.exp(-np.abs(d - 0.075) / 0.006) + 0.3 * bloom(3 * x, 3 * y)
    light = _wash(light, step(0.075 - d, 0.006) * disc, "ea5a3c", tooth, 0.95)
    for k, ink in enumerate("a5aed6 8391c4 5f78ab 3a688c 1f4a5c".split()):
        ridge = noise(rng, 1.6 + 0.5 * k, 4)(x[:1], 0 * x[:1])
        depth = np.clip(y - (0.47 + 0.1 * k) * h + (0.12 - 0.01 * k) * ridge + 0.005 * ragged, -1, None)
        light = _wash(light, _mountain(depth, bloom(1.3 * x + 5 * k, 1.3 * y), 0.1 + 0.03 * k), ink, tooth, 0.85)
    return _spatter(at, rng, _pines(at, rng, light, ragged, tooth), tooth)


def _layers(field):
    """Density of three glazes, each ending in a dark rim where `field` crosses its level."""
    total = 0
    for level in (0.0, 0.28, 0.56):
        over = np.clip(field - level, 0, None)
        total = total + step(field - level, 0.03) * (0.26 + 0.3 * np.exp(-over / 0.035) + 0.1 * over)
    return total


def _mountain(depth, pool, reach):
    below = np.clip(depth, 0, None)
    fade, rim = np.exp(-below / reach), 0.5 * np.exp(-below / 0.006)
    return step(depth, 0.005) * (fade * (0.75 + 0.5 * pool) + rim + 0.4 * fade * line(pool - 0.1, 0.03, 0.06))


def _pines(at, rng, light, ragged, tooth):
    dense = np.zeros_like(at.x)
    side = rng.choice([0.0, 1.0])
    for x, tall in zip(np.abs(side - 0.36 * rng.random(9) ** 1.3) * at.width, rng.uniform(0.16, 0.36, 9)):
        t = (at.y - (1.0 * at.height - tall)) / tall + 0.02 * ragged
        half = 0.2 * tall * t * (0.45 + 0.55 * ((t * 7.5) % 1)) + 0.002
        dense = np.maximum(dense, step(half - np.abs(at.x - x), 0.006) * (t > 0) * (0.75 + 0.35 * ragged))
    return _wash(light, dense, "1d4a48", tooth, 0.95)


def _wash(light, density, ink, tooth, strength):
    """Pigment takes light away, more in the paper's hollows."""
    absorb = -np.log(np.clip(rgb(ink)[0], 0.03, 0.97))
    amount = np.clip(density, 0, 2) * strength * (1 + 0.3 * tooth)
    return light * np.exp(-amount[..., None] * absorb)


def _spatter(at, rng, light, tooth):
    n = int(30 * at.width * at.height)
    for x, y, r in zip(rng.uniform(0, at.width, n), rng.uniform(0, at.height, n), 0.003 + 0.009 * rng.random(n) ** 3):
        i, j, k = int(y * at.scale), int(x * at.scale), int(2.5 * r * at.scale) + 2
        box = slice(max(i - k, 0), i + k), slice(max(j - k, 0), j + k)
        d = np.hypot(at.x[box] - x, at.y[box] - y)
        light[box] = _wash(light[box], step(r - d, 0.003) * (0.3 + 0.3 * (d / r) ** 4), "4a6fa0", tooth[box], 0.8)
    return light


# ---------------------------------------------------------------- engraving


def engraving(at, rng):
    """A copper plate: swelling parallel lines, crossed in the shadows; mountains under a moon."""
    x, y, w, h = at.x, at.y, at.width, at.height
    mx, my, cloud, rock = rng.uniform(0.3, 0.7) * w, 0.25 * h, noise(rng, 2.4), noise(rng, 5)
    d = np.hypot(x - mx, y - my)
    tone = np.clip(0.7 - 0.6 * bell(d, 0.3) + 0.35 * cloud(x, 2.2 * y), 0.08, 0.95) * step(d - 0.1)
    phase = y + 0.05 * cloud(x, y) + 0.04 * bell(d, 0.16) * np.sign(y - my)
    plate = tone, phase, x + y, line(d - 0.1, 0.002)
    for k, level in enumerate((0.5, 0.62, 0.74)):
        plate = _range(x, y, plate, level * h, k, noise(rng, 1.9 - 0.3 * k, 1), noise(rng, 6, 3), rock)
    tone, phase, cross, outline = plate
    lake = y > 0.84 * h
    gleam = 0.75 - 0.75 * bell(x - mx, 0.09 + 0.1 * (y - 0.84 * h)) + 0.4 * cloud(2 * x, 12 * y)
    tone = np.where(lake, np.clip(gleam, 0.05, 0.95), tone)
    phase = np.where(lake, y + 0.006 * np.sin(26 * x + 50 * y), phase)
    return _etch(at, rng, tone, phase, cross, outline)


def _range(x, y, plate, level, k, peaks, crags, rock):
    """The plate (tone, line phase, crossing phase, outline) with mountain range k cut into it."""
    tone, phase, cross, outline = plate
    top = level - (0.2 - 0.05 * k) * (1 - 2 * np.abs(peaks(x[:1], k + 0 * x[:1]))) - 0.03 * crags(x[:1], 0 * x[:1])
    on, side = y > top, 1 if k % 2 else -1
    fold = 1 - np.abs(rock(x + side * 0.5 * y + 3 * k, 0.6 * y))
    east = 1 - np.abs(rock(x + 0.02 + side * 0.5 * y + 3 * k, 0.6 * y)) - fold
    shade = 0.34 + 0.11 * k - 5 * east + 0.5 * np.exp(-np.abs(top - y) / 0.012) - 0.9 * (y - top)
    tone = np.where(on, np.clip(shade, 0.05, 1), tone)
    phase = np.where(on, (x + 0.55 * side * y) * 0.88 + 0.05 * fold, phase)
    cross = np.where(on, 0.75 * (x * 0.5 - side * y), cross)
    return tone, phase, cross, np.maximum(outline * ~on, line(y - top, 0.0026))


def _etch(at, rng, tone, phase, cross, outline):
    hand = noise(rng, 12, 2)(at.x, at.y)
    pitch = 0.0165
    swell = np.clip(tone * 1.25 + 0.1 * hand, 0, 1.1) * 0.40
    ink = line((phase / pitch + 0.12 * hand) % 1 - 0.5, swell, 0.16) * step(tone - 0.06, 0.05)
    second = line((cross / pitch / 1.05 + 0.12 * hand) % 1 - 0.5, np.clip(tone - 0.5, 0, 1) * 0.55, 0.16)
    second = second * step(tone - 0.52, 0.06)
    ink = np.clip(np.maximum(np.maximum(ink, second), outline), 0, 1)
    paper = rgb("f1e6cd")[0] * (1 + 0.035 * noise(rng, 50)(at.x, at.y))[..., None]
    tint = mix(paper, rgb("c9b98f")[0], 0.5 * tone)
    return mix(tint, rgb("1c2230")[0], ink * np.clip(0.93 + 0.12 * hand, 0, 1))


# ---------------------------------------------------------------- seigaiha


def seigaiha(at, rng):
    """Overlapping fans, wave upon wave, in enamel between raised gold wires."""
    drift = noise(rng, 2, 2)
    x, y = at.x + 0.012 * drift(at.x, at.y), at.y + 0.012 * drift(at.y + 4, at.x)
    radius = 0.118
    found = np.zeros(x.shape, bool)
    rho, turn, row, column = (np.zeros(x.shape, np.float32) for _ in range(4))
    shift = rng.uniform(0, 2 * radius, 2)
    for k in (2, 1, 0, -1):
        j = np.floor((y + shift[1]) / (radius / 2)) + k
        cy = j * radius / 2 - shift[1]
        i = np.round((x + shift[0]) / (2 * radius) - (j % 2) / 2)
        cx = (i + (j % 2) / 2) * 2 * radius - shift[0]
        d = np.hypot(x - cx, y - cy) / radius
        new = ~found & (d < 1)
        rho, turn = np.where(new, d, rho), np.where(new, np.arctan2(y - cy, x - cx), turn)
        row, column, found = np.where(new, j, row), np.where(new, i, column), found | new
    return _enamel(at, rng, drift, rho, turn, row, column)


def _enamel(at, rng, drift, rho, turn, row, column):
    ring = np.minimum((rho * 4.6).astype(int), 4)
    lot = hashed(rng, row, column)
    place = 0.5 + 0.75 * noise(rng, 2.2, 2)(column * 0.2360 + 0.118 * (row % 2), row * 0.059)
    t = np.clip(place + 0.3 * (lot - 0.5), 0, 0.999)
    fans = ("f4e7c0 2fa8a0 0f5f7a 7fd0c0 0b2a55", "f6edd0 e0603a a3203a f0a04a 4a1038",
            "fbe8b0 6fc07a 12745a c4dc80 0a3a40", "ffffff 5f8fe0 2440a0 a9c8f0 141a4a")
    stops = np.stack([rgb(f) for f in fans])
    colour = stops[(t * 4).astype(int), ring]
    wire = line((rho * 4.6 + 0.5) % 1 - 0.5, 0.075, 0.04) * (rho > 0.12)
    wire = np.maximum(wire, line(rho - 0.985, 0.022, 0.02))
    ribs = line((turn * 24 / np.pi) % 1 - 0.5, 0.1, 0.14) * (ring % 2 == 1) * 0.85
    wire = np.maximum(wire, ribs * (rho > 0.2))
    cloud, grit = noise(rng, 18)(at.x, at.y), noise(rng, 60, 2)(at.x, at.y)
    enamel = colour * (1 + 0.2 * cloud + 0.08 * grit + 0.25 * ((rho * 4.6) % 1 - 0.5))[..., None]
    gold = ramp(np.clip(0.55 + 0.3 * cloud + 0.25 * grit, 0, 1), "7a5212 c8962e f2cf6a fff0b5")
    return lit(mix(enamel, gold, wire), 1.3 * wire + 0.12 * grit * wire + 0.05 * cloud, at, 1.1, 0.3)


# ---------------------------------------------------------------- gilded


def gilded(at, rng):
    """Gold leaf with spirals, and a flowing robe of eyes, blocks and flowers."""
    leaf, grit = noise(rng, 6)(at.x, at.y), noise(rng, 70, 2)(at.x, at.y)
    seam = np.minimum(np.abs((at.x * 5.3 + 0.05 * leaf) % 1 - 0.5), np.abs((at.y * 5.3 + 0.05 * leaf) % 1 - 0.5))
    tone = np.clip(0.55 + 0.28 * leaf + 0.2 * grit - 0.2 * (seam < 0.012), 0, 1)
    gold = ramp(tone, "6a430f a8741f d9a53a f3d069 fff0b0")
    curl = _spirals(at, rng)
    picture, relief = mix(gold, rgb("4a2a10")[0], 0.9 * curl), 0.8 * curl + 0.2 * leaf
    p, bend = rng.uniform(0, 6.3), noise(rng, 1.2, 2)
    middle = at.width * (0.5 + 0.12 * np.sin(3.2 * at.y / at.height + p)) + 0.05 * bend(at.x, at.y)
    side = (at.x - middle) / at.width
    blocks, b_relief = _blocks(at, rng, leaf)
    eyes, e_relief = _eyes(at, rng)
    left, right = (side > -0.22) & (side < 0.02), (side >= 0.02) & (side < 0.2)
    for on, part, height in ((left, blocks, b_relief), (right, eyes, e_relief)):
        picture, relief = np.where(on[..., None], part, picture), np.where(on, height, relief)
    rim = np.maximum(np.maximum(line(side + 0.22, 0.008), line(side - 0.02, 0.006)), line(side - 0.2, 0.008))
    picture = mix(picture, rgb("e8b945")[0], rim)
    return lit(picture * (1 + 0.06 * grit)[..., None], relief + rim + 0.15 * grit, at, 1.0, 0.3)


def _spirals(at, rng):
    sx, sy = scatter(rng, at, 38, 0.1)
    cell, d, gap = nearest(at, sx, sy)
    turn = np.arctan2(at.y - sy[cell], at.x - sx[cell]) * np.where(hashed(rng, cell) < 0.5, 1, -1)
    return line((d / 0.03 - turn / (2 * np.pi)) % 1 - 0.5, 0.15, 0.1) * step(gap - 0.012, 0.006)


def _blocks(at, rng, leaf):
    """Upright rectangles of black, silver, cream and gold."""
    column = np.floor(at.x / 0.036 + 0.15 * leaf).astype(int)
    tall = 0.04 + 0.06 * hashed(rng, column)
    place = at.y / tall + 9 * hashed(rng, column)
    row = np.floor(place).astype(int)
    u, v = at.x / 0.036 + 0.15 * leaf - column - 0.5, (place - row - 0.5)
    lot = hashed(rng, row, column)
    colour = rgb("15110e e9dfc4 d9a53a 8f8f8a 15110e f6e7b0 7a2c1c 1f3f5a")[(lot * 8).astype(int)]
    inner = rgb("e8b945 15110e f9f2dc c99a35")[(hashed(rng, row, column) * 4).astype(int)]
    inside = np.minimum(0.42 - np.abs(u), (0.44 - np.abs(v)) * tall / 0.036)
    colour = mix(colour, inner, step(inside - 0.2, 0.08) * (hashed(rng, row, column) < 0.55))
    cover = step(inside, 0.08)
    return mix(np.broadcast_to(rgb("b98528")[0], colour.shape), colour, cover), 0.6 * cover


def _eyes(at, rng):
    """Packed discs with concentric rings."""
    sx, sy = scatter(rng, at, 230, 0.06)
    cell, d, _ = nearest(at, sx, sy)
    reach = 0.026 + 0.012 * hashed(rng, cell)
    ring = np.minimum(d / reach * 4, 4).astype(int)
    kinds = ("15110e f3d069 b3261e f9f2dc 24508a", "f9f2dc 7a2c8a f3d069 15110e 24508a",
             "f3d069 1f7a5a f9f2dc d9562a 24508a", "b3261e f9f2dc 15110e e8b945 24508a")
    colour = np.stack([rgb(kind) for kind in kinds])[(hashed(rng, cell) * 4).astype(int), ring]
    edge = line((d / reach * 4 + 0.5) % 1 - 0.5, 0.1, 0.12) * (ring < 4)
    return mix(colour, rgb("e8b945")[0], 0.8 * edge), 0.7 * edge + 0.5 * (ring < 4)


PAINTERS = {
    painter.__name__: painter
    for painter in (
        starry, stained_glass, woodcut, pointillism, mosaic, marbling,
        watercolour, cubism, gilded, engraving, seigaiha, water_lilies,
    )
}
