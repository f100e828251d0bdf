"""What the recorder writes on a tensor, and how it finds tensors among arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor


class NeedsData(BaseException):
    """The forward pass asks for numbers, which tensors without memory do not have.

    Not an ``Exception``, so that an ``except Exception`` in a learner's forward lets it through.
    """


class Mark:
    """Which value a tensor holds, and whether it is an outdated name for it.

    After ``out = relu(x, inplace=True)`` both names hold the new numbers.
    A forward that goes on with ``out`` and later adds ``x`` adds something else than it says.
    To notice, the recorder gives ``out`` a tensor object and a mark of its own, the successor,
    and notes on the mark of ``x`` which operation overwrote it.
    """

    __slots__ = ("outdated_by", "owner", "read", "successor", "value")

    def __init__(self, owner: object, value: int | None) -> None:
        self.owner = owner
        self.value = value  # None: a constant, which depends on no input and no parameter
        self.read = False
        self.outdated_by: int | None = None
        self.successor: Mark | None = None

    def __deepcopy__(self, memo: dict) -> Mark:
        return self  # a copy of a tensor holds the same value; the recorder must not be copied


def tensors_in(structure: Iterable[Any]) -> list[Tensor]:
    """Return the tensors in nested tuples, lists and dictionaries, in order."""
    found = []
    for item in structure:
        if isinstance(item, Tensor):
            found.append(item)
        elif isinstance(item, (tuple, list)):
            found += tensors_in(item)
        elif isinstance(item, dict):
            found += tensors_in(item.values())
    return found


def map_tensors(structure: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Return nested tuples, lists and dictionaries with every tensor replaced."""
    if isinstance(structure, Tensor):
        return function(structure)
    if isinstance(structure, dict):
        return {key: map_tensors(value, function) for key, value in structure.items()}
    if type(structure) in (tuple, list):
        return type(structure)([map_tensors(item, function) for item in structure])
    if isinstance(structure, tuple):  # a named one, such as the result of ``x.max(dim=1)``
        for item in structure:
            map_tensors(item, function)
    return structure
