"""What several test files share."""

import pytest
import torch

from d2lstyle import backbone, painting, sample

# The pictures here are tiny: two threads that wait for each other take up to a hundred times as long as one.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def net():
    """The embedded network, on the CPU so that every computer sees the same numbers."""
    return backbone("efficientnet_lite0", device="cpu")


@pytest.fixture(scope="session")
def photo():
    """A cat, 32 x 48 pixels."""
    return sample("chelsea", size=48)


@pytest.fixture(scope="session")
def starry():
    """A style picture, 48 x 48 pixels."""
    return painting("starry", size=48)


@pytest.fixture(scope="session")
def mosaic():
    """Another style picture, 40 x 40 pixels."""
    return painting("mosaic", size=40)
