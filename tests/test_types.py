"""Types: mypy finds no error, and whoever installs the package has its types."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile

from conftest import ROOT
from mypy import api

import resnet_tutorial


def test_mypy_finds_no_error(monkeypatch):
    monkeypatch.chdir(ROOT)  # where its settings and its cache are
    found, trouble, status = api.run(["--no-error-summary", "--hide-error-context"])
    assert status == 0, f"\n{found}{trouble}"


def test_type_checkers_are_told_every_public_name():
    """The package lends its names when they are asked for, which no type checker sees: they are imported for it."""
    tree = ast.parse((ROOT / "resnet_tutorial" / "__init__.py").read_text(encoding="utf-8"))
    (told,) = (
        node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    imported: dict[str, set[str]] = {}
    for node in told.body:
        assert isinstance(node, ast.ImportFrom) and node.level == 1
        for alias in node.names:
            assert alias.asname == alias.name, f"{alias.name}: 'as {alias.name}' is what makes it public"
            home = (node.module or "").split(".")[0]
            imported.setdefault(home, set()).add(alias.name)
    lent = {module: set(names) for module, names in resnet_tutorial._PUBLIC.items()}
    assert imported == {"": set(resnet_tutorial._MODULES), **lent}


def test_the_wheel_says_that_it_is_typed(tmp_path):
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert "resnet_tutorial/py.typed" in zipfile.ZipFile(wheel).namelist()
