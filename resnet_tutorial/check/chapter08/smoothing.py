"""Exercise 8.2: label smoothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ...solutions.chapter08 import smoothed_cross_entropy
from ..common import number, unlike
from ..core import Expectations, exercise
from .shared import expect_number, first_match


class _Smoothing(TorchFunctionMode):
    """Notes whether PyTorch's own label smoothing is used meanwhile."""

    used = False

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if func is F.cross_entropy:
            self.used = self.used or bool(given.get("label_smoothing", 0))
        elif func is torch._C._nn.cross_entropy_loss:
            self.used = self.used or bool(args[5] if len(args) > 5 else given.get("label_smoothing", 0))
        return func(*args, **given)


@exercise(
    "smoothed_cross_entropy", chapter=8, number=2, title="Label smoothing from scratch",
    difficulty=3, importance=3, minutes=15, points=3,
    solution="resnet_tutorial.solutions.chapter08:smoothed_cross_entropy",
)
def check_smoothed_cross_entropy(loss_of: Any, expect: Expectations) -> None:
    """Values and gradients for several shares and numbers of classes, and very large scores."""
    for classes, smoothing in ((10, 0.1), (3, 0.3), (10, 0.0), (4, None)):
        arguments = () if smoothing is None else (smoothing,)
        smoothing = 0.1 if smoothing is None else smoothing
        scores = 2 * torch.randn(32, classes, dtype=torch.float64)
        labels = torch.randint(classes, (32,))
        right = smoothed_cross_entropy(scores, labels, smoothing).item()
        with _Smoothing() as watch:
            mine = loss_of(*(given := (scores.clone(), labels.clone())), *arguments)
        name = f"With {classes} classes and smoothing {smoothing}"
        if not expect_number(expect, mine, f"{name} the function", "Average over the images at the end."):
            return
        if not expect(
            not watch.used, "used-label-smoothing", "The function uses PyTorch's own label_smoothing.",
            hint="Do without: two terms, the label's log-probability and the mean over all classes.",
        ):
            return
        changed = [n for n, a, b in zip(("scores", "labels"), given, (scores, labels), strict=True) if (a != b).any()]
        if not expect(
            not changed, "input-modified", f"After the call the {' and '.join(changed)} held other numbers.",
            hint="-= and functions with a trailing underscore write into their argument: make new tensors.",
        ):
            return
        log_p = F.log_softmax(scores, dim=1)
        plain = -log_p[torch.arange(32), labels]
        share = smoothing / (classes - 1)
        known = {
            "no-smoothing": plain.mean().item(),
            "smoothing-ignored": smoothed_cross_entropy(scores, labels, 0.1).item(),
            "ten-classes": ((1 - smoothing) * plain - smoothing / 10 * log_p.sum(1)).mean().item(),
            "share-lost": (1 - smoothing) * plain.mean().item(),
            "label-left-out": ((1 - smoothing - share) * plain - share * log_p.sum(1)).mean().item(),
            "sum-over-classes": ((1 - smoothing) * plain - smoothing * log_p.sum(1)).mean().item(),
            "shares-above-one": (plain - smoothing * log_p.mean(1)).mean().item(),
            "sum-over-images": 32 * right,
            "wrong-sign": -right,
            "every-pair": ((1 - smoothing) * -log_p[:, labels].mean() - smoothing * log_p.mean()).item(),
            "softmax-missing": -((1 - smoothing) * scores[torch.arange(32), labels]
                                 + smoothing * scores.mean(1)).mean().item(),
        }  # fmt: skip
        hints = {
            "no-smoothing": "This is the ordinary cross-entropy: the second term is missing.",
            "smoothing-ignored": "This is the loss with a smoothing of 0.1: use the argument, not the number.",
            "ten-classes": "Spread the share over scores.shape[1] classes: there need not be ten.",
            "share-lost": "The label's term is right; add smoothing times the mean over all classes.",
            "label-left-out": "All classes share in the spread, the right one too: smoothing / classes each.",
            "sum-over-classes": "smoothing is the sum of the spread shares: each class gets smoothing / classes.",
            "shares-above-one": "The label keeps 1 - smoothing, so that the target sums to 1.",
            "sum-over-images": "Take the mean over the images.",
            "wrong-sign": "Log-probabilities are negative; the loss is minus their mean.",
            "every-pair": "log_p[:, labels] has the shape (N, N), every image with every label: take each image's own, "
            "with gather.",
            "softmax-missing": "Turn the scores into log-probabilities with F.log_softmax first.",
        }
        value = cast(float, number(mine))
        seen, wanted = unlike(value, right)
        if not arguments and not expect(
            math.isclose(value, right, rel_tol=1e-6), "wrong-default",
            f"Called without a smoothing the loss is {seen}; with 0.1 it is {wanted}.",
            hint="def smoothed_cross_entropy(scores, labels, smoothing=0.1)",
        ):
            return
        code = first_match(value, {"wrong-value": right, **known}, "wrong-value")  # with a smoothing of 0 some agree
        if not expect(
            math.isclose(value, right, rel_tol=1e-6), code, f"{name} the loss is {seen}, not {wanted}.",
            hint=hints.get(code, "Weigh two terms: the label's log-probability, and the mean over all classes."),
        ):
            return
    scores = torch.randn(8, 10, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(10, (8,))
    loss = loss_of(scores, labels, 0.1)
    if not expect(
        isinstance(loss, Tensor) and loss.requires_grad, "no-gradient",
        "The loss does not depend on the scores any more.",
        hint="Stay with tensors; .item() and .detach() cut the loss off.",
    ):
        return
    (slope,) = torch.autograd.grad(loss, scores, allow_unused=True)
    (due,) = torch.autograd.grad(smoothed_cross_entropy(scores, labels, 0.1), scores)
    if not expect(
        slope is not None, "no-gradient", "The loss does not depend on the scores any more.",
        hint="Stay with tensors; .item() and .detach() cut the loss off.",
    ):
        return
    expect(
        torch.allclose(slope, due, atol=1e-9), "wrong-gradient",
        f"The gradient is off by up to {(slope - due).abs().max().item():.2g}.",
        hint="No part of the loss may be detached.",
    )
    scores, labels = torch.tensor([[200.0, 0.0, -200.0], [-700.0, 0.0, 400.0]]), torch.tensor([1, 0])
    large, right = loss_of(scores, labels, 0.1), smoothed_cross_entropy(scores, labels, 0.1).item()
    name = "For scores of 200, 0, -200 and of -700, 0, 400"
    if not expect_number(expect, large, f"{name} the function", "Average over the images at the end."):
        return
    large = cast(float, number(large))
    if expect(
        math.isfinite(large), "overflow", f"{name} the loss is {large}.",
        hint="F.log_softmax is safe where log(softmax(...)) takes the logarithm of zero.",
    ):
        seen, wanted = unlike(large, right)
        expect(
            math.isclose(large, right, rel_tol=1e-5), "large-scores", f"{name} the loss is {seen}, not {wanted}.",
            hint="Cut no scores off and add nothing inside the logarithm: F.log_softmax is safe as it is.",
        )
