"""Seconds a step of `stylize`, of its peers, and of the bare convolutions on this machine.

    python -m tools.benchmarks.transfer --size 256 --rounds 5 [--peer tutorial --peer pystiche] [--threads 1]

All run VGG-19 with the same weights, five style layers and one content layer, interleaved in one process. The
limit is the time of the network's convolutions alone, forward and the gradient of their input, in the best layout.
"""

import argparse
import statistics

import torch
import torch.nn.functional as F

import d2lstyle as ds
from d2lstyle.engine import graphs
from d2lstyle.engine.graphs import Repeated

from . import machine, measured_seconds, step_seconds
from .peers import PEERS

STYLE_LAYERS = ["conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"]
CONTENT_LAYER = "conv4_2"
WARM_UP, STEPS = 2, 4


def main():
    """Measure and print the table."""
    options = _options()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    net = ds.backbone("vgg19")
    shape = (options.size, options.size)
    content, style = (torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    content, style = content.to(net.mean), style.to(net.mean)
    entries = {
        "d2lstyle, auto": lambda: our_step(net, content, style, "auto"),
        "d2lstyle, fp32": lambda: our_step(net, content, style, "fp32"),
        **{name: lambda name=name: peer_step(name, net, content, style) for name in options.peer or PEERS},
        "convolutions, bf16": lambda: convolutions(net, content, torch.bfloat16),
        "convolutions, fp32": lambda: convolutions(net, content, torch.float32),
    }
    times = {name: [] for name in entries}
    for _ in range(options.rounds):
        for name, measure in entries.items():
            times[name].append(measure())
    print_table({name: statistics.median(seconds) for name, seconds in times.items()}, options)


def peer_step(name, net, content, style):
    """Median seconds of a peer's step."""
    try:
        step = PEERS[name](net, content, style, CONTENT_LAYER, STYLE_LAYERS)
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"the peer {name} is not installed ({error}): pip install -e '.[peers]', or --peer tutorial --peer d2l"
        ) from None
    return measured_seconds(step, WARM_UP, STEPS)


def our_step(net, content, style, precision):
    """Seconds of a step of `stylize` at one size."""
    layers = {"content_layers": [CONTENT_LAYER], "style_layers": STYLE_LAYERS}
    return step_seconds(content, style, net=net, precision=precision, **layers)


def convolutions(net, content, dtype):
    """Seconds that the convolutions of one step take when nothing else is done; on CUDA they are one graph."""
    names = net.layers[: net.layers.index(STYLE_LAYERS[-1]) + 1]
    inputs = [content, *net(content, names).values()]  # what each module of the chain reads
    steps = [
        _convolution(module, x, dtype)
        for module, x in zip(net.model.features, inputs[:-1])
        if isinstance(module, torch.nn.Conv2d)
    ]
    all_steps = Repeated(lambda: [step() for step in steps], content.device, graphs.LEAST)
    return measured_seconds(all_steps, graphs.WARM_UP + 1, STEPS)


def _convolution(module, x, dtype):
    x = x.to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
    weight = module.weight.to(dtype).contiguous(memory_format=torch.channels_last)
    gradient = torch.ones_like(F.conv2d(x, weight, padding=1))

    def step():
        y = F.conv2d(x, weight, padding=1)
        torch.autograd.grad(y, x, gradient)

    return step


def print_table(medians, options):
    """One row a program: seconds, how many times as fast `stylize` is, and how far it is from the machine's limit."""
    print(f"{options.size} x {options.size} pixels, {options.rounds} rounds, {machine()}")
    auto, fp32 = medians["d2lstyle, auto"], medians["d2lstyle, fp32"]
    print(f"{'':20} {'s / step':>9} {'auto is':>9} {'fp32 is':>9} {'/ bf16 limit':>13} {'/ fp32 limit':>13}")
    for name, median in medians.items():
        limits = [median / medians[f"convolutions, {kind}"] for kind in ("bf16", "fp32")]
        print(
            f"{name:20} {median:9.4f} {median / auto:8.2f}x {median / fp32:8.2f}x {limits[0]:12.2f}x {limits[1]:12.2f}x"
        )


def _options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256, help="pixels of each side")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured, in turn")
    parser.add_argument("--peer", action="append", choices=PEERS, help="may be repeated; all by default")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads; all by default")
    return parser.parse_args()


if __name__ == "__main__":
    main()
