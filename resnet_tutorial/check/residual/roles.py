"""Finding out what each of a learner's parameters is for, by changing it and looking at the output.

Names, kinds of layers, the order of registration and of calls do not matter. All parameters of one
shape are given the same numbers, which a right block cannot tell from the reference with the same
numbers; then one parameter is changed, and the role whose change moves the reference's output in
the same way is its role.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import combinations, islice
from math import prod

import torch
from torch import Tensor, nn

from .plan import Plan, Role, key, kind
from .program import Program, Values, draw


def same(one: Tensor, other: Tensor) -> bool:
    """Tell whether two tensors agree to eight digits of their largest value."""
    if one.shape != other.shape or not torch.isfinite(one).all():
        return False
    return bool((one - other).abs().max() <= 1e-8 * (1 + other.abs().max()))


Shape = tuple[int, ...]
REDRAWS = 50  # a draw in which two roles look alike is rare with many channels, one in ten with one


def fit(shape: Shape, wanted: Iterable[Shape]) -> tuple[Shape, Callable[[Tensor], Tensor]] | None:
    """Return which of the wanted shapes a parameter of this shape can hold, and how it is stored.

    A 1x1 kernel may be a matrix, either way round; a kernel may stand as (height, width, in, out),
    or with its axes run together or apart, as F.unfold and separate groups have them.
    """
    wanted = sorted(set(wanted))
    for shape_ in wanted:
        if len(shape_) == 4 and shape_ != tuple(shape) == (*shape_[2:], shape_[1], shape_[0]):
            return shape_, lambda values: values.permute(2, 3, 1, 0)
    for shape_ in wanted:
        if key(shape_) == key(shape):
            return shape_, lambda values: values.reshape(shape)
    for shape_ in wanted:
        if len(key(shape_)) == 2 and key(shape_)[::-1] == key(shape):
            return shape_, lambda values: values.reshape(key(shape)[::-1]).T.reshape(shape)
        if (
            len(shape_) == 4 and len(shape) in (2, 5) and prod(shape) == prod(shape_) and shape_[2] > 1
            and (shape[0] == shape_[0] or shape[0] * shape[1] == shape_[0])
        ):  # fmt: skip
            return shape_, lambda values: values.reshape(shape)
    return None


def is_square(shape: Shape) -> bool:
    """Tell whether this is a square matrix, whose shape does not say which way round it is used."""
    return len(shape) in (2, 3) and len(key(shape)) == 2 and key(shape)[0] == key(shape)[1]


def place(parameter: nn.Parameter, values: Tensor, turned: bool = False) -> None:
    """Write values into a parameter, whatever shape it has for them."""
    if turned:
        values = values.reshape(key(values.shape)).T
    found = fit(tuple(parameter.shape), [tuple(values.shape)])
    with torch.no_grad():
        parameter.copy_((found[1](values) if found else values.reshape(parameter.shape)).detach())


def trained(block: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Return the parameters by name, without vectors that are not trained: those hold statistics."""
    return [(n, p) for n, p in block.named_parameters() if p.requires_grad or len(key(p.shape)) > 1]


def inventory(block: nn.Module, plan: Plan) -> tuple[Counter, Counter]:
    """Count the parameters by shape: those that the block has, those that the plan asks for."""
    wanted = list(plan.roles().values())
    mine: Counter[tuple[int, ...]] = Counter()
    for _, parameter in trained(block):
        found = fit(tuple(parameter.shape), wanted)
        mine[kind(found[0] if found else parameter.shape)] += 1
    return mine, Counter(map(kind, wanted))


def is_bias(block: nn.Module, plan: Plan, name: str) -> bool:
    """Tell whether a parameter is the bias of one of the block's own convolutions or matrices."""
    owner, _, last = name.rpartition(".")
    module = block.get_submodule(owner)
    if last != "bias" or not isinstance(module, nn.Conv2d | nn.Linear):
        return False
    return fit(tuple(module.weight.shape), list(plan.roles().values())) is not None


def level(block: nn.Module, plan: Plan, shared: Values) -> None:
    """Give all parameters of one shape the same numbers; those of no use to the plan keep theirs."""
    wanted = list(plan.roles().values())
    for _, parameter in trained(block):
        found = fit(tuple(parameter.shape), wanted)
        if found:
            place(parameter, shared.of_shape(found[0]))


@dataclass
class Matching:
    """What was found out about a block's parameters, by their names.

    ``several`` holds parameters that play more than one role: a layer that is used twice.
    ``unknown`` move the output as no role does; ``biases`` move it in evaluation mode only, because
    a batch norm subtracts them from its batch. ``turned`` are square matrices used as (in, out).
    """

    roles: dict[str, Role] = field(default_factory=dict)
    idle: list[str] = field(default_factory=list)
    several: dict[str, tuple[Role, ...]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    biases: list[str] = field(default_factory=list)
    turned: set[str] = field(default_factory=set)


def match(block: nn.Module, plan: Plan, program: Program, x: Tensor) -> Matching:
    """Find each parameter's role in a block that gives what ``program`` gives, in training mode."""
    found = Matching()
    wanted = plan.roles()

    def moved(*roles: Role) -> Tensor:
        given = {r: shared.of_shape(wanted[r]) + steps.of_shape(wanted[r]) / 2 for r in roles}
        return program(x, Values(given, shared))

    with torch.no_grad():
        for _ in range(REDRAWS):
            shared, steps = Values(), Values()
            still = program(x, Values(shared=shared))
            outputs = {role: moved(role) for role in wanted}
            if _told_apart(outputs, plan, still):
                break
        level(block, plan, shared)
        for name, parameter in trained(block):
            shape = tuple(parameter.shape)
            known, stored = fit(shape, wanted.values()) or (shape, lambda values: values)
            with changed(parameter, stored(steps.of_shape(known) / 2)):
                y = block(x.clone())
            like = [role for role in wanted if kind(wanted[role]) == kind(known)]
            free = [role for role in like if role not in found.roles.values()]
            role = next((role for role in free if same(y, outputs[role])), None)
            if role:
                found.roles[name] = role
                if is_square(shape):
                    step = draw(shape)  # not symmetric, unlike what the levelled matrices hold
                    value = shared.of_shape(wanted[role]) + step.reshape(wanted[role])
                    with changed(parameter, step):
                        if not same(block(x.clone()), program(x, Values({role: value}, shared))):
                            found.turned.add(name)
            elif same(y, still):
                found.idle.append(name)
            else:
                several = next((some for some in _sets(like) if same(y, moved(*some))), None)
                if several:
                    found.several[name] = several
                else:
                    found.unknown.append(name)
        block.eval()
        still = block(x.clone())
        for name, parameter in trained(block):
            if name in found.idle and len(key(parameter.shape)) < 2:
                with changed(parameter, torch.ones_like(parameter)):
                    if not same(block(x.clone()), still):
                        found.biases.append(name)
        block.train()
    return found


def _told_apart(outputs: dict[Role, Tensor], plan: Plan, still: Tensor) -> bool:
    """Tell whether each role moves the output, and no two of one shape move it alike.

    A channel that a step switches off is behind the ReLU the same nothing, whichever parameter did it.
    """
    shapes = plan.roles()
    if any(same(y, still) for y in outputs.values()):
        return False
    return not any(
        kind(shapes[one]) == kind(shapes[other]) and not _interchangeable(one, other, plan)
        and same(outputs[one], outputs[other])
        for one, other in combinations(outputs, 2)
    )  # fmt: skip


def _interchangeable(one: Role, other: Role, plan: Plan) -> bool:
    """Tell whether one role may stand for the other whatever the numbers.

    So it is with the equal paths of a sum, and with the two shifts that meet at the addition.
    """
    if one[:2] == other[:2]:
        return True
    ends = {plan.branch[-1].name, plan.projection.name if plan.projection else ""}
    return one[1] == other[1] == "shift" and {one[0], other[0]} <= ends


def _sets(roles: list[Role]) -> Iterator[tuple[Role, ...]]:
    yield tuple(roles)
    for size in range(2, min(len(roles), 4)):
        yield from islice(combinations(roles, size), 60)


@contextmanager
def changed(parameter: nn.Parameter, step: Tensor) -> Iterator[None]:
    """Add a step to a parameter, and take it back."""
    before = parameter.detach().clone()
    with torch.no_grad():
        parameter.add_(step)
    try:
        yield
    finally:
        with torch.no_grad():
            parameter.copy_(before)
