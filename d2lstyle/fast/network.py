"""The trained network that paints in one pass what `stylize` takes many steps to find.

Magenta's network for any style (Ghiasi et al. 2017, "Exploring the structure of a real-time, arbitrary neural artistic
stylization network"). One half reads a style as 100 numbers, the other paints: thirteen of its layers give each channel
the mean and the deviation that these numbers ask for (AdaIN). As a style enters by its numbers alone, styles that were
not seen in training work too, and several are mixed by mixing their numbers.
"""

import functools
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import mobilenet_v2

from ..engine.devices import best_device, sent
from ..engine.files import file_digest

WEIGHTS = Path(__file__).parent / "weights" / "magenta.pt"
SHA256 = "3b351d2bfcf8b23844245fe22ee8e4a770afbed6679bda05114800487f0854a2"  # of that file
CODE = 100  # numbers that tell of a style
TINY = 1e-5  # of a variance: keeps flat pictures finite; as in training


def adain(features, mean, std):
    """Features (B, C, H, W) whose channels take over a mean and a standard deviation, each (1, C) or (B, C).

    Huang and Belongie 2017, "Arbitrary style transfer in real-time with adaptive instance normalization", eq. 8.
    """
    before = features.mean((2, 3))
    # By the squares: torch.var takes fifty times as long on channels_last features. Rounding may leave less than 0.
    variance = (features.square().mean((2, 3)) - before.square()).clamp(min=0)
    scale = std / (variance + TINY).sqrt()
    return torch.addcmul((mean - scale * before)[..., None, None], features, scale[..., None, None])


class StyleReader(nn.Module):
    """MobileNet v2, whose batch normalisation is part of its weights, and a linear layer: (B, 3, h, w) -> (B, 100)."""

    def __init__(self):
        super().__init__()
        self.features = mobilenet_v2(norm_layer=_Bias).features
        self.last = nn.Linear(1280, CODE)
        for layer in self.features.modules():
            if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2):
                layer.padding = 0
                layer.register_forward_pre_hook(_padded)

    def forward(self, style):
        return self.last(self.features(style).mean((2, 3)))


class _Bias(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.bias = nn.Parameter(torch.empty(channels))

    def forward(self, x):
        return x + self.bias[:, None, None]


def _padded(layer, inputs):
    """TensorFlow, where it was trained, pads an even side at its end alone if every second position is taken."""
    (x,) = inputs
    return F.pad(x, (x.shape[3] % 2, 1, x.shape[2] % 2, 1))


class Painter(nn.Module):
    """Contents (B, 3, H, W) in [0, 1] and codes (B, 100) -> pictures (B, 3, H, W) in [0, 1]."""

    def __init__(self):
        super().__init__()
        self.contract = nn.ModuleList([_convolution(3, 8, 9), _convolution(8, 16, 3, 2), _convolution(16, 32, 3, 2)])
        self.residual = nn.ModuleList([_convolution(32, 32, 3) for _ in range(10)])
        self.expand = nn.ModuleList([_convolution(32, 16, 3), _convolution(16, 8, 3), _convolution(8, 3, 9)])
        self.channels = [layer.out_channels for layer in (*self.residual, *self.expand)]
        self.style = nn.Linear(CODE, 2 * sum(self.channels))

    def forward(self, x, code):
        asked = [part.chunk(2, dim=1) for part in self.style(code).split([2 * n for n in self.channels], dim=1)]
        sizes = []
        for layer in self.contract:
            sizes.append(x.shape[2:])
            x = F.relu(layer(x), inplace=True)
        for i in range(0, 10, 2):
            inside = F.relu(adain(self.residual[i](x), *asked[i]), inplace=True)
            x = x + adain(self.residual[i + 1](inside), *asked[i + 1])
        for i, size in enumerate((sizes[2], sizes[1])):  # enlarged by repeating, to the very size it had before
            x = F.relu(adain(self.expand[i](F.interpolate(x, size)), *asked[10 + i]), inplace=True)
        return torch.sigmoid(adain(self.expand[2](x), *asked[12]))


def _convolution(channels, out, size, stride=1):
    """Those behind which `adain` takes the mean away have a bias that does nothing: it is zero."""
    return nn.Conv2d(channels, out, size, stride, size // 2, padding_mode="reflect")


class FastStyle(nn.Module):
    """Paints any content in any style: the two halves, as they were trained together."""

    def __init__(self):
        super().__init__()
        self.reader, self.painter = StyleReader(), Painter()

    def codes(self, style):
        """(B, 100) of style images (B, 3, h, w): all that `forward` needs to know of them."""
        return self.reader(self._sent(style))

    def forward(self, content, codes, alpha):
        """Contents (B, 3, H, W) in the styles of codes (1 or B, 100) at strengths (B,), in [0, 1]."""
        content = self._sent(content)
        painted = self.painter(content, codes.expand(len(content), -1))
        return content.lerp(painted, sent(alpha, content).view(-1, 1, 1, 1))

    def _sent(self, images):
        return sent(images, self.reader.last.weight).contiguous(memory_format=torch.channels_last)


def fast_network(device="auto"):
    """The trained `FastStyle`, frozen; it is loaded once for each device, which is as in `backbone`."""
    return _loaded(str(torch.empty(0, device=best_device(device)).device))  # "cuda" is "cuda:0"


@functools.cache
@torch.inference_mode(False)
def _loaded(device):
    with torch.device("meta"):  # random values would come from the process's own generator, only to be replaced
        model = FastStyle()
    model.load_state_dict(whole_numbers_to_weights(read_weights(WEIGHTS)), assign=True)
    return model.to(device, memory_format=torch.channels_last).requires_grad_(False).eval()


def read_weights(path):
    """{name: tensor} of the file; FileNotFoundError or ValueError say what is wrong with it."""
    if not path.exists():
        raise FileNotFoundError(f"there are no weights of the fast network, {path}: install d2lstyle again")
    if file_digest(path) != SHA256:
        raise ValueError(f"{path} is damaged: its sha256 is not that of the weights this version was tested with")
    return torch.load(path, map_location="cpu", weights_only=True)


def whole_numbers_to_weights(stored):
    """The state of a `FastStyle`: the weights were published as 8-bit numbers, with a scale for each output channel."""
    state = {}
    for name, value in stored.items():
        if value.dtype == torch.int8:
            value = value * stored[f"{name}_scale"].view(-1, *[1] * (value.dim() - 1))
        if not name.endswith("_scale"):
            state[name] = value
    return state
