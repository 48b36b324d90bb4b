"""List each figure of the chapters beside the sentences that read it, so that a second reader can check the pairs.

python -m tools.site.figures          # build/figures.html, from the outputs that the notebooks hold
python -m tools.site.figures 03       # of the notebooks with "03" in their name
"""

import argparse
import re
from html import escape

import nbformat

from d2lstyle.engine.files import write_whole

from . import decks, pages

STYLE = (
    "body{font:16px/1.4 sans-serif;max-width:1250px;margin:auto}div{display:grid;grid-template-columns:3fr 2fr;gap:2em}"
)
STYLE += "div{border-top:1px solid #aaa;padding:1em 0}pre{white-space:pre-wrap}img{max-width:100%}"


def pairs(notebook):
    """[(number, figures as `data:` addresses, what is printed, the prose that follows)] of each cell with a figure."""
    found = []
    for number, (cell, following) in enumerate(zip(notebook.cells, [*notebook.cells[1:], None]), start=1):
        outputs = cell.get("outputs", [])
        figures = [address for output in outputs for address in _addresses(output.get("data", {}))]
        printed = "".join(output.text for output in outputs if output.output_type == "stream")
        prose = following.source if following and following.cell_type == "markdown" else ""
        if figures:
            found.append((number, figures, printed, prose))
    return found


def _addresses(data):
    return [f"data:{kind};base64,{''.join(data[kind])}" for kind in decks.PICTURES if kind in data]


def page(notebooks):
    """HTML of {title: notebook}: figures to the left, to the right what is said of them, or that nothing is."""
    parts = [f'<!doctype html><meta charset="utf-8"><title>Figures and their sentences</title><style>{STYLE}</style>']
    for title, notebook in notebooks.items():
        parts.append(f"<h1>{escape(title)}</h1>")
        for number, figures, printed, prose in pairs(notebook):
            images = f"<pre>{escape(printed)}</pre>" + "".join(f'<img src="{address}" alt="">' for address in figures)
            said = (
                pages.to_html(re.sub(r"^#+ .*$", "", prose, flags=re.MULTILINE))
                if prose
                else "<em>nothing is said</em>"
            )
            parts.append(f"<div><section><b>cell {number}</b><br>{images}</section><section>{said}</section></div>")
    return "\n".join(parts)


def main():
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="?", default="", help="only the notebooks with this in their name")
    part, out = parser.parse_args().part, pages.ROOT / "build" / "figures.html"
    files = [path for path in sorted((pages.ROOT / "notebooks").glob("[0-9]*.ipynb")) if part in path.stem]
    out.parent.mkdir(exist_ok=True)
    write_whole(out, page({path.stem: nbformat.read(path, as_version=4) for path in files}))
    print(f"open {out}")


if __name__ == "__main__":
    main()
