"""The pictures of the experiment, made once for all its runs: photos, and painted and recoloured copies of them.

How strong the copies are is decided here, on validation photos alone: the strongest at which a referee, trained on all
photos, still tells the classes.
"""

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from ..backbones import backbone
from ..datasets.loading import ImageDataset, draw_per_class, load_dataset
from ..engine.devices import one_thread
from ..engine.files import file_digest, replacing
from ..fast.network import SHA256 as FAST_WEIGHTS
from ..folders import jobs, stylize_folder
from ..images import read_image, resize, write_image
from ..samples.paintings import painting_names
from ..samples.styles import named_styles, style_list
from ..samples.vending import DOMAINS
from ..training import evaluate
from .arms import NETWORK, Colors, Copies, color_statistics, match_colors, mixed_colors, trained_model

RECIPE = 1  # to be raised when rows come out differently
RECOLOUR_STRENGTHS = (0.1, 0.25, 0.5, 0.75, 1.0)


class Pool(NamedTuple):
    """All that a run needs."""

    classes: list  # names
    copies: Copies  # the photos that any seed draws, with their labels and copies
    rows: dict  # {(seed, per_class): positions among those photos}
    tests: dict  # {name: (images uint8, labels)}
    strengths: list  # dicts with "kind", "strength" and "preserved": what the referee told of the validation photos
    chosen: dict  # {kind of copy: strength}
    seconds: dict  # {kind of copy: seconds that a copy takes}; of painting, on one core

    def test_counts(self):
        """{test: its number of images}"""
        return {name: len(labels) for name, (_, labels) in self.tests.items()}


class Side(NamedTuple):
    """One side of the split."""

    photos: ImageDataset  # of the size painted
    small: torch.Tensor  # the pictures of the size trained on, uint8
    digest: str  # of classes, labels and pixels


def load_sides(plan, root, callback=None):
    """{"train", "validation" and each test: `Side`}"""
    show = callback or (lambda *_: None)
    domains = {name: {"domain": name} for name in DOMAINS} if plan.data == "vending" else {"test": {}}
    sides = {name: _loaded(plan, root, show, name, name) for name in ("train", "validation")}
    return sides | {name: _loaded(plan, root, show, name, "test", **domain) for name, domain in domains.items()}


def _loaded(plan, root, show, name, split, **domain):
    callback = partial(show, name)
    photos = load_dataset(plan.data, split, root=root, size=plan.paint_size, callback=callback, **domain)
    small, digest = [], hashlib.sha256(json.dumps([photos.classes, photos.labels.tolist()]).encode())
    for part in torch.arange(len(photos), device="cpu").split(256):
        images, _ = photos.batch(part)
        digest.update(_bytes(images).numpy())
        small.append(_small(images, plan.size))
    return Side(photos, torch.cat(small), digest.hexdigest())


def content_digest(plan, sides):
    """Of what the plan names and does not hold: photos, styles, weights, and how this version makes rows of them."""
    styles = [_style_digest(style) for style in style_list(plan.styles or painting_names())]
    weights = [FAST_WEIGHTS, jobs.weights_digest(backbone(NETWORK, device="cpu"))]
    content = [RECIPE, jobs.RECIPE, [side.digest for side in sides.values()], styles, weights]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _style_digest(style):
    if isinstance(style, torch.Tensor):
        return _digest(style.cpu())
    return file_digest(style) if Path(style).is_file() else str(style)  # the name of an embedded picture


def build_pool(plan, sides, folder, *, workers=None, callback=None):
    """The `Pool` that the plan asks for, out of `load_sides`; what has been painted before is kept.

    Other arguments as of `run_experiment`. One thread computes: more would add sums up in another order, by which
    another strength may be chosen.

    Raises:
        ValueError: a photo lies on two sides of the split, or a picture could not be painted.
    """
    show = callback or (lambda *_: None)
    (train, small, _), (validation, small_validation, _), *tests = sides.values()
    check_sides({"train": small, "validation": small_validation, "test": torch.cat([test.small for test in tests])})
    keys = [(seed, n) for seed in range(plan.seeds) for n in plan.per_class]
    draws = {(seed, n): draw_per_class(train.labels, n, seed, train.classes) for seed, n in keys}
    used = torch.cat(list(draws.values())).unique()
    rows = {key: torch.searchsorted(used, drawn) for key, drawn in draws.items()}
    maker = CopyMaker(plan, folder, workers, show)
    with one_thread(torch.device("cpu")):
        strengths, chosen = _choose(maker, _referee(plan, train, small, show), validation, small_validation)
        of, seconds = maker.copies(train.subset(used), chosen)
    copies = Copies(small[used], train.labels[used], of)
    tests = {name: (side.small, side.photos.labels) for name, side in [*sides.items()][2:]}
    return Pool(train.classes, copies, rows, tests, strengths, chosen, seconds)


def _small(images, size):
    return _bytes(resize(images, (size, size)))


def _bytes(images):
    return (images * 255).round().to(torch.uint8)


def _digest(image):
    return hashlib.sha256(image.numpy().tobytes()).hexdigest()


def check_sides(sides):
    """Raise ValueError where one picture, bit for bit, lies on two sides of a split; sides: {name: (N, 3, H, W)}."""
    where = {}
    for side, images in sides.items():
        for image in images:
            first = where.setdefault(_digest(image), side)
            if first != side:
                both = f"a picture of the {first} side lies on the {side} side, too"
                raise ValueError(f"{both}: remove it from one of them")


class CopyMaker:
    """Makes copies of the photos of a data set, in files for the painted ones; other plans may share the folder."""

    def __init__(self, plan, folder, workers, show):
        self.plan, self.workers, self.show = plan, workers, show
        self.folder = Path(folder, f"{Path(plan.data).name} {plan.paint_size} px")
        self.styles = list(named_styles(list(plan.styles) or painting_names()).values())
        self.colors = Colors(*map(torch.cat, zip(*map(color_statistics, self.styles))))

    def copies(self, photos, chosen):
        """{kind: (N, K, 3, size, size)} of training photos, and {kind: seconds a copy}, of the kinds that arms show."""
        styled, rows = self.painted(photos, "train", chosen["styled"], self.plan.copies)
        of = {"styled": styled, "recoloured": self.recoloured(photos, rows, chosen["recoloured"])}
        seconds = {"styled": _mean_seconds(rows)}
        if self.plan.shows("unpainted"):
            of["unpainted"], rows = self.painted(photos, "train", 0, 1)
            seconds["unpainted"] = _mean_seconds(rows)
        return of, seconds

    def painted(self, photos, name, strength, n):
        """(N, n, 3, size, size) painted at a strength, and the rows of the manifest in the same order, N * n."""
        plan, paths = self.plan, self.exported(photos, name)
        out = self.folder / f"{name} {plan.method} {strength:g} x{n}"
        options = {"mixture": plan.mixture, "method": plan.method, "steps": plan.paint_steps, "workers": self.workers}
        show = partial(self.show, f"painting at strength {strength:g}")
        source = self.folder / f"{name} photos"
        result = stylize_folder(source, out, self.styles, per_image=n, alpha=strength, callback=show, **options)
        if errors := [(path, result.errors[path]) for path in paths if path in result.errors]:
            raise ValueError(f"{len(errors)} photos could not be painted, such as {errors[0]}")
        by_copy = {(row["source"], row["copy"]): row for row in result.rows}
        rows = [by_copy[path, copy] for path in paths for copy in range(n)]
        images = torch.cat([_small(read_image(out / row["file"]), plan.size) for row in rows])
        return images.unflatten(0, (len(photos), n)), rows

    def recoloured(self, photos, rows, strength):
        """(N, K, 3, size, size): copies that take the colours of the same mixtures of styles, and nothing else."""
        n = len(rows) // len(photos)
        shares = [[row["styles"].get(f"style {i}", 0) for i in range(len(self.styles))] for row in rows]
        shares = torch.tensor(shares, dtype=torch.float32, device="cpu")
        target = mixed_colors(self.colors, (shares / shares.sum(1, keepdim=True)).double())
        copies = []
        for part in torch.arange(len(rows), device="cpu").split(256):
            colors = Colors(target.mean[part], target.covariance[part])
            moved = match_colors(photos.batch(part // n)[0], colors, strength)
            copies.append(_small(moved, self.plan.size))
        return torch.cat(copies).unflatten(0, (len(photos), n))

    def exported(self, photos, name):
        """Paths of the photos, written as a class folder; each is named after its pixels alone."""
        paths = []
        for image, label in photos:
            paths.append(f"{photos.classes[label]}/{_digest(_bytes(image))[:16]}.png")
            file = self.folder / f"{name} photos" / paths[-1]
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                write_image(image[None], file)
        return paths


def _mean_seconds(rows):
    seconds = [row["seconds"] for row in rows if row["seconds"] is not None]
    return sum(seconds) / len(seconds) if seconds else None


def _referee(plan, train, images, show):
    """A classifier fine-tuned on all photos of the training side, four times as long as a run, with augmentation."""
    epochs = max(1, round(4 * plan.steps[1] * plan.batch / len(train)))
    options = {"epochs": epochs, "callback": lambda step: show("referee", step.step, step.steps)}
    return trained_model(plan, "fine-tuned", len(train.classes), (images.float() / 255, train.labels), **options)


def _choose(maker, referee, photos, small):
    """What the referee tells at each strength, as dicts, and {kind: the strongest that keeps the labels}."""
    plan, strengths = maker.plan, []

    def tell(kind, strength, images):
        preserved = float(evaluate(referee, (images.float() / 255, few.labels), batch_size=32))
        strengths.append({"kind": kind, "strength": strength, "preserved": preserved})

    n = min(plan.validation, int(torch.bincount(photos.labels).min()))  # a small class folder has fewer
    drawn = draw_per_class(photos.labels, n, 0, photos.classes)
    few = photos.subset(drawn)
    tell("photos", 0.0, small[drawn])
    for strength in plan.strengths:
        images, rows = maker.painted(few, "validation", strength, 1)
        tell("styled", strength, images[:, 0])
    for strength in RECOLOUR_STRENGTHS:  # of the same mixtures, which do not depend on the strength of the paint
        tell("recoloured", strength, maker.recoloured(few, rows, strength)[:, 0])
    return strengths, {kind: strongest(strengths, kind, plan.preserved) for kind in ("styled", "recoloured")}


def strongest(strengths, kind, preserved):
    """The largest strength at which so many labels are preserved; the smallest one if there is none."""
    told = {row["strength"]: row["preserved"] for row in strengths if row["kind"] == kind}
    return max((strength for strength, part in told.items() if part >= preserved), default=min(told))


def save_pool(pool, path):
    """Write a pool for the worker processes; the file appears whole or not at all."""
    with replacing(path) as part:
        torch.save(pool._asdict() | {"copies": pool.copies._asdict()}, part)


def load_pool(path):
    """What `save_pool` wrote."""
    state = torch.load(path, weights_only=True)
    return Pool(**state | {"copies": Copies(**state["copies"])})
