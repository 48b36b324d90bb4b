"""A control of the labs: a picture by its name, or uploaded."""

import io
from functools import partial

import ipywidgets as widgets
import torch

from ..engine import checks
from ..engine.checks import unknown_name
from ..images import read_image, resize
from ..samples.paintings import painting, painting_names
from ..samples.photos import sample, sample_names
from .lab import BESIDE, FILLING, LABELS, WIDE

MOST_BYTES = 8 * 2**20  # of an uploaded file; Jupyter's own limit for a message is 10 MiB


class PicturePicker:
    """A menu of pictures with an upload button beside it.

    Args:
        lab: the `Lab` it belongs to, which says what is wrong with a file.
        label: what the picture is for, such as "photo".
        load: {name: function that gives (1, 3, H, W)}.
        choice: a name out of `load`, or an image (1, 3, H, W).
        size: pixels of the longer side of pictures given or uploaded.
        changed: called, in some thread, when another picture is there.

    Attributes:
        name: of the present picture.
        image: (1, 3, H, W), the present picture.
    """

    def __init__(self, lab, label, load, choice, *, size, changed):
        self._lab, self.label, self._load, self._size, self._changed = lab, label, dict(load), size, changed
        self._kept = {}
        if isinstance(choice, torch.Tensor):
            checks.image(choice, label)
            self._kept["given"] = resize(choice[:1].detach().cpu(), size)
            choice = "given"
        elif choice not in self._load:
            raise unknown_name(label, choice, list(self._load))
        self.name, self.image = choice, self._picture(choice)
        self.menu = widgets.Dropdown(
            options=self._names(), value=choice, description=label, style=LABELS, layout=FILLING
        )
        self.upload = widgets.FileUpload(
            accept="image/*",
            layout=BESIDE,
            tooltip=f"Upload a picture of your own as {label}, at most {MOST_BYTES >> 20} MiB",
        )
        self._on_choice = lab.guarded(lambda change: self._choose(change["new"]))
        self.menu.observe(self._on_choice, "value")
        self.upload.observe(lab.guarded(self._uploaded), "value")
        self.view = widgets.HBox([self.menu, self.upload], layout=WIDE)

    def _names(self):
        return [*(name for name in self._kept if name not in self._load), *self._load]

    def _picture(self, name):
        if name not in self._kept:
            self._kept[name] = self._load[name]()
        return self._kept[name]

    def _choose(self, name):
        """Take a picture out of the menu; in the background, for a painting takes a while to be drawn."""

        def work(checkpoint):
            image = self._picture(name)
            checkpoint()  # another one may have been chosen meanwhile
            self._take(name, image)

        self._lab.say("")
        self._lab.run(work, lane=self.label)

    def _uploaded(self, change):
        if not change["new"]:
            return
        file = change["new"][0]
        self.upload.value = ()  # so that the same file can be chosen again, and its bytes are not kept
        if file["size"] > MOST_BYTES:
            raise ValueError(
                f"{file['name']} has {file['size'] / 2**20:.1f} MiB: "
                f"expected a picture of at most {MOST_BYTES // 2**20} MiB"
            )
        content = io.BytesIO(file["content"])
        content.name = file["name"]  # for the sentence that says what is wrong with it
        self._lab.say(f"reading {file['name']} ...")
        self._lab.run(lambda checkpoint: self._read(content, checkpoint), lane=self.label)

    def _read(self, file, checkpoint):
        image = read_image(file, self._size)
        checkpoint()
        self._kept[file.name] = image
        self._lab.say("")
        self.menu.unobserve(self._on_choice, "value")
        self.menu.options, self.menu.value = self._names(), file.name
        self.menu.observe(self._on_choice, "value")
        self._take(file.name, image)

    def _take(self, name, image):
        self.name, self.image = name, image
        self._changed()


def photos(size):
    """The embedded photos, for `load`."""
    return {name: partial(sample, name, size) for name in sample_names()}


def paintings(size):
    """The procedural paintings, for `load`."""
    return {name: partial(painting, name, size) for name in painting_names()}
