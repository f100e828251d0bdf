"""What all tests share: the authoring tools on the path, one chapter with everything in it, a browser."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FIXTURES = ROOT / "tests" / "fixtures"
sys.path.insert(0, str(ROOT / "tools"))

# What the tests solve is nobody's progress.
os.environ["RESNET_TUTORIAL_PROGRESS"] = "none"
if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers side by side share the cores; torch reads this when it is first imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@dataclass(frozen=True)
class Entry:
    """What the tools read of a registry entry."""

    id: str
    number: int
    title: str
    solution: str
    given: tuple[str, ...] = ()
    chapter: int = 4
    difficulty: int = 3
    importance: int = 5
    minutes: int = 20
    points: int = 5


@pytest.fixture
def one_thread():
    """Let torch compute with one thread: a tiny network is done before a second one has begun."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def catalog() -> dict[str, Entry]:
    """A registry with one exercise, whose solution is in `tests/fixtures/demo`."""
    return {"block": Entry("block", 2, "Write the block", "demo.blocks:Block", ("extra_repr",))}


@pytest.fixture(scope="session")
def everything() -> Path:
    """A chapter in which every construct of CONTRIBUTING.md stands."""
    return FIXTURES / "book" / "04_everything.md"


@pytest.fixture(scope="session")
def html() -> Path:
    """The built book."""
    folder = ROOT / "_build" / "html"
    if not (folder / "index.html").is_file():
        pytest.skip("the book is not built: run 'make book'")
    return folder


@pytest.fixture(scope="module")
def chromium():
    """A headless browser."""
    import browser

    if browser.find() is None:
        pytest.skip(browser.ADVICE)
    with browser.chromium() as running:
        yield running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no worker waits for one notebook at the end."""
    items.sort(key=lambda item: item.get_closest_marker("notebooks") is None)
