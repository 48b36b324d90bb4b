"""What came out of the experiment: accuracies, differences between arms, and the verdict, each with its interval."""

import numpy as np

from .arms import ARMS
from .bootstrap import holm, paired_bootstrap, unpack_answers
from .plan import key_of

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
SURE = 0.999  # of the interval that must hold chance: there are many of them, and none should fail for nothing
SHUFFLED = "B, labels shuffled"


def _rows(record, others=False):
    """Those of the record's own test images, or of others, whose answers mean other images. Old rows do not tell."""
    return [row for row in record["rows"] if (row.get("tests", record["tests"]) != record["tests"]) == others]


def _runs(record, model, arm, per_class):
    """{seed: row} of one arm, seeds in order."""
    rows = sorted(_rows(record), key=lambda row: row["seed"])
    return {row["seed"]: row for row in rows if key_of(row)[:3] == (model, arm, per_class)}


def answers(record, model, arm, per_class, test):
    """(seeds, images): 1 where a run was right, of one arm; seeds in order. A ValueError where there is no such run."""
    rows = _runs(record, model, arm, per_class).values()
    if not rows:
        raise ValueError(f"the record has no run of arm {arm!r}, {model}, {per_class} a class")
    return np.stack([unpack_answers(row["right"][test], record["tests"][test]) for row in rows])


def accuracy(record, model, arm, per_class, test):
    """`Contrast` of an arm with nothing: its accuracy and the interval over seeds and test images."""
    return paired_bootstrap(answers(record, model, arm, per_class, test), level=LEVEL)


def contrast(record, name, model, per_class, test):
    """`Contrast`: the difference that `CONTRASTS` names, paired by seed and by image.

    Raises:
        ValueError: the record lacks one of the arms, or a seed of one.
    """
    weights = CONTRASTS[name]
    seeds = {arm: set(_runs(record, model, arm, per_class)) for arm in weights}
    if len(set(map(frozenset, seeds.values()))) > 1:
        raise ValueError(f"expected the same seeds of each arm of {name}, got {seeds}")
    table = sum(weight * answers(record, model, arm, per_class, test) for arm, weight in weights.items())
    return paired_bootstrap(table, level=LEVEL)


def beats_each_alone(record, model, per_class):
    """Whether style and classical augmentation together beat each of the two alone: {test: (whether, corrected p)}.

    A claim takes both differences: D - B and D - C with intervals above zero, and the larger of their two p-values,
    after Holm's correction over the tests, within the level.
    """
    tests = record["tests"]
    pairs = {test: [contrast(record, name, model, per_class, test) for name in ("D - B", "D - C")] for test in tests}
    corrected = holm({test: max(one.p, other.p) for test, (one, other) in pairs.items()})
    above = {test: min(one.low, other.low) > 0 for test, (one, other) in pairs.items()}
    return {test: (above[test] and corrected[test] <= (1 - LEVEL) / 2, corrected[test]) for test in tests}


def failed_checks(record):
    """What must hold and does not, as sentences; an empty list is good. Of the runs that `sanity` adds."""
    rows, failed, chance = {key_of(row): row for row in _rows(record)}, [], 1 / len(record["classes"])
    for (model, arm, n, seed), row in rows.items():
        if arm == "D, p = 0" and row["right"] != rows.get((model, "B", n, seed), row)["right"]:
            failed.append(f"{model}, {n} a class: D with p = 0 answers other than B")
    for model, n in sorted({(model, n) for model, arm, n, _ in rows if arm == SHUFFLED}):
        for test in record["tests"]:
            interval = paired_bootstrap(answers(record, model, SHUFFLED, n, test), level=SURE)
            if not interval.low <= chance <= interval.high:
                failed.append(f"{model}, {test}: shuffled labels give {interval}, chance is {chance:.3f}")
    return failed


def table(record):
    """Accuracies, contrasts and verdicts of all models and numbers of photos, as text; it names rows passed over."""
    groups = sorted({(row["model"], row["per_class"]) for row in _rows(record)})
    tables = ["\n".join(_lines(record, *group)) for group in groups]
    if others := [f"{key_of(row)} of {row['tests']}" for row in _rows(record, others=True)]:
        tables.append(f"passed over, for another number of test images: {', '.join(others)}")
    return "\n\n".join(tables)


def _lines(record, model, n):
    tests, arms = record["tests"], [arm for arm in ARMS if _runs(record, model, arm, n)]
    names = [name for name, weights in CONTRASTS.items() if set(weights) <= set(arms)]
    yield _line(f"{model}, {n} photos a class", tests)
    for arm in arms:
        cells = [accuracy(record, model, arm, n, test) for test in tests]
        yield _line(f"{arm}  {ARMS[arm].title}", (f"{c.mean:.3f} [{c.low:.3f}, {c.high:.3f}]" for c in cells))
    for name in names:
        yield _line(name, (contrast(record, name, model, n, test) for test in tests))
    if {"D - B", "D - C"} <= set(names):
        verdicts = beats_each_alone(record, model, n).values()
        yield _line("D beats B and C", (f"{'yes' if beats else 'no'} (p = {p:.4f})" for beats, p in verdicts))


def _line(title, cells):
    return (f"{title:32}" + "".join(f"{cell!s:25}" for cell in cells)).rstrip()
