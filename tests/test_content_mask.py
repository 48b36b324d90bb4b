"""Painting a part of the photo, or each region in a style of its own: against arithmetic done by hand."""

import pytest
import torch

from d2lstyle import fast_stylize, gram, style_distance, style_layer_loss, stylize
from d2lstyle.images import resize
from d2lstyle.mixing import StyleMix
from d2lstyle.transfer import Objective

LEFT = torch.zeros(1, 1, 32, 48)
LEFT[..., :20] = 1
LEFT[..., 20:28] = torch.linspace(0.9, 0.1, 8)  # a soft edge
RIGHT = 1 - LEFT
OVERLAP = RIGHT.clone()
OVERLAP[..., 8:] = 1


def objective_of(net, photo, styles, masks):
    objective = Objective(
        net, photo, StyleMix(styles), dict.fromkeys(["content_weight", "style_weight", "tv_weight"]), content_mask=masks
    )
    objective.set_size(tuple(photo.shape[2:]))
    return objective


@pytest.mark.parametrize("method", ["optimise", "fast"])
@pytest.mark.parametrize("mask", [torch.ones(1, 1, 32, 48), torch.ones(1, 1, 32, 48) > 0, [torch.ones(1, 1, 32, 48)]])
def test_a_mask_of_ones_changes_nothing(net, photo, starry, mask, method):
    plain, masked = (
        stylize(photo, starry, content_mask=given, net=net, steps=4, method=method) for given in (None, mask)
    )
    assert torch.equal(masked.image, plain.image)
    assert [step.losses for step in masked.history] == [step.losses for step in plain.history]


@pytest.mark.parametrize("options", [{}, {"init": "noise", "optimizer": "adam"}, {"preserve_color": True}])
def test_the_photo_stays_bit_for_bit_where_the_mask_is_zero(net, photo, starry, options):
    shown = []
    result = stylize(
        photo, starry, content_mask=LEFT, net=net, steps=3, callback=lambda step: shown.append(step.image), **options
    )
    for image in (*shown, result.image):
        assert torch.equal(image[..., 28:], photo[..., 28:]) and (image - photo)[..., :20].abs().mean() > 0.01
        # in a soft edge as much of the photo stays as the mask says: nothing painted is farther from it than 1
        assert ((image - photo).abs()[..., 20:28] <= LEFT[..., 20:28] + 1e-6).all()


def test_at_another_size_the_resized_photo_stays(net, photo, starry):
    result = stylize(photo, starry, content_mask=LEFT, net=net, sizes=[48, 72], steps=[2, 2]).image
    assert torch.equal(result[..., 48:], resize(photo, 72)[..., 48:])
    assert (result - resize(photo, 72))[..., :28].abs().mean() > 0.01


def test_a_result_is_the_blend_of_what_is_painted(net, photo, starry, mosaic):
    a, b = (fast_stylize(photo, style, net=net) for style in (starry, mosaic))
    one = stylize(photo, starry, content_mask=LEFT, net=net, method="fast").image
    torch.testing.assert_close(one, LEFT * a + (1 - LEFT) * photo)
    two = stylize(photo, [starry, mosaic], content_mask=[LEFT, OVERLAP], net=net, method="fast").image
    torch.testing.assert_close(two, (LEFT * a + OVERLAP * b) / (LEFT + OVERLAP))
    gap = stylize(photo, [starry, mosaic], content_mask=[LEFT / 2, RIGHT / 4], net=net, method="fast").image
    torch.testing.assert_close(gap, LEFT / 2 * a + RIGHT / 4 * b + (1 - LEFT / 2 - RIGHT / 4) * photo)


@pytest.mark.parametrize("masks", [[LEFT, RIGHT], [LEFT, OVERLAP], [LEFT / 2, RIGHT / 4], LEFT])
def test_the_style_loss_is_that_of_each_regions_gram(net, photo, starry, mosaic, masks):
    """By its part of the picture; where masks overlap, the parts are scaled to what they cover together."""
    image = resize(starry, (32, 48)).flip(3)
    losses = objective_of(net, photo, [starry, mosaic], masks)(image)
    regions = list(zip(masks, [[starry], [mosaic]])) if isinstance(masks, list) else [(masks, [starry, mosaic])]
    total = sum(mask for mask, _ in regions)
    union = total.clamp(max=1)
    features = net(union * image + (1 - union) * photo, net.style_layers)
    expected = 0
    for mask, styles in regions:
        part = mask.mean() / total.mean() * union.mean()
        of_styles = [net(resize(style, 48), net.style_layers) for style in styles]
        for layer, F in features.items():
            n = F.shape[2:].numel()
            target = sum(gram(of_style[layer]) / of_style[layer][0, 0].numel() for of_style in of_styles) / len(styles)
            G = gram(F, torch.nn.functional.adaptive_avg_pool2d(mask, F.shape[2:]))
            expected += part * style_layer_loss(G, n * target, n, "relative") / len(features)
    torch.testing.assert_close(losses["style"], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("styles", [1, 2])
def test_no_gradient_reaches_the_photo_that_stays(net, photo, starry, mosaic, styles):
    middle = LEFT * (torch.arange(48) >= 10)
    masks = [middle * (torch.arange(48) < 15), middle * (torch.arange(48) >= 15)] if styles == 2 else middle
    image = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0), requires_grad=True)
    objective_of(net, photo, [starry, mosaic][:styles], masks)(image)["total"].sum().backward()
    gradient = image.grad.abs().amax(dim=1, keepdim=True)
    assert (gradient[middle == 0] == 0).all() and (gradient[middle > 0] > 0).float().mean() > 0.99


@pytest.mark.parametrize("styles", [1, 2])
@pytest.mark.parametrize("method", ["optimise", "fast"])
def test_each_image_of_a_batch_has_its_own_masks(net, photo, starry, mosaic, styles, method):
    contents, style = torch.cat([photo, photo]), [starry, resize(mosaic, 48)][:styles]
    masks = [torch.cat([LEFT, RIGHT]), torch.cat([RIGHT, LEFT])][:styles]
    options = {"net": net, "steps": 3, "method": method}
    batch = stylize(contents, style, content_mask=masks if styles == 2 else masks[0], **options).image
    for i, image in enumerate(batch.split(1)):
        of_one = [mask[i : i + 1] for mask in masks]
        alone = stylize(photo, style, content_mask=of_one if styles == 2 else of_one[0], **options).image
        torch.testing.assert_close(image, alone, rtol=0, atol=2e-3)
    assert (batch[0] - batch[1]).abs().max() > 0.05


def test_each_region_takes_its_own_style(net, photo, starry, mosaic):
    image = stylize(photo, [starry, mosaic], content_mask=[LEFT, RIGHT], net=net, steps=25).image
    (left_starry, left_mosaic), (right_starry, right_mosaic) = (
        [style_distance(net, image, style, masks=mask).item() for style in (starry, mosaic)] for mask in (LEFT, RIGHT)
    )
    assert left_starry < left_mosaic / 2 and right_mosaic < right_starry / 2


def test_a_part_is_pulled_to_the_style_as_strongly_as_the_whole(net, photo, starry):
    """Half of a picture that is twice the same: its loss counts by half, and is pulled by half as many positions."""
    twice = torch.cat([photo, photo], dim=3)
    half = torch.zeros(1, 1, 32, 96)
    half[..., :48] = 1
    pulls = []
    for mask in (None, half):
        image = twice.clone().requires_grad_()
        objective_of(net, twice, starry, mask)(image)["style"].sum().backward()
        pulls.append(image.grad[..., :32])  # the seam sees the other half
    whole, part = pulls
    assert 0.95 < part.norm() / whole.norm() < 1.05
    assert (part * whole).sum() > 0.95 * part.norm() * whole.norm()
