"""Widgets on pages without a kernel: their scripts, and the host that brings them to life.

A widget's output holds its state and a table that stands in its place without scripts. The scripts are classic ones,
not modules, so that they run on a page opened from a folder, too.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

FOLDER = "widgets"
_NAME = re.compile(r'<div class="book-widget" data-widget="(\w+)"')
_HOST = "(() => {{\n{host}\nwake(globalThis.bookWidgets ?? {{}});\n}})();\n"
_WIDGET = "(globalThis.bookWidgets ??= {{}}).{name} = (() => {{\n{script}\n}})();\n"
_LAST = re.compile(r"^export default (\{[^}]*\});", re.MULTILINE)


def scripts() -> dict[str, str]:
    """Return the text of each script by its file's name."""
    from resnet_tutorial.widgets.base import Widget, script

    texts = {"host.js": _HOST.format(host=script("host"))}
    for widget in Widget.__subclasses__():
        name = widget._script
        texts[f"{name}.js"] = _WIDGET.format(name=name, script=_LAST.sub(r"return \1;", script(name)))
    return texts


def write_scripts(app: Sphinx) -> None:
    """`builder-inited`: put the scripts where the pages find them."""
    import resnet_tutorial.widgets  # noqa: F401  (so that all widgets are known)

    folder = Path(app.outdir) / "_static" / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in scripts().items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def load_scripts(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree) -> None:
    """`html-page-context`: load on a page the scripts of its own widgets, and of no others."""
    names = sorted(set(_NAME.findall(context.get("body", ""))))
    for name in [*names, "host"] if names else []:
        app.add_js_file(f"{FOLDER}/{name}.js", loading_method="defer")


def setup(app: Sphinx) -> dict:
    app.connect("builder-inited", write_scripts)
    app.connect("html-page-context", load_scripts)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
