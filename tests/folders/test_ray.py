"""The engine "ray": the same bytes as on one core, from two actors, one of which may be killed."""

import sys

import psutil
import pytest
from shared_helpers import cut_short, fill, manifest_of, photo_of, pictures, without_seconds

from d2lstyle import painting, stylize_folder, write_image

LONGEST_FOLDER = 40  # Ray keeps Unix sockets deep below it, whose paths may have 107 bytes


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A Ray of two cores, for this file."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: it has no wheels for this Python yet")
    folder = str(tmp_path_factory.mktemp("ray"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            logging_level="warning",
            log_to_driver=False,
            object_store_memory=200 * 2**20,
            _temp_dir=folder if len(folder) <= LONGEST_FOLDER else None,
        )
        yield ray
        ray.shutdown()


@pytest.fixture
def paint(net, tmp_path):
    """`stylize_folder` with one style file."""
    style = tmp_path / "mosaic.png"
    write_image(painting("mosaic", 48), style)

    def run(source, out, **options):
        return stylize_folder(source, out, [str(style)], **{"net": net, "steps": 12} | options)

    return run


def busy_actors():
    """The actors of this process's own Ray that are painting."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            title = "".join(process.cmdline()[:1])
        except psutil.Error:  # it has just ended
            continue
        if title == "ray::TileActor.write":
            found.append(process)
    return found


def test_two_actors_write_the_bytes_of_one_core_even_if_one_is_killed(session, paint, tmp_path):
    photos = fill(tmp_path / "photos", {"cat": 5, "cup": 5}, height=34, width=132)  # ten tiles of one
    for number in range(3):
        write_image(photo_of(60 + number), photos / "cup" / f"small{number}.png")
    (photos / "cup" / "text.png").write_text("no image")
    cut_short(photos / "cat" / "cut.jpg")
    killed, counts = [], []

    def kill(*count):
        counts.append(count)
        for actor in [] if killed else busy_actors()[:1]:
            actor.kill()
            killed.append(len(pictures(tmp_path / "ray")))

    alone = paint(photos, tmp_path / "local", workers=1)
    spread = paint(photos, tmp_path / "ray", engine="ray", workers=2, callback=kill)
    assert killed and killed[0] < 13
    assert pictures(tmp_path / "ray") == pictures(tmp_path / "local")
    assert without_seconds(spread.rows) == without_seconds(alone.rows) and spread.made == 13
    assert all(row["seconds"] > 0 for row in spread.rows) and spread.rows == manifest_of(tmp_path / "ray")
    assert spread.errors == alone.errors and spread.errors.keys() == {"cup/text.png", "cat/cut.jpg"}
    assert counts[-1] == (15, 15)
    assert paint(photos, tmp_path / "local", engine="ray").kept == 13  # to Ray, what was painted here is done


def test_without_ray_the_error_says_what_to_install(paint, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        ImportError, match=r'engine "ray" is not installed: pip install "d2lstyle\[ray\]", or use engine="local"'
    ):
        paint(fill(tmp_path / "photos", {"cat": 1}), tmp_path / "ray", engine="ray", workers=1)
    assert not pictures(tmp_path / "ray")
