"""Find the first operation in which two networks differ.

The order of execution does not matter (one network may compute its shortcut before the branch,
another after it), nor do names, nor whether a ReLU is a module or works in place.  What counts
is what is computed from what: every operation gets a number that stands for its name, settings,
parameter shapes and the numbers of its inputs, and equal numbers mean equal computations.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .records import Operation, text_of_shape

if TYPE_CHECKING:
    from .trace import Trace

_EITHER_ORDER = {"add", "mul"}


@dataclass(frozen=True)
class Difference:
    """The first difference of two traces.

    Attributes:
        same: whether there is none.
        here, there: the operations that differ; ``None`` where one network has no counterpart.
        reason: in what they differ.
        names: of the two networks.
    """

    same: bool
    reason: str
    here: Operation | None = None
    there: Operation | None = None
    names: tuple[str, str] = ("", "")

    def __bool__(self) -> bool:
        """A difference is true where there is one."""
        return not self.same

    def __str__(self) -> str:
        if self.same:
            return self.reason
        names = self.names if self.names[0] != self.names[1] else ("here", "there")
        width = max(map(len, names))
        lines = [f"The first difference: {self.reason}"]
        for name, op in zip(names, (self.here, self.there), strict=True):
            lines.append(f"  {name:<{width}}  {_describe(op)}")
        return "\n".join(lines)


def _describe(op: Operation | None) -> str:
    if op is None:
        return "no such operation"
    where = f" in {op.module}" if op.module else ""
    shapes = ", ".join(map(text_of_shape, op.input_shapes))
    line = f"; {op.source}" if op.source else ""
    return f"{op.label}{where}: {shapes} to {text_of_shape(op.output_shape)}{line}"


def compare(one: Trace, other: Trace) -> Difference:
    """Return the first difference of two traces, in the first one's order of execution."""
    names = (one.name, other.name)
    numbers: dict[tuple, int] = {}
    here, there = _number(one, numbers), _number(other, numbers)
    extra = _unmatched(here, there)
    missing = _unmatched(there, here)
    if not extra and not missing:
        return _ends(one, other, names)
    if not extra:
        op = other.operations[missing[0]]
        return Difference(False, f"{names[1]} has one more {op.name}.", None, op, names)
    op = one.operations[extra[0]]
    partner = _counterpart(op, one, other, here, there, missing)
    if partner is None:
        return Difference(False, f"{names[0]} has one more {op.name}.", op, None, names)
    return Difference(False, _reason(op, partner), op, partner, names)


def _number(trace: Trace, numbers: dict[tuple, int]) -> list[int]:
    """Return one number an operation; equal computations get equal numbers, in both traces."""
    of_value: dict[int, int] = {}
    result = []
    for value in trace.values:
        if value.producer is None:
            key = ("input", len(of_value), value.shape)
            of_value[value.id] = numbers.setdefault(key, len(numbers))
    for op in trace.operations:
        sources = [of_value[i] for i in op.inputs]
        if op.name in _EITHER_ORDER:
            sources.sort()
        number = numbers.setdefault((signature(op), tuple(sources)), len(numbers))
        for position, i in enumerate(op.outputs):
            of_value[i] = numbers.setdefault(("output", number, position), len(numbers))
        result.append(number)
    return result


def signature(op: Operation) -> tuple:
    """Return what an operation computes, apart from where its inputs come from."""
    settings = tuple(sorted((key, str(value)) for key, value in op.settings.items()))
    shapes = op.input_shapes if op.name not in _EITHER_ORDER else tuple(sorted(op.input_shapes))
    return (op.name, settings, shapes, op.output_shapes, op.parameter_shapes)


def _unmatched(these: list[int], those: list[int]) -> list[int]:
    """Return the positions of what the others lack, equal ones counted."""
    left = Counter(those)
    result = []
    for position, number in enumerate(these):
        if left[number]:
            left[number] -= 1
        else:
            result.append(position)
    return result


def _counterpart(
    op: Operation, one: Trace, other: Trace, here: list[int], there: list[int], missing: list[int]
) -> Operation | None:
    """Return the other network's operation in the same place: with the same inputs, if one has them."""
    producers = [_producer(one, here, i) for i in op.inputs]
    same_inputs = [
        other.operations[i] for i in missing
        if [_producer(other, there, j) for j in other.operations[i].inputs] == producers
    ]  # fmt: skip
    if not same_inputs:
        return other.operations[missing[0]] if missing else None
    return next((found for found in same_inputs if found.name == op.name), same_inputs[0])


def _producer(trace: Trace, numbers: list[int], value: int) -> int:
    producer = trace.values[value].producer
    return -1 if producer is None else numbers[producer]


def _reason(op: Operation, partner: Operation) -> str:
    if op.name != partner.name:
        return f"{op.name} against {partner.name}."
    keys = [key for key in {**op.settings, **partner.settings}
            if str(op.settings.get(key)) != str(partner.settings.get(key)) and key != "detail"]  # fmt: skip
    if keys:
        key = keys[0]
        return f"{op.name} with {key} {op.settings.get(key)} against {partner.settings.get(key)}."
    if op.parameter_shapes != partner.parameter_shapes:
        one, other = (
            ", ".join(map(text_of_shape, o.parameter_shapes)) or "none" for o in (op, partner)
        )
        return f"{op.name} with parameters of shape {one} against {other}."
    if op.input_shapes != partner.input_shapes:
        one, other = (", ".join(map(text_of_shape, o.input_shapes)) for o in (op, partner))
        return f"{op.name} on {one} against {other}."
    return f"both have this {op.name}, on results of different operations."


def _ends(one: Trace, other: Trace, names: tuple[str, str]) -> Difference:
    if [one.values[i].shape for i in one.outputs] != [other.values[i].shape for i in other.outputs]:
        return Difference(
            False, "the networks compute the same and return different results.", names=names
        )
    if (one.failure is None) != (other.failure is None):
        return Difference(False, "one of the traces ends early.", names=names)
    return Difference(
        True, f"No difference: both compute the same {len(one)} operations.", names=names
    )
