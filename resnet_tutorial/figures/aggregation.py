"""Figures of ResNeXt: what groups connect, the block's three forms, the weights at equal cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Rectangle
from matplotlib.path import Path
from matplotlib.transforms import Affine2D
from torch import Tensor

from .core import Drawing, new_figure, styled
from .diagrams import _arrow
from .palette import FILL, INK, LINE, ON_FILL, kind_of


@styled
def connectivity_matrices(matrices: Mapping[str, Tensor], alt: str, caption: str = "") -> Drawing:
    """Draw which output channel (row) depends on which input channel (column), one matrix a panel.

    Args:
        matrices: title -> square matrix of truth values.
        alt: what is to be seen, for those who cannot see it.
        caption: a sentence under the figure.
    """
    rows = -(-len(matrices) // 2)
    figure, axes = new_figure(4.5, 2.45 * rows, rows, 2, squeeze=False)
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
    cells = [
        Path.unit_rectangle().transformed(Affine2D().translate(column, row))
        for row, line in enumerate(matrix)
        for column, connected in enumerate(line)
        if connected
    ]
    filled = Path.make_compound_path(*cells)
    ax.add_patch(PathPatch(filled, facecolor=FILL["conv3x3"], edgecolor=ON_FILL, linewidth=0.4))
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

# In inches: a path's box, where the two drawn paths stand, and the rows from top to bottom.
_WIDE, _HIGH = 0.52, 0.38
_PATHS, _MIDDLE = (0.3, 1.04), 0.67
_ROWS = (-0.48, -1.04, -1.6)
_MEET, _ADD, _END = -2.12, -2.52, -2.86


@styled
def resnext_forms(groups: int = 32, group_width: int = 4, channels: int = 256, caption: str = "") -> Drawing:
    """Draw forms (a), (b) and (c) of the ResNeXt block side by side.

    Batch norms and ReLUs are left out; the caption has to say where they stand.
    """
    width = groups * group_width
    figure, ax = new_figure(4.35, 3.38)
    ax.set_axis_off()
    ax.set_xlim(0, 4.35)
    ax.set_ylim(-3.0, 0.38)
    ax.set_aspect("equal")
    reduce, middle, expand = f"1×1\n{group_width}", f"3×3\n{group_width}", f"1×1\n{channels}"
    titles = ("(a) sum", "(b) concat", "(c) groups")
    for left, title in zip((0.04, 1.56, 3.1), titles, strict=True):
        ax.text(left, 0.36, title, ha="left", va="top", fontweight="bold", fontsize=10)

    _draw_paths(ax, 0, (reduce, middle, expand), groups, channels)
    for x, to in zip(_PATHS, (-0.08, 0.08), strict=True):
        _arrow(ax, (x, _ROWS[2] - _HIGH / 2), (_MIDDLE + to, _MEET + 0.07))
    _draw_sum(ax, _MIDDLE, _MEET)
    _arrow(ax, (_MIDDLE, _MEET - 0.11), (_MIDDLE, _ADD + 0.11))
    _draw_end(ax, _MIDDLE, 1.44, channels)

    x = 1.52 + _MIDDLE
    _draw_paths(ax, 1.52, (reduce, middle), groups, channels)
    for path in _PATHS:
        _arrow(ax, (1.52 + path, _ROWS[1] - _HIGH / 2), (1.52 + path, _ROWS[2] + 0.13))
    _draw_layer(ax, x, _ROWS[2], f"concatenate: {width}", wide=1.28, high=0.26, kind="other")
    _arrow(ax, (x, _ROWS[2] - 0.13), (x, _MEET + 0.13))
    _draw_layer(ax, x, _MEET, expand.replace("\n", ", "), wide=0.82, high=0.26)
    _arrow(ax, (x, _MEET - 0.13), (x, _ADD + 0.11))
    _draw_end(ax, x, 2.96, channels)

    x, top = 3.58, -0.12
    ax.text(x, 0, str(channels), ha="center", va="center", fontsize=9.5)
    layers = ((_ROWS[0], f"1×1, {width}", 0.26), ((_ROWS[0] + _MEET) / 2, f"3×3, {width}\n{groups} groups", 0.42),
              (_MEET, f"1×1, {channels}", 0.26))  # fmt: skip
    for y, label, high in layers:
        _arrow(ax, (x, top), (x, y + high / 2))
        _draw_layer(ax, x, y, label, wide=0.88, high=high, kind="conv3x3" if "groups" in label else None)
        top = y - high / 2
    _arrow(ax, (x, top), (x, _ADD + 0.11))
    _draw_end(ax, x, 4.22, channels)
    alt = (
        f"Three diagrams of one block from {channels} to {channels} channels. "
        f"(a): {groups} paths of 1×1 to {group_width}, 3×3 with {group_width}, 1×1 to {channels}, then a sum. "
        f"(b): {groups} paths of 1×1 and 3×3 with {group_width} channels, concatenated to {width}, then one 1×1 "
        f"to {channels}. (c): one 1×1 to {width}, one 3×3 with {groups} groups, one 1×1 to {channels}. "
        "In each an identity shortcut is added at the end."
    )
    return Drawing(figure, alt, caption)


def _draw_paths(ax: Axes, left: float, labels: Sequence[str], groups: int, channels: int) -> None:
    """Draw the first and the last path, dots between them, and the input above."""
    middle = left + _MIDDLE
    ax.text(middle, 0, str(channels), ha="center", va="center", fontsize=9.5)
    for path in _PATHS:
        x = left + path
        _arrow(ax, (middle, -0.1), (x, _ROWS[0] + _HIGH / 2))
        for index, label in enumerate(labels):
            _draw_layer(ax, x, _ROWS[index], label, wide=_WIDE, high=_HIGH)
            if index:
                _arrow(ax, (x, _ROWS[index - 1] - _HIGH / 2), (x, _ROWS[index] + _HIGH / 2))
    for index in range(len(labels)):
        ax.text(middle, _ROWS[index], "…", ha="center", va="center", fontsize=11)
    between = (_ROWS[0] + _ROWS[1]) / 2
    ax.text(middle, between, f"{groups} paths", ha="center", va="center", fontsize=9)


def _draw_layer(
    ax: Axes, x: float, y: float, label: str, *, wide: float, high: float, kind: str | None = None
) -> None:
    ax.add_patch(
        FancyBboxPatch(
            (x - wide / 2, y - high / 2), wide, high, boxstyle="round,pad=0,rounding_size=0.04",
            facecolor=FILL[kind or kind_of(label)], edgecolor=INK, linewidth=0.8, zorder=2,
        )
    )  # fmt: skip
    ax.text(
        x, y - 0.005, label, ha="center", va="center", fontsize=9.5, linespacing=1.05, color=ON_FILL, zorder=3
    )


def _draw_sum(ax: Axes, x: float, y: float) -> None:
    ax.add_patch(Circle((x, y), 0.1, facecolor=FILL["add"], edgecolor=INK, linewidth=1.1, zorder=3))
    ax.text(x, y - 0.005, "+", ha="center", va="center", fontsize=11, color=ON_FILL, zorder=4)


def _draw_end(ax: Axes, x: float, right: float, channels: int) -> None:
    """Draw the shortcut along ``right``, the addition, and the output."""
    line: dict[str, Any] = {"color": LINE["shortcut"], "linewidth": 1.8, "solid_capstyle": "round", "zorder": 1}
    ax.plot([x + 0.19, right, right, x + 0.1], [0, 0, _ADD, _ADD], **line)
    _draw_sum(ax, x, _ADD)
    _arrow(ax, (x, _ADD - 0.1), (x, _END + 0.1))
    ax.text(x, _END, str(channels), ha="center", va="center", fontsize=9.5)


# --- weights at equal cost ---


@styled
def equal_cost_bars(weights: Mapping[str, Sequence[int]], caption: str = "") -> Drawing:
    """Draw the weights of a block's three convolutions as one stacked bar a setting.

    Args:
        weights: setting (``"32×4d"``) -> weights of the first 1x1, the 3x3 and the last 1x1.
        caption: a sentence under the figure.
    """
    figure, ax = new_figure(4.6, 0.95 + 0.38 * len(weights))
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
