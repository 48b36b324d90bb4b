"""Buttons that start, pause and stop the work of a lab, and how far it is."""

import time
from collections import deque
from html import escape

import ipywidgets as widgets

from .background import Stopped
from .lab import WIDE


class RunControls:
    """Buttons that start, pause and stop the main work of a lab, and how far it is.

    Args:
        lab: the `Lab`.
        start: called when Start is pressed; it calls `begin`.
        label: text of the start button.

    Attributes:
        state: "ready", "running", "paused", "stopped", "finished" or "failed".
    """

    def __init__(self, lab, start, label="Start"):
        self._lab, self._task, self.state = lab, None, "ready"
        self.start_button = widgets.Button(description=label, button_style="primary", icon="play")
        self.pause_button = widgets.Button(description="Pause", icon="pause")
        self.stop_button = widgets.Button(description="Stop", icon="stop")
        self.bar = widgets.FloatProgress(min=0, max=1, layout=WIDE)
        self.text = widgets.HTML()
        for button, action in (
            (self.start_button, start),
            (self.pause_button, self.pause),
            (self.stop_button, self.stop),
        ):
            button.layout.width = "30%"
            button.on_click(lab.guarded(lambda _, action=action: action()))
        self.view = widgets.VBox(
            [widgets.HBox([self.start_button, self.pause_button, self.stop_button], layout=WIDE), self.bar, self.text],
            layout=WIDE,
        )
        self._enter("ready")

    def begin(self, work, ended=None):
        """Run `work` as `Lab.run` does, with the buttons to pause and stop it."""

        def end(error):
            self._enter("finished" if error is None else "stopped" if isinstance(error, Stopped) else "failed")
            if ended is not None:
                ended(error)

        self._lab.say("")
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
        if self.state in ("running", "paused"):
            self._task.stop()
            self._enter("stopped")

    def report(self, part, text):
        """Show how far the work is: a part in [0, 1], and a text."""
        self.bar.value, self.text.value = part, escape(text)

    def _enter(self, state):
        self.state = state
        busy = state in ("running", "paused")
        self.start_button.disabled = busy
        self.pause_button.disabled = self.stop_button.disabled = not busy
        paused = state == "paused"
        self.pause_button.description, self.pause_button.icon = ("Resume", "play") if paused else ("Pause", "pause")
        styles = {"finished": "success", "failed": "danger", "stopped": "warning", "paused": "warning"}
        self.bar.bar_style = styles.get(state, "info")


class Pace:
    """How long the rest of a run will take, judged by its last steps; pauses between `end` and `begin` do not count."""

    def __init__(self, steps=20):
        self._costs, self._since = deque(maxlen=steps), time.monotonic()

    def begin(self):
        """A step begins."""
        self._since = time.monotonic()

    def end(self, size=1):
        """A step of `size` units of work is done."""
        self._costs.append((time.monotonic() - self._since) / size)

    def seconds(self, size):
        """Estimate for `size` units of work."""
        return size * sum(self._costs) / max(len(self._costs), 1)


class Throttle:
    """Says yes at most once in so many seconds: what is shown need not keep up with what is computed."""

    def __init__(self, seconds):
        self._seconds, self._last = seconds, float("-inf")

    def __call__(self):
        now = time.monotonic()
        due = now - self._last >= self._seconds
        self._last = now if due else self._last
        return due


def minutes(seconds):
    """A duration in words."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
