"""What style transfer minimises: the losses of an image, and the targets they compare it to."""

import time

import torch

from .images import resize
from .losses import content_loss, gram, gram_loss, total_variation
from .prepare import prepared

TV_CONVENTION = {"relative": "d2l", "gatys": "lecture", "d2l": "d2l", "cs231n": "cs231n"}
CALIBRATION_SIDE = 96  # pixels
WORTH = 0.9  # bf16 must take at most so much of the time of fp32: less is no gain for its rounding


class Objective:
    """The losses of an image at one size, with the targets they compare it to."""

    def __init__(self, *, net, content, styles, proportions, style_scale, weights, content_layers, style_layers,
                 layer_weights, convention, dtype):  # fmt: skip
        self.net, self.content, self.styles, self.proportions = prepared(net, dtype), content, styles, proportions
        self.style_scale, self.weights, self.convention = style_scale, weights, convention
        self.content_layers, self.style_layers = content_layers, style_layers
        self.layer_weights = layer_weights or {layer: 1 / len(style_layers) for layer in style_layers}
        if set(self.layer_weights) != set(style_layers):
            raise ValueError(f"expected layer_weights for {sorted(style_layers)}, got {sorted(self.layer_weights)}")
        self.device = net.mean.device

    @torch.no_grad()
    def set_size(self, size):
        """Take the targets anew for images of `size` (height, width)."""
        features = self._features(resize(self.content.to(self.device), size))
        self.content_targets = {layer: features[layer].to(self.net.mean.dtype) for layer in self.content_layers}
        self.n_positions = {layer: features[layer].shape[2:].numel() for layer in self.style_layers}
        style_side = round(max(size) * self.style_scale)
        grams = [self._mean_grams(resize(style.to(self.device), style_side)) for style in self.styles]
        # A Gram is a sum over positions: the mean of the style's, times as many positions as the image has.
        self.style_targets = {
            layer: self.n_positions[layer] * sum(part * each[layer] for part, each in zip(self.proportions, grams))
            for layer in self.style_layers
        }

    def __call__(self, image):
        """{term: (B,)}; "total" is the one to minimise."""
        features = self._features(image)
        losses = {}
        for layer in self.content_layers:
            losses[f"content {layer}"] = content_loss(
                features[layer].to(image.dtype), self.content_targets[layer], self.convention
            )
        for layer in self.style_layers:
            losses[f"style {layer}"] = gram_loss(features[layer], self.style_targets[layer], self.convention)
        content = sum(losses[f"content {layer}"] for layer in self.content_layers) / len(self.content_layers)
        style = sum(self.layer_weights[layer] * losses[f"style {layer}"] for layer in self.style_layers)
        tv = total_variation(image, TV_CONVENTION[self.convention])
        alpha, beta, gamma = self.weights
        total = alpha * content + beta * style + gamma * tv
        return {"total": total, "content": content, "style": style, "tv": tv, **losses}

    def _mean_grams(self, style):
        features = {layer: feature.to(style.dtype) for layer, feature in self._features(style).items()}
        return {layer: gram(features[layer]) / features[layer].shape[2:].numel() for layer in self.style_layers}

    def _features(self, image):
        return self.net(image, [*self.content_layers, *self.style_layers])


def runs_in_bf16(precision, net):
    """Whether the network's passes run in bf16: as told, or for "auto" where this hardware has it and is faster for it.

    The answer is measured once for a network, on a few small passes. On a CPU, networks with depthwise convolutions are
    not measured: bf16 gains them nothing.
    """
    if precision != "auto":
        return precision == "bf16"
    if not has_bf16(net, net.mean.device):
        return False
    if net.bf16_is_faster is None:
        single, half = (_seconds_a_pass(net, dtype) for dtype in (torch.float32, torch.bfloat16))
        net.bf16_is_faster = half < WORTH * single
    return net.bf16_is_faster


def has_bf16(net, device):
    """Whether the device computes in bf16, and on a CPU whether the network is one that could gain by it."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    depthwise = any(getattr(module, "groups", 1) > 1 for module in net.modules())
    return device.type == "cpu" and not depthwise and (has_amx() or _cpu_has("avx512_bf16"))


def has_amx():
    """Whether the CPU multiplies matrices of bf16 in one instruction, several times as fast as fp32."""
    return _cpu_has("amx_bf16")


def _cpu_has(capability):
    return bool(getattr(torch.cpu, "get_capabilities", dict)().get(capability))  # from torch 2.10 or so on


def _seconds_a_pass(net, dtype):
    """The fastest of three passes, there and back, after one to warm up."""
    net = prepared(net, dtype)
    image = torch.full((1, 3, CALIBRATION_SIDE, CALIBRATION_SIDE), 0.5, device=net.mean.device, requires_grad=True)
    durations = []
    for _ in range(4):
        began = time.perf_counter()
        features = net(image, net.content_layers)
        torch.autograd.grad(sum(feature.float().sum() for feature in features.values()), image)[0].sum().item()
        durations.append(time.perf_counter() - began)
    return min(durations[1:])
