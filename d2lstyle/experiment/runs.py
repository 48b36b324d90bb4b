"""The runs of the experiment: every arm at every seed, in several processes, each finished one kept at once."""

import functools
import hashlib
import json
import time
from pathlib import Path

import joblib
import torch

from ..engine import checks
from ..engine.devices import one_thread
from ..engine.files import append_json_line, read_json_lines
from ..training import evaluate
from .arms import ARMS, MODELS, SANITY, Stream, trained_model
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
        dict: "rows", a dict a run; "strengths", "chosen", "seconds" as of `Pool`; "classes"; "tests" {name: images}.
    Raises:
        ValueError: the pool cannot be built, such as for a photo that lies on two sides of the split.
    """
    workers = joblib.cpu_count() if workers is None else checks.whole("workers", workers, 1)
    path = pool_file(plan, root, folder, workers=workers, callback=callback)
    log = path.with_name(f"rows-{plan.recipe()}.jsonl")
    rows, wanted = {key_of(row): row for row in read_json_lines(log)}, runs(plan, sanity)
    todo = [key for key in wanted if key not in rows]
    processes = min(workers, max(1, len(todo)))
    parallel = joblib.Parallel(processes, return_as="generator_unordered", pre_dispatch=2 * workers)
    jobs = (joblib.delayed(_run_in_worker)(str(path), plan, key) for key in todo)
    for done, row in enumerate(parallel(jobs), start=len(wanted) - len(todo) + 1):
        rows[key_of(row)] = row
        append_json_line(log, row)
        if callback:
            callback("training", done, len(wanted))
    pool = load_pool(path)
    record = {"strengths": pool.strengths, "chosen": pool.chosen, "seconds": pool.seconds, "classes": pool.classes}
    tests = {name: len(labels) for name, (_, labels) in pool.tests.items()}
    return record | {"tests": tests, "rows": [rows[key] for key in wanted]}


def pool_file(plan, root="data", folder=None, *, workers=None, callback=None):
    """The file of the plan's `Pool`, for `load_pool`; made unless it is there. Arguments as of `run_experiment`."""
    folder = Path(root, "experiment") if folder is None else Path(folder)
    extent = json.dumps([plan.recipe(), plan.seeds, plan.per_class, plan.shows("unpainted")])
    path = folder / f"pool-{hashlib.sha256(extent.encode()).hexdigest()[:16]}.pt"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        save_pool(build_pool(plan, root, folder, workers=workers, callback=callback), path)
    return path


def run_arm(pool, plan, model, arm, per_class, seed):
    """One training run and its tests; the arm is a name in `ARMS` or `SANITY`.

    Returns:
        dict: which run it is, "seconds", the accuracy on each test, and "right": {test: answers by `pack_answers`}.
    """
    began, spec = time.perf_counter(), (ARMS | SANITY)[arm]
    length = plan.steps[MODELS.index(model)] * plan.batch
    stream = Stream(pool.copies, pool.rows[seed, per_class], spec, p=plan.p, length=length, seed=seed)
    network = trained_model(plan, model, len(pool.classes), stream, seed=seed, is_classical=spec.classical)
    right = {name: _right(network, *test) for name, test in pool.tests.items()}
    row = {"model": model, "arm": arm, "per_class": per_class, "seed": seed}
    row["seconds"] = round(time.perf_counter() - began, 2)
    row |= {name: answers.double().mean().item() for name, answers in right.items()}
    return row | {"right": {name: pack_answers(answers) for name, answers in right.items()}}


def _right(network, images, labels):
    """(N,) bool; 600 images at once, for as floats they take four times the memory."""
    parts = torch.arange(len(labels)).split(600)
    told = [evaluate(network, (images[part] / 255, labels[part]), batch_size=32) for part in parts]
    return torch.cat([part.predictions == part.labels for part in told])


def _run_in_worker(pool_file, plan, key):
    with one_thread(torch.device("cpu")):
        return run_arm(_loaded(pool_file), plan, *key)


_loaded = functools.lru_cache(maxsize=1)(load_pool)  # a worker reads the pool once
