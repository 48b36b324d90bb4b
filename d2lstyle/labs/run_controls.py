"""Buttons that start, pause and stop the work of a lab, and how far it is."""

import time
from html import escape

import ipywidgets as widgets

from .background import Stopped
from .lab import WIDE

BAR_STYLES = {"finished": "success", "failed": "danger", "stopped": "warning", "paused": "warning"}


class RunControls:
    """Buttons for a lab's main work, and how far it is; `work` and `ended` as in `Lab.run`.

    `state` is "ready", "running", "paused", "stopped", "finished" or "failed".
    """

    def __init__(self, lab, work, ended=lambda error: None, label="Start"):
        self._lab, self._ended, self._task = lab, ended, None
        options = {"layout": {"width": "30%"}}
        self.start_button = lab.button(label, lambda: self.begin(work), button_style="primary", icon="play", **options)
        self.pause_button = lab.button("Pause", self.pause, **options)
        self.stop_button = lab.button("Stop", self.stop, icon="stop", **options)
        self.bar, self.text = widgets.FloatProgress(min=0, max=1, layout=WIDE), widgets.HTML()
        buttons = widgets.HBox([self.start_button, self.pause_button, self.stop_button], layout=WIDE)
        self.view = widgets.VBox([buttons, self.bar, self.text], layout=WIDE)
        self._enter("ready")

    @property
    def busy(self):
        return self.state in ("running", "paused")

    def begin(self, work):
        """Begin this or other work, as Start does."""

        def end(error):
            self._enter("finished" if error is None else "stopped" if isinstance(error, Stopped) else "failed")
            self._ended(error)

        self._enter("running")
        self._task = self._lab.run(work, ended=end)

    def pause(self):
        """Pause what runs, resume what is paused."""
        if self.state == "running":
            self._enter("paused")
            self._task.pause()
        elif self.state == "paused":
            self._enter("running")
            self._task.resume()

    def stop(self):
        """End the work; what it has reached stays."""
        if self.busy:
            self._task.stop()
            self._enter("stopped")

    def report(self, part, text):
        """Show how far the work is: a part in [0, 1], and a text."""
        self.bar.value, self.text.value = part, escape(text)

    def _enter(self, state):
        self.state = state
        self.start_button.disabled = self.busy
        self.pause_button.disabled = self.stop_button.disabled = not self.busy
        paused = state == "paused"
        self.pause_button.description, self.pause_button.icon = ("Resume", "play") if paused else ("Pause", "pause")
        self.bar.bar_style = BAR_STYLES.get(state, "info")


class Progress:
    """Called after each step of a run: waits while it is paused, shows how far it is and how long the rest takes."""

    def __init__(self, controls, checkpoint, text="{} of {}", done=0):
        self._controls, self._checkpoint, self._text, self._at_first = controls, checkpoint, text, done
        self._began, self._due = time.monotonic(), 0

    def __call__(self, done, total, text=None):
        """`done` of `total` is done, in any unit. Returns whether that is shown, at most five times a second."""
        now = time.monotonic()
        self._checkpoint()
        self._began += time.monotonic() - now  # a pause does not count
        if now < self._due and done < total:
            return False
        self._due = now + 0.2
        left = (now - self._began) / max(done - self._at_first, 1) * (total - done)
        words = f"{left:.0f} s left" if left < 90 else f"{left / 60:.0f} min left"
        text = text or self._text.format(done, total)
        self._controls.report(done / total, f"{text}, {words if done < total else 'done'}")
        return True
