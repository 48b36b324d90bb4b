"""The engine "ray" on two nodes, one of which is lost in the middle; only `pytest -m slow` runs it."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from shared_helpers import fill, manifest_of, photo_of, pictures, without_seconds

from d2lstyle import painting, stylize_folder, write_image
from d2lstyle.engine.files import append_json_line, read_json_lines
from d2lstyle.folders import ray as engine
from d2lstyle.folders.painting import TilePainter

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(monkeypatch):
    """A Ray cluster of two nodes of one core on this machine; this process is on the first."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: it has no wheels for this Python yet")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    one_core = {"num_cpus": 1, "object_store_memory": 200 * 2**20}
    cluster = Cluster()
    try:
        cluster.add_node(**one_core, include_dashboard=False)
        ray.init(address=cluster.address, logging_level="warning", log_to_driver=False)
        cluster.add_node(**one_core)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture
def paint(net, tmp_path):
    """`stylize_folder` by the fast method, of photos that make 14 tiles."""
    photos = fill(tmp_path / "photos", {"cat": 9, "cup": 1})
    for width in range(50, 62):
        write_image(photo_of(width, width=width), photos / "cup" / f"wide{width}.png")
    write_image(painting("mosaic", 48), tmp_path / "mosaic.png")

    def run(name, **options):
        return stylize_folder(photos, tmp_path / name, [tmp_path / "mosaic.png"], net=net, method="fast", **options)

    return run


def witness(log, doomed=None):
    """A painter that tells in `log` and in its rows on which node it wrote; the doomed one stops there."""

    class Witness(
        TilePainter
    ):  # not a TileActor, whose name in its module it takes: Ray would mistake one for the other
        def write(self, tile):
            import ray

            rows, node = TilePainter.write(self, tile), ray.get_runtime_context().get_node_id()
            append_json_line(log, {"node": node, "file": tile[0].file})
            while node == doomed:
                time.sleep(1)
            return [row | {"node": node} for row in rows]

    return Witness


def same_but_for_nodes(spread, alone):
    bare = [{key: value for key, value in row.items() if key != "node"} for row in without_seconds(spread.rows)]
    return bare == without_seconds(alone.rows) and spread.errors == alone.errors == {}


def test_two_nodes_write_the_bytes_of_one_core(cluster, paint, tmp_path, monkeypatch):
    import ray

    nodes = {node["NodeID"]: (node["NodeManagerAddress"], node["NodeManagerPort"]) for node in ray.nodes()}
    assert len(set(nodes.values())) == 2
    monkeypatch.setattr(engine, "TileActor", witness(tmp_path / "log"))
    spread, alone = paint("ray", engine="ray"), paint("local", workers=1)
    print({address: sum(row["node"] == node for row in spread.rows) for node, address in nodes.items()})
    assert {row["node"] for row in spread.rows} == set(nodes)
    assert pictures(tmp_path / "ray") == pictures(tmp_path / "local") and spread.made == 22
    assert same_but_for_nodes(spread, alone) and manifest_of(tmp_path / "ray") == spread.rows


def test_a_lost_node_loses_no_picture_and_no_row(cluster, paint, tmp_path, monkeypatch):
    log, (lost,) = tmp_path / "log", cluster.worker_nodes
    first = cluster.head_node.node_id
    counts = []

    def pull_the_plug():  # once the node has written a picture whose row nobody has
        while all(line["node"] != lost.node_id for line in read_json_lines(log)):
            time.sleep(0.1)
        cluster.remove_node(lost, allow_graceful=False)

    monkeypatch.setattr(engine, "TileActor", witness(log, doomed=lost.node_id))
    with ThreadPoolExecutor(1) as thread:
        plug = thread.submit(pull_the_plug)
        spread, alone = (
            paint("ray", engine="ray", callback=lambda *count: counts.append(count)),
            paint("local", workers=1),
        )
        plug.result()
    (half_done,) = [line["file"] for line in read_json_lines(log) if line["node"] == lost.node_id]
    assert {"node": first, "file": half_done} in read_json_lines(log)  # the same tile again, on the other node
    assert {row["node"] for row in spread.rows} == {first}
    assert pictures(tmp_path / "ray") == pictures(tmp_path / "local")
    assert same_but_for_nodes(spread, alone) and manifest_of(tmp_path / "ray") == spread.rows
    assert counts == [(done, 22) for done in range(1, 23)]  # each row came once
