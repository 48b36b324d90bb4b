"""The doses that each arm tries, and how one is chosen: by the validation side alone, with as many trials for each arm.

The arms with classical augmentation share a first round, in which crop and colour have one strength. In the second
round each arm has as many trials of its own: of strength and share of its copies at the best classical dose; B, which
has no copies, of crop and colour apart.
"""

from itertools import product
from statistics import mean

from .arms import ARMS


def first_trials(plan):
    """[doses] of arm B that the others build on."""
    return [{"classical": [s, s, share]} for s, share in product(plan.classical_strengths, plan.classical_shares)]


def second_trials(plan, base):
    """{arm: [doses]}: a round of trials for each arm of the plan that has a dose, at the classical dose of `base`."""
    trials = {}
    for arm in plan.arms:
        kinds, classical = ARMS[arm].kinds, base if ARMS[arm].classical else {}
        if kinds and plan.sizes(arm):
            doses = product(plan.strengths, plan.shares)
            trials[arm] = [classical | {kinds[-1]: list(dose)} for dose in doses]
        elif classical:
            doses = product(plan.crops, plan.colours, plan.apart_shares)
            trials[arm] = [{"classical": list(dose)} for dose in doses]
    return trials


def best(rows, plan):
    """The doses of the highest mean accuracy over the seeds of the trials; of equals those that were tried first.

    Doses that were tried with fewer seeds than the plan's are passed over.
    """
    found = {}
    for row in rows:
        found.setdefault(str(row["doses"]), (row["doses"], {}))[1][row["seed"]] = row["accuracy"]
    whole = [(doses, mean(told.values())) for doses, told in found.values() if len(told) >= plan.trial_seeds]
    return max(whole, key=lambda item: item[1])[0]
