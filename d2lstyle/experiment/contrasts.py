"""What came out of the experiment: accuracies, differences between arms with their intervals, and the verdict.

A record is what was measured of one data set and one network. It asks some tests, each of which is one of its sets of
images or several of the same images, such as corrupted ones, whose answers are averaged image by image.
"""

from html import escape
from itertools import product
from typing import NamedTuple

import numpy as np

from .arms import ARMS
from .intervals import Contrast, holm, two_way_t, unpack_answers


def _weights(name):
    words = f"+ {name}".split()
    return {arm: 1 if sign == "+" else -1 for sign, arm in zip(words[::2], words[1::2])}


PRIMARY = "D - B"
SECONDARY = ("D - G", "C - F", "C - A", "I - D", "R - D", "D - B - C + A", "N - D", "Dv - B")
FAMILY = (PRIMARY, *SECONDARY)  # on these there is a verdict; the others describe
CONTRASTS = {name: _weights(name) for name in (*FAMILY, "B - A", "C - B", "D - C", "F - A", "H - A", "G - B", "Dv - D")}
LEAST = 5  # seeds of a verdict
SURE = 0.999  # of the interval that must hold chance: there are many of them, and none should fail for nothing
SHUFFLED, UNPAINTED = "B, labels shuffled", "D, p = 0"


def unit_of(record, model):
    """A record of the former protocol, which held both networks and asked each test of itself, as one of `model`."""
    rows = [row for row in record["rows"] if row["model"] == model]
    return record | {
        "plan": record["plan"] | {"model": model},
        "asked": {t: [t] for t in record["tests"]},
        "rows": rows,
    }


def _runs(record, arm, per_class):
    """{seed: row} of one arm, seeds in order."""
    rows = [row for row in record["rows"] if (row["arm"], row["per_class"]) == (arm, per_class)]
    return {row["seed"]: row for row in sorted(rows, key=lambda row: row["seed"])}


def answers(record, arm, per_class, test, seeds=None):
    """(seeds, images): 1 where a run of an arm was right, or the fraction of the asked test's sets where it was.

    Of these seeds, or of all in order. ValueError: there is no such run.
    """
    runs = _runs(record, arm, per_class)
    if not runs or not runs.keys() >= set(seeds or ()):
        raise ValueError(f"the record has no run of arm {arm!r} with {per_class} photos per class, or lacks a seed")
    sets = record["asked"][test]
    right = [[unpack_answers(runs[seed]["right"][t], record["tests"][t]) for t in sets] for seed in seeds or runs]
    return np.mean(right, axis=1)


def accuracy(record, arm, per_class, test, *, level=0.95):
    """`Contrast` of an arm with nothing: its accuracy and the interval over seeds and test images."""
    return two_way_t(answers(record, arm, per_class, test), level=level)


def contrast(record, name, test, per_class=None):
    """`Contrast`: the difference that `CONTRASTS` names on an asked test, paired by seed and by image.

    Args:
        per_class: photos per class, or None for the mean over all numbers at which every arm of it was run.
    Raises:
        ValueError: its arms share fewer than two seeds.
    """
    sizes, seeds = _shared(record, name, per_class)
    if len(seeds) < 2:
        raise ValueError(f"expected runs of all arms of {name} at two seeds or more, got seeds {seeds}")
    tables = [
        weight * answers(record, arm, n, test, seeds) for n, (arm, weight) in product(sizes, CONTRASTS[name].items())
    ]
    return two_way_t(sum(tables) / len(sizes))


def _shared(record, name, per_class=None):
    """The numbers of photos at which every arm of a contrast was run, and the seeds that all of these runs share."""
    sizes = record["plan"]["per_class"] if per_class is None else [per_class]
    seeds = {n: [set(_runs(record, arm, n)) for arm in CONTRASTS[name]] for n in sizes}
    seeds = {n: sets for n, sets in seeds.items() if all(sets)}
    return list(seeds), sorted(set.intersection(*sum(seeds.values(), []))) if seeds else []


class Verdict(NamedTuple):
    """What is found of one contrast on one asked test of one data set and network."""

    data: str
    model: str
    test: str
    name: str
    contrast: Contrast | None  # None where there are no two seeds
    p: float  # after Holm's correction
    seeds: int
    finding: str

    def cells(self):
        """Its fields as texts."""
        difference = "" if self.contrast is None else str(self.contrast)
        return *self[:4], difference, "< 0.0001" if self.p < 1e-4 else f"{self.p:.4f}", *map(str, self[6:])


def verdict(records, *, margin=0.02):
    """What the experiment found: a list of `Verdict`, one for each record, asked test and contrast of the family.

    The family of Holm's correction are all contrasts whose arms the records' plans declare, with p = 1 for one that has
    not yet all seeds of its plan, and at least five. A corrected p of at most 0.05 makes a "gain" or a "loss", "(below
    the margin)" where even its whole interval is. Else it is "no effect" where the 95 % interval, which no correction
    makes wider, lies within the margin, and else "open".
    """
    asked = [(record, test, name) for record, name in product(records, FAMILY) for test in record["asked"]]
    cells = [_measured(*cell) for cell in asked if set(CONTRASTS[cell[2]]) <= set(cell[0]["plan"]["arms"])]
    corrected = holm({place: cell.p for place, cell in enumerate(cells)})
    cells = [cell._replace(p=corrected[place]) for place, cell in enumerate(cells)]
    return [cell._replace(finding=cell.finding or _finding(cell, margin)) for cell in cells]


def _measured(record, test, name):
    """A `Verdict` before Holm's correction, with a finding only where there are too few seeds for another one."""
    plan, seeds = record["plan"], len(_shared(record, name)[1])
    difference = contrast(record, name, test) if seeds > 1 else None
    finding = "" if seeds >= max(LEAST, plan["seeds"]) else f"no verdict: {seeds} seeds" if seeds else "not measured"
    p = 1.0 if finding else difference.p
    return Verdict(plan["data"], plan["model"], test, name, difference, p, seeds, finding)


def _finding(cell, margin):
    small = -margin <= cell.contrast.low and cell.contrast.high <= margin
    if cell.p <= 0.05:
        return ("gain" if cell.contrast.mean > 0 else "loss") + " (below the margin)" * small
    return "no effect" if small else "open"


def largest(verdicts):
    """{"D - B": (`Verdict` of the largest gain, of the largest loss), "all": the same of all}; None where none is."""
    best = {}
    for kind in (PRIMARY, "all"):
        gains, losses = (
            [row for row in verdicts if kind in (row.name, "all") and row.finding.startswith(word)]
            for word in ("gain", "loss")
        )
        best[kind] = tuple(max(rows, key=lambda row: abs(row.contrast.mean), default=None) for rows in (gains, losses))
    return best


def failed_checks(record):
    """What must hold and does not, as sentences; an empty list is good. Of the runs that `sanity` adds."""
    failed, chance, sizes = [], 1 / len(record["classes"]), record["plan"]["per_class"]
    for n in sizes:
        equals = _runs(record, "B", n)
        for seed, row in _runs(record, UNPAINTED, n).items():
            if row["right"] != equals.get(seed, row)["right"]:
                failed.append(f"{n} photos per class, seed {seed}: D with p = 0 answers other than B")
    for n, test in product(sizes, record["asked"]):
        if len(_runs(record, SHUFFLED, n)) > 1:
            interval = accuracy(record, SHUFFLED, n, test, level=SURE)
            if not interval.low <= chance <= interval.high:
                failed.append(f"{n} photos per class, {test}: shuffled labels give {interval}, chance is {chance:.3f}")
    return failed


def table(records):
    """Accuracies and contrasts of all records, and the verdict, as text."""
    tables, widths = [_lines(record) for record in records], (10, 12, 15, 15, 26, 10, 4, 0)
    rows = [zip(row.cells(), widths) for row in verdict(records)]
    tables.append(["".join(f"{cell:{width}}" for cell, width in row) for row in rows])
    return "\n\n".join("\n".join(lines) for lines in tables)


def _lines(record):
    plan, tests = record["plan"], record["asked"]
    lines = []
    for n in plan["per_class"]:
        lines.append(_line(f"{plan['data']}, {plan['model']}, {n} photos per class", tests))
        for arm in (arm for arm in plan["arms"] if len(_runs(record, arm, n)) > 1):
            cells = (accuracy(record, arm, n, test) for test in tests)
            title = ARMS[arm].title if arm in ARMS else ""
            lines.append(_line(f"{arm:3}{title}", (f"{c.mean:.3f} [{c.low:.3f}, {c.high:.3f}]" for c in cells)))
    lines.append(_line("difference, over all of these", tests))
    names = [name for name in CONTRASTS if len(_shared(record, name)[1]) > 1]
    return [*lines, *(_line(name, (contrast(record, name, test) for test in tests)) for name in names)]


def _line(title, cells):
    return (f"{title:46}" + "".join(f"{cell!s:25}" for cell in cells)).rstrip()


def verdict_html(verdicts):
    """The same as a table for `IPython.display.HTML`."""
    head = ("data", "network", "test", "difference", "mean [95 % interval]", "corrected p", "seeds", "finding")
    lines = [("th", head), *(("td", row.cells()) for row in verdicts)]
    rows = ["".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) for tag, cells in lines]
    style = "white-space: nowrap; font-size: 80%"
    return f'<table style="{style}">' + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"
