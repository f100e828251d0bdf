"""Solutions of chapter 8, training: the pieces of a training loop."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def random_crops(padded: Tensor, size: int) -> Tensor:
    """Cut a square window out of every image, each at a random place of its own.

    Args:
        padded: images, shape (N, C, H, W), of any type.
        size: side of the windows, at most H and W.

    Returns:
        the windows, shape (N, C, size, size), of the same type.
    """
    count, _, height, width = padded.shape
    device = padded.device
    top = torch.randint(height - size + 1, (count, 1), device=device)
    left = torch.randint(width - size + 1, (count, 1), device=device)
    steps = torch.arange(size, device=device)
    rows = (top + steps)[:, None, :, None]  # (N, 1, size, 1)
    columns = (left + steps)[:, None, None, :]  # (N, 1, 1, size)
    image = torch.arange(count, device=device)[:, None, None, None]
    channel = torch.arange(padded.shape[1], device=device)[:, None, None]
    return padded[image, channel, rows, columns]  # the four indices broadcast


def smoothed_cross_entropy(
    scores: Tensor, labels: Tensor, smoothing: float = 0.1
) -> Tensor:
    """Return the mean cross-entropy; a share of each target is spread evenly.

    Args:
        scores: the network's logits, shape (N, classes).
        labels: class numbers, shape (N,).
        smoothing: the share; 0 gives the ordinary cross-entropy.
    """
    log_probabilities = F.log_softmax(scores, dim=1)  # (N, classes)
    at_label = log_probabilities.gather(1, labels[:, None]).squeeze(1)  # (N,)
    everywhere = log_probabilities.mean(dim=1)  # (N,)
    return -((1 - smoothing) * at_label + smoothing * everywhere).mean()


def one_cycle(step: int, steps: int, rising: int, peak: float) -> float:
    """Return the learning rate of step number `step` (from 0) of `steps`.

    It rises in a straight line over the first `rising` steps, is at `peak` in step
    number `rising`, and falls from there along half a cosine.
    """
    if step < rising:
        return peak * (step + 1) / (rising + 1)
    progress = (step - rising) / (steps - rising)
    return peak * (1 + math.cos(math.pi * progress)) / 2


def train_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor
) -> float:
    """Take one step of gradient descent on a batch, and return its mean loss."""
    model.train()
    loss = F.cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def error_percent(
    model: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 500
) -> float:
    """Return how many per cent of the images the network classifies wrongly.

    The network sees at most `batch_size` images at a time, and is afterwards in the
    mode, train or eval, in which it came.
    """
    was_training = model.training
    model.eval()
    wrong = 0
    with torch.no_grad():
        for start in range(0, len(images), batch_size):
            scores = model(images[start : start + batch_size])
            wrong += (scores.argmax(dim=1) != labels[start : start + batch_size]).sum().item()
    model.train(was_training)
    return 100 * wrong / len(images)


def train_epochs(
    model: nn.Module, optimizer: torch.optim.Optimizer,
    rate: Callable[[int], float], augment: Callable[[Tensor], Tensor],
    images: Tensor, labels: Tensor, val_images: Tensor, val_labels: Tensor,
    epochs: int, batch_size: int,
) -> list[float]:
    """Train for several epochs, and measure after each.

    Args:
        rate: gives the learning rate of a step; the run's steps are numbered from 0.
        augment: gives an augmented version of a batch, another one each time.
        images, labels: to train on, shapes (N, C, H, W) and (N,), normalised.
        val_images, val_labels: to measure on.

    Returns:
        the error on `val_images` after each epoch, in per cent.
    """  # fmt: skip
    errors: list[float] = []
    step = 0
    for _ in range(epochs):
        for chosen in torch.randperm(len(images)).split(batch_size):
            for group in optimizer.param_groups:
                group["lr"] = rate(step)
            train_step(model, optimizer, augment(images[chosen]), labels[chosen])
            step += 1
        errors.append(error_percent(model, val_images, val_labels))
    return errors


class Checkpoint:
    """A file from which a run goes on as if it had never stopped."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def save(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, step: int
    ) -> None:
        """Write everything that the next step depends on.

        Whatever happens meanwhile, a whole checkpoint lies at ``path``:
        this one or the last.
        """
        state = {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "random": torch.get_rng_state(),
        }
        fresh = self.path.with_name(self.path.name + ".new")
        torch.save(state, fresh)
        os.replace(fresh, self.path)  # takes the other's place all at once, or not at all

    def load(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
        """Put everything back; return how many steps had been taken."""
        state = torch.load(self.path, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        return state["step"]
