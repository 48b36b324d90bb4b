"""A GPU that is not there: tensors that say they are on another device, and refuse what CUDA would refuse.

Inside `pretend_gpu()` there is a device "lazy:0", which "auto" picks; what is "on" it is computed on the CPU. A Log
counts what crosses between the two, by the line of d2lstyle or of a notebook's cell that asked for it:

    wait     the program waits until the GPU has done all that it was told: `.item()`, `.cpu()`, a mask as an index
    upload   something goes to the GPU, and the program waits until it is there
    launch   a piece of work for the GPU; many small ones take longer to start than to do
"""

import sys
import types
from collections import Counter
from contextlib import ExitStack, contextmanager
from functools import cache
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from d2lstyle.engine import devices

GPU = torch.device("lazy:0")
aten = torch.ops.aten
COPIES = (aten._to_copy, aten.copy_)
INDEXED = (aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_)  # these take indices of the CPU, too
# The host has to know a value, or how large the result is, or whether it went well.
WAITS = (aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal, aten._unique2, aten.unique_dim)
WAITS += (
    aten.allclose,
    aten.unique_consecutive,
    aten.bincount,
    aten.repeat_interleave,
    aten._linalg_check_errors,
    aten.is_nonzero,
)


class Log:
    """Counters of "file:line" for each kind of crossing."""

    def __init__(self):
        self.wait, self.upload, self.launch = Counter(), Counter(), Counter()

    def totals(self):
        """{kind: how many}"""
        return {kind: lines.total() for kind, lines in vars(self).items()}


class GPUTensor(torch.Tensor):
    """Wraps the CPU tensor that holds the numbers."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held):
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        self = torch.Tensor._make_wrapper_subclass(cls, held.shape, device=GPU, **layout)
        self.held = held
        return self

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _Mode.current.run(function, args, kwargs or {})

    def __deepcopy__(self, memo):  # torch's own would copy what is held once more
        copy = memo[id(self)] = self.detach().clone().requires_grad_(self.requires_grad)
        vars(copy).update(vars(self) | {"held": copy.held})
        return copy

    def __repr__(self):
        return repr(self.detach().cpu())

    def __format__(self, spec):
        return format(self.item(), spec) if self.ndim == 0 else repr(self)

    def tolist(self):
        return self.detach().cpu().tolist()


class Generator(torch.Generator):
    """Stands for torch.Generator: one of the GPU is one of the CPU that says it is not."""

    def __new__(cls, device="cpu"):
        self = super().__new__(cls)
        self.place = GPU if _is_gpu(device) else torch.device(device)
        return self

    def __init__(self, device="cpu"):
        super().__init__()

    device = property(lambda self: self.place)


class _Mode(TorchDispatchMode):
    """Does what is for the GPU, for all threads; sees what has no tensor of the GPU in its own thread alone."""

    current = None
    _should_skip_dynamo = classmethod(lambda cls: False)  # a way round torch.compile, at each operation

    def __init__(self, has_float64):
        super().__init__()
        self.has_float64, self.log, self.graph, self.generator = has_float64, Log(), None, None

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return self.run(function, args, kwargs or {})

    def run(self, function, args, kwargs):
        """The result of an operation, wrapped where it is on the GPU."""
        if torch.is_inference_mode_enabled() and function._can_decompose():  # there torch hands these over whole
            with self:
                return function.decompose(*args, **kwargs)
        packet, flat = function.overloadpacket, _leaves((args, kwargs))
        wrappers = {id(leaf.held): leaf for leaf in flat if isinstance(leaf, GPUTensor)}
        if packet is aten.copy_:
            to_gpu = isinstance(args[0], GPUTensor)
        else:
            to_gpu = _is_gpu(kwargs["device"]) if kwargs.get("device") else bool(wrappers)
        if not (to_gpu or wrappers or self.graph or self.generator):
            return function(*args, **kwargs)
        self._refuse(packet, flat, args, to_gpu)
        if to_gpu or wrappers:
            self._count(function, args, kwargs, to_gpu)
        args, kwargs = _changed((args, kwargs), GPUTensor, lambda leaf: leaf.held)
        if self.graph is not None:
            self.graph.keep(function, args, kwargs)
        if to_gpu and "device" in kwargs:
            kwargs = kwargs | {"device": torch.device("cpu")}
        result = function(*args, **kwargs)
        if not to_gpu:
            return result
        if self.graph is not None and not _is_view(function):
            self.graph.tape.append((function, args, kwargs, result))
        # What was written into is the tensor that it was.
        wrapped = lambda leaf: wrappers[id(leaf)] if id(leaf) in wrappers else GPUTensor(leaf)  # noqa: E731
        return _changed(result, torch.Tensor, wrapped)

    def _refuse(self, packet, flat, args, to_gpu):
        """What CUDA, or an Apple GPU, would raise."""
        tensors = [leaf for leaf in flat if isinstance(leaf, torch.Tensor)]
        on_cpu = [leaf for leaf in tensors if not isinstance(leaf, GPUTensor) and leaf.ndim > 0]
        if on_cpu and len(on_cpu) < len(tensors) and packet not in COPIES:
            if (
                packet not in INDEXED
                or not isinstance(args[0], GPUTensor)
                or any(leaf is args[2] for leaf in on_cpu if args[2:])
            ):
                raise RuntimeError(f"Expected all tensors to be on the same device ({packet})")
        if self.generator is not None and _is_gpu(self.generator.device) != to_gpu:
            raise RuntimeError("Expected a generator of the other device")
        types = [leaf.dtype for leaf in tensors if isinstance(leaf, GPUTensor)]
        types += [leaf for leaf in flat if isinstance(leaf, torch.dtype) and to_gpu]
        if not self.has_float64 and {torch.float64, torch.complex128} & set(types):
            raise TypeError("the MPS framework doesn't support float64")

    def _count(self, function, args, kwargs, to_gpu):
        packet, source = function.overloadpacket, args[1] if function.overloadpacket is aten.copy_ else args[0]
        comes_up = isinstance(source, torch.Tensor) and not isinstance(source, GPUTensor) and packet in COPIES
        indices = _leaves(args[1]) if packet in INDEXED else []
        if packet in WAITS or not to_gpu or any(getattr(index, "dtype", None) == torch.bool for index in indices):
            self.note("wait")
        elif comes_up and not kwargs.get("non_blocking") and True not in args[2:]:
            self.note("upload")
        elif not _is_view(function):
            self.note("launch")
        if to_gpu and any(isinstance(index, torch.Tensor) and not isinstance(index, GPUTensor) for index in indices):
            self.note("upload")

    def note(self, kind):
        if kind != "launch" and self.graph is not None:
            raise RuntimeError("operation not permitted when stream is capturing")
        frame = sys._getframe()
        while frame and not _asks(frame.f_code.co_filename, frame.f_code.co_name):
            frame = frame.f_back
        line = f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}" if frame else "elsewhere"
        getattr(self.log, kind)[line] += 1


class _Functions(TorchFunctionMode):
    """Keeps the generator of a call, which is not told from one of the CPU further down."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        before, _Mode.current.generator = _Mode.current.generator, (kwargs or {}).get("generator")
        try:
            return function(*args, **(kwargs or {}))
        finally:
            _Mode.current.generator = before


class Graph:
    """Stands for a CUDA graph, see `engine.graphs`: captured work is written down, and done when it is replayed."""

    warm_up = contextmanager(lambda self: (yield))

    def __init__(self, device=GPU):
        self.tape, self.before = [], []

    @contextmanager
    def captured(self):
        """Nothing is done inside: what was written over comes back."""
        _Mode.current.graph = self
        try:
            yield
        finally:
            _Mode.current.graph = None
            for tensor, value in reversed(self.before):
                tensor.copy_(value)

    def keep(self, function, args, kwargs):
        """Remember what the operation will write over."""
        for i, argument in enumerate(function._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                target = args[i] if i < len(args) else kwargs.get(argument.name)
                self.before += [(tensor, tensor.clone()) for tensor in _leaves(target) if tensor is not None]

    def replay(self):
        _Mode.current.note("launch")
        for function, args, kwargs, result in self.tape:
            for old, new in zip(_leaves(result), _leaves(function(*args, **kwargs))):
                if old is not new and isinstance(old, torch.Tensor):
                    old.copy_(new)


@contextmanager
def pretend_gpu(has_float64=True):
    """The Log of what is done inside; without float64 the GPU is Apple's."""
    mode, rng = _Mode(has_float64), torch.random
    module = types.SimpleNamespace(
        get_rng_state=lambda device: rng.get_rng_state(), set_rng_state=lambda state, device: rng.set_rng_state(state)
    )
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(torch, "Generator", Generator))
        stack.enter_context(mock.patch.object(torch, GPU.type, module, create=True))
        stack.enter_context(mock.patch.object(devices, "accelerator", lambda: GPU))
        stack.enter_context(mock.patch.object(_Mode, "current", mode))
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=GPU) makes its numbers on the CPU first
        stack.callback(torch._C._set_only_lift_cpu_tensors, False)
        stack.enter_context(mode)
        stack.enter_context(_Functions())
        yield mode.log


@cache
def _asks(file, name):
    """Whether it is code of d2lstyle or of a cell, and not what only stands in between: `seeded`, `Fetching`."""
    stands_between = name in ("__torch_dispatch__", "__getattribute__")
    return any(part in file for part in ("/d2lstyle/", "<cell")) and not stands_between


def _is_gpu(device):
    return torch.device(device).type == GPU.type


def _leaves(value):
    """What is in lists, tuples and dicts; torch's own pytree does the same at several times the price."""
    if not isinstance(value, (list, tuple, dict)):
        return [value]
    leaves = []
    for part in value.values() if isinstance(value, dict) else value:
        leaves += _leaves(part) if isinstance(part, (list, tuple, dict)) else (part,)
    return leaves


def _changed(value, kind, change):
    """The same lists, tuples and dicts with `change` applied to what is of a kind."""
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, (list, tuple)):
        return type(value)([_changed(part, kind, change) for part in value])
    return {key: _changed(part, kind, change) for key, part in value.items()} if isinstance(value, dict) else value


@cache
def _is_view(function):
    returns = function._schema.returns
    return any(value.alias_info is not None and not value.alias_info.is_write for value in returns)
