"""Grading a folder of submissions: marks are right, tricks earn nothing, nothing is lost when killed."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="grading limits the memory of processes")

STUB = "def {name}(*arguments):\n    # YOUR CODE HERE\n    raise NotImplementedError()"
TEST = "report = check.{name}({name})\n{name} = report.working_version()\nreport"
PROJECTION = "def needs_projection(i, o, s):\n    return s != 1 or i != o"
WIDTH = "def bottleneck_width(planes, groups=1, base_width=64):\n    return planes * base_width // 64 * groups"
WRONG = "def needs_projection(i, o, s):\n    return s != 1"


def graded(name: str, points: int, code: str = "", test: str = "") -> list:
    """Return the two cells of one exercise."""
    marks = {"schema_version": 3, "task": False}
    solution = new_code_cell(code or STUB.format(name=name), id=f"exercise-{name}")
    solution.metadata.nbgrader = {**marks, "grade": False, "solution": True, "locked": False, "grade_id": name}
    check = new_code_cell(test or TEST.format(name=name), id=f"check-{name}")
    check.metadata.nbgrader = {**marks, "grade": True, "solution": False, "locked": True,
                               "grade_id": f"check-{name}", "points": points}  # fmt: skip
    return [solution, check]


def notebook(projection: str = "", width: str = "", *, tests: tuple[str, str] = ("", ""), extra=()):
    """Return a small handed-out notebook, or a submission of it."""
    return new_notebook(cells=[
        new_code_cell("raise SystemExit('installs something')", id="mini-install"),
        new_markdown_cell("# A small chapter", id="title"),
        new_code_cell("from resnet_tutorial import check", id="imports"),
        *(new_code_cell(code) for code in extra),
        *graded("needs_projection", 1, projection, tests[0]),
        *graded("bottleneck_width", 2, width, tests[1]),
    ])  # fmt: skip


def without(book, *ids: str):
    book.cells = [cell for cell in book.cells if cell.id not in ids]
    return book


def grade(folder: Path, *options: str, wait: bool = True):
    """Run the command on `folder/submissions`."""
    release = folder / "release"
    release.mkdir(exist_ok=True)
    nbformat.write(notebook(), release / "99_mini.ipynb")
    command = [sys.executable, str(ROOT / "tools" / "grade.py"), str(folder / "submissions"),
               "--out", str(folder / "grades"), "--release", str(release), "--cell-seconds", "4",
               "--seconds", "40", "--jobs", "2", *options]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               start_new_session=True)  # fmt: skip
    if not wait:
        return process
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    with open(folder / "grades" / "marks.csv", encoding="utf-8") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def hand_in(folder: Path, student: str, book) -> Path:
    path = folder / "submissions" / student / "99_mini.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(book, str | bytes):
        path.write_bytes(book.encode() if isinstance(book, str) else book)
    else:
        nbformat.write(book, path)
    return path


FAKE_REPORT = """
class Fake:
    passed, score = True, 1.0
    def working_version(self): return None
class check:
    needs_projection = bottleneck_width = staticmethod(lambda attempt: Fake())
"""
DEAF = "while True:\n    try:\n        while True: pass\n    except: pass"
ALWAYS = "class Always:\n    def __eq__(self, other): return True\n    def __bool__(self): return True\n" \
         "    __hash__ = None\n"  # fmt: skip

# Each with the points that it must get: 1 for the projection, 2 for the width.
HONEST = {
    "right": (notebook(PROJECTION, WIDTH), 3),
    "half": (notebook(PROJECTION), 1),
    "wrong": (notebook(WRONG, WIDTH), 2),
    "blank": (notebook(), 0),
    "helper": (notebook("def needs_projection(i, o, s):\n    return differs(i, o) or s != 1", WIDTH,
                        extra=["def differs(a, b):\n    return a != b"]), 3),  # fmt: skip
    "raises": (notebook("1 / 0", WIDTH), 2),
    "syntax": (notebook("def needs_projection(:", WIDTH), 2),
    "prints": (notebook("print('x' * 10**7)\n" + PROJECTION, WIDTH), 3),
    "endless": (notebook("while True:\n    pass", WIDTH), 2),
    "greedy": (notebook("x = [bytearray(2**28) for _ in range(10**5)]", WIDTH), 2),
    "leaves": (notebook("import sys; sys.exit(1)", WIDTH), 2),
}
TRICKS = {
    "deleted test": (without(notebook(WRONG, WIDTH), "check-needs_projection"), 2),
    "edited test": (notebook(WRONG, WIDTH, tests=("pass", "")), 2),
    "own check": (notebook(WRONG, WRONG, extra=[FAKE_REPORT]), 0),
    "own check late": (notebook(WRONG + FAKE_REPORT, "bottleneck_width = 3"), 0),
    "patched module": (notebook("import resnet_tutorial.check as c\n" + FAKE_REPORT
                                + "c.needs_projection = c.bottleneck_width = lambda a: Fake()\n" + WRONG), 0),
    "patched class": (notebook("from resnet_tutorial.check import core\n"
                               "core.Report.passed = property(lambda self: True)\n"
                               "core.Exercise.__call__ = lambda self, a: core.Report(self)\n" + WRONG), 0),
    "patched registry": (notebook(
        "from resnet_tutorial.check import core\nimport dataclasses\n"
        "for k, v in list(core._REGISTRY.items()):\n"
        "    core._REGISTRY[k] = dataclasses.replace(v, check=lambda a, expect: expect(True, 'x', ''))\n" + WRONG), 0),
    "patched sys.modules": (notebook(FAKE_REPORT + "import sys\nsys.modules['resnet_tutorial.check'] = check\n"
                                     "import resnet_tutorial\nresnet_tutorial.check = check\n" + WRONG), 0),
    "always equal": (notebook(ALWAYS + "def needs_projection(*a): return Always()",
                              ALWAYS + "def bottleneck_width(*a): return Always()"), 0),
    "patched builtins": (notebook("import builtins\nbuiltins.all = lambda x: True\n"
                                  "builtins.isinstance = lambda a, b: True\n" + WRONG, WIDTH), 2),
    "environment": (notebook("import os\nos.environ.pop('NBGRADER_EXECUTION', None)\n" + WRONG, WIDTH), 2),
    "exit with 0": (notebook(WRONG + "\nimport os; os._exit(0)", WIDTH), 0),
    "claims points": (notebook(
        "import json, pathlib, os\nfor f in ('resnet-tutorial-progress.json', 'marks.csv'):\n"
        "    pathlib.Path(f).write_text('{\"passed\": {\"needs_projection\": 1}}')\n"
        "os.environ['RESNET_TUTORIAL_PROGRESS'] = 'resnet-tutorial-progress.json'\n" + WRONG), 0),
    "raised points": (notebook(WRONG, WIDTH), 2),
}  # fmt: skip
for _cell in TRICKS["raised points"][0].cells:
    if _cell.metadata.get("nbgrader", {}).get("grade"):
        _cell.metadata.nbgrader["points"] = 100
BROKEN = {
    "no notebook": "hello", "empty": "", "half a file": nbformat.writes(notebook(PROJECTION, WIDTH))[:900],
    "bytes": b"\x00\xff" * 500, "enormous": b"[" + b" " * 21_000_000 + b"]", "a list": "[]",
}  # fmt: skip


@pytest.fixture(scope="module")
def marks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class")
    for student, (book, _) in {**HONEST, **TRICKS}.items():
        hand_in(folder, student, book)
    hand_in(folder, "deaf", notebook(DEAF, WIDTH))
    for student, content in BROKEN.items():
        hand_in(folder, student, content)
    return folder, grade(folder)


@pytest.mark.parametrize("student", [*HONEST, *TRICKS])
def test_everybody_gets_what_was_earned_and_no_more(student, marks):
    expected = {**HONEST, **TRICKS}[student][1]
    row = marks[1][student]
    assert float(row["earned"]) == expected, row
    assert float(row["points"]) == 3


def test_a_loop_that_swallows_every_exception_costs_only_itself(marks):
    assert float(marks[1]["deaf"]["earned"]) <= 2 and marks[1]["right"]["earned"] == "3"


@pytest.mark.parametrize("student", BROKEN)
def test_what_is_no_notebook_gets_a_sentence(student, marks):
    row = marks[1][student]
    assert float(row["earned"]) == 0 and row["trouble"].startswith("The file ")


def test_put_back_cells_are_named(marks):
    for student in ("deleted test", "edited test"):
        assert marks[1][student]["changed cells"] == "check-needs_projection"
    assert marks[1]["right"]["changed cells"] == ""


def test_feedback_says_what_was_wrong_and_shows_the_notebook(marks):
    page = (marks[0] / "grades" / "wrong" / "99_mini.html").read_text()
    assert "2 of 3 points" in page and "channels-ignored" in page and "Your notebook" in page
    assert "still running after 4 seconds" in (marks[0] / "grades" / "endless" / "99_mini.html").read_text()


def test_scripts_of_a_submission_do_not_run_in_the_page_of_feedback(tmp_path, chromium):
    wants = "document.title = 'stolen'"
    shows = f'<b>seen</b><script>{wants}</script><img src=x onerror="{wants}"><img src=http://127.0.0.1:9/x>'
    book = notebook(PROJECTION, WIDTH, extra=[
        f"from IPython.display import HTML, display\ndisplay(HTML({shows!r}))"])  # fmt: skip
    book.cells.insert(1, new_markdown_cell(f"<script>{wants}</script>"))
    hand_in(tmp_path, "sly", book)
    grade(tmp_path)
    page, refused = chromium.new_page(), {}
    try:
        page.on("requestfailed", lambda request: refused.update({request.url: request.failure}))
        page.goto((tmp_path / "grades" / "sly" / "99_mini.html").as_uri(), wait_until="networkidle")
        assert page.get_by_text("seen", exact=True).is_visible() and page.get_by_text("3 of 3 points").is_visible()
        assert page.title() == "99_mini: sly"
        assert refused["http://127.0.0.1:9/x"] == "csp"  # the browser did not even try
    finally:
        page.close()


def test_there_is_no_network(tmp_path):
    code = "import socket\nsocket.create_connection(('127.0.0.1', 9), timeout=2)"
    hand_in(tmp_path, "curious", notebook(code, WIDTH))
    grade(tmp_path)
    page = (tmp_path / "grades" / "curious" / "99_mini.html").read_text()
    assert "There is no network while a notebook is graded" in page


def test_killed_twice_it_goes_on_where_it_was(tmp_path):
    slow = "import time; time.sleep(0.5)\n" + PROJECTION
    students = [f"student{number:02}" for number in range(14)]
    for student in students:
        hand_in(tmp_path, student, notebook(slow, WIDTH))

    def stamps() -> dict[Path, int]:
        done = (tmp_path / "grades").rglob("*.json")
        return {path: path.stat().st_mtime_ns for path in done if b'"finished": true' in path.read_bytes()}

    known: dict[Path, int] = {}
    for wanted in (3, 7):
        process = grade(tmp_path, wait=False)
        deadline = time.monotonic() + 120
        while len(stamps()) < wanted and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        now = stamps()
        assert len(now) >= wanted and known.items() <= now.items(), "graded again"
        known = now
    table = grade(tmp_path)
    assert sorted(table) == students and {row["earned"] for row in table.values()} == {"3"}
    assert known.items() <= stamps().items(), "graded again"


def test_a_changed_submission_is_graded_again(tmp_path):
    hand_in(tmp_path, "one", notebook(WRONG, WIDTH))
    assert grade(tmp_path)["one"]["earned"] == "2"
    hand_in(tmp_path, "one", notebook(PROJECTION, WIDTH))
    assert grade(tmp_path)["one"]["earned"] == "3"


def test_linked_folders_are_followed_and_hidden_ones_left_out(tmp_path):
    sys.path.insert(0, str(ROOT / "tools"))
    from grade import submissions

    real = hand_in(tmp_path, "ada", notebook())
    (tmp_path / "part" / ".ipynb_checkpoints").mkdir(parents=True)
    (tmp_path / "part" / "ada").symlink_to(real.parent)
    (tmp_path / "part" / ".ipynb_checkpoints" / "99_mini.ipynb").write_text("")
    assert [student for student, _ in submissions(tmp_path / "part")] == ["ada"]


def test_an_empty_folder_and_a_missing_one_are_named(tmp_path):
    for folder, words in ((tmp_path, "one folder for each student"), (tmp_path / "none", "no folder")):
        run = subprocess.run([sys.executable, str(ROOT / "tools" / "grade.py"), str(folder)],
                             capture_output=True, text=True, timeout=120)  # fmt: skip
        assert run.returncode == 2 and words in run.stderr.replace("\n", " ")
