"""`python course.py` on two tiny notebooks, one of which fails."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import course

ROOT = Path(__file__).resolve().parents[1]
PICTURE = """\
import io
from IPython.display import Image as Shown, display
from PIL import Image
file = io.BytesIO()
Image.new("RGB", (8, 4), "red").save(file, "JPEG")
display(Shown(file.getvalue()))
"""
CONTROLS = """\
from ipywidgets import IntSlider
from tqdm.auto import tqdm
list(tqdm(range(3)))
display(IntSlider())
"""
FORMULAS = r"""$$\begin{aligned}a &= \frac{1}{4}\end{aligned} \tag{1}$$ and $\nonsense$"""


def make(folder):
    """A folder of two notebooks."""
    good = [new_markdown_cell("# A red picture\n\n- know $x^2$\n- see\n  red\n\nSee [more](02_bad.ipynb)."),
            new_code_cell(PICTURE), new_code_cell(CONTROLS), new_code_cell("42", metadata={"tags": ["solution"]}),
            new_markdown_cell(FORMULAS)]
    bad = [new_markdown_cell("# Broken"), new_code_cell("1"), new_code_cell("raise KeyError('relu9_9')"),
           new_code_cell("2", outputs=[new_output("stream", text="of an earlier run")])]
    for name, cells in [("01_good", good), ("02_bad", bad)]:
        nbformat.write(new_notebook(cells=cells), folder / f"{name}.ipynb")


def run(*options):
    """Run course.py; return the finished process."""
    return subprocess.run([sys.executable, ROOT / "course.py", *options], capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The finished process and the folder of the pages."""
    folder = tmp_path_factory.mktemp("course")
    make(folder)
    return run("--notebooks", folder, "--out", folder / "build"), folder / "build"


def test_a_failing_cell_is_named_and_the_rest_goes_on(built):
    result, out = built
    assert result.returncode == 1
    assert re.findall(r"^\[.*", re.sub(r"in \d+ s", "in N s", result.stdout), re.MULTILINE) == [
        "[1/2] 01_good ...", "[1/2] 01_good ... done in N s",
        "[2/2] 02_bad ...", "[2/2] 02_bad ... failed in cell 2: KeyError: 'relu9_9'"]
    page = (out / "02_bad.html").read_text("utf-8")
    assert "KeyError" in page and "of an earlier run" not in page


def test_the_index_shows_every_chapter(built):
    _, out = built
    index = (out / "index.html").read_text("utf-8")
    titles = re.findall(r'<h2><a href="(.*?)">(.*?)</a>', index)
    assert titles == [("01_good.html", "A red picture"), ("02_bad.html", "Broken")]
    assert '<img src="01_good.jpg"' in index and (out / "01_good.jpg").read_bytes()[:2] == b"\xff\xd8"
    assert re.search(r"<li>know <math><msup><mi>x</mi><mn>2</mn></msup></math></li>\s*<li>see\s+red</li>", index)
    assert re.findall(r'class="failure">(.*?)<', index) == ["Failed in cell 2: KeyError: &#39;relu9_9&#39;"]


def test_pages_ask_for_nothing_from_outside(built):
    _, out = built
    for page in out.glob("*.html"):
        text = page.read_text("utf-8")
        assert "<script" not in text and "<link" not in text
        assert re.findall(r"""(?:src=|url\(|@import )["']?(?!data:|01_good.jpg)[^"') ]+""", text) == []


def test_a_page_shows_formulas_pictures_links_and_controls(built):
    _, out = built
    page = (out / "01_good.html").read_text("utf-8")
    assert "<mfrac><mn>1</mn><mn>4</mn></mfrac>" in page and "<mtext>(1)</mtext>" in page
    assert re.search(r'class="math-core-error" title=.*?nonsense.*?><code>\\nonsense</code>', page)
    assert 'src="data:image/jpeg;base64,' in page and 'alt="Figure of cell 1"' in page
    assert '<a href="02_bad.html">more</a>' in page
    assert page.count('class="live"') == 1 and "IntSlider(value" not in page
    assert re.search(r"<details><summary>Solution</summary>.*42.*</details>", page, re.DOTALL)


def test_no_half_written_file_stays(built):
    _, out = built
    names = {path.name for path in out.iterdir()}
    assert names == {"index.html", "01_good.html", "01_good.ipynb", "01_good.jpg", "02_bad.html", "02_bad.ipynb"}


def test_a_part_can_be_run_alone(tmp_path):
    make(tmp_path)
    result = run("01", "--notebooks", tmp_path, "--out", tmp_path / "build")
    assert result.returncode == 0
    assert "02_bad" not in (tmp_path / "build" / "index.html").read_text("utf-8")


def test_a_part_that_is_not_there_is_refused(tmp_path):
    make(tmp_path)
    result = run("07", "--notebooks", tmp_path, "--out", tmp_path / "build")
    assert result.returncode == 2 and "'07' in its name" in result.stderr


def test_a_cell_that_takes_too_long_is_stopped(tmp_path):
    cells = [new_code_cell("import time\ntime.sleep(60)")]
    nbformat.write(new_notebook(cells=cells), tmp_path / "1.ipynb")
    copy = course.run(tmp_path / "1.ipynb", timeout=1, show=lambda text: None)
    assert copy.metadata["course"]["failed"] == "cell 1: not done after 1 s"


def test_a_kernel_that_dies_is_reported(tmp_path):
    nbformat.write(new_notebook(cells=[new_code_cell("import os\nos._exit(1)")]), tmp_path / "1.ipynb")
    copy = course.run(tmp_path / "1.ipynb", timeout=60, show=lambda text: None)
    assert copy.metadata["course"]["failed"] == "cell 1: Kernel died"
