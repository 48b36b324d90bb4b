"""Runs of the experiment on pictures of noise: what they share, that they go on, and that nothing else changes them."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from shared_helpers import KILLED, end_group, fill, photo_of, user_defaults, wait_until, without_seconds
from test_pool import TINY

from d2lstyle import fit, write_image
from d2lstyle.engine.files import read_json_lines
from d2lstyle.experiment import PLANS, pool_file, run_experiment
from d2lstyle.experiment import runs as module
from d2lstyle.experiment.arms import ARMS, SANITY, Classical, Copies, Stream, classical, new_model
from d2lstyle.experiment.copies import KINDS
from d2lstyle.experiment.intervals import unpack_answers
from d2lstyle.experiment.plan import Run, described, run_of
from d2lstyle.experiment.pool import Pool, load_pool, save_pool
from d2lstyle.results import write_record

PLAN = replace(TINY, data="photos", paint_size=32, per_class=(4,), tuned_at=4, arms=("A", "C"), lr=1e-2, invented_at=4)
DOSES = {"classical": [0.5, 0.5, 0.8]} | dict.fromkeys(KINDS, [0.6, 0.4])


@pytest.fixture(scope="module", autouse=True)
def here(tmp_path_factory):
    """A folder to be in, where the plan finds three photos of cats and of cups on each side."""
    here = tmp_path_factory.mktemp("here")
    for side in ("train", "validation", "test"):
        fill(here / "photos" / side, {"cat": 3, "cup": 3})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        yield here


def noise_pool():
    """Eleven photos of two classes with two copies of each, and sides of ten."""
    options = {"dtype": torch.uint8, "generator": torch.Generator().manual_seed(0)}
    noise = lambda *shape: torch.randint(256, (*shape, 3, 32, 32), **options)  # noqa: E731
    rows = {(0, 4): torch.tensor([0, 1, 2, 3, 6, 7, 8, 9]), (1, 4): torch.tensor([1, 2, 4, 5, 7, 8, 9, 10])}
    of = {kind: (noise(11, 2), torch.arange(11)) for kind in KINDS}
    copies, side = Copies(noise(11), (torch.arange(11) > 5).long(), of), lambda: (noise(10), torch.arange(10) % 2)
    validations, tests = {"one": side(), "two": side()}, {"clean": side(), "noise": side()}
    return Pool(["cat", "cup"], copies, rows, validations, tests, [{"kind": "styled"}], {"styled": 1})


def noise_file(plan, folder):
    """Where the plan's pool is, now of noise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "build_pool", lambda *_, **__: noise_pool())
        return pool_file(plan, ".", folder)


def log_of(plan, folder):
    return module.log_of(noise_file(plan, folder))


def keys(rows):
    return [Run(row).key for row in rows]


@pytest.fixture
def folder(tmp_path):
    """A folder that holds the pool, and no rows."""
    noise_file(PLAN, tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What an undisturbed experiment of one process gives."""
    folder = tmp_path_factory.mktemp("whole")
    noise_file(PLAN, folder)
    result = run_experiment(PLAN, ".", folder, workers=1)
    assert sorted(keys(read_json_lines(log_of(PLAN, folder)))) == sorted(keys(result["trials"] + result["rows"]))
    return result


def write_rows(folder, rows):
    log_of(PLAN, folder).write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.fixture
def trained(monkeypatch):
    """{key of a run: the network's weights as they came out} of all runs in this process."""
    weights, run_arm, trained_model = {}, module.run_arm, module.trained_model

    def recorded_run(pool, plan, run, *features):
        row = run_arm(pool, plan, run, *features)
        weights[run.key] = weights.pop("last").state_dict()
        return row

    monkeypatch.setattr(module, "trained_model", lambda *a, **o: weights.setdefault("last", trained_model(*a, **o)))
    monkeypatch.setattr(module, "run_arm", recorded_run)
    return weights


def same_weights(one, other):
    return all(torch.equal(value, other[key]) for key, value in one.items())


# one run


@pytest.mark.parametrize("words", ["scratch C test", "scratch D trial", "fine-tuned B test"])
def test_a_run_is_its_stream_its_network_and_fit(words, trained):
    model, arm, stage = words.split()
    pool, plan, run = noise_pool(), replace(PLAN, model=model), run_of(stage, arm, 4, 1, DOSES)
    with user_defaults():
        row = module.run_arm(pool, plan, run)
    stream = Stream(pool.copies, pool.rows[1, 4], ARMS[arm], {"styled": (0.6, 0.4)}, length=24, seed=1)
    network, augment = new_model(model, 2, 1), None if arm == "C" else classical(32, Classical(0.5, 0.5, 0.8))
    options = {"head_multiplier": 1 if model == "scratch" else 10, "augment": augment, "device": "cpu"}
    fit(network, stream, epochs=1, batch_size=6, seed=1, lr=1e-2, **options)
    assert same_weights(trained[run.key], network.state_dict())
    told, accuracies = {}, "validations" if stage == "trial" else "accuracies"
    for name, (images, labels) in (pool.validations if stage == "trial" else pool.tests).items():
        with torch.no_grad():
            told[name] = (network.eval()(images / 255).argmax(1) == labels).double()
    means = {name: right.mean().item() for name, right in told.items()}
    assert row[accuracies] == pytest.approx(means) and row["seconds"] > 0
    if stage == "trial":  # and not a word of the test side
        assert row["accuracy"] == pytest.approx(sum(means.values()) / 2)
        assert row.keys() == run.keys() | {"seconds", "validations", "accuracy"}
    else:
        assert row.keys() == run.keys() | {"seconds", "accuracies", "tests", "right"}
        assert all(unpack_answers(row["right"][name], 10).tolist() == right.tolist() for name, right in told.items())
        assert row["tests"] == {"clean": 10, "noise": 10}
    assert json.loads(json.dumps(row)) == row and Run(row).key == run.key


def test_arms_that_must_be_equal_are_so_to_the_last_bit(trained):
    """And the others are not: the same weights, order and steps, and other pictures."""
    pool, rows, weights = noise_pool(), {}, {}
    for arm in (*ARMS, *SANITY):
        run = run_of("test", arm, 4, 0, DOSES | {"styled": [1, 0] if arm == "D, p = 0" else [0.6, 0.4]})
        rows[arm] = module.run_arm(pool, PLAN, run)
        weights[arm] = trained[run.key]
    assert same_weights(weights["D, p = 0"], weights["B"]) and rows["D, p = 0"]["right"] == rows["B"]["right"]
    different = weights.keys() - {"D, p = 0"}
    assert not any(same_weights(weights[a], weights[b]) for a in different for b in different if a < b)


def test_workers_answer_fine_tuned_runs_out_of_fixed_features(tmp_path, trained):
    """Computed once for all runs; the rows are those of whole passes."""
    pool, plan, file = noise_pool(), replace(PLAN, model="fine-tuned"), tmp_path / "pool.pt"
    save_pool(pool, file)
    module._loaded.cache_clear()
    module._features.cache_clear()
    computed, fixed_features = [], module.fixed_features
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "fixed_features", lambda *what: computed.append(1) or fixed_features(*what))
        for run in (run_of("test", "A", 4, 0, {}), run_of("trial", "A", 4, 0, {}), run_of("test", "A", 4, 1, {})):
            row = module._run_in_worker(str(file), plan, run)
            assert without_seconds([row]) == without_seconds([module.run_arm(pool, plan, run)])
    assert len(computed) == 4  # two sets of pictures of each stage


# the experiment


def test_an_experiment_chooses_doses_and_returns_every_run_in_order(whole):
    pool, chosen = noise_pool(), whole["chosen"]
    assert keys(whole["rows"]) == keys(module.tests_of(PLAN, chosen)) and chosen.keys() == {"A", "C", "H"}
    assert chosen["C"] in [{"styled": [strength, 0.3]} for strength in PLAN.strengths] and chosen["A"] == {}
    assert [row["arm"] for row in whole["trials"]] == ["B", "C", "C"] and len(whole["rows"]) == 4
    assert whole["classes"] == ["cat", "cup"] and whole["tests"] == {"clean": 10, "noise": 10}
    assert (whole["preserved"], whole["seconds"]) == (pool.preserved, pool.seconds)
    assert whole["plan"] == described(PLAN) and whole["asked"] == PLAN.asked()
    for row in (whole["rows"][3], whole["trials"][1]):
        run = run_of(*(row[name] for name in ("stage", "arm", "per_class", "seed", "doses")))
        assert without_seconds([module.run_arm(pool, PLAN, run)]) == without_seconds([row])


def test_until_the_trials_are_done_the_test_side_is_not_looked_at(folder, whole, monkeypatch):
    """Its pictures cannot be used; labels are counted, not read."""

    class Closed:
        def __getattribute__(self, name):
            pytest.fail("looked at the test side")

    pool = noise_pool()
    closed = pool._replace(tests={name: (Closed(), labels) for name, (_, labels) in pool.tests.items()})
    monkeypatch.setattr(module, "load_pool", lambda path: closed)
    monkeypatch.setattr(module, "_loaded", lambda path: closed)
    result = run_experiment(PLAN, ".", folder, workers=1, until="trials")
    assert result["rows"] == [] and result["chosen"] == whole["chosen"]
    assert without_seconds(result["trials"]) == without_seconds(whole["trials"])


def test_rows_that_are_missing_or_cut_short_are_trained_alone(whole, folder, trained):
    missing, cut, *rows = whole["rows"]
    sentinels = [row | {"seconds": -1.5} for row in whole["trials"] + rows]
    write_rows(folder, sentinels)
    with open(log_of(PLAN, folder), "a") as file:
        file.write(json.dumps(cut)[:-20])  # killed within the line
    counts = []
    result = run_experiment(PLAN, ".", folder, workers=1, callback=lambda *count: counts.append(count))
    assert sorted(trained) == sorted(keys((missing, cut)))
    assert counts[-2:] == [("test", 3, 4), ("test", 4, 4)] and ("test", 2, 4) not in counts
    assert result["trials"] + result["rows"][2:] == sentinels
    assert without_seconds(result["rows"]) == without_seconds(whole["rows"])
    assert sorted(keys(read_json_lines(log_of(PLAN, folder)))) == sorted(keys(whole["trials"] + whole["rows"]))


def test_rows_of_a_record_are_known_if_plan_and_content_are_the_same(whole, folder, tmp_path, trained):
    record, content = tmp_path / "record.json", whole["content"]
    assert module.known_rows(None, PLAN, content) == module.known_rows(record, PLAN, content) == []
    write_record(record, command="", **whole)
    assert module.known_rows(record, PLAN, content) == whole["trials"] + whole["rows"]
    assert module.known_rows(record, replace(PLAN, seeds=3), content) == whole["trials"] + whole["rows"]
    assert module.known_rows(record, replace(PLAN, steps=5), content) == []
    result = run_experiment(PLAN, ".", folder, workers=1, known=record)
    assert result == whole and not trained and not log_of(PLAN, folder).exists()
    with pytest.warns(UserWarning, match="passed over, as of other photos, .*record.json"):
        assert module.known_rows(record, PLAN, "another") == []


def test_rows_of_other_photos_are_named_and_never_mixed_in(whole, folder, here, trained):
    """Every photo replaced under its name."""
    write_rows(folder, [row | {"seconds": -1.5} for row in whole["trials"] + whole["rows"]])
    old = log_of(PLAN, folder)
    photos = shutil.copytree(here / "photos", folder.parent / "kept")
    try:
        for number, file in enumerate(sorted((here / "photos").rglob("*.png"))):
            write_image(photo_of(300 + number), file)
        noise_file(PLAN, folder)
        with pytest.warns(UserWarning, match=f"passed over in .*, as of other photos, .*: {old.name}"):
            result = run_experiment(PLAN, ".", folder, workers=1)
    finally:
        shutil.rmtree(here / "photos")
        shutil.move(photos, here / "photos")
    assert len(trained) == len(whole["trials"] + whole["rows"]) and result["content"] != whole["content"]
    assert all(row["seconds"] >= 0 for row in result["trials"] + result["rows"])


def test_records_of_all_plans_have_the_arms_of_their_plans(tmp_path):
    """Without a row where nothing is measured yet, and with a record's rows where it asks for the same."""
    (name, plan), *others = PLANS.items()
    write_record(module.record_file(name, tmp_path), [{"arm": "A"}], command="", plan=described(replace(plan, seeds=1)))
    records = module.unit_records(tmp_path)
    assert [record["plan"] for record in records.values()] == [described(plan) for plan in PLANS.values()]
    assert records[name]["rows"] == [{"arm": "A"}] and not any(records[name]["rows"] for name, _ in others)
    assert (tmp_path / "results" / "06_vending_scratch.json").exists()


def test_a_pool_is_built_once_and_another_recipe_has_one_and_a_log_of_its_own(tmp_path, monkeypatch):
    others = [PLAN, replace(PLAN, strengths=(0.4,)), replace(PLAN, steps=5)]
    assert len({log_of(plan, tmp_path) for plan in others}) == len({noise_file(plan, tmp_path) for plan in others}) == 3
    # One recipe, with other photos, copies, or with a referee.
    for change in ({"seeds": 3}, {"per_class": (2, 4)}, {"arms": ("A", "F")}, {"judged": 1}):
        wider = replace(PLAN, **change)
        assert log_of(wider, tmp_path) == log_of(PLAN, tmp_path)
        assert noise_file(wider, tmp_path) != noise_file(PLAN, tmp_path)
    path = noise_file(PLAN, None)
    monkeypatch.setattr(module, "build_pool", lambda *_, **__: pytest.fail("built again"))
    assert path == pool_file(PLAN, ".") == Path("experiment", path.name) and load_pool(path).classes == ["cat", "cup"]


COMMAND = """
import sys
from d2lstyle.experiment import Plan, run_experiment

if __name__ == "__main__":
    run_experiment(Plan(**eval(sys.argv[1])), ".", sys.argv[2], workers=2)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_kill_9_loses_no_finished_run_and_two_processes_give_the_rows_of_one(whole, folder, tmp_path, trained):
    script, root, log = tmp_path / "command.py", Path(module.__file__).parents[2], log_of(PLAN, folder)
    script.write_text(COMMAND)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    words = [sys.executable, str(script), repr(vars(PLAN)), str(folder)]
    killed = subprocess.Popen(words, env=os.environ | {"PYTHONPATH": str(root)}, **pipes)
    try:
        wait_until(lambda: len(read_json_lines(log)) >= 2, killed, seconds=300)
        workers = psutil.Process(killed.pid).children(recursive=True)
        killed.kill()
        killed.wait(timeout=60)
        assert not psutil.wait_procs(workers, timeout=10)[1]  # they end by themselves
    finally:
        end_group(killed)
    done, every = {Run(row).key: row for row in read_json_lines(log)}, keys(whole["trials"] + whole["rows"])
    assert killed.returncode == KILLED and 2 <= len(done) < 7
    result = run_experiment(PLAN, ".", folder, workers=1)
    rows = result["trials"] + result["rows"]
    assert [row for row in rows if Run(row).key in done] == [done[key] for key in every if key in done]
    assert sorted(trained) == sorted(set(every) - done.keys())
    assert without_seconds(rows) == without_seconds(whole["trials"] + whole["rows"])
