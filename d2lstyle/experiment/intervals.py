"""Whether one way of training beats another: intervals over seeds and test images at once, and Holm's correction."""

import math
from typing import NamedTuple

import numpy as np
from scipy import stats


class Contrast(NamedTuple):
    """A mean difference in accuracy, its confidence interval, and the two-sided p of a true difference of zero."""

    mean: float
    low: float
    high: float
    p: float

    def __str__(self):
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def two_way_t(differences, *, level=0.95):
    """The mean of a table of differences with Student's t interval, for other seeds and other test images at once.

    Whoever repeats the experiment draws other training photos and tests on other images, so both are random effects.
    The mean's variance is (MS_seeds + MS_images - MS_rest) / (seeds x images), with Satterthwaite's degrees of freedom,
    but no less than MS_seeds or MS_images alone would make it, with their own degrees of freedom. At ten seeds, 95 %
    intervals held the truth in at least 94 % of each kind of experiment simulated (tools/benchmarks/coverage.py).

    Args:
        differences: (seeds, images): by how much one arm beats another at a seed on an image.
        level: of confidence, between 0 and 1.
    Returns:
        Contrast: p is two-sided.
    Raises:
        ValueError: fewer than two seeds or no image, a number that is not finite, or a level out of range.

    Satterthwaite 1946, "An approximate distribution of estimates of variance components".

    >>> print(two_way_t([[1, 0], [1, 1], [0, 1], [1, 1]]))
    +0.750 [+0.291, +1.209]
    """
    table = np.asarray(differences, dtype=float)
    if table.ndim != 2 or len(table) < 2 or table.shape[1] < 1 or not np.isfinite(table).all():
        raise ValueError(f"expected finite differences (seeds, images) of at least two seeds, got {table.shape}")
    if not 0 < level < 1:
        raise ValueError(f"expected level between 0 and 1, got {level!r}")
    mean, (variance, freedom) = float(table.mean()), _variance_of_mean(table)
    if variance < 1e-24:  # nothing varies but by rounding
        return Contrast(mean, mean, mean, float(abs(mean) < 1e-12))
    error = float(variance) ** 0.5
    reach = float(stats.t.ppf((1 + level) / 2, freedom)) * error
    return Contrast(mean, mean - reach, mean + reach, float(2 * stats.t.sf(abs(mean) / error, freedom)))


def _variance_of_mean(table):
    """Of the mean of a table (seeds, images), both random: its variance and the degrees of freedom of that."""
    middle, of_seeds, of_images = table.mean(), table.mean(1, keepdims=True), table.mean(0, keepdims=True)
    parts = of_seeds - middle, of_images - middle, table - of_seeds - of_images + middle
    seeds, images = table.shape[0] - 1, max(1, table.shape[1] - 1)  # a single image has no spread to count
    freedoms = np.array([seeds, images, seeds * images])
    squares = np.array([(np.broadcast_to(part, table.shape) ** 2).sum() for part in parts]) / freedoms
    both, spread = squares @ [1, 1, -1], (squares**2 / freedoms).sum()
    ways = [(squares[0], seeds), (squares[1], images), (both, both**2 / spread if spread else 1)]
    variance, freedom = max(ways)
    return variance / table.size, freedom


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
