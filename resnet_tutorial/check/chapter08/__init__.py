"""Checks of chapter 8, training on CIFAR-10: one file for each exercise."""

from . import checkpoint, crops, evaluation, schedule, smoothing, step

__all__ = ["checkpoint", "crops", "evaluation", "schedule", "smoothing", "step"]
