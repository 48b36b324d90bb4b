"""Run every notebook and leave a course that is read offline: build/index.html leads to its pages and decks.

python -m tools.site.course          # all notebooks, top to bottom
python -m tools.site.course 03         # those with "03" in their name; the other cards stay as they were
python -m tools.site.course --refresh  # also store the new outputs in the notebooks themselves, for committing
"""

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import shorten

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from tqdm import tqdm

from d2lstyle.engine.files import write_whole

from . import decks, pages, reference
from .pages import ROOT

IMAGES, WIDGET = decks.PICTURES, decks.WIDGET


def run(path, timeout, step):
    """Run one notebook; return its executed copy, which says in its metadata how long it took and what failed.

    `step()` is called when a cell of code begins.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:  # or a notebook that stops would show old outputs after that cell
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    at = 0

    def count(cell, cell_index):
        nonlocal at
        if cell.cell_type == "code":
            at += 1
            step()

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


def say(line):
    """Print a line above the progress bar, and at once where a log is read while it grows."""
    tqdm.write(line)
    sys.stdout.flush()


def main():
    """Run the notebooks asked for, write their pages and the index; exit 1 when one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="?", default="", help="run only the notebooks with this in their name")
    parser.add_argument("--notebooks", type=Path, default=ROOT / "notebooks", help="folder of the notebooks")
    parser.add_argument("--out", type=Path, default=ROOT / "build", help="folder of the pages")
    parser.add_argument("--refresh", action="store_true", help="store the outputs in the notebooks, too")
    parser.add_argument("--timeout", type=int, default=900, help="seconds that one cell may take")
    parser.add_argument("--jobs", type=int, default=2, help="so many notebooks side by side, which share the cores")
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
    cells = sum(cell.cell_type == "code" for path in chosen for cell in nbformat.read(path, as_version=4).cells)
    bar = tqdm(total=cells, unit="cell", disable=None)  # in a terminal; a log has a line at each start and end
    jobs = max(1, min(options.jobs, len(chosen)))
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))  # of each kernel

    def make(number, path):
        """Run a chapter and write what is read; return whether it failed."""
        label = f"[{number}/{len(chosen)}] {path.stem} ..."
        say(label)
        notebook = run(path, options.timeout, bar.update)
        result = notebook.metadata["course"].copy()
        pages.save(notebook, path, options.out)
        if options.refresh and not result["failed"]:
            refresh(notebook, path)
        end = f"failed in {result['failed']}" if result["failed"] else f"done in {result['seconds']:.0f} s"
        say(f"{label} {end}")
        return bool(result["failed"])

    with bar, ThreadPoolExecutor(jobs) as pool:
        try:
            failures = sum(pool.map(make, range(1, len(chosen) + 1), chosen))
        except KeyboardInterrupt:
            os._exit(130)  # a thread would go on to its chapter's end; the kernels stop when this process does
    pages.write_index([path.stem for path in everything], options.out)
    print(f"{len(chosen) - failures} of {len(chosen)} ran; open {options.out / 'index.html'}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
