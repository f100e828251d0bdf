"""Blocks of chapter 11: one fault each, written for its screening and its exercises.

Every class is called as ``Block(in_channels, mid_channels, stride=1)`` and is meant to turn
``(N, in_channels, H, W)`` into ``(N, 4 mid_channels, H / stride, W / stride)``.
None of them is to be used: the right block is ``resnet_tutorial.Bottleneck``.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class _Parts(nn.Module):
    """The layers of a bottleneck, made as the class attributes say; subclasses join them."""

    bias = False
    stride_first = False  # v1: the stride in the first 1x1
    project_on: tuple[str, ...] = ("stride", "channels")
    normalise_shortcut = True

    def __init__(self, in_channels: int, mid_channels: int, stride: int = 1) -> None:
        super().__init__()
        out_channels = 4 * mid_channels
        strides = (stride, 1) if self.stride_first else (1, stride)
        self.conv1 = nn.Conv2d(in_channels, mid_channels, 1, strides[0], bias=self.bias)
        self.bn1 = nn.BatchNorm2d(mid_channels)
        self.conv2 = nn.Conv2d(mid_channels, mid_channels, 3, strides[1], 1, bias=self.bias)
        self.bn2 = nn.BatchNorm2d(mid_channels)
        self.conv3 = nn.Conv2d(mid_channels, out_channels, 1, bias=self.bias)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Sequential()  # an empty Sequential hands on its input
        changes = {"stride": stride != 1, "channels": in_channels != out_channels}
        if any(changes[reason] for reason in self.project_on):
            self.shortcut.append(nn.Conv2d(in_channels, out_channels, 1, stride, bias=self.bias))
            if self.normalise_shortcut:
                self.shortcut.append(nn.BatchNorm2d(out_channels))

    def inner(self, x: Tensor) -> Tensor:
        """Return the branch up to and without its last batch norm."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        return self.conv3(out)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn3(self.inner(x)) + self.shortcut(x))


class ReluOnBranch(_Parts):
    """A third ReLU at the end of the branch."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(F.relu(self.bn3(self.inner(x))) + self.shortcut(x))


class ReluThenInPlace(_Parts):
    """The third ReLU, and an addition that writes into its output."""

    def forward(self, x: Tensor) -> Tensor:
        residual = self.shortcut(x)
        out = F.relu(self.bn3(self.inner(x)))
        out += residual
        return F.relu(out)


class StrideFirst(_Parts):
    """The stride in the first 1x1: the paper's v1. Not a fault, a convention."""

    stride_first = True


class BiasedConvolutions(_Parts):
    """Convolutions with a bias in front of their batch norms."""

    bias = True


class ProjectOnStride(_Parts):
    """A projection only where the stride changes."""

    project_on: tuple[str, ...] = ("stride",)


class ShortcutWithoutNorm(_Parts):
    """A projection without a batch norm of its own."""

    normalise_shortcut = False


class NormAfterAddition(_Parts):
    """The last batch norm behind the addition, so that it normalises the shortcut as well."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn3(self.inner(x) + self.shortcut(x)))


class NormAfterRelu(_Parts):
    """Convolution, ReLU, batch norm, in this order."""

    def inner(self, x: Tensor) -> Tensor:
        out = self.bn1(F.relu(self.conv1(x)))
        out = self.bn2(F.relu(self.conv2(out)))
        return self.conv3(out)


class SharedNorm(_Parts):
    """One batch norm used in two places, because it was made once and called twice."""

    def __init__(self, in_channels: int, mid_channels: int, stride: int = 1) -> None:
        super().__init__(in_channels, mid_channels, stride)
        del self.bn2

    def inner(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn1(self.conv2(out)))
        return self.conv3(out)


class CutShortcut(_Parts):
    """A shortcut that carries the values of ``x`` and no gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn3(self.inner(x)) + self.shortcut(x).detach())


class _SpecimenE(_Parts):
    """Right, in a style of its own: clamp for ReLU, the addition in place on what nobody keeps."""

    def inner(self, x: Tensor) -> Tensor:
        out = self.bn1(self.conv1(x)).clamp(min=0)
        return self.conv3(self.bn2(self.conv2(out)).clamp(min=0))

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn3(self.inner(x))
        out += self.shortcut(x)
        return out.clamp(min=0)


# What the chapter's screening shows, by name.
SUSPECTS = {
    block.__name__: block
    for block in (
        StrideFirst, BiasedConvolutions, ReluOnBranch, ReluThenInPlace, ProjectOnStride,
        ShortcutWithoutNorm, NormAfterAddition, NormAfterRelu, SharedNorm, CutShortcut,
    )
}  # fmt: skip

# What the last exercise asks about: to be looked at from outside.
SPECIMENS = {
    "A": type("SpecimenA", (NormAfterAddition,), {}),
    "B": type("SpecimenB", (ShortcutWithoutNorm,), {}),
    "C": type("SpecimenC", (StrideFirst,), {}),
    "D": type("SpecimenD", (CutShortcut,), {}),
    "E": type("SpecimenE", (_SpecimenE,), {}),
    "F": type("SpecimenF", (ReluOnBranch,), {}),
}
