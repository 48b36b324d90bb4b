"""Image files by Pillow, of any mode: what they hold as arrays, which formats there are, one sentence for damage."""

import io
import math
import os
import re
import struct
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms

from .checks import pixels, scaled_size
from .files import part_of, target_of

# The formats that are read: those of photos, none of which starts another program as EPS does. TGA has no signature.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM", "TGA")
# The endings that are written: no GIF, for example, which keeps 256 colours, and no ICO, which keeps 256 pixels.
WRITTEN = tuple(".png .jpg .jpeg .jpe .jfif .webp .tif .tiff .bmp .tga .ppm .pnm .jp2 .avif".split())
TRANSPARENT = ("PNG", "WEBP", "TIFF")  # the formats that keep every shade of transparency
MOST_BYTES = 1 << 30  # that reading one picture may take
LARGE = 1 << 22  # pixels from which on a picture is scaled down while it is read
HUGE = 1 << 26  # pixels from which on not even all bytes of a JPEG file are decoded: colours come out a little smoother
TALLEST = 1 << 15  # rows; the matrix that scales more of them down would take longer than the picture
STRIP = 1 << 18  # pixels that are turned into numbers at once
BITS_PER_SAMPLE, PHOTOMETRIC, MAX_SAMPLE_VALUE, SAMPLE_FORMAT = 258, 262, 281, 339  # tags of TIFF files
DARK = 1 << 12
NEARLY_BLACK = (
    "all but black if white is 65535, and not if these are data of fewer bits: scale them to 0 to 65535, or let a TIFF "
    "file say the largest value possible in its tag MaxSampleValue"
)


class Unfit(ValueError):
    """A sentence on what a file holds, whose first word, the file's name, is yet missing."""


@cache
def photo_endings():
    """The endings, in lower case, of the files that can be read, such as ".jpg"."""
    endings = Image.registered_extensions()  # which makes Image.OPEN complete
    readable = {name for name in FORMATS if name in Image.OPEN} | {"MPO"}  # a JPEG file with more than one picture
    return frozenset(ending for ending, name in endings.items() if name in readable)


def is_photo(file):
    """Whether the name ends as that of an image that can be read."""
    return os.path.splitext(file)[1].lower() in photo_endings()


def decoded(path_or_file, reader, size=None):
    """What a file's first picture holds, upright: (C, H, W) float32 in [0, 1], or None; else one clear error.

    `reader` is `colours` or `opacity`. A large picture has the `size` of `checks.scaled_size`, others their own.
    """
    if size is not None:
        pixels("size", size)
    try:
        with _opened(path_or_file) as image:
            return _planes(image, reader, size)
    except Exception as error:  # Pillow's decoders raise nearly every kind on damaged data
        raise _read_error(path_or_file, error) from None


def upright_shape(path_or_file):
    """(height, width) that `decoded` gives for a file without a size, from its head; errors are the same."""
    try:
        with _opened(path_or_file) as image:
            tags, turned = getattr(image, "tag_v2", None), _orientation(image) >= 5
            if tags:  # Pillow's size may be the upright one already
                return (tags[256], tags[257]) if turned else (tags[257], tags[256])
            return image.size if turned else image.size[::-1]
    except Exception as error:
        raise _read_error(path_or_file, error) from None


@contextmanager
def _opened(path_or_file):
    """Pillow's image of a file in one of our formats. `Image.open` would warn of large ones, and refuse larger ones."""
    is_path = isinstance(path_or_file, (str, bytes, os.PathLike))
    with open(path_or_file, "rb") if is_path else nullcontext(path_or_file) as file:
        yield _identified(file if getattr(file, "seekable", bool)() else io.BytesIO(file.read()))


def _identified(file):
    Image.init()
    file.seek(0)
    head = file.read(16)
    for factory, accepts in (Image.OPEN[name] for name in FORMATS if name in Image.OPEN):
        try:
            if not accepts or accepts(head) is True:
                file.seek(0)
                return factory(file, "")
        except (SyntaxError, IndexError, TypeError, struct.error):  # another format, as Pillow's decoders say it
            pass
    raise Image.UnidentifiedImageError


def _planes(image, reader, size):
    """`decoded` of an opened image, strip by strip: as numbers, all of a large picture takes too much memory."""
    large = size is not None and image.width * image.height > LARGE
    sides = _draft(image, size) if large else None
    large = large and image.height <= TALLEST
    _check_memory(image, size if large else None)
    if 2 in getattr(image, "tag_v2", {}).get(SAMPLE_FORMAT, ()) and not image.mode.startswith("I"):
        raise Unfit("holds signed numbers of 8 bits, expected numbers from 0 to 255: scale them first")
    deep = re.search("16[BLN]|65535", str([tile[3] for tile in image.tile]))
    image.load()
    if deep and not image.mode.startswith("I"):
        _keep_high_bytes(image)
    channels, numbers = reader(image)
    if not channels:
        return None
    orientation, (width, height) = _orientation(image), sides or image.size
    shape = (width, height) if orientation >= 5 else (height, width)
    planes = np.zeros((channels, *(scaled_size(shape, size) if large else shape)), np.float32)
    stored = _as_stored(planes, orientation)
    for top, strip in _strips(image):
        if large:
            stored += _shares(numbers(strip), top, image.height, (height, width), stored.shape[1:])
        else:
            stored[:, top : top + strip.height] = numbers(strip)
    return planes.clip(0, 1, out=planes)


def _draft(image, size):
    """Have a huge JPEG file decoded in a half, a quarter or an eighth of its sides, at least three times `size`.

    Returns its (width, height) then, or None: no whole numbers, where its last pixels lie partly outside the picture.
    """
    if image.format not in ("JPEG", "MPO") or image.width * image.height < HUGE:
        return None
    step = 1 if _orientation(image) >= 5 else -1
    height, width = scaled_size(image.size[::step], size)[::-step]
    drafted = image.draft(None, (3 * width, 3 * height))
    return drafted and drafted[1][2:]


def _check_memory(image, size):
    """4 bytes for each pixel decoded and 12 for each of the result must be at most `MOST_BYTES`."""
    pixels = image.width * image.height
    result = pixels if size is None else math.prod(scaled_size(image.size[::-1], size))
    if (need := 4 * pixels + 12 * result) > MOST_BYTES:
        advice = "give size=, or scale it down" if size is None else "scale it down, or give a smaller size="
        most, what = MOST_BYTES / 2**30, f"{image.width} x {image.height} pixels take {need / 2**30:.1f} GiB"
        raise Unfit(f"is too large to read: {what}, expected at most {most:.0f}: {advice}")


def _strips(image):
    """(number of the first row, some rows of the image as an image), from top to bottom."""
    rows = max(1, min(STRIP // image.width, max(4 * STRIP // image.height, 512)))
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _shares(planes, top, rows, sides, size):
    """What the rows from `top` on, of so many, add to a picture of (height, width) `sides` that becomes `size`.

    The filter is that of `images.resize`, by Pillow, which takes sides that are no whole numbers; what it makes of a
    diagonal of ones is how much each row goes where.
    """
    narrow = np.stack([_filtered(plane, size[1], sides[1]) for plane in planes])
    weights = _filtered(np.eye(planes.shape[1], rows, top, np.float32), size[0], sides[0])
    return weights.T @ narrow


def _filtered(rows, count, length):
    """Rows of numbers, of which the first `length` are the picture, resampled to so many numbers."""
    box = (0, 0, length, len(rows))
    return np.asarray(Image.fromarray(rows).resize((count, len(rows)), Image.Resampling.BICUBIC, box))


def _orientation(image):
    """1 to 8, as Exif counts; 1 where there is none, or none that can be read."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # a picture is worth more than a damaged note beside it
        return 1
    return int(orientation) if orientation in range(1, 9) else 1


def _as_stored(planes, orientation):
    """A view of upright (C, H, W) as a file of that orientation stores them."""
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    flipped = planes[:, rows, columns]
    return flipped.swapaxes(1, 2) if orientation >= 5 else flipped


def colours(image):
    """(3, what makes (3, h, w) of a strip of the image): over white, in sRGB."""
    to_rgb = _to_rgb(image)
    channels, alpha_of = opacity(image)

    def numbers(strip):
        rgb = to_rgb(strip)
        return 1 + (rgb - 1) * alpha_of(strip) if channels else rgb

    return 3, numbers


def opacity(image):
    """(1, what makes (1, h, w) of a strip of the image): 0 is transparent; (0, None) if it knows no transparency."""
    clear = image.info.get("transparency")
    if image.mode.startswith(("I", "F")):
        return (0, None) if clear is None else (1, lambda strip: (np.asarray(strip)[None] != clear).astype(np.float32))
    if not image.has_transparency_data:
        return 0, None
    return 1, lambda strip: np.asarray(strip.convert("RGBA").getchannel("A"), np.float32)[None] / 255


def _to_rgb(image):
    """What makes (3, h, w) of a strip of the image in sRGB, without its transparency."""
    mode, profiled = _profiled(image)

    def bytes_to_rgb(strip):
        # by way of RGBA, as Pillow warns of palettes whose transparency is dropped
        strip = strip.convert("RGBA").convert("RGB") if mode == "RGB" and strip.has_transparency_data else strip
        rgb = profiled(strip.convert(mode))
        return np.asarray(rgb, np.float32).transpose(2, 0, 1) / 255

    if not image.mode.startswith(("I", "F")):
        return bytes_to_rgb
    black, white = _range(image)  # Pillow would clip these at 255
    curve = bytes_to_rgb(Image.fromarray(np.arange(256, dtype=np.uint8)[None]))[0, 0]

    def grey_to_rgb(strip):
        grey = (np.asarray(strip, np.float32) - black) / (white - black)
        return np.interp(grey, np.linspace(0, 1, 256), curve)[None].repeat(3, axis=0)

    return grey_to_rgb


def _profiled(image):
    """(mode, what makes sRGB of an image in that mode), by its colour profile; an unfit one is ignored."""
    modes = {"CMYK": "CMYK"} if image.mode == "CMYK" else {"RGB": "RGB"}
    if image.mode.startswith(("1", "I", "F")) or image.mode in ("L", "LA"):
        modes["GRAY"] = "L"
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        mode = modes[profile.profile.xcolor_space.strip()]
        transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (KeyError, TypeError, OSError, ImageCms.PyCMSError):  # none, one of another kind, a damaged one
        return "RGB", lambda strip: strip
    return mode, transform.apply


def _range(image):
    """The values that are black and white in a picture of numbers, by the rule that `read_image` states."""
    low, high = np.array([(np.min(strip), np.max(strip)) for _, strip in _strips(image)]).T
    low, high, bits = low.min(), high.max(), _stated_bits(image)
    kind, white = ("float values", 1) if image.mode == "F" else ("integers", 2 ** (bits or 16) - 1)
    if not 0 <= low <= high <= white:  # NaN is neither
        raise Unfit(f"holds {kind} from {low:.6g} to {high:.6g}, expected numbers from 0 to {white}: scale them first")
    if image.mode != "F" and bits is None and 0 < high < DARK:
        raise Unfit(f"holds 16-bit values of at most {high:.0f}, {NEARLY_BLACK}")
    return (white, 0) if getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == 0 else (0, white)


def _stated_bits(image):
    """How many bits a TIFF file says that its 16-bit values have, or None."""
    tags = getattr(image, "tag_v2", {})
    if tags.get(BITS_PER_SAMPLE, (16,))[0] < 16:
        return tags[BITS_PER_SAMPLE][0]
    bits = int(np.max(tags.get(MAX_SAMPLE_VALUE, 0))).bit_length()
    return bits if 1 <= bits <= 16 else None


def _keep_high_bytes(image):
    """Of colours of 16 bits, Pillow keeps the higher byte, but not so of the one that is transparent."""
    if np.max(image.getextrema()) <= DARK >> 8:
        raise Unfit(f"holds 16-bit values below {DARK}, {NEARLY_BLACK}")
    if "transparency" in image.info:
        image.info["transparency"] = tuple(value >> 8 for value in image.info["transparency"])


def format_of(path, transparent=False):
    """Pillow's name of the format that the ending of `path` chooses, one that keeps transparency where it must."""
    ending = Path(path).suffix.lower() or "no ending"
    image_format = Image.registered_extensions().get(ending)
    if ending not in WRITTEN or image_format not in Image.SAVE:
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
    target = target_of(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {target.parent}, where the link {path} leads")
    part = part_of(target)
    try:
        part.touch()
        part.unlink()
    except OSError as error:
        raise OSError(f"cannot write in {target.parent}: {error.strerror}") from None


def _read_error(path_or_file, error):
    """What to raise where Pillow raised `error`: one sentence that names the file."""
    is_path = isinstance(path_or_file, (str, bytes, os.PathLike))
    name = os.fsdecode(path_or_file) if is_path else getattr(path_or_file, "name", "the file")
    if not is_path and (not hasattr(path_or_file, "read") or isinstance(path_or_file, io.TextIOBase)):
        return TypeError(f"expected a path or a binary file object, got {type(path_or_file).__name__}")
    if "\0" in str(name):
        return ValueError(
            f"expected a path, got {path_or_file[:20]!r}...: give the bytes of a file as io.BytesIO(bytes)"
        )
    if getattr(path_or_file, "closed", False):
        return ValueError(f"{name} is closed: open it, or give its path")
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return FileNotFoundError(f"there is no file {name}")
    if isinstance(error, IsADirectoryError):
        return ValueError(f"{name} is a folder, expected one image file")
    if isinstance(error, Unfit):
        return ValueError(f"{name} {error}")
    if isinstance(error, Image.DecompressionBombError):
        return ValueError(f"{name} is too large to read: {error}")
    if isinstance(error, Image.UnidentifiedImageError):
        reasons = f"empty, another kind of file, damaged, or none of {', '.join(FORMATS)} in 8 or 16 bits"
        return ValueError(f"{name} is not an image that can be read ({reasons})")
    if isinstance(error, MemoryError) or getattr(error, "errno", None):  # the system's words: "Permission denied"
        return error
    return ValueError(f"{name} is damaged or cut short: {error}")
