"""Layers that expect another input than they get."""

from __future__ import annotations

import math

from torch import Tensor

from ..records import Shape, text_of_shape
from .evidence import Cause, Evidence, axes_list
from .windows import too_small


def convolution(evidence: Evidence) -> Cause | None:
    """Explain a convolution that does not fit its input."""
    x, weight = evidence.shape("input"), evidence.shape("weight")
    if not x or not weight:
        return None
    wanted = len(weight)
    if len(x) not in (wanted, wanted - 1):
        return _axes(evidence, x, wanted)
    axis = 1 if len(x) == wanted else 0
    channels, groups = x[axis], evidence.arguments.get("groups", 1)
    expected = weight[1] * groups
    if weight[0] % groups or (channels % groups and channels != expected):
        count = weight[0] if weight[0] % groups else channels
        return Cause(
            "groups",
            f"{groups} groups do not divide {count} channels.",
            "Each group needs the same whole number of channels, on the way in and on the way out.",
            f"Choose a divisor of {count} for groups, or another number of channels.",
            axis,
        )
    if channels != expected:
        origin = (
            f", and {evidence.origin(evidence.inputs[0])} gives {channels}"
            if evidence.inputs
            else ""
        )
        return Cause(
            "in-channels",
            f"{evidence.name} in {evidence.place} expects {expected} channels and gets {channels}.",
            f"Its in_channels is {expected}{origin}.",
            f"Set in_channels={channels}, or let the layer before it give {expected}.",
            axis,
        )
    return too_small(evidence, weight[2:]) or _types(evidence)


def _axes(evidence: Evidence, x: Shape, wanted: int) -> Cause:
    seen = f"{evidence.name} wants {wanted} axes ({axes_list(wanted)}) and gets {text_of_shape(x)}."
    if len(x) == 2:
        return Cause(
            "axes",
            seen,
            "The map was flattened before the convolution.",
            "Flatten after the last convolution only.",
        )
    return Cause(
        "axes",
        seen,
        "An axis is missing or too many.",
        "Give it what it wants, the batch axis included.",
    )


def _types(evidence: Evidence) -> Cause | None:
    tensors = [evidence.arguments.get(key) for key in ("input", "weight")]
    types = sorted({str(tensor.dtype)[6:] for tensor in tensors if isinstance(tensor, Tensor)})
    if len(types) < 2:
        return None
    return Cause(
        "types",
        f"{evidence.name} meets the types {' and '.join(types)}.",
        "The input has another type than the weights.",
        "Convert the input, x.float(), or the network, model.double().",
    )


def linear(evidence: Evidence) -> Cause | None:
    """Explain a linear layer whose features do not come to the right number: the classifier's size."""
    x, weight = evidence.shape("input"), evidence.shape("weight")
    if not x or len(weight) != 2:
        return None
    expected, got = weight[1], x[-1]
    if expected == got:
        return _types(evidence)
    seen = f"linear in {evidence.place} expects {expected} features and gets {got}."
    cause = _unflattened(x, expected, seen) or _unpooled(evidence, expected, seen)
    if cause is None:
        hint = (
            " A Bottleneck network ends with 4 times its last planes."
            if got == 4 * expected
            else ""
        )
        cause = Cause(
            "classifier-size",
            seen,
            f"Its in_features is {expected}, and the network gives {got}.{hint}",
            f"Use nn.Linear({got}, {weight[0]}).",
        )
    cause.axis = len(x) - 1
    return cause


def _unflattened(x: Shape, expected: int, seen: str) -> Cause | None:
    if len(x) == 4 and math.prod(x[1:]) == expected:
        return Cause(
            "no-flatten",
            seen,
            "The map was not flattened: a linear layer works on the last axis.",
            "Put x = torch.flatten(x, 1) before it.",
        )
    if len(x) == 4 and x[1] == expected:
        return Cause(
            "no-pooling",
            seen,
            "The map was neither pooled nor flattened: a linear layer works on the last axis.",
            "Put x = torch.flatten(F.adaptive_avg_pool2d(x, 1), 1) before it.",
        )
    if len(x) == 1:
        return Cause(
            "batch",
            seen,
            "The batch axis is gone: flatten() and view(-1) take it along.",
            "Use torch.flatten(x, 1), which starts after the batch axis.",
        )
    return None


def _unpooled(evidence: Evidence, expected: int, seen: str) -> Cause | None:
    """Recognise a map that was flattened as it is, or at another size than the classifier's."""
    flattened = _flattened_map(evidence)
    if flattened is None:
        return None
    channels, height, width = flattened
    seen = f"{seen} They are {channels} channels of {height} x {width} pixels."
    if channels == expected:
        return Cause(
            "no-pooling",
            seen,
            f"The classifier is made for {expected} channels, and nothing pools the map.",
            "Put a global average pooling before the flattening: nn.AdaptiveAvgPool2d(1).",
        )
    if expected % channels:
        return None
    pixels = expected // channels
    side = math.isqrt(pixels)
    size = f"{side} x {side}" if side * side == pixels else str(pixels)
    classes = evidence.shape("weight")[0]
    return Cause(
        "classifier-size",
        seen,
        f"The classifier is made for a map of {size} pixels, and so for images of another size.",
        f"Pool globally before it, nn.AdaptiveAvgPool2d(1), and every size of image fits: "
        f"nn.Linear({channels}, {classes}).",
    )


def _flattened_map(evidence: Evidence) -> Shape | None:
    """Return channels, height and width of the map that was flattened into the input, if one was."""
    op = evidence.producer(evidence.inputs[0]) if evidence.inputs else None
    while op is not None and op.inputs and op.kind not in ("linear", "conv", "pool"):
        if op.name in ("flatten", "view", "reshape") and len(op.input_shapes[0]) == 4:
            return op.input_shapes[0][1:]
        op = evidence.producer(op.inputs[0])
    return None


def batch_norm(evidence: Evidence) -> Cause | None:
    """Explain a batch normalisation that was made for other channels, or has nothing to average."""
    x = evidence.shape("input")
    lengths = [evidence.shape(key) for key in ("weight", "running_mean") if evidence.shape(key)]
    if len(x) >= 2 and lengths and lengths[0] != x[1:2]:
        features = lengths[0][0]
        return Cause(
            "num-features",
            f"batch_norm in {evidence.place} expects {features} channels and gets {x[1]}.",
            f"Its num_features is {features}, and {evidence.origin(evidence.inputs[0])} gives {x[1]}.",
            f"Use nn.BatchNorm2d({x[1]}).",
            1,
            {"input": x, "num_features": lengths[0]},
        )
    if len(x) >= 2 and evidence.arguments.get("training") and math.prod(x) == x[1]:
        return Cause(
            "one-value",
            f"In training mode batch_norm needs more than one value per channel, and {text_of_shape(x)} has one.",
            "The map of a single image has shrunk to one pixel: there is nothing to take the variance of.",
            "Trace in evaluation mode (model.eval()), with a batch of two, or with a larger image.",
            shapes={"input": x},
        )
    return _types(evidence)
