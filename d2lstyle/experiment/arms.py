"""The arms of the experiment: what each way of training shows to the network, picture by picture.

An arm is a stream of images as long as the training: steps x batch. At each place stands one of the few photos, or, with
probability p, a copy of it. All arms of a seed share the photos, their order, the places of the copies, the first
weights and the random numbers of the augmentation, and all take equally many steps; they differ in the copies alone.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from ..augment import ColorJitter, Compose, RandomHorizontalFlip, RandomResizedCrop
from ..backbones import backbone
from ..engine.devices import seeded
from ..finetune import freeze, replace_head

KINDS = ("styled", "recoloured", "unpainted")  # of copies
MODELS = ("scratch", "fine-tuned")
NETWORK = "efficientnet_lite0"  # whose ImageNet weights are fine-tuned
WIDTHS = (32, 64, 128, 256)  # of the small network


class Arm(NamedTuple):
    """One way of training.

    Attributes:
        title: a few words.
        copies: what stands beside the photos: one of `KINDS`, "duplicates" of the photos, or None for nothing.
        classical: whether crop, flip and colour jitter are applied to all.
        p: probability of a copy, or None for the plan's.
        shuffled: whether the labels are dealt out anew, so that there is nothing to learn.
    """

    title: str
    copies: str | None = None
    classical: bool = False
    p: float | None = None
    shuffled: bool = False


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


@dataclass(frozen=True)
class Copies:
    """What a `Stream` draws from; all pictures are uint8.

    Attributes:
        photos: (N, 3, H, W).
        labels: (N,), int64.
        of: {kind: (N, K, 3, H, W)}, K copies of each photo.
    """

    photos: torch.Tensor
    labels: torch.Tensor
    of: dict


class Stream:
    """The training images of one run in the order in which they were drawn; a data set for `fit`, for one epoch.

    Args:
        copies: `Copies`.
        positions: (n,) integers, the photos that the run may use.
        arm: `Arm`.
        p: probability of a copy where the arm leaves it open.
        length: images in all.
        seed: of the order, the places of the copies, and which copy it is.
    """

    def __init__(self, copies, positions, arm, *, p, length, seed):
        rng = np.random.default_rng(seed)
        places, which = rng.random(length), rng.random(length)
        shuffled = torch.from_numpy(rng.permutation(len(positions)))
        self.pictures, own = copies.of[arm.copies] if arm.copies in KINDS else None, torch.as_tensor(positions)
        rounds = 2 if arm.copies == "duplicates" else 1  # a list of photos that holds each of them twice
        order = torch.from_numpy(_rounds(len(own) * rounds, length, rng) % len(own))
        self.photos, self.rows = copies.photos, own[order]
        self.labels = copies.labels[own[shuffled] if arm.shuffled else own][order]
        self.copy = np.full(length, -1)
        if self.pictures is not None:
            drawn = (which * self.pictures.shape[1]).astype(int)
            self.copy = np.where(places < (p if arm.p is None else arm.p), drawn, -1)

    def __len__(self):
        return len(self.rows)

    def batch(self, indices):
        """images (B, 3, H, W), float32 in [0, 1], and labels (B,)."""
        found = [self._picture(int(i)) for i in indices]
        return torch.stack(found) / 255, self.labels[torch.as_tensor(indices)]

    def _picture(self, i):
        row, copy = self.rows[i], self.copy[i]
        return self.photos[row] if copy < 0 else self.pictures[row, copy]


def _rounds(n, length, rng):
    """(length,) positions below n: one shuffle of all after another."""
    return np.concatenate([rng.permutation(n) for _ in range(-(-length // n))])[:length]


def classical(size):
    """Lecture 15's augmentation as chapter 01 found it good: crop, flip and colour, resampled to `size` pixels."""
    return Compose([RandomResizedCrop(size, scale=(0.4, 1)), RandomHorizontalFlip(), ColorJitter(0.5, 0.5, 0.5, 0.1)])


def new_model(name, num_classes, seed, *, frozen=5):
    """A classifier before its training.

    Args:
        name: "scratch" for a small convolutional network with random weights, "fine-tuned" for the embedded ImageNet
            network with a new head and its `frozen` lower stages held still.
        num_classes: how many scores it gives.
        seed: of all random weights.
    Returns:
        torch.nn.Module: images (B, 3, H, W) in [0, 1] -> scores (B, num_classes).
    """
    if name == "scratch":
        with seeded(seed):
            return small_network(num_classes)
    return freeze(replace_head(backbone(NETWORK, device="cpu"), num_classes, seed=seed), until=frozen)


def small_network(num_classes):
    """Four convolutions with batch normalisation, the first one with stride 2; 0.39 M parameters."""
    layers, channels = [nn.BatchNorm2d(3)], 3
    for stage, width in enumerate(WIDTHS):
        convolution = nn.Conv2d(channels, width, 3, stride=1 if stage else 2, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
        channels = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


# ---------------------------------------------------------------- colours without a network


class Colors(NamedTuple):
    """What is kept of a picture's pixels: mean (B, 3) and covariance (B, 3, 3)."""

    mean: torch.Tensor
    covariance: torch.Tensor


def color_statistics(images):
    """`Colors` of images (B, 3, H, W), over all pixels of each."""
    pixels = images.double().flatten(2)
    mean = pixels.mean(2)
    centred = pixels - mean[:, :, None]
    return Colors(mean, centred @ centred.transpose(1, 2) / pixels.shape[2])


def mixed_colors(parts, shares):
    """`Colors` of a mixture: those of all pixels of its parts together, each part with its share.

    Args:
        parts: `Colors` of S pictures.
        shares: (B, S), each row adding up to one.
    """
    shares = torch.as_tensor(shares, dtype=torch.float64)
    mean = shares @ parts.mean
    second = parts.covariance + parts.mean[:, :, None] * parts.mean[:, None]
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
    own = color_statistics(images)
    root = _root(own.covariance + 1e-6 * torch.eye(3, dtype=torch.float64))
    inverse = torch.linalg.inv(root)
    move = inverse @ _root(root @ target.covariance @ root) @ inverse
    centred = images.double().flatten(2) - own.mean[:, :, None]
    moved = (move @ centred + target.mean[:, :, None]).view(images.shape)
    return torch.lerp(images.double(), moved, strength).clamp(0, 1).to(images.dtype)


def _root(matrices):
    """Symmetric roots of symmetric positive (B, 3, 3)."""
    values, vectors = torch.linalg.eigh(matrices)
    return vectors * values.clamp(min=0).sqrt()[:, None] @ vectors.transpose(1, 2)
