"""The worked examples of CONTRIBUTING.md do what they say."""

from __future__ import annotations

import ast
import re
import shutil

import pytest
from chapter_source import read_chapter
from conftest import ROOT
from test_figures_described import shortcoming
from widget_help import rules

from resnet_tutorial.check import chapter02
from resnet_tutorial.figures import convolution
from resnet_tutorial.shapes import conv_output_size
from resnet_tutorial.widgets import base

GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^(`{3,})(\w*)\n(.*?)^\1$", GUIDE, re.M | re.S)


def block(language: str, part: str) -> str:
    """The one block of that language with this text in it."""
    (found,) = [text for _, kind, text in BLOCKS if kind == language and part in text]
    return found


def executed(text: str, home) -> dict:
    """What the text defines at the end of a module."""
    names = dict(vars(home))
    exec(compile(text, "CONTRIBUTING.md", "exec"), names)
    return names


@pytest.mark.parametrize("text", [text for _, kind, text in BLOCKS if kind == "python"])
def test_python_in_the_guide_is_python(text):
    ast.parse(text)


def test_the_chapter_is_one_and_prints_what_is_left(tmp_path, capsys):
    path = tmp_path / "13_counting.md"
    path.write_text(block("", "# 13. Counting"), encoding="utf-8")
    chapter, names = read_chapter(path), {}
    for cell in chapter.code():
        exec(cell.source, names)
    assert chapter.title == "13. Counting" and capsys.readouterr().out == "7\n"


class Expected:
    """What a check records of an answer."""

    def __init__(self) -> None:
        self.codes: list[str] = []

    def __call__(self, condition, code, message, hint="") -> bool:
        if not condition:
            self.codes.append(code)
        return bool(condition)


def test_the_check_passes_the_solution_and_names_each_mistake(monkeypatch):
    monkeypatch.setattr(chapter02, "exercise", lambda *names, **options: lambda check: check)  # not into the registry
    check = executed(block("python", "def check_same_padding"), chapter02)["check_same_padding"]
    solution = executed(block("python", "def same_padding("), chapter02)["same_padding"]
    cases = ast.parse(block("python", "test_a_padding_that_does_not_keep")).body[0].decorator_list[0].args[1]
    wrong = eval(compile(ast.Expression(cases), "CONTRIBUTING.md", "eval"))
    assert len(wrong) == 3
    for answer, code in [(solution, None), *wrong]:
        expect = Expected()
        check(answer, expect)
        assert expect.codes[:1] == ([code] if code else [])


def test_the_figure_describes_itself():
    drawing = executed(block("python", "def halvings"), convolution)["halvings"]()
    assert shortcoming(drawing.alt) == "" and drawing.caption


def test_the_widgets_files_fit_together_and_its_arithmetic_is_the_packages(chromium, tmp_path, monkeypatch):
    shutil.copytree(base.SCRIPTS, tmp_path / "js")
    (tmp_path / "js" / "halvings_rules.js").write_text(block("js", "sidesFrom(size) {"), encoding="utf-8")
    (tmp_path / "js" / "halvings.js").write_text(block("js", "function render"), encoding="utf-8")
    monkeypatch.setattr(base, "SCRIPTS", tmp_path / "js")
    base.script.cache_clear()
    try:
        assert base.script("halvings").count("export default { render };") == 1
        sizes = list(range(1, 513))
        found = rules(chromium, "halvings_rules", "x.map(sidesFrom)", sizes)
    finally:
        base.script.cache_clear()
    for size, sides in zip(sizes, found, strict=True):
        due = [size]
        for kernel in (7, 3, 3, 3, 3):
            due.append(conv_output_size(due[-1], kernel, 2, kernel // 2))
        assert sides == due
