"""What a plan refuses, what its recipe tells, and which runs follow from it."""

from dataclasses import fields, replace

import pytest

from d2lstyle.experiment import QUICK, Plan
from d2lstyle.experiment.plan import runs

OTHER = {
    "data": "cifar10",
    "size": 33,
    "paint_size": 41,
    "copies": 3,
    "p": 0.4,
    "styles": ("starry",),
    "mixture": 0.3,
    "method": "optimise",
    "paint_steps": 3,
    "strengths": (0.3,),
    "preserved": 0.8,
    "validation": 1,
    "steps": (4, 4),
    "batch": 7,
    "lr": (1e-3, 1e-4),
    "frozen": 4,
}
EXTENT = {"seeds": 9, "per_class": (2,), "models": ("scratch",), "arms": ("A",)}


def test_the_recipe_tells_what_a_row_depends_on_and_nothing_else():
    assert OTHER.keys() | EXTENT.keys() == {field.name for field in fields(Plan)}
    assert all(getattr(QUICK, name) != value for name, value in (OTHER | EXTENT).items())
    recipes = [replace(QUICK, **{name: value}).recipe() for name, value in OTHER.items()]
    assert len({QUICK.recipe(), *recipes}) == len(OTHER) + 1
    assert {replace(QUICK, **{name: value}).recipe() for name, value in EXTENT.items()} == {QUICK.recipe()}


def test_finished_rows_of_older_versions_are_found_again():
    assert (Plan().recipe(), QUICK.recipe()) == ("05fb119dded045b3", "bfaf5a66fe6c98ba")


@pytest.mark.parametrize(
    "change, words",
    [
        ({"arms": ("A", "Z")}, "unknown arm 'Z'.*There are A, B, C, D, E, F, G, H"),
        ({"arms": ("D, p = 0",)}, "unknown arm 'D, p = 0'"),
        ({"models": ("scrach",)}, "unknown model 'scrach': did you mean 'scratch'"),
        ({"method": "magic"}, "unknown method 'magic'"),
        ({"arms": ("A", "B", "A")}, "expected each arm once"),
        ({"models": ("scratch", "scratch")}, "expected each model once"),
        ({"per_class": (4, 4)}, "expected each number of photos once"),
        ({"p": 1.5}, r"p in \[0, 1\], got 1.5"),
        ({"p": float("nan")}, "got nan"),
        ({"seeds": 0}, "at least one seed and one photo a class, got 0"),
        ({"per_class": (4, 0)}, r"one photo a class, got 2 and \(4, 0\)"),
        ({"per_class": ()}, r"one photo a class, got 2 and \(\)"),
        ({"paint_size": 24}, "size and paint_size of at least 32 pixels, got 64 and 24"),
        ({"size": -1}, "at least 32 pixels, got -1"),
        ({"copies": 0}, "at least one copy"),
        ({"steps": (0, 3)}, "one step"),
        ({"strengths": ()}, "one strength"),
    ],
)
def test_a_bad_plan_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        replace(QUICK, **change)


def test_runs_go_seed_by_seed_and_the_dullest_last():
    plan = replace(QUICK, seeds=2, per_class=(2, 4), models=("scratch", "fine-tuned"), arms=("E", "A", "D"))
    keys = runs(plan)
    assert len(keys) == len(set(keys)) == 24
    assert keys[:4] == [("scratch", "A", 2, 0), ("scratch", "D", 2, 0), ("scratch", "A", 4, 0), ("scratch", "D", 4, 0)]
    assert [key[3] for key in keys[:16]] == [0] * 8 + [1] * 8 and "E" not in {key[1] for key in keys[:16]}
    assert {key[1] for key in keys[16:]} == {"E"} and [key[3] for key in keys[16:]] == [0] * 4 + [1] * 4


def test_sanity_adds_runs_at_the_end():
    plan = replace(QUICK, seeds=3, per_class=(20, 5, 10), models=("scratch", "fine-tuned"), arms=("B", "D"))
    keys, n = runs(plan, sanity=True), len(runs(plan))
    assert keys[:n] == runs(plan)
    expected = [(model, "B, labels shuffled", 10, seed) for model in plan.models for seed in range(3)]  # middle size
    assert sorted(keys[n:]) == sorted(expected + [(m, "D, p = 0", n, 0) for m in plan.models for n in (20, 5, 10)])
