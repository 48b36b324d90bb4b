"""What tests of fine-tuning and of training share: models of a moment, and images to tell apart."""

import torch
from torch import nn


def tiny(seed=0):
    """A net of two stages and a head, with batch normalisation and dropout."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential()
        first = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)
        second = nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        model.features, model.dropout, model.fc = nn.Sequential(*first, *second), nn.Dropout(0.2), nn.Linear(4, 2)
    return model


def linear(outputs=2):
    """A net that is its head, and starts from zero."""
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, outputs))
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    return model


def colours(n=40, side=12, seed=0):
    """Reddish and bluish images, and which they are."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    images = 0.6 * torch.rand(n, 3, side, side, generator=generator)
    images[labels == 0, 0] += 0.4
    images[labels == 1, 2] += 0.4
    return images, labels


def weights(model):
    """All that a model holds, in a row."""
    return torch.cat([value.flatten().double() for value in model.state_dict().values()])
