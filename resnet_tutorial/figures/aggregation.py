"""Figures of ResNeXt: what groups connect, the block's three forms, the weights at equal cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Circle, Rectangle
from torch import Tensor

from .core import Drawing, new_figure, styled
from .diagrams import _arrow, draw_box
from .palette import FILL, INK, LINE, ON_FILL


@styled
def connectivity_matrices(matrices: Mapping[str, Tensor], alt: str, caption: str = "") -> Drawing:
    """Draw which output channel (row) depends on which input channel (column), one matrix a panel.

    Args:
        matrices: title -> square matrix of truth values.
        alt: what is to be seen, for those who cannot see it.
        caption: a sentence under the figure.
    """
    rows = -(-len(matrices) // 2)
    figure, axes = new_figure(4.9, 2.65 * rows, rows, 2, squeeze=False)
    for ax in axes.flat[len(matrices) :]:
        ax.set_axis_off()
    for ax, (title, matrix) in zip(axes.flat, matrices.items(), strict=False):
        _draw_matrix(ax, matrix.tolist())
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("input channel")
        ax.set_ylabel("output channel")
    return Drawing(figure, alt, caption)


def _draw_matrix(ax: Axes, matrix: list[list[bool]]) -> None:
    size = len(matrix)
    for row, cells in enumerate(matrix):
        for column, connected in enumerate(cells):
            if connected:
                ax.add_patch(
                    Rectangle((column, row), 1, 1, facecolor=FILL["conv3x3"], edgecolor=INK, linewidth=0.4)
                )
    ax.add_patch(Rectangle((0, 0), size, size, fill=False, edgecolor=INK, linewidth=0.9, clip_on=False))
    ax.set_xlim(0, size)
    ax.set_ylim(size, 0)
    ax.set_aspect("equal")
    ax.grid(False)
    ends = [0, size - 1]
    ax.set_xticks([end + 0.5 for end in ends], [str(end + 1) for end in ends])
    ax.set_yticks([end + 0.5 for end in ends], [str(end + 1) for end in ends])
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


# --- the three forms ---

_BOX, _HIGH = 1.58, 0.5
_LEFT_PATH, _RIGHT_PATH = 0.75, 2.75
_ROWS = (-0.95, -1.85, -2.75, -3.65)  # three layers, and where the paths meet
_MEET, _ADD, _END = -3.65, -4.45, -5.3


@styled
def resnext_forms(groups: int = 32, group_width: int = 4, channels: int = 256, caption: str = "") -> Drawing:
    """Draw forms (a), (b) and (c) of the ResNeXt block side by side.

    Batch norms and ReLUs are left out; the caption has to say where they stand.
    """
    width = groups * group_width
    figure, ax = new_figure(5.6, 3.05)
    ax.set_axis_off()
    ax.set_xlim(-0.15, 12.35)
    ax.set_ylim(-5.6, 0.95)
    ax.set_aspect("equal")
    reduce, middle = f"1×1, {group_width}", f"3×3, {group_width}"
    expand = f"1×1, {channels}"
    titles = ("(a) sum of paths", "(b) concatenation", "(c) groups")
    for left, title in zip((0, 4.75, 9.5), titles, strict=True):
        ax.text(left, 0.9, title, ha="left", va="top", fontweight="bold", fontsize=10)

    _draw_paths(ax, 0, (reduce, middle, expand), f"{groups} paths", channels)
    _draw_sum(ax, 1.75, _MEET)
    _gather(ax, 0, _ROWS[2], _MEET + 0.2)
    _arrow(ax, (1.75, _MEET - 0.2), (1.75, _ADD + 0.2))
    _draw_end(ax, 1.75, 3.85, channels)

    _draw_paths(ax, 4.75, (reduce, middle), f"{groups} paths", channels)
    draw_box(ax, 6.5, _ROWS[2], f"concatenate: {width}", width=3.58, height=_HIGH, kind="other")
    for x in (_LEFT_PATH, _RIGHT_PATH):
        _arrow(ax, (4.75 + x, _ROWS[1] - _HIGH / 2), (4.75 + x, _ROWS[2] + _HIGH / 2))
    _arrow(ax, (6.5, _ROWS[2] - _HIGH / 2), (6.5, _MEET + _HIGH / 2))
    draw_box(ax, 6.5, _MEET, expand, width=_BOX, height=_HIGH)
    _arrow(ax, (6.5, _MEET - _HIGH / 2), (6.5, _ADD + 0.2))
    _draw_end(ax, 6.5, 8.6, channels)

    x = 10.6
    ax.text(x, 0.12, str(channels), ha="center", va="center", fontsize=9.5)
    labels = ((f"1×1, {width}", None), (f"3×3, {width}\n{groups} groups", "conv3x3"), (expand, None))
    tops = (_ROWS[0], (_ROWS[0] + _MEET) / 2, _MEET)
    before = -0.12
    for (label, kind), y in zip(labels, tops, strict=True):
        high = _HIGH * (1.75 if "\n" in label else 1)
        _arrow(ax, (x, before), (x, y + high / 2))
        draw_box(ax, x, y, label, width=1.85, height=high, kind=kind, fontsize=9)
        before = y - high / 2
    _arrow(ax, (x, before), (x, _ADD + 0.2))
    _draw_end(ax, x, 11.95, channels)
    alt = (
        f"Three diagrams of one block from {channels} to {channels} channels. "
        f"(a): {groups} paths of 1×1 to {group_width}, 3×3 with {group_width}, 1×1 to {channels}, then a sum. "
        f"(b): {groups} paths of 1×1 and 3×3 with {group_width} channels, concatenated to {width}, then one 1×1 "
        f"to {channels}. (c): one 1×1 to {width}, one 3×3 with {groups} groups, one 1×1 to {channels}. "
        "In each an identity shortcut is added at the end."
    )
    return Drawing(figure, alt, caption)


def _draw_paths(ax: Axes, left: float, labels: Sequence[str], between: str, channels: int) -> None:
    """Draw the first and the last path, dots between them, and the input above."""
    middle = left + 1.75
    ax.text(middle, 0.12, str(channels), ha="center", va="center", fontsize=9.5)
    for x in (left + _LEFT_PATH, left + _RIGHT_PATH):
        _arrow(ax, (middle, -0.12), (x, _ROWS[0] + _HIGH / 2))
        for index, label in enumerate(labels):
            draw_box(ax, x, _ROWS[index], label, width=_BOX, height=_HIGH)
            if index:
                _arrow(ax, (x, _ROWS[index - 1] - _HIGH / 2), (x, _ROWS[index] + _HIGH / 2))
    for index in range(len(labels)):
        ax.text(middle, _ROWS[index], "…", ha="center", va="center", fontsize=11)
    ax.text(middle, (_ROWS[0] + _ROWS[1]) / 2, between, ha="center", va="center", fontsize=9)


def _gather(ax: Axes, left: float, top: float, end: float) -> None:
    for x, to in ((left + _LEFT_PATH, -0.17), (left + _RIGHT_PATH, 0.17)):
        _arrow(ax, (x, top - _HIGH / 2), (left + 1.75 + to, end - 0.1))


def _draw_sum(ax: Axes, x: float, y: float) -> None:
    ax.add_patch(Circle((x, y), 0.2, facecolor=FILL["add"], edgecolor=INK, linewidth=1.1, zorder=3))
    ax.text(x, y - 0.015, "+", ha="center", va="center", fontsize=11, color=ON_FILL, zorder=4)


def _draw_end(ax: Axes, x: float, right: float, channels: int) -> None:
    """Draw the shortcut along ``right``, the addition, and the output."""
    line = {"color": LINE["shortcut"], "linewidth": 1.8, "solid_capstyle": "round", "zorder": 1}
    ax.plot([x + 0.45, right, right, x + 0.22], [0.12, 0.12, _ADD, _ADD], **line)
    _draw_sum(ax, x, _ADD)
    _arrow(ax, (x, _ADD - 0.2), (x, _END + 0.2))
    ax.text(x, _END, str(channels), ha="center", va="center", fontsize=9.5)


# --- weights at equal cost ---


@styled
def equal_cost_bars(weights: Mapping[str, Sequence[int]], caption: str = "") -> Drawing:
    """Draw the weights of a block's three convolutions as one stacked bar a setting.

    Args:
        weights: setting (``"32×4d"``) -> weights of the first 1x1, the 3x3 and the last 1x1.
        caption: a sentence under the figure.
    """
    figure, ax = new_figure(5.4, 0.95 + 0.4 * len(weights))
    layers = (("1×1 reduce", "conv1x1"), ("3×3", "conv3x3"), ("1×1 expand", "conv1x1"))
    for row, counts in enumerate(weights.values()):
        left = 0
        for (label, kind), count in zip(layers, counts, strict=True):
            ax.barh(row, count, left=left, height=0.66, color=FILL[kind], edgecolor=INK, linewidth=0.7)
            ax.text(
                left + count / 2, row, f"{count / 1000:.1f}",
                ha="center", va="center", fontsize=9, color=ON_FILL,
            )  # fmt: skip
            if row == 0:
                ax.text(left + count / 2, -0.45, label, ha="center", va="bottom", fontsize=9.5)
            left += count
    ax.set_yticks(range(len(weights)), list(weights))
    ax.set_ylim(len(weights) - 0.5, -0.95)
    ax.set_ylabel("cardinality × width")
    ax.set_xlabel("weights of one block, in thousands")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:.0f}")
    ax.grid(axis="y", visible=False)
    first, last = list(weights)[0], list(weights)[-1]
    alt = (
        "Stacked bars of nearly equal length, one a setting. From top to bottom the share of the 3×3 convolution "
        f"shrinks from {weights[first][1]:,} weights ({first}) to {weights[last][1]:,} ({last}), "
        "and the two 1×1 convolutions take what is freed."
    )
    return Drawing(figure, alt, caption)
