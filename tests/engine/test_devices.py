"""Where, in which precision and with which random numbers is computed: by the hardware alone, faked here."""

import pytest
import torch
import torch.nn.functional as F
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


def draws():
    """Of each kind of random operation some numbers."""
    ones = torch.ones(4, 6)
    layers = (
        nn.Linear(6, 4),
        nn.Conv2d(3, 2, 3),
        nn.MultiheadAttention(6, 2, dropout=0.5),
        nn.LSTM(6, 3, 2, dropout=0.5),
    )
    return [
        torch.rand(3),
        torch.randn(3),
        torch.randint(9, (3,)),
        torch.randperm(9),
        torch.rand_like(ones),
        torch.randint_like(ones, 9),
        torch.normal(0.0, 1.0, (3,)),
        torch.bernoulli(ones / 2),
        torch.multinomial(ones, 3),
        torch.empty(3).exponential_(),
        nn.init.trunc_normal_(torch.empty(3)),
        F.dropout(ones),
        F.alpha_dropout(ones, 0.5, True),
        F.dropout2d(torch.ones(2, 3, 4, 4)),
        F.rrelu(-ones, training=True),
        F.gumbel_softmax(ones),
        layers[2](ones, ones, ones)[0],
        layers[3](ones)[0],
        *(value for layer in layers for value in layer.parameters()),
    ]


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_seeded_numbers_are_those_of_torchs_seed_and_leave_its_own_alone(monkeypatch, mode):
    with torch.random.fork_rng(devices=[]), mode():
        torch.default_generator.manual_seed(3)
        expected = draws()
        after = draws()
    state, source = torch.get_rng_state(), seeded(3)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("a GPU's numbers were touched"))
    with mode():
        with source:
            first = draws()
        with source, seeded(8):  # one in another
            torch.rand(3)
        with source:
            second = draws()
    assert all(map(torch.equal, first, expected)) and all(map(torch.equal, second, after))
    assert torch.equal(torch.get_rng_state(), state)
    with seeded(3):
        assert torch.equal(
            torch.rand(2, generator=torch.Generator().manual_seed(8)),
            torch.rand(2, generator=torch.Generator().manual_seed(8)),
        )


def test_threads_end_with_their_block():
    threads = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), one_thread(CPU):
        assert torch.get_num_threads() == 1
        raise ZeroDivisionError
    assert torch.get_num_threads() == threads


def test_errors_of_memory_are_told_from_others():
    texts = ("DefaultCPUAllocator: can't allocate memory", "CUDA out of memory. Tried to allocate 2 GiB")
    assert all(map(is_out_of_memory, [MemoryError(), torch.OutOfMemoryError(), *map(RuntimeError, texts)]))
    assert not is_out_of_memory(RuntimeError("the shapes do not match"))
