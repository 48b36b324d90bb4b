"""Make the blank exercise sheets, notebooks/exercises/, from the solved ones, notebooks/solutions/.

    python -m tools.site.exercises             # after a change of a solved sheet
    python -m tools.site.exercises --refresh   # run the solved sheets first, and store their outputs

A solved sheet marks what the student is to write as nbgrader does, with "### BEGIN SOLUTION" and "### END SOLUTION";
the blank one has a stub there, and no markdown cell tagged "solution", which explains the answer above it. A cell
tagged "check" says whether the exercise above it is right.
"""

import argparse
import re
import sys
from pathlib import Path

import nbformat

from d2lstyle.engine.files import write_whole

from . import course

SOLUTIONS = Path(__file__).resolve().parents[2] / "notebooks" / "solutions"
BLANKS = SOLUTIONS.with_name("exercises")
SOLUTION = re.compile(r"^( *)### BEGIN SOLUTION\n.*?^ *### END SOLUTION", re.DOTALL | re.MULTILINE)
STUB = r'\1# your code here\n\1raise NotImplementedError("write this, run the cell, then the check below")'


def blank(solved):
    """A copy of a solved sheet without what the student is to write or not yet to read, and without outputs."""
    sheet = nbformat.from_dict(solved)
    sheet.cells = [cell for cell in sheet.cells if "solution" not in cell.metadata.get("tags", [])]
    for cell in sheet.cells:
        cell.source = SOLUTION.sub(STUB, cell.source)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return sheet


def solve(path):
    """Run a solved sheet, and store its outputs."""
    sheet = course.run(path, timeout=300, show=lambda text: None)
    if failed := sheet.metadata["course"]["failed"]:
        sys.exit(f"{path.stem} failed in {failed}")
    course.refresh(sheet, path)


def main():
    """Write every blank sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="?", default="", help="only the sheets with this in their name")
    parser.add_argument("--refresh", action="store_true", help="run the solved sheets first")
    options = parser.parse_args()
    BLANKS.mkdir(exist_ok=True)
    for path in sorted(path for path in SOLUTIONS.glob("*.ipynb") if options.part in path.stem):
        if options.refresh:
            solve(path)
        write_whole(BLANKS / path.name, nbformat.writes(blank(nbformat.read(path, as_version=4))) + "\n")
        print(path.stem)


if __name__ == "__main__":
    main()
