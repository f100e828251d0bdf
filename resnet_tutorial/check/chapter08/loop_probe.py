"""What exercise 8.6 hands to a learner's loop: images, a network and an optimiser that write down what is done.

Each image carries its number in its first channel, how often it was augmented in the second, and in which call of
``augment`` in the third.
So the network can tell of everything that it is shown what it is, and how it came.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES = 5
OWN_RATE = 0.1  # the learning rate with which the optimiser comes
_FIRST_VAL = 1024  # the number of the first validation image
_GRAIN = 2048  # numbers stand in the pixels as fractions of this, which float32 holds exactly


def learning_rate(step: float) -> float:
    """Return the rate of a step: another one for each, and none of them `OWN_RATE`."""
    return 0.05 / (1 + 0.3 * step)


@dataclass
class Setting:
    """What one run is made with, and what should come of it.

    Attributes:
        count, val_count: number of training and of validation images.
        batch, epochs: what the loop is told.
        wrong: how many validation images the network gets wrong before the run and after each epoch.
    """

    count: int
    val_count: int
    batch: int
    epochs: int
    wrong: tuple[int, ...]
    training: bool  # the mode in which the network comes

    def __post_init__(self) -> None:
        self.images, self.labels = _numbered(0, self.count)
        self.val_images, self.val_labels = _numbered(_FIRST_VAL, self.val_count)
        self.per_epoch = math.ceil(self.count / self.batch)  # steps
        self.steps = self.epochs * self.per_epoch

    def wrong_after(self, step: int) -> int:
        """Return how many validation images are wrong after so many steps, in the midst of an epoch too."""
        epoch, within = divmod(step, self.per_epoch)
        if within or epoch >= len(self.wrong):
            return (3 + 5 * step) % self.val_count
        return self.wrong[epoch]

    def answers(self, numbers: Tensor, times: Tensor, step: int) -> Tensor:
        """Return scores (N, classes) for images; of the validation images the last ones are wrong."""
        from_the_end = _FIRST_VAL + self.val_count - numbers
        wrong = torch.where(numbers >= _FIRST_VAL, from_the_end <= self.wrong_after(step), numbers % 4 == 0)
        shift = torch.where(times > 0, 2, wrong.long())
        return 3 * F.one_hot((self.label_of(numbers) + shift) % CLASSES, CLASSES).float()

    def label_of(self, numbers: Tensor) -> Tensor:
        """Return the labels of training and validation images, by their numbers."""
        at_val = self.val_labels[(numbers - _FIRST_VAL).clamp(0, self.val_count - 1)]
        return torch.where(numbers >= _FIRST_VAL, at_val, self.labels[numbers.clamp(0, self.count - 1)])


def _numbered(first: int, count: int) -> tuple[Tensor, Tensor]:
    """Return images (count, 3, 2, 2) that hold their numbers, and labels in a random order."""
    images = torch.zeros(count, 3, 2, 2)
    images[:, 0] = (torch.arange(first, first + count) / _GRAIN)[:, None, None]
    return images, torch.arange(count)[torch.randperm(count)] % CLASSES


@dataclass
class Look:
    """One call of the network.

    Attributes:
        numbers, times, versions: of each image which one it is, how often augmented, and in which call.
        known: whether all of them are images that were handed over, augmented or not.
        modes: of each part of the network whether it was in training mode.
        recording: whether gradients were recorded.
        step: how many steps had been taken.
        features, scores: what went into the last layer, and what the call gave.
        pull: the loss's gradient at the scores; None if no loss was sent backwards.
    """

    numbers: Tensor
    times: Tensor
    versions: Tensor
    known: bool
    modes: list[bool]
    recording: bool
    step: int
    features: Tensor
    scores: Tensor
    pull: Tensor | None = None

    @property
    def val(self) -> Tensor:
        """Which of the images are validation images."""
        return self.numbers >= _FIRST_VAL

    def gradients(self) -> list[Tensor]:
        """Return the gradients of the last layer's weight and bias that belong to this call alone."""
        assert self.pull is not None
        return [self.pull.T @ self.features, self.pull.sum(0)]


@dataclass
class Step:
    """One step of the optimiser: each group's rate, the gradients, and how many losses had been sent backwards."""

    rates: list[float]
    gradients: list[Tensor | None]
    backwards: int
    weights: list[Tensor]


@dataclass
class Log:
    """All that is written down in a run; copies of the network write into the same one."""

    looks: list[Look] = field(default_factory=list)
    trained: list[Look] = field(default_factory=list)  # those whose loss was sent backwards, in this order
    steps: list[Step] = field(default_factory=list)
    asked: list[float] = field(default_factory=list)  # for the rate of these steps
    augmented: int = 0  # calls of augment

    def __deepcopy__(self, memo: Any) -> Log:
        return self

    __copy__ = __deepcopy__


class Probe(nn.Module):
    """A linear classifier that notes each call; in eval mode it gives the answers of its `Setting` instead."""

    def __init__(self, setting: Setting, log: Log) -> None:
        super().__init__()
        self.body = nn.Linear(12, CLASSES)
        self.parts = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout())  # their mode is looked at, nothing else
        self.answers, self.log = setting.answers, log

    def forward(self, x: Tensor) -> Tensor:
        features = x.flatten(1).tanh()
        scores = self.body(features)
        look = self._look(x.detach(), features.detach())
        if not self.training:  # other values, the same gradients
            scores = scores - scores.detach() + self.answers(look.numbers, look.times, look.step)
        look.scores = scores.detach()
        if scores.requires_grad:
            scores.register_hook(lambda pull: self._receive(look, pull))
        self.log.looks.append(look)
        return scores

    def _look(self, x: Tensor, features: Tensor) -> Look:
        corners = x[:, :, 0, 0]
        whole = (corners * torch.tensor([_GRAIN, 1, 1])).round()
        known = bool((x == (whole / torch.tensor([_GRAIN, 1, 1]))[:, :, None, None]).all())
        numbers, times, versions = whole.long().unbind(1)
        modes = [module.training for module in self.modules()]
        return Look(
            numbers, times, versions, known, modes, torch.is_grad_enabled(), len(self.log.steps), features, features
        )

    def _receive(self, look: Look, pull: Tensor) -> None:
        if look.pull is None:
            self.log.trained.append(look)
        look.pull = pull.detach().clone()


@dataclass
class Run:
    """One run of a learner's loop: what was written down, what was returned, and what was left behind."""

    setting: Setting
    log: Log
    result: Any
    modified: list[str]  # names of the tensors that were changed
    moved: bool  # whether the network's weights are others than at the beginning
    exchanged: bool  # whether they are others than after the last step
    recording: bool  # whether PyTorch still records gradients

    @property
    def epochs(self) -> list[list[Look]]:
        """The calls that were learned from, epoch by epoch, once their number is known to be right."""
        size = self.setting.per_epoch
        return [self.log.trained[start : start + size] for start in range(0, len(self.log.trained), size)]


def run(train: Callable, setting: Setting) -> Run:
    """Let a learner's function train a new probe."""
    log = Log()
    model = Probe(setting, log).train(setting.training)
    weights = list(model.body.parameters())
    optimizer = torch.optim.SGD([{"params": [weight]} for weight in weights], lr=OWN_RATE, momentum=0.9)

    def after_step(*_: Any) -> None:
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        gradients = [None if weight.grad is None else weight.grad.clone() for weight in weights]
        log.steps.append(Step(rates, gradients, len(log.trained), [w.detach().clone() for w in weights]))

    def rate(step: int) -> float:
        log.asked.append(float(step))
        return learning_rate(float(step))

    def augment(batch: Tensor) -> Tensor:
        if batch.dim() != 4:
            raise ValueError(f"augment takes a batch (N, C, H, W); it was given {tuple(batch.shape)}.")
        log.augmented += 1
        out = batch.clone()
        out[:, 1] += 1
        out[:, 2] = log.augmented
        return out

    optimizer.register_step_post_hook(after_step)
    data = {name: getattr(setting, name) for name in ("images", "labels", "val_images", "val_labels")}
    copies = {name: tensor.clone() for name, tensor in data.items()}
    before = [weight.detach().clone() for weight in weights]
    result = train(model, optimizer, rate, augment, *data.values(), setting.epochs, setting.batch)
    recording = torch.is_grad_enabled()
    torch.set_grad_enabled(True)
    modified = [name for name, tensor in data.items() if not torch.equal(tensor, copies[name])]
    last = log.steps[-1].weights if log.steps else before
    return Run(
        setting, log, result, modified, not _alike(weights, before), not _alike(weights, last), recording,
    )  # fmt: skip


def _alike(ones: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    return all(map(torch.equal, ones, others))
