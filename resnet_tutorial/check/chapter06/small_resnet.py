"""Exercise 6.6, the ResNet for small images, which the judge of networks compares with the book's.

What stands here is the list of wrong networks that learners build.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from ...blocks import BasicBlock, Bottleneck
from ...cifar import CifarBlock
from ...solutions.chapter06 import SmallResNet
from ..common import parameter_count
from ..core import Expectations, exercise
from ..networks import Network, Shape, Variant, head_variants, judge_network, stages
from .shared import ready


@exercise(
    "small_resnet", chapter=6, number=6, title="The ResNet for small images",
    difficulty=3, importance=4, minutes=12, points=3,
    solution="resnet_tutorial.solutions.chapter06:SmallResNet",
)  # fmt: skip
def check_small_resnet(SmallResNet_: Any, expect: Expectations) -> None:
    """Counts, shapes, logits and gradients at two depths, with two kinds of blocks."""
    settings = ((BasicBlock, 20, 23), (CifarBlock, 8, 31))
    networks = []
    for block, depth, classes in settings:
        networks.append(Network(
            f"SmallResNet({block.__name__}, {depth}, {classes})",
            partial(SmallResNet_, block, depth, classes), partial(SmallResNet, block, depth, classes),
            partial(_variants, block, depth, classes), (32, 32),
        ))  # fmt: skip
    if judge_network(networks, expect):
        made = SmallResNet_(CifarBlock, 8)
        out = made(torch.zeros(2, 3, 16, 16)).shape[-1]
        expect(
            out == 10, "wrong-default", f"SmallResNet(CifarBlock, 8) gives {out} logits, not 10.",
            hint="num_classes=10 stands in the signature: leave it there.",
        )  # fmt: skip
        with torch.device("meta"):
            deep = (made(CifarBlock, 110, 10) for made in (SmallResNet_, SmallResNet))
            counts = [parameter_count(ready(model, (2, 3, 32, 32))) for model in deep]
        expect(
            counts[0] == counts[1], "wrong-depth",
            f"SmallResNet(CifarBlock, 110) has {counts[0]:,} parameters, not {counts[1]:,}, those of three stages of "
            "18 blocks.", hint=_DEPTH,
        )  # fmt: skip


_DEPTH = "depth = 6n + 2: three stages of n blocks, each of two layers, the stem and the head."


def _variants(block: type[BasicBlock], depth: int, classes: int) -> Iterator[Variant]:
    n = (depth - 2) // 6

    def stem(size: int = 3, stride: int = 1, *behind: nn.Module, bias: bool = False) -> nn.Module:
        conv = nn.Conv2d(3, 16, size, stride, size // 2, bias=bias)
        return nn.Sequential(conv, nn.BatchNorm2d(16), *(behind or (nn.ReLU(),)))

    def build(
        counts: Sequence[int] = (n, n, n), planes: Sequence[int] = (16, 32, 64),
        strides: Sequence[int] = (1, 2, 2), front: nn.Module | None = None, first: int = 16,
        head: int = classes, kind: Any = block,
        **how: Any,
    ) -> nn.Module:  # fmt: skip
        ends = {name: how.pop(name) for name in ("pool", "after") if name in how}
        made = stages(kind, planes, counts, first, strides, **how)
        return Shape(front or stem(), made, nn.Linear(planes[-1] * kind.expansion, head), **ends)

    def widened(planes: Sequence[int]) -> nn.Module:
        first = nn.Conv2d(3, planes[0], 3, 1, 1, bias=False)
        return build(
            planes=planes, first=planes[0], front=nn.Sequential(first, nn.BatchNorm2d(planes[0]), nn.ReLU())
        )

    for place in range(3):
        for wrong in (n - 1, n + 1):
            if wrong > 0:
                counts = tuple(wrong if place == stage else n for stage in range(3))
                yield ("wrong-depth", f"Stage {place + 1} has {wrong} blocks, not {n}.", "Each stage has n blocks.",
                       partial(build, counts=counts))
    if block.expansion == 1:
        yield ("four-stages", "There are four stages.", "Three: 16, 32 and 64 channels.",
               lambda: build((n,) * 4, (16, 32, 64, 128), (1, 2, 2, 2)))
    if block is not BasicBlock:
        yield ("block-ignored", "Its blocks are basic blocks with projections, whatever block is.",
               "block is handed in: make_layer(block, …).", lambda: build(kind=BasicBlock))
    yield ("block-ignored", "Its blocks are bottlenecks, whatever block is.",
           "block is handed in: make_layer(block, …).", lambda: build(kind=Bottleneck))
    for wrong in {n - 1, n + 1, 2 * n, 3 * n, depth // 6 + 1, depth} - {n, 0, -1}:
        yield ("wrong-depth", f"Each stage has {wrong} blocks, not {n}.", _DEPTH,
               partial(build, counts=(wrong,) * 3))
    yield ("shared-block", "The blocks of a stage behind the first are one and the same block.",
           "[block] * n repeats one object; make each block anew, or use make_layer.", partial(build, copies=True))
    yield ("stride-in-every-block", "every block of stages 2 and 3 has the stride, not only the first.",
           "Only the first block of a stage changes the shape.", partial(build, each=True))
    for strides in ((1, 1, 1), (2, 2, 2), (1, 1, 2), (1, 2, 1)):
        yield ("wrong-stride", f"the strides of the three stages are {strides}; (1, 2, 2) is right.",
               "Stage 1 keeps the size, stages 2 and 3 halve it.", partial(build, strides=strides))
    for planes in ((64, 128, 256), (16, 16, 16), (32, 64, 128)):
        yield ("wrong-widths", f"The stages have {planes} channels, not (16, 32, 64).",
               "The small network begins with 16 channels and doubles them twice.",
               partial(widened, planes))
    yield ("imagenet-stem", "The stem has a 7 × 7 convolution.",
           "Images of 32 × 32 pixels get one 3 × 3 at stride 1, and no pooling.",
           lambda: build(front=stem(7, 2, nn.ReLU(), nn.MaxPool2d(3, 2, 1))))
    yield ("stem-stride", "the stem has a stride of 2.", "The stem keeps the size.",
           lambda: build(front=stem(3, 2)))
    yield ("stem-pooling", "the stem pools.", "No pooling: the images are small already.",
           lambda: build(front=stem(3, 1, nn.ReLU(), nn.MaxPool2d(3, 2, 1))))
    yield ("stem-pooling", "the stem pools.", "No pooling: the images are small already.",
           lambda: build(front=stem(3, 1, nn.ReLU(), nn.MaxPool2d(2, 2))))
    yield ("stem-relu-missing", "the stem has no ReLU.", "Convolution, batch norm, ReLU.",
           lambda: build(front=stem(3, 1, nn.Identity())))
    conv, norm = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
    yield ("relu-before-bn", "in the stem the ReLU stands before the batch norm.", "Convolution, batch norm, ReLU.",
           lambda: build(front=nn.Sequential(conv, nn.ReLU(), norm)))
    yield ("bn-missing", "The stem has no batch norm.", "Convolution, batch norm, ReLU.",
           lambda: build(front=nn.Sequential(conv, nn.ReLU())))
    yield ("wrong-padding", "the stem's convolution has no padding.", "padding=1 keeps the size.",
           lambda: build(front=nn.Sequential(nn.Conv2d(3, 16, 3, bias=False), norm, nn.ReLU())))
    yield ("bias-before-bn", "The stem's convolution has a bias.",
           "bias=False: the batch norm behind it takes the bias away.", lambda: build(front=stem(bias=True)))
    for wrong in {10, 1000} - {classes}:
        yield ("wrong-classes", f"The head gives {wrong} logits, whatever num_classes is.",
               "Hand num_classes to the head.", partial(build, head=wrong))
    yield from head_variants(build)
