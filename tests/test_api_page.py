"""The page of the package's public names: every one is there, with its text, and all can read it."""

from __future__ import annotations

import functools
import re
from importlib import import_module
from types import ModuleType

import pytest
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup, Tag
from conftest import ROOT

pytestmark = pytest.mark.book

PACKAGE = "resnet_tutorial"
MODULES = (PACKAGE, *(f"{PACKAGE}.{name}" for name in ("check", "data", "figures", "train", "tracer", "widgets")))
PUBLIC = [(module, name) for module in MODULES for name in import_module(module).__all__]


@functools.cache
def article(path) -> Tag:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser").select_one("article.bd-article")


@pytest.fixture
def page(html):
    return html / "book" / "api.html"


def anchor(name: str) -> str:
    """The id of an entry: the book's ids have no dots, see book/_ext/chapter_pages.py."""
    return name.replace(".", "-")


def text_of(entry: Tag) -> str:
    """What stands under a signature, members and lists of arguments left out."""
    prose = [p.get_text(" ", strip=True) for p in entry.find_next_sibling("dd").find_all("p", recursive=False)]
    return " ".join(prose)


@pytest.mark.parametrize(("module", "name"), PUBLIC, ids=lambda value: value.rpartition(".")[2])
def test_every_public_name_is_on_the_page_with_its_text(page, module, name):
    value = getattr(import_module(module), name)
    if isinstance(value, ModuleType):
        heading = article(page).find(id=anchor(f"module-{value.__name__}")).find_previous(re.compile("^h[1-6]$"))
        assert len(heading.parent.find("p").get_text()) > 20
        return
    # From the top of the package or from its part: an object has one entry, under one of both names.
    homes = [home for home in MODULES if getattr(import_module(home), name, None) is value]
    entries = [article(page).find("dt", id=anchor(f"{home}.{name}")) for home in homes]
    entry = next(filter(None, entries), None)
    assert entry is not None, f"{module}.{name} is not in book/api.md"
    text = text_of(entry)
    assert len(text) > 20
    if callable(value) and getattr(value, "__doc__", None) and getattr(value, "__module__", "").startswith(PACKAGE):
        first = words(re.split("[.:]", value.__doc__)[0])[:4]
        assert words(text)[: len(first)] == first


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def test_what_a_docstring_says_of_arguments_and_errors_is_shown(page):
    entry = article(page).find("dt", id=anchor(f"{PACKAGE}.Bottleneck")).find_next_sibling("dd")
    lists = entry.select("dl.field-list > dt")
    fields = {field.get_text(strip=True).rstrip(":"): field.find_next_sibling("dd") for field in lists}
    assert "cardinality" in fields["Parameters"].get_text() and "ValueError" in fields["Raises"].get_text()
    names = [strong.get_text() for strong in fields["Parameters"].select("strong")]
    assert names == ["in_channels", "planes", "stride", "downsample", "groups", "base_width", "version"]
    signature = article(page).find("dt", id=anchor(f"{PACKAGE}.Bottleneck")).get_text(" ", strip=True)
    assert "stride : int = 1" in re.sub(r"\s+", " ", signature)


def test_types_of_the_package_lead_to_their_entries(page):
    entry = article(page).find("dt", id=anchor(f"{PACKAGE}.trace"))
    assert "#" + anchor(f"{PACKAGE}.Trace") in [a["href"] for a in entry.select("a.reference")]
    for link in article(page).select("dt.sig a.reference.internal"):
        assert article(page).find(id=link["href"].partition("#")[2]), link


def test_headings_are_in_order(page):
    levels = [int(heading.name[1]) for heading in article(page).find_all(re.compile("^h[1-6]$"))]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("look", ["light", "dark"])
def test_the_page_is_accessible_and_fits(chromium, page, look, width):
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=look)
    opened = context.new_page()
    opened.add_init_script(f"localStorage.setItem('mode', '{look}'); localStorage.setItem('theme', '{look}')")
    try:
        opened.goto(page.as_uri(), wait_until="networkidle")
        found = Axe().run(opened, context="article.bd-article")
        faults = [f"{v['id']}: {n['html'][:150]}" for v in found.response["violations"] for n in v["nodes"]]
        wide = opened.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    finally:
        context.close()
    assert faults == [] and wide <= 0


def test_the_page_is_in_the_table_of_contents():
    assert "file: book/api\n" in (ROOT / "_toc.yml").read_text(encoding="utf-8")
