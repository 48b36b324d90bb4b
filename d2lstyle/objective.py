"""What style transfer minimises: the losses of an image, and the targets they compare it to."""

import torch
import torch.nn.functional as F

from .engine.gram_error import gram_loss
from .engine.prepare import prepared
from .images import resize, scaled_size
from .losses import content_loss, gram, kept_count, style_layer_loss, top_channels, total_variation

TV_CONVENTION = {"relative": "d2l", "gatys": "lecture", "d2l": "d2l", "cs231n": "cs231n"}


class Objective:
    """The losses of an image at one size, with the targets they compare it to."""

    def __init__(
        self,
        *,
        net,
        content,
        styles,
        masks,
        proportions,
        mix,
        style_scale,
        style_channels,
        weights,
        content_layers,
        style_layers,
        layer_weights,
        convention,
        dtype,
    ):
        self.net, self.content, self.styles, self.masks = prepared(net, dtype), content, styles, masks
        self.proportions, self.mix, self.style_channels = proportions, mix, style_channels
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
        means = self._mean_grams(round(max(size) * self.style_scale))
        # A Gram is a sum over positions: the mean of the style's, times as many positions as the image has.
        self.style_targets = {layer: self.n_positions[layer] * mean for layer, mean in means.items()}
        self.channels = dict.fromkeys(self.style_layers)
        if self.style_channels != 1:
            for layer, target in self.style_targets.items():
                kept = kept_count(self.style_channels, target.shape[1], "style_channels")
                chosen = self.channels[layer] = top_channels(target, kept / target.shape[1])
                self.style_targets[layer] = target.take_along_dim(chosen[:, :, None], 1).take_along_dim(
                    chosen[:, None], 2
                )

    def __call__(self, image):
        """{term: (B,)}; "total" is the one to minimise."""
        features = self._features(image)
        losses = {}
        for layer in self.content_layers:
            losses[f"content {layer}"] = content_loss(
                features[layer].to(image.dtype), self.content_targets[layer], self.convention
            )
        for layer in self.style_layers:
            compared = _chosen(features[layer], self.channels[layer])
            losses[f"style {layer}"] = gram_loss(compared, self.style_targets[layer], self.convention)
        content = sum(losses[f"content {layer}"] for layer in self.content_layers) / len(self.content_layers)
        style = sum(self.layer_weights[layer] * losses[f"style {layer}"] for layer in self.style_layers)
        tv = total_variation(image, TV_CONVENTION[self.convention])
        alpha, beta, gamma = self.weights
        total = alpha * content + beta * style + gamma * tv
        return {"total": total, "content": content, "style": style, "tv": tv, **losses}

    def _mean_grams(self, side):
        """{layer: (1 or B, C, C)}: the Gram of the mixed styles, `side` pixels at the longer side, by position."""
        # Features are added place by place, so they need one canvas; the first style's is as good as any.
        canvas = scaled_size(self.styles[0].shape[2:], side) if self.mix == "features" else side
        features = [self._features(resize(style.to(self.device), canvas)) for style in self.styles]
        return {
            layer: self._mixed([each[layer].to(self.net.mean.dtype) for each in features])
            for layer in self.style_layers
        }

    def _mixed(self, features):
        """The Gram of one layer's features of each style, mixed."""
        shares = self.proportions.to(self.device).T[..., None, None]  # (styles, 1 or B, 1, 1)
        weights = [_at_layer(mask, style) for mask, style in zip(self.masks, features)]
        if self.mix == "grams":
            grams = [gram(_as_many(style, w), w) / style[0, 0].numel() for style, w in zip(features, weights)]
            return sum(share * each for share, each in zip(shares, grams))
        # F diag(w) F^T is the plain Gram of F sqrt(w).
        rooted = [
            style if w is None else style * (w / w.mean(dim=(2, 3), keepdim=True)).sqrt()
            for style, w in zip(features, weights)
        ]
        return gram(sum(share[..., None] * each for share, each in zip(shares, rooted))) / features[0][0, 0].numel()

    def _features(self, image):
        return self.net(image, [*self.content_layers, *self.style_layers])


@torch.no_grad()
def style_distance(net, images, style, *, masks=None, style_layers=None):
    """How far the textures of images are from that of a style: 0 is the same, 1 as far as an empty image.

    Args:
        net: a `Backbone`.
        images: (B, 3, H, W) in [0, 1].
        style: (1, 3, h, w) or (B, 3, h, w) in [0, 1], of any size: Grams are compared by position.
        masks: (B, 1, H, W) weights of the images' positions, as in `stylize`; None for all alike. One image may have
            several.
        style_layers: layer names, or None for the network's own choice.
    Returns:
        (B,), the mean over layers of the style loss in the convention "relative".

    The style loss that `stylize` minimises by default, taken of finished images.
    """
    layers = net.style_layers if style_layers is None else style_layers
    features, targets = net(images, layers), net(style, layers)
    losses = []
    for layer in layers:
        weights = _at_layer(masks, features[layer])
        G, A = gram(_as_many(features[layer], weights), weights), gram(targets[layer])
        losses.append(
            style_layer_loss(G / features[layer][0, 0].numel(), A / targets[layer][0, 0].numel(), 1, "relative")
        )
    return torch.stack(losses).mean(dim=0)


def proportions(style_weights, n_styles, batch):
    """How much of each style, from what a caller gives: (1, styles), or (B, styles) where each content has its own.

    Each row adds up to one; None is equal parts. A ValueError says what else was expected.
    """
    try:
        weights = torch.as_tensor([1.0] * n_styles if style_weights is None else style_weights, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"expected style weights as numbers, one a style, got {style_weights!r}") from None
    if weights.ndim == 1 and len(weights) != n_styles:
        raise ValueError(f"expected a weight for each of {n_styles} styles, got {len(weights)}")
    if weights.shape not in {(n_styles,), (1, n_styles), (batch, n_styles)}:
        raise ValueError(f"expected style weights ({n_styles},) or ({batch}, {n_styles}), got {tuple(weights.shape)}")
    weights = weights.view(-1, n_styles)
    if not (weights >= 0).all() or not (weights.sum(1) > 0).all() or not weights.isfinite().all():
        raise ValueError(f"expected style weights, none negative and not all zero, got {weights.tolist()}")
    return (weights / weights.sum(1, keepdim=True)).float()


def _at_layer(mask, features):
    """A mask of the style image as weights of a layer's positions: the part of each position that it covers."""
    return None if mask is None else F.adaptive_avg_pool2d(mask.to(features), features.shape[2:])


def _as_many(features, weights):
    """One style's features under a mask for each image of a batch."""
    return features if weights is None or len(features) > 1 else features.expand(len(weights), -1, -1, -1)


def _chosen(features, channels):
    """The channels that are compared: all, the same of each image, or each image's own."""
    if channels is None:
        return features
    return features[:, channels[0]] if len(channels) == 1 else features.take_along_dim(channels[:, :, None, None], 1)
