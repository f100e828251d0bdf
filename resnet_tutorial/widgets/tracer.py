"""The shape tracer as a widget: a network's tensors, from stages to layers, with its skip connections as arcs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from torch import nn
from traitlets import Bool, Dict, Enum, Int, Unicode

from ..tracing.records import Operation
from ..tracing.trace import Trace
from ..zoo import build_model
from .base import Widget

NETWORKS = (
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "cifar_resnet", "cifar_preact_resnet", "cifar_plain",
)  # fmt: skip
_SETTINGS = ("network", "size", "stem", "version", "groups", "width", "depth", "shortcut", "fault")
FAULTS = ("none", "no-projection", "projection-stride", "no-padding", "classifier")


def _state(trait: Any) -> Any:
    return trait.tag(sync=True, state=True)


class ShapeTracer(Widget):
    """A network as a list that opens from stages to blocks to layers, each tensor with its shape.

    ``ShapeTracer()`` lets the reader choose among the book's networks. ``ShapeTracer(model, (1, 3, 224, 224))`` draws
    any module, and says where and why it fails if it does.

    Args:
        model: a module or a :class:`Trace`; None for the book's networks, which the options choose.
        input_size: the shape of the module's input, or what :func:`trace` takes in its place.
        network: one of ``NETWORKS``; those for ImageNet have ``stem``, ``version``, ``groups`` and ``width``, those for
            small images ``depth`` and ``shortcut``.
        size: pixels along each side of the image, 16 to 320.
        stem: ``"imagenet"`` or ``"cifar"``.
        version: ``"v1.5"`` or ``"v1"``.
        groups, width: cardinality, and the width of a group in the first stage.
        depth: 8, 20, 32, 44, 56 or 110.
        shortcut: ``"A"``, ``"B"`` or ``"C"``.
        fault: what is broken on purpose, one of ``FAULTS``.
        level: ``"stages"``, ``"blocks"`` or ``"layers"``.
        toggled: what is open (or closed) against ``level``: names such as ``"layer2,layer2.0"``.
        selected: the row that is explained, ``"image"``, a name as above or ``"op7"`` for the eighth operation.
        hide: whether the reader predicts the shapes.
        compare: settings of a network to stand beside this one, where they differ: ``{"version": "v1"}``.

    Raises:
        TraitError: for a choice that there is not.
        ValueError: for a model without an input size.
    """

    _script = "tracer"

    network = _state(Enum(NETWORKS, "resnet50"))
    size = _state(Int(224, min=16, max=320))
    stem = _state(Enum(("imagenet", "cifar"), "imagenet"))
    version = _state(Enum(("v1.5", "v1"), "v1.5"))
    groups = _state(Enum((1, 2, 4, 8, 16, 32, 64), 1))
    width = _state(Int(64, min=4, max=128))
    depth = _state(Enum((8, 20, 32, 44, 56, 110), 20))
    shortcut = _state(Enum(("A", "B", "C"), "A"))
    fault = _state(Enum(FAULTS, "none"))
    level = _state(Enum(("stages", "blocks", "layers"), "stages"))
    toggled = _state(Unicode(""))
    selected = _state(Unicode("image"))
    kept = _state(Unicode(""))
    hide = _state(Bool(False))
    picture = _state(Dict(default_value=None, allow_none=True))

    def __init__(
        self, model: nn.Module | Trace | None = None, input_size: Any = None, *,
        compare: dict[str, Any] | None = None, **options: Any,
    ) -> None:  # fmt: skip
        if model is not None:
            picture = picture_of(_traced(model, input_size))
            begin = {"level": "layers", "selected": "failure" if picture["failure"] else "image"}
            options = {**begin, **options, "picture": picture}
        super().__init__(**options)
        if compare is not None:
            mine = {name: getattr(self, name) for name in _SETTINGS}
            other = ShapeTracer(**{**mine, **compare})  # refuses what there is not
            self.kept = json.dumps({name: getattr(other, name) for name in _SETTINGS})

    def fallback(self) -> str:
        """Return the trace as a table, stage by stage."""
        if self.picture:
            title, rows = self.picture["title"], self.picture["operations"]
        else:
            traced = self.as_trace()
            title, rows = traced.name, picture_of(traced)["operations"]
        cells = "".join(
            f"<tr><td>{escape(row['path'])}</td><td>{escape(row['label'])}</td>"
            f"<td>{escape(' × '.join(map(str, row['shape'])))}</td></tr>"
            for row in rows if row["kind"] in ("conv", "add", "pool", "linear", "concat")
        )  # fmt: skip
        head = "<tr><th>module</th><th>operation</th><th>output</th></tr>"
        summary = f"<summary>{escape(title)}: every convolution, pooling and addition, with its output</summary>"
        return f"<details>{summary}<table>{head}{cells}</table></details>"

    def as_trace(self) -> Trace:
        """Trace the network that the settings name, without a fault."""
        import torch

        name, options = self.network, {}
        if name.startswith("cifar"):
            name += str(self.depth)
            if self.network != "cifar_plain":
                options = {"shortcut": self.shortcut}
        else:
            options = {"stem": self.stem}
            if name not in ("resnet18", "resnet34"):
                options |= {"version": self.version, "groups": self.groups, "base_width": self.width}
        with torch.device("meta"):
            model = build_model(name, **options)
        return _traced(model.eval(), (1, 3, self.size, self.size))


def _traced(model: nn.Module | Trace, input_size: Any) -> Trace:
    if isinstance(model, Trace):
        return model
    if input_size is None:
        raise ValueError("Say with which input the model is traced: ShapeTracer(model, (1, 3, 224, 224)).")
    from ..tracer import trace

    return trace(model, input_size)


def picture_of(traced: Trace) -> dict[str, Any]:
    """Return a trace in the form that the JavaScript draws: shapes without the batch axis, one value an operation."""
    number = {value.id: 0 if value.producer is None else value.producer + 1 for value in traced.values}
    inputs = [value for value in traced.values if value.producer is None]
    first = inputs[0].shape if inputs else ()
    values = [{"shape": _without_batch(first), "field": _field(inputs[0].field) if inputs else None}]
    operations = []
    for operation in traced.operations:
        shape, field = _without_batch(operation.output_shape), _field(operation.field)
        values.append({"shape": shape, "field": field})
        operations.append({
            "index": operation.index, "name": operation.name, "kind": operation.kind, "path": operation.module,
            "inputs": sorted({number[i] for i in operation.inputs}) or [0],
            "shapes": [_without_batch(s) for s in operation.input_shapes], "shape": shape, "params": operation.params,
            "macs": operation.macs, "bytes": operation.bytes, "field": field, "settings": _settings(operation),
            "label": operation.label, "source": _source(operation),
        })  # fmt: skip
    return {
        "title": traced.name, "input": "input", "operations": operations, "values": values,
        "failure": _failure(traced, number), "warnings": [warning.message for warning in traced.warnings],
    }  # fmt: skip


def _without_batch(shape: Sequence[int]) -> list[int]:
    return list(shape[1:]) if len(shape) > 1 else list(shape)


def _field(field: Any) -> dict[str, int] | str | None:
    return {"size": field[0].size, "jump": field[0].jump} if isinstance(field, tuple) and field else field or None


def _settings(operation: Operation) -> dict[str, int]:
    """Return a square convolution's or a linear layer's numbers; what is not square is told by its label alone."""
    known = operation.settings
    if operation.kind == "conv" and operation.name == "conv2d":
        pairs = {"kernel": known["kernel_size"], "stride": known["stride"], "padding": known.get("padding", (0, 0))}
        plain = known.get("dilation") == (1, 1) and len(operation.parameters) == 1
        if plain and all(isinstance(pair, tuple) and len(set(pair)) == 1 for pair in pairs.values()):
            return {**{name: pair[0] for name, pair in pairs.items()}, "groups": known["groups"]}
    if operation.name == "linear" and len(operation.parameters) == 2:
        classes, features = operation.parameter_shapes[0]
        return {"features": features, "classes": classes}
    return {}


def _source(operation: Operation) -> str | None:
    return f"{operation.source}: {operation.source.text}" if operation.source else None


def _failure(traced: Trace, number: dict[int, int]) -> dict[str, Any] | None:
    failure = traced.failure
    if failure is None:
        return None
    return {
        "name": failure.operation, "path": failure.module, "message": failure.message, "cause": failure.cause,
        "fix": failure.fix, "shapes": [_without_batch(shape) for shape in failure.shapes.values()],
        "inputs": sorted({number[i] for i in failure.inputs if i in number}),
    }  # fmt: skip
