"""Values that lie on a GPU until somebody reads them: to fetch one, the program has to wait for the GPU."""

from collections.abc import Callable
from dataclasses import dataclass

READ_EVERY = 50  # steps whose losses stay on a GPU before they are read and checked, all at once


@dataclass(frozen=True)
class Later:
    """Stands for the value that `fetch()` gives, in a field of a `Fetching`; copies and pickles hold the value."""

    fetch: Callable

    def __reduce__(self):
        return _itself, (self.fetch(),)


class Fetching:
    """A dataclass whose fields may be `Later`: the first reader fetches the value."""

    def __getattribute__(self, name):
        value = super().__getattribute__(name)
        if isinstance(value, Later):
            value = vars(self)[name] = value.fetch()
        return value


def _itself(value):
    return value
