"""Gram matrices and the losses of style transfer, one value per image, in the conventions that texts use.

    convention   style loss of one layer (N channels, M positions)      content loss
    "gatys"      sum (G - A)^2 / (4 N^2 M^2)                            1/2 sum (F - P)^2
    "d2l"        mean (G / NM - A / NM)^2      = 4 / N^2  x gatys       mean (F - P)^2
    "cs231n"     sum  (G / NM - A / NM)^2      = 4        x gatys       sum (F - P)^2
    "relative"   sum (G - A)^2 / sum A^2                                sum (F - P)^2 / sum P^2

"gatys" is eq. 2 and 4 of Shinde and of Gatys et al. 2016; "d2l" is lecture 15 and its book; "cs231n" the Stanford
exercise. "relative" is ours: the published terms over their value for an all-zero feature map. It has no unit, so one
set of weights serves every network, layer and image size.
"""

import torch  # noqa: F401, the examples need it

from .engine import checks
from .engine.devices import sent
from .engine.gram_error import LazyGram, rows_of

CONVENTIONS = ("gatys", "d2l", "cs231n", "relative")
TINY = 1e-12  # keeps "relative" finite where a target is all zero


def gram(features, weights=None):
    """Channel correlations of a feature map, one matrix per image.

    Args:
        features: (B, C, H, W), any range.
        weights: (B, 1, H, W) or (1, 1, H, W) non-negative position weights, or None for all positions alike.
            They are rescaled to a mean of one. On the CPU positions of weight zero are left out of the work.
    Returns:
        (B, C, C), the raw sum over positions.
    Raises:
        ValueError: features are not four-dimensional, or the weights do not fit them, or, on the CPU, are all zero.

    Shinde, eq. 1; Gatys et al. 2016, eq. 3. The normalisation lives in the loss.

    >>> gram(torch.ones(2, 3, 4, 4))[0, 0, 0]
    tensor(16.)
    """
    if features.ndim != 4:
        raise ValueError(f"expected features (B, C, H, W), got {tuple(features.shape)}")
    rows = rows_of(features)
    if weights is None:
        return rows.transpose(1, 2) @ rows
    weights = checked_weights(weights, features).flatten(2).transpose(1, 2)
    weights = weights / weights.mean(dim=1, keepdim=True)
    if rows.is_cpu:  # positions of weight zero cost nothing: a region of a quarter takes a quarter of the work
        counts = (weights > 0).any(dim=0).squeeze(1)
        rows, weights = (rows, weights) if counts.all() else (rows[:, counts], weights[:, counts])
    return (rows * weights).transpose(1, 2) @ rows


def top_channels(G, keep=0.25):
    """The channels that a Gram matrix calls most active: those with the largest sum of squares, its diagonal.

    Args:
        G: (B, C, C) raw Grams.
        keep: part of the channels to keep, above 0 and at most 1; or how many, from 2 on.
    Returns:
        (B, k) channel numbers, ascending.
    Raises:
        ValueError: G is no batch of square matrices, or keep is out of range.

    Shinde, section 3.2, takes "the two most important pixels as i and j". In eq. 1 i and j are channels: this is what
    the sentence says, read by its symbols; `region_weights` is what it says, read by its words.

    >>> top_channels(torch.diag(torch.tensor([1., 9., 4.]))[None], keep=2)
    tensor([[1, 2]])
    """
    if G.ndim != 3 or G.shape[1] != G.shape[2]:
        raise ValueError(f"expected Grams (B, C, C), got {tuple(G.shape)}")
    energy = G.diagonal(dim1=1, dim2=2)
    return energy.topk(kept_count(keep, G.shape[1]), dim=1).indices.sort(dim=1).values


def kept_count(keep, n, name="keep"):
    """How many of `n` things `keep` means: a part of them, above 0 and at most 1, or a number from 2 on."""
    if isinstance(keep, int) and not isinstance(keep, bool) and 2 <= keep <= n:
        return keep
    if isinstance(keep, bool) or not isinstance(keep, (int, float)) or not 0 < keep <= 1:
        raise ValueError(
            f"expected {name} as a part, above 0 and at most 1, or as a number from 2 to {n}, got {keep!r}"
        )
    return max(1, round(keep * n))


def style_layer_loss(G, A, n_positions, convention="gatys"):
    """How far a Gram matrix is from its target, in one layer.

    Args:
        G, A: (B, C, C) raw Grams of the image and of the style, over equally many positions; A may have B = 1. G may
            be a `LazyGram`, which finds its distance from A, and the gradient, sooner.
        n_positions: how many positions H * W both were summed over (M).
        convention: see the table above.
    Returns:
        (B,)
    Raises:
        ValueError: shapes differ, or the convention is unknown.

    Shinde, eq. 2; Gatys et al. 2016, eq. 4.

    >>> style_layer_loss(torch.full((1, 1, 1), 3.), torch.ones(1, 1, 1), n_positions=1)
    tensor([1.])
    """
    checks.choice("convention", convention, CONVENTIONS)
    if G.ndim != 3 or G.shape[1:] != A.shape[1:] or A.shape[0] not in (1, G.shape[0]):
        raise ValueError(f"expected two Grams (B, C, C) of one shape, got {tuple(G.shape)} and {tuple(A.shape)}")
    error = G.square_error(A) if hasattr(G, "square_error") else (G - A).square().sum(dim=(1, 2))
    if convention == "relative":
        return error / (A.square().sum(dim=(1, 2)) + TINY)
    n_channels = A.shape[1]
    mean_square = error / (n_channels * n_positions) ** 2
    return {"gatys": mean_square / 4, "cs231n": mean_square, "d2l": mean_square / n_channels**2}[convention]


def gram_loss(features, A, convention="gatys"):
    """`style_layer_loss` of features (B, C, H, W), (B,): the same numbers with the gradient written out, sooner.

    Other arguments and errors are as there; sums are taken in float32 or wider.

    >>> gram_loss(torch.full((1, 1, 1, 1), 3.), torch.ones(1, 1, 1))  # (9 - 1)^2 / 4
    tensor([16.])
    """
    return style_layer_loss(LazyGram(features), A, features.shape[2:].numel(), convention)


def style_loss(grams, targets, n_positions, layer_weights=None, convention="gatys"):
    """The weighted sum of the layers' style losses.

    Args:
        grams, targets: {layer: (B, C, C)} raw Grams, as in `style_layer_loss`.
        n_positions: {layer: H * W}.
        layer_weights: {layer: w_l}, none negative, or None for ones. Each w_l may be a tensor (K, 1), whose values are
            not looked at, for K sums in one call.
        convention: see the table above.
    Returns:
        (B,), or (K, B) for K sums.
    Raises:
        ValueError: the dicts name different layers, or a weight is negative or not finite.

    Shinde, eq. 3; Gatys et al. 2016, eq. 5.

    >>> G, A = torch.full((1, 1, 1), 3.), torch.ones(1, 1, 1)
    >>> style_loss({"relu1_1": G}, {"relu1_1": A}, {"relu1_1": 1}, layer_weights={"relu1_1": 0.5})
    tensor([0.5000])
    """
    layer_weights = layer_weights or dict.fromkeys(grams, 1)
    for name, layers in (("targets", targets), ("n_positions", n_positions), ("layer_weights", layer_weights)):
        if set(layers) != set(grams):
            raise ValueError(f"expected {name} for the layers {sorted(grams)}, got {sorted(layers)}")
    checks.layer_weights({layer: weight for layer, weight in layer_weights.items() if not hasattr(weight, "shape")})
    return sum(
        layer_weights[layer] * style_layer_loss(grams[layer], targets[layer], n_positions[layer], convention)
        for layer in grams
    )


def content_loss(F, P, convention="gatys"):
    """How far the features of the image are from those of the content.

    Args:
        F, P: (B, C, H, W) features of the image and of the content; P may have B = 1.
        convention: see the table above.
    Returns:
        (B,)
    Raises:
        ValueError: shapes differ, or the convention is unknown.

    Shinde, eq. 4; Gatys et al. 2016, eq. 1.

    >>> content_loss(torch.full((1, 1, 1, 2), 2.), torch.zeros(1, 1, 1, 2))
    tensor([4.])
    """
    checks.choice("convention", convention, CONVENTIONS)
    if F.ndim != 4 or F.shape[1:] != P.shape[1:] or P.shape[0] not in (1, F.shape[0]):
        raise ValueError(
            f"expected two feature maps (B, C, H, W) of one shape, got {tuple(F.shape)} and {tuple(P.shape)}"
        )
    error = (F - P).square().sum(dim=(1, 2, 3))
    if convention == "relative":
        return error / (P.square().sum(dim=(1, 2, 3)) + TINY)
    return {"gatys": error / 2, "cs231n": error, "d2l": error / F[0].numel()}[convention]


def total_variation(images, convention="lecture"):
    """How much neighbouring pixels differ: large for noise, small for smooth images.

    Args:
        images: (B, C, H, W), any range.
        convention: "lecture", sum of absolute differences (lecture 15, slide "noise loss"); "d2l", half of
            the two directions' mean absolute differences, free of the image's size; "cs231n", sum of squares.
    Returns:
        (B,)
    Raises:
        ValueError: images are not four-dimensional, or the convention is unknown.

    >>> total_variation(torch.tensor([[[[0., 1.], [1., 0.]]]]))
    tensor([4.])
    """
    if images.ndim != 4:
        raise ValueError(f"expected images (B, C, H, W), got {tuple(images.shape)}")
    checks.choice("convention", convention, ("lecture", "d2l", "cs231n"))
    down, across = images.diff(dim=2).flatten(1), images.diff(dim=3).flatten(1)
    if convention == "lecture":
        return down.abs().sum(1) + across.abs().sum(1)
    if convention == "d2l":
        return (down.abs().sum(1) / max(down.shape[1], 1) + across.abs().sum(1) / max(across.shape[1], 1)) / 2
    return down.square().sum(1) + across.square().sum(1)


def checked_weights(weights, features, name="position weights"):
    """(1 or B, 1, H, W) weights of the features' positions, where they are, in their type; else a ValueError."""
    checks.positions(weights, features, name)
    if weights.is_cpu:
        sums = weights.to(features.dtype).flatten(1).sum(1)  # a mask may be of bools
        if not (weights >= 0).all() or not ((sums > 0) & sums.isfinite()).all():  # NaN is neither
            raise ValueError(f"expected finite, non-negative {name} with a positive sum")
    return sent(weights, features)
