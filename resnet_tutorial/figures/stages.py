"""Stages of a network drawn as chains of Conv blocks and Identity blocks."""

from __future__ import annotations

from collections.abc import Sequence

from .core import Drawing, new_figure, styled
from .diagrams import Block, block_diagram, draw_box
from .palette import FILL, INK, LINE, LINES, ON_FILL


def conv_and_identity_block() -> Drawing:
    """Draw the Conv block beside the Identity block, with the shapes of ResNet-50's second stage."""
    middle = ["BN, ReLU"]
    return block_diagram(
        Block(
            "Conv block",
            ["1×1 conv, 128", *middle, "3×3 conv, 128, /2", *middle, "1×1 conv, 512", "BN"],
            shortcut=["1×1 conv, 512, /2", "BN"],
            source="256 × 56 × 56",
            result="512 × 28 × 28",
        ),
        Block(
            "Identity block",
            ["1×1 conv, 128", *middle, "3×3 conv, 128", *middle, "1×1 conv, 512", "BN"],
            source="512 × 28 × 28",
            result="512 × 28 × 28",
        ),
        alt="Two blocks side by side. Both have the same branch of a 1 by 1, a 3 by 3 and a 1 by 1 "
        "convolution, each with batch norm. The Conv block has a 1 by 1 convolution and a batch norm "
        "on its shortcut and turns 256 by 56 by 56 into 512 by 28 by 28; the Identity block has "
        "nothing on its shortcut and keeps 512 by 28 by 28.",
        caption="The first two blocks of ResNet-50's second stage. "
        "They differ in the shortcut, and in what the shortcut allows.",
    )


@styled
def stage_chains(layers: Sequence[int], shapes: Sequence[str], title: str = "ResNet-50") -> Drawing:
    """Draw each stage as one row of blocks.

    Args:
        layers: blocks per stage.
        shapes: what enters the first stage, then what leaves each one.
        title: the network's name, for the description.
    """
    longest = max(layers)
    figure, ax = new_figure(7.2, 0.62 * len(layers) + 0.75)
    ax.set_axis_off()
    for row, blocks in enumerate(layers):
        y = -row
        ax.text(-0.55, y, f"stage {row + 1}", ha="right", va="center", fontweight="bold", fontsize=9.5)
        for index in range(blocks):
            kind = "conv1x1" if index == 0 else "conv3x3"
            draw_box(ax, index, y, "Conv" if index == 0 else "Id", width=0.8, height=0.5, kind=kind)
            if index:
                ax.annotate(
                    "", (index - 0.4, y), (index - 0.6, y),
                    arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 1.0},
                )  # fmt: skip
        ax.text(longest - 0.35, y, shapes[row + 1], ha="left", va="center", fontsize=9)
    ax.text(longest - 0.35, 0.62, "leaves as", ha="left", va="center", fontsize=9, fontstyle="italic")
    ax.text(-0.4, 0.62, f"enters as {shapes[0]}", ha="left", va="center", fontsize=9, fontstyle="italic")
    ax.set_xlim(-1.6, longest + 1.7)
    ax.set_ylim(-len(layers) + 0.5, 0.85)
    rows = "; ".join(
        f"stage {row + 1}: one Conv block and {blocks - 1} Identity blocks, {shapes[row + 1]}"
        for row, blocks in enumerate(layers)
    )
    return Drawing(
        figure,
        alt=f"The stages of {title} as rows of boxes. {rows}.",
        caption=f"{title} between stem and head: a Conv block opens each stage and sets its shape, "
        "Identity blocks follow.",
    )


@styled
def block_costs(rows: Sequence[tuple[str, int, int]]) -> Drawing:
    """Draw the parameters of Conv and Identity block, stage by stage.

    Args:
        rows: (stage, parameters of its Conv block, parameters of one of its Identity blocks).
    """
    figure, ax = new_figure(5.4, 2.7)
    height = 0.36
    for index, (_, conv, identity) in enumerate(rows):
        for offset, value, colour in ((-height / 2, conv, LINES[1]), (height / 2, identity, LINES[0])):
            ax.barh(index + offset, value / 1e6, height=height, color=colour)
            ax.text(value / 1e6 + 0.06, index + offset, f"{value / 1e6:.2f}", va="center", fontsize=9)
    ax.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    ax.invert_yaxis()
    ax.set_xlabel("parameters of one block (millions)")
    ax.set_xlim(0, max(conv for _, conv, _ in rows) / 1e6 * 1.12)
    ax.grid(axis="y", visible=False)
    handles = [ax.barh(0, 0, color=LINES[1]), ax.barh(0, 0, color=LINES[0])]
    ax.legend(handles, ["Conv block", "Identity block"], loc="upper right", fontsize=9)
    listed = "; ".join(f"{name}: {conv:,} and {identity:,}" for name, conv, identity in rows)
    return Drawing(
        figure,
        alt=f"Bars: parameters of a Conv block and of an Identity block. {listed}.",
        caption="The Conv block of each stage costs more than an Identity block, "
        "least of all in stage 1.",
    )


@styled
def shared_block() -> Drawing:
    """Draw three blocks in a row beside one block that is passed three times."""
    figure, axes = new_figure(7.0, 1.7, 1, 2)
    titles = ("[make() for _ in range(3)]: three blocks", "[block] * 3: one block, three times")
    for ax, title, names in zip(axes, titles, (("W₁", "W₂", "W₃"), ("W", "W", "W")), strict=True):
        ax.set_axis_off()
        ax.text(-0.5, 1.0, title, ha="left", va="center", fontweight="bold", fontsize=9.5)
        for index, name in enumerate(names):
            draw_box(ax, index * 1.2, 0, "", width=0.85, height=0.6, kind="conv3x3")
            ax.text(index * 1.2, 0, name, ha="center", va="center", color=ON_FILL, fontsize=11)
            if index:
                ax.annotate(
                    "", (index * 1.2 - 0.42, 0), (index * 1.2 - 0.78, 0),
                    arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 1.0},
                )  # fmt: skip
        ax.set_xlim(-0.6, 3.0)
        ax.set_ylim(-0.95, 1.2)
    for index in range(3):
        axes[1].plot([index * 1.2, 1.2], [-0.32, -0.72], color=LINE["shortcut"], linewidth=1.4)
    axes[1].plot([1.2], [-0.74], "s", color=FILL["zero"], markeredgecolor=INK, markersize=9)
    axes[1].text(1.4, -0.76, "the same numbers in memory", ha="left", va="center", fontsize=9)
    return Drawing(
        figure,
        alt="Left: three blocks in a row with weights W1, W2, W3. Right: three places in a row, all "
        "with the same weights W, joined to one place in memory.",
        caption="Both run and give the right shape; the second has a third of the parameters.",
    )
