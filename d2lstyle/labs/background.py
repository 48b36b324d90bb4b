"""Work in a background thread that can be paused and stopped."""

from threading import Event, Thread


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
