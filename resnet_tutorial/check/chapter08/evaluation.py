"""Exercise 8.5: the error in per cent."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..common import number, unlike
from ..core import Expectations, exercise
from .shared import Recorded, expect_number, first_match


class _Probe(nn.Module):
    """A network whose scores are its input, and which notes how it, or a copy of it, is called."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.parts = nn.Sequential(nn.BatchNorm2d(4), nn.Dropout())
        self.sizes, self.modes, self.recording = Recorded(), Recorded(), Recorded()

    def states(self) -> list[bool]:
        """Return of each part, itself among them, whether it is in training mode."""
        return [module.training for module in self.modules()]

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        self.modes.append(any(self.states()))
        self.recording.append(torch.is_grad_enabled())
        scores = self.weight * x.flatten(1)
        return scores.roll(1, dims=1) if any(self.states()) else scores


@exercise(
    "error_percent", chapter=8, number=5, title="Measure the error",
    difficulty=3, importance=5, minutes=15, points=3,
    solution="resnet_tutorial.solutions.chapter08:error_percent",
)
def check_error_percent(measure: Any, expect: Expectations) -> None:
    """A network that notes how it is called, on 23 images in batches of 10."""
    labels = torch.randint(4, (23,))
    answers = labels.clone()
    wrong = torch.tensor([3, 12, 17, 20, 21, 22])  # one, two and three in the three batches
    answers[wrong] = (labels[wrong] + 1) % 4
    images = F.one_hot(answers, 4).float()[:, :, None, None] + 0.1 * torch.rand(23, 4, 1, 1)
    model = _Probe().train()
    error = measure(model, images, labels, 10)
    recording = torch.is_grad_enabled()
    torch.set_grad_enabled(True)
    if not expect_number(expect, error, "error_percent", "Return one number for all images together."):
        return
    if not expect(
        bool(model.modes), "network-unused", "The network was never called.",
        hint="Call model(...) on slices of the images.",
    ):
        return
    if not expect(
        not any(model.modes), "train-mode", "The network was in training mode while it was measured.",
        hint="Call model.eval() before the loop: batch norm then uses its running statistics.",
    ):
        return
    expect(
        recording, "gradients-left-off", "After the call PyTorch records no gradients any more, whoever computes.",
        hint="with torch.no_grad(): ends by itself; torch.set_grad_enabled(False) stays.",
    )
    expect(
        not any(model.recording), "gradients-recorded",
        "The network computed with gradients recorded, which costs memory and time.",
        hint="Put the loop under torch.no_grad().",
    )
    expect(
        max(model.sizes) <= 10, "batch-too-large",
        f"The network got {max(model.sizes)} images at a time; batch_size was 10.",
        hint="Slice: images[start : start + batch_size].",
    )
    if not expect(
        sum(model.sizes) == 23, "images-missed",
        f"Of 23 images the network saw {sum(model.sizes)}, in batches of {model.sizes}.",
        hint="range(0, len(images), batch_size) takes the short last batch along.",
    ):
        return
    right = 600 / 23
    known = {
        "batches-equal": 100 * (1 / 10 + 2 / 10 + 3 / 3) / 3, "share-not-percent": right / 100,
        "accuracy": 100 - right, "count-not-percent": 6.0, "full-batches-assumed": 100 * 6 / 30,
    }  # fmt: skip
    hints = {
        "batches-equal": "The last batch has 3 images and counted as much as one of 10: add up the wrong "
                         "images, and divide once.",
        "share-not-percent": "Multiply by 100.", "accuracy": "Count the wrong images, not the right ones.",
        "full-batches-assumed": "Divide by the number of images, not of batches times batch_size.",
    }  # fmt: skip
    value = cast(float, number(error))
    code = first_match(value, known, "wrong-value")
    if code == "wrong-value" and abs(value - right) <= 0.5:
        code, hints["rounded"] = "rounded", "Return the number as it is; whoever prints it rounds."
    seen, wanted = unlike(value, right)
    expect(
        math.isclose(value, right, rel_tol=1e-5), code,
        f"6 of 23 images are wrong, {wanted} %; the answer was {seen}.",
        hint=hints.get(code, "Count the wrong images over all batches, and divide by len(images)."),
    )
    if not _mode_is_restored(expect, model, True):
        return
    model.eval()
    measure(model, images, labels, 23)
    if not _mode_is_restored(expect, model, False):
        return
    many = torch.zeros(1001, 4, 1, 1)
    model.sizes.clear()
    measure(model, many, torch.zeros(1001, dtype=torch.long))
    largest = max(model.sizes, default=0)
    expect(
        largest <= 500, "wrong-default", f"Called without a batch_size it hands over {largest} images at a time.",
        hint="def error_percent(model, images, labels, batch_size=500)",
    )
    expect(
        sum(model.sizes) == 1001, "images-missed",
        f"Of 1001 images the network saw {sum(model.sizes)}, in batches of {model.sizes}.",
        hint="range(0, len(images), batch_size) takes a last batch of one image along.",
    )


def _mode_is_restored(expect: Expectations, model: _Probe, training: bool) -> bool:
    was, other = ("training", "eval") if training else ("eval", "training")
    odd = sum(state != training for state in model.states())
    if odd and model.training == training:
        return expect(
            False, "mode-not-restored",
            f"The network came in {was} mode; it says so again, but {odd} of its parts were left in {other} mode.",
            hint="model.train(was_training) sets the parts too; model.training = … does not.",
        )
    return expect(
        not odd, "mode-not-restored", f"The network came in {was} mode and was left in {other} mode.",
        hint="Remember model.training before model.eval(), and hand it to model.train(...) at the end.",
    )
