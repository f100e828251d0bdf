"""The table of a trace, as text and as HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .records import Merge, ModuleCall, Operation, Shape, text_of_field, text_of_shape

HEADINGS = ("operation", "module", "output shape", "parameters", "MACs", "receptive field")
_LONGEST_PERIOD = 3  # a path and its addition repeat with period 2
_FEWEST_OPERATIONS = 3  # what is shorter is not worth a line that says "the same again"


def numel(shape: Shape) -> int:
    return math.prod(shape)


@dataclass
class Row:
    """One line: an operation, a branch that enters an addition, or a repetition."""

    operation: str
    module: str
    shape: str = ""
    params: int = 0
    macs: int = 0
    field: str = ""
    kind: str = "other"
    role: str = "operation"  # or "branch", "repeat"

    @property
    def cells(self) -> tuple[str, ...]:
        indent = "  " if self.role == "branch" else ""
        return (indent + self.operation, self.module, self.shape, _count(self.params), _count(self.macs), self.field)


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


# -- rows ------------------------------------------------------------------------------------


def rows(trace, collapse: bool = True) -> list[Row]:
    """Return the table's lines, repeated blocks shown once if asked for."""
    return _Rows(trace, collapse).rows


class _Rows:
    def __init__(self, trace, collapse: bool) -> None:
        self._trace = trace
        self._collapse = collapse
        self._merges = {merge.operation: merge for merge in trace.merges}
        self._children: dict[int | None, list[ModuleCall]] = {}
        for call in trace.calls:
            self._children.setdefault(call.parent, []).append(call)
        self.rows: list[Row] = []
        for call in self._children.get(None, []):
            self._add_call(call)

    def _add_call(self, call: ModuleCall) -> None:
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
                self._add_repetition(items[i + period : i + period * count], period)
            i += period * count

    def _repetition(self, items, signatures, start: int) -> tuple[int, int]:
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
            return (_signature(item),)
        return (item.type, *map(_signature, self._trace.operations[item.first : item.last]))

    def _add_operation(self, op: Operation) -> None:
        merge = self._merges.get(op.index)
        if merge and op.kind in ("add", "concat") and len(merge.branches) == 2:
            self._add_branches(merge)
        self.rows.append(
            Row(op.label, op.module, text_of_shape(op.output_shape), op.params, op.macs, text_of_field(op.field), op.kind)
        )

    def _add_branches(self, merge: Merge) -> None:
        for role, branch in zip(branch_names(merge), merge.branches, strict=True):
            origin = self._origin(branch.value)
            self.rows.append(
                Row(role, origin, text_of_shape(branch.shape), field=text_of_field(branch.field), role="branch")
            )

    def _origin(self, value: int) -> str:
        producer = self._trace.values[value].producer
        if producer is None:
            return f"the {self._trace.values[value].name}"
        op = self._trace.operations[producer]
        return f"from {op.module or op.name}"

    def _add_repetition(self, items: list[ModuleCall | Operation], period: int) -> None:
        first, last = _first(items[0]), _last(items[-1])
        operations = self._trace.operations[first:last]
        times = len(items) // period
        self.rows.append(
            Row(
                f"{times} more like it" if times > 1 else "once more",
                _span(items, period),
                text_of_shape(operations[-1].output_shape),
                sum(op.params for op in operations),
                sum(op.macs for op in operations),
                text_of_field(operations[-1].field),
                role="repeat",
            )
        )


def branch_names(merge: Merge) -> list[str]:
    """Return what to call the branches of an addition: "shortcut" and "branch" where that is clear."""
    if merge.shortcut is None:
        return [f"branch {i + 1}" for i in range(len(merge.branches))]
    identity = merge.branches[merge.shortcut].is_identity
    names = ["branch"] * len(merge.branches)
    names[merge.shortcut] = "shortcut (identity)" if identity else "shortcut"
    return names


def _signature(op: Operation) -> tuple:
    settings = tuple(sorted((key, str(value)) for key, value in op.settings.items()))
    return (op.name, settings, op.input_shapes, op.output_shapes, op.parameter_shapes, op.params)


def _length(item: ModuleCall | Operation) -> int:
    return 1 if isinstance(item, Operation) else item.last - item.first


def _first(item: ModuleCall | Operation) -> int:
    return item.index if isinstance(item, Operation) else item.first


def _last(item: ModuleCall | Operation) -> int:
    return item.index + 1 if isinstance(item, Operation) else item.last


def _span(items: Sequence[ModuleCall | Operation], period: int) -> str:
    paths = [item.path for item in items if isinstance(item, ModuleCall)]
    if not paths:
        return items[0].module
    return paths[0] if len(paths) == 1 else f"{paths[0]} to {paths[-1]}"


# -- text ------------------------------------------------------------------------------------


def as_text(trace, collapse: bool = True) -> str:
    """Return the whole trace as plain text: heading, table, totals, warnings, failure."""
    lines = [heading(trace), ""]
    cells = [row.cells for row in rows(trace, collapse)]
    widths = [max(map(len, column)) for column in zip(HEADINGS, *cells, strict=True)]
    lines.append(_line(HEADINGS, widths))
    lines.append("-" * len(_line(HEADINGS, widths).ljust(sum(widths) + 2 * len(widths) - 2)))
    lines += [_line(row, widths) for row in cells]
    lines += ["", *totals(trace)]
    lines += [f"\nWarning: {warning}" for warning in trace.warnings]
    if trace.failure:
        lines += ["", str(trace.failure)]
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    parts = [
        cell.ljust(width) if column < 3 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(parts).rstrip()


def heading(trace) -> str:
    given = ", ".join(
        f"{name} {text_of_shape(shape)}" if len(trace.inputs) > 1 else text_of_shape(shape)
        for name, shape in trace.inputs
    )
    return f"{trace.name}, input {given}, {'training' if trace.training else 'evaluation'} mode"


def totals(trace) -> list[str]:
    """Return the lines below the table."""
    return [
        f"{len(trace)} operations, {sum(1 for call in trace.calls)} module calls",
        f"parameters   {trace.params:,}",
        f"MACs         {trace.macs:,}",
        f"activations  {trace.activation_bytes / 2**20:,.1f} MiB",
    ]


# -- HTML ------------------------------------------------------------------------------------


def as_html(trace) -> str:
    return f"<pre>{escape(as_text(trace))}</pre>"
