"""Checks of chapter 6, ResNet-50 whole.

Two networks are compared by giving both the same numbers and looking at what comes out.
So that neither names nor the order of definition matter, the numbers depend on a tensor's shape
alone: all tensors of one shape get the same values (:func:`_by_shape`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from itertools import chain
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import is_lazy

from ..blocks import BasicBlock, Bottleneck
from ..cifar import CifarBlock
from ..models import make_layer
from ..solutions.chapter06 import ResNet50, SmallResNet, classifier_head, imagenet_stem
from .common import described, differs_between_calls, frozen, whole, whole_numbers
from .core import exercise, learners_frames
from .networks import Network, Shape, Variant, head_variants, judge_network, stages


@cache
def _numbers() -> Tensor:
    return torch.randn(2_400_000, generator=torch.Generator().manual_seed(6))


def _values(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    count = prod(shape)
    numbers = _numbers()
    if count > len(numbers):
        numbers = numbers.repeat(-(-count // len(numbers)))
    numbers = numbers[:count].view(shape).to(dtype)
    # He's scale for weights; the vectors of batch norms take both signs, so that each ReLU matters.
    return numbers * (2 / prod(shape[1:])) ** 0.5 if len(shape) > 1 else numbers


def _by_shape(model: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return values for all parameters and buffers, the same for all tensors of one shape."""
    shapes = {tuple(p.shape) for p in model.parameters()}
    shared = {shape: _values(shape, dtype) for shape in shapes}
    values = {name: shared[tuple(p.shape)] for name, p in model.named_parameters()}
    for name, buffer in model.named_buffers():  # a training step changes them: each its own
        if buffer.is_floating_point():  # variances are positive
            values[name] = 0.5 + _values(tuple(buffer.shape), dtype).sigmoid()
        else:
            values[name] = torch.zeros(buffer.shape, dtype=buffer.dtype)
    return values


def _run(model: nn.Module, x: Tensor, train: bool) -> Tensor:
    """Return what the model computes with weights that depend on their shapes alone."""
    return functional_call(model.train(train), _by_shape(model, x.dtype), x)


def _same(mine: Tensor, wanted: Tensor, tolerance: float) -> bool:
    return mine.shape == wanted.shape and bool(
        (mine - wanted).abs().max() <= tolerance * wanted.abs().max()
    )


def _count(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)


def _shown(shape: Iterable[int]) -> str:
    return " × ".join(map(str, shape))


def _is_module(attempt: Any, what: str, expect) -> bool:
    """Whether something came back that PyTorch can train and move as a whole."""
    if not expect(
        isinstance(attempt, nn.Module), "not-a-module",
        f"{what} gave a {type(attempt).__name__}, not an nn.Module.",
        hint="nn.Sequential(first, second, …) makes one module of several.",
    ):  # fmt: skip
        return False
    return expect(
        not isinstance(attempt, nn.ModuleList | nn.ModuleDict), "not-callable",
        f"{what} gave an nn.{type(attempt).__name__}, which keeps modules but does not run them.",
        hint="nn.Sequential(*blocks) runs them one after the other.",
    )  # fmt: skip


def _ready(model: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """Give lazy layers their shapes, by a call with an input of this shape."""
    if any(is_lazy(tensor) for tensor in chain(model.parameters(), model.buffers())):
        device = next(chain(model.parameters(), model.buffers())).device
        with torch.no_grad():
            model.eval()(torch.zeros(shape, device=device))
        model.train()
    return model


def _gave_a_tensor(y: Any, what: str, expect) -> bool:
    return expect(
        isinstance(y, Tensor), "wrong-type", f"{what} returned {described(y)}, not a tensor.",
        hint="forward ends with return, and returns one tensor.",
    )  # fmt: skip


def _trains(model: nn.Module, what: str, expect) -> bool:
    """Whether all parameters ask for gradients and all modules are in training mode."""
    names = frozen(model)
    resting = [name or "the whole" for name, module in model.named_modules() if not module.training]
    return expect(
        not names, "frozen",
        f"{what}: {len(names)} of the parameter tensors, {', '.join(names[:2])}{' …' * (len(names) > 2)}, are frozen: "
        "no optimiser would train them.",
        hint="Leave requires_grad as it is; a new network is trained as a whole.",
    ) and expect(
        not resting, "left-in-eval", f"{what}: fresh from the call, {resting[0] if resting else ''} is in eval mode.",
        hint="Leave out .eval(): a new module is in training mode, and whoever evaluates it changes that.",
    )  # fmt: skip


def _gradients(model: nn.Module, x: Tensor, train: bool) -> dict[tuple[int, ...] | None, Tensor | None]:
    """Return the gradients of a mixture of the outputs: the input's under None, the parameters' by shape."""
    values = _by_shape(model, x.dtype)
    # No cached values: these ask for gradients. Axes of length 1 are a matter of style.
    leaves: dict[tuple[int, ...] | None, Tensor] = {None: x.clone().requires_grad_()}
    for name, parameter in model.named_parameters():
        key = tuple(n for n in parameter.shape if n > 1)
        leaf = leaves.setdefault(key, values[name].clone().requires_grad_())
        values[name] = leaf.view(parameter.shape)
    y = functional_call(model.train(train), values, leaves[None].clone())
    if not y.requires_grad:
        return dict.fromkeys(leaves)
    mixed = (y * _values(tuple(y.shape), y.dtype)).sum()
    return dict(zip(leaves, torch.autograd.grad(mixed, list(leaves.values()), allow_unused=True), strict=True))


def _gradients_hold(mine: nn.Module, book: nn.Module, x: Tensor, train: bool, what: str, expect) -> bool:
    """Whether the gradients are the book's; the outputs are known to be."""
    found = _gradients(mine, x, train)
    for key, wanted in _gradients(book, x, train).items():
        if key not in found:
            continue
        whose = "the input" if key is None else f"the parameters of {_shown(key)}"
        got = found[key]
        if not expect(
            got is not None and bool(got.any()), "gradient-cut",
            f"{what}: the values are right, but no gradient reaches {whose}.",
            hint="Leave out .detach(), .data, .item() and torch.no_grad() in forward.",
        ):  # fmt: skip
            return False
        if not expect(
            _same(got, wanted, 1e-8), "wrong-gradient",
            f"{what}: the values are right, but the gradient of {whose} is not.",
            hint="Leave out .detach(), .data and torch.no_grad() in forward.",
        ):  # fmt: skip
            return False
    return True


def _is_random(model: nn.Module, x: Tensor, train: bool, what: str, expect) -> bool:
    """Whether two calls with one input give different outputs; that is recorded."""
    return not expect(
        not differs_between_calls(lambda: _run(model, x, train)), "random",
        f"{what}: two calls with the same input and weights in {'training' if train else 'evaluation'} mode "
        "give different outputs.",
        hint="Leave out dropout and noise; nothing here is random.",
    )  # fmt: skip


def _explain(
    expect, mine: Tensor, x: Tensor, train: bool, variants: Iterable[Variant], tolerance: float
) -> bool:
    """Record which known fault gives this output, if one does."""
    for code, message, hint, build in variants:
        wrong = _run(build(), x, train)
        if _same(mine, wrong, tolerance):
            return not expect(False, code, message, hint)
    return False


# --- 6.1 -------------------------------------------------------------------------------------


def _stem(i: int, o: int, **options: Any) -> nn.Module:
    """Return the book's stem with options of the batch norm changed."""
    stem = imagenet_stem(i, o)
    stem[1] = nn.BatchNorm2d(o, **options)
    return stem


def _after_training(model: nn.Module, batches: Iterable[Tensor], x: Tensor) -> Tensor:
    """Return the output in evaluation mode after some calls in training mode."""
    with torch.no_grad():
        for parameter in model.double().parameters():
            parameter.copy_(_values(tuple(parameter.shape), torch.double))
        model.train()
        for batch in batches:
            model(batch)
        return model.eval()(x)


def _statistics_hold(build: Callable[[], nn.Module], i: int, o: int, expect) -> bool:
    batches = [2 * torch.randn(4, i, 15, 18, dtype=torch.double) + 1 for _ in range(3)]
    x = torch.randn(2, i, 15, 18, dtype=torch.double)
    mine = _after_training(build(), batches, x)
    if _same(mine, _after_training(imagenet_stem(i, o), batches, x), 1e-9):
        return expect(True, "wrong-statistics", "")
    seen = f"After three calls in training mode imagenet_stem({i}, {o}) gives other values in evaluation mode"
    for momentum in (0.9, 0.99, 0.999, 0.5, 0.2, 0.05, 0.01, 0.001, None):
        if _same(mine, _after_training(_stem(i, o, momentum=momentum), batches, x), 1e-9):
            return expect(
                False, "wrong-momentum", f"{seen}, those of a batch norm with momentum={momentum}, not 0.1.",
                hint="nn.BatchNorm2d(out_channels), with nothing else.",
            )  # fmt: skip
    return expect(
        False, "wrong-statistics", f"{seen} than the book's: the batch norm's running statistics differ.",
        hint="nn.BatchNorm2d(out_channels), with nothing else.",
    )  # fmt: skip


def _stem_variants(i: int, o: int) -> list[Variant]:
    conv, bn, relu = nn.Conv2d(i, o, 7, 2, 3, bias=False), nn.BatchNorm2d(o), nn.ReLU()
    pool = nn.MaxPool2d(3, 2, 1)
    return [
        ("relu-capped", "The values are those of a stem whose ReLU ends at 6.",
         "nn.ReLU() has no upper end; nn.ReLU6() has.", lambda: nn.Sequential(conv, bn, nn.ReLU6(), pool)),
        *(("wrong-eps", f"The values are those of a stem whose batch norm has eps={eps:g}, not 1e-05.",
           "nn.BatchNorm2d(out_channels), with nothing else.", partial(_stem, i, o, eps=eps))
          for eps in (1e-2, 1e-3, 1e-4, 1e-6, 1e-8)),
        ("missing-relu", "The values are those of a stem without a ReLU.",
         "The order is convolution, batch norm, ReLU, pooling.",
         lambda: nn.Sequential(conv, bn, pool)),
        ("average-pooling", "The values are those of a stem with average pooling.",
         "nn.MaxPool2d keeps the largest of nine values.",
         lambda: nn.Sequential(conv, bn, relu, nn.AvgPool2d(3, 2, 1))),
        ("relu-before-bn", "The values are those of a stem whose ReLU stands before its batch norm.",
         "The order is convolution, batch norm, ReLU, pooling.",
         lambda: nn.Sequential(conv, relu, bn, pool)),
        ("pool-before-bn", "The values are those of a stem that pools before it normalises.",
         "The order is convolution, batch norm, ReLU, pooling.",
         lambda: nn.Sequential(conv, pool, bn, relu)),
        ("small-pooling", "The values are those of a stem whose pooling looks at 2 × 2 values.",
         "The pooling window is 3 × 3, at stride 2, with a padding of 1.",
         lambda: nn.Sequential(conv, bn, relu, nn.MaxPool2d(2, 2, ceil_mode=True))),
    ]  # fmt: skip


@exercise(
    "imagenet_stem", chapter=6, number=1, title="Write the stem",
    difficulty=2, importance=4, minutes=8, points=2,
    solution="resnet_tutorial.solutions.chapter06:imagenet_stem",
)  # fmt: skip
def check_imagenet_stem(imagenet_stem_, expect):
    """Shapes, parameter count, values, gradients, and the statistics that training leaves."""
    stem = imagenet_stem_(3, 16)
    if not _is_module(stem, "imagenet_stem(3, 16)", expect):
        return
    _ready(stem, (2, 3, 32, 32))

    def build(i: int, o: int) -> nn.Module:
        return _ready(imagenet_stem_(i, o), (2, i, 32, 32))

    for height, width in ((224, 224), (65, 33), (2, 7)):
        x = torch.randn(2, 3, height, width)
        before = x.clone()
        y = stem(x)
        if not _gave_a_tensor(y, "imagenet_stem(3, 16)", expect):
            return
        wanted = (16, -(-height // 4), -(-width // 4))
        if not expect(
            tuple(y.shape) == (2, *wanted), "wrong-shape",
            f"Two images of 3 × {height} × {width} became {_shown(y.shape)}, not 2 × {_shown(wanted)}.",
            hint="Padding 3 for the 7 × 7 and 1 for the 3 × 3 pooling; both have stride 2.",
        ):  # fmt: skip
            return
        expect(
            torch.equal(x, before), "input-modified", "The stem changed the image that was handed in.",
            hint="inplace=True is safe only on a tensor that nobody else needs.",
        )  # fmt: skip
    for i, o in ((3, 16), (1, 8)):
        stem = build(i, o)
        count, wanted = _count(stem.parameters()), 49 * i * o + 2 * o
        if not expect(
            count != wanted + o, "bias-before-bn",
            f"imagenet_stem({i}, {o}) has {count} parameters, {o} more than it needs: the convolution has a bias.",
            hint="bias=False: the batch norm subtracts the mean, and any bias with it.",
        ):  # fmt: skip
            return
        if not expect(
            count != 49 * i * o, "missing-bn",
            f"imagenet_stem({i}, {o}) has the weights of its convolution and no batch norm.",
            hint=f"nn.BatchNorm2d({o}) after the convolution.",
        ):  # fmt: skip
            return
        if not expect(
            count == wanted, "wrong-parameter-count",
            f"imagenet_stem({i}, {o}) has {count} parameters, not 7 · 7 · {i} · {o} + 2 · {o} = {wanted}.",
            hint="One 7 × 7 convolution without a bias and one batch norm; the channels come from the arguments.",
        ):  # fmt: skip
            return
        if not _trains(build(i, o), f"imagenet_stem({i}, {o})", expect):
            return
        for train in (True, False):
            # In evaluation mode large inputs stay large: a ReLU with an upper end would show.
            x = (1 if train else 20) * torch.randn(3, i, 19, 22, dtype=torch.double)
            mine = _run(stem, x, train)
            if not _same(mine, _run(imagenet_stem(i, o), x, train), 1e-9):
                _is_random(stem, x, train, f"imagenet_stem({i}, {o})", expect) or _explain(
                    expect, mine, x, train, _stem_variants(i, o), 1e-9
                ) or expect(
                    False, "wrong-value",
                    f"With the same weights, the output of imagenet_stem({i}, {o}) differs from the book's "
                    f"in {'training' if train else 'evaluation'} mode.",
                    hint="7 × 7 convolution, batch norm, ReLU, 3 × 3 max-pooling, in this order.",
                )  # fmt: skip
                return
            if not _gradients_hold(stem, imagenet_stem(i, o), x, train, f"imagenet_stem({i}, {o})", expect):
                return
        if not _statistics_hold(partial(build, i, o), i, o, expect):
            return


# --- 6.2 -------------------------------------------------------------------------------------


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
    shown = "".join(f", {key}={value!r}" for key, value in options.items())
    call = f"make_layer(Block, {in_channels}, {planes}, blocks={blocks}{shown})"
    stage = make_layer_(_make_probe(made, ran), in_channels, planes, blocks=blocks, **options)
    if not _is_module(stage, call, expect):
        return False
    y = stage(torch.randn(2, in_channels, 9, 7))
    if not _gave_a_tensor(y, f"The stage of {call}", expect):
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
        f"The stage of {call} turned 2 × {in_channels} × 9 × 7 into {_shown(y.shape)}, not {_shown(wanted)}.",
        hint="The blocks run one after the other.",
    ) and _trains(stage, f"The stage of {call}", expect)  # fmt: skip


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
        ((20, 4, 2), {}), ((12, 4, 2), {"stride": 1, "flavour": "hot", "grain": 2}), ((7, 5, 1), {"stride": 3}),
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
        shown = ", ".join(f"{key}={value}" for key, value in options.items())
        call = f"make_layer({block.__name__}, {sizes[0]}, {sizes[1]}, {shown})"
        counts = _count(mine.parameters()), _count(book.parameters())
        if not expect(
            counts[0] == counts[1], "wrong-parameter-count",
            f"{call} has {counts[0]:,} parameters, not {counts[1]:,}.",
            hint=f"{options['blocks']} block{'s' * (options['blocks'] > 1)} and nothing else.",
        ):  # fmt: skip
            return
        x = torch.randn(2, sizes[0], 9, 7, dtype=torch.double)
        for train in (True, False):
            y, wanted = _run(mine, x, train), _run(book, x, train)
            if not _same(y, wanted, 1e-9):
                _is_random(mine, x, train, call, expect) or expect(
                    False, "wrong-value",
                    f"With the same weights, the stage of {call} gives other values than the book's in "
                    f"{'training' if train else 'evaluation'} mode.",
                    hint="A stage is its blocks one after the other, with nothing between them.",
                )  # fmt: skip
                return
            if not _gradients_hold(mine, book, x, train, call, expect):
                return


# --- 6.3 -------------------------------------------------------------------------------------


@exercise(
    "last_feature_map", chapter=6, number=3, title="Predict the last feature map",
    difficulty=2, importance=3, minutes=6, points=2,
    solution="resnet_tutorial.solutions.chapter06:last_feature_map",
)  # fmt: skip
def check_last_feature_map(last_feature_map, expect):
    """Sizes that 32 divides and sizes that it does not, square and not."""
    for height, width in ((224, 224), (224, 320), (225, 417), (200, 333), (1, 33)):
        answer = last_feature_map(height, width)
        call = f"last_feature_map({height}, {width})"
        if not expect(
            hasattr(answer, "__len__") and not isinstance(answer, str | dict | set) and len(answer) == 3,
            "wrong-type", f"Three numbers are asked for; {call} gave {described(answer)}.",
            hint="return channels, height, width",
        ):  # fmt: skip
            return
        numbers = whole_numbers(answer, 3)
        if not expect(
            numbers is not None, "not-integers",
            f"{call} gave {described(answer)}; three whole numbers (int) are asked for.",
            hint="Integer division rounds: (n + 1) // 2 is half of n, rounded up.",
        ):  # fmt: skip
            return
        c, h, w = numbers
        right = 2048, -(-height // 32), -(-width // 32)
        if not expect(
            c == 2048 or sorted(numbers) != sorted(right), "wrong-order",
            f"{call} gave {tuple(numbers)}: the numbers are right, but in the wrong order.",
            hint="return channels, height, width, as in (N, C, H, W).",
        ):  # fmt: skip
            return
        if not expect(
            c == 2048, "wrong-channels", f"last_feature_map({height}, {width}) says {c} channels, not 2048.",
            hint="The last stage has 512 planes, and a bottleneck gives four times as many channels.",
        ):  # fmt: skip
            return
        wanted = -(-height // 32), -(-width // 32)
        known = {
            wanted[::-1]: ("height-width-swapped", "Height comes first, as in (N, C, H, W)."),
            (height // 32, width // 32): ("floor-not-ceil",
             "Each halving rounds up: with its padding, a stride of 2 makes (n + 1) // 2 of n."),
            (-(-height // 16), -(-width // 16)): ("halving-forgotten",
             "Five layers halve: the stem's convolution, its pooling, and one in each of the stages 2, 3 and 4."),
            (-(-height // 64), -(-width // 64)): ("one-halving-too-many",
             "Stage 1 has stride 1: the max-pooling has halved the map just before."),
        }  # fmt: skip
        code, hint = known.get((h, w), ("wrong-size", "Follow one side through the five layers of stride 2."))
        if not expect(
            (h, w) == wanted, code,
            f"An image of {height} × {width} pixels leaves a map of {_shown(wanted)}, not {h} × {w}.", hint,
        ):  # fmt: skip
            return


# --- 6.4 -------------------------------------------------------------------------------------


class _Pooled(nn.Module):
    """A linear layer behind any way of making one vector of a map."""

    def __init__(self, c: int, k: int, pool: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.fc = nn.Linear(c, k)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(x))


def _head_variants(c: int, k: int) -> list[Variant]:
    def pooled(*layers: nn.Module) -> Callable[[], nn.Module]:
        return lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), *layers)

    return [
        ("edge-dropped", "Of a map of 8 × 8 only 7 × 7 values take part: the last row and column are dropped.",
         "Take the mean over the whole map, whatever its size.",
         lambda: _Pooled(c, k, lambda x: x[:, :, :7, :7].mean((2, 3)))),
        ("maximum-not-mean", "The values are those of a maximum over the map, not of a mean.",
         "Global average pooling takes the mean of each channel.",
         lambda: nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(c, k))),
        ("sum-not-mean", "The values are those of a sum over the map: a larger image would give larger logits.",
         "Divide by the number of positions.", lambda: _Pooled(c, k, lambda x: x.sum((2, 3)))),
        ("softmax-in-head", "The values are probabilities, not logits.",
         "nn.CrossEntropyLoss takes logits: leave the softmax out.", pooled(nn.Linear(c, k), nn.Softmax(1))),
        ("softmax-in-head", "The values are log-probabilities, not logits.",
         "nn.CrossEntropyLoss takes logits: leave the softmax out.", pooled(nn.Linear(c, k), nn.LogSoftmax(1))),
        ("relu-in-head", "No logit is negative: a ReLU stands behind the linear layer.",
         "The linear layer is the last one.", pooled(nn.Linear(c, k), nn.ReLU())),
    ]  # fmt: skip


@exercise(
    "classifier_head", chapter=6, number=4, title="Write a head for any size",
    difficulty=1, importance=4, minutes=5, points=1,
    solution="resnet_tutorial.solutions.chapter06:classifier_head",
)  # fmt: skip
def check_classifier_head(classifier_head_, expect):
    """Parameter count, then shapes, values and gradients on maps from 1 x 1 to 13 x 8, and of one image."""
    for c, k in ((12, 5), (8, 10)):
        head = classifier_head_(c, k)
        call = f"classifier_head({c}, {k})"
        if not _is_module(head, call, expect):
            return
        count, wanted = _count(_ready(head, (2, c, 7, 7)).parameters()), c * k + k
        if not expect(
            count == wanted, "wrong-parameter-count",
            f"{call} has {count} parameters, not {c} · {k} + {k} = {wanted}.",
            hint=f"One linear layer from {c} pooled channels to {k} classes, with its bias.",
        ):  # fmt: skip
            return
        if not _trains(head, call, expect):
            return
        for n, height, width in ((3, 8, 8), (3, 7, 7), (3, 1, 1), (3, 13, 8), (3, 3, 5), (1, 4, 6), (1, 1, 1)):
            x = 20 * torch.randn(n, c, height, width, dtype=torch.double)
            before, train = x.clone(), height > 7
            try:
                mine = _run(head, x, train)
            except RuntimeError as error:
                if learners_frames(error):
                    raise
                expect(
                    False, "layers-do-not-fit",
                    f"For maps of {_shown(x.shape)} the layers of {call} do not fit together: {error}",
                    hint="nn.AdaptiveAvgPool2d(1) gives (N, C, 1, 1), nn.Flatten() makes (N, C) of it.",
                )  # fmt: skip
                return
            if not _gave_a_tensor(mine, call, expect):
                return
            code, hint = "wrong-shape", "(N, C, H, W) to (N, C, 1, 1) to (N, C) to (N, num_classes)."
            if n == 1 and mine.shape == (k,):
                code = "batch-of-one"
                hint = "squeeze() drops every axis of length 1, that of a single image too; flatten(1) does not."
            if not expect(
                mine.shape == (n, k), code,
                f"{n} map{'s' * (n > 1)} of {_shown(x.shape[1:])} became {_shown(mine.shape)}, not {n} × {k}.", hint,
            ):  # fmt: skip
                return
            expect(
                torch.equal(x, before), "input-modified", "The head changed the map that was handed in.",
                hint="Leave out operations that end in an underscore.",
            )  # fmt: skip
            if not _same(mine, _run(classifier_head(c, k), x, train), 1e-9):
                _is_random(head, x, train, call, expect) or _explain(
                    expect, mine, x, train, _head_variants(c, k), 1e-9
                ) or expect(
                    False, "wrong-value",
                    f"With the same weights, the logits for {n} map{'s' * (n > 1)} of {_shown(x.shape[1:])} differ "
                    "from the book's.",
                    hint="The mean of each channel over the whole map, then one linear layer.",
                )  # fmt: skip
                return
            if not _gradients_hold(head, classifier_head(c, k), x, train, call, expect):
                return


# --- 6.5 -------------------------------------------------------------------------------------

_PARAMETERS = 25_557_032


def _meta(build: Callable[..., nn.Module], **options: Any) -> nn.Module:
    """Build a network with shapes and no numbers, in a tenth of the time."""
    with torch.device("meta"):
        return build(**options)


def _changed(**parts: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Return a builder of the book's ResNet-50 with some parts replaced."""

    def build() -> nn.Module:
        model = _meta(ResNet50)
        for name, part in parts.items():
            setattr(model, name, _meta(part))
        return model

    return build


def _network_variants() -> list[Variant]:
    def stage(*sizes: int, **options: Any) -> Callable[[], nn.Module]:
        return lambda: make_layer(Bottleneck, *sizes, **options)

    def stem(*left_out: type[nn.Module]) -> Callable[[], nn.Module]:
        return lambda: nn.Sequential(*(m for m in imagenet_stem() if not isinstance(m, left_out)))

    def head(pool: type[nn.Module], *more: nn.Module) -> Callable[[], nn.Module]:
        return lambda: nn.Sequential(pool(1), nn.Flatten(), nn.Linear(2048, 1000), *more)

    strided = {
        f"layer{n}": stage(64 << n, 32 << n, blocks, stride=2, version="v1")
        for n, blocks in ((2, 4), (3, 6), (4, 3))
    }
    return [
        ("missing-max-pool", "The values are those of a network without the stem's max-pooling.",
         "The pooling is the last part of the stem.", _changed(stem=stem(nn.MaxPool2d))),
        ("missing-stem-relu", "The values are those of a network without the stem's ReLU.",
         "In the stem: convolution, batch norm, ReLU, pooling.", _changed(stem=stem(nn.ReLU))),
        ("first-stage-strided", "The values are those of a network whose stage 1 has stride 2.",
         "The max-pooling has halved the map just before: stage 1 keeps it.",
         _changed(layer1=stage(64, 64, 3, stride=2))),
        ("stride-forgotten", "The values are those of a network whose stage 4 has stride 1.",
         "Stages 2, 3 and 4 have stride 2.", _changed(layer4=stage(1024, 512, 3))),
        ("stride-forgotten", "The values are those of a network whose stages 2, 3 and 4 have stride 1.",
         "Stages 2, 3 and 4 have stride 2.",
         _changed(layer2=stage(256, 128, 4), layer3=stage(512, 256, 6), layer4=stage(1024, 512, 3))),
        ("stride-in-the-1x1", "The values are those of v1, with the stride in the first 1 × 1.",
         "Leave the block's version as it is: v1.5.", _changed(**strided)),
        ("maximum-not-mean", "The values are those of a head that takes the maximum of the map.",
         "The head takes the mean.", _changed(head=head(nn.AdaptiveMaxPool2d))),
        ("softmax-in-head", "The values are probabilities, not logits.",
         "nn.CrossEntropyLoss takes logits: leave the softmax out.",
         _changed(head=head(nn.AdaptiveAvgPool2d, nn.Softmax(1)))),
    ]  # fmt: skip


@exercise(
    "resnet50_whole", chapter=6, number=5, title="Assemble ResNet-50",
    difficulty=3, importance=5, minutes=15, points=3,
    solution="resnet_tutorial.solutions.chapter06:ResNet50",
)  # fmt: skip
def check_resnet50_whole(ResNet50_, expect):
    """Counts and shapes without numbers, then logits and the input's gradient with the book's weights."""
    model = _meta(ResNet50_)
    if not _is_module(model, "ResNet50()", expect):
        return
    _ready(model, (2, 3, 64, 64))
    count = _count(model.parameters())
    if not expect(
        count == _PARAMETERS, "wrong-parameter-count",
        f"ResNet50() has {count:,} parameters, {abs(count - _PARAMETERS):,} too "
        f"{'many' if count > _PARAMETERS else 'few'}; {_PARAMETERS:,} are right.",
        hint="3, 4, 6 and 3 bottlenecks with 64, 128, 256 and 512 planes, a stem, a linear layer; "
        "a Python list of stages registers none of them.",
    ):  # fmt: skip
        return
    if not _trains(model, "ResNet50()", expect):
        return
    small = _ready(_meta(ResNet50_, num_classes=7, in_channels=1), (2, 1, 64, 64))
    wanted = _PARAMETERS - 993 * 2049 - 2 * 64 * 49
    if not expect(
        _count(small.parameters()) == wanted, "ignored-arguments",
        f"ResNet50(num_classes=7, in_channels=1) has {_count(small.parameters()):,} parameters, not {wanted:,}.",
        hint="Hand in_channels to the stem and num_classes to the head.",
    ):  # fmt: skip
        return
    y = _run(small, _images((1, 1, 17, 40)), train=False)
    if not _gave_a_tensor(y, "ResNet50(num_classes=7, in_channels=1)", expect):
        return
    if not expect(
        y.shape == (1, 7), "wrong-shape",
        f"One image of 1 × 17 × 40 became {_shown(y.shape)}, not 1 × 7.",
        hint="The head gives one row of logits an image.",
    ):  # fmt: skip
        return
    for train, shape in ((True, (2, 3, 33, 40)), (False, (1, 3, 65, 33))):
        x = _images(shape).requires_grad_(train)
        fed = x.clone()  # not a leaf: a network may write into it, and is told
        mine, (wanted, slope) = _run(model, fed, train), _reference(train, shape)
        if not expect(
            torch.equal(fed, x), "input-modified", "The network changed the images that were handed in.",
            hint="Leave out operations on x that end in an underscore, and -=, +=, *=.",
        ):  # fmt: skip
            return
        if not _same(mine, wanted, 1e-3):
            with torch.no_grad():
                _is_random(model, x, train, "ResNet50()", expect) or _explain(
                    expect, mine, x, train, _network_variants(), 1e-3
                ) or expect(
                    False, "wrong-value",
                    f"With the same weights, the logits for an image of {shape[2]} × {shape[3]} differ from the book's "
                    f"in {'training' if train else 'evaluation'} mode.",
                    hint="Stem, stage 1 to 4, head, one after the other; stages 2, 3 and 4 have stride 2.",
                )  # fmt: skip
            return
        if train:
            gradient = None
            if mine.requires_grad:
                (gradient,) = torch.autograd.grad(mine.square().sum(), x, allow_unused=True)
            if not expect(
                gradient is not None, "wrong-gradient",
                "The logits are right, but no gradient reaches the image.",
                hint="No detach() and no torch.no_grad() inside forward.",
            ):  # fmt: skip
                return
            expect(
                _same(gradient, slope, 1e-2), "wrong-gradient",
                "The logits are right, but the gradient that reaches the image is not.",
                hint="No detach() and no torch.no_grad() inside forward.",
            )  # fmt: skip


def _images(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@cache
def _reference(train: bool, shape: tuple[int, ...]) -> tuple[Tensor, Tensor | None]:
    """Return the book's logits and the gradient of their squares' sum, for the images of the check."""
    x = _images(shape).requires_grad_(train)
    y = _run(_meta(ResNet50), x, train)
    slope = torch.autograd.grad(y.square().sum(), x)[0] if train else None
    return y.detach(), slope


# --- 6.6 -------------------------------------------------------------------------------------


@exercise(
    "small_resnet", chapter=6, number=6, title="The ResNet for small images",
    difficulty=3, importance=4, minutes=12, points=3,
    solution="resnet_tutorial.solutions.chapter06:SmallResNet",
)  # fmt: skip
def check_small_resnet(SmallResNet_, expect):
    """Counts, shapes, logits and gradients at two depths, with two kinds of blocks."""
    settings = ((BasicBlock, 20, 23), (CifarBlock, 8, 31))
    networks = []
    for block, depth, classes in settings:
        networks.append(Network(
            f"SmallResNet({block.__name__}, {depth}, {classes})",
            partial(SmallResNet_, block, depth, classes), partial(SmallResNet, block, depth, classes),
            partial(_small_variants, block, depth, classes), (32, 32),
        ))  # fmt: skip
    if judge_network(networks, expect):
        made = SmallResNet_(CifarBlock, 8)
        out = made(torch.zeros(2, 3, 16, 16)).shape[-1]
        expect(
            out == 10, "wrong-default", f"SmallResNet(CifarBlock, 8) gives {out} logits, not 10.",
            hint="num_classes=10 stands in the signature: leave it there.",
        )  # fmt: skip


def _small_variants(block: type[nn.Module], depth: int, classes: int) -> Iterator[Variant]:
    n = (depth - 2) // 6

    def stem(size: int = 3, stride: int = 1, *behind: nn.Module, bias: bool = False) -> nn.Module:
        conv = nn.Conv2d(3, 16, size, stride, size // 2, bias=bias)
        return nn.Sequential(conv, nn.BatchNorm2d(16), *(behind or (nn.ReLU(),)))

    def build(
        counts=(n, n, n), planes=(16, 32, 64), strides=(1, 2, 2), front=None, first=16, head=classes, kind=block,
        **how,
    ) -> nn.Module:  # fmt: skip
        ends = {name: how.pop(name) for name in ("pool", "after") if name in how}
        made = stages(kind, planes, counts, first, strides, **how)
        return Shape(front or stem(), made, nn.Linear(planes[-1] * kind.expansion, head), **ends)

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
    blocks_hint = "depth = 6n + 2: three stages of n blocks, each of two layers, the stem and the head."
    for wrong in {n - 1, n + 1, 2 * n, 3 * n, depth // 6 + 1, depth} - {n, 0, -1}:
        yield ("wrong-depth", f"Each stage has {wrong} blocks, not {n}.", blocks_hint,
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
               lambda planes=planes: build(planes=planes, first=planes[0], front=nn.Sequential(
                   nn.Conv2d(3, planes[0], 3, 1, 1, bias=False), nn.BatchNorm2d(planes[0]), nn.ReLU())))
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


# --- 6.7 -------------------------------------------------------------------------------------


def _checkpoint(
    block: type[nn.Module], layers: Iterable[int], in_channels: int = 3, num_classes: int = 1000, **options: int
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
def check_depth_of_checkpoint(depth_of_checkpoint, expect):
    """Published networks, and some that never were, so that no table of names is enough."""
    networks = (
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
        ):  # fmt: skip
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
