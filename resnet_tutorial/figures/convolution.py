"""What a convolution does to a row of pixels: positions, connections, cost, receptive field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ..shapes import conv_macs, conv_output_size, conv_params, receptive_field
from .core import Drawing, new_figure, styled
from .palette import FILL, INK, LINE, LINES, ON_FILL

_CELL = 0.37  # inches: one pixel of a row, wide enough for three digits
_ROW = 0.62  # of a cell: height of one output's row
_MARGIN = 2.6  # cells to the right of the row, for the labels


class Window(NamedTuple):
    """A kernel on a row of ``size`` pixels; ``title`` stands above its drawing."""

    size: int
    kernel_size: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    title: str = ""

    @property
    def outputs(self) -> int:
        return conv_output_size(*self[:5])

    def taps(self, output: int) -> list[int]:
        """Return the pixels under the kernel at one output; the padding counts from -1 and from size."""
        start = output * self.stride - self.padding
        return [start + tap * self.dilation for tap in range(self.kernel_size)]

    def unseen(self) -> list[int]:
        """Return the pixels that lie under no tap at any output."""
        seen = {pixel for output in range(self.outputs) for pixel in self.taps(output)}
        return sorted(set(range(self.size)) - seen)


@styled
def kernel_positions(
    *windows: tuple, alt: str, caption: str = "", first_pixel: int | None = None
) -> Drawing:
    """Draw every position at which a kernel can stand on a row of pixels.

    Args:
        windows: ``(size, kernel_size, stride, padding, dilation, title)``, one drawing each,
            from top to bottom; what stands behind the kernel size may be left out.
        alt: what is to be seen, for those who cannot see it.
        caption: a sentence under the figure.
        first_pixel: leave out everything to the left of this pixel and draw, in addition,
            the position after the last one, which does not fit.
    """
    rows = [Window(*window) for window in windows]
    cropped = first_pixel is not None
    start = min(-row.padding for row in rows) if first_pixel is None else first_pixel
    stop = max(row.size + row.padding for row in rows) + (1 if cropped else 0)
    heights = [2.6 + _ROW * (_first_rows(row, start)[1] + cropped) for row in rows]
    figure, axes = new_figure(
        _CELL * (stop - start + _MARGIN), _CELL * sum(heights), len(windows), 1, squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )  # fmt: skip
    figure.set_layout_engine("constrained", w_pad=0, h_pad=0, wspace=0, hspace=0)
    for ax, row, height in zip(axes.flat, rows, heights, strict=True):
        ax.set_axis_off()
        ax.set_xlim(start - 0.05, stop + _MARGIN - 0.05)
        ax.set_ylim(-height + 0.95, 0.95)
        _draw_window(ax, row, start, cropped)
    return Drawing(figure, alt, caption)


def _first_rows(window: Window, start: int) -> tuple[int, int]:
    """Return the first output that lies wholly to the right of ``start``, and how many follow."""
    first = next(i for i in range(window.outputs) if window.taps(i)[0] >= start)
    return first, window.outputs - first


def _draw_window(ax: Axes, window: Window, start: int, cropped: bool) -> None:
    left = max(start, -window.padding)
    ax.text(left, 0.62, window.title, ha="left", va="center", fontsize=10, fontweight="bold")
    unseen = window.unseen()
    for pixel in range(left, window.size + window.padding):
        inside = 0 <= pixel < window.size
        _cell(
            ax, pixel, -0.95, 0.95, FILL["zero"] if pixel in unseen else FILL["tensor"] if inside else "none",
            dashed=not inside,
        )  # fmt: skip
        ax.text(
            pixel + 0.5, -0.48, str(pixel) if inside else "pad", ha="center", va="center",
            fontsize=9, color=ON_FILL if inside else INK,
        )  # fmt: skip
    if cropped:
        ax.text(left - 0.02, -0.48, "…", ha="right", va="center", fontsize=10)
    first, rows = _first_rows(window, start)
    y = -1.15
    for output in range(first, first + rows):
        y -= _ROW
        _position(ax, window, output, y, f"out {output}")
    if cropped:
        y -= _ROW
        _position(ax, window, window.outputs, y, "no room", fits=False)


def _position(
    ax: Axes, window: Window, output: int, y: float, label: str, fits: bool = True
) -> None:
    """Draw the kernel's taps at one output, joined by a line where they stand apart."""
    taps = window.taps(output)
    height = _ROW * 0.72
    ax.plot(
        [taps[0] + 0.5, taps[-1] + 0.5], [y + height / 2] * 2, color=INK, linewidth=0.9, zorder=1
    )
    for pixel in taps:
        _cell(ax, pixel, y, height, FILL["conv3x3"] if fits else FILL["zero"], dashed=not fits)
    right = max(window.size + window.padding, taps[-1] + 1)
    ax.text(right + 0.25, y + height / 2, label, ha="left", va="center", fontsize=9)


def _cell(ax: Axes, x: float, y: float, height: float, colour: str, dashed: bool = False) -> None:
    ax.add_patch(
        Rectangle(
            (x + 0.04, y), 0.92, height, facecolor=colour, edgecolor=INK, linewidth=0.8,
            linestyle=(0, (2, 1.5)) if dashed else "-", zorder=2,
        )
    )  # fmt: skip


@styled
def group_connections(channels: int = 8, groups: Sequence[int] = (1, 2, 4, 8)) -> Drawing:
    """Draw which input channels each output channel reads, for several numbers of groups."""
    columns = 2
    rows = -(-len(groups) // columns)
    figure, axes = new_figure(4.9, 1.85 * rows, rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, count in zip(axes.flat, groups, strict=False):
        size = channels // count
        for target in range(channels):
            group = target // size
            colour = LINES[group % len(LINES)]
            for source in range(group * size, (group + 1) * size):
                ax.plot([source, target], [1, 0], color=colour, linewidth=0.9, zorder=1)
            ax.plot([target], [0], "o", color=colour, markersize=8, zorder=2)
            ax.plot([target], [1], "o", color=colour, markersize=8, zorder=2)
        links = conv_params(channels, channels, 1, count)
        ax.set_title(f"{count} group{'s' * (count > 1)}: {links} links", loc="left")
        ax.set_xlim(-0.6, channels - 0.4)
        ax.set_ylim(-0.2, 1.2)
    shown = ", ".join(
        f"{conv_params(channels, channels, 1, count)} with {count}" for count in groups
    )
    return Drawing(
        figure,
        f"{len(groups)} drawings of {channels} input channels above and {channels} output channels below. "
        f"With one group every output is joined to every input; with more groups the channels fall into "
        f"bundles that are joined only within themselves. Links: {shown}.",
        "Inputs above, outputs below; neighbouring groups differ in colour. Each link is one k × k slice of weights.",
    )


@styled
def stage_costs(
    stages: Sequence[tuple[int, int]] = ((64, 56), (128, 28), (256, 14), (512, 7)),
) -> Drawing:
    """Draw parameters and multiply-accumulates of one 3x3 convolution in each stage.

    Args:
        stages: channels and side of the map, one pair a stage.
    """
    figure, axes = new_figure(4.9, 2.9, 1, 2)
    names = [f"{channels}\n{side}×{side}" for channels, side in stages]
    values = (
        ("Parameters (millions)", [conv_params(c, c, 3) / 1e6 for c, _ in stages], FILL["conv1x1"]),
        (
            "MACs (millions)",
            [conv_macs(c, c, 3, side) / 1e6 for c, side in stages],
            FILL["conv3x3"],
        ),
    )
    for ax, (title, heights, colour) in zip(axes, values, strict=True):
        bars = ax.bar(
            range(len(stages)), heights, color=colour, edgecolor=INK, linewidth=0.8, width=0.7
        )
        ax.bar_label(
            bars, [f"{h:.2f}" if h < 10 else f"{h:.0f}" for h in heights], fontsize=9, padding=2
        )
        ax.set_xticks(range(len(stages)), names, fontsize=9)
        ax.set_ylim(0, max(heights) * 1.16)
        ax.set_title(title, loc="left")
        ax.grid(axis="x", visible=False)
    return Drawing(
        figure,
        "Two bar charts over the four stages. The parameters of a 3 by 3 convolution quadruple from each "
        f"stage to the next, from {values[0][1][0]:.2f} to {values[0][1][-1]:.2f} million; its "
        f"multiply-accumulates stay at {values[1][1][0]:.0f} million in every stage.",
        "One 3×3 convolution in each stage. Below the bars: channels, in and out, and the size of the map.",
    )


@styled
def receptive_cones(*stacks: Sequence[tuple[int, int]], titles: Sequence[str]) -> Drawing:
    """Draw what one output of each stack sees, layer by layer down to the input.

    Args:
        stacks: for each drawing its layers, ``(kernel_size, stride)``, the first layer first.
        titles: what stands above each drawing.
    """
    fields = [receptive_field(stack).size for stack in stacks]
    width = max(fields) + 4
    heights = [len(stack) * 1.7 + 2.7 for stack in stacks]
    figure, axes = new_figure(
        4.6,
        0.3 * sum(heights),
        len(stacks),
        1,
        squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )
    figure.set_layout_engine("constrained", w_pad=0, h_pad=0, wspace=0, hspace=0)
    for ax, stack, title, height in zip(axes.flat, stacks, titles, heights, strict=True):
        ax.set_axis_off()
        ax.set_xlim(-width / 2 - 0.2, width / 2 + 4.6)
        ax.set_ylim(-1.0, height - 1.0)
        ax.text(
            -width / 2, height - 1.1, title, ha="left", va="top", fontsize=10, fontweight="bold"
        )
        _draw_cone(ax, stack, width)
    described = "; ".join(
        f"{title}: {field} input pixels" for title, field in zip(titles, fields, strict=True)
    )
    return Drawing(
        figure,
        "Rows of dots, the input at the bottom and one output at the top, joined by the taps of each layer, "
        f"so that a cone widens downwards. {described}.",
        "Blue: what the output at the top depends on. Grey: pixels and values beside it.",
    )


def _draw_cone(ax: Axes, stack: Sequence[tuple[int, int]], width: int) -> None:
    """Draw the rows of dots from the input (below) to the one output (above), centred on it."""
    jumps = [receptive_field(stack[:depth]).jump for depth in range(len(stack) + 1)]
    row = [0.0]  # where the dots of the cone stand, starting with the output
    for depth in range(len(stack), 0, -1):
        kernel_size, jump = stack[depth - 1][0], jumps[depth - 1]
        below = set()
        for x in row:
            for tap in range(kernel_size):
                source = x + (tap - (kernel_size - 1) / 2) * jump
                below.add(source)
                ax.plot(
                    [x, source], [depth * 1.7, (depth - 1) * 1.7],
                    color=LINE["main"], linewidth=0.7, alpha=0.6, zorder=1,
                )  # fmt: skip
        _dots(ax, row, depth * 1.7, jumps[depth], width)
        ax.text(width / 2 + 0.4, depth * 1.7, f"layer {depth}: {len(row)}", va="center", fontsize=9)
        row = sorted(below)
    _dots(ax, row, 0, 1, width)
    ax.text(width / 2 + 0.4, 0, f"input: {len(row)}", va="center", fontsize=9)


def _dots(ax: Axes, row: Sequence[float], y: float, jump: int, width: int) -> None:
    beside = [
        x
        for side in (-1, 1)
        for x in _outwards(row[0] if side < 0 else row[-1], side * jump, width)
    ]
    ax.plot(beside, [y] * len(beside), "o", color=LINE["grey"], markersize=3.2, alpha=0.6, zorder=2)
    ax.plot(row, [y] * len(row), "o", color=LINE["main"], markersize=6, zorder=3)


def _outwards(x: float, step: int, width: int) -> list[float]:
    steps = int((width / 2 - abs(x)) // abs(step))
    return [x + step * i for i in range(1, steps + 1)]


@styled
def path_shares(depths: Sequence[int] = (1, 3, 10)) -> Drawing:
    """Draw through which share of all paths each input pixel reaches one output, for stacks of 3x3."""
    figure, axes = new_figure(4.9, 3.1)
    counts = []
    for depth, colour in zip(depths, LINES, strict=False):
        shares = _path_shares(depth)
        counts.append(f"{depth} layer{'s reach' if depth > 1 else ' reaches'} {len(shares)} pixels")
        axes.plot(
            range(-depth, depth + 1), shares, "o-", color=colour, markersize=3.5,
            label=f"{depth} layer{'s' * (depth > 1)}, field {2 * depth + 1}",
        )  # fmt: skip
    axes.set_xticks(range(-max(depths), max(depths) + 1, 2))
    axes.set_xlabel("pixels from the centre, along one axis")
    axes.set_ylabel("share of the paths")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=9)
    return Drawing(
        figure,
        f"Curves over the distance from the centre: {'; '.join(counts)}. One layer is flat; with more layers "
        "the curve becomes a bell that is high in the middle and almost zero at the ends of the field.",
        "How the paths from the input to one output are spread over the receptive field, for 3×3 stacks.",
    )


def _path_shares(depth: int) -> list[float]:
    """Return, per input pixel of the field, its share of the paths through ``depth`` kernels of three."""
    paths = [1]
    for _ in range(depth):
        padded = [0, 0, *paths, 0, 0]
        paths = [sum(padded[i : i + 3]) for i in range(len(paths) + 2)]
    return [count / sum(paths) for count in paths]
