"""The built book, as a reader's browser meets it."""

from __future__ import annotations

import functools
import gzip
import http.server
import json
import re
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urldefrag, urlsplit

import pytest
import yaml
from chapter_source import CHAPTER_NAME
from conftest import ROOT
from live_widgets import last_values, operate
from repository import repository

pytestmark = pytest.mark.book


def documents() -> list[str]:
    """Every page of the table of contents."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    return [toc["root"], *(entry["file"] for part in toc["parts"] for entry in part["chapters"])]


PAGES = documents()
CHAPTERS = [name for name in PAGES if CHAPTER_NAME.match(Path(name).name)]


class Page(HTMLParser):
    """The links, targets and loaded files of a page."""

    LOADS = {
        ("script", "src"),
        ("img", "src"),
        ("iframe", "src"),
        ("source", "src"),
        ("link", "href"),
    }

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids.update(
            filter(None, (values.get("id"), values.get("name") if tag == "a" else None))
        )
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        for name, key in self.LOADS:
            if tag == name and values.get(key) and values.get("rel") not in ("canonical", "search"):
                self.loads.append(values[key])


@functools.cache
def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def is_external(address: str) -> bool:
    return bool(re.match(r"^([a-z][a-z0-9+.-]*:|//)", address))


# --- links ---


@pytest.mark.parametrize("document", [*PAGES, "index", "search"])
def test_every_internal_link_leads_somewhere(html, document):
    path = html / f"{document}.html"
    broken = []
    for link in read(path).links:
        if is_external(link):
            continue
        target, fragment = urldefrag(link)
        other = (path.parent / unquote(target)).resolve() if target else path
        if (
            not other.is_file()
            or fragment
            and other.suffix == ".html"
            and unquote(fragment) not in read(other).ids
        ):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("document", PAGES)
def test_a_page_loads_nothing_from_another_host(html, document):
    page = read(html / f"{document}.html")
    assert [
        address
        for address in page.loads
        if is_external(address) and not address.startswith("data:")
    ] == []


@pytest.mark.parametrize("document", CHAPTERS)
def test_a_chapter_opens_in_colab_and_its_blank_notebook_downloads(html, document):
    name = f"notebooks/{Path(document).name}.ipynb"
    page = read(html / f"{document}.html")
    assert repository().colab(name) in page.links
    assert f"../{name}" in page.links
    assert (html / name).read_bytes() == (ROOT / name).read_bytes()


def test_a_page_without_a_notebook_offers_none(html):
    for document in sorted(set(PAGES) - set(CHAPTERS)):
        text = (html / f"{document}.html").read_text(encoding="utf-8")
        assert "btn-colab-button" not in text and "btn-download-notebook-button" not in text


# --- what is on the page ---


@pytest.mark.parametrize("document", PAGES)
def test_no_markup_is_left_over(html, document):
    text = (html / f"{document}.html").read_text(encoding="utf-8")
    article = re.search(r'<article class="bd-article".*?</article>', text, re.S)[0]
    prose = re.sub(r"<(pre|code|math|svg|script|style)\b.*?</\1>", "", article, flags=re.S)
    words = re.sub(r"<[^>]*>", " ", prose)
    assert not re.search(r"\{(term|ref|doc|cite|eq|numref)(:\w)?\}|:::|\$\$|# source:", words)
    assert "cell_output traceback" not in article


def test_a_formula_has_one_number_on_the_page_and_in_the_notebook(html):
    numbered = 0
    for document in CHAPTERS:
        notebook = (html / "notebooks" / f"{document.split('/')[-1]}.ipynb").read_text(encoding="utf-8")
        page = (html / f"{document}.html").read_text(encoding="utf-8")
        shown = set(re.findall(r"\\tag\{([\d.]+)\}", notebook))
        referred = set(re.findall(r'href="#equation-[a-z][^"]*">\(([\d.]+)\)', page))
        assert shown <= set(re.findall(r'class="eqno"[^>]*>\(([\d.]+)\)', page))
        assert shown == referred
        numbered += len(shown)
    assert numbered


@pytest.mark.parametrize("document", CHAPTERS)
def test_every_exercise_has_its_card_its_solution_and_a_passed_check(html, document):
    from chapter_source import read_chapter

    exercises = [
        cell.exercise for cell in read_chapter(ROOT / f"{document}.md").code() if cell.exercise
    ]
    text = (html / f"{document}.html").read_text(encoding="utf-8")
    assert text.count('class="exercise-meta"') == len(exercises)
    assert len(re.findall("<summary>Solution</summary>", text)) == len(exercises)
    assert len(re.findall(r"Exercise\s\d+\.\d+: passed", text)) >= len(exercises)
    assert "not attempted yet" not in text


def test_formulas_are_mathml(html):
    text = "".join((html / f"{document}.html").read_text(encoding="utf-8") for document in PAGES)
    assert "<math" in text
    assert not re.search(r"<script[^>]*mathjax", text, re.I)


# --- in a browser ---


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def address(html):
    """The book, served by this machine."""
    handler = functools.partial(Quiet, directory=str(html))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("document", PAGES)
def test_a_page_opens_without_a_complaint(chromium, address, document):
    complaints: list[str] = []
    page = chromium.new_page()
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
    page.on(
        "response", lambda r: complaints.append(f"{r.status}: {r.url}") if r.status >= 400 else None
    )
    page.on(
        "request",
        lambda r: (
            complaints.append(f"another host: {r.url}")
            if not r.url.startswith((address, "data:", "blob:"))
            else None
        ),
    )
    try:
        page.goto(f"{address}/{document}.html", wait_until="networkidle")
        width = page.evaluate("document.documentElement.clientWidth")
        page.set_viewport_size({"width": 360, "height": 800})
        wide = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
    finally:
        page.close()
    assert complaints == []
    assert width > 0 and wide <= 0, f"on a phone the page is {wide} px wider than the screen"


WITH_WIDGETS = ("01", "02", "03", "04", "05", "06", "07", "08", "09")


def test_widgets_are_where_they_answer_a_question_and_weigh_little(html):
    """Script and data of one page's widgets: at most 150 kB as they travel."""
    for number in WITH_WIDGETS:
        (page,) = (html / "book").glob(f"{number}_*.html")
        text = page.read_text(encoding="utf-8")
        outputs = re.findall(r'<div class="book-widget".*?</div>', text, re.DOTALL)
        scripts = re.findall(r'src="../_static/(widgets/\w+\.js)', text)
        assert outputs and scripts[-1] == "widgets/host.js", page.name
        texts = [(html / "_static" / script).read_text(encoding="utf-8") for script in scripts]
        assert len(gzip.compress("".join(outputs + texts).encode())) <= 150_000, page.name


@pytest.mark.parametrize("number", WITH_WIDGETS)
def test_widgets_wake_on_their_pages(chromium, address, html, number):
    (path,) = (html / "book").glob(f"{number}_*.html")
    page = chromium.new_page()
    try:
        page.goto(f"{address}/book/{path.name}", wait_until="networkidle")
        widgets = page.locator(".book-widget").count()
        assert page.locator(".book-widget > section.rw").count() == widgets > 0
    finally:
        page.close()


# Chapter, the widget whose operations are done there, its name in the address, and what differs on that page.
OPERATED = [
    ("01", "RunViewer('plain20', 'resnet20')", "runs", {"shown": "0111"}),
    ("02", "ConvolutionExplorer()", "convolution", {}),
    ("03", "ShapeTracer(BasicBlock(8, 16, stride=2), (1, 8, 9, 9))", "tracer", {}),
    ("05", "ShapeTracer()", "tracer", {}),
    ("07", "ResNeXtExplorer()", "resnext", {}),
]


@pytest.mark.parametrize("keyboard", [False, True], ids=["by value", "by keys"])
@pytest.mark.parametrize(("number", "make", "key", "other"), OPERATED)
def test_every_control_works_on_the_page(chromium, address, html, number, make, key, other, keyboard):
    (path,) = (html / "book").glob(f"{number}_*.html")
    page = chromium.new_page()
    try:
        page.goto(f"{address}/book/{path.name}", wait_until="networkidle")
        place = page.locator(".book-widget").first
        begin = json.loads(place.get_attribute("data-state"))
        operate(place.locator("section.rw"), make, keyboard)
        page.wait_for_timeout(400)  # the address follows a moment later
        written = dict(parse_qsl(urlsplit(page.url).query))
    finally:
        page.close()
    for trait, wanted in {**last_values(make), **other}.items():
        found = written.get(f"{key}.{trait}", str(begin[trait]))
        assert (found if wanted is ... else found.lower() == str(wanted).lower()), (trait, found, wanted)


def test_an_address_with_a_view_opens_at_the_widget(chromium, address, html):
    page = chromium.new_page()
    try:
        page.goto(f"{address}/book/05_conv_and_identity_blocks.html?tracer.size=97", wait_until="networkidle")
        page.wait_for_function("scrollY > 500")
        page.wait_for_timeout(800)  # it may scroll smoothly
        assert 0 <= page.locator("section.rw").bounding_box()["y"] < 300
        page.goto(f"{address}/book/05_conv_and_identity_blocks.html", wait_until="networkidle")
        assert page.evaluate("scrollY") == 0
    finally:
        page.close()


def test_on_paper_a_network_is_a_whole_table(chromium, address):
    page = chromium.new_page()
    try:
        page.goto(f"{address}/book/05_conv_and_identity_blocks.html", wait_until="networkidle")
        table = page.locator(".book-widget-paper table")
        assert not table.is_visible()
        page.emulate_media(media="print")
        assert table.is_visible() and not page.locator("section.rw").is_visible()
        assert "layer4.2" in table.inner_text()
    finally:
        page.close()


def test_the_first_page_leads_to_the_book(chromium, address):
    page = chromium.new_page()
    page.goto(f"{address}/index.html")
    page.wait_for_url(f"{address}/{PAGES[0]}.html")
    page.close()


def test_search_finds_a_word(chromium, address):
    page = chromium.new_page()
    page.goto(f"{address}/search.html?q=bottleneck")
    page.wait_for_selector("#search-results li a", timeout=10_000)
    page.close()
