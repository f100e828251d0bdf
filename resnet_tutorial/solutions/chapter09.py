"""Solutions of chapter 9's exercises."""
from __future__ import annotations


def mean_and_spread(values: list[float]) -> tuple[float, float]:
    """Return mean and standard deviation of a list (n - 1 in the denominator)."""
    if len(values) < 2:
        raise ValueError("a spread needs two values or more.")
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, variance**0.5


def stands_out(value: float, baseline: list[float], factor: float = 2.0) -> bool:
    """Tell whether value is more than factor spreads from the baseline's mean."""
    mean, spread = mean_and_spread(baseline)
    return abs(value - mean) > factor * spread


def changed_choices(first: dict, second: dict, prefix: str = "") -> list[str]:
    """Return the names of all choices in which two runs' settings differ, sorted.

    A dictionary inside counts by its entries: "recipe.peak_lr".
    A choice that only one of the two has counts as changed.
    """
    changed = []
    for name in first.keys() | second.keys():
        mine, other = first.get(name), second.get(name)
        if isinstance(mine, dict) and isinstance(other, dict):
            changed += changed_choices(mine, other, f"{prefix}{name}.")
        elif (name in first) != (name in second) or mine != other:
            changed.append(prefix + name)
    return sorted(changed)


def honest_error(val_errors: list[float], test_errors: list[float]) -> float:
    """Return the test error at the epoch with the lowest validation error.

    Of epochs with equal validation errors the first counts.
    """
    best = min(range(len(val_errors)), key=lambda epoch: val_errors[epoch])
    return test_errors[best]
