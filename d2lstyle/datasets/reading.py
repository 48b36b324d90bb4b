"""Pictures read in a few threads, one error for all that cannot be; and which of them are near-duplicates."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ..engine.decoding import is_photo, photo_endings
from ..engine.files import remove_stale_parts, replacing
from ..images import read_image
from .splits import near_duplicate_groups

THUMBS = ".d2lstyle-thumbs.npz"  # beside the pictures, so that they are read and compared once
_RECIPE = 1  # to be raised when thumbnails or groups come out differently
_SHAPE = (3, 16, 16)


def read_file(file):
    """`read_image` of a file that is called an image; a photo of a kind we cannot read is an error, not a gap."""
    if not is_photo(file):
        raise ValueError(f"{file} has none of the endings {', '.join(sorted(photo_endings()))}")
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


def groups_of(files, folder, callback=None):
    """`near_duplicate_groups` of files in a folder, (N,); what is known of them is kept there, if it can be."""
    keys = np.array([_key(file, folder) for file in files])
    kept_keys, kept_thumbs, groups = _kept(folder / THUMBS)
    if np.array_equal(keys, kept_keys):
        return groups
    known = dict(zip(kept_keys, kept_thumbs))
    thumbs = for_each(lambda i: known[keys[i]] if keys[i] in known else _thumb(files[i]), files, callback)
    thumbs = np.stack(thumbs)
    groups = near_duplicate_groups(torch.from_numpy(thumbs.astype(np.float32) / 65535))
    remove_stale_parts(folder.glob(".*.part"))
    with suppress(OSError), replacing(folder / THUMBS) as part, open(part, "wb") as file:  # a folder may be read-only
        np.savez(file, keys=keys, thumbs=thumbs, groups=groups)
    return groups


def _key(file, folder):
    """Digits that change with a file's place in the folder, its size, its time, and our recipe."""
    stat = file.stat()
    text = f"{_RECIPE} {stat.st_size} {stat.st_mtime_ns} {file.relative_to(folder).as_posix()}"
    return hashlib.blake2b(os.fsencode(text), digest_size=16).hexdigest()


def _thumb(file):
    thumb = F.interpolate(read_file(file), _SHAPE[1:], mode="area")[0]
    return (thumb.numpy() * 65535).round().astype(np.uint16)


def _kept(path):
    """Keys, thumbnails and groups; none where there is no such file, or one that is damaged."""
    with suppress(Exception):  # numpy raises nearly every kind on damaged data
        with np.load(path, allow_pickle=False) as file:
            keys, thumbs, groups = file["keys"], file["thumbs"], file["groups"]
        if thumbs.shape == (len(keys), *_SHAPE) and thumbs.dtype == np.uint16 and groups.shape == keys.shape:
            return keys, thumbs, groups
    return [], [], []
