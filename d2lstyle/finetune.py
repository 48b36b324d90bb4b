"""Fine-tuning: a pretrained network's head replaced, its bottom frozen, the rest trained gently for a few epochs."""

import copy
from functools import partial

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from .backbones import Backbone
from .engine import checks
from .engine.devices import seeded, sent
from .engine.networks import imagenet_classes

STAGE_HOLDERS = {"features", "blocks", "stages", "layers", "encoder"}  # modules whose children are stages
HEADS = ("fc", "classifier", "heads", "head")  # torchvision's names
AUXILIARY = ("AuxLogits", "aux1", "aux2")  # its heads that help a training from nothing


class Classifier(nn.Module):
    """A network from `backbone` with another head: images (B, 3, H, W) in [0, 1] -> scores (B, classes)."""

    def __init__(self, model, mean, std):
        super().__init__()
        self.model = model
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, images):
        """Scores before the softmax, on the model's device; the images, from any, are normalised here."""
        checks.batch(images)
        return self.model((sent(images, self.mean) - self.mean) / self.std)


CHAINS = (Classifier, nn.Sequential, nn.DataParallel)  # whose last layer is their module's


@torch.inference_mode(False)  # weights made in that mode would never let a gradient pass
def replace_head(net, num_classes, *, reuse_rows=None, seed=0):
    """A trainable copy of a classifier with a new last layer, or several where a model has several heads.

    Auxiliary heads (inception_v3, googlenet), which help a training from nothing, are left out.

    Args:
        net: a `Backbone`, or a classifier: torchvision's, timm's, or one whose last layer is linear or a 1 x 1
            convolution. A backbone's copy normalises images itself; another model is fed as it was before. It is not
            changed.
        num_classes: outputs of the new head.
        reuse_rows: rows of the old head to start from, for classes that it knows: {new class: old class}, or a list
            or array with one entry a new class, None for a random row. New classes are numbers; old ones are numbers
            or ImageNet names ("hotdog"; of "hotdog, hot dog, red hot" the first name counts).
        seed: of the other rows, drawn as torch initialises a layer.
    Returns:
        `Classifier` for a `Backbone`, else a model of the same class, frozen where it was.
    Raises:
        ValueError: the network has no head, or it cannot be told which of its layers is; or reuse_rows names a class
            that is not there.

    Lecture 15, "fine-tuning": the last layer is another one; "re-use classifier parameters".

    >>> replace_head(nn.Sequential(nn.Flatten(), nn.Linear(12, 10)), 2)[1].out_features
    2
    """
    if isinstance(net, Backbone) and not net.classes:
        raise ValueError(f"{net.name} has no classifier whose head could be replaced: use another backbone")
    checks.whole("num_classes", num_classes, 1)
    model = copy.deepcopy(net.model if isinstance(net, Backbone) else net)
    with seeded(seed):
        new = {old: _layer_like(old, num_classes, reuse_rows) for old in heads(model).values()}
    for name, layer in list(model.named_modules(remove_duplicate=False)):  # one layer may have several names
        if layer in new:
            model.set_submodule(name, new[layer])
        if getattr(layer, "num_classes", None) in {_outputs(old) for old in new}:
            layer.num_classes = num_classes
        if getattr(layer, "aux_logits", False):
            layer.aux_logits = False
            for name in AUXILIARY:
                setattr(layer, name, None)
    if not isinstance(net, Backbone):
        return model
    return Classifier(model.requires_grad_(True), net.mean.clone(), net.std.clone())


def stages(model):
    """The bottom-up stages of a classifier without its head: [(name, names of its modules and parameters)].

    A stage is what lies between two changes of resolution, as far as the model's own structure tells: a block of
    blocks (`layer2`, `blocks.3`), or the layers up to a pooling. Parameters that belong to no layer (`cls_token`) are
    in the lowest stage; hidden layers of a classifier are stages of their own.

    >>> stages(nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.Conv2d(4, 8, 3), nn.Flatten(), nn.Linear(8, 2)))
    [('0', ['0']), ('2', ['2'])]
    """
    prefix, groups, lone = "model." if isinstance(model, Classifier) else "", [[]], []
    for name, part in _parts(model, set(heads(model).values())):
        if isinstance(part, nn.Parameter):
            lone.append(name)
        elif any(True for child in part.children() for _ in child.parameters()):
            groups += [[name], []]
        elif any(True for _ in part.parameters()):
            groups[-1].append(name)
        if "Pool" in type(part).__name__:
            groups.append([])
    groups = [names for names in groups if names] or [[]]
    groups[0] += lone
    return [(names[0].removeprefix(prefix), names) for names in groups if names]


def freeze(model, *, until):
    """Hold the bottom stages of a model still, and no others: weights, and batch normalisations' running statistics.

    The model is changed in place. A frozen batch normalisation stays in evaluation mode whatever `model.train()` says.
    The stages above are made trainable, whoever froze them before; the head is left as it is.

    Args:
        model: a classifier, such as `replace_head` returns.
        until: how many stages from the bottom, 0 to all; or the name of the last one. See `stages`.
    Returns:
        The same model.
    Raises:
        ValueError: there is no such stage, or the model has no head as `replace_head` needs it.

    Lecture 15, "fix the bottom layers".

    >>> model = freeze(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 4)), until=1)
    >>> [parameter.requires_grad for parameter in model.parameters()]
    [False, False, True, True]
    """
    groups = stages(model)
    names = [name for name, _ in groups]
    if isinstance(until, str):
        until = names.index(checks.choice("stage", until, names)) + 1
    until = checks.whole("until, a number of stages,", until, 0, len(names))
    for number in reversed(range(len(groups))):  # what two stages share goes with the lower one
        for part in map(partial(_part, model), groups[number][1]):
            part.requires_grad_(number >= until)
            for module in part.modules() if isinstance(part, nn.Module) else ():
                if getattr(module, "running_mean", None) is not None:
                    _hold(module, number < until, model.training)
    return model


def param_groups(model, lr, *, head_multiplier=10):
    """Parameters for an optimiser: the body's at `lr`, the head's at a multiple of it; frozen ones are left out.

    Args:
        model: a classifier.
        lr: learning rate of the body, positive.
        head_multiplier: learning rate of the head over that of the body, not negative. Where it is 1, a head need not
            be found.
    Returns:
        List of dicts, as torch's optimisers take them.
    Raises:
        ValueError: nothing is trainable, a number is out of range, or the model has no head as `replace_head` needs it.

    Lecture 15, "fine-tuning": the head starts from nothing and learns ten times as fast.

    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 4))
    >>> [group["lr"] for group in param_groups(model, lr=0.001)]
    [0.001, 0.01]
    """
    checks.number("head_multiplier", head_multiplier, 0)
    if checks.number("lr", lr, 0) == 0:
        raise ValueError("expected a positive lr, got 0")
    layers = heads(model).values() if head_multiplier != 1 else []
    of_head = {parameter for layer in layers for parameter in layer.parameters()}
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    body = [parameter for parameter in trainable if parameter not in of_head]
    head = [parameter for parameter in trainable if parameter in of_head]
    groups = [{"params": body, "lr": lr}, {"params": head, "lr": lr * head_multiplier}]
    if not trainable:
        raise ValueError("expected a model with trainable parameters, got one that is frozen as a whole")
    return [group for group in groups if group["params"]]


def heads(model):
    """{name: layer} of the layers that give a classifier's scores; a ValueError if that cannot be told."""
    layers = _scorers(getattr(model, "_orig_mod", model))  # torch.compile's wrapper
    named = {name: layer for name, layer in model.named_modules() if name and layer in layers}
    expected = f"expected a classifier that ends in a linear layer or a 1 x 1 convolution, got {type(model).__name__}"
    if not named:
        raise ValueError(f"{expected}, where no such head is found")
    if any(map(is_lazy, (parameter for layer in layers for parameter in layer.parameters()))):
        raise ValueError(f"{expected}, whose head has no shape yet: call it with a batch of images first")
    return named


def _scorers(module, inside=False):
    """The layers that give a module's scores; none where it ends in a block of a body, or in nothing."""
    if _can_score(module):
        return [module]
    if hasattr(module, "get_classifier"):  # timm's
        heads = module.get_classifier()
        layers = nn.ModuleList(heads if isinstance(heads, (tuple, list)) else [heads]).modules()
        return [layer for layer in layers if _can_score(layer) and _outputs(layer) == module.num_classes]
    children = {name: child for name, child in module.named_children() if any(True for _ in child.parameters())}
    last, is_chain = next(reversed(children), None), isinstance(module, CHAINS)
    if not children or any(isinstance(getattr(module, name, None), nn.Identity) for name in HEADS):
        return []
    if inside and not is_chain and last not in HEADS:
        return []
    inner = {name: child for name, child in children.items() if name in {last, *HEADS}}
    found = {name: _scorers(child, len(children) > 1 and name not in HEADS) for name, child in inner.items()}
    return _only(found | _beside(children, last), children[last], module)


def _beside(children, last):
    """{name: [layer]} of the layers that read the same as the last one, if that is one that scores."""
    scoring = {name: child for name, child in children.items() if _can_score(child)}
    return {
        name: [layer] for name, layer in scoring.items() if last in scoring and _inputs(layer) == _inputs(scoring[last])
    }


def _only(found, end, module):
    """The one head of those found, {name: layers}, hidden layers whose outputs the last child reads being left out."""
    read = {_inputs(layer) for layer in end.modules() if _can_score(layer)}
    found = {
        name: layers
        for name, layers in found.items()
        if layers and (layers[-1] in end.modules() or _outputs(layers[-1]) not in read)
    }
    if len(found) > 1:
        got = f"{type(module).__name__} with {' and '.join(found)}"
        raise ValueError(f"expected a classifier with one head, got {got}: train all alike with head_multiplier=1")
    return next(iter(found.values()), [])


def _can_score(layer):
    if isinstance(layer, nn.Conv2d):
        return layer.kernel_size == (1, 1) and layer.groups == 1
    return isinstance(layer, nn.Linear)


def _inputs(layer):
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels


def _outputs(layer):
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


def _parts(module, of_head, prefix=""):
    """Names and parts from the bottom up: own parameters, then children, or theirs where a child only holds stages."""
    yield from ((prefix + name, parameter) for name, parameter in module.named_parameters(recurse=False))
    for name, child in module.named_children():
        holds_stages = name in STAGE_HOLDERS and any(True for _ in child.children())
        if holds_stages or (child not in of_head and of_head & set(child.modules())):
            yield from _parts(child, of_head, f"{prefix}{name}.")
        elif child not in of_head:
            yield prefix + name, child


def _part(model, name):
    parent, _, last = name.rpartition(".")
    return getattr(model.get_submodule(parent), last)


def _hold(norm, held, mode):
    """Keep a normalisation in evaluation mode whatever `train` says, or let it go, into `mode`."""
    if held:
        norm.eval()
        norm.train = partial(_stay, norm)
    elif "train" in vars(norm):
        del norm.train
        norm.train(mode)


def _stay(norm, mode=True):
    return norm


def _layer_like(old, outputs, reuse_rows):
    """As torch draws it, with the rows of the old layer that are asked for."""
    new = copy.deepcopy(old)
    for name, parameter in list(new.named_parameters()):  # on the CPU: one seed is one layer, wherever it goes then
        setattr(new, name, nn.Parameter(torch.empty(outputs, *parameter.shape[1:], dtype=torch.float32, device="cpu")))
    setattr(new, "out_features" if isinstance(old, nn.Linear) else "out_channels", outputs)
    new.reset_parameters()
    new.to(old.weight)
    with torch.no_grad():
        for row, source in _rows(reuse_rows, outputs, len(old.weight)):
            for mine, theirs in zip(new.parameters(), old.parameters()):
                mine[row] = theirs[source]
    return new


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
