"""Every page in a browser, on a phone and on a projector: all of it can be reached, nothing is asked of the network."""

import re

import pytest

from tools.site import pages

FOLDER = pages.ROOT / "notebooks"
CHAPTERS = sorted(path.stem for path in FOLDER.glob("[0-9]*.ipynb"))
SHEETS = sorted(
    f"{kind}/{path.stem}" for kind in ("exercises", "solutions") for path in (FOLDER / kind).glob("*.ipynb")
)
PHONE, PROJECTOR = 390, 1280
LETTER = 12  # pixels: the height of the smallest type of `plots`, 8 points, in a figure of full size

# What is wider than its place: "scrolls" can be moved, "cut" cannot. "small" are figures whose type is under 9 pixels.
SEEN = """() => {
  const moves = (element) => ["auto", "scroll"].includes(getComputedStyle(element).overflowX);
  const tell = (element) => `<${element.localName} class="${element.className}"> ${element.textContent.slice(0, 40)}`;
  const all = [...document.querySelectorAll("body *")].filter((element) => element.getBoundingClientRect().width > 0);
  const wide = all.filter((element) => element.clientWidth && element.scrollWidth > element.clientWidth + 1);
  const outside = all.filter((element) => {
    if (element.getBoundingClientRect().right <= innerWidth + 1) return false;
    for (let place = element.parentElement; place; place = place.parentElement) if (moves(place)) return false;
    return true;
  });
  const figures = [...document.querySelectorAll(".output_figure img")];
  return {
    width: document.documentElement.scrollWidth,
    scrolls: wide.filter(moves).map((element) => element.localName + (element.className && "." + element.className)),
    cut: [...outside, ...wide.filter((element) => getComputedStyle(element).overflowX === "hidden")].map(tell),
    small: figures.filter((image) => image.clientWidth / image.naturalWidth * LETTER < 9).map((image) => image.alt),
    hints: wide.filter((element) => element.matches(".output_figure, p:has(> img)"))
      .map((element) => getComputedStyle(element, "::before").content),
  };
}""".replace("LETTER", str(LETTER))


def look(page, folder, name, width):
    """What a page of this width shows."""
    page.set_viewport_size({"width": width, "height": 800})
    page.goto((folder / f"{name}.html").as_uri())
    return page.evaluate(SEEN)


@pytest.mark.parametrize("name", ["index", "reference", "traceability", *CHAPTERS, *SHEETS])
@pytest.mark.parametrize("width", [PHONE, PROJECTOR])
def test_all_of_a_page_can_be_reached(page, folder, name, width):
    seen = look(page, folder, name, width)
    assert seen["width"] <= width and seen["cut"] == [] and seen["small"] == []
    assert all("scroll sideways" in hint for hint in seen["hints"])
    if width == PROJECTOR:
        assert {box.split(".")[0] for box in seen["scrolls"]} <= {"pre", "math"}  # long lines, no table, no figure
    assert page.asked == [] and page.said == []


def test_on_a_phone_code_figures_and_tables_scroll_within_their_boxes(page, folder):
    scrolls = look(page, folder, "06_style_as_augmentation", PHONE)["scrolls"]
    assert {"pre", "table", "div.output_figure"} <= set(scrolls)


def test_names_lead_to_their_entries(page, folder):
    anchors = set(re.findall(r' id="(.*?)"', (folder / "reference.html").read_text("utf-8")))
    for name in [*CHAPTERS, *SHEETS]:
        links = re.findall(r'href="((?:\.\./)?)reference\.html#(.*?)"', (folder / f"{name}.html").read_text("utf-8"))
        assert {anchor for _, anchor in links} <= anchors and (links or name in SHEETS)
        assert {up for up, _ in links} <= {"../" if "/" in name else ""}
    page.goto((folder / f"{CHAPTERS[2]}.html").as_uri())
    page.locator('a.name[href="reference.html#stylize"]').first.click()
    assert page.locator("h3#stylize").is_visible()
    assert abs(page.locator("h3#stylize").bounding_box()["y"]) < 50


def test_the_index_leads_to_the_reference(page, folder):
    page.goto((folder / "index.html").as_uri())
    page.get_by_role("link", name="Reference").click()
    assert page.locator("h1", has_text="Reference").is_visible()
