"""Exercise 8.3: the one-cycle learning rate."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, cast

from ...solutions.chapter08 import one_cycle
from ..common import noting, number, unlike
from ..core import Expectations, exercise
from .shared import expect_number


@exercise(
    "one_cycle", chapter=8, number=3, title="The one-cycle learning rate",
    difficulty=2, importance=4, minutes=12, points=2,
    solution="resnet_tutorial.solutions.chapter08:one_cycle",
)
def check_one_cycle(rate: Any, expect: Expectations) -> None:
    """Every step of several schedules: the start, the peak, the fall, and the two extremes."""
    for steps, rising, peak in ((100, 20, 0.2), (37, 6, 1.5), (12, 0, 0.1), (10, 9, 0.3)):
        name = f"one_cycle(step, {steps}, {rising}, {peak})"
        answers = [noting("one_cycle", rate)(step, steps, rising, peak) for step in range(steps)]
        found = [number(answer) for answer in answers]
        odd = found.index(None) if None in found else 0
        call = f"one_cycle({odd}, {steps}, {rising}, {peak})"
        if not expect_number(expect, answers[odd], call, "Return one number for every step, in both cases."):
            return
        rates = cast(list[float], found)
        # float32, and the small difference 1 + cos near the end, leave a few units of the seventh digit.
        close = partial(math.isclose, rel_tol=1e-5, abs_tol=1e-6 * peak)
        right = [one_cycle(step, steps, rising, peak) for step in range(steps)]
        if not expect(
            rising == 0 or rates[0] != 0, "starts-at-zero",
            f"{name} is 0 at step 0: the first step would be lost.",
            hint="Count from step + 1.",
        ):
            return
        seen, wanted = unlike(rates[rising], peak)
        code, hint = "peak-missed", "At step == rising the cosine begins: its progress is 0 there."
        factor = rates[rising] / peak
        if not close(factor, 1) and all(close(rates[step], factor * right[step]) for step in range(steps)):
            code, hint = "peak-ignored", f"Every rate is {factor:.4g} times what it should be: multiply by peak."
        if not expect(
            close(rates[rising], peak), code, f"{name} is {seen} at step {rising}, not {wanted}.", hint=hint,
        ):
            return
        wrong = [s for s in range(steps) if not close(rates[s], right[s])]
        step = wrong[0] if wrong else 0
        code, hint = "wrong-rise", "A straight line through `rising` steps that meets the peak in the next one."
        if step >= rising:
            code, hint = "wrong-fall", "progress runs from 0 at the peak towards 1 at the end; cos takes radians."
            line = peak * (steps - step) / (steps - rising)
            if close(rates[step], line):
                code, hint = "falls-in-a-line", "Use (1 + cos(pi * progress)) / 2 in place of 1 - progress."
            elif close(rates[-1], 0):
                code, step, hint = "ends-at-zero", steps - 1, (
                    "The last step would be lost: progress is 1 in step `steps`, one after the last, so divide by "
                    "steps - rising."
                )
        seen, wanted = unlike(rates[step], right[step])
        if not expect(
            not wrong, code, f"{name} is {seen} at step {step}, not {wanted}.", hint=hint,
        ):
            return
