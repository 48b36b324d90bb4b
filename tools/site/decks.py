"""A notebook's cells laid out as slides of 1280 x 720: what is said, shown and seen, as much at once as can be read.

A cell of type "slide" begins a column of slides, "subslide" a slide below; "skip" is left out, "notes" becomes speaker
notes, "fragment" appears on a key. What a slide of the notebook holds is often more than fits on a screen. It is then
broken where it costs least: never between a sentence and its formula, unwillingly between code and its picture.
"""

import base64
import io
import re
import shutil
from copy import deepcopy
from dataclasses import dataclass, field
from functools import lru_cache
from html import escape
from importlib.util import find_spec
from itertools import groupby, takewhile
from math import ceil, inf
from pathlib import Path
from textwrap import shorten

from nbconvert.filters import strip_ansi
from PIL import Image

WIDTH, HEIGHT = 1168, 590  # of what a slide holds, in pixels; deck.css has the same, and its sizes of type
PICTURES = {"image/png": "png", "image/jpeg": "jpg"}
WIDGET = "application/vnd.jupyter.widget-view+json"
SEEN = r"\*\*What you see"  # how a paragraph begins that reads a figure
REVEAL = "dist/reveal.js", "dist/reveal.css", "dist/plugin/notes.js", "LICENSE"


@dataclass
class Block:
    """A piece that is never broken, and the height that it is thought to take; for a figure, at full width."""

    kind: str  # heading, prose, item, formula, see, code, text, media or figure
    content: str  # Markdown, code, text, HTML or, for a figure, its address
    height: float
    fragment: bool = False
    columns: int = 0  # of code and text: the length of the longest line
    cell: int = 0  # of code and its outputs: the number of the cell
    alt: str = ""


@dataclass
class Slide:
    """What is on the screen at once."""

    blocks: list
    section: str = ""  # where it has no heading of its own
    solution: bool = False
    notes: list = field(default_factory=list)

    def parts(self):
        """(kind, fragment, blocks) for each run of blocks set together: Markdown, or one block of another kind."""

        def together(block):
            said = block.kind in ("heading", "prose", "item", "formula")
            return ("said" if said else block.kind, block.fragment, None if said else id(block))

        return [(kind, fragment, list(run)) for (kind, fragment, _), run in groupby(self.blocks, together)]


def described(notebook):
    """A copy whose code cells say as "alt" what is shown: the first sentence that reads them, or a heading."""
    notebook, heading = deepcopy(notebook), ""
    for cell, following in zip(notebook.cells, [*notebook.cells[1:], {"source": ""}]):
        if cell.cell_type == "markdown":
            heading = [heading, *re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE)][-1]
        else:
            said = re.search(rf"^{SEEN}(?:\.\*\*|[^.\n]*\.)\s(.+?\.)(?:\s|$)", following["source"], re.DOTALL | re.M)
            plain = re.sub(r"[*`$\\]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", said[1] if said else heading))
            cell.metadata["alt"] = shorten(plain, 300)
    return notebook


def columns(notebook, folder):
    """The deck: a list of columns, each a list of slides from top to bottom."""
    deck, section = [], ""
    for kind, cells in groups(described(notebook)):
        blocks = [block for cell in cells for block in cell_blocks(cell, folder)]
        blocks = what_you_see_last(blocks)
        notes = [cell.source for cell in cells if slide_type(cell) == "notes"]
        solution = any("solution" in cell.metadata.get("tags", []) for cell in cells)
        slides = []
        for part in split(blocks):
            for block in takewhile(lambda block: block.fragment, part):  # else the slide would be empty at first
                block.fragment = False
            for block in part if all(block.kind == "see" for block in part) else []:
                block.kind = "prose"
            headings = [block.content.lstrip("# ") for block in part if block.kind == "heading"]
            section = headings[-1] if headings else section
            slides.append(Slide(part, "" if headings else section, solution))
        if not slides:
            continue
        slides[-1].notes = notes
        if kind == "slide" or not deck:
            deck.append([])
        deck[-1] += slides
    return deck


def slide_type(cell):
    """What the cell's metadata say of its place in the deck."""
    return cell.metadata.get("slideshow", {}).get("slide_type") or "-"


def groups(notebook):
    """(slide or subslide, its cells) for each slide of the notebook, in order."""
    slides = []
    for cell in notebook.cells:
        kind = slide_type(cell)
        if kind == "skip" or cell.cell_type == "raw" or not cell.source.strip():
            continue
        if kind in ("slide", "subslide") or not slides:
            slides.append((kind, []))
        slides[-1][1].append(cell)
    return slides


def cell_blocks(cell, folder):
    """The blocks of a cell."""
    if slide_type(cell) == "notes":
        return []
    if cell.cell_type == "markdown":
        blocks = prose_blocks(cell.source, folder)
    else:
        hidden = "hide-input" in cell.metadata.get("tags", [])
        blocks = ([] if hidden else [code_block(cell)]) + output_blocks(cell)
    for block in blocks:
        block.fragment = slide_type(cell) == "fragment"
    return blocks


def prose_blocks(markdown, folder):
    """Headings, paragraphs, formulas, pictures and the items of lists."""
    # Fences and formulas may hold blank lines; an item and what is indented below it stay together.
    pattern = (
        r"```.*?^```|\$\$.*?\$\$|^(?:[-*]|\d+\.) .*?(?=\n(?:[-*]|\d+\.) |\n\s*\n(?! )|\Z)|^\S.*?(?=\n\s*\n|\n\$\$|\Z)"
    )
    blocks = []
    for match in re.finditer(pattern, markdown.strip(), re.MULTILINE | re.DOTALL):
        text = match[0].strip()
        picture = re.fullmatch(r"!\[(.*?)\]\((\S+?\.(jpg|png))\)", text, re.DOTALL)
        if picture and (path := Path(folder, picture[2])).is_file():
            blocks.append(figure_block(path.read_bytes(), picture[3], alt=picture[1]))
        elif text.startswith("# "):
            blocks.append(Block("heading", text, 120))
        elif text.startswith("#"):
            blocks.append(Block("heading", text, 66))
        elif text.startswith("$$"):
            blocks.append(Block("formula", text, 86 + 40 * text.count(r"\\")))
        elif text.startswith("|"):
            blocks.append(Block("prose", text, 44 * text.count("\n") + 16))
        elif re.match(r"([-*]|\d+\.) ", text):
            blocks.append(Block("item", text, 39 * rows_of(text, 76) + 6))
        else:
            blocks.append(Block("prose", text, 39 * rows_of(text, 80) + 16))
    return blocks


def rows_of(markdown, length):
    """How many lines of so many letters a paragraph takes; a formula counts as about what it shows."""
    shown = re.sub(r"\]\([^)]*\)|[*`$\\{}]|(?<=\\)[a-z]+", "", markdown)
    return ceil(len(shown) / length)


def code_block(cell):
    """The input of a cell."""
    columns, rows = measure(cell.source.splitlines())
    height = 1.36 * min(21, WIDTH / 0.62 / columns) * rows + 36
    return Block("code", cell.source, height, columns=columns, cell=cell.execution_count or 0)


def measure(lines, most=104):
    """The length of the longest line, lines longer than `most` being folded, and how many rows that makes."""
    return min(most, max(map(len, lines), default=1) or 1), sum(ceil(len(line) / most) or 1 for line in lines)


def output_blocks(cell):
    """The outputs of a cell: pictures, HTML, Markdown or text, whichever says most; live controls are left out."""
    blocks = []
    for output in joined(cell.get("outputs", [])):
        data = output.get("data", {})
        picture = next((mime for mime in PICTURES if mime in data), None)
        if picture:
            blocks.append(
                figure_block(base64.b64decode(data[picture]), PICTURES[picture], cell.metadata.get("alt", ""))
            )
        elif "text/html" in data:
            label = (
                blocks.pop().content.strip("'\n")
                if blocks and blocks[-1].kind == "text" and "\n" not in blocks[-1].content
                else ""
            )
            blocks.append(media_block(data["text/html"], label))
        elif "text/markdown" in data or "text/latex" in data:
            blocks += prose_blocks(data.get("text/markdown") or data["text/latex"], ".")
        elif output["output_type"] == "error":
            blocks.append(text_block(f"{output.ename}: {output.evalue}"))
        elif text := output.get("text") or (WIDGET not in data and data.get("text/plain")):
            blocks.append(text_block(text))
        if len(blocks) > 1 and blocks[-1].kind == blocks[-2].kind == "media":  # players, side by side
            blocks[-2:] = [Block("media", blocks[-2].content + blocks[-1].content, blocks[-2].height)]
    for block in blocks:
        block.cell = cell.execution_count or 0
        block.columns = max(block.columns, code_block(cell).columns)  # so that text is no larger than the code above it
    return blocks


def joined(outputs):
    """The outputs, with what was printed piece by piece in one."""
    for is_stream, run in groupby(outputs, lambda output: output.output_type == "stream"):
        if is_stream:
            yield {"output_type": "stream", "text": "".join(output.text for output in run)}
        else:
            yield from run


def text_block(text, most=14):
    """Text that a cell put out; a long one is cut."""
    rows = strip_ansi(text).rstrip().splitlines() or [""]
    if len(rows) > most:
        rows = [*rows[: most - 1], f"... and {len(rows) - most + 1} lines more"]
    columns, folded = measure(rows)
    return Block("text", "\n".join(rows), 28 * folded + 14, columns=columns)


def media_block(html, label):
    """A table, or something to hear, with its name."""
    name = f"<figcaption>{escape(label)}</figcaption>" if label else ""
    return Block("media", f"<figure>{html}{name}</figure>", 40 * html.count("<tr") + 30 or 100)


def figure_block(data, ending, alt):
    """A picture, as tall as full width or a full slide makes it, but at most twice as tall as it is."""
    width, height = Image.open(io.BytesIO(data)).size
    mime = next(mime for mime, name in PICTURES.items() if name == ending)
    address = f"data:{mime};base64,{base64.b64encode(data).decode()}"
    return Block("figure", address, min(WIDTH * height / width, HEIGHT - 60, 2 * height), alt=" ".join(alt.split()))


def what_you_see_last(blocks):
    """Move paragraphs that begin with "What you see" behind what they read: the picture or the text that follows."""
    shown = [index for index, block in enumerate(blocks) if block.kind == "figure"]
    if not shown and blocks and not tells_what_you_see(blocks[0]):  # else it speaks of the slide before
        shown = [index for index, block in enumerate(blocks) if block.kind in ("text", "media")]
    last = shown[-1] if shown else -1
    for block in blocks if shown else []:
        if tells_what_you_see(block):
            block.kind, block.height = "see", 31 * rows_of(block.content, 100) + 14
    see = [block for block in blocks[: last + 1] if block.kind == "see"]
    return [block for block in blocks[: last + 1] if block.kind != "see"] + see + blocks[last + 1 :]


def tells_what_you_see(block):
    """Whether a paragraph is of that kind."""
    return block.kind == "prose" and re.match(SEEN, block.content)


def split(blocks):
    """Break blocks into slides so that the sum of what the slides and the breaks between them cost is least."""

    @lru_cache
    def best(start):
        if start == len(blocks):
            return 0, ()
        options = []
        for end in range(start + 1, len(blocks) + 1):
            cost, ends = best(end)
            seam = strain(blocks[end - 1], blocks[end]) if end < len(blocks) else 0
            options.append((slide_cost(blocks[start:end]) + seam + cost, (end, *ends)))
        return min(options)

    ends = best(0)[1]
    return [blocks[start:end] for start, end in zip((0, *ends), ends)]


def strain(before, after):
    """What it costs to break between two blocks."""
    if before.kind == "heading" or after.kind == "formula":
        return inf
    if before.kind == "formula" and after.content[:1].islower():
        return inf
    if after.kind == "item":
        return 2 if before.kind == "prose" else 0.2
    if after.kind == "see" or after.kind == "figure" and not after.cell:
        return 1.5
    return 0.4 if before.cell and before.cell == after.cell else 0


def slide_cost(blocks):
    """One for the slide, and more the smaller its type or its picture must get to fit."""
    figures = sum(block.height for block in blocks if block.kind == "figure")
    rest = sum(block.height + 10 for block in blocks if block.kind != "figure")
    rest += 0 if any(block.kind == "heading" for block in blocks) else 40
    scale = min(1, (HEIGHT - rest) / figures) if figures else min(1, HEIGHT / rest)
    if not figures:
        least = 0.85
    elif blocks[0].content.startswith("# "):
        least = 0.6
    else:
        least = 0.66 if blocks[-1].kind == "see" else 0.72
    return 1 + 2.5 * (1 - scale) + 100 * max(0, least - scale)


def markdown(blocks):
    """The Markdown of a run of blocks: items follow one another, all else stands apart."""
    text = blocks[0].content
    for before, after in zip(blocks, blocks[1:]):
        text += ("\n" if before.kind == after.kind == "item" else "\n\n") + after.content
    return text


def copy_reveal(out):
    """Put reveal.js beside the decks: its script, its style sheet, the speaker's view and its licence."""
    package = find_spec("pyreveal")
    if package is None:
        raise ModuleNotFoundError("reveal.js comes with the package pyreveal, which is not installed: make course")
    folder = out / "reveal"
    folder.mkdir(exist_ok=True)
    for name in REVEAL:
        shutil.copyfile(Path(package.submodule_search_locations[0], "revealjs", name), folder / Path(name).name)
