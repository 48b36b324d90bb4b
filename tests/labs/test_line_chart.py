"""Charts as SVG: well-formed, and with every point in its place."""

import math
import re
from xml.etree import ElementTree

import pytest

from d2lstyle.labs.line_chart import BOTTOM, LEFT, MOST_POINTS, RIGHT, TOP, line_chart

WIDTH, HEIGHT = 460, 230


def places(svg):
    """The points of each curve, in pixels."""
    lines = [each.get("points") for each in ElementTree.fromstring(svg).iter("polyline")]
    return [[tuple(map(float, point.split(","))) for point in line.split()] for line in lines]


def test_ends_and_middle_stand_where_they_should():
    (curve,) = places(line_chart({"loss": ([0, 5, 10], [1.0, 3.0, 5.0])}, "step", "Loss", bounds=(1, 5)))
    middle = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    assert curve == [(LEFT, HEIGHT - BOTTOM), pytest.approx(middle), (WIDTH - RIGHT, TOP)]


@pytest.mark.parametrize(
    "values, ticks",
    [
        ([0.589, 2.43], "0 1 2 3"),
        ([0.47, 0.93], "0.4 0.6 0.8 1"),
        ([1, 1.2], "1 1.1 1.2"),
        ([3, 3.004], "3 3.002 3.004"),
        ([2, 2], "1.5 2 2.5"),
    ],
)
def test_a_linear_axis_goes_from_one_round_number_to_another(values, ticks):
    svg = line_chart({"loss": ([0, 1], values)}, "step", "Loss")
    assert re.findall(r'text-anchor="end"[^>]*>([^<]*)', svg) == ticks.split()


def test_a_logarithmic_axis_shows_powers_of_ten_evenly():
    svg = line_chart({"loss": ([1, 2, 3], [100.0, 10.0, 1.0])}, "step", "Loss", logarithmic=True)
    heights = [y for _, y in places(svg)[0]]
    assert heights[1] - heights[0] == pytest.approx(heights[2] - heights[1], abs=0.2) and heights[0] == TOP
    assert re.findall(r'text-anchor="end"[^>]*>([^<]*)', svg) == ["1", "10", "100"]


def test_values_that_are_not_finite_are_left_out_and_zero_lies_at_the_bottom():
    svg = line_chart(
        {"loss": ([1, 2, 3, 4, 5], [math.nan, 100.0, 1.0, 0.0, math.inf])}, "step", "Loss", logarithmic=True
    )
    assert [y for _, y in places(svg)[0]] == [TOP, HEIGHT - BOTTOM, HEIGHT - BOTTOM]


@pytest.mark.parametrize(
    "curves",
    [{}, {"loss": ([], [])}, {"loss": ([1], [math.nan])}, {"loss": ([3], [2.0])}, {"loss": ([1, 2], [0.5, 0.5])}],
)
@pytest.mark.parametrize("logarithmic", [False, True])
def test_little_or_nothing_is_drawn_too(curves, logarithmic):
    svg = line_chart(curves, "step", "Loss", logarithmic=logarithmic)
    ElementTree.fromstring(svg)
    assert "nan" not in svg and "inf" not in svg


def test_long_curves_are_thinned_and_keep_their_end():
    (curve,) = places(line_chart({"loss": (range(6001), range(6001))}, "step", "Loss"))
    assert len(curve) <= MOST_POINTS and curve[-1] == (WIDTH - RIGHT, TOP)


def test_names_are_shown_as_text_and_marks_as_lines():
    curves = {"<b>": ([0, 1], [0, 1]), "tv": ([0, 1], [1, 0])}
    svg = line_chart(curves, "step", "A & B", marks=[0.5])
    texts = [each.text for each in ElementTree.fromstring(svg).iter("text")]
    assert "<b>" in texts and "tv" in texts and "A & B" in texts and svg.count("stroke-dasharray") == 1
