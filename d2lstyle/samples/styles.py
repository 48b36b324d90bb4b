"""Pictures by whatever a user calls them: a file, the name of an embedded painting or photo, or a tensor."""

import os
from pathlib import Path

import torch

from ..engine import checks
from ..images import read_image, resize
from .paintings import painting, painting_names
from .photos import sample, sample_names

STYLE_SIDE = 512  # pixels of the longer side that a style is kept at


def picture(name, painting_size=STYLE_SIDE):
    """(1, 3, H, W) of a file, of an embedded painting or photo where no file has that name, or of a tensor."""
    embedded = [*painting_names(), *sample_names()]
    if isinstance(name, torch.Tensor):
        image = checks.image(name, "style").cpu()
        if len(image) != 1:
            raise ValueError(f"expected each style as one picture (1, 3, H, W), got a batch of {len(image)}")
        return image
    if not Path(name).exists() and name not in embedded:
        likely = checks.likely_names(name, embedded)
        raise FileNotFoundError(f"there is no file {name}, and no embedded picture of that name: {likely}")
    if Path(name).is_file() or name not in embedded:
        return read_image(name)
    return sample(name) if name in sample_names() else painting(name, painting_size)


def named_styles(styles):
    """{name: (1, 3, H, W)} of a list of files, names or tensors, at most `STYLE_SIDE` pixels at the longer side."""
    if isinstance(styles, (str, os.PathLike, torch.Tensor)) or not len(styles):
        got = styles if isinstance(styles, str) else type(styles).__name__
        raise ValueError(f"expected a list of styles, got {got}")
    pictures = {}
    for number, style in enumerate(styles):
        name = f"style {number}" if isinstance(style, torch.Tensor) else str(style)
        if name in pictures:
            raise ValueError(f"expected each style once, got {name!r} twice")
        image = picture(style, painting_size=STYLE_SIDE // 2)
        pictures[name] = image if max(image.shape[2:]) <= STYLE_SIDE else resize(image, STYLE_SIDE)
    return pictures
