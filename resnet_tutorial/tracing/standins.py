"""Stand-ins for the model's tensors, so that nothing is ever written to the model itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .marks import Mark, map_tensors


class StandIns:
    """Gives for each tensor of the model one that may be computed with.

    On the ``meta`` device a stand-in has the shape and no memory.  On a real device it is a copy;
    a parameter that is only read lends its memory instead.

    Args:
        owner: whose marks the stand-ins carry.
        modules: all modules of the network, by path; their parameters have names.
        device: of the stand-ins.
        gradients: whether stand-ins of trainable parameters require gradients.
    """

    def __init__(
        self, owner: object, modules: Mapping[str, nn.Module], device: str, gradients: bool
    ) -> None:
        self._owner = owner
        self._device = device
        self._gradients = gradients
        self._known: dict[
            int, tuple[Tensor, Tensor]
        ] = {}  # by id; with the tensor, to keep the id its own
        self._names: dict[int, str | None] = {}
        self.parameters: dict[str, Tensor] = {}
        self.unregistered: dict[str, Tensor] = {}
        for path, module in modules.items():
            for name, parameter in module._parameters.items():
                if parameter is not None and id(parameter) not in self._names:
                    full_name = f"{path}.{name}" if path else name
                    self._names[id(parameter)] = full_name
                    self.parameters[full_name] = parameter
            for buffer in module._buffers.values():
                self._names[id(buffer)] = None

    def name(self, tensor: Tensor) -> str | None:
        """Return a parameter's name, ``None`` for what is no parameter."""
        key = id(tensor)
        if key not in self._names:
            if not isinstance(tensor, nn.Parameter):
                return None
            name = f"<unregistered {len(self.unregistered) + 1}>"
            self._names[key] = name
            self.unregistered[name] = tensor
        return self._names[key]

    def mark(self, tensor: Tensor) -> Mark | None:
        """Return the mark of a tensor that is a value of the trace, ``None`` for the model's own."""
        mark = getattr(tensor, "_trace_mark", None)
        if mark is not None and mark.owner is self._owner:
            return mark
        if known := self._known.get(id(tensor)):
            mark = known[1]._trace_mark  # type: ignore[attr-defined]
            return mark if mark.value is not None else None  # a buffer into which the forward wrote
        return None

    def replace(self, structure: Any, in_place: bool = False) -> Any:
        """Return (nested) arguments with stand-ins for the model's tensors."""

        def stand_in(tensor: Tensor) -> Tensor:
            mark = getattr(tensor, "_trace_mark", None)
            ours = mark is not None and mark.owner is self._owner
            return tensor if ours else self._stand_in(tensor, in_place)

        return map_tensors(structure, stand_in)

    def _stand_in(self, tensor: Tensor, in_place: bool) -> Tensor:
        if known := self._known.get(id(tensor)):
            return known[1]
        if self._device == "meta":
            stand_in = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
        else:
            is_read = isinstance(tensor, nn.Parameter) and not in_place
            stand_in = tensor.detach() if is_read else tensor.detach().clone()
        if self._gradients and tensor.requires_grad:
            stand_in.requires_grad_()
        stand_in._trace_mark = Mark(self._owner, None)  # type: ignore[attr-defined]
        self._known[id(tensor)] = (tensor, stand_in)
        return stand_in
