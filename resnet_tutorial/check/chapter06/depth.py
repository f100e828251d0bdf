"""Exercise 6.7, the depth of a checkpoint: read from state dicts with shapes and without numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ...blocks import BasicBlock, Bottleneck
from ...models import make_layer
from ..common import described, whole
from ..core import Expectations, exercise


def _checkpoint(
    block: type[BasicBlock] | type[Bottleneck], layers: Iterable[int], in_channels: int = 3,
    num_classes: int = 1000, **options: int,
) -> dict[str, Tensor]:  # fmt: skip
    """Return a state dict with torchvision's names and shapes, and without numbers."""
    with torch.device("meta"):
        model = nn.Module()
        model.conv1 = nn.Conv2d(in_channels, 64, 7, bias=False)
        model.bn1 = nn.BatchNorm2d(64)
        channels = 64
        for stage, blocks in enumerate(layers):
            planes = 64 << stage
            layer = make_layer(block, channels, planes, blocks, 2 if stage else 1, **options)
            model.add_module(f"layer{stage + 1}", layer)
            channels = planes * block.expansion
        model.fc = nn.Linear(channels, num_classes)
    return model.state_dict()


@exercise(
    "depth_of_checkpoint", chapter=6, number=7, title="Read a depth from a checkpoint",
    difficulty=2, importance=3, minutes=8, points=2,
    solution="resnet_tutorial.solutions.chapter06:depth_of_checkpoint",
)  # fmt: skip
def check_depth_of_checkpoint(depth_of_checkpoint: Any, expect: Expectations) -> None:
    """Published networks, and some that never were, so that no table of names is enough."""
    networks: tuple[tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...], dict[str, int]], ...] = (
        (Bottleneck, (3, 4, 6, 3), {}),
        (BasicBlock, (2, 2, 2, 2), {"in_channels": 1}),
        (Bottleneck, (3, 4, 23, 3), {"groups": 32, "base_width": 4, "num_classes": 10}),
        (BasicBlock, (1, 2, 1, 3), {}),
    )
    for block, layers, options in networks:
        state = _checkpoint(block, layers, **options)
        wanted = (3 if block is Bottleneck else 2) * sum(layers) + 2
        projections = 4 if block is Bottleneck else 3
        handed = dict(state)
        answer = depth_of_checkpoint(handed)
        what = f"A network of {block.__name__}s, {', '.join(map(str, layers))} in its stages,"
        if not expect(
            list(handed) == list(state) and all(handed[key] is state[key] for key in state), "state-modified",
            f"{what} has {len(state)} tensors in its state dict; after the call the dictionary that was handed in "
            f"has {len(handed)}, or others.",
            hint="Read the dictionary and leave it as it is: its owner still wants to load it.",
        ):  # fmt: skip
            return
        depth = whole(answer)
        if not expect(
            depth is not None, "wrong-type", f"{what} is given; the function returned {described(answer)}, "
            "not a whole number.", hint="Count, and return the count.",
        ) or depth is None:  # fmt: skip
            return
        known = {
            wanted + projections: ("projections-counted", f"is {projections} too many, and there are {projections} "
                         "projections.", "The names of ResNets leave the convolutions on shortcuts out."),
            wanted - 1: ("end-forgotten", "is one short.",
                         "Do the stem's convolution, conv1, and the classifier, fc, both count? The classifier's "
                         f"weight has two dimensions. The projections, which do not, are {projections} here."),
            wanted - 2: ("end-forgotten", "is two short.",
                         "The branches are not all: conv1 stands before them and fc behind them."),
            wanted - 1 + projections: ("end-forgotten", f"is {projections - 1} too many, as if the {projections} "
                         "projections counted, and one of stem and classifier did not.",
                         "The classifier has a weight too; the convolutions on shortcuts do not count."),
            wanted - 2 + projections: ("end-forgotten", f"is {projections - 2} too many, as if the {projections} "
                         "projections counted, and stem and classifier did not.",
                         "conv1 and fc count; the convolutions on shortcuts do not."),
            len(state): ("everything-counted", "is the number of all tensors.",
                         "Batch norms have weights too; their tensors have one dimension."),
        }  # fmt: skip
        code, message, hint = known.get(
            depth, ("wrong-depth", "is not it.", "Which tensors are weights of convolutions or of linear layers?")
        )
        if not expect(
            depth == wanted, code, f"{what} has {wanted} layers with weights; {depth} {message}", hint,
        ):  # fmt: skip
            return
