"""Exercise 8.7: a checkpoint."""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..common import described, whole
from ..core import Expectations, exercise


class _Dropping(nn.Module):
    """A small network whose next step depends on weights, running statistics and random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class _Foreign:
    """What a stranger may put into a file: loading it without care runs its code."""

    ran = False

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return _mark, ()


def _mark() -> None:
    _Foreign.ran = True


def _advance(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        loss = F.cross_entropy(model(torch.randn(16, 6)), torch.randint(3, (16,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _born(kind: str) -> tuple[nn.Module, torch.optim.Optimizer]:
    model = _Dropping()
    if kind == "SGD":
        return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return model, torch.optim.AdamW(model.parameters(), lr=0.01)


def _numbers(state: Any) -> list[Tensor]:
    """Return the tensors and numbers of nested dictionaries and lists, in order."""
    if isinstance(state, Tensor):
        return [state.detach().clone()]
    if isinstance(state, dict):
        return [t for key in sorted(state, key=str) for t in _numbers(state[key])]
    if isinstance(state, list | tuple):
        return [t for one in state for t in _numbers(one)]
    return [torch.tensor(float(state))] if isinstance(state, int | float) else []


def _alike(one: Any, other: Any) -> bool:
    pairs = _numbers(one), _numbers(other)
    return len(pairs[0]) == len(pairs[1]) and all(map(torch.equal, *pairs))


@exercise(
    "checkpoint", chapter=8, number=7, title="A checkpoint",
    difficulty=3, importance=4, minutes=15, points=3,
    solution="resnet_tutorial.solutions.chapter08:Checkpoint", given=("__init__",),
)
def check_checkpoint(Checkpoint: Any, expect: Expectations) -> None:
    """Save, go on, come back: everything as it was; then a full disk, and a stranger's file."""
    with tempfile.TemporaryDirectory() as folder:
        for number, kind in enumerate(("SGD", "AdamW")):
            path = Path(folder) / f"run{number}.pt"
            if not _comes_back(Checkpoint, path, kind, expect):
                return
        if _survives_a_full_disk(Checkpoint, path, expect) and _replaces_at_once(Checkpoint, path, expect):
            _refuses_a_stranger(Checkpoint, Path(folder) / "stranger.pt", expect)


def _comes_back(Checkpoint: Any, path: Path, kind: str, expect: Expectations) -> bool:
    model, optimizer = _born(kind)
    _advance(model, optimizer, 3)
    optimizer.param_groups[0]["lr"] /= 2  # as a schedule does
    before = [t.clone() for t in _numbers(model.state_dict())]
    random = torch.get_rng_state()
    saver = Checkpoint(path)
    saver.save(model, optimizer, 3)
    if not expect(
        path.is_file() and path.stat().st_size > 0, "nothing-saved",
        f"After save there is no file at the path, {path.name}.",
        hint="torch.save(dictionary, self.path), at the end under just this name.",
    ) or not expect(
        _alike(before, model.state_dict()) and torch.equal(random, torch.get_rng_state()), "save-changes-the-run",
        "Saving has changed the network or drawn random numbers.", hint="Read the states, change nothing.",
    ):
        return False
    at_saving = _numbers(model.state_dict()), {name: _numbers(part) for name, part in optimizer.state_dict().items()}
    due = optimizer.param_groups[0]["lr"]
    _advance(model, optimizer, 3)
    after = _numbers(model.state_dict())

    torch.manual_seed(torch.seed() % 2**31)  # another session: other weights, other random numbers
    again, its_optimizer = _born(kind)
    its_state = [t.clone() for t in _numbers(again.state_dict())]
    step = _loaded(Checkpoint, path, again, its_optimizer, expect)
    if step is _FAILED:
        return False
    now = _numbers(again.state_dict())
    parameters = len(list(again.parameters()))
    restored = [torch.equal(a, b) for a, b in zip(now, at_saving[0], strict=True)]
    its = its_optimizer.state_dict()
    if not expect(
        not _alike(now, its_state), "weights-not-restored", "After load the network has the weights that it came with.",
        hint="model.load_state_dict(state[...]) in load: it writes into the network that was handed over.",
    ) or not expect(
        all(restored), "buffers-not-restored" if sum(restored) >= parameters else "weights-not-restored",
        f"After load {restored.count(False)} of the network's {len(restored)} tensors are not those that were saved.",
        hint="state_dict() holds the parameters and batch norm's running statistics; parameters() only the first.",
    ) or not expect(
        _alike(its["state"], at_saving[1]["state"]), "optimizer-not-restored",
        f"The network is back, but the optimiser ({kind}) has lost what it had gathered: momentum, or averages.",
        hint="Save optimizer.state_dict() too, and load it in load.",
    ) or not expect(
        _alike(its["param_groups"], at_saving[1]["param_groups"]), "settings-not-restored",
        f"The optimiser ({kind}) has its averages back, but not its settings: the learning rate is "
        f"{its['param_groups'][0]['lr']}, and was {due} when it was saved.",
        hint='Save and load the whole optimizer.state_dict(): "state" and "param_groups".',
    ) or not expect(
        again.training, "mode-changed", "load left the network in evaluation mode.",
        hint="The mode is no part of a state dict; leave it alone.",
    ):
        return False
    kept = whole(step) != 3 and whole(saver.load(*_born(kind))) == 3
    if not expect(
        whole(step) == 3, "kept-in-memory" if kept else "wrong-step",
        f"It was saved after 3 steps; load returned {described(step)}"
        f"{', and 3 when it is called on the Checkpoint that has saved' * kept}.",
        hint="load is called on a new Checkpoint, as in another session: the number of steps must stand in the file."
        if kept else "Save the number of steps, and return it.",
    ) or not expect(
        torch.equal(torch.get_rng_state(), random), "random-state-lost",
        "The random numbers after load are not those that would have come: other images, other dropout.",
        hint="torch.get_rng_state() when saving, torch.set_rng_state(...) as the last thing when loading.",
    ):
        return False
    _advance(again, its_optimizer, 3)
    return expect(
        _alike(again.state_dict(), after), "another-run",
        "Three steps after load the network is not the one that never stopped.",
        hint="Is something kept that save has not written? load has only the file.",
    )


_FAILED = object()


def _loaded(
    Checkpoint: Any, path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, expect: Expectations
) -> Any:
    """Load with a new object, as another session does; say what two likely errors mean."""
    try:
        return Checkpoint(path).load(model, optimizer)
    except pickle.UnpicklingError:
        expect(
            False, "objects-in-the-file",
            "The file holds more than tensors and plain values, perhaps the whole network: weights_only=True "
            "refuses it.",
            hint="Save model.state_dict() and optimizer.state_dict(), not the objects themselves.",
        )
    except AttributeError as error:
        if "Checkpoint" not in str(error) and type(Checkpoint(path)).__name__ not in str(error):
            raise
        expect(
            False, "kept-in-memory", f"load looks for something that save has kept in self: {error}.",
            hint="load is called on a new Checkpoint, as in another session: only the file is there.",
        )
    return _FAILED


class _Seen:
    """What save does to files, as Python's audit events tell it, while ``path`` is set."""

    path: Path | None = None
    events: list[str] = []
    listens = False

    @classmethod
    def start(cls, path: Path) -> None:
        """Begin to listen; the hook itself can never be taken away again."""
        cls.path, cls.events = path, []
        if not cls.listens:
            sys.addaudithook(cls.hear)
            cls.listens = True

    @classmethod
    def hear(cls, event: str, args: tuple) -> None:
        """Note what would leave no whole checkpoint at the path for a moment."""
        if cls.path is None:
            return
        whole = str(cls.path)
        if event == "open" and str(args[0]) == whole and any(letter in str(args[1]) for letter in "wax+"):
            cls.events.append("is written into")
        elif event == "os.remove" and str(args[0]) == whole:
            cls.events.append("is deleted first")
        elif event == "shutil.copyfile" and str(args[1]) == whole:
            cls.events.append("is copied over")
        elif event == "os.rename" and str(args[1]) == whole:
            here = cls.path.resolve().parent
            if Path(os.fsdecode(args[0])).resolve().parent != here:
                cls.events.append("comes from another folder, which may be another disk")


def _replaces_at_once(Checkpoint: Any, path: Path, expect: Expectations) -> bool:
    """Save over a checkpoint and listen to what happens to it."""
    _Seen.start(path)
    try:
        Checkpoint(path).save(*_born("AdamW"), 4)
    finally:
        _Seen.path = None
    return expect(
        not _Seen.events, "not-at-once",
        f"While save works, the checkpoint at the path {', '.join(dict.fromkeys(_Seen.events))}: a session that is "
        "cut just then leaves none that is whole.",
        hint="Write to another name in the same folder, then os.replace(other_name, self.path).",
    )


def _survives_a_full_disk(Checkpoint: Any, path: Path, expect: Expectations) -> bool:
    """Let torch.save write half a file and fail, as on a full disk, over a checkpoint of step 3."""
    model, optimizer = _born("AdamW")
    original = torch.save

    def half(value: Any, target: Any, *args: Any, **options: Any) -> None:
        if hasattr(target, "write"):
            target.write(b"half a checkpoint")
        else:
            Path(target).write_bytes(b"half a checkpoint")
        raise OSError("no space left on device")

    torch.save = half  # type: ignore[assignment]  # for the one call below
    try:
        Checkpoint(path).save(model, optimizer, 9)
    except OSError:
        pass
    finally:
        torch.save = original
    try:
        step = Checkpoint(path).load(*_born("AdamW"))
    except Exception:  # whatever a damaged file leads to
        step = None
    return expect(
        step == 3, "old-one-destroyed",
        "The check let the disk run full while a second checkpoint was being written: the first one is lost.",
        hint="Write to another name in the same folder, then os.replace(other_name, self.path).",
    )


def _refuses_a_stranger(Checkpoint: Any, path: Path, expect: Expectations) -> None:
    state = {"model": _Foreign(), "optimizer": {}, "step": 0, "random": torch.get_rng_state()}
    _Foreign.ran = False
    for write in (lambda: torch.save(state, path), lambda: path.write_bytes(pickle.dumps(state))):
        write()
        with suppress(Exception):
            Checkpoint(path).load(*_born("SGD"))
    expect(
        not _Foreign.ran, "runs-foreign-code",
        "load ran code that was hidden in the file.",
        hint="torch.load(self.path, weights_only=True) reads tensors and plain values, nothing else.",
    )
