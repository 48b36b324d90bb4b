"""Style transfer in one pass of a small trained network, and a transform for training that uses it.

Content and style -> backbone features -> the content's with the style's statistics -> a decoder's picture.
"""

from .painting import fast_stylize
from .random_style import RandomStyle

__all__ = ["RandomStyle", "fast_stylize"]
