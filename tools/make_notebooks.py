#!/usr/bin/env python3
"""Write `notebooks/NN_name.ipynb` from `book/NN_name.md`.

    python tools/make_notebooks.py                 # the student notebooks, exercises blank
    python tools/make_notebooks.py --check         # write nothing; fail where one differs from its chapter
    python tools/make_notebooks.py --solved DIR    # the same notebooks with the exercises solved
    python tools/make_notebooks.py --course DIR    # an nbgrader course: solved, the answers marked

The same input gives the same bytes: cell ids come from chapter, label and order, and no outputs are kept.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import nbformat
from chapter_source import (
    CHAPTER_NAME,
    HEADING,
    LABEL,
    ROOT,
    Chapter,
    ChapterError,
    Text,
    cell_source,
    check_exercises,
    exercise_entry,
    outside_fences,
    read_chapter,
    shown,
    solution_source,
    stub_source,
)
from notebook_markdown import Book, Converter
from repository import Repository, repository

PROGRESS = """\
## Where you stand

Each exercise that a check has passed, in any chapter, is kept on the machine that runs the notebook."""
INSTALL = """\
# Installs the book's package where it is missing, as on Colab. What is installed already stays as it is.
import importlib.util

if importlib.util.find_spec("resnet_tutorial") is None:
    %pip install -q git+{url}@{branch}"""


def chapters(folder: Path = ROOT / "book") -> list[Path]:
    """The pages that have a notebook, in order."""
    return [path for path in sorted(folder.glob("*.md")) if CHAPTER_NAME.match(path.stem)]


def make_notebook(
    path: Path,
    *,
    solved: bool = False,
    marked: bool = False,
    book: Book | None = None,
    links: Repository | None = None,
    catalog: Mapping[str, Any] | None = None,
    root: Path = ROOT,
) -> nbformat.NotebookNode:
    """The notebook of one chapter."""
    chapter = read_chapter(path)
    check_exercises(chapter, catalog)
    links = links or repository()
    converter = Converter(chapter, book or Book(path.parent), links, catalog)
    cells = _Cells(chapter)

    for block in chapter.blocks:
        if isinstance(block, Text):
            for lines, line in sections(block):
                cells.section(lines)
                if text := converter.convert(lines, line):
                    cells.markdown(text)
        elif "page-only" in block.tags:
            continue
        elif block.exercise:
            entry = exercise_entry(block.exercise, chapter, block.line, catalog)
            try:
                source = (
                    solution_source(entry, root)
                    if solved
                    else stub_source(entry, root, marked=marked)
                )
            except LookupError as error:
                raise ChapterError(path, block.line, str(error)) from None
            cells.exercise(source, entry)
        elif block.check:
            cells.check(
                cell_source(block, chapter, root),
                exercise_entry(block.check, chapter, block.line, catalog),
            )
        else:
            cells.code(cell_source(block, chapter, root), folded="hide-input" in block.tags)

    if any(not isinstance(block, Text) and block.exercise for block in chapter.blocks):
        cells.put_progress(chapter.number)
    cells.put_install(links)
    notebook = nbformat.v4.new_notebook(cells=cells.cells, metadata=notebook_metadata(chapter))
    nbformat.validate(notebook)
    return notebook


def notebook_metadata(chapter: Chapter) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "colab": {"name": f"{chapter.path.stem}.ipynb", "provenance": [], "toc_visible": True},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    if chapter.front.get("accelerator"):  # a chapter that trains asks Colab for a GPU
        metadata["accelerator"] = chapter.front["accelerator"]
    return metadata


def sections(block: Text) -> Iterable[tuple[list[str], int]]:
    """The block's lines parted before each heading and at each `+++`, so that every section is a cell of its own."""
    cuts = {0}
    for index, line in outside_fences(block.lines):
        if HEADING.match(line):
            while index > 0 and LABEL.match(block.lines[index - 1]):
                index -= 1
            cuts.add(index)
        elif line.startswith("+++"):
            cuts.add(index)
    edges = [*sorted(cuts), len(block.lines)]
    for start, end in zip(edges, edges[1:], strict=False):
        if any(line.strip() for line in block.lines[start:end]):
            yield block.lines[start:end], block.line + start


class _Cells:
    """Collects a notebook's cells and names them from chapter, label and order."""

    def __init__(self, chapter: Chapter):
        self.prefix = (
            f"ch{chapter.number:02d}" if chapter.number is not None else slug(chapter.path.stem)
        )
        self.file = f"notebooks/{chapter.path.stem}.ipynb"
        self.page = f"book/{chapter.path.stem}.html"
        self.label = "top"
        self.counts: dict[str, int] = {}
        self.cells: list[nbformat.NotebookNode] = []

    def section(self, lines: list[str]) -> None:
        """Note under which label the next cells stand."""
        prose = [line for _, line in outside_fences(lines)]
        labels = [match[1] for line in prose if (match := LABEL.match(line))]
        headings = [match[2] for line in prose if (match := HEADING.match(line))]
        if labels or headings:
            self.label = slug(labels[0] if labels else headings[0])

    def name(self) -> str:
        count = self.counts[self.label] = self.counts.get(self.label, 0) + 1
        return fit(f"{self.prefix}-{self.label}", f"-{count}")

    def markdown(self, text: str) -> None:
        self.cells.append(nbformat.v4.new_markdown_cell(text, id=self.name()))

    def code(self, source: str, folded: bool = False) -> None:
        """A cell; ``folded`` as on the page, for Jupyter and for Colab: what draws a figure may tell what it shows."""
        metadata = {"cellView": "form", "jupyter": {"source_hidden": True}} if folded else {}
        self.cells.append(nbformat.v4.new_code_cell(source, id=self.name(), metadata=metadata))

    def exercise(self, source: str, entry: Any) -> None:
        metadata = nbgrader(entry.id, solution=True)
        name = fit(f"{self.prefix}-exercise-{slug(entry.id)}")
        self.cells.append(nbformat.v4.new_code_cell(source, id=name, metadata=metadata))

    def check(self, source: str, entry: Any) -> None:
        metadata = nbgrader(f"check-{entry.id}", points=entry.points)
        name = fit(f"{self.prefix}-check-{slug(entry.id)}")
        self.cells.append(nbformat.v4.new_code_cell(source, id=name, metadata=metadata))

    def put_progress(self, number: int | None) -> None:
        """Close with the score, which belongs to a reader and so is not on the page."""
        self.section(PROGRESS.splitlines()[:1])
        self.markdown(PROGRESS)
        here = f"chapter={number}" if number else ""
        self.code(f"from resnet_tutorial import check\n\ncheck.progress({here})")

    def put_install(self, links: Repository) -> None:
        """Badge under the title, and the install cell after it, before everything else."""
        title, _, rest = self.cells[0].source.partition("\n")
        badge = f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({links.colab(self.file)})"
        page = f"[page of this notebook]({links.site(self.page)})"
        note = f"The {page} shows the outputs, and the solutions, which unfold."
        head = nbformat.v4.new_markdown_cell(f"{title}\n\n{badge}\n\n{note}", id=f"{self.prefix}-title")
        code = INSTALL.format(url=links.url, branch=links.branch)
        install = nbformat.v4.new_code_cell(code, id=f"{self.prefix}-install")
        if rest.strip():
            self.cells[0].source = rest.strip("\n")
        else:
            del self.cells[0]
        self.cells[:0] = [head, install]


def nbgrader(grade_id: str, *, solution: bool = False, points: int | None = None) -> dict[str, Any]:
    """nbgrader's cell metadata: an autograded answer, or the tests that grade it."""
    metadata: dict[str, Any] = {
        "grade": not solution, "grade_id": grade_id, "locked": not solution, "schema_version": 3,
        "solution": solution, "task": False,
    }  # fmt: skip
    if points is not None:
        metadata["points"] = points
    return {"nbgrader": metadata}


def slug(text: str) -> str:
    """Letters, digits and hyphens, as a cell id allows them."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "cell"


def fit(name: str, suffix: str = "") -> str:
    """At most the 64 characters that a cell id may have; a longer name keeps its start and a hash."""
    room = 64 - len(suffix)
    if len(name) > room:
        name = f"{name[: room - 9]}-{hashlib.sha1(name.encode()).hexdigest()[:8]}"
    return name + suffix


def dump(notebook: nbformat.NotebookNode) -> str:
    return nbformat.writes(notebook, indent=1, ensure_ascii=False).rstrip("\n") + "\n"


def difference(found: str, wanted: str, name: str) -> str:
    """The first lines in which a notebook differs from what its chapter gives."""
    rows = list(
        difflib.unified_diff(
            found.splitlines(), wanted.splitlines(), name, "its chapter", lineterm="", n=1
        )
    )
    return "\n".join(rows[:12])


COURSE_SETTINGS = """\
# Settings of nbgrader for this course: https://nbgrader.readthedocs.io
c = get_config()
c.CourseDirectory.course_id = "residual-networks"
# The checks draw, train a little and build large networks; the slowest cell takes seconds.
c.ExecutePreprocessor.timeout = 120
"""


def write_course_settings(folder: Path) -> None:
    """Write `nbgrader_config.py`, unless the teacher has one already."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "nbgrader_config.py"
    if not settings.exists():
        settings.write_text(COURSE_SETTINGS, encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing, fail where a notebook is out of date"
    )
    parser.add_argument(
        "--solved", type=Path, metavar="DIR", help="write the solved notebooks there"
    )
    parser.add_argument(
        "--course", type=Path, metavar="DIR", help="write an nbgrader course there: its source/ and settings"
    )
    parser.add_argument("--book", type=Path, default=ROOT / "book", help="folder of the chapters")
    parser.add_argument(
        "--notebooks", type=Path, default=ROOT / "notebooks", help="folder of the notebooks"
    )
    parser.add_argument("chapters", nargs="*", type=Path, help="only these chapters")
    options = parser.parse_args(arguments)

    sources = options.chapters or chapters(options.book)
    folder = options.solved or options.notebooks
    if options.course:
        write_course_settings(options.course)
    book, links = Book(options.book), repository()
    wrong: list[str] = []
    for path in sources:
        try:
            text = dump(
                make_notebook(
                    path.resolve(),
                    solved=bool(options.solved),
                    marked=bool(options.course),
                    book=book,
                    links=links,
                )
            )
        except ChapterError as error:
            wrong.append(str(error))
            continue
        if options.course:  # nbgrader has one folder for each assignment
            folder = options.course / "source" / path.stem
        target = folder / f"{path.stem}.ipynb"
        found = target.read_text(encoding="utf-8") if target.is_file() else None
        if found == text:
            continue
        if options.check:
            wrong.append(
                f"{shown(target)} is missing"
                if found is None
                else difference(found, text, shown(target))
            )
        else:
            folder.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            print(f"wrote {shown(target)}")
    if not (options.chapters or options.solved or options.course):
        names = {path.stem for path in sources}
        for stale in sorted(path for path in folder.glob("*.ipynb") if path.stem not in names):
            if options.check:
                wrong.append(f"{shown(stale)} has no chapter")
            else:
                stale.unlink()
                print(f"removed {shown(stale)}, which has no chapter")
    for message in wrong:
        print(message, file=sys.stderr)
    if wrong and options.check:
        print(
            "\nThe notebooks are not in step with the chapters: run 'make notebooks' and commit.",
            file=sys.stderr,
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
