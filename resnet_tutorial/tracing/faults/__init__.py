"""The faults that the tracer can explain: a rule for each kind of operation.

A rule looks at the shapes that met and at the branches they came through, not at torch's message,
which differs between versions.
``additions`` where branches meet; ``layers`` convolutions, linear layers, batch norms;
``joins`` concatenation, pooling, reshaping; ``python`` what is no operation's fault.
"""

from __future__ import annotations

from collections.abc import Callable

from ..records import text_of_shape
from .additions import elementwise
from .evidence import Cause, Evidence
from .joins import concatenation, matrix_product, pooling, reshaping
from .layers import batch_norm, convolution, linear

__all__ = ["Cause", "Evidence", "find"]

_RULES: dict[str, Callable[[Evidence], Cause | None]] = {
    **dict.fromkeys(("add", "sub", "mul", "div"), elementwise),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), convolution),
    **dict.fromkeys(("matmul", "mm", "bmm"), matrix_product),
    **dict.fromkeys(("cat", "stack"), concatenation),
    **dict.fromkeys(("view", "reshape"), reshaping),
    **dict.fromkeys([f"{how}_pool{n}d" for how in ("max", "avg") for n in (1, 2, 3)], pooling),
    "linear": linear,
    "batch_norm": batch_norm,
}


def find(evidence: Evidence) -> Cause:
    """Return the likely cause of a failure; the general one if no rule knows better."""
    if "leaf Variable" in str(evidence.failed.error):
        return _overwritten_parameter(evidence)
    rule = _RULES.get(evidence.name)
    return (rule(evidence) if rule else None) or _unknown(evidence)


def _overwritten_parameter(evidence: Evidence) -> Cause:
    return Cause(
        "overwrites-parameter",
        f"{evidence.name} overwrites a parameter during the forward pass.",
        "Autograd needs a parameter as it was; only an optimiser may change it.",
        "Compute a new tensor, w = self.weight + 1, or keep what changes by itself in a buffer.",
    )


def _unknown(evidence: Evidence) -> Cause:
    shapes = " and ".join(map(text_of_shape, evidence.named_shapes.values()))
    return Cause(
        "error",
        f"{evidence.name} cannot work on {shapes or 'what it was given'}.",
        "",
        "Print the shapes before this line, and compare them with what the operation expects.",
    )
