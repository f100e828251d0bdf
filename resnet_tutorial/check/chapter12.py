"""Checks of chapter 12, after ResNet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..solutions import chapter12 as solutions
from .common import described, gradients, parameter_count, told, written
from .core import Expectations, exercise


def _is_module(expect: Expectations, block: Any, name: str) -> bool:
    return expect(
        isinstance(block, nn.Module), "wrong-type", f"{name} gave {described(block)}, not an nn.Module.",
        hint="Derive the class from nn.Module and call super().__init__() first.",
    )


def _output(
    expect: Expectations, block: nn.Module, x: Tensor, shape: tuple[int, ...] | None, what: str
) -> Tensor | None:
    """Return what the block makes of a copy of x, or record what is wrong with it and return None."""
    given = x.clone()
    y = block(given)
    if not expect(
        isinstance(y, Tensor), "wrong-type", f"{what} gave {described(y)}, not a tensor.",
        hint="End forward with return.",
    ) or not expect(
        shape is None or tuple(y.shape) == shape, "wrong-shape", f"{what} gave {tuple(y.shape)}, not {shape}.",
        hint="Follow the shape line by line through forward.",
    ) or not expect(
        torch.equal(given, x), "input-modified", f"{what} wrote into its input, by up to "
        f"{(given - x).abs().max().item():.2g}: what else reads x gets other numbers.",
        hint="No *=, no function with a trailing underscore and no inplace=True on x itself.",
    ):  # fmt: skip
        return None
    return y


def _by_size(module: nn.Module) -> dict[int, list[nn.Parameter]]:
    sizes: dict[int, list[nn.Parameter]] = {}
    for parameter in module.parameters():
        sizes.setdefault(parameter.numel(), []).append(parameter)
    return sizes


def _same_gradients(expect: Expectations, block: nn.Module, reference: nn.Module, x: Tensor) -> bool:
    """Compare the gradients at x and those of all parameters together, where the values are equal."""
    with torch.no_grad():
        weights = torch.randn_like(block(x.clone()))
    (mine, all_mine), (theirs, all_theirs) = (gradients(module, x, weights) for module in (block, reference))
    if not expect(
        torch.allclose(mine, theirs, atol=1e-6), "detached",
        "The values are right, but part of the way back is cut: the gradient at the input is off by up to "
        f"{(mine - theirs).abs().max().item():.2g}.",
        hint="No detach(), no .data and no torch.no_grad() in forward.",
    ):
        return False
    sums = [sum(g.square().sum().item() for g in found) for found in (all_mine, all_theirs)]
    return expect(
        math.isclose(*sums, rel_tol=1e-6, abs_tol=1e-9), "parameters-detached",
        f"The values are right, but the parameters' gradients have the squared norm {sums[0]:.6g}, not {sums[1]:.6g}.",
        hint="No detach(), no .data, no torch.no_grad() in forward, and no requires_grad=False.",
    )


@exercise(
    "highway_block", chapter=12, number=1, title="A gated shortcut",
    difficulty=3, importance=3, minutes=15, points=3,
    solution="resnet_tutorial.solutions.chapter12:HighwayBlock",
)
def check_highway_block(Highway: Any, expect: Expectations) -> None:
    """The gate's start, the mixture, values and gradients for either order of the two convolutions, or one for both."""
    channels = 6
    block = Highway(channels)
    if not _is_module(expect, block, f"HighwayBlock({channels})"):
        return
    block = block.double()
    x = torch.randn(2, channels, 7, 5).double()
    if _output(expect, block, x, tuple(x.shape), "The block") is None:
        return
    count, expected = parameter_count(block), parameter_count(solutions.HighwayBlock(channels))
    kernels = [p for p in block.parameters() if p.dim() == 4]
    vectors = [p for p in block.parameters() if p.dim() == 1]
    sizes = [sum(p.numel() for p in some) for some in (kernels, vectors)]
    if not expect(
        sizes == [18 * channels**2, 2 * channels] and all(k.shape[1:] == (channels, 3, 3) for k in kernels)
        and count == expected, "wrong-parameters",
        f"The block has {count:,} parameters, {sizes[0]:,} of them in kernels and {sizes[1]} in biases, "
        f"not {expected:,}: {18 * channels**2} and {2 * channels}.",
        hint="Two 3x3 convolutions from channels to channels, both with a bias.",
    ):  # fmt: skip
        return
    if not _gate_starts(expect, Highway, channels):
        return
    for kernel in kernels:
        nn.init.normal_(kernel, std=0.2)
    references = []
    for order in ((0, 1), (1, 0)):
        reference = solutions.HighwayBlock(channels).double()
        with torch.no_grad():
            for module, place in zip((reference.transform, reference.gate), order, strict=True):
                weight, bias = module.parameters()
                weight.copy_(torch.cat(kernels).chunk(2)[place])
                bias.copy_(torch.cat(vectors).chunk(2)[place])
        references.append(reference)
    y = block(x.clone())
    differences = [(y - reference(x)).abs().max().item() for reference in references]
    nearest = references[differences.index(min(differences))]
    faults = {
        code: found for reference in references for code, found in _highway_faults(reference, x).items()
        if torch.allclose(y, found[0], atol=1e-9)
    }  # fmt: skip
    code = next(iter(faults), "wrong-function") if min(differences) >= 1e-6 else "wrong-function"
    if expect(
        min(differences) < 1e-6, code,
        f"With your own weights the formula gives other numbers, by at least {min(differences):.2g}.",
        hint=faults[code][1] if code in faults else
        "T = sigmoid(gate(x)), H = relu(transform(x)), y = T * H + (1 - T) * x.",
    ):  # fmt: skip
        _same_gradients(expect, block, nearest, x)


def _highway_faults(block: solutions.HighwayBlock, x: Tensor) -> dict[str, tuple[Tensor, str]]:
    """Return what known mistakes give with the weights of the book's block, with a hint for each."""
    gate, inner = torch.sigmoid(block.gate(x)), block.transform(x)
    whole = "The ReLU belongs to H alone: the sum may be negative."
    return {
        "missing-relu": (gate * inner + (1 - gate) * x, "H ends with a ReLU: H = relu(transform(x))."),
        "relu-on-the-sum": (F.relu(gate * F.relu(inner) + (1 - gate) * x), whole),
        "relu-moved": (F.relu(gate * inner + (1 - gate) * x), whole),
        "x-not-weighed": (gate * F.relu(inner) + x, "Where the gate lets H in, x gives way: multiply x by 1 - T(x)."),
    }


def _gate_starts(expect: Expectations, Highway: Any, channels: int) -> bool:
    """Look at the share of x that comes out when all kernels are zero: 1 - sigmoid(gate_bias)."""
    for options, bias in (({}, -2.0), ({"gate_bias": 1.0}, 1.0), ({"gate_bias": -0.5}, -0.5)):
        block = Highway(channels, **options).double()
        x = 9 + torch.rand(2, channels, 4, 4).double()  # far from zero: no ReLU, wherever it stands, is seen
        with torch.no_grad():
            for kernel in [p for p in block.parameters() if p.dim() == 4]:
                kernel.zero_()
            share = (block(x + 1) - block(x)).mean((0, 2, 3))
        due = 1 - 1 / (1 + math.exp(-bias))
        low, high = share.min().item(), share.max().item()
        if not options and low > 1 - 1e-6 and high < 1 + 1e-6:
            return True  # all of x passes, whatever the gate: a matter of the formula
        code = "gate-bias-ignored" if options else "gate-starts-open"
        hint = "Fill the whole bias of the gate with gate_bias, and multiply x by 1 - T(x)."
        if not options and not 0 < low <= high < 1 or abs(low - 1 + due) + abs(high - 1 + due) < 1e-6:
            code, hint = "wrong-mixture", "Multiply H(x) by T(x), and x by 1 - T(x)."
        elif not options and abs(low - due) > 1e-6 and _gate_bias(Highway(channels, gate_bias=bias), bias):
            code, hint = "wrong-default", "def __init__(self, channels, gate_bias=-2.0)"
        if not expect(
            abs(low - due) < 1e-6 and abs(high - due) < 1e-6, code,
            f"With all kernels at zero and {'the default' if not options else 'a'} gate_bias of {bias}, "
            f"{low:.3f} to {high:.3f} of x comes out, channel by channel, not {due:.3f}.",
            hint=hint,
        ) or not expect(
            bool(_gate_bias(block, bias)), "bias-not-learnt",
            f"With a gate_bias of {bias} the gate starts where it should, but no bias of the block holds {bias}.",
            hint="nn.init.constant_(self.gate.bias, gate_bias), and nothing added in forward: the bias itself starts "
            "there, and is learnt.",
        ):
            return False
    return True


def _gate_bias(block: nn.Module, bias: float) -> list[Tensor]:
    """Return the biases of the block, of one convolution or of two, that hold this number in every channel."""
    halves = torch.cat([p.detach() for p in block.parameters() if p.dim() == 1]).chunk(2)
    return [half for half in halves if torch.allclose(half, torch.full_like(half, bias))]


@exercise(
    "dense_layer", chapter=12, number=2, title="Append instead of add",
    difficulty=2, importance=3, minutes=10, points=2,
    solution="resnet_tutorial.solutions.chapter12:DenseLayer",
)
def check_dense_layer(Dense: Any, expect: Expectations) -> None:
    """x comes out unchanged and first, the new channels are right, and so are the gradients."""
    block = Dense(5, 3)
    if not _is_module(expect, block, "DenseLayer(5, 3)"):
        return
    block = block.double().train()
    x = torch.randn(4, 5, 6, 7).double()
    y = _output(expect, block, x, None, "The layer")
    if y is None:
        return
    if not expect(
        tuple(y.shape) == (4, 8, 6, 7),
        "not-appended" if y.dim() == 4 and y.shape[1] in (3, 5) else "wrong-shape",
        f"{tuple(x.shape)} became {tuple(y.shape)}, not (4, 8, 6, 7).",
        hint="torch.cat([x, new], dim=1): the channels of both, side by side.",
    ):
        return
    swapped = torch.equal(y[:, 3:], x)
    if not expect(
        not swapped, "new-channels-first", "The new channels come first and x behind them; x is what is appended to.",
        hint="torch.cat([x, new], dim=1).",
    ) or not expect(
        torch.equal(y[:, :5], x), "input-changed",
        "x is not among the output's channels as it came in.",
        hint="Only the copy for the convolution goes through batch norm and ReLU.",
    ):
        return
    count, expected = parameter_count(block), parameter_count(solutions.DenseLayer(5, 3))
    kernels = [p for p in block.parameters() if p.dim() == 4]
    if not expect(
        count == expected and len(kernels) == 1 and kernels[0].shape == (3, 5, 3, 3),
        {expected + 3: "bias", expected - 4: "bn-after-conv"}.get(count, "wrong-parameters"),
        f"The layer has {count} parameters, not {expected}.",
        hint="A batch norm on the 5 channels that come in, and a 3x3 convolution without bias.",
    ):
        return
    reference = solutions.DenseLayer(5, 3).double().train()
    reference.conv.weight.data.copy_(kernels[0].data)
    new, right = y[:, 5:], reference(x)[:, 5:]
    norm, conv = reference.norm, reference.conv
    faults = {
        "missing-relu": (conv(norm(x)), "Between batch norm and convolution stands a ReLU."),
        "relu-before-bn": (conv(norm(F.relu(x))), "First batch norm, then ReLU."),
        "bn-unused": (conv(F.relu(x)), "Call the batch norm in forward."),
        "relu-after-conv": (F.relu(right), "Nothing comes behind the convolution."),
        "relu-moved": (F.relu(conv(norm(x))), "The ReLU stands before the convolution, not behind it."),
    }
    code = next((code for code, (values, _) in faults.items() if torch.allclose(new, values, atol=1e-6)), "wrong-order")
    difference = (new - right).abs().max().item()
    if expect(
        difference < 1e-6, code,
        f"The new channels differ from convolution(ReLU(BN(x))) by up to {difference:.2g}.",
        hint=faults.get(code, ("", "First batch norm, then ReLU, then the convolution."))[1],
    ) and _same_gradients(expect, block, reference, x):
        with torch.no_grad():
            apart = (block.eval()(x)[:1] - block(x[:1])).abs().max().item()
        expect(
            apart < 1e-6, "batch-in-eval",
            f"In eval mode the output for an image alone and in a batch of {len(x)} differs by up to {apart:.2g}.",
            hint="nn.BatchNorm2d(in_channels) as it is: it keeps running statistics, and eval mode uses them.",
        )


def _squeezed(se: solutions.SqueezeExcitation, x: Tensor) -> dict[str, tuple[Tensor, str]]:
    """Return what known mistakes give with the weights of the book's module, with a hint for each."""
    means, first, second = x.mean((2, 3)), se.narrow, se.widen

    def times(scale: Tensor) -> Tensor:
        return x * scale[:, :, None, None]

    order = "sigmoid(second(relu(first(means))))."
    return {
        "missing-relu": (times(second(first(means)).sigmoid()), order),
        "softmax": (times(second(first(means).relu()).softmax(1)), "Each factor by itself: sigmoid, not softmax."),
        "sigmoid-twice": (times(second(first(means).sigmoid()).sigmoid()), order),
        "max-instead-of-mean": (times(second(first(x.amax((2, 3))).relu()).sigmoid()), "x.mean(dim=(2, 3))."),
        "sum-instead-of-mean": (times(second(first(x.sum((2, 3))).relu()).sigmoid()), "x.mean(dim=(2, 3))."),
        "mean-of-the-batch": (
            times(second(first(means.mean(0, keepdim=True)).relu()).sigmoid()), "Each image has its own means.",
        ),
    }  # fmt: skip


@exercise(
    "squeeze_excitation", chapter=12, number=3, title="Squeeze and excitation",
    difficulty=3, importance=4, minutes=15, points=3,
    solution="resnet_tutorial.solutions.chapter12:SqueezeExcitation",
)
def check_squeeze_excitation(SE: Any, expect: Expectations) -> None:
    """One factor a channel, between 0 and 1, from the channel means alone; values and gradients."""
    channels, reduction = 12, 4
    block = SE(channels, reduction)
    if not _is_module(expect, block, f"SqueezeExcitation({channels}, {reduction})"):
        return
    block = block.double()
    # Means far from zero and many images: some of what the ReLU gets is negative, however the weights were drawn.
    x = torch.randn(16, channels, 5, 6).double() + 3 * torch.randn(16, channels, 1, 1).double()
    y = _output(expect, block, x, tuple(x.shape), "The module")
    if y is None:
        return
    ratio = y / x
    spread = (ratio.amax(dim=(2, 3)) - ratio.amin(dim=(2, 3))).max().item()
    if not expect(
        spread < 1e-6, "not-a-channel-scale",
        f"y / x is not the same at all positions of a channel: it varies by up to {spread:.2g}.",
        hint="Squeeze to one number a channel, and multiply the whole map by one number.",
    ):
        return
    low, high = ratio.min().item(), ratio.max().item()
    code = "skip-added" if low >= 1 else "no-sigmoid"
    if not expect(
        0 <= low < 1 and high < 1 + 1e-9, code,  # far from zero a sigmoid is 0 or 1 in the digits that there are
        f"The factors go from {low:.2f} to {high:.2f}; a sigmoid's lie between 0 and 1.",
        hint="x * sigmoid(...), with nothing added.",
    ):
        return
    reference = solutions.SqueezeExcitation(channels, reduction).double()
    count, expected = parameter_count(block), parameter_count(reference)
    mine, theirs = _by_size(block), _by_size(reference)
    if not expect(
        {size: len(some) for size, some in mine.items()} == {size: len(some) for size, some in theirs.items()},
        "wrong-parameters", f"The module has {count} parameters, not the {expected} of two linear layers.",
        hint="channels to channels // reduction and back, both with a bias.",
    ):
        return
    shuffled = x.roll((2, 1), dims=(2, 3))  # no pixel stays where it was
    same = torch.allclose((block(shuffled) / shuffled).mean(dim=(2, 3)), ratio.mean(dim=(2, 3)))
    if not expect(
        same, "not-from-the-means", "Moving the pixels of an image about changes the factors.",
        hint="x.mean(dim=(2, 3)) does not know where a pixel stood.",
    ):
        return
    matrices, matrix = mine[channels * channels // reduction], theirs[channels * channels // reduction]
    code, hint, smallest = "wrong-function", "sigmoid(second(relu(first(means)))).", math.inf
    # Both matrices have the same number of entries; they come in the order of the data flow
    # or not, so both are tried.
    for order in ((0, 1), (1, 0)):
        with torch.no_grad():
            for target, place in zip(matrix, order, strict=True):
                target.copy_(matrices[place].view_as(target))
            for size in (channels, channels // reduction):
                theirs[size][0].copy_(mine[size][0].view_as(theirs[size][0]))
            difference = (y - reference(x)).abs().max().item()
            for name, (values, advice) in _squeezed(reference, x).items():
                if torch.allclose(y, values, atol=1e-9):
                    code, hint = name, advice
        smallest = min(smallest, difference)
        if difference < 1e-6:
            break
    if expect(
        smallest < 1e-6, code,
        f"With your own weights the formula gives other numbers, by up to {smallest:.2g}.", hint=hint,
    ) and _same_gradients(expect, block, reference, x):
        with told("the batch held one image."):
            alone = block(x[:1].clone())
        if expect(
            isinstance(alone, Tensor) and alone.shape == x[:1].shape and torch.allclose(alone, y[:1], atol=1e-9),
            "batch-of-one", "The output for an image alone is not what it is in a batch.",
            hint="squeeze() without an axis takes away the batch's axis too: name the axes.",
        ):
            _reduces(expect, SE)


def _reduces(expect: Expectations, SE: Any) -> None:
    """Look at a number of channels that the reduction does not divide, and at the default."""
    for arguments, code, hint in (
        ((24, 16), "rounded-up", "channels // reduction rounds down."),
        ((24,), "wrong-default", "def __init__(self, channels, reduction=16)"),
    ):
        count, due = parameter_count(SE(*arguments)), parameter_count(solutions.SqueezeExcitation(24, 16))
        if not expect(
            count == due, code, f"{written('SqueezeExcitation', *arguments)} has {count} parameters, not the {due} of "
            "linear layers from 24 to 1 and back.", hint=hint,
        ):  # fmt: skip
            return


def _average_fault(y: Tensor, reference: solutions.AveragingShortcut, x: Tensor) -> tuple[str, str]:
    """Name the mistake that gives these values, and say what to try; ``""`` for none that is known."""
    stride = cast(int, reference.pool.stride)  # one for both axes
    end = (0, -x.shape[3] % stride, 0, -x.shape[2] % stride)

    def rest(pooled: Tensor) -> Tensor:
        return reference.norm(reference.conv(pooled))

    edge = "count_include_pad=False: a window over the edge averages the pixels that exist."
    side = "Windows of stride x stride, side by side: nn.AvgPool2d(stride, stride, ceil_mode=True, ...)."
    windows = [
        F.avg_pool2d(x, size, stride, padding, ceil_mode=ceil, count_include_pad=whole)
        for size, padding in ((2, 0), (2, 1), (3, 0), (3, 1)) if size != stride
        for whole in (True, False) for ceil in (True, False)
    ] + [F.avg_pool2d(F.pad(x, (0, 1, 0, 1)), 2, stride)]  # fmt: skip
    adaptive = F.adaptive_avg_pool2d(x, (-(-x.shape[2] // stride), -(-x.shape[3] // stride)))
    known = {
        "max-pooling": (rest(F.max_pool2d(x, stride, stride, ceil_mode=True)), "Average, do not take the maximum."),
        "extra-relu": (F.relu(reference(x)), "A shortcut ends with its batch norm: no ReLU."),
        "zero-padding": (rest(F.avg_pool2d(F.pad(x, end), stride)), edge),
        "replicated-edge": (rest(F.avg_pool2d(F.pad(x, end, mode="replicate"), stride)), edge),
        "pool-last": (
            reference.pool(reference.norm(reference.conv(x))), "First average, then convolve, then normalise.",
        ),
        "adaptive-pooling": (
            rest(adaptive), "Adaptive windows overlap where the size is odd; these begin every stride pixels.",
        ),
        **{f"window-{n}": (rest(pooled), side) for n, pooled in enumerate(windows) if pooled.shape == adaptive.shape},
    }  # fmt: skip
    right = torch.allclose(y, reference(x), atol=1e-9)
    found = ((code, hint) for code, (values, hint) in known.items() if torch.allclose(y, values, atol=1e-9))
    whole = x.shape[2] % stride == x.shape[3] % stride == 0
    code, hint = next(found, ("", side if whole else edge))
    return ("", side) if right else ("wrong-window" if code.startswith("window") else code, hint)


@exercise(
    "averaging_shortcut", chapter=12, number=4, title="A shortcut that sees every pixel",
    difficulty=3, importance=3, minutes=12, points=3,
    solution="resnet_tutorial.solutions.chapter12:AveragingShortcut",
)
def check_averaging_shortcut(Shortcut: Any, expect: Expectations) -> None:
    """Shapes on odd sizes, every pixel read, edges weighted, values in both modes on shared weights."""
    for stride, sizes in ((2, ((8, 8), (7, 9), (5, 6))), (3, ((9, 6), (7, 8), (8, 10))), (1, ((7, 9),))):
        block = Shortcut(4, 6) if stride == 2 else Shortcut(4, 6, stride)
        if not _is_module(expect, block, f"AveragingShortcut(4, 6, {stride})"):
            return
        block = block.double()
        for size in sizes:
            y = _output(expect, block, torch.randn(2, 4, *size).double(), None, "The shortcut")
            if y is None:
                return
            shape = (2, 6, *(-(-side // stride) for side in size))
            floor = y.dim() == 4 and tuple(y.shape[2:]) == tuple(side // stride for side in size)
            if not expect(
                tuple(y.shape) == shape, "floor-instead-of-ceil" if floor else "wrong-shape",
                f"At {'the default ' * (stride == 2)}stride {stride}, {size[0]} x {size[1]} became {tuple(y.shape)}, "
                f"not {shape}.",
                hint="nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False).",
            ):
                return
        if not _averages(expect, block, stride, sizes):
            return


def _averages(expect: Expectations, block: nn.Module, stride: int, sizes: Sequence[tuple[int, int]]) -> bool:
    """Compare the values with the book's on the same weights, in eval mode and in training mode."""
    reference = solutions.AveragingShortcut(4, 6, stride).double()
    count, expected = parameter_count(block), parameter_count(reference)
    kernels = [p for p in block.parameters() if p.numel() == 24]
    right_size = count == expected and len(kernels) == 1
    for module in [*block.modules(), *reference.modules()]:
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    if kernels:
        reference.conv.weight.data.copy_(kernels[0].data.view_as(reference.conv.weight))
    x = torch.randn(2, 4, *sizes[0]).double().requires_grad_()
    y = block.eval()(x * 1)
    if y.requires_grad:
        y.sum().backward()
    if not expect(
        x.grad is not None, "detached", "No gradient comes back from the output to the input.",
        hint="No detach(), no .data and no torch.no_grad() in forward.",
    ) or x.grad is None:
        return False
    unread = (x.grad.abs().sum(dim=(0, 1)) == 0).float().mean().item()
    code, hint = _average_fault(y, reference.eval(), x) if right_size else ("", "")
    if code not in ("max-pooling", "extra-relu", "wrong-window"):
        code, hint = "pixels-unread", "Average first; the 1x1 convolution then has stride 1."
    if not expect(
        unread == 0, code, f"{unread:.0%} of the input's pixels have no influence on the output.", hint=hint
    ):
        return False
    if not expect(
        right_size, "missing-bn" if count == expected - 12 else "wrong-parameters",
        f"The shortcut has {count} parameters, not {expected}.",
        hint="A 1x1 convolution without bias and a batch norm.",
    ):
        return False
    for training in (False, True):
        block.train(training)
        reference.train(training)
        for size in sizes:
            x = torch.randn(2, 4, *size).double()
            y, right = block(x.clone()), reference(x)
            difference = (y - right).abs().max().item()
            code, hint = _average_fault(y, reference, x) if difference >= 1e-6 else ("", "")
            whole = size[0] % stride == size[1] % stride == 0
            if not expect(
                difference < 1e-6, code or ("wrong-average" if whole else "wrong-edge"),
                f"At stride {stride}, on a {size[0]} x {size[1]} input in {'training' if training else 'eval'} mode, "
                f"the values differ by up to {difference:.2g}.", hint=hint,
            ):  # fmt: skip
                return False
    return _same_gradients(expect, block, reference, x)
