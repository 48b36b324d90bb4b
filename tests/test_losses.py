"""The losses against arithmetic done by hand, finite differences, and each other."""

import pytest
import torch

from d2lstyle import content_loss, gram, style_layer_loss, style_loss, top_channels, total_variation
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


def test_gram_never_mixes_images_of_a_batch():
    features = random_features(2, 4, 3, 5)
    singles = torch.cat([gram(features[:1]), gram(features[1:])])
    torch.testing.assert_close(gram(features), singles, rtol=1e-13, atol=0)


def test_equal_weights_change_nothing():
    features = random_features(2, 4, 3, 5)
    for weights in (torch.ones(2, 1, 3, 5), torch.ones(1, 1, 3, 5), torch.full((2, 1, 3, 5), 7.0)):
        torch.testing.assert_close(gram(features, weights), gram(features), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.int64, torch.bool])
def test_one_mask_selects_positions_of_a_batch(kind):
    features, mask = random_features(3, 4, 3, 5), torch.zeros(1, 1, 3, 5, dtype=kind)
    mask[..., 1:, 2:4] = 1
    expected = gram(features[..., 1:, 2:4]) * 15 / 4  # HW / sum w
    torch.testing.assert_close(gram(features, mask), expected, rtol=1e-12, atol=1e-12)


def test_each_image_has_its_own_weights():
    features, weights = random_features(2, 4, 3, 5), random_features(2, 1, 3, 5, seed=1).abs()
    singles = torch.cat([gram(features[:1], weights[:1]), gram(features[1:], weights[1:])])
    torch.testing.assert_close(gram(features, weights), singles, rtol=1e-13, atol=1e-13)


def test_gram_with_weights_by_hand():
    # Weights (3, 1, 2) have a mean of 2, so F diag(1.5, 0.5, 1) F^T:
    # 1*1.5+4*0.5+9*1 = 12.5;  0*1.5+2*0.5-3*1 = -2;  0*1.5+1*0.5+1*1 = 1.5
    weighted = gram(F2, torch.tensor([3.0, 1, 2]).view(1, 1, 1, 3))
    assert torch.equal(weighted, torch.tensor([[[12.5, -2], [-2, 1.5]]]))


@pytest.mark.parametrize("chosen", [[(0, 3, 4, 11), (3, 5)], [range(15), (6,)], [(14,), (0,)]])
def test_each_image_has_the_gram_of_its_own_region(chosen):
    """Positions that no image of the batch counts are skipped, those of another image are not."""
    features, masks = random_features(2, 4, 3, 5), torch.zeros(2, 1, 15)
    for mask, positions in zip(masks, chosen):
        mask[0, list(positions)] = 1
    for image, positions, G in zip(features, chosen, gram(features, masks.view(2, 1, 3, 5))):
        gathered = image.flatten(1)[:, list(positions)]
        torch.testing.assert_close(G, gathered @ gathered.T * 15 / len(positions), rtol=1e-12, atol=1e-12)


# the most active channels


def grams_with_diagonals(*diagonals):
    """Grams whose other entries are far larger: only the diagonal counts."""
    diagonals = torch.tensor(diagonals)
    return torch.full((*diagonals.shape, diagonals.shape[1]), 1e3).diagonal_scatter(diagonals, dim1=1, dim2=2)


# 0.01 of five channels is one at least
@pytest.mark.parametrize("keep, counts", [(2, 2), (0.4, 2), (3, 3), (0.01, 1), (0.2, 1), (1, 5), (5, 5)])
def test_top_channels_by_hand(keep, counts):
    G = grams_with_diagonals([8.0, 1, 5, 9, 2], [3.0, 9, 7, 0, 1])
    by_energy = [3, 0, 2, 4, 1], [1, 2, 0, 4, 3]
    assert top_channels(G, keep).tolist() == [sorted(channels[:counts]) for channels in by_energy]


def test_a_quarter_of_the_channels_is_chosen_by_default():
    assert top_channels(grams_with_diagonals([1.0, 4, 2, 3, 0, 5, 7, 6])).tolist() == [[6, 7]]


def test_top_channels_are_those_with_the_largest_sum_of_squares():
    features = random_features(3, 8, 4, 5)
    for image, found in zip(features, top_channels(gram(features), 3)):
        assert found.tolist() == sorted(image.square().sum(dim=(1, 2)).topk(3).indices.tolist())


# 3.5 and 2.5 are rounded to the even number
@pytest.mark.parametrize(
    "keep, n, expected", [(1.0, 7, 7), (0.5, 7, 4), (0.5, 5, 2), (2, 2, 2), (1, 1, 1), (0.1, 1, 1)]
)
def test_how_many_are_kept(keep, n, expected):
    assert kept_count(keep, n) == expected


@pytest.mark.parametrize("keep", [0, 0.0, -1, -0.25, 1.5, 8, 2.0, True, None, "2", float("nan"), float("inf"), [2]])
def test_other_parts_are_refused(keep):
    with pytest.raises(ValueError, match="a part, above 0 and at most 1, or as a number from 2 to 7, got"):
        top_channels(torch.rand(1, 7, 7), keep)


# the style term


# G2 - A2 = [[12, -3], [-3, -3]], squares 144+9+9+9 = 171;  N = 2, M = 3, NM = 6;  sum A^2 = 4+4+4+25 = 37
# G3 - A3 = [[-1, 1, -2], [1, 4, -1], [-2, -1, -3]], squares 1+1+4 + 1+16+1 + 4+1+9 = 38;  N = 3, M = 2, NM = 6;
# sum A^2 = 4+1+4 + 1+1+0 + 4+0+16 = 31
@pytest.mark.parametrize(
    "convention, first, second",
    [
        ("gatys", 171 / (4 * 36), 38 / (4 * 36)),
        ("d2l", 171 / 36 / 4, 38 / 36 / 9),
        ("cs231n", 171 / 36, 38 / 36),
        ("relative", 171 / 37, 38 / 31),
    ],
)
def test_style_layer_loss_by_hand(convention, first, second):
    assert style_layer_loss(G2, A2, 3, convention=convention).tolist() == pytest.approx([first], rel=1e-6)
    assert style_layer_loss(G3, A3, 2, convention=convention).tolist() == pytest.approx([second], rel=1e-6)


def test_gatys_is_the_default_convention():
    assert style_layer_loss(G3, A3, 2).item() == pytest.approx(38 / 144) and content_loss(F2, P2).item() == 6.5


def test_d2l_is_the_mean_square_of_the_books_grams():
    # the book: gram(X) = X X^T / (N M), loss = mean of the squared differences
    X, Y = random_features(1, 4, 3, 5), random_features(1, 4, 3, 5, seed=1)
    book = [x.reshape(4, 15) @ x.reshape(4, 15).T / (4 * 15) for x in (X, Y)]
    loss = style_layer_loss(gram(X), gram(Y), 15, convention="d2l")
    torch.testing.assert_close(loss[0], torch.nn.functional.mse_loss(*book), rtol=1e-12, atol=0)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_a_batch_equals_singles_and_may_share_its_target(convention):
    F, P = random_features(3, 4, 2, 3), random_features(3, 4, 2, 3, seed=1)
    for loss, x, target in (
        (lambda G, A: style_layer_loss(G, A, 6, convention=convention), gram(F), gram(P)),
        (lambda F, P: content_loss(F, P, convention=convention), F, P),
    ):
        singles = torch.cat([loss(one, its) for one, its in zip(x.split(1), target.split(1))])
        torch.testing.assert_close(loss(x, target), singles, rtol=1e-13, atol=0)
        shared = torch.cat([loss(one, target[:1]) for one in x.split(1)])
        torch.testing.assert_close(loss(x, target[:1]), shared, rtol=1e-13, atol=0)


def test_relative_is_one_for_an_all_zero_image_at_any_scale():
    for scale in (1e-2, 1, 1e3):
        style = style_layer_loss(torch.zeros_like(A3), scale * A3, 2, convention="relative")
        content = content_loss(torch.zeros_like(P3), scale * P3, convention="relative")
        assert (style.item(), content.item()) == pytest.approx((1, 1), rel=1e-6)


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


# total variation


def checkerboard(height, width, top=1.0):
    rows, columns = torch.arange(height).view(-1, 1), torch.arange(width)
    return ((rows + columns) % 2 * top).view(1, 1, height, width).expand(1, 3, -1, -1)


# 4 x 4, three channels: 3 * (12 down + 12 across) = 72 neighbours, each as far apart as `top`.
# 3 x 5, three channels: 3 * (10 down + 12 across) = 66. The "d2l" mean is `top` in either direction.
# rows (0, 1, 3) twice: down 0, 0, 0; across 1, 2, 1, 2
@pytest.mark.parametrize(
    "images, lecture, d2l, cs231n",
    [
        (checkerboard(4, 4), 72, 1, 72),
        (checkerboard(4, 4, top=2.0), 144, 2, 288),
        (checkerboard(3, 5), 66, 1, 66),
        (torch.tensor([[[[0.0, 1, 3], [0, 1, 3]]]]), 6, (0 / 3 + 6 / 4) / 2, 1 + 4 + 1 + 4),
    ],
)
def test_total_variation_by_hand(images, lecture, d2l, cs231n):
    losses = [total_variation(images, convention=name).item() for name in ("lecture", "d2l", "cs231n")]
    assert losses == pytest.approx([lecture, d2l, cs231n], rel=1e-6)
    assert total_variation(images).item() == pytest.approx(lecture, rel=1e-6)


@pytest.mark.parametrize("convention", ["lecture", "d2l", "cs231n"])
def test_total_variation_of_a_constant_is_zero_and_of_a_batch_that_of_singles(convention):
    for shape in ((2, 3, 4, 5), (1, 1, 1, 1)):
        assert torch.equal(total_variation(torch.full(shape, 0.7), convention=convention), torch.zeros(shape[0]))
    images = random_features(3, 3, 4, 5)
    singles = torch.cat([total_variation(image, convention=convention) for image in images.split(1)])
    torch.testing.assert_close(total_variation(images, convention=convention), singles, rtol=1e-13, atol=0)


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
    assert torch.autograd.gradcheck(function, [x.clone().requires_grad_() for x in inputs])


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
        (lambda: gram(ONES, ONES[:, :1].masked_fill(torch.eye(3) > 0, torch.inf)), "finite, non-negative"),
        (lambda: gram(ONES.expand(2, -1, -1, -1), torch.stack([ONES[0, :1], 0 * ONES[0, :1]])), "positive sum"),
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
        (lambda: style_loss({"a": G2}, {"a": A2}, {"a": 3}, {"a": -1}), "layer weight of a as a number .*, got -1"),
        (lambda: style_loss({"a": G2}, {"a": A2}, {"a": 3}, {"a": torch.nan}), "layer weight of a as .*, got nan"),
    ],
)
def test_bad_input_is_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()
