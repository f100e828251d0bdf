"""Time of `trace` against `torchinfo.summary`, network by network, in one run.

The two take turns, so that other work on the machine slows both; the best of the repeats counts.
Beside them stands the first call in a fresh process, in which nothing is loaded or cached yet.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import torchinfo

from resnet_tutorial import build_model, model_names, trace

_FIRST = """
import time, torch, torchinfo
from resnet_tutorial import build_model, trace
model, shape = build_model({name!r}), {shape!r}
start = time.perf_counter()
{call}
print(time.perf_counter() - start)
"""


def shape_of(name: str) -> tuple[int, ...]:
    """Return the input that a network of the book is made for."""
    return (1, 3, 32, 32) if name.startswith("cifar") else (1, 3, 224, 224)


def measure_one(name: str, repeats: int) -> dict[str, float]:
    """Return the seconds of both on one network, and their ratio."""
    model, shape = build_model(name).eval(), shape_of(name)
    ours: Callable[[], object] = lambda: trace(model, shape)  # noqa: E731
    theirs: Callable[[], object] = lambda: torchinfo.summary(model, shape, verbose=0)  # noqa: E731
    best = {"trace": float("inf"), "torchinfo": float("inf")}
    for call in (ours, theirs):  # whatever the first call loads is not measured here
        call()
    for _ in range(repeats):
        for key, call in (("trace", ours), ("torchinfo", theirs)):
            start = time.perf_counter()
            call()
            best[key] = min(best[key], time.perf_counter() - start)
    return {**best, "ratio": best["trace"] / best["torchinfo"]}


def first_call(name: str, call: str) -> float:
    """Return the seconds of the first call in a process of its own."""
    code = _FIRST.format(name=name, shape=shape_of(name), call=call)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(run.stdout)


def measure(repeats: int) -> dict[str, float]:
    """Print the milliseconds of both for every network, and return the ratios."""
    print(f"  {'':26}{'trace':>9}{'torchinfo':>11}{'ratio':>8}   (milliseconds)")
    times = {name: measure_one(name, repeats) for name in model_names()}
    name = model_names()[0]
    calls = {"trace": "trace(model, shape)",
             "torchinfo": "torchinfo.summary(model, shape, verbose=0)"}  # fmt: skip
    first = {key: first_call(name, call) for key, call in calls.items()}
    times[f"first call, {name}"] = {**first, "ratio": first["trace"] / first["torchinfo"]}
    for words, both in times.items():
        print(f"  {words:26}{1e3 * both['trace']:9.1f}{1e3 * both['torchinfo']:11.1f}{both['ratio']:8.2f}")
    return {words: both["ratio"] for words, both in times.items()}
