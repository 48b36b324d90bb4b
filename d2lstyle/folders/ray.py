"""The tiles of a folder on a Ray cluster: an actor for each GPU, or for each core, which writes its pictures itself."""

from ..engine.devices import best_device
from .painting import TilePainter


class TileActor(TilePainter):
    """A `TilePainter` on the best device of its own computer."""

    def __init__(self, settings):
        settings.net.to(best_device())
        super().__init__(settings)


def on_ray(settings, tiles, workers):
    """The rows of each tile. Ray starts a killed actor again, with the same tile: its pictures are written twice.

    An actor of a lost node waits for a place on another: whoever has no tile left gives its own up.
    """
    try:
        import ray
        from ray.util import ActorPool
    except ImportError:
        install = 'pip install "d2lstyle[ray]", or use engine="local"'
        raise ImportError(f'the engine "ray" is not installed: {install}') from None
    if not ray.is_initialized():
        ray.init(include_dashboard=False, logging_level="warning", log_to_driver=False)
    cores, gpus = (int(ray.cluster_resources().get(kind, 0)) for kind in ("CPU", "GPU"))
    size = min(workers or gpus or cores, len(tiles))
    share = {"num_gpus": 1} if gpus else {"num_cpus": min(1, cores / size)}
    actor = ray.remote(max_restarts=-1, max_task_retries=-1, **share)(TileActor)
    shared = ray.put(settings)  # kept to the end, for an actor that starts again
    pool = ActorPool([actor.remote(shared) for _ in range(size)])
    for tile in tiles:
        pool.submit(lambda painter, tile: painter.write.remote(tile), tile)
    while pool.has_next():
        yield pool.get_next_unordered()
        pool.pop_idle()  # its last handle: Ray ends it
