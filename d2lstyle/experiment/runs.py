"""The runs of the experiment: every arm at every seed, in several processes, each finished one kept at once."""

import functools
import hashlib
import json
import time
import warnings
from pathlib import Path

import joblib
import torch

from ..engine import checks
from ..engine.devices import one_thread
from ..engine.files import append_json_line, read_json_lines, remove_stale_parts
from ..engine.workers import in_workers
from ..training import evaluate
from .arms import ARMS, MODELS, SANITY, Stream, trained_model
from .bootstrap import pack_answers
from .plan import key_of, runs
from .pool import build_pool, content_digest, load_pool, load_sides, save_pool


def run_experiment(plan, root="data", folder=None, *, workers=None, sanity=False, callback=None):
    """Train every arm at every seed, in several processes; finished rows are kept as they come.

    They are found again by the plan and by digests of the photos, the styles, the weights and the recipe of this
    version; a warning names rows of the same plan that are passed over because one of these is another.

    Args:
        plan: `Plan`.
        root: the folder of the data sets.
        folder: for copies and finished rows, None for root/experiment; a call that was interrupted goes on there.
        workers: processes, None for one a core.
        sanity: whether to add the runs that must be at chance or must equal another arm.
        callback: called with (what is being done, done, total).
    Returns:
        dict: "rows", a dict a run; "strengths", "chosen", "seconds" as of `Pool`; "classes"; "content", a
            digest of photos, styles, weights and recipe; "tests" {name: images}.
    Raises:
        ValueError: the pool cannot be built, such as for a photo that lies on two sides of the split.
        ChildProcessError: a worker was killed; the same call goes on.
    """
    workers = joblib.cpu_count() if workers is None else checks.whole("workers", workers, 1)
    path = pool_file(plan, root, folder, workers=workers, callback=callback)
    pool, log, wanted = load_pool(path), log_of(path), runs(plan, sanity)
    rows = _finished(log, plan, pool.test_counts())
    todo = [key for key in wanted if key not in rows]
    trained = in_workers(functools.partial(_run_in_worker, str(path), plan), todo, min(workers, max(1, len(todo))))
    for done, row in enumerate(trained, start=len(wanted) - len(todo) + 1):
        rows[key_of(row)] = row
        append_json_line(log, row)
        if callback:
            callback("training", done, len(wanted))
    record = {"strengths": pool.strengths, "chosen": pool.chosen, "seconds": pool.seconds, "classes": pool.classes}
    record["content"] = log.stem.rpartition("-")[2]
    return record | {"tests": pool.test_counts(), "rows": [rows[key] for key in wanted]}


def pool_file(plan, root="data", folder=None, *, workers=None, callback=None):
    """The file of the plan's `Pool`, for `load_pool`; made unless it is there. Arguments as of `run_experiment`."""
    folder = Path(root, "experiment") if folder is None else Path(folder)
    sides = load_sides(plan, root, callback)
    extent = json.dumps([plan.seeds, plan.per_class, plan.shows("unpainted")])
    extent = hashlib.sha256(extent.encode()).hexdigest()[:8]
    path = folder / f"pool-{plan.recipe()}-{content_digest(plan, sides)}-{extent}.pt"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        remove_stale_parts(folder.glob(".*.part"))
        save_pool(build_pool(plan, sides, folder, workers=workers, callback=callback), path)
    return path


def log_of(pool_file):
    """The file of rows beside a pool's: one for all pools of a recipe and its content, whatever their extent."""
    return pool_file.with_name(f"{pool_file.stem.rpartition('-')[0].replace('pool', 'rows', 1)}.jsonl")


def _finished(log, plan, tests):
    """{key: row} of the log; what is passed over, in it and beside it, is one warning."""
    rows = read_json_lines(log)
    kept = {key_of(row): row for row in rows if row.get("tests") == tests}
    others = [file.name for file in sorted(log.parent.glob(f"rows-{plan.recipe()}*.jsonl")) if file != log]
    others += [f"{key_of(row)} in {log.name}" for row in rows if row.get("tests") != tests]
    if others:
        why = "of other photos, styles or weights, another number of test images, or another version of the package"
        warnings.warn(f"passed over in {log.parent}, as {why}: {', '.join(others)}", stacklevel=3)
    return kept


def run_arm(pool, plan, model, arm, per_class, seed):
    """One training run and its tests; the arm is a name in `ARMS` or `SANITY`.

    Returns:
        dict: which run it is, "seconds", the accuracy on each test, "tests": {test: images} and "right": {test:
            answers by `pack_answers`}.
    """
    began, spec = time.perf_counter(), (ARMS | SANITY)[arm]
    length = plan.steps[MODELS.index(model)] * plan.batch
    stream = Stream(pool.copies, pool.rows[seed, per_class], spec, p=plan.p, length=length, seed=seed)
    network = trained_model(plan, model, len(pool.classes), stream, seed=seed, is_classical=spec.classical)
    right = {name: _right(network, *test) for name, test in pool.tests.items()}
    row = {"model": model, "arm": arm, "per_class": per_class, "seed": seed}
    row["seconds"] = round(time.perf_counter() - began, 2)
    row |= {name: answers.double().mean().item() for name, answers in right.items()}
    row["tests"] = pool.test_counts()
    return row | {"right": {name: pack_answers(answers) for name, answers in right.items()}}


def _right(network, images, labels):
    """(N,) bool; 600 images at once, for as floats they take four times the memory."""
    parts = torch.arange(len(labels), device="cpu").split(600)
    told = [evaluate(network, (images[part].float() / 255, labels[part]), batch_size=32) for part in parts]
    return torch.cat([part.predictions == part.labels for part in told])


def _run_in_worker(pool_file, plan, key):
    with one_thread(torch.device("cpu")):
        return run_arm(_loaded(pool_file), plan, *key)


_loaded = functools.lru_cache(maxsize=1)(load_pool)  # a worker reads the pool once
