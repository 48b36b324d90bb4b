"""Photos inside installed packages, which need no download."""

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from ..engine import checks
from ..images import read_image


class Photo(NamedTuple):
    """Where a photo lies and whom to thank for it; data/README.md says more."""

    package: str  # the distribution that ships the file
    file: str  # inside the package's folder, with the folder's name
    author: str
    licence: str


_CC_BY, _CC0, _PUBLIC = "CC BY 2.0", "CC0", "public domain"
_SKLEARN, _SKIMAGE, _MATPLOTLIB = "scikit-learn", "scikit-image", "matplotlib"
PHOTOS = {
    "china": Photo(_SKLEARN, "sklearn/datasets/images/china.jpg", "danielbuechele (Flickr)", _CC_BY),
    "flower": Photo(_SKLEARN, "sklearn/datasets/images/flower.jpg", "vultilion (Flickr)", _CC_BY),
    "coffee": Photo(_SKIMAGE, "skimage/data/coffee.png", "Rachel Michetti", _CC0),
    "chelsea": Photo(_SKIMAGE, "skimage/data/chelsea.png", "Stefan van der Walt", _CC0),
    "astronaut": Photo(_SKIMAGE, "skimage/data/astronaut.png", "NASA", _PUBLIC),
    "rocket": Photo(_SKIMAGE, "skimage/data/rocket.jpg", "SpaceX", _PUBLIC),
    "galaxies": Photo(_SKIMAGE, "skimage/data/hubble_deep_field.jpg", "NASA", _PUBLIC),
    "hopper": Photo(_MATPLOTLIB, "matplotlib/mpl-data/sample_data/grace_hopper.jpg", "U.S. Navy", _PUBLIC),
    "brick": Photo(_SKIMAGE, "skimage/data/brick.png", "CC0Textures", _CC0),
    "grass": Photo(_SKIMAGE, "skimage/data/grass.png", "linolafett (DeviantArt)", _CC0),
    "gravel": Photo(_SKIMAGE, "skimage/data/gravel.png", "CC0Textures", _CC0),
}


def sample_names():
    """Names of the embedded photos, for `sample`."""
    return list(PHOTOS)


def sample(name, size=None):
    """An embedded photo; nothing is downloaded.

    Args:
        name: one of `sample_names()`.
        size: pixels of the longer side, or (height, width), or None for the file's own size.
    Returns:
        (1, 3, H, W), float32 in [0, 1].
    Raises:
        ValueError: no photo has that name, or size is not a positive integer or a pair of them.
        FileNotFoundError: the package that ships the photo is not installed, or comes without it.

    The photos belong to others: data/README.md says to whom.

    >>> sample("china", size=64).shape
    torch.Size([1, 3, 43, 64])
    """
    photo = PHOTOS[checks.choice("photo", name, sample_names())]
    folder, _, file = photo.file.partition("/")
    path = package_folder(folder, photo.package, f"the photo {name!r} comes") / file
    if not path.is_file():
        raise FileNotFoundError(f"the photo {name!r} should come with {photo.package}, but {path} is not there")
    return read_image(path, size)


def package_folder(module, package, what_comes):
    """The folder of an installed package, which is found without importing it."""
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"{what_comes} with {package}, which is not installed")
    return Path(spec.submodule_search_locations[0])
