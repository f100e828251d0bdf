"""A trace as an HTML table, for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .rows import HEADINGS, Row, rows_of
from .text import heading, totals

_NUMBERS_FROM = 3

# Colours come from the page, so that the table holds in light and dark.
_STYLE = """
.rt-trace { max-height: 32em; overflow: auto; }
.rt-trace table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.rt-trace caption { text-align: left; font-weight: bold; padding: .3em .6em; }
.rt-trace th, .rt-trace td { padding: .15em .6em; text-align: left; white-space: nowrap; }
.rt-trace th[scope=row] { font-weight: normal; }
.rt-trace thead th { border-bottom: 1px solid currentColor; }
.rt-trace tfoot tr:first-child > * { border-top: 1px solid currentColor; }
.rt-trace .number { text-align: right; }
.rt-trace .branch th { padding-left: 2em; }
.rt-trace .branch, .rt-trace .repeat { font-style: italic; }
"""


def as_html(trace) -> str:
    """Return the table, its totals, and below it the warnings and the failure."""
    title = escape(heading(trace))
    head = "".join(f'<th scope="col"{_class(i)}>{name}</th>' for i, name in enumerate(HEADINGS))
    body = "\n".join(map(_row, rows_of(trace)))
    foot = "\n".join(
        f'<tr><th scope="row">{name}</th><td colspan="{len(HEADINGS) - 1}">{value}</td></tr>'
        for name, value in totals(trace)
    )
    # A region that scrolls must be reachable by keyboard and have a name.
    return (
        f"<style>{_STYLE}</style>\n"
        f'<div class="rt-trace" role="region" tabindex="0" aria-label="Table of operations: {title}">\n'
        f"<table><caption>{title}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n<tfoot>\n{foot}\n</tfoot></table>\n</div>"
        f"{_notes(trace)}"
    )


def _row(row: Row) -> str:
    first, *rest = row.cells
    cells = "".join(f"<td{_class(i)}>{escape(cell)}</td>" for i, cell in enumerate(rest, start=1))
    role = "" if row.role == "operation" else f' class="{row.role}"'
    return f'<tr{role}><th scope="row">{escape(first)}</th>{cells}</tr>'


def _class(column: int) -> str:
    return ' class="number"' if column >= _NUMBERS_FROM else ""


def _notes(trace) -> str:
    parts = []
    if trace.warnings:
        parts.append(_list("Warnings", [str(warning) for warning in trace.warnings]))
    if trace.failure:
        parts.append(f"<pre>{escape(str(trace.failure))}</pre>")
    return "".join(f"\n{part}" for part in parts)


def _list(title: str, items: Sequence[str]) -> str:
    return f"<p>{title}</p><ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"
