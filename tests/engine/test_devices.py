"""Where, in which precision and with which random numbers is computed: by the hardware alone, faked here."""

import pytest
import torch
from torch import nn

from d2lstyle.engine.devices import best_device, is_out_of_memory, one_thread, runs_in_bf16, seeded, trains_in_bf16

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
DENSE, DEPTHWISE = nn.Conv2d(4, 4, 3), nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, groups=4))


@pytest.mark.parametrize(
    "cpu_has, net, runs, trains",
    [
        ({"amx_bf16", "avx512_bf16"}, DENSE, True, True),
        ({"avx512_bf16"}, DENSE, True, False),
        (set(), DENSE, False, False),
        ({"amx_bf16", "avx512_bf16"}, DEPTHWISE, False, False),
    ],
)
def test_auto_goes_by_the_cpu_and_the_network(monkeypatch, cpu_has, net, runs, trains):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(cpu_has, True), raising=False)
    assert (runs_in_bf16("auto", net, CPU), trains_in_bf16("auto", net, CPU)) == (runs, trains)
    for told in ("bf16", "fp32"):
        assert runs_in_bf16(told, net, CPU) == trains_in_bf16(told, net, CPU) == (told == "bf16")


def test_a_torch_that_cannot_tell_has_no_bf16(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not runs_in_bf16("auto", DENSE, CPU)


@pytest.mark.parametrize("capability, expected", [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_auto_goes_by_the_gpu(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert runs_in_bf16("auto", DEPTHWISE, CUDA) == trains_in_bf16("auto", DEPTHWISE, CUDA) == expected


@pytest.mark.parametrize("cuda, mps, expected", [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_auto_is_the_first_device_that_is_there(monkeypatch, cuda, mps, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert best_device() == torch.device(expected)


def test_seeds_and_threads_end_with_their_blocks():
    torch.manual_seed(3)
    expected, threads = torch.rand(2), torch.get_num_threads()
    torch.manual_seed(3)
    with pytest.raises(ZeroDivisionError), seeded(0, CPU), one_thread(CPU):
        assert torch.equal(torch.rand(1), torch.rand(1, generator=torch.Generator().manual_seed(0)))
        assert torch.get_num_threads() == 1
        raise ZeroDivisionError
    assert torch.equal(torch.rand(2), expected) and torch.get_num_threads() == threads


def test_errors_of_memory_are_told_from_others():
    texts = ("DefaultCPUAllocator: can't allocate memory", "CUDA out of memory. Tried to allocate 2 GiB")
    assert all(map(is_out_of_memory, [MemoryError(), torch.OutOfMemoryError(), *map(RuntimeError, texts)]))
    assert not is_out_of_memory(RuntimeError("the shapes do not match"))
