"""Style transfer in one pass of a small trained network, and a transform for training that uses it.

Content and style -> features of the embedded backbone -> the style's statistics put on the content's -> a decoder's picture.
"""

from .network import fast_stylize
from .random_style import RandomStyle

__all__ = ["RandomStyle", "fast_stylize"]
