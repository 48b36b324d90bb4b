"""Style transfer on pictures of 32 to 64 pixels, with the embedded network."""

import copy

import numpy as np
import pytest
import torch

from d2lstyle import (
    backbone,
    fast_stylize,
    gram,
    objective,
    painting,
    read_image,
    sample,
    style_layer_loss,
    stylize,
    top_channels,
    transfer,
    write_image,
)
from d2lstyle.engine.devices import runs_in_bf16
from d2lstyle.images import resize

OPTIMIZERS = ["lbfgs", "adam"]


def objective_at(size, net, content, styles, **changes):
    """The objective that `stylize` would minimise with its defaults."""
    settings = {
        "net": net,
        "content": content,
        "styles": styles,
        "masks": [None] * len(styles),
        "mix": "grams",
        "proportions": torch.full((1, len(styles)), 1 / len(styles)),
        "style_channels": 1.0,
        "style_scale": 1.0,
        "weights": (1, net.style_weight, 2),
        "content_layers": net.content_layers,
        "style_layers": net.style_layers,
        "layer_weights": None,
        "convention": "relative",
        "dtype": torch.float32,
    }
    objective = Objective(**settings | changes)
    objective.set_size(size)
    return objective


def half_mask(side, left=True):
    """Ones in one half of a square picture and zeros in the other."""
    mask = torch.zeros(1, 1, side, side)
    mask[..., slice(side // 2) if left else slice(side // 2, None)] = 1
    return mask


def spread_mask(side, seed=0):
    """A mask with all kinds of values, and a whole corner of zeros."""
    mask = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(seed))
    mask[..., : side // 2, side // 4 :] = 0
    return mask


class Watcher:
    """A callback that keeps every step, and interrupts after one of them."""

    def __init__(self, interrupt_at=None):
        self.steps, self.interrupt_at = [], interrupt_at

    def __call__(self, step):
        self.steps.append(step)
        if step.step == self.interrupt_at:
            raise KeyboardInterrupt


# the outcome


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("init", ["content", "noise"])
def test_losses_fall(net, photo, starry, optimizer, init):
    history = stylize(photo, starry, net=net, steps=15, optimizer=optimizer, init=init).history
    assert history[-1].losses["total"] < history[0].losses["total"] / 2
    assert history[-1].losses["style"] < history[0].losses["style"] / 2


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_result_and_callback(net, photo, starry, optimizer):
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
    assert [(step.step, step.size, step.losses) for step in result.history] == [
        (step.step, step.size, step.losses) for step in watcher.steps
    ]
    assert all(step.image is None for step in result.history)


def test_reported_losses_are_those_of_the_weighted_sum(net, photo, starry):
    weights = {layer: 1 + i for i, layer in enumerate(net.style_layers)}
    result = stylize(
        photo, starry, net=net, steps=2, content_weight=3, style_weight=5, tv_weight=7, layer_weights=weights
    )
    losses = result.history[-1].losses
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
    again = objective_at((32, 48), net, photo, [starry])(result.image)["total"].item()
    assert again == pytest.approx(best.losses["total"], rel=1e-5)


def test_sizes_before_the_last_are_not_among_the_best(net, photo, starry):
    watcher = Watcher()
    result = stylize(photo, starry, net=net, sizes=[48, 72], steps=[15, 2], callback=watcher)
    coarse, fine = watcher.steps[:15], watcher.steps[15:]
    assert min(step.losses["total"] for step in coarse) < min(step.losses["total"] for step in fine)
    best = min(fine, key=lambda step: step.losses["total"])
    assert torch.equal(result.image, best.image)


def test_each_image_of_a_batch_keeps_its_own_best_step(net, photo, starry, monkeypatch):
    monkeypatch.setattr(transfer, "ADAM_LR", 0.5)
    watcher, contents = Watcher(), torch.cat([photo, resize(sample("coffee", 48), (32, 48))])
    options = {"net": net, "steps": 4, "optimizer": "adam"}
    singles = [stylize(content, starry, **options).image for content in contents.split(1)]
    batch = stylize(contents, starry, **options).image
    last = stylize(contents, starry, callback=watcher, **options) and watcher.steps[-1].image
    torch.testing.assert_close(batch, torch.cat(singles), rtol=0, atol=2e-3)
    assert ((batch - last).abs().flatten(1).max(1).values > 0.05).any()  # the last step would not do


def test_a_content_that_no_step_improves_is_returned_itself(net, photo, monkeypatch):
    monkeypatch.setattr(transfer, "ADAM_LR", 50.0)
    result = stylize(photo, photo, net=net, steps=2, optimizer="adam", style_weight=0, tv_weight=0)
    assert torch.equal(result.image, photo)


def test_arguments_are_left_as_they_were(net, photo, starry):
    content, style = photo.clone(), starry.clone()
    result = stylize(content, style, net=net, steps=2, preserve_color=True)
    result.image.zero_()
    assert torch.equal(content, photo) and torch.equal(style, starry)


@pytest.mark.parametrize("kind", [torch.float64, torch.float16])
def test_other_float_types_are_taken_as_float32(net, photo, starry, kind):
    result = stylize(photo.to(kind).requires_grad_(), starry.to(kind), net=net, steps=2)
    assert result.image.dtype == torch.float32
    expected = stylize(photo.to(kind).float(), starry.to(kind).float(), net=net, steps=2)
    assert torch.equal(result.image, expected.image)


def test_a_result_can_be_written_and_read(net, photo, starry, tmp_path):
    image = stylize(photo, starry, net=net, steps=2).image
    write_image(image, tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") - image).abs().max() <= 1 / 255 / 2 + 1e-6


# coarse to fine


@pytest.mark.parametrize(
    "shape, sizes, steps, expected",
    [
        ((64, 96), None, 10, [((64, 96), 10)]),
        ((256, 256), None, 150, [((128, 128), 90), ((256, 256), 60)]),  # 3 : 2
        ((512, 512), None, 150, [((128, 128), 66), ((256, 256), 50), ((512, 512), 34)]),  # 4 : 3 : 2
        ((2048, 1024), None, 9, [((512, 256), 4), ((1024, 512), 3), ((2048, 1024), 2)]),  # three at most
        ((128, 512), None, 5, [((64, 256), 3), ((128, 512), 2)]),  # the shorter side keeps 64
        ((64, 512), None, 5, [((64, 512), 5)]),
        ((301, 401), None, 5, [((150, 200), 3), ((301, 401), 2)]),  # its own size to the pixel
        ((64, 96), 48, 7, [((32, 48), 7)]),
        ((64, 96), [48], [7], [((32, 48), 7)]),
        ((64, 96), [48, 96], 5, [((32, 48), 3), ((64, 96), 2)]),
        ((64, 96), (48, 96), [2, 9], [((32, 48), 2), ((64, 96), 9)]),
        ((64, 96), [96, 48], (1, 1), [((64, 96), 1), ((32, 48), 1)]),
        ((64, 96), [48, 96, 192], 1, [((128, 192), 1)]),  # a size without a step is left out
        ((64, 96), [48, 96, 192], 3, [((32, 48), 1), ((64, 96), 1), ((128, 192), 1)]),
    ],
)
def test_schedule(shape, sizes, steps, expected):
    assert coarse_to_fine(shape, sizes, steps) == expected


# a batch, and several styles


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("init", ["content", "noise"])
def test_a_batch_equals_single_runs(net, photo, starry, mosaic, optimizer, init):
    contents = torch.cat([photo, resize(sample("coffee", 48), (32, 48))])
    styles = torch.cat([starry, resize(mosaic, 48)])
    options = {"net": net, "steps": 5, "optimizer": optimizer, "init": init}
    batch = stylize(contents, styles, **options)
    singles = [stylize(content, style, **options) for content, style in zip(contents.split(1), styles.split(1))]
    # A convolution over two images sums in another order than over one: 1e-6 a step, which every step multiplies.
    torch.testing.assert_close(batch.image, torch.cat([single.image for single in singles]), rtol=0, atol=2e-3)
    means = [sum(step.losses["total"] for step in steps) / 2 for steps in zip(*(single.history for single in singles))]
    assert [step.losses["total"] for step in batch.history] == pytest.approx(means, rel=1e-3)
    assert (batch.image[0] - batch.image[1]).abs().max() > 0.1  # two results, not one twice


def test_one_style_serves_a_batch(net, photo, starry):
    contents = torch.cat([photo, photo.flip(3)])
    batch = stylize(contents, starry, net=net, steps=3).image
    repeated = stylize(contents, starry.expand(2, -1, -1, -1), net=net, steps=3).image
    torch.testing.assert_close(batch, repeated, rtol=0, atol=2e-3)


@pytest.mark.parametrize("index", [0, 1])
def test_a_style_of_weight_zero_has_no_say(net, photo, starry, mosaic, index):
    weights = [0, 0]
    weights[index] = 1
    mixed = stylize(photo, [starry, mosaic], style_weights=weights, net=net, steps=3).image
    assert torch.equal(mixed, stylize(photo, [starry, mosaic][index], net=net, steps=3).image)


@pytest.mark.parametrize("weights, same", [([1, 3], [0.25, 0.75]), ([2, 6], [1, 3]), ([5, 5], None)])
def test_proportions_have_no_scale(net, photo, starry, mosaic, weights, same):
    one, other = (
        stylize(photo, [starry, mosaic], style_weights=given, net=net, steps=3).image for given in (weights, same)
    )
    torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


def test_mixed_targets_are_the_mean_of_the_styles_grams(net, photo, starry, mosaic):
    objective = objective_at((32, 48), net, photo, [starry, mosaic], proportions=torch.tensor([[0.3, 0.7]]))
    features = [net(resize(style, 48), net.style_layers) for style in (starry, mosaic)]
    for layer in net.style_layers:
        (a, b), positions = (each[layer] for each in features), net(photo, [layer])[layer].shape[2:].numel()
        expected = 0.3 * gram(a) / a.shape[2:].numel() + 0.7 * gram(b) / b.shape[2:].numel()
        torch.testing.assert_close(objective.style_targets[layer] / positions, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scale, side", [(1.0, 48), (1.5, 72), (0.75, 36)])
def test_style_scale_is_the_styles_size_over_the_contents(net, photo, mosaic, scale, side):
    objective = objective_at((32, 48), net, photo, [mosaic], style_scale=scale)
    layer = net.style_layers[0]
    style = net(resize(mosaic, side), [layer])[layer]
    expected = gram(style) / style.shape[2:].numel() * objective.n_positions[layer]
    torch.testing.assert_close(objective.style_targets[layer], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mix", ["grams", "features"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_each_content_has_its_own_proportions(net, photo, starry, mosaic, mix, optimizer):
    contents, rows = torch.cat([photo, photo.flip(3), photo]), [[1, 3], [2, 0], [0, 7]]
    options = {"net": net, "steps": 3, "mix": mix, "optimizer": optimizer}
    batch = stylize(contents, [starry, mosaic], style_weights=rows, **options).image
    singles = [
        stylize(content, [starry, mosaic], style_weights=row, **options).image
        for content, row in zip(contents.split(1), rows)
    ]
    torch.testing.assert_close(batch, torch.cat(singles), rtol=0, atol=2e-3)
    assert (batch[0] - batch[2]).abs().max() > 0.04


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    "name, given", [("style_weight", [0, 5, 80]), ("content_weight", [0.1, 1, 30]), ("tv_weight", [0, 2, 300])]
)
def test_each_content_has_its_own_weights(net, photo, starry, optimizer, name, given):
    contents, options = torch.cat([photo, photo.flip(3), photo]), {"net": net, "steps": 3, "optimizer": optimizer}
    batch = stylize(contents, starry, **options, **{name: torch.tensor(given)})
    singles = [
        stylize(content, starry, **options, **{name: weight}) for content, weight in zip(contents.split(1), given)
    ]
    torch.testing.assert_close(batch.image, torch.cat([single.image for single in singles]), rtol=0, atol=2e-3)
    assert (batch.image[0] - batch.image[2]).abs().max() > 0.02
    totals = [single.history[0].losses["total"] for single in singles]
    assert batch.history[0].losses["total"] == pytest.approx(sum(totals) / 3, rel=1e-3)


@pytest.mark.parametrize("convention", ["relative", "gatys", "d2l", "cs231n"])
def test_equal_weights_are_one(net, photo, starry, convention):
    contents, (content, style, tv) = torch.cat([photo, photo.flip(3)]), transfer.default_weights(net, convention)
    options = {"net": net, "steps": 2, "convention": convention}
    each = {"content_weight": (content, content), "style_weight": np.array([style, style]), "tv_weight": [tv, tv]}
    one, same = (stylize(contents, starry, **options, **weights).image for weights in ({}, each))
    torch.testing.assert_close(same, one, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", ["style_weight", "content_weight", "tv_weight"])
@pytest.mark.parametrize("given", [[1], [1, 2, 3], [[1, 2]], torch.ones(2, 1), []])
def test_weights_that_are_not_one_a_content_are_refused(net, photo, starry, name, given):
    with pytest.raises(ValueError, match=f"expected {name} as a number, or as 2 of them, got"):
        stylize(torch.cat([photo, photo]), starry, net=net, steps=1, **{name: given})


@pytest.mark.parametrize("name", ["style_weight", "content_weight", "tv_weight"])
@pytest.mark.parametrize("given", [-1, [1, -1], torch.tensor([-1e-6, 1]), [1, float("nan")], [float("inf"), 1]])
def test_weights_below_zero_or_endless_are_refused(net, photo, starry, name, given):
    with pytest.raises(ValueError, match=f"expected {name} of zero or more, got"):
        stylize(torch.cat([photo, photo]), starry, net=net, steps=1, **{name: given})


@pytest.mark.parametrize(
    "rows", [torch.tensor([1.0, 3]), [[1, 3]], [[1, 3], [2, 6]], torch.tensor([[0.5, 1.5], [1, 3]])]
)
def test_equal_rows_of_proportions_are_one(net, photo, starry, mosaic, rows):
    contents = torch.cat([photo, photo.flip(3)])
    one, same = (
        stylize(contents, [starry, mosaic], style_weights=given, net=net, steps=2).image for given in ([1, 3], rows)
    )
    torch.testing.assert_close(same, one, rtol=0, atol=1e-4)


# the positions of a style that count


@pytest.mark.parametrize("mix", ["grams", "features"])
@pytest.mark.parametrize("value", [1.0, 0.2, True])
def test_a_mask_of_one_value_changes_nothing(net, photo, starry, mosaic, mix, value):
    mask = torch.full((1, 1, 48, 48), value)
    for styles, masks in [([starry], [mask]), ([starry, mosaic], [mask, None])]:
        masked, plain = (
            objective_at((32, 48), net, photo, styles, masks=given, mix=mix) for given in (masks, [None] * 2)
        )
        for layer in net.style_layers:
            torch.testing.assert_close(masked.style_targets[layer], plain.style_targets[layer], rtol=1e-4, atol=1e-5)
    results = [stylize(photo, starry, style_masks=given, mix=mix, net=net, steps=3).image for given in (mask, None)]
    torch.testing.assert_close(*results, rtol=0, atol=1e-3)


def pooled(mask, height, width):
    """(height, width): the mean of a mask over the pixels that each position touches."""
    rows, columns = mask.shape[2:]
    spans = (
        [slice(i * pixels // places, -(-(i + 1) * pixels // places)) for i in range(places)]
        for pixels, places in ((rows, height), (columns, width))
    )
    down, across = spans
    return torch.tensor([[mask[0, 0, row, column].mean() for column in across] for row in down])


@pytest.mark.parametrize("side, scale", [(48, 1.0), (40, 1.0), (48, 1.5), (96, 0.75), (5, 1.0)])
def test_a_mask_weighs_the_positions_of_every_layer(net, photo, side, scale):
    """Whatever the sizes of mask and layer are, the target is the Gram of the style's positions under weights, by hand."""
    style, mask = painting("mosaic", size=max(side, 32)), spread_mask(side)
    objective = objective_at((32, 48), net, photo, [style], masks=[mask], style_scale=scale)
    features = net(resize(style, round(48 * scale)), net.style_layers)
    for layer in net.style_layers:
        columns, weights = features[layer][0].flatten(1), pooled(mask, *features[layer].shape[2:]).flatten()
        mean = columns @ (weights[:, None] * columns.T) / weights.sum()
        torch.testing.assert_close(
            objective.style_targets[layer][0] / objective.n_positions[layer], mean, rtol=1e-3, atol=1e-5
        )
        plain = columns @ columns.T / len(weights)
        assert (mean - plain).norm() > 0.02 * plain.norm()


def test_one_pixel_of_a_mask_is_found_in_every_layer(net, photo, starry):
    mask = torch.zeros(1, 1, 48, 48)
    mask[..., 30, 41] = 1
    objective = objective_at((32, 48), net, photo, [starry], masks=[mask])
    features = net(starry, net.style_layers)
    for layer in net.style_layers:
        height, width = features[layer].shape[2:]
        column = features[layer][0, :, 30 * height // 48, 41 * width // 48]
        expected = torch.outer(column, column) * objective.n_positions[layer]
        torch.testing.assert_close(objective.style_targets[layer][0], expected, rtol=1e-3, atol=1e-4)


def distance(net, image, style):
    """How far the Grams of two pictures are, position by position: 0 the same, 1 as far as from nothing."""
    shares = []
    for one, other in zip(*(net(each, net.style_layers).values() for each in (image, style))):
        G, A = gram(one) / one[0, 0].numel(), gram(other) / other[0, 0].numel()
        shares.append((G - A).square().sum() / A.square().sum())
    return (sum(shares) / len(shares)).item()


def test_a_mask_that_selects_one_texture_transfers_that_one_alone(net):
    """The style image is half one painting, half another; a mask of either half makes the result that half's."""
    halves = painting("starry", size=96)[..., :48], painting("mosaic", size=96)[..., :48]
    style, content = torch.cat(halves, dim=3), sample("chelsea", size=72)
    seen = (
        resize(style, 72)[..., :36],
        resize(style, 72)[..., 36:],
    )  # the textures at the size that they are transferred in
    unmasked, *masked = (
        [distance(net, stylize(content, style, style_masks=mask, net=net, steps=40).image, half) for half in seen]
        for mask in (None, half_mask(96), half_mask(96, left=False))
    )
    for index, found in enumerate(masked):
        assert found[index] < unmasked[index] / 2 and found[1 - index] > 2 * unmasked[1 - index]
        assert found[1 - index] > 8 * found[index]


@pytest.mark.parametrize("kind", [torch.bool, torch.float64, torch.int64, torch.uint8])
def test_masks_of_other_types_are_taken_as_numbers(net, photo, starry, kind):
    one, other = (
        stylize(photo, starry, style_masks=mask, net=net, steps=2).image
        for mask in (half_mask(48), half_mask(48).to(kind))
    )
    assert torch.equal(one, other)


def test_a_mask_is_left_as_it_was(net, photo, starry):
    mask = half_mask(48).requires_grad_()
    stylize(photo, starry, style_masks=mask, net=net, steps=2)
    assert torch.equal(mask.detach(), half_mask(48)) and mask.grad is None


@pytest.mark.parametrize("mix", ["grams", "features"])
@pytest.mark.parametrize("n_styles", [1, 2])
def test_each_image_of_a_batch_has_its_own_mask(net, photo, starry, mosaic, mix, n_styles):
    contents, masks = torch.cat([photo, photo]), torch.cat([half_mask(48), half_mask(48, left=False)])
    styles = torch.cat([starry, resize(mosaic, 48)])[:n_styles]  # one style for both, or each its own
    options = {"net": net, "steps": 4, "mix": mix}
    batch = stylize(contents, styles, style_masks=masks, **options).image
    each = zip(contents.split(1), styles.expand(2, -1, -1, -1).split(1), masks.split(1))
    singles = [stylize(content, style, style_masks=mask, **options).image for content, style, mask in each]
    torch.testing.assert_close(batch, torch.cat(singles), rtol=0, atol=2e-3)
    assert (batch[0] - batch[1]).abs().max() > 0.1


def test_one_mask_serves_the_styles_of_a_batch(net, photo, starry, mosaic):
    contents, styles = torch.cat([photo, photo]), torch.cat([starry, resize(mosaic, 48)])
    one, each = (
        stylize(contents, styles, style_masks=mask, net=net, steps=3).image
        for mask in (half_mask(48), half_mask(48).expand(2, -1, -1, -1))
    )
    torch.testing.assert_close(one, each, rtol=0, atol=2e-3)


def test_a_list_of_styles_has_a_list_of_masks(net, photo, starry, mosaic):
    mask, proportions = spread_mask(40), torch.tensor([[0.3, 0.7]])
    objective = objective_at((32, 48), net, photo, [starry, mosaic], masks=[None, mask], proportions=proportions)
    singles = [
        objective_at((32, 48), net, photo, [style], masks=[each]) for style, each in ((starry, None), (mosaic, mask))
    ]
    for layer in net.style_layers:
        expected = 0.3 * singles[0].style_targets[layer] + 0.7 * singles[1].style_targets[layer]
        torch.testing.assert_close(objective.style_targets[layer], expected, rtol=1e-4, atol=1e-5)
    found = stylize(photo, [starry, mosaic], style_masks=[None, mask], style_weights=[0, 1], net=net, steps=3).image
    assert torch.equal(found, stylize(photo, mosaic, style_masks=[mask], net=net, steps=3).image)
    assert not torch.allclose(found, stylize(photo, mosaic, net=net, steps=3).image, atol=0.02)


# styles mixed by their features


def test_features_of_one_style_are_its_grams(net, photo, starry):
    one, other = (stylize(photo, starry, mix=mix, net=net, steps=3).image for mix in ("grams", "features"))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


@pytest.mark.parametrize("index", [0, 1])
def test_features_of_one_style_alone_are_its_grams(net, photo, starry, mosaic, index):
    weights = [0, 0]
    weights[index] = 1
    mixed = stylize(photo, [starry, mosaic], style_weights=weights, mix="features", net=net, steps=3).image
    alone = stylize(photo, [starry, mosaic][index], net=net, steps=3).image
    torch.testing.assert_close(mixed, alone, rtol=0, atol=1e-4)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("first", ["starry", "photo"])
def test_mixed_features_are_added_place_by_place(net, photo, starry, mosaic, first, masked):
    """The other styles are stretched to the first one's canvas."""
    styles = [{"starry": starry, "photo": photo}[first], mosaic]
    masks = [None, spread_mask(40)] if masked else [None, None]
    proportions = torch.tensor([[0.3, 0.7]])
    objective = objective_at((32, 48), net, photo, styles, masks=masks, proportions=proportions, mix="features")
    canvas = tuple(styles[0].shape[2:])  # its longer side has 48 pixels, as the content has
    by_grams = objective_at((32, 48), net, photo, styles, masks=masks, proportions=proportions)
    for layer in net.style_layers:
        a, b = (net(resize(style, canvas), [layer])[layer][0].flatten(1) for style in styles)
        if masked:
            weights = pooled(masks[1], *net(resize(mosaic, canvas), [layer])[layer].shape[2:]).flatten()
            b = b * (weights / weights.mean()).sqrt()
        mixed = 0.3 * a + 0.7 * b
        mean = objective.style_targets[layer][0] / objective.n_positions[layer]
        torch.testing.assert_close(mean, mixed @ mixed.T / a.shape[1], rtol=1e-3, atol=1e-5)
        other = by_grams.style_targets[layer][0] / objective.n_positions[layer]
        assert (mean - other).norm() > 0.02 * other.norm()


def test_the_two_ways_to_mix_give_two_pictures(net, photo, starry, mosaic):
    grams, features, default = (
        stylize(photo, [starry, mosaic], net=net, steps=5, **mix).image
        for mix in ({"mix": "grams"}, {"mix": "features"}, {})
    )
    assert (grams - features).abs().mean() > 0.01 and torch.equal(grams, default)


# the channels that are compared


@pytest.mark.parametrize("keep", [0.25, 5])
def test_chosen_channels_are_compared_and_no_others(net, photo, starry, keep):
    objective = objective_at((32, 48), net, photo, [starry], style_channels=keep)
    features, styles = net(photo, net.style_layers), net(starry, net.style_layers)
    losses = objective(photo)
    for layer in net.style_layers:
        A = gram(styles[layer]) / styles[layer][0, 0].numel() * objective.n_positions[layer]
        count = 5 if keep == 5 else round(0.25 * A.shape[1])
        chosen = A[0].diagonal().topk(count).indices.sort().values
        assert torch.equal(objective.channels[layer][0], chosen)
        target = A[:, chosen][:, :, chosen]
        torch.testing.assert_close(objective.style_targets[layer], target, rtol=1e-3, atol=1e-4)
        expected = style_layer_loss(gram(features[layer][:, chosen]), target, objective.n_positions[layer], "relative")
        torch.testing.assert_close(losses[f"style {layer}"], expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("keep", [1, 1.0])
def test_all_channels_are_the_default(net, photo, starry, keep):
    found, default = (
        stylize(photo, starry, net=net, steps=3, **options).image for options in ({"style_channels": keep}, {})
    )
    assert torch.equal(found, default)
    assert not torch.allclose(stylize(photo, starry, net=net, steps=3, style_channels=0.1).image, default, atol=0.02)


@pytest.mark.parametrize("mix", ["grams", "features"])
def test_channels_are_those_of_the_mixed_and_masked_style(net, photo, starry, mosaic, mix):
    options = {"masks": [half_mask(48), spread_mask(40)], "proportions": torch.tensor([[0.6, 0.4]]), "mix": mix}
    few, all_ = (
        objective_at((32, 48), net, photo, [starry, mosaic], style_channels=keep, **options) for keep in (0.3, 1.0)
    )
    for layer in net.style_layers:
        chosen = top_channels(all_.style_targets[layer], 0.3)[0]
        assert torch.equal(few.channels[layer][0], chosen)
        assert torch.equal(few.style_targets[layer][0], all_.style_targets[layer][0][chosen][:, chosen])


@pytest.mark.parametrize("keep", [0.2, 3])
def test_each_style_of_a_batch_chooses_its_own_channels(net, photo, starry, mosaic, keep):
    contents, styles = torch.cat([photo, photo.flip(3)]), torch.cat([starry, resize(mosaic, 48)])
    channels = objective_at((32, 48), net, contents, [styles], style_channels=keep).channels
    assert any(not torch.equal(*channels[layer]) for layer in net.style_layers)
    options = {"net": net, "steps": 4, "style_channels": keep}
    batch = stylize(contents, styles, **options).image
    singles = [stylize(content, style, **options).image for content, style in zip(contents.split(1), styles.split(1))]
    torch.testing.assert_close(batch, torch.cat(singles), rtol=0, atol=2e-3)


def test_an_image_has_no_loss_to_itself(net, photo):
    losses = objective_at((32, 48), net, photo, [photo])(photo)
    assert losses["content"].item() == 0 and losses["style"].item() == pytest.approx(0, abs=1e-6)
    assert losses["tv"].item() > 0


# seeds and colours


def test_same_seed_same_result(net, photo, starry):
    def run(seed, init):
        return stylize(photo, starry, net=net, steps=3, seed=seed, init=init).image

    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = run(0, "noise")
    assert torch.equal(torch.get_rng_state(), state)  # no global random numbers are used
    assert torch.equal(first, run(0, "noise")) and not torch.allclose(first, run(1, "noise"), atol=0.05)
    assert torch.equal(run(0, "content"), run(1, "content"))


def test_noise_starts_far_from_the_content(net, photo, starry):
    firsts = [stylize(photo, starry, net=net, steps=1, init=init).history[0].losses for init in ("content", "noise")]
    assert firsts[1]["content"] > 2 * firsts[0]["content"]


def test_the_content_as_an_image_to_start_from_is_the_default(net, photo, starry):
    runs = [stylize(photo, starry, net=net, steps=3, init=init) for init in ("content", photo)]
    assert torch.equal(runs[0].image, runs[1].image)


def test_a_run_goes_on_from_an_earlier_result(net, photo, starry):
    earlier = stylize(photo, starry, net=net, steps=10)
    later = stylize(photo, starry, net=net, steps=10, init=earlier.image)
    losses = [min(step.losses["total"] for step in run.history) for run in (earlier, later)]
    assert losses[1] < losses[0]
    watcher = Watcher()
    stylize(photo, starry, net=net, steps=1, init=earlier.image, optimizer="adam", callback=watcher)
    assert (watcher.steps[0].image - earlier.image).abs().max() < 0.021  # one step of Adam's lr from there


def test_one_start_serves_a_batch(net, photo, starry):
    batch = photo.repeat(2, 1, 1, 1)
    together = stylize(batch, starry, net=net, steps=2, init=1 - photo).image
    alone = stylize(photo, starry, net=net, steps=2, init=1 - photo).image
    assert torch.allclose(together, alone.expand_as(together), atol=1e-3)


@pytest.mark.parametrize(
    "init, error, text",
    [
        (torch.rand(3, 3, 32, 48), ValueError, "one image as init, or one for each of 1 contents, got 3"),
        (torch.rand(1, 1, 32, 48), ValueError, "expected init of shape"),
        (torch.full((1, 3, 32, 48), 2.0), ValueError, r"expected init in \[0, 1\]"),
        (None, ValueError, "unknown init None"),
    ],
)
def test_other_starts_are_refused(net, photo, starry, init, error, text):
    with pytest.raises(error, match=text):
        stylize(photo, starry, net=net, steps=1, init=init)


@pytest.mark.parametrize("init", ["content", "noise"])
def test_preserve_color_keeps_the_chroma(net, photo, starry, init):
    watcher = Watcher()
    image = stylize(photo, starry, net=net, steps=5, init=init, preserve_color=True, callback=watcher).image
    painted = stylize(photo, starry, net=net, steps=5, init=init).image

    def luma_cb_cr(image):  # ITU-R BT.601
        red, green, blue = image[0]
        luma = 0.299 * red + 0.587 * green + 0.114 * blue
        return luma, (blue - luma) / 1.772, (red - luma) / 1.402

    for shown in (image, watcher.steps[-1].image):
        unclipped = ((shown > 0) & (shown < 1)).all(dim=1)[0]
        assert unclipped.float().mean() > 0.5
        (luma, *chroma), (luma_before, *chroma_before) = luma_cb_cr(shown), luma_cb_cr(photo)
        for after, before in zip(chroma, chroma_before):
            torch.testing.assert_close(after[unclipped], before[unclipped], rtol=0, atol=1e-5)
        assert (luma - luma_before).abs().mean() > 0.02
    luma, *_ = luma_cb_cr(image)
    unclipped = ((image > 0) & (image < 1)).all(dim=1)[0]
    torch.testing.assert_close(luma[unclipped], luma_cb_cr(painted)[0][unclipped], rtol=0, atol=1e-5)


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
    def interrupt(self, size):
        raise KeyboardInterrupt

    monkeypatch.setattr(Objective, "set_size", interrupt)
    result = stylize(photo, starry, net=net, steps=3)
    assert result.interrupted and result.history == [] and torch.equal(result.image, photo)


@pytest.mark.parametrize(
    "weights, text",
    [
        ({"style_weight": 1e39}, r"not finite at step 1 of 4 \(content .*, style .*, tv .*\): lower style_weight"),
        ({"content_weight": 1e39}, r"not finite at step 1 of 4 .*content_weight"),
        ({"tv_weight": 1e39}, r"not finite at step 1 of 4 .*precision='fp32'"),
    ],
)
def test_a_loss_that_overflows_is_an_error(net, photo, starry, weights, text):
    watcher = Watcher()
    with pytest.raises(FloatingPointError, match=text):
        stylize(photo, starry, net=net, steps=4, init="noise", callback=watcher, **weights)
    assert watcher.steps == []


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_loss_that_becomes_nan_is_an_error_at_its_step(net, photo, starry, monkeypatch, optimizer):
    passes = []

    def forward(images, layers, original=net.forward):
        passes.append(1)
        # content and style targets, the start, steps 1 and 2 come before the sixth pass
        return {
            layer: value * (torch.nan if len(passes) > 5 else 1) for layer, value in original(images, layers).items()
        }

    monkeypatch.setattr(net, "forward", forward)
    watcher = Watcher()
    with pytest.raises(FloatingPointError, match=r"step 3 of 4 \(content nan, style nan, tv [0-9.]+\)"):
        stylize(photo, starry, net=net, steps=4, optimizer=optimizer, callback=watcher)
    assert [step.step for step in watcher.steps] == [1, 2]


# the objective


@pytest.fixture(scope="module")
def double_net(net):
    return copy.deepcopy(net).double()


@pytest.mark.parametrize(
    "convention, weights",
    [("relative", (1, 25, 2)), ("gatys", (1, 1e3, 1)), ("d2l", (1, 1e3, 10)), ("cs231n", (5e-2, 500, 5e-2))],
)
def test_gradient_agrees_with_finite_differences(double_net, photo, starry, convention, weights):
    check_gradient(
        objective_at(
            (32, 48),
            double_net,
            photo.double(),
            [starry.double()],
            convention=convention,
            weights=weights,
            dtype=torch.float64,
        )
    )


@pytest.mark.parametrize("keep", [0.3, 4])
@pytest.mark.parametrize("mix", ["grams", "features"])
def test_gradient_through_chosen_channels_agrees_with_finite_differences(double_net, photo, starry, mosaic, mix, keep):
    check_gradient(
        objective_at(
            (32, 48),
            double_net,
            photo.double(),
            [starry.double(), mosaic.double()],
            masks=[half_mask(48).double(), None],
            mix=mix,
            proportions=torch.tensor([[0.3, 0.7]]).double(),
            style_channels=keep,
            dtype=torch.float64,
        )
    )


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


@pytest.mark.parametrize("convention", ["gatys", "d2l", "cs231n"])
def test_published_conventions_optimise_too(net, photo, starry, convention):
    history = stylize(photo, starry, net=net, steps=8, convention=convention).history
    assert min(step.losses["total"] for step in history) < history[0].losses["total"]


def test_layers_asked_for_are_used(net, photo, starry):
    history = stylize(
        photo, starry, net=net, steps=1, content_layers=["conv3_1"], style_layers=["relu1_1", "relu2_2"]
    ).history
    assert set(history[0].losses) == {
        "total",
        "content",
        "style",
        "tv",
        "content conv3_1",
        "style relu1_1",
        "style relu2_2",
    }


def test_bf16_ends_near_fp32(net, photo, starry):
    objective = objective_at((32, 48), net, photo, [starry])
    start, single, half = (
        objective(image)["total"].item()
        for image in (photo, *(stylize(photo, starry, net=net, steps=40, precision=p).image for p in ("fp32", "bf16")))
    )
    assert half == pytest.approx(single, rel=0.05) and half < start / 3


def test_bf16_is_really_used_where_asked(net, photo, starry):
    single, half = (stylize(photo, starry, net=net, steps=1, precision=p).history[0].losses for p in ("fp32", "bf16"))
    assert single != half and half["total"] == pytest.approx(single["total"], rel=0.05)


def test_auto_precision_keeps_depthwise_networks_single_on_a_cpu(net):
    assert runs_in_bf16("bf16", net) and not runs_in_bf16("fp32", net) and not runs_in_bf16("auto", net)


@pytest.mark.parametrize("half, expected", [(0.5, True), (0.95, False), (2.0, False)])
def test_auto_precision_is_what_was_measured_once(monkeypatch, half, expected):
    dense = backbone("squeezenet1_1", weights=None, device="cpu")
    measured = []

    def seconds(net, dtype):
        measured.append(dtype)
        return half if dtype == torch.bfloat16 else 1.0

    monkeypatch.setattr(objective, "has_bf16", lambda net, device: True)
    monkeypatch.setattr(objective, "_seconds_a_pass", seconds)
    assert [runs_in_bf16("auto", dense) for _ in range(3)] == [expected] * 3
    assert sorted(measured, key=str) == [torch.bfloat16, torch.float32]
    monkeypatch.setattr(objective, "has_bf16", lambda net, device: False)
    assert not runs_in_bf16("auto", dense)


def test_a_pass_is_really_timed():
    dense = backbone("squeezenet1_1", weights=None, device="cpu")
    state = torch.get_rng_state()
    assert all(0 < objective._seconds_a_pass(dense, dtype) < 60 for dtype in (torch.float32, torch.bfloat16))
    assert torch.equal(torch.get_rng_state(), state)


def test_detail_of_the_content_comes_in_at_a_finer_size(net, photo):
    """What a coarse size cannot hold is not lost where nothing but the content counts."""
    content = resize(sample("coffee"), 96)
    result = stylize(content, photo, net=net, sizes=[48, 96], steps=[1, 1], style_weight=0, tv_weight=0)
    blurred = resize(resize(content, 48), tuple(content.shape[2:]))
    assert (result.image - content).square().mean() < 0.1 * (blurred - content).square().mean()


# in one pass


def test_the_fast_method_is_fast_stylize(net, photo, starry, mosaic):
    result = stylize(photo, [starry, mosaic], style_weights=[1, 3], method="fast", net=net)
    assert torch.equal(result.image, fast_stylize(photo, [starry, mosaic], style_weights=[1, 3], net=net))
    assert result.history == [] and not result.interrupted and result.seconds > 0


def test_the_fast_method_can_keep_the_chroma(net, photo, starry):
    kept = stylize(photo, starry, method="fast", preserve_color=True, net=net).image
    inside = ((kept > 0) & (kept < 1)).all(dim=1)
    before, after = ((image[:, [0, 2]] - image[:, 1:2]).movedim(1, -1)[inside] for image in (photo, kept))
    assert inside.any() and (before - after).abs().max() < 1e-4
    assert (kept - photo).abs().max() > 0.02


@pytest.mark.parametrize(
    "option",
    [
        {"style_weight": 3},
        {"tv_weight": 0},
        {"sizes": [48]},
        {"style_layers": ["relu1_1"]},
        {"mix": "features"},
        {"init": "noise"},
        {"init": torch.zeros(1, 3, 32, 48)},
        {"style_scale": 2},
        {"style_channels": 0.5},
        {"style_masks": torch.ones(1, 1, 48, 48)},
    ],
    ids=lambda option: next(iter(option)),
)
def test_the_fast_method_refuses_what_it_cannot_do(net, photo, starry, option):
    with pytest.raises(ValueError, match="takes style_weights and preserve_color alone"):
        stylize(photo, starry, method="fast", net=net, **option)
