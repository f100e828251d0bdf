"""What all widgets share: their JavaScript, put together from small files, and their place on a static page.

A widget is an `anywidget`: it runs in JupyterLab, Colab and VS Code with a kernel. Its logic is in JavaScript,
so that it runs without one as well: on a page of the book its state and the same module are enough.
"""

from __future__ import annotations

import json
import re
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, ClassVar

import anywidget

SCRIPTS = Path(__file__).parent / "js"
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?!default)", re.MULTILINE)


@cache
def script(name: str) -> str:
    """Return the module ``js/NAME.js`` as one text, with all that it imports from the files beside it.

    A notebook hands a widget's JavaScript on as one module, so the files' own imports have to go.
    """
    parts: dict[str, str] = {}

    def add(name: str) -> None:
        text = (SCRIPTS / f"{name}.js").read_text(encoding="utf-8")
        for imported in _IMPORT.findall(text):
            if imported not in parts:
                add(imported)
        parts[name] = _EXPORT.sub("", _IMPORT.sub("", text))

    add(name)
    return "\n".join(parts.values())


class Widget(anywidget.AnyWidget):
    """A widget of the book.

    A subclass names its script, has its state as traits tagged ``sync=True, state=True``, and says with
    :meth:`fallback` what stands in its place where no script runs.
    """

    _script: ClassVar[str]

    def __init_subclass__(cls, **options: Any) -> None:
        if "_script" in cls.__dict__:  # not for the class that traitlets makes for each object
            cls._esm = script(cls._script)
        super().__init_subclass__(**options)

    def fallback(self) -> str:
        """Return HTML without scripts that says what the widget shows."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """Return what the widget shows, as JSON knows it."""
        return self.trait_values(state=True)

    def as_html(self) -> str:
        """Return the widget for a page without a kernel; ``book/_ext/page_widgets.py`` brings it to life."""
        state = escape(json.dumps(self.state(), separators=(",", ":")), quote=True)
        return f'<div class="book-widget" data-widget="{self._script}" data-state="{state}">{self.fallback()}</div>'

    def _repr_mimebundle_(self, **options: Any) -> Any:
        shown = super()._repr_mimebundle_(**options)
        data, metadata = shown if isinstance(shown, tuple) else (shown, {})
        # Both forms: whatever shows the output takes the one that it can make live.
        return {**(data or {}), "text/html": self.as_html(), "text/plain": repr(self)}, metadata
