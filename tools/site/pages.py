"""What the course's readers open: a page and a deck for each chapter, a page for each exercise sheet, and the index.

Made by nbconvert with a template of ours, because all of it must build and be read offline. Jupyter Book 2 (MyST)
asks a host for its theme while it builds; Jupyter Book 1 builds, but loads MathJax from a host, and cuts off our wider
lines of code.
"""

import base64
import re
from functools import partial
from pathlib import Path

import nbformat
from jinja2 import Environment, FileSystemLoader, pass_context
from markupsafe import Markup
from math_core import LatexToMathML
from nbconvert import HTMLExporter
from nbconvert.filters import Highlight2HTML
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat.v4 import new_markdown_cell, new_notebook
from pygments.formatters import HtmlFormatter

from d2lstyle.engine.files import write_whole

from . import decks

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = Path(__file__).resolve().parent / "templates"
TITLE = "Image augmentation, fine-tuning and style transfer"
MENTION = re.compile(
    r"(?P<skip><a\b.*?</a>|<h\d\b.*?</h\d>)|(?<!<pre>)<code>(?P<prose>[\w.]+)(?:\(.*?\))?</code>"
    r"|(?P<code>(?:<span class=\"n\">\w+</span><span class=\"o\">\.</span>)+<span class=\"n\">\w+</span>)",
    re.DOTALL,
)
LEAD = "The chapters of the course, run from top to bottom on this computer. Every page and deck works offline."


class Prose(IPythonRenderer):
    """Markdown as HTML: formulas become MathML, which browsers show with no script; notebooks become pages."""

    ending = ".html"

    def block_math(self, body):
        return formula(body, block=True)

    def inline_math(self, body):
        return formula(body, block=False)

    def latex_environment(self, name, body):
        return formula(rf"\begin{{{name}}}{body}\end{{{name}}}", block=True)

    def block_html(self, html):
        return (
            super().block_html(html) if "<img" in html else html
        )  # super() would close <details> before what it hides

    def link(self, text, url, title=None):
        path, *anchor = url.split("#")
        if path.endswith(".ipynb") and "://" not in path:
            ending = ".html" if "/" in path else self.ending  # sheets are pages alone
            url = "#".join([path.removesuffix(".ipynb") + ending, *anchor])
        return super().link(text, url, title)


class SlideProse(Prose):
    """The same for slides: notebooks become decks."""

    ending = ".slides.html"


class Page(HTMLExporter):
    """nbconvert's exporter with our template and prose."""

    @pass_context
    def markdown2html(self, context, source):
        """The template's filter for markdown cells; pictures beside the notebook are taken into the page."""
        attachments = context.get("cell", {}).get("attachments", {})
        return to_html(source, attachments=attachments, path=context["resources"]["metadata"]["path"])


def formula(tex, block):
    """TeX as MathML; what cannot be read is shown as it was written, with the reason as its tooltip."""
    if r"\tag" in tex and r"\begin{equation}" not in tex:
        tex = rf"\begin{{equation}}{tex}\end{{equation}}"  # MathJax, in a notebook, takes a tag without this
    return LatexToMathML(continue_on_error=True, fancy_error=False).convert_with_local_state(tex, displaystyle=block)


def to_html(markdown, renderer=Prose, **options):
    """Markdown text as HTML."""
    return MarkdownWithMath(renderer=renderer(escape=False, embed_images=True, **options)).render(markdown)


def style():
    """The style sheet, with the colours of code for light and dark screens."""
    light, dark = (HtmlFormatter(style=name).get_style_defs(".highlight") for name in ("friendly", "github-dark"))
    ours = (TEMPLATES / "style.css").read_text("utf-8")  # last, for its background of code to win
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n{ours}"


def save(notebook, source, out):
    """Write the executed copy of a chapter, its page, its deck and its thumbnail; the reference is there already."""
    stem, sheet = source.stem, source.parent / "exercises" / source.name
    ways = {"All chapters": "index.html", "Slides": f"{stem}.slides.html"}
    if sheet.exists():
        ways["Exercises"] = f"exercises/{stem}.html"
    ways["Reference"] = "reference.html"
    write_whole(out / f"{stem}.ipynb", nbformat.writes(notebook))
    write_whole(out / f"{stem}.html", linked(page(notebook, source, ways, neighbours(source)), names_in(out)))
    write_whole(out / f"{stem}.slides.html", deck(notebook, source))
    if picture := thumbnail(notebook, source.parent):
        ending, data = picture
        write_whole(out / f"{stem}.{ending}", data)


def save_sheets(notebooks, out):
    """Write each exercise sheet, blank and solved: the notebook, for Jupyter, and its page."""
    names = names_in(out)
    for folder, other in (("exercises", "solutions"), ("solutions", "exercises")):
        for path in sorted((notebooks / folder).glob("*.ipynb")):
            ways = {
                "All chapters": "../index.html",
                "The chapter": f"../{path.stem}.html",
                other.capitalize(): f"../{other}/{path.stem}.html",
                "Reference": "../reference.html",
            }
            (out / folder).mkdir(exist_ok=True)
            write_whole(out / folder / path.name, path.read_bytes())
            sheet = page(nbformat.read(path, as_version=4), path, ways)
            write_whole(out / folder / f"{path.stem}.html", linked(sheet, names, "../reference.html"))


def save_table(notebooks, out):
    """Write the table of slides and sections, where there is one, with links to the headings that it names."""
    source = notebooks / "TRACEABILITY.md"
    if not source.exists():
        return
    chapters = {path.stem[:2]: path.name for path in notebooks.glob("[0-9]*.ipynb")}

    def linked(place):
        address = f"{chapters[place[1]]}#{place[2].replace(' ', '-')}"
        return f"[{place[0]}](<{address}>)"

    text = re.sub(r"(?<=[|;] )(\d\d): ([^;|]+)(?=;| \|)", linked, source.read_text("utf-8"))
    table = new_notebook(cells=[new_markdown_cell(text)])
    write_whole(out / "traceability.html", page(table, source, {"All chapters": "index.html"}))


def page(notebook, source, ways, beside=()):
    """A notebook as a page.

    Args:
        ways: {text: address}, links above it.
        beside: what `neighbours` says, linked below it.
    """
    exporter = Page(template_file="page.html.j2", extra_template_paths=[str(TEMPLATES)])
    file = source.name if source.suffix == ".ipynb" else None
    resources = {
        "title": title_of(notebook, source.stem),
        "style": style(),
        "ways": ways,
        "beside": beside,
        "file": file,
        "contents": contents(notebook),
        "metadata": {"name": source.stem, "path": str(source.parent)},
    }
    return exporter.from_notebook_node(decks.described(notebook), resources)[0]


def contents(notebook):
    """(anchor, HTML) of each section's heading."""
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    headings = to_html("\n\n".join(re.findall(r"^## .+", prose, re.MULTILINE)))
    return re.findall(r'<h2 id="(.*?)">(.*?)<a class="anchor-link"', headings)


def names_in(out):
    """{public name, as a chapter may write it: its anchor on the reference}; none where there is no reference yet."""
    file, names = out / "reference.html", {}
    for level, anchor in re.findall(r'<h([23]) id="([\w.]+)"', file.read_text("utf-8") if file.exists() else ""):
        spellings = [f"ds.{anchor}", f"d2lstyle.{anchor}", *([anchor] if level == "3" else [])]  # a room's is a word
        names |= dict.fromkeys(spellings, anchor)
    return names


def linked(page, names, address="reference.html"):
    """A page on which the first mention of a public name in prose, and the first in code, lead to the reference."""
    seen = set()

    def link(match):
        kind = match.lastgroup
        name = re.sub("<.*?>", "", match[kind])
        if kind == "skip" or name not in names or (kind == "code" and "." not in name):
            return match[0]
        place = kind, names[name]
        if place in seen:
            return match[0]
        seen.add(place)
        return f'<a class="name" href="{address}#{names[name]}">{match[0]}</a>'

    return MENTION.sub(link, page)


def neighbours(source):
    """("prev", title, address) of the chapter before and ("next", ...) of the one after, where there are such."""
    chapters = sorted(source.parent.glob("[0-9]*.ipynb"))
    at = chapters.index(source)
    beside = [("prev", path) for path in chapters[:at][-1:]] + [("next", path) for path in chapters[at + 1 :][:1]]
    return [
        (which, title_of(nbformat.read(path, as_version=4), path.stem), f"{path.stem}.html") for which, path in beside
    ]


def deck(notebook, source):
    """The deck of a notebook, which finds reveal.js in the folder beside it."""
    templates = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    markdown = partial(to_html, renderer=SlideProse, path=str(source.parent))
    templates.filters |= {
        "markdown": lambda text: Markup(markdown(text)),
        "prose": lambda blocks: Markup(markdown(decks.markdown(blocks))),
        "code": lambda text: Markup(Highlight2HTML()(text)),
    }
    colours = HtmlFormatter(style="friendly").get_style_defs(".highlight")
    ours, script = ((TEMPLATES / name).read_text("utf-8") for name in ("deck.css", "deck.js"))
    return templates.get_template("deck.html.j2").render(
        title=title_of(notebook, source.stem),
        name=source.stem,
        columns=decks.columns(notebook, source.parent),
        style=f"{colours}\n{ours}",
        script=script,
    )


def title_of(notebook, default):
    """The text of the first heading."""
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    heading = re.search(r"^#+ +(.+)", prose, re.MULTILINE)
    return heading[1].strip() if heading else default


def thumbnail(notebook, folder):
    """The ending and bytes of the picture in the first cell, else of the first image that a cell put out, or None."""
    linked = re.search(r"!\[[^\]]*\]\(([^)\s]+)\.(jpg|png)\)", notebook.cells[0].source)
    if linked and (path := folder / f"{linked[1]}.{linked[2]}").is_file():
        return linked[2], path.read_bytes()
    outputs = (output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", []))
    return next(
        (
            (ending, base64.b64decode(data[mime]))
            for data in outputs
            for mime, ending in decks.PICTURES.items()
            if mime in data
        ),
        None,
    )


def card(name, out):
    """What the index shows of an executed notebook."""
    notebook = nbformat.read(out / f"{name}.ipynb", as_version=4)
    first = next((cell.source for cell in notebook.cells if cell.cell_type == "markdown"), "")
    goals = re.findall(r"^[-*] .*(?:\n[ \t]+\S.*)*", first, re.MULTILINE)
    pictures = (f"{name}.{ending}" for ending in decks.PICTURES.values())
    seconds, failed = notebook.metadata["course"]["seconds"], notebook.metadata["course"]["failed"]
    return {
        "name": name,
        "title": title_of(notebook, name),
        "goals": to_html("\n".join(goals)),
        "failed": failed,
        "duration": f"ran in {seconds:.0f} s" if seconds < 60 else f"ran in {seconds / 60:.1f} min",
        "sheet": (out / "exercises" / f"{name}.html").exists(),
        "thumbnail": next((picture for picture in pictures if (out / picture).exists()), None),
    }


def write_index(names, out):
    """Write the page that leads to all chapters that have been run."""
    templates = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    cards = [card(name, out) for name in names if (out / f"{name}.ipynb").exists()]
    write_whole(
        out / "index.html",
        templates.get_template("index.html.j2").render(
            title=TITLE, lead=LEAD, style=style(), cards=cards, table=(out / "traceability.html").exists()
        ),
    )
