"""d2lstyle: image augmentation, fine-tuning and neural style transfer, to teach with and to experiment on.

Names are loaded when they are first used: `import d2lstyle` takes no time, and the command answers at once.
"""

from importlib import import_module

_ROOMS = {
    "attribution": ("guided_backprop", "occlusion", "region_weights", "saliency"),
    "augment": ("ColorJitter", "Compose", "Lighting", "RandomHorizontalFlip", "RandomResizedCrop", "RandomVerticalFlip"),
    "backbones": ("Backbone", "backbone"),
    "datasets": ("ImageDataset", "load_dataset"),
    "fast": ("FastStyle", "fast_network", "fast_stylize"),
    "finetune": ("evaluate", "fit", "freeze", "param_groups", "replace_head", "stages"),
    "images": ("read_image", "write_image"),
    "losses": ("content_loss", "gram", "gram_loss", "style_layer_loss", "style_loss", "top_channels",
               "total_variation"),  # fmt: skip
    "map_checks": ("cascading_randomization", "deletion_curve", "insertion_curve", "rank_correlation"),
    "objective": ("style_distance",),
    "random_style": ("RandomStyle",),
    "samples": ("painting", "painting_names", "sample", "sample_credits", "sample_names"),
    "style_folders": ("FolderResult", "read_manifest", "stylize_folder"),
    "transfer": ("StyleResult", "StyleStep", "stylize"),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}
__all__ = sorted(_ROOM_OF)


def __getattr__(name):
    if name in _ROOM_OF:
        return getattr(import_module(f".{_ROOM_OF[name]}", __name__), name)
    try:
        return import_module(f".{name}", __name__)
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":  # the room is there; something it needs is not
            raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


def __dir__():
    return [*__all__, *_ROOMS]
