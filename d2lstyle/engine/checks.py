"""What a caller gives, checked; each error says what was expected and what came. The wording lives here."""

import math
from difflib import get_close_matches
from numbers import Real
from operator import index

import numpy as np
import torch

MOST_LISTED = 100
SLACK = 1e-4  # by which rounding may leave [0, 1]


def unknown_name(kind, name, known):
    """The ValueError to raise: what was asked for, the likeliest names meant, and all that there are."""
    return ValueError(f"unknown {kind} {name!r}: {likely_names(name, known)}")


def likely_names(name, known):
    """The likeliest names meant, and all that there are, in words."""
    close = get_close_matches(str(name), known, n=2)
    hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    all_known = ", ".join(known) if len(known) <= MOST_LISTED else f"{len(known)} of them, such as {known[0]!r}"
    return f"{hint}There are {all_known}"


def choice(kind, value, known):
    """The value, if it is one of the names known; else a ValueError."""
    if value not in known:
        raise unknown_name(kind, value, list(known))
    return value


def choices(**known_by_name):
    """`choices(mix=(mix, MIXES), ...)`: `choice` of several arguments, in order."""
    for kind, (value, known) in known_by_name.items():
        choice(kind, value, known)


def whole(name, value, least, most=math.inf):
    """The value as an int: numpy's integers count, bools do not; else a ValueError."""
    try:
        if isinstance(value, bool) or not least <= index(value) <= most:
            raise TypeError
    except TypeError:
        bounds = f"of at least {least}" if most == math.inf else f"from {least} to {most}"
        raise ValueError(f"expected {name} as an integer {bounds}, got {value!r}") from None
    return index(value)


def seed(value):
    """The value as an int, if torch's generators take it; else a ValueError."""
    return whole("seed", value, -(2**63), 2**63 - 1)


def number(name, value, low=-math.inf, high=math.inf):
    """The value, if it is a finite number within [low, high]; else a ValueError."""
    if not isinstance(value, Real) or not math.isfinite(value) or not low <= value <= high:
        raise ValueError(f"expected {name} as a number {interval(low, high)}, got {value!r}")
    return value


def layer_weights(weights):
    """The weights, {layer: number}, if none is negative; else a ValueError."""
    return {layer: number(f"the layer weight of {layer}", weight, 0) for layer, weight in weights.items()}


def number_range(name, ends, low=-math.inf, high=math.inf):
    """(first, last) with low <= first <= last <= high; else a ValueError."""
    numbers = isinstance(ends, (tuple, list)) and all(isinstance(end, Real) and math.isfinite(end) for end in ends)
    if not numbers or len(ends) != 2 or not low <= ends[0] <= ends[1] <= high:
        raise ValueError(f"expected {name} as (smallest, largest) {interval(low, high)}, got {ends!r}")
    return tuple(ends)


def interval(low, high):
    """[low, high] in words."""
    if math.isfinite(high):
        return f"in [{low}, {high}]"
    return f"of at least {low} and finite" if math.isfinite(low) else "finite"


def pixels(name, value):
    """A positive integer as (n,), or (height, width) as it is; else a ValueError."""
    is_pair = isinstance(value, (tuple, list))
    sides = tuple(value) if is_pair else (value,)
    if len(sides) != 1 + is_pair or not all(isinstance(s, int) and not isinstance(s, bool) and s > 0 for s in sides):
        raise ValueError(f"expected {name} in pixels, a positive integer or (height, width), got {value!r}")
    return sides


def scaled_size(shape, size):
    """(height, width) of an image of `shape` (H, W) whose longer side becomes `size`; a pair is taken as it is."""
    sides = pixels("size", size)
    return sides if len(sides) == 2 else tuple(max(1, round(side * size / max(shape))) for side in shape)


def tensor(value):
    """Numbers as a tensor on the CPU, whatever default device a user has set; a tensor stays where it is."""
    return torch.as_tensor(value, device=getattr(value, "device", "cpu"))


def float64(value):
    """Numbers or a tensor of them in float64, and so on the CPU: an Apple GPU has no such type."""
    return torch.as_tensor(value.cpu() if isinstance(value, torch.Tensor) else value, dtype=torch.float64, device="cpu")


def per_image(name, value, batch, low=-math.inf, high=math.inf, integer=False):
    """A number or (B,) numbers -> (B,) as `float64` or integers, all in [low, high]; else a TypeError or ValueError.

    What is on a GPU stays there, in float32 or as integers, and its values are not looked at.
    """
    on_gpu = isinstance(value, torch.Tensor) and not value.is_cpu
    try:
        value = tensor(value) if integer or on_gpu else float64(value)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"expected {name} as a number or a tensor of them, got {value!r}") from None
    if value.shape not in ((), (batch,)) or (integer and value.is_floating_point()):
        kind, got = "an integer" if integer else "a number", f"{tuple(value.shape)} {value.dtype}"
        raise ValueError(f"expected {name} as {kind} or ({batch},) of them, got {got}")
    if on_gpu:
        return (value if integer else value.float()).expand(batch)
    wrong = [entry for entry in value.reshape(-1).tolist() if not (low <= entry <= high and math.isfinite(entry))]
    if wrong:
        raise ValueError(f"expected {name} {interval(low, high)}, got {', '.join(map(str, wrong[:3]))}")
    return value.expand(batch)


def batch(images, name="images", channels=3):
    """Raise unless `images` is float, (B, channels or any if None, H, W), not empty; and, if channels is 3, `scale`."""
    shape = f"(B, {channels or 'C'}, H, W)"
    if not isinstance(images, torch.Tensor):
        raise TypeError(f"expected {name} as a tensor {shape}, got {type(images).__name__}: see read_image")
    if images.ndim != 4 or (channels and images.shape[1] != channels) or 0 in images.shape:
        raise ValueError(f"expected {name} of shape {shape}, got {tuple(images.shape)}")
    if not images.is_floating_point():
        raise ValueError(f"expected {name} as float in [0, 1], got {images.dtype}: divide by its largest value")
    if channels == 3:
        scale(images, name)


def scale(images, name="images"):
    """Raise ValueError if images (B, C, H, W) are on another scale than [0, 1], as 16 x 16 or so of the pixels tell."""
    if torch.compiler.is_compiling() or images.device.type != "cpu":  # a GPU would have to be waited for
        return
    step = [max(1, side // 16) for side in images.shape[2:]]
    low, high = (end.item() for end in images.detach()[..., :: step[0], :: step[1]].aminmax())
    if low < -0.5 or high > 1.5:
        got = f"got values from {low:.4g} to {high:.4g}"
        raise ValueError(f"expected {name} in [0, 1], {got}: divide by 255, and leave a normalisation to the network")


def labels(values, count):
    """(N,) int64 of class numbers (N,) or (N, 1) in whatever type, or of one-hot rows (N, C); else a ValueError."""
    expected = f"expected labels as {count} class numbers from 0 on, or as one-hot rows"
    try:
        if isinstance(values, (list, tuple)) and all(isinstance(value, torch.Tensor) for value in values):
            values = torch.stack(values)  # of a GPU: one wait for all
        numbers = values if isinstance(values, torch.Tensor) else torch.tensor(np.asarray(values), device="cpu")
        numbers = numbers.detach().cpu().double()
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{expected}, got {values!r:.80}") from None
    if len(numbers.shape) == 2:
        one_hot = ((numbers == 0) | (numbers == 1)).all() and (numbers.sum(1) == 1).all() and numbers.shape[1] > 1
        numbers = numbers.argmax(1) if one_hot else numbers.squeeze(1)
    if numbers.shape != (count,):
        raise ValueError(f"{expected}, got {tuple(numbers.shape)}")
    if (wrong := numbers[(numbers < 0) | (numbers != numbers.long())]).numel():
        raise ValueError(f"{expected}, got {wrong[0].item():.4g}")
    return numbers.long()


def image(images, name="image"):
    """A copy of the images in float32 and without a graph: float, (B, 3, H, W), finite and in [0, 1]; else an error."""
    batch(images, name)
    low, high = torch.stack(images.detach().aminmax()).tolist()  # NaN, if there is one
    if not math.isfinite(low) or not math.isfinite(high):
        raise ValueError(f"expected {name} in [0, 1], got NaN or infinite values")
    if low < -SLACK or high > 1 + SLACK:
        raise ValueError(f"expected {name} in [0, 1], got values from {low:.4g} to {high:.4g}")
    return images.detach().to(torch.float32, copy=True)  # the caller may write into the original at any time


def positions(weights, images, name):
    """Raise ValueError unless `weights` is (1 or B, 1, H, W) of the images' size; values are not looked at."""
    batch, _, height, width = images.shape
    shape = tuple(weights.shape) if isinstance(weights, torch.Tensor) else type(weights).__name__
    if shape[1:] != (1, height, width) or shape[0] not in (1, batch):
        raise ValueError(f"expected {name} ({batch}, 1, {height}, {width}), got {shape}")


def mask(mask, images, name):
    """The mask as float32 without a graph if it is (1 or B, 1, H, W) of the images' size, in [0, 1]; else an error."""
    positions(mask, images, name)
    low, high = mask.min().item(), mask.max().item()
    if not -SLACK <= low <= high <= 1 + SLACK:  # NaN is neither
        raise ValueError(f"expected {name} in [0, 1], got values from {low:.4g} to {high:.4g}")
    return mask.detach().float().clamp(0, 1)


def content_masks(masks, content, n_styles):
    """A list of masks as `mask` gives them, of one mask or of one for each style; else an error."""
    one_each = isinstance(masks, (list, tuple))
    if one_each and len(masks) != n_styles:
        raise ValueError(
            f"expected one content mask, or a list with one for each of {n_styles} styles, got {len(masks)}"
        )
    name = "content masks of the content's size"
    masks = [mask(each, content, name).to(content) for each in (masks if one_each else [masks])]
    if not all((given.amax(dim=(1, 2, 3)) > 0).all() for given in masks):
        raise ValueError("expected content masks that are above zero somewhere, else nothing is painted")
    return masks


def paired(images, name, count, partner):
    """Raise ValueError unless there is one image, or one for each of `count` partners."""
    if len(images) not in (1, count):
        raise ValueError(f"expected one {name}, or one for each of {count} {partner}, got {len(images)}")


def proportions(style_weights, n_styles, batch):
    """(1, styles), or (B, styles) where each content has its own; rows add up to one, None is equal parts."""
    try:
        weights = float64([1.0] * n_styles if style_weights is None else style_weights)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"expected style weights as numbers, one a style, got {style_weights!r}") from None
    if weights.shape not in {(n_styles,), (1, n_styles), (batch, n_styles)}:
        expected = f"a weight for each of {n_styles} styles, ({n_styles},) or ({batch}, {n_styles})"
        raise ValueError(f"expected {expected}, got {tuple(weights.shape)}")
    weights = weights.view(-1, n_styles)
    if not (weights >= 0).all() or not (weights.sum(1) > 0).all() or not weights.isfinite().all():
        raise ValueError(f"expected style weights, none negative and not all zero, got {weights.tolist()}")
    return (weights / weights.sum(1, keepdim=True)).float()
