"""Style transfer as a transform, on pictures of 48 pixels."""

import numpy as np
import pytest
import torch
from pretend_gpu import GPU, pretend_gpu

from d2lstyle import (
    ColorJitter,
    Compose,
    RandomHorizontalFlip,
    RandomStyle,
    fast_stylize,
    painting,
    sample,
    write_image,
)
from d2lstyle.fast.painting import draw_shares
from d2lstyle.samples.styles import named_styles, picture

STYLES = ["starry", "mosaic"]


@pytest.fixture(scope="module")
def images():
    photo = sample("coffee", 120)
    return torch.cat([photo[:, :, y : y + 48, x : x + 48] for y, x in ((0, 0), (20, 40), (30, 70), (10, 60))])


@pytest.fixture(scope="module")
def pictures():
    """The styles as tensors, drawn once."""
    return [painting(name, 256) for name in STYLES]


@pytest.fixture(scope="module")
def always(pictures):
    return RandomStyle(1, alpha=(0.2, 1), styles=pictures, device="cpu")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_painted_images_are_those_of_the_fast_network(images, pictures, always):
    drawn = always.draw(images, generator())
    expected = fast_stylize(images, pictures, style_weights=drawn["shares"], alpha=drawn["alpha"], device="cpu")
    torch.testing.assert_close(always(images, generator()), expected, rtol=0, atol=1e-4)


def test_p_zero_passes_images_and_changes_no_other_draw(images, pictures):
    never, dice, jitter = RandomStyle(0, styles=pictures), generator(), [RandomHorizontalFlip(), ColorJitter(0.5, 0.5)]
    before, out = dice.get_state(), never(images, dice)
    assert torch.equal(out, images) and out is not images
    assert torch.equal(dice.get_state(), before)
    chains = [Compose([never, *jitter]), Compose(jitter)]
    assert torch.equal(chains[0](images, generator(3)), chains[1](images, generator(3)))


def test_strength_zero_passes_images(images, pictures):
    assert torch.equal(RandomStyle(1, alpha=0, styles=pictures, device="cpu")(images, generator()), images)


@pytest.mark.parametrize("has_float64", [True, False])
@pytest.mark.parametrize("place", [None, "cpu", GPU], ids=str)
def test_a_gpu_paints_the_same_and_is_waited_for_once_at_most(images, pictures, always, place, has_float64):
    """For the one number that its own generator draws. Whichever device has the images."""
    with pretend_gpu(has_float64) as log:
        on_gpu, launches = RandomStyle(1, alpha=(0.2, 1), styles=pictures), []
        on_gpu(images.to(GPU))  # sees its styles in this size
        for batch in (images.repeat(3, 1, 1, 1), images):
            batch, dice = batch.to(GPU), place and torch.Generator(place).manual_seed(7)
            before = log.totals()
            painted = on_gpu(batch, dice)
            counts = {kind: count - before[kind] for kind, count in log.totals().items()}
            launches.append(counts.pop("launch"))
            assert painted.device == GPU and counts == {"wait": int(place == GPU), "upload": 0}
        assert launches[0] == launches[1]
        if place:
            expected = always(images, generator(7))
            for result in (painted, on_gpu(images, dice.manual_seed(7)), always(batch, dice.manual_seed(7))):
                torch.testing.assert_close(result.cpu(), expected, rtol=0, atol=1e-5)


def test_p_is_the_part_that_is_painted(images, pictures):
    many = images[:1].expand(400, -1, -1, -1)
    painted = RandomStyle(0.3, styles=pictures).draw(many, generator())["painted"].double().mean().item()
    assert painted == pytest.approx(0.3, abs=0.08)  # more than three standard deviations


def test_unpainted_images_are_untouched(images, pictures):
    half = RandomStyle(0.5, styles=pictures, device="cpu")
    seed = next(s for s in range(50) if 0 < half.draw(images, generator(s))["painted"].sum() < 4)
    painted, out = half.draw(images, generator(seed))["painted"], half(images, generator(seed))
    assert torch.equal(out[~painted], images[~painted])
    assert ((out - images)[painted].abs().amax(dim=(1, 2, 3)) > 0.02).all()


def test_the_generator_or_torchs_own_decides_and_the_batch_stays_as_it_was(images, always):
    before = images.clone()
    assert torch.equal(always(images, generator(1)), always(images, generator(1)))
    assert not torch.equal(always(images, generator(1)), always(images, generator(2)))
    with torch.random.fork_rng():
        torch.manual_seed(5)
        first = always(images)
        torch.manual_seed(5)
        assert torch.equal(always(images), first)
    first.zero_()
    assert torch.equal(images, before)


def test_draws_lie_in_their_ranges(images, always):
    drawn = always.draw(images[:1].expand(200, -1, -1, -1), generator())
    assert 0.2 <= drawn["alpha"].min() < 0.3 and 0.9 < drawn["alpha"].max() <= 1
    torch.testing.assert_close(drawn["shares"].sum(1), torch.ones(200))
    shares = np.stack([draw_shares(np.random.default_rng(seed), 3, 0) for seed in range(50)])  # one style alone
    assert set(np.unique(shares)) == {0, 1} and (shares.sum(1) == 1).all() and (shares.sum(0) > 5).all()


def test_styles_come_as_files_names_and_tensors(tmp_path):
    write_image(painting("woodcut", 40), tmp_path / "mine.png")
    styles = named_styles([tmp_path / "mine.png", "starry", "coffee", torch.rand(1, 3, 32, 800)])
    assert list(styles) == [str(tmp_path / "mine.png"), "starry", "coffee", "style 3"]
    assert torch.equal(styles["starry"], painting("starry", 256)) and torch.equal(picture("coffee"), sample("coffee"))
    assert all(max(image.shape[2:]) <= 512 for image in styles.values())


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: RandomStyle(1.5), "p as a number in \\[0, 1\\]"),
        (lambda: RandomStyle(alpha=1.5), "alpha as a number in \\[0, 1\\]"),
        (lambda: RandomStyle(alpha=(0.5, 0.2)), "alpha as \\(smallest, largest\\) in \\[0, 1\\]"),
        (lambda: RandomStyle(alpha="strong"), "alpha as a number"),
        (lambda: RandomStyle(mixture=-1), "mixture as a number of at least 0"),
        (lambda: RandomStyle(styles=[]), "list of styles"),
        (lambda: RandomStyle(styles="starry"), "list of styles"),
        (lambda: RandomStyle(styles=["gravel", "gravel"]), "'gravel' twice"),
        (lambda: RandomStyle(styles=[torch.rand(3, 8, 8)]), "style of shape \\(B, 3, H, W\\)"),
        (lambda: RandomStyle(styles=[torch.rand(2, 3, 32, 32)]), "one picture .*batch of 2"),
    ],
)
def test_bad_input_is_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_a_style_that_is_not_there_is_told_with_the_name_that_was_meant():
    with pytest.raises(FileNotFoundError, match="there is no file stary, .* did you mean 'starry'"):
        RandomStyle(styles=["stary"])
