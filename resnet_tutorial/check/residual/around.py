"""What is asked of a block class besides its blocks: defaults, a shortcut that is handed in."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .plan import kernels_of, shapes_of
from .watch import materialised


def is_class(attempt, name: str, expect) -> bool:
    """Refuse a block where its class is asked for."""
    return expect(
        not isinstance(attempt, nn.Module), "not-a-class",
        "You handed in one block; the check makes several and needs the class.",
        hint=f"check.{name}({type(attempt).__name__}), without parentheses after the name.",
    )  # fmt: skip


def default_holds(
    call: str, make: Callable[[], nn.Module], explicit: Callable[[], nn.Module], channels: int, stride: int, expect
) -> bool:  # fmt: skip
    """Compare a block that was told no stride with one that was told the default."""
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
    same = kernels_of(shapes_of(ours)) == kernels_of(shapes_of(theirs)) and sizes[0] == sizes[1]
    return expect(
        same, "wrong-default",
        f"{call}, without a stride, is another block than with stride={stride}"
        + (f": 8 x 8 pixels became {_by(sizes[0][2:])}, not {_by(sizes[1][2:])}." if all(sizes) else "."),
        hint=f"The default stands in the signature: stride={stride}.",
    )  # fmt: skip


class _Given(nn.Module):
    """A shortcut handed to the block: gives one number everywhere, whatever comes in."""

    def __init__(self, channels: int, stride: int, number: float) -> None:
        super().__init__()
        self.channels, self.stride, self.number = channels, stride, number

    def forward(self, x: Tensor) -> Tensor:
        kept = x[:, :1, :: self.stride, :: self.stride]
        return torch.full_like(kept, self.number).expand(-1, self.channels, -1, -1)


def given_shortcut_holds(
    name: str, Block: Callable[..., nn.Module], arguments: tuple[int, int], expect, expansion: int = 1, **options
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


def _by(shape) -> str:
    return " x ".join(map(str, shape))
