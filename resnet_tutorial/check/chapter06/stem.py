"""Exercise 6.1, the stem: a 7 × 7 convolution, batch norm, ReLU and max-pooling."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ...solutions.chapter06 import imagenet_stem
from ..common import begins_alive, parameter_count
from ..core import Expectations, exercise
from ..networks import Variant, apart
from .shared import Trial, by_shape, gave_a_tensor, is_module, ready, run, same, shown, trains


def _stem(i: int, o: int, **options: Any) -> nn.Module:
    """Return the book's stem with options of the batch norm changed."""
    stem = imagenet_stem(i, o)
    stem[1] = nn.BatchNorm2d(o, **options)
    return stem


def _after_training(model: nn.Module, batches: Iterable[Tensor], x: Tensor, book: nn.Module) -> Tensor:
    """Return the output in evaluation mode after some calls in training mode."""
    with torch.no_grad():
        given = by_shape(model.double(), torch.double, book)
        for name, parameter in model.named_parameters():
            parameter.copy_(given[name])
        model.train()
        for batch in batches:
            model(batch)
        return model.eval()(x)


def _statistics_hold(build: Callable[[], nn.Module], i: int, o: int, expect: Expectations) -> bool:
    batches = [2 * torch.randn(4, i, 15, 18, dtype=torch.double) + 1 for _ in range(3)]
    x = torch.randn(2, i, 15, 18, dtype=torch.double)
    book = imagenet_stem(i, o)
    mine = _after_training(build(), batches, x, book)
    if same(mine, _after_training(imagenet_stem(i, o), batches, x, book), 1e-9):
        return expect(True, "wrong-statistics", "")
    seen = f"After three calls in training mode imagenet_stem({i}, {o}) gives other values in evaluation mode"
    for momentum in (0.9, 0.99, 0.999, 0.5, 0.2, 0.05, 0.01, 0.001, None):
        if same(mine, _after_training(_stem(i, o, momentum=momentum), batches, x, book), 1e-9):
            return expect(
                False, "wrong-momentum", f"{seen}, those of a batch norm with momentum={momentum}, not 0.1.",
                hint="nn.BatchNorm2d(out_channels), with nothing else.",
            )  # fmt: skip
    return expect(
        False, "wrong-statistics", f"{seen} than the book's: the batch norm's running statistics differ.",
        hint="nn.BatchNorm2d(out_channels), with nothing else.",
    )  # fmt: skip


Padding = Literal["circular", "reflect", "replicate"]
_PADDINGS: tuple[Padding, ...] = get_args(Padding)


def _variants(i: int, o: int) -> Iterator[Variant]:
    def padded(mode: Padding) -> nn.Module:
        return nn.Sequential(nn.Conv2d(i, o, 7, 2, 3, bias=False, padding_mode=mode), bn, relu, pool)

    conv, bn, relu = nn.Conv2d(i, o, 7, 2, 3, bias=False), nn.BatchNorm2d(o), nn.ReLU()
    pool = nn.MaxPool2d(3, 2, 1)
    known: tuple[Variant, ...] = (
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
        *(("wrong-padding", f"The values are those of a stem whose convolution pads in the mode {mode!r}, "
           "not with zeros.", "padding=3 and nothing else: zeros are nn.Conv2d's default.", partial(padded, mode))
          for mode in _PADDINGS),
    )  # fmt: skip
    yield from known


@exercise(
    "imagenet_stem", chapter=6, number=1, title="Write the stem",
    difficulty=2, importance=4, minutes=8, points=2,
    solution="resnet_tutorial.solutions.chapter06:imagenet_stem",
)  # fmt: skip
def check_imagenet_stem(imagenet_stem_: Any, expect: Expectations) -> None:
    """Shapes, parameter count, values, gradients, and the statistics that training leaves."""
    stem = imagenet_stem_(3, 16)
    if not is_module(stem, "imagenet_stem(3, 16)", expect):
        return
    ready(stem, (2, 3, 32, 32))

    def build(i: int, o: int) -> nn.Module:
        return ready(imagenet_stem_(i, o), (2, i, 32, 32))

    if not all(_shape_holds(stem, size, expect) for size in ((224, 224), (65, 33))):
        return
    if not apart(stem, build(3, 16), "imagenet_stem(3, 16)", expect):
        return
    for i, o in ((3, 16), (1, 8)):
        stem, book, call = build(i, o), imagenet_stem(i, o), f"imagenet_stem({i}, {o})"
        count, wanted = parameter_count(stem), 49 * i * o + 2 * o
        if not expect(
            count != wanted + o, "bias-before-bn",
            f"{call} has {count} parameters, {o} more than it needs: the convolution has a bias.",
            hint="bias=False: the batch norm subtracts the mean, and any bias with it.",
        ):  # fmt: skip
            return
        if not expect(
            count != 49 * i * o, "missing-bn",
            f"{call} has the weights of its convolution and no batch norm.",
            hint=f"nn.BatchNorm2d({o}) after the convolution.",
        ):  # fmt: skip
            return
        if not expect(
            count == wanted, "wrong-parameter-count",
            f"{call} has {count} parameters, not 7 · 7 · {i} · {o} + 2 · {o} = {wanted}.",
            hint="One 7 × 7 convolution without a bias and one batch norm; the channels come from the arguments.",
        ):  # fmt: skip
            return
        if not trains(build(i, o), call, expect):
            return
        for train in (True, False):
            # In evaluation mode large inputs stay large: a ReLU with an upper end would show.
            x = (1 if train else 20) * torch.randn(3, i, 19, 22, dtype=torch.double)
            trial = Trial(
                call, f"the values of {call}",
                "7 × 7 convolution, batch norm, ReLU, 3 × 3 max-pooling, in this order.",
                stem, book, x, train, _variants(i, o),
            )  # fmt: skip
            if not trial.agrees(run(stem, x, train, book), expect):
                return
        if not _statistics_hold(partial(build, i, o), i, o, expect):
            return
        if not begins_alive(build(i, o), torch.randn(3, i, 19, 22), call, expect):
            return
    _shape_holds(build(3, 16), (2, 7), expect)


def _shape_holds(stem: nn.Module, size: tuple[int, int], expect: Expectations) -> bool:
    """Look at what a stem for 3 to 16 channels makes of two images of this size."""
    x = torch.randn(2, 3, *size)
    before = x.clone()
    y = stem(x)
    if not gave_a_tensor(y, "imagenet_stem(3, 16)", expect):
        return False
    wanted = (16, *(-(-side // 4) for side in size))
    seen = f"Two images of {shown(x.shape[1:])} became {shown(y.shape)}, not 2 × {shown(wanted)}."
    if y.dim() == 4 and y.shape[2:] == wanted[1:] and not expect(
        len(y) == 2 and y.shape[1] == 16, "wrong-channels", seen,
        hint="The convolution goes from in_channels to out_channels, as the arguments say.",
    ):  # fmt: skip
        return False
    return expect(
        tuple(y.shape) == (2, *wanted), "wrong-shape", seen,
        hint="Padding 3 for the 7 × 7 and 1 for the 3 × 3 pooling; both have stride 2.",
    ) and expect(
        torch.equal(x, before), "input-modified", "The stem changed the image that was handed in.",
        hint="inplace=True is safe only on a tensor that nobody else needs.",
    )  # fmt: skip
