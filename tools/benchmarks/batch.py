"""Images a second of `stylize` against the number of small images taken at once.

    python -m tools.benchmarks.batch [--sizes 64 96 128] [--batches 1 4 16 64]

The embedded network, and VGG-19 with random weights (its speed does not depend on them). The time is that of a step; a
run of 100 steps takes 100 of them.
"""

import argparse
import statistics

import torch

import d2lstyle as ds
from d2lstyle.images import resize

from . import machine, step_seconds


def main():
    """Measure and print one table a network."""
    options = _options()
    print(machine())
    for name in options.nets:
        net = ds.backbone(name)
        print(f"\n{name:20}" + "".join(f"{f'B = {batch}':>16}" for batch in options.batches))
        for size in options.sizes:
            times = interleaved(net, size, options.batches, options.rounds)
            single = times[options.batches[0]] / options.batches[0]
            cells = [f"{batch / seconds:7.1f} ({single * batch / seconds:4.2f}x)" for batch, seconds in times.items()]
            print(f"{f'{size} px, image steps/s':20}" + "".join(f"{cell:>16}" for cell in cells), flush=True)


def interleaved(net, size, batches, rounds):
    """{batch: median seconds a step}, each batch measured in turn, several times."""
    times = {batch: [] for batch in batches}
    for _ in range(rounds):
        for batch in batches:
            times[batch].append(batch_seconds(net, size, batch))
    return {batch: statistics.median(seconds) for batch, seconds in times.items()}


def batch_seconds(net, size, batch):
    """Seconds of a step of `stylize` on `batch` images."""
    contents, style = photos(size, batch), ds.painting("starry", size=size)
    return step_seconds(contents, style, net=net)


def photos(size, batch):
    """Square crops of an embedded photo, all different."""
    photo = resize(ds.sample("china"), 4 * size)
    generator = torch.Generator().manual_seed(0)
    corners = [
        [int(torch.randint(side - size + 1, (1,), generator=generator)) for side in photo.shape[2:]]
        for _ in range(batch)
    ]
    return torch.cat([photo[:, :, top : top + size, left : left + size] for top, left in corners])


def _options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 96, 128], help="pixels of each side")
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[1, 4, 16, 64], help="images at once; ratios are to the first"
    )
    parser.add_argument("--nets", nargs="+", default=["efficientnet_lite0", "vgg19"], help="backbones")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured, in turn")
    return parser.parse_args()


if __name__ == "__main__":
    main()
