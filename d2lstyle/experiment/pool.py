"""The pictures of the experiment, made once for all its runs: photos, and painted and recoloured copies of them.

How strong the copies are is decided here, on validation photos alone: the strongest at which a referee, trained on all
photos, still tells the classes.
"""

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch

from ..datasets.loading import draw_per_class, load_dataset
from ..engine.files import replacing
from ..folders.painting import stylize_folder
from ..images import read_image, resize, write_image
from ..samples.paintings import painting_names
from ..samples.styles import named_styles
from ..samples.vending import DOMAINS
from ..training import evaluate, fit
from .arms import Colors, Copies, classical, color_statistics, match_colors, mixed_colors, new_model

RECOLOUR_STRENGTHS = (0.1, 0.25, 0.5, 0.75, 1.0)


class Pool(NamedTuple):
    """All that a run needs.

    Attributes:
        classes: names.
        copies: `Copies`: the photos that any seed draws, with their labels and copies.
        rows: {(seed, per_class): positions among those photos}.
        tests: {name: (images uint8, labels)}.
        strengths: dicts with "kind", "strength" and "preserved": what the referee told of the validation photos.
        chosen: {kind of copy: strength}.
        seconds: {kind of copy: seconds that a copy takes}; of painting, on one core.
    """

    classes: list
    copies: Copies
    rows: dict
    tests: dict
    strengths: list
    chosen: dict
    seconds: dict


def build_pool(plan, root, folder, *, workers=None, callback=None):
    """Draw, paint and recolour all that the plan asks for; what is there is kept.

    Args:
        plan: `Plan`.
        root: the folder of the data sets.
        folder: where photos and copies are written.
        workers: processes that paint, None for one a core.
        callback: called with (what is being done, done, total).
    Returns:
        Pool
    Raises:
        ValueError: a photo lies on two sides of the split, or a picture could not be painted.
    """
    show = callback or (lambda *_: None)
    train = load_dataset(plan.data, "train", root=root, size=plan.paint_size, callback=_named(show, "train"))
    validation = load_dataset(
        plan.data, "validation", root=root, size=plan.paint_size, callback=_named(show, "validation")
    )
    tests = {name: _pixels(test, plan.size) for name, test in _tests(plan, root, show).items()}
    photos = _pixels(train, plan.size)[0]
    check_sides(
        {
            "train": photos,
            "validation": _pixels(validation, plan.size)[0],
            "test": torch.cat([images for images, _ in tests.values()]),
        }
    )
    draws = {
        (seed, n): draw_per_class(train.labels, n, seed, train.classes)
        for seed in range(plan.seeds)
        for n in plan.per_class
    }
    used = torch.cat(list(draws.values())).unique()
    rows = {key: torch.searchsorted(used, drawn) for key, drawn in draws.items()}
    painter = _Painter(plan, folder, workers, show)
    strengths, chosen = _choose(painter, _referee(plan, train, show), validation)
    of, seconds = painter.copies(train.subset(used), "train", chosen)
    kept = Copies(photos[used], train.labels[used], of)
    return Pool(train.classes, kept, rows, tests, strengths, chosen, seconds)


def check_sides(sides):
    """Raise ValueError where one picture, bit for bit, lies on two sides of a split; sides: {name: (N, 3, H, W)}."""
    where = {}
    for side, images in sides.items():
        for image in images:
            digest = hashlib.sha256(image.numpy().tobytes()).digest()
            if where.setdefault(digest, side) != side:
                raise ValueError(
                    f"a picture of the {where[digest]} side lies on the {side} side, too: remove it from one of them"
                )


def _tests(plan, root, show):
    """{name: ImageDataset} of what is tested on."""
    places = DOMAINS if plan.data == "vending" else ("test",)
    options = [{"domain": place} if plan.data == "vending" else {} for place in places]
    return {
        place: load_dataset(plan.data, "test", root=root, size=plan.paint_size, callback=_named(show, place), **given)
        for place, given in zip(places, options)
    }


def _named(show, what):
    return lambda done, total: show(what, done, total)


def _pixels(dataset, size):
    """(N, 3, size, size) uint8 and labels."""
    parts = [
        _bytes(resize(dataset.batch(part.tolist())[0], (size, size))) for part in torch.arange(len(dataset)).split(256)
    ]
    return torch.cat(parts), dataset.labels


def _bytes(images):
    return (images * 255).round().to(torch.uint8)


# ---------------------------------------------------------------- copies


class _Painter:
    """Makes copies of the photos of a data set, in files for the painted ones."""

    def __init__(self, plan, folder, workers, show):
        self.plan, self.workers, self.show = plan, workers, show
        self.folder = Path(folder, f"{Path(plan.data).name} {plan.paint_size} px")  # other plans may share it
        self.styles = named_styles(list(plan.styles) or painting_names())
        self.colors = Colors(*map(torch.cat, zip(*map(color_statistics, self.styles.values()))))

    def copies(self, photos, name, chosen):
        """{kind: (N, K, 3, size, size)} of a data set, and {kind: seconds a copy}, of the kinds that the arms need."""
        styled, rows = self.painted(photos, name, chosen["styled"], self.plan.copies)
        of, seconds = (
            {"styled": styled, "recoloured": self.recoloured(photos, rows, chosen["recoloured"])},
            {"styled": _mean(rows)},
        )
        if self.plan.shows("unpainted"):
            of["unpainted"], rows = self.painted(photos, name, 0, 1)
            seconds["unpainted"] = _mean(rows)
        return of, seconds

    def painted(self, photos, name, strength, n):
        """(N, K, 3, size, size) painted at a strength, and the rows of the manifest in the same order, N * K."""
        source = self._export(photos, name)
        out = self.folder / f"{name} {self.plan.method} {strength:g} x{n}"
        result = stylize_folder(
            source,
            out,
            list(self.styles.values()),
            per_image=n,
            alpha=strength,
            mixture=self.plan.mixture,
            method=self.plan.method,
            steps=self.plan.paint_steps,
            workers=self.workers,
            callback=_named(self.show, f"painting at strength {strength:g}"),
        )
        if result.errors:
            raise ValueError(
                f"{len(result.errors)} photos could not be painted, such as {next(iter(result.errors.items()))}"
            )
        rows = {(row["source"], row["copy"]): row for row in result.rows}
        wanted = [rows[path, copy] for path in self._paths(photos) for copy in range(n)]
        size = (self.plan.size, self.plan.size)
        images = torch.cat([_bytes(resize(read_image(out / row["file"]), size)) for row in wanted])
        return images.unflatten(0, (len(photos), n)), wanted

    def recoloured(self, photos, rows, strength):
        """(N, K, 3, size, size): copies that take the colours of the same mixtures of styles, and nothing else."""
        n = len(rows) // len(photos)
        shares = torch.tensor([[row["styles"].get(f"style {i}", 0) for i in range(len(self.styles))] for row in rows])
        target = mixed_colors(self.colors, (shares / shares.sum(1, keepdim=True)).double())
        parts = []
        for part in torch.arange(len(rows)).split(256):
            images = photos.batch((part // n).tolist())[0]
            moved = match_colors(images, Colors(*(each[part] for each in target)), strength)
            parts.append(_bytes(resize(moved, (self.plan.size, self.plan.size))))
        return torch.cat(parts).unflatten(0, (len(photos), n))

    def _export(self, photos, name):
        """The photos as a class folder, for `stylize_folder` to read."""
        source = self.folder / f"{name} photos"
        for i, path in enumerate(self._paths(photos)):
            file = source / path
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                write_image(photos[i][0][None], file)
        return source

    @staticmethod
    def _paths(photos):
        """A path for each photo: its class, and a digest of its pixels, which is its own in any subset."""
        images = _bytes(photos.batch(range(len(photos)))[0])
        names = [hashlib.sha256(image.numpy().tobytes()).hexdigest()[:16] for image in images]
        return [f"{photos.classes[label]}/{name}.png" for label, name in zip(photos.labels.tolist(), names)]


def _mean(rows):
    known = [row["seconds"] for row in rows if row["seconds"] is not None]
    return sum(known) / len(known) if known else None


# ---------------------------------------------------------------- strength


def _referee(plan, train, show):
    """A classifier fine-tuned on all photos of the training side, with classical augmentation."""
    model = new_model("fine-tuned", len(train.classes), 0, frozen=plan.frozen)
    epochs = max(1, round(4 * plan.steps[1] * plan.batch / len(train)))
    fit(
        model,
        _pixels_as_data(train, plan.size),
        epochs=epochs,
        lr=plan.lr[1],
        augment=classical(plan.size),
        batch_size=plan.batch,
        device="cpu",
        callback=lambda step: show("referee", step.step, step.steps),
    )
    return model


def _pixels_as_data(dataset, size):
    images, labels = _pixels(dataset, size)
    return images / 255, labels


def _choose(painter, referee, validation):
    """Dicts of what the referee tells at each strength, and {kind: the strongest that keeps the labels}."""
    plan = painter.plan
    n = min(plan.validation, int(torch.bincount(validation.labels).min()))  # a small class folder has fewer
    few = validation.subset(draw_per_class(validation.labels, n, 0, validation.classes))
    found = [{"kind": "photos", "strength": 0.0, "preserved": _told(referee, _pixels(few, plan.size)[0], few.labels)}]
    for strength in plan.strengths:
        images, rows = painter.painted(few, "validation", strength, 1)
        found.append({"kind": "styled", "strength": strength, "preserved": _told(referee, images[:, 0], few.labels)})
    for strength in RECOLOUR_STRENGTHS:
        images = painter.recoloured(few, rows, strength)  # mixtures do not depend on the strength of the paint
        found.append(
            {"kind": "recoloured", "strength": strength, "preserved": _told(referee, images[:, 0], few.labels)}
        )
    return found, {kind: strongest(found, kind, plan.preserved) for kind in ("styled", "recoloured")}


def strongest(found, kind, preserved):
    """The largest strength at which so many labels are preserved; the smallest one if there is none."""
    own = {row["strength"]: row["preserved"] for row in found if row["kind"] == kind}
    return max((strength for strength, part in own.items() if part >= preserved), default=min(own))


def _told(referee, images, labels):
    return float(evaluate(referee, (images / 255, labels), batch_size=32))


# ---------------------------------------------------------------- on disk, for the worker processes


def save_pool(pool, path):
    """Write a pool; the file appears whole or not at all."""
    with replacing(path) as part:
        torch.save(pool._asdict() | {"copies": asdict(pool.copies)}, part)


def load_pool(path):
    """What `save_pool` wrote."""
    state = torch.load(path, weights_only=True)
    return Pool(**state | {"copies": Copies(**state["copies"])})
