"""The augmentations against torchvision's, image by image with the same parameters, and against arithmetic."""

import math

import pytest
import torch
import torchvision.transforms.v2.functional as tv
from PIL import Image
from pretend_gpu import GPU, pretend_gpu
from torchvision.transforms import v2

from d2lstyle import augment
from d2lstyle.augment import ColorJitter, Compose, RandomHorizontalFlip, RandomResizedCrop, RandomVerticalFlip
from d2lstyle.engine import devices
from d2lstyle.light import Lighting, adjust_lighting

ADJUSTMENTS = {
    "brightness": (augment.adjust_brightness, tv.adjust_brightness, 0, 2.5),
    "contrast": (augment.adjust_contrast, tv.adjust_contrast, 0, 2.5),
    "saturation": (augment.adjust_saturation, tv.adjust_saturation, 0, 2.5),
    "hue": (augment.adjust_hue, tv.adjust_hue, -0.5, 0.5),
}
TRANSFORMS = [
    RandomHorizontalFlip(),
    RandomVerticalFlip(0.3),
    RandomResizedCrop((20, 31)),
    ColorJitter(0.5, 0.4, (0.2, 3), 0.5),
    Lighting(),
    Compose([RandomResizedCrop(24), RandomHorizontalFlip(), ColorJitter(0.5, 0.5, 0.5, 0.1), Lighting()]),
]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=seeded(seed))


def edge_cases(batch, height=23, width=37):
    """Noise, and images that are grey, black, white, of few levels, of pure and of nearly grey colours."""
    images = noise(batch, 3, height, width)
    images[0], images[1], images[2] = 0.5, 0, 1
    images[3] = (images[3] * 4).round() / 4
    images[4] = images[4].round()
    images[5] = 0.3 + images[5] * 1e-3
    images[6] = images[6, :1]  # grey, pixel by pixel
    return images


def close(actual, expected, atol=1e-5):
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


# flips


@pytest.mark.parametrize(
    "ours, theirs", [(augment.horizontal_flip, tv.horizontal_flip), (augment.vertical_flip, tv.vertical_flip)]
)
def test_flips_are_torchvisions(ours, theirs):
    images, flipped = noise(40, 3, 5, 7), noise(40, seed=1) < 0.5
    expected = torch.stack([theirs(image) if turn else image for image, turn in zip(images, flipped)])
    assert torch.equal(ours(images, flipped), expected)
    assert torch.equal(ours(ours(images, flipped), flipped), images)
    assert torch.equal(ours(images, True), theirs(images)) and torch.equal(ours(images, False), images)


# crops


def torchvision_crops(images, top, left, height, width, size):
    windows = zip(images, top.tolist(), left.tolist(), height.tolist(), width.tolist())
    return torch.stack([tv.resized_crop(image, *window, list(size), antialias=True) for image, *window in windows])


@pytest.mark.parametrize("size", [(96, 96), (224, 160), (33, 47), (7, 5), (1, 1), (33, 7), (7, 90)])
def test_resized_crops_are_torchvisions(size):
    images = noise(16, 3, 33, 47)
    drawn = RandomResizedCrop(size, scale=(0.01, 1), ratio=(0.3, 3)).draw(images, seeded(1))
    at_borders = [(0, 0, 33, 47), (0, 0, 1, 1), (32, 46, 1, 1), (20, 30, 13, 17), (0, 20, 33, 27), (32, 0, 1, 47)]
    for i, window in enumerate(at_borders):
        for name, value in zip(("top", "left", "height", "width"), window):
            drawn[name][i] = value
    expected = torchvision_crops(images, **drawn)
    close(augment.resized_crop(images, **drawn), expected)
    with pretend_gpu():
        close(augment.resized_crop(images.to(GPU), **drawn).cpu(), expected)


def test_one_window_for_all_images():
    images = noise(3, 3, 20, 30)
    assert torch.equal(augment.resized_crop(images, 2, 3, 10, 12, (10, 12)), images[:, :, 2:12, 3:15])
    assert augment.resized_crop(images, 2, 3, 10, 12, 5).shape == (3, 3, 5, 5)


# colour


@pytest.mark.parametrize("name", ADJUSTMENTS)
@pytest.mark.parametrize("batch, shape", [(40, (23, 37)), (8, (300, 301))])  # several images a chunk, and few
def test_adjustments_are_torchvisions(name, batch, shape):
    ours, theirs, low, high = ADJUSTMENTS[name]
    images, values = edge_cases(batch, *shape), low + (high - low) * noise(batch, seed=1)
    values[-3:] = torch.tensor([low, high, 1 / 3])
    expected = torch.stack([theirs(image, value) for image, value in zip(images, values.tolist())])
    close(ours(images, values), expected)
    close(ours(images, 0.4), torch.stack([theirs(image, 0.4) for image in images]))  # one number for all
    close(ours(images, 0 if name == "hue" else 1), images, atol=1e-6)


def test_a_third_of_a_turn_makes_red_green_and_green_blue():
    colours = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.8, 0.2, 0.2], [0.4, 0.4, 0.4]]).view(5, 3, 1, 1)
    turned = torch.tensor([[0.0, 1, 0], [0, 0, 1], [1, 0, 0], [0.2, 0.8, 0.2], [0.4, 0.4, 0.4]]).view(5, 3, 1, 1)
    close(augment.adjust_hue(colours, 1 / 3), turned, atol=1e-6)
    close(augment.adjust_hue(turned, -1 / 3), colours, atol=1e-6)
    close(augment.adjust_hue(colours, 0.5), augment.adjust_hue(colours, -0.5), atol=1e-6)


def test_each_image_is_jittered_in_its_own_order():
    images = edge_cases(24)
    orders = torch.cartesian_prod(*[torch.arange(4)] * 4)
    orders = orders[(orders.sort(dim=1).values == torch.arange(4)).all(dim=1)]  # all 24
    ranges = {name: ends for name, (_, _, *ends) in ADJUSTMENTS.items()}
    drawn = {name: low + (high - low) * noise(24, seed=i) for i, (name, (low, high)) in enumerate(ranges.items())}
    expected = []
    for i, image in enumerate(images):
        for which in orders[i].tolist():
            name = list(ADJUSTMENTS)[which]
            image = ADJUSTMENTS[name][1](image, drawn[name][i].item())
        expected.append(image)
    # A contrast of 2.5 after a saturation of 2.5 magnifies rounding.
    close(augment.color_jitter(images, **drawn, order=orders), torch.stack(expected), atol=2e-5)
    with pretend_gpu():
        close(augment.color_jitter(images.to(GPU), **drawn, order=orders).cpu(), torch.stack(expected), atol=2e-5)


def test_jitter_of_nothing_is_a_copy():
    images = noise(3, 3, 5, 7)
    copy = ColorJitter()(images)
    assert torch.equal(copy, images) and copy.data_ptr() != images.data_ptr()


# what holds for all


@pytest.mark.parametrize("transform", TRANSFORMS[:-1], ids=repr)
def test_a_batch_equals_its_singles(transform):
    images = edge_cases(19)
    drawn = transform.draw(images, seeded(3))

    def single(i):
        own = {name: value[i : i + 1] if torch.is_tensor(value) else value for name, value in drawn.items()}
        return transform.function(images[i : i + 1], **own)

    close(transform.function(images, **drawn), torch.cat([single(i) for i in range(len(images))]), atol=1e-6)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=repr)
def test_the_same_seed_gives_the_same_images(transform):
    images = noise(19, 3, 23, 37)
    first = transform(images, seeded(3))
    assert torch.equal(first, transform(images, generator=seeded(3)))
    assert not torch.equal(first, transform(images, seeded(4)))
    torch.manual_seed(3)
    assert torch.equal(first, transform(images))
    if hasattr(transform, "draw"):  # a call is the function of the draw
        assert torch.equal(first, transform.function(images, **transform.draw(images, seeded(3))))


@pytest.mark.parametrize("transform", TRANSFORMS, ids=repr)
def test_the_input_stays_and_its_memory_format_does_not_matter(transform):
    images = noise(19, 3, 23, 37)
    kept = images.clone()
    expected = transform(images, seeded(3))
    assert torch.equal(images, kept) and expected.is_contiguous() and expected.dtype == torch.float32
    assert expected.min() >= 0 and expected.max() <= 1
    view = noise(19, 3, 46, 74)[:, :, ::2, ::2].copy_(images)
    one = images[:1].expand(19, -1, -1, -1)
    close(transform(images.contiguous(memory_format=torch.channels_last), seeded(3)), expected, atol=1e-6)
    close(transform(view, seeded(3)), expected, atol=1e-6)
    close(transform(one, seeded(3)), transform(one.contiguous(), seeded(3)), atol=1e-6)
    assert transform(images.double(), seeded()).dtype == torch.float64
    assert not transform(images.requires_grad_(), seeded()).requires_grad


@pytest.mark.parametrize("dtype, atol", [(torch.float16, 4e-3), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize("transform", TRANSFORMS, ids=repr)
def test_half_precision_is_near(transform, dtype, atol):
    images = edge_cases(19).to(dtype)
    result = transform(images, seeded(3))
    assert result.dtype == dtype
    close(result.float(), transform(images.float(), seeded(3)), atol=atol)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=repr)
def test_images_of_a_batch_are_drawn_apart(transform):
    """Of one image, repeated, come many."""
    images = noise(1, 3, 23, 37).expand(40, -1, -1, -1)
    assert len(transform(images, seeded()).unique(dim=0)) >= (2 if "Flip" in repr(transform) else 40)


# on a GPU

CPU = torch.device("cpu")
CALLS = {
    repr(transform): (transform.function, transform.draw(edge_cases(19), seeded(3))) for transform in TRANSFORMS[:-1]
}
CALLS |= {
    "flip all": (augment.horizontal_flip, {"flipped": True}),
    "flip none": (augment.vertical_flip, {"flipped": False}),
    "crop": (augment.resized_crop, dict(top=2, left=3, height=10, width=12, size=(5, 30))),
    "light": (adjust_lighting, dict(temperature=3000, glare=0.5, angle=30)),
    "colours": (augment.color_jitter, dict(brightness=0.4, contrast=1.4, saturation=2, hue=0.3)),
    "contrast": (augment.color_jitter, dict(contrast=0.4, order=CALLS[repr(TRANSFORMS[3])][1]["order"])),
    "no colours": (augment.color_jitter, {}),
}


def moved(values, place):
    """Parameters on another device; an Apple GPU has no float64."""
    tensors = {name: value for name, value in values.items() if torch.is_tensor(value)}
    return values | {
        name: (value.float() if value.is_floating_point() else value).to(place) for name, value in tensors.items()
    }


@pytest.mark.parametrize("has_float64", [True, False])
@pytest.mark.parametrize("function, drawn", CALLS.values(), ids=CALLS)
def test_a_gpu_gives_the_same_wherever_images_and_parameters_are(function, drawn, has_float64):
    images = edge_cases(19)
    expected = function(images, **drawn)
    with pretend_gpu(has_float64):
        there = moved(drawn, GPU)
        for place, parameters in ((GPU, drawn), (GPU, there), (CPU, there)):
            result = function(images.to(place), **parameters)
            assert result.device == place and result.is_contiguous()
            close(result.cpu(), expected)
        assert function(images.half().to(GPU), **drawn).dtype == torch.float16


@pytest.mark.parametrize("has_float64", [True, False])
@pytest.mark.parametrize("place", [None, CPU, GPU], ids=str)
@pytest.mark.parametrize("transform", TRANSFORMS, ids=repr)
def test_a_gpu_draws_and_works_without_waits_and_not_more_often_for_more_images(
    transform, place, has_float64, monkeypatch
):
    sent, counts = [], []
    monkeypatch.setattr(
        augment, "sent", lambda tensor, place: sent.append(tensor.is_cpu) or devices.sent(tensor, place)
    )
    with pretend_gpu(has_float64) as log:
        for batch in (40, 4):
            images = edge_cases(40)[-batch:].to(GPU)
            generator = place and torch.Generator(place).manual_seed(3)
            sent.clear(), log.upload.clear(), log.launch.clear()
            result = transform(images, generator)
            assert result.device == GPU
            counts.append(log.totals() | {"sent": sum(sent)})
        assert counts[0] == counts[1] and counts[0]["wait"] == counts[0]["upload"] == 0
        assert counts[0]["sent"] == (place is CPU) * len(getattr(transform, "transforms", [transform]))
        if place and hasattr(transform, "draw"):
            drawn = transform.draw(images, generator.manual_seed(3))
            assert {value.device for value in drawn.values() if torch.is_tensor(value)} == {place}
            close(result.cpu(), transform.function(images.cpu(), **moved(drawn, CPU)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_that_is_there_gives_the_same_and_is_not_waited_for():
    images, there = edge_cases(19), torch.Generator("cuda").manual_seed(3)
    for transform in TRANSFORMS:
        moved = images.cuda()
        torch.cuda.set_sync_debug_mode("error")
        try:
            on_gpu, drawn_there = transform(moved, seeded(3)), transform(moved, there)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert on_gpu.is_cuda and drawn_there.shape == on_gpu.shape
        if hasattr(transform, "draw"):  # `Compose` draws for other chunks there
            close(on_gpu.cpu(), transform(images, seeded(3)), atol=1e-4)


# how parameters are drawn

MANY = torch.zeros(4000, 3, 1, 1)


@pytest.mark.parametrize("p", [0, 0.2, 1])
def test_flips_come_with_probability_p(p):
    share = RandomHorizontalFlip(p).draw(MANY, seeded())["flipped"].double().mean()
    assert share == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / 4000))


@pytest.mark.parametrize("shape", [(224, 224), (120, 300), (90, 50)])
@pytest.mark.parametrize("scale, ratio", [((0.08, 1.0), (3 / 4, 4 / 3)), ((0.5, 0.6), (1.0, 2.0))])
def test_windows_are_drawn_as_torchvisions(shape, scale, ratio):
    names = ("top", "left", "height", "width")
    drawn = RandomResizedCrop(8, scale, ratio).draw(MANY.expand(-1, -1, *shape), seeded())
    ours = torch.stack([drawn[name] for name in names], dim=1).double()
    torch.manual_seed(0)
    transform, image = v2.RandomResizedCrop(8, scale, ratio, antialias=True), torch.zeros(3, 1, 1).expand(-1, *shape)
    windows = [transform.make_params([image]) for _ in range(1000)]
    theirs = torch.tensor([[window[name] for name in names] for window in windows]).double()
    for statistic in (lambda x: x, lambda x: x[:, 2:3] * x[:, 3:4], lambda x: (x[:, 3:4] / x[:, 2:3]).log()):
        a, b = statistic(ours), statistic(theirs)
        error = ((a.var(0) / len(a) + b.var(0) / len(b)).sqrt() + 1e-9) * 4.5
        assert ((a.mean(0) - b.mean(0)).abs() <= error).all()
        torch.testing.assert_close(a.std(0), b.std(0), rtol=0.1, atol=1e-6)


def test_windows_keep_their_ranges_and_reach_the_borders():
    drawn = RandomResizedCrop(8, scale=(0.08, 0.9)).draw(MANY.expand(-1, -1, 200, 260), seeded())
    area, ratio = drawn["height"] * drawn["width"] / (200 * 260), drawn["width"] / drawn["height"]
    assert 0.079 < area.min() < 0.09 and 0.85 < area.max() < 0.91
    assert 0.74 < ratio.min() < 0.77 and 1.30 < ratio.max() < 1.35
    bottom, right = drawn["top"] + drawn["height"], drawn["left"] + drawn["width"]
    assert drawn["top"].min() == 0 == drawn["left"].min() and bottom.max() == 200 and right.max() == 260


@pytest.mark.parametrize(
    "shape, window", [((40, 400), (0, 173, 40, 53)), ((400, 40), (173, 0, 53, 40)), ((40, 40), (0, 0, 40, 40))]
)
def test_where_no_window_fits_the_central_one_is_taken(shape, window):
    drawn = RandomResizedCrop(8, scale=(2, 3)).draw(torch.zeros(2, 3, *shape), seeded())
    assert [drawn[name].tolist() for name in ("top", "left", "height", "width")] == [[value] * 2 for value in window]


def test_colours_are_drawn_uniformly_in_torchvisions_ranges():
    drawn = ColorJitter(0.5, 2, (0.1, 0.3), 0.2).draw(MANY, seeded())
    for name, low, high in (("brightness", 0.5, 1.5), ("contrast", 0, 3), ("saturation", 0.1, 0.3), ("hue", -0.2, 0.2)):
        assert low <= drawn[name].min() and drawn[name].max() <= high
        deciles = torch.quantile(drawn[name], torch.linspace(0, 1, 11, dtype=torch.float64))
        close((deciles - low) / (high - low), torch.linspace(0, 1, 11, dtype=torch.float64), atol=0.04)


def test_every_order_is_drawn_equally_often():
    images = torch.zeros(1, 3, 1, 1).expand(augment.NEIGHBOURS * 4800, -1, -1, -1)
    orders, counts = ColorJitter(0.5).draw(images, seeded())["order"].unique(dim=0, return_counts=True)
    assert len(orders) == 24 and (counts.double() / augment.NEIGHBOURS - 200).abs().max() < 4 * math.sqrt(200)


# one after another


def test_compose_calls_its_members_in_turn():
    first, second = RandomResizedCrop(24), ColorJitter(0.5, 0.5, 0.5, 0.5)
    images, generator = noise(5, 3, 23, 37), seeded()  # few enough for one part
    assert torch.equal(Compose([first, second])(images, seeded()), second(first(images, generator), generator))


def test_compose_serves_any_callable_and_every_image_once():
    def darken(images, generator=None):
        return images / 2

    images = noise(40, 3, 96, 100)
    assert torch.equal(Compose([darken, Compose([darken])])(images), images / 4)
    assert torch.equal(Compose([])(images), images)


def test_they_print_as_they_are_made():
    assert repr(RandomHorizontalFlip(p=0.5)) == "RandomHorizontalFlip(p=0.5)"
    assert repr(RandomResizedCrop(8, ratio=(1, 2))) == "RandomResizedCrop(size=(8, 8), scale=(0.08, 1.0), ratio=(1, 2))"
    assert repr(ColorJitter(0.5)) == "ColorJitter(brightness=(0.5, 1.5), contrast=None, saturation=None, hue=None)"
    assert repr(Compose([RandomVerticalFlip(1)])) == "Compose([RandomVerticalFlip(p=1)])"
    assert repr(Lighting()) == "Lighting(temperature=(3000, 10000), glare=0.5, p=0.5)"


# what is refused

ONE = torch.zeros(2, 3, 8, 8)


@pytest.mark.parametrize(
    "images, error, words",
    [
        (ONE.byte(), ValueError, r"float in \[0, 1\], got torch.uint8"),
        (ONE[0], ValueError, r"\(B, 3, H, W\), got \(3, 8, 8\)"),
        (ONE[:, :1], ValueError, r"\(B, 3, H, W\), got \(2, 1, 8, 8\)"),
        (ONE[:0], ValueError, r"\(B, 3, H, W\), got \(0, 3, 8, 8\)"),
        ([[0.5]], TypeError, "tensor .*got list"),
        (Image.new("RGB", (8, 8)), TypeError, r"images as a tensor \(B, 3, H, W\), got Image: see read_image"),
        (ONE + 255, ValueError, "got values from 255 to 255: divide by 255, and leave a normalisation to the network"),
        (2 * noise(2, 3, 40, 40) - 1, ValueError, r"images in \[0, 1\], got values from -0.99"),
    ],
)
def test_bad_images_are_refused(images, error, words):
    for transform in TRANSFORMS:
        with pytest.raises(error, match=words):
            transform(images)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: RandomHorizontalFlip(1.5), r"p .*\[0, 1\], got 1.5"),
        (lambda: RandomHorizontalFlip(math.nan), r"p .*\[0, 1\], got nan"),
        (lambda: RandomResizedCrop(0), "size in pixels, .*got 0"),
        (lambda: RandomResizedCrop(8, scale=(1, 0.1)), r"scale as \(smallest, largest\) .*got \(1, 0.1\)"),
        (lambda: RandomResizedCrop(8, scale=0.5), r"scale as \(smallest, largest\) .*got 0.5"),
        (lambda: RandomResizedCrop(8, ratio=(0, 1)), r"ratio as .*got \(0, 1\)"),
        (lambda: RandomResizedCrop(8, ratio=(1, math.inf)), r"ratio as .*got \(1, inf\)"),
        (lambda: ColorJitter(-0.5), "brightness .*got -0.5"),
        (lambda: ColorJitter(contrast=(-0.5, 1)), r"contrast .*got \(-0.5, 1\)"),
        (lambda: ColorJitter(saturation=(1.5, 0.5)), r"saturation .*got \(1.5, 0.5\)"),
        (lambda: ColorJitter(brightness=math.inf), "brightness .*got inf"),
        (lambda: ColorJitter(hue=0.6), r"hue .*\[0, 0.5\].*got 0.6"),
        (lambda: ColorJitter(hue=(-0.6, 0)), r"hue .*\[-0.5, 0.5\], got \(-0.6, 0\)"),
        (lambda: ColorJitter("much"), "brightness .*got 'much'"),
        (lambda: Compose([ColorJitter(), "flip"]), "list of transforms, each callable, got .*'flip'"),
        (lambda: Compose(ColorJitter()), "list of transforms, each callable, got ColorJitter"),
        (lambda: augment.horizontal_flip(ONE, torch.ones(3) > 0), r"flipped as \(2,\) bool, got \(3,\) torch.bool"),
        (lambda: augment.vertical_flip(ONE, torch.ones(2)), r"flipped as \(2,\) bool, got \(2,\) torch.float32"),
        (lambda: augment.adjust_brightness(ONE, -1), r"brightness of at least 0 and finite, got -1"),
        (lambda: augment.adjust_contrast(ONE, math.nan), r"contrast .*got nan"),
        (lambda: augment.adjust_saturation(ONE, torch.ones(3)), r"saturation as a number or \(2,\) .*got \(3,\)"),
        (lambda: augment.adjust_saturation(ONE, "much"), "saturation as a number .*got 'much'"),
        (lambda: augment.adjust_hue(ONE, torch.tensor([0.2, 0.6])), r"hue in \[-0.5, 0.5\], got 0.6"),
        (lambda: augment.color_jitter(ONE, 1, order=torch.zeros(2, 4)), r"order \(2, 4\) of permutations"),
        (lambda: augment.color_jitter(ONE, 1, order=torch.arange(4)), r"order \(2, 4\) of permutations"),
        (lambda: augment.resized_crop(ONE, 0, 0, 4, 4, 0), "size in pixels, .*got 0"),
        (lambda: augment.resized_crop(ONE, 0, 0, 0, 4, 8), r"height in \[1, 8\], got 0"),
        (lambda: augment.resized_crop(ONE, 5, 0, 4, 4, 8), "within 8 x 8 pixels, got rows 5 to 9, columns 0 to 4"),
        (lambda: augment.resized_crop(ONE, 0.5, 0, 4, 4, 8), "top as an integer"),
        (lambda: augment.resized_crop(ONE, 0, -1, 4, 4, 8), r"left in \[0, 7\], got -1"),
    ],
)
def test_bad_parameters_are_refused(call, words):
    with pytest.raises((ValueError, TypeError), match=words):
        call()
