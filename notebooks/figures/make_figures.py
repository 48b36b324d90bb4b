"""Draw the pictures of the README and of the notebooks' first cells into this folder: `make figures`.

    .venv/bin/python notebooks/figures/make_figures.py title contact_sheet     draws some of them alone

Nothing is tuned between the pictures of a contact sheet.
"""

import base64
import io
import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torchvision.transforms.functional import center_crop, to_pil_image, to_tensor
from torchvision.utils import make_grid

import d2lstyle as ds
from d2lstyle import plots
from d2lstyle.experiment.arms import classical
from d2lstyle.experiment.contrasts import accuracy
from d2lstyle.experiment.copies import Colors, color_statistics, match_colors, mixed_colors
from d2lstyle.experiment.runs import unit_records
from d2lstyle.images import resize
from d2lstyle.progress import count_bar, progress_bar
from d2lstyle.results import means_by, read_record
from d2lstyle.samples import vending
from d2lstyle.samples.styles import named_styles, picture

HERE = Path(__file__).parent
PHOTOS = ("china", "hopper", "chelsea")
PAINTINGS = ("starry", "woodcut", "water_lilies", "stained_glass", "marbling", "mosaic")
CORNERS = ("starry", "mosaic", "woodcut", "water_lilies")
CELL, GAP, TEXT = (320, 214), 6, 22
FONT = ImageFont.load_default(size=14)


def main():
    """Draw every picture, or those named."""
    drawers = {name.removeprefix("draw_"): draw for name, draw in globals().items() if name.startswith("draw_")}
    for name in sys.argv[1:] or drawers:
        drawers[name]()


def draw_augmentation():
    """Goods as trained on, variants of them, goods as met at the fair; and what the variants were worth there."""
    record = read_record(HERE.parents[1] / "data" / "results" / "01_image_augmentation.json")
    means = means_by(record["rows"], "arm", "showroom")
    studio, fair = (batch_of(domain) for domain in ("studio", "showroom"))
    geometry = [ds.RandomResizedCrop(96), ds.RandomHorizontalFlip()]
    light = [ds.ColorJitter(0.5, 0.5, 0.5, 0.1), ds.Lighting((2500, 12000), glare=0.6)]
    variants = ds.Compose([*geometry, *light])(studio, torch.Generator().manual_seed(3))
    title = (
        f"Right in the show room: {means['none'].mean:.0%} trained on the studio alone, "
        f"{means['all'].mean:.0%} with variants ({record['seeds']} seeds)"
    )
    rows = ["studio", "variants", "show room"]
    figure = plots.show_images(torch.cat([studio, variants, fair]), columns=10, row_titles=rows, title=title)
    save(picture_of(figure), "01_image_augmentation")


def batch_of(domain):
    """One picture of each of ten goods."""
    pictures = [vending.draw(domain, "test", name, 8) for name in list(vending.GOODS)[:10]]
    return torch.stack([to_tensor(picture) for picture in pictures])


def picture_of(figure):
    """A matplotlib figure as a PIL image."""
    file = io.BytesIO()
    figure.savefig(file)
    return Image.open(file).convert("RGB")


def draw_fine_tuning():
    """Goods in the show room, and how fast they are learned with pretrained and with random weights."""
    record = read_record(HERE.parents[1] / "data" / "results" / "02_fine_tuning.json")
    curves = {}
    for start, side in (("pretrained", "validation"), ("from scratch", "validation"), ("from scratch", "training")):
        rows = [row for row in record["rows"] if (row.get("start"), row.get("side")) == (start, side)]
        means = means_by(rows, "epoch", "accuracy")
        name = f"{start}, on {'new photos' if side == 'validation' else 'its own photos'}"
        curves[name] = (list(means), *zip(*[interval[:3] for interval in means.values()]))
    title = f"Twelve goods, {record['images']} photos of each ({record['seeds']} seeds, 95 % intervals)"
    figure = plots.plot_curves(curves, "passes over the photos", "accuracy", title)
    figure.axes[0].set_ylim(0, 1.05)
    figure.axes[0].legend(loc="center right", fontsize=8)
    curve = picture_of(figure)
    tile, columns = curve.height // 4, 3
    canvas = Image.new("RGB", (columns * tile + GAP + curve.width, curve.height), "white")
    canvas.paste(curve, (columns * tile + GAP, 0))
    for number, name in enumerate(vending.GOODS):
        goods = vending.draw("showroom", "train", name, 3).resize((tile - 4, tile - 4), Image.Resampling.LANCZOS)
        canvas.paste(goods, (2 + number % columns * tile, 2 + number // columns * tile))
    save(canvas, "02_fine_tuning")


def draw_title():
    """A photo, a painting, and the photo in that style."""
    photo, style = ds.sample("china", 480), ds.painting("starry", (320, 480))
    result = ds.stylize(photo, style, callback=progress_bar("title"))
    save(
        sheet([photo, style, result.image], ["photo", "style", "d2lstyle.stylize(photo, style)"], 3),
        "03_style_transfer",
    )


def draw_region():
    """A flower, where the network looks for a daisy, and a temple in the style of the whole photo and of that part."""
    net = ds.backbone("efficientnet_lite0")
    photo, style = ds.sample("china", 320), ds.sample("flower", 320)
    looked_at = ds.occlusion(net, style, "daisy", window=64, stride=8, callback=count_bar("occlusion"))
    region = ds.region_weights(looked_at, 1 / 8)
    masks = torch.cat([torch.ones_like(region), region])
    photos, bar = photo.expand(2, -1, -1, -1), progress_bar("region")
    whole, part = ds.stylize(photos, style, style_masks=masks, callback=bar).image.split(1)
    images = [style, plots.overlay(style, looked_at), style * (0.2 + 0.8 * region), photo, whole, part]
    names = [
        "style",
        "where the network looks",
        "the most important eighth",
        "photo",
        "style of the whole",
        "style of that eighth",
    ]
    save(sheet(images, names, 3), "04_where_the_network_looks")


def draw_square():
    """Twenty-five mixtures of the four paintings at the corners."""
    steps = torch.linspace(0, 1, 5)
    x, y = steps.repeat(5), steps.repeat_interleave(5)
    weights = torch.stack([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y], dim=1)
    photo, paintings = ds.sample("china", 160), [ds.painting(name, 160) for name in CORNERS]
    mixed = ds.stylize(
        photo.expand(25, -1, -1, -1), paintings, style_weights=weights, callback=progress_bar("square"), steps=40
    ).image
    grid = to_pil_image(make_grid(mixed, nrow=5, padding=GAP, pad_value=1))
    side = (grid.height - GAP) // 2
    canvas = Image.new("RGB", (grid.width + 2 * side, grid.height), "white")
    canvas.paste(grid, (side, 0))
    for number, painting in enumerate(paintings):
        place = (number % 2 * (side + grid.width), number // 2 * (side + GAP))
        canvas.paste(to_pil_image(ds.images.resize(painting, side)[0]), place)
    save(canvas.resize((1200, round(1200 * canvas.height / canvas.width)), Image.Resampling.LANCZOS), "05_many_styles")


def draw_arms():
    """What five arms of chapter 06 train on, at full strength, and how often each is right in the show room."""
    record = unit_records(HERE.parents[1] / "data")["vending fine-tuned"]
    photos = batch_of("studio")
    styles = list(named_styles(ds.painting_names()).values())
    shares = np.random.default_rng(1).dirichlet(np.full(len(styles), record["plan"]["mixture"]), size=len(photos))
    painted = ds.fast_stylize(photos, styles, style_weights=shares.tolist())
    colors = Colors(*map(torch.cat, zip(*map(color_statistics, styles))))
    recoloured = match_colors(photos, mixed_colors(colors, shares))
    augmented = [classical(96)(images, torch.Generator().manual_seed(3)) for images in (photos, painted, recoloured)]
    right = {arm: accuracy(record, arm, 10, "showroom").mean for arm in "ABCDG"}
    title = "Right in the show room, fine-tuned on ten photos per class: " + ", ".join(
        f"{arm} {part:.0%}" for arm, part in right.items()
    )
    rows = torch.cat([photos, augmented[0], painted, augmented[1], augmented[2]])
    names = ["A photos", "B classical", "C style", "D both", "G colours"]
    save(picture_of(plots.show_images(rows, columns=10, row_titles=names, title=title)), "06_style_as_augmentation")


def draw_invented():
    """From the outputs of chapter 07: invented digits, and what they were worth."""
    notebook = json.loads((HERE.parent / "07_gan_augmentation.ipynb").read_text("utf-8"))
    outputs = [output.get("data", {}) for cell in notebook["cells"] for output in cell.get("outputs", [])]
    pictures = [
        Image.open(io.BytesIO(base64.b64decode(data["image/jpeg"]))) for data in outputs if "image/jpeg" in data
    ]
    digits, worth = pictures[2], pictures[-1]
    canvas = Image.new("RGB", (digits.width, digits.height + GAP + worth.height), "white")
    canvas.paste(digits, (0, 0))
    canvas.paste(worth, (0, digits.height + GAP))
    save(canvas, "07_gan_augmentation")


def draw_bugs():
    """Three exhibits: a Gram over two images, a copied learning rate, and the accuracy of an augmented test set."""
    net = ds.backbone("efficientnet_lite0")
    photos = torch.cat([ds.sample(name, (128, 128)) for name in ("chelsea", "coffee")])
    flat = net(photos, ["relu2_1"])["relu2_1"][:, ::4].flatten(0, 1).flatten(1)
    figure, axes = plots.plt.subplots(1, 3, figsize=(10, 3), dpi=110, layout="constrained")
    axes[0].imshow(torch.log1p(flat @ flat.T), cmap="magma")
    half = len(flat) // 2
    for left, top in ((half, 0), (0, half)):
        axes[0].add_patch(plots.plt.Rectangle((left - 0.5, top - 0.5), half, half, color="white", alpha=0.65))
    axes[0].set(title="Gram over a batch of two", xticks=[], yticks=[], xlabel="the pale blocks mean nothing")
    steps = np.arange(40)
    for rate, label in ((0.02, "mean"), (1.28, "sum, same rate")):
        axes[1].semilogy(steps, (1 - 2 * rate) ** (2 * steps), label=label)
    axes[1].set(title="A copied learning rate", xlabel="step", ylabel="error")
    axes[1].legend(fontsize=8)
    crop, dice = ds.RandomResizedCrop(128), torch.Generator().manual_seed(0)
    sheet_of_crops = make_grid(torch.cat([crop(photos[:1], dice) for _ in range(9)]), nrow=3, padding=3, pad_value=1)
    axes[2].imshow(sheet_of_crops.permute(1, 2, 0))
    axes[2].set(title="One test picture, nine tests", xticks=[], yticks=[])
    plots.plt.close(figure)
    save(picture_of(figure), "08_bug_museum")


def draw_style_bank():
    """All paintings with their names."""
    names = ds.painting_names()
    save(sheet([ds.painting(name, CELL[::-1]) for name in names], names, 4), "style_bank")


def draw_fast():
    """Photos in two paintings and in a photo, in one pass; beside them the optimisation."""
    side = 256
    photos = [ds.sample(name) for name in ("coffee", "chelsea", "astronaut")]
    photos = torch.cat([resize(center_crop(photo, [min(photo.shape[2:])] * 2), side) for photo in photos])
    rows, names = [], []
    for name in ("gilded", "marbling", "flower"):
        style = picture(name)
        fast = ds.stylize(photos, style, method="fast").image
        slow = ds.stylize(photos, style, net="vgg19", callback=progress_bar(name)).image
        rows += [style, *(image for pair in zip(fast.split(1), slow.split(1)) for image in pair)]
        names += [name, *["fast", "optimised"] * len(photos)]
    figure = plots.show_images(rows, names, columns=7)
    save(picture_of(figure), "fast_style")


def draw_contact_sheet():
    """Three photos by six styles, with defaults, by VGG-19."""
    size, net = (171, 256), ds.backbone("vgg19")
    images, names = [None, *(ds.painting(painting, size) for painting in PAINTINGS)], ["", *PAINTINGS]
    for photo in PHOTOS:
        content = ds.images.resize(wide(ds.sample(photo)), size)
        images.append(content)
        for painting in PAINTINGS:
            bar = progress_bar(f"{photo}, {painting}")
            images.append(ds.stylize(content, ds.painting(painting, 256), net=net, callback=bar).image)
        names += [photo, *[""] * len(PAINTINGS)]
    save(sheet(images, names, 1 + len(PAINTINGS), cell=(200, 134)), "contact_sheet_vgg19")


def wide(photo):
    """The upper part of a photo that is too tall for a cell."""
    return photo[:, :, : round(photo.shape[3] * CELL[1] / CELL[0])]


def sheet(images, names, columns, cell=CELL):
    """Pictures in rows, each under its name; a cell is (width, height) pixels."""
    rows = -(-len(images) // columns)
    width, height = cell[0] + GAP, cell[1] + GAP + TEXT
    canvas = Image.new("RGB", (columns * width + GAP, rows * height + GAP), "white")
    draw = ImageDraw.Draw(canvas)
    for number, (image, name) in enumerate(zip(images, names)):
        x, y = GAP + number % columns * width, GAP + number // columns * height
        draw.text((x + cell[0] / 2, y + TEXT / 2), name, fill="black", font=FONT, anchor="mm")
        if image is not None:
            canvas.paste(to_pil_image(ds.images.resize(image, cell[::-1])[0]), (x, y + TEXT))
    return canvas


def save(canvas, name):
    """As JPEG, small enough for a page."""
    canvas.save(HERE / f"{name}.jpg", quality=82, optimize=True)


if __name__ == "__main__":
    main()
