"""Another light for each image: its colour temperature, and a window that is reflected (the CES'19 vending machine)."""

from functools import partial

import torch

from .augment import LUMA, Transform, beside, chunks, uniform
from .engine import checks

PLANCK = 0.014388  # m K, the second radiation constant
WAVELENGTHS = (612e-9, 549e-9, 465e-9)  # m, where the red, green and blue of sRGB lie
NEUTRAL = 6500.0  # K
RANGES = dict(temperature=(1000, 40000), glare=(0, 1), x=(), y=(), radius=(1e-6,), stretch=(1,), angle=())


@torch.no_grad()
def adjust_lighting(images, temperature=NEUTRAL, glare=0.0, x=0.5, y=0.5, radius=0.1, stretch=1.0, angle=0.0):
    """Photograph the same scene in another light, and with a window reflected in it.

    Args:
        images: (B, 3, H, W) in [0, 1]. Each of the others is a number for all of them, or (B,), one for each.
        temperature: of the light in kelvin, 1000 to 40000: 3000 a warm lamp, 6500 changes nothing, 10000 blue shade.
        glare: strength of the reflection at its centre, 0 (none) to 1 (white).
        x, y: its centre, in widths from the left and in heights from the top of the image; it may lie outside.
        radius: of its short axis in shorter sides of the image, where it has fallen to exp(-1/2) = 61 %.
        stretch: long axis over short axis, at least 1: a large one makes a streak.
        angle: of the long axis in degrees, counter-clockwise from horizontal.
    Returns:
        (B, 3, H, W) in [0, 1]
    Raises:
        ValueError: a parameter is outside its range or not finite, or there are not B of them.

    Ours. The camera stays white-balanced for 6500 K: each channel is scaled by Planck's law at its wavelength over that
    at 6500 K, to the power 1/2.2, from light to pixel values; the luma of white is kept. The glare, a Gaussian g, comes
    as a second exposure: 1 - (1 - image)(1 - g).

    >>> adjust_lighting(torch.full((1, 3, 1, 1), 0.5), temperature=6500).flatten()
    tensor([0.5000, 0.5000, 0.5000])
    """
    checks.batch(images)
    values = zip(RANGES.items(), (temperature, glare, x, y, radius, stretch, angle))
    kelvins, *glares = (checks.per_image(name, value, len(images), *ends) for (name, ends), value in values)
    parameters = torch.stack(beside(images, [*_gains(kelvins), *glares]), dim=1)[..., None, None]
    gains, glares = parameters.split((3, 6), dim=1)
    shines = (glares[:, 0] > 0).flatten().tolist() if images.is_cpu else [True] * len(images)
    out = torch.empty_like(images, memory_format=torch.contiguous_format)
    for chunk in chunks(images, shines):
        torch.mul(images[chunk], gains[chunk], out=out[chunk])
        if shines[chunk.start]:
            out[chunk].lerp_(images.new_ones(()), _gaussian(glares[chunk], *images.shape[2:]))
        out[chunk].clamp_(0, 1)
    return out


def _gains(temperature):
    """(B,) kelvin -> for red, green and blue (B,) factors of pixel values that keep the luma of white."""
    exponents = PLANCK / checks.float64(WAVELENGTHS)
    neutral = torch.expm1(exponents / NEUTRAL)
    # Numbers of the host by numbers of a GPU: they need not be there.
    light = [n / torch.expm1(e / temperature) for n, e in zip(neutral.tolist(), exponents.tolist())]
    gains = [ratio ** (1 / 2.2) for ratio in light]
    luma = sum(gain * part for gain, part in zip(gains, LUMA)) / sum(LUMA)
    return [gain / luma for gain in gains]


def _gaussian(glares, height, width):
    """(b, 6, 1, 1) parameters -> (b, 1, H, W): soft ellipses."""
    strength, x, y, radius, stretch, angle = glares.split(1, dim=1)
    radius, angle = radius * min(height, width), angle.deg2rad()
    pixels = torch.arange(max(height, width), device=glares.device, dtype=glares.dtype)
    right, up = pixels[:width] + 0.5 - x * width, y * height - pixels[:height, None] - 0.5
    along = (right * angle.cos() + up * angle.sin()) / (radius * stretch)
    across = (up * angle.cos() - right * angle.sin()) / radius
    return along.square_().add_(across.square_()).mul_(-0.5).exp_().mul_(strength)


class Lighting(Transform):
    """Another colour of light for each image, and sometimes the reflection of a window. Ours: see `adjust_lighting`.

    Args:
        temperature: range in kelvin; 1 / temperature is drawn uniformly (in mired, whose steps look even).
        glare: the strongest reflection, 0 to 1; the strength is drawn uniformly from 0 on.
        p: the probability of a reflection. It lies anywhere in the image, in any direction, as a spot or a streak.
    """

    function = staticmethod(adjust_lighting)

    def __init__(self, temperature=(3000, 10000), glare=0.5, p=0.5):
        self.temperature = checks.number_range("temperature", temperature, *RANGES["temperature"])
        self.glare = checks.number("glare", glare, 0, 1)
        self.p = checks.number("p", p, 0, 1)

    def draw(self, images, generator=None):
        """{"temperature", "glare", "x", "y", "radius", "stretch", "angle": (B,) each}"""
        warm, cold = self.temperature
        draw = partial(uniform, images, generator)
        drawn = {"temperature": 1 / draw(1 / cold, 1 / warm), "glare": draw(0, self.glare) * (draw(0, 1) < self.p)}
        return drawn | dict(x=draw(0, 1), y=draw(0, 1), radius=draw(0.03, 0.15), stretch=draw(1, 8), angle=draw(0, 180))
