"""Solutions of chapter 10's exercises."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def output_of(model: nn.Module, module: nn.Module, x: Tensor) -> Tensor:
    """Return what module, a part of model, puts out while model(x) is computed."""
    caught = []
    handle = module.register_forward_hook(lambda part, inputs, output: caught.append(output))
    try:
        model(x)
    finally:
        handle.remove()  # also when the model fails: a forgotten hook runs for ever
    return caught[-1]


def grad_cam(features: Tensor, gradients: Tensor) -> Tensor:
    """Return Grad-CAM's map: where the features speak for the class.

    features and gradients (N, C, H, W): a layer's output, and the gradient of the
    class's logit with respect to it. Returns (N, H, W), not negative, with a maximum
    of 1 in each image (an image in which nothing speaks for the class is all zero).
    """
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    maps = F.relu((weights * features).sum(dim=1))
    peak = maps.amax(dim=(1, 2), keepdim=True)
    return maps / peak.clamp(min=torch.finfo(maps.dtype).tiny)


def freeze_all_but_head(model: nn.Module) -> list[nn.Parameter]:
    """Switch off all gradients but those of model.fc; return its parameters."""
    model.requires_grad_(False)
    model.fc.requires_grad_(True)
    return list(model.fc.parameters())  # type: ignore[union-attr]  # a layer, says the exercise


def replace_head(model: nn.Module, num_classes: int) -> nn.Module:
    """Give model a fresh classifier model.fc of num_classes classes; return model."""
    model.fc = nn.Linear(model.fc.in_features, num_classes)  # type: ignore[union-attr,arg-type]  # a linear layer
    return model
