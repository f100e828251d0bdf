"""Residual networks, built step by step: the package behind the book.

Every public name can be imported from here::

    from resnet_tutorial import Bottleneck, resnet50, check, trace

Each is loaded when it is first used, so that ``import resnet_tutorial`` itself costs
next to nothing and pulls in neither torchvision, matplotlib nor a widget library.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:  # the same names once more, for type checkers and editors: they run nothing
    from . import check as check
    from . import data as data
    from . import figures as figures
    from . import shapes as shapes
    from . import widgets as widgets
    from .aggregated import EarlyConcatenation as EarlyConcatenation
    from .aggregated import SplitTransformMerge as SplitTransformMerge
    from .blocks import BasicBlock as BasicBlock
    from .blocks import Bottleneck as Bottleneck
    from .blocks import ConvBlock as ConvBlock
    from .blocks import IdentityBlock as IdentityBlock
    from .blocks import conv1x1 as conv1x1
    from .blocks import conv3x3 as conv3x3
    from .cifar import CifarResNet as CifarResNet
    from .cifar import CifarResNeXt as CifarResNeXt
    from .cifar import cifar_plain as cifar_plain
    from .cifar import cifar_preact_resnet as cifar_preact_resnet
    from .cifar import cifar_resnet as cifar_resnet
    from .cifar import cifar_resnext29 as cifar_resnext29
    from .models import ResNet as ResNet
    from .models import make_layer as make_layer
    from .models import resnet18 as resnet18
    from .models import resnet34 as resnet34
    from .models import resnet50 as resnet50
    from .models import resnet101 as resnet101
    from .models import resnet152 as resnet152
    from .models import resnext50_32x4d as resnext50_32x4d
    from .models import resnext101_32x8d as resnext101_32x8d
    from .models import resnext101_64x4d as resnext101_64x4d
    from .models import wide_resnet50_2 as wide_resnet50_2
    from .models import wide_resnet101_2 as wide_resnet101_2
    from .shapes import bottleneck_width as bottleneck_width
    from .shapes import conv_macs as conv_macs
    from .shapes import conv_output_size as conv_output_size
    from .shapes import conv_params as conv_params
    from .shapes import conv_receptive_field as conv_receptive_field
    from .shapes import receptive_field as receptive_field
    from .tracer import Trace as Trace
    from .tracer import trace as trace
    from .train import fit as fit
    from .train.evaluate import evaluate as evaluate
    from .weights import load_imagenet_weights as load_imagenet_weights
    from .zoo import build_model as build_model
    from .zoo import model_names as model_names

_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = sorted([*_HOME, *_MODULES, "__version__"])


if not TYPE_CHECKING:  # with this function in sight, a type checker would believe in any name

    def __getattr__(name: str) -> object:
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
