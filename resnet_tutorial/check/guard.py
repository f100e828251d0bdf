"""Running a check where the learner's code can do no harm.

Whatever the code does (run for ever, recurse, print a flood, ask for all memory, end the process,
change torch), the check ends with a sentence, and the notebook and the next check are as before.

Where the system can fork (Linux), the check runs in a copy of this process that is ended after a
time, and only its findings come back. Elsewhere, and where a GPU is in use (CUDA cannot be forked),
it runs here, and a timer throws an exception into it.
"""

from __future__ import annotations

import ctypes
import faulthandler
import io
import json
import os
import re
import select
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from typing import IO, Any

import torch

from resnet_tutorial.check import compiler, pristine

TIME_LIMIT = 18.0  # seconds; the slowest check takes one or two
MEMORY_LIMIT = 4 * 2**30  # bytes that a check may take on top of what the process has
COPIES: bool | None = None  # whether to work in a copy of the process; None: where that is possible
SHOWN = 2000  # characters of what the learner's code printed


@dataclass
class Outcome:
    """What came back from a check.

    Attributes:
        result: what the work returned, as JSON knows it; None when it did not end by itself.
        trouble: why it did not, as a short code: "" or ``"timeout"``, ``"ended-python"``, ``"crashed"``.
        message: the same in a sentence.
        printed: what the learner's code printed, cut to a readable length.
        replaced: the functions that were found replaced, and put back.
    """

    result: dict | None = None
    trouble: str = ""
    message: str = ""
    printed: str = ""
    replaced: tuple[str, ...] = ()


class TimeUp(BaseException):
    """Thrown into code that runs too long; not an Exception, so that `except Exception` lets it pass."""


class Printed(io.TextIOBase):
    """Takes what is printed and keeps the beginning of it."""

    def __init__(self) -> None:
        super().__init__()
        self.kept, self.length = "", 0

    def write(self, text: str) -> int:
        if self.length < SHOWN:
            self.kept += str(text)[: SHOWN - self.length]
        self.length += len(text)
        return len(text)

    def text(self) -> str:
        """Return the beginning, and how much was left out."""
        more = self.length - len(self.kept)
        return self.kept + (f"\n... and {more:,} more characters" if more > 0 else "")


def run(work: Callable[[], dict]) -> Outcome:
    """Return what `work` returns, or why it did not end within `TIME_LIMIT` seconds.

    Args:
        work: a function that returns what JSON can hold, and lets no `Exception` out.
    """
    pristine.remember()
    forks = sys.platform == "linux" and not torch.cuda.is_initialized()
    copies = forks if COPIES is None else COPIES
    return _in_a_copy(work, TIME_LIMIT) if copies else _here(work, TIME_LIMIT)


def _prepared(work: Callable[[], dict], printed: Printed) -> dict:
    """Call `work` with torch as it should be, and all chance drawn afresh."""
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    torch.set_num_threads(1)  # a check's tensors are small, and threads wait for each other
    torch.manual_seed(int.from_bytes(os.urandom(6), "little"))
    sys.setrecursionlimit(1000)
    with redirect_stdout(printed), redirect_stderr(printed), torch.enable_grad():
        return work()


# --- in a copy of the process ---


def _in_a_copy(work: Callable[[], dict], limit: float) -> Outcome:
    """Fork, let the child work, and end it when its time is up."""
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as stack:
        sys.stdout.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns of threads, which the child does not use
            child = os.fork()
        if child == 0:
            os.close(reading)
            _be_the_child(work, writing, stack, limit)
        os.close(writing)
        try:
            answer = _read_all(reading, time.monotonic() + limit + 1)
        finally:  # also when the learner presses the stop button meanwhile
            os.close(reading)
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
        stack.seek(0)
        return _understand(answer, status, stack.read().decode(errors="replace"), limit)


def _be_the_child(work: Callable[[], Any], writing: int, stack: IO[bytes], limit: float) -> None:
    """Work, send the result, and vanish without any of Python's tidying up."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
        faulthandler.disable()  # a crash is told by the parent, in a sentence
        faulthandler.dump_traceback_later(limit, file=stack)
        _limit_memory()
        compiler.keep_out()
        replaced = pristine.restore()
        printed, trouble, result = Printed(), "", None
        try:
            result = _prepared(work, printed)
        except SystemExit:
            trouble = "ended-python"
        except BaseException as problem:
            trouble = f"raised {type(problem).__name__}"
        pristine.restore()
        answer = {"result": result, "trouble": trouble, "printed": printed.text(), "replaced": replaced}
        rest = json.dumps(answer).encode()
        while rest:
            rest = rest[os.write(writing, rest) :]
    finally:
        os._exit(0)


def _limit_memory() -> None:
    """Let an allocation fail that would make the whole machine stand still."""
    import resource

    with open("/proc/self/statm", encoding="ascii") as file:
        now = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = now + MEMORY_LIMIT
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard < 0 else min(wanted, hard), hard))


def _read_all(source: int, deadline: float) -> bytes:
    """Return all that comes until the other end is closed or the time is up."""
    parts = []
    while (left := deadline - time.monotonic()) > 0:
        if select.select([source], [], [], left)[0]:
            part = os.read(source, 65536)
            if not part:
                break
            parts.append(part)
    return b"".join(parts)


def _understand(answer: bytes, status: int, stack: str, limit: float) -> Outcome:
    """Turn what a child left behind into an outcome."""
    try:
        content = json.loads(answer)
    except ValueError:
        return _without_answer(status, stack, limit)
    trouble = content["trouble"]
    message = {
        "": "",
        "ended-python": "The code called sys.exit() or exit(), which would end the notebook's Python.",
    }.get(trouble, f"The code {trouble}.")
    return Outcome(content["result"], trouble.partition(" ")[0], message, content["printed"],
                   tuple(content["replaced"]))  # fmt: skip


def _without_answer(status: int, stack: str, limit: float) -> Outcome:
    """Say why a child sent nothing: it ran too long, ended itself, or crashed."""
    if stack:
        return Outcome(trouble="timeout", message=_too_long(limit, _where(stack)))
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) not in (signal.SIGKILL,):
        name = signal.Signals(os.WTERMSIG(status)).name
        return Outcome(trouble="crashed", message=f"Python itself crashed ({name}) in this code: often "
                       "a recursion without an end.")  # fmt: skip
    if os.WIFSIGNALED(status):
        return Outcome(trouble="timeout", message=_too_long(limit, ""))
    return Outcome(trouble="ended-python", message="The code ended the Python process, for example "
                   "with os._exit().")  # fmt: skip


def _too_long(limit: float, where: str) -> str:
    return f"It was still running after {limit:.0f} seconds{where}: a loop that does not end?"


def _where(stack: str) -> str:
    """Return the learner's innermost line in faulthandler's report, in words."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for path, line, name in re.findall(r'File "([^"]+)", line (\d+) in (\S+)', stack):
        inside = path.startswith(package) and "solutions" not in path
        if not inside and "site-packages" not in path and "/lib/python" not in path:
            return f" (in {name}, line {line})"
    return ""


# --- in this process ---


def _here(work: Callable[[], dict], limit: float) -> Outcome:
    """Work in this process, put back what was changed, and throw an exception when time is up."""
    printed, outcome = Printed(), Outcome()
    with _kept_settings():
        outcome.replaced = tuple(pristine.restore())
        try:
            with _alarm(limit):
                outcome.result = _prepared(work, printed)
        except TimeUp:
            outcome.trouble, outcome.message = "timeout", _too_long(limit, "")
        except SystemExit:
            outcome.trouble = "ended-python"
            outcome.message = "The code called sys.exit() or exit(), which would end the notebook's Python."
        finally:
            pristine.restore()
    outcome.printed = printed.text()
    return outcome


@contextmanager
def _kept_settings() -> Iterator[None]:
    """Put torch's settings and random state back afterwards."""
    dtype, threads, grad = torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()
    deterministic, depth = torch.are_deterministic_algorithms_enabled(), sys.getrecursionlimit()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_default_device(None)
        torch.set_num_threads(threads)
        torch.set_grad_enabled(grad)
        if torch.are_deterministic_algorithms_enabled() != deterministic:  # asking loads sympy
            torch.use_deterministic_algorithms(deterministic)
        sys.setrecursionlimit(depth)


@contextmanager
def _alarm(limit: float) -> Iterator[None]:
    """Throw `TimeUp` into this thread when `limit` seconds are over, and again until it gets through."""
    target, over = ctypes.c_ulong(threading.get_ident()), threading.Event()

    def throw() -> None:
        wait = limit
        while not over.wait(wait):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(target, ctypes.py_object(TimeUp))
            wait = 0.2  # code with a bare `except:` swallows one and loops on

    timer = threading.Thread(target=throw, daemon=True)
    timer.start()
    try:
        yield
    finally:
        over.set()
        timer.join()
        ctypes.pythonapi.PyThreadState_SetAsyncExc(target, None)
