"""Figures: their width, what is in them, and that pyplot keeps none open."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from pretend_gpu import GPU, pretend_gpu

from d2lstyle import StyleStep
from d2lstyle.plots import (
    overlay,
    plot_bars,
    plot_curves,
    plot_forest,
    plot_history,
    plot_intervals,
    show_heatmap,
    show_images,
    show_matrices,
)

RED, BLUE = (torch.tensor(color).view(1, 3, 1, 1).expand(1, 3, 20, 30) for color in ([1.0, 0, 0], [0.0, 0, 1]))
MASK = torch.eye(8).view(1, 1, 8, 8)


def history(n=6):
    def losses(k):
        return {"total": 6 / k, "content": 1 / k, "style": 2 / k, "tv": 0.1, "style relu1_1": 3 / k}

    return [StyleStep(k, n, (32, 48) if k < n / 2 else (64, 96), 0.1 * k, losses(k)) for k in range(1, n + 1)]


GROUPS = {"few": {"a": (1.0, 0.5, 2.0), "b": (-1.0, -1.5, -0.5)}, "many": {"a": (3.0, 2.5, 3.5), "b": (0.0, -1.0, 1.0)}}


def rendered(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return np.asarray(Image.open(file).convert("RGB")).reshape(-1, 3)


def share(pixels, color):
    return (pixels == color).all(axis=1).mean()


FIGURES = {
    "one picture": lambda: show_images([RED]),
    "a row": lambda: show_images([RED, BLUE, RED, BLUE], titles=list("abcd"), title="four"),
    "a batch": lambda: show_images(torch.cat([RED, BLUE])),
    "two rows": lambda: show_images([RED, BLUE, None, RED], columns=2, row_titles=["up", "down"]),
    "other shapes": lambda: show_images([RED, MASK, BLUE[..., :10]]),
    "a history": lambda: plot_history(history()),
    "other terms": lambda: plot_history(history(), terms=["style relu1_1"], title="one layer"),
    "one step": lambda: plot_history(history(1)),
    "curves": lambda: plot_curves({"a": ([1, 2, 3], [3, 1, 2]), "b": ([1, 3], [2, 2])}, "x", "y", "two", True),
    "bars": lambda: plot_bars({"one": 0.001, "another one": 2.0}, "seconds", "two bars"),
    "intervals": lambda: plot_intervals(GROUPS, "gain", "two groups"),
    "a forest": lambda: plot_forest({"here": GROUPS, "there": GROUPS}, "gain", "two panels"),
    "matrices": lambda: show_matrices([torch.eye(4), torch.rand(8, 8)], ["a", "b"], title="Grams"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_fit_a_page_and_are_not_blank(name):
    plt.close("all")
    figure = FIGURES[name]()
    width, height = figure.get_size_inches()
    assert width == 8 and 0.5 < height <= 4
    assert plt.get_fignums() == []  # else a notebook shows it twice
    pixels = rendered(figure)
    assert 1 - share(pixels, (255, 255, 255)) > 0.001


def test_pictures_are_shown_in_their_colours():
    pixels = rendered(show_images([RED, BLUE]))
    assert share(pixels, (255, 0, 0)) == pytest.approx(share(pixels, (0, 0, 255)), rel=0.05)
    assert share(pixels, (255, 0, 0)) > 0.4


def test_none_leaves_its_place_empty():
    pixels = rendered(show_images([RED, None, BLUE]))
    assert share(pixels, (255, 255, 255)) > 0.25 and share(pixels, (255, 0, 0)) > 0.25


def test_history_draws_every_term_and_each_change_of_size():
    (axis,) = plot_history(history(), terms=("total", "tv")).axes
    curves = {line.get_label(): list(line.get_ydata()) for line in axis.lines if len(line.get_xdata()) == 6}
    assert curves == {"total": [6 / k for k in range(1, 7)], "tv": [0.1] * 6}
    assert [list(line.get_xdata()) for line in axis.lines if line.get_linestyle() == ":"] == [[2.5, 2.5]]
    assert [text.get_text() for text in axis.texts] == ["96 x 64"] and axis.get_yscale() == "log"


def test_curves_hold_their_numbers():
    (axis,) = FIGURES["curves"]().axes
    assert [(line.get_label(), list(line.get_ydata())) for line in axis.lines] == [("a", [3, 1, 2]), ("b", [2, 2])]
    assert (axis.get_xlabel(), axis.get_ylabel(), axis.get_title(), axis.get_yscale()) == ("x", "y", "two", "log")


def ranges(axis):
    """(mean, low, high, row) of each interval drawn, group by group."""
    rows = []
    for dots, _, (whiskers,) in axis.containers:
        for mean, row, ((low, _), (high, _)) in zip(dots.get_xdata(), dots.get_ydata(), whiskers.get_segments()):
            rows.append((mean, low, high, round(row)))
    return rows


def test_intervals_hold_their_numbers():
    wanted = [(*numbers, row) for group in GROUPS.values() for row, numbers in enumerate(group.values())]
    (axis,) = plot_intervals(GROUPS, "gain", "two groups").axes
    np.testing.assert_allclose(ranges(axis), wanted)
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["a", "b"] and axis.get_title() == "two groups"
    assert [text.get_text() for text in axis.get_legend().get_texts()] == list(GROUPS) and axis.get_xlabel() == "gain"


def test_each_panel_of_a_forest_holds_its_own():
    here, there = {"x": GROUPS["few"]}, {"x": GROUPS["many"]}
    axes = plot_forest({"here": here, "there": there}, "gain", "two panels").axes
    for axis, title, group in zip(axes, ("here", "there"), (here, there)):
        np.testing.assert_allclose([row[:3] for row in ranges(axis)], list(group["x"].values()))
        assert axis.get_title() == title and [0, 0] in [list(line.get_xdata()) for line in axis.lines]
    assert [tick.get_text() for tick in axes[0].get_yticklabels()] == ["a", "b"]


def test_signed_numbers_are_pale_at_zero_and_of_two_hues_beside_it():
    (axis,) = show_heatmap([[-0.1, 0, 0.1, float("nan")]], "r", "abcd", "signed", bounds=(-0.1, 0.1)).axes
    (image,) = axis.images
    below, zero, above, missing = image.to_rgba(image.get_array())[0]
    assert zero[:3].min() > 0.95 and missing[3] == 0
    assert below[0] > below[2] + 0.2 and above[2] > above[0] + 0.1  # an orange, a violet
    assert [text.get_color() for text in axis.texts] == ["white", "0.15", "white", "0.15"]
    assert [text.get_text() for text in axis.texts] == ["-0.10", "0.00", "0.10", "nan"]
    (axis,) = show_heatmap([[0.1, 0.4, 0.9]], "r", "abc", "below the bounds, pale, dark", bounds=(0.3, 1)).axes
    assert [text.get_color() for text in axis.texts] == ["0.15", "0.15", "white"]


def test_matrices_hold_their_numbers():
    matrix = torch.arange(6.0).view(2, 3)
    axis = show_matrices([matrix], ["a"]).axes[0]
    assert np.array_equal(axis.images[0].get_array(), matrix.numpy()) and axis.get_title() == "a"


def test_an_overlay_is_grey_where_the_map_is_zero_and_coloured_where_it_is_one():
    halves = torch.zeros(1, 1, 20, 30)
    halves[..., 15:] = 1
    picture = overlay(BLUE, halves)
    assert picture.shape == (1, 3, 20, 30) and picture.min() >= 0 and picture.max() <= 1
    left, right = picture[0, :, 0, 0], picture[0, :, 0, -1]
    assert left.std() < 1e-6 and left[0] == pytest.approx(0.75 / 3)  # a grey of the picture's mean
    assert right[0] > 0.7 and right[2] < right[0]  # the map's brightest colour is a pale yellow
    torch.testing.assert_close(overlay(RED, halves / 4, gamma=0.5), overlay(RED, halves / 2))


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: overlay(RED, torch.zeros(1, 1, 20, 20)), "expected maps \\(1, 1, 20, 30\\)"),
        (lambda: show_images([RED, BLUE], titles=["one"]), "expected 2 titles, got 1"),
        (lambda: show_images([RED], titles=[]), "expected 1 titles, got 0"),
        (lambda: show_images([RED, BLUE], columns=1, row_titles=["one"]), "expected 2 titles, got 1"),
        (lambda: show_images([]), "at least one picture"),
        (lambda: show_images([None, None]), "at least one picture"),
        (lambda: show_matrices([torch.eye(2), torch.eye(2)], ["one"]), "expected 2 titles, got 1"),
    ],
)
def test_bad_input_is_refused(call, text):
    plt.close("all")
    with pytest.raises(ValueError, match=text):
        call()
    assert plt.get_fignums() == []


PLACED = {
    "a list": lambda place: show_images([RED.to(place), MASK.to(place)]),
    "a batch": lambda place: show_images(torch.cat([RED, BLUE]).to(place)),
    "an overlay": lambda place: show_images(overlay(RED, torch.full((1, 1, 20, 30), 0.5).to(place))),
    "curves": lambda place: plot_curves({"a": (torch.arange(3.0), *torch.eye(3).to(place))}, "x", "y", "a band"),
    "a heat map": lambda place: show_heatmap(torch.eye(2).to(place), "ab", "cd", "a table"),
    "matrices": lambda place: show_matrices([torch.eye(4).to(place)], ["a"]),
}


@pytest.mark.parametrize("name", PLACED)
def test_figures_of_what_is_on_a_gpu_are_those_of_the_same_on_the_cpu(name):
    with pretend_gpu(has_float64=False):
        figure = PLACED[name](GPU)
    assert np.array_equal(rendered(figure), rendered(PLACED[name]("cpu")))
