"""Figures of chapter 10: filters, feature maps, heat maps on images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .core import Drawing, new_figure, styled


def _to_image(array: np.ndarray) -> np.ndarray:
    """Scale an array to 0..1, so that it can be shown."""
    low, high = float(array.min()), float(array.max())
    return (array - low) / (high - low or 1.0)


@styled
def image_row(
    images: Sequence, titles: Sequence[str], alt: str, caption: str = "", columns: int = 8,
    size: float = 0.9,
) -> Drawing:
    """Draw small images in rows.

    Args:
        images: arrays (H, W, 3) of colours, or (H, W) of numbers, each scaled by itself;
            None leaves a place empty.
        titles: one for each; empty strings leave it out.
        alt, caption: of the figure.
        columns: images in a row.
        size: of an image, in inches.
    """
    rows = -(-len(images) // columns)
    title_height = 0.24 if any(titles) else 0.05
    figure, axes = new_figure(columns * size, rows * (size + title_height), rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, image, title in zip(axes.flat, images, titles, strict=False):
        if image is None:
            continue
        array = np.asarray(image)
        if array.dtype == np.uint8:
            ax.imshow(array, interpolation="nearest")
        else:
            ax.imshow(_to_image(array), cmap="viridis", interpolation="nearest")
        ax.set_title(title, fontsize=9, fontweight="normal", pad=2)
    return Drawing(figure, alt, caption)


@styled
def heat_on_images(images: Sequence, maps: Sequence, titles: Sequence[str], alt: str, caption: str) -> Drawing:
    """Draw images, and below each the same image with a heat map over it.

    Args:
        images: uint8 arrays (H, W, 3).
        maps: arrays (h, w) from 0 to 1, stretched over the image.
        titles: one for each image.
        alt, caption: of the figure.
    """
    figure, axes = new_figure(7.2, 2.35, 2, len(images), squeeze=False)
    for column, (image, heat, title) in enumerate(zip(images, maps, titles, strict=True)):
        height, width = image.shape[:2]
        for ax in axes[:, column]:
            ax.set_axis_off()
            ax.imshow(image, interpolation="nearest", extent=(0, width, height, 0))
        axes[1, column].imshow(
            np.asarray(heat), cmap="inferno", alpha=0.6, vmin=0, vmax=1, interpolation="bilinear",
            extent=(0, width, height, 0),
        )
        axes[0, column].set_title(title, fontsize=9, fontweight="normal", pad=2)
    return Drawing(figure, alt, caption)


@styled
def agreement_bars(groups: dict[str, Sequence[float]]) -> Drawing:
    """Draw, block by block, how many predictions survive when the block is removed.

    Args:
        groups: network's name -> share of unchanged predictions (0 to 1), one for each block.
    """
    figure, ax = new_figure(5.4, 2.6)
    width = 0.8 / len(groups)
    for place, (name, values) in enumerate(groups.items()):
        offset = (place - (len(groups) - 1) / 2) * width
        ax.bar([i + 1 + offset for i in range(len(values))], [100 * v for v in values], width=width, label=name)
    ax.set_xlabel("block that is removed")
    ax.set_ylabel("predictions unchanged (%)")
    ax.set_ylim(0, 108)
    ax.grid(axis="x", visible=False)
    ax.legend(fontsize=9, ncols=len(groups), loc="upper center", bbox_to_anchor=(0.5, 1.2))
    listed = "; ".join(f"{n}: " + ", ".join(f"{100 * v:.0f}" for v in values) for n, values in groups.items())
    return Drawing(
        figure,
        alt=f"Share of unchanged predictions in per cent, by removed block. {listed}.",
        caption="Removing one identity block changes the predictions of the residual network much less than those "
        "of the plain one.",
    )
