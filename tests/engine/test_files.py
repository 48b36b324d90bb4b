"""Files appear whole or not at all."""

import threading

import pytest

from d2lstyle.engine.files import replacing, write_whole


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
