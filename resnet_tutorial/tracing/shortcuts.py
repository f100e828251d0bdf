"""The results of the commonest operations, without asking torch.

Torch works out the shape of a batch normalisation on the ``meta`` device in Python, which takes
more than a millisecond; this module takes a few microseconds.
It answers only where no error is possible.
All else is left to torch, and with it every message about what does not fit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .records import Shape


def run(name: str, arguments: dict[str, Any], in_place: bool) -> Tensor | None:
    """Return an operation's result on the meta device, or ``None`` to leave it to torch."""
    rule = _RULES.get(name)
    x = arguments.get("input")
    if rule is None or not isinstance(x, Tensor) or not x.is_meta or not x.is_contiguous():
        return None
    shape = rule(x, arguments) if x.is_floating_point() else None
    if shape is None:
        return None
    if in_place:
        return x if shape == x.shape else None
    return torch.empty(shape, dtype=x.dtype, device="meta")


def _relu(x: Tensor, arguments: dict[str, Any]) -> Shape | None:
    return x.shape


def _add(x: Tensor, arguments: dict[str, Any]) -> Shape | None:
    other = arguments.get("other")
    if isinstance(other, Tensor):
        fits = other.is_meta and other.shape == x.shape and other.dtype == x.dtype
        return x.shape if fits and other.is_contiguous() else None
    return x.shape if isinstance(other, (int, float)) else None


def _batch_norm(x: Tensor, arguments: dict[str, Any]) -> Shape | None:
    if x.dim() < 2:
        return None
    channels = x.shape[1]
    for key in ("running_mean", "running_var", "weight", "bias"):
        tensor = arguments.get(key)
        if tensor is not None and (tensor.dtype != x.dtype or tensor.shape != (channels,)):
            return None
    if arguments.get("training") and x.numel() == channels:
        return None  # one value per channel, which torch refuses
    return x.shape


def _linear(x: Tensor, arguments: dict[str, Any]) -> Shape | None:
    weight, bias = arguments["weight"], arguments.get("bias")
    if weight.dim() != 2 or x.dim() < 1 or x.shape[-1] != weight.shape[1] or weight.dtype != x.dtype:
        return None
    if bias is not None and (bias.shape != weight.shape[:1] or bias.dtype != x.dtype):
        return None
    return (*x.shape[:-1], weight.shape[0])


def _conv2d(x: Tensor, arguments: dict[str, Any]) -> Shape | None:
    weight, bias, groups = arguments["weight"], arguments.get("bias"), arguments["groups"]
    steps = [_pair(arguments[key]) for key in ("stride", "padding", "dilation")]
    if x.dim() != 4 or weight.dim() != 4 or None in steps or weight.dtype != x.dtype:
        return None
    batch, channels, height, width = x.shape
    out_channels = weight.shape[0]
    if not groups > 0 or out_channels % groups or channels != weight.shape[1] * groups:
        return None
    if bias is not None and (bias.shape != (out_channels,) or bias.dtype != x.dtype):
        return None
    sizes = [
        (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        for size, kernel, stride, padding, dilation in zip(
            (height, width), weight.shape[2:], *steps, strict=True
        )
    ]
    return (batch, out_channels, *sizes) if min(sizes) > 0 and min(x.shape[1:]) > 0 else None


def _pair(value: Any) -> tuple[int, int] | None:
    """Return a setting per axis; ``None`` for what is neither a number nor two (``"same"``)."""
    if type(value) is int:
        value = (value, value)
    if type(value) is tuple and len(value) == 2 and min(value) >= 0:
        return value
    return None


_RULES: dict[str, Callable[[Tensor, dict[str, Any]], Shape | None]] = {
    "relu": _relu,
    "add": _add,
    "batch_norm": _batch_norm,
    "linear": _linear,
    "conv2d": _conv2d,
}
