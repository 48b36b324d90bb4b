"""Side by side with peers: each module prints a table of ratios measured in one run. RESULTS.md holds the last ones."""

import datetime
import statistics
import time
from pathlib import Path

import torch

import d2lstyle as ds


def measured_seconds(step, warm_up=1, steps=5):
    """Median seconds of a call, after warming up."""
    return statistics.median([_seconds(step) for _ in range(warm_up + steps)][warm_up:])


def marginal_seconds(run, few, many):
    """Seconds of one step more: what `run(many)` takes over `run(few)`, for each of the steps between them."""
    run(few)
    return (_seconds(lambda: run(many)) - _seconds(lambda: run(few))) / (many - few)


def step_seconds(content, style, few=None, many=None, **settings):
    """Seconds of a step of `stylize` at one size in steady state, in a run of `many` steps, the first `few` left out.

    On a CPU the median between two steps of one run. A GPU's `StyleStep.seconds` tell when a step was started and not
    when it was done, so there two runs are measured, each until all is done. `settings` are arguments of `stylize`.
    """
    on_cpu = settings["net"].mean.is_cpu
    few, many = few or (2 if on_cpu else 100), many or (7 if on_cpu else 300)

    def run(steps):
        return ds.stylize(content, style, sizes=[max(content.shape[2:])], steps=steps, **settings)

    if not on_cpu:
        return marginal_seconds(run, few, many)
    moments = [step.seconds for step in run(many).history[few - 1 :]]
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


def _seconds(call):
    _wait()
    began = time.perf_counter()
    call()
    _wait()
    return time.perf_counter() - began


def _wait():
    if torch.cuda.is_available():
        torch.cuda.synchronize()
