"""Every public function: it changes nothing of the process around it, and nothing around it changes what it gives."""

import copy
import dataclasses
import hashlib
import os
import random
import signal
import threading
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from shared_helpers import fill, user_defaults
from small_models import colours
from small_models import tiny as make_tiny

import d2lstyle as ds
from d2lstyle import plots, progress, results
from d2lstyle.light import adjust_lighting

IMAGE = torch.rand(2, 3, 32, 40, generator=torch.Generator().manual_seed(0))
MAP = IMAGE[:, :1]
COLOURS, TINY = colours(), make_tiny()
tiny = partial(copy.deepcopy, TINY)  # has the type and the device that were the defaults at first
TRANSFORMS = {
    "ColorJitter": lambda: ds.ColorJitter(0.5, 0.5, 0.5, 0.5),
    "Lighting": lambda: ds.Lighting(),
    "RandomHorizontalFlip": lambda: ds.RandomHorizontalFlip(0.5),
    "RandomVerticalFlip": lambda: ds.RandomVerticalFlip(0.5),
    "RandomResizedCrop": lambda: ds.RandomResizedCrop(16),
    "RandomStyle": lambda: ds.RandomStyle(1.0, styles=["starry"], device="cpu"),
    "Compose": lambda: ds.Compose([ds.RandomHorizontalFlip(0.5), ds.ColorJitter(0.5)]),
}
# Each is called with the embedded network and an empty folder, and returns what must be equal at every call.
CALLS = {
    name: lambda net, folder, make=make: make()(IMAGE, torch.Generator().manual_seed(1))
    for name, make in TRANSFORMS.items()
} | {
    "adjust_lighting": lambda net, folder: adjust_lighting(IMAGE, 3000, 0.5),
    "backbone": lambda net, folder: ds.backbone("vgg19", device="cpu")(IMAGE, ["relu1_1"]),
    "Backbone": lambda net, folder: ds.backbone("resnet18", weights=None, device="cpu").state_dict(),
    "cascading_randomization": lambda net, folder: ds.cascading_randomization(ds.saliency, net, IMAGE, 3, every=40),
    "content_loss": lambda net, folder: ds.content_loss(IMAGE, IMAGE.flip(0)),
    "deletion_curve": lambda net, folder: ds.deletion_curve(net, IMAGE, 3, MAP, steps=2),
    "evaluate": lambda net, folder: ds.evaluate(tiny(), COLOURS),
    "fast_stylize": lambda net, folder: ds.fast_stylize(IMAGE, ds.painting("starry", 32), device="cpu"),
    "fit": lambda net, folder: [fitted := tiny(), ds.fit(fitted, COLOURS, epochs=1, device="cpu")] and fitted,
    "freeze": lambda net, folder: [p.requires_grad for p in ds.freeze(tiny(), until=1).parameters()],
    "gram": lambda net, folder: ds.gram(IMAGE),
    "gram_loss": lambda net, folder: ds.gram_loss(IMAGE, ds.gram(IMAGE)),
    "guided_backprop": lambda net, folder: ds.guided_backprop(net, IMAGE, 3),
    "insertion_curve": lambda net, folder: ds.insertion_curve(net, IMAGE, 3, MAP, steps=2),
    "load_dataset": lambda net, folder: ds.load_dataset(photos(folder), "train", size=16).batch([0, 4]),
    "ImageDataset": lambda net, folder: (
        ds.load_dataset(photos(folder), "validation", size=16).subset([1, 0]).batch([0])
    ),
    "occlusion": lambda net, folder: ds.occlusion(net, IMAGE, 3, window=16, stride=16),
    "painting": lambda net, folder: ds.painting("mosaic", 40, seed=2),
    "painting_names": lambda net, folder: ds.painting_names(),
    "param_groups": lambda net, folder: [group["lr"] for group in ds.param_groups(tiny(), 0.1)],
    "rank_correlation": lambda net, folder: ds.rank_correlation(MAP, MAP.flip(2)),
    "read_image": lambda net, folder: [
        ds.write_image(IMAGE[:1], folder / "a.png"),
        ds.read_image(folder / "a.png", 16),
    ],
    "region_weights": lambda net, folder: ds.region_weights(MAP),
    "replace_head": lambda net, folder: ds.replace_head(
        ds.backbone("efficientnet_lite0", device="cpu"), 3
    ).state_dict(),
    "saliency": lambda net, folder: ds.saliency(net, IMAGE, 3),
    "sample": lambda net, folder: ds.sample("china", 40),
    "sample_names": lambda net, folder: ds.sample_names(),
    "stages": lambda net, folder: ds.stages(tiny()),
    "style_distance": lambda net, folder: ds.style_distance(net, IMAGE, ds.painting("starry", 32)),
    "style_layer_loss": lambda net, folder: ds.style_layer_loss(ds.gram(IMAGE), ds.gram(IMAGE.flip(0)), 1280),
    "style_loss": lambda net, folder: ds.style_loss({"a": ds.gram(IMAGE)}, {"a": ds.gram(IMAGE.flip(0))}, {"a": 1280}),
    "stylize": lambda net, folder: ds.stylize(IMAGE, ds.painting("starry", 32), net=net, steps=3, init="noise").image,
    "stylize_folder": lambda net, folder: painted(net, folder),
    "top_channels": lambda net, folder: ds.top_channels(ds.gram(IMAGE)),
    "total_variation": lambda net, folder: ds.total_variation(IMAGE),
    "write_image": lambda net, folder: [ds.write_image(IMAGE[:1], folder / "a.jpg"), (folder / "a.jpg").read_bytes()],
    "progress_bar": lambda net, folder: (
        ds.stylize(IMAGE, IMAGE, net=net, steps=2, callback=progress.progress_bar()).image
    ),
    "results": lambda net, folder: results.mean_interval([1.0, 2.0, 4.0]),
    "plots": lambda net, folder: [plots.show_images(list(IMAGE.split(1)), ["a", "b"]), plots.overlay(IMAGE, MAP)][1],
}
NOT_CALLED = {"FolderResult", "StyleResult", "StyleStep", "widgets"}  # what calls return; labs have tests of their own


# Of these the `lead` still has to state device and type: d2lstyle/engine/lbfgs.py and transfer.py.
TO_DO = {"stylize", "stylize_folder", "progress_bar"}


def photos(folder):
    """A class folder to be split."""
    return fill(folder / "photos", {"cat": 5, "dog": 5})


def painted(net, folder):
    """The pixels of a class folder's stylised copy."""
    source = fill(folder / "photos", {"cat": 1, "dog": 1}, height=32, width=32)
    ds.stylize_folder(source, folder / "out", ["starry"], net=net, steps=2, workers=1)
    return [ds.read_image(file) for file in sorted((folder / "out").rglob("*.png"))]


def process():
    """All that a process has but once, by name."""
    return {
        "torch's random state": torch.get_rng_state().tolist(),
        "numpy's random state": np.random.get_state()[1].tolist(),
        "Python's random state": random.getstate(),
        "warning filters": list(warnings.filters),
        "warning's printer": warnings.showwarning,
        "threads of a pass": torch.get_num_threads(),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_anomaly_enabled()),
        "default type and device": (torch.get_default_dtype(), torch.get_default_device()),
        "deterministic": (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark),
        "precision": (torch.get_float32_matmul_precision(), torch.backends.mkldnn.enabled),
        "autocast": torch.is_autocast_enabled("cpu"),
        "numpy's errors": np.geterr(),
        "folder": os.getcwd(),
        "environment": {key: text for key, text in os.environ.items() if not key.startswith("KMP_")},  # scikit-learn's
        "signals": [signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)],
        "Pillow's limit": Image.MAX_IMAGE_PIXELS,
        "threads": {thread.name for thread in threading.enumerate() if not thread.daemon},
    }


def plain(value):
    """What a call returned, as numbers and texts that can be compared."""
    if isinstance(value, torch.nn.Module):
        return plain(value.state_dict())
    if isinstance(value, torch.Tensor):
        return (
            value.dtype,
            tuple(value.shape),
            hashlib.sha256(value.detach().contiguous().numpy().tobytes()).hexdigest(),
        )
    if isinstance(value, dict):
        return [(key, plain(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return plain(dataclasses.asdict(value)) if dataclasses.is_dataclass(value) else value


def test_every_public_name_is_called():
    names = {name for name in ds.__all__ if not hasattr(getattr(ds, name), "__path__")}
    modules = {name for name in names if type(getattr(ds, name)) is type(ds)}
    assert names - modules - NOT_CALLED - CALLS.keys() == set()


@pytest.mark.parametrize("name", CALLS)
def test_a_call_neither_changes_nor_needs_what_is_around_it(net, tmp_path, name):
    values = []
    for seed in (1, 2):  # of the user's own random numbers, which the call must neither use nor move
        (place := tmp_path / str(seed)).mkdir()
        before_call(seed)
        before = process()
        values.append(plain(CALLS[name](net, place)))
        after = process()
        assert {key: value for key, value in after.items() if value != before[key]} == {}
    if name not in TO_DO:
        (place := tmp_path / "defaults").mkdir()
        with user_defaults():
            values.append(plain(CALLS[name](net, place)))
    assert values[0] == values[1] == values[-1]


def before_call(seed):
    """A state that no call of ours has left."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
