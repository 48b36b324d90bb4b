"""What the checks of exercise sheets share: new inputs at every run, and functions that refuse for a while."""

import functools

import pytest

from d2lstyle.sheets import forbidden, fresh


def doubled(x, *, times=2):
    return x * times


@functools.wraps(doubled)
def wrapped(*args, **options):
    return doubled(*args, **options)


def test_each_run_draws_other_inputs_and_an_error_says_how_to_repeat_them():
    drawn, notes = [], []
    for _ in range(3):
        with pytest.raises(AssertionError, match="^wrong") as refusal, fresh() as rng:
            drawn.append(rng.random())
            raise AssertionError("wrong")
        notes += refusal.value.__notes__
    assert len(set(drawn)) == 3
    for number, note in zip(drawn, notes, strict=True):
        with fresh(int(note.partition("fresh(")[2].partition(")")[0])) as rng:
            assert rng.random() == number


@pytest.mark.parametrize("function", [doubled, wrapped])
def test_a_forbidden_function_refuses_in_the_block_alone(function):
    another_name = function
    with pytest.raises(AssertionError, match="by hand"), forbidden("do it by hand", function):
        another_name(3, times=5)
    assert another_name(3, times=5) == 15
