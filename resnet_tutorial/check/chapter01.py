"""Checks of chapter 1, why depth fails."""

from __future__ import annotations

import copy
import random
from typing import Any, cast

import torch
from torch import nn

from ..cifar import cifar_plain, cifar_resnet
from ..solutions import chapter01 as solutions
from .common import described, noting, number, sequence, unlike, whole
from .core import Expectations, exercise


@exercise(
    "blocks_per_stage", chapter=1, number=1, title="From depth to blocks",
    difficulty=1, importance=3, minutes=5, points=1,
    solution="resnet_tutorial.solutions.chapter01:blocks_per_stage",
)
def check_blocks_per_stage(blocks_per_stage: Any, expect: Expectations) -> None:
    """The paper's depths, and depths that no such network has."""
    blocks_per_stage = noting("blocks_per_stage", blocks_per_stage)
    for depth, n in ((8, 1), (20, 3), (32, 5), (44, 7), (56, 9), (110, 18), (1202, 200)):
        found = blocks_per_stage(depth)
        value = whole(found)
        if value is None:
            code = "wrong-type" if number(found) is None else "not-an-integer"
            expect(
                False, code, f"For {depth} layers the function returned {described(found)}; n is an int.",
                hint="Divide with //, which stays whole, and return the number.",
            )  # fmt: skip
            return
        if not expect(
            value == n, "wrong-value", f"A network of {depth} layers got n = {value}, not {n}.",
            hint="Two layers are stem and classifier; the rest are 3 stages of n blocks of 2 layers.",
        ):
            return
    for depth in (18, 21, 2, 0, -4):
        found, refused = None, False
        try:
            found = blocks_per_stage(depth)
        except ValueError:
            refused = True
        if not expect(
            refused, "accepts-wrong-depth",
            f"For depth {depth}, which is not 6n+2 with n of 1 or more, the function returned {described(found)}.",
            hint="Raise ValueError when depth - 2 is not a multiple of 6, or leaves no block.",
        ):
            return


@exercise(
    "copying_conv", chapter=1, number=2, title="A layer that copies",
    difficulty=2, importance=4, minutes=10, points=2,
    solution="resnet_tutorial.solutions.chapter01:copying_conv",
)
def check_copying_conv(copying_conv: Any, expect: Expectations) -> None:
    """Its output equals its input, for several channels and sizes, edges included."""
    copying_conv = noting("copying_conv", copying_conv)
    for channels, size in ((1, (5, 5)), (4, (6, 9)), (7, (3, 3))):
        layer = copying_conv(channels)
        if not expect(
            isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3), "wrong-type",
            f"copying_conv({channels}) gave {described(layer)}, not a 3x3 nn.Conv2d.",
            hint="nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False).",
        ):
            return
        if not expect(layer.bias is None, "bias", "The convolution has a bias.", hint="bias=False."):
            return
        if not expect(
            (layer.in_channels, layer.out_channels) == (channels, channels), "wrong-channels",
            f"copying_conv({channels}) goes from {layer.in_channels} to {layer.out_channels} channels.",
            hint="From channels to channels.",
        ):
            return
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
        if not expect(
            torch.allclose(y, x, atol=1e-6), code,
            f"With {channels} channels the output differs from the input by up to "
            f"{(y - x).abs().max().item():.2g}; projected on the input it is {scale:.2f} times as large.",
            hint="weight[o, i] is the 3x3 filter from channel i to channel o: a one in the middle "
            "where o equals i, and zero everywhere else.",
        ):
            return


def _small_batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(8, 3, 16, 16), torch.randint(0, 10, (8,))


def _with_bias() -> nn.Module:
    """A network whose convolutions have biases, and one of them no bias."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 5, 1, bias=False), nn.ReLU(),
        nn.Conv2d(5, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10),
    )  # fmt: skip


def _norms(found: Any) -> torch.Tensor | None:
    """Return a sequence of numbers as a tensor, and None for anything else."""
    numbers = [number(value) for value in sequence(found) or []]
    known = sequence(found) is not None and None not in numbers
    return torch.tensor(numbers, dtype=torch.float64) if known else None


def _norm_fault(found: torch.Tensor, right: torch.Tensor, others: dict[str, torch.Tensor]) -> str:
    """Name the mistake that gives these norms."""
    known = {"wrong-value": right, "squared-norm": right**2, "wrong-order": right.flip(0), "summed-loss": 8 * right}
    known |= others
    return next((code for code, norms in known.items() if torch.allclose(found, norms, rtol=1e-3)), "wrong-value")


_NORM_HINTS = {
    "squared-norm": "The square root of the sum of squares: weight.grad.norm().",
    "wrong-order": "model.modules() goes from the first layer to the last.",
    "summed-loss": "The cross entropy of a batch is the mean over its images.",
    "norm-of-weight": "The gradient stands in weight.grad, after backward().",
    "gradients-accumulate": "backward() adds to what is in grad; call model.zero_grad() before it.",
    "mode-changed": "No model.eval() and no model.train(): with batch norms the gradients depend on the mode.",
    "wrong-value": "Cross entropy of model(images) and labels, backward(), then weight.grad.norm() of each.",
}


def _modes(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


@exercise(
    "gradient_norms", chapter=1, number=3, title="Measure the gradients",
    difficulty=3, importance=4, minutes=12, points=3,
    solution="resnet_tutorial.solutions.chapter01:gradient_norms",
)
def check_gradient_norms(gradient_norms: Any, expect: Expectations) -> None:
    """One number a convolution, the right ones, also with old gradients, when asked twice, and in either mode."""
    for model in (cifar_plain(8), cifar_resnet(14, shortcut="B"), _with_bias(), cifar_plain(8).eval()):
        x, labels = _small_batch()
        convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
        twin = copy.deepcopy(model)
        right = torch.tensor(solutions.gradient_norms(twin, x, labels), dtype=torch.float64)
        fresh = [cast(torch.Tensor, m.weight.grad) for m in twin.modules() if isinstance(m, nn.Conv2d)]
        solutions.gradient_norms(model, *_small_batch())  # leaves its gradients behind
        other_mode = copy.deepcopy(model).train(not model.training)
        wrong = {
            "gradients-accumulate": [
                cast(torch.Tensor, m.weight.grad) + g for m, g in zip(convolutions, fresh, strict=True)
            ],
            "norm-of-weight": [m.weight.detach() for m in convolutions],
        }
        others = {code: torch.stack([t.double().norm() for t in all]) for code, all in wrong.items()}
        others["mode-changed"] = torch.tensor(solutions.gradient_norms(other_mode, x, labels), dtype=torch.float64)
        modes, words = _modes(model), {True: "training mode", False: "evaluation mode"}
        for call in ("For a model that holds gradients of another batch", "Called a second time"):
            answer = gradient_norms(model, x, labels)
            if not expect(
                _modes(model) == modes, "mode-changed",
                f"The model came in {words[modes[0]]}; after the call "
                + (f"it is in {words[not modes[0]]}." if model.training != modes[0] else "some layers are not."),
                hint=_NORM_HINTS["mode-changed"],
            ):
                return
            found = _norms(answer)
            if not expect(
                all(map(torch.equal, model.parameters(), twin.parameters())), "weights-changed",
                "After the call the model has other weights: it was trained, not only measured.",
                hint="No step of an optimiser: backward() alone gives the gradients.",
            ):
                return
            if not expect(
                found is not None, "wrong-type", f"The function returned {described(answer)}, not a list of numbers.",
                hint="[layer.weight.grad.norm().item() for layer in ...]",
            ) or found is None:
                return
            if not expect(
                len(found) == len(right), "wrong-count",
                f"The list has {len(found)} numbers for {len(right)} convolutions.",
                hint="Only nn.Conv2d, every one, in the order of model.modules().",
            ):
                return
            off = (found - right).abs() / right
            place = int(torch.nan_to_num(off, nan=torch.inf).argmax())
            code = _norm_fault(found, right, others)
            if code == "wrong-value" and call == "Called a second time":
                code = "gradients-accumulate"
            seen, due = unlike(found[place].item(), right[place].item())
            asked = call if code == "gradients-accumulate" else f"For a model in {words[model.training]}"
            if not expect(
                torch.allclose(found, right, rtol=1e-3), code,
                f"{asked}, it gave {seen} for convolution {place + 1} of {len(right)}; the norm is {due}.",
                hint=_NORM_HINTS[code],
            ):
                return


@exercise(
    "diagnose", chapter=1, number=4, title="Degradation or overfitting?",
    difficulty=1, importance=5, minutes=5, points=1,
    solution="resnet_tutorial.solutions.chapter01:diagnose",
)
def check_diagnose(diagnose: Any, expect: Expectations) -> None:
    """Clear cases, and errors that differ by little or not at all."""
    diagnose = noting("diagnose", diagnose)
    a, b = (round(random.uniform(4, 20), 2) for _ in range(2))
    cases = {
        "degradation": (((8.0, 12.0), (11.0, 14.0)), ((8.0, 12.0), (9.0, 11.0)), ((a, b), (a + 0.01, b))),
        "overfitting": (((8.0, 12.0), (2.0, 13.5)), ((5.0, 9.0), (5.0, 9.5)), ((a, b), (a - 0.01, b + 0.01))),
        "improvement": (((8.0, 12.0), (2.0, 7.0)), ((8.0, 12.0), (8.0, 12.0)), ((a, b), (a, b - 0.01))),
    }
    for answer, pairs in cases.items():
        for shallow, deep in pairs:
            found = diagnose(shallow, deep)
            if not expect(
                isinstance(found, str) and found in cases,
                "wrong-word" if isinstance(found, str) else "wrong-type",
                f"The function returned {described(found)}, which is none of the three words.",
                hint='return "degradation", "overfitting" or "improvement", in small letters.',
            ):  # fmt: skip
                return
            if not expect(
                found == answer, f"misses-{answer}",
                f"Training and test error went from {shallow} to {deep}: that is {answer}, not {found!r}.",
                hint="Compare the training errors first: higher is degradation, by however little. "
                "Only then compare the test errors.",
            ):  # fmt: skip
                return
