"""The style loss of one layer with its gradient written out: the numbers of `losses.style_layer_loss`, sooner."""

import torch


def rows_of(features):
    """(B, H * W, C): in memory that is how the networks' channels_last features lie, so nothing is copied."""
    return features.movedim(1, -1).flatten(1, 2)


def roots_of(weights):
    """What features are multiplied by, so that their Gram is that under weights (B, 1, H, W) of the positions."""
    return (weights / weights.mean(dim=(2, 3), keepdim=True)).sqrt()


class LazyGram:
    """Stands for `gram(features, weights)` of all channels, or of `channels` (1 or B, k).

    It knows its distance to a target.
    """

    def __init__(self, features, channels=None, weights=None):
        if features.ndim != 4:
            raise ValueError(f"expected features (B, C, H, W), got {tuple(features.shape)}")
        if channels is not None:
            one_for_all = len(channels) == 1
            channels = channels if one_for_all else channels[:, :, None, None]
            features = features[:, channels[0]] if one_for_all else features.take_along_dim(channels, 1)
        self.rows, self.shape, self.ndim = rows_of(features), (*features.shape[:2], features.shape[1]), 3
        if weights is not None:
            roots = rows_of(roots_of(weights)).to(features.dtype)
            counts = (roots > 0).any(dim=0).squeeze(1)  # no work for the others
            self.rows = self.rows[:, counts] * roots[:, counts]

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
