"""Windows that are larger than the map."""

from __future__ import annotations

from collections.abc import Sequence

from .evidence import Cause, Evidence


def too_small(evidence: Evidence, kernel: Sequence[int]) -> Cause | None:
    """Return the cause if a convolution's or a pooling's window does not fit into its input."""
    x, padding = evidence.shape("input"), evidence.arguments.get("padding", 0)
    axes = len(kernel)
    if isinstance(padding, str):
        return None  # "same" fits always
    paddings = [padding] * axes if isinstance(padding, int) else [*padding] * (axes // len(padding))
    first = len(x) - axes
    for axis, (size, window, p) in enumerate(zip(x[first:], kernel, paddings, strict=True), first):
        if window > size + 2 * p:
            return Cause(
                "too-small",
                f"A window of {window} does not fit into a map of {size} with a padding of {p}.",
                "The image is too small for so many strides: the map has shrunk below the window.",
                "Use a larger image or fewer strides (a CIFAR stem for 32 x 32); "
                "for a pooling over the whole map, nn.AdaptiveAvgPool2d(1).",
                axis,
            )
    return None
