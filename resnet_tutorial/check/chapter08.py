"""Checks of chapter 8, training on CIFAR-10."""

from __future__ import annotations

import math
import os
import pickle
import sys
import tempfile
from contextlib import suppress
from copy import deepcopy
from functools import partial
from numbers import Integral
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..solutions.chapter08 import one_cycle, smoothed_cross_entropy
from .common import described, number, unlike
from .core import Expectations, exercise


def _shape(value) -> str:
    return " x ".join(map(str, value.shape)) if isinstance(value, Tensor) else type(value).__name__


def _expect_number(expect: Expectations, value, name: str, hint: str) -> bool:
    return expect(
        number(value) is not None, "wrong-type", f"{name} gave {described(value)}, not one number.", hint=hint
    )


def _first_match(value: float, known: dict[str, float], default: str) -> str:
    """Return the code of the known wrong value that was met."""
    for code, wrong in known.items():
        if math.isclose(value, wrong, rel_tol=1e-6, abs_tol=1e-9):
            return code
    return default


# --- 8.1


def _map_images(count: int, channels: int, height: int, width: int) -> Tensor:
    """Return images whose every pixel has a number of its own, which says where it comes from."""
    return torch.arange(count * channels * height * width).reshape(count, channels, height, width)


@exercise(
    "random_crops", chapter=8, number=1, title="Crop every image somewhere else",
    difficulty=3, importance=4, minutes=20, points=3,
    solution="resnet_tutorial.solutions.chapter08:random_crops",
)
def check_random_crops(crop, expect):
    """Images whose pixels say where they come from: each result is a window, at its own place."""
    count, height, width, size = 240, 12, 14, 8
    padded = _map_images(count, 3, height, width)
    before = padded.clone()
    crops = crop(padded, size)
    if not expect(
        isinstance(crops, Tensor) and tuple(crops.shape) == (count, 3, size, size), "wrong-shape",
        f"{_shape(padded)} became {_shape(crops) if isinstance(crops, Tensor) else described(crops)}, "
        f"not {count} x 3 x {size} x {size}.",
        hint="One window for each image, all channels, rows and columns in the last two places.",
    ):
        return
    if not expect(
        torch.equal(padded, before), "input-modified", "The images handed in have been changed.",
        hint="Index into them; assign nothing to them.",
    ):
        return
    if not expect(
        crops.dtype == padded.dtype, "wrong-dtype",
        f"Images of type {padded.dtype} came back as {crops.dtype}.",
        hint="Picking pixels needs no arithmetic on them: the type stays.",
    ):
        return
    columns, rows = crops % width, crops // width % height
    channels, number_ = crops // (width * height) % 3, crops // (3 * width * height)
    if not expect(
        bool((number_ == torch.arange(count)[:, None, None, None]).all()), "images-mixed",
        "A window holds pixels of another image than the one at its place.",
        hint="Index the images with arange(N), shaped so that it broadcasts against rows and columns.",
    ):
        return
    if not expect(
        bool((channels == torch.arange(3)[:, None, None]).all()), "channels-mixed",
        "A channel of a window holds pixels of another channel.",
        hint="Keep all channels in their order: index them with arange(C), or leave their axis alone.",
    ):
        return
    corners = rows[:, :, 0, 0], columns[:, :, 0, 0]  # (N, 3)
    steps = torch.arange(size)
    windows = (rows == corners[0][:, :, None, None] + steps[:, None]).all() and (
        columns == corners[1][:, :, None, None] + steps
    ).all()
    if not expect(
        bool(windows), "not-a-window",
        f"A result is no window of its image: its first row comes from rows "
        f"{rows[0, 0, 0].tolist()} and columns {columns[0, 0, 0].tolist()}.",
        hint="Rows run down and columns across: rows get shape (N, 1, size, 1), columns (N, 1, 1, size).",
    ):
        return
    apart = [(c != c[:, :1]).any(1) for c in corners]
    if not expect(
        not (apart[0] | apart[1]).any(), "crop-per-channel",
        f"In {int((apart[0] | apart[1]).sum())} of {count} images the three channels are cut at different places.",
        hint="One offset for each image, the same for all its channels: draw (N, 1), not (N, C).",
    ):
        return
    tops, lefts = corners[0][:, 0], corners[1][:, 0]
    # One window for the whole batch falls on the same place twice in a row once in 35 calls.
    # Six calls in a row that agree are no chance.
    if not expect(
        any(not torch.equal(crop(padded, size), crops) for _ in range(5)),
        "not-random", "Six calls gave the same windows.",
        hint="Draw the offsets anew in each call, and set no seed in the function.",
    ):
        return
    if not expect(
        len(tops.unique()) > 1 or len(lefts.unique()) > 1, "same-crop-for-all",
        f"All {count} windows begin at row {tops[0].item()} and column {lefts[0].item()}.",
        hint="Draw N offsets, torch.randint(..., (N, 1)), where one was drawn.",
    ):
        return
    if not expect(
        len((tops - lefts).unique()) > 1, "same-shift-both-ways",
        "Every window is shifted by the same number of rows and columns.",
        hint="Draw rows and columns separately.",
    ):
        return
    for starts, places, word in ((tops, height - size + 1, "rows"), (lefts, width - size + 1, "columns")):
        seen = starts.unique().tolist()
        if not expect(
            seen == list(range(places)), "offset-range",
            f"Windows of {size} can begin at {places} {word}, 0 to {places - 1}; yours begin at {seen}.",
            hint="There are H - size + 1 places, and torch.randint leaves its upper bound out.",
        ):
            return
    if not _places_are_equally_likely(crop, expect):
        return
    whole = torch.randint(256, (5, 2, size, size), dtype=torch.uint8)
    same = crop(whole, size)
    if not expect(
        isinstance(same, Tensor) and torch.equal(same, whole), "wrong-value",
        "A window as large as the image should be the image.", hint="The only offset is 0.",
    ):
        return
    expect(
        same.dtype == whole.dtype, "wrong-dtype", f"Images of type {whole.dtype} came back as {same.dtype}.",
        hint="Picking pixels needs no arithmetic on them: the type stays.",
    )


def _places_are_equally_likely(crop, expect) -> bool:
    """Count the places of 6000 windows. A right function errs by 6.5 standard deviations once in 10 million checks."""
    count, height, width, size = 6000, 8, 10, 4
    crops = crop(_map_images(count, 1, height, width), size)
    if not expect(
        isinstance(crops, Tensor) and tuple(crops.shape) == (count, 1, size, size), "wrong-shape",
        f"{count} x 1 x {height} x {width} became {_shape(crops) if isinstance(crops, Tensor) else described(crops)}, "
        f"not {count} x 1 x {size} x {size}.", hint="The number of channels may be any.",
    ):
        return False
    corners = crops[:, 0, 0, 0].long() % (height * width)
    high, wide = height - size + 1, width - size + 1
    tops, lefts = corners // width, corners % width
    if not expect(
        int(tops.max()) < high and int(lefts.max()) < wide, "not-a-window",
        f"Windows of {size} of {height} x {width} begin at row {int(tops.max())} or column {int(lefts.max())}.",
        hint=f"The last places are row {high - 1} and column {wide - 1}.",
    ):
        return False
    place = tops * wide + lefts
    counts = torch.bincount(place, minlength=high * wide).view(high, wide).double()

    def far_off(seen: Tensor) -> bool:
        share = 1 / seen.numel()
        return bool(((seen - count * share).abs() > 6.5 * (count * share * (1 - share)) ** 0.5).any())

    for seen, word in ((counts.sum(1), "row"), (counts.sum(0), "column")):
        if not expect(
            not far_off(seen), "not-uniform",
            f"Of {count} windows {', '.join(f'{n:.0f}' for n in seen.tolist())} begin at {word} "
            f"{', '.join(map(str, range(len(seen))))}; all places should be equally likely.",
            hint="torch.randint draws whole numbers evenly; round() gives the first and the last place half as often.",
        ):
            return False
    return expect(
        not far_off(counts), "rows-and-columns-tied",
        f"Every row and every column is drawn as often as it should be, but of their {counts.numel()} pairs "
        f"{int((counts == 0).sum())} never come in {count} windows and one comes {int(counts.max())} times.",
        hint="Draw rows and columns separately: one random number for both ties them together.",
    )


# --- 8.2


class _Smoothing(TorchFunctionMode):
    """Notes whether PyTorch's own label smoothing is used meanwhile."""

    used = False

    def __torch_function__(self, func, types, args=(), kwargs=None):
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
def check_smoothed_cross_entropy(loss_of, expect):
    """Values and gradients for several shares and numbers of classes, and very large scores."""
    for classes, smoothing in ((10, 0.1), (3, 0.3), (10, 0.0), (4, None)):
        arguments = () if smoothing is None else (smoothing,)
        smoothing = 0.1 if smoothing is None else smoothing
        scores = 2 * torch.randn(32, classes, dtype=torch.float64)
        labels = torch.randint(classes, (32,))
        right = smoothed_cross_entropy(scores, labels, smoothing).item()
        with _Smoothing() as watch:
            mine = loss_of(scores, labels, *arguments)
        name = f"With {classes} classes and smoothing {smoothing}"
        if not _expect_number(expect, mine, f"{name} the function", "Average over the images at the end."):
            return
        if not expect(
            not watch.used, "used-label-smoothing", "The function uses PyTorch's own label_smoothing.",
            hint="Do without: two terms, the label's log-probability and the mean over all classes.",
        ):
            return
        log_p = F.log_softmax(scores, dim=1)
        plain = -log_p[torch.arange(32), labels]
        share = smoothing / (classes - 1)
        known = {
            "no-smoothing": plain.mean().item(),
            "label-left-out": ((1 - smoothing - share) * plain - share * log_p.sum(1)).mean().item(),
            "sum-over-classes": ((1 - smoothing) * plain - smoothing * log_p.sum(1)).mean().item(),
            "shares-above-one": (plain - smoothing * log_p.mean(1)).mean().item(),
            "sum-over-images": 32 * right,
            "wrong-sign": -right,
            "softmax-missing": -((1 - smoothing) * scores[torch.arange(32), labels]
                                 + smoothing * scores.mean(1)).mean().item(),
        }  # fmt: skip
        hints = {
            "label-left-out": "All classes share in the spread, the right one too: smoothing / classes each.",
            "sum-over-classes": "smoothing is the sum of the spread shares: each class gets smoothing / classes.",
            "shares-above-one": "The label keeps 1 - smoothing, so that the target sums to 1.",
            "sum-over-images": "Take the mean over the images.",
            "wrong-sign": "Log-probabilities are negative; the loss is minus their mean.",
            "softmax-missing": "Turn the scores into log-probabilities with F.log_softmax first.",
        }
        value = number(mine)
        seen, wanted = unlike(value, right)
        if not arguments and not expect(
            math.isclose(value, right, rel_tol=1e-6), "wrong-default",
            f"Called without a smoothing the loss is {seen}; with 0.1 it is {wanted}.",
            hint="def smoothed_cross_entropy(scores, labels, smoothing=0.1)",
        ):
            return
        if not expect(
            math.isclose(value, right, rel_tol=1e-6), _first_match(value, known, "wrong-value"),
            f"{name} the loss is {seen}, not {wanted}.",
            hint=hints.get(_first_match(value, known, ""), "Weigh two terms: the label's "
                           "log-probability, and the mean over all classes."),
        ):  # fmt: skip
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
    (mine,) = torch.autograd.grad(loss, scores, allow_unused=True)
    right = torch.autograd.grad(smoothed_cross_entropy(scores, labels, 0.1), scores)[0]
    if not expect(
        mine is not None, "no-gradient", "The loss does not depend on the scores any more.",
        hint="Stay with tensors; .item() and .detach() cut the loss off.",
    ):
        return
    expect(
        torch.allclose(mine, right, atol=1e-9), "wrong-gradient",
        f"The gradient is off by up to {(mine - right).abs().max().item():.2g}.",
        hint="No part of the loss may be detached.",
    )
    scores, labels = torch.tensor([[200.0, 0.0, -200.0], [-700.0, 0.0, 400.0]]), torch.tensor([1, 0])
    large, right = loss_of(scores, labels, 0.1), smoothed_cross_entropy(scores, labels, 0.1).item()
    name = "For scores of 200, 0, -200 and of -700, 0, 400"
    if not _expect_number(expect, large, f"{name} the function", "Average over the images at the end."):
        return
    large = number(large)
    if expect(
        math.isfinite(large), "overflow", f"{name} the loss is {large}.",
        hint="F.log_softmax is safe where log(softmax(...)) takes the logarithm of zero.",
    ):
        seen, wanted = unlike(large, right)
        expect(
            math.isclose(large, right, rel_tol=1e-5), "large-scores", f"{name} the loss is {seen}, not {wanted}.",
            hint="Cut no scores off and add nothing inside the logarithm: F.log_softmax is safe as it is.",
        )


# --- 8.3


@exercise(
    "one_cycle", chapter=8, number=3, title="The one-cycle learning rate",
    difficulty=2, importance=4, minutes=12, points=2,
    solution="resnet_tutorial.solutions.chapter08:one_cycle",
)
def check_one_cycle(rate, expect):
    """Every step of several schedules: the start, the peak, the fall, and the two extremes."""
    for steps, rising, peak in ((100, 20, 0.2), (37, 6, 1.5), (12, 0, 0.1), (10, 9, 0.3)):
        name = f"one_cycle(step, {steps}, {rising}, {peak})"
        answers = [rate(step, steps, rising, peak) for step in range(steps)]
        rates = [number(answer) for answer in answers]
        odd = rates.index(None) if None in rates else 0
        call = f"one_cycle({odd}, {steps}, {rising}, {peak})"
        if not _expect_number(expect, answers[odd], call, "Return one number for every step, in both cases."):
            return
        # float32, and the small difference 1 + cos near the end, leave a few units of the seventh digit.
        close = partial(math.isclose, rel_tol=1e-5, abs_tol=1e-6 * peak)
        right = [one_cycle(step, steps, rising, peak) for step in range(steps)]
        if not expect(
            rising == 0 or rates[0] != 0, "starts-at-zero",
            f"{name} is 0 at step 0: the first step would be lost.",
            hint="Count from step + 1.",
        ):
            return
        seen, wanted = unlike(rates[rising], peak)
        if not expect(
            close(rates[rising], peak), "peak-missed",
            f"{name} is {seen} at step {rising}, not {wanted}.",
            hint="At step == rising the cosine begins: its progress is 0 there.",
        ):
            return
        wrong = [s for s in range(steps) if not close(rates[s], right[s])]
        step = wrong[0] if wrong else 0
        code, hint = "wrong-rise", "A straight line through `rising` steps that meets the peak in the next one."
        if step >= rising:
            code, hint = "wrong-fall", "progress runs from 0 at the peak towards 1 at the end; cos takes radians."
            line = peak * (steps - step) / (steps - rising)
            if close(rates[step], line):
                code, hint = "falls-in-a-line", "Use (1 + cos(pi * progress)) / 2 in place of 1 - progress."
        seen, wanted = unlike(rates[step], right[step])
        if not expect(
            not wrong, code, f"{name} is {seen} at step {step}, not {wanted}.", hint=hint,
        ):
            return


# --- 8.4


def _small_network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5)
    ).double()


def _reference_step(model, optimizer, images, labels, *, accumulate=False, twice=False, reduction="mean"):
    """One right step, or one with a known fault."""
    model.train()
    scores = model(images)
    loss = F.cross_entropy(scores.softmax(1) if twice else scores, labels, reduction=reduction)
    if not accumulate:
        optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def _after(model: nn.Module, batches, *, stale=None, momentum=0.9, **fault) -> list[Tensor]:
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


def _same(mine, theirs) -> bool:
    return all(torch.allclose(a, b, atol=1e-10) for a, b in zip(mine, theirs, strict=True))


@exercise(
    "train_step", chapter=8, number=4, title="One training step",
    difficulty=2, importance=5, minutes=12, points=2,
    solution="resnet_tutorial.solutions.chapter08:train_step", trains=True,
)
def check_train_step(step, expect):
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
    if not _expect_number(expect, loss, "train_step", "Return the loss as a number: loss.item()."):
        return
    expect(
        not (isinstance(loss, Tensor) and loss.requires_grad), "loss-keeps-graph",
        "The returned loss still holds its graph: a list of such losses fills the memory.",
        hint="Return loss.item(), or loss.detach().",
    )
    if not expect(
        not torch.equal(model[1].running_mean, start[1].running_mean), "eval-mode",
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
    value = number(loss)
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


# --- 8.5


class _Notes(list):
    """What is noted of a network and of its copies, in one list."""

    def __deepcopy__(self, memo) -> _Notes:
        return self

    __copy__ = __deepcopy__


class _Probe(nn.Module):
    """A network whose scores are its input, and which notes how it, or a copy of it, is called."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.parts = nn.Sequential(nn.BatchNorm2d(4), nn.Dropout())
        self.sizes, self.modes, self.recording = _Notes(), _Notes(), _Notes()

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
def check_error_percent(measure, expect):
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
    if not _expect_number(expect, error, "error_percent", "Return one number for all images together."):
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
    value = number(error)
    code = _first_match(value, known, "wrong-value")
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


def _mode_is_restored(expect, model: _Probe, training: bool) -> bool:
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


# --- 8.6


class _Dropping(nn.Module):
    """A small network whose next step depends on weights, running statistics and random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class _Foreign:
    """What a stranger may put into a file: loading it without care runs its code."""

    ran = False

    def __reduce__(self):
        return _mark, ()


def _mark() -> None:
    _Foreign.ran = True


def _advance(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        loss = F.cross_entropy(model(torch.randn(16, 6)), torch.randint(3, (16,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _born(kind: str) -> tuple[nn.Module, torch.optim.Optimizer]:
    model = _Dropping()
    if kind == "SGD":
        return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return model, torch.optim.AdamW(model.parameters(), lr=0.01)


def _numbers(state) -> list[Tensor]:
    """Return the tensors and numbers of nested dictionaries and lists, in order."""
    if isinstance(state, Tensor):
        return [state.detach().clone()]
    if isinstance(state, dict):
        return [t for key in sorted(state, key=str) for t in _numbers(state[key])]
    if isinstance(state, list | tuple):
        return [t for one in state for t in _numbers(one)]
    return [torch.tensor(float(state))] if isinstance(state, int | float) else []


def _alike(one, other) -> bool:
    pairs = _numbers(one), _numbers(other)
    return len(pairs[0]) == len(pairs[1]) and all(map(torch.equal, *pairs))


@exercise(
    "checkpoint", chapter=8, number=6, title="A checkpoint",
    difficulty=3, importance=4, minutes=15, points=3, trains=True,
    solution="resnet_tutorial.solutions.chapter08:Checkpoint", given=("__init__",),
)
def check_checkpoint(Checkpoint, expect):
    """Save, go on, come back: everything as it was; then a full disk, and a stranger's file."""
    with tempfile.TemporaryDirectory() as folder:
        for number, kind in enumerate(("SGD", "AdamW")):
            path = Path(folder) / f"run{number}.pt"
            if not _comes_back(Checkpoint, path, kind, expect):
                return
        if _survives_a_full_disk(Checkpoint, path, expect) and _replaces_at_once(Checkpoint, path, expect):
            _refuses_a_stranger(Checkpoint, Path(folder) / "stranger.pt", expect)


def _comes_back(Checkpoint, path: Path, kind: str, expect) -> bool:
    model, optimizer = _born(kind)
    _advance(model, optimizer, 3)
    before = [t.clone() for t in _numbers(model.state_dict())]
    random = torch.get_rng_state()
    Checkpoint(path).save(model, optimizer, 3)
    if not expect(
        path.is_file() and path.stat().st_size > 0, "nothing-saved",
        f"After save there is no file at the path, {path.name}.",
        hint="torch.save(dictionary, self.path), at the end under just this name.",
    ) or not expect(
        _alike(before, model.state_dict()) and torch.equal(random, torch.get_rng_state()), "save-changes-the-run",
        "Saving has changed the network or drawn random numbers.", hint="Read the states, change nothing.",
    ):
        return False
    at_saving = {"model": _numbers(model.state_dict()), "optimizer": _numbers(optimizer.state_dict())}
    _advance(model, optimizer, 3)
    after = _numbers(model.state_dict())

    torch.manual_seed(torch.seed() % 2**31)  # another session: other weights, other random numbers
    again, its_optimizer = _born(kind)
    its_state = [t.clone() for t in _numbers(again.state_dict())]
    step = _loaded(Checkpoint, path, again, its_optimizer, expect)
    if step is _FAILED:
        return False
    now = _numbers(again.state_dict())
    parameters = len(list(again.parameters()))
    restored = [torch.equal(a, b) for a, b in zip(now, at_saving["model"], strict=True)]
    if not expect(
        not _alike(now, its_state), "weights-not-restored", "After load the network has the weights that it came with.",
        hint="model.load_state_dict(state[...]) in load: it writes into the network that was handed over.",
    ) or not expect(
        all(restored), "buffers-not-restored" if sum(restored) >= parameters else "weights-not-restored",
        f"After load {restored.count(False)} of the network's {len(restored)} tensors are not those that were saved.",
        hint="state_dict() holds the parameters and batch norm's running statistics; parameters() only the first.",
    ) or not expect(
        _alike(its_optimizer.state_dict(), at_saving["optimizer"]), "optimizer-not-restored",
        f"The network is back, but the optimiser ({kind}) has lost what it had gathered: momentum, or averages.",
        hint="Save optimizer.state_dict() too, and load it in load.",
    ) or not expect(
        again.training, "mode-changed", "load left the network in evaluation mode.",
        hint="The mode is no part of a state dict; leave it alone.",
    ) or not expect(
        isinstance(step, Integral) and step == 3, "wrong-step",
        f"It was saved after 3 steps; load returned {step!r}.", hint="Save the number of steps, and return it.",
    ) or not expect(
        torch.equal(torch.get_rng_state(), random), "random-state-lost",
        "The random numbers after load are not those that would have come: other images, other dropout.",
        hint="torch.get_rng_state() when saving, torch.set_rng_state(...) as the last thing when loading.",
    ):
        return False
    _advance(again, its_optimizer, 3)
    return expect(
        _alike(again.state_dict(), after), "another-run",
        "Three steps after load the network is not the one that never stopped.",
        hint="Is something kept that save has not written? load has only the file.",
    )


_FAILED = object()


def _loaded(Checkpoint, path: Path, model: nn.Module, optimizer, expect):
    """Load with a new object, as another session does; say what two likely errors mean."""
    try:
        return Checkpoint(path).load(model, optimizer)
    except pickle.UnpicklingError:
        expect(
            False, "objects-in-the-file",
            "The file holds more than tensors and plain values, perhaps the whole network: weights_only=True "
            "refuses it.",
            hint="Save model.state_dict() and optimizer.state_dict(), not the objects themselves.",
        )
    except AttributeError as error:
        if "Checkpoint" not in str(error) and type(Checkpoint(path)).__name__ not in str(error):
            raise
        expect(
            False, "kept-in-memory", f"load looks for something that save has kept in self: {error}.",
            hint="load is called on a new Checkpoint, as in another session: only the file is there.",
        )
    return _FAILED


class _Seen:
    """What save does to files, as Python's audit events tell it, while ``path`` is set."""

    path: Path | None = None
    events: list[str] = []
    listens = False

    @classmethod
    def start(cls, path: Path) -> None:
        """Begin to listen; the hook itself can never be taken away again."""
        cls.path, cls.events = path, []
        if not cls.listens:
            sys.addaudithook(cls.hear)
            cls.listens = True

    @classmethod
    def hear(cls, event: str, args: tuple) -> None:
        """Note what would leave no whole checkpoint at the path for a moment."""
        if cls.path is None:
            return
        whole = str(cls.path)
        if event == "open" and str(args[0]) == whole and any(letter in str(args[1]) for letter in "wax+"):
            cls.events.append("is written into")
        elif event == "os.remove" and str(args[0]) == whole:
            cls.events.append("is deleted first")
        elif event == "shutil.copyfile" and str(args[1]) == whole:
            cls.events.append("is copied over")
        elif event == "os.rename" and str(args[1]) == whole:
            here = cls.path.resolve().parent
            if Path(os.fsdecode(args[0])).resolve().parent != here:
                cls.events.append("comes from another folder, which may be another disk")


def _replaces_at_once(Checkpoint, path: Path, expect) -> bool:
    """Save over a checkpoint and listen to what happens to it."""
    _Seen.start(path)
    try:
        Checkpoint(path).save(*_born("AdamW"), 4)
    finally:
        _Seen.path = None
    return expect(
        not _Seen.events, "not-at-once",
        f"While save works, the checkpoint at the path {', '.join(dict.fromkeys(_Seen.events))}: a session that is "
        "cut just then leaves none that is whole.",
        hint="Write to another name in the same folder, then os.replace(other_name, self.path).",
    )


def _survives_a_full_disk(Checkpoint, path: Path, expect) -> bool:
    """Let torch.save write half a file and fail, as on a full disk, over a checkpoint of step 3."""
    model, optimizer = _born("AdamW")
    original = torch.save

    def half(value, target, *args, **options):
        if hasattr(target, "write"):
            target.write(b"half a checkpoint")
        else:
            Path(target).write_bytes(b"half a checkpoint")
        raise OSError("no space left on device")

    torch.save = half
    try:
        Checkpoint(path).save(model, optimizer, 9)
    except OSError:
        pass
    finally:
        torch.save = original
    try:
        step = Checkpoint(path).load(*_born("AdamW"))
    except Exception:  # whatever a damaged file leads to
        step = None
    return expect(
        step == 3, "old-one-destroyed",
        "The check let the disk run full while a second checkpoint was being written: the first one is lost.",
        hint="Write to another name in the same folder, then os.replace(other_name, self.path).",
    )


def _refuses_a_stranger(Checkpoint, path: Path, expect) -> None:
    state = {"model": _Foreign(), "optimizer": {}, "step": 0, "random": torch.get_rng_state()}
    _Foreign.ran = False
    for write in (lambda: torch.save(state, path), lambda: path.write_bytes(pickle.dumps(state))):
        write()
        with suppress(Exception):
            Checkpoint(path).load(*_born("SGD"))
    expect(
        not _Foreign.ran, "runs-foreign-code",
        "load ran code that was hidden in the file.",
        hint="torch.load(self.path, weights_only=True) reads tensors and plain values, nothing else.",
    )
