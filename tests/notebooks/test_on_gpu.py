"""Every cell of every chapter on the GPU that is not there (`pretend_gpu`), small: none mixes two devices."""

import ast
import functools
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import FunctionType
from unittest.mock import Mock

import joblib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from IPython.core.inputtransformer2 import TransformerManager
from packaging.version import Version
from PIL import Image
from pretend_gpu import pretend_gpu

import d2lstyle as ds
from d2lstyle import experiment
from d2lstyle.datasets import loading
from d2lstyle.engine import networks
from d2lstyle.images import resize
from d2lstyle.labs import background, lab
from d2lstyle.samples import vending

ROOT = Path(__file__).resolve().parents[2]
SIDE = 64  # pixels, of any picture at most; a network takes no less than 32
QUICK_TO_DRAW = ["mosaic", "seigaiha", "gilded", "engraving"]
KNOBS = {
    "01": {"SEEDS": 2, "IMAGES": 1, "EPOCHS": 1, "TESTS": 1, "PLACES": ["studio", "showroom"]},
    "02": {"IMAGES": 1, "CHECK": 1, "EPOCHS": 1, "SEEDS": 2, "SIZES": [1], "RATES": [0.001], "DEPTHS": [9]},
    "03": {"SIZE": 64, "SMALL": 64, "STEPS": 2, "LARGE": 64},
    "04": {"SIZE": 48, "WINDOW": 16, "STRIDE": 16, "PAINT_SIZE": 48, "STEPS": 2},
    "05": {"SIZE": 32, "STRIP_SIZE": 32, "STEPS": 3, "BANK": 2, "BANK_SIZE": 32, "BANK_STEPS": 1},
    "06": {"IMAGES": 1, "MODEL": "scratch"},
    "07": {"STEPS": {"ring": 2, "digits": 50, "goods": 2, "arms": 2}, "SEEDS": 2, "BUDGETS": [5]},
    "08": {"SIZE": 32, "STEPS": 2},
}
KNOBS["02"]["SIZE"] = 32
KNOBS["03"]["STYLE"], KNOBS["05"]["STYLES"] = QUICK_TO_DRAW[0], QUICK_TO_DRAW
KNOBS["04"] |= {"PHOTOS": ["chelsea", "coffee"], "PAINTINGS": QUICK_TO_DRAW[:1], "KEEPS": {"1": 1, "1/4": 0.25, "2": 2}}
CHAPTERS = [next((ROOT / "notebooks").glob(f"{number}_*.ipynb")) for number in KNOBS]
DEAR = ("fit", "evaluate", "stylize", "occlusion", "cascading_randomization", "deletion_curve", "insertion_curve")


@pytest.fixture
def small(monkeypatch, tmp_path, request):
    """A folder like notebooks/ to be in; photos, paintings, goods and runs are small."""
    for folder in ("notebooks", "data"):
        (tmp_path / folder).mkdir()
    (tmp_path / "data/results").symlink_to(ROOT / "data/results")
    monkeypatch.chdir(tmp_path / "notebooks")
    # Drawing takes long and has nothing to do with devices: goods are noise. Chapter 07 counts on a hundred of each.
    train = 100 if request.node.callspec.id.startswith("07") else 10
    monkeypatch.setattr(vending, "draw", lambda *place: Image.fromarray(noise(*place)))
    monkeypatch.setattr(vending, "PER_CLASS", {"train": train, "validation": 10, "test": 5})
    monkeypatch.setitem(loading._SIZES, "vending", 32)
    for name in ("sample", "painting"):
        monkeypatch.setattr(ds, name, capped(getattr(ds, name)))
    monkeypatch.setattr(ds, "painting_names", lambda: QUICK_TO_DRAW[:2])
    monkeypatch.setitem(ds.stylize.__wrapped__.__kwdefaults__, "steps", 1)  # one cell leaves them open
    recipe = networks.RECIPES["efficientnet_lite0"]
    monkeypatch.setitem(networks.RECIPES, "efficientnet_lite0", shallow(recipe))
    for name in DEAR:
        monkeypatch.setattr(ds, name, once_a_line(getattr(ds, name)))
    quick = {"size": 32, "paint_size": 32, "steps": 1, "arms": tuple("ABCDFG"), "styles": ("starry", "mosaic")}
    monkeypatch.setattr(experiment, "QUICK", replace(experiment.QUICK, **quick))
    monkeypatch.setattr(joblib, "cpu_count", lambda *args, **options: 1)  # the GPU is not there in other processes
    monkeypatch.setattr(lab, "Task", TaskAtOnce)


class TaskAtOnce(background.Task):
    """Work of a lab, done before `start` returns: the GPU is there in one thread only."""

    start = background.Task.run


def noise(*place):
    """Bytes (32, 32, 3), others at each place."""
    return np.random.default_rng(list(repr(place).encode())).integers(256, size=(32, 32, 3), dtype=np.uint8)


def capped(picture):
    """ds.sample or ds.painting, square and with at most SIDE pixels a side."""

    def small(name, size=SIDE, **options):
        side = min(int(np.max(size)), SIDE)
        return resize(picture(name, side, **options), (side, side))

    return small


def shallow(recipe):
    """EfficientNet-Lite0 with the first block of each stage alone: half of the launches, and every kind of layer."""

    def builder(name):
        def build():
            model = recipe.builder(name)()
            for stage in model.blocks:
                del stage[1:]
            return model

        return build

    def state(name, model):
        with torch.device("meta"):
            weights = recipe.state(name, recipe.builder(name)())
        return {key: weights[key] for key in model.state_dict()}

    return replace(recipe, builder=builder, state=state)


def once_a_line(function):
    """Of many steps two are done, and in a loop the first call alone: others do the same on a GPU, and get its result.

    Calls are told apart by the kinds of their arguments, by names and by functions; a cell's own callback is called.
    """
    kept = {}

    @functools.wraps(function)
    def call(*args, **options):
        if isinstance(options.get("steps"), int):
            options["steps"] = min(options["steps"], 2)
        if getattr(options.get("callback"), "__module__", None) == "__main__":
            return function(*args, **options)
        frame, key = sys._getframe(1), list(options)
        for value in (*args, *options.values()):
            key.append(value if isinstance(value, (str, FunctionType)) else type(value))
        key = frame.f_code.co_filename, frame.f_lineno, *key
        if key not in kept:
            kept[key] = function(*args, **options)
        return kept[key]

    return call


def code_of(cell, name):
    """A cell's code and its last expression or None, compiled; of many steps one is done, of epochs two.

    A network of fewer layers forgets them by four at a time, not five.
    """
    source = TransformerManager().transform_cell("".join(cell["source"]))
    for knob, value in {"steps": 1, "epochs": 2, "every": 4}.items():
        source = re.sub(rf"\b{knob}=\d+", f"{knob}={value}", source)
    tree = ast.parse(source)
    last = [tree.body.pop()] if isinstance(tree.body[-1], ast.Expr) else []
    return compile(tree, name, "exec"), compile(ast.Expression(last[0].value), name, "eval") if last else None


@pytest.mark.filterwarnings(
    "ignore:.*log:UserWarning", "ignore:divide by zero"
)  # a step takes no time: its bar is empty
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapter(path, small):
    if path.stem.startswith("03") and Version(torch.__version__) < Version("2.9"):
        pytest.skip("torch 2.6 hands a tensor of backward() on that the pretended GPU has not wrapped")
    names = {"__name__": "__main__", "display": print, "get_ipython": Mock()}
    cells = [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    with pretend_gpu() as log:
        for number, cell in enumerate(cells):
            (code, last), tags = code_of(cell, f"<cell {number}>"), cell["metadata"].get("tags", [])
            exec(code, names)
            shown = eval(last, names) if last else None
            if "parameters" in tags:
                names |= KNOBS[path.stem[:2]]
            if "lab" in tags:
                assert shown._repr_mimebundle_() and shown.error is None
            plt.close("all")
    assert log.launch.total() > 100  # it was there
