"""The `d2lstyle` command. Bad input ends in one sentence and exit status 2."""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer import Argument, Option

from .experiment.command import main as experiment

LIGHT = "efficientnet_lite0"  # quick enough for a folder of pictures
STOPPED = 130  # the exit status of a command that Ctrl-C ended

ORIGINAL, SIDE = "original", "PIXELS|original"


def _side(text):
    """Pixels of the longer side; None for the picture's own."""
    if text == ORIGINAL:
        return None
    if not (isinstance(text, str) and text.isdecimal() and int(text)):
        raise typer.BadParameter(f"expected a positive number of pixels, or {ORIGINAL}, got {text!r}")
    return int(text)


Device = Annotated[str, Option(help="auto, cuda, mps or cpu.")]
Init = Annotated[Literal["content", "noise"], Option(help="What the optimisation starts from.")]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Neural style transfer on real ImageNet weights, offline.",
)


@app.command()
def stylize(
    content: Annotated[str, Argument(help="A photo: a file, or an embedded one such as china.")],
    style: Annotated[list[str], Argument(help="One or more style images: files, or embedded ones such as starry.")],
    output: Annotated[Path, Option("--output", "-o", help="The picture to write (.png, .jpg, ...).")],
    steps: Annotated[int, Option(help="Steps in all.")] = 50,
    size: Annotated[
        str, Option(parser=_side, metavar=SIDE, help="Pixels of the longer side of the result; original: the photo's.")
    ] = "512",
    save_every: Annotated[
        int | None,
        Option(metavar="N", help="Write each Nth step, too, as NAME-0050.png beside OUTPUT, in the size of that step."),
    ] = None,
    keep_alpha: Annotated[
        bool, Option("--keep-alpha", help="Keep the photo's transparency; what is transparent is painted over white.")
    ] = False,
    backbone: Annotated[
        str, Option(help="vgg19 (auto), efficientnet_lite0 (lighter), vgg16, squeezenet1_1, resnet18.")
    ] = "auto",
    weights: Annotated[
        Path | None, Option(help="A state dict for the backbone, instead of its ImageNet weights.")
    ] = None,
    style_weight: Annotated[float | None, Option(help="Beta; the default depends on the backbone.")] = None,
    content_weight: Annotated[float | None, Option(help="Alpha.", show_default="1")] = None,
    tv_weight: Annotated[float | None, Option(help="Weight of total variation.", show_default="2")] = None,
    mix: Annotated[list[float] | None, Option(help="Proportion of a style: once for each, in their order.")] = None,
    mix_features: Annotated[
        bool, Option("--mix-features", help="Mix features place by place, instead of Grams.")
    ] = False,
    style_mask: Annotated[
        list[Path] | None, Option(help="A picture of a style's size, white where the style counts: once for each.")
    ] = None,
    content_mask: Annotated[
        list[Path] | None,
        Option(help="A picture of the photo's shape, white where it is painted; once, or one for each style's region."),
    ] = None,
    style_scale: Annotated[float, Option(help="Size of the style over size of the result: larger strokes.")] = 1.0,
    optimizer: Literal["lbfgs", "adam"] = "lbfgs",
    init: Init = "content",
    preserve_color: Annotated[bool, Option("--preserve-color", help="Keep the photo's own colours.")] = False,
    precision: Literal["auto", "fp32", "tf32", "bf16"] = "auto",
    device: Device = "auto",
    seed: Annotated[int, Option(help="Of the noise that --init noise starts from.")] = 0,
):
    """Paint CONTENT in the style of one or more STYLE images."""
    from .engine import checks
    from .engine.decoding import check_writable
    from .images import resize
    from .samples.styles import picture

    check_writable(output, keep_alpha)  # before the work, not after it
    if save_every is not None:
        checks.whole("save_every", save_every, 1, checks.whole("steps", steps, 1))
    image, styles = picture(content, size=size), [picture(name) for name in style]
    image = image if size is None else resize(image, size)
    write = _writer(content if keep_alpha and Path(content).is_file() else None)
    masks = {"style_masks": [_mask(file) for file in style_mask] if style_mask else None}
    masks["content_mask"] = _content_masks(content_mask, image) if content_mask else None

    from . import backbones, transfer
    from .progress import progress_bar

    callback = progress_bar()
    if save_every is not None:
        callback = _saving(callback, save_every, output, write)
    net = backbones.backbone(backbone, device=device, weights=weights or "imagenet")
    options = {"style_weights": mix, "mix": "features" if mix_features else "grams", "net": net, **masks}
    options |= {"steps": steps, "style_weight": style_weight, "tv_weight": tv_weight, "content_weight": content_weight}
    options |= {"style_scale": style_scale, "optimizer": optimizer, "init": init, "preserve_color": preserve_color}
    result = transfer.stylize(image, styles, **options, precision=precision, seed=seed, callback=callback)
    write(result.image, output)
    early = f" (stopped after {len(result.history)} of {steps} steps)" if result.interrupted else ""
    height, width = result.image.shape[2:]
    typer.echo(f"{output}: {width} x {height} pixels in {result.seconds:.1f} s with {net.name}{early}")


@app.command()
def stylize_folder(
    source: Annotated[
        Path,
        Argument(help="A folder with a folder of images for each class; of train, validation and test, train alone."),
    ],
    output: Annotated[Path, Argument(help="The folder to write.")],
    styles: Annotated[
        list[str], Option(help="A file, an embedded picture such as starry, or a folder of files; may be given again.")
    ],
    per_image: Annotated[int, Option(help="Copies of each image.")] = 1,
    alpha: Annotated[
        tuple[float, float], Option(help="Lowest and highest strength; 1 is the network's own style weight.")
    ] = (0.3, 1.0),
    mixture: Annotated[float, Option(help="0: one style a picture; small: one leads; 1 and more: all alike.")] = 0.2,
    size: Annotated[
        str, Option(parser=_side, metavar=SIDE, help="Pixels of the longer side; original: each image's own.")
    ] = ORIGINAL,
    steps: Annotated[int, Option(help="Steps of the optimisation.")] = 40,
    method: Annotated[
        Literal["optimise", "fast"],
        Option(help="Optimise each picture, or one pass of a trained network: rougher, and much sooner."),
    ] = "optimise",
    engine: Annotated[
        Literal["local", "ray"], Option(help="Where to compute: on this computer, or on a Ray cluster.")
    ] = "local",
    workers: Annotated[int | None, Option(help="Processes.", show_default="one a core, or one for a GPU")] = None,
    resume: Annotated[bool, Option(help="Keep what an earlier run of the same recipe has made.")] = True,
    force: Annotated[bool, Option("--force", help="Paint validation and test images, too.")] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Say how long it will take, and write nothing.")] = False,
    backbone: Annotated[str, Option(help="As for stylize, but for auto: efficientnet_lite0 here.")] = "auto",
    device: Device = "auto",
    seed: Annotated[int, Option(help="Of mixtures and strengths.")] = 0,
):
    """Paint every image of the class folder SOURCE; run it again to go on after a stop."""
    from . import backbones, folders, progress

    name = LIGHT if backbone == "auto" else backbone
    options = {"per_image": per_image, "alpha": alpha, "mixture": mixture, "size": size, "steps": steps, "seed": seed}
    options |= {"net": backbones.backbone(name, device=device), "method": method, "engine": engine, "workers": workers}
    options |= {"resume": resume, "force": force, "dry_run": dry_run, "callback": progress.count_bar("painting", 0)}
    try:
        result = folders.stylize_folder(source, output, styles, **options)
    except KeyboardInterrupt:
        typer.echo(err=True)  # the bar's line
        _end("stopped: the pictures made so far are kept, the same command goes on", STOPPED)
    if dry_run:
        typer.echo(f"{result.pending} pictures to paint, {result.kept} done: about {result.seconds:.0f} s of painting")
    else:
        typer.echo(f"{output}: {result.made} pictures painted, {result.kept} found done, in {result.seconds:.0f} s")
    for file, error in result.errors.items():
        typer.echo(f"{file}: {error}", err=True)
    if result.errors:
        _end(f"could not paint {len(result.errors)} of the images, see above", 1)


app.command("experiment")(experiment)


def main():
    """Run the command; what typer and the package raise becomes one sentence."""
    # Beside another busy program, PyTorch's threads spin while they wait for one another and steps take twenty times
    # as long; so they shall sleep soon. OpenMP reads this when torch is loaded, which is why nothing above imports it.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        status = app(standalone_mode=False)
    except typer.Abort:  # Ctrl-C before there was a picture, in older versions of typer
        status = STOPPED
    except (ValueError, TypeError, OSError, ImportError, FloatingPointError) as error:
        _end(str(error))
    except Exception as error:
        from .engine.devices import is_out_of_memory

        if hasattr(error, "format_message"):  # typer's own errors, whose class moves from version to version
            _end(error.format_message() or "see d2lstyle --help")
        too_large = isinstance(error, RuntimeError) and "overflow" in str(error)
        if not (too_large or is_out_of_memory(error)):
            raise
        _end("there is not enough memory: try a smaller --size")
    if status == STOPPED:
        _end("stopped, nothing written", STOPPED)
    sys.exit(status)


def _mask(file):
    """(1, 1, H, W): what is white counts, what is black or transparent does not."""
    from .images import read_alpha, read_image

    over_white, alpha = read_image(file).mean(dim=1, keepdim=True), read_alpha(file)
    return over_white if alpha is None else (over_white + alpha - 1).clamp(min=0)


def _content_masks(files, image):
    """A mask of the image's size, or a list of several, from files of its shape."""
    from .engine.checks import scaled_size
    from .images import resize

    masks, (height, width) = [_mask(file) for file in files], image.shape[2:]
    for file, mask in zip(files, masks):
        rows, columns = scaled_size(mask.shape[2:], max(height, width))
        if abs(rows - height) > 1 or abs(columns - width) > 1:  # scaled from another size, a side may be rounded
            shape = f"{mask.shape[3]} x {mask.shape[2]} pixels"
            raise ValueError(f"expected {file} in the shape of the photo, {width} x {height} pixels, got {shape}")
    masks = [resize(mask, (height, width)) for mask in masks]
    return masks if len(masks) > 1 else masks[0]


def _writer(transparent):
    """`write_image` with the transparency of a file, in the size of what is written; without any for None."""
    from .images import read_alpha, resize, write_image

    alpha = None if transparent is None else read_alpha(transparent)
    if alpha is None:
        return write_image
    return lambda image, path: write_image(image, path, alpha=resize(alpha, tuple(image.shape[2:])))


def _saving(show, every, output, write):
    """The callback `show`, and each `every`th step as a file beside the output."""

    def callback(step):
        show(step)
        if step.step % every == 0:
            number = f"{step.step:0{len(str(step.steps))}}"
            write(step.image, output.with_name(f"{output.stem}-{number}{output.suffix}"))

    return callback


def _end(sentence, status=2):
    print(f"d2lstyle: {sentence}", file=sys.stderr)
    sys.exit(status)
