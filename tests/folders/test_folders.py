"""A class folder and its stylised copy: what is painted, that it depends on nothing else, and what survives a kill."""

import copy
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import unicodedata
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from shared_helpers import (
    KILLED,
    cut_short,
    end_group,
    fill,
    manifest_of,
    photo_of,
    pictures,
    wait_until,
    without_seconds,
)

from d2lstyle import backbone, fast_stylize, load_dataset, painting, read_image, stylize, stylize_folder, write_image
from d2lstyle.engine.files import HOST
from d2lstyle.folders import jobs, running
from d2lstyle.folders import painting as worker
from d2lstyle.folders.jobs import MANIFEST, NOTE
from d2lstyle.samples.styles import STYLE_SIDE

FIELDS = ["file", "source", "source_sha256", "split", "copy", "styles", "alpha", "recipe", "method"]
ROOT = Path(__file__).parents[2]


def times(folder):
    """{path: when it was written}."""
    return {name: (folder / name).stat().st_mtime_ns for name in pictures(folder)}


@pytest.fixture(scope="module")
def styles(tmp_path_factory):
    """Two style files of 48 pixels, as names."""
    folder = tmp_path_factory.mktemp("styles")
    for name in ("starry", "mosaic"):
        write_image(painting(name, size=48), folder / f"{name}.png")
    return [str(folder / "starry.png"), str(folder / "mosaic.png")]


@pytest.fixture(scope="module")
def paint(net, styles):
    """`stylize_folder` in this process, with two steps."""

    def run(source, out, styles=styles, **options):
        return stylize_folder(source, out, styles, **{"net": net, "steps": 2, "workers": 1} | options)

    return run


@pytest.fixture(scope="module")
def original(paint, tmp_path_factory):
    """Three cats and two cups, 32 x 40 pixels, and what was painted of them: photos, painted, result."""
    photos = fill(tmp_path_factory.mktemp("original") / "photos", {"cat": 3, "cup": 2})
    return SimpleNamespace(
        photos=photos, painted=photos.parent / "painted", result=paint(photos, photos.parent / "painted")
    )


@pytest.fixture
def photos(original, tmp_path):
    """The photos of `original`, to be changed."""
    return shutil.copytree(original.photos, tmp_path / "photos")


@pytest.fixture
def done(original, tmp_path):
    """The painted folder of `original`, to be changed."""
    return shutil.copytree(original.painted, tmp_path / "done")


@pytest.fixture
def many(tmp_path):
    """Ten photos, which are two tiles."""
    return fill(tmp_path / "many", {"cat": 6, "cup": 4})


@pytest.fixture
def out(tmp_path):
    return tmp_path / "painted"


# what comes out


def test_labels_stay_with_the_folders_and_the_manifest_says_how(paint, photos, out, styles):
    result = paint(photos, out, per_image=2, alpha=(0.4, 0.8), steps=4)
    sources = [f"{name}/{i}.png" for name, count in (("cat", 3), ("cup", 2)) for i in range(count)]
    assert sorted(pictures(out)) == sorted(f"{source[:-4]}_png_{copy}.png" for source in sources for copy in (0, 1))
    assert (result.made, result.kept, result.errors, result.pending) == (10, 0, {}, 0) and result.seconds > 0
    assert [row["file"] for row in result.rows] == sorted(pictures(out))
    assert result.rows == manifest_of(out)
    for row in result.rows:
        assert list(row) == [*FIELDS, "seconds"]
        assert row["source"] in sources and row["file"] == f"{row['source'][:-4]}_png_{row['copy']}.png"
        assert row["source_sha256"] == hashlib.sha256((photos / row["source"]).read_bytes()).hexdigest()
        assert row["split"] is None and row["method"] == "optimise" and row["seconds"] > 0
        assert set(row["styles"]) <= set(styles) and sum(row["styles"].values()) == pytest.approx(1, abs=2e-4)
        assert 0.4 <= row["alpha"] <= 0.8
        assert json.loads(Image.open(out / row["file"]).text[NOTE]) == {key: row[key] for key in FIELDS}
        assert read_image(out / row["file"]).shape == (1, 3, 32, 40)
    assert len({row["alpha"] for row in result.rows}) == 10 and len({row["recipe"] for row in result.rows}) == 10
    assert sum(row["seconds"] for row in result.rows) <= result.seconds
    assert not [file for file in out.rglob("*") if file.name.startswith(".")]
    for source in sources:  # copies of a photo differ
        first, second = (read_image(out / f"{source[:-4]}_png_{copy}.png") for copy in (0, 1))
        assert (first - second).abs().max() > 2 / 255


def test_a_picture_is_that_of_stylize(paint, net, photos, out, styles):
    for row in paint(photos, out, mixture=2).rows:
        content, shares = read_image(photos / row["source"]), [row["styles"].get(name, 0) for name in styles]
        weights = {"style_weight": row["alpha"] * net.style_weight, "tv_weight": row["alpha"] * 2}
        images = [read_image(style) for style in styles]
        expected = stylize(content, images, style_weights=shares, net=net, steps=2, **weights).image
        painted = read_image(out / row["file"])
        assert (painted - expected).abs().max() <= 1 / 255 + 1e-6
        assert (painted - content).abs().max() > 0.1


def test_more_strength_goes_further_from_the_photo(paint, photos, tmp_path):
    distances = []
    for alpha in (0, 0.01, 1):
        rows = paint(photos, tmp_path / str(alpha), alpha=alpha, steps=12).rows
        assert {row["alpha"] for row in rows} == {alpha}
        painted = torch.cat([read_image(tmp_path / str(alpha) / row["file"]) for row in rows])
        distances.append((painted - torch.cat([read_image(photos / row["source"]) for row in rows])).abs())
    assert distances[0].max() == 0 and (distances[1].mean((1, 2, 3)) < distances[2].mean((1, 2, 3))).all()


@pytest.mark.parametrize("method", ["optimise", "fast"])
def test_strength_zero_is_the_photo_in_any_company(paint, photos, out, method, monkeypatch):
    draw = jobs._draw
    monkeypatch.setattr(
        jobs, "_draw", lambda source, *rest: (draw(source, *rest)[0], 0.0 if "0.png" in source else 1.0)
    )
    write_image(photo_of(70, 33, 300), photos / "cup" / "large0.png")  # optimised at two sizes
    for row in paint(photos, out, method=method).rows:
        distance = (read_image(out / row["file"]) - read_image(photos / row["source"])).abs().max()
        assert distance == 0 if "0.png" in row["source"] else distance > 0.1


def test_mixture_goes_from_one_style_to_all_alike(paint, many, photos, tmp_path, styles):
    rows = paint(many, tmp_path / "one", mixture=0, steps=1).rows
    assert all(list(row["styles"].values()) == [1] for row in rows)
    assert {name for row in rows for name in row["styles"]} == set(styles)
    for row in paint(photos, tmp_path / "alike", mixture=1e6, steps=1).rows:
        assert list(row["styles"].values()) == pytest.approx([0.5, 0.5], abs=0.01)


def test_styles_by_name_as_file_and_as_tensor_are_the_same(paint, photos, out, tmp_path):
    write_image(painting("mosaic", STYLE_SIDE // 2), tmp_path / "mosaic.png")
    tensor = read_image(tmp_path / "mosaic.png")
    for number, style in enumerate(("mosaic", str(tmp_path / "mosaic.png"), tensor)):
        rows = paint(photos, out / str(number), [style], steps=1).rows
        assert {*rows[0]["styles"]} == {"style 0" if style is tensor else style}
    named, file, given = ([read_image(path) for path in sorted((out / str(i)).rglob("*.png"))] for i in range(3))
    assert all(torch.equal(a, b) for a, b in zip(file, given, strict=True))
    assert {row["recipe"] for row in manifest_of(out / "1")} == {row["recipe"] for row in manifest_of(out / "2")}
    assert all((a - b).abs().max() < 0.5 for a, b in zip(named, file))  # the file has 8 bits, and other draws


def test_a_folder_of_styles_is_all_its_pictures(paint, photos, out, styles, tmp_path):
    folder = Path(styles[0]).parent
    (folder / "more").mkdir()
    for name in (".hidden.png", "notes.txt"):
        (folder / name).write_text("no picture")
    shutil.copy(styles[0], folder / "more" / "nested.png")
    rows = paint(photos, out, [folder], steps=1).rows
    assert {name for row in rows for name in row["styles"]} == {*styles}
    paint(photos, tmp_path / "listed", sorted(styles), steps=1)
    assert pictures(out) == pictures(tmp_path / "listed")


def test_size_is_the_longer_side(paint, photos, out):
    write_image(photo_of(90, 20, 24), photos / "cat" / "small.png")
    rows = paint(photos, out, size=48, steps=1).rows
    shapes = {row["source"]: tuple(read_image(out / row["file"]).shape[2:]) for row in rows}
    assert shapes.pop("cat/small.png") == (40, 48) and set(shapes.values()) == {(38, 48)} and len(shapes) == 5


def test_photos_of_several_sizes_and_kinds(paint, photos, out):
    """Upright, in their own size, each in its own tile; a TIFF that lies on its side, too."""
    turned = Image.Exif()
    turned[0x0112] = 6
    pixels = Image.fromarray((photo_of(70, 32, 40)[0].permute(1, 2, 0) * 255).byte().numpy())
    for ending in ("jpg", "webp", "tif"):
        pixels.save(photos / "cat" / f"turned.{ending}", exif=turned)
    pixels.convert("L").save(photos / "cat" / "grey.png")
    write_image(photo_of(71, 132, 33), photos / "cat" / "large.png")
    write_image(photo_of(72, 33, 32), photos / "cup" / "small.jpg")
    result = paint(photos, out)
    assert result.errors == {} and result.made == 11
    shapes = {row["source"]: tuple(read_image(out / row["file"]).shape[2:]) for row in result.rows}
    assert shapes == {source: tuple(read_image(photos / source).shape[2:]) for source in shapes}
    assert [shapes[f"cat/turned.{ending}"] for ending in ("jpg", "webp", "tif")] == [(40, 32)] * 3
    for row in result.rows:  # an upright picture of the same photo
        assert (read_image(out / row["file"]) - read_image(photos / row["source"])).abs().mean() < 0.3


@pytest.mark.parametrize("method", ["optimise", "fast"])
def test_a_wide_style_and_small_photos(paint, photos, out, method):
    """At the photos' 40 pixels it would be 7 high: thinner than the network sees."""
    wide = painting("starry", size=96)[..., :16, :]
    result = paint(photos, out, styles=[wide], method=method)
    assert result.made == 5 and not result.errors
    image = read_image(photos / "cat" / "0.png")
    assert (read_image(out / "cat" / "0_png_0.png") - image).abs().mean() > 0.01  # painted


def test_names_that_differ_in_little_give_a_picture_each(paint, photos, out):
    long = [
        "x" * 240 + "1.jpg",
        "x" * 240 + "2.jpg",
        "ü" * 120 + ".png",
        unicodedata.normalize("NFD", "ü" * 60) + ".png",
    ]
    for number, name in enumerate(("0.jpg", "0.PNG", "0.tar.png", "0_png.png", "ünï cödé.png", *long)):
        write_image(photo_of(80 + number), photos / "cat" / name)
    (photos / "cat" / "tabby").mkdir()
    write_image(photo_of(90), photos / "cat" / "tabby" / "0.png")
    result = paint(photos, out, per_image=2, steps=1)
    assert result.made == len(result.rows) == len(pictures(out)) == 30 and not result.errors
    assert paint(photos, out, per_image=2, steps=1).kept == 30 and "cat/tabby/0_png_0.png" in pictures(out)


def test_what_was_painted_can_be_trained_on(paint, tmp_path, out):
    assert paint(fill(tmp_path / "photos", {"cat": 4, "cup": 4}), out).made == 8
    sides = [load_dataset(str(out), split) for split in ("train", "validation", "test")]
    assert all(side.classes == ["cat", "cup"] for side in sides) and sum(map(len, sides)) == 8
    image, label = sides[0][0]
    assert image.shape[0] == 3 and label in (0, 1)


# company, order and processes


def test_a_picture_is_the_same_in_any_company(paint, many, out, tmp_path):
    write_image(photo_of(60, 34, 132), many / "cup" / "large.png")  # painted alone
    paint(many, out, steps=12)  # enough for a last bit to grow
    together = pictures(out)
    for name in ("cat/5.png", "cup/3.png", "cup/large.png"):
        alone = tmp_path / "alone" / name[:-4].replace("/", "_")
        (alone / name).parent.mkdir(parents=True)
        shutil.copy(many / name, alone / name)
        paint(alone, alone.with_suffix(".painted"), steps=12)
        ((file, picture),) = pictures(alone.with_suffix(".painted")).items()
        assert together[file] == picture


def test_the_order_of_the_styles_does_not_matter(paint, photos, out, styles, tmp_path):
    write_image(painting("woodcut", size=48), tmp_path / "woodcut.png")
    three = [*styles, str(tmp_path / "woodcut.png")]
    first = paint(photos, out, three, mixture=3, steps=12)
    rows = paint(photos, tmp_path / "turned", three[1:] + three[:1], mixture=3, steps=12).rows
    assert without_seconds(rows) == without_seconds(first.rows) and pictures(tmp_path / "turned") == pictures(out)
    assert paint(photos, out, three[::-1], mixture=3, steps=12).kept == 5


def test_several_processes_write_the_same_bytes(paint, many, out, tmp_path):
    write_image(photo_of(60, 34, 132), many / "cup" / "large.png")
    (many / "cup" / "text.png").write_text("no image")
    alone, counts = paint(many, out, steps=12), []
    together = paint(many, tmp_path / "two", steps=12, workers=2, callback=lambda *count: counts.append(count))
    assert pictures(tmp_path / "two") == pictures(out) and together.errors == alone.errors != {}
    assert without_seconds(together.rows) == without_seconds(alone.rows) and together.made == 11
    assert len(counts) == 11 and counts[-1] == (12, 12) and together.rows == manifest_of(tmp_path / "two")
    # once more into the same folder, while the workers are still there: other settings reach them
    folders = ((tmp_path / "two", 2), (out, 1))
    assert [paint(many, folder, steps=1, workers=workers).made for folder, workers in folders] == [11, 11]
    assert pictures(tmp_path / "two") == pictures(out)


def test_draws_depend_on_the_seed_the_styles_and_the_name(paint, original, photos, tmp_path, styles):
    shutil.copy(photos / "cat" / "0.png", photos / "cat" / "twin.png")
    for number, change in enumerate(({"seed": 1}, {"styles": [styles[0], "brick"]})):
        rows = paint(photos, tmp_path / str(number), steps=1, **change).rows
        others = {row["file"]: row for row in original.result.rows}
        pairs = [(others[row["file"]], row) for row in rows if row["file"] in others]
        assert len(pairs) == 5 and all(a["alpha"] != b["alpha"] and a["recipe"] != b["recipe"] for a, b in pairs)
        alphas = {row["source"]: row["alpha"] for row in rows}
        assert alphas["cat/0.png"] != alphas["cat/twin.png"]


def test_threads_and_random_numbers_of_the_caller_are_left_alone_and_change_no_bit(paint, photos, out, tmp_path):
    def states():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()

    paint(photos, out, steps=12)
    before, threads, inside = states(), torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        paint(photos, tmp_path / "two", steps=12, callback=lambda *count: inside.append(torch.get_num_threads()))
        assert torch.get_num_threads() == 2 and set(inside) == {2}
    finally:
        torch.set_num_threads(threads)
    assert states() == before and pictures(tmp_path / "two") == pictures(out)


def test_the_callback_counts_to_the_end(paint, many, out):
    (many / "cat" / "text.png").write_text("no image")
    cut_short(many / "cat" / "1.jpg")
    for expected in (22, 6):  # of 10 photos and one that cannot be read, twice; then of that and of four
        counts = []
        paint(many, out, steps=1, per_image=2, callback=lambda *count: counts.append(count))
        total = counts[-1][1]
        assert total >= 22 and counts == [(total - expected + i, total) for i in range(1, expected + 1)]
        for file in list((out / "cup").iterdir())[:4]:
            file.unlink()


# going on


def test_a_second_call_finds_all_done_and_paints_what_is_missing(paint, original, done):
    first, before = original.result, times(done)
    second = paint(original.photos, done)
    assert (second.made, second.kept, second.rows) == (0, 5, first.rows) and times(done) == before
    (done / "cat" / "1_png_0.png").unlink()
    third, after = paint(original.photos, done), times(done)
    assert (third.made, third.kept) == (1, 4) and pictures(done) == pictures(original.painted)
    assert {name for name in after if after[name] != before[name]} == {"cat/1_png_0.png"}
    assert without_seconds(third.rows) == without_seconds(first.rows) and third.rows == manifest_of(done)


@pytest.mark.parametrize(
    "damage, lost",
    [
        ("missing", 5),
        ("empty", 5),
        ("not ours", 5),
        ("cut in the last line", 1),
        ("a half line more", 0),
        ("lines that are none of ours", 0),
        ("old rows", 0),
    ],
)
def test_a_lost_manifest_is_written_anew_from_the_pictures(paint, original, done, damage, lost):
    rows, before, manifest = original.result.rows, times(done), done / MANIFEST
    text = manifest.read_text()
    damaged = {
        "empty": "",
        "not ours": '{"a": 1}\n',
        "cut in the last line": text[:-30],
        "a half line more": text + text[:60],
        "lines that are none of ours": '[1]\nnull\n{"file": []}\n{"file": "cat/0_png_0.png", "seconds": "x"}\n\udcff\n'
        + text,
        "old rows": text + json.dumps(rows[0] | {"file": "cat/gone.png"}) + "\n",
    }
    manifest.unlink()
    if damage in damaged:
        manifest.write_bytes(os.fsencode(damaged[damage]))
    result = paint(original.photos, done)
    assert result.made == 0 and result.kept == 5 and times(done) == before
    assert [row["seconds"] for row in result.rows] == [row["seconds"] for row in rows[: 5 - lost]] + [None] * lost
    assert without_seconds(result.rows) == without_seconds(rows)
    assert manifest_of(done) == result.rows and manifest.read_text().count("\n") == 5


def test_a_row_after_a_line_cut_short_is_whole(paint, original, done):
    def stop(done, total):
        raise RuntimeError("pulled the plug")

    (done / MANIFEST).write_text((done / MANIFEST).read_text()[:-30])
    (done / "cat" / "1_png_0.png").unlink()
    with pytest.raises(RuntimeError, match="the plug"):
        paint(original.photos, done, callback=stop)
    last = manifest_of(done)[-1]
    assert last["file"] == "cat/1_png_0.png" and last["seconds"] > 0
    assert [row["seconds"] is None for row in paint(original.photos, done).rows] == [False] * 4 + [True]


@pytest.mark.parametrize("left, listed", [(0, False), (0, True), (60, True), (-60, True), (-60, False), (None, False)])
def test_a_damaged_picture_of_ours_is_painted_again(paint, original, done, left, listed):
    """So much is left of it, or as many zeros as it had bytes; a note that is left says whose it is."""
    path = done / "cat" / "1_png_0.png"
    whole = path.read_bytes()
    path.write_bytes(bytes(len(whole)) if left is None else whole[:left])
    if not listed:
        (done / MANIFEST).unlink()
    result = paint(original.photos, done)
    assert (result.made, result.kept) == (1, 4) and pictures(done) == pictures(original.painted)


def test_another_recipe_paints_over_and_its_seconds_are_its_own(paint, original, done, tmp_path):
    old = (done / MANIFEST).read_text()
    result = paint(original.photos, done, seed=1)
    paint(original.photos, tmp_path / "fresh", seed=1)
    assert (result.made, result.kept) == (5, 0) and pictures(done) == pictures(tmp_path / "fresh")
    (done / MANIFEST).write_text(old)  # as if the second run had been killed before it could write
    result = paint(original.photos, done, seed=1)
    assert result.kept == 5 and {row["seconds"] for row in result.rows} == {None}


@pytest.mark.parametrize(
    "change, kept",
    [
        ({"steps": 3}, 0),
        ({"alpha": 0.7}, 0),
        ({"mixture": 5}, 0),
        ({"size": 44}, 0),
        ({"resume": False}, 0),
        ({"styles": ["brick"]}, 0),
        ({"net": "of other weights"}, 0),
        ({"method": "fast"}, 0),
        ({"per_image": 2}, 5),
        ({"force": True}, 5),
    ],
)
def test_what_belongs_to_the_recipe(paint, net, original, change, kept):
    if "net" in change:
        change = {"net": copy.deepcopy(net)}
        next(change["net"].parameters()).data.mul_(1.01)
    assert paint(original.photos, original.painted, dry_run=True, **change).kept == kept


def test_a_photo_that_changed_is_painted_again_and_no_other(paint, photos, done):
    before = times(done)
    write_image(photo_of(99), photos / "cup" / "1.png")
    write_image(photo_of(98), photos / "cup" / "new.png")
    result, after = paint(photos, done), times(done)
    assert result.kept == 4 and result.made == 2
    assert {name for name in after if after[name] != before.get(name)} == {"cup/1_png_0.png", "cup/new_png_0.png"}


def test_files_that_a_killed_run_left_half_written_disturb_nothing(paint, original, out):
    (out / "cat").mkdir(parents=True)
    (out / "cat" / ".0_png_0.png.0123abcd.part").write_bytes(b"\x89PNG half a pict")
    (out / f".{MANIFEST}.0123abcd.part").write_text('{"file": "cat/0_p')
    result = paint(original.photos, out)
    assert not list(out.rglob(".*"))
    assert result.errors == {} and without_seconds(result.rows) == without_seconds(original.result.rows)
    assert pictures(out) == pictures(original.painted) and paint(original.photos, out).kept == 5


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_kill_9_loses_nothing_and_redoes_nothing(paint, tmp_path, out, styles):
    photos, steps = fill(tmp_path / "photos", {"cat": 20, "cup": 20}), 30
    killed = start_command(photos, out, styles, steps, workers=2)
    try:
        wait_until(lambda: len(list(out.rglob("*.png"))) >= 9, killed)
        workers = psutil.Process(killed.pid).children(recursive=True)
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait(timeout=60)
        assert not psutil.wait_procs(workers, timeout=10)[1]  # they end by themselves
    finally:
        end_group(killed)
    assert killed.returncode == KILLED
    before, manifest = times(out), manifest_of(out)
    assert 9 <= len(before) < 40
    (out / f".0_png_0.png.{HOST}-{killed.pid}-0123abcd.part").write_bytes(b"\x89PNG half a pict")
    assert len(manifest) <= len(before) and {row["file"] for row in manifest} <= before.keys()
    resumed = paint(photos, out, steps=steps)
    assert resumed.kept == len(before) and resumed.made == 40 - len(before) and resumed.errors == {}
    after = times(out)
    assert {name: after[name] for name in before} == before
    whole = paint(photos, tmp_path / "whole", steps=steps)
    assert pictures(out) == pictures(tmp_path / "whole")
    assert without_seconds(resumed.rows) == without_seconds(whole.rows)
    known = dict.fromkeys(before) | {row["file"]: row["seconds"] for row in manifest}
    assert {row["file"]: row["seconds"] for row in resumed.rows if row["file"] in before} == known
    assert {file.suffix for file in out.rglob("*") if file.is_file()} == {".png", ".jsonl"}  # hidden ones, too


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_a_killed_worker_is_called_that_and_the_same_call_goes_on(paint, many, out):
    def kill(done, total):
        for process in psutil.Process().children() if done == 1 else []:
            with suppress(psutil.Error):  # of an earlier test, and just gone
                if "LokyProcess" in " ".join(process.cmdline()):
                    process.kill()

    for number in range(20):
        write_image(photo_of(100 + number), many / "cup" / f"more{number}.png")
    with pytest.raises(ChildProcessError, match="a worker process was killed, perhaps for lack of memory: .* goes on"):
        paint(many, out, steps=12, workers=2, callback=kill)
    kept = len(pictures(out))
    result = paint(many, out, steps=12)
    assert (result.kept, result.made, result.errors) == (kept, 30 - kept, {}) and 8 <= kept < 30


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT as a terminal sends it")
def test_a_real_ctrl_c_ends_the_command_and_leaves_no_half_painted_picture(paint, tmp_path, out, styles):
    photos, steps = fill(tmp_path / "photos", {"cat": 40}), 30
    stopped = start_command(photos, out, styles, steps, workers=2)
    try:
        wait_until(lambda: len(list(out.rglob("*.png"))) >= 17, stopped)  # the progress bar is there by then
        os.killpg(stopped.pid, signal.SIGINT)
        _, err = stopped.communicate(timeout=60)
    finally:
        end_group(stopped)
    goes_on = "d2lstyle: stopped: the pictures made so far are kept, the same command goes on"
    assert stopped.returncode == 130 and goes_on in err.splitlines() and "Traceback" not in err, err
    before = pictures(out)
    assert 17 <= len(before) < 40
    for file in (file for file in (photos / "cat").iterdir() if f"cat/{file.stem}_png_0.png" not in before):
        file.unlink()  # what was not reached need not be compared
    paint(photos, tmp_path / "whole", steps=steps)
    assert before == pictures(tmp_path / "whole")


def start_command(source, out, styles, steps, workers):
    """The command as another process, the leader of a group of its own."""
    command = [sys.executable, "-c", "from d2lstyle.cli import main; main()", "stylize-folder", str(source), str(out)]
    command += [word for style in styles for word in ("--styles", style)]
    command += ["--steps", str(steps), "--workers", str(workers), "--backbone", "efficientnet_lite0", "--device", "cpu"]
    hears_ctrl_c = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # tests in the background ignore it
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True, preexec_fn=hears_ctrl_c, **streams)


def test_ctrl_c_within_a_tile_keeps_the_tiles_before(paint, many, out, tmp_path, monkeypatch):
    paint(many, tmp_path / "whole")
    tiles = []

    def interrupted(*arguments, **options):
        def press_ctrl_c(step):
            raise KeyboardInterrupt

        tiles.append(1)
        return stylize(*arguments, **options, callback=press_ctrl_c if len(tiles) == 2 else None)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(worker, "stylize", interrupted)
        paint(many, out)
    whole, first = pictures(tmp_path / "whole"), pictures(out)
    assert len(first) == 8 and first == {name: whole[name] for name in first}
    assert len(manifest_of(out)) == 8
    assert paint(many, out).kept == 8 and pictures(out) == whole


# what goes wrong


def failing(monkeypatch, fails, error):
    """Let `stylize` raise this for the contents that fail; the sizes of all its batches, as they are asked for."""
    sizes = []

    def limited(contents, *arguments, **options):
        sizes.append(len(contents))
        if fails(contents):
            raise error
        return stylize(contents, *arguments, **options)

    monkeypatch.setattr(worker, "stylize", limited)
    return sizes


OUT_OF_MEMORY = [
    MemoryError(),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    torch.OutOfMemoryError("CUDA out of memory."),
    RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
]


def test_too_little_memory_halves_the_tile_for_good(paint, many, out, tmp_path, monkeypatch):
    paint(many, tmp_path / "whole")
    sizes = failing(monkeypatch, lambda contents: len(contents) > 2, OUT_OF_MEMORY[1])
    result = paint(many, out)
    assert sizes == [8, 4, 2, 2, 2, 2, 2] and result.errors == {} and result.made == 10
    for name in pictures(out):
        assert (read_image(out / name) - read_image(tmp_path / "whole" / name)).abs().max() <= 2 / 255


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_too_little_memory_for_one_picture_is_an_error_of_each(paint, many, out, monkeypatch, error):
    sizes = failing(monkeypatch, lambda contents: True, error)
    result = paint(many, out)
    assert result.made == 0 and result.rows == [] and len(result.errors) == 10 and not pictures(out)
    assert all("memory" in text for text in result.errors.values())
    assert sizes[:4] == [8, 4, 2, 1] and max(sizes[4:]) == 1


def test_too_little_memory_to_read_a_photo_is_its_error(paint, photos, out, monkeypatch):
    def read(path, size=None):
        if path.name == "1.png" and path.parent.name == "cat":
            raise MemoryError
        return read_image(path, size)

    monkeypatch.setattr(worker, "read_image", read)
    result = paint(photos, out, [painting("mosaic", 48)])
    assert list(result.errors) == ["cat/1.png"] and "memory" in result.errors["cat/1.png"] and result.made == 4


def test_pictures_that_cannot_be_written_are_named_and_a_full_disk_ends_all(paint, original, out, monkeypatch):
    out.mkdir()
    (out / "cup").write_text("a file where a folder should be")
    result = paint(original.photos, out)
    assert result.made == 3 and result.errors.keys() == {"cup/0.png", "cup/1.png"} and (out / "cup").read_text()
    assert all("cup" in text for text in result.errors.values())

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worker, "write_image", full)
    with pytest.raises(OSError, match="cannot write .*0_png_0.png: No space left on device; make room and call again"):
        paint(original.photos, out, steps=1)


@pytest.mark.parametrize("error", [RuntimeError("an assumption did not hold"), OSError(28, "No space")])
def test_an_error_of_our_own_is_not_hidden(paint, photos, out, monkeypatch, error):
    failing(monkeypatch, lambda contents: True, error)
    threads = torch.get_num_threads()
    with pytest.raises(type(error)) as raised:
        paint(photos, out)
    assert raised.value is error and torch.get_num_threads() == threads


@pytest.mark.parametrize("error", [FloatingPointError("the loss is not finite"), ValueError("the style is too thin")])
def test_a_picture_that_cannot_be_painted_is_alone_in_it(paint, original, out, monkeypatch, error):
    bad = read_image(original.photos / "cat" / "2.png")
    failing(monkeypatch, lambda contents: (contents == bad).flatten(1).all(1).any(), error)
    result, whole = paint(original.photos, out), pictures(original.painted)
    assert result.errors == {"cat/2.png": str(error)} and result.made == 4
    del whole["cat/2_png_0.png"]
    assert pictures(out) == whole


def test_photos_that_cannot_be_painted_are_named_and_the_others_made(paint, original, photos, out):
    cut_short(photos / "cat" / "cut.png")
    cut_short(photos / "cat" / "cut.jpg")
    (photos / "cat" / "text.jpg").write_text("no image")
    (photos / "cat" / "empty.png").write_bytes(b"")
    write_image(photo_of(50, 31, 40), photos / "cat" / "small.png")
    (photos / "cat" / "gone.png").symlink_to(photos / "nowhere.png")
    expected = {
        "cat/text.jpg": "cannot be read",
        "cat/empty.png": "cannot be read",
        "cat/cut.png": "truncated",
        "cat/cut.jpg": "cut short",
        "cat/small.png": "expected at least 32 x 32 pixels, got 31 x 40",
    }
    for kept in (0, 5):  # the errors are found again, what is done is not
        with pytest.warns(UserWarning, match=r"not read in .*: cat.gone.png \(a link that leads nowhere\)$"):
            result = paint(photos, out)
        assert result.errors.keys() == expected.keys() and (result.made, result.kept) == (5 - kept, kept)
        assert all(text in result.errors[name] for name, text in expected.items())
        assert pictures(out) == pictures(original.painted) and len(result.rows) == len(manifest_of(out)) == 5


# splits


@pytest.fixture
def splits(tmp_path):
    """A folder with train, validation and test, two classes each."""
    for side in ("train", "validation", "test"):
        fill(tmp_path / "splits" / side, {"cat": 2, "cup": 1})
    return tmp_path / "splits"


def test_train_alone_is_painted_unless_forced(paint, splits, tmp_path):
    names = ["cat/0_png_0.png", "cat/1_png_0.png", "cup/0_png_0.png"]
    for source, prefix in ((splits, "train/"), (splits / "train", "")):
        rows = paint(source, tmp_path / f"of {source.name}", steps=1).rows
        assert [row["file"] for row in rows] == [prefix + name for name in names]
        assert {row["split"] for row in rows} == {"train"}
    rows = paint(splits, tmp_path / "all", force=True, steps=1).rows
    assert [row["file"].split("/")[0] for row in rows] == ["test"] * 3 + ["train"] * 3 + ["validation"] * 3
    assert all(row["split"] == row["file"].split("/")[0] for row in rows)


@pytest.mark.parametrize(
    "source, place, where",
    [
        ("splits", "splits", "outside splits"),
        ("splits", "splits/train/cat/new", "outside splits"),
        ("splits", ".", "that does not hold splits"),
        ("splits/train", "splits", "that does not hold splits/train"),
        ("splits/train", "splits/test", "outside .*/test"),
        ("splits/train", "splits/train/../validation/new", "outside .*/validation"),
        ("splits/train", "link/cup/new", "outside .*/test"),
        ("link to train", "splits/train/new", "outside link to train"),
        ("photos", "splits/test", "outside .*/test"),
        ("photos", "splits/train/new", "outside .*/train"),
        ("photos", "splits", "that does not hold .*/train"),
        ("linked", "elsewhere/cats/new", "outside .*linked/cat"),
        ("photos", "holds a link", "outside photos"),
    ],
)
def test_no_place_where_pictures_would_be_taken_for_photos(
    paint, photos, splits, tmp_path, monkeypatch, source, place, where
):
    monkeypatch.chdir(tmp_path)
    links = [("link", "splits/test"), ("link to train", "splits/train"), ("linked/cat", "elsewhere/cats")]
    links.append(("holds a link/cat", "photos/cat"))  # where a class of photos goes
    for link, target in links:
        Path(link).parent.mkdir(exist_ok=True)
        Path(target).mkdir(parents=True, exist_ok=True)
        Path(link).symlink_to(Path(target).resolve())
    write_image(photo_of(7), Path("elsewhere", "cats", "0.png"))
    before = pictures(tmp_path)
    for out in (place, tmp_path / place):
        with pytest.raises(ValueError, match=f"expected a folder {where}"):
            paint(source, out)
    assert pictures(tmp_path) == before


def test_what_was_painted_of_all_splits_is_no_such_place(paint, splits, out):
    assert [paint(splits, out, force=True, steps=1).made for _ in range(2)] == [9, 0]
    assert paint(splits / "train", splits / "painted", steps=1).made == 3  # beside the splits, among which it is none


@pytest.mark.parametrize("side, split", [("validation", "validation"), ("val", "validation"), ("Test", "test")])
def test_held_out_photos_are_painted_by_force_alone(paint, splits, out, side, split, monkeypatch):
    held_out = (splits / split).rename(splits / side)
    with pytest.raises(ValueError, match=f"is a {split} split.*force=True"):
        paint(held_out, out)
    monkeypatch.chdir(held_out)
    with pytest.raises(ValueError, match="force=True"):
        paint(".", out)
    assert not out.exists()
    rows = paint(held_out, out, force=True, steps=1).rows
    assert len(rows) == 3 and {row["split"] for row in rows} == {split}


def test_a_folder_without_train_is_refused(paint, splits, out):
    shutil.rmtree(splits / "train")
    with pytest.raises(ValueError, match="has no folder 'train', only validation, test.*force=True"):
        paint(splits, out)
    assert not out.exists()


@pytest.mark.parametrize(
    "source, side, flat", [("", "test", True), ("train", "validation", False), ("train", "test", True)]
)
def test_a_style_from_a_held_out_side_is_warned_of(paint, splits, out, tmp_path, net, source, side, flat):
    style = tmp_path / "style.png"
    shutil.copy(splits / side / "cat" / "1.png", style)
    if flat:  # photos to predict, without labels: no reason not to paint the others
        shutil.rmtree(splits / side)
        (splits / side).mkdir()
        shutil.copy(style, splits / side / "unknown.png")
    with pytest.warns(UserWarning, match=f"style .*style.png is an image of the {side} side, .*too good") as warned:
        stylize_folder(splits / source, out, [str(style)], steps=1, net=net, workers=1)
    assert [Path(warning.filename).name for warning in warned] == [Path(__file__).name]  # whose line it was


def test_a_style_from_the_training_side_is_nobodys_business(paint, splits, out, tmp_path, recwarn):
    shutil.copy(splits / "train" / "cat" / "1.png", tmp_path / "style.png")
    paint(splits, out, [str(tmp_path / "style.png"), str(splits / "train" / "cup" / "0.png")], steps=1)
    assert not list(recwarn)


# bad input


@pytest.mark.parametrize(
    "what, resume",
    [
        ("no note", True),
        ("a text", True),
        ("a JPEG in disguise", True),
        ("a note of others", False),
        ("a folder", True),
    ],
)
def test_a_file_of_others_is_never_overwritten(paint, original, out, resume, what):
    path = out / "cat" / "1_png_0.png"
    path.parent.mkdir(parents=True)
    if what == "a folder":
        path.mkdir()
    elif what == "a text":
        path.write_text("my notes")
    else:
        write_image(photo_of(3), path, notes={"Comment": "mine"} if "others" in what else None)
        if "JPEG" in what:
            Image.open(path).save(path, "JPEG")
    before = None if path.is_dir() else path.read_bytes()
    with pytest.raises(
        ValueError, match="1_png_0.png is in the way, and no picture of ours: choose another folder, or"
    ):
        paint(original.photos, out, resume=resume)
    assert [*out.rglob("*.*")] == [path] and (before is None or path.read_bytes() == before)


BAD = {
    "no source": ({"source": "nowhere"}, "there is no folder .*nowhere"),
    "a file as source": ({"source": "photos/cat/0.png"}, "there is no folder .*0.png"),
    "no classes": ({"source": "photos/cat"}, "has no class folders"),
    "out deep inside source": ({"out": "photos/cat/../cup/new"}, "expected a folder outside .*photos to write"),
    "out is source": ({"out": "photos"}, "expected a folder outside"),
    "out inside source by another way": ({"out": "link/painted"}, "expected a folder outside"),
    "out is a file": (
        {"out": "photos/note.txt"},
        "expected a folder to write, got photos/note.txt: .*note.txt is a file",
    ),
    "out below a file": ({"out": "photos/note.txt/new"}, "expected a folder to write, got .*new: .*note.txt is a file"),
    "one string": ({"styles": "starry"}, "expected a list of styles, got starry"),
    "no styles": ({"styles": []}, "expected a list of styles, got none"),
    "a folder of styles without any": ({"styles": ["photos"]}, "the folder of styles photos has no pictures in it"),
    "a style file that is none": ({"styles": ["photos/note.txt"]}, "note.txt is not an image"),
    "engine": ({"engine": "spark"}, "unknown engine 'spark': .*local, ray"),
    "method": ({"method": "magic"}, "unknown method 'magic'"),
    "half a copy": ({"per_image": 0.5}, "expected per_image as an integer of at least 1, got 0.5"),
    "no workers": ({"workers": 0}, "expected workers as an integer of at least 1, got 0"),
    "alpha upside down": (
        {"alpha": (1, 0)},
        r"expected alpha as \(smallest, largest\) of at least 0 and finite, got \(1, 0\)",
    ),
    "endless alpha": ({"alpha": float("inf")}, "expected alpha as a number of at least 0 and finite, got inf"),
    "too much alpha": ({"alpha": 1.5, "method": "fast"}, r"alpha in \[0, 1\] for the fast method, got 1.5"),
    "negative mixture": ({"mixture": -1}, "expected mixture as a number of at least 0 and finite, got -1"),
    "no steps": ({"steps": 0}, "expected steps as an integer of at least 1, got 0"),
    "seed in words": ({"seed": "one"}, "expected seed as an integer .*, got 'one'"),
    "a manifest of others": ({"out": "taken"}, "manifest.jsonl is in the way, and no manifest of ours: choose another"),
    "size in words": ({"size": "large"}, "expected size in pixels"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_one_clear_error(paint, photos, tmp_path, monkeypatch, name):
    (photos / "note.txt").write_text("no image")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / MANIFEST).write_text('{"mine": 1}\n')
    (tmp_path / "link").symlink_to(photos)
    monkeypatch.chdir(tmp_path)
    changes, text = BAD[name]
    if "net" in changes:
        changes = changes | {"net": backbone("squeezenet1_1", weights=None, device="cpu")}
    options = {"source": "photos", "out": "painted"} | changes
    before = pictures(tmp_path)
    with pytest.raises(ValueError, match=text):
        paint(options.pop("source"), options.pop("out"), **options)
    assert (tmp_path / "taken" / MANIFEST).read_text() == '{"mine": 1}\n'
    assert pictures(tmp_path) == before and not (tmp_path / "painted").exists()


# the estimate


def test_a_dry_run_counts_and_writes_nothing(paint, photos, done, out):
    (photos / "cat" / "text.png").write_text("no image")
    result = paint(photos, out, dry_run=True, per_image=2)
    assert not out.exists() and result.rows == [] and result.errors.keys() == {"cat/text.png"}
    assert (result.pending, result.kept, result.made) == (10, 0, 0) and result.seconds > 0
    assert paint(photos, done, dry_run=True).seconds == 0  # all is done
    (done / "cat" / "1_png_0.png").unlink()
    before, manifest = times(done), (done / MANIFEST).read_text()
    result = paint(photos, done, dry_run=True)
    assert (result.pending, result.kept, result.made) == (1, 4, 0) and result.seconds > 0
    assert times(done) == before and (done / MANIFEST).read_text() == manifest


@pytest.mark.parametrize("workers", [1, 2])
def test_the_estimate_is_by_pixels(paint, tmp_path, out, monkeypatch, workers):
    """A tile takes 2 s; one has four times the pixels of the three others."""
    photos, now = fill(tmp_path / "photos", {"cat": 17}), [100.0]
    write_image(photo_of(40, 64, 80), photos / "cat" / "large.png")
    monkeypatch.setattr(running.TilePainter, "paint", lambda self, tile: now.append(now[-1] + 2))
    monkeypatch.setattr(running, "time", SimpleNamespace(perf_counter=lambda: now[-1]))
    assert paint(photos, out, dry_run=True, workers=workers).seconds == pytest.approx(2 / workers * (3 + 4))


# in one pass


def test_the_fast_method_paints_as_the_fast_network_does_in_any_company(net, photos, tmp_path):
    names, options = ["starry", "mosaic"], {"method": "fast", "net": net, "workers": 1}
    result = stylize_folder(photos, tmp_path / "out", names, **options)
    assert result.made == len(result.rows) == 5 and not result.errors
    styles = [painting(name, STYLE_SIDE // 2) for name in names]
    for row in result.rows:
        shares = [row["styles"].get(name, 0) for name in names]
        expected = fast_stylize(
            read_image(photos / row["source"]), styles, style_weights=shares, alpha=row["alpha"], net=net
        )
        assert (read_image(tmp_path / "out" / row["file"]) - expected).abs().max() < 2.5 / 255
        assert row["method"] == "fast"
    (tmp_path / "alone" / "cup").mkdir(parents=True)
    shutil.copy(photos / "cup" / "1.png", tmp_path / "alone" / "cup")
    stylize_folder(tmp_path / "alone", tmp_path / "one", names[::-1], **options)
    assert pictures(tmp_path / "one") == {"cup/1_png_0.png": pictures(tmp_path / "out")["cup/1_png_0.png"]}


def test_pictures_of_another_run_are_pointed_out_and_what_is_not_ours_is_not_to_be_removed(net, photos, done, styles):
    shutil.rmtree(photos / "cup")
    write_image(photo_of(3), done / "cup" / "holiday.jpg")
    (done / "notes.txt").write_text("mine")
    with pytest.warns(UserWarning) as warned:
        stylize_folder(photos, done, styles, net=net, steps=2, workers=1)
    ours, stranger = (str(warning.message) for warning in warned)
    assert re.search("2 pictures in .*done do not belong to this run, such as cup/0_png_0.png: remove them, or", ours)
    assert re.search(
        "1 pictures in .*done do not belong to us, such as cup/holiday.jpg: choose another folder", stranger
    )
    assert "remove" not in stranger and len(pictures(done)) == 7  # nothing is lost
