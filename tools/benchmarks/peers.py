"""Peers: other programs' style transfer, each as a function that makes one step of one evaluation.

    tutorial      the method of PyTorch's tutorial, typed anew
    d2l           the method of the book's chapter on style transfer, typed anew
    pystiche      1.0.1, from the package registry
    neural-style  0.5.7, from the package registry: the loss modules of neural-style-pt
    stylemod      0.9.1, from the package registry

The last three are the extra `peers`. All get the weights of the same VGG `Backbone`, the same pictures and layers, and
take the optimiser that they recommend.
"""

import collections
import copy
import importlib
import os
import sys
import tempfile
from unittest import mock

import torch
from torch import nn

from . import tutorial


def d2l(net, content, style, content_layer, style_layers):
    """Means of squares, total variation, Adam over a module that holds the image; the network gathers gradients too."""
    model = _plain(net, style_layers[-1])
    wanted = {net.layers.index(layer): layer for layer in (content_layer, *style_layers)}
    model.requires_grad_(True)  # as a network is when it comes from the model zoo

    def features(x):
        activations = {}
        for index, module in enumerate(model):
            x = module(x)
            if index in wanted:
                activations[wanted[index]] = x
        return activations

    def gram(x):
        channels, positions = x.shape[1], x.numel() // x.shape[1]
        flat = x.reshape(channels, positions)
        return flat @ flat.T / (channels * positions)

    content, style = _normalized(net, content), _normalized(net, style)
    content_target = features(content)[content_layer].detach()
    style_targets = {layer: gram(x).detach() for layer, x in features(style).items() if layer in style_layers}
    image = nn.Parameter(content.clone())
    optimizer = torch.optim.Adam([image], lr=0.3)

    def step():
        activations = features(image)
        losses = [(activations[content_layer] - content_target).square().mean()]
        losses += [1e3 * (gram(activations[layer]) - style_targets[layer]).square().mean() for layer in style_layers]
        losses += [10 * 0.5 * (image.diff(dim=2).abs().mean() + image.diff(dim=3).abs().mean())]
        optimizer.zero_grad()
        sum(losses).backward()
        optimizer.step()

    return step


def pystiche(net, content, style, content_layer, style_layers):
    """Its perceptual loss over a multi-layer encoder, and L-BFGS."""
    with tempfile.TemporaryDirectory() as home, mock.patch.dict(os.environ, {"PYSTICHE_HOME": home}):
        for name in ("alexnet", "vgg"):  # torchvision dropped the addresses that pystiche reads when it is imported
            module = importlib.import_module(f"torchvision.models.{name}")
            if not hasattr(module, "model_urls"):
                module.model_urls = collections.defaultdict(str)
        from pystiche import enc, loss

    encoder = enc.MultiLayerEncoder(list(zip(net.layers, _plain(net, style_layers[-1]))))
    encoder.requires_grad_(False)
    content_loss = loss.FeatureReconstructionLoss(encoder.extract_encoder(content_layer))
    style_loss = loss.MultiLayerEncodingLoss(
        encoder, style_layers, lambda layer, weight: loss.GramLoss(layer, score_weight=weight), score_weight=1e3
    )
    criterion = loss.PerceptualLoss(content_loss, style_loss)
    criterion.set_content_image(_normalized(net, content))
    criterion.set_style_image(_normalized(net, style))
    return _lbfgs_step(_normalized(net, content), lambda image: criterion(image).total())


def neural_style(net, content, style, content_layer, style_layers):
    """Loss modules that sit in the network and capture their targets, total variation, and L-BFGS."""
    with mock.patch.object(sys, "argv", ["neural-style"]):  # it reads the command line when it is imported
        from neural_style import neural_style as engine

    total_variation = engine.TVLoss(1e-3)
    model, losses = nn.Sequential(total_variation), {}
    for name, module in zip(net.layers, _plain(net, style_layers[-1])):
        model.append(module)
        if name == content_layer or name in style_layers:
            losses[name] = engine.ContentLoss(5.0) if name == content_layer else engine.StyleLoss(100.0)
            model.append(losses[name])
    for picture, layers in ((content, [content_layer]), (style, style_layers)):
        for name, module in losses.items():
            module.mode = "capture" if name in layers else "None"
        model(_normalized(net, picture))
    for module in losses.values():
        module.mode = "loss"
    model.requires_grad_(False)

    def loss(image):
        model(image)
        return total_variation.loss + sum(module.loss for module in losses.values())

    return _lbfgs_step(_normalized(net, content), loss)


def stylemod(net, content, style, content_layer, style_layers):
    """Its VGG-19 model, which computes the features of every layer once for each term, and Adam."""
    from stylemod.models.vgg19 import VGG19

    model = VGG19(
        model_fn=lambda weights: _plain(net, net.layers[-1]),
        weights=None,
        content_layer=str(net.layers.index(content_layer)),
        style_weights={str(net.layers.index(layer)): 1.0 for layer in style_layers},
    )
    content, style = (model.normalize_tensor(picture.cpu()).to(picture) for picture in (content, style))
    targets = model.get_features(content, [model.content_layer]), model.get_features(style, model.style_layers)
    image = content.clone().requires_grad_()
    optimizer = torch.optim.Adam([image], lr=model.learning_rate)

    def step():
        optimizer.zero_grad()
        model.forward(image, content, style, *targets).backward()
        optimizer.step()

    return step


PEERS = {
    "tutorial": tutorial.steps,
    "d2l": d2l,
    "pystiche": pystiche,
    "neural-style": neural_style,
    "stylemod": stylemod,
}


def _plain(net, last_layer):
    """The network as a peer would have it: fp32, NCHW, up to a layer."""
    modules = list(net.model.features)[: net.layers.index(last_layer) + 1]
    return nn.Sequential(*copy.deepcopy(modules)).to(memory_format=torch.contiguous_format)


def _normalized(net, picture):
    return ((picture - net.mean) / net.std).contiguous()


def _lbfgs_step(start, loss):
    image = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([image], max_iter=1)

    def closure():
        optimizer.zero_grad()
        total = loss(image)
        total.backward()
        return total

    return lambda: optimizer.step(closure)
