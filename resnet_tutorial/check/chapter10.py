"""Checks of chapter 10, looking inside."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..cifar import CifarResNet, cifar_resnet
from ..solutions import chapter10 as solutions
from .common import described, sequence, some
from .core import Expectations, exercise


class _Breaks(nn.Module):
    """A network that fails after its first part, before its second."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.first(x)
        raise RuntimeError("broken on purpose")


def _hooks(model: nn.Module) -> int:
    """Return how many hooks and replaced forwards hang on the parts of a model."""
    parts = list(model.modules())
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + ("forward" in vars(m)) for m in parts)


@exercise(
    "output_of", chapter=10, number=1, title="Listen to a layer",
    difficulty=3, importance=4, minutes=12, points=3,
    solution="resnet_tutorial.solutions.chapter10:output_of",
)
def check_output_of(output_of: Any, expect: Expectations) -> None:
    """The right tensor of the right layer, from one run that nothing disturbs; no hook left, also after a failure."""
    model = cifar_resnet(8)
    x = torch.randn(2, 3, 16, 16)
    earlier: list[torch.Tensor] = []
    for training in (False, True):
        for name in ("conv1", "layer2", "layer3"):
            if not _listens(output_of, model.train(training), name, x, earlier, expect):
                return
    raised = 0
    for name, when in (("first", "after"), ("second", "before")):
        broken = _Breaks()
        try:
            output_of(broken, getattr(broken, name), torch.randn(1, 3))
        except Exception:  # the model's own error, or what it was wrapped in
            raised += 1
        if not expect(
            _hooks(broken) == 0, "hook-left-after-error",
            f"When the model fails {when} the module is called, the hook stays attached.",
            hint="try: model(x) finally: handle.remove().",
        ):
            return
    expect(
        raised == 2, "error-swallowed", "When the model fails, its error does not come out of output_of.",
        hint="Use finally without except: the hook is removed, and the error goes on to the caller.",
    )


def _listens(
    output_of: Callable[..., Any], model: CifarResNet, name: str, x: torch.Tensor, earlier: list,
    expect: Expectations,
) -> bool:  # fmt: skip
    """Look at one call: what comes back, and what happened to the model meanwhile."""
    twin = copy.deepcopy(model)
    ends, starts = [], []
    twin_handle = getattr(twin, name).register_forward_hook(lambda part, inputs, output: starts.append(inputs[0]))
    right = solutions.output_of(twin, getattr(twin, name), x)
    twin_handle.remove()
    mode = [m.training for m in model.modules()]
    part, seen = getattr(model, name), []
    mine = [
        model.register_forward_hook(lambda part, inputs, output: ends.append(output)),
        part.register_forward_hook(lambda part, inputs, output: seen.append(output)),
    ]
    given = x.clone()
    found = output_of(model, part, given)
    kept = len(model._forward_hooks) + len(part._forward_hooks)
    for handle in mine:
        handle.remove()
    if not expect(
        isinstance(found, torch.Tensor), "wrong-type",
        f"output_of returned {described(found)}, not a tensor.",
        hint="Keep the hook's third argument, and return it after the call.",
    ):
        return False
    if not expect(
        mode == [m.training for m in model.modules()], "mode-changed",
        f"The model was in {'training' if mode[0] else 'eval'} mode; after the call it, or a part of it, is not.",
        hint="Call neither model.eval() nor model.train(): the caller decides.",
    ):
        return False
    if not expect(
        not any(found is tensor for tensor in earlier), "kept-from-last-call",
        f"For {name} came the tensor of an earlier call of output_of.",
        hint="A list as a default argument, or outside the function, is kept from call to call: make a new one in "
        "each call.",
    ):
        return False
    earlier.append(found)
    is_input = found.shape != right.shape
    if not expect(
        found.shape == right.shape and torch.allclose(found, right, atol=1e-6),
        "wrong-tensor" if is_input else "wrong-value",
        f"For {name} came a tensor of shape {tuple(found.shape)}; its output has {tuple(right.shape)}."
        if is_input else f"The tensor for {name} differs from its output by up to {(found - right).abs().max():.2g}.",
        hint="A forward hook is called as hook(module, inputs, output); keep the output.",
    ):  # fmt: skip
        return False
    reaches = found.requires_grad
    if reaches:
        (gradient,) = torch.autograd.grad(found.sum(), model.conv1.weight, allow_unused=True)
        reaches = gradient is not None
    if not expect(
        reaches, "detached", "The tensor was cut off from the graph, so no gradient can be asked of it.",
        hint="Neither detach() nor no_grad: Grad-CAM needs the gradient.",
    ):
        return False
    if not expect(
        len(ends) == 1, "runs-twice" if ends else "model-not-run",
        f"model(x) was called {len(ends)} times; once is enough, and each call in training mode moves the "
        "running statistics." if ends else "model(x) was not called: the module's output is asked for on its way.",
        hint="Attach the hook, call model(x) once, remove the hook.",
    ):
        return False
    with torch.no_grad():
        end = twin(x) if not model.training else None
    undisturbed = end is None or torch.allclose(ends[0], end, atol=1e-5)
    if not expect(
        undisturbed, "output-changed", f"While output_of listened to {name}, the model gave another output.",
        hint="What a forward hook returns replaces the output: let it return None.",
    ):
        return False
    if not expect(
        kept >= 2, "removes-others", "Hooks that were there before the call are gone after it.",
        hint="Remove your own hook only: handle.remove(), with the handle that registering gave.",
    ):
        return False
    left = _hooks(model)
    return expect(
        left == 0, "hook-left", f"{left} hook{'s are' if left > 1 else ' is'} still attached after the call.",
        hint="handle = module.register_forward_hook(...); handle.remove().",
    )


def _evidence() -> tuple[torch.Tensor, torch.Tensor]:
    """Return features and gradients of three images whose maps have the peaks 1, 30 and 3."""
    while True:
        features, gradients = torch.randn(3, 5, 4, 6), torch.randn(3, 5, 4, 6)
        maps = (gradients.mean((2, 3), keepdim=True) * features).sum(1)
        peak, floor = maps.amax((1, 2)), maps.amin((1, 2))
        if peak.min() > 0.2 and floor.max() < -0.2:
            return features * (torch.tensor([1.0, 30.0, 3.0]) / peak)[:, None, None, None], gradients


def _cam_faults(features: torch.Tensor, gradients: torch.Tensor) -> dict[str, tuple[torch.Tensor, str]]:
    """Return the maps that known mistakes give, with a hint for each."""
    weights = gradients.mean((2, 3), keepdim=True)
    maps = (weights * features).sum(1)
    positive = torch.relu(maps)

    def scaled(found: torch.Tensor) -> torch.Tensor:
        return found / found.amax((1, 2), keepdim=True)

    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    weigh = "Weights: the mean of the gradients over the positions, one for each channel of each image."
    return {
        "scaled-together": (positive / positive.max(), "Divide each image by its own maximum: amax(dim=(1, 2))."),
        "not-scaled": (positive, "Divide each image by its own maximum."),
        "scaled-by-the-sum": (positive / positive.sum((1, 2), keepdim=True), "Divide by the maximum, not by the sum."),
        "scaled-from-the-minimum": ((maps - low) / (high - low), "Set negative values to zero; do not lift them."),
        "gradients-not-averaged": (scaled(torch.relu((gradients * features).sum(1))), weigh),
        "gradients-of-all-images": (
            scaled(torch.relu((gradients.mean((0, 2, 3), keepdim=True) * features).sum(1))), weigh,
        ),
        "averaged-over-channels": (
            scaled(torch.relu((gradients.mean(1, keepdim=True) * features).sum(1))), weigh,
        ),
        "largest-gradient": (scaled(torch.relu((gradients.amax((2, 3), keepdim=True) * features).sum(1))), weigh),
        "gradients-without-sign": (
            scaled(torch.relu((gradients.abs().mean((2, 3), keepdim=True) * features).sum(1))),
            "Gradients keep their sign: a negative one speaks against the class.",
        ),
        "positive-gradients-only": (
            scaled(torch.relu((torch.relu(gradients).mean((2, 3), keepdim=True) * features).sum(1))),
            "Gradients keep their sign: only the sum over the channels goes through the relu.",
        ),
        "relu-before-sum": (scaled(torch.relu(weights * features).sum(1)), "First sum over the channels, then relu."),
        "absolute-value": (scaled(maps.abs()), "relu sets negative values to zero; abs() turns them round."),
        "swapped": (
            scaled(torch.relu((features.mean((2, 3), keepdim=True) * gradients).sum(1))),
            "The first argument holds the features, the second the gradients; the gradients are averaged.",
        ),
    }  # fmt: skip


@exercise(
    "grad_cam", chapter=10, number=2, title="Grad-CAM",
    difficulty=3, importance=4, minutes=15, points=3,
    solution="resnet_tutorial.solutions.chapter10:grad_cam",
)
def check_grad_cam(grad_cam: Any, expect: Expectations) -> None:
    """Random features and gradients, faint and absent evidence, each image scaled by itself."""
    features, gradients = _evidence()
    right = solutions.grad_cam(features, gradients)
    given = features.clone(), gradients.clone()
    found = grad_cam(*given)
    if not expect(
        isinstance(found, torch.Tensor), "wrong-type", f"grad_cam returned {described(found)}, not a tensor.",
        hint="Return the maps, (N, H, W).",
    ) or not expect(
        tuple(found.shape) == (3, 4, 6), "wrong-shape",
        f"The maps have the shape {tuple(found.shape)}, not (3, 4, 6).",
        hint="One weight a channel, then the sum over the channels.",
    ):
        return
    names = [n for n, old, new in zip(("features", "gradients"), (features, gradients), given, strict=True)
             if not torch.equal(old, new)]  # fmt: skip
    if not expect(
        not names, "input-modified", f"After the call, the {' and '.join(names)} held other numbers.",
        hint="*= and functions with a trailing underscore write into their argument: make new tensors.",
    ):
        return
    code, hint = "wrong-value", "relu of the sum over channels of weight times feature, then scaled."
    for name, (maps, advice) in _cam_faults(features, gradients).items():
        if not torch.allclose(right, maps, atol=1e-3) and torch.allclose(found, maps, rtol=1e-4, atol=1e-4):
            code, hint = name, advice
    known = code != "wrong-value"
    if not expect(
        known or bool((found >= 0).all()), "missing-relu", f"The lowest value is {found.min().item():.2g}.",
        hint="Only what speaks for the class counts: relu.",
    ) or not expect(
        torch.allclose(found, right, atol=2e-5), code,
        f"The maps differ from Grad-CAM's by up to {(found - right).abs().max().item():.2g}.", hint=hint,
    ):
        return
    one = features[:1].abs() + 0.1, gradients[:1].abs() + 0.1  # its map has no zero
    found, right = grad_cam(*(tensor.clone() for tensor in one)), solutions.grad_cam(*one)
    if not expect(
        isinstance(found, torch.Tensor) and found.shape == right.shape, "wrong-shape",
        f"For a batch of one image grad_cam returned {described(found)}, not maps of shape {tuple(right.shape)}.",
        hint="squeeze() without an axis takes away the batch's axis too: name the axis.",
    ) or not expect(
        torch.allclose(found, right, atol=2e-5), "scaled-from-the-minimum",
        f"A map that is positive everywhere is off by up to {(found - right).abs().max().item():.2g}; its lowest value "
        f"is {found.min().item():.3g}, not {right.min().item():.3g}.",
        hint="Divide by the maximum alone; the minimum is not subtracted.",
    ):
        return
    faint = grad_cam(features * 2e-5, gradients)[0].max().item()
    if not expect(
        abs(faint - 1) < 0.06, "guard-too-large",
        f"With faint evidence, a largest value of 0.00002 before the scaling, the map's maximum is {faint:.3g}, not 1.",
        hint="What protects from a division by zero must be far smaller than any maximum: 1e-12, say.",
    ):
        return
    empty = grad_cam(torch.ones(1, 2, 3, 3), -torch.ones(1, 2, 3, 3))
    expect(
        bool((empty == 0).all()), "divides-by-zero",
        "Where nothing speaks for the class, the map should be zero; "
        f"it holds {empty.flatten()[0].item()}.",
        hint="clamp the maximum to a tiny positive number before you divide.",
    )


class _Small(nn.Module):
    """A network with a head of any width, which is registered before other layers, and a parameter of its own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))
        self.conv = nn.Conv2d(3, width, 3, bias=False)
        self.fc = nn.Linear(width, 10)
        self.fc_aux = nn.Linear(width, width)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.scale * self.bn(self.conv(x)).relu().mean((2, 3))
        return self.fc(x + self.fc_aux(x))


@exercise(
    "replace_head", chapter=10, number=3, title="A new head",
    difficulty=1, importance=5, minutes=5, points=1,
    solution="resnet_tutorial.solutions.chapter10:replace_head",
)
def check_replace_head(replace_head: Any, expect: Expectations) -> None:
    """The head's inputs and outputs, and everything else as it was."""
    cases: tuple[tuple[Callable[[], CifarResNet | _Small], int], ...] = (
        (lambda: cifar_resnet(8), 3), (lambda: _Small(12), 37), (lambda: _Small(30), 4), (lambda: _Small(12), 10),
    )  # fmt: skip
    for make, classes in cases:
        model = make().eval()
        before = {n: p.clone() for n, p in model.state_dict().items() if not n.startswith("fc.")}
        old, inputs = model.fc.weight.detach().clone(), model.fc.in_features
        x = torch.randn(2, 3, 16, 16)
        changed = replace_head(model, classes)
        returned = "the new layer" if changed is getattr(model, "fc", 0) else described(changed)
        if not expect(
            isinstance(changed, nn.Module) and isinstance(getattr(changed, "fc", None), nn.Module), "wrong-type",
            f"replace_head returned {returned}, not the network with its layer fc.", hint="return model",
        ):  # fmt: skip
            return
        head = list(changed.fc.parameters())
        width = next((p.shape[1] for p in head if p.dim() == 2), inputs)
        if not expect(
            width == inputs, "wrong-inputs",
            f"The new head takes {width} numbers; the network's body gives {inputs}.",
            hint="Ask the old layer: model.fc.in_features.",
        ):
            return
        try:
            y = changed(x)
        except RuntimeError as error:
            expect(False, "cannot-run", f"The network with its new head fails: {error}",
                   hint="model.fc = nn.Linear(model.fc.in_features, num_classes).")  # fmt: skip
            return
        if not expect(
            isinstance(y, torch.Tensor) and tuple(y.shape) == (2, classes), "wrong-shape",
            f"The output has the shape {tuple(getattr(y, 'shape', ()))}, not (2, {classes}).",
            hint="model.fc = nn.Linear(model.fc.in_features, num_classes).",
        ):
            return
        if not expect(
            bool((y.sum(1) - 1).abs().max() > 1e-4) or not bool((y >= 0).all()), "softmax",
            "The outputs are probabilities, not logits.", hint="No softmax in the network: the loss has one.",
        ):  # fmt: skip
            return
        now = changed.state_dict()
        same = all(n in now and torch.equal(now[n], p) for n, p in before.items())
        if not expect(
            same, "body-changed", "Weights outside the classifier have changed.",
            hint="Replace model.fc only; do not build a new network.",
        ) or not expect(
            changed is model, "copied", "What came back is another network; the one handed in kept its old head.",
            hint="model.fc = ...; return model.",
        ):
            return
        if not _fresh_head(model, head, old, inputs, classes, expect):
            return


def _fresh_head(
    model: CifarResNet | _Small, head: list, old: torch.Tensor, inputs: int, classes: int, expect: Expectations
) -> bool:
    """Look at the new layer, and at what will be trained."""
    sizes = sorted(tuple(p.shape) for p in head)
    many = sum(p.numel() for p in head)
    due = inputs * classes + classes
    code = "no-bias" if sizes == [(classes, inputs)] else "old-head-kept" if many > due else "wrong-parameters"
    if not expect(
        sizes == [(classes,), (classes, inputs)], code,
        f"The new head has {many} parameters, not {due}: {inputs} weights and a bias for each of {classes} classes.",
        hint="One new nn.Linear in the place of the old one, with its bias.",
    ):
        return False
    weight, bias = sorted(head, key=lambda p: -p.dim())
    x = torch.randn(5, inputs)
    was = model.fc.training
    y = model.fc.train()(x)
    model.fc.train(was)
    if not expect(
        torch.allclose(y, x @ weight.T + bias, atol=1e-4), "not-linear",
        "In training mode, the new head's output is not x times its weight plus its bias.",
        hint="nn.Linear alone, with nothing before or after it.",
    ):
        return False
    kept = int((weight[:, None] == old[None]).all(2).any(1).sum())
    untouched = torch.equal(weight, old)
    if not expect(
        not kept, "old-weights",
        f"The head's weights are still the old ones, where it had {classes} outputs before." if untouched else
        f"{kept} of the new weight's {classes} rows are rows of the old one.",
        hint="A fresh layer in every case, for as many classes as before too: nn.Linear draws its own weights.",
    ):  # fmt: skip
        return False
    frozen = [n for n, p in model.named_parameters() if not p.requires_grad]
    in_body = any(not n.startswith("fc.") for n in frozen)
    return expect(
        not frozen, "body-frozen" if in_body else "head-frozen",
        f"{len(frozen)} parameters get no gradient any more, such as {frozen[0] if frozen else '-'}.",
        hint="Only the head is replaced here; freezing is the next exercise.",
    )


@exercise(
    "freeze_all_but_head", chapter=10, number=4, title="Freeze the body",
    difficulty=2, importance=4, minutes=6, points=2,
    solution="resnet_tutorial.solutions.chapter10:freeze_all_but_head",
)
def check_freeze_all_but_head(freeze: Any, expect: Expectations) -> None:
    """Which parameters get a gradient, and what is returned; also for a model that was frozen."""
    cases: tuple[tuple[Callable[[], CifarResNet | _Small], bool], ...] = (
        (lambda: cifar_resnet(8), True), (lambda: _Small(6), True), (lambda: _Small(6), False),
    )  # fmt: skip
    for make, before in cases:
        model = make().requires_grad_(before)
        fc, values = model.fc, [p.detach().clone() for p in model.fc.parameters()]
        given = freeze(model)
        same = model.fc is fc and all(map(torch.equal, fc.parameters(), values))
        if not expect(
            same, "new-head", "model.fc is another layer after the call, or has other weights.",
            hint="Leave the layer as it is; only requires_grad changes.",
        ):
            return
        y = model(torch.randn(2, 3, 16, 16)).sum()
        if y.requires_grad:
            y.backward()
        with_gradient = {n for n, p in model.named_parameters() if p.grad is not None}
        body = sorted(n for n in with_gradient if not n.startswith("fc."))
        if not expect(
            not body, "body-not-frozen", "Outside the head some parameters still get a gradient: "
            f"{some(body, 3)}.",
            hint="model.requires_grad_(False) first. A name that only begins with fc is not the head's."
            if body and body[0].startswith("fc") else "model.requires_grad_(False) first.",
        ):  # fmt: skip
            return
        without = [n for n in ("fc.weight", "fc.bias") if n not in with_gradient]
        if not expect(
            not without, "head-frozen", f"{' and '.join(without)} get{'s' * (len(without) == 1)} no gradient"
            f"{'' if before else ', where the whole model was frozen before the call'}.",
            hint="model.fc.requires_grad_(True) afterwards.",
        ):
            return
        trained = sequence(given)
        if not expect(
            trained is not None, "wrong-type",
            f"The function returned {described(given)}; a list is asked for, which can be read more than once.",
            hint="return list(model.fc.parameters())",
        ) or trained is None:
            return
        if not expect(
            len(trained) == 2 and {id(p) for p in trained} == {id(p) for p in model.fc.parameters()}, "wrong-list",
            f"The list has {len(trained)} entries; it should hold the head's own weight and bias, nothing else.",
            hint="list(model.fc.parameters()) is what the optimiser gets.",
        ):
            return
