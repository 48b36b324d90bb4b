"""Style transfer: an optimisation over pixels, through a frozen network.

One run goes from coarse to fine. At each size the targets are taken once, then every step asks for the gradient of
alpha * content + beta * style + tv (Shinde, eq. 5) with respect to the image, and an optimiser moves the image.
"""

import time
from dataclasses import dataclass, field, replace

import torch

from .backbones import backbone
from .engine import checks
from .engine.checks import unknown_name
from .engine.devices import runs_in_bf16
from .engine.lbfgs import BatchLBFGS
from .fast.network import fast_stylize
from .images import resize
from .losses import CONVENTIONS
from .objective import Objective, proportions
from .schedule import coarse_to_fine

# Content, style and total-variation weight where the caller gives none; None is the network's own `style_weight`.
# Those of the published conventions are published too, for VGG or SqueezeNet: other networks want others.
DEFAULT_WEIGHTS = {"relative": (1, None, 2), "gatys": (1, 1e3, 0), "d2l": (1, 1e3, 10), "cs231n": (5e-2, 500, 5e-2)}
ADAM_LR = 0.02


@dataclass(frozen=True)
class StyleStep:
    """What a step of the optimisation reports; losses are means over the batch.

    Attributes:
        step, steps: this step, from 1, and how many there will be.
        size: (height, width) in pixels of this stage.
        seconds: since the run began.
        losses: {"total", "content", "style", "tv", "content relu4_2", "style relu1_1", ...}; "total" is eq. 5, the
            others are before their weights.
        image: (B, 3, H, W) in [0, 1], the current image, for callbacks alone; None in a history.
    """

    step: int
    steps: int
    size: tuple
    seconds: float
    losses: dict
    image: torch.Tensor | None = None

    def __str__(self):
        return f"{self.size[1]} x {self.size[0]} px, loss {self.losses['total']:.3g}"


@dataclass(frozen=True)
class StyleResult:
    """The outcome of `stylize`.

    Attributes:
        image: (B, 3, H, W) in [0, 1], on the CPU; for each image the best step of the last size.
        history: list of StyleStep, one a step.
        seconds: of the whole run.
        interrupted: whether a KeyboardInterrupt ended it early.
    """

    image: torch.Tensor
    history: list = field(repr=False)
    seconds: float
    interrupted: bool = False


@torch.enable_grad()  # a caller under no_grad has no graph in mind, this needs one
def stylize(
    content,
    style,
    *,
    style_weights=None,
    style_masks=None,
    mix="grams",
    content_weight=None,
    style_weight=None,
    tv_weight=None,
    content_layers=None,
    style_layers=None,
    layer_weights=None,
    style_scale=1.0,
    style_channels=1.0,
    convention="relative",
    net=None,
    sizes=None,
    steps=100,
    optimizer="lbfgs",
    init="content",
    preserve_color=False,
    precision="auto",
    method="optimise",
    seed=0,
    device="auto",
    callback=None,
):
    """Paint the content in the style.

    Args:
        content: (B, 3, H, W) in [0, 1]. A batch is B independent runs, equal to B calls.
        style: (1, 3, H, W), or (B, 3, H, W) for a style to each content, or a list of such, to be mixed.
        style_weights: proportions of a list's styles, any scale; None for equal parts. A row of them for each content,
            (B, styles), gives each its own mixture.
        style_masks: which positions of the style count, and how much: (1, 1, H, W) or (B, 1, H, W) of the style's size,
            not negative, such as `region_weights` makes; for a list of styles a list, None for all positions. A layer's
            positions weigh as much as the mask covers of them.
        mix: how a list of styles is mixed. "grams" adds their Grams: the textures of all. "features" adds their features
            place by place, and takes the Gram of the sum: a texture between them.
        content_weight, style_weight, tv_weight: alpha, beta and the weight of total variation, none negative; None
            for the convention's default; (B,) numbers give each content its own.
        content_layers, style_layers: layer names of the network, or None for its own choice.
        layer_weights: {style layer: w_l}, or None for 1 / number of layers, as Gatys et al. do.
        style_scale: longer side of the style over longer side of the content. Larger means larger strokes.
        style_channels: part of each style layer's channels that are compared, or how many from 2 on: those most active in
            the style, see `top_channels`.
        convention: see `losses`. "relative" needs no tuning; the others are the published equations as they stand.
        net: a `Backbone`, or None for `backbone("auto")`.
        sizes: pixels of the longer side, coarse to fine; None for the content's own size, reached in doublings.
        steps: in all, shared out with more at the coarse sizes, or a list with one number a size.
        optimizer: "lbfgs" or "adam".
        init: "content", "noise", or an image to start from: (1, 3, h, w) or (B, 3, h, w), resized, such as an earlier result.
        preserve_color: keep the content's chroma, take its luma alone from the result.
        precision: "fp32", "bf16" or "auto", which is bf16 for the network's passes where this hardware gains by it.
            Image, Grams, losses and optimiser are always fp32.
        method: "optimise", or "fast": one pass of the trained network of `fast_stylize`, some forty times sooner and
            rougher. It takes style_weights and preserve_color, and nothing else that shapes an optimisation.
        seed: of the noise that init="noise" starts from.
        device: as in `backbone`; only read where net is None.
        callback: called with a StyleStep after each step. A KeyboardInterrupt, there or anywhere, ends the run.
    Returns:
        StyleResult.
    Raises:
        TypeError, ValueError: an argument is not as said above.
        FloatingPointError: a loss became NaN or infinite.

    Shinde, section 3.1; Gatys et al. 2016; lecture 15, "style transfer".
    """
    checks.image(content, "content")
    content = content.detach().float()
    styles = _checked_styles(style, len(content))
    masks = _checked_masks(style_masks, styles, len(content))
    start = _start(init, content, seed)
    _check_choices(method=method, mix=mix, convention=convention, optimizer=optimizer, precision=precision)
    if method == "fast":
        _check_fast(
            style_masks,
            content_weight,
            style_weight,
            tv_weight,
            content_layers,
            style_layers,
            layer_weights,
            sizes,
            mix=mix,
            init=init,
            style_scale=style_scale,
            style_channels=style_channels,
        )
        return _in_one_pass(content, styles, style_weights, preserve_color, net, device)
    net = backbone("auto", device=device) if net is None else net
    schedule = coarse_to_fine(content.shape[2:], sizes, steps)
    objective = Objective(
        net=net,
        content=content,
        styles=styles,
        masks=masks,
        proportions=proportions(style_weights, len(styles), len(content)),
        mix=mix,
        style_channels=style_channels,
        style_scale=_checked_scale(style_scale),
        weights=_term_weights(net, convention, len(content), content_weight, style_weight, tv_weight),
        content_layers=_checked_layers(net, net.content_layers if content_layers is None else content_layers),
        style_layers=_checked_layers(net, net.style_layers if style_layers is None else style_layers),
        layer_weights=layer_weights,
        convention=convention,
        dtype=torch.bfloat16 if runs_in_bf16(precision, net, net.mean.device) else torch.float32,
    )
    keep_color = (lambda image: _with_luma_of(image, content)) if preserve_color else (lambda image: image)
    run = _Run(objective, schedule, optimizer, callback, keep_color)
    image, interrupted = run.all_sizes(start)
    return StyleResult(keep_color(image.cpu()), run.history, time.perf_counter() - run.began, interrupted)


def _check_fast(*shaping, **choices):
    """Refuse what only an optimisation can do, instead of leaving it out without a word."""
    defaults = {"mix": "grams", "init": "content", "style_scale": 1.0, "style_channels": 1.0}
    if any(each is not None for each in shaping) or choices != defaults:
        raise ValueError(
            'method="fast" takes style_weights and preserve_color alone: leave out masks, weights, layers, sizes, mix, init, '
            'style_scale and style_channels, or use method="optimise"'
        )


def _in_one_pass(content, styles, style_weights, preserve_color, net, device):
    began = time.perf_counter()
    image = fast_stylize(content, styles, style_weights=style_weights, net=net, device=device)
    if preserve_color:
        image = _with_luma_of(image, content)
    return StyleResult(image, [], time.perf_counter() - began)


class _Run:
    """One optimisation from coarse to fine, and what it has reached so far."""

    def __init__(self, objective, schedule, optimizer, callback, keep_color):
        self.objective, self.schedule, self.optimizer = objective, schedule, optimizer
        self.callback, self.keep_color = callback, keep_color
        self.steps = sum(steps for _, steps in schedule)
        self.history, self.began = [], time.perf_counter()

    def all_sizes(self, image):
        """(best image at the final size, whether a KeyboardInterrupt cut the run short)."""
        self.best = image.to(self.objective.device)
        try:
            for size, steps in self.schedule:
                self._one_size(size, steps)
            return self.best, False
        except KeyboardInterrupt:
            return resize(self.best, self.schedule[-1][0]), True

    def _one_size(self, size, steps):
        self.objective.set_size(size)
        image = self._enlarged(size).clone(memory_format=torch.contiguous_format).requires_grad_()
        optimizer = (
            BatchLBFGS(image, bounds=(0, 1)) if self.optimizer == "lbfgs" else torch.optim.Adam([image], lr=ADAM_LR)
        )
        self.best_total = torch.full((len(image),), torch.inf, device=image.device)
        self._evaluate(image)
        for _ in range(steps):
            optimizer.step()
            image.data.clamp_(0, 1)
            losses = self._evaluate(image)
            self._report(losses, size)

    def _enlarged(self, size):
        """The best image so far at a finer size, with the detail of the content that the coarse one could not hold."""
        coarse = tuple(self.best.shape[2:])
        if size[0] <= coarse[0]:
            return resize(self.best, size)
        content = resize(self.objective.content.to(self.best), size)
        return (resize(self.best, size) + content - resize(resize(content, coarse), size)).clamp(0, 1)

    def _evaluate(self, image):
        """Losses of the image; leaves their gradient in image.grad, and a copy of it in `best` where it is the best."""
        losses = self.objective(image)
        (image.grad,) = torch.autograd.grad(losses["total"].sum(), image)
        self._check_finite(losses)
        total, self.current = losses["total"].detach(), image.detach().clone()
        better = total < self.best_total
        self.best = self.current if better.all() else torch.where(better[:, None, None, None], self.current, self.best)
        self.best_total = torch.minimum(total, self.best_total)
        return losses

    def _check_finite(self, losses):
        if losses["total"].isfinite().all():
            return
        shown = ", ".join(f"{name} {losses[name].mean().item():.3g}" for name in ("content", "style", "tv"))
        raise FloatingPointError(
            f"the loss is not finite at step {len(self.history) + 1} of {self.steps} ({shown}): "
            "lower style_weight or content_weight, or use precision='fp32'"
        )

    def _report(self, losses, size):
        values = torch.stack([value.detach().mean() for value in losses.values()]).tolist()
        step = StyleStep(
            len(self.history) + 1, self.steps, size, time.perf_counter() - self.began, dict(zip(losses, values))
        )
        self.history.append(step)
        if self.callback:
            self.callback(replace(step, image=self.keep_color(self.current.cpu())))


def _start(init, content, seed):
    """The images that a run starts from."""
    if not isinstance(init, torch.Tensor):
        _check_choices(init=init)
        return content if init == "content" else _noise(content, seed)
    checks.image(init, "init")
    if len(init) not in (1, len(content)):
        raise ValueError(f"expected one image as init, or one for each of {len(content)} contents, got {len(init)}")
    return init.detach().float().expand(len(content), -1, -1, -1)


def _noise(content, seed):
    """The same noise for every image of a batch, so that a batch equals its images alone."""
    if not -(2**63) <= seed < 2**63:
        raise ValueError(f"expected a seed of at most 64 bits, got {seed}")
    noise = torch.rand(1, *content.shape[1:], generator=torch.Generator().manual_seed(seed))
    return noise.expand_as(content)


def _with_luma_of(image, content):
    """The content plus the difference in luma (ITU-R BT.601): chroma stays what it was."""
    luma = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    content = resize(content.cpu(), tuple(image.shape[2:]))
    return (content + ((image - content) * luma).sum(dim=1, keepdim=True)).clamp(0, 1)


def _checked_styles(style, batch):
    styles = list(style) if isinstance(style, (list, tuple)) else [style]
    if not styles:
        raise ValueError("expected at least one style image, got an empty list")
    for each in styles:
        checks.image(each, "style")
        if len(each) not in (1, batch):
            raise ValueError(f"expected one style, or one for each of {batch} contents, got {len(each)}")
    return [each.detach().float() for each in styles]


def _checked_scale(style_scale):
    if not 0 < style_scale < float("inf"):
        raise ValueError(f"expected style_scale above zero, got {style_scale}")
    return style_scale


def _checked_masks(style_masks, styles, batch):
    masks = list(style_masks) if isinstance(style_masks, (list, tuple)) else [style_masks]
    if style_masks is None:
        return [None] * len(styles)
    if len(masks) != len(styles):
        raise ValueError(f"expected a mask for each of {len(styles)} styles, or None in its place, got {len(masks)}")
    for mask, style in zip(masks, styles):
        if mask is None:
            continue
        shape = (1, *style.shape[2:])
        if (
            not isinstance(mask, torch.Tensor)
            or tuple(mask.shape[1:]) != shape
            or len(mask) not in {1, len(style), batch}
        ):
            found = tuple(getattr(mask, "shape", ())) or type(mask).__name__
            raise ValueError(
                f"expected a style mask of its style's size, (1, {', '.join(map(str, shape))}), got {found}"
            )
        if not (mask >= 0).all() or not mask.isfinite().all():
            raise ValueError("expected style masks of finite values, none negative")
        if not (mask.flatten(1) > 0).any(dim=1).all():
            raise ValueError("expected style masks that keep some position, got an empty one: it leaves no style")
    return [None if mask is None else mask.detach().float() for mask in masks]


def default_weights(net, convention="relative"):
    """(content, style, total-variation) weight where the caller gives none."""
    return tuple(net.style_weight if default is None else default for default in DEFAULT_WEIGHTS[convention])


def _term_weights(net, convention, batch, *given):
    """Each a number, or (B,) on the network's device."""
    weights = [
        default if weight is None else weight for weight, default in zip(given, default_weights(net, convention))
    ]
    for i, (name, weight) in enumerate(zip(("content_weight", "style_weight", "tv_weight"), weights)):
        if hasattr(weight, "__len__"):
            weights[i] = torch.as_tensor(weight, dtype=torch.float32).to(net.mean.device)
            if weights[i].shape != (batch,):
                raise ValueError(f"expected {name} as a number, or as {batch} of them, got {tuple(weights[i].shape)}")
        wide = torch.as_tensor(weight, dtype=torch.float64)
        if not ((wide >= 0) & (wide < torch.inf)).all():
            raise ValueError(f"expected {name} of zero or more, got {weight}")
    return weights


def _checked_layers(net, layers):
    if isinstance(layers, str) or not layers:
        raise ValueError(f"expected a list of layers of {net.name}, got {layers!r}: None is the network's own choice")
    for layer in layers:
        if layer not in net.layers:
            raise unknown_name(f"layer of {net.name}", layer, net.layers)
    return list(layers)


def _check_choices(**given):
    choices = {
        "method": ("optimise", "fast"),
        "mix": ("grams", "features"),
        "convention": CONVENTIONS,
        "optimizer": ("lbfgs", "adam"),
        "init": ("content", "noise"),
        "precision": ("auto", "fp32", "bf16"),
    }
    for name, value in given.items():
        if value not in choices[name]:
            raise unknown_name(name, value, list(choices[name]))
