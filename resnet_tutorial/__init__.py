"""Residual networks, built step by step: the package behind the book.

Every public name can be imported from here::

    from resnet_tutorial import Bottleneck, resnet50, check, trace

Each is loaded when it is first used, so that ``import resnet_tutorial`` itself costs
next to nothing and pulls in neither torchvision, matplotlib nor a widget library.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("resnet-tutorial")
except PackageNotFoundError:  # a checkout that nobody installed: the code runs all the same
    __version__ = "0+checkout"

# module -> the names that it lends to the top of the package
_PUBLIC = {
    "shapes": (
        "conv_output_size", "conv_params", "conv_macs", "conv_receptive_field",
        "receptive_field", "bottleneck_width",
    ),
    "blocks": ("BasicBlock", "Bottleneck", "ConvBlock", "IdentityBlock", "conv1x1", "conv3x3"),
    "aggregated": ("SplitTransformMerge", "EarlyConcatenation"),
    "models": (
        "ResNet", "make_layer", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152",
        "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d",
        "wide_resnet50_2", "wide_resnet101_2",
    ),
    "cifar": (
        "CifarResNet", "CifarResNeXt", "cifar_resnet", "cifar_plain", "cifar_preact_resnet",
        "cifar_resnext29",
    ),
    "zoo": ("build_model", "model_names"),
    "weights": ("load_imagenet_weights",),
    "tracer": ("trace", "Trace"),
    "train": ("fit", "evaluate"),
}
# sub-packages that are public as a whole
_MODULES = ("check", "data", "figures", "shapes", "widgets")

_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = sorted([*_HOME, *_MODULES, "__version__"])


def __getattr__(name: str):
    """Import a public name from its module on first use (PEP 562)."""
    if name in _HOME:
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    elif name in _MODULES:
        value = import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
