"""Work in a background thread that can be paused and stopped."""

from threading import Event, Thread


class Stopped(KeyboardInterrupt):
    """Raised inside the work of a `Task` that is to end; `stylize` and `fit` end with what they have."""


class Task:
    """Work in a thread of its own, which looks in at `checkpoint` between its steps.

    Args:
        work: called with `checkpoint`.
        ended: called, in the same thread, with the exception that ended the work, or None.
        before: a stopped `Task` whose end this one waits for.
    """

    def __init__(self, work, ended, before=None):
        self._work, self._ended, self._before = work, ended, before
        self._stop, self._go = Event(), Event()
        self._go.set()
        self.thread = Thread(target=self._run, daemon=True)

    def checkpoint(self):
        """Wait while paused; raise `Stopped` once stopped."""
        self._go.wait()
        if self._stop.is_set():
            raise Stopped

    def pause(self):
        """Let the work wait at its next checkpoint."""
        if not self._stop.is_set():
            self._go.clear()

    def resume(self):
        """Let paused work go on."""
        self._go.set()

    def stop(self):
        """Let the work end at its next checkpoint."""
        self._stop.set()
        self._go.set()

    def _run(self):
        if self._before:
            self._before.thread.join()
            self._before = None
        found = None
        try:
            self.checkpoint()
            self._work(self.checkpoint)
            self.checkpoint()
        except (Exception, Stopped) as error:
            found = error
        self._ended(found)
