"""Style transfer in one pass: what comes out, that images do not mix, that the painter knows drawn styles, too."""

import copy
import functools

import pytest
import torch
from pretend_gpu import GPU, pretend_gpu

import d2lstyle as ds
from d2lstyle import fast_stylize
from d2lstyle.fast import network
from d2lstyle.fast.network import WEIGHTS, _padded, adain, fast_network, read_weights
from d2lstyle.fast.painting import enlarged
from d2lstyle.images import resize


@pytest.fixture(scope="module")
def model():
    return fast_network("cpu")


@pytest.fixture(scope="module")
def contents():
    """Two pieces of photos, 64 x 64 pixels."""
    coffee, chelsea = ds.sample("coffee")[..., 100:500], ds.sample("chelsea")[..., 100:400]
    return torch.cat((resize(coffee, (64, 64)), resize(chelsea, (64, 64))))


def close(a, b, tolerance=1e-3):
    return (a - b).abs().max() < tolerance


def test_adain_gives_mean_and_deviation_computed_by_hand():
    features = torch.tensor([1.0, 3.0, 5.0, 7.0]).view(1, 1, 2, 2)  # mean 4, deviation sqrt(5)
    out = adain(features, mean=torch.tensor([[10.0]]), std=torch.tensor([[2 * 5**0.5]]))
    assert torch.allclose(out.flatten(), torch.tensor([4.0, 8.0, 12.0, 16.0]), atol=1e-3)


def test_every_second_position_is_taken_from_the_one_that_tensorflow_begins_with():
    """n positions give ceil(n / 2): windows of three begin at 0, 2, ... if n is even, else at -1, 1, ..."""
    (rows, columns) = torch.ones(5, 6).nonzero().T.view(2, 1, 1, 5, 6).float()
    rows, columns = (_padded(None, (axis + 1,)) for axis in (rows, columns))
    assert rows.shape == (1, 1, 7, 7)
    assert rows[0, 0, :, 0].tolist() == [0, 1, 2, 3, 4, 5, 0] and columns[0, 0, 1].tolist() == [1, 2, 3, 4, 5, 6, 0]


def test_small_pictures_are_painted_larger_and_large_ones_as_they_are():
    assert [enlarged(side, 384) for side in (32, 96, 97, 256, 300, 384, 512)] == [48, 144, 145, 384, 384, 384, 512]


def test_a_mixture_of_styles_is_that_of_their_codes(model, contents, starry, mosaic):
    """Painted at 96 pixels for pictures of 64, in styles that are read at 144."""
    styles = [resize(style, (144, 144)) for style in (starry, mosaic)]
    codes = [model.codes(style) for style in styles]
    expected = resize(model(resize(contents, (96, 96)), (codes[0] + 3 * codes[1]) / 4), (64, 64))
    assert close(fast_stylize(contents, styles, style_weights=[1, 3], device="cpu"), expected, 1e-5)


@pytest.mark.parametrize("color", [(0, 0, 0), (1, 1, 1), (0.2, 0.9, 0.7)])
def test_flat_pictures_stay_finite(starry, color):
    flat = torch.tensor(color, dtype=torch.float32).view(1, 3, 1, 1).expand(1, 3, 40, 40)
    for content, style in ((flat, flat), (flat, starry), (starry, flat)):
        assert fast_stylize(content, style, device="cpu").isfinite().all()


@pytest.mark.parametrize("shape", [(32, 32), (33, 47), (64, 96)])
def test_any_size_comes_back_in_shape_and_range(shape):
    content = ds.sample("chelsea", size=shape)
    painted = fast_stylize(content, ds.painting("mosaic", (40, 200)), device="cpu")
    assert painted.shape == content.shape and painted.dtype == torch.float32
    assert painted.min() >= 0 and painted.max() <= 1 and painted.std() > 0.05


def test_a_batch_equals_its_images_alone(contents, starry, mosaic):
    styles = torch.cat((starry, resize(mosaic, (48, 48))))
    together = fast_stylize(contents, styles, alpha=torch.tensor([1.0, 0.6]), device="cpu")
    alone = [fast_stylize(contents[i : i + 1], styles[i : i + 1], alpha=(1.0, 0.6)[i], device="cpu") for i in range(2)]
    assert close(together, torch.cat(alone))


def test_the_first_call_as_any_other_gives_the_same_picture_and_changes_nothing(net, contents, starry, monkeypatch):
    """Whatever dtype and device new tensors of the user have."""
    before, state = (contents.clone(), starry.clone()), torch.get_rng_state()
    expected = fast_stylize(contents, starry, device="cpu")
    fresh = functools.cache(network._loaded.__wrapped__)
    monkeypatch.setattr(network, "_loaded", fresh)
    assert torch.equal(fast_stylize(contents, starry, net=net), expected)
    try:
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        again = fast_stylize(contents, starry, alpha=[1.0, 1.0], net=net)
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    assert torch.equal(again, expected)
    assert torch.equal(contents, before[0]) and torch.equal(starry, before[1])
    assert torch.equal(torch.get_rng_state(), state)


def test_alpha_goes_from_the_content_itself_to_the_style(contents, starry):
    """Without a jump; a strength is that of its own image, whatever stands beside it."""
    strengths = (0, 1e-3, 0.02, 0.1, 0.5, 1)
    painted = [fast_stylize(contents, starry, alpha=alpha, device="cpu") for alpha in strengths]
    distances = [(image - contents).abs().mean().item() for image in painted]
    assert torch.equal(painted[0], contents) and (painted[1] - contents).abs().max() < 2 / 255
    assert all(nearer < farther for nearer, farther in zip(distances, distances[1:]))
    mixed = fast_stylize(contents, starry, alpha=torch.tensor([1.0, 0.0]), device="cpu")
    assert torch.equal(mixed[1], contents[1]) and close(mixed[0], painted[-1][0])


def test_mixtures_reach_from_one_style_to_the_other(net, contents, starry, mosaic):
    mixed = fast_stylize(contents, [starry, mosaic], style_weights=[[1, 0], [0, 3]], device="cpu")
    single = [fast_stylize(contents, style, device="cpu") for style in (starry, mosaic)]
    assert close(mixed, torch.cat((single[0][:1], single[1][1:])))
    half = fast_stylize(contents, [starry, mosaic], device="cpu")
    to_starry = [ds.style_distance(net, image, resize(starry, 64)).mean() for image in (half, single[1])]
    assert to_starry[0] < to_starry[1]


@pytest.mark.parametrize("name", ["gilded", "marbling", "woodcut"])
def test_drawn_styles_are_met_and_the_content_is_still_there(net, contents, name):
    style = ds.painting(name, 64, seed=5)
    painted = fast_stylize(contents, style, device="cpu")
    before, after = ds.style_distance(net, contents, style), ds.style_distance(net, painted, style)
    assert (after < 0.7 * before).all()
    assert (
        after < ds.style_distance(net, painted, ds.painting("starry", 64, seed=5))
    ).all()  # it is this style, not any
    features = [net(images, ["relu4_1"])["relu4_1"] for images in (painted, contents, contents.flip(0))]
    assert (ds.content_loss(*features[:2], "relative") < ds.content_loss(*features[::2], "relative")).all()


def test_the_network_is_small_frozen_and_loaded_once(model):
    assert sum(parameter.numel() for parameter in model.parameters()) <= 3_000_000
    assert WEIGHTS.stat().st_size < 3_000_000
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert model is fast_network(torch.device("cpu")) and model is fast_network("cpu:0")


def test_a_gpu_has_one_network_by_whatever_name():
    with pretend_gpu():
        assert fast_network("auto") is fast_network(GPU.type) is fast_network(str(GPU)) is fast_network(GPU)


@pytest.mark.parametrize("has_float64", [True, False])
def test_a_gpu_paints_the_same_whatever_is_on_it(contents, starry, mosaic, has_float64):
    shares, alpha = torch.tensor([[1, 0.5], [0.2, 3]]), torch.tensor([0.5, 1.0])
    expected = fast_stylize(contents, [starry, mosaic], style_weights=shares, alpha=alpha, device="cpu")
    with pretend_gpu(has_float64):
        for *places, device in (["cpu"] * 4 + ["auto"], [GPU] * 4 + ["cpu"], [GPU, "cpu", GPU, "cpu", "auto"]):
            content, style, weights, strengths = map(torch.Tensor.to, (contents, starry, shares, alpha), places)
            painted = fast_stylize(content, [style, mosaic], style_weights=weights, alpha=strengths, device=device)
            assert painted.device.type == "cpu" and close(painted, expected, 1e-5)


def test_missing_or_damaged_weights_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no weights of the fast network"):
        read_weights(tmp_path / "none.pt")
    (tmp_path / "half.pt").write_bytes(WEIGHTS.read_bytes()[:1000])
    with pytest.raises(ValueError, match="damaged"):
        read_weights(tmp_path / "half.pt")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"alpha": 1.5}, r"alpha in \[0, 1\], got 1.5"),
        ({"alpha": float("nan")}, r"alpha in \[0, 1\], got nan"),
        ({"alpha": "strong"}, "alpha as a number"),
        ({"alpha": [0.1, 0.2, 0.3]}, r"alpha as a number or \(2,\) of them"),
        ({"content": torch.rand(1, 3, 31, 64)}, "content of at least 32 x 32"),
        ({"content": torch.rand(1, 3, 64, 64) * 255}, "content in .* got values from"),
        ({"style": torch.rand(3, 3, 64, 64)}, "one style, or one for each of 2"),
        ({"style": []}, "at least one style"),
        ({"style_weights": [1, 2]}, "a weight for each of 1 styles"),
        ({"device": "abacus"}, "a device that this computer has"),
    ],
)
def test_bad_input_is_named(contents, starry, change, message):
    arguments = {"content": contents, "style": starry, "device": "cpu", **change}
    with pytest.raises((TypeError, ValueError), match=message):
        fast_stylize(arguments.pop("content"), arguments.pop("style"), **arguments)


def test_gradients_of_content_and_style_equal_finite_differences(model, contents, starry):
    """In a training loop the painted picture may be part of the graph."""
    double = copy.deepcopy(model).double()
    content, style = contents[:1].double(), resize(starry, (64, 64)).double()
    probe, towards = torch.rand_like(content), torch.randn_like(content)

    def value(content, style):
        return (double(content, double.codes(style)) * probe).sum()

    for place in range(2):
        images = [content.clone(), style.clone()]
        images[place].requires_grad_(True)
        value(*images).backward()
        ends = []
        for step in (1e-8, -1e-8):
            moved = [content, style]
            moved[place] = moved[place] + step * towards
            ends.append(value(*moved))
        expected = (ends[0] - ends[1]) / 2e-8
        torch.testing.assert_close((images[place].grad * towards).sum(), expected, rtol=1e-3, atol=1e-5)
