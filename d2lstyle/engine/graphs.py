"""Work that is the same on the same memory each time: told to a CUDA GPU once, and then only started.

To start a small operation takes a GPU's program longer than the GPU needs for it, and a step of `stylize` has hundreds.
A CUDA graph holds them all, and is started at once.
"""

import warnings
from contextlib import contextmanager

import torch

from .devices import is_out_of_memory

WARM_UP = 3  # calls that go before: libraries choose their algorithms in the first, and L-BFGS has no pairs before
LEAST = 12  # calls below which the capture costs more than it saves


class _CUDAGraph:
    def __init__(self, device):
        self._device, self._graph, self._stream = device, torch.cuda.CUDAGraph(), torch.cuda.Stream(device)

    @contextmanager
    def warm_up(self):
        """What is captured later has to run on that stream before, and not on the default one."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            yield
        current.wait_stream(self._stream)

    @contextmanager
    def captured(self):
        """What is called inside is not done; other threads may go on with work of their own."""
        options = {"stream": self._stream, "capture_error_mode": "thread_local"}
        with torch.cuda.device(self._device), torch.cuda.graph(self._graph, **options):
            yield

    def replay(self):
        self._graph.replay()


GRAPHS = {"cuda": _CUDAGraph}  # by the type of the device; on others the parts of a step start one by one


class Repeated:
    """`function()`, to be called some `calls` times; from WARM_UP calls on as a graph where the device has graphs.

    The function works on tensors that stay where they are, waits for nothing, and looks at no value. What it returns is
    overwritten by the next call.
    """

    def __init__(self, function, device, calls):
        self._function, self._done, self._result = function, 0, None
        self._graph = GRAPHS[device.type](device) if device.type in GRAPHS and calls >= LEAST else None

    def __call__(self):
        self._done += 1
        if self._graph is not None and self._done <= WARM_UP:
            with self._graph.warm_up():
                return self._function()
        if self._graph is not None and self._result is None:
            self._capture()
        if self._graph is None:
            return self._function()
        self._graph.replay()
        return self._result

    def _capture(self):
        try:
            with self._graph.captured():
                self._result = self._function()
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            warnings.warn(
                f"no CUDA graph of a step could be made, so its parts start one by one: {error}", stacklevel=2
            )
            self._graph = None
