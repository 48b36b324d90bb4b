"""A control of the labs: a picture by its name, or uploaded."""

import io

import ipywidgets as widgets
import torch

from ..engine import checks
from ..images import read_image, resize
from ..samples.paintings import painting, painting_names
from ..samples.photos import sample, sample_names
from .lab import BESIDE, FILLING, WIDE, menu

PHOTOS, PAINTINGS = dict.fromkeys(sample_names(), sample), dict.fromkeys(painting_names(), painting)
MOST_MIB = 8  # of an uploaded file; Jupyter's own limit for a message is 10


class PicturePicker:
    """A menu of pictures with an upload button beside it; the present one is `image` (1, 3, H, W), called `name`.

    `load` is {name: function of (name, size)}; `changed` is called, in some thread, when another picture is there.
    """

    def __init__(self, lab, label, load, choice, *, size, changed):
        self._lab, self._label, self._load, self._size, self._changed = lab, label, load, size, changed
        self._kept = {}
        if isinstance(choice, torch.Tensor):
            checks.image(choice, label)
            self._kept["given"] = resize(choice[:1].detach().cpu(), size)
            choice = "given"
        self.name = checks.choice(label, choice, self._names())
        self.image = self._picture(choice)
        self.menu = menu(label, self._names(), choice, layout=FILLING)
        hint = f"Upload a picture of your own as {label}, at most {MOST_MIB} MiB"
        self.upload = widgets.FileUpload(accept="image/*", layout=BESIDE, tooltip=hint)
        lab.watch(lambda: self._choose(self.menu.value), self.menu)
        lab.watch(self._uploaded, self.upload)
        self.view = widgets.HBox([self.menu, self.upload], layout=WIDE)

    def _names(self):
        return [*(name for name in self._kept if name not in self._load), *self._load]

    def _picture(self, name):
        if name not in self._kept:
            self._kept[name] = self._load[name](name, self._size)
        return self._kept[name]

    def _choose(self, name):
        def work(checkpoint):
            image = self._picture(name)
            checkpoint()  # another one may have been chosen meanwhile
            self.name, self.image = name, image
            self._changed()

        self._lab.run(work, lane=self._label)  # in the background, for a painting takes a while to be drawn

    def _uploaded(self):
        if not self.upload.value:
            return
        file = self.upload.value[0]
        self.upload.value = ()  # so that the same file can be chosen again, and its bytes are not kept
        name, mib = file["name"], file["size"] / 2**20
        if mib > MOST_MIB:
            raise ValueError(f"{name} has {mib:.1f} MiB: expected a picture of at most {MOST_MIB} MiB")
        content = io.BytesIO(file["content"])
        content.name = name  # for the sentence that says what is wrong with it

        def work(checkpoint):
            image = read_image(content, self._size)
            checkpoint()
            self._kept[name] = image
            self.menu.options = self._names()  # the menu then goes to its first name, which is chosen,
            self.menu.value = name
            self._choose(name)  # and of several choices the last one counts

        self._lab.run(work, lane=self._label, said=f"reading {name} ...")
