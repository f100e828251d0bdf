"""What a block computes: compared with the reference on the same numbers, and the fault named."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import combinations, product

import torch
from torch import Tensor, nn

from resnet_tutorial.check.common import by

from .faults import Fault, faults_of
from .first_call import sizes_explained
from .look import Look
from .parameters import biases, listed
from .plan import key, kind
from .program import Program, Values, right_program
from .roles import changed, fit, inventory, is_bias, level, same, trained

SEARCH = 1.5  # seconds for trying faults, over all cases


def computes(look: Look) -> bool:
    """Compare with the reference on levelled parameters; name the fault if they differ."""
    look.shared = Values()
    if "random-output" in look.notes.codes or not _statistics_apart(look):
        return False
    look.block.double().train()
    level(look.block, look.plan, look.shared)
    look.x = 5 * torch.randn(3, look.plan.in_channels, *look.case.size, dtype=torch.float64)
    fed = look.x.clone()
    with torch.no_grad():
        y = _in_double(look, lambda: look.block(fed))
        if y is None:
            return False
        left_alone = unchanged(look, fed, look.x)
        if not _repeats(look, y):
            return False
        found = _find_faults(look, y)
        if not _nothing_extra(look, y):
            return False
    if found is None:
        _say_wrong_value(look, y)
        return False
    _name(look, found, y)
    return left_alone and not found


def _statistics_apart(look: Look) -> bool:
    places = [b.data_ptr() for _, b in look.block.named_buffers(remove_duplicate=False) if b.numel() > 1]
    return look.say(
        len(set(places)) == len(places), "bn-shared",
        "two batch norms keep their running statistics in the same tensor.",
        "Each convolution has a batch norm of its own.",
    )


def _in_double(look: Look, call: Callable[[], Tensor]) -> Tensor | None:
    """Run the block on float64; one that has run on float32 and fails now has a type written into it."""
    hint = "Leave the type of x as it is: no .float(), .half() or dtype=… in the block."
    try:
        y = call()
    except RuntimeError as error:
        if "dtype" not in str(error) and "type" not in str(error):
            raise
        look.say(False, "dtype-changed", f"float64 images raise: {str(error).splitlines()[0]}", hint)
        return None
    holds = look.say(y.dtype == torch.float64, "dtype-changed", f"float64 images came out as {y.dtype}.", hint)
    return y if holds else None


def unchanged(look: Look, fed: Tensor, x: Tensor) -> bool:
    """Tell whether the input that the block was fed is still ``x``."""
    return look.say(
        torch.equal(fed, x), "input-modified",
        f"calling it changed {int((fed != x).sum())} of the {fed.numel()} values of its input x.",
        "x += … and an in-place ReLU on x write into the caller's tensor. "
        "Write out + x, which makes a new one.",
    )


def _repeats(look: Look, y: Tensor) -> bool:
    """Call the block again and again: what is left out now and then, is seen then."""
    calls = 1 if "repeats" in look.notes.said else 30
    look.notes.said.add("repeats")
    return look.say(
        all(same(look.block(look.x.clone()), y) for _ in range(calls)), "random-output",
        "two calls on the same input in training mode give different outputs: it draws random numbers "
        "(dropout, noise, left-out branches), or keeps something from call to call.",
        "A residual block has no dropout, and only its running statistics change.",
    )


def _nothing_extra(look: Look, y: Tensor) -> bool:
    """Look at parameters that no such block needs: does changing them change the output?"""
    if set(look.notes.codes) - {"bias-before-bn", "input-modified"}:
        return True  # very likely the consequence of what has been said
    mine, wanted = inventory(look.block, look.plan)
    beyond = mine - wanted
    shapes = list(look.plan.roles().values())
    for name, parameter in trained(look.block):
        known = fit(tuple(parameter.shape), shapes)
        if is_bias(look.block, look.plan, name) or kind(known[0] if known else parameter.shape) not in beyond:
            continue
        if known and y is not None and len(key(known[0])) < 2:
            continue  # as many as a batch norm's: told apart by its role
        module = look.block.get_submodule(name.rpartition(".")[0])
        with changed(parameter, 0.3 + torch.rand_like(parameter)):
            moves = not same(look.block(look.x.clone()), y)
        if moves and isinstance(module, nn.PReLU):
            return look.say(False, "wrong-activation", "its activation is PReLU, not ReLU.", "nn.ReLU or F.relu.")
        if moves:
            return look.say(
                False, "extra-parameters",
                f"{name}, of shape {by(parameter.shape) or 1}, takes part in the output; no such block has it.",
                "Convolutions without bias, and batch norms: nothing else is trained.",
            )
    return True


def _say_wrong_value(look: Look, y: Tensor) -> None:
    # A 1x1 may make the map larger, and another layer make it smaller again.
    moved = any(c.weight.shape[-1] == 1 and c.after[-1] > c.before[-1] for c in look.watch.calls)
    sizes = sizes_explained(look) if moved else None
    if sizes:
        look.say(False, *sizes, key="sizes")
        return
    if look.notes.codes:
        return
    mine, wanted = inventory(look.block, look.plan)
    extra = mine - wanted
    if extra and not biases(look):
        look.say(
            False, "extra-parameters",
            f"beyond what such a block needs it has parameters of the shapes {listed(extra)}.",
            "Convolutions without bias, and a batch norm behind each: nothing else is trained.",
        )
        return
    unused = _unused(look)
    if unused:
        look.say(
            False, "unused-parameters", f"{', '.join(unused)} take no part in the output.",
            "Is a layer made and never called, or its result overwritten?",
        )
        return
    right = right_program(look.plan)(look.x, Values(shared=look.shared)).detach()
    differs = ~torch.isclose(y, right, rtol=1e-6, atol=1e-8)
    look.say(
        False, "wrong-value",
        f"on the same weights {int(differs.sum())} of {y.numel()} outputs differ from those of "
        f"relu(F(x) + shortcut), by up to {(y - right).abs().max():.2g}.",
        "Go through it line by line: convolution, batch norm, ReLU, …, the last batch norm, addition, ReLU.",
    )


def _unused(look: Look) -> list[str]:
    """Return the parameters that the output does not depend on, by their names."""
    with torch.enable_grad():
        y = look.block(look.x.clone())
        if not y.requires_grad:
            return []
        grads = torch.autograd.grad(y.square().sum(), list(look.block.parameters()), allow_unused=True)
    return [name for (name, _), grad in zip(look.block.named_parameters(), grads, strict=True) if grad is None]


def _find_faults(look: Look, y: Tensor) -> tuple[Fault, ...] | None:
    """Return the faults with which the reference gives ``y``: none, one or two; None if it never does."""
    start = time.perf_counter()

    def gives_y(program: Program) -> bool:
        try:
            return same(y, program(look.x, Values(shared=look.shared)))
        except (RuntimeError, ValueError, IndexError):  # an edit that makes no sense for this plan
            return False

    for plan in look.plans:
        if gives_y(right_program(plan)):
            look.plan = plan
            return ()
    right = right_program(look.plan)
    found = None
    for faults in _suspects(look):
        if look.notes.searched + time.perf_counter() - start > SEARCH:
            break
        program = right
        for fault in faults:
            program = fault.edit(program)
        if gives_y(program):
            found = faults
            break
    look.notes.searched += time.perf_counter() - start
    return found


def _suspects(look: Look) -> Iterator[tuple[Fault, ...]]:
    """Yield each fault, then the pairs: of one named before with any, or else of common ones."""
    faults = list(faults_of(look.plan))
    named = {(fault.key, fault.message) for fault in look.notes.faults}
    yield from ((fault,) for fault in faults)
    if not set(look.notes.codes) - {"bias-before-bn", "input-modified"}:
        known, others = [fault for fault in faults if fault.common], None
    else:
        known = [fault for fault in faults if (fault.key, fault.message) in named]
        others = faults
    for one, other in combinations(known, 2) if others is None else product(known, others):
        yield one, other
        yield other, one


def _name(look: Look, faults: tuple[Fault, ...], y: Tensor) -> None:
    if not faults:
        return
    values = Values(shared=look.shared)
    _, shortcut = right_program(look.plan).sides(look.x, values)
    right = right_program(look.plan)(look.x, values)
    numbers = {
        "total": y.numel(), "negative": int((y < 0).sum()), "lowest": float(y.min()),
        "right_below": int((right < shortcut).sum()), "stride": look.plan.stride,
    }  # fmt: skip
    for fault in faults:
        look.notes.faults.append(fault)
        look.say(False, fault.code, fault.message.format(**numbers) + _where(look, fault), fault.hint, fault.key)


# Faults that stand where branch and shortcut meet.
_AT_THE_ADDITION = {
    "relu-before-add", "missing-final-relu", "shortcut-twice", "branch-twice", "subtracted", "multiplied", "averaged",
    "maximum", "minimum", "scaled", "relu-twice-apart", "wrong-tensor-added", "bn-after-add",
}  # fmt: skip


def _where(look: Look, fault: Fault) -> str:
    """Return a sentence with the learner's line at which the fault is to be looked for, if one is known."""
    if fault.code in _AT_THE_ADDITION and look.watch.joined:
        return f" Branch and shortcut meet in {look.watch.joined}"
    layer = next((layer for layer in look.plan.layers if layer.name == fault.about), None)
    line = layer and look.watch.line_of(layer.kernel)
    return f" The {fault.about} is called in {line}" if line else ""
