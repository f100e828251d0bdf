"""Test-time augmentation: only on request, and reported beside the plain error, never in its place."""

import pytest
import torch
from training_help import tiny_data

from resnet_tutorial import cifar_resnet
from resnet_tutorial.train import __main__ as command_line
from resnet_tutorial.train import evaluate, fit, load_run

DATA = tiny_data()


def trained(**options):
    """Train a small network for one epoch; return it and what was measured at its end."""
    torch.manual_seed(0)
    model = cifar_resnet(8)
    history = fit(model, DATA, epochs=1, progress="none", precision="float32", **options)
    return model, history.final


def test_the_mirrored_error_stands_beside_the_plain_one():
    _, plain = trained()
    model, both = trained(mirror=True)
    added = {name: value for name, value in both.items() if name.endswith("_mirrored")}
    assert set(added) == {"test_loss_mirrored", "test_error_mirrored"}
    assert {name: value for name, value in both.items() if name not in added} == plain
    twice = evaluate(model, DATA, mirror=True, precision="float32")
    assert added["test_loss_mirrored"] == pytest.approx(twice["loss"])
    assert added["test_error_mirrored"] == pytest.approx(twice["error"])
    assert added["test_loss_mirrored"] != plain["test_loss"]


def test_the_command_line_records_it_on_request(tmp_path, monkeypatch):
    monkeypatch.setattr(command_line, "load", lambda name: DATA)
    words = ["--model", "cifar_resnet8", "--data", "shapes", "--epochs", "1", "--set", "batch_size=24",
             "--progress", "none"]  # fmt: skip
    for name, more in (("once", []), ("twice", ["--mirror"])):
        assert command_line.main([*words, *more, "--out", str(tmp_path / name)]) == 0
        final = load_run(name, tmp_path).history.final
        assert ("test_error_mirrored" in final) == (name == "twice")
