"""The command line, and the records it leaves."""

import json
import re
import shlex
import subprocess

import pytest
import torch
from training_help import tiny_data

from resnet_tutorial.train import (
    TrainingError,
    evaluate,
    list_runs,
    load_run,
    loop,
    provenance,
)
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
        (["--set", "peak_lr=abc"], "peak_lr is a number, not 'abc'"),
        (["--set", "peak_lr=0,1"], "peak_lr is a number, not (0, 1)"),
        (["--epochs", "0"], "epochs is 1 or more"),
        (["--device", "cuda:77"], "no device"),
    ],
)
def test_mistakes_on_the_command_line_get_a_sentence(words, sentence, capsys):
    assert command_line.main([*SMALL, *words]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and sentence in said and "Traceback" not in said


def test_too_large_weights_are_refused_before_the_training(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command_line, "fit", lambda *_, **__: pytest.fail("it trains"))
    words = ["--model", "cifar_resnext29_8x16d", "--weights", "--out", str(tmp_path / "large")]
    assert command_line.main([*SMALL, *words, "--set", "batch_size=100"]) == 1
    assert "MB" in capsys.readouterr().err


@pytest.mark.parametrize("problem", [OSError(28, "No space left on device"), RuntimeError("no space")])
def test_a_full_disk_at_the_end_is_a_sentence_and_the_run_is_recorded_later(problem, tmp_path, capsys, monkeypatch):
    save = torch.save

    def full(state, file):
        if not hasattr(file, "write"):  # the weights of the record; checkpoints are written to an open file
            raise problem
        save(state, file)

    words = [*SMALL, "--weights", "--out", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        assert command_line.main(words) == 1
    said = capsys.readouterr().err
    assert "cannot be written" in said and "--resume" in said and "Traceback" not in said
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"checkpoint.pt"}
    monkeypatch.setattr(loop, "_train_step", lambda *_: pytest.fail("it trains again"))
    assert command_line.main([*words, "--resume"]) == 0
    assert load_run("run", tmp_path).network() is not None


def test_words_for_true_and_false_are_understood():
    assert command_line.pairs(["flip=false", "decay_all=TRUE", "flip2=False", "mean=pixel"]) == {
        "flip": False, "decay_all": True, "flip2": False, "mean": "pixel"}  # fmt: skip


def test_weights_of_an_earlier_run_do_not_stay_beside_a_new_record(tmp_path):
    out = ["--out", str(tmp_path / "run"), "--resume"]
    assert command_line.main([*SMALL, *out, "--weights"]) == 0
    for path in (tmp_path / "run").glob("checkpoint*"):
        path.unlink()
    assert command_line.main([*SMALL, *out, "--seed", "1"]) == 0
    with pytest.raises(TrainingError, match="without its weights"):
        load_run("run", tmp_path).weights()


def test_the_label_names_every_kind_of_device_that_took_part():
    settings = {"device_type": "cuda", "steps": 100, "recipe": {"name": "fast", "batch_size": 128},
                "curve_on": "val", "seed": 0}  # fmt: skip
    sessions = [{"device_type": kind} for kind in ("cpu", "cuda", "cuda")]
    assert _label(History(settings=settings, sessions=sessions)).startswith("short CPU and GPU run")


@pytest.fixture
def ask(monkeypatch):
    """Return a function that tells the commit of a package in a given folder."""

    def commit(package, *beside):
        provenance.commit.cache_clear()
        monkeypatch.setattr(provenance, "PACKAGE", package)
        return provenance.commit(*beside)

    yield commit
    provenance.commit.cache_clear()


def test_the_commit_is_that_of_this_checkout_and_not_of_a_folder_around_it(ask, tmp_path):

    package = tmp_path / "theirs/.venv/resnet_tutorial"
    package.mkdir(parents=True)
    git = ["git", "-C", str(tmp_path / "theirs"), "-c", "user.name=A", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run([*git, *words], check=True)
    assert ask(package) == ""
    own = tmp_path / "theirs/resnet_tutorial"
    own.mkdir()
    assert len(ask(own)) == 40
    (tmp_path / "theirs/benchmarks").mkdir()
    (tmp_path / "theirs/benchmarks/new.py").write_text("x = 1")
    assert len(ask(own)) == 40 and ask(own, "benchmarks").endswith(" with changes")
    (own / "new.py").write_text("x = 1")
    assert ask(own).endswith(" with changes")


def test_unknown_and_damaged_records_are_sentences(tmp_path):
    with pytest.raises(TrainingError, match="There is no recorded run 'x'.*there are: none"):
        load_run("x", tmp_path)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "run.json").write_text("{")
    with pytest.raises(TrainingError, match="run.json is damaged"):
        load_run("x", tmp_path)


def missing(run) -> list[str]:
    """Return what a record does not say about where its numbers come from."""
    record, machine, versions = run.record, run.record.get("machine", {}), run.record.get("versions", {})
    # A run that was cut off has several parts, each with a commit.
    commits = [record.get("commit", ""), *(part["commit"] for part in run.history.sessions)]
    words, seed = shlex.split(record.get("command", "")), run.history.settings["seed"]
    if runs := words[:3] == ["python", "-m", "resnet_tutorial.train"]:
        asked = command_line.make_parser().parse_args(words[3:])
        runs = (asked.model, asked.seed) == (run.model, seed)
    holds = {
        "a command that trains this network with this seed": runs,
        "a commit without changes": all(re.fullmatch("[0-9a-f]{40}", commit) for commit in commits),
        "the versions": versions.get("python") and versions.get("torch") and "cuda" in versions,
        "the machine": all(machine.get(what) for what in ("device", "cpus", "threads", "system")),
    }
    return [what for what, there in holds.items() if not there]


def test_the_project_s_own_records_say_where_they_come_from():
    runs = [load_run(name) for name in list_runs()]
    assert runs
    assert {run.name: missing(run) for run in runs if missing(run)} == {}


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
