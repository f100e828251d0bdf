"""Every page for everybody: accessible in light and dark and on a phone, headings in order, light to load."""

from __future__ import annotations

import gzip
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "book" / "_ext"))

import light_pages
import used_styles
from test_book_pages import CHAPTERS, PAGES
from widget_help import violations

pytestmark = pytest.mark.book


@pytest.mark.parametrize("document", PAGES)
@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_axe_finds_nothing(chromium, html, document, look):
    scheme = "dark" if look == "dark" else "light"
    width = 360 if look == "phone" else 1280
    page = chromium.new_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    page.add_init_script(f"localStorage.setItem('mode', '{scheme}'); localStorage.setItem('theme', '{scheme}')")
    try:
        page.goto((html / f"{document}.html").as_uri(), wait_until="networkidle")
        awake, widgets = (page.locator(at).count() for at in (".book-widget > section.rw", ".book-widget"))
        assert awake == widgets  # it is their controls that are looked at, not the tables in their place
        # The theme makes what scrolls reachable by keyboard, a moment after the page has come.
        page.wait_for_function(
            "[...document.querySelectorAll('pre')].every(p => p.scrollWidth <= p.clientWidth || p.tabIndex === 0)"
        )
        assert violations(page, inside=None) == []
    finally:
        page.close()


@pytest.mark.parametrize("document", PAGES)
def test_headings_go_down_one_level_at_a_time(html, document):
    text = (html / f"{document}.html").read_text(encoding="utf-8")
    article = re.search(r'<article class="bd-article".*?</article>', text, re.S)[0]
    levels = [int(level) for level in re.findall(r"<h([1-6])\b", article)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False)), levels


class Loads(HTMLParser):
    """The scripts and style sheets of a page, and the page without its pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[str] = []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "script" and values.get("src"):
            self.files.append(values["src"])
        if tag == "link" and values.get("rel") in ("stylesheet", "preload", "icon"):
            self.files.append(values["href"])


@pytest.mark.parametrize("document", CHAPTERS)
def test_a_chapter_without_its_figures_weighs_at_most_500_kb(html, document):
    """Gzipped, as a server sends it; what is compressed already counts as it is."""
    path = html / f"{document}.html"
    text = path.read_text(encoding="utf-8")
    loads = Loads()
    loads.feed(text)
    for sheet in [name for name in loads.files if ".css" in name]:
        css = (path.parent / sheet.split("?")[0]).resolve()
        for font in re.findall(r"url\(([^)]+\.woff2)[^)]*\)", css.read_text(encoding="utf-8")):
            loads.files.append(Path(css.parent, font.strip("\"'")).as_posix())
    without = re.sub(r'<figure class="drawing".*?</figure>', "", text, flags=re.S)
    files = {(path.parent / name.split("?")[0]).resolve() for name in loads.files}
    weights = {file.name: min(file.stat().st_size, len(gzip.compress(file.read_bytes()))) for file in files}
    total = len(gzip.compress(without.encode())) + sum(weights.values())
    assert total <= 500_000, sorted(weights.items(), key=lambda item: -item[1])


@pytest.mark.parametrize("document", PAGES)
def test_a_page_says_what_it_is_about(html, document):
    text = (html / f"{document}.html").read_text(encoding="utf-8")
    (description,) = re.findall(r'<meta name="description" content="([^"]*)"', text)
    assert 30 < len(description) <= 200
    assert "<" not in description and not description.startswith("Time:")


@pytest.mark.parametrize("look", ["light", "dark"])
def test_marks_of_code_are_left_out_where_they_have_the_colour_of_plain_text(html, look):
    sheet = (html / "_static" / "pygments.css").read_text(encoding="utf-8")
    colour = {
        kind: re.search(rf'data-theme="{look}"\] \.highlight{kind} \{{[^}}]*\bcolor: (#\w+)', sheet)[1]
        for kind in ("", " .n", " .nn", " .p", " .w", " .k")
    }
    assert len({colour[kind] for kind in ("", " .n", " .nn", " .p", " .w")}) == 1 and colour[" .k"] != colour[""]
    for name in CHAPTERS:
        page = (html / f"{name}.html").read_text(encoding="utf-8")
        assert not re.search(r'<span class="(n|nn|p|w)">', page) and '<span class="k">' in page


LOOKS_OF_ALL = """() => [...document.querySelectorAll("body *")].map((node) => {
  const style = getComputedStyle(node), box = node.getBoundingClientRect();
  const { display, position, color, backgroundColor, fontSize, fontWeight, borderTopWidth, textDecorationLine } = style;
  return [node.tagName, String(node.getAttribute("class")), display, position, color, backgroundColor, fontSize,
          fontWeight, borderTopWidth, textDecorationLine, box.x, box.y, box.width, box.height].join(" ");
})"""


@pytest.mark.parametrize("document", ["book/intro", CHAPTERS[5], "book/api"])
def test_the_rules_that_are_left_out_of_the_style_sheet_change_nothing(chromium, html, document):
    """The search's page keeps the sheets as they come: put together, they are what the others' sheet was made of."""
    search = (html / "search.html").read_text(encoding="utf-8")
    sheets = [html / name for name in light_pages.SHEET.findall(search)]
    sheets += [html / "_static" / "api.css"] * (document == "book/api")  # which no other page has
    own = re.findall(r'href="\.\./_static/(all-\w+\.css)"', (html / f"{document}.html").read_text(encoding="utf-8"))
    (sheet,) = [(html / "_static" / name).read_text(encoding="utf-8") for name in own]
    whole = "\n".join(light_pages.flat(each, html / "_static") for each in sheets)
    assert len(whole) > 2 * len(sheet)
    looks = []
    for style in (None, whole):
        page = chromium.new_page(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
        if style:
            page.route("**/all-*.css", lambda route: route.fulfill(body=whole, content_type="text/css"))
        page.goto((html / f"{document}.html").as_uri(), wait_until="networkidle")
        looks.append(page.evaluate(LOOKS_OF_ALL))
        page.close()
    different = [pair for pair in zip(*looks, strict=True) if pair[0] != pair[1]]
    assert different == []


def test_a_rule_stays_where_a_script_may_give_its_class_and_where_it_asks_for_the_lack_of_one():
    names = used_styles.names_in(['<p class="here">', "node.classList.add('given', `side-${way}`)"])
    sheet = ".here,.gone{top:0}.given{top:0}.side-left{top:0}.gone{top:0}p:not(.gone){top:0}@media print{.gone{top:0}}"
    assert used_styles.used(sheet, names) == ".here{top:0}.given{top:0}.side-left{top:0}p:not(.gone){top:0}"


@pytest.mark.parametrize("mode", [None, "light", "dark"])
@pytest.mark.parametrize("document", ["book/intro", "search"])
def test_light_or_dark_is_settled_before_the_theme_s_script_runs(chromium, html, document, mode):
    page = chromium.new_page(color_scheme="dark")
    page.route("**/pydata-sphinx-theme.js*", lambda route: route.abort())
    if mode:
        page.add_init_script(f"localStorage.setItem('mode', '{mode}')")
    page.goto((html / f"{document}.html").as_uri())
    assert page.evaluate("document.documentElement.dataset.theme") == (mode or "dark")
    page.close()
