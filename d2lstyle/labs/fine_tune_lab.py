"""A lab on fine-tuning: freeze, choose learning rates, train, and look at the worst mistakes."""

from functools import partial

import ipywidgets as widgets

from .. import plots
from ..backbones import backbone
from ..datasets.loading import load_dataset
from ..finetune import freeze, replace_head, stages
from ..samples.vending import DOMAINS
from ..training import evaluate, fit
from .lab import WIDE, Lab, drawn, menu, picture, slider
from .line_chart import LineChart
from .run_controls import Progress, RunControls

MISTAKES = 6
TESTED = 5  # images per class, of validation and test
QUICK = {"lr": 1e-3, "head_multiplier": 10, "images": 2, "epochs": 2}


class FineTuneLab(Lab):
    """Train a pretrained network on the goods of the vending machine; the settings are read when Start is pressed.

    Args:
        root: the folder where the pictures are, or will be drawn.
        net: a `Backbone` with a classifier, or None for EfficientNet-Lite0.
        images: of each class, to train on.
        epochs: passes over them.
        size: pixels of the images' sides.
        seed: of the draw of images, the new head and the order.

    Attributes:
        sliders: {name: widget}; place: where the mistakes are looked for.
        model: the classifier trained last, or None.
        history: FitSteps of the last training.
        losses, accuracies: the curves: [(step, loss)] and [(epoch, accuracy on validation images)].
        result: Evaluation on the test images, or None.
    """

    losses = property(lambda self: [(step.step, step.loss) for step in self.history])
    accuracies = property(
        lambda self: [(step.epoch, step.validation) for step in self.history if step.validation is not None]
    )

    def __init__(self, root="data", *, net=None, images=5, epochs=5, size=96, seed=0):
        super().__init__()
        self.net = backbone("efficientnet_lite0") if net is None else net
        self.seed, self._options = seed, {"root": root, "size": size, "seed": seed}
        self.model, self.result, self._figure, self.history = None, None, None, []
        self._n_stages = len(stages(replace_head(self.net, 2)))
        self.sliders = {
            "freeze": slider("frozen stages", min(5, self._n_stages), 0, self._n_stages, 1),
            "lr": slider("lr of the body", 3e-4, 1e-5, 1e-2, "log", readout_format=".1e"),
            "head_multiplier": slider("head: times that", 10, 1, 50, 1),
            "images": slider("images per class", images, 1, 20, 1),
            "epochs": slider("epochs", epochs, 1, 20, 1),
        }
        self.place = menu("tested in", list(DOMAINS), "showroom")
        self.controls, self.mistakes = RunControls(self, self._train), picture("mistakes")
        self._charts = [
            LineChart(["training"], "step", "Loss of training", size=(2.4, 2.3)),
            LineChart(["validation"], "epoch", "Accuracy of validation", size=(2.4, 2.3), bounds=(0, 1)),
        ]
        for chart in self._charts:
            chart.view.layout.width = "50%"
        self.mistakes.layout.display = "none"  # until there are any
        charts = widgets.HBox([chart.view for chart in self._charts], layout=WIDE)
        self.show([*self.sliders.values(), self.place, self.controls.view], [charts], self.mistakes)
        self._draw_charts()

    def still(self):
        """Mistakes of the last training, or of a short one in which the body is held still."""
        if self.result is not None:
            return self._figure
        place = self.place.value
        train, _, test = self._data(QUICK["images"], place, tested=2)
        result = evaluate(self._fit({"freeze": self._n_stages, **QUICK}, train), test)
        return _mistakes(test, result, place, "Trained for a moment on two pictures per class")

    def _train(self, checkpoint):
        settings, place = {name: control.value for name, control in self.sliders.items()}, self.place.value
        self.history, self.result = [], None
        self.mistakes.layout.display = "none"

        def loading(split):
            return Progress(self.controls, checkpoint, split + " set: {} of {} pictures")

        train, validation, test = self._data(settings["images"], place, TESTED, loading)
        progress = Progress(self.controls, checkpoint)

        def trained(step):
            self.history.append(step)
            text = f"epoch {step.epoch} of {step.epochs}, step {step.step} of {step.steps}"
            if progress(step.step, step.steps, text):  # to read the losses is to wait for a GPU
                self._draw_charts(throttled=step.step < step.steps)

        self.model = self._fit(settings, train, validation, trained)
        checkpoint()
        result = evaluate(self.model, test)
        self._figure, self.result = _mistakes(test, result, place, "Trained"), result
        self.mistakes.value, self.mistakes.layout.display = drawn(self._figure), None
        self.controls.report(1, f"{float(result):.0%} of {len(test)} pictures right in the {place.replace('_', ' ')}")

    def _data(self, images, place, tested, loading=lambda split: None):
        """Training, validation and test images."""
        load = partial(load_dataset, "vending", **self._options)
        train = load("train", per_class=images, callback=loading("training"))
        validation = load("validation", per_class=tested, callback=loading("validation"))
        return train, validation, load("test", domain=place, per_class=tested, callback=loading("test"))

    def _fit(self, settings, train, validation=None, callback=None):
        model = freeze(replace_head(self.net, len(train.classes), seed=self.seed), until=settings["freeze"])
        options = {name: settings[name] for name in ("lr", "head_multiplier", "epochs")}
        options |= {"batch_size": 16, "seed": self.seed, "device": self.net.mean.device}
        fit(model, train, validation, callback=callback, **options)
        return model

    def _draw_charts(self, throttled=False):
        for chart, curve in zip(self._charts, [self.losses, self.accuracies]):
            chart.draw([curve], throttled=throttled)


def worst(result):
    """Positions of the mistakes, those first that the model was surest of."""
    sure = result.probabilities.max(1).values.masked_fill(result.predictions == result.labels, -1)
    order = sure.argsort(descending=True)[:MISTAKES]
    return order[sure[order] >= 0].tolist()


def _mistakes(test, result, place, said):
    rows = worst(result)
    names, sure = test.classes, result.probabilities.max(1).values
    pairs = [(names[result.labels[i]], names[result.predictions[i]], sure[i]) for i in rows]
    titles = [f"is {truth},\nseen as {guess}\n({share:.0%})" for truth, guess, share in pairs]
    title = f"{said}: {float(result):.0%} right in the {place.replace('_', ' ')}; the worst mistakes"
    return plots.show_images(test.batch(rows or [0])[0], titles or None, columns=MISTAKES, title=title)
