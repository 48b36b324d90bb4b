"""What each arm shows, picture by picture, classical augmentation in doses, and the networks."""

import copy

import numpy as np
import pytest
import torch
from shared_helpers import photo_of

from d2lstyle import evaluate, fit, sample
from d2lstyle.experiment.arms import (
    ARMS,
    FROZEN,
    SANITY,
    Classical,
    Copies,
    Dose,
    Sometimes,
    Stream,
    classical,
    fixed_features,
    new_model,
    predictions,
)
from d2lstyle.experiment.copies import KINDS, OWN
from d2lstyle.finetune import stages

N, K = 12, 3  # photos, copies of each
USED = [0, 2, 3, 5, 6, 8, 9, 11]  # the photos of a run
ALL = dict.fromkeys(KINDS, Dose(1.0, 0.5)) | {"invented": Dose(1.0, 0.25)}


@pytest.fixture(scope="module")
def copies():
    """Pictures whose first channel tells the photo, whose second the kind (0 for a photo), and whose third the copy.

    Copies stand in another order than the photos, and photo 1 has none. Seed 4 has those that are a seed's own.
    """

    def pictures(photos, kind, count):
        photo, copy = torch.meshgrid(photos, torch.arange(count), indexing="ij")
        channels = torch.stack([photo, torch.full_like(photo, kind), copy], 2).to(torch.uint8)
        return channels[..., None, None].expand(-1, -1, -1, 2, 2)

    order = torch.tensor([9, 0, 2, 3, 11, 4, 5, 6, 7, 8, 10])
    where = torch.full((N,), -1)
    where[order] = torch.arange(len(order))
    of = {f"{name} 4" if name in OWN else name: (pictures(order, i, K), where) for i, name in enumerate(KINDS, start=1)}
    return Copies(pictures(torch.arange(N), 0, 1)[:, 0], torch.arange(N) % 3, of)


def stream(copies, arm, *, doses=ALL, length=400, seed=4, used=USED):
    arm = (ARMS | SANITY)[arm] if isinstance(arm, str) else arm
    return Stream(copies, torch.tensor(used), arm, doses, length=length, seed=seed)


def shown(images_of):
    """(photos, kinds, copies, labels) of all images of a stream, as they come out of its batches."""
    images, labels = images_of.batch(range(len(images_of)))
    assert images.dtype == torch.float32 and images.shape == (len(images_of), 3, 2, 2)
    photo, kind, number = (images[:, :, 0, 0] * 255).round().long().T
    return photo.numpy(), kind.numpy(), number.numpy(), labels.numpy()


# streams


def test_a_run_goes_through_its_photos_once_before_it_starts_again(copies):
    for arm in ARMS.keys() - {"H"}:
        photos, kinds, _, labels = shown(stream(copies, arm, length=4 * len(USED) + 3))
        rounds = photos[: 4 * len(USED)].reshape(4, len(USED))
        assert (np.sort(rounds, 1) == USED).all() and len(set(map(tuple, rounds))) == 4  # in another order each
        assert len(set(photos[-3:])) == 3 and (labels == photos % 3).all() and kinds.any() == bool(ARMS[arm].kinds)


def test_duplicates_hold_each_photo_twice_and_no_copy(copies):
    photos, kinds, _, labels = shown(stream(copies, "H", length=4 * len(USED)))
    assert (np.sort(photos.reshape(2, -1), 1) == np.repeat(USED, 2)).all() and not kinds.any()
    assert sorted(photos[: len(USED)]) != USED and (labels == photos % 3).all()  # one order of the doubled list


def test_copies_take_the_places_of_their_own_photos_in_all_arms_alike(copies):
    plain, styled = shown(stream(copies, "A")), shown(stream(copies, "C"))
    for arm in "C D F G I R Dv N".split():
        photos, kinds, numbers, labels = shown(stream(copies, arm))
        assert (plain[0] == photos).all() and (plain[3] == labels).all()  # the same photos and labels in the same order
        assert set(kinds[kinds > 0]) == {1 + KINDS.index(kind) for kind in ARMS[arm].kinds}
        first = kinds == 1 + KINDS.index(ARMS[arm].kinds[0])
        assert (first == (styled[1] > 0)).all() and (numbers[first] == styled[2][first]).all()  # and the same mixtures
        assert set(numbers[kinds > 0]) == set(range(K))
    invented = shown(stream(copies, "N"))[1] == 1 + KINDS.index("invented")
    assert 0.18 < invented.mean() < 0.32  # at places of its own, beside those of the styled


@pytest.mark.parametrize("share", [0, 0.2, 1])
def test_the_share_is_the_part_of_copies_and_all_copies_are_as_likely(copies, share):
    _, kinds, numbers, _ = shown(stream(copies, "C", doses={"styled": (1, share)}, length=4000))
    assert (kinds > 0).mean() == pytest.approx(share, abs=5 * (share * (1 - share) / 4000) ** 0.5)
    if share:
        counts = np.bincount(numbers[kinds > 0], minlength=K)
        assert len(counts) == K and counts / counts.sum() == pytest.approx([1 / K] * K, abs=0.05)
    few, more = (shown(stream(copies, "C", doses={"styled": (1, part)}))[1] > 0 for part in (share / 2, share))
    assert (more >= few).all()  # more copies keep the places of fewer


def test_the_strength_is_how_far_a_pixel_goes_to_the_copy(copies):
    whole, half, none = (stream(copies, "C", doses={"styled": (s, 0.5)}).batch(range(400))[0] for s in (1, 0.3, 0))
    photos = stream(copies, "A").batch(range(400))[0]
    assert torch.equal(none, photos) and (whole != photos).any()
    torch.testing.assert_close(half, 0.7 * photos + 0.3 * whole, rtol=0, atol=1e-7)


def test_a_share_of_zero_is_the_stream_without_copies_bit_for_bit(copies):
    never, plain = stream(copies, "D, p = 0", doses={"styled": (1.0, 0.0)}), stream(copies, "B")
    assert all(map(torch.equal, never.batch(range(400)), plain.batch(range(400))))


def test_shuffled_labels_are_dealt_out_among_the_photos(copies):
    plain, dealt = (shown(stream(copies, arm, seed=1)) for arm in ("B", "B, labels shuffled"))
    assert (plain[0] == dealt[0]).all() and not dealt[1].any()
    label_of = dict(zip(dealt[0].tolist(), dealt[3].tolist()))
    assert all(label_of[photo] == label for photo, label in zip(dealt[0], dealt[3]))  # one label a photo, all along
    assert sorted(label_of.values()) == sorted(photo % 3 for photo in USED) and (plain[3] != dealt[3]).any()


def test_the_seed_decides_all_and_a_batch_is_its_images_one_by_one(copies):
    images_of, picked = stream(copies, "C"), [7, 3, 3, 399]
    images, labels = images_of.batch(torch.tensor(picked))
    assert torch.equal(images, torch.cat([images_of.batch([i])[0] for i in picked]))
    assert labels.tolist() == [images_of.batch([i])[1].item() for i in picked] and len(images_of) == 400
    first, same, other = (shown(stream(copies, "C", seed=seed)) for seed in (0, 0, 1))
    assert all((a == b).all() for a, b in zip(first, same))
    assert (first[0] != other[0]).any() and ((first[1] > 0) != (other[1] > 0)).any()


def test_copies_that_are_not_there_are_an_error(copies):
    with pytest.raises(ValueError, match="1 of 2 photos have no copies of the kind 'styled'"):
        stream(copies, "C", used=[0, 1])
    with pytest.raises(ValueError, match="no copies of the kind 'relatives' for seed 5: there are styled, recoloured"):
        stream(copies, "I", seed=5)  # never those of another seed


# augmentation


def test_a_dose_of_one_is_the_lectures_crop_flip_and_colour():
    images, generator = sample("coffee", (40, 40)).expand(400, -1, -1, -1), torch.Generator().manual_seed(0)
    sometimes = classical(40, Classical(1, 1, 1))
    crop, flip, jitter = sometimes.transform.transforms
    assert crop.scale == pytest.approx((0.08, 1)) and sometimes.share == 1
    assert 0.4 < flip.draw(images, generator)["flipped"].double().mean() < 0.6
    assert jitter.brightness == jitter.contrast == jitter.saturation == (0.5, 1.5) and jitter.hue == (-0.1, 0.1)
    crop, _, jitter = classical(40, Classical(0.5, 0.4, 1)).transform.transforms
    assert crop.scale == pytest.approx((0.54, 1))
    assert (jitter.brightness, jitter.hue) == (pytest.approx((0.8, 1.2)), pytest.approx((-0.04, 0.04)))


def test_a_dose_of_zero_is_the_whole_picture_or_its_mirror_image():
    images = torch.rand(40, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    out = classical(32, Classical(0, 0, 1))(images, generator=torch.Generator().manual_seed(0))
    same, mirrored = (((out - ours).abs().amax((1, 2, 3)) < 1e-5) for ours in (images, images.flip(3)))
    assert (same ^ mirrored).all() and 8 < same.sum() < 32


def test_sometimes_spares_the_others_bit_for_bit():
    images = torch.rand(500, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    out = Sometimes(lambda x, generator: 1 - x, 0.3)(images, generator=torch.Generator().manual_seed(1))
    spared = (out == images).all((1, 2, 3))
    assert torch.equal(out[~spared], 1 - images[~spared]) and 0.6 < spared.double().mean() < 0.8


# networks


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


def test_frozen_stages_stand_still_and_what_they_say_is_computed_once():
    """The last stage learns; `predictions` of fixed features and of pixels are `evaluate`'s."""
    images = (torch.cat([photo_of(number, 32, 32) for number in range(104)]) * 255).to(torch.uint8)
    model, labels = new_model("fine-tuned", 5, 0), torch.arange(104) % 5
    before, fixed = copy.deepcopy(model.state_dict()), fixed_features(model, images)
    fit(model, (images[:10] / 255, labels[:10]), epochs=1, batch_size=5, lr=1e-4, device="cpu")
    names = [name for _, modules in stages(model)[:FROZEN] for name in [*modules, "model.bn1"]]  # bn1 is of the stem
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    held = {key for key in before if key.startswith(tuple(f"{name}." for name in names))}
    assert changed == before.keys() - held - {"mean", "std"} and len(changed) > 5
    assert torch.equal(fixed_features(new_model("fine-tuned", 5, 7), images), fixed)
    expected = evaluate(model, (images / 255, labels)).predictions
    assert len(expected.unique()) > 1
    assert all(torch.equal(predictions(model, images, known), expected) for known in (None, fixed))
