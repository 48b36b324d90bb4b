"""Training of a classifier for a few epochs, gently, and what it is worth."""

import inspect
import math
import time
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from .engine import checks
from .engine.devices import best_device, seeded, trains_in_bf16
from .finetune import param_groups

WARM_UP = 0.1  # of all steps: a new head's first gradients are large and would shake what was learned


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
    augment=None,
    precision="auto",
    seed=0,
    device="auto",
    callback=None,
):
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
    with seeded(seed, device):  # dropout, and transforms that know no generator
        run.bf16 = trains_in_bf16(precision, model, device)
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
        if (
            result is None
            or self.best is None
            or (accuracy, -loss) > (self.best.validation_accuracy, -self.best.validation_loss)
        ):
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
        raise ValueError(
            f"expected labels from 0 to {scores.shape[1] - 1}, the model's classes, got {labels.unique().tolist()}"
        )
    return scores


def _check_settings(train, validation, epochs, lr, batch_size, precision):
    checks.whole("epochs", epochs, 1)
    checks.whole("batch_size", batch_size, 1)
    if not 0 < lr < math.inf:
        raise ValueError(f"expected a positive lr, got {lr!r}")
    checks.choice("precision", precision, ("auto", "fp32", "bf16"))
    for name, data in (("train", train), ("validation", validation)):
        if data is not None and _length(data) == 0:
            raise ValueError(f"expected at least one image in {name}, got none")
