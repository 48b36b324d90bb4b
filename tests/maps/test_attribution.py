"""Maps against finite differences, a plain double loop, Captum and another guided backprop; ReLUs that would escape."""

import copy
import math

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from captum.attr import GuidedBackprop
from pretend_gpu import GPU, pretend_gpu
from torch import nn
from torchvision import models

from d2lstyle import grad_cam, gram, guided_backprop, occlusion, region_weights, replace_head, saliency
from d2lstyle.images import resize

METHODS = [saliency, guided_backprop, grad_cam, occlusion]


def maps_of(method, net, images, targets=None, side=3, **options):
    """Maps by any method; `side` is that of occlusion's patches."""
    patches = {"window": side, "stride": max(1, 2 * side // 3)} if method is occlusion else {}
    return method(net, images, targets, **patches, **options)


def seeded(build, *arguments, seed=0):
    """A model with random weights that are the same in every run."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(*arguments)


def random_images(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def small_net(activation=nn.ReLU, seed=0, classes=4):
    """Two convolutions and a linear layer, in float64, for images of any size; four classes have names."""

    def build():
        features = [nn.Conv2d(3, 5, 3), activation(), nn.Conv2d(5, 4, 2), activation()]
        return nn.Sequential(*features, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, classes)).double()

    model = seeded(build, seed=seed)
    model.classes = ["dog", "bird", "cat", "fish"]
    return model


def vgg11_trunk():
    """VGG-11's convolutions with their in-place ReLUs, without the 120 million weights of its classifier."""
    trunk = models.vgg.make_layers(models.vgg.cfgs["A"])
    return nn.Sequential(trunk, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)).eval()


def random_resnet():
    """Its in-place ReLU modules each serve twice."""
    return models.resnet18(weights=None, num_classes=10).eval()


IMAGES = random_images(2, 3, 8, 9)


# saliency, and what all methods share


@pytest.mark.parametrize("activation, scaled", [(nn.Softplus, False), (nn.ReLU, True)])
def test_saliency_is_the_largest_slope_over_the_channels(activation, scaled):
    model, image, target, epsilon = small_net(activation), IMAGES[:1], 2, 1e-6
    steps = epsilon * torch.eye(image.numel(), dtype=torch.float64).view(-1, *image.shape[1:])
    with torch.no_grad():
        slopes = (model(image + steps) - model(image - steps))[:, target] / (2 * epsilon)
    expected = slopes.view(image.shape).abs().amax(dim=1, keepdim=True)
    expected = expected / expected.max() if scaled else expected
    torch.testing.assert_close(saliency(model, image, target, scaled=scaled), expected, rtol=1e-5, atol=1e-8)


def test_the_score_is_the_logit_and_not_the_probability():
    weight = torch.tensor([[3.0, -1, 2], [0, 5, -7]])
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    model[1].weight.data.copy_(weight)
    images = torch.rand(1, 3, 1, 1)
    for target, largest in [(0, 3), (1, 7)]:
        assert saliency(model, images, target, scaled=False).item() == largest
    # a logit falls by weight * pixel, whatever the other class does
    fall = occlusion(model, images, 0, window=1, stride=1, scaled=False)
    assert fall.item() == pytest.approx((weight[0] @ images.flatten()).item(), rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_maps_under_the_callers_no_grad_and_inference_mode(method):
    model = small_net()
    expected = maps_of(method, model, IMAGES, 1)
    with torch.no_grad():
        assert torch.equal(maps_of(method, model, IMAGES, 1), expected) and not torch.is_grad_enabled()
    with torch.inference_mode():
        assert torch.equal(maps_of(method, model, IMAGES * 1, 1), expected)
    assert expected.shape == (2, 1, 8, 9) and not expected.requires_grad


@pytest.mark.parametrize("method", METHODS)
def test_scaled_maps_reach_from_zero_to_one_and_a_map_of_zeros_stays_one(method):
    model = small_net()
    maps, raw = (maps_of(method, model, IMAGES, [0, 2], scaled=scaled) for scaled in (True, False))
    assert maps.min() >= 0 and torch.equal(maps.amax(dim=(1, 2, 3)), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(maps, raw.clamp(min=0) / raw.amax(dim=(1, 2, 3), keepdim=True), rtol=1e-12, atol=0)
    nn.init.zeros_(model[-1].weight)
    assert torch.equal(maps_of(method, model, IMAGES, 0).double(), torch.zeros(2, 1, 8, 9, dtype=torch.float64))


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_equals_single_maps(net, photo, method):
    images = torch.cat([photo, photo.flip(3), photo.flip(2)])
    for model, targets in [(net, [281, 3, 700]), (seeded(random_resnet), [8, 9, 3])]:
        batch = maps_of(method, model, images, targets, side=16)
        singles = [maps_of(method, model, *pair, side=16) for pair in zip(images.split(1), targets)]
        torch.testing.assert_close(batch, torch.cat(singles), rtol=0, atol=2e-3)
    assert (batch[0] - batch[1]).abs().max() > 0.1  # three maps, not one thrice


@pytest.mark.parametrize("method", [saliency, guided_backprop, grad_cam])
def test_a_large_batch_goes_in_several_passes(method):
    model, sizes, targets = small_net(), [], [0, 1, 2, 3, 0] * 4
    images = random_images(20, 3, 8, 9)
    model.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))  # the private copy has it too
    maps = method(model, images, targets)
    assert 1 < max(sizes) < 20
    singles = [method(small_net(), *pair) for pair in zip(images.split(1), targets)]
    torch.testing.assert_close(maps, torch.cat(singles), rtol=1e-12, atol=1e-14)


# occlusion


def occluded_by_loops(read, image, target, window, stride, fill):
    """(H, W): the mean fall of the score over the windows that cover a pixel; those at the edge are cut there."""
    (_, height, width), (high, wide), (down, right) = image.shape[1:], window, stride
    falls, counts = torch.zeros(height, width, dtype=image.dtype), torch.zeros(height, width)
    whole = read(image)[0, target]
    for row in range(0, height - high + down, down):
        for column in range(0, width - wide + right, right):
            covered = image.clone()
            covered[0, :, row : row + high, column : column + wide] = fill
            falls[row : row + high, column : column + wide] += whole - read(covered)[0, target]
            counts[row : row + high, column : column + wide] += 1
    return falls / counts


RGB = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64).view(3, 1, 1)


@torch.no_grad()
@pytest.mark.parametrize("score", ["logit", "probability"])
@pytest.mark.parametrize(
    "window, stride, fill",
    [
        (3, 3, None),  # 8 x 9: fits the width alone
        (4, 2, 0.25),  # fits the height alone
        (5, 3, RGB),
        ((2, 3), (2, 3), None),
        (3, (1, 2), RGB),
        ((8, 9), 1, None),  # one window, the whole image
        (1, 1, 0.25),
    ],
)
def test_occlusion_is_the_plain_double_loop(window, stride, fill, score):
    model = small_net()
    pairs = [sides if isinstance(sides, tuple) else (sides, sides) for sides in (window, stride)]
    maps = occlusion(model, IMAGES, [2, 0], window=window, stride=stride, fill=fill, score=score, scaled=False)
    read = model if score == "logit" else lambda images: model(images).softmax(1)
    for image, target, map_ in zip(IMAGES.split(1), [2, 0], maps):
        expected = occluded_by_loops(read, image, target, *pairs, fill=0 if fill is None else fill)
        torch.testing.assert_close(map_[0].double(), expected, rtol=1e-6, atol=1e-9)  # captum gives single precision


@torch.no_grad()
def test_a_backbone_is_covered_with_its_mean_colour(net, photo):
    options = {"window": (16, 20), "stride": (16, 14), "scaled": False}
    maps = occlusion(net, photo, 281, **options)
    expected = occluded_by_loops(net.logits, photo, 281, (16, 20), (16, 14), net.mean)
    torch.testing.assert_close(maps[0, 0], expected, rtol=0, atol=1e-4)
    assert (maps - occlusion(net, photo, 281, fill=0, **options)).abs().max() > 0.1
    fine_tuned = replace_head(net, 3)
    maps = occlusion(fine_tuned, photo, 1, **options)
    assert torch.equal(maps, occlusion(fine_tuned, photo, 1, fill=net.mean, **options))


def test_the_callback_hears_of_every_pass_and_at_once_changes_nothing_else():
    images, total = random_images(3, 3, 8, 9), 3 * (1 + 4 * 4)  # rows start at 0, 2, 4, 6, columns too; and the image
    maps, passes = {}, {}
    for at_once in (1, 2, 7, 99):
        reports = passes[at_once] = []
        options = {"at_once": at_once, "scaled": False, "callback": lambda *pair, reports=reports: reports.append(pair)}
        maps[at_once] = maps_of(occlusion, small_net(), images, [0, 1, 2], **options)
        done = [0, *(pair[0] for pair in reports)]
        assert {pair[1] for pair in reports} == {total} and done[-1] == total
        assert 1 <= min(np.diff(done)) and max(np.diff(done)) <= at_once
        torch.testing.assert_close(maps[at_once], maps[1], rtol=1e-6, atol=1e-9)
    assert len(passes[1]) == total and len(passes[1]) > len(passes[2]) > len(passes[7]) > len(passes[99])


# guided backprop


class SpringenbergReLU(torch.autograd.Function):
    """ReLU, or ReLU6 with a `top` of 6, written without hooks."""

    @staticmethod
    def forward(ctx, x, top):
        ctx.save_for_backward(x)
        ctx.top = top
        return x.clamp(0, top)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient.clamp(min=0) * ((x > 0) & (x < ctx.top)), None


def guided_without_hooks(model, images, targets):
    """(B, 1, H, W), unscaled; each ReLU of a copy is another function."""
    model, images = copy.deepcopy(model).eval(), images.clone().requires_grad_()
    for module in model.modules():
        if isinstance(module, (nn.ReLU, nn.ReLU6)):
            top = 6.0 if isinstance(module, nn.ReLU6) else math.inf
            module.forward = lambda x, top=top: SpringenbergReLU.apply(x, top)
    scores = (model.logits if hasattr(model, "logits") else model)(images)
    (gradient,) = torch.autograd.grad(scores[range(len(images)), targets].sum(), images)
    return gradient.abs().amax(dim=1, keepdim=True)


def test_guided_backprop_through_relu6(net, photo):
    images, targets = torch.cat([photo, photo.flip(3)]), [281, 7]
    maps, plain = (method(net, images, targets, scaled=False) for method in (guided_backprop, saliency))
    expected = guided_without_hooks(net, images, targets)
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-5 * expected.max().item())
    assert (maps - plain).abs().max() > 0.1 * plain.max()


@pytest.mark.filterwarnings("ignore:Setting backward hooks")
@pytest.mark.parametrize("build", [vgg11_trunk, random_resnet])
def test_guided_backprop_is_captums(build):
    model, images = seeded(build), random_images(2, 3, 32, 40, dtype=torch.float32)
    assert any(getattr(module, "inplace", False) for module in model.modules())
    maps = guided_backprop(model, images, [1, 4], scaled=False)
    captums = GuidedBackprop(copy.deepcopy(model)).attribute(images.clone().requires_grad_(), torch.tensor([1, 4]))
    scale = maps.max().item()
    torch.testing.assert_close(maps, captums.abs().amax(dim=1, keepdim=True), rtol=1e-4, atol=1e-5 * scale)
    torch.testing.assert_close(maps, guided_without_hooks(model, images, [1, 4]), rtol=1e-4, atol=1e-5 * scale)
    assert (maps - saliency(model, images, [1, 4], scaled=False)).abs().max() > 0.05 * scale


class PreActivation(nn.Module):
    """A block whose ReLU comes first, beside a shortcut that reads the same tensor."""

    def __init__(self, activation):
        super().__init__()
        self.stem, self.relu, self.conv = nn.Conv2d(3, 6, 3), activation, nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Linear(6, 4)

    def forward(self, images):
        x = self.stem(images)
        return self.head((x + self.conv(self.relu(x))).mean(dim=(2, 3)))


@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6])
def test_a_shortcut_beside_a_relu_keeps_its_gradient_and_a_relu_of_two_names_is_guided_under_each(activation):
    shared = small_net(activation)
    shared[1] = shared[3] = activation()
    for model in (seeded(PreActivation, activation()).double(), shared):
        images = random_images(2, 3, 8, 9) * 4
        maps = guided_backprop(model, images, [0, 1], scaled=False)
        torch.testing.assert_close(maps, guided_without_hooks(model, images, [0, 1]), rtol=1e-9, atol=1e-12)
        assert (maps - saliency(model, images, [0, 1], scaled=False)).abs().max() > 1e-3


def test_a_network_that_reads_what_a_relu_has_overwritten_is_refused():
    """Without in-place ReLUs it would be another network."""

    class Overwritten(PreActivation):
        def forward(self, images):
            x = self.stem(images)
            x = self.conv(self.relu(x)) + x  # x is no longer what the stem gave
            return self.head(x.mean(dim=(2, 3)))

    model = seeded(Overwritten, nn.ReLU(inplace=True)).double()
    with pytest.raises(ValueError, match="reads what a ReLU has overwritten .use saliency"):
        guided_backprop(model, IMAGES, 0)
    assert saliency(model, IMAGES, 0).max() == 1 and maps_of(occlusion, model, IMAGES, 0).shape == (2, 1, 8, 9)


# Grad-CAM


def grad_cam_by_hand(trunk, head, images, targets):
    """(B, 1, H, W), unscaled, of a network in two halves: `trunk` gives the last feature map, `head` reads it."""
    A = trunk(images).detach().requires_grad_()
    (slope,) = torch.autograd.grad(head(A)[range(len(images)), targets].sum(), A)
    grid = (slope.mean(dim=(2, 3), keepdim=True) * A).sum(dim=1, keepdim=True).clamp(min=0)
    return F.interpolate(grid, images.shape[2:], mode="bilinear")


def test_grad_cam_is_the_mean_gradient_times_the_activation():
    model = small_net()  # its pooling gives a map of 2 x 2, which is not meant
    expected = grad_cam_by_hand(model[:4], model[4:], IMAGES, [3, 0])
    torch.testing.assert_close(grad_cam(model, IMAGES, [3, 0], scaled=False), expected, rtol=1e-10, atol=1e-14)
    assert (expected.amax(dim=(1, 2, 3)) > 0).all()


def test_grad_cam_reads_the_last_stage_of_a_resnet_and_of_the_embedded_network(net, photo):
    resnet, images = seeded(random_resnet), random_images(2, 3, 70, 90, dtype=torch.float32)
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    trunk = nn.Sequential(*(resnet.get_submodule(name) for name in names))
    head = nn.Sequential(resnet.avgpool, nn.Flatten(), resnet.fc)
    expected = grad_cam_by_hand(trunk, head, images, [1, 4])
    maps = grad_cam(resnet, images, [1, 4], scaled=False)
    torch.testing.assert_close(maps, expected, rtol=1e-3, atol=1e-5 * expected.max().item())
    timms = net.model
    expected = grad_cam_by_hand(timms.forward_features, timms.forward_head, (photo - net.mean) / net.std, [281])
    maps = grad_cam(net, photo, 281, scaled=False)
    torch.testing.assert_close(maps, expected, rtol=1e-3, atol=1e-5 * expected.max().item())


def test_a_network_without_a_map_of_several_positions_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    with pytest.raises(ValueError, match="feature map of more than one position, got none at 4 x 4 pixels"):
        grad_cam(model, torch.rand(1, 3, 4, 4), 0)


# ReLUs that are no modules

CALLS = [
    *[("relu", call) for call in (F.relu, torch.relu, lambda x: F.relu(x, inplace=True), lambda x: x.relu_())],
    *[("clamp", call) for call in (lambda x: x.clamp(min=0), lambda x: x.clip(0.0, 6.0), lambda x: x.clamp_(min=0))],
    *[("clamp_min", call) for call in (lambda x: torch.clamp_min(x, 0), lambda x: x.clamp_min_(0.0))],
    *[("hardtanh", call) for call in (F.relu6, lambda x: F.hardtanh(x, min_val=0.0, max_val=6.0))],
    ("threshold", lambda x: F.threshold(x, 0, 0)),
]


class Functional(nn.Module):
    """A classifier with a ReLU module and something called as a function, here or in a block of its own."""

    def __init__(self, call, nested=False):
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()
        self.block = Functional(call) if nested else None
        self.call, self.head = call, nn.Linear(4, 2)

    def forward(self, images):
        x = self.conv(self.act(self.conv(images))[:, :3])
        return self.block(x[:, :3]) if self.block is not None else self.head(self.call(x).mean(dim=(2, 3)))


@pytest.mark.parametrize("name, call", CALLS)
def test_a_relu_called_as_a_function_is_refused_by_name(name, call):
    images, nested_place = IMAGES.float() * 4, r"block \(Functional\), after its layer block\.conv,"
    for nested, place in [(False, "gradient: Functional, after its layer conv,"), (True, nested_place)]:
        model = seeded(Functional, call, nested)
        with pytest.raises(ValueError, match=rf"{place} calls {name}_? as a function.*nn.ReLU module, or use saliency"):
            guided_backprop(model, images, 0)
    assert saliency(model, images, 0).max() == 1  # which does not mind


OTHER_CALLS = [
    *(lambda x: x.clamp(min=-1), lambda x: x.clamp(max=0), lambda x: torch.clamp_min(x, 1e-6)),
    *(lambda x: F.hardtanh(x), lambda x: F.threshold(x, 0.1, 0.0), lambda x: F.normalize(x), F.softplus),
]


@pytest.mark.parametrize("call", OTHER_CALLS)
def test_other_functions_are_not_mistaken_for_a_relu(call):
    assert guided_backprop(seeded(Functional, call), IMAGES.float() * 4, 0).max() == 1


GOOGLENET = {"aux_logits": False, "init_weights": False}


@pytest.mark.parametrize(
    "build, text",
    [
        (lambda: models.densenet121(weights=None), "DenseNet, after its layer features, calls relu_? as"),
        (
            lambda: models.googlenet(weights=None, **GOOGLENET),
            r"conv1 \(BasicConv2d\), after its layer conv1.bn, calls relu",
        ),
        (lambda: timm.create_model("efficientnet_b0"), "this model passed none: use saliency"),
        (lambda: small_net(nn.SiLU).float(), "this model passed none: use saliency"),
    ],
)
def test_networks_without_relu_modules_are_refused(build, text):
    model, images = seeded(build), random_images(1, 3, 32, 32, dtype=torch.float32)
    with pytest.raises(ValueError, match=text):
        guided_backprop(model, images, 0)
    assert saliency(model, images, 0).max() == 1


def test_a_clamp_outside_the_network_is_not_mistaken_for_a_relu(net, photo):
    image = resize(photo, 240)  # `logits` scales down what has more than 224 pixels, and clamps then
    assert guided_backprop(net, image, 281).shape == (1, 1, 160, 240)


# what is left as it was


def state_of(model):
    """All that a method might change in a model, as things that `==` compares."""
    modules = dict(model.named_modules())
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "modules": {name: (id(module), type(module), module.training) for name, module in modules.items()},
        "in place": {name: getattr(module, "inplace", None) for name, module in modules.items()},
        "hooks": [len(getattr(module, kind)) for module in modules.values() for kind in hooks],
        "parameters": {name: (id(p), p.requires_grad, p.grad) for name, p in model.named_parameters()},
        "values": {name: (v.dtype, v.double().sum().item()) for name, v in model.state_dict().items()},
    }


def with_norms():
    """A model left in training mode but for its second norm, with running means, dropout, in-place ReLUs and ReLU6s."""
    features = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 2), nn.BatchNorm2d(4)]
    model = nn.Sequential(*features, nn.ReLU6(inplace=True), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4 * 5 * 6, 3))
    model[4].eval()
    model[0].requires_grad_(False)
    return model.double()


@pytest.mark.parametrize("method", METHODS)
def test_model_and_images_are_left_as_they_were(net, photo, method):
    for model, images, side in [(seeded(with_norms), IMAGES, 3), (net, photo, 24)]:
        before, held = state_of(model), images.clone().requires_grad_()
        maps = maps_of(method, model, held, 1, side)
        assert state_of(model) == before and not maps.requires_grad
        assert torch.equal(held, images) and held.grad is None and held.requires_grad and held.is_leaf
        # dropout and batch statistics play no part
        assert torch.equal(maps, maps_of(method, copy.deepcopy(model).eval(), images, 1, side))


@pytest.mark.parametrize("method", METHODS)
def test_a_network_that_writes_into_its_input_does_not_write_into_the_callers(method):
    class Normalising(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = small_net()

        def forward(self, images):
            return self.body(images.sub_(0.5).div_(0.25))

    images = IMAGES.clone()
    maps = maps_of(method, Normalising(), images, 0, scaled=False)
    assert torch.equal(images, IMAGES)
    if method is not occlusion:  # the chain rule's 1 / 0.25, which ends at the last feature map for Grad-CAM
        expected = method(small_net(), (IMAGES - 0.5) / 0.25, 0, scaled=False)
        torch.testing.assert_close(maps, expected if method is grad_cam else expected / 0.25)


# targets


@pytest.mark.parametrize(
    "targets, numbers",
    [
        (2, [2, 2]),
        (torch.tensor([2, 0]), [2, 0]),
        (torch.tensor(2), [2, 2]),
        (np.int64(2), [2, 2]),
        ([np.int64(2), torch.tensor(0)], [2, 0]),
        (np.array([2, 0]), [2, 0]),
        ("cat", [2, 2]),
        (["cat", 0], [2, 0]),
    ],
)
def test_targets_are_numbers_or_names_one_or_one_each(targets, numbers):
    for method in METHODS:
        maps = maps_of(method, small_net(), IMAGES, targets, scaled=False)
        singles = [maps_of(method, small_net(), *pair, scaled=False) for pair in zip(IMAGES.split(1), numbers)]
        torch.testing.assert_close(maps, torch.cat(singles), rtol=1e-10, atol=1e-12)


def test_no_target_is_each_images_top_class_and_imagenets_classes_have_names(net, photo):
    model, images = small_net(classes=12, seed=3), torch.cat([IMAGES, 9 * random_images(10, 3, 8, 9, seed=5) - 5])
    top = model(images).argmax(1).tolist()
    assert len(set(top)) > 1
    for method in METHODS:
        assert torch.equal(maps_of(method, model, images), maps_of(method, model, images, top))
    assert torch.equal(saliency(net, photo, "tabby"), saliency(net, photo, 281))


@pytest.mark.parametrize(
    "targets, text",
    [
        (-1, "as an integer from 0 to 3, got -1"),
        (torch.tensor([0, 4]), "from 0 to 3, got 4"),
        ([0], "one for each of 2 images, got 1"),
        ([], "one for each of 2 images, got 0"),
        (["cat", "dogg"], "unknown class 'dogg': did you mean 'dog'"),
        (1.0, "targets, unless names, as an integer .*, got 1.0"),
        (torch.tensor([0.0, 1.0]), "got 0.0"),
        (torch.tensor([True, False]), "got True"),
        ([[0], [1]], r"got \[0\]"),
    ],
)
def test_other_targets_are_refused(targets, text):
    for method in METHODS:
        with pytest.raises(ValueError, match=text):
            maps_of(method, small_net(), IMAGES, targets)


def test_a_name_needs_a_model_that_knows_names():
    with pytest.raises(ValueError, match="unknown class 'cat'.* only numbers, as the model has no `classes`"):
        saliency(PreActivation(nn.ReLU()).double(), IMAGES, "cat")


# what is refused


class Two(nn.Module):
    def forward(self, images):
        return images, images


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "model, images, error, text",
    [
        ("resnet18", IMAGES, TypeError, "torch.nn.Module, got str"),
        (small_net(), "cat.png", TypeError, r"images as a tensor \(B, C, H, W\), got str: see read_image"),
        (small_net(), IMAGES[0], ValueError, r"images of shape \(B, C, H, W\), got \(3, 8, 9\)"),
        (small_net(), IMAGES[:0], ValueError, r"images of shape \(B, C, H, W\), got \(0, 3, 8, 9\)"),
        (small_net(), (IMAGES * 255).byte(), ValueError, "images as float in .0, 1., got torch.uint8"),
        (small_net(), IMAGES.where(IMAGES < 0.9, torch.nan), ValueError, "finite float images"),
        (small_net()[:4], IMAGES, ValueError, r"scores \(B, classes\), got \(1, 4, 5, 6\)"),
        (Two(), IMAGES, ValueError, r"scores \(B, classes\), got tuple"),
    ],
)
def test_other_models_and_images_are_refused(method, model, images, error, text):
    with pytest.raises(error, match=text):
        maps_of(method, model, images, 0)


@pytest.mark.parametrize(
    "options, text",
    [
        ({"window": (8, 10)}, "window inside the image of 8 x 9 pixels, got 8 x 10"),
        ({"window": (3, 5), "stride": (2, 6)}, r"stride of at most the window, \[3, 5\], .* got \[2, 6\]"),
        ({"window": 0}, r"window in pixels, a positive integer or \(height, width\), got 0"),
        ({"window": 3, "stride": 2.5}, "stride in pixels, .* got 2.5"),
        ({"window": 3, "score": "logits"}, "unknown score 'logits': did you mean 'logit'"),
        ({"window": 3, "at_once": 0}, "at_once as an integer of at least 1, got 0"),
    ],
)
def test_other_windows_and_scores_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        occlusion(small_net(), IMAGES, 0, **{"stride": 1} | options)


# regions


def weights_of(rows, keep):
    return region_weights(torch.tensor(rows).view(1, 1, len(rows), -1), keep)[0, 0].int().tolist()


@pytest.mark.parametrize(
    "keep, expected",
    [
        (3, [[0, 1, 0], [1, 0, 1]]),
        (0.25, [[0, 1, 0], [1, 0, 0]]),  # 1.5 rounds to the even 2
        (0.4, [[0, 1, 0], [1, 0, 0]]),  # 2.4
        (0.45, [[0, 1, 0], [1, 0, 1]]),  # 2.7
        (0.001, [[0, 1, 0], [0, 0, 0]]),  # one at least
        (1, [[1, 1, 1], [1, 1, 1]]),
    ],
)
def test_region_weights_by_hand(keep, expected):
    assert weights_of([[0.1, 0.9, 0.3], [0.8, -2.0, 0.4]], keep) == expected


def test_of_equal_values_the_upper_left_ones_are_kept():
    assert weights_of([[1.0, 1.0], [1.0, 1.0], [1.0, 0.0]], 3) == [[1, 1], [1, 0], [0, 0]]
    maps, expected = torch.zeros(1, 1, 40, 50), torch.zeros(2000)
    maps[0, 0, 20, 3] = 1
    expected[:99] = expected[1003] = 1
    assert torch.equal(region_weights(maps, 100).flatten(), expected)


def test_each_map_has_its_own_region():
    assert torch.equal(region_weights(torch.arange(16.0).view(1, 1, 4, 4)).flatten(), (torch.arange(16) >= 12).float())
    maps = random_images(3, 1, 5, 7) * torch.tensor([1.0, 100, 0.01]).view(3, 1, 1, 1)
    weights = region_weights(maps, 0.3)
    assert torch.equal(weights, torch.cat([region_weights(map_, 0.3) for map_ in maps.split(1)]))
    assert weights.sum(dim=(1, 2, 3)).tolist() == [10, 10, 10]  # 0.3 * 35 rounds to the even 10
    assert region_weights(torch.zeros(1, 1, 2, 2), 4).sum() == 4  # a map that says nothing serves where all is kept


def test_region_weights_make_the_gram_of_the_region():
    maps, features = random_images(2, 1, 4, 5), random_images(2, 3, 4, 5, seed=1)
    for image, map_, G in zip(features, maps, gram(features, region_weights(maps, 6))):
        best = image.flatten(1)[:, map_.flatten().topk(6).indices]
        torch.testing.assert_close(G, best @ best.T * 20 / 6, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "maps, keep, text",
    [
        (torch.cat([torch.rand(1, 1, 2, 2), torch.ones(1, 1, 2, 2)]), 2, "one with the same value everywhere"),
        (torch.tensor([[[[0.0, torch.nan]]]]), 0.5, "finite maps"),
        (torch.rand(2, 2), 0.5, r"maps \(B, 1, H, W\), got \(2, 2\)"),
        ([[0.0, 1.0]], 0.5, r"maps \(B, 1, H, W\), got list"),
        (torch.rand(1, 1, 2, 2), 1.5, "keep as a part.* from 2 to 4, got 1.5"),
    ],
)
def test_other_maps_and_regions_are_refused(maps, keep, text):
    with pytest.raises(ValueError, match=text):
        region_weights(maps, keep)


# devices

CPU, MANY = torch.device("cpu"), random_images(9, 3, 8, 9, dtype=torch.float32)
FILL = torch.tensor([0.2, 0.5, 0.8]).view(3, 1, 1)


@pytest.mark.parametrize("method, checks", [(saliency, 0), (guided_backprop, 1), (grad_cam, 0), (occlusion, 0)])
@pytest.mark.parametrize(
    "places", [(GPU, CPU, CPU), (CPU, GPU, CPU), (CPU, CPU, GPU), (GPU, GPU, CPU), (GPU, GPU, GPU)]
)
def test_network_images_and_targets_may_be_on_any_devices(method, checks, places):
    """Where all are on a GPU nobody waits for it, however many passes there are; but guided backprop for its check."""
    targets, options = torch.arange(9) % 4, {"fill": FILL, "at_once": 4} if method is occlusion else {}
    expected = maps_of(method, small_net().float(), MANY, targets, **options)
    with pretend_gpu(has_float64=False) as log:
        on_net, on_images, on_targets = places
        model, images, targets = small_net().float().to(on_net), MANY.to(on_images), targets.to(on_targets)
        options = {name: value.to(on_targets) if name == "fill" else value for name, value in options.items()}
        log.wait.clear(), log.upload.clear()
        maps, single = (
            maps_of(method, model, x, t, **options) for x, t in ((images, targets), (images[:1], targets[:1]))
        )
        assert log.totals()["wait"] == 2 * checks or places != (GPU, GPU, GPU)
        assert maps.device == on_images and not log.upload
        torch.testing.assert_close(maps.cpu(), expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(single.cpu(), expected[:1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("targets", [2, "cat", [2, 2], torch.tensor(2, device="cpu"), np.array([2, 2]), None])
def test_targets_of_any_kind_on_a_gpu(targets):
    model, images = small_net().float(), MANY[:2]
    expected = saliency(model, images, targets)
    with pretend_gpu():
        on_gpu = targets.to(GPU) if isinstance(targets, torch.Tensor) else targets
        torch.testing.assert_close(saliency(model.to(GPU), images.to(GPU), on_gpu).cpu(), expected, rtol=0, atol=1e-5)


def test_targets_on_a_gpu_have_the_right_shape_and_type_though_nobody_looks_at_them():
    with pretend_gpu():
        for wrong in (torch.tensor([1.0, 2.0]), torch.tensor([True, False]), torch.tensor([1, 2, 3])):
            with pytest.raises(ValueError, match=r"expected targets as one class number, or \(2,\), in int64, got"):
                saliency(small_net().float().to(GPU), MANY[:2].to(GPU), wrong.to(GPU))


def test_the_region_of_a_map_on_a_gpu_is_found_there_without_waiting():
    with pretend_gpu(has_float64=False) as log:
        maps = MANY[:, :1].to(GPU)
        weights = region_weights(maps)
        assert weights.device == GPU and not log.wait
        assert torch.equal(weights.cpu(), region_weights(MANY[:, :1]))
