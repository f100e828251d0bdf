#!/usr/bin/env python3
"""Train every network of the book, and with every recipe, for a few steps, and print what went wrong.

python tools/train_all.py            # in the environment that is to be tried, such as Colab's
python tools/train_all.py --steps 5
"""

from __future__ import annotations

import argparse
import math
import time

import torch

from resnet_tutorial.data import ImageSet
from resnet_tutorial.data.shapes_set import FORMS, draw
from resnet_tutorial.train import RECIPES, History, Recipe, fit, get_recipe
from resnet_tutorial.zoo import build_model, model_names

BATCH = 8
# Muon works on the kernels themselves: it meets each kind of block, pre-activated, of three layers and grouped.
OTHER_KERNELS = ("cifar_preact_resnet20", "resnet50", "resnext50_32x4d")


def drawings(batches: int) -> ImageSet:
    """Return so many batches of drawings, and one batch to test on."""
    train, test = draw(BATCH * batches, seed=1), draw(BATCH, seed=2)
    return ImageSet("drawings", *train, *test, tuple(FORMS))


def trained(name: str, recipe: Recipe, steps: int) -> History:
    """Train a new network with a recipe's choices, for so many steps."""
    torch.manual_seed(0)
    few = recipe.but(batch_size=BATCH, epochs=0, iterations=steps, holdout=0.0)
    return fit(build_model(name, num_classes=10), drawings(steps), few, compile=False, curve_on="test", progress="none")


def main() -> int:
    """Train them one after the other; the exit status is 1 if one could not be trained."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2)
    steps = parser.parse_args().steps
    runs = [(name, "fast") for name in model_names()] + [("cifar_resnet20", recipe) for recipe in RECIPES]
    runs += [(name, "muon") for name in OTHER_KERNELS]
    failed = 0
    for name, recipe in runs:
        start = time.perf_counter()
        try:
            history = trained(name, get_recipe(recipe), steps)
            wrong = "" if math.isfinite(history.train_loss[-1]) else "the loss is not a number"
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        failed += bool(wrong)
        print(f"{name:28} {recipe:10} {time.perf_counter() - start:5.1f} s  {wrong or 'ok'}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
