"""Accuracies, differences and verdicts of records written by hand."""

import random

import pytest
from scipy import stats

from d2lstyle.experiment.arms import ARMS
from d2lstyle.experiment.bootstrap import pack_answers, paired_bootstrap
from d2lstyle.experiment.contrasts import CONTRASTS, accuracy, answers, beats_each_alone, contrast, failed_checks, table

# Of eight images; hexadecimal: f0 is right on the first four.
ANSWERS = {"A": ["f0", "c0"], "B": ["ff", "f0"], "C": ["f0", "f0"], "D": ["ff", "ff"]}
RUN = ("scratch", 5, "near")  # model, photos a class, test


def row(arm, seed, right, model="scratch", per_class=5):
    return {"model": model, "arm": arm, "per_class": per_class, "seed": seed, "seconds": 1.0, "right": right}


def record(rows, classes=2, **tests):
    return {"rows": rows, "tests": tests or {"near": 8}, "classes": [f"class {i}" for i in range(classes)]}


def by_hand(arms=ANSWERS, **where):
    """Two seeds, one test of eight images."""
    return [row(arm, seed, {"near": text}, **where) for arm, texts in arms.items() for seed, text in enumerate(texts)]


# numbers


def test_rows_in_any_order_and_of_other_runs_change_nothing():
    others = by_hand({"A": ["00", "00"]}, model="fine-tuned") + by_hand({"A": ["ff", "ff"]}, per_class=10)
    rows = by_hand() + others
    random.Random(1).shuffle(rows)
    assert rows[0] != by_hand()[0]
    mixed, plain = record(rows), record(by_hand())
    for name in ("D - B", "C - A", "D - B - C + A"):
        assert contrast(mixed, name, *RUN) == contrast(plain, name, *RUN)
    assert answers(mixed, "scratch", "A", 5, "near").tolist() == [[1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0]]
    assert accuracy(mixed, "fine-tuned", "A", 5, "near").mean == 0
    assert accuracy(mixed, "scratch", "A", 10, "near").mean == 1


def test_rows_of_another_number_of_test_images_are_named_and_not_mixed_in():
    """Seven images fill as many hexadecimal digits as eight; rows that do not tell are of the record's own."""
    told = [dict(line, tests={"near": 8}) for line in by_hand()]
    strangers = [dict(line, tests={"near": 7}) for line in by_hand({"A": ["00", "00"], "D": ["00", "00"]})]
    mixed, plain = record(strangers + told), record(by_hand())
    assert contrast(mixed, "D - B", *RUN) == contrast(plain, "D - B", *RUN)
    assert accuracy(mixed, "scratch", "A", 5, "near") == accuracy(plain, "scratch", "A", 5, "near")
    text, passed_over = table(mixed).rsplit("\n\n", 1)
    assert (
        text == table(plain) and "passed over, for another number of test images: ('scratch', 'A', 5, 0)" in passed_over
    )
    assert passed_over.count("{'near': 7}") == 4 and failed_checks(mixed) == failed_checks(plain)


@pytest.mark.parametrize("arm, right", [("A", 6), ("B", 12)])
def test_an_accuracy_is_the_part_that_is_right(arm, right):
    interval = accuracy(record(by_hand()), "scratch", arm, 5, "near")
    assert interval.mean == right / 16 and interval.low <= interval.mean <= interval.high
    digits = [[int(digit) for digit in f"{int(text, 16):08b}"] for text in ANSWERS[arm]]
    assert interval == paired_bootstrap(digits, level=0.95)


BY_HAND = {  # the mean; seed 0, seed 1
    "D - B": (4 / 16, [[0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1]]),
    "D - C": (8 / 16, [[0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1]]),
    "C - A": (2 / 16, [[0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0, 0, 0]]),
    "D - B - C + A": (2 / 16, [[0, 0, 0, 0, 0, 0, 0, 0], [0, 0, -1, -1, 1, 1, 1, 1]]),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_contrast_is_taken_seed_by_seed_and_image_by_image(name):
    interval, (mean, differences) = contrast(record(by_hand()), name, *RUN), BY_HAND[name]
    assert interval.mean == mean and interval == paired_bootstrap(differences, level=0.95)


def test_every_contrast_is_what_its_name_says():
    for name, weights in CONTRASTS.items():
        words = f"+ {name}".split()
        assert weights == {arm: 1 if sign == "+" else -1 for sign, arm in zip(words[::2], words[1::2])}
        assert set(weights) <= set(ARMS) and sum(weights.values()) == 0


def test_what_two_arms_share_is_no_doubt_about_their_difference():
    same, others = ["e1", "0f"], ["1e", "f0"]
    paired = contrast(record(by_hand({"C": same, "A": same})), "C - A", *RUN)
    apart = contrast(record(by_hand({"C": same, "A": others})), "C - A", *RUN)
    assert paired[:3] == (0, 0, 0) and apart.mean == 0 and apart.low < -0.2 and apart.high > 0.2


def test_a_missing_arm_or_seed_is_named():
    whole = record(by_hand())
    with pytest.raises(ValueError, match="the record has no run of arm 'G', scratch, 5 a class"):
        answers(whole, "scratch", "G", 5, "near")
    with pytest.raises(ValueError, match="no run of arm 'A', fine-tuned, 7 a class"):
        accuracy(whole, "fine-tuned", "A", 7, "near")
    with pytest.raises(ValueError, match=r"same seeds of each arm of D - G, got .*'G': set\(\)"):
        contrast(whole, "D - G", *RUN)
    without = [run for run in by_hand() if (run["arm"], run["seed"]) != ("A", 1)]
    with pytest.raises(ValueError, match=r"same seeds of each arm of C - A, got \{'C': \{0, 1\}, 'A': \{0\}\}"):
        contrast(record(without), "C - A", *RUN)
    with pytest.raises(ValueError, match="same seeds"):  # as many, of others
        contrast(record([*without, row("A", 7, {"near": "c0"})]), "C - A", *RUN)


def test_a_record_that_is_damaged_is_refused():
    with pytest.raises(ValueError, match="expected 8 answers"):
        accuracy(record([*by_hand()[1:], row("A", 0, {"near": "f0f0"})]), "scratch", "A", 5, "near")
    with pytest.raises(ValueError, match="at least two seeds"):
        accuracy(record(by_hand()[::2]), "scratch", "A", 5, "near")


# the verdict: 13 seeds, of one image each


D = [1] * 10 + [0] * 3
WINS, BARELY, NEVER = [0] * 13, [0] * 10 + [1] * 3, D  # answers of the other arm: how clearly D beats it
P_BARELY = stats.binom.sf(6, 13, 3 / 13)  # seven or more of thirteen draws hit the three seeds that are lost
P_WINS = 1 / 10_001


def of_tests(**tests):
    """A record of D against {test: (B's answers, C's)}."""
    right = {name: {"D": D, "B": b, "C": c} for name, (b, c) in tests.items()}

    def packed(arm, seed):
        return {name: pack_answers([arms[arm][seed]]) for name, arms in right.items()}

    rows = [row(arm, seed, packed(arm, seed)) for arm in "BCD" for seed in range(13)]
    return record(rows, **dict.fromkeys(tests, 1))


@pytest.mark.parametrize(
    "b, c, p",
    [
        (WINS, WINS, P_WINS),
        (BARELY, WINS, P_BARELY),
        (WINS, BARELY, P_BARELY),
        (WINS, NEVER, 1),
        (NEVER, WINS, 1),
        (NEVER, NEVER, 1),
    ],
)
def test_a_claim_takes_both_differences(b, c, p):
    assert 0.0083 < P_BARELY < 0.025
    verdict = beats_each_alone(of_tests(near=(b, c)), "scratch", 5)
    assert verdict == {"near": (p < 0.025, pytest.approx(p, abs=0.005 if p == P_BARELY else 0))}


@pytest.mark.parametrize("b, c", [(BARELY, WINS), (WINS, BARELY)])
def test_a_claim_on_one_of_three_tests_must_be_surer(b, c):
    """The larger p of the two differences counts, three times; both intervals alone are above zero."""
    runs = of_tests(near=(b, c), far=(b, c), new=(b, c))
    verdict = beats_each_alone(runs, "scratch", 5)
    assert list(verdict) == ["near", "far", "new"]
    for test, (beats, p) in verdict.items():
        assert not beats and p == pytest.approx(3 * P_BARELY, abs=0.015)
        assert all(contrast(runs, name, "scratch", 5, test).low > 0 for name in ("D - B", "D - C"))


def test_holm_asks_less_of_the_second_test_and_a_lost_one_leaves_the_others_their_claim():
    verdict = beats_each_alone(of_tests(near=(BARELY, WINS), far=(WINS, WINS)), "scratch", 5)
    assert verdict == {"near": (True, pytest.approx(P_BARELY, abs=0.005)), "far": (True, 2 * P_WINS)}
    runs = of_tests(near=(WINS, WINS), far=(NEVER, WINS))
    assert beats_each_alone(runs, "scratch", 5) == {"near": (True, 2 * P_WINS), "far": (False, 1)}
    last = table(runs).splitlines()[-1].split()
    assert " ".join(last) == "D beats B and C yes (p = 0.0002) no (p = 1.0000)"


# what must hold


def checked(b=("f0", "c3"), d=("f0",), shuffled=((1, 0) * 10, (0, 1) * 10), classes=2, **where):
    """A record with its sanity runs: two tests of 8 and 20 images."""
    rows = [row("B", seed, {"near": text, "far": "0" * 6}, **where) for seed, text in enumerate(b)]
    rows += [row("D, p = 0", seed, {"near": text, "far": "0" * 6}, **where) for seed, text in enumerate(d)]
    for seed, right in enumerate(shuffled):
        rows.append(row("B, labels shuffled", seed, {"near": "0f", "far": pack_answers(right)}, **where))
    return record(rows, classes, near=8, far=20)


def test_good_checks_are_silent():
    without_b = checked()
    without_b["rows"] = [run for run in without_b["rows"] if run["arm"] != "B"]
    assert failed_checks(checked()) == failed_checks(record(by_hand())) == failed_checks(without_b) == []


def test_an_arm_without_copies_that_answers_otherwise_is_found():
    assert failed_checks(checked(d=("f1",))) == ["scratch, 5 a class: D with p = 0 answers other than B"]
    other_test = checked()
    other_test["rows"][2]["right"]["far"] = "000010"
    assert other_test["rows"][2]["arm"] == "D, p = 0" and len(failed_checks(other_test)) == 1
    assert failed_checks(checked(d=("c3",))) != []  # which are B's answers at another seed
    pair = checked()
    pair["rows"] += checked(d=("f1",), model="fine-tuned", per_class=10)["rows"]
    assert failed_checks(pair) == ["fine-tuned, 10 a class: D with p = 0 answers other than B"]


@pytest.mark.parametrize("right, mean", [([1] * 20, "+1.000"), ([0] * 20, "+0.000")])
def test_shuffled_labels_that_were_learned_are_found(right, mean):
    """And those of which the opposite was learned."""
    sentence = f"scratch, far: shuffled labels give {mean} [{mean}, {mean}], chance is 0.500"
    assert failed_checks(checked(shuffled=(right, right))) == [sentence]


def test_chance_is_one_of_the_classes_and_one_of_many_checks_may_be_a_little_off():
    fifth, half = ([1, 0, 0, 0, 0] * 4, [0, 0, 0, 1, 0] * 4), ([1, 0] * 10, [0, 1] * 10)
    assert not any("far" in text for text in failed_checks(checked(shuffled=fifth, classes=4)))  # 25 % is near enough
    (sentence,) = (text for text in failed_checks(checked(shuffled=half, classes=10)) if "far" in text)
    assert sentence.endswith("chance is 0.100")
    rows = [row("B, labels shuffled", seed, {"near": pack_answers([right])}) for seed, right in enumerate(BARELY)]
    off = record(rows, near=1)  # outside of 95 %, and within 99.9 %
    assert accuracy(off, "scratch", "B, labels shuffled", 5, "near").high < 0.5 and failed_checks(off) == []


# the table


TESTS = {"studio": 24, "showroom": 20, "new": 33}


def full_record(model="scratch", per_class=5, arms="ABCDEFGH", extra=()):
    """Three tests; each arm a little better than the one before."""
    rows = []
    for number, arm in enumerate(arms):
        for seed in range(3):
            draw = random.Random(100 * number + seed)
            right = [[draw.random() < 0.4 + 0.05 * number for _ in range(count)] for count in TESTS.values()]
            rows.append(row(arm, seed, dict(zip(TESTS, map(pack_answers, right))), model, per_class))
    return record([*rows, *extra], **TESTS)


def assert_aligned(text):
    """Every cell stands under the name of its test."""
    head, *lines = text.splitlines()
    starts = [head.index(f" {name}") + 1 for name in TESTS]
    for line in lines:
        assert all(line[start - 1] == " " and line[start] != " " for start in starts), line
        assert line[: starts[0]].strip() and len(line.rstrip()) == len(line)


def test_the_table_holds_every_number():
    runs = full_record()
    assert_aligned(table(runs))
    lines, tests = [line.split() for line in table(runs).splitlines()], list(runs["tests"])
    assert lines[0] == ["scratch,", "5", "photos", "a", "class", *tests]
    assert len(lines) == 1 + len(ARMS) + len(CONTRASTS) + 1
    for line, (arm, spec) in zip(lines[1:], ARMS.items()):
        cells = (accuracy(runs, "scratch", arm, 5, test) for test in tests)
        cells = " ".join(f"{cell.mean:.3f} [{cell.low:.3f}, {cell.high:.3f}]" for cell in cells)
        assert line == [arm, *spec.title.split(), *cells.split()]
    for line, name in zip(lines[1 + len(ARMS) :], CONTRASTS):
        cells = " ".join(str(contrast(runs, name, "scratch", 5, test)) for test in tests)
        assert line == [*name.split(), *cells.split()]


def test_only_what_the_arms_allow_is_in_the_table():
    extra = [row("B, labels shuffled", 0, dict.fromkeys(TESTS, "00"))]
    lines = table(full_record(arms="ADB", extra=extra)).splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == ["A", "B", "D", "D - B"]
    lines = table(full_record(arms="BCD")).splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == ["B", "C", "D", "D - B", "D - C", "D beats B and C"]


def test_each_model_and_number_of_photos_has_a_table():
    rows = [full_record(*run, "AC")["rows"] for run in (("scratch", 100), ("scratch", 5), ("fine-tuned", 5))]
    tables = table(record(sum(rows, []), **TESTS)).split("\n\n")
    heads = [text.split(" photos")[0] for text in tables]
    assert heads == ["fine-tuned, 5", "scratch, 5", "scratch, 100"]
    assert tables[2] == table(full_record("scratch", 100, "AC"))
    for text in tables:
        assert_aligned(text)
