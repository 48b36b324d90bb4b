"""Pictures that need no download: photos inside installed packages, and style paintings drawn by `paintings`."""

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from ..engine.checks import unknown_name
from ..images import read_image


class Photo(NamedTuple):
    """Where a photo lies and whom to thank for it."""

    name: str
    package: str  # the distribution that ships the file
    file: str  # inside the package's folder, with the folder's name
    title: str
    author: str
    licence: str


_CC_BY, _CC0, _PUBLIC = "CC BY 2.0", "CC0", "public domain"
_SKLEARN, _SKIMAGE, _MATPLOTLIB = "scikit-learn", "scikit-image", "matplotlib"
_PHOTOS = {
    name: Photo(name, *rest)
    for name, *rest in (
        (
            "china",
            _SKLEARN,
            "sklearn/datasets/images/china.jpg",
            "A temple in China",
            "danielbuechele (Flickr)",
            _CC_BY,
        ),
        ("flower", _SKLEARN, "sklearn/datasets/images/flower.jpg", "A dahlia", "vultilion (Flickr)", _CC_BY),
        ("coffee", _SKIMAGE, "skimage/data/coffee.png", "A cup of coffee", "Rachel Michetti", _CC0),
        ("chelsea", _SKIMAGE, "skimage/data/chelsea.png", "Chelsea the cat", "Stefan van der Walt", _CC0),
        ("astronaut", _SKIMAGE, "skimage/data/astronaut.png", "Eileen Collins, astronaut", "NASA", _PUBLIC),
        ("rocket", _SKIMAGE, "skimage/data/rocket.jpg", "Falcon 9 lifts off with DSCOVR", "SpaceX", _PUBLIC),
        ("galaxies", _SKIMAGE, "skimage/data/hubble_deep_field.jpg", "Hubble eXtreme Deep Field", "NASA", _PUBLIC),
        (
            "hopper",
            _MATPLOTLIB,
            "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
            "Commodore Grace Hopper",
            "U.S. Navy",
            _PUBLIC,
        ),
        ("brick", _SKIMAGE, "skimage/data/brick.png", "A brick wall (grey)", "CC0Textures", _CC0),
        ("grass", _SKIMAGE, "skimage/data/grass.png", "Grass (grey)", "linolafett (DeviantArt)", _CC0),
        ("gravel", _SKIMAGE, "skimage/data/gravel.png", "Gravel (grey)", "CC0Textures", _CC0),
    )
}


def sample_names():
    """Names of the embedded photos, for `sample`."""
    return list(_PHOTOS)


def sample_credits():
    """A `Photo` record for each embedded photo: name, package, file, title, author, licence."""
    return list(_PHOTOS.values())


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

    The photos belong to others: `sample_credits()` and data/README.md say to whom.

    >>> sample("china", size=64).shape
    torch.Size([1, 3, 43, 64])
    """
    if name not in sample_names():
        raise unknown_name("photo", name, sample_names())
    photo = _PHOTOS[name]
    folder, _, file = photo.file.partition("/")
    spec = find_spec(folder)  # finds the package without importing it
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"the photo {name!r} comes with {photo.package}, which is not installed")
    path = Path(spec.submodule_search_locations[0], file)
    if not path.is_file():
        raise FileNotFoundError(f"the photo {name!r} should come with {photo.package}, but {path} is not there")
    return read_image(path, size)
