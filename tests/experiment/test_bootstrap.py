"""Intervals over seeds and images against brute force and scipy, Holm's correction, and answers as text."""

from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest
from scipy import stats

from d2lstyle.experiment.bootstrap import BLOCK, Contrast, holm, pack_answers, paired_bootstrap, unpack_answers


def some_table(seeds=4, images=7):
    """Differences in which seeds and images both matter."""
    rng = np.random.default_rng(5)
    return rng.normal(0.3, 0.5, (seeds, 1)) + rng.normal(0, 0.4, (1, images)) + rng.normal(0, 0.3, (seeds, images))


@pytest.fixture(scope="module")
def brute_force():
    """20,000 means of resamples of `some_table`, row by row and column by column."""
    rng, table = np.random.default_rng(99), some_table()
    return np.array([table[rng.integers(0, 4, 4)][:, rng.integers(0, 7, 7)].mean() for _ in range(20_000)])


def assert_quantile(value, level, means, repeats):
    """`value` is the quantile of as many other means, as far as five standard deviations of the rank go."""
    reach = 5 * (level * (1 - level) * (1 / len(means) + 1 / repeats)) ** 0.5
    assert np.quantile(means, max(0, level - reach)) <= value <= np.quantile(means, min(1, level + reach))


# intervals


@pytest.mark.parametrize("level, repeats", [(0.5, 20_000), (0.95, 20_000), (0.8, BLOCK - 1), (0.8, 9 * BLOCK + 7)])
def test_percentiles_are_those_of_drawing_rows_and_columns(level, repeats, brute_force):
    """However many there are: blocks of them are other resamples, not the same ones again."""
    interval = paired_bootstrap(some_table(), level=level, repeats=repeats)
    assert_quantile(interval.low, (1 - level) / 2, brute_force, repeats)
    assert_quantile(interval.high, (1 + level) / 2, brute_force, repeats)
    part = (brute_force <= 0).mean()
    assert 0.02 < part < 0.5  # there is something to tell
    assert interval.p == pytest.approx(part, abs=5 * (part * (1 - part) * (1 / 20_000 + 1 / repeats)) ** 0.5)


def exact(table):
    """{mean: its probability} of all ways to draw rows and columns of a table of fractions."""
    seeds, images = len(table), len(table[0])
    ways, part = {}, Fraction(1, seeds**seeds * images**images)
    for rows in product(range(seeds), repeat=seeds):
        for columns in product(range(images), repeat=images):
            mean = sum(table[i][j] for i in rows for j in columns) / (seeds * images)
            ways[mean] = ways.get(mean, 0) + part
    return ways


@pytest.mark.parametrize("tenths", [[[1, 2, -3], [3, -1, -2], [2, 2, 1]], [[1, 2, -3], [1, 2, -3]]])
def test_p_counts_a_resample_of_exactly_zero_as_no_gain(tenths):
    """Many resamples add up to zero, but not as floats: 0.1 + 0.2 - 0.3 is a little more."""
    ways = exact([[Fraction(value, 10) for value in row] for row in tenths])
    below = float(sum(part for mean, part in ways.items() if mean <= 0))
    assert ways[0] > 0.05
    found = paired_bootstrap(np.array(tenths) / 10, repeats=20_000)
    assert found.p == pytest.approx(below, abs=5 * (below * (1 - below) / 20_000) ** 0.5)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_table_that_varies_along_one_axis_is_scipys_ordinary_bootstrap(axis):
    values = np.random.default_rng(1).exponential(1, 9)
    table = np.repeat(values[:, None], 6, 1) if axis == 0 else np.repeat(values[None], 6, 0)
    interval = paired_bootstrap(table, repeats=20_000, level=0.9)
    rng = np.random.default_rng(2)
    scipys = stats.bootstrap((values,), np.mean, n_resamples=20_000, confidence_level=0.9, method="percentile", rng=rng)
    for level, value in ((0.05, interval.low), (0.95, interval.high)):
        assert_quantile(value, level, scipys.bootstrap_distribution, 20_000)
    assert (interval.low, interval.high) == pytest.approx(scipys.confidence_interval, abs=0.05)


def test_the_mean_is_the_mean_in_the_middle_of_the_resamples():
    assert paired_bootstrap([[1, 0, -1, 1], [1, 1, 0, 0]], repeats=10).mean == 3 / 8
    table = some_table() + 1
    interval = paired_bootstrap(table, level=0.02, repeats=20_000)
    assert interval.mean == table.mean() and interval.high - interval.low < 0.02
    assert interval.low == pytest.approx(table.mean(), abs=0.05)


@pytest.mark.parametrize("repeats", [1, BLOCK, 2 * BLOCK + 250])
def test_p_is_one_sided_and_never_zero(repeats):
    gain = np.random.default_rng(3).uniform(0.1, 1, (3, 5))
    assert paired_bootstrap(gain, repeats=repeats).p == 1 / (1 + repeats)
    assert paired_bootstrap(-gain, repeats=repeats).p == 1
    assert paired_bootstrap(0 * gain, repeats=repeats) == Contrast(0, 0, 0, 1)


def test_turned_around_it_is_mirrored_and_more_confidence_is_wider():
    table = some_table()
    wide, turned, narrow = paired_bootstrap(table), paired_bootstrap(-table), paired_bootstrap(table, level=0.5)
    assert (turned.mean, turned.low, turned.high) == pytest.approx((-wide.mean, -wide.high, -wide.low))
    assert turned.p + wide.p == pytest.approx(1, abs=1e-3)
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high and wide.p == narrow.p


def test_the_same_seed_gives_the_same_interval():
    first, again, other = (paired_bootstrap(some_table(), seed=seed) for seed in (1, 1, 2))
    assert first == again != other and str(Contrast(0.0304, -0.012, 0.0649, 0.2)) == "+0.030 [-0.012, +0.065]"


@pytest.mark.parametrize("of_seeds, of_images", [(1, 0), (0, 1), (1, 1)])
def test_intervals_hold_a_difference_of_zero_about_as_often_as_they_say(of_seeds, of_images):
    """400 experiments without any effect, of 12 seeds and 60 images; a bootstrap of one axis would hold far fewer."""
    rng, seeds, images = np.random.default_rng(7), 12, 60
    held, claimed = 0, 0
    for _ in range(400):
        rows, columns = of_seeds * rng.normal(0, 0.3, (seeds, 1)), of_images * rng.normal(0, 0.3, (1, images))
        interval = paired_bootstrap(rows + columns + rng.normal(0, 0.1, (seeds, images)), level=0.9, repeats=400)
        held += interval.low <= 0 <= interval.high
        claimed += interval.p <= 0.05
    assert 0.8 <= held / 400 <= 0.97 and 0.01 <= claimed / 400 <= 0.12


@pytest.mark.parametrize(
    "table, options, words",
    [
        ([[1, 0, 1]], {}, r"at least two seeds, got \(1, 3\)"),
        ([1, 0, 1], {}, r"\(seeds, images\).*got \(3,\)"),
        ([[], []], {}, r"got \(2, 0\)"),
        ([[1, 0], [float("nan"), 1]], {}, "finite"),
        ([[1], [0]], {"level": 1}, "level between 0 and 1, got 1"),
        ([[1], [0]], {"repeats": 0}, "repeats as an integer of at least 1, got 0"),
    ],
)
def test_what_has_no_interval(table, options, words):
    with pytest.raises(ValueError, match=words):
        paired_bootstrap(table, **options)


# Holm


@pytest.mark.parametrize(
    "p_values, expected",
    [
        ({"a": 0.01, "b": 0.04, "c": 0.03}, {"a": 0.03, "b": 0.06, "c": 0.06}),
        ({"d": 0.04, "b": 0.01, "c": 0.02, "a": 0.005}, {"d": 0.04, "b": 0.03, "c": 0.04, "a": 0.02}),
        ({"a": 0.5, "b": 0.6}, {"a": 1, "b": 1}),
        ({"a": 0.02, "b": 0.02}, {"a": 0.04, "b": 0.04}),
        ({"a": 0, "b": 1}, {"a": 0, "b": 1}),
        ({}, {}),
    ],
)
def test_holm_by_hand(p_values, expected):
    before = dict(p_values)
    adjusted = holm(p_values)
    assert adjusted == pytest.approx(expected) and list(adjusted) == list(p_values) and p_values == before


def rejected(p_values, level):
    """Holm's procedure: the smallest p against level / m, the next against level / (m - 1), until one is kept."""
    names, left = set(), sorted(p_values.items(), key=lambda item: item[1])
    while left and left[0][1] <= level / len(left):
        names.add(left.pop(0)[0])
    return names


@pytest.mark.parametrize("seed", range(3))
def test_holm_is_the_smallest_level_that_rejects_and_closes_bonferronis_tests(seed):
    """A hypothesis falls where every intersection with others falls by Bonferroni (Marcus, Peritz and Gabriel 1976)."""
    p_values = {f"test {i}": float(p) for i, p in enumerate((np.random.default_rng(seed).random(5) ** 3).round(2))}
    adjusted = holm(p_values)
    near = [p + step for p in adjusted.values() for step in (-1e-9, 1e-9)]
    for level in (0.01, 0.025, 0.05, 0.1, 0.5, *(level for level in near if 0 <= level < 1)):
        assert {name for name, p in adjusted.items() if p <= level} == rejected(p_values, level)
    subsets = [names for n in range(1, 6) for names in combinations(p_values, n)]
    for name, p in p_values.items():
        closed = max(min(1, len(names) * min(map(p_values.get, names))) for names in subsets if name in names)
        assert adjusted[name] == pytest.approx(closed, abs=1e-12) and adjusted[name] >= p


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability(p):
    with pytest.raises(ValueError, match="expected probabilities"):
        holm({"a": 0.5, "b": p})


# answers as text


@pytest.mark.parametrize(
    "right, text",
    [([1, 0, 0, 0, 0, 0, 0, 1], "81"), ([1, 1, 1], "e0"), ([0, 0, 0, 0, 1, 1, 1, 1, 1], "0f80"), ([], "")],
)
def test_four_answers_are_a_digit(right, text):
    assert pack_answers(right) == pack_answers(np.array(right, float)) == text
    answers = unpack_answers(text, len(right))
    assert answers.tolist() == right and answers.dtype == float


@pytest.mark.parametrize("count", [0, 8, 17])
def test_another_number_of_answers_is_an_error(count):
    with pytest.raises(ValueError, match=f"expected {count} answers, got a text of 2 bytes"):
        unpack_answers(pack_answers([True] * 9), count)
