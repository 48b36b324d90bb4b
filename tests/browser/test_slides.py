"""Every slide of every deck in a browser: nothing cut off, little to read, pictures, nothing asked of the network."""

from pathlib import Path

import nbformat
import pytest

from tools.site import decks, pages

NOTEBOOKS = sorted((Path(pages.ROOT) / "notebooks").glob("[0-9]*.ipynb"))
SLIDES = range(20, 31)  # of a deck
SMALLEST = 15  # pixels, of code and of tables

# What sticks out of the slide on the screen, and what is wider or higher than its own box; parts of formulas, too.
# And what there is to read: a formula is one word; code, tables, players' names and what the speaker reads are none.
SEEN = """() => {
  const words = (slide) => {
    const content = slide.querySelector(".content").cloneNode(true);
    content.querySelectorAll(".code, .media, table, annotation").forEach((element) => element.remove());
    content.querySelectorAll("math").forEach((formula) => formula.replaceWith("formula"));
    content.querySelectorAll("h1, h2, h3, p, li, pre, div").forEach((element) => element.append(" "));
    return content.textContent.split(/\\s+/).filter((word) => /[\\p{L}\\p{N}]/u.test(word)).length;
  };
  const slide = Reveal.getCurrentSlide(), frame = slide.getBoundingClientRect(), found = [];
  const tell = (element, why) => found.push(
    `${why}: <${element.localName} class="${element.className}"> ${element.textContent.slice(0, 40)}`);
  for (const element of slide.querySelectorAll("*:not(aside, aside *, mphantom)")) {
    const box = element.getBoundingClientRect();
    if (box.width === 0 || box.height === 0) continue;
    const left = box.left < frame.left - 1, right = box.right > frame.right + 1;
    if (left || right || box.top < frame.top - 1 || box.bottom > frame.bottom + 1) tell(element, "outside");
    const wide = element.scrollWidth > element.clientWidth + 1, tall = element.scrollHeight > element.clientHeight + 2;
    if (element.matches(".content, .content > *, pre, p, li, td") && wide) tell(element, "too wide");
    if (element.matches(".content, pre") && tall) tell(element, "too tall");
  }
  const content = slide.querySelector(".content");
  const boxes = [...content.children].map((child) => child.getBoundingClientRect());
  boxes.slice(1).forEach((box, at) => box.top < boxes[at].bottom - 1 && tell(content.children[at + 1], "overlaps"));
  return {
    found, words: words(slide), said: slide.querySelectorAll(".said, .ask, .see").length,
    shows: [".code", ".figure", ".media", "table", ".text"].filter((kind) => content.querySelector(kind)),
    size: [frame.width, frame.height], scale: Number(content.style.getPropertyValue("--scale") || 1),
    type: [...content.querySelectorAll(".code pre, .text, td")].map(
      (part) => parseFloat(getComputedStyle(part).fontSize)),
    figures: [...slide.querySelectorAll(".figure img")].map(
      (image) => Math.min(image.clientWidth / image.naturalWidth, image.clientHeight / image.naturalHeight)),
    unread: [...slide.querySelectorAll("img")].filter((image) => !image.complete || !image.naturalWidth).length,
  };
}"""


def ran(notebook):
    """Whether a notebook holds its outputs."""
    return any(cell.get("outputs") for cell in notebook.cells)


def show(page, path):
    """Open a deck from disk and wait until it can be used."""
    page.goto(path.as_uri(), wait_until="commit")
    page.wait_for_function("window.Reveal && Reveal.isReady()")


def slides_of(page):
    """What SEEN says of each slide of the deck, with all that waits for a key shown."""
    seen = []
    for _ in range(page.evaluate("Reveal.getTotalSlides()")):
        while page.evaluate("Reveal.nextFragment()"):
            pass
        seen.append(page.evaluate(SEEN))
        page.evaluate("Reveal.next()")
    assert page.evaluate("Reveal.isLastSlide()")
    return seen


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_slide_can_be_seen_and_read(page, folder, path):
    if not ran(nbformat.read(path, as_version=4)):
        pytest.skip("the notebook holds no outputs yet")
    show(page, folder / f"{path.stem}.slides.html")
    slides, bad = slides_of(page), []
    for number, seen in enumerate(slides, start=1):
        assert seen["size"] == [1280, 720]
        bad += [f"slide {number}: {text}" for text in seen["found"]]
        bad += [f"slide {number}: {seen['words']} words"] * (seen["words"] > decks.MOST_WORDS)
        bad += [f"slide {number}: a heading alone"] * (not seen["shows"] and not seen["said"])
        bad += [f"slide {number}: type at {seen['scale']:.0%}"] * (seen["scale"] < 0.8)
        bad += [f"slide {number}: code or table of {size:.1f} px" for size in seen["type"] if size < SMALLEST]
        bad += [f"slide {number}: picture at {scale:.0%}" for scale in seen["figures"] if scale < 0.75]
        bad += [f"slide {number}: a picture that cannot be read"] * seen["unread"]
    museum = path.stem.startswith("08")  # whose exhibits are code
    pictures = {".figure", ".media", "table"} | ({".code"} if museum else set())
    shown = sum(bool(pictures & set(seen["shows"])) for seen in slides)
    assert bad == []
    assert len(slides) in SLIDES
    assert shown >= len(slides) / 2
    assert page.asked == [] and page.said == []


def test_the_speaker_reads_what_a_slide_leaves_out(page, folder):
    deck = folder / f"{NOTEBOOKS[0].stem}.slides.html"
    show(page, deck)
    page.evaluate("Reveal.slide(1, 0)")
    notes = page.evaluate("Reveal.getSlideNotes()")
    assert "The lecture tells of a start-up" in notes
    assert "The lecture tells of a start-up" not in page.locator("section.present .content:visible").last.inner_text()
    with page.expect_popup() as opened:
        page.keyboard.press("s")
    opened.value.get_by_text("The lecture tells of a start-up").wait_for()


def test_a_prediction_comes_before_its_picture_and_the_picture_before_what_is_seen_in_it(page, folder):
    show(page, folder / f"{NOTEBOOKS[0].stem}.slides.html")
    page.evaluate("Reveal.slide(3, 1)")
    parts = [page.locator(f"section.present section.present {kind}") for kind in (".ask", ".figure", ".see")]
    waits = "part => part.matches('.fragment:not(.visible)')"  # what is shown is not seen at once: it fades in
    steps = [[not part.evaluate(waits) for part in parts]]
    while page.evaluate("Reveal.nextFragment()"):
        steps.append([not part.evaluate(waits) for part in parts])
    parts[2].wait_for()
    assert steps == [[True, False, False], [True, True, False], [True, True, True]]


def test_keys_turn_the_slides(page, folder):
    show(page, folder / f"{NOTEBOOKS[0].stem}.slides.html")

    column = page.evaluate("""[...document.querySelectorAll(".slides > section")].findIndex(
      (column) => column.children.length > 1 && !column.querySelector(".fragment"))""")
    page.evaluate(f"Reveal.slide({column})")

    def place_after(key):
        page.keyboard.press(key)
        return page.evaluate("Object.values(Reveal.getIndices()).slice(0, 2)")

    keys = ("Space", "ArrowUp", "ArrowDown", "ArrowUp", "ArrowRight", "ArrowLeft")
    assert [place_after(key) for key in keys] == [
        [column, 1],
        [column, 0],
        [column, 1],
        [column, 0],
        [column + 1, 0],
        [column, 0],
    ]
    assert place_after("End")[0] == page.evaluate("Reveal.getHorizontalSlides().length") - 1
    assert place_after("Home") == [0, 0]
    page.keyboard.press("o")
    assert page.evaluate("Reveal.isOverview()")


def test_an_address_leads_to_its_slide_and_a_small_window_shows_all_of_it(page, folder):
    page.set_viewport_size({"width": 800, "height": 600})
    page.goto(f"{(folder / f'{NOTEBOOKS[0].stem}.slides.html').as_uri()}#/2/1", wait_until="commit")
    page.wait_for_function("window.Reveal && Reveal.isReady()")
    assert page.evaluate("Object.values(Reveal.getIndices()).slice(0, 2)") == [2, 1]
    box = page.evaluate("Reveal.getCurrentSlide().getBoundingClientRect().toJSON()")
    assert box["left"] >= -1 and box["top"] >= -1 and box["right"] <= 801 and box["bottom"] <= 601


def test_the_index_leads_to_page_and_deck(page, folder):
    page.goto((folder / "index.html").as_uri())
    page.get_by_role("link", name="Slides").first.click()
    page.wait_for_function("window.Reveal && Reveal.isReady()")
    page.get_by_role("link", name="All chapters").click()
    page.get_by_role("link", name="Read").first.click()
    assert page.locator("main.chapter h1").is_visible()
    assert page.asked == [] and page.said == []
