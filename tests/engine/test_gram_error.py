"""The style loss with its gradient written out, against the Gram's own and finite differences."""

import pytest
import torch

from d2lstyle import gram, gram_loss, style_layer_loss, style_loss
from d2lstyle.engine.gram_error import LazyGram
from d2lstyle.losses import CONVENTIONS

FEW_AND_MANY_POSITIONS = [(8, 1, 3), (8, 2, 4), (4, 5, 7)]  # fewer than channels, as many, more


def random_features(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", FEW_AND_MANY_POSITIONS)
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("targets", [1, 2])
def test_gram_loss_is_the_style_loss_of_the_gram(shape, convention, targets):
    features, A = random_features(2, *shape).requires_grad_(), gram(random_features(targets, *shape, seed=1))
    expected = style_layer_loss(gram(features), A, shape[1] * shape[2], convention)
    for same in (features, features.contiguous(memory_format=torch.channels_last)):
        torch.testing.assert_close(gram_loss(same, A, convention), expected, rtol=1e-12, atol=0)
    assert torch.autograd.gradcheck(lambda features: gram_loss(features, A, convention), features)


def test_one_call_of_style_loss_gives_the_sum_and_each_layers_own():
    """As `stylize` calls it: a row of weights for the sum, and a row for each layer."""
    features = {"a": random_features(2, 4, 5, 7), "b": random_features(2, 8, 1, 3)}
    targets = {layer: gram(random_features(1, *F.shape[1:], seed=1)) for layer, F in features.items()}
    n_positions, weights = {"a": 35, "b": 3}, {"a": [0.3, 1.0, 0.0], "b": [5.0, 0.0, 1.0]}
    grams = {layer: LazyGram(F) for layer, F in features.items()}
    rows = {layer: torch.tensor(row, dtype=torch.float64)[:, None] for layer, row in weights.items()}
    found = style_loss(grams, targets, n_positions, rows)
    a, b = (gram_loss(features[layer], targets[layer]) for layer in "ab")
    torch.testing.assert_close(found, torch.stack([0.3 * a + 5 * b, a, b]), rtol=1e-12, atol=0)


@pytest.mark.parametrize("shape", [(64, 4, 4), (16, 8, 8)])
@pytest.mark.parametrize("apart", [1.0, 1e-2])
def test_single_precision_keeps_small_differences(shape, apart):
    style = random_features(1, *shape)
    features = style + apart * random_features(1, *shape, seed=1)
    losses, gradients = [], []
    for dtype in (torch.float64, torch.float32):
        X = features.to(dtype).requires_grad_()
        losses.append(gram_loss(X, gram(style.to(dtype)), "relative"))
        gradients.append(torch.autograd.grad(losses[-1], X)[0])
    exact, single = (loss.item() for loss in losses)
    assert single == pytest.approx(exact, abs=1e-6)  # of the sum of A^2
    assert (gradients[1] - gradients[0]).norm() < 1e-4 * gradients[0].norm()


@pytest.mark.parametrize("shape", [(64, 4, 4), (16, 8, 8)])
def test_derivatives_that_would_be_missing_are_refused(shape):
    features, A = random_features(1, *shape).requires_grad_(), gram(random_features(1, *shape, seed=1))
    with pytest.raises(ValueError, match="expected no second derivative of gram_loss: use style_layer_loss"):
        torch.autograd.grad(gram_loss(features, A).sum(), features, create_graph=True)
    A.requires_grad_()
    with pytest.raises(ValueError, match="expected a target A without a gradient: detach it, or use style_layer_loss"):
        gram_loss(features, A)
    torch.testing.assert_close(
        gram_loss(features, A.detach()), style_layer_loss(gram(features), A, shape[1] * shape[2])
    )


@pytest.mark.parametrize("shape", [(64, 4, 4), (16, 8, 8)])
def test_bf16_features_are_summed_in_float32(shape):
    half, A = random_features(2, *shape).bfloat16().requires_grad_(), gram(random_features(1, *shape, seed=1).float())
    single = half.detach().float().requires_grad_()
    losses = gram_loss(half, A), gram_loss(single, A)
    assert losses[0].dtype == torch.float32 and torch.equal(*losses)
    gradients = [torch.autograd.grad(loss.sum(), x)[0] for loss, x in zip(losses, (half, single))]
    assert gradients[0].dtype == torch.bfloat16
    assert (gradients[0].float() - gradients[1]).norm() < 0.01 * gradients[1].norm()


@pytest.mark.parametrize(
    "features, A, convention, text",
    [
        ((2, 1, 3), (1, 2, 2), "gatys", r"features \(B, C, H, W\), got \(2, 1, 3\)"),
        ((1, 2, 1, 3), (1, 3, 3), "gatys", r"got \(1, 2, 2\) and \(1, 3, 3\)"),
        ((1, 2, 1, 3), (2, 2, 2), "gatys", r"got \(1, 2, 2\) and \(2, 2, 2\)"),
        ((1, 2, 1, 3), (1, 2, 2), "gatis", "gatis"),
    ],
)
def test_bad_input_is_refused(features, A, convention, text):
    with pytest.raises(ValueError, match=text):
        gram_loss(torch.ones(features), torch.ones(A), convention)
