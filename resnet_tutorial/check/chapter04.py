"""Checks of chapter 4, the bottleneck."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import combinations
from numbers import Integral
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from ..blocks import needs_projection
from ..shapes import conv_macs, conv_params
from .core import Expectations, exercise


class _Convolution(NamedTuple):
    """One call of a convolution: the shapes of its weight and of the maps before and after it."""

    weight: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    def __str__(self) -> str:
        out_channels, in_channels, size = self.weight[:3]
        return f"{size}x{size} ({in_channels} to {out_channels} channels)"


class _Watch(TorchFunctionMode):
    """Notes each convolution that is computed meanwhile, in whatever style it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[_Convolution] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        given = kwargs or {}
        result = func(*args, **given)
        if func in (torch.conv2d, torch.convolution):
            x = args[0] if args else given["input"]
            weight = args[1] if len(args) > 1 else given["weight"]
            shapes = (tuple(tensor.shape) for tensor in (weight, x, result))
            self.seen.append(_Convolution(*shapes))
        return result


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _distance(y: Tensor, right: Tensor) -> float:
    return (y - right).abs().max().item()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread: on a busy machine, threads that wait for each other take minutes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _any_failed(expect: Expectations) -> bool:
    return not all(finding.ok for finding in expect.findings)


# --- exercise 4.1 ---


@exercise(
    "pointwise_conv", chapter=4, number=1, title="A 1 × 1 convolution as a matrix product",
    difficulty=2, importance=4, minutes=10, points=2,
    solution="resnet_tutorial.solutions.chapter04:pointwise_conv",
)  # fmt: skip
def check_pointwise_conv(pointwise_conv, expect):
    """Equal to F.conv2d for several shapes and strides, pixel by pixel, with gradients."""
    x, weight = torch.randn(2, 4, 3, 5).double(), torch.randn(4, 4).double()
    before = x.clone()
    with _Watch() as watch:
        y = pointwise_conv(x, weight)
    if not expect(
        isinstance(y, Tensor), "wrong-type",
        f"The function returned {type(y).__name__}, not a tensor.", hint="Return the result.",
    ):  # fmt: skip
        return
    expect(
        torch.equal(x, before), "input-modified",
        "After the call the input holds other values than before.",
        hint="Slices and views share memory with x; do not write into them.",
    )
    expect(
        not watch.seen, "used-convolution",
        f"The function calls a convolution: {', '.join(map(str, watch.seen))}.",
        hint="Multiply matrices: @, torch.matmul, torch.einsum or F.linear.",
    )
    if not expect(
        y.shape == x.shape, "wrong-shape",
        f"From x of {_by(x.shape)} and a weight of 4 x 4 came {_by(y.shape)}, not {_by(x.shape)}.",
        hint="The order of the axes is (N, D, H, W): channels stand second.",
    ):
        return

    moved = x.clone()
    moved[0, :, 1, 2] += 1.0
    changed = (pointwise_conv(moved, weight) - y).abs().amax(dim=1) > 1e-9
    changed[0, 1, 2] = False
    expect(
        not changed.any(), "positions-mixed",
        f"Changing the pixel at row 1, column 2 of the first image changed the output at "
        f"{int(changed.sum())} other positions; a 1x1 convolution changes it at that pixel only.",
        hint="reshape keeps the order of the numbers in memory. To bring the channels to another "
        "place, permute (or movedim) first, and permute back at the end.",
    )
    expect(
        not torch.allclose(y, _conv(x, weight.T)), "weight-transposed",
        "The result is that of the transposed weight.",
        hint="weight[d, c] leads from input channel c to output channel d.",
    )
    error = _distance(y, _conv(x, weight))
    expect(
        error < 1e-6, "wrong-value",
        f"For x of {_by(x.shape)} the result differs from F.conv2d by up to {error:.3g}.",
        hint="At each pixel: the weight times the vector of that pixel's channels.",
    )
    if _any_failed(expect):
        return
    for shape, out_channels, stride in (
        ((1, 3, 4, 6), 5, 1), ((2, 3, 7, 5), 2, 2), ((3, 2, 6, 4), 4, 2), ((2, 3, 8, 7), 3, 3),
    ):  # fmt: skip
        x, weight = torch.randn(shape).double(), torch.randn(out_channels, shape[1]).double()
        _expect_strided(expect, pointwise_conv, x, weight, stride)
    x = torch.randn(1, 2, 3, 3, requires_grad=True)
    y = pointwise_conv(x, torch.randn(2, 2))
    expect(
        y.requires_grad, "no-gradient", "No gradient leads from the result back to x.",
        hint="Stay with tensor operations; no .detach(), .numpy() or .item().",
    )  # fmt: skip


def _conv(x: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
    return F.conv2d(x, weight[:, :, None, None], stride=stride)


def _expect_strided(
    expect: Expectations, function: Callable, x: Tensor, weight: Tensor, stride: int
) -> None:
    y, right = function(x, weight, stride), _conv(x, weight, stride)
    what = f"x of {_by(x.shape)} with stride {stride}"
    if y.shape != right.shape:
        ignored = stride > 1 and y.shape[2:] == x.shape[2:]
        expect(
            False, "stride-ignored" if ignored else "wrong-shape",
            f"From {what} and {weight.shape[0]} output channels came {_by(y.shape)}, "
            f"not {_by(right.shape)}.",
            hint="Keep every stride-th row and column, beginning with the first: ceil(H / stride).",
        )
        return
    error = _distance(y, right)
    expect(
        error < 1e-6, "wrong-stride" if stride > 1 else "wrong-value",
        f"For {what} the result differs from F.conv2d by up to {error:.3g}.",
        hint="Rows and columns 0, stride, 2 * stride, … are read." if stride > 1 else
        "At each pixel: the weight times the vector of that pixel's channels.",
    )


# --- exercise 4.2 ---

_PLANES = 8
_OUT = 4 * _PLANES
# What the shortcut has to change -> in_channels, planes, stride.
_CASES = {
    "nothing": (_OUT, _PLANES, 1),
    "channels": (24, _PLANES, 1),
    "size": (_OUT, _PLANES, 2),
    "channels and size": (24, _PLANES, 2),
}
_PARTS = ("first 1x1", "3x3", "last 1x1", "projection")


@exercise(
    "bottleneck", chapter=4, number=2, title="Write the Bottleneck",
    difficulty=4, importance=5, minutes=25, points=5,
    solution="resnet_tutorial.blocks:Bottleneck",
)  # fmt: skip
def check_bottleneck(Bottleneck, expect):
    """Width, shortcut, ReLUs, batch norms, stride, values in both modes, and gradients."""
    with _one_thread():
        _check_block(Bottleneck, expect)


def _check_block(Bottleneck: Callable[..., nn.Module], expect: Expectations) -> None:
    block = _new(Bottleneck, "nothing")
    if not expect(
        isinstance(block, nn.Module), "wrong-type",
        f"Bottleneck({_OUT}, {_PLANES}) gave {type(block).__name__}, not an nn.Module.",
        hint="class Bottleneck(nn.Module), with super().__init__() as its first line.",
    ):  # fmt: skip
        return
    # Each part stands on what the one before it has found to hold.
    for part in (_check_widths, _check_padding, _check_identity, _check_projection, _check_sizes):
        part(Bottleneck, expect)
        if any(f.code in _LAST for f in expect.findings if not f.ok):
            return
    _check_values(Bottleneck, expect)
    _check_gradients(Bottleneck, expect)


# After one of these the later parts would only say the same in other words, or cannot run.
_LAST = {
    "no-parameters", "wrong-expansion", "wrong-padding", "wrong-shape", "wrong-stride", "no-shortcut",
    "missing-projection", "projection-only-on-stride", "projection-only-on-channels",
    "projection-everywhere", "input-modified",
}  # fmt: skip


def _new(Bottleneck: Callable[..., nn.Module], case: str) -> nn.Module:
    """Return a block in double precision and training mode, called as the case needs it."""
    in_channels, planes, stride = _CASES[case]
    block = Bottleneck(in_channels, planes, stride) if stride > 1 else Bottleneck(in_channels, planes)
    if isinstance(block, nn.Module):
        if any(is_lazy(p) for p in block.parameters()):
            block(torch.randn(2, in_channels, 5, 5))
            for module in block.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.reset_running_stats()
        block.double().train()
    return block


def _input(case: str, height: int = 9, width: int = 9) -> Tensor:
    return torch.randn(4, _CASES[case][0], height, width).double()


def _matrices(block: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that are no vectors: the weights of convolutions."""
    return [p for p in block.parameters() if sum(n > 1 for n in p.shape) > 1]


def _part_of(weight: Tensor, in_channels: int) -> str:
    """Return which of the four convolutions a weight belongs to, told by its shape."""
    shapes = ((_PLANES, in_channels), (_PLANES, _PLANES, 3, 3), (_OUT, _PLANES), (_OUT, in_channels))
    named = dict(zip(shapes, _PARTS, strict=True))
    return named.get(tuple(n for n in weight.shape if n > 1), "?")


def _prepare(block: nn.Module, in_channels: int) -> dict[str, Tensor]:
    """Give the block random weights and plain batch norms; return the weights by their part."""
    weights = {}
    with torch.no_grad():
        for module in block.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
                nn.init.ones_(module.weight)  # a branch may start with zero, by choice
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        for weight in _matrices(block):
            weight.copy_(torch.randn(weight.shape) * (2 / weight[0].numel()) ** 0.5)
            weights[_part_of(weight, in_channels)] = weight.detach().clone()
    return weights


def _check_widths(Bottleneck, expect):
    weights = _matrices(_new(Bottleneck, "channels and size"))
    expect(
        weights, "no-parameters", "The block has no convolution weights among its parameters().",
        hint="Layers in a plain list are not found; use nn.Sequential or nn.ModuleList.",
    )
    widths = sorted({n for weight in weights for n in weight.shape[:2]})
    expect(
        not weights or _OUT in widths, "wrong-expansion",
        f"With planes={_PLANES} the output has 4 x {_PLANES} = {_OUT} channels; the convolutions "
        f"of Bottleneck(24, {_PLANES}, 2) have only {', '.join(map(str, widths))}.",
        hint="planes is the inner width; the last 1x1 widens it to planes * 4.",
    )


def _run(block: nn.Module, x: Tensor) -> tuple[Tensor | None, list[_Convolution]]:
    """Return the output, or None where the shapes do not fit, and the convolutions on the way."""
    y = None
    with suppress(RuntimeError), _Watch() as watch:
        y = block(x)
    return y, watch.seen


def _check_padding(Bottleneck, expect):
    x = _input("nothing")
    before = x.clone()
    block = _new(Bottleneck, "nothing")
    y, convolutions = _run(block, x)
    fits = y is not None and y.shape == x.shape
    for convolution in convolutions:
        # A 3x3 may find its input padded already; it is judged by what comes out of the block.
        if convolution.after[2:] != convolution.before[2:] and (
            not fits or convolution.weight[-1] == 1
        ):
            expect(
                False, "wrong-padding",
                f"At stride 1 the map must keep its size, but the {convolution} turned "
                f"{_by(convolution.before[2:])} into {_by(convolution.after[2:])}.",
                hint="padding=1 for a 3x3, padding=0 for a 1x1.",
            )
            return
    if y is None:
        y = block(x)  # it raises: the report says where
    expect(
        y.shape == x.shape, "wrong-shape",
        f"Bottleneck({_OUT}, {_PLANES}) turned {_by(x.shape)} into {_by(y.shape)}.",
        hint="At stride 1 and with 4 * planes channels the block keeps its input's shape.",
    )
    expect(
        torch.equal(x, before), "input-modified", "The block changes its input in place.",
        hint="Write out = out + x, not x += out, and no in-place ReLU on x.",
    )


def _check_identity(Bottleneck, expect):
    """The block that changes no shape: is x added, as it is, and where are the ReLUs?"""
    block = _new(Bottleneck, "nothing")
    _prepare(block, _OUT)
    x = _input("nothing")
    lowest = block(x).min().item()
    expect(
        lowest > -1e-9, "missing-final-relu",
        f"The block's lowest output is {lowest:.3f}; behind a ReLU it would be 0.",
        hint="The ReLU follows the addition: F.relu(out + shortcut).",
    )
    positive = x.abs() + 0.5
    below = int((block(positive) < positive - 1e-9).sum())
    expect(
        below > 0, "relu-before-add",
        f"For an input that is positive everywhere, none of the {x.numel():,} outputs is lower "
        f"than its input: the branch F(x) is never negative, so the block can only add.",
        hint="A ReLU stands at the end of the branch. End it with the batch norm; "
        "the last ReLU comes after the addition.",
    )
    with torch.no_grad():
        for weight in _matrices(block):
            if _part_of(weight, _OUT) != "projection":
                weight.zero_()
    y = block(positive)
    expect(
        (y - y[:1, :, :1, :1]).abs().max() > 1e-6, "no-shortcut",
        "With all weights of the branch at zero the output no longer depends on the input; "
        "the shortcut would still bring x.",
        hint="Keep x before the first convolution and add it before the last ReLU.",
    )


def _check_projection(Bottleneck, expect):
    """The shortcut is a projection where, and only where, the shape changes."""
    projects = {}
    for case, (in_channels, _, _) in _CASES.items():
        weights = _matrices(_new(Bottleneck, case))
        projects[case] = in_channels * _OUT in [weight.numel() for weight in weights]
    if not expect(
        not projects.pop("nothing"), "projection-everywhere",
        f"Bottleneck({_OUT}, {_PLANES}) has a projection, although its input and output have the "
        f"same shape and x could be added as it is.",
        hint="Project only where the stride is not 1 or the channels differ.",
    ):
        return
    calls = {case: f"Bottleneck{_CASES[case]}" for case in projects}
    for_size, for_channels = projects["size"], projects["channels"]
    if not for_size and not for_channels:
        expect(
            False, "missing-projection",
            f"{calls['size']} halves the map and {calls['channels']} changes the channels, but "
            "their shortcuts have no weights: x cannot be added to an output of another shape.",
            hint="A 1x1 convolution with the block's stride, and its batch norm, on the shortcut.",
        )
    elif not for_channels:
        expect(
            False, "projection-only-on-stride",
            f"The block projects where the stride is 2, but {calls['channels']} does not: it goes "
            f"from 24 to {_OUT} channels at stride 1, as the first block of ResNet-50's first stage "
            "goes from 64 to 256.",
            hint="Test both: stride != 1 or in_channels != planes * 4.",
        )
    elif not for_size:
        expect(
            False, "projection-only-on-channels",
            f"The block projects where the channels change, but {calls['size']} does not: its "
            "output is half as large as its input.",
            hint="Test both: stride != 1 or in_channels != planes * 4.",
        )
    else:
        expect(
            projects["channels and size"], "missing-projection",
            f"{calls['channels and size']} changes size and channels, but has no projection.",
            hint="stride != 1 or in_channels != planes * 4",
        )


def _check_sizes(Bottleneck, expect):
    for case, (_, _, stride) in _CASES.items():
        block = _new(Bottleneck, case)
        for height, width in ((9, 9), (8, 6), (5, 10)):
            x = _input(case, height, width)
            right = (4, _OUT, -(-height // stride), -(-width // stride))
            y, convolutions = _run(block, x)
            if y is None:
                strided = [str(c) for c in convolutions if c.after[2:] != c.before[2:]]
                sizes = ", ".join(f"{c} gives {_by(c.after[2:])}" for c in convolutions)
                if not expect(
                    stride == 1 or len(strided) == 2, "wrong-stride",
                    f"In Bottleneck{_CASES[case]} branch and shortcut do not meet at one size: from "
                    f"{height} x {width} pixels, {sizes}.",
                    hint="The stride belongs to one convolution of the branch, the 3x3, "
                    "and to the projection.",
                ):
                    return
                y = block(x)  # it raises: the report says where
            if not expect(
                y.shape == right, "wrong-shape",
                f"Bottleneck{_CASES[case]} turned {_by(x.shape)} into {_by(y.shape)}, "
                f"not {_by(right)}.",
                hint="Four times the planes, and the size divided by the stride, rounded up.",
            ):
                return


class _Fault(NamedTuple):
    """A way to be wrong that keeps all shapes: how the reference has to be changed to be equal."""

    code: str
    options: dict[str, Any]
    message: str
    hint: str


_V1_5 = "The exercise asks for v1.5: the stride in the 3x3 (and in the projection)."
_FAULTS = (
    _Fault(
        "stride-wrong-conv", {"stride_at": "first 1x1"},
        "The stride stands in the first 1x1. That is v1, the paper's placement: same shapes and "
        "parameters, but three of four input pixels are never read.", _V1_5,
    ),
    _Fault(
        "stride-wrong-conv", {"stride_at": "last 1x1"},
        "The stride stands in the last 1x1, so that the 3x3 is computed at every position, four "
        "times as often as needed, and three of four results are dropped.", _V1_5,
    ),
    _Fault(
        "relu-before-add", {"relu_last": True},
        "A ReLU stands at the end of the branch, before the addition: F(x) is never negative.",
        "End the branch with the batch norm; the last ReLU comes after the addition.",
    ),
    _Fault(
        "missing-relu", {"relu_first": False},
        "There is no ReLU between the first 1x1 and the 3x3: without it the two are one linear map.",
        "F.relu(bn(conv(x))) for the first two convolutions.",
    ),
    _Fault(
        "missing-relu", {"relu_middle": False},
        "There is no ReLU between the 3x3 and the last 1x1: without it the two are one linear map.",
        "F.relu(bn(conv(x))) for the first two convolutions.",
    ),
    _Fault(
        "relu-before-bn", {"norm_last": True},
        "In the branch the ReLU comes before the batch norm.",
        "The order is convolution, batch norm, ReLU.",
    ),
    _Fault(
        "relu-on-shortcut", {"relu_shortcut": True},
        "The projection on the shortcut ends in a ReLU.",
        "The projection is a 1x1 convolution and a batch norm, nothing more.",
    ),
    _Fault(
        "missing-final-relu", {"relu_final": False},
        "No ReLU follows the addition.", "F.relu(out + shortcut)",
    ),
)  # fmt: skip


def _reference(
    x: Tensor, weights: dict[str, Tensor], stride: int, training: bool = True, *,
    stride_at: str = "3x3", relu_first: bool = True, relu_middle: bool = True,
    relu_last: bool = False, relu_final: bool = True, relu_shortcut: bool = False,
    norm_last: bool = False, without_norm: tuple[str, ...] = (),
) -> Tensor:  # fmt: skip
    """Return what a bottleneck with these weights and fresh batch norms gives, or a faulty one."""

    def layer(x: Tensor, part: str, relu: bool) -> Tensor:
        weight = weights[part].reshape(*weights[part].shape[:2], *(2 * [3 if part == "3x3" else 1]))
        strided = part in (stride_at, "projection")
        x = F.conv2d(x, weight, stride=stride if strided else 1, padding=weight.shape[-1] // 2)
        steps = [] if part in without_norm else [lambda x: _normalise(x, training)]
        steps += [F.relu] if relu else []
        for step in reversed(steps) if norm_last else steps:
            x = step(x)
        return x

    out = layer(x, "first 1x1", relu_first)
    out = layer(out, "3x3", relu_middle)
    out = layer(out, "last 1x1", relu_last)
    shortcut = layer(x, "projection", relu_shortcut) if "projection" in weights else x
    return F.relu(out + shortcut) if relu_final else out + shortcut


def _normalise(x: Tensor, training: bool) -> Tensor:
    zeros, ones = x.new_zeros(x.shape[1]), x.new_ones(x.shape[1])
    return F.batch_norm(x, zeros, ones, training=training)


def _check_values(Bottleneck, expect):
    block = _new(Bottleneck, "channels and size")
    weights = _prepare(block, 24)
    if sorted(weights) != sorted(_PARTS):
        return  # stored in a shape of the learner's own: judged by what was seen so far
    without_norm = _check_norms(block, weights, expect)
    known = {"without_norm": without_norm} if without_norm else {}
    x = _input("channels and size")
    y, found = block(x).detach(), ()
    for found in _suspects():
        options = {key: value for fault in found for key, value in fault.options.items()}
        if _distance(y, _reference(x, weights, 2, **options, **known)) < 0.02:
            break
    else:
        found, options = (), {}
    reported = {f.code for f in expect.findings if not f.ok}
    for fault in found:
        expect(fault.code in reported, fault.code, fault.message, fault.hint)
    for case, (in_channels, _, stride) in _CASES.items():
        for training in (True, False):
            block = _new(Bottleneck, case).train(training)
            weights, x = _prepare(block, in_channels), _input(case, 8, 7)
            right = _reference(x, weights, stride, training, **options, **known)
            error = _distance(block(x), right)
            mode = "training" if training else "evaluation"
            code = "wrong-value" if training else "wrong-value-in-eval"
            if not expect(
                error < 0.02, code,
                f"In {mode} mode Bottleneck{_CASES[case]} differs by up to {error:.3g} from a "
                "bottleneck with the same weights.",
                hint="relu(bn(1x1)), relu(bn(3x3)), bn(1x1), plus the shortcut, and a ReLU; each "
                "batch norm an nn.BatchNorm2d of its own, with its default settings.",
            ):  # fmt: skip
                return


def _suspects() -> Iterator[tuple[_Fault, ...]]:
    """Yield no fault, each fault, and each pair that can stand together."""
    for count in range(3):
        for faults in combinations(_FAULTS, count):
            if len({key for fault in faults for key in fault.options}) == count:
                yield faults


def _check_norms(block: nn.Module, weights: dict[str, Tensor], expect: Expectations) -> tuple[str, ...]:
    """Return the convolutions behind which nothing undoes a factor on each channel's weights.

    One factor for all channels would not do: the next batch norm on the way undoes that, too.
    """
    x = _input("channels and size")
    y, moved = block(x).detach(), {}
    with torch.no_grad():
        for weight in _matrices(block):
            factors = torch.linspace(0.5, 3, len(weight)).double()
            weight.mul_(factors.reshape(-1, *[1] * (weight.dim() - 1)))
            moved[_part_of(weight, 24)] = _distance(block(x), y)
            weight.copy_(weights[_part_of(weight, 24)].reshape(weight.shape))
    missing = tuple(part for part in _PARTS if moved[part] > 0.02)
    shown = " and ".join(f"the {part} (output moved by up to {moved[part]:.2f})" for part in missing)
    expect(
        not missing, "missing-bn",
        f"No batch norm follows {shown}: with some channels' weights enlarged the output in training "
        "mode changes, where a batch norm would divide the factors out.",
        hint="Each of the convolutions has a batch norm of its own behind it, the projection too.",
    )
    return missing


def _check_gradients(Bottleneck, expect):
    block = _new(Bottleneck, "channels and size")
    _prepare(block, 24)
    with torch.no_grad():
        for vector in [p for p in block.parameters() if p.dim() == 1]:
            vector.add_(0.2 + 0.4 * torch.rand(vector.shape))  # none may be zero by its start
    x = _input("channels and size").requires_grad_()
    y = block(x)
    (y * torch.randn_like(y)).sum().backward()
    expect(
        x.grad is not None and bool(x.grad.any()), "no-gradient",
        "No gradient reaches the block's input.", hint="Do not detach x or the branch.",
    )  # fmt: skip
    unused = [tuple(p.shape) for p in block.parameters() if p.grad is None]
    expect(
        not unused, "unused-parameters",
        f"{len(unused)} parameters take no part in the output; their shapes: {unused}.",
        hint="forward has to use every layer that __init__ makes.",
    )
    vectors = [p for p in block.parameters() if p.grad is not None and p.dim() == 1]
    idle = [p for p in vectors if p.grad.abs().max() < 1e-9]
    expect(
        not idle, "bias-before-bn",
        f"{len(idle)} vectors of parameters ({sum(p.numel() for p in idle)} numbers) get a gradient "
        "of zero: they are biases, and the batch norm behind them subtracts them again.",
        hint="bias=False for every convolution that a batch norm follows.",
    )
    if _any_failed(expect):
        return
    for case, (in_channels, planes, stride) in _CASES.items():
        found = sum(p.numel() for p in _new(Bottleneck, case).parameters())
        right, _ = _cost(in_channels, planes, 9, stride)
        expect(
            found == right, "wrong-parameters",
            f"Bottleneck{_CASES[case]} has {found:,} parameters; the convolutions and batch norms "
            f"of a bottleneck have {right:,}.",
            hint="Three convolutions without bias, a batch norm of its own behind each.",
        )


# --- exercise 4.3 ---


def _cost(
    in_channels: int, planes: int, size: int, stride: int, *, norm: int = 2, bias: bool = False,
    project: str = "needed", norm_on_projection: bool = True, halved_before: str = "3x3",
    rounding: str = "up", operations: int = 1,
) -> tuple[int, int]:  # fmt: skip
    """Return parameters and multiply-accumulates of a bottleneck, or of one counted wrongly."""
    out = 4 * planes
    small = -(-size // stride) if rounding == "up" else size // stride
    at_first = small if halved_before == "first 1x1" else size
    at_rest = size if halved_before == "never" else small
    layers = [(in_channels, planes, 1, at_first), (planes, planes, 3, at_rest), (planes, out, 1, at_rest)]
    projects = {
        "needed": needs_projection(in_channels, out, stride), "never": False, "always": True,
        "stride": stride != 1,
    }[project]  # fmt: skip
    params = sum(conv_params(*layer[:3], bias=bias) + norm * layer[1] for layer in layers)
    if projects:
        params += conv_params(in_channels, out, 1, bias=bias) + norm * out * norm_on_projection
        layers.append((in_channels, out, 1, at_rest))
    return params, operations * sum(conv_macs(*layer) for layer in layers)


_COST_CASES = ((256, 64, 14, 1), (64, 64, 56, 1), (256, 128, 56, 2), (256, 64, 14, 2), (32, 16, 9, 2))
_PROJECTION_HINT = "needs_projection(in_channels, 4 * planes, stride) tells whether there is one."
_MISCOUNTS = {
    "projection-forgotten": ({"project": "never"}, "The projection is not counted.", _PROJECTION_HINT),
    "projection-always": (
        {"project": "always"}, "A projection is counted where the shortcut is the identity.",
        _PROJECTION_HINT,
    ),
    "projection-only-on-stride": (
        {"project": "stride"},
        "The projection is counted where the stride is 2, but not where only the channels change.",
        _PROJECTION_HINT,
    ),
    "bn-forgotten": (
        {"norm": 0}, "The batch norms' parameters are missing.",
        "Each has a weight and a bias for each of its channels.",
    ),
    "bn-forgotten-on-projection": (
        {"norm_on_projection": False}, "The projection's batch norm is missing.",
        "The projection is a convolution and a batch norm.",
    ),
    "buffers-counted": (
        {"norm": 4}, "The batch norms' running mean and variance are counted.",
        "They are buffers: stored, but not trained. A batch norm has two parameters a channel.",
    ),
    "bias-counted": (
        {"bias": True}, "Biases of the convolutions are counted.",
        "The convolutions of a bottleneck have none.",
    ),
    "stride-wrong-conv": (
        {"halved_before": "first 1x1"},
        "The first 1x1 is counted at the size of the output. That is v1; in v1.5 it still runs at "
        "the size of the input.", "Only the 3x3 halves the map; what stands before it is larger.",
    ),
    "size-not-halved": (
        {"halved_before": "never"}, "All convolutions are counted at the size of the input.",
        "From the 3x3 on, and in the projection, the map is smaller by the stride.",
    ),
    "rounded-down": (
        {"rounding": "down"}, "The halved size is rounded down.",
        "A padded 3x3 with stride 2 makes 5 pixels of 9: ask conv_output_size.",
    ),
    "flops-not-macs": (
        {"operations": 2}, "Additions and multiplications are counted apart.",
        "One multiply-accumulate is one multiplication and one addition.",
    ),
}  # fmt: skip


@exercise(
    "bottleneck_cost", chapter=4, number=3, title="What a block costs",
    difficulty=3, importance=4, minutes=15, points=3,
    solution="resnet_tutorial.solutions.chapter04:bottleneck_cost",
)  # fmt: skip
def check_bottleneck_cost(bottleneck_cost, expect):
    """Parameters and multiply-accumulates of blocks with and without projection and stride."""
    first = bottleneck_cost(*_COST_CASES[0])
    if not expect(
        isinstance(first, tuple | list) and len(first) == 2 and all(isinstance(n, Integral) for n in first),
        "wrong-type", f"The function returned {first!r}, not two whole numbers.",
        hint="return params, macs",
    ):  # fmt: skip
        return
    found = [tuple(bottleneck_cost(*case[:3], stride=case[3])) for case in _COST_CASES]
    for index, (code, what) in enumerate(
        (("wrong-params", "parameters"), ("wrong-macs", "multiply-accumulates"))
    ):
        counts = [pair[index] for pair in found]
        right = [_cost(*case)[index] for case in _COST_CASES]
        if counts == right:
            expect(True, code, f"The {what} are right.")
        else:
            _explain_count(expect, index, code, what, counts, right)
    # A default that is not there raises here, with the learner's own line.
    expect(
        tuple(bottleneck_cost(256, 64, 14)) == _cost(256, 64, 14, 1), "wrong-default",
        "Without a stride the function counts another block than with stride=1.",
        hint="def bottleneck_cost(in_channels, planes, size, stride=1)",
    )


def _explain_count(
    expect: Expectations, index: int, code: str, what: str, counts: list[int], right: list[int]
) -> None:
    """Report the miscounts, one or two, that lead to the learner's numbers."""
    case = next(n for n in range(len(right)) if counts[n] != right[n])
    seen = (
        f"bottleneck_cost{_COST_CASES[case]} gives {counts[case]:,} {what}; a bottleneck has "
        f"{right[case]:,}."
    )
    for number in (1, 2):
        for names in combinations(_MISCOUNTS, number):
            options = {k: v for name in names for k, v in _MISCOUNTS[name][0].items()}
            if counts == [_cost(*case, **options)[index] for case in _COST_CASES]:
                for name in names:
                    _, message, hint = _MISCOUNTS[name]
                    expect(False, name, f"{seen} {message}", hint)
                return
    expect(
        False, code, seen,
        hint="Go through the layers one by one: in, out, kernel, and the size of its output.",
    )


# --- exercise 4.4 ---

_STRIDE_STANDS = {
    "a": ("v1", "Look up the order of Conv2d's arguments: the fourth is the stride."),
    "b": ("v1.5", "Go through the loop's three rounds with pen and paper: which kernel meets s?"),
    "c": ("neither", "The first convolution and the 3x3 have no stride; look at the third."),
    "d": ("v1", "What does max-pooling over one pixel do, and what stands behind it?"),
}


@exercise(
    "stride_placements", chapter=4, number=4, title="Which version is it?",
    difficulty=2, importance=3, minutes=10, points=2,
    solution="resnet_tutorial.solutions.chapter04:stride_placements",
)  # fmt: skip
def check_stride_placements(stride_placements, expect):
    """Four printed branches, each v1, v1.5 or neither."""
    answer = stride_placements()
    if not expect(
        isinstance(answer, dict) and set(answer) == set(_STRIDE_STANDS), "wrong-type",
        f"The function returned {answer!r}.",
        hint='Return a dictionary with the keys "a", "b", "c" and "d".',
    ):  # fmt: skip
        return
    for branch, (version, hint) in _STRIDE_STANDS.items():
        said = str(answer[branch]).strip().lower()
        expect(
            said in ("v1", "v1.5", "neither"), f"unknown-version-{branch}",
            f"For branch {branch} you answered {answer[branch]!r}.",
            hint='Possible answers are "v1", "v1.5" and "neither".',
        )
        expect(
            said == version, f"branch-{branch}",
            f"Branch {branch} is not {said!r}.", hint=hint,
        )  # fmt: skip


# --- exercise 4.5 ---


@exercise(
    "unseen_pixels", chapter=4, number=5, title="Pixels that nobody reads",
    difficulty=3, importance=3, minutes=15, points=3,
    solution="resnet_tutorial.solutions.chapter04:unseen_pixels",
)  # fmt: skip
def check_unseen_pixels(unseen_pixels, expect):
    """Masks for convolutions whose unread pixels are known, and for cases in which sums cancel."""
    with _one_thread():
        _check_masks(unseen_pixels, expect)


def _check_masks(unseen_pixels: Callable[..., Tensor], expect: Expectations) -> None:
    thinned = nn.Conv2d(3, 4, 1, stride=2)
    mask = unseen_pixels(thinned, 3, 6)
    if not expect(
        isinstance(mask, Tensor) and mask.dtype == torch.bool and mask.shape == (6, 6), "wrong-type",
        f"The function returned {_describe_mask(mask)}, not a boolean tensor of 6 x 6.",
        hint="Compare the gradient with zero and reduce the axes of the batch and the channels.",
    ):
        return
    thinned_mask = torch.ones(6, 6, dtype=torch.bool)
    thinned_mask[::2, ::2] = False
    if not expect(
        not torch.equal(mask, ~thinned_mask), "inverted",
        f"For a 1x1 convolution with stride 2 on 6 x 6 pixels {int(mask.sum())} are marked, those "
        "that it reads.", hint="The mask is true where the gradient is zero.",
    ):  # fmt: skip
        return
    _expect_mask(expect, mask, thinned_mask, "a 1x1 convolution with stride 2", "wrong-mask")
    edge = torch.zeros(8, 8, dtype=torch.bool)
    edge[7], edge[:, 7] = True, True
    for module, in_channels, right, what in (
        (nn.Conv2d(2, 3, 3, stride=2, padding=1), 2, torch.zeros(7, 7), "a padded 3x3 with stride 2"),
        (nn.Conv2d(2, 3, 3, stride=2), 2, edge, "an unpadded 3x3 with stride 2"),
    ):
        mask = unseen_pixels(module, in_channels, len(right))
        _expect_mask(expect, mask, right.bool(), what, "wrong-mask")

    opposite = nn.Conv2d(2, 1, 1, bias=False)
    with torch.no_grad():
        opposite.weight.copy_(torch.tensor([1.0, -1.0]).reshape(1, 2, 1, 1))
    _expect_mask(
        expect, unseen_pixels(opposite, 2, 4), torch.zeros(4, 4).bool(),
        "a convolution that subtracts its second channel from its first", "channels-cancel",
        "Look at each channel by itself: a sum over the channels of the gradient can cancel.",
    )  # fmt: skip
    with torch.no_grad():
        opposite = nn.Conv2d(1, 2, 1, bias=False)
        opposite.weight.copy_(torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1))
    _expect_mask(
        expect, unseen_pixels(opposite, 1, 4), torch.zeros(4, 4).bool(),
        "a convolution whose two outputs are x and -x", "outputs-cancel",
        "The sum over all outputs can cancel: give each output a random weight before the sum.",
    )  # fmt: skip
    for at_first, at_second, right in ((1, 2, torch.zeros(6, 6).bool()), (2, 1, thinned_mask)):
        branch = nn.Sequential(
            nn.Conv2d(2, 32, 1, at_first), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 4, 3, at_second, 1), nn.BatchNorm2d(4),
        )  # fmt: skip
        where = "first 1x1" if at_first > 1 else "3x3"
        _expect_mask(
            expect, unseen_pixels(branch, 2, 6), right, f"a branch with the stride in its {where}",
            "wrong-mask",
        )  # fmt: skip


def _describe_mask(mask: Any) -> str:
    if isinstance(mask, Tensor):
        return f"a tensor of type {mask.dtype} and shape {tuple(mask.shape)}"
    return f"an object of type {type(mask).__name__}"


def _expect_mask(
    expect: Expectations, mask: Tensor, right: Tensor, what: str, code: str,
    hint: str = "The gradient of the outputs with respect to x is zero at a pixel nobody reads.",
) -> None:  # fmt: skip
    side = len(right)
    expect(
        torch.equal(mask, right), code,
        f"For {what} on {side} x {side} pixels {int(mask.sum())} are marked as unread; "
        f"{int(right.sum())} are.",
        hint=hint,
    )
