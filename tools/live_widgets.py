#!/usr/bin/env python3
"""Show every widget in a live notebook, operate it, and see whether Python knows of it.

python tools/live_widgets.py                                        # JupyterLab, with this Python
python tools/live_widgets.py --python .venv-colab/bin/python --classic   # the notebook server of Colab's versions

A notebook server is started on a free port of this machine, and a headless Chromium opens it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from browser import ADVICE, chromium, find
from playwright.sync_api import Error, TimeoutError

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 60  # for a kernel to start and torch to load
# What the classic notebook says when any anywidget, ours or not, takes a moment to load; some it then does not show
# before the cell is run again.
SLOW = "Host is not attached"
SETUP = "from resnet_tutorial import BasicBlock, widgets\n"
# What is done with every control of each widget: its name, the value that it is given (None: a button is pressed), and
# where that shows in the widget's state.
OPERATIONS: dict[str, list[tuple[str, str | None, str, object]]] = {
    "ConvolutionExplorer()": [
        ("Image, pixels a side", "9", "size", 9), ("Kernel", "5", "kernel", 5), ("Stride", "2", "stride", 2),
        ("Padding", "2", "padding", 2), ("Dilation", "2", "dilation", 2), ("Output row", "2", "row", 2),
        ("Output column", "3", "column", 3), ("Input channels", "12", "in_channels", 12),
        ("Output channels", "6", "out_channels", 6), ("Groups", "3", "groups", 3),
    ],
    "ResNeXtExplorer()": [
        ("Cardinality C", "3", "cardinality", 8), ("Kept equal", "nothing", "keep", "nothing"),
        ("Stage: channels, map", "512", "channels", 512), ("Width d", "20", "width", 20),
        ("(b) early concatenation", "on", "form", "b"),
    ],
    "RunViewer('plain20', 'resnet20')": [
        ("Curves", "loss", "kind", "loss"), ("Vertical axis", "log", "axis", "log"),
        ("training, dashed", "off", "training", False), ("Difference from", "resnet20", "reference", "resnet20"),
        ("plain20", "off", "shown", "01"), ("Epoch", "7", "epoch", 7),
    ],
    "ShapeTracer()": [
        ("Network", "resnet101", "network", "resnet101"), ("Image, pixels a side", "96", "size", 96),
        ("Stem", "cifar", "stem", "cifar"), ("Stride in", "v1", "version", "v1"), ("Cardinality", "32", "groups", 32),
        ("Width of a group", "8", "width", 8), ("Step forward", None, "selected", "stem"),
        ("Keep for comparison", None, "kept", ...), ("Open to", "blocks", "level", "blocks"),
        ("Break it", "no-padding", "fault", "no-padding"), ("Network", "cifar_resnet", "network", "cifar_resnet"),
        ("Layers", "56", "depth", 56), ("Shortcuts", "C", "shortcut", "C"),
        ("Break it", "none", "fault", "none"), ("Predict: hide the shapes", "on", "hide", True),
        ("Step forward", None, "selected", "stem"),
    ],
    "ShapeTracer(BasicBlock(8, 16, stride=2), (1, 8, 9, 9))": [
        ("Step forward", None, "selected", "op0"), ("Step forward", None, "selected", "op1"),
        ("Step back", None, "selected", "op0"),
    ],
}  # fmt: skip


def last_values(make: str) -> dict[str, object]:
    """Return what the state must hold after all operations; `...` stands for anything that is not empty."""
    return {trait: value for _, _, trait, value in OPERATIONS[make]}


def notebook() -> nbformat.NotebookNode:
    """Return a notebook with a cell for each widget, and one that prints what Python knows of them."""
    cells = [f"{SETUP if not n else ''}w{n} = widgets.{make}\nw{n}" for n, make in enumerate(OPERATIONS)]
    asked = ", ".join(
        f"{{name: getattr(w{n}, name) for name in {list(last_values(make))}}}" for n, make in enumerate(OPERATIONS)
    )
    cells.append(f"import json\nprint('python:', json.dumps([{asked}]))")
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return made


@contextmanager
def server(python: str, folder: Path, classic: bool) -> Iterator[str]:
    """Run a notebook server in `folder`; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shown = folder / "settings" / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    shown.parent.mkdir(parents=True)
    shown.write_text('{"windowingMode": "none"}')  # all cells stay on the page
    kind, app = ("notebook", "NotebookApp") if classic else ("jupyterlab", "ServerApp")
    options = {"port": port, "open_browser": False, "token": "", "password": "", "allow_root": True}
    settings = [f"--{app}.{name}={value!r}" for name, value in options.items()]
    environment = os.environ | {
        "JUPYTER_PREFER_ENV_PATH": "1", "JUPYTER_CONFIG_DIR": str(folder / "config"), "PYTHONPATH": str(ROOT),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTER_DATA_DIR": str(folder / "data"), "IPYTHONDIR": str(folder / "ipython"),
    }  # fmt: skip
    log = (folder / "server.log").open("w")
    process = subprocess.Popen([python, "-m", kind, *settings, f"--{app}.ip=127.0.0.1"], cwd=folder, env=environment,
                               stdout=log, stderr=subprocess.STDOUT)  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(address, process, folder / "server.log")
        yield address
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def _wait_for(address: str, process: subprocess.Popen, log: Path) -> None:
    for _ in range(SECONDS):
        try:
            urllib.request.urlopen(f"{address}/api", timeout=5)
            return
        except OSError:
            if process.poll() is not None:
                raise RuntimeError(f"The notebook server ended: {log.read_text()[-800:]}") from None
            time.sleep(1)
    raise RuntimeError("The notebook server did not start.")


def run_cell(page, number: int, classic: bool) -> None:
    """Run one cell; a notebook that still connects to its kernel forgets what it is told, and is told again."""
    if classic:
        page.wait_for_function("globalThis.Jupyter?.notebook?.kernel?.widget_manager", timeout=SECONDS * 1000)
        begun = f"Jupyter.notebook.get_cell({number}).input_prompt_number"
    else:
        begun = f"!/\\[ \\]/.test(document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')[{number}].textContent)"
    for _ in range(SECONDS // 3):
        if classic:
            page.evaluate(f"Jupyter.notebook.select({number}); Jupyter.notebook.execute_cell()")
        else:
            page.locator(".jp-Notebook .jp-CodeCell .cm-content").nth(number).click(timeout=SECONDS * 1000)
            page.keyboard.press("Shift+Enter")
        try:
            page.wait_for_function(begun, timeout=3000)
            return
        except TimeoutError:
            continue
    raise Error(f"Cell {number + 1} was never run.")


def show(page, number: int, widget, classic: bool) -> None:
    """Run the cell that shows a widget; in the classic notebook up to three times."""
    for _ in range(2 if classic else 0):
        run_cell(page, number, classic)
        try:
            return widget.wait_for(timeout=15_000)
        except TimeoutError:
            continue
    run_cell(page, number, classic)
    widget.wait_for(timeout=SECONDS * 1000)


def operate(widget, make: str, keyboard: bool = False) -> None:
    """Do with a widget what is written for it, one control after the other."""
    for label, value, _, _ in OPERATIONS[make]:
        if value is None:
            button = widget.get_by_role("button", name=label, exact=True)
            button.press("Enter") if keyboard else button.click()
        else:
            control = widget.get_by_label(label, exact=True).first
            control.wait_for(timeout=SECONDS * 1000)
            kind = control.evaluate("node => node.tagName === 'SELECT' ? 'select' : node.type")
            (type_in if keyboard else choose)(control, kind, value)
        widget.page.wait_for_timeout(150)


def choose(control, kind: str, value: str) -> None:
    """Give a control its value in one go, as a mouse does."""
    if kind == "select":
        control.select_option(value)
    elif kind in ("checkbox", "radio"):
        control.set_checked(value == "on")
    else:
        control.fill(value)


def type_in(control, kind: str, value: str) -> None:
    """Give a control its value with keys alone: it is focused, and Home, arrows or the space bar do the rest."""
    control.focus()
    keys = control.page.keyboard
    if kind in ("checkbox", "radio"):
        if control.is_checked() != (value == "on"):
            keys.press("Space")
        return
    keys.press("Home")
    for _ in range(400):
        now = control.input_value()
        if now == value:
            return
        keys.press("ArrowRight" if kind == "range" else "ArrowDown")
        if control.input_value() == now:
            control.page.wait_for_timeout(50)  # what was drawn anew in between
    raise Error(f"No key gave {control.evaluate('node => node.labels[0].textContent')!r} the value {value!r}.")


def differences(make: str, state: dict) -> list[str]:
    """Return where a widget's state is not what its operations lead to."""
    wrong = []
    for trait, wanted in last_values(make).items():
        if not state[trait] if wanted is ... else state[trait] != wanted:
            wrong.append(f"{make}: {trait} is {state[trait]!r}, not {wanted!r}")
    return wrong


def answer(page) -> str:
    """Return what the last cell printed."""
    line = page.get_by_text(re.compile(r"^python: \[")).last
    line.wait_for(timeout=SECONDS * 1000)
    return line.inner_text()


def look(python: str, classic: bool, keyboard: bool, picture: Path | None) -> list[str]:
    """Return what went wrong, one line each."""
    problems: list[str] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, chromium() as browser:
        folder = Path(name)
        nbformat.write(notebook(), folder / "widgets.ipynb")
        with server(python, folder, classic) as address:
            page = browser.new_page(viewport={"width": 1300, "height": 1000})
            page.on("pageerror", lambda error: None if classic and SLOW in str(error) else problems.append(
                f"error on the page: {error}"))  # fmt: skip
            page.goto(f"{address}/{'notebooks' if classic else 'lab/tree'}/widgets.ipynb")
            try:
                for number, make in enumerate(OPERATIONS):
                    widget = page.locator("section.rw").nth(number)
                    show(page, number, widget, classic)
                    operate(widget, make, keyboard)
                page.wait_for_timeout(1000)
                run_cell(page, len(OPERATIONS), classic)
                states = json.loads(answer(page).removeprefix("python: "))
                for make, state in zip(OPERATIONS, states, strict=True):
                    problems += differences(make, state)
            except Error as error:
                problems.append(f"The notebook did not get so far: {str(error).splitlines()[0]}")
            if picture:
                page.screenshot(path=picture)
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="the Python that runs the server and the kernel")
    parser.add_argument("--classic", action="store_true", help="the classic notebook in the place of JupyterLab")
    parser.add_argument("--keyboard", action="store_true", help="operate all controls with keys alone")
    parser.add_argument("--picture", type=Path, help="write a screenshot")
    options = parser.parse_args()
    if find() is None:
        print(f"The widgets were not tried in a live notebook. {ADVICE}")
        return 0
    python = str(Path(options.python).absolute())
    problems = look(python, options.classic, options.keyboard, options.picture)
    count = sum(map(len, OPERATIONS.values()))
    print("\n".join(problems) or f"{len(OPERATIONS)} widgets, {count} operations, all of them known to Python.")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
