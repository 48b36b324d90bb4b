"""Training of a classifier for a few epochs, gently, and what it is worth."""

import math
import time
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from .engine import checks
from .engine.batches import batch_of, checked_scores, dataset_of, with_generator
from .engine.devices import PRECISIONS, best_device, seeded, trains_in_bf16
from .finetune import param_groups

WARM_UP = 0.1  # of all steps: a new head's first gradients are large and would shake what was learned


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
    """Train a classifier in place and leave it at its best epoch (lecture 15, "fine-tuning").

    AdamW; the small learning rate warms up over the first tenth of the steps and falls to zero along a cosine.

    Args:
        model: scores (B, classes) from images (B, 3, H, W) in [0, 1], such as `replace_head` returns.
        train: (image, label) items as `load_dataset` gives them, or a pair of tensors, images (N, 3, H, W) and labels.
        validation: the same, to choose the epoch by: highest accuracy, then lowest loss. None keeps the last epoch.
        epochs: passes over the training set.
        lr: highest learning rate of the body; `head_multiplier` times as much for the head.
        weight_decay: of AdamW.
        batch_size: images a step, at most; batches of an epoch differ by one image at most.
        augment: transform of a batch of training images, such as `Compose`; None for none.
        precision: "fp32", "bf16" or "auto": bf16 on GPUs that have it, and for networks without depthwise convolutions
            on CPUs with AMX, else fp32. Weights are fp32 in any case.
        seed: of the order, of the augmentation, and of dropout. Equal seeds give equal runs on one device.
        device: "auto", or a torch device; the model is moved there.
        callback: called with a FitStep after each step. A KeyboardInterrupt, there or anywhere, ends the training.
    Returns:
        History.
    Raises:
        ValueError: an empty set, a label that the head does not know, or a setting out of range.
        FloatingPointError: the loss became NaN or infinite.
    """
    train, validation = _checked(train, validation, epochs, lr, batch_size, precision)
    device, generator = best_device(device), torch.Generator().manual_seed(seed)
    augment, batches = with_generator(augment), math.ceil(len(train) / batch_size)
    log, interrupted = _Log(model.to(device), validation), False
    with seeded(seed, device):  # dropout, and transforms that know no generator
        bf16 = trains_in_bf16(precision, model, device)
        groups = param_groups(model, lr, head_multiplier=head_multiplier)
        # fused: one pass over all weights instead of one an operation
        optimizer = torch.optim.AdamW(groups, weight_decay=weight_decay, fused=device.type in ("cpu", "cuda"))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _part_of_lr(step, epochs * batches))
        try:
            log.add_epoch([(math.nan, math.nan, 1)])  # number 0, before training
            for epoch in range(1, epochs + 1):
                seen = []  # (loss, accuracy, images) of each batch
                for indices in torch.randperm(len(train), generator=generator).tensor_split(batches):
                    images, labels = batch_of(train, indices, device)
                    images = augment(images, generator)
                    seen.append(_step(model, images, labels, optimizer, schedule, bf16))
                    accuracy = log.add_epoch(seen) if len(seen) == batches else None
                    if callback:
                        done, loss = schedule.last_epoch, seen[-1][0]
                        callback(FitStep(done, epochs * batches, epoch, epochs, log.seconds(), loss, accuracy))
        except KeyboardInterrupt:
            interrupted = True
    return log.history(interrupted)


def _step(model, images, labels, optimizer, schedule, bf16):
    """Move the weights against the gradient of a batch's loss; (loss, accuracy, images), as they were before."""
    model.train()
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
        scores = checked_scores(model(images), labels).float()
    loss = F.cross_entropy(scores, labels)
    if not loss.isfinite():
        raise FloatingPointError(f"the loss is {loss.item()} at step {schedule.last_epoch + 1}: try a smaller lr")
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    return loss.item(), (scores.argmax(1) == labels).float().mean().item(), len(labels)


def _part_of_lr(step, steps):
    """The learning rate of a step over the highest one: a rising line, then a falling half of a cosine."""
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return (step + 1) / (warm + 1)
    return (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))) / 2


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
    data = dataset_of(data, "to evaluate")
    device, modes = next(model.parameters()).device, {module: module.training for module in model.modules()}
    model.eval()
    scores, labels = [], []
    try:
        with torch.inference_mode():
            for indices in torch.arange(len(data)).split(batch_size):
                images, y = batch_of(data, indices, device)
                scores.append(checked_scores(model(images), y).float().cpu())
                labels.append(y.cpu())
    finally:
        for module, mode in modes.items():
            module.training = mode
    scores, labels = torch.cat(scores), torch.cat(labels)
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


class _Log:
    """What a training has reached so far: its epochs, and the weights of the best of them."""

    def __init__(self, model, validation):
        self.model, self.validation, self.began = model, validation, time.perf_counter()
        self.epochs, self.best_epoch, self.best_score, self.best_state = [], 0, (-1, 0), None

    def add_epoch(self, batches):
        """From batches of (loss, accuracy, images): validate, keep the best; the accuracy in validation."""
        losses, accuracies, sizes = zip(*batches)
        means = [sum(v * n for v, n in zip(values, sizes)) / sum(sizes) for values in (losses, accuracies)]
        number, loss, accuracy = len(self.epochs), math.nan, math.nan
        if self.validation is not None:
            result = evaluate(self.model, self.validation)
            loss, accuracy = result.loss, result.accuracy
        self.epochs.append(Epoch(number, *means, loss, accuracy, self.seconds()))
        if self.validation is None:
            self.best_epoch = number
        elif (accuracy, -loss) > self.best_score:
            self.best_epoch, self.best_score = number, (accuracy, -loss)
            self.best_state = {key: value.clone() for key, value in self.model.state_dict().items()}
        return accuracy

    def history(self, interrupted):
        """Leave the model at its best epoch."""
        if self.best_state is not None:
            self.model.load_state_dict(self.best_state)
        self.model.eval()
        return History(self.epochs, self.best_epoch, self.seconds(), interrupted)

    def seconds(self):
        return time.perf_counter() - self.began


def _checked(train, validation, epochs, lr, batch_size, precision):
    """The two data sets, once all settings are right."""
    checks.whole("epochs", epochs, 1)
    checks.whole("batch_size", batch_size, 1)
    checks.choice("precision", precision, PRECISIONS)
    if not 0 < lr < math.inf:
        raise ValueError(f"expected a positive lr, got {lr!r}")
    return dataset_of(train, "in train"), None if validation is None else dataset_of(validation, "in validation")
