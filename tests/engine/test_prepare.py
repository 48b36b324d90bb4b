"""A prepared network against the one that it was made from."""

import copy

import pytest
import torch
from torch import nn

from d2lstyle import backbone
from d2lstyle.engine.prepare import prepared

NAMES = ["efficientnet_lite0", "resnet18", "squeezenet1_1", "vgg19"]


@pytest.fixture(scope="module")
def nets(net):
    """The embedded network with its weights, and the others with random ones and uneven norms."""
    others = {name: backbone(name, weights=None, device="cpu") for name in NAMES[1:]}
    generator = torch.Generator().manual_seed(0)
    for module in others["resnet18"].modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.running_mean, module.running_var, module.weight.data, module.bias.data):
                values.copy_(0.5 + torch.rand(values.shape, generator=generator))
    return {NAMES[0]: net, **others}


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 64, 80, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_features(nets, images, name):
    net = nets[name]
    # All at once: conv layers would show it, were they not kept from the activation that overwrites them.
    before, after = net(images, net.layers), prepared(net)(images, net.layers)
    for layer in net.layers:
        torch.testing.assert_close(after[layer], before[layer], rtol=1e-4, atol=2e-5 * before[layer].abs().max().item())


@pytest.mark.parametrize("name", NAMES)
def test_the_same_gradient(nets, images, name):
    gradients = []
    for net in (nets[name], prepared(nets[name])):
        leaf = images.clone().requires_grad_()
        layers = [*net.content_layers, *net.style_layers, "conv2_1" if "conv2_1" in net.layers else "relu2_1"]
        gradients += torch.autograd.grad(sum(feature.square().mean() for feature in net(leaf, layers).values()), leaf)
    assert (gradients[1] - gradients[0]).norm() < 1e-4 * gradients[0].norm()


@pytest.mark.parametrize("name", NAMES)
def test_bf16_features_are_near_and_the_network_itself_is_not_changed(nets, images, name):
    net = nets[name]
    state, before = copy.deepcopy(net.state_dict()), net(images, net.style_layers)
    after = prepared(net, torch.bfloat16)(images, net.style_layers)
    for layer in net.style_layers:
        assert after[layer].dtype == torch.bfloat16
        assert (after[layer].float() - before[layer]).norm() < 0.03 * before[layer].norm(), layer
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert not any(getattr(module, "inplace", False) for module in net.modules())
    again = net(images, net.style_layers)
    assert all(torch.equal(again[layer], before[layer]) for layer in net.style_layers)


@pytest.mark.parametrize("name, head", [("efficientnet_lite0", "classifier"), ("resnet18", "fc")])
def test_no_norm_is_left_and_untouched_parameters_are_shared(nets, name, head):
    ready = prepared(nets[name], torch.bfloat16)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in ready.modules())
    assert not any(parameter.requires_grad for parameter in ready.parameters())
    assert ready.model.get_submodule(head).weight is nets[name].model.get_submodule(head).weight
