"""Whether one way of training beats another: intervals over seeds and test images at once, and Holm's correction."""

import functools
import math
from typing import NamedTuple

import numpy as np

from ..engine import checks

BLOCK = 500  # resamples at once


class Contrast(NamedTuple):
    """A mean difference in accuracy, its bootstrap interval, and the chance of a resample at or below zero."""

    mean: float
    low: float
    high: float
    p: float

    def __str__(self):
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def paired_bootstrap(differences, *, level=0.95, repeats=10_000, seed=0):
    """The mean of a table of differences, resampling its seeds and its test images together.

    Whoever repeats the experiment draws other training photos and tests on other images. So rows and columns are both
    drawn with replacement, independently; all that shares a seed or an image stays together, which keeps the pairing.

    Args:
        differences: (seeds, images): by how much one arm beats another at a seed on an image.
        level: of confidence, between 0 and 1.
        repeats: resamples, drawn by `seed`.
    Returns:
        Contrast: percentiles of the resampled means; p is one-sided, (1 + resamples at or below 0) / (1 + repeats).
    Raises:
        ValueError: fewer than two seeds or no image, a number that is not finite, or an option out of range.

    Efron and Tibshirani 1993, chapter 13 (percentiles); Owen 2007, "The pigeonhole bootstrap" (rows and columns).
    """
    table = np.asarray(differences, dtype=float)
    if table.ndim != 2 or len(table) < 2 or table.shape[1] < 1 or not np.isfinite(table).all():
        raise ValueError(f"expected finite differences (seeds, images) of at least two seeds, got {table.shape}")
    if not 0 < level < 1:
        raise ValueError(f"expected level between 0 and 1, got {level!r}")
    blocks = _resamples(*table.shape, checks.whole("repeats", repeats, 1), seed)
    means = np.concatenate([((rows @ table) * columns).sum(1) for rows, columns in blocks]) / table.size
    low, high = np.quantile(means, [(1 - level) / 2, 1 - (1 - level) / 2])
    below = int((means <= 1e-12).sum())  # rounding makes a zero of some of them a little more
    return Contrast(float(table.mean()), float(low), float(high), (1 + below) / (1 + repeats))


@functools.lru_cache(maxsize=1)  # all contrasts of a table share them; making them takes longer than using them
def _resamples(seeds, images, repeats, seed):
    """[(rows, columns)]: how often each seed and each image is drawn, (BLOCK, seeds) and (BLOCK, images)."""
    rng = np.random.default_rng(seed)
    sizes = [min(BLOCK, repeats - begin) for begin in range(0, repeats, BLOCK)]
    return [(_times_drawn(rng, seeds, n), _times_drawn(rng, images, n)) for n in sizes]


def _times_drawn(rng, n, repeats):
    """(repeats, n): how often each of n things is drawn in n draws with replacement."""
    drawn = rng.integers(n, size=(repeats, n)) + n * np.arange(repeats)[:, None]
    return np.bincount(drawn.ravel(), minlength=n * repeats).reshape(repeats, n).astype(np.uint16)


def holm(p_values):
    """{test: p} -> {test: p raised}, so that one wrong claim among all is as rare as a single test's level says.

    Raises:
        ValueError: one is no probability.

    Holm 1979, "A simple sequentially rejective multiple test procedure".

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    if not all(0 <= p <= 1 for p in p_values.values()):
        raise ValueError(f"expected probabilities, got {p_values}")
    adjusted, largest = dict(p_values), 0.0
    for place, name in enumerate(sorted(p_values, key=p_values.get)):
        adjusted[name] = largest = max(largest, min(1.0, p_values[name] * (len(p_values) - place)))
    return adjusted


def pack_answers(right):
    """Right and wrong answers, (N,) bool, as a text: hexadecimal digits, four answers each."""
    return np.packbits(np.asarray(right, dtype=bool)).tobytes().hex()


def unpack_answers(text, count):
    """(count,) float, 1 for right and 0 for wrong, of what `pack_answers` made; else a ValueError."""
    packed = np.frombuffer(bytes.fromhex(text), dtype=np.uint8)
    if len(packed) != math.ceil(count / 8):
        raise ValueError(f"expected {count} answers, got a text of {len(packed)} bytes")
    return np.unpackbits(packed, count=count).astype(float)
