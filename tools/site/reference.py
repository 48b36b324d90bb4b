"""The reference: one page on the public names of `d2lstyle`, which pdoc reads from the package's docstrings.

pdoc finds members, signatures and the sections of a docstring. Prose and look are those of the course's other pages:
pdoc's own pages have frames, fonts and colours of their own.
"""

import ast
import re
from importlib import import_module
from operator import attrgetter

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from nbconvert.filters.markdown_mistune import MarkdownWithMath
from pdoc.doc import Class, Function
from pdoc.docstrings import convert
from pdoc.render_helpers import format_signature

from d2lstyle.engine.files import write_whole

from . import pages

STUB = pages.ROOT / "d2lstyle" / "__init__.pyi"
# The rooms in the order of the lecture, each with public names that are not in `STUB`: `ds.augment.adjust_hue`.
# A room with none in either place shows all that its file holds.
ROOMS = {
    "images": ["read_alpha", "resize"],
    "augment": ["horizontal_flip", "vertical_flip", "resized_crop"]
    + ["adjust_brightness", "adjust_contrast", "adjust_saturation", "adjust_hue", "color_jitter"],
    "light": ["adjust_lighting"],
    "losses": [],
    "backbones": [],
    "finetune": ["Classifier"],
    "training": ["History", "Epoch", "FitStep", "Evaluation"],
    "mixing": [],
    "transfer": [],
    "maps": ["truth.Curve", "truth.Cascade"],
    "samples": [],
    "datasets": [],
    "fast": [],
    "folders": [],
    "widgets": ["AugmentationLab", "FineTuneLab", "StyleLab", "RegionLab"],
    "plots": [],
    "progress": [],
    "results": [],
}


class Docs(pages.Prose):
    """Docstrings as HTML: a section's name is no heading of the page, "<" is text, and a name leads to its entry."""

    def __init__(self, anchors):
        super().__init__(escape=True)
        self.anchors = {anchor.split(".")[-1]: anchor for anchor in anchors}

    def codespan(self, text):
        anchor = self.anchors.get(text.split("(")[0].split(".")[-1])
        code = super().codespan(text)
        return f'<a class="name" href="#{anchor}">{code}</a>' if anchor else code

    def heading(self, text, level, **attributes):
        return f'<p class="part">{text.removesuffix(":")}</p>\n'

    def block_html(self, html):
        return f"<p>{self.escape_html(html)}</p>\n"


def to_html(docstring, anchors):
    """A docstring as HTML; an example is a block of code, not a quotation of a quotation of a quotation."""
    text = re.sub(r"^>>> .*(?:\n.+)*", r"```pycon\n\g<0>\n```", convert(docstring, "google", None), flags=re.MULTILINE)
    return MarkdownWithMath(renderer=Docs(anchors)).render(text)


def rooms():
    """[(room, its module, {anchor: object})]: a name of `STUB` is its own anchor, others follow the room's name."""
    imports = [node for node in ast.parse(STUB.read_text("utf-8")).body if isinstance(node, ast.ImportFrom)]
    exported = {node.module: [alias.name for alias in node.names] for node in imports}
    for room, others in ROOMS.items():
        module = import_module("d2lstyle." + {"widgets": "labs"}.get(room, room))
        names = {name: getattr(module, name) for name in exported.get(room, [])}
        if not names and not others:
            others = [
                name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__
            ]
        names |= {f"{room}.{name}": attrgetter(name)(module) for name in others if not name.startswith("_")}
        yield room, module, names


def entry(anchor, thing):
    """What the page shows of a function or class."""
    kind = Class if isinstance(thing, type) else Function
    doc = kind(thing.__module__, thing.__qualname__, thing, (thing.__module__, thing.__qualname__))
    methods = [member for member in doc.members.values() if shown(member)] if kind is Class else []
    signature = doc.members["__init__"].signature_without_self if kind is Class else doc.signature
    return {
        "anchor": anchor,
        "kind": kind.__name__.lower(),
        "signature": format_signature(signature, colon=False),
        "text": doc.docstring,
        "methods": [
            (method.name, format_signature(method.signature_without_self, colon=False), method.docstring)
            for method in methods
        ],
    }


def shown(member):
    """Whether a class's member is a method of ours to be called, or what calling or indexing does."""
    public = not member.name.startswith("_") or member.name in ("__call__", "__getitem__")
    ours = member.taken_from[0].startswith("d2lstyle.") and member.name != "function"  # of a transform: shown by itself
    return member.kind == "function" and public and ours and bool(member.docstring)


def save(out):
    """Write the page."""
    templates = Environment(loader=FileSystemLoader(pages.TEMPLATES), autoescape=True)
    shelves = [(room, module.__doc__, [entry(*item) for item in names.items()]) for room, module, names in rooms()]
    anchors = [entry["anchor"] for _, _, entries in shelves for entry in entries]
    templates.filters["prose"] = lambda text: Markup(to_html(text, anchors))
    page = templates.get_template("reference.html.j2").render(rooms=shelves, style=pages.style())
    write_whole(out / "reference.html", page)
