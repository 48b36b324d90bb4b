"""How often the experiment's 95 % intervals hold the true difference, and how wide they are beside a bootstrap's.

    python -m tools.benchmarks.coverage --repeats 10000

Right and wrong answers are drawn from a probit model, of which the true accuracies are known exactly: an answer is
right with the probability Phi(sum of normal effects of seeds, images, and both together, shared by the arms or not).
"""

import argparse
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

from d2lstyle.experiment.intervals import two_way_t


class Case(NamedTuple):
    """A test of arms at seeds; what is not a count or an accuracy is a standard deviation (the noise has 1)."""

    accuracies: tuple = (0.6, 0.6)  # of the arms; with two, the first minus the second is asked
    images: int = 600
    seed: float = 0.2  # shared by the arms
    image: float = 1.5
    cell: float = 0.5  # of seed and image together
    arm_seed: float = 0.0  # of an arm's own
    arm_image: float = 0.0
    arm_class: float = 0.0  # of arm, seed and one of ten classes, such as a class that one run mistakes for another
    answers: int = 1  # averaged in a cell of the table: corruptions of an image, or numbers of training photos


CASES = {
    "neither rules": Case(),
    "neither rules, .97": Case((0.97, 0.97)),
    "neither rules, .95 and .97, 341 images": Case((0.95, 0.97), 341, image=1.0),
    "seeds rule": Case(arm_seed=0.3),
    "seeds rule, .3 and .45": Case((0.3, 0.45), seed=0.5, arm_seed=0.6),
    "seeds rule, .97 and .9": Case((0.97, 0.9), arm_seed=0.4),
    "seeds rule by class, .4": Case((0.4, 0.4), arm_class=0.8),
    "images rule": Case(arm_image=0.6),
    "images rule, .3 and .35, 341 images": Case((0.3, 0.35), 341, arm_image=1.0),
    "images rule, .97": Case((0.97, 0.97), arm_image=1.0),
    "both rule": Case(arm_seed=0.1, arm_image=0.4),
    "both rule, .85 and .9, 341 images": Case((0.85, 0.9), 341, arm_seed=0.15, arm_image=0.5),
    "both rule, interaction of four arms": Case((0.6, 0.5, 0.55, 0.5), arm_seed=0.1, arm_image=0.4),
    "eighths, neither rules": Case((0.7, 0.7), 341, answers=8),
    "eighths, both rule": Case((0.5, 0.55), 341, arm_seed=0.1, arm_image=0.3, answers=8),
    "thirds, seeds rule": Case((0.55, 0.6), 400, arm_seed=0.2, arm_image=0.2, answers=3),
}
SIGNS = {2: (1, -1), 4: (1, -1, -1, 1)}


def draw(case, seeds, rng):
    """A table of differences, (seeds, images)."""
    arms, images = len(case.accuracies), case.images
    shapes = {"seed": (1, seeds, 1), "image": (1, 1, images), "cell": (1, seeds, images)}
    shapes |= {"arm_seed": (arms, seeds, 1), "arm_image": (arms, 1, images), "arm_class": (arms, seeds, 10)}
    effects = {name: getattr(case, name) * rng.standard_normal(shape) for name, shape in shapes.items()}
    effects["arm_class"] = effects["arm_class"][:, :, np.arange(images) % 10]
    spread = (1 + sum(getattr(case, name) ** 2 for name in shapes)) ** 0.5
    middle = spread * ndtri(np.array(case.accuracies))[:, None, None]
    chance = ndtr(middle + sum(effects.values()))
    right = (rng.random((case.answers, *chance.shape)) < chance).mean(0)
    return np.tensordot(SIGNS[arms], right, 1)


def truth(case):
    """The difference between the accuracies of all seeds on all images."""
    return float(np.dot(SIGNS[len(case.accuracies)], case.accuracies))


def held(case, seeds, repeats, interval, seed=0):
    """The fraction of tables whose `interval` holds the truth, and the mean width."""
    rng, goal = np.random.default_rng(seed), truth(case)
    ends = np.array([interval(draw(case, seeds, rng))[1:3] for _ in range(repeats)])
    return ((ends[:, 0] <= goal) & (goal <= ends[:, 1])).mean(), (ends[:, 1] - ends[:, 0]).mean()


def pigeonhole(table, repeats=1000, seed=0):
    """Percentiles of means of resampled rows and columns: the way that `two_way_t` replaced."""
    rng, (seeds, images) = np.random.default_rng(seed), table.shape
    rows, columns = (rng.multinomial(n, np.full(n, 1 / n), repeats) for n in (seeds, images))
    means = ((rows @ table) * columns).sum(1) / table.size
    return table.mean(), *np.quantile(means, [0.025, 0.975])


def main():
    """Print a row for each case and number of seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10_000, help="tables a case; of the bootstrap a twentieth")
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 5, 20])
    options = parser.parse_args()
    for seeds in options.seeds:
        print(f"{f'{seeds} seeds':42} {'holds':>6} {'width':>6} {'bootstrap holds':>16} {'width':>6}", flush=True)
        for name, case in CASES.items():
            ours = held(case, seeds, options.repeats, two_way_t)
            theirs = held(case, seeds, max(2, options.repeats // 20), pigeonhole)
            print(f"{name:42} {ours[0]:6.3f} {ours[1]:6.3f} {theirs[0]:16.2f} {theirs[1]:6.3f}", flush=True)


if __name__ == "__main__":
    main()
