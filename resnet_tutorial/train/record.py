"""Recorded runs: what was run, where, and what came out, as one small JSON file each."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from resnet_tutorial.train.errors import TrainingError
from resnet_tutorial.train.history import History
from resnet_tutorial.train.provenance import PACKAGE, commit, machine, versions

RUN_FILE, WEIGHTS_FILE = "run.json", "weights.pt"
WEIGHTS_LIMIT = 2_000_000  # bytes: what is recorded stays small enough for a repository
PAPER_IMAGES = 64_000 * 128  # what the ResNet paper's networks for CIFAR-10 saw: a run that sees fewer is short


@dataclass(frozen=True)
class RecordedRun:
    """One finished run, as `save_run` wrote it.

    Attributes:
        name: the folder's name.
        folder: where it lies.
        model, model_args: what `resnet_tutorial.zoo.build_model` was called with.
        history: the curves, the final test error and the settings.
        record: the whole content of `run.json`: command, commit, machine, versions ...
    """

    name: str
    folder: Path
    model: str
    model_args: dict
    history: History
    record: dict

    def __repr__(self) -> str:
        return f"RecordedRun {self.name}: {self.model}, {self.history!r}"

    @property
    def label(self) -> str:
        """Return in words what kind of run this is, to stand beside its numbers."""
        return self.record["label"]

    def weights(self) -> dict[str, Tensor]:
        """Return the trained weights in float32, for `load_state_dict`.

        Raises:
            TrainingError: the run was recorded without its weights, or they are damaged.
        """
        path = self.folder / WEIGHTS_FILE
        if not path.exists():
            raise TrainingError(f"The run {self.name} was recorded without its weights.")
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as problem:  # torch raises many kinds, all of which mean the same here
            raise TrainingError(f"{path} is damaged ({str(problem).splitlines()[0]}).") from None
        return {name: value.float() if value.is_floating_point() else value
                for name, value in state.items()}

    def network(self) -> nn.Module:
        """Return the trained network, in eval mode, with ten classes."""
        from resnet_tutorial.zoo import build_model

        model = build_model(self.model, **self.model_args)
        model.load_state_dict(self.weights())
        return model.eval()


def results_folder() -> Path:
    """Return where recorded runs lie: in a checkout `results/`, in an installed package inside it."""
    installed = PACKAGE / "_results"
    return installed if installed.is_dir() else PACKAGE.parent / "results"


def list_runs(folder: str | Path | None = None) -> list[str]:
    """Return the names of the recorded runs, sorted."""
    folder = Path(folder) if folder else results_folder()
    return sorted(path.parent.name for path in folder.glob(f"*/{RUN_FILE}"))


def load_run(name: str, folder: str | Path | None = None) -> RecordedRun:
    """Return the recorded run of that name.

    Raises:
        TrainingError: there is no such run, or its file is damaged.
    """
    folder = Path(folder) if folder else results_folder()
    path = folder / name / RUN_FILE
    if not path.exists():
        known = ", ".join(list_runs(folder)) or "none"
        raise TrainingError(f"There is no recorded run {name!r} in {folder}; there are: {known}.")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return RecordedRun(name, path.parent, record["model"], record["model_args"],
                           History.from_dict(record["history"]), record)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise TrainingError(f"{path} is damaged ({problem}).") from None


def save_run(folder: str | Path, model: nn.Module, history: History, *, model_name: str,
             model_args: dict, command: str, weights: bool = False) -> Path:
    """Write `run.json`, and on request `weights.pt` in float16, into `folder`; return the former.

    The record's commit is that at which the run began, its machine and versions are the present ones;
    where a run was cut off, `history.sessions` has those of every part.

    Raises:
        TrainingError: the folder cannot be written, or the weights are larger than 2 MB; nothing in
            the folder has changed then.
    """
    folder = Path(folder)
    if weights:
        check_weights(model)
    first = next(iter(history.sessions), {})
    record = {
        "format": 1,
        "label": _label(history),
        "model": model_name,
        "model_args": model_args,
        "parameters": sum(p.numel() for p in model.parameters()),
        "command": command,
        "commit": first.get("commit", commit()),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        "machine": machine(history.settings.get("device", "")),
        "versions": versions(),
        "training_seconds": round(sum(history.seconds), 1),
        "history": history.as_dict(),
    }
    run_part, weights_part = folder / "run.part", folder / "weights.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        run_part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        if weights:
            torch.save(_small_weights(model), weights_part)
            os.replace(weights_part, folder / WEIGHTS_FILE)
        else:
            (folder / WEIGHTS_FILE).unlink(missing_ok=True)  # an earlier run's would pass for this one's
        os.replace(run_part, folder / RUN_FILE)
    except (OSError, RuntimeError) as problem:  # the latter is torch's own word for a full disk
        reason = getattr(problem, "strerror", None) or problem
        raise TrainingError(f"The record in {folder} cannot be written ({reason}).") from None
    finally:
        for part in (run_part, weights_part):
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
    return folder / RUN_FILE


def _label(history: History) -> str:
    """Return in words what kind of run this was."""
    settings = history.settings
    words = {"cpu": "CPU", "cuda": "GPU"}
    devices = [session["device_type"] for session in history.sessions] or [settings["device_type"]]
    kind = " and ".join(words.get(device, device) for device in dict.fromkeys(devices))
    length = f"{len(history.epoch)} epochs"
    seen = settings["steps"] * settings["recipe"]["batch_size"]
    short = "short " if seen < PAPER_IMAGES else ""
    curve = {"test": ", test error measured after every epoch"}.get(settings["curve_on"], "")
    return (f"{short}{kind} run, recipe {settings['recipe']['name']}, {length}, "
            f"seed {settings['seed']}{curve}")


def check_weights(model: nn.Module) -> None:
    """Refuse to record the weights of a network for which they are too large.

    Raises:
        TrainingError: in float16 they take more than 2 MB.
    """
    size = sum(value.numel() * (2 if value.is_floating_point() else value.element_size())
               for value in model.state_dict().values())
    if size > WEIGHTS_LIMIT:
        raise TrainingError(f"The weights take {size / 1e6:.1f} MB; only networks below "
                            f"{WEIGHTS_LIMIT / 1e6:.0f} MB are recorded with their weights.")


def _small_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the state dict in float16, which costs a trained network nothing in accuracy."""
    return {name: value.detach().cpu().half() if value.is_floating_point() else value.cpu()
            for name, value in model.state_dict().items()}
