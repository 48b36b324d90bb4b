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

    def pictures(kind, count):
        photo, copy = torch.meshgrid(torch.arange(N), torch.arange(count), indexing="ij")
        channels = torch.stack([photo, torch.full_like(photo, kind), copy], 2).to(torch.uint8)
        return channels[..., None, None].expand(-1, -1, -1, 2, 2)

    of = {name: pictures(kind, 1 if name == "unpainted" else K) for kind, name in enumerate(KINDS, start=1)}
    return Copies(pictures(0, 1)[:, 0], torch.arange(N) % 3, of)


def stream(copies, arm, *, p=0.5, length=400, seed=4):
    arm = (ARMS | SANITY)[arm] if isinstance(arm, str) else arm
    return Stream(copies, torch.tensor(USED), arm, p=p, length=length, seed=seed)


def shown(images_of):
    """(photos, kinds, copies, labels) of all images of a stream, as they come out of its batches."""
    images, labels = images_of.batch(range(len(images_of)))
    assert images.dtype == torch.float32 and images.shape == (len(images_of), 3, 2, 2)
    photo, kind, number = (images[:, :, 0, 0] * 255).round().long().T
    return photo.numpy(), kind.numpy(), number.numpy(), labels.numpy()


# streams


def test_a_run_goes_through_its_photos_once_before_it_starts_again(copies):
    for arm in ("A", "B", "C", "D", "E", "F", "G"):
        photos, kinds, _, labels = shown(stream(copies, arm, length=4 * len(USED) + 3))
        rounds = photos[: 4 * len(USED)].reshape(4, len(USED))
        assert (np.sort(rounds, 1) == USED).all() and len(set(map(tuple, rounds))) == 4  # in another order each
        assert len(set(photos[-3:])) == 3 and (labels == photos % 3).all() and (arm > "B" or not kinds.any())


def test_duplicates_hold_each_photo_twice_and_no_copy(copies):
    photos, kinds, _, labels = shown(stream(copies, "H", length=4 * len(USED)))
    for half in photos[: 2 * len(USED)], photos[2 * len(USED) :]:
        assert (np.sort(half) == np.repeat(USED, 2)).all()
    assert sorted(photos[: len(USED)]) != USED  # one order of the doubled list, not two of the list
    assert not kinds.any() and (labels == photos % 3).all()


def test_copies_take_the_places_of_their_own_photos_in_all_arms_alike(copies):
    plain, styled = shown(stream(copies, "A")), shown(stream(copies, "C"))
    for arm in "CDEFG":
        photos, kinds, numbers, labels = shown(stream(copies, arm))
        assert (plain[0] == photos).all() and (plain[3] == labels).all()  # the same photos and labels in the same order
        assert ((kinds > 0) == (styled[1] > 0)).all() and 0.4 < (kinds > 0).mean() < 0.6
        assert set(kinds[kinds > 0]) == {1 + KINDS.index(ARMS[arm].copies)}
        if arm == "E":
            assert not numbers.any()  # there is one of each photo
        else:  # the same number of copy: the same mixture of styles
            assert (numbers == styled[2]).all() and set(numbers[kinds > 0]) == set(range(K))


@pytest.mark.parametrize("p", [0, 0.2, 1])
def test_p_is_the_part_of_copies_and_all_copies_are_as_likely(copies, p):
    _, kinds, numbers, _ = shown(stream(copies, "C", p=p, length=4000))
    assert (kinds > 0).mean() == pytest.approx(p, abs=5 * (p * (1 - p) / 4000) ** 0.5)
    if p:
        counts = np.bincount(numbers[kinds > 0], minlength=K)
        assert len(counts) == K and counts / counts.sum() == pytest.approx([1 / K] * K, abs=0.05)
    few, more = (shown(stream(copies, "C", p=part))[1] > 0 for part in (p / 2, p))
    assert (more >= few).all()  # more copies keep the places of fewer
    assert (shown(stream(copies, Arm("all", "styled", p=1.0), p=p))[1] == 1).all()  # an arm's own p goes before


def test_p_zero_is_the_stream_without_copies_bit_for_bit(copies):
    everything = torch.arange(400)
    for never in (stream(copies, "C", p=0), stream(copies, "D, p = 0", p=0.5)):
        for one, other in zip(never.batch(everything), stream(copies, "B", p=0.5).batch(everything)):
            assert torch.equal(one, other)


def test_shuffled_labels_are_dealt_out_among_the_photos(copies):
    plain, dealt = (shown(stream(copies, arm, seed=1)) for arm in ("B", "B, labels shuffled"))
    assert (plain[0] == dealt[0]).all() and not dealt[1].any()
    label_of = dict(zip(dealt[0].tolist(), dealt[3].tolist()))
    assert all(label_of[photo] == label for photo, label in zip(dealt[0], dealt[3]))  # one label a photo, all along
    assert sorted(label_of.values()) == sorted(photo % 3 for photo in USED)
    assert any(label_of[photo] != photo % 3 for photo in USED)
    photos, _, _, labels = shown(stream(copies, "B, labels shuffled", seed=2))
    assert label_of != dict(zip(photos.tolist(), labels.tolist()))


def test_the_seed_decides_all(copies):
    for arm in ("A", "C", "H"):
        first, same, other = (shown(stream(copies, arm, seed=seed)) for seed in (0, 0, 1))
        assert all((a == b).all() for a, b in zip(first, same)) and (first[0] != other[0]).any()
        assert arm != "C" or ((first[1] > 0) != (other[1] > 0)).any()


def test_a_batch_is_its_images_one_by_one(copies):
    images_of, picked = stream(copies, "C"), [7, 3, 3, 399]
    images, labels = images_of.batch(torch.tensor(picked))
    assert torch.equal(images, torch.cat([images_of.batch([i])[0] for i in picked]))
    assert labels.tolist() == [images_of.batch([i])[1].item() for i in picked] and len(images_of) == 400


def test_copies_that_are_not_there_are_an_error(copies):
    with pytest.raises(KeyError, match="unpainted"):
        stream(copies._replace(of={"styled": copies.of["styled"]}), "E")


def test_each_arm_is_one_thing_more():
    assert list(ARMS) == list("ABCDEFGH") and all(arm.p is None and not arm.shuffled for arm in ARMS.values())
    pairs = {"A": "B", "C": "D", "F": "G"}
    assert {name for name, arm in ARMS.items() if arm.classical} == set(pairs.values())
    assert all(ARMS[one].copies == ARMS[other].copies for one, other in pairs.items())
    assert SANITY["D, p = 0"]._replace(title="", p=None) == ARMS["D"]._replace(title="")
    assert SANITY["B, labels shuffled"]._replace(title="", shuffled=False) == ARMS["B"]._replace(title="")


# augmentation and networks


def test_classical_augmentation_is_crop_flip_and_colour():
    images, generator = sample("coffee", (40, 40)).expand(400, -1, -1, -1), torch.Generator().manual_seed(0)
    crop, flip, jitter = classical(24).transforms
    drawn = crop.draw(images, generator)
    area = drawn["height"] * drawn["width"] / 1600
    assert 0.36 <= area.min() < 0.45 and 0.9 < area.max() <= 1  # of 40 to 100 %, before whole pixels
    assert 0.4 < flip.draw(images, generator)["flipped"].double().mean() < 0.6
    drawn = jitter.draw(images, generator)
    for name in ("brightness", "contrast", "saturation"):
        assert 0.5 <= drawn[name].min() < 0.55 and 1.45 < drawn[name].max() <= 1.5
    assert -0.1 <= drawn["hue"].min() < -0.09 and 0.09 < drawn["hue"].max() <= 0.1
    assert classical(24)(images[:2], generator).shape == (2, 3, 24, 24)


def test_the_small_network_is_what_it_says():
    network = new_model("scratch", 4, 0)
    assert sum(weights.numel() for weights in network.parameters()) == pytest.approx(0.39e6, abs=0.005e6)
    strides = [layer.stride for layer in network if isinstance(layer, nn.Conv2d)]
    assert strides == [(2, 2), (1, 1), (1, 1), (1, 1)]
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in network) == 5  # one for the images
    for side in (32, 96):
        assert network.eval()(torch.rand(2, 3, side, side)).shape == (2, 4)


@pytest.mark.parametrize("name", ["scratch", "fine-tuned"])
def test_the_seed_decides_the_weights_and_leaves_torchs_alone(name):
    before = torch.get_rng_state()
    first, other = (new_model(name, 3, seed).state_dict() for seed in (1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)  # nor does torch's own seed matter
    later = new_model(name, 3, 1).state_dict()
    torch.set_rng_state(before)
    assert all(torch.equal(value, later[key]) for key, value in first.items())
    different = {key for key, value in first.items() if not torch.equal(value, other[key])}
    assert different if name == "scratch" else {key.rsplit(".", 2)[1] for key in different} == {"classifier"}


@pytest.mark.parametrize("frozen", [0, 5])
def test_frozen_stages_stand_still_and_the_others_learn(frozen):
    model = new_model("fine-tuned", 2, 0, frozen=frozen)
    names = [name for _, modules in stages(model)[:frozen] for name in [*modules, "model.bn1"]]  # bn1 is of the stem
    still = tuple(f"{name}." for name in names)
    before = copy.deepcopy(model.state_dict())
    images = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    fit(model, (images, torch.tensor([0, 1] * 3)), epochs=1, batch_size=3, device="cpu")
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    held = {key for key in before if key.startswith(still)}
    assert not changed & held and bool(held) == bool(frozen)
    weights = {key for key in before if key.endswith("weight")} - held
    assert len(weights) > 20 and weights <= changed
    assert {key for key in before if key.endswith("running_mean")} - held <= changed


# colours

TARGET = Colors(
    torch.tensor([[0.55, 0.45, 0.5]], dtype=torch.float64),
    0.003 * torch.tensor([[[2, 1, 0.3], [1, 1.5, -0.4], [0.3, -0.4, 1]]], dtype=torch.float64),
)


def some_images(n=3, seed=0):
    """Correlated colours about the middle, so that nothing is cut off; float64."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.eye(3) + 0.2 * torch.randn(n, 3, 3, generator=generator, dtype=torch.float64)
    noise = torch.randn(n, 3, 320, generator=generator, dtype=torch.float64)
    return (0.5 + 0.05 * mixing @ noise).clamp(0, 1).view(n, 3, 20, 16)


def assert_near(one, other, tolerance):
    torch.testing.assert_close(one, other, rtol=0, atol=tolerance)


def test_colours_of_pictures_and_of_their_mixtures_are_numpys():
    """Shares of 1/4, 0 and 3/4 are one picture, none, and three pictures."""
    images = some_images()
    single = color_statistics(images.float())
    assert single.mean.dtype == single.covariance.dtype == torch.float64
    mixed = mixed_colors(color_statistics(images), [[0.25, 0, 0.75], [0, 1, 0], [0.5, 0.25, 0.25]])
    for colors, source, counts in (
        (single, images.float().double(), [(1, 0, 0), (0, 1, 0), (0, 0, 1)]),
        (mixed, images, [(1, 0, 3), (0, 1, 0), (2, 1, 1)]),
    ):
        for mean, covariance, times in zip(*colors, counts):
            pixels = torch.cat([source[i] for i, n in enumerate(times) for _ in range(n)], 1).flatten(1).numpy()
            np.testing.assert_allclose(mean, np.mean(pixels, axis=1), rtol=1e-12)
            np.testing.assert_allclose(covariance, np.cov(pixels, bias=True), atol=1e-14)


def test_matched_colours_have_the_targets_mean_and_covariance():
    images = some_images()
    out = match_colors(images, TARGET)
    assert out.dtype == torch.float64 and out.min() > 0 and out.max() < 1  # nothing is cut off
    colors = color_statistics(out)
    assert_near(colors.mean, TARGET.mean.expand(3, 3), 1e-12)
    assert_near(colors.covariance, TARGET.covariance.expand(3, 3, 3), 1e-5)  # 1e-6 is added to ours
    assert_near(match_colors(images, color_statistics(images)), images, 1e-3)  # who has the colours already stays
    wide = match_colors(images, TARGET._replace(covariance=100 * TARGET.covariance))
    assert wide.min() == 0 and wide.max() == 1  # what leaves the range is cut off


def test_the_colours_move_along_the_optimal_transport_map():
    """Scipy's roots: A = S^-1/2 (S^1/2 T S^1/2)^1/2 S^-1/2; and no map to these statistics moves pixels less."""
    images, sqrtm = some_images(), scipy.linalg.sqrtm
    target, target_mean = TARGET.covariance[0].numpy(), TARGET.mean[0].numpy()
    for image, moved in zip(images.flatten(2).numpy(), match_colors(images, TARGET).flatten(2).numpy()):
        mean, covariance = image.mean(1), np.cov(image, bias=True)
        centred, moved = image - mean[:, None], moved - target_mean[:, None]
        root = sqrtm(covariance + 1e-6 * np.eye(3))
        inverse = np.linalg.inv(root)
        move = np.linalg.lstsq(centred.T, moved.T, rcond=None)[0].T
        np.testing.assert_allclose(move, (inverse @ sqrtm(root @ target @ root) @ inverse).real, atol=1e-9)
        np.testing.assert_allclose(move, move.T, atol=1e-9)
        assert np.linalg.eigvalsh(move).min() > 0
        cost = ((moved - centred) ** 2).sum(0).mean()  # that of the means is the same for all maps
        middle = sqrtm(sqrtm(covariance) @ target @ sqrtm(covariance)).real
        assert cost == pytest.approx(np.trace(covariance + target - 2 * middle), rel=1e-2)  # Bures and Wasserstein
        other = np.linalg.cholesky(target) @ np.linalg.inv(np.linalg.cholesky(covariance)) @ centred
        assert cost < ((other - centred) ** 2).sum(0).mean()


def test_strength_zero_changes_nothing_and_a_half_goes_halfway():
    images, photo = some_images(), sample("chelsea", 48)
    whole = match_colors(images, TARGET)
    assert torch.equal(match_colors(images, TARGET, 0), images) and (whole - images).abs().max() > 0.05
    assert_near(match_colors(images, TARGET, 0.5), (images + whole) / 2, 1e-12)
    assert torch.equal(match_colors(photo, TARGET, 0), photo) and match_colors(photo, TARGET).dtype == torch.float32


def test_pictures_of_one_colour_and_of_grey_stay_finite():
    flat, grey = torch.full((1, 3, 8, 8), 0.3), sample("brick", 16)[:, :1].expand(-1, 3, -1, -1)
    for image in (flat, grey, torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)):
        for target in (TARGET, color_statistics(flat), color_statistics(grey)):
            out = match_colors(image, target)
            assert out.isfinite().all() and out.min() >= 0 and out.max() <= 1
    assert_near(match_colors(flat, TARGET), TARGET.mean[:, :, None, None].expand(1, 3, 8, 8).float(), 1e-4)


def test_a_batch_of_colours_is_its_pictures_one_by_one():
    images, targets = some_images(4), color_statistics(some_images(4, seed=1))
    before = images.clone(), *(values.clone() for values in targets)
    together = match_colors(images, targets)
    for i in range(4):
        target = Colors(targets.mean[i : i + 1], targets.covariance[i : i + 1])
        assert_near(match_colors(images[i : i + 1], target), together[i : i + 1], 1e-9)
        assert_near(match_colors(images, target)[i : i + 1], together[i : i + 1], 1e-9)
    assert all(torch.equal(one, other) for one, other in zip((images, *targets), before))
