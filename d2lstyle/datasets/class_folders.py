"""Class folders: which files, of which class, on which side; what is passed over is named."""

import os
import re
import unicodedata
from fnmatch import translate
from itertools import combinations

import numpy as np

from ..engine.decoding import is_photo
from ..engine.files import digests_of_alike
from .reading import groups_of
from .splits import split_sides

SPLITS = ("train", "validation", "test")

_FOLDER_NAMES = {name: name for name in SPLITS} | {"val": "validation", "valid": "validation"}
_LIKE_A_SPLIT = re.compile(
    r"(train|test|val|valid|dev|eval)(ing|ation|uation)?[ _-]*(set|data|images?|photos?)?[\d_-]*"
)
# What systems and programs leave behind, files and folders; besides these, hidden files and notes are passed over.
_LITTER = (
    "._* .ds_store .appledouble .trash* .spotlight-v100 .fseventsd .temporaryitems icon\r __macosx "
    "thumbs.db ehthumbs*.db desktop.ini *zone.identifier $recycle.bin system?volume?information found.000 ~$* "
    "@eadir @tmp @recycle #recycle #snapshot lost+found .git .svn .hg .ipynb_checkpoints __pycache__"
)
_LITTER = re.compile("|".join(map(translate, _LITTER.split(" "))))
_NOTES = {".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".yaml", ".yml", ".xml", ".html", ".ini", ".db"}
_NOTES |= {"readme", "license", "licence", "credits", "makefile"}


def class_folder(folder, split, split_seed, notes, callback=None):
    """{class: its files}, both sorted: one split of a folder laid out as `load_dataset` says; else a ValueError.

    `notes` takes in what the owner of the folder should be warned of.
    """
    passed = {}
    places = split_folders(folder, passed)
    listings = _listings(folder, places, split, passed) if places else {"train": class_listing(folder, passed)}
    if passed:
        notes.append(not_read(passed, folder))
    _note_layout(places.get("train", folder), listings["train"], notes)
    _note_equal_files(listings, notes)
    if not places:
        return _side_of(listings["train"], SPLITS, split, split_seed, folder, callback)
    if "validation" not in places and split != "test":
        return _side_of(listings["train"], SPLITS[:2], split, split_seed, places["train"], callback)
    return listings[split]


def split_of(name):
    """The split that a folder of this name holds, or None."""
    return _FOLDER_NAMES.get(name.lower())


def split_folders(folder, passed=None):
    """{split: its folder}; none where the folders are classes, even if a class is called "train"."""
    passed, places = {} if passed is None else passed, {}
    folders, files = _entries(folder, passed)
    for place in folders:
        side = split_of(place.name)
        if side in places:
            raise ValueError(f"{folder} has two folders for {side}, {places[side].name} and {place.name}: keep one")
        if side:
            places[side] = place
    meant = {place: _split_meant(place.name) for place in folders}
    others = [place for place in folders if place not in places.values()]
    rename = {place: f"no split: if it is one, rename it to {meant[place]}" for place in others if meant[place]}
    if others and len(places) < 2 and not any(_entries(place)[0] for place in places.values()):
        if len({*meant.values()} - {None}) > 1 or any(_entries(place)[0] for place in rename):
            raise ValueError(f"{folder} has no folder 'train' with class folders, but {_in_words(rename, folder)}")
        return {}
    passed.update({place: rename.get(place, "neither train, validation nor test") for place in others})
    passed.update({file: "outside the class folders" for file in files if is_photo(file)})
    return {side: places[side] for side in SPLITS if side in places}


def _split_meant(name):
    """The split that whoever gave a folder this name had in mind, or None."""
    word = _LIKE_A_SPLIT.fullmatch(name.lower())
    return word and {"train": "train", "test": "test"}.get(word[1], "validation")


def _listings(folder, places, split, passed):
    """{split: {class: files}}; without the sides that have no labels, unless they are asked for."""
    missing = [side for side in ("train", split) if side not in places and side != "validation"]
    if missing:
        others = ", ".join(place.name for place in places.values())
        advice = f"add it, or put the class folders straight into {folder} to have them split"
        strays = f"; {not_read(passed, folder)}" if passed else ""
        raise ValueError(f"{folder} has no folder {missing[0]!r} beside {others}: {advice}{strays}")
    asked = ("train", split)
    listings = {s: class_listing(place, passed) for s, place in places.items() if s in asked or _has_classes(place)}
    for side, listing in [*listings.items()]:
        if side not in asked and listing.keys().isdisjoint(listings["train"]):
            del listings[side]  # such as test/unknown/1.jpg
        else:
            _check_classes(places[side], listing, listings["train"])
    return listings


def class_listing(folder, passed=None):
    """{class: its files, those of nested folders too}, ordered by name as torchvision's ImageFolder does.

    `passed`, {path: why}, takes in what is not read. Names that only a Mac spells differently (NFD) are one class.
    """
    passed = {} if passed is None else passed
    folders, files = _entries(folder, passed)
    _refuse_splits(folder, folders)
    listing, photos = {}, {file: "outside the class folders" for file in files if is_photo(file)}
    for place in folders:
        above = {os.path.realpath(parent) for parent in (folder, *folder.resolve().parents)}
        files = _files_below(place, passed, above)
        if place not in passed:
            listing.setdefault(_composed(place.name), []).extend(files)
    if not listing:
        unlabelled = f"; the {len(photos)} photos in it have no labels" if photos else ""
        raise ValueError(f"{folder} has no class folders: expected one folder with images for each class{unlabelled}")
    passed.update(photos)
    for name, files in listing.items():
        if not files:
            raise ValueError(f"class {name!r} has no images in {folder}: add some, or remove the folder")
        files.sort(key=lambda file: (*map(_composed, (str(file.parent), file.name)), str(file)))
    return listing


def _has_classes(folder):
    return any(names for place in _entries(folder)[0] for _, _, names in os.walk(place))


def _files_below(place, passed, seen):
    """The files of a folder and of those in it, whatever links lead where: a folder that was seen is not read again."""
    real = os.path.realpath(place)
    if real in seen:
        passed[place] = "a link to a folder that holds it, or is read already"
        return []
    seen.add(real)
    folders, files = _entries(place, passed)
    _refuse_splits(place, folders)
    folders.sort(key=os.path.islink)  # a folder goes by its own name rather than by that of a link
    below = [file for folder in folders for file in _files_below(folder, passed, seen)]
    return [file for file in files if not _is_note(file)] + below


def _refuse_splits(place, folders):
    splits = [folder.name for folder in folders if _split_meant(folder.name)]
    if len({_split_meant(name) for name in splits}) > 1:
        advice = f"load {place}, or put the classes into the splits, such as train/{place.name}"
        raise ValueError(f"the splits {', '.join(splits)} lie within a class or a split, in {place}: {advice}")


def _entries(folder, passed=None):
    """The folders and the files in a folder, sorted by name whatever order the file system lists them in."""
    passed, folders, files = {} if passed is None else passed, [], []
    for path in sorted(folder.iterdir(), key=lambda path: (_composed(path.name), path.name)):
        if _LITTER.match(path.name.lower()):
            continue
        if path.name.startswith("."):
            below = (os.path.join(top, name) for top, _, names in os.walk(path) for name in names)
            if any(map(is_photo, (path, *below))):
                passed[path] = "hidden"
        elif path.is_dir():
            folders.append(path)
        elif path.is_file():
            files.append(path)
        else:
            passed[path] = "a pipe, a socket or a device" if path.exists() else "a link that leads nowhere"
    return folders, files


def _composed(name):
    """One spelling (NFC) of what looks the same: Macs write é as e and an accent."""
    return unicodedata.normalize("NFC", name)


def _is_note(file):
    return file.name.startswith(".") or not _NOTES.isdisjoint((file.name.lower(), file.suffix.lower()))


def not_read(passed, folder):
    """The sentence to warn with."""
    return f"not read in {folder}: {_in_words(passed, folder)}"


def _in_words(reasons, folder):
    """{path: why} as "a, b and 3 more (a link ...); c (hidden)"."""
    paths = {why: [os.path.relpath(p, folder) for p in reasons if reasons[p] == why] for why in reasons.values()}
    more = {why: f" and {len(names) - 5} more" if len(names) > 5 else "" for why, names in paths.items()}
    return "; ".join(f"{', '.join(names[:5])}{more[why]} ({why})" for why, names in paths.items())


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


def _note_layout(folder, listing, notes):
    """Folders that are classes to us, but perhaps not to their owner."""
    for name in filter(split_of, listing):
        notes.append(f"{name!r} is a class of {folder}: if it is a split, put class folders into it")
    (name, files), *others = listing.items()
    if not others and all(_composed(file.parent.name) != name for file in files):
        notes.append(f"{name!r} is the only class of {folder}: if its folders are the classes, load {folder / name}")


def _note_equal_files(listings, notes):
    """Equal files on two sides make a test too easy, under two labels wrong; which should go is the owner's to say."""
    digests = digests_of_alike([file for listing in listings.values() for file in flat(listing)[1]])
    firsts, labels, twice = {side: {} for side in listings}, {}, []
    for side, listing in listings.items():
        for name, file in ((name, file) for name, files in listing.items() for file in files if file in digests):
            firsts[side].setdefault(digests[file], file)
            label, first = labels.setdefault(digests[file], (name, file))
            if label != name:
                twice.append(f"{file} and {first}")
    for one, other in combinations(listings, 2):
        files = [file for file in flat(listings[other])[1] if digests.get(file) in firsts[one]]
        if files:
            pair = f"{files[0]} and {firsts[one][digests[files[0]]]}"
            notes.append(
                f"{len(files)} files of {other} are in {one} too, such as {pair}: remove them from one of the two"
            )
    if twice:
        notes.append(f"equal pictures under two labels, {len(twice)} in all, such as {twice[0]}: keep the right one")


def _side_of(listing, sides, split, seed, folder, callback):
    """{class: its files} of one split: near-duplicates on one side, every class on every side."""
    for name, images in listing.items():
        if len(images) < 3:
            raise ValueError(
                f"class {name!r} has {len(images)} images in {folder}: an automatic split needs at least 3; "
                "add some, or make the folders train, validation and test yourself"
            )
    classes, files, labels = flat(listing)
    groups = groups_of(files, folder, callback)
    side_of_file = dict(zip(files, split_sides(np.array(labels), groups, sides, seed, classes)))
    return {name: [file for file in images if side_of_file[file] == split] for name, images in listing.items()}
