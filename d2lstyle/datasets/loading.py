"""Data sets for fine-tuning: vending (embedded), hotdog, cifar10 and any class folder; train, validation and test apart."""

import os
from operator import index
from pathlib import Path

import numpy as np
import torch

from ..engine import checks
from ..engine.checks import unknown_name
from ..engine.files import file_digest
from ..images import resize
from .class_folders import SPLITS, class_folder, class_listing, flat, for_each, read_file
from .downloads import download, extract_zip
from .splits import split_sides

NAMES = ("vending", "hotdog", "cifar10")
CACHE_BYTES = 1 << 30  # of decoded pixels, for each call of load_dataset

_SIZES = {"vending": 96, "cifar10": 32}  # else 224
_HOTDOG_URL = "http://d2l-data.s3-accelerate.amazonaws.com/hotdog.zip"
_HOTDOG_SHA1 = "fba480ffa8aa7e0febbb511d181409f899b9baa5"
_CIFAR10_TWO_WAYS = {"train": 0.9, "validation": 0.1}  # 45,000 and 5,000 images


class ImageDataset(torch.utils.data.Dataset):
    """Square images and their labels; decoded once, kept in memory as bytes.

    Attributes:
        name, split: where it comes from, such as "vending/studio" and "train".
        classes: names, sorted; a label is a position in this list.
        labels: (N,) int64.
        files: N paths; for cifar10, which has no files, names alone.
        size: side of the images in pixels.
    """

    def __init__(self, name, split, classes, labels, files, store, rows):
        self.name, self.split, self.classes, self.labels, self.files = name, split, classes, labels, files
        self.size = store.size
        self._store, self._rows = store, rows  # subsets share the store; rows are our images in it

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
        return self._store[self._rows[indices]] / 255, self.labels[indices]

    def subset(self, indices):
        """The `ImageDataset` of these items, in this order; nothing is read again."""
        indices = self._checked(indices)
        files = [self.files[i] for i in indices.tolist()]
        labels, rows = self.labels[indices], self._rows[indices]
        return ImageDataset(self.name, self.split, self.classes, labels, files, self._store, rows)

    def __repr__(self):
        return f"{self.name} {self.split}: {len(self)} images of {len(self.classes)} classes, {self.size} x {self.size}"

    def _checked(self, indices):
        found = np.asarray(indices)
        if found.ndim != 1 or (found.size and not np.issubdtype(found.dtype, np.integer)):
            raise TypeError(f"expected indices as a row of integers, got {found.dtype} of shape {found.shape}")
        found = found.astype(np.int64)
        wrong = found[(found < -len(self)) | (found >= len(self))]
        if wrong.size:
            raise IndexError(f"expected indices below {len(self)}, the number of images, got {wrong[0]}")
        return torch.from_numpy(found % max(len(self), 1))


def load_dataset(
    name, split="train", *, domain="studio", root="data", size=None, per_class=None, seed=0, split_seed=0, callback=None
):
    """One split of a data set.

    A class folder is <folder>/train|validation|test/<class>/<image>; validation may be called val or valid, and is
    split off train (15 %) where it is missing; a folder without any of the three, <folder>/<class>/<image>, is split
    into 70, 15 and 15 %. Such a split keeps near-duplicates (copies that are re-encoded, resized, mirrored or a little
    brighter) on one side. A split that you made is left as it is; files that lie on two sides of it are warned of.

    Hidden files and notes (.txt, .csv, .json, README, ...) are passed over; every other file must be an image.

    Args:
        name: "vending", "hotdog", "cifar10", or the path of a class folder.
        split: "train", "validation" or "test".
        domain: of vending: "studio", "showroom" or "new_packaging".
        root: the folder where downloads and generated pictures are, or will be.
        size: side of the square items: the middle square of each image, resized to it (antialiased). Default: 96 for
            vending, 32 for cifar10, else 224.
        per_class: keep so many images of each class, drawn by seed; with one seed, fewer are among more.
        seed: of that draw alone, so that experiments with several seeds share their test images.
        split_seed: of an automatic split; give the same one for train, validation and test, or they overlap.
        callback: called with (done, total): bytes while downloading, then images while drawing, comparing and reading.
    Returns:
        ImageDataset.
    Raises:
        ValueError: a wrong argument, a folder that is no class folder, or files that cannot be read; it says which.
        ConnectionError: the data set is not here and cannot be downloaded; it says what to put where.
    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    size = checks.whole("size", _SIZES.get(str(name), 224) if size is None else size, 1)
    per_class = None if per_class is None else checks.whole("per_class", per_class, 1)
    seed, split_seed = checks.whole("seed", seed, 0), checks.whole("split_seed", split_seed, 0)
    if name != "vending" and domain != "studio":
        raise ValueError(f"only vending has domains, got domain={domain!r} for {str(name)!r}")
    root = Path(root).expanduser()
    title, pictures = str(name), None
    if name == "vending":
        title = f"vending/{domain}"
        classes, files, labels = flat(_vending(root, domain, split, callback))
    elif name == "cifar10":
        classes, files, labels, pictures = _cifar10(root, split, split_seed, callback)
    else:
        folder = _hotdog(root, callback) if name == "hotdog" else _given_folder(name)
        title = folder.resolve().name
        classes, files, labels = flat(class_folder(folder, split, split_seed, callback))
    labels = torch.tensor(labels)
    if per_class is not None:
        kept = draw_per_class(labels, per_class, seed, classes)
        files, labels = [files[i] for i in kept.tolist()], labels[kept]
        pictures = None if pictures is None else pictures[kept]
    store = _Store(files if pictures is None else pictures, size, callback)
    return ImageDataset(title, split, classes, labels, files, store, torch.arange(len(files)))


# pixels


class _Store:
    """Images as bytes: as many as CACHE_BYTES hold are kept, the others are read again each time."""

    def __init__(self, items, size, callback):
        self.items, self.size = items, size  # items: paths, or (N, 3, H, W) bytes
        if isinstance(items, torch.Tensor) and items.shape[-2:] == (size, size):
            self.kept = items
            return
        self.kept = torch.empty((min(len(items), CACHE_BYTES // (3 * size**2)), 3, size, size), dtype=torch.uint8)
        for_each(self._keep, items, callback)

    def _keep(self, row):
        square = self._square(row)  # those that are not kept are decoded too: every file is checked
        if row < len(self.kept):
            self.kept[row] = square

    def _square(self, row):
        item = self.items[row]
        image = item[None] / 255 if isinstance(item, torch.Tensor) else read_file(item)
        height, width = image.shape[-2:]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = resize(image[..., top : top + side, left : left + side], (self.size, self.size))
        return (square[0] * 255).round().to(torch.uint8)

    def __getitem__(self, rows):
        if (rows < len(self.kept)).all():
            return self.kept.index_select(0, rows)  # copies row by row, several times faster than kept[rows]
        return torch.stack([self.kept[row] if row < len(self.kept) else self._square(row) for row in rows.tolist()])


# sources


def _vending(root, domain, split, callback):
    from ..samples.vending import DOMAINS, generate

    if domain not in DOMAINS:
        raise unknown_name("domain", domain, DOMAINS)
    return class_listing(generate(root, domain, split, callback=callback))


def _hotdog(root, callback):
    folder = root / "hotdog"
    if not folder.is_dir():
        extract_zip(_archive("hotdog", _HOTDOG_URL, root / "hotdog.zip", _HOTDOG_SHA1, "sha1", callback), folder)
    return folder


def _cifar10(root, split, split_seed, callback):
    """classes, names in place of files, labels, and the pictures as (N, 3, 32, 32) bytes."""
    from torchvision.datasets import CIFAR10  # slow to import, hence not above

    is_test = split == "test"
    try:
        source = CIFAR10(root, train=not is_test)
    except RuntimeError:  # not there, or damaged
        _archive("cifar10", CIFAR10.url, root / CIFAR10.filename, CIFAR10.tgz_md5, "md5", callback)
        source = CIFAR10(root, train=not is_test, download=True)  # finds the archive, unpacks it
    labels, kept = np.asarray(source.targets), np.arange(len(source.targets))
    if not is_test:
        sides = np.array(split_sides(labels, kept, _CIFAR10_TWO_WAYS, split_seed, source.classes))
        kept = np.flatnonzero(sides == split)
    files = [Path("cifar10", "test" if is_test else "train", f"{i:05d}") for i in kept]
    pictures = torch.from_numpy(source.data[kept].transpose(0, 3, 1, 2).copy())
    return list(source.classes), files, labels[kept].tolist(), pictures


def _archive(name, url, file, digest, algorithm, callback):
    """The archive given by hand, checked, or else downloaded."""
    if file.exists():
        found = file_digest(file, algorithm)
        if found != digest:
            raise ValueError(
                f"{file} is damaged or another file ({algorithm} {found}, expected {digest}): remove it, or put "
                f"{file.name} from {url} in its place"
            )
        return file
    try:
        return download(url, file, digest, algorithm=algorithm, callback=callback)
    except ConnectionError as error:
        raise ConnectionError(
            f"{name} could not be downloaded ({error}): put {file.name} from {url} into the folder "
            f"{file.parent} by hand, or use 'vending', which is embedded and needs no download"
        ) from None


def _given_folder(name):
    folder = Path(name).expanduser() if name and isinstance(name, (str, os.PathLike)) else None
    if folder is None or not folder.is_dir():
        raise unknown_name("dataset", str(name), [*NAMES, "or the path of a class folder"])
    return folder


def draw_per_class(labels, per_class, seed, classes):
    """Positions of some images of each class: the first of one shuffle, so that fewer are among more.

    Args:
        labels: (N,) int64, positions in `classes`.
        per_class: how many.
        seed: of the shuffle.
        classes: names.
    Returns:
        (per_class * classes,) int64, sorted.
    Raises:
        ValueError: a class has fewer images.
    """
    drawn = []
    for label, name in enumerate(classes):
        positions = (labels == label).nonzero()[:, 0]
        if len(positions) < per_class:
            raise ValueError(
                f"expected per_class of at most {len(positions)}, the images of class {name!r}, got {per_class}"
            )
        drawn.append(positions[np.random.default_rng([seed, label]).permutation(len(positions))[:per_class]])
    return torch.cat(drawn).sort().values
