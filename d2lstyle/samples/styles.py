"""Pictures by whatever a user calls them: a file, the name of an embedded painting or photo, or a tensor."""

import os
from collections.abc import Iterable
from pathlib import Path

import torch

from ..engine import checks
from ..engine.decoding import is_photo
from ..images import read_image, resize
from .paintings import painting, painting_names
from .photos import sample, sample_names

STYLE_SIDE = 512  # pixels of the longer side that a style is kept at


def picture(name, painting_size=STYLE_SIDE, size=None):
    """(1, 3, H, W) of a file in that `size`, of an embedded picture where no file is called so, or of a tensor."""
    embedded = [*painting_names(), *sample_names()]
    if isinstance(name, torch.Tensor):
        image = checks.image(name.cpu(), "style")
        if len(image) != 1:
            raise ValueError(f"expected each style as one picture (1, 3, H, W), got a batch of {len(image)}")
        return image
    if not isinstance(name, (str, os.PathLike)):
        raise TypeError(f"expected each style as a file, a name or a tensor, got {type(name).__name__}")
    if not Path(name).exists() and name not in embedded:
        likely = checks.likely_names(name, embedded)
        raise FileNotFoundError(f"there is no file {name}, and no embedded picture of that name: {likely}")
    if Path(name).is_file() or name not in embedded:
        return read_image(name, size)
    return sample(name) if name in sample_names() else painting(name, painting_size)


def style_list(styles):
    """The list of styles with the photos of a folder, sorted by name, in place of the folder; else a ValueError."""
    one = isinstance(styles, (str, os.PathLike, torch.Tensor)) or not isinstance(styles, Iterable)
    listed = [] if one else list(styles)
    if not listed:
        got = "none" if not one else type(styles).__name__ if isinstance(styles, torch.Tensor) else styles
        raise ValueError(f"expected a list of styles, got {got}")
    embedded, singles = [*painting_names(), *sample_names()], []
    for style in listed:
        is_folder = isinstance(style, (str, os.PathLike)) and style not in embedded and Path(style).is_dir()
        singles += _photos_in(Path(style)) if is_folder else [style]
    return singles


def _photos_in(folder):
    photos = [file for file in sorted(folder.iterdir()) if is_photo(file) and file.name[0] != "."]
    if not photos:
        raise ValueError(f"the folder of styles {folder} has no pictures in it: add some, or give another")
    return photos


def named_styles(styles):
    """{name: (1, 3, H, W)} of `style_list`, at most `STYLE_SIDE` pixels at the longer side."""
    pictures = {}
    for number, style in enumerate(style_list(styles)):
        name = f"style {number}" if isinstance(style, torch.Tensor) else str(style)
        if name in pictures:
            raise ValueError(f"expected each style once, got {name!r} twice")
        image = picture(style, painting_size=STYLE_SIDE // 2)
        pictures[name] = image if max(image.shape[2:]) <= STYLE_SIDE else resize(image, STYLE_SIDE)
    return pictures
