"""Formulas as MathML, written at build time: nothing to load, nothing to run, and screen readers can read them."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from xml.etree.ElementTree import fromstring

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

# Delimiters that the converter leaves as commands after `\big` and its sisters.
DELIMITERS = {
    r"\lceil": "⌈", r"\rceil": "⌉", r"\lfloor": "⌊", r"\rfloor": "⌋", r"\langle": "⟨", r"\rangle": "⟩",
    r"\lvert": "|", r"\rvert": "|", r"\lVert": "‖", r"\rVert": "‖",
}  # fmt: skip

# A function's name and its argument, which the converter sets without a gap.
_FUNCTION = re.compile(r"(<mi>(?:log|cos|sin|exp)</mi>)(?=<(?:mi|mn|msub|msup)\b)")

LOGGER = logging.getLogger(__name__)


def to_mathml(latex: str, display: bool, node: nodes.Node) -> str:
    """MathML for a formula; a warning where a command is not understood."""
    source = re.sub(r"(?<!\\)%.*$", "", latex, flags=re.M).strip()
    if display and r"\\" in source and r"\begin" not in source:
        source = rf"\begin{{aligned}}{source}\end{{aligned}}"
    try:
        markup = convert(source, display="block" if display else "inline")
        markup = re.sub(r">(\\[A-Za-z]+)<", lambda m: f">{DELIMITERS.get(m[1], m[1])}<", markup)
        markup = _FUNCTION.sub(r'\1<mspace width="0.167em"/>', markup)
        fromstring(markup)
    except Exception as error:  # the converter raises a class of its own per fault
        LOGGER.warning("formula %r: %s %s", latex, type(error).__name__, error, location=node)
        return f"<code>{escape(latex)}</code>"
    if unknown := re.findall(r"\\[A-Za-z]+", re.sub(r"<[^>]*>", "", markup)):
        LOGGER.warning("formula %r: no MathML for %s", latex, ", ".join(unknown), location=node)
    return markup


def visit_inline(translator, node: nodes.math) -> None:
    translator.body.append(
        f'<span class="math notranslate nohighlight">{to_mathml(node.astext(), False, node)}</span>'
    )
    raise nodes.SkipNode


def visit_block(translator, node: nodes.math_block) -> None:
    attributes = {"class": "math notranslate nohighlight", "tabindex": "0", "role": "group"}
    translator.body.append(
        translator.starttag(node, "div", **{"aria-label": "Formula"}, **attributes)
    )
    translator.body.append(to_mathml(node.astext(), True, node))
    if number := node.get("place"):
        translator.body.append(
            f'<a class="eqno" href="#{node["ids"][0]}" aria-label="Equation {number}, link to it">({number})</a>'
        )
    translator.body.append("</div>\n")
    raise nodes.SkipNode


def number_formulas(app: Sphinx, doctree: nodes.document) -> None:
    """`doctree-read`: number a chapter's displayed formulas as it numbers its exercises, 4.1, 4.2 ..."""
    chapter = re.match(r"(\d\d)_", Path(app.env.docname).name)
    if chapter is None:
        return
    for count, node in enumerate(doctree.findall(nodes.math_block), 1):
        node["place"] = f"{int(chapter[1])}.{count}"
        if node.get("label"):  # so that a reference in the text says the same number
            app.env.get_domain("math").equations[node["label"]] = (app.env.docname, node["place"])
        node["ids"].insert(0, f"equation-{int(chapter[1])}-{count}")


def setup(app: Sphinx) -> dict:
    app.connect("doctree-read", number_formulas)
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
