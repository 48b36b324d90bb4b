"""`stylize` on a GPU that is not there, see `pretend_gpu`: the CPU's pictures, no step that waits, steps as a graph."""

import pickle
from unittest import mock

import pytest
import torch
from pretend_gpu import GPU, Graph, pretend_gpu
from torch import nn

from d2lstyle import gram, style_distance, stylize
from d2lstyle.backbones import Backbone
from d2lstyle.engine import graphs
from d2lstyle.engine.devices import kernels
from d2lstyle.engine.networks import Recipe, _walk_chain
from d2lstyle.progress import progress_bar

PLACES = [(images, network) for images in ("cpu", GPU) for network in ("cpu", GPU)]
# Each is a way through the code that a step takes.
OPTIONS = {
    "one style": lambda photo, starry, mosaic: {"style": starry},
    "batch of pairs": lambda photo, starry, mosaic: {
        "content": torch.cat([photo, photo.flip(3)]),
        "style": torch.cat([starry, starry.flip(2)]),
        "style_weight": torch.tensor([1.0, 9.0]),
    },
    "mixed under masks": lambda photo, starry, mosaic: {
        "style": [starry, mosaic],
        "style_weights": [1, 3],
        "style_masks": [starry[:, :1], None],
        "mix": "features",
        "init": photo.flip(3),
    },
    "regions": lambda photo, starry, mosaic: {
        "style": [starry, mosaic],
        "content_mask": [photo[:, :1].round(), 1 - photo[:, 1:2]],
        "style_channels": 0.3,
    },
    "colours kept": lambda photo, starry, mosaic: {"style": starry, "preserve_color": True, "init": "noise"},
}


def tiny():
    """A network of two layers, as each operation on the pretend GPU takes its time."""
    model, generator = nn.Module(), torch.Generator().manual_seed(0)
    model.features = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 12, 3))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    recipe = Recipe(_walk_chain, ("conv2_1",), ("relu1_1", "conv2_1"), style_weight=1, classes=tuple)
    return Backbone("tiny", None, model, recipe)


@pytest.fixture(scope="module")
def net():
    return tiny()


@pytest.fixture(scope="module")
def gpu_net():
    with pretend_gpu():
        return tiny().to(GPU)


@pytest.fixture
def read_every(monkeypatch):
    monkeypatch.setattr("d2lstyle.transfer.READ_EVERY", 6)
    return 6


def paint(place, net, photo, options, **changes):
    settings = {"content": photo, "steps": 4, "precision": "fp32", "net": net} | options | changes
    return stylize(**{name: _to(place, value) for name, value in settings.items()})


def _to(place, value):
    if isinstance(value, list):
        return [_to(place, item) for item in value]
    return value.to(place) if isinstance(value, torch.Tensor) else value


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("name", OPTIONS)
def test_pictures_are_those_of_the_cpu_wherever_images_and_network_are(
    net, gpu_net, photo, starry, mosaic, name, optimizer
):
    options = OPTIONS[name](photo, starry, mosaic)
    expected = paint("cpu", net, photo, options, optimizer=optimizer)
    for images, network in PLACES:
        with pretend_gpu(has_float64=False):
            result = paint(images, gpu_net if network == GPU else net, photo, options, optimizer=optimizer)
        torch.testing.assert_close(result.image, expected.image, rtol=0, atol=1e-5)
        assert result.image.is_cpu
        losses = [[step.losses["total"] for step in run.history] for run in (result, expected)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_style_distance_takes_images_from_any_device(net, gpu_net, photo, starry):
    expected = style_distance(net, photo, starry, masks=photo[:, :1])
    for place, network in [(GPU, net), ("cpu", gpu_net), (GPU, gpu_net)]:
        with pretend_gpu(has_float64=False):
            found = style_distance(network, photo.to(place), starry, masks=photo[:, :1].to(place))
            torch.testing.assert_close(found.cpu(), expected)


def test_weighted_grams_wait_for_nothing(photo):
    weights = (photo[:, :1] > 0.5).float()
    with pretend_gpu() as log:
        grams = [gram(photo.to(GPU), weights.to(GPU)), gram(photo.to(GPU), weights)]
        assert log.wait.total() == 0
        for found in grams:
            torch.testing.assert_close(found.cpu(), gram(photo, weights))


def crossings(net, photo, options, steps, **changes):
    with pretend_gpu() as log:
        paint(GPU, net, photo, options, steps=steps, sizes=[48], **changes)
    return log.totals()


@pytest.mark.parametrize("name", OPTIONS)
def test_a_step_waits_for_nothing(gpu_net, photo, starry, mosaic, name):
    options = OPTIONS[name](photo, starry, mosaic)
    few, many = (crossings(gpu_net, photo, options, steps) for steps in (2, 7))
    assert (few["wait"], few["upload"]) == (many["wait"], many["upload"])
    assert many["launch"] - few["launch"] > 5 * 100  # they are counted


def test_losses_are_read_now_and_then(gpu_net, photo, starry, read_every):
    waits = [crossings(gpu_net, photo, {"style": starry}, n)["wait"] for n in (1, read_every, read_every + 1)]
    assert waits == [waits[0], waits[0], waits[0] + 1]


def test_a_loss_that_is_not_finite_is_an_error_at_its_step(photo, starry, read_every):
    """It is found when losses are read, up to six steps later; the step is the right one."""
    seen = []

    def spoil(step):
        seen.append(step.step)
        if step.step == 2:
            net.model.features[0].bias.fill_(torch.nan)

    text = r"step 3 of 20 \(content nan, style nan, tv [0-9.]+"
    with pretend_gpu(), pytest.raises(FloatingPointError, match=text):
        net = tiny().to(GPU)
        paint(GPU, net, photo, {"style": starry}, steps=20, callback=spoil)
    assert seen == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "callback, waits",
    [(lambda step: None, 0), (lambda step: step.losses, 9), (lambda step: (str(step), step.image), 18)],
)
def test_a_callback_waits_for_what_it_reads(gpu_net, photo, starry, callback, waits):
    silent = crossings(gpu_net, photo, {"style": starry}, 9)
    heard = crossings(gpu_net, photo, {"style": starry}, 9, callback=callback)
    assert heard["wait"] - silent["wait"] == waits and heard["upload"] == silent["upload"]


def test_a_progress_bar_waits_only_when_it_is_drawn(gpu_net, photo, starry, monkeypatch):
    monkeypatch.setattr("d2lstyle.progress.tqdm", lambda **options: mock.Mock(n=0, update=lambda: None))
    silent = crossings(gpu_net, photo, {"style": starry}, 9)
    assert crossings(gpu_net, photo, {"style": starry}, 9, callback=progress_bar())["wait"] - silent["wait"] == 1


def test_what_a_callback_keeps_is_of_its_own_step(net, gpu_net, photo, starry):
    """It may be read, copied or pickled when the run has long gone on."""
    kept = {}
    for place, network in (("cpu", net), (GPU, gpu_net)):
        steps = []
        with pretend_gpu():
            history = paint(place, network, photo, {"style": starry}, callback=steps.append).history
            kept[str(place)] = [pickle.loads(pickle.dumps(step)) for step in steps]
        assert [step.losses for step in kept[str(place)]] == [step.losses for step in history]
    for here, there in zip(*kept.values()):
        torch.testing.assert_close(here.image, there.image, rtol=0, atol=1e-5)


# a step as a graph


@pytest.mark.parametrize("name", OPTIONS)
def test_a_step_that_is_replayed_is_the_step(gpu_net, photo, starry, mosaic, name, monkeypatch):
    """Captured work is done again on the same memory: it must hold no number of the step that was captured."""
    options, seen = OPTIONS[name](photo, starry, mosaic), ([], [])
    with pretend_gpu() as log:
        expected = paint(GPU, gpu_net, photo, options, steps=14, sizes=[48], callback=seen[0].append)
        one_by_one = log.totals()["launch"]
        monkeypatch.setitem(graphs.GRAPHS, GPU.type, Graph)
        result = paint(GPU, gpu_net, photo, options, steps=14, sizes=[48], callback=seen[1].append)
        assert torch.equal(result.image, expected.image)
        assert [step.losses for step in result.history] == [step.losses for step in expected.history]
        assert all(torch.equal(a.image, b.image) for a, b in zip(*seen))
        assert log.totals()["launch"] - one_by_one < 0.4 * one_by_one  # most were one launch


def test_few_steps_are_not_captured(gpu_net, photo, starry, monkeypatch):
    monkeypatch.setitem(graphs.GRAPHS, GPU.type, lambda device: pytest.fail("a graph was made"))
    with pretend_gpu():
        paint(GPU, gpu_net, photo, {"style": starry}, steps=graphs.LEAST - 1)


def test_a_step_that_cannot_be_captured_goes_on_without(monkeypatch):
    calls = []
    with pretend_gpu():
        x = torch.zeros(1, device=GPU)
        monkeypatch.setitem(graphs.GRAPHS, GPU.type, Graph)
        repeated = graphs.Repeated(lambda: calls.append(x.add_(1).item()), GPU, 20)
        with pytest.warns(UserWarning, match="start one by one: operation not permitted"):
            for _ in range(20):
                repeated()
        assert x.item() == 20 and calls == list(range(1, 21))


def test_too_little_memory_is_said_in_a_sentence(net, photo, starry, monkeypatch):
    def full(*args):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr("d2lstyle.transfer.total_variation", full)
    text = r"out of memory at 48 x 32 pixels, 2 images at once: give smaller sizes=.*precision='bf16'"
    with pytest.raises(torch.OutOfMemoryError, match=text):
        stylize(torch.cat([photo, photo]), starry, net=net, steps=2)


# cuDNN's switches, which are there without a GPU, too


def switches():
    cudnn = torch.backends.cudnn
    tf32 = cudnn.conv.fp32_precision == "tf32" if hasattr(cudnn, "conv") else cudnn.allow_tf32
    return cudnn.deterministic, cudnn.benchmark, tf32


def test_kernels_are_deterministic_inside_and_as_they_were_after():
    cuda, before = torch.device("cuda"), switches()
    assert not before[0]
    with kernels(torch.device("cpu"), "fp32"):
        assert switches() == before
    one, two = kernels(cuda, "tf32"), kernels(cuda, "fp32")  # of two threads: they need not end in order
    one.__enter__()
    assert switches() == (True, False, True)
    two.__enter__()
    assert switches() == (True, False, False)
    one.__exit__(None, None, None)
    assert switches() == (True, False, False)
    two.__exit__(None, None, None)
    assert switches() == before
