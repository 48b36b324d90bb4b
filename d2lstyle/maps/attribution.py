"""Where a classifier looks: maps of the pixels that speak for a class, and regions made from such maps.

A classifier is a `Backbone`, or any module that gives class scores (B, classes) for images (B, C, H, W): of torchvision, of
timm, or fine-tuned. A backbone normalises its images itself; others are fed as they are. Captum computes the maps, on a
copy in evaluation mode: the model itself is not touched.
"""

import copy
import math
import warnings
from operator import index

import torch
from captum.attr import GuidedBackprop, Occlusion, Saliency
from torch import nn

from ..backbones import Backbone
from ..engine.checks import unknown_name
from ..engine.prepare import prepared
from ..losses import kept_count
from .rectifiers import with_hookable_relus

MOST_IMAGES = 64  # a pass; more are no faster
MIB = 2**20
GRADIENT_MEMORY = 1024  # MiB of activations that a pass may keep for its way back


class Scorer(nn.Module):
    """A private copy of a classifier, in evaluation mode: images -> class scores (B, classes).

    Args:
        net: a `Backbone` or another classifier; parameters are shared with it, all else is copied.
        fast: whether no gradient will be asked for, so that a backbone can be prepared for many passes.
    Attributes:
        classes: names of the classes, empty where they are not known.
    """

    def __init__(self, net, fast=False):
        super().__init__()
        if not isinstance(net, nn.Module):
            raise TypeError(f"expected a classifier as a torch.nn.Module, got {type(net).__name__}")
        is_backbone = isinstance(net, Backbone)
        shared = {id(parameter): parameter for parameter in net.parameters()}
        self.model = prepared(net) if fast and is_backbone else copy.deepcopy(net, shared)
        self.eval()
        self.classes = list(getattr(net, "classes", []))
        mean = getattr(net, "mean", None)
        self._zero = mean if isinstance(mean, torch.Tensor) else torch.zeros(1)
        self._score = self.model.logits if is_backbone else self.model

    def forward(self, images):
        scores = self._score(images.clone())  # a network may begin by writing into its input
        if not isinstance(scores, torch.Tensor) or scores.ndim != 2:
            found = tuple(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
            raise ValueError(f"expected a classifier that gives scores (B, classes), got {found}")
        return scores

    def filled(self, images, fill):
        """`fill`, a number or (C, 1, 1), as pictures like `images`; None is the colour that the network subtracts, or 0."""
        return torch.as_tensor(self._zero if fill is None else fill).to(images).expand_as(images)

    def prepare(self, images, targets):
        """Check both on a first pass: (targets (B,), bytes of the largest activation of an image, bytes of all of them)."""
        check_batch(images)
        sizes = []

        def measure(module, inputs, output):
            if isinstance(output, torch.Tensor):
                sizes.append(output.numel() * output.element_size())

        leaves = [module for module in self.model.modules() if not any(True for _ in module.children())]
        hooks = [leaf.register_forward_hook(measure) for leaf in leaves]
        with torch.no_grad():
            scores = self(images[:1])
            for hook in hooks:
                hook.remove()
            if targets is None:
                targets = torch.cat([self(part).argmax(1) for part in images.split(MOST_IMAGES)])
        sizes.append(images[0].numel() * images.element_size())
        # A pass holds a layer's input and output, a copy in another memory format, and the images
        return self._targets(targets, images, scores.shape[1]), 3 * max(sizes), sum(sizes)

    def _targets(self, targets, images, n_classes):
        """Numbers or names, one or one an image -> (B,) numbers."""
        single = isinstance(targets, str) or not hasattr(targets, "__len__") or getattr(targets, "ndim", 1) == 0
        numbers = [self._number(target, n_classes) for target in ([targets] if single else targets)]
        if single:
            numbers *= len(images)
        if len(numbers) != len(images):
            raise ValueError(f"expected one target, or one for each of {len(images)} images, got {len(numbers)}")
        return torch.tensor(numbers, device=images.device)

    def _number(self, target, n_classes):
        if isinstance(target, str):
            if target not in self.classes:
                raise unknown_name("class", target, self.classes or ["only numbers, as the model has no `classes`"])
            return self.classes.index(target)
        try:
            if isinstance(target, bool) or getattr(target, "dtype", None) == torch.bool:
                raise TypeError
            number = index(target)
        except TypeError:
            raise ValueError(f"expected targets as class numbers or names, got {target!r}") from None
        if not 0 <= number < n_classes:
            raise ValueError(f"expected targets from 0 to {n_classes - 1}, got {number}")
        return number


def check_batch(images):
    """Raise TypeError or ValueError unless `images` is a finite float tensor (B, C, H, W)."""
    if not isinstance(images, torch.Tensor):
        raise TypeError(f"expected images as a tensor (B, C, H, W), got {type(images).__name__}: see read_image")
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"expected images of shape (B, C, H, W), got {tuple(images.shape)}")
    if not images.is_floating_point() or not images.isfinite().all():
        raise ValueError(f"expected finite float images, got {images.dtype}")


@torch.inference_mode(False)  # a caller in that mode has no gradient in mind, this needs one
def saliency(net, images, targets=None, *, scaled=True):
    """How strongly each pixel moves the score of a class: the largest absolute gradient over its channels.

    Args:
        net: a classifier; see above.
        images: (B, C, H, W), in [0, 1] for a `Backbone`.
        targets: class of each image, or one for all: numbers, or names out of `net.classes`; None for the class with the
            highest score.
        scaled: whether each map is divided by its largest value; else it is in units of score by unit of pixel value.
    Returns:
        (B, 1, H, W), in [0, 1] if scaled.
    Raises:
        TypeError, ValueError: net is no classifier of such images, or a target is out of range.

    Shinde, section 3.2; Simonyan et al. 2014, "Deep Inside Convolutional Networks", section 3. The score is the logit.
    """
    return _gradient_map(Saliency, Scorer(net), images, targets, scaled)


@torch.inference_mode(False)
def guided_backprop(net, images, targets=None, *, scaled=True):
    """As `saliency`, but each ReLU on the way back lets only positive gradients through.

    Its maps are sharp, but show edges more than reasons: see `cascading_randomization`.

    Args:
        net: a classifier whose ReLUs (ReLU or ReLU6) are modules, as a hook needs them.
        images, targets, scaled: as for `saliency`.
    Returns:
        (B, 1, H, W), the largest absolute value over channels; in [0, 1] if scaled.
    Raises:
        TypeError, ValueError: as for `saliency`; or a layer calls its ReLU as a function, where the result would silently
            be the plain gradient; or there is no ReLU.

    Shinde, section 3.2; Springenberg et al. 2015, "Striving for Simplicity", section 3.4.
    """
    scorer = Scorer(net)
    check_batch(images)
    with_hookable_relus(scorer.model, lambda: scorer(images[:1]))
    return _gradient_map(GuidedBackprop, scorer, images, targets, scaled)


def occlusion(
    net, images, targets=None, *, window=32, stride=16, fill=None, score="logit", memory=256, scaled=True, callback=None
):
    """How much the score of a class falls when a patch covers a pixel, on average over the patches that do.

    Args:
        net: a classifier; see above.
        images, targets: as for `saliency`.
        window: pixels of the patch's side, or (height, width).
        stride: pixels from one patch to the next, at most the window's.
        fill: value of the patch, a number or (C, 1, 1); None for what the network takes for nothing: the mean colour of a
            backbone or of what `replace_head` made from one, 0 for others.
        score: "logit", or "probability", which also falls when another class gains.
        memory: MiB that activations may take at a time; it sets how many patches share a pass.
        scaled: whether each map is divided by its largest value, and pixels that speak against the class are 0; else the
            map is the fall of the score, of either sign.
        callback: called with (done, total) passes of one image, such as `progress.count_bar` makes.
    Returns:
        (B, 1, H, W), in [0, 1] if scaled.
    Raises:
        TypeError, ValueError: as for `saliency`; or the window is larger than the image, or the stride than the window.

    Shinde, section 3.2; Zeiler and Fergus 2014, section 4.2, who covered with grey too, and watched the probability.
    """
    scorer = Scorer(net, fast=True)
    targets, at_once, _ = scorer.prepare(images, targets)
    if score not in ("logit", "probability"):
        raise unknown_name("score", score, ["logit", "probability"])
    windows, strides, n_places = _checked_windows(images.shape, window, stride)
    fill = scorer.filled(images, fill)
    together = max(1, min(MOST_IMAGES, int(memory * MIB / at_once)))
    read = scorer if score == "logit" else lambda pictures: scorer(pictures).softmax(1)
    watched = _watched(read, len(images) * (n_places + 1), callback)
    maps = []
    with torch.no_grad():
        for part in torch.arange(len(images)).split(together):
            covered = Occlusion(watched).attribute(
                images[part],
                windows,
                strides,
                fill[part],
                targets[part.to(targets.device)],
                perturbations_per_eval=max(1, together // len(part)),
            )
            maps.append(covered[:, :1])
    maps = torch.cat(maps)
    return _scaled(maps.clamp(min=0)) if scaled else maps


def region_weights(maps, keep=0.25):
    """The most important positions of a map as weights, for `gram` and for the `style_masks` of `stylize`.

    Args:
        maps: (B, 1, H, W), larger for what matters more.
        keep: part of the positions to keep, above 0 and at most 1; or how many, from 2 on.
    Returns:
        (B, 1, H, W), 1 for positions that are kept and 0 elsewhere; of equal values the upper left ones are kept.
    Raises:
        ValueError: not such maps, keep is out of range, or a map says nothing, being the same everywhere.

    Shinde, section 3.2: "important pixels" of the style image.

    >>> region_weights(torch.tensor([[[[0.1, 0.9], [0.8, 0.2]]]]), keep=0.5)
    tensor([[[[0., 1.],
              [1., 0.]]]])
    """
    if not isinstance(maps, torch.Tensor) or maps.ndim != 4 or maps.shape[1] != 1 or not maps.isfinite().all():
        raise ValueError(
            f"expected finite maps (B, 1, H, W), got {tuple(getattr(maps, 'shape', ())) or type(maps).__name__}"
        )
    flat = maps.detach().float().flatten(1)
    kept = kept_count(keep, flat.shape[1])
    if kept < flat.shape[1] and (flat.amin(1) == flat.amax(1)).any():
        raise ValueError("expected maps that tell positions apart, got one with the same value everywhere")
    best = flat.argsort(dim=1, descending=True, stable=True)[:, :kept]
    return torch.zeros_like(flat).scatter_(1, best, 1).view(maps.shape)


def _gradient_map(method, scorer, images, targets, scaled):
    targets, _, all_layers = scorer.prepare(images, targets)
    together = max(1, int(GRADIENT_MEMORY * MIB / all_layers))
    maps = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting backward hooks")
        for part, classes in zip(images.split(together), targets.split(together)):
            gradient = method(scorer).attribute(part.detach().clone().requires_grad_(), classes)
            maps.append(gradient.detach().abs().amax(dim=1, keepdim=True))
    maps = torch.cat(maps)
    return _scaled(maps) if scaled else maps


def _scaled(maps):
    """Each map over its largest value; a map of zeros stays one."""
    largest = maps.amax(dim=(1, 2, 3), keepdim=True)
    return torch.where(largest > 0, maps / largest, 0)


def _checked_windows(shape, window, stride):
    """Captum's window and stride, over all channels, and at how many places it will put the window."""
    channels, *sides = shape[1:]
    windows, strides = ([value] * 2 if not hasattr(value, "__len__") else list(value) for value in (window, stride))
    for name, pair in (("window", windows), ("stride", strides)):
        if len(pair) != 2 or not all(isinstance(side, int) and side > 0 for side in pair):
            raise ValueError(f"expected {name} in pixels, a positive integer or (height, width), got {pair}")
    if windows[0] > sides[0] or windows[1] > sides[1]:
        raise ValueError(
            f"expected a window inside the image of {sides[0]} x {sides[1]} pixels, got {windows[0]} x {windows[1]}"
        )
    if strides[0] > windows[0] or strides[1] > windows[1]:
        raise ValueError(
            f"expected a stride of at most the window, {windows}, or pixels between go uncovered, got {strides}"
        )
    n_places = math.prod(-(-(side - high) // step) + 1 for side, high, step in zip(sides, windows, strides))
    return (channels, *windows), (channels, *strides), n_places


def _watched(read, total, callback):
    """The function `read`, reporting how many images it has scored."""
    done = 0

    def score(images):
        nonlocal done
        scores = read(images)
        done += len(images)
        if callback:
            callback(done, total)
        return scores

    return score
