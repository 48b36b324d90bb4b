"""The style target: the Grams of one style or of several, mixed, under masks, by channels (Shinde, 3.2 and 3.3)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .engine import checks
from .images import resize, scaled_size
from .losses import gram, kept_count, style_layer_loss, top_channels

MIXES = ("grams", "features")


@dataclass
class StyleMix:
    """The styles of a batch of contents and how they are mixed, as `stylize` describes its arguments; checks itself."""

    styles: list  # of (1 or B, 3, h, w), or one such tensor
    weights: torch.Tensor | None = None  # becomes the proportions, (1 or B, styles)
    masks: list | None = None  # of (1 or B, 1, h, w) or None, one a style
    mix: str = "grams"
    scale: float = 1.0
    channels: float = 1.0
    batch: int = 1

    def __post_init__(self):
        checks.choice("mix", self.mix, MIXES)
        if not 0 < self.scale < float("inf"):
            raise ValueError(f"expected style_scale above zero, got {self.scale}")
        self.styles, n_styles = _listed(self.styles), len(_listed(self.styles))
        if not self.styles:
            raise ValueError("expected at least one style image, got an empty list")
        for style in self.styles:
            checks.image(style, "style")
            checks.paired(style, "style", self.batch, "contents")
        self.styles = [style.detach().float() for style in self.styles]
        self.weights = proportions(self.weights, n_styles, self.batch)
        masks = [None] * n_styles if self.masks is None else _listed(self.masks)
        if len(masks) != n_styles:
            raise ValueError(f"expected a mask for each of {n_styles} styles, or None in its place, got {len(masks)}")
        self.masks = [_checked(mask, style, self.batch) for mask, style in zip(masks, self.styles)]

    @torch.no_grad()
    def targets(self, net, layers, side):
        """What images with a longer side of `side` pixels are compared to.

        Returns:
            {layer: ((1 or B, k, k), (1 or B, k))}: the Gram by position, and the channels it is of; None is all.
        """
        side = round(side * self.scale)
        # Features are added place by place, so they need one canvas; the first style's is as good as any.
        canvas = scaled_size(self.styles[0].shape[2:], side) if self.mix == "features" else side
        features = [net(resize(style.to(net.mean.device), canvas), layers) for style in self.styles]
        grams = {layer: self._mixed([of_style[layer].to(net.mean.dtype) for of_style in features]) for layer in layers}
        return {layer: self._most_active(G) for layer, G in grams.items()}

    def _mixed(self, features):
        """The Gram by position of one layer's features, (1 or B, C, h, w) of each style, mixed."""
        shares = self.weights.to(features[0].device).T[..., None, None]  # (styles, 1 or B, 1, 1)
        weights = [_at_layer(mask, style) for mask, style in zip(self.masks, features)]
        if self.mix == "grams":
            grams = [_mean_gram(style, positions) for style, positions in zip(features, weights)]
            return sum(share * G for share, G in zip(shares, grams))
        # F diag(w) F^T is the plain Gram of F sqrt(w).
        roots = [1 if w is None else (w / w.mean(dim=(2, 3), keepdim=True)).sqrt() for w in weights]
        return _mean_gram(sum(share[..., None] * (style * root) for share, style, root in zip(shares, features, roots)))

    def _most_active(self, G):
        """The Gram of the channels that are compared, and which they are."""
        if self.channels == 1:
            return G, None
        kept = top_channels(G, kept_count(self.channels, G.shape[1], "style_channels") / G.shape[1])
        return G.take_along_dim(kept[:, :, None], 1).take_along_dim(kept[:, None], 2), kept


def chosen(features, channels):
    """The channels that are compared: all, the same of each image, or each image's own."""
    if channels is None:
        return features
    return features[:, channels[0]] if len(channels) == 1 else features.take_along_dim(channels[:, :, None, None], 1)


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
        G = _mean_gram(features[layer], _at_layer(masks, features[layer]))
        losses.append(style_layer_loss(G, _mean_gram(targets[layer]), 1, "relative"))
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


def _listed(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _checked(mask, style, batch):
    if mask is None:
        return None
    shape = (1, *style.shape[2:])
    if not isinstance(mask, torch.Tensor) or tuple(mask.shape[1:]) != shape or len(mask) not in (1, batch):
        got = tuple(getattr(mask, "shape", ())) or type(mask).__name__
        raise ValueError(f"expected a style mask of its style's size, (1, {', '.join(map(str, shape))}), got {got}")
    if not (mask >= 0).all() or not mask.isfinite().all():
        raise ValueError("expected style masks of finite values, none negative")
    if not (mask.flatten(1) > 0).any(dim=1).all():
        raise ValueError("expected style masks that keep some position, got an empty one: it leaves no style")
    return mask.detach().float()


def _at_layer(mask, features):
    """A mask of the style image as weights of a layer's positions: the part of each position that it covers."""
    return None if mask is None else F.adaptive_avg_pool2d(mask.to(features), features.shape[2:])


def _mean_gram(features, weights=None):
    """The Gram by position, (B, C, C); one style's features serve several masks."""
    if weights is not None and len(features) == 1:
        features = features.expand(len(weights), -1, -1, -1)
    return gram(features, weights) / features[0, 0].numel()
