"""Executing one submission, in a process of its own that can do no harm.

The process is a fork of one that has torch loaded already. It has a time for each cell and for the
whole, limited memory, no network, a folder of its own; what it found so far is written down after
each graded cell, so that a crash costs only what came after it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

import nbformat
from nbgrader.utils import is_grade

MEMORY = 6 * 2**30  # bytes of address space on top of what the process starts with
FILE_SIZE = 100 * 2**20  # bytes of any file that it writes
OUTPUT = 20_000  # characters that are kept of what a cell prints
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000  # of unshare(2)


@dataclass
class Graded:
    """One graded cell: what it is worth, what was earned, and what the check said."""

    exercise: str
    points: float
    earned: float = 0.0
    said: str = ""


@dataclass
class Result:
    """What grading one submission gave.

    Attributes:
        cells: the graded cells, in the order of the notebook.
        changed: locked cells that were missing or changed, and were put back.
        trouble: why the execution ended early; empty when it did not.
        finished: whether the notebook was executed to its end.
    """

    cells: list[Graded] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    trouble: str = ""
    finished: bool = False

    @property
    def earned(self) -> float:
        return sum(cell.earned for cell in self.cells)

    @property
    def points(self) -> float:
        return sum(cell.points for cell in self.cells)


def write(path: Path, result: Result) -> None:
    """Write a result so that a reader never sees half of it."""
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(asdict(result)), encoding="utf-8")
    os.replace(temporary, path)


def read(path: Path) -> Result:
    """Return the result that `write` wrote."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return Result(**{**content, "cells": [Graded(**cell) for cell in content["cells"]]})


class CellTime(BaseException):
    """Raised in a cell that runs too long."""


def execute(notebook: nbformat.NotebookNode, result: Result, path: Path, executed: Path,
            cell_seconds: int) -> None:
    """Execute the merged notebook in this process, and write down what each graded cell gave.

    Args:
        notebook: what `merge` returned.
        result: with all graded cells in it, none of them earned.
        path: where the result is written, again and again.
        executed: where the executed notebook is written at the end.
        cell_seconds: how long one cell may run.
    """
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        _confine(folder)
        shell, checks = _make_shell()
        graded = {cell.exercise: cell for cell in result.cells}
        answers: dict[str, str] = {}  # why the cell with the answer failed
        for cell in notebook.cells:
            if cell.cell_type != "code" or cell.id.endswith("-install"):
                continue
            if is_grade(cell):
                checks.put_back(shell)
            failure = _run(shell, cell, cell_seconds)
            name = cell.metadata.get("nbgrader", {}).get("grade_id", "")
            if is_grade(cell):
                entry = graded[name]
                entry.earned = 0.0 if failure else entry.points
                answer = answers.get(name.removeprefix("check-"), "")
                entry.said = "\n".join(filter(None, [answer, failure]))[:OUTPUT]
                write(path, result)
            elif name and failure:
                answers[name] = f"In the cell with the answer: {failure}"
        nbformat.write(notebook, executed)
        result.finished = True
        write(path, result)
        os.chdir("/")


class _Checks:
    """The package's own checks, as they were before the submission's first line ran."""

    def __init__(self) -> None:
        from resnet_tutorial import check
        from resnet_tutorial.check import core, pristine

        self.module, self.core, self.restore = check, core, pristine.restore
        self.entries = dict(check.catalog())
        pristine.remember()

    def put_back(self, shell) -> None:
        """Make `check` and all that it calls what they were."""
        sys.modules["resnet_tutorial.check"] = self.module
        self.restore()
        self.core._REGISTRY.clear()
        self.core._REGISTRY.update(self.entries)
        for name in self.entries:
            vars(self.module).pop(name, None)
        shell.user_ns["check"] = self.module
        os.environ["NBGRADER_EXECUTION"] = "autograde"


def _make_shell():
    """Return an IPython shell, and the checks to put back into it."""
    from IPython.core.interactiveshell import InteractiveShell

    os.environ |= {"NBGRADER_EXECUTION": "autograde", "MPLBACKEND": "agg",
                   "RESNET_TUTORIAL_PROGRESS": "none", "RESNET_TUTORIAL_DOWNLOAD": "never"}  # fmt: skip
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(history_length=0)
    if shell.history_manager is not None:
        shell.history_manager.enabled = False
    return shell, _Checks()


def _run(shell, cell: nbformat.NotebookNode, seconds: int) -> str:
    """Execute one cell, keep its output in it, and return why it failed, or ""."""
    from IPython.utils.capture import capture_output

    def stop(*_) -> None:
        signal.setitimer(signal.ITIMER_REAL, 1)  # again, should a bare `except:` swallow this one
        raise CellTime

    signal.signal(signal.SIGALRM, stop)
    problem: BaseException | None = None
    with capture_output() as captured:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            outcome = shell.run_cell(cell.source, store_history=False)
            problem = outcome.error_before_exec or outcome.error_in_exec
        except BaseException as error:
            problem = error
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    cell.outputs = _outputs(captured, problem)
    if problem is None:
        return ""
    if isinstance(problem, CellTime):
        return f"The cell was still running after {seconds} seconds."
    return f"{type(problem).__name__}: {problem}" if not _is_report(problem) else str(problem)


def _is_report(problem: BaseException) -> bool:
    return type(problem).__name__ == "CheckFailed"


def _outputs(captured, problem: BaseException | None) -> list:
    """Return what a cell printed and showed, cut to a readable length, as a notebook keeps it."""
    outputs = []
    for name in ("stdout", "stderr"):
        text = getattr(captured, name)
        if text.strip():
            cut = "\n... cut off" if len(text) > OUTPUT else ""
            outputs.append(nbformat.v4.new_output("stream", name=name, text=text[:OUTPUT] + cut))
    for shown in captured.outputs[:20]:
        data = {kind: value for kind, value in shown.data.items() if len(str(value)) < 1_000_000}
        outputs.append(nbformat.v4.new_output("display_data", data=_text_only(data)))
    if problem is not None:
        text = str(problem)[:OUTPUT]
        outputs.append(nbformat.v4.new_output(
            "error", ename=type(problem).__name__, evalue=text, traceback=[text]))  # fmt: skip
    return outputs


def _text_only(data: dict) -> dict:
    """Return the parts of an output that JSON can hold."""
    import base64

    return {kind: base64.b64encode(value).decode() if isinstance(value, bytes) else value
            for kind, value in data.items()}  # fmt: skip


def _confine(folder: str) -> None:
    """Take from this process what a submission does not need."""
    os.environ |= {"HOME": folder, "TMPDIR": folder}
    with open("/proc/self/statm", encoding="ascii") if os.path.exists("/proc/self/statm") \
            else contextlib.nullcontext() as file:
        now = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE") if file else 0
    for kind, value in ((resource.RLIMIT_AS, now + MEMORY), (resource.RLIMIT_FSIZE, FILE_SIZE),
                        (resource.RLIMIT_CORE, 0)):  # fmt: skip
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (value, value))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).unshare(_NEW_USER | _NEW_NETWORK)  # a network without any cable, on Linux
    sys.addaudithook(_no_network)  # and everywhere: a hook that cannot be taken off again


def _no_network(event: str, arguments: tuple) -> None:
    if event in ("socket.connect", "socket.getaddrinfo", "socket.bind", "socket.sendto"):
        raise PermissionError("There is no network while a notebook is graded.")
