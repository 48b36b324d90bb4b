"""Copies of photos: painted, recoloured, or invented. All are made at full strength; a run decides how much of them.

Kinds: "styled" by the painter in one pass, in mixtures of paintings; "recoloured" by their colours alone, without a
network; "regions" as styled, by the most important square of each painting; "relatives" in one pass, in the style of
other training photos; "optimised" by VGG-19, as the paper says; "invented" by a GAN that knows the same few photos.
"""

import hashlib
from functools import partial
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from ..backbones import backbone
from ..engine import checks
from ..fast.painting import StyleBank, draw_shares
from ..folders import stylize_folder
from ..images import read_image, resize, write_image
from ..maps.attribution import guided_backprop
from ..samples.paintings import painting_names
from ..samples.styles import named_styles
from .arms import NETWORK
from .gan import invent, trained_generator

KINDS = ("styled", "recoloured", "regions", "relatives", "optimised", "invented")
OWN = ("relatives", "invented")  # kinds of which each seed has its own, made of the photos that it draws
AT_ONCE = 30  # pictures
REGION = 0.5  # side of the square that stands for a painting, part of the painting's: a quarter of the area


class CopyMaker:
    """Makes copies of photos of a data set as the plan says; those of the optimisation are kept in a folder."""

    def __init__(self, plan, folder, workers, show):
        self.plan, self.workers, self.show, self.folder = plan, workers, show, Path(folder)
        self.seconds = None  # of a picture of the optimisation, on one core
        self.styles = list(named_styles(list(plan.styles) or painting_names()).values())

    def make(self, kind, photos, numbers, name="train"):
        """(N, K, 3, size, size) uint8 of photos, an `ImageDataset` of N; `numbers`: which of their side they are."""
        if kind == "optimised":
            return self.optimised(photos, name)
        n = self.plan.copies
        shares = np.stack([self._shares(name, number, copy) for number in numbers for copy in range(n)])
        shares = torch.from_numpy(shares).float()
        if kind == "recoloured":
            copies = self._recoloured(photos, shares)
        else:
            styles = [important_square(style) for style in self.styles] if kind == "regions" else self.styles
            copies = self._painted(photos, styles, shares, kind)
        return copies.unflatten(0, (len(photos), n))

    def relatives(self, photos, styles, seed):
        """The same, each copy in the style of one of the photos at positions `styles`, never in its own."""
        rng, n, places = np.random.default_rng([2, seed]), self.plan.copies, styles.tolist()
        shares = torch.zeros(len(photos) * n, len(places), device="cpu")
        for row in range(len(shares)):
            others = [place for place, position in enumerate(places) if position != row // n]
            shares[row, others[rng.integers(len(others))]] = 1
        pictures = list(photos.batch(styles)[0].split(1))
        return self._painted(photos, pictures, shares, f"relatives, seed {seed}").unflatten(0, (len(photos), n))

    def invented(self, photos, seed):
        """The same, each a sample of a GAN that was trained on these photos, of its photo's class."""
        images, labels = photos.batch(range(len(photos)))
        generator = trained_generator(
            images, labels, len(photos.classes), seed=seed, callback=partial(self.show, f"GAN, seed {seed}")
        )
        samples = invent(generator, labels.repeat_interleave(self.plan.copies), seed)
        return small(samples, self.plan.size).unflatten(0, (len(photos), self.plan.copies))

    def _shares(self, name, number, copy):
        rng = np.random.default_rng([1, ("train", "validation").index(name), int(number), copy])
        return draw_shares(rng, len(self.styles), self.plan.mixture)

    def _painted(self, photos, styles, shares, name):
        bank, n, parts = StyleBank(styles, "cpu"), len(shares) // len(photos), []
        for rows in torch.arange(len(shares), device="cpu").split(AT_ONCE):
            strength = torch.ones(len(rows), device="cpu")
            parts.append(small(bank.paint(photos.batch(rows // n)[0], shares[rows], strength), self.plan.size))
            self.show(f"painting: {name}", int(rows[-1]) + 1, len(shares))
        return torch.cat(parts)

    def _recoloured(self, photos, shares):
        colors = Colors(*map(torch.cat, zip(*map(color_statistics, self.styles))))
        target, n, parts = mixed_colors(colors, shares.double()), len(shares) // len(photos), []
        for rows in torch.arange(len(shares), device="cpu").split(256):
            moved = match_colors(photos.batch(rows // n)[0], Colors(target.mean[rows], target.covariance[rows]))
            parts.append(small(moved, self.plan.size))
        return torch.cat(parts)

    def optimised(self, photos, name):
        """(N, 1, 3, size, size) by VGG-19; an interrupted call goes on where it was."""
        plan, source = self.plan, self.folder / f"{name} photos"
        paths = self._exported(photos, source)
        options = {"mixture": plan.mixture, "steps": plan.paint_steps, "workers": self.workers, "net": "vgg19"}
        out, show = self.folder / f"{name} painted", partial(self.show, "painting: optimised")
        result = stylize_folder(source, out, self.styles, alpha=1.0, device="cpu", callback=show, **options)
        if errors := [(path, result.errors[path]) for path in paths if path in result.errors]:
            raise ValueError(f"{len(errors)} photos could not be painted, such as {errors[0]}")
        files, seconds = {row["source"]: row["file"] for row in result.rows}, [row["seconds"] for row in result.rows]
        self.seconds = mean(s for s in seconds if s is not None)
        pictures = [small(read_image(out / files[path]), plan.size) for path in paths]
        return torch.cat(pictures)[:, None]

    def _exported(self, photos, source):
        """Paths of the photos, written as a class folder; each is named after its pixels alone."""
        paths = []
        for image, label in photos:
            paths.append(f"{photos.classes[label]}/{digest(as_bytes(image))[:16]}.png")
            file = source / paths[-1]
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                write_image(image[None], file)
        return paths


def important_square(style):
    """The square of a painting (1, 3, H, W), a quarter of a square one's area, that moves the network most (paper 3.2).

    By guided backpropagation of the likeliest class of the network that is fine-tuned.
    """
    importance = guided_backprop(backbone(NETWORK, device="cpu"), style)
    side = int(REGION * min(style.shape[2:]))
    sums = F.avg_pool2d(importance, side, stride=1)[0, 0]
    top, left = np.unravel_index(int(sums.argmax()), tuple(sums.shape))
    return style[..., top : top + side, left : left + side]


def digest(image):
    """sha256 of uint8 pixels."""
    return hashlib.sha256(image.numpy().tobytes()).hexdigest()


def small(images, size):
    """uint8 images of the size trained on."""
    return as_bytes(resize(images, (size, size)))


def as_bytes(images):
    """[0, 1] to 0..255."""
    return (images * 255).round().to(torch.uint8)


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


def match_colors(images, target):
    """Move each image's colours so that their mean and covariance are the target's.

    Of all linear maps that do so, this one moves the pixels least (of Gaussians it is the optimal transport).

    Args:
        images: (B, 3, H, W) in [0, 1].
        target: `Colors` of 1 or B pictures.
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
    return moved.clamp(0, 1).to(images.dtype)


def _root(matrices):
    """Symmetric roots of symmetric positive (B, 3, 3)."""
    values, vectors = torch.linalg.eigh(matrices)
    return vectors * values.clamp(min=0).sqrt()[:, None] @ vectors.transpose(1, 2)
