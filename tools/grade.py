#!/usr/bin/env python3
"""Grade a folder of submitted notebooks: marks in a table, and a page of feedback for each.

    python tools/grade.py SUBMISSIONS [--out grades] [--jobs N] [--release notebooks]

SUBMISSIONS has one folder for each student with the notebooks in it, at any depth; nbgrader's own
`submitted/` is such a folder. Killed at any point, the same command goes on where it was: what is
graded already and has not changed is not graded again.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import nbformat
from grading import feedback, worker
from grading.merge import Unreadable, changed_cells, chapter_of, merge, read_submission
from nbgrader.utils import is_grade
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
# Loaded once, in a server process from which each submission's process is forked.
PRELOAD = ["torch", "torch._dynamo", "torchvision", "matplotlib.pyplot", "torchinfo", "IPython",
           "resnet_tutorial.check", "resnet_tutorial.figures", "grading.worker"]  # fmt: skip


class Grader:
    """Grades submissions against the handed-out notebooks.

    Args:
        release: the folder with the handed-out notebooks.
        out: where marks and feedback go.
        cell_seconds, seconds: how long a cell, and a notebook, may run.
    """

    def __init__(self, release: Path, out: Path, cell_seconds: int, seconds: int) -> None:
        self.releases = {path.stem: nbformat.read(path, as_version=4)
                         for path in sorted(release.glob("*.ipynb"))}  # fmt: skip
        if not self.releases:
            raise SystemExit(f"There are no notebooks in {release}: run 'make notebooks'.")
        self.ids = {name: {cell.metadata.get("nbgrader", {}).get("grade_id") for cell in notebook.cells}
                    - {None} for name, notebook in self.releases.items()}  # fmt: skip
        self.out, self.cell_seconds, self.seconds = out, cell_seconds, seconds
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(PRELOAD)

    def grade(self, student: str, path: Path) -> tuple[str, worker.Result]:
        """Return the name of the notebook and its result; write both files of it."""
        folder = self.out / student
        folder.mkdir(parents=True, exist_ok=True)
        stamp = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        done = folder / f"{path.stem}.{stamp}.json"
        if done.exists():
            result = worker.read(done)
            if result.finished or result.trouble:
                return self._chapter_if_known(path), result
        try:
            submission = read_submission(path)
            chapter = chapter_of(submission, path, self.ids)
        except Unreadable as problem:
            chapter, result = path.stem, worker.Result(trouble=str(problem))
            if path.stem in self.releases:
                result.cells = self._graded_cells(self.releases[path.stem])
            executed = folder / "none"
        else:
            release = self.releases[chapter]
            result = worker.Result(self._graded_cells(release), changed_cells(submission, release))
            executed = folder / f"{path.stem}.{stamp}.executed.ipynb"
            result = self._execute(merge(submission, release), result, done, executed)
        worker.write(done, result)
        page = folder / f"{path.stem}.html"
        page.write_text(feedback.page(student, chapter, result, executed), encoding="utf-8")
        executed.unlink(missing_ok=True)
        return chapter, result

    def _chapter_if_known(self, path: Path) -> str:
        try:
            return chapter_of(read_submission(path), path, self.ids)
        except Unreadable:
            return path.stem

    def _graded_cells(self, release: nbformat.NotebookNode) -> list[worker.Graded]:
        return [worker.Graded(cell.metadata.nbgrader.grade_id, cell.metadata.nbgrader.points)
                for cell in release.cells if is_grade(cell)]  # fmt: skip

    def _execute(self, notebook, result: worker.Result, done: Path, executed: Path) -> worker.Result:
        """Execute in a process of its own, and end that process when its time is up."""
        process = self.context.Process(
            target=_work, args=(notebook, result, done, executed, self.cell_seconds))
        process.start()
        process.join(self.seconds)
        over = process.is_alive()
        _end(process)
        found = worker.read(done) if done.exists() else result
        if over:
            found.trouble = f"it was still running after {self.seconds} seconds."
        elif not found.finished:
            found.trouble = f"the process ended in the middle ({_how(process.exitcode)})."
        return found


def _work(notebook, result, done: Path, executed: Path, cell_seconds: int) -> None:
    """Be the process of one submission."""
    os.setsid()  # so that whatever it starts ends with it
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    worker.execute(notebook, result, done, executed, cell_seconds)
    os._exit(0)  # threads of the submission do not keep it alive


def _end(process) -> None:
    """End a process and all that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    process.join()


def _how(code: int | None) -> str:
    """Return in words how a process ended."""
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}, often because of too much memory"
    return "it called os._exit" if code == 0 else f"exit status {code}"


def submissions(folder: Path) -> list[tuple[str, Path]]:
    """Return the student and the file of every submission in the folder."""
    found = []
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        student = Path(place).relative_to(folder).parts[:1]
        names = sorted(name for name in files if name.endswith(".ipynb") and name[0] != ".")
        found += [(student[0], Path(place) / name) for name in names if student]
    return found


def main() -> int:
    """Grade all, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("submissions", type=Path)
    parser.add_argument("--out", type=Path, default=Path("grades"))
    parser.add_argument("--release", type=Path, default=ROOT / "notebooks")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--cell-seconds", type=int, default=60)
    parser.add_argument("--seconds", type=int, default=600, help="for a whole notebook")
    parser.add_argument("--no-table", action="store_true",
                        help="write no marks.csv: for one of several jobs that share an output folder")
    options = parser.parse_args()
    if os.name != "posix":
        print("Grading needs Linux or macOS: it limits the memory of processes.", file=sys.stderr)
        return 2
    if not options.submissions.is_dir():
        print(f"There is no folder {options.submissions}.", file=sys.stderr)
        return 2
    found = submissions(options.submissions)
    if not found:
        print(f"There are no notebooks in folders of {options.submissions}: it takes one folder for "
              "each student.", file=sys.stderr)  # fmt: skip
        return 2
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tools"), os.environ.get("PYTHONPATH", "")])
    os.environ["OMP_NUM_THREADS"] = "1"
    grader = Grader(options.release, options.out.resolve(), options.cell_seconds, options.seconds)
    began, marks = time.monotonic(), []
    with ThreadPoolExecutor(options.jobs) as pool:
        waiting = {pool.submit(grader.grade, student, path): student for student, path in found}
        for ready in tqdm(as_completed(waiting), total=len(waiting), unit=" notebooks"):
            marks.append((waiting[ready], *ready.result()))
    minutes = (time.monotonic() - began) / 60
    print(f"{len(marks)} notebooks in {minutes:.1f} minutes.")
    if not options.no_table:
        table = options.out / "marks.csv"
        feedback.write_table(table, marks)
        print(f"Marks in {table}, feedback beside it.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
