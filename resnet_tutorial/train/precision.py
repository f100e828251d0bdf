"""Which number format a device computes fastest in without losing the training."""

from __future__ import annotations

import platform
import sys

import torch

PRECISIONS = ("auto", "float32", "bfloat16", "float16")


def choose_precision(device: torch.device, wanted: str = "auto") -> torch.dtype:
    """Return the type for autocast; float32 means that autocast stays off.

    Raises:
        ValueError: `wanted` is not a known precision.
    """
    if wanted not in PRECISIONS:
        raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, not {wanted!r}.")
    if wanted != "auto":
        return getattr(torch, wanted)
    if device.type == "cuda":
        # bfloat16 has float32's range and needs no loss scaling; a T4 has only float16.
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    if device.type == "cpu" and _cpu_has_bfloat16():
        return torch.bfloat16
    return torch.float32


def _cpu_has_bfloat16() -> bool:
    """Return whether this processor multiplies bfloat16 itself; emulation is slower than float32."""
    asks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, ask, bool)() for ask in asks)


def choose_compile(device: torch.device, wanted: str | bool, steps: int) -> bool:
    """Return whether `torch.compile` is there and likely to win back its own time.

    Raises:
        ValueError: `wanted` is not ``"auto"``, True or False.
    """
    if wanted in (True, False):
        return bool(wanted)
    if wanted != "auto":
        raise ValueError(f'compile is "auto", True or False, not {wanted!r}.')
    if sys.platform == "win32" or not hasattr(torch, "compile"):
        return False
    # Compiling takes about a minute; graphs for cards before Ampere gain little. On a processor most of a step is
    # the convolutions' backward, which is a library's either way: `make bench` shows no gain there.
    return device.type == "cuda" and steps >= 4000 and torch.cuda.get_device_capability(device)[0] >= 8


def describe_device(device: torch.device) -> str:
    """Return the name of the processor or card that `device` stands for."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return _cpu_name() if device.type == "cpu" else device.type


def _cpu_name() -> str:
    """Return the processor's name as its maker gives it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()
