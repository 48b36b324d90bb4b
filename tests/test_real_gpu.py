"""The GPU that is there. The same tests run on the pretend one, so that a computer without one tries them, too."""

import gc
import warnings
from contextlib import contextmanager, nullcontext

import pytest
import torch
from pretend_gpu import GPU, GPUTensor, Graph, pretend_gpu
from small_models import colours
from small_models import tiny as tiny_classifier
from test_transfer_on_gpu import tiny

from d2lstyle import ColorJitter, Compose, RandomHorizontalFlip, RandomResizedCrop, backbone, fit, replace_head, stylize
from d2lstyle.engine import graphs

AUGMENT = Compose([RandomResizedCrop(32), RandomHorizontalFlip(), ColorJitter(0.5, 0.5, 0.5, 0.1)])
STEPS = 20


class Real:
    device, graph, precisions = torch.device("cuda"), graphs.GRAPHS["cuda"], ["fp32", "tf32", "bf16"]
    here = nullcontext

    def net(self, device):
        return backbone("vgg19", device=device)

    def classifier(self):
        return replace_head(backbone("efficientnet_lite0", device=self.device), 2)

    def forbid_waits(self):
        torch.cuda.set_sync_debug_mode("error")

    def allow_waits(self):
        torch.cuda.set_sync_debug_mode("default")

    def memory(self):
        gc.collect()
        torch._C._cuda_clearCublasWorkspaces()  # one a stream, kept by torch
        return torch.cuda.memory_allocated()


class Pretended:
    device, graph, precisions, before = GPU, Graph, ["fp32"], None

    @contextmanager
    def here(self):
        with pretend_gpu() as self.log:
            yield

    def net(self, device):
        return tiny().to(device)

    def classifier(self):
        return tiny_classifier().to(GPU)

    def forbid_waits(self):
        self.before = self.log.totals()["wait"]

    def allow_waits(self):
        before, self.before = self.before, None
        assert before in (None, self.log.totals()["wait"])

    def memory(self):
        gc.collect()
        return sum(type(thing) is GPUTensor for thing in gc.get_objects())


NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(params=[pytest.param(Real, marks=NEEDS_GPU), Pretended])
def gpu(request, monkeypatch):
    """Where to run; each step that is replayed as a graph adds to `gpu.replays`."""
    gpu = request.param()
    gpu.replays = 0

    class Counted(gpu.graph):
        def replay(self):
            gpu.replays += 1
            super().replay()

    monkeypatch.setitem(graphs.GRAPHS, gpu.device.type, Counted)
    return gpu


def paint(net, photo, starry, **settings):
    """A run in which no step warns that it could not be made a graph."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="no CUDA graph")
        return stylize(photo, starry, net=net, **{"steps": STEPS, "sizes": [48], "precision": "fp32"} | settings)


def totals(result):
    return [step.losses["total"] for step in result.history]


def test_losses_are_those_of_the_cpu_and_steps_are_replayed(gpu, photo, starry):
    expected = totals(paint(gpu.net("cpu"), photo, starry))
    with gpu.here():
        losses = totals(paint(gpu.net(gpu.device), photo, starry))
    assert losses[:8] == pytest.approx(expected[:8], rel=1e-3)
    assert losses == pytest.approx(expected, rel=2e-2)  # L-BFGS enlarges what rounding made
    assert losses[-1] < 0.9 * losses[0] and gpu.replays == STEPS - graphs.WARM_UP


def test_equal_runs_give_equal_bits(gpu, photo, starry):
    for precision in gpu.precisions:
        with gpu.here():
            net = gpu.net(gpu.device)
            one, two = (paint(net, photo, starry, precision=precision) for _ in range(2))
        assert torch.equal(one.image, two.image) and totals(one) == totals(two), precision


def test_a_step_that_is_replayed_waits_for_nothing(gpu, photo, starry):
    heard = []

    def callback(step):
        heard.append(step.step)
        {5: gpu.forbid_waits, STEPS: gpu.allow_waits}.get(step.step, int)()

    with gpu.here():
        try:
            paint(gpu.net(gpu.device), photo, starry, callback=callback)
        finally:
            gpu.allow_waits()
    assert heard == list(range(1, STEPS + 1))


def test_steps_of_fit_wait_for_nothing(gpu):
    data, heard = colours(40, side=40), []

    def callback(step):  # after the last step of an epoch its losses are read
        heard.append(step.step)
        {2: gpu.forbid_waits, 9: gpu.allow_waits}.get(step.step, int)()

    with gpu.here():
        try:
            fit(gpu.classifier(), data, epochs=1, batch_size=4, augment=AUGMENT, callback=callback)
        finally:
            gpu.allow_waits()
    assert heard == list(range(1, 11))


def test_a_run_gives_its_memory_back(gpu, photo, starry):
    with gpu.here():
        net = gpu.net(gpu.device)
        paint(net, photo, starry)
        before = gpu.memory()
        kept = paint(net, photo, starry)
        assert gpu.memory() == before and kept.image.is_cpu
