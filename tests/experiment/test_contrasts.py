"""Accuracies, differences and checks of records written by hand; verdicts on drawn ones whose truth is known."""

import random

import numpy as np
import pytest

from d2lstyle.experiment.arms import ARMS
from d2lstyle.experiment.contrasts import (
    CONTRASTS,
    FAMILY,
    accuracy,
    answers,
    contrast,
    failed_checks,
    largest,
    table,
    unit_of,
    verdict,
    verdict_html,
)
from d2lstyle.experiment.intervals import pack_answers, two_way_t

# Of eight images; hexadecimal: f0 is right on the first four.
ANSWERS = {"A": ["f0", "c0"], "B": ["ff", "f0"], "C": ["f0", "f0"], "D": ["ff", "ff"]}


def row(arm, seed, right, per_class=5):
    return {"arm": arm, "per_class": per_class, "seed": seed, "right": right}


def record(rows, classes=2, tests=None, asked=None, **plan):
    arms, sizes, seeds = (sorted({row[name] for row in rows}) for name in ("arm", "per_class", "seed"))
    tests = tests or {"near": 8}
    plan = {"data": "drawn", "model": "scratch", "arms": arms, "per_class": sizes, "seeds": len(seeds)} | plan
    asked = asked or {name: [name] for name in tests}
    return {"plan": plan, "rows": rows, "tests": tests, "asked": asked, "classes": [*range(classes)]}


def by_hand(arms=ANSWERS, per_class=5):
    """Two seeds, one test of eight images."""
    return [row(arm, i, {"near": text}, per_class) for arm, texts in arms.items() for i, text in enumerate(texts)]


# numbers


BY_HAND = {  # seed 0, seed 1
    "D - B": [[0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1]],
    "C - A": [[0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0, 0, 0]],
    "D - B - C + A": [[0, 0, 0, 0, 0, 0, 0, 0], [0, 0, -1, -1, 1, 1, 1, 1]],
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_contrast_is_taken_seed_by_seed_and_image_by_image_whatever_the_order_of_rows(name):
    rows = by_hand() + by_hand({arm: ["00", "00"] for arm in "AB"}, per_class=10)
    random.Random(1).shuffle(rows)
    assert contrast(record(rows), name, "near", 5) == two_way_t(BY_HAND[name])
    assert answers(record(rows), "A", 5, "near").tolist() == [[1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0]]
    assert accuracy(record(rows), "B", 5, "near").mean == 12 / 16 and accuracy(record(rows), "B", 10, "near").mean == 0
    assert contrast(record(rows), name, "near") == two_way_t(BY_HAND[name])  # C and D have no runs with ten photos


def test_numbers_of_photos_and_corruptions_of_an_image_are_averaged_before_the_interval():
    """A row stays a seed and a column an image: twice the answers are not twice the evidence."""
    more = by_hand({"D": ["ff", "fc"], "B": ["f0", "f0"]}, per_class=10)
    tables = np.array(BY_HAND["D - B"]), np.array([[0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1, 0, 0]])
    assert contrast(record(by_hand() + more), "D - B", "near") == two_way_t((tables[0] + tables[1]) / 2)
    assert contrast(record(by_hand() + by_hand(per_class=10)), "D - B", "near") == two_way_t(tables[0])
    rows = [row("A", i, {"clean": "ff", "noise": "f0", "blur": "c0"}) for i in range(2)]
    photos = record(rows, tests=dict.fromkeys(rows[0]["right"], 8), asked={"corrupted": ["noise", "blur"]})
    assert answers(photos, "A", 5, "corrupted").tolist() == [[1, 1, 0.5, 0.5, 0, 0, 0, 0]] * 2


def test_only_seeds_that_all_arms_share_are_compared():
    missing = record([run for run in by_hand({**ANSWERS, "A": ["f0", "c0", "00"]}) if (run["arm"], run["seed"])])
    assert contrast(missing, "C - A", "near") == two_way_t(BY_HAND["C - A"])
    for name in ("C - A", "D - G"):
        with pytest.raises(ValueError, match=f"all arms of {name} at two seeds or more, got seeds"):
            contrast(record([run for run in by_hand() if (run["arm"], run["seed"]) != ("A", 1)]), name, "near")
    with pytest.raises(ValueError, match="no run of arm 'G' with 5 photos per class"):
        answers(missing, "G", 5, "near")


def test_every_contrast_is_what_its_name_says():
    assert CONTRASTS["D - B - C + A"] == {"D": 1, "B": -1, "C": -1, "A": 1}
    assert set(FAMILY) < set(CONTRASTS) and all(sum(weights.values()) == 0 for weights in CONTRASTS.values())


def test_a_record_that_is_damaged_is_refused():
    with pytest.raises(ValueError, match="expected 8 answers"):
        accuracy(record([*by_hand()[1:], row("A", 0, {"near": "f0f0"})]), "A", 5, "near")


def test_a_former_record_is_one_of_each_network():
    rows = [run | {"model": model} for model in ("scratch", "fine-tuned") for run in by_hand()]
    former = {"plan": {"data": "drawn", "per_class": [5], "arms": [*"ABCD"], "seeds": 2}, "rows": rows}
    unit = unit_of(former | {"tests": {"near": 8}, "classes": [0, 1]}, "fine-tuned")
    assert table([unit]) == table([record(by_hand(), model="fine-tuned")])


# the verdict


def drawn(truth, *, seeds=10, images=600, spread=0.0, declared=None, seed=0, tests=("near",), **plan):
    """A record in which each arm has its true accuracy; `spread` is that of an arm's luck from seed to seed."""
    rng, rows, ability = np.random.default_rng(seed), [], np.random.default_rng(seed + 1).uniform(-0.2, 0.2, images)
    for arm, per_class in ((arm, n) for arm in truth for n in (5, 10)):
        for number in range(seeds):
            chance = truth[arm] + ability - ability.mean() + spread * rng.standard_normal()
            right = {test: pack_answers(rng.random(images) < chance) for test in tests}
            rows.append(row(arm, number, right, per_class))
    return record(rows, tests=dict.fromkeys(tests, images), arms=declared or [*truth], **plan)


@pytest.mark.parametrize(
    "gain, images, spread, finding",
    [
        (0.08, 600, 0.02, "gain"),
        (-0.08, 600, 0.02, "loss"),
        (0, 3000, 0, "no effect"),
        (0, 600, 0.05, "open"),
        (0.01, 15000, 0, "gain (below the margin)"),
        (-0.01, 15000, 0, "loss (below the margin)"),
    ],
)
@pytest.mark.parametrize("seed", [0, 10])
def test_the_verdict_finds_the_truth(gain, images, spread, finding, seed):
    (found,) = verdict([drawn({"B": 0.6, "D": 0.6 + gain}, images=images, spread=spread, seed=seed)])
    assert found.finding == finding and (found.test, found.name, found.seeds) == ("near", "D - B", 10)
    assert found.contrast.low <= gain <= found.contrast.high and found.p == found.contrast.p


def test_the_margin_decides_what_no_effect_is():
    runs = drawn({"B": 0.6, "D": 0.6}, spread=0.03)
    wide = max(map(abs, contrast(runs, "D - B", "near")[1:3]))
    assert [verdict([runs], margin=m)[0].finding for m in (wide * 1.01, wide * 0.99)] == ["no effect", "open"]


@pytest.mark.parametrize("seeds, planned", [(2, 2), (4, 4), (5, 10), (1, 10)])
def test_few_seeds_or_an_unfinished_run_never_make_a_verdict(seeds, planned):
    runs = drawn({"B": 0.2, "D": 0.7}, seeds=seeds)
    runs["plan"]["seeds"] = planned
    (found,) = verdict([runs])
    assert found.finding == f"no verdict: {seeds} seeds" and found.p == 1 and (found.contrast is None) == (seeds == 1)


def test_holm_counts_every_cell_that_was_declared_by_hand():
    """Two records of two tests, in which D - B is a gain; C and A are declared and not there yet: twelve cells."""
    plans = {"vending": 0.03, "clothing": 0.05}
    records = [
        drawn(
            {"B": 0.6, "D": 0.6 + gain}, declared=[*"ABCD"], tests=("near", "far"), data=data, images=300, spread=0.02
        )
        for data, gain in plans.items()
    ]
    found = verdict(records)
    assert len(found) == 2 * 2 * 3 and {row.finding for row in found if row.name != "D - B"} == {"not measured"}
    assert all(row.p == 1 and row.contrast is None for row in found if row.name != "D - B")
    primary = sorted((row for row in found if row.name == "D - B"), key=lambda row: row.contrast.p)
    highest = 0
    for place, row in enumerate(primary):
        highest = max(highest, min(1, (12 - place) * row.contrast.p))
        assert row.p == highest
    alone = {(row.data, row.test): row for record in records for row in verdict([record]) if row.name == "D - B"}
    assert all(row.p >= alone[row.data, row.test].p for row in primary)
    assert any(row.contrast.low > 0 and row.finding == "open" for row in primary)  # clear alone, not among twelve
    other = verdict([drawn({"B": 0.6, "D": 0.7}, declared=["B", "D", "E"])])
    assert [row.name for row in other] == ["D - B"]


def test_the_largest_gain_and_loss_are_named():
    better, worse = (drawn({"A": 0.4, "C": 0.6, "B": 0.6, "D": d}, data=str(d)) for d in (0.7, 0.5))
    found = largest(verdict([better, worse]))
    names = {kind: [(row.data, row.name) for row in rows] for kind, rows in found.items()}
    assert names["D - B"] == [("0.7", "D - B"), ("0.5", "D - B")]
    assert names["all"] == [(names["all"][0][0], "C - A"), ("0.5", "D - B - C + A")]
    assert largest(verdict([drawn({"B": 0.6, "D": 0.6})])) == {"D - B": (None, None), "all": (None, None)}


# what must hold


def checked(b=("f0", "c3"), d=("f0",), shuffled=((1, 0) * 10, (0, 1) * 10), classes=2):
    """A record with its sanity runs: two tests of 8 and 20 images."""
    rows = [row("B", seed, {"near": text, "far": "0" * 6}) for seed, text in enumerate(b)]
    rows += [row("D, p = 0", seed, {"near": text, "far": "0" * 6}) for seed, text in enumerate(d)]
    for seed, right in enumerate(shuffled):
        rows.append(row("B, labels shuffled", seed, {"near": "0f", "far": pack_answers(right)}))
    return record(rows, classes, {"near": 8, "far": 20}, arms=["B"])


def test_good_checks_are_silent_and_an_arm_without_copies_that_answers_otherwise_is_found():
    assert failed_checks(checked()) == failed_checks(record(by_hand())) == []
    sentence = "5 photos per class, seed 0: D with p = 0 answers other than B"
    assert failed_checks(checked(d=("f1",))) == failed_checks(checked(d=("c3",))) == [sentence]
    other_test = checked()
    other_test["rows"][2]["right"]["far"] = "000010"
    assert failed_checks(other_test) == [sentence]


@pytest.mark.parametrize("right, mean", [([1] * 20, "+1.000"), ([0] * 20, "+0.000")])
def test_shuffled_labels_that_were_learned_are_found_and_those_of_which_the_opposite_was(right, mean):
    sentence = f"5 photos per class, far: shuffled labels give {mean} [{mean}, {mean}], chance is 0.500"
    assert failed_checks(checked(shuffled=(right, right))) == [sentence]


def test_chance_is_one_of_the_classes_and_one_of_many_checks_may_be_a_little_off():
    runs = drawn({"B, labels shuffled": 0.1}, images=400) | {"classes": [*range(10)]}
    assert failed_checks(runs) == [] and len(failed_checks(runs | {"classes": [*range(5)]})) == 2
    off = drawn({"B, labels shuffled": 0.47}, images=400, spread=0.03) | {"classes": [0, 1]}
    assert any(accuracy(off, "B, labels shuffled", n, "near").high < 0.5 for n in (5, 10)) and failed_checks(off) == []


# tables


def full_record(arms="ABCDFGH", seeds=3, **plan):
    """Three tests; each arm a little better than the one before."""
    truth = {arm: 0.4 + 0.05 * place for place, arm in enumerate(arms)}
    return drawn(truth, seeds=seeds, images=40, tests=("studio", "showroom", "new"), **plan)


def test_the_tables_hold_every_number():
    runs, other = full_record(), full_record("ABD", model="fine-tuned")
    first, second, found = table([runs, other]).split("\n\n")
    for n in (5, 10):
        lines = first.split(f" {n} photos per class")[1].splitlines()[1:8]
        for line, arm in zip(lines, "ABCDFGH"):
            cells = [accuracy(runs, arm, n, test) for test in runs["asked"]]
            cells = [f"{cell.mean:.3f} [{cell.low:.3f}, {cell.high:.3f}]" for cell in cells]
            assert line.split() == [arm, *ARMS[arm].title.split(), *" ".join(cells).split()]
    names = [name for name in CONTRASTS if set(CONTRASTS[name]) <= set("ABCDFGH")]
    for line, name in zip(first.splitlines()[-len(names) :], names, strict=True):
        assert line == f"{name:46}" + "  ".join(str(contrast(runs, name, test)) for test in runs["asked"])
    assert [line.split("  ")[0] for line in second.splitlines()[-2:]] == ["D - B", "B - A"]
    rows = verdict([runs, other])
    assert [line.endswith("3   no verdict: 3 seeds") for line in found.splitlines()] == [True] * len(rows)
    page = verdict_html([row._replace(data="a < b") for row in rows])
    assert (
        page.count("<tr>") == len(rows) + 1 and "<td>a &lt; b</td>" in page and f"<td>{rows[0].contrast}</td>" in page
    )
