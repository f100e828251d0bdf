"""Figures of chapter 9: errors of several runs, and the band of the baseline's noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .core import Drawing, new_figure, styled
from .palette import INK, LINE, LINES


@styled
def change_against_noise(
    baseline: Sequence[float], changes: Mapping[str, float], label: str, note: str
) -> Drawing:
    """Draw the error of each changed run beside the baseline's runs and their band.

    Args:
        baseline: errors of the baseline's seeds, in per cent.
        changes: what was changed -> error in per cent.
        label: of the axis.
        note: which runs these are.
    """
    figure, ax = new_figure(5.2, 0.42 * (len(changes) + 1) + 1.0)
    mean = sum(baseline) / len(baseline)
    spread = (sum((v - mean) ** 2 for v in baseline) / max(1, len(baseline) - 1)) ** 0.5
    ax.axvspan(mean - 2 * spread, mean + 2 * spread, color=LINE["grey"], alpha=0.2, linewidth=0)
    ax.axvline(mean, color=INK, linewidth=0.8)
    names = ["baseline", *changes]
    ax.plot(baseline, [0] * len(baseline), "o", color=LINES[0], markersize=7)
    for row, value in enumerate(changes.values(), start=1):
        ax.plot([mean, value], [row, row], color=LINES[1], linewidth=1.2)
        ax.plot([value], [row], "o", color=LINES[1], markersize=7)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set_xlabel(label)
    listed = "; ".join(f"{name} {value:.2f}" for name, value in changes.items())
    return Drawing(
        figure,
        alt=f"Errors in per cent. Baseline: {', '.join(f'{v:.2f}' for v in baseline)}. {listed}.",
        caption=f"Each dot is one run; the grey band is the baseline's mean plus and minus two spreads. {note}",
    )


@styled
def paper_depth_errors(paper: Mapping[int, float], own: Mapping[str, Mapping[int, float]], note: str) -> Drawing:
    """Draw test error against depth: the paper's Table 6 and series of this project's own runs.

    Args:
        paper: test error in percent of each depth.
        own: the same for each series, by the name that stands in the legend.
        note: what kind of runs these are, for the caption.
    """
    figure, ax = new_figure(5.2, 2.9)
    ax.plot(list(paper), list(paper.values()), "s-", color=LINES[5], label="paper")
    for (name, errors), colour, marker in zip(own.items(), LINES, "oD^", strict=False):
        ax.plot(list(errors), list(errors.values()), f"{marker}-", color=colour, label=name)
    ax.set_xscale("log")
    ax.set_xticks(list(paper), [str(depth) for depth in paper])
    ax.minorticks_off()
    ax.set_xlabel("layers")
    ax.set_ylabel("test error (%)")
    ax.set_ylim(0)
    ax.legend(fontsize=9, loc="lower left")
    told = [f"{name}: {_listed(errors)}" for name, errors in {"paper": paper, **own}.items()]
    return Drawing(
        figure,
        alt=f"Test error by depth of CIFAR ResNets, in percent. {'. '.join(told)}.",
        caption=f"Test errors of the CIFAR family. {note}",
    )


def _listed(errors: Mapping[int, float]) -> str:
    """Return depths and errors in words."""
    return "; ".join(f"{depth} layers {error:.2f}" for depth, error in errors.items()) or "none recorded"


@styled
def cost_of_cardinality(rows: Sequence[tuple[str, float, float]]) -> Drawing:
    """Draw parameters and MACs of ResNeXt-29 for several cardinalities.

    Args:
        rows: (name, millions of parameters, billions of MACs).
    """
    figure, axes = new_figure(5.6, 0.34 * len(rows) + 1.0, 1, 2, sharey=True)
    names = [name for name, _, _ in rows]
    for ax, place, label in zip(axes, (1, 2), ("parameters (millions)", "MACs (billions)"), strict=True):
        numbers = [float(row[place]) for row in rows]
        bars = ax.barh(names, numbers, color=LINES[place - 1], height=0.6)
        ax.bar_label(bars, fmt="%.2f", fontsize=9, padding=2)
        ax.set_xlabel(label)
        ax.set_xlim(0, 1.3 * max(numbers))
        ax.grid(axis="y", visible=False)
    axes[0].invert_yaxis()
    listed = "; ".join(f"{name}: {p:.2f} million parameters, {m:.2f} billion MACs" for name, p, m in rows)
    return Drawing(
        figure,
        alt=f"Bars of the parameters and of the multiply-accumulates of each network. {listed}.",
        caption="ResNeXt-29 for 32 × 32 images at different cardinalities.",
    )
