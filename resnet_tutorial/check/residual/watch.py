"""Watching a block at work: which convolutions it computes, and where two tensors did not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from resnet_tutorial.check.core import running_line


def materialised(block: nn.Module, channels: int) -> nn.Module:
    """Give lazy layers their shapes, by a call that leaves no other trace."""
    if any(is_lazy(parameter) for parameter in block.parameters()):
        block.eval()
        with torch.no_grad():
            block(torch.randn(2, channels, 8, 8))
        block.train()
    return block


# What can join two tensors into one, by its name.
_JOINS = {"add", "add_", "__add__", "__radd__", "__iadd__", "sub", "sub_", "__sub__", "__rsub__", "__isub__", "mul",
          "mul_", "__mul__", "__rmul__", "__imul__", "maximum", "minimum", "cat", "concat", "lerp"}  # fmt: skip
_RELUS = (F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)


class Call(NamedTuple):
    """One call of a convolution: its weight, and the shapes before and after it.

    ``first``: no convolution stands between the block's input and this one. ``line``: the line that called it.
    """

    weight: Tensor
    before: tuple[int, ...]
    after: tuple[int, ...]
    first: bool
    line: str = ""

    def __str__(self) -> str:
        out_channels, in_channels, size = self.weight.shape[:3]
        return f"{size}x{size} ({in_channels} to {out_channels} channels)"


class Watch(TorchFunctionMode):
    """Notes each convolution that is computed meanwhile, in whatever style it is called.

    ``clash`` holds the two shapes of an operation that torch refused because they do not fit, ``idle_relus`` counts
    the ReLUs that met no negative number, and ``joined`` is the learner's line that last made one tensor of two.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.clash: tuple[tuple[int, ...], tuple[int, ...]] | None = None
        self.idle_relus = 0
        self.joined = ""
        self._behind: dict[int, Tensor] = {}  # what a convolution has had a part in, kept alive

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if func in _RELUS and args and bool((args[0] >= 0).all()):
            self.idle_relus += 1
        if getattr(func, "__name__", "") in _JOINS and _two_maps(args):
            self.joined = running_line(__file__)
        try:
            result = func(*args, **given)
        except RuntimeError as error:
            tensors = [a for a in args if isinstance(a, Tensor)]
            if len(tensors) == 2 and ("must match" in str(error) or "broadcast" in str(error)):
                self.clash = tuple(tensors[0].shape), tuple(tensors[1].shape)
            raise
        convolves = func in (torch.conv2d, torch.convolution)
        inputs = [*args, *given.values()]
        behind = any(id(t) in self._behind for one in inputs for t in (one if isinstance(one, list | tuple) else [one]))
        if convolves:
            x = args[0] if args else given["input"]
            weight = args[1] if len(args) > 1 else given["weight"]
            self.calls.append(Call(weight, tuple(x.shape), tuple(result.shape), not behind, running_line(__file__)))
        if behind or convolves:
            for made in result if isinstance(result, list | tuple) else [result]:
                if isinstance(made, Tensor):
                    self._behind[id(made)] = made
        return result

    def line_of(self, kernel: tuple[int, ...]) -> str:
        """Return the line that called the only convolution with such a kernel; nothing if there are several."""
        lines = [call.line for call in self.calls if tuple(call.weight.shape) == tuple(kernel)]
        return lines[0] if len(lines) == 1 else ""

    def unregistered(self, block: nn.Module) -> list[Call]:
        """Return the calls whose weight is a parameter that the block does not know."""
        known = {id(parameter) for parameter in block.parameters()}
        return [c for c in self.calls if isinstance(c.weight, nn.Parameter) and id(c.weight) not in known]


def _two_maps(args: tuple) -> bool:
    """Whether a function was handed two feature maps, one after the other or in a list."""
    given = args[0] if args and isinstance(args[0], list | tuple) else args
    return sum(isinstance(one, Tensor) and one.dim() == 4 for one in given) >= 2
