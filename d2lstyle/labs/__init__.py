"""The live labs, public as `ds.widgets`: each is shown as the last expression of a cell.

A control moves -> the lab's work goes on in a background thread with the new setting -> the page shows what comes out.
"""

import sys

from .augmentation_lab import AugmentationLab
from .fine_tune_lab import FineTuneLab
from .region_lab import RegionLab
from .style_lab import StyleLab

widgets = sys.modules[__name__]
__all__ = ["AugmentationLab", "FineTuneLab", "RegionLab", "StyleLab"]
