#!/usr/bin/env python3
"""Show every widget in a live notebook, operate it, and see whether Python knows of it.

python tools/live_widgets.py                                        # JupyterLab, with this Python
python tools/live_widgets.py --python .venv-colab/bin/python --classic   # the notebook server of Colab's versions

A notebook server is started on a free port of this machine, and a headless Chromium opens it.
"""

from __future__ import annotations

import argparse
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
from browser import chromium
from playwright.sync_api import Error

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 60  # for a kernel to start and torch to load
SETUP = "from resnet_tutorial import BasicBlock, widgets\n"
# What shows each widget, and what is done with it: label of a slider or choice, new value, the trait that must follow.
SHOWN = {
    "ConvolutionExplorer()": ("Stride", "3", "stride", 3),
    "ResNeXtExplorer()": ("Kept equal", "macs", "keep", "macs"),
    "RunViewer('plain20', 'resnet20')": ("Vertical axis", "log", "axis", "log"),
    "ShapeTracer()": ("Network", "resnet34", "network", "resnet34"),
    "ShapeTracer(BasicBlock(8, 16, stride=2), (1, 8, 9, 9))": ("Open to", "blocks", "level", "blocks"),
}


def notebook() -> nbformat.NotebookNode:
    """Return a notebook with a cell for each widget, and one that prints what Python knows of them."""
    cells = [f"{SETUP if not n else ''}w{n} = widgets.{make}\nw{n}" for n, make in enumerate(SHOWN)]
    traits = ", ".join(f"w{n}.{trait}" for n, (_, _, trait, _) in enumerate(SHOWN.values()))
    cells.append(f"print('python:', [{traits}])")
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
    """Run one cell."""
    if classic:
        page.wait_for_function("globalThis.Jupyter?.notebook?.kernel?.is_connected()", timeout=SECONDS * 1000)
        page.evaluate(f"Jupyter.notebook.select({number}); Jupyter.notebook.execute_cell()")
        return
    page.locator(".jp-Notebook .jp-CodeCell .cm-content").nth(number).click(timeout=SECONDS * 1000)
    page.keyboard.press("Shift+Enter")


def operate(page, number: int, label: str, value: str) -> None:
    """Change one setting of one of the widgets, as soon as it is shown."""
    control = page.locator("section.rw").nth(number).get_by_label(label, exact=True)
    control.wait_for(timeout=SECONDS * 1000)
    if control.evaluate("node => node.tagName") == "SELECT":
        control.select_option(value)
    else:
        control.fill(value)
    page.wait_for_timeout(1000)


def answer(page) -> str:
    """Return what the last cell printed."""
    line = page.get_by_text(re.compile(r"^python: \[")).last
    line.wait_for(timeout=30_000)
    return line.inner_text()


def look(python: str, classic: bool, picture: Path | None) -> list[str]:
    """Return what went wrong, one line each."""
    wanted = f"python: {[value for *_, value in SHOWN.values()]}"
    problems: list[str] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, chromium() as browser:
        folder = Path(name)
        nbformat.write(notebook(), folder / "widgets.ipynb")
        with server(python, folder, classic) as address:
            page = browser.new_page(viewport={"width": 1300, "height": 1000})
            page.on("pageerror", lambda error: problems.append(f"error on the page: {error}"))
            page.goto(f"{address}/{'notebooks' if classic else 'lab/tree'}/widgets.ipynb")
            try:
                for number, (label, value, *_) in enumerate(SHOWN.values()):
                    run_cell(page, number, classic)
                    operate(page, number, label, value)
                run_cell(page, len(SHOWN), classic)
                said = answer(page)
                if said.strip() != wanted:
                    problems.append(f"Python says {said!r}, not {wanted!r}")
            except Error as error:
                problems.append(f"The notebook did not get so far: {str(error).splitlines()[0]}")
            if picture:
                page.screenshot(path=picture)
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="the Python that runs the server and the kernel")
    parser.add_argument("--classic", action="store_true", help="the classic notebook in the place of JupyterLab")
    parser.add_argument("--picture", type=Path, help="write a screenshot")
    options = parser.parse_args()
    python = str(Path(options.python).absolute())
    problems = look(python, options.classic, options.picture)
    print("\n".join(problems) or f"{len(SHOWN)} widgets, each shown, operated, and known to Python.")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
