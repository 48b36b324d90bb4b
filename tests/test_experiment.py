"""Intervals against scipy, and records that survive."""

import json

import pytest
from scipy import stats

from d2lstyle.experiment import gains_over, mean_interval, means_by, read_record, write_record


def test_the_interval_is_students():
    values = [0.81, 0.84, 0.79, 0.9, 0.86]
    found = mean_interval(values)
    low, high = stats.t.interval(0.95, 4, loc=sum(values) / 5, scale=stats.sem(values))
    assert (found.mean, found.low, found.high, found.n) == pytest.approx((0.84, low, high, 5))
    assert str(mean_interval([0.5, 0.5])) == "0.500 [0.500, 0.500]"


def test_more_confidence_is_a_wider_interval():
    wide, narrow = mean_interval([1, 2, 3], level=0.99), mean_interval([1, 2, 3], level=0.5)
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize("values, level, words", [
    ([1], 0.95, "two finite numbers"), ([1, float("nan")], 0.95, "finite"), ([1, 2], 1, "level between"), ([], 0.95, "two"),
])  # fmt: skip
def test_what_has_no_interval(values, level, words):
    with pytest.raises(ValueError, match=words):
        mean_interval(values, level)


ROWS = [{"arm": arm, "seed": seed, "accuracy": value} for arm, values in (("b", (0.5, 0.9)), ("a", (0.6, 1.0)))
        for seed, value in enumerate(values)]  # fmt: skip


def test_means_by_arm():
    assert means_by(ROWS, "arm", "accuracy") == {"b": mean_interval([0.5, 0.9]), "a": mean_interval([0.6, 1.0])}


def test_gains_are_differences_on_the_same_seed():
    shuffled = [ROWS[i] for i in (3, 0, 2, 1)]
    gains = gains_over(shuffled, "arm", "accuracy", "b")
    assert list(gains) == ["a"] and gains["a"][:3] == pytest.approx((0.1, 0.1, 0.1))  # the arms overlap, the gain is sure


def test_gains_need_a_partner():
    with pytest.raises(ValueError, match="'a', 1"):
        gains_over(ROWS[:-1], "arm", "accuracy", "b")
    with pytest.raises(ValueError, match="'c'"):
        gains_over(ROWS, "arm", "accuracy", "c")


def test_a_record_comes_back(tmp_path):
    rows = [{"seed": 0, "accuracy": 0.5}, {"seed": 1, "accuracy": 0.25}]
    write_record(tmp_path / "results" / "a.json", rows, command="make it", machine="this one")
    record = read_record(tmp_path / "results" / "a.json")
    assert record["rows"] == rows and record["command"] == "make it" and record["machine"] == "this one" and record["date"]
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["a.json"]


def test_what_is_no_record(tmp_path):
    with pytest.raises(FileNotFoundError, match="RECORD = True"):
        read_record(tmp_path / "none.json")
    for content, words in (("{", "damaged"), (json.dumps([1]), "no record"), (json.dumps({"rows": []}), "no record")):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(ValueError, match=words):
            read_record(tmp_path / "bad.json")
