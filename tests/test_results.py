"""Intervals against scipy, and records that survive."""

import json
import math

import pytest
from scipy import stats

from d2lstyle.results import gains_over, mean_interval, means_by, read_record, write_record

ROWS = [
    {"arm": arm, "seed": seed, "accuracy": value}
    for arm, values in (("b", (0.5, 0.9)), ("a", (0.6, 1.0)))
    for seed, value in enumerate(values)
]


def test_the_interval_is_students():
    values = [0.81, 0.84, 0.79, 0.9, 0.86]
    low, high = stats.t.interval(0.95, 4, loc=sum(values) / 5, scale=stats.sem(values))
    assert mean_interval(values) == pytest.approx((0.84, low, high, 5), rel=1e-12)
    # t of 95 % and two degrees of freedom, from a table, is 4.3027; the deviation of 1, 2, 3 is 1
    assert mean_interval([1, 2, 3]).high == pytest.approx(2 + 4.3027 / math.sqrt(3), abs=1e-4)
    assert str(mean_interval([0.5, 0.5])) == "0.500 [0.500, 0.500]"


def test_more_confidence_is_a_wider_interval():
    wide, narrow = mean_interval([1, 2, 3], level=0.99), mean_interval([1, 2, 3], level=0.5)
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize(
    "values, level, words",
    [
        ([1], 0.95, "two finite numbers"),
        ([1, math.nan], 0.95, "finite"),
        ([], 0.95, "two"),
        ([1, 2], 1, "level between"),
    ],
)
def test_what_has_no_interval(values, level, words):
    with pytest.raises(ValueError, match=words):
        mean_interval(values, level)


def test_means_by_arm():
    assert means_by(ROWS, "arm", "accuracy") == {"b": mean_interval([0.5, 0.9]), "a": mean_interval([0.6, 1.0])}


def test_gains_are_differences_on_the_same_seed():
    gains = gains_over([ROWS[i] for i in (3, 0, 2, 1)], "arm", "accuracy", "b")
    # the arms overlap, the gain is sure
    assert list(gains) == ["a"] and gains["a"][:3] == pytest.approx((0.1, 0.1, 0.1))


def test_gains_need_a_partner():
    with pytest.raises(ValueError, match="'a', 1"):
        gains_over(ROWS[:-1], "arm", "accuracy", "b")
    with pytest.raises(ValueError, match="'c'"):
        gains_over(ROWS, "arm", "accuracy", "c")


def test_a_record_comes_back(tmp_path):
    rows = [{"seed": 0, "accuracy": 0.5}, {"seed": 1, "accuracy": 0.25}]
    about = {"machine": "this one", "chosen": {"a": [1, 2], "b": {}}, "trials": [{"seed": 7}, {"seed": 8}], "none": []}
    write_record(tmp_path / "results" / "a.json", rows, command="make it", **about)
    text = (tmp_path / "results" / "a.json").read_text()
    assert {'{"seed": 0, "accuracy": 0.5},', '{"seed": 7},', '  "a": [1, 2],'} <= set(text.splitlines())
    record = read_record(tmp_path / "results" / "a.json")
    assert record.pop("date") and record == {"rows": rows, "command": "make it", **about}
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["a.json"]


def test_what_is_no_record(tmp_path):
    with pytest.raises(FileNotFoundError, match="RECORD = True"):
        read_record(tmp_path / "none.json")
    for content, words in (("{", "damaged"), (json.dumps([1]), "no record"), (json.dumps({"rows": []}), "no record")):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(ValueError, match=words):
            read_record(tmp_path / "bad.json")
