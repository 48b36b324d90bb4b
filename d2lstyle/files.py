"""Files that appear whole or not at all."""

import os
import uuid
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path):
    """`with replacing(path) as part:` gives a new file's path, whose file takes that of `path` at the end of the block.

    A reader meets the old file or the new one, never a half; where the block raises, nothing is left. Several
    processes may write the same file: the last one stays.

    Args:
        path: the file to write, in a folder that exists.
    """
    path = Path(path)
    part = part_of(path)
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def part_of(path):
    """A hidden name beside `path` that no other process uses."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")


def write_whole(path, content):
    """Write bytes, or text as UTF-8, with `replacing`."""
    with replacing(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
