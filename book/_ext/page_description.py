"""What a page is about, for search engines and for those who send its address around: its own first sentences."""

from __future__ import annotations

import re
from html import escape, unescape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

LONGEST = 160  # characters that a list of results shows
_FIRST = re.compile(r"<p>(.*?)</p>", re.DOTALL)


def shorten(text: str, longest: int = LONGEST) -> str:
    """Return whole sentences of a text, or its first words where the first sentence is too long.

    >>> shorten("One sentence. Another one.", 15)
    'One sentence.'
    >>> shorten("Far too long a sentence", 12)
    'Far too …'
    """
    text = " ".join(text.split())
    if len(text) <= longest:
        return text
    ends = [found.start() for found in re.finditer("(?<=[.?]) ", text[: longest + 1])]
    if ends:
        return text[: ends[-1]]
    return text[: text.rfind(" ", 0, longest - 1)] + " …"


def describe(doctree: nodes.document) -> str:
    """Return the description of a page, "" where it has no paragraph."""
    for node in doctree.findall(lambda n: isinstance(n, (nodes.paragraph, nodes.raw))):
        if isinstance(node, nodes.paragraph) and len(node.astext()) > 40:
            return shorten(node.astext())
        if isinstance(node, nodes.raw) and (first := _FIRST.search(node.astext())):
            return shorten(unescape(re.sub(r"<[^>]*>", "", first[1])))
    return ""


def add_description(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree) -> None:
    """`html-page-context`: write it into the page's head."""
    if doctree is not None and (text := describe(doctree)):
        title = re.sub(r"<[^>]*>", "", context.get("title", ""))
        context["metatags"] = context.get("metatags", "") + (
            f'<meta name="description" content="{escape(text)}">\n'
            f'<meta property="og:title" content="{title}">\n'
            f'<meta property="og:description" content="{escape(text)}">\n<meta property="og:type" content="article">\n'
        )


def setup(app: Sphinx) -> dict:
    """Register the step."""
    app.connect("html-page-context", add_description)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
