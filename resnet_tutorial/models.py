"""ResNet, ResNeXt and Wide ResNet for ImageNet, assembled from the blocks.

Architecture: He et al. 2015 (https://arxiv.org/abs/1512.03385, Table 1), Xie et al. 2016
(https://arxiv.org/abs/1611.05431, Table 1), Zagoruyko and Komodakis 2016.
Names, state-dict keys and initialisation are torchvision's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict, Unpack

import torch
from torch import Tensor, nn

from .blocks import BasicBlock, Bottleneck, conv3x3
from .shapes import require_sizes


def make_stem(in_channels: int, out_channels: int, stem: str) -> tuple[nn.Conv2d, nn.Module]:
    """Return the first convolution and the pooling that stands after its batch norm and ReLU.

    ``"imagenet"``: 7x7 at stride 2, then 3x3 max-pooling at stride 2; 224 pixels become 56.
    ``"cifar"``: 3x3 at stride 1 and no pooling; 32 pixels stay 32.
    """
    if stem == "imagenet":
        conv = nn.Conv2d(in_channels, out_channels, 7, stride=2, padding=3, bias=False)
        return conv, nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
    if stem == "cifar":
        return conv3x3(in_channels, out_channels), nn.Identity()
    raise ValueError(f"stem must be 'imagenet' or 'cifar', not {stem!r}.")


def make_layer(  # type: ignore[no-untyped-def]  # a block is any class of this signature, a reader's too
    block, in_channels: int, planes: int, blocks: int, stride: int = 1, **options
) -> nn.Sequential:
    """Return one stage: ``blocks`` blocks, of which only the first may change shapes.

    Shapes: ``(N, in_channels, H, W)`` to
    ``(N, planes * block.expansion, H / stride, W / stride)``.

    Args:
        block: a class called as ``block(in_channels, planes, stride, **options)``.
        in_channels: channels that enter the stage.
        planes: base width of the stage's blocks.
        blocks: how many, at least one.
        stride: of the first block; the others have stride 1.
        options: handed to every block.
    """
    first = block(in_channels, planes, stride, **options)
    channels = planes * block.expansion
    rest = [block(channels, planes, **options) for _ in range(blocks - 1)]
    return nn.Sequential(first, *rest)


def init_weights(model: nn.Module, zero_init_residual: bool = False) -> None:
    """Initialise as the paper's authors do: He-normal convolutions, batch norms at 1 and 0.

    ``zero_init_residual`` sets the last batch-norm weight of every branch to zero: each
    block then starts as its shortcut alone (Goyal et al. 2017,
    https://arxiv.org/abs/1706.02677).
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    if zero_init_residual:
        for module in model.modules():
            if isinstance(module, Bottleneck):
                nn.init.zeros_(module.bn3.weight)
            elif isinstance(module, BasicBlock):
                nn.init.zeros_(module.bn2.weight)


class ResNet(nn.Module):
    """A stem, four stages of residual blocks, global average pooling and a linear classifier.

    Shapes: ``(N, in_channels, H, W)`` to ``(N, num_classes)``; any ``H`` and ``W`` that survive
    the strides (1 pixel is enough), since the pooling takes the mean of whatever map is left.

    Args:
        block: ``BasicBlock`` or ``Bottleneck``.
        layers: blocks in each of the four stages, for example ``(3, 4, 6, 3)``.
        num_classes: outputs of the classifier.
        in_channels: channels of the image.
        groups, base_width: cardinality and group width of the bottleneck's 3x3.
        zero_init_residual: start every block as the identity.
        stem: ``"imagenet"`` or ``"cifar"``.
        version: ``"v1.5"`` (torchvision) or ``"v1"`` (the paper); bottlenecks only.

    Raises:
        ValueError: if a size is not a positive integer, or a choice is unknown.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        layers: Sequence[int],
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        groups: int = 1,
        base_width: int = 64,
        zero_init_residual: bool = False,
        stem: str = "imagenet",
        version: str = "v1.5",
    ) -> None:
        super().__init__()
        require_sizes(num_classes=num_classes, in_channels=in_channels)
        if len(layers) != 4:
            raise ValueError(f"layers must name four stages, not {len(layers)}: {tuple(layers)}.")
        for stage, depth in enumerate(layers, start=1):
            require_sizes(**{f"layers of stage {stage}": depth})
        if version not in ("v1", "v1.5"):
            raise ValueError(f"version must be 'v1' or 'v1.5', not {version!r}.")
        # Only what differs from the default is handed on, so that a learner's own block needs no
        # argument that it does not use.
        options: dict[str, Any] = {}
        if (groups, base_width) != (1, 64):
            if issubclass(block, BasicBlock):
                raise ValueError(
                    f"{block.__name__} has no groups and no base_width; only Bottleneck has."
                )
            options = {"groups": groups, "base_width": base_width}
        if version != "v1.5" and not issubclass(block, BasicBlock):
            options["version"] = version

        self.conv1, self.maxpool = make_stem(in_channels, 64, stem)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)  # safe: batch norm's backward does not need its output
        e = block.expansion
        self.layer1 = make_layer(block, 64, 64, layers[0], stride=1, **options)
        self.layer2 = make_layer(block, 64 * e, 128, layers[1], stride=2, **options)
        self.layer3 = make_layer(block, 128 * e, 256, layers[2], stride=2, **options)
        self.layer4 = make_layer(block, 256 * e, 512, layers[3], stride=2, **options)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512 * e, num_classes)
        init_weights(self, zero_init_residual)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last feature map, ``(N, 512 expansion, H / 32, W / 32)`` with the ImageNet stem."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(self.forward_features(x))  # (N, C, 1, 1)
        return self.fc(torch.flatten(x, 1))  # (N, num_classes)


class NetworkOptions(TypedDict, total=False):
    """The options of :class:`ResNet` that every named network takes."""

    num_classes: int
    in_channels: int
    zero_init_residual: bool
    stem: str
    version: str


class ResNetOptions(NetworkOptions, total=False):
    """All options of :class:`ResNet`."""

    groups: int
    base_width: int


def resnet18(**options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-18: basic blocks, 2-2-2-2; 11.7 million parameters. Options as for :class:`ResNet`."""
    return ResNet(BasicBlock, (2, 2, 2, 2), **options)


def resnet34(**options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-34: basic blocks, 3-4-6-3; 21.8 million parameters. Options as for :class:`ResNet`."""
    return ResNet(BasicBlock, (3, 4, 6, 3), **options)


def resnet50(**options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-50: bottlenecks, 3-4-6-3; 25.6 million parameters. Options as for :class:`ResNet`."""
    return ResNet(Bottleneck, (3, 4, 6, 3), **options)


def resnet101(**options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-101: bottlenecks, 3-4-23-3; 44.5 million parameters. Options as for :class:`ResNet`."""
    return ResNet(Bottleneck, (3, 4, 23, 3), **options)


def resnet152(**options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-152: bottlenecks, 3-8-36-3; 60.2 million parameters. Options as for :class:`ResNet`."""
    return ResNet(Bottleneck, (3, 8, 36, 3), **options)


def resnext50_32x4d(**options: Unpack[NetworkOptions]) -> ResNet:
    """ResNeXt-50: 32 groups of width 4; 25.0 million parameters. Options as for :class:`ResNet`."""
    return ResNet(Bottleneck, (3, 4, 6, 3), groups=32, base_width=4, **options)


def resnext101_32x8d(**options: Unpack[NetworkOptions]) -> ResNet:
    """ResNeXt-101: 32 groups of width 8; 88.8 million parameters. Options as for :class:`ResNet`."""
    return ResNet(Bottleneck, (3, 4, 23, 3), groups=32, base_width=8, **options)


def resnext101_64x4d(**options: Unpack[NetworkOptions]) -> ResNet:
    """ResNeXt-101: 64 groups of width 4; 83.5 million parameters. Options as for :class:`ResNet`."""
    return ResNet(Bottleneck, (3, 4, 23, 3), groups=64, base_width=4, **options)


def wide_resnet50_2(**options: Unpack[NetworkOptions]) -> ResNet:
    """ResNet-50 with 3x3s twice as wide; 68.9 million parameters. Options as for :class:`ResNet`."""
    return ResNet(Bottleneck, (3, 4, 6, 3), base_width=128, **options)


def wide_resnet101_2(**options: Unpack[NetworkOptions]) -> ResNet:
    """ResNet-101 with 3x3s twice as wide; 126.9 million parameters. Options as for :class:`ResNet`."""
    return ResNet(Bottleneck, (3, 4, 23, 3), base_width=128, **options)
