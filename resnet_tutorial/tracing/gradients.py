"""Would ``backward()`` work?  Find tensors that were overwritten while autograd needs them.

The trace itself runs without gradients.  It notes which operations overwrite a tensor that
another operation may have saved; only if there are any does the network run once more with
gradients, still without memory, and autograd itself is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .recorder import Recorder
from .records import Finding, Operation, place_of

# what autograd saves for the backward pass; whatever stands in neither may save anything
_SAVES_NOTHING = {
    "add", "sub", "neg", "mean", "sum", "view", "reshape", "flatten", "getitem", "pad", "cat", "stack", "permute",
    "transpose", "contiguous", "to", "clone", "expand", "squeeze", "unsqueeze", "chunk", "split", "dropout",
}  # fmt: skip
_SAVES_INPUT = {
    "conv1d", "conv2d", "conv3d", "linear", "batch_norm", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d",
    "mul", "gelu", "silu", "hardswish", "hardsigmoid",
}  # fmt: skip
_SAVES_OUTPUT = {"relu", "sigmoid", "tanh", "softmax", "exp"}


def suspects(recorder: Recorder) -> list[tuple[Operation, Operation]]:
    """Return pairs of an operation that overwrites and one that may still need what was there."""
    overwriting = [op for op in recorder.graph.operations if op.in_place and op.inputs]
    if not overwriting:
        return []
    needing: dict[int, list[Operation]] = {}  # by memory
    for op in recorder.graph.operations:
        saved: list[int] = []
        if not op.in_place and op.name not in _SAVES_NOTHING | _SAVES_OUTPUT:
            saved += op.inputs  # what an operation overwrites itself, it saves as a copy
        if op.name not in _SAVES_NOTHING | _SAVES_INPUT:
            saved += op.outputs
        for memory in {recorder.graph.values[i].memory for i in saved}:
            needing.setdefault(memory, []).append(op)
    return [
        (op, victim)
        for op in overwriting
        for victim in needing.get(recorder.graph.values[op.outputs[0]].memory, ())
        if victim.index < op.index
    ]


def lost(
    recorder: Recorder, run: Callable[[], tuple[Recorder, Any, Exception | None]]
) -> Iterator[Finding]:
    """Yield a warning for each tensor that autograd needs and finds overwritten."""
    pairs = suspects(recorder)
    if not pairs:
        return
    exact, _, error = run()
    names = [[op.name for op in graph.operations] for graph in (recorder.graph, exact.graph)]
    if error is not None or names[0] != names[1]:
        return  # the forward pass does not always do the same
    known = set(map(id, exact.gradients.values()))
    reported = set()
    for op, victim in pairs:
        if victim.index in reported or not _is_spoilt(exact.gradients.get(victim.index), known):
            continue
        reported.add(victim.index)
        yield Finding(
            "in-place",
            f"{place_of(op)} overwrites a tensor that the backward pass of {place_of(victim)} needs: "
            f"backward() will raise an error, the network cannot be trained.",
            f"Let the {op.name} make a new tensor: x = x + y instead of x += y, inplace=False.",
            op.index,
        )


def _is_spoilt(node: Any, known: set[int]) -> bool:
    """Ask a node of the autograd graph for what it saved: torch refuses if it was overwritten.

    A function such as ``F.normalize`` leaves several nodes; they are followed up to the next
    operation's own.
    """
    waiting, seen = [node], set()
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        for name in dir(node):
            if name.startswith("_saved_"):
                try:
                    getattr(node, name)
                except RuntimeError as error:
                    if "inplace" in str(error):
                        return True
        waiting += [below for below, _ in node.next_functions if id(below) not in known]
    return False
