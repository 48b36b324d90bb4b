"""Heads and frozen stages, against the models that they were made from and torch's own draws."""

import pytest
import timm
import torch
from small_models import colours, linear, tiny, weights
from torch import nn
from torchvision import models

from d2lstyle import backbone, fit, freeze, param_groups, replace_head, stages
from d2lstyle.finetune import Classifier

MODELS = {
    "resnet18": models.resnet18,
    "squeezenet": models.squeezenet1_1,
    "mobilenet": models.mobilenet_v3_small,
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


@pytest.mark.parametrize(
    "rows, words",
    [
        ({0: "bananna"}, "unknown ImageNet class 'bananna': did you mean 'banana'"),
        ({2: "banana"}, "new class of reuse_rows as an integer from 0 to 1, got 2"),
        ({0: 1000}, "old class of reuse_rows as an integer from 0 to 999, got 1000"),
        (["banana"], "2 entries, one a new class, got 1"),
    ],
)
def test_rows_that_cannot_be(net, rows, words):
    with pytest.raises(ValueError, match=words):
        replace_head(net, 2, reuse_rows=rows)


def test_heads_that_cannot_be(net):
    with pytest.raises(ValueError, match="num_classes as an integer of at least 1"):
        replace_head(net, 0)
    with pytest.raises(ValueError, match="vgg19 has no classifier"):
        replace_head(backbone("vgg19", device="cpu"), 2)
    with pytest.raises(ValueError, match="ends in a linear"):
        replace_head(nn.ReLU(), 2)
    with pytest.raises(ValueError, match="the head has 2 and not ImageNet's, got 'banana'"):
        replace_head(linear(), 2, reuse_rows={0: "banana"})


STAGES = {
    "resnet18": ["conv1", "layer1", "layer2", "layer3", "layer4"],
    "vgg11": [f"features.{i}" for i in (0, 3, 6, 11, 16)],
    "mobilenet": [f"features.{i}" for i in range(13)],
    "vit": ["conv_proj", *(f"encoder.layers.encoder_layer_{i}" for i in (0, 1)), "encoder.ln"],
    "timm resnet": ["conv1", "layer1", "layer2", "layer3", "layer4"],
    "timm vit": ["patch_embed", "blocks.0", "blocks.1", "norm"],
    "timm convnext": ["stem", "stages.0", "stages.1", "stages.2", "stages.3"],
}


@pytest.mark.parametrize("name", STAGES)
def test_stages_of_known_models_hold_the_body_once_and_never_the_head(name):
    with torch.device("meta"):
        model = {"vgg11": models.vgg11, **MODELS}[name]()
    assert [stage for stage, _ in stages(model)] == STAGES[name]
    names = [name for _, names in stages(model) for name in names]
    held = [parameter for name in names for parameter in model.get_submodule(name).parameters()]
    _, head = param_groups(model, 0.1)
    assert len(held) == len(set(held)) and not set(head["params"]) & set(held)


def test_stages_of_the_embedded_network(net):
    expected = ["conv_stem", *(f"blocks.{i}" for i in range(7)), "conv_head"]
    assert [name for name, _ in stages(replace_head(net, 2))] == expected
    assert stages(nn.Sequential(nn.Identity(), models.resnet18()))[1][0] == "1.layer1"


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
    assert {name.rsplit(".", 1)[0] for name in trainable} == {"features.4", "features.5", "fc"}


@pytest.mark.parametrize(
    "until, words",
    [(3, "a number of stages, as an integer from 0 to 2, got 3"), (1.5, "got 1.5"), ("fc", "unknown stage 'fc'")],
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
