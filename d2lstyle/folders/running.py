"""A whole class folder -> its stylised copy; an interrupted run goes on where it was."""

import json
import math
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import joblib
import torch

from ..datasets.class_folders import not_read, split_folders, split_of
from ..engine import checks
from ..engine.files import append_json_line, equal_files, remove_stale_parts, write_whole
from ..engine.workers import in_workers
from ..samples.styles import style_list
from .jobs import HELD_OUT, MANIFEST, Settings, finished, listings, others, plan, tile_size, tiles_of
from .painting import TilePainter
from .ray import on_ray


@dataclass(frozen=True)
class FolderResult:
    """The outcome of `stylize_folder`.

    Attributes:
        rows: the manifest: a dict a picture, the fields of `Job` and "seconds", sorted by file; "seconds" is None for a
            picture whose run was killed before it could write them down.
        errors: {source: what went wrong}.
        made, kept, pending: how many pictures this call painted, found done, or, in a dry run, found to do.
        seconds: of the whole call; for a dry run the estimate of what is to do.
    """

    rows: list = field(repr=False)
    errors: dict
    made: int
    kept: int
    seconds: float
    pending: int = 0


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
        out: the folder to write: PNG files under the same class folders, and `manifest.jsonl`. It lies neither inside
            nor above folders of photos.
        styles: list of files, folders of them, names of embedded paintings or photos, or tensors (1, 3, H, W).
        per_image: copies of each image, each in another mixture.
        alpha: strength, a number, or (lowest, highest) to be drawn for each picture; 0 leaves the image as it is, 1 is
            the network's own style weight, or as far as the fast method goes.
        mixture: concentration of the Dirichlet distribution that draws the proportions of the styles: 0 for one style a
            picture, small for one that leads, 1 and more for all alike.
        size: pixels of the longer side, or None for each image's own.
        steps: of the optimisation.
        net: a `Backbone`, the name of one, or None for EfficientNet-Lite0, light enough for a folder of thumbnails; for
            larger pictures "vgg19" is worth its time.
        method: "optimise", or "fast": the trained network of `fast_stylize`, rougher and much sooner; it has no steps,
            and of a backbone it takes the device alone.
        engine: "local", or "ray" (needs the extra `ray`) for a cluster that shares the folders.
        workers: processes, each on one core, all on the same GPU; None for one a core, or for one alone on a GPU. For
            several GPUs there is the engine "ray".
        resume: whether finished pictures of the same recipe are kept; else all are painted anew.
        force: paint validation and test images, too; whoever trains on those has nothing left to test with.
        dry_run: paint one tile to tell how long the rest will take, and write nothing.
        seed: of mixtures and strengths.
        device: as in `backbone`; only read where net is None.
        callback: called with (pictures done, pictures in all).
    Returns:
        FolderResult. An image that cannot be read, painted or written is in its `errors`; the others are made all the
        same, unless the disk is full. Damaged pictures of ours are painted anew.
    Raises:
        ValueError, TypeError: an argument is not as said above, the folder is a validation or test split, or `out`
            holds a file that is not ours where a picture should go.
        FileNotFoundError: a style is neither a file nor an embedded picture.
        OSError: `out` cannot be written.
        ChildProcessError: a worker was killed; the same call goes on.
        ImportError: the engine is not installed.

    Shinde, section 4: stylised copies enlarge a data set.
    """
    began = time.perf_counter()
    checks.choice("engine", engine, ENGINES)
    checks.whole("workers", 1 if workers is None else workers, 1)
    source, out, styles, passed = Path(source), Path(out), style_list(styles), {}
    sources = listings(source, out, force, passed)
    if passed:
        warnings.warn(not_read(passed, source), stacklevel=2)
    settings = Settings(source, out, styles, net, device, method, per_image, alpha, mixture, size, steps, seed)
    _warn_of_held_out_styles(source, styles)
    jobs, errors = plan(settings, sources)
    rows = finished(out, jobs, resume)
    _warn_of_others(out, jobs)
    kept, total = len(rows), len(jobs) + len(errors)
    tiles = tiles_of({job: shape for job, shape in jobs.items() if job.file not in rows})
    if dry_run:
        return FolderResult([], errors, 0, kept, _estimate(settings, jobs, tiles, workers), len(jobs) - kept)
    _make(out)
    remove_stale_parts(out.rglob(".*.part"))
    painted = (row for tile in ENGINES[engine](settings, tiles, workers) for row in tile) if tiles else ()
    for tried, row in enumerate(painted, start=kept + len(errors) + 1):
        if "error" in row:
            errors[row["source"]] = row["error"]
        else:
            rows[row["file"]] = row
            append_json_line(out / MANIFEST, row)
        if callback:
            callback(tried, total)
    ordered = [rows[name] for name in sorted(rows)]
    write_whole(out / MANIFEST, "".join(f"{json.dumps(row)}\n" for row in ordered))
    return FolderResult(ordered, errors, len(rows) - kept, kept, time.perf_counter() - began)


def _make(out):
    """The folder to write; an OSError in one sentence where that cannot be."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        open(out / MANIFEST, "a").close()
    except OSError as error:
        raise OSError(f"cannot write in {out}: {error.strerror} ({error.filename})") from None


def _warn_of_held_out_styles(source, styles):
    """A style image from the validation or test side teaches its textures to the training set."""
    full = source.resolve()
    places = split_folders(source) or (split_folders(full.parent) if split_of(full.name) else {})
    held_out = {file: side for side in HELD_OUT if side in places for file in sorted(places[side].rglob("*"))}
    names = {Path(style): style for style in styles if not isinstance(style, torch.Tensor)}
    for path, file in equal_files(list(names), list(held_out)):
        what = f"the style {names[path]} is an image of the {held_out[file]} side, {file}"
        warnings.warn(f"{what}: what is measured there will be too good", stacklevel=3)


def _warn_of_others(out, jobs):
    """Pictures of an earlier run, of fewer copies or of images that are gone, or of others: a data set reads them."""
    found = sorted(others(out, {out / job.file for job in jobs}))
    for mine, whose, advice in ((True, "to this run", "remove them"), (False, "to us", "choose another folder")):
        if files := [file.relative_to(out).as_posix() for file, ours in found if ours == mine]:
            what = f"{len(files)} pictures in {out} do not belong {whose}, such as {files[0]}"
            warnings.warn(f"{what}: {advice}, or whoever reads the folder takes them, too", stacklevel=3)


def _estimate(settings, shapes, tiles, workers):
    """Seconds that all tiles will take, from painting the first: by their pixels, shared out among the workers."""
    if not tiles:
        return 0.0
    began = time.perf_counter()
    TilePainter(settings).paint(tiles[0])
    seconds = time.perf_counter() - began
    pixels = [math.prod(shapes[tile[0]]) * tile_size(shapes[tile[0]]) for tile in tiles]
    return seconds * sum(pixels) / pixels[0] / _n_workers(workers, settings.net, tiles)


def _locally(settings, tiles, workers):
    """The rows of each tile, as they come."""
    workers = _n_workers(workers, settings.net, tiles)
    if workers == 1:
        return map(TilePainter(settings).write, tiles)
    return in_workers(_paint_in_worker, tiles, workers, _start_worker, settings)


def _n_workers(workers, net, tiles):
    most = joblib.cpu_count() if net.mean.is_cpu else 1
    return min(workers or most, len(tiles))


ENGINES = {"local": _locally, "ray": on_ray}
_kept = {}  # in a worker process: its painter, which would else travel with each tile, network and all


def _start_worker(settings):
    _kept["painter"] = TilePainter(settings)


def _paint_in_worker(tile):
    return _kept["painter"].write(tile)
