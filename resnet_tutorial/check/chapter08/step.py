"""Exercise 8.4: one training step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..common import number, unlike
from ..core import Expectations, exercise
from .shared import expect_number


def _small_network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5)
    ).double()


def _reference_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor, *,
    accumulate: bool = False, twice: bool = False, reduction: str = "mean",
) -> float:  # fmt: skip
    """One right step, or one with a known fault."""
    model.train()
    scores = model(images)
    loss = F.cross_entropy(scores.softmax(1) if twice else scores, labels, reduction=reduction)
    if not accumulate:
        optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def _after(
    model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], *, stale: Sequence[Tensor] | None = None,
    momentum: float = 0.9, **fault: Any,
) -> list[Tensor]:  # fmt: skip
    """Return the parameters after right or faulty steps from the model's present weights.

    ``stale`` holds gradients that lie in the parameters before the first step.
    """
    model = deepcopy(model)
    for parameter, gradient in zip(model.parameters(), stale or (), strict=bool(stale)):
        parameter.grad = gradient.clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=momentum)
    for images, labels in batches:
        _reference_step(model, optimizer, images, labels, **fault)
    return list(model.parameters())


def _same(mine: Iterable[Tensor], theirs: Iterable[Tensor]) -> bool:
    return all(torch.allclose(a, b, atol=1e-10) for a, b in zip(mine, theirs, strict=True))


@exercise(
    "train_step", chapter=8, number=4, title="One training step",
    difficulty=2, importance=5, minutes=12, points=2,
    solution="resnet_tutorial.solutions.chapter08:train_step",
)
def check_train_step(step: Any, expect: Expectations) -> None:
    """Three steps with momentum, from old gradients, against the same three steps done right."""
    batches = [(torch.randn(6, 3, 4, 4).double(), torch.randint(5, (6,))) for _ in range(3)]
    start = _small_network()
    model = deepcopy(start).eval()  # as an evaluation leaves it
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    stale = [torch.randn_like(parameter) for parameter in model.parameters()]
    for parameter, gradient in zip(model.parameters(), stale, strict=True):
        parameter.grad = gradient.clone()  # as somebody else's backward() leaves them
    twin = deepcopy(start).train()
    expected = F.cross_entropy(twin(batches[0][0]), batches[0][1]).item()
    loss = step(model, optimizer, *batches[0])
    if not expect_number(expect, loss, "train_step", "Return the loss as a number: loss.item()."):
        return
    expect(
        not (isinstance(loss, Tensor) and loss.requires_grad), "loss-keeps-graph",
        "The returned loss still holds its graph: a list of such losses fills the memory.",
        hint="Return loss.item(), or loss.detach().",
    )
    if not expect(
        not torch.equal(model.get_buffer("1.running_mean"), start.get_buffer("1.running_mean")), "eval-mode",
        "Batch norm's statistics did not move: the network was in eval mode.",
        hint="Begin with model.train(); an evaluation before this step has left it in eval mode.",
    ):
        return
    if not expect(
        not _same(model.parameters(), start.parameters()), "no-step",
        "The parameters did not change.",
        hint="Three calls, in this order: optimizer.zero_grad(), loss.backward(), optimizer.step().",
    ):
        return
    code, hint = "wrong-update", "loss.backward() once, optimizer.step() once, on the mean cross-entropy."
    if _same(model.parameters(), _after(start, batches[:1], twice=True)):
        code, hint = "softmax-twice", "F.cross_entropy takes scores and does the softmax itself."
    elif _same(model.parameters(), _after(start, batches[:1], reduction="sum")):
        code, hint = "sum-not-mean", "Use the mean over the batch, or the step grows with its size."
    seen = "After one step the parameters are not what SGD makes of them."
    if _same(model.parameters(), _after(start, batches[:1], accumulate=True, stale=stale)):
        code, hint = "gradients-accumulate", "backward() adds to .grad: call optimizer.zero_grad() before it."
        seen = "Gradients that lay in the parameters before the call went into the step."
    if not expect(
        _same(model.parameters(), _after(start, batches[:1])), code, seen, hint=hint,
    ):
        return
    value = cast(float, number(loss))
    seen, wanted = unlike(value, expected)
    code, hint = "wrong-loss", "Return the same loss that was sent backwards."
    with torch.no_grad():
        later = F.cross_entropy(deepcopy(model).train()(batches[0][0]), batches[0][1]).item()
    if math.isclose(value, later, rel_tol=1e-6):
        code, hint = "loss-after-step", "Keep the loss of the first forward pass; after the step it is another."
    expect(
        math.isclose(value, expected, rel_tol=1e-6), code,
        f"The loss returned is {seen}; that of the batch before the step is {wanted}.", hint=hint,
    )
    runs = int(model.get_buffer("1.num_batches_tracked"))
    if not expect(
        runs == 1, "runs-twice",
        f"One call ran the network {runs} times in training mode: each run moves batch norm's running statistics.",
        hint="Call model(images) once, and take all that is wanted, the loss too, from those scores.",
    ):
        return
    for images, labels in batches[1:]:
        step(model, optimizer, images, labels)
    code, hint = "wrong-update", "Each step must depend on its own batch alone."
    if _same(model.parameters(), _after(start, batches, accumulate=True)):
        code, hint = "gradients-accumulate", "backward() adds to .grad: call optimizer.zero_grad() in each step."
    elif _same(model.parameters(), _after(start, batches, momentum=0)):
        code, hint = "other-optimizer", "Use the optimizer that is handed in: it has momentum from the steps before."
    expect(
        _same(model.parameters(), _after(start, batches)), code,
        "The first step is right; after the second and third the parameters are not.", hint=hint,
    )
