"""A published file onto this computer, whole and checked; and a zip archive unpacked without trusting it."""

import os
import shutil
import stat
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path, PurePosixPath

from ..engine.files import file_digest

_CHUNK = 1 << 16


def download(url, target, digest, *, algorithm="sha1", timeout=30, callback=None):
    """Fetch a file whose digest is known; it gets its name only once the digest is right.

    What a cut connection leaves is kept as <target>.part, and the next attempt asks for the rest of it. An attempt
    that brought something is followed by another one at once.

    Args:
        url: where it is published.
        target: the file to write.
        digest: the expected one, in hexadecimal digits.
        algorithm: the digest's kind, a name that hashlib knows.
        timeout: seconds to wait for a sign of life.
        callback: called with (bytes here, bytes in all); the second is None where the server does not say.
    Returns:
        pathlib.Path(target).
    Raises:
        ConnectionError: it cannot be had, or what came is another file (then nothing of it stays).
        OSError: the file cannot be written.
    """
    target = Path(target)
    part = target.with_name(f"{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    if not (part.exists() and file_digest(part, algorithm) == digest):  # else it is all here, only not renamed yet
        _fetch(url, part, timeout, callback)
        found = file_digest(part, algorithm)
        if found != digest:
            part.unlink()
            raise ConnectionError(f"{url} sent another file: its {algorithm} is {found}, expected {digest}")
    os.replace(part, target)
    return target


def extract_zip(archive, target, *, max_bytes=1 << 30, max_members=50_000):
    """Unpack one folder of an archive; the folder appears whole or not at all.

    Args:
        archive: a zip file with a folder of target's name at its top.
        target: that folder's place; if another process has put it there meanwhile, theirs is kept.
        max_bytes, max_members: what the archive may hold at most once unpacked; a bomb promises more.
    Returns:
        pathlib.Path(target).
    Raises:
        ValueError: it is no zip file, is damaged, is too large, lacks the folder, or has a member that would land
            outside the folder or is no plain file (a link, a device).
    """
    target = Path(target)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        try:
            with zipfile.ZipFile(archive) as file:
                members = _safe_members(archive, file.infolist(), max_bytes, max_members)
                for info, path in members:
                    _unpack(file, info, Path(folder, path))
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, FileExistsError, NotADirectoryError) as error:
            # RuntimeError: encrypted, or a compression that Python lacks; FileExistsError: one name twice
            raise ValueError(f"{archive} cannot be unpacked: {error}") from None
        unpacked = Path(folder, target.name)
        if not unpacked.is_dir():
            raise ValueError(f"{archive} has no folder {target.name!r} at its top")
        try:
            os.replace(unpacked, target)
        except OSError:
            if not target.is_dir():
                raise
    return target


def _fetch(url, part, timeout, callback):
    """Append to `part` until the server has nothing more; gives up after an attempt that brought nothing."""
    while True:
        had = _size(part)
        try:
            return _attempt(url, part, timeout, callback)
        except ConnectionError:
            if _size(part) <= had:
                raise


def _attempt(url, part, timeout, callback):
    done = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    with _network_errors(url):
        try:
            response = urllib.request.urlopen(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            error.close()
            if not done or error.code != 416:
                raise
            part.unlink()  # 416: longer than the file there is
            return _attempt(url, part, timeout, callback)
    with response:
        resumed = done and response.status == 206
        if resumed and not (response.headers["Content-Range"] or "").startswith(f"bytes {done}-"):
            part.unlink()
            raise ConnectionError(f"{url} sent another part than asked for")
        done = done if resumed else 0  # a server that knows no Range sends it all again
        length = response.headers["Content-Length"]
        total = done + int(length) if length else None
        with open(part, "ab" if resumed else "wb") as file:
            for chunk in _chunks(response, url):
                file.write(chunk)
                done += len(chunk)
                if callback:
                    callback(done, total)
    if total is not None and done < total:  # reading in pieces ends early without an error
        raise ConnectionError(f"{url} broke off after {done} of {total} bytes")


def _chunks(response, url):
    while True:
        with _network_errors(url):  # the network alone: a full disk is no lost connection
            chunk = response.read(_CHUNK)
        if not chunk:
            return
        yield chunk


@contextmanager
def _network_errors(url):
    """Every way in which a network fails -> ConnectionError."""
    try:
        yield
    except (OSError, HTTPException) as error:
        raise ConnectionError(f"{url}: {getattr(error, 'reason', None) or error or type(error).__name__}") from None


def _size(path):
    return path.stat().st_size if path.exists() else 0


def _safe_members(archive, infos, max_bytes, max_members):
    """(info, relative path) of each file to unpack; folders come with their files."""
    if len(infos) > max_members:
        raise ValueError(f"{archive} is refused: it holds {len(infos)} members, at most {max_members} are unpacked")
    size = sum(info.file_size for info in infos)  # zipfile never unpacks more of a member than it declares
    if size > max_bytes:
        raise ValueError(f"{archive} is refused: it holds {size} bytes, at most {max_bytes} are unpacked")
    members = []
    for info in infos:
        name = info.filename.replace("\\", "/")  # what Windows takes for a separator is one everywhere
        path = PurePosixPath(name)
        if path.is_absolute() or ":" in name or ".." in path.parts or not path.parts:
            raise ValueError(f"{archive} is refused: its member {info.filename!r} would land outside the folder")
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ValueError(f"{archive} is refused: its member {info.filename!r} is a link or no plain file")
        if not name.endswith("/"):
            members.append((info, path))
    return members


def _unpack(file, info, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with file.open(info) as source, open(path, "xb") as copy:
        shutil.copyfileobj(source, copy)
