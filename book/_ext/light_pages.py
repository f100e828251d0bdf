"""Pages that show their text before their scripts have come.

The theme loads some ten scripts one after another in each page's head, and the browser shows nothing until all of
them have run.
Here they are deferred, which keeps their order; the smallest one, on which the scripts within the page depend, is
written into the page.
"""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

_OPTIONS = re.compile(r'<script src="[^"]*_static/documentation_options\.js[^"]*"></script>')
_BLOCKING = re.compile(r'<script (?![^>]*\b(?:defer|async)\b)([^>]*\bsrc="[^"]*_static/[^"]*"[^>]*)>')
_AHEAD = re.compile(r'[ \t]*<link rel="preload" as="script"[^>]*>\n?')


def lighter(page: str, options: str) -> str:
    """Return a page whose head keeps no text waiting.

    >>> lighter('<head><script src="_static/a.js"></script></head><body>', "")
    '<head><script defer src="_static/a.js"></script></head><body>'
    """
    head, body, rest = page.partition("</head>")
    head = _OPTIONS.sub(lambda _: f"<script>{options}</script>", head)
    return _BLOCKING.sub(r"<script defer \1>", _AHEAD.sub("", head)) + body + rest


def lighten(app: Sphinx, exception: Exception | None) -> None:
    """`build-finished`: rewrite all pages but the search, whose scripts call one another while they load."""
    if exception is not None or app.builder.format != "html":
        return
    out = Path(app.outdir)
    options = (out / "_static" / "documentation_options.js").read_text(encoding="utf-8").strip()
    for path in out.glob("book/*.html"):
        page = path.read_text(encoding="utf-8")
        better = lighter(page, options)
        if better != page:
            path.write_text(better, encoding="utf-8")


def setup(app: Sphinx) -> dict:
    """Register the step."""
    app.connect("build-finished", lighten)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
