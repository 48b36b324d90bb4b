"""What each arm shows, picture by picture, its networks, and colours moved without one."""

import copy

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn

from d2lstyle import fit, sample
from d2lstyle.experiment.arms import (
    ARMS,
    KINDS,
    SANITY,
    Arm,
    Colors,
    Copies,
    Stream,
    classical,
    color_statistics,
    match_colors,
    mixed_colors,
    new_model,
)
from d2lstyle.finetune import stages

N, K = 12, 3  # photos, copies of each
USED = [0, 2, 3, 5, 6, 8, 9, 11]  # the photos of a run


@pytest.fixture(scope="module")
def copies():
    """Pictures whose first channel tells the photo, whose second the kind (0 for a photo), and whose third the copy."""

    def picture(photo, kind=0, number=0):
        return torch.tensor([photo, kind, number], dtype=torch.uint8)[:, None, None].expand(3, 2, 2)

    of = {
        name: torch.stack(
            [
                torch.stack([picture(photo, kind, c) for c in range(1 if name == "unpainted" else K)])
                for photo in range(N)
            ]
        )
        for kind, name in enumerate(KINDS, start=1)
    }
    return Copies(torch.stack([picture(photo) for photo in range(N)]), torch.arange(N) % 3, of)


def stream(copies, arm, *, p=0.5, length=400, seed=4, used=USED):
    return Stream(
        copies,
        torch.tensor(used),
        {**ARMS, **SANITY}[arm] if isinstance(arm, str) else arm,
        p=p,
        length=length,
        seed=seed,
    )


def shown(each):
    """(photos, kinds, copies, labels) of all images of a stream, as they come out of its batches."""
    images, labels = each.batch(torch.arange(len(each)))
    assert images.dtype == torch.float32 and images.shape == (len(each), 3, 2, 2)
    photo, kind, number = (images[:, :, 0, 0] * 255).round().long().T
    return photo.numpy(), kind.numpy(), number.numpy(), labels.numpy()


# streams


def test_arm_a_shows_the_photos_alone(copies):
    photos, kinds, _, labels = shown(stream(copies, "A"))
    assert set(photos) == set(USED) and not kinds.any() and (labels == photos % 3).all()


def test_a_run_goes_through_its_photos_once_before_it_starts_again(copies):
    for arm in ("A", "B", "C", "D", "E", "F", "G"):
        photos = shown(stream(copies, arm, length=4 * len(USED) + 3))[0]
        rounds = photos[: 4 * len(USED)].reshape(4, len(USED))
        assert (np.sort(rounds, 1) == USED).all() and len(
            {tuple(each) for each in rounds}
        ) == 4  # in another order each
        assert len(set(photos[-3:])) == 3


def test_duplicates_hold_each_photo_twice_and_no_copy(copies):
    photos, kinds, _, labels = shown(stream(copies, "H", length=4 * len(USED)))
    for part in photos[: 2 * len(USED)], photos[2 * len(USED) :]:
        assert (np.sort(part) == np.repeat(USED, 2)).all()
    assert sorted(photos[: len(USED)]) != USED  # one order of the doubled list, not two of the list
    assert not kinds.any() and (labels == photos % 3).all()


@pytest.mark.parametrize(
    "arm, kind", [("C", "styled"), ("D", "styled"), ("E", "unpainted"), ("F", "recoloured"), ("G", "recoloured")]
)
def test_copies_take_the_places_of_their_own_photos(copies, arm, kind):
    plain, mixed = shown(stream(copies, "A")), shown(stream(copies, arm))
    assert (plain[0] == mixed[0]).all() and (plain[3] == mixed[3]).all()  # the same photos and labels in the same order
    replaced = mixed[1] > 0
    assert set(mixed[1][replaced]) == {1 + KINDS.index(kind)} and set(mixed[2][replaced]) == set(
        range(1 if arm == "E" else K)
    )
    assert 0.4 < replaced.mean() < 0.6


def test_all_arms_put_their_copies_at_the_same_places(copies):
    found = {arm: shown(stream(copies, arm)) for arm in "CDEFG"}
    assert all((each[1] > 0).tolist() == (found["C"][1] > 0).tolist() for each in found.values())
    for arm in "DFG":  # and the same number of copy: the same mixture of styles
        assert (found[arm][2] == found["C"][2]).all()


@pytest.mark.parametrize("p", [0, 0.2, 0.8, 1])
def test_p_is_the_part_of_copies_and_all_copies_are_as_likely(copies, p):
    _, kinds, numbers, _ = shown(stream(copies, "C", p=p, length=4000))
    assert (kinds > 0).mean() == pytest.approx(p, abs=5 * (p * (1 - p) / 4000) ** 0.5)
    if p:
        counts = np.bincount(numbers[kinds > 0], minlength=K)
        assert len(counts) == K and counts / counts.sum() == pytest.approx([1 / K] * K, abs=0.05)


def test_more_copies_keep_the_places_of_fewer(copies):
    few, more = (shown(stream(copies, "C", p=p))[1] > 0 for p in (0.3, 0.6))
    assert (more >= few).all() and more.sum() > few.sum()


def test_p_zero_is_the_stream_without_copies_bit_for_bit(copies):
    everything = torch.arange(400)
    for never in (stream(copies, "C", p=0), stream(copies, "D, p = 0", p=0.5)):
        for one, other in zip(never.batch(everything), stream(copies, "B", p=0.5).batch(everything)):
            assert torch.equal(one, other)


def test_an_arms_own_p_goes_before_the_plans(copies):
    assert (shown(stream(copies, Arm("all", "styled", p=1.0), p=0.1))[1] == 1).all()


def test_shuffled_labels_are_dealt_out_among_the_photos(copies):
    plain, dealt = (shown(stream(copies, arm, seed=1)) for arm in ("B", "B, labels shuffled"))
    assert (plain[0] == dealt[0]).all() and not dealt[1].any()
    label_of = dict(zip(dealt[0].tolist(), dealt[3].tolist()))
    assert all(label_of[photo] == label for photo, label in zip(dealt[0], dealt[3]))  # one label a photo, all along
    assert sorted(label_of.values()) == sorted(photo % 3 for photo in USED)
    assert any(label_of[photo] != photo % 3 for photo in USED)
    others = [
        dict(zip(*(shown(stream(copies, "B, labels shuffled", seed=seed))[i].tolist() for i in (0, 3))))
        for seed in (2, 3)
    ]
    assert label_of != others[0] != others[1]


def test_the_seed_decides_all(copies):
    for arm in ("A", "C", "H"):
        first, same, other = (shown(stream(copies, arm, seed=seed)) for seed in (0, 0, 1))
        assert all((a == b).all() for a, b in zip(first, same)) and (first[0] != other[0]).any()
    first, other = (shown(stream(copies, "C", seed=seed)) for seed in (0, 1))
    assert ((first[1] > 0) != (other[1] > 0)).any()


def test_a_batch_is_its_images_one_by_one(copies):
    each, picked = stream(copies, "C"), [7, 3, 3, 399]
    images, labels = each.batch(torch.tensor(picked))
    assert torch.equal(images, torch.cat([each.batch([i])[0] for i in picked]))
    assert labels.tolist() == [each.batch([i])[1].item() for i in picked] and len(each) == 400


def test_copies_that_are_not_there_are_an_error(copies):
    without = Copies(copies.photos, copies.labels, {"styled": copies.of["styled"]})
    with pytest.raises((KeyError, ValueError), match="unpainted"):
        stream(without, "E")


def test_each_arm_is_one_thing_more():
    assert list(ARMS) == list("ABCDEFGH") and all(arm.p is None and not arm.shuffled for arm in ARMS.values())
    pairs = {"A": "B", "C": "D", "F": "G"}
    assert {name for name, arm in ARMS.items() if arm.classical} == set(pairs.values())
    assert all(ARMS[one].copies == ARMS[other].copies for one, other in pairs.items())
    assert SANITY["D, p = 0"]._replace(title="", p=None) == ARMS["D"]._replace(title="")
    assert SANITY["B, labels shuffled"]._replace(title="", shuffled=False) == ARMS["B"]._replace(title="")


# augmentation


def test_classical_augmentation_is_crop_flip_and_colour():
    images = sample("coffee", (40, 40)).expand(400, -1, -1, -1)
    generator = torch.Generator().manual_seed(0)
    crop, flip, jitter = classical(24).transforms
    drawn = crop.draw(images, generator)
    area = drawn["height"] * drawn["width"] / 1600
    assert 0.36 <= area.min() < 0.45 and 0.9 < area.max() <= 1  # of 40 to 100 %, before whole pixels
    assert 0.4 < flip.draw(images, generator)["flipped"].double().mean() < 0.6
    drawn = jitter.draw(images, generator)
    for name in ("brightness", "contrast", "saturation"):
        assert 0.5 <= drawn[name].min() < 0.55 and 1.45 < drawn[name].max() <= 1.5
    assert -0.1 <= drawn["hue"].min() < -0.09 and 0.09 < drawn["hue"].max() <= 0.1


def test_classical_augmentation_gives_images_of_the_size_that_differ():
    images = sample("coffee", (40, 40)).expand(8, -1, -1, -1)
    given, out = images.clone(), classical(24)(images, torch.Generator().manual_seed(1))
    assert out.shape == (8, 3, 24, 24) and out.min() >= 0 and out.max() <= 1 and torch.equal(images, given)
    assert all((out[i] - out[j]).abs().max() > 0.05 for i in range(8) for j in range(i))
    assert torch.equal(out, classical(24)(images, torch.Generator().manual_seed(1)))


# networks


def test_the_small_network_is_what_it_says():
    network = new_model("scratch", 4, 0)
    assert sum(each.numel() for each in network.parameters()) == pytest.approx(0.39e6, abs=0.005e6)
    convolutions = [each for each in network if isinstance(each, nn.Conv2d)]
    assert [each.stride for each in convolutions] == [(2, 2), (1, 1), (1, 1), (1, 1)]
    assert sum(isinstance(each, nn.BatchNorm2d) for each in network) == 5  # one for the images
    for side in (32, 64, 96):
        assert network.eval()(torch.rand(2, 3, side, side)).shape == (2, 4)


@pytest.mark.parametrize("name", ["scratch", "fine-tuned"])
def test_the_seed_decides_the_weights_and_leaves_torchs_alone(name):
    before = torch.get_rng_state()
    first, same, other = (new_model(name, 3, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)  # nor does torch's own seed matter
    later = new_model(name, 3, 1)
    torch.set_rng_state(before)
    states = [each.state_dict() for each in (first, same, later, other)]
    assert all(
        torch.equal(value, states[1][key]) and torch.equal(value, states[2][key]) for key, value in states[0].items()
    )
    assert any(not torch.equal(value, states[3][key]) for key, value in states[0].items())
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    scores = [each.eval()(images) for each in (first, other)]
    assert scores[0].shape == (2, 3) and not torch.equal(*scores)


@pytest.mark.parametrize("frozen", [0, 5])
def test_frozen_stages_stand_still_and_the_others_learn(frozen):
    model = new_model("fine-tuned", 2, 0, frozen=frozen)
    still = tuple(
        prefix + "." for _, modules in stages(model)[:frozen] for prefix in [*modules, "model.bn1"]
    )  # of the stem
    before = copy.deepcopy(model.state_dict())
    images = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    fit(model, (images, torch.tensor([0, 1] * 3)), epochs=1, batch_size=3, device="cpu")
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    held = {key for key in before if key.startswith(still)}
    assert not changed & held and bool(held) == bool(frozen)
    weights = {key for key in before if key.endswith("weight")} - held
    assert len(weights) > 20 and weights <= changed
    assert {key for key in before if key.endswith("running_mean")} - held <= changed


def test_a_new_head_on_the_same_body():
    one, other = (new_model("fine-tuned", 3, seed).state_dict() for seed in (1, 2))
    differing = {key for key in one if not torch.equal(one[key], other[key])}
    assert len(differing) == 2 and all("classifier" in key for key in differing)  # its weight and its bias


# colours


def some_images(n=3, side=(20, 16), seed=0, spread=0.05):
    """Correlated colours about the middle, so that nothing is cut off; float64."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.eye(3) + 0.2 * torch.randn(n, 3, 3, generator=generator, dtype=torch.float64)
    noise = torch.randn(n, 3, side[0] * side[1], generator=generator, dtype=torch.float64)
    return (0.5 + spread * mixing @ noise).clamp(0, 1).view(n, 3, *side)


def statistics_of(pixels):
    """Mean and covariance of (3, n) by numpy."""
    return np.mean(pixels, axis=1), np.cov(pixels, bias=True)


TARGET = Colors(
    torch.tensor([[0.55, 0.45, 0.5]], dtype=torch.float64),
    0.003 * torch.tensor([[[2, 1, 0.3], [1, 1.5, -0.4], [0.3, -0.4, 1]]], dtype=torch.float64),
)


def test_colour_statistics_are_numpys():
    images = some_images()
    found = color_statistics(images.float())
    assert found.mean.dtype == found.covariance.dtype == torch.float64
    for image, mean, covariance in zip(images.float().double().flatten(2).numpy(), *found):
        expected = statistics_of(image)
        np.testing.assert_allclose(mean, expected[0], rtol=1e-12)
        np.testing.assert_allclose(covariance, expected[1], atol=1e-14)


def test_matched_colours_have_the_targets_mean_and_covariance():
    images = some_images()
    out = match_colors(images, TARGET)
    assert (
        out.dtype == torch.float64 and out.shape == images.shape and out.min() > 0 and out.max() < 1
    )  # nothing is cut off
    for mean, covariance in zip(*color_statistics(out)):
        torch.testing.assert_close(mean, TARGET.mean[0], rtol=0, atol=1e-12)
        torch.testing.assert_close(covariance, TARGET.covariance[0], rtol=0, atol=1e-5)  # 1e-6 is added to ours


def test_the_colours_move_along_the_optimal_transport_map():
    """Scipy's roots: A = S^-1/2 (S^1/2 T S^1/2)^1/2 S^-1/2; and no map to these statistics moves pixels less."""
    images, target = some_images(), TARGET.covariance[0].numpy()
    out = match_colors(images, TARGET)
    for image, moved in zip(images.flatten(2).numpy(), out.flatten(2).numpy()):
        mean, own = statistics_of(image)
        root = scipy.linalg.sqrtm(own + 1e-6 * np.eye(3))
        inverse = np.linalg.inv(root)
        expected = inverse @ scipy.linalg.sqrtm(root @ target @ root) @ inverse
        found = np.linalg.lstsq((image - mean[:, None]).T, (moved - TARGET.mean[0].numpy()[:, None]).T, rcond=None)[0].T
        np.testing.assert_allclose(found, expected.real, atol=1e-9)
        np.testing.assert_allclose(found, found.T, atol=1e-9)
        assert np.linalg.eigvalsh(found).min() > 0
        cost = ((moved - image) ** 2).sum(0).mean()
        middle = scipy.linalg.sqrtm(scipy.linalg.sqrtm(own) @ target @ scipy.linalg.sqrtm(own)).real
        distance = ((mean - TARGET.mean[0].numpy()) ** 2).sum() + np.trace(
            own + target - 2 * middle
        )  # Bures and Wasserstein
        assert cost == pytest.approx(distance, rel=1e-2)
        cholesky = np.linalg.cholesky(target) @ np.linalg.inv(np.linalg.cholesky(own))
        other = cholesky @ (image - mean[:, None]) + TARGET.mean[0].numpy()[:, None]
        assert cost < ((other - image) ** 2).sum(0).mean()


def test_strength_zero_changes_nothing_and_a_half_goes_halfway():
    images = some_images()
    assert torch.equal(match_colors(images, TARGET, 0), images) and torch.equal(
        match_colors(images, TARGET, 0.0), images
    )
    assert (match_colors(images, TARGET) - images).abs().max() > 0.05
    torch.testing.assert_close(
        match_colors(images, TARGET, 0.5), (images + match_colors(images, TARGET)) / 2, rtol=0, atol=1e-12
    )
    torch.testing.assert_close(
        match_colors(images, TARGET, 0.25), images.lerp(match_colors(images, TARGET), 0.25), rtol=0, atol=1e-12
    )
    photo = sample("chelsea", 48)
    assert torch.equal(match_colors(photo, TARGET, 0), photo) and match_colors(photo, TARGET).dtype == torch.float32


def test_a_picture_that_has_the_colours_already_stays():
    images = some_images(1)
    torch.testing.assert_close(match_colors(images, color_statistics(images)), images, rtol=0, atol=1e-3)


def test_pictures_of_one_colour_and_of_grey_stay_finite():
    flat, grey = torch.full((1, 3, 8, 8), 0.3), sample("brick", 16)[:, :1].expand(-1, 3, -1, -1)
    black, white = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    for image in (flat, grey, black, white):
        for target in (TARGET, color_statistics(flat), color_statistics(grey)):
            out = match_colors(image, target)
            assert out.isfinite().all() and out.min() >= 0 and out.max() <= 1
    torch.testing.assert_close(
        match_colors(flat, TARGET), TARGET.mean[:, :, None, None].expand(1, 3, 8, 8).float(), rtol=0, atol=1e-4
    )


def test_what_leaves_the_range_is_cut_off():
    out = match_colors(some_images(1), TARGET._replace(covariance=100 * TARGET.covariance))
    assert out.min() == 0 and out.max() == 1


def test_a_batch_of_colours_is_its_pictures_one_by_one():
    images = some_images(4)
    targets = color_statistics(some_images(4, seed=1))
    before = images.clone(), *(each.clone() for each in targets)
    together = match_colors(images, targets)
    for i in range(4):
        alone = match_colors(images[i : i + 1], Colors(targets.mean[i : i + 1], targets.covariance[i : i + 1]))
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-9)
        to_one = match_colors(images, Colors(targets.mean[i : i + 1], targets.covariance[i : i + 1]))
        torch.testing.assert_close(to_one[i : i + 1], alone, rtol=0, atol=1e-9)
    assert all(torch.equal(one, other) for one, other in zip((images, *targets), before))


def test_mixed_colours_are_those_of_all_pixels_together():
    """Shares of 1/4, 0 and 3/4 are one picture, none, and three pictures."""
    images = some_images(3)
    found = mixed_colors(color_statistics(images), [[0.25, 0, 0.75], [0, 1, 0], [0.5, 0.25, 0.25]])
    for counts, mean, covariance in zip([(1, 0, 3), (0, 1, 0), (2, 1, 1)], *found):
        pixels = np.concatenate([images[i].flatten(1).numpy() for i, n in enumerate(counts) for _ in range(n)], axis=1)
        expected = statistics_of(pixels)
        np.testing.assert_allclose(mean, expected[0], rtol=1e-12)
        np.testing.assert_allclose(covariance, expected[1], atol=1e-14)
