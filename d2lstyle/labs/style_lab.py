"""A lab on style transfer: the optimisation under one's hands."""

from dataclasses import replace
from itertools import pairwise
from math import prod
from pathlib import Path
from threading import Event

import ipywidgets as widgets
import torch
from torchvision.utils import make_grid

from .. import plots
from ..backbones import backbone
from ..fast.network import fast_stylize
from ..images import resize, write_image
from ..transfer import coarse_to_fine, stylize
from .lab import BESIDE, FILLING, LABELS, WIDE, Lab, columns, jpeg, picture, slider
from .line_chart import LineChart
from .picture_picker import PAINTINGS, PHOTOS, PicturePicker
from .run_controls import Progress, RunControls

TERMS = ("content", "style", "tv", "total")


class StyleLab(Lab):
    """Paint a photo, and turn the weights while it is painted.

    Args:
        photo: a name out of `sample_names()`, or an image (1, 3, H, W).
        paintings: one to three names out of `painting_names()`, or images.
        size: pixels of the longer side.
        steps: from Start to the end; a control that moves late is given another third of them.
        net: a `Backbone`, or None for `backbone("auto")`.
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
        self.net, self.steps = backbone("auto") if net is None else net, steps
        self.image, self.history, self._changes, self._stages, self._photo = None, [], [], [], None
        self._stale = Event()  # set when a control has moved
        picker = {"size": size, "changed": self._picture_changed}
        self.photo = PicturePicker(self, "photo", PHOTOS, photo, **picker)
        self.paintings = [
            PicturePicker(self, f"painting {number}", PAINTINGS, painting, **picker)
            for number, painting in enumerate(paintings, start=1)
        ]
        self.sliders, self.shares = _sliders(self.net.style_weight), _shares(len(paintings))
        self.watch(self._changed, *self.sliders.values(), *self.shares)
        self._used = self.settings()
        self.controls = RunControls(self, self.start)
        self.save_to = widgets.Text(save_to, description="file", style=LABELS, layout=FILLING)
        self.save_button = self.button("Save", self.save, icon="download", disabled=True, layout=BESIDE)
        self.picture, self.originals = picture("painted"), picture("originals")
        self.originals.layout.width = "60%"
        title = "Losses; dotted: a control moved, or the picture grew"
        self.chart = LineChart(TERMS, "step", title, logarithmic=True)
        saving = widgets.HBox([self.save_to, self.save_button], layout=WIDE)
        pickers = [self.photo.view, *(picker.view for picker in self.paintings)]
        left = [*pickers, *self.shares, *self.sliders.values(), saving, self.controls.view]
        self.show(columns(("380px", left), ("370px", [self.picture, self.originals, self.chart.view])))
        self._show_pictures()
        self._draw_chart()

    def start(self):
        """Paint from the photo on."""
        self._used = self.settings()
        self.controls.begin(self._paint_anew, self._finished)

    def save(self):
        """Write the present picture as a file."""
        path = Path(self.save_to.value).expanduser()
        write_image(self.image.clamp(0, 1), path)
        self.say(f"saved as {path.resolve()}")

    def still(self):
        """Photo, paintings, and the picture: as it is, or else as the fast network paints it."""
        photo, styles, painted = self.photo.image, [picker.image for picker in self.paintings], self.image
        if painted is None:
            shares = self._used["style_weights"]
            painted = fast_stylize(photo, styles, style_weights=shares, device=self.net.mean.device)
        names = [self.photo.name, *(picker.name for picker in self.paintings), "painted"]
        return plots.show_images([photo, *styles, painted], names, columns=len(names))

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
        squares = [resize(picker.image, (160, 160)) for picker in [self.photo, *self.paintings]]
        self.originals.value = jpeg(make_grid(torch.cat(squares), nrow=4, padding=4, pad_value=1)[None])

    def _changed(self):
        """A control has moved: what runs takes it up, what has finished goes on."""
        self._used = self.settings()  # raises here, where the run is not ended by it
        self._stale.set()
        if self.controls.state == "finished":
            self.controls.begin(self._paint, self._finished)

    def _paint_anew(self, checkpoint):
        self.history, self._changes = [], []
        self._stale.clear()
        self._from_the_photo()
        self._paint(checkpoint)

    def _from_the_photo(self):
        self._photo, self.image = self.photo.image, None
        self._stages = [[*stage] for stage in coarse_to_fine(self._photo.shape[2:], None, self.steps)]

    def _paint(self, checkpoint):
        """Optimise through the stages that are left; when a control has moved, begin again from the present picture."""
        progress = Progress(self.controls, checkpoint, self._pixels())

        def step_done(step):
            self._record(step)
            if self._report(progress):
                self.picture.value = jpeg(step.image)
            if self._stale.is_set():
                raise KeyboardInterrupt  # `stylize` ends with what it has

        while self._stages or self._stale.is_set():
            if self._stale.is_set():
                self._take_up()
            start = "content" if self.image is None else self.image
            stages = {
                "sizes": [max(canvas) for canvas, _ in self._stages],
                "steps": [count for _, count in self._stages],
            }
            styles = [picker.image for picker in self.paintings]
            result = stylize(self._photo, styles, **self._used, **stages, init=start, callback=step_done)
            if not result.interrupted:
                self.image = result.image  # the best, which need not be the last
            checkpoint()

    def _take_up(self):
        """Begin with the present settings; at the last size there are steps left for them to show."""
        self._stale.clear()
        self._changes.append(len(self.history))
        if self._photo is not self.photo.image:
            self._from_the_photo()
        if not self._stages:
            self._stages = [[tuple(self._photo.shape[2:]), 0]]
        self._stages[-1][1] = max(self._stages[-1][1], self.steps // 3)

    def _record(self, step):
        self.history.append(replace(step, image=None))
        self.image = step.image
        self._stages[0][1] -= 1
        if not self._stages[0][1]:
            self._stages.pop(0)

    def _report(self, progress):
        """Show how far it is, in pixels painted, and the losses; returns whether it was time to."""
        (height, width), done = self.history[-1].size, len(self.history)
        left = sum(count for _, count in self._stages)
        pixels_left = sum(prod(canvas) * count for canvas, count in self._stages)
        self._draw_chart(throttled=True)
        text = f"step {done} of {done + left}, {width} x {height} px"
        return progress(self._pixels(), self._pixels() + pixels_left, text)

    def _pixels(self):
        return sum(prod(step.size) for step in self.history)

    def _draw_chart(self, throttled=False):
        curves = [[(at, step.losses[term]) for at, step in enumerate(self.history, start=1)] for term in TERMS]
        grown = [at for at, (step, later) in enumerate(pairwise(self.history), start=1) if step.size != later.size]
        self.chart.draw(curves, [*self._changes, *grown], throttled)

    def _finished(self, error):
        if error is None and self._stale.is_set():  # something moved after the last look at it
            self.controls.begin(self._paint, self._finished)
        elif self.image is not None:
            self.picture.value = jpeg(self.image, quality=95)
            self.save_button.disabled = False
            self._draw_chart()


def _sliders(style_weight):
    """{argument of `stylize`: control}."""
    late = {"continuous_update": False}
    return {
        "content_weight": slider("content, alpha", 1, 0.01, 100, "log", **late),
        "style_weight": slider("style, beta", style_weight, 0.1, 1000, "log", **late),
        "tv_weight": slider("smoothness, tv", 2, 0, 20, 0.5, **late),
        "style_scale": slider("size of strokes", 1, 0.25, 1.5, 0.05, **late),
        "preserve_color": widgets.Checkbox(
            description="keep the photo's colours", indent=False, layout={"width": "98%", "margin": "0 0 0 160px"}
        ),
    }


def _shares(n_paintings):
    """A slider for the share of each painting, where there are several."""
    numbers = range(1, n_paintings + 1) if n_paintings > 1 else ()
    return [slider(f"share of {number}", 0.5, 0, 1, 0.05, continuous_update=False) for number in numbers]
