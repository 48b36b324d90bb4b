"""Progress of an optimisation on the screen, in a notebook or in a terminal."""

import sys

from tqdm.auto import tqdm


def progress_bar(description="painting"):
    """A callback for `stylize`: a bar with the loss, the rate and the time left.

    >>> from d2lstyle import stylize
    >>> stylize(content, style, callback=progress_bar())  # doctest: +SKIP
    """
    bar = None

    def show(step):
        nonlocal bar
        if bar is None:
            # A log file gets a line every ten seconds, a screen ten a second.
            bar = tqdm(total=step.steps, desc=description, unit="step", mininterval=0.1 if _is_screen() else 10)
        bar.set_postfix_str(f"{step.size[1]} x {step.size[0]} px, loss {step.losses['total']:.3g}", refresh=False)
        bar.update()
        if step.step == step.steps:
            bar.close()

    return show


def _is_screen():
    return sys.stderr.isatty() or "ipykernel" in sys.modules
