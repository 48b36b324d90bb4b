"""Train the network of `d2lstyle.fast`: python -m tools.training.fast_style --minutes 50

What it minimises is the loss of `stylize` at its defaults, over many contents and styles at once. Interrupted, it goes
on from its last checkpoint. Then:

    python -m tools.training.fast_style --sheet FILE   # contents in styles, beside what `stylize` paints
    python -m tools.training.fast_style --measure      # losses beside those of `stylize`, and images a second
    python -m tools.training.fast_style --publish      # the weights into the package; prints their sha256
"""

import argparse
import copy
import hashlib
import io
import math
import time
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

import d2lstyle as ds
from d2lstyle.engine.files import write_whole
from d2lstyle.engine.prepare import prepared
from d2lstyle.fast import network as fast
from d2lstyle.images import resize
from d2lstyle.losses import gram_loss

HELD_OUT_PAINTINGS = ("gilded", "marbling", "watercolour", "engraving", "mosaic")  # never trained on, to judge by
HELD_OUT_PHOTOS = ("coffee", "brick")
TRAIN_PART = 0.5  # of a photo's width, from the left; the rest is held out
SEEDS = range(12)  # of each painting
STYLE_SIDE, PHOTO_SIDE = 288, 640
LR, WARM_UP = 2e-3, 200
SIZES = {64: (0.15, 4), 96: (0.6, 4), 128: (0.2, 4), 256: (0.05, 2)}  # how often, and images a batch
POOL, FRESH = 48, 0.25  # crops kept of each size, as VGG-19 takes long to see one, and how often one is drawn anew
IDENTITY = 20  # weight of the mean square error of an image painted at alpha 0
OUTSIDE = 10  # weight of what the decoder paints outside of [0, 1]
CHECKPOINT_SECONDS = 120
EMA = 0.999
LARGEST_NORM = 10  # of the gradient


class Bank:
    """The pictures of training, in memory, and random batches of them."""

    def __init__(self, callback=None):
        names = [name for name in ds.painting_names() if name not in HELD_OUT_PAINTINGS]
        self.paintings = []
        for seed in SEEDS:
            for name in names:
                self.paintings.append(ds.painting(name, STYLE_SIDE, seed))
                if callback:
                    callback(len(self.paintings), len(SEEDS) * len(names))
        photos = [ds.sample(name, PHOTO_SIDE) for name in ds.sample_names() if name not in HELD_OUT_PHOTOS]
        self.photos = [photo[..., : round(TRAIN_PART * photo.shape[3])] for photo in photos]

    def contents(self, rng, count, size):
        """Photos, and now and then a painting: (count, 3, size, size)."""
        chosen = [_pick(rng, (self.photos, self.paintings), (0.85, 0.15)) for _ in range(count)]
        return torch.cat([_lit(rng, _crop(rng, image, size, least=0.35)) for image in chosen])

    def styles(self, rng, count, size):
        """Paintings, and now and then a photo, turned, and in colours that no painting has: (count, 3, size, size)."""
        chosen = [_pick(rng, (self.paintings, self.photos), (0.9, 0.1)) for _ in range(count)]
        crops = [_crop(rng, image, size, least=0.6) for image in chosen]
        return torch.cat([_recolored(rng, torch.rot90(crop, int(rng.integers(4)), (2, 3))) for crop in crops])


class Pool:
    """Crops with what VGG-19 says of them, some of which are drawn anew each time."""

    def __init__(self, draw, targets):
        self.draw, self.targets, self.kept = draw, targets, {}

    def take(self, rng, count, size):
        """(count, 3, size, size), and {layer: (count, ...)} of their targets."""
        kept = self.kept.setdefault(size, [])
        fresh = count if len(kept) < POOL else rng.binomial(count, FRESH)
        old = [kept[i] for i in rng.choice(len(kept), count - fresh, replace=False)]
        if fresh:
            images = self.draw(rng, fresh, size)
            targets = self.targets(images)
            new = [(images[i], {name: value[i] for name, value in targets.items()}) for i in range(fresh)]
            kept[:] = [*kept, *new][-POOL:]
            old += new
        images, targets = zip(*old)
        return torch.stack(images), {name: torch.stack([one[name] for one in targets]) for name in targets[0]}


def _pick(rng, pools, shares):
    pool = pools[rng.choice(len(pools), p=shares)]
    return pool[rng.integers(len(pool))]


def _crop(rng, image, size, least):
    """A square of at least the part `least` of the shorter side, resized, and mirrored half the time."""
    height, width = image.shape[2:]
    side = round(min(height, width) * rng.uniform(least, 1))
    y, x = rng.integers(height - side + 1), rng.integers(width - side + 1)
    crop = resize(image[..., y : y + side, x : x + side], (size, size))
    return crop.flip(3) if rng.random() < 0.5 else crop


def _lit(rng, image):
    return image ** float(np.exp(rng.uniform(-0.4, 0.4)))


def _recolored(rng, image):
    """Another palette for half of the styles, as a style's colours should not be guessed from its strokes."""
    if rng.random() < 0.3:
        image = image[:, rng.permutation(3).tolist()]
    if rng.random() < 0.1:
        image = 1 - image
    gains = torch.tensor(np.exp(rng.uniform(-0.25, 0.25, (1, 3, 1, 1))), dtype=torch.float32)
    return _lit(rng, (image * gains).clamp(0, 1))


class Trainer:
    """The network, its running average, its optimiser, and how far it has come."""

    def __init__(self, *, minutes, seed, folder):
        torch.manual_seed(seed)
        self.net = prepared(ds.backbone("vgg19", device="cpu"))
        self.model = fast.FastStyle(ds.backbone(fast.NETWORK, device="cpu"), fast.Decoder())
        self.average = copy.deepcopy(self.model.decoder)
        self.optimizer = torch.optim.AdamW(self.model.decoder.parameters(), LR, weight_decay=1e-4, betas=(0.9, 0.99))
        self.minutes, self.seed, self.file = minutes, seed, Path(folder, "checkpoint.pt")
        self.iteration, self.seconds, self.losses = 0, 0.0, {}
        if self.file.exists():
            self._load()

    def run(self, bank, callback):
        """Train until the minutes are used up; time spent before an interruption counts."""
        saved = self.seconds
        self.contents, self.styles = Pool(bank.contents, self.targets), Pool(bank.styles, self.targets)
        while self.seconds < 60 * self.minutes:
            began = time.perf_counter()
            self.step()
            self.seconds += time.perf_counter() - began
            callback()
            if self.seconds - saved > CHECKPOINT_SECONDS:
                saved = self.seconds
                self.save()
        self.save()

    def step(self):
        rng = np.random.default_rng([self.seed, self.iteration])
        losses = self.batch_losses(rng)
        self.model.decoder.zero_grad(set_to_none=True)
        losses["total"].backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.decoder.parameters(), LARGEST_NORM)
        self.optimizer.param_groups[0]["lr"] = self.rate()
        self.optimizer.step()
        self.iteration += 1
        decay = min(EMA, self.iteration / (self.iteration + 10))
        with torch.no_grad():
            for mine, live in zip(self.average.parameters(), self.model.decoder.parameters()):
                mine.lerp_(live, 1 - decay)
        now = {**{name: value.item() for name, value in losses.items()}, "norm": norm.item()}
        self.losses = {name: 0.98 * self.losses.get(name, value) + 0.02 * value for name, value in now.items()}

    def rate(self):
        """A short rise, then a cosine down to a hundredth."""
        part = min(1, self.seconds / (60 * self.minutes))
        return LR * min(1, (self.iteration + 1) / WARM_UP) * (0.01 + 0.99 * (1 + math.cos(math.pi * part)) / 2)

    def batch_losses(self, rng):
        """The loss of `stylize`, where at strength alpha the target is the content's Gram and the style's, mixed."""
        size = int(rng.choice(list(SIZES), p=[share for share, _ in SIZES.values()]))
        batch = SIZES[size][1]
        (content, kept), (style, wanted) = self.contents.take(rng, batch, size), self.styles.take(rng, batch, size)
        alpha, share = torch.ones(batch), torch.ones(batch)
        alpha[0] = rng.choice((0, 1, rng.uniform()), p=(0.5, 0.25, 0.25))
        share[1] = rng.choice((1, rng.uniform()))
        grams = {layer: wanted[layer] for layer in self.net.style_layers}
        grams = _mixed(grams, {layer: gram.roll(1, 0) for layer, gram in grams.items()}, share)
        grams = _mixed(grams, kept, alpha)
        paired = self.model.statistics(style)
        neighbours = {
            level: fast.Statistics(*(value.roll(1, 0) for value in values)) for level, values in paired.items()
        }
        statistics = fast.mixed_statistics([paired, neighbours], torch.stack((share, 1 - share), dim=1))
        painted = self.model(content, statistics, alpha, seed=int(rng.integers(2**31)))
        inside = painted.clamp(0, 1)
        image = painted + (inside - painted).detach()  # clamped, with a gradient everywhere
        features = self.net(image, self.layers)
        terms = {
            "content": ds.content_loss(features["relu4_2"], kept["relu4_2"], "relative"),
            "style": sum(
                gram_loss(features[layer], A * features[layer][0, 0].numel(), "relative") for layer, A in grams.items()
            )
            / len(grams),
            "tv": alpha * ds.total_variation(image, "d2l"),
            "identity": (1 - alpha).square() * (painted - content).square().mean((1, 2, 3)),
            "outside": (painted - inside).square().mean((1, 2, 3)),
        }
        weights = {"content": 1, "style": self.net.style_weight, "tv": 2, "identity": IDENTITY, "outside": OUTSIDE}
        means = {name: term.mean() for name, term in terms.items()}
        return {"total": sum(weights[name] * mean for name, mean in means.items()), **means}

    @property
    def layers(self):
        return list(dict.fromkeys([*self.net.content_layers, *self.net.style_layers]))

    @torch.no_grad()
    def targets(self, images):
        """{layer: (B, ...)}: the content layer's features, and the Gram matrices of the style layers."""
        features = self.net(images, self.layers)
        grams = {layer: ds.gram(features[layer]) / features[layer][0, 0].numel() for layer in self.net.style_layers}
        return {"relu4_2": features["relu4_2"], **grams}

    def save(self):
        state = {
            "model": self.model.decoder.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "iteration": self.iteration,
            "seconds": self.seconds,
            "losses": self.losses,
        }
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.file, _bytes(state))

    def _load(self):
        state = torch.load(self.file, weights_only=True)
        self.model.decoder.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.iteration, self.seconds, self.losses = state["iteration"], state["seconds"], state["losses"]


def _mixed(grams, others, share):
    share = share.view(-1, 1, 1)
    return {layer: others[layer].lerp(gram, share) for layer, gram in grams.items()}


def publish(trainer):
    """Write the average weights in half precision into the package; returns their sha256."""
    data = _bytes({name: value.half() for name, value in trainer.average.state_dict().items()})
    write_whole(fast.WEIGHTS, data)
    return hashlib.sha256(data).hexdigest()


def judged(size):
    """Contents (5, 3, size, size) and styles {name: (1, 3, size, size)} that training did not see."""
    photos = [_square(ds.sample(name), size) for name in ("coffee", "chelsea", "china")]
    bought = [resize(goods("validation", name, index), (size, size)) for name, index in (("apple", 1), ("soda", 2))]
    names = (*HELD_OUT_PAINTINGS, "starry", "mosaic", "cubism", "watercolour")
    return torch.cat(photos + bought), {name: ds.painting(name, size, seed=77) for name in names}


def _square(photo, size):
    height, width = photo.shape[2:]
    side = min(height, width)
    y, x = (height - side) // 2, (width - side) // 2
    return resize(photo[..., y : y + side, x : x + side], (size, size))


def painted(model, contents, style):
    """Each content in the style, (B, 3, H, W) in [0, 1], by the network alone."""
    return model(contents, model.statistics(style), torch.ones(len(contents))).clamp(0, 1)


@torch.no_grad()
def sheet(model, net, size=96, steps=60):
    """One picture: a row for each style; for each content what the fast network and `stylize` paint."""
    contents, styles = judged(size)
    blank = torch.ones(1, 3, size, size)
    rows = [torch.cat((blank, contents.repeat_interleave(2, dim=0)))]
    for style in styles.values():
        slow = ds.stylize(contents, style, net=net, sizes=[size], steps=steps).image
        rows.append(torch.cat((style, torch.stack((painted(model, contents, style), slow), dim=1).flatten(0, 1))))
    return torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)[None]


@torch.no_grad()
def measure(model, net, size=96, steps=60):
    """Lines of text: the losses of both ways to paint, and how many images a second."""
    contents, styles = judged(size)
    for name, style in styles.items():
        slow = ds.stylize(contents, style, net=net, sizes=[size], steps=steps).image
        ways = {"untouched": contents, "fast": painted(model, contents, style), f"{steps} steps": slow}
        for way, images in ways.items():
            content = ds.content_loss(_content(net, images), _content(net, contents), "relative").mean()
            yield f"{name:12} {way:10} style {ds.style_distance(net, images, style).mean():.4f} content {content:.4f}"
    style = styles["starry"]
    for batch in (1, 16, 64):
        images = contents.repeat(13, 1, 1, 1)[:batch]
        fast_seconds = min(_seconds(lambda: painted(model, images, style)) for _ in range(5)) / batch
        yield f"batch {batch:2}: fast {1 / fast_seconds:.1f} images a second, {1000 * fast_seconds:.2f} ms an image"
        if batch < 64:
            slow = _seconds(lambda: ds.stylize(images, style, net=net, sizes=[size], steps=steps)) / batch
            yield f"batch {batch:2}: stylize {1000 * slow:.0f} ms an image, {slow / fast_seconds:.0f} times as long"


def _content(net, images):
    return net(images, net.content_layers)[net.content_layers[0]]


def _seconds(function):
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def _bytes(state):
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--minutes", type=float, default=50, help="of training in all, those before an interruption included"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("build/fast_style"), help="of the checkpoint")
    parser.add_argument("--sheet", metavar="FILE", help="draw a contact sheet instead of training")
    parser.add_argument("--size", type=int, default=96, help="pixels of the sheet's or the measurement's pictures")
    parser.add_argument("--measure", action="store_true", help="measure instead of training")
    parser.add_argument("--publish", action="store_true", help="write the weights into the package instead of training")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    trainer = Trainer(minutes=arguments.minutes, seed=arguments.seed, folder=arguments.folder)
    if not (arguments.sheet or arguments.measure or arguments.publish):
        return _train(trainer)
    print(f"{trainer.iteration} iterations, {trainer.seconds / 60:.1f} minutes")
    trainer.model.decoder.load_state_dict(trainer.average.state_dict())
    if arguments.sheet:
        ds.write_image(sheet(trainer.model, trainer.net, arguments.size), arguments.sheet)
    if arguments.measure:
        for line in measure(trainer.model, trainer.net, arguments.size):
            print(line, flush=True)
    if arguments.publish:
        print(f'SHA256 = "{publish(trainer)}"')


def _train(trainer):
    with tqdm(desc="drawing pictures", mininterval=1) as bar:
        bank = Bank(lambda done, total: _show(bar, done, total))
    with tqdm(total=round(60 * trainer.minutes), initial=round(trainer.seconds), unit="s", mininterval=10) as bar:
        trainer.run(bank, lambda: _show_step(bar, trainer))


def _show(bar, done, total):
    bar.total = total
    bar.update(done - bar.n)


def _show_step(bar, trainer):
    losses = " ".join(f"{name} {value:.4f}" for name, value in trainer.losses.items())
    bar.set_postfix_str(f"iteration {trainer.iteration} {losses}", refresh=False)
    bar.update(round(trainer.seconds) - bar.n)


if __name__ == "__main__":
    main()
