"""The tool that makes recorded runs again, and those that wait for a GPU."""

import os
import shlex
import signal
import subprocess
import sys
import time

import pytest
import record_runs

from resnet_tutorial.train import get_recipe, list_runs
from resnet_tutorial.train.__main__ import STOPPED, make_parser, pairs
from resnet_tutorial.zoo import build_model

ALL = [(name, arguments) for runs in record_runs.planned().values() for name, arguments in runs.items()]


@pytest.mark.parametrize("name, arguments", ALL)
def test_every_planned_command_can_be_started(name, arguments):
    options = make_parser().parse_args(shlex.split(arguments))
    recipe = get_recipe(options.recipe).but(**pairs(options.changes))
    assert options.out == f"results/{name}" and name.endswith(f"-seed{options.seed}")
    assert options.data == "cifar10"
    if "8x64d" not in name:  # 34 million parameters, built elsewhere in these tests
        build_model(options.model, **{"num_classes": 10, **pairs(options.model_args)})
    if name.startswith("paper-resnet"):
        assert recipe.schedule == "steps" and (recipe.iterations or recipe.epochs) in (64_000, 300)


def test_there_are_three_seeds_of_each():
    names = {name.rpartition("-seed")[0] for name, _ in ALL}
    assert len(ALL) == 3 * len(names) == 24


@pytest.fixture
def started(monkeypatch, tmp_path):
    """Collect the commands in place of running them; runs are recorded in an empty folder."""
    commands = []

    class Done:
        returncode = 0

    def run(command):
        commands.append(command)
        return Done.returncode

    monkeypatch.setattr(record_runs, "run_to_its_end", run)
    real = record_runs.load_run
    monkeypatch.setattr(record_runs, "RESULTS", tmp_path)
    monkeypatch.setattr(record_runs, "load_run", lambda name, folder: real(name))
    yield commands, tmp_path, Done


def test_a_recorded_run_is_made_by_its_own_command(started):
    commands, _, _ = started
    assert record_runs.main(["resnet20", "resnet20-muon-seed1"]) == 0
    for command, name in zip(commands, ("resnet20", "resnet20-muon-seed1"), strict=True):
        assert command[0] == sys.executable and command[-1] == "--resume"
        assert make_parser().parse_args(command[3:]).out == f"results/{name}"


def test_what_is_recorded_is_left_alone_unless_asked_for_again(started, capsys):
    commands, folder, _ = started
    (folder / "resnet20").mkdir()
    (folder / "resnet20/checkpoint.pt").write_text("of the finished run")
    (folder / "resnet20/run.json").write_text("{}")
    assert record_runs.main(["resnet20"]) == 0
    assert not commands and "--again" in capsys.readouterr().out
    assert record_runs.main(["resnet20", "--again"]) == 0
    assert len(commands) == 1
    assert not (folder / "resnet20/checkpoint.pt").exists()  # it starts anew


def test_a_run_that_was_cut_off_keeps_its_checkpoint(started):
    commands, folder, _ = started
    (folder / "resnet20").mkdir()
    (folder / "resnet20/checkpoint.pt").write_text("half of a run")
    record_runs.main(["resnet20"])
    assert len(commands) == 1 and (folder / "resnet20/checkpoint.pt").exists()


def test_a_run_that_fails_is_named_and_the_others_are_made(started, capsys):
    commands, _, done = started
    done.returncode = 1
    assert record_runs.main(["speed"]) == 1
    assert len(commands) == 6
    assert "Not finished: speed-resnet18-15-epochs-seed0, " in capsys.readouterr().err


def test_a_run_that_was_stopped_ends_the_list(started, capsys):
    commands, _, done = started
    done.returncode = STOPPED
    assert record_runs.main(["speed"]) == STOPPED
    assert len(commands) == 1
    assert "Not finished: speed-resnet18-15-epochs-seed0." in capsys.readouterr().err


# A process that was started in the background may have Ctrl-C switched off, and would hand that on.
WAITING = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {tools!r})
import record_runs
sys.exit(record_runs.run_to_its_end([sys.executable, "-c", {child!r}]))
"""
CHILD = """
import sys, time
from pathlib import Path
folder = Path({folder!r})
try:
    (folder / "begun").touch()
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(1)  # a step that is still to be finished, longer than Python waits for a child by itself
    (folder / "saved").touch()
    sys.exit(130)
"""


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is sent another way elsewhere")
def test_ctrl_c_waits_for_the_run_to_save(tmp_path):
    script = WAITING.format(tools=os.path.dirname(record_runs.__file__), child=CHILD.format(folder=str(tmp_path)))
    process = subprocess.Popen([sys.executable, "-c", script], start_new_session=True, stderr=subprocess.PIPE)
    until = time.monotonic() + 60
    while not (tmp_path / "begun").exists() and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to both of them
    _, said = process.communicate(timeout=60)
    assert (tmp_path / "saved").exists()
    assert process.returncode == 130 and not said


def test_an_unknown_name_is_a_sentence(started, capsys):
    commands, _, _ = started
    assert record_runs.main(["resnet21"]) == 1 and not commands
    said = capsys.readouterr().err
    assert "no recorded run 'resnet21'" in said and "Groups: paper, speed" in said


def test_without_a_name_all_are_listed(capsys):
    assert record_runs.main([]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in [*list_runs(), *(name for name, _ in ALL)])
