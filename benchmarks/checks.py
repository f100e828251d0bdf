"""Seconds that each exercise's check takes on the book's own solution, and on a wrong answer.

The wrong answer is the solution with a stranger's output: what takes a check longest is to look
through all the faults that it knows. The second call counts; the first loads what it needs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from resnet_tutorial import check


def _stranger(solution: Callable) -> Callable:
    """Return the solution with every tensor that it gives a little off."""
    if isinstance(solution, type) and issubclass(solution, nn.Module):

        class Stranger(solution):  # type: ignore[valid-type,misc]  # whichever class it is
            def forward(self, *args: Any, **options: Any) -> Any:
                return 0.83 * super().forward(*args, **options) + 0.01

        return Stranger

    def stranger(*args: Any, **options: Any) -> Any:
        out = solution(*args, **options)
        return 0.83 * out if isinstance(out, Tensor | float) else out

    return stranger


def _seconds(exercise: check.Exercise, attempt: Callable, repeats: int) -> float:
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        exercise._examine(attempt)  # without the note that check.progress() keeps
        times.append(time.perf_counter() - start)
    return min(times[1:])


def measure(repeats: int) -> dict[str, float]:
    """Print the seconds of every check, and return the medians and the largest ones."""
    times: dict[str, dict[str, float]] = {"right": {}, "wrong": {}}
    for name, exercise in check.catalog().items():
        solution = exercise.load_solution()
        times["right"][name] = _seconds(exercise, solution, min(repeats, 3))
        times["wrong"][name] = _seconds(exercise, _stranger(solution), min(repeats, 3))
    summary: dict[str, float] = {}
    for kind, seconds in times.items():
        slowest = max(seconds, key=seconds.__getitem__)
        median = statistics.median(seconds.values())
        print(f"  {kind}: median {median:.2f} s, slowest {seconds[slowest]:.2f} s ({slowest})")
        summary |= {f"{kind}, median": median, f"{kind}, slowest": seconds[slowest]}
    return summary
