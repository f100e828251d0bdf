"""Chapters as pages: draws in the package's source, and lays the exercises out.

A chapter names its finished code (`# source: module:Name`, `:exercise: id`); the code itself stands in the package.
What is read here is `tools/chapter_source.py`, the same reader that makes the notebooks.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from html import escape
from pathlib import Path

from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ExtensionError
from sphinx.util import nodes as sphinx_nodes
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "tools"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import chapter_source  # noqa: E402

KEPT_CACHES = 3


def expand_chapter(app: Sphinx, docname: str, source: list[str]) -> None:
    """`source-read`: replace what the chapter names by what it means."""
    try:
        source[0] = chapter_source.page_source(Path(app.env.doc2path(docname)), source[0])
    except chapter_source.ChapterError as error:
        raise ExtensionError(str(error)) from None


class ExerciseDirective(SphinxDirective):
    """The line under an exercise's heading: what it costs and what it is worth."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        entries = chapter_source.registry()
        if name not in entries:
            raise self.error(f"the registry has no exercise '{name}'")
        html = f'<p class="exercise-meta">{metadata_html(entries[name])}</p>'
        line = nodes.raw("", html, format="html")
        line["exercise"] = name
        return [line]


def metadata_html(entry) -> str:
    """The metadata line with the dots' meaning in words for those who hear the page."""

    def rating(label: str, value: int) -> str:
        return (
            f'{label} <span class="exercise-dots" aria-hidden="true">{chapter_source.dots(value)}</span>'
            f'<span class="visually-hidden">{value} of 5</span>'
        )

    plain = chapter_source.metadata_line(entry).split(" · ")
    parts = [rating("Difficulty", entry.difficulty), rating("Importance", entry.importance)]
    return "".join(f"<span>{part}</span>" for part in parts + [escape(text) for text in plain[2:]])


WHOSE = (
    "In the chapter’s notebook (Colab or Notebook, at the top of the page) this checks your answer; "
    "on this page it was given the book’s solution."
)


def frame_exercises(app: Sphinx, doctree: nodes.document) -> None:
    """`doctree-read`: mark the sections that are exercises, so that the style can draw a card.

    The card ends with the cell of the check: what the chapter goes on with stands behind the section.
    """
    for line in list(doctree.findall(nodes.raw)):
        section = line.parent
        if not (line.get("exercise") and isinstance(section, nodes.section)):
            continue
        section["classes"].append("exercise")
        call = f"check.{line['exercise']}("
        ends = [i for i, child in enumerate(section.children) if _is_cell_with(child, call)]
        if ends:
            whose = nodes.paragraph("", WHOSE, classes=["exercise-whose"])
            section.insert(ends[0], whose)
            ends[0] += 1
        after = section.children[ends[0] + 1 :] if ends else []
        for child in after:
            section.remove(child)
        place = section.parent.index(section) + 1
        section.parent[place:place] = after


def _is_cell_with(node: nodes.Node, text: str) -> bool:
    """Whether a node is a code cell whose source has this text in it."""
    if not isinstance(node, nodes.container):
        return False
    return any(text in code.astext() for code in node.findall(nodes.literal_block))


def open_fold(translator, node: HideCodeCellNode) -> None:
    """Folded code as a plain `<details>`; myst-nb's own gives every summary the same hidden label."""
    show, hide = escape(node["prompt_show"]), escape(node["prompt_hide"])
    summary = (
        f'<span class="closed">{show}</span><span class="opened">{hide}</span>'
        if show != hide
        else show
    )
    translator.body.append(
        f'<details class="folded {" ".join(node["classes"])}">\n<summary>{summary}</summary>\n'
    )


def close_fold(translator, node: HideCodeCellNode) -> None:
    translator.body.append("</details>\n")


# --- when to run the chapters again ---


def sources_hash() -> str:
    """A hash over all that a chapter's outputs depend on, the chapter itself excepted.

    jupyter-cache compares only the cells; it would go on showing the outputs of a package that has changed since.
    """
    digest = hashlib.sha256()
    package = (
        path for path in (ROOT / "resnet_tutorial").rglob("*") if "__pycache__" not in path.parts
    )
    results = (ROOT / "results").rglob("*")
    for path in sorted([*package, *results, ROOT / "requirements.txt"]):
        if path.is_file():
            digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    digest.update(sys.version.encode())
    digest.update(f"CIFAR-10: {has_cifar10()}".encode())
    return digest.hexdigest()[:16]


def extensions_hash() -> str:
    """A hash over these extensions: Sphinx writes all pages anew when it differs from the last build's."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def has_cifar10() -> bool:
    """Whether the pages will show real images: they do as soon as the file is there."""
    from resnet_tutorial.data.where import data_directory

    return (data_directory() / "cifar10.npz").is_file()


def choose_cache(app: Sphinx, config: Config) -> None:
    """`config-inited`: one cache of outputs per state of the package.

    The path is a setting that all pages depend on, so Sphinx reads them again as soon as it changes.
    """
    if not config.nb_execution_cache_path:
        folder = Path(app.outdir).parent / ".jupyter_cache"
        config.nb_execution_cache_path = str(folder / sources_hash())


def prepare_cache(app: Sphinx) -> None:
    """`builder-inited`: make the cache before several readers do, and drop the oldest ones."""
    from jupyter_cache import get_cache

    folder = Path(app.env.mystnb_config.execution_cache_path)
    folder.mkdir(parents=True, exist_ok=True)
    folder.touch()
    get_cache(folder).db  # noqa: B018 - the property creates the database
    if re.fullmatch(r"[0-9a-f]{16}", folder.name):
        others = (path for path in folder.parent.iterdir() if path.is_dir())
        for path in sorted(others, key=lambda path: path.stat().st_mtime)[:-KEPT_CACHES]:
            shutil.rmtree(path, ignore_errors=True)


def setup(app: Sphinx) -> dict:
    # Jupyter Book always sets this; the extension that reads it is left out, as it speaks to other hosts.
    app.add_config_value("comments_config", {}, "")
    app.add_config_value("extensions_hash", extensions_hash(), "html")
    # It numbers what has been read and takes no part in the reading, but does not say so.
    if "sphinx_multitoc_numbering" in app.extensions:
        app.extensions["sphinx_multitoc_numbering"].parallel_read_safe = True
    # The theme uses ids as CSS selectors, in which a dot ("v1.5") means something else.
    sphinx_nodes._non_id_chars = re.compile("[^a-zA-Z0-9_]+")
    app.connect("config-inited", choose_cache)
    app.connect(
        "builder-inited", prepare_cache, priority=600
    )  # after myst-nb has read its settings
    app.connect("source-read", expand_chapter)
    app.add_directive("exercise", ExerciseDirective)
    app.add_node(HideCodeCellNode, html=(open_fold, close_fold), override=True)
    app.connect("doctree-read", frame_exercises)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
