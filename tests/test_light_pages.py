"""Pages are light to load, and what was left out of them or put together changes nothing."""

from __future__ import annotations

import base64
import io
import re
import sys

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

sys.path.insert(0, str(ROOT / "book" / "_ext"))

import light_pages
import used_styles
from test_book_pages import CHAPTERS, PAGES

pytestmark = pytest.mark.book


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
    page.route(re.compile(r"/(pydata-sphinx-theme|all-\w+)\.js"), lambda route: route.abort())
    if mode:
        page.add_init_script(f"localStorage.setItem('mode', '{mode}')")
    page.goto((html / f"{document}.html").as_uri())
    assert page.evaluate("document.documentElement.dataset.theme") == (mode or "dark")
    page.close()


def test_all_pages_share_one_file_of_scripts(html):
    names = {document: re.findall(r"all-\w+\.js", (html / f"{document}.html").read_text(encoding="utf-8"))
             for document in PAGES}  # fmt: skip
    (shared,) = {tuple(found) for found in names.values()}
    assert len(shared) == 1 and [path.name for path in (html / "_static").glob("all-*.js")] == [*shared]


def test_put_together_scripts_run_in_their_order_and_none_rules_the_others(chromium, tmp_path):
    static = tmp_path / "_static"
    static.mkdir()
    for name, text in {
        "first": '"use strict"; const seen = ["first"];',
        "second": "loose = 1; seen.push('second') // the last line has no end",
        "own": "seen.push('own'); document.title = seen.join()",
        "late": "seen.push('late')",
    }.items():
        (static / f"{name}.js").write_text(text, encoding="utf-8")
    path = tmp_path / "page.html"
    tag = '<script {} src="_static/{}.js?v=1"></script>'
    page = (f"<html><head><title>t</title>{tag.format('defer', 'late')}</head><body>{tag.format('', 'first')}"
            f"{tag.format('', 'second')}{tag.format('defer data-a=b', 'own')}</body></html>")  # fmt: skip
    common = light_pages.scripts_of(page, path)
    assert [script.stem for script in common] == ["first", "second", "late"]
    page = light_pages.with_one_script(
        page, path, static, set(common), lambda scripts: light_pages.bundle_scripts(scripts, static))  # fmt: skip
    path.write_text(page, encoding="utf-8")
    opened = chromium.new_page()
    opened.goto(path.as_uri())
    assert opened.title() == "first,second,late,own"
    opened.close()


def test_a_photograph_within_a_drawing_keeps_every_pixel(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    pixels[:, :10, 3] = 0
    kept = io.BytesIO()
    Image.fromarray(pixels).save(kept, "png")
    page = f'<image href="data:image/png;base64,{base64.b64encode(kept.getvalue()).decode()}" width="30"/>'
    better = light_pages.with_files_for_photographs(page, tmp_path / "book" / "a.html", tmp_path / "_images")
    (file,) = (tmp_path / "_images").iterdir()
    assert better == f'<image href="../_images/{file.name}" width="30"/>'
    found, seen = np.asarray(Image.open(file).convert("RGBA")), pixels[..., 3] > 0
    assert (found[..., 3] == pixels[..., 3]).all() and (found[seen] == pixels[seen]).all()
