"""The style target: the Grams of one style or of several, mixed, under masks, by channels (Shinde, 3.2 and 3.3).

Masks choose what of a style is taken (`style_masks`), and what of the picture takes it (`content_mask`).
"""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from .engine import checks
from .engine.checks import proportions, scaled_size
from .engine.devices import sent
from .engine.gram_error import LazyGram, Selection, roots_of
from .engine.networks import MIN_SIDE
from .images import resize
from .losses import TINY, checked_weights, gram, kept_count, style_layer_loss, style_loss, top_channels

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
        checks.number("style_scale", self.scale, 0.01)
        self.styles = [checks.image(style, "style") for style in _listed(self.styles)]
        if not self.styles:
            raise ValueError("expected at least one style image, got an empty list")
        for style in self.styles:
            checks.paired(style, "style", self.batch, "contents")
        self.weights, n_styles = proportions(self.weights, len(self.styles), self.batch), len(self.styles)
        masks = [None] * n_styles if self.masks is None else _listed(self.masks)
        if len(masks) != n_styles:
            raise ValueError(f"expected a mask for each of {n_styles} styles, or None in its place, got {len(masks)}")
        wide = [style.expand(self.batch, -1, -1, -1) for style in self.styles]
        self.masks = [
            M if M is None else checked_weights(M, style, "style masks of their style's size").clone()
            for M, style in zip(masks, wide)
        ]

    @torch.no_grad()
    def targets(self, net, layers, side):
        """What images with a longer side of `side` pixels are compared to.

        Returns:
            {layer: ((1 or B, k, k), (1 or B, k))}: the Gram by position, and the channels it is of; None is all.
        """
        canvases = [style_size(style.shape[2:], round(side * self.scale)) for style in self.styles]
        if self.mix == "features":  # added place by place: they need one canvas, and the first is as good as any
            canvases = canvases[:1] * len(canvases)
        features = [net(resize(sent(style, net.mean), size), layers) for style, size in zip(self.styles, canvases)]
        grams = {layer: self._mixed([of_style[layer].to(net.mean.dtype) for of_style in features]) for layer in layers}
        return {layer: self._most_active(G) for layer, G in grams.items()}

    def _mixed(self, features):
        """The Gram by position of one layer's features, (1 or B, C, h, w) of each style, mixed."""
        shares = sent(self.weights, features[0]).T[..., None, None]  # (styles, 1 or B, 1, 1)
        if self.mix == "grams":
            return sum(share * _mean_gram(*style) for share, *style in zip(shares, features, self.masks))
        mixed = 0
        for share, style, mask in zip(shares, features, self.masks):
            style = style if mask is None else style * roots_of(_at_layer(mask, style))
            mixed = mixed + share[..., None] * style
        return _mean_gram(mixed)

    def _most_active(self, G):
        """The Gram of the channels that are compared, and which they are."""
        if self.channels == 1:
            return G, None
        kept = top_channels(G, kept_count(self.channels, G.shape[1], "style_channels") / G.shape[1])
        return G.take_along_dim(kept[:, :, None], 1).take_along_dim(kept[:, None], 2), kept


def style_size(shape, side):
    """(height, width) of a style of `shape` (h, w) with a longer side of `side` pixels, or of what networks need."""
    return scaled_size(shape, max(side, math.ceil(MIN_SIDE * max(shape) / min(shape))))


@dataclass
class Region:
    """A part of the picture and the style that it takes; without a mask it is the whole picture."""

    style: StyleMix
    mask: torch.Tensor | None = None  # (1 or B, 1, H, W) in [0, 1], of the content's size
    part: torch.Tensor | float = 1.0  # (1 or B,), of the picture's area: by that much its style loss counts
    share: torch.Tensor | float = 1.0  # (1 or B, 1, H, W), of what is painted at each position

    def set_size(self, net, features, side):
        """Take the targets anew for images whose style layers, {layer: (B, C, h, w)}, are as large as these."""
        targets = self.style.targets(net, list(features), side)
        self.n_positions = {layer: F.shape[2:].numel() for layer, F in features.items()}
        # A Gram is a sum over positions: the mean of the style's, times as many positions as the image has.
        self.targets = {layer: self.n_positions[layer] * mean for layer, (mean, _) in targets.items()}
        self.selections = {
            layer: Selection.of(channels, _at_layer(self.mask, features[layer]))
            for layer, (_, channels) in targets.items()
        }

    def loss(self, features, layer_weights, convention):
        """`style_loss` of the region's positions, (K, B), by its part of the picture."""
        grams = {layer: LazyGram(features[layer], selection) for layer, selection in self.selections.items()}
        return self.part * style_loss(grams, self.targets, self.n_positions, layer_weights, convention)


def regions_of(style, content_mask, content):
    """[Region] of a `StyleMix`, and the mask of all that is painted: of `stylize`'s content_mask, which is checked."""
    if content_mask is None:
        return [Region(style)], None
    masks, styles = checks.content_masks(content_mask, content, len(style.styles)), [style]
    if isinstance(content_mask, (list, tuple)):
        if style.mix != "grams" or (style.weights != style.weights[:, :1]).any():
            raise ValueError("one style a region leaves nothing to mix: leave out style_weights and mix")
        styles = [replace(style, styles=S, weights=None, masks=[M]) for S, M in zip(style.styles, style.masks)]
    total = sum(masks)
    union = total.clamp(max=1)
    scale = union.mean(dim=(1, 2, 3)) / total.mean(dim=(1, 2, 3))  # below one where masks overlap
    parts, shares = [mask.mean(dim=(1, 2, 3)) * scale for mask in masks], [mask / (total + TINY) for mask in masks]
    return list(map(Region, styles, masks, parts, shares)), union


def blended(painted, photo, mask):
    """What is painted where the mask is one, the photo where it is zero, both resized to what is painted."""
    if mask is None:
        return painted
    photo, mask = (sent(resize(image, tuple(painted.shape[2:])), painted) for image in (photo, mask))
    return photo.lerp(painted, mask)  # exact at either end


@torch.no_grad()
def style_distance(net, images, style, *, masks=None, style_layers=None):
    """How far the textures of images are from that of a style: 0 is the same, 1 as far as an empty image.

    Args:
        net: a `Backbone`.
        images: (B, 3, H, W) in [0, 1].
        style: (1, 3, h, w) or (B, 3, h, w) in [0, 1], of 32 x 32 pixels or more: Grams are by position.
        masks: (B, 1, H, W) weights of the images' positions, as in `stylize`; None for all alike. One image may have
            several.
        style_layers: layer names, or None for the network's own choice.
    Returns:
        (B,), on the network's device: the mean over layers of the style loss in the convention "relative".

    The style loss that `stylize` minimises by default, taken of finished images.
    """
    layers = net.style_layers if style_layers is None else style_layers
    features, targets = net(images, layers), net(style, layers)
    losses = [
        style_layer_loss(_mean_gram(features[layer], masks), _mean_gram(targets[layer]), 1, "relative")
        for layer in layers
    ]
    return torch.stack(losses).mean(dim=0)


def _listed(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _at_layer(mask, features):
    """A mask of the image as weights of a layer's positions: the part of each position that it covers."""
    if mask is None:
        return None
    return F.adaptive_avg_pool2d(sent(mask, features), features.shape[2:])


def _mean_gram(features, mask=None):
    """The Gram by position, (B, C, C); one image may have several masks."""
    n_positions = features[0, 0].numel()
    if mask is None:
        return gram(features) / n_positions
    features = features.expand(max(len(features), len(mask)), -1, -1, -1)
    return gram(features, _at_layer(mask, features)) / n_positions
