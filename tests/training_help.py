"""A network and an image set that train in a moment; shared by the tests of training."""

import torch
from torch import nn

from resnet_tutorial.data import ImageSet
from resnet_tutorial.data.shapes_set import FORMS, draw
from resnet_tutorial.train import get_recipe


def tiny_data(train: int = 240, test: int = 60) -> ImageSet:
    """Return drawings of 16 x 16."""
    train_images, train_labels = draw(train, seed=1)
    test_images, test_labels = draw(test, seed=2)
    return ImageSet("tiny", train_images[:, ::2, ::2].copy(), train_labels,
                    test_images[:, ::2, ::2].copy(), test_labels, tuple(FORMS))  # fmt: skip


def tiny_network(seed: int = 0, classes: int = 10) -> nn.Module:
    """Return a network with all that training touches: convolution, batch norm, chance."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.1), nn.Linear(32, classes))  # fmt: skip


QUICK = get_recipe("fast").but(name="quick", batch_size=24, epochs=3, average=0.9)


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Return whether two networks are equal bit by bit."""
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def curves(history) -> dict:
    """Return everything in a history that depends neither on the clock nor on where it was cut off."""
    return {k: v for k, v in history.as_dict().items() if k not in ("seconds", "compile_seconds", "sessions")}
