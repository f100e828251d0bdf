"""Solutions of chapter 3 whose code the package does not have, or writes in another way."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def count_layers() -> tuple[int, int]:
    """Return the number in the network's name, and how many convolutions it holds."""
    blocks = 3 + 8 + 36 + 3
    projections = 3  # the first blocks of stages 2, 3 and 4; stage 1 keeps 64 channels and the size
    layers = 1 + 2 * blocks + 1
    convolutions = 1 + 2 * blocks + projections
    return layers, convolutions


class ZeroPadShortcut(nn.Module):
    """Option A: every ``stride``-th pixel, and channels of zeros; no parameters.

    Shapes: ``(N, in_channels, H, W)`` to
    ``(N, out_channels, ceil(H / stride), ceil(W / stride))``.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.extra_channels = out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, 0, self.extra_channels))


def find_fault(block: nn.Module, x: Tensor) -> str:
    """Name what is wrong with a block that should compute ``relu(branch(x) + x)``.

    Args:
        block: in training mode, with an identity shortcut.
        x: an input with positive and negative values, which needs no gradient.

    Returns:
        ``"input changed"`` if calling the block alters ``x``;
        ``"no final ReLU"`` if negative values come out;
        ``"ReLU on the branch"`` if the block can only add to ``x``;
        ``"unused parameters"`` if some parameters get no gradient;
        ``"none found"`` otherwise.
    """
    before = x.clone()
    y = block(x)
    if not torch.equal(x, before):
        return "input changed"
    if (y < 0).any():
        return "no final ReLU"
    if (y >= before).all():
        return "ReLU on the branch"
    gradients = torch.autograd.grad(y.sum(), list(block.parameters()), allow_unused=True)
    if any(gradient is None for gradient in gradients):
        return "unused parameters"
    return "none found"
