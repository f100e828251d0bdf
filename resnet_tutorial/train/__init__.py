"""Training, as chapter 8 explains it.

::

    from resnet_tutorial.train import fit

    history = fit(model, "cifar10", "fast", epochs=15, out="runs/mine", resume=True)

The same from the command line: ``python -m resnet_tutorial.train --help``.
"""

from __future__ import annotations

from resnet_tutorial.train.errors import TrainingError
from resnet_tutorial.train.evaluate import evaluate, predict
from resnet_tutorial.train.history import History
from resnet_tutorial.train.loop import fit
from resnet_tutorial.train.recipes import RECIPES, Recipe, get_recipe
from resnet_tutorial.train.record import RecordedRun, list_runs, load_run, save_run

__all__ = ["RECIPES", "History", "Recipe", "RecordedRun", "TrainingError", "evaluate", "fit",
           "get_recipe", "list_runs", "load_run", "predict", "save_run"]
