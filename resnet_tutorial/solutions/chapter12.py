"""Solutions of chapter 12's exercises: relatives and descendants of the residual block."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..blocks import conv1x1


class HighwayBlock(nn.Module):
    """A gate decides how much of x passes: y = T(x) H(x) + (1 - T(x)) x.

    Shapes: (N, channels, H, W) to the same.
    H is a 3x3 convolution and a ReLU, T a 3x3 convolution and a sigmoid.
    """

    def __init__(self, channels: int, gate_bias: float = -2.0) -> None:
        super().__init__()
        self.transform = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.gate = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        # A negative bias: at first, most of x passes.
        nn.init.constant_(self.gate.bias, gate_bias)  # type: ignore[arg-type]  # not None, as bias=True is the default

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.gate(x))
        return gate * F.relu(self.transform(x)) + (1 - gate) * x


class DenseLayer(nn.Module):
    """Batch norm, ReLU, 3x3 convolution; the result is appended to x, not added.

    Shapes: (N, in_channels, H, W) to (N, in_channels + growth, H, W).
    """

    def __init__(self, in_channels: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.conv = nn.Conv2d(in_channels, growth, kernel_size=3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        new = self.conv(F.relu(self.norm(x)))
        return torch.cat([x, new], dim=1)


class SqueezeExcitation(nn.Module):
    """Scale each channel by a number in (0, 1), computed from all channels' means.

    Shapes: (N, channels, H, W) to the same.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.narrow = nn.Linear(channels, channels // reduction)
        self.widen = nn.Linear(channels // reduction, channels)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean(dim=(2, 3))  # (N, channels): the squeeze
        scale = torch.sigmoid(self.widen(F.relu(self.narrow(means))))  # the excitation
        return x * scale[:, :, None, None]


class AveragingShortcut(nn.Module):
    """ResNet-D's projection: average, then a 1x1 convolution of stride 1, batch norm.

    Shapes: (N, in_channels, H, W) to
    (N, out_channels, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 2) -> None:
        super().__init__()
        # Windows that reach over the edge average the pixels that are there.
        self.pool = nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False)
        self.conv = conv1x1(in_channels, out_channels)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(self.pool(x)))
