"""Putting back what a learner's code replaced in torch, in Python or in this package.

A check that multiplies, compares and adds with replaced functions would measure the replacements.
So the functions are remembered when this module is first imported, and put back before each check.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import math
import os
import sys
from types import ModuleType
from typing import Any

import torch

_WATCHED = (
    "torch", "torch.nn", "torch.nn.functional", "torch.nn.init", "torch.autograd", "torch.linalg",
    "torch.testing", "torch.utils.data", "torch.nn.modules.batchnorm", "torch.nn.modules.conv",
    "torch.nn.modules.module", "torch._C._nn",
)  # fmt: skip
_MISSING = object()
_TORCH = os.path.dirname(torch.__file__) + os.sep
# What Python, a notebook's kernel and progress bars replace for reasons of their own.
_MAY_CHANGE = {"__doc__", "__annotations__", "_", "input", "print", "open", "__import__", "breakpoint",
               "exit", "quit", "display", "get_ipython",
               "__abstractmethods__", "_abc_impl", "__dict__", "__weakref__",
               "__slotnames__"}  # fmt: skip  (the last: what copy and pickle remember of a class)


def _is_torchs_own(value: Any) -> bool:
    """Return whether torch itself has put this function there, as its compiler does when it is loaded."""
    code = getattr(value, "__code__", None)
    return code is not None and code.co_filename.startswith(_TORCH)


def _spaces() -> list[Any]:
    """Return the modules and classes whose contents are watched."""
    modules = [importlib.import_module(name) for name in _WATCHED]
    classes = {
        value for module in modules[:2] for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, torch.nn.Module | torch.Tensor)
    }  # fmt: skip
    return [builtins, math, *modules, torch.Tensor, *sorted(classes, key=lambda c: c.__qualname__)]


_PRISTINE = [(space, dict(vars(space))) for space in _spaces()]


def _own_modules() -> list[ModuleType]:
    """Return the modules of this package that are loaded by now."""
    package = __name__.partition(".")[0]
    return [module for name, module in sorted(sys.modules.items())
            if name.partition(".")[0] == package and isinstance(module, ModuleType)]  # fmt: skip


_OWN: dict[Any, dict[str, Any]] = {}


def remember() -> None:
    """Remember the contents of the package's modules that were loaded since the last time."""
    for module in _own_modules():
        if module in _OWN:
            continue
        _OWN[module] = {name: value for name, value in vars(module).items()
                        if callable(value) or isinstance(value, ModuleType)}  # fmt: skip
        for value in list(vars(module).values()):
            if isinstance(value, type) and value.__module__ == module.__name__:
                _OWN[value] = dict(vars(value))


def restore() -> list[str]:
    """Put back all that was replaced, and return the names of it, such as ``"torch.allclose"``."""
    replaced = []
    for space, content in [*_PRISTINE, *_OWN.items()]:
        now = vars(space)
        changed = [name for name, value in content.items() if now.get(name, _MISSING) is not value]
        for name in changed:
            if name in _MAY_CHANGE or _is_torchs_own(now.get(name)):
                continue
            with contextlib.suppress(AttributeError, TypeError):
                setattr(space, name, content[name])
                replaced.append(f"{space.__name__}.{name}")
        if isinstance(space, type):  # a method put in front of an inherited one
            for name in now.keys() - content.keys() - _MAY_CHANGE:
                with contextlib.suppress(AttributeError, TypeError):
                    delattr(space, name)
                    replaced.append(f"{space.__name__}.{name}")
    return replaced
