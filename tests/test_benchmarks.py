"""Each benchmark runs at its smallest size, and its peers do the work they are measured by."""

import sys

import torch

from benchmarks import transfer, tutorial
from d2lstyle import backbone


def test_transfer_prints_a_row_for_each_program(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["transfer", "--size", "32", "--rounds", "1", "--threads", "1"])
    transfer.main()
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row[:20].strip() for row in rows] == [
        "d2lstyle, auto", "d2lstyle, fp32", "PyTorch tutorial", "convolutions, bf16", "convolutions, fp32",
    ]  # fmt: skip
    assert all(float(row[20:30]) > 0 for row in rows)


def test_the_tutorial_peer_lowers_its_loss():
    net = backbone("vgg16", weights=None)
    content, style = (torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    step = tutorial.steps(net, content, style, transfer.CONTENT_LAYER, transfer.STYLE_LAYERS)
    losses = [step().item() for _ in range(6)]
    assert losses[-1] < losses[0]
