"""A lab on fine-tuning: freeze, choose learning rates, train, and look at the worst mistakes."""

import base64
from html import escape

import ipywidgets as widgets

from .. import plots
from ..backbones import backbone
from ..datasets.loading import load_dataset
from ..finetune import freeze, replace_head, stages
from ..images import resize
from ..samples.vending import DOMAINS
from ..training import evaluate, fit
from .lab import LABELS, WIDE, Lab, columns, jpeg
from .line_chart import line_chart
from .run_controls import Pace, RunControls, Throttle, minutes

MISTAKES = 6
TESTED = 5  # images a class, of validation and test


class FineTuneLab(Lab):
    """Train a pretrained network on the goods of the vending machine; the settings are read when Start is pressed.

    Args:
        root: the folder where the pictures are, or will be drawn.
        net: a `Backbone` with a classifier, or None for `backbone("auto")`.
        images: of each class, to train on.
        epochs: passes over them.
        size: pixels of the images' sides.
        seed: of the draw of images, the new head and the order.

    Attributes:
        sliders: {name: widget}; place: where the mistakes are looked for.
        model: the classifier trained last, or None.
        losses, accuracies: the curves: [(step, loss)] and [(epoch, accuracy on validation images)].
        result: Evaluation on the test images, or None.
    """

    def __init__(self, root="data", *, net=None, images=5, epochs=5, size=96, seed=0):
        super().__init__()
        self.root, self.size, self.seed = root, size, seed
        self.net = backbone("auto") if net is None else net
        self.model, self.result, self.losses, self.accuracies = None, None, [], []
        self._n_stages = len(stages(replace_head(self.net, 2)))
        self.sliders = _sliders(self._n_stages, images, epochs)
        self.place = widgets.Dropdown(
            options=list(DOMAINS), value="showroom", description="tested in", style=LABELS, layout=WIDE
        )
        self.controls = RunControls(self, self.start)
        self.charts = widgets.HTML(layout=WIDE)
        self.mistakes = widgets.HTML(layout=WIDE)
        self.show(
            columns(
                ("360px", [*self.sliders.values(), self.place, self.controls.view]),
                ("400px", [self.charts, self.mistakes]),
            )
        )
        self._draw_charts(epochs)

    def start(self):
        """Train with what the controls stand at."""
        settings = {name: slider.value for name, slider in self.sliders.items()}
        place = self.place.value
        self.controls.begin(lambda checkpoint: self._train(settings, place, checkpoint))

    def still(self):
        """Mistakes of the last training, or of a short one in which the body is held still."""
        if self.result is None:
            settings = {"freeze": self._n_stages, "lr": 1e-3, "head_multiplier": 10, "images": 2, "epochs": 2}
            train, _, test = self._data(2, self.place.value, tested=2)
            model = self._model(settings, len(train.classes))
            fit(model, train, epochs=2, lr=1e-3, batch_size=16, seed=self.seed, device=self.net.mean.device)
            result, said = evaluate(model, test), "Trained for a moment on two pictures a class"
        else:
            test, result, said = self._test, self.result, "Trained"
        rows = _worst(result)
        titles = [f"is {test.classes[result.labels[i]]},\nseen as {test.classes[result.predictions[i]]}" for i in rows]
        images = test.batch(rows)[0] if rows else test.batch([0])[0]
        title = f"{said}: {float(result):.0%} right in the {self.place.value.replace('_', ' ')}; the worst mistakes"
        return plots.show_images(images, titles or None, columns=MISTAKES, title=title)

    def _data(self, images, place, checkpoint=None, tested=TESTED):
        """Training, validation and test images; progress is shown where there is a checkpoint to look in at."""

        def progress(text):
            if checkpoint is None:
                return None

            def show(done, total):
                self.controls.report(done / total, f"{text}: {done} of {total} pictures")
                checkpoint()

            return show

        options = {"root": self.root, "size": self.size, "seed": self.seed}
        return (
            load_dataset("vending", "train", per_class=images, callback=progress("training set"), **options),
            load_dataset("vending", "validation", per_class=tested, callback=progress("validation set"), **options),
            load_dataset("vending", "test", domain=place, per_class=tested, callback=progress("test set"), **options),
        )

    def _model(self, settings, n_classes):
        return freeze(replace_head(self.net, n_classes, seed=self.seed), until=settings["freeze"])

    def _train(self, settings, place, checkpoint):
        self.losses, self.accuracies, self.result = [], [], None
        self.mistakes.value = ""
        train, validation, test = self._data(settings["images"], place, checkpoint)
        model = self._model(settings, len(train.classes))
        pace, draw = Pace(), Throttle(0.5)

        def trained(step):
            pace.end()
            self.losses.append((step.step, step.loss))
            if step.validation is not None:
                self.accuracies.append((step.epoch, step.validation))
            if draw() or step.validation is not None:
                left = minutes(pace.seconds(step.steps - step.step))
                text = f"epoch {step.epoch} of {step.epochs}, step {step.step} of {step.steps}, {left} left"
                self.controls.report(step.step / step.steps, text)
                self._draw_charts(step.epochs)
            checkpoint()
            pace.begin()

        fit(
            model,
            train,
            validation,
            epochs=settings["epochs"],
            lr=settings["lr"],
            head_multiplier=settings["head_multiplier"],
            batch_size=16,
            seed=self.seed,
            device=self.net.mean.device,
            callback=trained,
        )
        checkpoint()
        self.model, self._test, self.result = model, test, evaluate(model, test)
        self.controls.report(
            1, f"{float(self.result):.0%} of {len(test)} pictures right in the {place.replace('_', ' ')}"
        )
        self.mistakes.value = _figures(test, self.result)

    def _draw_charts(self, epochs):
        loss = line_chart({"loss": tuple(zip(*self.losses)) or ((), ())}, "step", "Loss of training", size=(240, 200))
        accuracy = line_chart(
            {"validation": tuple(zip(*self.accuracies)) or ((), ())},
            "epoch",
            "Accuracy of validation",
            bounds=(0, 1),
            size=(240, 200),
        )
        self.charts.value = f'<div style="display: flex">{loss}{accuracy}</div>'


def _sliders(n_stages, images, epochs):
    options = {"style": LABELS, "layout": WIDE}
    return {
        "freeze": widgets.IntSlider(min(5, n_stages), min=0, max=n_stages, description="frozen stages", **options),
        "lr": widgets.FloatLogSlider(
            3e-4, min=-5, max=-2, step=0.1, description="lr of the body", readout_format=".1e", **options
        ),
        "head_multiplier": widgets.IntSlider(10, min=1, max=50, description="head: times that", **options),
        "images": widgets.IntSlider(images, min=1, max=20, description="images a class", **options),
        "epochs": widgets.IntSlider(epochs, min=1, max=20, description="epochs", **options),
    }


def _worst(result):
    """Positions of the mistakes, those first that the model was surest of."""
    sure = result.probabilities.max(1).values.masked_fill(result.predictions == result.labels, -1)
    order = sure.argsort(descending=True)[:MISTAKES]
    return order[sure[order] >= 0].tolist()


def _figures(test, result):
    """The worst mistakes with their names."""
    rows = _worst(result)
    if not rows:
        return "<b>No mistakes</b>"
    parts = []
    for i, image in zip(rows, test.batch(rows)[0].split(1)):
        data = base64.b64encode(jpeg(resize(image, 128))).decode()
        is_, seen = (escape(test.classes[labels[i]]) for labels in (result.labels, result.predictions))
        parts.append(
            f'<figure style="margin: 4px 0; width: 32%">'
            f'<img style="width: 45%" src="data:image/jpeg;base64,{data}" alt="{is_}">'
            f"<figcaption>is <b>{is_}</b><br>seen as <b>{seen}</b>, {result.probabilities[i].max():.0%}</figcaption></figure>"
        )
    return f'<b>The worst mistakes</b><div style="display: flex; flex-wrap: wrap">{"".join(parts)}</div>'
