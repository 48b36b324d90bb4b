"""`python -m tools.site.course` on two tiny notebooks, one of which fails."""

import base64
import io
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

import d2lstyle as ds
from tools.site import course, decks, figures, pages

ROOT = Path(__file__).resolve().parents[2]
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
USES = "`stylize(photo, painting)`, `stylize` and `ds.augment`"
HINTS = "# Sheet\n\n## 1. One\n\n<details><summary>Hint 1</summary>\n\nLook.\n\n</details>"
FORMULAS = r"""$$\begin{aligned}a &= \frac{1}{4}\end{aligned} \tag{1}$$ and $\nonsense$"""


def typed(cell, kind):
    """The cell, with its place in the deck."""
    cell.metadata["slideshow"] = {"slide_type": kind}
    return cell


def make(folder):
    """A folder of two notebooks."""
    good = [
        new_markdown_cell("# A red picture\n\n- know $x^2$\n- see\n  red\n\nSee [more](02_bad.ipynb), or " + USES),
        new_code_cell(PICTURE),
        new_code_cell(CONTROLS),
        typed(new_code_cell("42", metadata={"tags": ["solution"]}), "subslide"),
        typed(new_markdown_cell(FORMULAS), "slide"),
        typed(new_markdown_cell("Left out"), "skip"),
        typed(new_markdown_cell("Shown on a key"), "fragment"),
        typed(new_markdown_cell("Said **by heart**"), "notes"),
    ]
    bad = [
        new_markdown_cell("# Broken"),
        new_code_cell("1"),
        new_code_cell("raise KeyError('relu9_9')"),
        new_code_cell("2", outputs=[new_output("stream", text="of an earlier run")]),
    ]
    for name, cells in [("01_good", good), ("02_bad", bad)]:
        nbformat.write(new_notebook(cells=cells), folder / f"{name}.ipynb")


def run(*options):
    """Run the command; return the finished process."""
    return subprocess.run(
        [sys.executable, "-m", "tools.site.course", *options], cwd=ROOT, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The finished process and the folder of the pages."""
    folder = tmp_path_factory.mktemp("course")
    make(folder)
    return run("--notebooks", folder, "--out", folder / "build"), folder / "build"


def test_a_failing_cell_is_named_and_the_rest_goes_on(built):
    result, out = built
    assert result.returncode == 1
    told = re.findall(r"^\[.*", re.sub(r"in \d+ s", "in N s", result.stdout), re.MULTILINE)
    for lines in (  # side by side
        ["[1/2] 01_good ...", "[1/2] 01_good ... done in N s"],
        ["[2/2] 02_bad ...", "[2/2] 02_bad ... failed in cell 2: KeyError: 'relu9_9'"],
    ):
        assert [line for line in told if line[:6] == lines[0][:6]] == lines
    page = (out / "02_bad.html").read_text("utf-8")
    assert "KeyError" in page and "of an earlier run" not in page


def test_the_index_shows_every_chapter(built):
    _, out = built
    index = (out / "index.html").read_text("utf-8")
    titles = re.findall(r'<h2><a href="(.*?)">(.*?)</a>', index)
    assert titles == [("01_good.html", "A red picture"), ("02_bad.html", "Broken")]
    assert '<img src="01_good.jpg"' in index and (out / "01_good.jpg").read_bytes()[:2] == b"\xff\xd8"
    assert re.search(r"<li>know <math><msup><mi>x</mi><mn>2</mn></msup></math></li>\s*<li>see\s+red</li>", index)
    for page in ("index.html", "01_good.html"):
        assert '<a href="01_good.slides.html">Slides</a>' in (out / page).read_text("utf-8")
    assert re.findall(r'class="failure">(.*?)<', index) == ["Failed in cell 2: KeyError: &#39;relu9_9&#39;"]


def test_pages_ask_for_nothing_from_outside(built):
    _, out = built
    for page in out.glob("*.html"):
        text = page.read_text("utf-8")
        if page.name.endswith(".slides.html"):
            asked = re.findall(r"<(?:script|link)[^>]* (?:src|href)=\"(.*?)\"", text)
            assert asked == ["reveal/reveal.css", "reveal/reveal.js", "reveal/notes.js"]
        else:
            assert "<script" not in text and "<link" not in text
        assert re.findall(r"""(?:src=|url\(|@import )["']?(?!data:|01_good.jpg|reveal/)[^"') ]+""", text) == []


def test_the_reference_holds_every_public_name(built):
    _, out = built
    text = (out / "reference.html").read_text("utf-8")
    ids = re.findall(r' id="(.*?)"', text)
    assert len(ids) == len(set(ids)) and set(ds.__all__) - {"engine", "experiment", "labs"} <= set(ids)
    assert {"augment.adjust_hue", "plots.show_images", "widgets.StyleLab", "maps.truth.Curve"} <= set(ids)
    assert set(re.findall(r'href="#(.*?)"', text)) == set(ids)


def test_the_reference_renders_the_sections_of_a_docstring(built):
    _, out = built
    text = (out / "reference.html").read_text("utf-8")
    entry = re.search(r'<section class="entry">\s*<h3 id="gram">.*?</section>', text, re.DOTALL)[0]
    assert re.findall(r'<p class="part">(.*?)</p>\s*<(\w+)>', entry) == [
        ("Arguments", "ul"),
        ("Returns", "blockquote"),
        ("Raises", "ul"),
    ]
    assert re.search(r"<strong>features:</strong>\s+\(B, C, H, W\), any range\.</li>", entry)
    assert "ds.gram(" in re.sub("<.*?>", "", entry) and "&gt;&gt;&gt;" in entry
    assert "&lt;folder&gt;/train" in text and "Args:" not in text


def test_the_first_mention_of_a_name_leads_to_the_reference(built):
    _, out = built
    page = (out / "01_good.html").read_text("utf-8")
    assert re.findall(r'<a class="name" href="(.*?)">(.*?)</a>', page) == [
        ("reference.html#stylize", "<code>stylize(photo, painting)</code>"),
        ("reference.html#augment", "<code>ds.augment</code>"),
    ]
    assert 'class="name"' not in (out / "01_good.slides.html").read_text("utf-8")


def test_names_are_linked_once_in_prose_and_once_in_code():
    def code(*names):
        return '<span class="o">.</span>'.join(f'<span class="n">{name}</span>' for name in names)

    prose = "<h2><code>fit</code></h2><a><code>fit</code></a><code>fit</code><code>ds.fit(x)</code><code>fits</code>"
    cell = f"{code('fit')}(){code('ds', 'fit')}(){code('ds', 'fit')}(){code('net', 'fit')}()"
    page = pages.linked(prose + cell, {"fit": "fit", "ds.fit": "fit"}, "r.html")
    assert page == (prose + cell).replace(
        "</a><code>fit</code>", '</a><a class="name" href="r.html#fit"><code>fit</code></a>'
    ).replace(code("ds", "fit"), f'<a class="name" href="r.html#fit">{code("ds", "fit")}</a>', 1)


def test_a_page_shows_formulas_pictures_links_and_controls(built):
    _, out = built
    page = (out / "01_good.html").read_text("utf-8")
    assert "<mfrac><mn>1</mn><mn>4</mn></mfrac>" in page and "<mtext>(1)</mtext>" in page
    assert re.search(r'class="math-core-error" title=.*?nonsense.*?><code>\\nonsense</code>', page)
    assert 'src="data:image/jpeg;base64,' in page and 'alt="A red picture"' in page
    assert '<a href="02_bad.html">more</a>' in page
    assert page.count('class="live"') == 1 and "IntSlider(value" not in page
    assert re.search(r"<details><summary>Solution</summary>.*42.*</details>", page, re.DOTALL)


def test_a_deck_shows_cells_in_columns(built):
    _, out = built
    deck = (out / "01_good.slides.html").read_text("utf-8")
    slides = re.split(r"<section[^>]*>", deck)[1:]
    shown = ["A red picture" in slide and "h1" in slide for slide in slides]
    assert shown[:2] == [False, True]  # the first column, then its first slide
    # two columns: two slides and one
    assert deck.count("<section") == 5 and deck.count('<section class="title">') == 1
    assert 'src="data:image/jpeg;base64,' in deck and "<mfrac><mn>1</mn><mn>4</mn></mfrac>" in deck
    assert "Left out" not in deck and "IntSlider(value" not in deck and '<a href="02_bad.slides.html">more</a>' in deck
    assert '<div class="said fragment"><p>Shown on a key</p>' in deck
    assert re.search('<aside class="notes">(?:(?!</aside>).)*<p>Said <strong>by heart</strong></p>', deck, re.DOTALL)
    assert "KeyError: &#39;relu9_9&#39;" in (out / "02_bad.slides.html").read_text("utf-8")


def test_a_slide_without_a_heading_names_its_section(built):
    _, out = built
    deck = (out / "01_good.slides.html").read_text("utf-8")
    assert re.findall(r'<div class="section"><p>(.*?)</p>', deck) == ["A red picture", "A red picture"]


def test_exercise_sheets_lie_where_pages_link_to_them(tmp_path):
    sheet = new_notebook(cells=[new_markdown_cell(HINTS), new_code_cell("pass")])
    for name in ("exercises", "solutions"):
        (tmp_path / "notebooks" / name).mkdir(parents=True)
        nbformat.write(sheet, tmp_path / "notebooks" / name / "01_a.ipynb")
    out = tmp_path / "out"
    out.mkdir()
    pages.save_sheets(tmp_path / "notebooks", out)
    for name, other in (("exercises", "solutions"), ("solutions", "exercises")):
        assert nbformat.read(out / name / "01_a.ipynb", 4).cells[0].source == HINTS
        page = (out / name / "01_a.html").read_text("utf-8")
        links = {"../index.html", "../01_a.html", f"../{other}/01_a.html", "01_a.ipynb"}
        assert links <= set(re.findall(r'href="([^#].*?)"', page))
        assert re.search(r"<details><summary>Hint 1</summary>\s*<p>Look.</p>\s*</details>", page)


def test_the_table_leads_to_the_headings(tmp_path):
    make(tmp_path)
    rows = "| topic | place | test |\n|---|---|---|\n| Red | 01: What we see; 02: Broken | `x` |\n"
    (tmp_path / "TRACEABILITY.md").write_text(f"# Table\n\n{rows}")
    pages.save_table(tmp_path, tmp_path)
    table = (tmp_path / "traceability.html").read_text("utf-8")
    assert re.findall(r'href="(0.*?)">(.*?)<', table) == [
        ("01_good.html#What-we-see", "01: What we see"),
        ("02_bad.html#Broken", "02: Broken"),
    ]


def test_a_page_has_contents_and_leads_to_its_neighbours_and_its_sheet(tmp_path):
    for name in ("01_a", "02_b", "03_c"):
        cells = [
            new_markdown_cell(f"# Title {name}"),
            new_markdown_cell("Text\n\n## First $x$\n\n### Below\n\n## Second thing"),
        ]
        nbformat.write(new_notebook(cells=cells), tmp_path / f"{name}.ipynb")
    (tmp_path / "exercises").mkdir()
    (tmp_path / "exercises" / "02_b.ipynb").touch()
    pages.save(nbformat.read(tmp_path / "02_b.ipynb", 4), tmp_path / "02_b.ipynb", tmp_path)
    page = (tmp_path / "02_b.html").read_text("utf-8")
    anchors = re.findall(r'<li><a href="#(.*?)">(.*?)</a></li>', page)
    assert [text for _, text in anchors] == ["First <math><mi>x</mi></math>", "Second thing"]
    assert all(f'<h2 id="{anchor}">' in page for anchor, _ in anchors)
    assert re.findall(r'<a href="(.*?)" rel="(.*?)">(.*?)</a>', page) == [
        ("01_a.html", "prev", "Title 01_a"),
        ("03_c.html", "next", "Title 03_c"),
    ]
    assert '<a href="exercises/02_b.html">Exercises</a>' in page


def test_a_lab_is_stored_as_its_still_picture_and_a_progress_bar_not_at_all():
    view = {course.WIDGET: {"model_id": "1"}, "text/plain": "a lab"}
    lab, bar, text = (
        new_output("display_data", data=data) for data in ({**view, "image/jpeg": "eA=="}, view, {"text/plain": "7"})
    )
    kept = course.without_controls([lab, bar, text])
    assert [sorted(output.data) for output in kept] == [["image/jpeg", "text/plain"], ["text/plain"]]
    assert kept[1].data["text/plain"] == "7"


def test_no_half_written_file_stays(built):
    _, out = built
    chapters = {f"{name}.{ending}" for name in ("01_good", "02_bad") for ending in ("html", "slides.html", "ipynb")}
    assert {path.name for path in out.iterdir()} == {"index.html", "reference.html", "reveal", "01_good.jpg", *chapters}
    assert {path.name for path in (out / "reveal").iterdir()} == {"reveal.js", "reveal.css", "notes.js", "LICENSE"}


def test_a_part_can_be_run_alone_and_one_that_is_not_there_is_refused(tmp_path):
    make(tmp_path)
    result = run("01", "--notebooks", tmp_path, "--out", tmp_path / "build")
    assert result.returncode == 0
    assert "02_bad" not in (tmp_path / "build" / "index.html").read_text("utf-8")
    result = run("07", "--notebooks", tmp_path, "--out", tmp_path / "build")
    assert result.returncode == 2 and "'07' in its name" in result.stderr


@pytest.mark.parametrize(
    "code, timeout, reason",
    [("import time\ntime.sleep(60)", 1, "not done after 1 s"), ("import os\nos._exit(1)", 60, "Kernel died")],
)
def test_a_cell_that_does_not_end_is_named(tmp_path, code, timeout, reason):
    nbformat.write(new_notebook(cells=[new_code_cell(code)]), tmp_path / "1.ipynb")
    copy = course.run(tmp_path / "1.ipynb", timeout=timeout, step=lambda: None)
    assert copy.metadata["course"]["failed"] == f"cell 1: {reason}"


def laid_out(*cells):
    """The kinds of the blocks on each slide of a notebook, column by column."""
    deck = decks.columns(new_notebook(cells=cells), ROOT)
    return [[[block.kind for block in slide.blocks] for slide in column] for column in deck]


def figure_cell(source, width=890, height=450):
    """A code cell that put out a picture."""
    file = io.BytesIO()
    Image.new("L", (width, height)).save(file, "PNG")
    data = {"image/png": base64.b64encode(file.getvalue()).decode(), "text/plain": "<Figure>"}
    return new_code_cell(source, outputs=[new_output("display_data", data)], execution_count=1)


def shown(markdown):
    """{kind: what a slide shows} of a Markdown cell."""
    return {block.kind: block.content for block in decks.prose_blocks(markdown, ROOT)}


def test_code_is_shown_where_it_is_the_point():
    prose = new_markdown_cell("## Sum\n\nAdd them:\n\n$$1 + 1$$")
    cell = new_code_cell("1 + 1", outputs=[new_output("stream", text="2\n")])
    assert laid_out(prose, cell) == [[["heading", "prose", "formula", "text"]]]
    cell.metadata["tags"] = ["show-input"]
    assert laid_out(prose, cell) == [[["heading", "prose", "formula", "code", "text"]]]


@pytest.mark.parametrize(
    "markdown, expected",
    [
        ("One. Two.\n\nThree.", {"prose": "One."}),
        ("One. **Two** is it. Three.\n\nAnd **four**.", {"prose": "And **four**."}),
        ("One **(two). Or** so. Three.", {"prose": "One **(two). Or** so."}),
        ("See Gatys et al. (2016), p. 3. More.", {"prose": "See Gatys et al. (2016), p."}),
        ("**A trap.** It bites. Often.", {"prose": "**A trap.** It bites."}),
        ("One. *Predict:* how many? Or $a. B$?", {"ask": "*Predict:* how many?"}),
        ("One **is** bold. *Predict* it.", {"prose": "One **is** bold.", "ask": "*Predict* it."}),
        ("**What you see**, six seeds. It falls. Far.", {"see": "It falls."}),
        ("**What you see.** It falls by .1 [.0, .2]. **Far.**", {"see": "**Far.**"}),
        ("- Red. Not blue.\n- Green.", {"item": "- Green."}),
        ("- Red.\n- **Green** it is. Not blue.\n- Blue.", {"item": "- **Green** it is."}),
        ("Many.\n\n" + f"- {'word ' * 30}\n" * 2, {"prose": "Many."}),
        ("<details><summary>Why</summary>\n\nFor fun.\n\n</details>", {}),
    ],
)
def test_a_slide_shows_what_is_bold_or_the_first_sentence(markdown, expected):
    assert shown(markdown) == expected


def test_what_a_slide_leaves_out_is_in_its_notes():
    cells = new_markdown_cell("## Now\n\nOne. Two."), new_markdown_cell("Three."), figure_cell("draw()")
    cells[2].outputs.insert(0, new_output("stream", text="7\n"))
    late = typed(new_markdown_cell("Four."), "notes"), typed(new_markdown_cell("Five."), "notes")
    (slide,) = decks.columns(new_notebook(cells=[*cells, late[0], typed(late[1], "slide")]), ROOT)[0]
    assert [block.kind for block in slide.blocks] == ["heading", "prose", "prose", "figure"]
    assert slide.notes == ["One. Two.", "```\n7\n```", "Four."]


def test_what_is_all_left_out_is_in_the_notes_of_the_slide_before():
    hidden = typed(new_markdown_cell("<details><summary>Why</summary>\n\nFor fun.\n\n</details>"), "slide")
    ((slide,),) = decks.columns(new_notebook(cells=[new_markdown_cell("One."), hidden]), ROOT)
    assert [note.split() for note in slide.notes] == [["Why", "For", "fun."]]


def test_a_prediction_comes_before_picture_and_takeaway_and_no_slide_begins_empty():
    ask, see = new_markdown_cell("*Predict:* what?"), new_markdown_cell("**What you see.** Much. More.")
    (slide,) = decks.columns(new_notebook(cells=[ask, figure_cell("draw()"), see]), ROOT)[0]
    assert [(block.kind, block.fragment) for block in slide.blocks] == [("ask", False), ("figure", True), ("see", True)]
    (slide,) = decks.columns(new_notebook(cells=[figure_cell("draw()"), see]), ROOT)[0]
    assert not any(block.fragment for block in slide.blocks)
    late = [typed(new_markdown_cell(text), "fragment") for text in ("**One**", "## Two")]
    (slide,) = decks.columns(new_notebook(cells=late), ROOT)[0]
    assert [block.fragment for block in slide.blocks] == [False, True]


def test_what_you_see_at_the_start_of_a_slide_belongs_to_the_slide_before():
    see = typed(new_markdown_cell("**What you see.** Much.\n\nNext, more. And more."), "subslide")
    assert laid_out(figure_cell("draw()"), see, figure_cell("draw()")) == [[["figure", "see"], ["prose", "figure"]]]
    alone = typed(new_markdown_cell("**What you see.** Much."), "subslide")
    assert laid_out(figure_cell("draw()"), alone) == [[["figure", "see"]]]


def test_each_picture_has_a_slide_and_the_last_word_is_on_the_last():
    cell = figure_cell("draw()")
    cell.outputs = 3 * cell.outputs
    words = new_markdown_cell("**What you see.** Much."), new_markdown_cell("**In the end** little.")
    assert laid_out(cell, *words) == [[["figure"], ["figure", "see"], ["figure", "prose"]]]


@pytest.mark.parametrize("size, beside", [((300, 300), True), ((890, 300), False)])
def test_a_tall_picture_stands_beside_what_is_said_of_it(size, beside):
    cells = [new_markdown_cell("## A\n\nOne."), figure_cell("draw()", *size)]
    notebook = new_notebook(cells=cells)
    assert decks.columns(notebook, ROOT)[0][0].beside == beside
    assert ('<div class="beside">' in pages.deck(notebook, ROOT / "a.ipynb")) == beside


@pytest.mark.parametrize(
    "markdown, kinds",
    [
        ("- one\n  goes on\n- two\n\nEnd.", ["item", "item", "rest"]),
        ("1. one\n2. two", ["item", "item"]),
        ("```\na\n\nb\n```\n\nc", ["prose", "rest"]),
        ("a\n$$\nx\n\ny\n$$\nb", ["rest", "formula", "rest"]),
        ("| a | b |\n|---|---|\n| 1 | 2 |", ["table"]),
        ("![no such file](nowhere.jpg)", ["rest"]),
    ],
)
def test_markdown_is_broken_into_blocks(markdown, kinds):
    blocks = [block for text in decks.paragraphs(markdown) for block in decks.paragraph_blocks(text, ROOT)]
    assert [block.kind for block in blocks] == kinds
    assert re.sub(r"\s", "", "".join(block.content for block in blocks)) == re.sub(r"\s", "", markdown)


def test_long_output_is_cut_and_pieces_of_a_line_are_joined():
    rows = new_code_cell("", outputs=[new_output("stream", text="a"), new_output("stream", text="b\n" * 40)])
    (block,) = decks.output_blocks(rows)
    assert block.content.splitlines()[0] == "ab" and block.content.splitlines()[-1] == "... and 27 lines more"


def test_live_controls_show_their_picture_or_nothing():
    live = new_output("display_data", {decks.WIDGET: {}, "text/plain": "Slider()"})
    assert decks.output_blocks(new_code_cell("", outputs=[live])) == []
    picture = figure_cell("").outputs[0]
    picture.data[decks.WIDGET] = {}
    assert [block.kind for block in decks.output_blocks(new_code_cell("", outputs=[picture]))] == ["figure"]


def test_sounds_stand_side_by_side_under_their_names():
    outputs = [
        new_output("display_data", data)
        for name in ("a", "<i>b")
        for data in ({"text/plain": f"'{name}'"}, {"text/html": "<audio></audio>", "text/plain": "<Audio>"})
    ]
    (block,) = decks.output_blocks(new_code_cell("", outputs=outputs))
    assert re.findall("<figcaption>(.*?)</figcaption>", block.content) == ["a", "&lt;i&gt;b"]


def test_without_reveal_the_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(decks, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pyreveal"):
        decks.copy_reveal(tmp_path)


def test_the_alternative_text_of_a_figure_is_the_sentence_that_reads_it():
    read = new_markdown_cell("**What you see** (six seeds). The *gain* of [B](x.html) is `.5` [.4, .6]. More.")
    cells = [
        new_markdown_cell("## Some gain\n\nPredict."),
        new_code_cell("1"),
        read,
        new_code_cell("2"),
        new_code_cell("3"),
    ]
    notebook = new_notebook(cells=cells)
    shown = [cell.metadata.get("alt") for cell in decks.described(notebook).cells]
    assert shown == [None, "The gain of B is .5 [.4, .6].", None, "Some gain", "Some gain"]
    assert all("alt" not in cell.metadata for cell in notebook.cells)


def test_each_figure_stands_beside_the_sentence_that_reads_it():
    """And one of which nothing is said is named as such; cells without a figure are left out."""
    shown = [new_output("display_data", data={"image/png": "QUJD"}), new_output("stream", text="a < b")]
    cells = [
        new_code_cell("1 + 1"),
        new_code_cell("draw()", outputs=shown),
        new_markdown_cell("## Next\n\nIt is *blue*."),
    ]
    notebook = new_notebook(cells=[*cells, new_code_cell("draw()", outputs=shown), new_code_cell("2")])
    assert [(number, prose[-4:]) for number, _, _, prose in figures.pairs(notebook)] == [(2, "ue*."), (4, "")]
    first, second = figures.page({"a & b": notebook}).split("<div>")[1:]
    assert 'src="data:image/png;base64,QUJD"' in first and "It is <em>blue</em>." in first and "Next" not in first
    assert "<pre>a &lt; b</pre>" in first and "nothing is said" in second and "nothing is said" not in first
