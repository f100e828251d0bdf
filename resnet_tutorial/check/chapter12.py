"""Checks of chapter 12, after ResNet."""

from __future__ import annotations

import torch
from torch import nn

from ..solutions import chapter12 as solutions
from .core import exercise


def _is_module(expect, block, name: str) -> bool:
    return expect(
        isinstance(block, nn.Module), "wrong-type",
        f"{name} gave {type(block).__name__}, not an nn.Module.",
        hint="Derive the class from nn.Module and call super().__init__() first.",
    )


def _has_shape(expect, y, shape: tuple[int, ...], what: str) -> bool:
    found = tuple(y.shape) if isinstance(y, torch.Tensor) else type(y).__name__
    return expect(
        found == shape, "wrong-shape", f"{what} gave {found}, not {shape}.",
        hint="Follow the shape line by line through forward.",
    )


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _by_size(module: nn.Module) -> dict[int, list[nn.Parameter]]:
    sizes: dict[int, list[nn.Parameter]] = {}
    for parameter in module.parameters():
        sizes.setdefault(parameter.numel(), []).append(parameter)
    return sizes


@exercise(
    "highway_block", chapter=12, number=1, title="A gated shortcut",
    difficulty=3, importance=3, minutes=15, points=3,
    solution="resnet_tutorial.solutions.chapter12:HighwayBlock",
)
def check_highway_block(Highway, expect):
    """The gate's start, the mixture, and the values for either order of the two convolutions."""
    channels = 6
    block = Highway(channels)
    if not _is_module(expect, block, f"HighwayBlock({channels})"):
        return
    block = block.double()
    x = torch.rand(2, channels, 7, 5).double() + 0.5
    if not _has_shape(expect, block(x), tuple(x.shape), "The block"):
        return
    expected = _count(solutions.HighwayBlock(channels))
    if not expect(
        _count(block) == expected, "wrong-parameters",
        f"The block has {_count(block):,} parameters, not {expected:,}.",
        hint="Two 3x3 convolutions from channels to channels, both with a bias.",
    ):
        return
    kernels = [p for p in block.parameters() if p.dim() == 4]
    with torch.no_grad():
        for kernel in kernels:
            kernel.mul_(0)
        share = (block(x) / x).mean().item()
    biases = sorted(p.mean().item() for p in block.parameters() if p.dim() == 1)
    expect(
        share > 0.6, "gate-starts-open" if share < 0.6 and biases[0] > -1 else "wrong-mixture",
        f"With all kernels at zero, {share:.2f} of x comes out; with a gate bias of -2 it is 0.88.",
        hint="Fill the gate's bias with gate_bias, and multiply x by 1 - T(x).",
    )
    for kernel in kernels:
        nn.init.normal_(kernel, std=0.2)
    outputs = []
    for first, second in ((0, 1), (1, 0)):
        reference = solutions.HighwayBlock(channels).double()
        vectors = [p for p in block.parameters() if p.dim() == 1]
        with torch.no_grad():
            for module, place in ((reference.transform, first), (reference.gate, second)):
                module.weight.copy_(kernels[place])
                module.bias.copy_(vectors[place])
        outputs.append(reference(x))
    y = block(x)
    expect(
        any(torch.allclose(y, right, atol=1e-6) for right in outputs), "wrong-function",
        f"With your own weights the formula gives other numbers, by at least "
        f"{min((y - right).abs().max().item() for right in outputs):.2g}.",
        hint="T = sigmoid(gate(x)), H = relu(transform(x)), y = T * H + (1 - T) * x.",
    )


@exercise(
    "dense_layer", chapter=12, number=2, title="Append instead of add",
    difficulty=2, importance=3, minutes=10, points=2,
    solution="resnet_tutorial.solutions.chapter12:DenseLayer",
)
def check_dense_layer(Dense, expect):
    """x comes out unchanged, the new channels are right, and two layers chain."""
    block = Dense(5, 3)
    if not _is_module(expect, block, "DenseLayer(5, 3)"):
        return
    block = block.double().train()
    x = torch.randn(4, 5, 6, 7).double()
    y = block(x)
    added = isinstance(y, torch.Tensor) and y.shape[1] in (3, 5)
    if not expect(
        isinstance(y, torch.Tensor) and tuple(y.shape) == (4, 8, 6, 7),
        "not-appended" if added else "wrong-shape",
        f"{tuple(x.shape)} became {tuple(getattr(y, 'shape', ()))}, not (4, 8, 6, 7).",
        hint="torch.cat([x, new], dim=1): the channels of both, side by side.",
    ):
        return
    swapped = torch.equal(y[:, 3:], x)
    expect(
        swapped or torch.equal(y[:, :5], x), "input-changed",
        "x is not among the output's channels as it came in.",
        hint="Only the copy for the convolution goes through batch norm and ReLU.",
    )
    expected = _count(solutions.DenseLayer(5, 3))
    if not expect(
        _count(block) == expected,
        {expected + 3: "bias", expected - 4: "bn-after-conv"}.get(_count(block), "wrong-parameters"),
        f"The layer has {_count(block)} parameters, not {expected}.",
        hint="A batch norm on the 5 channels that come in, and a 3x3 convolution without bias.",
    ):
        return
    reference = solutions.DenseLayer(5, 3).double().train()
    (kernel,) = [p for p in block.parameters() if p.dim() == 4]
    reference.conv.weight.data.copy_(kernel.data)
    new = y[:, :3] if swapped else y[:, 5:]
    difference = (new - reference(x)[:, 5:]).abs().max().item()
    expect(
        difference < 1e-6, "wrong-order",
        f"The new channels differ from convolution(ReLU(BN(x))) by up to {difference:.2g}.",
        hint="First batch norm, then ReLU, then the convolution.",
    )


@exercise(
    "squeeze_excitation", chapter=12, number=3, title="Squeeze and excitation",
    difficulty=3, importance=4, minutes=15, points=3,
    solution="resnet_tutorial.solutions.chapter12:SqueezeExcitation",
)
def check_squeeze_excitation(SE, expect):
    """One factor a channel, between 0 and 1, from the channel means alone."""
    channels, reduction = 12, 4
    block = SE(channels, reduction)
    if not _is_module(expect, block, f"SqueezeExcitation({channels}, {reduction})"):
        return
    block = block.double()
    x = torch.randn(3, channels, 5, 6).double()
    y = block(x)
    if not _has_shape(expect, y, tuple(x.shape), "The module"):
        return
    ratio = y / x
    spread = (ratio.amax(dim=(2, 3)) - ratio.amin(dim=(2, 3))).max().item()
    expect(
        spread < 1e-6, "not-a-channel-scale",
        f"y / x is not the same at all positions of a channel: it varies by up to {spread:.2g}.",
        hint="Squeeze to one number a channel, and multiply the whole map by one number.",
    )
    low, high = ratio.min().item(), ratio.max().item()
    code = "skip-added" if low >= 1 else "no-sigmoid"
    expect(
        low > 0 and high < 1, code,
        f"The factors go from {low:.2f} to {high:.2f}; a sigmoid's lie between 0 and 1.",
        hint="x * sigmoid(...), with nothing added.",
    )
    expected = _count(solutions.SqueezeExcitation(channels, reduction))
    if not expect(
        _count(block) == expected, "wrong-parameters",
        f"The module has {_count(block)} parameters, not {expected}.",
        hint="channels to channels // reduction and back, both with a bias.",
    ):
        return
    shuffled = x.flatten(2)[:, :, torch.randperm(30)].view_as(x)
    same = torch.allclose((block(shuffled) / shuffled).mean(dim=(2, 3)), ratio.mean(dim=(2, 3)))
    expect(
        same, "not-from-the-means", "Moving the pixels of an image about changes the factors.",
        hint="x.mean(dim=(2, 3)) does not know where a pixel stood.",
    )
    reference = solutions.SqueezeExcitation(channels, reduction).double()
    mine, theirs = _by_size(block), _by_size(reference)
    with torch.no_grad():
        # Both matrices have the same number of entries; they come in the order of the data flow
        # or not, so both are tried.
        for place, target in enumerate(theirs[channels * channels // reduction]):
            target.copy_(mine[channels * channels // reduction][place].view_as(target))
        for size in (channels, channels // reduction):
            theirs[size][0].copy_(mine[size][0].view_as(theirs[size][0]))
        right = reference(x)
        matrices = mine[channels * channels // reduction]
        for place, target in enumerate(theirs[channels * channels // reduction]):
            target.copy_(matrices[1 - place].view_as(target))
        other = reference(x)
    difference = min((y - right).abs().max().item(), (y - other).abs().max().item())
    expect(
        difference < 1e-6, "wrong-function",
        f"With your own weights the formula gives other numbers, by up to {difference:.2g}.",
        hint="sigmoid(excite(relu(squeeze(means)))).",
    )


@exercise(
    "averaging_shortcut", chapter=12, number=4, title="A shortcut that sees every pixel",
    difficulty=3, importance=3, minutes=12, points=3,
    solution="resnet_tutorial.solutions.chapter12:AveragingShortcut",
)
def check_averaging_shortcut(Shortcut, expect):
    """Shapes on odd sizes, every pixel read, edges weighted, values on shared weights."""
    block = Shortcut(4, 6, 2)
    if not _is_module(expect, block, "AveragingShortcut(4, 6, 2)"):
        return
    for size in ((8, 8), (7, 9), (5, 6)):
        x = torch.randn(2, 4, *size).double()
        y = block.double()(x)
        shape = (2, 6, *(-(-side // 2) for side in size))
        code = "floor-instead-of-ceil" if getattr(y, "shape", ())[2:] == tuple(s // 2 for s in size) else "wrong-shape"
        if not expect(
            tuple(y.shape) == shape, code,
            f"{size[0]} x {size[1]} became {tuple(y.shape[2:])}, not {shape[2:]}, which the branch gives.",
            hint="nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False).",
        ):
            return
    x = torch.randn(2, 4, 8, 8).double().requires_grad_()
    block.eval()(x).sum().backward()
    unread = (x.grad.abs().sum(dim=(0, 1)) == 0).float().mean().item()
    expect(
        unread == 0, "pixels-unread",
        f"{unread:.0%} of the input's pixels have no influence on the output.",
        hint="Average first; the 1x1 convolution then has stride 1.",
    )
    expected = _count(solutions.AveragingShortcut(4, 6))
    if not expect(
        _count(block) == expected,
        "missing-bn" if _count(block) == expected - 12 else "wrong-parameters",
        f"The shortcut has {_count(block)} parameters, not {expected}.",
        hint="A 1x1 convolution without bias and a batch norm.",
    ):
        return
    reference = solutions.AveragingShortcut(4, 6).double().eval()
    (kernel,) = [p for p in block.parameters() if p.dim() == 4]
    reference.conv.weight.data.copy_(kernel.data)
    for module in [*block.modules(), *reference.modules()]:
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    x = torch.randn(2, 4, 7, 9).double()
    difference = (block(x) - reference(x)).abs().max().item()
    expect(
        difference < 1e-6, "wrong-edge",
        f"On a 7 x 9 input the values differ by up to {difference:.2g}: at the edge, or in the average.",
        hint="count_include_pad=False: a window over the edge averages the pixels that exist.",
    )
    same = Shortcut(4, 6, 1).double()(x)
    expect(
        tuple(same.shape[2:]) == (7, 9), "wrong-shape",
        f"At stride 1, 7 x 9 became {tuple(same.shape[2:])}.", hint="Let the pool have the stride.",
    )
