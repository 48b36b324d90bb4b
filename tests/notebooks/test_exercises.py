"""Exercise sheets: the blank ones come from the solved ones, and their checks tell right from not yet written."""

import contextlib
import re

import matplotlib.pyplot as plt
import nbformat
import pytest

from tools.site import exercises

SOLVED = sorted(exercises.SOLUTIONS.glob("*.ipynb"))


def sheet_of(path):
    return nbformat.read(path, as_version=4)


def checks(sheet):
    return [cell for cell in sheet.cells if "check" in cell.metadata.get("tags", [])]


def test_there_are_twenty_to_thirty_in_every_chapter():
    counts = {path.stem: len(checks(sheet_of(path))) for path in SOLVED}
    chapters = {
        path.stem
        for path in exercises.SOLUTIONS.parent.glob("[0-9]*.ipynb")
        if "## Exercises" in path.read_text("utf-8")
    }
    assert (
        counts.keys() == chapters
        and all(3 <= count <= 5 for count in counts.values())
        and 20 <= sum(counts.values()) <= 30
    )


@pytest.mark.parametrize("path", SOLVED, ids=lambda path: path.stem)
def test_the_blank_sheet_is_the_solved_one_without_its_solutions(path):
    blank = sheet_of(exercises.BLANKS / path.name)
    assert blank == exercises.blank(sheet_of(path)), "run python -m tools.site.exercises"
    text = nbformat.writes(blank)
    assert "SOLUTION" not in text and text.count("raise NotImplementedError") >= len(checks(blank))


@pytest.mark.parametrize("path", SOLVED, ids=lambda path: path.stem)
def test_each_exercise_has_a_text_hints_a_stub_and_a_check(path):
    cells = sheet_of(path).cells
    titles = [i for i, cell in enumerate(cells) if cell.cell_type == "markdown" and re.match(r"## \d+\. ", cell.source)]
    assert [int(re.match(r"## (\d+)", cells[i].source)[1]) for i in titles] == list(
        range(1, len(checks(sheet_of(path))) + 1)
    )
    for begin, end in zip(titles, [*titles[1:], len(cells)]):
        assert 1 <= cells[begin].source.count("<summary>Hint") <= 3
        *_, stub, check = cells[begin:end]
        assert exercises.SOLUTION.search(stub.source) and check in checks(sheet_of(path))
        assert check.outputs[-1].text.endswith("correct\n")  # as it was run last


@pytest.mark.parametrize("path", SOLVED, ids=lambda path: path.stem)
def test_a_blank_sheet_fails_every_check_with_a_sentence(path, monkeypatch, capsys):
    monkeypatch.chdir(exercises.BLANKS)
    names = {"display": print}
    for cell in (cell for cell in sheet_of(exercises.BLANKS / path.name).cells if cell.cell_type == "code"):
        is_check = "check" in cell.metadata.get("tags", [])
        with pytest.raises(NotImplementedError, match="write this") if is_check else contextlib.nullcontext():
            exec(re.sub(r"^%.*$", "", cell.source, flags=re.MULTILINE), names)  # in a kernel it takes ten times as long
    assert "correct" not in capsys.readouterr().out
    plt.close("all")
