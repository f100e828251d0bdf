"""A trace as an HTML table, for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from .records import Failure, Finding, text_of_shape
from .rows import HEADINGS, Row, rows_of
from .text import heading, totals

if TYPE_CHECKING:
    from .trace import Trace

_NUMBERS_FROM = 3

# Colours come from the page, so that the table holds in light and dark.
_STYLE = """
.rt-trace { max-height: 32em; overflow: auto; }
.rt-trace table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 0; }
.rt-trace caption { text-align: left; font-weight: bold; padding: .3em .6em; }
.rt-trace th, .rt-trace td { padding: .15em .6em; text-align: left; white-space: nowrap; }
.rt-trace th[scope=row] { font-weight: normal; }
.rt-trace thead th { border-bottom: 1px solid currentColor; }
.rt-trace .number { text-align: right; }
.rt-trace .branch th { padding-left: 2em; }
.rt-trace .branch, .rt-trace .repeat { font-style: italic; }
.rt-trace .failure > * { font-weight: bold; border-top: 1px solid currentColor; }
.rt-failure { border-left: .3em solid currentColor; padding-left: .8em; margin: 1em 0; }
.rt-failure dt { font-weight: bold; }
"""


def as_html(trace: Trace) -> str:
    """Return the table, and below it the totals, the warnings and the failure."""
    title = escape(heading(trace))
    head = "".join(f'<th scope="col"{_class(i)}>{name}</th>' for i, name in enumerate(HEADINGS))
    body = "\n".join(map(_row, rows_of(trace)))
    sums = "; ".join(f"{name} {value}" for name, value in totals(trace))
    # A region that scrolls must be reachable by keyboard and have a name.
    return (
        f"<style>{_STYLE}</style>\n"
        f'<div class="rt-trace" role="region" tabindex="0" aria-label="Operations: {title}">\n'
        f"<table><caption>{title}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>\n</div>\n"
        f"<p>{sums}</p>{_warnings(trace.warnings)}{_failure(trace.failure)}"
    )


def _row(row: Row) -> str:
    first, *rest = row.cells
    cells = "".join(f"<td{_class(i)}>{escape(cell)}</td>" for i, cell in enumerate(rest, start=1))
    role = "" if row.role == "operation" else f' class="{row.role}"'
    return f'<tr{role}><th scope="row">{escape(first)}</th>{cells}</tr>'


def _class(column: int) -> str:
    return ' class="number"' if column >= _NUMBERS_FROM else ""


def _warnings(warnings: Sequence[Finding]) -> str:
    if not warnings:
        return ""
    items = "".join(f"<li>{escape(str(warning))}</li>" for warning in warnings)
    return f"\n<p><strong>Warnings</strong></p>\n<ul>{items}</ul>"


def _failure(failure: Failure | None) -> str:
    if failure is None:
        return ""
    parts = [f"<p><strong>{escape(failure.title)}</strong></p>"]
    if failure.source:
        parts.append(
            f"<p>{escape(str(failure.source))}: <code>{escape(failure.source.text)}</code></p>"
        )
    pairs = [(role, text_of_shape(shape)) for role, shape in failure.shapes.items()]
    notes = [
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in [*pairs, *failure.notes]
    ]
    parts.append(f"<dl>{''.join(notes)}</dl>")
    return f'\n<div class="rt-failure">{"".join(parts)}</div>'
