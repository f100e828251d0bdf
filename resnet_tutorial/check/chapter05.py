"""Checks of chapter 5, the Conv block and the Identity block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import nn

from ..blocks import ConvBlock, IdentityBlock
from ..solutions.chapter05 import make_stage, plan_blocks
from . import residual
from .common import described, frozen, noting, parameter_count, sequence, some
from .core import Expectations, exercise
from .networks import Network, Variant, judge_network

# --- 5.1


@exercise(
    "identity_block", chapter=5, number=1, title="Write the Identity block",
    difficulty=2, importance=5, minutes=12, points=3,
    solution="resnet_tutorial.blocks:IdentityBlock",
)
def check_identity_block(Identity: Any, expect: Expectations) -> None:
    """Parameters, the shortcut itself, the ReLUs, values, gradients and evaluation mode."""
    if not residual.is_class(Identity, "identity_block", expect):
        return
    cases = []
    for channels, mid, size in ((24, 8, (7, 7)), (32, 8, (6, 9)), (12, 5, (5, 8))):
        plan = residual.bottleneck(f"IdentityBlock({channels}, {mid})", channels, mid, channels, 1, False)
        cases.append(residual.Case(plan, partial(Identity, channels, mid), size))
    residual.judge(cases, expect, _other_identity_blocks)


def _other_identity_blocks(plan: residual.Plan) -> Iterator[residual.Variant]:
    channels, mid = plan.in_channels, plan.branch[0].out_channels
    yield (
        "wrong-channels",
        f"the last 1x1 makes 4 x {mid} = {4 * mid} channels; to be added to x they must be {channels}.",
        "The branch ends with as many channels as it began with: IdentityBlock(channels, mid_channels).",
        residual.bottleneck(plan.call, channels, mid, 4 * mid, 1, False),
    )
    yield (
        "wrong-channels", "all convolutions keep the block's channels; mid_channels is not used.",
        "1x1 from channels to mid_channels, 3x3 on mid_channels, 1x1 back to channels.",
        residual.bottleneck(plan.call, channels, channels, channels, 1, False),
    )


# --- 5.2


@exercise(
    "conv_block", chapter=5, number=2, title="Write the Conv block",
    difficulty=3, importance=5, minutes=18, points=4,
    solution="resnet_tutorial.blocks:ConvBlock",
)
def check_conv_block(Conv: Any, expect: Expectations) -> None:
    """Parameters, the projection, the ReLUs, values, gradients and evaluation mode at three strides."""
    if not residual.is_class(Conv, "conv_block", expect):
        return
    # In the fourth the shapes agree, and a Conv block projects all the same.
    blocks = (
        (12, 8, 2, (9, 8)), (12, 8, 2, (8, 7)), (12, 8, 1, (7, 6)), (32, 8, 1, (5, 5)), (12, 8, 3, (8, 10)),
    )  # fmt: skip
    if not residual.default_holds(
        "ConvBlock(12, 8)", partial(Conv, 12, 8), "ConvBlock(12, 8, stride=2)", partial(Conv, 12, 8, 2), 12, expect
    ):
        return
    cases = []
    for in_channels, mid, stride, size in blocks:
        call = f"ConvBlock({in_channels}, {mid}, stride={stride})"
        plan = residual.bottleneck(call, in_channels, mid, 4 * mid, stride, True)
        make = partial(Conv, in_channels, mid, stride)
        cases.append(residual.Case(plan, make, size))
    residual.judge(cases, expect, _other_conv_blocks)


def _other_conv_blocks(plan: residual.Plan) -> Iterator[residual.Variant]:
    mid = plan.branch[0].out_channels
    for out in {mid, 2 * mid, 8 * mid, 4 * plan.in_channels} - {4 * mid}:
        yield (
            "wrong-expansion", f"with mid_channels={mid} the block makes {out} channels, not 4 x {mid}.",
            "The last 1x1 and the projection make 4 * mid_channels.",
            residual.bottleneck(plan.call, plan.in_channels, mid, out, plan.stride, True),
        )


# --- 5.3


@exercise(
    "make_stage", chapter=5, number=3, title="Make a stage",
    difficulty=3, importance=5, minutes=12, points=4,
    solution="resnet_tutorial.solutions.chapter05:make_stage",
)
def check_make_stage(stage_maker: Any, expect: Expectations) -> None:
    """Blocks, registration, shapes at three strides, values, gradients, and the default."""
    stages = []
    for in_channels, mid, blocks, stride in ((16, 8, 3, 2), (16, 16, 3, 1), (16, 4, 1, 1), (8, 4, 9, 3)):
        arguments = (in_channels, mid, blocks, stride)
        stages.append(Network(
            f"make_stage{arguments}", partial(stage_maker, *arguments), partial(make_stage, *arguments),
            partial(_stage_variants, *arguments), (12, 13), in_channels, "outputs",
        ))  # fmt: skip
    if judge_network(stages, expect):
        side = stage_maker(16, 4, 2)(torch.randn(2, 16, 8, 8)).shape[-1]
        expect(
            side == 4, "wrong-default", f"make_stage(16, 4, 2), without a stride, made {side} pixels of 8, not 4.",
            hint="The default stands in the signature: stride=2.",
        )  # fmt: skip


def _stage_variants(in_channels: int, mid: int, blocks: int, stride: int) -> Iterator[Variant]:
    out = 4 * mid

    def build(count: int = blocks, first: int = stride, rest: type = IdentityBlock) -> nn.Module:
        more = [rest(out, mid) if rest is IdentityBlock else rest(out, mid, 1) for _ in range(count - 1)]
        return nn.Sequential(ConvBlock(in_channels, mid, first), *more)

    every = [(in_channels if not index else out) for index in range(blocks)]
    yield ("wrong-count", "It has one Identity block too many.",
           "blocks counts the Conv block as well: blocks - 1 Identity blocks.", partial(build, blocks + 1))
    if blocks > 1:
        yield ("wrong-count", "It has one Identity block too few.",
               "blocks - 1 Identity blocks follow the Conv block.", partial(build, blocks - 1))
        yield ("shared-block", "The Identity blocks are one and the same block.",
               "[block] * n is n times one block; make each in a comprehension.",
               lambda: nn.Sequential(ConvBlock(in_channels, mid, stride), *[IdentityBlock(out, mid)] * (blocks - 1)))
        yield ("shared-block", "Its Identity blocks are one and the same block, and one too many besides.",
               "[block] * n is n times one block; make blocks - 1 of them in a comprehension.",
               lambda: nn.Sequential(ConvBlock(in_channels, mid, stride), *[IdentityBlock(out, mid)] * blocks))
        yield ("stride-in-every-block", "Every block has the stride.", "Conv blocks only where the shape changes.",
               lambda: nn.Sequential(*[ConvBlock(c, mid, stride) for c in every]))
        yield ("conv-blocks-only", "Every block is a Conv block.", "One ConvBlock, then IdentityBlocks.",
               partial(build, rest=ConvBlock))
        yield ("conv-block-last", "Its Conv block stands behind the Identity blocks.",
               "The Conv block comes first, and the Identity blocks keep the shape that it makes.",
               lambda: nn.Sequential(*[IdentityBlock(in_channels, mid) for _ in range(blocks - 1)],
                                     ConvBlock(in_channels, mid, stride)))
    if (in_channels, stride) == (out, 1):
        yield ("identity-block-first", "Its first block is an Identity block, because the shapes agree.",
               "A stage begins with a Conv block, whatever the shapes.",
               lambda: nn.Sequential(*[IdentityBlock(out, mid) for _ in range(blocks)]))
    for wrong in {1, 2} - {stride}:
        yield ("stride-missing" if wrong == 1 else "stride-fixed", f"The first block has stride {wrong}.",
               "Hand the stride to the Conv block.", partial(build, first=wrong))


@exercise(
    "plan_blocks", chapter=5, number=4, title="Plan the blocks of a network",
    difficulty=2, importance=4, minutes=12, points=3,
    solution="resnet_tutorial.solutions.chapter05:plan_blocks",
)
def check_plan_blocks(planner: Any, expect: Expectations) -> None:
    """The plan of four networks, entry by entry."""
    planner = noting("plan_blocks", planner)
    names = ("kind", "input channels", "mid channels", "stride")
    codes = ("wrong-kind", "channels-not-updated", "wrong-mid-channels", "wrong-stride")
    hints = (
        'The first block of each stage changes the shape: "conv"; the others are "identity".',
        "The stem hands over 64 channels, and each block 4 * mid_channels to the next one.",
        "64 in the first stage, and twice as many in each further one.",
        "The first block of each stage but the first has stride 2, every other block stride 1.",
    )
    for layers in ((1, 1, 1, 1), (3, 4, 6, 3), (3, 8, 36, 3), (2, 1, 3, 2)):
        right = plan_blocks(layers)
        answer = planner(layers)
        plan = list(answer) if isinstance(answer, Iterable) else None
        if not expect(
            plan is not None, "wrong-type", f"For {layers} came {described(answer)}, not a list.",
            hint="Append to a list, and return it.",
        ) or plan is None:
            return
        odd = [place for place, entry in enumerate(plan) if sequence(entry, 4) is None]
        if not expect(
            not odd, "wrong-type", f"For {layers}, entry {odd[0] + 1} is {described(plan[odd[0]])}; "
            "an entry is one block, (kind, in_channels, mid_channels, stride)." if odd else "",
            hint="One flat list for all stages: append each block's four values to it.",
        ):
            return
        if not expect(
            len(plan) == len(right), "wrong-count",
            f"For {layers} the plan has {len(plan)} blocks, not {len(right)}.",
            hint="Every block is one entry; the sum of layers is their number.",
        ):
            return
        for index, (mine, expected) in enumerate(zip(plan, right, strict=True)):
            wrong = next((place for place in range(4) if mine[place] != expected[place]), None)
            if wrong is None:
                continue
            expect(
                False, codes[wrong],
                f"For {layers}, block {index + 1}: its {names[wrong]} should be "
                f"{expected[wrong]!r}; the entry is {mine}.",
                hint=hints[wrong],
            )
            return
    expect(True, "right-plan", "All plans agree.")


@exercise(
    "separate_blocks", chapter=5, number=5, title="Repair a stage that shares its weights",
    difficulty=3, importance=3, minutes=10, points=3,
    solution="resnet_tutorial.solutions.chapter05:separate_blocks",
)
def check_separate_blocks(repair: Any, expect: Expectations) -> None:
    """Nothing is shared any more, the values are kept, and the given stage is unharmed."""
    block = _trained(IdentityBlock(16, 4))
    shared = nn.Sequential(*[block] * 4)
    before, count = deepcopy(shared.state_dict()), parameter_count(shared)
    stage = noting("separate_blocks", repair)(shared)
    if not expect(
        isinstance(stage, nn.Sequential), "wrong-type",
        f"separate_blocks gave {described(stage)}, not an nn.Sequential.",
        hint="nn.Sequential(*blocks) calls its blocks one after the other; an nn.ModuleList only holds them.",
    ):
        return
    if not expect(
        len(stage) == 4, "wrong-count", f"The stage has {len(stage)} places, not 4.",
        hint="Iterate over the stage: each place gives a block, the same one four times.",
    ):
        return
    found = parameter_count(stage)
    if not expect(
        found == 4 * count, "still-shared",
        f"The repaired stage has {found:,} parameters; four separate blocks have {4 * count:,}.",
        hint="Copy each block by itself: one deepcopy of the whole stage keeps the sharing inside.",
    ):
        return
    after = shared.state_dict()
    if not expect(
        all(b is block for b in shared) and all(torch.equal(before[name], after[name]) for name in before),
        "input-modified", "The stage that was handed in has been changed.", hint="Return a new nn.Sequential.",
    ):
        return
    handed = {tensor.data_ptr() for tensor in _tensors(block)}
    kept = [place for place, copied in enumerate(stage, 1) if handed & {t.data_ptr() for t in _tensors(copied)}]
    if not expect(
        not kept, "still-shared",
        f"Place {kept[0] if kept else 1} holds the block of the stage that was handed in: training one changes both.",
        hint="Each place gets a copy, the first one too.",
    ):
        return
    x = torch.randn(2, 16, 5, 5)
    with torch.no_grad():
        right = block.eval()(x)
        far = [(copied(x) - right).abs().max().item() for copied in stage.eval()]
    place = next((n for n, distance in enumerate(far) if not distance < 1e-5), 0)
    if not expect(
        far[place] < 1e-5, "values-changed",
        f"In evaluation mode the block in place {place + 1} gives numbers up to {far[place]:.2g} away from those "
        "of the block that stood there.",
        hint="Copy the block with its weights and running statistics, and change nothing in the copy.",
    ):
        return
    expect(
        not frozen(stage), "frozen", f"Parameters are frozen: {some(frozen(stage), 3)}.",
        hint="Copy the block and leave requires_grad as it is.",
    )


def _tensors(module: nn.Module) -> list[torch.Tensor]:
    return [*module.parameters(), *module.buffers()]


def _trained(block: nn.Module) -> nn.Module:
    """Give a block weights and running statistics that no new block has, and return it."""
    with torch.no_grad():
        for tensor in _tensors(block):
            tensor.add_(torch.rand(tensor.shape).mul(0.3).to(tensor.dtype))
    return block
