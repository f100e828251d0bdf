"""Hear from torch itself what is wrong, at no cost in memory.

A hollow tensor is an ordinary tensor whose numbers are all one and the same: any shape, four
bytes.  An operation that does not fit its inputs refuses them before it computes, in the words
that a learner sees without the tracer and may look up; on ``meta`` some are worded otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .marks import map_tensors, tensors_in

# Numbers in a hollow tensor: should the operation compute after all, it is done soon.
_LARGEST = 2**24
# Numbers in a tensor that is written to, and so cannot be hollow.
_LARGEST_FULL = 2**22


def attempt(
    func: Callable, args: tuple, kwargs: dict[str, Any], target: Tensor | None = None
) -> Any:
    """Return what an operation returns for hollow tensors of these shapes, or the exception it raises.

    Args:
        func: the operation, with its arguments; their shapes and types alone matter.
        target: the one of them that the operation overwrites.

    Returns:
        ``None`` if the tensors are too large to try.
    """
    tensors = tensors_in((args, kwargs))
    if any(math.prod(tensor.shape) > _LARGEST for tensor in tensors):
        return None
    if target is not None and math.prod(target.shape) > _LARGEST_FULL:
        return None

    def real(tensor: Tensor) -> Tensor:
        if tensor is target:
            return torch.zeros(tensor.shape, dtype=tensor.dtype, device="cpu")
        return torch.zeros((), dtype=tensor.dtype, device="cpu").expand(tensor.shape)

    try:
        with torch.no_grad():
            return func(*map_tensors(args, real), **map_tensors(kwargs, real))
    except Exception as error:
        return error
