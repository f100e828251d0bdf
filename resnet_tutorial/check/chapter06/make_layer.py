"""Exercise 6.2, make_layer: a stage of blocks, looked at block by block and then as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ...blocks import BasicBlock, Bottleneck
from ...cifar import MakesBlocks
from ...models import make_layer
from ..common import parameter_count
from ..core import Expectations, exercise
from ..networks import apart
from .shared import Trial, gave_a_tensor, is_module, run, shown, trains


def _make_probe(ran: list[Any]) -> MakesBlocks:
    """Return a block that notes how it is built, and in ``ran`` that it runs; its expansion is 3."""

    class Probe(nn.Module):
        expansion = 3

        def __init__(self, in_channels: int, planes: int, stride: int = 1, *more: Any, **options: Any) -> None:
            super().__init__()
            self.asked = in_channels, planes, stride
            # Of the book's blocks the fourth argument is the shortcut.
            options |= {f"argument {place}": value for place, value in enumerate(more, 4)}
            self.handed_shortcut = any(options.pop(k, None) is not None for k in ("downsample", "argument 4"))
            self.options = {key: value for key, value in options.items() if value is not None}
            self.weight = nn.Parameter(torch.ones(()))

        def forward(self, x: Tensor) -> Tensor:
            ran.append(self)
            _, planes, stride = self.asked
            out = x[:, :1, ::stride, ::stride] * self.weight
            return out.expand(-1, planes * self.expansion, -1, -1)

    return Probe


class _Construction:
    """One stage of blocks that note what is asked of them, looked at block by block."""

    def __init__(
        self, make_layer_: Callable[..., Any], expect: Expectations, in_channels: int, planes: int, blocks: int,
        options: dict,
    ) -> None:  # fmt: skip
        self.expect, self.options = expect, options
        self.in_channels, self.planes, self.blocks = in_channels, planes, blocks
        self.stride = options.get("stride", 1)
        settings = "".join(f", {key}={value!r}" for key, value in options.items())
        self.call = f"make_layer(Block, {in_channels}, {planes}, blocks={blocks}{settings})"
        self.ran: list[Any] = []
        probe = _make_probe(self.ran)
        self.stage = make_layer_(probe, in_channels, planes, blocks=blocks, **options)
        self.out_channels = planes * probe.expansion

    def holds(self) -> bool:
        """Run the stage once and look at the blocks that ran."""
        if not is_module(self.stage, self.call, self.expect):
            return False
        self.y = self.stage(torch.randn(2, self.in_channels, 9, 7))
        return (
            gave_a_tensor(self.y, f"The stage of {self.call}", self.expect)
            and self._each_block_runs_once() and self._shortcut_is_left_to_the_block() and self._strides_hold()
            and self._channels_hold() and self._options_hold() and self._shape_holds()
            and trains(self.stage, f"The stage of {self.call}", self.expect)
        )  # fmt: skip

    def _each_block_runs_once(self) -> bool:
        different, registered = len(set(map(id, self.ran))), set(map(id, self.stage.parameters()))
        return self.expect(
            len(self.ran) == self.blocks, "wrong-block-count",
            f"{self.call} makes a stage that runs {len(self.ran)} blocks, not {self.blocks}.",
            hint="One first block and blocks - 1 others.",
        ) and self.expect(
            different == self.blocks, "shared-weights",
            f"The stage runs {self.blocks} blocks, but only {different} of them are different objects: "
            "they share their weights.",
            hint="[block] * n repeats one object; build a new block in each round of a loop.",
        ) and self.expect(
            all(id(block.weight) in registered for block in self.ran), "not-registered",
            "The stage runs blocks whose parameters it does not list, so no optimiser would train them.",
            hint="Python lists do not register modules; nn.Sequential does.",
        )  # fmt: skip

    def _shortcut_is_left_to_the_block(self) -> bool:
        return self.expect(
            not any(block.handed_shortcut for block in self.ran), "downsample-handed",
            f"In {self.call} a block is handed a downsample, which is not among the options.",
            hint="block(in_channels, planes, stride, **options): the block makes its shortcut itself.",
        )

    def _strides_hold(self) -> bool:
        strides, call = [block.asked[2] for block in self.ran], self.call
        wanted = [self.stride] + [1] * (self.blocks - 1)
        if strides == [1] * self.blocks:
            code, hint = "stride-lost", "Hand the stride to the first block."
        elif "stride" not in self.options:  # told stride=1, the same stage was right
            call += ", without a stride,"
            code, hint = "wrong-default", "The default stands in the signature: stride=1."
        elif self.blocks > 1 and strides == [self.stride] * self.blocks:
            code, hint = "stride-in-every-block", "Only the first block gets the stride."
        elif strides[1:] == wanted[1:]:
            code, hint = "stride-changed", "The first block gets the stride as it was handed in, whatever the channels."
        else:
            code, hint = "stride-misplaced", "The stride goes to the first block."
        return self.expect(
            strides == wanted, code, f"{call} gives its blocks the strides {strides}, not {wanted}.", hint
        )

    def _channels_hold(self) -> bool:
        channels, planes = [block.asked[0] for block in self.ran], [block.asked[1] for block in self.ran]
        wanted = [self.in_channels] + [self.out_channels] * (self.blocks - 1)
        return self.expect(
            channels == wanted, "wrong-in-channels",
            f"The blocks were built for {channels} incoming channels, not {wanted}: {self.in_channels} enter the "
            f"stage, and every block gives planes · expansion = {self.planes} · {self.out_channels // self.planes}.",
            hint="Ask block.expansion; it is 1 for a BasicBlock and 4 for a Bottleneck.",
        ) and self.expect(
            planes == [self.planes] * self.blocks, "wrong-planes",
            f"The blocks were built with planes {planes}, not {[self.planes] * self.blocks}.",
            hint="Every block of a stage has the same planes.",
        )  # fmt: skip

    def _options_hold(self) -> bool:
        wanted = {key: value for key, value in self.options.items() if key != "stride"}
        odd = [block.options for block in self.ran if block.options != wanted]
        lost = any(key not in given for given in odd for key in wanted)
        return self.expect(
            not odd, "options-lost" if lost else "options-changed",
            f"In {self.call}, {len(odd)} of {self.blocks} blocks got the options {odd[0] if odd else ''}, "
            f"not {wanted}.",
            hint="Hand **options to the first block and to all others, as they are.",
        )  # fmt: skip

    def _shape_holds(self) -> bool:
        wanted = 2, self.out_channels, -(-9 // self.stride), -(-7 // self.stride)
        return self.expect(
            self.y.shape == wanted, "wrong-shape",
            f"The stage of {self.call} turned 2 × {self.in_channels} × 9 × 7 into {shown(self.y.shape)}, "
            f"not {shown(wanted)}.",
            hint="The blocks run one after the other.",
        )  # fmt: skip


@exercise(
    "make_layer", chapter=6, number=2, title="Write make_layer",
    difficulty=3, importance=5, minutes=10, points=3,
    solution="resnet_tutorial.models:make_layer",
)  # fmt: skip
def check_make_layer(make_layer_: Any, expect: Expectations) -> None:
    """The blocks one by one, then stages of real blocks against the book's."""
    # Planes times the expansion, 3, is more than the incoming channels, as many, or fewer.
    for numbers, options in (
        ((10, 4, 3), {"stride": 2, "flavour": "mild"}), ((12, 4, 3), {"stride": 3}), ((30, 4, 2), {"stride": 2}),
        ((20, 4, 2), {"stride": 1}), ((20, 4, 2), {}), ((8, 3, 9), {"stride": 2}),
        ((12, 4, 2), {"stride": 1, "flavour": "hot", "grain": 2}), ((7, 5, 1), {"stride": 3}),
    ):  # fmt: skip
        if not _Construction(make_layer_, expect, *numbers, options).holds():
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
            trial = Trial(
                call, f"the values of the stage of {call}",
                "A stage is its blocks one after the other, with nothing between them.", mine, book, x, train,
            )  # fmt: skip
            if not trial.agrees(run(mine, x, train, book), expect):
                return
