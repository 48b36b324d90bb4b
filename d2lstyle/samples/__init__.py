"""What is drawn or shipped, so that nothing need be downloaded: photos, paintings, the goods of `vending`, a voice.

A name -> an image (1, 3, H, W), from an installed package or drawn by our own code; `vending` draws a whole data set.
"""

from .paintings import painting, painting_names
from .photos import sample, sample_names

__all__ = ["painting", "painting_names", "sample", "sample_names"]
