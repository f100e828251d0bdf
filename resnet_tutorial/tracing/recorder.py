"""Watch a forward pass and write down every operation.

:class:`Recorder` is a ``TorchFunctionMode``: while it is active, torch hands it every call of
a torch function, whether a module made it or a line such as ``out + x``.
It computes each with tensors on the ``meta`` device, which have a shape and no memory.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from . import hollow, rules
from .graph import Graph
from .kinds import arguments_of
from .marks import Mark, NeedsData, map_tensors, tensors_in
from .records import ModuleCall, Source, Value
from .spellings import (
    DERIVED,
    FILLS,
    MOVES,
    QUESTIONS,
    READS,
    name_of,
    overwrites,
    property_of,
    without_device,
)
from .standins import StandIns
from .whereabouts import Lines


@dataclass
class Failed:
    """The operation that raised, and what it was given (with stand-ins)."""

    name: str
    args: tuple
    kwargs: dict[str, Any]
    inputs: tuple[int, ...]
    call: ModuleCall
    source: Source | None
    error: Exception
    said: Exception | None  # what torch raises for real tensors of these shapes; None if nothing


class Recorder(TorchFunctionMode):
    """Records the operations of one forward pass.

    Args:
        modules: all modules of the network, by path; none for a function.
        device: ``"meta"``; or the device of real tensors, where the forward pass needs data.
        exact: let torch run every operation, with gradients, and take no shortcut.
    """

    def __init__(
        self, modules: Mapping[str, nn.Module], device: str = "meta", exact: bool = False
    ) -> None:
        super().__init__()
        self.graph = Graph()
        self.tensors = StandIns(self, modules, device, gradients=exact)
        self.device = device
        self.exact = exact
        self.failed: Failed | None = None
        # an operation that read an outdated name, the one that overwrote it, and its new name
        self.outdated_reads: list[tuple[int, int, Mark]] = []
        self.returned_nothing: list[str] = []  # modules whose forward returned None
        self.overwrites_parameter = False
        self.gradients: dict[int, Any] = {}  # in exact mode: operation -> grad_fn of its output
        self._quick = device == "meta" and not exact
        self._kept: list[Tensor] = []
        self._thread = threading.get_ident()
        self._lines = Lines(Recorder.forward.__code__)
        self._paths = {id(module): path for path, module in modules.items()}

    def add_input(self, tensor: Tensor, name: str) -> Tensor:
        """Make a tensor an input of the network and return it."""
        self._attach(tensor, self.graph.add_input(tensor, name).id)
        return tensor

    def forward(self, model: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Run the network under observation and return what it returns."""
        try:
            with self:
                if isinstance(model, nn.Module):
                    return model(*args, **kwargs)
                name = getattr(model, "__name__", type(model).__name__)
                self.graph.begin_call("", name, self.value_ids((args, kwargs)))
                result = model(*args, **kwargs)
                self.graph.end_call(self.value_ids(result))
                return result
        finally:
            self.graph.close()

    def value_ids(self, structure: Any) -> tuple[int, ...]:
        """Return the numbers of the values among (nested) tensors."""
        marks = [self.tensors.mark(tensor) for tensor in tensors_in((structure,))]
        return tuple([mark.value for mark in marks if mark is not None and mark.value is not None])

    # -- modules -----------------------------------------------------------------------------

    def __enter__(self) -> Recorder:
        # Global hooks: a hook on the model's own modules would be a change to the model.
        self._handles = (
            register_module_forward_pre_hook(self._enter_module),
            register_module_forward_hook(self._leave_module, always_call=True),
        )
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        for handle in self._handles:
            handle.remove()
        super().__exit__(*error)

    def _enter_module(self, module: nn.Module, args: tuple) -> None:
        if threading.get_ident() != self._thread:
            return  # another thread's model
        kind = type(module).__name__
        path = self._paths.get(id(module))
        if path is None:  # a module that the network does not know of
            path = f"{self.graph.call.path}.<{kind}>".lstrip(".")
        self.graph.begin_call(path, kind, self.value_ids(args))

    def _leave_module(self, module: nn.Module, args: tuple, output: Any) -> None:
        if threading.get_ident() != self._thread:
            return
        returned = sys.exc_info()[1] is None  # the hook runs after an error as well
        if returned and output is None:
            call = self.graph.call
            self.returned_nothing.append(f"{call.path} ({call.type})" if call.path else call.type)
        self.graph.end_call(self.value_ids(output))

    # -- operations --------------------------------------------------------------------------

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        spelling = getattr(func, "__name__", "")
        given = tensors_in(args)
        if kwargs:
            given += tensors_in(kwargs.values())
        if not given:
            return self._create(func, spelling, args, kwargs)
        if spelling == "__set__":
            return None  # ``weight.data = ...`` would write to the model
        if spelling == "requires_grad_" and self.tensors.mark(given[0]) is None:
            return given[0]
        if spelling in QUESTIONS or (spelling == "__get__" and property_of(func) not in DERIVED):
            return func(*args, **kwargs)

        if spelling == "__iter__":  # ``a, b = x``
            return iter(self.__torch_function__(Tensor.unbind, types, args))
        marks = [self.tensors.mark(tensor) for tensor in given]
        own = not any(marks)  # only the model's own tensors
        in_place = overwrites(func, kwargs)
        if own and spelling in READS:
            return func(*args, **kwargs)  # a number of the model's own, such as a counter
        if own and in_place and self._quick:
            # Bookkeeping, such as ``num_batches_tracked += 1``: no shape can change.
            target = _target(kwargs, given)
            self.overwrites_parameter |= target.requires_grad
            return target
        if own and spelling == "__get__":
            # ``weight.data``: a constant; what is written to it must not reach the model
            result = func(*self.tensors.replace(args))
            self._attach(result, None)
            return result
        if spelling in MOVES and self.device == "meta":
            args, kwargs = without_device(args, kwargs)
            if len(args) + len(kwargs) == 1:
                return args[0]
        return self._compute(func, args, kwargs, given, marks, in_place)

    def _compute(
        self, func: Callable, args: tuple, kwargs: dict[str, Any],
        given: list[Tensor], marks: list[Mark | None], in_place: bool,
    ) -> Any:  # fmt: skip
        """Compute one operation on tensors without memory, and write it down."""
        name = name_of(func)
        inputs = self._read(marks)
        arguments = arguments_of(name, args, kwargs)
        result = rules.run(name, arguments, in_place) if self._quick and inputs else None
        by_rule = isinstance(result, Tensor)
        if not by_rule:
            args = self.tensors.replace(args, in_place)
            kwargs = self.tensors.replace(kwargs, in_place)
            arguments = arguments_of(name, args, kwargs)
            refused = result is rules.REFUSAL
            result = self._by_torch(name, func, args, kwargs, inputs, in_place, refused)
        self.failed = None  # if there was a failure before, the model itself has caught it

        parameters = self._parameters(given, marks)
        is_new = name.startswith("new_") or name.endswith("_like")
        if is_new or not inputs and (in_place or not parameters):
            for tensor in tensors_in((result,)):
                self._attach(tensor, None)
            return result
        index = len(self.graph.operations)
        if in_place:
            result, values = self._overwrite(_target(kwargs, given), result, index)
        else:
            result, values = self._add_results(result, [] if by_rule else given, marks, index)
        if values:
            source = self._lines.current()
            self.graph.add_operation(name, arguments, inputs, values, parameters, in_place, source)
        return result

    def _by_torch(
        self, name: str, func: Callable, args: tuple, kwargs: dict[str, Any],
        inputs: list[int], in_place: bool, refused: bool,
    ) -> Any:  # fmt: skip
        """Let torch compute an operation, and remember it if it raises."""
        target = _target(kwargs, tensors_in((args, kwargs))) if in_place else None
        try:
            if refused:
                outcome = hollow.attempt(func, args, kwargs, target)
                if isinstance(outcome, Exception):
                    raise outcome
                if isinstance(outcome, Tensor) and target is None:
                    return torch.empty(outcome.shape, dtype=outcome.dtype, device="meta")
            result = func(*args, **kwargs)
            _check_types(name, arguments_of(name, args, kwargs))
            return result
        except Exception as error:
            said: Exception | None = error
            if self.device == "meta":  # where torch words some errors otherwise
                outcome = hollow.attempt(func, args, kwargs, target)
                said = outcome if isinstance(outcome, Exception) else None
                if said is None and _lacks_data(error):
                    raise NeedsData(f"{name}: {error}") from error
            call, source = self.graph.call, self._lines.current()
            self.failed = Failed(name, args, kwargs, tuple(inputs), call, source, error, said)
            raise

    def _read(self, marks: list[Mark | None]) -> list[int]:
        """Return the values that an operation reads."""
        index = len(self.graph.operations)
        inputs = []
        for mark in marks:
            if mark is not None and mark.value is not None:
                mark.read = True
                inputs.append(mark.value)
                if mark.outdated_by is not None and mark.successor is not None:
                    self.outdated_reads.append((index, mark.outdated_by, mark.successor))
        return inputs

    def _parameters(self, given: list[Tensor], marks: list[Mark | None]) -> dict[str, Tensor]:
        """Return the parameters among an operation's tensors, by name."""
        named = {}
        for tensor, mark in zip(given, marks, strict=True):
            if mark is None and (name := self.tensors.name(tensor)) is not None:
                named[name] = tensor
        return named

    def _add_results(
        self, result: Any, given: list[Tensor], marks: list[Mark | None], index: int
    ) -> tuple[Any, list[Value]]:
        """Write down the tensors that an operation returned."""
        values: list[Value] = []

        def add(tensor: Tensor) -> Tensor:
            if any(tensor is other for other in given):
                # Torch gave its argument back (dropout in evaluation mode); the graph needs two.
                tensor = tensor.view_as(tensor)
            value = self.graph.add_value(tensor, index, self._shared_memory(tensor, given, marks))
            self._attach(tensor, value.id)
            values.append(value)
            return tensor

        return map_tensors(result, add), values

    def _overwrite(self, target: Tensor, result: Any, index: int) -> tuple[Any, list[Value]]:
        """Write down that an operation has changed a tensor; return what stands for its result."""
        target = self.tensors.replace(target, in_place=True)
        mark = target._trace_mark  # type: ignore[attr-defined]
        had_value = mark.value is not None
        value = self.graph.add_value(target, index, self._memory_of(mark))
        mark.value = value.id  # the old name holds the new numbers
        self._keep(target)
        if isinstance(result, Tensor) and had_value and not self.exact:
            result = target.detach() if self.device == "meta" else target.view_as(target)
            mark.successor = self._attach(result, value.id)
            mark.outdated_by = index
        values = [value]
        base = target._base
        if base is not None and (under := self.tensors.mark(base)) is not None:
            # ``out[:, :64].copy_(x)`` writes into ``out``
            whole = self.graph.add_value(base, index, value.memory)
            under.value = whole.id
            values.append(whole)
        if self.exact:
            self.gradients[index] = target.grad_fn
        return result, values

    def _create(self, func: Callable, spelling: str, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Run what takes no tensor: mostly what makes one."""
        if self.device == "meta" and spelling in FILLS:
            kwargs = {**kwargs, "device": "meta"}
            kwargs.pop("generator", None)  # it belongs to another device
        return func(*args, **kwargs)

    # -- small things ------------------------------------------------------------------------

    def _attach(self, tensor: Tensor, value: int | None) -> Mark:
        mark = Mark(self, value)
        tensor._trace_mark = mark  # type: ignore[attr-defined]
        self._keep(tensor)
        producer = None if value is None else self.graph.values[value].producer
        if self.exact and producer is not None:
            self.gradients[producer] = tensor.grad_fn
        return mark

    def _keep(self, tensor: Tensor) -> None:
        """Keep a tensor alive, so that its storage's address stays its own: on meta it weighs nothing."""
        if self.device == "meta":
            self._kept.append(tensor)

    def _memory_of(self, mark: Mark | None) -> int | None:
        return None if mark is None or mark.value is None else self.graph.values[mark.value].memory

    def _shared_memory(
        self, tensor: Tensor, given: list[Tensor], marks: list[Mark | None]
    ) -> int | None:
        """Return the memory of the argument of which a tensor is a view."""
        if not given:
            return None
        storage = _storage(tensor)
        for other, mark in zip(given, marks, strict=True):
            if mark is not None and _storage(other) == storage:
                return self._memory_of(mark)
        return None


def _target(kwargs: dict[str, Any], given: list[Tensor]) -> Tensor:
    """Return the tensor that an in-place call overwrites."""
    out = kwargs.get("out")
    return out if isinstance(out, Tensor) else given[0]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _check_types(name: str, arguments: dict[str, Any]) -> None:
    """Raise what torch raises for real tensors of different types; on meta it lets them pass."""
    if name not in ("linear", "matmul") or torch.is_autocast_enabled("cpu"):
        return
    types = {arguments[key].dtype for key in ("input", "weight", "other") if key in arguments}
    if len(types) > 1:
        raise RuntimeError(f"mat1 and mat2 must have the same dtype, but got {types}")


def _lacks_data(error: Exception) -> bool:
    text = str(error)
    return isinstance(error, NotImplementedError) or "meta tensor" in text or "Meta" in text
