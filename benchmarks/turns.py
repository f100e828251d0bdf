"""Timing several ways of doing the same, in turns, so that other work on the machine meets all."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from multiprocessing.connection import Connection

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
    return _medians({name: partial(seconds, work) for name, work in ways.items()}, repeats)


def in_turns_apart(makers: Mapping[str, Callable[[], Callable[[], object]]], repeats: int) -> dict[str, float]:
    """Return the same where each way has a process of its own.

    For ways that change what the whole process does, as training does with the memory that it frees: in one process
    the others would share in it.

    Args:
        makers: for each way a function that can be pickled and returns the work; called in the new process.
        repeats: rounds that count.

    Raises:
        RuntimeError: a process ended before its time.
    """
    with ExitStack() as stack:
        return _medians({name: stack.enter_context(_Process(name, make)) for name, make in makers.items()}, repeats)


def _medians(clocks: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, float]:
    for clock in clocks.values():
        clock()
    rounds = [{name: clock() for name, clock in clocks.items()} for _ in range(repeats)]
    return {name: statistics.median(times[name] for times in rounds) for name in clocks}


class _Process:
    """A process that holds one way's work; a call has it done once and returns the seconds."""

    def __init__(self, name: str, make: Callable[[], Callable[[], object]]) -> None:
        context = multiprocessing.get_context("spawn")  # after a fork neither CUDA nor threads would work
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, make), name=name)
        self.process.start()
        theirs.close()  # so that the end of the process is seen as the end of the connection

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()  # which ends it, and its data loader's workers, when its turn is over
        self.process.join(30)
        self.process.terminate()
        self.process.join()

    def __call__(self) -> float:
        try:
            self.connection.send("once more")
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            raise RuntimeError(f"The process that timed {self.process.name!r} ended with exit code "
                               f"{self.process.exitcode}; what it printed says why.") from None


def _serve(connection: Connection, make: Callable[[], Callable[[], object]]) -> None:
    work = make()
    with suppress(EOFError, OSError, KeyboardInterrupt):  # nobody wants another turn
        while True:
            connection.recv()
            connection.send(seconds(work))
