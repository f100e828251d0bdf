"""Measuring a network on images that are not augmented."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_tutorial.data import ImageSet
from resnet_tutorial.train.augment import Pixels, measure_pixels, normalise
from resnet_tutorial.train.precision import choose_precision
from resnet_tutorial.train.recipes import Recipe, get_recipe

EVALUATION_BATCH = 500


def autocast(device: torch.device, precision: torch.dtype) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which the network computes; float32 needs none."""
    if precision == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=precision)


@torch.no_grad()
def logits_of(model: nn.Module, pixels: Pixels, precision: torch.dtype, *, mirror: bool = False) -> Tensor:
    """Return the class scores of all images, float32 of shape (N, classes).

    Args:
        model: the network, on the images' device; its train/eval mode is put back afterwards.
        pixels: the images and what normalises them.
        precision: the type for autocast.
        mirror: add the scores of the mirrored images (test-time augmentation).
    """
    was_training = model.training
    model.eval()
    try:
        scores = []
        for start in range(0, len(pixels.images), EVALUATION_BATCH):
            batch = normalise(pixels, start, start + EVALUATION_BATCH)
            with autocast(pixels.images.device, precision):
                score = model(batch).float()
                if mirror:
                    score = score + model(batch.flip(3)).float()
            scores.append(score)
        return torch.cat(scores)
    finally:
        model.train(was_training)


def loss_and_error(scores: Tensor, labels: Tensor) -> tuple[float, float]:
    """Return the mean cross-entropy, and the error in percent, of scores (N, classes)."""
    wrong = (scores.argmax(dim=1) != labels).float().mean().item()
    return F.cross_entropy(scores, labels).item(), 100 * wrong


def predict(model: nn.Module, data: ImageSet, recipe: str | Recipe = "fast", *, part: str = "test",
            mirror: bool = False, precision: str = "auto") -> Tensor:
    """Return a trained network's class scores for one part of an image set.

    Args:
        model: the network, on any device.
        data: the images; normalised as during a training with `recipe`.
        recipe: a recipe or its name.
        part: ``"test"`` or ``"train"``.
        mirror: also look at the mirrored images and add the scores; say so where you report it.
        precision: ``"auto"``, ``"float32"``, ``"bfloat16"`` or ``"float16"``.

    Returns:
        float32, (N, classes), on the CPU.

    Raises:
        ValueError: an unknown recipe, part or precision.
    """
    if part not in ("train", "test"):
        raise ValueError(f'part is "train" or "test", not {part!r}.')
    device = next(model.parameters()).device
    pixels = measure_pixels(torch.from_numpy(data.train_images).to(device), get_recipe(recipe))
    if part == "test":
        pixels = pixels.with_images(torch.from_numpy(data.test_images).to(device))
    return logits_of(model, pixels, choose_precision(device, precision), mirror=mirror).cpu()


def evaluate(model: nn.Module, data: ImageSet, recipe: str | Recipe = "fast", *,
             part: str = "test", mirror: bool = False, precision: str = "auto") -> dict[str, float]:
    """Return ``{"loss": ..., "error": ...}`` of a network on one part of an image set.

    The arguments and errors are those of `predict`; the error is in percent.
    """
    labels = data.test_labels if part == "test" else data.train_labels
    scores = predict(model, data, recipe, part=part, mirror=mirror, precision=precision)
    loss, error = loss_and_error(scores, torch.from_numpy(labels).long())
    return {"loss": loss, "error": error}
