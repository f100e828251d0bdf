"""Blocks drawn as diagrams: a column of layers, the shortcut beside it, the addition below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

from .core import Drawing, new_figure, styled
from .palette import FILL, INK, LINE, ON_FILL, kind_of

_INCH = 0.42  # of one unit of the diagrams' coordinates, so that lettering fits its box
_BOX_WIDTH, _BOX_HEIGHT, _STEP = 3.0, 0.46, 0.68
_LEFT = -1.65
_NOTE_WIDTH = 2.2


@dataclass
class Block:
    """One block to be drawn.

    Attributes:
        title: stands above.
        branch: labels of the layers from top to bottom; the label decides the colour
            (``"3×3 conv, 64"``, ``"BN"``, ``"ReLU"``).
        shortcut: labels of the layers on the shortcut; ``()`` is the identity, ``None`` no shortcut.
        after: labels after the addition.
        source, result: what stands at the arrows in and out, usually a shape.
        merge: the sign in the circle where the branches meet.
        notes: label index of the branch -> a remark to the left of it.
    """

    title: str
    branch: Sequence[str]
    shortcut: Sequence[str] | None = ()
    after: Sequence[str] = ("ReLU",)
    source: str = "x"
    result: str = ""
    merge: str = "+"
    notes: dict[int, str] = field(default_factory=dict)


@styled
def block_diagram(*blocks: Block, alt: str, caption: str = "", columns: int | None = None) -> Drawing:
    """Draw blocks side by side.

    Args:
        blocks: what to draw.
        alt: what is to be seen, for those who cannot see it.
        caption: a sentence under the figure.
        columns: how many stand in a row; all of them by default.
    """
    columns = min(columns or len(blocks), len(blocks))
    rows = -(-len(blocks) // columns)
    heights = [max(map(_height_of, blocks[row * columns : (row + 1) * columns])) for row in range(rows)]
    widths = [max(_width_of(block) for block in blocks[column::columns]) for column in range(columns)]
    figure, axes = new_figure(
        _INCH * sum(widths), _INCH * sum(heights), rows, columns, squeeze=False,
        gridspec_kw={"width_ratios": widths, "height_ratios": heights},
    )  # fmt: skip
    figure.set_layout_engine("constrained", w_pad=0, h_pad=0, wspace=0, hspace=0)
    for ax in axes.flat:
        ax.set_axis_off()
    for index, block in enumerate(blocks):
        ax = axes.flat[index]
        left = _LEFT - (_NOTE_WIDTH if block.notes else 0)
        ax.set_xlim(left, left + widths[index % columns])
        ax.set_ylim(1.25 - heights[index // columns], 1.25)
        _draw_block(ax, block)
    return Drawing(figure, alt, caption)


def _height_of(block: Block) -> float:
    return 1.4 + _STEP * (_rows_of(block) + 0.9)


def _width_of(block: Block) -> float:
    right = 5.3 if block.shortcut else 1.9 if block.shortcut is None else 2.9
    return right - _LEFT + (_NOTE_WIDTH if block.notes else 0)


def _rows_of(block: Block) -> int:
    return len(block.branch) + len(block.after) + (block.shortcut is not None)


def _draw_block(ax: Axes, block: Block) -> None:
    ax.text(_LEFT + 0.15, 1.2, block.title, ha="left", va="top", fontweight="bold", fontsize=10)
    ax.text(0, 0.42, block.source, ha="center", va="center", fontsize=9)
    y = -_STEP * 0.55
    _arrow(ax, (0, 0.22), (0, y + _BOX_HEIGHT / 2))
    for index, label in enumerate(block.branch):
        draw_box(ax, 0, y, label)
        if index in block.notes:
            ax.text(-_BOX_WIDTH / 2 - 0.12, y, block.notes[index], ha="right", va="center", fontsize=8)
        _arrow(ax, (0, y - _BOX_HEIGHT / 2), (0, y - _STEP + _BOX_HEIGHT / 2))
        y -= _STEP
    if block.shortcut is not None:
        _draw_shortcut(ax, block, y)
        _arrow(ax, (0, y - 0.2), (0, y - _STEP + _BOX_HEIGHT / 2))
        y -= _STEP
    for label in block.after:
        draw_box(ax, 0, y, label)
        _arrow(ax, (0, y - _BOX_HEIGHT / 2), (0, y - _STEP + _BOX_HEIGHT / 2))
        y -= _STEP
    ax.text(0, y, block.result, ha="center", va="center", fontsize=9)


def _draw_shortcut(ax: Axes, block: Block, y_add: float) -> None:
    """Draw the line from the input past the branch to the addition at ``y_add``."""
    x, top = (3.55 if block.shortcut else 2.1), 0.06
    line: dict[str, Any] = {"color": LINE["shortcut"], "linewidth": 2.0, "solid_capstyle": "round", "zorder": 1}
    ax.plot([0, x, x, 0.22], [top, top, y_add, y_add], **line)
    ax.annotate(
        "", (0.2, y_add), (0.42, y_add),
        arrowprops={"arrowstyle": "-|>", "color": LINE["shortcut"], "linewidth": 2.0},
    )  # fmt: skip
    ax.plot([0], [top], "o", color=LINE["shortcut"], markersize=4)
    middle = (top + y_add) / 2
    labels = list(block.shortcut or ())
    for index, label in enumerate(labels):
        offset = (len(labels) - 1) / 2 - index
        draw_box(ax, x, middle + offset * _STEP, label)
    if not labels:
        ax.text(x + 0.15, middle, "identity", rotation=90, ha="left", va="center", fontsize=9)
    ax.add_patch(Circle((0, y_add), 0.2, facecolor=FILL["add"], edgecolor=INK, linewidth=1.2, zorder=3))
    ax.text(0, y_add - 0.015, block.merge, ha="center", va="center", fontsize=11, color=ON_FILL, zorder=4)


def draw_box(
    ax: Axes, x: float, y: float, label: str, *, width: float = _BOX_WIDTH,
    height: float = _BOX_HEIGHT, kind: str | None = None, fontsize: float = 9,
) -> None:
    """Draw one labelled layer, centred at ``(x, y)`` in the axes' units."""
    ax.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2), width, height,
            boxstyle="round,pad=0,rounding_size=0.08",
            facecolor=FILL[kind or kind_of(label)], edgecolor=INK, linewidth=0.8, zorder=2,
        )
    )  # fmt: skip
    ax.text(x, y - 0.01, label, ha="center", va="center", fontsize=fontsize, color=ON_FILL, zorder=3)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    ax.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=8, color=INK, linewidth=1.1,
            shrinkA=0, shrinkB=0, zorder=1,
        )
    )  # fmt: skip
