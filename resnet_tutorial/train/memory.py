"""Keeping freed memory in the process: on a processor that saves part of the training time."""

from __future__ import annotations

import ctypes
import sys

# The numbers by which glibc's mallopt(3) knows its settings.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_STEP = 64 * 2**20  # bytes: how much more the process asks for when its memory is used up


def keep_freed_memory() -> bool:
    """Make this process keep the memory that it frees, for the next tensor; tell whether it does.

    Each layer's output is a new block of some megabytes, which the C library would ask of the
    system and give back at every step, and a page that comes from the system has to be cleared
    first. The price: the process's memory does not shrink again. Only glibc (Linux) can do this;
    elsewhere nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return all(mallopt(setting, value) for setting, value in
               ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_TOP_PAD, _STEP)))
