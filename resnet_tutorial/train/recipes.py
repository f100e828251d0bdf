"""Recipes: every choice of a training run that is not the network or the data."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

SCHEDULES = ("steps", "one-cycle", "triangle")
PADDINGS = ("zero", "reflect")
MEANS = ("channel", "pixel")
OPTIMIZERS = ("sgd", "muon")
# What a choice of each type may be, and how a message calls it.
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "str": ((str,), "a word"), "int": ((int,), "a whole number"), "float": ((int, float), "a number"),
    "bool": ((bool,), "True or False")}  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """The choices of one training run.

    Attributes:
        name: what the recipe is called in records.
        batch_size: images per step.
        epochs: passes over the training images, unless `iterations` is given.
        iterations: steps in all; 0 means that `epochs` decides.
        peak_lr: the highest learning rate of the schedule.
        schedule: ``"steps"`` divides by 10 after 1/2 and 3/4 of the run;
            ``"one-cycle"`` rises in a line, then falls along half a cosine to zero;
            ``"triangle"`` falls in a line, too.
        rise: the share of the run in which those two rise.
        warmup_lr: train at this rate until the training error is below 80 %; 0 means no warm-up.
        momentum, nesterov: of SGD.
        optimizer: ``"sgd"``, or ``"muon"``, which gives the convolutions' kernels to Muon and
            leaves the rest to SGD.
        muon_lr, muon_momentum: the peak learning rate and the momentum of Muon.
        weight_decay: the L2 penalty's factor.
        decay_all: also decay biases and batch norm's weights, as the ResNet paper does.
        label_smoothing: the share of the target that is spread over all classes.
        average: per-step decay of the moving average of the weights; 0 means no average.
        pad: the largest shift of the random crop, in pixels; 0 turns cropping off.
        early_side, early_share: in the first share of the epochs, train on random windows of so
            many pixels a side instead of whole images.
        padding: what lies beyond the edge: ``"zero"`` (the mean colour) or ``"reflect"``.
        flip: mirror every second image, at random.
        mean: subtract the mean of each ``"channel"`` or of each ``"pixel"``.
        divide_by_std: divide each channel by its standard deviation.
        holdout: the share of the training images that is set aside as the validation set.
    """

    name: str
    batch_size: int = 128
    epochs: int = 15
    iterations: int = 0
    peak_lr: float = 0.2
    schedule: str = "one-cycle"
    rise: float = 0.2
    warmup_lr: float = 0.0
    momentum: float = 0.9
    nesterov: bool = True
    optimizer: str = "sgd"
    muon_lr: float = 0.08
    muon_momentum: float = 0.6
    weight_decay: float = 5e-4
    decay_all: bool = False
    label_smoothing: float = 0.0
    average: float = 0.0
    pad: int = 4
    early_side: int = 24
    early_share: float = 0.5
    padding: str = "reflect"
    flip: bool = True
    mean: str = "channel"
    divide_by_std: bool = True
    holdout: float = 0.1  # 5,000 of CIFAR-10's 50,000

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, (kinds, words) = getattr(self, field.name), _KINDS[str(field.type)]
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                raise ValueError(f"Recipe {self.name!r}: {field.name} is {words}, not {value!r}.")
        checks = {
            "batch_size must be 1 or more": self.batch_size >= 1,
            "epochs and iterations must not be negative": min(self.epochs, self.iterations) >= 0,
            "epochs or iterations must be 1 or more": self.epochs or self.iterations,
            "peak_lr must be above 0": self.peak_lr > 0,
            f"schedule must be one of {', '.join(SCHEDULES)}": self.schedule in SCHEDULES,
            "rise must be from 0 to 1": 0 <= self.rise <= 1,
            "momentum must be from 0 to below 1": 0 <= self.momentum < 1,
            "nesterov needs a momentum above 0": self.momentum > 0 or not self.nesterov,
            "label_smoothing must be from 0 to below 1": 0 <= self.label_smoothing < 1,
            "average must be from 0 to below 1": 0 <= self.average < 1,
            "pad must be from 0 to 16": 0 <= self.pad <= 16,
            f"optimizer must be one of {', '.join(OPTIMIZERS)}": self.optimizer in OPTIMIZERS,
            "muon_lr must be above 0": self.muon_lr > 0,
            "muon_momentum must be from 0 to below 1": 0 <= self.muon_momentum < 1,
            "early_side must be 4 or more": self.early_side >= 4,
            "early_share must be from 0 to 1": 0 <= self.early_share <= 1,
            f"padding must be one of {', '.join(PADDINGS)}": self.padding in PADDINGS,
            f"mean must be one of {', '.join(MEANS)}": self.mean in MEANS,
            "holdout must be from 0 to below 1": 0 <= self.holdout < 1,
        }
        for sentence, holds in checks.items():
            if not holds:
                raise ValueError(f"Recipe {self.name!r}: {sentence}.")

    def but(self, **changes) -> Recipe:
        """Return this recipe with some choices changed, for example ``FAST.but(peak_lr=0.1)``.

        Raises:
            ValueError: there is no such choice, or the value is not allowed.
        """
        known = {field.name for field in dataclasses.fields(self)}
        if unknown := sorted(set(changes) - known):
            raise ValueError(f"A recipe has no {', '.join(unknown)}; it has "
                             f"{', '.join(sorted(known))}.")
        return dataclasses.replace(self, **changes)

    def crop_side(self, epoch: int, epochs: int, side: int) -> int:
        """Return how large the crops of epoch number `epoch` (from 0) are, from images of `side`."""
        return min(self.early_side, side) if epoch < self.early_share * epochs else side

    def learning_rate(self, step: int, steps: int) -> float:
        """Return the learning rate of step number `step` (from 0) of `steps`."""
        if self.schedule == "steps":
            # 32,000 and 48,000 of the paper's 64,000 iterations.
            return self.peak_lr * (0.1 if 2 * step >= steps else 1) * (
                0.1 if 4 * step >= 3 * steps else 1)
        rising = self.rise * steps
        if step < rising:
            return self.peak_lr * (step + 1) / (math.floor(rising) + 1)
        progress = (step - rising) / (steps - rising)
        if self.schedule == "triangle":
            return self.peak_lr * (1 - progress)
        return self.peak_lr * (1 + math.cos(math.pi * progress)) / 2


FAST = Recipe("fast")
# Batch, smoothing and `muon_lr` were compared on held-out images, with runs of 12 epochs (results/choosing-muon-*);
# the shift and the first trials of the rest were not recorded.
MUON = FAST.but(name="muon", optimizer="muon", batch_size=256, epochs=22, peak_lr=0.1, schedule="triangle", rise=0.1,
                pad=2, label_smoothing=0.1)

PAPER = Recipe(
    "paper",
    iterations=64_000,
    epochs=0,
    peak_lr=0.1,
    schedule="steps",
    nesterov=False,
    weight_decay=1e-4,
    decay_all=True,
    early_share=0.0,
    padding="zero",
    mean="pixel",
    divide_by_std=False,
)
# The paper's extra for 110 layers: start at 0.01, or training may not get going at all.
PAPER_110 = PAPER.but(name="paper-110", warmup_lr=0.01)

RECIPES = {recipe.name: recipe for recipe in (FAST, MUON, PAPER, PAPER_110)}


def get_recipe(recipe: str | Recipe) -> Recipe:
    """Return the recipe of that name; a `Recipe` is returned as it is.

    Raises:
        ValueError: there is no recipe of that name.
    """
    if isinstance(recipe, Recipe):
        return recipe
    if recipe not in RECIPES:
        raise ValueError(f"There is no recipe {recipe!r}; choose one of {', '.join(RECIPES)}.")
    return RECIPES[recipe]
