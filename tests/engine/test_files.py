"""Files appear whole or not at all."""

import os
import subprocess
import sys
import threading
import time

import pytest

from d2lstyle.engine import files
from d2lstyle.engine.files import part_of, read_json_lines, remove_stale_parts, replacing, write_whole


def test_a_file_takes_the_place_of_the_old_one_at_the_end(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_where_the_block_fails_the_old_file_stays_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as part:
        part.write_text("half")
        1 / 0
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_text_is_utf_8_and_bytes_are_themselves(tmp_path):
    for content, expected in (("größer\n", b"gr\xc3\xb6\xc3\x9fer\n"), (b"\x00\r\n", b"\x00\r\n")):
        write_whole(tmp_path / "a", content)
        assert (tmp_path / "a").read_bytes() == expected


def test_several_writers_and_a_reader_never_meet_a_half(tmp_path):
    path, seen = tmp_path / "a", set()
    write_whole(path, b"0" * 200_000)
    writers = [
        threading.Thread(target=lambda c=c: [write_whole(path, c * 200_000) for _ in range(40)]) for c in (b"1", b"2")
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        content = path.read_bytes()
        seen.add((len(content), len(set(content))))
    assert seen == {(200_000, 1)} and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "none" / "a", "x")


def test_what_killed_processes_left_is_removed_and_what_is_being_written_stays(tmp_path, monkeypatch):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    path, parts = tmp_path / f"{'x' * 240}.png", {}
    for name, process, host, age in (
        ("ended", ended.pid, files.HOST, 0),
        ("alive", os.getppid(), files.HOST, 0),
        ("ours", os.getpid(), files.HOST, 0),
        ("of one whose number is ours now", os.getpid(), files.HOST, 3000),
        ("another computer", ended.pid, "0f0f0f", 3000),
        ("long ago", os.getppid(), files.HOST, 25 * 3600),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: process)
            patch.setattr(files, "HOST", host)
            parts[name] = part_of(path)
        parts[name].touch()
        os.utime(parts[name], (time.time() - age,) * 2)
    parts["earlier version"], mine = tmp_path / ".a.png.0123abcd.part", tmp_path / ".mine.part"
    parts["earlier version"].mkdir()
    mine.touch()
    remove_stale_parts(tmp_path.glob("*"))
    kept = {"alive", "ours", "another computer"}
    assert sorted(tmp_path.iterdir()) == sorted([mine, *(parts[name] for name in kept)])


def test_lines_that_are_damaged_or_no_objects_are_left_out(tmp_path):
    lines = (
        b'{"a": 1}',
        b'{"a": ',
        b'{"a": "\xff"}',
        b"[1]",
        b"7",
        b"null",
        b"[" * 100_000,
        b"\0\0",
        b'{"b": "\xc2\x85"}',
    )
    (tmp_path / "a").write_bytes(b"\n".join(lines))
    assert read_json_lines(tmp_path / "a") == [{"a": 1}, {"b": "\x85"}] and read_json_lines(tmp_path / "b") == []
