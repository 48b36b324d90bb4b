"""The command that tests the paper's claim."""

import json
import re
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
from test_contrasts import checked, full_record
from test_pool import tiny_plan

from d2lstyle.experiment import QUICK, Plan, plan, runs
from d2lstyle.experiment.command import main, run
from d2lstyle.experiment.contrasts import table
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
    seen = {"record": full_record(arms="ABCD")}

    def answer(plan, root, **options):
        seen.update(plan=plan, root=str(root), **options)
        return dict(seen["record"])

    monkeypatch.setattr(runs, "run_experiment", answer)
    return seen


def test_the_command_trains_prints_and_writes(command, tmp_path, monkeypatch):
    """Once from end to end, on tiny photos."""
    photos, file = tmp_path / "photos", tmp_path / "new" / "record.json"
    tiny = replace(tiny_plan(photos), per_class=(4,), strengths=(0.3,), steps=(4, 1))
    monkeypatch.setattr(plan, "QUICK", tiny)
    arguments = ["--data", photos, "--root", tmp_path, "--workers", 1, "--arm", "A", "--arm", "C"]
    status, out, err = command(*arguments, "--record", file)
    assert status == 0 and "Traceback" not in err, err
    record = read_record(file)
    assert out == f"{table(record)}\n\nwritten to {file}\n"
    assert [line.split("  ")[0] for line in out.splitlines()[1:4]] == ["A", "C", "C - A"]
    assert [(row["arm"], row["seed"]) for row in record["rows"]] == [("A", 0), ("C", 0), ("A", 1), ("C", 1)]
    assert record["tests"] == {"test": 10} and record["classes"] == ["cat", "cup"]
    assert record["plan"] == json.loads(json.dumps(asdict(replace(tiny, data=str(photos), arms=("A", "C")))))
    assert command(*arguments)[:2] == (0, f"{table(record)}\n")  # from the log, and to the screen alone
    assert not (tmp_path / "results").exists()


def test_without_options_it_is_the_quick_plan(command, calls):
    status, out, _ = command()
    assert status == 0 and out == f"{table(calls['record'])}\n" and calls["plan"] == QUICK
    assert (calls["root"], calls["workers"], calls["sanity"]) == ("data", None, False)
    assert QUICK.seeds == 2 and QUICK.method == "fast" and callable(calls["callback"])


def test_every_option_reaches_the_plan(command, calls):
    words = (
        "--data cifar10 --root there --seeds 4 --per-class 3 --per-class 7 --model scratch --arm A --arm G --size 40"
    )
    command(*words.split(), "--paint-size", 48, "--p", 0.25, "--method", "optimise", "--workers", 3)
    changes = dict(data="cifar10", seeds=4, per_class=(3, 7), models=("scratch",), arms=("A", "G"), size=40)
    assert calls["plan"] == replace(QUICK, **changes, paint_size=48, p=0.25, method="optimise")
    assert (calls["root"], calls["workers"]) == ("there", 3)
    assert command("--p", 0)[0] == 0 and calls["plan"].p == 0  # zero is a number, too


def test_the_full_plan_is_checked_and_kept(command, calls, tmp_path):
    status, out, _ = command("--full", "--root", tmp_path)
    assert status == 0 and calls["plan"] == Plan() and calls["sanity"] is True
    file = tmp_path / "results" / "06_style_as_augmentation.json"
    assert out.endswith(f"\nwritten to {file}\n")
    record = read_record(file)
    assert record["command"] == f"python -m d2lstyle.experiment --full --root {tmp_path}"
    assert list(record) == ["command", "date", "plan", "tests", "classes", "rows"]
    assert record["plan"] == json.loads(json.dumps(asdict(Plan())))
    assert (record["rows"], record["tests"]) == (calls["record"]["rows"], calls["record"]["tests"])


@pytest.mark.parametrize("change", [["--seeds", 3], ["--data", "cifar10"]])
def test_another_plan_does_not_take_the_place_of_the_full_record(command, calls, tmp_path, change):
    status, out, _ = command("--full", "--root", tmp_path, *change)
    assert status == 0 and "written" not in out and not list(tmp_path.iterdir())
    assert command("--full", "--root", tmp_path, *change, "--record", tmp_path / "mine.json")[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["mine.json"]


def test_as_part_of_the_main_command_the_record_names_the_same_words(calls, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["d2lstyle", "experiment", "--record", "there.json"])
    main(record=tmp_path / "there.json")
    assert read_record(tmp_path / "there.json")["command"] == "python -m d2lstyle.experiment --record there.json"


def test_checks_that_failed_are_said(command, calls):
    calls["record"] = checked(d=("f1",))
    status, out, _ = command("--full", "--seeds", 2)
    assert status == 0 and out.splitlines()[-1] == "CHECK FAILED: scratch, 5 a class: D with p = 0 answers other than B"
    calls["record"] = checked()
    assert "CHECK" not in command("--full", "--seeds", 2)[1]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--seeds", 1], "at least two seeds, for intervals, got 1"),
        (["--p", 1.5], r"p in \[0, 1\], got 1.5"),
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


@pytest.mark.parametrize("arguments", [["--seeds", "two"], ["--fast"], ["extra"]])
def test_what_is_no_option_is_refused(command, arguments, calls):
    status, out, err = command(*arguments)
    assert status == 2 and out == "" and "Traceback" not in err and "plan" not in calls


def test_help_names_every_option(command):
    status, out, _ = command("--help")
    options = "full data root seeds per-class model arm size paint-size p method workers record help".split()
    assert status == 0 and all(re.search(rf"--{option}\b", out) for option in options) and "stylised copies" in out


def test_the_command_is_light_until_it_runs():
    heavy = (
        "import d2lstyle.experiment.command, sys; print({'torch', 'scipy', 'matplotlib', 'joblib'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr
