"""Seconds until `stylize` has the loss that PyTorch's tutorial has after 300 L-BFGS steps, and what bf16 costs.

    python -m tools.benchmarks.convergence --size 512

All minimise the tutorial's loss, which a judge takes in fp32 from the image as it would be saved, outside the clock.
The goal is the tutorial's lowest loss on its way, since L-BFGS without a line search may end above it.
"""

import argparse
import time

import torch

import d2lstyle as ds
from d2lstyle.images import resize

from . import machine, tutorial
from .transfer import CONTENT_LAYER, STYLE_LAYERS

WAYS = {
    "coarse to fine, L-BFGS, auto": {},
    "coarse to fine, L-BFGS, fp32": {"precision": "fp32"},
    "coarse to fine, Adam, auto": {"optimizer": "adam"},
    "one size, L-BFGS, auto": {},
    "one size, Adam, auto": {"optimizer": "adam"},
}
PAIRS = (("china", "starry"), ("chelsea", "mosaic"), ("coffee", "water_lilies"))
PATIENCE = 3  # a way is left when it has had so much of the tutorial's time: 1/3


def main():
    """Run the tutorial, then each way to go after its loss, and print the table."""
    options = _options()
    net = ds.backbone("vgg19")
    content, style = pictures(options.size)
    content, style = content.to(net.mean), style.to(net.mean)
    judge = tutorial.objective(net, content, style, CONTENT_LAYER, STYLE_LAYERS)
    print(f"{options.size} x {options.size} pixels, {net.name}, {machine()}", flush=True)

    seconds, losses = run_tutorial(net, content, style, options.steps)
    goal = min(losses)
    print(
        f"tutorial: {seconds:.1f} s for {len(losses)} steps, loss {losses[-1]:.4g} at the end, "
        f"{goal:.4g} at its lowest (step {losses.index(goal)})",
        flush=True,
    )
    print(f"{'to that loss with':38} {'seconds':>8} {'faster':>8} {'steps at shown size'}", flush=True)
    sizes = [options.size // 2**i for i in range(len(options.coarse), -1, -1)]
    for way in options.way or WAYS:
        settings = WAYS[way] | ({"sizes": [options.size]} if way.startswith("one size") else {"sizes": sizes})
        print(row(way, Race(judge, goal, seconds, content), net, content, style, settings, options.coarse), flush=True)
    print(cost_of_bf16(net, min(options.size, 256), min(options.steps, 100)), flush=True)


def pictures(size, photo="china", painting="starry"):
    """A square photo and a painting of one size."""
    content = ds.sample(photo)
    side = min(content.shape[2:])
    return resize(content[:, :, :side, :side], (size, size)), ds.painting(painting, size=size)


def run_tutorial(net, content, style, steps):
    """Its seconds, and its loss at each step."""
    step = tutorial.steps(net, content, style, CONTENT_LAYER, STYLE_LAYERS)
    began = time.perf_counter()
    losses = [step().item() for _ in range(steps)]
    return time.perf_counter() - began, losses


class Race:
    """A callback that judges each image of the last size, and ends the run at the goal, or when it has had its time."""

    def __init__(self, judge, goal, tutorial_seconds, content):
        self.judge, self.goal, self.tutorial_seconds, self.size = (
            judge,
            goal,
            tutorial_seconds,
            tuple(content.shape[2:]),
        )
        self.device = content.device
        self.judging, self.lowest, self.seconds = 0, float("inf"), 0

    def __call__(self, step):
        began = time.perf_counter()
        self.seconds = step.seconds - self.judging
        if step.size == self.size:
            with torch.no_grad():
                self.lowest = min(self.lowest, self.judge(step.image.to(self.device)).item())
        self.judging += time.perf_counter() - began
        if self.lowest <= self.goal or self.seconds > self.tutorial_seconds / PATIENCE:
            raise KeyboardInterrupt


def row(name, race, net, content, style, settings, coarse):
    """Run one way until it has the goal's loss."""
    steps = [*coarse, 2000] if len(settings["sizes"]) > 1 else [2000]
    settings = settings | tutorials_settings()
    history = ds.stylize(content, style, net=net, steps=steps, callback=race, **settings).history
    counts = " + ".join(str(sum(max(step.size) == size for step in history)) for size in settings["sizes"])
    if race.lowest > race.goal:
        return f"{name:38} not within {race.seconds:.0f} s: {race.lowest:.4g} after {counts}"
    return f"{name:38} {race.seconds:8.1f} {race.tutorial_seconds / race.seconds:7.1f}x {counts}"


def tutorials_settings():
    """The tutorial's loss in terms of `stylize`."""
    return {
        "convention": "d2l",
        "content_weight": 1,
        "style_weight": tutorial.STYLE_WEIGHT,
        "tv_weight": 0,
        "content_layers": [CONTENT_LAYER],
        "style_layers": STYLE_LAYERS,
        "layer_weights": dict.fromkeys(STYLE_LAYERS, 1),
    }


def cost_of_bf16(net, size, steps):
    """How much higher the loss of `stylize`, all defaults, ends in bf16 than in fp32, each judged in fp32."""
    costs = []
    for photo, painting in PAIRS:
        content, style = resize(ds.sample(photo), size), ds.painting(painting, size=size)
        single, half = (
            judged(net, content, style, ds.stylize(content, style, net=net, steps=steps, precision=precision).image)
            for precision in ("fp32", "bf16")
        )
        costs.append(half / single - 1)
    shown = ", ".join(f"{cost:+.1%}" for cost in costs)
    mean = sum(costs) / len(costs)
    return f"{steps} steps with all defaults, judged in fp32: bf16 ends {mean:+.1%} above fp32 ({shown})"


def judged(net, content, style, image):
    """The default loss of an image, by the published functions in fp32."""
    layers = [*net.content_layers, *net.style_layers]
    with torch.no_grad():
        features, of_content, of_style = (net(picture.to(net.mean), layers) for picture in (image, content, style))
        terms = [ds.content_loss(features[layer], of_content[layer], "relative") for layer in net.content_layers]
        for layer in net.style_layers:
            positions = features[layer][0, 0].numel()
            target = ds.gram(of_style[layer]) / of_style[layer][0, 0].numel() * positions
            error = ds.style_layer_loss(ds.gram(features[layer]), target, positions, "relative")
            terms.append(net.style_weight / len(net.style_layers) * error)
        terms.append(2 * ds.total_variation(image.to(net.mean), "d2l"))
    return sum(terms).item()


def _options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=512, help="pixels of each side")
    parser.add_argument("--steps", type=int, default=300, help="of the tutorial")
    parser.add_argument(
        "--coarse",
        type=int,
        nargs="+",
        default=[60, 60, 60],
        help="steps at the sizes before the last, each half of the next",
    )
    parser.add_argument("--way", action="append", choices=WAYS, help="may be repeated; all by default")
    return parser.parse_args()


if __name__ == "__main__":
    main()
