"""The labs' charts: what is shown, in which range, and how often."""

import math
import warnings
from xml.etree import ElementTree

import pytest

from d2lstyle.labs.line_chart import LineChart


def test_curves_and_marks_are_replaced_and_the_axes_follow():
    chart = LineChart(["a", "b"], "step", "A & B")
    chart.draw([[(0, 1.0), (5, 3.0)], [(0, 2.0)]], marks=[2, 3])
    chart.draw([[(0, 1.0), (10, 50.0)], [(0, 2.0), (10, 4.0)]], marks=[7])
    first, second, mark = chart.axes.lines
    assert first.get_xydata().tolist() == [[0, 1], [10, 50]] and second.get_xydata().tolist() == [[0, 2], [10, 4]]
    assert set(mark.get_xdata()) == {7} and mark.get_linestyle() == ":"
    assert chart.axes.get_xlim()[1] >= 10 and 50 <= chart.axes.get_ylim()[1] < 60
    assert [text.get_text() for text in chart.axes.get_legend().get_texts()] == ["a", "b"]
    assert ElementTree.fromstring(bytes(chart.view.value)).tag.endswith("svg")


def test_a_logarithmic_axis_reaches_four_decades_down():
    chart = LineChart(["loss"], "step", "Loss", logarithmic=True)
    chart.draw([[(1, math.nan), (2, 0.0), (3, 1e-9), (4, 100.0)]])
    low, high = chart.axes.get_ylim()
    assert high >= 100 and high / low == pytest.approx(1e4)


def test_bounds_hold_whatever_the_values():
    chart = LineChart(["accuracy"], "epoch", "Accuracy", bounds=(0, 1))
    chart.draw([[(1, 0.5), (2, 0.55)]])
    assert chart.axes.get_ylim() == (0, 1)


@pytest.mark.parametrize("points", [[], [(3, 2.0)], [(1, 0.5), (2, 0.5)]])
def test_little_or_nothing_is_drawn_without_a_warning(points):
    chart = LineChart(["loss"], "step", "Loss", logarithmic=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chart.draw([points])


def test_a_throttled_drawing_waits_for_a_second():
    chart = LineChart(["loss"], "step", "Loss")
    chart.draw([[(1, 2.0)]])
    before = chart.view.value
    chart.draw([[(1, 2.0), (2, 1.0)]], throttled=True)
    assert chart.view.value is before
    chart.draw([[(1, 2.0), (2, 1.0)]])
    assert chart.view.value != before
