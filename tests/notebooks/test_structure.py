"""What nbval cannot say about a notebook: that it was run, is small, and keeps to the house plan, cell by cell."""

import re
from pathlib import Path
from statistics import median

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools.site import decks, pages

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))

# "raises-exception" is the one tag for a wanted error that nbval and nbclient both know.
# "nbval-skip" is not here: a cell that is not run on its own proves nothing.
KNOWN_TAGS = {"parameters", "nbval-ignore-output", "nbval-check-output", "raises-exception", "hide-input"}
KNOWN_TAGS |= {"show-input"}  # on slides, where else the code of a cell is left out
KNOWN_TAGS |= {"exercise", "solution", "lab"}
SLIDE_TYPES = {"slide", "subslide", "fragment", "skip", "notes", "-"}
CODE_CELLS = range(15, 26)  # besides exercises, solutions and labs
MEDIAN_LINES, MAX_LINES = 5, 20  # of a code cell, blank lines left out
MAX_NOTEBOOK = 1_500_000  # bytes
MAX_IMAGE = 300_000  # bytes
MAX_PNG = 60_000  # bytes; above this a figure is a photo and should be a JPEG
NOT_IN_CODE = re.compile(r"^\s*[%!]\s*(?:pip|conda|mamba|uv)\b|\bsys\.path\b", re.MULTILINE)


def problems(notebook):
    """What is wrong with a notebook, one line each; an empty list when it is good."""
    faults = problems_of_notebook(notebook)
    for number, cell in enumerate(notebook.cells, start=1):
        check = problems_of_code if cell.cell_type == "code" else problems_of_prose
        faults += [f"cell {number}: {problem}" for problem in problems_of_any_cell(cell) + check(cell)]
    return faults


def problems_of_notebook(notebook):
    """What can be said of the notebook as a whole only."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    counted = [cell for cell in code if not {"exercise", "solution", "lab"} & tags(cell)]
    first = notebook.cells[0] if notebook.cells else new_markdown_cell()
    size = len(nbformat.writes(notebook).encode())
    is_titled = first.cell_type == "markdown" and first.source.startswith("# ")
    is_short = median(map(n_lines, code or [first])) <= MEDIAN_LINES
    in_order = [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    claims = {
        "first cell is not a markdown cell with a heading '# '": is_titled,
        f"{len(counted)} code cells, not {CODE_CELLS[0]} to {CODE_CELLS[-1]}": len(counted) in CODE_CELLS,
        f"half of the code cells have more than {MEDIAN_LINES} lines": is_short,
        "code cells were not run once each from top to bottom": in_order,
        "not exactly one cell is tagged 'parameters'": sum("parameters" in tags(cell) for cell in code) == 1,
        "widget state is stored in the metadata": "widgets" not in notebook.metadata,
        f"{size} bytes are more than {MAX_NOTEBOOK}": size <= MAX_NOTEBOOK,
    }
    return [problem for problem, holds in claims.items() if not holds]


def problems_of_any_cell(cell):
    """Metadata that every cell needs."""
    faults = [f"unknown tag {tag!r}" for tag in sorted(tags(cell) - KNOWN_TAGS)]
    if cell.metadata.get("slideshow", {}).get("slide_type") not in SLIDE_TYPES:
        faults.append("no slide_type in its slideshow metadata")
    return faults


def problems_of_prose(cell):
    """Formulas that the pages of `make course` could not show."""
    if cell.cell_type != "markdown":
        return []
    reasons = re.findall(r'math-core-error" title=(.*?)><', pages.to_html(cell.source))
    return [f"formula: {reason}" for reason in reasons]


def problems_of_code(cell):
    """The code and what it put out."""
    faults = []
    if n_lines(cell) > MAX_LINES:
        faults.append(f"{n_lines(cell)} lines are more than {MAX_LINES}")
    if cell.source.rstrip().endswith(";"):
        faults.append("trailing ';' (nbval does not silence it: write _ = ...)")
    if match := NOT_IN_CODE.search(cell.source):
        faults.append(f"{match[0].strip()!r} has no place in a notebook")
    for output in cell.outputs:
        if output.output_type == "error" and "raises-exception" not in tags(cell):
            faults.append(f"stored error {output.ename}")
        faults += problems_of_images(output.get("data", {}))
    return faults


def problems_of_images(data):
    """Images of one output that are too large or in the wrong format."""
    for mime, content in data.items():
        size = len(content) * 3 // 4 if mime in decks.PICTURES else len(content)  # the former are base64 text
        if mime.startswith("image/") and size > MAX_IMAGE:
            yield f"{mime} of {size} bytes, more than {MAX_IMAGE}"
        elif mime.startswith("image/") and mime != "image/jpeg" and size > MAX_PNG:
            yield f"{mime} of {size} bytes should be a JPEG"


def tags(cell):
    """The tags of a cell."""
    return set(cell.metadata.get("tags", []))


def n_lines(cell):
    """Lines of a cell that are not blank."""
    return sum(bool(line.strip()) for line in cell.source.splitlines())


def good_notebook():
    """A notebook with no fault: title, prose, parameters, then the least number of code cells."""

    def slide(cell):
        return {**cell, "metadata": {"slideshow": {"slide_type": "slide"}, **cell.metadata}}

    cells = [new_markdown_cell("# Title"), new_markdown_cell(r"Prose, $x^2$")]
    cells.append(new_code_cell("seed = 0", execution_count=1, metadata={"tags": ["parameters"]}))
    cells += [new_code_cell("x = 1", execution_count=count) for count in range(2, CODE_CELLS[0] + 1)]
    return nbformat.from_dict({**new_notebook(), "cells": [slide(cell) for cell in cells]})


def show(mime, n_bytes):
    """A stored image output of about that size."""
    return new_output("display_data", data={mime: "A" * (n_bytes * 4 // 3 + 8)})


def test_a_good_notebook_has_no_problems():
    assert problems(good_notebook()) == []


def set_source(at, source):
    return lambda notebook: notebook.cells[at].update(source=source)


def set_tags(at, *names):
    return lambda notebook: notebook.cells[at].metadata.update(tags=list(names))


def set_count(at, count):
    return lambda notebook: notebook.cells[at].update(execution_count=count)


def add_output(output):
    return lambda notebook: notebook.cells[-1].outputs.append(output)


def stretch(notebook):
    for cell in notebook.cells[3:]:
        cell.source = "x = 1\n" * (MEDIAN_LINES + 1)


DEFECTS = {
    "not run": (set_count(-1, None), "not run once each"),
    "run twice": (set_count(4, 99), "not run once each"),
    "no heading": (set_source(0, "Title"), "first cell"),
    "too few code cells": (lambda notebook: notebook.cells.pop(), "14 code cells"),
    "exercises do not count": (set_tags(-1, "exercise"), "14 code cells"),
    "long cells": (stretch, "half of the code cells"),
    "one long cell": (set_source(5, "x = 1\n" * (MAX_LINES + 1)), "cell 6: 21 lines"),
    "no parameters": (set_tags(2), "tagged 'parameters'"),
    "widget state": (lambda notebook: notebook.metadata.update(widgets={}), "widget state"),
    "large file": (set_source(1, "word " * (MAX_NOTEBOOK // 5)), "bytes are more than"),
    "unknown tag": (set_tags(4, "nbval-skip"), "cell 5: unknown tag 'nbval-skip'"),
    "no slide type": (lambda notebook: notebook.cells[1].metadata.clear(), "cell 2: no slide_type"),
    "wrong slide type": (lambda notebook: notebook.cells[1].metadata.slideshow.clear(), "cell 2: no slide_type"),
    "formula": (set_source(1, r"$$\nonsense{x}$$"), r"\nonsense"),
    "semicolon": (set_source(4, "x = 1;\n"), "cell 5: trailing ';'"),
    "installs": (set_source(4, "%pip install x"), "'%pip' has no place"),
    "installs by shell": (set_source(4, "x = 1\n! pip install x"), "'! pip' has no place"),
    "path surgery": (set_source(4, "import sys\nsys.path.append('..')"), "'sys.path' has no place"),
    "error": (add_output(new_output("error", ename="ValueError", evalue="", traceback=[])), "stored error ValueError"),
    "large PNG": (add_output(show("image/png", MAX_PNG)), "should be a JPEG"),
    "huge JPEG": (add_output(show("image/jpeg", MAX_IMAGE)), "more than 300000"),
    "huge PNG": (add_output(show("image/png", MAX_IMAGE)), "more than 300000"),
}


@pytest.mark.parametrize("spoil, expected", DEFECTS.values(), ids=DEFECTS)
def test_each_defect_is_found_alone(spoil, expected):
    notebook = good_notebook()
    spoil(notebook)
    (fault,) = problems(notebook)
    assert expected in fault


def test_wanted_errors_and_photos_are_fine():
    notebook = good_notebook()
    set_tags(-1, "raises-exception")(notebook)
    add_output(new_output("error", ename="ValueError", evalue="", traceback=[]))(notebook)
    add_output(show("image/jpeg", MAX_PNG))(notebook)
    assert problems(notebook) == []


def test_there_is_a_notebook_for_each_chapter():
    assert [path.stem[:2] for path in NOTEBOOKS] == [f"{number:02}" for number in range(1, len(NOTEBOOKS) + 1)] != []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path):
    assert problems(nbformat.read(path, as_version=4)) == []
