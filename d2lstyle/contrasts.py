"""What came out of the experiment: accuracies, differences between arms, and the verdict, each with its interval."""

import numpy as np

from .arms import ARMS
from .bootstrap import holm, paired_bootstrap, unpack_answers
from .runs import key_of

CONTRASTS = {  # name: {arm: its weight}
    "D - B": {"D": 1, "B": -1},
    "D - C": {"D": 1, "C": -1},
    "D - G": {"D": 1, "G": -1},
    "C - A": {"C": 1, "A": -1},
    "F - A": {"F": 1, "A": -1},
    "E - A": {"E": 1, "A": -1},
    "H - A": {"H": 1, "A": -1},
    "D - B - C + A": {"D": 1, "B": -1, "C": -1, "A": 1},
}
LEVEL = 0.95  # of all intervals; a claim needs a p of less than half of the rest


def answers(record, model, arm, per_class, test):
    """(seeds, images): 1 where a run was right, of one arm; seeds in order.

    Raises:
        ValueError: the record has no such run.
    """
    rows = [row for row in record["rows"] if (row["model"], row["arm"], row["per_class"]) == (model, arm, per_class)]
    if not rows:
        raise ValueError(f"the record has no run of arm {arm!r}, {model}, {per_class} a class")
    rows = sorted(rows, key=lambda row: row["seed"])
    return np.stack([unpack_answers(row["right"][test], record["tests"][test]) for row in rows])


def accuracy(record, model, arm, per_class, test):
    """`Contrast` of an arm with nothing: its accuracy and the interval over seeds and test images."""
    return paired_bootstrap(answers(record, model, arm, per_class, test), level=LEVEL)


def contrast(record, name, model, per_class, test):
    """`Contrast`: the difference that `CONTRASTS` names, paired by seed and by image."""
    parts = [weight * answers(record, model, arm, per_class, test) for arm, weight in CONTRASTS[name].items()]
    return paired_bootstrap(sum(parts), level=LEVEL)


def beats_each_alone(record, model, per_class):
    """Whether style and classical augmentation together beat each of the two alone, on each test.

    A claim takes both differences: D - B and D - C with intervals above zero, and the larger of their two p-values, after
    Holm's correction over the tests, within the level.

    Returns:
        {test: (whether it does, the corrected p)}
    """
    pairs = {test: [contrast(record, name, model, per_class, test) for name in ("D - B", "D - C")] for test in record["tests"]}
    corrected = holm({test: max(each.p for each in pair) for test, pair in pairs.items()})
    return {test: (all(each.low > 0 for each in pair) and corrected[test] <= (1 - LEVEL) / 2, corrected[test])
            for test, pair in pairs.items()}  # fmt: skip


def failed_checks(record):
    """What must hold and does not, as sentences; an empty list is good. Of the runs that `sanity` adds."""
    found, rows = [], {key_of(row): row for row in record["rows"]}
    chance = 1 / len(record["classes"])
    for (model, arm, n, seed), row in rows.items():
        if arm == "D, p = 0" and row["right"] != rows[model, "B", n, seed]["right"]:
            found.append(f"{model}, {n} a class: D with p = 0 answers other than B")
    for model, n in {(row["model"], row["per_class"]) for row in rows.values() if row["arm"] == "B, labels shuffled"}:
        for test in record["tests"]:
            interval = accuracy(record, model, "B, labels shuffled", n, test)
            if not interval.low <= chance <= interval.high:
                found.append(f"{model}, {test}: shuffled labels give {interval}, chance is {chance:.3f}")
    return found


def print_table(record):
    """Accuracies, contrasts and verdicts as text."""
    groups = sorted({(row["model"], row["per_class"]) for row in record["rows"]})
    for model, n in groups:
        arms = [arm for arm in ARMS if any(key_of(row)[:3] == (model, arm, n) for row in record["rows"])]
        print(f"\n{model}, {n} photos a class")
        print(" " * 30 + "".join(f"{test:24}" for test in record["tests"]))
        for arm in arms:
            cells = [accuracy(record, model, arm, n, test) for test in record["tests"]]
            print(f"{arm + '  ' + ARMS[arm].title:30}" + "".join(f"{c.mean:.3f} [{c.low:.3f}, {c.high:.3f}]".ljust(24) for c in cells))
        for name in (name for name, parts in CONTRASTS.items() if set(parts) <= set(arms)):
            print(f"{name:30}" + "".join(f"{contrast(record, name, model, n, test)!s:24}" for test in record["tests"]))
        if {"B", "C", "D"} <= set(arms):
            verdict = beats_each_alone(record, model, n).items()
            print(f"{'D beats B and C':30}" + "".join(f"{'yes' if yes else 'no'} (p = {p:.4f})".ljust(24) for _, (yes, p) in verdict))
