"""A dozen icons in a style sheet of ours in place of the theme's Font Awesome, which weighs 800 kB on every page.

The theme's layout names the files of Font Awesome in each page. They are taken out when the pages are written; the
elements stay, and `icons.css` draws them.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

ICONS = {
    "bars": '<path d="M3 6h18M3 12h18M3 18h18"/>',
    "list": '<path d="M9 6h12M9 12h12M9 18h12M4 6h.01M4 12h.01M4 18h.01"/>',
    "magnifying-glass": '<circle cx="10.5" cy="10.5" r="6.5"/><path d="m15.5 15.5 6 6"/>',
    "github": '<path d="m8 6-6 6 6 6M16 6l6 6-6 6M13.5 4l-3 16"/>',  # source code
    "sun": '<circle cx="12" cy="12" r="4.2"/><path d="M12 1.5v3M12 19.5v3M1.5 12h3M19.5 12h3M4.6 4.6l2.1 2.1M17.3 '
           '17.3l2.1 2.1M4.6 19.4l2.1-2.1M17.3 6.7l2.1-2.1"/>',
    "moon": '<path d="M20.5 14.2A8.7 8.7 0 1 1 9.8 3.5a7 7 0 0 0 10.7 10.7z"/>',
    "circle-half-stroke": '<circle cx="12" cy="12" r="9"/><path d="M12 3a9 9 0 0 1 0 18z" fill="#000"/>',
    "arrow-up": '<path d="M12 21V3M4.5 10.5 12 3l7.5 7.5"/>',
    "angle-left": '<path d="m15 4-8 8 8 8"/>',
    "angle-right": '<path d="m9 4 8 8-8 8"/>',
    "play": '<path d="M6 3.5v17L20 12z" fill="#000"/>',
    "download": '<path d="M12 3v12M5.5 9.5 12 16l6.5-6.5M4 21h16"/>',
    "xmark": '<path d="m5 5 14 14M19 5 5 19"/>',
}
WARNING = '<path d="M12 3 1.8 21h20.4z"/><path d="M12 10v5M12 18h.01"/>'
NOTE = '<circle cx="12" cy="12" r="9.5"/><path d="M12 11v6M12 7h.01"/>'  # before the title of a box

_LINES = re.compile(r"[ \t]*<(?:link|script)\b[^>]*fontawesome[^>]*>(?:</script>)?\n?")
LOGGER = logging.getLogger(__name__)


def as_mask(drawing: str) -> str:
    """Return a drawing as the value of CSS' `mask`: where it is opaque, the element's colour shows."""
    svg = (f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24' fill='none' stroke='#000' stroke-width='2.4' "
           f"stroke-linecap='round' stroke-linejoin='round'>{drawing}</svg>").replace('"', "'")  # fmt: skip
    quoted = svg.replace("%", "%25").replace("#", "%23").replace("<", "%3C").replace(">", "%3E")
    return f'url("data:image/svg+xml,{quoted}") center / contain no-repeat'


def style() -> str:
    """Return the style sheet."""
    names = ", ".join(f".fa-{name}" for name in ICONS)
    rules = [
        f":is({names}) {{ background: currentcolor; display: inline-block; flex: none; height: 1em; width: 1em; "
        "vertical-align: -0.125em; }",
        ".fa-lg { font-size: 1em; }",
        *(f".fa-{name} {{ mask: {as_mask(drawing)}; }}" for name, drawing in ICONS.items()),
        ".search-button-field > i { display: block; }",
        "div.admonition > .admonition-title::after { background: currentcolor; content: \"\" !important; "
        f"font: inherit; height: 1.1em; mask: {as_mask(NOTE)}; top: 0.65em; width: 1.1em; }}",
        f"div.admonition:is(.warning, .important, .attention, .caution, .danger, .error) > .admonition-title::after "
        f"{{ mask: {as_mask(WARNING)}; }}",
        # Beside the field, and not on what is typed there.
        ".bd-search .fa-solid.fa-magnifying-glass { position: static; }",
        "div#searchbox p.highlight-link a::before { content: none; }",
        ":is(.nav-external, a.reference.external)::after, a.reference.download::before { content: none !important; }",
    ]
    return "\n".join([*rules, ""])


def write_style(app: Sphinx) -> None:
    """`builder-inited`: put the style sheet where the pages find it."""
    folder = Path(app.outdir) / "_static"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "icons.css").write_text(style(), encoding="utf-8")


def lighten(app: Sphinx, exception: Exception | None) -> None:
    """`build-finished`: take Font Awesome out of all pages, and its files out of the book."""
    if exception is not None or app.builder.format != "html":
        return
    out = Path(app.outdir)
    for page in out.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        lighter = _LINES.sub("", text)
        if "fontawesome" in lighter and "_static" not in page.parts:
            LOGGER.warning("%s still loads Font Awesome: has the theme changed how?", page.relative_to(out))
        if lighter != text:
            page.write_text(lighter, encoding="utf-8")
    shutil.rmtree(out / "_static" / "vendor" / "fontawesome", ignore_errors=True)


def setup(app: Sphinx) -> dict:
    """Register the steps."""
    app.connect("builder-inited", write_style)
    app.connect("build-finished", lighten)
    app.add_css_file("icons.css")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
