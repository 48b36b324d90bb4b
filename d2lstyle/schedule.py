"""Coarse to fine: which sizes a run goes through, and how many steps it spends at each."""

from .backbones import MIN_SIDE
from .images import scaled_size

COARSEST_SIDE = 128


def coarse_to_fine(shape, sizes, steps):
    """The stages of a run.

    Args:
        shape: (height, width) of the content.
        sizes: pixels of the longer side, one or a list; None for the content's own size, reached in doublings from
            128 or more.
        steps: in all, or a list with one number a size.
    Returns:
        [((height, width), steps), ...]; a size that gets no step is left out.
    Raises:
        ValueError: sizes or steps are not positive integers, do not match, or a size is too small for the networks.
    """
    shape = tuple(shape)
    if sizes is None:
        sides = [max(shape)]
        while (
            len(sides) < 3
            and sides[0] // 2 >= COARSEST_SIDE
            and min(shape) * sides[0] // 2 >= 2 * MIN_SIDE * max(shape)
        ):
            sides.insert(0, sides[0] // 2)
        canvases = [*(scaled_size(shape, side) for side in sides[:-1]), shape]
    else:
        sides = sizes if isinstance(sizes, (list, tuple)) else [sizes]
        canvases = [scaled_size(shape, side) for side in sides]
    for canvas in canvases:
        if min(canvas) < MIN_SIDE:
            raise ValueError(
                f"expected at least {MIN_SIDE} x {MIN_SIDE} pixels at every size, got {canvas[0]} x {canvas[1]}"
            )
    counts = _shared_out(steps, len(canvases))
    return [(canvas, count) for canvas, count in zip(canvases, counts) if count]


def _shared_out(steps, n_sizes):
    """150 steps over three sizes are 66, 50 and 34: the coarse ones are cheap, and settle what is where."""
    if n_sizes == 0:
        raise ValueError("expected sizes in pixels, got an empty list")
    if not isinstance(steps, int):
        counts = list(steps) if isinstance(steps, (list, tuple)) else []
        if len(counts) != n_sizes or not all(isinstance(count, int) and count > 0 for count in counts):
            raise ValueError(f"expected one positive number of steps for each of {n_sizes} sizes, got {steps!r}")
        return counts
    if steps < 1:
        raise ValueError(f"expected at least one step, got {steps}")
    shares = range(n_sizes + 1, 1, -1)
    coarse = [steps * share // sum(shares) for share in shares][: n_sizes - 1]
    return [*coarse, steps - sum(coarse)]
