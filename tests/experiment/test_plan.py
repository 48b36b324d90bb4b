"""What a plan refuses, what its recipe tells, and which runs follow from it."""

from dataclasses import fields, replace

import pytest

from d2lstyle.experiment import PLANS, QUICK, Plan
from d2lstyle.experiment.arms import ARMS
from d2lstyle.experiment.plan import EXTENT, Run, run_of
from d2lstyle.experiment.runs import tests_of as runs_of

INTEGERS = "size paint_size copies paint_steps optimised_at tuned_at trial_seeds finalists steps batch split_seed"
GRIDS = "strengths shares classical_strengths classical_shares crops colours apart_shares"
OTHER = {"data": "cifar10", "model": "scratch", "styles": ("starry",), "curve": ("F",), "mixture": 0.3, "lr": 1e-4}
OTHER |= dict.fromkeys(INTEGERS.split(), 33) | dict.fromkeys(GRIDS.split(), (0.4,))
FEWER = {"seeds": 9, "per_class": (2,), "arms": ("A",), "invented_at": 3, "judged": 2, "base": (1, 1, 1)}


def test_the_recipe_tells_what_a_row_depends_on_and_nothing_else():
    assert OTHER.keys() | FEWER.keys() == {field.name for field in fields(Plan)} and set(EXTENT) == FEWER.keys()
    assert all(getattr(QUICK, name) != value for name, value in (OTHER | FEWER).items())
    recipes = [replace(QUICK, **{name: value}).recipe() for name, value in OTHER.items()]
    assert len({QUICK.recipe(), *recipes}) == len(OTHER) + 1
    assert {replace(QUICK, **{name: value}).recipe() for name, value in FEWER.items()} == {QUICK.recipe()}


def test_rows_of_chapter_06_are_found_again():
    recipes = ["e8c02fab7e43f683", "8148524b63644beb", "b5855f916117bc3f", "1b807f55fad8c617"]
    assert [plan.recipe() for plan in PLANS.values()] == recipes


@pytest.mark.parametrize(
    "change, words",
    [
        ({"arms": ("A", "Z")}, "unknown arm 'Z'.*There are A, B, C, D, F, G, H, I, R, N, Dv"),
        ({"arms": ("D, p = 0",)}, "unknown arm 'D, p = 0'"),
        ({"arms": ("A", "B", "A")}, "expected each arm once"),
        ({"arms": ("B", "N")}, "expected arm D beside N, which takes its dose"),
        ({"model": "scrach"}, "unknown model 'scrach': did you mean 'scratch'"),
        ({"per_class": (4, 4)}, "expected each number of photos once"),
        ({"base": (1, 0.5)}, r"expected crop, colour and share as the base, got \(1, 0.5\)"),
        ({"base": (1.5, 1, 1)}, r"expected the base's crop as a number in \[0, 1\], got 1.5"),
        ({"base": (1, -1, 1)}, r"expected the base's colour as a number in \[0, 5\], got -1"),
        ({"base": (1, 1, float("nan"))}, "expected the base's share .*, got nan"),
        ({"base": ("a", 1, 1)}, "expected the base's crop .*, got 'a'"),
        ({"seeds": 0}, "at least one seed and one photo per class, got 0"),
        ({"per_class": (4, 0)}, r"one photo per class, got 2 and \(4, 0\)"),
        ({"paint_size": 24}, "size and paint_size of at least 32 pixels, got 64 and 24"),
        *(({name: 0}, "at least one copy") for name in ("copies", "batch", "steps", "trial_seeds", "finalists")),
        *(({name: ()}, "some of each dose") for name in ("strengths", "shares", "crops", "colours", "apart_shares")),
        *(({name: (0.5, bad)}, f"at most 1, got .*{bad}") for name in ("strengths", "shares") for bad in (0, 1.5)),
        *(({name: (float("nan"),)}, "got .*nan") for name in ("classical_strengths", "classical_shares")),
    ],
)
def test_a_bad_plan_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        replace(QUICK, **change)


def test_arms_are_tested_and_tuned_where_their_copies_are_made():
    plan = Plan(per_class=(5, 10, 20), arms=tuple(ARMS), optimised_at=5, invented_at=20, seeds=2)
    assert [plan.sizes(arm) for arm in ("D", "Dv", "N")] == [[5, 10, 20], [5], [20]]
    assert [plan.tuned(arm) for arm in ("B", "D", "Dv", "N")] == [10, 10, 5, 20]
    assert plan.draws() == [(s, n) for s in range(3) for n in (5, 10, 20)]  # trials have a seed more
    alone = replace(plan, per_class=(7,), trial_seeds=1)
    assert alone.sizes("Dv") == alone.sizes("N") == [] and alone.tuned("D") == 7
    assert alone.kinds() == ["styled", "recoloured", "relatives", "regions"]  # nothing is painted in vain
    assert alone.draws() == [(0, 7), (1, 7)]
    draws = replace(plan, per_class=(5, 20), arms=("A",), seeds=1).draws()
    assert draws == [(0, 5), (0, 10), (0, 20), (1, 10), (2, 10)]  # trials have a number of their own, too


def test_runs_are_equal_as_what_they_say():
    doses = {"styled": (0.1 + 0.2, 0.5), "classical": (1, 0, 1)}
    run, same = run_of("test", "D", 5, 1, doses), run_of("test", "D", 5, 1, dict(reversed(doses.items())))
    assert run.key == same.key and run["doses"]["styled"] == [0.3, 0.5]
    assert run.key == Run(run | {"accuracy": 0.5, "seconds": 3}).key
    changes = {"stage": "trial"}, {"arm": "C"}, {"per_class": 6}, {"seed": 2}, {"doses": {"styled": [0.3, 1]}}
    assert len({run.key, *(Run(run | change).key for change in changes)}) == 6


def test_tests_go_seed_by_seed_each_arm_in_its_own_doses():
    plan = replace(QUICK, seeds=3, per_class=(10, 5), arms=("A", "D", "Dv", "B"))
    chosen = {arm: {"classical": [0.5, number, 1]} for number, arm in enumerate(plan.arms)}
    runs, expected = runs_of(plan, chosen), [(10, "A"), (10, "D"), (10, "B"), *((5, arm) for arm in plan.arms)]
    found = [(run["seed"], run["per_class"], run["arm"]) for run in runs]
    assert found == [(seed, *which) for seed in range(3) for which in expected]
    assert all(run["stage"] == "test" and run["doses"] == chosen[run["arm"]] for run in runs)
    more = runs_of(plan, chosen, sanity=True)
    assert more[: len(runs)] == runs
    added = [(run["arm"], run["per_class"], run["seed"]) for run in more[len(runs) :]]  # at the number of the trials
    assert added == [("B, labels shuffled", 10, s) for s in range(3)] + [("D, p = 0", 10, s) for s in range(2)]
    assert more[-1]["doses"] == {"classical": chosen["B"]["classical"], "styled": [1, 0]}
    assert more[-3]["doses"] == chosen["B"]
    assert {run["per_class"] for run in runs_of(replace(plan, per_class=(5,)), chosen, True)} == {5}
    assert len(runs_of(replace(plan, seeds=1), chosen, True)) == 7 + 2
    few = replace(plan, arms=("A", "B"))
    assert runs_of(few, chosen, sanity=True) == runs_of(few, chosen)  # there is no D to be equal
