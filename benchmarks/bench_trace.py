"""Time of `trace` against `torchinfo.summary`, network by network, in one run.

    python -m benchmarks.bench_trace [network ...] [--repeats 5] [--json FILE]

The two take turns, so that other work on the machine slows both; the best of the repeats counts.
Beside them stands the first call in a fresh process, in which nothing is loaded or cached yet.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable

import torch
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


def measure(name: str, repeats: int) -> dict[str, float]:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=model_names())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", metavar="FILE", help="also write the numbers there")
    options = parser.parse_args()

    print(f"torch {torch.__version__}, torchinfo {torchinfo.__version__}, {torch.get_num_threads()} threads, "
          f"Python {platform.python_version()}, {platform.machine()}; milliseconds, best of {options.repeats}")  # fmt: skip
    print(f"{'network':<26}{'trace':>9}{'torchinfo':>11}{'ratio':>8}")
    results = {}
    for name in options.networks:
        results[name] = result = measure(name, options.repeats)
        print(f"{name:<26}{1e3 * result['trace']:9.1f}{1e3 * result['torchinfo']:11.1f}{result['ratio']:8.2f}", flush=True)
    name = options.networks[0]
    results["first call"] = first = {
        "trace": first_call(name, "trace(model, shape)"),
        "torchinfo": first_call(name, "torchinfo.summary(model, shape, verbose=0)"),
    }
    first["ratio"] = first["trace"] / first["torchinfo"]
    print(f"{'first call, ' + name:<26}{1e3 * first['trace']:9.1f}{1e3 * first['torchinfo']:11.1f}{first['ratio']:8.2f}")
    worst = max(results.values(), key=lambda result: result["ratio"])["ratio"]
    print(f"largest ratio: {worst:.2f}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=2)


if __name__ == "__main__":
    main()
