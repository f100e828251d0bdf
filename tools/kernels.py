"""Run a notebook under the interpreter that runs this, and say shortly where it failed."""

from __future__ import annotations

import os
import re
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError


@dataclass
class Run:
    """What came of running a notebook."""

    notebook: nbformat.NotebookNode
    seconds: list[tuple[str, float]] = field(default_factory=list)  # of every code cell, by its id
    failure: str = ""

    @property
    def total(self) -> float:
        return sum(seconds for _, seconds in self.seconds)


def use_own_kernel() -> None:
    """Make `python3` mean this interpreter, whatever kernels a user has installed for themselves."""
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    os.environ.pop("JUPYTER_PATH", None)
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    os.environ["RESNET_TUTORIAL_PROGRESS"] = "none"  # the book's own answers are nobody's progress


def run(notebook: nbformat.NotebookNode, timeout: int = 900, cwd: Path | None = None) -> Run:
    """Execute `notebook` in place, from an empty folder unless `cwd` is given."""
    use_own_kernel()
    result = Run(notebook)
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],
    )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as empty:
        client.resources = {"metadata": {"path": str(cwd or empty)}}
        with client.setup_kernel():
            for index, cell in enumerate(notebook.cells):
                if cell.cell_type != "code" or not cell.source.strip():
                    continue
                started = time.perf_counter()
                try:
                    client.execute_cell(cell, index)
                except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                    result.failure = describe(cell, error)
                    break
                finally:
                    result.seconds.append(
                        (cell.get("id", str(index)), time.perf_counter() - started)
                    )
    return result


def describe(cell: nbformat.NotebookNode, error: Exception) -> str:
    """The cell that failed and the end of its traceback, without colours."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    source = "\n".join(f"    {line}" for line in cell.source.splitlines()[:15])
    return f"cell {cell.get('id')}:\n{source}\n  {type(error).__name__}: " + "\n  ".join(
        text.splitlines()[-25:]
    )
