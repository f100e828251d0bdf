"""Putting the handed-out notebook and a submission together, before anything is executed."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbgrader.utils import is_grade, is_locked, is_solution

LARGEST = 20_000_000  # bytes; a solved notebook with its figures has less than two million


class Unreadable(ValueError):
    """The submission is not a notebook of this book; the message is a sentence for its author."""


def read_submission(path: Path) -> nbformat.NotebookNode:
    """Return the submitted notebook.

    Raises:
        Unreadable: it is too large, or no notebook.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise Unreadable(f"The file has {size / 1e6:.0f} MB, and a notebook of this book has less than "
                         f"{LARGEST / 1e6:.0f}. Clear the outputs and hand it in again.")
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except Exception as problem:  # a broken file raises many kinds
        first = (str(problem).splitlines() or [""])[0][:120]
        raise Unreadable(f"The file is not a notebook ({type(problem).__name__}: {first}).") from None
    return notebook


def chapter_of(notebook: nbformat.NotebookNode, path: Path, releases: dict[str, set[str]]) -> str:
    """Return the name of the handed-out notebook that this submission belongs to.

    Args:
        notebook: the submission.
        path: where it lies; its name decides when it is one of the known ones.
        releases: for each handed-out notebook, the ids of its graded cells.

    Raises:
        Unreadable: none of them fits.
    """
    if path.stem in releases:
        return path.stem
    ids = {cell.metadata.get("nbgrader", {}).get("grade_id") for cell in notebook.cells}
    name, shared = max(((name, len(ids & known)) for name, known in releases.items()),
                       key=lambda pair: pair[1])  # fmt: skip
    if not shared:
        raise Unreadable(f"{path.name} is none of the book's notebooks: it has none of their exercises.")
    return name


def merge(submission: nbformat.NotebookNode, release: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the submission with every cell that is not the learner's as it was handed out.

    Solution cells and cells that the learner added stay. Locked and graded cells are put back, also
    when they were deleted, and stand once.
    """
    handed_out = {cell.id: cell for cell in release.cells}
    by_grade = {_grade_id(cell): cell for cell in release.cells if _grade_id(cell)}
    merged, seen = [], set()
    for cell in submission.cells:
        original = by_grade.get(_grade_id(cell)) or handed_out.get(cell.get("id"))
        if original is None:
            if cell.cell_type == "code":
                merged.append(_plain(cell))
            continue
        if original.id in seen:
            continue
        seen.add(original.id)
        merged.append(_filled(original, cell) if is_solution(original) else original)
    for position, cell in enumerate(release.cells):
        if cell.id not in seen:
            merged.insert(_place(merged, release.cells[:position]), cell)
    result = nbformat.from_dict(release)
    result.cells = [nbformat.from_dict(cell) for cell in merged]
    return result


def changed_cells(submission: nbformat.NotebookNode, release: nbformat.NotebookNode) -> list[str]:
    """Return the ids of graded and locked cells that the submission lacks or has changed."""
    theirs = {_grade_id(cell): cell.source for cell in submission.cells if _grade_id(cell)}
    return [_grade_id(cell) for cell in release.cells
            if (is_grade(cell) or is_locked(cell)) and not is_solution(cell)
            and theirs.get(_grade_id(cell)) != cell.source]  # fmt: skip


def _grade_id(cell: nbformat.NotebookNode) -> str:
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def _plain(cell: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return a learner's own cell without whatever it pretends to be."""
    return nbformat.v4.new_code_cell(cell.source)


def _filled(original: nbformat.NotebookNode, cell: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the solution cell as handed out, with the learner's answer in it."""
    filled = nbformat.from_dict(original)
    filled.source = cell.source
    return filled


def _place(merged: list, before: list) -> int:
    """Return where a missing cell goes: behind the nearest cell that came before it."""
    positions = {cell.get("id"): index for index, cell in enumerate(merged)}
    for cell in reversed(before):
        if cell.id in positions:
            return positions[cell.id] + 1
    return 0
