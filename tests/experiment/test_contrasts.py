"""Accuracies, differences and verdicts of records written by hand."""

import random

import pytest
from scipy import stats

from d2lstyle.experiment.arms import ARMS
from d2lstyle.experiment.bootstrap import pack_answers, paired_bootstrap
from d2lstyle.experiment.contrasts import CONTRASTS, accuracy, answers, beats_each_alone, contrast, failed_checks, table

# Of eight images; hexadecimal: f0 is right on the first four.
ANSWERS = {"A": ["f0", "c0"], "B": ["ff", "f0"], "C": ["f0", "f0"], "D": ["ff", "ff"]}


def row(arm, seed, right, model="scratch", per_class=5):
    return {"model": model, "arm": arm, "per_class": per_class, "seed": seed, "seconds": 1.0, "right": right}


def record(rows, classes=2, **tests):
    return {"rows": rows, "tests": tests or {"near": 8}, "classes": [f"class {i}" for i in range(classes)]}


def by_hand(arms=ANSWERS, **where):
    """Two seeds, one test of eight images."""
    return [row(arm, seed, {"near": text}, **where) for arm, texts in arms.items() for seed, text in enumerate(texts)]


# numbers


def test_answers_are_a_table_of_seeds_and_images():
    assert answers(record(by_hand()), "scratch", "A", 5, "near").tolist() == [
        [1, 1, 1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0, 0],
    ]


def test_rows_in_any_order_and_of_other_runs_change_nothing():
    others = by_hand({"A": ["00", "00"]}, model="fine-tuned") + by_hand({"A": ["ff", "ff"]}, per_class=10)
    rows = by_hand() + others
    random.Random(1).shuffle(rows)
    assert rows[0] != by_hand()[0]
    mixed, plain = record(rows), record(by_hand())
    for name in ("D - B", "C - A", "D - B - C + A"):
        assert contrast(mixed, name, "scratch", 5, "near") == contrast(plain, name, "scratch", 5, "near")
    assert answers(mixed, "scratch", "A", 5, "near").tolist() == answers(plain, "scratch", "A", 5, "near").tolist()
    assert (
        accuracy(mixed, "fine-tuned", "A", 5, "near").mean == 0
        and accuracy(mixed, "scratch", "A", 10, "near").mean == 1
    )


@pytest.mark.parametrize("arm, right", [("A", 6), ("B", 12), ("C", 8), ("D", 16)])
def test_an_accuracy_is_the_part_that_is_right(arm, right):
    found = accuracy(record(by_hand()), "scratch", arm, 5, "near")
    assert found.mean == right / 16 and found.low <= found.mean <= found.high
    table_by_hand = [[int(digit) for digit in f"{int(text, 16):08b}"] for text in ANSWERS[arm]]
    assert found == paired_bootstrap(table_by_hand, level=0.95)


BY_HAND = {  # seed 0, seed 1
    "D - B": [[0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1]],
    "D - C": [[0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1]],
    "C - A": [[0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0, 0, 0]],
    "D - B - C + A": [[0, 0, 0, 0, 0, 0, 0, 0], [0, 0, -1, -1, 1, 1, 1, 1]],
}


@pytest.mark.parametrize(
    "name, mean", [("D - B", 4 / 16), ("D - C", 8 / 16), ("C - A", 2 / 16), ("D - B - C + A", 2 / 16)]
)
def test_a_contrast_is_taken_seed_by_seed_and_image_by_image(name, mean):
    found = contrast(record(by_hand()), name, "scratch", 5, "near")
    assert found.mean == mean and found == paired_bootstrap(BY_HAND[name], level=0.95)


def test_every_contrast_is_what_its_name_says():
    for name, parts in CONTRASTS.items():
        arms = {
            word: 1 if sign == "+" else -1 for sign, word in zip(f"+ {name}".split()[::2], f"+ {name}".split()[1::2])
        }
        assert parts == arms and set(parts) <= set(ARMS) and sum(parts.values()) == 0


def test_what_two_arms_share_is_no_doubt_about_their_difference():
    same, others = ["e1", "0f"], ["1e", "f0"]
    paired = contrast(record(by_hand({"C": same, "A": same})), "C - A", "scratch", 5, "near")
    apart = contrast(record(by_hand({"C": same, "A": others})), "C - A", "scratch", 5, "near")
    assert paired[:3] == (0, 0, 0) and apart.mean == 0 and apart.low < -0.2 and apart.high > 0.2


def test_each_test_has_its_own_number_of_images():
    rows = [row("A", seed, {"near": "ff", "far": pack_answers([1, 0, 0, 0, 0, 0, 0, 0, 0, 1])}) for seed in (0, 1)]
    found = record(rows, near=8, far=10)
    assert (
        accuracy(found, "scratch", "A", 5, "near").mean == 1 and accuracy(found, "scratch", "A", 5, "far").mean == 0.2
    )


def test_a_missing_arm_is_named():
    with pytest.raises(ValueError, match="the record has no run of arm 'G', scratch, 5 a class"):
        answers(record(by_hand()), "scratch", "G", 5, "near")
    with pytest.raises(ValueError, match="no run of arm 'A', fine-tuned, 5 a class"):
        accuracy(record(by_hand()), "fine-tuned", "A", 5, "near")
    with pytest.raises(ValueError, match="no run of arm 'A', scratch, 7 a class"):
        accuracy(record(by_hand()), "scratch", "A", 7, "near")
    with pytest.raises(ValueError, match=r"same seeds of each arm of D - G, got .*'G': set\(\)"):
        contrast(record(by_hand()), "D - G", "scratch", 5, "near")


def test_an_arm_without_one_of_the_seeds_is_refused():
    with pytest.raises(
        ValueError, match=r"expected the same seeds of each arm of C - A, got \{'C': \{0, 1\}, 'A': \{0\}\}"
    ):
        contrast(
            record([each for each in by_hand() if (each["arm"], each["seed"]) != ("A", 1)]),
            "C - A",
            "scratch",
            5,
            "near",
        )
    other = [
        each | {"seed": 7} if (each["arm"], each["seed"]) == ("A", 1) else each for each in by_hand()
    ]  # as many, of others
    with pytest.raises(ValueError, match="same seeds"):
        contrast(record(other), "C - A", "scratch", 5, "near")


def test_a_record_that_is_damaged_is_refused():
    rows = [*by_hand()[1:], row("A", 0, {"near": "f0f0"})]
    with pytest.raises(ValueError, match="expected 8 answers"):
        accuracy(record(rows), "scratch", "A", 5, "near")
    with pytest.raises(ValueError, match="at least two seeds"):
        accuracy(record(by_hand()[::2]), "scratch", "A", 5, "near")


# the verdict: 13 seeds, of one image each


D = [1] * 10 + [0] * 3
WINS, BARELY, NEVER = [0] * 13, [0] * 10 + [1] * 3, D  # answers of the other arm: how clearly D beats it
P_BARELY = stats.binom.sf(6, 13, 3 / 13)  # seven or more of thirteen draws hit the three seeds that are lost


def of_tests(**tests):
    """A record of D against {test: (B's answers, C's)}."""
    right = {name: {"D": D, "B": b, "C": c} for name, (b, c) in tests.items()}
    rows = [
        row(arm, seed, {name: pack_answers([each[arm][seed]]) for name, each in right.items()})
        for arm in "BCD"
        for seed in range(13)
    ]
    return record(rows, **dict.fromkeys(tests, 1))


def test_the_example_is_one_that_a_single_test_would_pass():
    found = contrast(of_tests(near=(BARELY, WINS)), "D - B", "scratch", 5, "near")
    assert found.p == pytest.approx(P_BARELY, abs=0.005) and 0.0083 < found.p < 0.025 and found.low > 0
    assert contrast(of_tests(near=(BARELY, WINS)), "D - C", "scratch", 5, "near").p == 1 / 10_001


@pytest.mark.parametrize(
    "b, c, expected",
    [
        (WINS, WINS, True),
        (BARELY, WINS, True),
        (WINS, BARELY, True),
        (WINS, NEVER, False),
        (NEVER, WINS, False),
        (NEVER, NEVER, False),
    ],
)
def test_a_claim_takes_both_differences(b, c, expected):
    ((beats, p),) = beats_each_alone(of_tests(near=(b, c)), "scratch", 5).values()
    assert beats is expected and p == (
        1 if NEVER in (b, c) else pytest.approx(P_BARELY, abs=0.005) if BARELY in (b, c) else 1 / 10_001
    )


@pytest.mark.parametrize("b, c", [(BARELY, WINS), (WINS, BARELY)])
def test_a_claim_on_one_of_three_tests_must_be_surer(b, c):
    """The larger p of the two differences counts, three times; both intervals alone are above zero."""
    found = beats_each_alone(of_tests(near=(b, c), far=(b, c), new=(b, c)), "scratch", 5)
    assert list(found) == ["near", "far", "new"]
    for test, (beats, p) in found.items():
        assert not beats and p == pytest.approx(3 * P_BARELY, abs=0.015)
        assert all(
            contrast(of_tests(**{test: (b, c)}), name, "scratch", 5, test).low > 0 for name in ("D - B", "D - C")
        )


def test_holm_asks_less_of_the_second_test():
    found = beats_each_alone(of_tests(near=(BARELY, WINS), far=(WINS, WINS)), "scratch", 5)
    assert found["far"] == (True, 2 / 10_001) and found["near"] == (True, pytest.approx(P_BARELY, abs=0.005))


def test_a_lost_test_leaves_the_others_their_claim():
    found = beats_each_alone(of_tests(near=(WINS, WINS), far=(NEVER, WINS)), "scratch", 5)
    assert found == {"near": (True, 2 / 10_001), "far": (False, 1)}


# what must hold


def checked(b=("f0", "c3"), d=("f0",), shuffled=((1, 0) * 10, (0, 1) * 10), classes=2, **where):
    """A record with its sanity runs: two tests of 8 and 20 images."""
    rows = [row("B", seed, {"near": text, "far": "0" * 6}, **where) for seed, text in enumerate(b)]
    rows += [row("D, p = 0", seed, {"near": text, "far": "0" * 6}, **where) for seed, text in enumerate(d)]
    rows += [
        row("B, labels shuffled", seed, {"near": "0f", "far": pack_answers(right)}, **where)
        for seed, right in enumerate(shuffled)
    ]
    return record(rows, classes, near=8, far=20)


def test_good_checks_are_silent():
    assert failed_checks(checked()) == failed_checks(record(by_hand())) == []


def test_an_arm_without_copies_that_answers_otherwise_is_found():
    assert failed_checks(checked(d=("f1",))) == ["scratch, 5 a class: D with p = 0 answers other than B"]
    other_test = checked()
    other_test["rows"][2]["right"]["far"] = "000010"
    assert other_test["rows"][2]["arm"] == "D, p = 0" and len(failed_checks(other_test)) == 1
    assert failed_checks(checked(d=("c3",))) != []  # which are B's answers at another seed
    pair = checked()
    pair["rows"] += checked(d=("f1",), model="fine-tuned", per_class=10)["rows"]
    assert failed_checks(pair) == ["fine-tuned, 10 a class: D with p = 0 answers other than B"]


def test_a_record_without_arm_b_can_be_checked():
    found = checked()
    found["rows"] = [each for each in found["rows"] if each["arm"] != "B"]
    assert failed_checks(found) == []


@pytest.mark.parametrize("right, mean", [([1] * 20, "+1.000"), ([0] * 20, "+0.000")])
def test_shuffled_labels_that_were_learned_are_found(right, mean):
    """And those of which the opposite was learned."""
    (found,) = failed_checks(checked(shuffled=(right, right)))
    assert found == f"scratch, far: shuffled labels give {mean} [{mean}, {mean}], chance is 0.500"


def test_chance_is_one_of_the_classes():
    fifth, half = ([1, 0, 0, 0, 0] * 4, [0, 0, 0, 1, 0] * 4), ([1, 0] * 10, [0, 1] * 10)
    quarter = [text for text in failed_checks(checked(shuffled=fifth, classes=4)) if "far" in text]
    assert quarter == []  # 20 %, and 25 % is near enough
    (text,) = (text for text in failed_checks(checked(shuffled=half, classes=10)) if "far" in text)
    assert text.endswith("chance is 0.100")


def test_one_of_many_checks_may_be_a_little_off():
    """Outside of 95 %, and within 99.9 %."""
    rows = [row("B, labels shuffled", seed, {"near": pack_answers([right])}) for seed, right in enumerate(BARELY)]
    found = record(rows, near=1)
    assert accuracy(found, "scratch", "B, labels shuffled", 5, "near").high < 0.5 and failed_checks(found) == []


# the table


def full_record(model="scratch", per_class=5, arms="ABCDEFGH", extra=()):
    """Three tests; each arm a little better than the one before."""
    rows = []
    for number, arm in enumerate(arms):
        for seed in range(3):
            draw = random.Random(100 * number + seed)
            rights = {
                name: pack_answers([draw.random() < 0.4 + 0.05 * number for _ in range(24)])
                for name in ("studio", "showroom", "new")
            }
            rows.append(row(arm, seed, rights, model, per_class))
    return record([*rows, *extra], studio=24, showroom=24, new=24)


def assert_aligned(text):
    """Every cell stands under the name of its test."""
    head, *lines = text.splitlines()
    starts = [head.index(f" {name}") + 1 for name in ("studio", "showroom", "new")]
    for line in lines:
        assert all(line[start - 1] == " " and line[start] != " " for start in starts), line
        assert line[: starts[0]].strip() and len(line.rstrip()) == len(line)


def test_the_table_holds_every_number():
    found = full_record()
    lines = table(found).splitlines()
    assert lines[0].split() == ["scratch,", "5", "photos", "a", "class", "studio", "showroom", "new"]
    assert len(lines) == 1 + len(ARMS) + len(CONTRASTS) + 1
    for line, (arm, spec) in zip(lines[1:], ARMS.items()):
        cells = [accuracy(found, "scratch", arm, 5, test) for test in found["tests"]]
        assert line.split() == [
            arm,
            *spec.title.split(),
            *" ".join(f"{c.mean:.3f} [{c.low:.3f}, {c.high:.3f}]" for c in cells).split(),
        ]
    for line, name in zip(lines[1 + len(ARMS) :], CONTRASTS):
        cells = " ".join(str(contrast(found, name, "scratch", 5, test)) for test in found["tests"])
        assert line.split() == [*name.split(), *cells.split()]
    verdict = " ".join(
        f"{'yes' if beats else 'no'} (p = {p:.4f})" for beats, p in beats_each_alone(found, "scratch", 5).values()
    )
    assert lines[-1].split() == ["D", "beats", "B", "and", "C", *verdict.split()]


def test_the_verdict_says_yes_and_no():
    lines = table(of_tests(near=(WINS, WINS), far=(NEVER, WINS))).splitlines()
    assert lines[-1].split() == ["D", "beats", "B", "and", "C", "yes", "(p", "=", "0.0002)", "no", "(p", "=", "1.0000)"]


@pytest.mark.parametrize("model", ["scratch", "fine-tuned"])
@pytest.mark.parametrize("per_class", [5, 10, 100])
def test_columns_are_aligned(model, per_class):
    assert_aligned(table(full_record(model, per_class)))


def test_only_what_the_arms_allow_is_in_the_table():
    extra = [row("B, labels shuffled", 0, dict.fromkeys(("studio", "showroom", "new"), "000000"))]
    lines = table(full_record(arms="ADB", extra=extra)).splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == ["A", "B", "D", "D - B"]
    lines = table(full_record(arms="BCD")).splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == ["B", "C", "D", "D - B", "D - C", "D beats B and C"]


def test_each_model_and_number_of_photos_has_a_table():
    rows = [
        each
        for model, n in (("scratch", 10), ("scratch", 5), ("fine-tuned", 5))
        for each in full_record(model, n, "AC")["rows"]
    ]
    parts = table(record(rows, studio=24, showroom=24, new=24)).split("\n\n")
    assert [part.splitlines()[0].split("class")[0] for part in parts] == [
        "fine-tuned, 5 photos a ",
        "scratch, 5 photos a ",
        "scratch, 10 photos a ",
    ]
    assert parts[2] == table(full_record("scratch", 10, "AC"))
