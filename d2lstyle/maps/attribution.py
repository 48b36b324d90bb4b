"""Where a classifier looks: maps of the pixels that speak for a class, and regions made from such maps.

A classifier is a `Backbone`, or any module that gives class scores (B, classes) for images (B, C, H, W). A backbone
normalises its images itself; others are fed as they are. Captum computes the maps, on a copy in evaluation mode.
Images and targets may be on any devices: the classifier computes on its own, and maps come back to the images.
"""

import copy
from functools import partial

import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam, Occlusion, Saliency
from torch import nn

from ..backbones import Backbone
from ..engine import checks
from ..engine.devices import sent, typed
from ..engine.prepare import prepared
from ..losses import kept_count
from .rectifiers import guide_relus

AT_ONCE = 8  # images a pass, where all activations are kept for the way back


class Scorer(nn.Module):
    """A private copy of a classifier, in evaluation mode, that shares its parameters: images -> scores (B, classes).

    `fast`: no gradient will be asked for, so that a backbone can be prepared for many passes.
    """

    def __init__(self, net, fast=False):
        super().__init__()
        if not isinstance(net, nn.Module):
            raise TypeError(f"expected a classifier as a torch.nn.Module, got {type(net).__name__}")
        shared = {id(parameter): parameter for parameter in net.parameters()}
        self.is_backbone = isinstance(net, Backbone)
        self.model = prepared(net) if fast and self.is_backbone else copy.deepcopy(net, shared)
        self.eval()

    def forward(self, images):
        read = self.model.logits if self.is_backbone else self.model
        scores = read(images.clone())  # a network may begin by writing into its input
        if not isinstance(scores, torch.Tensor) or scores.ndim != 2:
            got = tuple(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
            raise ValueError(f"expected a classifier that gives scores (B, classes), got {got}")
        return scores

    @torch.no_grad()
    def inputs(self, images, targets):
        """A user's images, and targets as class numbers (B,), checked and where the classifier is."""
        checks.batch(images, channels=None)
        if images.is_cpu and not images.isfinite().all():
            raise ValueError("expected finite float images, got NaN or infinite values")
        images = sent(images, next(filter(torch.is_floating_point, [*self.parameters(), *self.buffers()]), images))
        if targets is None:
            return images, torch.cat([self(chunk).argmax(1) for chunk in images.split(AT_ONCE)])
        return images, sent(self._numbers(images, targets), images, torch.int64)

    def _numbers(self, images, targets):
        if isinstance(targets, torch.Tensor) and not targets.is_cpu and not images.is_cpu:  # its values stay unseen
            if targets.dtype != torch.int64 or targets.shape not in ((), images.shape[:1]):
                got = f"{tuple(targets.shape)} {targets.dtype}"
                raise ValueError(f"expected targets as one class number, or ({len(images)},), in int64, got {got}")
            return targets.expand(len(images))
        targets = targets.tolist() if hasattr(targets, "tolist") else targets
        if isinstance(targets, str) or not hasattr(targets, "__len__"):
            targets = [targets] * len(images)
        if len(targets) != len(images):
            raise ValueError(f"expected one target, or one for each of {len(images)} images, got {len(targets)}")
        n_classes = self(images[:1]).shape[1]
        return torch.tensor([self._number(target, n_classes) for target in targets], device="cpu")

    def _number(self, target, n_classes):
        if not isinstance(target, str):
            return checks.whole("targets, unless names,", target, 0, n_classes - 1)
        known = list(getattr(self.model, "classes", [])) or ["only numbers, as the model has no `classes`"]
        return known.index(checks.choice("class", target, known))

    def filled(self, images, fill):
        """Pictures like `images` of `fill`, a number or (C, 1, 1); None is what the network subtracts, or 0."""
        nothing = dict(self.model.named_buffers()).get("mean", 0)
        return sent(checks.tensor(nothing if fill is None else fill), images).expand_as(images)


@torch.inference_mode(False)  # a caller in that mode has no gradient in mind, this needs one
def saliency(net, images, targets=None, *, scaled=True):
    """How strongly each pixel moves the score of a class: the largest absolute gradient over its channels.

    Args:
        net: a classifier; see above.
        images: (B, C, H, W), in [0, 1] for a `Backbone`.
        targets: class of each image, or one for all: numbers, or names out of `net.classes`; None for the class with
            the highest score. Numbers on a GPU, whose values are not looked at, are int64.
        scaled: whether each map is divided by its largest value; else it is in units of score by unit of pixel value.
    Returns:
        (B, 1, H, W) where the images are, in [0, 1] if scaled.
    Raises:
        TypeError, ValueError: net is no classifier of such images, or a target is out of range.

    Shinde, section 3.2; Simonyan et al. 2014, "Deep Inside Convolutional Networks", section 3. The score is the logit.
    """
    scorer = Scorer(net)
    return sent(_gradients(scorer, *scorer.inputs(images, targets), scaled), images)


@torch.inference_mode(False)
def guided_backprop(net, images, targets=None, *, scaled=True):
    """As `saliency`, but each ReLU on the way back lets only positive gradients through.

    Its maps are sharp, but show edges more than reasons: see `cascading_randomization`.

    Args:
        net: a classifier whose ReLUs (ReLU or ReLU6) are modules, as others cannot be reached.
        images, targets, scaled: as for `saliency`.
    Returns:
        (B, 1, H, W) where the images are, the largest absolute value over channels; in [0, 1] if scaled.
    Raises:
        TypeError, ValueError: as for `saliency`; or there is no ReLU, or a layer calls its ReLU as a function, where
            the result would silently be the plain gradient.

    Shinde, section 3.2; Springenberg et al. 2015, "Striving for Simplicity", section 3.4.
    """
    scorer = Scorer(net)
    inputs, targets = scorer.inputs(images, targets)
    guide_relus(scorer.model, lambda: scorer(inputs[:1]))
    return sent(_gradients(scorer, inputs, targets, scaled), images)


@torch.inference_mode(False)
def grad_cam(net, images, targets=None, *, scaled=True):
    """Where the last feature map speaks for a class: its channels, weighted by their mean gradients, summed; ReLU.

    With A the channels and S the score, ReLU(sum_k mean(dS/dA_k) A_k), resampled bilinearly from the grid of A to the
    images: for EfficientNet-Lite0 a thirty-second of their sides, so its finest detail is 32 pixels wide.

    Args:
        net: a convolutional classifier. The last feature map is what the last layer gives, poolings aside, that has
            more than one position: most often what is averaged for the head, after its ReLU.
        images, targets, scaled: as for `saliency`.
    Returns:
        (B, 1, H, W) where the images are, not negative; in [0, 1] if scaled.
    Raises:
        TypeError, ValueError: as for `saliency`; or no layer gives a feature map of more than one position.

    Selvaraju et al. 2017, "Grad-CAM", section 3, equations 1 and 2.
    """
    scorer = Scorer(net)
    inputs, targets = scorer.inputs(images, targets)
    method = LayerGradCam(partial(_class_scores, scorer), _last_map(scorer, inputs[:1]))
    maps = _in_chunks(method, inputs, targets).clamp(min=0)
    maps = sent(F.interpolate(maps, images.shape[2:], mode="bilinear", align_corners=False), images)
    return _scaled(maps) if scaled else maps


def occlusion(
    net, images, targets=None, *, window=32, stride=16, fill=None, score="logit", at_once=18, scaled=True, callback=None
):
    """How much the score of a class falls when a patch covers a pixel, on average over the patches that do.

    Args:
        net, images, targets: as for `saliency`.
        window: pixels of the patch's side, or (height, width).
        stride: pixels from one patch to the next, at most the window's.
        fill: value of the patch, a number or (C, 1, 1) on any device; None for what the network takes for nothing: the
            mean colour of a backbone or of what `replace_head` made from one, 0 for others.
        score: "logit", or "probability", which also falls when another class gains.
        at_once: how many covered images share a pass; more need more memory, and at 224 pixels they are slower.
        scaled: whether each map is divided by its largest value, and pixels that speak against the class are 0; else
            the map is the fall of the score, of either sign.
        callback: called with (done, total) passes of one image, such as `progress.count_bar` makes.
    Returns:
        (B, 1, H, W) where the images are, in [0, 1] if scaled.
    Raises:
        TypeError, ValueError: as for `saliency`; or the window is larger than the image, or the stride than the window.

    Shinde, section 3.2; Zeiler and Fergus 2014, section 4.2, who covered with grey too, and watched the probability.
    """
    scorer = Scorer(net, fast=True)
    inputs, targets = scorer.inputs(images, targets)
    fill = scorer.filled(inputs, fill)
    checks.choice("score", score, ["logit", "probability"])
    checks.whole("at_once", at_once, 1)
    *windows, n_places = _windows(images.shape, window, stride)
    done, total = 0, len(images) * (n_places + 1)

    def read(covered, classes):
        nonlocal done
        scores, done = scorer(covered), done + len(covered)
        if callback:
            callback(done, total)
        return _of_classes(scores if score == "logit" else scores.softmax(1), classes)

    method, patches = Occlusion(read), max(1, at_once // len(images))
    chunks = zip(*(values.split(at_once) for values in (inputs, fill, targets)))
    with torch.no_grad(), typed(inputs.dtype):
        maps = [method.attribute(x, *windows, nothing, None, classes, patches) for x, nothing, classes in chunks]
    maps = sent(torch.cat(maps)[:, :1], images)
    return _scaled(maps.clamp(min=0)) if scaled else maps


def region_weights(maps, keep=0.25):
    """The most important positions of a map as weights, for `gram` and for the `style_masks` of `stylize`.

    Args:
        maps: (B, 1, H, W), larger for what matters more; on a GPU their values are not checked.
        keep: part of the positions to keep, above 0 and at most 1; or how many, from 2 on.
    Returns:
        (B, 1, H, W) where the maps are, 1 for what is kept and 0 elsewhere; of equal values the upper left are kept.
    Raises:
        ValueError: not such maps, keep is out of range, or a map says nothing, being the same everywhere.

    Shinde, section 3.2: "important pixels" of the style image.

    >>> region_weights(torch.tensor([[[[0.1, 0.9], [0.8, 0.2]]]]), keep=0.5)
    tensor([[[[0., 1.],
              [1., 0.]]]])
    """
    fits = isinstance(maps, torch.Tensor) and maps.ndim == 4 and maps.shape[1] == 1
    if not fits or maps.is_cpu and not maps.isfinite().all():
        got = tuple(getattr(maps, "shape", ())) or type(maps).__name__
        raise ValueError(f"expected finite maps (B, 1, H, W), got {got}")
    flat = maps.detach().float().flatten(1)
    kept = kept_count(keep, flat.shape[1])
    if flat.is_cpu and kept < flat.shape[1] and (flat.amin(1) == flat.amax(1)).any():
        raise ValueError("expected maps that tell positions apart, got one with the same value everywhere")
    best = flat.argsort(dim=1, descending=True, stable=True)[:, :kept]
    return torch.zeros_like(flat).scatter_(1, best, 1).view(maps.shape)


def _gradients(scorer, images, targets, scaled):
    maps = _in_chunks(Saliency(partial(_class_scores, scorer)), images, targets).amax(dim=1, keepdim=True)
    return _scaled(maps) if scaled else maps


def _in_chunks(method, images, targets):
    """What a method of Captum gives for all images, some at a time."""
    chunks = zip(images.detach().split(AT_ONCE), targets.split(AT_ONCE))
    return torch.cat(
        [method.attribute(x.clone().requires_grad_(), additional_forward_args=(classes,)) for x, classes in chunks]
    ).detach()


@torch.no_grad()
def _last_map(scorer, image):
    """The layer that is done last of those, poolings aside, that give features of more than one position."""
    layers, hooks = [], []

    def look(layer, inputs, output):
        is_map = isinstance(output, torch.Tensor) and output.ndim == 4 and output.shape[2:].numel() > 1
        if is_map and "Pool" not in type(layer).__name__:
            layers.append(layer)

    for layer in scorer.modules():
        hooks.append(layer.register_forward_hook(look))
    scorer(image)
    for hook in hooks:
        hook.remove()
    if not layers:
        size = " x ".join(map(str, image.shape[2:]))
        raise ValueError(f"expected a network with a feature map of more than one position, got none at {size} pixels")
    return layers[-1]


def _class_scores(scorer, images, classes):
    return _of_classes(scorer(images), classes)


def _of_classes(scores, classes):
    """(B,) scores; Captum itself would look up a single image's class, for which a GPU would have to be waited for."""
    return scores.gather(1, classes[:, None]).squeeze(1)


def _scaled(maps):
    """Each map over its largest value; a map of zeros stays one."""
    largest = maps.amax(dim=(1, 2, 3), keepdim=True)
    return torch.where(largest > 0, maps / largest, 0)


def _windows(shape, window, stride):
    """Captum's window and stride, over all channels, and at how many places it will put the window."""
    channels, height, width = shape[1:]
    pairs = [checks.pixels("window", window), checks.pixels("stride", stride)]
    (high, wide), (down, right) = ([*pair, pair[-1]][:2] for pair in pairs)
    if high > height or wide > width:
        raise ValueError(f"expected a window inside the image of {height} x {width} pixels, got {high} x {wide}")
    if down > high or right > wide:
        limit = f"at most the window, {[high, wide]}, or pixels between go uncovered"
        raise ValueError(f"expected a stride of {limit}, got {[down, right]}")
    n_places = (1 - (high - height) // down) * (1 - (wide - width) // right)
    return (channels, high, wide), (channels, down, right), n_places
