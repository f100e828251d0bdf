"""Checks of chapter 1, why depth fails."""

from __future__ import annotations

import torch
from torch import nn

from ..cifar import cifar_plain, cifar_resnet
from ..solutions import chapter01 as solutions
from .core import exercise


@exercise(
    "blocks_per_stage", chapter=1, number=1, title="From depth to blocks",
    difficulty=1, importance=3, minutes=5, points=1,
    solution="resnet_tutorial.solutions.chapter01:blocks_per_stage",
)
def check_blocks_per_stage(blocks_per_stage, expect):
    """The paper's depths, and depths that no such network has."""
    for depth, n in ((8, 1), (20, 3), (32, 5), (44, 7), (56, 9), (110, 18), (1202, 200)):
        found = blocks_per_stage(depth)
        code = "not-an-integer" if isinstance(found, float) else "wrong-value"
        expect(
            found == n and not isinstance(found, float), code,
            f"A network of {depth} layers got n = {found!r}, not {n}.",
            hint="Two layers are stem and classifier; the rest are 3 stages of n blocks of 2 layers.",
        )
    for depth in (18, 21, 2, 0, -4):
        try:
            found = blocks_per_stage(depth)
        except ValueError:
            continue
        expect(
            False, "accepts-wrong-depth",
            f"For depth {depth}, which is not 6n+2 with n of 1 or more, the function returned {found!r}.",
            hint="Raise ValueError when depth - 2 is not a multiple of 6, or leaves no block.",
        )


@exercise(
    "copying_conv", chapter=1, number=2, title="A layer that copies",
    difficulty=2, importance=4, minutes=10, points=2,
    solution="resnet_tutorial.solutions.chapter01:copying_conv",
)
def check_copying_conv(copying_conv, expect):
    """Its output equals its input, for several channels and sizes, edges included."""
    for channels, size in ((1, (5, 5)), (4, (6, 9)), (7, (3, 3))):
        layer = copying_conv(channels)
        if not expect(
            isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3), "wrong-type",
            f"copying_conv({channels}) gave {layer!r}, not a 3x3 nn.Conv2d.",
            hint="nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False).",
        ):
            return
        expect(
            layer.bias is None, "bias", "The convolution has a bias.", hint="bias=False.",
        )  # fmt: skip
        x = torch.randn(2, channels, *size)
        y = layer(x)
        if not expect(
            y.shape == x.shape, "wrong-shape",
            f"{tuple(x.shape)} became {tuple(y.shape)}.", hint="padding=1 keeps the size.",
        ):
            return
        scale = (y * x).sum().item() / (x * x).sum().item()
        code = "all-zero" if y.abs().max() == 0 else "mixes-channels" if channels > 1 else "wrong-value"
        if channels > 1 and torch.allclose(y, x.sum(1, keepdim=True).expand_as(x), atol=1e-5):
            code = "adds-channels"
        expect(
            torch.allclose(y, x, atol=1e-6), code,
            f"With {channels} channels the output differs from the input by up to "
            f"{(y - x).abs().max().item():.2g}; projected on the input it is {scale:.2f} times as large.",
            hint="weight[o, i] is the 3x3 filter from channel i to channel o: a one in the middle "
            "where o equals i, and zero everywhere else.",
        )


def _small_batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(8, 3, 16, 16), torch.randint(0, 10, (8,))


@exercise(
    "gradient_norms", chapter=1, number=3, title="Measure the gradients",
    difficulty=3, importance=4, minutes=12, points=3,
    solution="resnet_tutorial.solutions.chapter01:gradient_norms",
)
def check_gradient_norms(gradient_norms, expect):
    """One number a convolution, the right ones, and the same when asked twice."""
    for model in (cifar_plain(8), cifar_resnet(14, shortcut="B")):
        x, labels = _small_batch()
        right = solutions.gradient_norms(model, x, labels)
        model.zero_grad()
        found = list(gradient_norms(model, x, labels))
        convolutions = sum(isinstance(m, nn.Conv2d) for m in model.modules())
        if not expect(
            len(found) == convolutions, "wrong-count",
            f"The list has {len(found)} numbers for {convolutions} convolutions.",
            hint="Only nn.Conv2d, every one, in the order of model.modules().",
        ):
            return
        found = torch.tensor([float(v) for v in found])
        expected = torch.tensor(right)
        squared = torch.allclose(found, expected**2, rtol=1e-3)
        expect(
            torch.allclose(found, expected, rtol=1e-3), "squared-norm" if squared else "wrong-value",
            f"The first convolution's norm is {found[0].item():.4g}; it should be {expected[0].item():.4g}.",
            hint="The square root of the sum of squares: weight.grad.norm().",
        )
        again = torch.tensor([float(v) for v in gradient_norms(model, x, labels)])
        expect(
            torch.allclose(again, expected, rtol=1e-3), "gradients-accumulate",
            f"Called a second time, the first number is {again[0].item():.4g} instead of "
            f"{expected[0].item():.4g}: the gradients of the first call are still there.",
            hint="backward() adds to what is in grad; call model.zero_grad() before it.",
        )


@exercise(
    "diagnose", chapter=1, number=4, title="Degradation or overfitting?",
    difficulty=1, importance=5, minutes=5, points=1,
    solution="resnet_tutorial.solutions.chapter01:diagnose",
)
def check_diagnose(diagnose, expect):
    """Four pairs of networks."""
    cases = {
        "degradation": (((8.0, 12.0), (11.0, 14.0)), ((8.0, 12.0), (9.0, 11.0))),
        "overfitting": (((8.0, 12.0), (2.0, 13.5)), ((5.0, 9.0), (5.0, 9.5))),
        "improvement": (((8.0, 12.0), (2.0, 7.0)), ((8.0, 12.0), (8.0, 12.0))),
    }
    for answer, pairs in cases.items():
        for shallow, deep in pairs:
            found = diagnose(shallow, deep)
            expect(
                found == answer, f"misses-{answer}",
                f"Training and test error went from {shallow} to {deep}: that is {answer}, not {found!r}.",
                hint="Look at the training error first: overfitting lowers it, degradation raises it.",
            )
