"""A whole class folder -> its stylised copy, on this computer's cores or on a Ray cluster.

What a picture looks like depends on its own path, the styles and the seed alone, to the last bit: pictures are painted in
tiles of a fixed number, each on one thread, because sums that are rounded in another order lead L-BFGS elsewhere within
thirty steps. So any order and any number of workers give the same files, and an interrupted run goes on where it was.
"""

import hashlib
import itertools
import json
import logging
import math
import os
import signal
import sys
import time
import warnings
from collections import defaultdict
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import joblib
import numpy as np
import torch
from PIL import Image

from ..backbones import MIN_SIDE, Backbone, backbone
from ..datasets.class_folders import class_listing, split_folders, split_of
from ..engine.checks import unknown_name
from ..engine.devices import best_device, is_out_of_memory, one_thread
from ..engine.files import append_json_line, file_digest, read_json_lines, write_whole
from ..fast.network import NETWORK, check_backbone
from ..fast.network import SHA256 as FAST_WEIGHTS
from ..fast.random_style import StyleBank, draw_shares, strengths
from ..images import read_image, scaled_size, write_image
from ..mixing import proportions
from ..samples.styles import named_styles
from ..transfer import default_weights, stylize

TILE, TILE_SIDE = 8, 128  # so many pictures share a pass, if their longer side has at most so many pixels
NOTE = "d2lstyle"  # the keyword of the note inside a picture
ENGINES, METHODS, HELD_OUT = ("local", "ray"), ("optimise", "fast"), ("validation", "test")
MANIFEST = "manifest.jsonl"
RECIPE = 1  # to be raised when pictures come out differently
ORIENTATION, LINUX = 0x0112, sys.platform == "linux"


@dataclass(frozen=True)
class Job:
    """One picture to make; its fields are the manifest's, besides the seconds.

    Attributes:
        file, source: paths below the folder written and the folder read.
        source_sha256, split: of the source; split is None where the folder has no splits.
        copy: which of the copies of its source, from 0.
        styles: {name: proportion}.
        alpha: strength; 1 is the network's own style weight, or all of the fast method.
        recipe: digest of all that decides how the picture looks.
    """

    file: str
    source: str
    source_sha256: str
    split: str | None
    copy: int
    styles: dict
    alpha: float
    recipe: str
    method: str = "optimise"


@dataclass(frozen=True)
class FolderResult:
    """The outcome of `stylize_folder`.

    Attributes:
        rows: the manifest: a dict a picture, the fields of `Job` and "seconds", sorted by file; "seconds" is None for a
            picture whose run was killed before it could write them down.
        errors: {source: what went wrong}.
        made, kept, pending: how many pictures this call painted, how many it found done, how many a dry run found to do.
        seconds: of the whole call; for a dry run the estimate of what is to do.
    """

    rows: list = field(repr=False)
    errors: dict
    made: int
    kept: int
    seconds: float
    pending: int = 0


@dataclass(frozen=True, eq=False)  # joblib compares those of two calls, and tensors are not simply equal
class Settings:
    """What a worker must know besides its jobs; it travels to other processes. `styles` is {name: (1, 3, h, w)}."""

    source: Path
    out: Path
    styles: dict
    net: Backbone
    size: int | None
    steps: int
    method: str = "optimise"
    write: bool = True


def stylize_folder(
    source,
    out,
    styles,
    *,
    per_image=1,
    alpha=(0.3, 1.0),
    mixture=0.2,
    size=None,
    steps=40,
    net=None,
    method="optimise",
    engine="local",
    workers=None,
    resume=True,
    force=False,
    dry_run=False,
    seed=0,
    device="auto",
    callback=None,
):
    """Paint every image of a class folder; labels stay with the folders.

    Args:
        source: a folder with a folder of images for each class, or with such folders for train, validation and test, of
            which train alone is painted.
        out: the folder to write: PNG files under the same class folders, and `manifest.jsonl`.
        styles: list of files, names of embedded paintings or photos, or tensors (1, 3, H, W).
        per_image: copies of each image, each in another mixture.
        alpha: strength, a number, or (lowest, highest) to be drawn for each picture; 0 leaves the image as it is, 1 is the
            network's own style weight, or as far as the fast method goes.
        mixture: concentration of the Dirichlet distribution that draws the proportions of the styles: 0 for one style a
            picture, small for one that leads, 1 and more for all alike.
        size: pixels of the longer side, or None for each image's own.
        steps: of the optimisation.
        net: a `Backbone`, or None for `backbone("auto")`.
        method: "optimise", or "fast": the trained network of `fast_stylize`, some forty times sooner and rougher; it knows
            no steps, and no backbone but the embedded one.
        engine: "local", or "ray" (needs the extra `ray`) for a cluster that shares the folders.
        workers: processes, each on one core or GPU; None for as many as there are.
        resume: whether finished pictures of the same recipe are kept; else all are painted anew.
        force: paint validation and test images, too; whoever trains on those has nothing left to test with.
        dry_run: paint one tile to tell how long the rest will take, and write nothing.
        seed: of mixtures and strengths.
        device: as in `backbone`; only read where net is None.
        callback: called with (pictures done, pictures in all).
    Returns:
        FolderResult. An image that cannot be read or painted is in its `errors`; the others are made all the same.
    Raises:
        ValueError, TypeError: an argument is not as said above, the folder is a validation or test split, or `out` holds
            a file that is not ours where a picture should go.
        ImportError: the engine is not installed.

    Shinde, section 4: stylised copies enlarge a data set.
    """
    began = time.perf_counter()
    source, out = Path(source), Path(out)
    _check(source, out, engine, method, per_image, alpha, mixture, size, steps, workers)
    listings = _listings(source, force)
    pictures = _ordered_styles(styles)
    _warn_of_held_out_styles(source, styles)
    net = _network(net, method, device)
    settings = Settings(source, out, pictures, net, size, steps, method)
    jobs, shapes, errors = _plan(settings, listings, per_image, alpha, mixture, seed)
    done = _finished(out, jobs, resume)
    _warn_of_strangers(out, jobs)
    todo = [job for job in jobs if job.file not in done]
    tiles = _tiles(todo, shapes)
    if dry_run:
        seconds = _estimate(settings, tiles, shapes, _n_workers(workers, net, tiles))
        return FolderResult([], errors, 0, len(done), seconds, len(todo))
    rows, tried = dict(done), len(done) + len(errors)
    total = len(jobs) + len(errors)
    for tried, row in enumerate(_painted(engine, settings, tiles, workers), start=tried + 1):
        if "error" in row:
            errors[row["source"]] = row["error"]
        else:
            rows[row["file"]] = row
            append_json_line(out / MANIFEST, row)
        if callback:
            callback(tried, total)
    ordered = [rows[name] for name in sorted(rows)]
    _write_manifest(out, ordered)
    return FolderResult(ordered, errors, len(rows) - len(done), len(done), time.perf_counter() - began)


# ---------------------------------------------------------------- what to paint


def _check(source, out, engine, method, per_image, alpha, mixture, size, steps, workers):
    for name, value, known in (("engine", engine, ENGINES), ("method", method, METHODS)):
        if value not in known:
            raise unknown_name(name, value, list(known))
    for name, value in (("per_image", per_image), ("steps", steps), ("workers", 1 if workers is None else workers)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"expected {name} as a positive integer, got {value!r}")
    if size is not None:
        scaled_size((1, 1), size)
    if strengths(alpha)[1] > 1 and method == "fast":
        raise ValueError(f"expected alpha in [0, 1] for the fast method, got {alpha!r}")
    if not 0 <= mixture < float("inf"):
        raise ValueError(f"expected mixture of zero or more, got {mixture!r}")
    if not source.is_dir():
        raise ValueError(f"there is no folder {source}")
    if out.resolve() == source.resolve() or source.resolve() in out.resolve().parents:
        raise ValueError(f"expected a folder outside {source} to write, got {out}: its pictures would become a class")


def _network(net, method, device):
    if method == "optimise":
        return backbone("auto", device=device) if net is None else net
    check_backbone(net)
    return backbone(NETWORK, device=device) if net is None else net


def _listings(source, force):
    """{split, None where there is none: {class: files}} of what may be painted."""
    places, own = split_folders(source), split_of(source.resolve().name)
    if not places and own in HELD_OUT and not force:
        raise ValueError(
            f"{source} is a {own} split: painted, it has nothing left to say of photos (force=True does it)"
        )
    if places and not force:
        if "train" not in places:
            raise ValueError(f"{source} has no folder 'train', only {', '.join(places)} (force=True paints those)")
        places = {"train": places["train"]}
    return {split: class_listing(place) for split, place in (places or {own: source}).items()}


def _ordered_styles(styles):
    """{name: (1, 3, H, W)} in an order of their own: statistics are added in it, and another order rounds in another way."""
    return dict(sorted(named_styles(styles).items(), key=lambda item: (_digest(item[1].numpy().tobytes()), item[0])))


def _warn_of_held_out_styles(source, styles):
    """A style image from the validation or test side teaches its textures to the training set."""
    full = source.resolve()
    places = split_folders(source) or (split_folders(full.parent) if split_of(full.name) else {})
    by_size = defaultdict(list)
    for split in places.keys() & HELD_OUT:
        for file in sorted(places[split].rglob("*")):  # in class folders or not
            if file.is_file():
                by_size[file.stat().st_size].append((split, file))
    for style in styles:
        if isinstance(style, torch.Tensor) or not Path(style).is_file():
            continue
        twins = [
            (split, file)
            for split, file in by_size[Path(style).stat().st_size]
            if file_digest(file) == file_digest(style)
        ]
        for split, file in twins[:1]:
            warnings.warn(
                f"the style {style} is an image of the {split} side, {file}: what is measured there will be too good",
                stacklevel=3,
            )


def _plan(settings, listings, per_image, alpha, mixture, seed):
    """The jobs, {file: (height, width)} and {source: error} of images whose size cannot be read."""
    digests = {name: _digest(picture.numpy().tobytes()) for name, picture in settings.styles.items()}
    work = FAST_WEIGHTS if settings.method == "fast" else settings.steps
    common = [RECIPE, settings.method, settings.size, work, settings.net.name, _net_digest(settings.net)]
    jobs, shapes, errors = [], {}, {}
    for split, listing in listings.items():
        for file in (file for files in listing.values() for file in files):
            source = file.relative_to(settings.source).as_posix()
            try:
                shape, sha256 = _shape(file, settings.size), file_digest(file)
            except (ValueError, OSError) as error:
                errors[source] = str(error)
                continue
            for copy in range(per_image):
                proportions, strength = _draw(source, copy, digests, seed, alpha, mixture)
                target = Path(source).with_name(f"{file.stem}_{file.suffix[1:]}_{copy}.png").as_posix()
                looks = [*common, sha256, strength, sorted((digests[name], part) for name, part in proportions.items())]
                jobs.append(
                    Job(target, source, sha256, split, copy, proportions, strength, _digest(looks), settings.method)
                )
                shapes[target] = shape
    return jobs, shapes, errors


def _draw(source, copy, digests, seed, alpha, mixture):
    """({style: proportion}, strength) of a picture: the same whoever asks, and in whatever order."""
    rng = np.random.default_rng(int(_digest([source, copy, sorted(digests.values()), seed]), 16))
    names = sorted(digests, key=digests.get)
    parts = draw_shares(rng, len(names), mixture)
    rounded = {name: round(float(part), 4) for name, part in zip(names, parts) if part >= 5e-5}  # as the manifest says
    return rounded, round(float(rng.uniform(*strengths(alpha))), 4)


def _digest(what):
    """sha256 of bytes, or of anything that JSON can say."""
    return hashlib.sha256(what if isinstance(what, bytes) else json.dumps(what).encode()).hexdigest()


def _net_digest(net):
    """Of the weights: networks of one name may hold others."""
    digest = hashlib.sha256()
    for tensor in net.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _shape(file, size):
    """(height, width) that the image will have, from the head of its file."""
    try:
        with Image.open(file) as image:
            width, height = image.size
            turned = image.getexif().get(ORIENTATION, 1) >= 5
    except Exception as error:  # Pillow raises nearly every kind on damaged data
        raise ValueError(f"{file} cannot be read as an image: {error}") from None
    shape = (width, height) if turned else (height, width)
    shape = shape if size is None else scaled_size(shape, size)
    if min(shape) < MIN_SIDE:
        raise ValueError(
            f"expected at least {MIN_SIDE} x {MIN_SIDE} pixels, got {shape[0]} x {shape[1]}: give a larger size"
        )
    return shape


def _tiles(jobs, shapes):
    """Lists of jobs that share a pass: all of one shape."""
    by_shape = defaultdict(list)
    for job in jobs:
        by_shape[shapes[job.file]].append(job)
    return [own[i : i + _tile(shape)] for shape, own in by_shape.items() for i in range(0, len(own), _tile(shape))]


def _tile(shape):
    """How many pictures of a shape share a pass, be there so many or not: a function of the picture alone."""
    return TILE if max(shape) <= TILE_SIDE else 1


# ---------------------------------------------------------------- what is done


def _finished(out, jobs, resume):
    """{file: row} of the jobs whose picture is there; the note inside each tells, whatever became of the manifest."""
    rows, seconds = {}, {(row.get("file"), row.get("recipe")): row.get("seconds") for row in read_manifest(out)}
    for job in jobs:
        path = out / job.file
        if path.exists():
            note = _note(path)
            if note is None:
                raise ValueError(f"{path} is in the way, and no picture of ours: choose another folder, or remove it")
            if resume and note.get("recipe") == job.recipe:
                rows[job.file] = asdict(job) | {"seconds": seconds.get((job.file, job.recipe))}
    return rows


def _warn_of_strangers(out, jobs):
    """Pictures of an earlier run, of fewer copies or of images that are gone: a data set would read them, too."""
    ours = {job.file for job in jobs}
    others = sorted(name for file in out.rglob("*.png") if (name := file.relative_to(out).as_posix()) not in ours)
    if others:
        warnings.warn(
            f"{len(others)} pictures in {out} do not belong to this run, such as {others[0]}: remove them, or whoever "
            "reads the folder takes them, too",
            stacklevel=3,
        )


def _note(path):
    """What a picture says of itself; None for a file that is none of ours."""
    try:
        with Image.open(path) as image:
            return json.loads(image.text[NOTE])
    except Exception:  # not an image, not a PNG, no note, damaged
        return None


def read_manifest(out):
    """The rows that `stylize_folder` wrote into a folder; none where there are none yet. A line cut short is left out."""
    return read_json_lines(Path(out) / MANIFEST)


def _write_manifest(out, rows):
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / MANIFEST, "".join(f"{json.dumps(row)}\n" for row in rows))


# ---------------------------------------------------------------- the work


class Painter:
    """Paints tiles and writes their pictures; one in each process."""

    def __init__(self, settings):
        self.settings, self.net = settings, settings.net
        self.styles, self.most = list(settings.styles.values()), TILE
        self.bank = StyleBank(settings.styles, self.net.mean.device)  # for the fast method

    def __call__(self, tile):
        """The rows of a tile's pictures, written; an image that cannot be read or painted gives {"source", "error"}."""
        with one_thread(self.net.mean.device):
            began = time.perf_counter()
            images, painted = defaultdict(list), []
            for job in tile:
                try:
                    image = read_image(self.settings.source / job.source, self.settings.size)
                    images[image.shape].append((job, image))  # one shape, if the heads of the files were right
                except (ValueError, OSError, MemoryError) as error:
                    painted.append((job, error))
            painted += [pair for own in images.values() for pair in self._painted(own)]
            seconds = round((time.perf_counter() - began) / len(tile), 4)
            return [self._written(job, result, seconds) for job, result in painted]

    def _painted(self, images):
        """[(job, picture or error)]; too little memory halves the tile, for good."""
        n = min(self.most, _tile(images[0][1].shape[2:]))
        try:
            return [pair for i in range(0, len(images), n) for pair in self._stylized(images[i : i + n], n)]
        except FloatingPointError as error:  # one of them; alone, it tells which
            return (
                [(images[0][0], error)] if len(images) == 1 else [p for image in images for p in self._painted([image])]
            )
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if n == 1:
                return [(job, error) for job, _ in images]
            self.most = n // 2
            return self._painted(images)

    def _stylized(self, images, n):
        """[(job, picture)] of up to n images; the pass always holds n, for that decides the last bits."""
        filled = [images[min(i, len(images) - 1)] for i in range(n)]
        jobs, contents = [job for job, _ in filled], torch.cat([image for _, image in filled])
        alphas = torch.tensor([job.alpha for job in jobs])
        shares = [[job.styles.get(name, 0) for name in self.settings.styles] for job in jobs]
        if self.settings.method == "fast":
            pictures = self.bank.paint(contents, proportions(shares, len(self.styles), n), alphas).cpu()
        else:
            pictures = self._optimised(contents, shares, alphas)
        return [(job, picture) for (job, _), picture in zip(images, pictures.split(1))]

    def _optimised(self, contents, shares, alphas):
        _, style_weight, tv_weight = default_weights(self.net)
        result = stylize(
            contents,
            self.styles,
            style_weights=shares,
            style_weight=alphas * style_weight,
            tv_weight=alphas * tv_weight,
            net=self.net,
            steps=self.settings.steps,
            precision="fp32",
        )
        if result.interrupted:  # half painted
            raise KeyboardInterrupt
        return result.image

    def _written(self, job, result, seconds):
        if isinstance(result, Exception):
            return {
                "source": job.source,
                "error": str(result) or "there is not enough memory",
            }  # a MemoryError says nothing
        if self.settings.write:
            path = self.settings.out / job.file
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(result, path, notes={NOTE: json.dumps(asdict(job))})
        return asdict(job) | {"seconds": seconds}


def _n_workers(workers, net, tiles):
    has_gpu = net.mean.device.type != "cpu"
    most = torch.cuda.device_count() or 1 if has_gpu else len(os.sched_getaffinity(0)) if LINUX else os.cpu_count()
    return min(workers or most, max(1, len(tiles)))


def _painted(engine, settings, tiles, workers):
    """The rows of all tiles as they come."""
    if not tiles:
        return
    settings.out.mkdir(parents=True, exist_ok=True)
    run = _on_ray if engine == "ray" else _local
    for rows in run(settings, tiles, workers):
        yield from rows


def _local(settings, tiles, workers):
    tiles = list(tiles)
    workers = _n_workers(workers, settings.net, tiles)
    if workers == 1:
        return map(Painter(settings), tiles)
    with joblib.parallel_config("loky", initializer=_start_worker, initargs=(settings,)):
        parallel = joblib.Parallel(n_jobs=workers, return_as="generator_unordered", pre_dispatch=2 * workers)
        return parallel(joblib.delayed(_paint_in_worker)(tile) for tile in tiles)


_painter = None  # of a worker process


def _start_worker(settings):
    global _painter
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the parent ends its workers
    _painter = Painter(settings)


def _paint_in_worker(tile):
    return _painter(tile)


class _RayPainter:
    """A `Painter` in an actor, where a batch is one tile."""

    def __init__(self, settings):
        self.paint = Painter(replace(settings, net=settings.net.to(best_device())))

    def __call__(self, batch):
        tile = [Job(**job) for job in json.loads(batch["tile"][0])]
        return {"rows": [json.dumps(self.paint(tile))]}


def _on_ray(settings, tiles, workers):
    """The same on a Ray cluster: an actor for each GPU, or for each core; it writes its pictures itself.

    Ray starts a killed actor again and gives it the tile once more: the same picture is written twice.
    """
    try:
        import ray
    except ImportError:
        raise ImportError(
            'the engine "ray" is not installed: pip install "d2lstyle[ray]", or use engine="local"'
        ) from None
    if not ray.is_initialized():
        ray.init(include_dashboard=False, logging_level="warning", log_to_driver=False)
    logging.getLogger("ray.data").setLevel("WARNING")
    ray.data.DataContext.get_current().enable_progress_bars = False
    cores, gpus = (int(ray.cluster_resources().get(kind, 0)) for kind in ("CPU", "GPU"))
    size = min(workers or gpus or cores, len(tiles))
    # Reading the list of tiles needs a core, too: actors that take them all would wait for ever.
    share = {"num_gpus": 1} if gpus else {"num_cpus": min(1, max(cores - 1, 0.5) / size)}
    items = [{"tile": json.dumps([asdict(job) for job in tile])} for tile in tiles]
    painted = ray.data.from_items(items).map_batches(
        _RayPainter,
        fn_constructor_kwargs={"settings": settings},
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=size),
        **share,
    )
    for row in painted.iter_rows():
        yield json.loads(row["rows"])


def _estimate(settings, tiles, shapes, workers):
    """Seconds that the tiles will take, from painting one for each worker twice: the first time starts the workers."""
    if not tiles:
        return 0.0
    pixels = [math.prod(shapes[tile[0].file]) * _tile(shapes[tile[0].file]) for tile in tiles]
    common = max(set(pixels), key=pixels.count)
    trial = [tile for tile, n in zip(tiles, pixels) if n == common][:workers]
    trial = [trial[i % len(trial)] for i in range(workers)]
    moments = [time.perf_counter()]
    rounds = itertools.chain(trial, trial)
    for i, _ in enumerate(_local(replace(settings, write=False), rounds, workers), start=1):
        if i % workers == 0:
            moments.append(time.perf_counter())
    started, steady = moments[1] - moments[0], moments[2] - moments[1]
    return max(0.0, started - steady) + steady / workers * sum(pixels) / common
