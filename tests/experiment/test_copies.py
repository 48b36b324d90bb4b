"""Copies of photos: whose they are and what they look like, colours moved without a network, and a small GAN."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import scipy.linalg
import torch
from test_pool import small, tiny_plan

from d2lstyle import fast_stylize, load_dataset, read_image, sample
from d2lstyle.experiment import copies as module
from d2lstyle.experiment import gan
from d2lstyle.experiment.copies import Colors, CopyMaker, color_statistics, important_square, match_colors
from d2lstyle.experiment.gan import invent, trained_generator
from d2lstyle.fast.painting import draw_shares


@pytest.fixture(scope="module")
def maker(tmp_path_factory):
    """Of a class folder of cats and cups, and of two small styles."""
    folder = tmp_path_factory.mktemp("copies")
    return CopyMaker(tiny_plan(folder / "photos"), folder / "work", 1, lambda *_: None)


@pytest.fixture(scope="module")
def train(maker):
    return load_dataset(maker.plan.data, "train", size=40)


def shares_of(number, copy, side=0):
    """Of two styles, as the plan's seedless draw gives them to a photo of the training side."""
    return draw_shares(np.random.default_rng([1, side, number, copy]), 2, 0.2)


# the kinds


@pytest.mark.parametrize("kind", ["styled", "regions"])
def test_painted_copies_are_their_photos_in_their_own_mixtures(maker, train, kind):
    """By the public function, photo by photo; in another order, and on another side, which has mixtures of its own."""
    styles = maker.styles if kind == "styled" else [important_square(style) for style in maker.styles]
    for name, side, numbers in (("train", 0, [9, 2]), ("validation", 1, [2])):
        out = maker.make(kind, train.subset(numbers), torch.tensor(numbers), name)
        assert out.dtype == torch.uint8 and out.shape == (len(numbers), 2, 3, 32, 32)
        for number, copies in zip(numbers, out):
            for copy, picture in enumerate(copies):
                weights = shares_of(number, copy, side).tolist()
                expected = small(fast_stylize(train[number][0][None], styles, style_weights=weights))[0]
                assert (picture.int() - expected.int()).abs().max() <= 1
        assert (out[:, 0].int() - out[:, 1].int()).abs().max() > 8


def test_recoloured_copies_take_the_colours_of_their_own_mixture(maker, train):
    """By numpy and scipy."""
    numbers = [1, 8, 10]
    out = maker.make("recoloured", train.subset(numbers), torch.tensor(numbers)).flatten(0, 1)
    pixels = [style[0].flatten(1).double().numpy() for style in maker.styles]
    for i, picture in enumerate(out):
        image = train[numbers[i // 2]][0].flatten(1).double().numpy()
        share = shares_of(numbers[i // 2], i % 2)
        weights = np.concatenate([np.full(p.shape[1], part / p.shape[1]) for p, part in zip(pixels, share)])
        target = np.concatenate(pixels, axis=1)
        mean, covariance = np.average(target, axis=1, weights=weights), np.cov(target, aweights=weights, bias=True)
        root = scipy.linalg.sqrtm(np.cov(image, bias=True) + 1e-6 * np.eye(3))
        move = np.linalg.inv(root) @ scipy.linalg.sqrtm(root @ covariance @ root).real @ np.linalg.inv(root)
        moved = (move @ (image - image.mean(1, keepdims=True)) + mean[:, None]).clip(0, 1).reshape(1, 3, 40, 40)
        assert (picture.int() - small(torch.from_numpy(moved).float())[0].int()).abs().max() <= 1


def test_relatives_take_the_style_of_another_photo_and_never_their_own(maker, train, monkeypatch):
    photos, styles, painted = train.subset(range(6)), torch.tensor([0, 2, 5]), []
    monkeypatch.setattr(maker, "plan", replace(maker.plan, copies=40))
    monkeypatch.setattr(maker, "_painted", lambda *what: painted.append(what) or torch.zeros(240, 1))
    for seed in (3, 3, 4):
        maker.relatives(photos, styles, seed)
    (_, pictures, shares, _), (_, _, again, _), (_, _, other, _) = painted
    assert torch.equal(shares, again) and not torch.equal(shares, other)
    assert all(torch.equal(picture[0], photos[i][0]) for picture, i in zip(pictures, styles))
    chosen = shares.view(6, 40, 3)
    assert (chosen.sum(2) == 1).all() and chosen.unique().tolist() == [0, 1]
    never = (chosen.sum(1) == 0).nonzero().tolist()
    assert never == [[position, place] for place, position in enumerate(styles.tolist())]


def test_relatives_are_painted_as_the_public_function_does(maker, train):
    """Of two photos each has one style left: the other photo."""
    photos = train.subset([3, 7])
    for i, copies in enumerate(maker.relatives(photos, torch.tensor([0, 1]), 0)):
        expected = small(fast_stylize(photos[i][0][None], photos[1 - i][0][None]))
        assert (copies.int() - expected.int()).abs().max() <= 1


def test_a_gan_is_given_a_seeds_own_photos_and_asked_for_their_classes(maker, train, monkeypatch):
    photos, calls = train.subset([7, 0, 2, 11]), []
    monkeypatch.setattr(module, "trained_generator", lambda *what, seed, callback: calls.append((*what, seed)) or "net")
    samples = torch.arange(8.0)[:, None, None, None].expand(-1, 3, 32, 32) / 255
    monkeypatch.setattr(module, "invent", lambda *what: calls.append(what) or samples)
    out = maker.invented(photos, 5)
    (images, labels, classes, seed), (network, asked, again) = calls
    assert torch.equal(images, photos.batch(range(4))[0]) and labels.tolist() == [1, 0, 0, 1]
    assert (classes, seed, network, again) == (2, 5, "net", 5) and asked.tolist() == [1, 1, 0, 0, 0, 0, 1, 1]
    assert out[:, :, 0, 0, 0].tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_the_optimisation_paints_any_subset_in_any_order_and_nothing_twice(maker, train):
    """Photos are written as they are, under names of their own; each copy is the file that belongs to its photo."""
    some, source = train.subset([7, 0, 2]), maker.folder / "train photos"
    out, paths = maker.make("optimised", some, None), maker._exported(some, source)
    assert out.shape == (3, 1, 3, 32, 32) and maker.seconds > 0
    assert [path.split("/")[0] for path in paths] == ["cup", "cat", "cat"]
    assert all(torch.equal(read_image(source / path)[0], image) for path, (image, _) in zip(paths, some))
    photos = small([image for image, _ in some]).float()
    apart = (out[:, 0, None].float() - photos[None]).abs().mean((2, 3, 4))
    assert (apart.argmin(1) == torch.arange(3)).all() and (apart.diagonal() > 1).all()
    before = {file: file.stat().st_mtime_ns for file in maker.folder.rglob("*.png")}
    assert len(before) == 6 and torch.equal(maker.make("optimised", train.subset([0]), None), out[1:2])
    assert {file: file.stat().st_mtime_ns for file in maker.folder.rglob("*.png")} == before


def test_the_important_square_has_the_largest_sum(monkeypatch):
    style, importance = torch.rand(1, 3, 13, 10), torch.rand(1, 1, 13, 10, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(module, "guided_backprop", lambda net, images: importance if images is style else None)
    sums = {(i, j): importance[0, 0, i : i + 5, j : j + 5].sum().item() for i in range(9) for j in range(6)}
    top, left = max(sums, key=sums.get)
    assert torch.equal(important_square(style), style[..., top : top + 5, left : left + 5])


# a GAN


def test_the_seed_decides_what_a_gan_draws_and_torchs_own_is_left_alone():
    images, labels = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 1, 0])
    state, asked = torch.get_rng_state(), torch.tensor([0, 1, 1])
    trained = lambda seed: trained_generator(images, labels, 2, seed=seed, steps=3)  # noqa: E731
    first = invent(trained(1), asked, 5)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.shape == (3, 3, 32, 32) and 0 <= first.min() and first.max() <= 1 and not first.requires_grad
    torch.manual_seed(99)
    same = trained(1)
    torch.set_rng_state(state)
    assert torch.equal(invent(same, asked, 5), first)
    others = invent(same, asked, 6), invent(same, 1 - asked, 5), invent(trained(2), asked, 5)
    assert not any(torch.equal(first, other) for other in others)


def test_a_gan_learns_what_it_is_given_class_by_class(monkeypatch):
    """A red picture and a blue one: after some steps each sample looks like that of its own class."""
    monkeypatch.setattr(gan, "PAIRS", 8)  # half of the work
    images, counts = torch.full((2, 3, 32, 32), 0.2), []
    images[0, 0], images[1, 2] = 0.9, 0.9
    labels, asked = torch.tensor([0, 1]), torch.tensor([0] * 8 + [1] * 8)
    generator = trained_generator(images, labels, 2, steps=120, callback=lambda *count: counts.append(count))
    assert counts == [(50, 120), (100, 120)] and not generator.training
    apart = (invent(generator, asked)[:, None] - images[None]).abs().mean((2, 3, 4))  # sample, picture
    assert (apart.argmin(1) == asked).double().mean() > 0.9


# colours

COVARIANCE = 0.003 * torch.tensor([[[2, 1, 0.3], [1, 1.5, -0.4], [0.3, -0.4, 1]]], dtype=torch.float64)
TARGET = Colors(torch.tensor([[0.55, 0.45, 0.5]], dtype=torch.float64), COVARIANCE)


def test_the_colours_move_along_the_optimal_transport_map():
    """To the target's mean and covariance; by scipy's roots A = S^-1/2 (S^1/2 T S^1/2)^1/2 S^-1/2."""
    generator, sqrtm = torch.Generator().manual_seed(0), scipy.linalg.sqrtm  # correlated colours, none cut off
    mixing = torch.eye(3) + 0.2 * torch.randn(3, 3, 3, generator=generator, dtype=torch.float64)
    noise = torch.randn(3, 3, 320, generator=generator, dtype=torch.float64)
    images, target = (0.5 + 0.05 * mixing @ noise).clamp(0, 1).view(3, 3, 20, 16), COVARIANCE[0].numpy()
    out = match_colors(images, TARGET)
    for image, moved in zip(images.flatten(2).numpy(), out.flatten(2).numpy()):
        np.testing.assert_allclose(moved.mean(1), TARGET.mean[0], atol=1e-12)
        np.testing.assert_allclose(np.cov(moved, bias=True), target, atol=1e-5)
        covariance = np.cov(image, bias=True)
        centred, moved = (pixels - pixels.mean(1, keepdims=True) for pixels in (image, moved))
        root = sqrtm(covariance + 1e-6 * np.eye(3))
        inverse = np.linalg.inv(root)
        move = np.linalg.lstsq(centred.T, moved.T, rcond=None)[0].T
        np.testing.assert_allclose(move, (inverse @ sqrtm(root @ target @ root) @ inverse).real, atol=1e-9)


def test_pictures_of_one_colour_and_of_grey_stay_finite():
    flat, grey = torch.full((1, 3, 8, 8), 0.3), sample("brick", 16)[:, :1].expand(-1, 3, -1, -1)
    for image, target in product((flat, grey, torch.ones(1, 3, 8, 8)), (TARGET, *map(color_statistics, (flat, grey)))):
        out = match_colors(image, target)
        assert out.isfinite().all() and out.min() >= 0 and out.max() <= 1
    torch.testing.assert_close(match_colors(flat, TARGET)[0, :, 4, 4], TARGET.mean[0].float(), rtol=0, atol=1e-4)
