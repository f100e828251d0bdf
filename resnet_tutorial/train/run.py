"""What one training run carries along."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from resnet_tutorial.train.augment import Draws, Pixels, draw_epoch
from resnet_tutorial.train.average import WeightAverage
from resnet_tutorial.train.history import History
from resnet_tutorial.train.recipes import Recipe
from resnet_tutorial.train.team import Team


@dataclass
class Images:
    """The three parts of the data on the device; `val` is empty when nothing is held out."""

    train: Pixels
    train_labels: Tensor
    val: Pixels
    val_labels: Tensor
    test: Pixels
    test_labels: Tensor


@dataclass
class Sums:
    """Running totals on the device, so that adding to them does not make it wait.

    Attributes:
        loss: float64, summed over the epoch's batches.
        wrong: int64, over the epoch's images.
        window_wrong: int64, over the images of the warm-up's present window.
        batches: in the epoch so far.
        seconds: of training in the epoch so far.
    """

    loss: Tensor
    wrong: Tensor
    window_wrong: Tensor
    batches: int = 0
    seconds: float = 0.0

    @classmethod
    def zero(cls, device: torch.device) -> Sums:
        """Return the totals of an epoch that has not begun."""
        kind = torch.float32 if device.type == "mps" else torch.float64
        return cls(torch.zeros((), dtype=kind, device=device),
                   torch.zeros((), dtype=torch.int64, device=device),
                   torch.zeros((), dtype=torch.int64, device=device))

    def next_epoch(self) -> Sums:
        """Return the totals of the epoch that follows; the window of the warm-up goes on across its border."""
        return replace(Sums.zero(self.loss.device), window_wrong=self.window_wrong)


@dataclass
class Run:
    """Everything that one training run carries along."""

    recipe: Recipe
    model: nn.Module
    forward: nn.Module  # the model, compiled or shared by several processes: the same weights
    images: Images
    optimizers: list[torch.optim.Optimizer]
    scaler: torch.amp.GradScaler
    average: WeightAverage | None
    history: History
    precision: torch.dtype
    team: Team
    seed: int
    steps: int  # in the whole run
    steps_per_epoch: int
    sums: Sums
    step: int = 0  # steps done
    warming: bool = False

    @property
    def device(self) -> torch.device:
        """Return where the images and the weights are."""
        return self.images.train.images.device

    @property
    def epochs(self) -> int:
        """Return how many epochs the whole run has; the last one may be cut short."""
        return math.ceil(self.steps / self.steps_per_epoch)

    def crop_side(self, epoch: int) -> int:
        """Return the side of the crops of epoch number `epoch` (from 0), in pixels."""
        return self.recipe.crop_side(epoch, self.epochs, self.images.train.side)

    def draw(self, epoch: int) -> Draws:
        """Return the chance of epoch number `epoch` (from 0): the order of the images, and their crops."""
        return draw_epoch(len(self.images.train_labels), self.recipe, self.seed, epoch, self.images.train.side,
                          self.crop_side(epoch), self.device)
