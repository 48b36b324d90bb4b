"""A lab on where a network looks: cover parts of a photo by hand, let the computer do it, paint in the style of the region."""

from html import escape

import ipywidgets as widgets
import torch

from .. import plots
from ..backbones import backbone
from ..maps.attribution import occlusion, region_weights
from ..transfer import stylize
from .lab import LABELS, WIDE, Lab, columns, jpeg, picture
from .picture_picker import PicturePicker, photos
from .run_controls import Pace, RunControls, Throttle, minutes

BARS = 5
WINDOWS = 5  # of the occlusion map, along the shorter side; each half covered by the next
AT_ONCE = 2  # covered photos that share a pass: a short pass can be stopped soon


class RegionLab(Lab):
    """Move a patch over a photo and watch the scores; make a map, keep its best region, paint in the style of that.

    Args:
        photo: where the network looks, a name out of `sample_names()`, or an image (1, 3, H, W).
        paint: the photo that is painted in the region's style, likewise.
        size: pixels of the longer sides.
        steps: of painting.
        net: a `Backbone` with class scores, or None for `backbone("auto")`.

    Attributes:
        patch, keep: the sliders.
        map, region: (1, 1, H, W), once they are there; else None.
        image: (1, 3, H, W), what was painted, or None.
        scores: {class name: (probability of the photo, probability with the patch)}, as shown.
    """

    def __init__(self, photo="flower", paint="china", *, size=224, steps=80, net=None):
        super().__init__()
        self.net, self.steps = backbone("auto") if net is None else net, steps
        self.map, self.region, self.image, self.scores, self._base = None, None, None, {}, None
        self.photo = PicturePicker(self, "photo", photos(size), photo, size=size, changed=self._photo_changed)
        self.paint = PicturePicker(self, "photo to paint", photos(size), paint, size=size, changed=self._show_paint)
        self.patch, self.keep = _patch_sliders(), _keep_slider()
        for slider in self.patch.values():
            slider.observe(self.guarded(lambda change: self.look()), "value")
        self.keep.observe(self.guarded(lambda change: self._show_region()), "value")
        self.controls = RunControls(self, self.make_map, label="Map")
        self.paint_button = widgets.Button(description="Paint in the region's style", icon="paint-brush", disabled=True)
        self.paint_button.layout.width = "98%"
        self.paint_button.on_click(self.guarded(lambda _: self.paint_region()))
        self.covered, self.mapped, self.painted = (picture(name) for name in ("covered", "mapped", "painted"))
        self.bars = widgets.HTML(layout=WIDE)
        left = [
            self.photo.view,
            *self.patch.values(),
            self.controls.view,
            self.keep,
            self.paint.view,
            self.paint_button,
        ]
        right = widgets.HBox(
            [
                widgets.VBox(each, layout=widgets.Layout(width="50%", margin="0 8px 0 0"))
                for each in ([self.covered, self.bars], [self.mapped, self.painted])
            ]
        )
        self.show(columns(("360px", left), ("400px", [right])))
        self._photo_changed()

    def look(self):
        """Score the photo with the patch where it is, in the background."""
        self.run(self._look, lane="look")

    def make_map(self):
        """Cover the photo place by place, for the class that the network sees in it."""
        self.controls.begin(self._make_map)

    def paint_region(self):
        """Paint the other photo in the style of the region."""
        if self.region is None:
            raise ValueError("expected a map first: press Map")
        if self.controls.state not in ("running", "paused"):
            self.controls.begin(self._paint)

    def still(self):
        """The photo, the photo with the patch, and the map and what was painted, or a quick map where there are none."""
        photo, covered = self.photo.image, self._with_patch(self.photo.image)
        side = min(photo.shape[2:]) // 3
        maps = occlusion(self.net, photo, window=side, stride=side // 2).cpu() if self.map is None else self.map
        titles = [*(f"{name}: {part:.0%}" for name, part in (self._best(photo), self._best(covered))), "where it looks"]
        images = [photo, covered, self._region_of(maps)[1]]
        if self.image is not None:
            images, titles = [*images, self.image], [*titles, "in the region's style"]
        return plots.show_images(images, titles, title="What the network sees, in all of the photo and with a patch")

    def _best(self, image):
        parts = self._probabilities(image)
        return self.net.classes[parts.argmax()], parts.max().item()

    @torch.no_grad()
    def _probabilities(self, image):
        return self.net.logits(image.to(self.net.mean.device))[0].softmax(0).cpu()

    def _with_patch(self, image):
        """The photo with a square in the colour that the network takes for nothing."""
        height, width = image.shape[2:]
        side = max(1, round(self.patch["side"].value / 100 * min(height, width)))
        top, left = (
            round(self.patch[axis].value / 100 * (length - side)) for axis, length in (("y", height), ("x", width))
        )
        image = image.clone()
        image[:, :, top : top + side, left : left + side] = self.net.mean.cpu()
        return image

    def _photo_changed(self):
        self.map = self.region = self.image = self._base = None
        self.paint_button.disabled = True
        self.mapped.value = jpeg(self.photo.image)
        self._show_paint()
        self.look()

    def _show_paint(self):
        self.painted.value = jpeg(self.paint.image)

    def _look(self, checkpoint):
        photo = self.photo.image
        covered = self._with_patch(photo)
        self.covered.value = jpeg(covered)
        before = self._base if self._base is not None else self._probabilities(photo)
        checkpoint()
        after = self._probabilities(covered)
        checkpoint()  # another place may have been chosen meanwhile
        self._base = before
        best = before.argsort(descending=True)[:BARS].tolist()
        self.scores = {self.net.classes[i]: (before[i].item(), after[i].item()) for i in best}
        self.bars.value = _bars(self.scores)

    def _make_map(self, checkpoint):
        photo = self.photo.image
        window = min(photo.shape[2:]) // WINDOWS
        pace, see = Pace(), Throttle(0.2)

        def passed(done, total):
            pace.end(done / total)
            if see() or done == total:
                self.controls.report(done / total, f"{done} of {total} places covered")
            checkpoint()

        target = self._probabilities(photo).argmax().item()
        self.controls.report(0, f"where does it see {self.net.classes[target]}?")
        checkpoint()
        found = occlusion(
            self.net, photo, target, window=window, stride=max(1, window // 2), at_once=AT_ONCE, callback=passed
        )
        if photo is self.photo.image:  # else another one has been chosen
            self.map = found.cpu()
            self._show_region()

    def _region_of(self, maps):
        """The best part of a map, and a picture of it: the rest is dark."""
        region = region_weights(maps, keep=self.keep.value / 100)
        return region, plots.overlay(self.photo.image, maps) * (0.35 + 0.65 * region)

    def _show_region(self):
        if self.map is not None:
            self.region, shown = self._region_of(self.map)
            self.mapped.value = jpeg(shown)
            self.paint_button.disabled = False

    def _paint(self, checkpoint):
        pace, see = Pace(), Throttle(0.2)

        def painted(step):
            pace.end()
            self.image = step.image
            if see():
                self.painted.value = jpeg(step.image)
                left = minutes(pace.seconds(step.steps - step.step))
                self.controls.report(step.step / step.steps, f"painting: step {step.step} of {step.steps}, {left} left")
            checkpoint()
            pace.begin()

        result = stylize(
            self.paint.image,
            self.photo.image,
            style_masks=self.region,
            net=self.net,
            steps=self.steps,
            callback=painted,
        )
        self.image = result.image
        self.painted.value = jpeg(result.image)
        checkpoint()
        self.controls.report(1, f"{self.paint.name} in the style of that part of {self.photo.name}")


def _patch_sliders():
    options = {"min": 0, "max": 100, "style": LABELS, "layout": WIDE, "readout_format": "d"}
    return {
        "x": widgets.IntSlider(50, description="patch from left %", **options),
        "y": widgets.IntSlider(50, description="patch from top %", **options),
        "side": widgets.IntSlider(35, description="size of patch %", **{**options, "min": 5}),
    }


def _keep_slider():
    return widgets.IntSlider(25, min=2, max=100, description="keep of the map %", style=LABELS, layout=WIDE)


def _bars(scores):
    """Class scores as bars: pale without the patch, dark with it."""
    rows = []
    for name, (before, after) in scores.items():
        rows.append(
            f'<div style="margin-top: 4px">{escape(name)} '
            f'<span style="float: right">{before:.0%} → <b>{after:.0%}</b></span></div>'
            f'<div style="position: relative; height: 12px; background: rgba(128, 128, 128, 0.2)">'
            f'<div style="position: absolute; height: 12px; width: {before:.1%}; background: rgba(76, 141, 214, 0.4)"></div>'
            f'<div style="position: absolute; height: 12px; width: {after:.1%}; background: #4c8dd6"></div></div>'
        )
    return "".join(rows)
