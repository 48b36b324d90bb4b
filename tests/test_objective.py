"""`style_distance`, the style loss of finished images; the objective itself is tested by test_transfer."""

import pytest
import torch

from d2lstyle import gram, style_distance, style_layer_loss


def test_the_same_image_has_no_distance(net, starry):
    assert style_distance(net, starry, starry).item() == pytest.approx(0, abs=1e-6)


def test_distance_is_the_mean_over_layers_of_the_relative_style_loss(net, photo, starry):
    expected = 0
    for layer in net.style_layers:
        F, S = net(photo, [layer])[layer], net(starry, [layer])[layer]
        G, A = (torch.einsum("bihw,bjhw->bij", f, f) / f[0, 0].numel() for f in (F, S))
        expected += ((G - A) ** 2).sum() / (A**2).sum() / len(net.style_layers)
    assert style_distance(net, photo, starry).item() == pytest.approx(expected.item(), rel=1e-4)


def test_layers_can_be_chosen(net, photo, starry):
    F, S = (net(image, ["relu3_1"])["relu3_1"] for image in (photo, starry))
    expected = style_layer_loss(gram(F) / F[0, 0].numel(), gram(S) / S[0, 0].numel(), 1, "relative")
    torch.testing.assert_close(style_distance(net, photo, starry, style_layers=["relu3_1"]), expected)


def test_a_batch_equals_its_images(net, photo, starry):
    images, styles = torch.cat([photo, photo.flip(1)]), torch.cat([starry, starry.flip(1)])
    masks = torch.rand(2, 1, *photo.shape[2:], generator=torch.Generator().manual_seed(0))
    singles = [style_distance(net, images[i : i + 1], styles[i : i + 1], masks=masks[i : i + 1]) for i in (0, 1)]
    torch.testing.assert_close(
        style_distance(net, images, styles, masks=masks), torch.cat(singles), rtol=1e-4, atol=1e-6
    )


def test_one_image_may_have_several_masks(net, photo, starry):
    left = torch.zeros_like(photo[:, :1])
    left[..., :24] = 1
    masks = torch.cat([torch.ones_like(left), left])
    whole, half = style_distance(net, photo, starry, masks=masks)
    torch.testing.assert_close(whole, style_distance(net, photo, starry)[0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(half, style_distance(net, photo, starry, masks=left)[0], rtol=1e-4, atol=1e-6)
    assert abs(whole - half) > 1e-3
