"""Two mendings of markup that comes from libraries, found by axe-core.

A table that scrolls sideways on a phone has to be reachable by keyboard, or its right half is lost to those who have no
mouse. And the role that docutils gives to an entry of the bibliography is allowed for list items only.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

MENDED = {
    '<div class="pst-scrollable-table-container">':
        '<div class="pst-scrollable-table-container" tabindex="0" role="group" aria-label="Table">',
    ' role="doc-biblioentry"': ' role="listitem"',
}  # fmt: skip


def mend(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree) -> None:
    """`html-page-context`: replace each of them."""
    for found, better in MENDED.items():
        if "body" in context:
            context["body"] = context["body"].replace(found, better)


def setup(app: Sphinx) -> dict:
    """Register the step."""
    app.connect("html-page-context", mend)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
