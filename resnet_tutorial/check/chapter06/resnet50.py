"""Exercise 6.5, ResNet-50 whole: its size, and its logits with the book's weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from ...blocks import Bottleneck
from ...models import make_layer
from ...solutions.chapter06 import ResNet50, imagenet_stem
from ..common import begins_alive, parameter_count
from ..core import Expectations, exercise
from ..networks import Variant, apart, unfilled
from .shared import Trial, gave_a_tensor, is_module, ready, run, same, shown, trains

_PARAMETERS = 25_557_032


def _meta(build: Callable[..., nn.Module], **options: Any) -> nn.Module:
    """Build a network with shapes and no numbers, in a tenth of the time."""
    with torch.device("meta"):
        return build(**options)


def _changed(**parts: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Return a builder of the book's ResNet-50 with some parts replaced."""

    def build() -> nn.Module:
        with unfilled():
            model = _meta(ResNet50)
            for name, part in parts.items():
                setattr(model, name, _meta(part))
        return model

    return build


def _variants() -> Iterator[Variant]:
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
    yield from (
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
    )  # fmt: skip


@exercise(
    "resnet50_whole", chapter=6, number=5, title="Assemble ResNet-50",
    difficulty=3, importance=5, minutes=15, points=3,
    solution="resnet_tutorial.solutions.chapter06:ResNet50",
)  # fmt: skip
def check_resnet50_whole(ResNet50_: Any, expect: Expectations) -> None:
    """Counts and shapes without numbers, then logits and the input's gradient with the book's weights."""
    model = _meta(ResNet50_)
    if not is_module(model, "ResNet50()", expect):
        return
    ready(model, (2, 3, 64, 64))
    if not apart(model, ready(_meta(ResNet50_), (2, 3, 64, 64)), "ResNet50()", expect):
        return
    count = parameter_count(model)
    if count != _PARAMETERS:
        told = ready(_meta(ResNet50_, num_classes=1000, in_channels=3), (2, 3, 64, 64))
        if parameter_count(told) == _PARAMETERS:
            expect(
                False, "wrong-default",
                f"ResNet50() has {count:,} parameters, but ResNet50(num_classes=1000, in_channels=3) has "
                f"{_PARAMETERS:,}, which is right: a default is another.",
                hint="The defaults stand in the signature: num_classes=1000, in_channels=3.",
            )  # fmt: skip
            return
    if not expect(
        count == _PARAMETERS, "wrong-parameter-count",
        f"ResNet50() has {count:,} parameters, {abs(count - _PARAMETERS):,} too "
        f"{'many' if count > _PARAMETERS else 'few'}; {_PARAMETERS:,} are right.",
        hint="3, 4, 6 and 3 bottlenecks with 64, 128, 256 and 512 planes, a stem, a linear layer; "
        "a Python list of stages registers none of them.",
    ):  # fmt: skip
        return
    if not trains(model, "ResNet50()", expect):
        return
    small = ready(_meta(ResNet50_, num_classes=7, in_channels=1), (2, 1, 64, 64))
    due = _PARAMETERS - 993 * 2049 - 2 * 64 * 49
    if not expect(
        parameter_count(small) == due, "ignored-arguments",
        f"ResNet50(num_classes=7, in_channels=1) has {parameter_count(small):,} parameters, not {due:,}.",
        hint="Hand in_channels to the stem and num_classes to the head.",
    ):  # fmt: skip
        return
    y = run(small, _images((1, 1, 17, 40)), train=False)
    if not gave_a_tensor(y, "ResNet50(num_classes=7, in_channels=1)", expect):
        return
    if not expect(
        y.shape == (1, 7), "wrong-shape",
        f"One image of 1 × 17 × 40 became {shown(y.shape)}, not 1 × 7.",
        hint="The head gives one row of logits an image.",
    ):  # fmt: skip
        return
    for train, shape in ((True, (2, 3, 33, 40)), (False, (1, 3, 65, 33))):
        x = _images(shape).requires_grad_(train)
        fed = x.clone()  # not a leaf: a network may write into it, and is told
        mine, (wanted, slope) = run(model, fed, train, _book()), _reference(train, shape)
        if not expect(
            torch.equal(fed, x), "input-modified", "The network changed the images that were handed in.",
            hint="Leave out operations on x that end in an underscore, and -=, +=, *=.",
        ):  # fmt: skip
            return
        if not same(mine, wanted, 1e-3):
            with torch.no_grad():
                Trial(
                    "ResNet50()", f"the logits for an image of {shape[2]} × {shape[3]}",
                    "Stem, stage 1 to 4, head, one after the other; stages 2, 3 and 4 have stride 2.",
                    model, _book(), x, train, _variants(), tolerance=1e-3,
                ).explain(mine, expect)  # fmt: skip
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
            if not expect(
                same(gradient, slope, 1e-2), "wrong-gradient",
                "The logits are right, but the gradient that reaches the image is not.",
                hint="No detach() and no torch.no_grad() inside forward.",
            ):  # fmt: skip
                return
    new = ready(ResNet50_(num_classes=7, in_channels=1), (2, 1, 33, 33))
    begins_alive(new, torch.randn(2, 1, 33, 33), "ResNet50(num_classes=7, in_channels=1)", expect)


def _images(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@cache
def _book() -> nn.Module:
    return _meta(ResNet50)


@cache
def _reference(train: bool, shape: tuple[int, ...]) -> tuple[Tensor, Tensor | None]:
    """Return the book's logits and the gradient of their squares' sum, for the images of the check."""
    x = _images(shape).requires_grad_(train)
    y = run(_book(), x, train)
    slope = torch.autograd.grad(y.square().sum(), x)[0] if train else None
    return y.detach(), slope
