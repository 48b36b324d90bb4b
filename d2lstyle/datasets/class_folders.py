"""Class folders: which files, of which class, on which side; and one error for all files that cannot be read."""

import os
import warnings
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ..engine.files import file_digest
from ..images import read_image
from .splits import near_duplicate_groups, split_sides

SPLITS = ("train", "validation", "test")

_FOLDER_NAMES = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "test": "test",
}
_THREE_WAYS = {"train": 0.7, "validation": 0.15, "test": 0.15}
_TWO_WAYS = {"train": 0.85, "validation": 0.15}

_ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
_NOTES = {".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".yaml", ".yml", ".xml", ".html", ".ini", ".db"}
_NOTE_NAMES = {"readme", "license", "licence", "credits", "makefile"}


def class_folder(folder, split, split_seed=0, callback=None):
    """The files of one split of a class folder.

    Args:
        folder: a pathlib.Path, laid out as `load_dataset` says.
        split: one of SPLITS.
        split_seed: of the splits that are not given.
        callback: called with (images compared, images in all) where there is something to split.
    Returns:
        {class: its files}, both sorted.
    Raises:
        ValueError: it is no class folder, its sides differ in classes, or there is too little to split.
    """
    places = split_folders(folder)
    if not places:
        return _divide(class_listing(folder), _THREE_WAYS, split_seed, folder, callback)[split]
    missing = [side for side in ("train", split) if side not in places and side != "validation"]
    if missing:
        others = ", ".join(place.name for place in places.values())
        raise ValueError(
            f"{folder} has no folder {missing[0]!r} beside {others}: add it, or put the class folders straight into "
            f"{folder} to have them split"
        )
    given = {side: class_listing(place) for side, place in places.items()}
    for side, listing in given.items():
        _check_classes(places[side], listing, given["train"])
    _warn_of_shared_files(given)
    if "validation" not in given and split != "test":
        given |= _divide(given["train"], _TWO_WAYS, split_seed, places["train"], callback)
    return given[split]


def split_of(name):
    """The split that a folder of this name holds, or None."""
    return _FOLDER_NAMES.get(name.lower())


def split_folders(folder):
    """{split: its folder}; none where the folders are classes, even if a class is called "train"."""
    found, others = {}, False
    for place in _folders_in(folder):
        side = split_of(place.name)
        if side in found:
            raise ValueError(f"{folder} has two folders for {side}, {found[side].name} and {place.name}: keep one")
        if side:
            found[side] = place
        others = others or not side
    holds_classes = any(_folders_in(place) for place in found.values())
    return {side: found[side] for side in SPLITS if side in found and (holds_classes or not others)}


def _folders_in(folder):
    hidden = (".", "__")  # .git, __MACOSX
    return sorted((p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(hidden)), key=lambda p: p.name)


def class_listing(folder):
    """{class: its files}, sorted whatever order the file system lists them in."""
    listing = {}
    for place in _folders_in(folder):
        files = (f for f in place.iterdir() if not f.is_dir() and not _is_note(f))
        listing[place.name] = sorted(files, key=lambda f: f.name)
        if not listing[place.name]:
            raise ValueError(f"class {place.name!r} has no images in {folder}: add some, or remove the folder")
    if not listing:
        raise ValueError(f"{folder} has no class folders: expected one folder with images for each class")
    return listing


def _is_note(file):
    name = file.name.lower()
    return name.startswith(".") or file.suffix.lower() in _NOTES or name in _NOTE_NAMES


def _check_classes(folder, listing, train):
    unknown, absent = sorted(listing.keys() - train), sorted(train.keys() - listing)
    if unknown:
        raise ValueError(
            f"class {unknown[0]!r} in {folder} is unknown to train, which has {', '.join(train)}: rename it, or "
            "remove it"
        )
    if absent:
        raise ValueError(f"class {absent[0]!r} of train has no images in {folder}: add some")


def flat(listing):
    """classes, all files, their labels."""
    files = [file for files in listing.values() for file in files]
    return list(listing), files, [label for label, files in enumerate(listing.values()) for _ in files]


def _warn_of_shared_files(given):
    """Equal bytes on two sides make a test too easy; which copy should go is for the owner to say."""
    by_size = {side: defaultdict(list) for side in given}
    for side, listing in given.items():
        for file in flat(listing)[1]:
            if file.is_file():
                by_size[side][file.stat().st_size].append(file)
    for one, other in combinations(given, 2):
        sizes = by_size[one].keys() & by_size[other]  # most files differ in size, and need no reading
        ours = {file_digest(file): file for size in sizes for file in by_size[one][size]}
        shared = [(ours.get(file_digest(file)), file) for size in sorted(sizes) for file in by_size[other][size]]
        shared = [pair for pair in shared if pair[0]]
        if shared:
            warnings.warn(
                f"{len(shared)} files of {other} are in {one} too, such as {shared[0][1]} and {shared[0][0]}: "
                "remove them from one of the two",
                stacklevel=4,
            )  # the line that called load_dataset


def _divide(listing, shares, seed, folder, callback):
    """{side: {class: its files}}: near-duplicates on one side, every class on every side."""
    classes, files, labels = flat(listing)
    for name, own in listing.items():
        if len(own) < 3:
            raise ValueError(
                f"class {name!r} has {len(own)} images in {folder}: an automatic split needs at least 3; "
                "add some, or make the folders train, validation and test yourself"
            )
    thumbs = for_each(lambda i: _thumb(files[i]), files, callback)
    sides = split_sides(np.array(labels), near_duplicate_groups(torch.stack(thumbs)), shares, seed, classes)
    divided = {side: {name: [] for name in classes} for side in shares}
    for file, label, side in zip(files, labels, sides):
        divided[side][classes[label]].append(file)
    for side, own in divided.items():
        _check_classes(f"the automatic split's {side}", {name: files for name, files in own.items() if files}, listing)
    return divided


def _thumb(file):
    status = file.stat()
    return _thumb_of(file, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=20_000)  # loading train, validation and test compares the images once
def _thumb_of(file, _modified, _size):
    return F.interpolate(read_file(file), (16, 16), mode="area")[0]


def read_file(file):
    """`read_image` of a file that is called an image; a photo of a kind we cannot read is an error, not a gap."""
    if file.suffix.lower() not in _ENDINGS:
        raise ValueError(f"{file} has none of the endings {', '.join(sorted(_ENDINGS))}")
    return read_image(file)


def for_each(function, items, callback):
    """[function(i) for i in range(len(items))], in a few threads.

    One ValueError names all items whose call raised ValueError or OSError: files that cannot be read.
    """

    def attempt(i):
        try:
            return function(i), None
        except (ValueError, OSError) as error:
            return None, error

    results, unreadable = [], []
    pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1))  # a photo takes 0.3 GB while it is decoded, hence few
    try:
        for done, (result, error) in enumerate(pool.map(attempt, range(len(items))), start=1):
            results.append(result)
            if error:
                unreadable.append((items[done - 1], error))
            if callback:
                callback(done, len(items))
    finally:
        pool.shutdown(cancel_futures=True)
    if unreadable:
        folder = os.path.commonpath([Path(item).parent for item in items])
        names = ", ".join(os.path.relpath(item, folder) for item, _ in unreadable[:10])
        more = f" and {len(unreadable) - 10} more" if len(unreadable) > 10 else ""
        raise ValueError(
            f"{len(unreadable)} of {len(items)} files in {folder} cannot be read as images: {names}{more}; "
            f"repair, convert or remove them (the first: {unreadable[0][1]})"
        )
    return results
