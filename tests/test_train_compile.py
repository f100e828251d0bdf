"""Compilation: done before the first step, timed apart, and never the end of a run."""

import functools
import shutil

import pytest
import torch
from torch import nn
from training_help import QUICK, curves, same_weights, tiny_data, tiny_network

from resnet_tutorial.train import fit
from resnet_tutorial.train.compiling import _one_of_each_size
from resnet_tutorial.train.prepare import prepare

pytestmark = pytest.mark.usefixtures("one_thread")
DATA = tiny_data()
TWO_SIZES = QUICK.but(early_side=12, early_share=0.5)  # two epochs of 12 pixels, one of 16


@pytest.fixture
def translated(monkeypatch):
    """Let torch.compile trace networks and run them as they are: quick, and needs no C compiler."""
    shapes = []

    def backend(graph, inputs):
        shapes.extend(tuple(value.shape) for value in inputs if value.ndim == 4 and value.shape[1] == 3)
        return graph.forward

    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    yield shapes
    torch._dynamo.reset()


def train(compile, **options):
    network = tiny_network()
    return network, fit(network, DATA, TWO_SIZES, compile=compile, progress="none", **options)


def test_every_size_is_compiled_once_before_the_first_step_and_no_bit_changes(translated, monkeypatch):
    at_the_first_step = []
    from resnet_tutorial.train import loop

    def step(run, draws, take=loop._train_step):
        at_the_first_step.append(len(translated))
        take(run, draws)

    plain, uncompiled = train(False)
    monkeypatch.setattr(loop, "_train_step", step)
    network, history = train(True)
    assert [shape for shape in translated if shape[0] == 24] == [(24, 3, 12, 12), (24, 3, 16, 16)]
    assert set(at_the_first_step) == {len(translated)}  # nothing was left to compile
    assert same_weights(network, plain)
    assert history.test_error == uncompiled.test_error and history.final == uncompiled.final
    assert history.settings["compiled"] and history.compile_seconds > 0
    assert uncompiled.compile_seconds == 0


def test_its_seconds_are_not_counted_as_training(translated):
    _, history = train(True)
    assert sum(history.seconds) < history.compile_seconds  # 27 tiny steps against two translations


def test_a_resumed_run_compiles_only_what_is_to_come(translated):
    run = prepare(tiny_network(), DATA, TWO_SIZES, seed=0, device="cpu", curve_on="none",
                  precision="float32", compile=True)  # fmt: skip
    assert _one_of_each_size(run) == [0, 2]
    run.step = 2 * run.steps_per_epoch + 1
    assert _one_of_each_size(run) == [2]
    run.step = run.steps
    assert _one_of_each_size(run) == []


class Uncompilable(nn.Module):
    """What torch.compile returns where there is no compiler: it finds out when it is called."""

    def __init__(self, model, **options):
        super().__init__()
        self.model = model

    def forward(self, x):
        self.model(x)  # it gets somewhere: batch norm's statistics have moved
        raise RuntimeError("no C compiler found\nand a report of a hundred lines")


def test_where_compiling_fails_the_run_says_so_and_goes_on(monkeypatch, capsys):
    plain, uncompiled = train(False)
    monkeypatch.setattr(torch, "compile", Uncompilable)
    network, history = train(True)
    said = capsys.readouterr().out
    assert "torch.compile does not work here (no C compiler found); the run goes on" in said
    assert "hundred lines" not in said
    assert same_weights(network, plain) and history.final == uncompiled.final
    assert history.settings["compiled"] is False
    assert curves(history) == curves(uncompiled)


def test_too_little_memory_while_compiling_is_told_as_such(monkeypatch):
    from resnet_tutorial.train import TrainingError

    class Large(Uncompilable):
        def forward(self, x):
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "compile", Large)
    with pytest.raises(TrainingError, match="Batches of 24 images to train on"):
        train(True)


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler on a processor")
def test_the_real_compiler_trains_a_network():
    torch._dynamo.reset()
    network, history = train(True)
    assert history.settings["compiled"], "the compiler is there and was not used"
    assert history.train_loss[-1] < history.train_loss[0]
