"""What a term means, where it is used: each page carries the definitions of the glossary's terms it links to.

`previews.js` shows one beside its link while the link is pointed at or focused. The definitions are in the page, so
this works without a server and without a network; without scripts the link leads to the glossary as ever.
"""

from __future__ import annotations

import json
import re
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

GLOSSARY = "book/glossary"
_LINK = re.compile(r'href="(?:[^"#]*/)?glossary\.html#(term-[^"]+)"')


def definitions(app: Sphinx) -> dict[str, str]:
    """Return the text of each definition by the anchor of its term; empty where the book has no glossary."""
    found: dict[str, str] = {}
    if GLOSSARY not in app.env.all_docs:
        return found
    for glossary in app.env.get_doctree(GLOSSARY).findall(addnodes.glossary):
        for item in glossary.findall(nodes.definition_list_item):
            meaning = " ".join(item[-1].astext().split())
            for term in item.findall(nodes.term):
                found |= dict.fromkeys(term["ids"], meaning)
    return found


def add_previews(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree) -> None:
    """`html-page-context`: put the definitions that a page links to at its end."""
    used = sorted(set(_LINK.findall(context.get("body", ""))))
    if not used or pagename == GLOSSARY:
        return
    if not hasattr(app, "_definitions"):
        app._definitions = definitions(app)
    known = {anchor: app._definitions[anchor] for anchor in used if anchor in app._definitions}
    text = json.dumps(known, ensure_ascii=False).replace("</", "<\\/")
    context["body"] += f'<script type="application/json" id="term-previews">{text}</script>'
    app.add_js_file("previews.js", loading_method="defer")


def setup(app: Sphinx) -> dict:
    """Register the step."""
    app.connect("html-page-context", add_previews)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
