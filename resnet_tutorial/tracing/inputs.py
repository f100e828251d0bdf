"""The inputs of a network: what the caller gave, as shapes, and as tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .recorder import Recorder
from .records import Shape


class Inputs:
    """The inputs of a network.

    Args:
        given: a shape or a tensor; a list of them; a dictionary of them by name.
        dtype: of the tensors that are made from shapes.

    Raises:
        ValueError: if there is something else among them.
    """

    def __init__(self, given: Any, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._listed: list[Any] = []
        self._named: dict[str, Any] = {}
        if isinstance(given, Mapping):
            self._named = dict(given)
        elif isinstance(given, Sequence) and not isinstance(given, str) and not _is_shape(given):
            self._listed = list(given)
        else:
            self._listed = [given]
        for size in [*self._listed, *self._named.values()]:
            if not isinstance(size, Tensor) and not _is_shape(size):
                raise ValueError(
                    f"input_size must be a shape such as (1, 3, 224, 224), or several, not {given!r}."
                )
        count = len(self._listed)
        self._names = ["input"] if count == 1 else [f"input {i + 1}" for i in range(count)]

    @property
    def shapes(self) -> list[tuple[str, Shape]]:
        """The shapes with their names."""
        pairs = [*zip(self._names, self._listed, strict=True), *self._named.items()]
        return [(name, tuple(getattr(size, "shape", size))) for name, size in pairs]

    def make(self, recorder: Recorder) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """Return the arguments of the forward pass, as tensors on the recorder's device."""
        generator = torch.Generator("cpu").manual_seed(0)  # its own: the global one stays as it is

        def tensor(size: Any) -> Tensor:
            is_tensor = isinstance(size, Tensor)
            if recorder.device == "meta":
                dtype = size.dtype if is_tensor else self._dtype
                return torch.empty(
                    tuple(size.shape if is_tensor else size), dtype=dtype, device="meta"
                )
            if is_tensor:
                return size.detach().clone()
            return torch.randn(tuple(size), generator=generator, device="cpu").to(
                recorder.device, self._dtype
            )

        listed = zip(self._listed, self._names, strict=True)
        args = [recorder.add_input(tensor(size), name) for size, name in listed]
        kwargs = {
            name: recorder.add_input(tensor(size), name) for name, size in self._named.items()
        }
        return tuple(args), kwargs


def _is_shape(given: Any) -> bool:
    return isinstance(given, (tuple, list)) and all(
        isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in given
    )


def is_numbered(name: str) -> bool:
    """Tell whether an input has a name of this module's making: ``input``, ``input 2``."""
    return re.fullmatch(r"input( \d+)?", name) is not None
