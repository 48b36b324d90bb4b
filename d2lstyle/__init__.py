"""d2lstyle: image augmentation, fine-tuning and neural style transfer, to teach with and to experiment on."""

from .backbones import Backbone, backbone
from .images import read_image, write_image
from .losses import content_loss, gram, style_layer_loss, style_loss, total_variation
from .samples import painting, painting_names, sample, sample_credits, sample_names
from .transfer import StyleResult, StyleStep, stylize

__all__ = [
    "Backbone",
    "StyleResult",
    "StyleStep",
    "backbone",
    "content_loss",
    "gram",
    "painting",
    "painting_names",
    "read_image",
    "sample",
    "sample_credits",
    "sample_names",
    "style_layer_loss",
    "style_loss",
    "stylize",
    "total_variation",
    "write_image",
]
