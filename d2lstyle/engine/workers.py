"""Work shared out among processes of this computer, which end with the one that asked for it."""

import os
import signal
import threading
import time
from concurrent.futures import BrokenExecutor

import joblib

CHECK_SECONDS = 1  # in which a worker looks whether its parent is still there


def in_workers(function, items, workers, start=None, *arguments):
    """Yield function(item) of each item as they come, from so many processes, each of which first calls `start`.

    Raises:
        ChildProcessError: a worker was killed.
    """
    begin = {"initializer": _begin, "initargs": (os.getpid(), start, arguments)}
    with joblib.parallel_config("loky", **begin):
        parallel = joblib.Parallel(workers, return_as="generator_unordered", pre_dispatch=2 * workers)
    try:
        yield from parallel(joblib.delayed(function)(item) for item in items)
    except BrokenExecutor:
        lost = "a worker process was killed, perhaps for lack of memory"
        raise ChildProcessError(f"{lost}: what is finished is kept, the same call goes on; try fewer workers") from None


def _begin(parent, start, arguments):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the parent ends its workers
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    if start:
        start(*arguments)


def _end_with(parent):
    """End this process when its parent has, however that was; on Windows a process never gets another parent."""
    while os.getppid() == parent:
        time.sleep(CHECK_SECONDS)
    os._exit(1)
