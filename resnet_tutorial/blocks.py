"""The residual blocks: ``BasicBlock``, ``Bottleneck`` and the two cases that tutorials teach.

Every block computes ``relu(branch(x) + shortcut(x))``.
The branch ends in a batch normalisation and not in a ReLU: the only ReLU after the last
convolution is the one that follows the addition, so that the branch can lower a value as
well as raise it.  Source: He et al. 2015, https://arxiv.org/abs/1512.03385, sections 3 and 4.
That ReLU overwrites the sum, which nothing else needs: a second tensor of the block's widest
shape would be written for nothing.

Attribute names are torchvision's (``conv1``, ``bn1``, ``downsample`` ...), so that its state
dicts load without a change.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .shapes import bottleneck_width, require_sizes


def conv3x3(
    in_channels: int, out_channels: int, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    """Return a 3x3 convolution that keeps the size at stride 1 and halves it at stride 2.

    No bias: the batch normalisation that follows subtracts the mean, and any bias with it.
    """
    return nn.Conv2d(
        in_channels, out_channels, kernel_size=3,
        stride=stride, padding=1, groups=groups, bias=False,
    )


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """Return a 1x1 convolution: the same linear map of the channels at every position."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False)


def projection(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """Return the projection shortcut (option B): a 1x1 convolution and a batch norm."""
    return nn.Sequential(
        conv1x1(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels)
    )


def needs_projection(in_channels: int, out_channels: int, stride: int) -> bool:
    """Tell whether a block changes its input's shape, so that ``x`` cannot be added."""
    # The first block of a bottleneck network changes it at stride 1: 64 channels become 256.
    return stride != 1 or in_channels != out_channels


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: the block of ResNet-18 and ResNet-34.

    Shapes: ``(N, in_channels, H, W)`` to
    ``(N, planes, ceil(H / stride), ceil(W / stride))``.

    Args:
        in_channels: channels of the input.
        planes: channels of both convolutions and of the output.
        stride: of the first convolution and of the shortcut.
        downsample: the shortcut; ``None`` lets the block choose: the identity where
            the shapes agree, a projection (1x1 convolution and batch norm) where not.

    Raises:
        ValueError: if a size is not a positive integer.
    """

    expansion = 1

    def __init__(
        self, in_channels: int, planes: int, stride: int = 1,
        downsample: nn.Module | None = None,
    ) -> None:
        super().__init__()
        require_sizes(in_channels=in_channels, planes=planes, stride=stride)
        self.conv1 = conv3x3(in_channels, planes, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)
        if downsample is None and needs_projection(in_channels, planes, stride):
            downsample = projection(in_channels, planes, stride)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))  # no ReLU here: F(x) must be able to be negative
        return F.relu(out + shortcut, inplace=True)


class Bottleneck(nn.Module):
    """1x1 reduce, 3x3, 1x1 expand, a shortcut: the block of ResNet-50 and ResNeXt.

    Shapes: ``(N, in_channels, H, W)`` to
    ``(N, 4 planes, ceil(H / stride), ceil(W / stride))``.

    Args:
        in_channels: channels of the input.
        planes: a quarter of the output's channels.
        stride: of the block; which convolution carries it, ``version`` says.
        downsample: the shortcut; ``None`` lets the block choose, as in BasicBlock.
        groups: cardinality, the number of groups of the 3x3 convolution (1: ResNet).
        base_width: channels of a group at ``planes=64``; scales with ``planes``.
        version: ``"v1.5"`` strides in the 3x3 (torchvision), ``"v1"`` in the first
            1x1 (the paper).

    Raises:
        ValueError: if a size is not a positive integer or the version is unknown.
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        version: str = "v1.5",
    ) -> None:
        super().__init__()
        require_sizes(in_channels=in_channels, planes=planes, stride=stride)
        if version not in ("v1", "v1.5"):
            raise ValueError(f"version must be 'v1' or 'v1.5', not {version!r}.")
        width = bottleneck_width(planes, groups, base_width)
        out_channels = planes * self.expansion
        # v1 halves the image in the first 1x1 and throws away three pixels of four unseen;
        # v1.5 halves it in the 3x3, which sees them all, for 6 % more arithmetic.
        stride1, stride2 = (stride, 1) if version == "v1" else (1, stride)
        self.conv1 = conv1x1(in_channels, width, stride1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, stride2, groups)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv1x1(width, out_channels)
        self.bn3 = nn.BatchNorm2d(out_channels)
        if downsample is None and needs_projection(in_channels, out_channels, stride):
            downsample = projection(in_channels, out_channels, stride)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W)
        shortcut = x if self.downsample is None else self.downsample(x)
        out = F.relu(self.bn1(self.conv1(x)))  # (N, width, H, W); v1: H/s, W/s
        out = F.relu(self.bn2(self.conv2(out)))  # (N, width, H/s, W/s)
        out = self.bn3(self.conv3(out))  # (N, 4 planes, H/s, W/s)
        return F.relu(out + shortcut, inplace=True)


class ConvBlock(nn.Module):
    """A bottleneck with a projection shortcut: the "Conv block" that changes shapes.

    Shapes: ``(N, in_channels, H, W)`` to
    ``(N, 4 mid_channels, ceil(H / stride), ceil(W / stride))``.
    The name comes from an early Keras implementation; the paper says "projection
    shortcut".

    Args:
        in_channels: channels of the input.
        mid_channels: channels of the 1x1 and of the 3x3; the output has four times
            as many.
        stride: of the 3x3 and of the projection; 2 by default, 1 in the first stage.

    Raises:
        ValueError: if a size is not a positive integer.
    """

    expansion = 4

    def __init__(self, in_channels: int, mid_channels: int, stride: int = 2) -> None:
        super().__init__()
        require_sizes(in_channels=in_channels, mid_channels=mid_channels, stride=stride)
        out_channels = mid_channels * self.expansion
        self.branch = nn.Sequential(
            conv1x1(in_channels, mid_channels), nn.BatchNorm2d(mid_channels), nn.ReLU(),
            conv3x3(mid_channels, mid_channels, stride), nn.BatchNorm2d(mid_channels), nn.ReLU(),
            conv1x1(mid_channels, out_channels), nn.BatchNorm2d(out_channels),
        )
        # Always a projection, also where the shapes happen to agree: that is what defines it.
        self.shortcut = projection(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.branch(x) + self.shortcut(x), inplace=True)


class IdentityBlock(nn.Module):
    """A bottleneck that adds ``x`` itself: the "Identity block", to be chained.

    Shapes: ``(N, channels, H, W)`` to the same.

    Args:
        channels: channels of the input and of the output.
        mid_channels: channels of the 1x1 and of the 3x3 between.

    Raises:
        ValueError: if a size is not a positive integer.
    """

    def __init__(self, channels: int, mid_channels: int) -> None:
        super().__init__()
        require_sizes(channels=channels, mid_channels=mid_channels)
        self.branch = nn.Sequential(
            conv1x1(channels, mid_channels), nn.BatchNorm2d(mid_channels), nn.ReLU(),
            conv3x3(mid_channels, mid_channels), nn.BatchNorm2d(mid_channels), nn.ReLU(),
            conv1x1(mid_channels, channels), nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.branch(x) + x, inplace=True)
