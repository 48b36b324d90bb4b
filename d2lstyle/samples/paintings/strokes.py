"""Paintings of brush strokes: starry, pointillism, water_lilies."""

import numpy as np

from .canvas import Canvas, bell, jitter, mix, noise, ramp, rgb, scatter


def starry(at, rng):
    """A night of whirling thick strokes: blues, a moon, glowing stars, hills and a cypress."""
    scene = _night(at, rng)
    canvas = Canvas(at, rgb("0d1b45")[0], rng)
    for density, length, width, lift in ((800, 0.14, 0.038, -0.06), (1900, 0.095, 0.022, 0.0), (900, 0.07, 0.012, 0.1)):
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
    whirls = [
        (rng.uniform(0.4, 0.46) * w, rng.uniform(0.3, 0.36) * h, 0.17, turn),
        (rng.uniform(0.66, 0.72) * w, rng.uniform(0.46, 0.52) * h, 0.12, -turn),
    ]
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
    night = ramp(tone, "0a1640 132c6e 1f4a9c 3c78bd 74aacf b9d8d2")
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
    for level, swing, hexes in (
        (0.74, 0.06, "10204a 2c5c96 6ba3bf"),
        (0.83, 0.05, "0c2240 1f6068 7fae8a"),
        (0.92, 0.03, "0a1826 26503c 8a8f45"),
    ):
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
    colour = mix(colour, ramp((y - far) / 0.08, "8d86c4 6f74b4 5f9a8e"), y > far)
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
        colour = mix(colour, ramp(0.5 + (x - cx) / (0.2 * r), "3b2a5a 7a4a4a d08850"), trunk)
        crown = np.hypot(x - cx, (y - middle) * 1.05) < r * (1 + 0.6 * leaf(x, 1.3 * y))
        light = np.clip(0.5 + 0.55 * ((x - cx) - (y - middle)) / r + 0.35 * leaf(2 * x, 2 * y), 0, 1)
        colour = mix(colour, ramp(light, "1e3d6b 1f6a55 4fa044 b7cf45 f7e06a"), crown)
    return colour


def water_lilies(at, rng):
    """A pond of soft broken dabs: willow reflections, pads in perspective, pink blooms."""
    deep, willow = noise(rng, 2.2), noise(rng, 5)
    canvas = Canvas(at, rgb("3d5f7a")[0], rng)
    for density, length, width in ((1000, 0.12, 0.036), (2200, 0.085, 0.02), (1500, 0.06, 0.012)):
        x, y = scatter(rng, at, density)
        tone = np.clip(0.5 + 0.5 * deep(x, 2.5 * y) + rng.normal(0, 0.13, len(x)), 0, 1)
        water = ramp(tone, "24365e 3c5f94 6a86bd 9a9fd0 c9b9d9 e9cfd0")
        green = ramp(tone, "12332f 1f5a48 3f8560 8fb56b d4d58a")
        under = willow(2.2 * x, 0.35 * y) > 0.35 * (y / at.height)
        colour = jitter(rng, mix(water, green, 0.85 * under), 0.03, 0.04)
        angle, bend = np.where(under, np.pi / 2, 0) + rng.normal(0, 0.18, len(x)), rng.normal(0, 0.5, len(x))
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
            spread = rng.normal(0, 1, (rng.integers(3, 6), 2)) * (2.2 * r, 0.5 * r)
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
    canvas.paint(rng, cx + r * shadow, cy + 0.32 * r, 0, 0.7 * r, 0.2 * r, np.tile(rgb("1b2a4f"), (9, 1)))
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
