"""What style transfer minimises: the losses of an image, and the targets they compare it to."""

import torch

from .images import resize
from .losses import content_loss, gram, gram_loss, total_variation
from .prepare import prepared

TV_CONVENTION = {"relative": "d2l", "gatys": "lecture", "d2l": "d2l", "cs231n": "cs231n"}


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
    """Whether the network runs in bf16. Depthwise convolutions lose by it on a CPU, dense ones gain up to five times."""
    if precision != "auto":
        return precision == "bf16"
    device = net.mean.device.type
    if device == "cuda":
        return torch.cuda.get_device_capability(net.mean.device) >= (8, 0)
    depthwise = any(getattr(module, "groups", 1) > 1 for module in net.modules())
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # from torch 2.10 or so on
    return device == "cpu" and not depthwise and bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
