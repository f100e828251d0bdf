"""Exercise 8.6: the learning rate with which each step was taken, and what a wrong one comes from."""

from __future__ import annotations

import math
from functools import partial

from ..core import Expectations
from .loop_probe import OWN_RATE, Run, learning_rate

_close = partial(math.isclose, rel_tol=1e-5)


def sets_the_rate(seen: Run, expect: Expectations) -> bool:
    """Expect every group of the optimiser at the rate of the step's number."""
    right = [learning_rate(step) for step in range(seen.setting.steps)]
    groups = [list(rates) for rates in zip(*(step.rates for step in seen.log.steps), strict=True)]
    holds = [all(map(_close, rates, right)) for rates in groups]
    if all(holds):
        return expect(True, "wrong-rate", "")
    if any(holds):
        other = groups[holds.index(False)]
        return expect(
            False, "rate-in-one-group",
            f"The optimiser has two groups of parameters: one has the rate of each step, the other {_named(other[0])}.",
            hint='for group in optimizer.param_groups: group["lr"] = ...',
        )
    return expect(False, *_explained(groups[0], right, seen))


def _explained(rates: list[float], right: list[float], seen: Run) -> tuple[str, str, str]:
    """Return code, message and hint for the rates that were seen."""
    per_epoch = seen.setting.per_epoch
    step = next(k for k, pair in enumerate(zip(rates, right, strict=True)) if not _close(*pair))
    met = (f"Step {step}, in epoch {step // per_epoch + 1}, was taken with "
           f"{_named(rates[step])}, not with rate({step}).")  # fmt: skip
    if all(_close(rate, OWN_RATE) for rate in rates):
        asked = len(seen.log.asked)
        return (
            "rate-not-set" if asked else "rate-not-asked",
            f"rate was called {asked} times, and every step was taken with {_named(OWN_RATE)}.",
            'Before each step: for group in optimizer.param_groups: group["lr"] = rate(step).',
        )
    if all(_close(rate, learning_rate(k + 1)) for k, rate in enumerate(rates)):
        return "rate-one-ahead", met, "The first step has the number 0: count up after the step, not before."
    if all(map(_close, rates, [OWN_RATE, *right[:-1]])):
        return "rate-after-step", met, "Set the rate before the step is taken; the first one has rate(0)."
    epochs = [rates[start : start + per_epoch] for start in range(0, len(rates), per_epoch)]
    if all(_close(rate, rates[0]) for rate in rates):
        return "rate-set-once", met, "Set the rate anew before each step."
    if all(_close(rate, epoch[0]) for epoch in epochs for rate in epoch):
        return (
            "rate-per-epoch", f"All {per_epoch} steps of an epoch had the same rate. {met}",
            "The schedule counts steps: ask it, and count up, inside the loop over the batches.",
        )
    if all(map(_close, rates, epochs[0] * len(epochs))):
        return (
            "rate-restarts", f"Every epoch had the same rates again. {met}",
            "The number of the step goes on over all epochs: set it to 0 once, before the first.",
        )
    return "wrong-rate", met, "Count the steps from 0 over the whole run, and set rate(step) before each."


def _named(rate: float) -> str:
    """Return which rate this is, as far as it can be told."""
    if _close(rate, OWN_RATE):
        return f"the rate that the optimiser came with, {OWN_RATE:g}"
    back = (0.05 / rate - 1) / 0.3 if rate else -1
    if back > -0.5 and abs(back - round(back)) < 1e-3:
        return f"rate({round(back)})"
    return f"the rate {rate:.3g}"
