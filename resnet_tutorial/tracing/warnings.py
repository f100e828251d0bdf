"""Quiet mistakes: what runs, and is probably not meant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .recorder import Recorder
from .records import Finding, place_of, text_of_shape

if TYPE_CHECKING:
    from .trace import Trace


def find_warnings(trace: Trace, recorder: Recorder) -> list[Finding]:
    """Return what looks wrong in a trace; what needs a complete one, only for a complete one."""
    found = [
        *_broadcasting(trace),
        *_outdated_reads(trace, recorder),
        *_unregistered(trace, recorder),
    ]
    if trace.ok:
        found += [*_lost_batch(trace), *_idle_parameters(trace)]
    return found


def _broadcasting(trace: Trace) -> Iterable[Finding]:
    for merge in trace.merges:
        if merge.name != "add" or len(merge.branches) != 2:
            continue
        one, other = (branch.shape for branch in merge.branches)
        if one == other or not (one and other):
            continue
        op = trace.operations[merge.operation]
        yield Finding(
            "broadcast",
            f"{place_of(op)} adds {text_of_shape(one)} and {text_of_shape(other)}: "
            f"the smaller is repeated until it fits, without a word.",
            "Give both branches the same shape, if that is not what you mean.",
            op.index,
        )


def _outdated_reads(trace: Trace, recorder: Recorder) -> Iterable[Finding]:
    """A tensor was overwritten under one name and read under another."""
    for reader, writer, successor in recorder.outdated_reads:
        if not successor.read or reader >= len(trace):
            continue  # nobody uses the new name: the forward means the old one
        wrote, read = trace.operations[writer], trace.operations[reader]
        yield Finding(
            "in-place",
            f"{place_of(wrote)} overwrites its input, and {place_of(read)} still uses that input: "
            f"it gets the numbers after the {wrote.name}, not those before.",
            f"Let the {wrote.name} make a new tensor: inplace=False, or x = x + y instead of x += y.",
            writer,
        )


def _unregistered(trace: Trace, recorder: Recorder) -> Iterable[Finding]:
    if not recorder.tensors.unregistered:
        return
    count = len(recorder.tensors.unregistered)
    tensors = f"{count} parameter tensors" if count > 1 else "a parameter tensor"
    if any(tensor.is_meta for tensor in recorder.tensors.unregistered.values()):
        yield Finding(
            "made-in-forward",
            f"The forward pass makes layers of its own, with {tensors}: new random weights every time.",
            "Make them in __init__ and assign them to self.",
        )
    else:
        yield Finding(
            "unregistered",
            f"The forward pass uses {tensors} that the network does not know of: "
            f"parameters() leaves them out, so that no optimiser trains them and .to(device) misses them.",
            "Keep modules in nn.ModuleList or nn.Sequential instead of a Python list.",
        )


def _lost_batch(trace: Trace) -> Iterable[Finding]:
    """``flatten()`` without a start takes the batch axis along; with one image nothing fails."""
    for op in trace.operations:
        before, after = op.input_shapes[:1], op.output_shape
        if (
            op.name in ("flatten", "view", "reshape")
            and before
            and len(after) == 1 < len(before[0])
        ):
            yield Finding(
                "batch-axis",
                f"{place_of(op)} turns {text_of_shape(before[0])} into {text_of_shape(after)}: "
                f"the images of a batch run into one another.",
                "Write torch.flatten(x, 1), which keeps the batch axis.",
                op.index,
            )


def _idle_parameters(trace: Trace) -> Iterable[Finding]:
    """Parameters that no operation uses, and operations whose result nobody uses."""
    if not trace.outputs:
        yield Finding(
            "no-output",
            "The network returns no tensor that depends on its input.",
            "End forward with: return x",
        )
        return
    reaching = _reaching(trace)
    wasted = [op for op in trace.operations if op.parameters and op.index not in reaching]
    if wasted:
        last = wasted[-1]
        names, many = _in_short([name for op in wasted for name in op.parameters], trace.parameters)
        yield Finding(
            "thrown-away",
            f"What {names} {'compute' if many else 'computes'} reaches no output; the last of it is {place_of(last)}.",
            "Use the result, or take the layers out.",
            last.index,
        )
    used = {name for op in trace.operations for name in op.parameters}
    unused = [name for name in trace.parameters if name not in used]
    if unused:
        names, many = _in_short(unused, trace.parameters)
        mode = "" if trace.training else " in evaluation mode"
        yield Finding(
            "unused-parameters",
            f"{names} never {'take' if many else 'takes'} part in the forward pass{mode}.",
            "Call the layers in forward, or take them out of __init__: they get no gradient.",
        )


def _reaching(trace: Trace) -> set[int]:
    """Return the operations from which an output can be reached."""
    found: set[int] = set()
    waiting = list(trace.outputs)
    while waiting:
        producer = trace.values[waiting.pop()].producer
        if producer is not None and producer not in found:
            found.add(producer)
            waiting.extend(trace.operations[producer].inputs)
    return found


def _in_short(names: Sequence[str], everything: Iterable[str]) -> tuple[str, bool]:
    """Return names of parameters, and whether they are several.

    A module's name stands for its parameters where all of them are among the names.
    """
    names, others = list(dict.fromkeys(names)), set(everything) - set(names)
    short: list[str] = []
    for name in names:
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            prefix = ".".join(parts[:depth])
            if not any(other == prefix or other.startswith(prefix + ".") for other in others):
                break
        if prefix not in short:
            short.append(prefix)
    text = ", ".join(short[:5]) + (f" and {len(short) - 5} more" if len(short) > 5 else "")
    return text, len(short) > 1
