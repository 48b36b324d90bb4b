"""Paintings of cut pieces: cubism, stained_glass, mosaic."""

import numpy as np

from .canvas import Canvas, bell, hashed, jitter, line, lit, mix, nearest, noise, ramp, rgb, scatter, step


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
    hexes = (
        "fff3b0 ffd84a/ffb01f f26a1b/2a5fd0 1d3fa8/f6c445 f08a24/12237a 2d55c4/"
        "5b2a9c 8e3fb8/1f8f5a 0f6a4f/8fc22f 3f9a3a/0f7fae 16b0b8"
    )
    stops = np.stack([ramp(np.linspace(0, 1, 8), pair) for pair in hexes.split("/")])
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
    for k, (level, swing, often) in enumerate(((0.63, 0.05, 6.0), (0.76, 0.025, 12.0), (0.9, 0.02, 15.0))):
        wave = often * at.x + rng.uniform(0, 6.3)
        depth = at.y - level * at.height - swing * np.sin(wave)
        below, steep = depth > 0, (swing * often * np.cos(wave)) ** 2
        region, along = np.where(below, 2 + k, region), np.where(below, at.x, along)
        across = np.where(below, depth / np.sqrt(1 + 0.6 * steep), across)
    return across, along, region


def _tile_colour(region, across, along, middle, radius, lot, skew):
    palettes = (
        ("fff0a8 ffcf3a f59a1e d9481c", 0, radius),
        ("f7d873 f2a65a 4fa3c7 1f5fa8 173a7a", radius, 0.62),
        ("c8b04a 6f9a3c 2f6b45 1f4a3c", 0, 0.14),
        ("d8f0e4 4fc0c0 1a86a8 135a8c", 0, 0.14),
        ("e8f4ea 2f9fb4 14588f 0d2f63", 0, 0.13),
    )
    rays = 0.16 * np.sin(12 * along) * bell(across - radius, 0.2) * (region == 1)
    colour = np.zeros((*region.shape, 3), np.float32)
    for k, (hexes, start, reach) in enumerate(palettes):
        t = (middle - start) / reach + 0.36 * (lot - 0.5) + rays
        colour = np.where((region == k)[..., None], ramp(t, hexes), colour)
    odd = rgb("e5392f fff6dc f2c230 0e2450")[(skew * 4).astype(int)]
    return np.clip(mix(colour, odd, 0.75 * (lot > 0.955)) * (0.86 + 0.3 * skew)[..., None], 0, 1)
