"""What is said, and what is kept, when memory or disk runs out, or when a run is started twice."""

import os
import time

import pytest
import torch
from training_help import QUICK, tiny_data, tiny_network

from resnet_tutorial.train import TrainingError, checkpoint, fit, loop

DATA = tiny_data()


@pytest.mark.parametrize("place, sentence", [
    ("prepare", "The network and the images do not fit"),
    ("_train_step", "Batches of 24 images to train on"),
    ("logits_of", "of 500 to measure"),
])  # fmt: skip
def test_too_little_memory_is_a_sentence_wherever_it_shows(place, sentence, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(loop, place, full)
    with pytest.raises(TrainingError, match=sentence) as raised:
        fit(tiny_network(), DATA, QUICK, progress="none")
    assert raised.value.__suppress_context__ and "smaller network" in str(raised.value)


def test_a_last_checkpoint_that_fails_is_not_promised_for_later(tmp_path, monkeypatch, capsys):
    def full(folder, state):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save", full)
    history = fit(tiny_network(), DATA, QUICK, out=tmp_path, save_every=1e9, progress="none")
    first, second, last = capsys.readouterr().out.splitlines()  # one for each epoch
    assert first == second and "goes on and tries again" in first
    assert "whoever resumes the run goes on from the one before" in last and "tries again" not in last
    assert "test_error" in history.final  # the run itself is whole


def test_the_same_run_started_twice_writes_under_two_names(tmp_path):
    other = tmp_path / "checkpoint.pt.12345.part"
    other.write_bytes(b"what another process is writing")
    checkpoint.save(tmp_path, {"step": 1})
    assert other.read_bytes() == b"what another process is writing"
    assert checkpoint.read(tmp_path / "checkpoint.pt")["step"] == 1


def test_what_a_killed_process_left_half_written_is_taken_away(tmp_path):
    old, new = (tmp_path / f"checkpoint.pt.{process}.part" for process in (12345, 12346))
    for path in (old, new):
        path.write_bytes(b"half of a checkp")
    hour_ago = time.time() - 3600
    os.utime(old, (hour_ago, hour_ago))
    fit(tiny_network(), DATA, QUICK, out=tmp_path, progress="none")
    assert not old.exists()
    assert new.exists()  # another process may be about to finish it
