"""The benchmarks: both sides of a comparison do the work, and a record says what was measured."""

import copy
import json
import os
import sys
import types
from functools import partial

import pytest
import torch

import benchmarks.__main__ as command_line
from benchmarks import networks, peak, plain_loop, turns

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the work itself moves."""
    now = [0.0]
    monkeypatch.setattr(turns.time, "perf_counter", lambda: now[0])
    return now


def test_the_ways_take_turns_and_a_disturbed_round_does_not_count(clock):
    order, times = [], {"a": iter([50, 1, 1, 90]), "b": iter([70, 2, 40, 2])}

    def way(name):
        def work():
            order.append(name)
            clock[0] += next(times[name])

        return work

    medians = turns.in_turns({"a": way("a"), "b": way("b")}, repeats=3)
    assert medians == {"a": 1, "b": 2}
    assert order == ["a", "b"] * 4  # the first of each warms up


def noting_its_process(path, name):
    """Return work that writes down who did it and where."""

    def work():
        with path.open("a") as notes:
            notes.write(f"{name} {os.getpid()}\n")

    return work


def ending(code):
    """Return work that ends its process."""
    return partial(os._exit, code)


def test_ways_in_processes_of_their_own_take_turns_too(tmp_path):
    notes = tmp_path / "notes"
    medians = turns.in_turns_apart({name: partial(noting_its_process, notes, name) for name in "ab"}, repeats=2)
    assert set(medians) == {"a", "b"} and min(medians.values()) > 0
    names, processes = zip(*(line.split() for line in notes.read_text().splitlines()), strict=True)
    assert names == ("a", "b") * 3  # the first of each warms up
    assert processes == processes[:2] * 3 and len({*processes, str(os.getpid())}) == 3
    for process in processes[:2]:
        with pytest.raises(ProcessLookupError):
            os.kill(int(process), 0)


def test_a_process_that_ends_is_a_sentence():
    with pytest.raises(RuntimeError, match="'broken' ended with exit code 3"):
        turns.in_turns_apart({"broken": partial(ending, 3)}, repeats=1)


def test_our_networks_are_timed_beside_torchvision_s_with_the_same_weights(monkeypatch):
    seen, backward = [], []

    def both_at_once(ways, repeats):
        seen.append({name: work.args[0] for name, work in ways.items()})
        for work in ways.values():
            weight = work.args[0].fc.weight
            handle = weight.register_hook(lambda gradient: backward.append(gradient))
            before = len(backward)
            work()
            handle.remove()
            seen[-1]["backward"] = len(backward) > before
        return {"ours": 3.0, "theirs": 2.0}

    monkeypatch.setattr(networks, "in_turns", both_at_once)
    monkeypatch.setattr(networks, "NETWORKS", ("resnet18",))
    monkeypatch.setattr(networks, "PAIRS", 2)
    monkeypatch.setattr(networks, "SIZE", 32)
    ratios = networks.measure(repeats=1)
    assert ratios == pytest.approx({"resnet18, forward": 1.5, "resnet18, forward and backward": 1.5})
    assert [next(iter(pair)) for pair in seen] == ["ours", "theirs", "ours", "theirs"]
    assert [pair["backward"] for pair in seen] == [False, False, True, True]
    for pair in seen:
        close(pair["ours"], pair["theirs"])
        assert type(pair["theirs"]).__module__ == "torchvision.models.resnet"


def close(ours, theirs):
    """Both have the same weights still: neither takes a step; batch norm has seen the same batches."""
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)


@pytest.mark.parametrize("way", ["plain", "kept", "whole", "windows"])
def test_every_way_of_training_trains(way, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    made, build, images, kept = [], plain_loop.build_model, plain_loop.some_images, []

    def building(*args, **options):
        made.append(build(*args, **options))
        return made[0]

    monkeypatch.setattr(plain_loop, "build_model", building)
    monkeypatch.setattr(plain_loop, "some_images", lambda: images(300))
    monkeypatch.setattr(plain_loop, "keep_freed_memory", lambda: kept.append(True))
    turn = plain_loop.make_way(way, "cifar_resnet8", {}, steps=2)
    [network] = made
    assert bool(kept) == (way == "kept")
    before = network.fc.weight.detach().clone()
    turn()
    after = network.fc.weight.detach().clone()
    turn()
    assert not torch.equal(before, after) and not torch.equal(after, network.fc.weight)
    assert network.fc.weight.isfinite().all()


@pytest.mark.parametrize("name", ["cifar_resnet8", "resnet18"])
def test_the_usual_way_of_writing_a_network_changes_no_number(name):
    torch.manual_seed(0)
    ours = plain_loop.build_model(name, num_classes=10)
    usual = plain_loop.as_usually_written(copy.deepcopy(ours))
    images = torch.randn(2, 3, 33, 33)
    assert torch.equal(ours(images), usual(images))
    assert ("ZeroPadShortcut" in repr(ours)) == (name == "cifar_resnet8")
    assert not any(isinstance(layer, plain_loop.ZeroPadShortcut) for layer in usual.modules())


def test_the_ratios_of_training_are_those_of_the_times(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def times(makers, repeats):
        assert [make.args[0] for make in makers.values()] == list(makers) == ["plain", "kept", "whole", "windows"]
        return {"plain": 6.0, "kept": 5.0, "whole": 3.0, "windows": 1.0}

    monkeypatch.setattr(plain_loop, "in_turns_apart", times)
    monkeypatch.setattr(plain_loop, "NETWORKS", (("cifar_resnet8", {}, 2),))
    ratios = plain_loop.measure(repeats=1)
    assert ratios == {"cifar_resnet8, whole images": 2.0,
                      "cifar_resnet8, the recipe, half of it on small windows": 3.0,
                      "cifar_resnet8, the plain loop when it keeps freed memory": 1.2}  # fmt: skip


def test_the_macs_of_a_training_step_leave_out_the_image_s_gradient():
    layer = torch.nn.Conv2d(3, 4, 3, padding=1, bias=False)
    network = torch.nn.Sequential(layer, torch.nn.Conv2d(4, 5, 1, bias=False))
    first, second = 3 * 4 * 9 * 8 * 8, 4 * 5 * 8 * 8
    assert peak.training_macs(network, side=8) == 2 * first + 3 * second


def test_the_shares_of_the_peak_are_those_of_the_times(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(peak, "NETWORKS", (("cifar_resnet8", {}, 2),))
    monkeypatch.setattr(peak, "product", lambda device, dtype: (None, 10**12))
    monkeypatch.setattr(peak, "in_turns", lambda ways, repeats: {"training": 4.0, "product": 2.0})
    monkeypatch.setattr(peak, "data_sheet", lambda card: 1e12)
    per_image = peak.training_macs(plain_loop.build_model("cifar_resnet8", num_classes=10))
    ratios = peak.measure(repeats=1)
    assert ratios == pytest.approx({
        "cifar_resnet8, images a second": 64.0,  # two batches of 128 in four seconds
        "cifar_resnet8, of a matrix product": 64 * per_image / 0.5e12,
        "cifar_resnet8, of the data sheet": 64 * per_image / 1e12,
        "cifar_resnet8, images a second of a T4, estimated": 64 * 32.5,  # its sheet has 32.5 x 10^12
    })  # fmt: skip


def test_a_record_says_what_was_measured_and_a_later_part_may_fail(tmp_path, monkeypatch, capsys):
    def fails(repeats):
        raise RuntimeError("no room")

    for name, measure in (("good", lambda repeats: {"ratio": 1.23456 * repeats}), ("bad", fails)):
        monkeypatch.setitem(sys.modules, f"benchmarks.{name}", types.SimpleNamespace(measure=measure))
    monkeypatch.setattr(command_line, "PARTS", {"good": "good", "bad": "bad"})
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--repeats", "2", "--json", str(tmp_path / "out.json")])
    with pytest.raises(RuntimeError, match="no room"):
        command_line.main()  # without names, all parts
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["good"] == {"ratio": 2.469} and "bad" not in report
    assert report["command"].startswith("python -m benchmarks --repeats 2") and report["began"]
    assert report["versions"]["torch"] == str(torch.__version__) and "commit" in report


def test_an_unknown_part_is_a_sentence(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "networks", "speed"])
    with pytest.raises(SystemExit):
        command_line.main()
    assert "there is no part 'speed'; there are networks, training" in capsys.readouterr().err
