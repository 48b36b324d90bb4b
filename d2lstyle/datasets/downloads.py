"""A published archive onto this computer, and unpacked: whole and checked, or not at all."""

import os
import tempfile
import zipfile
from pathlib import Path

from ..engine.files import file_digest, replacing


class _Progress:
    """The progress bar that pooch asks for; it calls `callback(bytes here, bytes in all or None)`."""

    def __init__(self, callback):
        self.callback, self.done, self.total = callback, 0, 0  # pooch sets the total

    def update(self, count):
        done = self.done + count
        self.done = min(done, self.total or done)  # pooch counts the last chunk as a full one
        self.callback(self.done, self.total or None)

    def reset(self):  # pooch calls both once the file is here
        pass

    close = reset


def fetch_archive(name, url, file, digest, callback=None):
    """The archive given by hand, or else downloaded; `digest` is (a kind that hashlib knows, the digits).

    ValueError: what is there is another file; it stays. ConnectionError: it cannot be had; nothing of it stays.
    """
    import pooch  # slow to import, as is requests
    import requests

    algorithm, digits = digest
    if file.exists():
        if (wrong := file_digest(file, algorithm)) != digits:
            raise ValueError(
                f"{file} is damaged or another file ({algorithm} {wrong}, expected {digits}): remove it, or put "
                f"{file.name} from {url} in its place"
            )
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    download = pooch.HTTPDownloader(progressbar=_Progress(callback) if callback else False, chunk_size=1 << 16)
    try:
        with replacing(file) as part:  # pooch.retrieve would write to the screen, and lock the file to its owner
            download(url, part, None)
            if (wrong := file_digest(part, algorithm)) != digits:
                raise ConnectionError(f"{url} sent another file: its {algorithm} is {wrong}, expected {digits}")
    except (requests.RequestException, ConnectionError) as error:
        reason = getattr(error.__context__, "reason", error)  # requests wraps the cause in how often it tried
        raise ConnectionError(
            f"{name} could not be downloaded ({reason}): put {file.name} from {url} into the folder {file.parent} "
            "by hand, or use 'vending', which is embedded and needs no download"
        ) from None


def unpack(archive, folder):
    """Unpack the archive's folder of the same name; if another process has put one there meanwhile, theirs is kept."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as place:
        with zipfile.ZipFile(archive) as file:
            file.extractall(place)  # members whose names lead elsewhere land inside all the same
        try:
            os.replace(Path(place, folder.name), folder)
        except OSError:
            if not folder.is_dir():
                raise
