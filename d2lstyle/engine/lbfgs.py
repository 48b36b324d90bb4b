"""Limited-memory BFGS for a batch of independent problems."""

from collections import deque

import torch

MIN_CURVATURE = 1e-10


class BatchLBFGS:
    """L-BFGS without a line search in which each row of a tensor is a problem of its own.

    torch.optim.LBFGS takes its dot products over all it is given, so the images of a batch would steer one another;
    here a batch moves exactly as its images would alone. Nocedal and Wright, Numerical Optimization, algorithm 7.4.
    `history` counts steps, each of which costs two tensors of z's size; `first_step` is the mean absolute change of the
    first, when no curvature is known yet. What is pushed against a bound stays out of the step (Bertsekas 1982).
    It is no torch.optim.Optimizer: the first of those that a process makes loads torch's compiler, for two seconds.
    """

    def __init__(self, z, history=20, first_step=0.03, bounds=(-torch.inf, torch.inf)):
        self._z, self._first_step, self._bounds = z, first_step, bounds
        self._pairs = deque(maxlen=history)  # (change of z, change of gradient, 1 / their dot product)
        self._last = None

    @torch.no_grad()
    def step(self):
        """Move `z` once, by `z.grad`."""
        z, gradient = self._z, self._z.grad
        if self._last is not None:
            self._remember(z - self._last[0], gradient - self._last[1])
        self._last = z.clone(), gradient.clone()
        low, high = self._bounds
        held = ((z <= low) & (gradient > 0)) | ((z >= high) & (gradient < 0))
        z.sub_(self._newton_step(gradient.masked_fill(held, 0)).masked_fill_(held, 0)).clamp_(low, high)

    def _remember(self, dz, dg):
        curvature = _dot(dz, dg)
        # A row whose curvature is not positive gets a weight of zero: for it, this pair does not exist.
        usable = curvature > MIN_CURVATURE
        self._pairs.append((dz, dg, torch.where(usable, 1 / curvature.where(usable, torch.ones_like(curvature)), 0)))

    def _newton_step(self, gradient):
        """The two-loop recursion: the inverse Hessian, as far as known, times the gradient."""
        step, shares = gradient.clone(), []
        for dz, dg, inverse in reversed(self._pairs):
            share = inverse * _dot(dz, step)
            step -= share * dg
            shares.append(share)
        step *= self._scale(gradient)
        for (dz, dg, inverse), share in zip(self._pairs, reversed(shares)):
            step += (share - inverse * _dot(dg, step)) * dz
        return step

    def _scale(self, gradient):
        """Step over gradient: from each row's latest usable pair, else so that the mean change is the first step's."""
        scale = self._first_step / (gradient.abs().mean(dim=_inner(gradient), keepdim=True) + 1e-20)
        for _, dg, inverse in self._pairs:
            scale = torch.where(inverse > 0, 1 / (inverse * _dot(dg, dg) + 1e-20), scale)
        return scale


def _inner(tensor):
    return tuple(range(1, tensor.ndim))


def _dot(a, b):
    return (a * b).sum(dim=_inner(a), keepdim=True)
