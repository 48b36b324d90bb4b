"""The style loss of one layer with its gradient written out: the numbers of `losses.style_layer_loss`, sooner."""

from dataclasses import dataclass

import torch


def rows_of(features):
    """(B, H * W, C): in memory that is how the networks' channels_last features lie, so nothing is copied."""
    return features.movedim(1, -1).flatten(1, 2)


def roots_of(weights):
    """What features are multiplied by, so that their Gram is that under weights (B, 1, H, W) of the positions."""
    return (weights / weights.mean(dim=(2, 3), keepdim=True)).sqrt()


@dataclass(frozen=True)
class Selection:
    """What of a layer's features a Gram is of; the parts are found once and used in every step.

    `channels`, (1 or B, k), and `positions`, (n,), are numbers, None for all; `roots`, (1 or B, n, 1), are what the
    positions' features are multiplied by.
    """

    channels: torch.Tensor | None = None
    positions: torch.Tensor | None = None
    roots: torch.Tensor | None = None

    @classmethod
    def of(cls, channels, weights):
        """For weights of the positions, (1 or B, 1, H, W), or None; those of weight zero are no work."""
        if weights is None:
            return cls(channels)
        roots = rows_of(roots_of(weights))
        positions = (roots > 0).any(dim=0)[:, 0].nonzero()[:, 0]
        return cls(channels, positions, roots[:, positions])

    def rows(self, features):
        """(1 or B, n, k), one row a position."""
        if self.channels is not None and len(self.channels) == 1:
            features = features[:, self.channels[0]]
        elif self.channels is not None:
            features = features.take_along_dim(self.channels[:, :, None, None], 1)
        rows = rows_of(features)
        if self.positions is None:
            return rows
        return rows[:, self.positions] * self.roots.to(rows.dtype)


class LazyGram:
    """Stands for the `gram` of a `Selection` of features (B, C, H, W): it knows its distance to a target."""

    def __init__(self, features, selection=Selection()):  # noqa: B008, it cannot be changed
        if features.ndim != 4:
            raise ValueError(f"expected features (B, C, H, W), got {tuple(features.shape)}")
        self.rows = selection.rows(features)
        channels = self.rows.shape[2]
        self.shape, self.ndim = (len(features), channels, channels), 3

    def square_error(self, A):
        """sum (G - A)^2, (B,)."""
        if A.requires_grad and torch.is_grad_enabled():
            raise ValueError(
                "expected a target A without a gradient: detach it, or use style_layer_loss(gram(features), A)"
            )
        return _GramError.apply(self.rows, A)


class _GramError(torch.autograd.Function):
    """sum (R^T R - A)^2 of each image's rows R, one a position; its gradient is 4 R (R^T R - A), Gatys et al., eq. 6.

    Autograd would take one product for each R in R^T R, of which one comes out transposed; as the Gram is symmetric,
    they are equal. Where an image has fewer positions M than channels C, the C x C Grams of a batch are most of the
    work and are never made: sum (R^T R)^2 = sum (R R^T)^2, which is M x M, and sum (R^T R) A = sum R (R A).
    """

    @staticmethod
    def forward(ctx, rows, A):
        wide = rows if rows.dtype in (torch.float32, torch.float64) else rows.float()
        if rows.shape[1] >= rows.shape[2]:
            error = torch.baddbmm(A, wide.transpose(1, 2), wide, beta=-1)
            ctx.save_for_backward(error, rows)
            return error.square().sum(dim=(1, 2))
        K, RA = wide @ wide.transpose(1, 2), wide @ (A[0] if len(A) == 1 else A)
        ctx.dtype = rows.dtype
        ctx.save_for_backward(torch.baddbmm(RA, K, wide, beta=-1))
        # The sums nearly cancel: float32 leaves the loss an error of some 1e-7 of sum A^2, and the gradient none.
        return (_dot(K, K) - 2 * _dot(wide, RA) + _dot(A, A)).clamp(min=0)

    @staticmethod
    def backward(ctx, gradient):
        if torch.is_grad_enabled():  # the engine's way to say create_graph=True
            raise ValueError("expected no second derivative of gram_loss: use style_layer_loss(gram(features), A)")
        error, *rows = ctx.saved_tensors
        scaled = 4 * gradient.view(-1, 1, 1) * error
        return (rows[0] @ scaled.to(rows[0].dtype) if rows else scaled.to(ctx.dtype)), None


def _dot(a, b):
    return (a * b).sum(dim=(1, 2))
