"""Images a second of d2lstyle's augmentations and of their peers, side by side.

    GOMP_SPINCOUNT=1000 python -m tools.benchmarks.augment [--batch 256] [--sizes 96 224] [--rounds 5] [--device cuda]

    ours                   one call a batch, parameters drawn for each image
    torchvision, per image torchvision.transforms.v2, one call an image, which is how it draws parameters for each
    torchvision, batch     the same with one call, one draw, for the whole batch
    Kornia                 kornia.augmentation, one call a batch, parameters for each image

All take float32 images and give them in the same size. "chain" is a random crop resized, a horizontal flip, and a
jitter of brightness, contrast, saturation and hue by 0.5 each, as in the book of lecture 15; the other rows are its
members and each kind of jitter alone. Ratios are how many times as fast ours is, each the median over rounds in which
all were run in turn. Kornia's crop is resampled without antialiasing, which it does not offer.
"""

import argparse
import statistics

import torch
from torchvision.transforms import v2

import d2lstyle as ours

from . import machine, measured_seconds

try:
    import kornia.augmentation as kornia
except ImportError:  # the extra `peers`
    kornia = None

PEERS = ("torchvision, per image", "torchvision, batch", "Kornia")
JITTERS = {
    "brightness": {"brightness": 0.5},
    "contrast": {"contrast": 0.5},
    "saturation": {"saturation": 0.5},
    "hue": {"hue": 0.5},
    "jitter": {"brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 0.5},
}
CHAIN = ("resized crop", "horizontal flip", "jitter")
ROWS = ("chain", "resized crop", "horizontal flip", "vertical flip", *JITTERS, "lighting")


def main(arguments=None):
    """Measure and print one table a size."""
    options = _options(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    print(machine())
    for size in options.sizes:
        images = torch.rand(options.batch, 3, size, size, generator=torch.Generator().manual_seed(0))
        images = images.to(options.device)
        print(f"\n{f'{options.batch} x {size} px, images/s':28}{'ours':>10}" + "".join(f"{name:>26}" for name in PEERS))
        for row in options.rows:
            print(_line(row, options.batch, interleaved(programs(row, size), images, options.rounds)), flush=True)


def programs(row, size):
    """{program: function of images} of one row; a program that has no such augmentation is left out."""
    if row == "lighting":
        return {"ours": ours.Lighting()}
    one = _program(row, size, v2, v2.Compose)
    programs = {"ours": _program(row, size, ours, ours.Compose)}
    programs |= {PEERS[0]: lambda images: torch.stack([one(image) for image in images]), PEERS[1]: one}
    if kornia:
        programs[PEERS[2]] = _program(row, size, kornia, lambda members: torch.nn.Sequential(*members), p=1.0)
    return programs


def interleaved(programs, images, rounds):
    """{program: seconds of each round}, all programs in turn."""
    times = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            times[name].append(measured_seconds(lambda: program(images), warm_up=1, steps=2))
    return times


def _line(row, batch, times):
    line = f"{row:28}"
    for name in ("ours", *PEERS):
        if name not in times:
            line += f"{'-':>26}"
            continue
        ratio = statistics.median(theirs / mine for theirs, mine in zip(times[name], times["ours"]))
        speed = f"{batch / statistics.median(times[name]):.0f}"
        line += f"{speed:>10}" if name == "ours" else f"{speed:>16} ({ratio:6.2f}x)"
    return line


def _program(row, size, library, compose, **always):
    """A row in one library: torchvision, Kornia and ours share the names of the classes."""
    if row == "chain":
        return compose([_program(member, size, library, compose, **always) for member in CHAIN])
    if row in JITTERS:
        return library.ColorJitter(**JITTERS[row], **always)
    if row == "resized crop":
        return library.RandomResizedCrop((size, size), **always)
    return {"horizontal flip": library.RandomHorizontalFlip, "vertical flip": library.RandomVerticalFlip}[row](p=0.5)


def _options(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=256, help="images in a batch")
    parser.add_argument("--sizes", type=int, nargs="+", default=[96, 224], help="pixels of each side")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS, help="augmentations to measure")
    parser.add_argument("--rounds", type=int, default=5, help="how often each program is measured, in turn")
    parser.add_argument("--device", default="cpu", help="where the images are")
    parser.add_argument("--threads", type=int, help="threads of torch (default: one a core)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
