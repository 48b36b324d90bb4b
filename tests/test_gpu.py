"""The GPU that is not there, see `pretend_gpu`; and every public function with its images and networks apart."""

import copy
from functools import cache

import pytest
import torch
from pretend_gpu import GPU, Graph, pretend_gpu
from test_global_state import CALLS, IMAGE, TRANSFORMS, Given

CPU = torch.device("cpu")
AT_NETWORK = {"backbone", "Backbone", "fit", "replace_head", "style_distance"}
AT_IMAGES = {"adjust_lighting", "cascading_randomization", "grad_cam", "guided_backprop", "occlusion", "saliency"}
AT_IMAGES |= {"content_loss", "gram", "gram_loss", "region_weights", "style_layer_loss", "style_loss", "top_channels"}
AT_IMAGES |= {"total_variation"}
AT_IMAGES |= TRANSFORMS.keys()


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


@pytest.fixture(scope="module")
def gpu_net(net):
    with pretend_gpu():
        return copy.deepcopy(net).to(GPU)


@pytest.fixture(scope="module")
def on_cpu(net, tmp_path_factory):
    """A function: the name of a call -> what it gives where all is on the CPU."""
    return cache(lambda name: leaves(CALLS[name](Given(net, tmp_path_factory.mktemp(name)))))


def leaves(value):
    """All that a call has returned, one by one."""
    value = value.state_dict() if isinstance(value, torch.nn.Module) else value
    value = list(value.values()) if isinstance(value, dict) else value
    return [leaf for item in value for leaf in leaves(item)] if isinstance(value, (list, tuple)) else [value]


@pytest.mark.parametrize("on_gpu", ["images", "network"])
@pytest.mark.parametrize("name", [name for name in CALLS if name != "progress_bar"])  # one more `stylize`
def test_every_public_function_takes_images_and_networks_of_different_devices(
    net, gpu_net, on_cpu, tmp_path, name, on_gpu
):
    """An Apple GPU, which knows no float64; what the call gives is where the docstrings say, and as on the CPU."""
    with pretend_gpu(has_float64=False):
        images, network, device = (IMAGE.to(GPU), net, CPU) if on_gpu == "images" else (IMAGE, gpu_net, GPU)
        told = leaves(CALLS[name](Given(network, tmp_path, images, device)))
        place = images.device if name in AT_IMAGES else device if name in AT_NETWORK else CPU
        assert getattr(told[-1], "device", place) == place
        told = [leaf.cpu() if isinstance(leaf, torch.Tensor) else leaf for leaf in told]
    for leaf, expected in zip(told, on_cpu(name), strict=True):
        if isinstance(expected, torch.Tensor):
            torch.testing.assert_close(leaf, expected, rtol=0, atol=1e-4)
        else:
            assert leaf == expected
