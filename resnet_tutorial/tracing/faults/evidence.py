"""What a rule is given, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor

from ..branches import Ancestry
from ..graph import Graph
from ..kinds import arguments_of
from ..marks import tensors_in
from ..recorder import Failed
from ..records import Branch, Operation, Shape, called

_AXES = {
    2: ("batch", "features"),
    3: ("batch", "channels", "length"),
    4: ("batch", "channels", "height", "width"),
    5: ("batch", "channels", "depth", "height", "width"),
}


@dataclass
class Cause:
    """What a rule found out.

    Attributes:
        code: the fault in one word or two.
        seen: what there is to see, with numbers.
        cause: why, most likely.
        fix: what to change.
        axis: the axis on which shapes differ.
        shapes: what met, by role, where the names of the arguments say less.
        operation: what the network was doing, where that is no torch function.
    """

    code: str
    seen: str
    cause: str
    fix: str
    axis: int | None = None
    shapes: dict[str, Shape] = field(default_factory=dict)
    operation: str = ""


@dataclass
class Evidence:
    """The operation that failed, and the graph up to there."""

    failed: Failed
    graph: Graph

    @property
    def name(self) -> str:
        return self.failed.name

    @property
    def inputs(self) -> tuple[int, ...]:
        return self.failed.inputs

    @property
    def place(self) -> str:
        """Where it is: ``layer1.0.conv1``."""
        return called(self.failed.call.path, self.failed.call.type)

    @cached_property
    def arguments(self) -> dict[str, Any]:
        return arguments_of(self.name, self.failed.args, self.failed.kwargs)

    @cached_property
    def shapes(self) -> list[Shape]:
        """The shapes of all tensors that went in."""
        return [tuple(tensor.shape) for tensor in tensors_in(self.arguments.values())]

    @cached_property
    def named_shapes(self) -> dict[str, Shape]:
        """The shapes of the tensors that went in, by the names of the arguments."""
        tensors = {key: value for key, value in self.arguments.items() if isinstance(value, Tensor)}
        if not tensors:
            return {f"tensor {i + 1}": shape for i, shape in enumerate(self.shapes)}
        return {key: tuple(tensor.shape) for key, tensor in tensors.items()}

    @cached_property
    def ancestry(self) -> Ancestry:
        return Ancestry(self.graph.values, self.graph.operations)

    def shape(self, argument: str) -> Shape:
        """Return the shape of an argument; ``()`` if it is no tensor."""
        value = self.arguments.get(argument)
        return tuple(value.shape) if isinstance(value, Tensor) else ()

    def operations(self, branch: Branch) -> list[Operation]:
        return [self.graph.operations[i] for i in branch.operations]

    def producer(self, value: int) -> Operation | None:
        """Return the operation that made a value."""
        index = self.graph.values[value].producer
        return None if index is None else self.graph.operations[index]

    def origin(self, value: int) -> str:
        """Return where a value comes from: ``layer1.0.bn2`` or ``the input``."""
        op = self.producer(value)
        return called(op.module, op.name) if op else f"the {self.graph.values[value].name}"


def axis_name(axis: int, dimensions: int) -> str:
    """Return what an axis holds: ``channels`` for axis 1 of four."""
    names = _AXES.get(dimensions, ())
    return names[axis] if axis < len(names) else ""


def axes_text(axes: Sequence[int], one: Shape, other: Shape) -> str:
    """Return how two shapes differ: ``axis 1 (channels): 256 against 64``."""
    parts = []
    for axis in axes:
        name = axis_name(axis, len(one))
        parts.append(
            f"axis {axis}{f' ({name})' if name else ''}: {one[axis]} against {other[axis]}"
        )
    return ", ".join(parts)


def axes_list(dimensions: int) -> str:
    """Return the names of a tensor's axes: ``batch, channels, height, width``."""
    return ", ".join(_AXES.get(dimensions, ()))
