"""What stays on one line: no line ends within "3 × 3", "n − 1", "chapter 7", or a short name with a hyphen in it."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

_APART = re.compile(r"(<script\b.*?</script>|<pre\b.*?</pre>|<svg\b.*?</svg>)", re.S)
_TOGETHER = re.compile(r"(?<=\w) ([×−]) (?=\w)")
_NUMBERED = re.compile(r"\b([Cc]hapter|[Ss]tage|[Ee]xercise|[Ff]igure|[Tt]able|[Ss]ection) (?=\d)")
_HYPHENED = re.compile(r'<span class="pre">(?=[^<]{1,18}<)(?=[^<]*-)')


def unbroken(body: str) -> str:
    """Return a page's HTML with spaces and hyphens at which no line breaks.

    >>> unbroken("a 3 × 3, <pre>3 × 3</pre>") == "a 3\\u00a0×\\u00a03, <pre>3 × 3</pre>"
    True
    """
    parts = _APART.split(body)
    for index in range(0, len(parts), 2):
        part = _TOGETHER.sub("\u00a0\\1\u00a0", parts[index])
        part = _NUMBERED.sub("\\1\u00a0", part)
        parts[index] = _HYPHENED.sub('<span class="pre short">', part)
    return "".join(parts)


def keep_together(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree) -> None:
    """`html-page-context`: the text of a page."""
    if "body" in context:
        context["body"] = unbroken(context["body"])


def setup(app: Sphinx) -> dict:
    """Register the step."""
    app.connect("html-page-context", keep_together)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
