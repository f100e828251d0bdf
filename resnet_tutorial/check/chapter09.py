"""Checks of chapter 9, experiments."""

from __future__ import annotations

import copy
import random

from ..solutions import chapter09 as solutions
from .core import exercise


def _errors(count: int) -> list[float]:
    return [round(random.uniform(5, 15), 2) for _ in range(count)]


@exercise(
    "mean_and_spread", chapter=9, number=1, title="Mean and spread",
    difficulty=1, importance=4, minutes=6, points=1,
    solution="resnet_tutorial.solutions.chapter09:mean_and_spread",
)
def check_mean_and_spread(mean_and_spread, expect):
    """Random lists of several lengths, and a single value."""
    for count in (2, 3, 5, 9):
        values = _errors(count)
        right = solutions.mean_and_spread(values)
        mean, spread = mean_and_spread(list(values))
        expect(
            abs(mean - right[0]) < 1e-6, "wrong-mean",
            f"The mean of {values} is {right[0]:.4f}, not {mean:.4f}.", hint="Sum over count.",
        )  # fmt: skip
        population = right[1] * ((count - 1) / count) ** 0.5
        code = "population-spread" if abs(spread - population) < 1e-6 else (
            "variance" if abs(spread - right[1] ** 2) < 1e-6 else "wrong-spread"
        )
        expect(
            abs(spread - right[1]) < 1e-6, code,
            f"The spread of {values} is {right[1]:.4f}, not {spread:.4f}.",
            hint="Divide the sum of squares by n - 1, and take the square root.",
        )
    try:
        found = mean_and_spread([7.0])
    except ValueError:
        return
    expect(
        False, "accepts-one-value", f"One value alone gave {found}; it has no spread.",
        hint="Raise ValueError for fewer than two values.",
    )  # fmt: skip


@exercise(
    "stands_out", chapter=9, number=2, title="More than noise?",
    difficulty=2, importance=5, minutes=8, points=2,
    solution="resnet_tutorial.solutions.chapter09:stands_out",
)
def check_stands_out(stands_out, expect):
    """Values below, within and above the band, and another factor."""
    for _ in range(6):
        baseline = _errors(4)
        mean, spread = solutions.mean_and_spread(baseline)
        for distance, factor in ((-2.6, 2.0), (-1.7, 2.0), (1.5, 2.0), (2.3, 2.0), (2.3, 3.0), (-3.4, 3.0)):
            value = mean + distance * spread
            right = abs(distance) > factor
            found = stands_out(value, list(baseline), factor)
            code = "one-sided" if distance < 0 and right else "wrong-answer"
            if distance == 2.3 and factor == 3.0:
                code = "factor-ignored"
            expect(
                bool(found) == right, code,
                f"{value:.2f} lies {abs(distance)} spreads {'below' if distance < 0 else 'above'} the "
                f"baseline {baseline}; with factor {factor} the answer is {right}, not {found}.",
                hint="Compare the distance, without its sign, with factor times the spread (n - 1).",
            )
    expect(
        bool(stands_out(10.0, [1.0, 2.0, 3.0])), "wrong-default",
        "10 against 1, 2, 3 stands out, with the default factor of 2.", hint="factor=2.0",
    )  # fmt: skip


def _settings() -> dict:
    return {
        "data": "cifar10", "seed": 0, "steps": 1000,
        "recipe": {"name": "fast", "peak_lr": 0.2, "flip": True, "warm": {"epochs": 2}},
    }  # fmt: skip


@exercise(
    "changed_choices", chapter=9, number=3, title="What exactly was changed?",
    difficulty=3, importance=4, minutes=12, points=3,
    solution="resnet_tutorial.solutions.chapter09:changed_choices",
)
def check_changed_choices(changed_choices, expect):
    """No change, one, several, nested ones, missing ones, and None as a value."""
    base = _settings()
    cases = {}
    cases["nothing"] = copy.deepcopy(base)
    cases["the seed"] = {**copy.deepcopy(base), "seed": 3}
    nested = copy.deepcopy(base)
    nested["recipe"]["peak_lr"] = 0.1
    cases["the learning rate"] = nested
    deeper = copy.deepcopy(nested)
    deeper["recipe"]["warm"]["epochs"] = 5
    deeper["data"] = "shapes"
    cases["three choices"] = deeper
    missing = copy.deepcopy(base)
    del missing["recipe"]["flip"]
    cases["an entry left out"] = missing
    empty = copy.deepcopy(base)
    empty["extra"] = None
    cases["an entry with the value None"] = empty
    for what, other in cases.items():
        for first, second in ((base, other), (other, base)):
            right = solutions.changed_choices(first, second)
            before = copy.deepcopy((first, second))
            found = list(changed_choices(first, second))
            code = {
                "nothing": "finds-too-much", "the learning rate": "nested-missed",
                "three choices": "nested-missed", "an entry left out": "missing-entry",
                "an entry with the value None": "missing-entry",
            }.get(what, "wrong-answer")  # fmt: skip
            if sorted(found) == right and found != right:
                code = "not-sorted"
            expect(
                found == right, code,
                f"Where {what} changed, the answer is {right}, not {found}.",
                hint="Go through the names of both; for two dictionaries go inside, with name + '.'.",
            )
            expect((first, second) == before, "input-modified", "The settings were changed.", hint="Only read.")


@exercise(
    "honest_error", chapter=9, number=4, title="The honest number",
    difficulty=2, importance=5, minutes=6, points=2,
    solution="resnet_tutorial.solutions.chapter09:honest_error",
)
def check_honest_error(honest_error, expect):
    """Random curves, and equal validation errors."""
    for _ in range(8):
        val = _errors(10)
        test = _errors(10)
        right = solutions.honest_error(val, test)
        found = honest_error(list(val), list(test))
        code = "wrong-value"
        if found == min(test):
            code = "chosen-on-test"
        elif found == min(val):
            code = "validation-error-returned"
        elif found == test[-1]:
            code = "last-epoch"
        if not expect(
            found == right, code,
            f"The lowest validation error is at epoch {val.index(min(val)) + 1}, where the test error is "
            f"{right}; the function returned {found}.",
            hint="Find the epoch by the validation errors, and read the test error there.",
        ):
            return
    expect(
        honest_error([3.0, 2.0, 2.0], [9.0, 8.0, 7.0]) == 8.0, "later-of-equals",
        "Of two epochs with equal validation error the first counts.", hint="min finds the first.",
    )  # fmt: skip
