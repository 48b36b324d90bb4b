"""The pictures of the experiment, made once for all its runs: photos, copies, and those to validate and test on.

Copies stand here at full strength. How much of the label they keep is told by a referee that has learned from copies of
another painter: a fact for the record, on which nothing depends.
"""

import hashlib
import json
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from ..backbones import backbone
from ..datasets.loading import ImageDataset, draw_per_class, load_dataset
from ..engine.devices import one_thread
from ..engine.files import file_digest, replacing
from ..fast.network import SHA256 as FAST_WEIGHTS
from ..folders import jobs
from ..samples.paintings import painting_names
from ..samples.styles import style_list
from ..samples.vending import DOMAINS
from .arms import NETWORK, USUAL, Arm, Copies, Dose, Stream, predictions, trained_model
from .copies import OWN, CopyMaker, as_bytes, digest, small
from .corruptions import CORRUPTIONS, corrupted

RECIPE = 2  # to be raised when rows come out differently
OTHERS = {"styled": "optimised", "recoloured": "styled", "optimised": "styled"}  # whose copies the referee learns from


class Pool(NamedTuple):
    """All that a run needs."""

    classes: list  # names
    copies: Copies  # the photos that any seed draws, with their labels and copies
    rows: dict  # {(seed, per_class): positions among those photos}
    validations: dict  # {name: (images uint8, labels)}
    tests: dict  # the same
    preserved: list  # dicts with "kind", "strength" and "preserved": what the referee told of validation photos
    seconds: dict  # {kind of copy: seconds that a copy takes on one core}


def counts(sides):
    """{name: its number of images}, of a pool's validations or tests."""
    return {name: len(labels) for name, (_, labels) in sides.items()}


class Side(NamedTuple):
    """One side of the split."""

    photos: ImageDataset  # of the size painted
    small: torch.Tensor  # the pictures of the size trained on, uint8
    digest: str  # of classes, labels and pixels


def load_sides(plan, root, callback=None):
    """{"train": `Side`, "validation ..." and "test ...": one for each place}; of vending fresh pictures."""
    show, places = callback or (lambda *_: None), {"": {}}
    if plan.data == "vending":
        places = {f" {name}": {"domain": name, "split_seed": plan.split_seed} for name in DOMAINS}
    sides = {"train": _loaded(plan, root, show, "train", "train", **next(iter(places.values())))}
    for split in ("validation", "test"):
        sides |= {split + name: _loaded(plan, root, show, split + name, split, **o) for name, o in places.items()}
    return sides


def _loaded(plan, root, show, name, split, **options):
    size, callback = max(plan.size, plan.paint_size), partial(show, name)
    photos = load_dataset(plan.data, split, root=root, size=size, callback=callback, **options)
    parts, found = [], hashlib.sha256(json.dumps([photos.classes, photos.labels.tolist()]).encode())
    for part in torch.arange(len(photos), device="cpu").split(256):
        images, _ = photos.batch(part)
        found.update(as_bytes(images).numpy())
        parts.append(small(images, plan.size))
    return Side(photos, torch.cat(parts), found.hexdigest())


def content_digest(plan, sides):
    """Of what the plan names and does not hold: photos, styles, weights, and how this version makes rows of them."""
    styles = [_style_digest(style) for style in style_list(plan.styles or painting_names())]
    weights = [FAST_WEIGHTS, jobs.weights_digest(backbone(NETWORK, device="cpu"))]
    content = [RECIPE, jobs.RECIPE, [side.digest for side in sides.values()], styles, weights]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _style_digest(style):
    if isinstance(style, torch.Tensor):
        return digest(style.cpu())
    return file_digest(style) if Path(style).is_file() else str(style)  # the name of an embedded picture


def build_pool(plan, sides, folder, *, workers=None, callback=None):
    """The `Pool` that the plan asks for, out of `load_sides`; what VGG-19 has painted before is kept.

    Other arguments as of `run_experiment`. One thread computes: more would add sums up in another order.

    Raises:
        ValueError: a photo lies on two sides of the split, or a picture could not be painted.
    """
    show, train = callback or (lambda *_: None), sides["train"]
    check_sides({name: side.small for name, side in sides.items()})
    draws = {(seed, n): draw_per_class(train.photos.labels, n, seed, train.photos.classes) for seed, n in plan.draws()}
    used = torch.cat(list(draws.values())).unique()
    rows = {key: torch.searchsorted(used, drawn) for key, drawn in draws.items()}
    maker = CopyMaker(plan, Path(folder, f"{Path(plan.data).name} {plan.paint_size} px"), workers, show)
    with one_thread(torch.device("cpu")):
        of, seconds = _copies(plan, maker, train.photos.subset(used), used, rows)
        copies = Copies(train.small[used], train.photos.labels[used], of)
        judged = next(side for name, side in sides.items() if name.startswith("validation"))
        preserved = _preserved(plan, maker, copies, judged, show) if plan.judged else []
    validations, tests = (
        {n.partition(" ")[2] or s: _pair(side) for n, side in sides.items() if n.startswith(s)}
        for s in ("validation", "test")
    )
    if plan.data != "vending":
        tests = {"clean": tests.pop("test")} | _corrupted(sides["test"], show)
    return Pool(train.photos.classes, copies, rows, validations, tests, preserved, seconds)


def _pair(side):
    return side.small, side.photos.labels


def _corrupted(side, show):
    """The test side as each of the corruptions leaves it."""
    tests = {}
    for done, name in enumerate(CORRUPTIONS, start=1):
        tests[name] = as_bytes(corrupted(side.small.float() / 255, name)), side.photos.labels
        show("corruptions", done, len(CORRUPTIONS))
    return tests


def _copies(plan, maker, photos, used, rows):
    """Of the kinds that arms show: {kind: (pictures, where)} as `Copies` has them, {kind: seconds a copy}."""
    of, seconds, everywhere = {}, {}, torch.arange(len(used), device="cpu")
    for kind in plan.kinds():
        began, count = time.process_time(), 0
        seeds = {seed for seed, _ in rows} if kind in OWN else [None]
        for seed in sorted(seeds, key=str):
            which = _positions(plan, kind, rows, seed, everywhere)
            subset = photos.subset(which)
            if kind == "relatives":
                least = min(n for other, n in rows if other == seed)
                pictures = maker.relatives(subset, torch.searchsorted(which, rows[seed, least]), seed)
            elif kind == "invented":
                pictures = maker.invented(subset, seed)
            else:
                pictures = maker.make(kind, subset, used[which])
            where = torch.full((len(used),), -1, device="cpu")
            where[which] = torch.arange(len(which), device="cpu")
            of[kind if seed is None else f"{kind} {seed}"] = pictures, where
            count += pictures.shape[0] * pictures.shape[1]
        # The optimisation works in other processes, and perhaps did earlier.
        seconds[kind] = maker.seconds if kind == "optimised" else (time.process_time() - began) / count
    return of, seconds


def _positions(plan, kind, rows, seed, everywhere):
    """Which of the photos get copies of a kind: all, or those that its arms draw, or a seed of its own."""
    if kind == "relatives":
        return torch.cat([drawn for (other, _), drawn in rows.items() if other == seed]).unique()
    if kind == "invented":
        return rows[seed, plan.invented_at]
    if kind == "optimised":
        return torch.cat([drawn for (_, n), drawn in rows.items() if n == plan.optimised_at]).unique()
    return everywhere


def check_sides(sides):
    """Raise ValueError where one picture, bit for bit, lies on two sides of a split; sides: {name: (N, 3, H, W)}."""
    where = {}
    for side, images in sides.items():
        for image in images:
            first = where.setdefault(digest(image), side)
            if first != side:
                both = f"a picture of the {first} side lies on the {side} side, too"
                raise ValueError(f"{both}: remove it from one of them")


def _preserved(plan, maker, copies, side, show):
    """What a referee that knows copies of another painter tells of validation photos at each strength, as dicts."""
    few = draw_per_class(
        side.photos.labels, min(plan.judged, int(side.photos.labels.bincount().min())), 0, side.photos.classes
    )
    photos, labels, told = side.small[few], side.photos.labels[few], []
    for kind, other in OTHERS.items():
        other = other if other in copies.of else "recoloured"
        if kind in copies.of and other in copies.of and kind != other:
            referee = _referee(plan, copies, other, len(side.photos.classes), show)
            painted = maker.make(kind, side.photos.subset(few), few, "validation")[:, 0]
            for strength in (0.0, *plan.strengths):
                mixed = as_bytes(torch.lerp(photos.float() / 255, painted.float() / 255, strength))
                right = (predictions(referee, mixed) == labels).double().mean().item()
                told.append({"kind": kind, "strength": strength, "preserved": right, "referee": other})
    return told


def _referee(plan, copies, kind, classes, show):
    """A classifier trained on all photos and on copies of a kind, four times as long as a run, with augmentation."""
    positions = (copies.of[kind][1] >= 0).nonzero()[:, 0]
    doses, length = {kind: Dose(1.0, 0.5)}, 4 * plan.steps * plan.batch
    stream = Stream(copies, positions, Arm("referee", (kind,), True), doses, length=length, seed=0)
    options = {"dose": USUAL, "callback": lambda step: show(f"referee: {kind}", step.step, step.steps)}
    return trained_model(plan, classes, stream, **options)


def save_pool(pool, path):
    """Write a pool for the worker processes; the file appears whole or not at all."""
    with replacing(path) as part:
        torch.save(pool._asdict() | {"copies": pool.copies._asdict()}, part)


def load_pool(path):
    """What `save_pool` wrote."""
    state = torch.load(path, weights_only=True, mmap=True)
    return Pool(**state | {"copies": Copies(**state["copies"])})
