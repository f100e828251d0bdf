"""Checks of chapter 5, the Conv block and the Identity block."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..blocks import ConvBlock, IdentityBlock
from ..shapes import conv_params
from ..solutions.chapter05 import make_stage, plan_blocks
from .core import Expectations, exercise


def _by(shape) -> str:
    return " x ".join(map(str, shape))


def _fresh(block: nn.Module) -> nn.Module:
    """Return the block in double precision and training mode, its batch norms at 1 and 0."""
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d) and module.affine:
            nn.init.ones_(module.weight)  # a zero-initialised last weight is a legitimate choice
            nn.init.zeros_(module.bias)
    return block.double().train()


def _share_weights(block: nn.Module, reference: nn.Module) -> bool:
    """Copy each convolution weight of the reference to the block's only one of that shape."""
    for weight in reference.parameters():
        if weight.dim() == 4:
            twins = [p for p in block.parameters() if p.shape == weight.shape]
            if len(twins) != 1:
                return False
            twins[0].data.copy_(weight.data)
    return True


def _zeroed(block: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
    return block


def _expect_module(expect: Expectations, block, name: str) -> bool:
    return expect(
        isinstance(block, nn.Module), "wrong-type",
        f"{name} gave {type(block).__name__}, not an nn.Module.",
        hint="Derive the class from nn.Module and call super().__init__() first.",
    )


def _expect_shape(expect: Expectations, name: str, x: Tensor, y, shape: tuple[int, ...]) -> bool:
    return expect(
        isinstance(y, Tensor) and tuple(y.shape) == shape, "wrong-shape",
        f"{name} turned {_by(x.shape)} into "
        f"{_by(y.shape) if isinstance(y, Tensor) else type(y).__name__}, not {_by(shape)}.",
        hint="padding=1 keeps the size in a 3x3; the last 1x1 makes the output's channels.",
    )


def _expect_parameters(
    expect: Expectations, block: nn.Module, expected: int, biases: tuple[int, ...], name: str
) -> bool:
    found = sum(p.numel() for p in block.parameters())
    code, reason = "wrong-parameters", "Count them layer by layer: 1x1, 3x3, 1x1, each with a batch norm."
    if found - expected in biases:
        code, reason = "bias-before-bn", "Give the convolutions bias=False: the batch norm takes it away again."
    elif found == 0:
        code, reason = "no-parameters", "Layers in a plain list are not registered: use nn.Sequential."
    return expect(
        found == expected, code,
        f"{name} has {found:,} parameters, {abs(found - expected):,} "
        f"{'more' if found > expected else 'fewer'} than the {expected:,} expected.",
        hint=reason,
    )


def _expect_relus(expect: Expectations, block: nn.Module, x: Tensor) -> None:
    """The block may lower a value, and ends in a ReLU."""
    y = block(x)
    expect(
        bool((y >= 0).all()), "missing-final-relu",
        f"The output goes down to {y.min().item():.2f}: nothing cuts it at zero.",
        hint="The last ReLU follows the addition.",
    )


def _compare(expect: Expectations, block: nn.Module, reference: nn.Module, x: Tensor, name: str) -> None:
    """Same weights, same input: outputs and input gradients in train and in eval mode."""
    if not expect(
        _share_weights(block, reference), "wrong-layers",
        "The convolutions are not the three (and the projection) that the statement lists.",
        hint="1x1 to mid_channels, 3x3, 1x1 to the output's channels.",
    ):
        return
    for module in [*block.modules(), *reference.modules()]:
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()  # earlier calls have moved them
    for mode in (True, False):
        block.train(mode)
        reference.train(mode)
        mine, right = x.clone().requires_grad_(), x.clone().requires_grad_()
        y, expected = block(mine), reference(right)
        y_state = "in train mode" if mode else "in eval mode"
        error = (y - expected).abs().max().item()
        if not expect(
            error < 1e-6, "wrong-function",
            f"With the same weights as the book's {name}, the output {y_state} differs by up to {error:.2g}.",
            hint="Between the convolutions stand a batch norm and a ReLU; the branch ends in a batch norm.",
        ):
            return
        y.square().sum().backward()
        expected.square().sum().backward()
        expect(
            mine.grad is not None and torch.allclose(mine.grad, right.grad, atol=1e-5), "wrong-gradient",
            f"The gradient that reaches the input {y_state} is not that of the book's {name}.",
            hint="No detach, no no_grad, no in-place change of x on either way.",
        )


def _expect_untouched(expect: Expectations, block: nn.Module, x: Tensor) -> None:
    before = x.clone()
    block(x)
    expect(
        torch.equal(before, x), "input-modified",
        f"After the call {int((before != x).sum())} values of the input have changed.",
        hint="Write out = out + x instead of x += out, and no inplace=True on x.",
    )


@exercise(
    "identity_block", chapter=5, number=1, title="Write the Identity block",
    difficulty=2, importance=5, minutes=12, points=3,
    solution="resnet_tutorial.blocks:IdentityBlock",
)
def check_identity_block(Identity, expect):
    """Shape, parameters, the shortcut itself, the ReLUs, and the values on shared weights."""
    channels, mid = 24, 8
    block = Identity(channels, mid)
    if not _expect_module(expect, block, f"IdentityBlock({channels}, {mid})"):
        return
    block = _fresh(block)
    for size in ((7, 7), (6, 9)):
        x = torch.randn(3, channels, *size).double()
        if not _expect_shape(expect, "The block", x, block(x), tuple(x.shape)):
            return
    _expect_untouched(expect, block, x)
    _expect_relus(expect, block, x)
    x = torch.rand(3, channels, 7, 7).double() + 0.1  # positive: the ReLU at the end lets it pass
    y = _zeroed(_fresh(Identity(channels, mid)))(x)
    gain = (y / x).mean().item()
    code = "no-shortcut" if gain < 0.01 else "shortcut-twice" if gain > 1.5 else "shortcut-changed"
    expect(
        torch.allclose(y, x), code,
        f"With every parameter at zero the branch gives zero, so x should come out; "
        f"what came out is {gain:.2f} times x on average.",
        hint="Add x itself, once; no layer stands on the shortcut.",
    )
    block = _fresh(Identity(channels, mid))
    y = block(x)
    expect(
        bool((y < x - 1e-6).any()), "relu-before-add",
        f"Of {y.numel():,} values none became smaller: the block can only add, so its branch ends in a ReLU.",
        hint="No ReLU after the last batch norm of the branch; one after the addition.",
    )
    expected = conv_params(channels, mid, 1) + conv_params(mid, mid, 3) + conv_params(mid, channels, 1)
    norms = 2 * (mid + mid + channels)
    if _expect_parameters(expect, block, expected + norms, (mid + mid + channels,), "The block"):
        _compare(expect, block, _fresh(IdentityBlock(channels, mid)), torch.randn(4, channels, 6, 6).double(), "block")


@exercise(
    "conv_block", chapter=5, number=2, title="Write the Conv block",
    difficulty=3, importance=5, minutes=18, points=4,
    solution="resnet_tutorial.blocks:ConvBlock",
)
def check_conv_block(Conv, expect):
    """Shapes at strides 1 and 2, the projection, the ReLUs, and the values on shared weights."""
    in_channels, mid = 12, 8
    out = 4 * mid
    for stride, size in ((2, (8, 8)), (2, (7, 9)), (1, (7, 7))):
        block = Conv(in_channels, mid, stride)
        name = f"ConvBlock({in_channels}, {mid}, stride={stride})"
        if not _expect_module(expect, block, name):
            return
        x = torch.randn(3, in_channels, *size).double()
        shape = (3, out, *(-(-side // stride) for side in size))
        if not _expect_shape(expect, name, x, _fresh(block)(x), shape):
            return
    _expect_untouched(expect, block, x)
    default = _fresh(Conv(in_channels, mid))(x)
    expect(
        tuple(default.shape[2:]) == (4, 4), "wrong-default",
        f"Without a stride, 7 x 7 became {_by(default.shape[2:])}; the default is 2.",
        hint="def __init__(self, in_channels, mid_channels, stride=2).",
    )
    _expect_relus(expect, block, x)

    # Where the shapes agree a Conv block still projects: that is what sets it apart.
    same = _zeroed(_fresh(Conv(out, mid, 1)))
    x = torch.rand(2, out, 5, 5).double() + 0.1
    y = same(x)
    expect(
        bool((y == 0).all()), "missing-projection",
        f"With every parameter at zero, {out} channels in and out at stride 1, "
        f"{(y / x).mean().item():.2f} times x came out: x passes without a projection.",
        hint="A Conv block projects always: 1x1 convolution and batch norm on the shortcut.",
    )
    block = _fresh(Conv(in_channels, mid, 2))
    convolutions = (
        conv_params(in_channels, mid, 1) + conv_params(mid, mid, 3)
        + conv_params(mid, out, 1) + conv_params(in_channels, out, 1)
    )
    expected = convolutions + 2 * (mid + mid + out + out)
    found = sum(p.numel() for p in block.parameters())
    if found == expected - 2 * out:
        expect(
            False, "shortcut-without-bn",
            f"The block has {2 * out} parameters fewer than expected: one batch norm of {out} channels.",
            hint="The projection is a convolution and a batch norm, like every other in the block.",
        )
        return
    if not _expect_parameters(expect, block, expected, (2 * mid + out, 2 * mid + 2 * out), "The block"):
        return
    x = torch.randn(4, in_channels, 8, 8).double()
    reference = _fresh(ConvBlock(in_channels, mid, 2))
    if _share_weights(block, reference):
        shortcut = reference.shortcut(x)
        branch = reference.branch(x)
        y = block(x)
        expect(
            not torch.allclose(y, (branch.relu() + shortcut).relu()), "relu-before-add",
            "The output is that of a block whose branch ends in a ReLU: F(x) is never negative.",
            hint="No ReLU after the last batch norm of the branch.",
        )
        expect(
            not torch.allclose(y, (branch + shortcut.relu()).relu()), "relu-on-shortcut",
            "The output is that of a block with a ReLU on the shortcut.",
            hint="The projection is a convolution and a batch norm, nothing more.",
        )
        expect(
            not torch.allclose(y, _strided_first(reference)(x)), "stride-wrong-conv",
            "The output is that of a block that strides in its first 1x1 (v1, the paper).",
            hint="This exercise asks for v1.5: the stride belongs to the 3x3.",
        )
    if all(finding.ok for finding in expect.findings):
        _compare(expect, block, reference, x, "block")


def _strided_first(reference: ConvBlock) -> nn.Module:
    """Return the same block with the stride in its first 1x1, on the same weights."""
    moved = ConvBlock(reference.branch[0].in_channels, reference.branch[0].out_channels, 2)
    moved.branch[0].stride, moved.branch[3].stride = (2, 2), (1, 1)
    moved.load_state_dict(reference.state_dict())
    return moved.double().train()


@exercise(
    "make_stage", chapter=5, number=3, title="Make a stage",
    difficulty=3, importance=5, minutes=12, points=4,
    solution="resnet_tutorial.solutions.chapter05:make_stage",
)
def check_make_stage(stage_maker, expect):
    """Shapes, number of blocks, registration, independence, and stride in the first block only."""
    stage = stage_maker(16, 8, 3, 2)
    if not _expect_module(expect, stage, "make_stage(16, 8, 3, 2)"):
        return
    parameters = list(stage.parameters())
    if not expect(
        parameters, "no-parameters", "The stage has no parameters: its blocks are not registered.",
        hint="A Python list hides modules; return nn.Sequential(*blocks).",
    ):
        return
    x = torch.randn(2, 16, 12, 12)
    y = stage(x)
    side = y.shape[-1] if isinstance(y, Tensor) else None
    code = "stride-in-every-block" if side == 2 else "stride-missing" if side == 12 else "wrong-shape"
    if not expect(
        isinstance(y, Tensor) and tuple(y.shape) == (2, 32, 6, 6), code,
        f"make_stage(16, 8, 3, 2) turned {_by(x.shape)} into {_by(y.shape)}, not 2 x 32 x 6 x 6.",
        hint="Only the first block takes the stride; the others keep the size.",
    ):
        return
    for arguments in ((16, 8, 3, 2), (16, 4, 1, 1), (8, 4, 5, 2)):
        found = sum(p.numel() for p in stage_maker(*arguments).parameters())
        right = make_stage(*arguments)
        expected = sum(p.numel() for p in right.parameters())
        one = sum(p.numel() for p in right[-1].parameters())
        first = sum(p.numel() for p in right[0].parameters())
        if arguments[2] > 2 and found == first + one:
            code, hint = "shared-block", "[block] * n is n times one block; make each in a comprehension."
        elif found == expected + one:
            code, hint = "wrong-count", "blocks counts the Conv block as well: blocks - 1 Identity blocks."
        elif found == expected - one:
            code, hint = "wrong-count", "blocks - 1 Identity blocks follow the Conv block."
        else:
            code, hint = "wrong-parameters", "One ConvBlock, then IdentityBlocks on 4 x mid_channels."
        if not expect(
            found == expected, code,
            f"make_stage{arguments} has {found:,} parameters, not {expected:,}.", hint=hint,
        ):
            return
    y.sum().backward()
    idle = sum(p.grad is None for p in parameters)
    expect(
        idle == 0, "unused-block", f"{idle} of {len(parameters)} parameters take no part in the output.",
        hint="Every block is called once, one after another.",
    )


@exercise(
    "plan_blocks", chapter=5, number=4, title="Plan the blocks of a network",
    difficulty=2, importance=4, minutes=12, points=3,
    solution="resnet_tutorial.solutions.chapter05:plan_blocks",
)
def check_plan_blocks(planner, expect):
    """The plan of four networks, entry by entry."""
    for layers in ((1, 1, 1, 1), (3, 4, 6, 3), (3, 8, 36, 3), (2, 1, 3, 2)):
        right = plan_blocks(layers)
        plan = [tuple(entry) for entry in planner(layers)]
        if not expect(
            len(plan) == len(right), "wrong-count",
            f"For {layers} the plan has {len(plan)} blocks, not {len(right)}.",
            hint="Every block is one entry; the sum of layers is their number.",
        ):
            return
        for index, (mine, expected) in enumerate(zip(plan, right, strict=True)):
            if mine == expected:
                continue
            names = ("kind", "input channels", "mid channels", "stride")
            wrong = next(i for i in range(4) if len(mine) <= i or mine[i] != expected[i])
            codes = ("wrong-kind", "channels-not-updated", "wrong-mid-channels", "wrong-stride")
            expect(
                False, codes[wrong],
                f"For {layers}, block {index + 1}: its {names[wrong]} should be "
                f"{expected[wrong]!r}; the entry is {mine}.",
                hint="The first block of each stage changes the shape; the first stage keeps the size.",
            )
            return
    expect(True, "right-plan", "All plans agree.")


@exercise(
    "separate_blocks", chapter=5, number=5, title="Repair a stage that shares its weights",
    difficulty=3, importance=3, minutes=10, points=3,
    solution="resnet_tutorial.solutions.chapter05:separate_blocks",
)
def check_separate_blocks(repair, expect):
    """Nothing is shared any more, the values are kept, and the given stage is unharmed."""
    block = IdentityBlock(16, 4)
    shared = nn.Sequential(*[block] * 4)
    before = sum(p.numel() for p in shared.parameters())
    stage = repair(shared)
    if not _expect_module(expect, stage, "separate_blocks"):
        return
    blocks = list(stage.children())
    if not expect(
        len(list(stage)) == 4, "wrong-count", f"The stage has {len(list(stage))} places, not 4.",
        hint="Iterate over the stage: each place gives a block, the same one four times.",
    ):
        return
    found = sum(p.numel() for p in stage.parameters())
    expect(
        found == 4 * before and len(blocks) == 4, "still-shared",
        f"The repaired stage has {found:,} parameters; four separate blocks have {4 * before:,}.",
        hint="Copy each block by itself: one deepcopy of the whole stage keeps the sharing inside.",
    )
    x = torch.randn(2, 16, 5, 5)
    same = torch.allclose(stage.eval()(x), shared.eval()(x), atol=1e-6)
    expect(
        same, "values-changed", "The repaired stage computes something else than the given one.",
        hint="Keep the values: copy the blocks instead of making new ones.",
    )
    expect(
        sum(p.numel() for p in shared.parameters()) == before, "input-modified",
        "The stage that was handed in has been changed.", hint="Return a new nn.Sequential.",
    )
