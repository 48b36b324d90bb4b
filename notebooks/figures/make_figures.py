"""Draw the pictures of the README and of the notebooks' first cells into this folder: `make figures`.

The contact sheet shows each backbone whose real weights are on this computer; nothing is tuned between its pictures.
"""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torchvision.transforms.functional import to_pil_image

import d2lstyle as ds
from d2lstyle.progress import progress_bar

HERE = Path(__file__).parent
PHOTOS = ("china", "chelsea")
PAINTINGS = ("starry", "stained_glass", "woodcut", "mosaic")
BACKBONES = ("efficientnet_lite0", "vgg19", "vgg16", "squeezenet1_1", "resnet18", "vgg16_hed")
CELL, GAP, TEXT = (320, 214), 6, 22
FONT = ImageFont.load_default(size=14)


def main():
    """Draw every picture."""
    draw_title_picture()
    draw_style_bank()
    for name in BACKBONES:
        try:
            net = ds.backbone(name)
        except ConnectionError as reason:
            print(f"{name} left out: {str(reason)[:70]} ...")
        else:
            draw_contact_sheet(net)


def draw_title_picture():
    """A photo, a painting, and the photo in that style."""
    photo, style = ds.sample("china", 480), ds.painting("starry", (320, 480))
    result = ds.stylize(photo, style, net=ds.backbone("efficientnet_lite0"), callback=progress_bar("title"))
    save(sheet([photo, style, result.image], ["photo", "style", "d2lstyle.stylize(photo, style)"], 3), "03_style_transfer")


def draw_style_bank():
    """All paintings with their names."""
    names = ds.painting_names()
    save(sheet([ds.painting(name, CELL[::-1]) for name in names], names, 4), "style_bank")


def draw_contact_sheet(net):
    """Two photos by four styles, with defaults."""
    images, names = [None, *(ds.painting(name, CELL[::-1]) for name in PAINTINGS)], ["", *PAINTINGS]
    for photo in PHOTOS:
        content = ds.sample(photo, 384)
        images.append(content)
        for painting in PAINTINGS:
            bar = progress_bar(f"{net.name}: {photo}, {painting}")
            images.append(ds.stylize(content, ds.painting(painting, 384), net=net, callback=bar).image)
        names += [photo, *[""] * len(PAINTINGS)]
    save(sheet(images, names, 5), f"contact_sheet_{net.name}")


def sheet(images, names, columns):
    """Pictures in rows, each under its name."""
    rows = -(-len(images) // columns)
    width, height = CELL[0] + GAP, CELL[1] + GAP + TEXT
    canvas = Image.new("RGB", (columns * width + GAP, rows * height + GAP), "white")
    draw = ImageDraw.Draw(canvas)
    for number, (image, name) in enumerate(zip(images, names)):
        x, y = GAP + number % columns * width, GAP + number // columns * height
        draw.text((x + CELL[0] / 2, y + TEXT / 2), name, fill="black", font=FONT, anchor="mm")
        if image is not None:
            canvas.paste(to_pil_image(ds.images.resize(image, CELL[::-1])[0]), (x, y + TEXT))
    return canvas


def save(canvas, name):
    """As JPEG, small enough for a page."""
    canvas.save(HERE / f"{name}.jpg", quality=82, optimize=True)


if __name__ == "__main__":
    main()
