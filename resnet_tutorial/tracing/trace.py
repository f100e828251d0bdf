"""``Trace``: what one forward pass of a network consisted of."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from torch import nn

from . import branches, difference, markup, text
from .difference import Difference
from .inputs import is_numbered
from .records import Failure, Finding, Merge, ModuleCall, Operation, Shape, Value, text_of_field


class Trace:
    """The operations of one forward pass, and what is wrong with it.

    ``print(trace)`` shows a table, and so does a notebook.

    Attributes:
        name: class of the network.
        inputs: names and shapes of the inputs.
        training: whether the network was in training mode.
        operations, values, calls: nodes, edges and module calls of the graph, see ``records``.
        outputs: numbers of the values that the network returned.
        parameters: name and shape of every parameter of the network, used or not.
        failure: why the trace ends early; ``None`` if it does not.
        warnings: what runs but is probably not meant.
    """

    def __init__(
        self,
        *,
        name: str,
        inputs: Sequence[tuple[str, Shape]] = (),
        training: bool = False,
        values: list[Value] | None = None,
        operations: list[Operation] | None = None,
        calls: list[ModuleCall] | None = None,
        outputs: tuple[int, ...] = (),
        parameters: Mapping[str, Shape] | None = None,
        failure: Failure | None = None,
    ) -> None:
        self.name = name
        self.inputs = list(inputs)
        self.training = training
        self.values = values or []
        self.operations = operations or []
        self.calls = calls or []
        self.outputs = outputs
        self.parameters = dict(parameters or {})
        self.failure = failure
        self.warnings: list[Finding] = []

    # -- totals ------------------------------------------------------------------------------

    @property
    def ok(self) -> bool:
        """Whether the forward pass reached its end."""
        return self.failure is None

    @property
    def params(self) -> int:
        """Parameters of the network, each counted once, used or not."""
        return sum(math.prod(shape) for shape in self.parameters.values())

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all convolutions and matrix products."""
        return sum(operation.macs for operation in self.operations)

    @property
    def activation_bytes(self) -> int:
        """Memory of all intermediate results together, in bytes."""
        return sum(operation.bytes for operation in self.operations)

    @property
    def output_shapes(self) -> list[Shape]:
        return [self.values[i].shape for i in self.outputs]

    @property
    def output_shape(self) -> Shape | None:
        """Shape of the only, or the first, output; ``None`` if there is none."""
        return self.values[self.outputs[0]].shape if self.outputs else None

    @cached_property
    def merges(self) -> list[Merge]:
        """Where branches meet: each addition and concatenation, with its fork and its branches."""
        return branches.merges(self.values, self.operations)

    # -- access ------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.operations)

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)

    def __getitem__(self, key: int | slice | str) -> Any:
        """Return an operation by number, several by slice, or those below a module by its path."""
        if isinstance(key, str):
            inside = [
                op for op in self.operations if op.module == key or op.module.startswith(key + ".")
            ]
            if not inside:
                raise KeyError(f"no operation ran in a module {key!r}")
            return inside
        return self.operations[key]

    def to_records(self) -> list[dict[str, Any]]:
        """Return one flat dictionary an operation, for whatever takes rows."""
        return [
            {
                "operation": op.name,
                "label": op.label,
                "kind": op.kind,
                "module": op.module,
                "module_type": op.module_type,
                "input_shapes": op.input_shapes,
                "output_shape": op.output_shape,
                "params": op.params,
                "macs": op.macs,
                "bytes": op.bytes,
                "receptive_field": text_of_field(op.field),
                "in_place": op.in_place,
                "file": op.source.place if op.source else None,
                "line": op.source.line if op.source else None,
                "source": op.source.text if op.source else None,
            }
            for op in self.operations
        ]

    def to_dataframe(self) -> Any:
        """Return the operations as a pandas ``DataFrame``.

        Raises:
            ImportError: if pandas is not installed; ``to_records()`` does without.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError(
                "to_dataframe() needs pandas (pip install pandas); to_records() returns the same rows without."
            ) from error
        return pandas.DataFrame.from_records(self.to_records())

    def to_dict(self) -> dict[str, Any]:
        """Return the whole graph as dictionaries and lists that JSON can hold."""
        return {
            "name": self.name,
            "training": self.training,
            "inputs": [{"name": name, "shape": list(shape)} for name, shape in self.inputs],
            "values": [value.to_dict() for value in self.values],
            "operations": [operation.to_dict() for operation in self.operations],
            "calls": [call.to_dict() for call in self.calls],
            "merges": [merge.to_dict() for merge in self.merges],
            "outputs": list(self.outputs),
            "parameters": {name: list(shape) for name, shape in self.parameters.items()},
            "params": self.params,
            "macs": self.macs,
            "activation_bytes": self.activation_bytes,
            "failure": self.failure.to_dict() if self.failure else None,
            "warnings": [warning.to_dict() for warning in self.warnings],
        }

    def to_json(self, **options: Any) -> str:
        """Return :meth:`to_dict` as JSON; the options go to ``json.dumps``."""
        return json.dumps(self.to_dict(), **options)

    def diff(self, other: Trace | nn.Module) -> Difference:
        """Return the first operation in which another network differs; false if none does.

        A module is traced first, with inputs of the same shapes.
        """
        if not isinstance(other, Trace):
            from .run import trace

            named = {name: shape for name, shape in self.inputs if not is_numbered(name)}
            other = trace(other, named or [shape for _, shape in self.inputs])
        return difference.compare(self, other)

    # -- display -----------------------------------------------------------------------------

    def table(self, collapse: bool = True, depth: int | None = None) -> str:
        """Return the table as text.

        Args:
            collapse: show blocks that repeat once; ``False`` writes all of them out.
            depth: show what stands deeper in one row: 1 for stages, 2 for blocks.
        """
        return text.as_text(self, collapse, depth)

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        end = f"ends at {self.failure.operation}" if self.failure else "complete"
        return f"<Trace of {self.name}: {len(self)} operations, {end}>"

    def _repr_html_(self) -> str:
        return markup.as_html(self)
