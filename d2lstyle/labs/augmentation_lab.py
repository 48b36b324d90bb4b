"""A lab on augmentation: every parameter a slider, twelve draws at once."""

import ipywidgets as widgets
import torch
from torchvision.utils import make_grid

from .. import plots
from ..augment import ColorJitter, Compose, RandomHorizontalFlip, RandomResizedCrop
from ..light import Lighting
from .lab import WIDE, Lab, jpeg, picture, slider
from .picture_picker import PHOTOS, PicturePicker

DRAWS, COLUMNS = 12, 4
SLIDERS = {  # text, the lecture's value, lowest, highest, step
    "size": ("size in pixels", 128, 32, 224, 16),
    "area": ("area of the crop", (0.08, 1), 0.02, 1, 0.02),
    "ratio": ("width : height", (0.75, 1.33), 0.2, 5, 0.01),
    "flip": ("chance of a flip", 0.5, 0, 1, 0.05),
    "brightness": ("brightness ±", 0.5, 0, 1, 0.05),
    "contrast": ("contrast ±", 0.5, 0, 1, 0.05),
    "saturation": ("saturation ±", 0.5, 0, 1, 0.05),
    "hue": ("hue ±", 0.1, 0, 0.5, 0.05),
    "temperature": ("light in kelvin", (4500, 9000), 2000, 15000, 100),
    "glare": ("strongest glare", 0.4, 0, 1, 0.05),
    "p": ("chance of glare", 0.5, 0, 1, 0.05),
}
NEUTRAL = {"area": (1, 1), "temperature": (6500, 6500)} | dict.fromkeys(
    ("flip", "brightness", "contrast", "saturation", "hue", "glare"), 0
)


class AugmentationLab(Lab):
    """Turn the parameters of an augmentation, and see twelve pictures drawn with them.

    Args:
        photo: a name out of `sample_names()`, or an image (1, 3, H, W), such as `train[0][0][None]`.
        size: pixels of the augmented pictures' sides, 32 to 224.
        seed: of the first draw.

    Attributes:
        sliders: {name: widget}.
        image: (1, 3, H, W), the pictures as shown.
    """

    def __init__(self, photo="chelsea", *, size=128, seed=0):
        super().__init__()
        self.seed, self.image = seed, None
        self.photo = PicturePicker(self, "photo", PHOTOS, photo, size=320, changed=self.redraw)
        self.sliders = {name: slider(*row) for name, row in SLIDERS.items()}
        self.sliders["size"].value = size
        self.watch(self.redraw, *self.sliders.values())
        at_first = {name: control.value for name, control in self.sliders.items()}
        actions = [self._draw_anew, lambda: self._set(NEUTRAL | self._whole()), lambda: self._set(at_first)]
        names = ["New draw", "No change", "As at first"]
        self.buttons = {text: self.button(text, act, layout={"width": "31%"}) for text, act in zip(names, actions)}
        self.picture, self.code = picture("draws"), widgets.HTML()
        left = [self.photo.view, *self.sliders.values(), widgets.HBox(list(self.buttons.values()), layout=WIDE)]
        self.show(left, [self.picture, self.code])
        self.redraw()

    def recipe(self):
        """The transform that the sliders stand at."""
        return Compose([kind(*arguments) for kind, *arguments in self._transforms()])

    def redraw(self):
        """Draw the twelve anew with the present sliders and seed, in the background."""
        self.run(self._draw, lane="draw")

    def still(self):
        """The photo and eleven draws."""
        return plots.show_images(
            [self.photo.image, *self._draws()[1:].split(1)], columns=6, title="One photo, eleven draws"
        )

    def _transforms(self):
        at = {name: control.value for name, control in self.sliders.items()}
        return [
            (RandomResizedCrop, at["size"], at["area"], at["ratio"]),
            (RandomHorizontalFlip, at["flip"]),
            (ColorJitter, at["brightness"], at["contrast"], at["saturation"], at["hue"]),
            (Lighting, at["temperature"], at["glare"], at["p"]),
        ]

    def _draws(self):
        return self.recipe()(self.photo.image.repeat(DRAWS, 1, 1, 1), torch.Generator().manual_seed(self.seed))

    def _draw(self, checkpoint):
        images = self._draws()
        checkpoint()
        self.image = make_grid(images, nrow=COLUMNS, padding=4, pad_value=1)[None]
        self.picture.value = jpeg(self.image)
        calls = [f"  ds.{kind.__name__}({', '.join(map(_code, values))})" for kind, *values in self._transforms()]
        self.code.value = "<pre>ds.Compose([\n" + ",\n".join(calls) + "])</pre>"

    def _draw_anew(self):
        self.seed += 1
        self.redraw()

    def _whole(self):
        """The one ratio whose largest window is all of the photo."""
        height, width = self.photo.image.shape[2:]
        return {"ratio": (width / height, width / height)}

    def _set(self, values):
        for name, value in values.items():
            self.sliders[name].value = value


def _code(value):
    """A number, or a pair of them, as Python code."""
    return f"({', '.join(map(_code, value))})" if isinstance(value, tuple) else f"{value:g}"
