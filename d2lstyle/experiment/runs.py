"""The runs of the experiment: doses chosen on validation photos, then every arm at every seed, each finished run kept.

All that is trained is a `Run`: of the stage "trial" it tells accuracies on the validation side, of the stage "test" the
answer to each test image.
"""

import functools
import hashlib
import json
import time
import warnings
from itertools import product
from pathlib import Path

import joblib
import torch

from ..engine import checks
from ..engine.devices import one_thread
from ..engine.files import append_json_line, read_json_lines, remove_stale_parts
from ..engine.workers import in_workers
from ..results import read_record
from .arms import ARMS, SANITY, Stream, fixed_features, new_model, predictions, trained_model
from .intervals import pack_answers
from .plan import PLANS, Run, asks_the_same, described, run_of
from .pool import build_pool, content_digest, counts, load_pool, load_sides, save_pool
from .tuning import best, first_trials, second_trials

OTHER = "of other photos, styles or weights, or of another version of the package"


def run_experiment(
    plan, root="data", folder=None, *, workers=None, sanity=False, known=None, until="test", callback=None
):
    """Choose each arm's doses on validation photos, then train and test every arm at every seed.

    Several processes train; finished rows are kept as they come, and found again by the plan and by digests of the
    photos, the styles, the weights and the recipe of this version.

    Args:
        plan: `Plan`.
        root: the folder of the data sets.
        folder: for copies and finished rows, None for root/experiment; a call that was interrupted goes on there.
        workers: processes, None for one a core.
        sanity: whether to add the runs that must be at chance or must equal another arm, where B and D are trained.
        known: the file of an earlier record, whose rows are taken for finished if its plan and content are the same.
        until: "trials" stops before the test side is opened.
        callback: called with (what is being done, done, total).
    Returns:
        dict, for `write_record`: "rows", "trials", "chosen" {arm: doses}; "tests" {name: images}, "asked" as of
            `Plan`; "classes", "preserved" and "seconds" as of `Pool`; "content", a digest of photos, styles, weights
            and recipe.
    Raises:
        ValueError: the pool cannot be built, such as for a photo that lies on two sides of the split.
        ChildProcessError: a worker was killed; the same call goes on.
    """
    checks.choice("until", until, ("trials", "test"))
    workers = joblib.cpu_count() if workers is None else checks.whole("workers", workers, 1)
    path = pool_file(plan, root, folder, workers=workers, callback=callback)
    trainer = _Trainer(plan, path, workers, known, callback)
    trials, chosen = trainer.choose_doses()
    record = trainer.about() | {"chosen": chosen, "trials": trials}
    if until == "trials":
        return record | {"rows": []}
    return record | {"rows": trainer.rows("test", tests_of(plan, chosen, sanity))}


def tests_of(plan, chosen, sanity=False):
    """The runs whose answers count: whole seeds one after another, in case the experiment is cut off."""
    runs = [
        run_of("test", arm, n, seed, chosen[arm])
        for seed in range(plan.seeds)
        for n in plan.per_class
        for arm in plan.arms
        if n in plan.sizes(arm)
    ]
    if sanity and {"B", "D"} <= set(plan.arms):
        n, base = plan.tuned_at if plan.tuned_at in plan.per_class else plan.per_class[0], chosen["B"]
        runs += [run_of("test", "B, labels shuffled", n, seed, base) for seed in range(plan.seeds)]
        never = base | {"styled": [1.0, 0.0]}
        runs += [run_of("test", "D, p = 0", n, seed, never) for seed in range(min(2, plan.seeds))]
    return runs


class _Trainer:
    """Trains what is asked for and not there yet."""

    def __init__(self, plan, path, workers, known, callback):
        self.plan, self.path, self.workers, self.show = plan, path, workers, callback or (lambda *_: None)
        self.log, self.pool = log_of(path), load_pool(path)
        self.content = self.log.stem.rpartition("-")[2]
        kept = [*known_rows(known, plan, self.content), *read_json_lines(self.log)]
        self.done = {Run(row).key: row for row in kept}

    def rows(self, stage, runs):
        """The rows of `Run`s, in their order."""
        wanted = {run.key: run for run in runs}
        todo = [run for key, run in wanted.items() if key not in self.done]
        work = functools.partial(_run_in_worker, str(self.path), self.plan)
        trained = in_workers(work, todo, min(self.workers, max(1, len(todo)))) if todo else ()
        for done, row in enumerate(trained, start=len(wanted) - len(todo) + 1):
            self.done[Run(row).key] = row
            append_json_line(self.log, row)
            self.show(stage, done, len(wanted))
        return [self.done[key] for key in wanted]

    def choose_doses(self):
        """All rows of trials, and {arm: its doses}."""
        plan, rows, chosen = self.plan, [], {}
        base = self._choose(rows, "classical doses", {"B": first_trials(plan)})["B"]
        trials = second_trials(plan, {"classical": list(plan.base)} if plan.base else base)
        chosen |= self._choose(rows, "doses", {arm: doses for arm, doses in trials.items() if arm != "N"})
        if "B" in chosen:  # the best of both rounds of trials
            chosen["B"] = best([row for row in rows if row["arm"] == "B"], plan)
        if "N" in trials:
            added = [doses | {"styled": chosen["D"]["styled"]} for doses in trials["N"]]
            chosen |= self._choose(rows, "doses of N", {"N": added})
        curves = [run for arm in plan.curve if arm in trials for run in self._runs(arm, trials[arm], plan.trial_seeds)]
        rows += self.rows("dose and response", curves)
        return [*{Run(row).key: row for row in rows}.values()], chosen | {"A": {}, "H": {}}

    def _runs(self, arm, doses, seeds):
        return [run_of("trial", arm, self.plan.tuned(arm), seed, dose) for seed, dose in product(range(seeds), doses)]

    def _choose(self, rows, stage, trials):
        """{arm: the best of its doses}: all are tried with one seed, the finalists with the others, too."""
        plan = self.plan
        first = self.rows(stage, [run for arm, doses in trials.items() for run in self._runs(arm, doses, 1)])
        runs = []
        for arm in trials:
            ranked = sorted((row for row in first if row["arm"] == arm), key=lambda row: -row["accuracy"])
            runs += self._runs(arm, [row["doses"] for row in ranked[: plan.finalists]], plan.trial_seeds)
        final = self.rows(f"{stage}: finalists", runs)
        rows += [*first, *final]
        return {arm: best([row for row in final if row["arm"] == arm], plan) for arm in trials}

    def about(self):
        pool = self.pool
        found = {"plan": described(self.plan), "content": self.content, "classes": pool.classes}
        found |= {"tests": counts(pool.tests), "asked": self.plan.asked()}
        return found | {"preserved": pool.preserved, "seconds": pool.seconds}


def record_file(name, root="data"):
    """Where the record of a plan in `PLANS` is kept."""
    return Path(root, "results", f"06_{name.replace(' ', '_').replace('-', '_')}.json")


def unit_records(root="data"):
    """{name in `PLANS`: its record, without a row where it is not measured yet}

    Each has the arms of its plan, whether they are measured or not: the family of the verdict counts them all.
    """
    records = {}
    for name, plan in PLANS.items():
        file, empty = record_file(name, root), {"plan": described(plan), "asked": plan.asked(), "rows": []}
        kept = read_record(file) if file.exists() else empty
        same = asks_the_same(kept["plan"], plan)
        records[name] = kept | {"plan": described(plan)} if same else kept
    return records


def known_rows(record, plan, content):
    """The finished rows, trials and tests, of a record file of this plan and content; none where there is no file."""
    if record is None or not Path(record).exists():
        return []
    kept = read_record(record)
    if not asks_the_same(kept.get("plan", {}), plan):
        return []
    if kept["content"] != content:
        warnings.warn(f"passed over, as {OTHER}: {record}", stacklevel=4)
        return []
    return [*kept["trials"], *kept["rows"]]


def pool_file(plan, root="data", folder=None, *, workers=None, callback=None):
    """The file of the plan's `Pool`, for `load_pool`; made unless it is there. Arguments as of `run_experiment`."""
    folder = Path(root, "experiment") if folder is None else Path(folder)
    sides = load_sides(plan, root, callback)
    extent = json.dumps([plan.draws(), plan.kinds(), plan.judged])
    path = (
        folder
        / f"pool-{plan.recipe()}-{content_digest(plan, sides)}-{hashlib.sha256(extent.encode()).hexdigest()[:8]}.pt"
    )
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        remove_stale_parts(folder.glob(".*.part"))
        save_pool(build_pool(plan, sides, folder, workers=workers, callback=callback), path)
    _warn_of_others(path, plan)
    return path


def log_of(pool_file):
    """The file of rows beside a pool's: one for all pools of a recipe and its content, whatever their extent."""
    return pool_file.with_name(f"{pool_file.stem.rpartition('-')[0].replace('pool', 'rows', 1)}.jsonl")


def _warn_of_others(path, plan):
    log = log_of(path)
    if others := [file.name for file in sorted(log.parent.glob(f"rows-{plan.recipe()}*.jsonl")) if file != log]:
        warnings.warn(f"passed over in {log.parent}, as {OTHER}: {', '.join(others)}", stacklevel=3)


def run_arm(pool, plan, run, features=lambda stage, name: None):
    """One training run, and what it says of the validation side ("trial") or of the test side ("test").

    Args:
        run: `Run`; its arm is a name in `ARMS` or `SANITY`.
        features: function of the stage and a set's name that gives its `fixed_features`, or None to compute all.
    Returns:
        dict: the run, "seconds" of its training, and the accuracy on each set of pictures: for a trial under
            "validations", with their mean as "accuracy"; for a test under "accuracies", with "tests" {name: images}
            and "right" {name: answers by `pack_answers`}.
    """
    began, arm = time.perf_counter(), (ARMS | SANITY)[run["arm"]]
    stream = Stream(
        pool.copies,
        pool.rows[run["seed"], run["per_class"]],
        arm,
        run["doses"],
        length=plan.steps * plan.batch,
        seed=run["seed"],
    )
    dose = run["doses"]["classical"] if arm.classical else None
    model = trained_model(plan, len(pool.classes), stream, dose=dose, seed=run["seed"])
    row = run | {"seconds": round(time.perf_counter() - began, 2)}
    sides = _sides(pool, run["stage"])
    right = {
        name: predictions(model, images, features(run["stage"], name)) == labels
        for name, (images, labels) in sides.items()
    }
    accuracies = {name: round(answers.double().mean().item(), 6) for name, answers in right.items()}
    if run["stage"] == "trial":
        return row | {"validations": accuracies, "accuracy": round(sum(accuracies.values()) / len(accuracies), 6)}
    packed = {name: pack_answers(answers) for name, answers in right.items()}
    return row | {"accuracies": accuracies, "tests": counts(sides), "right": packed}


def _sides(pool, stage):
    return pool.validations if stage == "trial" else pool.tests


def _run_in_worker(pool_file, plan, run):
    with one_thread(torch.device("cpu")):
        features = functools.partial(_features, pool_file) if plan.model == "fine-tuned" else lambda *_: None
        return run_arm(_loaded(pool_file), plan, run, features)


_loaded = functools.lru_cache(maxsize=1)(load_pool)  # a worker reads the pool once


@functools.lru_cache(maxsize=32)
def _features(pool_file, stage, name):
    """`fixed_features` of a set of pictures; a worker computes them once, for the frozen stages are the same."""
    pool = _loaded(pool_file)
    images, _ = _sides(pool, stage)[name]
    return fixed_features(new_model("fine-tuned", len(pool.classes), 0), images)
