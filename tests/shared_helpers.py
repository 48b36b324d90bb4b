"""What several tests share: photos to paint, processes to kill, and a user's defaults."""

import os
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import torch

from d2lstyle import sample, write_image
from d2lstyle.engine.files import read_json_lines
from d2lstyle.fast import network
from d2lstyle.folders.jobs import MANIFEST
from d2lstyle.images import resize

KILLED = -signal.SIGKILL


@contextmanager
def user_defaults():
    """What a user may have set; a tensor made without a stated device has no numbers, and without a type float64."""
    before = torch.get_default_dtype()
    torch.set_default_device("meta")
    torch.set_default_dtype(torch.float64)
    network._loaded.cache_clear()  # it is loaded with them, too
    try:
        yield
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(before)


def photo_of(number, height=32, width=40):
    """Another piece of a photo for each number."""
    left, top = 37 * number % 500, 53 * number % 300
    return resize(sample("coffee")[..., top : top + 96, left : left + 96], (height, width))


def fill(folder, counts, **shape):
    """Class folders with so many photos each, all of them different in the whole test."""
    number = 10 * len(list(folder.parent.rglob("*.png")))
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            write_image(photo_of(number := number + 1, **shape), folder / name / f"{i}.png")
    return folder


def pictures(folder):
    """{path: bytes} of all that can be seen in a folder besides the manifest."""
    files = (file for file in Path(folder).rglob("*") if file.is_file() and not file.name.startswith("."))
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files if file.name != MANIFEST}


def without_seconds(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def wait_until(reached, process, seconds=120):
    end = time.monotonic() + seconds
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.01)


def end_group(process):
    """Whoever of the group is still there."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.communicate()


def cut_short(path):
    """A photo whose head is whole, and nothing else."""
    write_image(photo_of(51), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])


def manifest_of(folder):
    """The rows of a painted folder's manifest."""
    return read_json_lines(Path(folder) / MANIFEST)
