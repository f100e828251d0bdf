"""Solutions of chapter 5's exercises."""

from __future__ import annotations

from torch import nn

from ..blocks import ConvBlock, IdentityBlock


def make_stage(
    in_channels: int, mid_channels: int, blocks: int, stride: int = 2
) -> nn.Sequential:
    """Return a stage: one Conv block, then ``blocks - 1`` Identity blocks.

    Shapes: (N, in_channels, H, W) to
    (N, 4 mid_channels, ceil(H / stride), ceil(W / stride)).
    """
    out_channels = 4 * mid_channels
    first = ConvBlock(in_channels, mid_channels, stride)
    rest = [IdentityBlock(out_channels, mid_channels) for _ in range(blocks - 1)]
    return nn.Sequential(first, *rest)


def plan_blocks(layers: tuple[int, int, int, int]) -> list[tuple[str, int, int, int]]:
    """Return what each block of a bottleneck ResNet must be, in order.

    ``layers`` holds the blocks per stage, (3, 4, 6, 3) for ResNet-50.
    Each entry is ("conv" or "identity", input channels, mid channels, stride).
    """
    plan = []
    channels = 64  # what the stem hands over
    for stage, blocks in enumerate(layers):
        mid_channels = 64 * 2**stage
        for index in range(blocks):
            kind = "conv" if index == 0 else "identity"
            stride = 2 if index == 0 and stage > 0 else 1
            plan.append((kind, channels, mid_channels, stride))
            channels = 4 * mid_channels
    return plan


def separate_blocks(stage: nn.Sequential) -> nn.Sequential:
    """Return a stage of the same blocks in which no two places share one block.

    Each place gets a copy of the block that stood there, with the same values.
    """
    from copy import deepcopy

    # One copy a place: deepcopy of the whole stage would keep the sharing inside it.
    return nn.Sequential(*[deepcopy(block) for block in stage])
