"""Ctrl-C, and the stop button of a notebook, end a run between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any


class StopBetweenSteps:
    """Inside the `with` block, the first interrupt only sets `asked`; the second one raises.

    A step that is cut in the middle would leave half of the weights updated.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: Callable[[int, FrameType | None], Any] | int | None = None

    def __enter__(self) -> StopBetweenSteps:
        # Only the main thread may handle signals; elsewhere an interrupt stays what it was.
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
