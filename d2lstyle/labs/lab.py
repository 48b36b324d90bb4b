"""What the labs share: work in the background, sentences, controls, and a still picture where there is no kernel."""

import base64
import io
import math
import time
from html import escape
from threading import Lock
from weakref import WeakValueDictionary

import ipywidgets as widgets
from IPython import get_ipython
from torchvision.transforms.functional import to_pil_image

from .background import Stopped, Task

# Layouts: as wide as the column; what a neighbour leaves; a button beside it.
WIDE, FILLING, BESIDE = {"width": "98%"}, {"flex": "1 1 auto", "min_width": "0"}, {"width": "116px", "flex": "0 0 auto"}
LABELS = {"description_width": "9.5em"}
STYLE = """<style>
.d2l-lab { --jp-widgets-font-size: 16px; --jp-widgets-inline-height: 32px; --jp-widgets-inline-width-short: 112px;
  max-width: 1140px; overflow: hidden; line-height: 1.4; }
.d2l-lab .widget-button { font-weight: 600; }
.d2l-lab .d2l-picture { width: 100%; margin: 2px 0; object-fit: contain; }
.d2l-lab :focus-visible, .d2l-lab .noUi-handle:focus { outline: 3px solid #f28c28; outline-offset: 2px; }
.d2l-lab .widget-html, .d2l-lab .widget-html-content { height: auto; line-height: 1.4; overflow-wrap: anywhere; }
.d2l-lab pre { white-space: pre-wrap; word-break: normal; overflow-wrap: normal; font-size: 13px; margin: 0; }
</style>"""
_drawing = Lock()  # matplotlib draws one figure at a time


class Lab:
    """A panel of controls and pictures, shown as the last expression of a cell.

    A subclass builds its `view` with `show`, and gives in `still` a matplotlib figure for pages without a kernel.
    `status` shows a sentence on what happened last; `error` is the last exception that became one, or None.
    """

    _in_cell = WeakValueDictionary()  # the lab that each cell of the notebook shows

    def __init__(self):
        self.status, self.error, self.view = widgets.HTML(), None, None
        self._tasks, self._lock = {}, Lock()

    def show(self, left, right, *below):
        """Build the panel: two columns of widgets, below one another where the page is narrow; the status last."""
        layout = {"flex": "1 1 375px", "min_width": "0", "margin": "0 12px 0 0"}
        sides = [widgets.VBox(side, layout=layout) for side in (left, right)]
        both = widgets.Box(sides, layout={"display": "flex", "flex_flow": "row wrap", "align_items": "flex-start"})
        self.view = widgets.VBox([widgets.HTML(STYLE), both, *below, self.status]).add_class("d2l-lab")

    def say(self, text, color="inherit"):
        """Show a sentence below the lab."""
        self.status.value = f'<div role="status" style="color: {color}">{escape(text)}</div>'

    def fail(self, error):
        """Show an exception as a sentence."""
        self.error = error
        known = isinstance(error, (ValueError, OSError, TypeError, ArithmeticError)) and str(error)
        self.say(known or f"{type(error).__name__}: {error}", "var(--jp-error-color1, #c62828)")

    def guarded(self, function, *arguments):
        """Call `function`; what it raises becomes a sentence instead of a line in a log."""
        try:
            function(*arguments)
        except Exception as error:
            self.fail(error)

    def watch(self, function, *controls):
        """Call `function` whenever one of the controls has moved."""
        for control in controls:
            control.observe(lambda change: self.guarded(function), "value")

    def button(self, text, function, **options):
        """A button that calls `function`."""
        button = widgets.Button(description=text, **options)
        button.on_click(lambda clicked: self.guarded(function))
        return button

    def run(self, work, lane="work", ended=None, said=""):
        """Start and return a `Task`, which stops the earlier one of its lane; those of other lanes run beside it.

        `ended` is called with its error or None, unless another task has replaced it; `said` is shown meanwhile.
        """

        def end(error):
            if error is not None and not isinstance(error, Stopped):
                self.fail(error)
            if ended is not None and self._tasks[lane] is task:
                self.guarded(ended, error)

        self.say(said)
        with self._lock:  # callbacks of widgets come from several threads
            before = self._tasks.get(lane)
            task = self._tasks[lane] = Task(work, end, before)
            if before:
                before.stop()
            task.start()
        return task

    def close(self):
        """Stop all work and take the panel away."""
        for task in list(self._tasks.values()):
            task.stop()
        self.view.close()

    def wait(self, seconds=60):
        """Wait until no work is left; for tests and for cells that need the result. Returns whether none is left."""
        until = time.monotonic() + seconds
        while alive := [task for task in list(self._tasks.values()) if task.is_alive()]:
            if time.monotonic() > until:
                return False
            alive[0].join(0.1)  # it may start another at its end
        return True

    def _repr_mimebundle_(self, include=None, exclude=None):
        # a cell that is run again shows a new lab: the work of the old one would go on unseen
        cell = getattr(get_ipython(), "parent_header", {}).get("metadata", {}).get("cellId")
        if cell is not None:
            old, self._in_cell[cell] = self._in_cell.get(cell, self), self
            if old is not self:
                old.close()
        text = f"{type(self).__name__}: run this cell in JupyterLab to move the controls"
        image = base64.b64encode(drawn(self.still())).decode()
        return {**self.view._repr_mimebundle_(), "text/plain": text, "image/jpeg": image}


def slider(text, value, low, high, step, **options):
    """A slider: of integers where the step is one, with two ends where the value is a pair, of powers by "log"."""
    options = {"value": value, "description": text, "style": LABELS, "layout": WIDE, **options}
    if step == "log":
        return widgets.FloatLogSlider(min=math.log10(low), max=math.log10(high), step=0.1, **options)
    name = ("Int" if isinstance(step, int) else "Float") + ("RangeSlider" if isinstance(value, tuple) else "Slider")
    return getattr(widgets, name)(min=low, max=high, step=step, **options)


def menu(text, options, value, layout=WIDE):
    return widgets.Dropdown(options=options, value=value, description=text, style=LABELS, layout=layout)


def picture(name, kind="jpeg"):
    """An empty picture as wide as its column; in the page it has the classes d2l-picture and d2l-`name`."""
    return widgets.Image(format=kind).add_class("d2l-picture").add_class(f"d2l-{name}")


def jpeg(image, quality=88):
    """One image (1, 3, H, W) in [0, 1] as the bytes of a JPEG file."""
    file = io.BytesIO()
    to_pil_image(image[0].detach().cpu().clamp(0, 1)).save(file, "JPEG", quality=quality)
    return file.getvalue()


def drawn(figure, **options):
    """A matplotlib figure as the bytes of a file; of a JPEG file, where no options of `savefig` say otherwise."""
    file = io.BytesIO()
    with _drawing:
        figure.savefig(file, **(options or {"format": "jpeg", "dpi": 100, "pil_kwargs": {"quality": 82}}))
    return file.getvalue()
