#!/usr/bin/env python3
"""Zip the built book, to be unpacked anywhere and read from a folder: without a server, without a network.

    make offline                    # builds the book first
    python tools/make_offline.py    # zips _build/html as it is

A browser that opens a page from a folder runs no modules, fetches no files and loads no font ahead of its style sheet.
The book's scripts are classic ones (see book/_ext/page_widgets.py); only the search fetches: the pages that it has
found, to quote from them. Here their text lies beside it, in a script.
"""

from __future__ import annotations

import json
import re
import sys
import time
import tomllib
import zipfile
from pathlib import Path

from bs4 import BeautifulSoup
from repository import ROOT, repository

HTML = ROOT / "_build" / "html"
# Of no use to a reader: what other books would link by, templates, the theme's translations, maps of minified scripts,
# fonts for browsers that know no woff2.
LEFT_OUT = re.compile(r"(^|/)(\.|objects\.inv$|_static/locales/|_static/[\w-]*webpack-macros\.html$)|\.(map|ttf)$")
FONT_AHEAD = re.compile(r"""\s*<link rel="preload" as="font"[^>]*>""")
# What a page would load that a folder cannot give.
FOREIGN = re.compile(
    r"""<script[^>]*type=["']module|<(?:script|img|iframe|source|video)\b[^>]*\bsrc=["']?(?:https?:)?//"""
    r"""|<link\b(?=[^>]*rel=["'](?:stylesheet|icon|preload))[^>]*href=["'](?:https?:)?//""",
    re.IGNORECASE,
)
SEARCH_TOOLS = '<script src="_static/searchtools.js'
SEARCH_TEXTS = "_static/search_texts.js"
# `fetch` as the search calls it, answered from the texts.
FETCH = """\
// The text of each page, for the search to quote from: a page opened from a folder may not fetch another.
(() => {{
  const pages = {pages};
  globalThis.fetch = async (address) => ({{ text: async () => pages[address.replace(/^[.]\\//, "")] ?? "" }});
}})();
"""


class NotReadable(Exception):
    """Why the built book cannot be read from a folder, in a sentence."""


def version() -> str:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def edition(html: Path) -> dict[str, bytes]:
    """Return the files of the offline edition by their paths in it.

    Args:
        html: the folder of the built book.

    Raises:
        NotReadable: the book is not built, or a page would load something that a folder cannot give.
    """
    if not (html / "index.html").is_file():
        raise NotReadable(f"There is no book in {html}: run 'make book' first, or 'make offline', which does both.")
    paths = {path.relative_to(html).as_posix(): path for path in sorted(html.rglob("*")) if path.is_file()}
    files = {name: path.read_bytes() for name, path in paths.items() if not LEFT_OUT.search(name)}
    for name in (name for name in files if name.endswith(".html")):
        page = FONT_AHEAD.sub("", files[name].decode("utf-8"))
        if found := FOREIGN.search(page):
            raise NotReadable(f"{name} has '{found[0]}', which a page opened from a folder cannot load.")
        files[name] = page.encode()
    files |= searchable(files)
    files["README.txt"] = readme().encode()
    for name in ("LICENSE", "LICENSE-TEXT.md"):
        files[f"{name.removesuffix('.md')}.txt"] = (ROOT / name).read_bytes()
    return files


def searchable(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return the search page with a script of all pages' texts, and that script."""
    page = files["search.html"].decode("utf-8")
    if page.count(SEARCH_TOOLS) != 1:
        raise NotReadable("search.html does not load searchtools.js as it used to: the search would quote nothing.")
    index = re.search(r'"?docnames"?:\s*(\[[^\]]*\])', files["searchindex.js"].decode("utf-8"))
    if index is None:
        raise NotReadable("searchindex.js does not name its pages as it used to: the search would quote nothing.")
    pages = {f"{name}.html": quotable(files[f"{name}.html"].decode("utf-8")) for name in json.loads(index[1])}
    texts = FETCH.format(pages=json.dumps(pages, ensure_ascii=False, separators=(",", ":")))
    page = page.replace(SEARCH_TOOLS, f'<script src="{SEARCH_TEXTS}"></script>\n    {SEARCH_TOOLS}')
    return {"search.html": page.encode(), SEARCH_TEXTS: texts.encode()}


def quotable(html: str) -> str:
    """Return what the search quotes from a page: its sections, by which a result is found, and their words."""
    article = BeautifulSoup(html, "html.parser").select_one("article.bd-article")
    if article is None:
        return ""
    for element in article.select("svg, script, style, img, .headerlink, .book-widget, .cell_output, .exercise-meta"):
        element.decompose()
    for element in article.find_all(True):
        element.attrs = {"id": element["id"]} if element.get("id") else {}
        if not element.attrs:
            element.insert_after(" ") if element.name in ("p", "li", "td", "dt", "dd", "pre") else None
            element.unwrap()
    text = " ".join(article.decode_contents().split())
    return f'<div role="main">{text}</div>'


def readme() -> str:
    links = repository()
    return f"""\
Residual Networks, Step by Step, {version()}: the offline edition

Open index.html in a browser. Everything works without a network: pages, figures, widgets and search.
Without JavaScript each widget is a table, and the search is missing.

notebooks/ has the chapters' notebooks, exercises blank. They run in Jupyter, JupyterLab or VS Code, where the package
is installed:

    pip install "resnet-tutorial @ git+{links.url}"

Only that and the buttons "Colab" need a network, as does whatever leads out of the book.

The book online: {links.site()}
Its sources:     {links.url}

The code is under the MIT licence (LICENSE.txt), the text and the figures are under CC BY 4.0 (LICENSE-TEXT.txt).
"""


def write(files: dict[str, bytes], path: Path, when: float) -> None:
    """Write a zip with all files in one folder, named as the zip is; whole, or not at all."""
    part = path.with_name(f"{path.name}.part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(f"{path.stem}/{name}", time.localtime(when)[:6])
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, files[name])
    part.replace(path)


def main() -> int:
    try:
        files = edition(HTML)
    except NotReadable as problem:
        print(problem, file=sys.stderr)
        return 1
    path = HTML.parent / f"resnet-tutorial-offline-{version()}.zip"
    for old in path.parent.glob("resnet-tutorial-offline-*.zip"):
        old.unlink()  # of another version
    write(files, path, (HTML / "index.html").stat().st_mtime)
    unpacked = sum(map(len, files.values()))
    print(f"The offline edition is {path} ({path.stat().st_size / 1e6:.1f} MB, {unpacked / 1e6:.1f} MB unpacked).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
