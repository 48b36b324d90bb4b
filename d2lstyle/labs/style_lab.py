"""A lab on style transfer: the optimisation under one's hands."""

from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import pairwise
from math import prod
from pathlib import Path
from threading import Event

import ipywidgets as widgets
import torch
from torchvision.utils import make_grid

from .. import plots
from ..backbones import backbone
from ..fast import fast_stylize
from ..images import resize, write_image
from ..transfer import coarse_to_fine, stylize
from .lab import BESIDE, FILLING, LABELS, WIDE, Lab, jpeg, picture, slider
from .line_chart import LineChart
from .picture_picker import PAINTINGS, PHOTOS, PicturePicker
from .run_controls import Progress, RunControls

TERMS = ("content", "style", "tv", "total")
LATE = {"continuous_update": False}  # a slider counts when it is let go


class StyleLab(Lab):
    """Paint a photo, and turn the weights while it is painted.

    Args:
        photo: a name out of `sample_names()`, or an image (1, 3, H, W).
        paintings: one to three names out of `painting_names()`, or images.
        size: pixels of the longer side.
        steps: from Start to the end; a control that moves late is given another third of them.
        net: a `Backbone`, or None for EfficientNet-Lite0, which is light enough to watch on a CPU.
        save_to: the file that Save writes.

    Attributes:
        sliders: {name: widget}; shares: the painting's shares, a widget each.
        image: (1, 3, H, W), the present picture, or None.
        history: list of StyleStep since Start, weights as they were at each.
    """

    def __init__(
        self, photo="china", paintings=("starry", "mosaic"), *, size=256, steps=150, net=None, save_to="painted.png"
    ):
        super().__init__()
        paintings = [paintings] if isinstance(paintings, str) else list(paintings)
        if not 1 <= len(paintings) <= 3:
            raise ValueError(f"expected one to three paintings, got {len(paintings)}")
        self.net, self.steps = backbone("efficientnet_lite0") if net is None else net, steps
        self.image, self.history, self._changes, self._photo = None, [], [], None
        self._left = []  # (height, width) of each step that is left
        self._stale = Event()  # set when a control has moved
        choose = partial(PicturePicker, self, size=size, changed=self._picture_changed)
        numbers = range(1, len(paintings) + 1)
        self.photo = choose("photo", PHOTOS, photo)
        self.paintings = [choose(f"painting {at}", PAINTINGS, painting) for at, painting in zip(numbers, paintings)]
        self._pickers = [self.photo, *self.paintings]
        self.sliders = _sliders(self.net.style_weight)
        self.shares = [slider(f"share of {at}", 0.5, 0, 1, 0.05, **LATE) for at in numbers if len(numbers) > 1]
        self.watch(self._changed, *self.sliders.values(), *self.shares)
        self._used = self.settings()
        self.controls = RunControls(self, self._paint_anew, self._finished)
        self.save_to = widgets.Text(save_to, description="file", style=LABELS, layout=FILLING)
        self.save_button = self.button("Save", self.save, icon="download", disabled=True, layout=BESIDE)
        self.picture, self.originals = picture("painted"), picture("originals")
        self.originals.layout.width = "60%"
        self.chart = LineChart(TERMS, "step", "Losses; dotted: a control moved, or the picture grew", logarithmic=True)
        saving = widgets.HBox([self.save_to, self.save_button], layout=WIDE)
        left = [picker.view for picker in self._pickers]
        left += [*self.shares, *self.sliders.values(), saving, self.controls.view]
        self.show(left, [self.picture, self.originals, self.chart.view])
        self._show_pictures()
        self._draw_chart()

    def save(self):
        """Write the present picture as a file; a ValueError where there is none."""
        if self.image is None:
            raise ValueError("expected a picture to save, and there is none yet: press Start first")
        path = Path(self.save_to.value).expanduser()
        write_image(self.image.clamp(0, 1), path)
        self.say(f"saved as {path.resolve()}")

    def still(self):
        """Photo, paintings, and the picture: as it is, or else as the fast network paints it."""
        photo, *styles = images = [picker.image for picker in self._pickers]
        painted = self.image
        if painted is None:
            shares = self._used["style_weights"]
            painted = fast_stylize(photo, styles, style_weights=shares, device=self.net.mean.device)
        names = [*(picker.name for picker in self._pickers), "painted"]
        return plots.show_images([*images, painted], names, columns=len(names))

    def settings(self):
        """What the controls stand at, as arguments of `stylize`."""
        at = {name: control.value for name, control in self.sliders.items()}
        shares = [share.value for share in self.shares]
        if shares and not any(shares):
            raise ValueError("expected a share above zero for one of the paintings, got zero for all")
        return {**at, "style_weights": shares or None, "net": self.net}

    def _picture_changed(self):
        if not self.controls.busy and self._photo is not self.photo.image:
            self.image, self.save_button.disabled = None, True
        self._show_pictures()
        self._changed()

    def _show_pictures(self):
        """The photo until it is painted; and the originals, as squares in a row."""
        if self.image is None:
            self.picture.value = jpeg(self.photo.image)
        squares = [resize(picker.image, (160, 160)) for picker in self._pickers]
        self.originals.value = jpeg(make_grid(torch.cat(squares), nrow=4, padding=4, pad_value=1)[None])

    def _changed(self):
        """A control has moved: what runs takes it up, what has finished goes on."""
        self._used = self.settings()  # raises here, where the run is not ended by it
        self._stale.set()
        if self.controls.state == "finished":
            self.controls.begin(self._paint)

    def _paint_anew(self, checkpoint):
        self._used = self.settings()
        self.history, self._changes = [], []
        self._stale.clear()
        self._from_the_photo()
        self._paint(checkpoint)

    def _from_the_photo(self):
        self._photo, self.image = self.photo.image, None
        stages = coarse_to_fine(self._photo.shape[2:], None, self.steps)
        self._left = [canvas for canvas, count in stages for _ in range(count)]

    def _paint(self, checkpoint):
        """Do the steps that are left; when a control has moved, begin again from the present picture."""
        progress = Progress(self.controls, checkpoint, done=_pixels(self.history))

        def step_done(step):
            self.history.append(replace(step, image=None))
            self.image = step.image
            self._left.pop(0)
            if self._report(progress):
                self.picture.value = jpeg(step.image)
            if self._stale.is_set():
                raise KeyboardInterrupt  # `stylize` ends with what it has

        while self._left or self._stale.is_set():
            if self._stale.is_set():
                self._take_up()
            stages, styles = Counter(self._left), [picker.image for picker in self.paintings]
            options = {"sizes": [max(canvas) for canvas in stages], "steps": list(stages.values())}
            options |= {"init": "content" if self.image is None else self.image, "callback": step_done}
            result = stylize(self._photo, styles, **self._used, **options)
            if not result.interrupted:
                self.image = result.image  # the best, which need not be the last
            checkpoint()

    def _take_up(self):
        """Begin with the present settings; at the last size there are steps left for them to show."""
        self._stale.clear()
        self._changes.append(len(self.history))
        if self._photo is not self.photo.image:
            self._from_the_photo()
        canvas = tuple(self._photo.shape[2:])
        self._left += [canvas] * (self.steps // 3 - self._left.count(canvas))

    def _report(self, progress):
        """Show how far it is, in pixels painted, and the losses; returns whether it was time to."""
        self._draw_chart(throttled=True)
        step, (height, width), pixels = len(self.history), self.history[-1].size, _pixels(self.history)
        text = f"step {step} of {step + len(self._left)}, {width} x {height} px"
        return progress(pixels, pixels + sum(map(prod, self._left)), text)

    def _draw_chart(self, throttled=False):
        curves = [[(at, step.losses[term]) for at, step in enumerate(self.history, start=1)] for term in TERMS]
        grown = [at for at, (step, later) in enumerate(pairwise(self.history), start=1) if step.size != later.size]
        self.chart.draw(curves, [*self._changes, *grown], throttled)

    def _finished(self, error):
        if error is None and self._stale.is_set():  # something moved after the last look at it
            self.controls.begin(self._paint)
        elif self.image is not None:
            self.picture.value = jpeg(self.image, quality=95)
            self.save_button.disabled = False
            self._draw_chart()


def _sliders(style_weight):
    """{argument of `stylize`: control}."""
    beside = {"indent": False, "layout": {"width": "98%", "margin": "0 0 0 160px"}}
    return {
        "content_weight": slider("content, alpha", 1, 0.01, 100, "log", **LATE),
        "style_weight": slider("style, beta", style_weight, 0.1, 1000, "log", **LATE),
        "tv_weight": slider("smoothness, tv", 2, 0, 20, 0.5, **LATE),
        "style_scale": slider("size of strokes", 1, 0.25, 1.5, 0.05, **LATE),
        "preserve_color": widgets.Checkbox(description="keep the photo's colours", **beside),
    }


def _pixels(steps):
    return sum(prod(step.size) for step in steps)
