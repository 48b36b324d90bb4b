"""Which device computes, in which precision, and with which random numbers.

One rule for devices: networks, classifiers and maps take images from any device and compute on their own. Features and
scores stay there; maps and augmented images come back to where the images are; finished pictures (`stylize`,
`fast_stylize`) and evaluations are on the CPU. What a user has set with torch.set_default_device or
torch.set_default_dtype changes nothing: tensors are made with a device and a type that are stated. Values on a GPU are
not looked at in order to check them, as the program would have to wait until they are known.
"""

from contextlib import contextmanager
from functools import cache
from threading import Lock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from . import checks

PRECISIONS = ("auto", "fp32", "tf32", "bf16")  # of a network's passes
_LOCK, _RUNS, _BEFORE = Lock(), [], {}  # of `kernels`


def best_device(device="auto"):
    """A torch.device: "auto" is cuda, then mps, then cpu, the first that this computer has; else a ValueError."""
    if device != "auto":
        try:
            return torch.empty(0, device=device).device
        except (RuntimeError, AssertionError):  # each kind of device has its own way to say no
            expected = "expected a device that this computer has (auto, cpu, ...)"
            raise ValueError(f"{expected}, got {str(device)!r}") from None
    return accelerator() or torch.device("cpu")


def accelerator():
    """The torch.device of this computer's GPU, cuda before mps; None where there is none."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps") if torch.backends.mps.is_available() else None


def sent(tensor, place, dtype=None):
    """A tensor on the device of the tensor `place`, in its type or in `dtype`; nobody waits until it is there."""
    # Pageable memory is staged before the call returns, so it may be freed; an Apple GPU would read it later.
    return tensor.to(place.device, dtype or place.dtype, non_blocking=tensor.is_cpu and place.device.type != "mps")


class typed(TorchFunctionMode):  # noqa: N801, used as a context
    """The type of what a library makes inside without stating one, in this thread alone: not the user's default."""

    FACTORIES = (torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.linspace)

    def __init__(self, dtype):
        super().__init__()
        self.dtype = dtype

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in self.FACTORIES and kwargs.get("dtype") is None:
            kwargs = kwargs | {"dtype": self.dtype}
        return function(*args, **kwargs)


def runs_in_bf16(precision, net, device):
    """Whether a network's passes run in bf16: as told, or for "auto" by what the hardware has; nothing is measured."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    depthwise = any(getattr(module, "groups", 1) > 1 for module in net.modules())  # these gain nothing on a CPU
    return device.type == "cpu" and not depthwise and _cpu_has("amx_bf16", "avx512_bf16")


def trains_in_bf16(precision, model, device):
    """The same for training, where a CPU gains by it only with AMX."""
    if precision == "auto" and device.type == "cpu" and not _cpu_has("amx_bf16"):
        return False
    return runs_in_bf16(precision, model, device)


def _cpu_has(*kinds):
    """Whether the CPU has one of these: AMX multiplies whole matrices of bf16, several times as fast as fp32."""
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # from torch 2.10 or so on
    return any(capabilities.get(kind) for kind in kinds)


class seeded(TorchDispatchMode):  # noqa: N801, used as a context
    """Random numbers from `seed` inside, in this thread alone: the process's own are neither read nor moved.

    Each random operation that would draw from a device's own generator is handed one of ours, which goes on where the
    context is entered again.
    """

    def __init__(self, seed):
        super().__init__()
        self.seed, self.generators = checks.seed(seed), {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if not _draws(function) or kwargs.get("generator") is not None:
            return function(*args, **kwargs)
        tensor = next((value for value in args if isinstance(value, torch.Tensor)), None)
        device = torch.device(kwargs.get("device") or "cpu") if tensor is None else tensor.device
        if device.type == "meta":
            return function(*args, **kwargs)
        if torch._C._current_graph_task_id() != -1:  # a way back draws only where it repeats a forward pass
            raise ValueError("expected a model without gradient checkpointing where it has dropout: switch one off")
        if device not in self.generators:
            self.generators[device] = torch.Generator(device).manual_seed(self.seed)
        generator, operation = self.generators[device], function.overloadpacket
        overloads = (getattr(operation, name)._schema.arguments for name in operation.overloads())
        if any(argument.name == "generator" for arguments in overloads for argument in arguments):
            return operation(*args, **(kwargs | {"generator": generator}))
        return _with_state(generator, function, args, kwargs)


@cache
def _draws(operation):
    return torch.Tag.nondeterministic_seeded in operation.tags


def _with_state(generator, function, args, kwargs):
    """For operations that take no generator, such as dropout on a GPU: the device's own has our state meanwhile."""
    device = generator.device
    module = torch.random if device.type == "cpu" else torch.get_device_module(device)
    where = [] if device.type in ("cpu", "mps") else [device]  # there is one alone
    before = module.get_rng_state(*where)
    try:
        module.set_rng_state(generator.get_state(), *where)
        result = function(*args, **kwargs)
        generator.set_state(module.get_rng_state(*where))
    finally:
        module.set_rng_state(before, *where)
    return result


@contextmanager
def one_thread(device):
    """Sums are added in one order: more threads of a CPU would add them up in another. A GPU does not mind."""
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def kernels(device, precision):
    """On CUDA, convolutions inside give equal results in equal runs, and round to TF32 only for precision="tf32".

    cuDNN has one switch for a process: it is set while any run is inside, and then is as it was before the first.
    """
    if device.type != "cuda":
        yield
        return
    cudnn, run = torch.backends.cudnn, object()
    wanted = {(cudnn, "deterministic"): True, (cudnn, "benchmark"): False}
    if hasattr(cudnn, "conv"):  # from torch 2.9 or so on
        wanted[cudnn.conv, "fp32_precision"] = "tf32" if precision == "tf32" else "ieee"
    else:
        wanted[cudnn, "allow_tf32"] = precision == "tf32"
    with _LOCK:
        if not _RUNS:
            _BEFORE.update({switch: getattr(*switch) for switch in wanted})
        _RUNS.append(run)
        for switch, value in wanted.items():
            setattr(*switch, value)
    try:
        yield
    finally:
        with _LOCK:
            _RUNS.remove(run)
            for switch, value in () if _RUNS else _BEFORE.items():
                setattr(*switch, value)


def is_out_of_memory(error):
    """Whether an exception says that the memory of the computer or of its GPU is used up."""
    texts = ("allocate memory", "not enough memory", "out of memory")  # Linux, Windows, MPS
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(text in str(error) for text in texts)
