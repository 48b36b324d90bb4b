"""Heads and frozen stages, against the models that they were made from and torch's own draws."""

import copy
import pickle

import numpy as np
import pytest
import timm
import torch
from pretend_gpu import GPU, pretend_gpu
from small_models import colours, linear, tiny, weights
from torch import nn
from torchvision import models

from d2lstyle import backbone, fit, freeze, param_groups, replace_head, stages
from d2lstyle.finetune import Classifier

MODELS = {
    "resnet18": models.resnet18,
    "squeezenet": models.squeezenet1_1,
    "mobilenet": models.mobilenet_v3_small,
    "googlenet": lambda: models.googlenet(init_weights=False, aux_logits=True),
    "vit": lambda: models.VisionTransformer(32, 16, 2, 2, 8, 16),
    "timm resnet": lambda: timm.create_model("resnet18"),
    "timm convnext": lambda: timm.create_model("convnext_atto"),
    "timm vit": lambda: timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2),
    "timm deit, two heads": lambda: timm.create_model("deit_tiny_distilled_patch16_224", img_size=32, depth=2),
    "timm levit, a norm in the head": lambda: timm.create_model("levit_128s", img_size=32),
    "timm repvit, two in one": lambda: timm.create_model("repvit_m0_9"),
    "in a wrapper": lambda: nn.Sequential(nn.Identity(), models.mobilenet_v3_small()),
}
HEADS = {
    "squeezenet": ["classifier.1"],
    "mobilenet": ["classifier.3"],
    "vit": ["heads.head"],
    "timm convnext": ["head.fc"],
    "timm vit": ["head"],
    "timm deit, two heads": ["head", "head_dist"],
    "timm levit, a norm in the head": ["head.linear", "head_dist.linear"],
    "timm repvit, two in one": ["head.head.l", "head.head_dist.l"],
    "in a wrapper": ["1.classifier.3"],
}


@pytest.mark.parametrize("name", MODELS)
def test_heads_of_torchvision_and_timm_models(name):
    old = MODELS[name]().eval()
    new = replace_head(old, 3, reuse_rows={1: 7, 2: 0}).eval()
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, after = old(images), new(images)
    assert before.shape == (2, 1000) and after.shape == (2, 3)
    assert torch.allclose(after[:, 1:], before[:, [7, 0]], atol=1e-5)
    heads, state = HEADS.get(name, ["fc"]), old.state_dict()
    assert {key: value.shape[0] for key, value in new.state_dict().items() if value.shape != state[key].shape} == {
        f"{head}.{part}": 3 for head in heads for part in ("weight", "bias")
    }
    assert all(
        torch.equal(value, state[key]) for key, value in new.state_dict().items() if value.shape == state[key].shape
    )
    body, head = param_groups(new, 0.1)
    assert set(head["params"]) == {value for head in heads for value in new.get_submodule(head).parameters()}
    held = [parameter for _, names in stages(new) for parameter in parameters_of(new, names)]
    assert len(held) == len(set(held)) and set(held) == set(body["params"])
    assert getattr(new, "num_classes", 3) == 3 and not getattr(new.train(), "aux_logits", False)
    fit(new, (torch.rand(4, 3, 32, 32), [0, 1, 2, 0]), epochs=1, device="cpu")


def parameters_of(model, names):
    return [
        value for name, value in model.named_parameters() if any(f"{name}.".startswith(f"{part}.") for part in names)
    ]


class Net(nn.Module):
    """A model of layers by name; its forward pass does not matter."""

    def __init__(self, **layers):
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)


LENET = dict(conv=nn.Conv2d(3, 6, 5), fc1=nn.Linear(400, 120), fc2=nn.Linear(120, 84), fc3=nn.Linear(84, 10))


@pytest.mark.parametrize(
    "make, head",
    [
        (lambda: Net(**LENET), "fc3"),
        (lambda: Net(fc=nn.Linear(9, 8), out=nn.Linear(8, 5)), "out"),  # fc is hidden
        (lambda: Net(head=nn.Linear(9, 8), body=nn.Conv2d(3, 9, 3)), "head"),  # named before the body
        (lambda: nn.Sequential(nn.Identity(), models.vgg11()), "1.classifier.6"),
        (lambda: nn.DataParallel(models.resnet18()), "module.fc"),
        (lambda: Net(body=timm.create_model("resnet18")), "body.fc"),
        (lambda: nn.Sequential(nn.Identity(), Net(**LENET)), "1.fc3"),
        (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "1"),
    ],
)
def test_heads_of_other_models(make, head):
    with torch.device("meta"):
        model = make()
    expected = {f"{head}.weight", f"{head}.bias"}
    shapes = {name: value.shape[0] for name, value in replace_head(model, 3).named_parameters()}
    assert {name for name, value in model.named_parameters() if value.shape[0] != shapes[name]} == expected
    assert {shapes[name] for name in expected} == {3}


def bare(model, name):
    setattr(model, name, nn.Identity())
    return model


@pytest.mark.parametrize(
    "make, words",
    [
        (nn.ReLU, "ends in a linear layer or a 1 x 1 convolution, got ReLU, where no such head is found"),
        *(
            (lambda make=make, name=name: bare(make(), name), "no such head is found")
            for make, name in [
                (models.resnet18, "fc"),
                (models.vgg11, "classifier"),
                (models.convnext_tiny, "classifier"),
                (models.swin_t, "head"),
                (MODELS["vit"], "heads"),
                (models.squeezenet1_1, "classifier"),
            ]
        ),
        *(
            (lambda make=make: make().features, "no such head is found")
            for make in (
                models.vgg11,
                models.convnext_tiny,
                models.swin_t,
                models.mobilenet_v3_small,
                models.densenet121,
            )
        ),
        (lambda: nn.Sequential(*list(models.resnet18().children())[:-1]), "no such head is found"),
        (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, batch_first=True), 2), "no such head is found"),
        *(
            (lambda name=name: timm.create_model(name, num_classes=0), "no such head is found")
            for name in ("resnet18", "convnext_atto", "vit_tiny_patch16_224")
        ),
        (lambda: timm.create_model("convnext_atto", features_only=True), "no such head is found"),
        (lambda: Net(body=nn.Conv2d(3, 8, 3), aligner=Net(fc1=nn.Linear(8, 4), fc2=nn.Linear(4, 8))), "no such head"),
        (
            lambda: Net(body=nn.Conv2d(3, 8, 3), coarse=nn.Linear(8, 2), fine=nn.Linear(8, 9)),
            "one head, got Net with fine and coarse",
        ),
        (
            lambda: Net(head=nn.Linear(9, 8), body=nn.Sequential(nn.Linear(3, 9), nn.ReLU())),
            "one head, got Net with head and body",
        ),
        (lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(5)), "whose head has no shape yet: call it with a batch"),
    ],
)
def test_models_without_a_head_or_with_several_are_refused(make, words):
    with torch.device("meta"):
        model = make()
    with pytest.raises(ValueError, match=words):
        replace_head(model, 2)


def test_rows_by_imagenet_names(net):
    names = ["hotdog, hot dog, red hot", "banana", None, "espresso"]
    model = replace_head(net, 4, reuse_rows=names)
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        logits, scores = net.logits(images), model.eval()(images)
    rows = [net.classes.index(name) for name in ("hotdog", "banana", "espresso")]
    assert torch.allclose(scores[:, [0, 1, 3]], logits[:, rows], atol=1e-4)


@pytest.mark.parametrize("rows", [[3, None, 3], {0: 3, 2: 3}, {np.int64(0): np.int64(3), 2: torch.tensor(3)}])
def test_rows_in_any_container_and_twice(rows):
    new, old = replace_head(linear(4), 3, reuse_rows=rows, seed=np.int64(1))[-1], linear(4)[-1]
    assert torch.equal(new.weight[[0, 2]], old.weight[[3, 3]]) and new.weight[1].abs().sum() > 0


def test_rows_in_an_array():
    old = nn.Sequential(nn.Linear(5, 4))
    for rows in (np.array([3, 1, 3]), torch.tensor([3, 1, 3])):
        assert torch.equal(replace_head(old, 3, reuse_rows=rows)[0].weight, old[0].weight[[3, 1, 3]])


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


def test_a_classifier_takes_images_of_any_device_and_float_type(net):
    images, alone = colours(2, 32)[0], replace_head(net, 3, reuse_rows={1: "hotdog"}).eval()
    expected = alone(images.half().float())
    assert torch.equal(alone(images.half().double()), expected)
    with pretend_gpu(has_float64=False) as log:
        model = replace_head(copy.deepcopy(net).to(GPU), 3, reuse_rows={1: "hotdog"}).eval()
        placed = images.half(), images.half().double(), images.half().to(GPU)
        before = log.totals()
        for given in placed:
            scores = model(given)
            assert scores.device == GPU and torch.allclose(scores.cpu(), expected, atol=1e-4)
        after = log.totals()
        assert (after["wait"] - before["wait"], after["upload"] - before["upload"]) == (3, 0)  # .cpu() here
        model(images.requires_grad_(True)).sum().backward()
    assert images.grad.abs().sum() > 0


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
    "vgg11": [*(f"features.{i}" for i in (0, 3, 6, 11, 16)), "classifier.0"],
    "mobilenet": [*(f"features.{i}" for i in range(13)), "classifier.0"],
    "vit": ["conv_proj", *(f"encoder.layers.encoder_layer_{i}" for i in (0, 1)), "encoder.ln"],
    "timm resnet": ["conv1", "layer1", "layer2", "layer3", "layer4"],
    "timm vit": ["patch_embed", "blocks.0", "blocks.1", "norm"],
    "timm convnext": ["stem", "stages.0", "stages.1", "stages.2", "stages.3", "head.norm"],
}


@pytest.mark.parametrize("name", STAGES)
def test_stages_of_known_models(name):
    with torch.device("meta"):
        model = {"vgg11": models.vgg11, **MODELS}[name]()
    assert [stage for stage, _ in stages(model)] == STAGES[name]
    lone = {"vit": ["class_token", "encoder.pos_embedding"], "timm vit": ["cls_token", "pos_embed"]}.get(name, [])
    assert set(lone) <= set(stages(model)[0][1])


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


@pytest.mark.parametrize(
    "copied", [lambda model: model, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))]
)
def test_frozen_stages_do_the_same_in_training_mode_and_are_released_again(copied):
    images, _ = colours(4)
    model = copied(freeze(tiny(), until=2)).train()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert [norm.training for norm in norms] == [False, False] and model.training
    with torch.no_grad():
        assert torch.equal(model.features(images), model.eval().features(images))
    freeze(model.train(), until=1)
    assert [norm.training for norm in norms] == [False, True] and not model.eval().features[5].training
    freeze(model, until=0).train()
    with torch.no_grad():
        assert not torch.equal(model.features(images), model.eval().features(images))


def frozen(model):
    return {name for name, parameter in model.named_parameters() if not parameter.requires_grad}


def test_exactly_the_stages_asked_for_are_frozen():
    model = tiny()
    lower, upper = ({f"features.{i}.{part}" for i in (j, j + 1) for part in ("weight", "bias")} for j in (0, 4))
    model.features[4].weight.requires_grad_(False)  # by hand, as is the head
    model.fc.bias.requires_grad_(False)
    for until, expected in [(2, lower | upper), ("features.0", lower), (0, set()), (1, lower)]:
        assert freeze(model, until=until) is model and frozen(model) == expected | {"fc.bias"}


def test_what_belongs_to_no_layer_is_frozen_first_and_what_is_shared_with_the_lower_stage():
    vit = freeze(replace_head(MODELS["timm vit"](), 2), until=1)
    assert frozen(vit) == {"cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"}
    shared, norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
    model = nn.Sequential(nn.Sequential(shared, norm), nn.Sequential(shared, nn.Linear(4, 4)), nn.Linear(4, 2))
    freeze(model, until=2)
    assert frozen(freeze(model, until=1)) == {"0.0.weight", "0.0.bias", "0.1.weight", "0.1.bias"}
    before = norm.running_mean.clone()
    model.train()(torch.rand(9, 4))
    assert torch.equal(norm.running_mean, before)


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


@pytest.mark.parametrize(
    "model, lr, head_multiplier, words",
    [
        (tiny(), 0.1, -1, "head_multiplier as a number of at least 0 and finite, got -1"),
        (tiny(), 0.1, float("nan"), "head_multiplier as a number of at least 0 and finite, got nan"),
        (tiny(), -1, 10, "lr as a number of at least 0 and finite, got -1"),
        (tiny(), 0, 10, "positive lr, got 0"),
        (tiny().requires_grad_(False), 0.1, 10, "trainable parameters, got one that is frozen as a whole"),
    ],
)
def test_groups_that_cannot_be(model, lr, head_multiplier, words):
    with pytest.raises(ValueError, match=words):
        param_groups(model, lr, head_multiplier=head_multiplier)


def test_a_multiplier_of_one_needs_no_head():
    (group,) = param_groups(
        nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), 0.1, head_multiplier=1
    )
    assert group["lr"] == 0.1 and [tuple(value.shape) for value in group["params"]] == [(2, 3, 3, 3), (2,)]
