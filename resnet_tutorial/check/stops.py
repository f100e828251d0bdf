"""Where in a network a tensor does not fit: the layer, what it takes, and what it was given."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .common import by


def where_it_stops(model: nn.Module, x: Tensor) -> str:
    """Return in words the innermost layer that refuses what it is given; nothing where ``x`` goes through."""
    running: list[tuple[str, nn.Module, Any]] = []
    hooks = []
    for name, module in model.named_modules(remove_duplicate=False):
        if not name:
            continue

        def enters(layer: nn.Module, args: Any, name: str = name) -> None:
            running.append((name, layer, args))

        def leaves(*_: Any) -> None:
            running.pop()

        hooks += [module.register_forward_pre_hook(enters), module.register_forward_hook(leaves)]
    try:
        with torch.no_grad():
            model(x)
    except RuntimeError:
        return _sentence(*running[-1]) if running else ""
    finally:
        for hook in hooks:
            hook.remove()
    return ""


def _sentence(name: str, layer: nn.Module, args: Any) -> str:
    wanted = getattr(layer, "in_channels", getattr(layer, "num_features", getattr(layer, "in_features", None)))
    takes = f" takes {wanted} channels and" if isinstance(wanted, int) else ""
    given = by(args[0].shape) if args and isinstance(args[0], Tensor) else "no tensor"
    return f"{name}, {_article(type(layer).__name__)} that{takes} was given {given}"


def _article(word: str) -> str:
    return f"{'an' if word[:1] in 'AEIOU' else 'a'} {word}"
