"""A moving average of the weights, which is often better than the last weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn


class WeightAverage:
    """The exponential moving average of everything in a model's state dict.

    Batch norm's running statistics are averaged too, so that they fit the averaged weights.

    Args:
        model: the network; its present values are where the average starts.
        decay: the share of the old average that each update keeps, for example 0.998.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average a little towards the model's present values."""
        average, present = [], []
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                average.append(self.values[name])
                present.append(value)
            else:
                self.values[name].copy_(value)  # a counter has no average
        torch._foreach_lerp_(average, present, 1 - self.decay)

    @contextlib.contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Give the model the averaged weights inside the block, and its own back afterwards."""
        own = {name: value.detach().clone() for name, value in model.state_dict().items()}
        model.load_state_dict(self.values)
        try:
            yield
        finally:
            model.load_state_dict(own)

    def load(self, values: dict[str, Tensor]) -> None:
        """Continue from the values of a checkpoint."""
        for name, value in values.items():
            self.values[name].copy_(value)
