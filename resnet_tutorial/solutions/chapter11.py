"""Solutions of chapter 11's exercises, and the experiments that it collects."""

from __future__ import annotations

import copy

import torch
from torch import nn

from ..blocks import Bottleneck


def can_lower_a_value(block: nn.Module, channels: int) -> bool:
    """Tell whether some output can be smaller than its input, for some weights.

    The block has an identity shortcut, and stays as it is.
    """
    trial = copy.deepcopy(block).train()
    for parameter in trial.parameters():
        nn.init.normal_(parameter)  # a zero-initialised gamma would hide the branch
    x = torch.rand(4, channels, 8, 8)
    with torch.no_grad():
        y = trial(x.clone())  # a clone: the block may write into its input
    return bool((y < x).any())


def missing_projections(make_block) -> list[tuple[int, int]]:  # type: ignore[no-untyped-def]  # a reader's cell would have to import Callable
    """Return the cases in which a block cannot be run, or gives the wrong shape.

    A case is (in_channels, stride) of make_block(in_channels, 4, stride).
    Tried are (16, 1), (16, 2), (8, 1), (8, 2), in this order.
    """
    failing = []
    for in_channels, stride in ((16, 1), (16, 2), (8, 1), (8, 2)):
        try:
            y = make_block(in_channels, 4, stride)(torch.rand(2, in_channels, 8, 8))
            right = y.shape == (2, 16, 8 // stride, 8 // stride)
        except Exception:  # whatever it raises, this case does not work
            right = False
        if not right:
            failing.append((in_channels, stride))
    return failing


def extra_biases(model: nn.Module) -> int:
    """Return how many parameters biases in every nn.Conv2d would add to the model."""
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    return sum(conv.out_channels for conv in convolutions if conv.bias is None)


def pooling_range(kernel: int) -> tuple[int, int, int]:
    """Return the image sizes for which a pooling of this kernel gives one position.

    The smallest, the largest at which nothing is dropped, and the largest.
    """
    smallest = 32 * (kernel - 1) + 1  # the first with a map of kernel positions a side
    whole = 32 * kernel  # the last one
    largest = 32 * (2 * kernel - 1)  # one position more, and a second window fits
    return smallest, whole, largest


def name_faults() -> dict[str, str]:
    """Return a verdict for each specimen, A to F."""
    return {
        "A": "norm-after-add",
        "B": "shortcut-without-bn",
        "C": "stride-wrong-conv",
        "D": "shortcut-cut",
        "E": "right",
        "F": "relu-before-add",
    }


def count(module: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def backward_error(block: nn.Module, channels: int) -> str | None:
    """Return what forward or backward raises, or None if both run."""
    try:
        block(torch.rand(4, channels, 8, 8)).square().sum().backward()
    except RuntimeError as error:
        return str(error)
    return None


def at_zero(block: nn.Module, channels: int) -> tuple[float, float]:
    """With all parameters at zero: output / input, and the gradient at the input."""
    x = torch.rand(4, channels, 8, 8, requires_grad=True)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
    y = block(x.clone())  # a clone: the block may write into its input
    (gradient,) = torch.autograd.grad(y.sum(), x)
    return (y.sum() / x.sum()).item(), gradient.mean().item()


def distance(make_block, in_channels: int, stride: int) -> float | None:  # type: ignore[no-untyped-def]  # a reader's cell would have to import Callable
    """Return how far a block is from the book's; None if the weights do not fit."""
    block = make_block(in_channels, 4, stride).double()
    right = Bottleneck(in_channels, 4, stride).double()
    for parameter in right.parameters():
        nn.init.normal_(parameter)  # no batch norm may be left at 1 and 0
    x = torch.rand(4, in_channels, 8, 8).double()
    try:
        values = right.state_dict().values()
        block.load_state_dict(dict(zip(block.state_dict(), values, strict=True)))
        return (block(x.clone()) - right(x)).abs().max().item()
    except (RuntimeError, ValueError):
        return None


def examine(make_block) -> dict:  # type: ignore[no-untyped-def]  # a reader's cell would have to import Callable
    """Ask make_block(in_channels, mid_channels, stride) all the questions."""
    answers = {
        "failing cases": missing_projections(make_block),
        "extra parameters": count(make_block(8, 4, 2)) - count(Bottleneck(8, 4, 2)),
        "backward": backward_error(make_block(16, 4, 1), 16),
        "lowers a value": can_lower_a_value(make_block(16, 4, 1), 16),
    }
    if answers["backward"] is None:
        copies, gradient = at_zero(make_block(16, 4, 1), 16)
        answers |= {"copies at zero": copies, "gradient at zero": gradient}
    answers["distance, stride 1"] = distance(make_block, 16, 1)
    answers["distance, stride 2"] = distance(make_block, 8, 2)
    return answers
