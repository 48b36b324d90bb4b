"""Peak memory of a run, each in a process of its own: how much an image of a megapixel needs.

    python -m tools.benchmarks.memory [--megapixels 0.25 1]

VGG-19, the layers of `tools.benchmarks.transfer`.
"""

import argparse
import multiprocessing
import resource

import torch

import d2lstyle as ds

from . import machine, tutorial
from .transfer import CONTENT_LAYER, STYLE_LAYERS

STEPS = 12  # so many that L-BFGS has filled most of its history
GIB = 2**30


def main():
    """Measure and print the table."""
    options = _options()
    print(
        f"{machine()}\n{'':16} {'megapixels':>10} {'whole process':>14} {'of it the run':>14} {'run / megapixel':>16}"
    )
    for megapixels in options.megapixels:
        side = round((megapixels * 1e6) ** 0.5)
        for program in ("d2lstyle, auto", "d2lstyle, fp32", "tutorial"):
            before, peak = in_own_process(program, side)
            run = peak - before
            sizes = f"{peak / GIB:10.2f} GiB {run / GIB:10.2f} GiB {run / GIB / megapixels:12.2f} GiB"
            print(f"{program:16} {megapixels:10.2f} {sizes}", flush=True)


def in_own_process(program, side):
    """(bytes before the run, bytes at the peak)."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measured, (program, side))


def measured(program, side):
    """The same in this process, whose peak on a CPU is that of all that it ever did."""
    net = ds.backbone("vgg19")
    content, style = (torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    content, style = content.to(net.mean), style.to(net.mean)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    before = _peak()
    if program == "tutorial":
        step = tutorial.steps(net, content, style, CONTENT_LAYER, STYLE_LAYERS)
        for _ in range(STEPS):
            step()
    else:
        ds.stylize(
            content,
            style,
            net=net,
            sizes=[side],
            steps=STEPS,
            precision=program.split(", ")[1],
            content_layers=[CONTENT_LAYER],
            style_layers=STYLE_LAYERS,
        )
    return before, _peak()


def _peak():
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megapixels", type=float, nargs="+", default=[0.25, 1.0], help="of the image")
    return parser.parse_args()


if __name__ == "__main__":
    main()
