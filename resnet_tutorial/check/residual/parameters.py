"""What a block's parameters say before it is called: which kernels, norms and biases there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
from torch import nn

from resnet_tutorial.check.common import by

from .look import Look, Variant
from .plan import Plan, key, kind, shapes_of
from .roles import inventory


def is_registered(look: Look) -> bool:
    """Tell whether the block knows the layers that it uses."""
    hidden = {str(call): call for call in look.unregistered}
    if not look.say(
        bool(list(look.block.parameters())), "no-parameters",
        "it has no parameters, so an optimiser would find nothing to train.",
        "Layers must be attributes of the module, or stand in nn.Sequential or nn.ModuleList; "
        "a Python list hides them.",
    ):
        return False
    return look.say(
        not hidden, "unregistered-layers",
        f"it uses convolutions that are not among its parameters: {', '.join(hidden)}. "
        "An optimiser would not train them, and a state dict would not hold them.",
        "A layer made in forward, or kept in a Python list or dictionary, is hidden: make it in __init__, "
        "as an attribute, or in nn.Sequential or nn.ModuleList.",
    )


def follows_no_other_plan(look: Look) -> bool:
    """Look whether the kernels are those of a likely misreading of the task."""
    if not look.case.handed and not stored_as(look):
        shapes = Counter(shapes_of(look.block))
        for code, message, hint, plan in (*_other_projections(look.plan), *look.variants(look.plan)):
            mine, wanted = map(_kernels, inventory(look.block, plan))
            kernel = plan.projection.kernel if plan.projection else None
            grouped = code == "projection-grouped" and kernel not in shapes
            if mine == wanted and not grouped:
                return look.say(False, code, message, hint)
    return True


def stored_as(look: Look) -> list[Plan]:
    """Return the plan in each form in which the block may keep it, the likeliest first."""
    alike: list[tuple[bool, int, Plan]] = []
    for plan in look.plan.stored_in_parts():
        mine, wanted = inventory(look.block, plan)
        if _kernels(mine) == _kernels(wanted):
            alike.append((mine != wanted, len(alike), plan))
    return [plan for _, _, plan in sorted(alike)]


def kernels_hold(look: Look) -> bool:
    """Tell whether no kernel is missing, and set the plan that the block follows."""
    if not _begins_well(look):
        return False
    look.plans = stored_as(look) or [look.plan]
    look.plan = look.plans[0]
    mine, wanted = inventory(look.block, look.plan)
    if not _kernels(wanted) - _kernels(mine):
        return look.say(True, "wrong-kernels", "", "")  # more than are needed: the output tells
    twice = _kernels(wanted) - _kernels(mine)
    if not _kernels(mine) - _kernels(wanted):
        shape = min(twice)
        return look.say(
            False, "missing-layer",
            f"{('none', 'one', mine[shape])[min(mine[shape], 2)]} of its parameters has the shape "
            f"{'×'.join(map(str, shape))}, and {wanted[shape]} should: a convolution is missing, or one serves in "
            "two places.",
            "Each convolution is a layer of its own.",
        )
    return look.say(
        False, "wrong-kernels",
        f"its kernels have the shapes {_shapes(shapes_of(look.block))} instead of "
        f"{_shapes([layer.kernel for layer in look.plan.layers])}.",
        "Go from layer to layer: a kernel's shape is (outputs, inputs / groups, height, width).",
    )


def _begins_well(look: Look) -> bool:
    """Look at the numbers that a new block begins with."""
    kernels = [p for p in look.block.parameters() if len(key(p.shape)) > 1]
    bad = [tuple(p.shape) for p in kernels if not torch.isfinite(p).all()]
    if not look.say(
        not bad, "not-initialised", f"new kernels ({by(bad[0]) if bad else ''}) hold NaN or infinite numbers.",
        "torch.empty gives whatever lay in memory: fill it, for example with nn.init.kaiming_normal_.",
    ):
        return False
    even = [tuple(p.shape) for p in kernels if p.numel() > 1 and bool((p == p.flatten()[0]).all())]
    return look.say(
        not even, "not-initialised",
        f"all numbers of a new kernel ({by(even[0]) if even else ''}) are equal: its channels would stay equal.",
        "Random numbers, as nn.Conv2d begins with; zero is for the last batch norm's weight only.",
    )


def biases(look: Look) -> list[int]:
    """Return how many biases each convolution has that has any."""
    mine, wanted = inventory(look.block, look.plan)
    if _kernels(mine) - _kernels(wanted):
        return []  # which layers are the block's own, only the output tells
    layers = [
        m for m in look.block.modules()
        if isinstance(m, nn.Conv2d | nn.Linear) and kind(m.weight.shape) in wanted
    ]  # fmt: skip
    if layers:
        return [m.bias.numel() for m in layers if m.bias is not None]
    # Written with functions: vectors beyond those of the batch norms.
    extra = [shape[0] for shape in (mine - wanted).elements() if len(shape) == 1]
    return extra if not Counter(extra) - Counter(look.plan.biases) else []


def lacks_norms(look: Look) -> bool:
    """Tell whether there are fewer vectors than the batch norms need."""
    mine, wanted = inventory(look.block, look.plan)
    mine.subtract((n,) for n in biases(look))
    return any(mine[shape] < n for shape, n in wanted.items() if len(shape) == 1)


def biases_hold(look: Look) -> None:
    """Report convolutions that have a bias of their own."""
    found = biases(look)
    total = sum(p.numel() for p in look.block.parameters())
    look.say(
        not found, "bias-before-bn",
        f"of its {total:,} parameters {sum(found)} are the biases of {len(found)} "
        f"convolution{'s' * (len(found) != 1)}. A batch norm takes the mean away, and any bias with it.",
        "bias=False in every convolution that a batch norm follows.",
    )


def _other_projections(plan: Plan) -> Iterator[Variant]:
    if plan.projection is None:
        return
    for size in (3, 2, 5):
        yield (
            "projection-kernel", f"the convolution on the shortcut is {size}x{size}, not 1x1.",
            "The projection mixes channels at each position by itself: a 1×1 convolution.",
            replace(plan, projection=replace(plan.projection, size=size)),
        )  # fmt: skip
    width = plan.branch[0].out_channels
    for i, o in {(plan.in_channels, width), (width, plan.out_channels), (plan.in_channels, 4 * plan.in_channels),
                 (plan.in_channels, plan.in_channels)} - {(plan.in_channels, plan.out_channels)}:  # fmt: skip
        yield (
            "projection-channels",
            f"the projection goes from {i} to {o} channels; x has {plan.in_channels}, and the branch makes "
            f"{plan.out_channels}.", "From the block's input channels to its output channels.",
            replace(plan, projection=replace(plan.projection, in_channels=i, out_channels=o)),
        )  # fmt: skip
    for groups in (2, 4, 8, 16):
        if plan.in_channels % groups == plan.out_channels % groups == 0 and plan.in_channels > groups:
            yield (
                "projection-grouped", f"the projection is a grouped convolution, in {groups} groups.",
                "The 1×1 on the shortcut sees all channels.",
                replace(plan, projection=replace(plan.projection, groups=groups)),
            )  # fmt: skip


def _kernels(shapes: Counter) -> Counter:
    return Counter({shape: n for shape, n in shapes.items() if len(shape) > 1})


def _shapes(shapes: Iterable[tuple[int, ...]]) -> str:
    return ", ".join(map(str, (tuple(shape) for shape in shapes if len(key(shape)) > 1))) or "none"


def listed(shapes: Counter) -> str:
    """Return shapes in one line: "16×8×3×3, 16×16×3×3"."""
    return ", ".join("×".join(map(str, shape)) for shape in sorted(shapes.elements())) or "none"
