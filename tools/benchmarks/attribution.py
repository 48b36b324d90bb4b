"""Patches a second of `occlusion` beside Captum's with a fixed number of patches a pass.

    python -m tools.benchmarks.attribution [--sizes 96 224] [--patches 1 8 64]

The embedded network, one photo, patches of a quarter of its side. All of them draw the same map.
"""

import argparse

import torch
from captum.attr import Occlusion

import d2lstyle as ds

from . import machine, measured_seconds


def main():
    """Measure and print one line a size."""
    options = _options()
    net = ds.backbone("efficientnet_lite0")
    print(machine())
    columns = ["d2lstyle", *(f"captum, {n} a pass" for n in options.patches)]
    print(f"\n{'patches/s':10}{'patches':>9}" + "".join(f"{name:>22}" for name in columns))
    for size in options.sizes:
        photo = ds.sample("chelsea", (size, size))
        window, stride = size // 4, size // 16
        target = net.logits(photo).argmax(1)
        n_patches = ((size - window) // stride + 1) ** 2
        calls = [lambda: ds.occlusion(net, photo, target, window=window, stride=stride)]
        calls += [lambda n=n: plain_occlusion(net, photo, target, window, stride, n) for n in options.patches]
        times = [measured_seconds(call, steps=options.rounds) for call in calls]
        cells = [f"{n_patches / seconds:.1f} ({seconds / times[0]:5.2f}x)" for seconds in times]
        print(f"{f'{size} px':10}{n_patches:>9}" + "".join(f"{cell:>22}" for cell in cells), flush=True)


@torch.no_grad()
def plain_occlusion(net, photo, target, window, stride, patches):
    """Captum on the network as it is."""
    return Occlusion(net.logits).attribute(
        photo, (3, window, window), (3, stride, stride), 0.5, target, perturbations_per_eval=patches
    )


def _options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[96, 224], help="pixels of each side")
    parser.add_argument("--patches", type=int, nargs="+", default=[1, 8, 64], help="of Captum, in one pass")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured")
    return parser.parse_args()


if __name__ == "__main__":
    main()
