"""Style transfer while training: a transform that paints with the fast network, and the styles it paints in."""

import numpy as np
import torch

from ..samples.paintings import painting_names
from ..samples.styles import named_styles
from .network import fast_network, mixed_statistics, scaled_style


class RandomStyle:
    """Paint each image with probability `p`, in a mixture of styles and a strength of its own.

    Args:
        p: probability, in [0, 1]; at 0 images pass untouched and no random number is drawn.
        alpha: strength in [0, 1], a number, or (lowest, highest), drawn uniformly.
        styles: list of files, names of embedded paintings or photos, or tensors (1, 3, H, W); None for all paintings.
        mixture: concentration of the Dirichlet distribution that draws the proportions of the styles; 0 for one style an
            image.
        device: where to paint, as in `backbone`.
    Raises:
        TypeError, ValueError: an argument is not as said above.

    Shinde, section 4, beside classical augmentation; Jackson et al. 2019, "Style augmentation".

    >>> RandomStyle(0.5, alpha=0.8, styles=["starry", "mosaic"])
    RandomStyle(p=0.5, alpha=(0.8, 0.8), styles=['starry', 'mosaic'], mixture=0.2)
    """

    def __init__(self, p=0.5, alpha=(0.3, 1.0), styles=None, *, mixture=0.2, device="auto"):
        if not 0 <= p <= 1:
            raise ValueError(f"expected p in [0, 1], got {p!r}")
        self.p, self.alpha, self.mixture = p, strengths(alpha), mixture
        if self.alpha[1] > 1:
            raise ValueError(f"expected alpha in [0, 1], got {alpha!r}")
        if not 0 <= mixture < float("inf"):
            raise ValueError(f"expected mixture of zero or more, got {mixture!r}")
        self.bank = StyleBank(named_styles(painting_names() if styles is None else styles), device)

    def draw(self, images, generator=None):
        """{"painted": (B,) bool, "shares": (B, styles), "alpha": (B,)}"""
        seed = int(torch.randint(2**62, (), generator=generator))
        rng = np.random.default_rng(seed)
        names, n = list(self.bank.styles), len(images)
        shares = np.stack([draw_shares(rng, len(names), self.mixture) for _ in range(n)])
        return {
            "painted": torch.from_numpy(rng.random(n) < self.p),
            "shares": torch.from_numpy(shares).float(),
            "alpha": torch.from_numpy(rng.uniform(*self.alpha, n)).float(),
        }

    def __call__(self, images, generator=None):
        """New images from a batch (B, 3, H, W) in [0, 1]; `generator`: a torch.Generator, or None for torch's own."""
        out = images.clone()
        if self.p > 0:
            drawn = self.draw(images, generator)
            chosen = drawn["painted"]
            if chosen.any():
                out[chosen] = self.bank.paint(images[chosen], drawn["shares"][chosen], drawn["alpha"][chosen]).to(out)
        return out

    def __repr__(self):
        return f"RandomStyle(p={self.p}, alpha={self.alpha}, styles={list(self.bank.styles)}, mixture={self.mixture})"


class StyleBank:
    """Styles for the fast network, which needs to see each of them once for each size of images.

    Args:
        styles: {name: (1, 3, H, W)} in [0, 1].
        device: as in `backbone`.
    """

    def __init__(self, styles, device="auto"):
        self.styles, self.device, self._statistics = styles, device, {}

    @torch.no_grad()
    def paint(self, images, shares, alpha):
        """Images (B, 3, H, W) painted in mixtures, shares (B, styles) whose rows add up to one, at strengths (B,)."""
        model, side = fast_network(self.device), max(images.shape[2:])
        if side not in self._statistics:
            self._statistics[side] = [model.statistics(scaled_style(style, side)) for style in self.styles.values()]
        statistics = mixed_statistics(self._statistics[side], shares.to(model.encoder.mean))
        return model.paint(images.to(model.encoder.mean), statistics, alpha).clamp(0, 1)


def draw_shares(rng, n_styles, mixture):
    """(n_styles,) proportions from a numpy generator: a Dirichlet draw, or one style alone where `mixture` is 0."""
    return rng.dirichlet([mixture] * n_styles) if mixture else np.eye(n_styles)[rng.integers(n_styles)]


def strengths(alpha):
    """(lowest, highest) of a number or of such a pair."""
    low, high = alpha if isinstance(alpha, (tuple, list)) and len(alpha) == 2 else (alpha, alpha)
    if not isinstance(low, (int, float)) or not isinstance(high, (int, float)) or not 0 <= low <= high < float("inf"):
        raise ValueError(f"expected alpha as a number from 0 on, or as (lowest, highest), got {alpha!r}")
    return low, high
