"""Pictures a second of the fast method beside the optimisation, and how near either comes to content and style.

    python -m tools.benchmarks.fast [--size 96] [--batches 16 64] [--steps 60]

Contents and styles that the fast network did not see in training: the photo `coffee`, the paintings `gilded` and
`marbling`.
"""

import argparse

import torch

import d2lstyle as ds
from d2lstyle.images import resize

from . import machine, measured_seconds

STYLES = ("gilded", "marbling")


def main():
    """Measure and print both tables."""
    options = _options()
    net = ds.backbone("efficientnet_lite0")
    print(machine())
    print(f"\n{f'{options.size} px, images/s':22}" + "".join(f"{f'B = {batch}':>12}" for batch in options.batches))
    style = ds.painting(STYLES[0], options.size)
    speeds = {name: [] for name in ("fast", f"{options.steps} steps")}
    for batch in options.batches:
        contents = crops(options.size, batch)
        calls = [lambda: ds.fast_stylize(contents, style, net=net), lambda: optimised(contents, style, net, options)]
        for name, call, rounds in zip(speeds, calls, (5, 1)):
            speeds[name].append(batch / measured_seconds(call, steps=rounds))
    for name, values in speeds.items():
        print(f"{name:22}" + "".join(f"{value:>12.2f}" for value in values))
    print(f"{'times as fast':22}" + "".join(f"{a / b:>11.0f}x" for a, b in zip(*speeds.values())))
    print(
        f"\n{'mean of 8 crops':22}{'style':>12}{'content':>12}   distance to the style, and of features to the photo's"
    )
    for name in STYLES:
        print_quality(name, net, options)


def print_quality(name, net, options):
    """One line a method for one style."""
    contents, style = crops(options.size, 8), ds.painting(name, options.size)
    images = {
        "photo": contents,
        "fast": ds.fast_stylize(contents, style, net=net),
        f"{options.steps} steps": optimised(contents, style, net, options),
    }
    (layer,) = net.content_layers
    with torch.no_grad():
        kept = net(contents, [layer])[layer]
        for method, image in images.items():
            content = ds.content_loss(net(image, [layer])[layer], kept, "relative").mean()
            print(f"{f'{name}, {method}':22}{ds.style_distance(net, image, style).mean():>12.3f}{content:>12.3f}")


def optimised(contents, style, net, options):
    """The pictures that `stylize` finds at one size."""
    return ds.stylize(contents, style, net=net, sizes=[options.size], steps=options.steps).image


def crops(size, count):
    """Square pieces of a photo, all different."""
    photo = resize(ds.sample("coffee"), 4 * size)
    height, width = photo.shape[2:]
    corners = [(37 * i % (height - size), 53 * i % (width - size)) for i in range(count)]
    return torch.cat([photo[:, :, top : top + size, left : left + size] for top, left in corners])


def _options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=96, help="pixels of each side")
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 64], help="images at once")
    parser.add_argument("--steps", type=int, default=60, help="of the optimisation")
    return parser.parse_args()


if __name__ == "__main__":
    main()
