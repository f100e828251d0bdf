"""Which of the learner's lines is running."""

from __future__ import annotations

import os
import sys
from types import CodeType, FrameType

import torch

from .records import Source

# where torch's own code and the tracer's lies: no learner's line is in there
_LIBRARY = (os.path.dirname(torch.__file__) + os.sep, os.path.dirname(__file__) + os.sep)


def is_library(code: CodeType) -> bool:
    """Tell whether code is torch's or the tracer's own."""
    return code.co_filename.startswith(_LIBRARY)


class Lines:
    """Finds the line that is running.

    Args:
        boundary: the function that starts the forward pass; below it stands only the line that
            called ``trace``.
    """

    def __init__(self, boundary: CodeType) -> None:
        self._boundary = boundary
        self._known: dict[CodeType, bool] = {}

    def current(self) -> Source | None:
        """Return the innermost line that is neither torch's nor the tracer's, if there is one."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code is not self._boundary:
            code = frame.f_code
            library = self._known.get(code)
            if library is None:
                library = self._known[code] = is_library(code)
            if not library:
                return Source(code, frame.f_lineno, frame.f_lasti)
            frame = frame.f_back
        return None
