"""Exercise 6.2, make_layer: a stage of blocks, looked at block by block and then as a whole."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ...blocks import BasicBlock, Bottleneck
from ...models import make_layer
from ..common import parameter_count
from ..core import exercise
from ..networks import apart
from .shared import agrees, gave_a_tensor, is_module, run, shown, trains


def _make_probe(made: list[Any], ran: list[Any]) -> type[nn.Module]:
    """Return a block that notes how it is built and that it runs; its expansion is 3."""

    class Probe(nn.Module):
        expansion = 3

        def __init__(self, in_channels, planes, stride=1, *more, **options):
            super().__init__()
            self.asked = in_channels, planes, stride
            # Of the book's blocks the fourth argument is the shortcut.
            options |= {f"argument {place}": value for place, value in enumerate(more, 4)}
            self.handed_shortcut = any(options.pop(k, None) is not None for k in ("downsample", "argument 4"))
            self.options = {key: value for key, value in options.items() if value is not None}
            self.weight = nn.Parameter(torch.ones(()))
            made.append(self)

        def forward(self, x: Tensor) -> Tensor:
            ran.append(self)
            _, planes, stride = self.asked
            out = x[:, :1, ::stride, ::stride] * self.weight
            return out.expand(-1, planes * self.expansion, -1, -1)

    return Probe


def _check_construction(make_layer_, expect, in_channels, planes, blocks, options: dict) -> bool:
    """Look at a stage's blocks one by one, through blocks that note what is asked of them."""
    made: list[Any] = []
    ran: list[Any] = []
    stride = options.get("stride", 1)
    settings = "".join(f", {key}={value!r}" for key, value in options.items())
    call = f"make_layer(Block, {in_channels}, {planes}, blocks={blocks}{settings})"
    stage = make_layer_(_make_probe(made, ran), in_channels, planes, blocks=blocks, **options)
    if not is_module(stage, call, expect):
        return False
    y = stage(torch.randn(2, in_channels, 9, 7))
    if not gave_a_tensor(y, f"The stage of {call}", expect):
        return False
    if not expect(
        len(ran) == blocks, "wrong-block-count",
        f"{call} makes a stage that runs {len(ran)} blocks, not {blocks}.",
        hint="One first block and blocks - 1 others.",
    ):  # fmt: skip
        return False
    different = len(set(map(id, ran)))
    if not expect(
        different == blocks, "shared-weights",
        f"The stage runs {blocks} blocks, but only {different} of them are different objects: "
        f"they share their weights.",
        hint="[block] * n repeats one object; build a new block in each round of a loop.",
    ):  # fmt: skip
        return False
    registered = set(map(id, stage.parameters()))
    if not expect(
        all(id(block.weight) in registered for block in ran), "not-registered",
        "The stage runs blocks whose parameters it does not list, so no optimiser would train them.",
        hint="Python lists do not register modules; nn.Sequential does.",
    ):  # fmt: skip
        return False
    if not expect(
        not any(block.handed_shortcut for block in ran), "downsample-handed",
        f"In {call} a block is handed a downsample, which is not among the options.",
        hint="block(in_channels, planes, stride, **options): the block makes its shortcut itself.",
    ):  # fmt: skip
        return False
    strides, wanted = [block.asked[2] for block in ran], [stride] + [1] * (blocks - 1)
    if strides == [1] * blocks:
        code, hint = "stride-lost", "Hand the stride to the first block."
    elif "stride" not in options:  # told stride=1, the same stage was right
        call += ", without a stride,"
        code, hint = "wrong-default", "The default stands in the signature: stride=1."
    elif blocks > 1 and strides == [stride] * blocks:
        code, hint = "stride-in-every-block", "Only the first block gets the stride."
    elif strides[1:] == wanted[1:]:
        code, hint = "stride-changed", "The first block gets the stride as it was handed in, whatever the channels."
    else:
        code, hint = "stride-misplaced", "The stride goes to the first block."
    if not expect(
        strides == wanted, code,
        f"{call} gives its blocks the strides {strides}, not {wanted}.", hint,
    ):  # fmt: skip
        return False
    out = 3 * planes
    channels, wanted = [block.asked[0] for block in ran], [in_channels] + [out] * (blocks - 1)
    if not expect(
        channels == wanted, "wrong-in-channels",
        f"The blocks were built for {channels} incoming channels, not {wanted}: "
        f"{in_channels} enter the stage, and every block gives planes · expansion = {planes} · 3.",
        hint="Ask block.expansion; it is 1 for a BasicBlock and 4 for a Bottleneck.",
    ):  # fmt: skip
        return False
    seen = [block.asked[1] for block in ran]
    if not expect(
        seen == [planes] * blocks, "wrong-planes",
        f"The blocks were built with planes {seen}, not {[planes] * blocks}.",
        hint="Every block of a stage has the same planes.",
    ):  # fmt: skip
        return False
    wanted = {key: value for key, value in options.items() if key != "stride"}
    odd = [block.options for block in ran if block.options != wanted]
    lost = any(key not in given for given in odd for key in wanted)
    if not expect(
        not odd, "options-lost" if lost else "options-changed",
        f"In {call}, {len(odd)} of {blocks} blocks got the options {odd[0] if odd else ''}, not {wanted}.",
        hint="Hand **options to the first block and to all others, as they are.",
    ):  # fmt: skip
        return False
    sides = -(-9 // stride), -(-7 // stride)
    wanted = 2, out, *sides
    return expect(
        y.shape == wanted, "wrong-shape",
        f"The stage of {call} turned 2 × {in_channels} × 9 × 7 into {shown(y.shape)}, not {shown(wanted)}.",
        hint="The blocks run one after the other.",
    ) and trains(stage, f"The stage of {call}", expect)  # fmt: skip


@exercise(
    "make_layer", chapter=6, number=2, title="Write make_layer",
    difficulty=3, importance=5, minutes=10, points=3,
    solution="resnet_tutorial.models:make_layer",
)  # fmt: skip
def check_make_layer(make_layer_, expect):
    """The blocks one by one, then stages of real blocks against the book's."""
    # Planes times the expansion, 3, is more than the incoming channels, as many, or fewer.
    for sizes, options in (
        ((10, 4, 3), {"stride": 2, "flavour": "mild"}), ((12, 4, 3), {"stride": 3}), ((30, 4, 2), {"stride": 2}),
        ((20, 4, 2), {"stride": 1}), ((20, 4, 2), {}), ((8, 3, 9), {"stride": 2}),
        ((12, 4, 2), {"stride": 1, "flavour": "hot", "grain": 2}), ((7, 5, 1), {"stride": 3}),
    ):  # fmt: skip
        if not _check_construction(make_layer_, expect, *sizes, options):
            return
    cases = (
        (BasicBlock, (8, 8), {"blocks": 1}),
        (BasicBlock, (8, 16), {"blocks": 3, "stride": 2}),
        (BasicBlock, (16, 8), {"blocks": 2, "stride": 3}),
        (Bottleneck, (8, 16), {"blocks": 2, "groups": 4, "base_width": 32}),
    )
    for block, sizes, options in cases:
        mine, book = make_layer_(block, *sizes, **options), make_layer(block, *sizes, **options)
        settings = ", ".join(f"{key}={value}" for key, value in options.items())
        call = f"make_layer({block.__name__}, {sizes[0]}, {sizes[1]}, {settings})"
        if not apart(mine, make_layer_(block, *sizes, **options), call, expect):
            return
        counts = parameter_count(mine), parameter_count(book)
        if not expect(
            counts[0] == counts[1], "wrong-parameter-count",
            f"{call} has {counts[0]:,} parameters, not {counts[1]:,}.",
            hint=f"{options['blocks']} block{'s' * (options['blocks'] > 1)} and nothing else.",
        ):  # fmt: skip
            return
        x = torch.randn(2, sizes[0], 9, 7, dtype=torch.double)
        for train in (True, False):
            if not agrees(
                run(mine, x, train), mine, book, x, train, call, expect,
                f"With the same weights, the stage of {call} gives other values than the book's in "
                f"{'training' if train else 'evaluation'} mode.",
                "A stage is its blocks one after the other, with nothing between them.",
            ):  # fmt: skip
                return
