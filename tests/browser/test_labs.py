"""Each lab in JupyterLab, used by mouse and keyboard as in a lecture room, with screenshots."""

import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_notebook

import d2lstyle as ds

ROOT = Path(__file__).resolve().parents[2]
IMPORTS = "import d2lstyle as ds\nfrom d2lstyle import widgets"
NET = 'net = ds.backbone("efficientnet_lite0")'
LAB_CALL = re.compile(r"\bwidgets\.\w+Lab\(")


def fits(lab):
    """Whether nothing of the lab is cut off or lies beyond the window at its right."""
    right = lab.evaluate("lab => lab.getBoundingClientRect().right")
    items = lab.locator("img, button, select, .widget-readout").evaluate_all(
        "items => items.map(item => item.getBoundingClientRect().right)"
    )
    return max(items) <= right + 1 and right <= 1280


def step_of(notebook):
    """The number of steps that the lab says it has done."""
    match = re.search(r"step (\d+)", notebook.lab.inner_text())
    return int(match[1]) if match else 0


def dotted_lines(notebook):
    """How many there are in the lab's chart; the grid's lines are not dashed."""
    return notebook.picture("chart").count(b"stroke-dasharray: ")


def test_augmentation_lab(open_notebook, tmp_path):
    notebook = open_notebook("augmentation", IMPORTS, "widgets.AugmentationLab()")
    notebook.run()
    first = notebook.changed("draws", b"")
    assert fits(notebook.lab)
    notebook.shot("start")
    notebook.press("hue", "ArrowRight", 8)
    second = notebook.changed("draws", first)
    notebook.until(lambda: "ds.ColorJitter(0.5, 0.5, 0.5, 0.5)" in notebook.lab.inner_text())
    notebook.button("New draw").click()
    notebook.changed("draws", second)
    notebook.button("No change").click()
    notebook.until(lambda: "RandomResizedCrop(128, (1, 1)" in notebook.lab.inner_text())
    notebook.shot("no_change")
    notebook.button("As at first").click()
    notebook.until(lambda: "ds.ColorJitter(0.5, 0.5, 0.5, 0.1)" in notebook.lab.inner_text())

    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    notebook.choose_file(broken)
    notebook.until(lambda: "broken.jpg is not an image that can be read" in notebook.lab.inner_text())
    notebook.lab.locator("[role=status]").scroll_into_view_if_needed()
    notebook.shot("broken_file")
    large = tmp_path / "large.jpg"
    large.write_bytes(bytes(20 * 2**20))
    notebook.choose_file(large)
    notebook.until(lambda: "large.jpg has 20.0 MiB: expected a picture of at most 8 MiB" in notebook.lab.inner_text())
    good = tmp_path / "mine.png"
    ds.write_image(ds.painting("mosaic", 64), good)
    before = notebook.picture("draws")
    notebook.choose_file(good)
    notebook.changed("draws", before)
    notebook.until(lambda: "expected" not in notebook.lab.inner_text())


def test_style_lab(open_notebook, server):
    lab = "labs.append(widgets.StyleLab(net=net, size=192, steps=400))\nlabs[-1]"
    notebook = open_notebook("style", IMPORTS, NET + "\nlabs = []", lab, "len(labs), labs[0].wait(5)")
    notebook.run()
    photo = notebook.changed("painted", b"")
    assert fits(notebook.lab)
    notebook.shot("start")
    notebook.button("Start").focus()
    notebook.page.keyboard.press("Enter")
    notebook.changed("painted", photo)
    notebook.until(lambda: step_of(notebook) > 5)
    notebook.shot("running")

    notebook.button("Pause").click()
    notebook.button("Resume").wait_for()
    notebook.page.wait_for_timeout(1500)  # the step under way ends
    paused = notebook.picture("painted")
    notebook.page.wait_for_timeout(1500)
    assert notebook.picture("painted") == paused
    notebook.button("Resume").click()
    notebook.changed("painted", paused)

    before, marked = step_of(notebook), dotted_lines(notebook)
    notebook.press("share of 1", "Home")
    notebook.press("style, beta", "ArrowRight", 5)
    notebook.until(lambda: dotted_lines(notebook) > marked)
    notebook.until(lambda: step_of(notebook) > before + 10)
    notebook.shot("moved")

    notebook.button("Stop").click()
    notebook.until(lambda: notebook.button("Start").is_enabled() and notebook.button("Save").is_enabled(), seconds=5)
    stopped = notebook.picture("painted")
    notebook.page.wait_for_timeout(1000)
    assert notebook.picture("painted") == stopped
    notebook.button("Save").click()
    notebook.until(lambda: "saved as" in notebook.lab.inner_text())
    assert ds.read_image(server.folder / "painted.png").shape[3] == 192
    notebook.lab.locator("[role=status]").scroll_into_view_if_needed()
    notebook.shot("stopped")

    notebook.button("Start").click()
    notebook.until(lambda: notebook.button("Stop").is_enabled() and step_of(notebook) > 1)
    assert "(2, " not in notebook.run_cell(3).inner_text()  # the kernel is free while the lab works
    notebook.run_cell(2)  # another lab in the place of this one, whose work must end
    assert "(2, True)" in notebook.run_cell(3).inner_text()


def test_region_lab(open_notebook):
    notebook = open_notebook("region", IMPORTS, NET, "widgets.RegionLab(net=net, size=160, steps=30)")
    notebook.run()
    covered = notebook.changed("covered", b"")
    notebook.until(lambda: "→" in notebook.lab.inner_text())
    assert fits(notebook.lab)
    notebook.shot("start")
    scores = re.findall(r"→ (\d+%)", notebook.lab.inner_text())
    notebook.press("patch from left", "Home")
    notebook.changed("covered", covered)
    notebook.until(lambda: re.findall(r"→ (\d+%)", notebook.lab.inner_text()) != scores)
    plain = notebook.picture("mapped")
    notebook.button("Map").click()
    region = notebook.changed("mapped", plain)
    notebook.press("keep of the map", "ArrowLeft", 10)
    notebook.changed("mapped", region)
    notebook.button("Paint in the region's style").click()
    notebook.until(lambda: "in the style of that part of" in notebook.lab.inner_text())
    notebook.lab.scroll_into_view_if_needed()
    notebook.shot("painted")


def test_fine_tune_lab(open_notebook):
    notebook = open_notebook(
        "fine_tune", IMPORTS, NET, 'widgets.FineTuneLab(root="../data", net=net, images=2, epochs=4)'
    )
    notebook.run()
    assert fits(notebook.lab)
    notebook.button("Start").click()
    notebook.until(lambda: step_of(notebook) > 1)
    notebook.shot("running")
    notebook.until(lambda: "right in the showroom" in notebook.lab.inner_text())
    assert notebook.picture("mistakes")
    assert fits(notebook.lab)
    notebook.shot("mistakes")


def lab_notebooks():
    """Copies of the course's notebooks: the imports, the knobs, and the cells of labs, without outputs."""
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        kept = [
            cell
            for number, cell in enumerate(code)
            if number == 0 or "parameters" in cell.metadata.get("tags", []) or LAB_CALL.search(cell.source)
        ]
        if any(LAB_CALL.search(cell.source) for cell in kept):
            for cell in kept:
                cell.outputs, cell.execution_count = [], None
            yield pytest.param(path.stem, new_notebook(cells=kept), id=path.stem)


@pytest.mark.parametrize("name, notebook", list(lab_notebooks()))
def test_the_lab_of_a_notebook(open_notebook, name, notebook):
    opened = open_notebook(name, notebook)
    opened.run()
    opened.until(lambda: opened.lab.locator("img.d2l-picture").count() >= 1)
    assert fits(opened.lab)
    assert opened.page.locator('[data-mime-type="application/vnd.jupyter.stderr"] .ansi-red-fg').count() == 0
    opened.shot("lab")
