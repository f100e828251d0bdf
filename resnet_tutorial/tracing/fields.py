"""How the receptive field grows from operation to operation.

A value's field is one ``ReceptiveField`` (size and jump, in input pixels) per spatial axis,
``"all"`` once something has looked at the whole image, or ``None`` where there is no image.
"""

from __future__ import annotations

from typing import Any

from ..shapes import ReceptiveField
from .records import WHOLE_IMAGE, Field, Shape

_REDUCTIONS = {"mean", "sum", "amax", "amin", "max", "min", "std", "var", "norm"}
# what changes sizes, and leaves every number with what it has seen
_KEEPING = {"flatten", "view", "reshape", "pad", "squeeze", "unflatten"}


def initial(shape: Shape) -> Field:
    """Return the field of an input: one pixel, for ``(N, C, L)`` up to ``(N, C, D, H, W)``."""
    axes = len(shape) - 2
    return (ReceptiveField(1, 1),) * axes if 1 <= axes <= 3 else None


def after(
    name: str, settings: dict[str, Any], fields: list[Field], inputs: list[Shape], output: Shape
) -> Field:
    """Return the field of an operation's output.

    Where branches meet, the output sees the largest of what they see.
    """
    field = widest(fields)
    if field is None or isinstance(field, str):
        return field
    axes = len(field)
    if name in ("linear", "matmul"):
        return WHOLE_IMAGE
    if name.startswith("adaptive_"):
        if not len(inputs[0]) == len(output) >= axes:
            return None
        return _adaptive(field, inputs[0][-axes:], output[-axes:])
    if "pool" in name and _covers(settings, inputs[0][-axes:]):
        return WHOLE_IMAGE
    if "kernel_size" in settings and not name.startswith("conv_transpose"):
        kernel, stride = settings["kernel_size"], settings["stride"]
        dilation = settings.get("dilation", (1,) * axes)
        if not len(kernel) == len(stride) == len(dilation) == axes:
            return None
        steps = zip(field, kernel, stride, dilation, strict=True)
        return tuple([axis if k == s == 1 else axis.through(k, s, d) for axis, k, s, d in steps])
    if name in _REDUCTIONS and inputs[0][-axes:] != output[-axes:]:
        return WHOLE_IMAGE
    if name == "getitem":
        return _indexed(field, settings["index"], len(inputs[0]))
    if output[-axes:] == inputs[0][-axes:] or name in _KEEPING:
        return field
    return None  # an operation that moves pixels in a way which this module does not know


def widest(fields: list[Field]) -> Field:
    """Return the larger of several fields, axis by axis."""
    if len(fields) == 1:
        return fields[0]
    if WHOLE_IMAGE in fields:
        return WHOLE_IMAGE
    known = [field for field in fields if isinstance(field, tuple)]
    if len({len(field) for field in known}) != 1:
        return known[0] if known else None
    return tuple(
        ReceptiveField(max(axis.size for axis in axes), max(axis.jump for axis in axes))
        for axes in zip(*known, strict=True)
    )


def _covers(settings: dict[str, Any], sizes: Shape) -> bool:
    """Tell whether a pooling looks at all of a map, and that is more than one position."""
    whole = settings.get("kernel_size") == sizes and not any(settings.get("padding", ()))
    return whole and any(size > 1 for size in sizes)


def _adaptive(field: tuple[ReceptiveField, ...], before: Shape, after: Shape) -> Field:
    if after == before:
        return field
    if all(size == 1 for size in after):
        return WHOLE_IMAGE
    if not all(0 < new <= old for old, new in zip(before, after, strict=True)):
        return None
    steps = zip(field, before, after, strict=True)
    return tuple([axis.through(-(-old // new), old // new) for axis, old, new in steps])


def _indexed(field: tuple[ReceptiveField, ...], index: Any, dimensions: int) -> Field:
    """Follow ``x[:, :, ::2, ::2]``: what is seen stays, what is skipped widens the jump."""
    parts = index if isinstance(index, tuple) else (index,)
    if len(parts) > dimensions or not all(isinstance(part, slice) for part in parts):
        return None
    parts = (*parts, *(slice(None),) * (dimensions - len(parts)))
    steps = [part.step or 1 for part in parts[-len(field) :]]
    return tuple(
        ReceptiveField(axis.size, axis.jump * abs(step))
        for axis, step in zip(field, steps, strict=True)
    )
