"""A published archive onto this computer, and unpacked: whole and checked, or not at all."""

import math
import os
import shutil
import tarfile
import time
import zipfile
from itertools import accumulate

from ..engine.files import file_digest, part_of, remove_stale_parts, replacing

TIMEOUT = 30  # seconds without a byte
_SLOWEST = 1000, 60  # bytes a second; seconds of patience at the start
_GROWTH = 4  # an archive of photos is hardly smaller than what is in it


def fetch_archive(name, url, file, digest, callback=None, most=math.inf):
    """The archive given by hand, or else downloaded; `digest` is (a kind that hashlib knows, the digits).

    `callback` is called with (bytes here, bytes in all or None); no more than `most` are taken in.
    ValueError: what is there is another file; it stays. ConnectionError: it cannot be had; OSError: it cannot be
    written; nothing of it stays.
    """
    import requests  # slow to import
    import urllib3

    algorithm, digits = digest
    remove_stale_parts(file.parent.glob(".*.part"))
    if file.exists():
        if (wrong := file_digest(file, algorithm)) != digits:
            raise ValueError(
                f"{file} is damaged or another file ({algorithm} {wrong}, expected {digits}): remove it, or put "
                f"{file.name} from {url} in its place"
            )
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with replacing(file) as part:
            _download(url, part, callback, most)
            if (wrong := file_digest(part, algorithm)) != digits:
                raise ConnectionError(f"{url} sent another file: its {algorithm} is {wrong}, expected {digits}")
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


def unpack(archive, folder, is_whole=None, most=math.inf):
    """Unpack the archive's folder of the same name; if another process has put one there meanwhile, theirs is kept.

    `is_whole()`: whether there is nothing left to do. ValueError: much more is in it than the `most` bytes of a whole
    archive. OSError: it cannot be written; nothing of it stays.
    """
    place = part_of(archive)
    try:
        place.mkdir()
        _extract(archive, place, _GROWTH * most)
        _put(place / folder.name, folder, is_whole or folder.is_dir)
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
