"""One colour per kind of layer: names of layers in code carry the colour that they have in figures and widgets.

In a block of code and in code within a sentence, `conv3x3`, `nn.BatchNorm2d`, `ReLU` ... get a class; the colours are
those of `resnet_tutorial/figures/palette.py`, written into a style sheet when the book is built.
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

KINDS = {
    "conv1x1": ("conv1x1", "projection"),
    "conv3x3": ("conv3x3",),
    "conv": ("Conv2d",),
    "bn": ("BatchNorm2d",),
    "relu": ("ReLU", "relu", "relu_"),
    "pool": ("MaxPool2d", "AvgPool2d", "AdaptiveAvgPool2d", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d"),
    "linear": ("Linear",),
}
KIND_OF = {name: kind for kind, names in KINDS.items() for name in names}
_NAMES = "|".join(sorted(KIND_OF, key=len, reverse=True))
_IN_BLOCK = re.compile(rf'<span class="(n[a-z]?)">({_NAMES})</span>')
_LITERAL = r'(<code class="docutils literal notranslate"><span class="pre")>'
_IN_TEXT = re.compile(rf"{_LITERAL}((?:nn\.|F\.)?({_NAMES}))</span>")


def mark(body: str) -> str:
    """Return a page's HTML with the names of layers marked.

    >>> mark('<span class="n">conv3x3</span>')
    '<span class="n layer-conv3x3">conv3x3</span>'
    """
    body = _IN_BLOCK.sub(lambda m: f'<span class="{m[1]} layer-{KIND_OF[m[2]]}">{m[2]}</span>', body)
    return _IN_TEXT.sub(lambda m: f'{m[1][:-1]} layer-{KIND_OF[m[3]]}">{m[2]}</span>', body)


def style() -> str:
    """Return the rules: a line under the name, in the colour of the layer's boxes."""
    from resnet_tutorial.figures.palette import FILL

    # A line is thinner than a box: on white it has to be darker to be seen, on black quieter not to shine.
    rules = [
        f'html[data-theme="{look}"] .layer-{kind} {{ text-decoration-color: '
        f"color-mix(in srgb, {FILL[kind]} {share}%, {ground}); }}"
        for look, share, ground in (("light", 80, "#000"), ("dark", 65, "#15191e")) for kind in KINDS
    ]
    every = ", ".join(f".layer-{kind}" for kind in KINDS)
    line = "text-decoration: underline 0.16em; text-decoration-skip-ink: none; text-underline-offset: 0.22em;"
    return "\n".join([f":is({every}) {{ {line} }}", *rules, ""])


def mark_page(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree) -> None:
    """`html-page-context`: mark the names of a page."""
    if "body" in context:
        context["body"] = mark(context["body"])


def write_style(app: Sphinx) -> None:
    """`builder-inited`: put the rules where the pages find them."""
    folder = Path(app.outdir) / "_static"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "layers.css").write_text(style(), encoding="utf-8")


def setup(app: Sphinx) -> dict:
    """Register both steps."""
    app.connect("builder-inited", write_style)
    app.connect("html-page-context", mark_page)
    app.add_css_file("layers.css")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
