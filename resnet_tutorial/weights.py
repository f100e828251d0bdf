"""Load the ImageNet weights that torchvision publishes: one call."""

from __future__ import annotations

import io
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from typing import cast

from .models import ResNet
from .zoo import IMAGENET_NAMES, build_model


def load_imagenet_weights(name: str, weights: str = "DEFAULT", progress: bool = True) -> ResNet:
    """Return a network of the book with torchvision's published ImageNet weights.

    The first call downloads the file (45 to 480 MB) into torch's cache.

    Args:
        name: ``"resnet18"`` ... ``"wide_resnet101_2"``.
        weights: ``"DEFAULT"`` (the best), ``"IMAGENET1K_V1"`` or ``"IMAGENET1K_V2"``.
        progress: show a progress bar.

    Raises:
        ValueError: if the network or the weights are not published.
        ConnectionError: if the file is not in the cache and cannot be downloaded.
    """
    from torchvision.models import get_model_weights  # not at the top: importing it takes a second

    if name not in IMAGENET_NAMES:
        raise ValueError(f"torchvision publishes no weights for {name!r}; it does for {', '.join(IMAGENET_NAMES)}.")
    published = get_model_weights(name)
    if weights not in published.__members__:
        raise ValueError(f"{name} has no weights {weights!r}; it has {', '.join(published.__members__)}.")
    try:
        with ExitStack() as quiet:
            if not progress:  # without the bar, torch.hub would still announce where it writes the file
                for redirect in (redirect_stdout, redirect_stderr):
                    quiet.enter_context(redirect(io.StringIO()))
            state = published[weights].get_state_dict(progress=progress, check_hash=True)
    except OSError as error:  # urllib's URLError is one
        raise ConnectionError(
            f"the weights of {name} are not on this machine and could not be downloaded "
            f"({getattr(error, 'reason', error)}). Try again with a network connection."
        ) from None
    model = cast(ResNet, build_model(name))  # as every network of ImageNet is
    model.load_state_dict(state)
    return model
