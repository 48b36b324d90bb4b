"""Which device computes, in which precision, and with which random numbers."""

from contextlib import contextmanager

import torch

PRECISIONS = ("auto", "fp32", "bf16")  # of a network's passes


def best_device(device="auto"):
    """A torch.device: "auto" is cuda, then mps, then cpu, the first that this computer has; else a ValueError."""
    if device != "auto":
        try:
            return torch.empty(0, device=device).device
        except (RuntimeError, AssertionError):  # each kind of device has its own way to say no
            expected = "expected a device that this computer has (auto, cpu, ...)"
            raise ValueError(f"{expected}, got {str(device)!r}") from None
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


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


@contextmanager
def seeded(seed, *devices):
    """Random numbers from `seed` inside; the process's own, and those of the GPUs in `devices`, go on as before."""
    with torch.random.fork_rng(devices={device for device in devices if device.type == "cuda"}):
        torch.manual_seed(seed)
        yield


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


def is_out_of_memory(error):
    """Whether an exception says that the memory of the computer or of its GPU is used up."""
    texts = ("allocate memory", "not enough memory", "out of memory")  # Linux, Windows, MPS
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(text in str(error) for text in texts)
