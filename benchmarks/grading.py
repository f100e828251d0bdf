"""Marks a minute for a class of 200 that hands in the bottleneck chapter, killed twice on the way.

The class is made here from the handed-out notebook: right, half right, wrong and blank answers, and those that
raise, never end, leave the process, are no notebook, or lack a check.
"""

from __future__ import annotations

import csv
import inspect
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import nbformat

from resnet_tutorial import check

ROOT = Path(__file__).resolve().parents[1]
CHAPTER = ROOT / "notebooks" / "04_bottleneck.ipynb"
HALF = ("pointwise_conv", "bottleneck", "bottleneck_cost")
# What a student of each kind has written for the Bottleneck; {right} is the book's.
SPOILED = {
    "wrong": "{right}\n\nclass Bottleneck(Bottleneck):\n    def forward(self, x):\n        return -super().forward(x)",
    "raises": "raise RuntimeError('half finished')",
    "endless": "while True:\n    pass",
    "leaves": "import os\nos._exit(0)",
}
CLASS = {"right": 60, "half right": 50, "wrong": 50, "blank": 20, "raises": 10, "endless": 3, "leaves": 3,
         "no notebook": 2, "without a check": 2}  # fmt: skip
KILLED_AT = (1 / 3, 2 / 3)  # the share of the class that is marked by then
LOST = "check-bottleneck"  # the cell that somebody has deleted
CELL_SECONDS = 20


def submission(kind: str) -> nbformat.NotebookNode:
    """Return the chapter's notebook as a student of that kind hands it in."""
    book = nbformat.read(CHAPTER, as_version=4)
    exercises = check.catalog()
    for cell in book.cells:
        marks = cell.metadata.get("nbgrader", {})
        name = marks.get("grade_id")
        if not marks.get("solution") or kind == "blank" or (kind == "half right" and name not in HALF):
            continue
        cell.source = inspect.getsource(exercises[name].load_solution())
        if name == "bottleneck":
            cell.source = SPOILED.get(kind, "{right}").replace("{right}", cell.source)
    if kind == "without a check":
        book.cells = [cell for cell in book.cells if cell.metadata.get("nbgrader", {}).get("grade_id") != LOST]
    return book


def expected() -> dict[str, float]:
    """Return the points that each kind has earned; who leaves in the middle has what was marked before."""
    points = {name: exercise.points for name, exercise in check.catalog().items() if exercise.chapter == 4}
    every = sum(points.values())
    others = every - points["bottleneck"]
    return {"right": every, "half right": sum(points[name] for name in HALF), "wrong": others, "blank": 0,
            "raises": others, "endless": others, "leaves": points["pointwise_conv"], "no notebook": 0,
            "without a check": every}  # fmt: skip


def hand_in(folder: Path) -> dict[str, str]:
    """Write all submissions; return each student's kind."""
    kinds: dict[str, str] = {}
    for kind, count in CLASS.items():
        text = "This is no notebook." if kind == "no notebook" else nbformat.writes(submission(kind))
        for _ in range(count):
            student = f"student{len(kinds) * 7919 % 200:03}"  # the kinds mixed, as in a real class
            kinds[student] = kind
            (folder / student).mkdir(parents=True)
            (folder / student / CHAPTER.name).write_text(text, encoding="utf-8")
    return kinds


def _finished(out: Path) -> dict[Path, int]:
    """Return when each finished result was written."""
    return {path: path.stat().st_mtime_ns for path in out.rglob("*.json") if b'"finished": true' in path.read_bytes()}


def _start(submissions: Path, out: Path) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "tools" / "grade.py"), str(submissions), "--out", str(out),
               "--cell-seconds", str(CELL_SECONDS)]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def measure(repeats: int) -> dict[str, float]:
    """Mark the class, killing the marker twice; print marks a minute, and what was lost or marked wrongly."""
    with tempfile.TemporaryDirectory() as name:
        submissions, out = Path(name) / "submissions", Path(name) / "grades"
        kinds = hand_in(submissions)
        seconds, again = 0.0, 0
        known: dict[Path, int] = {}
        for share in (*KILLED_AT, 1):
            began = time.monotonic()
            process = _start(submissions, out)
            while process.poll() is None and (share == 1 or len(_finished(out)) < share * len(kinds)):
                time.sleep(0.2)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            seconds += time.monotonic() - began
            now = _finished(out)
            again += sum(now.get(path) != stamp for path, stamp in known.items())
            known = now
        with open(out / "marks.csv", encoding="utf-8") as file:
            rows = {row["student"]: float(row["earned"]) for row in csv.DictReader(file)}
    wanted = expected()
    wrong = Counter(kinds[student] for student, earned in rows.items() if earned != wanted[kinds[student]])
    rate = 60 * len(kinds) / seconds
    print(f"  {len(kinds)} submissions, killed twice: {seconds:.0f} s, {rate:.1f} a minute; "
          f"{len(kinds) - len(rows)} lost, {again} marked again, "
          f"{sum(wrong.values())} with other marks than earned {dict(wrong) or ''}")  # fmt: skip
    return {"submissions a minute": rate, "lost": len(kinds) - len(rows), "wrong marks": sum(wrong.values())}
