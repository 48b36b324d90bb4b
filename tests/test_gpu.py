"""The GPU that is not there, see `pretend_gpu`: that it refuses and counts what a real one would."""

import pytest
import torch
from pretend_gpu import GPU, Graph, pretend_gpu


def test_the_pretend_gpu_refuses_what_cuda_refuses():
    with pretend_gpu():
        x = torch.rand(2, 3, device=GPU)
        refused = [
            lambda: x + torch.rand(3),  # two devices
            lambda: torch.rand(3)[torch.tensor([0], device=GPU)],
            lambda: x.gather(1, torch.zeros(2, 1, dtype=torch.long)),
            lambda: torch.rand(2, device=GPU, generator=torch.Generator()),
            lambda: torch.rand(2, generator=torch.Generator(GPU)),
            lambda: x.numpy(),
        ]
        for call in refused:
            with pytest.raises((RuntimeError, TypeError)):
                call()
        assert (x + torch.tensor(2.0)).device == x[torch.tensor([0])].device == GPU  # these are allowed
    with pretend_gpu(has_float64=False), pytest.raises(TypeError, match="float64"):
        torch.rand(3, device=GPU).double()


def test_the_pretend_gpu_counts_waits_uploads_and_launches():
    with pretend_gpu() as log:
        x = torch.rand(4, device=GPU)
        assert log.totals() == {"wait": 0, "upload": 0, "launch": 1}
        x.sum().item(), x[x > 0.5], x.cpu()
        assert log.totals() == {"wait": 3, "upload": 0, "launch": 3}
        torch.tensor([1.0], device=GPU), torch.rand(3).to(GPU), torch.rand(3).to(GPU, non_blocking=True)
        assert log.totals() == {"wait": 3, "upload": 2, "launch": 4}


def test_a_pretend_graph_does_its_work_when_it_is_replayed():
    with pretend_gpu():
        x, graph = torch.ones(3, device=GPU), Graph()
        with graph.captured():
            x.add_(x * 2)
            with pytest.raises(RuntimeError, match="captur"):
                x.sum().item()
        assert x.tolist() == [1, 1, 1]
        graph.replay()
        graph.replay()
        assert x.tolist() == [9, 9, 9]
