"""The machinery of the checks: the registry of exercises, and how a check turns into a report.

A chapter's checks stand in ``chapterNN.py`` beside this file, or in a folder ``chapterNN``. Each is
a function of the learner's object and of ``expect``, which records what holds; nothing that the
learner's code does (raise, print, return the wrong type) gets out of :meth:`Exercise.__call__` as a
traceback.
"""

from __future__ import annotations

import linecache
import os
import pkgutil
import re
import sys
import textwrap
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cache
from html import escape
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

from resnet_tutorial.check import guard
from resnet_tutorial.check.bookkeeping import note
from resnet_tutorial.check.holds import ALWAYS, HOLDS

_PACKAGE = Path(__file__).resolve().parents[1]
_REGISTRY: dict[str, Exercise] = {}
_GRADING = bool(os.environ.get("NBGRADER_EXECUTION"))  # as it was before any answer was executed


class CheckFailed(AssertionError):
    """Raised instead of returning a failed report when nbgrader executes the notebook."""


class CannotGoOn(Exception):
    """A finding that is met deep inside a check, where nothing can go on: code, message and hint."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.code, self.hint = code, hint


@dataclass(frozen=True)
class Finding:
    """One thing that a check looked at.

    ``code`` is short and stable (``"relu-before-add"``), ``message`` says what was seen,
    ``hint`` what to try.
    """

    ok: bool
    code: str
    message: str
    hint: str = ""


class Expectations:
    """What a check function records its findings with: ``expect(condition, code, message)``."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.remarks: list[str] = []

    def remark(self, text: str) -> None:
        """Say something about an answer that is neither right nor wrong, once."""
        if text not in self.remarks:
            self.remarks.append(text)

    def __call__(self, condition: bool, code: str, message: str, hint: str = "") -> bool:
        """Record one finding and return whether it holds.

        ``message`` describes what was seen, in words that fit a failure; it is shown then.
        """
        holds = bool(condition)
        self.findings.append(Finding(holds, code, message, hint))
        return holds


@dataclass
class Report:
    """What a check found: shown as a small table in a notebook and as text elsewhere.

    Attributes:
        exercise: the exercise's registry entry.
        findings: what was looked at, in order.
        attempted: ``False`` while the stub still stands.
        attempt: the learner's object.
        printed: what the learner's code printed meanwhile, cut to a readable length.
        replaced: functions of torch or Python that the learner's code had replaced; the check put
            them back.
        remarks: what is worth knowing about a right answer, such as a line that it could do without.
        borrowed: whether the book's own version was checked, which a check that is not passed leaves
            under the learner's name.
    """

    exercise: Exercise
    findings: list[Finding] = field(default_factory=list)
    attempted: bool = True
    attempt: Any = None
    printed: str = ""
    replaced: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    borrowed: bool = False

    @property
    def passed(self) -> bool:
        """Whether something was looked at and all of it holds."""
        return self.attempted and bool(self.findings) and all(f.ok for f in self.findings)

    @property
    def earned(self) -> bool:
        """Whether it passed and is the learner's own."""
        return self.passed and not self.borrowed

    @property
    def score(self) -> float:
        """The share of the exercise's points that is earned: 1.0 or 0.0."""
        return 1.0 if self.earned else 0.0

    def working_version(self) -> Any:
        """Return the learner's object if it passed, else the book's, so that the page goes on."""
        return self.attempt if self.passed else self.exercise.load_solution()

    def _headline(self) -> str:
        where = f"Exercise {self.exercise.chapter}.{self.exercise.number}"
        if not self.attempted:
            stub = "" if self.attempt is None or self.attempt is Ellipsis else f" {_STUB}"
            return f"{where}: not attempted yet.{stub} The cells below go on with the book's version."
        if self.passed and self.borrowed:
            return f"{where}: this is the book's version, not yours."
        if self.passed:
            points = self.exercise.points
            return f"{where}: passed, {points} point{'' if points == 1 else 's'}."
        return f"{where}: not yet. The cells below go on with the book's version."

    def _failures(self) -> list[Finding]:
        return [f for f in self.findings if not f.ok]

    def holds(self) -> list[str]:
        """Return in a few words each what was looked at and is right, in the order in which it was."""
        if self.borrowed:
            return []
        failed = {f.code for f in self._failures()}
        right = (f.code for f in self.findings if f.ok and (self.passed or f.code in ALWAYS - failed))
        known = (HOLDS.get(f"{self.exercise.id}/{code}", HOLDS.get(code)) for code in right)
        return list(dict.fromkeys(words for words in known if words))

    def __str__(self) -> str:
        lines = [self._headline()]
        for finding in self._failures():
            lines.append(f"  - {finding.message} [{finding.code}]")
            if finding.hint:
                lines.append(f"    Try: {finding.hint}")
        lines += [f"  {remark}" for remark in self._notes()]
        if self.holds():
            right = f"  {'Right' if self.passed else 'What holds'}: {'; '.join(self.holds())}."
            lines += textwrap.wrap(right, 100, subsequent_indent="    ")
        return "\n".join(lines)

    def _notes(self) -> list[str]:
        """Return what should be known besides the findings."""
        remarks = [*self.remarks] if self.earned else []
        if self.borrowed:
            remarks.append(_BORROWED)
        if self.replaced:
            some = ", ".join(self.replaced[:3]) + (" ..." if len(self.replaced) > 3 else "")
            remarks.append(f"Note: {some} had been replaced; the check used the original.")
        if self.printed.strip() and not self.passed:
            remarks.append(f"Your code printed: {self.printed.strip()}")
        return remarks

    __repr__ = __str__

    def _repr_html_(self) -> str:
        state = "passed" if self.earned else "failed" if self.attempted and not self.passed else "open"
        colour = {"passed": "#1b7f5c", "failed": "#c2410c", "open": "#6b7280"}[state]
        items = "".join(
            f"<li>{escape(f.message)} <code>{escape(f.code)}</code>"
            + (f"<br><em>Try:</em> {escape(f.hint)}" if f.hint else "")
            + "</li>"
            for f in self._failures()
        )
        marks = "".join(f'<li style="{_ITEM}"><b class="check-tick">✓</b> {escape(w)}</li>' for w in self.holds())
        right = "Right" if self.passed else "What holds"
        return (
            f'<div class="check-report check-{state}" '
            f'style="border-left:4px solid {colour};padding:.4em .8em;margin:.3em 0">'
            f"<strong>{escape(self._headline())}</strong>"
            + (f'<ul style="margin:.4em 0 0">{items}</ul>' if items else "")
            + "".join(f'<div style="margin:.4em 0 0;white-space:pre-wrap">{escape(r)}</div>' for r in self._notes())
            + (f'<ul aria-label="{right}" style="{_LIST}">{marks}</ul>' if marks else "")
            + "</div>"
        )


_STUB = "`raise NotImplementedError()` still stands. Put your answer in its place."
_BORROWED = (
    "A check that is not passed puts the book's version under the name of your answer, so that the cells below go on. "
    "Run the cell with your answer again, mend it if Python complains, and then run this one."
)
# Written into each element: a notebook has no style sheet of the book's.
_LIST = "list-style:none;padding:0;margin:.5em 0 0;display:flex;flex-wrap:wrap;gap:0 1.2em;font-size:.9em"
_ITEM = "margin:0;padding-left:1.1em;text-indent:-1.1em"


@dataclass(frozen=True)
class Exercise:
    """One exercise: its place in the book, its effort, its solution, and the check itself.

    Calling it with the learner's object runs the check and returns a :class:`Report`.

    Attributes:
        id: the name under which the check is called.
        chapter, number: its place, as in "Exercise 4.2".
        difficulty, importance: from 1 to 5.
        minutes: what a learner should plan for.
        points: what it is worth.
        solution: ``"module:Name"`` of the book's own version.
        given: names of methods whose body the learner is given.
    """

    id: str
    chapter: int
    number: int
    title: str
    difficulty: int
    importance: int
    minutes: int
    points: int
    solution: str
    given: tuple[str, ...]
    check: Callable[[Any, Expectations], None] = field(repr=False)

    def load_solution(self) -> Any:
        """Import and return the book's own version."""
        module, _, name = self.solution.partition(":")
        return getattr(import_module(module), name)

    def __call__(self, attempt: Any) -> Report:
        report = self._examine(attempt)
        report.borrowed = attempt is self.load_solution()
        if report.attempted and not report.borrowed:
            note(self.id, report.passed)
        if (_GRADING or os.environ.get("NBGRADER_EXECUTION")) and not report.earned:
            raise CheckFailed(str(report))
        return report

    def _examine(self, attempt: Any) -> Report:
        if attempt is None or attempt is Ellipsis:
            return Report(self, attempted=False, attempt=attempt)
        outcome = guard.run(lambda: self._look_at(attempt))
        result = outcome.result or {"attempted": True, "findings": [], "remarks": []}
        findings = [Finding(**finding) for finding in result["findings"]]
        if outcome.trouble:
            findings.append(Finding(False, outcome.trouble, outcome.message, _AFTER_TROUBLE))
        return Report(
            self, findings, result["attempted"], attempt, outcome.printed, outcome.replaced, tuple(result["remarks"])
        )

    def _look_at(self, attempt: Any) -> dict:
        """Run the check and return what it found, as JSON knows it."""
        expect, attempted = Expectations(), True
        try:
            self.check(attempt, expect)
        except NotImplementedError as error:
            attempted = not _is_untouched_stub(error)
            if attempted and 'missing the required "forward"' in str(error):
                expect(
                    False, "no-forward", "The module has no method called forward.",
                    "Is it misspelt, or indented so that it stands inside __init__?",
                )
            elif attempted:
                expect(False, "raised", _describe(error), "Replace the line that raises it.")
        except MemoryError as error:
            expect(False, "too-much-memory", _describe(error), _LESS_MEMORY)
        except Exception as error:  # whatever the learner's code raises becomes a finding
            if "can't allocate memory" in str(error) or "not enough memory" in str(error):
                expect(False, "too-much-memory", _describe(error), _LESS_MEMORY)
            else:
                expect(False, *_explain(error))
        findings = [asdict(finding) for finding in expect.findings]
        return {"attempted": attempted, "findings": findings, "remarks": expect.remarks}


_AFTER_TROUBLE = "Call it yourself on a small input and watch what it does."
_LESS_MEMORY = "Look at the sizes of what you allocate: is a number of channels or pixels squared?"


def exercise(
    id: str, *, chapter: int, number: int, title: str, difficulty: int, importance: int,
    minutes: int, points: int, solution: str, given: tuple[str, ...] = (),
) -> Callable[[Callable[[Any, Expectations], None]], Exercise]:
    """Register the decorated function as the check of an exercise (fields: :class:`Exercise`).

    Raises:
        ValueError: if the id is taken.
    """  # fmt: skip

    def register(check: Callable[[Any, Expectations], None]) -> Exercise:
        if id in _REGISTRY:
            raise ValueError(f"two exercises are called {id!r}.")
        entry = Exercise(id, chapter, number, title, difficulty, importance, minutes, points, solution, given, check)
        _REGISTRY[id] = entry
        return entry

    return register


@cache
def _load_chapters() -> None:
    package = __name__.rpartition(".")[0]
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name.startswith("chapter"):
            import_module(f"{package}.{module.name}")


def catalog() -> dict[str, Exercise]:
    """Return all exercises by id, in the order of the book."""
    _load_chapters()
    return dict(sorted(_REGISTRY.items(), key=lambda item: (item[1].chapter, item[1].number)))


def learners_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Return the frames outside this package and outside installed libraries, the innermost last."""
    return [frame for frame in traceback.extract_tb(error.__traceback__) if is_learners(frame.filename)]


def is_learners(filename: str) -> bool:
    """Whether code of this file is the learner's: neither this package's nor an installed library's."""
    inside = filename.startswith(str(_PACKAGE)) and "solutions" not in filename
    return not inside and "site-packages" not in filename and "importlib" not in filename


def running_line(called_from: str) -> str:
    """Return the learner's line that is running, as ``"line 14: return out + x"``; nothing if none is.

    ``called_from``: the file that asks. Behind the learner's frames stand the check's own, where the search ends.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not is_learners(frame.f_code.co_filename):
        file = frame.f_code.co_filename
        if file != called_from and file.startswith(str(_PACKAGE / "check")):
            return ""
        frame = frame.f_back
    text = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip() if frame else ""
    return f"line {frame.f_lineno}: {text}" if frame and text else ""


def _is_untouched_stub(error: NotImplementedError) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and (frames[-1].line or "").strip() == "raise NotImplementedError()"


def _explain(error: Exception) -> tuple[str, str, str]:
    """Return code, message and hint for an exception that got out of a check."""
    if isinstance(error, CannotGoOn):
        return error.code, str(error), error.hint
    if learners_frames(error):
        return "raised", _describe(error), _hint(error)
    reason = f"{type(error).__name__}: {str(error).strip() or 'no message'}"
    if isinstance(error, TypeError) and "argument" in str(error):
        return (
            "wrong-signature", f"It could not be called as the exercise asks. {reason}",
            "Keep the first line as it is given: the names of the arguments, their order, their defaults.",
        )  # fmt: skip
    return (
        "wrong-type", f"What it gave could not be used. {reason}",
        "Call it yourself, print what comes back, and compare that with what the exercise asks for.",
    )  # fmt: skip


# What a message of PyTorch's says about a learner's code -> what to try.
_KNOWN = {
    "before Module.__init__() call": "The first line of __init__ is super().__init__().",
    "is not a Module subclass": "Layers need their parentheses, nn.ReLU(), and a list of blocks a star, "
    "nn.Sequential(*blocks).",
    "running_mean should contain": "A batch norm has as many channels as the convolution before it makes.",
    "mat1 and mat2 shapes": "A linear layer takes as many numbers as arrive for each image: print the shape before it.",
    "unexpected keyword argument": "Look at the signature of what is called there: which names does it take?",
}


def _hint(error: Exception) -> str:
    """Return what to try after an exception of the learner's code."""
    words = str(error)
    if isinstance(error, NameError | ImportError):
        return "Is the name spelled as where it was made, and has the cell that makes or imports it been run?"
    for piece, hint in _KNOWN.items():
        if piece in words:
            return hint
    if isinstance(error, AttributeError):
        return "Is the attribute made in __init__, under just this name?"
    if isinstance(error, RecursionError):
        return "Something calls itself: look at the line named, and at what it calls."
    if isinstance(error, RuntimeError) and any(w in words for w in ("size", "shape", "channels", "dimension", "mat1")):
        return "Call it on a small input and print the shapes just before the line named."
    if isinstance(error, IndexError | KeyError):
        return "Print what is indexed, and with what, just before the line named."
    return "Call it yourself with small arguments, and look at the line named."


def _describe(error: Exception) -> str:
    """Return one sentence: what was raised, and at which line of the learner's code."""
    words = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip() or "no message"
    words = words if len(words) < 400 else words[:400] + " …"
    text = f"Your code raised {type(error).__name__}: {words}"
    text = " ".join([text, *getattr(error, "__notes__", ())])
    places = []
    for frame in learners_frames(error)[-3:]:
        line = frame.line or linecache.getline(frame.filename, frame.lineno or 0).strip()
        place = f"in {frame.name}, line {frame.lineno}: {line}"
        if not frame.name.startswith("<listcomp"):  # the line that holds it says the same
            places.append(place)
    return f"{text} ({'; called '.join(reversed(places))})" if places else text
