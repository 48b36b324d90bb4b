"""Runs of the experiment on tiny photos: what they share, that they go on, and that nothing else changes them."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from shared_helpers import KILLED, end_group, wait_until, without_seconds
from test_pool import TINY, draw_folder

from d2lstyle import fit
from d2lstyle.experiment import runs as module
from d2lstyle.experiment.arms import ARMS, SANITY, Stream, classical, new_model
from d2lstyle.experiment.bootstrap import unpack_answers
from d2lstyle.experiment.pool import load_pool
from d2lstyle.experiment.plan import key_of, runs
from d2lstyle.experiment.runs import pool_file, read_json_lines, run_arm, run_experiment


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    data = draw_folder(tmp_path_factory.mktemp("runs") / "photos")
    return replace(
        TINY,
        data=str(data),
        models=("scratch", "fine-tuned"),
        arms=("A", "B", "C", "E"),
        per_class=(4,),
        method="optimise",
    )


@pytest.fixture(scope="module")
def ready(plan, tmp_path_factory):
    """A folder that holds the plan's pool, and no rows."""
    return pool_file(plan, ".", tmp_path_factory.mktemp("ready"), workers=1).parent


@pytest.fixture(scope="module")
def pool(plan, ready):
    return load_pool(pool_file(plan, ".", ready))


@pytest.fixture(scope="module")
def whole(plan, ready, tmp_path_factory):
    """(what an undisturbed experiment of one process gives, its folder)."""
    folder = copied(ready, tmp_path_factory.mktemp("whole") / "work")
    return run_experiment(plan, ".", folder, workers=1), folder


@pytest.fixture
def folder(ready, tmp_path):
    return copied(ready, tmp_path / "work")


def copied(ready, folder):
    folder.mkdir()
    for file in ready.glob("pool-*.pt"):
        shutil.copy(file, folder)
    return folder


def log_of(plan, folder):
    return folder / f"rows-{plan.recipe()}.jsonl"


def write_rows(plan, folder, rows):
    log_of(plan, folder).write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.fixture
def trained(monkeypatch):
    """The runs that were trained in this process, and the networks as they came out."""
    keys, networks = [], {}
    kept = {}

    def recording_model(name, *arguments, **options):
        kept["network"] = new_model(name, *arguments, **options)
        return kept["network"]

    def recording_run(pool, plan, *key):
        keys.append(key)
        row = run_arm(pool, plan, *key)
        networks[key] = kept["network"].state_dict()
        return row

    monkeypatch.setattr(module, "new_model", recording_model)
    monkeypatch.setattr(module, "run_arm", recording_run)
    return keys, networks


def same_weights(one, other):
    return all(torch.equal(value, other[key]) for key, value in one.items())


# one run


@pytest.mark.parametrize("model, arm", [("scratch", "D"), ("fine-tuned", "B")])
def test_a_run_is_its_stream_its_network_and_fit(pool, plan, model, arm, trained):
    row = module.run_arm(pool, plan, model, arm, 4, 1)
    which = ("scratch", "fine-tuned").index(model)
    stream = Stream(pool.copies, pool.rows[1, 4], ARMS[arm], p=plan.p, length=(4, 3)[which] * 6, seed=1)
    network = new_model(model, 2, 1, frozen=5)
    history = fit(
        network,
        stream,
        epochs=1,
        batch_size=6,
        lr=(3e-3, 3e-4)[which],
        head_multiplier=(1, 10)[which],
        seed=1,
        augment=classical(32),
        device="cpu",
    )
    assert history.epochs[-1].train_loss > 0 and same_weights(trained[1][model, arm, 4, 1], network.state_dict())
    images, labels = pool.tests["test"]
    with torch.no_grad():
        right = network.eval()(images / 255).argmax(1) == labels
    assert unpack_answers(row["right"]["test"], 10).tolist() == right.double().tolist()
    assert row["test"] == pytest.approx(right.double().mean().item()) and row["seconds"] > 0
    assert (
        list(row) == ["model", "arm", "per_class", "seed", "seconds", "test", "right"]
        and json.loads(json.dumps(row)) == row
    )
    assert key_of(row) == (model, arm, 4, 1)


@pytest.mark.parametrize("model", ["scratch", "fine-tuned"])
def test_arms_that_must_be_equal_are_so_to_the_last_bit(pool, plan, model, trained):
    """And the others are not: the same weights, order and steps, and other pictures."""
    rows = {arm: module.run_arm(pool, plan, model, arm, 4, 0) for arm in (*ARMS, *SANITY)}
    weights = {key[1]: value for key, value in trained[1].items()}
    assert same_weights(weights["D, p = 0"], weights["B"]) and rows["D, p = 0"]["right"] == rows["B"]["right"]
    assert same_weights(weights["E"], weights["A"]) and rows["E"]["right"] == rows["A"]["right"]
    different = ["A", "B", "C", "D", "F", "G", "H", "B, labels shuffled"]
    assert not any(
        same_weights(weights[one], weights[other]) for one in different for other in different if one < other
    )


def test_the_plan_decides_steps_batch_and_p(pool, plan, monkeypatch):
    seen = []

    def recording(network, train, **options):
        seen.append((len(train), options["batch_size"], options["lr"], (train.copy >= 0).mean()))
        return fit(network, train, **options)

    monkeypatch.setattr(module, "fit", recording)
    for changes in ({}, {"steps": (9, 1), "batch": 4}, {"p": 1.0}, {"lr": (1e-3, 1e-4)}):
        for model in plan.models:
            run_arm(pool, replace(plan, **changes), model, "C", 4, 0)
    lengths, batches, rates, parts = zip(*seen)
    assert lengths == (24, 18, 36, 4, 24, 18, 24, 18) and batches == (6, 6, 4, 4, 6, 6, 6, 6)
    assert rates == (3e-3, 3e-4, 3e-3, 3e-4, 3e-3, 3e-4, 1e-3, 1e-4)
    assert parts[4:6] == (1, 1) and 0 < parts[0] < 1


def test_many_test_images_are_answered_in_their_order(pool, plan):
    """More than one part of 600."""
    images, labels = pool.tests["test"]
    picked = torch.randint(10, (1300,), generator=torch.Generator().manual_seed(0))
    more = pool._replace(tests={"test": (images, labels), "again": (images[picked], labels[picked])})
    row = run_arm(more, plan, "fine-tuned", "A", 4, 0)
    few = unpack_answers(row["right"]["test"], 10)
    assert 0 < few.sum() < 10 and (unpack_answers(row["right"]["again"], 1300) == few[picked]).all()


# which runs


def test_runs_go_seed_by_seed_and_the_dullest_last():
    few = replace(TINY, seeds=2, per_class=(2, 4), models=("scratch", "fine-tuned"), arms=("E", "A", "D"))
    found = runs(few)
    assert len(found) == len(set(found)) == 24
    assert found[:4] == [("scratch", "A", 2, 0), ("scratch", "D", 2, 0), ("scratch", "A", 4, 0), ("scratch", "D", 4, 0)]
    assert [key[3] for key in found[:16]] == [0] * 8 + [1] * 8 and "E" not in {key[1] for key in found[:16]}
    assert {key[1] for key in found[16:]} == {"E"} and [key[3] for key in found[16:]] == [0] * 4 + [1] * 4


def test_sanity_adds_runs_at_the_end():
    few = replace(TINY, seeds=3, per_class=(20, 5, 10), models=("scratch", "fine-tuned"), arms=("B", "D"))
    added = runs(few, sanity=True)[len(runs(few)) :]
    assert runs(few, sanity=True)[: len(runs(few))] == runs(few)
    expected = [(model, "B, labels shuffled", 10, seed) for model in few.models for seed in range(3)]  # the middle size
    expected += [(model, "D, p = 0", n, 0) for model in few.models for n in (20, 5, 10)]
    assert sorted(added) == sorted(expected)


# the experiment


def test_an_experiment_returns_every_run_in_order(whole, plan, pool):
    found, folder = whole
    assert [key_of(row) for row in found["rows"]] == runs(plan)
    assert found["classes"] == ["cat", "cup"] and found["tests"] == {"test": 10}
    assert (found["strengths"], found["chosen"], found["seconds"]) == (pool.strengths, pool.chosen, pool.seconds)
    assert sorted(map(key_of, read_json_lines(log_of(plan, folder)))) == sorted(runs(plan))
    for key in (("scratch", "C", 4, 1), ("fine-tuned", "B", 4, 0)):
        alone = run_arm(pool, plan, *key)
        assert without_seconds([alone]) == without_seconds([row for row in found["rows"] if key_of(row) == key])
    by_arm = {key_of(row): row["right"] for row in found["rows"]}
    assert all(by_arm[model, "E", 4, seed] == by_arm[model, "A", 4, seed] for model in plan.models for seed in (0, 1))


def test_a_finished_experiment_trains_nothing_again(whole, plan, folder, trained):
    sentinels = [row | {"seconds": -1.5, "test": 7} for row in whole[0]["rows"]]
    write_rows(plan, folder, sentinels[::-1])
    before, counts = log_of(plan, folder).read_bytes(), []
    found = run_experiment(plan, ".", folder, workers=1, callback=lambda *count: counts.append(count))
    assert found["rows"] == sentinels and trained[0] == counts == [] and log_of(plan, folder).read_bytes() == before


def test_rows_that_are_missing_alone_are_trained(whole, plan, folder, trained):
    missing, counts = [("scratch", "B", 4, 1), ("fine-tuned", "A", 4, 0)], []
    sentinels = [row | {"seconds": -1.5} for row in whole[0]["rows"] if key_of(row) not in missing]
    write_rows(plan, folder, sentinels)
    found = run_experiment(plan, ".", folder, workers=1, callback=lambda *count: counts.append(count))
    assert sorted(trained[0]) == sorted(missing) and counts == [("training", 15, 16), ("training", 16, 16)]
    assert [row for row in found["rows"] if key_of(row) not in missing] == sentinels
    assert without_seconds(found["rows"]) == without_seconds(whole[0]["rows"])
    assert {key_of(row): row for row in read_json_lines(log_of(plan, folder))} == {
        key_of(row): row for row in found["rows"]
    }


def test_a_line_cut_short_is_trained_again_and_spoils_no_other(whole, plan, folder, trained):
    *rows, last = whole[0]["rows"]
    write_rows(plan, folder, rows[2:])
    with open(log_of(plan, folder), "a") as file:
        file.write(json.dumps(last)[:-20])  # killed within the line
    found = run_experiment(plan, ".", folder, workers=1)
    assert sorted(trained[0]) == sorted(map(key_of, (rows[0], rows[1], last)))
    assert without_seconds(found["rows"]) == without_seconds(whole[0]["rows"])
    assert sorted(map(key_of, read_json_lines(log_of(plan, folder)))) == sorted(runs(plan))


def test_more_seeds_and_arms_go_on_from_what_is_there(whole, plan, ready, folder, trained):
    """Their rows are the same, whatever the plan holds besides."""
    shutil.copy(log_of(plan, whole[1]), folder)
    other = replace(plan, arms=("A", "F"), models=("scratch",))
    shutil.copy(pool_file(plan, ".", folder), pool_file_of(other, folder))
    found = run_experiment(other, ".", folder, workers=1, sanity=False)
    assert sorted(trained[0]) == [("scratch", "F", 4, 0), ("scratch", "F", 4, 1)]
    assert [row for row in found["rows"] if row["arm"] == "A"] == [
        row for row in whole[0]["rows"] if row["arm"] == "A" and row["model"] == "scratch"
    ]


def pool_file_of(plan, folder):
    """Where the plan's pool would be, without making it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "build_pool", lambda *_, **__: None)
        patch.setattr(module, "save_pool", lambda pool, path: None)
        return pool_file(plan, ".", folder)


def test_another_recipe_has_a_log_and_a_pool_of_its_own(plan, folder):
    others = [replace(plan, p=0.4), replace(plan, steps=(5, 3)), replace(plan, lr=(1e-3, 3e-4))]
    assert (
        len({log_of(each, folder) for each in (plan, *others)})
        == len({pool_file_of(each, folder) for each in (plan, *others)})
        == 4
    )
    for change in (
        {"seeds": 3},
        {"per_class": (2, 4)},
        {"arms": ("A", "C")},
    ):  # of the same recipe, with other photos or copies
        wider = replace(plan, **change)
        assert log_of(wider, folder) == log_of(plan, folder) and pool_file_of(wider, folder) != pool_file_of(
            plan, folder
        )


def test_a_pool_that_is_there_is_not_built_again(plan, folder, monkeypatch):
    monkeypatch.setattr(module, "build_pool", lambda *_, **__: pytest.fail("built again"))
    (there,) = folder.glob("pool-*.pt")
    assert pool_file(plan, ".", folder) == there


def test_the_folder_is_in_the_root_unless_another_is_given(plan, tmp_path):
    assert pool_file_of(plan, tmp_path / "mine").parent == tmp_path / "mine"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "build_pool", lambda *_, **__: None)
        patch.setattr(module, "save_pool", lambda pool, path: None)
        assert pool_file(plan, tmp_path).parent == tmp_path / "experiment"


def test_two_processes_give_the_rows_of_one(whole, plan, folder):
    few = replace(plan, arms=("B", "E"), models=("scratch",))
    found = run_experiment(few, ".", folder, workers=2)
    expected = [row for row in whole[0]["rows"] if row["arm"] in few.arms and row["model"] == "scratch"]
    assert without_seconds(found["rows"]) == without_seconds(expected) and len(expected) == 4


COMMAND = """
import sys
from d2lstyle.experiment import Plan, run_experiment

if __name__ == "__main__":
    run_experiment(Plan(**eval(sys.argv[1])), ".", sys.argv[2], workers=int(sys.argv[3]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_kill_9_loses_no_finished_run_and_changes_none(whole, plan, folder, tmp_path, trained):
    script = tmp_path / "command.py"
    script.write_text(COMMAND)
    root, log = Path(module.__file__).parents[2], log_of(plan, folder)
    killed = subprocess.Popen(
        [sys.executable, str(script), repr(vars(plan)), str(folder), "2"],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_until(lambda: len(read_json_lines(log)) >= 3, killed, seconds=300)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait(timeout=60)
    finally:
        end_group(killed)
    before = read_json_lines(log)
    assert killed.returncode == KILLED and 3 <= len(before) < 16
    found = run_experiment(plan, ".", folder, workers=1)
    done = {key_of(row): row for row in before}
    assert [row for row in found["rows"] if key_of(row) in done] == [done[key] for key in runs(plan) if key in done]
    assert sorted(trained[0]) == sorted(set(runs(plan)) - done.keys())
    assert without_seconds(found["rows"]) == without_seconds(whole[0]["rows"])


# files and refusals


def test_no_log_is_no_rows_and_what_is_no_json_is_passed_over(tmp_path):
    assert read_json_lines(tmp_path / "none.jsonl") == []
    (tmp_path / "log.jsonl").write_text('\n{"a": 1}\n\n{"a": 2, "b\n{"a": 3}\n{"a"')
    assert read_json_lines(tmp_path / "log.jsonl") == [{"a": 1}, {"a": 3}]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"arms": ("A", "Z")}, "unknown arm 'Z'.*There are A, B, C, D, E, F, G, H"),
        ({"arms": ("a",)}, "unknown arm 'a'"),
        ({"arms": ("D, p = 0",)}, "unknown arm 'D, p = 0'"),
        ({"models": ("scrach",)}, "unknown model 'scrach': did you mean 'scratch'"),
        ({"p": 1.5}, r"p in \[0, 1\], got 1.5"),
        ({"p": -0.1}, "got -0.1"),
        ({"p": float("nan")}, "got nan"),
        ({"seeds": 0}, "at least one seed and one photo a class, got 0"),
        ({"per_class": (4, 0)}, r"one photo a class, got 2 and \(4, 0\)"),
        ({"per_class": ()}, r"one photo a class, got 2 and \(\)"),
        ({"data": "nowhere"}, "unknown dataset 'nowhere'"),
        ({"per_class": (7,)}, "at most 6, the images of class 'cat', got 7"),
    ],
)
@pytest.mark.parametrize("given", [True, False])
def test_a_bad_plan_is_refused_before_anything_is_painted(plan, tmp_path, change, words, given):
    for call in (run_experiment, pool_file):
        with pytest.raises(ValueError, match=words):
            call(replace(plan, **change), tmp_path, tmp_path / "work" if given else None, workers=1)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "change", [{"per_class": (4, 4)}, {"models": ("scratch", "scratch")}, {"arms": ("A", "B", "A")}]
)
def test_what_is_named_twice_is_refused(plan, tmp_path, change, monkeypatch):
    monkeypatch.setattr(module, "build_pool", lambda *_, **__: pytest.fail("began to build the pool"))
    with pytest.raises(ValueError, match="twice|once"):
        pool_file(replace(plan, **change), tmp_path)


def test_threads_of_the_caller_are_left_alone(whole, plan, folder):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        write_rows(plan, folder, [row for row in whole[0]["rows"] if key_of(row) != ("scratch", "A", 4, 0)])
        run_experiment(plan, ".", folder, workers=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    "change",
    [{"method": "magic"}, {"copies": 0}, {"paint_size": 24}, {"size": 8}, {"steps": (0, 3)}, {"strengths": ()}],
)
def test_what_training_or_painting_would_refuse_is_refused_before(plan, tmp_path, change, monkeypatch):
    monkeypatch.setattr(module, "build_pool", lambda *_, **__: pytest.fail("began to build the pool"))
    with pytest.raises(ValueError):
        pool_file(replace(plan, **change), tmp_path)
