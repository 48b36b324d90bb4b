"""Line charts of the labs: a figure that is kept, whose lines get new points while a lab works."""

import time

from matplotlib.figure import Figure

from ..plots import COLORS
from .lab import drawn, picture

GREY = "#808080"  # of texts and axes: readable on light and on dark ground


class LineChart:
    """Named curves over one x axis: `view` is the widget, and `axes` are matplotlib's. `size` is in inches.

    The y axis shows `bounds`, else all values; if it is logarithmic, four decades below the largest.
    """

    def __init__(self, names, xlabel, title, *, logarithmic=False, bounds=None, size=(4.6, 2.5)):
        self.view, self._bounds, self._marks, self._due = picture("chart", "svg+xml"), bounds, [], 0
        self._figure = Figure(size, facecolor="none")
        self._figure.subplots_adjust(left=0.65 / size[0], right=1 - 0.1 / size[0], top=0.8, bottom=0.2)
        self.axes = self._figure.add_subplot(facecolor="none", yscale="log" if logarithmic else "linear")
        self.axes.set_title(title, color=GREY, fontsize=9.5, fontweight="bold", y=1.1)
        self.axes.set_xlabel(xlabel, color=GREY)
        self.axes.tick_params(color=GREY, labelcolor=GREY)
        self.axes.minorticks_off()
        self.axes.yaxis.set_major_formatter("{x:g}")  # half the time of powers
        self.axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        self.axes.spines[:].set_color(GREY)
        self.axes.grid(color=GREY, alpha=0.25)
        self._lines = [self.axes.plot([], [], color=color, label=name)[0] for name, color in zip(names, COLORS)]
        if len(names) > 1:
            place = {"loc": "lower center", "bbox_to_anchor": (0.5, 0.96), "ncols": len(names)}
            self.axes.legend(**place, frameon=False, labelcolor=GREY, fontsize=9)

    def draw(self, curves, marks=(), throttled=False):
        """Show the (x, y) points of each curve, and a dotted line at each x of `marks`; once a second if throttled."""
        if throttled and time.monotonic() < self._due:
            return
        for line, points in zip(self._lines, curves):
            line.set_data(list(zip(*points)) or ([], []))
            line.set_marker("." if len(points) < 20 else "")
        for mark in self._marks:
            mark.remove()
        self._marks = [self.axes.axvline(x, color=GREY, linestyle=":") for x in marks]
        if any(curves):  # else a logarithmic axis warns
            self.axes.relim()
            self.axes.autoscale()
            low, high = self.axes.get_ylim()
            if self.axes.get_yscale() == "log":
                low = max(low, high / 1e4)
            self.axes.set_ylim(self._bounds or (low, high))
        self.view.value = drawn(self._figure, format="svg")
        self._due = time.monotonic() + 1
