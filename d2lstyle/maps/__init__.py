"""Where a classifier looks, and whether such a map is true (paper, section 3.2).

A network, images, a class -> a map of the pixels that speak for it -> its most important region, as weights of a style.
"""

from .attribution import grad_cam, guided_backprop, occlusion, region_weights, saliency
from .truth import cascading_randomization, deletion_curve, insertion_curve, rank_correlation

__all__ = [
    "cascading_randomization",
    "deletion_curve",
    "grad_cam",
    "guided_backprop",
    "insertion_curve",
    "occlusion",
    "rank_correlation",
    "region_weights",
    "saliency",
]
