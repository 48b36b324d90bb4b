"""Means with intervals over seeds, and records of long runs that others can read and repeat."""

import json
import math
from datetime import date
from pathlib import Path
from typing import NamedTuple

from scipy import stats

from .engine.files import write_whole


class Interval(NamedTuple):
    """A mean and its confidence interval, over `n` runs."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self):
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def mean_interval(values, level=0.95):
    """The mean of at least two numbers, one a seed, with Student's t interval at a level of confidence within (0, 1).

    It holds for few seeds, if what varies from seed to seed is about normal; the interval of differences between two
    methods is that of the differences seed by seed. ValueError: fewer than two values, or one that is not finite.

    >>> mean_interval([1.0, 2.0, 3.0])
    Interval(mean=2.0, low=-0.484..., high=4.484..., n=3)
    """
    values = [float(value) for value in values]
    if len(values) < 2 or not all(map(math.isfinite, values)):
        raise ValueError(f"expected at least two finite numbers, one a seed, got {values}")
    if not 0 < level < 1:
        raise ValueError(f"expected level between 0 and 1, got {level!r}")
    n, mean = len(values), sum(values) / len(values)
    # Of the standard t: for equal values, whose scale is zero, scipy's interval would be NaN.
    reach = float(stats.t.interval(level, n - 1)[1] * stats.sem(values))
    return Interval(mean, mean - reach, mean + reach, n)


def means_by(rows, by, value):
    """{each value of the column `by`, in order of appearance: Interval of the column `value` over its rows}

    `rows` is a list of dicts, one a run; `by` tells what is compared, such as "arm".
    """
    names = dict.fromkeys(row[by] for row in rows)
    return {name: mean_interval([row[value] for row in rows if row[by] == name]) for name in names}


def gains_over(rows, by, value, baseline):
    """By how much each arm beats a baseline: {each other value of `by`: Interval of the differences on the same seed}.

    Seeds differ more than arms do, because some draw better photos for all; the difference leaves that out. Arguments
    as for `means_by`; each row has a "seed". ValueError: the baseline is not there, or an arm lacks one of its seeds.

    >>> rows = [{"arm": arm, "seed": seed, "right": seed * len(arm)} for arm in ("A", "AB") for seed in (1, 2, 3)]
    >>> gains_over(rows, "arm", "right", "A")["AB"].mean
    2.0
    """
    numbers = {(row[by], row["seed"]): row[value] for row in rows}
    arms, seeds = dict.fromkeys(row[by] for row in rows), [seed for name, seed in numbers if name == baseline]
    missing = [(name, seed) for name in arms for seed in seeds if (name, seed) not in numbers]
    if not seeds or missing:
        raise ValueError(f"expected each arm at each seed of {baseline!r}, got none for {missing or baseline!r}")
    gains = {name: [numbers[name, seed] - numbers[baseline, seed] for seed in seeds] for name in arms}
    return {name: mean_interval(differences) for name, differences in gains.items() if name != baseline}


def write_record(path, rows, *, command, **about):
    """Keep the rows of a run as JSON: the file appears whole or not at all, and its folder is made.

    `rows` is a list of dicts, one a measurement; `command` what to type to measure them again; `about` whatever else a
    reader should know: sizes, epochs, the machine.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"command": command, "date": str(date.today()), **about, "rows": rows}
    parts = (f" {json.dumps(key)}: {_as_lines(value)}" for key, value in record.items())
    write_whole(path, "{\n" + ",\n".join(parts) + "\n}\n")


def _as_lines(value):
    """JSON with each entry of a dict, and each dict of a list, on a line of its own: short, and a diff tells rows."""
    if isinstance(value, dict):
        return "{\n" + ",\n".join(f"  {json.dumps(key)}: {json.dumps(entry)}" for key, entry in value.items()) + "\n }"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(json.dumps(row) for row in value) + "\n ]"
    return json.dumps(value)


def read_record(path):
    """What `write_record` kept: a dict with "command", "date", "rows" and the rest; FileNotFoundError or ValueError."""
    try:
        record = json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(
            f"there is no record {path}: its notebook writes it when run with RECORD = True"
        ) from None
    except ValueError as error:
        raise ValueError(f"{path} is damaged or no record: {error}") from None
    if not isinstance(record, dict) or not {"command", "date", "rows"} <= record.keys():
        raise ValueError(f"{path} is no record: expected command, date and rows")
    return record
