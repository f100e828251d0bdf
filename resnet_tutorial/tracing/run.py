"""``trace()``: run a network once under observation and put the result together."""

from __future__ import annotations

import contextlib
import inspect
import io
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from . import diagnosis, gradients
from .inputs import Inputs
from .marks import NeedsData
from .recorder import Recorder
from .records import Finding
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
        raise TypeError(
            f"trace needs a network, an nn.Module, not {type(model).__name__}: {model!r}."
        )
    with _ONE_AT_A_TIME:
        if not isinstance(model, nn.Module) and _takes_nothing(model):
            try:
                model = _build(model)
            except Exception as error:
                return Trace(name=_name(model), failure=diagnosis.explain_constructor(error))
        model = _unwrapped(model)
        modules = dict(model.named_modules()) if isinstance(model, nn.Module) else {}
        parameters = [p for m in modules.values() for p in m._parameters.values() if p is not None]
        if any(map(nn.parameter.is_lazy, parameters)):
            return Trace(name=_name(model), failure=diagnosis.LAZY)
        return _trace(model, modules, Inputs(input_size, dtype or _common_type(parameters)))


def _trace(model: Callable, modules: dict[str, nn.Module], inputs: Inputs) -> Trace:
    run = _Run(model, modules, inputs)
    notes = (
        [_COMPILED] if any(isinstance(m, torch.jit.ScriptModule) for m in modules.values()) else []
    )
    try:
        recorder, output, error = run()
        if recorder.overwrites_parameter or (error and not _is_certain(error, recorder)):
            recorder, output, error = run(exact=True)  # torch has the last word
    except NeedsData:
        notes.append(_DEPENDS_ON_DATA)
        recorder, output, error = run(device=_device_of(model))
    print(run.printed, end="")

    graph = recorder.graph
    result = Trace(
        name=_name(model),
        inputs=inputs.shapes,
        training=isinstance(model, nn.Module) and model.training,
        values=graph.values,
        operations=graph.operations,
        calls=graph.calls,
        outputs=recorder.value_ids(output),
        parameters={name: tuple(p.shape) for name, p in recorder.tensors.parameters.items()},
        failure=diagnosis.explain(recorder, error, modules) if error else None,
    )
    result.warnings = [*notes, *find_warnings(result, recorder)]
    if recorder.device == "meta" and not error:
        result.warnings += gradients.lost(recorder, lambda: run(exact=True))
    return result


_DEPENDS_ON_DATA = Finding(
    "depends-on-data",
    "The forward pass looks at the numbers in a tensor, so that it can go different ways.",
    "The trace shows the way of one random input; give a tensor instead of a shape to choose it.",
)


_COMPILED = Finding(
    "compiled",
    "Parts of the network are compiled by TorchScript, and what they do is hidden.",
    "Trace the network as it was before torch.jit.script or torch.jit.trace.",
)


class _Run:
    """Runs the network as often as needed; ``printed`` is what it printed the last time."""

    def __init__(self, model: Callable, modules: dict[str, nn.Module], inputs: Inputs) -> None:
        self._model = model
        self._modules = modules
        self._inputs = inputs
        self.printed = ""

    def __call__(
        self, device: str = "meta", exact: bool = False
    ) -> tuple[Recorder, Any, Exception | None]:
        """Return the recorder, what the network returned, and what it raised."""
        recorder = Recorder(self._modules, device, exact)
        args, kwargs = self._inputs.make(recorder)
        out = io.StringIO()
        try:
            with (
                untouched(self._modules.values()),
                torch.set_grad_enabled(exact),
                contextlib.redirect_stdout(out),
            ):
                return recorder, recorder.forward(self._model, args, kwargs), None
        except Exception as error:  # whatever a learner's forward raises is an answer, not a crash
            return recorder, None, error
        finally:
            self.printed = out.getvalue()


def _is_certain(error: Exception, recorder: Recorder) -> bool:
    """Tell whether a failure would happen to real tensors and with gradients as well."""
    if "grad" in str(error):
        return False
    return recorder.failed is None or recorder.failed.said is not None


def _name(model: Any) -> str:
    if isinstance(model, nn.Module):
        return type(model).__name__
    return getattr(model, "__name__", type(model).__name__)


def _unwrapped(model: Any) -> Any:
    """Return the network inside ``torch.compile`` and data-parallel wrappers."""
    while isinstance(model, nn.Module):
        if isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        elif isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        else:
            break
    return model


def _takes_nothing(function: Callable) -> bool:
    """Tell whether a function needs no argument, and so can only be there to build a network."""
    try:
        signature = inspect.signature(function)
        signature.bind()
    except (TypeError, ValueError):
        return False
    any_number = inspect.Parameter.VAR_POSITIONAL  # as in ``def forward(*tensors)``
    return isinstance(function, type) or any_number not in {
        p.kind for p in signature.parameters.values()
    }


def _build(function: Callable) -> nn.Module:
    """Return the network that a function builds: without memory, if that is possible."""
    try:
        with untouched(()), torch.device("meta"):
            model = function()
    except Exception:
        with untouched(()):
            model = function()
    if not isinstance(model, nn.Module):
        raise TypeError(f"{_name(function)}() returned no network but {type(model).__name__}")
    return model


def _common_type(parameters: Sequence[nn.Parameter]) -> torch.dtype:
    return next((p.dtype for p in parameters if p.is_floating_point()), torch.get_default_dtype())


def _device_of(model: Any) -> str:
    parameter = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    return "cpu" if parameter is None or parameter.is_meta else str(parameter.device)
