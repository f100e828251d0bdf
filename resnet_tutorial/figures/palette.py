"""One palette for all figures: a colour per kind of layer, and colours for curves.

Fills are light, so that dark lettering is readable on them on a light and on a dark page.
Hues are spaced for colour-blind readers, and every box is labelled as well.
"""

from __future__ import annotations

# Lines and lettering outside boxes: Drawing turns this colour into the page's own text colour.
INK = "#0a0b0c"
# Lettering on a filled box.
ON_FILL = "#16181d"

FILL = {
    "conv1x1": "#f4bb78",  # orange
    "conv3x3": "#8cc3ec",  # blue
    "conv": "#8cc3ec",  # any other convolution
    "bn": "#d6d9e0",  # grey
    "relu": "#f3e27c",  # yellow
    "pool": "#cdb2e6",  # purple
    "linear": "#8fd6b9",  # green
    "add": "#f6f6f4",  # nearly white
    "zero": "#f0a9a0",  # red: zeros, faults
    "tensor": "#e6ebf2",  # pale blue-grey
    "other": "#e3ded6",
}

LINE = {
    "main": "#3b82c4",
    "shortcut": "#cf4a63",
    "grey": "#7d8590",
}

# For curves, in this order; each keeps a contrast of 3:1 on white and on the dark page.
LINES = ["#3b82c4", "#d2700f", "#21936a", "#c4528f", "#8065c9", "#7d8590"]


def kind_of(label: str) -> str:
    """Return the kind of layer that a box's label speaks of, a key of ``FILL``."""
    text = label.lower().replace("×", "x")
    if text.startswith("1x1"):
        return "conv1x1"
    if text.startswith("3x3") and "pool" not in text:
        return "conv3x3"
    for kind, words in {
        "pool": ("pool",), "bn": ("bn", "batch norm"), "relu": ("relu",),
        "linear": ("fc", "linear"), "zero": ("zero",), "conv": ("conv", "7x7", "5x5"),
        "add": ("+", "add"),
    }.items():  # fmt: skip
        if any(word in text for word in words):
            return kind
    return "other"
