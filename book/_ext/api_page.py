"""The page of the package's public names, book/api.md: what autodoc needs to read this package's docstrings.

The docstrings are Google style, name code in single or double backticks, and stand beside the code; the page only says
in which order. An object is documented under the name by which a reader imports it, wherever its code stands.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.util import inspect
from sphinx.util.inspect import stringify_signature
from sphinx.util.nodes import make_refnode
from traitlets import HasTraits, TraitType

PAGE = "book/api"
PACKAGE = "resnet_tutorial."
_COLON = "\N{RATIO}"  # in no docstring
SETTINGS = {
    "autodoc_class_signature": "mixed",
    "autodoc_member_order": "bysource",
    "autodoc_typehints": "signature",
    "autodoc_typehints_format": "short",
    "autodoc_preserve_defaults": True,
    "default_role": "code",  # `name` in a docstring is code; book pages are Markdown and have no default role
    "napoleon_numpy_docstring": False,
    # As a list under the class; the types stand in its signature. Napoleon's own way reads "a, b: text" as a type a.
    "napoleon_custom_sections": [("Attributes", "params_style")],
    "napoleon_use_rtype": False,  # the type stands in the signature
    "toc_object_entries_show_parents": "hide",
}
# What stays without a link, as (kind of reference, target):
UNLINKED = [
    # Other libraries' types. Their pages are elsewhere, and the book is built without asking for them.
    ("py:.*", r"(torch|numpy|matplotlib|pandas|pathlib|collections)(\..+)?"),
    ("py:exc", "TraitError"),  # of traitlets
]


def configure(app: Sphinx, config: Config) -> None:
    """`config-inited`: settings that hold for this page alone, as no other has a docstring."""
    for name, value in SETTINGS.items():
        setattr(config, name, value)
    config.nitpick_ignore_regex = [*config.nitpick_ignore_regex, *UNLINKED]


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.Element
) -> nodes.Element | None:
    """`missing-reference`: a name as its own module knows it, `Trace`, leads to where a reader imports it from.

    Only where one object of the package has this name; else the reference stays open, which stops the build.
    """
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or "." in target and not target.startswith(PACKAGE):
        return None
    last = target.rpartition(".")[2]
    found = {
        (entry.docname, entry.node_id): name
        for name, entry in env.get_domain("py").objects.items()  # type: ignore[attr-defined]
        if not entry.aliased and name.startswith(PACKAGE) and name.rpartition(".")[2] == last
    }
    if len(found) != 1:
        return None
    (((docname, anchor), name),) = found.items()
    return make_refnode(app.builder, node["refdoc"], docname, anchor, contnode, name)


def keep_colons(app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    """`autodoc-process-docstring`, before napoleon: it would take what precedes a property's first colon for a type."""
    if what in ("property", "attribute") and lines:
        lines[0] = lines[0].replace(":", _COLON)


def put_colons_back(app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    """`autodoc-process-docstring`, after napoleon."""
    lines[:] = [line.replace(_COLON, ":") for line in lines]


def sign(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str, str | None] | None:
    """`autodoc-process-signature`: what a dataclass makes anew is `...`, and a widget takes its traits.

    Sphinx reads a signature as Python, which `<factory>` is not; traitlets hides the traits behind `*args, **kwargs`.
    """
    if what != "class" or not issubclass(obj, HasTraits):
        return (signature.replace("<factory>", "..."), returns) if signature else None
    if "__init__" in vars(obj):
        return stringify_signature(inspect.signature(obj.__init__, bound_method=True), show_return_annotation=False,
                                   unqualified_typehints=True), None  # fmt: skip
    traits = {key: value for key, value in vars(obj).items() if isinstance(value, TraitType)}
    return f"(*, {', '.join(f'{key}={value.default_value!r}' for key, value in traits.items())})", None


def add_style(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object) -> None:
    """`html-page-context`: the style sheet of this page, which no other needs."""
    if pagename == PAGE:
        app.add_css_file("api.css")


def setup(app: Sphinx) -> dict[str, Any]:
    app.setup_extension("sphinx.ext.autodoc")
    app.setup_extension("sphinx.ext.napoleon")
    app.connect("config-inited", configure)
    app.connect("autodoc-process-docstring", keep_colons, priority=400)
    app.connect("autodoc-process-docstring", put_colons_back, priority=600)
    app.connect("autodoc-process-signature", sign)
    app.connect("missing-reference", resolve)
    app.connect("html-page-context", add_style)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
