"""The runs of the experiment: every arm at every seed, in several processes, each finished one kept at once."""

import functools
import hashlib
import json
import time
from pathlib import Path

import joblib
import torch

from ..engine.devices import one_thread
from ..engine.files import append_json_line, read_json_lines
from ..training import evaluate, fit
from .arms import ARMS, MODELS, SANITY, Stream, classical, new_model
from .bootstrap import pack_answers
from .plan import key_of, runs
from .pool import build_pool, load_pool, save_pool


def run_experiment(plan, root="data", folder=None, *, workers=None, sanity=False, callback=None):
    """Train every arm at every seed, in several processes; finished rows are kept as they come.

    Args:
        plan: `Plan`.
        root: the folder of the data sets.
        folder: for copies and finished rows, None for root/experiment; a call that was interrupted goes on there.
        workers: processes, None for one a core.
        sanity: whether to add the runs that must be at chance or must equal another arm.
        callback: called with (what is being done, done, total).
    Returns:
        dict: "rows", a dict a run, and "strengths", "chosen", "seconds" as of `Pool`, "classes", "tests" {name: images}.
    Raises:
        ValueError: the plan has a number out of range, or names an arm or a model that is not there; or the pool cannot be
            built.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"expected workers as a positive integer, got {workers!r}")
    folder = _folder(root, folder)
    workers = workers or joblib.cpu_count()
    path = pool_file(plan, root, folder, workers=workers, callback=callback)
    log = folder / f"rows-{plan.recipe()}.jsonl"
    rows, wanted = {key_of(row): row for row in read_json_lines(log)}, runs(plan, sanity)
    todo = [key for key in wanted if key not in rows]
    jobs = (joblib.delayed(_run_in_worker)(str(path), plan, key) for key in todo)
    parallel = joblib.Parallel(
        n_jobs=min(workers, max(1, len(todo))), return_as="generator_unordered", pre_dispatch=2 * workers
    )
    for done, row in enumerate(parallel(jobs), start=len(wanted) - len(todo) + 1):
        rows[key_of(row)] = row
        append_json_line(log, row)
        if callback:
            callback("training", done, len(wanted))
    pool = load_pool(path)
    about = {"strengths": pool.strengths, "chosen": pool.chosen, "seconds": pool.seconds, "classes": pool.classes}
    return about | {
        "tests": {name: len(labels) for name, (_, labels) in pool.tests.items()},
        "rows": [rows[key] for key in wanted],
    }


def pool_file(plan, root="data", folder=None, *, workers=None, callback=None):
    """The file of the plan's `Pool`, for `load_pool`; it is made unless it is there. Arguments as of `run_experiment`."""
    folder = _folder(root, folder)
    extent = json.dumps([plan.recipe(), plan.seeds, plan.per_class, plan.shows("unpainted")])
    path = folder / f"pool-{hashlib.sha256(extent.encode()).hexdigest()[:16]}.pt"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        save_pool(build_pool(plan, root, folder, workers=workers, callback=callback), path)
    return path


def _folder(root, folder):
    return Path(root, "experiment") if folder is None else Path(folder)


def run_arm(pool, plan, model, arm, per_class, seed):
    """One training run and its tests.

    Args:
        pool: `Pool` that holds the seed.
        plan: `Plan`.
        model, arm, per_class, seed: which run; the arm is a name in `ARMS` or `SANITY`.
    Returns:
        dict: those four, "seconds", the accuracy on each test, and "right": {test: answers as `pack_answers` writes them}.
    """
    began, spec, which = time.perf_counter(), {**ARMS, **SANITY}[arm], MODELS.index(model)
    length = plan.steps[which] * plan.batch
    stream = Stream(pool.copies, pool.rows[seed, per_class], spec, p=plan.p, length=length, seed=seed)
    network = new_model(model, len(pool.classes), seed, frozen=plan.frozen)
    fit(
        network,
        stream,
        epochs=1,
        lr=plan.lr[which],
        head_multiplier=(1, 10)[which],
        batch_size=plan.batch,
        seed=seed,
        augment=classical(plan.size) if spec.classical else None,
        device="cpu",
    )
    right = {name: _right(network, *test) for name, test in pool.tests.items()}
    return {
        "model": model,
        "arm": arm,
        "per_class": per_class,
        "seed": seed,
        "seconds": round(time.perf_counter() - began, 2),
        **{name: float(found.mean()) for name, found in right.items()},
        "right": {name: pack_answers(found) for name, found in right.items()},
    }


def _right(network, images, labels):
    found = [
        evaluate(network, (images[part] / 255, labels[part]), batch_size=32)
        for part in torch.arange(len(labels)).split(600)
    ]
    return torch.cat([each.predictions == each.labels for each in found]).double().numpy()


def _run_in_worker(pool_file, plan, key):
    with one_thread(torch.device("cpu")):
        return run_arm(_loaded(pool_file), plan, *key)


@functools.lru_cache(maxsize=1)
def _loaded(pool_file):
    return load_pool(pool_file)
