"""Checks of chapter 8, training on CIFAR-10: one file for each exercise, and what they share in :mod:`.shared`.

The exercise on the whole loop has four files that begin with ``loop``.
Importing a file registers its exercise.
"""

# In the order of the exercises.
from . import crops, smoothing, schedule, step, evaluation, loop, checkpoint  # isort: skip

__all__ = ["crops", "smoothing", "schedule", "step", "evaluation", "loop", "checkpoint"]
