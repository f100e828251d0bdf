"""What is asked of a block class besides its blocks: defaults, a shortcut that is handed in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from resnet_tutorial.check.common import by
from resnet_tutorial.check.core import Expectations

from .plan import kernels_of, shapes_of
from .watch import materialised


def is_class(attempt: Any, name: str, expect: Expectations) -> bool:
    """Refuse a block where its class is asked for."""
    what = "one block" if isinstance(attempt, nn.Module) else f"a {type(attempt).__name__}"
    return expect(
        callable(attempt) and not isinstance(attempt, nn.Module), "not-a-class",
        f"You handed in {what}; the check makes several blocks and needs the class.",
        hint=f"check.{name}(NameOfYourClass), without parentheses after the name.",
    )  # fmt: skip


def default_holds(
    call: str, make: Callable[[], nn.Module], explicit_call: str, explicit: Callable[[], nn.Module], channels: int,
    expect: Expectations,
) -> bool:  # fmt: skip
    """Compare a block that was told nothing with one that was told the defaults."""
    ours, theirs = make(), explicit()
    if not isinstance(ours, nn.Module) or not isinstance(theirs, nn.Module):
        return True  # said elsewhere
    sizes = []
    for block in (ours, theirs):
        try:
            with torch.no_grad():
                sizes.append(tuple(getattr(block(torch.randn(2, channels, 8, 8)), "shape", ())))
        except RuntimeError:
            sizes.append(())
    kernels = [kernels_of(shapes_of(block)) for block in (ours, theirs)]
    differs = ""
    if kernels[0] != kernels[1]:
        count = [sum(p.numel() for p in block.parameters()) for block in (ours, theirs)]
        differs = f"it has {count[0]:,} parameters, the other {count[1]:,}"
    if sizes[0] != sizes[1] and all(sizes):
        differs = f"8 x 8 pixels become {by(sizes[0][2:])}, with the other {by(sizes[1][2:])}"
    same_kind = kernels[0] == kernels[1] and sizes[0] == sizes[1]
    if same_kind and not _alike(ours, theirs, make(), channels):
        same_kind, differs = False, "with the same parameters they give different outputs"
    return expect(
        same_kind, "wrong-default",
        f"{call} should be the same block as {explicit_call}; {differs or 'one of them fails'}.",
        hint="The defaults stand in the first line of __init__: leave them as they are given.",
    )  # fmt: skip


def _alike(ours: nn.Module, theirs: nn.Module, control: nn.Module, channels: int) -> bool:
    """Tell whether two blocks with the same state give the same in evaluation mode.

    Where not even ``control``, made as ``ours`` was, does that, the default is not to blame.
    """
    x = torch.randn(2, channels, 7, 7)
    with suppress(RuntimeError, TypeError, AttributeError), torch.no_grad():
        right = ours.eval()(x.clone())
        for block in (control, theirs):
            block.load_state_dict(ours.state_dict())
            if not torch.allclose(block.eval()(x.clone()), right, rtol=1e-4, atol=1e-5):
                return block is control
    return True  # what is wrong then is said elsewhere


class _Given(nn.Module):
    """A shortcut handed to the block: gives one number everywhere, whatever comes in."""

    def __init__(self, channels: int, stride: int, number: float) -> None:
        super().__init__()
        self.channels, self.stride, self.number = channels, stride, number

    def forward(self, x: Tensor) -> Tensor:
        kept = x[:, :1, :: self.stride, :: self.stride]
        return torch.full_like(kept, self.number).repeat(1, self.channels, 1, 1)


def given_shortcut_holds(
    name: str, Block: Callable[..., nn.Module], arguments: tuple[int, int], expect: Expectations,
    expansion: int = 1, **options: Any,
) -> bool:  # fmt: skip
    """A shortcut that is handed in takes the place of identity and projection, and has no ReLU behind it."""
    in_channels, planes = arguments
    out = planes * expansion
    for channels, stride in ((in_channels, 2), (out, 1)):
        call = f"{name}({channels}, {planes}, {stride}, downsample)"
        for number, right in ((100.0, lambda y: y.min() > 50), (-100.0, lambda y: y.max() == 0)):
            block = Block(channels, planes, stride, _Given(out, stride, number), **options)
            with torch.no_grad():
                y = block(torch.randn(2, channels, 8, 8))
            if not expect(
                bool(right(y)), "downsample-ignored",
                f"{call} was handed a shortcut that gives {number:g} everywhere; the outputs lie between "
                f"{y.min():.2f} and {y.max():.2f}.",
                hint="Choose between identity and projection only if downsample is None, and add what the "
                "handed-in shortcut gives as it is.",
            ):  # fmt: skip
                return False
        plain = materialised(Block(out, planes, 1, **options), out)  # its shortcut is the identity
        if not expect(
            sum(kernels_of(shapes_of(block)).values()) <= sum(kernels_of(shapes_of(plain)).values()),
            "needless-projection",
            f"{call} was handed a shortcut and made a projection of its own all the same.",
            hint="Choose between identity and projection only if downsample is None.",
        ):  # fmt: skip
            return False
    return True
