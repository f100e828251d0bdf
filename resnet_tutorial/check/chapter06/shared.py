"""What the checks of this chapter share: comparing two networks, and the questions asked of both.

Two networks are compared by giving both the same numbers and looking at what comes out.
So that neither names nor the order of definition matter, the numbers depend on a tensor's shape
alone: all tensors of one shape get the same values (:func:`by_shape`). A learner's tensor may hold
them in another form, a matrix the other way round for one, and counts by the book's shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from itertools import chain
from math import prod
from time import monotonic
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import is_lazy

from ..common import described, differs_between_calls, frozen, some
from ..core import Expectations
from ..networks import Variant
from ..residual.plan import key
from ..residual.roles import fit

Shape = tuple[int, ...]
SEARCH = 1.5  # seconds for trying known faults


@cache
def _numbers() -> Tensor:
    return torch.randn(2_400_000, generator=torch.Generator().manual_seed(6))


def values(shape: Shape, dtype: torch.dtype) -> Tensor:
    """Return the numbers that every tensor of this shape is given."""
    count = prod(shape)
    numbers = _numbers()
    if count > len(numbers):
        numbers = numbers.repeat(-(-count // len(numbers)))
    numbers = numbers[:count].view(shape).to(dtype)
    # He's scale for weights; the vectors of batch norms take both signs, so that each ReLU matters.
    return numbers * (2 / prod(shape[1:])) ** 0.5 if len(shape) > 1 else numbers


def _forms(model: nn.Module, book: nn.Module | None) -> dict[Shape, tuple[Shape, Callable[[Tensor], Tensor]]]:
    """Return, for each shape of the model's parameters, the book's shape and how to get from that to this one."""
    known = {tuple(p.shape) for p in (book or model).parameters()}
    mine = {tuple(p.shape) for p in model.parameters()}
    return {shape: fit(shape, known) or (shape, lambda numbers: numbers) for shape in mine}


def by_shape(model: nn.Module, dtype: torch.dtype, book: nn.Module | None = None) -> dict[str, Tensor]:
    """Return values for all parameters and buffers, the same for all tensors of one shape."""
    shared = {shape: form(values(known, dtype)) for shape, (known, form) in _forms(model, book).items()}
    given = {name: shared[tuple(p.shape)] for name, p in model.named_parameters()}
    for name, buffer in model.named_buffers():  # a training step changes them: each its own
        if buffer.is_floating_point():  # variances are positive
            given[name] = 0.5 + values(key(buffer.shape), dtype).sigmoid().view(buffer.shape)
        else:
            given[name] = torch.zeros(buffer.shape, dtype=buffer.dtype)
    return given


def run(model: nn.Module, x: Tensor, train: bool, book: nn.Module | None = None) -> Tensor:
    """Return what the model computes with weights that depend on their shapes (the book's, if given) alone."""
    return functional_call(model.train(train), by_shape(model, x.dtype, book), x)


def same(mine: Tensor | None, wanted: Tensor | None, tolerance: float) -> bool:
    """Whether there are two tensors, and they agree up to this share of the largest value."""
    if mine is None or wanted is None:
        return False
    return mine.shape == wanted.shape and bool((mine - wanted).abs().max() <= tolerance * wanted.abs().max())


def shown(shape: Iterable[int]) -> str:
    """Return a shape as this chapter's messages write it: "3 × 7 × 7"."""
    return " × ".join(map(str, shape))


def is_module(attempt: Any, what: str, expect: Expectations) -> bool:
    """Whether something came back that PyTorch can train and move as a whole."""
    if not expect(
        isinstance(attempt, nn.Module), "not-a-module",
        f"{what} gave a {type(attempt).__name__}, not an nn.Module.",
        hint="nn.Sequential(first, second, …) makes one module of several.",
    ):  # fmt: skip
        return False
    return expect(
        not isinstance(attempt, nn.ModuleList | nn.ModuleDict), "not-callable",
        f"{what} gave an nn.{type(attempt).__name__}, which keeps modules but does not run them.",
        hint="nn.Sequential(*blocks) runs them one after the other.",
    )  # fmt: skip


def ready(model: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """Give lazy layers their shapes, by a call with an input of this shape."""
    if any(is_lazy(tensor) for tensor in chain(model.parameters(), model.buffers())):
        device = next(chain(model.parameters(), model.buffers())).device
        with torch.no_grad():
            model.eval()(torch.zeros(shape, device=device))
        model.train()
    return model


def gave_a_tensor(y: Any, what: str, expect: Expectations) -> bool:
    """Whether a call gave one tensor."""
    return expect(
        isinstance(y, Tensor), "wrong-type", f"{what} returned {described(y)}, not a tensor.",
        hint="forward ends with return, and returns one tensor.",
    )  # fmt: skip


def trains(model: nn.Module, what: str, expect: Expectations) -> bool:
    """Whether all parameters ask for gradients and all modules are in training mode."""
    names = frozen(model)
    resting = [name or "the whole" for name, module in model.named_modules() if not module.training]
    return expect(
        not names, "frozen",
        f"{what}: {len(names)} of the parameter tensors ({some(names, 2)}) would not be trained, because their "
        "requires_grad is False.",
        hint="Leave requires_grad as it is; a new network is trained as a whole.",
    ) and expect(
        not resting, "left-in-eval", f"{what}: fresh from the call, {resting[0] if resting else ''} is in eval mode.",
        hint="Leave out .eval(): a new module is in training mode, and whoever evaluates it changes that.",
    )  # fmt: skip


def _gradients(model: nn.Module, x: Tensor, train: bool, book: nn.Module) -> dict[Shape | None, Tensor | None]:
    """Return the gradients of a mixture of the outputs: the input's under None, the parameters' by shape."""
    given, forms = by_shape(model, x.dtype, book), _forms(model, book)
    # No cached values: these ask for gradients.
    leaves: dict[Shape | None, Tensor] = {None: x.clone().requires_grad_()}
    for name, parameter in model.named_parameters():
        known, form = forms[tuple(parameter.shape)]
        if known not in leaves:
            leaves[known] = values(known, x.dtype).clone().requires_grad_()
        given[name] = form(leaves[known])
    y = functional_call(model.train(train), given, leaves[None].clone())
    if not y.requires_grad:
        return dict.fromkeys(leaves)
    mixed = (y * values(tuple(y.shape), y.dtype)).sum()
    return dict(zip(leaves, torch.autograd.grad(mixed, list(leaves.values()), allow_unused=True), strict=True))


@dataclass(frozen=True)
class Trial:
    """One comparison: the learner's module and the book's get the same numbers, the same input and the same mode.

    Attributes:
        call: how the learner's was made, in words.
        gives: what comes out, in words for "With the same weights, ... differ from the book's".
        hint: what to try when no known fault explains the difference.
        mine, book: the two modules.
        x: the input.
        train: whether both are in training mode.
        variants: wrong modules to compare with, in the order in which they are tried.
        tolerance: the largest difference, as a share of the largest value.
    """

    call: str
    gives: str
    hint: str
    mine: nn.Module
    book: nn.Module
    x: Tensor
    train: bool
    variants: Iterable[Variant] = ()
    tolerance: float = 1e-9

    @property
    def mode(self) -> str:
        """The mode in words."""
        return f"{'training' if self.train else 'evaluation'} mode"

    def agrees(self, y: Tensor, expect: Expectations) -> bool:
        """Whether y, what the learner's module gave for x, and its gradients are the book's."""
        if same(y, run(self.book, self.x, self.train), self.tolerance):
            return self._gradients_hold(expect)
        self.explain(y, expect)
        return False

    def explain(self, y: Tensor, expect: Expectations) -> None:
        """Record why the values y are wrong: chance, a known fault, or what cannot be named."""
        if not self._repeats_itself(expect):
            return
        end = monotonic() + SEARCH
        for code, message, hint, build in self.variants:
            if monotonic() > end:
                break
            if same(y, run(build(), self.x, self.train), self.tolerance):
                if not self.train:
                    message = f"In evaluation mode: {message[:1].lower()}{message[1:]}"
                expect(False, code, message, hint)
                return
        expect(
            False, "wrong-value", f"With the same weights, {self.gives} differ from the book's in {self.mode}.",
            self.hint,
        )  # fmt: skip

    def _repeats_itself(self, expect: Expectations) -> bool:
        """Whether the same call gives the same output again."""
        return expect(
            not differs_between_calls(lambda: run(self.mine, self.x, self.train, self.book)), "random",
            f"{self.call}: two calls with the same input and weights in {self.mode} give different outputs.",
            hint="Leave out dropout and noise; nothing here is random.",
        )  # fmt: skip

    def _gradients_hold(self, expect: Expectations) -> bool:
        """Whether the gradients are the book's; the outputs are known to be."""
        found = _gradients(self.mine, self.x, self.train, self.book)
        for shape, wanted in _gradients(self.book, self.x, self.train, self.book).items():
            if shape not in found:
                continue
            whose = "the input" if shape is None else f"the parameters of {shown(shape)}"
            got = found[shape]
            if not expect(
                got is not None and bool(got.any()), "gradient-cut",
                f"{self.call}: the values are right, but no gradient reaches {whose}.",
                hint="Leave out .detach(), .data, .item() and torch.no_grad() in forward.",
            ):  # fmt: skip
                return False
            right = same(got, wanted, 1e-8)
            if not right and not self._repeats_itself(expect):  # chance can spare the outputs of one call
                return False
            if not expect(
                right, "wrong-gradient",
                f"{self.call}: the values are right, but the gradient of {whose} is not.",
                hint="Leave out .detach(), .data and torch.no_grad() in forward.",
            ):  # fmt: skip
                return False
        return True
