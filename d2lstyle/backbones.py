"""Pretrained networks under layer names: their features and their class scores.

Layer names are those of VGG in every network: `relu3_1` is an activation of the third resolution (the first is the
one nearest to the pixels), `conv3_1` the same place before its ReLU.
"""

import torch
from torch import nn

from .engine import checks
from .engine.devices import best_device, sent
from .engine.networks import MIN_SIDE, RECIPES, built, recipe_of
from .images import resize

TRAINING_SIDE = 224
FLOATS = {"dtype": torch.float32, "device": "cpu"}  # whatever the defaults are that a user has set


class Backbone(nn.Module):
    """A frozen network that gives features by layer name, and ImageNet scores.

    Attributes:
        name: of the network; what "auto" was resolved to.
        weights: as given to `backbone`: "imagenet", "torchvision", a path, or None for random ones.
        layers: all layer names, from the pixels up.
        content_layers, style_layers, style_weight: what `stylize` uses unless told otherwise; the weight belongs to
            the "relative" convention, was chosen by eye, and differs because some layers hold content harder.
        classes: the ImageNet class names in the order of the scores; empty for a network without a classifier.
    """

    def __init__(self, name, weights, model, recipe):
        super().__init__()
        self.name, self.weights, self._walk = name, weights, recipe.walk
        self.model = model.eval().requires_grad_(False)
        self.content_layers, self.style_layers = list(recipe.content_layers), list(recipe.style_layers)
        self.style_weight, self.classes = recipe.style_weight, list(recipe.classes())
        self.register_buffer("mean", torch.tensor(recipe.mean, **FLOATS).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(recipe.std, **FLOATS).view(3, 1, 1))
        self.layers = [layer for layer, _ in self._walk(self.model, self.mean.expand(1, 3, MIN_SIDE, MIN_SIDE))]
        self.eval()

    def forward(self, images, layers):
        """Features of a batch of images; nothing above the last layer asked for is computed.

        Args:
            images: (B, 3, H, W) in [0, 1], sides of at least 32 pixels, on any device.
            layers: names out of `self.layers`.
        Returns:
            {layer: (B, C, h, w)} in the order asked for, on the network's device.
        Raises:
            ValueError: an unknown layer, or images too small.
        """
        _check(images)
        for layer in layers:
            checks.choice(f"layer of {self.name}", layer, self.layers)
        features = dict.fromkeys(layers)
        missing = set(features)
        for layer, activation in self._walk(self.model, self._normalized(images)):
            if layer in missing:
                missing.remove(layer)
                # The ReLU that comes next may overwrite it: see `engine.prepare`.
                features[layer] = activation.clone() if missing and layer.startswith("conv") else activation
            if not missing:
                return features

    def logits(self, images):
        """ImageNet scores before the softmax.

        Args:
            images: (B, 3, H, W) in [0, 1]; where the longer side has more than 224 pixels they are scaled down to
                that, the size of training, because a network is unsure of what it sees twice as large.
        Returns:
            (B, 1000), in the order of `self.classes`, on the network's device.
        Raises:
            ValueError: the network has no classifier, or the images are too small.
        """
        if not self.classes:
            raise ValueError(
                f"{self.name} has no classifier: use efficientnet_lite0 or weights='torchvision' for scores"
            )
        _check(images)
        if max(images.shape[2:]) > TRAINING_SIDE:
            images = resize(images, TRAINING_SIDE)
        return self.model(self._normalized(images))

    def _normalized(self, images):
        dtype = next(self.model.parameters()).dtype  # of the first convolution, which reads them
        return ((sent(images, self.mean) - self.mean) / self.std).to(dtype)


def _check(images):
    if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[2:]) < MIN_SIDE:
        expected = f"expected images (B, 3, H, W) of at least {MIN_SIDE} x {MIN_SIDE} pixels"
        raise ValueError(f"{expected}, got {tuple(images.shape)}")
    checks.batch(images)


@torch.inference_mode(False)  # weights made in that mode would never let a gradient pass
def backbone(name="auto", *, device="auto", weights="imagenet", seed=0):
    """A pretrained network by name.

    Args:
        name: "vgg19" or "auto", Oxford's own network, and "efficientnet_lite0", several times as fast and with
            class scores: both are embedded and need no download. "vgg16", "squeezenet1_1" and "resnet18" are
            torchvision's.
        device: "auto" (cuda, then mps, then cpu) or a torch device.
        weights: "imagenet"; "torchvision", which for VGG-19 are others, trained anew, with class scores; the path of a
            state dict (.pth) of torchvision's network; or None for random weights, drawn from `seed`.
    Returns:
        Backbone, frozen, in evaluation mode.
    Raises:
        ValueError: an unknown name, a file that does not fit the network, or a device that this computer lacks.
        ConnectionError: the weights are neither on this computer nor within reach; the text says what to do.
    """
    device = best_device(device)
    name = "vgg19" if checks.choice("backbone", name, ["auto", *RECIPES]) == "auto" else name
    recipe = recipe_of(name, weights)
    net = Backbone(name, weights, built(recipe, name, weights, seed), recipe)
    return net.to(device, memory_format=torch.channels_last)
