"""Files that appear whole or not at all."""

import hashlib
import json
import os
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path):
    """A path to write to, whose file takes the place of `path` at the end of the block; if that raises, nothing stays.

    A reader meets the old file or the new one, never a half; of several processes that write, the last one wins.
    """
    part = part_of(Path(path))
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


def read_json_lines(path):
    """What a file with a JSON object a line holds; nothing where there is no file. A line cut short is left out."""
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    rows = []
    for line in lines:
        with suppress(ValueError):  # the run was killed while it wrote
            rows.append(json.loads(line))
    return rows


def append_json_line(path, row):
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"\n{json.dumps(row)}\n")  # the line before may have been cut short


def file_digest(path, algorithm="sha256"):
    """The digest of a file's content, in hexadecimal digits."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(1 << 16):
            digest.update(chunk)
    return digest.hexdigest()


def equal_files(files, others):
    """[(file, other)] of equal bytes: each of `files` that has an equal, and the first such among `others`."""
    sizes = {path: path.stat().st_size for path in (*files, *others) if path.is_file()}
    shared = {sizes.get(file) for file in files} & {sizes.get(other) for other in others}
    digests = {path: file_digest(path) for path, size in sizes.items() if size in shared}  # most need no reading
    firsts = {digests[other]: other for other in reversed(others) if other in digests}
    return [(file, firsts[digests[file]]) for file in files if digests.get(file) in firsts]
