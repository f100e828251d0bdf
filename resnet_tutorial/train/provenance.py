"""Where a run comes from: the code, the machine and the versions that its numbers depend on."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from pathlib import Path

import torch

PACKAGE = Path(__file__).resolve().parents[1]


def machine(device: str) -> dict:
    """Return what a run's speed depends on."""
    return {"device": device, "cpus": os.cpu_count(), "threads": torch.get_num_threads(),
            "system": f"{platform.system()} {platform.machine()}"}


def versions() -> dict:
    """Return the versions that the numbers depend on."""
    return {"python": platform.python_version(), "torch": str(torch.__version__),
            "cuda": torch.version.cuda or ""}


@functools.cache  # what counts is the code that this process has loaded, not what the folder holds later
def commit(*beside: str) -> str:
    """Return the checkout's commit, marked where the files differ from it; "" outside of a checkout.

    Args:
        beside: folders of the checkout, beside the package itself, whose files count too.
    """
    try:
        if Path(_git("rev-parse", "--show-toplevel")).resolve() != PACKAGE.parent:
            return ""  # installed inside somebody's own repository, whose commits say nothing about it
        folders = [str(PACKAGE), *(str(PACKAGE.parent / name) for name in beside)]
        changes = _git("status", "--porcelain", "--", *folders)
        return _git("rev-parse", "HEAD") + (" with changes" if changes else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(*words: str) -> str:
    """Return what git says about the package's folder."""
    done = subprocess.run(["git", "-C", str(PACKAGE), *words], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
