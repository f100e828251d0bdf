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


def _number_by_number(x: Tensor, arguments: dict[str, Any]) -> Shape | None:
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
    weight = arguments["weight"]
    if weight.dim() != 2 or x.dim() < 1 or x.shape[-1] != weight.shape[1]:
        return None
    if not _fits(arguments.get("bias"), weight.shape[0], x) or weight.dtype != x.dtype:
        return None
    return (*x.shape[:-1], weight.shape[0])


def _conv2d(x: Tensor, arguments: dict[str, Any]) -> Shape | None:
    weight, groups = arguments["weight"], arguments["groups"]
    if x.dim() != 4 or weight.dim() != 4 or weight.dtype != x.dtype:
        return None
    if min(*x.shape[1:], *weight.shape, groups) < 1:
        return None
    out_channels, in_channels = weight.shape[:2]
    if out_channels % groups or x.shape[1] != in_channels * groups:
        return None
    if not _fits(arguments.get("bias"), out_channels, x):
        return None
    height, width = _windows(x, arguments, 0), _windows(x, arguments, 1)
    return (x.shape[0], out_channels, height, width) if min(height, width) > 0 else None


def _windows(x: Tensor, arguments: dict[str, Any], axis: int) -> int:
    """Return how often a convolution's window fits along an axis; 0 for what torch should judge."""
    kernel = arguments["weight"].shape[2 + axis]
    stride, padding, dilation = (
        value
        if type(value) is int
        else value[axis]
        if type(value) is tuple and len(value) == 2
        else -1
        for value in (arguments["stride"], arguments["padding"], arguments["dilation"])
    )
    if stride < 1 or padding < 0 or dilation < 1:
        return 0  # nonsense, or padding="same"
    return (x.shape[2 + axis] + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _fits(bias: Tensor | None, channels: int, x: Tensor) -> bool:
    return bias is None or (bias.shape == (channels,) and bias.dtype == x.dtype)


_ACTIVATIONS = (
    "relu", "relu6", "leaky_relu", "gelu", "silu", "hardswish", "hardsigmoid", "sigmoid", "tanh",
)  # fmt: skip
_RULES: dict[str, Callable[[Tensor, dict[str, Any]], Shape | None]] = {
    **dict.fromkeys(_ACTIVATIONS, _number_by_number),
    "add": _add,
    "batch_norm": _batch_norm,
    "linear": _linear,
    "conv2d": _conv2d,
}
