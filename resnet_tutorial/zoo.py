"""Networks by name, for the command line and for recorded runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from torch import nn

from . import cifar, models

IMAGENET_NAMES = (
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152",
    "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d",
    "wide_resnet50_2", "wide_resnet101_2",
)  # fmt: skip
# pattern of the name -> factory; the groups of the pattern are its leading integer arguments
_CIFAR_NAMES: dict[str, Callable[..., nn.Module]] = {
    r"cifar_resnet(\d+)": cifar.cifar_resnet,
    r"cifar_plain(\d+)": cifar.cifar_plain,
    r"cifar_preact_resnet(\d+)": cifar.cifar_preact_resnet,
    r"cifar_resnext29_(\d+)x(\d+)d": cifar.cifar_resnext29,
}


def model_names() -> list[str]:
    """Return the names that :func:`build_model` takes; of open families, the usual members."""
    depths = (20, 32, 44, 56, 110)
    families = ("cifar_resnet", "cifar_plain", "cifar_preact_resnet")
    return [
        *IMAGENET_NAMES,
        *(f"{family}{depth}" for family in families for depth in depths),
        "cifar_resnext29_8x64d",
        "cifar_resnext29_16x64d",
    ]


def build_model(name: str, **options: Any) -> nn.Module:
    """Build a network of the book by its name, for example ``"cifar_resnet20"``.

    Args:
        name: a factory's name; the CIFAR families carry their numbers in it
            (``cifar_resnet56``, ``cifar_plain20``, ``cifar_resnext29_8x64d``).
        options: the factory's keyword arguments (``num_classes=10``, ``stem="cifar"`` ...).

    Raises:
        ValueError: for a name, an option or a value that the factory does not know.
    """
    factory, sizes = _find(name)
    try:
        return factory(*sizes, **options)
    except TypeError as error:
        if "keyword argument" not in str(error):
            raise
        given = ", ".join(sorted(options))
        raise ValueError(f"{name} does not take one of the options {given}: {error}.") from None


def _find(name: str) -> tuple[Callable[..., nn.Module], list[int]]:
    if name in IMAGENET_NAMES:
        return getattr(models, name), []
    for pattern, factory in _CIFAR_NAMES.items():
        if match := re.fullmatch(pattern, name):
            return factory, [int(number) for number in match.groups()]
    raise ValueError(f"there is no network {name!r}; known are {', '.join(model_names())}.")
