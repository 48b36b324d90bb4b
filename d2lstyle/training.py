"""Training of a classifier for a few epochs, gently, and what it is worth."""

import copy
import math
import time
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.parameter import is_lazy

from .backbones import Backbone
from .engine import checks
from .engine.batches import all_labels, batch_of, dataset_of, pinned, scores_of, with_generator
from .engine.devices import PRECISIONS, best_device, kernels, seeded, sent, trains_in_bf16
from .engine.later import READ_EVERY, Fetching, Later
from .finetune import param_groups

WARM_UP = 0.1  # of all steps: a new head's first gradients are large and would shake what was learned


@torch.inference_mode(False)  # a caller in that mode, or under no_grad, has no graph in mind; this needs one
def fit(
    model,
    train,
    validation=None,
    *,
    epochs=5,
    lr=3e-4,
    head_multiplier=10,
    weight_decay=0.01,
    batch_size=32,
    class_weights=None,
    augment=None,
    precision="auto",
    seed=0,
    device="auto",
    callback=None,
):
    """Train a classifier in place and leave it at its best epoch (lecture 15, "fine-tuning").

    AdamW; the small learning rate warms up over the first tenth of the steps and falls to zero along a cosine. The
    model is left in evaluation mode; after an error its layers are in the modes that they had, and at the best epoch.

    Args:
        model: scores (B, classes) from images (B, 3, H, W) in [0, 1], such as `replace_head` returns. A normalisation
            is part of it.
        train: (image, label) items as `load_dataset` gives them, or a pair: images (N, 3, H, W) and N labels, class
            numbers from 0 on in a list, an array or a tensor, or one-hot rows (N, classes).
        validation: the same, to choose the epoch by: highest accuracy, then lowest loss. None keeps the last epoch.
        epochs: passes over the training set.
        lr: highest learning rate of the body; `head_multiplier` times as much for the head, see `param_groups`.
        weight_decay: of AdamW.
        batch_size: images a step, at most; batches of an epoch differ by one image at most.
        class_weights: what an image of each class counts in the training loss, a weighted mean: a list with one number
            a class; "balanced", N / (classes * images of the class); None for all alike.
        augment: transform of a batch of training images, such as `Compose`; None for none. It is handed images, and a
            generator if it takes one, on the model's device.
        precision: "fp32", "tf32" (on NVIDIA's GPUs from Ampere on, else fp32), "bf16" or "auto": bf16 on GPUs that have
            it, and for networks without depthwise convolutions on CPUs with AMX, else fp32. Weights are fp32 in any
            case.
        seed: of the order, of the augmentation, and of dropout. Equal seeds give equal runs on one device.
        device: "auto", or a torch device; the model is moved there.
        callback: called with a FitStep after each step, for which a GPU is waited for only if the callback reads its
            loss. A KeyboardInterrupt, there or anywhere, ends the training.
    Returns:
        History.
    Raises:
        TypeError, ValueError: an empty set, images or labels that are not as said above, a label that the head does
            not know, a model that cannot be trained, or a setting out of range.
        FloatingPointError: the loss, or a score in validation, became NaN or infinite; on a GPU that is found out after
            some steps more.
    """
    train, validation = _checked(train, validation, epochs, batch_size, precision, weight_decay)
    weights, device, seed = _class_weights(class_weights, train), best_device(device), checks.seed(seed)
    groups = param_groups(_trainable(model).to(device), lr, head_multiplier=head_multiplier)
    log, interrupted = _Log(model, validation), False
    try:
        place, order = _place_of(model), torch.Generator().manual_seed(seed)
        chance = order if device.type == "cpu" else torch.Generator(device).manual_seed(seed)
        # fused: one pass over all weights instead of one an operation
        optimizer = torch.optim.AdamW(groups, weight_decay=weight_decay, fused=device.type in ("cpu", "cuda"))
        batches = math.ceil(len(train) / batch_size)
        steps = epochs * batches
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _part_of_lr(step, steps))
        bf16, draws = trains_in_bf16(precision, model, device), seeded(seed)
        step = _Step(model, optimizer, schedule, with_generator(augment), chance, weights, bf16, draws)
        with kernels(device, precision):
            log.add_epoch(math.nan, math.nan)  # number 0, before training
            for epoch in range(1, epochs + 1):
                seen = _Seen(schedule.last_epoch)
                for indices in torch.randperm(len(train), generator=order, device="cpu").tensor_split(batches):
                    loss = seen.add(step(*batch_of(train, indices, place)), len(indices))
                    accuracy = log.add_epoch(*seen.means()) if len(seen.sizes) == batches else None
                    if callback:
                        callback(FitStep(schedule.last_epoch, steps, epoch, epochs, log.seconds(), loss, accuracy))
    except KeyboardInterrupt:
        interrupted = True
    except BaseException:
        log.restore()
        raise
    return log.history(interrupted)


@dataclass
class _Step:
    """Moves the weights against the gradient of a batch's loss; all that this takes."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: object
    augment: object
    generator: torch.Generator
    weights: object  # of the classes, or a function of scores that gives them
    bf16: bool
    draws: seeded  # of dropout, and of transforms that know no generator

    def __call__(self, images, labels):
        """(loss, accuracy), (2,) on the device, as they were before."""
        # It takes time to look out for random numbers: after a first step without any there will be none.
        with self.draws if self.schedule.last_epoch == 0 or self.draws.generators else nullcontext():
            return self._move(self.augment(images, self.generator), labels)

    def _move(self, images, labels):
        self.model.train()
        kind = images.device.type
        has_bf16 = self.bf16 or torch.amp.is_autocast_available(kind)  # on other kinds of devices it cannot be on
        with torch.autocast(kind, torch.bfloat16, enabled=self.bf16) if has_bf16 else nullcontext():
            scores = scores_of(self.model, images, labels).float()
        if callable(self.weights):
            self.weights = self.weights(scores)
        guesses = scores.argmax(1)
        labels = sent(pinned(labels, guesses), guesses)
        loss = F.cross_entropy(scores, labels, self.weights)
        hits = (guesses == labels).float().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return torch.stack([loss.detach(), hits])


class _Seen:
    """Loss and accuracy of each batch of an epoch; those on a GPU are read many at once."""

    def __init__(self, done):
        self.done, self.unread, self.read, self.sizes = done, [], [], []

    def add(self, values, size):
        """Loss and accuracy, (2,), of a batch of `size` images; returns the loss, to be fetched."""
        self.unread.append(values)
        self.sizes.append(size)
        if values.is_cpu or len(self.unread) == READ_EVERY:
            self._look()
        return Later(values[0].item)

    def means(self):
        """[loss, accuracy] over all images."""
        self._look()
        return [sum(v * n for v, n in zip(column, self.sizes)) / sum(self.sizes) for column in zip(*self.read)]

    def _look(self):
        values, self.unread = torch.stack(self.unread).tolist() if self.unread else [], []
        for loss, accuracy in values:
            self.read.append((loss, accuracy))
            if not math.isfinite(loss):
                step = self.done + len(self.read)
                raise FloatingPointError(f"the loss is {loss} at step {step}: try a smaller lr")


def _part_of_lr(step, steps):
    """The learning rate of a step over the highest one: a rising line, then a falling half of a cosine."""
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return (step + 1) / (warm + 1)
    return (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))) / 2


def evaluate(model, data, *, batch_size=100):
    """Accuracy of a classifier on a data set, computed where the model is; nothing is augmented.

    Args:
        model, data: as for `fit`.
        batch_size: images a pass; all scores, (N, classes), wait on the device for the end.
    Returns:
        Evaluation, on the CPU: the accuracy as a float, with loss, labels, probabilities and predictions.
    Raises:
        TypeError, ValueError: as for `fit`.
        FloatingPointError: a score is NaN or infinite.

    >>> evaluate(nn.Flatten(), (torch.eye(3).view(3, 3, 1, 1), [0, 1, 1]))
    0.666...
    """
    checks.whole("batch_size", batch_size, 1)
    data, place = dataset_of(data, "to evaluate"), _place_of(model)
    modes = _modes(model)
    model.eval()
    scores, labels = [], []
    try:
        with torch.inference_mode():
            for indices in torch.arange(len(data), device="cpu").split(batch_size):
                images, y = batch_of(data, indices, place)
                scores.append(scores_of(model, images, y).float())
                labels.append(y)
    finally:
        _set_modes(modes)
    scores, labels = torch.cat(scores).cpu(), torch.cat(labels)
    if wrong := (~scores.isfinite().all(1)).sum().item():
        raise FloatingPointError(f"the scores of {wrong} of {len(scores)} images are NaN or infinite")
    return Evaluation(labels, scores.softmax(1), F.cross_entropy(scores, labels).item())


class Evaluation(float):
    """The accuracy, a float in [0, 1], with what it was counted from.

    Attributes:
        accuracy: the same number.
        loss: mean cross-entropy, in nats.
        labels: (N,), the truth.
        probabilities: (N, classes).
        predictions: (N,), the likeliest class of each.
    """

    accuracy = property(float)
    predictions = property(lambda self: self.probabilities.argmax(1))

    def __new__(cls, labels, probabilities, loss):
        self = super().__new__(cls, (probabilities.argmax(1) == labels).double().mean().item())
        self.labels, self.probabilities, self.loss = labels, probabilities, loss
        return self

    def __getnewargs__(self):  # what copies and pickles are made from
        return self.labels, self.probabilities, self.loss


@dataclass(frozen=True)
class FitStep(Fetching):
    """What a training step reports; `validation` is the accuracy after an epoch's last step, and None elsewhere.

    The loss stays on the device until it is read, as a float; then the program waits for a GPU.
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    seconds: float
    loss: float
    validation: float | None = None

    def __str__(self):
        return f"epoch {self.epoch} of {self.epochs}, loss {self.loss:.3f}"


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


class _Log:
    """What a training has reached so far: its epochs, and the weights of the best of them."""

    def __init__(self, model, validation):
        self.model, self.validation, self.began = model, validation, time.perf_counter()
        self.epochs, self.best_epoch, self.best_score, self.modes = [], 0, (-1, 0), _modes(model)
        self.best_state = copy.deepcopy(model.state_dict())

    def add_epoch(self, train_loss, train_accuracy):
        """Validate, keep the best; the accuracy in validation."""
        number, loss, accuracy, state = len(self.epochs), math.nan, math.nan, self.model.state_dict()
        if _lost(self.best_state, state):
            raise FloatingPointError(f"weights became NaN or infinite in epoch {number}: try a smaller lr")
        if self.validation is not None:
            result = evaluate(self.model, self.validation)
            loss, accuracy = result.loss, result.accuracy
        self.epochs.append(Epoch(number, train_loss, train_accuracy, loss, accuracy, self.seconds()))
        if self.validation is None or (accuracy, -loss) > self.best_score:
            self.best_epoch, self.best_score, self.best_state = number, (accuracy, -loss), copy.deepcopy(state)
        return accuracy

    def restore(self):
        """The model at its best epoch, or as it was, and its layers in the modes that they had."""
        self.model.load_state_dict(self.best_state)
        self.model.zero_grad()
        _set_modes(self.modes)

    def history(self, interrupted):
        self.restore()
        self.model.eval()
        return History(self.epochs, self.best_epoch, self.seconds(), interrupted)

    def seconds(self):
        return time.perf_counter() - self.began


def _lost(before, after):
    """Whether a number of a model's state was finite and no longer is; asked for all at once, as there are hundreds."""
    names = [name for name, value in after.items() if torch.is_tensor(value) and value.is_floating_point()]
    before, after = (torch.cat([state[name].flatten() for name in names]) for state in (before, after))
    return bool((before.isfinite() & ~after.isfinite()).any())


def _modes(model):
    return {module: module.training for module in model.modules()}


def _set_modes(modes):
    for module, mode in modes.items():
        module.training = mode


def _checked(train, validation, epochs, batch_size, precision, weight_decay):
    """The two data sets, once all settings are right."""
    checks.whole("epochs", epochs, 1)
    checks.whole("batch_size", batch_size, 1)
    checks.choice("precision", precision, PRECISIONS)
    checks.number("weight_decay", weight_decay, 0)
    return dataset_of(train, "in train"), None if validation is None else dataset_of(validation, "in validation")


def _place_of(model):
    """A tensor of the kind that a classifier's images must be: its first weight, on its device, in its type."""
    if not isinstance(model, nn.Module) or isinstance(model, Backbone):
        got = type(model).__name__
        raise TypeError(f"expected a classifier that gives scores (B, classes), got {got}: see replace_head")
    weights = [*model.parameters(), *model.buffers()]
    if any(map(is_lazy, weights)):
        raise ValueError("expected a model whose layers have their shapes: call it with a batch of images first")
    return next(filter(torch.is_floating_point, weights), torch.empty(0, dtype=torch.float32, device="cpu"))


def _trainable(model):
    """The model, if its weights can be trained."""
    place = _place_of(model)
    if place.dtype not in (torch.float32, torch.float64) or place.is_meta or place.is_inference():
        kind = "made in inference mode" if place.is_inference() else f"of {place.dtype} on {place.device}"
        raise ValueError(f"expected a model with weights in float32, outside of inference mode, got one {kind}")
    return model


def _class_weights(class_weights, data):
    """A function of scores (B, classes) that gives the weights of their classes beside them; None for equal ones."""
    if class_weights is None:
        return None
    if isinstance(class_weights, str):
        checks.choice("class_weights", class_weights, ["balanced"])
        counts = all_labels(data).bincount().double()
        balanced = counts.sum() / ((counts > 0).sum() * counts.clamp(min=1))  # a class without images weighs nothing
        return lambda scores: sent(F.pad(balanced, (0, scores.shape[1] - len(counts))), scores)
    return lambda scores: sent(checks.per_image("class_weights", class_weights, scores.shape[1], low=1e-6), scores)
