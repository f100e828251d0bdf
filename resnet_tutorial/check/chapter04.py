"""Checks of chapter 4, the bottleneck."""

from __future__ import annotations

import torch

from .core import exercise


@exercise(
    "bottleneck", chapter=4, number=2, title="Write the Bottleneck",
    difficulty=3, importance=5, minutes=20, points=5,
    solution="resnet_tutorial.blocks:Bottleneck",
)
def check_bottleneck(Bottleneck, expect):
    """Shapes with and without a projection."""
    for in_channels, planes, stride in ((64, 16, 1), (64, 16, 2), (32, 16, 1)):
        x = torch.randn(2, in_channels, 9, 9)
        y = Bottleneck(in_channels, planes, stride)(x)
        side = (9 + stride - 1) // stride
        expect(
            y.shape == (2, 4 * planes, side, side), "wrong-shape",
            f"Bottleneck({in_channels}, {planes}, {stride}) turned {tuple(x.shape)} into "
            f"{tuple(y.shape)}, not {(2, 4 * planes, side, side)}.",
            hint="Four times the planes come out; padding=1 keeps the size.",
        )
