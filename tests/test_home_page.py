"""The home page: its picture, its cards, the progress a reader keeps, and the previews of terms."""

from __future__ import annotations

import doctest
import importlib
import re
import sys
from pathlib import Path

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "book" / "_ext"))

import chapter_cards
import layer_kinds
import network_map
import unbroken

from resnet_tutorial.check import catalog

CHAPTERS = sorted(path.stem for path in (ROOT / "book").glob("[0-9][0-9]_*.md"))


def test_the_picture_s_shapes_are_the_network_s():
    import torch

    from resnet_tutorial import resnet50

    network = resnet50().to("meta")
    stem, *stages, _ = network_map.parts()
    x = network.maxpool(network.relu(network.bn1(network.conv1(torch.empty(1, 3, 224, 224, device="meta")))))
    for part, layer in [(stem, None), *zip(stages, ("layer1", "layer2", "layer3", "layer4"), strict=True)]:
        if layer:
            x = getattr(network, layer)(x)
            assert len(part.sheets) == len(getattr(network, layer))
        assert part.shape[1] == " × ".join(map(str, x.shape[1:]))


def test_the_picture_has_an_arc_for_each_block_dashed_where_there_is_a_projection():
    paths = [path for _, path in network_map.arcs()]
    assert len(paths) == 3 + 4 + 6 + 3
    assert sum("map-projection" in path for path in paths) == 4


def test_every_link_of_the_picture_is_a_chapter():
    linked = re.findall(r'href="(\w+)\.html"', network_map.draw())
    assert len(linked) == len(set(linked)) and set(linked) <= set(CHAPTERS)


def test_a_card_says_what_the_chapter_and_the_exercises_say():
    for name in CHAPTERS:
        html = chapter_cards.card(name, "what it builds", ROOT / "book")
        number, title, minutes = chapter_cards.read_chapter(ROOT / "book" / f"{name}.md")
        own = [exercise for exercise in catalog().values() if exercise.chapter == number]
        assert f"{number}. " in html and chapter_cards.hours(minutes) in html and "what it builds" in html
        assert f"{len(own)} exercises, {sum(e.points for e in own)} points" in html
        # The chapter's own words about its time are those of the catalogue.
        text = (ROOT / "book" / f"{name}.md").read_text(encoding="utf-8")
        assert f"Time: about {minutes} minutes, {sum(e.minutes for e in own)} of them" in text


def test_a_chapter_without_a_time_is_refused(tmp_path):
    path = tmp_path / "01_x.md"
    path.write_text("# 1. X\n", encoding="utf-8")
    with pytest.raises(ValueError, match="Time: about M minutes"):
        chapter_cards.read_chapter(path)


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "book" / "_ext").glob("*.py")))
def test_the_examples_in_the_extensions_docstrings_hold(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_names_of_layers_carry_their_kind_and_nothing_else_does():
    block = '<span class="n">nn</span><span class="o">.</span><span class="n">ReLU</span><span class="n">relu2</span>'
    assert layer_kinds.mark(block).count("layer-relu") == 1
    text = '<code class="docutils literal notranslate"><span class="pre">nn.Linear</span></code> Linear'
    assert layer_kinds.mark(text).count("layer-linear") == 1
    from resnet_tutorial.figures.palette import FILL

    for kind in layer_kinds.KINDS:
        rule = f".layer-{kind} {{ text-decoration-color: color-mix(in srgb, {FILL[kind]} "
        assert layer_kinds.style().count(rule) == 2  # one for each look


def test_a_size_stays_on_its_line_but_in_code_nothing_is_changed():
    kept = "64\u00a0×\u00a056\u00a0×\u00a056"
    assert unbroken.unbroken("<p>64 × 56 × 56, or a × sign</p>") == f"<p>{kept}, or a\u00a0×\u00a0sign</p>"
    for tag in ("pre", "script", "svg"):
        assert unbroken.unbroken(f"<{tag} id='a'>3 × 3</{tag}>") == f"<{tag} id='a'>3 × 3</{tag}>"


# --- in a browser ---


@pytest.fixture
def page(chromium, html: Path):
    """A tab with a memory of its own, on the home page opened from the folder."""
    context = chromium.new_context()
    tab = context.new_page()
    tab.goto((html / "book" / "intro.html").as_uri())
    yield tab
    context.close()


@pytest.mark.book
def test_each_part_of_the_picture_leads_to_its_chapter(page):
    for name in re.findall(r'href="(\w+)\.html"', network_map.draw()):
        page.locator(f'.network-map a[href="{name}.html"]').first.focus()
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/{name}.html")
        page.go_back()
    page.locator(".network-map a .map-front").nth(8).click()  # the boxes themselves, too
    page.wait_for_url("**/04_bottleneck.html")


@pytest.mark.book
@pytest.mark.parametrize("look", ["light", "dark"])
def test_code_has_the_colours_of_its_look(chromium, html, look):
    page = chromium.new_page(color_scheme=look)
    page.goto((html / "book" / "03_residual_block.html").as_uri())
    ground, *inks = page.evaluate(
        """() => [document.querySelector(".bd-article div.highlight pre"),
                  ...document.querySelectorAll(".bd-article div.highlight :is(.kn, .nn, .k, .nc, .sd)")].map((e, i) =>
             getComputedStyle(e)[i ? "color" : "backgroundColor"].match(/\\d+/g).slice(0, 3).map(Number))"""
    )
    page.close()
    assert len(inks) > 20
    apart = [abs(sum(ink) - sum(ground)) for ink in inks]  # of 765
    assert min(apart) > 200, sorted(apart)[:3]


def spaced(link) -> str:
    """What a link says, with plain spaces: in the book "chapter 1" stays on one line."""
    return link.inner_text().replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.book
def test_a_ticked_chapter_is_remembered_and_can_be_forgotten(page):
    assert not page.locator('[data-progress="all"]').is_visible()  # nothing to say yet
    large = page.locator(".home-ways a").first
    assert spaced(large) == "Begin with chapter 1"
    page.locator('.chapter-card[data-chapter="01_why_depth_fails"]').click()
    page.get_by_label("I have worked through this chapter").check()
    page.reload()
    assert page.get_by_label("I have worked through this chapter").is_checked()
    assert page.locator(".bd-sidebar-primary a.book-done").count() == 1
    page.goto(page.url.replace("01_why_depth_fails", "04_bottleneck"))  # a glance
    page.goto(page.url.replace("04_bottleneck", "intro"))
    box = page.locator('[data-progress="all"]')
    assert "1 of 12 chapters worked through" in box.inner_text()
    assert "Go on: 2. The shape of a convolution" in box.inner_text()
    assert spaced(large) == "Go on with chapter 2"
    assert large.evaluate("link => link.href").endswith("/02_convolution_shapes.html")
    states = page.locator(".chapter-card-state").all_inner_texts()
    assert states == ["✓ done", *[""] * 11]
    button = page.get_by_role("button", name="Forget my ticks")
    page.once("dialog", lambda dialog: dialog.dismiss())
    button.click()
    assert box.is_visible()
    page.once("dialog", lambda dialog: dialog.accept())
    button.click()
    assert not box.is_visible()
    assert page.locator("a.book-done").count() == 0
    assert spaced(large) == "Begin with chapter 1"
    assert large.evaluate("link => link.href").endswith("/01_why_depth_fails.html")


@pytest.mark.book
def test_a_chapter_that_is_read_for_a_while_counts_as_begun(page):
    page.clock.install()
    page.goto(page.url.replace("intro", "03_residual_block"))
    page.clock.fast_forward(31_000)
    page.goto(page.url.replace("03_residual_block", "intro"))
    assert "Go on: 3. The residual block" in page.locator('[data-progress="all"]').inner_text()


@pytest.mark.book
@pytest.mark.parametrize("kept", ["[]", "nonsense", '"x"', "null"])
def test_a_foreign_entry_in_the_browser_s_memory_does_no_harm(page, kept):
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.evaluate("kept => localStorage.setItem('resnet-tutorial-progress', kept)", kept)
    page.reload()
    assert complaints == [] and page.locator(".chapter-card").count() == 12


@pytest.mark.book
def test_a_term_s_meaning_is_shown_for_the_mouse_and_for_the_keyboard(page):
    note, link = page.locator("#term-preview"), page.locator('a[href*="glossary.html#term-"]').first
    link.hover()
    note.wait_for(state="visible")
    assert len(note.inner_text()) > 40
    note.hover()  # one may move onto it
    page.wait_for_timeout(600)
    assert note.is_visible()
    page.keyboard.press("Escape")
    assert not note.is_visible()
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")
    link.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    assert note.is_visible() and link.get_attribute("aria-describedby") == "term-preview"


@pytest.mark.book
def test_a_finger_sees_the_meaning_first_and_follows_the_link_with_a_second_tap(chromium, html):
    page = chromium.new_page(has_touch=True, viewport={"width": 360, "height": 800})
    try:
        page.goto((html / "book" / "03_residual_block.html").as_uri())
        note, links = page.locator("#term-preview"), page.locator('.bd-article a[href*="glossary.html#term-"]')
        links.first.tap()
        assert note.is_visible() and "glossary" not in page.url
        box = note.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 360
        page.locator(".bd-article h1").tap()
        assert not note.is_visible()
        links.first.tap()
        links.first.tap()
        page.wait_for_url("**/glossary.html#term-*")
    finally:
        page.close()
