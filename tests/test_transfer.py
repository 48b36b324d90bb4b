"""Style transfer on pictures of 32 to 96 pixels, with the embedded network."""

import copy
import dataclasses
import functools
import subprocess
import sys

import numpy as np
import pytest
import torch
from packaging.version import Version
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from d2lstyle import (
    backbone,
    fast_stylize,
    gram,
    read_image,
    sample,
    style_distance,
    style_layer_loss,
    stylize,
    transfer,
    write_image,
)
from d2lstyle.engine.checks import scaled_size
from d2lstyle.engine.lbfgs import Spectrum
from d2lstyle.engine.prepare import prepared
from d2lstyle.images import resize
from d2lstyle.mixing import StyleMix
from d2lstyle.transfer import Objective, coarse_to_fine

OPTIMIZERS = ["lbfgs", "adam"]
WEIGHTS = ["content_weight", "style_weight", "tv_weight"]


def objective_at(size, net, content, style, **changes):
    """The objective that `stylize` would minimise with its defaults."""
    settings = {"weights": dict.fromkeys(WEIGHTS), "style": style if isinstance(style, StyleMix) else StyleMix(style)}
    objective = Objective(net, content, **settings | changes)
    objective.set_size(size)
    return objective


class Watcher:
    """A callback that keeps every step, and interrupts after one of them."""

    def __init__(self, interrupt_at=None):
        self.steps, self.interrupt_at = [], interrupt_at

    def __call__(self, step):
        self.steps.append(step)
        if step.step == self.interrupt_at:
            raise KeyboardInterrupt


def check_batch(net, contents, styles, options, each):
    """A batch with one option for each content equals the contents alone, and is not one picture twice.

    A convolution over two images sums in another order than over one: 1e-6 a step, which every step multiplies.
    """
    batch = stylize(contents, styles, net=net, **options, **each)
    singles = [
        stylize(content, styles, net=net, **options, **{name: values[i] for name, values in each.items()})
        for i, content in enumerate(contents.split(1))
    ]
    torch.testing.assert_close(batch.image, torch.cat([single.image for single in singles]), rtol=0, atol=2e-3)
    assert (batch.image[0] - batch.image[-1]).abs().max() > 0.02
    totals = [[step.losses["total"] for step in run.history] for run in (batch, *singles)]
    assert totals[0] == pytest.approx(np.mean(totals[1:], axis=0), rel=1e-3)


# the outcome


@pytest.mark.parametrize(
    "options",
    [{"optimizer": optimizer, "init": init} for optimizer in OPTIMIZERS for init in ("content", "noise")]
    + [{"convention": convention} for convention in ("gatys", "d2l", "cs231n")],
)
def test_losses_fall(net, photo, starry, options):
    history = stylize(photo, starry, net=net, steps=15, **options).history
    assert history[-1].losses["total"] < history[0].losses["total"] / 2
    assert history[-1].losses["style"] < history[0].losses["style"] / 2


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_result_and_callback(net, photo, starry, optimizer, tmp_path):
    watcher = Watcher()
    result = stylize(photo, starry, net=net, sizes=[48, 72], steps=[2, 3], optimizer=optimizer, callback=watcher)
    assert result.image.shape == (1, 3, 48, 72) and result.image.dtype == torch.float32
    assert result.image.min() >= 0 and result.image.max() <= 1 and not result.image.requires_grad
    assert not result.interrupted
    assert [step.step for step in watcher.steps] == [1, 2, 3, 4, 5] and {step.steps for step in watcher.steps} == {5}
    sizes = [(32, 48)] * 2 + [(48, 72)] * 3
    assert [step.size for step in watcher.steps] == sizes
    assert [tuple(step.image.shape) for step in watcher.steps] == [(1, 3, *size) for size in sizes]
    assert all(step.image.min() >= 0 and step.image.max() <= 1 for step in watcher.steps)
    layers = {f"content {layer}" for layer in net.content_layers} | {f"style {layer}" for layer in net.style_layers}
    assert all(set(step.losses) == {"total", "content", "style", "tv"} | layers for step in watcher.steps)
    times = [step.seconds for step in watcher.steps]
    assert times == sorted(times) and times[0] > 0 and result.seconds >= times[-1]
    # the history is the same steps without their images, which would fill the memory
    assert result.history == [dataclasses.replace(step, image=None) for step in watcher.steps]
    assert str(result.history[0]) == f"48 x 32 px, loss {result.history[0].losses['total']:.3g}"
    write_image(result.image, tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") - result.image).abs().max() <= 1 / 255 / 2 + 1e-6


def test_reported_losses_are_those_of_the_weighted_sum(net, photo, starry):
    weights = {layer: 1 + i for i, layer in enumerate(net.style_layers)}
    options = {"content_weight": 3, "style_weight": 5, "tv_weight": 7, "layer_weights": weights}
    losses = stylize(photo, starry, net=net, steps=2, **options).history[-1].losses
    style = sum(weights[layer] * losses[f"style {layer}"] for layer in net.style_layers)
    assert losses["style"] == pytest.approx(style, rel=1e-5)
    assert losses["content"] == pytest.approx(losses[f"content {net.content_layers[0]}"], rel=1e-5)
    assert losses["total"] == pytest.approx(3 * losses["content"] + 5 * losses["style"] + 7 * losses["tv"], rel=1e-5)


def test_the_best_step_is_returned(net, photo, starry, monkeypatch):
    monkeypatch.setattr(transfer, "ADAM_LR", 0.5)  # so large that the last step is not the best
    watcher = Watcher()
    result = stylize(photo, starry, net=net, steps=4, optimizer="adam", callback=watcher)
    best = min(watcher.steps, key=lambda step: step.losses["total"])
    assert best.step < 4 and torch.equal(result.image, best.image)
    again = objective_at((32, 48), net, photo, starry)(result.image)["total"].item()
    assert again == pytest.approx(best.losses["total"], rel=1e-5)


def test_sizes_before_the_last_are_not_among_the_best(net, photo, starry):
    """The best is taken among the picture that was enlarged and the steps of the last size."""
    watcher = Watcher()
    result = stylize(photo, starry, net=net, sizes=[48, 72], steps=[15, 2], callback=watcher)
    coarse, fine = ([step.losses["total"] for step in steps] for steps in (watcher.steps[:15], watcher.steps[15:]))
    final = objective_at((48, 72), net, photo, starry)(result.image)["total"].item()
    assert min(coarse) < final <= min(fine) * (1 + 1e-5)


@pytest.mark.skipif(
    Version(torch.__version__) < Version("2.10"),
    reason="torch 2.6 and 2.9 round a batch otherwise than its images, and Adam's first steps go by signs",
)
def test_each_image_of_a_batch_keeps_its_own_best_step(net, photo, starry, monkeypatch):
    monkeypatch.setattr(transfer, "ADAM_LR", 0.5)
    watcher, contents = Watcher(), torch.cat([photo, resize(sample("coffee", 48), (32, 48))])
    options = {"net": net, "steps": 4, "optimizer": "adam"}
    singles = [stylize(content, starry, **options).image for content in contents.split(1)]
    batch = stylize(contents, starry, callback=watcher, **options).image
    torch.testing.assert_close(batch, torch.cat(singles), rtol=0, atol=2e-3)
    last = watcher.steps[-1].image
    assert ((batch - last).abs().flatten(1).max(1).values > 0.05).any()  # the last step would not do


def test_a_content_that_no_step_improves_is_returned_itself(net, photo, monkeypatch):
    monkeypatch.setattr(transfer, "ADAM_LR", 50.0)
    result = stylize(photo, photo, net=net, steps=2, optimizer="adam", style_weight=0, tv_weight=0)
    assert torch.equal(result.image, photo)


@pytest.mark.parametrize("kind", [torch.float64, torch.float16])
def test_other_float_types_are_taken_as_float32_and_left_as_they_were(net, photo, starry, kind):
    content, style = photo.to(kind).requires_grad_(), starry.to(kind)
    result = stylize(content, style, net=net, steps=2, preserve_color=True)
    assert result.image.dtype == torch.float32
    assert torch.equal(
        result.image, stylize(content.float(), style.float(), net=net, steps=2, preserve_color=True).image
    )
    result.image.zero_()
    assert torch.equal(content, photo.to(kind)) and torch.equal(style, starry.to(kind))


# coarse to fine


@pytest.mark.parametrize(
    "shape, sizes, steps, expected",
    [
        ((64, 96), None, 10, [((64, 96), 10)]),
        ((256, 256), None, 150, [((128, 128), 37), ((256, 256), 113)]),  # 1 : 3, the last has the rest
        ((512, 512), None, 131, [((128, 128), 10), ((256, 256), 30), ((512, 512), 91)]),  # 1 : 3 : 9
        ((2048, 1024), None, 130, [((512, 256), 10), ((1024, 512), 30), ((2048, 1024), 90)]),  # three at most
        ((128, 512), None, 5, [((64, 256), 1), ((128, 512), 4)]),  # the shorter side keeps 64
        ((127, 512), None, 5, [((127, 512), 5)]),
        ((255, 255), None, 5, [((255, 255), 5)]),
        ((32, 400), None, 5, [((32, 400), 5)]),
        ((301, 401), None, 5, [((150, 200), 1), ((301, 401), 4)]),  # its own size to the pixel
        ((64, 96), 48, 7, [((32, 48), 7)]),
        ((64, 96), [48, 96], 5, [((32, 48), 1), ((64, 96), 4)]),
        ((64, 96), (48, 96), [2, 9], [((32, 48), 2), ((64, 96), 9)]),
        ((64, 96), [96, 48], (1, 1), [((64, 96), 1), ((32, 48), 1)]),
        ((64, 96), [48, 96, 192], 1, [((128, 192), 1)]),  # a size without a step is left out
        ((64, 96), [48, 96, 192], 5, [((64, 96), 1), ((128, 192), 4)]),
    ],
)
def test_coarse_to_fine(shape, sizes, steps, expected):
    assert coarse_to_fine(shape, sizes, steps) == expected


def test_detail_of_the_content_comes_in_at_a_finer_size(net, photo):
    """What a coarse size cannot hold is not lost where nothing but the content counts."""
    content = resize(sample("coffee"), 96)
    result = stylize(content, photo, net=net, sizes=[48, 96], steps=[1, 1], style_weight=0, tv_weight=0)
    blurred = resize(resize(content, 48), tuple(content.shape[2:]))
    assert (result.image - content).square().mean() < 0.1 * (blurred - content).square().mean()


@pytest.mark.parametrize("sizes", [[48], [48, 72], [48, 72, 96], [96, 48]])
@pytest.mark.parametrize("init", ["content", "noise", sample("coffee", 60)])
def test_a_run_that_nothing_moves_ends_where_it_started(net, photo, starry, sizes, init):
    """With all weights zero: each size has all of its start's detail, and none of another picture's."""
    content = sample("chelsea", 96)
    result = stylize(
        content, starry, net=net, sizes=sizes, steps=[1] * len(sizes), init=init, **dict.fromkeys(WEIGHTS, 0)
    )
    first, last = (scaled_size(content.shape[2:], side) for side in (sizes[0], sizes[-1]))
    noise = torch.rand(1, 3, *first, generator=torch.Generator().manual_seed(0))
    start = init if isinstance(init, torch.Tensor) else {"content": content, "noise": noise}[init]
    torch.testing.assert_close(result.image, resize(start, last), rtol=0, atol=1e-6)


@pytest.mark.parametrize("sizes", [None, [48, 72], [48, 60, 72], [72, 48]])
def test_noise_without_a_weight_shows_nothing_of_the_content(net, photo, starry, sizes):
    options = {"net": net, "content_weight": 0, "init": "noise", "sizes": sizes, "steps": 6}
    images = [stylize(content, starry, **options).image for content in (photo, 1 - photo.flip(2))]
    assert torch.equal(*images)


@pytest.mark.parametrize("content", [(32, 32), (32, 400)])
@pytest.mark.parametrize("style", [(300, 400), (20, 120), (120, 20)])
@pytest.mark.parametrize("mix", ["grams", "features"])
def test_the_smallest_contents_take_styles_of_any_shape(net, starry, content, style, mix):
    styles = [resize(starry, style), starry]
    result = stylize(resize(sample("coffee", 96), content), styles, net=net, steps=3, mix=mix)
    assert result.image.shape[2:] == content and len(result.history) == 3
    assert result.history[-1].losses["style"] < 0.9 * result.history[0].losses["style"]


def test_a_step_makes_no_tensor_that_an_apple_gpu_lacks(net, photo, starry, mosaic):
    class Types(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            seen.update(tensor.dtype for tensor in tree_leaves(out) if isinstance(tensor, torch.Tensor))
            return out

    style, seen = StyleMix([starry, mosaic], [1, 3], [None, torch.ones(1, 1, 40, 40)], channels=0.5), set()
    objective = objective_at((32, 48), net, photo, style)
    with Types():
        objective.set_size((32, 48))
        image = photo.clone().requires_grad_()
        optimizer = transfer.OPTIMIZERS["lbfgs"](image, Spectrum())
        for _ in range(3):
            (image.grad,) = torch.autograd.grad(objective(image)["total"].sum(), image)
            optimizer.step()
    assert torch.float32 in seen and torch.float64 not in seen


# a batch, and several styles


@pytest.mark.parametrize("optimizer, init", [("lbfgs", "content"), ("adam", "content"), ("adam", "noise")])
def test_a_batch_equals_single_runs(net, photo, starry, mosaic, optimizer, init):
    contents = torch.cat([photo, resize(sample("coffee", 48), (32, 48))])
    styles = torch.cat([starry, resize(mosaic, 48)])
    options = {"net": net, "steps": 3, "optimizer": optimizer, "init": init}
    batch = stylize(contents, styles, **options)
    singles = [stylize(content, style, **options) for content, style in zip(contents.split(1), styles.split(1))]
    torch.testing.assert_close(batch.image, torch.cat([single.image for single in singles]), rtol=0, atol=2e-3)
    assert (batch.image[0] - batch.image[1]).abs().max() > 0.1  # two results, not one twice


@pytest.mark.parametrize("mix", ["grams", "features"])
@pytest.mark.parametrize("index", [0, 1])
def test_a_style_of_weight_zero_has_no_say(net, photo, starry, mosaic, mix, index):
    weights = [index == 0, index == 1]
    mixed = stylize(photo, [starry, mosaic], style_weights=weights, mix=mix, net=net, steps=2).image
    alone = stylize(photo, [starry, mosaic][index], net=net, steps=2).image
    torch.testing.assert_close(mixed, alone, rtol=0, atol=0 if mix == "grams" else 1e-4)


@pytest.mark.parametrize(
    "weights, same", [([2, 6], [1, 3]), ([5, 5], None), ([[1, 3], [2, 6]], torch.tensor([1, 3.0]))]
)
def test_proportions_have_no_scale_and_equal_rows_are_one(net, photo, starry, mosaic, weights, same):
    contents = torch.cat([photo, photo.flip(3)])
    one, other = (
        stylize(contents, [starry, mosaic], style_weights=shares, net=net, steps=2).image for shares in (weights, same)
    )
    torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


@pytest.mark.parametrize("mix", ["grams", "features"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_each_content_has_its_own_proportions(net, photo, starry, mosaic, mix, optimizer):
    options, rows = {"steps": 3, "mix": mix, "optimizer": optimizer}, [[1, 3], [2, 0], [0, 7]]
    check_batch(net, torch.cat([photo, photo.flip(3), photo]), [starry, mosaic], options, {"style_weights": rows})


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_each_content_has_its_own_weights(net, photo, starry, optimizer):
    weights = {
        "style_weight": [0, 5, 80],
        "content_weight": torch.tensor([0.1, 1, 30]),
        "tv_weight": np.array([0, 2, 9]),
    }
    check_batch(net, torch.cat([photo, photo.flip(3), photo]), starry, {"steps": 3, "optimizer": optimizer}, weights)


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize(
    "weights, text", [([1], r"\(2,\) of them"), ([1, -1], "at least 0"), ([1, np.inf], "at least 0")]
)
def test_other_weights_are_refused(net, photo, starry, name, weights, text):
    with pytest.raises(ValueError, match=f"expected {name} .*{text}.*, got"):
        stylize(torch.cat([photo, photo]), starry, net=net, steps=1, **{name: weights})


# seeds, starts and colours


def test_same_seed_same_result(net, photo, starry):
    def run(seed, init):
        return stylize(photo, starry, net=net, steps=2, seed=seed, init=init)

    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = run(0, "noise")
    assert torch.equal(torch.get_rng_state(), state)  # no global random numbers are used
    assert torch.equal(first.image, run(0, "noise").image)
    assert not torch.allclose(first.image, run(1, "noise").image, atol=0.05)
    from_content = run(0, "content")
    assert torch.equal(from_content.image, run(1, photo).image)  # the default, whatever the seed
    assert first.history[0].losses["content"] > 2 * from_content.history[0].losses["content"]


def test_a_run_goes_on_from_an_earlier_result(net, photo, starry):
    earlier, watcher = stylize(photo, starry, net=net, steps=3), Watcher()
    stylize(photo, starry, net=net, steps=1, init=earlier.image, optimizer="adam", callback=watcher)
    assert (watcher.steps[0].image - earlier.image).abs().max() < 0.021  # one step of Adam's lr from there


def test_one_start_and_one_style_serve_a_batch(net, photo, starry):
    together = stylize(photo.repeat(2, 1, 1, 1), starry, net=net, steps=2, init=1 - photo).image
    alone = stylize(photo, starry, net=net, steps=2, init=1 - photo).image
    assert torch.allclose(together, alone.expand_as(together), atol=1e-3)


@pytest.mark.parametrize(
    "init, text",
    [(torch.rand(3, 3, 32, 48), "one init, or one for each of 1 contents, got 3"), (None, "unknown init None")],
)
def test_other_starts_are_refused(net, photo, starry, init, text):
    with pytest.raises(ValueError, match=text):
        stylize(photo, starry, net=net, steps=1, init=init)


def luma_cb_cr(image):
    """ITU-R BT.601"""
    red, green, blue = image[0]
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return luma, (blue - luma) / 1.772, (red - luma) / 1.402


@pytest.mark.parametrize("options", [{"init": "content"}, {"init": "noise"}, {"method": "fast"}])
def test_preserve_color_keeps_the_chroma(net, photo, starry, options):
    options, watcher = {"net": net, "steps": 5} | options, Watcher()
    image = stylize(photo, starry, preserve_color=True, callback=watcher, **options).image
    painted = stylize(photo, starry, **options).image
    for shown in (image, *(step.image for step in watcher.steps[-1:])):
        inside = ((shown > 0) & (shown < 1)).all(dim=1)[0]
        assert inside.float().mean() > 0.5
        (luma, *chroma), (luma_before, *chroma_before) = luma_cb_cr(shown), luma_cb_cr(photo)
        for after, before in zip(chroma, chroma_before):
            torch.testing.assert_close(after[inside], before[inside], rtol=0, atol=1e-5)
        assert (luma - luma_before).abs().mean() > 0.02
    inside = ((image > 0) & (image < 1)).all(dim=1)[0]
    torch.testing.assert_close(luma_cb_cr(image)[0][inside], luma_cb_cr(painted)[0][inside], rtol=0, atol=1e-5)


PAINT = """
import hashlib
from d2lstyle import backbone, painting, sample, stylize

content, style = sample("coffee", 64), painting("mosaic", size=48)
for name in ("vgg19", "efficientnet_lite0", "squeezenet1_1", "resnet18"):
    net = backbone(name, device="cpu", weights="imagenet" if name in ("vgg19", "efficientnet_lite0") else None)
    for init in ("noise", "content"):
        image = stylize(content, style, net=net, sizes=[48, 64], steps=4, init=init).image
        print(name, init, hashlib.sha256(image.numpy().tobytes()).hexdigest(), flush=True)
"""


def test_processes_at_the_same_time_paint_the_same_bytes():
    """Whatever one takes from the other: nothing in a result is decided by the clock."""
    run = functools.partial(subprocess.Popen, [sys.executable, "-c", PAINT], stdout=subprocess.PIPE, text=True)
    processes = [run(), run()]
    texts = [process.communicate(timeout=300)[0] for process in processes]
    assert texts[0] == texts[1] and len({line.split()[2] for line in texts[0].splitlines()}) == 8


# callers and callbacks that meddle


@pytest.mark.parametrize("mode", ["set_grad_enabled", "no_grad", "inference_mode"])
@pytest.mark.parametrize("preserve_color", [False, True])
def test_a_callback_changes_nothing(net, photo, starry, mode, preserve_color):
    def run(callback=None):
        tensors = {"content": photo.clone(), "style": starry.clone(), "style_masks": torch.rand(1, 1, 48, 48)}
        tensors |= {"init": 1 - photo, "style_weight": torch.full((1,), 9.0), "style_weights": torch.ones(1)}
        tensors["style_masks"][:] = torch.linspace(0, 1, 48)
        tensors["content_mask"] = torch.linspace(0, 1, 48).repeat(1, 1, 32, 1)
        options = {"net": net, "sizes": [48, 72], "steps": [3, 3], "preserve_color": preserve_color}
        return stylize(**tensors, **options, callback=callback and (lambda step: callback(step, tensors)))

    def meddle(step, tensors):
        for tensor in (step.image, *tensors.values()):
            tensor.zero_()
        step.losses.update(dict.fromkeys(step.losses, 0.0), mine=1)
        if mode == "set_grad_enabled":
            torch.set_grad_enabled(False)
        else:
            modes.append(getattr(torch, mode)())
            modes[-1].__enter__()

    modes = []
    meddled, alone = run(meddle), run()
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    assert torch.equal(meddled.image, alone.image)
    assert [step.losses for step in meddled.history] == [step.losses for step in alone.history]


def test_a_result_is_no_part_of_what_the_caller_gave(net, photo, starry, monkeypatch):
    """Not even where a run ends before it could change its start."""

    def interrupt(images, layers):
        raise KeyboardInterrupt

    monkeypatch.setattr(net, "forward", interrupt)
    content = photo.clone()
    stylize(content, starry, net=net, steps=1).image.zero_()
    assert torch.equal(content, photo)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_caller_without_gradients_gets_the_same(net, photo, starry, mode):
    def results(net):
        images = [photo.clone(), starry.clone()]
        return [stylize(*images, net=net, sizes=[48, 72], steps=4).image, style_distance(net, *images)]

    expected = results(net)
    with mode():
        for found in (results(net), results(backbone("efficientnet_lite0", device="cpu"))):
            assert all(map(torch.equal, found, expected))
        assert not torch.is_grad_enabled()


# interruptions and losses that are no numbers


def test_an_interrupted_run_returns_the_best_so_far(net, photo, starry):
    watcher = Watcher(interrupt_at=3)
    result = stylize(photo, starry, net=net, steps=6, callback=watcher)
    assert result.interrupted and len(result.history) == len(watcher.steps) == 3
    assert torch.equal(result.image, stylize(photo, starry, net=net, steps=3).image)


def test_a_run_interrupted_at_a_coarse_size_has_the_final_size(net, photo, starry):
    watcher = Watcher(interrupt_at=2)
    result = stylize(photo, starry, net=net, sizes=[48, 72], steps=[3, 3], callback=watcher)
    assert result.interrupted and [step.size for step in result.history] == [(32, 48)] * 2
    best = min(watcher.steps, key=lambda step: step.losses["total"]).image
    assert torch.equal(result.image, resize(best, (48, 72)))


def test_a_run_interrupted_before_its_first_step_returns_its_start(net, photo, starry, monkeypatch):
    def interrupt(images, layers):
        raise KeyboardInterrupt

    monkeypatch.setattr(net, "forward", interrupt)
    result = stylize(photo, starry, net=net, steps=3)
    assert result.interrupted and result.history == [] and torch.equal(result.image, photo)


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_loss_that_overflows_is_an_error(net, photo, starry, name):
    watcher, options = Watcher(), {"steps": 4, "init": "noise", name: 1e39}
    text = r"not finite at step 1 of 4 \(content .*, style .*, tv .*\): lower style_weight or .*'fp32'"
    with pytest.raises(FloatingPointError, match=text):
        stylize(photo, starry, net=net, callback=watcher, **options)
    assert watcher.steps == []


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_loss_that_becomes_nan_is_an_error_at_its_step(net, photo, starry, monkeypatch, optimizer):
    passes = []

    def forward(images, layers, original=net.forward):
        passes.append(1)
        # content and style targets, the start, steps 1 and 2 come before the sixth pass
        factor = torch.nan if len(passes) > 5 else 1
        return {layer: features * factor for layer, features in original(images, layers).items()}

    monkeypatch.setattr(net, "forward", forward)
    watcher = Watcher()
    with pytest.raises(FloatingPointError, match=r"step 3 of 4 \(content nan, style nan, tv [0-9.]+\)"):
        stylize(photo, starry, net=net, steps=4, optimizer=optimizer, callback=watcher)
    assert [step.step for step in watcher.steps] == [1, 2]


# the objective


def check_gradient(objective):
    """The gradient of the total against central differences, at five pixels of a random image."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 32, 48, dtype=torch.float64, generator=generator, requires_grad=True)
    (gradient,) = torch.autograd.grad(objective(image)["total"].sum(), image)
    assert gradient.dtype == torch.float64
    image, epsilon = image.detach(), 1e-7  # small, because ReLU6 has corners
    for channel, row, column in [(0, 0, 0), (1, 15, 20), (2, 31, 47), (0, 16, 1), (1, 3, 40)]:
        change = torch.zeros_like(image)
        change[0, channel, row, column] = epsilon
        with torch.no_grad():
            slope = (objective(image + change)["total"] - objective(image - change)["total"]) / (2 * epsilon)
        assert slope.item() == pytest.approx(gradient[0, channel, row, column].item(), rel=3e-4, abs=1e-7)


@pytest.fixture(scope="module")
def double_net(net):
    return prepared(copy.deepcopy(net).double(), torch.float64)


@pytest.mark.parametrize("convention", ["relative", "gatys", "d2l", "cs231n"])
def test_gradient_agrees_with_finite_differences(double_net, photo, starry, convention):
    weights = dict.fromkeys(WEIGHTS) | ({"tv_weight": 1} if convention == "gatys" else {})
    check_gradient(objective_at((32, 48), double_net, photo, starry, convention=convention, weights=weights))


@pytest.mark.parametrize("keep", [0.3, 4])
@pytest.mark.parametrize("mix", ["grams", "features"])
def test_gradient_through_chosen_channels_agrees_with_finite_differences(double_net, photo, starry, mosaic, mix, keep):
    mask = torch.zeros(1, 1, 48, 48)
    mask[..., :24] = 1
    style = StyleMix([starry, mosaic], [3, 7], [mask, None], mix, channels=keep)
    check_gradient(objective_at((32, 48), double_net, photo, style))


@pytest.mark.parametrize("keep", [1.0, 4])
def test_gradient_within_regions_agrees_with_finite_differences(double_net, photo, starry, mosaic, keep):
    masks = [torch.rand(1, 1, 32, 48, generator=torch.Generator().manual_seed(i)) for i in range(2)]
    style = StyleMix([starry.double(), mosaic.double()], channels=keep)
    check_gradient(objective_at((32, 48), double_net, photo.double(), style, content_mask=masks))


@pytest.mark.parametrize("keep", [0.25, 5, 1.0])
def test_chosen_channels_are_compared_and_no_others(net, photo, starry, keep):
    losses = objective_at((32, 48), net, photo, StyleMix(starry, channels=keep))(photo)
    features, styles = net(photo, net.style_layers), net(starry, net.style_layers)
    for layer, F in features.items():
        A = gram(styles[layer]) / styles[layer][0, 0].numel() * F[0, 0].numel()
        kept = A[0].diagonal().topk(5 if keep == 5 else round(keep * A.shape[1])).indices.sort().values
        expected = style_layer_loss(gram(F[:, kept]), A[:, kept][:, :, kept], F[0, 0].numel(), "relative")
        torch.testing.assert_close(losses[f"style {layer}"], expected, rtol=1e-3, atol=1e-6)


def test_layers_asked_for_are_used(net, photo, starry):
    layers = {"content_layers": ["conv3_1"], "style_layers": ["relu1_1", "relu2_2"]}
    losses = stylize(photo, starry, net=net, steps=1, **layers).history[0].losses
    assert list(losses) == ["total", "content", "style", "tv", "content conv3_1", "style relu1_1", "style relu2_2"]


def test_bf16_is_used_where_asked_and_ends_near_fp32(net, photo, starry):
    options = {"net": net, "steps": 15, "optimizer": "adam"}
    single, half = (
        [step.losses["total"] for step in stylize(photo, starry, precision=precision, **options).history]
        for precision in ("fp32", "bf16")
    )
    assert single[0] != half[0] and half[-1] == pytest.approx(single[-1], rel=0.05) and half[-1] < half[0] / 3


# in one pass


def test_the_fast_method_is_fast_stylize(net, photo, starry, mosaic):
    unheard = {"steps": 3, "optimizer": "adam", "precision": "fp32", "seed": 4, "style_scale": 1}
    result = stylize(photo, [starry, mosaic], style_weights=[1, 3], method="fast", net=net, **unheard)
    assert torch.equal(result.image, fast_stylize(photo, [starry, mosaic], style_weights=[1, 3], net=net))
    assert result.history == [] and not result.interrupted and result.seconds > 0


SHAPING = {
    "tv_weight": 0,
    "style_weight": np.ones(1),
    "sizes": [48],
    "mix": "features",
    "init": torch.zeros(1, 3, 32, 48),
}
SHAPING |= {
    "style_scale": 2,
    "style_channels": 0.5,
    "style_layers": ["relu1_1"],
    "style_masks": torch.ones(1, 1, 48, 48),
}


@pytest.mark.parametrize("name", SHAPING)
def test_the_fast_method_refuses_what_it_cannot_do(net, photo, starry, name):
    with pytest.raises(ValueError, match="takes style_weights, content_mask and preserve_color alone"):
        stylize(photo, starry, method="fast", net=net, **{name: SHAPING[name]})
