"""One block under examination: what it was made for, how its first call went, what has been said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from resnet_tutorial.check.common import by
from resnet_tutorial.check.core import Expectations

from .faults import Fault
from .plan import Plan, kernels_of, key, shapes_of
from .program import Values
from .watch import Watch, materialised

# How else the kernels of a block may have come about: code, message, hint, and the plan it follows.
Variant = tuple[str, str, str, Plan]


@dataclass(frozen=True)
class Case:
    """One block to look at: how to make it, what it should be, and on which size of image.

    ``thorough``: whether roles, gradients, evaluation mode and state dict are looked at too.
    ``handed``: whether the projection was handed to the block.
    """

    plan: Plan
    make: Callable[[], nn.Module]
    size: tuple[int, int]
    thorough: bool = True
    handed: bool = False


class Notes:
    """Records findings, a failing one only once over all cases."""

    def __init__(self, expect: Expectations) -> None:
        self.expect = expect
        self.said: set[str] = set()
        self.codes: list[str] = []
        self.faults: list[Fault] = []  # those that were named
        self.searched = 0.0  # seconds spent on looking for faults

    def say(self, holds: bool, code: str, message: str, hint: str, key: str = "") -> bool:
        """Record a finding and return whether it holds."""
        key = key or code
        if not holds and key in self.said:
            return False
        if not holds:
            self.said.add(key)
            self.codes.append(code)
        return self.expect(holds, code, message, hint)


class Look:
    """One look at one block: the block itself and its first call.

    ``plan`` is the plan as the block stores it, ``plans`` all that it may follow; ``x`` the input of
    the last call.
    """

    def __init__(self, case: Case, notes: Notes, variants: Callable[[Plan], Iterator[Variant]]) -> None:
        self.case, self.plan, self.notes, self.variants = case, case.plan, notes, variants
        self.block = self.fresh()
        self.error: RuntimeError | None = None
        self.watch = Watch()
        self.output: Any = None
        self.plans: list[Plan] = []
        self.shared = Values()
        if isinstance(self.block, nn.Module):
            self._try()

    def fresh(self) -> nn.Module:
        """Return another block like this one, newly made."""
        block = self.case.make()
        return materialised(block, self.plan.in_channels) if isinstance(block, nn.Module) else block

    def _try(self) -> None:
        """Call the block once, as it came, and keep what happened."""
        self.x = torch.randn(3, self.plan.in_channels, *self.case.size)
        try:
            with self.watch, torch.no_grad():
                self.output = self.block(self.x.clone())
        except Exception as error:
            error.add_note(f"({self.plan.call} was given {by(self.x.shape)}.)")
            if not isinstance(error, RuntimeError):
                raise
            self.error = error
        self.unregistered = self.watch.unregistered(self.block)

    def say(self, holds: bool, code: str, message: str, hint: str, key: str = "") -> bool:
        """Record a finding about this block and return whether it holds."""
        return self.notes.say(holds, code, f"{self.plan.call}: {message}", hint, key)

    def is_module(self) -> bool:
        """Tell whether there is a block to look at."""
        return self.say(
            isinstance(self.block, nn.Module), "not-a-module",
            f"it is a {type(self.block).__name__}, not an nn.Module.",
            "Derive the class from nn.Module and call super().__init__() first.",
        )

    def agrees_on_the_projection(self) -> bool:
        """Tell whether there is a 1x1 from input to output channels where there should be, and only there."""
        wanted = self.plan.projection is not None
        if self.watch.calls and self.error is None:
            return self._calls_a_projection() == wanted
        mine = kernels_of(shapes_of(self.block))
        if sum(mine.values()) <= len(self.plan.branch):
            return not wanted or not mine
        beyond = mine - kernels_of(layer.kernel for layer in self.plan.branch)
        ends = {self.plan.in_channels, self.plan.out_channels}
        return any(set(shape[:2]) == ends for shape in beyond) == wanted

    def _calls_a_projection(self) -> bool:
        """Tell whether a convolution besides the branch's first works on x itself."""
        first = self.plan.branch[0]
        called = {id(c.weight): c.weight for c in self.watch.calls if c.first}  # a call repeated is no other layer
        onto_x = [weight.shape for weight in called.values() if weight.shape[0] == self.plan.out_channels]
        branch = next((n for n, shape in enumerate(onto_x) if key(shape) == key(first.kernel)), None)
        if first.out_channels == self.plan.out_channels and branch is not None:
            del onto_x[branch]
        if onto_x:
            return True
        # Not with a convolution, but perhaps with a matrix.
        beyond = kernels_of(shapes_of(self.block)) - kernels_of(c.weight.shape for c in self.watch.calls)
        return any(set(shape) == {self.plan.in_channels, self.plan.out_channels} for shape in beyond if len(shape) == 2
                   ) and self.plan.projection is not None
