# What `import d2lstyle as ds` gives; lazy_loader reads this file when the package is imported, and editors do.
from . import (
    augment,
    backbones,
    datasets,
    engine,
    experiment,
    fast,
    finetune,
    folders,
    images,
    labs,
    light,
    losses,
    maps,
    mixing,
    plots,
    progress,
    results,
    samples,
    training,
    transfer,
)
from .augment import ColorJitter, Compose, RandomHorizontalFlip, RandomResizedCrop, RandomVerticalFlip
from .backbones import Backbone, backbone
from .datasets import ImageDataset, load_dataset
from .fast import RandomStyle, fast_stylize
from .finetune import freeze, param_groups, replace_head, stages
from .folders import FolderResult, stylize_folder
from .images import read_image, write_image
from .labs import widgets
from .light import Lighting
from .losses import content_loss, gram, gram_loss, style_layer_loss, style_loss, top_channels, total_variation
from .maps import (
    cascading_randomization,
    deletion_curve,
    grad_cam,
    guided_backprop,
    insertion_curve,
    occlusion,
    rank_correlation,
    region_weights,
    saliency,
)
from .mixing import style_distance
from .samples import painting, painting_names, sample, sample_names
from .training import evaluate, fit
from .transfer import StyleResult, StyleStep, stylize
