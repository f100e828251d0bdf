"""The graph while it grows: values, operations and module calls, without tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from . import fields
from .kinds import KIND_OF, macs_of, settings_of
from .records import ModuleCall, Operation, Shape, Source, Value


class Graph:
    """Collects what a forward pass does, in the order of execution."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.operations: list[Operation] = []
        self.calls: list[ModuleCall] = []
        self.inputs: list[int] = []
        self._open: list[ModuleCall] = []
        self._counted: set[str] = set()

    @property
    def call(self) -> ModuleCall:
        """The innermost module call that is running."""
        if not self._open:
            self.begin_call("", "network", ())  # a model that overrides __call__ runs no hook
        return self._open[-1]

    def begin_call(self, path: str, kind: str, inputs: tuple[int, ...]) -> None:
        parent = self._open[-1].id if self._open else None
        first = len(self.operations)
        call = ModuleCall(
            len(self.calls), path, kind, parent, len(self._open), first, first, inputs
        )
        self._open.append(call)
        self.calls.append(call)

    def end_call(self, outputs: tuple[int, ...]) -> None:
        if self._open:
            call = self._open.pop()
            call.last = len(self.operations)
            call.outputs = outputs

    def close(self) -> None:
        """End all calls: after an error some may be open."""
        while self._open:
            self.end_call(())

    def add_input(self, tensor: Tensor, name: str) -> Value:
        value = self.add_value(tensor, None, None, name)
        value.field = fields.initial(value.shape)
        self.inputs.append(value.id)
        return value

    def add_value(
        self, tensor: Tensor, producer: int | None, memory: int | None = None, name: str = ""
    ) -> Value:
        """Write down a tensor; ``memory`` is that of the value whose storage it shares."""
        number = len(self.values)
        shape, dtype = tuple(tensor.shape), tensor.dtype
        value = Value(
            number, shape, str(dtype)[6:], math.prod(shape) * dtype.itemsize, producer,
            number if memory is None else memory, name,
        )  # fmt: skip
        self.values.append(value)
        return value

    def add_operation(
        self,
        name: str,
        arguments: dict[str, Any],
        inputs: Sequence[int],
        outputs: Sequence[Value],
        parameters: dict[str, Tensor],
        in_place: bool,
        source: Source | None,
    ) -> None:
        """Write down an operation whose outputs have been added."""
        before = [self.values[i] for i in inputs]
        input_shapes: list[Shape] = [value.shape for value in before]
        output_shape = outputs[0].shape
        settings = settings_of(name, arguments)
        field = fields.after(name, settings, [v.field for v in before], input_shapes, output_shape)
        for value in outputs:
            value.field = field
        new = [parameter for parameter in parameters if parameter not in self._counted]
        self._counted.update(new)
        call = self.call
        self.operations.append(
            Operation(
                index=len(self.operations),
                name=name,
                kind=KIND_OF.get(name, "other"),
                settings=settings,
                inputs=tuple(inputs),
                outputs=tuple([value.id for value in outputs]),
                input_shapes=tuple(input_shapes),
                output_shapes=tuple([value.shape for value in outputs]),
                parameters=tuple(parameters),
                parameter_shapes=tuple([tuple(tensor.shape) for tensor in parameters.values()]),
                params=sum([parameters[parameter].numel() for parameter in new]),
                macs=macs_of(name, input_shapes, output_shape, arguments),
                bytes=sum([value.bytes for value in outputs if value.memory == value.id]),
                module=call.path,
                module_type=call.type,
                call=call.id,
                in_place=in_place,
                source=source,
                field=field,
            )
        )
