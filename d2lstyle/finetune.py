"""Fine-tuning: a pretrained network's head replaced, its bottom frozen, the rest trained gently for a few epochs."""

import copy
import inspect
import math
import time
from dataclasses import dataclass, field

import timm.utils
import torch
import torch.nn.functional as F
from torch import nn
from torchvision import models

from .backbones import Backbone, best_device
from .errors import unknown_name
from .objective import has_amx, has_bf16

WARM_UP = 0.1  # of all steps: a new head's first gradients are large and would shake what was learned


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


class Evaluation(float):
    """The accuracy, a float in [0, 1], with what it was counted from.

    Attributes:
        accuracy: the same number.
        loss: mean cross-entropy, in nats.
        labels: (N,), the truth.
        probabilities: (N, classes).
        predictions: (N,), the likeliest class of each.
    """

    def __new__(cls, labels, probabilities, loss):
        predictions = probabilities.argmax(1)
        self = super().__new__(cls, (predictions == labels).double().mean().item())
        self.accuracy, self.loss = float(self), loss
        self.labels, self.probabilities, self.predictions = labels, probabilities, predictions
        return self


@dataclass(frozen=True)
class FitStep:
    """What a training step reports; `validation` is the accuracy after an epoch's last step, and None elsewhere."""

    step: int
    steps: int
    epoch: int
    epochs: int
    seconds: float
    loss: float
    validation: float | None = None


@dataclass(frozen=True)
class Epoch:
    """One pass over the training set; number 0 is the state before training. Accuracies in [0, 1], losses in nats.

    `train_loss` and `train_accuracy` are means over the epoch's batches, as augmented; NaN at number 0.
    """

    number: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    seconds: float


@dataclass(frozen=True)
class History:
    """The outcome of `fit`: its epochs, which of them the model was left at, and whether it was interrupted."""

    epochs: list = field(repr=False)
    best_epoch: int
    seconds: float
    interrupted: bool = False


# ---------------------------------------------------------------- the parts of a network


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
    _check_whole("num_classes", num_classes, 1)
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
    model, prefix = (model.model, "model.") if isinstance(model, Classifier) else (model, "")
    head, _ = _head(model)
    found, current = [], []
    for name, module in _parts(model, head):
        has_parts = any(True for child in module.children() for _ in child.parameters())
        if has_parts and current:
            found.append(current)
            current = []
        if has_parts or any(True for _ in module.parameters()):
            current.append(name)
        if current and (has_parts or "Pool" in type(module).__name__):
            found.append(current)
            current = []
    found += [current] if current else []
    return [(names[0], [prefix + name for name in names]) for names in found]


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
        if until not in names:
            raise unknown_name("stage", until, names)
        until = names.index(until) + 1
    _check_whole("until", until, 0)
    if until > len(names):
        raise ValueError(f"expected until from 0 to {len(names)}, the number of stages, got {until}")
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
    _, head = _head(model)
    of_head = {id(parameter) for parameter in head.parameters()}
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    body = [parameter for parameter in trainable if id(parameter) not in of_head]
    head = [parameter for parameter in trainable if id(parameter) in of_head]
    groups = [{"params": body, "lr": lr}, {"params": head, "lr": lr * head_multiplier}]
    return [group for group in groups if group["params"]]


# ---------------------------------------------------------------- training


def fit(model, train, validation=None, *, epochs=5, lr=3e-4, head_multiplier=10, weight_decay=0.01, batch_size=32,
        augment=None, precision="auto", seed=0, device="auto", callback=None):  # fmt: skip
    """Train a classifier in place and leave it at its best epoch.

    AdamW; the learning rate warms up over the first tenth of the steps and falls to zero along a cosine.

    Args:
        model: scores (B, classes) from images (B, 3, H, W) in [0, 1], such as `replace_head` returns.
        train: (image, label) items as `load_dataset` gives them, or a pair of tensors, images (N, 3, H, W) and labels.
        validation: the same, to choose the epoch by: highest accuracy, then lowest loss. None keeps the last epoch.
        epochs: passes over the training set.
        lr: highest learning rate of the body; `head_multiplier` times as much for the head.
        weight_decay: of AdamW.
        batch_size: images a step, at most; batches of an epoch differ by one image at most.
        augment: transform of a batch of training images, such as `Compose`; None for none.
        precision: "fp32", "bf16" or "auto": bf16 on GPUs that have it, and for networks without depthwise convolutions on
            CPUs with AMX, else fp32. Weights are fp32 in any case.
        seed: of the order, of the augmentation, and of dropout. Equal seeds give equal runs on one device.
        device: "auto", or a torch device; the model is moved there.
        callback: called with a FitStep after each step. A KeyboardInterrupt, there or anywhere, ends the training.
    Returns:
        History.
    Raises:
        ValueError: an empty set, a label that the head does not know, or a setting out of range.
        FloatingPointError: the loss became NaN or infinite.

    Lecture 15, "fine-tuning": a small learning rate, few epochs.
    """
    _check_settings(train, validation, epochs, lr, batch_size, precision)
    device = best_device(device)
    model.to(device)
    run = _Fit(model, train, validation, epochs, batch_size, augment, seed, device, callback)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)  # dropout, and transforms that know no generator
        run.bf16 = _runs_in_bf16(precision, model, device)
        groups = param_groups(model, lr, head_multiplier=head_multiplier)
        fused = device.type in ("cpu", "cuda")  # one pass over all weights instead of one an operation
        return run.all_epochs(torch.optim.AdamW(groups, weight_decay=weight_decay, fused=fused))


def evaluate(model, data, *, batch_size=100):
    """Accuracy of a classifier on a data set, where the model is; nothing is augmented.

    Args:
        model, data: as for `fit`.
        batch_size: images a pass.
    Returns:
        Evaluation: the accuracy as a float, with loss, labels, probabilities and predictions.
    Raises:
        ValueError: an empty set, or a label that the head does not know.
    """
    if _length(data) == 0:
        raise ValueError("expected at least one image to evaluate, got none")
    device, was_training = next(model.parameters()).device, model.training
    model.eval()
    scores, labels = [], []
    try:
        with torch.inference_mode():
            for indices in torch.arange(_length(data)).split(batch_size):
                images, y = _batch(data, indices, device)
                scores.append(_checked_scores(model(images), y).float().cpu())
                labels.append(y.cpu())
    finally:
        model.train(was_training)
    scores, labels = torch.cat(scores), torch.cat(labels)
    return Evaluation(labels, scores.softmax(1), F.cross_entropy(scores, labels).item())


class _Fit:
    """One training run, and the best it has reached so far."""

    bf16 = False

    def __init__(self, model, train, validation, epochs, batch_size, augment, seed, device, callback):
        self.model, self.train, self.validation, self.device = model, train, validation, device
        self.n_epochs, self.augment, self.callback = epochs, _with_generator(augment), callback
        self.generator = torch.Generator().manual_seed(seed)
        self.batches = math.ceil(_length(train) / batch_size)
        self.steps, self.step = epochs * self.batches, 0
        self.epochs, self.best, self.best_state = [], None, None
        self.began = time.perf_counter()

    def all_epochs(self, optimizer):
        interrupted = False
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _part_of_lr(step, self.steps))
        try:
            self._finish_epoch(0, [(math.nan, math.nan, 1)])
            for number in range(1, self.n_epochs + 1):
                self._epoch(number, optimizer, schedule)
        except KeyboardInterrupt:
            interrupted = True
        if self.best_state is not None:
            self.model.load_state_dict(self.best_state)
        self.model.eval()
        best = self.best.number if self.best else 0
        return History(self.epochs, best, time.perf_counter() - self.began, interrupted)

    def _epoch(self, number, optimizer, schedule):
        order, seen = torch.randperm(_length(self.train), generator=self.generator), []
        for indices in order.tensor_split(self.batches):
            self.model.train()
            seen.append((*self._step(indices, optimizer), len(indices)))
            schedule.step()
            self.step += 1
            last = len(seen) == self.batches
            if last:
                self._finish_epoch(number, seen)
            if self.callback:
                accuracy = self.epochs[-1].validation_accuracy if last else None
                seconds = time.perf_counter() - self.began
                self.callback(FitStep(self.step, self.steps, number, self.n_epochs, seconds, seen[-1][0], accuracy))

    def _step(self, indices, optimizer):
        images, labels = _batch(self.train, indices, self.device)
        if self.augment:
            images = self.augment(images, self.generator)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            scores = _checked_scores(self.model(images), labels).float()
        loss = F.cross_entropy(scores, labels)
        if not loss.isfinite():
            raise FloatingPointError(f"the loss is {loss.item()} at step {self.step + 1}: try a smaller lr")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item(), (scores.argmax(1) == labels).float().mean().item()

    def _finish_epoch(self, number, seen):
        losses, accuracies, sizes = zip(*seen)
        means = [sum(v * n for v, n in zip(values, sizes)) / sum(sizes) for values in (losses, accuracies)]
        result = evaluate(self.model, self.validation) if self.validation is not None else None
        loss, accuracy = (result.loss, float(result)) if result is not None else (math.nan, math.nan)
        epoch = Epoch(number, *means, loss, accuracy, time.perf_counter() - self.began)
        self.epochs.append(epoch)
        if result is None or self.best is None or (accuracy, -loss) > (self.best.validation_accuracy, -self.best.validation_loss):
            self.best = epoch
            if result is not None:
                self.best_state = {key: value.clone() for key, value in self.model.state_dict().items()}


def _part_of_lr(step, steps):
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return (step + 1) / (warm + 1)
    return (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))) / 2


def _with_generator(augment):
    """`augment` as a function of images and generator; torchvision's transforms know no generator."""
    if augment is None or "generator" in inspect.signature(augment).parameters:
        return augment and (lambda images, generator: augment(images, generator=generator))
    return lambda images, generator: augment(images)


def _runs_in_bf16(precision, model, device):
    """As told; "auto" goes by what the hardware has and measures nothing, so that equal seeds give equal runs."""
    if precision != "auto":
        return precision == "bf16"
    return has_bf16(model, device) and (device.type != "cpu" or has_amx())


# ---------------------------------------------------------------- data, as sets of items or as pairs of tensors


def _is_pair(data):
    return isinstance(data, (tuple, list)) and len(data) == 2 and isinstance(data[0], torch.Tensor)


def _length(data):
    return len(data[0]) if _is_pair(data) else len(data)


def _batch(data, indices, device):
    if _is_pair(data):
        images, labels = data[0][indices], data[1][indices]
    elif hasattr(data, "batch"):
        images, labels = data.batch(indices)
    else:
        items = [data[int(i)] for i in indices]
        images, labels = torch.stack([image for image, _ in items]), torch.tensor([int(label) for _, label in items])
    return images.to(device, memory_format=torch.channels_last), labels.to(device)


def _checked_scores(scores, labels):
    if labels.max() >= scores.shape[1] or labels.min() < 0:
        raise ValueError(f"expected labels from 0 to {scores.shape[1] - 1}, the model's classes, got {labels.unique().tolist()}")
    return scores


# ---------------------------------------------------------------- the parts of a network, found


_OF_STAGES = {"features", "blocks", "stages", "layers", "encoder"}  # modules whose children are stages


def _head(model):
    """The last layer that scores, and its name: a linear one, or SqueezeNet's convolution."""
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
    if not layers:
        raise ValueError(f"expected a classifier that ends in a linear or convolutional layer, got {type(model).__name__}")
    return layers[-1]


def _parts(module, head, prefix=""):
    """Names and modules from the bottom up: the children of `module`, or theirs where a child only holds stages."""
    for name, child in module.named_children():
        path = prefix + name
        holds_head = path == head or head.startswith(f"{path}.")
        if name in _OF_STAGES or (holds_head and _has_convolutions(child, head.removeprefix(f"{path}."))):
            yield from _parts(child, head, f"{path}.")
        elif not holds_head:
            yield path, child


def _has_convolutions(module, head):
    return any(isinstance(each, nn.Conv2d) for name, each in module.named_modules() if name not in ("", head))


def _layer_like(old, outputs, seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        bias = old.bias is not None
        if isinstance(old, nn.Linear):
            new = nn.Linear(old.in_features, outputs, bias)
        else:
            new = nn.Conv2d(old.in_channels, outputs, old.kernel_size, old.stride, old.padding, bias=bias)
    return new.to(old.weight)


def _rows(reuse_rows, num_classes, n_old):
    """[(new row, old row)]."""
    if reuse_rows is None:
        return []
    if not isinstance(reuse_rows, dict):
        if len(reuse_rows) != num_classes:
            raise ValueError(f"expected reuse_rows with {num_classes} entries, one a new class, got {len(reuse_rows)}")
        reuse_rows = {row: old for row, old in enumerate(reuse_rows) if old is not None}
    for row in reuse_rows:
        if row not in range(num_classes):
            raise ValueError(f"expected reuse_rows for new classes 0 to {num_classes - 1}, got {row!r}")
    return [(row, _old_row(old, n_old)) for row, old in reuse_rows.items()]


def _old_row(old, n_old):
    if isinstance(old, str):
        names = list(models.VGG19_Weights.IMAGENET1K_V1.meta["categories"])
        if n_old != len(names):
            raise ValueError(f"expected numbers of old classes, for the head has {n_old} and not ImageNet's, got {old!r}")
        name = old if old in names else old.split(",")[0].strip()
        if name not in names:
            raise unknown_name("ImageNet class", old, names)
        return names.index(name)
    if old not in range(n_old):
        raise ValueError(f"expected old classes from 0 to {n_old - 1}, got {old!r}")
    return old


# ---------------------------------------------------------------- checks


def _check_whole(name, value, least):
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"expected {name} as an integer of at least {least}, got {value!r}")


def _check_settings(train, validation, epochs, lr, batch_size, precision):
    _check_whole("epochs", epochs, 1)
    _check_whole("batch_size", batch_size, 1)
    if not 0 < lr < math.inf:
        raise ValueError(f"expected a positive lr, got {lr!r}")
    if precision not in ("auto", "fp32", "bf16"):
        raise unknown_name("precision", precision, ["auto", "fp32", "bf16"])
    for name, data in (("train", train), ("validation", validation)):
        if data is not None and _length(data) == 0:
            raise ValueError(f"expected at least one image in {name}, got none")
