"""The run viewer: curves of recorded training runs over the epochs, and their numbers side by side."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from traitlets import Bool, Enum, Int, List, TraitError, Unicode, validate
from traitlets.utils.bunch import Bunch

from ..train.history import History
from ..train.recipes import RECIPES
from ..train.record import RUN_FILE, RecordedRun, list_runs, load_run
from .base import Widget

MOST = 8  # more columns of numbers than that nobody compares
PARTS = ("train", "val", "test")
_CHOICES = ("data", "train_images", "recipe", "steps")  # what must agree beside the network, if only the seed differs
_SHARED = {"sync": True, "state": True}


class RunViewer(Widget):
    """Errors, losses and learning rates of several runs by epoch, and what each of them was.

    Args:
        runs: one to eight runs. Each is a recorded run's name, the path of a run's folder or of a saved history,
            a `RecordedRun`, a `History`, or a dictionary that gives such things a name of their own.
        kind: "error" or "loss".
        axis: "zero" begins at zero, "fitted" shows only what the curves need, "log" is logarithmic.
        training, validation, test: which curves are drawn, where a run has them.
        shown: a 1 for each run that is drawn and a 0 for each that is not: "101". All, if it is empty.
        epoch: whose numbers are shown, from 1; the last, if it is not given.
        reference: what the others are compared with: a run's name, or "mean of NAME", where the runs NAME-seed0,
            NAME-seed1 ... differ in nothing but the seed. The first run, if it is empty.

    Raises:
        TrainingError: there is no run of that name, or its file is damaged.
        TypeError: something else than a run was given.
        ValueError: no run or more than eight, a run without an epoch, or two of the same name.
        TraitError: another value is out of its range.
    """

    _script = "runs"

    runs: List[dict[str, Any]] = List(read_only=True).tag(**_SHARED)
    kind = Enum(("error", "loss"), "error").tag(**_SHARED)
    axis = Enum(("zero", "fitted", "log"), "zero").tag(**_SHARED)
    training = Bool(True).tag(**_SHARED)
    validation = Bool(True).tag(**_SHARED)
    test = Bool(True).tag(**_SHARED)
    shown = Unicode("").tag(**_SHARED)
    epoch = Int(1, min=1).tag(**_SHARED)
    reference = Unicode("").tag(**_SHARED)

    def __init__(self, *runs: Any, **state: Any) -> None:
        named = list(_named(runs))
        if not 1 <= len(named) <= MOST:
            raise ValueError(f"A run viewer shows 1 to {MOST} runs, and {len(named)} were given.")
        for name, times in Counter(name for name, _ in named).items():
            if times > 1:
                raise ValueError(f"Two runs are called {name!r}; give one another name: {{'another': run}}.")
        self.set_trait("runs", _with_families([_summary(name, run) for name, run in named]))
        state.setdefault("epoch", max(run["epochs"] for run in self.runs))
        super().__init__(**state)

    @validate("epoch")
    def _exists(self, proposal: Bunch) -> int:
        longest = max((run["epochs"] for run in self.runs), default=1)
        if proposal["value"] > longest:
            raise TraitError(f"epoch={proposal['value']}: the longest run has {longest} epochs.")
        return proposal["value"]

    @validate("shown")
    def _one_for_each(self, proposal: Bunch) -> str:
        shown = proposal["value"]
        if shown and not re.fullmatch(f"[01]{{{len(self.runs)}}}", shown):
            raise TraitError(f"shown={shown!r} is not a 0 or a 1 for each of the {len(self.runs)} runs.")
        return shown

    @validate("reference")
    def _is_there(self, proposal: Bunch) -> str:
        families = {f"mean of {run['family']}" for run in self.runs if run["family"]}
        known = [*(run["name"] for run in self.runs), *sorted(families)]
        if proposal["value"] and proposal["value"] not in known:
            raise TraitError(f"There is nothing called {proposal['value']!r} to compare with, only {', '.join(known)}.")
        return proposal["value"]

    def fallback(self) -> str:
        """Return the runs' final numbers as a table."""
        names = ("network", "recipe", "seed", "epochs", "final test error (%)", "seconds", "machine")
        head = "".join(f"<th scope='col'>{name}</th>" for name in ("run", *names))
        rows = []
        for run in self.runs:
            final = "" if run["final"] is None else f"{run['final']:.2f}"
            cells = run["network"], run["recipe"], run["seed"], run["epochs"], final, run["seconds"], run["machine"]
            written = "".join(f"<td>{escape(str(cell))}</td>" for cell in cells)
            rows.append(f"<tr><th scope='row'>{escape(run['name'])}</th>{written}</tr>")
        return f"<table><caption>Training runs and how they ended</caption><tr>{head}</tr>{''.join(rows)}</table>"


# --- finding the runs ---


def _named(runs: Iterable) -> Iterable[tuple[str, RecordedRun | History]]:
    """Return each run with a name, in the order given."""
    for place, given in enumerate(runs, start=1):
        if isinstance(given, Mapping):
            for name, inner in given.items():
                yield str(name), _loaded(inner)[1]
        else:
            name, run = _loaded(given)
            yield name or f"run {place}", run


def _loaded(given: Any) -> tuple[str, RecordedRun | History]:
    """Return a run, and what it calls itself."""
    if isinstance(given, RecordedRun):
        return given.name, given
    if isinstance(given, History):
        return "", given
    if not isinstance(given, str | Path):
        kind = type(given).__name__
        raise TypeError(f"A run is a recorded run's name, a path, a RecordedRun or a History, and not {kind}.")
    path = Path(given)
    if str(given) in list_runs() or not path.exists():
        return str(given), load_run(str(given))
    folder = path.parent if path.name == RUN_FILE else path
    if folder.is_dir():
        folder = folder.resolve()
        return folder.name, load_run(folder.name, folder.parent)
    return path.stem, History.load(path)


# --- what the page needs of them ---


def _summary(name: str, run: RecordedRun | History) -> dict:
    """Return what is shown of a run, rounded to what can be seen."""
    history = run if isinstance(run, History) else run.history
    record = {} if isinstance(run, History) else run.record
    if not history.epoch:
        raise ValueError(f"The run {name!r} has no finished epoch.")
    settings = history.settings
    machine = {**settings, **record.get("machine", {})}
    curves = {f"{part}_{kind}": getattr(history, f"{part}_{kind}") for part in PARTS for kind in ("error", "loss")}
    network = {"model": record.get("model", ""), "args": record.get("model_args", {}), "kind": settings.get("network")}
    return {
        "name": name,
        "network": _network(record) or "not recorded",
        "recipe": _recipe(settings.get("recipe", {})) or "not recorded",
        "seed": settings.get("seed", "not recorded"),
        "epochs": len(history.epoch),
        "seconds": record.get("training_seconds", round(sum(history.seconds), 1)),
        "machine": _machine(machine) or "not recorded",
        "final": _percent(history.final.get("test_error")),
        "lr": [_four_digits(rate) for rate in history.lr],
        "curves": {
            curve: [_percent(v) if curve.endswith("error") else _four_digits(v) for v in values]
            for curve, values in curves.items() if values
        },
        "choices": json.dumps([network, *(settings.get(choice) for choice in _CHOICES)], sort_keys=True),
    }  # fmt: skip


def _with_families(runs: list[dict]) -> list[dict]:
    """Replace a run's choices by its family: one name for all runs that differ in nothing but the seed."""
    families: dict[str, list[dict]] = {}
    for run in runs:
        families.setdefault(run.pop("choices"), []).append(run)
    for members in families.values():
        first = members[0]["name"]
        name = re.sub(r"[\W_]*seed[\W_]*\d+$", "", first)
        if any(run.get("family") == name for run in runs):
            name = first  # two families are told apart
        for run in members:
            run["family"] = name if len({run["seed"] for run in members}) > 1 else ""
    return runs


def _percent(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 2)


def _four_digits(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")


def _network(record: dict) -> str:
    """Return the network's name, with those of its arguments that say more than the number of classes."""
    arguments = {name: value for name, value in record.get("model_args", {}).items() if name != "num_classes"}
    return ", ".join([record.get("model", ""), *(f"{name}={value}" for name, value in arguments.items())])


def _recipe(recipe: dict) -> str:
    """Return the recipe's name and what was changed in it; the length of the run is told elsewhere."""
    name = recipe.get("name", "")
    usual = vars(RECIPES[name]) if name in RECIPES else recipe
    changed = [choice for choice in recipe if choice not in ("name", "epochs") and recipe[choice] != usual.get(choice)]
    return ", ".join([name, *(f"{choice}={recipe[choice]}" for choice in changed)])


def _machine(machine: dict) -> str:
    """Return the device, and how much of it was used."""
    threads = machine.get("threads")
    many = f"{threads} thread{'s' if threads != 1 else ''}" if threads and machine.get("device_type") != "cuda" else ""
    return ", ".join(filter(None, [machine.get("device", ""), many]))
