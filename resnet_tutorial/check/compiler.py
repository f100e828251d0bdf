"""Keeping torch's compiler out of a check.

An optimiser asks the compiler, ``torch._dynamo``, to leave its steps alone, and loads it for that:
three to four seconds, in which a learner waits. A check compiles nothing. So where the compiler is
not loaded yet, something stands in its place that answers what optimisers ask, and makes way for
the real one as soon as anybody asks for more.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

NAME = "torch._dynamo"


class _Aside(ModuleType):
    """Stands in the place of a compiler that nobody uses."""

    __file__ = None  # what looks through the loaded modules for a file goes on at once

    def graph_break(self, *_: Any, **__: Any) -> None:
        """Do nothing: there is no graph."""

    def disable(self, function: Callable, *_: Any, **__: Any) -> Callable:
        """Return the function, which is not compiled anyway."""
        return function

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":  # __path__: somebody imports a part of it
            raise AttributeError(name)
        if sys.modules.get(NAME) is self:
            del sys.modules[NAME]
        return getattr(import_module(NAME), name)


def keep_out() -> None:
    """Let optimisers do without the compiler from now on; for a process that ends with its check."""
    if NAME not in sys.modules:
        sys.modules[NAME] = _Aside(NAME)
