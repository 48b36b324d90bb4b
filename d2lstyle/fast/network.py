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
SHA256 = "743224d9f88fc0fd1d1c76ff04523a706efb5618fc2d41019f99424a772e1284"  # of that file
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
        shapes = ((3, 8, 9, 1), (8, 16, 3, 2), (16, 32, 3, 2))
        self.contract = nn.ModuleList([_convolution(*shape, bias=True) for shape in shapes])
        self.residual = nn.ModuleList([_convolution(32, 32, 3) for _ in range(10)])
        self.expand = nn.ModuleList([_enlarging(32, 16), _enlarging(16, 8)])
        self.last = _convolution(8, 3, 9)
        self.channels = [layer.out_channels for layer in (*self.residual, *self.expand, self.last)]
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
        for i, (height, width) in enumerate((sizes[2], sizes[1])):
            x = self.expand[i](F.pad(x, (1, 1, 1, 1), mode="replicate"))[:, :, :height, :width]
            x = F.relu(adain(x, *asked[10 + i]), inplace=True)
        return torch.sigmoid(adain(self.last(x), *asked[12]))


def _convolution(channels, out, size, stride=1, bias=False):
    """A bias would do nothing where `adain` takes the mean away."""
    return nn.Conv2d(channels, out, size, stride, size // 2, padding_mode="reflect", bias=bias)


def _enlarging(channels, out):
    """Twice the size by repeating each position, and a convolution of 3 x 3, in one; seven times as fast on a CPU."""
    return nn.ConvTranspose2d(channels, out, 4, stride=2, padding=3, bias=False)


class FastStyle(nn.Module):
    """Paints any content in any style: the two halves, as they were trained together."""

    def __init__(self):
        super().__init__()
        self.reader, self.painter = StyleReader(), Painter()

    def codes(self, style):
        """(B, 100) of style images (B, 3, h, w): all that `forward` needs to know of them."""
        return self.reader(self._sent(style))

    def forward(self, content, codes):
        """Contents (B, 3, H, W) in the styles of codes (1 or B, 100), in [0, 1]."""
        return self.painter(self._sent(content), codes.expand(len(content), -1))

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
    model.load_state_dict(as_weights(read_weights(WEIGHTS)), assign=True)
    return model.to(device, memory_format=torch.channels_last).requires_grad_(False).eval()


def read_weights(path):
    """{name: tensor} of the file; FileNotFoundError or ValueError say what is wrong with it."""
    if not path.exists():
        raise FileNotFoundError(f"there are no weights of the fast network, {path}: install d2lstyle again")
    if file_digest(path) != SHA256:
        raise ValueError(f"{path} is damaged: its sha256 is not that of the weights this version was tested with")
    return torch.load(path, map_location="cpu", weights_only=True)


def as_weights(stored):
    """The state of a `FastStyle`: the weights were published as 8-bit numbers, with a scale for each output channel."""
    state = {name: value for name, value in stored.items() if not name.endswith("_scale")}
    for name, value in state.items():
        if value.dtype == torch.int8:
            value = value * stored[f"{name}_scale"].view(-1, *[1] * (value.dim() - 1))
        if name.startswith("painter.expand"):  # (O, I, 3, 3) -> (I, O, 4, 4)
            box = torch.ones(1, 1, 2, 2, device="cpu", dtype=torch.float32)
            spread = F.conv2d(value.flip(2, 3).flatten(0, 1)[:, None], box, padding=1)
            value = spread.view(*value.shape[:2], 4, 4).transpose(0, 1).contiguous()
        state[name] = value
    return state
