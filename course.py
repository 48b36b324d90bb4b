"""Run every notebook and leave a course that is read offline: build/index.html, a page and a deck for each chapter.

    python course.py            # all notebooks, top to bottom
    python course.py 03         # those with "03" in their name; the other cards stay as they were
    python course.py --refresh  # also store the new outputs in the notebooks themselves, for committing
"""

import argparse
import base64
import os
import re
import sys
import time
from functools import partial
from pathlib import Path
from textwrap import shorten

import nbformat
from jinja2 import Environment, FileSystemLoader, pass_context
from markupsafe import Markup
from math_core import LatexToMathML
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter
from nbconvert.filters import Highlight2HTML
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments.formatters import HtmlFormatter

import decks

ROOT = Path(__file__).resolve().parent
TITLE = "Image augmentation, fine-tuning and style transfer"
LEAD = "The chapters of the course, run from top to bottom on this computer. Every page and deck works offline."
IMAGES, WIDGET = decks.PICTURES, decks.WIDGET


class Prose(IPythonRenderer):
    """Markdown as HTML: formulas become MathML, which browsers show with no script; notebooks become pages."""

    ending = ".html"

    def block_math(self, body):
        return formula(body, block=True)

    def inline_math(self, body):
        return formula(body, block=False)

    def latex_environment(self, name, body):
        return formula(rf"\begin{{{name}}}{body}\end{{{name}}}", block=True)

    def link(self, text, url, title=None):
        is_page = url.endswith(".ipynb") and "/" not in url
        return super().link(text, url.removesuffix(".ipynb") + self.ending if is_page else url, title)


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
    own = (ROOT / "course" / "style.css").read_text("utf-8")  # last, for its background of code to win
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n{own}"


def write(path, content):
    """Write text or bytes in one go: a reader meets the old file or the new one, never half a page."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(temporary, path)


def run(path, timeout, show):
    """Run one notebook; return its executed copy, which says in its metadata how long it took and what failed."""
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in code:  # or a notebook that stops would show old outputs after that cell
        cell.outputs, cell.execution_count = [], None
    at = 0

    def count(cell, cell_index):
        nonlocal at
        if cell.cell_type == "code":
            at += 1
            show(f"cell {at} of {len(code)}")

    client = NotebookClient(
        notebook, timeout=timeout, kernel_name="python3", store_widget_state=False, on_cell_start=count,
        resources={"metadata": {"path": str(path.parent)}}, extra_arguments=["--IPKernelApp.log_level=ERROR"])
    started, failed = time.monotonic(), None
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        failed = f"cell {at}: {reason(error, timeout)}"
    notebook.metadata["course"] = {"seconds": round(time.monotonic() - started, 1), "failed": failed}
    return notebook


def reason(error, timeout):
    """One line that says why a notebook stopped."""
    if isinstance(error, CellTimeoutError):
        return f"not done after {timeout} s"
    if isinstance(error, CellExecutionError):
        return shorten(f"{error.ename}: {error.evalue}", 300)
    return str(error)


def save(notebook, source, out):
    """Write the executed copy, its page, its deck and its thumbnail."""
    exporter = Page(template_file="page.html.j2", extra_template_paths=[str(ROOT / "course")])
    resources = {"title": title_of(notebook, source.stem), "style": style(),
                 "metadata": {"name": source.stem, "path": str(source.parent)}}
    page, _ = exporter.from_notebook_node(notebook, resources)
    write(out / f"{source.stem}.ipynb", nbformat.writes(notebook))
    write(out / f"{source.stem}.html", page)
    write(out / f"{source.stem}.slides.html", deck(notebook, source))
    if picture := thumbnail(notebook, source.parent):
        ending, data = picture
        write(out / f"{source.stem}.{ending}", data)


def deck(notebook, source):
    """The deck of a notebook, which finds reveal.js in the folder beside it."""
    templates = Environment(loader=FileSystemLoader(ROOT / "course"), autoescape=True)
    markdown = partial(to_html, renderer=SlideProse, path=str(source.parent))
    templates.filters |= {"markdown": lambda text: Markup(markdown(text)),
                          "prose": lambda blocks: Markup(markdown(decks.markdown(blocks))),
                          "code": lambda text: Markup(Highlight2HTML()(text))}
    colours = HtmlFormatter(style="friendly").get_style_defs(".highlight")
    own, script = ((ROOT / "course" / name).read_text("utf-8") for name in ("deck.css", "deck.js"))
    return templates.get_template("deck.html.j2").render(
        title=title_of(notebook, source.stem), name=source.stem, columns=decks.columns(notebook, source.parent),
        style=f"{colours}\n{own}", script=script)


def refresh(notebook, source):
    """Store the outputs in the notebook itself, without what only this run knows: timings and progress bars."""
    del notebook.metadata["course"]
    notebook.metadata["language_info"] = {"name": "python"}  # no version: it differs by machine
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = without_controls(cell.outputs)
    write(source, nbformat.writes(notebook) + "\n")


def without_controls(outputs):
    """Outputs for a file: of a lab its still picture alone; a slider or a progress bar, which has none, not at all."""
    kept = [output for output in outputs
            if WIDGET not in output.get("data", {}) or IMAGES.keys() & output["data"].keys()]
    for output in kept:
        output.get("data", {}).pop(WIDGET, None)
    return kept


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
    return next(((IMAGES[mime], base64.b64decode(data[mime])) for data in outputs for mime in IMAGES if mime in data), None)


def card(name, out):
    """What the index shows of an executed notebook."""
    notebook = nbformat.read(out / f"{name}.ipynb", as_version=4)
    first = next((cell.source for cell in notebook.cells if cell.cell_type == "markdown"), "")
    goals = re.findall(r"^[-*] .*(?:\n[ \t]+\S.*)*", first, re.MULTILINE)
    pictures = (f"{name}.{ending}" for ending in IMAGES.values())
    seconds, failed = notebook.metadata["course"]["seconds"], notebook.metadata["course"]["failed"]
    return {"name": name, "title": title_of(notebook, name), "goals": to_html("\n".join(goals)), "failed": failed,
            "duration": f"ran in {seconds:.0f} s" if seconds < 60 else f"ran in {seconds / 60:.1f} min",
            "thumbnail": next((picture for picture in pictures if (out / picture).exists()), None)}


def write_index(names, out):
    """Write the page that leads to all chapters that have been run."""
    pages = Environment(loader=FileSystemLoader(ROOT / "course"), autoescape=True)
    cards = [card(name, out) for name in names if (out / f"{name}.ipynb").exists()]
    write(out / "index.html", pages.get_template("index.html.j2").render(
        title=TITLE, lead=LEAD, style=style(), cards=cards))


def copy_sheets(notebooks, out):
    """Put the exercise sheets, blank and solved, where the pages link to them, for opening in Jupyter."""
    for path in (path for name in ("exercises", "solutions") for path in sorted((notebooks / name).glob("*.ipynb"))):
        (out / path.parent.name).mkdir(exist_ok=True)
        write(out / path.parent.name / path.name, path.read_bytes())


def reporter(label):
    """A function that shows progress: one line that changes in a terminal; in a log, one at the start and the end."""
    live = sys.stdout.isatty()
    if not live:
        print(f"{label} ...", flush=True)

    def show(text, end=False):
        if live:
            print(f"\r{label} ... {text}\033[K", end="\n" if end else "", flush=True)
        elif end:
            print(f"{label} ... {text}", flush=True)

    return show


def main():
    """Run the notebooks asked for, write their pages and the index; exit 1 when one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="?", default="", help="run only the notebooks with this in their name")
    parser.add_argument("--notebooks", type=Path, default=ROOT / "notebooks", help="folder of the notebooks")
    parser.add_argument("--out", type=Path, default=ROOT / "build", help="folder of the pages")
    parser.add_argument("--refresh", action="store_true", help="store the outputs in the notebooks, too")
    parser.add_argument("--timeout", type=int, default=900, help="seconds that one cell may take")
    options = parser.parse_args()
    everything = sorted(options.notebooks.resolve().glob("[0-9]*.ipynb"))
    chosen = [path for path in everything if options.part in path.stem]
    if not chosen:
        parser.error(f"no numbered notebook with {options.part!r} in its name in {options.notebooks}")
    options.out.mkdir(parents=True, exist_ok=True)
    decks.copy_reveal(options.out)
    copy_sheets(options.notebooks.resolve(), options.out)
    failures = 0
    for number, path in enumerate(chosen, start=1):
        show = reporter(f"[{number}/{len(chosen)}] {path.stem}")
        notebook = run(path, options.timeout, show)
        save(notebook, path, options.out)
        result = notebook.metadata["course"]
        failures += result["failed"] is not None
        if options.refresh and not result["failed"]:
            refresh(notebook, path)
        show(f"failed in {result['failed']}" if result["failed"] else f"done in {result['seconds']:.0f} s", end=True)
    write_index([path.stem for path in everything], options.out)
    print(f"{len(chosen) - failures} of {len(chosen)} ran; open {options.out / 'index.html'}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
