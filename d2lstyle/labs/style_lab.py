"""A lab on style transfer: the optimisation under one's hands."""

import threading
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import ipywidgets as widgets
import torch
from torchvision.utils import make_grid

from .. import plots
from ..backbones import backbone
from ..fast.network import fast_stylize
from ..images import resize, write_image
from ..transfer import coarse_to_fine, stylize
from .lab import BESIDE, FILLING, LABELS, WIDE, Lab, columns, jpeg, picture
from .line_chart import line_chart
from .picture_picker import PicturePicker, photos
from .picture_picker import paintings as painters
from .run_controls import Pace, RunControls, Throttle, minutes

TERMS = ("content", "style", "tv", "total")


class Changed(KeyboardInterrupt):
    """Raised between two steps when a control has moved: the run goes on from its picture with other settings."""


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
        self.net, self.size, self.steps = backbone("auto") if net is None else net, size, steps
        self.image, self.history, self._changes, self._stages, self._photo = None, [], [], [], None
        self._pace, self._stale = Pace(), threading.Event()  # the latter is set when a control has moved
        self.photo = PicturePicker(self, "photo", photos(size), photo, size=size, changed=self._photo_changed)
        self.paintings = [
            PicturePicker(self, f"painting {i}", painters(size), each, size=size, changed=self._painting_changed)
            for i, each in enumerate(paintings, start=1)
        ]
        self.sliders, self.shares = _sliders(self.net.style_weight), _shares(len(paintings))
        for slider in [*self.sliders.values(), *self.shares]:
            slider.observe(self.guarded(lambda change: self._changed()), "value")
        self._used = self.settings()
        self.controls = RunControls(self, self.start)
        self.picture, self.chart = picture("painted"), widgets.HTML(layout=WIDE)
        self.originals = picture("originals")
        self._build(save_to)

    def _build(self, save_to):
        self.save_to = widgets.Text(save_to, description="file", style=LABELS, layout=FILLING)
        self.save_button = widgets.Button(description="Save", icon="download", disabled=True, layout=BESIDE)
        self.save_button.on_click(self.guarded(lambda _: self.save()))
        saving = widgets.HBox([self.save_to, self.save_button], layout=WIDE)
        pickers = [self.photo.view, *(picker.view for picker in self.paintings)]
        self.originals.layout.width = "60%"
        left = [*pickers, *self.shares, *self.sliders.values(), saving, self.controls.view]
        self.show(columns(("380px", left), ("370px", [self.picture, self.originals, self.chart])))
        self.picture.value = jpeg(self.photo.image)
        self._show_originals()
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
        styles = [picker.image for picker in self.paintings]
        painted = self.image
        if painted is None:
            painted = fast_stylize(
                self.photo.image, styles, style_weights=self._used["style_weights"], device=self.net.mean.device
            )
        names = [self.photo.name, *(picker.name for picker in self.paintings), "painted"]
        return plots.show_images([self.photo.image, *styles, painted], names, columns=len(names))

    def settings(self):
        """What the controls stand at, as arguments of `stylize`."""
        at = {name: slider.value for name, slider in self.sliders.items()}
        shares = [share.value for share in self.shares]
        if shares and not any(shares):
            raise ValueError("expected a share above zero for one of the paintings, got zero for all")
        return {**at, "style_weights": shares or None, "net": self.net}

    def _from_the_photo(self):
        self._photo, self.image = self.photo.image, None
        self._stages = [
            [max(canvas), steps] for canvas, steps in coarse_to_fine(self._photo.shape[2:], None, self.steps)
        ]

    def _go_on(self):
        self.controls.begin(self._paint, self._finished)

    def _photo_changed(self):
        if self.controls.state not in ("running", "paused"):
            self.image, self.save_button.disabled = None, True
            self.picture.value = jpeg(self.photo.image)
        self._show_originals()
        self._changed()

    def _painting_changed(self):
        self._show_originals()
        self._changed()

    def _show_originals(self):
        """The photo and the paintings as squares in a row."""
        squares = [
            resize(each, (160, 160)) for each in [self.photo.image, *(picker.image for picker in self.paintings)]
        ]
        self.originals.value = jpeg(make_grid(torch.cat(squares), nrow=4, padding=4, pad_value=1)[None])

    def _changed(self):
        """A control has moved: what runs takes it up, what has finished goes on."""
        self._used = self.settings()  # raises here, where the run is not ended by it
        self._stale.set()
        if self.controls.state == "finished":
            self._go_on()

    def _paint_anew(self, checkpoint):
        self.history, self._changes = [], []
        self._stale.clear()
        self._from_the_photo()
        self._paint(checkpoint)

    def _paint(self, checkpoint):
        pace, see, chart = self._pace, Throttle(0.2), Throttle(1)

        def step_done(step):
            pace.end(step.size[0] * step.size[1])
            self._record(step)
            if see():
                self.picture.value = jpeg(step.image)
            if chart():
                self._report()
            checkpoint()
            if self._stale.is_set():
                raise Changed
            pace.begin()

        while self._stages or self._stale.is_set():
            if self._stale.is_set():
                self._take_up()
            pace.begin()
            self._run_stages(step_done)
            checkpoint()

    def _run_stages(self, step_done):
        """Optimise through the stages that are left, until they are done or something moves."""
        styles, sizes, steps = [picker.image for picker in self.paintings], *zip(*self._stages)
        start = "content" if self.image is None else self.image
        result = stylize(
            self._photo, styles, **self._used, init=start, sizes=list(sizes), steps=list(steps), callback=step_done
        )
        if not result.interrupted:
            self.image = result.image  # the best, which need not be the last

    def _take_up(self):
        """Begin with the present settings; at the last size there are steps left for them to show."""
        self._stale.clear()
        self._changes.append(len(self.history))
        if self._photo is not self.photo.image:
            self._from_the_photo()
        if not self._stages:
            self._stages = [[max(self._photo.shape[2:]), 0]]
        self._stages[-1][1] = max(self._stages[-1][1], self.steps // 3)

    def _record(self, step):
        self.history.append(replace(step, image=None))
        self.image = step.image
        self._stages[0][1] -= 1
        if not self._stages[0][1]:
            self._stages.pop(0)

    def _report(self):
        step = self.history[-1]
        left = sum(count for _, count in self._stages)
        shape = self._photo.shape[2:]
        work = sum(count * side**2 for side, count in self._stages) * min(shape) / max(shape)
        done = len(self.history)
        text = f"step {done} of {done + left}, {step.size[1]} x {step.size[0]} px"
        rest = f"{minutes(self._pace.seconds(work))} left" if left else "done"
        self.controls.report(done / (done + left), f"{text}, {rest}")
        self._draw_chart()

    def _draw_chart(self):
        curves = {
            term: (range(1, len(self.history) + 1), [step.losses[term] for step in self.history]) for term in TERMS
        }
        grown = [at for at, (one, next_one) in enumerate(pairwise(self.history), start=1) if one.size != next_one.size]
        title = "Losses; dotted: a control moved, or the picture grew"
        self.chart.value = line_chart(curves, "step", title, logarithmic=True, marks=[*self._changes, *grown])

    def _finished(self, error):
        if error is None and self._stale.is_set():  # something moved after the last look at it
            self._go_on()
        elif self.image is not None:
            self.picture.value = jpeg(self.image, quality=95)
            self.save_button.disabled = False
            self._report()


def _sliders(style_weight):
    """{argument of `stylize`: control}."""
    options = {"style": LABELS, "layout": WIDE, "continuous_update": False}
    return {
        "content_weight": widgets.FloatLogSlider(
            1, min=-2, max=2, step=0.1, description="content, alpha", readout_format=".2f", **options
        ),
        "style_weight": widgets.FloatLogSlider(
            style_weight, min=-1, max=3, step=0.1, description="style, beta", readout_format=".1f", **options
        ),
        "tv_weight": widgets.FloatSlider(
            2, min=0, max=20, step=0.5, description="smoothness, tv", readout_format=".1f", **options
        ),
        "style_scale": widgets.FloatSlider(1, min=0.25, max=1.5, step=0.05, description="size of strokes", **options),
        "preserve_color": widgets.Checkbox(
            False,
            description="keep the photo's colours",
            indent=False,
            layout=widgets.Layout(width="98%", margin="0 0 0 160px"),
        ),
    }


def _shares(n_paintings):
    """A slider for the share of each painting, where there are several."""
    return [
        widgets.FloatSlider(
            0.5,
            min=0,
            max=1,
            step=0.05,
            description=f"share of {i}",
            style=LABELS,
            layout=WIDE,
            continuous_update=False,
        )
        for i in range(1, n_paintings + 1)
        if n_paintings > 1
    ]
