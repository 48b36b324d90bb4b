"""Class folders: which files, of which class, on which side; and one error for all files that cannot be read."""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ..engine.files import equal_files
from ..images import read_image
from .splits import near_duplicate_groups, split_sides

SPLITS = ("train", "validation", "test")

_FOLDER_NAMES = {name: name for name in SPLITS} | {"val": "validation", "valid": "validation"}
_ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
_NOTES = {".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".yaml", ".yml", ".xml", ".html", ".ini", ".db"}
_NOTES |= {"readme", "license", "licence", "credits", "makefile"}


def class_folder(folder, split, split_seed=0, callback=None):
    """{class: its files}, both sorted: one split of a folder laid out as `load_dataset` says; else a ValueError."""
    places = split_folders(folder)
    if not places:
        return _side_of(class_listing(folder), SPLITS, split, split_seed, folder, callback)
    missing = [side for side in ("train", split) if side not in places and side != "validation"]
    if missing:
        others = ", ".join(place.name for place in places.values())
        advice = f"add it, or put the class folders straight into {folder} to have them split"
        raise ValueError(f"{folder} has no folder {missing[0]!r} beside {others}: {advice}")
    listings = {side: class_listing(place) for side, place in places.items()}
    for side, listing in listings.items():
        _check_classes(places[side], listing, listings["train"])
    _warn_of_shared_files(listings)
    if "validation" not in places and split != "test":
        return _side_of(listings["train"], SPLITS[:2], split, split_seed, places["train"], callback)
    return listings[split]


def split_of(name):
    """The split that a folder of this name holds, or None."""
    return _FOLDER_NAMES.get(name.lower())


def split_folders(folder):
    """{split: its folder}; none where the folders are classes, even if a class is called "train"."""
    places, folders = {}, _folders_in(folder)
    for place in folders:
        side = split_of(place.name)
        if side in places:
            raise ValueError(f"{folder} has two folders for {side}, {places[side].name} and {place.name}: keep one")
        if side:
            places[side] = place
    if len(places) < len(folders) and not any(_folders_in(place) for place in places.values()):
        return {}
    return {side: places[side] for side in SPLITS if side in places}


def _folders_in(folder):
    hidden = (".", "__")  # .git, __MACOSX
    return sorted((p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(hidden)), key=lambda p: p.name)


def class_listing(folder):
    """{class: its files}, sorted whatever order the file system lists them in."""
    listing = {}
    for place in _folders_in(folder):
        files = sorted(place.iterdir(), key=lambda file: file.name)
        listing[place.name] = [file for file in files if not file.is_dir() and not _is_note(file)]
        if not listing[place.name]:
            raise ValueError(f"class {place.name!r} has no images in {folder}: add some, or remove the folder")
    if not listing:
        raise ValueError(f"{folder} has no class folders: expected one folder with images for each class")
    return listing


def _is_note(file):
    return file.name.startswith(".") or not _NOTES.isdisjoint((file.name.lower(), file.suffix.lower()))


def _check_classes(folder, listing, train):
    known = ", ".join(train)
    for name in sorted(listing.keys() - train):
        raise ValueError(f"class {name!r} in {folder} is unknown to train, which has {known}: rename it, or remove it")
    for name in sorted(train.keys() - listing):
        raise ValueError(f"class {name!r} of train has no images in {folder}: add some")


def flat(listing):
    """classes, all files, their labels."""
    files = [file for files in listing.values() for file in files]
    return list(listing), files, [label for label, files in enumerate(listing.values()) for _ in files]


def _warn_of_shared_files(listings):
    """Equal files on two sides make a test too easy; which of them should go is for the owner to say."""
    for one, other in combinations(listings, 2):
        if shared := equal_files(flat(listings[other])[1], flat(listings[one])[1]):
            warnings.warn(
                f"{len(shared)} files of {other} are in {one} too, such as {shared[0][0]} and {shared[0][1]}: "
                "remove them from one of the two",
                stacklevel=4,
            )  # the line that called load_dataset


def _side_of(listing, sides, split, seed, folder, callback):
    """{class: its files} of one split: near-duplicates on one side, every class on every side."""
    for name, images in listing.items():
        if len(images) < 3:
            raise ValueError(
                f"class {name!r} has {len(images)} images in {folder}: an automatic split needs at least 3; "
                "add some, or make the folders train, validation and test yourself"
            )
    classes, files, labels = flat(listing)
    thumbs = for_each(lambda i: _thumb(files[i], files[i].stat().st_mtime_ns), files, callback)
    groups = near_duplicate_groups(torch.stack(thumbs))
    side_of_file = dict(zip(files, split_sides(np.array(labels), groups, sides, seed, classes)))
    return {name: [file for file in images if side_of_file[file] == split] for name, images in listing.items()}


@lru_cache(maxsize=20_000)  # loading train, validation and test compares the images once
def _thumb(file, _modified):
    return F.interpolate(read_file(file), (16, 16), mode="area")[0]


def read_file(file):
    """`read_image` of a file that is called an image; a photo of a kind we cannot read is an error, not a gap."""
    if file.suffix.lower() not in _ENDINGS:
        raise ValueError(f"{file} has none of the endings {', '.join(sorted(_ENDINGS))}")
    return read_image(file)


def for_each(function, items, callback):
    """[function(i) for i in range(len(items))], in a few threads; one ValueError names all that cannot be read."""

    def attempt(i):
        try:
            return function(i)
        except (ValueError, OSError) as error:
            return error

    results, pool = [], ThreadPoolExecutor(min(4, os.cpu_count() or 1))  # decoding a photo takes 0.3 GB, hence few
    try:
        for result in pool.map(attempt, range(len(items))):
            results.append(result)
            if callback:
                callback(len(results), len(items))
    finally:
        pool.shutdown(cancel_futures=True)
    unreadable = [(item, result) for item, result in zip(items, results) if isinstance(result, Exception)]
    if unreadable:
        folder = os.path.commonpath([Path(item).parent for item in items])
        names = ", ".join(os.path.relpath(item, folder) for item, _ in unreadable[:10])
        more = f" and {len(unreadable) - 10} more" if len(unreadable) > 10 else ""
        raise ValueError(
            f"{len(unreadable)} of {len(items)} files in {folder} cannot be read as images: {names}{more}; "
            f"repair, convert or remove them (the first: {unreadable[0][1]})"
        )
    return results
