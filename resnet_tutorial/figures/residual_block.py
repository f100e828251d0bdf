"""Figures of chapter 3: the block and its plain twin, what the ReLU and the shortcuts do, ResNet-18 and 34."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import FancyBboxPatch, Rectangle

from .core import Drawing, new_figure, styled
from .diagrams import Block, block_diagram
from .palette import FILL, INK, LINE, LINES, ON_FILL

_BRANCH = ("3×3 conv", "BN", "ReLU", "3×3 conv", "BN")


def plain_and_residual_block() -> Drawing:
    """Draw the two-layer block without and with the shortcut."""
    return block_diagram(
        Block("Plain block", _BRANCH, shortcut=None, result="relu(F(x))"),
        Block("Residual block", _BRANCH, result="relu(F(x) + x)"),
        alt="Two columns of the same layers: convolution, batch norm, ReLU, convolution, batch norm, and a last "
        "ReLU. In the right one a line leads from the input past the five layers to a plus sign before the last ReLU.",
        caption="The same layers twice. The residual block adds its input to what leaves the branch.",
    )


def basic_block_cases() -> Drawing:
    """Draw the basic block with an identity shortcut and with a projection."""
    strided = ("3×3 conv, stride 2", *_BRANCH[1:])
    return block_diagram(
        Block("Same shape", _BRANCH, source="64 × 56 × 56", result="64 × 56 × 56"),
        Block(
            "New shape", strided, shortcut=("1×1 conv, stride 2", "BN"),
            source="64 × 56 × 56", result="128 × 28 × 28",
        ),
        alt="Two basic blocks. On the left the shortcut is the identity and the shape stays 64 × 56 × 56. On the right "
        "the first convolution has a stride of 2, the shortcut holds a 1 × 1 convolution of stride 2 and a batch norm, "
        "and the shape becomes 128 × 28 × 28.",
        caption="Left: stride 1 and equal channels. Right: the first block of stage 2, with a projection.",
    )  # fmt: skip


@styled
def start_of_training_curves(losses: Mapping[str, Sequence[float]]) -> Drawing:
    """Draw the training loss of several networks over the steps, on a logarithmic axis."""
    figure, ax = new_figure(5.2, 3.2)
    for index, ((name, values), style) in enumerate(
        zip(losses.items(), ("-", "--", "-."), strict=False)
    ):
        ax.plot(range(1, len(values) + 1), values, style, color=LINES[index], label=name)
    ax.set_yscale("log")
    ax.set_xlabel("training step")
    ax.set_ylabel("mean squared error")
    ax.margins(x=0.01)
    ax.legend(loc="center right", bbox_to_anchor=(1, 0.27), fontsize=10, handlelength=3)
    first = {
        name: f"{values[0]:.2g} to {np.mean(values[-10:]):.2g}" for name, values in losses.items()
    }
    told = "; ".join(f"{name}: from {span}" for name, span in first.items())
    return Drawing(
        figure,
        f"Curves of the training loss, lower is better, with a logarithmic axis. {told}.",
        "Eight blocks learn to sharpen a little. Where the start is decides where the curve begins.",
    )


@styled
def change_histogram(changes: Mapping[str, Sequence[float]]) -> Drawing:
    """Draw, for each block, how much its outputs differ from its inputs."""
    figure, axes = new_figure(5.2, 2.7, 1, len(changes), sharey=True, sharex=True, squeeze=False)
    values = {name: np.asarray(v, dtype=float).ravel() for name, v in changes.items()}
    reach = max(np.abs(v).max() for v in values.values())
    bins = np.linspace(-reach, reach, 42)  # 41 bins: zero stands in the middle of one
    for ax, (name, change) in zip(axes[0], values.items(), strict=True):
        for part, colour in ((change < 0, LINES[1]), (change >= 0, LINES[0])):
            share = np.full(int(part.sum()), 100 / change.size)
            ax.hist(change[part], bins, weights=share, color=colour, edgecolor="none")
        ax.axvline(0, color=INK, linewidth=0.8)
        ax.set_title(name)
        ax.set_xlabel("output − input")
        ax.text(
            0.03,
            0.95,
            f"{(change < 0).mean():.0%} lowered",
            transform=ax.transAxes,
            va="top",
            fontsize=9.5,
        )
    axes[0, 0].set_ylabel("% of the values")
    told = "; ".join(
        f"{name}: {(v < 0).mean():.0%} of the values are lowered" for name, v in values.items()
    )
    return Drawing(
        figure,
        f"Histograms of output minus input. {told}.",
        "Values left of zero were lowered by the block, those right of zero were raised or kept.",
    )


def _diverging() -> LinearSegmentedColormap:
    """Return orange for negative, nearly white for zero, blue for positive."""
    return LinearSegmentedColormap.from_list("signs", [LINES[1], FILL["add"], LINES[0]])


@styled
def shortcut_matrices(matrices: Mapping[str, Sequence[Sequence[float]]]) -> Drawing:
    """Draw what shortcuts do to the channels: one matrix each, a row per output channel."""
    arrays = {name: np.asarray(matrix, dtype=float) for name, matrix in matrices.items()}
    widths = [array.shape[1] for array in arrays.values()]
    figure, axes = new_figure(
        5.2, 2.7, 1, len(arrays), squeeze=False, gridspec_kw={"width_ratios": widths}
    )
    images = []
    for ax, (name, array) in zip(axes[0], arrays.items(), strict=True):
        images.append(ax.imshow(array, cmap=_diverging(), vmin=-1, vmax=1, interpolation="nearest"))
        ax.set_title(name, fontsize=9.5)
        ax.set_xlabel("channel in")
        ax.set_xticks([0, array.shape[1] - 1], [1, array.shape[1]])
        ax.set_yticks([0, array.shape[0] - 1], [1, array.shape[0]])
        ax.grid(False)
    axes[0, 0].set_ylabel("channel out")
    bar = figure.colorbar(images[-1], ax=axes[0].tolist(), ticks=[-1, 0, 1], shrink=0.75, pad=0.02)
    bar.set_label("weight")
    bar.outline.set_visible(False)
    return Drawing(
        figure,
        "Matrices as coloured squares. Identity: ones on the diagonal. Option A: ones on the diagonal of the upper "
        "half, zeros in the lower half. Option B: small weights of both signs everywhere.",
        "Each row tells which input channels make an output channel. Options A and B go from 8 to 16 channels.",
    )


@styled
def basic_resnet_strips() -> Drawing:
    """Draw ResNet-18 and ResNet-34 block by block, with identity and projection shortcuts."""
    figure, ax = new_figure(5.4, 4.2)
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02)
    ax.set_axis_off()
    ax.set_xlim(0, 70)
    ax.set_ylim(-3.5, 41.5)
    _strip(ax, 26.0, "ResNet-18", (2, 2, 2, 2))
    _strip(ax, 5.0, "ResNet-34", (3, 4, 6, 3))
    return Drawing(
        figure,
        "Two rows of blocks, each block a pair of bars for its two convolutions with an arc from its start to its end. "
        "ResNet-18 has 2, 2, 2 and 2 blocks in its four stages, ResNet-34 has 3, 4, 6 and 3. The first blocks of "
        "stages 2, 3 and 4 have a dashed arc, the projection; all others a solid one, the identity.",
        "A pair of blue bars is a basic block. Solid arcs are identity shortcuts, dashed ones projections.",
    )


_SIZES = ((64, 56), (128, 28), (256, 14), (512, 7))


def _strip(ax: Axes, y: float, name: str, plan: tuple[int, ...]) -> None:
    left, right, gap, height = 6.0, 63.5, 1.3, 6.0
    total = sum(plan)
    pitch = (right - left - gap * (len(plan) - 1)) / total
    ax.text(0.2, y + height + 6.9, name, ha="left", va="center", fontsize=11, fontweight="bold")
    count = f"1 + {total} · 2 + 1 = {2 * total + 2} layers"
    ax.text(69.8, y + height + 6.9, count, ha="right", va="center", fontsize=10)
    ax.plot([2.4, 67.0], [y + height / 2] * 2, color=INK, linewidth=1.0, zorder=0)
    _upright(ax, 0.4, y, 2.0, height, "7×7, 64", FILL["conv"])
    _upright(ax, 3.0, y, 2.0, height, "pool", FILL["pool"])
    _upright(ax, 65.0, y, 2.0, height, "pool", FILL["pool"])
    _upright(ax, 67.6, y, 2.0, height, "fc", FILL["linear"])
    x = left
    for stage, blocks in enumerate(plan):
        start = x
        for block in range(blocks):
            projected = stage > 0 and block == 0
            _bars(ax, x, y, pitch, height)
            _arc(ax, x + 0.06 * pitch, x + 0.94 * pitch, y + height + 0.4, projected)
            x += pitch
        channels, size = _SIZES[stage]
        middle = (start + x) / 2
        ax.plot([start + 0.3, x - 0.3], [y - 1.1] * 2, color=LINE["grey"], linewidth=1.2)
        ax.text(middle, y - 2.6, f"stage {stage + 1}", ha="center", va="center", fontsize=10)
        ax.text(
            middle, y - 5.1, f"{channels} × {size} × {size}", ha="center", va="center", fontsize=9
        )
        x += gap


def _bars(ax: Axes, x: float, y: float, pitch: float, height: float) -> None:
    width = min(0.26 * pitch, 1.7)
    for centre in (0.3, 0.7):
        ax.add_patch(
            Rectangle(
                (x + centre * pitch - width / 2, y), width, height,
                facecolor=FILL["conv3x3"], edgecolor=INK, linewidth=0.8, zorder=2,
            )
        )  # fmt: skip


def _arc(ax: Axes, start: float, end: float, y: float, projected: bool) -> None:
    angle = np.linspace(0, np.pi, 40)
    across = (start + end) / 2 - (end - start) / 2 * np.cos(angle)
    ax.plot(
        across, y + 2.6 * np.sin(angle), color=LINE["shortcut"], linewidth=1.8,
        linestyle=(0, (2.2, 1.2)) if projected else "-", solid_capstyle="round",
    )  # fmt: skip


def _upright(ax: Axes, x: float, y: float, width: float, height: float, label: str, colour: str) -> None:
    box = FancyBboxPatch(
        (x, y), width, height, boxstyle="round,pad=0,rounding_size=0.3",
        facecolor=colour, edgecolor=INK, linewidth=0.8, zorder=2,
    )  # fmt: skip
    ax.add_patch(box)
    ax.text(
        x + width / 2, y + height / 2, label, rotation=90, ha="center", va="center",
        fontsize=9, color=ON_FILL, zorder=3,
    )  # fmt: skip
