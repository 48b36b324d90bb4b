"""Runs of the experiment on pictures of noise: what they share, that they go on, and that nothing else changes them."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from shared_helpers import KILLED, end_group, fill, photo_of, user_defaults, wait_until, without_seconds

from d2lstyle import fit, write_image
from d2lstyle.engine.files import read_json_lines
from d2lstyle.experiment import Plan, pool_file, run_experiment
from d2lstyle.experiment import runs as module
from d2lstyle.experiment.arms import ARMS, SANITY, Copies, Stream, classical, new_model
from d2lstyle.experiment.bootstrap import unpack_answers
from d2lstyle.experiment.plan import key_of, runs
from d2lstyle.experiment.pool import Pool, load_pool

PLAN = Plan(data="photos", seeds=2, per_class=(4,), arms=("A", "C"), size=32, paint_size=32, steps=(4, 2), batch=6)
FEW = replace(PLAN, models=("scratch",))


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
    """Eleven photos of two classes with two copies of each, and those at strength zero, which are the photos."""
    generator = torch.Generator().manual_seed(0)
    photos, *copies = torch.randint(256, (5, 11, 3, 32, 32), dtype=torch.uint8, generator=generator)
    of = {"styled": torch.stack(copies[:2], 1), "recoloured": torch.stack(copies[2:], 1), "unpainted": photos[:, None]}
    rows = {(0, 4): torch.tensor([0, 1, 2, 3, 6, 7, 8, 9]), (1, 4): torch.tensor([1, 2, 4, 5, 7, 8, 9, 10])}
    test = torch.randint(256, (10, 3, 32, 32), dtype=torch.uint8, generator=generator), torch.arange(10) % 2
    chosen = {"styled": 0.3, "recoloured": 0.5}
    labels = (torch.arange(11) > 5).long()
    return Pool(
        ["cat", "cup"], Copies(photos, labels, of), rows, {"test": test}, [{"kind": "photos"}], chosen, {"C": 1}
    )


def noise_file(plan, folder):
    """Where the plan's pool is, now of noise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "build_pool", lambda *_, **__: noise_pool())
        return pool_file(plan, ".", folder)


@pytest.fixture
def folder(tmp_path):
    """A folder that holds the pool of both plans, and no rows."""
    noise_file(PLAN, tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What an undisturbed experiment of one process gives."""
    folder = tmp_path_factory.mktemp("whole")
    noise_file(PLAN, folder)
    result = run_experiment(PLAN, ".", folder, workers=1)
    assert sorted(map(key_of, read_json_lines(log_of(PLAN, folder)))) == sorted(runs(PLAN))
    return result


def log_of(plan, folder):
    return module.log_of(noise_file(plan, folder))


def write_rows(folder, rows):
    log_of(PLAN, folder).write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.fixture
def trained(monkeypatch):
    """{run: the network's weights as they came out} of all runs in this process."""
    weights, run_arm, trained_model = {}, module.run_arm, module.trained_model

    def recorded_model(*arguments, **options):
        weights["last"] = trained_model(*arguments, **options)
        return weights["last"]

    def recorded_run(pool, plan, *key):
        row = run_arm(pool, plan, *key)
        weights[key] = weights.pop("last").state_dict()
        return row

    monkeypatch.setattr(module, "trained_model", recorded_model)
    monkeypatch.setattr(module, "run_arm", recorded_run)
    return weights


def same_weights(one, other):
    return all(torch.equal(value, other[key]) for key, value in one.items())


# one run


@pytest.mark.parametrize("model, arm", [("scratch", "C"), ("scratch", "D"), ("fine-tuned", "B")])
def test_a_run_is_its_stream_its_network_and_fit(model, arm, trained):
    pool, plan, which = noise_pool(), replace(PLAN, p=0.7, lr=(1e-2, 1e-3)), PLAN.models.index(model)
    with user_defaults():
        row = module.run_arm(pool, plan, model, arm, 4, 1)
    stream = Stream(pool.copies, pool.rows[1, 4], ARMS[arm], p=0.7, length=(24, 12)[which], seed=1)
    network, augment = new_model(model, 2, 1, frozen=5), None if arm == "C" else classical(32)
    options = {"lr": (1e-2, 1e-3)[which], "head_multiplier": (1, 10)[which], "augment": augment, "device": "cpu"}
    fit(network, stream, epochs=1, batch_size=6, seed=1, **options)
    assert same_weights(trained[model, arm, 4, 1], network.state_dict())
    images, labels = pool.tests["test"]
    with torch.no_grad():
        right = network.eval()(images / 255).argmax(1) == labels
    assert unpack_answers(row["right"]["test"], 10).tolist() == right.double().tolist()
    assert row["test"] == pytest.approx(right.double().mean().item()) and row["seconds"] > 0
    assert list(row) == ["model", "arm", "per_class", "seed", "seconds", "test", "tests", "right"]
    assert row["tests"] == {"test": 10}
    assert json.loads(json.dumps(row)) == row and key_of(row) == (model, arm, 4, 1)


def test_arms_that_must_be_equal_are_so_to_the_last_bit(trained):
    """And the others are not: the same weights, order and steps, and other pictures."""
    pool = noise_pool()
    rows = {arm: module.run_arm(pool, PLAN, "scratch", arm, 4, 0) for arm in (*ARMS, *SANITY)}
    weights = {key[1]: value for key, value in trained.items()}
    assert same_weights(weights["D, p = 0"], weights["B"]) and rows["D, p = 0"]["right"] == rows["B"]["right"]
    assert same_weights(weights["E"], weights["A"]) and rows["E"]["right"] == rows["A"]["right"]
    different = ["A", "B", "C", "D", "F", "G", "H", "B, labels shuffled"]
    assert not any(same_weights(weights[a], weights[b]) for a in different for b in different if a < b)


def test_many_test_images_are_answered_in_their_order():
    """More than one part of 600."""
    pool = noise_pool()
    images, labels = pool.tests["test"]
    picked = torch.randint(10, (650,), generator=torch.Generator().manual_seed(0))
    more = pool._replace(tests={"test": (images, labels), "again": (images[picked], labels[picked])})
    row = module.run_arm(more, PLAN, "scratch", "A", 4, 0)
    few = unpack_answers(row["right"]["test"], 10)
    assert 0 < few.sum() < 10 and (unpack_answers(row["right"]["again"], 650) == few[picked]).all()


# the experiment


def test_an_experiment_returns_every_run_in_order(whole):
    pool = noise_pool()
    assert [key_of(row) for row in whole["rows"]] == runs(PLAN)
    assert whole["classes"] == ["cat", "cup"] and whole["tests"] == {"test": 10}
    assert (whole["strengths"], whole["chosen"], whole["seconds"]) == (pool.strengths, pool.chosen, pool.seconds)
    for key in (("scratch", "C", 4, 1), ("fine-tuned", "C", 4, 0)):
        alone = module.run_arm(pool, PLAN, *key)
        assert without_seconds([alone]) == without_seconds([row for row in whole["rows"] if key_of(row) == key])


def test_a_finished_experiment_trains_nothing_again(whole, folder, trained):
    sentinels = [row | {"seconds": -1.5, "test": 7} for row in whole["rows"]]
    write_rows(folder, sentinels[::-1])
    before, counts = log_of(PLAN, folder).read_bytes(), []
    result = run_experiment(PLAN, ".", folder, workers=1, callback=lambda *count: counts.append(count))
    assert result["rows"] == sentinels and log_of(PLAN, folder).read_bytes() == before and not trained
    assert {what for what, *_ in counts} == {"train", "validation", "test"}  # the photos are looked at


def test_rows_that_are_missing_or_cut_short_are_trained_alone(whole, folder, trained):
    missing, cut, *rows = whole["rows"]
    sentinels = [row | {"seconds": -1.5} for row in rows]
    write_rows(folder, sentinels)
    with open(log_of(PLAN, folder), "a") as file:
        file.write(json.dumps(cut)[:-20])  # killed within the line
    counts = []
    result = run_experiment(PLAN, ".", folder, workers=1, callback=lambda *count: counts.append(count))
    assert sorted(trained) == sorted(map(key_of, (missing, cut)))
    assert counts[-2:] == [("training", 7, 8), ("training", 8, 8)] and ("training", 6, 8) not in counts
    assert result["rows"][2:] == sentinels and without_seconds(result["rows"]) == without_seconds(whole["rows"])
    assert sorted(map(key_of, read_json_lines(log_of(PLAN, folder)))) == sorted(runs(PLAN))


def test_more_arms_go_on_from_what_is_there(whole, folder, trained):
    """Their rows are the same, whatever the plan holds besides."""
    write_rows(folder, whole["rows"])
    other = replace(FEW, arms=("A", "F"))
    noise_file(other, folder)
    result = run_experiment(other, ".", folder, workers=1)
    assert sorted(trained) == [("scratch", "F", 4, 0), ("scratch", "F", 4, 1)]
    rows = [row for row in whole["rows"] if row["arm"] == "A" and row["model"] == "scratch"]
    assert [row for row in result["rows"] if row["arm"] == "A"] == rows


def test_another_recipe_has_a_log_and_a_pool_of_its_own(tmp_path):
    others = [PLAN, replace(PLAN, p=0.4), replace(PLAN, steps=(5, 3))]
    assert len({log_of(plan, tmp_path) for plan in others}) == len({noise_file(plan, tmp_path) for plan in others}) == 3
    for change in ({"seeds": 3}, {"per_class": (2, 4)}, {"arms": ("A", "E")}):  # a recipe, with other photos or copies
        wider = replace(PLAN, **change)
        assert log_of(wider, tmp_path) == log_of(PLAN, tmp_path)
        assert noise_file(wider, tmp_path) != noise_file(PLAN, tmp_path)


def test_rows_of_other_photos_or_counts_are_named_and_never_mixed_in(whole, folder, here, trained):
    """Every photo replaced under its name; then rows of this content that were tested on other numbers of images."""
    write_rows(folder, [row | {"test": 7} for row in whole["rows"]])
    old = log_of(FEW, folder)
    photos = shutil.copytree(here / "photos", folder.parent / "kept")
    try:
        for number, file in enumerate(sorted((here / "photos").rglob("*.png"))):
            write_image(photo_of(300 + number), file)
        noise_file(FEW, folder)
        with pytest.warns(UserWarning, match=f"passed over in .*, as of other photos, .*: {old.name}"):
            rows = run_experiment(FEW, ".", folder, workers=1)["rows"]
        assert len(trained) == len(rows) == 4 and all(row["test"] < 7 for row in rows)
        kept, few, many, untold = rows
        del untold["tests"]
        lines = [kept, few | {"tests": {"test": 9}}, many | {"tests": {"test": 12}}, untold]
        log_of(FEW, folder).write_text("".join(f"{json.dumps(row)}\n" for row in lines))
        with pytest.warns(UserWarning, match=re.escape(f"{key_of(few)} in {log_of(FEW, folder).name}")):
            again = run_experiment(FEW, ".", folder, workers=1)
    finally:
        shutil.rmtree(here / "photos")
        shutil.move(photos, here / "photos")
    assert [row["tests"] for row in again["rows"]] == [again["tests"]] * 4
    assert again["rows"][0] == kept and all(row["seconds"] > 0 for row in again["rows"])


def test_the_pool_is_built_once_in_the_root_unless_a_folder_is_given(tmp_path, monkeypatch):
    path = noise_file(PLAN, None)
    assert path == Path("experiment", path.name) and noise_file(PLAN, tmp_path / "mine").parent == tmp_path / "mine"
    monkeypatch.setattr(module, "build_pool", lambda *_, **__: pytest.fail("built again"))
    assert pool_file(PLAN, ".") == path and load_pool(path).classes == ["cat", "cup"]


def test_threads_of_the_caller_are_left_alone(whole, folder):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        write_rows(folder, whole["rows"][1:])
        result = run_experiment(PLAN, ".", folder, workers=1)
        assert torch.get_num_threads() == 2 and without_seconds(result["rows"]) == without_seconds(whole["rows"])
    finally:
        torch.set_num_threads(threads)


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
    killed = subprocess.Popen(
        [sys.executable, str(script), repr(vars(PLAN)), str(folder)],
        env=os.environ | {"PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_until(lambda: len(read_json_lines(log)) >= 3, killed, seconds=300)
        workers = psutil.Process(killed.pid).children(recursive=True)
        killed.kill()
        killed.wait(timeout=60)
        assert not psutil.wait_procs(workers, timeout=10)[1]  # they end by themselves
    finally:
        end_group(killed)
    done = {key_of(row): row for row in read_json_lines(log)}
    assert killed.returncode == KILLED and 3 <= len(done) < 8
    result = run_experiment(PLAN, ".", folder, workers=1)
    assert [row for row in result["rows"] if key_of(row) in done] == [done[key] for key in runs(PLAN) if key in done]
    assert sorted(trained) == sorted(set(runs(PLAN)) - done.keys())
    assert without_seconds(result["rows"]) == without_seconds(whole["rows"])


@pytest.mark.parametrize("workers", [0, 1.5])
def test_workers_are_counted_from_one(tmp_path, workers):
    with pytest.raises(ValueError, match=f"expected workers as an integer of at least 1, got {workers}"):
        run_experiment(PLAN, ".", tmp_path, workers=workers)
