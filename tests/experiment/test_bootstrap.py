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


def brute_force(table, repeats):
    """Means of resamples, row by row and column by column."""
    rng = np.random.default_rng(99)
    means = []
    for _ in range(repeats):
        rows, columns = (rng.integers(0, n, n) for n in table.shape)
        means.append(table[rows][:, columns].mean())
    return np.array(means)


def assert_quantile(found, level, means, repeats):
    """`found` is the quantile of as many other means, as far as five standard deviations of the rank go."""
    reach = 5 * (level * (1 - level) * (1 / len(means) + 1 / repeats)) ** 0.5
    assert np.quantile(means, max(0, level - reach)) <= found <= np.quantile(means, min(1, level + reach))


# intervals


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_percentiles_are_those_of_drawing_rows_and_columns(level):
    table = some_table()
    means, found = brute_force(table, 20_000), paired_bootstrap(table, level=level, repeats=20_000)
    assert_quantile(found.low, (1 - level) / 2, means, 20_000)
    assert_quantile(found.high, (1 + level) / 2, means, 20_000)
    part = (means <= 0).mean()
    assert 0.02 < part < 0.5  # there is something to tell
    assert found.p == pytest.approx(part, abs=5 * (2 * part * (1 - part) / 20_000) ** 0.5)


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
    found = paired_bootstrap(
        np.array([[float(f"{value / 10:.1f}") for value in row] for row in tenths]), repeats=20_000
    )
    assert found.p == pytest.approx(below, abs=5 * (below * (1 - below) / 20_000) ** 0.5)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_table_that_varies_along_one_axis_is_scipys_ordinary_bootstrap(axis):
    values = np.random.default_rng(1).exponential(1, 9)
    table = np.repeat(values[:, None], 6, 1) if axis == 0 else np.repeat(values[None], 6, 0)
    found = paired_bootstrap(table, repeats=20_000, level=0.9)
    rng = np.random.default_rng(2)
    scipys = stats.bootstrap((values,), np.mean, n_resamples=20_000, confidence_level=0.9, method="percentile", rng=rng)
    for level, value in ((0.05, found.low), (0.95, found.high)):
        assert_quantile(value, level, scipys.bootstrap_distribution, 20_000)
    assert (found.low, found.high) == pytest.approx(scipys.confidence_interval, abs=0.05)


def test_the_mean_is_the_mean():
    assert paired_bootstrap([[1, 0, -1, 1], [1, 1, 0, 0]], repeats=10).mean == 3 / 8
    table = some_table(5, 11)
    assert paired_bootstrap(table, repeats=10).mean == table.mean()


def test_the_mean_lies_in_the_middle_of_the_resamples():
    table = some_table() + 1
    found = paired_bootstrap(table, level=0.02, repeats=20_000)
    assert found.high - found.low < 0.02 and found.low == pytest.approx(table.mean(), abs=0.05)


def test_a_difference_that_is_the_same_everywhere_is_sure():
    """What two arms share, seed by seed and image by image, is no doubt about their difference."""
    shared = some_table(6, 20)
    found = paired_bootstrap(shared + 0.25 - shared, repeats=999)
    assert found[:3] == pytest.approx((0.25, 0.25, 0.25), abs=1e-12) and found.p == 1 / 1000
    unpaired = paired_bootstrap(shared, repeats=999)
    assert unpaired.high - unpaired.low > 0.3


@pytest.mark.parametrize("repeats", [1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 250])
def test_p_is_one_sided_and_never_zero(repeats):
    gain = np.random.default_rng(3).uniform(0.1, 1, (3, 5))
    assert paired_bootstrap(gain, repeats=repeats).p == 1 / (1 + repeats)
    assert paired_bootstrap(-gain, repeats=repeats).p == 1
    assert paired_bootstrap(0 * gain, repeats=repeats) == Contrast(0, 0, 0, 1)


def test_any_number_of_repeats_is_drawn_anew():
    """Blocks are other resamples, not the same ones again."""
    table, few, many = some_table(), BLOCK - 1, 40 * BLOCK + 7
    means = brute_force(table, 20_000)
    for repeats in (few, many):
        found = paired_bootstrap(table, level=0.8, repeats=repeats)
        assert_quantile(found.low, 0.1, means, repeats)
        assert_quantile(found.high, 0.9, means, repeats)


def test_turned_around_it_is_mirrored():
    table = some_table()
    found, turned = paired_bootstrap(table), paired_bootstrap(-table)
    assert (turned.mean, turned.low, turned.high) == pytest.approx((-found.mean, -found.high, -found.low))
    assert turned.p + found.p == pytest.approx(1, abs=1e-3)


def test_more_confidence_is_a_wider_interval():
    wide, narrow = (paired_bootstrap(some_table(), level=level) for level in (0.99, 0.5))
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high and wide.p == narrow.p


def test_the_same_seed_gives_the_same_interval():
    table = some_table()
    before = table.copy()
    assert paired_bootstrap(table, seed=1) == paired_bootstrap(table, seed=1) != paired_bootstrap(table, seed=2)
    assert (table == before).all()


@pytest.mark.parametrize("of_seeds, of_images", [(1, 0), (0, 1), (1, 1)])
def test_intervals_hold_a_difference_of_zero_about_as_often_as_they_say(of_seeds, of_images):
    """400 experiments without any effect, of 12 seeds and 60 images; a bootstrap of one axis alone would hold it far less."""
    rng, seeds, images = np.random.default_rng(7), 12, 60
    held, claimed = 0, 0
    for _ in range(400):
        rows, columns = of_seeds * rng.normal(0, 0.3, (seeds, 1)), of_images * rng.normal(0, 0.3, (1, images))
        found = paired_bootstrap(rows + columns + rng.normal(0, 0.1, (seeds, images)), level=0.9, repeats=400)
        held += found.low <= 0 <= found.high
        claimed += found.p <= 0.05
    assert 0.8 <= held / 400 <= 0.97
    assert 0.01 <= claimed / 400 <= 0.12


def test_as_text():
    assert str(Contrast(0.0304, -0.012, 0.0649, 0.2)) == "+0.030 [-0.012, +0.065]"


@pytest.mark.parametrize(
    "table, options, words",
    [
        ([[1, 0, 1]], {}, r"at least two seeds, got \(1, 3\)"),
        ([1, 0, 1], {}, r"\(seeds, images\).*got \(3,\)"),
        ([[], []], {}, r"got \(2, 0\)"),
        (np.zeros((2, 3, 1)), {}, r"got \(2, 3, 1\)"),
        ([[1, 0], [float("nan"), 1]], {}, "finite"),
        ([[1, 0], [float("inf"), 1]], {}, "finite"),
        ([[1], [0]], {"level": 0}, "level between 0 and 1, got 0"),
        ([[1], [0]], {"level": 1}, "level between"),
        ([[1], [0]], {"level": float("nan")}, "level between"),
    ],
)
def test_what_has_no_interval(table, options, words):
    with pytest.raises(ValueError, match=words):
        paired_bootstrap(table, **options)


# Holm


@pytest.mark.parametrize(
    "given, expected",
    [
        ({"a": 0.01, "b": 0.04, "c": 0.03}, {"a": 0.03, "b": 0.06, "c": 0.06}),
        (
            {"a": 0.04, "b": 0.01, "c": 0.02, "d": 0.005},
            {"a": 0.04, "b": 0.03, "c": 0.04, "d": 0.02},
        ),  # 0.02 * 2 and 0.04 * 1
        ({"a": 0.5, "b": 0.6}, {"a": 1, "b": 1}),
        ({"a": 0.2}, {"a": 0.2}),
        ({"a": 0, "b": 1}, {"a": 0, "b": 1}),
        ({}, {}),
        ({"a": 0.02, "b": 0.02}, {"a": 0.04, "b": 0.04}),
    ],
)
def test_holm_by_hand(given, expected):
    found = holm(given)
    assert found == pytest.approx(expected) and list(found) == list(given)


def some_p_values(seed):
    """Of one to six tests, some of them equal."""
    rng = np.random.default_rng(seed)
    return {f"test {i}": float(p) for i, p in enumerate((rng.random(rng.integers(1, 7)) ** 3).round(2))}


def rejected(p_values, level):
    """Holm's procedure: the smallest p against level / m, the next against level / (m - 1), until one is kept."""
    found, left = set(), sorted(p_values.items(), key=lambda item: item[1])
    while left and left[0][1] <= level / len(left):
        found.add(left.pop(0)[0])
    return found


@pytest.mark.parametrize("seed", range(40))
def test_an_adjusted_p_is_the_smallest_level_at_which_holm_rejects(seed):
    p_values = some_p_values(seed)
    adjusted = holm(p_values)
    for level in (
        0.001,
        0.01,
        0.025,
        0.05,
        0.1,
        0.2,
        0.5,
        0.9,
        *(p + step for p in adjusted.values() for step in (-1e-9, 1e-9)),
    ):
        if 0 <= level < 1:
            assert {name for name, p in adjusted.items() if p <= level} == rejected(p_values, level)


@pytest.mark.parametrize("seed", range(40))
def test_holm_closes_bonferronis_tests_of_all_subsets(seed):
    """A hypothesis falls where every intersection with others falls by Bonferroni (Marcus, Peritz and Gabriel 1976)."""
    p_values = some_p_values(seed)
    subsets = [each for n in range(1, len(p_values) + 1) for each in combinations(p_values, n)]
    adjusted = holm(p_values)
    for name, p in p_values.items():
        closed = max(min(1, len(each) * min(p_values[other] for other in each)) for each in subsets if name in each)
        assert adjusted[name] == pytest.approx(closed, abs=1e-12) and adjusted[name] >= p
    ordered = sorted(p_values, key=p_values.get)
    assert all(adjusted[one] <= adjusted[other] for one, other in zip(ordered, ordered[1:])) and list(adjusted) == list(
        p_values
    )


def test_holm_leaves_its_argument_alone():
    given = {"b": 0.02, "a": 0.01}
    assert holm(given) == {"b": 0.02, "a": 0.02} and given == {"b": 0.02, "a": 0.01}


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
    assert pack_answers(right) == text
    assert unpack_answers(text, len(right)).tolist() == right


@pytest.mark.parametrize("count", [1, 3, 7, 8, 9, 15, 16, 17, 600, 1001])
def test_answers_come_back(count):
    right = np.random.default_rng(count).random(count) < 0.7
    found = unpack_answers(pack_answers(right), count)
    assert found.dtype == float and found.shape == (count,) and (found == right).all()
    assert unpack_answers(pack_answers(right.astype(float)), count).tolist() == right.tolist()


@pytest.mark.parametrize("count", [0, 8, 17, 600])
def test_another_number_of_answers_is_an_error(count):
    with pytest.raises(ValueError, match=f"expected {count} answers, got a text of 2 bytes"):
        unpack_answers(pack_answers([True] * 9), count)
