"""Downloads from a server on this computer that misbehaves on request, and archives that mean harm."""

import hashlib
import stat
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from d2lstyle.datasets import downloads as module
from d2lstyle.datasets.downloads import download, extract_zip

CONTENT = bytes(range(256)) * 2000  # 512 kB, several reads
SHA1 = hashlib.sha1(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.ranges.append(self.headers["Range"])
        start = int(self.headers["Range"][6:-1]) if self.headers["Range"] and server.knows_range else 0
        if server.status or (start and start >= len(CONTENT)):
            self.send_error(server.status or 416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start + server.shift}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        end = server.cuts.pop(0) if server.cuts else len(CONTENT)
        self.wfile.write(CONTENT[start:end])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    """Sends CONTENT; cuts: where to break off each answer in turn."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.ranges, server.cuts, server.knows_range, server.status, server.shift = [], [], True, None, 0
    server.url = f"http://127.0.0.1:{server.server_port}/file.zip"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_under_its_name_alone(server, tmp_path):
    calls = []
    path = download(server.url, tmp_path / "new" / "file.zip", SHA1, callback=lambda *call: calls.append(call))
    assert path.read_bytes() == CONTENT and names(path.parent) == ["file.zip"]
    assert calls[-1] == (len(CONTENT), len(CONTENT)) and calls == sorted(calls) and len(calls) > 3


def test_another_digest(server, tmp_path):
    download(server.url, tmp_path / "file", hashlib.md5(CONTENT).hexdigest(), algorithm="md5")
    assert names(tmp_path) == ["file"]


def test_a_cut_connection_is_resumed_where_it_broke_off(server, tmp_path):
    server.cuts = [100_000, 300_000]
    assert download(server.url, tmp_path / "file", SHA1).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-", "bytes=300000-"]


def test_it_gives_up_where_nothing_comes_and_goes_on_in_the_next_call(server, tmp_path):
    server.cuts = [100_000, 100_000]
    with pytest.raises(ConnectionError, match="broke off after 100000 of 512000 bytes"):
        download(server.url, tmp_path / "file", SHA1)
    assert names(tmp_path) == ["file.part"]  # never the name itself
    assert download(server.url, tmp_path / "file", SHA1).read_bytes() == CONTENT
    assert server.ranges[-1] == "bytes=100000-" and names(tmp_path) == ["file"]


def test_a_server_without_ranges_starts_again(server, tmp_path):
    server.knows_range = False
    (tmp_path / "file.part").write_bytes(CONTENT[:1000])
    assert download(server.url, tmp_path / "file", SHA1).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-"]


def test_another_range_than_asked_for_is_not_appended(server, tmp_path):
    server.shift = 5
    (tmp_path / "file.part").write_bytes(CONTENT[:1000])
    with pytest.raises(ConnectionError, match="another part than asked for"):
        download(server.url, tmp_path / "file", SHA1)
    assert names(tmp_path) == []


def test_a_whole_part_is_only_renamed(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT)
    assert download(server.url, tmp_path / "file", SHA1).read_bytes() == CONTENT
    assert server.ranges == [] and names(tmp_path) == ["file"]


def test_a_part_that_is_too_long_is_thrown_away(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT + b"more")
    assert download(server.url, tmp_path / "file", SHA1).read_bytes() == CONTENT
    assert server.ranges == ["bytes=512004-", None]


def test_another_file_is_deleted(server, tmp_path):
    with pytest.raises(ConnectionError, match=f"sent another file: its sha1 is {SHA1}, expected 0000"):
        download(server.url, tmp_path / "file", "0" * 40)
    assert names(tmp_path) == []


@pytest.mark.parametrize("status", [404, 403, 500])
def test_refusals_are_connection_errors(server, tmp_path, status):
    server.status = status
    with pytest.raises(ConnectionError, match=server.url):
        download(server.url, tmp_path / "file", SHA1)
    assert names(tmp_path) == []


def test_no_server_is_a_connection_error(tmp_path):
    with pytest.raises(ConnectionError, match="127.0.0.1"):
        download("http://127.0.0.1:9/file", tmp_path / "file", SHA1)


def test_a_full_disk_is_no_connection_error(server, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "open", full, raising=False)
    with pytest.raises(OSError, match="No space left") as caught:
        download(server.url, tmp_path / "file", SHA1)
    assert not isinstance(caught.value, ConnectionError)


# archives


def archive(path, members):
    """A zip file of {name: bytes} or {ZipInfo: bytes}."""
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def special(name, kind):
    info = zipfile.ZipInfo(name)
    info.external_attr = (kind | 0o777) << 16
    return info


def test_a_good_archive_is_unpacked(tmp_path):
    zipped = archive(
        tmp_path / "a.zip",
        {"set/": b"", "set/train/a/1.png": b"one", "set\\train\\b\\2.png": b"two", "__MACOSX/x": b""},
    )
    assert extract_zip(zipped, tmp_path / "set") == tmp_path / "set"
    assert {p.relative_to(tmp_path / "set").as_posix(): p.read_bytes() for p in (tmp_path / "set").rglob("*.png")} == {
        "train/a/1.png": b"one",
        "train/b/2.png": b"two",
    }
    assert names(tmp_path) == ["a.zip", "set"]


HARMFUL = {
    "up": ({"set/a": b"", "set/../../evil": b"x"}, "outside"),
    "up at once": ({"../evil": b"x"}, "outside"),
    "up in the Windows way": ({"set/a": b"", "set\\..\\..\\evil": b"x"}, "outside"),
    "absolute": ({"/tmp/evil": b"x"}, "outside"),
    "a drive": ({"C:\\evil": b"x"}, "outside"),
    "a share": ({"\\\\host\\evil": b"x"}, "outside"),
    "a link": ({special("set/link", stat.S_IFLNK): b"/etc"}, "a link"),
    "a link, then through it": ({special("set/link", stat.S_IFLNK): b"..", "set/link/evil": b"x"}, "a link"),
    "a pipe": ({special("set/pipe", stat.S_IFIFO): b""}, "no plain file"),
    "a bomb": ({"set/a": bytes(2001)}, "holds 2001 bytes, at most 2000"),
    "a bomb of many": ({f"set/{i}": b"" for i in range(6)}, "holds 6 members, at most 5"),
    "a file as folder": ({"set/a": b"", "set/a/b": b""}, "cannot be unpacked"),
    "another folder": ({"other/a": b""}, "no folder 'set'"),
    "empty": ({}, "no folder 'set'"),
}


@pytest.mark.parametrize("name", HARMFUL)
def test_harmful_archives_leave_nothing(tmp_path, name):
    members, text = HARMFUL[name]
    (tmp_path / "in").mkdir()
    zipped = archive(tmp_path / "in" / "a.zip", members)
    with pytest.raises(ValueError, match=text):
        extract_zip(zipped, tmp_path / "in" / "set", max_bytes=2000, max_members=5)
    assert names(tmp_path) == ["in"] and names(tmp_path / "in") == ["a.zip"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_one_name_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("set/a", b"one")
        file.writestr("set/a", b"two")
    with pytest.raises(ValueError, match="cannot be unpacked"):
        extract_zip(tmp_path / "a.zip", tmp_path / "set")
    assert names(tmp_path) == ["a.zip"]


def test_a_bomb_that_declares_less_is_caught(tmp_path):
    """The size in the directory is forged: 5 bytes declared, 5,000 packed."""
    path = archive(tmp_path / "a.zip", {"set/a": bytes(5000)})
    path.write_bytes(path.read_bytes().replace((5000).to_bytes(4, "little"), (5).to_bytes(4, "little")))
    with pytest.raises(ValueError, match="cannot be unpacked"):
        extract_zip(path, tmp_path / "set", max_bytes=100)
    assert names(tmp_path) == ["a.zip"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-30],
        lambda data: b"no zip",
        lambda data: b"",
        lambda data: data.replace(b"content", b"c0ntent"),
    ],
)
def test_a_damaged_archive_leaves_nothing(tmp_path, damage):
    path = archive(tmp_path / "a.zip", {"set/a": b"fine", "set/b": b"content"})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="a.zip cannot be unpacked"):
        extract_zip(path, tmp_path / "set")
    assert names(tmp_path) == ["a.zip"]


def test_who_came_first_is_kept(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "theirs").touch()
    extract_zip(archive(tmp_path / "a.zip", {"set/ours": b""}), tmp_path / "set")
    assert names(tmp_path / "set") == ["theirs"] and names(tmp_path) == ["a.zip", "set"]
