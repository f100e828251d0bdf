"""make.py and the Makefile: the same targets, set up the same way, on every system; each error is a sentence."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT

POSIX = pytest.mark.skipif(os.name == "nt", reason="is about programs and signals as POSIX has them")
MAKE = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
BOTH_WAYS = pytest.mark.parametrize(
    "by", [(sys.executable, "make.py"), pytest.param(("make",), marks=MAKE)], ids=["make.py", "make"]
)

# A package that installs itself into an environment without asking for another one.
BACKEND = """\
import zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "tiny-1-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.writestr("tiny.py", "")
        wheel.writestr("tiny-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1\\n")
        wheel.writestr("tiny-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("tiny-1.dist-info/RECORD", "")
    return name
"""
PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
# Stands for the tools: notes how it was called, and ends as the test says.
TOOL = """\
import json, os, sys
seen = [sys.argv, sys.executable, os.environ.get("PYTHONPATH"), os.environ.get("SUBMISSIONS")]
with open("calls.txt", "a") as calls:
    print(json.dumps(seen), file=calls)
sys.exit(int(os.environ.get("STATUS", "0")))
"""


@pytest.fixture
def project(tmp_path) -> Path:
    """A small project with this Makefile and this make.py, in a folder whose name has a space."""
    folder = tmp_path / "a project"
    (folder / "tools").mkdir(parents=True)
    for name in ("Makefile", "make.py"):
        shutil.copy(ROOT / name, folder)
    for name in ("build_book", "make_notebooks", "grade"):
        (folder / "tools" / f"{name}.py").write_text(TOOL, encoding="utf-8")
    (folder / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (folder / "backend.py").write_text(BACKEND, encoding="utf-8")
    (folder / "requirements.txt").write_text("", encoding="utf-8")
    return folder


@pytest.fixture
def set_up(project) -> Path:
    """The project with an environment that counts as ready: this Python under that environment's name."""
    for folder in ("bin", "Scripts"):
        (project / ".venv" / folder).mkdir(parents=True)
    if os.name == "nt":
        pytest.skip("Windows has no links that everybody may make")
    (project / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (project / ".venv" / "Scripts" / "python.exe").symlink_to(sys.executable)
    (project / ".venv" / ".ready").touch()
    return project


def load(folder: Path = ROOT):
    """make.py as a module, so that a test can say on which system it is."""
    spec = importlib.util.spec_from_file_location("make_under_test", folder / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(project: Path, *words: str, by=(sys.executable, "make.py"), **environment: str) -> subprocess.CompletedProcess:
    """Call make.py (or make) as a person does."""
    inherited = {name: value for name, value in os.environ.items()
                 if name not in ("MAKELEVEL", "MAKEFLAGS", "PYTHON", "JOBS", "OUT", "SUBMISSIONS")}
    return subprocess.run([*by, *words], cwd=project, env={**inherited, **environment},
                          capture_output=True, text=True, encoding="utf-8", timeout=300)  # fmt: skip


def calls(project: Path) -> list:
    """What the stand-ins of the tools noted: arguments, interpreter, PYTHONPATH, SUBMISSIONS."""
    path = project / "calls.txt"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


# --- what there is ---


def test_the_makefile_hands_on_every_target():
    text = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    named = re.search(r"^TARGETS := (.+)$", text, re.MULTILINE)[1].split()
    assert named == [*dict.fromkeys(named)] and set(named) == set(load().TARGETS)


def test_a_python_too_old_for_the_book_can_read_the_file_and_say_so():
    ast.parse((ROOT / "make.py").read_text(encoding="utf-8"), feature_version=(3, 7))


def test_only_the_standard_library_is_used():
    tree = ast.parse((ROOT / "make.py").read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names <= sys.stdlib_module_names


def test_help_lists_each_target_with_what_it_does():
    module = load()
    shown = call(ROOT, "help").stdout
    for name, target in module.TARGETS.items():
        assert target.help
        if not name.startswith("."):
            assert re.search(rf"make\.py {name} +{re.escape(target.help)}$", shown, re.MULTILINE)
    assert call(ROOT).stdout == call(ROOT, "--help").stdout == shown


@MAKE
def test_make_shows_the_same_help_in_its_own_words(project):
    shown = call(project, "help", by=["make"]).stdout
    assert shown == call(project, "help", MAKELEVEL="1").stdout
    assert "  make book" in shown and "make.py" not in shown


COMMANDS = {
    "book": ["tools/build_book.py"],
    "test": ["tools/build_book.py", "-m pytest -n 2 --dist worksteal"],
    "notebooks": ["tools/make_notebooks.py"],
    "lab": ["-m jupyterlab notebooks"],
    "bench": ["-m benchmarks"],
    "offline": ["tools/build_book.py", "tools/make_offline.py"],
}


@pytest.mark.parametrize("windows", [False, True], ids=["POSIX", "Windows"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_target_runs_its_commands_with_the_environments_python(monkeypatch, set_up, capsys, name, windows):
    module = load(set_up)
    monkeypatch.setattr(module, "WINDOWS", windows)
    assert module.main(["-n", name]) == 0
    python = ".venv/Scripts/python.exe" if windows else ".venv/bin/python"
    assert capsys.readouterr().out.splitlines() == [f"{python} {command}" for command in COMMANDS[name]]


def test_every_tool_and_module_that_a_target_runs_is_there(monkeypatch, capsys):
    module = load()
    monkeypatch.setattr(module.Environment, "is_ready", lambda environment: True)
    assert module.main(["-n", "SUBMISSIONS=x", *(name for name in module.TARGETS if name != "grade")]) == 0
    tools = re.findall(r"(tools/\w+\.py)", capsys.readouterr().out)
    assert len(tools) > 5 and all((ROOT / tool).is_file() for tool in tools)


def test_what_two_targets_need_is_made_once(monkeypatch, set_up, capsys):
    assert load(set_up).main(["-n", "book", "test", "offline"]) == 0
    assert capsys.readouterr().out.count("build_book") == 1


# --- a real environment ---


def test_a_target_sets_up_the_environment_and_runs(project):
    first = call(project, "book", PYTHONPATH="elsewhere")
    assert first.returncode == 0, first.stderr
    assert re.search(r"Setting up \.venv with Python 3\.\d+", first.stdout)
    ((arguments, python, path, _),) = calls(project)
    assert arguments == ["tools/build_book.py"] and path is None
    assert Path(python).parent.parent == project / ".venv"
    ready = project / ".venv" / ".ready"
    installed = ready.stat().st_mtime_ns
    assert subprocess.run([python, "-c", "import tiny"]).returncode == 0

    assert "Setting up" not in call(project, "book").stdout  # all is there
    assert ready.stat().st_mtime_ns == installed and len(calls(project)) == 2

    later = installed + 5_000_000_000
    os.utime(project / "requirements.txt", ns=(later, later))
    assert "pip install --quiet --requirement requirements.txt" in call(project, "-n", "book").stdout
    (project / "requirements.txt").write_text("--no-index\nno-such-package-of-ours==1\n", encoding="utf-8")
    os.utime(project / "requirements.txt", ns=(later, later))
    failed = call(project, "book")
    assert failed.returncode == 1 and len(calls(project)) == 2
    assert "What requirements.txt names could not be installed: pip says why, above." in failed.stderr


def test_windows_reads_the_same_rule_of_readiness(monkeypatch, set_up, capsys):
    module = load(set_up)
    monkeypatch.setattr(module, "WINDOWS", True)
    later = time.time_ns() + 5_000_000_000
    os.utime(set_up / "pyproject.toml", ns=(later, later))
    assert module.main(["-n", "notebooks"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        ".venv/Scripts/python.exe -m pip install --quiet --requirement requirements.txt",
        ".venv/Scripts/python.exe -m pip install --quiet --no-deps --no-build-isolation --editable .",
        ".venv/Scripts/python.exe tools/make_notebooks.py",
    ]
    (set_up / ".venv" / "Scripts" / "python.exe").unlink()
    assert module.main(["-n", "notebooks"]) == 0
    assert "-m venv --clear .venv" in capsys.readouterr().out


def test_windows_runs_a_tool_and_reads_files_as_utf8(monkeypatch, set_up):
    module = load(set_up)
    monkeypatch.setattr(module, "WINDOWS", True)
    monkeypatch.setattr(module.os, "environ", {**os.environ})
    assert module.main(["notebooks"]) == 0
    ((arguments, python, _, _),) = calls(set_up)
    assert arguments == ["tools/make_notebooks.py"] and Path(python) == set_up / ".venv/Scripts/python.exe"
    assert module.os.environ["PYTHONUTF8"] == "1"


def test_a_browser_that_windows_installed_is_found_off_the_search_path(monkeypatch, tmp_path):
    import browser

    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("LOCALAPPDATA", "ProgramFiles(x86)"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ProgramFiles", str(tmp_path))
    monkeypatch.setattr(browser, "APPLICATIONS", [path for path in browser.APPLICATIONS if path[0] != "/"])
    assert browser.find() is None
    chrome = tmp_path / "Google" / "Chrome" / "Application" / "chrome.exe"
    chrome.parent.mkdir(parents=True)
    chrome.touch()
    assert Path(browser.find()) == chrome


# --- settings ---


@BOTH_WAYS
def test_settings_are_passed_on(set_up, by):
    found = call(set_up, "grade", "SUBMISSIONS=class of 26", "OUT=marks here", "JOBS=3", by=by)
    assert found.returncode == 0, found.stderr
    ((arguments, _, _, exported),) = calls(set_up)
    assert arguments == ["tools/grade.py", "class of 26", "--out", "marks here", "--jobs", "3"]
    assert exported == "class of 26"


def test_settings_may_stand_in_the_environment(set_up):
    assert call(set_up, "grade", SUBMISSIONS="class").returncode == 0
    assert calls(set_up)[0][0] == ["tools/grade.py", "class", "--out", "grades"]


def test_called_from_another_folder_the_callers_paths_hold(set_up, tmp_path):
    made = call(tmp_path, "grade", "SUBMISSIONS=class", "OUT=marks", by=(sys.executable, str(set_up / "make.py")))
    assert made.returncode == 0, made.stderr
    assert calls(set_up)[0][0] == ["tools/grade.py", str(tmp_path / "class"), "--out", str(tmp_path / "marks")]


# --- errors ---


@pytest.mark.parametrize(("word", "advice"), [("tset", "did you mean 'test'?"), ("xyzzy", "help' lists them.")])
def test_an_unknown_target_is_named(set_up, word, advice):
    found = call(set_up, "book", word)
    assert found.returncode == 2 and calls(set_up) == []  # nothing is begun
    assert f"There is no target '{word}'" in found.stderr and advice in found.stderr


def test_grade_asks_where_the_submissions_are(set_up):
    found = call(set_up, "grade")
    assert found.returncode == 1 and "Say where the submissions are: " in found.stderr


def test_grade_says_on_windows_that_it_does_not_run_there(monkeypatch, set_up, capsys):
    module = load(set_up)
    monkeypatch.setattr(module, "WINDOWS", True)
    assert module.main(["grade", "SUBMISSIONS=x"]) == 1
    assert "Grading needs Linux or macOS" in capsys.readouterr().err


@BOTH_WAYS
def test_a_command_that_fails_stops_the_rest(set_up, by):
    found = call(set_up, "book", "notebooks", by=by, STATUS="3")
    assert found.returncode != 0 and len(calls(set_up)) == 1
    assert "Stopped: '.venv/bin/python tools/build_book.py' ended with exit status 3." in found.stderr


@POSIX
def test_a_python_too_old_is_named(project, tmp_path):
    old = program(tmp_path / "old", "echo Python 3.9.1")
    found = call(project, "book", f"PYTHON={old}")
    assert found.returncode == 1
    assert "Python 3.11 or newer is needed and was not found (there is Python 3.9.1)" in found.stderr
    assert "was not found:" in call(project, "book", "PYTHON=no-such-python").stderr


@POSIX
def test_a_tested_python_is_taken_before_a_newer_one(monkeypatch, tmp_path):
    for name, number in {"python3": "3.15.0", "python": "3.8.2", "python3.12": "3.12.4"}.items():
        program(tmp_path / name, f"echo Python {number}")
    module = load()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("PYTHON", raising=False)
    monkeypatch.setattr(module.sys, "executable", str(tmp_path / "python3"))
    assert module.find_python() == ["python3.12"]
    (tmp_path / "python3.12").unlink()
    assert module.find_python() == [str(tmp_path / "python3")]


@POSIX
def test_windows_asks_its_launcher_for_a_python(monkeypatch, tmp_path):
    program(tmp_path / "py", '[ "$1" = -3.12 ] && echo Python 3.12.4')
    module = load()
    monkeypatch.setattr(module, "WINDOWS", True)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("PYTHON", raising=False)
    monkeypatch.setattr(module.sys, "executable", str(tmp_path / "gone"))
    assert module.find_python() == ["py", "-3.12"]


@POSIX
def test_a_python_without_venv_is_explained(project, tmp_path):
    bare = program(tmp_path / "bare", f'[ "$1" = -m ] && exit 1; exec {sys.executable} "$@"')
    found = call(project, "book", f"PYTHON={bare}")
    assert found.returncode == 1 and "apt-get install python3-venv" in found.stderr


@POSIX
@MAKE
def test_without_any_python_make_says_so(project, tmp_path):
    (tmp_path / "empty").mkdir()
    make = shutil.which("make")
    found = call(project, "book", by=(make,), PATH=str(tmp_path / "empty"), SHELL="/bin/sh")
    assert found.returncode == 2 and "Python 3.11 or newer is needed and was not found" in found.stdout


# --- signals ---

WAITS = """\
import signal, sys, time
def end(number, frame):
    time.sleep(0.6)
    open("ended.txt", "w").write(str(number))
    sys.exit(7)
signal.signal(signal.SIGINT, end)
signal.signal(signal.SIGTERM, end)
open("began.txt", "w").close()
time.sleep(60)
"""


@POSIX
@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "kill"])
def test_a_command_ends_in_its_own_time(set_up, sent, status):
    (set_up / "tools" / "build_book.py").write_text(WAITS, encoding="utf-8")
    running = subprocess.Popen(
        [sys.executable, "make.py", "book"], cwd=set_up, start_new_session=True,
        # Where the tests run in the background, Ctrl-C is ignored, and what they start would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    end = time.monotonic() + 30
    while not (set_up / "began.txt").exists() and time.monotonic() < end:
        time.sleep(0.05)
    if sent == signal.SIGINT:  # a terminal tells all
        os.killpg(running.pid, sent)
    else:
        running.send_signal(sent)
    assert running.wait(30) == status
    end = time.monotonic() + 10
    while not (set_up / "ended.txt").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert (set_up / "ended.txt").read_text() == str(int(sent))


def test_clean_removes_what_was_built_and_no_environment(set_up):
    for name in ("_build", ".pytest_cache", "results"):
        (set_up / name / "in").mkdir(parents=True)
    assert call(set_up, "clean").returncode == 0
    assert not (set_up / "_build").exists() and not (set_up / ".pytest_cache").exists()
    assert (set_up / "results" / "in").is_dir() and (set_up / ".venv" / ".ready").exists()
