"""The small networks for 32x32 images: the paper's CIFAR family, its plain twins, ResNeXt-29.

Architecture: He et al. 2015 (https://arxiv.org/abs/1512.03385, section 4.2): a 3x3 stem, three
stages of ``n`` two-layer blocks with 16, 32 and 64 channels, global average pooling, a linear
classifier; ``6 n + 2`` layers with weights.  Pre-activation: He et al. 2016
(https://arxiv.org/abs/1603.05027).  ResNeXt-29: Xie et al. 2016, section 5.2.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypedDict, Unpack

import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import BasicBlock, Bottleneck, conv1x1, conv3x3, needs_projection, projection
from .models import init_weights, make_layer
from .shapes import require_sizes


class MakesBlocks(Protocol):
    """A class of blocks, or what stands for one: called as ``block(in_channels, planes, stride)``."""

    @property
    def expansion(self) -> int:
        """Output channels for each of ``planes``."""

    def __call__(self, in_channels: int, planes: int, stride: int = 1) -> nn.Module: ...


class CifarOptions(TypedDict, total=False):
    """The options that :func:`cifar_resnet` and :func:`cifar_resnext29` hand on."""

    num_classes: int
    in_channels: int
    zero_init_residual: bool


SHORTCUTS = ("A", "B", "C")


def global_average(x: Tensor) -> Tensor:
    """Return the mean of each feature map, of any size: ``(N, C, H, W)`` to ``(N, C)``.

    ``x.mean(dim=(2, 3))`` is the same up to rounding, but the gradient of a pooling keeps the order in memory of
    ``x``; that of a mean does not, and a network in channels_last order would wait for it.
    """
    return F.avg_pool2d(x, x.shape[-2:]).flatten(1)


class ZeroPadShortcut(nn.Module):
    """Option A: every ``stride``-th pixel, and channels of zeros; no parameters.

    Shapes: ``(N, in_channels, H, W)`` to
    ``(N, out_channels, ceil(H / stride), ceil(W / stride))``.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        if out_channels < in_channels:
            raise ValueError(
                f"option A can only add channels: {in_channels} to {out_channels} would drop some. "
                f"Use option B."
            )
        self.stride = stride
        self.extra_channels = out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        # The pixels of x[:, :, ::stride, ::stride]; why not so, global_average says.
        x = F.avg_pool2d(x, kernel_size=1, stride=self.stride)
        return F.pad(x, (0, 0, 0, 0, 0, self.extra_channels))


def _shortcut(
    option: str, in_channels: int, planes: int, stride: int, project: Callable[..., nn.Module]
) -> nn.Module | None:
    """Return the shortcut of one block: ``None`` means the identity."""
    changes_shape = needs_projection(in_channels, planes, stride)
    if option == "A":
        return ZeroPadShortcut(in_channels, planes, stride) if changes_shape else None
    if option == "B":
        return project(in_channels, planes, stride) if changes_shape else None
    return project(in_channels, planes, stride)  # C: a projection in every block


class CifarBlock(BasicBlock):
    """A :class:`BasicBlock` whose shortcut is option A, B or C of the paper."""

    def __init__(self, in_channels: int, planes: int, stride: int = 1, shortcut: str = "A") -> None:
        downsample = _shortcut(shortcut, in_channels, planes, stride, projection)
        super().__init__(in_channels, planes, stride, downsample)


class PlainBlock(nn.Module):
    """The two convolutions of a BasicBlock and no shortcut: the paper's control."""

    expansion = 1

    def __init__(self, in_channels: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, planes, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)))


class PreActBlock(nn.Module):
    """Batch norm and ReLU before each convolution; nothing after the addition.

    Where the shape changes, the shortcut starts from the activated input, as in the paper's code,
    and a projection needs no batch norm of its own: the next block brings one.

    Shapes and arguments as for :class:`CifarBlock`.
    """

    expansion = 1

    def __init__(self, in_channels: int, planes: int, stride: int = 1, shortcut: str = "A") -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = conv3x3(in_channels, planes, stride)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv2 = conv3x3(planes, planes)
        self.downsample = _shortcut(shortcut, in_channels, planes, stride, conv1x1)

    def forward(self, x: Tensor) -> Tensor:
        activated = F.relu(self.bn1(x))
        shortcut = x if self.downsample is None else self.downsample(activated)
        out = self.conv1(activated)
        out = self.conv2(F.relu(self.bn2(out)))
        return out + shortcut


class CifarResNet(nn.Module):
    """A 3x3 stem, three stages of 16, 32 and 64 channels, global average pooling, a classifier.

    Shapes: ``(N, in_channels, H, W)`` to ``(N, num_classes)``; the paper has 32 x 32 images.

    Args:
        block: a class called as ``block(in_channels, planes, stride)``.
        depth: layers with weights, ``6 n + 2`` with ``n`` of 1 or more.
        preact: the blocks are pre-activated, so that one batch norm and ReLU follow the last.
        num_classes, in_channels: of the classifier and of the image.
        zero_init_residual: start every block as the identity; not for pre-activated blocks,
            whose branch does not end in a batch norm.

    Raises:
        ValueError: if the depth is not ``6 n + 2`` or a size is not a positive integer.
    """

    def __init__(
        self,
        block: MakesBlocks,
        depth: int,
        *,
        preact: bool = False,
        num_classes: int = 10,
        in_channels: int = 3,
        zero_init_residual: bool = False,
    ) -> None:
        super().__init__()
        require_sizes(depth=depth, num_classes=num_classes, in_channels=in_channels)
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(
                f"depth must be 6n+2 (8, 14, 20, 32, 44, 56, 110 ...), not {depth}: "
                f"three stages of n blocks with two layers each, the stem and the classifier."
            )
        n = (depth - 2) // 6
        self.preact = preact
        self.conv1 = conv3x3(in_channels, 16)
        self.bn1 = nn.BatchNorm2d(64 if preact else 16)  # pre-activated: after the last stage
        self.layer1 = make_layer(block, 16, 16, n)
        self.layer2 = make_layer(block, 16, 32, n, stride=2)
        self.layer3 = make_layer(block, 32, 64, n, stride=2)
        self.fc = nn.Linear(64, num_classes)
        init_weights(self, zero_init_residual)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last feature map, ``(N, 64, H / 4, W / 4)``."""
        x = self.conv1(x)
        if not self.preact:
            x = F.relu(self.bn1(x))  # (N, 16, H, W)
        x = self.layer3(self.layer2(self.layer1(x)))
        return F.relu(self.bn1(x)) if self.preact else x

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(global_average(self.forward_features(x)))  # (N, num_classes)


def _require_shortcut(shortcut: str) -> None:
    if shortcut not in SHORTCUTS:
        raise ValueError(
            f"shortcut must be 'A' (zero padding), 'B' (projection where the shape changes) "
            f"or 'C' (projection everywhere), not {shortcut!r}."
        )


def _block_class(block: type[CifarBlock] | type[PreActBlock], shortcut: str) -> MakesBlocks:
    """Return ``block`` with its shortcut option filled in, still with the class's expansion."""
    _require_shortcut(shortcut)
    made: Any = partial(block, shortcut=shortcut)
    made.expansion = block.expansion
    return made


def cifar_resnet(depth: int, shortcut: str = "A", **options: Unpack[CifarOptions]) -> CifarResNet:
    """Return the paper's ResNet of ``6 n + 2`` layers; ResNet-20 has 269,722 parameters.

    Args:
        depth: 20, 32, 44, 56, 110, 1202 in the paper.
        shortcut: ``"A"`` zero padding, ``"B"`` projections where the shape changes,
            ``"C"`` projections everywhere.
        options: ``num_classes``, ``in_channels``, ``zero_init_residual``.

    Raises:
        ValueError: for another depth or shortcut.
    """
    return CifarResNet(_block_class(CifarBlock, shortcut), depth, **options)


def cifar_plain(depth: int, num_classes: int = 10, in_channels: int = 3) -> CifarResNet:
    """Return the same network without shortcuts: the control of the degradation experiment.

    Raises:
        ValueError: if the depth is not ``6 n + 2``.
    """
    return CifarResNet(PlainBlock, depth, num_classes=num_classes, in_channels=in_channels)


def cifar_preact_resnet(
    depth: int, shortcut: str = "A", num_classes: int = 10, in_channels: int = 3
) -> CifarResNet:
    """Return the pre-activated ResNet of ``6 n + 2`` layers (He et al. 2016).

    Raises:
        ValueError: for another depth or shortcut.
    """
    block = _block_class(PreActBlock, shortcut)
    return CifarResNet(block, depth, preact=True, num_classes=num_classes, in_channels=in_channels)


class CifarResNeXt(nn.Module):
    """ResNeXt-29 for 32x32 images: a 3x3 stem of 64 and three stages of three bottlenecks.

    The stages give 256, 512 and 1024 channels; ``3 x 9 + 2`` layers with weights.

    Shapes: ``(N, in_channels, H, W)`` to ``(N, num_classes)``.

    Raises:
        ValueError: if a size is not a positive integer.
    """

    def __init__(
        self, cardinality: int, base_width: int, num_classes: int = 10, in_channels: int = 3,
        zero_init_residual: bool = False,
    ) -> None:
        super().__init__()
        require_sizes(
            cardinality=cardinality, base_width=base_width,
            num_classes=num_classes, in_channels=in_channels,
        )
        options = {"groups": cardinality, "base_width": base_width}
        self.conv1 = conv3x3(in_channels, 64)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = make_layer(Bottleneck, 64, 64, 3, **options)
        self.layer2 = make_layer(Bottleneck, 256, 128, 3, stride=2, **options)
        self.layer3 = make_layer(Bottleneck, 512, 256, 3, stride=2, **options)
        self.fc = nn.Linear(1024, num_classes)
        init_weights(self, zero_init_residual)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last feature map, ``(N, 1024, H / 4, W / 4)``."""
        x = F.relu(self.bn1(self.conv1(x)))
        return self.layer3(self.layer2(self.layer1(x)))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(global_average(self.forward_features(x)))


def cifar_resnext29(cardinality: int, base_width: int, **options: Unpack[CifarOptions]) -> CifarResNeXt:
    """Return ResNeXt-29, for example 8x64d with 34,426,698 parameters.

    Args:
        cardinality: groups of the 3x3 convolutions.
        base_width: channels of a group in the first stage; doubles from stage to stage.
        options: ``num_classes``, ``in_channels``, ``zero_init_residual``.

    Raises:
        ValueError: if a size is not a positive integer.
    """
    return CifarResNeXt(cardinality, base_width, **options)
