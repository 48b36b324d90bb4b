"""Heads, frozen stages and training, against what can be computed by hand or by torch alone."""

import copy
import math

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn
from torchvision import models

from d2lstyle import backbone, evaluate, finetune, fit, freeze, objective, param_groups, replace_head, stages
from d2lstyle.finetune import Classifier


def tiny(seed=0, outputs=2):
    """A net of two stages and a head, with batch normalisation and dropout."""
    torch.manual_seed(seed)
    model = nn.Sequential()
    model.features = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    model.dropout, model.fc = nn.Dropout(0.2), nn.Linear(4, outputs)
    return model


def linear(outputs=2):
    """A net that is its head, and starts from zero."""
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, outputs))
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    return model


def colours(n=40, side=12, seed=0):
    """Reddish and bluish images, to be told apart."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    images = 0.6 * torch.rand(n, 3, side, side, generator=generator)
    images[labels == 0, 0] += 0.4
    images[labels == 1, 2] += 0.4
    return images, labels


class Items(torch.utils.data.Dataset):
    """The same as (image, label) items."""

    def __init__(self, images, labels):
        self.pair = images, labels

    def __len__(self):
        return len(self.pair[0])

    def __getitem__(self, i):
        return self.pair[0][i], int(self.pair[1][i])


def weights(model):
    return torch.cat([value.flatten().double() for value in model.state_dict().values()])


# heads


MODELS = {
    "resnet18": lambda: models.resnet18(),
    "vgg11": lambda: models.vgg11(),
    "squeezenet": lambda: models.squeezenet1_1(),
    "mobilenet": lambda: models.mobilenet_v3_small(),
    "vit": lambda: models.VisionTransformer(32, 16, 2, 2, 8, 16),
    "timm resnet": lambda: timm.create_model("resnet18"),
    "timm convnext": lambda: timm.create_model("convnext_atto"),
    "timm vit": lambda: timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2),
}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_heads_of_torchvision_and_timm_models(make):
    old = make().eval()
    new = replace_head(old, 3, reuse_rows={1: 7, 2: 0}).eval()
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, after = old(images), new(images)
    assert before.shape == (2, 1000) and after.shape == (2, 3)
    assert torch.allclose(after[:, 1:], before[:, [7, 0]], atol=1e-5)


def test_rows_by_imagenet_names(net):
    names = ["hotdog, hot dog, red hot", "banana", None, "espresso"]
    model = replace_head(net, 4, reuse_rows=names)
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        logits, scores = net.logits(images), model.eval()(images)
    rows = [net.classes.index(name) for name in ("hotdog", "banana", "espresso")]
    assert torch.allclose(scores[:, [0, 1, 3]], logits[:, rows], atol=1e-4)


def test_other_rows_are_torchs_own_draw(net):
    torch.manual_seed(5)
    drawn = nn.Linear(1280, 3)
    state = torch.random.get_rng_state()
    model = replace_head(net, 3, seed=5, reuse_rows={1: "banana"})
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(model.model.classifier.weight[[0, 2]], drawn.weight[[0, 2]])
    assert not torch.equal(model.model.classifier.weight[1], drawn.weight[1])


def test_a_backbone_is_copied_and_trainable(net):
    before = weights(net)
    model = replace_head(net, 2)
    assert isinstance(model, Classifier) and all(parameter.requires_grad for parameter in model.parameters())
    assert not any(parameter.requires_grad for parameter in net.parameters())
    fit(model, colours(8, 32), epochs=1)
    assert torch.equal(weights(net), before)


def test_heads_that_cannot_be(net):
    with pytest.raises(ValueError, match="num_classes"):
        replace_head(net, 0)
    with pytest.raises(ValueError, match="did you mean 'banana'"):
        replace_head(net, 2, reuse_rows={0: "bananna"})
    with pytest.raises(ValueError, match="new classes 0 to 1, got 2"):
        replace_head(net, 2, reuse_rows={2: "banana"})
    with pytest.raises(ValueError, match="2 entries"):
        replace_head(net, 2, reuse_rows=["banana"])
    with pytest.raises(ValueError, match="old classes from 0 to 999"):
        replace_head(net, 2, reuse_rows={0: 1000})
    with pytest.raises(ValueError, match="not ImageNet's"):
        replace_head(linear(), 2, reuse_rows={0: "banana"})
    with pytest.raises(ValueError, match="ends in a linear"):
        replace_head(nn.ReLU(), 2)
    with pytest.raises(ValueError, match="no classifier"):
        replace_head(backbone_without_classes(net), 2)


def backbone_without_classes(net):
    other = copy.copy(net)
    other.classes = []
    return other


# stages and freezing


STAGES = {
    "resnet18": ["conv1", "layer1", "layer2", "layer3", "layer4"],
    "vgg11": [f"features.{i}" for i in (0, 3, 6, 11, 16)],
    "mobilenet": [f"features.{i}" for i in range(13)],
    "timm resnet": ["conv1", "layer1", "layer2", "layer3", "layer4"],
    "timm vit": ["patch_embed", "blocks.0", "blocks.1", "norm"],
    "timm convnext": ["stem", "stages.0", "stages.1", "stages.2", "stages.3"],
}


@pytest.mark.parametrize("name", STAGES)
def test_stages_of_known_models(name):
    assert [stage for stage, _ in stages(MODELS[name]())] == STAGES[name]


def test_stages_of_the_embedded_network(net):
    expected = ["conv_stem", *(f"blocks.{i}" for i in range(7)), "conv_head"]
    assert [name for name, _ in stages(replace_head(net, 2))] == expected
    assert stages(nn.Sequential(nn.Identity(), models.resnet18()))[1][0] == "1.layer1"


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_stages_hold_the_body_once_and_never_the_head(make):
    model = make()
    names = [name for _, names in stages(model) for name in names]
    held = [id(parameter) for name in names for parameter in model.get_submodule(name).parameters()]
    head = {id(parameter) for parameter in finetune._head(model)[1].parameters()}
    assert len(held) == len(set(held)) and not head & set(held)


def test_freezing_stops_weights_and_statistics_below_and_nothing_above(net):
    model = freeze(replace_head(net, 2), until=4)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fit(model, colours(8, 32), epochs=2, lr=1e-2)
    same = {key for key, value in model.state_dict().items() if torch.equal(value, before[key])}
    below = tuple(f"model.{name}" for name in ("conv_stem.", "bn1.", "blocks.0.", "blocks.1.", "blocks.2."))
    assert {key for key in before if key.startswith(below)} <= same
    above = {key for key in before if not key.startswith((*below, "mean", "std"))}
    assert not {key for key in above & same if key.endswith(("weight", "running_mean"))}


def test_frozen_stages_do_the_same_in_training_mode():
    model = freeze(tiny(), until=2)
    images, _ = colours(4)
    with torch.no_grad():
        assert torch.equal(model.train().features(images), model.eval().features(images))


def test_freezing_by_number_by_name_and_not_at_all():
    model = tiny()
    assert freeze(model, until=0) is model and all(parameter.requires_grad for parameter in model.parameters())
    freeze(model, until="features.0")
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trainable == {
        "features.4.weight",
        "features.4.bias",
        "features.5.weight",
        "features.5.bias",
        "fc.weight",
        "fc.bias",
    }
    freeze(model, until=2)
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == {"fc.weight", "fc.bias"}


@pytest.mark.parametrize(
    "until, words", [(3, "from 0 to 2"), (-1, "at least 0"), ("fc", "unknown stage 'fc'"), (1.5, "integer")]
)
def test_stages_that_cannot_be_frozen(until, words):
    with pytest.raises(ValueError, match=words):
        freeze(tiny(), until=until)


def test_parameter_groups_are_disjoint_and_leave_out_what_is_frozen(net):
    body, head = param_groups(replace_head(net, 2), 0.1)
    assert (body["lr"], head["lr"]) == (0.1, 1.0)
    assert [tuple(parameter.shape) for parameter in head["params"]] == [(2, 1280), (2,)]
    assert len(body["params"]) == sum(1 for _ in net.model.parameters()) - 2
    model = tiny()
    (only_head,) = param_groups(freeze(model, until=2), 0.1, head_multiplier=3)
    assert only_head["lr"] == pytest.approx(0.3) and only_head["params"] == [model.fc.weight, model.fc.bias]


# training


def test_one_step_is_adamw_on_the_mean_cross_entropy():
    data, model, by_hand = colours(9), linear(), linear()
    fit(model, data, epochs=1, lr=0.01, batch_size=9, weight_decay=0.1)
    # one step is all warm-up: (0 + 1) / (1 + 1) of ten times lr
    optimizer = torch.optim.AdamW(by_hand.parameters(), lr=0.01 * 10 / 2, weight_decay=0.1)
    F.cross_entropy(by_hand(data[0]), data[1]).backward()
    optimizer.step()
    assert torch.allclose(weights(model), weights(by_hand), atol=1e-7)


def test_learning_rates_warm_up_and_fall_to_zero():
    parts = [finetune._part_of_lr(step, 100) for step in range(100)]
    assert parts[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert parts[10] == 1 and parts[55] == pytest.approx(0.5) and parts[99] < 1e-3
    assert all(before >= after for before, after in zip(parts[10:], parts[11:]))


def test_it_learns():
    model = tiny()
    history = fit(model, colours(80), colours(40, seed=1), epochs=6, lr=3e-3)
    assert evaluate(model, colours(60, seed=2)) > 0.95
    assert [epoch.number for epoch in history.epochs] == list(range(7))
    assert history.epochs[-1].train_loss < history.epochs[1].train_loss
    assert not model.training


def test_equal_seeds_give_equal_runs_and_others_do_not():
    def trained(seed):
        model = tiny()
        fit(
            model,
            colours(),
            epochs=2,
            seed=seed,
            augment=lambda images: images + 0.1 * torch.rand(len(images), 1, 1, 1),
        )
        return weights(model)

    first = trained(0)
    torch.rand(3)  # whatever others draw meanwhile
    assert torch.equal(first, trained(0)) and not torch.equal(first, trained(1))


def test_training_leaves_the_callers_random_numbers_alone():
    model = tiny()
    state = torch.random.get_rng_state()
    fit(model, colours(), epochs=1)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_best_epoch_is_kept():
    images, labels = colours()
    model = linear()
    model[-1].weight.data[0, 2] = model[-1].weight.data[1, 0] = 1.0  # right where the labels are swapped
    before = weights(model)
    history = fit(model, (images, labels), (images, 1 - labels), epochs=3, lr=0.1)
    assert (
        history.best_epoch == 0 and history.epochs[0].validation_accuracy == 1 > history.epochs[3].validation_accuracy
    )
    assert torch.equal(weights(model), before)


def test_equal_accuracies_are_told_apart_by_loss():
    data, model = colours(), linear()
    model[-1].weight.data[0, 0] = model[-1].weight.data[1, 2] = 1.0
    history = fit(model, data, data, epochs=3, lr=0.01)
    assert {epoch.validation_accuracy for epoch in history.epochs} == {1.0} and history.best_epoch == 3


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
    for train in (data, Items(*data)):
        model = tiny()
        fit(model, train, train, epochs=2)
        results.append(weights(model))
    assert torch.equal(*results)


def test_only_training_images_are_augmented_with_a_generator_of_their_own():
    calls = []

    def augment(images, generator):
        calls.append((len(images), torch.rand(1, generator=generator).item()))
        return images

    fit(tiny(), colours(20), colours(12), epochs=2, augment=augment)
    assert [n for n, _ in calls] == [20, 20] and calls[0][1] != calls[1][1]


def test_bf16_where_it_is_asked_for():
    dtypes, model = [], tiny()
    model.features[0].register_forward_hook(lambda module, inputs, output: dtypes.append(output.dtype))
    fit(model, colours(), epochs=1, precision="bf16")
    assert set(dtypes) == {torch.bfloat16}
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


@pytest.mark.parametrize(
    "amx, dense, expected", [(True, True, torch.bfloat16), (True, False, torch.float32), (False, True, torch.float32)]
)
def test_auto_goes_by_the_hardware_and_the_network(monkeypatch, amx, dense, expected):
    monkeypatch.setattr(objective, "_cpu_has", lambda capability: amx and capability == "amx_bf16")
    monkeypatch.setattr(finetune, "best_device", torch.device)
    dtypes, model = [], tiny()
    if not dense:
        model.features[4] = nn.Conv2d(4, 4, 3, groups=4)
    model.features[0].register_forward_hook(lambda module, inputs, output: dtypes.append(output.dtype))
    fit(model, colours(), epochs=1, device="cpu")
    assert set(dtypes) == {expected}


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"epochs": 0}, "epochs"),
        ({"lr": 0}, "positive lr"),
        ({"lr": math.inf}, "positive lr"),
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


def test_labels_beyond_the_head():
    images, labels = colours()
    with pytest.raises(ValueError, match=r"labels from 0 to 1, the model's classes, got \[1, 2\]"):
        fit(tiny(), (images, labels + 1), epochs=1)
    with pytest.raises(ValueError, match="labels from 0 to 1"):
        evaluate(tiny(), (images, labels - 1))


def test_a_loss_that_is_no_number_says_so():
    images, labels = colours()
    with pytest.raises(FloatingPointError, match="smaller lr"):
        fit(tiny(), (images * math.nan, labels), epochs=1)


# evaluation


def test_evaluation_by_hand():
    model = linear(outputs=3)
    model[-1].bias.data = torch.tensor([0.0, math.log(2), 0.0])  # probabilities 1/4, 1/2, 1/4
    model.train()
    result = evaluate(model, (torch.rand(4, 3, 5, 5), torch.tensor([1, 1, 1, 0])), batch_size=3)
    assert result == result.accuracy == 0.75 and model.training
    assert result.loss == pytest.approx((3 * math.log(2) + math.log(4)) / 4)
    assert torch.allclose(result.probabilities, torch.tensor([0.25, 0.5, 0.25]).expand(4, 3))
    assert result.predictions.tolist() == [1, 1, 1, 1] and result.labels.tolist() == [1, 1, 1, 0]


def test_nothing_to_evaluate():
    with pytest.raises(ValueError, match="at least one image"):
        evaluate(linear(), (torch.zeros(0, 3, 8, 8), torch.zeros(0)))


def test_from_scratch_is_a_backbone_without_weights():
    model = replace_head(backbone("efficientnet_lite0", weights=None, device="cpu"), 2)
    history = fit(model, colours(40, 32), epochs=4, lr=1e-3)
    assert history.epochs[-1].train_loss < 0.5 * history.epochs[1].train_loss
