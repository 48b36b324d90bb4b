"""Each benchmark runs at its smallest size, and its peers do the work they are measured by."""

import sys

import pytest
import torch

import d2lstyle as ds
from d2lstyle import backbone, content_loss, gram, occlusion, sample, style_layer_loss
from tools.benchmarks import attribution, augment, batch, convergence, fast, memory, race, transfer, tutorial
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


def test_fast_prints_speeds_and_distances(printed):
    lines = printed(fast, "--size", "32", "--batches", "2", "--steps", "2")
    assert lines[5].startswith("times as fast") and lines[5].endswith("x")
    distances = {line[:22].strip(): float(line[22:34]) for line in lines[8:]}
    assert list(distances) == [f"{style}, {method}" for style in fast.STYLES for method in ("photo", "fast", "2 steps")]
    assert all(distances[f"{style}, fast"] < distances[f"{style}, photo"] for style in fast.STYLES)


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
