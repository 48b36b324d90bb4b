"""Style transfer in one pass: what comes out, that images do not mix, and that the shipped weights know unseen styles."""

import numpy as np
import pytest
import torch

import d2lstyle as ds
from d2lstyle.fast import network as fast
from d2lstyle.fast.network import FastStyle, adain, fast_network, fast_stylize
from d2lstyle.images import resize
from d2lstyle.samples import vending

HELD_OUT = ("gilded", "marbling")  # the training never saw them; training/fast_style.py says so too


@pytest.fixture(scope="module")
def model():
    return fast_network("cpu")


@pytest.fixture(scope="module")
def contents():
    """A photo that training held out, and one of the goods from another split than training's, 64 x 64 pixels."""
    coffee = resize(ds.sample("coffee")[..., 100:500], (64, 64))
    apple = torch.from_numpy(np.asarray(vending.draw("studio", "validation", "apple", 1), np.float32) / 255)
    return torch.cat((coffee, resize(apple.permute(2, 0, 1)[None], (64, 64))))


def close(a, b, tolerance=1e-3):
    return (a - b).abs().max() < tolerance


def test_adain_gives_mean_and_deviation_computed_by_hand():
    features = torch.tensor([1.0, 3.0, 5.0, 7.0]).view(1, 1, 2, 2)  # mean 4, deviation sqrt(5)
    out = adain(features, mean=torch.tensor([[10.0]]), std=torch.tensor([[2 * 5**0.5]]))
    assert torch.allclose(out.flatten(), torch.tensor([4.0, 8.0, 12.0, 16.0]), atol=1e-3)


def test_a_level_gives_its_mixtures_the_covariance_of_the_style():
    torch.manual_seed(0)
    level = fast._Level(fast.Size(6, 4, False))
    style = torch.randn(1, 6, 20, 20) * torch.rand(1, 6, 1, 1) + 3
    content = torch.randn(2, 6, 16, 16)
    torch.nn.init.zeros_(level.noise)
    with torch.no_grad():
        wanted = level.statistics(style)
        out = level.eval()(content, wanted, torch.ones(2, 1, 1, 1), torch.Generator()).flatten(2)
    assert torch.allclose(out.mean(2), wanted.mixed_mean.expand(2, -1), atol=1e-3)
    covariance = (out - out.mean(2, keepdim=True)) @ out.transpose(1, 2) / out.shape[2]
    assert (
        covariance - wanted.covariance
    ).norm() < 0.1 * wanted.covariance.norm()  # but for the floor under the variances


def test_statistics_of_a_mixture_are_those_of_all_positions_together(model):
    left, right = ds.painting("starry", 64), ds.painting("mosaic", 64)
    level = model.painter.levels["pixels"]
    mixed = fast._mixture([level.statistics(left), level.statistics(right)], torch.tensor([[[0.5]], [[0.5]]]))
    for found, wanted in zip(mixed, level.statistics(torch.cat((left, right), dim=3))):
        assert torch.allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("color", [(0, 0, 0), (1, 1, 1), (0.5, 0.5, 0.5), (0.2, 0.9, 0.7), (0, 1, 0)])
def test_flat_pictures_stay_finite(model, starry, color):
    flat = torch.tensor(color, dtype=torch.float32).view(1, 3, 1, 1).expand(1, 3, 40, 40)
    for content, style in ((flat, flat), (flat, starry), (starry, flat)):
        assert model(content, style).isfinite().all()


@pytest.mark.parametrize("shape", [(32, 32), (33, 47), (64, 96), (50, 35)])
def test_any_size_comes_back_in_shape_and_range(shape, starry):
    content = ds.sample("chelsea", size=shape)
    painted = fast_stylize(content, starry, device="cpu")
    assert painted.shape == content.shape and painted.dtype == torch.float32
    assert painted.min() >= 0 and painted.max() <= 1 and painted.std() > 0.05


def test_a_batch_equals_its_images_alone(contents, starry, mosaic):
    styles = torch.cat((starry, resize(mosaic, (48, 48))))
    together = fast_stylize(contents, styles, alpha=torch.tensor([1.0, 0.6]), device="cpu")
    alone = [fast_stylize(contents[i : i + 1], styles[i : i + 1], alpha=(1.0, 0.6)[i], device="cpu") for i in range(2)]
    assert close(together, torch.cat(alone))


def test_the_same_call_gives_the_same_picture_and_changes_no_argument(contents, starry):
    before = contents.clone(), starry.clone(), torch.get_rng_state()
    assert torch.equal(fast_stylize(contents, starry, device="cpu"), fast_stylize(contents, starry, device="cpu"))
    assert (
        torch.equal(contents, before[0])
        and torch.equal(starry, before[1])
        and torch.equal(torch.get_rng_state(), before[2])
    )


def test_alpha_goes_from_the_content_to_the_style(contents, starry):
    distances = [
        (fast_stylize(contents, starry, alpha=alpha, device="cpu") - contents).abs().mean().item()
        for alpha in (0, 0.5, 1)
    ]
    assert distances[0] < 0.04 and distances[0] < distances[1] < distances[2]


def test_one_hot_proportions_are_the_single_style(contents, starry, mosaic):
    mixed = fast_stylize(contents, [starry, mosaic], style_weights=[[1, 0], [0, 3]], device="cpu")
    single = [fast_stylize(contents[:1], starry, device="cpu"), fast_stylize(contents[1:], mosaic, device="cpu")]
    assert close(mixed, torch.cat(single))


def test_a_mixture_lies_between_its_styles(net, contents, starry, mosaic):
    half = fast_stylize(contents, [starry, mosaic], device="cpu")
    pure = fast_stylize(contents, mosaic, device="cpu")
    to_starry = [ds.style_distance(net, image, resize(starry, 64)).mean() for image in (half, pure)]
    assert to_starry[0] < to_starry[1]


@pytest.mark.parametrize("name", HELD_OUT)
def test_unseen_styles_are_met(net, contents, name):
    style = ds.painting(name, 64, seed=5)
    painted = fast_stylize(contents, style, device="cpu")
    before, after = ds.style_distance(net, contents, style), ds.style_distance(net, painted, style)
    assert (after < 0.4 * before).all()
    other = ds.style_distance(net, painted, ds.painting("starry", 64, seed=5))
    assert (after < other).all()  # it is this style, not any


def test_the_content_is_still_there(net, contents):
    def features(images):
        return net(images, ["relu4_1"])["relu4_1"]

    painted = fast_stylize(contents, ds.painting("gilded", 64, seed=5), device="cpu")
    own = ds.content_loss(features(painted), features(contents), "relative")
    swapped = ds.content_loss(features(painted), features(contents.flip(0)), "relative")
    assert (own < swapped).all()


def test_the_network_is_small(model):
    assert sum(parameter.numel() for parameter in model.painter.parameters()) <= 2_000_000
    assert fast.WEIGHTS.stat().st_size < 8_000_000
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_network_is_loaded_once():
    assert fast_network("cpu") is fast_network(torch.device("cpu"))


def test_missing_or_damaged_weights_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no weights of the fast network"):
        fast._read_weights(tmp_path / "none.pt")
    (tmp_path / "half.pt").write_bytes(fast.WEIGHTS.read_bytes()[:1000])
    with pytest.raises(ValueError, match="damaged"):
        fast._read_weights(tmp_path / "half.pt")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"alpha": 1.5}, "alpha in"),
        ({"alpha": float("nan")}, "alpha in"),
        ({"alpha": "strong"}, "alpha as a number"),
        ({"alpha": [0.1, 0.2, 0.3]}, "alpha in"),
        ({"content": torch.rand(1, 3, 31, 64)}, "at least 32 x 32"),
        ({"content": torch.rand(3, 64, 64)}, "content of shape"),
        ({"content": torch.rand(1, 3, 64, 64) * 255}, "values from"),
        ({"style": torch.rand(1, 4, 64, 64)}, "style of shape"),
        ({"style": torch.rand(3, 3, 64, 64)}, "one style, or one for each of 2"),
        ({"style": []}, "at least one style"),
        ({"style_weights": [1, 2]}, "a weight for each of 1 styles"),
        ({"style_weights": [0.0]}, "not all zero"),
        ({"style_weights": [-1.0]}, "none negative"),
        ({"style_weights": "half"}, "style weights as numbers"),
        ({"device": "abacus"}, "a device that this computer has"),
    ],
)
def test_bad_input_is_named(contents, starry, change, message):
    arguments = {"content": contents, "style": starry, "device": "cpu", **change}
    with pytest.raises(ValueError, match=message):
        fast_stylize(arguments.pop("content"), arguments.pop("style"), **arguments)


def test_another_backbone_is_refused(contents, starry):
    with pytest.raises(ValueError, match="efficientnet_lite0"):
        fast_stylize(contents, starry, net=ds.backbone("squeezenet1_1", weights=None, device="cpu"))


def test_the_embedded_backbone_is_taken(net, contents, starry):
    assert torch.equal(fast_stylize(contents, starry, net=net), fast_stylize(contents, starry, device="cpu"))


def test_elongated_styles_and_large_ones_work(contents):
    long = ds.painting("mosaic", (40, 200))
    assert fast_stylize(contents, long, device="cpu").isfinite().all()


def test_the_network_gives_gradients_to_the_content(net):
    """In a training loop the painted picture may be part of the graph."""
    content = torch.rand(1, 3, 32, 32, requires_grad=True)
    FastStyle(net)(content, torch.rand(1, 3, 32, 32)).mean().backward()
    assert content.grad.abs().sum() > 0
