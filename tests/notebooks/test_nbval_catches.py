"""A number that changed in a notebook fails `make test`; an address in memory does not."""

import subprocess
import sys
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook, new_output

SANITIZE = Path(__file__).resolve().parents[1] / "sanitize.cfg"


def notebook(four):
    """Two cells with the outputs they will give again, but for an address, if 2 + 2 is `four`."""

    def cell(source, text, count):
        output = new_output("execute_result", data={"text/plain": text}, execution_count=count)
        return new_code_cell(source, execution_count=count, outputs=[output])

    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [cell("object()", "<object at 0x7f00deadbeef>", 1), cell("two_and_two = 2 + 2\ntwo_and_two", four, 2)]
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


def test_right_numbers_pass_and_a_changed_one_fails_with_its_cell_named(tmp_path):
    for name, four in (("right", "4"), ("wrong", "5")):
        nbformat.write(notebook(four), tmp_path / f"{name}.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "--nbval-sanitize-with", SANITIZE, "."]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)  # as the Makefile does
    assert result.returncode == 1 and "1 failed, 3 passed" in result.stdout
    assert "wrong.ipynb::Cell 1" in result.stdout and "two_and_two = 2 + 2" in result.stdout
