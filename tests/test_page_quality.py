"""Every page for everybody: accessible in light and dark and on a phone, headings in order, light to load."""

from __future__ import annotations

import gzip
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
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
