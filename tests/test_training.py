"""Training and evaluation, against what can be computed by hand or by torch alone."""

import copy
import math
import pickle
import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from pretend_gpu import GPU, pretend_gpu
from sklearn.utils.class_weight import compute_class_weight
from small_models import colours, linear, tiny, weights
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Subset, TensorDataset
from torchvision import models

from d2lstyle import (
    ColorJitter,
    Compose,
    FolderResult,
    RandomHorizontalFlip,
    RandomResizedCrop,
    backbone,
    cascading_randomization,
    deletion_curve,
    evaluate,
    fit,
    saliency,
    stylize,
    training,
)


def test_one_step_is_adamw_on_the_mean_cross_entropy():
    data, model, by_hand = colours(9), linear(), linear()
    fit(model, data, epochs=1, lr=0.01, batch_size=9, weight_decay=0.1)
    # one step is all warm-up: (0 + 1) / (1 + 1) of ten times lr
    optimizer = torch.optim.AdamW(by_hand.parameters(), lr=0.01 * 10 / 2, weight_decay=0.1)
    F.cross_entropy(by_hand(data[0]), data[1]).backward()
    optimizer.step()
    assert torch.allclose(weights(model), weights(by_hand), atol=1e-7)


def test_learning_rates_warm_up_and_fall_to_zero():
    rates = []
    watch = register_optimizer_step_pre_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[-1]["lr"]))
    try:
        fit(linear(), colours(50), epochs=2, batch_size=1, lr=0.1, head_multiplier=5)
    finally:
        watch.remove()
    parts = [rate / 0.5 for rate in rates]  # of the highest one, for linear() is all head
    assert parts[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert len(parts) == 100 and parts[10] == 1 and parts[55] == pytest.approx(0.5) and parts[99] < 1e-3
    assert all(before >= after for before, after in zip(parts[10:], parts[11:]))


def test_it_learns():
    model = tiny()
    history = fit(model, colours(80), colours(40, seed=1), epochs=6, lr=3e-3)
    assert evaluate(model, colours(60, seed=2)) > 0.95
    assert [epoch.number for epoch in history.epochs] == list(range(7))
    assert history.epochs[-1].train_loss < history.epochs[1].train_loss
    assert not model.training


def test_equal_seeds_give_equal_runs_and_the_callers_random_numbers_go_on():
    def noisy(images):
        return images + 0.1 * torch.rand(len(images), 1, 1, 1)

    def trained(seed, augment=noisy):
        model, drawn = tiny(), []
        fit(model, colours(), epochs=2, seed=seed, augment=augment, callback=lambda step: drawn.append(torch.rand(2)))
        return weights(model), torch.cat(drawn)

    torch.manual_seed(7)
    expected = torch.rand(12)  # by the callback, and afterwards
    torch.manual_seed(7)
    first, drawn = trained(np.int64(0))
    assert torch.equal(torch.cat([drawn, torch.rand(4)]), expected)
    assert torch.equal(first, trained(0)[0]) and not torch.equal(first, trained(1)[0])
    assert torch.equal(trained(0, None)[0], trained(0, None)[0])  # dropout
    assert not torch.equal(trained(0, None)[0], trained(1, None)[0])


def test_a_users_thread_draws_its_own_numbers_while_another_trains():
    begun, drawn = threading.Event(), threading.Event()

    def wait(step):
        begun.set()
        assert drawn.wait(60)

    alone, beside = tiny(), tiny()
    fit(alone, colours(), epochs=2)
    torch.manual_seed(7)
    expected = torch.rand(50)
    torch.manual_seed(7)
    thread = threading.Thread(target=fit, args=(beside, colours()), kwargs={"epochs": 2, "callback": wait})
    thread.start()
    assert begun.wait(60)
    numbers = torch.rand(25)
    drawn.set()
    thread.join()
    assert torch.equal(torch.cat([numbers, torch.rand(25)]), expected)
    assert torch.equal(weights(alone), weights(beside))


def test_the_best_epoch_is_kept():
    images, labels = colours()
    model = linear()
    model[-1].weight.data[0, 2] = model[-1].weight.data[1, 0] = 1.0  # right where the labels are swapped
    before = weights(model)
    history = fit(model, (images, labels), (images, 1 - labels), epochs=3, lr=0.1)
    accuracies = [epoch.validation_accuracy for epoch in history.epochs]
    assert history.best_epoch == 0 and accuracies[0] == 1 > accuracies[3]
    assert torch.equal(weights(model), before)


@pytest.mark.parametrize("swapped, best", [(0, 3), (1, 0)])
def test_equal_accuracies_are_told_apart_by_loss(swapped, best):
    (images, labels), model = colours(), linear()
    model[-1].weight.data[0, 0] = model[-1].weight.data[1, 2] = 1.0
    history = fit(model, (images, labels ^ swapped), (images, labels), epochs=3, lr=0.001)
    assert {epoch.validation_accuracy for epoch in history.epochs} == {1.0} and history.best_epoch == best


def test_without_validation_the_last_epoch_is_kept():
    model = linear()
    history = fit(model, colours(), epochs=2)
    assert history.best_epoch == 2 and weights(model).abs().sum() > 0
    assert all(math.isnan(epoch.validation_accuracy) for epoch in history.epochs)


def test_the_callback_sees_every_step_and_the_validation_of_each_epoch():
    seen = []
    history = fit(tiny(), colours(45), colours(), epochs=2, batch_size=20, callback=seen.append)
    assert [(step.step, step.steps, step.epoch) for step in seen] == [(k, 6, 1 + (k > 3)) for k in range(1, 7)]
    accuracies = [epoch.validation_accuracy for epoch in history.epochs]
    assert [step.validation for step in seen] == [None, None, accuracies[1], None, None, accuracies[2]]
    assert seen[-1].seconds <= history.seconds
    assert str(seen[3]) == f"epoch 2 of 2, loss {seen[3].loss:.3f}"


def test_batches_differ_by_one_image_at_most():
    sizes = []
    fit(tiny(), colours(41), epochs=1, batch_size=20, augment=lambda images: sizes.append(len(images)) or images)
    assert sizes == [14, 14, 13]


def test_an_interrupt_keeps_the_best_so_far():
    def stop(step):
        if step.epoch == 2:
            raise KeyboardInterrupt

    model = tiny()
    history = fit(model, colours(), colours(), epochs=5, callback=stop)
    assert history.interrupted and len(history.epochs) == 2 and not model.training
    assert evaluate(model, colours()) == history.epochs[history.best_epoch].validation_accuracy


@pytest.mark.parametrize("validation", [None, colours()])
@pytest.mark.parametrize("last", [0, 1, 3])  # steps, of two an epoch
def test_after_an_error_the_model_is_at_its_best_and_in_its_modes(validation, last):
    def fail(step):
        if step.step == 2 * ((last + 1) // 2):
            states.append(weights(model))
        if step.step == last + 1:
            model.fc.weight.data.fill_(math.nan)
            raise MemoryError("no more")

    model, states = tiny().train(), []
    model.features[1].eval()
    states.append(weights(model))
    modes = [module.training for module in model.modules()]
    with pytest.raises(MemoryError, match="no more"):
        fit(model, colours(), validation, epochs=3, batch_size=20, lr=1e-3, callback=fail)
    assert torch.equal(weights(model), states[-1 if last != 1 else 1])
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("validation", [None, colours()])
def test_what_is_not_finite_is_an_error_and_never_the_best(validation):
    def spoil(step):
        if step.step == 2:
            model.features[1].running_var.fill_(math.nan)  # the training loss never sees it

    model = tiny()
    with pytest.raises(FloatingPointError, match="weights became NaN or infinite in epoch 2"):
        fit(model, colours(), validation, epochs=3, batch_size=20, callback=spoil)
    assert weights(model).isfinite().all()
    model.fc.bias.data[1] = math.nan
    with pytest.raises(FloatingPointError, match="the scores of 40 of 40 images are NaN or infinite"):
        evaluate(model, colours())


X, Y = colours(12)
LABELS = {
    "list": Y.tolist(),
    "tuple": tuple(Y.tolist()),
    "list of tensors": list(Y),
    "array": Y.numpy(),
    "array of uint16": Y.numpy().astype(np.uint16),
    "int32": Y.int(),
    "uint8": Y.byte(),
    "whole floats": Y.float(),
    "bools": Y.bool(),
    "column": Y[:, None],
    "one-hot": F.one_hot(Y),
    "one-hot floats": F.one_hot(Y).double(),
}
DATA = {name: (X, labels) for name, labels in LABELS.items()} | {
    "a list of two": [X, Y],
    "doubles": (X.double(), Y),
    "TensorDataset": TensorDataset(X, Y.int()),
    "subset": Subset(TensorDataset(X, Y), range(12)),
    "items": list(zip(X, Y.tolist())),
    "items with bools": list(zip(X, Y.bool().tolist())),
    "items of numpy": [(image.numpy(), np.int64(label)) for image, label in zip(X, Y)],
    "one-hot items": list(zip(X, F.one_hot(Y))),
}


@pytest.fixture(scope="module")
def trained():
    model = tiny()
    fit(model, (X, Y), epochs=1, device="cpu")
    return weights(model), evaluate(model, (X, Y))


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
def test_images_and_labels_in_other_containers_train_alike(trained, data):
    model = tiny()
    fit(model, data, epochs=1, device="cpu")
    result = evaluate(model, data)
    assert torch.equal(weights(model), trained[0])
    assert result.loss == trained[1].loss and torch.equal(result.labels, Y)


LABEL = "labels as 12 class numbers from 0 on, or as one-hot rows, got"
ITEM = r"items \(image, label\) whose images are tensors \(3, H, W\) of one size, got"
SCALE = r"images in \[0, 1\], got values from .*: divide by 255, and leave a normalisation to the network"


@pytest.mark.parametrize(
    "data, words",
    [
        ((X, Y - 1), f"{LABEL} -1"),
        ((X, Y + 0.5), f"{LABEL} 0.5"),
        ((X, Y * math.nan), f"{LABEL} nan"),
        ((X, [*Y, 0]), rf"{LABEL} \(13,\)"),
        ((X, Y[:5]), rf"{LABEL} \(5,\)"),
        ((X, torch.full((12, 2), 0.5)), rf"{LABEL} \(12, 2\)"),
        ((X, ["cat", "dog"] * 6), rf"{LABEL} \['cat', "),
        ((X, Y + 1), r"labels from 0 to 1, the model's classes, got \[1, 2\]"),
        ((X[:0], Y[:0]), "at least one image .*, got none"),
        ([], "at least one image .*, got none"),
        ((255 * X, Y), SCALE),
        ((4 * X - 2, Y), SCALE),
        ([(255 * image, 0) for image in X], SCALE),
        (((255 * X).byte(), Y), "images as float in .*, got torch.uint8"),
        ((X.numpy(), Y), r"images as a tensor \(B, C, H, W\), got ndarray"),
        ((X[0], Y), r"images of shape \(B, C, H, W\), got \(3, 12, 12\)"),
        ([(Image.new("RGB", (8, 8)), 0)], rf"{ITEM} tuple \['Image', 'int'\]: give the data set a transform"),
        ([(X[0], 0), (X[1, :, :5], 1)], ITEM),
        ([(X[0], 0, 1)], ITEM),
        (X, f"{ITEM} Tensor"),
        ([(X[0], "cat")], "labels as 1 class numbers"),
        (DataLoader(TensorDataset(X, Y)), "a data set, got a DataLoader: give its .dataset"),
        ("vending", "a pair of images and labels, or a data set with a length, got str"),
        ({"image": X}, "a data set with a length, got dict"),
        (iter([]), "a data set with a length, got list_iterator"),
    ],
)
def test_data_that_cannot_be_learned(data, words):
    for call in (lambda: fit(tiny(), data, epochs=1), lambda: evaluate(tiny(), data)):
        with pytest.raises((ValueError, TypeError), match=words):
            call()


class Told(nn.Module):
    """Scores in another wrapping."""

    def __init__(self, wrap):
        super().__init__()
        self.net, self.wrap = linear(), wrap

    def forward(self, images):
        return self.wrap(self.net(images))


def made_in_inference_mode():
    with torch.inference_mode():
        return tiny()


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: tiny().half(), "weights in float32, .*, got one of torch.float16 on cpu"),
        (lambda: tiny().to("meta"), "got one of torch.float32 on meta"),
        (made_in_inference_mode, "got one made in inference mode"),
        (lambda: tiny().requires_grad_(False), "trainable parameters, got one that is frozen"),
        (lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(2)), "call it with a batch of images first"),
        (
            lambda: backbone("efficientnet_lite0", device="cpu"),
            r"gives scores \(B, classes\), got Backbone: see replace_",
        ),
        (lambda: len, "gives scores .*, got builtin_function"),
        (lambda: linear(1), r"scores \(12, classes\) of two classes or more, got \(12, 1\)"),
        (lambda: Told(lambda scores: (scores, scores)), r"scores \(12, classes\) .*, got tuple"),
        (lambda: Told(lambda scores: {"logits": scores}), "got dict"),
        (lambda: models.googlenet(num_classes=2, init_weights=False), "got GoogLeNetOutputs: see replace_head"),
        (lambda: Checkpointed(), "without gradient checkpointing where it has dropout"),
    ],
)
def test_models_that_cannot_be_trained(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        fit(make(), (X.repeat(1, 1, 3, 3), Y), epochs=1, device="cpu")


class Checkpointed(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.fc = nn.Sequential(nn.Flatten(), nn.Linear(3888, 4), nn.Dropout()), nn.Linear(4, 2)

    def forward(self, images):
        return self.fc(checkpoint(self.body, images, use_reentrant=False))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_callers_grad_mode_changes_nothing(trained, mode):
    model = tiny()
    with mode():
        fit(model, (X * 1, Y), epochs=1, device="cpu")  # images made in that mode
        assert torch.is_inference_mode_enabled() == (mode is torch.inference_mode) and not torch.is_grad_enabled()
    assert torch.equal(weights(model), trained[0])


def test_evaluation_of_half_precision_is_near():
    model = tiny().eval()
    full, half = evaluate(model, (X, Y)), evaluate(copy.deepcopy(model).bfloat16(), (X, Y))
    assert torch.allclose(half.probabilities, full.probabilities, atol=0.02)


@pytest.mark.parametrize("as_list", [True, False])
def test_class_weights_are_scikit_learns_and_count_in_training_alone(as_list):
    images, labels = colours(8)
    labels = torch.tensor([0, 1, 1, 1, 1, 1, 1, 1])
    balanced = compute_class_weight("balanced", classes=np.arange(2), y=labels.numpy())
    model, by_hand = linear(3), linear(3)  # of the third class there is no image
    class_weights = [*balanced, 5] if as_list else "balanced"
    history = fit(
        model, (images, labels), (images, labels), epochs=1, lr=0.01, batch_size=8, class_weights=class_weights
    )
    optimizer = torch.optim.AdamW(by_hand.parameters(), lr=0.01 * 10 / 2, weight_decay=0.01)
    losses = F.cross_entropy(by_hand(images), labels, reduction="none")
    counts = torch.tensor(balanced, dtype=torch.float32)[labels]
    ((losses * counts).sum() / counts.sum()).backward()
    optimizer.step()
    assert torch.allclose(weights(model), weights(by_hand), atol=1e-7)
    assert history.epochs[1].validation_loss == pytest.approx(F.cross_entropy(by_hand(images), labels).item())


def test_only_training_images_are_augmented_with_a_generator_of_their_own():
    calls = []

    def augment(images, generator):
        calls.append((len(images), torch.rand(1, generator=generator).item()))
        return images

    fit(tiny(), colours(20), colours(12), epochs=2, augment=augment)
    assert [n for n, _ in calls] == [20, 20] and calls[0][1] != calls[1][1]


@pytest.mark.parametrize(
    "precision, amx, expected",
    [("bf16", False, torch.bfloat16), ("auto", True, torch.bfloat16), ("auto", False, torch.float32)],
)
def test_bf16_where_it_is_asked_for_or_gains(monkeypatch, precision, amx, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": amx}, raising=False)
    dtypes, model = [], tiny()
    model.features[0].register_forward_hook(lambda module, inputs, output: dtypes.append(output.dtype))
    fit(model, colours(), epochs=1, precision=precision, device="cpu")
    assert set(dtypes) == {expected}
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"epochs": 0}, "epochs"),
        ({"lr": 0}, "positive lr"),
        ({"batch_size": 0}, "batch_size"),
        ({"precision": "fp16"}, "unknown precision"),
        ({"validation": (torch.zeros(0, 3, 8, 8), torch.zeros(0))}, "validation"),
        ({"train": (torch.zeros(0, 3, 8, 8), torch.zeros(0))}, "in train"),
        ({"seed": "one"}, "seed as an integer"),
        ({"weight_decay": -1}, "weight_decay as a number of at least 0 and finite, got -1"),
        ({"head_multiplier": -1}, "head_multiplier as a number of at least 0"),
        ({"class_weights": "balance"}, "unknown class_weights 'balance': did you mean 'balanced'"),
        ({"class_weights": [1]}, r"class_weights as a number or \(2,\) of them, got \(1,\)"),
        ({"class_weights": [1, -1]}, "class_weights of at least 1e-06 and finite, got -1"),
        ({"device": "abacus"}, "a device that this computer has"),
    ],
)
def test_settings_out_of_range(settings, words):
    with pytest.raises(ValueError, match=words):
        fit(tiny(), **{"train": colours(), **settings})


def test_a_loss_that_is_not_finite_is_an_error():
    with pytest.raises(FloatingPointError, match="the loss is nan at step 1: try a smaller lr"):
        fit(tiny(), (X * math.nan, Y), epochs=1)


CPU = torch.device("cpu")
PLACES = {
    "all on the CPU": (CPU, lambda images, labels: (images, labels)),
    "images on the GPU": (CPU, lambda images, labels: (images.to(GPU), labels)),
    "labels on the GPU": (GPU, lambda images, labels: (images, labels.to(GPU))),
    "all on the GPU": (GPU, lambda images, labels: (images.to(GPU), labels.to(GPU))),
    "items on the GPU": (CPU, lambda images, labels: list(zip(images.to(GPU), labels.to(GPU)))),
    "images of items on the GPU": (GPU, lambda images, labels: list(zip(images.to(GPU), labels.tolist()))),
}


@pytest.mark.parametrize("place, data", PLACES.values(), ids=PLACES)
def test_a_gpu_trains_as_the_cpu_wherever_model_and_data_are(place, data):
    alone = tiny()
    alone.features[0].bias = alone.features[4].bias = None  # normalised away, and so moved by rounding alone
    model, options = copy.deepcopy(alone), {"epochs": 2, "batch_size": 20, "class_weights": [1, 2]}
    expected = fit(alone, colours(), colours(20, seed=1), device="cpu", **options)
    with pretend_gpu(has_float64=False):
        history = fit(model.to(place), data(*colours()), data(*colours(20, seed=1)), **options)
        result = evaluate(model, data(*colours(20, seed=2)))
        assert {value.device for value in model.state_dict().values()} == {GPU}
        assert result.probabilities.device == result.labels.device == CPU
        assert torch.allclose(weights(model.cpu()), weights(alone), atol=1e-4)
        assert evaluate(model, data(*colours())).loss == pytest.approx(evaluate(alone, colours()).loss, abs=1e-4)
    alike = [torch.tensor([[*vars(epoch).values()][:-1] for epoch in run.epochs]) for run in (history, expected)]
    assert torch.allclose(*alike, atol=1e-4, equal_nan=True)  # but for the seconds
    assert torch.allclose(result.probabilities, evaluate(alone, colours(20, seed=2)).probabilities, atol=1e-4)


AUGMENT = Compose([RandomResizedCrop(12), RandomHorizontalFlip(), ColorJitter(0.5, 0.5, 0.5, 0.1)])


@pytest.mark.parametrize("place", [CPU, GPU])
@pytest.mark.parametrize(
    "options, waits",  # a step
    [
        ({"augment": AUGMENT, "class_weights": "balanced", "callback": lambda step: step.validation}, 0),
        ({"callback": lambda step: (step.loss, str(step))}, 1),
    ],
    ids=["augmented, the loss not read", "the loss read"],
)
def test_steps_on_a_gpu_wait_for_nothing(options, waits, place):
    for steps in (2, 12):
        model, (images, labels) = linear().insert(2, nn.Dropout()), colours(10 * steps)
        with pretend_gpu(has_float64=False) as log:
            data, model = (images.to(place), labels), model.to(GPU)
            before = log.totals()
            fit(model, data, data, epochs=1, batch_size=10, **options)
            counts = {kind: count - before[kind] for kind, count in log.totals().items()}
        # before and after the epoch one to evaluate and one to look for NaN in the weights; one for its losses
        assert (counts["wait"], counts["upload"]) == (2 + 3 + steps * waits, 0)


@pytest.mark.parametrize("place, look_every, found_after", [("cpu", 5, 7), (GPU, 5, 10), (GPU, 50, 12)])
def test_the_step_of_a_loss_that_is_not_finite_is_named(monkeypatch, place, look_every, found_after):
    augmented, steps = [], []

    def spoilt(images):
        augmented.append(images)
        return images * math.nan if len(augmented) == 12 + 7 else images

    monkeypatch.setattr(training, "READ_EVERY", look_every)
    with pretend_gpu(), pytest.raises(FloatingPointError, match="the loss is nan at step 19: try a smaller lr"):
        fit(linear(), colours(24), epochs=2, batch_size=2, augment=spoilt, device=place, callback=steps.append)
    assert len(augmented) == len(steps) + 1 == 12 + found_after


def test_evaluation_by_hand():
    model = linear(outputs=3)
    model[-1].bias.data = torch.tensor([0.0, math.log(2), 0.0])  # probabilities 1/4, 1/2, 1/4
    model.train()[0].eval()
    result = evaluate(model, (torch.rand(4, 3, 5, 5), torch.tensor([1, 1, 1, 0])), batch_size=3)
    assert result == result.accuracy == 0.75
    assert [module.training for module in model.modules()] == [True, False, True, True]  # as it was
    assert result.loss == pytest.approx((3 * math.log(2) + math.log(4)) / 4)
    assert torch.allclose(result.probabilities, torch.tensor([0.25, 0.5, 0.25]).expand(4, 3))
    assert result.predictions.tolist() == [1, 1, 1, 1] and result.labels.tolist() == [1, 1, 1, 0]


def held(value):
    """What a result holds, so that == compares it: NaN by its text, tensors by their numbers."""
    if isinstance(value, torch.Tensor):
        return value.shape, [repr(number) for number in value.flatten().tolist()]
    if isinstance(value, (list, tuple)):
        return [held(part) for part in value]
    return repr(value), {name: held(part) for name, part in getattr(value, "__dict__", {}).items()}


@pytest.fixture(scope="module")
def public_results(net):
    steps, image, model = [], X[:1].repeat(1, 1, 3, 3), tiny()
    history = fit(model, (X, Y), epochs=1, callback=steps.append)
    style = stylize(image, image, net=net, steps=1, callback=steps.append)
    curve = deletion_curve(net, image, 1, image[:, :1], steps=2)
    cascade = cascading_randomization(saliency, model, image, 0)
    folder = FolderResult([{"file": "a.png"}], {"b.png": "is damaged"}, 1, 0, 0.5)
    return [evaluate(model, (X, Y)), history, style, *steps, curve, cascade, folder]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda result: pickle.loads(pickle.dumps(result))])
def test_public_results_can_be_copied_and_pickled(public_results, copied):
    for result in public_results:
        again = copied(result)
        assert type(again) is type(result) and held(again) == held(result)
    accuracy = public_results[0]
    assert copied(accuracy) == accuracy == copied(accuracy).accuracy and copied(accuracy).loss == accuracy.loss
