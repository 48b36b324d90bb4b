"""Training and evaluation, against what can be computed by hand or by torch alone."""

import copy
import math
import pickle

import pytest
import torch
import torch.nn.functional as F
from small_models import colours, linear, tiny, weights
from torch.optim.optimizer import register_optimizer_step_pre_hook

from d2lstyle import evaluate, fit


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

    def trained(seed):
        model = tiny()
        state = torch.random.get_rng_state()
        fit(model, colours(), epochs=2, seed=seed, augment=noisy)
        assert torch.equal(torch.random.get_rng_state(), state)
        return weights(model)

    first = trained(0)
    torch.rand(3)  # whatever others draw meanwhile
    assert torch.equal(first, trained(0)) and not torch.equal(first, trained(1))


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
    assert history.interrupted and len(history.epochs) == 2
    assert evaluate(model, colours()) == history.epochs[history.best_epoch].validation_accuracy


def test_items_and_tensors_train_alike():
    data, results = colours(), []
    for train in (data, list(zip(data[0], data[1].tolist())), list(zip(data[0], data[1].bool().tolist()))):
        model = tiny()
        fit(model, train, train, epochs=2)
        results.append(weights(model))
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


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
        ({"device": "abacus"}, "a device that this computer has"),
    ],
)
def test_settings_out_of_range(settings, words):
    with pytest.raises(ValueError, match=words):
        fit(tiny(), **{"train": colours(), **settings})


def test_data_that_cannot_be_learned():
    images, labels = colours()
    with pytest.raises(ValueError, match=r"labels from 0 to 1, the model's classes, got \[1, 2\]"):
        fit(tiny(), (images, labels + 1), epochs=1)
    with pytest.raises(ValueError, match="labels from 0 to 1"):
        evaluate(tiny(), (images, labels - 1))
    with pytest.raises(ValueError, match="at least one image to evaluate, got none"):
        evaluate(tiny(), (images[:0], labels[:0]))
    with pytest.raises(FloatingPointError, match="the loss is nan at step 1: try a smaller lr"):
        fit(tiny(), (images * math.nan, labels), epochs=1)


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


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda result: pickle.loads(pickle.dumps(result))])
def test_evaluations_can_be_copied_and_pickled(copied):
    result = evaluate(linear(), (torch.rand(4, 3, 5, 5), torch.tensor([0, 1, 0, 0])))
    again = copied(result)
    assert again == result == again.accuracy == 0.75 and again.loss == result.loss and f"{again:.0%}" == "75%"
    for name in ("labels", "probabilities", "predictions"):
        assert torch.equal(getattr(again, name), getattr(result, name))
