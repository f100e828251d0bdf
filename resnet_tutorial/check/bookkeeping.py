"""What a learner has passed, kept in a small file across restarts; nothing is sent anywhere.

The file is `RESNET_TUTORIAL_PROGRESS` if that is set (``none`` keeps nothing), else it lies in the
user's data folder, and on Colab in Google Drive where that is mounted.
"""

from __future__ import annotations

import datetime
import json
import os
import sys
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

FILE = "resnet-tutorial-progress.json"
_FORMAT = "resnet_tutorial progress 1"
_DRIVE = Path("/content/drive/MyDrive")
_COLAB = Path("/content")


def places() -> list[Path]:
    """Return the files in which progress may lie; the first is the one that is written."""
    chosen = os.environ.get("RESNET_TUTORIAL_PROGRESS", "")
    if chosen:
        return [] if chosen.lower() == "none" else [Path(chosen).expanduser()]
    found = []
    if on_colab():
        if _DRIVE.is_dir():
            found.append(_DRIVE / FILE)
        found.append(_COLAB / FILE)  # where an uploaded file arrives
    return [*found, _user_data() / FILE]


def on_colab() -> bool:
    """Return whether this is a Colab session, whose disk vanishes with it."""
    return "google.colab" in sys.modules or "COLAB_RELEASE_TAG" in os.environ


def _user_data() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")


@dataclass
class Record:
    """What is kept: when each exercise was first passed, and how often each was tried before."""

    passed: dict[str, str] = field(default_factory=dict)
    tries: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Record:
        """Return what the file holds.

        Raises:
            ValueError: it is not a progress file.
            OSError: it cannot be read.
        """
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise ValueError("it has another format")
        passed, tries = content.get("passed"), content.get("tries")
        if not isinstance(passed, dict) or not isinstance(tries, dict):
            raise ValueError("its entries are missing")
        return cls({str(k): str(v) for k, v in passed.items()},
                   {str(k): int(v) for k, v in tries.items()})  # fmt: skip

    def merge(self, other: Record) -> None:
        """Take over what the other has: the earlier of two dates, the larger of two numbers."""
        for name, when in other.passed.items():
            self.passed[name] = min(when, self.passed.get(name, when))
        for name, number in other.tries.items():
            self.tries[name] = max(number, self.tries.get(name, 0))

    def write(self, path: Path) -> None:
        """Write the file so that a reader never sees half of it.

        Raises:
            OSError: the folder cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
        content = {"format": _FORMAT, "passed": self.passed, "tries": self.tries}
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        os.replace(temporary, path)


def load() -> tuple[Record, list[str]]:
    """Return all progress that is found, and a sentence about each file that cannot be used."""
    record, complaints = Record(), []
    for path in places():
        try:
            record.merge(Record.read(path))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, TypeError) as problem:
            complaints.append(f"{path} cannot be used ({problem}); it was left as it is.")
    return record, complaints


def note(exercise: str, passed: bool) -> None:
    """Add one try to the file; where it cannot be written, nothing is kept and nothing is said."""
    if not places():
        return
    path = places()[0]
    record, complaints = load()  # what another notebook has written meanwhile stays
    if any(str(path) in complaint for complaint in complaints):
        return
    if passed:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        record.passed.setdefault(exercise, now)
    elif exercise not in record.passed:
        record.tries[exercise] = record.tries.get(exercise, 0) + 1
    try:
        record.write(path)
    except OSError:
        return


@dataclass
class Chapter:
    """How far one chapter is done."""

    number: int
    exercises: int
    done: int
    points: int
    earned: int


@dataclass
class Progress:
    """What is done: a table in a notebook, text elsewhere.

    Attributes:
        chapters: one entry for each chapter that has exercises.
        next: the first open exercise from the chapter of the last passed one on, or else of all,
            as "4.2, Write the Bottleneck"; "" at the end.
        remarks: where the file lies, how to keep it, and which files could not be used.
    """

    chapters: list[Chapter]
    next: str
    remarks: list[str]

    @property
    def points(self) -> tuple[int, int]:
        """The points earned, and those there are."""
        return sum(c.earned for c in self.chapters), sum(c.points for c in self.chapters)

    @property
    def exercises(self) -> tuple[int, int]:
        """The exercises passed, and those there are."""
        return sum(c.done for c in self.chapters), sum(c.exercises for c in self.chapters)

    def _summary(self) -> str:
        (done, exercises), (earned, points) = self.exercises, self.points
        whole = sum(c.done == c.exercises for c in self.chapters)
        return (f"{done} of {exercises} exercises, {earned} of {points} points, "
                f"{whole} of {len(self.chapters)} chapters.")  # fmt: skip

    def _ending(self) -> list[str]:
        stop = "" if self.next[-1:] in "?!" else "."
        return [f"Next: exercise {self.next}{stop}" if self.next else "All of it is done.", *self.remarks]

    def __str__(self) -> str:
        lines = [self._summary()]
        for c in self.chapters:
            bar = "#" * c.done + "." * (c.exercises - c.done)
            lines.append(f"  chapter {c.number:2}  {bar:8}  {c.earned:2} of {c.points:2} points")
        return "\n".join([*lines, *self._ending()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{c.number}</td><td><progress max={c.exercises} value={c.done}>"
            f"{c.done} of {c.exercises}</progress></td><td>{c.done} of {c.exercises}</td>"
            f"<td>{c.earned} of {c.points}</td></tr>"
            for c in self.chapters
        )
        ending = "".join(f"<p>{escape(line)}</p>" for line in self._ending())
        return (
            f'<div class="check-progress"><p><strong>{escape(self._summary())}</strong></p>'
            "<table><thead><tr><th>Chapter</th><th></th><th>Exercises</th><th>Points</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>{ending}</div>"
        )


def progress(chapter: int = 1) -> Progress:
    """Return what is passed: ``check.progress()`` in a notebook shows it as a table.

    ``chapter``: where a reader is who has passed nothing yet; the next exercise is looked for from there on.
    """
    from resnet_tutorial.check.core import catalog

    record, complaints = load()
    chapters: dict[int, Chapter] = {}
    open_ones: list[tuple[int, str]] = []
    reached = chapter  # then that of the last exercise that is passed
    for name, exercise in catalog().items():
        c = chapters.setdefault(exercise.chapter, Chapter(exercise.chapter, 0, 0, 0, 0))
        done = name in record.passed
        c.exercises += 1
        c.points += exercise.points
        c.done += done
        c.earned += exercise.points * done
        if done:
            reached = max(reached, exercise.chapter)
        else:
            open_ones.append((exercise.chapter, f"{exercise.chapter}.{exercise.number}, {exercise.title}"))
    behind = [title for chapter, title in open_ones if chapter >= reached]
    first = next(iter(behind or [title for _, title in open_ones]), "")
    return Progress(list(chapters.values()), first, [*complaints, *_how_to_keep()])


def _how_to_keep() -> list[str]:
    """Return where the file lies, and on Colab what to do so that it stays."""
    where = places()
    if not where:
        return ["Progress is not kept: RESNET_TUTORIAL_PROGRESS is set to none."]
    if not on_colab():
        return [f"Kept in {where[0]}."]
    if where[0].is_relative_to(_DRIVE):
        return [f"Kept in your Google Drive: {where[0]}."]
    return [
        f"Kept in {where[0]}, which vanishes when this Colab session ends. To keep it, mount your Drive "
        "(from google.colab import drive; drive.mount('/content/drive')) and run a check again; or "
        f"download {FILE} from the files panel, and upload it there next time."
    ]
