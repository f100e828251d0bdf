"""Checks of chapter 3, the residual block."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..blocks import needs_projection, projection
from . import residual
from .common import described, noting, parameter_count, told, truth, whole, whole_numbers
from .core import Expectations, exercise

# --- 3.1 -------------------------------------------------------------------------------------


@exercise(
    "needs_projection", chapter=3, number=1, title="When can x be added as it is?",
    difficulty=1, importance=4, minutes=5, points=1,
    solution="resnet_tutorial.blocks:needs_projection",
)  # fmt: skip
def check_needs_projection(needs: Any, expect: Expectations) -> None:
    """All four combinations of stride and channels, and a block that has fewer channels."""
    needs = noting("needs_projection", needs)
    answers = {
        case: needs(*case)
        for case in (
            (64, 64, 1),
            (64, 128, 2),
            (64, 256, 1),
            (64, 64, 2),
            (128, 64, 1),
            (64, 64, 3),
        )
    }
    for case, answer in answers.items():
        if not expect(
            truth(answer) is not None or whole(answer) in (0, 1), "no-answer",
            f"needs_projection{case} returned {described(answer)}, neither True nor False.",
            hint="Return the comparison itself.",
        ):  # fmt: skip
            return
    answers = {case: bool(answer) for case, answer in answers.items()}
    if not expect(
        any(answer == (before != after or stride != 1) for (before, after, stride), answer in answers.items()),
        "inverted", "Every answer is the opposite of the right one.",
        hint="True says that a projection is needed.",
    ):  # fmt: skip
        return
    only_stride, only_channels = answers[64, 64, 2], answers[64, 256, 1]
    if not expect(
        only_stride or only_channels or not answers[64, 128, 2], "and-instead-of-or",
        "needs_projection(64, 128, 2) is True, but with only the stride or only the channels "
        "changed it is False.",
        hint="One difference is enough to make the shapes disagree: or, not and.",
    ):  # fmt: skip
        return
    expect(
        not answers[64, 64, 1], "projects-always",
        "needs_projection(64, 64, 1) is True, though the shape stays as it is.",
        hint="64 channels in, 64 out, stride 1: x and F(x) have one shape and add as they are.",
    )  # fmt: skip
    expect(
        answers[64, 128, 2], "changed-shape-not-seen",
        "needs_projection(64, 128, 2) is False, though channels and size change.",
        hint="Compare the shape of x with the shape that leaves the branch.",
    )  # fmt: skip
    expect(
        only_channels, "channels-ignored",
        "needs_projection(64, 256, 1) is False: 64 channels cannot be added to 256.",
        hint="Look at the channels as well as at the stride.",
    )  # fmt: skip
    if only_channels:  # a look at channels that are not looked at would tell nothing new
        expect(
            answers[128, 64, 1], "only-growing-channels",
            "needs_projection(128, 64, 1) is False: 128 channels cannot be added to 64 either.",
            hint="Ask whether the numbers differ, not which is larger.",
        )  # fmt: skip
    expect(
        only_stride and answers[64, 64, 3], "stride-ignored",
        f"needs_projection(64, 64, 2) is {only_stride} and needs_projection(64, 64, 3) is "
        f"{answers[64, 64, 3]}, though a stride above 1 shrinks the feature map.",
        hint="Every stride but 1 changes height and width.",
    )  # fmt: skip


# --- 3.2 -------------------------------------------------------------------------------------


@exercise(
    "zero_pad_shortcut", chapter=3, number=2, title="The shortcut without parameters",
    difficulty=3, importance=3, minutes=15, points=3,
    solution="resnet_tutorial.solutions.chapter03:ZeroPadShortcut",
)  # fmt: skip
def check_zero_pad_shortcut(ZeroPadShortcut: Any, expect: Expectations) -> None:
    """Equal to slicing and padding, for odd and even sizes; the likely slips by name."""
    for in_channels, out_channels, stride, size in (
        (4, 8, 2, (8, 6)), (4, 8, 2, (9, 7)), (3, 10, 3, (7, 8)), (4, 4, 2, (9, 6)), (4, 7, 1, (5, 5)),
    ):  # fmt: skip
        name = f"ZeroPadShortcut({in_channels}, {out_channels}, stride={stride})"
        with told(f"{name} was made."):
            shortcut = ZeroPadShortcut(in_channels, out_channels, stride)
        if not expect(
            isinstance(shortcut, nn.Module), "not-a-module",
            f"{name} is a {type(shortcut).__name__}, not an nn.Module.",
            hint="Derive the class from nn.Module and call super().__init__() first.",
        ):  # fmt: skip
            return
        numbers = parameter_count(shortcut)
        if not expect(
            numbers == 0, "has-parameters",
            f"{name} has {numbers} parameters; option A has none.",
            hint="Slice and pad. A convolution would be option B.",
        ):  # fmt: skip
            return
        x = torch.randn(2, in_channels, *size, dtype=torch.float64, requires_grad=True)
        before = x.detach().clone()
        y = noting(name, shortcut)(x)
        if not (
            expect(
                torch.equal(x.detach(), before), "input-modified",
                f"{name} changed its input in place: the branch still needs it.",
                hint="Make a new tensor; do not write into x.",
            )
            and _zero_pad_values(before, y, name, out_channels, stride, expect)
        ):  # fmt: skip
            return
        if not expect(
            y.requires_grad, "gradient-cut",
            f"{name}: no gradient can reach the input.",
            hint="Leave out .detach(), .data and torch.no_grad().",
        ):  # fmt: skip
            return
        y.sum().backward()
        gradient = cast(Tensor, x.grad)
        if not expect(
            torch.equal(gradient, _kept_pixels(x.detach(), stride)), "gradient-wrong",
            f"{name}: each kept pixel should get a gradient of 1 and each other one of 0; "
            f"the sum is {gradient.sum():.0f} instead of {_kept_pixels(x.detach(), stride).sum():.0f}.",
            hint="Every kept value goes to one place of the output, once.",
        ):  # fmt: skip
            return
    half = torch.randn(1, 2, 4, 4, dtype=torch.bfloat16)
    name = "ZeroPadShortcut(2, 4, stride=2)"
    _keeps_dtype(half, noting(name, ZeroPadShortcut(2, 4, 2))(half), name, expect)


def _keeps_dtype(x: Tensor, y: Tensor, name: str, expect: Expectations) -> bool:
    given, found = (str(t.dtype).removeprefix("torch.") for t in (x, y))
    return expect(
        given == found, "dtype-changed", f"{name}: {given} went in and {found} came out.",
        hint="Make the zeros with F.pad or x.new_zeros(…), which take type and device from x.",
    )  # fmt: skip


def _kept_pixels(x: Tensor, stride: int) -> Tensor:
    mask = torch.zeros_like(x)
    mask[:, :, ::stride, ::stride] = 1
    return mask


def _shape_hint(y: Any, wanted: Tensor) -> str:
    """Say what to try after a wrong shape: to slice, to append, or the order of F.pad's numbers."""
    if not isinstance(y, Tensor) or y.dim() != 4:
        return "forward returns one tensor of four axes."
    if y.shape[:2] == wanted.shape[:2]:
        return "x[:, :, ::stride, ::stride] keeps every stride-th row and column, ceil(H / stride) of H rows."
    if y.shape[2:] == wanted.shape[2:]:
        return "Append out_channels - in_channels channels of zeros, however many that are."
    return "F.pad counts its numbers from the last axis backwards: width, height, channels."


def _zero_pad_values(x: Tensor, y: Any, name: str, out_channels: int, stride: int, expect: Expectations) -> bool:
    kept = x[:, :, ::stride, ::stride]
    extra = out_channels - kept.shape[1]
    wanted = F.pad(kept, (0, 0, 0, 0, 0, extra))
    if not expect(
        isinstance(y, Tensor) and y.shape == wanted.shape, "wrong-shape",
        f"{name} turned {tuple(x.shape)} into {tuple(y.shape) if isinstance(y, Tensor) else described(y)}; "
        f"it should give {tuple(wanted.shape)}.",
        hint=_shape_hint(y, wanted),
    ) or not _keeps_dtype(x, y, name, expect):  # fmt: skip
        return False
    y = y.detach()
    if torch.equal(y, wanted):
        return True
    repeated = kept.repeat(1, -(-out_channels // kept.shape[1]), 1, 1)[:, :out_channels]
    half = extra // 2
    slips = {
        "zeros-not-last": (
            (F.pad(kept, (0, 0, 0, 0, extra, 0)), F.pad(kept, (0, 0, 0, 0, half, extra - half))),
            "the channels of zeros do not stand behind the others.",
            "The channels of x keep their numbers; the zeros are appended: the last number of F.pad.",
        ),
        "pixels-averaged": (
            (F.pad(F.avg_pool2d(x, stride, ceil_mode=True), (0, 0, 0, 0, 0, extra)),
             F.pad(F.adaptive_avg_pool2d(x, (kept.shape[2], kept.shape[3])), (0, 0, 0, 0, 0, extra))),
            "each output is the mean of several pixels; option A takes one and leaves the others.",
            "A slice with a step: x[:, :, ::stride, ::stride].",
        ),
        "pixels-pooled": (
            (F.pad(F.max_pool2d(x, stride, ceil_mode=True), (0, 0, 0, 0, 0, extra)),),
            "each output is the largest of several pixels; option A takes one and leaves the others.",
            "A slice with a step: x[:, :, ::stride, ::stride].",
        ),
        "channels-repeated": (
            (repeated,),
            "the new channels repeat those of x; they should be zero.",
            "Append zeros, not a second copy.",
        ),
    }  # fmt: skip
    for code, (candidates, message, hint) in slips.items():
        same = any(c.shape == y.shape and torch.allclose(c, y) for c in candidates)
        if not expect(not same, code, f"{name}: {message}", hint):
            return False
    first = y[:, : kept.shape[1]]
    return expect(
        False, "wrong-value",
        f"{name}: {int((y != wanted).sum())} of {y.numel()} values differ from those of every "
        f"{stride}th pixel of x with zeros behind"
        + (" (the first channels are right, the others are not)." if torch.equal(first, kept) else "."),
        hint="Start at pixel 0 of each axis, take every stride-th, then append channels of zeros.",
    )  # fmt: skip


# --- 3.3 -------------------------------------------------------------------------------------

# in_channels, planes, stride, size of the image. The first has an identity shortcut.
_BLOCKS = (
    (8, 8, 1, (9, 7)), (8, 16, 2, (9, 7)), (8, 16, 2, (8, 10)), (8, 16, 1, (6, 5)), (8, 8, 2, (7, 8)),
    (16, 8, 1, (5, 6)), (8, 16, 3, (9, 10)),
)  # fmt: skip


@exercise(
    "basic_block", chapter=3, number=3, title="Write the residual block",
    difficulty=4, importance=5, minutes=25, points=5,
    solution="resnet_tutorial.blocks:BasicBlock",
)  # fmt: skip
def check_basic_block(BasicBlock: Any, expect: Expectations) -> None:
    """Parameters, shapes, values, gradients, evaluation mode; each known fault by its name."""
    if not residual.is_class(BasicBlock, "basic_block", expect):
        return
    cases = []
    for in_channels, planes, stride, size in _BLOCKS:
        arguments = f"{in_channels}, {planes}" + f", stride={stride}" * (stride > 1)
        plan = residual.basic(
            f"BasicBlock({arguments})", in_channels, planes, stride, needs_projection(in_channels, planes, stride)
        )
        make = partial(BasicBlock, in_channels, planes, stride)
        cases.append(residual.Case(plan, make, size))
    # A shortcut that is handed in counts like one of the block's own, also where none would be needed.
    for in_channels, planes, stride in ((8, 16, 2), (8, 8, 1)):
        call = f"BasicBlock({in_channels}, {planes}, {stride}, projection(…))"
        cases.append(residual.Case(
            residual.basic(call, in_channels, planes, stride, True),
            partial(_with_projection, BasicBlock, in_channels, planes, stride), (7, 6), handed=True,
        ))  # fmt: skip
    if not residual.default_holds(
        "BasicBlock(8, 16)", partial(BasicBlock, 8, 16), "BasicBlock(8, 16, stride=1)",
        partial(BasicBlock, 8, 16, 1), 8, expect,
    ) or not residual.judge(cases, expect):
        return
    residual.given_shortcut_holds("BasicBlock", BasicBlock, (8, 16), expect)
    expect(
        getattr(BasicBlock, "expansion", None) == 1, "expansion-missing",
        "BasicBlock.expansion is not 1; whoever builds a network from blocks asks for it.",
        hint="Leave the line expansion = 1 in the class.",
    )  # fmt: skip


def _with_projection(BasicBlock: Any, in_channels: int, planes: int, stride: int) -> nn.Module:
    return BasicBlock(in_channels, planes, stride, projection(in_channels, planes, stride))


# --- 3.4 -------------------------------------------------------------------------------------


@exercise(
    "count_layers", chapter=3, number=4, title="Count the layers",
    difficulty=2, importance=3, minutes=8, points=2,
    solution="resnet_tutorial.solutions.chapter03:count_layers",
)  # fmt: skip
def check_count_layers(count_layers: Any, expect: Expectations) -> None:
    """102 layers and 104 convolutions; the likely miscounts by name."""
    given = count_layers() if callable(count_layers) else count_layers
    answer = whole_numbers(given, 2)
    if not expect(
        answer is not None, "wrong-type",
        f"Two whole numbers are asked for; {described(given)} came back.",
        hint="return layers, convolutions",
    ) or answer is None:  # fmt: skip
        return
    layers, convolutions = answer
    known = {
        50: ("blocks-counted", "is the number of blocks; each has two layers.", "Multiply by the layers of a block."),
        100: ("ends-forgotten", "counts only the blocks.",
              "The stem's convolution and the classifier have weights too."),
        101: ("one-end-forgotten", "counts the blocks and one more layer.",
              "The stem's convolution in front, the classifier at the end: two."),
        105: ("projections-counted", "counts the projections as well.",
              "The names of ResNets leave the shortcuts out."),
        152: ("bottleneck-counted", "would be right for blocks of three convolutions.",
              "A basic block has two convolutions."),
    }  # fmt: skip
    code, message, hint = known.get(layers, ("wrong-layers", "is not it.", "1 + 2 · blocks + 1."))
    expect(layers == 102, code, f"Layers in the name: {layers} {message}", hint)
    known = {
        101: ("projections-forgotten", "leaves out the convolutions on the shortcuts.",
              "Which blocks change the shape? Each of them has a 1×1."),
        105: ("one-too-many", "is one too many.",
              "The classifier is no convolution, and stage 1 keeps 64 channels at stride 1."),
        103: ("stem-forgotten", "is one too few.", "The stem begins with a convolution."),
        100: ("ends-forgotten", "counts only the branches.", "There are the stem and the projections too."),
    }  # fmt: skip
    code, message, hint = known.get(
        convolutions, ("wrong-convolutions", "is not it.", "Stem, branches, and the projections.")
    )
    expect(convolutions == 104, code, f"Convolutions: {convolutions} {message}", hint)


# --- 3.5 -------------------------------------------------------------------------------------


class _Suspect(nn.Module):
    """A basic block with an identity shortcut and one of the faults of exercise 3.5."""

    def __init__(self, channels: int, fault: str = "", bias: bool = False) -> None:
        super().__init__()
        self.fault = fault
        convolutions = (nn.Conv2d(channels, channels, 3, padding=1, bias=bias) for _ in range(2))
        self.layers = nn.ModuleList(
            layer for convolution in convolutions for layer in (convolution, nn.BatchNorm2d(channels))
        )

    def forward(self, x: Tensor) -> Tensor:
        conv1, bn1, conv2, bn2 = self.layers
        if self.fault == "inplace-relu":
            F.relu(x, inplace=True)
        out = F.relu(bn1(conv1(x)))
        out = (bn1 if self.fault == "unused-bn" else bn2)(conv2(out))
        if self.fault == "branch-relu":
            out = F.relu(out)
        if self.fault == "inplace-add":
            x += out
            return F.relu(x)
        return out + x if self.fault == "no-final-relu" else F.relu(out + x)


class _SuspectBottleneck(nn.Module):
    """The same in the shape of a bottleneck; ``spare`` is where a layer that nobody calls stands, if any."""

    def __init__(self, channels: int, spare: str = "", relu: bool = False) -> None:
        super().__init__()
        if spare == "first":
            self.unused = nn.Conv2d(channels, channels, 1)
        layers = [nn.Conv2d(channels, 2, 1, bias=False), nn.BatchNorm2d(2), nn.ReLU(),
                  nn.Conv2d(2, channels, 1, bias=False), nn.BatchNorm2d(channels)]  # fmt: skip
        self.branch = nn.Sequential(*layers, *([nn.ReLU()] if relu else []))
        if spare == "last":
            self.unused = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.branch(x) + x)


_VERDICTS = (
    "input changed", "no final ReLU", "ReLU on the branch", "unused parameters", "none found",
)  # fmt: skip


@exercise(
    "find_block_fault", chapter=3, number=5, title="Find the fault in a block",
    difficulty=4, importance=4, minutes=20, points=5,
    solution="resnet_tutorial.solutions.chapter03:find_fault",
)  # fmt: skip
def check_find_block_fault(find_fault: Any, expect: Expectations) -> None:
    """Blocks with one fault each, and right ones: the verdicts."""
    suspects = (
        (_Suspect(6), "none found", "a right block"),
        (_SuspectBottleneck(6), "none found", "a right block of another make"),
        (_Suspect(6, bias=True), "none found", "a right block whose convolutions have biases"),
        (_Suspect(6, "inplace-add"), "input changed", "a block that writes x += out"),
        (_Suspect(6, "inplace-relu"), "input changed", "a block with an in-place ReLU on x"),
        (_Suspect(6, "no-final-relu"), "no final ReLU", "a block that returns out + x"),
        (_Suspect(6, "branch-relu"), "ReLU on the branch", "a block with a ReLU before the addition"),
        (_SuspectBottleneck(6, relu=True), "ReLU on the branch",
         "a bottleneck with a ReLU before the addition"),
        (_Suspect(6, "unused-bn"), "unused parameters", "a block that uses bn1 twice and bn2 never"),
        (_SuspectBottleneck(6, "last"), "unused parameters", "a block with a last layer that forward never calls"),
        (_SuspectBottleneck(6, "first"), "unused parameters", "a block with a first layer that forward never calls"),
    )  # fmt: skip
    missed = set()
    for block, wanted, what in suspects:
        x = torch.randn(2, 6, 7, 5)
        verdict = _verdict(find_fault, block, x, what, wanted, expect)
        if verdict is _NO_VERDICT:
            return
        if not expect(
            isinstance(verdict, str) and verdict in _VERDICTS, "unknown-verdict",
            f"Shown {what}, find_fault returned {described(verdict)}.",
            hint="Return one of: " + ", ".join(repr(v) for v in _VERDICTS) + ".",
        ):  # fmt: skip
            return
        code = (
            "false-alarm"
            if wanted == "none found"
            else "missed-" + wanted.lower().replace(" ", "-")
        )
        if verdict == wanted or code not in missed:
            expect(
                verdict == wanted, code,
                f"It was shown {what}, and said {verdict!r} instead of {wanted!r}.",
                hint=_HINTS[wanted],
            )  # fmt: skip
        if verdict != wanted:
            missed.add(code)


_NO_VERDICT = object()


def _verdict(
    find_fault: Callable[..., Any], block: nn.Module, x: Tensor, what: str, wanted: str, expect: Expectations
) -> Any:
    """Return the verdict; going backward through a changed input raises an error, which is a finding."""
    try:
        with told(f"It was shown {what}."):
            return find_fault(block, x)
    except RuntimeError as error:
        if wanted != "input changed" or "inplace operation" not in str(error):
            raise
    expect(
        False, "missed-input-changed", f"It was shown {what}, and went backward before it had looked at the input: "
        "PyTorch refuses to compute gradients through a value that was overwritten.",
        hint="Ask about the input first, before any gradient.",
    )  # fmt: skip
    return _NO_VERDICT


_HINTS = {
    "input changed": "Copy x with x.clone() before the call and compare with torch.equal after it.",
    "no final ReLU": "After a ReLU nothing is below zero.",
    "ReLU on the branch": "If F(x) is never negative, no output is smaller than the x that went in. "
    "Compare with x, not with zero.",
    "unused parameters": "Go backward from y.sum() and look for parameters whose gradient is None "
    "(with torch.autograd.grad, say allow_unused=True).",
    "none found": "A right block lowers some values and raises others, and gives every parameter a gradient.",
}
