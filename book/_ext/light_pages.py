"""Pages that show their text before their scripts have come.

The theme loads some ten scripts one after another in each page's head, and the browser shows nothing until all of
them have run.
Here they are deferred, which keeps their order; the smallest one, on which the scripts within the page depend, is
written into the page.
Its dozen style sheets become one that holds what the book uses, and the scripts that all pages have become one file.
Code that has the colour of plain text loses the elements that say so, a third of all elements of a chapter.
Photographs within a drawing become files of their own, as small as they can be without losing a pixel, which load
behind the text and not before it.
And whether a page is light or dark is settled before its first line is drawn; the theme would draw it, and then again.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import os
import re
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from sphinx.application import Sphinx
from used_styles import Names, names_in, used

_OPTIONS = re.compile(r'<script src="[^"]*_static/documentation_options\.js[^"]*"></script>')
_BLOCKING = re.compile(r'<script (?![^>]*\b(?:defer|async)\b)([^>]*\bsrc="[^"]*_static/[^"]*"[^>]*)>')
_AHEAD = re.compile(r'[ \t]*<link rel="preload" as="script"[^>]*>\n?')
SHEET = re.compile(r'[ \t]*<link\b(?=[^>]*\brel="stylesheet")[^>]*\bhref="([^"?]*_static/[^"?]*\.css)[^"]*"[^>]*>\n?')
SCRIPT = re.compile(r'[ \t]*<script\b(?![^>]*\bdata-)[^>]*\bsrc="([^"?]*_static/[^"?]*\.js)[^"]*"[^>]*></script>\n?')
_LOOK = 'document.documentElement.dataset.theme = localStorage.getItem("theme") || "auto";'
_SETTLED = """\
document.documentElement.dataset.theme = ((mode) => mode !== "auto" ? mode :
      matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")(document.documentElement.dataset.mode);"""
_PHOTOGRAPH = re.compile(r'(<image\b[^>]*?\b(?:xlink:)?href=)"data:image/png;base64,([^"]*)"')
SMALL = 500  # bytes: less than asking for a file costs
_PLAIN = re.compile(r'<span class="(?:n|nn|p|w)">([^<]*)</span>')  # names, modules, punctuation, spaces
_IMPORT = re.compile(r"""@import\s+["']([^"']+)["']\s*;""")
_ADDRESS = re.compile(r"""url\(\s*(["']?)(?!data:|#|/|https?:)([^"')]+)\1\s*\)""")


def flat(sheet: Path, static: Path) -> str:
    """Return a sheet with those that it imports in place, and with addresses that count from `static`."""
    text = sheet.read_text(encoding="utf-8").replace('@charset "UTF-8";', "")
    moved = os.path.relpath(sheet.parent, static)
    text = _ADDRESS.sub(lambda m: f'url("{os.path.normpath(f"{moved}/{m[2]}")}")', text)
    return _IMPORT.sub(lambda m: flat((sheet.parent / m[1]).resolve(), static), text)


def written(whole: str, static: Path, kind: str) -> str:
    """Write a bundle into `static`, under a name that changes with what is in it; return the name."""
    name = f"all-{hashlib.sha256(whole.encode()).hexdigest()[:10]}.{kind}"
    if not (static / name).exists():
        (static / name).write_text(whole, encoding="utf-8")
    return name


def bundle_sheets(sheets: tuple[Path, ...], static: Path, names: Names) -> str:
    """Write what pages can use of the sheets, one after another, into one file of `static`; return its name."""
    return written(used("\n".join(flat(sheet, static) for sheet in sheets), names), static, "css")


def with_one_sheet(page: str, path: Path, static: Path, bundled: Callable[[tuple[Path, ...]], str]) -> str:
    """Return a page with one style sheet in the place of its first."""
    head, body, rest = page.partition("</head>")
    names = SHEET.findall(head)
    if len(names) < 2:
        return page
    name = bundled(tuple((path.parent / each).resolve() for each in names))
    link = f'    <link rel="stylesheet" href="{os.path.relpath(static, path.parent)}/{name}">\n'
    first = True

    def once(_: re.Match[str]) -> str:
        nonlocal first
        first, keep = False, first
        return link if keep else ""

    return SHEET.sub(once, head) + body + rest


def scripts_of(page: str, path: Path) -> list[Path]:
    """Return the files of a page's scripts in the order in which they run: the deferred ones come last."""
    found = [(" defer" in match[0], (path.parent / match[1]).resolve()) for match in SCRIPT.finditer(page)]
    return [script for _, script in sorted(found, key=lambda each: each[0])]


def bundle_scripts(scripts: tuple[Path, ...], static: Path) -> str:
    """Write the scripts, one after another, into one file of `static`; return its name."""
    # The empty statement keeps a first line "use strict" from ruling all of them.
    return written("\n;".join(["", *(script.read_text(encoding="utf-8") for script in scripts)]), static, "js")


def with_one_script(
    page: str, path: Path, static: Path, everywhere: set[Path], bundled: Callable[[tuple[Path, ...]], str]
) -> str:
    """Return a page with one script in the place of those that are `everywhere`; its own ones stay as they are."""
    common = tuple(script for script in scripts_of(page, path) if script in everywhere)
    if len(common) < 2:
        return page
    page = SCRIPT.sub(lambda match: "" if (path.parent / match[1]).resolve() in common else match[0], page)
    address = f"{os.path.relpath(static, path.parent)}/{bundled(common)}".replace(os.sep, "/")
    return page.replace("</head>", f'  <script defer src="{address}"></script>\n  </head>', 1)


def downloads(page: str) -> str:
    """Return a page whose notebook is downloaded; the theme's button would open its text in a new tab.

    >>> downloads('<a href="../notebooks/01_a.ipynb" target="_blank">')
    '<a href="../notebooks/01_a.ipynb" download>'
    >>> downloads('<a href="https://colab.example/notebooks/01_a.ipynb" target="_blank">')
    '<a href="https://colab.example/notebooks/01_a.ipynb" target="_blank">'
    """
    return re.sub(r'(href="(?!https?:)[^"]*notebooks/\w+\.ipynb") target="_blank"', r"\1 download", page)


def plainer(page: str) -> str:
    """Return a page whose code is marked only where the marking gives it another colour than plain text's.

    >>> plainer('<pre><span class="n">x</span> <span class="o">=</span> <span class="n">y</span></pre>')
    '<pre>x <span class="o">=</span> y</pre>'
    """
    return _PLAIN.sub(r"\1", page)


def with_files_for_photographs(page: str, path: Path, images: Path) -> str:
    """Return a page whose drawings name the photographs in them, having written these into `images`."""

    def file(match: re.Match[str]) -> str:
        pixels = base64.b64decode(match[2])
        if len(pixels) < SMALL:
            return match[0]
        name = f"{hashlib.sha256(pixels).hexdigest()[:16]}.webp"
        images.mkdir(exist_ok=True)
        if not (images / name).exists():
            Image.open(io.BytesIO(pixels)).save(images / name, lossless=True, quality=100, method=6)
        return f'{match[1]}"{os.path.relpath(images, path.parent)}/{name}"'.replace(os.sep, "/")

    return _PHOTOGRAPH.sub(file, page)


def lighter(page: str, options: str) -> str:
    """Return a page whose head keeps no text waiting.

    >>> lighter('<head><script src="_static/a.js"></script></head><body>', "")
    '<head><script defer src="_static/a.js"></script></head><body>'
    """
    head, body, rest = page.partition("</head>")
    head = head.replace(_LOOK, _SETTLED)
    head = _OPTIONS.sub(lambda _: f"<script>{options}</script>", head)
    return _BLOCKING.sub(r"<script defer \1>", _AHEAD.sub("", head)) + body + rest


def lighten(app: Sphinx, exception: Exception | None) -> None:
    """`build-finished`: rewrite all pages but the search, whose scripts call one another while they load."""
    if exception is not None or app.builder.format != "html":
        return
    out = Path(app.outdir).resolve()
    static = out / "_static"
    options = (static / "documentation_options.js").read_text(encoding="utf-8").strip()
    pages = {path: path.read_text(encoding="utf-8") for path in sorted(out.glob("book/*.html"))}
    scripts = [path.read_text(encoding="utf-8", errors="ignore") for path in static.rglob("*.js")]
    names = names_in([*pages.values(), *scripts])
    sheets_in_one = functools.cache(lambda sheets: bundle_sheets(sheets, static, names))
    scripts_in_one = functools.cache(lambda scripts: bundle_scripts(scripts, static))
    search = out / "search.html"  # which has no script of a chapter's own
    everywhere = set(scripts_of(search.read_text(encoding="utf-8"), search))
    for path in out.glob("*.html"):  # the search and the index
        page = path.read_text(encoding="utf-8")
        if _LOOK in page:
            path.write_text(page.replace(_LOOK, _SETTLED), encoding="utf-8")
    for path, page in pages.items():
        better = with_one_sheet(plainer(lighter(downloads(page), options)), path, static, sheets_in_one)
        better = with_one_script(better, path, static, everywhere, scripts_in_one)
        better = with_files_for_photographs(better, path, out / "_images")
        if better != page:
            path.write_text(better, encoding="utf-8")
        pages[path] = better
    for bundle in static.glob("all-*"):
        if not any(bundle.name in page for page in pages.values()):
            bundle.unlink()  # of an earlier build


def setup(app: Sphinx) -> dict:
    """Register the step."""
    app.connect("build-finished", lighten, priority=900)  # after the theme has written the colours of code
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
