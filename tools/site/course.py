"""Run every notebook and leave a course that is read offline: build/index.html leads to its pages and decks.

python -m tools.site.course          # all notebooks, top to bottom
python -m tools.site.course 03         # those with "03" in their name; the other cards stay as they were
python -m tools.site.course --refresh  # also store the new outputs in the notebooks themselves, for committing
"""

import argparse
import sys
import time
from pathlib import Path
from textwrap import shorten

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from d2lstyle.engine.files import write_whole

from . import decks, pages, reference
from .pages import ROOT

IMAGES, WIDGET = decks.PICTURES, decks.WIDGET


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
        notebook,
        timeout=timeout,
        kernel_name="python3",
        store_widget_state=False,
        on_cell_start=count,
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
    )
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


def refresh(notebook, source):
    """Store the outputs in the notebook itself, without what only this run knows: timings and progress bars."""
    del notebook.metadata["course"]
    notebook.metadata["language_info"] = {"name": "python"}  # no version: it differs by machine
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = without_controls(cell.outputs)
    write_whole(source, nbformat.writes(notebook) + "\n")


def without_controls(outputs):
    """Outputs for a file: of a lab its still picture alone; a slider or a progress bar, which has none, not at all."""
    kept = [
        output for output in outputs if WIDGET not in output.get("data", {}) or IMAGES.keys() & output["data"].keys()
    ]
    for output in kept:
        output.get("data", {}).pop(WIDGET, None)
    return kept


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
    reference.save(options.out)
    pages.save_sheets(options.notebooks.resolve(), options.out)
    pages.save_table(options.notebooks.resolve(), options.out)
    failures = 0
    for number, path in enumerate(chosen, start=1):
        show = reporter(f"[{number}/{len(chosen)}] {path.stem}")
        notebook = run(path, options.timeout, show)
        pages.save(notebook, path, options.out)
        result = notebook.metadata["course"]
        failures += result["failed"] is not None
        if options.refresh and not result["failed"]:
            refresh(notebook, path)
        show(f"failed in {result['failed']}" if result["failed"] else f"done in {result['seconds']:.0f} s", end=True)
    pages.write_index([path.stem for path in everything], options.out)
    print(f"{len(chosen) - failures} of {len(chosen)} ran; open {options.out / 'index.html'}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
