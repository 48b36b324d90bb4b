"""Every public function: it changes nothing of the process around it, and nothing around it changes what it gives."""

import copy
import dataclasses
import hashlib
import os
import random
import signal
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from shared_helpers import fill, user_defaults
from small_models import colours, tiny

import d2lstyle as ds
from d2lstyle import plots, progress, results
from d2lstyle.light import adjust_lighting

IMAGE = torch.rand(2, 3, 32, 40, generator=torch.Generator().manual_seed(0))
COLOURS, TINY = colours(), tiny()


@dataclass
class Given:
    """What a call is made with: the embedded network, an empty folder, two images, and where other networks compute."""

    net: torch.nn.Module
    folder: Path
    images: torch.Tensor = IMAGE
    device: torch.device = torch.device("cpu")

    @property
    def maps(self):
        return self.images[:, :1]

    def tiny(self):
        """A new model to train; it has the type that was the default at first."""
        return copy.deepcopy(TINY).to(self.device)

    def colours(self):
        """Images and their labels."""
        return COLOURS[0].to(self.images.device), COLOURS[1].to(self.images.device)

    def photos(self):
        """A class folder to be split."""
        return fill(self.folder / "photos", {"cat": 5, "dog": 5})

    def painted(self):
        """The pixels of a class folder's stylised copy."""
        source = fill(self.folder / "photos", {"cat": 1, "dog": 1}, height=32, width=32)
        ds.stylize_folder(source, self.folder / "out", ["starry"], net=self.net, steps=2, workers=1)
        return [ds.read_image(file) for file in sorted((self.folder / "out").rglob("*.png"))]


TRANSFORMS = {
    "ColorJitter": lambda x: ds.ColorJitter(0.5, 0.5, 0.5, 0.5),
    "Lighting": lambda x: ds.Lighting(),
    "RandomHorizontalFlip": lambda x: ds.RandomHorizontalFlip(0.5),
    "RandomVerticalFlip": lambda x: ds.RandomVerticalFlip(0.5),
    "RandomResizedCrop": lambda x: ds.RandomResizedCrop(16),
    "RandomStyle": lambda x: ds.RandomStyle(1.0, styles=[ds.painting("starry", 48)], device=x.device),
    "Compose": lambda x: ds.Compose([ds.RandomHorizontalFlip(0.5), ds.ColorJitter(0.5)]),
}
# Each returns what must be equal at every call.
CALLS = {
    name: lambda x, make=make: make(x)(x.images, torch.Generator().manual_seed(1)) for name, make in TRANSFORMS.items()
} | {
    "adjust_lighting": lambda x: adjust_lighting(x.images, 3000, 0.5),
    "backbone": lambda x: ds.backbone("vgg19", device=x.device)(x.images, ["relu1_1"]),
    "Backbone": lambda x: ds.backbone("resnet18", weights=None, device=x.device),
    "cascading_randomization": lambda x: ds.cascading_randomization(ds.saliency, x.net, x.images, 3, every=99),
    "content_loss": lambda x: ds.content_loss(x.images, x.images.flip(0)),
    "deletion_curve": lambda x: ds.deletion_curve(x.net, x.images, 3, x.maps, steps=2),
    "evaluate": lambda x: vars(ds.evaluate(x.tiny(), x.colours())),
    "fast_stylize": lambda x: ds.fast_stylize(x.images, ds.painting("starry", 32), device=x.device),
    "fit": lambda x: [fitted := x.tiny(), ds.fit(fitted, x.colours(), epochs=1, device=x.device)] and fitted,
    "freeze": lambda x: [p.requires_grad for p in ds.freeze(x.tiny(), until=1).parameters()],
    "gram": lambda x: ds.gram(x.images),
    "gram_loss": lambda x: ds.gram_loss(x.images, ds.gram(x.images)),
    "grad_cam": lambda x: ds.grad_cam(x.net, x.images, 3),
    "guided_backprop": lambda x: ds.guided_backprop(x.net, x.images, 3),
    "insertion_curve": lambda x: ds.insertion_curve(x.net, x.images, 3, x.maps, steps=2),
    "load_dataset": lambda x: ds.load_dataset(x.photos(), "train", size=16).batch([0, 4]),
    "ImageDataset": lambda x: ds.load_dataset(x.photos(), "validation", size=16).subset([1, 0]).batch([0]),
    "occlusion": lambda x: ds.occlusion(x.net, x.images, 3, window=16, stride=16),
    "painting": lambda x: ds.painting("mosaic", 40, seed=2),
    "painting_names": lambda x: ds.painting_names(),
    "param_groups": lambda x: [group["lr"] for group in ds.param_groups(x.tiny(), 0.1)],
    "rank_correlation": lambda x: ds.rank_correlation(x.maps, x.maps.flip(2)),
    "read_image": lambda x: [ds.write_image(x.images[:1], x.folder / "a.png"), ds.read_image(x.folder / "a.png", 16)],
    "region_weights": lambda x: ds.region_weights(x.maps),
    "replace_head": lambda x: ds.replace_head(ds.backbone("efficientnet_lite0", device=x.device), 3),
    "saliency": lambda x: ds.saliency(x.net, x.images, 3),
    "sample": lambda x: ds.sample("china", 40),
    "sample_names": lambda x: ds.sample_names(),
    "stages": lambda x: ds.stages(x.tiny()),
    "style_distance": lambda x: ds.style_distance(x.net, x.images, ds.painting("starry", 32)),
    "style_layer_loss": lambda x: ds.style_layer_loss(ds.gram(x.images), ds.gram(x.images.flip(0)), 1280),
    "style_loss": lambda x: ds.style_loss({"a": ds.gram(x.images)}, {"a": ds.gram(x.images.flip(0))}, {"a": 1280}),
    "stylize": lambda x: ds.stylize(x.images, ds.painting("starry", 32), net=x.net, steps=3, init="noise").image,
    "stylize_folder": lambda x: x.painted(),
    "top_channels": lambda x: ds.top_channels(ds.gram(x.images)),
    "total_variation": lambda x: ds.total_variation(x.images),
    "write_image": lambda x: [ds.write_image(x.images[:1], x.folder / "a.jpg"), (x.folder / "a.jpg").read_bytes()],
    "progress_bar": lambda x: (
        ds.stylize(x.images, x.images, net=x.net, steps=2, callback=progress.progress_bar()).image
    ),
    "results": lambda x: results.mean_interval([1.0, 2.0, 4.0]),
    "plots": lambda x: [plots.show_images(list(x.images.split(1)), ["a", "b"]), plots.overlay(x.images, x.maps)][1],
}
NOT_CALLED = {"FolderResult", "StyleResult", "StyleStep", "widgets"}  # what calls return; labs have tests of their own


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
        "default type and device": (torch.get_default_dtype(), torch.empty(0).device),
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
        values.append(plain(CALLS[name](Given(net, place))))
        after = process()
        assert {key: value for key, value in after.items() if value != before[key]} == {}
    (place := tmp_path / "defaults").mkdir()
    with user_defaults():
        values.append(plain(CALLS[name](Given(net, place))))
    assert values[0] == values[1] == values[2]


def before_call(seed):
    """A state that no call of ours has left."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
