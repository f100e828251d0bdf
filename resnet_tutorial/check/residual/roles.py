"""Finding out what each of a learner's parameters is for, by changing it and looking at the output.

Names, kinds of layers, the order of registration and of calls do not matter. All parameters of one
shape are given the same numbers, which a right block cannot tell from the reference with the same
numbers; then one parameter is changed, and the role whose change moves the reference's output in
the same way is its role.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import combinations

import torch
from torch import Tensor, nn

from .plan import Plan, Role, key, kind
from .program import Program, Values


def same(one: Tensor, other: Tensor) -> bool:
    """Tell whether two tensors agree to eight digits of their largest value."""
    if one.shape != other.shape or not torch.isfinite(one).all():
        return False
    return bool((one - other).abs().max() <= 1e-8 * (1 + other.abs().max()))


def place(parameter: nn.Parameter, values: Tensor) -> None:
    """Write values into a parameter, whatever shape it has for them."""
    if key(parameter.shape) != key(values.shape):
        values = values.reshape(key(values.shape)).T
    with torch.no_grad():
        parameter.copy_(values.reshape(parameter.shape))


def inventory(block: nn.Module, plan: Plan) -> tuple[Counter, Counter]:
    """Count the parameters by shape: those that the block has, those that the plan asks for."""
    mine = Counter(kind(parameter.shape) for parameter in block.parameters())
    return mine, Counter(kind(shape) for shape in plan.roles().values())


def level(block: nn.Module, plan: Plan, shared: Values) -> None:
    """Give all parameters of one shape the same numbers; those of no use to the plan keep theirs."""
    wanted = {kind(shape) for shape in plan.roles().values()}
    for parameter in block.parameters():
        if kind(parameter.shape) in wanted:
            place(parameter, shared.of_shape(tuple(parameter.shape)))


@dataclass
class Matching:
    """What was found out about a block's parameters, by their names.

    ``several`` holds parameters that play more than one role: a layer that is used twice.
    ``unknown`` move the output as no role does.
    """

    roles: dict[str, Role] = field(default_factory=dict)
    idle: list[str] = field(default_factory=list)
    several: dict[str, tuple[Role, ...]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def match(block: nn.Module, plan: Plan, program: Program, shared: Values, x: Tensor) -> Matching:
    """Find each parameter's role in a block that :func:`level` has prepared, in training mode."""
    found = Matching()
    wanted = plan.roles()
    steps = Values()

    def moved(*roles: Role) -> Tensor:
        given = {r: shared.of_shape(wanted[r]) + steps.of_shape(wanted[r]) / 2 for r in roles}
        return program(x, Values(given, shared))

    with torch.no_grad():
        still = program(x, Values(shared=shared))
        outputs = {role: moved(role) for role in wanted}
        for name, parameter in block.named_parameters():
            with changed(parameter, steps.of_shape(tuple(parameter.shape)) / 2):
                y = block(x.clone())
            like = [role for role in wanted if kind(wanted[role]) == kind(parameter.shape)]
            free = [role for role in like if role not in found.roles.values()]
            role = next((role for role in free if same(y, outputs[role])), None)
            if role:
                found.roles[name] = role
            elif same(y, still):
                found.idle.append(name)
            else:
                several = next((some for some in _sets(like) if same(y, moved(*some))), None)
                if several:
                    found.several[name] = several
                else:
                    found.unknown.append(name)
    return found


def _sets(roles: list[Role]) -> Iterator[tuple[Role, ...]]:
    for size in range(2, min(len(roles), 4) + 1):
        yield from combinations(roles, size)


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
