"""For the checks of the exercise sheets: inputs that are new at every run, and functions that answers may not call."""

import inspect
from contextlib import contextmanager

import numpy as np


@contextmanager
def fresh(seed=None):
    """A numpy generator with a new seed, which whatever error ends the block names.

    Args:
        seed: None, or the number that an error named, to meet the same inputs again.
    """
    seed = np.random.SeedSequence().entropy % 10**9 if seed is None else seed
    try:
        yield np.random.default_rng(seed)
    except Exception as error:
        error.add_note(f"(These inputs were drawn at random; fresh({seed}) in the check draws the same again.)")
        raise


@contextmanager
def forbidden(why, *functions):
    """In the block these functions refuse with `why`, under whatever name they were imported before.

    For functions written in Python, without variables of an enclosing function.
    """
    functions = [inspect.unwrap(function) for function in functions]
    codes = [function.__code__ for function in functions]
    refusal = {}
    exec(f"def refuse(*_, **__):\n    raise AssertionError({why!r})", refusal)
    try:
        for function in functions:
            function.__code__ = refusal["refuse"].__code__
        yield
    finally:
        for function, code in zip(functions, codes):
            function.__code__ = code
