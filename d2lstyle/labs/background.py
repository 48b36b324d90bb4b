"""Work in a background thread that can be paused and stopped."""

import atexit
import threading
import time
from threading import Event, Thread

LONGEST_END = 30  # seconds that Python waits, at its end, for work to come to its next step


class Stopped(KeyboardInterrupt):
    """Raised inside the work of a `Task` that is to end; `stylize` and `fit` end with what they have."""


class Task(Thread):
    """A thread that waits for the stopped task before it, does its work, and calls `ended` with its error or None."""

    def __init__(self, work, ended, before=None):
        super().__init__(daemon=True)
        self._work, self._ended, self._before, self._stopped, self._going = work, ended, before, Event(), Event()
        self._going.set()

    def checkpoint(self):
        """Called by the work between its steps: waits while paused, raises `Stopped` once stopped."""
        self._going.wait()
        if self._stopped.is_set():
            raise Stopped

    def pause(self):
        self._going.clear()
        if self._stopped.is_set():  # looked at last, for another thread may have stopped it just now
            self._going.set()

    def resume(self):
        self._going.set()

    def stop(self):
        self._stopped.set()
        self._going.set()

    def run(self):
        if self._before:
            self._before.join()
        self._before = reason = None
        try:
            self.checkpoint()
            self._work(self.checkpoint)
            self.checkpoint()
        except (Exception, Stopped) as error:
            reason = error
        self._ended(reason)


@atexit.register
def _end_all():
    """A thread that is inside PyTorch when Python ends aborts the process."""
    until = time.monotonic() + LONGEST_END
    while (
        tasks := [thread for thread in threading.enumerate() if isinstance(thread, Task)]
    ) and time.monotonic() < until:
        for task in tasks:
            task.stop()
        tasks[0].join(0.1)  # it may start another at its end
