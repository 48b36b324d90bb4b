"""Style pictures drawn from mathematics: a name, a size and a seed -> one composition at every size.

A new painting is a function of a `Sheet` and a numpy generator that gives (h, w, 3) in [0, 1]: write it into one of the
files here, and name it in `PAINTERS`.
"""

import numpy as np
import torch

from ...engine import checks
from .canvas import sheet
from .facets import cubism, mosaic, stained_glass
from .inks import engraving, marbling, watercolour, woodcut
from .ornaments import gilded, seigaiha
from .strokes import pointillism, starry, water_lilies

PAINTERS = {
    painter.__name__: painter
    for painter in (
        starry,
        stained_glass,
        woodcut,
        pointillism,
        mosaic,
        marbling,
        watercolour,
        cubism,
        gilded,
        engraving,
        seigaiha,
        water_lilies,
    )
}


def painting_names():
    """Names of the procedural paintings, for `painting`."""
    return list(PAINTERS)


def painting(name, size=256, seed=0):
    """A style picture drawn by this package: no file, no download, no artist's rights.

    A seed is one composition, drawn alike at every size; another seed is another picture of the same kind.
    Strokes, tiles and dots have lengths in proportion to the shorter side (about 5 to 25 pixels of 256).

    Args:
        name: one of `painting_names()`.
        size: side of a square in pixels, or (height, width); at least 16, and no side over 8 times the other.
        seed: a non-negative integer.
    Returns:
        (1, 3, H, W), float32 in [0, 1]. Drawn at twice the size or more and averaged down.
    Raises:
        ValueError: no painting has that name, or size or seed is none of the above.

    Source: ours. "marbling" undoes ink drops and combs as in Lu, Jaffer et al. 2012, "Mathematical marbling".

    >>> painting("starry", size=64).shape
    torch.Size([1, 3, 64, 64])
    """
    checks.choice("painting", name, painting_names())
    height, width = _painting_size(size)
    rng = np.random.default_rng(checks.whole("seed", seed, 0))
    fine = max(2, -(-192 // min(height, width)))  # pixels drawn per pixel, each way; thin lines need 192 in all
    picture = np.clip(PAINTERS[name](sheet(fine * height, fine * width), rng), 0, 1)
    picture = picture.reshape(height, fine, width, fine, 3).mean((1, 3)).transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(picture[None], np.float32))


def _painting_size(size):
    sides = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    try:
        height, width = (checks.whole("size", side, 16) for side in sides)
    except ValueError:
        expected = "expected size as an integer of at least 16 pixels, or (height, width)"
        raise ValueError(f"{expected}, got {size!r}") from None
    if max(height, width) > 8 * min(height, width):
        raise ValueError(f"expected sides that differ by a factor of 8 at most, got {size!r}")
    return height, width
