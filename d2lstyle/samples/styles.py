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
    if isinstance(name, torch.Tensor):
        image = checks.image(name, "style").cpu()
        if len(image) != 1:
            raise ValueError(f"expected each style as one picture (1, 3, H, W), got a batch of {len(image)}")
        return image
    if Path(name).is_file() or name not in (*painting_names(), *sample_names()):
        return read_image(name)
    return sample(name) if name in sample_names() else painting(name, painting_size)


def named_styles(styles):
    """{name: (1, 3, H, W)} of a list of files, names or tensors, at most `STYLE_SIDE` pixels at the longer side."""
    if isinstance(styles, (str, os.PathLike, torch.Tensor)) or not len(styles):
        got = styles if isinstance(styles, str) else type(styles).__name__
        raise ValueError(f"expected a list of styles, got {got}")
    pictures, embedded = {}, [*painting_names(), *sample_names()]
    for number, style in enumerate(styles):
        is_tensor = isinstance(style, torch.Tensor)
        name = f"style {number}" if is_tensor else str(style)
        if name in pictures:
            raise ValueError(f"expected each style once, got {name!r} twice")
        if not is_tensor and not Path(style).is_file() and style not in embedded:
            raise checks.unknown_name("style", name, ["a file", *embedded])
        image = picture(style, painting_size=STYLE_SIDE // 2)
        pictures[name] = image if max(image.shape[2:]) <= STYLE_SIDE else resize(image, STYLE_SIDE)
    return pictures
