"""A frozen network made ready for thousands of passes: the same features for less work."""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from .networks import set_inplace


def prepared(net, dtype=torch.float32):
    """A copy of a `Backbone`, whose features agree to the rounding of `dtype`; `net` itself is not changed.

    Norms are folded into convolutions, weights cast once and not in each pass, and activations overwrite their input.
    """
    # Parameters that stay as they were are shared with `net`.
    copied = copy.deepcopy(net, {id(parameter): parameter for parameter in net.parameters()})
    modules = list(copied.model.modules())
    for module in modules:
        _fold_norms(module)
    for module in modules:
        if isinstance(module, nn.Conv2d):
            _set_weights(module, module.weight.to(dtype), None if module.bias is None else module.bias.to(dtype))
    set_inplace(copied.model, True)
    return copied


def _fold_norms(module):
    """In these networks the norms of a block follow its convolutions one by one."""
    convolutions = [child for child in module.children() if isinstance(child, nn.Conv2d)]
    norms = [(name, child) for name, child in module.named_children() if isinstance(child, nn.BatchNorm2d)]
    for convolution, (name, norm) in zip(convolutions, norms):
        statistics = norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        _set_weights(convolution, *fuse_conv_bn_weights(convolution.weight, convolution.bias, *statistics))
        setattr(module, name, getattr(norm, "act", nn.Identity()))


def _set_weights(convolution, weight, bias):
    convolution.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last), requires_grad=False)
    convolution.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
