"""Checks of chapter 2, the shape of a convolution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from .. import shapes
from .common import described, noting, whole, whole_numbers, written
from .core import Expectations, exercise


def _refuses(function: Callable[..., Any], *arguments: Any, **options: Any) -> bool:
    """Tell whether the call raises a ``ValueError``."""
    with suppress(ValueError):
        function(*arguments, **options)
        return False
    return True


def _expect_int(value: Any, expect: Expectations, call: str) -> int | None:
    """Return the whole number that came back, or record that it is none and return ``None``."""
    expect(
        whole(value) is not None, "wrong-type",
        f"{call} gave {described(value)}; a number of pixels or weights is an int.",
        hint="Return how many, not which: len(…) counts them." if isinstance(value, list | tuple | set | range)
        else "Divide with //, which rounds down and stays whole; / gives a float. Return, do not print.",
    )  # fmt: skip
    return whole(value)


@exercise(
    "conv_output_size", chapter=2, number=1, title="Write conv_output_size",
    difficulty=2, importance=5, minutes=10, points=2,
    solution="resnet_tutorial.shapes:conv_output_size",
)  # fmt: skip
def check_conv_output_size(conv_output_size: Any, expect: Expectations) -> None:
    """The size with each setting in turn, then all together, then an impossible kernel."""
    conv_output_size = noting("conv_output_size", conv_output_size)
    if _expect_int(conv_output_size(224, 7, 2, 3), expect, "conv_output_size(224, 7, 2, 3)") is None:
        return
    for size, kernel in ((6, 3), (5, 5), (32, 1), (9, 2)):
        got, right = conv_output_size(size, kernel), size - kernel + 1
        got = _expect_int(got, expect, written("conv_output_size", size, kernel))
        if got is None or not expect(
            got == right, "wrong-positions",
            f"A kernel of {kernel} on {size} pixels gave {got}; it can stand in {right} places.",
            hint="The left edge runs from 0 to size - kernel_size, both included.",
        ):  # fmt: skip
            return
    for size, kernel, padding in ((6, 3, 1), (7, 5, 2), (4, 1, 3)):
        got, right = conv_output_size(size, kernel, padding=padding), size + 2 * padding - kernel + 1
        got = _expect_int(got, expect, written("conv_output_size", size, kernel, padding=padding))
        if got is None or not expect(
            got == right, "padding-once" if got == right - padding else "wrong-padding",
            f"{size} pixels with a padding of {padding} and a kernel of {kernel} gave {got}, not {right}.",
            hint="The padding stands at both ends of the row.",
        ):  # fmt: skip
            return
    if _check_stride(conv_output_size, expect):  # what rounds wrongly says nothing about the dilation
        _check_dilation(conv_output_size, expect)
    for arguments in ((5, 7, 1, 0, 1), (5, 3, 1, 0, 3), (2, 7, 2, 2, 1)):
        if not expect(
            _refuses(conv_output_size, *arguments), "kernel-does-not-fit",
            f"conv_output_size{arguments} gave a number, though the kernel is longer than the padded row.",
            hint="Raise a ValueError when dilation * (kernel_size - 1) + 1 exceeds size + 2 * padding.",
        ):  # fmt: skip
            return


def _check_stride(conv_output_size: Callable[..., Any], expect: Expectations) -> bool:
    for size, kernel, stride, padding in (
        (224, 7, 2, 3),
        (226, 7, 2, 3),
        (112, 3, 2, 1),
        (8, 1, 3, 0),
    ):
        call = written("conv_output_size", size, kernel, stride, padding)
        got = _expect_int(conv_output_size(size, kernel, stride, padding), expect, call)
        right = shapes.conv_output_size(size, kernel, stride, padding)
        exact = (size + 2 * padding - kernel) / stride + 1
        if got is None or not expect(
            got == right, "rounds-up" if got == right + 1 else "stride-wrong",
            f"{call} gave {got}, not {right}: the division says {exact}.",
            hint="Half a position does not exist: round down with //, and add 1 for the first position.",
        ):  # fmt: skip
            return False
    return True


def _check_dilation(conv_output_size: Callable[..., Any], expect: Expectations) -> None:
    cases = ((8, 3, 1, 2, 2), (15, 3, 2, 0, 3), (20, 5, 1, 1, 2), (9, 1, 1, 0, 4), (31, 4, 3, 2, 5))
    for case in cases:
        got, right = conv_output_size(*case), shapes.conv_output_size(*case)
        got = _expect_int(got, expect, f"conv_output_size{case}")
        ignored = shapes.conv_output_size(*case[:4])
        if got is None or not expect(
            got == right, "dilation-ignored" if got == ignored != right else "dilation-wrong",
            f"conv_output_size{case} gave {got}, not {right}: with dilation {case[4]} a kernel of "
            f"{case[1]} spans {shapes.conv_receptive_field(case[1], case[4])} pixels.",
            hint="Between kernel_size taps there are kernel_size - 1 gaps, each dilation pixels wide.",
        ):  # fmt: skip
            return


@exercise(
    "pixels_seen", chapter=2, number=2, title="Count the pixels that are seen",
    difficulty=3, importance=3, minutes=10, points=3,
    solution="resnet_tutorial.solutions.chapter02:pixels_seen",
)  # fmt: skip
def check_pixels_seen(pixels_seen: Any, expect: Expectations) -> None:
    """The count against the positions written out, setting by setting."""
    pixels_seen = noting("pixels_seen", pixels_seen)
    cases: tuple[tuple[tuple[int, int], dict[str, int]], ...] = (
        ((6, 3), {}), ((8, 1), {"stride": 2}), ((8, 3), {"stride": 2}), ((10, 2), {"stride": 4}),
        ((8, 3), {"stride": 2, "padding": 1}), ((2, 1), {"padding": 3}), ((5, 3), {"padding": 1}),
        ((4, 1), {"stride": 2, "padding": 1}), ((5, 1), {"stride": 2, "padding": 1}),
        ((5, 5), {"stride": 2, "padding": 2}), ((7, 2), {"stride": 3, "padding": 1}),
        ((9, 3), {"stride": 2, "padding": 2, "dilation": 2}), ((7, 2), {"dilation": 5}),
        ((13, 3), {"stride": 3, "padding": 1, "dilation": 2}),
    )  # fmt: skip
    for (size, kernel), options in cases:
        stride, padding, dilation = (
            options.get(k, d) for k, d in (("stride", 1), ("padding", 0), ("dilation", 1))
        )
        outputs = shapes.conv_output_size(size, kernel, **options)
        taps = [o * stride - padding + k * dilation for o in range(outputs) for k in range(kernel)]
        right = len({tap for tap in taps if 0 <= tap < size})
        call = written("pixels_seen", size, kernel, **options)
        got = _expect_int(pixels_seen(size, kernel, **options), expect, call)
        if got is None:
            return
        code = {
            len(taps): "counts-twice",
            len(set(taps)): "counts-padding",
            len({t for t in taps if t < size}): "counts-padding",
            size - right: "counts-unseen",
            len({t for t in taps if 0 <= t + padding < size}) if padding else -1: "padding-not-subtracted",
            right: "wrong-value",
        }.get(got, "wrong-value")  # fmt: skip
        if not expect(
            got == right, code,
            f"{call} gave {got}, not {right}: there are {outputs} positions "
            f"of {kernel} tap{'s' * (kernel > 1)} each on {size} pixels.",
            hint="Collect the tap positions output * stride - padding + tap * dilation in a set, "
            "and keep those from 0 to size - 1.",
        ):  # fmt: skip
            return


def _last_map(side: int) -> int:
    for _ in range(5 if side > 0 else 0):
        side = shapes.conv_output_size(side, 3, 2, 1)
    return side


@exercise(
    "sizes_that_give_seven", chapter=2, number=3, title="Predict which images end as 7 × 7",
    difficulty=2, importance=3, minutes=5, points=2,
    solution="resnet_tutorial.solutions.chapter02:sizes_that_give_seven",
)  # fmt: skip
def check_sizes_that_give_seven(sizes_that_give_seven: Any, expect: Expectations) -> None:
    """The two sides, each against five halvings."""
    given = sizes_that_give_seven()
    answer = whole_numbers(given, 2)
    if not expect(
        answer is not None and min(answer) > 0,
        "wrong-type", f"The answer is {described(given)}; two whole numbers above 0 are asked for.",
        hint="return smallest, largest",
    ) or answer is None:  # fmt: skip
        return
    beyond = _last_map(answer[1] - 1), _last_map(answer[0] + 1)
    if not expect(
        answer[0] <= answer[1] or beyond != (6, 8), "swapped",
        f"{answer[0]} and {answer[1]} are the right numbers in the wrong order.",
        hint="return smallest, largest",
    ):  # fmt: skip
        return
    for side, step, code, word in (
        (answer[0], -1, "wrong-smallest", "smallest"), (answer[1], 1, "wrong-largest", "largest"),
    ):  # fmt: skip
        if expect(
            _last_map(side) == 7, code, f"{side} pixels end as a map of side {_last_map(side)}.",
            hint="Each of the five layers gives ceil(side / 2).",
        ):  # fmt: skip
            expect(
                _last_map(max(side + step, 1)) != 7, code,
                f"{side} is not the {word}: {side + step} pixels end as a map of side 7 as well.",
                hint="Go on as long as the map stays 7.",
            )  # fmt: skip


# What exercise 2.4 prints: (kernel_size, stride, padding, dilation) of each layer.
FAULTY_BRANCH = ((3, 1, 1, 1), (5, 1, 2, 1), (3, 1, 1, 2), (1, 1, 0, 1), (7, 1, 3, 1))


@exercise(
    "find_shrinking_layer", chapter=2, number=4, title="Find the layer that shrinks the map",
    difficulty=1, importance=4, minutes=5, points=1,
    solution="resnet_tutorial.solutions.chapter02:find_shrinking_layer",
)  # fmt: skip
def check_find_shrinking_layer(find_shrinking_layer: Any, expect: Expectations) -> None:
    """Index and padding, each judged by what the layer would give."""
    given = find_shrinking_layer()
    answer = whole_numbers(given, 2)
    if not expect(
        answer is not None, "wrong-type", f"The answer is {described(given)}; an index and a padding are asked for, "
        "both whole numbers.",
        hint="return index, padding",
    ) or answer is None:  # fmt: skip
        return
    index, padding = answer
    if not expect(
        0 <= index < len(FAULTY_BRANCH), "wrong-layer",
        f"There is no layer {index}: the branch has layers 0 to {len(FAULTY_BRANCH) - 1}.",
    ):  # fmt: skip
        return
    kernel, stride, given, dilation = FAULTY_BRANCH[index]
    size = shapes.conv_output_size(56, kernel, stride, given, dilation)
    if not expect(
        size != 56, "wrong-layer", f"Layer {index} turns 56 pixels into {size}: it is sound.",
        hint="Apply conv_output_size to each layer.",
    ):  # fmt: skip
        return
    mended = shapes.conv_output_size(56, kernel, stride, max(padding, 0), dilation)
    expect(
        padding >= 0 and mended == 56, "wrong-padding",
        f"With a padding of {padding}, layer {index} turns 56 pixels into {mended}.",
        hint="The two ends together need dilation * (kernel_size - 1) pixels.",
    )  # fmt: skip


@exercise(
    "conv_params", chapter=2, number=5, title="Write conv_params",
    difficulty=2, importance=5, minutes=10, points=2,
    solution="resnet_tutorial.shapes:conv_params",
)  # fmt: skip
def check_conv_params(conv_params: Any, expect: Expectations) -> None:
    """Weights, then biases, then groups, then groups that do not divide."""
    conv_params = noting("conv_params", conv_params)
    if _expect_int(conv_params(3, 64, 7), expect, "conv_params(3, 64, 7)") is None:
        return
    cases = (
        (3, 64, 7, 1, False), (16, 32, 3, 1, False), (64, 16, 1, 1, False),
        (5, 6, 3, 1, True), (8, 24, 2, 1, True),
        (64, 64, 3, 64, False), (8, 12, 3, 4, False), (128, 128, 3, 32, False), (6, 4, 5, 2, True),
    )  # fmt: skip
    for case in cases:
        inputs, outputs, kernel, groups, bias = case
        call = written("conv_params", inputs, outputs, kernel, groups=groups, bias=bias)
        got = _expect_int(conv_params(inputs, outputs, kernel, groups, bias), expect, call)
        if got is None:
            return
        right = shapes.conv_params(*case)
        one, dense = right - bias * outputs, inputs * outputs * kernel**2
        code = {
            one // kernel: "kernel-not-squared",
            one + (not bias) * outputs: "bias-always",
            one: "bias-ignored",
            right + inputs * bias - outputs * bias: "bias-per-input",
            dense + bias * outputs: "groups-ignored",
            one // groups + bias * outputs: "groups-twice",
            right: "wrong-value",
        }.get(got, "wrong-value")  # fmt: skip
        if not expect(
            got == right, code, f"{call} gave {got}, not {right}.",
            hint=f"The weight has the shape ({outputs}, {inputs // groups}, {kernel}, {kernel}); "
            f"a bias adds one number for each output channel.",
        ):  # fmt: skip
            return
    for inputs, outputs, kernel in ((3, 64, 7), (8, 24, 2)):
        call = written("conv_params", inputs, outputs, kernel)
        got, right = whole(conv_params(inputs, outputs, kernel)), shapes.conv_params(inputs, outputs, kernel)
        if not expect(
            got == right, "wrong-default", f"{call} gave {got}, not {right}: with neither groups nor bias given, "
            "there is one group and no bias.",
            hint="Keep the first line as it is given: groups=1, bias=False.",
        ):  # fmt: skip
            return
    for inputs, outputs, groups in ((6, 8, 4), (8, 6, 4), (4, 4, 8)):
        if not expect(
            _refuses(conv_params, inputs, outputs, 3, groups), "groups-not-refused",
            f"conv_params({inputs}, {outputs}, 3, groups={groups}) gave a number, "
            f"though {groups} does not divide both {inputs} and {outputs}.",
            hint="Raise a ValueError unless groups divides in_channels and out_channels.",
        ):  # fmt: skip
            return


@exercise(
    "field_of_stack", chapter=2, number=6, title="Compute the receptive field of a stack",
    difficulty=3, importance=4, minutes=10, points=3,
    solution="resnet_tutorial.solutions.chapter02:field_of_stack",
)  # fmt: skip
def check_field_of_stack(field_of_stack: Any, expect: Expectations) -> None:
    """Size and jump of stacks with and without stride and dilation."""
    field_of_stack = noting("field_of_stack", field_of_stack)
    stacks: tuple[list[tuple[int, int, int]], ...] = (
        [(3, 1, 1)], [(3, 1, 1), (3, 1, 1)], [(5, 1, 1), (1, 1, 1), (3, 1, 1)],
        [(7, 2, 1)], [(7, 2, 1), (3, 2, 1)], [(3, 2, 1), (1, 2, 1), (3, 1, 1)],
        [(3, 1, 1), (3, 1, 2), (3, 1, 4)], [(3, 2, 1), (3, 1, 3), (5, 2, 2), (3, 1, 1)], [],
    )  # fmt: skip
    for stack in stacks:
        handed = list(stack)
        given = field_of_stack(handed)
        answer = whole_numbers(given, 2)
        if not expect(
            answer is not None,
            "wrong-type", f"field_of_stack({stack}) gave {described(given)}; two whole numbers are asked for.",
            hint="return size, jump",
        ) or answer is None:  # fmt: skip
            return
        if not expect(
            handed == stack, "modifies-input", f"The list {stack} was {handed} after the call.",
            hint="Go through the list without taking anything out of it.",
        ):  # fmt: skip
            return
        right = tuple(shapes.receptive_field(stack))
        if not expect(
            answer[0] == answer[1] or tuple(answer[::-1]) != right, "swapped",
            f"field_of_stack({stack}) gave {tuple(answer)}; the right numbers in the right order are {right}.",
            hint="return size, jump",
        ):  # fmt: skip
            return
        if not expect(
            answer[1] == right[1], "wrong-jump",
            f"field_of_stack({stack}) gave a jump of {answer[1]}, not {right[1]}.",
            hint="The jump is the product of all strides so far; it begins with 1.",
        ):  # fmt: skip
            return
        if not expect(
            answer[0] == right[0], _field_fault(stack, answer[0], right[0]),
            f"field_of_stack({stack}) gave a size of {answer[0]}, not {right[0]}.",
            hint="Each layer adds dilation * (kernel_size - 1) steps, and a step is as wide as the jump "
            "before this layer.",
        ):  # fmt: skip
            return


def _field_fault(stack: Sequence[tuple[int, int, int]], size: int, right: int) -> str:
    """Name the mistake that gives this size."""
    jump, early, plain, late, ignored = 1, 1, 1, 1, 1
    for kernel, stride, dilation in stack:
        early += dilation * (kernel - 1) * jump * stride  # the layer's own stride, too soon
        ignored += (kernel - 1) * jump
        late += dilation * (kernel - 1)
        plain += kernel * dilation * jump
        jump *= stride
    faults = {
        sum(kernel for kernel, _, _ in stack): "sums-kernels",
        plain: "sums-kernels", early: "jump-too-early", late: "jump-ignored", ignored: "dilation-ignored",
        right: "wrong-value",
    }  # fmt: skip
    return faults.get(size, "wrong-value")
