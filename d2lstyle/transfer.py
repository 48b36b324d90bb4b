"""Style transfer: an optimisation over pixels, through a frozen network.

One run goes from coarse to fine. At each size the targets are taken once, then every step asks for the gradient of
alpha * content + beta * style + gamma * tv (Shinde, eq. 5) with respect to the image, and an optimiser moves the image.
"""

import inspect
import pkgutil
import time
from dataclasses import dataclass, field

import torch

from .backbones import Backbone, backbone
from .engine import checks
from .engine.devices import PRECISIONS, is_out_of_memory, kernels, runs_in_bf16, sent
from .engine.graphs import Repeated
from .engine.later import READ_EVERY, Fetching, Later
from .engine.lbfgs import BatchLBFGS, Spectrum
from .engine.prepare import prepared
from .engine.stages import coarse_to_fine
from .images import resize
from .losses import CONVENTIONS, content_loss, total_variation
from .mixing import StyleMix, blended, regions_of

# Content, style and total-variation weight where the caller gives none; None is the network's own `style_weight`.
# Checked by eye with VGG-19 from the photo: "relative" at 256 and 512 px; "gatys" at 128 px, where the 1e3 published
# for a network of normalised weights hardly paints; the book's 1e4 of "d2l" is over a sum of five layers, here a mean.
# "cs231n" is as published, for SqueezeNet.
DEFAULT_WEIGHTS = {"relative": (1, None, 2), "gatys": (1, 1e5, 0), "d2l": (1, 5e4, 10), "cs231n": (5e-2, 500, 5e-2)}
TV_CONVENTION = {"relative": "d2l", "gatys": "lecture", "d2l": "d2l", "cs231n": "cs231n"}
ADAM_LR = 0.02
OPTIMIZERS = {
    "lbfgs": lambda image, spectrum: BatchLBFGS(image, bounds=(0, 1), longest=0.06, spectrum=spectrum),
    "adam": lambda image, spectrum: torch.optim.Adam([image], lr=ADAM_LR, capturable=image.is_cuda),
}
# A method of another room is looked up when it is asked for: this room comes first and imports none behind it.
METHODS = {"optimise": None, "fast": "d2lstyle.fast:fast_stylize"}


@dataclass(frozen=True)
class StyleStep(Fetching):
    """What a step of the optimisation reports; losses are means over the batch.

    In a callback, losses and image come from the GPU when they are first read, which waits for the step to be done.

    Attributes:
        step, steps: this step, from 1, and how many there will be.
        size: (height, width) in pixels of this stage.
        seconds: since the run began; on a GPU, until the step was started.
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


class _Run:
    """One optimisation from coarse to fine, and what it has reached so far."""

    def __init__(self, objective, stages, optimizer, colors, callback):
        self.objective, self.stages, self.optimizer = objective, stages, optimizer
        self.colors, self.callback, self.spectrum = colors, callback, Spectrum()
        self.history, self.began, self.steps = [], time.perf_counter(), sum(steps for _, steps in stages)
        self.unread = []  # (size, seconds, losses) of steps whose losses are still on the device

    def all_sizes(self, start):
        """The StyleResult; a KeyboardInterrupt cuts the run short."""
        self.best = self.start = sent(start, self.objective.content)
        interrupted = False
        try:
            for size, steps in self.stages:
                self._one_size(size, steps)
        except KeyboardInterrupt:
            interrupted = True
        except Exception as error:
            if is_out_of_memory(error):
                raise torch.OutOfMemoryError(_too_large(size, len(self.start))) from error
            raise
        self._read_losses()
        image = resize(self.best, self.stages[-1][0])
        return StyleResult(self._shown(image), self.history, time.perf_counter() - self.began, interrupted)

    def _one_size(self, size, steps):
        self.objective.set_size(size)
        image = self._enlarged(size).clone(memory_format=torch.contiguous_format).requires_grad_()
        optimizer = OPTIMIZERS[self.optimizer](image, self.spectrum)
        image.grad, self.best = torch.zeros_like(image), image.detach().clone()
        self.best_total = torch.full((len(image),), torch.inf, device=image.device, dtype=image.dtype)
        self._evaluate(image)

        def step():
            optimizer.step()
            image.data.clamp_(0, 1)
            return self._evaluate(image)

        step = Repeated(step, image.device, steps)
        for _ in range(steps):
            self._report(image, step())

    def _evaluate(self, image):
        """Losses of the image, (terms,); writes their gradient into image.grad, and what is better into `best`."""
        losses = self.objective(image)
        (gradient,) = torch.autograd.grad(losses["total"].sum(), image)
        image.grad.copy_(gradient)
        total, self.terms = losses["total"].detach(), list(losses)
        better = (total < self.best_total)[:, None, None, None]
        self.best.copy_(torch.where(better, image.detach(), self.best))
        self.best_total.copy_(torch.minimum(total, self.best_total))
        return torch.stack([value.detach().mean() for value in losses.values()])

    def _enlarged(self, size):
        """The best image so far at another size, with the detail of the start that the last size could not hold."""
        last = tuple(self.best.shape[2:])
        detail = resize(self.start, size) - resize(resize(self.start, last), size)
        return (resize(self.best, size) + detail).clamp(0, 1)

    def _report(self, image, losses):
        size, seconds, losses = tuple(image.shape[2:]), time.perf_counter() - self.began, losses.clone()
        self.unread.append((size, seconds, losses))
        if image.is_cpu or len(self.unread) == READ_EVERY:
            self._read_losses()
        if self.callback:
            number, current = len(self.history) + len(self.unread), image.detach().clone()
            fetched = Later(lambda: self._named(losses)), Later(lambda: self._shown(current))
            with torch.inference_mode(False):  # whatever mode it leaves behind ends here
                self.callback(StyleStep(number, self.steps, size, seconds, *fetched))

    def _read_losses(self):
        """Move the losses from the device into the history, in one go; a FloatingPointError if one is not finite."""
        if not self.unread:
            return
        table = torch.stack([losses for *_, losses in self.unread]).cpu()
        for (size, seconds, _), losses in zip(self.unread, table):
            self.history.append(StyleStep(len(self.history) + 1, self.steps, size, seconds, self._named(losses)))
            if not losses[0].isfinite():
                shown = ", ".join(f"{name} {self.history[-1].losses[name]:.3g}" for name in ("content", "style", "tv"))
                raise FloatingPointError(
                    f"the loss is not finite at step {len(self.history)} of {self.steps} ({shown}): "
                    "lower style_weight or content_weight, or use precision='fp32'"
                )
        self.unread.clear()

    def _named(self, losses):
        return dict(zip(self.terms, losses.tolist()))

    def _shown(self, image):
        """On the CPU, with the content's colours or within its mask, if so asked for."""
        return blended(_colored(image, self.colors), self.objective.content, self.objective.mask)


@dataclass
class Objective:
    """Eq. 5 of an image at one size; the fields are arguments of `stylize`, checked and with the defaults filled in."""

    net: Backbone
    content: torch.Tensor
    style: StyleMix
    weights: dict  # "content_weight", "style_weight", "tv_weight" in this order
    content_layers: list | None = None
    style_layers: list | None = None
    layer_weights: dict | None = None
    convention: str = "relative"
    content_mask: torch.Tensor | list | None = None

    def __post_init__(self):
        net, self.content = self.net, sent(self.content, self.net.mean)
        self.regions, self.mask = regions_of(self.style, self.content_mask, self.content)
        self.content_layers = _layers(net, self.content_layers, net.content_layers)
        self.style_layers = _layers(net, self.style_layers, net.style_layers)
        defaults = zip(self.weights.items(), default_weights(net, self.convention))
        weights = {name: default if weight is None else weight for (name, weight), default in defaults}
        self.weights = [
            checks.per_image(name, weight, len(self.content), low=0).to(net.mean) for name, weight in weights.items()
        ]
        # One call of style_loss gives several sums: eq. 3, then each layer's loss alone, for the history.
        shares = self.layer_weights or dict.fromkeys(self.style_layers, 1 / len(self.style_layers))
        self.layer_weights = {
            layer: sent(_column([share, *(layer == alone for alone in self.style_layers)]), net.mean)
            for layer, share in checks.layer_weights(shares).items()
        }

    @torch.no_grad()
    def set_size(self, size):
        """Take the targets anew for images of `size` (height, width)."""
        self.photo, self.mask_here = (M if M is None else resize(M, size) for M in (self.content, self.mask))
        features = self.net(self.photo, self.content_layers + self.style_layers)
        self.content_targets = {layer: features[layer].to(self.net.mean.dtype) for layer in self.content_layers}
        for region in self.regions:
            region.set_size(self.net, {layer: features[layer] for layer in self.style_layers}, max(size))

    def __call__(self, image):
        """{term: (B,)}; "total" is the one to minimise."""
        image = blended(image, self.photo, self.mask_here)
        features = self.net(image, self.content_layers + self.style_layers)
        contents = [
            content_loss(features[layer].to(image.dtype), target, self.convention)
            for layer, target in self.content_targets.items()
        ]
        style, *styles = sum(region.loss(features, self.layer_weights, self.convention) for region in self.regions)
        content, tv = sum(contents) / len(contents), total_variation(image, TV_CONVENTION[self.convention])
        alpha, beta, gamma = self.weights
        losses = {"total": alpha * content + beta * style + gamma * tv, "content": content, "style": style, "tv": tv}
        losses |= {f"content {layer}": loss for layer, loss in zip(self.content_layers, contents)}
        return losses | {f"style {layer}": loss for layer, loss in zip(self.style_layers, styles)}


@torch.inference_mode(False)  # a caller in that mode, or under no_grad, has no graph in mind; this needs one
def stylize(
    content,
    style,
    *,
    style_weights=None,
    style_masks=None,
    content_mask=None,
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
    steps=50,
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
        content: (B, 3, H, W) in [0, 1]. A batch is B independent runs, equal to B calls but for rounding, which many
            steps of L-BFGS enlarge: pictures of equal worth can then differ visibly.
        style: (1, 3, H, W), or (B, 3, H, W) for a style to each content, or a list of such, to be mixed.
        style_weights: proportions of a list's styles, any scale; None for equal parts. A row of them for each content,
            (B, styles), gives each its own mixture.
        style_masks: which positions of the style count, and how much: (1, 1, H, W) or (B, 1, H, W) of the style's size,
            not negative, such as `region_weights` makes; for a list of styles a list, None for all positions. A layer's
            positions weigh as much as the mask covers of them.
        content_mask: how much of each position is painted, (1, 1, H, W) or (B, 1, H, W) of the content's size, in
            [0, 1] or bools; where it is 0 the content stays as it is. A list of such, one a style, gives each style a
            region of its own; where they overlap, textures mix. Then style_weights and mix have nothing to do. A
            region's style loss is that of its positions, and counts by the part of the picture that it covers.
        mix: how a list of styles is mixed. "grams" adds their Grams: the textures of all. "features" adds their
            features place by place, and takes the Gram of the sum: a texture between them.
        content_weight, style_weight, tv_weight: alpha, beta and the weight of total variation, none negative; None
            for the convention's default; (B,) numbers give each content its own.
        content_layers, style_layers: layer names of the network, or None for its own choice.
        layer_weights: {style layer: w_l}, or None for 1 / number of layers, as Gatys et al. do.
        style_scale: longer side of the style over longer side of the content, at least 0.01. Larger means larger
            strokes. A style that became thinner than the 32 pixels that networks need is kept at those.
        style_channels: part of each style layer's channels that are compared, or how many from 2 on: those most active
            in the style, see `top_channels`.
        convention: see `losses`. "relative" needs no tuning; the others are the published equations as they stand.
        net: a `Backbone`, or the name of one, or None for `backbone("auto")`.
        sizes: pixels of the longer side, coarse to fine; None for the content's own size, reached in doublings.
        steps: in all, each size given three times as many as the one before, or a list with one number a size.
        optimizer: "lbfgs" or "adam".
        init: "content", "noise", or an image to start from, such as an earlier result: (1 or B, 3, h, w), resized. Its
            detail comes in at the sizes that can hold it.
        preserve_color: keep the content's chroma, take its luma alone from the result.
        precision: of the network's passes, "fp32", "tf32" (on NVIDIA's GPUs from Ampere on, else fp32), "bf16", or
            "auto", which is bf16 where this hardware gains by it, else fp32. Image, Grams, losses and optimiser are
            always fp32.
        method: "optimise", or "fast": one pass of the trained network of `fast_stylize`, rougher and hundreds of
            times sooner than by VGG-19. It takes style_weights, content_mask and preserve_color, and nothing else that
            shapes an optimisation; of `net` it takes the device.
        seed: of the noise that init="noise" starts from, at the first size.
        device: as in `backbone`; only read where net is no `Backbone`.
        callback: called with a StyleStep after each step; what it writes into tensors, its own or yours, changes no
            result. A KeyboardInterrupt, there or anywhere, ends the run.
    Returns:
        StyleResult.
    Raises:
        TypeError, ValueError: an argument is not as said above.
        FloatingPointError: a loss became NaN or infinite.
        torch.OutOfMemoryError: the memory of the computer or of its GPU is too small for one of the sizes.

    Shinde, section 3.1; Gatys et al. 2016; lecture 15, "style transfer".
    """
    checks.choices(method=(method, METHODS), optimizer=(optimizer, OPTIMIZERS), convention=(convention, CONVENTIONS))
    if method != "optimise":
        return _in_one_pass(**locals())
    checks.choice("precision", precision, PRECISIONS)
    content = checks.image(content, "content")
    style = StyleMix(style, style_weights, style_masks, mix, style_scale, style_channels, len(content))
    stages = coarse_to_fine(content.shape[2:], sizes, steps)
    start = _start(init, content, seed, stages[0][0])
    net = backbone(net or "auto", device=device) if net is None or isinstance(net, str) else net
    net = prepared(net, torch.bfloat16 if runs_in_bf16(precision, net, net.mean.device) else torch.float32)
    weights = {"content_weight": content_weight, "style_weight": style_weight, "tv_weight": tv_weight}
    objective = Objective(
        net, content, style, weights, content_layers, style_layers, layer_weights, convention, content_mask
    )
    run = _Run(objective, stages, optimizer, content if preserve_color else None, callback)
    with kernels(net.mean.device, precision):
        return run.all_sizes(start)


def _in_one_pass(content, style, *, method, style_weights, content_mask, preserve_color, net, device, **shaping):
    """`stylize` by a trained network; what only an optimisation can do is refused, not left out without a word."""
    began, unheard = time.perf_counter(), {"convention", "steps", "optimizer", "precision", "seed", "callback"}
    for name in shaping.keys() - unheard:
        value, default = shaping[name], inspect.signature(stylize).parameters[name].default
        if value is not default and (hasattr(value, "__array__") or value != default):
            raise ValueError(
                f'method="{method}" takes style_weights, content_mask and preserve_color alone: leave out style_masks, '
                'weights, layers, sizes, mix, init, style_scale and style_channels, or use method="optimise"'
            )
    content = checks.image(content, "content").cpu()
    regions, mask = regions_of(StyleMix(style, style_weights, batch=len(content)), content_mask, content)
    paint, options = pkgutil.resolve_name(METHODS[method]), {"net": net, "device": device}
    image = sum(
        region.share * paint(content, region.style.styles, style_weights=region.style.weights, **options)
        for region in regions
    )
    image = blended(_colored(image, content if preserve_color else None), content, mask)
    return StyleResult(image, [], time.perf_counter() - began)


def default_weights(net, convention="relative"):
    """(content, style, total-variation) weight where the caller gives none."""
    return tuple(net.style_weight if default is None else default for default in DEFAULT_WEIGHTS[convention])


def _start(init, content, seed, size):
    """The images that a run starts from. Noise is the same for all, so that a batch equals its images alone.

    It is of the first size, and so has no detail to come in at a finer one, where it would not be painted over.
    """
    if isinstance(init, torch.Tensor):
        checks.paired(init, "init", len(content), "contents")
        return checks.image(init, "init").expand(len(content), -1, -1, -1)
    if checks.choice("init", init, ["content", "noise"]) == "content":
        return content
    generator = torch.Generator("cpu").manual_seed(checks.seed(seed))
    noise = torch.rand(1, 3, *size, generator=generator, device="cpu", dtype=torch.float32)
    return noise.expand(len(content), -1, -1, -1)


def _column(numbers):
    return torch.tensor(numbers, dtype=torch.float32, device="cpu").view(-1, 1)


def _too_large(size, n_images):
    at_once = f"{n_images} images at once" if n_images > 1 else "one image"
    return (
        f"out of memory at {size[1]} x {size[0]} pixels, {at_once}: give smaller sizes=, fewer images at once, "
        "or precision='bf16'"
    )


def _layers(net, layers, default):
    if isinstance(layers, str) or layers is not None and not layers:
        raise ValueError(f"expected a list of layers of {net.name}, got {layers!r}: None is the network's own choice")
    return list(dict.fromkeys(default if layers is None else layers))


def _colored(image, colors):
    """On the CPU, with the chroma of `colors` where given: those plus the difference in luma (ITU-R BT.601)."""
    image = image.cpu()
    if colors is None:
        return image
    luma = _column([0.299, 0.587, 0.114])[..., None]
    colors = resize(colors.cpu(), tuple(image.shape[2:]))
    return (colors + ((image - colors) * luma).sum(dim=1, keepdim=True)).clamp(0, 1)
