"""The engine "ray": the same bytes as on one core, from two actors, one of which may be killed."""

import sys

import psutil
import pytest
from shared_helpers import cut_short, fill, photo_of, pictures, without_seconds

from d2lstyle import painting, stylize_folder, write_image
from d2lstyle.folders.painting import read_manifest

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
        return stylize_folder(source, out, [str(style)], **{"net": net} | options)

    return run


def busy_actors():
    """The actors of this process's own Ray that are painting."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            title = "".join(process.cmdline()[:1])
        except psutil.Error:  # it has just ended
            continue
        if title.startswith("ray::MapWorker") and title.endswith("submit"):
            found.append(process)
    return found


def test_two_actors_write_the_bytes_of_one_core(session, paint, tmp_path):
    photos = fill(tmp_path / "photos", {"cat": 11, "cup": 10})
    write_image(photo_of(60, 40, 132), photos / "cup" / "large.png")
    (photos / "cup" / "text.png").write_text("no image")
    cut_short(photos / "cat" / "cut.jpg")
    alone, counts = paint(photos, tmp_path / "local", steps=12, workers=1), []
    options = {"engine": "ray", "workers": 2, "steps": 12}
    spread = paint(photos, tmp_path / "ray", callback=lambda *count: counts.append(count), **options)
    assert pictures(tmp_path / "ray") == pictures(tmp_path / "local")
    assert without_seconds(spread.rows) == without_seconds(alone.rows) and all(
        row["seconds"] > 0 for row in spread.rows
    )
    assert spread.errors == alone.errors and spread.errors.keys() == {"cup/text.png", "cat/cut.jpg"}
    assert spread.made == 22 and spread.rows == read_manifest(tmp_path / "ray") and counts[-1][0] == counts[-1][1]
    assert paint(photos, tmp_path / "local", **options).kept == 22  # to Ray, what was painted here is done


def test_a_killed_actor_loses_nothing(session, paint, tmp_path):
    photos, killed = fill(tmp_path / "photos", {"cat": 10, "cup": 6}, height=36, width=132), []  # 16 tiles of one

    def kill(done, total):
        for actor in [] if killed else busy_actors()[:1]:
            actor.kill()
            killed.append(len(pictures(tmp_path / "ray")))

    spread = paint(photos, tmp_path / "ray", steps=40, engine="ray", workers=2, callback=kill)
    assert killed and killed[0] < 16
    assert spread.errors == {} and spread.made == 16 == len({row["file"] for row in spread.rows})
    alone = paint(photos, tmp_path / "local", steps=40, workers=1)
    assert pictures(tmp_path / "ray") == pictures(tmp_path / "local")
    assert without_seconds(spread.rows) == without_seconds(alone.rows) and spread.rows == read_manifest(
        tmp_path / "ray"
    )


def test_without_ray_the_error_says_what_to_install(paint, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        ImportError, match=r'engine "ray" is not installed: pip install "d2lstyle\[ray\]", or use engine="local"'
    ):
        paint(fill(tmp_path / "photos", {"cat": 1}), tmp_path / "ray", engine="ray", workers=1)
    assert not pictures(tmp_path / "ray")
