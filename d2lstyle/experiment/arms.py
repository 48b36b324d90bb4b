"""The arms of the experiment: what each way of training shows to the network, picture by picture.

An arm is a stream of images as long as the training, steps x batch. At each place stands one of the few photos, or,
with a probability, a copy of it. All arms of a seed share photos, order, places of copies, first weights, random
numbers of the augmentation and the number of steps; they differ in the copies, and in the doses tuned for each.
"""

from typing import NamedTuple

import numpy as np
import torch
from timm.models import EfficientNet
from torch import nn

from ..augment import ColorJitter, Compose, RandomHorizontalFlip, RandomResizedCrop
from ..backbones import backbone
from ..engine import checks
from ..engine.devices import seeded, typed
from ..finetune import freeze, replace_head
from ..training import fit

MODELS = ("scratch", "fine-tuned")
NETWORK, FROZEN = "efficientnet_lite0", 8  # whose ImageNet weights are fine-tuned; all its stages but the last one
WIDTHS = (32, 64, 128, 256)  # of the small network


class Arm(NamedTuple):
    """One way of training."""

    title: str
    kinds: tuple = ()  # of the copies that stand in for photos, as in `copies.KINDS`
    classical: bool = False  # whether crop, flip and colour jitter are applied
    twice: bool = False  # whether each photo is listed twice
    shuffled: bool = False  # whether the labels are dealt out anew, so that there is nothing to learn


ARMS = {
    "A": Arm("photos alone"),
    "B": Arm("classical", classical=True),
    "C": Arm("style", ("styled",)),
    "D": Arm("style, then classical", ("styled",), True),
    "F": Arm("colours of the styles", ("recoloured",)),
    "G": Arm("colours, then classical", ("recoloured",), True),
    "H": Arm("duplicates", twice=True),
    "I": Arm("styles of training photos, then classical", ("relatives",), True),
    "R": Arm("styles by regions, then classical", ("regions",), True),
    "N": Arm("style and a GAN, then classical", ("styled", "invented"), True),
    "Dv": Arm("style by VGG-19, then classical", ("optimised",), True),
}
SANITY = {
    "B, labels shuffled": Arm("must be at chance", classical=True, shuffled=True),
    "D, p = 0": Arm("must equal B bit for bit", ("styled",), True),
}


class Dose(NamedTuple):
    """How much of a kind of copies."""

    strength: float  # how far each pixel goes from the photo, at 0, to the copy, at 1
    share: float  # probability that a copy stands in for its photo


class Classical(NamedTuple):
    """How much of lecture 15's augmentation; at 1 crop and colour are the lecture's own."""

    crop: float  # 1: crops of 8 to 100 % of the area
    colour: float  # 1: brightness, contrast and saturation times 0.5 to 1.5, hue turned by up to a tenth
    share: float  # probability that an image is augmented


USUAL = Classical(0.65, 1.0, 1.0)  # where nothing is tuned


class Copies(NamedTuple):
    """What a `Stream` draws from; all pictures are uint8."""

    photos: torch.Tensor  # (N, 3, H, W)
    labels: torch.Tensor  # (N,), int64
    of: dict  # {kind, or kind and seed: ((M, K, 3, H, W), K copies of M photos; (N,), where a photo's are, -1 if none)}

    def beside(self, kind, seed, positions):
        """(n, K, 3, H, W): the copies of photos at positions (n,), made for this seed where each seed has its own."""
        found = self.of.get(kind) or self.of.get(f"{kind} {seed}")
        if found is None:
            raise ValueError(f"no copies of the kind {kind!r} for seed {seed}: there are {', '.join(self.of)}")
        pictures, where = found
        rows = where[positions]
        if (rows < 0).any():
            raise ValueError(f"{int((rows < 0).sum())} of {len(rows)} photos have no copies of the kind {kind!r}")
        return pictures[rows]


class Stream:
    """The training images of one run in the order in which they were drawn; a data set for `fit`, for one epoch.

    Of `Copies`, the photos at positions (n,), as an `Arm` shows them in `doses`, {kind: Dose}: `length` images in all;
    the seed decides the order, the places of the copies, and which copy it is. A larger share keeps the
    places of a smaller one, in every arm.
    """

    def __init__(self, copies, positions, arm, doses, *, length, seed):
        rng = np.random.default_rng(seed)
        places, which = rng.random(length), rng.random(length)
        shuffled = torch.from_numpy(rng.permutation(len(positions)))
        positions = checks.tensor(positions)
        n = len(positions) * (2 if arm.twice else 1)
        rounds = [rng.permutation(n) for _ in range(-(-length // n))]  # one shuffle of all after another
        self.rows = torch.from_numpy(np.concatenate(rounds)[:length] % len(positions))
        self.labels = copies.labels[positions[shuffled] if arm.shuffled else positions][self.rows]
        self.photos, self.parts, begin = copies.photos[positions], [], 0.0
        for kind in arm.kinds:
            dose, pictures = Dose(*doses[kind]), copies.beside(kind, seed, positions)
            there = torch.from_numpy((begin <= places) & (places < begin + dose.share))
            number = torch.from_numpy((which * pictures.shape[1]).astype(int))
            self.parts.append((there, number, pictures, dose.strength))
            begin += dose.share

    def __len__(self):
        return len(self.rows)

    def batch(self, indices):
        """images (B, 3, H, W), float32 in [0, 1], and labels (B,)."""
        indices = checks.tensor(indices)
        rows = self.rows[indices]
        images = self.photos[rows].float() / 255
        for there, number, pictures, strength in self.parts:
            chosen = there[indices]
            copies = pictures[rows[chosen], number[indices][chosen]].float() / 255
            images[chosen] = images[chosen].lerp(copies, strength)
        return images, self.labels[indices]


class Sometimes:
    """A transform that each image of a batch passes with probability `share`, and else is spared."""

    def __init__(self, transform, share):
        self.transform, self.share = transform, share

    def __call__(self, images, generator=None):
        chosen = torch.rand(len(images), generator=generator, device="cpu", dtype=torch.float32) < self.share
        return torch.where(chosen[:, None, None, None], self.transform(images, generator=generator), images)


def classical(size, dose=USUAL):
    """Lecture 15's augmentation of images of `size` pixels in a dose: crop, flip and colour."""
    crop, colour, share = dose
    jitter = ColorJitter(0.5 * colour, 0.5 * colour, 0.5 * colour, 0.1 * colour)
    lecture = [RandomResizedCrop(size, scale=(1 - 0.92 * crop, 1)), RandomHorizontalFlip(), jitter]
    return Sometimes(Compose(lecture), share)


def new_model(name, num_classes, seed):
    """A classifier before its training: images (B, 3, H, W) in [0, 1] -> scores (B, num_classes).

    "fine-tuned" is the embedded ImageNet network with a new, random head, all stages but the last one held still;
    "scratch" four convolutions with batch normalisation, the first one with stride 2, of 0.39 M random weights.
    """
    if name == "fine-tuned":
        return freeze(replace_head(backbone(NETWORK, device="cpu"), num_classes, seed=seed), until=FROZEN)
    with seeded(seed), torch.device("cpu"), typed(torch.float32):
        layers = [nn.BatchNorm2d(3)]
        for stride, channels, width in zip((2, 1, 1, 1), (3, *WIDTHS), WIDTHS):
            convolution = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTHS[-1], num_classes)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def trained_model(plan, num_classes, data, *, dose=None, seed=0, callback=None):
    """`new_model`, trained on the CPU as the plan says, with the `Classical` dose of augmentation, or none."""
    model = new_model(plan.model, num_classes, seed)
    augment = None if dose is None else classical(plan.size, Classical(*dose))
    options = {"lr": plan.lr, "head_multiplier": 10 if plan.model == "fine-tuned" else 1, "batch_size": plan.batch}
    fit(model, data, epochs=1, augment=augment, seed=seed, callback=callback, device="cpu", **options)
    return model


@torch.inference_mode()
def fixed_features(model, images):
    """What the frozen stages of a fine-tuned model say of uint8 images: the same for all runs, so computed once."""
    net, parts = _network(model), []
    for part in images.split(100):
        normal = (part.float() / 255 - model.mean) / model.std
        parts.append(net.blocks(net.bn1(net.conv_stem(normal.contiguous(memory_format=torch.channels_last)))))
    return torch.cat(parts)


@torch.inference_mode()
def predictions(model, images, features=None):
    """(N,) likeliest classes of uint8 images; out of `fixed_features` where they are given."""
    model.eval()
    if features is None:
        return torch.cat([model(part.float() / 255).argmax(1) for part in images.split(100)])
    net = _network(model)
    return torch.cat([net.forward_head(net.bn2(net.conv_head(part))).argmax(1) for part in features.split(100)])


def _network(model):
    if not isinstance(model.model, EfficientNet):
        raise TypeError(f"expected an EfficientNet, got {type(model.model).__name__}")
    return model.model
