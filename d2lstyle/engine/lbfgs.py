"""Limited-memory BFGS for a batch of independent problems, and a first guess of the curvature of pictures."""

from collections import deque

import torch
import torch.nn.functional as F

MIN_CURVATURE = 1e-10
OCTAVES = 9  # bands of spatial frequency: below 1/256 cycles a pixel, 1/256 to 1/128, ..., above 1/2
MEMORY = 0.85  # what the steps before the latest count for in the spectrum
DOUBT = 1e-5  # of all that moved: an octave with less keeps to the gain that it had at first


class BatchLBFGS:
    """L-BFGS without a line search in which each row of a tensor is a problem of its own.

    torch.optim.LBFGS takes its dot products over all it is given, so the images of a batch would steer one another;
    here a batch moves exactly as its images would alone. Nocedal and Wright, Numerical Optimization, algorithm 7.4.
    `history` counts steps, each of which costs two tensors of z's size; `first_step` is the mean absolute change of the
    first, when no curvature is known yet. What is pushed against a bound stays out of the step (Bertsekas 1982).
    No step changes a row by more than `longest` on average: where a slope flattens, the curvature measured promises far
    too much, and sends pictures to black and white for good.
    `spectrum` stands for the inverse Hessian where the pairs say nothing; None is the identity, for any shape of z.
    It is no torch.optim.Optimizer: the first of those that a process makes loads torch's compiler, for two seconds.
    """

    def __init__(
        self, z, history=20, first_step=0.03, bounds=(-torch.inf, torch.inf), longest=torch.inf, spectrum=None
    ):
        self._z, self._first_step, self._bounds, self._longest = z, first_step, bounds, longest
        self._spectrum = spectrum
        self._pairs = deque(maxlen=history)  # (change of z, change of gradient, 1 / their dot product)
        self._last, self._newest = None, (torch.zeros_like(z), z.new_zeros(()))

    @torch.no_grad()
    def step(self):
        """Move `z` once, by `z.grad`."""
        z, gradient = self._z, self._z.grad
        if self._last is not None:
            self._remember(z - self._last[0], gradient - self._last[1])
        self._last = z.clone(), gradient.clone()
        low, high = self._bounds
        held = ((z <= low) & (gradient > 0)) | ((z >= high) & (gradient < 0))
        step = self._newton_step(gradient.masked_fill(held, 0)).masked_fill_(held, 0)
        change = step.abs().mean(dim=_inner(step), keepdim=True)
        z.sub_(step * (self._longest / (change + 1e-20)).clamp(max=1)).clamp_(low, high)

    def _remember(self, dz, dg):
        curvature = _dot(dz, dg)
        # A row whose curvature is not positive gets a weight of zero: for it, this pair does not exist.
        usable = curvature > MIN_CURVATURE
        inverse = torch.where(usable, 1 / curvature.where(usable, torch.ones_like(curvature)), 0)
        self._pairs.append((dz, dg, inverse))
        self._newest = tuple(torch.where(usable, new, old) for new, old in zip((dg, inverse), self._newest))
        if self._spectrum:
            self._spectrum.learn(dz, dg, usable)

    def _newton_step(self, gradient):
        """The two-loop recursion: the inverse Hessian, as far as known, times the gradient."""
        step, shares = gradient.clone(), []
        for dz, dg, inverse in reversed(self._pairs):
            share = inverse * _dot(dz, step)
            step -= share * dg
            shares.append(share)
        filtered = self._filtered(step)
        step = self._scale(filtered) * filtered
        for (dz, dg, inverse), share in zip(self._pairs, reversed(shares)):
            step += (share - inverse * _dot(dg, step)) * dz
        return step

    def _scale(self, filtered):
        """The inverse Hessian's size along a row's latest usable pair; without one, a mean change of `first_step`."""
        first = self._first_step / (filtered.abs().mean(dim=_inner(filtered), keepdim=True) + 1e-20)
        dg, inverse = self._newest
        return torch.where(inverse > 0, 1 / (inverse * _dot(dg, self._filtered(dg)) + 1e-20), first)

    def _filtered(self, change):
        return self._spectrum(change) if self._spectrum else change


class Spectrum:
    """The inverse curvature of pictures by spatial frequency: broad shapes take longer steps than fine grain.

    A filter with one gain for each octave, channel and picture: how far an octave has moved over how much its gradient
    has changed by that, in the latest steps. Octaves are of cycles a pixel, so what was learned at one size of a
    picture serves at the next. Before the first step, gains fall with the square root of the frequency.
    """

    def __init__(self):
        self._size, self._moved, self._changed = None, 0, 0

    def __call__(self, change):
        """The change, (B, C, H, W), with each octave times its gain; only the gains' proportions mean something."""
        self._fit(change)
        gains = ((self._moved + DOUBT * self._prior) / (self._changed + DOUBT / self._prior)).sqrt()
        return torch.fft.irfft2(torch.fft.rfft2(change) * gains[..., self._octave], s=change.shape[2:])

    def learn(self, dz, dg, usable):
        """Take in how pictures moved and how their gradients changed, (B, C, H, W), where `usable`, (B, 1, 1, 1)."""
        self._fit(dz)
        power = [torch.fft.rfft2(change).abs().square().flatten(2) @ self._members for change in (dz, dg)]
        shares = [octaves / octaves.sum(dim=(1, 2), keepdim=True).clamp(min=1e-30) for octaves in power]
        self._moved, self._changed = (
            torch.where(usable[:, 0], MEMORY * old + (1 - MEMORY) * share, old)
            for old, share in zip((self._moved, self._changed), shares)
        )

    def _fit(self, image):
        """Find the octave of each coefficient of rfft2, (H, W // 2 + 1), for images of this size."""
        if self._size == image.shape[2:]:
            return
        rows, columns = torch.fft.fftfreq(image.shape[2]), torch.fft.rfftfreq(image.shape[3])
        cycles = (rows[:, None].square() + columns.square()).sqrt()
        octave = cycles.clamp(min=1e-9).log2().floor().long() + OCTAVES
        self._octave = octave.clamp(0, OCTAVES - 1).to(image.device)
        self._members = F.one_hot(self._octave.flatten(), OCTAVES).to(image)  # a product with it sums each octave
        self._prior = 2 ** ((OCTAVES / 2 - torch.arange(OCTAVES)) / 2).to(image)
        self._size = image.shape[2:]


def _inner(tensor):
    return tuple(range(1, tensor.ndim))


def _dot(a, b):
    return (a * b).sum(dim=_inner(a), keepdim=True)
