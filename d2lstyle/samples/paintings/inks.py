"""Paintings of ink and water: marbling, woodcut, watercolour, engraving."""

import numpy as np

from .canvas import bell, line, mix, noise, ramp, rgb, scatter, step


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
    sun = ramp((y - 0.2 * h) / 0.2, "d2402a ee7a45")
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
    body = ramp(d / (0.17 + 0.1 * near), inks)
    body = mix(body, rgb("efe6cc")[0], line(carved - 0.5, 0.17 * np.clip(1.1 - d / 0.16, 0, 1), 0.12) * 0.95)
    body = mix(body, rgb("14294f")[0], line(carved - 0.02, 0.05, 0.06) * 0.8)
    body = mix(body, rgb("14233f")[0], line(d - foam, 0.0035 + 0.001 * near))
    body = mix(body, rgb("f7f0dc")[0], step(foam - d))
    body = mix(body, rgb("8fb0b0")[0], 0.8 * line(d - 0.5 * foam - 0.3 * scallop, 0.0016) * (crest > 0.35))
    return mix(mix(picture, body, step(d)), rgb("14233f")[0], line(d, 0.003 + 0.0015 * near))


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
    for k, ink in enumerate(["a5aed6", "8391c4", "5f78ab", "3a688c", "1f4a5c"]):
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
