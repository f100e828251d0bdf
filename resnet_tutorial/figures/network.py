"""Whole networks: a picture to scale, where parameters and arithmetic lie, sizes, the family.

The stages have the same colours in all drawings of this module: ``LINES[0]`` to ``LINES[3]``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch, Polygon
from matplotlib.path import Path

from .core import Drawing, new_figure, styled
from .palette import INK, LINE, LINES, ON_FILL

_WIDTH = 7.0  # inches of the overview
_IMAGE = 2.42  # inches of the image's height in it
_DEPTH = (0.27, 0.19)  # where the depth of a cuboid goes, in units of its height
_THINNEST = 0.022
_LABEL = 0.78  # the least width of a stage


@dataclass
class _Tensor:
    """One feature map in the picture: a cuboid whose sides are channels, height and width."""

    x: float  # of its front left edge
    thickness: float
    height: float
    colour: str

    @property
    def depth(self) -> tuple[float, float]:
        return self.height * _DEPTH[0], self.height * _DEPTH[1]

    @property
    def right(self) -> float:
        return self.x + self.thickness + self.depth[0]

    @property
    def top(self) -> tuple[float, float]:
        """The middle of the top face, where arcs begin and end."""
        return self.x + (self.thickness + self.depth[0]) / 2, (self.height + self.depth[1]) / 2


@dataclass
class _Layout:
    """Where everything stands: the image, the stem's two maps, the stages' blocks, the head's two vectors."""

    start: list[_Tensor]
    stages: list[list[_Tensor]]
    head: tuple[_Tensor, _Tensor]

    @property
    def right(self) -> float:
        return self.head[-1].right + 0.1


def _lay_out(sides: Sequence[int], channels: Sequence[int], layers: Sequence[int], scale: float) -> _Layout:
    """Place the maps for a scale in inches a channel; ``sides`` and ``channels`` go from image to logits."""
    pixel = _IMAGE / sides[0]

    def tensor(x: float, index: int, colour: str) -> _Tensor:
        thickness = max(_THINNEST, channels[index] * scale)
        return _Tensor(x, thickness, max(_THINNEST, sides[index] * pixel), colour)

    start = [tensor(0.1, 0, LINES[5])]
    start.append(tensor(start[-1].right + 0.1, 1, LINES[4]))
    start.append(tensor(start[-1].right + 0.12, 2, LINES[4]))
    x = start[-1].x + 0.3
    gap = 0.135 if sum(layers) <= 16 else 0.135 * (16 / sum(layers)) ** 2
    stages = []
    for stage, blocks in enumerate(layers):
        first = tensor(x, 3 + stage, LINES[stage])
        step = max(first.thickness + gap, (_LABEL - 0.14) / blocks)
        stages.append([tensor(x + i * step, 3 + stage, LINES[stage]) for i in range(blocks)])
        x += blocks * step + 0.14
    vector = tensor(x + 0.02, -2, LINES[5])
    return _Layout(start, stages, (vector, tensor(vector.right + 0.1, -1, LINES[5])))


def _fitted(sides: Sequence[int], channels: Sequence[int], layers: Sequence[int]) -> _Layout:
    """Choose the scale of the channels so that the picture fills its width."""
    low, high = 0.0, 0.001
    for _ in range(30):
        middle = (low + high) / 2
        if _lay_out(sides, channels, layers, middle).right > _WIDTH:
            high = middle
        else:
            low = middle
    return _lay_out(sides, channels, layers, low)


def _mixed(colour: str, with_white: float) -> str:
    red, green, blue = (with_white + (1 - with_white) * part for part in to_rgb(colour))
    return to_hex((red, green, blue))


def _draw_tensor(ax: Axes, tensor: _Tensor) -> None:
    x, w, h, (dx, dy) = tensor.x, tensor.thickness, tensor.height, tensor.depth
    bottom = -(h + dy) / 2
    top = bottom + h
    faces = (
        ([(x, bottom), (x + w, bottom), (x + w, top), (x, top)], 0.35),
        ([(x, top), (x + w, top), (x + w + dx, top + dy), (x + dx, top + dy)], 0.75),
        ([(x + w, bottom), (x + w + dx, bottom + dy), (x + w + dx, top + dy), (x + w, top)], 0.6),
    )
    for corners, white in faces:
        ax.add_patch(
            Polygon(
                corners, facecolor=_mixed(tensor.colour, white), edgecolor=_mixed(tensor.colour, 0.0),
                linewidth=0.6, joinstyle="round", zorder=2 + x / 10,
            )
        )  # fmt: skip


def _draw_arc(ax: Axes, start: _Tensor, end: _Tensor, projection: bool) -> None:
    (x0, y0), (x1, y1) = start.top, end.top
    peak = max(y0, y1) + 0.30
    path = Path([(x0, y0), (x0, peak), (x1, peak), (x1, y1)], [Path.MOVETO] + [Path.CURVE4] * 3)
    ax.add_patch(
        PathPatch(
            path, facecolor="none", edgecolor=LINE["shortcut"], linewidth=1.5, capstyle="round",
            linestyle=(0, (2.2, 1.6)) if projection else "-", zorder=6,
        )
    )  # fmt: skip


def _label(ax: Axes, first: _Tensor, last: _Tensor, *lines: str, y: float = -0.95) -> None:
    x = (first.x + last.right) / 2
    for row, line in enumerate(lines):
        ax.text(
            x, y - 0.18 * row, line, ha="center", va="center", fontsize=10,
            fontweight="bold" if row == 0 else "normal",
        )  # fmt: skip


@styled
def network_overview(
    layers: Sequence[int] = (3, 4, 6, 3), expansion: int = 4, size: int = 224, classes: int = 1000
) -> Drawing:
    """Draw a ResNet to scale: every block's output as a cuboid, every shortcut as an arc.

    Height and depth of a cuboid are its pixels, its thickness is its channels, both linear.

    Args:
        layers: blocks in each of the four stages.
        expansion: 4 for bottlenecks, 1 for basic blocks.
        size: side of the square image.
        classes: outputs of the classifier.

    Raises:
        ValueError: if there are not four stages.
    """
    if len(layers) != 4:
        raise ValueError(f"layers must name four stages, not {len(layers)}: {tuple(layers)}.")
    half = -(-size // 2)
    sides = [size, half, *(-(-half // (2 << stage)) for stage in range(4)), 1, 1]
    sides.insert(2, sides[2])  # stage 1 keeps what the stem's pooling left
    widths = [(64 << stage) * expansion for stage in range(4)]
    layout = _fitted(sides, [3, 64, 64, *widths, widths[-1], classes], layers)
    figure, ax = new_figure(_WIDTH, 3.5)
    ax.set_axis_off()
    image, stem, pooled = layout.start
    _label(ax, image, image, "image", "3 ch.", f"{size} × {size}", y=-1.56)
    _label(ax, stem, pooled, "stem", "64 ch.", f"{sides[2]} × {sides[2]}")
    last = pooled
    for stage, blocks in enumerate(layout.stages):
        for index, tensor in enumerate(blocks):
            changes = index == 0 and (stage > 0 or expansion != 1)
            _draw_arc(ax, last, tensor, changes)
            last = tensor
        side, count = sides[3 + stage], len(blocks)
        _label(
            ax, blocks[0], blocks[-1], f"stage {stage + 1}", f"{widths[stage]} ch.", f"{side} × {side}",
            f"{count} block{'s' * (count > 1)}",
        )  # fmt: skip
    _label(ax, *layout.head, "head", f"{widths[-1]} ch.", f"to {classes}")
    for tensor in [*layout.start, *(t for blocks in layout.stages for t in blocks), *layout.head]:
        _draw_tensor(ax, tensor)
    handles = [
        Line2D([], [], color=LINE["shortcut"], linewidth=1.5, label="identity shortcut"),
        Line2D([], [], color=LINE["shortcut"], linewidth=1.5, linestyle=(0, (2.2, 1.6)),
               label="projection shortcut: the shape changes"),
    ]  # fmt: skip
    ax.legend(handles=handles, loc="upper right", fontsize=10, borderaxespad=0)
    ax.text(
        _WIDTH - 0.02, 0.88, "to scale: height and depth in pixels, thickness in channels",
        ha="right", va="top", fontsize=10,
    )  # fmt: skip
    ax.set_xlim(0, _WIDTH)
    ax.set_ylim(-2.05, 1.48)
    ax.set_aspect("equal")
    depth = sum(layers) * (3 if expansion == 4 else 2) + 2
    return Drawing(
        figure,
        f"ResNet-{depth} to scale, from left to right: an image of {size} by {size} pixels as a tall thin sheet, "
        f"the stem's two smaller sheets, then four stages of {', '.join(map(str, layers))} blocks whose maps get "
        f"smaller and thicker, down to bars of {widths[-1]} channels and {sides[-3]} by {sides[-3]} pixels, "
        f"and the head's vector. "
        f"A red arc leads over every block; the first of each stage that changes the shape is dashed.",
        f"ResNet-{depth}: every block's output to scale, and the shortcut over every block.",
    )


_PARTS = {
    "stem": LINES[4], "stage 1": LINES[0], "stage 2": LINES[1], "stage 3": LINES[2],
    "stage 4": LINES[3], "head": LINES[5],
}  # fmt: skip


@styled
def stage_budget(budgets: Mapping[str, Mapping[str, float]], caption: str = "") -> Drawing:
    """Draw how much of each quantity lies in which part of a network, as bars of 100 %.

    Args:
        budgets: quantity -> part (``"stem"``, ``"stage 1"`` ... ``"head"``) -> amount.
        caption: a sentence under the figure.
    """
    figure, ax = new_figure(5.4, 0.95 + 0.6 * len(budgets))
    spoken = []
    for row, (quantity, parts) in enumerate(budgets.items()):
        total, left = sum(parts.values()), 0.0
        for part, amount in parts.items():
            share = 100 * amount / total
            ax.barh(
                row, share, left=left, height=0.66, color=_mixed(_PARTS[part], 0.35),
                edgecolor=_PARTS[part], linewidth=0.8, label=part if row == 0 else None,
            )  # fmt: skip
            if share >= 5:
                ax.text(
                    left + share / 2, row, f"{share:.0f}", ha="center", va="center", color=ON_FILL, fontsize=10
                )  # fmt: skip
            left += share
        spoken.append(
            f"{quantity}: " + ", ".join(f"{part} {100 * parts[part] / total:.0f} %" for part in parts)
        )
    ax.set_yticks(range(len(budgets)), list(budgets), fontsize=10)
    ax.invert_yaxis()
    ax.set_xlim(0, 100)
    ax.set_xlabel("share in %")
    ax.grid(visible=False)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    figure.legend(
        loc="outside upper center", ncols=6, fontsize=10, handlelength=0.9, columnspacing=0.9,
        handletextpad=0.4,
    )  # fmt: skip
    return Drawing(figure, f"Stacked bars. {'; '.join(spoken)}.", caption)


@styled
def pooling_coverage(shares: Mapping[int, float | None], kernel: int = 7, caption: str = "") -> Drawing:
    """Draw which share of the last map a fixed pooling window reads, against the image's side.

    Args:
        shares: side of the image in pixels -> share from 0 to 1, ``None`` where the network fails.
        kernel: side of the window.
        caption: a sentence under the figure.
    """
    figure, ax = new_figure(5.4, 3.0)
    sizes = sorted(shares)
    read = {size: share for size, share in sorted(shares.items()) if share is not None}
    works = list(read)
    ax.step(works, [100 * share for share in read.values()], where="mid", color=LINES[0], linewidth=2.2)
    full = [size for size in works if read[size] == 1]
    for low, high, text in (
        (sizes[0], works[0] - 1, "fails:\nno window fits"),
        (works[-1] + 1, sizes[-1], "fails:\ntoo many features"),
    ):
        ax.axvspan(low - 0.5, high + 0.5, facecolor=LINE["shortcut"], alpha=0.16, linewidth=0)
        ax.text((low + high) / 2, 50, text, ha="center", va="center", fontsize=10, rotation=90)
    ax.axvspan(full[0] - 0.5, full[-1] + 0.5, facecolor=LINES[2], alpha=0.2, linewidth=0)
    ax.text((full[0] + full[-1]) / 2, 50, "right", ha="center", va="center", fontsize=10, rotation=90)
    ax.text(
        (full[-1] + works[-1]) / 2 + 12, 86, "runs, and drops\nthe map's edge", ha="center", va="center", fontsize=10
    )  # fmt: skip
    ax.set_xlim(sizes[0] - 0.5, sizes[-1] + 0.5)
    ax.set_ylim(0, 104)
    ax.set_xticks([works[0], full[-1], *range(256, works[-1], 32)[1::2], works[-1]])
    ax.set_xlabel("side of the square image in pixels")
    ax.set_ylabel("of the last map is read, %")
    return Drawing(
        figure,
        f"A falling staircase. From {works[0]} to {full[-1]} pixels a window of {kernel} by {kernel} reads the whole "
        f"map; at {full[-1] + 1} pixels its share falls to {100 * read[full[-1] + 1]:.0f} %, at {works[-1]} pixels "
        f"to {100 * read[works[-1]]:.0f} %. Below {works[0]} and above {works[-1]} pixels the network fails.",
        caption,
    )


@styled
def signal_through_blocks(
    curves: Mapping[str, Sequence[float]], layers: Sequence[int] = (3, 4, 6, 3), caption: str = ""
) -> Drawing:
    """Draw the mean square of every block's output, block by block, with the stages as bands.

    Args:
        curves: label -> one value a block.
        layers: blocks in each stage.
        caption: a sentence under the figure.
    """
    figure, ax = new_figure(5.4, 3.1)
    start = 0.5
    for stage, blocks in enumerate(layers):
        ax.axvspan(start, start + blocks, facecolor=LINES[stage], alpha=0.13, linewidth=0)
        ax.text(
            start + blocks / 2, 1.015, f"stage {stage + 1}", ha="center", va="bottom", fontsize=10,
            transform=ax.get_xaxis_transform(),
        )  # fmt: skip
        start += blocks
    for (label, values), marker in zip(curves.items(), "os^D", strict=False):
        colour = INK if marker == "o" else LINE["shortcut"]
        ax.plot(range(1, len(values) + 1), values, marker=marker, markersize=5, color=colour, label=label)
    ax.set_xlim(0.5, start)
    ax.set_ylim(0, None)
    ax.set_xticks(range(1, sum(layers) + 1))
    ax.set_xlabel("block")
    ax.set_ylabel("mean square of its output")
    ax.grid(visible=False, axis="x")
    ax.legend(fontsize=10, loc="upper left")
    spoken = "; ".join(
        f"{label}: from {values[0]:.1f} at the first block, at most {max(values):.1f}, {values[-1]:.1f} at the last"
        for label, values in curves.items()
    )
    return Drawing(figure, f"Curves over {sum(layers)} blocks in {len(layers)} stages. {spoken}.", caption)


@styled
def family_cost(networks: Mapping[str, tuple[float, float, float]], caption: str = "") -> Drawing:
    """Draw networks by arithmetic and error; the area of a disc is the number of parameters.

    Args:
        networks: name -> multiply-accumulates in 10^9, parameters in 10^6, top-1 error in %.
        caption: a sentence under the figure.
    """
    figure, ax = new_figure(5.6, 3.5)
    macs, parameters, errors = zip(*networks.values(), strict=True)
    ax.plot(macs, errors, color=LINE["grey"], linewidth=1.2, zorder=1)
    ax.scatter(
        macs, errors, s=[18 * p for p in parameters], color=_mixed(LINES[0], 0.35), edgecolor=LINES[0], zorder=2
    )  # fmt: skip
    for name, (cost, size, error) in networks.items():
        radius = (18 * size / 3.1416) ** 0.5
        ax.annotate(
            f"{name}\n{size:.1f} M, {error:.2f} %", (cost, error), (5, radius + 3),
            textcoords="offset points", ha="left", va="bottom", fontsize=9, linespacing=1.25,
        )  # fmt: skip
    ax.set_xlim(0, max(macs) * 1.3)
    ax.set_ylim(min(errors) - 1.4, max(errors) + 1.8)
    ax.set_xlabel("multiply-accumulates for one image, $10^9$")
    ax.set_ylabel("top-1 error, %")
    spoken = "; ".join(
        f"{name} {cost:.1f} billion, {size:.1f} million parameters, {error:.2f} %"
        for name, (cost, size, error) in networks.items()
    )
    return Drawing(
        figure, f"Discs on a falling curve, each step to the right gaining less than the one before: {spoken}.", caption
    )  # fmt: skip
