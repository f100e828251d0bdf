"""Checks of chapter 11, reading other people's code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..blocks import Bottleneck
from ..solutions.chapter11 import extra_biases, name_faults, pooling_range
from ..solutions.chapter11_blocks import (
    BiasedConvolutions,
    NormAfterAddition,
    ProjectOnStride,
    ReluOnBranch,
)
from .common import described, frozen, sequence, some, truth, whole, whole_numbers
from .core import Expectations, exercise


class _Overwriting(Bottleneck):
    """Lowers values as it should, and writes the result into its input."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return x.copy_(super().forward(x))


class _Clamped(ReluOnBranch):
    """The extra ReLU, written as a clamp."""

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.bn3(self.inner(x)).clamp(min=0)).clamp(min=0)


class _NeverProjects(ProjectOnStride):
    project_on = ()


class _ProjectsOnChannels(ProjectOnStride):
    project_on = ("channels",)


class _KeepsSize(nn.Module):
    """Runs in all cases and forgets the stride in some."""

    def __init__(self, in_channels: int, mid_channels: int, stride: int) -> None:
        super().__init__()
        self.block = Bottleneck(in_channels, mid_channels, 1 if in_channels == 16 else stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)


class _Misshapen(nn.Module):
    """Runs in all cases and gives a wrong shape in those that are named."""

    def __init__(
        self, reshape: Callable[[Tensor], Tensor], cases: Sequence[tuple[int, int]], in_channels: int,
        mid_channels: int, stride: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.block = Bottleneck(in_channels, mid_channels, stride)
        self.reshape = reshape if (in_channels, stride) in cases else lambda y: y

    def forward(self, x: Tensor) -> Tensor:
        return self.reshape(self.block(x))


class _Fails(nn.Module):
    """Never runs."""

    def __init__(self, in_channels: int, mid_channels: int, stride: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("broken on purpose")


def _refuses(in_channels: int, mid_channels: int, stride: int) -> Bottleneck:
    if stride != 1:
        raise ValueError("no stride")
    return Bottleneck(in_channels, mid_channels)


def _expect_verdict(expect: Expectations, verdict: Any, right: bool, code: str, message: str, hint: str) -> bool:
    if not expect(
        truth(verdict) is not None, "wrong-type",
        f"The function returned {described(verdict)}, not True or False.",
        hint="(y < x).any() tells whether one element is smaller.",
    ):
        return False
    return expect(truth(verdict) is right, code, message, hint=hint)


@exercise(
    "can_lower_a_value", chapter=11, number=1, title="Can the block lower a value?",
    difficulty=3, importance=5, minutes=15, points=3,
    solution="resnet_tutorial.solutions.chapter11:can_lower_a_value",
)
def check_can_lower_a_value(can_lower: Any, expect: Expectations) -> None:
    """Right and faulty blocks, a zero-initialised one, one that overwrites x; nothing is changed."""
    hint = "Is some output smaller than the input at the same place?"
    if not _expect_verdict(
        expect, can_lower(Bottleneck(16, 4), 16), True, "false-alarm",
        "The book's Bottleneck lowers values, and the function says that it cannot.", hint,
    ):
        return
    for faulty in (ReluOnBranch(16, 4), _Clamped(12, 3)):
        channels = faulty.bn3.num_features
        if not _expect_verdict(
            expect, can_lower(faulty, channels), False, "missed-relu",
            "A block whose branch ends in a ReLU was said to lower values.",
            "Take an input without negative values: those the last ReLU would raise to zero anyway, "
            "and compare with <, not <=.",
        ):
            return
    zero = Bottleneck(16, 4)
    nn.init.zeros_(zero.bn3.weight)
    _expect_verdict(
        expect, can_lower(zero, 16), True, "zero-gamma",
        "A right block whose last batch norm starts at zero was said to be unable to lower a value.",
        "At its start such a block is the identity: give the parameters random values first.",
    )
    _expect_verdict(
        expect, can_lower(NormAfterAddition(16, 4), 16), True, "false-alarm",
        "A block with its last batch norm behind the addition lowers values, too; this test is not about it.",
        hint,
    )
    _expect_verdict(
        expect, can_lower(_Overwriting(16, 4), 16), True, "compared-with-changed-input",
        "A block that writes into its input was said to be unable to lower a value.",
        "Hand the block a clone, and compare with what you kept.",
    )
    for training in (True, False):
        block = Bottleneck(16, 4).train(training)
        before = [tensor.clone() for tensor in block.state_dict().values()]
        can_lower(block, 16)
        changed = sum(not torch.equal(a, b) for a, b in zip(before, block.state_dict().values(), strict=True))
        odd, off = [m for m in block.modules() if m.training != training], frozen(block)
        was, now = ("training", "eval") if training else ("eval", "training")
        if not expect(
            changed == 0, "block-modified",
            f"After the experiment {changed} of the block's {len(before)} tensors have changed.",
            hint="Experiment on copy.deepcopy(block): a forward pass alone moves the running statistics.",
        ) or not expect(
            not odd, "mode-changed",
            f"The block came in {was} mode; after the experiment {'it is' if block in odd else 'parts of it are'} in "
            f"{now} mode.",
            hint="Make the copy first, and call train() or eval() on the copy.",
        ) or not expect(
            not off, "block-modified",
            f"After the experiment the block's parameters get no gradient any more: {some(off, 2)}.",
            hint="Leave requires_grad of the block alone; torch.no_grad() is enough.",
        ):
            return


class _Watched(nn.Module):
    """Makes and runs another block, keeps what that raises, and which sizes it was given by name."""

    def __init__(
        self, make: Callable[..., nn.Module], errors: list[Exception], named: set[str], *sizes: int, **by_name: int
    ) -> None:
        super().__init__()
        self.errors = errors
        named.update(by_name.keys() - {"stride"})  # which has the same name everywhere
        in_channels, mid_channels, stride = self.run(_three_sizes, *sizes, **by_name)
        self.block = self.run(make, in_channels, mid_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self.block, x)

    def run(self, function: Callable[..., Any], *arguments: Any, **by_name: Any) -> Any:
        try:
            return function(*arguments, **by_name)
        except Exception as error:
            self.errors.append(error)
            raise


def _three_sizes(in_channels: int, mid_channels: int, stride: int = 1) -> tuple[int, int, int]:
    """Return the arguments of a maker of blocks in their order, or raise as a call of it would."""
    return in_channels, mid_channels, stride


def _narrow(reshape: Callable[[Tensor], Tensor]) -> Callable[..., nn.Module]:
    """Return a maker of blocks whose output is cut in two of the four cases."""
    return partial(_Misshapen, reshape, ((16, 1), (8, 2)))


@exercise(
    "missing_projections", chapter=11, number=2, title="Find the missing projection",
    difficulty=3, importance=4, minutes=15, points=3,
    solution="resnet_tutorial.solutions.chapter11:missing_projections",
)
def check_missing_projections(detector: Any, expect: Expectations) -> None:
    """Blocks that project always, never, on one reason only; one that fails early, one of wrong shape."""
    cases: tuple[tuple[Callable[..., nn.Module], list[tuple[int, int]], str, str], ...] = (
        (Bottleneck, [], "false-alarm", "the book's Bottleneck"),
        (BiasedConvolutions, [], "false-alarm", "a block that is wrong in other ways"),
        (ProjectOnStride, [(8, 1)], "missed-channels", "a block that projects only for a stride"),
        (_ProjectsOnChannels, [(16, 2)], "missed-stride", "a block that projects only for new channels"),
        (_NeverProjects, [(16, 2), (8, 1), (8, 2)], "wrong-cases", "a block that never projects"),
        (_refuses, [(16, 2), (8, 2)], "other-errors", "a block that raises a ValueError when it is made"),
        (_KeepsSize, [(16, 2)], "missed-shape", "a block that runs and gives a wrong shape"),
        (_Fails, [(16, 1), (16, 2), (8, 1), (8, 2)], "case-left-out", "a block that never runs"),
        (_narrow(lambda y: y[:, :12]), [(16, 1), (8, 2)], "channels-not-compared", "a block with 12 channels out"),
        (_narrow(lambda y: y[:, :, 1:]), [(16, 1), (8, 2)], "height-not-compared", "a block that loses a row"),
        (_narrow(lambda y: y[..., 1:]), [(16, 1), (8, 2)], "width-not-compared", "a block that loses a column"),
        (
            _narrow(lambda y: y.reshape(len(y), 8, -1, y.shape[3])), [(16, 1), (8, 2)], "size-compared",
            "a block with 8 channels out and twice the rows",
        ),
    )  # fmt: skip
    hints = {
        "wrong-order": "Try the cases as the text names them, (16, 1), (16, 2), (8, 1), (8, 2), and append as you go.",
        "swapped": "failing.append((in_channels, stride))",
    }
    raised = False
    for make, right, code, words in cases:
        errors: list[Exception] = []
        named: set[str] = set()
        try:
            given = detector(partial(_Watched, make, errors, named))
        except Exception as error:
            if not right or error not in errors or isinstance(error, TypeError):
                raise
            if raised:
                continue
            raised = True  # said once; the cases in which nothing is raised are looked at all the same
            expect(
                False, "other-errors",
                f"For {words} the function should return {right}, the failing cases; what the block raised, "
                f"{type(error).__name__}: {error}, came out of the function.",
                hint="Make the block and run it inside try, and catch any Exception, not one kind alone.",
            )
            continue
        if not expect(
            not named, "named-sizes",
            f"The function hands {' and '.join(sorted(named))} over by name; the blocks of other authors, and the "
            "book's Bottleneck, may call them otherwise.",
            hint="By position: make_block(in_channels, 4, stride).",
        ):
            return
        pairs = [sequence(case, 2) for case in sequence(given) or []]
        if not expect(
            sequence(given) is not None and None not in pairs, "wrong-type",
            f"The function returned {described(given)}, not a list of pairs.",
            hint="Start with an empty list and append each failing case.",
        ):
            return
        found = [tuple(pair) for pair in pairs if pair is not None]
        if found != right and len(found) == len(right) and all(case in found for case in right):
            code = "wrong-order"
        elif right and found == [case[::-1] for case in right]:
            code = "swapped"
        if not expect(
            found == right, code, f"For {words} the failing cases, as (in_channels, stride), are {right}, not {found}"
            f"{': the right ones in another order' * (code == 'wrong-order')}.",
            hint=hints.get(code, "Make and run the block inside try, catch any Exception, compare the whole shape."),
        ):
            return


class _OwnConv(nn.Conv2d):
    """A convolution all the same."""


@exercise(
    "extra_biases", chapter=11, number=3, title="Count the needless biases",
    difficulty=1, importance=3, minutes=6, points=1,
    solution="resnet_tutorial.solutions.chapter11:extra_biases",
)
def check_extra_biases(counter: Any, expect: Expectations) -> None:
    """A plain network, one with biases already, groups, other layers, nesting, a layer used twice, one layer alone."""
    plain = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), Bottleneck(8, 4))
    mixed = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Conv2d(6, 12, 3, groups=3, bias=False), plain)
    linear = nn.Sequential(plain, nn.Linear(16, 10, bias=False))
    row = nn.Sequential(plain, nn.Conv1d(16, 5, 3, bias=False), nn.ConvTranspose2d(16, 7, 2, bias=False))
    twice = nn.Sequential(plain, shared := nn.Conv2d(16, 16, 3, bias=False), nn.ReLU(), nn.Sequential(shared))
    own = nn.Sequential(plain, _OwnConv(16, 9, 3, bias=False))
    alone = nn.Conv2d(3, 8, 3, bias=False)
    every = "One bias for each output channel of every nn.Conv2d whose bias is None; modules() finds all."
    for model, words, special, hint in (
        (plain, "without any bias", "", every),
        (mixed, "with one convolution that has its bias", "", every),
        (linear, "with a linear layer without a bias", "counts-linear", "Only convolutions are asked for."),
        (row, "with an nn.Conv1d and an nn.ConvTranspose2d", "counts-other-layers", "isinstance(m, nn.Conv2d)."),
        (twice, "with one convolution used twice", "counts-twice", "model.modules() names a shared layer once."),
        (
            own, "with a convolution of a class derived from nn.Conv2d", "subclass-missed",
            "isinstance(m, nn.Conv2d) holds for it too.",
        ),
        (
            alone, "that is one convolution itself", "root-missed",
            "model.modules() begins with the model itself; children() leaves it out.",
        ),
    ):
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        right, given = extra_biases(model), counter(model)
        after = model.state_dict()
        new = [name for name in after if name not in before]
        if not expect(
            not new and all(torch.equal(after[name], before[name]) for name in before), "model-modified",
            f"The call {f'gave the model {len(new)} new parameters' if new else 'changed the weights of the model'}.",
            hint="Only count: the biases are not to be made.",
        ):
            return
        found = whole(given)
        if not expect(
            found is not None, "wrong-type", f"The function returned {described(given)}, not a whole number.",
            hint="return the sum",
        ):
            return
        existing = sum(m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d))
        code = "counts-existing" if found == existing != right else special or "wrong-value"
        if not expect(found == right, code, f"For a model {words} the count is {right}, not {found}.", hint=hint):
            return


@exercise(
    "pooling_range", chapter=11, number=4, title="The sizes that a fixed pooling allows",
    difficulty=2, importance=3, minutes=10, points=2,
    solution="resnet_tutorial.solutions.chapter11:pooling_range",
)
def check_pooling_range(sizes: Any, expect: Expectations) -> None:
    """Three sizes for five kernels, against pooling itself at the borders."""
    names = ("smallest size", "largest size that loses nothing", "largest size")
    codes = ("wrong-smallest", "wrong-whole", "wrong-largest")
    for kernel in (7, 4, 1, 2, 12):
        given, right = sizes(kernel), pooling_range(kernel)
        found = whole_numbers(given, 3)
        if not expect(
            found is not None, "wrong-type", f"The function returned {described(given)}, not three whole numbers.",
            hint="return smallest, whole, largest; // and ceil stay whole, / does not.",
        ) or found is None:
            return
        if not expect(
            tuple(found) == right or sorted(found) != sorted(right), "swapped",
            f"With a kernel of {kernel} the sizes are {right}, in this order; {tuple(found)} came.",
            hint="return smallest, whole, largest",
        ):
            return
        for mine, expected, name, code in zip(found, right, names, codes, strict=True):
            if not expect(
                mine == expected, code, f"With a kernel of {kernel} the {name} is {expected}, not {mine}.",
                hint="An image of n pixels leaves a map of ceil(n / 32), and the pooling makes map // kernel of it.",
            ):
                return


_VERDICTS = (
    "right", "relu-before-add", "backward-fails", "stride-wrong-conv", "bias-before-bn", "missing-projection",
    "shortcut-without-bn", "norm-after-add", "shortcut-cut",
)  # fmt: skip


@exercise(
    "name_faults", chapter=11, number=5, title="Six specimens",
    difficulty=4, importance=5, minutes=20, points=5,
    solution="resnet_tutorial.solutions.chapter11:name_faults",
)
def check_name_faults(verdicts: Any, expect: Expectations) -> None:
    """The verdict on each specimen."""
    given, right = verdicts(), name_faults()
    if not expect(
        isinstance(given, dict), "wrong-type",
        f"The answer is {described(given)}; a dictionary with the keys A to F is asked for.",
        hint='return {"A": "...", "B": "...", ...}',
    ):
        return
    lacking, strange = [key for key in right if key not in given], [key for key in given if key not in right]
    if not expect(
        not lacking and not strange, "wrong-keys",
        "The dictionary has the wrong keys: "
        f"{', '.join(map(repr, lacking)) or 'none'} missing, {', '.join(map(repr, strange)) or 'none'} too many.",
        hint='The keys are the capital letters "A" to "F", each once.',
    ):
        return
    look = {
        "A": "Set its parameters to zero: what is left of the input?",
        "B": "Its parameter count and its failing to take the book's weights belong together.",
        "C": "Compare its two distances: at stride 1 and at stride 2.",
        "D": "What reaches the input backward when the branch is zero?",
        "E": "Has any experiment found a difference at all?",
        "F": "Which way can its branch move a value?",
    }
    for letter, verdict in right.items():
        if not expect(
            isinstance(given[letter], str), "wrong-type",
            f"For specimen {letter} the answer is {described(given[letter])}, not one of the verdicts.",
            hint='"right" or one of the eight faults, as a text.',
        ) or not expect(
            given[letter] in _VERDICTS, "unknown-verdict",
            f"For specimen {letter} the answer is {given[letter]!r}, which is none of the verdicts.",
            hint=f"The verdicts are {', '.join(_VERDICTS)}.",
        ):
            return
        if given[letter] == verdict:
            code = ""
        elif verdict == "right":
            code = "false-alarm"
        else:
            code = "missed-fault" if given[letter] == "right" else "wrong-verdict"
        expect(
            not code, code or "right-verdict",
            f"Specimen {letter} is not {given[letter]!r}.", hint=look[letter],
        )
