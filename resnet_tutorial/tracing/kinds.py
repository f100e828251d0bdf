"""What an operation is, by its name: its kind, its arguments and settings, its MACs."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from .records import Shape

_KINDS = {
    "conv": ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    "norm": ("batch_norm", "group_norm", "layer_norm", "instance_norm", "local_response_norm", "rms_norm"),
    "activation": (
        "relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish",
        "sigmoid", "hardsigmoid", "tanh", "hardtanh", "hardswish", "softplus", "softmax",
        "log_softmax", "threshold", "logsigmoid", "softsign", "tanhshrink", "glu",
    ),
    "add": ("add", "sub"),
    "concat": ("cat", "stack", "hstack", "vstack"),
    "pool": (
        "max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d",
        "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d",
        "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d",
        "mean", "amax", "lp_pool2d", "fractional_max_pool2d",
    ),
    "linear": ("linear", "matmul", "mm", "bmm", "addmm", "bilinear", "einsum"),
    "shape": (
        "flatten", "view", "reshape", "pad", "getitem", "permute", "transpose", "squeeze", "unsqueeze",
        "contiguous", "expand", "repeat", "chunk", "split", "narrow", "t", "T", "mT", "swapaxes",
        "movedim", "unflatten", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "interpolate",
        "upsample", "roll", "flip", "select", "unbind", "view_as", "expand_as", "reshape_as", "index_select",
    ),
}  # fmt: skip
KIND_OF = {name: kind for kind, names in _KINDS.items() for name in names}


# the arguments after the tensors, in the order in which the functions take them
_CONV = ("stride", "padding", "dilation", "groups")
_CONV_TRANSPOSE = ("stride", "padding", "output_padding", "groups", "dilation")
_MAX_POOL = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
_AVG_POOL = (
    "kernel_size",
    "stride",
    "padding",
    "ceil_mode",
    "count_include_pad",
    "divisor_override",
)
_ARGUMENTS = {
    **{f"conv{n}d": ("input", "weight", "bias", *_CONV) for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": ("input", "weight", "bias", *_CONV_TRANSPOSE) for n in (1, 2, 3)},
    **{f"max_pool{n}d": ("input", *_MAX_POOL) for n in (1, 2, 3)},
    **{f"avg_pool{n}d": ("input", *_AVG_POOL) for n in (1, 2, 3)},
    **{f"adaptive_{how}_pool{n}d": ("input", "output_size") for how in ("avg", "max") for n in (1, 2, 3)},
    "linear": ("input", "weight", "bias"),
    "embedding": ("input", "weight"),
    "batch_norm": (
        "input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps",
    ),
    "group_norm": ("input", "num_groups", "weight", "bias", "eps"),
    "layer_norm": ("input", "normalized_shape", "weight", "bias", "eps"),
    "relu": ("input", "inplace"),
    "dropout": ("input", "p", "training", "inplace"),
    "flatten": ("input", "start_dim", "end_dim"),
    "mean": ("input", "dim", "keepdim"),
    "sum": ("input", "dim", "keepdim"),
    "pad": ("input", "pad", "mode", "value"),
    "cat": ("tensors", "dim"),
    "getitem": ("input", "index"),
    **dict.fromkeys(("add", "sub", "mul", "div", "matmul", "pow"), ("input", "other")),
}  # fmt: skip
_DEFAULTS: dict[str, dict[str, Any]] = {
    **{f"conv{n}d": {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} for n in (1, 2, 3)},
    **{
        f"conv_transpose{n}d": {
            "stride": 1,
            "padding": 0,
            "output_padding": 0,
            "dilation": 1,
            "groups": 1,
        }
        for n in (1, 2, 3)
    },
    **{f"max_pool{n}d": {"padding": 0, "dilation": 1, "ceil_mode": False} for n in (1, 2, 3)},
    **{f"avg_pool{n}d": {"padding": 0, "ceil_mode": False} for n in (1, 2, 3)},
    "flatten": {"start_dim": 0, "end_dim": -1},
    "mean": {"keepdim": False},
    "cat": {"dim": 0},
}
# what one axis of a convolution or a pooling can be given singly for all axes
_PER_AXIS = {"kernel_size", "stride", "padding", "dilation", "output_padding", "output_size"}
# settings that do not change what is computed
_UNIMPORTANT = {
    "inplace", "training", "momentum", "input", "weight", "bias", "out", "generator", "return_indices",
}  # fmt: skip


def arguments_of(name: str, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return a call's arguments by name; where this module knows none, by number."""
    names = _ARGUMENTS.get(name)
    if names is None:
        second = "other" if len(args) > 1 and isinstance(args[1], Tensor) else "arg1"
        names = ("input", second, *[f"arg{i}" for i in range(2, len(args))])
    return {**_DEFAULTS.get(name, {}), **dict(zip(names, args, strict=False)), **kwargs}


def settings_of(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return what distinguishes this call from another of the same function: no tensors."""
    axes = _axes(name)
    settings: dict[str, Any] = {}
    if axes and (weight := arguments.get("weight")) is not None:
        settings["kernel_size"] = tuple(weight.shape[2:])
    for key, value in arguments.items():
        if key in _UNIMPORTANT or value is None or isinstance(value, Tensor):
            continue
        if isinstance(value, (list, tuple)) and any(isinstance(item, Tensor) for item in value):
            continue
        if axes and key in _PER_AXIS:
            value = _spread(value, axes)
        settings[key] = value
    if "pool" in name and axes and not settings.get("stride") and "kernel_size" in settings:
        settings["stride"] = settings["kernel_size"]
    if name == "getitem":
        settings["detail"] = index_text(arguments["index"])
    elif name in ("add", "sub", "mul", "div", "pow") and "other" in settings:
        settings["detail"] = settings["other"]  # a number: ``x * 2``
    return settings


def _axes(name: str) -> int:
    """Return 2 for ``conv2d`` and its like, 0 for what has no such number."""
    return int(name[-2]) if name[-2:] in ("1d", "2d", "3d") else 0


def _spread(value: Any, axes: int) -> Any:
    """Return a setting once per axis."""
    if type(value) is int:
        return (value,) * axes
    if isinstance(value, (list, tuple)):
        return tuple(value) * axes if len(value) == 1 else tuple(value)
    return value  # "same", True


def index_text(index: Any) -> str:
    """Return an index as one writes it: ``[:, :, ::2, ::2]``."""
    parts = index if isinstance(index, tuple) else (index,)
    return f"[{', '.join(map(_index_part, parts))}]"


def _index_part(part: Any) -> str:
    if isinstance(part, slice):
        start, stop, step = (
            "" if end is None else str(end) for end in (part.start, part.stop, part.step)
        )
        return f"{start}:{stop}:{step}" if step else f"{start}:{stop}"
    if part is Ellipsis:
        return "..."
    return str(part) if isinstance(part, (int, type(None), bool)) else "tensor"


def macs_of(name: str, inputs: list[Shape], output: Shape, arguments: dict[str, Any]) -> int:
    """Return the multiply-accumulates of convolutions and matrix products, 0 for all else.

    A bias counts as one more weight whose input is always 1; torchinfo counts so.
    """
    if name.startswith("conv_transpose"):
        # Every input position meets every weight of its channel; biases are added to the output.
        weights, biases = _weights(arguments)
        return math.prod(inputs[0]) * math.prod(weights[1:]) + biases * math.prod(output)
    if name.startswith("conv") and name[-1] == "d":
        weights, biases = _weights(arguments)
        return math.prod(output) * (math.prod(weights[1:]) + biases)
    if name == "linear":
        weights, biases = _weights(arguments)
        return math.prod(output) * (weights[-1] + biases)
    if name in ("matmul", "mm", "bmm") and inputs and inputs[0]:
        return math.prod(output) * inputs[0][-1]
    return 0


def _weights(arguments: dict[str, Any]) -> tuple[Shape, int]:
    """Return the shape of a layer's weight, and 1 if it has a bias."""
    return arguments["weight"].shape, int(arguments.get("bias") is not None)
