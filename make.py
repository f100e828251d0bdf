"""The project's commands, for Windows, macOS and Linux; the Makefile hands its own targets on to this file.

    py make.py book            on Windows
    python3 make.py book       elsewhere; where there is make: make book

`python3 make.py help` lists the targets. Settings are written as for make: `python3 make.py grade SUBMISSIONS=folder`.
Everything runs in .venv, which the first target that needs it sets up. Only the standard library is used, and any
Python from 3.7 on can read this file, so that one too old for the book is told so in a sentence.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
WINDOWS = os.name == "nt"
OLDEST, UNTESTED = (3, 11), (3, 14)  # from OLDEST on; versions from UNTESTED on only where there is no other
GENERATED = ("_build", ".pytest_cache", ".ruff_cache", ".mypy_cache", ".hypothesis")
NO_PYTHON = (
    "Python 3.11 or newer is needed and was not found{seen}: install it from https://www.python.org/downloads/, "
    "or say where it is with '{call} PYTHON={example} book'."
)


class Failure(Exception):
    """What went wrong, in a sentence, and the exit status that says so."""

    def __init__(self, sentence: str, status: int = 1) -> None:
        super().__init__(sentence)
        self.status = status


class Environment:
    """A virtual environment, and what is installed in it.

    Args:
        folder: its folder in the project.
        sources: the files that say what is installed. One that is newer than `folder/.ready` has it installed again.
        steps: the arguments of pip, one list for each call.
    """

    def __init__(self, folder: str, sources: tuple, steps: tuple) -> None:
        self.folder, self.sources, self.steps = folder, sources, steps

    @property
    def python(self) -> str:
        """Its interpreter, relative to the project."""
        return f"{self.folder}/{'Scripts/python.exe' if WINDOWS else 'bin/python'}"

    def is_ready(self) -> bool:
        """Whether what its files ask for was installed since they last changed."""
        ready = ROOT / self.folder / ".ready"
        if not ready.exists():
            return False
        installed = ready.stat().st_mtime_ns
        return all((ROOT / name).stat().st_mtime_ns <= installed for name in self.sources)

    def set_up(self, runner: Runner) -> None:
        """Create it where it is missing, and install."""
        if self.is_ready():
            return
        # An environment whose Python does not start is of no use; one without pip can be completed.
        starts = answers([self.python], "")
        if not starts or not answers([self.python], "import pip"):
            python = find_python()
            print(f"Setting up {self.folder} with {version(python)} ...", flush=True)
            if runner.status([*python, "-m", "venv", *([] if starts else ["--clear"]), self.folder]):
                advice = "" if WINDOWS else "; on Debian and Ubuntu: apt-get install python3-venv"
                raise Failure(f"The environment {self.folder} could not be created: Python's module venv "
                              f"does not work here{advice}.")
        for step in self.steps:
            if runner.status([self.python, "-m", "pip", "install", "--quiet", *step]):
                raise Failure(f"What {self.sources[0]} names could not be installed: pip says why, above. "
                              "When the cause is gone, the same command goes on from here.")
        if not runner.dry:
            (ROOT / self.folder / ".ready").touch()


BOOK = Environment(".venv", ("requirements.txt", "pyproject.toml"), (
    ["--requirement", "requirements.txt"],
    ["--no-deps", "--no-build-isolation", "--editable", "."],
))
# First what Colab brings, then the package as a notebook installs it: it may add, and upgrade nothing.
COLAB = Environment(".venv-colab", ("constraints-colab.txt", "pyproject.toml"), (
    ["--requirement", "constraints-colab.txt"],
    ["--constraint", "constraints-colab.txt", "--editable", "."],
))


class Target:
    """A target: what it needs first, and what it runs.

    Args:
        run: called with the runner and the settings; its docstring is the line that `help` shows.
        environments: set up before it.
        needs: names of targets that are made before it.
    """

    def __init__(self, run, environments: tuple = (), needs: tuple = ()) -> None:
        self.run, self.environments, self.needs = run, environments, needs
        self.help = (run.__doc__ or "").strip()


TARGETS: dict = {}


def target(*environments: Environment, name: str = "", needs: tuple = ()):
    """Make a function a target, called by its name with a hyphen for each underscore."""

    def add(run):
        TARGETS[name or run.__name__.replace("_", "-")] = Target(run, environments, needs)
        return run

    return add


@target(name="help")
def show_help(runner: Runner, settings: dict) -> None:
    """list the targets"""
    shown = {f"  {call()} {name}": made.help for name, made in TARGETS.items() if not name.startswith(".")}
    width = max(map(len, shown))
    for command, text in shown.items():
        print(f"{command.ljust(width)}  {text}")


@target(BOOK)
def book(runner: Runner, settings: dict) -> None:
    """build the executed HTML book in _build/html"""
    runner(BOOK.python, "tools/build_book.py")


@target(BOOK, needs=("book",))
def test(runner: Runner, settings: dict) -> None:
    """build the book and run every test"""
    runner(BOOK.python, "-m", "pytest", "-n", "2", "--dist", "worksteal")


@target(COLAB)
def test_colab(runner: Runner, settings: dict) -> None:
    """train every network and run every student notebook under Colab's own versions"""
    notebooks = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "notebooks").glob("*.ipynb"))
    runner(COLAB.python, "tools/train_all.py")
    runner(COLAB.python, "tools/run_notebook.py", "--jobs", "2", *notebooks)


@target(BOOK, COLAB)
def test_live(runner: Runner, settings: dict) -> None:
    """operate every widget in live notebooks, by value and by key: JupyterLab, and Colab's versions"""
    for how in ([], ["--keyboard"]):
        runner(BOOK.python, "tools/live_widgets.py", *how)
        runner(BOOK.python, "tools/live_widgets.py", *how, "--python", COLAB.python, "--classic")


@target(BOOK, name="notebooks")
def make_notebooks(runner: Runner, settings: dict) -> None:
    """write notebooks/ anew from book/"""
    runner(BOOK.python, "tools/make_notebooks.py")


@target(BOOK)
def lab(runner: Runner, settings: dict) -> None:
    """open the notebooks in JupyterLab"""
    runner(BOOK.python, "-m", "jupyterlab", "notebooks")


@target(BOOK)
def bench(runner: Runner, settings: dict) -> None:
    """measure networks, training, tracer and checks, as ratios"""
    runner(BOOK.python, "-m", "benchmarks")


@target()
def grade(runner: Runner, settings: dict) -> None:
    """grade SUBMISSIONS=folder into grades/ (or OUT=folder), JOBS=n at once"""
    if WINDOWS:
        raise Failure("Grading needs Linux or macOS, as it forks a process for each submission; "
                      "on Windows it runs in the Windows Subsystem for Linux.")
    if not settings.get("SUBMISSIONS"):
        raise Failure(f"Say where the submissions are: {call()} grade SUBMISSIONS=folder "
                      "(one folder for each student).")
    BOOK.set_up(runner)  # only now, when it is known that there is something to do
    jobs = ["--jobs", settings["JOBS"]] if settings.get("JOBS") else []
    out = seen_from_root(settings["OUT"]) if settings.get("OUT") else "grades"
    runner(BOOK.python, "tools/grade.py", seen_from_root(settings["SUBMISSIONS"]), "--out", out, *jobs)


@target(BOOK, needs=("book",))
def offline(runner: Runner, settings: dict) -> None:
    """build the book and zip it into _build/, to be read from a folder without a network"""
    runner(BOOK.python, "tools/make_offline.py")


@target()
def clean(runner: Runner, settings: dict) -> None:
    """remove what was built, the environments excepted"""
    for name in GENERATED:
        runner.remove(name)


@target(BOOK, name=".venv/.ready")
def ready(runner: Runner, settings: dict) -> None:
    """set up .venv, and no more"""


@target(COLAB, name=".venv-colab/.ready")
def colab_ready(runner: Runner, settings: dict) -> None:
    """set up .venv-colab, and no more"""


class Runner:
    """Runs commands in the project's folder, one after another; with `dry` it only prints them."""

    def __init__(self, dry: bool = False) -> None:
        self.dry = dry
        self.process = None
        self.made: set = set()

    def make(self, name: str, settings: dict) -> None:
        """Make a target and, before it, what it needs; each at most once."""
        if name in self.made:
            return
        self.made.add(name)
        for environment in TARGETS[name].environments:
            environment.set_up(self)
        for needed in TARGETS[name].needs:
            self.make(needed, settings)
        TARGETS[name].run(self, settings)

    def __call__(self, *command: str) -> None:
        """Run a command, and stop where it fails."""
        status = self.status(list(command))
        if status:
            raise Failure(f"Stopped: '{spelled(list(command))}' ended with exit status {status}.", status)

    def status(self, command: list) -> int:
        """Run a command to its end and return its exit status: 128 + n where signal n ended it."""
        if self.dry:
            print(spelled(command))
            return 0
        try:
            self.process = subprocess.Popen(rooted(command), cwd=str(ROOT))
        except OSError as problem:
            raise Failure(f"'{spelled(command)}' does not start: {problem}.") from None
        interrupted = False
        while True:
            try:
                status = self.process.wait()
                break
            except KeyboardInterrupt:  # the command was told too, and ends in its own time
                interrupted = True
        if interrupted and status:
            raise KeyboardInterrupt
        return 128 - status if status < 0 else status

    def remove(self, name: str) -> None:
        """Remove a folder of the project, where there is one."""
        if self.dry:
            print(f"remove {name}")
        elif (ROOT / name).exists():
            try:
                shutil.rmtree(str(ROOT / name))
            except OSError as problem:
                raise Failure(f"{name} could not be removed: {problem}. Is a file in it open?") from None
            print(f"removed {name}")

    def end(self, number: int, frame: object) -> None:
        """On a signal to end: end the command that runs, too."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
        sys.exit(128 + number)


# --- Pythons ---


def find_python() -> list:
    """Return the command of a Python for the environments.

    PYTHON if it is given; else one of the versions that are tested, else any that is new enough.
    """
    chosen = os.environ.get("PYTHON")
    if chosen:
        tried = [[seen_from_root(chosen)] if Path(chosen).is_file() else chosen.split()]
    else:
        tried = [[sys.executable], ["python3"], ["python"]]
        for minor in range(UNTESTED[1] - 1, OLDEST[1] - 1, -1):
            tried.append(["py", f"-3.{minor}"] if WINDOWS else [f"python3.{minor}"])
    new_enough = []
    for command in tried:
        found = version_of(command)
        if OLDEST <= found < UNTESTED:
            return command
        if found >= OLDEST:
            new_enough.append(command)
    if new_enough:
        return new_enough[0]
    seen = ", ".join(sorted({version(command) for command in tried if version_of(command) > (0, 0)}))
    example = r"C:\path\to\python.exe" if WINDOWS else "/path/to/python3"
    raise Failure(NO_PYTHON.format(seen=f" (there is {seen})" if seen else "", call=call(), example=example))


def version_of(command: list) -> tuple:
    """Return the version of a Python as (major, minor); (0, 0) where the command runs none."""
    match = re.match(r"Python (\d+)\.(\d+)", version(command))
    return (int(match[1]), int(match[2])) if match else (0, 0)


def version(command: list) -> str:
    """Return what a Python says of its version, "" where the command runs none."""
    code = "import sys; print('Python ' + sys.version.split()[0])"
    try:
        return subprocess.run(
            rooted([*command, "-c", code]), cwd=str(ROOT), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, check=True,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.CalledProcessError, UnicodeDecodeError):
        return ""


def answers(command: list, code: str) -> bool:
    """Return whether a Python starts and runs `code`."""
    try:
        return subprocess.call(
            rooted([*command, "-c", code]), cwd=str(ROOT), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) == 0  # fmt: skip
    except OSError:
        return False


def seen_from_root(path: str) -> str:
    """Return a path that was given in the caller's folder as it is in the project's, where the commands run."""
    here = Path.cwd()
    return path if here == ROOT else str(here / path)


def rooted(command: list) -> list:
    """Return the command with the full path of a program that lies in the project."""
    inside = ROOT / command[0]
    return [str(inside) if inside.is_file() else command[0], *command[1:]]


# --- the command line ---


def call() -> str:
    """Return how this file was called: by make, or by itself."""
    if "MAKELEVEL" in os.environ:
        return "make"
    return "py make.py" if WINDOWS else "python3 make.py"


def spelled(command: list) -> str:
    """Return a command as one would write it."""
    return " ".join(f'"{word}"' if re.search(r"[\s'\"()&|<>*?$`;]", word) or not word else word for word in command)


def read_arguments(words: list) -> tuple:
    """Return the targets, the settings and whether the commands shall only be printed."""
    names, settings, dry = [], {}, False
    for word in words:
        setting = re.match(r"([A-Za-z_]\w*)=(.*)", word, re.DOTALL)
        if word in ("-n", "--dry-run"):
            dry = True
        elif word in ("-h", "--help"):
            names.append("help")
        elif setting:
            settings[setting[1]] = setting[2]
        elif word in TARGETS:
            names.append(word)
        else:
            near = difflib.get_close_matches(word, TARGETS, n=1)
            advice = f"did you mean '{near[0]}'?" if near else f"'{call()} help' lists them."
            raise Failure(f"There is no target '{word}': {advice}", 2)
    return names or ["help"], settings, dry


def main(words: list) -> int:
    try:
        names, settings, dry = read_arguments(words)
        runner = Runner(dry)
        for number in (getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")):
            if number is not None:
                signal.signal(number, runner.end)
        # As with make: what is given on the command line holds for every command, and the environment's does, too.
        os.environ.update(settings)
        # Whatever kernels and settings a user has: the notebooks run under this environment's Python.
        os.environ["JUPYTER_PREFER_ENV_PATH"] = os.environ["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
        for name in ("JUPYTER_PATH", "PYTHONPATH"):
            os.environ.pop(name, None)
        if WINDOWS:
            os.environ["PYTHONUTF8"] = "1"  # files are UTF-8 there too
        for name in names:
            runner.make(name, dict(os.environ))
    except Failure as failure:
        print(failure, file=sys.stderr)
        return failure.status
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
