"""The buttons of a chapter's page: open its notebook in Colab, or download it.

The theme would link the `.md` file and offer the executed notebook, solutions and all; a learner wants
`notebooks/NN_name.ipynb`, in which the exercises are blank.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path, PurePosixPath
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT / "tools") not in sys.path:
    sys.path.insert(0, str(ROOT / "tools"))

from chapter_source import CHAPTER_NAME  # noqa: E402
from repository import repository  # noqa: E402

FOLDER = "notebooks"


def has_notebook(docname: str) -> bool:
    return CHAPTER_NAME.match(PurePosixPath(docname).name) is not None


def configure_repository(app: Sphinx, config: Config) -> None:
    """`config-inited`: the deploy job's repository wins over the file's, in the theme's own links too."""
    links = repository()
    config.html_theme_options["repository_url"] = links.url
    config.html_theme_options["repository_branch"] = links.branch


def add_buttons(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree
) -> None:
    """`html-page-context`: buttons in the place of the theme's."""
    buttons = [
        button
        for button in context.get("header_buttons", [])
        if button.get("label") not in ("download-buttons", "launch-buttons", "fullscreen-button")
    ]
    if has_notebook(pagename):
        name = f"{FOLDER}/{PurePosixPath(pagename).name}.ipynb"
        buttons[:0] = [
            {
                "type": "link",
                "url": repository().colab(name),
                "text": "Colab",
                "tooltip": "Open this chapter as a notebook in Google Colab",
                "icon": "fas fa-play",
                "label": "colab-button",
            },
            {
                "type": "link",
                "url": context["pathto"](name, 1),
                "text": "Notebook",
                "tooltip": "Download this chapter as a notebook",
                "icon": "fas fa-download",
                "label": "download-notebook-button",
            },
        ]
        app.add_js_file("notebook.js", loading_method="defer")
    context["header_buttons"] = buttons


def copy_notebooks(app: Sphinx, exception: Exception | None) -> None:
    """`build-finished`: put the blank notebooks beside the pages, for the download button."""
    if exception is None and app.builder.format == "html":
        target = Path(app.outdir) / FOLDER
        target.mkdir(exist_ok=True)
        for path in sorted((ROOT / FOLDER).glob("*.ipynb")):
            shutil.copyfile(path, target / path.name)


def setup(app: Sphinx) -> dict:
    app.connect("config-inited", configure_repository)
    # The theme fills `header_buttons` at 501.
    app.connect("html-page-context", add_buttons, priority=600)
    app.connect("build-finished", copy_notebooks)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
