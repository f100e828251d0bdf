"""The notebooks in an nbgrader course: handed out, graded and given back by nbgrader's own commands."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
CHAPTER = "09_experiments"
pytestmark = [pytest.mark.notebooks,
              pytest.mark.skipif(os.name != "posix", reason="nbgrader runs on Linux and macOS")]  # fmt: skip


def nbgrader(course: Path, *words: str) -> str:
    """Run one of nbgrader's commands in the course's folder."""
    script = "import sys; from nbgrader.apps.nbgraderapp import main; sys.exit(main())"
    # nbgrader calls alembic by its name: the environment's programs have to be found.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    run = subprocess.run([sys.executable, "-c", script, *words], cwd=course, capture_output=True,
                         env={**os.environ, "PATH": path}, text=True, timeout=400)  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


def answers(book: nbformat.NotebookNode, solved: nbformat.NotebookNode, ids: set[str]):
    """Fill in the solutions of the exercises named in `ids`, and of nothing else."""
    right = {cell.id: cell.source for cell in solved.cells}
    for cell in book.cells:
        marks = cell.metadata.get("nbgrader", {})
        if marks.get("solution") and marks["grade_id"] in ids:
            cell.source = right[cell.id]
    return book


def keep_only_exercises(path: Path) -> None:
    """Leave out the cells of the chapter that the exercises do not need: the test is about marks."""
    book = nbformat.read(path, as_version=4)
    needed = [cell for cell in book.cells if cell.metadata.get("nbgrader")]
    imports = next(cell for cell in book.cells if "from resnet_tutorial import check" in cell.source)
    book.cells = [imports, *needed]
    nbformat.write(book, path)


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    folder = tmp_path_factory.mktemp("course")
    make = [sys.executable, str(ROOT / "tools" / "make_notebooks.py")]
    chapter = str(ROOT / "book" / f"{CHAPTER}.md")
    subprocess.run([*make, "--course", str(folder), chapter], check=True, capture_output=True)
    subprocess.run([*make, "--solved", str(folder / "solved"), chapter], check=True, capture_output=True)
    source = folder / "source" / CHAPTER / f"{CHAPTER}.ipynb"
    keep_only_exercises(source)
    nbgrader(folder, "generate_assignment", CHAPTER, "--create")

    handed_out = folder / "release" / CHAPTER / f"{CHAPTER}.ipynb"
    solved = nbformat.read(folder / "solved" / f"{CHAPTER}.ipynb", as_version=4)
    ids = {cell.metadata.nbgrader.grade_id for cell in solved.cells
           if cell.metadata.get("nbgrader", {}).get("solution")}  # fmt: skip
    tampered = answers(nbformat.read(handed_out, as_version=4), solved, set())
    for cell in tampered.cells:
        if cell.metadata.get("nbgrader", {}).get("grade"):
            cell.source = "pass  # always right"
    students = {
        "right": answers(nbformat.read(handed_out, as_version=4), solved, ids),
        "half": answers(nbformat.read(handed_out, as_version=4), solved, {"mean_and_spread", "stands_out"}),
        "blank": nbformat.read(handed_out, as_version=4),
        "tampered": tampered,
    }
    for student, book in students.items():
        place = folder / "submitted" / student / CHAPTER
        place.mkdir(parents=True)
        nbformat.write(book, place / f"{CHAPTER}.ipynb")
    nbgrader(folder, "autograde", CHAPTER, "--create")
    nbgrader(folder, "generate_feedback", CHAPTER)
    nbgrader(folder, "export")
    return folder


def test_what_is_handed_out_is_the_students_notebook(course):
    handed_out = nbformat.read(course / "release" / CHAPTER / f"{CHAPTER}.ipynb", as_version=4)
    ours = nbformat.read(ROOT / "notebooks" / f"{CHAPTER}.ipynb", as_version=4)
    blanks = {cell.metadata.nbgrader.grade_id: cell.source for cell in ours.cells
              if cell.metadata.get("nbgrader", {}).get("solution")}  # fmt: skip
    for cell in handed_out.cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            assert cell.source == blanks[cell.metadata.nbgrader.grade_id]


def test_marks_are_what_was_earned(course):
    with open(course / "grades.csv", encoding="utf-8") as file:
        marks = {row["student_id"]: (float(row["score"]), float(row["max_score"]))
                 for row in csv.DictReader(file)}  # fmt: skip
    assert marks == {"right": (8, 8), "half": (3, 8), "blank": (0, 8), "tampered": (0, 8)}


def test_feedback_shows_what_the_check_said(course):
    page = (course / "feedback" / "half" / CHAPTER / f"{CHAPTER}.html").read_text()
    assert "not attempted yet" in page
    shutil.rmtree(course / "feedback")
