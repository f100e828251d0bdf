"""Concatenation, pooling, reshaping, matrix products."""

from __future__ import annotations

import math

from ..records import text_of_shape
from .evidence import Cause, Evidence, axis_name
from .windows import too_small


def concatenation(evidence: Evidence) -> Cause | None:
    """Explain tensors that cannot be joined."""
    if not evidence.shapes:
        return None
    first = evidence.shapes[0]
    dim = evidence.arguments.get("dim", 0) % max(len(first), 1)
    for number, shape in enumerate(evidence.shapes[1:], start=2):
        shapes = {"tensor 1": first, f"tensor {number}": shape}
        if len(shape) != len(first):
            return Cause(
                "axes",
                f"The tensors have {len(first)} axes and {len(shape)}.",
                "One of them was flattened.",
                "Join them before anything flattens them.",
                shapes=shapes,
            )
        for axis, (a, b) in enumerate(zip(first, shape, strict=True)):
            if a != b and axis != dim:
                cause = _misfit(first, dim, axis, a, b)
                cause.shapes = shapes
                return cause
    return None


def _misfit(first: tuple[int, ...], dim: int, axis: int, a: int, b: int) -> Cause:
    along, name = axis_name(dim, len(first)), axis_name(axis, len(first))
    seen = (
        f"cat joins along axis {dim} ({along}), where all other axes must be equal, "
        f"and axis {axis} ({name}) is {a} against {b}."
    )
    if axis > 1:
        why, fix = (
            "One branch strides or pads otherwise.",
            "Give the branches the same stride and padding.",
        )
    else:
        why, fix = f"dim={dim} is not the axis that is meant.", "Channels are joined with dim=1."
    return Cause("cat", seen, why, fix, axis)


def pooling(evidence: Evidence) -> Cause | None:
    """Explain a pooling whose window is larger than the map."""
    kernel = evidence.arguments.get("kernel_size")
    if not evidence.shape("input") or kernel is None:
        return None
    axes = int(evidence.name[-2])
    return too_small(evidence, (kernel,) * axes if isinstance(kernel, int) else kernel)


def reshaping(evidence: Evidence) -> Cause | None:
    """Explain a ``view`` or ``reshape`` to sizes that hold another number of numbers."""
    if not evidence.shapes:
        return None
    x, wanted = evidence.shapes[0], []
    for value in list(evidence.arguments.values())[1:]:
        wanted += [
            n
            for n in (value if isinstance(value, (tuple, list)) else [value])
            if isinstance(n, int)
        ]
    known = math.prod(n for n in wanted if n != -1)
    count = math.prod(x)
    if not wanted or count == known or (-1 in wanted and known and count % known == 0):
        return None
    return Cause(
        "reshape",
        f"{text_of_shape(x)} holds {count:,} numbers, which do not fill {text_of_shape(tuple(wanted))}.",
        "The sizes in the code were worked out for another image size or another width.",
        "Write torch.flatten(x, 1): it takes whatever comes and keeps the batch axis.",
        shapes={"input": x},
    )


def matrix_product(evidence: Evidence) -> Cause | None:
    """Explain a product of matrices whose inner sizes differ."""
    if len(evidence.shapes) != 2 or not all(evidence.shapes):
        return None
    one, other = evidence.shapes
    rows = other[-2] if len(other) > 1 else other[0]
    if one[-1] == rows:
        return None
    return Cause(
        "matmul",
        f"The rows of the first have {one[-1]} numbers, the columns of the second {rows}.",
        "A matrix product needs both to be equal.",
        "Transpose one of them, or correct its size.",
        len(one) - 1,
        {"first": one, "second": other},
    )
