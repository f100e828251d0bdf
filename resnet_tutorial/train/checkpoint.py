"""Checkpoints that survive a kill at any moment, and refuse what they did not write.

A folder holds `checkpoint.pt` and, from the second save on, the one before it. A new checkpoint is
written under another name, pushed to the disk, and only then renamed: a rename happens at once or
not at all, so there is a whole checkpoint at every moment.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from resnet_tutorial.train.errors import TrainingError

CURRENT, PREVIOUS, REFUSED = "checkpoint.pt", "checkpoint.previous.pt", "checkpoint.refused.pt"
FORMAT = "resnet_tutorial checkpoint 3"
LEFT_BEHIND = 600  # seconds after which a half-written file is nobody's any more


def save(folder: Path, state: dict) -> None:
    """Write `state` as the folder's newest checkpoint, and keep the one before it.

    Args:
        folder: an existing folder.
        state: dicts, lists, tensors, numbers and strings; nothing else can be read back.

    Raises:
        OSError: the folder cannot be written or the disk is full; `load` finds the checkpoint before.
    """
    # A name of this process's own: the same run may have been started twice, in two sessions for instance.
    temporary = folder / f"{CURRENT}.{os.getpid()}.part"
    try:
        with open(temporary, "wb") as file:
            torch.save({"format": FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
    except RuntimeError as problem:  # torch's own word for a full disk
        temporary.unlink(missing_ok=True)
        raise OSError(str(problem)) from None
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    if (folder / CURRENT).exists():
        os.replace(folder / CURRENT, folder / PREVIOUS)
    os.replace(temporary, folder / CURRENT)
    _push_renames(folder)


def load(
    folder: Path, misfit: Callable[[dict[str, Any]], str], say: Callable[[str], None] = print
) -> dict[str, Any] | None:
    """Return the newest usable checkpoint of the folder, or None when the folder has none.

    Args:
        folder: where the run keeps its checkpoints.
        misfit: says in words why a checkpoint belongs to another run, or "" when it fits.
        say: is told when the newest checkpoint is refused and the one before it used.

    Raises:
        TrainingError: there are checkpoints, and none of them is usable.
    """
    refusals = []
    for name in (CURRENT, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        try:
            state = read(path)
            if reason := misfit(state):
                raise TrainingError(f"{path} belongs to another run: {reason}.")
        except TrainingError as problem:
            refusals.append(str(problem))
            continue
        if refusals:
            # Out of the way, or the next save would push it over the good one.
            os.replace(folder / CURRENT, folder / REFUSED)
            say(f"{refusals[0]} Continuing from the checkpoint before it.")
        return state
    if refusals:
        raise TrainingError(" ".join(refusals) + " Choose another folder, or start afresh without "
                            "resume after deleting the checkpoints.")
    return None


def sweep(folder: Path) -> None:
    """Take away what processes that were killed while writing have left, and nothing that may still be written."""
    for path in folder.glob(f"{CURRENT}*.part"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > LEFT_BEHIND:
                path.unlink()


def exists(folder: Path) -> bool:
    """Return whether the folder holds a checkpoint, good or bad."""
    return any((folder / name).exists() for name in (CURRENT, PREVIOUS))


def read(path: Path) -> dict:
    """Return the checkpoint in the file at `path`, every byte of it checked.

    Raises:
        TrainingError: the file is cut off, damaged, or not a checkpoint of this package.
    """
    try:
        # torch.save writes a zip archive, and a zip archive carries checksums.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged:
            raise TrainingError(f"{path} is damaged (checksum of {damaged}).")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, NotImplementedError,
            zipfile.BadZipFile, pickle.UnpicklingError) as problem:
        if isinstance(problem, TrainingError):
            raise
        raise TrainingError(f"{path} is cut off or not a checkpoint "
                            f"({_first_line(problem)}).") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise TrainingError(f"{path} is not a checkpoint of this package.")
    return state


def _push_renames(folder: Path) -> None:
    """Make the renames themselves survive a power cut, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        pass  # a mounted cloud drive has no such notion
    finally:
        os.close(handle)


def _first_line(problem: Exception) -> str:
    """Return the first line of an error's message, cut to a readable length."""
    return (str(problem).splitlines() or [type(problem).__name__])[0][:120]
