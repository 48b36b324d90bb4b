"""The trained network that paints in one pass what `stylize` takes many steps to find.

Content and style go through the frozen embedded backbone. At its resolutions the content's features take over the
style's statistics: each channel its mean and standard deviation (AdaIN), and a few learned mixtures of channels their
whole covariance, which is what a Gram matrix holds. A decoder makes a picture of the result. As a style enters by its
statistics alone, styles that were not seen in training work too, and several are mixed by mixing their statistics.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from ..backbones import backbone
from ..engine.devices import best_device, sent
from ..engine.files import file_digest
from ..engine.gram_error import rows_of
from ..engine.prepare import prepared

WEIGHTS = Path(__file__).parent / "weights" / "fast_style.pt"
SHA256 = "351dfddf567967841bd0c9de87ca36e028c4e9a9cfe9dc711533bb9009bb625d"  # of that file
NETWORK = "efficientnet_lite0"
STRIDE = 16  # pixels for each position of the coarsest level; sides are padded to a multiple of it
TINY = 1e-5  # of a variance: keeps flat pictures finite
FLOOR = 1e-2  # of the mean variance, which each direction has at least: without it whitening blows up faint noise
LEVELS = {  # of what the `Level` is made, from coarse to fine; the linear conv1_1 and the pixels carry the palette
    "relu5_1": (480, 48, True),
    "relu4_1": (240, 48, True),
    "relu3_1": (144, 48, True),
    "relu2_1": (96, 48, False),
    "conv1_1": (32, None, False),
    "pixels": (3, None, False),
}
WIDTHS = (128, 112, 80, 48)  # of the decoder at its four resolutions, from coarse to fine
DETAIL = 0.1  # scale of what the decoder adds to the content in the style's colours: its steps are not too large
WHOLE_DETAIL = 0.1  # the strength from which on all of that is added; below, it fades to none at 0


class Statistics(NamedTuple):
    """What one level keeps of each image, over its positions."""

    mean: torch.Tensor  # (B, C), of the features
    variance: torch.Tensor  # (B, C)
    mixed_mean: torch.Tensor  # (B, K), of the mixtures of channels
    covariance: torch.Tensor  # (B, K, K)


def adain(features, mean, std):
    """Features (B, C, H, W) whose channels take over a mean and a standard deviation, each (1, C) or (B, C).

    Huang and Belongie 2017, "Arbitrary style transfer in real-time with adaptive instance normalization", eq. 8.
    """
    mean_before, variance = _mean_and_variance(features)
    scale = std / (variance + TINY).sqrt()
    return torch.addcmul((mean - scale * mean_before)[..., None, None], features, scale[..., None, None])


def _mean_and_variance(features):
    """(B, C) each. By the squares: torch.var takes fifty times as long on channels_last features."""
    mean = features.mean((2, 3))
    return mean, (features.square().mean((2, 3)) - mean.square()).clamp(min=0)  # rounding may leave less than nothing


def _mean_and_covariance(rows):
    """(B, 1, K) and (B, K, K) of (B, N, K). Centred first: else rounding makes that of a flat image indefinite."""
    mean = rows.mean(1, keepdim=True)
    centred = rows - mean
    return mean, centred.transpose(1, 2) @ centred / rows.shape[1]


class Level(nn.Module):
    """One resolution: features in, features with a style's statistics out.

    Of so many channels so many mixtures are made, or None where they are few and taken as they are; with `adain` the
    channels themselves are given as well.
    """

    def __init__(self, channels, mixtures, adain):
        super().__init__()
        self.adain, count = adain, mixtures or channels
        self.mix = nn.Conv2d(channels, mixtures, 1, bias=False) if mixtures else nn.Identity()
        self.width = count + channels * adain
        self.noise = nn.Parameter(torch.full((count,), 1.0 if mixtures else 0.1))

    def statistics(self, features):
        """`Statistics` of features (B, C, H, W)."""
        mixed_mean, covariance = _mean_and_covariance(rows_of(self.mix(features)))
        return Statistics(*_mean_and_variance(features), mixed_mean.squeeze(1), covariance)

    def forward(self, features, style, alpha, noise):
        """(B, C, H, W) -> (B, width, H, W); alpha (B, 1, 1, 1) goes from the features as they are to the style's."""
        mixed = self.mix(features)
        mixed = mixed.lerp(self._colored(mixed, style, noise), alpha)
        if not self.adain:
            return mixed
        styled = adain(features, style.mean, (style.variance + TINY).sqrt())
        return torch.cat((features.lerp(styled, alpha), mixed), dim=1)

    def _colored(self, mixed, style, noise):
        """The mixtures with the style's mean and covariance: whitened by their own, then coloured by the style's.

        Noise (1, N, K) joins them in between, from which the decoder makes texture where the content is empty. It is
        the same for every image of a batch, so that a batch equals its images alone.
        """
        rows = rows_of(mixed)
        mean, covariance = _mean_and_covariance(rows)
        whitening = torch.linalg.inv_ex(_root(covariance, style.covariance), check_errors=mean.is_cpu).inverse
        white = (rows - mean) @ whitening.transpose(1, 2)
        white = (white + self.noise * noise) / (1 + self.noise.square()).sqrt()
        colored = white @ _root(style.covariance).transpose(1, 2) + style.mixed_mean[:, None]
        return colored.unflatten(1, mixed.shape[2:]).movedim(-1, 1)


def _root(covariance, *others):
    """The lower triangular root of (B, K, K), with a part of its mean variance, and of others', for each direction."""
    floor = TINY + sum(FLOOR * matrix.diagonal(dim1=1, dim2=2).mean(1) for matrix in (covariance, *others))
    eye = torch.eye(covariance.shape[1], device=covariance.device, dtype=covariance.dtype)
    # A GPU would have to be waited for to know of NaN, the one thing that can go wrong.
    return torch.linalg.cholesky_ex(covariance + floor.view(-1, 1, 1) * eye, check_errors=eye.is_cpu).L


@functools.lru_cache(maxsize=2)
@torch.inference_mode(False)
def _noise(seed, device, shapes):
    """[(1, N, K)] of shapes [(N, K)], the same on every device; kept, as a GPU paints sooner than they are drawn."""
    generator, place = torch.Generator("cpu").manual_seed(seed), torch.empty(0, device=device, dtype=torch.float32)
    drawn = [torch.randn(1, *shape, generator=generator, device="cpu", dtype=place.dtype) for shape in shapes]
    return [sent(noise, place) for noise in drawn]


class Decoder(nn.Module):
    """All that is trained: the levels, and the layers that make a picture of what they give."""

    def __init__(self):
        super().__init__()
        self.levels = nn.ModuleDict({name: Level(*shape) for name, shape in LEVELS.items()})
        relu5, relu4, relu3, relu2, conv1, _ = (level.width for level in self.levels.values())
        deep, coarse, middle, fine = WIDTHS
        self.deep = nn.Sequential(nn.Conv2d(relu5, deep, 1), nn.ReLU(), _Residual(deep), _Residual(deep))
        self.join_coarse, self.coarse = _Join(deep, relu4, coarse), nn.Sequential(_Residual(coarse), _Residual(coarse))
        self.join_middle, self.middle = _Join(coarse, relu3, middle), _Residual(middle)
        self.join_fine, self.fine = _Join(middle, relu2 + conv1, fine), _Residual(fine)
        self.last = _convolution(fine, 16)  # for each of two by two pixels: a colour, and how much of the content stays

    def forward(self, features, statistics, alpha, seed=0):
        """The picture, (B, 3, H, W), not yet clamped to [0, 1]; `seed` is that of the noise."""
        shapes = tuple((features[name][0, 0].numel(), len(level.noise)) for name, level in self.levels.items())
        noise = dict(zip(self.levels, _noise(seed, alpha.device, shapes)))
        styled = {
            name: level(features[name], statistics[name], alpha, noise[name]) for name, level in self.levels.items()
        }
        x = self.coarse(self.join_coarse(self.deep(styled["relu5_1"]), styled["relu4_1"]))
        x = self.middle(self.join_middle(x, styled["relu3_1"]))
        x = self.fine(self.join_fine(x, torch.cat((styled["relu2_1"], styled["conv1_1"]), dim=1)))
        detail, kept = F.pixel_shuffle(self.last(x), 2).split((3, 1), dim=1)
        lost, added = alpha * torch.sigmoid(-kept), DETAIL * (alpha / WHOLE_DETAIL).clamp(max=1)
        mean = statistics["pixels"].mean[..., None, None]
        return styled["pixels"] + lost * (mean - styled["pixels"]) + added * detail


class _Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.second = _convolution(width, width), _convolution(width, width)

    def forward(self, x):
        return x + self.second(F.relu(self.first(x)))


class _Join(nn.Module):
    """A coarser level and a finer one in a 1 x 1 convolution; the coarser half of its work is done before enlarging."""

    def __init__(self, coarse, fine, width):
        super().__init__()
        self.coarse, self.fine = nn.Conv2d(coarse, width, 1, bias=False), nn.Conv2d(fine, width, 1)

    def forward(self, coarse, fine):
        return F.relu(F.interpolate(self.coarse(coarse), scale_factor=2, mode="nearest") + self.fine(fine))


def _convolution(width, out):
    return nn.Conv2d(width, out, 3, padding=1, padding_mode="reflect")


class FastStyle(nn.Module):
    """Paints any content in any style: a frozen `Backbone`, whose weights are not stored again, and the `Decoder`."""

    def __init__(self, net, decoder):
        super().__init__()
        self.encoder, self.decoder = prepared(net), decoder.to(net.mean.device, memory_format=torch.channels_last)

    def forward(self, content, statistics, alpha, seed=0):
        """Contents (B, 3, H, W) in the styles that `statistics` tells of, at strengths (B,); not clamped to [0, 1]."""
        content = sent(content, self.encoder.mean)
        height, width = content.shape[2:]
        padded = F.pad(content, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        alpha = sent(alpha, content).view(-1, 1, 1, 1)
        return self.decoder(self._features(padded), statistics, alpha, seed)[:, :, :height, :width]

    def statistics(self, style):
        """{level: Statistics} of style images (B, 3, h, w): all that `forward` needs to know of them."""
        features = self._features(style)
        return {name: level.statistics(features[name]) for name, level in self.decoder.levels.items()}

    def _features(self, images):
        images = sent(images, self.encoder.mean).contiguous(memory_format=torch.channels_last)
        return {**self.encoder(images, [name for name in LEVELS if name != "pixels"]), "pixels": images}


def mixed_statistics(styles, shares):
    """{level: Statistics} of all positions of several styles together, by the shares (1 or B, styles) of each."""
    shares = sent(shares, styles[0]["pixels"].mean).T[..., None]
    return {level: _mixture(shares, [style[level] for style in styles]) for level in styles[0]}


def _mixture(shares, styles):
    """The variance of a mixture is that within its styles and that between their means."""
    means, variances, mixed_means, covariances = zip(*styles)
    mean, mixed_mean = _weighted(shares, means), _weighted(shares, mixed_means)
    variance = _weighted(shares, [v + (m - mean).square() for v, m in zip(variances, means)])
    apart = [m - mixed_mean for m in mixed_means]
    covariance = _weighted(shares[..., None], [c + a[:, :, None] * a[:, None] for c, a in zip(covariances, apart)])
    return Statistics(mean, variance, mixed_mean, covariance)


def _weighted(shares, values):
    return sum(share * value for share, value in zip(shares, values))


def fast_network(device="auto"):
    """The trained `FastStyle`, frozen; it is loaded once for each device, which is as in `backbone`."""
    return _loaded(str(torch.empty(0, device=best_device(device)).device))  # "cuda" is "cuda:0"


@functools.cache
def _loaded(device):
    with torch.device("meta"):  # random values would come from the process's own generator, only to be replaced
        decoder = Decoder()
    state = {name: value.float() for name, value in read_weights(WEIGHTS).items()}
    decoder.load_state_dict(state, assign=True)
    return FastStyle(backbone(NETWORK, device=device), decoder).requires_grad_(False).eval()


def read_weights(path):
    """The state of a `Decoder`, in half precision; FileNotFoundError or ValueError say what is wrong with the file."""
    if not path.exists():
        remedy = "install d2lstyle again, or run python -m tools.training.fast_style"
        raise FileNotFoundError(f"there are no weights of the fast network, {path}: {remedy}")
    if file_digest(path) != SHA256:
        raise ValueError(f"{path} is damaged: its sha256 is not that of the weights this version was tested with")
    return torch.load(path, map_location="cpu", weights_only=True)


def check_backbone(net):
    """Raise ValueError unless `net` is None or the backbone that the network was trained on, or its name."""
    if net is not None and (name := getattr(net, "name", net)) != NETWORK:
        wanted = f"the backbone {NETWORK}, on which the fast network was trained"
        raise ValueError(f"expected net as {wanted}, got {name}")
