"""Line charts as SVG text: drawn in microseconds from any thread, while a lab runs."""

import math
from html import escape

from matplotlib.ticker import MaxNLocator

COLORS = ("#4c8dd6", "#e8833a", "#4fa957", "#9a9a9a")
MOST_POINTS = 300  # of a curve; more are not seen
DECADES = 4  # that a logarithmic axis reaches down from the largest value
LEFT, TOP, RIGHT, BOTTOM = 62, 46, 14, 40  # pixels around the curves


def line_chart(curves, xlabel, title, *, logarithmic=False, bounds=None, marks=(), size=(460, 230)):
    """Named curves as one SVG element, readable on light and on dark ground.

    Args:
        curves: {name: (x values, y values)}; empty curves and values that are not finite are left out.
        xlabel, title: texts.
        logarithmic: whether the y axis is; values of zero and below then stand at its lower end.
        bounds: (lowest, highest) of the y axis, or None for the round numbers around the values.
        marks: x values that get a dotted vertical line.
        size: width and height in pixels.
    Returns:
        The SVG as text.
    """
    curves = {name: _thinned(xs, ys) for name, (xs, ys) in curves.items()}
    points = [point for curve in curves.values() for point in curve]
    if not points:
        points, curves = [(0, 1), (1, 1)], {}
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    low, high = bounds or _bounds([y for _, y in points], logarithmic)
    scale = math.log10 if logarithmic else float
    width, height = size

    def place(x, y):
        across = (x - left) / ((right - left) or 1)
        up = (scale(min(max(y, low), high)) - scale(low)) / ((scale(high) - scale(low)) or 1)
        return LEFT + across * (width - LEFT - RIGHT), height - BOTTOM - up * (height - TOP - BOTTOM)

    parts = [_grid(place, (left, right), (low, high), logarithmic), *(_mark(place(x, low), height) for x in marks)]
    for (name, curve), color in zip(curves.items(), COLORS * len(curves)):
        parts.append(_curve([place(*point) for point in curve], color))
    parts += [
        _legend(curves),
        _text(width / 2 + LEFT / 2, height - 6, xlabel),
        _text(width / 2, 16, title, weight="bold"),
    ]
    return (
        f'<svg viewBox="0 0 {width} {height}" width="100%" role="img" font-size="14" fill="currentColor">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def _thinned(xs, ys):
    """The finite points, at most `MOST_POINTS` of them, the last one among them."""
    points = [(x, y) for x, y in zip(xs, ys) if math.isfinite(y)]
    stride = -(-len(points) // MOST_POINTS) or 1
    return points[::-1][::stride][::-1]


def _bounds(values, logarithmic):
    high = max(values)
    if not logarithmic:
        low = min(values)
        round_numbers = _ticks(low, high) if high > low else (low - 0.5, high + 0.5)
        return round_numbers[0], round_numbers[-1]
    high = high if high > 0 else 1.0
    low = min([value for value in values if value > 0] or [high])
    low = 10 ** math.floor(math.log10(max(low, high / 10**DECADES)))
    return low, 10 ** math.ceil(math.log10(max(high, low * 1.01)))


def _ticks(low, high):
    """Round numbers from `low` or below to `high` or above."""
    return MaxNLocator(3, steps=[1, 2, 5, 10]).tick_values(low, high).tolist()


def _grid(place, ends, bounds, logarithmic):
    low, high = bounds
    if logarithmic:
        powers = range(round(math.log10(low)), round(math.log10(high)) + 1)
        ticks = [(10.0**power, f"{10.0**power:g}") for power in powers]
    else:
        slack = 1e-6 * (high - low)
        ticks = [(value, f"{value:.4g}") for value in _ticks(low, high) if low - slack <= value <= high + slack]
    parts = []
    for value, text in ticks:
        (x1, y), (x2, _) = place(ends[0], value), place(ends[1], value)
        x1, x2 = min(x1, LEFT), max(x1, x2)
        parts.append(f'<line x1="{x1}" x2="{x2:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="currentColor" opacity="0.2"/>')
        parts.append(_text(LEFT - 6, y + 5, text, anchor="end"))
    for value in sorted(set(ends)):
        x, y = place(value, low)
        parts.append(_text(x, y + 16, f"{value:g}"))
    return "".join(parts)


def _curve(places, color):
    if len(places) == 1:
        return f'<circle cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}" r="4" fill="{color}"/>'
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = (
        "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in places)
        if len(places) < 20
        else ""
    )
    return f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2.5"/>{dots}'


def _legend(curves):
    """The names in their colours, from the left, in the row below the title."""
    parts, x = [], LEFT + 8
    for name, color in zip(curves, COLORS * len(curves)):
        parts.append(f'<rect x="{x}" y="{TOP - 18}" width="14" height="6" fill="{color}"/>')
        parts.append(_text(x + 19, TOP - 10, name, anchor="start"))
        x += 34 + 8 * len(name)
    return "".join(parts) if len(curves) > 1 else ""


def _mark(foot, height):
    x, y = foot
    return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{y:.1f}" stroke="currentColor" opacity="0.5" stroke-dasharray="3 4"/>'


def _text(x, y, text, anchor="middle", weight="normal"):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'
