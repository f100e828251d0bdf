"""The rows of a trace's table: operations, branches at an addition, repetitions.

``text`` and ``markup`` write the same rows as plain text and as HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .difference import signature
from .records import Failure, Merge, ModuleCall, Operation, text_of_field, text_of_shape

if TYPE_CHECKING:
    from .trace import Trace

HEADINGS = ("operation", "module", "output shape", "parameters", "MACs", "receptive field")
_LONGEST_PERIOD = 3  # a path and its addition repeat with period 2
_FEWEST_OPERATIONS = 3  # what is shorter is not worth a line that says "the same again"


@dataclass
class Row:
    """One line: an operation, a branch that enters an addition, a module, or a repetition."""

    operation: str
    module: str
    shape: str = ""
    params: int = 0
    macs: int = 0
    field: str = ""
    kind: str = "other"
    role: str = "operation"  # or "branch", "module", "repeat", "failure"

    @property
    def cells(self) -> tuple[str, ...]:
        """The texts under ``HEADINGS``; a zero is left out."""
        return (
            self.operation, self.module, self.shape, _count(self.params), _count(self.macs), self.field,
        )  # fmt: skip


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def rows_of(trace: Trace, collapse: bool = True, depth: int | None = None) -> list[Row]:
    """Return the rows of a table.

    Args:
        collapse: show blocks that repeat once, and count the others in one row.
        depth: show modules that stand deeper than this as one row; 1 shows stages, 2 blocks.
    """
    return _Rows(trace, collapse, depth).rows


class _Rows:
    def __init__(self, trace: Trace, collapse: bool, depth: int | None) -> None:
        self._trace = trace
        self._collapse = collapse
        self._depth = depth
        self._merges = {merge.operation: merge for merge in trace.merges}
        self._children: dict[int | None, list[ModuleCall]] = {}
        for call in trace.calls:
            self._children.setdefault(call.parent, []).append(call)
        self.rows: list[Row] = []
        for call in self._children.get(None, []):
            self._add_call(call)
        if trace.failure and trace.operations:
            self._add_failure(trace.failure)

    def _add_call(self, call: ModuleCall) -> None:
        operations = self._trace.operations[call.first : call.last]
        if self._depth is not None and call.depth >= self._depth and len(operations) > 1:
            self._add_summary(call.type, call.path, operations, "module")
        else:
            self._add_items(self._items(call))

    def _items(self, call: ModuleCall) -> list[ModuleCall | Operation]:
        """Return what a call consists of, in order: calls of modules and operations of its own."""
        items: list[ModuleCall | Operation] = []
        position = call.first
        for child in self._children.get(call.id, []):
            items += self._trace.operations[position : child.first]
            items.append(child)
            position = child.last
        return items + self._trace.operations[position : call.last]

    def _add_items(self, items: list[ModuleCall | Operation]) -> None:
        signatures = [self._signature(item) for item in items] if self._collapse else []
        i = 0
        while i < len(items):
            period, count = self._repetition(items, signatures, i) if self._collapse else (1, 1)
            for item in items[i : i + period]:
                if isinstance(item, ModuleCall):
                    self._add_call(item)
                else:
                    self._add_operation(item)
            if count > 1:
                self._add_repetition(items[i + period : i + period * count], count - 1)
            i += period * count

    def _repetition(
        self, items: Sequence[ModuleCall | Operation], signatures: Sequence[tuple], start: int
    ) -> tuple[int, int]:
        """Return the length of the pattern that starts here and how often it comes."""
        for period in range(1, _LONGEST_PERIOD + 1):
            pattern = signatures[start : start + period]
            count = 1
            while signatures[start + count * period : start + (count + 1) * period] == pattern:
                count += 1
            if count > 1 and sum(map(_length, items[start : start + period])) >= _FEWEST_OPERATIONS:
                return period, count
        return 1, 1

    def _signature(self, item: ModuleCall | Operation) -> tuple:
        if isinstance(item, Operation):
            return (signature(item), item.params)
        inside = self._trace.operations[item.first : item.last]
        return (item.type, *((signature(op), op.params) for op in inside))

    def _add_operation(self, op: Operation) -> None:
        merge = self._merges.get(op.index)
        if merge and op.kind in ("add", "concat") and len(merge.branches) == 2:
            self._add_branches(merge)
        shape, field = text_of_shape(op.output_shape), text_of_field(op.field)
        self.rows.append(Row(op.label, op.module, shape, op.params, op.macs, field, op.kind))

    def _add_failure(self, failure: Failure) -> None:
        """End the table with what did not fit."""
        for role, shape in failure.shapes.items():
            self.rows.append(Row(role, "", text_of_shape(shape), role="branch"))
        self.rows.append(Row(failure.operation, failure.module, "fails", role="failure"))

    def _add_branches(self, merge: Merge) -> None:
        for name, branch in zip(branch_names(merge), merge.branches, strict=True):
            shape, field = text_of_shape(branch.shape), text_of_field(branch.field)
            origin = self._origin(branch.value)
            self.rows.append(Row(name, origin, shape, field=field, kind="add", role="branch"))

    def _origin(self, value: int) -> str:
        producer = self._trace.values[value].producer
        if producer is None:
            return f"the {self._trace.values[value].name}"
        op = self._trace.operations[producer]
        return f"from {op.module or op.name}"

    def _add_repetition(self, items: list[ModuleCall | Operation], times: int) -> None:
        operations = self._trace.operations[_first(items[0]) : _last(items[-1])]
        words = "once more" if times == 1 else f"{times} more like it"
        self._add_summary(words, _span(items), operations, "repeat")

    def _add_summary(
        self, words: str, path: str, operations: Sequence[Operation], role: str
    ) -> None:
        last = operations[-1]
        params, macs = sum(op.params for op in operations), sum(op.macs for op in operations)
        shape, field = text_of_shape(last.output_shape), text_of_field(last.field)
        self.rows.append(Row(words, path, shape, params, macs, field, role=role))


def branch_names(merge: Merge) -> list[str]:
    """Return what to call the branches of an addition: "shortcut" and "branch" where that is clear."""
    if merge.shortcut is None:
        return [f"branch {i + 1}" for i in range(len(merge.branches))]
    identity = merge.branches[merge.shortcut].is_identity
    names = ["branch"] * len(merge.branches)
    names[merge.shortcut] = "shortcut (identity)" if identity else "shortcut"
    return names


def _length(item: ModuleCall | Operation) -> int:
    return 1 if isinstance(item, Operation) else item.last - item.first


def _first(item: ModuleCall | Operation) -> int:
    return item.index if isinstance(item, Operation) else item.first


def _last(item: ModuleCall | Operation) -> int:
    return item.index + 1 if isinstance(item, Operation) else item.last


def _span(items: Sequence[ModuleCall | Operation]) -> str:
    """Return the paths that a repetition covers: ``layer1.1 to layer1.2``."""
    paths = [item.path if isinstance(item, ModuleCall) else item.module for item in items]
    calls = [item.path for item in items if isinstance(item, ModuleCall)] or paths
    return calls[0] if calls[0] == calls[-1] else f"{calls[0]} to {calls[-1]}"
