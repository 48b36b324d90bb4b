"""What the labs share: work in the background, sentences, and a still picture where there is no kernel."""

import base64
import io
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
.d2l-lab .d2l-picture { width: 100%; object-fit: contain; }
.d2l-lab :focus-visible, .d2l-lab .noUi-handle:focus { outline: 3px solid #f28c28; outline-offset: 2px; }
.d2l-lab .widget-html-content { line-height: 1.4; overflow-wrap: anywhere; }
.d2l-lab .widget-html, .d2l-lab .widget-html-content { height: auto; }
.d2l-lab pre { white-space: pre-wrap; word-break: normal; overflow-wrap: normal; font-size: 13px; line-height: 1.4;
  margin: 0; }
</style>"""


class Lab:
    """A panel of controls and pictures, shown as the last expression of a cell.

    A subclass builds its panel with `show`, and gives in `still` a matplotlib figure for pages without a kernel.

    Attributes:
        view: the widget.
        status: the widget with a sentence on what happened last.
        error: the last exception that became such a sentence, or None.
    """

    _in_cell = WeakValueDictionary()  # the lab that each cell of the notebook shows

    def __init__(self):
        self.status, self.error, self.view = widgets.HTML(), None, None
        self._tasks, self._lock = {}, Lock()

    def show(self, *children):
        """Build the panel: the parts below one another, the status last."""
        self.view = widgets.VBox([widgets.HTML(STYLE), *children, self.status])
        self.view.add_class("d2l-lab")

    def say(self, text, wrong=False):
        """Show a sentence below the lab; `wrong` for one that says what went wrong."""
        color = "var(--jp-error-color1, #c62828)" if wrong else "inherit"
        self.status.value = f'<div role="status" style="color: {color}">{escape(text)}</div>'

    def fail(self, error):
        """Show an exception as a sentence."""
        self.error = error
        known = isinstance(error, (ValueError, OSError, TypeError, ArithmeticError)) and str(error)
        self.say(str(error) if known else f"{type(error).__name__}: {error}", wrong=True)

    def guarded(self, function):
        """`function` as a callback of a widget: what it raises becomes a sentence instead of a line in a log."""

        def call(*arguments):
            try:
                function(*arguments)
            except Exception as error:
                self.fail(error)

        return call

    def run(self, work, lane="work", ended=None):
        """Do work in the background, after the earlier work of its lane, which is stopped.

        Args:
            work: called with a function `checkpoint`, which it must call between its steps.
            lane: works of different lanes run side by side.
            ended: called with the exception or None when the work ends, unless other work has replaced it.
        Returns:
            Task.
        """

        def end(error):
            if error is not None and not isinstance(error, Stopped):
                self.fail(error)
            if ended is not None and self._tasks.get(lane) is task:
                self.guarded(ended)(error)

        with self._lock:  # callbacks of widgets come from several threads
            before = self._tasks.get(lane)
            if before:
                before.stop()
            task = self._tasks[lane] = Task(work, end, before)
            task.thread.start()
        return task

    def close(self):
        """Stop all work and take the panel away."""
        for task in list(self._tasks.values()):
            task.stop()
        self.view.close()

    def wait(self, seconds=60):
        """Wait until no work is left; for tests and for cells that need the result. Returns whether none is left."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            alive = [task.thread for task in list(self._tasks.values()) if task.thread.is_alive()]
            if not alive:
                return True
            alive[0].join(left)  # it may start another at its end
        return False

    def _repr_mimebundle_(self, include=None, exclude=None):
        self._replace_in_cell()
        file = io.BytesIO()
        self.still().savefig(file, format="jpeg", dpi=100, pil_kwargs={"quality": 82})
        text = f"{type(self).__name__}: run this cell in JupyterLab to move the controls"
        bundle = self.view._repr_mimebundle_()
        return {**bundle, "text/plain": text, "image/jpeg": base64.b64encode(file.getvalue()).decode()}

    def _replace_in_cell(self):
        """A cell that is run again shows a new lab: the work of the old one would go on unseen."""
        shell = get_ipython()
        cell = getattr(shell, "parent_header", {}).get("metadata", {}).get("cellId") if shell else None
        if cell is not None:
            old = self._in_cell.get(cell)
            if old is not None and old is not self:
                old.close()
            self._in_cell[cell] = self


def jpeg(image, quality=88):
    """One image (1, 3, H, W) in [0, 1] as the bytes of a JPEG file."""
    file = io.BytesIO()
    to_pil_image(image[0].detach().cpu().clamp(0, 1)).save(file, "JPEG", quality=quality)
    return file.getvalue()


def picture(name):
    """An empty picture that fills the width of its column; in the page it has the classes d2l-picture and d2l-`name`."""
    shown = widgets.Image(format="jpeg")
    for each in ("picture", name):
        shown.add_class(f"d2l-{each}")
    return shown


def columns(*parts):
    """Columns side by side: (width such as "360px", widgets), which go below one another where the page is narrow."""
    boxes = [
        widgets.VBox(children, layout=widgets.Layout(flex=f"1 1 {width}", min_width="0", margin="0 12px 0 0"))
        for width, children in parts
    ]
    return widgets.Box(boxes, layout=widgets.Layout(display="flex", flex_flow="row wrap", align_items="flex-start"))
