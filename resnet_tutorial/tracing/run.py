"""``trace()``: run a network once under observation and put the result together."""

from __future__ import annotations

import contextlib
import copy
import inspect
import io
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from . import diagnosis, gradients
from .marks import NeedsData
from .recorder import Recorder
from .records import Finding, Shape
from .state import untouched
from .trace import Trace
from .warnings import find_warnings

# The recorder's hooks are global, so that two threads must take turns.
_ONE_AT_A_TIME = threading.RLock()


def trace(
    model: nn.Module | Callable,
    input_size: Any = (1, 3, 224, 224),
    *,
    dtype: torch.dtype | None = None,
) -> Trace:
    """Run a network once and return every operation with its shapes, parameters and MACs.

    The network is left as it was found: modes, hooks, gradients, buffers and random state.
    A network that fails does not raise: the trace ends where it fails, and ``trace.failure``
    says why.  The network runs in the mode in which it stands (``train()`` or ``eval()``).

    Args:
        model: a network; or a function of tensors; or a function without arguments that builds
            a network, for one whose constructor fails.
        input_size: the input's shape; several shapes in a list for a network with several
            inputs, a dictionary of shapes for named ones; a tensor instead of a shape gives
            shape and type, and its numbers are used only where the forward pass asks for them.
        dtype: type of the inputs; that of the network's parameters by default.

    Raises:
        TypeError: if ``model`` cannot be called.
        ValueError: if ``input_size`` is not a shape.
    """
    if not callable(model):
        raise TypeError(f"trace needs a network, an nn.Module, not {type(model).__name__}: {model!r}.")
    with _ONE_AT_A_TIME:
        name, failure = _name(model), None
        if not isinstance(model, nn.Module) and _builds(model):
            model, failure = _build(model)
        if failure:
            return Trace(name=name, inputs=[], training=False, failure=failure)
        model = _ready(model)
        shapes = _Inputs(input_size, dtype or _dtype_of(model))
        return _trace(model, shapes)


def _trace(model: Callable, inputs: _Inputs) -> Trace:
    module = model if isinstance(model, nn.Module) else None
    run = _Run(model, inputs, module)
    notes = []
    try:
        recorder, output, error = run(Recorder(module))
        if error or recorder.overwrites_parameter:
            # Torch has the last word: with gradients, and without the tracer's own arithmetic.
            recorder, output, error = run(Recorder(module, exact=True))
    except NeedsData:
        notes.append(_DEPENDS_ON_DATA)
        recorder, output, error = run(Recorder(module, device=_device_of(module)))
    print(run.printed, end="")

    graph = recorder.graph
    result = Trace(
        name=_name(model),
        inputs=inputs.shapes,
        training=module is not None and module.training,
        values=graph.values,
        operations=graph.operations,
        calls=graph.calls,
        outputs=recorder.value_ids(output),
        parameters={name: tuple(p.shape) for name, p in recorder.tensors.parameters.items()},
        failure=diagnosis.explain(recorder, error, module) if error else None,
    )
    result.warnings = [*notes, *find_warnings(result, recorder)]
    if recorder.device == "meta" and not error:
        result.warnings += gradients.lost(recorder, lambda: run(Recorder(module, exact=True)))
    return result


_DEPENDS_ON_DATA = Finding(
    "depends-on-data",
    "The forward pass looks at the numbers in a tensor, so that it can go different ways.",
    "The trace shows the way of one random input; give a tensor instead of a shape to choose it.",
)


class _Run:
    """Runs the network as often as needed; ``printed`` is what it printed the last time."""

    def __init__(self, model: Callable, inputs: _Inputs, module: nn.Module | None) -> None:
        self._model = model
        self._inputs = inputs
        self._module = module
        self.printed = ""

    def __call__(self, recorder: Recorder) -> tuple[Recorder, Any, Exception | None]:
        """Return the recorder, what the network returned, and what it raised."""
        args, kwargs = self._inputs.make(recorder)
        out = io.StringIO()
        try:
            with (
                untouched(self._module),
                torch.set_grad_enabled(recorder.exact),
                contextlib.redirect_stdout(out),
            ):
                return recorder, recorder.forward(self._model, args, kwargs), None
        except Exception as error:  # whatever a learner's forward raises is an answer, not a crash
            return recorder, None, error
        finally:
            self.printed = out.getvalue()


class _Inputs:
    """The inputs of a network: what the caller gave, as shapes, and as tensors on a device."""

    def __init__(self, given: Any, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._named = dict(given) if isinstance(given, Mapping) else {}
        if isinstance(given, Mapping):
            self._listed = []
        elif isinstance(given, Tensor) or _is_shape(given):
            self._listed = [given]
        elif isinstance(given, Sequence) and not isinstance(given, str):
            self._listed = list(given)
        else:
            self._listed = [given]
        for size in [*self._listed, *self._named.values()]:
            if not isinstance(size, Tensor) and not _is_shape(size):
                raise ValueError(
                    f"input_size must be a shape such as (1, 3, 224, 224), or several of them, not {given!r}."
                )

    @property
    def shapes(self) -> list[tuple[str, Shape]]:
        """The inputs by name, as far as they have one."""
        listed = [(_input_name(i, len(self._listed)), size) for i, size in enumerate(self._listed)]
        pairs = [*listed, *self._named.items()]
        return [(name, tuple(getattr(size, "shape", size))) for name, size in pairs]

    def make(self, recorder: Recorder) -> tuple[tuple, dict[str, Tensor]]:
        generator = torch.Generator().manual_seed(0)  # its own: the global one stays as it is

        def tensor(size: Any) -> Tensor:
            if isinstance(size, Tensor):
                like = size.detach()
                return torch.empty_like(like, device="meta") if recorder.device == "meta" else like.clone()
            if recorder.device == "meta":
                return torch.empty(tuple(size), dtype=self._dtype, device="meta")
            return torch.randn(tuple(size), generator=generator).to(recorder.device, self._dtype)

        count = len(self._listed)
        args = [
            recorder.add_input(tensor(size), _input_name(i, count)) for i, size in enumerate(self._listed)
        ]
        kwargs = {name: recorder.add_input(tensor(size), name) for name, size in self._named.items()}
        return tuple(args), kwargs


def _input_name(index: int, count: int) -> str:
    return "input" if count == 1 else f"input {index + 1}"


def _is_shape(given: Any) -> bool:
    return isinstance(given, (tuple, list, torch.Size)) and all(
        isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in given
    )


def _name(model: Any) -> str:
    return type(model).__name__ if isinstance(model, nn.Module) else getattr(model, "__name__", str(model))


def _ready(model: Any) -> Any:
    """Return the network itself: without a wrapper, and a copy if its sizes are still open."""
    while isinstance(model, nn.Module):
        if isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):  # torch.compile
            model = inner
        elif isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        else:
            break
    if isinstance(model, nn.Module) and any(map(nn.parameter.is_lazy, model.parameters())):
        return copy.deepcopy(model)  # its first forward pass would fix its sizes for good
    return model


def _builds(function: Callable) -> bool:
    """Tell whether a function takes nothing, and so can only build a network."""
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):
        return False
    return True


def _build(function: Callable) -> tuple[Any, Any]:
    try:
        model = function()
    except Exception as error:
        return None, diagnosis.explain_constructor(error)
    if not isinstance(model, nn.Module):
        raise TypeError(f"{_name(function)} takes no tensor and returned no network but {model!r}.")
    return model, None


def _dtype_of(model: Any) -> torch.dtype:
    parameters = model.parameters() if isinstance(model, nn.Module) else ()
    return next((p.dtype for p in parameters if p.is_floating_point()), torch.get_default_dtype())


def _device_of(model: nn.Module | None) -> str:
    parameter = next(model.parameters(), None) if model is not None else None
    return "cpu" if parameter is None or parameter.is_meta else str(parameter.device)
