"""Downloads from a server on this computer that misbehaves on request, and the archive unpacked."""

import hashlib
import io
import resource
import subprocess
import tarfile
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat

import pytest

from d2lstyle.datasets import downloads
from d2lstyle.datasets.downloads import by_digest, fetch_archive, unpack
from d2lstyle.engine.files import part_of

CONTENT = bytes(range(256)) * 2000  # 512 kB, several reads
SHA1 = by_digest("sha1", hashlib.sha1(CONTENT).hexdigest())
MOST = 600_000


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        if not server.status:
            server.gone.wait(9)
            return
        if server.status >= 400:
            self.send_error(server.status)
            return
        self.send_response(server.status)
        for name, value in {"Content-Length": server.length, "Location": server.location}.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        with suppress(ConnectionError):  # whoever has enough goes
            for piece in server.pieces:
                self.wfile.write(piece)
                server.gone.wait(server.pause)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    """Sends CONTENT, or whatever pieces, or a refusal."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.status, server.location, server.length = 200, None, str(len(CONTENT))
    server.pieces, server.pause, server.gone = [CONTENT], 0, threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}/file.zip"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.gone.set()
    server.shutdown()
    thread.join()
    server.server_close()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("fault", [SHA1, by_digest("md5", hashlib.md5(CONTENT).hexdigest())])
def test_a_file_arrives_whole_under_its_name_alone(server, tmp_path, fault, capfd):
    file, calls = tmp_path / "new" / "file.zip", []
    fetch_archive("set", server.url, file, fault, lambda *call: calls.append(call))
    assert file.read_bytes() == CONTENT and names(file.parent) == ["file.zip"]
    assert calls[-1] == (len(CONTENT), len(CONTENT)) and calls == sorted(calls) and len(calls) > 3
    server.status = 500
    fetch_archive("set", server.url, file, fault)  # it is here: nothing is asked for
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("length", [None, "abc", "", "-5", "1e3"])
def test_a_server_that_does_not_say_how_much_comes(server, tmp_path, length):
    server.length, calls = length, []
    fetch_archive("set", server.url, tmp_path / "file", SHA1, lambda *call: calls.append(call), len(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT and {total for _, total in calls} == {None}


AMISS = {  # what the server does, or its address: words of the error
    "another file": (dict(pieces=[CONTENT[:-1]], length=None), "sent another file: its sha1 is .*, expected"),
    "less than it is": (dict(length="1000"), "sent another file: its sha1 is .*, expected"),
    "a cut connection": (dict(pieces=[CONTENT[:100_000]]), "100000 bytes read, 412000 more expected"),
    "no end": (dict(pieces=repeat(CONTENT), length=None), f"sends more than the {MOST} bytes expected"),
    "no end, as it says": (dict(pieces=repeat(CONTENT), length=str(10**15)), f"sends more than the {MOST} bytes"),
    "a drip": (dict(pieces=repeat(b"1"), pause=0.01), "sends less than 1000 bytes a second"),
    "no more": (dict(pieces=[CONTENT[:100_000], b""], pause=9), "timed out"),
    "no answer": (dict(status=0), "timed out"),
    "two lengths": (dict(length="5, 7"), "Content-Length contained multiple unmatching values .*5, 7"),
    "not found": (dict(status=404), "404 .*http://127.0.0.1"),
    "no such place": (dict(url="http://nowhere.invalid/file.zip"), "nowhere.invalid"),
    "to a file": (dict(status=302, location="file:///etc/passwd"), "No connection adapters .* 'file:///etc/passwd'"),
    "to an ftp server": (dict(status=301, location="ftp://127.0.0.1/file.zip"), "No connection adapters .* 'ftp:"),
    "to no address": (dict(status=302, location="http://[half"), "Invalid IPv6 URL"),
    "round and round": (dict(status=302, location="/file.zip"), "Exceeded 30 redirects"),
}


@pytest.mark.parametrize("name", AMISS)
def test_what_cannot_be_had_is_one_sentence_and_leaves_nothing(server, tmp_path, monkeypatch, name):
    state, words = AMISS[name]
    vars(server).update(state)
    monkeypatch.setattr(downloads, "TIMEOUT", 0.4)
    monkeypatch.setattr(downloads, "_SLOWEST", (1000, 0.2))
    advice = f"put file from {server.url} into the folder {tmp_path} by hand, or use 'vending', which is"
    with pytest.raises(ConnectionError, match=f"^set could not be downloaded .*{words}.*: {advice}") as caught:
        fetch_archive("set", server.url, tmp_path / "file", SHA1, None, MOST)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 400 and caught.value.__suppress_context__ and names(tmp_path) == []


def test_a_redirect_is_followed_and_several_may_fetch_at_once(server, tmp_path):
    server.pieces, server.pause = [CONTENT[i : i + 10_000] for i in range(0, len(CONTENT), 10_000)], 0.002
    with ThreadPoolExecutor(4) as pool:
        tasks = [pool.submit(fetch_archive, "set", server.url, tmp_path / "file", SHA1, None, MOST) for _ in range(4)]
        assert [task.result() for task in tasks] == [None] * 4
    assert (tmp_path / "file").read_bytes() == CONTENT and names(tmp_path) == ["file"]


@contextmanager
def full_disk(size):
    """No file may become longer."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(server, tmp_path):
    text = rf"set could not be written into {tmp_path} \(File too large\)$"
    with pytest.raises(OSError, match=text) as caught, full_disk(100_000):
        fetch_archive("set", server.url, tmp_path / "file", SHA1)
    assert not isinstance(caught.value, ConnectionError) and names(tmp_path) == []
    path = archive(tmp_path / "set.zip", **{"set/z": CONTENT})
    with pytest.raises(OSError, match=rf"set.zip could not be written into {tmp_path} \(File too large\)$"):
        with full_disk(100_000):
            unpack(path, tmp_path / "set")
    assert names(tmp_path) == ["set.zip"]


def test_what_a_killed_process_left_goes_with_the_next_download(server, tmp_path, monkeypatch):
    ended = subprocess.Popen(["true"])
    ended.wait()
    with monkeypatch.context() as patch:
        patch.setattr("os.getpid", lambda: ended.pid)
        part_of(tmp_path / "file").write_bytes(CONTENT[:9])
        (part_of(tmp_path / "set.zip") / "set").mkdir(parents=True)
    part_of(tmp_path / "file").write_bytes(CONTENT[:9])  # this process is still there
    (tmp_path / ".mine.part").touch()
    fetch_archive("set", server.url, tmp_path / "file", SHA1)
    assert len(names(tmp_path)) == 3 and names(tmp_path)[1:] == [".mine.part", "file"]


def test_a_file_that_cannot_be_written_is_no_connection_error(server, tmp_path):
    (tmp_path / "root").touch()
    with pytest.raises(OSError) as caught:
        fetch_archive("set", server.url, tmp_path / "root" / "file", SHA1)
    assert not isinstance(caught.value, ConnectionError)


# archives


def archive(path, **members):
    with zipfile.ZipFile(path, "w") as file:
        for name, data in {"set/": b"", "set/train/a/1.png": b"one", "set/2.png": b"two", **members}.items():
            file.writestr(name, data)
    return path


def test_the_folder_appears_whole_and_nothing_lands_outside_it(tmp_path):
    root = tmp_path / "in"
    root.mkdir()
    elsewhere = ("../evil", "set/../../evil", str(tmp_path / "evil"), "__MACOSX/x")
    unpack(archive(root / "set.zip", **dict.fromkeys(elsewhere, b"x")), root / "set")
    assert names(tmp_path) == ["in"] and names(root) == ["set", "set.zip"]
    assert (root / "set/train/a/1.png").read_bytes() == b"one" and (root / "set/2.png").read_bytes() == b"two"


def test_an_archive_that_breaks_off_leaves_nothing(tmp_path):
    path = archive(tmp_path / "set.zip", **{"set/z": b"content"})
    path.write_bytes(path.read_bytes().replace(b"content", b"c0ntent"))
    with pytest.raises(zipfile.BadZipFile):
        unpack(path, tmp_path / "set")
    assert names(tmp_path) == ["set.zip"]


def tarred(path, *members):
    """A folder "set" with one file, and further members: a name, or (name, where the link leads)."""
    with tarfile.open(path, "w:gz") as file:
        for member in ("set/2.png", *members):
            info = tarfile.TarInfo(member if isinstance(member, str) else member[0])
            info.size = 3 if isinstance(member, str) else 0
            info.type, info.linkname = (tarfile.REGTYPE, "") if info.size else (tarfile.SYMTYPE, member[1])
            file.addfile(info, io.BytesIO(b"two"))
    return path


@pytest.mark.parametrize("member", ["../evil", ("set/evil", "/etc"), ("set/evil", "../../evil")])
def test_a_tar_file_that_leads_elsewhere_is_refused(tmp_path, member):
    root = tmp_path / "in"
    root.mkdir()
    unpack(tarred(root / "whole.tar.gz", str(tmp_path / "evil")), root / "set")
    assert names(root / "set") == ["2.png"]
    with pytest.raises(tarfile.FilterError, match="evil.* outside the destination|absolute"):
        unpack(tarred(root / "set.tar.gz", member), root / "set", lambda: False)
    assert names(tmp_path) == ["in"] and names(root) == ["set", "set.tar.gz", "whole.tar.gz"]


def test_an_archive_that_holds_far_too_much_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("set/zeros", bytes(10**6))
    with tarfile.open(tmp_path / "set.tar.gz", "w:gz") as file:
        info = tarfile.TarInfo("set/zeros")
        info.size = 10**6
        file.addfile(info, io.BytesIO(bytes(10**6)))
    for path in (tmp_path / "set.zip", tmp_path / "set.tar.gz"):
        with pytest.raises(ValueError, match=f"{path.name} holds more than 800000 bytes: it is another archive"):
            unpack(path, tmp_path / "set", most=200_000)
        assert names(tmp_path) == ["set.tar.gz", "set.zip"]


def test_several_may_unpack_at_once_and_what_is_damaged_is_replaced(tmp_path):
    path = archive(tmp_path / "set.zip", **{f"set/{i}": CONTENT[:1000] for i in range(100)})
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: unpack(path, tmp_path / "set"), range(8))) == [None] * 8
    assert len(names(tmp_path / "set")) == 102
    (tmp_path / "set" / "7").unlink()
    unpack(path, tmp_path / "set", (tmp_path / "set" / "7").exists)
    assert len(names(tmp_path / "set")) == 102 and names(tmp_path) == ["set", "set.zip"]


def test_who_came_first_is_kept(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "theirs").touch()
    unpack(archive(tmp_path / "set.zip"), tmp_path / "set")
    assert names(tmp_path / "set") == ["theirs"] and names(tmp_path) == ["set", "set.zip"]
