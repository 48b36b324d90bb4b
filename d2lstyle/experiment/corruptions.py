"""Eight ways in which a photo goes wrong, each at one fixed, moderate strength: how robust is a classifier?

The idea is that of ImageNet-C (D. Hendrycks and T. Dietterich, Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations, ICLR 2019); the strengths are ours, for pictures of 64 to 96 pixels, and torchvision does
the work.
"""

import hashlib

import torch
from torchvision.transforms import v2

from ..engine import checks
from ..engine.devices import seeded, typed

_GAINS = (1.5, 0.9, 0.2)  # of red, green and blue: a warm lamp

_STEPS = {  # made when they are used, so that what is the default type or device at import changes nothing
    "noise": lambda image: v2.GaussianNoise(sigma=0.1)(image),
    "blur": lambda image: v2.GaussianBlur(kernel_size=9, sigma=1.5)(image),
    "jpeg": lambda image: v2.JPEG(quality=10)(_bytes(image)).float() / 255,
    "brightness": lambda image: v2.functional.adjust_brightness(image, 2.0),
    "contrast": lambda image: v2.functional.adjust_contrast(image, 0.35),
    "colour cast": lambda image: image * image.new_tensor(_GAINS)[:, None, None],
    "occlusion": lambda image: v2.RandomErasing(p=1, scale=(0.15, 0.15), ratio=(0.7, 1.4), value=0.5)(image),
    "elastic": lambda image: _elastic(image.shape[1:])(image),
}
CORRUPTIONS = tuple(_STEPS)


def corrupted(images, name, *, seed=0):
    """Photos gone wrong in one way.

    Args:
        images: (N, 3, H, W) in [0, 1], of some 64 to 96 pixels: a blur of larger ones would be seen less.
        name: one of CORRUPTIONS: noise, blur, jpeg, brightness, contrast, colour cast, occlusion, elastic.
        seed: of what is random in noise, occlusion and elastic, at least 0; image i draws by (seed, name, i), and so
            the same beside whatever other images.
    Returns:
        (N, 3, H, W), float32 in [0, 1], on the CPU.
    Raises:
        TypeError, ValueError: images of another kind, an unknown name, or a seed that is none.
    """
    corrupt = _STEPS[checks.choice("corruption", name, CORRUPTIONS)]
    seed, images = checks.whole("seed", seed, 0), checks.image(images, "images").cpu()
    for i, image in enumerate(images):
        with seeded(_seed_of(seed, name, i)), torch.device("cpu"), typed(torch.float32):
            image.copy_(corrupt(image).clamp(0, 1))
    return images


def _seed_of(*parts):
    """32 bits, which is all that torch's generator of a CPU reads of a seed."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4])


def _elastic(size):
    """The border is drawn out first: what comes from outside would be black, and torn."""
    elastic = v2.ElasticTransform(alpha=60.0, sigma=4.0)
    return v2.Compose([v2.Pad(8, padding_mode="edge"), elastic, v2.CenterCrop(size)])


def _bytes(image):
    return (image * 255).round().to(torch.uint8)
