"""Progress of an optimisation, of a training or of a download on the screen, in a notebook or in a terminal."""

import sys

from tqdm.auto import tqdm


def progress_bar(description="painting"):
    """A callback for `stylize` and for `fit`: a bar for each run, with the loss, the rate and the time left."""
    bar = None

    def show(step):
        nonlocal bar
        if bar is not None and step.step <= bar.n:  # of a run that was stopped
            bar.close()
            bar = None
        if bar is None:  # a log file gets a line every ten seconds, a screen ten a second
            is_screen = sys.stderr.isatty() or "ipykernel" in sys.modules
            bar = tqdm(total=step.steps, desc=description, unit="step", mininterval=0.1 if is_screen else 10)
        is_last = step.step == step.steps
        if bar.update() or is_last:  # it is shown now: at other times a GPU need not be waited for
            bar.set_postfix_str(str(step))
        if is_last:
            bar.close()
            bar = None

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
    return lambda what, done, total: bars.setdefault(what, count_bar(what, delay))(done, total)
