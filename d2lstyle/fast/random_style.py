"""Style transfer while training: a transform that paints with the fast network, and the styles it paints in."""

import numpy as np
import torch

from ..engine import checks
from ..engine.devices import sent
from ..samples.paintings import painting_names
from ..samples.styles import named_styles
from .painting import StyleBank, draw_shares, strengths


class RandomStyle:
    """Paint each image with probability `p`, in a mixture of styles and a strength of its own.

    Args:
        p: probability, in [0, 1]; at 0 images pass untouched and no random number is drawn.
        alpha: strength in [0, 1], a number, or (lowest, highest), drawn uniformly.
        styles: list of files, names of embedded paintings or photos, or tensors (1, 3, H, W); None for all paintings.
        mixture: concentration of the Dirichlet distribution that draws the proportions of the styles; 0 for one style
            an image.
        device: where to paint, as in `backbone`.
    Raises:
        TypeError, ValueError: an argument is not as said above.
        FileNotFoundError: a style is neither a file nor an embedded picture.

    Shinde, section 4, beside classical augmentation; Jackson et al. 2019, "Style augmentation".

    >>> RandomStyle(0.5, alpha=0.8, styles=["starry", "mosaic"])
    RandomStyle(p=0.5, alpha=(0.8, 0.8), styles=['starry', 'mosaic'], mixture=0.2)
    """

    def __init__(self, p=0.5, alpha=(0.3, 1.0), styles=None, *, mixture=0.2, device="auto"):
        self.p, self.alpha = checks.number("p", p, 0, 1), strengths(alpha, 1)
        self.mixture = checks.number("mixture", mixture, 0)
        pictures = named_styles(painting_names() if styles is None else styles)
        self.styles, self.bank = list(pictures), StyleBank(list(pictures.values()), device)

    def draw(self, images, generator=None):
        """{"painted": (B,) bool, "shares": (B, styles), "alpha": (B,)}, on the CPU.

        From one number: a GPU is waited for where the generator is its own.
        """
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device if generator else "cpu"))
        rng = np.random.default_rng(seed)
        n = len(images)
        shares = np.stack([draw_shares(rng, len(self.styles), self.mixture) for _ in range(n)])
        return {
            "painted": torch.from_numpy(rng.random(n) < self.p),
            "shares": torch.from_numpy(shares).float(),
            "alpha": torch.from_numpy(rng.uniform(*self.alpha, n)).float(),
        }

    def __call__(self, images, generator=None):
        """New images from a batch (B, 3, H, W) in [0, 1]; `generator`: a torch.Generator, or None for the CPU's own."""
        checks.batch(images)
        out = images.clone()
        if self.p > 0:
            drawn = self.draw(images, generator)
            chosen = drawn["painted"].nonzero().flatten()
            if len(chosen):
                there = sent(chosen, chosen.new_empty(0, device=out.device))
                painted = self.bank.paint(images[there], drawn["shares"][chosen], drawn["alpha"][chosen])
                out[there] = painted.to(out)
        return out

    def __repr__(self):
        return f"RandomStyle(p={self.p}, alpha={self.alpha}, styles={self.styles}, mixture={self.mixture})"
