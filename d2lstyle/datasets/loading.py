"""Data sets for fine-tuning: vending (embedded), clothing, hotdog, cifar10, any class folder; square, with labels."""

import os
import warnings
from contextlib import suppress
from operator import index
from pathlib import Path

import numpy as np
import torch

from ..engine import checks
from ..images import resize
from ..samples.vending import generate
from .class_folders import SPLITS, class_folder, class_listing, flat
from .downloads import by_commit, by_digest, fetch_archive, unpack
from .reading import for_each, read_file
from .splits import folds

NAMES = ("vending", "clothing", "hotdog", "cifar10")
CACHE_BYTES = 1 << 30  # of decoded pixels, for each call of load_dataset

_SIZES = {"vending": 96, "cifar10": 32}  # else 224
_HOTDOG_URL = "http://d2l-data.s3-accelerate.amazonaws.com/hotdog.zip"
_HOTDOG_DIGEST = ("sha1", "fba480ffa8aa7e0febbb511d181409f899b9baa5")
_CLOTHING_COMMIT = "36364be1969242c019705255cd87aed00c73a939"  # the one that added the photos
_CLOTHING_URL = f"https://github.com/alexeygrigorev/clothing-dataset-small/archive/{_CLOTHING_COMMIT}.zip"
_CLOTHING_TOP = f"clothing-dataset-small-{_CLOTHING_COMMIT}"
_CLOTHING_CLASSES = ("dress", "hat", "longsleeve", "outwear", "pants", "shirt", "shoes", "shorts", "skirt", "t-shirt")
_CLOTHING_SIDES = {  # photos of each class
    "train": (241, 123, 455, 184, 468, 290, 198, 202, 112, 795),
    "validation": (32, 14, 49, 24, 49, 29, 26, 25, 12, 81),
    "test": (15, 12, 72, 38, 42, 26, 73, 30, 12, 52),
}
_ZIP_BYTES, _CIFAR10_BYTES = 500_000_000, 170_498_071  # at most; no page states those of hotdog and clothing
_IMBALANCE = 10  # of the largest and the smallest class, from which on it is worth a warning


class ImageDataset(torch.utils.data.Dataset):
    """Square images and their labels; decoded once, kept in memory as bytes.

    Attributes:
        name, split: where it comes from, such as "vending/studio" and "train".
        classes: names, sorted; a label is a position in this list.
        labels: (N,) int64.
        files: N paths; for cifar10, which has no files, names alone.
        size: side of the images in pixels.
    """

    def __init__(self, name, split, classes, labels, files, pixels, rows):
        self.name, self.split, self.classes, self.labels, self.files = name, split, classes, labels, files
        self.size, self._pixels, self._rows = pixels.size, pixels, rows  # subsets share pixels; rows are our images

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        """(image, label): (3, size, size) float32 in [0, 1], and an int."""
        images, labels = self.batch([index(i)])
        return images[0], labels.item()

    def batch(self, indices):
        """Several items at once, faster than one by one and equal to them.

        Args:
            indices: integers from -N to N - 1, as a list, range, array or tensor.
        Returns:
            images (B, 3, size, size), float32 in [0, 1]; labels (B,), int64.
        Raises:
            TypeError: indices are not integers.
            IndexError: one is out of range.
        """
        indices = self._checked(indices)
        return self._pixels[self._rows[indices]].float().div_(255), self.labels[indices]

    def subset(self, indices):
        """The `ImageDataset` of these items, in this order; nothing is read again."""
        indices = self._checked(indices)
        labels, rows, files = self.labels[indices], self._rows[indices], [self.files[i] for i in indices]
        return ImageDataset(self.name, self.split, self.classes, labels, files, self._pixels, rows)

    def __repr__(self):
        return f"{self.name} {self.split}: {len(self)} images of {len(self.classes)} classes, {self.size} x {self.size}"

    def _checked(self, indices):
        indices = np.asarray(indices)
        if indices.ndim != 1 or (indices.size and not np.issubdtype(indices.dtype, np.integer)):
            raise TypeError(f"expected indices as a row of integers, got {indices.dtype} of shape {indices.shape}")
        indices = indices.astype(np.int64)
        wrong = indices[(indices < -len(self)) | (indices >= len(self))]
        if wrong.size:
            raise IndexError(f"expected indices below {len(self)}, the number of images, got {wrong[0]}")
        return torch.from_numpy(indices % max(len(self), 1))


def load_dataset(
    name, split="train", *, domain="studio", root="data", size=None, per_class=None, seed=0, split_seed=0, callback=None
):
    """One split of a data set.

    A class folder is <folder>/train|validation|test/<class>/<image>; validation may be called val or valid, and is
    split off train (a seventh) where it is missing; a folder without any of the three, <folder>/<class>/<image>, is
    split into five, one and one sevenths. Such a split keeps near-duplicates (copies that are re-encoded, resized,
    mirrored or a little brighter) on one side; what it compares is kept in the folder, in a hidden file.
    Photos in folders of a class are of that class. Hidden files, notes (.txt, .csv, .json, README, ...) and what
    systems leave behind (Thumbs.db, __MACOSX, ...) are passed over; every other file of a class must be an image.
    A warning each names: what else is not read, such as links that lead nowhere or folders that are no split; equal
    files on two sides; those under two labels; a largest class of over ten times the smallest one, in train.

    Args:
        name: "vending", "clothing", "hotdog", "cifar10", or the path of a class folder.
        split: "train", "validation" or "test".
        domain: of vending: "studio", "showroom" or "new_packaging".
        root: the folder where downloads and generated pictures are, or will be.
        size: side of the square items: the middle square of each image, resized to it (antialiased). Default: 96 for
            vending, 32 for cifar10, else 224.
        per_class: keep so many images of each class, drawn by seed; with one seed, fewer are among more.
        seed: of that draw alone, so that experiments with several seeds share their test images.
        split_seed: of an automatic split; give the same one for train, validation and test, or they overlap. Vending is
            drawn by it: 0 gives the pictures of the chapters, another number fresh ones.
        callback: called with (done, total): bytes while downloading, then images while drawing, comparing and reading.
    Returns:
        ImageDataset.
    Raises:
        ValueError: a wrong argument, a folder that is no class folder, or files that cannot be read; it says which.
        ConnectionError: the data set is not here and cannot be downloaded; it says what to put where.
        OSError: a download cannot be written, or a folder not be read.
    """
    checks.choice("split", split, SPLITS)
    size = checks.whole("size", _SIZES.get(str(name), 224) if size is None else size, 1)
    per_class = None if per_class is None else checks.whole("per_class", per_class, 1)
    seed, split_seed = checks.whole("seed", seed, 0), checks.whole("split_seed", split_seed, 0, 2**32 - 1)
    if name != "vending" and domain != "studio":
        raise ValueError(f"only vending has domains, got domain={domain!r} for {str(name)!r}")
    root, title, pictures, notes = Path(root).expanduser(), str(name), None, []
    if name == "cifar10":
        classes, files, labels, pictures = _cifar10(root, split, split_seed, callback)
    elif name == "vending":
        title = f"vending/{domain}"
        drawn = generate(root, domain, split, seed=split_seed, callback=callback)
        classes, files, labels = flat(class_listing(drawn))
    else:
        folder = _downloaded(name, root, callback) if name in ("clothing", "hotdog") else _existing_folder(name)
        title = folder.resolve().name
        classes, files, labels = flat(class_folder(folder, split, split_seed, notes, callback))
    labels = torch.tensor(labels, device="cpu")
    kept = range(len(files)) if per_class is None else draw_per_class(labels, per_class, seed, classes)
    files, labels = [files[i] for i in kept], labels[kept]
    for note in notes + (_imbalance(labels, classes) if split == "train" else []):
        warnings.warn(note, stacklevel=2)
    pixels = _Pixels(files if pictures is None else pictures[kept], size, callback)
    return ImageDataset(title, split, classes, labels, files, pixels, torch.arange(len(files), device="cpu"))


class _Pixels:
    """Square images as bytes: as many as CACHE_BYTES hold are kept, the others are read again each time."""

    def __init__(self, items, size, callback):
        self.items, self.size = items, size  # items: files, or (N, 3, H, W) bytes
        if isinstance(items, torch.Tensor) and items.shape[-1] == size:
            self.kept = items
        else:
            count = min(len(items), CACHE_BYTES // (3 * size**2))
            self.kept = torch.empty((count, 3, size, size), dtype=torch.uint8, device="cpu")
            for_each(self._keep, items, callback)

    def __getitem__(self, rows):
        if (rows < len(self.kept)).all():
            return self.kept.index_select(0, rows)  # copies row by row, several times faster than kept[rows]
        return torch.stack([self.kept[row] if row < len(self.kept) else self._square(row) for row in rows.tolist()])

    def _keep(self, row):
        square = self._square(row)  # those that are not kept are decoded too: every file is checked
        if row < len(self.kept):
            self.kept[row] = square

    def _square(self, row):
        item = self.items[row]
        image = item[None].float() / 255 if isinstance(item, torch.Tensor) else read_file(item)
        height, width = image.shape[-2:]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = resize(image[..., top : top + side, left : left + side], (self.size, self.size))
        return (square[0] * 255).round().to(torch.uint8)


def _imbalance(labels, classes):
    (most, large), (fewest, small) = (find(zip(labels.bincount().tolist(), classes)) for find in (max, min))
    advice = 'fit(class_weights="balanced") gives each class the same weight'
    ratio = f"{large!r} has {most} images to train, {small!r} only {fewest}: {advice}"
    return [ratio] if most > _IMBALANCE * fewest else []


def _existing_folder(name):
    path = Path(name).expanduser() if name and isinstance(name, (str, os.PathLike)) else None
    if path and path.is_file():
        raise ValueError(f"{path} is a file, expected a class folder: if it is an archive, unpack it first")
    if not path or not path.is_dir():
        raise checks.unknown_name("dataset", str(name), [*NAMES, "or the path of a class folder"])
    return path


def _downloaded(name, root, callback):
    """The class folder of this name, which is taken as it is, or else from its published archive."""
    folder, archive = root / name, root / f"{name}.zip"
    if not folder.is_dir():
        url, fault, top = _published(name)
        fetch_archive(name, url, archive, fault, callback, _ZIP_BYTES)
        unpack(archive, folder, most=_ZIP_BYTES, top=top)
    return folder


def _published(name):
    """The address of an archive, what tells another file from it, and the name of its one folder."""
    if name == "hotdog":
        return _HOTDOG_URL, by_digest(*_HOTDOG_DIGEST), name
    sides = ((side, zip(_CLOTHING_CLASSES, counts)) for side, counts in _CLOTHING_SIDES.items())
    counts = {f"{_CLOTHING_TOP}/{side}/{kind}": count for side, classes in sides for kind, count in classes}
    return _CLOTHING_URL, by_commit(_CLOTHING_COMMIT, counts), _CLOTHING_TOP


def _cifar10(root, split, split_seed, callback):
    """classes, names in place of files, labels, and the pictures as (N, 3, 32, 32) bytes."""
    from torchvision.datasets import CIFAR10  # slow to import, hence not above

    def read():
        with suppress(RuntimeError):  # not there, or damaged
            return CIFAR10(root, train=source == "train")

    source = "test" if split == "test" else "train"
    if not (data := read()):
        archive = root / CIFAR10.filename
        fetch_archive("cifar10", CIFAR10.url, archive, by_digest("md5", CIFAR10.tgz_md5), callback, _CIFAR10_BYTES)
        unpack(archive, root / CIFAR10.base_folder, read, _CIFAR10_BYTES)
        data = CIFAR10(root, train=source == "train")
    labels, rows = np.asarray(data.targets), np.arange(len(data.targets))
    if source == "train":
        held_out = folds(labels, rows, 10, split_seed) == 0  # 5,000 of 50,000 images
        rows = np.flatnonzero(held_out == (split == "validation"))
    files = [Path("cifar10", source, f"{row:05d}") for row in rows]
    return data.classes, files, labels[rows].tolist(), torch.from_numpy(data.data[rows].transpose(0, 3, 1, 2).copy())


def draw_per_class(labels, per_class, seed, classes):
    """(per_class * classes,) sorted positions: of each class the first of one shuffle, so that fewer are among more."""
    drawn = []
    for label, name in enumerate(classes):
        positions = (labels == label).nonzero()[:, 0]
        if (count := len(positions)) < per_class:
            raise ValueError(f"expected per_class of at most {count}, the images of class {name!r}, got {per_class}")
        drawn.append(positions[np.random.default_rng([seed, label]).permutation(len(positions))[:per_class]])
    return torch.cat(drawn).sort().values
