"""The command line, and the records it leaves."""

import json

import pytest
import torch
from training_help import tiny_data

from resnet_tutorial.train import TrainingError, evaluate, list_runs, load_run
from resnet_tutorial.train import __main__ as command_line
from resnet_tutorial.train.history import History
from resnet_tutorial.train.record import _label, results_folder

DATA = tiny_data()
SMALL = ["--model", "cifar_resnet8", "--data", "shapes", "--epochs", "1", "--set",
         "batch_size=24", "--progress", "none"]  # fmt: skip


@pytest.fixture(autouse=True)
def small_data(monkeypatch):
    monkeypatch.setattr(command_line, "load", lambda name: DATA)


def test_a_run_is_recorded_and_read_back(tmp_path, capsys):
    out = tmp_path / "small"
    words = [*SMALL, "--out", str(out), "--weights", "--model-args", "shortcut=B",
             "--curve-on", "test", "--seed", "4", "--resume"]  # fmt: skip
    assert command_line.main(words) == 0
    assert "Recorded in" in capsys.readouterr().out
    assert list_runs(tmp_path) == ["small"]
    run = load_run("small", tmp_path)
    assert (run.model, run.model_args) == ("cifar_resnet8", {"num_classes": 10, "shortcut": "B"})
    assert run.history.settings["seed"] == 4 and len(run.history.test_error) == 1
    assert run.label.startswith("short CPU run") or torch.cuda.is_available()
    assert "test error measured after every epoch" in run.label
    assert run.record["command"].startswith("python -m resnet_tutorial.train --model")
    assert "--resume" not in run.record["command"]
    assert run.record["versions"]["torch"] == str(torch.__version__)
    assert {"device", "threads"} <= run.record["machine"].keys()
    error = evaluate(run.network(), DATA)["error"]
    assert error == pytest.approx(run.history.final["test_error"], abs=5)  # weights in float16


@pytest.mark.parametrize("steps, batch, label", [
    (64_000, 128, "CPU run, recipe paper, 183 epochs, seed 0"),
    (5_850, 256, "short CPU run, recipe paper, 183 epochs, seed 0")])  # fmt: skip
def test_a_run_is_short_that_sees_fewer_images_than_the_papers(steps, batch, label):
    settings = {"device_type": "cpu", "steps": steps, "recipe": {"name": "paper", "batch_size": batch},
                "curve_on": "val", "seed": 0}  # fmt: skip
    assert _label(History(settings=settings, epoch=list(range(183)))) == label


def test_a_record_without_weights_says_so(tmp_path):
    assert command_line.main([*SMALL, "--out", str(tmp_path / "light")]) == 0
    assert not (tmp_path / "light" / "weights.pt").exists()
    with pytest.raises(TrainingError, match="without its weights"):
        load_run("light", tmp_path).network()


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--model", "cifar_resnet21"], "6n"),
        (["--model", "resnet19"], "resnet19"),
        (["--model-args", "shortcut=D"], "shortcut"),
        (["--model-args", "shortcut"], "NAME=VALUE"),
        (["--model-args", "colour=red"], "colour"),
        (["--set", "lr=1"], "A recipe has no lr"),
        (["--epochs", "0"], "epochs is 1 or more"),
        (["--device", "cuda:77"], "no device"),
    ],
)
def test_mistakes_on_the_command_line_get_a_sentence(words, sentence, capsys):
    assert command_line.main([*SMALL, *words]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and sentence in said and "Traceback" not in said


def test_too_large_weights_are_not_recorded(tmp_path, capsys):
    words = ["--model", "cifar_resnext29_8x16d", "--weights", "--out", str(tmp_path / "large")]
    assert command_line.main([*SMALL, *words, "--set", "batch_size=100"]) == 1
    assert "MB" in capsys.readouterr().err


def test_unknown_and_damaged_records_are_sentences(tmp_path):
    with pytest.raises(TrainingError, match="There is no recorded run 'x'.*there are: none"):
        load_run("x", tmp_path)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "run.json").write_text("{")
    with pytest.raises(TrainingError, match="run.json is damaged"):
        load_run("x", tmp_path)


def test_the_project_s_own_records_are_whole():
    for name in list_runs():
        run = load_run(name)
        epochs = len(run.history.epoch)
        assert epochs and len(run.history.train_error) == epochs, name
        assert run.history.final["test_error"] < 90, name
        assert not any(word in json.dumps(run.record) for word in ("/work", "/home", "/root")), name
        if (run.folder / "weights.pt").exists():
            assert run.network() is not None
            assert (run.folder / "weights.pt").stat().st_size <= 2_000_000
    assert results_folder().name in ("results", "_results")
