"""Checks of chapter 4, the bottleneck."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..blocks import needs_projection
from ..shapes import conv_macs, conv_params
from . import residual
from .common import by, described, noting, whole_numbers
from .core import Expectations, exercise


def _distance(y: Tensor, right: Tensor) -> float:
    return (y - right).abs().max().item()


def _any_failed(expect: Expectations) -> bool:
    return not all(finding.ok for finding in expect.findings)


# --- exercise 4.1 ---

_CONVOLUTIONS = {
    torch.conv1d, torch.conv2d, torch.conv3d, torch.convolution,
    torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d,
}  # fmt: skip


class _Convolutions(TorchFunctionMode):
    """Notes each convolution of any number of axes that is computed meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if func in _CONVOLUTIONS:
            weight = args[1] if len(args) > 1 else given["weight"]
            self.calls.append(f"{func.__name__} with a weight of {by(weight.shape)}")
        return func(*args, **given)


@exercise(
    "pointwise_conv", chapter=4, number=1, title="A 1 × 1 convolution as a matrix product",
    difficulty=2, importance=4, minutes=10, points=2,
    solution="resnet_tutorial.solutions.chapter04:pointwise_conv",
)  # fmt: skip
def check_pointwise_conv(pointwise_conv: Any, expect: Expectations) -> None:
    """Equal to F.conv2d for several shapes and strides, pixel by pixel, with gradients."""
    pointwise_conv = noting("pointwise_conv", pointwise_conv)
    x, weight = torch.randn(2, 4, 3, 5).double(), torch.randn(4, 4).double()
    before = x.clone()
    with _Convolutions() as watch:
        y = pointwise_conv(x, weight)
    if not _is_tensor(expect, y):
        return
    expect(
        torch.equal(x, before), "input-modified",
        "After the call the input holds other values than before.",
        hint="Slices and views share memory with x; do not write into them.",
    )
    expect(
        not watch.calls, "used-convolution",
        f"The function calls a convolution: {', '.join(watch.calls)}.",
        hint="Multiply matrices: @, torch.matmul, torch.einsum or F.linear.",
    )
    if not expect(
        y.shape == x.shape, "wrong-shape",
        f"From x of {by(x.shape)} and a weight of 4 x 4 came {by(y.shape)}, not {by(x.shape)}.",
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
        f"For x of {by(x.shape)} the result differs from F.conv2d by up to {error:.3g}.",
        hint="At each pixel: the weight times the vector of that pixel's channels.",
    )
    if _any_failed(expect):
        return
    for shape, out_channels, stride in (
        ((1, 3, 4, 6), 5, 1), ((2, 3, 7, 5), 2, 2), ((3, 2, 6, 4), 4, 2), ((2, 3, 8, 7), 3, 3),
    ):  # fmt: skip
        x, weight = torch.randn(shape).double(), torch.randn(out_channels, shape[1]).double()
        _expect_strided(expect, pointwise_conv, x, weight, stride)
        if _any_failed(expect):
            return
    inputs = [torch.randn(shape).double().requires_grad_() for shape in ((2, 2, 3, 5), (3, 2))]
    y, right = pointwise_conv(*inputs, 2), _conv(inputs[0], inputs[1], 2)
    mixing = torch.randn(right.shape).double()
    for name, x in zip(("x", "the weight"), inputs, strict=True):
        gradient = None
        if y.requires_grad:
            (gradient,) = torch.autograd.grad((y * mixing).sum(), x, retain_graph=True, allow_unused=True)
        if not expect(
            gradient is not None, "no-gradient", f"No gradient leads from the result back to {name}.",
            hint="Stay with tensor operations; no .detach(), .numpy() or .item().",
        ) or gradient is None:  # fmt: skip
            return
        (wanted,) = torch.autograd.grad((right * mixing).sum(), x, retain_graph=True)
        error = _distance(gradient, wanted)
        if not expect(
            error < 1e-6, "wrong-gradient",
            f"The result is right, but the gradient of {name} differs from that of F.conv2d by up to {error:.3g}.",
            hint="Stay with tensor operations; no .detach(), .data or torch.no_grad().",
        ):  # fmt: skip
            return


def _is_tensor(expect: Expectations, y: Any) -> bool:
    return expect(
        isinstance(y, Tensor), "wrong-type",
        f"The function returned {described(y)}, not a tensor.", hint="Return the result.",
    )  # fmt: skip


def _conv(x: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
    return F.conv2d(x, weight[:, :, None, None], stride=stride)


def _expect_strided(
    expect: Expectations, function: Callable, x: Tensor, weight: Tensor, stride: int
) -> None:
    y, right = function(x, weight, stride), _conv(x, weight, stride)
    if not _is_tensor(expect, y):
        return
    what = f"x of {by(x.shape)} with stride {stride}"
    if y.shape != right.shape:
        ignored = stride > 1 and y.shape[2:] == x.shape[2:]
        expect(
            False, "stride-ignored" if ignored else "wrong-shape",
            f"From {what} and {weight.shape[0]} output channels came {by(y.shape)}, "
            f"not {by(right.shape)}.",
            hint=_strided_hint(y, right),
        )
        return
    error = _distance(y, right)
    expect(
        error < 1e-6, "wrong-stride" if stride > 1 else "wrong-value",
        f"For {what} the result differs from F.conv2d by up to {error:.3g}.",
        hint="Rows and columns 0, stride, 2 * stride, … are read." if stride > 1 else
        "At each pixel: the weight times the vector of that pixel's channels.",
    )


def _strided_hint(y: Tensor, right: Tensor) -> str:
    if y.dim() != 4:
        return "The result has four axes, (N, D, H, W), also where N is 1: squeeze() takes away each axis of length 1."
    if y.shape[:2] == right.shape[:2] and y.shape[2:] != right.shape[2:]:
        return "Keep every stride-th row and column, beginning with the first: ceil(H / stride)."
    return "N, H and W come from x, the channels from the weight's first axis."


# --- exercise 4.2 ---

# in_channels, planes, stride, size of the image. The first has an identity shortcut.
_BLOCKS = (
    (32, 8, 1, (7, 6)), (24, 8, 2, (9, 8)), (24, 8, 1, (6, 5)), (32, 8, 2, (5, 8)), (40, 8, 1, (5, 6)),
    (24, 8, 3, (7, 9)),
)  # fmt: skip


@exercise(
    "bottleneck", chapter=4, number=2, title="Write the Bottleneck",
    difficulty=4, importance=5, minutes=25, points=5,
    solution="resnet_tutorial.blocks:Bottleneck",
)  # fmt: skip
def check_bottleneck(Bottleneck: Any, expect: Expectations) -> None:
    """Width, shortcut, ReLUs, batch norms, stride, values in both modes, and gradients."""
    if not residual.is_class(Bottleneck, "bottleneck", expect):
        return
    cases = []
    for in_channels, planes, stride, size in _BLOCKS:
        arguments = (in_channels, planes, stride) if stride > 1 else (in_channels, planes)
        call = f"Bottleneck{arguments}"
        plan = _plan(call, in_channels, planes, 4 * planes, stride)
        cases.append(residual.Case(plan, partial(Bottleneck, *arguments), size))
    if residual.default_holds(
        "Bottleneck(32, 8)", partial(Bottleneck, 32, 8), "Bottleneck(32, 8, 1)",
        partial(Bottleneck, 32, 8, 1), 32, expect,
    ):
        residual.judge(cases, expect, _misread)


def _plan(call: str, in_channels: int, width: int, out_channels: int, stride: int) -> residual.Plan:
    projects = needs_projection(in_channels, out_channels, stride)
    return residual.bottleneck(call, in_channels, width, out_channels, stride, projects)


def _misread(plan: residual.Plan) -> Iterator[residual.Variant]:
    """Yield the plans that come of other ideas of ``planes`` and of the expansion."""
    planes = plan.branch[0].out_channels
    for width, out in ((planes, planes), (planes, 2 * planes), (planes, 8 * planes), (planes // 4, planes),
                       (4 * planes, 4 * planes), (4 * planes, planes)):  # fmt: skip
        what = f"the branch is {width} channels wide and makes {out}"
        yield (
            "wrong-expansion", f"with planes={planes} {what}; asked for are {planes} and 4 x {planes}.",
            "planes is the inner width; the last 1x1 widens it to planes * 4.",
            _plan(plan.call, plan.in_channels, width, out, plan.stride),
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
        "stride": stride != 1, "channels": in_channels != out, "planes": needs_projection(in_channels, planes, stride),
    }[project]  # fmt: skip
    params = sum(conv_params(*layer[:3], bias=bias) + norm * layer[1] for layer in layers)
    if projects:
        params += conv_params(in_channels, out, 1, bias=bias) + norm * out * norm_on_projection
        layers.append((in_channels, out, 1, at_rest))
    return params, operations * sum(conv_macs(*layer) for layer in layers)


_COST_CASES = ((256, 64, 14, 1), (64, 64, 56, 1), (256, 128, 56, 2), (256, 64, 14, 2), (32, 16, 9, 2))
_PROJECTION_HINT = "needs_projection(in_channels, 4 * planes, stride) tells whether there is one."
_MISCOUNTS: dict[str, tuple[dict[str, Any], str, str]] = {
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
    "projection-only-on-channels": (
        {"project": "channels"},
        "The projection is counted where the channels change, but not where only the stride is 2.",
        _PROJECTION_HINT,
    ),
    "projection-by-planes": (
        {"project": "planes"},
        "The projection is counted where in_channels and planes differ; 4 * planes channels come out.",
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
def check_bottleneck_cost(bottleneck_cost: Any, expect: Expectations) -> None:
    """Parameters and multiply-accumulates of blocks with and without projection and stride."""
    bottleneck_cost = noting("bottleneck_cost", bottleneck_cost)
    found = []
    for case in _COST_CASES:
        answer = bottleneck_cost(*case[:3], stride=case[3])
        counts = whole_numbers(answer, 2)
        if not expect(
            counts is not None, "wrong-type",
            f"bottleneck_cost{case} gave {described(answer)}, not two whole numbers.",
            hint="return params, macs",
        ) or counts is None:  # fmt: skip
            return
        found.append(tuple(counts))
    if not expect(
        [pair[::-1] for pair in found] != [_cost(*case) for case in _COST_CASES], "wrong-order",
        f"bottleneck_cost{_COST_CASES[0]} gave {found[0]}: both numbers are right, but in the wrong order.",
        hint="The parameters come first: return params, macs",
    ):  # fmt: skip
        return
    for index, (code, what) in enumerate(
        (("wrong-params", "parameters"), ("wrong-macs", "multiply-accumulates"))
    ):
        counts = [pair[index] for pair in found]
        right = [_cost(*case)[index] for case in _COST_CASES]
        if counts == right:
            expect(True, code, f"The {what} are right.")
        else:
            _explain_count(expect, index, code, what, counts, right)
    expect(
        whole_numbers(bottleneck_cost(*_COST_CASES[0][:3]), 2) == list(found[0]), "wrong-default",
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
                    if all(finding.ok or finding.code != name for finding in expect.findings):
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
def check_stride_placements(stride_placements: Any, expect: Expectations) -> None:
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
        if expect(
            said in ("v1", "v1.5", "neither"), f"unknown-version-{branch}",
            f"For branch {branch} you answered {answer[branch]!r}.",
            hint='Possible answers are "v1", "v1.5" and "neither".',
        ):
            expect(said == version, f"branch-{branch}", f"Branch {branch} is not {said!r}.", hint=hint)


# --- exercise 4.5 ---


@exercise(
    "unseen_pixels", chapter=4, number=5, title="Pixels that nobody reads",
    difficulty=3, importance=3, minutes=15, points=3,
    solution="resnet_tutorial.solutions.chapter04:unseen_pixels",
)  # fmt: skip
def check_unseen_pixels(unseen_pixels: Any, expect: Expectations) -> None:
    """Masks for convolutions whose unread pixels are known, and for cases in which sums cancel."""
    with residual.one_thread():
        _check_masks(unseen_pixels, expect)


def _check_masks(unseen_pixels: Callable[..., Tensor], expect: Expectations) -> None:
    unseen_pixels = noting("unseen_pixels", unseen_pixels)
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
    edge, rows = torch.zeros(8, 8), torch.zeros(6, 6)
    edge[7], edge[:, 7], rows[1::2] = True, True, True
    for module, in_channels, right, what in (
        (nn.Conv2d(2, 3, 3, stride=2, padding=1), 2, torch.zeros(7, 7), "a padded 3x3 with stride 2"),
        (nn.Conv2d(2, 3, 3, stride=2), 2, edge, "an unpadded 3x3 with stride 2"),
        (nn.Conv2d(2, 3, 1, stride=(2, 1)), 2, rows, "a 1x1 convolution with stride 2 for the rows alone"),
    ):
        mask = unseen_pixels(module, in_channels, len(right))
        _expect_mask(expect, mask, right.bool(), what, "wrong-mask")

    _check_channels(unseen_pixels, expect)
    _check_branches(unseen_pixels, expect, thinned_mask)
    if not _any_failed(expect):
        _check_inputs(unseen_pixels, expect)


def _check_channels(unseen_pixels: Callable[..., Tensor], expect: Expectations) -> None:
    """Channels whose gradients cancel, and channels that are not read or not written."""
    none = torch.zeros(4, 4).bool()
    difference = torch.tensor([1.0, -1.0])
    for weight, what, code, hint in (
        (difference[None], "a convolution that subtracts its second channel from its first", "channels-cancel",
         "Look at each channel by itself: a sum over the channels of the gradient can cancel."),
        (difference[:, None], "a convolution whose two outputs are x and -x", "outputs-cancel",
         "The sum over all outputs can cancel: give each output a random weight before the sum."),
        (torch.tensor([[0.0, 1.0, 0.0]]), "a convolution that reads the second of three channels",
         "channel-unread", "A pixel is unread if its gradient is zero in all channels: all(dim=1), not any(dim=1)."),
        (torch.tensor([[0.0], [1.0], [0.0]]), "a convolution of whose three outputs only the second is not constant",
         "outputs-left-out", "Every output channel counts: reduce the whole of y to one number."),
    ):  # fmt: skip
        conv = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=False)
        with torch.no_grad():
            conv.weight.copy_(weight[:, :, None, None])
        _expect_mask(expect, unseen_pixels(conv, weight.shape[1], 4), none, what, code, hint)


def _check_branches(unseen_pixels: Callable[..., Tensor], expect: Expectations, thinned_mask: Tensor) -> None:
    """The branches of a bottleneck, which end in a batch norm."""
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


class _Gate(nn.Module):
    """Multiplies each image by the ReLU of its batch-normalised mean.

    In a batch some images have a mean above the batch's, others below it: the output of the latter
    is zero. An image that comes alone, or among equal ones, is at the mean. In evaluation mode the
    gate is open.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return 2 * x
        means = x.detach().mean(dim=(1, 2, 3))
        spread = (means - means.mean()) / (means.var(correction=0) + 1e-20).sqrt()
        # The mean of equal numbers is not always that number to the last digit.
        return x * F.relu(spread - 1e-3)[:, None, None, None]


def _check_inputs(unseen_pixels: Callable[..., Tensor], expect: Expectations) -> None:
    """Modules that show whether the images are several, random, and their gradients compared with zero."""
    none = torch.zeros(6, 6).bool()
    # With 64 channels, a random image whose largest values all miss a pixel comes once in 10**8.
    _expect_mask(
        expect, unseen_pixels(nn.MaxPool2d(2), 64, 6), none, "a max-pooling of 2 x 2", "input-not-random",
        "Of equal values max-pooling reads one: draw the input with torch.randn.",
    )  # fmt: skip
    faint = nn.Conv2d(4, 16, 1, bias=False)
    with torch.no_grad():
        faint.weight.mul_(1e-4)
    _expect_mask(
        expect, unseen_pixels(faint, 4, 6), none, "a convolution with weights below 0.0001", "not-zero",
        "A small gradient is no zero: compare with 0 itself.",
    )  # fmt: skip
    # Whoever looks at one image of several meets an open gate by chance, but not twenty times.
    for _ in range(20):
        mask = unseen_pixels(_Gate(), 2, 6)
        if not _expect_mask(
            expect, mask, none, "a gate that closes for images below the batch's mean", "one-image",
            "Send several random images, and ask where the gradient is zero in all of them: with a ReLU "
            "inside, one image's gradient can be zero by chance.",
        ):  # fmt: skip
            return


def _describe_mask(mask: Any) -> str:
    if isinstance(mask, Tensor):
        return f"a tensor of type {mask.dtype} and shape {tuple(mask.shape)}"
    return described(mask)


def _expect_mask(
    expect: Expectations, mask: Tensor, right: Tensor, what: str, code: str,
    hint: str = "The gradient of the outputs with respect to x is zero at a pixel nobody reads.",
) -> bool:  # fmt: skip
    side = len(right)
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != right.shape:
        return expect(
            False, "wrong-type",
            f"For {what} the function returned {_describe_mask(mask)}, not a boolean tensor of {side} x {side}.",
            hint="Compare the gradient with zero and reduce the axes of the batch and the channels.",
        )
    if any(finding.code == code and not finding.ok for finding in expect.findings):
        return torch.equal(mask, right)  # said already
    marked, unread = int(mask.sum()), int(right.sum())
    if torch.equal(mask, right.T) and not torch.equal(mask, right):
        code, hint = "transposed", "Rows stand first: mask[i, j] belongs to x[:, :, i, j]. Leave out .T."
    return expect(
        torch.equal(mask, right), code,
        f"For {what} on {side} x {side} pixels {marked} are marked as unread; "
        + (f"{unread} are." if marked != unread else f"{unread} are, but not the same."),
        hint=hint,
    )
