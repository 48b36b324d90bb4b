"""Files <-> tensors, and the image contract: float32, RGB, [0, 1], shape (B, 3, H, W)."""

import os
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps, PngImagePlugin

from .engine import checks
from .engine.checks import scaled_size
from .engine.files import part_of, replacing


def read_image(path_or_file, size=None):
    """Read one image file, as a person sees it: upright, over white, in colour.

    EXIF orientation is applied, transparency laid over white; any mode becomes RGB; an animation gives its first frame.

    Args:
        path_or_file: a path, or a binary file object.
        size: pixels of the longer side, or (height, width), or None for the file's own size.
    Returns:
        (1, 3, H, W), float32 in [0, 1].
    Raises:
        FileNotFoundError, OSError: there is no such file, or it cannot be opened.
        ValueError: the file is no image, is cut short, or holds too many pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)  # from 90 megapixels on: a laptop gives up
            with Image.open(path_or_file) as file:
                pixels = _rgb_array(ImageOps.exif_transpose(file))
    except Exception as error:  # Pillow's decoders raise nearly every kind on damaged data
        raise _read_error(path_or_file, error) from None
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous()
    return image if size is None else resize(image, size)


def write_image(image, path, *, notes=None):
    """Write one image; the file appears whole or not at all.

    Args:
        image: (1, 3, H, W), float in [0, 1].
        path: the file to write; its ending (.png, .jpg, .webp, ...) chooses the format.
        notes: {keyword: text} to keep inside a PNG file, where `PIL.Image.open(path).text` finds them.
    Raises:
        ValueError: not one image, an ending that names no image format, or notes for another file than a PNG.
        OSError: the file cannot be written there.
    """
    checks.image(image)
    if len(image) != 1:
        raise ValueError(f"expected one image (1, 3, H, W), got a batch of {len(image)}: write image[i:i + 1]")
    check_writable(path)
    if notes and _format(path) != "PNG":
        raise ValueError(f"{path}: expected a file name ending in .png, other files keep no notes")
    chunks = PngImagePlugin.PngInfo()
    for keyword, text in (notes or {}).items():
        chunks.add_text(keyword, text)
    pixels = (image[0].detach() * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    with replacing(path) as part, open(part, "xb") as file:
        Image.fromarray(pixels).save(file, format=_format(path), quality=95, pnginfo=chunks)


def check_writable(path):
    """Raise now what `write_image` would raise after the work: OSError or ValueError, in one sentence."""
    path = Path(path)
    _format(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, expected the name of a file to write")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} in")
    part = part_of(path)
    try:
        part.touch()
        part.unlink()
    except OSError as error:
        raise OSError(f"cannot write in {path.parent}: {error.strerror}") from None


def resize(image, size):
    """Resample images (B, 3, H, W) in [0, 1] with an antialiased bicubic filter; of that size already, they are kept.

    `size`: pixels of the longer side (the shape is kept), or (height, width); else a ValueError.
    """
    size = scaled_size(image.shape[-2:], size)
    if size == tuple(image.shape[-2:]):
        return image
    return F.interpolate(image, size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)


def _rgb_array(image):
    """A PIL image of any mode -> (H, W, 3) float32 in [0, 1]."""
    if image.mode.startswith(("I", "F")):  # Pillow would clip these at 255
        grey = np.asarray(image).astype(np.float32) / (1 if image.mode == "F" else 65535)
        return np.repeat(grey.clip(0, 1)[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return np.asarray(image.convert("RGB"), dtype=np.float32) / 255


def _read_error(path_or_file, error):
    """What to raise where Pillow raised `error`: one sentence that names the file."""
    name = path_or_file if isinstance(path_or_file, (str, os.PathLike)) else getattr(path_or_file, "name", "the file")
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return FileNotFoundError(f"there is no file {name}")
    if isinstance(error, IsADirectoryError):
        return ValueError(f"{name} is a folder, expected one image file")
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return ValueError(f"{name} is too large to read: {error}")
    if isinstance(error, Image.UnidentifiedImageError):
        return ValueError(f"{name} is not an image that can be read (empty, another kind of file, or damaged)")
    if isinstance(error, MemoryError) or getattr(error, "errno", None):  # the system's words: "Permission denied"
        return error
    return ValueError(f"{name} is damaged or cut short: {error}")


def _format(path):
    ending = Path(path).suffix.lower() or "no ending"
    image_format = Image.registered_extensions().get(ending)
    if image_format not in Image.SAVE:
        raise ValueError(f"{path}: expected a file name ending in .png, .jpg, .webp or .tif, got {ending!r}")
    return image_format
