"""Doses: as many trials for each arm, and the choice by the validation side alone."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from d2lstyle.experiment import PLANS, Plan, runs
from d2lstyle.experiment.arms import ARMS, Copies
from d2lstyle.experiment.pool import Pool, save_pool
from d2lstyle.experiment.tuning import best, first_trials, second_trials


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
def test_every_arm_has_as_many_trials(plan):
    """24 in each round: two rounds for those with classical augmentation, of which all share the first."""
    first, base = first_trials(plan), {"classical": [0.35, 0.35, 0.5]}
    second = second_trials(plan, base)
    assert set(second) == set(plan.arms) - {"A", "H"}  # these have no dose
    for arm, trials in (("B", first), *second.items()):
        assert len(trials) == len(set(map(str, trials))) == 24
        kinds, classical = ARMS[arm].kinds, ["classical"] * ARMS[arm].classical
        assert all([*doses] == [*classical, *kinds[-1:]] for doses in trials)
        assert arm == "B" or all(doses.get("classical", [0.35, 0.35, 0.5]) == base["classical"] for doses in trials)
    ours = {arm: [doses[ARMS[arm].kinds[-1]] for doses in trials] for arm, trials in second.items() if arm != "B"}
    assert all(doses == [list(d) for d in product(plan.strengths, plan.shares)] for doses in ours.values())
    crops, colours, _ = zip(*(doses["classical"] for doses in first))
    assert crops == colours and set(crops) == set(plan.classical_strengths)


def row(dose, seed, accuracy):
    return {"doses": {"styled": [dose, 0.5]}, "seed": seed, "accuracy": accuracy}


def test_the_best_dose_has_the_highest_mean_over_all_seeds():
    plan = Plan(trial_seeds=2)
    rows = [row(0.1, 0, 0.5), row(0.3, 0, 0.9), row(0.2, 0, 0.4), row(0.1, 1, 0.625), row(0.2, 1, 0.75)]
    assert best(rows, plan) == {"styled": [0.2, 0.5]}  # .575 over .5625; .9 is of one seed
    assert best([*rows, row(0.3, 1, 0.25)], plan) == {"styled": [0.3, 0.5]}  # which has .575, too, and came first
    assert best([*rows, *rows, row(0.3, 0, 0.9)], plan) == {"styled": [0.2, 0.5]}  # a row twice is one seed


GRID = {"strengths": (0.2, 0.6, 1.0), "shares": (0.1, 0.5), "classical_strengths": (0.5, 0.8)}
GRID |= {"classical_shares": (0.3, 1.0), "crops": (0.4, 0.9), "colours": (0.0, 1.5), "apart_shares": (0.7,)}
TINY = Plan(arms=tuple("ABCDNH"), per_class=(2, 4), tuned_at=4, invented_at=2, finalists=3, curve=("D",), **GRID)


def accuracy(run):
    """An answer for each run, the same at each call."""
    return np.random.default_rng(list(run.key.encode())).integers(100) / 100


@pytest.fixture
def trainer(tmp_path, monkeypatch):
    """What asks for runs of `TINY`, of an empty pool; a run is done by `accuracy`, and kept in `asked`."""
    nothing = torch.zeros(0, 3, 32, 32)
    save_pool(Pool(["a"], Copies(nothing, nothing, {}), {}, {}, {}, [], {}), tmp_path / "pool-a-b-c.pt")

    def answer(work, todo, workers):
        made.asked += todo
        yield from (run | {"accuracy": accuracy(run)} for run in todo[::-1])  # they come as they come

    monkeypatch.setattr(runs, "in_workers", answer)
    made = runs._Trainer(TINY, tmp_path / "pool-a-b-c.pt", 1, None, None)
    made.asked = []
    return made


def by_hand(arm, n, trials, plan, rows):
    """The best of the finalists by numpy; all that was tried is put into rows."""
    told = lambda doses, seed: accuracy(runs.run_of("trial", arm, n, seed, doses))  # noqa: E731
    first = np.array([told(doses, 0) for doses in trials])
    finalists = [trials[i] for i in np.argsort(-first, kind="stable")[: plan.finalists]]
    means = [np.mean([told(doses, seed) for seed in range(plan.trial_seeds)]) for doses in finalists]
    rows |= {(arm, str(doses), 0) for doses in trials}
    rows |= {(arm, str(doses), seed) for doses in finalists for seed in range(plan.trial_seeds)}
    return finalists[int(np.argmax(means))], max(means)


@pytest.mark.parametrize("given", [(), (0.8, 0.4, 0.9)])
def test_doses_are_chosen_in_rounds(trainer, given):
    """B's first round gives the classical dose of the others; the best of its two rounds is B's; N takes D's styled.

    Or the others take a dose that is given, and B's is chosen as before.
    """
    plan, expected, tried = TINY, {"A": {}, "H": {}}, set()
    trainer.plan = replace(plan, base=given)
    rows, chosen = trainer.choose_doses()
    base, reached = by_hand("B", 4, [{"classical": [s, s, p]} for s in (0.5, 0.8) for p in (0.3, 1.0)], plan, tried)
    apart, mean = by_hand("B", 4, [{"classical": [c, k, 0.7]} for c in (0.4, 0.9) for k in (0.0, 1.5)], plan, tried)
    expected["B"] = apart if mean > reached else base
    base = {"classical": list(given)} if given else base
    doses = [[s, p] for s in plan.strengths for p in plan.shares]
    expected["C"], _ = by_hand("C", 4, [{"styled": dose} for dose in doses], plan, tried)
    expected["D"], _ = by_hand("D", 4, [base | {"styled": dose} for dose in doses], plan, tried)
    of_n = [base | {"invented": dose, "styled": expected["D"]["styled"]} for dose in doses]
    expected["N"], _ = by_hand("N", 2, of_n, plan, tried)
    assert chosen == expected
    tried |= {("D", str(base | {"styled": dose}), seed) for dose in doses for seed in range(3)}  # for a figure
    assert sorted((row["arm"], str(row["doses"]), row["seed"]) for row in rows) == sorted(tried)  # each once
    assert len(trainer.asked) == len(rows) and {run["stage"] for run in trainer.asked} == {"trial"}
