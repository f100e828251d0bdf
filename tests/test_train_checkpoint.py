"""Checkpoints: killed and resumed runs end in the same bits, and damage is refused."""

import io
import json
import multiprocessing
import os
import random
import signal
import sys
import time
import zlib
from pathlib import Path

import pytest
import torch
from training_help import QUICK, curves, same_weights, tiny_data, tiny_network

from resnet_tutorial.train import TrainingError, checkpoint, fit, loop

pytestmark = pytest.mark.usefixtures("one_thread")
DATA = tiny_data()


def train(out=None, network=None, recipe=QUICK, **options):
    network = network or tiny_network()
    return network, fit(network, DATA, recipe, out=out, progress="none", **options)


def stop_after(steps, monkeypatch):
    """End the next run as Ctrl-C would, when that many steps are done."""
    original = loop._train_step

    def train_step(run, draws):
        original(run, draws)
        if run.step == steps:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(loop, "_train_step", train_step)


@pytest.mark.parametrize("step", [1, 8, 9, 10, 26])
def test_an_interrupted_run_resumes_to_the_same_bits(step, tmp_path, monkeypatch):
    whole, undisturbed = train()
    with monkeypatch.context() as patch:
        stop_after(step, patch)
        train(tmp_path)
    resumed, history = train(tmp_path, network=tiny_network(seed=9), resume=True)
    assert same_weights(whole, resumed)
    assert curves(history) == curves(undisturbed)


def test_the_warm_up_and_its_window_survive(tmp_path, monkeypatch):
    # The rate is so small that the first window is too bad to end the warm-up: half of it would not be.
    recipe = QUICK.but(epochs=24, warmup_lr=0.003)
    whole, undisturbed = train(recipe=recipe)
    with monkeypatch.context() as patch:
        stop_after(57, patch)
        train(tmp_path, recipe=recipe)
    resumed, history = train(tmp_path, recipe=recipe, resume=True)
    assert same_weights(whole, resumed) and curves(history) == curves(undisturbed)
    assert history.lr[100 // 9] == 0.003


def test_the_parts_of_a_run_that_was_cut_off_are_noted(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(10, patch)
        train(tmp_path, precision="float32")
    _, history = train(tmp_path, precision="bfloat16", resume=True)
    parts = [(part["from_step"], part["precision"]) for part in history.sessions]
    assert parts == [(0, "float32"), (10, "bfloat16")]
    _, again = train(tmp_path, resume=True)
    assert again.sessions == history.sessions  # nothing was left to train


def test_a_finished_run_resumes_at_its_end(tmp_path):
    whole, first = train(tmp_path)
    again, second = train(tmp_path, network=tiny_network(seed=5), resume=True)
    assert same_weights(whole, again) and curves(first) == curves(second)


@pytest.mark.parametrize("first, then", [("float32", "float16"), ("float16", "float32")])
def test_a_run_goes_on_in_another_format(tmp_path, monkeypatch, first, then):
    # A session that began on a processor and goes on with a T4: only float16 has a scaler to keep.
    with monkeypatch.context() as patch:
        stop_after(10, patch)
        train(tmp_path, precision=first)
    _, history = train(tmp_path, precision=then, resume=True)
    assert history.settings["precision"] == then and len(history.epoch) == 3


def run_victim(folder, result):
    """Train in a process of its own, resuming what is there, and write down what came out."""
    torch.set_num_threads(1)
    network = tiny_network()
    # All that a checkpoint may hold: two optimisers, averaged weights, two sizes of crops.
    recipe = QUICK.but(epochs=12, optimizer="muon", early_side=12)
    history = fit(network, DATA, recipe, out=folder, resume=True, save_every=0, progress="none")
    state = [zlib.crc32(v.cpu().numpy().tobytes()) for v in network.state_dict().values()]
    result.write_text(json.dumps([curves(history), state]))


def stamp_of(path):
    """Return when a file was last written, or None while there is none."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def has_saved(process, newest, before, seconds):
    """Wait until a process has saved something of its own, at most so long; return whether it has."""
    end = time.monotonic() + seconds
    while process.is_alive() and time.monotonic() < end and stamp_of(newest) == before:
        time.sleep(0.001)
    return stamp_of(newest) != before


@pytest.mark.skipif(os.name != "posix", reason="forks and kills processes")
def test_killed_at_20_random_moments_and_resumed_the_run_ends_in_the_same_bits(tmp_path, monkeypatch):
    # A server that has imported torch already forks the victims: each starts within milliseconds.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("forkserver")
    # (The first step of any optimiser imports torch._dynamo, which takes seconds.)
    preload = ["torch", "torch._dynamo", "resnet_tutorial.train", "test_train_checkpoint"]
    context.set_forkserver_preload(preload)

    def start(folder, result):
        process = context.Process(target=run_victim, args=(folder, tmp_path / result))
        process.start()
        return process

    undisturbed = start(tmp_path / "whole", "whole.json")
    undisturbed.join(timeout=120)
    folder, newest = tmp_path / "killed", tmp_path / "killed" / checkpoint.CURRENT
    chance, moments, unsaved = random.Random(), [], 0
    until_saved = 1.0  # seconds from a process's start to its first save: a guess, until one was measured
    for number in range(20):
        began, before = time.monotonic(), stamp_of(newest)
        victim = start(folder, "killed.json")
        if number % 2:  # in its steps and saves: the chain moves on
            assert has_saved(victim, newest, before, seconds=120), moments
            until_saved = time.monotonic() - began
            moments.append(chance.uniform(0, 0.02))
            time.sleep(moments[-1])
        else:  # in its start or restore: one moment in each tenth of that time, so that no part of it is left out
            moments.append(until_saved * (number / 2 + chance.random()) / 10)
            unsaved += not has_saved(victim, newest, before, seconds=moments[-1])
        victim.kill()
        victim.join()
        assert victim.exitcode == -signal.SIGKILL, "the run was over before it could be killed"
    assert unsaved, "every process had saved before it was killed: starts and restores were not hit"
    end = start(folder, "killed.json")
    end.join(timeout=120)
    results = [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("killed", "whole")]
    assert results[0] == results[1], moments


def half(content):
    return content[: len(content) // 2]


def one_bit(content):
    state = torch.load(io.BytesIO(content), weights_only=True)
    place = content.index(state["model"]["6.weight"].numpy().tobytes())
    return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]


@pytest.mark.parametrize("damage", [half, one_bit, lambda c: b"", lambda c: b"something else"])
def test_a_damaged_checkpoint_is_refused_and_the_one_before_used(damage, tmp_path, capsys):
    whole, undisturbed = train(tmp_path)
    newest = tmp_path / checkpoint.CURRENT
    newest.write_bytes(damage(newest.read_bytes()))
    resumed, history = train(tmp_path, resume=True)
    assert "Continuing from the checkpoint before it" in capsys.readouterr().out
    assert same_weights(whole, resumed) and curves(history) == curves(undisturbed)
    assert (tmp_path / checkpoint.REFUSED).exists()


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path, capsys):
    whole, _ = train(tmp_path)
    os.remove(tmp_path / checkpoint.CURRENT)
    resumed, _ = train(tmp_path, resume=True)
    assert same_weights(whole, resumed)


def test_nothing_usable_is_a_sentence(tmp_path):
    train(tmp_path)
    for name in (checkpoint.CURRENT, checkpoint.PREVIOUS):
        (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(TrainingError, match="cut off or not a checkpoint.*Choose another folder"):
        train(tmp_path, resume=True)


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"seed": 1}, "seed 0, and this run has 1"),
        ({"recipe": QUICK.but(peak_lr=0.05)}, "peak_lr 0.2, and this run has 0.05"),
        ({"epochs": 9}, "steps 27, and this run has 81"),
        ({"network": tiny_network(classes=12)}, "another network"),
        ({"network": torch.nn.Sequential(*tiny_network(), torch.nn.ReLU())}, "another network"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(options, reason, tmp_path):
    train(tmp_path)
    with pytest.raises(TrainingError, match=f"belongs to another run.*{reason}"):
        train(tmp_path, resume=True, **options)


def test_foreign_files_are_refused(tmp_path):
    torch.save({"weights": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(TrainingError, match="not a checkpoint of this package"):
        checkpoint.read(tmp_path / "other.pt")
    torch.save({"format": checkpoint.FORMAT, "code": print}, tmp_path / "code.pt")
    with pytest.raises(TrainingError, match="cut off or not a checkpoint"):
        checkpoint.read(tmp_path / "code.pt")


def test_a_run_is_not_written_over_another(tmp_path):
    train(tmp_path)
    with pytest.raises(TrainingError, match="already holds a run"):
        train(tmp_path)


def test_a_run_is_not_written_over_a_record(tmp_path):
    (tmp_path / "run.json").write_text("{}")  # as in a clone: git keeps records and no checkpoints
    with pytest.raises(TrainingError, match="already holds the record of a run"):
        train(tmp_path)


def test_resuming_without_a_checkpoint_starts(tmp_path, capsys):
    train(tmp_path / "new", resume=True)
    assert "starting from the beginning" in capsys.readouterr().out


FULL = OSError(28, "No space left on device")


def fill_disk(monkeypatch, saves, problem=FULL):
    """Let the disk be full at the saves of these numbers, from 1."""
    save, calls = torch.save, []

    def save_or_not(state, file):
        calls.append(1)
        if len(calls) in saves:
            file.write(b"half")
            raise problem
        save(state, file)

    monkeypatch.setattr(checkpoint.torch, "save", save_or_not)


@pytest.mark.parametrize("problem", [FULL, RuntimeError("No space left on device")])
def test_a_full_disk_is_a_warning_and_the_run_goes_on(problem, tmp_path, monkeypatch, capsys):
    whole, _ = train()
    fill_disk(monkeypatch, (1, 2), problem)
    survivor, history = train(tmp_path)
    assert same_weights(whole, survivor) and len(history.epoch) == 3
    assert capsys.readouterr().out.count("No space left on device") == 2
    assert checkpoint.read(tmp_path / checkpoint.CURRENT)["step"] == 27
    assert not list(tmp_path.glob("*.part"))


# A save after each step, and the run ends at step 14: the number of a save is that of its step.
@pytest.mark.parametrize("full, newest", [((1, 2), 14), (range(3, 12), 14), (range(6, 15), 5), (range(1, 15), 0)])
def test_a_run_that_ended_after_failed_saves_resumes_to_the_same_bits(full, newest, tmp_path, monkeypatch, capsys):
    whole, undisturbed = train()
    with monkeypatch.context() as patch:
        fill_disk(patch, full)
        stop_after(14, patch)
        train(tmp_path, save_every=0)
    assert capsys.readouterr().out.count("No space left on device") == len(full)
    assert not newest or checkpoint.read(tmp_path / checkpoint.CURRENT)["step"] == newest
    resumed, history = train(tmp_path, network=tiny_network(seed=0 if not newest else 9), resume=True)
    assert history.sessions[-1]["from_step"] == newest
    assert same_weights(whole, resumed) and curves(history) == curves(undisturbed)


def test_an_unwritable_folder_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrainingError, match="cannot be written.*choose another folder"):
        train(tmp_path / "file" / "below")
