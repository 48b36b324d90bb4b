"""Style transfer in one pass: a small trained network paints what `stylize` takes many steps to find.

Content and style go through the frozen embedded backbone. At its resolutions the content's features take over the
style's statistics: each channel its mean and standard deviation (AdaIN), and a few learned mixtures of channels their
whole covariance, which is what a Gram matrix holds. A decoder makes a picture of the result. As a style enters by its
statistics alone, styles that were not seen in training work too, and several are mixed by mixing their statistics.
"""

import functools
import hashlib
import io
import math
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from ..backbones import MIN_SIDE, backbone
from ..engine import checks
from ..engine.devices import best_device
from ..engine.prepare import prepared
from ..images import resize
from ..mixing import proportions

WEIGHTS = Path(__file__).parent / "weights" / "fast_style.pt"
SHA256 = "351dfddf567967841bd0c9de87ca36e028c4e9a9cfe9dc711533bb9009bb625d"  # of that file
NETWORK = "efficientnet_lite0"
STRIDE = 16  # pixels for each position of the coarsest level; sides are padded to a multiple of it
TINY = 1e-5  # of a variance: keeps flat pictures finite
FLOOR = 1e-2  # of the mean variance, which each direction has at least: without it whitening blows up faint noise


class Size(NamedTuple):
    """A level's channels, how many mixtures of them are made, and whether AdaIN gives the channels themselves as well."""

    channels: int
    mixtures: int | None  # None: the channels are few, and are taken as they are
    adain: bool


LEVELS = {  # from coarse to fine; the linear conv1_1 and the pixels carry the palette
    "relu5_1": Size(480, 48, True),
    "relu4_1": Size(240, 48, True),
    "relu3_1": Size(144, 48, True),
    "relu2_1": Size(96, 48, False),
    "conv1_1": Size(32, None, False),
    "pixels": Size(3, None, False),
}
WIDTHS = (128, 112, 80, 48)  # of the decoder at its four resolutions, from coarse to fine
DETAIL = (
    0.1  # scale of what the decoder adds to the content in the style's colours, so that its steps are not too large
)


class Statistics(NamedTuple):
    """What one level keeps of each image, over its positions.

    Attributes:
        mean, variance: (B, C), of the features.
        mixed_mean, covariance: (B, K) and (B, K, K), of the mixtures of channels.
    """

    mean: torch.Tensor
    variance: torch.Tensor
    mixed_mean: torch.Tensor
    covariance: torch.Tensor


def adain(features, mean, std):
    """Features moved and scaled so that each channel of each image has the mean and the standard deviation asked for.

    Args:
        features: (B, C, H, W), any range.
        mean, std: (1, C) or (B, C); the deviation is over all positions, not that of a sample.
    Returns:
        (B, C, H, W)

    Huang and Belongie 2017, "Arbitrary style transfer in real-time with adaptive instance normalization", eq. 8.

    >>> adain(torch.tensor([[[[1., 3.]]]]), mean=torch.tensor([[10.]]), std=torch.tensor([[2.]])).round()
    tensor([[[[ 8., 12.]]]])
    """
    own_mean, variance = _mean_and_variance(features)
    scale = std / (variance + TINY).sqrt()
    return torch.addcmul((mean - scale * own_mean)[..., None, None], features, scale[..., None, None])


def _mean_and_variance(features):
    """(B, C) each. By the squares: torch.var takes fifty times as long on channels_last features."""
    mean = features.mean((2, 3))
    return mean, (features.square().mean((2, 3)) - mean.square()).clamp(min=0)  # rounding may leave less than nothing


def _mean_and_covariance(rows):
    """(B, 1, K) and (B, K, K) of (B, N, K). Centred first: else rounding makes the covariance of a flat image indefinite."""
    mean = rows.mean(1, keepdim=True)
    centred = rows - mean
    return mean, centred.transpose(1, 2) @ centred / rows.shape[1]


class _Level(nn.Module):
    """One resolution: features in, features with a style's statistics out."""

    def __init__(self, size):
        super().__init__()
        self.adain = size.adain
        self.mix = nn.Identity() if size.mixtures is None else nn.Conv2d(size.channels, size.mixtures, 1, bias=False)
        count = size.mixtures or size.channels
        self.width = count + size.channels * size.adain
        self.noise = nn.Parameter(torch.full((count,), 0.1 if size.mixtures is None else 1.0))

    def statistics(self, features):
        """`Statistics` of features (B, C, H, W)."""
        mixed_mean, covariance = _mean_and_covariance(_rows(self.mix(features)))
        return Statistics(*_mean_and_variance(features), mixed_mean.squeeze(1), covariance)

    def forward(self, features, style, alpha, generator):
        """(B, C, H, W) -> (B, width, H, W); alpha (B, 1, 1, 1) goes from the features as they are, 0, to the style's, 1."""
        mixed = self.mix(features)
        mixed = mixed.lerp(self._colored(mixed, style, generator), alpha)
        if not self.adain:
            return mixed
        styled = adain(features, style.mean, (style.variance + TINY).sqrt())
        return torch.cat((features.lerp(styled, alpha), mixed), dim=1)

    def _colored(self, mixed, style, generator):
        """The mixtures with the style's mean and covariance: whitened by their own, then coloured by the style's.

        Noise joins them in between, from which the decoder makes texture where the content is empty. It is the same for
        every image of a batch, so that a batch equals its images alone.
        """
        rows = _rows(mixed)
        mean, own = _mean_and_covariance(rows)
        whitening = torch.linalg.inv(_root(own, _floor(own) + _floor(style.covariance)))
        white = (rows - mean) @ whitening.transpose(1, 2)
        noise = torch.randn(1, *rows.shape[1:], generator=generator).to(rows)
        white = (white + self.noise * noise) / (1 + self.noise.square()).sqrt()
        coloring = _root(style.covariance, _floor(style.covariance))
        colored = white @ coloring.transpose(1, 2) + style.mixed_mean[:, None]
        return colored.unflatten(1, mixed.shape[2:]).movedim(-1, 1)


def _rows(features):
    """(B, H * W, C), which channels_last features are in memory."""
    return features.movedim(1, -1).flatten(1, 2)


def _floor(covariance):
    return FLOOR * covariance.diagonal(dim1=1, dim2=2).mean(1)


def _root(covariance, floor):
    """The lower triangular root of (B, K, K), each direction of which has at least the variance `floor`."""
    eye = torch.eye(covariance.shape[1], device=covariance.device)
    return torch.linalg.cholesky(covariance + (TINY + floor).view(-1, 1, 1) * eye)


class Painter(nn.Module):
    """All that is trained: the levels and the decoder, without the backbone."""

    def __init__(self):
        super().__init__()
        self.levels = nn.ModuleDict({name: _Level(size) for name, size in LEVELS.items()})
        relu5, relu4, relu3, relu2, conv1, _ = (level.width for level in self.levels.values())
        deep, coarse, middle, fine = WIDTHS
        self.deep = nn.Sequential(nn.Conv2d(relu5, deep, 1), nn.ReLU(), _Residual(deep), _Residual(deep))
        self.join_coarse, self.coarse = _Join(deep, relu4, coarse), nn.Sequential(_Residual(coarse), _Residual(coarse))
        self.join_middle, self.middle = _Join(coarse, relu3, middle), _Residual(middle)
        self.join_fine, self.fine = _Join(middle, relu2 + conv1, fine), _Residual(fine)
        self.last = _convolution(fine, 16)  # for each of two by two pixels: a colour, and how much of the content stays

    def statistics(self, features):
        """{level: Statistics} of {level: features}."""
        return {name: level.statistics(features[name]) for name, level in self.levels.items()}

    def forward(self, features, statistics, alpha, seed=0):
        """The picture, (B, 3, H, W), not yet clamped to [0, 1]; `seed` is that of the noise."""
        generator = torch.Generator().manual_seed(seed)
        styled = {
            name: level(features[name], statistics[name], alpha, generator) for name, level in self.levels.items()
        }
        x = self.coarse(self.join_coarse(self.deep(styled["relu5_1"]), styled["relu4_1"]))
        x = self.middle(self.join_middle(x, styled["relu3_1"]))
        x = self.fine(self.join_fine(x, torch.cat((styled["relu2_1"], styled["conv1_1"]), dim=1)))
        detail, kept = F.pixel_shuffle(self.last(x), 2).split((3, 1), dim=1)
        kept = 1 - alpha * torch.sigmoid(-kept)
        mean = statistics["pixels"].mean[..., None, None]
        return mean + kept * (styled["pixels"] - mean) + DETAIL * detail


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
    """Paints any content in any style in one pass.

    Attributes:
        encoder: the frozen backbone, prepared; its weights are not stored with the network's own.
        painter: `Painter`, the network's own weights.
    """

    def __init__(self, net):
        """net: the `Backbone` that it was, or will be, trained on."""
        super().__init__()
        self.encoder, self.painter = prepared(net), Painter().to(net.mean.device, memory_format=torch.channels_last)

    def forward(self, content, style, alpha=1.0):
        """Paint each content in its style.

        Args:
            content: (B, 3, H, W) in [0, 1], sides of at least 32 pixels.
            style: (1, 3, h, w), or (B, 3, h, w) for a style to each content, in [0, 1], sides of at least 32 pixels. Its
                strokes keep their size in pixels.
            alpha: strength in [0, 1], a number, or (B,) for each content its own; 0 gives about the content back.
        Returns:
            (B, 3, H, W) in [0, 1].
        Raises:
            TypeError, ValueError: an argument is not as said above.
        """
        _check_pictures(content, [style])
        return self.paint(content, self.statistics(style), _checked_alpha(alpha, len(content))).clamp(0, 1)

    def statistics(self, style):
        """{level: Statistics} of style images (B, 3, h, w): all that `paint` needs to know of them."""
        return self.painter.statistics(self._features(style))

    def paint(self, content, statistics, alpha, seed=0):
        """As `forward`, with the styles' statistics and alpha (B,); not clamped, which training wants."""
        content = content.to(self.encoder.mean)
        height, width = content.shape[2:]
        padded = F.pad(content, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        alpha = alpha.to(content).view(-1, 1, 1, 1)
        return self.painter(self._features(padded), statistics, alpha, seed)[:, :, :height, :width]

    def _features(self, images):
        images = images.to(self.encoder.mean).contiguous(memory_format=torch.channels_last)
        return {**self.encoder(images, [name for name in LEVELS if name != "pixels"]), "pixels": images}


@torch.no_grad()
def fast_stylize(content, style, *, style_weights=None, alpha=1.0, net=None, device="auto"):
    """Paint the content in the style in one pass: a rougher picture than `stylize` finds, some forty times sooner.

    Args:
        content: (B, 3, H, W) in [0, 1], sides of at least 32 pixels; the network was trained on 64 to 128 pixels. A batch
            equals B calls.
        style: (1, 3, h, w), or (B, 3, h, w) for a style to each content, or a list of such, to be mixed. Its longer side
            is resized to the content's.
        style_weights: proportions of a list's styles, any scale; None for equal parts. A row of them for each content,
            (B, styles), gives each its own mixture.
        alpha: strength in [0, 1], a number, or (B,) for each content its own; 0 gives about the content back.
        net: a `Backbone` on whose device to paint, or None. It must be the embedded one, on which the network was trained.
        device: as in `backbone`; only read where net is None.
    Returns:
        (B, 3, H, W) in [0, 1], on the CPU.
    Raises:
        TypeError, ValueError: an argument is not as said above.
        FileNotFoundError: the network's weights are missing.

    Source: ours. AdaIN is of Huang and Belongie 2017; whitening and colouring of Li et al. 2017, "Universal style transfer
    via feature transforms".
    """
    styles = list(style) if isinstance(style, (list, tuple)) else [style]
    _check_pictures(content, styles)
    shares, alpha = proportions(style_weights, len(styles), len(content)), _checked_alpha(alpha, len(content))
    check_backbone(net)
    model = fast_network(device if net is None else net.mean.device)
    content = content.detach().to(model.encoder.mean)
    statistics = [model.statistics(scaled_style(each.detach(), max(content.shape[2:]))) for each in styles]
    return model.paint(content, mixed_statistics(statistics, shares.to(content)), alpha).clamp(0, 1).cpu()


def mixed_statistics(styles, shares):
    """{level: Statistics} of a mixture of styles: those of all their positions together.

    Args:
        styles: a list of {level: Statistics}, one a style, of 1 or B images.
        shares: (1, styles) or (B, styles), each row adding up to one.
    """
    return {level: _mixture([style[level] for style in styles], shares.T[..., None]) for level in styles[0]}


def _mixture(parts, shares):
    """The variance of a mixture is that inside of its parts and that between their means."""
    mean = sum(share * part.mean for share, part in zip(shares, parts))
    mixed_mean = sum(share * part.mixed_mean for share, part in zip(shares, parts))
    variance, covariance = 0, 0
    for share, part in zip(shares, parts):
        apart = part.mixed_mean - mixed_mean
        variance = variance + share * (part.variance + (part.mean - mean).square())
        covariance = covariance + share[..., None] * (part.covariance + apart[:, :, None] * apart[:, None])
    return Statistics(mean, variance, mixed_mean, covariance)


def fast_network(device="auto"):
    """The trained network, frozen; it is loaded once for each device.

    Args:
        device: as in `backbone`.
    Returns:
        FastStyle
    Raises:
        FileNotFoundError: the file of weights is missing.
        ValueError: it is damaged, or this computer lacks the device.
    """
    return _loaded(str(best_device(device)))


@functools.cache
def _loaded(device):
    state = _read_weights(WEIGHTS)
    model = FastStyle(backbone(NETWORK, device=device))
    model.painter.load_state_dict({name: value.float() for name, value in state.items()})
    return model.requires_grad_(False).eval()


def _read_weights(path):
    """The state of a `Painter`; it is kept in half precision."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"there are no weights of the fast network, {path}: install d2lstyle again, or run python -m tools.training.fast_style"
        ) from None
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise ValueError(f"{path} is damaged: its sha256 is not that of the weights this version was tested with")
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def check_backbone(net):
    """Raise ValueError unless `net` is None or the backbone that the network was trained on."""
    if net is not None and net.name != NETWORK:
        raise ValueError(
            f"expected net as the backbone {NETWORK}, on which the fast network was trained, got {net.name}"
        )


def scaled_style(style, side):
    """The style with a longer side of `side` pixels, or what its shorter side needs to reach the smallest size."""
    shape = style.shape[2:]
    return resize(style, max(side, math.ceil(MIN_SIDE * max(shape) / min(shape))))


def _check_pictures(content, styles):
    checks.image(content, "content")
    if min(content.shape[2:]) < MIN_SIDE:
        raise ValueError(f"expected content of at least {MIN_SIDE} x {MIN_SIDE} pixels, got {tuple(content.shape)}")
    if not styles:
        raise ValueError("expected at least one style image, got an empty list")
    for style in styles:
        checks.image(style, "style")
        if len(style) not in (1, len(content)):
            raise ValueError(f"expected one style, or one for each of {len(content)} contents, got {len(style)}")


def _checked_alpha(alpha, batch):
    """(B,) of a number or of one a content."""
    try:
        values = torch.as_tensor(alpha, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"expected alpha as a number in [0, 1], or one for each content, got {alpha!r}") from None
    if values.shape not in {(), (1,), (batch,)} or not ((values >= 0) & (values <= 1)).all():  # NaN is neither
        raise ValueError(f"expected alpha in [0, 1], a number or ({batch},), got {alpha!r}")
    return values.expand(batch)
