"""What there is to paint, and what of it is done: a job for each picture, and tiles of jobs that share a pass.

What a picture looks like depends on its own path, the styles and the seed alone. Its recipe, a digest of all that
decides its looks, is kept inside the picture, so that a later run knows what is done.
"""

import hashlib
import json
import os
from collections import defaultdict
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..backbones import MIN_SIDE, Backbone, backbone
from ..datasets.class_folders import class_listing, split_folders, split_of
from ..engine import checks
from ..engine.checks import scaled_size
from ..engine.decoding import is_photo, upright_shape
from ..engine.files import file_digest, read_json_lines
from ..fast.network import SHA256 as FAST_WEIGHTS
from ..fast.painting import draw_shares, strengths
from ..samples.styles import named_styles
from ..transfer import METHODS

NETWORK = "efficientnet_lite0"  # where the user names none: light enough for a folder of thumbnails
TILE, TILE_SIDE = 8, 128  # so many pictures share a pass, if their longer side has at most so many pixels
NOTE, MANIFEST = "d2lstyle", "manifest.jsonl"  # the keyword of the note inside a picture; the file beside them
HELD_OUT = ("validation", "test")
LONGEST_NAME = 200  # bytes, of a picture's; some file systems take no more than 255, others fewer
RECIPE = 3  # to be raised when pictures come out differently


@dataclass(eq=False)  # joblib compares those of two calls, and tensors are not simply equal
class Settings:
    """What shapes the pictures, of `stylize_folder`: checks itself, reads styles and network, travels to workers."""

    source: Path
    out: Path
    styles: dict  # {name: (1, 3, h, w)}, of a list
    net: Backbone
    device: str
    method: str
    per_image: int
    alpha: tuple  # (lowest, highest), of a number or such a pair
    mixture: float
    size: int | None
    steps: int
    seed: int

    def __post_init__(self):
        fast = checks.choice("method", self.method, METHODS) == "fast"
        self.per_image, self.steps = (checks.whole(name, getattr(self, name), 1) for name in ("per_image", "steps"))
        self.seed = checks.seed(self.seed)
        checks.number("mixture", self.mixture, 0)
        if self.size is not None:
            checks.pixels("size", self.size)
        if strengths(self.alpha)[1] > 1 and fast:
            raise ValueError(f"expected alpha in [0, 1] for the fast method, got {self.alpha!r}")
        self.alpha = strengths(self.alpha)
        if self.net is None or isinstance(self.net, str):
            self.net = backbone(self.net or NETWORK, device=self.device)
        if not isinstance(self.net, Backbone):
            raise TypeError(f"expected net as a Backbone, or the name of one, got {type(self.net).__name__}")
        pictures = named_styles(self.styles)
        digests = {name: _digest(picture.numpy().tobytes()) for name, picture in pictures.items()}
        # By digest: Grams or codes are added in the order of the styles, and another would be rounded in another way.
        self.digests = dict(sorted(digests.items(), key=lambda item: item[::-1]))
        self.styles = {name: pictures[name] for name in self.digests}


@dataclass(frozen=True, eq=False)
class Job:
    """One picture to make; its fields are the manifest's, besides the seconds."""

    file: str  # below the folder written
    source: str  # below the folder read
    source_sha256: str
    split: str | None  # None where the folder has no splits
    copy: int  # which of the copies of its source, from 0
    styles: dict  # {name: proportion}
    alpha: float  # strength; 1 is the network's own style weight, or all of the fast method
    recipe: str  # digest of all that decides how the picture looks
    method: str = "optimise"


def listings(source, out, force, passed):
    """{split, None where there is none: {class: files}} of what may be painted; a ValueError for unfit folders.

    `passed`, {path: why}, takes in what is not read.
    """
    if not source.is_dir():
        raise ValueError(f"there is no folder {source}")
    check_place(source, out)
    places, side = split_folders(source, passed), split_of(source.resolve().name)
    if not places and side in HELD_OUT and not force:
        why = "painted, it has nothing left to say of photos (force=True does it)"
        raise ValueError(f"{source} is a {side} split: {why}")
    if places and not force:
        if "train" not in places:
            raise ValueError(f"{source} has no folder 'train', only {', '.join(places)} (force=True paints those)")
        places = {"train": places["train"]}
    return {split: class_listing(place, passed) for split, place in (places or {side: source}).items()}


def check_place(source, out):
    """Raise ValueError unless pictures in `out` can be taken for nobody's photos, whatever links lead there."""
    full, target = source.resolve(), out.resolve()
    nearest = next(place for place in (target, *target.parents) if place.exists())
    if not nearest.is_dir():
        raise ValueError(f"expected a folder to write, got {out}: {nearest} is a file")
    own = split_folders(full.parent) if split_of(full.name) else split_folders(full)
    classes = [file for split in (full, *own.values()) for file in split.iterdir() if file.is_dir()]
    places = (full, *own.values(), *classes, *_other_splits(target))
    links = [link.resolve() for link in out.rglob("*") if link.is_symlink() and link.is_dir()]
    for place, written in product(places, (target, *links)):
        inside = any(place.samefile(above) for above in (written, *written.parents) if above.exists())
        if inside or written.exists() and any(written.samefile(above) for above in place.resolve().parents):
            where = f"{'outside' if inside else 'that does not hold'} {source if place == full else place}"
            raise ValueError(f"expected a folder {where} to write, got {out}: its pictures would be taken for photos")


def _other_splits(out):
    """Folders of photos for training, validation or test that `out` is, is in or holds, and that are not painted."""
    for root in (out, out.parent, out.parent.parent):
        with suppress(ValueError, OSError):  # no such folder, or one that is no data set
            places = split_folders(root).values()
            yield from (place for place in places if len(places) > 1 and not all(ours for _, ours in others(place)))


def others(folder, expected=()):
    """(photo, whether it is painted by us) of all below a folder besides those expected."""
    for file in folder.rglob("*"):
        if is_photo(file) and file not in expected and file.is_file() and file.name[0] != ".":
            yield file, _note(file)[0] is not None


def plan(settings, sources):
    """{Job: (height, width)} for all `listings`, and {source: error} of images whose size cannot be read."""
    slow = settings.method == "optimise"
    painter = [settings.steps, settings.net.name, weights_digest(settings.net)] if slow else [FAST_WEIGHTS]
    common = [RECIPE, settings.method, settings.size, *painter]
    jobs, errors = {}, {}
    files = [(split, file) for split, listing in sources.items() for files in listing.values() for file in files]
    for split, file in files:
        source = file.relative_to(settings.source).as_posix()
        try:
            shape, sha256 = _shape(file, settings.size), file_digest(file)
        except (ValueError, OSError) as error:
            errors[source] = str(error)
            continue
        for copy in range(settings.per_image):
            target = Path(source).with_name(_name_of(file, copy)).as_posix()
            shares, alpha = _draw(source, copy, settings)
            by_digest = sorted((settings.digests[name], share) for name, share in shares.items())
            recipe = _digest([*common, sha256, alpha, by_digest])
            jobs[Job(target, source, sha256, split, copy, shares, alpha, recipe, settings.method)] = shape
    return jobs, errors


def _name_of(file, copy):
    """No two of a folder have one. What would be too long, or be read in two ways, ends in a digest."""
    name = f"{file.stem}_{file.suffix[1:]}"
    if len(os.fsencode(name)) > LONGEST_NAME or not file.suffix[1:].isalnum():
        name = f"{file.stem[:40]}_{_digest(file.name)[:16]}"
    return f"{name}_{copy}.png"


def _draw(source, copy, settings):
    """({style: proportion}, strength) of a picture: the same whoever asks, and in whatever order."""
    rng = np.random.default_rng(int(_digest([source, copy, list(settings.digests.values()), settings.seed]), 16))
    shares = zip(settings.styles, draw_shares(rng, len(settings.styles), settings.mixture))
    rounded = {name: round(float(share), 4) for name, share in shares if share >= 5e-5}  # as the manifest says
    return rounded, round(float(rng.uniform(*settings.alpha)), 4)


def weights_digest(net):
    values = [value.contiguous().flatten().view(torch.uint8) for value in net.state_dict().values()]
    return _digest(torch.cat(values).cpu().numpy().tobytes())  # from a GPU in one go


def _digest(what):
    """sha256 of bytes, or of anything that JSON can say."""
    return hashlib.sha256(what if isinstance(what, bytes) else json.dumps(what).encode()).hexdigest()


def _shape(file, size):
    """(height, width) that the image will have, from the head of its file."""
    try:
        shape = upright_shape(file)
    except (ValueError, OSError) as error:
        raise ValueError(f"{file} cannot be read as an image: {error}") from None
    height, width = shape if size is None else scaled_size(shape, size)
    if min(height, width) < MIN_SIDE:
        expected = f"expected at least {MIN_SIDE} x {MIN_SIDE} pixels"
        raise ValueError(f"{expected}, got {height} x {width}: give a larger size")
    return height, width


def tiles_of(jobs):
    """Lists of jobs that share a pass, all of one shape, out of {job: shape}."""
    by_shape = defaultdict(list)
    for job, shape in jobs.items():
        by_shape[shape].append(job)
    starts = [(shape, i) for shape, alike in by_shape.items() for i in range(0, len(alike), tile_size(shape))]
    return [by_shape[shape][i : i + tile_size(shape)] for shape, i in starts]


def tile_size(shape):
    """How many pictures of a shape share a pass, be there so many or not: a function of the picture alone."""
    return TILE if max(shape) <= TILE_SIDE else 1


def finished(out, jobs, resume):
    """{file: row} of the jobs whose picture is there; the note inside each tells, whatever became of the manifest.

    A damaged picture of ours is not among them, and so painted again; a file of others is a ValueError.
    """
    rows, listed, manifest = {}, {}, out / MANIFEST
    lines = read_json_lines(manifest) if manifest.is_file() else [{}] * manifest.exists()  # a folder, or a pipe
    for row in lines:
        if isinstance(row.get("file"), str) and isinstance(row.get("seconds"), (int, float)):
            listed.setdefault(row["file"], {})[str(row.get("recipe"))] = row["seconds"]
    for job in jobs:
        path = out / job.file
        if path.exists():
            note, whole = _note(path)
            if note is None and not (path.is_file() and not whole and (job.file in listed or _is_blank(path))):
                raise ValueError(
                    f"{path} is in the way, and no picture of ours: choose another folder, or move it elsewhere"
                )
            if resume and whole and note.get("recipe") == job.recipe:
                rows[job.file] = asdict(job) | {"seconds": listed.get(job.file, {}).get(job.recipe)}
    if lines and not any("source_sha256" in line for line in lines) and not rows:
        raise ValueError(f"{manifest} is in the way, and no manifest of ours: choose another folder")
    return rows


def _note(path):
    """(what a picture says of itself, None for a file that is none of ours; whether it is an image, and whole)"""
    note = None
    try:
        if path.is_file():  # a pipe would be waited for
            with Image.open(path) as image:
                note = json.loads(image.info[NOTE]) if NOTE in image.info else None
                image.verify()
                return note if isinstance(note, dict) else None, True
    except Exception:  # Pillow raises nearly every kind on damaged data
        pass
    return note if isinstance(note, dict) else None, False


def _is_blank(path):
    """Whether a file holds zeros at most, as one does that was written when the power went."""
    return not path.read_bytes().strip(b"\0")
