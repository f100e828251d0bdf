"""Checks of chapter 9, experiments."""

from __future__ import annotations

import copy
import inspect
import json
import random
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

from ..solutions import chapter09 as solutions
from .common import described, noting, number, sequence, truth, unlike
from .core import Expectations, exercise


def _errors(count: int) -> list[float]:
    """Return errors in per cent that differ from each other by a tenth or more, in no order."""
    return [value / 100 for value in random.sample(range(500, 1500, 10), count)]


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-5 * (1 + abs(other))  # what float32 gives is near enough


@exercise(
    "mean_and_spread", chapter=9, number=1, title="Mean and spread",
    difficulty=1, importance=4, minutes=6, points=1,
    solution="resnet_tutorial.solutions.chapter09:mean_and_spread",
)
def check_mean_and_spread(mean_and_spread: Any, expect: Expectations) -> None:
    """Random lists of several lengths, a single value, and none."""
    # The mean and the spread of the first list have more digits than anybody rounds to.
    for values in ([8.123, 9.457, 7.004], *map(_errors, (3, 2, 5, 9))):
        count = len(values)
        right = solutions.mean_and_spread(values)
        handed = list(values)
        given = noting("mean_and_spread", mean_and_spread)(handed)
        found = [number(each) for each in sequence(given, 2) or [None]]
        if not expect(
            None not in found, "wrong-type",
            f"The function returned {described(given)}; a pair of numbers is asked for.",
            hint="return mean, spread",
        ):
            return
        if not expect(
            handed == values, "input-modified", f"The list {values} was {handed} after the call.",
            hint="Only read the list: sort() and pop() change it for the caller too.",
        ):
            return
        mean, spread = cast(list[float], found)
        if not expect(
            _close(mean, right[0]) or not (_close(mean, right[1]) and _close(spread, right[0])), "swapped",
            f"The first number, {mean:.6g}, is the spread of {values}, and the second is the mean.",
            hint="return mean, spread",
        ):
            return
        seen, due = unlike(mean, right[0])
        if not expect(
            _close(mean, right[0]), "wrong-mean", f"The mean of {values} is {due}, not {seen}.",
            hint="The sum, divided by the count; do not round.",
        ):
            return
        faults = {
            "population-spread": right[1] * ((count - 1) / count) ** 0.5, "variance": right[1] ** 2,
            "standard-error": right[1] / count**0.5,
        }  # fmt: skip
        known = (code for code, value in faults.items() if _close(spread, value) and not _close(spread, right[1]))
        code = next(known, "wrong-spread")
        seen, due = unlike(spread, right[1])
        if not expect(
            _close(spread, right[1]), code, f"The spread of {values} is {due}, not {seen}.",
            hint="Divide the sum of squares by n - 1, and take the square root.",
        ):
            return
    for values, words, code in (([7.0], "One value alone", "accepts-one-value"), ([], "No value", "accepts-no-value")):
        refused = False
        try:
            outcome = f"gave {described(mean_and_spread(values))}"
        except ValueError:
            outcome, refused = "was refused", True
        except (ZeroDivisionError, IndexError) as error:
            outcome, code = f"raised {type(error).__name__}, not ValueError", "wrong-error"
        if not expect(
            refused, code, f"{words} {outcome}; it has no spread.",
            hint="Raise ValueError for fewer than two values, before anything is computed.",
        ):
            return


def _rounded(
    digits: int, value: float, baseline: Sequence[float], mean: float, spread: float, factor: float | None
) -> bool:
    return round(abs(value - mean), digits) > round((factor or 2) * spread, digits)


# The answers that known mistakes give: value, baseline, its mean and spread (n - 1), factor or None.
_MISTAKES: dict[str, tuple[Callable[..., bool], ...]] = {
    "one-sided": (
        lambda v, b, mean, spread, f: v - mean > (f or 2) * spread,
        lambda v, b, mean, spread, f: mean - v > (f or 2) * spread,
    ),
    "population-spread": (
        lambda v, b, mean, spread, f: abs(v - mean) > (f or 2) * spread * ((len(b) - 1) / len(b)) ** 0.5,
    ),
    "variance": (lambda v, b, mean, spread, f: abs(v - mean) > (f or 2) * spread**2,),
    "standard-error": (lambda v, b, mean, spread, f: abs(v - mean) > (f or 2) * spread / len(b) ** 0.5,),
    "value-in-the-baseline": (
        lambda v, b, mean, spread, f: abs(v - statistics.mean([*b, v])) > (f or 2) * statistics.stdev([*b, v]),
    ),
    "median": (lambda v, b, mean, spread, f: abs(v - statistics.median(b)) > (f or 2) * spread,),
    "rounded": tuple(partial(_rounded, digits) for digits in (0, 1, 2)),
    "factor-ignored": (lambda v, b, mean, spread, f: abs(v - mean) > 2 * spread,),
    "counts-the-border": (lambda v, b, mean, spread, f: abs(v - mean) >= (f or 2) * spread,),
    "turned-round": (lambda v, b, mean, spread, f: abs(v - mean) <= (f or 2) * spread,),
    "wrong-default": tuple(
        lambda v, b, mean, spread, f, default=default: abs(v - mean) > (f or default) * spread for default in (1, 3)
    ),
}
_STANDS_OUT_HINTS = {
    "one-sided": "Take abs() of the distance: a value far below stands out as well.",
    "population-spread": "The denominator of the spread is n - 1.",
    "variance": "The spread is the square root of the variance.",
    "standard-error": "The spread is of the single values: do not divide it by the root of their number.",
    "value-in-the-baseline": "The mean and the spread are those of the baseline alone, without the value.",
    "median": "Measure the distance from the mean, not from the median.",
    "rounded": "Compare the numbers as they are; round nothing.",
    "factor-ignored": "Multiply the spread by factor.",
    "counts-the-border": "Further than: compare with >, not >=.",
    "turned-round": "True is for a value that stands out.",
    "wrong-default": "factor=2.0",
}


def _distances() -> list[tuple]:
    """Return values, baselines and factors (None: left out), some of them exactly at the border."""
    cases = []
    for count, scale in ((4, 1), (4, 1), (9, 1), (4, 10), (5, 10), (9, 10)):
        baseline = [round(error / scale, 2) for error in _errors(count)]
        mean, spread = solutions.mean_and_spread(baseline)
        for distance, factor in (
            (-2.6, 2.0), (-1.87, 2.0), (1.87, 2.0), (2.3, 2.0), (2.3, 3.0), (-3.4, 3.0),
            (1.99, 2.0), (-2.01, 2.0), (1.99, None), (-1.99, None), (2.01, None), (-2.01, None),
        ):  # fmt: skip
            cases.append((mean + distance * spread, baseline, factor))
    # Mean 4, spread 2: all that is computed here is exact. The last value is beyond all others, and near.
    return [*cases, *((value, [2.0, 4.0, 6.0], 2.0) for value in (8.0, 0.0, 6.2))]


@exercise(
    "stands_out", chapter=9, number=2, title="More than noise?",
    difficulty=2, importance=5, minutes=8, points=2,
    solution="resnet_tutorial.solutions.chapter09:stands_out",
)
def check_stands_out(stands_out: Any, expect: Expectations) -> None:
    """Values below, within, above and at the border of the band, other factors, and no spread at all."""
    facts, found, right = [], [], []
    for value, baseline, factor in _distances():
        handed = list(baseline)
        given = stands_out(value, handed) if factor is None else stands_out(value, handed, factor)
        if not expect(
            truth(given) is not None, "wrong-type",
            f"The function returned {described(given)}, not True or False.", hint="return distance > ...",
        ) or not expect(
            handed == baseline, "input-modified", f"The baseline {baseline} was {handed} after the call.",
            hint="Only read the list.",
        ):
            return
        facts.append((value, baseline, *solutions.mean_and_spread(baseline), factor))
        found.append(truth(given))
        right.append(abs(value - facts[-1][2]) > (factor or 2) * facts[-1][3])
    wrong = [i for i in range(len(facts)) if found[i] != right[i]]
    code = "wrong-answer"
    if wrong:
        explained = (c for c, rules in _MISTAKES.items() for rule in rules if found == [rule(*f) for f in facts])
        code = next(explained, code)
    value, baseline, mean, spread, factor = facts[wrong[0] if wrong else 0]
    if not expect(
        not wrong, code,
        f"{value:.4f} lies {abs(value - mean) / spread:.2f} spreads {'below' if value < mean else 'above'} the mean of "
        f"{baseline}; with {'the default factor of 2' if factor is None else f'factor {factor}'} the answer is "
        f"{right[wrong[0]] if wrong else ''}, not {found[wrong[0]] if wrong else ''}.",
        hint=_STANDS_OUT_HINTS.get(code, "Compare abs(value - mean) with factor times the spread (n - 1)."),
    ):
        return
    for value, answer in ((7.0, False), (8.0, True)):
        try:
            given = stands_out(value, [7.0, 7.0, 7.0])
        except ZeroDivisionError:
            expect(
                False, "divides-by-zero", f"{value} against 7, 7, 7 raised ZeroDivisionError: the spread is 0.",
                hint="Compare the distance with factor * spread; then nothing is divided by the spread.",
            )
            return
        expect(
            truth(given) is answer, "no-spread",
            f"{value} against 7, 7, 7, whose spread is 0: the answer is {answer}, not {described(given)}.",
            hint="Compare the distance with factor * spread.",
        )


def _settings() -> dict:
    return {
        "data": "cifar10", "seed": 0, "steps": 1000,
        "recipe": {"name": "fast", "peak_lr": 0.2, "flip": True, "warm": {"epochs": 2}},
    }  # fmt: skip


def _flat(settings: dict, prefix: str = "") -> dict:
    """Return the settings without dictionaries inside: names joined with dots."""
    entries: dict[str, Any] = {}
    for name, value in settings.items():
        entries |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return entries


@exercise(
    "changed_choices", chapter=9, number=3, title="What exactly was changed?",
    difficulty=3, importance=4, minutes=12, points=3,
    solution="resnet_tutorial.solutions.chapter09:changed_choices",
)
def check_changed_choices(changed_choices: Any, expect: Expectations) -> None:
    """No change, one, several, nested ones, missing ones, None as a value, a text that looks like a number."""
    base = _settings()
    cases = {}
    cases["nothing"] = json.loads(json.dumps(base))  # equal values that are other objects
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
    cases["entries with the values '', 0 and False"] = {**copy.deepcopy(base), "note": "", "decay": 0, "mixup": False}
    cases["the seed, from 0 to None,"] = {**copy.deepcopy(base), "seed": None}
    near = copy.deepcopy(base)
    near["recipe"]["peak_lr"] = 0.201
    cases["the learning rate, from 0.2 to 0.201,"] = near
    text = copy.deepcopy(base)
    text["recipe"]["peak_lr"], text["seed"] = "0.2", "0"
    cases["the kind of two values, numbers in one and texts in the other,"] = text
    inner = copy.deepcopy(base)
    inner["recipe"]["warm"] = "none"
    cases["an inner dictionary to a text"] = inner
    cases["a dictionary to a text"] = {**copy.deepcopy(base), "recipe": "fast"}
    codes = {
        "nothing": "finds-too-much", "the learning rate": "nested-missed",
        "three choices": "nested-missed", "an entry left out": "missing-entry",
        "an entry with the value None": "missing-entry", "entries with the values '', 0 and False": "missing-entry",
        "the seed, from 0 to None,": "zero-is-not-none", "the learning rate, from 0.2 to 0.201,": "nearly-equal",
        "a dictionary to a text": "dictionary-or-not",
        "an inner dictionary to a text": "dictionary-or-not",
        "the kind of two values, numbers in one and texts in the other,": "compared-as-text",
    }  # fmt: skip
    hints = {
        "compared-as-text": "Compare the values themselves, not their texts.",
        "zero-is-not-none": "Compare the values themselves: 0 and None both count as false, and differ.",
        "nearly-equal": "Compare with != alone: a small change is a change.",
        "not-sorted": "return sorted(...): the whole list, what comes from inner dictionaries too.",
        "kept-from-last-call": "A list as a default argument is made once and kept from call to call: make a new one "
        "inside the function.",
    }  # fmt: skip
    earlier: list[str] = []
    for what, other in cases.items():
        for first, second in ((base, other), (other, base)):
            right = solutions.changed_choices(first, second)
            mine, others, nothing = _flat(first), _flat(second), object()
            entries = sorted(n for n in mine.keys() | others.keys() if mine.get(n, nothing) != others.get(n, nothing))
            before = copy.deepcopy((first, second))
            try:
                given = changed_choices(first, second)
            except (AttributeError, TypeError) as error:
                if codes.get(what) != "dictionary-or-not":
                    raise
                expect(
                    False, "dictionary-or-not", "Where an entry is a dictionary in one and a text in the other, "
                    f"the function raised {type(error).__name__}: {error}.",
                    hint="Go inside only if both are dictionaries.",
                )  # fmt: skip
                return
            found = sequence(list(given) if inspect.isgenerator(given) else given)
            if not expect(
                found is not None and all(isinstance(name, str) for name in found), "wrong-type",
                f"The function returned {described(given)}; a list of names is asked for.", hint="return sorted(...)",
            ) or found is None:
                return
            if not expect(
                (first, second) == before, "input-modified", "The settings were changed.", hint="Only read."
            ):
                return
            code = codes.get(what, "wrong-answer")
            if found != sorted(found) and sorted(found) in (right, entries):
                code = "not-sorted"
            elif earlier and found not in (right, entries) and sorted(found) == sorted(earlier + right):
                code = "kept-from-last-call"
            # Where a dictionary stands against a text, its entries may be named one by one as well.
            if not expect(
                found in (right, entries), code, f"Where {what} changed, the answer is {right}, not {found}"
                f"{': the names are right, their order is not' * (code == 'not-sorted')}"
                f"{': names of earlier calls are in it' * (code == 'kept-from-last-call')}.",
                hint=hints.get(code, "Go through the names of both; for two dictionaries go inside, with name + '.'."),
            ):
                return
            earlier += right


@exercise(
    "honest_error", chapter=9, number=4, title="The honest number",
    difficulty=2, importance=5, minutes=6, points=2,
    solution="resnet_tutorial.solutions.chapter09:honest_error",
)
def check_honest_error(honest_error: Any, expect: Expectations) -> None:
    """Nearly equal errors and equal ones, the best epoch first and last, large errors, and random curves."""
    hints = {
        "last-epoch-skipped": "The last epoch may be the best one: look at all of them.",
        "first-epoch-skipped": "The first epoch may be the best one: look at all of them.",
        "rounded": "Compare the errors as they are; round nothing.",
        "later-of-equals": "Of two epochs with equal validation error the first counts: min finds the first.",
    }
    for val, test, looked_at in (
        ([9.0, 7.014, 7.011, 8.0], [7.5, 8.0, 8.5, 9.0], "rounded"),
        ([5.0, 8.0, 6.0, 7.0], [6.5, 9.0, 7.5, 8.0], "first-epoch-skipped"),
        ([3.0, 2.0, 2.0, 4.0], [9.0, 8.0, 8.5, 7.0], "later-of-equals"),
        ([3.0, 2.0, 2.0, 4.0], [9.0, 8.5, 8.0, 7.0], "later-of-equals"),
        ([6.0, 8.0, 7.0, 5.0], [7.5, 9.0, 8.0, 6.5], "last-epoch-skipped"),
        ([90.0, 100.0], [89.0, 99.0], "large-errors"), ([100.0], [99.0], "large-errors"),
        *((_errors(10), _errors(10), "wrong-value") for _ in range(8)),
    ):  # fmt: skip
        handed = list(val), list(test)
        given = honest_error(*handed)
        found = number(given)
        large = given is None and min(val) >= 10
        if not expect(
            found is not None, "large-errors" if large else "wrong-type",
            f"For the validation errors {val} the function returned {described(given)}, not one number.",
            hint="An error may be 100: begin with float('inf'), or with the first epoch's." if large else
            "return test_errors[best]",
        ) or not expect(
            handed == (val, test), "input-modified", "The lists of errors were changed.", hint="Only read them."
        ) or found is None:  # fmt: skip
            return
        best, last = val.index(min(val)), len(val) - 1
        faults = {
            "chosen-on-test": min(test), "validation-error-returned": min(val), "last-epoch": test[last],
            "epoch-returned": best, "later-of-equals": test[last - val[::-1].index(min(val))],
            "last-epoch-skipped": test[val.index(min(val[:-1] or val))],
            "first-epoch-skipped": test[val.index(min(val[1:] or val))],
            "rounded": test[min(range(len(val)), key=lambda epoch: round(val[epoch], 2))],
        }  # fmt: skip
        right = _close(found, test[best])
        code = next((code for code, value in faults.items() if _close(found, value)), "wrong-value")
        again = ", and later again" * (val.count(min(val)) > 1)
        if not expect(
            right, looked_at if right else code,
            f"The validation errors {val} are lowest at epoch {best + 1}{again}; the test error there is {test[best]}, "
            f"and the function returned {found:.6g}.",
            hint=hints.get(code, "Find the epoch by the validation errors, and read the test error there."),
        ):
            return
