"""Exercise 8.7: checkpoints in other styles pass, and what is lost or unsafe is named."""

import os
import pickle
import shutil
import tempfile
from pathlib import Path

import pytest
import torch

from resnet_tutorial import check
from resnet_tutorial.solutions.chapter08 import Checkpoint


def state_of(model, optimizer, step):
    return {
        "model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step,
        "random": torch.get_rng_state(),
    }  # fmt: skip


def put_back(state, model, optimizer):
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    return state["step"]


def fresh(path):
    return path.with_name(path.name + ".new")


class InTwoFiles:
    """Other names, a tuple instead of a dictionary, a context manager, no shared code."""

    def __init__(self, where):
        self.where = Path(where)

    def save(self, model, optimizer, step):
        handle, name = tempfile.mkstemp(dir=self.where.parent)
        with os.fdopen(handle, "wb") as file:
            state = (model.state_dict(), optimizer.state_dict(), torch.tensor(step), torch.get_rng_state())
            torch.save(state, file)
        os.rename(name, self.where)

    def load(self, model, optimizer):
        network, momentum, step, random = torch.load(self.where, weights_only=True)
        model.load_state_dict(network)
        optimizer.load_state_dict(momentum)
        torch.set_rng_state(random)
        return int(step)


def changed(**methods):
    return type("Checkpoint", (Checkpoint,), methods)


def loading(change):
    def load(self, model, optimizer):
        return change(torch.load(self.path, weights_only=True), model, optimizer)

    return load


def in_a_tensor(*run):
    return torch.tensor(put_back(*run))


@pytest.mark.parametrize("attempt", [changed(), InTwoFiles, changed(load=loading(in_a_tensor))])
def test_right_checkpoints_pass(attempt):
    report = check.checkpoint(attempt)
    assert report.passed, report


def in_place(self, *run):
    torch.save(state_of(*run), self.path)


def copies(self, *run):
    torch.save(state_of(*run), fresh(self.path))
    shutil.copy(fresh(self.path), self.path)


def deletes_first(self, *run):
    torch.save(state_of(*run), fresh(self.path))
    self.path.unlink(missing_ok=True)
    os.rename(fresh(self.path), self.path)


def from_elsewhere(self, *run):
    with tempfile.TemporaryDirectory() as folder:
        torch.save(state_of(*run), Path(folder) / "checkpoint")
        os.replace(Path(folder) / "checkpoint", self.path)


def whole_network(self, model, optimizer, step):
    torch.save({**state_of(model, optimizer, step), "model": model}, fresh(self.path))
    os.replace(fresh(self.path), self.path)


def pickles(self, *run):
    fresh(self.path).write_bytes(pickle.dumps(state_of(*run)))
    os.replace(fresh(self.path), self.path)


def unpickles(self, model, optimizer):
    return put_back(pickle.loads(self.path.read_bytes()), model, optimizer)


def without(name):
    def change(state, model, optimizer):
        now = state_of(model, optimizer, 0)
        return put_back({**state, name: now[name]}, model, optimizer)

    return loading(change)


def parameters_only(state, model, optimizer):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(state["model"][name])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    return state["step"]


def momentum_only(state, model, optimizer):
    return put_back({**state, "optimizer": {**optimizer.state_dict(), "state": state["optimizer"]["state"]}},
                    model, optimizer)  # fmt: skip


def keeps_the_step(self, model, optimizer, step):
    self.step = step
    Checkpoint.save(self, model, optimizer, 0)


def returns_the_kept_step(self, model, optimizer):
    return Checkpoint.load(self, model, optimizer) or getattr(self, "step", 0)


def evaluates(state, model, optimizer):
    step = put_back(state, model, optimizer)
    model.eval()
    return step


@pytest.mark.parametrize(
    ("methods", "code"),
    [
        ({"save": in_place}, "old-one-destroyed"),
        ({"save": copies}, "not-at-once"),
        ({"save": deletes_first}, "not-at-once"),
        ({"save": from_elsewhere}, "not-at-once"),
        ({"save": whole_network}, "objects-in-the-file"),
        ({"save": lambda self, *run: None}, "nothing-saved"),
        ({"save": pickles, "load": unpickles}, "runs-foreign-code"),
        ({"load": lambda self, *run: put_back(torch.load(self.path, weights_only=False), *run)}, "runs-foreign-code"),
        ({"load": without("optimizer")}, "optimizer-not-restored"),
        ({"load": without("model")}, "weights-not-restored"),
        ({"load": without("random")}, "random-state-lost"),
        ({"load": loading(parameters_only)}, "buffers-not-restored"),
        ({"load": loading(evaluates)}, "mode-changed"),
        ({"load": loading(lambda *run: put_back(*run) and None)}, "wrong-step"),
        ({"load": loading(lambda *run: put_back(*run) + 1)}, "wrong-step"),
        ({"load": lambda self, *run: self.step}, "kept-in-memory"),
        ({"save": keeps_the_step, "load": returns_the_kept_step}, "kept-in-memory"),
        ({"load": loading(momentum_only)}, "settings-not-restored"),
        ({"load": lambda self, *run: 3}, "weights-not-restored"),
    ],
)
def test_wrong_checkpoints_are_named(methods, code):
    report = check.checkpoint(changed(**methods))
    assert next(f.code for f in report.findings if not f.ok) == code, report


def test_an_unwritten_method_is_not_attempted():
    def blank(self, *run):
        raise NotImplementedError()

    assert not check.checkpoint(changed(save=blank)).attempted
