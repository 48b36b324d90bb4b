"""Files <-> tensors, and the image contract: float32, RGB, [0, 1], shape (B, 3, H, W)."""

import torch
import torch.nn.functional as F
from PIL import Image, PngImagePlugin

from .engine import checks
from .engine.checks import scaled_size
from .engine.decoding import check_writable, colours, decoded, format_of, opacity
from .engine.files import replacing


def read_image(path_or_file, size=None):
    """Read one image file, as a person sees it: upright, over white, in the colours of sRGB.

    EXIF orientation is applied, transparency laid over white; any mode becomes RGB, by the file's colour profile if
    there is one; an animation gives its first frame. White is the largest value of 8 bits, or of 16 bits where the
    file does not state fewer (TIFF's tags BitsPerSample and MaxSampleValue, the largest value of PGM); float values
    have to be in [0, 1]. Other numbers are refused, and so are 16-bit ones that all are below 4096: 12-bit data would
    come out nearly black.

    Args:
        path_or_file: a path, or a binary file object.
        size: pixels of the longer side, or (height, width), or None for the file's own size.
    Returns:
        (1, 3, H, W), float32 in [0, 1].
    Raises:
        FileNotFoundError, OSError: there is no such file, or it cannot be opened.
        TypeError: neither a path nor a binary file object.
        ValueError: the file is no image (JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, JPEG 2000, PPM, TGA), is cut short,
            holds numbers that the rule above refuses, or takes more than 1 GiB to read: 4 bytes for each pixel that
            it holds, and 12 for each pixel of the result.
    """
    return _read(path_or_file, colours, size)


def read_alpha(path_or_file, size=None):
    """How opaque each pixel of an image file is, (1, 1, H, W) in [0, 1]; None for a file that knows no transparency.

    Arguments and errors are those of `read_image`, which lays the same pixels over white.
    """
    return _read(path_or_file, opacity, size)


def write_image(image, path, *, alpha=None, notes=None):
    """Write one image; the file appears whole or not at all.

    Args:
        image: (1, 3, H, W), float in [0, 1], on any device.
        path: the file to write; its ending chooses the format: .png, .jpg, .webp, .tif, .bmp, .tga, .ppm, .jp2, .avif.
            Where it is a link, the file that it leads to is written; a file that is replaced leaves its mode.
        alpha: (1, 1, H, W) in [0, 1], how opaque each pixel is, such as `read_alpha` gives; None writes none.
        notes: {keyword: text} to keep inside a PNG file, where `PIL.Image.open(path).text` finds them.
    Raises:
        ValueError: not one image, an alpha of another size, an ending that names no image format, or one that keeps no
            transparency or no notes where there are some.
        OSError: the file cannot be written there.
    """
    checks.image(image := image.cpu() if isinstance(image, torch.Tensor) else image)  # a GPU is waited for once
    if len(image) != 1:
        raise ValueError(f"expected one image (1, 3, H, W), got a batch of {len(image)}: write image[i:i + 1]")
    check_writable(path, transparent=alpha is not None)
    if notes and format_of(path) != "PNG":
        raise ValueError(f"{path}: expected a file name ending in .png, other files keep no notes")
    chunks = PngImagePlugin.PngInfo()
    for keyword, text in (notes or {}).items():
        chunks.add_text(keyword, text)
    channels = image if alpha is None else torch.cat([image, checks.mask(alpha, image, "alpha").cpu()], dim=1)
    pixels = (channels[0].detach() * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    with replacing(path) as part, open(part, "wb") as file:
        Image.fromarray(pixels).save(file, format=format_of(path), quality=95, pnginfo=chunks)


def resize(image, size):
    """Resample images (B, 3, H, W) in [0, 1] with an antialiased bicubic filter; of that size already, they are kept.

    `size`: pixels of the longer side (the shape is kept), or (height, width); else a ValueError.

    >>> resize(torch.ones(1, 3, 4, 8), 4).shape
    torch.Size([1, 3, 2, 4])
    """
    size = scaled_size(image.shape[-2:], size)
    if size == tuple(image.shape[-2:]):
        return image
    return F.interpolate(image, size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)


def _read(path_or_file, reader, size):
    planes = decoded(path_or_file, reader, size)
    if planes is None:
        return None
    image = torch.from_numpy(planes)[None]
    return image if size is None else resize(image, size)
