"""Leave a model as it was found, whatever its forward pass does and wherever it ends."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def untouched(model: nn.Module | None) -> Iterator[None]:
    """Put attributes, hooks, modes and random state back on the way out.

    Tensors need no copy: a trace never computes with the model's own, see ``capture``.
    """
    modules = [] if model is None else [_Snapshot(module) for module in model.modules()]
    torch_state = torch.random.get_rng_state()
    python_state = random.getstate()
    numpy = sys.modules.get("numpy")  # a model can only have used it if somebody imported it
    numpy_state = numpy.random.get_state() if numpy else None
    try:
        yield
    finally:
        torch.random.set_rng_state(torch_state)
        random.setstate(python_state)
        if numpy:
            numpy.random.set_state(numpy_state)
        for snapshot in modules:
            snapshot.restore()


class _Snapshot:
    """The attributes of one module, and the contents of its dictionaries, lists and sets."""

    __slots__ = ("_attributes", "_contents", "_module")

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._attributes = dict(module.__dict__)
        self._contents = [
            (value, _items(value)) for value in self._attributes.values() if isinstance(value, (dict, list, set))
        ]

    def restore(self) -> None:
        current = self._module.__dict__
        if not _same(_items(current), _items(self._attributes)):
            current.clear()
            current.update(self._attributes)
        for container, items in self._contents:
            if _same(_items(container), items):
                continue
            container.clear()
            if isinstance(container, list):
                container.extend(items)
            elif isinstance(container, set):
                container.update(items)
            else:
                container.update(zip(items[::2], items[1::2], strict=True))


def _items(container: dict | list | set) -> list[Any]:
    """Return the contents as one list; a dictionary's as key, value, key, value."""
    if not container:
        return []
    if isinstance(container, dict):
        return [part for pair in container.items() for part in pair]
    return list(container)


def _same(one: list[Any], other: list[Any]) -> bool:
    """Compare by identity: tensors do not compare to a truth value."""
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))
