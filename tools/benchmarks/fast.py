"""The fast method: how near it comes to styles and contents, images a second, and seconds of `fit` with RandomStyle.

    python -m tools.benchmarks.fast [--sizes 96 256 512] [--styles ...] [--contents ...] [--steps 0] [--sheet FILE]

Beside it: onnxruntime with the network as it was published, which takes 384 pixels and no other size, and with --steps
the optimisation by VGG-19, which takes minutes a row. The sheet shows the pictures of the last size.
"""

import argparse
from functools import partial
from pathlib import Path

import onnxruntime
import torch
from tqdm import tqdm

import d2lstyle as ds
from d2lstyle.fast.painting import StyleBank
from d2lstyle.images import resize
from tools.magenta import onnx_file

from . import machine, measured_seconds

CONTENTS = ("coffee", "china", "chelsea", "astronaut", "rocket", "hopper")
PAINTINGS = ("gilded", "marbling", "watercolour", "engraving", "mosaic")
STYLES = (*PAINTINGS, "brick", "flower", "galaxies")
WHOLE = ("coffee", "brick")  # of the others the right half
PUBLISHED = 384  # pixels, of the network as published
BATCHES = {96: 32, 256: 8, 384: 4, 512: 2}  # images at once, for the speed


def square(name, size):
    """(1, 3, size, size): the largest square at the left edge of a photo's right half, or amid a whole photo."""
    photo = ds.sample(name)
    height, width = photo.shape[2:]
    if name not in WHOLE:
        photo = photo[..., width // 2 :]
    side = min(photo.shape[2:])
    left = (width - side) // 2 if name in WHOLE else 0
    top = (height - side) // 2
    return resize(photo[..., top : top + side, left : left + side], (size, size))


def style_picture(name, size):
    """(1, 3, size, size)"""
    return ds.painting(name, (size, size), seed=77) if name in PAINTINGS else square(name, size)


def distances(net, painted, style, kept):
    """(B,) VGG-19's distance to the style, and (B,) to the content's features `kept`, relative."""
    (layer,) = net.content_layers
    with torch.no_grad():
        content = ds.content_loss(net(painted, [layer])[layer], kept, "relative")
        return ds.style_distance(net, painted, style), content


def main():
    """Measure and print."""
    options = _options()
    net = ds.backbone("vgg19")
    print(machine())
    print(f"\nmean of {len(options.contents)} photos x {len(options.styles)} styles")
    print("by VGG-19: distance to the style, of features to the photo's, and what `stylize` minimises of both")
    print(f"{'':22}{'style':>10}{'content':>10}{'weighted':>10}")
    for size in options.sizes:
        print_quality(net, size, options)
    print(f"\n{'images/s':22}{'fast':>10}{'onnxruntime':>14}")
    for size in options.sizes if PUBLISHED in options.sizes else (*options.sizes, PUBLISHED):
        print_speed(size, options.rounds)
    print_epochs(options)


def print_quality(net, size, options):
    """A line for each way to paint, over all pairs."""
    contents = torch.cat([square(name, size) for name in options.contents])
    (layer,) = net.content_layers
    with torch.no_grad():
        kept = net(contents, [layer])[layer]
    ways = {"photo": [], "fast": []} | ({f"{options.steps} steps": []} if options.steps else {})
    rows = [torch.cat((torch.ones(1, 3, size, size), contents))]
    for name in tqdm(options.styles, desc=f"{size} px", leave=False):
        large, style = style_picture(name, 512), style_picture(name, size)
        painted = [contents, ds.fast_stylize(contents, large)]
        if options.steps:
            painted.append(ds.stylize(contents, large, net=net, steps=options.steps).image)
        for values, images in zip(ways.values(), painted):
            values.append(torch.stack(distances(net, images, style, kept)))
        rows += [torch.cat((style, images)) for images in painted[1:]]
    for way, values in ways.items():
        style, content = torch.cat(values, dim=1).mean(1).tolist()
        print(f"{f'{size} px, {way}':22}{style:>10.3f}{content:>10.3f}{content + net.style_weight * style:>10.3f}")
    if options.sheet and size == options.sizes[-1]:
        ds.write_image(torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)[None], options.sheet)


def print_speed(size, rounds):
    """Images a second in a batch; the style's code is known, as in `RandomStyle`."""
    many = BATCHES.get(size, 1)
    contents = torch.cat([square(CONTENTS[i % len(CONTENTS)], size) for i in range(many)])
    style = style_picture("gilded", 256)
    bank, weights, alpha = StyleBank([style]), torch.ones(1, 1), torch.ones(many)
    line = f"{many / measured_seconds(lambda: bank.paint(contents, weights, alpha), steps=rounds):>10.1f}"
    if size == PUBLISHED:
        line += f"{1 / measured_seconds(_published(contents[:1], style), steps=rounds):>14.1f}"
    print(f"{f'{size} px, B = {many}':22}{line}")


def _published(content, style):
    """A call that paints by onnxruntime; a picture at a time, as the published network takes it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    reader, painter = (onnxruntime.InferenceSession(onnx_file(name), options) for name in ("predict", "transform"))
    (code,) = reader.run(None, {"style_image": resize(style, (256, 256)).permute(0, 2, 3, 1).numpy()})
    inputs = dict(zip([entry.name for entry in painter.get_inputs()], (content.permute(0, 2, 3, 1).numpy(), code)))
    return lambda: painter.run(None, inputs)


def print_epochs(options):
    """Seconds an epoch of fine-tuning with and without the painter."""
    n, size = options.images, options.train_size
    images = torch.cat([square(CONTENTS[i % len(CONTENTS)], size) for i in range(n)])
    print(f"\n{f'fit, {n} photos of {size} px':34}{'s an epoch':>12}")
    classical = [ds.RandomResizedCrop(size), ds.RandomHorizontalFlip(), ds.ColorJitter(0.5, 0.5, 0.5)]
    chains = {"classical": classical, "RandomStyle(0.5), classical": [ds.RandomStyle(0.5), *classical]}
    for name, chain in chains.items():
        model, augment = ds.replace_head(ds.backbone("efficientnet_lite0"), 2), ds.Compose(chain)
        labels = [i % 2 for i in range(n)]
        epoch = partial(ds.fit, model, (images, labels), epochs=1, augment=augment)
        print(f"{name:34}{measured_seconds(epoch, steps=options.rounds):>12.2f}")


def _options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[96, 256, 512], help="pixels of each side")
    parser.add_argument("--contents", nargs="+", default=CONTENTS, choices=CONTENTS)
    parser.add_argument("--styles", nargs="+", default=STYLES, choices=STYLES)
    parser.add_argument("--steps", type=int, default=0, help="of the optimisation beside it; 0 leaves it out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=256, help="of the training")
    parser.add_argument("--train-size", type=int, default=96, help="pixels of the training")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="draw the pictures of the last size")
    return parser.parse_args()


if __name__ == "__main__":
    main()
