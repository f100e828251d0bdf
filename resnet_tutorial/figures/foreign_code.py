"""Figures of chapter 11: a block as posts print it, the screening, fixed pooling, training with a fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.patches import Rectangle

from .core import Drawing, new_figure, styled
from .diagrams import Block, block_diagram
from .palette import FILL, INK, LINES, ON_FILL


def specimen_block() -> Drawing:
    """Draw the book's Conv block beside the chapter's specimen."""
    return block_diagram(
        Block(
            "The book's",
            ("1×1 conv", "BN, ReLU", "3×3 conv, /2", "BN, ReLU", "1×1 conv", "BN"),
            shortcut=("1×1 conv, /2", "BN"),
        ),
        Block(
            "The specimen",
            ("1×1 + bias, /2", "BN, ReLU", "3×3 + bias", "BN, ReLU", "1×1 + bias", "BN, ReLU"),
            shortcut=("1×1 + bias, /2",),
        ),
        alt="Two blocks side by side. Compared with the book's, the specimen has biases in all its convolutions, "
        "the stride in the first 1 by 1 convolution instead of the 3 by 3, a ReLU at the end of the branch, "
        "and no batch norm on its shortcut.",
        caption="Both at stride 2. A missing projection does not show here: it is missing at stride 1.",
    )


_QUESTIONS = {
    "failing cases": "shapes",
    "extra parameters": "parameters",
    "backward": "backward",
    "lowers a value": "lowers a value",
    "copies at zero": "x at zero",
    "gradient at zero": "gradient at zero",
    "distance, stride 1": "equal at stride 1",
    "distance, stride 2": "equal at stride 2",
}


def _cell(question: str, answer: Any) -> str:
    """Return what stands in a cell: nothing where the book's block would answer the same."""
    if question == "failing cases":
        return f"{len(answer)}/4" if answer else ""
    if question == "extra parameters":
        return f"{answer:+}".replace("-", "−") if answer else ""
    if question == "backward":
        return "×" if answer else ""
    if question == "lowers a value":
        return "" if answer else "no"
    if question.startswith("distance"):
        return "×" if answer is None else "≠" if answer > 1e-9 else ""
    return "" if answer == 1 else "0"


@styled
def screening_table(answers: Mapping[str, Mapping[str, object]]) -> Drawing:
    """Draw which experiment answers differently from the book's block.

    Args:
        answers: a block's name -> what ``examine`` returned for it.
    """
    figure, ax = new_figure(5.0, 0.29 * len(answers) + 1.4)
    ax.set_axis_off()
    told = []
    for row, (name, found) in enumerate(answers.items()):
        ax.text(-0.1, -row, name, ha="right", va="center", fontsize=9.5)
        seen = []
        for column, (question, title) in enumerate(_QUESTIONS.items()):
            text = _cell(question, found[question]) if question in found else "–"
            fill = FILL["linear"] if not text else FILL["other"] if text == "–" else FILL["zero"]
            ax.add_patch(Rectangle((column + 0.04, -row - 0.44), 0.92, 0.88, facecolor=fill, edgecolor="none"))
            ax.text(column + 0.5, -row, text or "ok", ha="center", va="center", fontsize=9.5, color=ON_FILL)
            if text not in ("", "–"):
                seen.append(title)
            if row == 0:
                ax.text(column + 0.5, 0.6, title, ha="center", va="bottom", rotation=90, fontsize=9.5)
        told.append(f"{name}: {', '.join(seen) or 'nothing'}")
    ax.set_xlim(-4.2, len(_QUESTIONS))
    ax.set_ylim(-len(answers) + 0.5, 5.0)
    return Drawing(
        figure,
        "A table of blocks and experiments. The experiments that find something are, for " + "; ".join(told) + ".",
        "Red: another answer than the book's block gives. Shapes: cases that fail. Parameters: how many too many. "
        "A cross: backward raises, or the weights do not fit. A dash: cannot be asked.",
    )


@styled
def pooling_reads(kernel: int = 7, sizes: Sequence[int] = range(150, 480)) -> Drawing:
    """Draw which share of the last feature map a fixed pooling reads, by image size."""
    figure, ax = new_figure(5.6, 2.9)
    low, whole, high = 32 * (kernel - 1) + 1, 32 * kernel, 32 * (2 * kernel - 1)
    working = [size for size in sizes if low <= size <= high]
    shares = [100 * (kernel / -(-size // 32)) ** 2 for size in working]
    for left, right, words in (
        (sizes[0], low, "map too\nsmall"), (high + 1, sizes[-1], "classifier\ndoes not fit"),
    ):  # fmt: skip
        ax.axvspan(left, right, color=FILL["zero"], alpha=0.75, linewidth=0)
        ax.text((left + right) / 2, 50, words, ha="center", va="center", fontsize=9, color=ON_FILL)
    ax.step(working, shares, where="post", color=LINES[0], label=f"AvgPool2d({kernel})")
    ax.axhline(100, color=LINES[1], linestyle="--", label="mean over the whole map")
    for size in (low, whole, high):
        ax.axvline(size, color=INK, linewidth=0.8, linestyle=":")
    ax.set_xticks([low, whole, 288, 352, high])
    ax.set_xlim(sizes[0], sizes[-1])
    ax.set_ylim(0, 108)
    ax.set_xlabel("image size in pixels")
    ax.set_ylabel("% of the last map read")
    ax.legend(loc="lower center", fontsize=9)
    return Drawing(
        figure,
        f"A falling staircase: a pooling of {kernel} by {kernel} reads the whole last map from {low} to {whole} "
        f"pixels, then less and less, {shares[-1]:.0f} per cent at {high} pixels. Below {low} and above {high} "
        "the network fails.",
        "Only between the coloured areas does the network run, and only in the first step is nothing lost.",
    )


@styled
def faulty_training_curves(losses: Mapping[str, Sequence[float]], floor: float) -> Drawing:
    """Draw training losses, and a loss below which no chain of adding blocks can come."""
    figure, ax = new_figure(5.4, 3.0)
    for index, ((name, values), style) in enumerate(zip(losses.items(), ("-", "--", "-."), strict=False)):
        ax.plot(range(1, len(values) + 1), values, style, color=LINES[index], label=name)
    ax.axhline(floor, color=INK, linewidth=1.2, linestyle=":", label="least loss of blocks that only add")
    ax.set_yscale("log")
    ax.set_ylim(min(floor, *(min(values) for values in losses.values())) * 0.8, None)
    ax.set_xlabel("training step")
    ax.set_ylabel("mean squared error")
    ax.margins(x=0.01)
    ax.legend(loc="upper right", fontsize=9)
    told = "; ".join(f"{name} ends at {values[-1]:.2g}" for name, values in losses.items())
    return Drawing(
        figure,
        f"Curves of the training loss on a logarithmic axis. {told}. A dotted line at {floor:.2g} marks the least "
        "loss that blocks can reach which only add.",
        "Four blocks learn to blur. The extra ReLU keeps its curve above the dotted line, whatever the weights.",
    )
