"""Two processes that train together: equal to one, stopped together, and none left behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from training_help import QUICK, tiny_data, tiny_network

from resnet_tutorial.train import fit
from resnet_tutorial.train.augment import crop_and_flip, draw_epoch, measure_pixels
from resnet_tutorial.train.prepare import make_optimizers
from resnet_tutorial.train.team import Team, joined, present_team

TESTS = Path(__file__).parent
RECIPE = QUICK.but(average=0.0, holdout=0.0)
pytestmark = pytest.mark.skipif(os.name != "posix", reason="starts processes as Linux and macOS do")

MEMBER = """
import os, sys, torch
from pathlib import Path
from test_train_team import *
torch.set_num_threads(1)
folder, kind, epochs = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
(folder / f"pid{os.environ['RANK']}").write_text(str(os.getpid()))
with joined("cpu") as team:
    network = NETWORKS[kind]()
    history = fit(network, tiny_data(), RECIPE.but(epochs=epochs), out=folder / "run", resume=True,
                  device="cpu", curve_on="test", precision="float32", save_every=0, progress="none")
    torch.save({"weights": network.state_dict(), "history": history.as_dict()},
               folder / f"result{team.rank}.pt")
"""


def without_chance() -> nn.Module:
    """A network in which no image knows of another: no batch norm, no dropout."""
    return nn.Sequential(*(layer for layer in tiny_network()
                           if not isinstance(layer, nn.BatchNorm2d | nn.Dropout)))  # fmt: skip


def with_batch_norm() -> nn.Module:
    return nn.Sequential(*(layer for layer in tiny_network() if not isinstance(layer, nn.Dropout)))


NETWORKS = {"without": without_chance, "batch norm": with_batch_norm}


def start(folder: Path, kind: str, epochs: int) -> subprocess.Popen:
    """Start two processes under torchrun."""
    script = folder / "member.py"
    script.write_text(MEMBER)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path]),
                                "OMP_NUM_THREADS": "1"}  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
         str(script), str(folder), kind, str(epochs)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip


def together(folder: Path, kind: str, epochs: int = 3) -> list[dict]:
    """Train with two processes and return what each of them had in the end."""
    results, _ = together_and_said(folder, kind, epochs)
    return results


def together_and_said(folder: Path, kind: str, epochs: int = 3) -> tuple[list[dict], str]:
    """Train with two processes and return what each of them had in the end, and what they printed."""
    process = start(folder, kind, epochs)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return [torch.load(folder / f"result{rank}.pt", weights_only=True) for rank in (0, 1)], said


def wait_for(path: Path) -> None:
    """Return when the file is there."""
    deadline = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.01)


def close(one: dict, other: dict) -> None:
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-4, atol=1e-5)


def test_two_processes_are_one_where_images_do_not_know_of_each_other(tmp_path):
    first, second = together(tmp_path, "without")
    alone = without_chance()
    history = fit(alone, tiny_data(), RECIPE, device="cpu", curve_on="test", precision="float32",
                  progress="none")  # fmt: skip
    close(first["weights"], alone.state_dict())
    close(first["weights"], second["weights"])
    for name in ("train_loss", "train_error", "test_loss", "test_error"):
        for result in (first, second):
            assert result["history"][name] == pytest.approx(getattr(history, name), rel=1e-3), name
    assert first["history"]["settings"]["processes"] == 2


def test_with_batch_norm_each_half_is_normalised_by_itself_and_the_rest_is_one(tmp_path):
    first, second = together(tmp_path, "batch norm", epochs=1)  # rounding grows with the steps
    close(first["weights"], second["weights"])

    network, data = with_batch_norm().to(memory_format=torch.channels_last), tiny_data()
    norm = next(layer for layer in network if isinstance(layer, nn.BatchNorm2d))
    pixels = measure_pixels(torch.from_numpy(data.train_images), RECIPE)
    labels = torch.from_numpy(data.train_labels).long()
    (optimizer,) = make_optimizers(network, RECIPE)
    steps, half = 10, RECIPE.batch_size // 2
    draws = draw_epoch(240, RECIPE, seed=0, epoch=0, side=16)
    for step in range(steps):
        optimizer.zero_grad()
        for part in (1, 0):  # the first process's half last: its running statistics are kept
            before = [b.clone() for b in norm.buffers()]
            begin = step * RECIPE.batch_size + part * half
            mine = draws.batch(begin, begin + half)
            scores = network(crop_and_flip(pixels, mine, RECIPE.padding))
            (F.cross_entropy(scores, labels[mine.order]) / 2).backward()
            if part == 1:
                for buffer, value in zip(norm.buffers(), before, strict=True):
                    buffer.copy_(value)
        for group in optimizer.param_groups:
            group["lr"] = RECIPE.learning_rate(step, steps)
        optimizer.step()
    close(first["weights"], network.state_dict())


def test_when_one_process_is_lost_the_run_ends_and_resumes(tmp_path):
    expected = tmp_path / "undisturbed"
    expected.mkdir()
    whole, _ = together(expected, "batch norm", epochs=40)
    process = start(tmp_path, "batch norm", epochs=40)
    wait_for(tmp_path / "run" / "checkpoint.pt")
    os.kill(int((tmp_path / "pid1").read_text()), signal.SIGKILL)
    said, _ = process.communicate(timeout=60)
    assert process.returncode != 0 and not (tmp_path / "result0.pt").exists(), said
    resumed, _ = together(tmp_path, "batch norm", epochs=40)
    for name, value in resumed["weights"].items():
        assert torch.equal(value, whole["weights"][name]), name
    ours, theirs = (dict(r["history"], seconds=None, sessions=None) for r in (resumed, whole))
    assert json.dumps(ours) == json.dumps(theirs)


def test_a_process_left_alone_ends_with_a_sentence(tmp_path):
    # The command as a reader gives it, and without torchrun, which would end the process that is left by a signal.
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port = str(trial.getsockname()[1])
    command = [sys.executable, "-m", "resnet_tutorial.train", "--model", "cifar_resnet8", "--data", "shapes",
               "--epochs", "500", "--device", "cpu", "--save-every", "0", "--threads", "1", "--precision", "float32",
               "--progress", "none", "--out", str(tmp_path / "run")]  # fmt: skip
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [subprocess.Popen(command, env=os.environ | place | {"RANK": rank}, stderr=subprocess.PIPE,
                                  stdout=subprocess.DEVNULL, text=True) for rank in "01"]  # fmt: skip
    try:
        wait_for(tmp_path / "run" / "checkpoint.pt")
        processes[1].kill()
        _, said = processes[0].communicate(timeout=120)
    finally:
        for process in processes:
            process.kill()
            process.wait(timeout=60)
    assert processes[0].returncode == 1, said
    assert "Another process of this run was lost" in said and "--resume" in said and "Traceback" not in said


def test_a_refusal_is_the_same_sentence_in_every_process(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"something else")
    process = start(tmp_path, "batch norm", epochs=1)
    said, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "start afresh without resume" in said and "was lost" not in said


def test_a_damaged_checkpoint_is_put_aside_once_and_both_go_on_from_the_one_before(tmp_path):
    whole = together(tmp_path, "batch norm")
    newest = tmp_path / "run" / "checkpoint.pt"
    newest.write_bytes(newest.read_bytes()[:500])
    resumed, said = together_and_said(tmp_path, "batch norm")
    assert said.count("Continuing from the checkpoint before it") == 1
    for result, before in zip(resumed, whole, strict=True):
        assert result["history"]["final"] == before["history"]["final"]
        for name, value in result["weights"].items():
            if "running" not in name and "tracked" not in name:  # the second process's own, which nobody uses
                assert torch.equal(value, before["weights"][name]), name


def test_a_batch_that_cannot_be_shared_is_refused():
    assert [Team(rank, 4).share(128) for rank in (0, 3)] == [(0, 32), (96, 128)]
    with pytest.raises(ValueError, match="A batch of 128 cannot be shared evenly by 3"):
        Team(0, 3).share(128)


def test_without_torchrun_a_process_is_alone():
    with joined() as team:
        assert team == present_team() == Team(0, 1) and team.first
