"""The command that tests the paper's claim."""

import re
import sys
from dataclasses import replace

import pytest
from test_contrasts import checked, full_record
from test_pool import tiny_plan

from d2lstyle.experiment import PLANS, QUICK, plan, runs
from d2lstyle.experiment.command import run
from d2lstyle.experiment.contrasts import table
from d2lstyle.experiment.corruptions import CORRUPTIONS
from d2lstyle.experiment.plan import described
from d2lstyle.results import read_record


@pytest.fixture
def command(monkeypatch, capsys):
    def call(*arguments):
        """(exit status, standard output, standard error)"""
        monkeypatch.setattr(sys, "argv", ["d2lstyle.experiment", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            run()
        return end.value.code, *capsys.readouterr()

    return call


@pytest.fixture
def calls(monkeypatch):
    """What `run_experiment` was asked for; it answers with a record of the test of contrasts."""
    seen = {"record": full_record(arms="ABCD"), "more": {"chosen": {"C": {"styled": [0.3, 0.5]}}}}

    def answer(plan, root, **options):
        seen.update(plan=plan, root=str(root), **options)
        return seen["record"] | seen["more"]

    monkeypatch.setattr(runs, "run_experiment", answer)
    return seen


def printed(record):
    return "".join(f"{arm:3} {doses}\n" for arm, doses in record["chosen"].items()) + f"{table([record])}\n"


def test_the_command_trains_prints_and_writes(command, tmp_path, monkeypatch):
    """Once from end to end, on tiny photos."""
    photos, file = tmp_path / "photos", tmp_path / "new" / "record.json"
    tiny = replace(tiny_plan(photos), per_class=(4,), tuned_at=4, strengths=(0.3,))
    monkeypatch.setattr(plan, "QUICK", tiny)
    arguments = ["--data", photos, "--root", tmp_path, "--workers", 1, "--arm", "A", "--arm", "C"]
    status, out, err = command(*arguments, "--record", file)
    assert status == 0 and "Traceback" not in err, err
    record = read_record(file)
    assert out == f"written to {file}\n{printed(record)}"
    assert [(row["arm"], row["seed"]) for row in record["rows"]] == [("A", 0), ("C", 0), ("A", 1), ("C", 1)]
    assert [row["arm"] for row in record["trials"]] == ["B", "C"] and record["chosen"]["C"] == {"styled": [0.3, 0.3]}
    assert record["tests"] == dict.fromkeys(["clean", *CORRUPTIONS], 10) and record["classes"] == ["cat", "cup"]
    assert record["plan"] == described(replace(tiny, data=str(photos), arms=("A", "C")))
    assert command(*arguments)[:2] == (0, printed(record))  # from the log, and to the screen alone
    assert not (tmp_path / "results").exists()


def test_without_options_it_is_the_quick_plan(command, calls):
    status, out, _ = command()
    assert status == 0 and out == printed(calls["record"] | calls["more"]) and calls["plan"] == QUICK
    assert (calls["root"], calls["workers"], calls["sanity"], calls["until"]) == ("data", None, False, "test")
    assert calls["known"] is None and callable(calls["callback"]) and QUICK.seeds == 2


def test_every_option_reaches_the_plan(command, calls):
    words = "--data cifar10 --root there --seeds 4 --per-class 3 --per-class 7 --model scratch --arm A --arm G"
    command(*words.split(), "--size", 40, "--workers", 3, "--until", "trials", "--base", "0.3 1.5 0.5")
    changes = dict(data="cifar10", seeds=4, per_class=(3, 7), model="scratch", arms=("A", "G"), size=40)
    changes["base"] = (0.3, 1.5, 0.5)
    assert calls["plan"] == replace(QUICK, **changes)
    assert (calls["root"], calls["workers"], calls["until"]) == ("there", 3, "trials")


def test_a_plan_of_the_chapter_is_checked_and_kept(command, calls, tmp_path):
    arguments = "--full", "clothing fine-tuned", "--root", tmp_path
    assert command(*arguments)[0] == 0
    file = tmp_path / "results" / "06_clothing_fine_tuned.json"
    assert calls["plan"] == PLANS["clothing fine-tuned"] and calls["sanity"] is True and calls["known"] == file
    record = read_record(file)
    assert record["command"] == f"python -m d2lstyle.experiment --full 'clothing fine-tuned' --root {tmp_path}"
    assert record == record | calls["record"] | calls["more"]


@pytest.mark.parametrize("change", [["--seeds", 3], ["--data", "cifar10"], ["--until", "trials"]])
def test_another_plan_does_not_take_the_place_of_the_record(command, calls, tmp_path, change):
    arguments = "--full", "vending scratch", "--root", tmp_path, *change
    status, out, _ = command(*arguments)
    assert status == 0 and "written" not in out and not list(tmp_path.iterdir())
    assert command(*arguments, "--record", tmp_path / "mine.json")[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["mine.json"] and calls["known"] == tmp_path / "mine.json"


def test_after_the_trials_there_are_doses_and_no_table(command, calls):
    calls["more"]["rows"] = []
    assert command("--until", "trials")[:2] == (0, "C   {'styled': [0.3, 0.5]}\n")


def test_checks_that_failed_are_said(command, calls):
    calls["record"] = checked(d=("f1",))
    status, out, _ = command("--seeds", 2)
    words = "CHECK FAILED: 5 photos per class, seed 0: D with p = 0 answers other than B"
    assert status == 0 and out.splitlines()[-1] == words
    calls["record"] = checked()
    assert "CHECK" not in command("--seeds", 2)[1]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--full", "vending scrach"], "unknown plan 'vending scrach': did you mean 'vending scratch'"),
        (["--until", "trails"], "did you mean 'trials'"),
        (["--seeds", 0], "at least one seed"),
        (["--arm", "Z"], "unknown arm 'Z'.*There are A, B"),
        (["--model", "scrach"], "did you mean 'scratch'"),
        (["--data", "nowhere"], "unknown dataset 'nowhere'"),
        (["--root", "file.txt"], "file.txt"),
    ],
)
def test_bad_values_are_one_sentence(command, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").write_text("a file")
    status, out, err = command("--root", "here", "--workers", 1, *arguments)
    (sentence,) = re.sub(r"\r.*\r", "", err).strip().splitlines()
    assert status == 2 and out == "" and sentence.startswith("error: ") and re.search(words, sentence), err
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "file.txt"]


def test_help_names_every_option(command):
    status, out, _ = command("--help")
    options = "full data root seeds per-class model arm size until workers record help".split()
    assert status == 0 and all(re.search(rf"--{option}\b", out) for option in options) and "stylised copies" in out
