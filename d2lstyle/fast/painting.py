"""Style transfer in one pass, and styles that are read once and mixed many times."""

import math

import numpy as np
import torch

from ..backbones import MIN_SIDE
from ..engine import checks
from ..engine.devices import sent
from ..images import resize
from ..mixing import StyleMix, style_size
from .network import fast_network

LEAST_READ, READ, PAINTED = 128, 512, 384  # pixels: the network has learned from large pictures, see `enlarged`


def fast_stylize(content, style, *, style_weights=None, alpha=1.0, net=None, device="auto"):
    """Paint the content in the style in one pass: a rougher picture than `stylize` finds, hundreds of times sooner.

    Args:
        content: (B, 3, H, W) in [0, 1], sides of at least 32 pixels; up to 384 pixels they are painted larger and
            shrunk again, see `enlarged`. A batch equals B calls.
        style: (1, 3, h, w), or (B, 3, h, w) for a style to each content, or a list of such, to be mixed. It is
            read with a longer side of 128 to 512 pixels, or of the content's if that is more.
        style_weights: proportions of a list's styles, any scale; None for equal parts. A row of them for each content,
            (B, styles), gives each its own mixture.
        alpha: strength in [0, 1], a number, or (B,) for each content its own: how far from the content, at 0, to the
            painted picture, at 1, each pixel goes.
        net: a `Backbone` on whose device to paint, or its name, or None: the painter is a network of its own.
        device: as in `backbone`; not read where net is a `Backbone`.
    Returns:
        (B, 3, H, W) in [0, 1], on the CPU.
    Raises:
        TypeError, ValueError: an argument is not as said above.
        FileNotFoundError: the network's weights are missing.

    Source: the network of Ghiasi et al. 2017, "Exploring the structure of a real-time, arbitrary neural artistic
    stylization network", as Magenta published it; AdaIN is of Huang and Belongie 2017. Several styles are mixed by the
    numbers in which the network reads them, as there.
    """
    content = checks.image(content, "content")
    if min(content.shape[2:]) < MIN_SIDE:
        raise ValueError(f"expected content of at least {MIN_SIDE} x {MIN_SIDE} pixels, got {tuple(content.shape)}")
    mixture = StyleMix(style, style_weights, batch=len(content))
    alpha = checks.per_image("alpha", alpha, len(content), 0, 1)
    bank = StyleBank(mixture.styles, device if net is None or isinstance(net, str) else net.mean.device)
    return bank.paint(content, mixture.weights, alpha).cpu()


class StyleBank:
    """A list of styles (1 or B, 3, H, W) for the fast network, which sees each of them once for each size of images."""

    def __init__(self, styles, device="auto"):
        self.styles, self.device, self._codes = styles, device, {}

    @torch.no_grad()
    def paint(self, images, shares, alpha):
        """Images (B, 3, H, W) in mixtures, shares (1 or B, styles) whose rows add up to one, at strengths (B,)."""
        model, shape = fast_network(self.device), images.shape[2:]
        side = enlarged(max(shape), PAINTED)
        if side not in self._codes:
            read = max(LEAST_READ, enlarged(side, READ))
            resized = [resize(style, style_size(style.shape[2:], read)) for style in self.styles]
            codes = torch.broadcast_tensors(*[model.codes(style) for style in resized])
            self._codes[side] = torch.stack(codes)  # (styles, 1 or B, 100)
        codes = self._codes[side]
        images, mixed = sent(images, codes), (sent(shares, codes).T[..., None] * codes).sum(0)
        painted = resize(model(resize(images, side), mixed), tuple(shape))
        return images.lerp(painted, sent(alpha, codes).view(-1, 1, 1, 1))


def enlarged(side, most):
    """1.5 times so many pixels, but no more than `most`, unless there are more.

    Painted at 96 pixels a face is lost; at 144, and then shrunk, it is not. By VGG-19's losses, too, pictures of 64 to
    256 pixels are best if painted at 1.5 times their size, in a style that is read at 1.5 times that.
    """
    return max(side, min(3 * side // 2, most))


def draw_shares(rng, n_styles, mixture):
    """(n_styles,) proportions from a numpy generator: a Dirichlet draw, or one style alone where `mixture` is 0."""
    return rng.dirichlet([mixture] * n_styles) if mixture else np.eye(n_styles)[rng.integers(n_styles)]


def strengths(alpha, most=math.inf):
    """(lowest, highest) of a strength, or of such a pair; a ValueError where they leave [0, most]."""
    if isinstance(alpha, (tuple, list)):
        return checks.number_range("alpha", alpha, 0, most)
    return (checks.number("alpha", alpha, 0, most),) * 2
