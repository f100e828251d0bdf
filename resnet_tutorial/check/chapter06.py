"""Checks of chapter 6, ResNet-50 whole.

Two networks are compared by giving both the same numbers and looking at what comes out.
So that neither names nor the order of definition matter, the numbers depend on a tensor's shape
alone: all tensors of one shape get the same values (:func:`_by_shape`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from math import prod
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..blocks import BasicBlock, Bottleneck
from ..cifar import CifarBlock
from ..models import make_layer
from ..solutions.chapter06 import ResNet50, SmallResNet, classifier_head, imagenet_stem
from .core import exercise
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


def _stem_variants(i: int, o: int) -> list[Variant]:
    conv, bn, relu = nn.Conv2d(i, o, 7, 2, 3, bias=False), nn.BatchNorm2d(o), nn.ReLU()
    pool = nn.MaxPool2d(3, 2, 1)
    return [
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
    """Shapes, parameter count, and the values in train and eval mode."""
    stem = imagenet_stem_(3, 16)
    if not _is_module(stem, "imagenet_stem(3, 16)", expect):
        return
    for height, width in ((224, 224), (65, 33), (2, 7)):
        x = torch.randn(2, 3, height, width)
        before = x.clone()
        y = stem(x)
        wanted = (16, -(-height // 4), -(-width // 4))
        if not expect(
            tuple(y.shape) == (2, *wanted), "wrong-shape",
            f"An image of 3 × {height} × {width} became {_shown(y.shape[1:])}, not {_shown(wanted)}.",
            hint="Padding 3 for the 7 × 7 and 1 for the 3 × 3 pooling; both have stride 2.",
        ):  # fmt: skip
            return
        expect(
            torch.equal(x, before), "input-modified", "The stem changed the image that was handed in.",
            hint="inplace=True is safe only on a tensor that nobody else needs.",
        )  # fmt: skip
    for i, o in ((3, 16), (1, 8)):
        count, wanted = _count(imagenet_stem_(i, o).parameters()), 49 * i * o + 2 * o
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
        for train in (True, False):
            x = torch.randn(3, i, 19, 22, dtype=torch.double)
            mine = _run(imagenet_stem_(i, o), x, train)
            if not _same(mine, _run(imagenet_stem(i, o), x, train), 1e-9):
                _explain(expect, mine, x, train, _stem_variants(i, o), 1e-9) or expect(
                    False, "wrong-value",
                    f"With the same weights, the output of imagenet_stem({i}, {o}) differs from the book's "
                    f"in {'training' if train else 'evaluation'} mode.",
                    hint="7 × 7 convolution, batch norm, ReLU, 3 × 3 max-pooling, in this order.",
                )  # fmt: skip
                return


# --- 6.2 -------------------------------------------------------------------------------------


def _make_probe(made: list[Any], ran: list[Any]) -> type[nn.Module]:
    """Return a block that notes how it is built and that it runs; its expansion is 3."""

    class Probe(nn.Module):
        expansion = 3

        def __init__(self, in_channels, planes, stride=1, **options):
            super().__init__()
            self.asked = in_channels, planes, stride
            self.options = {key: value for key, value in options.items() if value is not None}
            self.weight = nn.Parameter(torch.ones(()))
            made.append(self)

        def forward(self, x: Tensor) -> Tensor:
            ran.append(self)
            _, planes, stride = self.asked
            out = x[:, :1, ::stride, ::stride] * self.weight
            return out.expand(-1, planes * self.expansion, -1, -1)

    return Probe


def _check_construction(make_layer_, expect) -> bool:
    """Look at the stage's blocks one by one, through blocks that note what is asked of them."""
    made: list[Any] = []
    ran: list[Any] = []
    call = "make_layer(Block, 10, 4, blocks=3, stride=2, flavour='mild')"
    stage = make_layer_(_make_probe(made, ran), 10, 4, blocks=3, stride=2, flavour="mild")
    if not _is_module(stage, call, expect):
        return False
    y = stage(torch.randn(2, 10, 9, 7))
    if not expect(
        len(ran) == 3, "wrong-block-count",
        f"{call} makes a stage that runs {len(ran)} blocks, not 3.",
        hint="One first block and blocks - 1 others.",
    ):  # fmt: skip
        return False
    if not expect(
        len(set(map(id, ran))) == 3, "shared-weights",
        f"The stage runs 3 blocks, but only {len(set(map(id, ran)))} of them are different objects: "
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
    strides = [block.asked[2] for block in ran]
    code, hint = {
        (2, 2, 2): ("stride-in-every-block", "Only the first block gets the stride."),
        (1, 1, 1): ("stride-lost", "Hand the stride to the first block."),
    }.get(tuple(strides), ("stride-misplaced", "The stride goes to the first block."))
    if not expect(
        strides == [2, 1, 1], code,
        f"The blocks of a stage with stride=2 have the strides {strides}, not [2, 1, 1].", hint,
    ):  # fmt: skip
        return False
    channels = [block.asked[0] for block in ran]
    if not expect(
        channels == [10, 12, 12], "wrong-in-channels",
        f"The blocks were built for {channels} incoming channels, not [10, 12, 12]: "
        f"10 enter the stage, and every block gives planes · expansion = 4 · 3.",
        hint="Ask block.expansion; it is 1 for a BasicBlock and 4 for a Bottleneck.",
    ):  # fmt: skip
        return False
    planes = [block.asked[1] for block in ran]
    if not expect(
        planes == [4, 4, 4], "wrong-planes", f"The blocks were built with planes {planes}, not [4, 4, 4].",
        hint="Every block of a stage has the same planes.",
    ):  # fmt: skip
        return False
    options = [block.options for block in ran]
    if not expect(
        options == [{"flavour": "mild"}] * 3, "options-lost",
        f"The option flavour='mild' reached {sum(map(bool, options))} of 3 blocks.",
        hint="Hand **options to the first block and to all others.",
    ):  # fmt: skip
        return False
    return expect(
        y.shape == (2, 12, 5, 4), "wrong-shape",
        f"The stage turned 10 × 9 × 7 into {_shown(y.shape[1:])}, not 12 × 5 × 4.",
        hint="The blocks run one after the other.",
    )  # fmt: skip


@exercise(
    "make_layer", chapter=6, number=2, title="Write make_layer",
    difficulty=3, importance=5, minutes=10, points=3,
    solution="resnet_tutorial.models:make_layer",
)  # fmt: skip
def check_make_layer(make_layer_, expect):
    """The blocks one by one, then stages of real blocks against the book's."""
    if not _check_construction(make_layer_, expect):
        return
    cases = (
        (BasicBlock, (8, 8), {"blocks": 1}),
        (BasicBlock, (8, 16), {"blocks": 3, "stride": 2}),
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
            if not expect(
                _same(y, wanted, 1e-9), "wrong-value",
                f"With the same weights, {call} gives {_shown(y.shape)} that differ from the book's.",
                hint="A stage is its blocks one after the other, with nothing between them.",
            ):  # fmt: skip
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
        if not expect(
            isinstance(answer, tuple | list) and len(answer) == 3, "wrong-type",
            f"Three numbers are asked for; last_feature_map({height}, {width}) gave {answer!r}.",
            hint="return channels, height, width",
        ):  # fmt: skip
            return
        c, h, w = answer
        if not expect(
            all(isinstance(n, Integral) for n in answer), "not-integers",
            f"last_feature_map({height}, {width}) gave {answer}: a map has whole numbers of rows and columns.",
            hint="Integer division rounds: (n + 1) // 2 is half of n, rounded up.",
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
    """Parameter count, then shapes and values on maps from 1 x 1 to 13 x 8."""
    for c, k in ((12, 5), (8, 10)):
        head = classifier_head_(c, k)
        if not _is_module(head, f"classifier_head({c}, {k})", expect):
            return
        count, wanted = _count(head.parameters()), c * k + k
        if not expect(
            count == wanted, "wrong-parameter-count",
            f"classifier_head({c}, {k}) has {count} parameters, not {c} · {k} + {k} = {wanted}.",
            hint=f"One linear layer from {c} pooled channels to {k} classes, with its bias.",
        ):  # fmt: skip
            return
        for height, width in ((8, 8), (7, 7), (1, 1), (13, 8), (3, 5)):
            x = 20 * torch.randn(3, c, height, width, dtype=torch.double)
            before, train = x.clone(), height > 7
            mine = _run(head, x, train)
            if not expect(
                mine.shape == (3, k), "wrong-shape",
                f"Three maps of {_shown(x.shape[1:])} became {_shown(mine.shape)}, not 3 × {k}.",
                hint="(N, C, H, W) to (N, C, 1, 1) to (N, C) to (N, num_classes).",
            ):  # fmt: skip
                return
            expect(torch.equal(x, before), "input-modified", "The head changed the map that was handed in.")
            if not _same(mine, _run(classifier_head(c, k), x, train), 1e-9):
                _explain(expect, mine, x, train, _head_variants(c, k), 1e-9) or expect(
                    False, "wrong-value",
                    f"With the same weights, the logits for a map of {_shown(x.shape[1:])} differ from the book's.",
                    hint="The mean of each channel over the whole map, then one linear layer.",
                )  # fmt: skip
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
    count = _count(model.parameters())
    if not expect(
        count == _PARAMETERS, "wrong-parameter-count",
        f"ResNet50() has {count:,} parameters, {abs(count - _PARAMETERS):,} too "
        f"{'many' if count > _PARAMETERS else 'few'}; {_PARAMETERS:,} are right.",
        hint="3, 4, 6 and 3 bottlenecks with 64, 128, 256 and 512 planes, a stem, a linear layer; "
        "a Python list of stages registers none of them.",
    ):  # fmt: skip
        return
    small = _meta(ResNet50_, num_classes=7, in_channels=1)
    wanted = _PARAMETERS - 993 * 2049 - 2 * 64 * 49
    if not expect(
        _count(small.parameters()) == wanted, "ignored-arguments",
        f"ResNet50(num_classes=7, in_channels=1) has {_count(small.parameters()):,} parameters, not {wanted:,}.",
        hint="Hand in_channels to the stem and num_classes to the head.",
    ):  # fmt: skip
        return
    y = _run(small, _images((1, 1, 17, 40)), train=False)
    if not expect(
        y.shape == (1, 7), "wrong-shape",
        f"One image of 1 × 17 × 40 became {_shown(y.shape)}, not 1 × 7.",
        hint="The head gives one row of logits an image.",
    ):  # fmt: skip
        return
    for train, shape in ((True, (2, 3, 33, 40)), (False, (1, 3, 65, 33))):
        x = _images(shape).requires_grad_(train)
        mine, (wanted, slope) = _run(model, x, train), _reference(train, shape)
        if not _same(mine, wanted, 1e-3):
            with torch.no_grad():
                _explain(expect, mine, x, train, _network_variants(), 1e-3) or expect(
                    False, "wrong-value",
                    f"With the same weights, the logits for an image of {shape[2]} × {shape[3]} differ from the book's "
                    f"in {'training' if train else 'evaluation'} mode.",
                    hint="Stem, stage 1 to 4, head, one after the other; stages 2, 3 and 4 have stride 2.",
                )  # fmt: skip
            return
        if train:
            (gradient,) = torch.autograd.grad(mine.square().sum(), x)
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
    settings = ((BasicBlock, 20, 3), (CifarBlock, 8, 7))
    networks = []
    for block, depth, classes in settings:
        networks.append(Network(
            f"SmallResNet({block.__name__}, {depth}, {classes})",
            partial(SmallResNet_, block, depth, classes), partial(SmallResNet, block, depth, classes),
            partial(_small_variants, block, depth, classes), (16, 20),
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
        counts=(n, n, n), planes=(16, 32, 64), strides=(1, 2, 2), front=None, first=16, head=classes, **how
    ) -> nn.Module:
        ends = {name: how.pop(name) for name in ("pool", "after") if name in how}
        made = stages(block, planes, counts, first, strides, **how)
        return Shape(front or stem(), made, nn.Linear(planes[-1] * block.expansion, head), **ends)

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
        answer = depth_of_checkpoint(state)
        known = {
            wanted + projections: ("projections-counted", f"counts the {projections} projections too.",
                                   "The names of ResNets leave the convolutions on shortcuts out."),
            wanted - 1: ("end-forgotten", "is one short.",
                         "The classifier's weight has two dimensions, a convolution's has four."),
            wanted - 1 + projections: ("end-forgotten", "counts all convolutions, and them alone.",
                         "The classifier has a weight too; the convolutions on shortcuts do not count."),
            len(state): ("everything-counted", "is the number of all tensors.",
                         "Batch norms have weights too; their tensors have one dimension."),
        }  # fmt: skip
        code, message, hint = known.get(
            answer, ("wrong-depth", "is not it.", "Which tensors are weights of convolutions or of linear layers?")
        )
        if not expect(
            answer == wanted, code,
            f"A network of {block.__name__}s, {', '.join(map(str, layers))} in its stages, has {wanted} "
            f"layers with weights; {answer!r} {message}", hint,
        ):  # fmt: skip
            return
