"""Side by side with peers: each module prints a table of ratios measured in one run. RESULTS.md holds the last ones."""

import datetime
import statistics
import time
from pathlib import Path

import torch


def measured_seconds(step, warm_up=1, steps=5):
    """Median seconds of a call, after warming up."""
    durations = []
    for _ in range(warm_up + steps):
        _wait()
        began = time.perf_counter()
        step()
        _wait()
        durations.append(time.perf_counter() - began)
    return statistics.median(durations[warm_up:])


def step_seconds(run, warm_up):
    """Median seconds between two steps of a `StyleResult`, after warming up."""
    moments = [step.seconds for step in run.history[warm_up - 1 :]]
    return statistics.median(after - before for before, after in zip(moments, moments[1:]))


def machine():
    """What the figures belong to: processor, threads, torch, date."""
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
    else:
        lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
        name = next((line.split(": ")[1] for line in lines if line.startswith("model name")), "unknown processor")
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    bf16 = [kind for kind in ("amx_bf16", "avx512_bf16") if capabilities.get(kind)] or ["no bf16"]
    threads, today = torch.get_num_threads(), datetime.date.today()
    return f"{name} ({', '.join(bf16)}), {threads} threads, torch {torch.__version__}, {today}"


def _wait():
    if torch.cuda.is_available():
        torch.cuda.synchronize()
