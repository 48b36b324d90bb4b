"""Paintings of ornament: seigaiha, gilded."""

import numpy as np

from .canvas import hashed, line, lit, mix, nearest, noise, palettes, ramp, rgb, scatter, step


def seigaiha(at, rng):
    """Overlapping fans, wave upon wave, in enamel between raised gold wires."""
    drift = noise(rng, 2, 2)
    x, y = at.x + 0.012 * drift(at.x, at.y), at.y + 0.012 * drift(at.y + 4, at.x)
    radius = 0.118
    covered = np.zeros(x.shape, bool)
    rho, turn, row, column = (np.zeros(x.shape, np.float32) for _ in range(4))
    shift = rng.uniform(0, 2 * radius, 2)
    for k in (2, 1, 0, -1):
        j = np.floor((y + shift[1]) / (radius / 2)) + k
        cy = j * radius / 2 - shift[1]
        i = np.round((x + shift[0]) / (2 * radius) - (j % 2) / 2)
        cx = (i + (j % 2) / 2) * 2 * radius - shift[0]
        d = np.hypot(x - cx, y - cy) / radius
        new = ~covered & (d < 1)
        rho, turn = np.where(new, d, rho), np.where(new, np.arctan2(y - cy, x - cx), turn)
        row, column, covered = np.where(new, j, row), np.where(new, i, column), covered | new
    return _enamel(at, rng, drift, rho, turn, row, column)


def _enamel(at, rng, drift, rho, turn, row, column):
    ring = np.minimum((rho * 4.6).astype(int), 4)
    lot = hashed(rng, row, column)
    place = 0.5 + 0.75 * noise(rng, 2.2, 2)(column * 0.2360 + 0.118 * (row % 2), row * 0.059)
    t = np.clip(place + 0.3 * (lot - 0.5), 0, 0.999)
    fans = "f4e7c0 2fa8a0 0f5f7a 7fd0c0 0b2a55/f6edd0 e0603a a3203a f0a04a 4a1038/"
    fans += "fbe8b0 6fc07a 12745a c4dc80 0a3a40/ffffff 5f8fe0 2440a0 a9c8f0 141a4a"
    colour = palettes(fans)[(t * 4).astype(int), ring]
    rims = line((rho * 4.6 + 0.5) % 1 - 0.5, 0.075, 0.04) * (rho > 0.12), line(rho - 0.985, 0.022, 0.02)
    ribs = line((turn * 24 / np.pi) % 1 - 0.5, 0.1, 0.14) * (ring % 2 == 1) * 0.85
    wire = np.maximum.reduce([*rims, ribs * (rho > 0.2)])
    cloud, grit = noise(rng, 18)(at.x, at.y), noise(rng, 60, 2)(at.x, at.y)
    enamel = colour * (1 + 0.2 * cloud + 0.08 * grit + 0.25 * ((rho * 4.6) % 1 - 0.5))[..., None]
    gold = ramp(0.55 + 0.3 * cloud + 0.25 * grit, "7a5212 c8962e f2cf6a fff0b5")
    return lit(mix(enamel, gold, wire), 1.3 * wire + 0.12 * grit * wire + 0.05 * cloud, at, 1.1, 0.3)


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
    eyes = "15110e f3d069 b3261e f9f2dc 24508a/f9f2dc 7a2c8a f3d069 15110e 24508a/"
    eyes += "f3d069 1f7a5a f9f2dc d9562a 24508a/b3261e f9f2dc 15110e e8b945 24508a"
    colour = palettes(eyes)[(hashed(rng, cell) * 4).astype(int), ring]
    edge = line((d / reach * 4 + 0.5) % 1 - 0.5, 0.1, 0.12) * (ring < 4)
    return mix(colour, rgb("e8b945")[0], 0.8 * edge), 0.7 * edge + 0.5 * (ring < 4)
