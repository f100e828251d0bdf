#!/usr/bin/env python3
"""Run chapters as notebooks and print only what went wrong.

python tools/run_notebook.py book/04_bottleneck.md             # the student's, exercises blank
python tools/run_notebook.py --solved book/04_bottleneck.md    # every exercise solved and passed
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from chapter_source import ROOT, ChapterError, shown
from kernels import run
from make_notebooks import make_notebook


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
    parser.add_argument("chapters", nargs="+", type=Path)
    options = parser.parse_args()

    failures = 0
    for path in options.chapters:
        try:
            notebook = make_notebook(path.resolve(), solved=options.solved)
        except ChapterError as error:
            print(error)
            failures += 1
            continue
        result = run(notebook, options.timeout)
        wrong = result.failure or (unpassed(notebook) if options.solved else "")
        if options.verbose:
            print_outputs(notebook)
        for name, seconds in result.seconds:
            if seconds > 2:
                print(f"  {seconds:6.1f} s  {name}")
        kind_name = "solved" if options.solved else "student"
        print(
            f"{shown(path.resolve())} ({kind_name}): {'FAILED' if wrong else 'ok'}, {result.total:.1f} s"
        )
        if wrong:
            print(wrong)
            failures += 1
    return 1 if failures else 0


def unpassed(notebook) -> str:
    """The reports of checks that the book's own solution does not pass."""
    wrong = []
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("grade"):
            shown_text = "".join(
                output.get("data", {}).get("text/plain", output.get("text", ""))
                for output in cell.get("outputs", [])
            )
            if "passed" not in shown_text:
                wrong.append(f"{cell.id}: {shown_text.strip() or 'no report'}")
    return "\n".join(wrong)


def print_outputs(notebook) -> None:
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            if text.strip():
                print(f"--- {cell.id}\n{text.rstrip()}")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
