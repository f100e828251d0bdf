"""Figures of the degradation problem: error curves, published errors, gradient norms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from .core import Drawing, new_figure, styled
from .palette import LINES

_DEPTH_COLOUR = {20: LINES[0], 56: LINES[1]}


class _Errors(Protocol):
    """What is drawn of a run: a :class:`~resnet_tutorial.train.History` has it."""

    @property
    def epoch(self) -> Sequence[int]: ...

    @property
    def train_error(self) -> Sequence[float]: ...

    @property
    def test_error(self) -> Sequence[float]: ...


@styled
def degradation_curves(runs: Mapping[str, Mapping[int, _Errors]], note: str) -> Drawing:
    """Draw training and test error by epoch, one panel a family, one colour a depth.

    Args:
        runs: family ("plain", "residual") -> depth -> history with ``epoch``, ``train_error``
            and ``test_error`` in per cent.
        note: which runs these are, for the caption.
    """
    figure, axes = new_figure(7.2, 3.4, 1, len(runs), sharey=True, squeeze=False)
    endings = []
    for ax, (family, depths) in zip(axes.flat, runs.items(), strict=True):
        for depth, history in depths.items():
            colour = _DEPTH_COLOUR[depth]
            ax.plot(history.epoch, history.train_error, "--", color=colour, label=f"{depth} layers, training")
            ax.plot(history.epoch, history.test_error, "-", color=colour, label=f"{depth} layers, test")
            endings.append(
                f"{family} {depth}: training {history.train_error[-1]:.1f} %, "
                f"test {history.test_error[-1]:.1f} %"
            )
        ax.set_title(f"{family} networks")
        ax.set_xlabel("epoch")
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9)
    axes.flat[0].set_ylabel("error (%)")
    return Drawing(
        figure,
        alt=f"Error by epoch. At the end: {'; '.join(endings)}.",
        caption=f"Dashed: training error, measured on augmented images while the weights change. "
        f"Solid: test error. {note}",
    )


@styled
def published_depth_errors() -> Drawing:
    """Draw the ImageNet errors of plain and residual networks of 18 and 34 layers.

    Numbers: He et al. 2015, Table 2 (top-1 error in per cent, 10-crop testing, option A).
    """
    errors = {"plain": (27.94, 28.54), "residual": (27.88, 25.03)}
    figure, ax = new_figure(5.2, 2.7)
    for offset, (family, values) in zip((-0.17, 0.17), errors.items(), strict=True):
        colour = LINES[5] if family == "plain" else LINES[0]
        bars = ax.bar([0 + offset, 1 + offset], values, width=0.32, color=colour, label=family)
        ax.bar_label(bars, fmt="%.2f", fontsize=9, padding=2)
    ax.set_xticks([0, 1], ["18 layers", "34 layers"])
    ax.set_ylim(24, 29.4)
    ax.set_ylabel("top-1 validation error (%)")
    ax.grid(axis="x", visible=False)
    ax.legend(fontsize=9, ncols=2, loc="upper center", bbox_to_anchor=(0.5, 1.18))
    return Drawing(
        figure,
        alt="ImageNet top-1 validation error. Plain networks: 27.94 percent with 18 layers, 28.54 with 34. "
        "Residual networks: 27.88 with 18 layers, 25.03 with 34.",
        caption="More layers raise the validation error of the plain network and lower that of the residual one "
        "(He et al. 2015, Table 2; the axis starts at 24 %).",
    )


@styled
def norms_by_layer(
    curves: Mapping[str, Sequence[float]], ylabel: str, alt: str, caption: str,
    xlabel: str = "convolution, from the image to the classifier", scale: str = "log",
) -> Drawing:
    """Draw one number a layer for several networks.

    Args:
        curves: network's name -> values from the first layer to the last; zeros are left out.
        ylabel, alt, caption, xlabel: of the figure.
        scale: of the upright axis, "log" or "linear".
    """
    figure, ax = new_figure(5.4, 2.9)
    for colour, (name, values) in zip(LINES, curves.items(), strict=False):
        places = [i for i, value in enumerate(values) if value > 0]
        ax.plot([i + 1 for i in places], [values[i] for i in places], ".-", color=colour, label=name, markersize=5)
    ax.set_yscale(scale)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.legend(fontsize=9)
    return Drawing(figure, alt=alt, caption=caption)
