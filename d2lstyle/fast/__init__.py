"""Style transfer in one pass of a small trained network, and a transform for training that uses it.

Style -> 100 numbers, several mixed by their proportions -> a painter's layers, which take over the means and deviations
that these numbers ask for -> the content, painted.
"""

from .painting import fast_stylize
from .random_style import RandomStyle

__all__ = ["RandomStyle", "fast_stylize"]
