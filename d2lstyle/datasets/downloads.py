"""A published archive onto this computer, and unpacked: whole and checked, or not at all."""

import math
import os
import shutil
import tarfile
import time
import zipfile
import zlib
from collections import Counter
from itertools import accumulate
from posixpath import dirname

from ..engine.files import file_digest, part_of, remove_stale_parts, replacing

TIMEOUT = 30  # seconds without a byte
_SLOWEST = 1000, 60  # bytes a second; seconds of patience at the start
_GROWTH = 4  # an archive of photos is hardly smaller than what is in it


def by_digest(algorithm, digits):
    """For `fetch_archive`: what is wrong with a file, if it has not this digest, of a kind that hashlib knows."""

    def fault(file):
        wrong = file_digest(file, algorithm)
        return None if wrong == digits else f"its {algorithm} is {wrong}, expected {digits}"

    return fault


def by_commit(commit, counts):
    """The same for a commit as GitHub zips it: it promises no fixed bytes of such a file, hence no digest.

    What can be checked is the commit's hash, which git writes as the comment of a zip file; {folder: how many files lie
    in it}; and that each file has the checksum which the archive states.
    """

    def fault(file):
        try:
            with zipfile.ZipFile(file) as archive:
                if archive.comment != commit.encode():
                    return f"its comment is {archive.comment[:64]!r}, expected {commit}"
                files = Counter(dirname(member.filename) for member in archive.infolist() if not member.is_dir())
                for folder, count in counts.items():
                    if files[folder] != count:
                        return f"it has {files[folder]} files in {folder}, expected {count}"
                damaged = archive.testzip()
                return damaged and f"{damaged} in it is damaged, expected a whole file"
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # RuntimeError: it is encrypted
            return f"it cannot be read: {error}, expected a zip file"

    return fault


def fetch_archive(name, url, file, fault, callback=None, most=math.inf):
    """The archive given by hand, or else downloaded; `fault(path)` says what is wrong with a file, None if nothing is.

    `callback` is called with (bytes here, bytes in all or None); no more than `most` are taken in.
    ValueError: what is there is another file; it stays. ConnectionError: it cannot be had; OSError: it cannot be
    written; nothing of it stays.
    """
    import requests  # slow to import
    import urllib3

    remove_stale_parts(file.parent.glob(".*.part"))
    if file.exists():
        if wrong := fault(file):
            raise ValueError(
                f"{file} is damaged or another file ({wrong}): remove it, or put {file.name} from {url} in its place"
            )
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with replacing(file) as part:
            _download(url, part, callback, most)
            if wrong := fault(part):
                raise ConnectionError(f"{url} sent another file: {wrong}")
    except (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError, ValueError) as error:
        reason = getattr(error.__context__, "reason", error)  # requests wraps the cause in how often it tried
        raise ConnectionError(
            f"{name} could not be downloaded ({reason}): put {file.name} from {url} into the folder {file.parent} "
            "by hand, or use 'vending', which is embedded and needs no download"
        ) from None
    except OSError as error:
        raise _unwritten(name, file.parent, error) from None


def _download(url, part, callback, most):
    import requests

    begin = time.monotonic()
    as_it_is = {"Accept-Encoding": "identity"}
    with requests.get(url, headers=as_it_is, stream=True, timeout=TIMEOUT) as response, open(part, "wb") as file:
        response.raise_for_status()
        length = response.headers.get("content-length", "")
        total = int(length) if length.isdecimal() else None  # else the digest alone tells whether all is here
        while data := response.raw.read1(1 << 16, decode_content=True):
            file.write(data)
            if file.tell() > most:
                raise ConnectionError(f"{url} sends more than the {most} bytes expected")
            if file.tell() < (time.monotonic() - begin - _SLOWEST[1]) * _SLOWEST[0]:
                raise ConnectionError(f"{url} sends less than {_SLOWEST[0]} bytes a second")
            if callback:
                callback(file.tell(), total)


def unpack(archive, folder, is_whole=None, most=math.inf, top=None):
    """Unpack a folder of the archive, `top` or one of the same name; if another process has put one there meanwhile,
    theirs is kept.

    `is_whole()`: whether there is nothing left to do. ValueError: much more is in it than the `most` bytes of a whole
    archive. OSError: it cannot be written; nothing of it stays.
    """
    place = part_of(archive)
    try:
        place.mkdir()
        _extract(archive, place, _GROWTH * most)
        _put(place / (top or folder.name), folder, is_whole or folder.is_dir)
    except OSError as error:
        raise _unwritten(archive.name, folder.parent, error) from None
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _extract(archive, place, most):
    """What is in a zip or tar file; members whose names lead elsewhere land inside all the same, or are refused."""
    is_zip = zipfile.is_zipfile(archive)
    with zipfile.ZipFile(archive) if is_zip else tarfile.open(archive) as file:
        sizes = (member.file_size for member in file.infolist()) if is_zip else (member.size for member in file)
        if any(total > most for total in accumulate(sizes)):
            raise ValueError(f"{archive} holds more than {most} bytes: it is another archive, remove it")
        file.extractall(place, **({} if is_zip else {"filter": "data"}))


def _put(new, folder, is_whole):
    try:
        os.replace(new, folder)
    except OSError:  # there is one
        if not folder.is_dir():
            raise
        if not is_whole():
            os.replace(folder, new.with_name("damaged"))
            os.replace(new, folder)


def _unwritten(name, folder, error):
    return OSError(error.errno, f"{name} could not be written into {folder} ({error.strerror or error})")
