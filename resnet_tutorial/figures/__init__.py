"""The book's figures: each a function that returns a :class:`~resnet_tutorial.figures.core.Drawing`.

Every public function of the modules beside this file can be called as ``figures.NAME(...)``;
the module is loaded when it is first used.
"""

from __future__ import annotations

import ast
import pkgutil
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from .core import Drawing, new_figure, styled
from .palette import FILL, INK, LINE, LINES

__all__ = ["Drawing", "FILL", "INK", "LINE", "LINES", "new_figure", "styled"]


@cache
def _homes() -> dict[str, str]:
    """Return public function name -> module, read from the sources without importing them."""
    folder = Path(__file__).parent
    homes = {}
    for module in pkgutil.iter_modules([str(folder)]):
        tree = ast.parse((folder / f"{module.name}.py").read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name] = module.name
    return homes


def __getattr__(name: str) -> Any:
    """Return the figure called ``name``."""
    home = None if name.startswith("_") else _homes().get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no figure {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*__all__, *_homes()})
