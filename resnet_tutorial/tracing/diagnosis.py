"""Explain why a network fails: where, what met there, the likely cause and the fix.

This module finds the place and gathers the evidence; the rules stand in ``faults``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import FrameType, TracebackType
from typing import Any

from torch import nn

from . import faults
from .faults import python
from .faults.evidence import Cause
from .recorder import Failed, Recorder
from .records import Failure, Source
from .whereabouts import is_library

_Frame = tuple[FrameType, int, int]  # with the line and the instruction that it had come to


LAZY = Failure(
    code="lazy",
    operation="construction",
    module="",
    module_type="network",
    message="Some layers do not know their sizes yet.",
    cause="A lazy layer fixes its sizes at the first forward pass, which would change the network.",
    fix="Run it once, model(torch.zeros(1, 3, 224, 224)), or give the layers their in_channels.",
    error="",
)


def explain(recorder: Recorder, error: Exception, modules: Mapping[str, nn.Module]) -> Failure:
    """Return why a forward pass ended; ``modules`` are those of the network, by path."""
    if recorder.failed and recorder.failed.error is error:
        return _of_operation(recorder, recorder.failed)
    return _of_python(recorder, error, modules)


def explain_constructor(error: Exception) -> Failure:
    """Return why a network could not be built."""
    frames = _frames(error.__traceback__)
    owner = frames[-1][0].f_locals.get("self")
    kind = type(owner).__name__ if owner is not None else "network"
    return _failure(python.of_constructor(error), "", "", kind, error, _innermost(frames))


def _failure(
    cause: Cause,
    operation: str,
    module: str,
    kind: str,
    error: Exception,
    source: Source | None,
    **more: Any,
) -> Failure:
    return Failure(
        code=cause.code,
        operation=cause.operation or operation,
        module=module,
        module_type=kind,
        message=cause.seen,
        cause=cause.cause,
        fix=cause.fix,
        error=f"{type(error).__name__}: {error}",
        axis=cause.axis,
        source=source,
        **more,
    )


def _of_operation(recorder: Recorder, failed: Failed) -> Failure:
    evidence = faults.Evidence(failed, recorder.graph)
    cause = python.of_nothing(recorder.returned_nothing, failed.error) or faults.find(evidence)
    error = failed.said or failed.error
    return _failure(
        cause, failed.name, failed.call.path, failed.call.type, error, failed.source,
        shapes=cause.shapes or evidence.named_shapes, inputs=failed.inputs,
    )  # fmt: skip


def _of_python(recorder: Recorder, error: Exception, modules: Mapping[str, nn.Module]) -> Failure:
    frames = _frames(error.__traceback__)
    module = _running_module(frames) or modules.get("")
    path = next((path for path, m in modules.items() if m is module), "")
    kind = type(module).__name__ if module is not None else "function"
    calls = [call for call in recorder.graph.calls if call.path == path]
    inputs = calls[-1].inputs if calls else ()
    shapes = [recorder.graph.values[i].shape for i in inputs]
    cause = python.of_nothing(recorder.returned_nothing, error)
    cause = cause or python.of_forward(error, module, shapes, len(recorder.graph.inputs))
    names = ["input"] if len(shapes) == 1 else [f"input {i + 1}" for i in range(len(shapes))]
    return _failure(
        cause, type(error).__name__, path, kind, error, _innermost(frames),
        shapes=dict(zip(names, shapes, strict=True)), inputs=inputs,
    )  # fmt: skip


def _frames(traceback: TracebackType | None) -> list[_Frame]:
    """Return the frames of a traceback from the outside in."""
    frames = []
    while traceback is not None:
        frames.append((traceback.tb_frame, traceback.tb_lineno, traceback.tb_lasti))
        traceback = traceback.tb_next
    return frames


def _innermost(frames: list[_Frame]) -> Source | None:
    """Return the last line that is neither torch's nor the tracer's."""
    for frame, line, instruction in reversed(frames):
        if not is_library(frame.f_code):
            return Source(frame.f_code, line, instruction)
    return None


def _running_module(frames: list[_Frame]) -> nn.Module | None:
    """Return the module whose call is the innermost in a traceback."""
    for frame, _, _ in reversed(frames):
        module = frame.f_locals.get("self")
        if frame.f_code.co_name == "_call_impl" and isinstance(module, nn.Module):
            return module
    return None
