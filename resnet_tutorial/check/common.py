"""Small questions that several checks ask of what a learner's code gave."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def _scalar(value: Any) -> Any:
    """Return what a tensor or array without axes holds, ``None`` for one that has axes, and all else as it is."""
    if not isinstance(value, Tensor | np.ndarray):
        return value
    return None if value.ndim or getattr(value, "is_meta", False) else value.item()


def whole(value: Any) -> int | None:
    """Return the whole number that ``value`` is (Python's, NumPy's, a tensor without axes), or ``None``."""
    value = _scalar(value)
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None


def number(value: Any) -> float | None:
    """Return the real number that ``value`` is (Python's, NumPy's, a tensor without axes), or ``None``."""
    value = _scalar(value)
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) else None


def whole_numbers(value: Any, count: int) -> list[int] | None:
    """Return the ``count`` whole numbers that a sequence holds, or ``None`` if it does not."""
    entries = sequence(value, count)
    if entries is None:
        return None
    found = [number for number in map(whole, entries) if number is not None]
    return found if len(found) == len(entries) else None


def described(value: Any) -> str:
    """Return words for what came back: "7 (an int)", "a tensor of shape (2, 3)", "'7' (a str)"."""
    if value is None:
        return "None (what a function without `return` gives)"
    if isinstance(value, Tensor) and value.dim():
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array of shape {value.shape}"
    if isinstance(value, nn.Module):
        return f"a module ({type(value).__name__})"
    shown = repr(value)
    name = f"{'an' if type(value).__name__[0] in 'aeiou' else 'a'} {type(value).__name__}"
    return name if len(shown) > 80 or shown.startswith("<") else f"{shown} ({name})"


def by(shape: Iterable[int]) -> str:
    """Return a shape as the messages write it: "8 x 16 x 3"."""
    return " x ".join(map(str, shape))


def written(name: str, *arguments: Any, **options: Any) -> str:
    """Return a call as the messages write it: "f(3, padding=1)"; a tensor is told by its shape."""
    values = [*map(_short, arguments), *(f"{key}={_short(value)}" for key, value in options.items())]
    return f"{name}({', '.join(values)})"


def _short(value: Any) -> str:
    return described(value) if isinstance(value, Tensor | np.ndarray | nn.Module) or callable(value) else repr(value)


class told:
    """Adds a note to an exception that is raised meanwhile: what the learner's code had been asked."""

    def __init__(self, note: str) -> None:
        self.note = note

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception):
            error.add_note(f"({self.note})")


def noting(name: str, function: Callable) -> Callable:
    """Return the function; an exception of it says which call raised it."""

    def call(*arguments: Any, **options: Any) -> Any:
        with told(f"{written(name, *arguments, **options)} was called."):
            return function(*arguments, **options)

    return call


def some(names: list[str], count: int) -> str:
    """Return the first names, and dots if there are more than ``count``."""
    return ", ".join(names[:count]) + " …" * (len(names) > count)


def unlike(one: float, other: float, digits: int = 4) -> tuple[str, str]:
    """Return both numbers with as many digits as it takes to tell them apart."""
    for enough in range(digits, 17):
        texts = f"{one:.{enough}g}", f"{other:.{enough}g}"
        if texts[0] != texts[1]:
            return texts
    return repr(one), repr(other)


def parameter_count(module: nn.Module) -> int:
    """Return how many numbers the module's parameters hold."""
    return sum(parameter.numel() for parameter in module.parameters())


def frozen(module: nn.Module) -> list[str]:
    """Return the names of the parameters that an optimiser would leave as they are."""
    return [name for name, parameter in module.named_parameters() if not parameter.requires_grad]


def differs_between_calls(call: Callable[[], Tensor]) -> bool:
    """Whether calls, one after the other, give different tensors: something in it is random."""
    with torch.no_grad():
        first = call()
        # Dropout on a few numbers leaves out the same ones twice now and then; hardly ever four times.
        return any(not torch.equal(first, call()) for _ in range(3))


def truth(value: Any) -> bool | None:
    """Return the truth value that ``value`` is (Python's, NumPy's, a tensor without axes), or ``None``."""
    value = _scalar(value)
    return bool(value) if isinstance(value, bool | np.bool_) else None


def sequence(value: Any, count: int | None = None) -> list | None:
    """Return the entries of a tuple, list, or array or tensor of one axis, or ``None``.

    With ``count``, another length gives ``None`` too.
    """
    if isinstance(value, Tensor | np.ndarray):
        value = list(value) if value.ndim == 1 else None
    fits = isinstance(value, tuple | list) and count in (None, len(value))
    return list(value) if fits else None


def gradients(module: nn.Module, x: Tensor, weights: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return the gradients of ``(module(x) * weights).sum()`` at x and at each parameter; none is zero."""
    x = x.detach().clone().requires_grad_()
    module.zero_grad()
    y = module(x * 1)  # not a leaf: a module may write into it
    if y.requires_grad:
        (y * weights).sum().backward()
    found = [torch.zeros_like(t) if t.grad is None else t.grad.clone() for t in (x, *module.parameters())]
    module.zero_grad()
    return found[0], found[1:]


def begins_alive(
    model: nn.Module, x: Tensor, call: str, expect: Callable[..., bool], only: Iterable[str] | None = None
) -> bool:
    """Whether each parameter of a new model moves within three steps of gradient descent.

    A head or the last batch norm of each branch may begin at zero: what stands before it waits for one step.

    Args:
        model: the new model, in the dtype of x.
        x: an input of it.
        call: how it was made, for the message.
        expect: takes whether it holds, a code, a message and a hint.
        only: the names of the parameters that count; all of them, if none are given.
    """
    own = dict(model.train().named_parameters())
    own = own if only is None else {name: own[name] for name in own if name in set(only)}
    still = dict(own)
    for _ in range(3):
        if not still:
            break
        model.zero_grad()
        y = model(x.clone())
        (y * torch.randn_like(y)).sum().backward()
        with torch.no_grad():
            for name, parameter in own.items():
                if parameter.grad is not None and parameter.grad.any():
                    still.pop(name, None)
                    parameter.sub_(parameter.grad * (0.1 / parameter.grad.abs().max()))
    return expect(
        not still, "dead-at-start",
        f"{call}: a new one was trained for three steps, and {len(still)} of its {len(own)} parameter tensors "
        f"({some(list(still), 3)}) did not move at all: no gradient reaches them.",
        "Only the last batch norm of a branch may begin with a weight of zero; all others begin with one, as "
        "nn.BatchNorm2d makes them.",
    )  # fmt: skip
