"""What an experiment fixes before anything is measured."""

import hashlib
import json
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Plan:
    """What is fixed before anything is measured.

    Attributes:
        data: "vending", "cifar10", or a class folder; vending is tested in its three domains.
        seeds: how many runs of each arm; each fixes photos, their order, first weights and augmentation.
        per_class: numbers of training photos a class.
        models: "scratch", "fine-tuned".
        arms: names in `ARMS`.
        size: pixels of the square images trained on.
        paint_size: pixels at which copies are painted.
        copies: of each photo; each in another mixture of styles.
        p: probability that a copy stands in for its photo.
        styles: as for `stylize_folder`; none for all paintings.
        mixture, method, paint_steps: as for `stylize_folder`.
        strengths: of the paint, to choose from.
        preserved: part of the painted validation photos whose class the referee must tell.
        validation: photos a class for that.
        steps: of training, (from scratch, fine-tuned); batch: images a step; lr: the highest learning rates.
        frozen: lower stages of the pretrained network that are held still.
    """

    data: str = "vending"
    seeds: int = 10
    per_class: tuple = (5, 10, 20)
    models: tuple = ("scratch", "fine-tuned")
    arms: tuple = ("A", "B", "C", "D", "F", "G", "H", "E")
    size: int = 64
    paint_size: int = 96
    copies: int = 3
    p: float = 0.5
    styles: tuple = ()
    mixture: float = 0.2
    method: str = "optimise"
    paint_steps: int = 40
    strengths: tuple = (0.01, 0.03, 0.1, 0.3, 1.0)
    preserved: float = 0.9
    validation: int = 10
    steps: tuple = (200, 60)
    batch: int = 32
    lr: tuple = (3e-3, 3e-4)
    frozen: int = 5

    def recipe(self):
        """A digest of all that a row depends on, besides what names the row."""
        extent = {"seeds", "per_class", "models", "arms"}
        kept = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in extent}
        return hashlib.sha256(json.dumps(kept, default=str).encode()).hexdigest()[:16]
