"""Checks for the book's exercises: ``check.bottleneck(Bottleneck)`` says what holds and what not.

Each exercise of the book has a check of its own name here, found when it is first used.
"""

from __future__ import annotations

from .bookkeeping import progress
from .core import Exercise, Finding, Report, catalog

__all__ = ["Exercise", "Finding", "Report", "catalog", "progress"]


def __getattr__(name: str) -> Exercise:
    """Return the check of the exercise called ``name``."""
    if name.startswith("_"):
        raise AttributeError(name)
    exercises = catalog()
    if name not in exercises:
        raise AttributeError(
            f"there is no exercise called {name!r}; there are: {', '.join(sorted(exercises))}."
        )
    return exercises[name]


def __dir__() -> list[str]:
    return sorted([*__all__, *catalog()])
