"""How much longer a peer takes to the loss that `stylize` has after 100 and 300 steps: its own loss, same weights.

    python -m tools.benchmarks.race --size 256 --steps 100 300 --peer pastiche

The peer's objective is set up in `stylize` by published numbers, and its own code judges the final image, outside the
clock. The two take turns, `--rounds` times each; a peer is left when it has had `--patience` times our seconds.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

import d2lstyle as ds
from d2lstyle.engine.networks import OXFORD_STD

from . import machine, tutorial
from .convergence import pictures, tutorials_settings
from .transfer import CONTENT_LAYER, STYLE_LAYERS

SCALE = 255 * OXFORD_STD  # of pastiche's features over ours


class Pastiche:
    """The program whose weights these are: L-BFGS on pixels of 0-255, no bounds."""

    settings = {  # its 0.01 and 10 / channels^2, and Grams by position, in the terms of "d2l"
        "convention": "d2l",
        "content_weight": 0.01 * SCALE**2,
        "style_weight": 50 * SCALE**4,
        "tv_weight": 0,
    }

    def __init__(self, net, content, style):
        from pastiche.pastiche import VGG_MEAN, PasticheArtist

        self.mean = torch.tensor(VGG_MEAN).view(3, 1, 1).to(net.mean)
        with tempfile.TemporaryDirectory() as folder:
            files = [str(Path(folder, name)) for name in ("content.png", "style.png")]
            for picture, file in zip((content, style), files):
                ds.write_image(picture, file)
            self.artist = PasticheArtist(files[0], files[1:], device=str(net.mean.device))

    def step(self):
        """Make one step; the loss before it."""
        self.artist.draw()
        return self.artist.loss

    def judge(self, image):
        """Its loss of an image (1, 3, H, W) in [0, 1]."""
        own = self.artist.pastiche
        self.artist.pastiche = (image.flip(1) * 255 - self.mean).to(own)
        with torch.no_grad():
            loss = self.artist._calc_loss().item()
        self.artist.pastiche = own
        return loss


class Tutorial:
    """The method of PyTorch's tutorial, see `tutorial`."""

    settings = tutorials_settings()

    def __init__(self, net, content, style):
        setting = net, content.to(net.mean), style.to(net.mean), CONTENT_LAYER, STYLE_LAYERS
        self.objective, self.next = tutorial.objective(*setting), tutorial.steps(*setting)

    def step(self):
        """Make one step; the loss before it."""
        return self.next().item()

    def judge(self, image):
        """Its loss of an image (1, 3, H, W) in [0, 1]."""
        with torch.no_grad():
            return self.objective(image).item()


PEERS = {"pastiche": Pastiche, "tutorial": Tutorial}


def main():
    """Race and print a row for each peer, picture and number of steps."""
    options = _options()
    net = ds.backbone("vgg19")
    print(f"{options.size} x {options.size} pixels, {options.rounds} rounds, {machine()}", flush=True)
    print(f"{'':34} {'steps':>5} {'loss':>9} {'ours, s':>8} {'peer, s':>8} {'its steps':>9} {'faster':>8}")
    for peer in options.peer or PEERS:
        for photo, painting in options.pair:
            content, style = pictures(options.size, photo, painting)
            for steps in options.steps:
                rounds = [
                    race(PEERS[peer], net, content, style, steps, options.patience) for _ in range(options.rounds)
                ]
                print(row(f"{peer}: {photo}, {painting}", steps, rounds), flush=True)


def race(peer, net, content, style, steps, patience):
    """(our loss, our seconds, the peer's seconds, its steps to that loss or None if it was left) in one round."""
    other = peer(net, content, style)
    ours = ds.stylize(content, style, net=net, steps=steps, **other.settings)
    goal, seconds, made = other.judge(ours.image.to(net.mean)), 0, 0
    while seconds < patience * ours.seconds:
        began = time.perf_counter()
        loss = other.step()
        if loss <= goal:  # that of the image before this step
            return goal, ours.seconds, seconds, made
        seconds, made = seconds + time.perf_counter() - began, made + 1
    return goal, ours.seconds, seconds, None


def row(name, steps, rounds):
    """One line of the table: medians over rounds."""
    goal, ours, theirs = (statistics.median(values) for values in list(zip(*rounds))[:3])
    made = [of_round[3] for of_round in rounds]
    over, its_steps = (">", "left") if None in made else ("", f"{statistics.median(made):.0f}")
    shown = f"{over}{theirs:.1f}", f"{over}{theirs / ours:.1f}x"
    return f"{name:34} {steps:5} {goal:9.4g} {ours:8.1f} {shown[0]:>8} {its_steps:>9} {shown[1]:>8}"


def _options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256, help="pixels of each side")
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 300], help="of stylize")
    parser.add_argument("--peer", action="append", choices=PEERS, help="may be repeated; both by default")
    parser.add_argument("--pair", nargs=2, action="append", help="photo and painting; may be repeated: china starry")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--patience", type=float, default=12)
    options = parser.parse_args()
    options.pair = options.pair or [("china", "starry")]
    return options


if __name__ == "__main__":
    main()
