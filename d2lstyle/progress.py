"""Progress of an optimisation, of a training or of a download on the screen, in a notebook or in a terminal."""

import sys

from tqdm.auto import tqdm

from .training import FitStep


def progress_bar(description="painting"):
    """A callback for `stylize` and for `fit`: a bar with the loss, the rate and the time left.

    >>> from d2lstyle import stylize
    >>> stylize(content, style, callback=progress_bar())  # doctest: +SKIP
    >>> fit(model, train, validation, callback=progress_bar("training"))  # doctest: +SKIP
    """
    bar = None

    def show(step):
        nonlocal bar
        if bar is None:
            # A log file gets a line every ten seconds, a screen ten a second.
            bar = tqdm(total=step.steps, desc=description, unit="step", mininterval=0.1 if _is_screen() else 10)
        bar.set_postfix_str(_of_training(step) if isinstance(step, FitStep) else _of_painting(step), refresh=False)
        bar.update()
        if step.step == step.steps:
            bar.close()

    return show


def count_bar(description, delay=1):
    """A callback for `load_dataset` and others: a bar of (done, total); nothing is shown for `delay` seconds."""
    bar = None

    def show(done, total):
        nonlocal bar
        if bar is None or bar.total != total:
            bar = tqdm(total=total, desc=description, leave=False, delay=delay)
        bar.update(done - bar.n)
        if done == total:
            bar.close()
            bar = None

    return show


def count_bars(delay=1):
    """A callback for `run_experiment`: one bar after another, each named after what is being done."""
    bars = {}

    def show(what, done, total):
        if what not in bars:
            bars[what] = count_bar(what, delay)
        bars[what](done, total)

    return show


def _of_painting(step):
    return f"{step.size[1]} x {step.size[0]} px, loss {step.losses['total']:.3g}"


def _of_training(step):
    return f"epoch {step.epoch} of {step.epochs}, loss {step.loss:.3f}"


def _is_screen():
    return sys.stderr.isatty() or "ipykernel" in sys.modules
