"""The interactive labs, each shown as the last expression of a cell."""

from .augmentation_lab import AugmentationLab
from .fine_tune_lab import FineTuneLab
from .region_lab import RegionLab
from .style_lab import StyleLab

__all__ = ["AugmentationLab", "FineTuneLab", "RegionLab", "StyleLab"]
