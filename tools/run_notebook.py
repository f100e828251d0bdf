#!/usr/bin/env python3
"""Run notebooks and print only what went wrong.

python tools/run_notebook.py book/04_bottleneck.md             # the student's notebook, exercises blank
python tools/run_notebook.py --solved book/04_bottleneck.md    # every exercise solved; each check must pass
python tools/run_notebook.py --jobs 2 notebooks/*.ipynb        # notebooks as they are committed
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import nbformat
from chapter_source import ROOT, ChapterError, shown
from kernels import Run, run

SHOW_FROM = 2.0  # seconds


def run_file(path: Path, solved: bool, timeout: int) -> tuple[Path, Run | None, str]:
    """Run one chapter or notebook; the last item says what went wrong."""
    path = path.resolve()
    if path.suffix == ".ipynb":
        notebook = nbformat.read(path, as_version=4)
    else:
        from make_notebooks import make_notebook
        from notebook_markdown import Book

        try:
            notebook = make_notebook(path, solved=solved, book=Book(path.parent, lenient=True))
        except ChapterError as error:
            return path, None, str(error)
    result = run(notebook, timeout)
    return path, result, result.failure or (unpassed(notebook) if solved else "")


def unpassed(notebook: nbformat.NotebookNode) -> str:
    """The reports of checks that the book's own solution does not pass."""
    wrong = []
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("grade"):
            report = "".join(map(plain_text, cell.outputs))
            if "passed" not in report:
                wrong.append(f"{cell.id}: {report.strip() or 'no report'}")
    return "\n".join(wrong)


def plain_text(output: nbformat.NotebookNode) -> str:
    return output.get("text") or output.get("data", {}).get("text/plain", "")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--student", action="store_true", help="exercises blank (the default)")
    kind.add_argument(
        "--solved", action="store_true", help="exercises solved; every check must pass"
    )
    parser.add_argument("--timeout", type=int, default=900, help="seconds that a cell may take")
    parser.add_argument("--verbose", action="store_true", help="print what the cells print")
    parser.add_argument("--jobs", type=int, default=1, help="notebooks that run at once")
    parser.add_argument("files", nargs="+", type=Path, help="chapters (.md) or notebooks (.ipynb)")
    options = parser.parse_args()
    if options.jobs > 1:  # kernels side by side share the cores instead of fighting for them
        os.environ.setdefault("OMP_NUM_THREADS", "1")

    failures = 0
    with ProcessPoolExecutor(options.jobs) as pool:
        waiting = [
            pool.submit(run_file, path, options.solved, options.timeout) for path in options.files
        ]
        for future in waiting:
            path, result, wrong = future.result()
            if options.verbose and result:
                print_outputs(result.notebook)
            for name, seconds in result.seconds if result else []:
                if seconds > SHOW_FROM:
                    print(f"  {seconds:6.1f} s  {name}")
            total = f", {result.total:.1f} s" if result else ""
            print(f"{shown(path)}: {'FAILED' if wrong else 'ok'}{total}", flush=True)
            if wrong:
                print(wrong)
                failures += 1
    return 1 if failures else 0


def print_outputs(notebook: nbformat.NotebookNode) -> None:
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if text := plain_text(output).rstrip():
                print(f"--- {cell.id}\n{text}")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
