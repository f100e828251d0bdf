"""Watch a forward pass and write down every operation.

:class:`Recorder` is a ``TorchFunctionMode``: while it is active, torch hands it every call of
a torch function, whether a module made it or a line such as ``out + x``.  It computes each with
tensors on the ``meta`` device, which have a shape and no memory, and with stand-ins for the
model's parameters and buffers, so that the model itself is never written to.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from . import fields, shortcuts
from .kinds import KIND_OF, arguments_of, macs_of, name_of, overwrites, settings_of
from .records import ModuleCall, Operation, Source, Value

_LIBRARY = (os.path.dirname(torch.__file__) + os.sep, os.path.dirname(__file__) + os.sep)

# what asks about a tensor and computes nothing
_QUESTIONS = {
    "size", "dim", "ndimension", "numel", "nelement", "stride", "element_size", "storage_offset",
    "is_floating_point", "is_complex", "is_contiguous", "get_device", "data_ptr", "type", "ndim",
    "requires_grad_", "retain_grad", "register_hook", "is_same_size", "untyped_storage", "__len__",
    "__hash__", "__repr__", "__str__", "__dir__", "has_names", "is_inference", "_is_view", "__set__",
    "broadcast_shapes", "result_type", "can_cast", "is_tensor", "is_storage", "register_post_accumulate_grad_hook",
}  # fmt: skip
# properties that are tensors made from the tensor
_DERIVED = {"T", "H", "mT", "mH", "data", "real", "imag"}
# what needs the numbers in a tensor
_READS = {
    "item", "tolist", "numpy", "__bool__", "__float__", "__int__", "__index__", "__complex__",
    "__format__", "__contains__", "__array__", "__reduce_ex__", "equal", "allclose", "is_nonzero",
}  # fmt: skip
# what makes a tensor that depends on no input
_FILLS = {"zeros", "ones", "empty", "full", "rand", "randn", "randint", "randperm", "normal", "bernoulli"}


class NeedsData(BaseException):
    """The forward pass asks for numbers, which tensors without memory do not have.

    Not an ``Exception``, so that an ``except Exception`` in a learner's forward lets it through.
    """


class Mark:
    """What the recorder writes on a tensor: which value it is, and whether that name is outdated."""

    __slots__ = ("outdated_by", "owner", "read", "successor", "value")

    def __init__(self, owner: Recorder, value: int | None) -> None:
        self.owner = owner
        self.value = value  # None: a constant, which depends on no input and no parameter
        self.read = False
        self.outdated_by: int | None = None  # the operation that overwrote it under another name
        self.successor: Mark | None = None


class Recorder(TorchFunctionMode):
    """Records the operations of one forward pass.

    Args:
        model: the network, for the names of its modules and parameters; ``None`` for a function.
        device: ``"meta"``; or the device of the real tensors, where the forward pass needs data.
        exact: run every operation through torch, with gradients, and take no shortcut.
    """

    def __init__(self, model: nn.Module | None, device: str = "meta", exact: bool = False) -> None:
        super().__init__()
        self.values: list[Value] = []
        self.operations: list[Operation] = []
        self.calls: list[ModuleCall] = []
        self.parameters: dict[str, Tensor] = {}
        self.unregistered: dict[str, Tensor] = {}
        self.outdated_reads: list[tuple[int, int, Mark]] = []  # (reader, overwriter, successor)
        self.returned_nothing: list[int] = []  # calls whose result was None
        self.failed: dict[str, Any] | None = None
        self.tensors: list[Tensor] = []  # keeps every tensor alive: tensors on meta weigh nothing
        self.gradients: dict[int, Any] = {}  # in exact mode: operation -> grad_fn of its output
        self.device = device
        self.exact = exact
        self._quick = device == "meta" and not exact
        self._stand_ins: dict[int, tuple[Tensor, Tensor]] = {}
        self._open: list[int] = []
        self._thread = threading.get_ident()
        self._memories = 0
        self._in_library: dict[Any, bool] = {}
        self._paths: dict[int, str] = {}
        self._names: dict[int, str] = {}
        self._counted: set[str] = set()
        if model is not None:
            self._paths = {id(module): path for path, module in model.named_modules()}
            self.parameters = dict(model.named_parameters())
            self._names = {id(parameter): name for name, parameter in self.parameters.items()}

    # -- inputs ------------------------------------------------------------------------------

    def add_input(self, tensor: Tensor, name: str) -> Tensor:
        """Register a tensor as an input of the network and return it."""
        value = self._new_value(tensor, producer=None, memory=None, name=name)
        value.field = fields.initial(value.shape)
        return tensor

    def forward(self, model: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Run the network under observation and return what it returns."""
        with self:
            if isinstance(model, nn.Module):
                return model(*args, **kwargs)
            self.begin_call("", getattr(model, "__name__", type(model).__name__), self._ids((args, kwargs)))
            result = model(*args, **kwargs)
            self.end_call(self._ids((result,)))
            return result

    # -- the calls of modules ----------------------------------------------------------------

    def __enter__(self):
        # Global hooks, since a hook on the model's own modules would have to be taken off again.
        self._handles = (
            register_module_forward_pre_hook(self._enter_module),
            register_module_forward_hook(self._leave_module, always_call=True),
        )
        return super().__enter__()

    def __exit__(self, *error):
        for handle in self._handles:
            handle.remove()
        return super().__exit__(*error)

    def begin_call(self, path: str, kind: str, inputs: tuple[int, ...]) -> None:
        parent = self._open[-1] if self._open else None
        first = len(self.operations)
        call = ModuleCall(len(self.calls), path, kind, parent, len(self._open), first, first, inputs)
        self._open.append(call.id)
        self.calls.append(call)

    def end_call(self, outputs: tuple[int, ...]) -> None:
        call = self.calls[self._open.pop()]
        call.last = len(self.operations)
        call.outputs = outputs

    def _enter_module(self, module: nn.Module, args: tuple) -> None:
        if threading.get_ident() != self._thread:
            return  # another thread's model: the hooks are global
        path = self._paths.get(id(module))
        if path is None:
            above = self.calls[self._open[-1]].path if self._open else ""
            path = f"{above}.<{type(module).__name__}>".lstrip(".")
        self.begin_call(path, type(module).__name__, self._ids(args))

    def _leave_module(self, module: nn.Module, args: tuple, output: Any) -> None:
        if threading.get_ident() != self._thread:
            return
        if output is None:
            self.returned_nothing.append(self._open[-1])
        self.end_call(self._ids((output,)))

    def value_ids(self, structure: Any) -> tuple[int, ...]:
        """Return the numbers of the values among (nested) tensors."""
        return self._ids((structure,))

    def _ids(self, structure: Any) -> tuple[int, ...]:
        marks = (self._mark(tensor) for tensor in tensors_in(structure))
        return tuple(mark.value for mark in marks if mark is not None and mark.value is not None)

    # -- the operations ----------------------------------------------------------------------

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None):
        kwargs = kwargs or {}
        given = [*tensors_in(args), *tensors_in(kwargs.values())] if kwargs else list(tensors_in(args))
        spelling = getattr(func, "__name__", "")
        if not given:
            return self._create(func, spelling, args, kwargs)
        if spelling in _QUESTIONS or (spelling == "__get__" and func.__self__.__name__ not in _DERIVED):
            return None if spelling == "__set__" else func(*args, **kwargs)
        marks = [self._mark(tensor) for tensor in given]
        if spelling in _READS and all(mark is None for mark in marks):
            return func(*args, **kwargs)  # a number of the model's own, such as a counter
        in_place = overwrites(func, kwargs)
        if in_place and self._quick and all(mark is None for mark in marks):
            return args[0] if args else given[0]  # bookkeeping, such as ``num_batches_tracked += 1``

        name = name_of(func)
        index = len(self.operations)
        inputs = []
        for mark in marks:
            if mark is None:
                continue
            mark.read = True
            if mark.value is not None:
                inputs.append(mark.value)
            if mark.outdated_by is not None:
                self.outdated_reads.append((index, mark.outdated_by, mark.successor))
        used = [tensor for tensor, mark in zip(given, marks, strict=True) if mark is None]
        arguments = arguments_of(name, args, kwargs)
        try:
            result = shortcuts.run(name, arguments, in_place) if self._quick and inputs else None
            if result is None:
                args, kwargs = self._replace(args, in_place), self._replace(kwargs, in_place)
                result = func(*args, **kwargs)
                arguments = arguments_of(name, args, kwargs)
        except Exception as error:
            if self.device == "meta" and _lacks_data(error):
                raise NeedsData(f"{name}: {error}") from error
            self.failed = {
                "name": name, "arguments": arguments, "inputs": tuple(inputs), "error": error,
                "shapes": [tuple(tensor.shape) for tensor in given],
                "source": self._source(), "call": self._open[-1] if self._open else None,
            }  # fmt: skip
            raise
        self.failed = None  # an earlier failure was caught by the model itself
        return self._record(name, arguments, given, inputs, used, in_place, result)

    def _record(self, name, arguments, given, inputs, used, in_place, result):
        outputs = list(tensors_in((result,)))
        target = self._replace(_target(arguments, given), in_place) if in_place else None
        if target is not None and not outputs:
            outputs = [target]  # ``x[...] = y`` returns nothing
        if not outputs:
            return result
        parameters = tuple(filter(None, map(self._parameter_name, used)))
        constant = not (inputs or parameters) or name.startswith("new_") or name.endswith("_like")
        if constant:
            for tensor in outputs:
                tensor._trace_mark = Mark(self, None)
                self.tensors.append(tensor)
            return result

        index = len(self.operations)
        memories = [self.values[i].memory for i in inputs]
        storages = [_storage(tensor) for tensor in given if self._mark(tensor) is not None]
        before = [tuple(tensor.shape) for tensor in given if self._value(tensor) is not None]
        made = []
        for tensor in outputs:
            shared = _storage(tensor)
            memory = next((m for m, s in zip(memories, storages, strict=False) if s == shared), None)
            if target is not None and (tensor is target or shared == _storage(target)):
                tensor, result = self._overwritten(target, tensor, result, index, memory)
            elif any(tensor is other for other in given):
                # Torch gave its argument back (dropout in eval mode): the result is a value of its own.
                alias = tensor.view_as(tensor)
                result = alias if result is tensor else result
                tensor = alias
            made.append(self._new_value(tensor, index, memory))
        self._note(index, name, arguments, inputs, before, made, used, parameters, in_place)
        return result

    def _overwritten(self, target, tensor, result, index, memory):
        """Give the overwritten tensor a second name, to notice when the first is used again.

        After ``out = relu(x, inplace=True)`` both names hold the new numbers; a forward that goes
        on with ``out`` and adds ``x`` later adds something else than it says.
        """
        old = self._mark(target)
        if old is not None and old.value is not None and result is not None and not self.exact:
            alias = tensor.detach() if self.device == "meta" else tensor.view_as(tensor)
            alias._trace_mark = successor = Mark(self, None)
            old.outdated_by, old.successor = index, successor
            old.value = len(self.values)  # the old name holds the new numbers
            return alias, alias
        if old is None:
            target._trace_mark = Mark(self, len(self.values))
        return tensor, result

    def _note(self, index, name, arguments, inputs, before, made, used, parameters, in_place):
        shapes = [self.values[i].shape for i in inputs]
        after = tuple(value.shape for value in made)
        settings = settings_of(name, arguments, _is_tensor)
        field = fields.after(name, settings, [self.values[i].field for i in inputs], shapes, after[0])
        for value in made:
            value.field = field
        params = 0
        named = [tensor for tensor in used if self._parameter_name(tensor)]
        for parameter, tensor in zip(parameters, named, strict=True):
            if parameter not in self._counted:
                self._counted.add(parameter)
                params += tensor.numel()
        call = self.calls[self._open[-1]]
        self.operations.append(
            Operation(
                index=index, name=name, kind=KIND_OF.get(name, "other"), settings=settings,
                inputs=tuple(inputs), outputs=tuple(value.id for value in made),
                input_shapes=tuple(shapes), output_shapes=after,
                parameters=parameters, parameter_shapes=tuple(tuple(t.shape) for t in named),
                params=params, macs=macs_of(name, shapes, after[0], arguments),
                bytes=sum(value.bytes for value in made if value.memory == value.id),
                module=call.path, module_type=call.type, call=call.id, in_place=in_place,
                source=self._source(), field=field,
            )
        )  # fmt: skip

    def _new_value(self, tensor: Tensor, producer: int | None, memory: int | None, name: str = "") -> Value:
        number = len(self.values)
        shape = tuple(tensor.shape)
        value = Value(
            id=number, shape=shape, dtype=str(tensor.dtype).removeprefix("torch."),
            bytes=math.prod(shape) * tensor.dtype.itemsize, producer=producer,
            memory=number if memory is None else memory, name=name,
        )  # fmt: skip
        self.values.append(value)
        mark = self._mark(tensor)
        if mark is None:
            tensor._trace_mark = Mark(self, number)
        else:
            mark.value = number
        if self.device == "meta":
            self.tensors.append(tensor)
        if self.exact and producer is not None:
            self.gradients[producer] = tensor.grad_fn
        return value

    # -- stand-ins ---------------------------------------------------------------------------

    def _replace(self, structure: Any, in_place: bool) -> Any:
        """Return the arguments with a stand-in for every tensor that belongs to the model."""
        if isinstance(structure, Tensor):
            return structure if self._mark(structure) is not None else self._stand_in(structure, in_place)
        if isinstance(structure, dict):
            return {key: self._replace(value, in_place) for key, value in structure.items()}
        if type(structure) in (tuple, list):
            return type(structure)(self._replace(item, in_place) for item in structure)
        return structure

    def _stand_in(self, tensor: Tensor, in_place: bool) -> Tensor:
        if known := self._stand_ins.get(id(tensor)):
            return known[1]
        if self.device == "meta":
            stand_in = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
        else:
            # With real numbers a parameter is only read, and can lend its memory.
            is_read = isinstance(tensor, nn.Parameter) and not in_place
            stand_in = tensor.detach() if is_read else tensor.detach().clone()
        stand_in.requires_grad_(self.exact and tensor.requires_grad)
        self._stand_ins[id(tensor)] = (tensor, stand_in)  # the tensor too: its id must stay its own
        stand_in._trace_mark = Mark(self, None)
        return stand_in

    def _parameter_name(self, tensor: Tensor) -> str | None:
        name = self._names.get(id(tensor))
        if name is None and isinstance(tensor, nn.Parameter):
            name = self._names[id(tensor)] = f"<unregistered {len(self.unregistered)}>"
            self.unregistered[name] = tensor
        return name

    def _create(self, func: Callable, spelling: str, args: tuple, kwargs: dict) -> Any:
        if self.device == "meta" and spelling in _FILLS:
            kwargs = {**kwargs, "device": "meta", "generator": None} if "generator" in kwargs else {**kwargs, "device": "meta"}
        return func(*args, **kwargs)

    # -- small things ------------------------------------------------------------------------

    def _mark(self, tensor: Tensor) -> Mark | None:
        mark = getattr(tensor, "_trace_mark", None)
        if mark is not None and mark.owner is self:
            return mark
        if known := self._stand_ins.get(id(tensor)):  # a buffer into which the forward wrote
            mark = known[1]._trace_mark
            return mark if mark.value is not None else None
        return None

    def _value(self, tensor: Tensor) -> int | None:
        mark = self._mark(tensor)
        return None if mark is None else mark.value

    def _source(self) -> Source | None:
        """Return the innermost line that is neither torch's nor the tracer's."""
        frame = sys._getframe(2)
        while frame is not None:
            code = frame.f_code
            if code is _FORWARD:
                return None  # below it stands only the line that called trace()
            inside = self._in_library.get(code)
            if inside is None:
                inside = self._in_library[code] = code.co_filename.startswith(_LIBRARY)
            if not inside:
                return Source(code, frame.f_lineno, frame.f_lasti)
            frame = frame.f_back
        return None


_FORWARD = Recorder.forward.__code__


def tensors_in(structure: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested tuples, lists and dictionaries."""
    for item in structure:
        if isinstance(item, Tensor):
            yield item
        elif isinstance(item, (tuple, list)):
            yield from tensors_in(item)
        elif isinstance(item, dict):
            yield from tensors_in(item.values())


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _target(arguments: dict[str, Any], given: list[Tensor]) -> Tensor:
    """Return the tensor that an in-place call overwrites."""
    out = arguments.get("out")
    return out if isinstance(out, Tensor) else given[0]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _lacks_data(error: Exception) -> bool:
    text = str(error)
    return isinstance(error, NotImplementedError) or "meta tensor" in text or "Meta" in text
