"""Sizes that stay whole: no line ends within "3 × 3" or "64 × 56 × 56"."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

_APART = re.compile(r"(<script\b.*?</script>|<pre\b.*?</pre>|<svg\b.*?</svg>)", re.S)
_TIMES = re.compile(r"(?<=\w) × (?=\w)")


def whole(body: str) -> str:
    """Return a page's HTML with spaces that do not break around the sign.

    >>> whole("a 3 × 3, <pre>3 × 3</pre>") == "a 3\\u00a0×\\u00a03, <pre>3 × 3</pre>"
    True
    """
    parts = _APART.split(body)
    parts[::2] = [_TIMES.sub("\u00a0×\u00a0", part) for part in parts[::2]]
    return "".join(parts)


def keep_whole(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree) -> None:
    """`html-page-context`: sizes of a page."""
    if "body" in context:
        context["body"] = whole(context["body"])


def setup(app: Sphinx) -> dict:
    """Register the step."""
    app.connect("html-page-context", keep_whole)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
