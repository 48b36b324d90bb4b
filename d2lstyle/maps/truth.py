"""Is a map more than a picture? Checks of what `attribution` draws.

A map that explains a network must change when the network does (`cascading_randomization`), and the pixels it names
must matter more than others to the score (`deletion_curve`, `insertion_curve`).
"""

import copy
from typing import NamedTuple

import torch
from scipy.stats import spearmanr
from torch import nn
from torchvision.transforms.functional import gaussian_blur

from ..engine import checks
from ..engine.devices import seeded, sent
from .attribution import Scorer


class Curve(NamedTuple):
    """The probability of a class while pixels are taken away or given back; on the CPU."""

    parts: torch.Tensor  # (steps + 1,) part of the pixels changed so far, from 0 to 1
    probabilities: torch.Tensor  # (B, steps + 1)
    area: torch.Tensor  # (B,) under each curve, in [0, 1]


class Cascade(NamedTuple):
    """What is left of a map while the network forgets."""

    layers: list  # names of the lowest layer drawn anew so far, from the top down
    correlations: torch.Tensor  # (len(layers), B) rank correlations with the map of the trained network, on the CPU
    maps: torch.Tensor  # (len(layers), B, 1, H, W), where the images are


def rank_correlation(maps, others):
    """Spearman's rank correlation of each map with its partner: 1 where both rank the pixels alike, 0 where unrelated.

    Args:
        maps, others: (B, 1, H, W), on any devices.
    Returns:
        (B,) in [-1, 1], on the CPU; NaN where a map has the same value everywhere.
    Raises:
        ValueError: shapes differ.

    >>> ranks = torch.arange(4.).view(1, 1, 2, 2)
    >>> rank_correlation(ranks, -ranks)
    tensor([-1.])
    """
    if maps.shape != others.shape or maps.ndim != 4:
        got = f"{tuple(maps.shape)} and {tuple(others.shape)}"
        raise ValueError(f"expected two batches of maps (B, 1, H, W), got {got}")
    pairs = zip(maps.flatten(1).cpu().numpy(), others.flatten(1).cpu().numpy())
    values = [float(spearmanr(a, b).statistic) if a.std() and b.std() else torch.nan for a, b in pairs]
    return torch.tensor(values, dtype=torch.float32, device="cpu")


def cascading_randomization(method, net, images, targets, *, every=1, seed=0, callback=None):
    """How much of a map is left while the network forgets what it learned, layer by layer from the top.

    Each convolution or linear layer, with the normalisation behind it, is drawn anew as torch initialises it, the
    classifier first; lower layers keep what they learned until it is their turn. A gradient loses its rank correlation
    as soon as the classifier goes. Guided backprop keeps much of it while only upper layers are random, and loses it
    below: it is not "completely invariant", as a first version of the paper had it.

    Args:
        method: `saliency`, `guided_backprop`, or any function of (net, images, targets) that gives maps.
        net: a classifier; it is not changed.
        images, targets: as for `saliency`.
        every: how many layers are drawn anew between two maps.
        seed: of the random weights.
        callback: called with (done, total) maps.
    Returns:
        Cascade; its last entry is that of the network with nothing learned left.
    Raises:
        ValueError: the network has no such layers, or every is not positive.

    Adebayo et al. 2018, "Sanity Checks for Saliency Maps", section 3.1, and its erratum of 2020.
    """
    checks.whole("every", every, 1)
    _, targets = Scorer(net, fast=True).inputs(images, targets)  # the top class changes with the weights
    trained, net = method(net, images, targets), copy.deepcopy(net)
    layers, names, maps = _layers_from_the_top(net), [], []
    with seeded(seed):
        for count, (name, modules) in enumerate(layers, start=1):
            for module in modules:
                module.reset_parameters()
            if count % every == 0 or count == len(layers):
                names.append(name)
                maps.append(method(net, images, targets))
                if callback:
                    callback(len(maps), -(-len(layers) // every))
    return Cascade(names, torch.stack([rank_correlation(random, trained) for random in maps]), torch.stack(maps))


def deletion_curve(net, images, targets, maps, *, steps=32, fill=None, at_once=18):
    """How fast a class is lost when the pixels that a map ranks highest go first: a good map has a small area.

    Args:
        net, images, targets: as for `saliency`.
        maps: (B, 1, H, W) or (1, 1, H, W), on any device.
        steps: how many parts of the pixels go, one after another.
        fill: what takes the place of a pixel, a number or (C, 1, 1); None for what the network takes for nothing.
        at_once: how many changed images share a pass; more need more memory.
    Returns:
        Curve; at 0 is the image itself, at 1 nothing of it.
    Raises:
        TypeError, ValueError: as for `saliency`; or maps do not fit the images.

    Petsiuk et al. 2018, "RISE", section 4.2. Among pixels of equal rank, the upper left go first.
    """
    scorer = Scorer(net, fast=True)
    images, targets = scorer.inputs(images, targets)
    return _curve(scorer, images, scorer.filled(images, fill), targets, maps, steps, at_once)


def insertion_curve(net, images, targets, maps, *, steps=32, blur=0.08, at_once=18):
    """How fast a class is found when a blurred image gets its pixels back, best first: a good map has a large area.

    Args:
        net, images, targets, maps, steps, at_once: as for `deletion_curve`.
        blur: standard deviation of the Gaussian, as a part of the longer side, at least 0.001. Pixels inserted into a
            blur make no new edges, as they would on a plain ground.
    Returns:
        Curve; at 0 is the blurred image, at 1 the image itself.
    Raises:
        TypeError, ValueError: as for `deletion_curve`.

    Petsiuk et al. 2018, "RISE", section 4.2.
    """
    scorer = Scorer(net, fast=True)
    images, targets = scorer.inputs(images, targets)
    sigma = checks.number("blur", blur, 0.001) * max(images.shape[2:])
    reach = min(int(3 * sigma), min(images.shape[2:]) - 1)
    return _curve(scorer, gaussian_blur(images, 2 * reach + 1, sigma), images, targets, maps, steps, at_once)


@torch.no_grad()
def _curve(scorer, start, end, targets, maps, steps, at_once):
    """Probabilities on the way from one picture to another, the pixels that the maps rank highest changing first."""
    if maps.ndim != 4 or maps.shape[1:] != (1, *start.shape[2:]) or len(maps) not in (1, len(start)):
        expected = f"expected maps ({len(start)}, 1, {start.shape[2]}, {start.shape[3]})"
        raise ValueError(f"{expected}, got {tuple(maps.shape)}")
    parts = torch.linspace(0, 1, checks.whole("steps", steps, 1) + 1, dtype=torch.float32, device="cpu")
    ranks = maps.flatten(1).argsort(dim=1, descending=True, stable=True).argsort(dim=1).view(maps.shape)
    ranks = sent(ranks, start, ranks.dtype).expand(len(start), -1, -1, -1)
    limits = sent(parts * ranks[0].numel(), start, parts.dtype)
    probabilities = limits.new_empty(len(start), steps + 1)
    places = torch.cartesian_prod(*(torch.arange(count, device=start.device) for count in probabilities.shape))
    for image, step in (rows.T for rows in places.split(checks.whole("at_once", at_once, 1))):
        changed = ranks[image] < limits[step].view(-1, 1, 1, 1)
        scores = scorer(torch.where(changed, end[image], start[image]))
        classes = targets[image].unsqueeze(1)
        probabilities[image, step] = scores.float().softmax(1).gather(1, classes).squeeze(1)
    probabilities = probabilities.cpu()  # a GPU is waited for once
    return Curve(parts, probabilities, torch.trapezoid(probabilities, parts))


def _layers_from_the_top(net):
    """[(name, modules)]: each convolution or linear layer with the normalisations behind it, the classifier first."""
    layers = []
    for name, module in net.named_modules():
        if hasattr(module, "reset_parameters"):
            if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Linear)) or not layers:
                layers.append((name.removeprefix("model."), []))
            layers[-1][1].append(module)
    if not layers:
        raise ValueError(f"expected a network with layers that can be drawn anew, got {type(net).__name__}")
    return layers[::-1]
