"""Figures of the residual block's relatives: gates, concatenation, squeeze and excitation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.patches import Rectangle

from .core import Drawing, new_figure, styled
from .diagrams import Block, block_diagram
from .palette import FILL, INK, LINES


def relatives() -> Drawing:
    """Draw the residual, the highway and the dense way of carrying x past two layers."""
    return block_diagram(
        Block("Residual", ["3×3 conv", "BN, ReLU", "3×3 conv", "BN"], result="C channels"),
        Block("Highway", ["3×3 conv", "ReLU", "× T(x)"], shortcut=["× (1 − T(x))"], after=(), result="C channels"),
        Block("Dense", ["BN", "ReLU", "3×3 conv"], merge="‖", after=(), result="C + g channels"),
        alt="Three blocks. Residual: x is added to the branch. Highway: the branch is multiplied by "
        "a gate T of x and x by one minus T of x, then both are added. Dense: x and the branch are "
        "concatenated, so the number of channels grows.",
        caption="Three ways to carry x past a few layers. T is a gate between 0 and 1; ‖ stands for "
        "concatenation, and g is the number of channels that it appends.",
    )


def pre_activation() -> Drawing:
    """Draw the original order of layers beside the pre-activated one."""
    return block_diagram(
        Block("Original", ["3×3 conv", "BN", "ReLU", "3×3 conv", "BN"], after=("ReLU",)),
        Block("Pre-activation", ["BN", "ReLU", "3×3 conv", "BN", "ReLU", "3×3 conv"], after=()),
        alt="Left: convolution, batch norm, ReLU, convolution, batch norm, addition, ReLU. Right: "
        "batch norm, ReLU, convolution, batch norm, ReLU, convolution, addition, and nothing after it.",
        caption="The same layers in two orders. On the right nothing stands on the way from one "
        "addition to the next.",
    )


@styled
def pixels_read(patterns: Mapping[str, Sequence[Sequence[bool]]]) -> Drawing:
    """Draw which input pixels have an influence on the output.

    Args:
        patterns: shortcut's name -> a grid of truth values, one a pixel.
    """
    figure, axes = new_figure(2.4 * len(patterns), 2.5, 1, len(patterns), squeeze=False)
    shares = []
    for ax, (name, grid) in zip(axes.flat, patterns.items(), strict=True):
        for row, values in enumerate(grid):
            for column, read in enumerate(values):
                colour = FILL["conv3x3"] if read else "none"
                ax.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, edgecolor=INK, linewidth=0.5))
        flat = [bool(value) for values in grid for value in values]
        shares.append(f"{name}: {sum(flat)} of {len(flat)}")
        ax.set_xlim(-0.1, len(grid[0]) + 0.1)
        ax.set_ylim(len(grid) + 0.1, -0.1)
        ax.set_aspect("equal")
        ax.set_title(name)
        ax.set_axis_off()
    return Drawing(
        figure,
        alt=f"Input pixels that are read: {'; '.join(shares)}.",
        caption="Filled: pixels of an 8 × 8 input that have an influence on the output.",
    )


@styled
def channels_by_layer(curves: Mapping[str, Sequence[int]]) -> Drawing:
    """Draw how the number of channels grows from layer to layer."""
    figure, ax = new_figure(5.4, 2.6)
    for colour, (name, values) in zip(LINES, curves.items(), strict=False):
        ax.plot(range(len(values)), values, ".-", color=colour, label=name)
    ax.set_xlabel("layers passed")
    ax.set_ylabel("channels")
    ax.set_ylim(0)
    ax.legend(fontsize=9)
    ends = "; ".join(f"{name}: from {v[0]} to {v[-1]}" for name, v in curves.items())
    return Drawing(figure, alt=f"Channels by layer. {ends}.", caption="Adding keeps the width, appending widens.")
