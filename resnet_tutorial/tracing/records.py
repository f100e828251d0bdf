"""What a trace consists of: plain records without tensors, ready for JSON.

A trace is a graph: :class:`Value` records are its tensors, :class:`Operation` records are its
nodes, and an operation's ``inputs`` and ``outputs`` are the edges, as numbers of values.
:class:`ModuleCall` records say which stretch of operations belongs to which module, and
:class:`Merge` records name the fork and the branches of every addition or concatenation.
"""

from __future__ import annotations

import linecache
import math
import os
import textwrap
from dataclasses import asdict, dataclass, field
from types import CodeType
from typing import Any

from ..shapes import ReceptiveField

Shape = tuple[int, ...]

# What a value sees of the image: one ReceptiveField per axis, all of it, or unknown.
WHOLE_IMAGE = "all"
Field = tuple[ReceptiveField, ...] | str | None


def text_of_shape(shape: Shape) -> str:
    """Return a shape as the tables write it, for example ``(1, 64, 56, 56)``."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def text_of_field(field: Field) -> str:
    """Return a receptive field as the tables write it: ``35``, ``7 x 3``, ``all`` or nothing."""
    if field is None:
        return ""
    if isinstance(field, str):
        return field
    sizes = [axis.size for axis in field]
    return str(sizes[0]) if len(set(sizes)) == 1 else " x ".join(map(str, sizes))


def called(path: str, otherwise: str) -> str:
    """Return what to call a module in a sentence: its path, ``module 3`` for a bare number."""
    if not path:
        return otherwise
    return f"module {path}" if path.isdigit() else path


class Source:
    """The line of the learner's code that asked for an operation.

    The text is read only when somebody asks for it, through ``linecache``, which knows the
    cells of a notebook as well as files.
    """

    __slots__ = ("_code", "_instruction", "line")

    def __init__(self, code: CodeType, line: int, instruction: int) -> None:
        self._code = code
        self.line = line
        self._instruction = instruction

    @property
    def file(self) -> str:
        """Path of the file; of a notebook's cell, the name that the kernel gave it."""
        return self._code.co_filename

    @property
    def place(self) -> str:
        """The file without its folder: ``blocks.py``, or ``the notebook``."""
        if "ipykernel" in self.file or self.file.startswith("<"):
            return "the notebook"
        return os.path.basename(self.file)

    @property
    def function(self) -> str:
        return self._code.co_qualname

    @property
    def text(self) -> str:
        """The line as it was written, without its indentation."""
        return linecache.getline(self.file, self.line).strip()

    @property
    def expression(self) -> str:
        """The part of the line that was running, for example ``self.conv1(x)``."""
        positions = list(self._code.co_positions())[self._instruction // 2]
        line, end_line, start, end = positions
        if line is None or start is None or end is None:
            return self.text
        if end_line != line:
            return linecache.getline(self.file, line).strip()
        # co_positions counts bytes, not characters
        return linecache.getline(self.file, line).encode()[start:end].decode()

    def to_dict(self) -> dict[str, Any]:
        return {
            "file": self.place, "line": self.line, "function": self.function,
            "text": self.text, "expression": self.expression,
        }  # fmt: skip

    def __str__(self) -> str:
        return f"{self.place}, line {self.line}"

    def __repr__(self) -> str:
        return f"Source({self.file!r}, line {self.line}: {self.text!r})"


@dataclass(slots=True)
class Value:
    """One tensor of the network: an edge of the graph.

    ``producer`` is the number of the operation that made it, ``None`` for an input.
    ``memory`` numbers the storage: a view and an in-place result share it with their source.
    """

    id: int
    shape: Shape
    dtype: str
    bytes: int
    producer: int | None
    memory: int
    name: str = ""
    field: Field = None

    def to_dict(self) -> dict[str, Any]:
        record = {slot: getattr(self, slot) for slot in self.__slots__}
        if isinstance(self.field, tuple):
            record["field"] = [axis._asdict() for axis in self.field]
        return record


@dataclass(slots=True)
class Operation:
    """One step of the forward pass: a node of the graph.

    Attributes:
        index: position in the order of execution, from 0.
        name: what was computed, the same for a module and a function: ``"conv2d"``, ``"add"``.
        kind: ``conv``, ``norm``, ``activation``, ``add``, ``concat``, ``pool``, ``linear``,
            ``shape`` or ``other``; what a picture colours by.
        settings: kernel size, stride and the like.
        inputs, outputs: numbers of values.
        input_shapes, output_shapes: their shapes, so that one need not look them up.
        parameters: names of the parameters that it uses.
        parameter_shapes: their shapes.
        params: how many numbers these hold; those that an earlier operation has counted are left out.
        macs: multiply-accumulates; a bias counts as one more weight, as in torchinfo.
        bytes: memory of the output; 0 for a view or an in-place operation.
        module: path of the innermost module that was running, ``""`` for the network itself.
        module_type: its class.
        call: number of the module call.
        in_place: whether it overwrote its input.
        source: the learner's line.
    """

    index: int
    name: str
    kind: str
    settings: dict[str, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    input_shapes: tuple[Shape, ...]
    output_shapes: tuple[Shape, ...]
    parameters: tuple[str, ...]
    parameter_shapes: tuple[Shape, ...]
    params: int
    macs: int
    bytes: int
    module: str
    module_type: str
    call: int
    in_place: bool
    source: Source | None
    field: Field = None

    @property
    def output_shape(self) -> Shape:
        """Shape of the only, or the first, output."""
        return self.output_shapes[0] if self.output_shapes else ()

    @property
    def label(self) -> str:
        """The name with the settings that one wants to see: ``conv2d 3x3, stride 2``."""
        return label(self.name, self.settings)

    def to_dict(self) -> dict[str, Any]:
        record = {slot: getattr(self, slot) for slot in self.__slots__}
        record["label"] = self.label
        record["settings"] = {key: _plain(value) for key, value in self.settings.items()}
        record["source"] = self.source.to_dict() if self.source else None
        record["field"] = text_of_field(self.field)
        return record


def label(name: str, settings: dict[str, Any]) -> str:
    """Return an operation's name with its visible settings."""
    if "kernel_size" in settings:
        name = f"{name} {_each_axis(settings['kernel_size'])}"
    elif "output_size" in settings:
        name = f"{name} to {_each_axis(settings['output_size'])}"
    elif "detail" in settings:
        name = f"{name} {settings['detail']}"
    shown = [
        f"{key} {_once(settings[key])}"
        for key in ("stride", "dilation", "groups")
        if _once(settings.get(key, 1)) != "1"
    ]
    return ", ".join([name, *shown])


def _each_axis(value: Any) -> str:
    """Write ``(3, 3)`` as ``3x3``."""
    return "x".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def _once(value: Any) -> str:
    """Write ``(2, 2)`` as ``2`` and ``(2, 1)`` as ``2x1``."""
    if isinstance(value, (tuple, list)) and len(set(value)) == 1:
        return str(value[0])
    return _each_axis(value)


def _plain(value: Any) -> Any:
    """Return a value that JSON knows."""
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return str(value)


def place_of(op: Operation) -> str:
    """Return what to call an operation in a sentence: ``add in layer1.0 (line 12)``."""
    where = f" in {called(op.module, op.module_type)}" if op.module else ""
    line = f" (line {op.source.line})" if op.source else ""
    return f"{op.name}{where}{line}"


@dataclass(slots=True)
class ModuleCall:
    """One call of one module: operations ``first`` up to, not including, ``last``.

    A module that is called twice has two calls with the same ``path``.
    """

    id: int
    path: str
    type: str
    parent: int | None
    depth: int
    first: int
    last: int
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class Branch:
    """One way into a merge: the operations between the fork and the merge, none for an identity."""

    value: int
    shape: Shape
    operations: tuple[int, ...]
    field: Field = None

    @property
    def is_identity(self) -> bool:
        return not self.operations


@dataclass(slots=True)
class Merge:
    """Where branches meet: an addition, a concatenation, a product.

    Attributes:
        operation: number of the operation.
        fork: number of the value from which all branches start; ``None`` if they share none.
        branches: in the order of the operation's inputs.
        shortcut: which of the branches is the shorter one; ``None`` where two are equally long.
    """

    operation: int
    name: str
    fork: int | None
    branches: tuple[Branch, ...]
    shortcut: int | None

    def to_dict(self) -> dict[str, Any]:
        record = {slot: getattr(self, slot) for slot in self.__slots__}
        record["branches"] = [
            {
                "value": branch.value, "shape": branch.shape, "operations": branch.operations,
                "field": text_of_field(branch.field), "identity": branch.is_identity,
            }
            for branch in self.branches
        ]  # fmt: skip
        return record


@dataclass(slots=True)
class Finding:
    """A warning: what was seen, and what to do about it."""

    code: str
    message: str
    fix: str
    operation: int | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.message} {self.fix}"


@dataclass(slots=True)
class Failure:
    """Why a trace ends early.

    Attributes:
        code: the kind of fault in one word, for example ``"no-projection"``.
        operation: name of the operation that failed, or of what the network was doing.
        module, module_type: where.
        shapes: what met there, by role: ``{"branch": (1, 256, 56, 56), "shortcut": ...}``.
        axis: the axis on which they differ, ``None`` where that is not the matter.
        message: what was seen, in plain words.
        cause: why, most likely.
        fix: what to change.
        error: Python's own message, with the class of the exception.
        source: the learner's line.
        inputs: numbers of the values that went in.
    """

    code: str
    operation: str
    module: str
    module_type: str
    message: str
    cause: str
    fix: str
    error: str
    shapes: dict[str, Shape] = field(default_factory=dict)
    axis: int | None = None
    source: Source | None = None
    inputs: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        record = {slot: getattr(self, slot) for slot in self.__slots__}
        record["source"] = self.source.to_dict() if self.source else None
        return record

    @property
    def title(self) -> str:
        """Where the trace ends: ``The trace ends at add in layer1.0 (Bottleneck)``."""
        kind = f" ({self.module_type})" if self.module else ""
        return (
            f"The trace ends at {self.operation} in {called(self.module, self.module_type)}{kind}"
        )

    @property
    def notes(self) -> list[tuple[str, str]]:
        """What there is to say, with headings."""
        pairs = [
            ("Seen", self.message), ("Cause", self.cause), ("Fix", self.fix), ("Python said", self.error),
        ]  # fmt: skip
        return [(heading, text) for heading, text in pairs if text]

    def __str__(self) -> str:
        lines = [f"{self.title}:"]
        if self.source:
            lines.append(f"  {self.source}:  {self.source.text}")
        width = max((len(role) for role in self.shapes), default=0)
        lines += [
            f"    {role:<{width}}  {text_of_shape(shape)}" for role, shape in self.shapes.items()
        ]
        for heading, text in self.notes:
            lines.append(wrapped(f"  {heading + ':':<13}", text))
        return "\n".join(lines)


def wrapped(start: str, text: str) -> str:
    """Return a text behind its heading, broken at 100 columns."""
    space = " " * len(start)
    return textwrap.fill(
        text, 100, initial_indent=start, subsequent_indent=space,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
