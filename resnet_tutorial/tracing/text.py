"""A trace as plain text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .records import text_of_shape, wrapped
from .rows import HEADINGS, Row, rows_of

if TYPE_CHECKING:
    from .trace import Trace

_NUMBERS_FROM = 3  # the columns from here on hold numbers and stand flush right


def as_text(trace: Trace, collapse: bool = True, depth: int | None = None) -> str:
    """Return heading, table, totals, warnings and failure."""
    rows = rows_of(trace, collapse, depth)
    parts = [heading(trace)]
    if rows:
        parts.append(_table(rows))
    parts.append("\n".join(f"{name:<12} {value}" for name, value in totals(trace)))
    parts += [wrapped("Warning: ", str(warning)) for warning in trace.warnings]
    if trace.failure:
        parts.append(str(trace.failure))
    return "\n\n".join(parts)


def _table(rows: Sequence[Row]) -> str:
    cells = [_indented(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(HEADINGS, *cells, strict=True)]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([_line(HEADINGS, widths), rule, *(_line(row, widths) for row in cells)])


def _indented(row: Row) -> tuple[str, ...]:
    first, *rest = row.cells
    return (f"  {first}" if row.role == "branch" else first, *rest)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.ljust(width) if column < _NUMBERS_FROM else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()


def heading(trace: Trace) -> str:
    """Return the line above the table: network, input, mode."""
    several = len(trace.inputs) > 1
    given = [
        f"{name} {text_of_shape(shape)}" if several else text_of_shape(shape)
        for name, shape in trace.inputs
    ]
    mode = "training" if trace.training else "evaluation"
    return f"{trace.name}, input {', '.join(given)}, {mode} mode" if given else trace.name


def totals(trace: Trace) -> list[tuple[str, str]]:
    """Return what stands below the table."""
    return [
        ("operations", f"{len(trace):,}"),
        ("parameters", f"{trace.params:,}"),
        ("MACs", f"{trace.macs:,}"),
        ("activations", text_of_bytes(trace.activation_bytes)),
    ]


def text_of_bytes(count: int) -> str:
    """Return an amount of memory in a unit that suits it: ``2.5 MB``."""
    size, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{count} bytes" if unit == "bytes" else f"{size:,.1f} {unit}"
