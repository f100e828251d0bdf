"""The container that every loader returns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images, split into a training and a test part.

    Attributes:
        name: ``"cifar10"`` or ``"shapes"``.
        train_images: uint8, shape (N, height, width, 3), RGB from 0 to 255.
        train_labels: uint8, shape (N,), numbers that index `classes`.
        test_images, test_labels: the same for the test part.
        classes: the classes' names.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: tuple[str, ...]

    def __repr__(self) -> str:
        height, width = self.train_images.shape[1:3]
        return (f"ImageSet {self.name}: {len(self.train_images):,} training and "
                f"{len(self.test_images):,} test images of {height} x {width}, "
                f"{len(self.classes)} classes")

    @cached_property
    def mean(self) -> np.ndarray:
        """Return the training images' mean colour: float64, shape (3,), on the scale 0 to 1."""
        return self._histogram @ np.arange(256) / 255

    @cached_property
    def std(self) -> np.ndarray:
        """Return the standard deviation of each colour: float64, shape (3,), scale 0 to 1."""
        squares = self._histogram @ (np.arange(256) / 255) ** 2
        return np.sqrt(squares - self.mean**2)

    @cached_property
    def mean_image(self) -> np.ndarray:
        """Return the mean of every pixel: float32, shape (height, width, 3), scale 0 to 1."""
        total = self.train_images.sum(axis=0, dtype=np.int64)
        return (total / len(self.train_images) / 255).astype(np.float32)

    @cached_property
    def _histogram(self) -> np.ndarray:
        """Return how large a share of the pixels has each value: shape (3, 256), exact."""
        # Counting 256 values needs no float copy of the images, which would take 600 MB.
        counts = [np.bincount(self.train_images[..., c].ravel(), minlength=256) for c in range(3)]
        return np.stack(counts) / counts[0].sum()
