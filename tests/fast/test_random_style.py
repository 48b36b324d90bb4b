"""Style transfer as a transform, on pictures of 48 pixels."""

import pytest
import torch

from d2lstyle import ColorJitter, Compose, RandomHorizontalFlip, RandomStyle, painting, sample, write_image
from d2lstyle.fast.network import fast_stylize
from d2lstyle.fast.random_style import draw_shares, strengths
from d2lstyle.samples.styles import named_styles

STYLES = ["starry", "mosaic"]


@pytest.fixture(scope="module")
def images():
    photo = sample("coffee", 120)
    return torch.cat([photo[:, :, y : y + 48, x : x + 48] for y, x in ((0, 0), (20, 40), (30, 70), (10, 60))])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def always():
    return RandomStyle(1, alpha=(0.2, 1), styles=STYLES, device="cpu")


def test_painted_images_are_those_of_the_fast_network(images, always):
    drawn = always.draw(images, generator())
    expected = fast_stylize(
        images,
        [painting(name, 256) for name in STYLES],
        style_weights=drawn["shares"],
        alpha=drawn["alpha"],
        device="cpu",
    )
    torch.testing.assert_close(always(images, generator()), expected, rtol=0, atol=1e-4)


def test_p_zero_passes_images_and_draws_no_number(images):
    never, dice = RandomStyle(0, styles=STYLES, device="cpu"), generator()
    before = dice.get_state()
    out = never(images, dice)
    assert torch.equal(out, images) and out is not images
    assert torch.equal(dice.get_state(), before)


def test_p_zero_in_a_chain_changes_no_other_draw(images):
    jitter = [RandomHorizontalFlip(), ColorJitter(0.5, 0.5)]
    with_it = Compose([RandomStyle(0, styles=STYLES, device="cpu"), *jitter])(images, generator(3))
    assert torch.equal(with_it, Compose(jitter)(images, generator(3)))


def test_p_is_the_part_that_is_painted(images):
    many = images[:1].expand(400, -1, -1, -1)
    painted = RandomStyle(0.3, styles=STYLES, device="cpu").draw(many, generator())["painted"].double().mean().item()
    assert painted == pytest.approx(0.3, abs=0.08)  # more than three standard deviations


def test_unpainted_images_are_untouched(images):
    half = RandomStyle(0.5, styles=STYLES, device="cpu")
    seed = next(s for s in range(50) if 0 < half.draw(images, generator(s))["painted"].sum() < 4)
    painted, out = half.draw(images, generator(seed))["painted"], half(images, generator(seed))
    assert torch.equal(out[~painted], images[~painted])
    assert ((out - images)[painted].abs().amax(dim=(1, 2, 3)) > 0.02).all()


def test_the_same_generator_gives_the_same_images(images, always):
    assert torch.equal(always(images, generator(1)), always(images, generator(1)))
    assert not torch.equal(always(images, generator(1)), always(images, generator(2)))


def test_without_a_generator_torchs_own_is_used(images, always):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        first = always(images)
        torch.manual_seed(5)
        assert torch.equal(always(images), first)


def test_the_batch_is_left_as_it_was(images, always):
    given = images.clone()
    always(given, generator()).zero_()
    assert torch.equal(given, images)


def test_draws_lie_in_their_ranges(images, always):
    drawn = always.draw(images[:1].expand(200, -1, -1, -1), generator())
    assert 0.2 <= drawn["alpha"].min() < 0.3 and 0.9 < drawn["alpha"].max() <= 1
    torch.testing.assert_close(drawn["shares"].sum(1), torch.ones(200))


def test_mixture_zero_is_one_style_alone():
    import numpy as np

    shares = np.stack([draw_shares(np.random.default_rng(seed), 3, 0) for seed in range(50)])
    assert set(np.unique(shares)) == {0, 1} and (shares.sum(1) == 1).all() and (shares.sum(0) > 5).all()


def test_styles_come_as_files_names_and_tensors(tmp_path):
    write_image(painting("woodcut", 40), tmp_path / "mine.png")
    found = named_styles([tmp_path / "mine.png", "starry", "coffee", torch.rand(1, 3, 32, 800)])
    assert list(found) == [str(tmp_path / "mine.png"), "starry", "coffee", "style 3"]
    assert torch.equal(found["starry"], painting("starry", 256))
    assert all(max(picture.shape[2:]) <= 512 for picture in found.values())


@pytest.mark.parametrize("given, expected", [(0.5, (0.5, 0.5)), ((0.1, 2), (0.1, 2)), ([0, 1], (0, 1))])
def test_strengths(given, expected):
    assert strengths(given) == expected


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: RandomStyle(1.5), "p in \\[0, 1\\]"),
        (lambda: RandomStyle(alpha=1.5), "alpha in \\[0, 1\\]"),
        (lambda: RandomStyle(alpha=(0.5, 0.2)), "lowest, highest"),
        (lambda: RandomStyle(alpha=(1, 2, 3)), "lowest, highest"),
        (lambda: RandomStyle(alpha=-0.1), "lowest, highest"),
        (lambda: RandomStyle(mixture=-1), "mixture"),
        (lambda: RandomStyle(styles=[]), "list of styles"),
        (lambda: RandomStyle(styles="starry"), "list of styles"),
        (lambda: RandomStyle(styles=["starry", "starry"]), "twice"),
        (lambda: RandomStyle(styles=["stary"]), "did you mean 'starry'"),
        (lambda: RandomStyle(styles=[torch.rand(3, 8, 8)]), "shape \\(B, 3, H, W\\)"),
        (lambda: RandomStyle(styles=[torch.rand(2, 3, 32, 32)]), "one picture"),
    ],
)
def test_bad_input_is_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()
