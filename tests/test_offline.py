"""The offline edition: unpacked into a folder, it is the book, with no server and no network."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT
from live_widgets import operate
from make_offline import NotReadable, edition, version, write

pytestmark = pytest.mark.book
CHAPTERS = sorted(path.stem for path in (ROOT / "book").glob("[01][0-9]_*.md"))
# A chapter, its widget as `live_widgets` knows it, and what the widget then writes into the page's address.
OPERATED = {
    "01": ("RunViewer('plain20', 'resnet20')", "runs.kind=loss"),
    "02": ("ConvolutionExplorer()", "convolution.size=9"),
    "05": ("ShapeTracer()", "tracer.network=cifar_resnet"),
    "07": ("ResNeXtExplorer()", "resnext.form=b"),
}


@pytest.fixture(scope="module")
def archive(html, tmp_path_factory) -> Path:
    """The zip, made from the built book."""
    path = tmp_path_factory.mktemp("offline") / f"resnet-tutorial-offline-{version()}.zip"
    write(edition(html), path, (html / "index.html").stat().st_mtime)
    return path


@pytest.fixture(scope="module")
def folder(archive) -> Path:
    """Where a reader has unpacked it: a folder whose name has a space and a letter beyond ASCII."""
    target = archive.parent / "Bücher und mehr"
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(target)
    return target / archive.stem


@pytest.fixture
def page(chromium, folder):
    """A page without a network. At the end it must have complained of nothing, and asked for no other place."""
    complaints: list[str] = []
    context = chromium.new_context(offline=True)
    page = context.new_page()
    page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
    inside = (folder.as_uri(), "data:", "blob:")
    page.on("request", lambda r: None if r.url.startswith(inside) else complaints.append(f"outside: {r.url}"))
    yield page
    context.close()
    assert complaints == []


def test_it_is_one_small_file_with_one_folder(archive, folder):
    assert archive.stat().st_size < 10e6
    with zipfile.ZipFile(archive) as opened:
        assert {name.split("/")[0] for name in opened.namelist()} == {archive.stem}
        assert all(info.external_attr >> 16 == 0o644 for info in opened.infolist())
    assert "Open index.html in a browser." in (folder / "README.txt").read_text(encoding="utf-8")
    assert (folder / "LICENSE.txt").is_file() and (folder / "LICENSE-TEXT.txt").is_file()


def test_every_chapter_is_in_it_with_its_blank_notebook(folder):
    assert len(CHAPTERS) == 12
    for name in CHAPTERS:
        assert (folder / "book" / f"{name}.html").is_file()
        notebook = folder / "notebooks" / f"{name}.ipynb"
        assert notebook.read_bytes() == (ROOT / "notebooks" / notebook.name).read_bytes()


def test_every_file_that_a_page_loads_is_in_it(folder):
    loads = re.compile(
        r'<(?:script|img|source)\b[^>]*\bsrc="([^"]+)"|<link\b[^>]*rel="(?:stylesheet|icon)"[^>]*href="([^"]+)"'
    )
    seen = set()
    for path in [*folder.glob("*.html"), *folder.glob("book/*.html")]:
        for found in loads.findall(path.read_text(encoding="utf-8")):
            address = "".join(found)
            if not address.startswith("data:"):
                seen.add((path.parent / address.split("?")[0]).resolve())
    assert len(seen) > 10 and [path for path in seen if not path.is_file()] == []


def test_the_first_page_leads_to_the_book(page, folder):
    page.goto((folder / "index.html").as_uri())
    page.wait_for_url((folder / "book" / "intro.html").as_uri())
    assert page.locator("h1").first.inner_text().strip()


@pytest.mark.parametrize("number", OPERATED)
def test_a_chapters_widget_works(page, folder, number):
    (path,) = (folder / "book").glob(f"{number}_*.html")
    make, written = OPERATED[number]
    page.goto(path.as_uri(), wait_until="networkidle")
    assert page.locator(".book-widget > section.rw").count() == page.locator(".book-widget").count() > 0
    operate(page.locator(".book-widget > section.rw").first, make)
    page.wait_for_timeout(400)  # the address follows a moment later
    assert written in page.url


def test_search_finds_and_quotes(page, folder):
    page.goto(f"{(folder / 'search.html').as_uri()}?q=cardinality")
    page.wait_for_function("document.querySelector('#search-results')?.innerText.includes('Search finished')")
    page.wait_for_selector("#search-results li p.context")
    quotes = page.locator("#search-results li p.context").all_inner_texts()
    assert len(quotes) >= 3 and any("cardinality" in quote.lower() for quote in quotes)
    first = page.locator("#search-results li a").first
    first.click()
    page.wait_for_url(re.compile("/book/"))
    assert "cardinality" in page.locator("article").inner_text().lower()


def test_a_book_that_is_not_built_or_loads_from_elsewhere_is_refused(tmp_path):
    with pytest.raises(NotReadable, match="run 'make book' first"):
        edition(tmp_path)
    page = tmp_path / "index.html"
    for foreign in ('<script type="module" src="a.js">', '<script src="https://cdn.test/a.js">',
                    '<link rel="stylesheet" href="//cdn.test/a.css">', '<img alt="" src="https://test/a.png">'):
        page.write_text(f"<html>{foreign}</html>", encoding="utf-8")
        with pytest.raises(NotReadable, match="cannot load"):
            edition(tmp_path)
