"""Limited-memory BFGS for a batch of independent problems, and a first guess of the curvature of pictures."""

import torch
import torch.nn.functional as F

from .devices import sent

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
    After the second, each step is the same work on the same memory, whatever the numbers: see `graphs`.
    It is no torch.optim.Optimizer: the first of those that a process makes loads torch's compiler, for two seconds.
    """

    def __init__(
        self, z, history=20, first_step=0.03, bounds=(-torch.inf, torch.inf), longest=torch.inf, spectrum=None
    ):
        self._z, self._first_step, self._bounds, self._longest = z, first_step, bounds, longest
        self._spectrum, self._last, self._pairs = spectrum, None, _Pairs(z.detach(), history)
        self._newest = torch.zeros_like(z), z.new_zeros(_dot(z, z).shape)  # the latest usable (dg, 1 / dz . dg)

    @torch.no_grad()
    def step(self):
        """Move `z` once, by `z.grad`."""
        z, gradient = self._z, self._z.grad
        if self._last is None:
            self._last = z.clone(), gradient.clone()
        else:
            self._remember(z - self._last[0], gradient - self._last[1])
            self._last[0].copy_(z), self._last[1].copy_(gradient)
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
        self._pairs.add(dz, dg, inverse)
        for old, new in zip(self._newest, (dg, inverse)):
            old.copy_(torch.where(usable, new, old))
        if self._spectrum:
            self._spectrum.learn(dz, dg, usable)

    def _newton_step(self, gradient):
        """The inverse Hessian, as far as known, times the gradient."""
        shares, step = self._pairs.first_loop(gradient)
        filtered = self._filtered(step)
        return self._pairs.second_loop(shares, self._scale(filtered) * filtered)

    def _scale(self, filtered):
        """The inverse Hessian's size along a row's latest usable pair; without one, a mean change of `first_step`."""
        first = self._first_step / (filtered.abs().mean(dim=_inner(filtered), keepdim=True) + 1e-20)
        dg, inverse = self._newest
        return torch.where(inverse > 0, 1 / (inverse * _dot(dg, self._filtered(dg)) + 1e-20), first)

    def _filtered(self, change):
        return self._spectrum(change) if self._spectrum else change


class _Pairs:
    """The latest pairs (s, y), changes of z and of its gradient, and the two loops of the algorithm over them.

    A loop needs a dot product with a sum of the vectors before it. Their own dot products s_i . y_j are kept, so that
    each loop is one product with all vectors, a triangular system of the size of the history, and another product.
    """

    def __init__(self, z, history):
        rows = z.new_zeros(len(z), history, z[0].numel())
        self.s, self.y, self.inverse = rows, torch.zeros_like(rows), z.new_zeros(len(z), history)
        self.products = z.new_zeros(len(z), history, history)  # s_i . y_j
        self.order = torch.arange(history, device=z.device)  # places from the oldest pair to the latest
        self.eye = torch.eye(history, device=z.device, dtype=z.dtype)

    def add(self, dz, dg, inverse):
        """Put a pair, and 1 / (s . y) or zero, (B, 1, ...), into the place of the oldest."""
        oldest, dz, dg = self.order[:1], dz.flatten(1), dg.flatten(1)
        self.s.index_copy_(1, oldest, dz[:, None])
        self.y.index_copy_(1, oldest, dg[:, None])
        self.inverse.index_copy_(1, oldest, inverse.view(-1, 1))
        self.products.index_copy_(1, oldest, _times(self.y, dz)[:, None])
        self.products.index_copy_(2, oldest, _times(self.s, dg)[:, :, None])
        self.order.copy_(self.order.roll(-1))

    def first_loop(self, gradient):
        """Shares a_i = (s_i . (g - sum of a_j y_j over later j)) / s_i . y_i, and g - sum of all a_j y_j."""
        shares = self._solved(self.inverse * _times(self.s, gradient.flatten(1)), upper=True)
        return shares, gradient - _sum(shares, self.y).view_as(gradient)

    def second_loop(self, shares, step):
        """The step plus all c_i s_i, where c_i = a_i - (y_i . (step + sum of c_j s_j over earlier j)) / s_i . y_i."""
        shares = self._solved(shares - self.inverse * _times(self.y, step.flatten(1)), upper=False)
        return step + _sum(shares, self.s).view_as(step)

    def _solved(self, right, upper):
        """x_i = right_i - sum of x_j (s_i . y_j) / s_i . y_i over later j, or of x_j (s_j . y_i) over earlier ones."""
        order = self.order
        later = self.products.index_select(1, order).index_select(2, order).triu(1)
        system = self.eye + self.inverse.index_select(1, order)[:, :, None] * (later if upper else later.mT)
        right = right.index_select(1, order)[:, :, None]
        x = torch.linalg.solve_triangular(system, right, upper=upper, unitriangular=True)
        return torch.empty_like(self.inverse).index_copy_(1, order, x[:, :, 0])


class Spectrum:
    """The inverse curvature of pictures by spatial frequency: broad shapes take longer steps than fine grain.

    A filter with one gain for each octave, channel and picture: how far an octave has moved over how much its gradient
    has changed by that, in the latest steps. Octaves are of cycles a pixel, so what was learned at one size of a
    picture serves at the next. Before the first step, gains fall with the square root of the frequency.
    """

    def __init__(self):
        self._size, self._learned = None, None

    def __call__(self, change):
        """The change, (B, C, H, W), with each octave times its gain; only the gains' proportions mean something."""
        self._fit(change)
        moved, changed = self._learned
        gains = ((moved + DOUBT * self._prior) / (changed + DOUBT / self._prior)).sqrt()
        return torch.fft.irfft2(torch.fft.rfft2(change) * gains[..., self._octave], s=change.shape[2:])

    def learn(self, dz, dg, usable):
        """Take in how pictures moved and how their gradients changed, (B, C, H, W), where `usable`, (B, 1, 1, 1)."""
        self._fit(dz)
        power = [torch.fft.rfft2(change).abs().square().flatten(2) @ self._members for change in (dz, dg)]
        for old, octaves in zip(self._learned, power):
            share = octaves / octaves.sum(dim=(1, 2), keepdim=True).clamp(min=1e-30)
            old.copy_(torch.where(usable[:, 0], MEMORY * old + (1 - MEMORY) * share, old))

    def _fit(self, image):
        """Find the octave of each coefficient of rfft2, (H, W // 2 + 1), for images of this size."""
        if self._size == image.shape[2:]:
            return
        plain = {"device": "cpu", "dtype": torch.float32}
        rows, columns = torch.fft.fftfreq(image.shape[2], **plain), torch.fft.rfftfreq(image.shape[3], **plain)
        cycles = (rows[:, None].square() + columns.square()).sqrt()
        octave = (cycles.clamp(min=1e-9).log2().floor().long() + OCTAVES).clamp(0, OCTAVES - 1)
        self._octave = sent(octave, image, torch.int64)
        self._members = sent(F.one_hot(octave.flatten(), OCTAVES), image)  # a product with it sums each octave
        self._prior = sent(2 ** ((OCTAVES / 2 - torch.arange(OCTAVES, **plain)) / 2), image)
        if self._learned is None:  # how far octaves moved, and how much their gradients changed by that
            self._learned = image.new_zeros(2, *image.shape[:2], OCTAVES)
        self._size = image.shape[2:]


def _times(vectors, vector):
    """(B, n, N) vectors and (B, N) -> their dot products, (B, n)."""
    return (vector[:, None] @ vectors.mT)[:, 0]


def _sum(shares, vectors):
    """Shares (B, n) of vectors (B, n, N) -> (B, N)."""
    return (shares[:, None] @ vectors)[:, 0]


def _inner(tensor):
    return tuple(range(1, tensor.ndim))


def _dot(a, b):
    return (a * b).sum(dim=_inner(a), keepdim=True)
