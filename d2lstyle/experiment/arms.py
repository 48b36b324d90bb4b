"""The arms of the experiment: what each way of training shows to the network, picture by picture.

An arm is a stream of images as long as the training, steps x batch. At each place stands one of the few photos or, with
probability p, a copy of it. All arms of a seed share photos, order, places of copies, first weights, random numbers of
the augmentation and the number of steps; they differ in the copies alone.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from ..augment import ColorJitter, Compose, RandomHorizontalFlip, RandomResizedCrop
from ..backbones import backbone
from ..engine import checks
from ..engine.devices import seeded, typed
from ..finetune import freeze, replace_head
from ..training import fit

KINDS = ("styled", "recoloured", "unpainted")  # of copies
MODELS = ("scratch", "fine-tuned")
NETWORK = "efficientnet_lite0"  # whose ImageNet weights are fine-tuned
WIDTHS = (32, 64, 128, 256)  # of the small network


class Arm(NamedTuple):
    """One way of training."""

    title: str
    copies: str | None = None  # what stands beside the photos: one of `KINDS`, "duplicates" of them, or nothing
    classical: bool = False  # whether crop, flip and colour jitter are applied to all
    p: float | None = None  # probability of a copy, or None for the plan's
    shuffled: bool = False  # whether the labels are dealt out anew, so that there is nothing to learn


ARMS = {
    "A": Arm("photos alone"),
    "B": Arm("classical", classical=True),
    "C": Arm("style", "styled"),
    "D": Arm("style, then classical", "styled", classical=True),
    "E": Arm("painted at strength zero", "unpainted"),
    "F": Arm("colours of the styles", "recoloured"),
    "G": Arm("colours, then classical", "recoloured", classical=True),
    "H": Arm("duplicates", "duplicates"),
}
SANITY = {
    "B, labels shuffled": Arm("must be at chance", classical=True, shuffled=True),
    "D, p = 0": Arm("must equal B bit for bit", "styled", classical=True, p=0.0),
}


class Copies(NamedTuple):
    """What a `Stream` draws from; all pictures are uint8."""

    photos: torch.Tensor  # (N, 3, H, W)
    labels: torch.Tensor  # (N,), int64
    of: dict  # {kind: (N, K, 3, H, W)}, K copies of each photo


class Stream:
    """The training images of one run in the order in which they were drawn; a data set for `fit`, for one epoch.

    Of `Copies`, the photos at positions (n,), as an `Arm` shows them: `length` images in all; p is the probability of a
    copy where the arm leaves it open; the seed decides the order, the places of the copies, and which copy it is.
    """

    def __init__(self, copies, positions, arm, *, p, length, seed):
        rng = np.random.default_rng(seed)
        places, which = rng.random(length), rng.random(length)
        shuffled = torch.from_numpy(rng.permutation(len(positions)))
        positions = checks.tensor(positions)
        n = len(positions) * (2 if arm.copies == "duplicates" else 1)  # of a list that may hold each photo twice
        rounds = [rng.permutation(n) for _ in range(-(-length // n))]  # one shuffle of all after another
        self.rows = torch.from_numpy(np.concatenate(rounds)[:length] % len(positions))
        self.labels = copies.labels[positions[shuffled] if arm.shuffled else positions][self.rows]
        beside = [copies.of[arm.copies][positions]] if arm.copies in KINDS else []
        self.pictures = torch.cat([copies.photos[positions, None], *beside], 1)  # (n, 1 + K, 3, H, W): photo, copies
        is_copy = places < (p if arm.p is None else arm.p) if beside else np.zeros(length, bool)
        self.numbers = torch.from_numpy(is_copy * (1 + (which * (self.pictures.shape[1] - 1)).astype(int)))

    def __len__(self):
        return len(self.rows)

    def batch(self, indices):
        """images (B, 3, H, W), float32 in [0, 1], and labels (B,)."""
        indices = checks.tensor(indices)
        return self.pictures[self.rows[indices], self.numbers[indices]].float() / 255, self.labels[indices]


def classical(size):
    """Lecture 15's augmentation as chapter 01 found it good: crop, flip and colour, resampled to `size` pixels."""
    return Compose([RandomResizedCrop(size, scale=(0.4, 1)), RandomHorizontalFlip(), ColorJitter(0.5, 0.5, 0.5, 0.1)])


def new_model(name, num_classes, seed, *, frozen=5):
    """A classifier before its training: images (B, 3, H, W) in [0, 1] -> scores (B, num_classes).

    "fine-tuned" is the embedded ImageNet network with a new, random head, its `frozen` lower stages held still;
    "scratch" four convolutions with batch normalisation, the first one with stride 2, of 0.39 M random weights.
    """
    if name == "fine-tuned":
        return freeze(replace_head(backbone(NETWORK, device="cpu"), num_classes, seed=seed), until=frozen)
    with seeded(seed), torch.device("cpu"), typed(torch.float32):
        layers = [nn.BatchNorm2d(3)]
        for stride, channels, width in zip((2, 1, 1, 1), (3, *WIDTHS), WIDTHS):
            convolution = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTHS[-1], num_classes)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def trained_model(plan, name, num_classes, data, *, seed=0, epochs=1, is_classical=True, callback=None):
    """`new_model`, trained on the CPU as the plan says."""
    which, model = MODELS.index(name), new_model(name, num_classes, seed, frozen=plan.frozen)
    augment = classical(plan.size) if is_classical else None
    options = {"lr": plan.lr[which], "head_multiplier": (1, 10)[which], "batch_size": plan.batch, "device": "cpu"}
    fit(model, data, epochs=epochs, augment=augment, seed=seed, callback=callback, **options)
    return model


class Colors(NamedTuple):
    """What is kept of a picture's pixels, for copies that are made without a network."""

    mean: torch.Tensor  # (B, 3)
    covariance: torch.Tensor  # (B, 3, 3)


def color_statistics(images):
    """`Colors` of images (B, 3, H, W), each over all its pixels."""
    pixels = images.double().flatten(2)
    mean = pixels.mean(2)
    centred = pixels - mean[:, :, None]
    return Colors(mean, centred @ centred.transpose(1, 2) / pixels.shape[2])


def mixed_colors(colors, shares):
    """`Colors` of the pixels of S pictures together, each picture with its share: (B, S), rows adding up to one."""
    shares = checks.float64(shares)
    mean = shares @ colors.mean
    second = colors.covariance + colors.mean[:, :, None] * colors.mean[:, None]
    return Colors(mean, torch.einsum("bs,sij->bij", shares, second) - mean[:, :, None] * mean[:, None])


def match_colors(images, target, strength=1.0):
    """Move each image's colours so that their mean and covariance are the target's.

    Of all linear maps that do so, this one moves the pixels least (of Gaussians it is the optimal transport).

    Args:
        images: (B, 3, H, W) in [0, 1].
        target: `Colors` of 1 or B pictures.
        strength: from 0, which changes nothing, to 1.
    Returns:
        (B, 3, H, W) in [0, 1]: what leaves the range is cut off, so the statistics are then met only about.

    Pitie and Kokaram 2007, "The linear Monge-Kantorovitch linear colour mapping", eq. 4.
    """
    mean, covariance = color_statistics(images)
    root = _root(covariance + 1e-6 * torch.eye(3, dtype=torch.float64, device=covariance.device))
    inverse = torch.linalg.inv(root)
    move = inverse @ _root(root @ target.covariance @ root) @ inverse
    centred = images.double().flatten(2) - mean[:, :, None]
    moved = (move @ centred + target.mean[:, :, None]).view(images.shape)
    return torch.lerp(images.double(), moved, strength).clamp(0, 1).to(images.dtype)


def _root(matrices):
    """Symmetric roots of symmetric positive (B, 3, 3)."""
    values, vectors = torch.linalg.eigh(matrices)
    return vectors * values.clamp(min=0).sqrt()[:, None] @ vectors.transpose(1, 2)
