"""The style target: mixtures, masks and channels against arithmetic done by hand, on pictures of 48 pixels."""

import pytest
import torch

from d2lstyle import gram, painting, sample, style_distance, style_layer_loss, stylize, top_channels
from d2lstyle.images import resize
from d2lstyle.mixing import StyleMix


def half_mask(side, left=True):
    """Ones in one half of a square picture and zeros in the other."""
    mask = torch.zeros(1, 1, side, side)
    mask[..., slice(side // 2) if left else slice(side // 2, None)] = 1
    return mask


def spread_mask(side):
    """A mask with all kinds of values, and a whole corner of zeros."""
    mask = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(0))
    mask[..., : side // 2, side // 4 :] = 0
    return mask


def pooled(mask, height, width):
    """(height, width): the mean of a mask over the pixels that each position touches."""
    rows, columns = mask.shape[2:]
    down, across = (
        [slice(i * pixels // places, -(-(i + 1) * pixels // places)) for i in range(places)]
        for pixels, places in ((rows, height), (columns, width))
    )
    return torch.tensor([[mask[0, 0, row, column].mean() for column in across] for row in down])


def targets(net, styles, side=48, **mix):
    """{layer: (C, C)}: the Grams by position that an image of this side is compared to."""
    return {layer: G[0] for layer, (G, _) in StyleMix(styles, **mix).targets(net, net.style_layers, side).items()}


def columns_of(net, style):
    """{layer: (C, positions)}"""
    return {layer: features[0].flatten(1) for layer, features in net(style, net.style_layers).items()}


def test_mixed_targets_are_the_mean_of_the_styles_grams(net, starry, mosaic):
    found = targets(net, [starry, mosaic], weights=[3, 7])
    columns = [columns_of(net, resize(style, 48)) for style in (starry, mosaic)]
    for layer, G in found.items():
        a, b = (style[layer] @ style[layer].T / style[layer].shape[1] for style in columns)
        torch.testing.assert_close(G, 0.3 * a + 0.7 * b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scale, side", [(1.5, 72), (0.75, 36)])
def test_style_scale_is_the_styles_size_over_the_contents(net, mosaic, scale, side):
    found = targets(net, mosaic, scale=scale)
    for layer, columns in columns_of(net, resize(mosaic, side)).items():
        torch.testing.assert_close(found[layer], columns @ columns.T / columns.shape[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("first", ["starry", "photo"])
def test_mixed_features_are_added_place_by_place(net, photo, starry, mosaic, first, masked):
    """The other styles are stretched to the first one's canvas."""
    styles = [{"starry": starry, "photo": photo}[first], mosaic]
    masks = [None, spread_mask(40)] if masked else None
    found = targets(net, styles, masks=masks, weights=[3, 7], mix="features")
    by_grams = targets(net, styles, masks=masks, weights=[3, 7])
    canvas = tuple(styles[0].shape[2:])  # its longer side has 48 pixels, as the content has
    for layer in net.style_layers:
        a, b = (net(resize(style, canvas), [layer])[layer][0] for style in styles)
        if masked:
            weights = pooled(masks[1], *b.shape[1:])
            b = b * (weights / weights.mean()).sqrt()
        mixed = (0.3 * a + 0.7 * b).flatten(1)
        torch.testing.assert_close(found[layer], mixed @ mixed.T / mixed.shape[1], rtol=1e-3, atol=1e-5)
        assert (found[layer] - by_grams[layer]).norm() > 0.02 * by_grams[layer].norm()


@pytest.mark.parametrize("mix", ["grams", "features"])
@pytest.mark.parametrize(
    "shape, scale, canvas",
    [((48, 8), 1, (192, 32)), ((9, 48), 2, (32, 171)), ((48, 48), 0.1, (32, 32)), ((48, 36), 0.5, (43, 32))],
)
def test_a_style_is_never_thinner_than_networks_need(net, mosaic, mix, shape, scale, canvas):
    """Its shape is kept, and so are its mask's places; 48 pixels times the scale would be too few."""
    style, mask = resize(mosaic, shape), spread_mask(48)[..., : shape[0], : shape[1]]
    found = targets(net, [style, style], scale=scale, masks=[mask, mask], mix=mix)
    for layer, features in net(resize(style, canvas), net.style_layers).items():
        columns, weights = features[0].flatten(1), pooled(mask, *features.shape[2:]).flatten()
        mean = columns @ (weights[:, None] * columns.T) / weights.sum()
        torch.testing.assert_close(found[layer], mean, rtol=1e-3, atol=1e-5)


# the positions of a style that count


@pytest.mark.parametrize("mix", ["grams", "features"])
@pytest.mark.parametrize("value", [0.2, 3, True])
def test_a_mask_of_one_value_changes_nothing(net, starry, mosaic, mix, value):
    mask = torch.full((1, 1, 48, 48), value)
    found = targets(net, [starry, mosaic], masks=[mask, None], mix=mix)
    for layer, G in targets(net, [starry, mosaic], mix=mix).items():
        torch.testing.assert_close(found[layer], G, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side, scale", [(48, 1.0), (40, 1.0), (48, 1.5), (96, 0.75), (5, 1.0)])
def test_a_mask_weighs_the_positions_of_every_layer(net, side, scale):
    """Whatever the sizes of mask and layer are, by hand: the Gram of the positions under weights."""
    style, mask = painting("mosaic", size=max(side, 32)), spread_mask(side)
    style = style[..., :side, :side] if side < 32 else style
    found = targets(net, style, masks=mask, scale=scale)
    for layer, features in net(resize(style, round(48 * scale)), net.style_layers).items():
        columns, weights = features[0].flatten(1), pooled(mask, *features.shape[2:]).flatten()
        mean = columns @ (weights[:, None] * columns.T) / weights.sum()
        torch.testing.assert_close(found[layer], mean, rtol=1e-3, atol=1e-5)
        plain = columns @ columns.T / len(weights)
        assert (mean - plain).norm() > 0.02 * plain.norm()


def test_a_mask_that_selects_one_texture_transfers_that_one_alone(net):
    """The style image is half one painting, half another; a mask of either half makes the result that half's."""
    style = torch.cat([painting("starry", size=96)[..., :48], painting("mosaic", size=96)[..., :48]], dim=3)
    halves = resize(style, 72).split(36, dim=3)  # the textures at the size that they are transferred in
    unmasked, *masked = (
        [style_distance(net, image, half).item() for half in halves]
        for mask in (None, half_mask(96), half_mask(96, left=False))
        for image in [stylize(sample("chelsea", size=72), style, style_masks=mask, net=net, steps=25).image]
    )
    for i, distances in enumerate(masked):
        assert distances[i] < unmasked[i] / 2 and distances[1 - i] > 2 * unmasked[1 - i]
        assert distances[1 - i] > 8 * distances[i]


def test_masks_of_other_types_are_taken_as_numbers_and_left_as_they_were(net, photo, starry):
    mask = half_mask(48).requires_grad_()
    kinds = [mask, *(half_mask(48).to(kind) for kind in (torch.bool, torch.float64, torch.uint8))]
    first, *others = (stylize(photo, starry, style_masks=given, net=net, steps=1).image for given in kinds)
    assert all(torch.equal(first, other) for other in others)
    assert torch.equal(mask.detach(), half_mask(48)) and mask.grad is None


@pytest.mark.parametrize("mix", ["grams", "features"])
@pytest.mark.parametrize("n_styles", [1, 2])
def test_each_image_of_a_batch_has_its_own_mask(net, photo, starry, mosaic, mix, n_styles):
    contents, masks = torch.cat([photo, photo]), torch.cat([half_mask(48), half_mask(48, left=False)])
    styles = torch.cat([starry, resize(mosaic, 48)])[:n_styles]  # one style for both, or each its own
    options = {"net": net, "steps": 3, "mix": mix}
    batch = stylize(contents, styles, style_masks=masks, **options).image
    rows = zip(contents.split(1), styles.expand(2, -1, -1, -1).split(1), masks.split(1))
    singles = [stylize(content, style, style_masks=mask, **options).image for content, style, mask in rows]
    torch.testing.assert_close(batch, torch.cat(singles), rtol=0, atol=2e-3)
    assert (batch[0] - batch[1]).abs().max() > 0.05


def test_a_list_of_styles_has_a_list_of_masks(net, photo, starry, mosaic):
    masks = [None, spread_mask(40)]
    found = targets(net, [starry, mosaic], masks=masks, weights=[3, 7])
    first, second = (targets(net, style, masks=mask) for style, mask in zip((starry, mosaic), masks))
    for layer, G in found.items():
        torch.testing.assert_close(G, 0.3 * first[layer] + 0.7 * second[layer], rtol=1e-4, atol=1e-5)
    image = stylize(photo, [starry, mosaic], style_masks=masks, style_weights=[0, 1], net=net, steps=3).image
    assert torch.equal(image, stylize(photo, mosaic, style_masks=masks[1:], net=net, steps=3).image)
    assert not torch.allclose(image, stylize(photo, mosaic, net=net, steps=3).image, atol=0.02)


# the channels that are compared


@pytest.mark.parametrize("keep", [0.3, 5])
@pytest.mark.parametrize("mix", ["grams", "features"])
def test_channels_are_the_most_active_of_the_mixed_and_masked_style(net, starry, mosaic, mix, keep):
    options = {"masks": [half_mask(48), spread_mask(40)], "weights": [6, 4], "mix": mix}
    few = StyleMix([starry, mosaic], channels=keep, **options).targets(net, net.style_layers, 48)
    for layer, G in targets(net, [starry, mosaic], **options).items():
        kept = G.diagonal().topk(5 if keep == 5 else round(0.3 * len(G))).indices.sort().values
        assert torch.equal(few[layer][1], kept[None]) and torch.equal(few[layer][0], G[kept][:, kept][None])
        assert torch.equal(top_channels(G[None], keep)[0], kept)


@pytest.mark.parametrize("keep", [0.2, 3])
def test_each_style_of_a_batch_chooses_its_own_channels(net, photo, starry, mosaic, keep):
    contents, styles = torch.cat([photo, photo.flip(3)]), torch.cat([starry, resize(mosaic, 48)])
    chosen = StyleMix(styles, channels=keep, batch=2).targets(net, net.style_layers, 48).values()
    assert any(not torch.equal(*channels) for _, channels in chosen)
    options = {"net": net, "steps": 3, "style_channels": keep}
    batch = stylize(contents, styles, **options).image
    singles = [stylize(content, style, **options).image for content, style in zip(contents.split(1), styles.split(1))]
    torch.testing.assert_close(batch, torch.cat(singles), rtol=0, atol=2e-3)


# the distance of finished images


def test_distance_is_the_mean_over_layers_of_the_relative_style_loss(net, photo, starry):
    images, styles = columns_of(net, photo), columns_of(net, starry)
    expected = 0
    for layer in net.style_layers:
        G, A = (columns[layer] @ columns[layer].T / columns[layer].shape[1] for columns in (images, styles))
        expected += ((G - A) ** 2).sum() / (A**2).sum() / len(net.style_layers)
    assert style_distance(net, photo, starry).item() == pytest.approx(expected.item(), rel=1e-4)
    assert style_distance(net, starry, starry).item() == pytest.approx(0, abs=1e-6)


def test_layers_of_a_distance_can_be_chosen(net, photo, starry):
    F, S = (net(image, ["relu3_1"])["relu3_1"] for image in (photo, starry))
    expected = style_layer_loss(gram(F) / F[0, 0].numel(), gram(S) / S[0, 0].numel(), 1, "relative")
    torch.testing.assert_close(style_distance(net, photo, starry, style_layers=["relu3_1"]), expected)


def test_distances_of_a_batch_and_of_several_masks_are_those_alone(net, photo, starry):
    images, styles = torch.cat([photo, photo.flip(1)]), torch.cat([starry, starry.flip(1)])
    masks = torch.rand(2, 1, *photo.shape[2:], generator=torch.Generator().manual_seed(0))
    rows = list(zip(images.split(1), styles.split(1), masks.split(1)))
    singles = torch.cat([style_distance(net, image, style, masks=mask) for image, style, mask in rows])
    torch.testing.assert_close(style_distance(net, images, styles, masks=masks), singles, rtol=1e-4, atol=1e-6)
    both = torch.cat([style_distance(net, photo, starry, masks=mask) for mask in masks.split(1)])
    torch.testing.assert_close(style_distance(net, photo, starry, masks=masks), both, rtol=1e-4, atol=1e-6)
    assert abs(both[0] - both[1]) > 1e-4
