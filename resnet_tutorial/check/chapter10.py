"""Checks of chapter 10, looking inside."""

from __future__ import annotations

from contextlib import suppress

import torch
from torch import nn

from ..cifar import cifar_resnet
from ..solutions import chapter10 as solutions
from .core import exercise


class _Breaks(nn.Module):
    """A network that fails after its first part."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)

    def forward(self, x):
        self.first(x)
        raise RuntimeError("broken on purpose")


@exercise(
    "output_of", chapter=10, number=1, title="Listen to a layer",
    difficulty=3, importance=4, minutes=12, points=3,
    solution="resnet_tutorial.solutions.chapter10:output_of",
)
def check_output_of(output_of, expect):
    """The right tensor, the right layer, no hook left, also after a failure."""
    model = cifar_resnet(8).eval()
    x = torch.randn(2, 3, 16, 16)
    for name in ("conv1", "layer2", "layer3"):
        part = getattr(model, name)
        right = solutions.output_of(model, part, x)
        found = output_of(model, part, x)
        if not expect(
            isinstance(found, torch.Tensor), "wrong-type",
            f"output_of returned {type(found).__name__}, not a tensor.",
            hint="Keep the hook's third argument, and return it after the call.",
        ):
            return
        is_input = found.shape != right.shape
        expect(
            found.shape == right.shape and torch.equal(found, right),
            "wrong-tensor" if is_input else "wrong-value",
            f"For {name} came a tensor of shape {tuple(found.shape)}; its output has {tuple(right.shape)}.",
            hint="A forward hook is called as hook(module, inputs, output).",
        )
        expect(
            found.requires_grad == right.requires_grad, "detached",
            "The tensor was cut off from the graph, so no gradient can be asked of it.",
            hint="Neither detach() nor no_grad: Grad-CAM needs the gradient.",
        )
    left = sum(len(m._forward_hooks) for m in model.modules())
    expect(
        left == 0, "hook-left", f"{left} hooks are still attached after the calls.",
        hint="handle = module.register_forward_hook(...); handle.remove().",
    )
    broken = _Breaks()
    with suppress(RuntimeError):
        output_of(broken, broken.first, torch.randn(1, 3))
    left = sum(len(m._forward_hooks) for m in broken.modules())
    expect(
        left == 0, "hook-left-after-error", "When the model fails, the hook stays attached.",
        hint="try: model(x) finally: handle.remove().",
    )


@exercise(
    "grad_cam", chapter=10, number=2, title="Grad-CAM",
    difficulty=3, importance=4, minutes=15, points=3,
    solution="resnet_tutorial.solutions.chapter10:grad_cam",
)
def check_grad_cam(grad_cam, expect):
    """Random features and gradients, an image without evidence, each image scaled by itself."""
    features = torch.randn(3, 5, 4, 6)
    gradients = torch.randn(3, 5, 4, 6)
    features[1] *= 10
    right = solutions.grad_cam(features, gradients)
    found = grad_cam(features.clone(), gradients.clone())
    if not expect(
        tuple(found.shape) == (3, 4, 6), "wrong-shape",
        f"The maps have the shape {tuple(found.shape)}, not (3, 4, 6).",
        hint="One weight a channel, then the sum over the channels.",
    ):
        return
    expect(
        bool((found >= 0).all()), "missing-relu", f"The lowest value is {found.min().item():.2f}.",
        hint="Only what speaks for the class counts: relu.",
    )
    whole = (right * 0 + torch.relu((gradients.mean((2, 3), keepdim=True) * features).sum(1)))
    joint = torch.allclose(found, whole / whole.max(), atol=1e-5)
    unscaled = torch.allclose(found, whole, atol=1e-5)
    pointwise = torch.relu((gradients * features).sum(1))
    pointwise = pointwise / pointwise.amax((1, 2), keepdim=True)
    code = "scaled-together" if joint else "not-scaled" if unscaled else "wrong-value"
    if torch.allclose(found, pointwise, atol=1e-4):
        code = "gradients-not-averaged"
    expect(
        torch.allclose(found, right, atol=1e-5), code,
        f"The maps differ from Grad-CAM's by up to {(found - right).abs().max().item():.2g}.",
        hint="Weights: the mean of the gradients over the positions. Divide each image by its own maximum.",
    )
    empty = grad_cam(torch.ones(1, 2, 3, 3), -torch.ones(1, 2, 3, 3))
    expect(
        bool((empty == 0).all()), "divides-by-zero",
        "Where nothing speaks for the class, the map should be zero; "
        f"it holds {empty.flatten()[0].item()}.",
        hint="clamp the maximum to a tiny positive number before you divide.",
    )


@exercise(
    "replace_head", chapter=10, number=3, title="A new head",
    difficulty=1, importance=5, minutes=5, points=1,
    solution="resnet_tutorial.solutions.chapter10:replace_head",
)
def check_replace_head(replace_head, expect):
    """The shape of the output, and everything else as it was."""
    for depth, classes in ((8, 3), (14, 37)):
        model = cifar_resnet(depth).eval()
        before = {n: p.clone() for n, p in model.state_dict().items() if not n.startswith("fc.")}
        x = torch.randn(2, 3, 16, 16)
        changed = replace_head(model, classes)
        if not expect(
            isinstance(changed, nn.Module), "wrong-type",
            f"replace_head returned {type(changed).__name__}.", hint="return model",
        ):  # fmt: skip
            return
        y = changed(x)
        expect(
            tuple(y.shape) == (2, classes), "wrong-shape",
            f"The output has the shape {tuple(y.shape)}, not (2, {classes}).",
            hint="model.fc = nn.Linear(model.fc.in_features, num_classes).",
        )
        expect(
            bool((y.sum(1) - 1).abs().max() > 1e-4), "softmax", "The outputs are probabilities, not logits.",
            hint="No softmax in the network: the loss has one.",
        )  # fmt: skip
        now = changed.state_dict()
        same = all(n in now and torch.equal(now[n], p) for n, p in before.items())
        expect(
            same, "body-changed", "Weights outside the classifier have changed.",
            hint="Replace model.fc only; do not build a new network.",
        )


@exercise(
    "freeze_all_but_head", chapter=10, number=4, title="Freeze the body",
    difficulty=2, importance=4, minutes=6, points=2,
    solution="resnet_tutorial.solutions.chapter10:freeze_all_but_head",
)
def check_freeze_all_but_head(freeze, expect):
    """Which parameters get a gradient, and what is returned."""
    model = cifar_resnet(8)
    trained = list(freeze(model))
    model(torch.randn(2, 3, 16, 16)).sum().backward()
    with_gradient = {n for n, p in model.named_parameters() if p.grad is not None}
    body = sorted(n for n in with_gradient if not n.startswith("fc."))
    expect(
        not body, "body-not-frozen", f"{len(body)} parameters outside the head still get a gradient, such as "
        f"{body[0] if body else '-'}.", hint="model.requires_grad_(False) first.",
    )  # fmt: skip
    expect(
        {"fc.weight", "fc.bias"} <= with_gradient, "head-frozen", "The head gets no gradient.",
        hint="model.fc.requires_grad_(True) afterwards.",
    )
    expect(
        {id(p) for p in trained} == {id(p) for p in model.fc.parameters()}, "wrong-list",
        f"The list has {len(trained)} parameters; the head has 2: weight and bias.",
        hint="list(model.fc.parameters()) is what the optimiser gets.",
    )
