"""Whatever a learner's code does, the check ends with a sentence and leaves nothing behind."""

import builtins
import ctypes
import os
import subprocess
import sys
import time

import pytest
import torch
from torch import nn

from resnet_tutorial import check
from resnet_tutorial.check import guard
from resnet_tutorial.check.core import Exercise

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs a process that can be copied")


def doubles(attempt, expect):
    got = attempt(torch.tensor([3.0]))
    expect(torch.allclose(got, torch.tensor([6.0], dtype=got.dtype)), "wrong-value", f"3 became {got}, not 6.")


DOUBLES = Exercise(
    "example", 4, 2, "Example", 1, 1, 5, 2, "resnet_tutorial.blocks:Bottleneck", (), doubles
)


@pytest.fixture(params=["copy", "here"])
def way(request, monkeypatch):
    """Both ways of running a check, with a short limit."""
    if request.param == "copy" and sys.platform != "linux":
        pytest.skip("this system does not copy processes")
    monkeypatch.setattr(guard, "COPIES", request.param == "copy")
    return request.param


@pytest.fixture(autouse=True)
def short_limit(monkeypatch):
    monkeypatch.setattr(guard, "TIME_LIMIT", 1.5)


def code_of(attempt) -> str:
    start = time.monotonic()
    report = DOUBLES(attempt)
    assert time.monotonic() - start < 5 and not report.passed and str(report)
    assert DOUBLES(lambda x: 2 * x).passed, "the next check is affected"
    return next(f.code for f in report.findings if not f.ok)


def endless(x):
    while True:
        x = x + 1


def endless_and_deaf(x):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            while True:
                x = x + 1
        except:  # noqa: E722
            pass


def test_a_loop_without_an_end_is_stopped(way):
    assert code_of(endless) == "timeout"


@linux
def test_the_line_of_the_endless_loop_is_named():
    assert "(in endless, line " in str(DOUBLES(endless))


@linux
@pytest.mark.parametrize("attempt", [endless_and_deaf, lambda x: sum(range(10**13))])
def test_a_loop_that_cannot_be_interrupted_is_stopped_too(attempt):
    assert code_of(attempt) == "timeout"


def test_recursion_without_an_end_is_explained(way):
    def again(x):
        return again(x)

    assert code_of(again) == "raised"


@pytest.mark.parametrize("leave", [sys.exit, lambda x: exit(), lambda x: (_ for _ in ()).throw(SystemExit)])
def test_leaving_python_is_explained(way, leave):
    assert code_of(lambda x: leave(0) if leave is sys.exit else next(leave(0))) == "ended-python"


@linux
@pytest.mark.parametrize("end", [lambda x: os._exit(0), lambda x: ctypes.string_at(0)])
def test_ending_or_crashing_the_process_is_explained(end):
    assert code_of(end) in ("ended-python", "crashed")


def test_a_flood_of_prints_is_cut(way):
    def chatty(x):
        for _ in range(10_000):
            print("shape:", x.shape)
        return x

    report = DOUBLES(chatty)
    assert len(str(report)) < 4000 and "more characters" in str(report)
    assert "Your code printed: shape: torch.Size([1])" in str(report)


@pytest.mark.parametrize("greedy", [
    lambda x: torch.empty(10**14),
    pytest.param(lambda x: [bytearray(2**26) for _ in range(10**6)], marks=linux),
    pytest.param(lambda x: torch.ones(2**31), marks=linux),
])  # fmt: skip
def test_asking_for_too_much_memory_is_explained(greedy, monkeypatch):
    monkeypatch.setattr(guard, "MEMORY_LIMIT", 2**28)
    # A process that has trained keeps what it freed, and hands that out before the limit is met.
    monkeypatch.setattr(guard, "TIME_LIMIT", 4.0)
    assert code_of(greedy) == "too-much-memory"


def test_random_state_and_default_type_stay_as_they_were(way):
    def careless(x):
        torch.manual_seed(7)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        return 2 * x

    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    assert DOUBLES(careless).passed
    assert torch.get_default_dtype() is torch.float32 and torch.is_grad_enabled()
    assert torch.equal(torch.rand(3), expected)


REPLACED = [
    (torch, "allclose", lambda *a, **k: True),
    (torch.Tensor, "__eq__", lambda self, other: torch.ones_like(self, dtype=torch.bool)),
    (nn.BatchNorm2d, "forward", lambda self, x: x),
    (nn.functional, "relu", lambda x, inplace=False: x),
    (builtins, "all", lambda things: True),
]


@pytest.mark.parametrize("space, name, fake", REPLACED)
def test_a_replaced_function_is_put_back_and_named(way, space, name, fake):
    own = name in vars(space)
    before = getattr(space, name)
    setattr(space, name, fake)
    try:
        report = DOUBLES(lambda x: x)
    finally:
        if own:
            setattr(space, name, before)
        elif name in vars(space):
            delattr(space, name)
    assert not report.passed
    assert any(name in replaced for replaced in report.replaced), report.replaced


def test_a_replaced_function_of_the_check_itself_is_put_back(way, monkeypatch):
    import resnet_tutorial.check.core as core

    assert DOUBLES(lambda x: 2 * x).passed  # by now the package is remembered
    def always(self, condition, code, message, hint=""):
        self.findings.append(core.Finding(True, code, message))
        return True

    monkeypatch.setattr(core.Expectations, "__call__", always)
    report = DOUBLES(lambda x: x)
    assert not report.passed and [f.code for f in report.findings] == ["wrong-value"]


def test_what_torch_replaces_itself_is_not_held_against_the_learner():
    import torch._dynamo  # noqa: F401  (wraps torch.manual_seed, among others)

    report = DOUBLES(lambda x: 2 * x)
    assert report.passed and report.replaced == ()


def test_a_check_costs_little_more_than_its_work():
    DOUBLES(lambda x: 2 * x)
    start = time.perf_counter()
    for _ in range(5):
        DOUBLES(lambda x: 2 * x)
    assert (time.perf_counter() - start) / 5 < 1.0


def test_copying_a_tensor_is_no_tampering():
    from copy import copy

    copy(torch.ones(2)), copy(torch.nn.ReLU())  # Python notes the class's slots at the first copy
    report = check.needs_projection(lambda i, o, s: i != o or s != 1)
    assert report.passed and not report.replaced


TRAINING = """
import sys
import torch
from resnet_tutorial import check
from resnet_tutorial.solutions.chapter08 import train_step

def trained(*args, **options):
    weight = torch.ones(2, requires_grad=True)
    for kind in (torch.optim.SGD, torch.optim.AdamW, torch.optim.Adam):
        optimiser = kind([weight], lr=0.1)
        optimiser.zero_grad()
        weight.square().sum().backward()
        optimiser.step()
    print("loaded:", any(name.startswith("torch._dynamo.") for name in sys.modules))
    return train_step(*args, **options)

def compiled(model, *args, **options):
    return train_step(torch.compile(model, backend="eager"), *args, **options)

report = check.train_step(trained)
assert report.passed and "loaded: False" in report.printed, (report, report.printed)
report = check.train_step(compiled)
assert report.passed, report
assert "torch._dynamo" not in sys.modules
"""


@linux
def test_an_optimisers_step_loads_no_compiler_and_torch_compile_works_all_the_same(tmp_path):
    environment = os.environ | {"RESNET_TUTORIAL_PROGRESS": str(tmp_path / "progress.json")}
    run = subprocess.run([sys.executable, "-c", TRAINING], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
