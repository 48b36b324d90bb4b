"""Coarse to fine: which sizes a run goes through, and how many steps it spends at each."""

from . import checks
from .checks import scaled_size
from .networks import MIN_SIDE


def coarse_to_fine(shape, sizes, steps):
    """[((height, width), steps), ...], in doublings from 128 pixels or more; a size that gets no step is left out."""
    sides = list(sizes) if isinstance(sizes, (list, tuple)) else [max(shape) if sizes is None else sizes]
    least = max(256, 4 * MIN_SIDE * max(shape) / min(shape))  # half of it keeps 64 pixels in the shorter side
    while sizes is None and len(sides) < 3 and sides[0] >= least:
        sides.insert(0, sides[0] // 2)
    if not sides:
        raise ValueError("expected sizes in pixels, got an empty list")
    canvases = [scaled_size(shape, side) for side in sides]
    for height, width in canvases:
        if min(height, width) < MIN_SIDE:
            raise ValueError(f"expected at least {MIN_SIDE} x {MIN_SIDE} pixels at every size, got {height} x {width}")
    if isinstance(steps, (list, tuple)):
        if len(steps) != len(sides):
            raise ValueError(f"expected one number of steps for each of {len(sides)} sizes, got {steps!r}")
        counts = [checks.whole("steps", count, 1) for count in steps]
    else:  # 130 over three sizes are 10, 30 and 90: a few coarse ones settle what is where, more are no use
        shares = [3**i for i in range(len(sides))]
        counts = [checks.whole("steps", steps, 1) * share // sum(shares) for share in shares]
        counts[-1] = steps - sum(counts[:-1])
    return [(canvas, count) for canvas, count in zip(canvases, counts) if count]
