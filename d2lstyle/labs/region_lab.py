"""A lab on where a network looks: cover parts of a photo, or let the computer do it, and paint in a region's style."""

from html import escape

import ipywidgets as widgets
import torch

from .. import plots
from ..backbones import backbone
from ..maps.attribution import occlusion, region_weights
from ..transfer import stylize
from .lab import WIDE, Lab, jpeg, picture, slider
from .picture_picker import PHOTOS, PicturePicker
from .run_controls import Progress, RunControls

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
        net: a `Backbone` with class scores, or None for EfficientNet-Lite0.

    Attributes:
        patch, keep: the sliders.
        map, region: (1, 1, H, W), once they are there; else None.
        image: (1, 3, H, W), what was painted, or None.
        scores: {class name: (probability of the photo, probability with the patch)}, as shown.
    """

    def __init__(self, photo="flower", paint="china", *, size=224, steps=80, net=None):
        super().__init__()
        self.net, self.steps, self.scores = backbone("efficientnet_lite0") if net is None else net, steps, {}
        self.photo = PicturePicker(self, "photo", PHOTOS, photo, size=size, changed=self._photo_changed)
        self.paint = PicturePicker(self, "photo to paint", PHOTOS, paint, size=size, changed=self._show_paint)
        self.patch = {
            "x": slider("patch from left %", 50, 0, 100, 1),
            "y": slider("patch from top %", 50, 0, 100, 1),
            "side": slider("size of patch %", 35, 5, 100, 1),
        }
        self.keep = slider("keep of the map %", 25, 2, 100, 1)
        self.watch(self.look, *self.patch.values())
        self.watch(self._show_region, self.keep)
        self.controls = RunControls(self, self._make_map, label="Map")
        brush = {"icon": "paint-brush", "layout": WIDE}
        self.paint_button = self.button("Paint in the region's style", self.paint_region, **brush)
        self.covered, self.mapped, self.painted = (picture(name) for name in ("covered", "mapped", "painted"))
        self.bars = widgets.HTML(layout=WIDE)
        map_controls = [self.controls.view, self.keep, self.paint.view, self.paint_button]
        half = {"width": "50%", "margin": "0 8px 0 0"}
        halves = [widgets.VBox(side, layout=half) for side in ([self.covered, self.bars], [self.mapped, self.painted])]
        self.show([self.photo.view, *self.patch.values(), *map_controls], [widgets.HBox(halves)])
        self._photo_changed()

    def look(self):
        """Score the photo with the patch where it is, in the background."""
        self.run(self._look, lane="look")

    def paint_region(self):
        """Paint the other photo in the style of the region."""
        if self.region is None:
            raise ValueError("expected a map first: press Map")
        if not self.controls.busy:
            self.controls.begin(self._paint)

    def still(self):
        """The photo, also with the patch, and the map and what was painted, or a quick map where there are none."""
        photo, covered = self.photo.image, self._with_patch()
        side = min(photo.shape[2:]) // 3
        maps = occlusion(self.net, photo, window=side, stride=side // 2) if self.map is None else self.map
        best = [self._probabilities(image).max(0) for image in (photo, covered)]
        titles = [f"{self.net.classes[score.indices]}: {score.values:.0%}" for score in best] + ["where it looks"]
        images = [photo, covered, self._region_of(maps)[1]]
        if self.image is not None:
            images, titles = [*images, self.image], [*titles, self._caption.replace(" in ", "\nin ", 1)]
        return plots.show_images(images, titles, title="What the network sees, in all of the photo and with a patch")

    @torch.no_grad()
    def _probabilities(self, image):
        return self.net.logits(image)[0].softmax(0).cpu()

    def _with_patch(self):
        """The photo with a square in the colour that the network takes for nothing."""
        image = self.photo.image.clone()
        x, y, side = (control.value / 100 for control in self.patch.values())
        height, width = image.shape[2:]
        side = max(1, round(side * min(height, width)))
        top, left = round(y * (height - side)), round(x * (width - side))
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
        photo, covered = self.photo.image, self._with_patch()
        self.covered.value = jpeg(covered)
        before = self._probabilities(photo) if self._base is None else self._base
        checkpoint()
        after = self._probabilities(covered)
        checkpoint()  # another place may have been chosen meanwhile
        self._base = before
        best = before.argsort(descending=True)[:BARS].tolist()
        self.scores = {self.net.classes[i]: (before[i].item(), after[i].item()) for i in best}
        self.bars.value = "".join(_bar(name, *scores) for name, scores in self.scores.items())

    def _make_map(self, checkpoint):
        """Cover the photo place by place, for the class that the network sees in it."""
        photo = self.photo.image
        window = min(photo.shape[2:]) // WINDOWS
        target = self._probabilities(photo).argmax().item()
        self.controls.report(0, f"where does it see {self.net.classes[target]}?")
        progress = Progress(self.controls, checkpoint, "{} of {} places covered")
        options = {"window": window, "stride": max(1, window // 2), "at_once": AT_ONCE, "callback": progress}
        maps = occlusion(self.net, photo, target, **options)
        if photo is self.photo.image:  # else another one has been chosen
            self.map = maps
            self._show_region()

    def _region_of(self, maps):
        """The best part of a map, and a picture of it: the rest is dark."""
        region = region_weights(maps, keep=self.keep.value / 100)
        return region, plots.overlay(self.photo.image, maps) * (0.35 + 0.65 * region)

    def _show_region(self):
        if self.map is not None:
            self.region, image = self._region_of(self.map)
            self.mapped.value = jpeg(image)
            self.paint_button.disabled = False

    def _paint(self, checkpoint):
        progress = Progress(self.controls, checkpoint, "painting: step {} of {}")
        paint, photo, region = self.paint.image, self.photo.image, self.region  # others may be chosen meanwhile
        self._caption = f"{self.paint.name} in the style of that part of {self.photo.name}"

        def painted(step):
            self.image = step.image
            if progress(step.step, step.steps):
                self.painted.value = jpeg(step.image)

        options = {"style_masks": region, "net": self.net, "steps": self.steps, "callback": painted}
        self.image = stylize(paint, photo, **options).image
        self.painted.value = jpeg(self.image)
        checkpoint()
        self.controls.report(1, self._caption)


def _bar(name, before, after):
    """A class score: its bar is dark as far as with the patch, and pale as far as without it."""
    fill = f"#0072b2 {after:.1%}, #0072b266 {after:.1%} {max(before, after):.1%}, #80808033 0"
    return (
        f'<div style="margin-top: 4px">{escape(name)} '
        f'<span style="float: right">{before:.0%} → <b>{after:.0%}</b></span></div>'
        f'<div style="height: 12px; background: linear-gradient(90deg, {fill})"></div>'
    )
