"""A number that changed in a notebook fails `make test`; an address in memory does not."""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

SANITIZE = Path(__file__).resolve().parents[1] / "sanitize.cfg"


def nbval(notebook, folder):
    """Check a notebook in a folder of its own as the Makefile does; return the finished process."""
    nbformat.write(notebook, folder / "tiny.ipynb")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "--nbval-sanitize-with", SANITIZE, "."],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def notebook():
    """Two cells with the outputs they will give again, but for an address."""

    def cell(source, text, count):
        output = new_output("execute_result", data={"text/plain": text}, execution_count=count)
        return new_code_cell(source, execution_count=count, outputs=[output])

    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [cell("object()", "<object at 0x7f00deadbeef>", 1), cell("two_and_two = 2 + 2\ntwo_and_two", "4", 2)]
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


def test_right_numbers_pass(notebook, tmp_path):
    result = nbval(notebook, tmp_path)
    assert result.returncode == 0, result.stdout


def test_a_changed_number_fails_and_its_cell_is_named(notebook, tmp_path):
    notebook.cells[1].outputs[0].data["text/plain"] = "5"
    result = nbval(notebook, tmp_path)
    assert result.returncode == 1
    assert "tiny.ipynb::Cell 1" in result.stdout and "two_and_two = 2 + 2" in result.stdout
    assert "1 failed, 1 passed" in result.stdout
