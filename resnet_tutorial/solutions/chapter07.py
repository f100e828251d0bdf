"""Solutions of chapter 7, ResNeXt; the block itself stands in ``resnet_tutorial.blocks``."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..blocks import Bottleneck
from ..models import make_layer
from .chapter06 import classifier_head, imagenet_stem


def grouped_conv(
    x: Tensor, weight: Tensor, groups: int, stride: int = 1, padding: int = 0
) -> Tensor:
    """Convolve each of ``groups`` equal slices of the channels, and concatenate.

    Args:
        x: the input, ``(N, in_channels, H, W)``.
        weight: ``(out_channels, in_channels / groups, k, k)``, as in ``nn.Conv2d``.
        groups: number of slices; it divides both channel numbers.
        stride, padding: of every convolution.

    Returns:
        ``(N, out_channels, H', W')``.
    """
    pieces = x.chunk(groups, dim=1)  # each (N, in_channels / groups, H, W)
    filters = weight.chunk(groups, dim=0)  # each (out_channels / groups, ...)
    convolved = [
        F.conv2d(piece, part, stride=stride, padding=padding)
        for piece, part in zip(pieces, filters, strict=True)
    ]
    return torch.cat(convolved, dim=1)


def bottleneck_width(planes: int, groups: int = 1, base_width: int = 64) -> int:
    """Return the channels of a bottleneck's 3x3 convolution, of all groups together.

    Args:
        planes: a quarter of the block's output channels; 64 in the first stage.
        groups: the cardinality.
        base_width: channels of one group where ``planes`` is 64.
    """
    return int(planes * base_width / 64) * groups


def split_transform(
    x: Tensor, w1: Tensor, w2: Tensor, w3: Tensor, groups: int
) -> Tensor:
    """Return what each path of a ResNeXt block gives, before the sum.

    The weights are those of form (c): a 1x1, a grouped 3x3 with padding 1, a 1x1,
    with a ReLU after the first and after the second; no batch norms.

    Args:
        x: the block's input, ``(N, in_channels, H, W)``.
        w1: ``(width, in_channels, 1, 1)``.
        w2: ``(width, width / groups, 3, 3)``.
        w3: ``(out_channels, width, 1, 1)``.
        groups: number of paths.

    Returns:
        ``(groups, N, out_channels, H, W)``; summed over the first axis: the branch.
    """
    slices = w1.chunk(groups, dim=0), w2.chunk(groups, dim=0), w3.chunk(groups, dim=1)
    outputs = []
    for reduce, transform, expand in zip(*slices, strict=True):
        out = F.relu(F.conv2d(x, reduce))  # (N, width / groups, H, W)
        out = F.relu(F.conv2d(out, transform, padding=1))  # the same shape
        outputs.append(F.conv2d(out, expand))  # (N, out_channels, H, W)
    return torch.stack(outputs)


def equal_cost_width(
    cardinality: int, channels: int = 256, plain_width: int = 64
) -> int:
    """Return the width of a group that makes the block cost what the plain one costs.

    That is the width whose number of weights is nearest to the plain bottleneck's.
    Only the three convolutions count, not the batch norms.

    Args:
        cardinality: number of groups of the 3x3 convolution.
        channels: into and out of both blocks.
        plain_width: channels of the plain bottleneck's 3x3, which has one group.
    """

    def weights(groups: int, group_width: int) -> int:
        return groups * (2 * channels * group_width + 9 * group_width**2)

    def distance(group_width: int) -> int:
        return abs(weights(cardinality, group_width) - weights(1, plain_width))

    return min(range(1, plain_width + 1), key=distance)


def count_groups(layer: Callable[[Tensor], Tensor], channels: int) -> int:
    """Return the number of groups of a convolution, from its behaviour alone.

    Args:
        layer: takes ``(N, channels, H, W)``, gives ``(N, out_channels, H', W')``.
        channels: of its input.
    """
    x = torch.randn(1, channels, 5, 5, requires_grad=True)
    first = layer(x)[:, 0].sum()  # output channel 0
    (gradient,) = torch.autograd.grad(first, x)
    # Does the output depend on this input channel?
    reached = gradient.abs().sum(dim=(0, 2, 3)) > 0
    return channels // int(reached.sum())


class ResNeXt(nn.Module):
    """A ResNeXt for ImageNet; (3, 4, 6, 3), 32 and 4 make ResNeXt-50.

    Shapes: ``(N, 3, H, W)`` to ``(N, num_classes)``.

    Args:
        layers: blocks in each of the four stages.
        groups: cardinality of every block.
        base_width: channels of a group in the first stage.
        num_classes: of the head.
    """

    def __init__(
        self, layers: tuple[int, int, int, int], groups: int,
        base_width: int, num_classes: int = 1000,
    ) -> None:
        super().__init__()
        stages = []
        channels = 64  # what the stem hands over
        for number, blocks in enumerate(layers):
            planes = 64 * 2**number
            stride = 1 if number == 0 else 2
            stages.append(
                make_layer(
                    Bottleneck, channels, planes, blocks, stride,
                    groups=groups, base_width=base_width,
                )
            )
            channels = 4 * planes
        self.network = nn.Sequential(
            imagenet_stem(), *stages, classifier_head(channels, num_classes)
        )

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, H, W)
        return self.network(x)  # (N, num_classes)
