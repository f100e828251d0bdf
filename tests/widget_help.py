"""A page with widgets and nothing else: what a chapter's page has of them, without the book around it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

from axe_playwright_python.sync_playwright import Axe

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book" / "_ext"))

import page_widgets

import resnet_tutorial.widgets  # noqa: F401  (all widgets are known)

# The book's page sets these; a widget takes its colours from them.
_LOOKS = {"light": "color:#1f2730;background:#fff", "dark": "color:#d6dce3;background:#15191e"}
_PAGE = """<!doctype html>
<html lang="en" data-theme="{look}"><head><title>Widgets</title><meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<style>:root{{color-scheme:{look}}} body{{{style};margin:8px}}</style>
</head><body><main><h1>Widgets</h1>{widgets}</main>{scripts}</body></html>"""
ADDRESS = "http://widgets.test/page.html"


def page_of(*widgets: str, look: str = "light") -> str:
    """Return a page as the book makes it, from what ``Widget.as_html`` gave."""
    scripts = page_widgets.scripts()
    last = scripts.pop("host.js")
    tags = "".join(f"<script>{text}</script>" for text in [*scripts.values(), last])
    return _PAGE.format(look=look, style=_LOOKS[look], widgets="".join(widgets), scripts=tags)


@contextmanager
def shown(
    browser, *widgets: str, look: str = "light", width: int = 1000, reduced_motion: str = "no-preference", **state
) -> Iterator:
    """Open such a page; ``state`` goes into its address. It must complain of nothing and ask for nothing else."""
    complaints: list[str] = []
    page = browser.new_page(
        viewport={"width": width, "height": 900}, color_scheme=look, reduced_motion=reduced_motion
    )
    page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    html = page_of(*widgets, look=look)

    def answer(route) -> None:
        if route.request.url.startswith(ADDRESS):
            route.fulfill(body=html, content_type="text/html")
        else:
            if not route.request.url.endswith("favicon.ico"):
                complaints.append(f"asked for {route.request.url}")
            route.abort()

    page.route("**/*", answer)
    try:
        page.goto(f"{ADDRESS}?{urlencode(state)}" if state else ADDRESS)
        page.wait_for_selector(".rw")
        yield page
    finally:
        page.close()
    assert complaints == []


def settle(page) -> None:
    """Wait until what was changed is drawn."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def violations(page, inside: str | None = ".rw") -> list[str]:
    """Return what axe-core finds wrong in the widgets, or on the whole page (``None``), one line each."""
    found = Axe().run(page, context=inside)
    return [f"{v['id']}: {node['html'][:120]}" for v in found.response["violations"] for node in v["nodes"]]


def too_wide(page) -> int:
    """Return by how many pixels the page is wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def rules(browser, name: str, expression: str, argument):
    """Return what an expression in ``x`` gives in JavaScript, with the functions of ``js/NAME.js`` at hand."""
    from resnet_tutorial.widgets.base import script

    page = browser.new_page()
    try:
        return page.evaluate(f"(x) => {{ {script(name)}\n return {expression}; }}", argument)
    finally:
        page.close()
