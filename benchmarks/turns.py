"""Timing several ways of doing the same, in turns, so that other work on the machine meets all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch


def seconds(work: Callable[[], object]) -> float:
    """Return how long one call takes, a GPU's unfinished work included."""
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def in_turns(ways: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the median seconds of each way; each is called once before, to warm up."""
    for work in ways.values():
        seconds(work)
    rounds = [{name: seconds(work) for name, work in ways.items()} for _ in range(repeats)]
    return {name: statistics.median(times[name] for times in rounds) for name in ways}
