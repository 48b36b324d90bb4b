"""Batches for training and tests: out of what a caller gives, on the device that computes."""

import inspect

import torch
from torch.utils.data import TensorDataset, default_collate


def dataset_of(data, purpose):
    """What a caller gives as a torch data set; a ValueError if it is empty."""
    if isinstance(data, (tuple, list)) and len(data) == 2 and isinstance(data[0], torch.Tensor):
        data = TensorDataset(*data)
    if len(data) == 0:
        raise ValueError(f"expected at least one image {purpose}, got none")
    return data


def batch_of(data, indices, device):
    if isinstance(data, TensorDataset):
        images, labels = data[indices]
    elif hasattr(data, "batch"):
        images, labels = data.batch(indices)
    else:
        images, labels = default_collate([data[int(i)] for i in indices])
        labels = labels.long()  # they may be booleans, or numpy's small integers
    return images.to(device, memory_format=torch.channels_last), labels.to(device)


def with_generator(augment):
    """`augment`, or None, as a function of images and generator; torchvision's transforms know no generator."""
    if augment is None:
        return lambda images, generator: images
    if "generator" in inspect.signature(augment).parameters:
        return lambda images, generator: augment(images, generator=generator)
    return lambda images, generator: augment(images)


def checked_scores(scores, labels):
    if labels.max() >= scores.shape[1] or labels.min() < 0:
        expected = f"expected labels from 0 to {scores.shape[1] - 1}, the model's classes"
        raise ValueError(f"{expected}, got {labels.unique().tolist()}")
    return scores
