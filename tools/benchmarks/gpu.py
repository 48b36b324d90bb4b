"""What a GPU makes of this package, each figure beside the card's limit or a peer: one command, within 9 minutes.

    python -m tools.benchmarks.gpu [--only steps --only fit] [--smallest]

Each part has a process and a limit of its own, and prints each row when it is measured; a row or a part that fails says
so in a line, and the others go on. Nothing is downloaded. Where there is no CUDA GPU all runs at its smallest size on
the CPU, which shows that it runs; such figures say nothing.
"""

import argparse
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from unittest import mock

import torch

import d2lstyle as ds
from d2lstyle.engine import graphs
from d2lstyle.engine.devices import accelerator, kernels
from d2lstyle.images import resize

from . import augment, batch, machine, marginal_seconds, measured_seconds, memory, race, step_seconds, transfer
from .convergence import pictures
from .peers import PEERS

ROOT, SECONDS = Path(__file__).parents[2], 530
REAL = [f"tests/test_{name}.py" for name in ("real_gpu", "augment")]
PRETENDED = ["gpu", "transfer_on_gpu", "augment", "training", "backbones", "finetune", "images", "plots"]
PRETENDED = [f"tests/test_{name}.py" for name in PRETENDED]
say = partial(print, flush=True)
backbone, pictures = cache(ds.backbone), cache(pictures)


@dataclass(frozen=True)
class Scale:
    """How large everything is: sides in pixels, numbers of steps and of images."""

    side: int = 512
    steps: tuple = (100, 300)  # of two runs, whose difference is measured
    sizes: tuple = (300, 1200)  # of the lecture's job, and its steps
    stages: tuple = (500, 300)
    large_steps: tuple = (30, 90)
    batch_side: int = 256
    batches: tuple = (1, 4, 16)
    peers: tuple = tuple(PEERS)
    races: tuple = tuple(race.PEERS)
    race_steps: int = 100
    photos: int = 64
    fast_sides: tuple = (256, 512)
    fit_images: int = 1024
    fit_side: int = 224
    augment: tuple = ("--batch", "128", "--sizes", "224", "--rounds", "2")
    megapixels: float = 1
    precisions: tuple = ("bf16", "tf32", "fp32")  # the goals are for the first


SMALLEST = Scale(
    *(32, (1, 3), (48, 72), (2, 2), (1, 3), 32, (1, 2), ("tutorial",), ("tutorial",), 2, 2, (32,), 4, 32),
    augment=("--batch", "2", "--sizes", "32", "--rounds", "1"),
    megapixels=0.001,
    precisions=("fp32",),  # a CPU without bf16 needs ten times as long for it
)


class Table:
    """Rows of one subject, each printed when it is measured."""

    def __init__(self, subject, unit, over="", digits=2):
        say(f"\n{subject:52}{unit:>14}  {over:>16}")
        self.digits = digits

    def add(self, name, measure, over=None, goal=None):
        """Print `measure()` and its ratio to `over`; the value, or None where it failed. A goal is an upper limit."""
        try:
            value = measure()
        except Exception as error:  # whatever it is, out of memory for one: the next row may go well
            kind = "not installed" if isinstance(error, ModuleNotFoundError) else type(error).__name__
            say(f"{name:52}{kind}: {' '.join(str(error).split())[:160]}")
            return None
        ratio = f"{value / over:.2f}x" if over else ""
        told = "" if goal is None else f"  goal {goal:g}: {'met' if value <= goal else 'missed'}"
        say(f"{name:52}{value:>14.{self.digits}f}  {ratio:>16}{told}")
        return value


def tests(scale):
    """Those of the GPU that is there, then those of the one that is not."""
    files = {"this GPU": REAL} | ({} if scale is SMALLEST else {"the pretend GPU": PRETENDED})
    say("\ntests")
    for name, paths in files.items():
        several = ["--numprocesses=8"] if name != "this GPU" and importlib.util.find_spec("xdist") else []
        chosen = ["-k", "real_gpu or a_gpu_that_is_there"] if name == "this GPU" else ["-k", "gpu or GPU or cuda"]
        chosen += ["--collect-only"] if scale is SMALLEST else several
        command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", *chosen]
        try:
            done = subprocess.run([*command, *paths], cwd=ROOT, capture_output=True, text=True, timeout=60)
        except subprocess.TimeoutExpired:
            say(f"{name:52}not done after 60 s")
            continue
        lines = (done.stdout + done.stderr).strip().splitlines() or ["nothing was printed"]
        say("\n".join([*(lines[-60:-1] if done.returncode else []), f"{name:52}{lines[-1].strip('= ')}"]))


def steps(scale):
    """A small picture in steady state, and what of a step L-BFGS and waiting take."""
    content, style = pictures(scale.side)
    table, best = step_table(content, style, scale.steps, scale, goal=2), scale.precisions[0]
    measure = partial(step_seconds, content, style, *scale.steps, net=backbone("vgg19"), precision=best)
    lbfgs, adam = (table.add(f"{best}, {name}", lambda: 1000 * measure(optimizer=name)) for name in ("lbfgs", "adam"))
    table.add("of it L-BFGS, over Adam", lambda: lbfgs - adam)
    run = partial(ds.stylize, content, style, net=backbone("vgg19"), sizes=[scale.side])
    few, many = scale.steps
    table = Table(f"stylize, waits in {many - few} steps", "waits", digits=0)
    table.add("losses are read now and then", lambda: waits(lambda: run(steps=many)) - waits(lambda: run(steps=few)))


def step_table(content, style, few_many, scale, goal):
    """A step beside its convolutions alone, by the fastest algorithms that cuDNN finds and by those of equal runs."""
    net = backbone("vgg19")
    content = content.to(net.mean)

    def limit(precision, by_trial):
        with kernels(content.device, precision):
            if by_trial and content.is_cuda:
                torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, True
            dtype = torch.bfloat16 if precision == "bf16" else torch.float32
            return 1000 * transfer.convolutions(net, content, dtype)

    def step(precision, graph):
        with mock.patch.dict(graphs.GRAPHS, {} if graph else graphs.GRAPHS, clear=not graph):
            return 1000 * step_seconds(content, style, *few_many, net=net, precision=precision)

    shape = f"{content.shape[3]} x {content.shape[2]}"
    table = Table(f"stylize, a step, {shape}", "ms", "over its limit", digits=3)
    for precision in scale.precisions:
        bound = table.add(f"{precision}, convolutions alone: the limit", lambda: limit(precision, True))
        table.add(f"{precision}, convolutions alone, of equal runs", lambda: limit(precision, False), bound)
        table.add(f"{precision}, as a graph", lambda: step(precision, True), bound, goal)
        table.add(f"{precision}, without a graph", lambda: step(precision, False), bound)
        goal = None  # it is for the first precision
    return table


def waits(call):
    """How often the program waits for the GPU in a call; none are seen on a CPU."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mode = torch.cuda.set_sync_debug_mode if torch.cuda.is_available() else lambda mode: None
        mode("warn")
        try:
            call()
        finally:
            mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)


def lecture(scale):
    """The job of the lecture: coarse to fine at a photo's shape."""
    net, side = backbone("vgg19"), scale.sizes[-1]
    content, (_, style) = resize(ds.sample("china"), (2 * side // 3, side)), pictures(scale.side)
    run = partial(ds.stylize, content, style, net=net)
    run(sizes=[scale.sizes[0]], steps=scale.steps[0])  # libraries are loaded
    table = Table("the lecture's job, from coarse to fine", "s")
    for precision in scale.precisions:
        job = partial(run, sizes=list(scale.sizes), steps=list(scale.stages), precision=precision)
        table.add(f"{precision}, {scale.stages} steps at {scale.sizes} px", lambda: job().seconds)
    step_table(content, style, scale.large_steps, scale, goal=6)


def batches(scale):
    """Many images at once."""
    net, side, single = backbone("vgg19"), scale.batch_side, None
    table = Table(f"stylize, batches at {side} px", "image steps/s", "over one image", digits=1)
    _, style = pictures(side)
    for size in scale.batches:
        contents = batch.photos(side, size)
        speed = table.add(f"B = {size}", lambda: size / step_seconds(contents, style, *scale.steps, net=net), single)
        single = single or speed


def peers(scale):
    """The same network and pictures in other programs, by the step and by the time to our loss."""
    net, side = backbone("vgg19"), scale.side
    content, style = (picture.to(net.mean) for picture in pictures(side))
    layers = transfer.CONTENT_LAYER, transfer.STYLE_LAYERS
    measure = partial(step_seconds, content, style, *scale.steps, net=net)
    table = Table(f"a step in other programs, {side} x {side}", "ms", "over stylize's")
    ours = table.add("stylize, auto", lambda: 1000 * measure())
    for name in scale.peers:
        table.add(name, lambda: 1000 * measured_seconds(PEERS[name](net, content, style, *layers), 3, 20), ours)
    count = scale.race_steps
    table = Table("seconds to our loss on the peer's objective", "s", "over stylize's")
    for name in scale.races:
        rounds = []
        mine = table.add(
            f"stylize, {count} steps, in the terms of {name}",
            lambda: rounds.append(race.race(race.PEERS[name], net, content, style, count, patience=12)) or rounds[0][1],
        )
        if rounds:
            left = "" if rounds[0][3] is not None else ", left before it had it"
            table.add(f"{name}{left}", lambda: rounds[0][2], mine)


def folder(scale):
    """Pictures a second of a class folder, files read and written."""
    table = Table(f"stylize_folder, {scale.photos} photos of {scale.batch_side} px", "pictures/s")
    with tempfile.TemporaryDirectory() as place:
        source = Path(place, "photos", "towers")
        source.mkdir(parents=True)
        for number, photo in enumerate(batch.photos(scale.batch_side, scale.photos)):
            ds.write_image(photo[None], source / f"{number}.png")
        paint = partial(ds.stylize_folder, source.parent, styles=[pictures(scale.batch_side)[1]])
        count = 40 if scale.photos > 2 else 1
        for name, options in {f"optimise, {count} steps": {}, "fast": {"method": "fast"}}.items():
            options |= {"net": backbone("efficientnet_lite0"), "steps": count}

            def speed():
                result = paint(out=Path(place, name[:4]), **options)
                if result.made != scale.photos:
                    raise RuntimeError(f"{result.made} of {scale.photos} pictures were made: {result.errors}")
                return result.made / result.seconds

            table.add(name, speed)


def fast(scale):
    """The method of one pass, from images on the CPU to images on the CPU."""
    net, many = backbone("efficientnet_lite0"), scale.batches[-1]
    table = Table(f"fast_stylize, {many} images at once", "images/s", digits=1)
    for side in scale.fast_sides:
        contents, style = batch.photos(side, many), pictures(side)[1]
        call = partial(ds.fast_stylize, contents, style, net=net)
        table.add(f"{side} px", lambda: many / measured_seconds(call, 2, 5))


def fit(scale):
    """EfficientNet-Lite0 learns from images in the computer's memory."""
    side, count = scale.fit_side, scale.fit_images
    table = Table(f"fit, EfficientNet-Lite0, {side} px, batches of 64", "images/s", "over the first", digits=1)
    data = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)), torch.arange(count) % 10
    chain = ds.Compose([ds.RandomResizedCrop(side), ds.RandomHorizontalFlip(), ds.ColorJitter(0.5, 0.5, 0.5, 0.5)])

    model, plain = ds.replace_head(ds.backbone("efficientnet_lite0"), 10), None

    def run(epochs, augment):
        ds.fit(model, data, epochs=epochs, batch_size=64, augment=augment)

    for name, transform in {"as they are": None, "crop, flip, jitter": chain}.items():
        train = partial(run, augment=transform)
        speed = table.add(name, lambda: count / marginal_seconds(train, 1, 3), plain)
        plain = plain or speed
    table.add(f"waits an epoch of {-(-count // 64)} steps", lambda: waits(lambda: train(2)) - waits(lambda: train(1)))


def augmentation(scale):
    """Images on the GPU."""
    say(f"\naugmentation on {accelerator() or 'the CPU'}; in parentheses: how many times as fast ours is")
    augment.main([*scale.augment, "--device", str(accelerator() or "cpu")])


def peak_memory(scale):
    """What a megapixel needs; on a CPU the peak of a process, which never falls, and so little here."""
    side = round((scale.megapixels * 1e6) ** 0.5)
    table, first = Table(f"peak memory of stylize, {side} x {side}", "GiB a Mpx", "over the first"), None

    def need(program):
        before, peak = memory.measured(program, side)
        return (peak - before) / memory.GIB / scale.megapixels

    for program in (*(f"d2lstyle, {precision}" for precision in scale.precisions), "tutorial"):
        most = table.add(program, lambda: need(program), first)
        first = first or most


PARTS = {  # and the seconds that each may take
    tests: 125,
    steps: 90,
    lecture: 75,
    batches: 45,
    peers: 75,
    peak_memory: 30,
    fit: 60,
    augmentation: 60,
    folder: 45,
    fast: 30,
}
PARTS = {part.__name__: (part, seconds) for part, seconds in PARTS.items()}


def main(arguments=None):
    """Print the machine, and the rows of each part."""
    options = _options(arguments)
    scale, end = SMALLEST if options.smallest else Scale(), time.monotonic() + SECONDS
    if not options.here:
        say("\n".join(["the smallest sizes, which measure nothing"] * options.smallest + [machine(), *_card()]))
    for name in options.only or PARTS:
        if options.here:
            try:
                PARTS[name][0](scale)
            except Exception as error:  # what a part does before its first row
                say(f"{name}: failed, {type(error).__name__}: {' '.join(str(error).split())[:300]}")
        else:
            _in_its_own_process(name, options.smallest, min(PARTS[name][1], end - time.monotonic()))


def _in_its_own_process(name, smallest, seconds):
    """A fault of the GPU ends a process: it ends no other part."""
    if seconds < 10:
        say(f"{name}: left out, as {SECONDS} s are over")
        return
    command = [sys.executable, "-u", "-m", "tools.benchmarks.gpu", "--here", "--only", name]
    try:
        code = subprocess.run([*command, *["--smallest"] * smallest], cwd=ROOT, timeout=seconds).returncode
    except subprocess.TimeoutExpired:
        say(f"{name}: cut off after {seconds:.0f} s")
    else:
        say(*[f"{name}: its process ended with {code}"] * (code != 0), end="\n" * (code != 0))


def _card():
    """Driver, clocks, CUDA and cuDNN, each where there is one."""
    if shutil.which("nvidia-smi"):
        asked = "name,driver_version,memory.total,clocks.max.sm,power.limit"
        command = ["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader"]
        yield f"{asked}: {subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.strip()}"
    yield f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"


def _options(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=PARTS, help="may be repeated; all parts by default")
    parser.add_argument("--smallest", action="store_true", default=not torch.cuda.is_available())
    parser.add_argument("--here", action="store_true", help="parts in this process, without limits of time")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
