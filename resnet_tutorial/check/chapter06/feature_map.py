"""Exercise 6.3, the last feature map: its channels and its size, for an image of any size."""

from __future__ import annotations

from typing import Any

from ..common import described, whole_numbers
from ..core import Expectations, exercise
from .shared import shown


@exercise(
    "last_feature_map", chapter=6, number=3, title="Predict the last feature map",
    difficulty=2, importance=3, minutes=6, points=2,
    solution="resnet_tutorial.solutions.chapter06:last_feature_map",
)  # fmt: skip
def check_last_feature_map(last_feature_map: Any, expect: Expectations) -> None:
    """Sizes that 32 divides and sizes that it does not, square and not."""
    for height, width in ((224, 224), (224, 320), (225, 417), (200, 333), (1, 33)):
        answer = last_feature_map(height, width)
        call = f"last_feature_map({height}, {width})"
        if not expect(
            hasattr(answer, "__len__") and not isinstance(answer, str | dict | set) and len(answer) == 3,
            "wrong-type", f"Three numbers are asked for; {call} gave {described(answer)}.",
            hint="return channels, height, width",
        ):  # fmt: skip
            return
        numbers = whole_numbers(answer, 3)
        if not expect(
            numbers is not None, "not-integers",
            f"{call} gave {described(answer)}; three whole numbers (int) are asked for.",
            hint="Integer division rounds: (n + 1) // 2 is half of n, rounded up.",
        ) or numbers is None:  # fmt: skip
            return
        c, h, w = numbers
        wanted = -(-height // 32), -(-width // 32)
        if not expect(
            c == 2048 or sorted(numbers) != sorted((2048, *wanted)), "wrong-order",
            f"{call} gave {tuple(numbers)}: the numbers are right, but in the wrong order.",
            hint="return channels, height, width, as in (N, C, H, W).",
        ):  # fmt: skip
            return
        if not expect(
            c == 2048, "wrong-channels", f"{call} says {c} channels, not 2048.",
            hint="The last stage has 512 planes, and a bottleneck gives four times as many channels.",
        ):  # fmt: skip
            return
        known = {
            wanted[::-1]: ("height-width-swapped", "Height comes first, as in (N, C, H, W)."),
            (height // 32, width // 32): ("floor-not-ceil",
             "Each halving rounds up: with its padding, a stride of 2 makes (n + 1) // 2 of n."),
            (-(-height // 16), -(-width // 16)): ("halving-forgotten",
             "Five layers halve: the stem's convolution, its pooling, and one in each of the stages 2, 3 and 4."),
            (-(-height // 64), -(-width // 64)): ("one-halving-too-many",
             "Stage 1 has stride 1: the max-pooling has halved the map just before."),
        }  # fmt: skip
        code, hint = known.get((h, w), ("wrong-size", "Follow one side through the five layers of stride 2."))
        if not expect(
            (h, w) == wanted, code,
            f"An image of {height} × {width} pixels leaves a map of {shown(wanted)}, not {h} × {w}.", hint,
        ):  # fmt: skip
            return
