"""What an experiment fixes before anything is measured, and the runs that follow from it."""

import hashlib
import json
from dataclasses import dataclass, fields

from ..backbones import MIN_SIDE
from ..engine import checks
from ..transfer import METHODS
from .arms import ARMS, MODELS


@dataclass(frozen=True)
class Plan:
    """What is fixed before anything is measured; `replace` of dataclasses makes another one.

    Raises:
        ValueError: a number is out of range, or an arm, a model or a method is not there or is named twice.
    """

    data: str = "vending"  # or "cifar10", or a class folder; vending is tested in its three domains
    seeds: int = 10  # runs of each arm; each has its own photos, order, first weights and augmentation
    per_class: tuple = (5, 10, 20)  # training photos a class
    models: tuple = ("scratch", "fine-tuned")
    arms: tuple = ("A", "B", "C", "D", "F", "G", "H", "E")  # names in `ARMS`
    size: int = 64  # sides of the square images trained on, in pixels
    paint_size: int = 96  # pixels at which copies are painted
    copies: int = 3  # of each photo, each in another mixture of styles
    p: float = 0.5  # probability that a copy stands in for its photo
    styles: tuple = ()  # as for `stylize_folder`; none for all paintings
    mixture: float = 0.2  # this, method and paint_steps: as for `stylize_folder`
    method: str = "optimise"
    paint_steps: int = 40
    strengths: tuple = (0.01, 0.03, 0.1, 0.3, 1.0)  # of the paint, to choose from
    preserved: float = 0.9  # part of the painted validation photos whose class the referee must tell
    validation: int = 10  # photos a class for that
    steps: tuple = (200, 60)  # of training: from scratch, fine-tuned
    batch: int = 32  # images a step
    lr: tuple = (3e-3, 3e-4)  # the highest learning rates: from scratch, fine-tuned
    frozen: int = 5  # lower stages of the pretrained network that are held still

    def __post_init__(self):
        for kind, names, known in (("arm", self.arms, ARMS), ("model", self.models, MODELS)):
            for name in names:
                checks.choice(kind, name, known)
        checks.choice("method", self.method, METHODS)
        for kind, values in (("arm", self.arms), ("model", self.models), ("number of photos", self.per_class)):
            if len(set(values)) < len(values):
                raise ValueError(f"expected each {kind} once, got {values}")
        if self.seeds < 1 or not self.per_class or min(self.per_class) < 1:
            raise ValueError(f"expected at least one seed and one photo a class, got {self.seeds} and {self.per_class}")
        if not 0 <= self.p <= 1:
            raise ValueError(f"expected p in [0, 1], got {self.p!r}")
        if min(self.size, self.paint_size) < MIN_SIDE:
            sides = f"{self.size} and {self.paint_size}"
            raise ValueError(f"expected size and paint_size of at least {MIN_SIDE} pixels, got {sides}")
        if min(self.copies, self.validation, self.batch, *self.steps) < 1 or not self.strengths:
            least = "one copy, one validation photo, one image a step, one step and one strength"
            raise ValueError(f"expected at least {least}")

    def recipe(self):
        """A digest of all in the plan that a row depends on, besides what names the row."""
        extent = {"seeds", "per_class", "models", "arms"}
        kept = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in extent}
        return hashlib.sha256(json.dumps(kept, default=str).encode()).hexdigest()[:16]

    def shows(self, kind):
        """Whether one of the arms shows copies of this kind."""
        return any(ARMS[arm].copies == kind for arm in self.arms)


QUICK = Plan(
    seeds=2,
    per_class=(10,),
    models=("fine-tuned",),
    arms=("A", "B", "C", "D"),
    copies=1,
    method="fast",
    strengths=(0.1, 0.3, 1.0),
    validation=5,
)


def runs(plan, sanity=False):
    """[(model, arm, per_class, seed)]: whole seeds one after another, in case the experiment is cut off; E comes last.

    Args:
        sanity: whether to add the runs that must be at chance or must equal another arm.
    """
    sizes, seeds = plan.per_class, range(plan.seeds)
    wanted = [(model, arm, n, seed) for seed in seeds for model in plan.models for n in sizes for arm in plan.arms]
    wanted.sort(key=lambda key: key[1] == "E")
    if sanity:
        middle = sorted(sizes)[len(sizes) // 2]
        wanted += [(model, "B, labels shuffled", middle, seed) for model in plan.models for seed in seeds]
        wanted += [(model, "D, p = 0", n, 0) for model in plan.models for n in sizes if "B" in plan.arms]  # its equal
    return wanted


def key_of(row):
    """Which run a row tells of: (model, arm, per_class, seed); None for each that is missing."""
    return tuple(row.get(name) for name in ("model", "arm", "per_class", "seed"))
