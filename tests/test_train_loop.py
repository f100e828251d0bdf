"""The loop: it learns, repeats itself exactly, and stops with sentences."""

import os
import signal
import threading

import pytest
import torch
from torch import nn
from training_help import QUICK, curves, same_weights, tiny_data, tiny_network

from resnet_tutorial.train import TrainingError, evaluate, fit, predict
from resnet_tutorial.train.history import History
from resnet_tutorial.zoo import build_model

pytestmark = pytest.mark.usefixtures("one_thread")
DATA = tiny_data()


def train(network=None, recipe=QUICK, **options):
    network = network or tiny_network()
    history = fit(network, DATA, recipe, **{"progress": "none", **options})
    return network, history


def test_it_learns():
    _, history = train(recipe=QUICK.but(epochs=30))
    assert history.train_loss[-1] < history.train_loss[0] - 0.2
    assert history.epoch == list(range(1, 31)) and len(history.seconds) == 30
    assert history.final.keys() == {"val_loss", "val_error", "test_loss", "test_error"}


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    one, first = train(seed=1)
    same, again = train(seed=1)
    other, _ = train(seed=2)
    assert same_weights(one, same) and curves(first) == curves(again)
    assert not same_weights(one, other)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_the_network_computes_in_the_precision_that_was_asked_for(precision):
    network, seen = tiny_network(), {True: set(), False: set()}
    network[0].register_forward_hook(lambda layer, _, out: seen[layer.training].add(out.dtype))
    _, history = train(network, precision=precision)
    assert history.settings["precision"] == precision
    wanted = getattr(torch, precision)
    assert seen[True] == {wanted}
    assert seen[False] == {torch.float32, wanted}  # tried out before the first step, then measured
    assert {p.dtype for p in network.parameters()} == {torch.float32}


@pytest.mark.parametrize("curve_on, filled", [("val", "val"), ("test", "test"), ("none", "")])
def test_the_curve_that_was_asked_for_is_measured(curve_on, filled):
    _, history = train(curve_on=curve_on)
    for part in ("val", "test"):
        assert len(getattr(history, f"{part}_error")) == (3 if part == filled else 0)
    assert history.settings["curve_on"] == curve_on


def test_the_held_out_images_are_not_trained_on():
    _, history = train(holdout=0.25)
    assert (history.settings["train_images"], history.settings["val_images"]) == (180, 60)


def test_the_test_error_is_that_of_the_network_that_comes_back():
    network, history = train()
    measured = evaluate(network, DATA, QUICK)
    assert measured == pytest.approx(
        {"loss": history.final["test_loss"], "error": history.final["test_error"]})  # fmt: skip
    assert not network.training
    assert predict(network, DATA, QUICK).shape == (60, 10)
    assert evaluate(network, DATA, QUICK, mirror=True)["loss"] != measured["loss"]


def test_every_family_trains():
    data = tiny_data(48, 20)
    for name, options in [("cifar_resnet8", {"shortcut": "B"}), ("cifar_plain8", {}),
                          ("cifar_preact_resnet8", {}), ("cifar_resnext29_2x4d", {}),
                          ("resnet18", {"stem": "cifar"}),
                          ("resnet50", {"version": "v1"})]:  # fmt: skip
        network = build_model(name, num_classes=10, **options)
        history = fit(network, data, QUICK.but(epochs=1), curve_on="none", progress="none")
        assert len(history.epoch) == 1, name


def test_a_history_is_saved_and_read_back(tmp_path):
    _, history = train()
    history.save(tmp_path / "history.json")
    assert History.load(tmp_path / "history.json").as_dict() == history.as_dict()
    (tmp_path / "other.json").write_text("[1]")
    for name in ("other.json", "absent.json"):
        with pytest.raises(TrainingError, match="is not a saved history"):
            History.load(tmp_path / name)
    with pytest.raises(TrainingError, match="cannot be written"):
        history.save(tmp_path)


class Diverging(nn.Module):
    """Gives numbers until its `calls`-th training batch, then NaN."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.inner, self.calls = tiny_network(), calls

    def forward(self, x):
        self.calls -= self.training
        return self.inner(x) * (float("nan") if self.calls < 0 else 1.0)


def test_a_loss_that_becomes_nan_stops_with_advice(tmp_path):
    with pytest.raises(TrainingError, match="loss is nan in epoch 2.*Lower the peak"):
        train(Diverging(12), out=tmp_path)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["step"] == 9  # the end of the last good epoch


def test_a_network_that_has_diverged_is_not_saved(tmp_path):
    # Three epochs of 9 steps; the loss is looked at after each epoch's last step.
    with pytest.raises(TrainingError, match="loss is nan in epoch 2"):
        train(Diverging(12), out=tmp_path, save_every=0)
    for name, step in (("checkpoint.pt", 12), ("checkpoint.previous.pt", 11)):
        state = torch.load(tmp_path / name, weights_only=True)
        assert state["step"] == step and state["sums"]["loss"].isfinite()


def interrupt_at(step, monkeypatch):
    """Press Ctrl-C when that many steps are done."""
    from resnet_tutorial.train import loop

    original = loop._train_step

    def train_step(run, draws):
        original(run, draws)
        if run.step == step:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(loop, "_train_step", train_step)


def weights_after(step, monkeypatch):
    """Return the averaged weights that an undisturbed run has after that many steps."""
    from resnet_tutorial.train import loop

    original, network = loop._train_step, tiny_network()

    def train_step(run, draws):
        original(run, draws)
        if run.step == step:
            network.load_state_dict(run.average.values)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_train_step", train_step)
        train(device="cpu")
    return network


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_an_interrupt_leaves_history_and_weights(monkeypatch):
    expected = weights_after(14, monkeypatch)
    interrupt_at(14, monkeypatch)
    before = signal.getsignal(signal.SIGINT)
    network, history = train(device="cpu")
    assert history.epoch == [1] and history.stopped == "interrupted in epoch 2"
    assert history.final == {} and "interrupted" in repr(history)
    assert same_weights(network, expected) and not network.training
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_an_interrupt_of_the_last_measurement_leaves_history_and_weights(monkeypatch, tmp_path):
    from resnet_tutorial.train import loop

    original, parts = loop._measure, []

    def measure(run, part):
        parts.append(part)
        if part == "test":
            os.kill(os.getpid(), signal.SIGINT)
        return original(run, part)

    # Outside of the steps Python's own handler acts, which a process that was started in the background lacks.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(loop, "_measure", measure)
            network, history = train(out=tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    whole, undisturbed = train()
    assert parts == ["val"] * 4 + ["test"]
    assert history.epoch == [1, 2, 3] and history.final == {} and "after the last step" in history.stopped
    assert same_weights(network, whole) and not network.training
    _, resumed = train(out=tmp_path, resume=True)
    assert resumed.final == undisturbed.final and not resumed.stopped


def test_training_works_outside_the_main_thread():
    results = []
    thread = threading.Thread(target=lambda: results.append(train()[1]))
    thread.start()
    thread.join()
    assert len(results[0].epoch) == 3


@pytest.mark.parametrize(
    "options, error, sentence",
    [
        ({"curve_on": "train"}, ValueError, "val, test, none"),
        ({"epochs": 0}, ValueError, "epochs is 1 or more"),
        ({"holdout": 0}, ValueError, "Nothing is held out"),
        ({"recipe": "quick"}, ValueError, "There is no recipe"),
        ({"recipe": QUICK.but(batch_size=1000)}, ValueError, "more than the 216 training images"),
        ({"precision": "float8"}, ValueError, "precision is one of"),
        ({"compile": "maybe"}, ValueError, "compile is"),
        ({"progress": "loud"}, ValueError, "progress is one of"),
        ({"resume": True}, ValueError, "resume needs the folder"),
        ({"device": "cuda:77"}, TrainingError, "There is no device 'cuda:77'"),
        ({"device": "toaster"}, TrainingError, "There is no device 'toaster'"),
        ({"network": tiny_network(classes=4)}, TrainingError, r"\(2, 10\) is needed"),
    ],
)
def test_mistakes_get_a_sentence(options, error, sentence):
    with pytest.raises(error, match=sentence):
        train(**options)


def test_a_name_is_not_a_network():
    with pytest.raises(ValueError, match="build_model makes one from a name"):
        fit("cifar_resnet20", DATA)


def test_trying_the_network_out_does_not_change_it():
    class Stop(Exception):
        pass

    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = tiny_network()

        def forward(self, x):
            if self.training:
                raise Stop
            return self.inner(x)

    network = Counting()
    with pytest.raises(Stop):
        train(network)
    assert same_weights(network.inner, tiny_network())
