"""The labs without a browser: sliders are set, buttons clicked, and what comes of it is waited for."""

import base64
import html
import io
import re
import subprocess
import sys
import time
from datetime import datetime
from threading import Event
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch.nn.functional import interpolate
from torchvision.transforms.functional import to_pil_image

import d2lstyle as ds
from d2lstyle.labs import (
    AugmentationLab,
    FineTuneLab,
    RegionLab,
    StyleLab,
    background,
    fine_tune_lab,
    lab,
    region_lab,
    run_controls,
    style_lab,
)
from d2lstyle.labs.background import Task
from d2lstyle.labs.lab import Lab
from d2lstyle.labs.picture_picker import MOST_MIB
from d2lstyle.labs.run_controls import Progress, RunControls
from d2lstyle.training import Evaluation

WIDGET = "application/vnd.jupyter.widget-view+json"
ENDLESS = 100_000  # steps


def until(question, seconds=30):
    """Wait until a question is answered with something true; return that."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := question():
            return answer
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s")


def said(shown):
    """The sentence that a lab shows."""
    return html.unescape(re.sub("<[^>]+>", "", shown.status.value))


def endless(checkpoint):
    """Work of a lab that has to be stopped."""
    while True:
        checkpoint()
        time.sleep(0.001)


def started(shown):
    """The lab, once its run has done a few steps."""
    shown.controls.start_button.click()
    until(lambda: len(shown.history) > 2)
    return shown


def finished(shown):
    """The lab, once the run that Start began is over."""
    shown.controls.start_button.click()
    assert shown.wait() and shown.controls.state == "finished" and said(shown) == ""
    return shown


def recorded(monkeypatch, module):
    """The calls of a lab's `stylize` from now on: [(arguments, options)]."""
    monkeypatch.setattr(module, "stylize", Mock(wraps=module.stylize))
    return module.stylize.call_args_list


def seconds_to_stop(shown):
    """Press Stop and wait for the threads; how long that took."""
    began = time.monotonic()
    shown.controls.stop_button.click()
    assert shown.wait(20)
    return time.monotonic() - began


def png(image):
    """One image as the bytes of a PNG file."""
    file = io.BytesIO()
    to_pil_image(image[0]).save(file, "PNG")
    return file.getvalue()


def upload(picker, name, content, size=None):
    """Hand a file to a picker as the browser does."""
    file = {"name": name, "type": "image/png", "size": size or len(content), "last_modified": datetime(2024, 1, 1)}
    picker.upload.value = ({**file, "content": memoryview(content)},)


@pytest.fixture
def closing():
    """closing(lab) returns the lab; after the test it is closed, and its threads must end."""
    shown = []

    yield lambda new: shown.append(new) or new
    for old in shown:
        old.close()
    assert all(old.wait(20) for old in shown)


@pytest.fixture
def make_style_lab(closing, net, photo, starry, mosaic, tmp_path):
    """make_style_lab(**options): a lab of 32 x 48 pixels."""

    def make(**options):
        small = {"photo": photo, "paintings": (starry, mosaic), "size": 48, "steps": ENDLESS}
        return closing(StyleLab(net=net, save_to=str(tmp_path / "a.png"), **{**small, **options}))

    return make


@pytest.fixture
def small_vending(monkeypatch, tmp_path):
    """Three classes of plain colours in place of the vending machine's goods."""
    colors = {"apple": (0.9, 0.1, 0.1), "lime": (0.1, 0.8, 0.2), "plum": (0.3, 0.1, 0.7)}
    dice = torch.Generator().manual_seed(0)
    for split in ("train", "validation", "test"):
        for name, color in colors.items():
            folder = tmp_path / "goods" / split / name
            folder.mkdir(parents=True)
            for number in range(3):
                image = torch.tensor(color).view(1, 3, 1, 1) + 0.1 * torch.randn(1, 3, 32, 32, generator=dice)
                ds.write_image(image.clamp(0, 1), folder / f"{number}.png")

    def load(name, split, *, domain="studio", root, size, per_class, seed, callback):
        assert name == "vending"
        return ds.load_dataset(
            tmp_path / "goods", split, size=32, per_class=min(per_class, 3), seed=seed, callback=callback
        )

    monkeypatch.setattr(fine_tune_lab, "load_dataset", load)


@pytest.fixture
def make_lab(closing, make_style_lab, small_vending, net, photo, starry):
    """make_lab("style"): one lab of each kind, small."""

    def make(kind):
        return {
            "augmentation": lambda: closing(AugmentationLab(photo=photo, size=32)),
            "style": make_style_lab,
            "region": lambda: closing(RegionLab(photo=photo, paint=starry, size=48, steps=3, net=net)),
            "fine_tune": lambda: closing(FineTuneLab(net=net, images=2, epochs=2)),
        }[kind]()

    return make


# ---------------------------------------------------------------- what all labs share


LEFT = f"""
import time
from d2lstyle.labs import AugmentationLab, StyleLab
lab, other = StyleLab(size=64, steps={ENDLESS}), StyleLab(size=64, steps={ENDLESS})
for started in (lab, other):
    started.controls.start_button.click()
while len(lab.history) < 2 or len(other.history) < 2:
    time.sleep(0.01)
other.controls.pause()
AugmentationLab()
print(time.time())
"""


def test_a_script_ends_whatever_its_labs_do():
    done = subprocess.run([sys.executable, "-c", LEFT], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "") and time.time() - float(done.stdout) < 10  # alone, one second


@pytest.mark.parametrize("kind", ["augmentation", "style", "region", "fine_tune"])
def test_a_lab_is_a_widget_and_a_still_picture(make_lab, kind):
    shown = make_lab(kind)
    bundle = shown._repr_mimebundle_()
    assert set(bundle) == {WIDGET, "image/jpeg", "text/plain"}
    assert bundle["text/plain"] == f"{type(shown).__name__}: run this cell in JupyterLab to move the controls"
    content = base64.b64decode(bundle["image/jpeg"])
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("L"), dtype=float)
    assert len(content) <= 60_000 and pixels.shape[1] == 800 and pixels.std() > 25


def test_paused_work_can_be_stopped():
    ends = []
    task = Task(endless, ends.append)
    task.start()
    task.pause()
    task.stop()
    task.join(10)
    assert not task.is_alive() and isinstance(ends[0], background.Stopped)
    task.pause()  # too late: must not matter


def test_of_many_works_in_a_row_the_last_is_done_when_the_first_has_ended():
    shown, order, gate = Lab(), [], Event()
    shown.run(lambda checkpoint: (gate.wait(10), order.append("first")))
    for number in range(20):
        shown.run(lambda checkpoint, number=number: order.append(number))
    gate.set()
    assert shown.wait(10) and order == ["first", 19]


@pytest.mark.parametrize(
    "error, sentence", [(ValueError("expected <b>, got 3"), "expected <b>, got 3"), (MemoryError(), "MemoryError: ")]
)
def test_an_exception_in_the_background_becomes_a_sentence(error, sentence):
    def work(checkpoint):
        raise error

    shown = Lab()
    shown.controls = RunControls(shown, work)
    shown.controls.start_button.click()
    assert shown.wait(10) and sentence in said(shown)
    assert shown.error is error and shown.controls.state == "failed" and not shown.controls.start_button.disabled


def test_an_exception_at_the_end_or_of_a_button_becomes_a_sentence():
    shown = Lab()
    shown.run(lambda checkpoint: None, ended=lambda error: 1 / 0)
    assert shown.wait(10) and "division by zero" in said(shown)
    shown.button("Fail", lambda: [][0]).click()
    assert "IndexError: list index out of range" in said(shown)


def test_progress_is_shown_five_times_a_second_and_leaves_pauses_out(monkeypatch):
    clock, shown = SimpleNamespace(now=0.0), []

    monkeypatch.setattr(run_controls, "time", SimpleNamespace(monotonic=lambda: clock.now))
    pauses, answers = iter((0, 100, 0, 0)), []
    controls = SimpleNamespace(report=lambda part, text: shown.append((part, text)))
    progress = Progress(controls, lambda: setattr(clock, "now", clock.now + next(pauses)), done=10)
    for done, seconds in ((11, 2), (11.05, 0.1), (12, 1.9), (20, 3)):
        clock.now += seconds
        answers.append(progress(done, 20, f"step {done}"))
    assert answers == [True, False, True, True]
    assert shown == [(0.55, "step 11, 18 s left"), (0.6, "step 12, 16 s left"), (1, "step 20, done")]


def test_a_cell_that_is_run_again_stops_its_old_lab(closing, monkeypatch):
    shell = SimpleNamespace(parent_header={"metadata": {}})
    monkeypatch.setattr(lab, "get_ipython", lambda: shell)
    monkeypatch.setattr(Lab, "still", lambda panel: Figure(), raising=False)
    old, elsewhere, new = panels = [closing(Lab()) for _ in range(3)]
    for panel in panels:
        panel.show([], [])
        panel.run(endless)

    def show(panel, cell):
        shell.parent_header["metadata"]["cellId"] = cell
        panel._repr_mimebundle_()

    show(old, "one")
    show(old, "one")  # shown twice: it stays
    show(elsewhere, "two")
    assert not old.wait(0)
    show(new, "one")
    assert old.wait(10) and not elsewhere.wait(0) and not new.wait(0)


# ---------------------------------------------------------------- pictures, chosen and uploaded


@pytest.mark.parametrize(
    "name, content, size, sentence",
    [
        ("<i>.png", b"no picture", None, "<i>.png is not an image that can be read (empty, another kind of file, "),
        ("cut.png", png(torch.rand(1, 3, 40, 40))[:500], None, "cut.png is damaged or cut short"),
        ("big.png", b"abc", MOST_MIB * 2**20 + 1, "big.png has 8.0 MiB: expected a picture of at most 8 MiB"),
    ],
    ids=["no picture", "cut short", "too large"],  # the same in every process of pytest-xdist
)
def test_a_bad_upload_gives_a_sentence(make_lab, name, content, size, sentence):
    shown = make_lab("augmentation")
    before = shown.photo.image
    upload(shown.photo, name, content, size)
    assert shown.wait() and sentence in said(shown)
    assert shown.photo.image is before and shown.photo.name == "given" and shown.photo.upload.value == ()
    assert "<i>" not in shown.status.value


def test_an_uploaded_picture_is_taken_and_can_be_chosen_again(make_lab, mosaic):
    shown = make_lab("augmentation")
    upload(shown.photo, "broken.png", b"x")
    shown.wait()
    upload(shown.photo, "mine.png", png(mosaic))
    assert shown.wait() and said(shown) == ""
    assert shown.photo.menu.value == shown.photo.name == "mine.png"
    assert shown.photo.menu.options[:2] == ("given", "mine.png")
    mine = shown.photo.image
    assert mine.shape == (1, 3, 320, 320)
    shown.photo.menu.value = "coffee"
    until(lambda: shown.photo.name == "coffee")
    shown.photo.menu.value = "mine.png"
    until(lambda: shown.photo.image is mine)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="unknown photo 'chelsey': did you mean 'chelsea'"):
        AugmentationLab("chelsey")


# ---------------------------------------------------------------- augmentation


def test_each_slider_of_the_augmentation_lab_changes_the_picture(make_lab):
    shown = make_lab("augmentation")
    shown.wait()
    moves = {"size": 48, "area": (0.5, 0.6), "ratio": (0.5, 0.6), "hue": 0.5, "temperature": (2000, 2500)}
    moves |= dict.fromkeys(("flip", "brightness", "contrast", "saturation", "glare", "p"), 1)
    assert set(moves) == set(shown.sliders)
    for name, value in moves.items():
        before, shown_before = shown.image, shown.picture.value
        shown.sliders[name].value = value
        assert shown.wait() and said(shown) == ""
        assert before.shape != shown.image.shape or not torch.equal(before, shown.image), name
        assert shown.picture.value != shown_before


def test_the_code_of_the_augmentation_lab_is_its_recipe(make_lab, photo):
    shown = make_lab("augmentation")
    shown.sliders["hue"].value, shown.sliders["contrast"].value = 0.25, 0
    shown.wait()
    code = html.unescape(re.sub("<[^>]+>", "", shown.code.value))
    ours, copied = (
        recipe(photo.repeat(4, 1, 1, 1), torch.Generator().manual_seed(3)) for recipe in (shown.recipe(), eval(code))
    )
    assert torch.allclose(ours, copied, atol=1e-5)


def test_buttons_of_the_augmentation_lab(make_lab):
    shown = make_lab("augmentation")
    shown.wait()
    first = shown.image
    shown.buttons["New draw"].click()
    shown.wait()
    assert not torch.equal(first, shown.image) and shown.seed == 1
    shown.buttons["No change"].click()
    shown.wait()
    whole = interpolate(shown.photo.image, (32, 32), mode="bilinear", antialias=True)
    draws = [shown.image[..., top : top + 32, left : left + 32] for top in (4, 40, 76) for left in (4, 40, 76, 112)]
    assert all(torch.allclose(draw, whole, atol=1e-3) for draw in draws)  # nothing is cropped
    shown.buttons["As at first"].click()
    shown.seed = 0
    shown.redraw()
    assert shown.wait() and torch.equal(first, shown.image)


# ---------------------------------------------------------------- style


def total_fits(step, lab_at):
    """Whether a step's total is that of eq. 5 with these weights."""
    terms = {"content": lab_at["content_weight"], "style": lab_at["style_weight"], "tv": lab_at["tv_weight"]}
    total = sum(weight * step.losses[name] for name, weight in terms.items())
    return step.losses["total"] == pytest.approx(total, rel=1e-4)


def test_the_style_lab_paints_to_the_end(make_style_lab):
    shown = make_style_lab(steps=6)
    assert shown.save_button.disabled and shown.controls.stop_button.disabled
    with pytest.raises(ValueError, match="expected a picture to save, .* press Start first"):
        shown.save()
    before = shown.picture.value
    shown.controls.start_button.click()
    assert shown.controls.start_button.disabled and not shown.controls.stop_button.disabled
    assert shown.wait() and shown.controls.state == "finished" and said(shown) == ""
    assert len(shown.history) == 6 and shown.image.shape == (1, 3, 32, 48)
    assert shown.picture.value != before and not shown.save_button.disabled
    assert shown.controls.bar.value == 1 and shown.controls.text.value == "step 6 of 6, 48 x 32 px, done"
    content, *_ = shown.chart.axes.lines
    assert list(content.get_ydata()) == [step.losses["content"] for step in shown.history]
    styles, options = [picker.image for picker in shown.paintings], {"tv_weight": 2, "steps": 6, "net": shown.net}
    expected = ds.stylize(shown.photo.image, styles, style_weights=[0.5, 0.5], **options)
    assert torch.allclose(shown.image, expected.image, atol=1e-3)


def marks(shown):
    """How many dotted lines the chart of a lab has."""
    return sum(line.get_linestyle() == ":" for line in shown.chart.axes.lines)


def test_the_chart_of_the_style_lab_marks_where_the_picture_grew(make_style_lab):
    shown = finished(make_style_lab(size=256, steps=5))
    assert len({step.size for step in shown.history}) == 2 and marks(shown) == 1


def test_a_paused_style_lab_does_no_step_goes_on_and_stops_within_a_second(make_style_lab):
    shown = started(make_style_lab())
    shown.controls.pause_button.click()
    assert shown.controls.pause_button.description == "Resume"
    time.sleep(0.5)  # the step under way ends
    count = len(shown.history)
    time.sleep(0.5)
    assert len(shown.history) == count
    shown.controls.pause_button.click()
    until(lambda: len(shown.history) > count + 2)
    assert shown.controls.pause_button.description == "Pause"
    shown.controls.pause_button.click()
    assert seconds_to_stop(shown) < 1
    assert shown.controls.state == "stopped" and shown.image is not None and not shown.controls.start_button.disabled


@pytest.mark.parametrize("name, value", [("content_weight", 20), ("style_weight", 200), ("tv_weight", 15)])
def test_a_moved_weight_is_that_of_the_next_steps(make_style_lab, name, value):
    shown = make_style_lab()
    at_first = shown.settings()
    started(shown)
    shown.sliders[name].value = value
    until(lambda: total_fits(shown.history[-1], shown.settings()))
    assert total_fits(shown.history[0], at_first) and not total_fits(shown.history[-1], at_first)
    until(lambda: marks(shown))


def test_a_moved_control_goes_on_from_the_present_picture(make_style_lab, monkeypatch):
    calls = recorded(monkeypatch, style_lab)
    shown = started(make_style_lab())
    moves = {"style_scale": 0.5, "preserve_color": True}
    shown.shares[0].value, shown.sliders["style_scale"].value, shown.sliders["preserve_color"].value = 0, 0.5, True
    until(lambda: calls[-1][1]["style_weights"] == [0, 0.5] and moves.items() <= calls[-1][1].items())
    first, last = calls[0][1]["init"], calls[-1][1]["init"]
    assert first == "content" and (last - shown.photo.image).abs().mean() > 0.001


def test_a_control_moved_after_the_end_goes_on(make_style_lab):
    shown = finished(make_style_lab(steps=6))
    shown.sliders["style_weight"].value = 200
    until(lambda: shown.controls.state == "finished" and len(shown.history) == 8)
    assert total_fits(shown.history[-1], shown.settings())
    shown.controls.start_button.click()
    until(lambda: shown.controls.state == "finished" and len(shown.history) == 6)


def test_a_control_moved_before_start_or_after_stop_starts_nothing(make_style_lab):
    shown = make_style_lab()
    shown.sliders["style_weight"].value = 200
    assert shown.controls.state == "ready" and not shown.history
    started(shown)
    seconds_to_stop(shown)
    count = len(shown.history)
    shown.sliders["style_weight"].value = 100
    assert shown.wait() and shown.controls.state == "stopped" and len(shown.history) == count


def test_shares_of_zero_give_a_sentence_and_the_run_goes_on(make_style_lab):
    shown = started(make_style_lab())
    for share in shown.shares:
        share.value = 0
    assert "expected a share above zero" in said(shown)
    count = len(shown.history)
    until(lambda: len(shown.history) > count + 2)


def test_another_painting_is_taken_up_and_another_photo_is_painted_from_itself_on(make_style_lab, photo, mosaic):
    shown = started(make_style_lab())
    upload(shown.paintings[1], "cat.png", png(photo))
    until(lambda: shown.paintings[1].name == "cat.png" and marks(shown))
    upload(shown.photo, "tall.png", png(mosaic[:, :, :, :36]))
    until(lambda: shown.photo.name == "tall.png" and shown.history[-1].size == tuple(shown.photo.image.shape[2:]))
    assert shown.image.shape[2] > shown.image.shape[3] and said(shown) == ""


def test_saving_writes_the_picture(make_style_lab, tmp_path):
    shown = finished(make_style_lab(steps=3))
    shown.save_button.click()
    assert said(shown) == f"saved as {tmp_path / 'a.png'}"
    assert (ds.read_image(tmp_path / "a.png") - shown.image).abs().max() < 0.003
    shown.save_to.value = str(tmp_path / "nowhere" / "b.png")
    shown.save_button.click()
    assert "there is no folder" in said(shown)


@pytest.mark.parametrize("paintings", [(), ("starry",) * 4])
def test_the_number_of_paintings_is_checked(paintings, net):
    with pytest.raises(ValueError, match="expected one to three paintings"):
        StyleLab(paintings=paintings, net=net)


def test_one_painting_has_no_share(make_style_lab, starry):
    assert finished(make_style_lab(paintings=[starry], steps=2)).shares == []


# ---------------------------------------------------------------- region


def test_the_scores_are_those_of_the_covered_photo(make_lab, net):
    shown = make_lab("region")
    shown.wait()
    for slider, value in zip(shown.patch.values(), (0, 100, 50)):  # 16 of 32 pixels, lower left
        slider.value = value
    assert shown.wait()
    covered = shown.photo.image.clone()
    covered[:, :, 16:, :16] = net.mean
    before, after = (net.logits(image)[0].softmax(0) for image in (shown.photo.image, covered))
    best = before.topk(5)
    assert list(shown.scores) == [net.classes[i] for i in best.indices]
    for i, scores in zip(best.indices, shown.scores.values()):
        assert scores == pytest.approx((before[i].item(), after[i].item()), abs=1e-4)
    assert f"{best.values[0]:.0%} →" in shown.bars.value


def test_map_then_region_then_style(make_lab, net, monkeypatch):
    calls = recorded(monkeypatch, region_lab)
    shown = make_lab("region")
    assert shown.paint_button.disabled
    finished(shown)
    target = net.logits(shown.photo.image).argmax().item()
    assert torch.allclose(shown.map, ds.occlusion(net, shown.photo.image, target, window=6, stride=3), atol=1e-4)
    before = shown.mapped.value
    shown.keep.value = 10
    assert shown.mapped.value != before and shown.region.sum() == round(0.1 * 32 * 48)
    shown.paint_button.click()
    assert shown.wait() and shown.controls.state == "finished" and said(shown) == ""
    (content, style), options = calls[0]
    assert content is shown.paint.image and style is shown.photo.image
    assert (
        torch.equal(options["style_masks"], shown.region) and shown.image.shape == content.shape and shown.painted.value
    )


def test_a_picture_is_called_after_what_it_was_painted_from(make_lab, net, starry, monkeypatch):
    shown, used = finished(make_lab("region")), []

    def changing(content, style, **options):
        upload(shown.photo, "other photo.png", png(starry))
        until(lambda: shown.photo.name == "other photo.png")
        used.extend([style, options["style_masks"]])
        return ds.stylize(content, style, **options)

    monkeypatch.setattr(region_lab, "stylize", changing)
    photo, region = shown.photo.image, shown.region
    shown.paint_button.click()
    assert shown.wait() and used[0] is photo and used[1] is region and shown.photo.image is not photo
    assert "given in the style of that part of given" in shown.controls.text.value
    assert shown.still().axes[-1].get_title() == "given\nin the style of that part of given"


def test_another_photo_forgets_the_map(make_lab, starry):
    shown = finished(make_lab("region"))
    upload(shown.photo, "starry.png", png(starry))
    until(lambda: shown.photo.name == "starry.png")
    assert shown.wait() and shown.map is None and shown.region is None and shown.paint_button.disabled
    shown.guarded(shown.paint_region)
    assert "press Map" in said(shown)


# ---------------------------------------------------------------- fine-tuning


def test_the_fine_tune_lab_trains_and_shows_its_mistakes(make_lab):
    shown = make_lab("fine_tune")
    shown.sliders["freeze"].value = 5
    finished(shown)
    assert [epoch for epoch, _ in shown.accuracies] == [1, 2] and len(shown.losses) == 2
    wrong = int((shown.result.labels != shown.result.predictions).sum())
    titles = [axes.get_title() for axes in shown.still().axes]
    assert sum("seen as" in title for title in titles) == min(wrong, fine_tune_lab.MISTAKES) and shown.mistakes.value
    assert f"{float(shown.result):.0%} of 9 pictures" in html.unescape(shown.controls.text.value)
    trainable = [parameter.requires_grad for parameter in shown.model.parameters()]
    assert not trainable[0] and trainable[-1]  # the stem is frozen, the head is not


def test_training_stops_within_a_second(make_lab):
    shown = make_lab("fine_tune")
    shown.sliders["epochs"].max = shown.sliders["epochs"].value = 1000
    shown.controls.start_button.click()
    until(lambda: len(shown.losses) > 2)
    assert seconds_to_stop(shown) < 1 and shown.controls.state == "stopped" and shown.result is None


@pytest.mark.parametrize(
    "kind, module, function, text",
    [
        ("region", region_lab, "occlusion", "places covered"),
        ("fine_tune", fine_tune_lab, "load_dataset", "training set"),
    ],
)
def test_a_map_and_the_loading_of_pictures_stop_within_a_second(make_lab, monkeypatch, kind, module, function, text):
    shown = make_lab(kind)
    monkeypatch.setattr(module, function, lambda *args, callback, **options: endless(lambda: callback(1, 2)))
    shown.controls.start_button.click()
    until(lambda: text in shown.controls.text.value)
    assert seconds_to_stop(shown) < 1 and shown.controls.state == "stopped"


def test_the_worst_mistakes_come_first():
    probabilities = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.4, 0.6]])
    result = Evaluation(torch.tensor([1, 1, 1, 0]), probabilities, 0.0)
    assert fine_tune_lab.worst(result) == [0, 1, 3]
