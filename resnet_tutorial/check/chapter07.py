"""Checks of chapter 7, ResNeXt.

Where a number or an output is wrong, the checks compare it with what each likely slip gives, and
name the slip that fits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from .. import shapes
from ..blocks import Bottleneck, needs_projection, projection
from ..models import make_layer
from ..solutions.chapter06 import imagenet_stem
from ..solutions.chapter07 import ResNeXt
from . import residual
from .common import described, noting, parameter_count, told, whole
from .core import Expectations, exercise
from .networks import Network, Shape, Variant, head_variants, judge_network, stages

_CLOSE = 1e-9  # tensors are compared in float64


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=0, atol=_CLOSE)


def _randn(*size: int) -> Tensor:
    return torch.randn(*size, dtype=torch.float64)


# --- 7.1 -------------------------------------------------------------------------------------


class _Groups(TorchDispatchMode):
    """Notes the largest number of groups with which a convolution of the library's is computed meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 1

    def __torch_dispatch__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution.default:
            self.most = max(self.most, args[8])
        return func(*args, **(kwargs or {}))


@exercise(
    "grouped_conv", chapter=7, number=1, title="Write a grouped convolution",
    difficulty=2, importance=5, minutes=10, points=2,
    solution="resnet_tutorial.solutions.chapter07:grouped_conv",
)  # fmt: skip
def check_grouped_conv(grouped_conv: Any, expect: Expectations) -> None:
    """Equal to F.conv2d(groups=...) for several shapes, strides and paddings."""
    for channels, filters, groups, kernel, stride, padding, size in (
        (8, 12, 4, 3, 1, 1, (6, 5)), (8, 8, 2, 3, 2, 1, (7, 8)), (6, 6, 6, 3, 1, 0, (5, 6)),
        (5, 3, 1, 1, 1, 0, (4, 4)), (6, 4, 2, 5, 3, 2, (9, 7)),
    ):  # fmt: skip
        x = _randn(2, channels, *size).requires_grad_()
        weight = _randn(filters, channels // groups, kernel, kernel).requires_grad_()
        before = x.detach().clone(), weight.detach().clone()
        call = (
            f"{channels} channels to {filters} in groups={groups} with a {kernel}×{kernel} kernel, "
            f"stride={stride}, padding={padding}"
        )
        asked = (
            f"It was asked for {call}: x is {tuple(x.shape)}, weight is {tuple(weight.shape)}, and a group has "
            f"{channels // groups} of the channels and {filters // groups} of the filters."
        )
        with _Groups() as used, told(asked):
            y = grouped_conv(x, weight, groups, stride, padding)
        if not (
            _grouped_shape(y, x, weight, groups, stride, padding, call, expect)
            and expect(
                torch.equal(x.detach(), before[0]) and torch.equal(weight.detach(), before[1]),
                "input-modified", f"{call}: the input or the weight was changed in place.",
                hint="Slice, convolve, concatenate; write into nothing that was handed to you.",
            )
            and _like_x(y, x, call, expect)
            and _grouped_values(y, x, weight, groups, stride, padding, call, expect)
            and expect(
                used.most == 1, "used-groups",
                f"{call}: the library's own convolution was called with groups={used.most}.",
                hint="Cut x and weight into groups yourself, and call F.conv2d once for each, without groups.",
            )
        ):  # fmt: skip
            return
        if not expect(
            y.requires_grad, "gradient-cut", f"{call}: no gradient can get back.",
            hint="Leave out .detach(), .data and torch.no_grad(), and do not build the result with torch.tensor.",
        ):  # fmt: skip
            return
        direction = torch.randn_like(y)
        # (Handing the direction to autograd.grad would load sympy, which takes seconds.)
        mine = torch.autograd.grad((y * direction).sum(), (x, weight), allow_unused=True)
        wanted = F.conv2d(x, weight, None, stride, padding, 1, groups)
        right = torch.autograd.grad((wanted * direction).sum(), (x, weight))
        cut = [
            name for name, m, r in zip(("x", "weight"), mine, right, strict=True) if m is None or not _same(m, r)
        ]  # fmt: skip
        if not expect(
            not cut, "gradient-cut",
            f"{call}: the output is right, but not the gradient of {' and '.join(cut)}.",
            hint=f"Compute with {' and '.join(cut)} as handed in: .detach(), .data, torch.no_grad() and a new "
            "nn.Parameter cut the gradient off.",
        ):  # fmt: skip
            return
    expect(
        _same(grouped_conv(x, weight, groups).detach(), F.conv2d(x, weight, groups=groups)), "wrong-default",
        f"grouped_conv(x, weight, {groups}) gives something else than grouped_conv(x, weight, {groups}, 1, 0), "
        "which is right.",
        hint="The defaults stand in the signature: stride=1, padding=0.",
    )  # fmt: skip


def _like_x(y: Tensor, x: Tensor, call: str, expect: Expectations) -> bool:
    return expect(
        y.dtype == x.dtype, "wrong-dtype", f"{call}: x holds {x.dtype} numbers, the result {y.dtype} numbers.",
        hint="Make a new tensor like the one handed in: x.new_zeros(…), or dtype=x.dtype and device=x.device.",
    )  # fmt: skip


def _grouped_shape(
    y: Any, x: Tensor, weight: Tensor, groups: int, stride: int, padding: int, call: str, expect: Expectations
) -> bool:
    wanted = F.conv2d(x, weight, None, stride, padding, 1, groups).shape
    if not expect(
        isinstance(y, Tensor) and y.dim() == 4, "wrong-type",
        f"{call} gave {f'a tensor with {y.dim()} axes' if isinstance(y, Tensor) else type(y).__name__}; "
        f"a tensor of four axes is asked for.",
        hint="Concatenate the pieces along the channels: torch.cat(pieces, dim=1).",
    ):  # fmt: skip
        return False
    filters = weight.shape[0]
    code, hint = {
        filters // groups: ("groups-summed", "The groups' outputs stand side by side: torch.cat, not a sum."),
        filters * groups: ("weight-not-split", "Each group has filters of its own: slice the weight's first axis too."),
    }.get(y.shape[1], ("wrong-shape", "torch.cat(pieces, dim=1) puts channels beside channels."))  # fmt: skip
    if y.shape[:2] == x.shape[:2] != wanted[:2]:
        code = "filters-cut-as-channels"
        hint = (
            f"As many channels as x has: is the weight cut in x's steps, {x.shape[1] // groups} at a time? "
            f"A group has {filters // groups} of the {filters} filters."
        )
    if y.shape[1] == filters and y.shape[0] == x.shape[0]:
        code = "wrong-size"
        hint = "Hand stride and padding on to every F.conv2d."
    return expect(
        y.shape == wanted, code, f"{call}: the result is {tuple(y.shape)}, not {tuple(wanted)}.", hint=hint
    )


def _grouped_values(
    y: Tensor, x: Tensor, weight: Tensor, groups: int, stride: int, padding: int, call: str,
    expect: Expectations,
) -> bool:  # fmt: skip
    options: dict[str, Any] = {"stride": stride, "padding": padding, "groups": groups}
    wanted = F.conv2d(x, weight, **options)
    y = y.detach().to(wanted.dtype)
    if _same(y, wanted):
        return expect(True, "wrong-value", "")
    filters = weight.shape[0]
    order_in = torch.arange(x.shape[1]).view(-1, groups).t().reshape(-1)
    order_out = torch.arange(filters).view(-1, groups).t().reshape(-1)
    interleaved = F.conv2d(x[:, order_in], weight, **options)
    both = F.conv2d(x[:, order_in], weight[order_out], **options)
    back = torch.empty_like(both)
    back[:, order_out] = both
    strided_filters = F.conv2d(x, weight[order_out], **options)
    slips = (
        ((interleaved, both, back, strided_filters), "groups-interleaved",
         "the groups were made of every groups-th channel; a group is a run of neighbouring channels.",
         "The first group has channels 0 to channels / groups - 1: x.chunk(groups, dim=1)."),
        ((wanted.view(wanted.shape[0], groups, -1, *wanted.shape[2:]).flip(1).flatten(1, 2),), "groups-reordered",
         "the groups' outputs are right, but stand in another order.",
         "Concatenate in the order of the slices."),
        ((wanted.view(wanted.shape[0], groups, -1, *wanted.shape[2:]).transpose(1, 2).flatten(1, 2),),
         "groups-reordered", "the groups' outputs are right, but interleaved.",
         "torch.cat(pieces, dim=1), not torch.stack and a reshape."),
        ((F.conv2d(x, weight[: filters // groups].repeat(groups, 1, 1, 1), **options),), "weights-shared",
         "every group was convolved with the first group's filters.",
         "Group i has the i-th slice of the weight's first axis."),
        ((F.conv2d(x[:, : weight.shape[1]].repeat(1, groups, 1, 1), weight, **options),), "input-shared",
         "every group was given the first group's channels.",
         "Group i has the i-th slice of the input's channels."),
    )  # fmt: skip
    for candidates, code, message, hint in slips:
        if any(_same(y, candidate) for candidate in candidates):
            return expect(False, code, f"{call}: {message}", hint=hint)
    return expect(
        False, "wrong-value",
        f"{call}: {int((~torch.isclose(y, wanted)).sum())} of {y.numel()} values differ from those of "
        f"F.conv2d(..., groups={groups}), by up to {(y - wanted).abs().max():.2g}.",
        hint="Compare your first output channels with F.conv2d(x[:, :n], weight[:m]) for the first group.",
    )  # fmt: skip


# --- 7.2 -------------------------------------------------------------------------------------


@exercise(
    "bottleneck_width", chapter=7, number=2, title="Compute the width of a block",
    difficulty=1, importance=5, minutes=5, points=1,
    solution="resnet_tutorial.solutions.chapter07:bottleneck_width",
)  # fmt: skip
def check_bottleneck_width(bottleneck_width: Any, expect: Expectations) -> None:
    """The networks' own widths, then cases in which a group's width is rounded down."""
    bottleneck_width = noting("bottleneck_width", bottleneck_width)
    cases = (
        (64, 1, 64), (512, 1, 64), (64, 32, 4), (128, 32, 4), (512, 32, 4), (64, 64, 4), (256, 32, 8),
        (128, 1, 128), (64, 8, 14), (64, 4, 24), (48, 8, 14), (44, 6, 4), (40, 3, 5),
    )  # fmt: skip
    for planes, groups, base_width in cases:
        right = shapes.bottleneck_width(planes, groups, base_width)
        answer = bottleneck_width(planes, groups, base_width)
        got = whole(answer)
        call = f"bottleneck_width({planes}, {groups}, {base_width})"
        if not expect(
            got is not None, "wrong-type",
            f"{call} gave {described(answer)}; channels are counted in whole numbers.",
            hint="int(…) rounds down, and so does //. Return the number, do not print it.",
        ) or got is None:  # fmt: skip
            return
        code, hint = {
            right // groups: ("one-group-only", "That is one group. There are groups of them."),
            planes: ("base-width-ignored", "planes × base_width / 64 channels a group."),
            planes * groups: ("base-width-ignored", "planes × base_width / 64 channels a group."),
            base_width * groups: ("planes-ignored", "base_width holds at planes=64; a group grows with planes."),
            planes * base_width * groups // 64: (
                "rounded-last", "Round the width of one group first: every group has the same whole number."),
            planes * base_width * groups: ("not-scaled", "Divide by 64: base_width is meant for planes=64."),
            planes // groups: ("groups-divide", "More groups make the block wider: multiply by groups."),
            planes * base_width // 64 // groups: (
                "groups-divide", "base_width is already the width of one group: multiply by groups."),
            round(planes * base_width / 64) * groups: ("rounded-up", "A group's width is rounded down."),
            -(-planes * base_width // 64) * groups: ("rounded-up", "A group's width is rounded down."),
            right: ("wrong-value", ""),
        }.get(got, ("wrong-value", "int(planes × base_width / 64), then times groups."))  # fmt: skip
        if not expect(got == right, code, f"{call} gave {got}, not {right}.", hint=hint):
            return
    answer = bottleneck_width(256)
    expect(
        whole(answer) == 256, "wrong-default",
        f"bottleneck_width(256) gave {described(answer)}; without groups and base_width it is ResNet's, 256.",
        hint="The defaults groups=1 and base_width=64 stand in the signature: leave them there.",
    )  # fmt: skip


# --- 7.3 -------------------------------------------------------------------------------------

# in_channels, planes, stride, groups, base_width, version, size of the image.
_BLOCKS = (
    (64, 16, 1, 4, 32, "v1.5", (7, 6)), (48, 16, 2, 4, 40, "v1.5", (9, 8)), (48, 16, 1, 16, 32, "v1.5", (6, 6)),
    (64, 16, 2, 16, 32, "v1.5", (8, 7)), (48, 16, 2, 4, 32, "v1", (8, 8)), (24, 8, 2, 1, 64, "v1.5", (7, 7)),
    (24, 12, 1, 3, 48, "v1.5", (6, 5)), (24, 8, 3, 4, 12, "v1.5", (7, 8)),
)  # fmt: skip


@exercise(
    "resnext_block", chapter=7, number=3, title="Turn the Bottleneck into ResNeXt's block",
    difficulty=3, importance=5, minutes=15, points=3,
    solution="resnet_tutorial.blocks:Bottleneck", given=("forward",),
)  # fmt: skip
def check_resnext_block(Bottleneck: Any, expect: Expectations) -> None:
    """Parameters, shapes, the path of x, then the values on the same weights in both modes."""
    if not residual.is_class(Bottleneck, "resnext_block", expect):
        return
    cases = []
    for in_channels, planes, stride, groups, base_width, version, size in _BLOCKS:
        options = {"groups": groups, "base_width": base_width, "version": version}
        written = "".join(f", {name}={value!r}" for name, value in options.items())
        call = f"Bottleneck({in_channels}, {planes}, {stride}{written})"
        width = shapes.bottleneck_width(planes, groups, base_width)
        plan = _plan(call, in_channels, width, 4 * planes, stride, groups, version)
        if groups == 1:  # ResNet's block, without a word of ResNeXt: the defaults
            options, plan = {}, replace(plan, call=f"Bottleneck({in_channels}, {planes}, {stride})")
        make = partial(Bottleneck, in_channels, planes, stride, **options)
        cases.append(residual.Case(plan, make, size, thorough=groups < 16))
    for in_channels, planes, stride in ((24, 8, 2), (32, 8, 1)):
        cases.append(residual.Case(
            _plan(f"Bottleneck({in_channels}, {planes}, {stride}, projection(…), groups=2, base_width=64)",
                  in_channels, 16, 32, stride, 2, projects=True),
            partial(_with_projection, Bottleneck, in_channels, planes, stride), (6, 7), handed=True,
        ))  # fmt: skip
    if not residual.default_holds(
        "Bottleneck(64, 16)", partial(Bottleneck, 64, 16),
        'Bottleneck(64, 16, 1, None, groups=1, base_width=64, version="v1.5")',
        partial(Bottleneck, 64, 16, 1, None, 1, 64, "v1.5"), 64, expect,
    ) or not residual.default_holds(
        "Bottleneck(64, 16, 2)", partial(Bottleneck, 64, 16, 2), 'Bottleneck(64, 16, 2, version="v1.5")',
        partial(Bottleneck, 64, 16, 2, version="v1.5"), 64, expect,
    ) or not residual.judge(cases, expect, _misread):
        return
    residual.given_shortcut_holds(
        "Bottleneck", Bottleneck, (24, 8), expect, expansion=4, groups=2, base_width=32
    )
    expect(
        getattr(Bottleneck, "expansion", None) == 4, "wrong-expansion",
        f"Bottleneck.expansion is {getattr(Bottleneck, 'expansion', 'missing')}; make_layer asks for it and wants 4.",
        hint="expansion = 4, in the class.",
    )  # fmt: skip


def _with_projection(Bottleneck: Any, in_channels: int, planes: int, stride: int) -> nn.Module:
    shortcut = projection(in_channels, 4 * planes, stride)
    return Bottleneck(in_channels, planes, stride, shortcut, groups=2, base_width=64)


def _plan(
    call: str, in_channels: int, width: int, out_channels: int, stride: int, groups: int, version: str = "v1.5",
    projects: bool | None = None,
) -> residual.Plan:  # fmt: skip
    if projects is None:
        projects = needs_projection(in_channels, out_channels, stride)
    return residual.bottleneck(call, in_channels, width, out_channels, stride, projects, groups, version)


def _misread(plan: residual.Plan) -> Iterator[residual.Variant]:
    """Yield the plans that come of other readings of ``groups``, ``base_width`` and ``planes``."""
    first, middle, _ = plan.branch
    width, groups, out = first.out_channels, middle.groups, plan.out_channels
    planes, one = out // 4, width // middle.groups
    version = "v1" if first.stride > 1 else "v1.5"
    known = ((b, c, p, s, g) for c, p, s, g, b, _, _ in _BLOCKS if shapes.bottleneck_width(p, g, b) == width)
    base_width = next((b for b, *rest in known if rest == [plan.in_channels, planes, plan.stride, groups]), 64)

    def other(width: int, groups: int, out: int = out) -> residual.Plan | None:
        if width < 1 or groups < 1 or width % groups:
            return None
        return _plan(plan.call, plan.in_channels, width, out, plan.stride, groups, version)

    readings = (
        ("groups-ignored", f"the 3×3 is dense; asked for are {groups} groups.",
         "Hand groups on to the 3×3 convolution: conv3x3(width, width, stride, groups).", other(width, 1)),
        ("depthwise", f"the 3×3 has {width} groups of one channel each; asked for are {groups} of {one}.",
         f"nn.Conv2d's groups is how many groups there are, {groups}.", other(width, width)),
        ("groups-as-width", f"the 3×3 has {one} groups of {groups} channels; asked for are {groups} of {one}.",
         f"nn.Conv2d's groups is how many groups there are, {groups}, not the {one} channels of one.",
         other(width, one)),
        ("groups-as-width", f"the 3×3 has {base_width} groups; asked for are {groups}.",
         f"nn.Conv2d's groups is how many groups there are, {groups}, not base_width.", other(width, base_width)),
        ("width-is-planes", f"between the 1×1 convolutions there are {planes} channels, not {width}.",
         "The 3×3 has bottleneck_width(planes, groups, base_width) channels.", other(planes, groups)),
        ("width-is-planes", f"between the 1×1 convolutions there are {planes} channels, and no groups.",
         "The 3×3 has bottleneck_width(planes, groups, base_width) channels.", other(planes, 1)),
        ("width-not-scaled", f"the width is {base_width} × {groups}, whatever planes is.",
         "base_width holds at planes=64; a group's width grows with planes.", other(base_width * groups, groups)),
        ("one-group-only", f"the 3×3 has {one} channels, those of one group (or one path is used for all).",
         "All groups together have groups × the width of one.", other(one, 1)),
        ("width-without-groups", f"the width is planes × base_width / 64 = {one}, not times groups.",
         "All groups together have groups × the width of one.", other(one, groups)),
        *(("expansion-of-width", f"{factor * width} channels come out, {factor} × the width between.",
           "The output has 4 × planes channels, whatever the width between.", other(width, groups, factor * width))
          for factor in (2, 4)),
        *(("wrong-expansion", f"{made} channels come out of the block, not 4 × {planes}.",
           "The output has 4 × planes channels.", other(width, groups, made)) for made in (planes, 2 * planes)),
        *(("groups-on-1x1", "a 1×1 convolution is grouped; the groups belong to the 3×3 alone.",
           "Both 1×1 convolutions see all channels.", plan_) for plan_ in _grouped_elsewhere(plan)),
    )  # fmt: skip
    for code, message, hint, reading in readings:
        if reading is not None and groups > 1:
            yield code, message, hint, reading


def _grouped_elsewhere(plan: residual.Plan) -> Iterator[residual.Plan | None]:
    groups = plan.branch[1].groups
    for places in ((0,), (2,), (0, 2), (0, 1), (1, 2), (0, 1, 2)):
        layers = [
            replace(layer, groups=groups if place in places else 1) for place, layer in enumerate(plan.branch)
        ]
        if all(layer.in_channels % layer.groups == 0 for layer in layers):
            yield replace(plan, branch=tuple(layers))


# --- 7.4 -------------------------------------------------------------------------------------


def _paths(
    x: Tensor, w1: Tensor, w2: Tensor, w3: Tensor, groups: int, relus: tuple[bool, bool] = (True, True),
    last: bool = False,
) -> Tensor:  # fmt: skip
    """Return the outputs of all paths, computed with one grouped convolution a layer."""
    out = F.conv2d(x, w1)
    out = F.relu(out) if relus[0] else out
    out = F.conv2d(out, w2, padding=1, groups=groups)
    out = F.relu(out) if relus[1] else out
    pieces = zip(out.chunk(groups, dim=1), w3.chunk(groups, dim=1), strict=True)
    outputs = torch.stack([F.conv2d(piece, part) for piece, part in pieces])
    return F.relu(outputs) if last else outputs


@exercise(
    "split_transform", chapter=7, number=4, title="Follow each path by itself",
    difficulty=3, importance=4, minutes=15, points=3,
    solution="resnet_tutorial.solutions.chapter07:split_transform",
)  # fmt: skip
def check_split_transform(split_transform: Any, expect: Expectations) -> None:
    """Every path's output, on blocks of several cardinalities."""
    split_transform = noting("split_transform", split_transform)
    for channels, out_channels, groups, group_width, size in (
        (6, 10, 3, 4, (5, 6)), (8, 8, 8, 1, (4, 4)), (5, 7, 1, 6, (6, 3)), (6, 9, 2, 2, (5, 5)),
    ):  # fmt: skip
        width = groups * group_width
        x = _randn(2, channels, *size).requires_grad_()
        weights = (
            _randn(width, channels, 1, 1), _randn(width, group_width, 3, 3), _randn(out_channels, width, 1, 1)
        )  # fmt: skip
        before = x.detach().clone()
        y = split_transform(x, *weights, groups)
        call = f"A block of {groups} path{'s' * (groups > 1)} of {group_width}"
        wanted = _paths(x, *weights, groups).detach()
        if not (
            _paths_shape(y, wanted, call, expect)
            and _like_x(y, x, call, expect)
            and _paths_values(y, x.detach(), weights, groups, call, expect)
            and expect(
                torch.equal(x.detach(), before), "input-modified", f"{call}: the input was changed in place.",
                hint="F.relu(…) without inplace=True.",
            )
            and expect(
                y.requires_grad, "gradient-cut", f"{call}: no gradient can get back to the input.",
                hint="Collect the outputs in a list and stack them with torch.stack.",
            )
        ):  # fmt: skip
            return
        (gradient,) = torch.autograd.grad(y.pow(2).sum(), x)
        (right,) = torch.autograd.grad(_paths(x, *weights, groups).pow(2).sum(), x)
        if not expect(
            torch.allclose(gradient, right), "gradient-cut",
            f"{call}: the outputs are right, but not the gradient of the input.",
            hint="Leave out .detach(), .data and torch.no_grad().",
        ):  # fmt: skip
            return


def _paths_shape(y: Any, wanted: Tensor, call: str, expect: Expectations) -> bool:
    if not expect(
        isinstance(y, Tensor), "wrong-type",
        f"{call} gave a {type(y).__name__}; one tensor of five axes is asked for.",
        hint="torch.stack(list_of_outputs) puts the paths into a new first dimension.",
    ):  # fmt: skip
        return False
    groups, n, channels, height, width = wanted.shape
    code, hint = "wrong-shape", "torch.stack of one (N, out_channels, H, W) a path."
    if y.shape == wanted.shape[1:]:
        code, hint = "merged-already", "Return the paths' outputs side by side, before they are added."
    elif y.shape[-2:] != wanted.shape[-2:]:
        code, hint = "padding-missing", "The 3×3 has padding=1, which keeps height and width."
    elif y.shape in ((n, groups * channels, height, width), (groups * n, channels, height, width)):
        code, hint = "concatenated", "torch.stack makes a new dimension; torch.cat lengthens one."
    elif y.dim() == 5 and y.shape[:2] == (n, groups):
        code, hint = "paths-not-first", "The paths are the first dimension: torch.stack(outputs), dim=0."
    return expect(
        y.shape == wanted.shape, code,
        f"{call}: the result has the shape {tuple(y.shape)}, not {tuple(wanted.shape)}.", hint=hint,
    )  # fmt: skip


def _paths_values(
    y: Tensor, x: Tensor, weights: tuple[Tensor, Tensor, Tensor], groups: int, call: str, expect: Expectations
) -> bool:
    y = y.detach().to(x.dtype)
    wanted = _paths(x, *weights, groups)
    if _same(y, wanted):
        return expect(True, "wrong-value", "")
    for relus, last, code, message, hint in (
        ((False, True), False, "missing-relu", "there is no ReLU after the first 1×1.", "F.relu after it."),
        ((True, False), False, "missing-relu", "there is no ReLU after the 3×3.", "F.relu after it."),
        ((False, False), False, "missing-relu", "there is no ReLU at all.",
         "F.relu after the first 1×1 and after the 3×3."),
        ((True, True), True, "relu-after-last", "there is a ReLU after the last 1×1.",
         "What is added up must be able to be negative: the path ends with its convolution."),
    ):  # fmt: skip
        if not expect(
            not _same(y, _paths(x, *weights, groups, relus, last)), code, f"{call}: {message}", hint
        ):
            return False
    if _same(y, wanted / groups):
        return expect(
            False, "averaged", f"{call}: every output is divided by {groups}.",
            hint="The paths are added, not averaged.",
        )  # fmt: skip
    if _same(y.sum(0), wanted.sum(0)):
        return expect(
            False, "wrong-paths",
            f"{call}: the sum of the outputs is right, but not the single paths.",
            hint="Path i takes the i-th slice of w1, of w2 and of w3.",
        )  # fmt: skip
    good = [bool(_same(mine, right)) for mine, right in zip(y, wanted, strict=True)]
    return expect(
        False, "wrong-value",
        f"{call}: {good.count(False)} of {groups} outputs differ from what the path gives"
        + (f"; path {good.index(True)} is right." if any(good) else "."),
        hint="Path i takes w1's i-th rows, w2's i-th rows and w3's i-th columns (its second axis).",
    )  # fmt: skip


# --- 7.5 -------------------------------------------------------------------------------------


def _block_weights(cardinality: int, group_width: int, channels: int) -> int:
    return cardinality * (2 * channels * group_width + 9 * group_width**2)


def _nearest(
    cardinality: int, channels: int, plain_width: int, *,
    weights: Callable[[int, int, int], int] = _block_weights, below: bool | None = None,
) -> int:  # fmt: skip
    """Return the width nearest in weights; with ``below``, among those that cost no more (or no less)."""
    plain = weights(1, plain_width, channels)
    candidates = range(1, plain_width + 1)
    if below is not None:
        over = {d: weights(cardinality, d, channels) - plain for d in candidates}
        return max(d for d in over if over[d] <= 0) if below else min(d for d in over if over[d] >= 0)
    return min(candidates, key=lambda d: abs(weights(cardinality, d, channels) - plain))


def _width_with(known: dict[str, int], cardinality: int, channels: int, plain_width: int) -> int:
    """Return the nearest width if some arguments are taken for these numbers."""
    candidates = range(1, plain_width + 1)
    channels, plain_width = known.get("channels", channels), known.get("plain_width", plain_width)
    plain = _block_weights(1, plain_width, channels)
    return min(candidates, key=lambda d: abs(_block_weights(cardinality, d, channels) - plain))


def _width_slip(cases: Any, answers: Any) -> tuple[str, str]:
    """Name the slip that gives all of these answers."""
    slips = (
        ("all-groups", "Return the width of one group, not of all together.",
         lambda c, n, w: c * _nearest(c, n, w)),
        ("width-divided", "A group with 1/C of the width has fewer than 1/C of the weights: "
         "count 2 · channels · d + 9 · d² for each group.", lambda c, n, w: w // c),
        ("rounded-down", "The nearest count may lie above the plain block's: compare distances.",
         partial(_nearest, below=True)),
        ("rounded-up", "The nearest count may lie below the plain block's: compare distances.",
         partial(_nearest, below=False)),
        ("dense-3x3", "With C groups of d channels the 3×3 has 9 · C · d² weights, not 9 · (C · d)².",
         partial(_nearest, weights=lambda c, d, n: 2 * n * c * d + 9 * (c * d) ** 2)),
        ("one-1x1", "There are two 1×1 convolutions, one into the group and one out of it.",
         partial(_nearest, weights=lambda c, d, n: c * (n * d + 9 * d**2))),
        ("only-3x3", "The 1×1 convolutions count too.",
         partial(_nearest, weights=lambda c, d, n: 9 * c * d**2)),
        ("batch-norms-counted", "Batch norms do not count: 2 · channels · d + 9 · d² weights for each group.",
         partial(_nearest, weights=lambda c, d, n: _block_weights(c, d, n) + 4 * c * d)),
        ("cardinality-ignored", "There are cardinality groups, each with weights of its own.", lambda c, n, w: w),
        ("channels-ignored", "Count with the argument channels; 256 is its default only.",
         partial(_width_with, {"channels": 256})),
        ("plain-width-ignored", "The plain block has the argument plain_width channels; 64 is its default only.",
         partial(_width_with, {"plain_width": 64})),
        ("plain-width-ignored", "The plain block has the argument plain_width channels; 64 is its default only.",
         lambda c, n, w: _nearest(c, n, 64)),
    )  # fmt: skip
    for code, hint, slip in slips:
        if [slip(*case) for case in cases] == answers:
            return code, hint
    return "wrong-value", "Compare |weights(C, d) - weights(1, plain_width)| for every d."


@exercise(
    "equal_cost_width", chapter=7, number=5, title="Find the width at equal cost",
    difficulty=2, importance=4, minutes=10, points=2,
    solution="resnet_tutorial.solutions.chapter07:equal_cost_width",
)  # fmt: skip
def check_equal_cost_width(equal_cost_width: Any, expect: Expectations) -> None:
    """The paper's five settings, then other cardinalities, channels and plain widths."""
    equal_cost_width = noting("equal_cost_width", equal_cost_width)
    cases = (
        (1, 256, 64), (2, 256, 64), (4, 256, 64), (8, 256, 64), (32, 256, 64),
        (64, 256, 64), (16, 256, 64), (4, 512, 128), (32, 512, 128), (3, 100, 32), (2, 96, 20), (5, 64, 40),
        (5, 64, 32),  # the width nearest to the exact one is 12, the one nearest in weights 11
    )  # fmt: skip
    given = [equal_cost_width(*case) for case in cases]
    answers = [whole(answer) for answer in given]
    rights = [_nearest(*case) for case in cases]
    code, hint = _width_slip(cases, answers)
    for case, answer, got, right in zip(cases, given, answers, rights, strict=True):
        cardinality, channels, plain_width = case
        call = f"equal_cost_width({cardinality}, {channels}, {plain_width})"
        if not expect(
            got is not None, "wrong-type",
            f"{call} gave {described(answer)}; a width is a whole number of channels.",
            hint="Try the whole numbers from 1 to plain_width, and return the best one.",
        ) or got is None:  # fmt: skip
            return
        found = f"{_block_weights(cardinality, got, channels):,} weights" if got > 0 else "no weights"
        if not expect(
            got == right, code,
            f"{call} gave {got}, with {found}; {right} gives {_block_weights(cardinality, right, channels):,}, "
            f"which is nearer to the plain block's {_block_weights(1, plain_width, channels):,}.",
            hint=hint,
        ):  # fmt: skip
            return
    answer = equal_cost_width(32)
    expect(
        whole(answer) == 4, "wrong-default", f"equal_cost_width(32) gave {described(answer)}, not 4.",
        hint="The defaults channels=256 and plain_width=64 stand in the signature: leave them there.",
    )  # fmt: skip


# --- 7.6 -------------------------------------------------------------------------------------


@exercise(
    "resnext_whole", chapter=7, number=6, title="Assemble ResNeXt-50",
    difficulty=3, importance=4, minutes=12, points=3,
    solution="resnet_tutorial.solutions.chapter07:ResNeXt",
)  # fmt: skip
def check_resnext_whole(ResNeXt_: Any, expect: Expectations) -> None:
    """Parameters of ResNeXt-50 and 101, then logits and gradients of a short network."""
    for name, layers, groups, base_width, right in (
        ("ResNeXt-50 (32×4d)", (3, 4, 6, 3), 32, 4, 25_028_904),
        ("ResNeXt-101 (64×4d)", (3, 4, 23, 3), 64, 4, 83_455_272),
    ):
        with torch.device("meta"):
            made = ResNeXt_(layers, groups, base_width)
        if not expect(
            isinstance(made, nn.Module), "not-a-module", f"ResNeXt(…) is a {type(made).__name__}, not an nn.Module.",
            hint="class ResNeXt(nn.Module), with super().__init__() first.",
        ):  # fmt: skip
            return
        count = parameter_count(made)
        seen = f"{name} as ResNeXt({layers}, {groups}, {base_width}) has {count:,} parameters, not {right:,}."
        if count != right:
            with torch.device("meta"):
                told = ResNeXt_(layers, groups, base_width, 1000)
            break
    layers, groups, base_width, classes = (1, 2, 1, 1), 4, 8, 29
    network = Network(
        f"ResNeXt({layers}, {groups}, {base_width}, {classes})",
        partial(ResNeXt_, layers, groups, base_width, classes), partial(ResNeXt, layers, groups, base_width, classes),
        partial(_network_variants, layers, groups, base_width, classes), (33, 40),
    )  # fmt: skip
    if judge_network([network], expect):
        default = count != right and parameter_count(told) == right
        expect(
            count == right, "wrong-default" if default else "wrong-parameters",
            f"{seen[:-1]}; told num_classes=1000, it has them." if default else seen,
            hint="The default stands in the signature: num_classes=1000." if default else
            "layers, groups and base_width decide; nothing is written into the class.",
        )  # fmt: skip


def _network_variants(layers: Sequence[int], groups: int, base_width: int, classes: int) -> Iterator[Variant]:
    widths = (64, 128, 256, 512)

    def build(
        counts: Sequence[int] = layers, planes: Sequence[int] = widths, strides: Sequence[int] = (1, 2, 2, 2),
        front: nn.Module | None = None, groups: int = groups, base_width: int = base_width,
        head: int = classes, **how: Any,
    ) -> nn.Module:  # fmt: skip
        ends = {name: how.pop(name) for name in ("pool", "after") if name in how}
        made = stages(Bottleneck, planes, counts, 64, strides, groups=groups, base_width=base_width, **how)
        return Shape(front or imagenet_stem(), made, nn.Linear(4 * planes[-1], head), **ends)

    def growing() -> nn.Module:
        made, channels = [], 64
        for stage, (count, width) in enumerate(zip(layers, widths, strict=True)):
            how = {"groups": groups, "base_width": base_width << stage}
            made.append(make_layer(Bottleneck, channels, width, count, 2 if stage else 1, **how))
            channels = 4 * width
        return Shape(imagenet_stem(), made, nn.Linear(channels, classes))

    hint = "Hand groups and base_width to every make_layer."
    yield ("groups-ignored", "The blocks are ResNet's, without groups.", hint,
           partial(build, groups=1, base_width=64))
    yield ("groups-ignored", "The blocks have one group.", hint, partial(build, groups=1))
    yield ("base-width-ignored", f"The blocks have {groups} groups, but each is as wide as in a ResNet.", hint,
           partial(build, base_width=64))
    yield ("base-width-grows", "The base width doubles from stage to stage.",
           "planes doubles already, and the width with it: hand base_width on as it is.", growing)
    yield ("groups-and-width-swapped", f"The blocks have {base_width} groups of base width {groups}.",
           f"groups={groups} is the cardinality, base_width={base_width} the channels of one group.",
           partial(build, groups=base_width, base_width=groups))
    yield ("groups-fixed", "The blocks have 32 groups of base width 4, whatever is asked for.", hint,
           partial(build, groups=32, base_width=4))
    yield ("layers-ignored", "The stages have (3, 4, 6, 3) blocks, whatever layers says.",
           "Hand each number of layers to its make_layer.", partial(build, counts=(3, 4, 6, 3)))
    for more in (-1, 1):
        counts = tuple(max(1, count + more) for count in layers)
        yield ("wrong-depth", f"The stages have {counts} blocks, not {layers}.", "layers says how many.",
               partial(build, counts=counts))
    yield ("shared-block", "The blocks of a stage behind the first are one and the same block.",
           "[block] * n repeats one object; make_layer makes each anew.", partial(build, copies=True))
    yield ("stride-in-every-block", "every block of stages 2 to 4 has the stride, not only the first.",
           "Only the first block of a stage changes the shape.", partial(build, each=True))
    for strides in ((1, 1, 1, 1), (2, 2, 2, 2), (1, 2, 2, 1), (1, 1, 2, 2)):
        yield ("wrong-stride", f"the strides of the four stages are {strides}; (1, 2, 2, 2) is right.",
               "Stage 1 keeps the size, which the stem has divided by 4; stages 2, 3 and 4 halve it.",
               partial(build, strides=strides))
    yield ("wrong-widths", "The stages' planes do not double.", "planes: 64, 128, 256, 512.",
           partial(build, planes=(64, 64, 64, 64)))
    conv, norm = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
    small = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    yield ("cifar-stem", "The stem is that of the small network, one 3 × 3.",
           "ImageNet's stem: 7 × 7 at stride 2, batch norm, ReLU, 3 × 3 max-pooling at stride 2.",
           lambda: build(front=nn.Sequential(small, norm, nn.ReLU())))
    yield ("stem-pooling-missing", "the stem has no max-pooling.", "nn.MaxPool2d(3, stride=2, padding=1) ends it.",
           lambda: build(front=nn.Sequential(conv, norm, nn.ReLU())))
    yield ("stem-relu-missing", "the stem has no ReLU.", "Convolution, batch norm, ReLU, max-pooling.",
           lambda: build(front=nn.Sequential(conv, norm, nn.MaxPool2d(3, 2, 1))))
    yield ("base-width-times-groups", f"The base width is {groups * base_width}, groups times base_width.",
           "base_width is the width of one group.", partial(build, base_width=groups * base_width))
    for place in range(4):
        counts = tuple(count + (stage == place) for stage, count in enumerate(layers))
        yield ("wrong-depth", f"Stage {place + 1} has {counts[place]} blocks, not {layers[place]}.",
               "Hand each number of layers to its make_layer.", partial(build, counts=counts))
    if classes != 1000:
        yield ("wrong-classes", "The head gives 1000 logits, whatever num_classes is.",
               "Hand num_classes to the head.", partial(build, head=1000))
    yield from head_variants(build)


# --- 7.7 -------------------------------------------------------------------------------------


@exercise(
    "count_groups", chapter=7, number=7, title="Find the fault: count the groups",
    difficulty=3, importance=4, minutes=15, points=3,
    solution="resnet_tutorial.solutions.chapter07:count_groups",
)  # fmt: skip
def check_count_groups(count_groups: Any, expect: Expectations) -> None:
    """Convolutions as modules and as bare functions: dense, grouped, depthwise, and one with small weights."""
    layers: tuple[tuple[int, int, int, int, bool, dict[str, Any]], ...] = (
        (20, 8, 4, 3, False, {"padding": 1}), (12, 24, 1, 1, False, {}), (16, 8, 2, 3, False, {"bias": True}),
        (10, 10, 10, 3, False, {"padding": 1}), (8, 32, 4, 3, False, {"stride": 2, "padding": 1}),
        (24, 24, 6, 3, False, {"padding": 1, "bias": True}), (12, 12, 3, 3, True, {"padding": 1}),
    )  # fmt: skip
    for channels, filters, groups, kernel, faint, options in layers:
        layer = nn.Conv2d(channels, filters, kernel, groups=groups, **{"bias": False, **options})
        with torch.no_grad():
            weight = layer.weight  # far from zero, or near it, but not at random
            weight.copy_(torch.full_like(weight, 1e-3) if faint else weight.sign() * (0.5 + torch.rand_like(weight)))
        kept = [parameter.detach().clone() for parameter in layer.parameters()]
        for subject, what in ((layer, "an nn.Conv2d"), (lambda x, layer=layer: layer(x), "a bare function")):
            call = f"{what} from {channels} to {filters} channels with {groups} group{'s' * (groups > 1)}"
            call += " and weights of 0.001" * faint
            answer = _counted(count_groups, subject, channels, call, expect)
            if answer is _NO_COUNT:
                return
            got = whole(answer)
            if not expect(
                got is not None, "wrong-type",
                f"For {call} the answer is {described(answer)}, not a whole number.",
                hint="return channels // seen: two slashes, which give an int.",
            ) or got is None:  # fmt: skip
                return
            otherwise = ("wrong-value", "Which input channels does output channel 0 depend on?")
            if faint:
                otherwise = ("not-zero", "A small gradient is no zero: compare with 0 itself.")
            code, hint = {
                filters // groups: (
                    "width-not-groups", "That is how many outputs one group has; divide their number by it."),
                channels // groups: (
                    "width-not-groups", "That is how many channels one group has; divide channels by it."),
                channels / (filters // groups): (
                    "sides-mixed", "Divide inputs by inputs a group, or outputs by outputs a group."),
                filters / (channels // groups): (
                    "sides-mixed", "Divide inputs by inputs a group, or outputs by outputs a group."),
                groups: otherwise,
            }.get(got, otherwise)  # fmt: skip
            if layer.bias is not None and got == 1:
                code = "bias-taken-for-input"
                hint = ("This layer has a bias: its outputs are not zero even where they depend on nothing. "
                        "Compare two outputs, or ask for gradients.")  # fmt: skip
            if not expect(
                got == groups, code, f"For {call} the answer is {got}, not {groups}.", hint=hint
            ):
                return
            if not _layer_is_as_it_was(layer, kept, call, expect):
                return


_NO_COUNT = object()


def _counted(count_groups: Callable[..., Any], subject: Any, channels: int, call: str, expect: Expectations) -> Any:
    """Return what the learner's function answers; asking a bare function for an attribute is a finding."""
    try:
        with told(f"It was given {call}."):
            return count_groups(subject, channels)
    except AttributeError as error:
        if isinstance(subject, nn.Module) or error.obj is not subject:
            raise
        asked = error.name
    expect(
        False, "reads-attributes",
        f"Given {call}, it asked for .{asked}, which a function does not have.",
        hint="Read no attribute of layer: call it, and see which inputs its outputs depend on.",
    )  # fmt: skip
    return _NO_COUNT


def _layer_is_as_it_was(layer: nn.Conv2d, kept: list[Tensor], call: str, expect: Expectations) -> bool:
    parameters = list(layer.parameters())
    return (
        expect(
            all(map(torch.equal, parameters, kept)), "layer-changed",
            f"After the call for {call} the layer has other weights.",
            hint="Change the input, not the layer, and look at what comes out.",
        )
        and expect(
            all(parameter.grad is None for parameter in parameters), "gradients-left",
            f"After the call for {call} gradients lie in the layer's parameters.",
            hint="torch.autograd.grad(number, x) gives the gradient of x alone; backward() fills every .grad.",
        )
        and expect(
            layer.training and all(parameter.requires_grad for parameter in parameters), "layer-changed",
            f"After the call for {call} the layer is in eval mode or frozen; it came in training mode and unfrozen.",
            hint="Leave the layer as it was: no .eval(), no requires_grad_(False).",
        )
    )  # fmt: skip
