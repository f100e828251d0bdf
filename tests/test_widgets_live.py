"""The widgets in a live notebook: JupyterLab, a kernel, and a reader who changes something."""

from __future__ import annotations

import sys

import browser
import live_widgets
import pytest


@pytest.mark.skipif(browser.find() is None, reason=browser.ADVICE)
def test_every_widget_is_shown_operated_and_known_to_python():
    assert live_widgets.look(sys.executable, classic=False, picture=None) == []
