"""What an experiment fixes before anything is measured, and the runs that follow from it."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from itertools import product

from ..backbones import MIN_SIDE
from ..engine import checks
from ..samples.vending import DOMAINS
from .arms import ARMS, MODELS
from .corruptions import CORRUPTIONS

# What says which rows there are, and not what is in one.
EXTENT = ("seeds", "per_class", "arms", "invented_at", "judged", "base")


@dataclass(frozen=True)
class Plan:
    """What is fixed before anything is measured; `replace` of dataclasses makes another one.

    Raises:
        ValueError: a number is out of range, or an arm or the model is not there or is named twice.
    """

    data: str = "vending"  # or "clothing", "cifar10", or a class folder
    model: str = "fine-tuned"  # or "scratch"
    seeds: int = 10  # runs of each arm; each has its own photos, order, first weights and augmentation
    per_class: tuple = (5, 10, 20)  # training photos per class
    arms: tuple = ("A", "B", "C", "D", "F", "G", "H", "I", "R", "Dv")  # names in `ARMS`
    size: int = 64  # sides of the square images trained on, in pixels
    paint_size: int = 64  # pixels at which copies are painted
    copies: int = 2  # of each photo, each in another mixture of styles; of the optimisation one
    styles: tuple = ()  # as for `stylize_folder`; none for all paintings
    mixture: float = 0.2  # and paint_steps of the optimisation: as for `stylize_folder`
    paint_steps: int = 20
    optimised_at: int = 5  # photos per class of the arms that the optimisation paints
    invented_at: int = 10  # and of those that a GAN draws for
    tuned_at: int = 10  # photos per class of the trials that choose the doses of all other arms
    trial_seeds: int = 3
    finalists: int = 6  # doses that are tried with all these seeds, out of all that are tried with the first
    strengths: tuple = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)  # of copies
    shares: tuple = (0.1, 0.3, 0.5)
    classical_strengths: tuple = (0.2, 0.35, 0.5, 0.65, 0.8, 1.0)  # of crop and colour together: the first trials of B
    classical_shares: tuple = (0.1, 0.3, 0.5, 1.0)
    crops: tuple = (0.3, 0.65, 1.0)  # of crop and colour apart: as many trials more, which are B's alone
    colours: tuple = (0.0, 0.5, 1.0, 1.5)
    apart_shares: tuple = (0.5, 1.0)
    curve: tuple = ("D",)  # arms of which all doses are tried with all seeds, for a figure
    base: tuple = ()  # the classical dose that other arms than B build on; none for the best of B's first trials
    judged: int = 5  # validation photos per class that a referee looks at; 0 for no referee
    steps: int = 60  # of training
    batch: int = 32  # images a step
    lr: float = 3e-4  # the highest learning rate; of a head ten times as much
    split_seed: int = 20  # of vending: pictures that no chapter has opened

    def __post_init__(self):
        checks.choice("model", self.model, MODELS)
        for arm in self.arms:
            checks.choice("arm", arm, ARMS)
        for kind, values in (("arm", self.arms), ("number of photos", self.per_class)):
            if len(set(values)) < len(values):
                raise ValueError(f"expected each {kind} once, got {values}")
        if self.seeds < 1 or not self.per_class or min(self.per_class) < 1:
            raise ValueError(
                f"expected at least one seed and one photo per class, got {self.seeds} and {self.per_class}"
            )
        if min(self.size, self.paint_size) < MIN_SIDE:
            sides = f"{self.size} and {self.paint_size}"
            raise ValueError(f"expected size and paint_size of at least {MIN_SIDE} pixels, got {sides}")
        if min(self.copies, self.batch, self.steps, self.trial_seeds, self.finalists) < 1:
            raise ValueError("expected at least one copy, one image a step, one step, one seed of trials, one finalist")
        if "N" in self.arms and "D" not in self.arms:
            raise ValueError("expected arm D beside N, which takes its dose of styled copies")
        if len(self.base) not in (0, 3):
            raise ValueError(f"expected crop, colour and share as the base, got {self.base}")
        for name, part, most in zip(("crop", "colour", "share"), self.base, (1, 5, 1)):  # 5: then hue turns all the way
            checks.number(f"the base's {name}", part, 0, most)
        grids = self.strengths, self.shares, self.classical_strengths, self.classical_shares, self.apart_shares
        doses = [dose for grid in grids for dose in grid]
        if not all((*grids, self.crops, self.colours)) or not all(0 < dose <= 1 for dose in doses):
            raise ValueError(f"expected some of each dose, strengths and shares above 0 and at most 1, got {doses}")

    def recipe(self):
        """A digest of all in the plan that a row depends on, besides what names the row."""
        kept = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in EXTENT}
        return hashlib.sha256(json.dumps(kept, default=str).encode()).hexdigest()[:16]

    def sizes(self, arm):
        """The numbers of photos per class at which an arm is tested."""
        kinds = ARMS[arm].kinds
        only = {self.optimised_at} if "optimised" in kinds else {self.invented_at} if "invented" in kinds else None
        return [n for n in self.per_class if only is None or n in only]

    def tuned(self, arm):
        """Photos per class of an arm's trials."""
        return self.sizes(arm)[0] if len(self.sizes(arm)) == 1 else self.tuned_at

    def asked(self):
        """{test that is asked: the sets of test pictures whose answers it averages image by image}"""
        if self.data == "vending":
            return {name: [name] for name in DOMAINS}
        return {"clean": ["clean"], "corrupted": list(CORRUPTIONS)}

    def kinds(self):
        """The kinds of copies that the arms show."""
        return list(dict.fromkeys(kind for arm in self.arms if self.sizes(arm) for kind in ARMS[arm].kinds))

    def draws(self):
        """[(seed, photos per class)] of all runs and trials."""
        trials = {(seed, self.tuned(arm)) for seed in range(self.trial_seeds) for arm in self.arms if self.sizes(arm)}
        return sorted(trials | set(product(range(self.seeds), self.per_class)))


# The plans of chapter 06: `data` and `model` are a unit of the verdict.
_SCRATCH = {"model": "scratch", "size": 32, "lr": 3e-3}
_CLOTHING = {"data": "clothing", "per_class": (10, 30), "optimised_at": 10}
PLANS = {
    "vending scratch": Plan(**_SCRATCH, steps=400, arms=("A", "B", "C", "D", "F", "G", "N")),
    "vending fine-tuned": Plan(),
    "clothing scratch": Plan(**_CLOTHING, **_SCRATCH, steps=600, arms=("A", "B", "C", "D", "F", "G")),
    "clothing fine-tuned": Plan(**_CLOTHING, size=96, paint_size=96),
}
QUICK = Plan(
    seeds=2,
    per_class=(10,),
    arms=("A", "B", "C", "D", "F", "G"),
    copies=1,
    trial_seeds=1,
    strengths=(0.5,),
    shares=(0.3,),
    classical_strengths=(0.65,),
    classical_shares=(1.0,),
    crops=(0.65,),
    colours=(1.0,),
    apart_shares=(1.0,),
    curve=(),
    judged=0,
    steps=30,
)


class Run(dict):
    """Which run a row tells of: stage, arm, per_class, seed and doses; equal runs have equal `key`s."""

    @property
    def key(self):
        return json.dumps([self[name] for name in ("stage", "arm", "per_class", "seed", "doses")])


def run_of(stage, arm, per_class, seed, doses):
    """A `Run`; doses as lists, as JSON gives them back."""
    plain = {kind: [round(float(number), 6) for number in dose] for kind, dose in sorted(doses.items())}
    return Run(stage=stage, arm=arm, per_class=per_class, seed=seed, doses=plain)


def asks_the_same(kept, plan):
    """Whether a record's plan, a dict, makes the same rows as a `Plan`, however many of them."""
    return all(kept.get(name) == value for name, value in described(plan).items() if name not in EXTENT)


def described(plan):
    """The plan as a dict that equals what a record gives back."""
    return json.loads(json.dumps(asdict(plan)))
