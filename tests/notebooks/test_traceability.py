"""Every heading and every test named in the table of traceability exists."""

import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
TABLE = (ROOT / "notebooks" / "TRACEABILITY.md").read_text("utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TABLE.splitlines() if line.startswith("| ")]
ROWS = [row for row in ROWS if ".py::test_" in row[2]]


def headings(chapter):
    (path,) = (ROOT / "notebooks").glob(f"{chapter}_*.ipynb")
    prose = (cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
    return {line.lstrip("# ") for text in prose for line in text.splitlines() if line.startswith("#")}


def test_the_table_is_whole():
    assert len(ROWS) == TABLE.count("\n| ") - 2  # but for the two heads
    assert {place[:2] for _, places, _ in ROWS for place in places.split("; ")} == {f"0{n}" for n in range(1, 8)}


@pytest.mark.parametrize("source, places, tests", ROWS, ids=[row[0] for row in ROWS])
def test_what_a_row_names_exists(source, places, tests):
    for place in places.split("; "):
        chapter, heading = place.split(": ", 1)
        assert any(title.startswith(heading) for title in headings(chapter)), (
            f"chapter {chapter} has no heading {heading!r}"
        )
    for file, name in re.findall(r"`([\w/]+\.py)::(\w+)`", tests):
        assert f"def {name}(" in (ROOT / "tests" / file).read_text("utf-8"), f"{file} has no {name}"
