"""What the first call of a block says: does it run, and has its output the right shape and type?"""

from __future__ import annotations

from torch import Tensor

from resnet_tutorial.check.common import by

from .look import Look
from .plan import key


def runs(look: Look) -> bool:
    """Tell whether the block ran and gave a tensor of the right shape and type."""
    if look.error is not None:
        found = sizes_explained(look)
        if found is None and look.watch.clash is None:
            raise look.error
        return look.say(False, *(found or _clash(look)), key="sizes")
    y, wanted = look.output, look.plan.output_shape(tuple(look.x.shape))
    if not look.say(
        y is not None, "nothing-returned", "forward returned nothing (None).",
        "The last line of forward: return F.relu(out + shortcut).",
    ) or not look.say(
        isinstance(y, Tensor), "wrong-type", f"forward returned a {type(y).__name__} instead of a tensor.",
        "The last line of forward: return F.relu(out + shortcut), one tensor.",
    ):
        return False
    if tuple(y.shape) != wanted:
        shape = (
            "wrong-shape", f"it turned {by(look.x.shape)} into {by(y.shape)} instead of {by(wanted)}.",
            "padding=1 keeps the size of a 3×3 at stride 1, and a stride of 2 halves it, rounded up.",
        )  # fmt: skip
        if y.dim() == 4 and y.shape[1] == 2 * wanted[1] and y.shape[2:] == wanted[2:]:
            shape = (
                "concatenated", f"{by(look.x.shape)} became {by(y.shape)}: twice the channels.",
                "Branch and shortcut are added, out + shortcut, not concatenated.",
            )  # fmt: skip
        return look.say(False, *(sizes_explained(look) or shape), key="sizes")
    return look.say(
        y.dtype == look.x.dtype, "dtype-changed",
        f"{look.x.dtype} images went in and {y.dtype} came out.", "Leave the type of x as it is.",
    )


def _clash(look: Look) -> tuple[str, str, str]:
    one, other = look.watch.clash or ((), ())
    names = ("batch", "channels", "height", "width")
    differ = [n for n, a, b in zip(names, one, other, strict=False) if a != b and len(one) == len(other)]
    return (
        "sizes-differ",
        f"two tensors that do not fit met, {by(one)} and {by(other)}"
        + (f": they differ in {', '.join(differ)}." if differ else ".")
        + (f" They meet in {look.watch.joined}" if look.watch.joined else ""),
        "Print out.shape and shortcut.shape just before the addition.",
    )


def sizes_explained(look: Look) -> tuple[str, str, str] | None:
    """Say which convolution made a size that it should not, as far as the calls tell it."""
    stride, projection = look.plan.stride, look.plan.projection
    layers = {key(layer.kernel): layer for layer in reversed(look.plan.layers)}
    strided, whole = [], []
    met = f" Branch and shortcut meet as {' and '.join(map(by, look.watch.clash))}" if look.watch.clash else ""
    met += f", in {look.watch.joined}" if met and look.watch.joined else "." * bool(met)
    for call in look.watch.calls:
        layer = layers.get(key(call.weight.shape))
        if layer is None:
            continue
        before, after = call.before[2:], call.after[2:]
        if after == before and layer is projection and before != tuple(look.x.shape[2:]):
            continue  # it did not get x itself, but something made smaller
        if after == before:
            whole.append(layer)
        elif any(after == tuple(-(-side // step) for side in before) for step in (2, 3, stride)):
            strided.append(layer)
        else:
            return (
                "wrong-padding",
                f"the {layer.name} turned {by(before)} into {by(after)}.{met}",
                "padding=1 for a 3×3 and padding=0 for a 1×1 keep the size at stride 1.",
            )
    branch = [layer for layer in strided if layer is not projection]
    if projection and stride > 1 and projection in whole and branch:
        return (
            "projection-stride",
            f"the block's stride is {stride} and the projection's is 1.{met}",
            "Hand the stride to the projection too.",
        )
    if stride == 1 and strided:
        code = "projection-stride" if strided == [projection] else "stride-hard-coded"
        names = " and the ".join(dict.fromkeys(layer.name for layer in strided))
        makes = "make" if " and " in names else "makes"
        return code, f"at stride 1 the {names} {makes} the map smaller.{met}", "Hand the block's stride on."
    if stride > 1 and look.watch.calls and len(branch) != 1 and len(whole) + len(strided) >= len(look.plan.branch):
        return (
            "stride-twice" if branch else "stride-missing",
            f"{len(branch) or 'none'} of the branch's convolutions {'have' if branch else 'has'} a stride; "
            f"exactly one should, the {next(la.name for la in look.plan.branch if la.stride > 1)}.{met}",
            "Give the stride to one convolution of the branch and to the projection.",
        )
    return None
