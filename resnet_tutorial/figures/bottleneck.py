"""Figures of chapter 4: 1x1 convolutions, what a bottleneck costs, which pixels it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Polygon, Rectangle
from torch import Tensor

from ..shapes import conv_params
from .core import Drawing, new_figure, styled
from .palette import FILL, INK, LINE, ON_FILL

_SLANT = 0.5  # how far a cube's depth goes to the right and up, for one channel


@styled
def pointwise_convolution(in_channels: int = 6, out_channels: int = 3, side: int = 4) -> Drawing:
    """Draw a 1x1 convolution: the channels of one pixel, times a matrix, give a pixel.

    Args:
        in_channels, out_channels: how many channels are drawn.
        side: pixels along each side of the maps.
    """
    figure, ax = new_figure(5.6, 2.2)
    ax.set_axis_off()
    ax.set_aspect("equal")
    pixel = (2, 1)  # column and row, counted from the left and from above
    _draw_maps(ax, 0, in_channels, side, pixel, f"{in_channels} × {side} × {side}")
    x = side + in_channels * _SLANT * 0.5 + 1.2
    top = (side + in_channels) / 2 + 0.4
    _draw_cells(ax, x, top, in_channels, 1, FILL["conv3x3"])
    ax.text(x + 0.5, top + 0.4, "one pixel", ha="center", va="bottom")
    edge = in_channels * _SLANT * 0.5
    _arrow(ax, (side + edge - 0.1, side - 1.0), (x - 0.15, side - 1.0))
    matrix = x + 2.6
    middle = top - in_channels / 2
    ax.text(x + 1.8, middle, "→", ha="center", va="center", fontsize=13)
    _draw_cells(ax, matrix, middle + out_channels / 2, out_channels, in_channels, FILL["conv1x1"])
    ax.text(
        matrix + in_channels / 2, middle + out_channels / 2 + 0.4,
        f"weight, {out_channels} × {in_channels}", ha="center", va="bottom",
    )  # fmt: skip
    out = matrix + in_channels + 1.6
    ax.text(out - 0.8, middle, "→", ha="center", va="center", fontsize=13)
    _draw_cells(ax, out, middle + out_channels / 2, out_channels, 1, FILL["linear"])
    right = out + 2.3
    _arrow(ax, (out + 1.15, side - 1.0), (right - 0.1, side - 1.0))
    _draw_maps(ax, right, out_channels, side, pixel, f"{out_channels} × {side} × {side}", "linear")
    ax.set_xlim(-0.3, right + side + out_channels * _SLANT * 0.5 + 0.5)
    ax.set_ylim(-1.1, top + 1.1)
    return Drawing(
        figure,
        f"A stack of {in_channels} feature maps with one pixel marked through all of them. Its "
        f"{in_channels} numbers, written as a column, are multiplied by a matrix of {out_channels} rows "
        f"and {in_channels} columns and give the {out_channels} numbers of the same pixel in the output.",
        "A 1×1 convolution multiplies the channels of each pixel by one matrix, the same at every pixel.",
    )


def _draw_maps(
    ax: Axes, x: float, channels: int, side: int, pixel: tuple[int, int], label: str,
    kind: str = "conv3x3",
) -> None:  # fmt: skip
    """Draw feature maps behind each other, the marked pixel filled on each of them."""
    step = _SLANT * 0.5
    for channel in reversed(range(channels)):
        dx = channel * step
        ax.add_patch(
            Rectangle((x + dx, dx), side, side, facecolor=FILL["tensor"], edgecolor=INK, linewidth=0.6)
        )
        column, row = x + dx + pixel[0], dx + side - 1 - pixel[1]
        ax.add_patch(Rectangle((column, row), 1, 1, facecolor=FILL[kind], edgecolor=INK, linewidth=0.6))
    for line in range(1, side):
        for xs, ys in (([x + line] * 2, [0, side]), ([x, x + side], [line] * 2)):
            ax.plot(xs, ys, color=ON_FILL, linewidth=0.4, alpha=0.5)
    # The tunnel through all channels, as far as it can be seen from the front.
    depth = (channels - 1) * step
    column, row = x + pixel[0], side - 1 - pixel[1]
    corners = [(column, row + 1), (column + depth, row + 1 + depth),
               (column + 1 + depth, row + 1 + depth), (column + 1, row + 1)]  # fmt: skip
    ax.add_patch(Polygon(corners, facecolor=FILL[kind], edgecolor=INK, linewidth=0.6, alpha=0.75))
    ax.text(x + side / 2, -0.35, label, ha="center", va="top")


def _draw_cells(ax: Axes, x: float, top: float, rows: int, columns: int, colour: str) -> None:
    for row in range(rows):
        for column in range(columns):
            ax.add_patch(
                Rectangle(
                    (x + column, top - row - 1), 1, 1, facecolor=colour, edgecolor=INK, linewidth=0.7
                )
            )


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    ax.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, color=INK, linewidth=1.0)
    )


_BLOCKS = (  # name, and for each convolution: in, out, kernel
    ("two 3×3 at 64", ((64, 64, 3), (64, 64, 3))),
    ("bottleneck\n256–64–64–256", ((256, 64, 1), (64, 64, 3), (64, 256, 1))),
    ("two 3×3 at 256", ((256, 256, 3), (256, 256, 3))),
)


@styled
def block_weights() -> Drawing:
    """Draw the weights of a bottleneck beside those of two 3x3 at its inner and outer width."""
    figure, (whole, near) = new_figure(
        5.2, 4.0, 2, 1, gridspec_kw={"height_ratios": [len(_BLOCKS), 2]}
    )
    totals = []
    for ax, blocks in ((whole, _BLOCKS), (near, _BLOCKS[:2])):
        for row, (_, layers) in enumerate(reversed(blocks)):
            left = 0.0
            for layer in layers:
                weights = conv_params(*layer) / 1000
                ax.barh(
                    row, weights, left=left, height=0.7, edgecolor=INK, linewidth=0.7,
                    color=FILL["conv1x1" if layer[2] == 1 else "conv3x3"],
                )  # fmt: skip
                if ax is near:
                    ax.text(
                        left + weights / 2, row, f"{layer[2]}×{layer[2]}\n{weights:.1f}", ha="center",
                        va="center", color=ON_FILL, linespacing=1.25,
                    )  # fmt: skip
                left += weights
            if ax is whole:
                totals.append(left)
                ax.text(left + 20, row, f"{left:,.0f}", ha="left", va="center")
        ax.set_yticks(range(len(blocks)), [name for name, _ in reversed(blocks)])
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="y", visible=False)
        ax.set_xlabel("thousand weights")
    whole.set_xlim(0, max(totals) * 1.18)
    whole.set_xticks([0, 500, 1000])
    near.set_title("The first two, enlarged", loc="left")
    return Drawing(
        figure,
        f"Bars of the weights of three blocks: two 3 by 3 at 64 channels have {totals[2]:.0f} thousand, the "
        f"bottleneck from 256 over 64 to 256 channels {totals[1]:.0f} thousand, two 3 by 3 at 256 channels "
        f"{totals[0]:,.0f} thousand. Enlarged, the bottleneck consists of a small 1 by 1, a 3 by 3 of about "
        "half the weights, and another small 1 by 1.",
        "A bottleneck of outer width 256 costs what two 3×3 cost at 64 channels. Blue: 3×3, orange: 1×1.",
    )


@styled
def expansion_costs(expansions: Sequence[int] = (1, 2, 4, 8, 16)) -> Drawing:
    """Draw what a bottleneck costs for other expansions, and how the cost is divided."""
    width = 64 * max(expansions)  # any outer width that all of them divide gives the same shares
    pairs = [
        (2 * conv_params(width, width // e, 1), conv_params(width // e, width // e, 3))
        for e in expansions
    ]
    basic = 2 * conv_params(width, width, 3)
    figure, (cost, share) = new_figure(5.6, 2.7, 1, 2)
    positions = range(len(expansions))
    percent = [100 * sum(pair) / basic for pair in pairs]
    cost.plot(positions, percent, "o-", color=LINE["main"])
    for position, value in zip(positions, percent, strict=True):
        text = f"{value:.0f} %" if value > 10 else f"{value:.1f} %"
        cost.annotate(text, (position, value), (4, 5), textcoords="offset points")
    cost.set_yscale("log")
    cost.set_yticks([1, 10, 100], ["1 %", "10 %", "100 %"])
    cost.set_ylim(0.7, 180)
    cost.set_xlim(-0.3, len(expansions) - 0.1)
    cost.set_title("Cost relative to two 3×3", loc="left")
    for position, (pointwise, spatial) in enumerate(pairs):
        part = 100 * spatial / (pointwise + spatial)
        options = {"edgecolor": INK, "linewidth": 0.7, "width": 0.72}
        share.bar(position, part, color=FILL["conv3x3"], **options)
        share.bar(position, 100 - part, bottom=part, color=FILL["conv1x1"], **options)
        for label, height in ((f"{part:.0f}", part / 2), (f"{100 - part:.0f}", (100 + part) / 2)):
            share.text(position, height, label, ha="center", va="center", color=ON_FILL)
    share.set_ylim(0, 100)
    share.grid(visible=False)
    share.set_yticks([0, 50, 100], ["0 %", "50 %", "100 %"])
    share.set_title("3×3 blue, 1×1 orange", loc="left")
    for ax in (cost, share):
        ax.set_xticks(positions, [str(e) for e in expansions])
        ax.set_xlabel("expansion")
    shown = ", ".join(f"{p:.1f} at {e}" for e, p in zip(expansions, percent, strict=True))
    return Drawing(
        figure,
        "Left: the weights of a bottleneck as a percentage of two 3 by 3 convolutions of the same outer width "
        f"fall steeply with the expansion: {shown}. Right: the share of the 3 by 3 in them falls from "
        f"{100 * pairs[0][1] / sum(pairs[0]):.0f} to {100 * pairs[-1][1] / sum(pairs[-1]):.0f} per cent, "
        "and is about one half at expansion 4.",
        "The outer width stays the same, the inner width is the outer divided by the expansion.",
    )


@styled
def read_pixels(masks: Mapping[str, Tensor], alt: str, caption: str = "") -> Drawing:
    """Draw which pixels of a square input are read.

    Args:
        masks: title -> boolean tensor, true where a pixel is *not* read.
        alt: what is to be seen.
        caption: a sentence under the figure.
    """
    figure, axes = new_figure(5.2, 5.2 / len(masks) + 0.35, 1, len(masks), squeeze=False)
    for ax, (title, mask) in zip(axes.flat, masks.items(), strict=True):
        side = len(mask)
        for row, column in torch.cartesian_prod(torch.arange(side), torch.arange(side)).tolist():
            unread = bool(mask[row, column])
            ax.add_patch(
                Rectangle(
                    (column, row), 1, 1, facecolor=FILL["zero" if unread else "conv3x3"], edgecolor=INK,
                    linewidth=0.6,
                )
            )  # fmt: skip
            if unread:
                ax.text(
                    column + 0.5, row + 0.5, "×", ha="center", va="center", fontsize=9, color=ON_FILL
                )
        ax.set_xlim(-0.1, side + 0.1)
        ax.set_ylim(side + 0.1, -0.1)
        ax.set_aspect("equal")
        ax.set_axis_off()
        read = mask.numel() - int(mask.sum())
        ax.set_title(f"{title}\n{read} of {mask.numel()} read", loc="left", fontsize=10)
    return Drawing(figure, alt, caption)


_TIME_COLOURS = {
    "1×1": FILL["conv1x1"], "3×3": FILL["conv3x3"], "BN": FILL["bn"], "ReLU": FILL["relu"],
    "add": FILL["add"],
}  # fmt: skip


@styled
def time_shares(macs: Mapping[str, float], seconds: Mapping[str, float], where: str) -> Drawing:
    """Draw the shares of a block's arithmetic and of its time, layer by layer.

    Args:
        macs, seconds: label of the layer -> amount; the label's first word names its kind, which
            is one of "1×1", "3×3", "BN", "ReLU" and "add".
        where: on which machine it was measured; stands in the caption.
    """
    figure, ax = new_figure(5.2, 2.2)
    sums = []
    for row, (name, amounts) in enumerate((("time", seconds), ("MACs", macs))):
        kinds: dict[str, float] = dict.fromkeys(_TIME_COLOURS, 0.0)
        for label, amount in amounts.items():
            kinds[label.split()[0]] += 100 * amount / sum(amounts.values())
        left = 0.0
        for kind, share in kinds.items():
            ax.barh(
                row, share, left=left, height=0.62, color=_TIME_COLOURS[kind], edgecolor=INK,
                linewidth=0.7,
            )  # fmt: skip
            if share >= 5:
                text = f"{kind}\n{share:.0f} %"
                ax.text(left + share / 2, row, text, ha="center", va="center", color=ON_FILL)
            left += share
        sums.append(f"{name}: " + ", ".join(f"{k} {v:.0f}" for k, v in kinds.items() if v >= 0.5))
    ax.set_yticks([0, 1], ["time", "MACs"])
    ax.tick_params(axis="y", length=0)
    ax.set_xlim(0, 100)
    ax.set_xlabel("per cent of the block")
    ax.grid(visible=False)
    return Drawing(
        figure,
        "Two bars, divided by kind of layer, in per cent. " + "; ".join(reversed(sums)) + ".",
        f"Arithmetic and time of one bottleneck, forward pass in training mode, {where}.",
    )
