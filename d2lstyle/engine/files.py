"""Files that appear whole or not at all."""

import hashlib
import json
import os
import platform
import re
import shutil
import stat
import time
import uuid
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

BORN = time.time()  # of this process, or nearly
HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:6]
PART = re.compile(r"\..+\.((?P<host>[0-9a-f]{6})-(?P<process>\d+)-)?[0-9a-f]{8}\.part")  # of earlier versions, too
LONGEST_WRITE = 24 * 3600  # seconds, of a download


@contextmanager
def replacing(path):
    """A path to write to, whose file takes the place of `path` at the end of the block; if that raises, nothing stays.

    A reader meets the old file or the new one, never a half; of several processes that write, the last one wins. Links
    and the file's mode stay: what a link leads to is replaced.
    """
    path = target_of(path)
    part = part_of(path)
    try:
        yield part
        if path.exists():
            part.chmod(stat.S_IMODE(path.stat().st_mode))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def target_of(path):
    """The file that a path leads to, by its links: there is one, or none yet; else an OSError."""
    target = Path(os.path.realpath(path))
    if target.is_symlink() or (target.exists() and not target.is_file()):
        raise OSError(f"expected a file to write, got {path}: a folder, a device, or a link that leads to itself")
    return target


def part_of(path):
    """A hidden name beside `path` that no other process uses; it tells who writes there, and is not too long."""
    return path.with_name(f".{path.name[:50]}.{HOST}-{os.getpid()}-{uuid.uuid4().hex[:8]}.part")


def remove_stale_parts(paths):
    """Remove those of the paths that a killed process left half written; what another still writes stays."""
    for path in paths:
        with suppress(OSError):  # it has just become whole, or is in use (Windows)
            if (name := PART.fullmatch(path.name)) and not _is_being_written(path, **name.groupdict()):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _is_being_written(path, host, process):
    modified = path.stat().st_mtime
    if process is None or modified < time.time() - LONGEST_WRITE:  # the number of a process may be used again
        return False
    if host != HOST:
        return True
    if int(process) == os.getpid():
        return modified >= BORN
    try:
        if os.name != "nt":  # there a file in use cannot be removed
            os.kill(int(process), 0)
            return True
    except ProcessLookupError:
        pass
    except PermissionError:  # another user's
        return True
    return False


def write_whole(path, content):
    """Write bytes, or text as UTF-8, with `replacing`."""
    with replacing(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def read_json_lines(path):
    """The objects of a file with one in JSON a line; none where there is no file. A damaged line is left out."""
    try:
        lines = Path(path).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    rows = []
    for line in lines:
        with suppress(ValueError, RecursionError):  # the run was killed while it wrote
            rows.append(json.loads(line))
    return [row for row in rows if isinstance(row, dict)]


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


def digests_of_alike(paths):
    """{path: digest} of the files that have the size of another: none of the others has an equal."""
    sizes = {path: path.stat().st_size for path in paths if path.is_file()}
    count = Counter(sizes.values())
    return {path: file_digest(path) for path, size in sizes.items() if count[size] > 1}


def equal_files(files, others):
    """[(file, other)] of equal bytes: each of `files` that has an equal, and the first such among `others`."""
    sizes = {path: path.stat().st_size for path in (*files, *others) if path.is_file()}
    shared = {sizes.get(file) for file in files} & {sizes.get(other) for other in others}
    digests = {path: file_digest(path) for path, size in sizes.items() if size in shared}  # most need no reading
    firsts = {digests[other]: other for other in reversed(others) if other in digests}
    return [(file, firsts[digests[file]]) for file in files if digests.get(file) in firsts]
