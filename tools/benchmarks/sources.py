"""What chapter 02 shows of rates, epochs, views and sources with ten seeds: data/results/02_epochs_and_sources.json.

    GOMP_SPINCOUNT=1000 python -m tools.benchmarks.sources [--seeds 10] [--only rates epochs clothing goods]

    rates     the loss while the learning rate rises tenfold every eight steps (Smith 2017), on ten goods per class
    epochs    the pretrained network after 1 to 24 passes over ten goods per class; at 3, what it says of a picture,
              its mirror image and four crops together ("views")
    clothing  ten photos of clothes per class, learned after ImageNet, after the goods in the studio, and after nothing
    goods     the same the other way round: ten goods per class in the show room, after ImageNet, clothes, and nothing

Each run is kept in build/02_sources.jsonl and not measured again; data/clothing must be there or
is downloaded. About an hour on one quiet core. The record is written once all runs of all parts are there.
"""

import argparse
from itertools import product

import torch
import torch.nn.functional as F

import d2lstyle as ds
from d2lstyle.engine.files import append_json_line, read_json_lines
from d2lstyle.results import write_record

from . import machine

LR, IMAGES = 0.001, 10  # the chapter's: of the body; per class
LOW, HIGH, STEPS = 1e-5, 1.0, 40  # of the rising rate
EPOCHS, VIEWED = (1, 3, 6, 12, 24), 3  # at which of them views are measured
SIZE, SMALL = 96, 64  # pixels a side: as in the chapter; where networks learn from nothing, which takes long
SOURCE = {"per_class": 100, "epochs": 12}  # 1200 drawn goods, or 1000 photos of clothes
TARGET_EPOCHS = 20
DATA = {
    "goods": {"name": "vending", "domain": "showroom"},
    "studio": {"name": "vending", "domain": "studio"},  # before plain walls: what can be learned from nothing
    "clothing": {"name": "clothing"},
}
VIEWS = {"plain": 1, "and mirrored": 2, "and four crops": 10}  # the first so many of `views`
RECORD, ROWS = "data/results/02_epochs_and_sources.json", "build/02_sources.jsonl"


def rising_rate(net, seed):
    """Rows of the loss before each step, while the rate grows."""
    data = load("goods", "train", SIZE, IMAGES, seed)
    model, order = ds.replace_head(net, len(data.classes), seed=seed).train(), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(ds.param_groups(model, LOW))
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, (HIGH / LOW) ** (1 / (STEPS - 1)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # of dropout
        for step in range(STEPS):
            images, labels = data.batch(torch.randperm(len(data), generator=order)[:32])
            loss = F.cross_entropy(model(images), labels)
            yield {"experiment": "rates", "step": step, "lr": schedule.get_last_lr()[0], "loss": round(loss.item(), 4)}
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def after_epochs(net, seed):
    """Rows of the accuracy in validation after each number of epochs, each a run of its own; and of several views."""
    data, validation = load("goods", "train", SIZE, IMAGES, seed), load("goods", "validation", SIZE)
    for epochs in EPOCHS:
        model = ds.replace_head(net, len(data.classes), seed=seed)
        ds.fit(model, data, epochs=epochs, lr=LR, seed=seed)
        yield {"experiment": "epochs", "epochs": epochs, "accuracy": float(ds.evaluate(model, validation))}
        if epochs == VIEWED:
            yield from of_views(model, validation, "goods")


def of_views(model, data, name):
    """Rows of the accuracy when the probabilities of several views of each picture are averaged."""
    images, labels = data.batch(range(len(data)))
    edge = data.size * 7 // 8
    corners = product((0, data.size - edge), repeat=2)
    views = [images, *(ds.augment.resized_crop(images, *corner, edge, edge, data.size) for corner in corners)]
    views = [view for images in views for view in (images, images.flip(-1))]
    said = torch.stack([ds.evaluate(model, (view, labels)).probabilities for view in views])
    for kind, count in VIEWS.items():
        accuracy = (said[:count].mean(0).argmax(1) == labels).float().mean().item()
        yield {"experiment": "views", "data": name, "views": kind, "accuracy": accuracy}


def sources(net, seed, target):
    """Rows of the accuracy on a target after three sources: ImageNet, the other data set, and nothing."""
    other = "studio" if target == "clothing" else "clothing"
    nothing = ds.backbone(net.name, weights=None, seed=seed)
    learned = load(other, "train", SMALL, SOURCE["per_class"], seed)
    pretrained = ds.replace_head(nothing, len(learned.classes), seed=seed)
    ds.fit(pretrained, learned, epochs=SOURCE["epochs"], lr=LR, seed=seed)
    accuracy = float(ds.evaluate(pretrained, load(other, "validation", SMALL)))
    yield {"experiment": "source itself", "data": other, "accuracy": accuracy}
    data, validation = load(target, "train", SMALL, IMAGES, seed), load(target, "validation", SMALL)
    for source, start in {"ImageNet": net, "the other set": pretrained, "nothing": nothing}.items():
        model = ds.replace_head(start, len(data.classes), seed=seed)
        ds.fit(model, data, epochs=TARGET_EPOCHS, lr=LR, seed=seed)
        accuracy = float(ds.evaluate(model, validation))
        yield {"experiment": "sources", "target": target, "source": source, "accuracy": accuracy}
        if source == "ImageNet" and target == "clothing":
            yield from of_views(model, validation, "clothing")


PARTS = {
    "rates": rising_rate,
    "epochs": after_epochs,
    "clothing": lambda net, seed: sources(net, seed, "clothing"),
    "goods": lambda net, seed: sources(net, seed, "goods"),
}


def load(data, split, size, per_class=None, seed=0):
    """One side of a data set."""
    return ds.load_dataset(**DATA[data], split=split, size=size, per_class=per_class, seed=seed)


def main(arguments=None):
    """Measure what is missing, part by part and seed by seed; write the record once nothing is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="how many runs of each part")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to measure now")
    options = parser.parse_args(arguments)
    net = ds.backbone("efficientnet_lite0")
    runs = {(run["part"], run["seed"]): run["rows"] for run in read_json_lines(ROWS)}
    for part, seed in product(options.only, range(options.seeds)):
        if (part, seed) not in runs:
            runs[part, seed] = [{"seed": seed, **row} for row in PARTS[part](net, seed)]
            append_json_line(ROWS, {"part": part, "seed": seed, "rows": runs[part, seed]})
            print(part, seed, *[f"{row.get('accuracy', row.get('loss')):.2f}" for row in runs[part, seed]], flush=True)
    wanted = list(product(PARTS, range(options.seeds)))
    if all(run in runs for run in wanted):
        about = {"seeds": options.seeds, "images": IMAGES, "lr": LR, "size": SIZE, "small": SMALL}
        about |= {"source": SOURCE, "target_epochs": TARGET_EPOCHS, "machine": machine()}
        rows = [row for run in wanted for row in runs[run]]
        write_record(RECORD, rows, command=f"python -m tools.benchmarks.sources --seeds {options.seeds}", **about)


if __name__ == "__main__":
    main()
