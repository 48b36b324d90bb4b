"""Batches for training and tests: out of what a caller gives, checked where that waits for no GPU."""

import inspect

import torch
from torch.utils.data import DataLoader, TensorDataset, default_collate

from . import checks
from .devices import sent


def dataset_of(data, purpose):
    """What a caller gives as a torch data set, tensors being checked as a whole; else a ValueError."""
    data = data.tensors if isinstance(data, TensorDataset) else data
    if isinstance(data, DataLoader):
        raise ValueError("expected a data set, got a DataLoader: give its .dataset, for batches are made here")
    has_items = hasattr(data, "__len__") and (hasattr(data, "batch") or hasattr(data, "__getitem__"))
    if not has_items or isinstance(data, (str, dict)):
        got = type(data).__name__
        raise ValueError(f"expected a pair of images and labels, or a data set with a length, got {got}")
    if len(data) == 0:
        raise ValueError(f"expected at least one image {purpose}, got none")
    if isinstance(data, (tuple, list)) and len(data) == 2 and not isinstance(data[0], (tuple, list)):
        images, labels = data
        if isinstance(images, torch.Tensor) and len(images) == 0:
            raise ValueError(f"expected at least one image {purpose}, got none")
        checks.batch(images, channels=None)
        checks.scale(images)
        data = TensorDataset(images.detach(), checks.labels(labels, len(images)))
    return data


def batch_of(data, indices, place):
    """Images like the tensor `place`, and their labels on the CPU; of a GPU's, items' labels alone are waited for."""
    if isinstance(data, TensorDataset):
        images, labels = data.tensors
        images, labels = images[sent(indices, images, torch.long)], labels[indices]
    else:
        images, labels = data.batch(indices) if hasattr(data, "batch") else _collated([data[int(i)] for i in indices])
        checks.batch(images, channels=None)
        checks.scale(images)
        labels = checks.labels(labels, len(images))
    images = pinned(images.to(place.dtype), place) if images.is_cpu else images
    return sent(images, place).contiguous(memory_format=torch.channels_last), labels


def pinned(tensor, place):
    """A tensor of the CPU, for CUDA in memory from which it is sent while the program goes on."""
    return tensor.pin_memory() if place.is_cuda else tensor


def _collated(items):
    try:
        images, labels = zip(*items)
        return default_collate(images), labels
    except (TypeError, ValueError, RuntimeError):
        kinds = (
            [getattr(part, "shape", type(part).__name__) for part in items[0]] if isinstance(items[0], tuple) else ""
        )
        expected = "expected items (image, label) whose images are tensors (3, H, W) of one size"
        got = f"{type(items[0]).__name__} {kinds}".strip()
        raise ValueError(f"{expected}, got {got}: give the data set a transform such as torchvision's") from None


def all_labels(data):
    """(N,) labels of a data set, read item by item where it does not hold them as ours do."""
    if isinstance(data, TensorDataset):
        return data.tensors[1]
    if hasattr(data, "batch"):
        return checks.labels(data.labels, len(data))
    return checks.labels([data[i][1] for i in range(len(data))], len(data))


def with_generator(augment):
    """`augment`, or None, as a function of images and generator; torchvision's transforms know no generator."""
    if augment is None:
        return lambda images, generator: images
    if "generator" in inspect.signature(augment).parameters:
        return lambda images, generator: augment(images, generator=generator)
    return lambda images, generator: augment(images)


def scores_of(model, images, labels):
    """Scores (B, classes), once they and the labels, on the CPU, fit each other; else a ValueError."""
    scores = model(images)
    if not isinstance(scores, torch.Tensor) or scores.ndim != 2 or len(scores) != len(labels) or scores.shape[1] < 2:
        got = tuple(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
        expected = f"expected a model that gives scores ({len(labels)}, classes) of two classes or more"
        raise ValueError(f"{expected}, got {got}: see replace_head")
    if labels.max() >= scores.shape[1]:
        expected = f"expected labels from 0 to {scores.shape[1] - 1}, the model's classes"
        raise ValueError(f"{expected}, got {labels.unique().tolist()}")
    return scores
