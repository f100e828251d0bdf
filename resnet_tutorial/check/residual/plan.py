"""What a block is made of: its convolutions, and the shapes of the parameters that they need.

A *role* is what one parameter is for: ``("second 3x3", "gain", 0)`` is the batch norm's weight
behind the second 3x3. The roles come from the task, not from the learner's code, which may store
and name its parameters as it likes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product

from torch import nn

Role = tuple[str, str, int]  # layer, "kernel" or "gain" or "shift", part


@dataclass(frozen=True)
class Layer:
    """One convolution and the batch norm behind it.

    ``parts`` above 1: the kernel is stored in so many pieces, as in ResNeXt's separate paths,
    which side by side along the axis ``cut`` (0: outputs, 1: inputs) make the whole. The batch
    norm may be stored in pieces, too, ``norm_parts`` of them.
    """

    name: str
    in_channels: int
    out_channels: int
    size: int
    stride: int = 1
    groups: int = 1
    parts: int = 1
    cut: int = 0
    norm_parts: int = 1

    @property
    def kernel(self) -> tuple[int, int, int, int]:
        """The shape of the whole kernel."""
        return self.out_channels, self.in_channels // self.groups, self.size, self.size

    def roles(self) -> Iterator[tuple[Role, tuple[int, ...]]]:
        """Yield each parameter's role and shape."""
        shape = list(self.kernel)
        shape[self.cut] //= self.parts
        channels = self.out_channels // self.norm_parts
        for part in range(self.parts):
            yield (self.name, "kernel", part), tuple(shape)
        for part in range(self.norm_parts):
            yield (self.name, "gain", part), (channels,)
            yield (self.name, "shift", part), (channels,)


@dataclass(frozen=True)
class Plan:
    """One block as the task asks for it: the branch's layers and the projection, if any.

    ``call`` is how the learner would write it, for messages: ``"BasicBlock(8, 16, stride=2)"``.
    """

    call: str
    branch: tuple[Layer, ...]
    projection: Layer | None
    stride: int = 1

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers, the projection last."""
        return self.branch + ((self.projection,) if self.projection else ())

    @property
    def in_channels(self) -> int:
        """Channels of the block's input."""
        return self.branch[0].in_channels

    @property
    def out_channels(self) -> int:
        """Channels of the block's output."""
        return self.branch[-1].out_channels

    @property
    def biases(self) -> list[int]:
        """How many biases each convolution would have."""
        return [layer.out_channels for layer in self.layers]

    def roles(self) -> dict[Role, tuple[int, ...]]:
        """Return the role and the shape of each parameter."""
        return {role: shape for layer in self.layers for role, shape in layer.roles()}

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape that an input of this shape must lead to."""
        sides = (-(-side // self.stride) for side in shape[2:])
        return (shape[0], self.out_channels, *sides)

    def stored_in_parts(self) -> Iterator[Plan]:
        """Yield this plan, then the ways to store a grouped block's kernels path by path."""
        yield self
        groups = max(layer.groups for layer in self.branch)
        if groups == 1:
            return
        ways = [self._ways(index, groups) for index in range(len(self.branch))]
        for branch in product(*ways):
            if branch != self.branch:
                yield replace(self, branch=branch)

    def _ways(self, index: int, groups: int) -> list[Layer]:
        layer = self.branch[index]
        if index == len(self.branch) - 1:  # the paths' last outputs are added: one batch norm
            return [layer, replace(layer, parts=groups, cut=1)]
        return [
            replace(layer, parts=parts, norm_parts=norms) for parts in (1, groups) for norms in (1, groups)
        ]


def key(shape: Iterable[int]) -> tuple[int, ...]:
    """Return a shape without its ones: a 1x1 kernel and a matrix hold the same numbers."""
    return tuple(n for n in shape if n > 1)


def kind(shape: Iterable[int]) -> tuple[int, ...]:
    """Return what two shapes share that can hold the same kernel or vector.

    A matrix may be stored as (outputs, inputs) or the other way round.
    """
    short = key(shape)
    return tuple(sorted(short, reverse=True)) if len(short) == 2 else short


def kernels_of(shapes: Iterable[Iterable[int]]) -> Counter:
    """Count the shapes that belong to kernels, those of two axes or more."""
    return Counter(key(shape) for shape in shapes if len(key(shape)) > 1)


def shapes_of(block: nn.Module) -> list[tuple[int, ...]]:
    """Return the shapes of a block's parameters."""
    return [tuple(parameter.shape) for parameter in block.parameters()]


def basic(call: str, in_channels: int, planes: int, stride: int, projects: bool) -> Plan:
    """Return the plan of a basic block."""
    return Plan(
        call,
        (Layer("first 3x3", in_channels, planes, 3, stride), Layer("second 3x3", planes, planes, 3)),
        Layer("projection", in_channels, planes, 1, stride) if projects else None,
        stride,
    )


def bottleneck(
    call: str, in_channels: int, width: int, out_channels: int, stride: int, projects: bool,
    groups: int = 1, version: str = "v1.5",
) -> Plan:  # fmt: skip
    """Return the plan of a bottleneck, ResNeXt's with ``groups`` above 1."""
    first, middle = (stride, 1) if version == "v1" else (1, stride)
    return Plan(
        call,
        (
            Layer("first 1x1", in_channels, width, 1, first),
            Layer("3x3", width, width, 3, middle, groups),
            Layer("last 1x1", width, out_channels, 1),
        ),
        Layer("projection", in_channels, out_channels, 1, stride) if projects else None,
        stride,
    )
