"""The shapes of the commonest operations' results, without asking torch.

Torch knows them too, on its ``meta`` device, but works many out in Python: a batch normalisation
takes it more than a millisecond, and the first operation of a session several seconds, in which
it loads a compiler and a computer algebra system.  A rule takes a few microseconds.

A rule returns a shape, or ``None`` where torch should decide, or raises :class:`_Misfit` where
torch would raise.  ``tests/test_trace_rules.py`` holds every rule against real tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .records import Shape

Arguments = dict[str, Any]


class _Misfit(Exception):
    """What went in does not fit."""


class Refusal:
    """The answer for what torch would refuse."""


REFUSAL = Refusal()


def run(name: str, arguments: Arguments, in_place: bool) -> Tensor | Refusal | None:
    """Return an operation's result on the meta device.

    Returns:
        ``REFUSAL`` if torch would raise; ``None`` if no rule applies, so that torch should decide.
    """
    rule = _RULES.get(name)
    if rule is None:
        return None
    x = arguments["tensors"][0] if name == "cat" else arguments.get("input")
    if not isinstance(x, Tensor) or not x.is_meta or not x.is_floating_point():
        return None
    try:
        shape = rule(x, arguments)
    except _Misfit:
        return REFUSAL
    if shape is None:
        return None
    if in_place:
        return x if tuple(shape) == tuple(x.shape) else REFUSAL
    if x.is_contiguous():
        return torch.empty(shape, dtype=x.dtype, device="meta")
    # A result of the same shape keeps the order of its input's axes in memory.
    return torch.empty_like(x) if tuple(shape) == tuple(x.shape) else None


def _require(fits: bool) -> None:
    if not fits:
        raise _Misfit


# -- number by number ------------------------------------------------------------------------


def _same(x: Tensor, arguments: Arguments) -> Shape:
    return x.shape


def _elementwise(x: Tensor, arguments: Arguments) -> Shape | None:
    other = arguments.get("other")
    if isinstance(other, Tensor):
        if other.dtype != x.dtype or not other.is_contiguous():
            return None
        return x.shape if other.shape == x.shape else broadcast(x.shape, other.shape)
    return x.shape if isinstance(other, (int, float)) else None


def broadcast(one: Shape, other: Shape) -> Shape:
    """Return the shape to which two shapes are stretched: axes of length 1 give way."""
    short, long = sorted((tuple(one), tuple(other)), key=len)
    short = (1,) * (len(long) - len(short)) + short
    _require(all(a == b or 1 in (a, b) for a, b in zip(short, long, strict=True)))
    return tuple([b if a == 1 else a for a, b in zip(short, long, strict=True)])


# -- normalisation ---------------------------------------------------------------------------


def _batch_norm(x: Tensor, arguments: Arguments) -> Shape | None:
    _require(x.dim() >= 2)
    channels = x.shape[1]
    for key in ("running_mean", "running_var", "weight", "bias"):
        tensor = arguments.get(key)
        if tensor is not None:
            if tensor.dtype != x.dtype:
                return None
            _require(tensor.shape == (channels,))
    if arguments.get("training"):
        _require(x.numel() != channels)  # one value per channel has no variance
    return x.shape


def _layer_norm(x: Tensor, arguments: Arguments) -> Shape:
    last = tuple(arguments["normalized_shape"])
    _require(tuple(x.shape[x.dim() - len(last) :]) == last)
    return x.shape


def _group_norm(x: Tensor, arguments: Arguments) -> Shape | None:
    _require(x.dim() >= 2 and x.shape[1] % arguments["num_groups"] == 0)
    return x.shape if x.numel() > arguments["num_groups"] * x.shape[0] else None


# -- layers ----------------------------------------------------------------------------------


def _linear(x: Tensor, arguments: Arguments) -> Shape | None:
    weight = arguments["weight"]
    if weight.dim() != 2 or x.dim() < 1:
        return None
    _require(x.shape[-1] == weight.shape[1] and weight.dtype == x.dtype)
    _require_bias(arguments.get("bias"), weight.shape[0], x)
    return (*x.shape[:-1], weight.shape[0])


def _convolution(x: Tensor, arguments: Arguments) -> Shape | None:
    weight, groups = arguments["weight"], arguments["groups"]
    axes = weight.dim() - 2
    if not x.is_contiguous():
        return None
    batch, channels, sizes = _image(x, axes)
    out_channels, group_width, *kernel = weight.shape
    _require(weight.dtype == x.dtype and groups >= 1 and min(weight.shape) >= 1)
    _require(out_channels % groups == 0 and channels == group_width * groups)
    _require_bias(arguments.get("bias"), out_channels, x)
    stride, dilation = _each(arguments["stride"], axes), _each(arguments["dilation"], axes)
    padding = arguments["padding"]
    if padding == "same":
        _require(stride == (1,) * axes)
        return (*batch, out_channels, *sizes)
    paddings = _each(0 if padding == "valid" else padding, axes)
    return (*batch, out_channels, *_windows(sizes, kernel, stride, paddings, dilation))


def _transposed(x: Tensor, arguments: Arguments) -> Shape | None:
    weight, groups = arguments["weight"], arguments["groups"]
    axes = weight.dim() - 2
    if not x.is_contiguous():
        return None
    batch, channels, sizes = _image(x, axes)
    _require(weight.dtype == x.dtype and channels == weight.shape[0] and channels % groups == 0)
    _require_bias(arguments.get("bias"), weight.shape[1] * groups, x)
    stride, padding, more, dilation = (
        _each(arguments[key], axes) for key in ("stride", "padding", "output_padding", "dilation")
    )
    _require(all(extra < max(s, d) for extra, s, d in zip(more, stride, dilation, strict=True)))
    result = [
        (size - 1) * s - 2 * p + d * (k - 1) + extra + 1
        for size, k, s, p, d, extra in zip(
            sizes, weight.shape[2:], stride, padding, dilation, more, strict=True
        )
    ]
    _require(min(result) >= 1)
    return (*batch, weight.shape[1] * groups, *result)


def _image(x: Tensor, axes: int) -> tuple[Shape, int, Shape]:
    """Return batch (empty without one), channels and sizes of a tensor with so many spatial axes."""
    _require(axes + 1 <= x.dim() <= axes + 2)
    sizes = tuple(x.shape[-axes:])
    channels = x.shape[-axes - 1]
    _require(min(channels, *sizes) >= 1)
    return tuple(x.shape[: -axes - 1]), channels, sizes


def _require_bias(bias: Tensor | None, channels: int, x: Tensor) -> None:
    _require(bias is None or (bias.shape == (channels,) and bias.dtype == x.dtype))


def _matrix_product(x: Tensor, arguments: Arguments) -> Shape | None:
    other = arguments.get("other")
    if not isinstance(other, Tensor) or min(x.dim(), other.dim()) < 2 or other.dtype != x.dtype:
        return None
    _require(x.shape[-1] == other.shape[-2])
    return (*broadcast(x.shape[:-2], other.shape[:-2]), x.shape[-2], other.shape[-1])


# -- pooling ---------------------------------------------------------------------------------


def _pooling(axes: int) -> Callable[[Tensor, Arguments], Shape | None]:
    def rule(x: Tensor, arguments: Arguments) -> Shape | None:
        if arguments.get("ceil_mode") or arguments.get("return_indices") or not x.is_contiguous():
            return None
        batch, channels, sizes = _image(x, axes)
        kernel = _each(arguments["kernel_size"], axes)
        stride = _each(arguments.get("stride") or kernel, axes)
        padding = _each(arguments.get("padding", 0), axes)
        dilation = _each(arguments.get("dilation", 1), axes)
        _require(all(2 * p <= k for p, k in zip(padding, kernel, strict=True)))
        return (*batch, channels, *_windows(sizes, kernel, stride, padding, dilation))

    return rule


def _adaptive_pooling(axes: int) -> Callable[[Tensor, Arguments], Shape | None]:
    def rule(x: Tensor, arguments: Arguments) -> Shape | None:
        if arguments.get("return_indices") or not x.is_contiguous():
            return None
        batch, channels, sizes = _image(x, axes)
        wanted = arguments["output_size"]
        wanted = (wanted,) * axes if isinstance(wanted, int) else tuple(wanted)
        if len(wanted) != axes:
            return None
        return (
            *batch,
            channels,
            *[b if a is None else a for a, b in zip(wanted, sizes, strict=True)],
        )

    return rule


def _windows(
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> list[int]:
    """Return how often a window fits along each axis."""
    _require(min(*stride, *dilation, *kernel) >= 1 and min(padding) >= 0)
    counts = [
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, k, s, p, d in zip(sizes, kernel, stride, padding, dilation, strict=True)
    ]
    _require(min(counts) >= 1)
    return counts


def _each(value: Any, axes: int) -> tuple[int, ...]:
    """Return a setting once per axis."""
    if isinstance(value, int):
        return (value,) * axes
    values = tuple(value)
    _require(len(values) in (1, axes) and all(isinstance(item, int) for item in values))
    return values * axes if len(values) == 1 else values


# -- sums and joins --------------------------------------------------------------------------


def _reduction(x: Tensor, arguments: Arguments) -> Shape | None:
    dim, keep = arguments.get("dim"), arguments.get("keepdim", False)
    if arguments.get("dtype") is not None or not isinstance(keep, bool):
        return None
    if dim is None:
        return (1,) * x.dim() if keep else ()
    dims = [dim] if isinstance(dim, int) else list(dim)
    _require(all(isinstance(d, int) and -x.dim() <= d < x.dim() for d in dims))
    axes = {d % x.dim() for d in dims}
    _require(len(axes) == len(dims))
    if not axes:
        return None
    if keep:
        return tuple([1 if i in axes else size for i, size in enumerate(x.shape)])
    return tuple([size for i, size in enumerate(x.shape) if i not in axes])


def _concatenation(first: Tensor, arguments: Arguments) -> Shape | None:
    tensors, dim = list(arguments["tensors"]), arguments["dim"]
    if not all(t.is_meta and t.dtype == first.dtype and t.is_contiguous() for t in tensors):
        return None
    if first.dim() < 1 or any(tuple(t.shape) == (0,) for t in tensors):
        return None  # an empty list of numbers joins with everything
    _require(-first.dim() <= dim < first.dim() and len({t.dim() for t in tensors}) == 1)
    axis = dim % first.dim()
    rest = {(*t.shape[:axis], *t.shape[axis + 1 :]) for t in tensors}
    _require(len(rest) == 1)
    joined = sum([t.shape[axis] for t in tensors])
    return (*first.shape[:axis], joined, *first.shape[axis + 1 :])


_NUMBER_BY_NUMBER = (
    "relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "mish", "hardswish", "hardsigmoid", "hardtanh",
    "softplus", "sigmoid", "tanh", "dropout", "dropout1d", "dropout2d", "exp", "sqrt", "rsqrt", "abs", "neg",
)  # fmt: skip
_RULES: dict[str, Callable[[Tensor, Arguments], Shape | None]] = {
    **dict.fromkeys(_NUMBER_BY_NUMBER, _same),
    **dict.fromkeys(("add", "sub", "mul", "div"), _elementwise),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    **dict.fromkeys([f"conv_transpose{n}d" for n in (1, 2, 3)], _transposed),
    **{f"{how}_pool{n}d": _pooling(n) for how in ("max", "avg") for n in (1, 2, 3)},
    **{
        f"adaptive_{how}_pool{n}d": _adaptive_pooling(n)
        for how in ("max", "avg")
        for n in (1, 2, 3)
    },
    **dict.fromkeys(("mean", "sum"), _reduction),
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "linear": _linear,
    "matmul": _matrix_product,
    "bmm": _matrix_product,
    "cat": _concatenation,
}
