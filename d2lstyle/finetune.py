"""Fine-tuning: a pretrained network's head replaced, its bottom frozen, the rest trained gently for a few epochs."""

import copy

import timm.utils
import torch
from torch import nn

from .backbones import Backbone
from .engine import checks
from .engine.devices import seeded
from .engine.networks import imagenet_classes

STAGE_HOLDERS = {"features", "blocks", "stages", "layers", "encoder"}  # modules whose children are stages


class Classifier(nn.Module):
    """A network from `backbone` with another head: images (B, 3, H, W) in [0, 1] -> scores (B, classes)."""

    def __init__(self, model, mean, std):
        super().__init__()
        self.model = model
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, images):
        """Scores before the softmax; the images are normalised here."""
        return self.model((images - self.mean) / self.std)


def replace_head(net, num_classes, *, reuse_rows=None, seed=0):
    """A trainable copy of a classifier with a new last layer.

    Args:
        net: a `Backbone`, or any torchvision or timm classifier. A backbone's copy normalises images itself; another
            model is fed as it was before. It is not changed.
        num_classes: outputs of the new head.
        reuse_rows: rows of the old head to start from, for classes that it knows: {new class: old class}, or a list
            with one entry a new class, None for a random row. New classes are numbers; old ones are numbers or
            ImageNet names ("hotdog"; of "hotdog, hot dog, red hot" the first name counts).
        seed: of the other rows, drawn as torch initialises a layer.
    Returns:
        `Classifier` for a `Backbone`, else a model of the same class.
    Raises:
        ValueError: the network has no head, or reuse_rows names a class that is not there.

    Lecture 15, "fine-tuning": the last layer is another one; "re-use classifier parameters".
    """
    if isinstance(net, Backbone) and not net.classes:
        raise ValueError(f"{net.name} has no classifier whose head could be replaced: use another backbone")
    checks.whole("num_classes", num_classes, 1)
    model = copy.deepcopy(net.model if isinstance(net, Backbone) else net)
    name, old = _head(model)
    new = _layer_like(old, num_classes, seed)
    with torch.no_grad():
        for row, source in _rows(reuse_rows, num_classes, len(old.weight)):
            new.weight[row] = old.weight[source]
            if old.bias is not None:
                new.bias[row] = old.bias[source]
    model.set_submodule(name, new)
    if hasattr(model, "num_classes"):
        model.num_classes = num_classes
    if not isinstance(net, Backbone):
        return model
    return Classifier(model.requires_grad_(True), net.mean.clone(), net.std.clone())


def stages(model):
    """The bottom-up stages of a classifier without its head: [(name, names of its modules)].

    A stage is what lies between two changes of resolution, as far as the model's own structure tells: a block of
    blocks (`layer2`, `blocks.3`), or the layers up to a pooling.
    """
    prefix, groups = "model." if isinstance(model, Classifier) else "", [[]]
    for name, module in _parts(model, _head(model)[1]):
        if any(True for child in module.children() for _ in child.parameters()):
            groups += [[name], []]
        elif any(True for _ in module.parameters()):
            groups[-1].append(name)
        if "Pool" in type(module).__name__:
            groups.append([])
    return [(names[0].removeprefix(prefix), names) for names in groups if names]


def freeze(model, *, until):
    """Hold the bottom stages of a model still: their weights, and their batch normalisations' running statistics.

    The model is changed in place. A frozen batch normalisation stays so whatever `model.train()` says.

    Args:
        model: a classifier, such as `replace_head` returns.
        until: how many stages from the bottom, 0 to all; or the name of the last one. See `stages`.
    Returns:
        The same model.
    Raises:
        ValueError: there is no such stage.

    Lecture 15, "fix the bottom layers".
    """
    names = [name for name, _ in stages(model)]
    if isinstance(until, str):
        until = names.index(checks.choice("stage", until, names)) + 1
    checks.whole("until, a number of stages,", until, 0, len(names))
    frozen = [module for _, modules in stages(model)[:until] for module in modules]
    if frozen:
        timm.utils.freeze(model, frozen)
    return model


def param_groups(model, lr, *, head_multiplier=10):
    """Parameters for an optimiser: the body's at `lr`, the head's at a multiple of it; frozen ones are left out.

    Args:
        model: a classifier.
        lr: learning rate of the body.
        head_multiplier: learning rate of the head over that of the body.
    Returns:
        List of dicts, as torch's optimisers take them.

    Lecture 15, "fine-tuning": the head starts from nothing and learns ten times as fast.
    """
    of_head = set(_head(model)[1].parameters())
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    body = [parameter for parameter in trainable if parameter not in of_head]
    head = [parameter for parameter in trainable if parameter in of_head]
    groups = [{"params": body, "lr": lr}, {"params": head, "lr": lr * head_multiplier}]
    return [group for group in groups if group["params"]]


def _head(model):
    """The last layer that scores, and its name: a linear one, or SqueezeNet's convolution."""
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
    if not layers:
        expected = "expected a classifier that ends in a linear or convolutional layer"
        raise ValueError(f"{expected}, got {type(model).__name__}")
    return layers[-1]


def _parts(module, head, prefix=""):
    """Names and modules from the bottom up: the children of `module`, or theirs where a child only holds stages."""
    for name, child in module.named_children():
        body = [inner for inner in child.modules() if inner is not head]
        holds_head = len(body) < len(list(child.modules()))
        if name in STAGE_HOLDERS or (holds_head and any(isinstance(inner, nn.Conv2d) for inner in body)):
            yield from _parts(child, head, f"{prefix}{name}.")
        elif not holds_head:
            yield prefix + name, child


def _layer_like(old, outputs, seed):
    with seeded(seed):
        bias = old.bias is not None
        if isinstance(old, nn.Linear):
            new = nn.Linear(old.in_features, outputs, bias)
        else:
            new = nn.Conv2d(old.in_channels, outputs, old.kernel_size, old.stride, old.padding, bias=bias)
    return new.to(old.weight)


def _rows(reuse_rows, num_classes, n_old):
    """[(new row, old row)]."""
    if not isinstance(reuse_rows, dict):
        reuse_rows = [None] * num_classes if reuse_rows is None else reuse_rows
        if len(reuse_rows) != num_classes:
            raise ValueError(f"expected reuse_rows with {num_classes} entries, one a new class, got {len(reuse_rows)}")
        reuse_rows = {row: old for row, old in enumerate(reuse_rows) if old is not None}
    for row in reuse_rows:
        checks.whole("each new class of reuse_rows", row, 0, num_classes - 1)
    return [(row, _old_row(old, n_old)) for row, old in reuse_rows.items()]


def _old_row(old, n_old):
    if not isinstance(old, str):
        return checks.whole("each old class of reuse_rows", old, 0, n_old - 1)
    classes = imagenet_classes()
    if n_old != len(classes):
        expected = f"expected numbers of old classes, for the head has {n_old} and not ImageNet's"
        raise ValueError(f"{expected}, got {old!r}")
    name = old if old in classes else old.split(",")[0].strip()
    return classes.index(checks.choice("ImageNet class", name, classes))
