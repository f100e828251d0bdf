"""Leave a model as it was found, whatever its forward pass does and wherever it ends."""

from __future__ import annotations

import random
import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from operator import is_
from typing import Any

import torch
from torch import nn

_CONTAINERS = {dict, OrderedDict, list, set}


@contextmanager
def untouched(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Put the attributes, hooks and modes of modules, and the random state, back on the way out.

    Tensors need no copy: a trace never computes with the model's own, see ``capture``.
    """
    snapshots = [_snapshot(module) for module in modules]
    torch_state = torch.random.get_rng_state()
    gpu_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    python_state = random.getstate()
    numpy = sys.modules.get("numpy")  # a model can only have used it if somebody imported it
    numpy_state = numpy.random.get_state() if numpy else None
    try:
        yield
    finally:
        torch.random.set_rng_state(torch_state)
        if gpu_states is not None:
            torch.cuda.set_rng_state_all(gpu_states)
        random.setstate(python_state)
        if numpy:
            numpy.random.set_state(numpy_state)
        for module, attributes, contents in snapshots:
            _restore(module.__dict__, attributes)
            for container, items in contents:
                _restore(container, items)


def _snapshot(module: nn.Module) -> tuple[nn.Module, dict[str, Any], list[tuple[Any, Any]]]:
    """Return a module's attributes, and what its dictionaries, lists and sets hold."""
    attributes = module.__dict__.copy()
    contents = [(item, item.copy()) for item in attributes.values() if type(item) in _CONTAINERS]
    return module, attributes, contents


def _restore(container: Any, items: Any) -> None:
    if not container and not items:
        return
    if _same(container, items):
        return
    container.clear()
    if isinstance(container, list):
        container.extend(items)
    else:
        container.update(items)


def _same(one: Any, other: Any) -> bool:
    """Compare by identity: two tensors do not compare to one truth value."""
    if len(one) != len(other) or not all(map(is_, one, other)):
        return False
    return not isinstance(one, dict) or all(map(is_, one.values(), other.values()))
