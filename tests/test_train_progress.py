"""What a run shows while it trains: a bar with rate and time left, or a line for each epoch."""

import re

import pytest
import tqdm.std
from training_help import QUICK, tiny_data, tiny_network

from resnet_tutorial.train import fit, loop

pytestmark = pytest.mark.usefixtures("one_thread")
DATA = tiny_data()


@pytest.fixture
def two_seconds_a_step(monkeypatch):
    """Let the bar's clock go on by two seconds at each step and stand still between them."""
    now, train_step = [1000.0], loop._train_step

    def slow_step(run, draws):
        train_step(run, draws)
        now[0] += 2

    monkeypatch.setattr(loop, "_train_step", slow_step)
    monkeypatch.setattr(tqdm.std, "time", lambda: now[0])
    monkeypatch.setenv("COLUMNS", "200")  # or a narrow terminal would cut the bar off


def train(**options):
    return fit(tiny_network(), DATA, QUICK, **options)


def shown(state: str) -> dict:
    """Return what one state of the bar says, in numbers."""
    times = re.search(r"(\d+):(\d+)<(\d+):(\d+), +([\d.]+) images/s", state)
    assert times, state
    minutes, seconds, minutes_left, seconds_left = map(int, times.groups()[:4])
    found = {"passed": 60 * minutes + seconds, "left": 60 * minutes_left + seconds_left, "rate": float(times[5])}
    for name, pattern in (("loss", r"loss=([\d.]+)"), ("accuracy", r"accuracy=([\d.]+)%")):
        value = re.search(pattern, state)
        found |= {name: float(value[1])} if value else {}
    return found


def states(printed: str) -> list[str]:
    """Return the states of the bar, from the first step on."""
    return [state for state in printed.split("\r") if "images/s" in state and "?" not in state]


@pytest.mark.usefixtures("two_seconds_a_step")
def test_the_bar_shows_loss_accuracy_images_per_second_and_the_time_left(capsys):
    history = train(progress="bar")
    seen = states(capsys.readouterr().err)
    assert len(seen) > 27  # at each of the steps, and once more at the end
    for done, state in enumerate(seen[:27], start=1):
        numbers = shown(state)
        assert (numbers["passed"], numbers["rate"]) == (2 * done, 12.0)
        assert abs(numbers["left"] - 2 * (27 - done)) <= 1  # the bar leaves the fraction of a second away
    for epoch in (1, 2, 3):
        of_epoch = [shown(state) for state in seen if f"epoch {epoch}/3" in state]
        assert of_epoch[-1]["loss"] == pytest.approx(history.train_loss[epoch - 1], abs=6e-4)
        assert of_epoch[-1]["accuracy"] == pytest.approx(100 - history.train_error[epoch - 1], abs=0.06)
    assert "100%" in seen[-1] and "648/648" in seen[-1]


@pytest.mark.usefixtures("two_seconds_a_step")
def test_the_bar_of_a_resumed_run_begins_where_the_first_part_ended(capsys, tmp_path, monkeypatch):
    class Killed(BaseException):
        """Ends the process, as far as its files can tell."""

    def step_until_killed(run, draws, take=loop._train_step):
        if run.step == 13:
            raise Killed
        take(run, draws)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_train_step", step_until_killed)
        with pytest.raises(Killed):
            train(progress="none", out=tmp_path, save_every=0)
    capsys.readouterr()
    train(progress="bar", out=tmp_path, resume=True)
    first = states(capsys.readouterr().err)[0]
    numbers = shown(first)
    # The steps of the first part are done, and took none of this part's time.
    assert "52%" in first and (numbers["passed"], numbers["left"], numbers["rate"]) == (2, 26, 12.0)


def test_the_lines_show_loss_errors_and_seconds_of_each_epoch(capsys):
    history = train(progress="lines")
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        f"epoch {epoch + 1}/3, lr {history.lr[epoch]:.4f}, loss {history.train_loss[epoch]:.3f}, "
        f"training error {history.train_error[epoch]:.2f} %, validation error {history.val_error[epoch]:.2f} %, "
        f"{history.seconds[epoch]:.1f} s"
        for epoch in range(3)
    ]
    assert printed.err == ""
