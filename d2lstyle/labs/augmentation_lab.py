"""A lab on augmentation: every parameter a slider, twelve draws at once."""

import ipywidgets as widgets
import torch
from torchvision.utils import make_grid

from .. import plots
from ..augment import ColorJitter, Compose, RandomHorizontalFlip, RandomResizedCrop
from ..light import Lighting
from .lab import LABELS, WIDE, Lab, columns, jpeg, picture
from .picture_picker import PicturePicker, photos

DRAWS, COLUMNS = 12, 4
NEUTRAL = {
    "flip": 0,
    "area": (1, 1),
    "brightness": 0,
    "contrast": 0,
    "saturation": 0,
    "hue": 0,
    "temperature": (6500, 6500),
    "glare": 0,
}


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
        self.photo = PicturePicker(self, "photo", photos(320), photo, size=320, changed=self.redraw)
        self.sliders = _sliders(size)
        self._at_first = {name: slider.value for name, slider in self.sliders.items()}
        for slider in self.sliders.values():
            slider.observe(self.guarded(lambda change: self.redraw()), "value")
        self.buttons = {
            "New draw": self._new_draw,
            "No change": lambda: self._set(NEUTRAL),
            "As at first": lambda: self._set(self._at_first),
        }
        self.picture, self.code = picture("draws"), widgets.HTML()
        row = widgets.HBox([self._button(*each) for each in self.buttons.items()], layout=WIDE)
        left = [self.photo.view, *self.sliders.values(), row]
        self.show(columns(("370px", left), ("380px", [self.picture, self.code])))
        self.redraw()

    def recipe(self):
        """The transform that the sliders stand at."""
        at = {name: slider.value for name, slider in self.sliders.items()}
        return Compose(
            [
                RandomResizedCrop(at["size"], scale=at["area"], ratio=at["ratio"]),
                RandomHorizontalFlip(at["flip"]),
                ColorJitter(at["brightness"], at["contrast"], at["saturation"], at["hue"]),
                Lighting(at["temperature"], at["glare"], at["p"]),
            ]
        )

    def redraw(self):
        """Draw the twelve anew with the present sliders and seed, in the background."""
        self.say("")
        self.run(self._draw, lane="draw")

    def still(self):
        """The photo and eleven draws."""
        images = self._draws()
        return plots.show_images([self.photo.image, *images[1:].split(1)], columns=6, title="One photo, eleven draws")

    def _draws(self):
        return self.recipe()(self.photo.image.repeat(DRAWS, 1, 1, 1), torch.Generator().manual_seed(self.seed))

    def _draw(self, checkpoint):
        images = self._draws()
        checkpoint()
        self.image = make_grid(images, nrow=COLUMNS, padding=4, pad_value=1)[None]
        self.picture.value = jpeg(self.image)
        self.code.value = f"<pre>{_code(self.recipe())}</pre>"

    def _new_draw(self):
        self.seed += 1
        self.redraw()

    def _set(self, values):
        for name, value in values.items():
            self.sliders[name].value = value

    def _button(self, text, action):
        button = widgets.Button(description=text, layout=widgets.Layout(width="31%"))
        button.on_click(self.guarded(lambda _: action()))
        return button


def _sliders(size):
    """{name: slider}, at the lecture's values."""
    options = {"style": LABELS, "layout": WIDE}

    def part(description, value, high=1.0):
        return widgets.FloatSlider(value, min=0, max=high, step=0.05, description=description, **options)

    return {
        "size": widgets.IntSlider(size, min=32, max=224, step=16, description="size in pixels", **options),
        "area": widgets.FloatRangeSlider(
            value=(0.08, 1), min=0.02, max=1, step=0.02, description="area of the crop", **options
        ),
        "ratio": widgets.FloatRangeSlider(
            value=(0.75, 1.33), min=0.4, max=2.5, step=0.01, description="width : height", **options
        ),
        "flip": part("chance of a flip", 0.5),
        "brightness": part("brightness ±", 0.5),
        "contrast": part("contrast ±", 0.5),
        "saturation": part("saturation ±", 0.5),
        "hue": part("hue ±", 0.1, 0.5),
        "temperature": widgets.IntRangeSlider(
            value=(4500, 9000), min=2000, max=15000, step=100, description="light in kelvin", **options
        ),
        "glare": part("strongest glare", 0.4),
        "p": part("chance of glare", 0.5),
    }


def _code(recipe):
    """The recipe as Python code to copy."""
    crop, flip, jitter, lighting = recipe.transforms
    radius = [0 if ends is None else ends[1] - 1 for ends in (jitter.brightness, jitter.contrast, jitter.saturation)]
    radius.append(jitter.hue[1] if jitter.hue else 0)
    scale, ratio = (f"({low:g}, {high:g})" for low, high in (crop.scale, crop.ratio))
    return (
        "ds.Compose([\n"
        f"  ds.RandomResizedCrop({crop.size[0]}, {scale}, {ratio}),\n"
        f"  ds.RandomHorizontalFlip({flip.p:g}),\n"
        f"  ds.ColorJitter({', '.join(f'{each:.2g}' for each in radius)}),\n"
        f"  ds.Lighting({lighting.temperature}, {lighting.glare:g}, {lighting.p:g})])"
    )
