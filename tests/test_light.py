"""Light against Planck's law and arithmetic. That it treats a batch as augmentations do is in test_augment."""

import math

import pytest
import torch
from test_augment import MANY, close, edge_cases, seeded

from d2lstyle.augment import LUMA
from d2lstyle.light import Lighting, adjust_lighting

ONE = torch.zeros(2, 3, 8, 8)


def test_daylight_without_glare_changes_nothing():
    images = edge_cases(8)
    close(adjust_lighting(images), images, atol=2e-7)
    close(adjust_lighting(images, temperature=6500, glare=0, x=0.3, radius=5), images, atol=2e-7)


def test_the_warmer_the_light_the_redder_the_image():
    kelvins = torch.tensor([2500.0, 3000, 4000, 5500, 6500, 7500, 10000])
    pixels = adjust_lighting(torch.full((7, 3, 2, 2), 0.3), kelvins)[:, :, 0, 0]
    assert (torch.diff(pixels[:, 0] / pixels[:, 2]) < 0).all()
    assert pixels[0, 0] > pixels[0, 1] > pixels[0, 2] and pixels[-1, 0] < pixels[-1, 1] < pixels[-1, 2]
    close(pixels @ torch.tensor(LUMA) / sum(LUMA), torch.full((7,), 0.3), atol=1e-6)


def test_gains_follow_plancks_law():
    # c2 = 14388 um K: exp(c2 / (0.612 um 3000 K)) - 1 = exp(7.8366) - 1 = 2530.5, at 6500 K exp(3.6169) - 1 = 36.22;
    # blue exp(10.3140) - 1 = 30150, at 6500 K exp(4.7603) - 1 = 115.8. (36.22 / 2530.5) / (115.8 / 30150) = 3.727
    red, _, blue = adjust_lighting(torch.full((1, 3, 1, 1), 0.3), 3000).flatten().tolist()
    assert (red / blue) ** 2.2 == pytest.approx(3.727, rel=1e-3)


@pytest.mark.parametrize("x, y", [(0.5, 0.5), (0.1, 0.9), (0.83, 0.21)])
def test_glare_is_brightest_at_its_centre_and_fades(x, y):
    image = torch.full((1, 3, 80, 120), 0.2)
    lit = adjust_lighting(image, glare=0.7, x=x, y=y, radius=0.1, stretch=3, angle=30)[0, 0]
    row, column = divmod(lit.argmax().item(), 120)
    assert abs(row + 0.5 - 80 * y) <= 0.5 + 1e-4 and abs(column + 0.5 - 120 * x) <= 0.5 + 1e-4
    assert lit.max() == pytest.approx(1 - 0.8 * 0.3, abs=1e-2)  # screen: 1 - (1 - 0.2)(1 - 0.7)
    assert lit.min() == pytest.approx(0.2, abs=1e-3)


def test_glare_stretches_along_its_angle():
    image = torch.zeros(2, 3, 101, 101)  # 0.1 of 101 pixels: one radius is 10.1 pixels from the pixel in the middle
    lit = adjust_lighting(image, glare=1, radius=0.1, stretch=2, angle=torch.tensor([0.0, 90.0]))[:, 0]
    one, half = math.exp(-0.5 * (10 / 10.1) ** 2), math.exp(-0.5 * (10 / 20.2) ** 2)
    close(lit[0, [50, 60], [60, 50]], torch.tensor([half, one]))
    close(lit[1, [50, 60], [60, 50]], torch.tensor([one, half]))
    upwards = adjust_lighting(image[:1], glare=1, radius=0.05, stretch=6, angle=45)[0, 0]
    assert upwards[30, 70] > 0.3 > 0.01 > upwards[70, 70]  # counter-clockwise, as a person sees it


def test_light_never_leaves_the_range():
    lit = Lighting(temperature=(1000, 40000), glare=1, p=1)(edge_cases(40), seeded())
    assert lit.min() >= 0 and lit.max() <= 1


def test_light_is_drawn_in_its_ranges():
    drawn = Lighting(temperature=(3000, 10000), glare=0.6, p=0.3).draw(MANY, seeded())
    kelvin, glare = drawn["temperature"], drawn["glare"]
    assert 3000 <= kelvin.min() < 3010 and 9950 < kelvin.max() <= 10000
    assert kelvin.median() == pytest.approx(2 / (1 / 3000 + 1 / 10000), rel=0.02)  # the middle in mired
    assert (glare > 0).double().mean() == pytest.approx(0.3, abs=0.03)
    assert glare.max() <= 0.6 and glare[glare > 0].mean() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: Lighting(temperature=(10000, 3000)), r"temperature .*got \(10000, 3000\)"),
        (lambda: Lighting(temperature=(300, 3000)), r"temperature .*\[1000, 40000\], got \(300, 3000\)"),
        (lambda: Lighting(glare=1.5), r"glare .*\[0, 1\], got 1.5"),
        (lambda: Lighting(p=2), r"p .*\[0, 1\], got 2"),
        (lambda: adjust_lighting(ONE, temperature=300), r"temperature in \[1000, 40000\], got 300"),
        (lambda: adjust_lighting(ONE, glare=2), r"glare in \[0, 1\], got 2"),
        (lambda: adjust_lighting(ONE, radius=0), "radius of at least"),
        (lambda: adjust_lighting(ONE, stretch=0.5), "stretch of at least 1"),
        (lambda: adjust_lighting(ONE, angle=math.inf), "angle finite, got"),
    ],
)
def test_bad_parameters_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
