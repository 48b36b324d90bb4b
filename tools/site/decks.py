"""A notebook's cells laid out as slides of 1280 x 720: little to read on each, one picture, the rest for the speaker.

A cell of type "slide" begins a column of slides, "subslide" a slide below; "skip" is left out, "notes" becomes speaker
notes, "fragment" appears on a key. Of prose a slide shows headings, formulas, tables, predictions and the sentences
with something in **bold**; where a cell has neither of the last two, its first sentence. Of a list it shows the items
with something in bold, or else all, if they are short. What is said of a figure stands below it, and both wait for a
key after a prediction. What is left out is in the speaker's notes. Code is shown if its cell is tagged "show-input".
"""

import base64
import io
import re
import shutil
from copy import deepcopy
from dataclasses import dataclass, field
from html import escape
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from textwrap import shorten

from nbconvert.filters import strip_ansi
from PIL import Image

WIDTH, HEIGHT = 1168, 590  # of what a slide holds, in pixels; deck.css has the same
MOST_WORDS = 45  # on a slide; a list that needs more is left to the notes
BESIDE = 1.8  # a picture whose width is less than so many heights stands beside the text, else below it
PICTURES = {"image/png": "png", "image/jpeg": "jpg"}
WIDGET = "application/vnd.jupyter.widget-view+json"
SEEN = r"\*\*What you see"  # how a paragraph begins that reads a figure
PREDICTION = r"\*(?:Predict|Estimate|Before you look)"  # how a sentence begins that asks before it shows
REVEAL = "dist/reveal.js", "dist/reveal.css", "dist/plugin/notes.js", "LICENSE"


@dataclass
class Block:
    """What is set as one piece."""

    kind: str  # heading, prose, item, table, formula, ask, see, code, text, media or figure
    content: str  # Markdown, code, text, HTML or, for a figure, its address
    fragment: bool = False
    columns: int = 0  # of code and text: the length of the longest line
    ratio: float = 0  # of a figure: its width over its height
    height: float = 0  # of a figure: the most that it should take
    alt: str = ""


@dataclass
class Slide:
    """What is on the screen at once."""

    section: str = ""  # where it has no heading of its own
    blocks: list = field(default_factory=list)
    notes: list = field(default_factory=list)

    @property
    def beside(self):
        """Whether its picture stands beside what is said."""
        kinds = {block.kind: block for block in self.blocks if block.kind != "heading"}
        is_tall = "figure" in kinds and kinds["figure"].ratio < BESIDE
        return is_tall and len(kinds) > 1 and not kinds.keys() & {"code", "text", "media", "table"}

    def parts(self):
        """(kind, blocks) for each run of blocks set together: Markdown, or one block of another kind."""

        def together(block):
            said = block.kind in ("prose", "item", "table", "formula")
            return "said" if said else block.kind, block.fragment, None if said else id(block)

        return [(kind, list(run)) for (kind, *_), run in groupby(self.blocks, together)]

    def show_after_a_key(self):
        """Let what answers the prediction wait; and nothing wait on a slide that would be empty at first."""
        kinds = [block.kind for block in self.blocks]
        asked = kinds.index("ask") if "ask" in kinds else len(kinds)
        for at, block in enumerate(self.blocks):
            block.fragment |= at > asked and block.kind not in ("prose", "formula", "code")
            block.fragment &= not all(before.fragment for before in self.blocks[:at])


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
        slides = [Slide()]
        for cell in cells:
            blocks = cell_blocks(cell, folder)
            for block in blocks:
                if block.kind == "figure" and any(before.kind == "figure" for before in slides[-1].blocks):
                    slides.append(Slide())
                slides[-1].blocks.append(block)
            slides[-1].notes += left_out(cell, blocks)
        share(slides)
        for slide in slides:
            headings = [block.content.lstrip("# ") for block in slide.blocks if block.kind == "heading"]
            slide.section, section = ("", headings[-1]) if headings else (section, section)
            slide.show_after_a_key()
        if not slides[0].blocks and deck:  # all is for the speaker, who gets it one slide earlier
            deck[-1][-1].notes += slides.pop(0).notes
        elif kind == "slide" or not deck:
            deck.append([])
        deck[-1] += slides
    return deck


def share(slides):
    """Of several pictures of one cell, and what is said after them: the last is said of the last, and so on."""
    said = slides[-1].blocks[1:] if slides[1:] else []
    for slide, block in zip(slides[-2::-1], said[-2::-1]):
        slide.blocks.append(block)
        slides[-1].blocks.remove(block)


def slide_type(cell):
    """What the cell's metadata say of its place in the deck."""
    return cell.metadata.get("slideshow", {}).get("slide_type") or "-"


def groups(notebook):
    """(slide or subslide, its cells) for each slide of the notebook, in order."""
    slides = []
    for cell in notebook.cells:
        kind = slide_type(cell)
        if kind == "skip" or cell.cell_type == "raw":
            continue
        if slides and kind in ("slide", "subslide") and re.match(SEEN, cell.source):
            reading, _, cell.source = cell.source.partition("\n\n")  # of the slide before
            slides[-1][1].append(type(cell)({**cell, "source": reading}))
        if not cell.source.strip():
            continue
        if kind in ("slide", "subslide") or not slides:
            slides.append((kind, []))
        slides[-1][1].append(cell)
    return slides


def cell_blocks(cell, folder):
    """What a slide shows of a cell."""
    if slide_type(cell) == "notes":
        return []
    if cell.cell_type == "markdown":
        blocks = prose_blocks(cell.source, folder)
    else:
        shown = "show-input" in cell.metadata.get("tags", [])
        blocks = ([code_block(cell)] if shown else []) + output_blocks(cell)
    for block in blocks:
        block.fragment = slide_type(cell) == "fragment"
    return blocks


def left_out(cell, blocks):
    """The notes of a cell: its prose, unless the slide shows all of it, or what it printed beside a picture."""
    if cell.cell_type == "code":
        printed = [output["text"] for output in joined(cell.get("outputs", [])) if output["output_type"] == "stream"]
        return [f"```\n{text.rstrip()}\n```" for text in printed if any(block.kind == "figure" for block in blocks)]
    shown = "".join(block.content for block in blocks if block.kind != "figure")
    prose = re.sub(r"^#+ .*$|!\[[^]]*\]\([^)]*\)|</?(?:details|summary)>", "", cell.source, flags=re.MULTILINE)
    return [] if "".join(shown.split()).endswith("".join(prose.split())) else [prose.strip()]


def prose_blocks(markdown, folder):
    """What a slide shows of a Markdown cell."""
    blocks = [block for text in paragraphs(markdown) for block in paragraph_blocks(text, folder)]
    items = [block for block in blocks if block.kind == "item"]
    items = [block for block in items if "**" in block.content] or items
    shown = [block for block in blocks if block.kind not in ("item", "rest")]
    if sum(n_words(block.content) for block in shown + items) > MOST_WORDS:
        items = []
    if not items and all(block.kind not in ("prose", "ask", "see") for block in shown):
        for block in [block for block in blocks if block.kind == "rest"][:1]:
            block.kind, block.content = "prose", sentences(block.content)[0]
    return [block for block in blocks if block.kind != "rest" and (block.kind != "item" or block in items)]


def paragraphs(markdown):
    """Headings, paragraphs, formulas, tables and the items of lists."""
    # Fences, formulas and what is folded may hold blank lines; an item and what is indented below it stay together.
    pattern = r"```.*?^```|<details>.*?</details>|\$\$.*?\$\$|^(?:[-*]|\d+\.) .*?(?=\n(?:[-*]|\d+\.) |\n\s*\n(?! )|\Z)"
    pattern += r"|^\S.*?(?=\n\s*\n|\n\$\$|\Z)"
    return [match[0].strip() for match in re.finditer(pattern, markdown.strip(), re.MULTILINE | re.DOTALL)]


def paragraph_blocks(text, folder):
    """What a slide shows of a paragraph; what it leaves out is of the kind "rest"."""
    picture = re.fullmatch(r"!\[(.*?)\]\((\S+?\.(jpg|png))\)", text, re.DOTALL)
    if picture and (path := Path(folder, picture[2])).is_file():
        return [figure_block(path.read_bytes(), picture[3], alt=picture[1])]
    if text.startswith("<details>"):
        return []
    for start, kind in (("#", "heading"), ("$$", "formula"), ("|", "table"), ("```", "prose")):
        if text.startswith(start):
            return [Block(kind, text)]
    if item := re.match(r"(?:[-*]|\d+\.) ", text):
        return [Block("item", item[0] + gist(text[item.end() :]))]
    if re.match(SEEN, text):
        return [Block("see", gist(re.sub(SEEN + r"[^.]*\.(?:\*\*)?\s+", "", text)))]
    asks = [sentence for sentence in sentences(text) if re.match(PREDICTION, sentence)]
    bold = [sentence for sentence in sentences(text) if "**" in sentence and sentence not in asks]
    shown = [Block("prose", " ".join(bold))] * bool(bold) + [Block("ask", sentence) for sentence in asks]
    return shown or [Block("rest", text)]


def gist(text):
    """The sentences that have something in bold, or else the first."""
    return " ".join([each for each in sentences(text) if "**" in each] or sentences(text)[:1])


def sentences(text):
    """The sentences of a paragraph; a short **label.** and a **question?** belong to the one that follows."""
    whole = [""]
    for piece in re.findall(r".+?(?:[.?!][\"*)]*(?=\s|$)|$)\s*", " ".join(text.split())):
        last, plain = whole[-1].strip(), whole[-1].replace("**", "")
        is_open = (
            whole[-1].count("**") % 2
            or any(plain.count(mark) % 2 for mark in '*$`"')
            or plain.count("(") > plain.count(")")
        )
        is_label = re.fullmatch(r"\*\*(?:(?:[^ *]+ ?){1,3}|[^*]+\?)\*\*", last)
        if is_open or is_label or not last or re.search(r"\bal\.$", last) or re.match(r"[a-z★]", piece):
            whole[-1] += piece
        else:
            whole.append(piece)
    return [sentence.strip() for sentence in whole]


def n_words(markdown):
    """The words of a Markdown text; a formula counts as one."""
    return len(re.findall(r"\S*\w\S*", re.sub(r"\$+.*?\$+", "x", markdown, flags=re.DOTALL)))


def code_block(cell):
    """The input of a cell."""
    return Block("code", cell.source, columns=max(1, *map(len, cell.source.splitlines())))


def output_blocks(cell):
    """The outputs of a cell: pictures, HTML, Markdown, or, if it has no picture, text; live controls are left out."""
    blocks = []
    for output in joined(cell.get("outputs", [])):
        data = output.get("data", {})
        picture = next((mime for mime in PICTURES if mime in data), None)
        if picture:
            alt = cell.metadata.get("alt", "")
            blocks.append(figure_block(base64.b64decode(data[picture]), PICTURES[picture], alt))
        elif "text/html" in data:
            label = blocks.pop().content.strip("'") if blocks and blocks[-1].kind == "text" else ""
            blocks.append(media_block(data["text/html"], label))
        elif "text/markdown" in data or "text/latex" in data:
            blocks += prose_blocks(data.get("text/markdown") or data["text/latex"], ".")
        elif output["output_type"] == "error":
            blocks.append(text_block(f"{output.ename}: {output.evalue}"))
        elif text := output.get("text") or (WIDGET not in data and data.get("text/plain")):
            blocks.append(text_block(text))
        if len(blocks) > 1 and blocks[-1].kind == blocks[-2].kind == "media":  # players, side by side
            blocks[-2:] = [Block("media", blocks[-2].content + blocks[-1].content)]
    drawn = any(block.kind == "figure" for block in blocks)
    return [block for block in blocks if not drawn or block.kind != "text"]


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
    return Block("text", "\n".join(rows), columns=max(1, *map(len, rows)))


def media_block(html, label):
    """A table, or something to hear, with its name."""
    name = f"<figcaption>{escape(label)}</figcaption>" if label else ""
    return Block("media", f"<figure>{html}{name}</figure>")


def figure_block(data, ending, alt):
    """A picture, as tall as full width or a full slide makes it, but at most twice as tall as it is."""
    width, height = Image.open(io.BytesIO(data)).size
    mime = next(mime for mime, name in PICTURES.items() if name == ending)
    address = f"data:{mime};base64,{base64.b64encode(data).decode()}"
    most = min(WIDTH * height / width, HEIGHT - 60, 2 * height)
    return Block("figure", address, ratio=width / height, height=most, alt=" ".join(alt.split()))


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
