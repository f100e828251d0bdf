"""What the widgets share: colours, and the way in which their files become one script."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from widget_help import rules

from resnet_tutorial import widgets
from resnet_tutorial.figures import palette
from resnet_tutorial.widgets.base import SCRIPTS, script

NAMES = sorted(getattr(widgets, name)._script for name in widgets.__all__)


def test_colours_are_those_of_the_figures(chromium):
    fill, ink, lines = rules(chromium, "kit", "[FILL, ON_FILL, LINES]", None)
    assert fill == palette.FILL and ink == palette.ON_FILL and lines == palette.LINES


@pytest.mark.parametrize("name", NAMES)
def test_the_files_of_a_widget_fit_into_one_script(name):
    text = script(name)
    assert not re.search(r"^import ", text, re.MULTILINE)
    assert re.findall(r"^export .*", text, re.MULTILINE) == ["export default { render };"]
    assert text.rstrip().endswith("export default { render };")
    defined = Counter(re.findall(r"^(?:async )?(?:function|const|let|class) (\w+)", text, re.MULTILINE))
    assert [word for word, times in defined.items() if times > 1] == []


def test_every_file_is_used_and_small():
    used = {name for widget in NAMES for name in re.findall(r'from "\./(\w+)\.js"', raw(widget))}
    waiting, seen = set(used), set(NAMES) | {"host"}
    while waiting:
        name = waiting.pop()
        seen.add(name)
        waiting |= set(re.findall(r'from "\./(\w+)\.js"', raw(name))) - seen
    assert {path.stem for path in SCRIPTS.glob("*.js")} == seen
    assert max(raw(name).count("\n") for name in seen) < 500


def raw(name: str) -> str:
    return (SCRIPTS / f"{name}.js").read_text(encoding="utf-8")
