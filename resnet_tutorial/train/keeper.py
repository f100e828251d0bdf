"""Keeping a run: what goes into a checkpoint, when it is written, and how a run goes on from it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from resnet_tutorial.train import checkpoint
from resnet_tutorial.train.errors import TrainingError
from resnet_tutorial.train.history import History
from resnet_tutorial.train.record import RUN_FILE
from resnet_tutorial.train.run import Run, Sums


def open_folder(out: str | Path | None, resume: bool) -> Path | None:
    """Return the folder for checkpoints, made and tried out; None when none is wanted.

    Raises:
        TrainingError: it cannot be written, or holds a run that is not to be resumed.
        ValueError: a run without a folder cannot be resumed.
    """
    if out is None:
        if resume:
            raise ValueError("resume needs the folder of the run: set out.")
        return None
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial = folder / f"checkpoint.trial{os.getpid()}.part"
        trial.write_bytes(b"can this be written?")
        trial.unlink()
    except OSError as problem:
        raise TrainingError(f"{folder} cannot be written ({problem.strerror}); choose another "
                            "folder.") from None
    if not resume and checkpoint.exists(folder):
        raise TrainingError(f"{folder} already holds a run: resume it, or choose another folder.")
    if not resume and (folder / RUN_FILE).exists():
        raise TrainingError(f"{folder} already holds the record of a run; choose another folder.")
    checkpoint.sweep(folder)
    return folder


class Keeper:
    """Saves checkpoints when they are due; a full disk is a warning, not the end of the run.

    Args:
        run: what to save.
        folder: where; None saves nothing.
        every: seconds between two checkpoints.
    """

    def __init__(self, run: Run, folder: Path | None, every: float) -> None:
        # Where several processes train together, they are all in the same state: one saves.
        self.run, self.every = run, every
        self.folder = folder if run.team.first else None
        self.saved_at = time.monotonic()

    def save_if_due(self) -> None:
        """Save when the last checkpoint is old enough."""
        if self.folder and time.monotonic() - self.saved_at >= self.every:
            self.save()

    def save(self, last: bool = False) -> None:
        """Save now; with `last` nothing will be saved after it."""
        if not self.folder or not _is_finite(self.run):
            return  # a network that has diverged must not push a good checkpoint out
        try:
            checkpoint.save(self.folder, _state(self.run))
        except OSError as problem:
            then = ("whoever resumes the run goes on from the one before" if last
                    else "the run goes on and tries again")
            print(f"The checkpoint could not be written ({problem.strerror or problem}); {then}. "
                  "Make room on the disk.")
        self.saved_at = time.monotonic()


def restore(run: Run, folder: Path) -> None:
    """Put the newest checkpoint's state back; without a checkpoint the run starts afresh.

    Of several processes the first one reads the checkpoint, and gives it to the others.

    Raises:
        TrainingError: there are checkpoints, and none of them belongs to this run.
    """
    state = run.team.first_does(lambda: checkpoint.load(folder, lambda state: _misfit(state, run)))
    if state is None:
        if run.team.first:
            print("There is no checkpoint to resume: starting from the beginning.")
        return
    run.step, run.warming = state["step"], state["warming"]
    run.model.load_state_dict(state["model"])
    for optimizer, values in zip(run.optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(values)
    if state["scaler"]:  # empty when the run began in another format, on a machine of another kind
        run.scaler.load_state_dict(state["scaler"])
    if run.average:
        run.average.load(state["average"])
    sums: dict[str, Any] = {name: value.to(run.device) if isinstance(value, Tensor) else value
                            for name, value in state["sums"].items()}
    run.sums = Sums(**sums)
    now = run.history
    run.history = History.from_dict(state["history"])
    run.history.settings, run.history.stopped = now.settings, ""
    if run.step < run.steps:
        run.history.sessions += [session | {"from_step": run.step} for session in now.sessions]
    if run.team.first:
        torch.set_rng_state(state["random"])
        if len(state["random_cuda"]) and run.device.type == "cuda":
            torch.cuda.set_rng_state(state["random_cuda"], run.device)


def _state(run: Run) -> dict:
    """Return all that is needed to go on from here as if nothing had happened."""
    return {
        "settings": run.history.settings,
        "parameters": _layout(run.model),
        "step": run.step,
        "warming": run.warming,
        "model": run.model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in run.optimizers],
        "scaler": run.scaler.state_dict(),
        "average": run.average.values if run.average else {},
        "sums": vars(run.sums),
        "history": run.history.as_dict(),
        "random": torch.get_rng_state(),  # for networks that draw themselves, as dropout does
        # This device's only: the machine that goes on may have fewer of them.
        "random_cuda": torch.cuda.get_rng_state(run.device) if run.device.type == "cuda" else [],
    }


def _is_finite(run: Run) -> bool:
    """Return whether the epoch's loss and all trained weights are still numbers."""
    trained = (parameter for parameter in run.model.parameters() if parameter.requires_grad)
    return all(bool(value.isfinite().all()) for value in (run.sums.loss, *trained))


def _misfit(state: dict, run: Run) -> str:
    """Return why a checkpoint cannot be continued by this run, or "" when it can."""
    theirs, ours = state["settings"], run.history.settings
    if state["parameters"] != _layout(run.model) or theirs["network"] != ours["network"]:
        return "it was made with another network"
    for name in ("data", "train_images", "seed", "steps", "curve_on"):
        if theirs[name] != ours[name]:
            return f"it was made with {name} {theirs[name]!r}, and this run has {ours[name]!r}"
    for name, value in ours["recipe"].items():
        if theirs["recipe"].get(name) != value:
            return (f"its recipe has {name} {theirs['recipe'].get(name)!r}, "
                    f"and this run has {value!r}")
    return ""


def _layout(model: nn.Module) -> dict[str, list[int]]:
    """Return the shape of everything in the model's state dict."""
    return {name: list(value.shape) for name, value in model.state_dict().items()}
