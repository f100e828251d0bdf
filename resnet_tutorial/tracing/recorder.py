"""Watch a forward pass and write down every operation.

:class:`Recorder` is a ``TorchFunctionMode``: while it is active, torch hands it every call of
a torch function, whether a module made it or a line such as ``out + x``.
It computes each with tensors on the ``meta`` device, which have a shape and no memory.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from . import hollow, rules
from .graph import Graph
from .kinds import arguments_of, name_of, overwrites
from .marks import Mark, NeedsData, tensors_in
from .records import ModuleCall, Source, Value
from .standins import StandIns

# where torch's own code and the tracer's lies: no learner's line is in there
LIBRARY = (os.path.dirname(torch.__file__) + os.sep, os.path.dirname(__file__) + os.sep)

# what asks about a tensor and computes nothing
_QUESTIONS = {
    "size", "dim", "ndimension", "numel", "nelement", "stride", "element_size", "storage_offset",
    "is_floating_point", "is_complex", "is_contiguous", "get_device", "data_ptr", "type",
    "requires_grad_", "retain_grad", "register_hook", "is_same_size", "untyped_storage",
    "__len__", "__hash__", "__repr__", "__str__", "__dir__", "__set__", "_is_view", "is_inference",
    "broadcast_shapes", "result_type", "is_tensor", "has_names", "is_storage", "is_pinned",
}  # fmt: skip
# properties that are tensors made from the tensor
_DERIVED = {"T", "H", "mT", "mH", "data", "real", "imag"}
# what needs the numbers in a tensor
_READS = {
    "item", "tolist", "numpy", "__bool__", "__float__", "__int__", "__index__", "__complex__",
    "__format__", "__contains__", "__array__", "__reduce_ex__", "equal", "allclose", "is_nonzero",
}  # fmt: skip
# what fills a tensor that depends on no input
_FILLS = {
    "zeros",
    "ones",
    "empty",
    "full",
    "rand",
    "randn",
    "randint",
    "randperm",
    "normal",
    "bernoulli",
}
# what moves a tensor to a device
_MOVES = {"to", "cpu", "cuda"}


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
        self._is_library: dict[Any, bool] = {}
        self._paths = {id(module): path for path, module in modules.items()}

    def add_input(self, tensor: Tensor, name: str) -> Tensor:
        """Make a tensor an input of the network and return it."""
        self._attach(tensor, self.graph.add_input(tensor, name).id)
        return tensor

    def forward(self, model: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Run the network under observation and return what it returns."""
        with self:
            if isinstance(model, nn.Module):
                return model(*args, **kwargs)
            name = getattr(model, "__name__", type(model).__name__)
            self.graph.begin_call("", name, self.value_ids((args, kwargs)))
            result = model(*args, **kwargs)
            self.graph.end_call(self.value_ids(result))
            return result

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
        if (
            output is None and sys.exc_info()[1] is None
        ):  # after an error it has not returned at all
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
        if spelling in _QUESTIONS or (spelling == "__get__" and _property(func) not in _DERIVED):
            return func(*args, **kwargs)

        marks = [self.tensors.mark(tensor) for tensor in given]
        own = not any(marks)  # only the model's own tensors
        in_place = overwrites(func, kwargs)
        if own and spelling in _READS:
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
        if spelling in _MOVES and self.device == "meta":
            args, kwargs = _without_device(args, kwargs)
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
            source = self._source()
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
            call, source = self.graph.call, self._source()
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
        values = []
        for tensor in tensors_in((result,)):
            if any(tensor is other for other in given):
                # Torch gave its argument back (dropout in evaluation mode); the graph needs two.
                tensor = tensor.view_as(tensor)
                result = tensor
            value = self.graph.add_value(tensor, index, self._shared_memory(tensor, given, marks))
            self._attach(tensor, value.id)
            values.append(value)
        return result, values

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
        if self.device == "meta" and spelling in _FILLS:
            kwargs = {**kwargs, "device": "meta"}
            kwargs.pop("generator", None)  # it belongs to another device
        return func(*args, **kwargs)

    # -- small things ------------------------------------------------------------------------

    def _attach(self, tensor: Tensor, value: int | None) -> Mark:
        mark = Mark(self, value)
        tensor._trace_mark = mark  # type: ignore[attr-defined]
        self._keep(tensor)
        if (
            self.exact
            and value is not None
            and (producer := self.graph.values[value].producer) is not None
        ):
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

    def _source(self) -> Source | None:
        """Return the innermost line that is neither torch's nor the tracer's."""
        frame: FrameType | None = sys._getframe(2)
        while frame is not None and frame.f_code is not _FORWARD:
            code = frame.f_code
            library = self._is_library.get(code)
            if library is None:
                library = self._is_library[code] = code.co_filename.startswith(LIBRARY)
            if not library:
                return Source(code, frame.f_lineno, frame.f_lasti)
            frame = frame.f_back
        return None


_FORWARD = Recorder.forward.__code__  # below it stands only the line that called trace()


def _property(func: Any) -> str:
    """Return the name of the property that ``func`` reads."""
    return getattr(getattr(func, "__self__", None), "__name__", "")


def _target(kwargs: dict[str, Any], given: list[Tensor]) -> Tensor:
    """Return the tensor that an in-place call overwrites."""
    out = kwargs.get("out")
    return out if isinstance(out, Tensor) else given[0]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _without_device(args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """Return the arguments of ``x.to(...)`` without the device: a tensor of a trace stays on its own."""
    kept = tuple(arg for arg in args if not isinstance(arg, (str, int, torch.device)))
    return kept, {
        key: kwargs[key] for key in kwargs if key not in ("device", "non_blocking", "memory_format")
    }


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
