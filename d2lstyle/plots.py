"""Every figure of the course. Each function returns a matplotlib Figure that is 8 inches wide and at most 4 high.

As a cell's last line, it is shown. Pictures and numbers may be tensors on any device.
"""

from itertools import cycle, zip_longest

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

WIDTH, MAX_HEIGHT = 8, 4  # inches: what fits a notebook page and a slide
DPI = 110
# Okabe and Ito's colours, which colour-blind readers tell apart, and a marker with each where points are few
COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#f0e442")
MARKERS = "os^Dv*P"
TERM_COLORS = {"total": "0.25", "content": COLORS[0], "style": COLORS[1], "tv": COLORS[2]}

# with pyplot's first figure a notebook learns to show figures; those below are drawn without it
plt.close(plt.figure())


def show_images(images, titles=None, columns=None, row_titles=None, title=None):
    """A grid of pictures.

    Args:
        images: list of (1, 3, H, W) or (1, 1, H, W) in [0, 1], or one batch (B, 3, H, W); None leaves a place empty.
        titles: one a picture, or None.
        columns: pictures a row; all in one row by default, at most four.
        row_titles: one a row, set beside it.
    Raises:
        ValueError: there is no picture, or there are not as many titles as pictures.
    """
    images = list(images.split(1)) if isinstance(images, torch.Tensor) else list(images)
    shapes = [image.shape[-2] / image.shape[-1] for image in images if image is not None]
    if not shapes:
        raise ValueError("expected at least one picture, got none")
    columns = columns or min(len(images), 4)
    rows = -(-len(images) // columns)
    titles = [""] * len(images) if titles is None else list(titles)
    _check_titles(titles, len(images))
    _check_titles(row_titles or [""] * rows, rows)
    # a row is as high as its flattest width allows, so that no paper is left white
    lines = max(text.count("\n") + 1 for text in titles)
    row_height = WIDTH / columns * max(shapes) + (0.13 + 0.15 * lines if any(titles) else 0.05)
    figure, axes = _figure(rows * row_height + (0.35 if title else 0), rows, columns, title)
    for axis, image, text in zip_longest(axes.flat, images, titles):
        axis.axis("off")
        axis.set_title(text or "", fontsize=9)
        if image is not None:
            pixels = _on_cpu(image[0]).clamp(0, 1).permute(1, 2, 0).numpy()
            axis.imshow(pixels, cmap="gray", vmin=0, vmax=1)
    for axis, text in zip(axes[:, 0], row_titles or []):
        axis.text(-0.04, 0.5, text, transform=axis.transAxes, rotation=90, va="center", ha="right", fontsize=9)
    return figure


def overlay(images, maps, gamma=1.0):
    """Maps laid over their pictures, as pictures: grey where a map is 0, coloured and bright where it is 1.

    Args:
        images: (B, 3, H, W) in [0, 1].
        maps: (B, 1, H, W) in [0, 1].
        gamma: below 1 to bring out small values.
    Returns:
        (B, 3, H, W) in [0, 1], on the CPU.
    Raises:
        ValueError: maps do not fit the images.
    """
    if maps.shape != (len(images), 1, *images.shape[2:]):
        raise ValueError(f"expected maps {(len(images), 1, *images.shape[2:])}, got {tuple(maps.shape)}")
    maps = _on_cpu(maps).clamp(0, 1) ** gamma
    colors = torch.from_numpy(plt.get_cmap("inferno")(maps[:, 0].numpy())[..., :3]).float().movedim(-1, 1)
    grey = _on_cpu(images).mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    return ((1 - maps) * 0.75 * grey + maps * (0.25 * grey + 0.75 * colors)).clamp(0, 1)


def plot_history(history, terms=("total", "content", "style", "tv"), title="Losses while the image changes"):
    """Terms of `StyleStep.losses` against the step, of a list of StyleStep; a dotted line marks each change of size."""
    figure, axis = _axis(3.2, "step", "loss", title)
    axis.grid(alpha=0.25)
    for term in terms:
        values = [step.losses[term] for step in history]
        axis.semilogy([step.step for step in history], values, label=term, color=TERM_COLORS.get(term))
    for before, after in zip(history, history[1:]):
        if before.size != after.size:
            axis.axvline(after.step - 0.5, color="0.6", linestyle=":")
            text, place = f"{after.size[1]} x {after.size[0]}", axis.get_xaxis_transform()
            axis.text(after.step, 0.97, text, transform=place, fontsize=8, color="0.4", va="top")
    axis.legend(loc="upper right" if len(terms) < 6 else "best", fontsize=8, framealpha=0.9)
    return figure


def plot_curves(curves, xlabel, ylabel, title, logarithmic=False):
    """Curves {name: (x values, y values)} in one plot, or (x, y, low, high) for a band around a curve."""
    figure, axis = _axis(3.2, xlabel, ylabel, title)
    axis.grid(alpha=0.25)
    for (name, (x, y, *band)), marker in zip(curves.items(), cycle(MARKERS)):
        x, y, *band = map(_on_cpu, (x, y, *band))
        (line,) = axis.plot(x, y, label=name, marker=marker if len(x) < 20 else None, markersize=4)
        if band:
            axis.fill_between(x, *band, color=line.get_color(), alpha=0.15, linewidth=0)
    axis.set_yscale("log" if logarithmic else "linear")
    if all(isinstance(value, int) for x, *_ in curves.values() for value in x):
        axis.xaxis.get_major_locator().set_params(integer=True)  # no half epochs
    axis.legend(fontsize=8)
    return figure


def plot_bars(values, xlabel, title):
    """Positive numbers {name: value} as bars with their values beside them; the axis is logarithmic."""
    figure, axis = _axis(0.9 + 0.3 * len(values), xlabel, None, title)
    bars = axis.barh(list(values), list(values.values()), height=0.6)
    axis.bar_label(bars, fmt="%.2g", padding=3, fontsize=8)
    axis.set_xscale("log")
    low, high = np.log10([min(values.values()), max(values.values())])
    axis.set_xlim(10 ** np.floor(low), 10 ** np.ceil(high + 0.1))  # whole decades, with room for the text
    axis.xaxis.set_minor_formatter("")
    axis.invert_yaxis()  # the first name on top
    axis.grid(axis="x", alpha=0.25)
    return figure


def plot_intervals(groups, xlabel, title):
    """Means with their intervals as dots with whiskers: one row a name, one colour a group.

    Args:
        groups: {group: {name: Interval or any (mean, low, high, ...)}}, the same names in each.
    """
    figure, (axis,) = _interval_axes([groups])
    axis.set(xlabel=xlabel, title=title)
    return figure


def plot_forest(panels, xlabel, title):
    """Panels {title: groups as of `plot_intervals`} side by side, the same names and groups in each.

    There is a line at zero: what lies wholly to one side of it is a difference.
    """
    figure, axes = _interval_axes(list(panels.values()), title)
    for axis, text in zip(axes, panels):
        axis.axvline(0, color="0.3", linewidth=0.8, zorder=0)
        axis.set_title(text, fontsize=9)
    axes[len(axes) // 2].set_xlabel(xlabel)
    return figure


def _interval_axes(panels, title=None):
    """A figure and its axes, one for several groups of intervals; the first names the rows, the last the colours."""
    names = list(next(iter(panels[0].values())))
    figure, axes = _figure(0.9 + len(names) * (0.16 + 0.14 * len(panels[0])), 1, len(panels), title)
    for axis, groups in zip(axes[0], panels):
        for place, ((group, intervals), marker) in enumerate(zip(groups.items(), cycle(MARKERS))):
            means, lows, highs = np.array([intervals[name][:3] for name in names], dtype=float).T
            y = np.arange(len(names)) + 0.7 * (place - (len(groups) - 1) / 2) / len(groups)
            reach = [means - lows, highs - means]
            axis.errorbar(means, y, xerr=reach, fmt=marker, markersize=4, capsize=2, label=group)
        axis.set(yticks=range(len(names)), yticklabels=names if axis is axes[0, 0] else [])
        axis.set_ylim(len(names) - 0.5, -0.5)  # the first name on top
        axis.grid(axis="x", alpha=0.25)
    if len(panels[0]) > 1:
        axes[0, -1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure, axes[0]


def show_heatmap(values, row_names, column_names, title, texts=None, xlabel=None, ylabel=None, bounds=(0, 1)):
    """A table of numbers with its cells coloured by value.

    Args:
        values: rows of numbers, or an array or tensor (R, C).
        row_names, column_names: R and C texts; more than seven columns are written aslant, unless one has lines.
        texts: what stands in the cells, rows of texts; None for the values with two digits.
        bounds: values of the palest and the darkest colour; where they lie on both sides of zero, one hue below zero
            and another one above. NaN stays white.
    Raises:
        ValueError: the names are not as many as the rows and columns.
    """
    values = np.asarray(_on_cpu(values), dtype=float)
    _check_titles(row_names, values.shape[0])
    _check_titles(column_names, values.shape[1])
    figure, axis = _axis(1.1 + 0.32 * len(values), xlabel, ylabel, title)
    signed = bounds[0] < 0 < bounds[1]
    axis.imshow(values, cmap="PuOr" if signed else "Blues", vmin=bounds[0], vmax=bounds[1], aspect="auto")
    crowded = len(column_names) > 7 and not any("\n" in name for name in column_names)
    slanted = {"rotation": 40, "ha": "right"} if crowded else {}
    axis.set_xticks(range(len(column_names)), column_names, fontsize=8, **slanted)
    axis.set_yticks(range(len(row_names)), row_names, fontsize=8)
    light, dark = (0.5 * bounds[0], 0.5 * bounds[1]) if signed else (-np.inf, sum(bounds) / 2)
    for (row, column), value in np.ndenumerate(values):
        text = f"{value:.2f}" if texts is None else texts[row][column]
        color = "white" if value < light or value > dark else "0.15"
        axis.text(column, row, text, ha="center", va="center", fontsize=8, color=color)
    return figure


def show_means(columns, title, bounds=(0, 1)):
    """A heat map of means, each with its interval: {column: {row: Interval or any (mean, low, high, ...)}}."""
    row_names = list(next(iter(columns.values())))
    cells = np.array([[means[row][:3] for means in columns.values()] for row in row_names], dtype=float)
    texts = [[f"{mean:.2f}  [{low:.2f}, {high:.2f}]" for mean, low, high in row] for row in cells]
    return show_heatmap(cells[..., 0], row_names, list(columns), title, texts, bounds=bounds)


def show_matrices(matrices, titles, title=None):
    """Matrices (Grams) as colour maps side by side, each in its own colours and under its title; `tensor` is (C, C)."""
    _check_titles(titles, len(matrices))
    height = WIDTH / len(matrices) * 0.85 + (0.7 if title else 0.4)
    figure, axes = _figure(height, 1, len(matrices), title)
    for axis, matrix, text in zip(axes.flat, matrices, titles):
        image = axis.imshow(_on_cpu(matrix).numpy(), cmap="magma", interpolation="nearest")
        axis.set_title(text, fontsize=9)
        axis.set(xticks=[], yticks=[])
        figure.colorbar(image, ax=axis, shrink=0.75).ax.tick_params(labelsize=7)
    return figure


def _on_cpu(values):
    return values.detach().cpu() if isinstance(values, torch.Tensor) else values


def _check_titles(titles, wanted):
    if len(titles) != wanted:
        raise ValueError(f"expected {wanted} titles, got {len(titles)}")


def _figure(height, rows, columns, title=None):
    figure = Figure((WIDTH, min(height, MAX_HEIGHT)), dpi=DPI, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_prop_cycle(color=COLORS)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure, axes


def _axis(height, xlabel, ylabel, title):
    figure, ((axis,),) = _figure(height, 1, 1)
    axis.set(xlabel=xlabel, ylabel=ylabel, title=title)
    return figure, axis
