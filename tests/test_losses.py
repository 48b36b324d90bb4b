"""The losses against arithmetic done by hand, finite differences, and each other."""

import doctest

import pytest
import torch

from d2lstyle import content_loss, gram, losses, style_layer_loss, style_loss, top_channels, total_variation
from d2lstyle.losses import CONVENTIONS, kept_count

# Two channels, three positions.
F2 = torch.tensor([[1.0, 2, 3], [0, 1, -1]]).view(1, 2, 1, 3)
P2 = torch.tensor([[1.0, 0, 1], [2, 1, 0]]).view(1, 2, 1, 3)
# 1*1+2*2+3*3 = 14;  1*0+2*1+3*(-1) = -1;  0*0+1*1+(-1)*(-1) = 2
G2 = torch.tensor([[[14.0, -1], [-1, 2]]])
# 1+0+1 = 2;  1*2+0*1+1*0 = 2;  4+1+0 = 5
A2 = torch.tensor([[[2.0, 2], [2, 5]]])

# Three channels, two positions: here N^2 is not 4, which tells "d2l" from "gatys".
F3 = torch.tensor([[1.0, 0], [2, 1], [0, -1]]).view(1, 3, 2, 1)
P3 = torch.tensor([[1.0, 1], [0, 1], [2, 0]]).view(1, 3, 2, 1)
G3 = torch.tensor([[[1.0, 2, 0], [2, 5, -1], [0, -1, 1]]])
A3 = torch.tensor([[[2.0, 1, 2], [1, 1, 0], [2, 0, 4]]])


def random_features(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# Gram matrices


@pytest.mark.parametrize("features, expected", [(F2, G2), (P2, A2), (F3, G3), (P3, A3)])
def test_gram_by_hand(features, expected):
    assert torch.equal(gram(features), expected)


def test_gram_of_ones_counts_positions():
    assert torch.equal(gram(torch.ones(2, 3, 4, 5)), torch.full((2, 3, 3), 20.0))


def test_gram_never_mixes_images_of_a_batch():
    features = random_features(2, 4, 3, 5)
    singles = torch.cat([gram(features[:1]), gram(features[1:])])
    torch.testing.assert_close(gram(features), singles, rtol=1e-13, atol=0)


@pytest.mark.parametrize("weights", [torch.ones(2, 1, 3, 5), torch.ones(1, 1, 3, 5), torch.full((2, 1, 3, 5), 7.0)])
def test_equal_weights_change_nothing(weights):
    features = random_features(2, 4, 3, 5)
    torch.testing.assert_close(gram(features, weights), gram(features), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.int64, torch.bool])
def test_a_mask_selects_positions(kind):
    features = random_features(1, 4, 3, 5)
    mask = torch.zeros(15, dtype=kind)
    mask[[0, 3, 4, 11]] = 1
    gathered = features.flatten(2)[:, :, [0, 3, 4, 11]]
    expected = gathered @ gathered.transpose(1, 2) * 15 / 4  # HW / sum w
    torch.testing.assert_close(gram(features, mask.view(1, 1, 3, 5)), expected, rtol=1e-12, atol=1e-12)


def test_each_image_has_its_own_weights():
    features, weights = random_features(2, 4, 3, 5), random_features(2, 1, 3, 5, seed=1).abs()
    singles = torch.cat([gram(features[:1], weights[:1]), gram(features[1:], weights[1:])])
    torch.testing.assert_close(gram(features, weights), singles, rtol=1e-13, atol=1e-13)


def test_gram_with_weights_by_hand():
    # Weights (3, 1, 2) have a mean of 2, so F diag(1.5, 0.5, 1) F^T:
    # 1*1.5+4*0.5+9*1 = 12.5;  0*1.5+2*0.5-3*1 = -2;  0*1.5+1*0.5+1*1 = 1.5
    weighted = gram(F2, torch.tensor([3.0, 1, 2]).view(1, 1, 1, 3))
    assert torch.equal(weighted, torch.tensor([[[12.5, -2], [-2, 1.5]]]))


@pytest.mark.parametrize("chosen", [[(0, 3, 4, 11), (3, 5)], [(0, 1, 2), (2, 7, 14)], [range(15), (6,)], [(14,), (0,)]])
def test_each_image_has_the_gram_of_its_own_region(chosen):
    """Positions that no image of the batch counts are skipped, those of another image are not."""
    features, masks = random_features(2, 4, 3, 5), torch.zeros(2, 1, 15)
    for mask, positions in zip(masks, chosen):
        mask[0, list(positions)] = 1
    found = gram(features, masks.view(2, 1, 3, 5))
    for image, positions, G in zip(features, chosen, found):
        gathered = image.flatten(1)[:, list(positions)]
        torch.testing.assert_close(G, gathered @ gathered.T * 15 / len(positions), rtol=1e-12, atol=1e-12)


def test_one_region_serves_a_batch():
    features, mask = random_features(3, 4, 3, 5), torch.zeros(1, 1, 3, 5)
    mask[..., 1:, 2:4] = 1
    torch.testing.assert_close(gram(features, mask), gram(features, mask.expand(3, -1, -1, -1)), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(gram(features, mask), gram(features[..., 1:, 2:4]) * 15 / 4, rtol=1e-12, atol=1e-12)


# the most active channels


def grams_with_diagonals(*diagonals):
    """Grams whose other entries are far larger: only the diagonal counts."""
    diagonals = torch.tensor(diagonals)
    return torch.full((*diagonals.shape, diagonals.shape[1]), 1e3).diagonal_scatter(diagonals, dim1=1, dim2=2)


@pytest.mark.parametrize(
    "keep, expected",
    [
        (2, [[0, 3], [1, 2]]),
        (0.4, [[0, 3], [1, 2]]),
        (3, [[0, 2, 3], [0, 1, 2]]),
        (0.01, [[3], [1]]),  # one at least
        (0.2, [[3], [1]]),
        (1, [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]),
        (5, [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]),
    ],
)
def test_top_channels_by_hand(keep, expected):
    G = grams_with_diagonals([8.0, 1, 5, 9, 2], [3.0, 9, 7, 0, 1])
    assert top_channels(G, keep).tolist() == expected


def test_a_quarter_of_the_channels_is_chosen_by_default():
    assert top_channels(grams_with_diagonals([1.0, 4, 2, 3, 0, 5, 7, 6])).tolist() == [[6, 7]]


def test_top_channels_are_those_with_the_largest_sum_of_squares():
    features = random_features(3, 8, 4, 5)
    for image, found in zip(features, top_channels(gram(features), 3)):
        assert found.tolist() == sorted(image.square().sum(dim=(1, 2)).topk(3).indices.tolist())


@pytest.mark.parametrize(
    "keep, n, expected",
    [
        (1, 7, 7),
        (1.0, 7, 7),
        (0.5, 7, 4),
        (0.5, 5, 2),
        (0.25, 16, 4),
        (1e-9, 7, 1),
        (2, 7, 2),
        (7, 7, 7),
        (2, 2, 2),
        (1, 1, 1),
        (0.1, 1, 1),
    ],
)
def test_how_many_are_kept(keep, n, expected):
    """3.5 and 2.5 are rounded to the even number."""
    assert kept_count(keep, n) == expected


@pytest.mark.parametrize(
    "keep", [0, 0.0, -1, -0.25, 1.5, 8, 2.0, True, False, None, "2", float("nan"), float("inf"), [2]]
)
def test_other_parts_are_refused(keep):
    with pytest.raises(ValueError, match="a part, above 0 and at most 1, or as a number from 2 to 7, got"):
        kept_count(keep, 7)
    with pytest.raises(ValueError, match="a part, above 0 and at most 1, or as a number from 2 to 7, got"):
        top_channels(torch.rand(1, 7, 7), keep)


# the style term

# G2 - A2 = [[12, -3], [-3, -3]], squares 144+9+9+9 = 171;  N = 2, M = 3, NM = 6;  sum A^2 = 4+4+4+25 = 37
# G3 - A3 = [[-1, 1, -2], [1, 4, -1], [-2, -1, -3]], squares 1+1+4 + 1+16+1 + 4+1+9 = 38;  N = 3, M = 2, NM = 6;
# sum A^2 = 4+1+4 + 1+1+0 + 4+0+16 = 31
STYLE_BY_HAND = [
    (G2, A2, 3, "gatys", 171 / (4 * 36)),
    (G2, A2, 3, "d2l", 171 / 36 / 4),
    (G2, A2, 3, "cs231n", 171 / 36),
    (G2, A2, 3, "relative", 171 / 37),
    (G3, A3, 2, "gatys", 38 / (4 * 36)),
    (G3, A3, 2, "d2l", 38 / 36 / 9),
    (G3, A3, 2, "cs231n", 38 / 36),
    (G3, A3, 2, "relative", 38 / 31),
]


@pytest.mark.parametrize("G, A, n_positions, convention, expected", STYLE_BY_HAND)
def test_style_layer_loss_by_hand(G, A, n_positions, convention, expected):
    loss = style_layer_loss(G, A, n_positions, convention=convention)
    assert loss.shape == (1,) and loss.item() == pytest.approx(expected, rel=1e-6)


def test_gatys_is_the_default_convention():
    assert torch.equal(style_layer_loss(G3, A3, 2), style_layer_loss(G3, A3, 2, convention="gatys"))
    assert torch.equal(content_loss(F3, P3), content_loss(F3, P3, convention="gatys"))


@pytest.mark.parametrize("n_channels, n_positions", [(2, 5), (3, 7), (8, 4)])
def test_conventions_differ_by_the_factors_of_the_table(n_channels, n_positions):
    G = gram(random_features(3, n_channels, 1, n_positions))
    A = gram(random_features(3, n_channels, 1, n_positions, seed=1))
    by_name = {name: style_layer_loss(G, A, n_positions, convention=name) for name in ("gatys", "d2l", "cs231n")}
    torch.testing.assert_close(by_name["d2l"], 4 / n_channels**2 * by_name["gatys"], rtol=1e-13, atol=0)
    torch.testing.assert_close(by_name["cs231n"], 4 * by_name["gatys"], rtol=1e-13, atol=0)


def test_d2l_is_the_mean_square_of_the_books_grams():
    # the book: gram(X) = X X^T / (N M), loss = mean of the squared differences
    X, Y = random_features(1, 4, 3, 5), random_features(1, 4, 3, 5, seed=1)
    book = [x.reshape(4, 15) @ x.reshape(4, 15).T / (4 * 15) for x in (X, Y)]
    loss = style_layer_loss(gram(X), gram(Y), 15, convention="d2l")
    torch.testing.assert_close(loss[0], torch.nn.functional.mse_loss(*book), rtol=1e-12, atol=0)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_one_target_serves_a_batch(convention):
    G, A = gram(random_features(3, 4, 2, 3)), gram(random_features(1, 4, 2, 3, seed=1))
    batch = style_layer_loss(G, A, 6, convention=convention)
    singles = torch.cat([style_layer_loss(each, A, 6, convention=convention) for each in G.split(1)])
    torch.testing.assert_close(batch, singles, rtol=1e-13, atol=0)


def test_relative_is_one_for_an_all_zero_image_at_any_scale():
    for scale in (1e-2, 1, 1e3):
        loss = style_layer_loss(torch.zeros_like(A3), scale * A3, 2, convention="relative")
        assert loss.item() == pytest.approx(1, rel=1e-6)
        assert content_loss(torch.zeros_like(P3), scale * P3, convention="relative").item() == pytest.approx(
            1, rel=1e-6
        )


def test_relative_stays_finite_where_the_target_is_zero():
    assert style_layer_loss(G3, torch.zeros_like(G3), 2, convention="relative").isfinite().all()
    assert content_loss(F3, torch.zeros_like(F3), convention="relative").isfinite().all()


# From the table above: "gatys" gives 171/144 in the first layer and 38/144 in the second, "cs231n" four times as much.
@pytest.mark.parametrize(
    "layer_weights, convention, expected",
    [
        (None, "gatys", (171 + 38) / 144),
        ({"a": 1, "b": 1}, "gatys", (171 + 38) / 144),
        ({"a": 2, "b": 0.5}, "gatys", (2 * 171 + 19) / 144),
        ({"a": 0, "b": 3}, "cs231n", 3 * 38 / 36),
    ],
)
def test_style_loss_weighs_its_layers(layer_weights, convention, expected):
    grams, targets, n_positions = {"a": G2, "b": G3}, {"a": A2, "b": A3}, {"a": 3, "b": 2}
    loss = style_loss(grams, targets, n_positions, layer_weights=layer_weights, convention=convention)
    assert loss.shape == (1,) and loss.item() == pytest.approx(expected, rel=1e-6)


# the content term


# F2 - P2 = [[0, 2, 2], [-2, 0, -1]], squares 4+4+4+1 = 13 over 6 values;  sum P^2 = 1+1+4+1 = 7
@pytest.mark.parametrize(
    "convention, expected", [("gatys", 6.5), ("d2l", 13 / 6), ("cs231n", 13), ("relative", 13 / 7)]
)
def test_content_loss_by_hand(convention, expected):
    loss = content_loss(F2, P2, convention=convention)
    assert loss.shape == (1,) and loss.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_content_loss_of_a_batch_equals_singles(convention):
    F, P = random_features(3, 4, 2, 3), random_features(3, 4, 2, 3, seed=1)
    batch = content_loss(F, P, convention=convention)
    singles = torch.cat([content_loss(f, p, convention=convention) for f, p in zip(F.split(1), P.split(1))])
    torch.testing.assert_close(batch, singles, rtol=1e-13, atol=0)


# total variation


def checkerboard(height, width, top=1.0):
    rows, columns = torch.arange(height).view(-1, 1), torch.arange(width)
    return ((rows + columns) % 2 * top).view(1, 1, height, width).expand(1, 3, -1, -1)


# 4 x 4, three channels: 3 * (12 down + 12 across) = 72 neighbours, each as far apart as `top`.
# 3 x 5, three channels: 3 * (10 down + 12 across) = 66. The "d2l" mean is `top` in either direction.
@pytest.mark.parametrize(
    "images, convention, expected",
    [
        (checkerboard(4, 4), "lecture", 72),
        (checkerboard(4, 4), "d2l", 1),
        (checkerboard(4, 4), "cs231n", 72),
        (checkerboard(4, 4, top=2.0), "lecture", 144),
        (checkerboard(4, 4, top=2.0), "d2l", 2),
        (checkerboard(4, 4, top=2.0), "cs231n", 288),
        (checkerboard(3, 5), "lecture", 66),
        (checkerboard(3, 5), "d2l", 1),
        (checkerboard(3, 5), "cs231n", 66),
        # rows (0, 1, 3) twice: down 0, 0, 0; across 1, 2, 1, 2
        (torch.tensor([[[[0.0, 1, 3], [0, 1, 3]]]]), "lecture", 6),
        (torch.tensor([[[[0.0, 1, 3], [0, 1, 3]]]]), "d2l", (0 / 3 + 6 / 4) / 2),
        (torch.tensor([[[[0.0, 1, 3], [0, 1, 3]]]]), "cs231n", 1 + 4 + 1 + 4),
    ],
)
def test_total_variation_by_hand(images, convention, expected):
    assert total_variation(images, convention=convention).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("convention", ["lecture", "d2l", "cs231n"])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 1, 1)])
def test_total_variation_of_a_constant_is_zero(shape, convention):
    assert torch.equal(total_variation(torch.full(shape, 0.7), convention=convention), torch.zeros(shape[0]))


@pytest.mark.parametrize("convention", ["lecture", "d2l", "cs231n"])
def test_total_variation_of_a_batch_equals_singles(convention):
    images = random_features(3, 3, 4, 5)
    singles = torch.cat([total_variation(image, convention=convention) for image in images.split(1)])
    torch.testing.assert_close(total_variation(images, convention=convention), singles, rtol=1e-13, atol=0)


def test_lecture_is_the_default_total_variation():
    assert total_variation(checkerboard(4, 4, top=2.0)).item() == 144


# gradients

X, Y = random_features(2, 2, 2, 3), random_features(2, 2, 2, 3, seed=1)
WEIGHTS = random_features(2, 1, 2, 3, seed=2).abs()
MASK = torch.tensor([1.0, 0, 0, 1, 1, 0]).view(1, 1, 2, 3)
MASKS = torch.tensor([[1.0, 0, 0, 1, 1, 0], [0, 0, 0, 1, 0, 1]]).view(2, 1, 2, 3)


@pytest.mark.parametrize(
    "function, inputs",
    [
        (gram, (X,)),
        (gram, (X, WEIGHTS)),
        (lambda features: gram(features, WEIGHTS), (X,)),
        (lambda features: gram(features, MASK), (X,)),
        (lambda features: gram(features, MASKS), (X,)),
        *((lambda G, A, c=c: style_layer_loss(G, A, 6, convention=c), (gram(X), gram(Y))) for c in CONVENTIONS),
        *((lambda F, P, c=c: content_loss(F, P, convention=c), (X, Y)) for c in CONVENTIONS),
        (lambda images: total_variation(images, convention="cs231n"), (X,)),
    ],
)
def test_gradients_agree_with_finite_differences(function, inputs):
    assert torch.autograd.gradcheck(function, [each.clone().requires_grad_() for each in inputs])


# what is refused

ONES = torch.ones(1, 2, 3, 3)


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: gram(torch.ones(2, 3, 3)), r"features \(B, C, H, W\), got \(2, 3, 3\)"),
        (lambda: gram(ONES, torch.ones(3, 3)), r"weights \(1, 1, 3, 3\), got \(3, 3\)"),
        (lambda: gram(ONES, torch.ones(1, 1, 3, 4)), r"weights \(1, 1, 3, 3\), got \(1, 1, 3, 4\)"),
        (lambda: gram(ONES, torch.ones(2, 1, 3, 3)), r"weights \(1, 1, 3, 3\), got \(2, 1, 3, 3\)"),
        (lambda: gram(ONES, -torch.ones(1, 1, 3, 3)), "non-negative"),
        (lambda: gram(ONES, torch.zeros(1, 1, 3, 3)), "positive sum"),
        (lambda: gram(ONES, torch.full((1, 1, 3, 3), torch.nan)), "non-negative"),
        (
            lambda: gram(ONES.expand(2, -1, -1, -1), torch.stack([torch.ones(1, 3, 3), torch.zeros(1, 3, 3)])),
            "positive sum",
        ),
        (lambda: top_channels(G2[0]), r"Grams \(B, C, C\), got \(2, 2\)"),
        (lambda: top_channels(torch.ones(1, 2, 3)), r"Grams \(B, C, C\), got \(1, 2, 3\)"),
        (lambda: style_layer_loss(G2, A3, 2), r"\(1, 2, 2\) and \(1, 3, 3\)"),
        (lambda: style_layer_loss(G2[0], A2[0], 2), r"Grams \(B, C, C\)"),
        (lambda: style_layer_loss(G2, A2.expand(2, 2, 2), 2), r"\(1, 2, 2\) and \(2, 2, 2\)"),
        (lambda: style_layer_loss(G2, A2, 2, convention="gatis"), "unknown convention .gatis.: did you mean .gatys."),
        (lambda: content_loss(F2, F3), r"\(1, 2, 1, 3\) and \(1, 3, 2, 1\)"),
        (lambda: content_loss(F2[0], F2[0]), r"feature maps \(B, C, H, W\)"),
        (lambda: content_loss(F2, P2.expand(2, 2, 1, 3)), r"\(1, 2, 1, 3\) and \(2, 2, 1, 3\)"),
        (lambda: content_loss(F2, P2, convention="lecture"), "unknown convention .lecture.: There are gatys"),
        (lambda: total_variation(torch.ones(3, 4, 4)), r"images \(B, C, H, W\), got \(3, 4, 4\)"),
        (lambda: total_variation(ONES, convention="gatys"), "unknown convention .gatys.: There are lecture, d2l"),
        (lambda: style_loss({"a": G2}, {"b": A2}, {"a": 3}), r"targets for the layers \['a'\], got \['b'\]"),
        (lambda: style_loss({"a": G2}, {"a": A2}, {}), r"n_positions for the layers \['a'\], got \[\]"),
        (lambda: style_loss({"a": G2}, {"a": A2}, {"a": 3}, layer_weights={"b": 1}), r"layer_weights .* got \['b'\]"),
    ],
)
def test_bad_input_is_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_examples_in_the_docstrings_hold():
    outcome = doctest.testmod(losses, extraglobs={"torch": torch})
    assert outcome.attempted >= 5 and outcome.failed == 0
