"""Image augmentation, a batch at a time, every image with parameters of its own (lecture 15, "augmentation").

Each operation is a pure function of images (B, 3, H, W), float in [0, 1], and of its parameters: a number for all
images or a tensor (B,), one for each. The classes draw these parameters; `transform.draw(images, generator)` shows
them, and `resized_crop(images, **transform.draw(images, generator))` is what `transform(images, generator)` does.
Results are new tensors without gradients, where the images are. Shapes are checked, and, of what is on the CPU, values:
the parameters and the scale of the pixels. On a GPU a batch takes as many launches as an image, and no waiting.
"""

import math
from itertools import groupby

import torch
import torch.nn.functional as F

from .engine import checks
from .engine.checks import scaled_size
from .engine.devices import sent

LUMA = (0.2989, 0.587, 0.114)  # torchvision's grey
CHUNK_VALUES = 2**20  # in a chunk of a batch: with fewer, threads wait for each other; more leave the cache
NEIGHBOURS = 16  # images that share the order of ColorJitter
FACTORS = {"brightness": (0, math.inf), "contrast": (0, math.inf), "saturation": (0, math.inf), "hue": (-0.5, 0.5)}


def horizontal_flip(images, flipped):
    """Mirror left and right, of those images where `flipped`, (B,) bool, is true. Lecture 15, "flips".

    >>> horizontal_flip(torch.eye(3).expand(1, 3, 3, 3), True)[0, 0, 0]
    tensor([0., 0., 1.])
    """
    return _flip(images, flipped, -1)


def vertical_flip(images, flipped):
    """Turn upside down those images where `flipped`, (B,) bool, is true. Lecture 15, "flips".

    >>> vertical_flip(torch.eye(3).expand(1, 3, 3, 3), True)[0, 0, 0]
    tensor([0., 0., 1.])
    """
    return _flip(images, flipped, -2)


@torch.no_grad()
def _flip(images, flipped, dim):
    checks.batch(images)
    flipped = checks.tensor(flipped)
    if flipped.dtype != torch.bool or flipped.shape not in ((), images.shape[:1]):
        raise ValueError(f"expected flipped as ({len(images)},) bool, got {tuple(flipped.shape)} {flipped.dtype}")
    out = torch.empty_like(images, memory_format=torch.contiguous_format)
    if not images.is_cpu:
        return torch.where(sent(flipped, images).view(-1, 1, 1, 1) > 0, images.flip(dim), images, out=out)
    flipped = flipped.expand(len(images)).tolist()
    for chunk in chunks(images, flipped):
        out[chunk] = images[chunk].flip(dim) if flipped[chunk.start] else images[chunk]
    return out


@torch.no_grad()
def resized_crop(images, top, left, height, width, size):
    """Cut a window out of each image and resample it to one size, with an antialiased bilinear filter.

    Args:
        images: (B, 3, H, W) in [0, 1].
        top, left, height, width: the windows in pixels, an integer or (B,) each.
        size: pixels of both sides, or (height, width).
    Returns:
        (B, 3, h, w)
    Raises:
        ValueError: a window leaves its image, or the size is not positive.

    Lecture 15, "crops"; torchvision's `resized_crop(..., antialias=True)` of each image.

    >>> resized_crop(torch.eye(4).expand(1, 3, 4, 4), top=0, left=0, height=2, width=2, size=2)[0, 0]
    tensor([[1., 0.],
            [0., 1.]])
    """
    checks.batch(images)
    size = scaled_size((1, 1), size)
    H, W = images.shape[-2:]
    ranges = dict(top=(top, 0, H - 1), left=(left, 0, W - 1), height=(height, 1, H), width=(width, 1, W))
    windows = [checks.per_image(name, x, len(images), *ends, integer=True) for name, (x, *ends) in ranges.items()]
    known = images.is_cpu or all(side.is_cpu for side in windows)
    places = list(zip(*(side.tolist() for side in windows))) if known else []
    for t, l, h, w in places:
        if t + h > H or l + w > W:
            raise ValueError(
                f"expected windows within {H} x {W} pixels, got rows {t} to {t + h}, columns {l} to {l + w}"
            )
    if not images.is_cpu:
        return _crop_at_once(images, windows, size)
    out, images = images.new_empty((len(images), 3, *size)), _wide(images)
    for image, result, (t, l, h, w) in zip(images.split(1), out.split(1), places):
        # The antialiasing filter equals plain bilinear where nothing shrinks, at twice its cost.
        shrinks = h > size[0] or w > size[1]
        result.copy_(F.interpolate(image[:, :, t : t + h, l : l + w], size, mode="bilinear", antialias=shrinks))
    return out


def _crop_at_once(images, windows, size):
    """For a GPU: the pixels of a result are weighted means of the image's, first along its rows, then its columns."""
    wide, (H, W) = _wide(images), images.shape[2:]
    top, left, height, width = beside(wide, windows)
    rows, columns = _triangles(top, height, H, size[0]), _triangles(left, width, W, size[1])
    narrow = (wide.flatten(1, 2) @ columns.mT).unflatten(1, (3, H))
    return (rows[:, None] @ narrow).to(images.dtype)


def _triangles(start, length, old, new):
    """(B, new, old) weights of an image's `old` pixels in each `new` one, of windows that start and are long (B,)."""
    start, length = start.view(-1, 1, 1), length.view(-1, 1, 1)
    middles = torch.arange(max(old, new), device=start.device, dtype=start.dtype) + 0.5
    inside, centres = middles[:old] - start, middles[:new, None] * length / new  # from the window's edge
    weights = (1 - (inside - centres).abs() / (length / new).clamp(min=1)).clamp(min=0)
    weights *= (inside > 0) & (inside < length)
    return weights / weights.sum(-1, keepdim=True)


def adjust_brightness(images, factor):
    """Multiply by `factor` >= 0: 0 is black, 1 changes nothing. Lecture 15, colour "0.5-1.5"; as torchvision's.

    >>> adjust_brightness(torch.full((1, 3, 1, 1), 0.2), 2).flatten()
    tensor([0.4000, 0.4000, 0.4000])
    """
    return color_jitter(images, brightness=factor)


def adjust_contrast(images, factor):
    """Scale the distance from the image's mean grey by `factor` >= 0: 0 is all grey. Lecture 15; as torchvision's."""
    return color_jitter(images, contrast=factor)


def adjust_saturation(images, factor):
    """Scale the distance from each pixel's grey by `factor` >= 0: 0 is a grey image. Lecture 15; as torchvision's."""
    return color_jitter(images, saturation=factor)


def adjust_hue(images, shift):
    """Turn the colour wheel by `shift` in [-0.5, 0.5] turns: 1/3 makes red green. Lecture 15; as torchvision's.

    >>> adjust_hue(torch.tensor([1., 0., 0.]).view(1, 3, 1, 1), 1 / 3).flatten()
    tensor([0., 1., 0.])
    """
    return color_jitter(images, hue=shift)


@torch.no_grad()
def color_jitter(images, brightness=None, contrast=None, saturation=None, hue=None, order=None):
    """The four adjustments above, each image in its own order.

    Args:
        images: (B, 3, H, W) in [0, 1].
        brightness, contrast, saturation: factors >= 0, a number or (B,), or None to leave one out.
        hue: shifts in [-0.5, 0.5] turns, a number or (B,), or None.
        order: (B, 4) permutations of 0 brightness, 1 contrast, 2 saturation, 3 hue; None for that order.
            On the CPU neighbours of one order are computed together, which is faster.
    Returns:
        (B, 3, H, W) in [0, 1]
    Raises:
        ValueError: a factor is negative or not finite, a shift exceeds half a turn, or there are not B of them.

    Lecture 15, "colour"; torchvision's ColorJitter of each image.

    >>> color_jitter(torch.full((1, 3, 1, 1), 0.2), brightness=2, saturation=0).flatten()
    tensor([0.4000, 0.4000, 0.4000])
    """
    checks.batch(images)
    dtype, images = images.dtype, _wide(images)
    values, adjustments = (brightness, contrast, saturation, hue), (_brighten, _contrast, _saturate, _turn)
    factors = [
        checks.per_image(name, neutral if value is None else value, len(images), *ends)
        for (name, ends), value, neutral in zip(FACTORS.items(), values, (1, 1, 1, 0))
    ]
    order = _checked_order(order, images)
    if order is not None and not images.is_cpu and sum(value is not None for value in values) > 1:
        return _jitter_at_once(images, factors, order).to(dtype)
    factors = [factor.view(-1, 1, 1, 1) for factor in beside(images, factors)]
    orders = order.tolist() if order is not None and images.is_cpu else [range(4)] * len(images)
    out = torch.empty_like(images, memory_format=torch.contiguous_format)
    space = None
    for chunk in chunks(images, orders):
        x = out[chunk].copy_(images[chunk])
        if space is None or space.shape[1] < len(x):  # made once: fresh memory costs more than the arithmetic
            space = x.new_empty(5, len(x), 1, *x.shape[2:])
        for which in orders[chunk.start]:
            if values[which] is not None:
                adjustments[which](x, factors[which][chunk], space[:, : len(x)])
    return out.to(dtype)


def _jitter_at_once(images, factors, order):
    """For a GPU, which alone may know the orders: before hue and after it three steps that suit every image."""
    parameters = torch.stack(beside(images, [*factors, *order.unbind(1)]), dim=1)[..., None, None, None]
    factors, order = parameters.split(4, dim=1)  # (B, 4, 1, 1, 1) each
    hue, to_mean, to_grey = order == 3, (order == 1).to(order), (order == 2).to(order)
    # How far a step goes to black, to the mean or to grey; what comes after hue leaves the image alone before.
    amounts, late = (1 - factors).gather(1, order.long()).masked_fill(hue, 0), hue.cumsum(1)
    x = images.clone(memory_format=torch.contiguous_format)
    space = x.new_empty(5, len(x), 1, *x.shape[2:])
    for after_hue in (0, 1):
        now = amounts * (late == after_hue)
        for place in range(after_hue, 3 + after_hue):
            grey = _grey(x, space[0])
            mean = grey.mean(dim=(2, 3), keepdim=True)
            x.lerp_(grey.mul_(to_grey[:, place]).addcmul_(mean, to_mean[:, place]), now[:, place]).clamp_(0, 1)
        if not after_hue:
            _turn(x, factors[:, 3], space)
    return x


def beside(images, values):
    """[(B,)] parameters where the images are, in their type; from elsewhere they go together, not waited for."""
    away = [value for value in values if value.device != images.device]
    moved = iter(sent(torch.stack(away), images) if away else ())
    return [value.to(images.dtype) if value.device == images.device else next(moved) for value in values]


def _wide(images):
    """In float32 at least: half precision would show, or is not computed in at all on a CPU."""
    return images.to(torch.promote_types(images.dtype, torch.float32))


def _brighten(x, factor, space):
    x.mul_(factor).clamp_(0, 1)


def _contrast(x, factor, space):
    red, green, blue = x.mean(dim=(2, 3), keepdim=True).split(1, dim=1)
    mean = red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]
    x.mul_(factor).add_((1 - factor) * mean).clamp_(0, 1)


def _saturate(x, factor, space):
    x.lerp_(_grey(x, space[0]), 1 - factor).clamp_(0, 1)


def _grey(x, out):
    red, green, blue = x.split(1, dim=1)
    return torch.mul(red, LUMA[0], out=out).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def _turn(x, shift, space):
    """Turn the hue by `shift`, in place, without divisions or cases.

    Let v, m be the largest and smallest of the channels, c = v - m. On a colour wheel whose sixths are c long, red at
    0, green at 2c, blue at 4c, a colour lies v - 2m + green + blue - red away from red, towards green if green > blue.
    A channel at a distance d from its own place on the wheel is v + c - d, no less than m and no more than v.
    """
    v, m, c, place, base = space
    red, green, blue = x.split(1, dim=1)
    torch.maximum(torch.maximum(red, green, out=v), blue, out=v)
    torch.minimum(torch.minimum(red, green, out=m), blue, out=m)
    torch.add(green, blue, out=place).sub_(red).add_(v).sub_(m, alpha=2)
    place.copysign_(torch.sub(green, blue, out=c))
    torch.sub(v, m, out=c)
    torch.sub(v, c, alpha=2, out=base)
    # How far each channel's own place moves, in sixths within [-3, 3], so that |place + turn c| is at most one round,
    # 6c; then d = 3c - ||place + turn c| - 3c|.
    turn = (6 * shift - torch.arange(0, 6, 2, device=x.device, dtype=x.dtype).view(1, 3, 1, 1) + 3).remainder(6) - 3
    torch.addcmul(place, c, turn, out=x)
    x.abs_().sub_(c, alpha=3).abs_().add_(base).clamp_(m, v)


def _checked_order(order, images):
    """The order, on the CPU if the images are; there its values are looked at."""
    if order is None:
        return None
    order = order.cpu() if images.is_cpu else order
    numbers = torch.arange(4, device="cpu")
    if order.shape != (len(images), 4) or order.is_cpu and (order.sort(dim=1).values != numbers).any():
        got = f"{tuple(order.shape)}, {order.tolist()[:2]}"
        raise ValueError(f"expected order ({len(images)}, 4) of permutations of 0, 1, 2, 3, got {got}")
    return order


def chunks(images, keys=None):
    """Slices of a few images whose keys are equal; on a GPU, of as many as there are."""
    most = len(images) if not images.is_cpu else max(1, CHUNK_VALUES // images[0].numel())
    start = 0
    for _, run in groupby(keys or [0] * len(images)):
        stop = start + len(list(run))
        yield from (slice(i, min(i + most, stop)) for i in range(start, stop, most))
        start = stop


class Transform:
    """Draws parameters for each image, and hands them to a pure function."""

    def __call__(self, images, generator=None):
        """New images from a batch; `generator`: a torch.Generator, or None for torch's own of the images' device."""
        checks.batch(images)
        return self.function(images, **self.draw(images, generator))

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in vars(self).items())})"


def uniform(images, generator, low, high, tries=None):
    """(B,) or (B, tries) numbers, drawn where the generator lives, by default where the images do.

    In float64 on a CPU; an Apple GPU has no such type.
    """
    shape = (len(images),) if tries is None else (len(images), tries)
    device = (generator or images).device
    dtype = torch.float64 if device.type == "cpu" else torch.float32
    drawn = torch.rand(shape, generator=generator, device=device, dtype=dtype)
    return drawn * (high - low) + low


class RandomHorizontalFlip(Transform):
    """Mirror left and right, each image with probability `p`. Lecture 15, "flips".

    >>> RandomHorizontalFlip()
    RandomHorizontalFlip(p=0.5)
    """

    function = staticmethod(horizontal_flip)

    def __init__(self, p=0.5):
        self.p = checks.number("p", p, 0, 1)

    def draw(self, images, generator=None):
        """{"flipped": (B,) bool}"""
        return {"flipped": uniform(images, generator, 0, 1) < self.p}


class RandomVerticalFlip(RandomHorizontalFlip):
    """Turn upside down, each image with probability `p`. Lecture 15, "flips"."""

    function = staticmethod(vertical_flip)


class RandomResizedCrop(Transform):
    """Cut a random window out of each image and resample it to one size.

    Args:
        size: pixels of both sides, or (height, width).
        scale: range of the window's area, as a fraction of the image's; drawn uniformly.
        ratio: range of its width over its height; the logarithm is drawn uniformly.

    Lecture 15, "random area 8-100 %, random ratio 3/4-4/3, resized". As torchvision's: the first of ten windows that
    fits the image is taken, else the largest central one within `ratio`.

    >>> RandomResizedCrop(2)(torch.ones(1, 3, 8, 8)).shape
    torch.Size([1, 3, 2, 2])
    """

    function = staticmethod(resized_crop)

    def __init__(self, size, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3)):
        self.size = scaled_size((1, 1), size)  # of a square, so that a number is both sides
        self.scale = checks.number_range("scale", scale, 0, math.inf)
        self.ratio = checks.number_range("ratio", ratio, 1e-6, math.inf)

    def draw(self, images, generator=None):
        """{"top", "left", "height", "width": (B,) integers, "size": the size}"""
        checks.batch(images)
        H, W = images.shape[-2:]
        area = H * W * uniform(images, generator, *self.scale, tries=10)
        ratio = uniform(images, generator, *map(math.log, self.ratio), tries=10).exp()
        heights, widths = (area / ratio).sqrt().round(), (area * ratio).sqrt().round()
        fits = (heights >= 1) & (widths >= 1) & (heights <= H) & (widths <= W)
        first = fits.byte().argmax(dim=1, keepdim=True)
        any_fits = fits.any(dim=1)
        # No window fits: the whole image, or as much of it as the ratios allow.
        height = heights.gather(1, first)[:, 0].where(any_fits, min(H, max(1, round(W / self.ratio[0]))))
        width = widths.gather(1, first)[:, 0].where(any_fits, min(W, max(1, round(H * self.ratio[1]))))
        top = (uniform(images, generator, 0, 1) * (H - height + 1)).floor().where(any_fits, (H - height) // 2)
        left = (uniform(images, generator, 0, 1) * (W - width + 1)).floor().where(any_fits, (W - width) // 2)
        return dict(top=top.long(), left=left.long(), height=height.long(), width=width.long(), size=self.size)


class ColorJitter(Transform):
    """Change brightness, contrast, saturation and hue of each image, in random order. Lecture 15, "0.5-1.5".

    Args:
        brightness, contrast, saturation: a number r >= 0 for factors in [max(0, 1 - r), 1 + r], or their range.
        hue: a number in [0, 0.5] for shifts in [-hue, hue], or their range, in turns of the colour wheel.

    As torchvision's, but for the order of the four, which `NEIGHBOURS` neighbouring images share.

    >>> ColorJitter(brightness=0.5, hue=0.1)
    ColorJitter(brightness=(0.5, 1.5), contrast=None, saturation=None, hue=(-0.1, 0.1))
    """

    function = staticmethod(color_jitter)

    def __init__(self, brightness=0, contrast=0, saturation=0, hue=0):
        self.brightness = _around(1, "brightness", brightness)
        self.contrast = _around(1, "contrast", contrast)
        self.saturation = _around(1, "saturation", saturation)
        self.hue = _around(0, "hue", hue)

    def draw(self, images, generator=None):
        """{"brightness", "contrast", "saturation", "hue": (B,) each, or None where nothing changes, "order": (B, 4)}"""
        drawn = {name: uniform(images, generator, *ends) if ends else None for name, ends in vars(self).items()}
        order = uniform(images, generator, 0, 1, tries=4).argsort(dim=1)
        return drawn | {"order": order[torch.arange(len(order), device=order.device) // NEIGHBOURS * NEIGHBOURS]}


def _around(centre, name, amount):
    """torchvision's rule: a number r is the range centre - r to centre + r, cut at its lowest; None changes nothing."""
    low, high = FACTORS[name]
    if not isinstance(amount, (tuple, list)):
        radius = checks.number(name, amount, 0, high)
        amount = (max(low, centre - radius), centre + radius)
    ends = checks.number_range(name, amount, low, high)
    return None if ends == (centre, centre) else ends


class Compose:
    """One transform after another.

    Args:
        transforms: callables, each called as transform(images, generator=generator), that treat every image by itself:
            on the CPU a batch goes through in chunks of a few images, so that what lies between stays in the cache.

    >>> Compose([RandomHorizontalFlip(p=1)])(torch.eye(3).expand(1, 3, 3, 3))[0, 0, 0]
    tensor([0., 0., 1.])
    """

    def __init__(self, transforms):
        if not isinstance(transforms, (list, tuple)) or not all(map(callable, transforms)):
            raise TypeError(f"expected a list of transforms, each callable, got {transforms!r}")
        self.transforms = list(transforms)

    def __call__(self, images, generator=None):
        """New images from a batch; `generator`: a torch.Generator, or None for torch's own of the images' device."""
        checks.batch(images)
        out = None
        for chunk in chunks(images):
            x = part = images[chunk]
            for transform in self.transforms:
                x = transform(x, generator=generator)
            if len(x) == len(images) and x is not part:  # no need of a copy
                return x
            out = x.new_empty((len(images), *x.shape[1:])) if out is None else out
            out[chunk] = x
        return out

    def __repr__(self):
        return f"Compose({self.transforms})"
