"""Downloads from a server on this computer that misbehaves on request, and the archive unpacked."""

import hashlib
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from d2lstyle.datasets.downloads import fetch_archive, unpack

CONTENT = bytes(range(256)) * 2000  # 512 kB, several reads
SHA1 = "sha1", hashlib.sha1(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        self.send_response(200)
        if self.server.says_length:
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: self.server.cut])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    """Sends CONTENT, or a part of it, or a refusal."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.status, server.says_length, server.cut = 200, True, None
    server.url = f"http://127.0.0.1:{server.server_port}/file.zip"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("digest", [SHA1, ("md5", hashlib.md5(CONTENT).hexdigest())])
def test_a_file_arrives_whole_under_its_name_alone(server, tmp_path, digest, capfd):
    file, calls = tmp_path / "new" / "file.zip", []
    fetch_archive("set", server.url, file, digest, lambda *call: calls.append(call))
    assert file.read_bytes() == CONTENT and names(file.parent) == ["file.zip"]
    assert calls[-1] == (len(CONTENT), len(CONTENT)) and calls == sorted(calls) and len(calls) > 3
    server.status = 500
    fetch_archive("set", server.url, file, digest)  # it is here: nothing is asked for
    assert capfd.readouterr() == ("", "")


def test_a_server_that_does_not_say_how_much_comes(server, tmp_path):
    server.says_length, calls = False, []
    fetch_archive("set", server.url, tmp_path / "file", SHA1, lambda *call: calls.append(call))
    assert (tmp_path / "file").read_bytes() == CONTENT and {total for _, total in calls} == {None}


AMISS = {  # what the server does, or its address: words of the error
    "another file": ({"cut": -1, "says_length": False}, "sent another file: its sha1 is .*, expected"),
    "a cut connection": ({"cut": 100_000}, "100000 bytes read, 412000 more expected"),
    "not found": ({"status": 404}, "404 .*http://127.0.0.1"),
    "no such place": ({"url": "http://nowhere.invalid/file.zip"}, "nowhere.invalid"),
}


@pytest.mark.parametrize("name", AMISS)
def test_what_cannot_be_had_is_one_sentence_and_leaves_nothing(server, tmp_path, name):
    state, words = AMISS[name]
    vars(server).update(state)
    advice = f"put file from {server.url} into the folder {tmp_path} by hand, or use 'vending', which is"
    with pytest.raises(ConnectionError, match=f"^set could not be downloaded .*{words}.*: {advice}") as caught:
        fetch_archive("set", server.url, tmp_path / "file", SHA1)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 400 and caught.value.__suppress_context__ and names(tmp_path) == []


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


def test_who_came_first_is_kept(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "theirs").touch()
    unpack(archive(tmp_path / "set.zip"), tmp_path / "set")
    assert names(tmp_path / "set") == ["theirs"] and names(tmp_path) == ["set", "set.zip"]
