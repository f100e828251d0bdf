"""The ResNeXt block written in the two longer ways of Figure 3 of the ResNeXt paper.

All three forms compute the same function:

(a) :class:`SplitTransformMerge`: ``groups`` separate paths, whose outputs are summed;
(b) :class:`EarlyConcatenation`: paths that are concatenated before one last 1x1 convolution;
(c) ``Bottleneck(..., groups=...)``: one branch with a grouped 3x3 convolution.

``load_grouped`` carries the weights of (c) into (a) or (b), which makes the equality testable.
Source: Xie et al. 2016, https://arxiv.org/abs/1611.05431, Figure 3.
"""

from __future__ import annotations

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import Bottleneck, conv1x1, conv3x3, needs_projection, projection
from .shapes import bottleneck_width, require_sizes


class _PathsBlock(nn.Module):
    """What forms (a) and (b) share: the paths up to the 3x3, the last batch norm, the shortcut."""

    expansion = 4

    def __init__(
        self, in_channels: int, planes: int, stride: int = 1, groups: int = 32, base_width: int = 4
    ) -> None:
        super().__init__()
        require_sizes(in_channels=in_channels, planes=planes, stride=stride)
        self.group_width = bottleneck_width(planes, groups, base_width) // groups
        out_channels = planes * self.expansion
        self.paths = nn.ModuleList(
            self._make_path(in_channels, out_channels, stride) for _ in range(groups)
        )
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = (
            projection(in_channels, out_channels, stride)
            if needs_projection(in_channels, out_channels, stride)
            else None
        )

    def _make_path(self, in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
        width = self.group_width
        return nn.Sequential(
            conv1x1(in_channels, width), nn.BatchNorm2d(width), nn.ReLU(),
            conv3x3(width, width, stride), nn.BatchNorm2d(width), nn.ReLU(),
        )  # fmt: skip

    def merge(self, x: Tensor) -> Tensor:
        """Return the paths' common result, ``(N, out_channels, H / stride, W / stride)``."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(self.bn3(self.merge(x)) + shortcut, inplace=True)

    @torch.no_grad()
    def load_grouped(self, block: Bottleneck) -> Self:
        """Copy the weights and statistics of a grouped :class:`Bottleneck`; return ``self``.

        Path ``i`` gets the slice of channels that group ``i`` of the 3x3 convolution works on.

        Raises:
            ValueError: if the two blocks differ in shape, cardinality or shortcut.
        """
        groups = len(self.paths)
        expected = (groups, groups * self.group_width, self.bn3.num_features)
        found = (block.conv2.groups, block.conv2.out_channels, block.bn3.num_features)
        if found != expected or (block.downsample is None) != (self.downsample is None):
            raise ValueError(
                f"the blocks do not match: (groups, width, output channels) are {found} there "
                f"and {expected} here; build both with the same arguments."
            )
        for i, path in enumerate(self.paths):
            part = slice(i * self.group_width, (i + 1) * self.group_width)
            path.get_parameter("0.weight").copy_(block.conv1.weight[part])
            _copy_batch_norm(block.bn1, path.get_submodule("1"), part)
            path.get_parameter("3.weight").copy_(block.conv2.weight[part])
            _copy_batch_norm(block.bn2, path.get_submodule("4"), part)
            self._load_last(i, part, block)
        _copy_batch_norm(block.bn3, self.bn3)
        if self.downsample is not None and block.downsample is not None:
            self.downsample.load_state_dict(block.downsample.state_dict())
        return self

    def _load_last(self, i: int, part: slice, block: Bottleneck) -> None:
        raise NotImplementedError


class SplitTransformMerge(_PathsBlock):
    """Form (a): each path has its own three convolutions, and the outputs are summed.

    Shapes: ``(N, in_channels, H, W)`` to ``(N, 4 planes, ceil(H / stride), ceil(W / stride))``.

    Args:
        in_channels, planes, stride: as for :class:`~resnet_tutorial.blocks.Bottleneck`.
        groups: number of paths, the cardinality.
        base_width: channels of a path at ``planes=64``.

    Raises:
        ValueError: if a size is not a positive integer.
    """

    def _make_path(self, in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
        path = super()._make_path(in_channels, out_channels, stride)
        return path.append(conv1x1(self.group_width, out_channels))

    def merge(self, x: Tensor) -> Tensor:
        return sum(path(x) for path in self.paths)

    def _load_last(self, i: int, part: slice, block: Bottleneck) -> None:
        self.paths[i].get_parameter("6.weight").copy_(block.conv3.weight[:, part])


class EarlyConcatenation(_PathsBlock):
    """Form (b): the paths are concatenated after their 3x3, and one 1x1 convolution follows.

    Shapes and arguments as for :class:`SplitTransformMerge`.
    """

    def __init__(
        self, in_channels: int, planes: int, stride: int = 1, groups: int = 32, base_width: int = 4
    ) -> None:
        super().__init__(in_channels, planes, stride, groups, base_width)
        self.conv3 = conv1x1(groups * self.group_width, planes * self.expansion)

    def merge(self, x: Tensor) -> Tensor:
        return self.conv3(torch.cat([path(x) for path in self.paths], dim=1))

    def _load_last(self, i: int, part: slice, block: Bottleneck) -> None:
        self.conv3.weight[:, part] = block.conv3.weight[:, part]


def _copy_batch_norm(source: nn.Module, target: nn.Module, part: slice = slice(None)) -> None:
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(target, name).copy_(getattr(source, name)[part])
    target.get_buffer("num_batches_tracked").copy_(source.get_buffer("num_batches_tracked"))
