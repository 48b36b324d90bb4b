"""A small conditional GAN for the arm of section 4 of the paper: chapter 07's, in the package's own words.

It draws 32 x 32 pixels. The critic looks at two pictures of a class at once (Lin et al. 2018), after random shifts and
changes of light for real and invented ones (Zhao et al. 2020); the class enters by a product (Miyato and Koyama 2018).
"""

import torch
import torch.nn.functional as F
from torch import nn

from ..engine.devices import seeded, typed
from ..images import resize

SIDE, NOISE, PAIRS, STEPS, RATE = 32, 32, 20, 600, 1e-3
SHOW_EVERY = 50


class Generator(nn.Module):
    """Noise (B, NOISE) and labels (B,) -> pictures (B, 3, 32, 32) in [0, 1]."""

    def __init__(self, classes):
        super().__init__()
        layers = [nn.Linear(NOISE + classes, 2048), nn.Unflatten(1, (128, 4, 4)), nn.BatchNorm2d(128), nn.ReLU()]
        for a, b in ((128, 64), (64, 32)):
            layers += [nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
        self.draw = nn.Sequential(*layers, nn.ConvTranspose2d(32, 3, 4, 2, 1), nn.Sigmoid())
        self.classes = classes

    def forward(self, noise, labels):
        return self.draw(torch.cat([noise, F.one_hot(labels, self.classes)], 1))


class Critic(nn.Module):
    """Pairs of pictures of one class, (2 B, 3, 32, 32) and labels (2 B,) -> scores (B,): how real they look."""

    def __init__(self, classes):
        super().__init__()
        sizes = ((6, 32), (32, 64), (64, 128))
        layers = [layer for a, b in sizes for layer in (nn.Conv2d(a, b, 4, 2, 1), nn.LeakyReLU(0.2))]
        self.look = nn.Sequential(*layers, nn.Flatten())
        self.real, self.fits = nn.Linear(2048, 1), nn.Embedding(classes, 2048)
        nn.init.zeros_(self.fits.weight)

    def forward(self, images, labels):
        seen = self.look(2 * _changed(images.reshape(-1, 6, SIDE, SIDE)) - 1)
        return self.real(seen)[:, 0] + (seen * self.fits(labels[::2])).sum(1)


def _changed(pairs):
    """Another light and a shift by up to two pixels, alike for both pictures of a pair."""
    n = len(pairs)
    contrast, light = (torch.rand(n, 1, 1, 1, device="cpu") for _ in range(2))
    pairs = pairs * (0.5 + contrast) + 0.5 * light - 0.25
    places = torch.arange(SIDE, device="cpu")
    down, right = (torch.randint(5, (n, 1), device="cpu") + places for _ in range(2))
    padded = F.pad(pairs, (2, 2, 2, 2), mode="replicate")
    return padded[torch.arange(n, device="cpu").view(-1, 1, 1), :, down[:, :, None], right[:, None]].movedim(-1, 1)


def trained_generator(images, labels, classes, *, seed=0, steps=STEPS, callback=None):
    """A `Generator` in evaluation mode that knows images (N, 3, H, W) with labels (N,), and nothing else."""
    images = resize(images, (SIDE, SIDE))
    members = [(labels == label).nonzero()[:, 0] for label in range(classes)]
    with seeded(seed), torch.device("cpu"), typed(torch.float32):
        generator, critic = Generator(classes), Critic(classes)
        adams = [torch.optim.Adam(net.parameters(), RATE, (0.5, 0.99)) for net in (generator, critic)]
        for step in range(1, steps + 1):
            drawn = torch.randint(classes, (PAIRS,), device="cpu").repeat_interleave(2)
            mates = [members[label] for label in drawn.tolist()]
            real = images[[int(mate[torch.randint(len(mate), (), device="cpu")]) for mate in mates]]
            invented = generator(torch.randn(len(drawn), NOISE, device="cpu"), drawn)
            d_loss = F.softplus(-critic(real, drawn)).mean() + F.softplus(critic(invented.detach(), drawn)).mean()
            _move(adams[1], d_loss)
            _move(adams[0], F.softplus(-critic(invented, drawn)).mean())
            if callback and step % SHOW_EVERY == 0:
                callback(step, steps)
    return generator.eval()


def _move(adam, loss):
    adam.zero_grad()
    loss.backward(inputs=adam.param_groups[0]["params"])  # the other network has no use for its gradient
    adam.step()


@torch.no_grad()
def invent(generator, labels, seed=0):
    """Pictures (B, 3, 32, 32) in [0, 1] of the classes asked for."""
    noise = torch.randn(len(labels), NOISE, generator=torch.Generator().manual_seed(seed), device="cpu")
    return generator(noise, labels)
