"""The examples in the docstrings, each in its file's own names."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest
import torch

PACKAGE = Path(__file__).resolve().parents[1] / "d2lstyle"
FILES = sorted(path.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("*.py") if ">>>" in path.read_text("utf-8"))


@pytest.mark.parametrize("file", FILES, ids=str)
def test_the_examples_hold(file):
    module = import_module(".".join(file.with_suffix("").parts).removesuffix(".__init__"))
    outcome = doctest.testmod(module, extraglobs={"torch": torch}, optionflags=doctest.ELLIPSIS)
    assert outcome.attempted >= 1 and outcome.failed == 0
