"""A peer: the method of PyTorch's style-transfer tutorial, typed anew from its description.

Losses sit as modules in a sequential network behind convolutions and compare with means; the image is clamped before
each evaluation; everything is fp32 in NCHW order.
"""

import torch
import torch.nn.functional as F
from torch import nn

STYLE_WEIGHT = 1e6  # content has 1


class _Content(nn.Module):
    def __init__(self, target):
        super().__init__()
        self.target = target.detach()

    def forward(self, x):
        self.loss = F.mse_loss(x, self.target)
        return x


class _Style(nn.Module):
    def __init__(self, target):
        super().__init__()
        self.target = _gram(target).detach()

    def forward(self, x):
        self.loss = F.mse_loss(_gram(x), self.target)
        return x


class _Normalize(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.mean, self.std = net.mean.clone(), net.std.clone()

    def forward(self, x):
        return (x - self.mean) / self.std


def _gram(x):
    batch, channels, height, width = x.shape
    flat = x.view(batch * channels, height * width)
    return (flat @ flat.t()) / (batch * channels * height * width)


def objective(net, content, style, content_layer, style_layers):
    """The loss that the tutorial minimises, as a function of the image.

    Args:
        net: a VGG `Backbone`, whose weights are copied.
        content, style: (1, 3, H, W) of one size.
        content_layer, style_layers: names of convolutions, such as "conv4_2".
    """
    model, losses = _model(net, content, style, content_layer, style_layers)

    def total(image):
        model(image)
        return sum(layer.loss * (STYLE_WEIGHT if isinstance(layer, _Style) else 1) for layer in losses)

    return total


def steps(net, content, style, content_layer, style_layers):
    """A function that makes one L-BFGS step and returns the loss before it; arguments as in `objective`."""
    loss = objective(net, content, style, content_layer, style_layers)
    image = content.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([image], max_iter=1)

    def closure():
        with torch.no_grad():
            image.clamp_(0, 1)
        optimizer.zero_grad()
        total = loss(image)
        total.backward()
        return total

    return lambda: optimizer.step(closure)


def _model(net, content, style, content_layer, style_layers):
    """The network up to the last loss, and its loss modules."""
    model, losses, names = nn.Sequential(_Normalize(net)), [], iter(net.layers)
    wanted = {content_layer, *style_layers}
    for module in net.model.features:
        name = next(names)
        if isinstance(module, nn.Conv2d):
            copy = nn.Conv2d(module.in_channels, module.out_channels, 3, padding=1).requires_grad_(False)
            copy.load_state_dict({key: value.contiguous() for key, value in module.state_dict().items()})
            module = copy.to(net.mean.device)
        model.append(module)
        for kind, layers, image in ((_Content, [content_layer], content), (_Style, style_layers, style)):
            if name in layers:
                losses.append(kind(model(image)))
                model.append(losses[-1])
        wanted.discard(name)
        if not wanted:
            return model, losses
