"""Checks of maps, checked themselves: ranks against scipy, curves against arithmetic done by hand, the real network."""

import copy
import math
from collections import OrderedDict

import pytest
import torch
from pretend_gpu import GPU, pretend_gpu
from scipy.stats import spearmanr
from torch import nn

from d2lstyle import guided_backprop, occlusion, saliency, sample
from d2lstyle.maps import cascading_randomization, deletion_curve, insertion_curve, rank_correlation

CURVES = [deletion_curve, insertion_curve]


def random_maps(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


IMAGES = random_maps(2, 3, 8, 8, seed=3)


@pytest.fixture(scope="module")
def cat():
    """The cat of the other tests, 64 x 96 pixels."""
    return sample("chelsea", size=96)


# ranks


@pytest.mark.parametrize("levels", [None, 5])
def test_rank_correlation_is_scipys_also_where_values_are_tied(levels):
    maps, others = random_maps(3, 1, 6, 7), random_maps(3, 1, 6, 7, seed=1)
    others = others + 0.7 * maps
    if levels:
        maps, others = (maps * levels).floor(), (others * levels).floor()
    expected = [spearmanr(*pair).statistic for pair in zip(maps.flatten(1), others.flatten(1))]
    assert rank_correlation(maps, others).tolist() == pytest.approx(expected, abs=1e-6)


def test_tied_values_share_their_mean_rank():
    # ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4: covariance 4.5 over the root of 4.5 * 5
    maps = torch.tensor([[[[0.0, 1.0], [1.0, 2.0]]]])
    others = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert rank_correlation(maps, others).item() == pytest.approx(4.5 / math.sqrt(4.5 * 5), abs=1e-6)


def test_a_map_of_one_value_has_no_ranks():
    maps = torch.cat([torch.ones(1, 1, 3, 4), random_maps(1, 1, 3, 4)])
    for pair in [(maps, random_maps(2, 1, 3, 4)), (random_maps(2, 1, 3, 4), maps)]:
        assert rank_correlation(*pair).isnan().tolist() == [True, False]


@pytest.mark.parametrize("shapes", [((1, 1, 3, 4), (1, 1, 4, 3)), ((2, 1, 3, 4), (1, 1, 3, 4)), ((3, 4), (3, 4))])
def test_maps_of_two_shapes_are_refused(shapes):
    with pytest.raises(ValueError, match=r"two batches of maps \(B, 1, H, W\), got"):
        rank_correlation(*(torch.rand(shape) for shape in shapes))


# networks that forget

# Three layers, as `cascading_randomization` counts them: a normalisation belongs to the layer before it.
LAYERS = ["head", "second", "first"]


def three_layers():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        lower = {
            "first": nn.Conv2d(3, 4, 3),
            "norm": nn.BatchNorm2d(4),
            "relu": nn.ReLU(),
            "second": nn.Conv2d(4, 4, 3),
        }
        upper = {"pool": nn.AdaptiveAvgPool2d(2), "flat": nn.Flatten(), "head": nn.Linear(16, 3)}
        model = nn.Sequential(OrderedDict(lower | upper))
        nn.init.normal_(model.norm.running_mean)
        nn.init.uniform_(model.norm.running_var, 0.5, 2)
        return model.eval()


class Recorder:
    """A method that writes down the networks and targets it was given."""

    def __init__(self):
        self.nets, self.targets = [], []

    def __call__(self, net, images, targets):
        self.nets.append(copy.deepcopy(net.state_dict()))
        self.targets.append(targets)
        return saliency(net, images, targets)


def test_layers_go_one_by_one_from_the_top():
    model, method = three_layers(), Recorder()
    layers, correlations, maps = cascading_randomization(method, model, IMAGES, 1)
    assert layers == LAYERS and correlations.shape == (3, 2) and maps.shape == (3, 2, 1, 8, 8)
    trained, *states = method.nets
    changed = [{name.split(".")[0] for name in state if not state[name].equal(trained[name])} for state in states]
    assert changed == [{"head"}, {"head", "second"}, {"head", "second", "first", "norm"}]
    assert torch.equal(states[0]["head.weight"], states[2]["head.weight"])  # drawn once, and kept
    assert states[2]["norm.running_mean"].tolist() == [0] * 4  # a normalisation forgets what it has measured
    for i, state in enumerate(states):  # maps are of the forgetting network, correlations with the trained one's
        forgetting = three_layers()
        forgetting.load_state_dict(state)
        assert torch.equal(maps[i], saliency(forgetting, IMAGES, 1))
        assert torch.equal(correlations[i], rank_correlation(maps[i], saliency(model, IMAGES, 1)))


def test_a_layer_is_drawn_as_torch_initialises_it():
    method, model = Recorder(), nn.Sequential(nn.Flatten(), nn.Linear(192, 100))
    nn.init.constant_(model[1].weight, 9.0)
    cascading_randomization(method, model, IMAGES, 1)
    weight = method.nets[1]["1.weight"]
    bound = 1 / math.sqrt(192)  # nn.Linear: uniform
    assert weight.abs().max() <= bound and weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)


@pytest.mark.parametrize("every, names", [(1, LAYERS), (2, ["second", "first"]), (3, ["first"]), (9, ["first"])])
def test_maps_are_compared_after_every_few_layers_and_at_the_end(every, names):
    model, reports = three_layers(), []
    options = {"every": every, "callback": lambda *pair: reports.append(pair)}
    cascade = cascading_randomization(saliency, model, IMAGES, 1, **options)
    assert cascade.layers == names and reports == [(done, len(names)) for done in range(1, len(names) + 1)]
    layer_by_layer = cascading_randomization(saliency, model, IMAGES, 1)
    places = [LAYERS.index(name) for name in names]
    assert torch.equal(cascade.correlations, layer_by_layer.correlations[places])
    assert torch.equal(cascade.maps, layer_by_layer.maps[places])


def test_the_seed_decides_and_nothing_else():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, same, other = (cascading_randomization(saliency, three_layers(), IMAGES, 1, seed=s) for s in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)  # no global random numbers are used
    assert torch.equal(first.maps, same.maps) and torch.equal(first.correlations, same.correlations)
    assert not torch.allclose(first.maps, other.maps, atol=0.05)


def test_the_network_stays_as_it_was(net, photo):
    for model, images in [(three_layers().train(), IMAGES), (net, photo)]:
        before = {name: value.clone() for name, value in model.state_dict().items()}
        modes = [module.training for module in model.modules()]
        cascading_randomization(saliency, model, images, None, every=25)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert [module.training for module in model.modules()] == modes


def test_no_target_is_the_trained_networks_top_class():
    """That of a network with another classifier would be another class, and its map for that reason another."""
    method = Recorder()
    cascading_randomization(method, three_layers(), IMAGES, None)
    top = three_layers()(IMAGES).argmax(1)
    assert len(method.targets) == 4 and all(torch.equal(targets, top) for targets in method.targets)


def test_saliency_forgets_with_the_classifier_and_guided_backprop_late(net, cat):
    """The claim of the docstring, on real ImageNet weights."""
    forgets, keeps = (cascading_randomization(m, net, cat, None, every=10) for m in (saliency, guided_backprop))
    assert forgets.layers == keeps.layers and len(forgets.layers) == 5  # of 50
    assert forgets.layers[0] == "blocks.5.2.conv_dw" and forgets.layers[-1] == "conv_stem"
    assert (forgets.correlations < 0.5).all()
    assert (keeps.correlations[:2] > 0.9).all() and keeps.correlations[2] > 0.6 > keeps.correlations[-1]
    headless, target = copy.deepcopy(net), net.logits(cat).argmax(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        headless.model.classifier.reset_parameters()
    assert rank_correlation(saliency(headless, cat, target), saliency(net, cat, target)).item() < 0.5


def test_a_network_without_layers_is_refused():
    class Means(nn.Module):
        def forward(self, images):
            return images.mean(dim=(2, 3))

    with pytest.raises(ValueError, match="layers that can be drawn anew, got Means"):
        cascading_randomization(lambda net, images, targets: images[:, :1], Means(), IMAGES, 0)
    with pytest.raises(ValueError, match="every as an integer of at least 1, got 0"):
        cascading_randomization(saliency, three_layers(), IMAGES, 0, every=0)


# curves by hand

# Four pixels of one channel; the scores of the two classes are 2 * first + second and third.
PIXELS = torch.tensor([1.0, 0.5, 0.25, 0.75]).view(1, 1, 2, 2)
BEST = torch.tensor([0.9, 0.8, 0.1, 0.2]).view(1, 1, 2, 2)  # a map that knows the weights


class Linear(nn.Module):
    """A classifier whose probabilities can be worked out by hand."""

    def forward(self, images):
        a, b, c, _ = images.flatten(1).unbind(1)
        return torch.stack([2 * a + b, c], dim=1)


def first_of(pixels):
    """The probability of class 0 for four pixel values."""
    a, b, c, _ = pixels
    return math.exp(2 * a + b) / (math.exp(2 * a + b) + math.exp(c))


DELETED = [(1, 0.5, 0.25, 0.75), (0, 0.5, 0.25, 0.75), (0, 0, 0.25, 0.75), (0, 0, 0.25, 0), (0, 0, 0, 0)]
REVERSED = [(1, 0.5, 0.25, 0.75), (1, 0.5, 0, 0.75), (1, 0.5, 0, 0), (1, 0, 0, 0), (0, 0, 0, 0)]
GREYED = [(1, 0.5, 0.25, 0.75), (0.5, 0.5, 0.25, 0.75), (0.5, 0.5, 0.25, 0.75), (0.5, 0.5, 0.25, 0.5), (0.5,) * 4]


READ = [(1, 0.5, 0.25, 0.75), (0, 0.5, 0.25, 0.75), (0, 0, 0.25, 0.75), (0, 0, 0, 0.75), (0, 0, 0, 0)]  # equal ranks
CASES = [(BEST, None, DELETED), (1 - BEST, None, REVERSED), (BEST, 0.5, GREYED), (0 * BEST, None, READ)]


@pytest.mark.parametrize("maps, fill, pictures", [*CASES, (BEST, None, DELETED[::2])])
def test_deletion_by_hand(maps, fill, pictures):
    steps = len(pictures) - 1  # two take two pixels at once
    parts, probabilities, area = deletion_curve(Linear(), PIXELS, 0, maps, steps=steps, fill=fill)
    expected = [first_of(picture) for picture in pictures]
    assert parts.tolist() == [step / steps for step in range(steps + 1)]
    assert probabilities.shape == (1, steps + 1) and probabilities[0].tolist() == pytest.approx(expected, rel=1e-5)
    trapezoids = (expected[0] / 2 + sum(expected[1:-1]) + expected[-1] / 2) / steps
    assert area.shape == (1,) and area.item() == pytest.approx(trapezoids, rel=1e-5)


class Sums(nn.Module):
    """Scores: the sum of the left half, and of the right."""

    def forward(self, images):
        half = images.shape[3] // 2
        return torch.stack([images[..., :half].sum(dim=(1, 2, 3)), images[..., half:].sum(dim=(1, 2, 3))], dim=1)


def test_insertion_by_hand():
    """Between blur and image: which pixels are back is what the map says, and the rest is the blur."""
    image = torch.zeros(1, 1, 8, 8)  # black with a bright spot in the left half
    image[..., 2:5, 1:3] = 1
    maps = image + torch.linspace(0, 0.1, 64).view(1, 1, 8, 8)
    parts, probabilities, area = insertion_curve(Sums(), image, 0, maps, steps=64, blur=0.3)
    assert probabilities[0, -1].item() == pytest.approx(1 / (1 + math.exp(-6)), rel=1e-5)  # six pixels of one
    sigma, positions = 0.3 * 8, torch.arange(-7.0, 8)
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


# curves of the real network


@pytest.mark.parametrize("blur", [0, -0.1, float("nan"), None])
def test_a_blur_that_is_none_is_refused(blur):
    with pytest.raises(ValueError, match="blur as a number of at least 0.001 and finite, got"):
        insertion_curve(three_layers(), IMAGES, 0, torch.rand(2, 1, 8, 8), blur=blur)


def test_curves_begin_and_end_with_the_image_and_with_nothing_of_it(net, photo):
    maps, white = saliency(net, photo), torch.ones(3, 1, 1)
    image, grey, whitened = (
        net.logits(picture.expand_as(photo)).softmax(1)[0, 281].item() for picture in (photo, net.mean, white)
    )
    ends = deletion_curve(net, photo, 281, maps, steps=2).probabilities[0, [0, -1]]
    assert ends.tolist() == pytest.approx([image, grey], rel=1e-3)
    ends = deletion_curve(net, photo, "tabby", maps, fill=white, steps=2).probabilities[0, [0, -1]]
    assert ends.tolist() == pytest.approx([image, whitened], rel=1e-3)
    inserted = insertion_curve(net, photo, 281, maps, steps=2).probabilities[0]
    assert inserted[-1].item() == pytest.approx(image, rel=1e-3) and inserted[0] < image / 2


def test_a_map_of_the_real_network_beats_its_reverse(net, cat):
    maps = occlusion(net, cat, None, window=32, stride=16)
    knows, reverse = ([curve(net, cat, None, m, steps=12).area.item() for curve in CURVES] for m in (maps, -maps))
    assert knows[0] < reverse[0] - 0.1 and knows[1] > reverse[1] + 0.05


@pytest.mark.parametrize("curve", CURVES)
def test_a_batch_of_curves_equals_single_ones(net, photo, curve):
    images, targets, maps = torch.cat([photo, photo.flip(3), photo.flip(2)]), [281, 282, 285], random_maps(3, 1, 32, 48)
    batch = curve(net, images, targets, maps, steps=4)
    assert batch.probabilities.shape == (3, 5) and batch.area.shape == (3,)
    for i in range(3):
        single = curve(net, images[i : i + 1], targets[i], maps[i : i + 1], steps=4)
        torch.testing.assert_close(batch.probabilities[i : i + 1], single.probabilities, rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(batch.area[i : i + 1], single.area, rtol=1e-3, atol=1e-6)
    one, several = (curve(net, images, None, m, steps=2) for m in (maps[:1], maps[:1].expand(3, -1, -1, -1)))
    assert torch.equal(one.probabilities, several.probabilities)  # one map serves a batch


@pytest.mark.parametrize("curve", CURVES)
def test_at_once_sets_how_many_pictures_share_a_pass_and_nothing_else(curve):
    sizes, model, maps = [], three_layers(), random_maps(1, 1, 8, 8)
    expected = curve(model, IMAGES, 0, maps, steps=9)
    model.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))  # the private copy has it too
    for at_once, largest in [(1, 1), (7, 7), (99, 20)]:
        sizes.clear()
        probabilities = curve(model, IMAGES, 0, maps, steps=9, at_once=at_once).probabilities
        torch.testing.assert_close(probabilities, expected.probabilities, rtol=1e-5, atol=1e-7)
        assert max(sizes) == largest


@pytest.mark.parametrize("curve", CURVES)
def test_curves_change_nothing_else(curve):
    model, images, maps = three_layers().train(), IMAGES.clone(), random_maps(2, 1, 8, 8)
    before, held = copy.deepcopy(model.state_dict()), maps.clone()
    curve(model, images, 1, maps, steps=3)
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(images, IMAGES) and torch.equal(maps, held)


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize(
    "shape, options, text",
    [
        ((2, 1, 8, 9), {}, r"maps \(2, 1, 8, 8\), got \(2, 1, 8, 9\)"),
        ((2, 3, 8, 8), {}, r"maps \(2, 1, 8, 8\), got \(2, 3, 8, 8\)"),
        ((3, 1, 8, 8), {}, r"maps \(2, 1, 8, 8\), got \(3, 1, 8, 8\)"),
        ((8, 8), {}, r"maps \(2, 1, 8, 8\), got \(8, 8\)"),
        ((2, 1, 8, 8), {"steps": 0}, "steps as an integer of at least 1, got 0"),
        ((2, 1, 8, 8), {"steps": 2.5}, "steps as an integer of at least 1, got 2.5"),
        ((2, 1, 8, 8), {"at_once": 0}, "at_once as an integer of at least 1, got 0"),
        ((2, 1, 8, 8), {"targets": 3}, "from 0 to 2, got 3"),
        ((2, 1, 8, 8), {"images": IMAGES * torch.nan}, "finite float images"),
    ],
)
def test_other_arguments_of_curves_are_refused(curve, shape, options, text):
    with pytest.raises(ValueError, match=text):
        curve(three_layers(), maps=torch.rand(shape), **{"images": IMAGES, "targets": 0} | options)


# devices


@pytest.mark.parametrize("curve", [deletion_curve, insertion_curve])
@pytest.mark.parametrize("places", [("cpu", GPU, "cpu"), (GPU, "cpu", GPU), (GPU, GPU, GPU)])
def test_curves_of_any_devices_are_on_the_cpu_and_a_gpu_is_waited_for_once(curve, places):
    maps, targets = random_maps(2, 1, 8, 8, seed=5), torch.tensor([1, 2])
    expected = curve(three_layers(), IMAGES, targets, maps, steps=8, at_once=3)
    with pretend_gpu(has_float64=False) as log:
        on_net, on_images, on_maps = places
        arguments = three_layers().to(on_net), IMAGES.to(on_images), targets.to(on_images), maps.to(on_maps)
        log.wait.clear(), log.upload.clear()
        told = curve(*arguments, steps=8, at_once=3)
        assert sum(log.wait.values()) == 1 or places != (GPU, GPU, GPU)
        assert all(values.is_cpu for values in told) and not log.upload
    for values, wanted in zip(told, expected):
        torch.testing.assert_close(values, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("places", [("cpu", GPU), (GPU, "cpu")])
def test_a_network_forgets_on_its_own_device_and_maps_come_back_to_the_images(places):
    expected = cascading_randomization(saliency, three_layers(), IMAGES, 1)
    with pretend_gpu(has_float64=False):
        on_net, on_images = places
        _, correlations, maps = cascading_randomization(saliency, three_layers().to(on_net), IMAGES.to(on_images), 1)
        assert correlations.is_cpu and str(maps.device) == str(on_images)
        torch.testing.assert_close(maps.cpu(), expected.maps, rtol=0, atol=1e-5)
        torch.testing.assert_close(correlations, expected.correlations, rtol=0, atol=1e-5)
        torch.testing.assert_close(rank_correlation(maps[0], maps[1].cpu()), rank_correlation(*maps[:2].cpu()))
