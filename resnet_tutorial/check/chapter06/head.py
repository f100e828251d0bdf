"""Exercise 6.4, the head: from a map of any size to one row of logits an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ...solutions.chapter06 import classifier_head
from ..common import parameter_count
from ..core import Expectations, exercise, learners_frames
from ..networks import Variant, apart
from .shared import Trial, gave_a_tensor, is_module, ready, run, shown, trains


class _Pooled(nn.Module):
    """A linear layer behind any way of making one vector of a map."""

    def __init__(self, c: int, k: int, pool: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.fc = nn.Linear(c, k)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(x))


def _variants(c: int, k: int) -> Iterator[Variant]:
    def pooled(*layers: nn.Module) -> Callable[[], nn.Module]:
        return lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), *layers)

    yield from (
        ("edge-dropped", "Of a map of 8 × 8 only 7 × 7 values take part: the last row and column are dropped.",
         "Take the mean over the whole map, whatever its size.",
         lambda: _Pooled(c, k, lambda x: x[:, :, :7, :7].mean((2, 3)))),
        ("maximum-not-mean", "The values are those of a maximum over the map, not of a mean.",
         "Global average pooling takes the mean of each channel.",
         lambda: nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(c, k))),
        ("sum-not-mean", "The values are those of a sum over the map: a larger image would give larger logits.",
         "Divide by the number of positions.", lambda: _Pooled(c, k, lambda x: x.sum((2, 3)))),
        ("softmax-in-head", "The values are probabilities, not logits.",
         "nn.CrossEntropyLoss takes logits: leave the softmax out.", pooled(nn.Linear(c, k), nn.Softmax(1))),
        ("softmax-in-head", "The values are log-probabilities, not logits.",
         "nn.CrossEntropyLoss takes logits: leave the softmax out.", pooled(nn.Linear(c, k), nn.LogSoftmax(1))),
        ("relu-in-head", "No logit is negative: a ReLU stands behind the linear layer.",
         "The linear layer is the last one.", pooled(nn.Linear(c, k), nn.ReLU())),
    )  # fmt: skip


@exercise(
    "classifier_head", chapter=6, number=4, title="Write a head for any size",
    difficulty=1, importance=4, minutes=5, points=1,
    solution="resnet_tutorial.solutions.chapter06:classifier_head",
)  # fmt: skip
def check_classifier_head(classifier_head_: Any, expect: Expectations) -> None:
    """Parameter count, then shapes, values and gradients on maps from 1 x 1 to 13 x 8, and of one image."""
    for c, k in ((12, 5), (8, 10)):
        head = classifier_head_(c, k)
        call = f"classifier_head({c}, {k})"
        if not is_module(head, call, expect):
            return
        count, wanted = parameter_count(ready(head, (2, c, 7, 7))), c * k + k
        if not expect(
            count == wanted, "wrong-parameter-count",
            f"{call} has {count} parameters, not {c} · {k} + {k} = {wanted}.",
            hint=f"One linear layer from {c} pooled channels to {k} classes, with its bias.",
        ):  # fmt: skip
            return
        if not trains(head, call, expect) or not apart(head, ready(classifier_head_(c, k), (2, c, 7, 7)), call, expect):
            return
        book = classifier_head(c, k)
        for n, height, width in ((3, 8, 8), (3, 7, 7), (3, 1, 1), (3, 13, 8), (3, 3, 5), (1, 4, 6), (1, 1, 1)):
            x = 20 * torch.randn(n, c, height, width, dtype=torch.double)
            before, train = x.clone(), height > 7
            maps = f"{n} map{'s' * (n > 1)} of {shown(x.shape[1:])}"
            try:
                y = run(head, x, train, book)
            except RuntimeError as error:
                if learners_frames(error):
                    raise
                expect(
                    False, "layers-do-not-fit",
                    f"For maps of {shown(x.shape)} the layers of {call} do not fit together: {error}",
                    hint="nn.AdaptiveAvgPool2d(1) gives (N, C, 1, 1), nn.Flatten() makes (N, C) of it.",
                )  # fmt: skip
                return
            if not gave_a_tensor(y, call, expect):
                return
            code, hint = "wrong-shape", "(N, C, H, W) to (N, C, 1, 1) to (N, C) to (N, num_classes)."
            if n == 1 and y.shape == (k,):
                code = "batch-of-one"
                hint = "squeeze() drops every axis of length 1, that of a single image too; flatten(1) does not."
            if not expect(y.shape == (n, k), code, f"{maps} became {shown(y.shape)}, not {n} × {k}.", hint):
                return
            expect(
                torch.equal(x, before), "input-modified", "The head changed the map that was handed in.",
                hint="Leave out operations that end in an underscore.",
            )  # fmt: skip
            trial = Trial(
                call, f"the logits for {maps}", "The mean of each channel over the whole map, then one linear layer.",
                head, book, x, train, _variants(c, k),
            )  # fmt: skip
            if not trial.agrees(y, expect):
                return
