"""Checks of chapter 6, ResNet-50 whole: one file an exercise, and what they share in :mod:`.shared`.

Importing a file registers its exercise.
"""

# In the order of the exercises.
from . import stem, make_layer, feature_map, head, resnet50, small_resnet, depth  # isort: skip

__all__ = ["stem", "make_layer", "feature_map", "head", "resnet50", "small_resnet", "depth"]
