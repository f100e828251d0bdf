"""Solutions of chapter 1's exercises."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def blocks_per_stage(depth: int) -> int:
    """Return n for a depth of 6n + 2 layers; raise ValueError for any other depth."""
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(f"depth must be 6n+2, such as 20, 32 or 56, not {depth}.")
    return (depth - 2) // 6


def copying_conv(channels: int) -> nn.Conv2d:
    """Return a 3x3 convolution without bias whose output equals its input.

    Shapes: (N, channels, H, W) to the same.
    """
    conv = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
    with torch.no_grad():
        conv.weight.zero_()
        for channel in range(channels):
            conv.weight[channel, channel, 1, 1] = 1.0
    return conv


def gradient_norms(model: nn.Module, images: Tensor, labels: Tensor) -> list[float]:
    """Return the norm of the loss's gradient for each convolution's weight, in order.

    images (N, 3, H, W), labels (N,); the loss is the cross entropy of this batch.
    Gradients that the model holds already do not count.
    """
    model.zero_grad()
    F.cross_entropy(model(images), labels).backward()
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    return [conv.weight.grad.double().norm().item() for conv in convolutions]  # type: ignore[union-attr]  # not None now


def diagnose(shallow: tuple[float, float], deep: tuple[float, float]) -> str:
    """Say what happened when a network was made deeper.

    shallow and deep are (training error, test error) in per cent.
    Returns "degradation" if the deep network's training error is higher,
    "overfitting" if it is not, and the test error is, else "improvement".
    """
    if deep[0] > shallow[0]:
        return "degradation"
    if deep[1] > shallow[1]:
        return "overfitting"
    return "improvement"
