"""What students and teachers get to see: a page for each submission, and one table of all marks."""

from __future__ import annotations

import csv
import os
from html import escape
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter

from grading.worker import Result

# What a notebook displays may hold scripts, and may ask for things from elsewhere: this tells a browser to do neither.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(student: str, chapter: str, result: Result, executed: Path) -> str:
    """Return the feedback for one submission as an HTML page that stands alone."""
    rows = "".join(
        f"<tr><td>{escape(cell.exercise.removeprefix('check-'))}</td>"
        f"<td>{cell.earned:g} of {cell.points:g}</td><td><pre>{escape(cell.said)}</pre></td></tr>"
        for cell in result.cells
    )
    notes = []
    if result.trouble:
        notes.append(f"The execution ended early: {result.trouble}")
    if result.changed:
        notes.append("These cells were missing or changed, and were put back before grading: "
                     + ", ".join(result.changed) + ".")  # fmt: skip
    body = _notebook_body(executed)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width">
<title>{escape(chapter)}: {escape(student)}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse }} td, th {{ border-top: 1px solid #ccc; padding: .3rem .6rem;
vertical-align: top; text-align: left }} pre {{ white-space: pre-wrap; margin: 0 }}
</style></head><body>
<h1>{escape(chapter)}</h1>
<p>{escape(student)}: <strong>{result.earned:g} of {result.points:g} points</strong></p>
{"".join(f"<p>{escape(note)}</p>" for note in notes)}
<table><thead><tr><th>Exercise</th><th>Points</th><th>What the check said</th></tr></thead>
<tbody>{rows}</tbody></table>
{body}
</body></html>
"""


def _notebook_body(executed: Path) -> str:
    """Return the executed notebook as HTML, or nothing when the execution did not come to an end."""
    if not executed.exists():
        return ""
    exporter = HTMLExporter(template_name="basic")
    body, _ = exporter.from_notebook_node(nbformat.read(executed, as_version=4))
    return f"<h2>Your notebook</h2>\n{body}"


def write_table(path: Path, marks: list[tuple[str, str, Result]]) -> None:
    """Write one line for each submission: student, notebook, points, and each exercise."""
    exercises = sorted({cell.exercise for _, _, result in marks for cell in result.cells})
    temporary = path.with_suffix(".part")
    with open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["student", "notebook", "earned", "points", "trouble", "changed cells",
                        *(name.removeprefix("check-") for name in exercises)])  # fmt: skip
        for student, chapter, result in sorted(marks, key=lambda mark: mark[:2]):
            earned = {cell.exercise: f"{cell.earned:g}" for cell in result.cells}
            table.writerow([student, chapter, f"{result.earned:g}", f"{result.points:g}", result.trouble,
                            " ".join(result.changed), *(earned.get(name, "") for name in exercises)])  # fmt: skip
    os.replace(temporary, path)
