"""Image files by Pillow, of any mode: what they hold as arrays, which formats there are, one sentence for damage."""

import os
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from .files import part_of

# The formats that are read: those of photos, none of which starts another program as EPS does. TGA has no signature.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM", "TGA")
TRANSPARENT = ("PNG", "WEBP", "TIFF")  # the formats that keep every shade of transparency


def photo_endings():
    """The endings, in lower case, of the files that can be read, such as ".jpg"."""
    endings = Image.registered_extensions()  # which makes Image.OPEN complete
    readable = {name for name in FORMATS if name in Image.OPEN} | {"MPO"}  # a JPEG file with more than one picture
    return {ending for ending, name in endings.items() if name in readable}


def decoded(path_or_file, array_of):
    """`array_of` (`rgb_array` or `alpha_array`) of a file's first picture, upright; else one clear error."""
    Image.init()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)  # from 90 megapixels on: a laptop gives up
            with Image.open(path_or_file, formats=[name for name in FORMATS if name in Image.OPEN]) as file:
                return array_of(ImageOps.exif_transpose(file))
    except Exception as error:  # Pillow's decoders raise nearly every kind on damaged data
        raise _read_error(path_or_file, error) from None


def rgb_array(image):
    """A PIL image of any mode -> (H, W, 3) float32 in [0, 1], over white."""
    if image.mode.startswith(("I", "F")):  # Pillow would clip these at 255
        grey = np.asarray(image).astype(np.float32) / (1 if image.mode == "F" else 65535)
        return np.repeat(grey.clip(0, 1)[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return np.asarray(image.convert("RGB"), dtype=np.float32) / 255


def alpha_array(image):
    """A PIL image of any mode -> (H, W) float32 in [0, 1], 0 is transparent; None where `rgb_array` lays none."""
    if image.mode.startswith(("I", "F")) or not image.has_transparency_data:
        return None
    return np.asarray(image.convert("RGBA").getchannel("A"), dtype=np.float32) / 255


def format_of(path, transparent=False):
    """Pillow's name of the format that the ending of `path` chooses, one that keeps transparency where it must."""
    ending = Path(path).suffix.lower() or "no ending"
    image_format = Image.registered_extensions().get(ending)
    if image_format not in Image.SAVE:
        raise ValueError(f"{path}: expected a file name ending in .png, .jpg, .webp or .tif, got {ending!r}")
    if transparent and image_format not in TRANSPARENT:
        raise ValueError(f"{path}: expected a file name ending in .png, .webp or .tif, others keep no transparency")
    return image_format


def check_writable(path, transparent=False):
    """Raise now what `write_image` would raise after the work: OSError or ValueError, in one sentence."""
    path = Path(path)
    format_of(path, transparent)
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
