"""`shapes`: ten classes of 32 x 32 drawings, made by a few lines of numpy in about a second.

The set stands in for CIFAR-10 where there is neither a file nor a network. Colours, positions,
sizes, tilt, background and noise are random, so that a network has to learn the form. No class is
the mirror image of another, so random horizontal flips are allowed.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from resnet_tutorial.data.image_set import ImageSet

SIDE = 32
TRAIN, TEST = 5000, 1000


def _box(u: np.ndarray, v: np.ndarray, half_width: float, half_height: float) -> np.ndarray:
    """Return how far outside an upright box each point lies (negative inside)."""
    return np.maximum(np.abs(u) - half_width, np.abs(v) - half_height)


def _bands(t: np.ndarray) -> np.ndarray:
    """Return a wave that is below zero on every second band of width 0.5."""
    return 0.25 * np.cos(2 * np.pi * t)


# Each form maps points (u, v), measured in units of the drawing's radius from its centre, to a
# distance: below zero is inside. v points down, as rows do.
FORMS = {
    "disc": lambda u, v: np.hypot(u, v) - 0.85,
    "ring": lambda u, v: np.abs(np.hypot(u, v) - 0.7) - 0.2,
    "square": lambda u, v: _box(u, v, 0.75, 0.75),
    "frame": lambda u, v: np.abs(_box(u, v, 0.65, 0.65)) - 0.18,
    "diamond": lambda u, v: (np.abs(u) + np.abs(v) - 1.0) / np.sqrt(2),
    "triangle": lambda u, v: np.maximum(v - 0.7, (2 * np.abs(u) - v - 0.9) / np.sqrt(5)),
    "plus": lambda u, v: np.minimum(_box(u, v, 0.24, 0.95), _box(u, v, 0.95, 0.24)),
    "bars": lambda u, v: np.maximum(_bands(v), _box(u, v, 0.95, 0.95)),
    "posts": lambda u, v: np.maximum(_bands(u), _box(u, v, 0.95, 0.95)),
    "checks": lambda u, v: np.maximum(
        -np.sign(_bands(u) * _bands(v)) * np.minimum(np.abs(_bands(u)), np.abs(_bands(v))),
        _box(u, v, 0.95, 0.95)),
}


@lru_cache(maxsize=1)
def load() -> ImageSet:
    """Return the set: 5,000 training and 1,000 test images, the same on every call."""
    train_images, train_labels = draw(TRAIN, seed=1)
    test_images, test_labels = draw(TEST, seed=2)
    return ImageSet("shapes", train_images, train_labels, test_images, test_labels, tuple(FORMS))


def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `count` drawings, as many of each class, in random order.

    Returns:
        images: uint8, shape (count, 32, 32, 3).
        labels: uint8, shape (count,).
    """
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(count) % len(FORMS)).astype(np.uint8)
    u, v, scale = _points(count, random)
    distance = np.empty_like(u)
    for label, form in enumerate(FORMS.values()):
        chosen = labels == label
        distance[chosen] = form(u[chosen], v[chosen])
    # A pixel that the outline crosses gets a mixture, as in a photograph.
    cover = np.clip(0.5 - distance * scale, 0, 1)[..., None]
    paper, ink = _colours(count, random)
    picture = _backgrounds(paper, random) * (1 - cover) + ink * cover
    picture += random.uniform(-0.2, 0.2, picture.shape).astype(np.float32)
    return np.clip(np.rint(picture * 255), 0, 255).astype(np.uint8), labels


def _points(count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each pixel's place in its drawing's own tilted frame, and the drawing's radius."""
    radius = random.uniform(6, 12, (count, 1, 1)).astype(np.float32)
    centre = random.uniform(-5, 5, (2, count, 1, 1)).astype(np.float32)
    tilt = random.uniform(-0.25, 0.25, (count, 1, 1)).astype(np.float32)
    steps = np.arange(SIDE, dtype=np.float32) - (SIDE - 1) / 2
    x, y = steps[None, None, :] - centre[0], steps[None, :, None] - centre[1]
    u = (x * np.cos(tilt) + y * np.sin(tilt)) / radius
    v = (y * np.cos(tilt) - x * np.sin(tilt)) / radius
    return u, v, radius


def _colours(count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return two colours for each drawing that differ enough to be told apart, (count, 1, 1, 3)."""
    paper = random.uniform(0.1, 0.9, (count, 1, 1, 3)).astype(np.float32)
    shift = random.uniform(0.2, 0.6, (count, 1, 1, 3)).astype(np.float32)
    return paper, np.where(paper > 0.5, paper - shift, paper + shift)


def _backgrounds(paper: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return backgrounds that change colour across the image, (count, 32, 32, 3)."""
    slope = random.uniform(-0.2, 0.2, (2, *paper.shape)).astype(np.float32)
    ramp = np.linspace(-1, 1, SIDE, dtype=np.float32)
    return paper + slope[0] * ramp[None, None, :, None] + slope[1] * ramp[None, :, None, None]
