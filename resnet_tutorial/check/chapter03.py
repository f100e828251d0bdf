"""Checks of chapter 3, the residual block.

The check of the basic block compares with a reference on the learner's own weights. Where the two
differ, it tries the reference with each known fault, and with each pair of them: the fault whose
output equals the learner's to ten digits is the one that the report names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, permutations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..blocks import BasicBlock as Reference
from ..blocks import conv3x3, needs_projection
from .core import exercise

_CLOSE = 1e-7  # everything is compared in float64


# --- 3.1 -------------------------------------------------------------------------------------


@exercise(
    "needs_projection", chapter=3, number=1, title="When can x be added as it is?",
    difficulty=1, importance=4, minutes=5, points=1,
    solution="resnet_tutorial.blocks:needs_projection",
)  # fmt: skip
def check_needs_projection(needs, expect):
    """All four combinations of stride and channels, and a block that has fewer channels."""
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
    odd = next((a for a in answers.values() if a not in (True, False)), True)
    if not expect(
        odd in (True, False), "no-answer",
        f"needs_projection(…) returned {odd!r}, neither True nor False.",
        hint="Return the comparison itself.",
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
    solution="resnet_tutorial.cifar:ZeroPadShortcut",
)  # fmt: skip
def check_zero_pad_shortcut(ZeroPadShortcut, expect):
    """Equal to slicing and padding, for odd and even sizes; the likely slips by name."""
    for in_channels, out_channels, stride, size in (
        (4, 8, 2, (8, 6)), (4, 8, 2, (9, 7)), (3, 10, 3, (7, 8)), (4, 4, 2, (9, 6)), (4, 7, 1, (5, 5)),
    ):  # fmt: skip
        shortcut = ZeroPadShortcut(in_channels, out_channels, stride)
        name = f"ZeroPadShortcut({in_channels}, {out_channels}, stride={stride})"
        if not expect(
            isinstance(shortcut, nn.Module), "not-a-module",
            f"{name} is a {type(shortcut).__name__}, not an nn.Module.",
            hint="Derive the class from nn.Module and call super().__init__() first.",
        ):  # fmt: skip
            return
        numbers = sum(p.numel() for p in shortcut.parameters())
        expect(
            numbers == 0, "has-parameters",
            f"{name} has {numbers} parameters; option A has none.",
            hint="Slice and pad. A convolution would be option B.",
        )  # fmt: skip
        x = torch.randn(2, in_channels, *size, dtype=torch.float64, requires_grad=True)
        before = x.detach().clone()
        y = shortcut(x)
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
        expect(
            torch.equal(x.grad, _kept_pixels(x.detach(), stride)), "gradient-wrong",
            f"{name}: each kept pixel should get a gradient of 1 and each other one of 0; "
            f"the sum is {x.grad.sum():.0f} instead of {_kept_pixels(x.detach(), stride).sum():.0f}.",
            hint="Every kept value goes to one place of the output, once.",
        )  # fmt: skip
    half = torch.randn(1, 2, 4, 4, dtype=torch.bfloat16)
    y = ZeroPadShortcut(2, 4, 2)(half)
    expect(
        y.dtype == half.dtype, "dtype-changed",
        f"bfloat16 went in and {str(y.dtype).removeprefix('torch.')} came out.",
        hint="Make the zeros with F.pad or x.new_zeros(…), which take type and device from x.",
    )  # fmt: skip


def _kept_pixels(x: Tensor, stride: int) -> Tensor:
    mask = torch.zeros_like(x)
    mask[:, :, ::stride, ::stride] = 1
    return mask


def _zero_pad_values(x, y, name, out_channels, stride, expect) -> bool:
    kept = x[:, :, ::stride, ::stride]
    extra = out_channels - kept.shape[1]
    wanted = F.pad(kept, (0, 0, 0, 0, 0, extra))
    if not expect(
        isinstance(y, Tensor) and y.shape == wanted.shape, "wrong-shape",
        f"{name} turned {tuple(x.shape)} into {tuple(getattr(y, 'shape', ()))}; "
        f"it should give {tuple(wanted.shape)}.",
        hint="F.pad counts its numbers from the last axis backwards: width, height, channels.",
    ):  # fmt: skip
        return False
    y = y.detach().to(wanted.dtype)
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
             F.pad(F.adaptive_avg_pool2d(x, kept.shape[2:]), (0, 0, 0, 0, 0, extra))),
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


@dataclass(frozen=True)
class _Fault:
    """A way to write the block wrongly: how :func:`_compute` is told, what the report says."""

    key: str
    code: str
    message: str
    hint: str
    only: str = ""  # "identity" or "projection", where the fault exists with one of them only


_FAULTS = (
    _Fault(
        "branch-relu", "relu-before-add",
        "none of the {total} outputs is smaller than the shortcut's value (in a right block "
        "{right_below} are): a ReLU stands on the branch before the addition, and the block can only add.",
        "End the branch with the second batch norm; the ReLU comes after the addition. "
        "(An in-place addition after that ReLU would make backward() fail as well.)",
    ),
    _Fault(
        "no-final-relu", "missing-final-relu",
        "{negative} of {total} outputs are negative, the lowest is {lowest:.2f}: "
        "the ReLU after the addition is missing.",
        "return F.relu(out + shortcut).",
    ),
    _Fault(
        "no-shortcut", "no-shortcut",
        "the output is relu(F(x)): x is never added, and this is a plain block.",
        "Keep x, or its projection, and add it to what leaves the branch.",
    ),
    _Fault(
        "shortcut-twice", "shortcut-twice",
        "the output is relu(F(x) + 2 · shortcut): the shortcut is added twice.",
        "Look for two additions, for example one += and one +.",
    ),
    _Fault(
        "stride-second", "stride-wrong-conv",
        "the output is that of a block whose second 3×3 has the stride of 2; it belongs to the first.",
        "conv3x3(in_channels, planes, stride) first, then conv3x3(planes, planes).",
        only="projection",
    ),
    _Fault(
        "no-bn1", "bn-missing",
        "no batch norm follows the first convolution.",
        "Each convolution is followed by a batch norm of its own.",
    ),
    _Fault(
        "no-bn2", "bn-missing",
        "no batch norm follows the second convolution.",
        "Each convolution is followed by a batch norm of its own, the last one of the branch too.",
    ),
    _Fault(
        "no-bn-shortcut", "bn-missing",
        "no batch norm follows the 1×1 convolution of the shortcut.",
        "A projection is a 1×1 convolution and a batch norm: projection(…) gives both.",
        only="projection",
    ),
    _Fault(
        "no-inner-relu", "missing-inner-relu",
        "there is no ReLU between the two convolutions, so that they are nearly one linear map.",
        "F.relu after the first batch norm.",
    ),
    _Fault(
        "inner-relu-first", "relu-before-bn",
        "the first ReLU stands before its batch norm.",
        "The order is convolution, batch norm, ReLU.",
    ),
    _Fault(
        "bn-after-add", "bn-after-add",
        "the second batch norm stands after the addition, where it rescales the shortcut too.",
        "Normalise what leaves the second convolution, then add.",
    ),
    _Fault(
        "shortcut-relu", "relu-on-shortcut",
        "a ReLU stands on the shortcut, so that the negative values of x are lost.",
        "The shortcut has no ReLU. Was x changed by an in-place ReLU before it was added?",
    ),
    _Fault(
        "subtract", "subtracted",
        "the shortcut is subtracted, not added.",
        "out + shortcut.",
    ),
    _Fault(
        "pre-activation", "pre-activation",
        "batch norm and ReLU stand before each convolution and nothing after the addition: this is "
        "the pre-activated block of chapter 12.",
        "Here the order is convolution, batch norm, ReLU, and a last ReLU follows the addition.",
        only="identity",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class _Weights:
    """The kernels of one block; ``project`` is ``None`` with an identity shortcut."""

    first: Tensor
    second: Tensor
    project: Tensor | None

    @classmethod
    def candidates(cls, block: nn.Module, projected: bool) -> Iterator[_Weights]:
        """Yield the ways to read the block's kernels: two where both 3x3 have one shape."""
        kernels = [p.detach() for p in block.parameters() if p.dim() == 4]
        project = next((k for k in kernels if k.shape[2:] == (1, 1)), None) if projected else None
        large = [k for k in kernels if k.shape[2:] == (3, 3)]
        for first, second in permutations(large, 2):
            if first.shape[0] == second.shape[1]:
                yield cls(first, second, project)


def _norm(x: Tensor) -> Tensor:
    return F.batch_norm(x, None, None, training=True)


def _shortcut_of(x: Tensor, weights: _Weights, stride: int, faults: frozenset[str]) -> Tensor:
    if weights.project is None:
        out = x
    else:
        out = F.conv2d(x, weights.project, stride=stride)
        out = out if "no-bn-shortcut" in faults else _norm(out)
    return F.relu(out) if "shortcut-relu" in faults else out


def _compute(
    x: Tensor, weights: _Weights, stride: int, faults: frozenset[str] = frozenset()
) -> Tensor:
    """Return a basic block's output in training mode, written with the given faults."""
    stride1, stride2 = (1, stride) if "stride-second" in faults else (stride, 1)
    if "pre-activation" in faults:
        out = F.conv2d(F.relu(_norm(x)), weights.first, padding=1)
        return F.conv2d(F.relu(_norm(out)), weights.second, padding=1) + x
    shortcut = _shortcut_of(x, weights, stride, faults)
    out = F.conv2d(x, weights.first, stride=stride1, padding=1)
    if "inner-relu-first" in faults:
        out = F.relu(out)
    if "no-bn1" not in faults:
        out = _norm(out)
    if "no-inner-relu" not in faults and "inner-relu-first" not in faults:
        out = F.relu(out)
    out = F.conv2d(out, weights.second, stride=stride2, padding=1)
    if "no-bn2" not in faults and "bn-after-add" not in faults:
        out = _norm(out)
    if "branch-relu" in faults:
        out = F.relu(out)
    if "no-shortcut" not in faults:
        out = out + shortcut * (-1 if "subtract" in faults else 1)
    if "shortcut-twice" in faults:
        out = out + shortcut
    if "bn-after-add" in faults:
        out = _norm(out)
    return out if "no-final-relu" in faults else F.relu(out)


class _SizesExplained:
    """``with`` this, a block whose two sides do not fit together gives a finding that says why.

    The layers' settings are read only here, after torch has refused the addition.
    """

    def __init__(self, say, block: nn.Module, stride: int) -> None:
        self.say, self.block, self.stride = say, block, stride
        self.happened = False

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, trace) -> bool:
        self.happened = isinstance(error, RuntimeError) and "must match the size" in str(error)
        if self.happened:
            self.say(False, *self._reason(str(error)))
        return self.happened

    def _reason(self, error: str) -> tuple[str, str, str]:
        convolutions = [m for m in self.block.modules() if isinstance(m, nn.Conv2d)]
        large = [m for m in convolutions if m.kernel_size == (3, 3)]
        small = [m for m in convolutions if m.kernel_size == (1, 1)]
        strided = [m for m in large if m.stride != (1, 1)]
        if any(m.padding != (1, 1) for m in large):
            paddings = ", ".join(str(m.padding) for m in large)
            return (
                "padding-missing",
                f"the 3×3 convolutions have paddings of {paddings}, the map shrinks, and x no longer fits.",
                "padding=1 keeps the size of a 3×3.",
            )
        if small and any(m.stride != (self.stride, self.stride) for m in small):
            return (
                "projection-stride",
                f"the block's stride is {self.stride} and the projection's is {small[0].stride[0]}.",
                "Hand the stride to the projection too.",
            )
        if self.stride == 2 and len(large) == 2 and len(strided) != 1:
            both = len(strided) == 2
            return (
                "stride-twice" if both else "stride-missing",
                f"{'both' if both else 'none'} of the 3×3 convolutions "
                f"{'have' if both else 'has'} a stride of 2; exactly one, the first, should.",
                "conv3x3(in_channels, planes, stride) first, then conv3x3(planes, planes).",
            )
        return (
            "sizes-differ",
            f"branch and shortcut do not fit together. PyTorch says: {error}",
            "Print out.shape and shortcut.shape just before the addition.",
        )


class _Given(nn.Module):
    """A shortcut handed to the block: gives 100 everywhere, whatever comes in."""

    def __init__(self, planes: int, stride: int) -> None:
        super().__init__()
        self.planes, self.stride = planes, stride

    def forward(self, x: Tensor) -> Tensor:
        kept = x[:, :1, :: self.stride, :: self.stride]
        return torch.full_like(kept, 100.0).expand(-1, self.planes, -1, -1)


@exercise(
    "basic_block", chapter=3, number=3, title="Write the residual block",
    difficulty=4, importance=5, minutes=25, points=5,
    solution="resnet_tutorial.blocks:BasicBlock",
)  # fmt: skip
def check_basic_block(BasicBlock, expect):
    """Parameters, shapes, values, gradients, evaluation mode; each known fault by its name."""
    if not expect(
        not isinstance(BasicBlock, nn.Module), "not-a-class",
        "You handed in one block; the check makes several and needs the class.",
        hint="check.basic_block(BasicBlock), without parentheses after BasicBlock.",
    ):  # fmt: skip
        return
    said: set[str] = set()
    for in_channels, planes, stride, size in (
        (8, 8, 1, (9, 7)), (8, 16, 2, (9, 7)), (8, 16, 2, (8, 10)), (8, 16, 1, (6, 5)), (8, 8, 2, (7, 8)),
        (16, 8, 1, (5, 6)),
    ):  # fmt: skip
        case = _Case(BasicBlock, in_channels, planes, stride, size, expect, said)
        if case.parameters_hold():
            case.behaviour_holds()
    if said:
        return
    _check_eval_mode(BasicBlock, expect)
    _check_given_shortcut(BasicBlock, expect)
    expect(
        getattr(BasicBlock, "expansion", None) == 1, "expansion-missing",
        "BasicBlock.expansion is not 1; whoever builds a network from blocks asks for it.",
        hint="Leave the line expansion = 1 in the class.",
    )  # fmt: skip


class _Case:
    """One setting of the block's arguments, looked at from the parameters to the gradients.

    ``said`` holds what an earlier case has reported, which is not said twice.
    """

    def __init__(self, BasicBlock, in_channels, planes, stride, size, expect, said) -> None:
        self.in_channels, self.planes, self.stride = in_channels, planes, stride
        self.expect, self.said = expect, said
        self.name = f"BasicBlock({in_channels}, {planes}" + (
            f", stride={stride})" if stride > 1 else ")"
        )
        self.projected = needs_projection(in_channels, planes, stride)
        self.block = BasicBlock(in_channels, planes, stride)
        self.x = torch.randn(2, in_channels, *size, dtype=torch.float64)

    def _say(self, holds: bool, code: str, message: str, hint: str, key: str = "") -> bool:
        """Record a finding, a failing one only once for all cases."""
        key = key or code
        if not holds and key in self.said:
            return False
        if not holds:
            self.said.add(key)
        return self.expect(holds, code, f"{self.name}: {message}", hint)

    # the parameters

    def parameters_hold(self) -> bool:
        """Look at kernels and vectors; return whether the block can be run and compared."""
        if not self._say(
            isinstance(self.block, nn.Module), "not-a-module",
            f"it is a {type(self.block).__name__}, not an nn.Module.",
            "Derive the class from nn.Module and call super().__init__() first.",
        ):  # fmt: skip
            return False
        parameters = list(self.block.parameters())
        if not self._say(
            bool(parameters), "no-parameters",
            "it has no parameters, so an optimiser would find nothing to train.",
            "Layers must be attributes of the module, or stand in nn.Sequential or nn.ModuleList; "
            "a Python list hides them.",
        ):  # fmt: skip
            return False
        kernels = [tuple(p.shape) for p in parameters if p.dim() == 4]
        if self.projected and not any(k[2:] == (1, 1) for k in kernels):
            if "no-shortcut" in self.said:
                return False
            return self._say(False, "missing-projection", *self._missing_projection())
        if not self._say(
            self.projected or not any(k[2:] == (1, 1) for k in kernels), "needless-projection",
            "the shape does not change, and yet there is a 1×1 convolution: that is option C.",
            "Project only where stride != 1 or in_channels != planes; elsewhere add x itself.",
        ):  # fmt: skip
            return False
        wanted = [(self.planes, self.in_channels, 3, 3), (self.planes, self.planes, 3, 3)]
        wanted += [(self.planes, self.in_channels, 1, 1)] if self.projected else []
        return self._say(
            sorted(kernels) == sorted(wanted), "wrong-kernels",
            f"its kernels have the shapes {_listed(kernels)} instead of {_listed(wanted)}.",
            "The first 3×3 goes from in_channels to planes, the second from planes to planes.",
        ) and self._biases_hold(parameters)  # fmt: skip

    def _missing_projection(self) -> tuple[str, str]:
        kept, made = self.in_channels, self.planes
        if kept != made and self.stride == 1:
            change = f"{kept} channels become {made} at stride 1"
            hint = "The stride alone does not decide: test stride != 1 or in_channels != planes."
        elif kept == made:
            change = f"the channels stay {kept} but the stride of {self.stride} shrinks the map"
            hint = "The channels alone do not decide: test stride != 1 or in_channels != planes."
        else:
            change = (
                f"{kept} channels become {made} and the stride of {self.stride} shrinks the map"
            )
            hint = "Where needs_projection(…) says so, put projection(in_channels, planes, stride) there."
        return f"{change}, and there is no 1×1 convolution on the shortcut.", hint

    def _biases_hold(self, parameters: list[nn.Parameter]) -> bool:
        """Report vectors that belong to no batch norm; the block can be compared either way."""
        convolutions = [m for m in self.block.modules() if isinstance(m, nn.Conv2d)]
        if convolutions:
            biases = sum(m.bias is not None for m in convolutions)
        else:  # written with F.conv2d: what belongs to no batch norm
            biases = sum(p.dim() == 1 for p in parameters) - 2 * self._norms()
        numbers = sum(p.numel() for p in parameters)
        self._say(
            biases <= 0, "bias-before-bn",
            f"it has {numbers:,} parameters, {biases * self.planes} of them in {biases} convolution "
            f"bias{'es' * (biases != 1)}. A batch norm takes the mean away, and any bias with it.",
            "bias=False in every convolution that a batch norm follows; conv3x3 and conv1x1 have it.",
        )  # fmt: skip
        return True

    def _norms(self) -> int:
        """Return how many batch norms there are: each keeps a running mean and a running variance."""
        return sum(b.dim() == 1 for b in self.block.buffers()) // 2

    # what it computes

    def behaviour_holds(self) -> None:
        """Look at shape, values and gradients."""
        self._neutralise()
        before, y = self.x.clone(), None
        explained = _SizesExplained(self._say, self.block, self.stride)
        with explained:
            y = self.block(self.x)
        if explained.happened:
            return
        sides = [-(-side // self.stride) for side in self.x.shape[2:]]
        wanted = (self.x.shape[0], self.planes, *sides)
        if not self._say(
            isinstance(y, Tensor), "nothing-returned",
            f"forward returned {'nothing' if y is None else type(y).__name__} instead of a tensor.",
            "return F.relu(out + shortcut).",
        ) or not self._say(
            tuple(y.shape) == wanted, "wrong-shape",
            f"it turned {tuple(before.shape)} into {tuple(y.shape)} instead of {wanted}.",
            "padding=1 keeps the size of a 3×3 at stride 1.",
        ):  # fmt: skip
            return
        unchanged = self._say(
            torch.equal(self.x, before), "input-modified",
            f"calling it changed {int((self.x != before).sum())} of the {before.numel()} values of its input x.",
            "x += … and an in-place ReLU on x write into the caller's tensor. "
            "Write out + x, which makes a new one.",
        )  # fmt: skip
        self.x = before
        weights = self._agreeing_weights(y.detach())
        if weights is not None and unchanged and self._norms_hold():
            self._gradients_hold(weights)

    def _neutralise(self) -> None:
        """Double precision; batch norms at 1 and 0 and biases at 0, so that kernels decide alone."""
        self.block.double().train()
        with torch.no_grad():
            for module in self.block.modules():
                if isinstance(module, nn.BatchNorm2d) and module.affine:
                    module.weight.fill_(1)
                    module.bias.fill_(0)
                elif isinstance(module, nn.Conv2d) and module.bias is not None:
                    module.bias.fill_(0)

    def _agreeing_weights(self, y: Tensor) -> _Weights | None:
        """Return the weights with which the reference gives ``y``, or report what it agrees with."""
        readings = list(_Weights.candidates(self.block, self.projected))
        for weights in readings:
            if _same(y, _compute(self.x, weights, self.stride)):
                return weights
        for size in (1, 2):
            for faults in combinations(self._possible_faults(), size):
                keys = frozenset(fault.key for fault in faults)
                for weights in readings:
                    if _same(y, _compute(self.x, weights, self.stride, keys)):
                        self._name_faults(faults, y, weights)
                        return None
        if self.said:
            return None  # very likely the same again, with something on top
        wanted = _compute(self.x, readings[0], self.stride)
        if self._norms_hold():
            self._say(
                False, "wrong-value",
                f"its output differs from relu(F(x) + shortcut) on the same weights by up to "
                f"{(y - wanted).abs().max():.2g}.",
                "Go through it line by line: convolution, batch norm, ReLU, convolution, batch norm, "
                "addition, ReLU.",
            )  # fmt: skip
        return None

    def _norms_hold(self) -> bool:
        wanted = 2 + self.projected
        return self._say(
            not any(b.dim() == 0 and b > 1 for b in self.block.buffers()), "bn-shared",
            "one batch norm is used twice in a forward pass, so that it mixes the statistics of two layers.",
            "Each convolution has a batch norm of its own: bn1 and bn2.",
        ) and self._say(
            self._norms() == wanted, "bn-missing" if self._norms() < wanted else "bn-too-many",
            f"it keeps the running statistics of {self._norms()} batch norms instead of {wanted}.",
            "Each convolution is followed by one nn.BatchNorm2d of its own.",
        )  # fmt: skip

    def _possible_faults(self) -> list[_Fault]:
        kind = "projection" if self.projected else "identity"
        return [fault for fault in _FAULTS if fault.only in ("", kind)]

    def _name_faults(self, faults: tuple[_Fault, ...], y: Tensor, weights: _Weights) -> None:
        shortcut = _shortcut_of(self.x, weights, self.stride, frozenset())
        right = _compute(self.x, weights, self.stride)
        numbers = {
            "total": y.numel(), "negative": int((y < 0).sum()), "lowest": float(y.min()),
            "right_below": int((right < shortcut).sum()),
        }  # fmt: skip
        for fault in faults:
            self._say(False, fault.code, fault.message.format(**numbers), fault.hint, fault.key)

    def _gradients_hold(self, weights: _Weights) -> None:
        """Compare the gradient at the input, and look for parameters that get none."""
        if "gradient-cut" in self.said:
            return
        mine, reference = (self.x.clone().requires_grad_() for _ in range(2))
        y = self.block(mine)
        direction = torch.randn_like(y)
        if not self._say(
            y.requires_grad, "gradient-cut",
            "no gradient can get through it.",
            "Leave out .detach(), .data and torch.no_grad().",
        ):  # fmt: skip
            return
        (y * direction).sum().backward()
        (_compute(reference, weights, self.stride) * direction).sum().backward()
        unused = [name for name, p in self.block.named_parameters() if p.grad is None]
        if self._say(
            not unused, "unused-parameters",
            f"the parameters {', '.join(unused)} get no gradient: a layer is made and never used.",
            "Use each layer once in forward, and make none that forward does not need.",
        ):  # fmt: skip
            self._say(
                mine.grad is not None and _same(mine.grad, reference.grad), "gradient-cut",
                "the output is right, but the gradient at the input is not that of branch and shortcut "
                "together.",
                "Leave out .detach(), .data and torch.no_grad().",
            )  # fmt: skip


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=0, atol=_CLOSE)


def _listed(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join("×".join(map(str, shape)) for shape in shapes) or "none"


def _check_eval_mode(BasicBlock, expect) -> None:
    """After one training step, the same output in evaluation mode as the book's block."""
    block, reference = BasicBlock(8, 16, 2).double(), Reference(8, 16, 2).double()
    kernels = {p.shape: p for p in block.parameters() if p.dim() == 4}
    with torch.no_grad():
        for parameter in reference.parameters():
            if parameter.dim() == 4:
                parameter.copy_(kernels[parameter.shape])
        for module in block.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
        seen, fresh = torch.randn(2, 4, 8, 9, 9, dtype=torch.float64)
        block(seen), reference(seen)
        mine, wanted = block.eval()(fresh), reference.eval()(fresh)
    expect(
        _same(mine, wanted), "eval-mode",
        f"In evaluation mode, after one training step, the output differs from the book's by up to "
        f"{(mine - wanted).abs().max():.2g}, though in training mode it is right.",
        hint="nn.BatchNorm2d with its defaults switches to the running statistics by itself.",
    )  # fmt: skip


def _check_given_shortcut(BasicBlock, expect) -> None:
    """A shortcut that is handed in takes the place of identity and projection."""
    for in_channels, planes, stride in ((8, 16, 2), (8, 8, 1)):
        block = BasicBlock(in_channels, planes, stride, _Given(planes, stride))
        y = block(torch.randn(2, in_channels, 8, 8))
        if not expect(
            y.min() > 50, "downsample-ignored",
            f"BasicBlock({in_channels}, {planes}, {stride}, downsample) was handed a shortcut that gives 100 "
            f"everywhere, and yet an output of {y.min():.2f} came out.",
            hint="Choose between identity and projection only if downsample is None.",
        ):  # fmt: skip
            return
        extra = sum(p.dim() == 4 for p in block.parameters()) - 2
        expect(
            extra == 0, "needless-projection",
            "The block was handed a shortcut and made a projection of its own all the same.",
            hint="Choose between identity and projection only if downsample is None.",
        )  # fmt: skip


# --- 3.4 -------------------------------------------------------------------------------------


@exercise(
    "count_layers", chapter=3, number=4, title="Count the layers",
    difficulty=2, importance=3, minutes=8, points=2,
    solution="resnet_tutorial.solutions.chapter03:count_layers",
)  # fmt: skip
def check_count_layers(count_layers, expect):
    """102 layers and 104 convolutions; the likely miscounts by name."""
    answer = count_layers() if callable(count_layers) else count_layers
    if not expect(
        isinstance(answer, tuple | list) and len(answer) == 2, "wrong-type",
        f"Two numbers are asked for, {answer!r} came back.",
        hint="return layers, convolutions",
    ):  # fmt: skip
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

    def __init__(self, channels: int, fault: str = "") -> None:
        super().__init__()
        self.fault = fault
        self.layers = nn.ModuleList(
            [conv3x3(channels, channels), nn.BatchNorm2d(channels),
             conv3x3(channels, channels), nn.BatchNorm2d(channels)]
        )  # fmt: skip

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
    """The same in the shape of a bottleneck, with a spare layer that nobody calls if asked for."""

    def __init__(self, channels: int, spare: bool, relu: bool) -> None:
        super().__init__()
        layers = [nn.Conv2d(channels, 2, 1, bias=False), nn.BatchNorm2d(2), nn.ReLU(),
                  nn.Conv2d(2, channels, 1, bias=False), nn.BatchNorm2d(channels)]  # fmt: skip
        self.branch = nn.Sequential(*layers, *([nn.ReLU()] if relu else []))
        self.spare = nn.Conv2d(channels, channels, 1) if spare else None

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
def check_find_block_fault(find_fault, expect):
    """Blocks with one fault each, and right ones: the verdicts."""
    suspects = (
        (_Suspect(6), "none found", "a right block"),
        (_SuspectBottleneck(6, spare=False, relu=False), "none found", "a right block of another make"),
        (_Suspect(6, "inplace-add"), "input changed", "a block that writes x += out"),
        (_Suspect(6, "inplace-relu"), "input changed", "a block with an in-place ReLU on x"),
        (_Suspect(6, "no-final-relu"), "no final ReLU", "a block that returns out + x"),
        (_Suspect(6, "branch-relu"), "ReLU on the branch", "a block with a ReLU before the addition"),
        (_SuspectBottleneck(6, spare=False, relu=True), "ReLU on the branch",
         "a bottleneck with a ReLU before the addition"),
        (_Suspect(6, "unused-bn"), "unused parameters", "a block that uses bn1 twice and bn2 never"),
        (_SuspectBottleneck(6, spare=True, relu=False), "unused parameters",
         "a block with a convolution that forward never calls"),
    )  # fmt: skip
    for block, wanted, what in suspects:
        x = torch.randn(2, 6, 7, 5)
        verdict = find_fault(block, x)
        if not expect(
            verdict in _VERDICTS, "unknown-verdict",
            f"find_fault returned {verdict!r}.",
            hint="Return one of: " + ", ".join(repr(v) for v in _VERDICTS) + ".",
        ):  # fmt: skip
            return
        code = (
            "false-alarm"
            if wanted == "none found"
            else "missed-" + wanted.lower().replace(" ", "-")
        )
        expect(
            verdict == wanted, code,
            f"It was shown {what}, and said {verdict!r} instead of {wanted!r}.",
            hint=_HINTS[wanted],
        )  # fmt: skip


_HINTS = {
    "input changed": "Copy x with x.clone() before the call and compare with torch.equal after it.",
    "no final ReLU": "After a ReLU nothing is below zero.",
    "ReLU on the branch": "If F(x) is never negative, no output is smaller than the x that went in. "
    "Compare with x, not with zero.",
    "unused parameters": "Go backward from y.sum() and look for parameters whose gradient is None "
    "(with torch.autograd.grad, say allow_unused=True).",
    "none found": "A right block lowers some values and raises others, and gives every parameter a gradient.",
}
