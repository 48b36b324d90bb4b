"""Checks of maps, checked themselves: ranks against scipy, curves against arithmetic done by hand, the real network."""

import copy
import math

import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from d2lstyle import (
    cascading_randomization,
    deletion_curve,
    guided_backprop,
    insertion_curve,
    occlusion,
    rank_correlation,
    saliency,
    sample,
)


def random_maps(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def cat():
    """The cat of the other tests, 64 x 96 pixels."""
    return sample("chelsea", size=96)


# ranks


@pytest.mark.parametrize("levels", [None, 5, 2])
def test_rank_correlation_is_scipys_also_where_values_are_tied(levels):
    maps, others = random_maps(3, 1, 6, 7), random_maps(3, 1, 6, 7, seed=1)
    others = others + 0.7 * maps
    if levels:
        maps, others = (maps * levels).floor(), (others * levels).floor()
    found = rank_correlation(maps, others)
    assert found.shape == (3,)
    for one, a, b in zip(found, maps, others):
        assert one.item() == pytest.approx(spearmanr(a.flatten(), b.flatten()).statistic, abs=1e-6)


def test_tied_values_share_their_mean_rank():
    # ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4: covariance 4.5 over the root of 4.5 * 5
    maps = torch.tensor([[[[0.0, 1.0], [1.0, 2.0]]]])
    others = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert rank_correlation(maps, others).item() == pytest.approx(4.5 / math.sqrt(4.5 * 5), abs=1e-6)


@pytest.mark.parametrize("transform", [torch.exp, lambda x: x**3, lambda x: 5 * x - 9, torch.sqrt])
def test_only_ranks_count(transform):
    maps = random_maps(2, 1, 6, 7)
    torch.testing.assert_close(rank_correlation(maps, transform(maps)), torch.ones(2))
    torch.testing.assert_close(rank_correlation(maps, -transform(maps)), -torch.ones(2))


def test_unrelated_maps_have_hardly_any():
    assert rank_correlation(random_maps(1, 1, 60, 60), random_maps(1, 1, 60, 60, seed=1)).abs().item() < 0.06


def test_a_map_of_one_value_has_no_ranks():
    maps = torch.cat([torch.ones(1, 1, 3, 4), random_maps(1, 1, 3, 4)])
    for found in (rank_correlation(maps, random_maps(2, 1, 3, 4)), rank_correlation(random_maps(2, 1, 3, 4), maps)):
        assert found.isnan().tolist() == [True, False]


@pytest.mark.parametrize("shapes", [((1, 1, 3, 4), (1, 1, 4, 3)), ((2, 1, 3, 4), (1, 1, 3, 4)), ((3, 4), (3, 4))])
def test_maps_of_two_shapes_are_refused(shapes):
    with pytest.raises(ValueError, match=r"two batches of maps \(B, 1, H, W\), got"):
        rank_correlation(*(torch.rand(shape) for shape in shapes))


# networks that forget

# Three layers, as `cascading_randomization` counts them: a normalisation belongs to the layer before it.
LAYERS = ["head", "second", "first"]


def three_layers(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential()
        model.add_module("first", nn.Conv2d(3, 4, 3))
        model.add_module("norm", nn.BatchNorm2d(4))
        model.add_module("relu", nn.ReLU())
        model.add_module("second", nn.Conv2d(4, 4, 3))
        model.add_module("pool", nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()))
        model.add_module("head", nn.Linear(16, 3))
        nn.init.normal_(model.norm.running_mean)
        nn.init.uniform_(model.norm.running_var, 0.5, 2)
        return model.eval()


class Recorder:
    """A method that writes down the network it was given."""

    def __init__(self):
        self.nets, self.targets = [], []

    def __call__(self, net, images, targets):
        self.nets.append(copy.deepcopy(net.state_dict()))
        self.targets.append(targets)
        return saliency(net, images, targets)


IMAGES = random_maps(2, 3, 8, 8, seed=3)


def changed(trained, state):
    """The layers whose weights are no longer those of the trained network."""
    return {name.split(".")[0] for name in state if not torch.equal(state[name], trained[name])}


def test_layers_go_one_by_one_from_the_top():
    model, method = three_layers(), Recorder()
    found = cascading_randomization(method, model, IMAGES, 1)
    assert found.layers == LAYERS and found.correlations.shape == (3, 2) and found.maps.shape == (3, 2, 1, 8, 8)
    trained, *states = method.nets
    assert [changed(trained, state) for state in states] == [
        {"head"},
        {"head", "second"},
        {"head", "second", "first", "norm"},
    ]
    assert torch.equal(states[0]["head.weight"], states[2]["head.weight"])  # drawn once, and kept
    assert states[2]["norm.running_mean"].tolist() == [0] * 4  # a normalisation forgets what it has measured


def test_a_layer_is_drawn_as_torch_initialises_it():
    method = Recorder()
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 100))
    nn.init.constant_(model[1].weight, 9.0)
    cascading_randomization(method, model, IMAGES, 1)
    weight = method.nets[1]["1.weight"]
    bound = 1 / math.sqrt(192)  # nn.Linear: uniform
    assert weight.abs().max() <= bound and weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)


@pytest.mark.parametrize("every, names", [(1, LAYERS), (2, ["second", "first"]), (3, ["first"]), (9, ["first"])])
def test_maps_are_compared_after_every_few_layers_and_at_the_end(every, names):
    model, reports = three_layers(), []
    found = cascading_randomization(
        saliency, model, IMAGES, 1, every=every, callback=lambda *pair: reports.append(pair)
    )
    assert found.layers == names and len(found.correlations) == len(found.maps) == len(names)
    assert reports == [(done, len(names)) for done in range(1, len(names) + 1)]
    all_of_them = cascading_randomization(saliency, model, IMAGES, 1)
    for name, correlations, maps in zip(*found):
        at = LAYERS.index(name)
        assert torch.equal(correlations, all_of_them.correlations[at]) and torch.equal(maps, all_of_them.maps[at])


def test_maps_are_of_the_forgetting_network_and_correlations_with_the_trained_ones():
    model, method = three_layers(), Recorder()
    _, correlations, maps = cascading_randomization(method, model, IMAGES, 1)
    for i, state in enumerate(method.nets[1:]):
        forgetting = copy.deepcopy(model)
        forgetting.load_state_dict(state)
        assert torch.equal(maps[i], saliency(forgetting, IMAGES, 1))
        assert torch.equal(correlations[i], rank_correlation(maps[i], saliency(model, IMAGES, 1)))


def test_the_seed_decides_and_nothing_else():
    model = three_layers()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, same, other = (cascading_randomization(saliency, model, IMAGES, 1, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)  # no global random numbers are used
    assert torch.equal(first.maps, same.maps) and torch.equal(first.correlations, same.correlations)
    assert not torch.allclose(first.maps, other.maps, atol=0.05)


def test_the_network_stays_as_it_was(net, photo):
    for model, images in [(three_layers().train(), IMAGES), (net, photo)]:
        before = {name: value.clone() for name, value in model.state_dict().items()}
        modes = [module.training for module in model.modules()]
        cascading_randomization(saliency, model, images, None, every=20)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert [module.training for module in model.modules()] == modes


def test_no_target_is_the_trained_networks_top_class(net, photo):
    """That of a network with another classifier would be another class, and its map for that reason another."""
    top = net.logits(photo).argmax(1)
    found, given = (cascading_randomization(saliency, net, photo, targets, every=25) for targets in (None, top))
    assert found.layers == given.layers and torch.equal(found.maps, given.maps)
    method = Recorder()
    cascading_randomization(method, three_layers(), IMAGES, None)
    assert len(method.targets) == 4 and all(
        torch.equal(each, three_layers()(IMAGES).argmax(1)) for each in method.targets
    )


def test_saliency_forgets_with_the_classifier_and_guided_backprop_late(net, cat):
    """The claim of the docstring, on real ImageNet weights."""
    forgets, keeps = (
        cascading_randomization(method, net, cat, None, every=3) for method in (saliency, guided_backprop)
    )
    assert forgets.layers == keeps.layers and len(forgets.layers) == 17  # of 51
    assert forgets.layers[0] == "blocks.6.0.conv_pwl" and forgets.layers[-1] == "conv_stem"
    assert (forgets.correlations < 0.5).all()
    assert (keeps.correlations[:4] > 0.9).all()  # the upper quarter
    assert keeps.correlations[8] > 0.6 > keeps.correlations[-1]


def test_saliency_forgets_with_the_classifier_alone(net, cat):
    found = cascading_randomization(saliency, net, cat, None, every=1)
    assert found.layers[:3] == ["classifier", "conv_head", "blocks.6.0.conv_pwl"]
    assert found.correlations[0].item() < 0.5


def test_a_network_without_layers_is_refused():
    class Means(nn.Module):
        def forward(self, images):
            return images.mean(dim=(2, 3))

    def constant(net, images, targets):
        return images[:, :1]

    with pytest.raises(ValueError, match="layers that can be drawn anew, got Means"):
        cascading_randomization(constant, Means(), IMAGES, 0)


# curves by hand

# Four pixels of one channel; the scores of the two classes are 2 * first + second and third.
PIXELS = torch.tensor([1.0, 0.5, 0.25, 0.75]).view(1, 1, 2, 2)
BEST = torch.tensor([0.9, 0.8, 0.1, 0.2]).view(1, 1, 2, 2)  # a map that knows the weights
WORST = 1 - BEST


class Linear(nn.Module):
    """A classifier whose probabilities can be worked out by hand."""

    def forward(self, images):
        a, b, c, _ = images.flatten(1).unbind(1)
        return torch.stack([2 * a + b, c], dim=1)


def first_of(pixels):
    """The probability of class 0 for four pixel values."""
    a, b, c, _ = pixels
    return math.exp(2 * a + b) / (math.exp(2 * a + b) + math.exp(c))


@pytest.mark.parametrize(
    "maps, fill, pictures",
    [
        (BEST, None, [(1, 0.5, 0.25, 0.75), (0, 0.5, 0.25, 0.75), (0, 0, 0.25, 0.75), (0, 0, 0.25, 0), (0, 0, 0, 0)]),
        (WORST, None, [(1, 0.5, 0.25, 0.75), (1, 0.5, 0, 0.75), (1, 0.5, 0, 0), (1, 0, 0, 0), (0, 0, 0, 0)]),
        (
            BEST,
            0.5,
            [(1, 0.5, 0.25, 0.75), (0.5, 0.5, 0.25, 0.75), (0.5, 0.5, 0.25, 0.75), (0.5, 0.5, 0.25, 0.5), (0.5,) * 4],
        ),
    ],
)
def test_deletion_by_hand(maps, fill, pictures):
    parts, probabilities, area = deletion_curve(Linear(), PIXELS, 0, maps, steps=4, fill=fill)
    expected = [first_of(picture) for picture in pictures]
    assert parts.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert probabilities.shape == (1, 5) and probabilities[0].tolist() == pytest.approx(expected, rel=1e-5)
    # trapezoids a quarter wide
    assert area.shape == (1,)
    assert area.item() == pytest.approx((expected[0] / 2 + sum(expected[1:4]) + expected[4] / 2) / 4, rel=1e-5)


def test_deletion_in_fewer_steps_takes_several_pixels_at_once():
    parts, probabilities, area = deletion_curve(Linear(), PIXELS, 0, BEST, steps=2)
    expected = [first_of(picture) for picture in ((1, 0.5, 0.25, 0.75), (0, 0, 0.25, 0.75), (0, 0, 0, 0))]
    assert parts.tolist() == [0, 0.5, 1] and probabilities[0].tolist() == pytest.approx(expected, rel=1e-5)
    assert area.item() == pytest.approx(expected[0] / 4 + expected[1] / 2 + expected[2] / 4, rel=1e-5)


def test_a_map_of_one_value_gives_the_reading_order():
    curve = deletion_curve(Linear(), PIXELS, 0, torch.zeros(1, 1, 2, 2), steps=4)
    ordered = deletion_curve(Linear(), PIXELS, 0, torch.tensor([4.0, 3, 2, 1]).view(1, 1, 2, 2), steps=4)
    assert torch.equal(curve.probabilities, ordered.probabilities)


class Sums(nn.Module):
    """Scores: the sum of the left half, and of the right."""

    def forward(self, images):
        half = images.shape[3] // 2
        return torch.stack([images[..., :half].sum(dim=(1, 2, 3)), images[..., half:].sum(dim=(1, 2, 3))], dim=1)


def left_spot():
    """Black with a bright spot in the left half, and the map that knows it."""
    image = torch.zeros(1, 1, 8, 8)
    image[..., 2:5, 1:3] = 1
    return image, image + torch.linspace(0, 0.1, 64).view(1, 1, 8, 8)


def test_insertion_by_hand():
    """Between blur and image: which pixels are back is what the map says, and the rest is the blur."""
    image, maps = left_spot()
    parts, probabilities, area = insertion_curve(Sums(), image, 0, maps, steps=64, blur=0.3)
    assert probabilities[0, -1].item() == pytest.approx(1 / (1 + math.exp(-6)), rel=1e-5)  # six pixels of one
    sigma = 0.3 * 8
    positions = torch.arange(-7.0, 8)
    kernel = torch.exp(-(positions**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    padded = nn.functional.pad(image, (7, 7, 7, 7), mode="reflect")
    blurred = nn.functional.conv2d(nn.functional.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
    order = maps.flatten().argsort(descending=True)
    for back in (0, 1, 6, 40):
        picture = blurred.flatten().clone()
        picture[order[:back]] = image.flatten()[order[:back]]
        expected = Sums()(picture.view(1, 1, 8, 8)).softmax(1)[0, 0].item()
        assert probabilities[0, back].item() == pytest.approx(expected, rel=1e-4)
    trapezoids = (probabilities[0, 1:] + probabilities[0, :-1]).sum().item() / 2 / 64
    assert area.item() == pytest.approx(trapezoids, rel=1e-5)


def test_a_map_that_knows_beats_its_reverse():
    image, maps = left_spot()
    knows, reversed_ = (
        [curve(Sums(), image, 0, each).area.item() for curve in (deletion_curve, insertion_curve)]
        for each in (maps, -maps)
    )
    assert knows[0] < reversed_[0] - 0.2 and knows[1] > reversed_[1] + 0.005


# curves of the real network


def test_curves_begin_and_end_with_the_image_and_with_nothing_of_it(net, photo):
    maps, options = saliency(net, photo), {"steps": 3}
    probability = net.logits(photo).softmax(1)[0, 281].item()
    grey = net.logits(net.mean.expand_as(photo)).softmax(1)[0, 281].item()
    white = net.logits(torch.ones_like(photo)).softmax(1)[0, 281].item()
    deleted = deletion_curve(net, photo, 281, maps, **options).probabilities[0]
    assert deleted[0].item() == pytest.approx(probability, rel=1e-3) and deleted[-1].item() == pytest.approx(
        grey, rel=1e-3
    )
    whitened = deletion_curve(net, photo, "tabby", maps, fill=torch.ones(3, 1, 1), **options).probabilities[0]
    assert whitened[-1].item() == pytest.approx(white, rel=1e-3)
    inserted = insertion_curve(net, photo, 281, maps, **options).probabilities[0]
    assert inserted[-1].item() == pytest.approx(probability, rel=1e-3) and inserted[0] < probability / 2


def test_a_map_of_the_real_network_beats_its_reverse(net, cat):
    maps = occlusion(net, cat, None, window=32, stride=8)
    knows, reversed_ = (
        [curve(net, cat, None, each, steps=16).area.item() for curve in (deletion_curve, insertion_curve)]
        for each in (maps, -maps)
    )
    assert knows[0] < reversed_[0] - 0.1 and knows[1] > reversed_[1] + 0.05


@pytest.mark.parametrize("curve", [deletion_curve, insertion_curve])
def test_a_batch_of_curves_equals_single_ones(net, photo, curve):
    images, targets = torch.cat([photo, photo.flip(3), photo.flip(2)]), [281, 282, 285]
    maps = random_maps(3, 1, 32, 48)
    batch = curve(net, images, targets, maps, steps=5)
    assert batch.probabilities.shape == (3, 6) and batch.area.shape == (3,)
    for i in range(3):
        single = curve(net, images[i : i + 1], targets[i], maps[i : i + 1], steps=5)
        torch.testing.assert_close(batch.probabilities[i : i + 1], single.probabilities, rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(batch.area[i : i + 1], single.area, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("curve", [deletion_curve, insertion_curve])
def test_one_map_serves_a_batch(net, photo, curve):
    images, maps = torch.cat([photo, photo.flip(3)]), random_maps(1, 1, 32, 48)
    one, each = (curve(net, images, None, given, steps=4) for given in (maps, maps.expand(2, -1, -1, -1)))
    assert torch.equal(one.probabilities, each.probabilities) and torch.equal(one.area, each.area)
    assert not torch.allclose(one.probabilities[0], one.probabilities[1])


@pytest.mark.parametrize("curve", [deletion_curve, insertion_curve])
def test_memory_sets_how_many_pictures_share_a_pass_and_nothing_else(net, photo, curve):
    maps = random_maps(1, 1, 32, 48)
    small, large = (curve(net, photo, 281, maps, steps=9, memory=memory) for memory in (1e-9, 4000))
    torch.testing.assert_close(small.probabilities, large.probabilities, rtol=1e-3, atol=1e-6)
    sizes, model = [], Sums()
    model.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))  # the private copy has it too
    for memory, largest in [(1e-9, 1), (4000, 10)]:
        sizes.clear()
        curve(model, IMAGES[:1], 0, random_maps(1, 1, 8, 8), steps=9, memory=memory)
        assert max(sizes) == largest


@pytest.mark.parametrize("curve", [deletion_curve, insertion_curve])
def test_curves_change_nothing_else(curve):
    model, images, maps = three_layers().train(), IMAGES.clone(), random_maps(2, 1, 8, 8)
    before, held = copy.deepcopy(model.state_dict()), maps.clone()
    curve(model, images, 1, maps, steps=3)
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(images, IMAGES) and torch.equal(maps, held)


@pytest.mark.parametrize("curve", [deletion_curve, insertion_curve])
@pytest.mark.parametrize(
    "shape, options, text",
    [
        ((2, 1, 8, 9), {}, r"maps \(2, 1, 8, 8\), got \(2, 1, 8, 9\)"),
        ((2, 3, 8, 8), {}, r"maps \(2, 1, 8, 8\), got \(2, 3, 8, 8\)"),
        ((3, 1, 8, 8), {}, r"maps \(2, 1, 8, 8\), got \(3, 1, 8, 8\)"),
        ((8, 8), {}, r"maps \(2, 1, 8, 8\), got \(8, 8\)"),
        ((2, 1, 8, 8), {"steps": 0}, "steps as a positive integer, got 0"),
        ((2, 1, 8, 8), {"steps": -3}, "steps as a positive integer, got -3"),
        ((2, 1, 8, 8), {"steps": 2.5}, "steps as a positive integer, got 2.5"),
    ],
)
def test_other_maps_and_steps_are_refused(curve, shape, options, text):
    with pytest.raises(ValueError, match=text):
        curve(three_layers(), IMAGES, 0, torch.rand(shape), **options)


@pytest.mark.parametrize("curve", [deletion_curve, insertion_curve])
def test_curves_refuse_what_maps_refuse(curve):
    maps = torch.rand(2, 1, 8, 8)
    with pytest.raises(ValueError, match="targets from 0 to 2, got 3"):
        curve(three_layers(), IMAGES, 3, maps)
    with pytest.raises(TypeError, match="torch.nn.Module, got str"):
        curve("resnet18", IMAGES, 0, maps)
    with pytest.raises(ValueError, match="finite float images"):
        curve(three_layers(), IMAGES * torch.nan, 0, maps)


@pytest.mark.parametrize("every", [0, -1, 1.5])
def test_every_is_a_positive_integer(net, photo, every):
    with pytest.raises(ValueError, match="every as a positive integer"):
        cascading_randomization(saliency, net, photo, None, every=every)
