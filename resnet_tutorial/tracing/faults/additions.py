"""Where two branches meet and do not fit: the faults of residual blocks."""

from __future__ import annotations

from collections.abc import Sequence

from ..records import Branch, Merge, Operation, called, text_of_shape
from .evidence import Cause, Evidence, axes_text


def elementwise(evidence: Evidence) -> Cause | None:
    """Explain an addition, subtraction, product or quotient of tensors that do not fit."""
    if len(evidence.shapes) != 2:
        return None
    merge = evidence.ancestry.merge(-1, evidence.name, evidence.inputs)
    if len(merge.branches) != 2:
        return _one_is_fixed(evidence)
    one, other = (branch.shape for branch in merge.branches)
    if len(one) != len(other):
        cause = _different_axes(evidence, merge)
    else:
        axes = [
            i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b and 1 not in (a, b)
        ]
        if not axes:
            return None
        cause = _different_shapes(evidence, merge, axes)
        cause.axis = axes[0]
    cause.shapes = {name: b.shape for name, b in zip(_roles(merge), merge.branches, strict=True)}
    return cause


def _roles(merge: Merge) -> list[str]:
    if merge.shortcut is None:
        return ["first", "second"]
    names = ["branch", "branch"]
    names[merge.shortcut] = "shortcut"
    return names


def _one_is_fixed(evidence: Evidence) -> Cause:
    shapes = " and ".join(map(text_of_shape, evidence.shapes))
    return Cause(
        "fixed-size",
        f"{evidence.name} cannot stretch {shapes} to one shape.",
        "One of the two is a parameter or a constant, made for another size.",
        "Make it for this size; one number per channel has the shape (1, channels, 1, 1).",
    )


def _different_axes(evidence: Evidence, merge: Merge) -> Cause:
    one, other = (branch.shape for branch in merge.branches)
    seen = f"{evidence.name} meets {len(one)} axes and {len(other)}."
    if evidence.name == "mul" and {len(one), len(other)} == {2, 4}:
        return Cause(
            "axes",
            seen,
            "A gate of one number per channel lacks height and width.",
            "Give it both: gate[:, :, None, None].",
        )
    return Cause(
        "axes",
        seen,
        "One of the two was flattened or pooled away before they meet.",
        "Let the branches meet before anything flattens them.",
    )


def _different_shapes(evidence: Evidence, merge: Merge, axes: Sequence[int]) -> Cause:
    one, other = (branch.shape for branch in merge.branches)
    seen = f"{evidence.name} needs equal shapes, and they differ in {axes_text(axes, one, other)}."
    if 0 in axes:
        return Cause(
            "batch",
            seen,
            "The branches hold different numbers of images: something reshaped one of them.",
            "Keep the batch axis: torch.flatten(x, 1) instead of torch.flatten(x) or view(-1).",
        )
    if axes[-1] >= 2:
        return _different_sizes(evidence, merge, seen, channels_too=1 in axes)
    return _different_channels(evidence, merge, seen)


def _different_channels(evidence: Evidence, merge: Merge, seen: str) -> Cause:
    if merge.shortcut is None:
        return Cause(
            "channels",
            seen,
            "The two branches end with different numbers of channels.",
            "Let the last convolution of both have the same out_channels.",
        )
    shortcut, branch = merge.branches[merge.shortcut], merge.branches[1 - merge.shortcut]
    before, after = shortcut.shape[1], branch.shape[1]
    if shortcut.is_identity:
        return Cause(
            "no-projection",
            seen,
            f"There is no projection: the branch turns {before} channels into {after}, "
            f"and the shortcut carries the block's input unchanged.",
            f"Wherever a block changes the channels, also at stride 1, its shortcut needs "
            f"{_projection(shortcut, branch, 1)}.",
        )
    layer = _last_convolution(evidence.operations(shortcut))
    where = f" of {called(layer.module, layer.name)}" if layer else ""
    return Cause(
        "projection-channels",
        seen,
        f"The shortcut gives {before} channels, and the branch {after}.",
        f"Set out_channels{where} to {after}: the planes times the block's expansion.",
    )


def _different_sizes(evidence: Evidence, merge: Merge, seen: str, channels_too: bool) -> Cause:
    chains = [evidence.operations(branch) for branch in merge.branches]
    strides = [stride_of(chain) for chain in chains]
    if strides[0] == strides[1]:
        cause = _unpadded(chains, seen)
        if channels_too:
            cause.cause += " The channels differ as well: the shortcut needs a projection."
        return cause
    fast = 0 if strides[0] > strides[1] else 1
    slow = 1 - fast
    ratio = strides[fast] // strides[slow]
    roles = _roles(merge)
    places = [called(op.module, op.name) for op in chains[fast] if stride_of([op]) > 1]
    stride = f"a stride of {strides[fast]} (in {', '.join(places)})"
    ahead, behind = merge.branches[fast], merge.branches[slow]
    if behind.is_identity:
        change = (
            f"{behind.shape[1]} channels instead of {ahead.shape[1]} and " if channels_too else ""
        )
        return Cause(
            "no-projection" if channels_too else "stride-on-one-branch",
            seen,
            f"The {roles[fast]} has {stride}, and the shortcut carries the block's input unchanged, "
            f"with {change}all its pixels.",
            f"The shortcut needs {_projection(behind, ahead, ratio)}.",
        )
    layer = _last_convolution(chains[slow])
    target = (
        f"{called(layer.module, layer.name)}, on the {roles[slow]},"
        if layer
        else f"the {roles[slow]}"
    )
    return Cause(
        "stride-on-one-branch",
        seen,
        f"Only one side strides: the {roles[fast]} has {stride}, the {roles[slow]} of {strides[slow]}.",
        f"Give {target} stride={ratio}, or take the stride away from the {roles[fast]}.",
    )


def _unpadded(chains: Sequence[Sequence[Operation]], seen: str) -> Cause:
    for op in (op for chain in chains for op in chain):
        kernel, padding = op.settings.get("kernel_size"), op.settings.get("padding", 0)
        if (
            op.kind not in ("conv", "pool")
            or not isinstance(kernel, tuple)
            or not isinstance(padding, tuple)
        ):
            continue
        size, right = kernel[-1], kernel[-1] // 2
        if size % 2 and padding[-1] != right:
            return Cause(
                "padding",
                seen,
                f"{op.label} in {called(op.module, op.name)} has padding={padding[-1]}, "
                f"which changes the size of the map.",
                f"A {size}x{size} keeps the size with padding={right}.",
            )
    return Cause(
        "sizes",
        seen,
        "The branches shrink the map by different amounts.",
        "Compare kernel size, stride and padding of the two branches, layer by layer.",
    )


def _projection(shortcut: Branch, branch: Branch, stride: int) -> str:
    before, after = shortcut.shape[1], branch.shape[1]
    step = f", stride={stride}" if stride != 1 else ""
    return (
        f"nn.Sequential(nn.Conv2d({before}, {after}, 1{step}, bias=False), nn.BatchNorm2d({after}))"
    )


def _last_convolution(operations: Sequence[Operation]) -> Operation | None:
    return next((op for op in reversed(operations) if op.kind == "conv"), None)


def stride_of(operations: Sequence[Operation]) -> int:
    """Return the product of the strides of operations, along the last axis."""
    product = 1
    for op in operations:
        stride = op.settings.get("stride", 1)
        product *= stride[-1] if isinstance(stride, tuple) else stride
        index = op.settings.get("index") if op.name == "getitem" else None
        if isinstance(index, tuple) and isinstance(index[-1], slice):
            product *= abs(index[-1].step or 1)
    return product
