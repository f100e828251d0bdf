"""What every figure is made with: a matplotlib canvas in the book's style, shown as inline SVG."""

from __future__ import annotations

import hashlib
import io
import re
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.figure import Figure

from .palette import INK, LINES

if TYPE_CHECKING:  # matplotlib 3.8 has no such name
    from matplotlib.typing import RcKeyType

_STYLE: dict[RcKeyType, Any] = {
    "svg.fonttype": "none",  # real text: it takes the page's font, and can be searched and read out
    "svg.hashsalt": "resnet-tutorial",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=LINES),
    "grid.alpha": 0.15,
    "grid.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.titlecolor": INK,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
# DejaVu Sans, with which the text was measured, is wider than any of these: nothing overlaps.
_FONTS = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"


# ``@styled`` on a function that draws: legends, lines and text made in it follow the book's style.
styled = mpl.rc_context(_STYLE)


def new_figure(
    width: float = 7.0, height: float = 3.2, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, Any]:
    """Return a figure in the book's style and its axes: an ``Axes``, or an array of them for a grid.

    Sizes are in inches; 7 inches are the width of the text. The figure belongs to no window
    and to no pyplot state, so nothing has to be closed.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(rows, columns, **options)
    return figure, axes


class Drawing:
    """A finished figure: inline SVG on a page or in a notebook, its description elsewhere.

    Args:
        figure: what :func:`new_figure` gave, drawn on.
        alt: what is to be seen, in one or two sentences, for those who cannot see it.
        caption: a sentence under the figure.
    """

    def __init__(self, figure: Figure, alt: str, caption: str = "") -> None:
        self.alt = alt
        self.caption = caption
        self._figure = figure
        self.svg = self._render()

    def _render(self) -> str:
        buffer = io.StringIO()
        with mpl.rc_context(_STYLE):
            self._figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        svg = buffer.getvalue()
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
        # What matplotlib writes for every element, a browser would apply to every element of the page.
        svg = re.sub(r"<defs>\s*<style[^>]*>\*\{[^}]*\}</style>\s*</defs>", "", svg, count=1)
        # Several drawings share one page: their ids must not meet.
        prefix = "d" + hashlib.sha1(svg.encode()).hexdigest()[:8]
        svg = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', svg)
        svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", svg)
        svg = re.sub(r'xlink:href="#([^"]+)"', rf'xlink:href="#{prefix}-\1"', svg)
        svg = svg.replace(INK, "currentColor").replace("'DejaVu Sans'", _FONTS)
        width = self._figure.get_figwidth() * 96
        least = 0.7 * width if width > 540 else min(0.7 * width, 320)
        opening = (
            f'<svg role="img" aria-label="{escape(self.alt, quote=True)}" '
            # On a phone a wide figure scrolls sideways: shrunk to fit, its lettering could not be read.
            # One that is only a little too wide is better seen whole.
            f'style="fill:currentColor;stroke-linejoin:round;stroke-linecap:butt;'
            f'width:100%;min-width:{least:.0f}px;max-width:{width:.0f}px;height:auto;overflow:visible" '
        )
        svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
        svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
        return svg.replace("<svg ", opening, 1)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        caption = f"<figcaption>{escape(self.caption)}</figcaption>" if self.caption else ""
        html = f'<figure class="drawing" tabindex="0" style="margin:1em 0;overflow-x:auto">{self.svg}{caption}</figure>'
        return {"text/html": html, "text/plain": f"[Figure: {self.alt}]"}

    def save(self, path: str | Path, **options: Any) -> None:
        """Write the figure to a file; the suffix says the format (``.png``, ``.pdf``, ``.svg``)."""
        with mpl.rc_context(_STYLE):
            self._figure.savefig(path, **{"facecolor": "white", "dpi": 150, **options})
