"""Images with labels, and train, validation and test kept apart.

A name or a class folder -> the files of one side (downloaded, listed or split) -> an `ImageDataset` of square images.
"""

from .loading import ImageDataset, load_dataset

__all__ = ["ImageDataset", "load_dataset"]
