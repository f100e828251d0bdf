"""Figures of chapter 8: images, schedules, number formats, curves, confusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle

from .core import Drawing, new_figure, styled
from .palette import FILL, INK, LINES, ON_FILL

if TYPE_CHECKING:  # a figure needs no training
    from ..train.history import History


@styled
def labelled_images(
    images: Sequence[np.ndarray],
    titles: Sequence[str],
    alt: str,
    caption: str = "",
    columns: int = 5,
) -> Drawing:
    """Draw small images in a grid, each under its title.

    Args:
        images: uint8 arrays, all of one shape (height, width, 3).
        titles: one for each image; ``""`` for none.
        columns: images in a row.
    """
    rows = -(-len(images) // columns)
    lines = 1 + max(title.count("\n") for title in titles) if any(titles) else 0
    side = min(1.15, 7 / columns)
    height, width = images[0].shape[:2]
    gap = -(-width // 8)
    figure, axes = new_figure(side * columns, rows * (side + 0.17 * lines), rows, 1, squeeze=False)
    for row, ax in enumerate(axes.flat):
        # A row is one picture with clear gaps: a page asks for a few files, not for one per image.
        strip = np.zeros((height, columns * (width + gap) - gap, 4), dtype=np.uint8)
        here = slice(row * columns, (row + 1) * columns)
        for place, (image, title) in enumerate(zip(images[here], titles[here], strict=True)):
            left = place * (width + gap)
            strip[:, left : left + width] = np.dstack([image, np.full((height, width), 255, np.uint8)])
            ax.text(left + width / 2 - 0.5, -0.06 * height, title, fontsize=9.5, ha="center", va="bottom")
        ax.imshow(strip, interpolation="none")  # the page shows the pixels, not a blur of them
        ax.axis("off")
    return Drawing(figure, alt, caption)


@styled
def learning_rate_schedules(schedules: Mapping[str, Sequence[float]]) -> Drawing:
    """Draw learning rates, each a list of one value for every step of a run."""
    figure, ax = new_figure(5.2, 2.8)
    for (name, rates), colour, style in zip(schedules.items(), LINES, ("-", "--", "-."), strict=False):
        ax.plot(np.linspace(0, 100, len(rates)), rates, style, color=colour, label=name)
    ax.set_xlabel("share of the run in per cent")
    ax.set_ylabel("learning rate")
    ax.set_xlim(0, 100)
    ax.set_ylim(0)
    ax.legend(loc="upper right", fontsize=10)
    told = "; ".join(
        f"{name}: from {rates[0]:.3g} to at most {max(rates):.3g}, at the end {rates[-1]:.3g}"
        for name, rates in schedules.items()
    )
    return Drawing(
        figure,
        f"Learning rate over the run. {told}.",
        "One-cycle climbs in a line and falls along half a cosine; the paper's rate stands still and drops twice.",
    )


@styled
def number_formats() -> Drawing:
    """Draw how float32, bfloat16 and float16 divide their bits."""
    figure, ax = new_figure(7.0, 2.1)
    ax.axis("off")
    ax.set_xlim(-7.4, 32.4)
    ax.set_ylim(-3.1, 1.3)
    parts = (("add", "sign"), ("conv1x1", "exponent: the range"), ("conv3x3", "fraction: the precision"))
    for row, (name, bits) in enumerate(
        {"float32": (1, 8, 23), "bfloat16": (1, 8, 7), "float16": (1, 5, 10)}.items()
    ):
        ax.text(-0.5, 0.4 - row, name, ha="right", va="center", fontsize=10.5)
        left = 0
        for (kind, _), count in zip(parts, bits, strict=True):
            for bit in range(count):
                ax.add_patch(
                    Rectangle((left + bit, -row), 0.92, 0.8, facecolor=FILL[kind], edgecolor=INK, linewidth=0.6)
                )
            if count > 1:  # the number takes the bits in the middle, as many as it needs
                span = 2 if count % 2 == 0 else 3 if count > 9 else 1
                start, wide = left + (count - span) // 2, span - 0.08
                ax.add_patch(
                    Rectangle((start, -row), wide, 0.8, facecolor=FILL[kind], edgecolor=INK, linewidth=0.6)
                )
                ax.text(
                    start + wide / 2, 0.4 - row, str(count), color=ON_FILL, ha="center", va="center",
                    fontsize=10.5, fontweight="bold",
                )  # fmt: skip
            left += count
    for (kind, word), x in zip(parts, (0, 5.2, 17.5), strict=True):
        ax.add_patch(Rectangle((x, -2.95), 0.92, 0.6, facecolor=FILL[kind], edgecolor=INK, linewidth=0.6))
        ax.text(x + 1.3, -2.65, word, va="center", fontsize=9.5)
    return Drawing(
        figure,
        "Bits of three number formats. float32: 1 sign, 8 exponent, 23 fraction bits. bfloat16: 1, 8 and 7. "
        "float16: 1, 5 and 10.",
        "bfloat16 keeps float32's range and gives up precision; float16 keeps more precision and gives up range.",
    )


@styled
def curves_of_a_run(history: History, caption: str = "") -> Drawing:
    """Draw loss and error over the epochs of a :class:`~resnet_tutorial.train.History`."""
    figure, axes = new_figure(7.0, 3.0, 1, 2)
    parts = {"train": "training, augmented", "val": "validation", "test": "test"}
    told = []
    # Marks on so many epochs would hide the curves.
    styles = ("--o", "-s", "-^") if len(history.epoch) <= 50 else ("--", "-", "-")
    for ax, kind in zip(axes, ("loss", "error"), strict=True):
        for (part, word), colour, style in zip(parts.items(), LINES, styles, strict=False):
            values = getattr(history, f"{part}_{kind}")
            if values:
                ax.plot(history.epoch[: len(values)], values, style, color=colour, markersize=4, label=word)
                told.append(f"{word} {kind} from {values[0]:.2f} to {values[-1]:.2f}")
        ax.set_xlabel("epoch")
        ax.set_ylim(0)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend(fontsize=9.5)
    axes[0].set_ylabel("loss")
    axes[1].set_ylabel("error in %")
    return Drawing(figure, f"Curves over the epochs: {'; '.join(told)}.", caption)


@styled
def confusion_heatmap(counts: Sequence[Sequence[int]], classes: Sequence[str], caption: str = "") -> Drawing:
    """Draw a confusion matrix: a row for each true class, a column for each answer."""
    matrix = np.asarray(counts)
    figure, ax = new_figure(5.2, 4.5)
    size = len(classes)
    errors = matrix * (1 - np.eye(size, dtype=matrix.dtype))
    faults = LinearSegmentedColormap.from_list("faults", ["#ffffff", "#f08a3c"])
    for row in range(size):
        for column in range(size):
            same = row == column
            colour = FILL["conv3x3"] if same else faults(errors[row, column] / max(1, errors.max()))
            ax.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, edgecolor="#c9ced6", linewidth=0.6))
            if matrix[row, column]:
                ax.text(
                    column + 0.5, row + 0.52, str(matrix[row, column]), color=ON_FILL, ha="center",
                    va="center", fontsize=10, fontweight="bold" if same else "normal",
                )  # fmt: skip
    ax.set_xlim(0, size)
    ax.set_ylim(size, 0)
    ax.set_xticks(np.arange(size) + 0.5, classes, rotation=40, ha="right", rotation_mode="anchor")
    ax.set_yticks(np.arange(size) + 0.5, classes)
    ax.tick_params(length=0)
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_xlabel("the network's answer")
    ax.set_ylabel("what it is")
    true, answer = (int(place) for place in np.unravel_index(errors.argmax(), errors.shape))
    return Drawing(
        figure,
        f"Confusion matrix of {matrix.sum():,} test images; {np.trace(matrix) / matrix.sum():.1%} stand on the "
        f"diagonal. Most frequent error: {classes[true]} taken for {classes[answer]}, "
        f"{errors[true, answer]} times.",
        caption,
    )
