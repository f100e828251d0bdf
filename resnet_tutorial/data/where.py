"""Where the images are kept on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def data_directory() -> Path:
    """Return the folder for image files: `RESNET_TUTORIAL_DATA`, else one in the user's cache."""
    chosen = os.environ.get("RESNET_TUTORIAL_DATA")
    return Path(chosen).expanduser() if chosen else _user_cache() / "resnet_tutorial"


def from_home(folder: Path) -> str:
    """Return a folder's name as messages write it: from the user's own folder on, which is ``~``."""
    return f"~/{folder.relative_to(Path.home()).as_posix()}" if folder.is_relative_to(Path.home()) else str(folder)


def _user_cache() -> Path:
    """Return the folder in which this operating system keeps what can be fetched again."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
