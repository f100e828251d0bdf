"""The ResNeXt explorer: cardinality against width at one cost, and the three forms of the block."""

from __future__ import annotations

from html import escape

from traitlets import Enum, Int, TraitError, observe, validate
from traitlets.utils.bunch import Bunch

from ..shapes import bottleneck_width, conv_macs, conv_params
from .base import Widget

CARDINALITIES = (1, 2, 4, 8, 16, 32, 64)
STAGES = {256: 56, 512: 28, 1024: 14, 2048: 7}  # channels in and out -> pixels along a side of the map
_PLAIN = (1, 64)
_FORMS = {
    "a": "(a) split-transform-merge", "b": "(b) early concatenation", "c": "(c) grouped convolution",
}  # fmt: skip


def _state(values: tuple, default: int | str) -> Enum:
    return Enum(values, default).tag(sync=True, state=True)


class ResNeXtExplorer(Widget):
    """A bottleneck block with its paths, in three forms, and its cost beside the plain block's.

    Args:
        cardinality: number of paths: 1, 2, 4, 8, 16, 32 or 64.
        width: channels of a path in the first stage, the 4 in 32×4d; 1 to 64.
        channels: in and out of the block: 256, 512, 1024 or 2048; the map's size follows from them.
        form: ``"a"`` sums the paths, ``"b"`` concatenates them before the last 1x1, ``"c"`` has a grouped 3x3.
        keep: ``"parameters"`` or ``"macs"`` lets the cardinality decide about the width, so that the convolutions cost
            what those of the plain block (1×64d) do, as nearly as possible; ``"nothing"`` leaves the width free.

    Raises:
        TraitError: if a value is not among these, or a width is given and the cost is to be kept with another one.
    """

    _script = "resnext"

    cardinality = _state(CARDINALITIES, 32)
    width = Int(4, min=1, max=64).tag(sync=True, state=True)
    channels = _state(tuple(STAGES), 256)
    form = _state(tuple(_FORMS), "c")
    keep = _state(("parameters", "macs", "nothing"), "parameters")

    @validate("width")
    def _keeps(self, proposal: Bunch) -> int:
        width = proposal["value"]
        if self.keep != "nothing" and width != (kept := equal_width(self.cardinality, self.channels)):
            raise TraitError(
                f"width={width} does not keep the {self.keep} equal, width={kept} does; "
                f"for a width of your own choose keep='nothing'."
            )
        return width

    @observe("cardinality", "channels", "keep")
    def _follow(self, change: Bunch) -> None:
        if self.keep != "nothing":
            self.width = equal_width(self.cardinality, self.channels)

    def fallback(self) -> str:
        """Return the block's numbers and the plain block's as a table."""
        mine = _rows(self.cardinality, self.width, self.channels)
        plain = _rows(*_PLAIN, self.channels)
        cells = "".join(
            f"<tr><th scope='row'>{escape(name)}</th><td>{value:,}</td><td>{plain[name]:,}</td></tr>"
            for name, value in mine.items()
        )
        name = f"{self.cardinality}×{self.width}d"
        return (
            f"<table><caption>A ResNeXt block in form {_FORMS[self.form]}, and the plain block</caption>"
            f"<tr><td></td><th scope='col'>{name}</th><th scope='col'>plain 1×64d</th></tr>{cells}</table>"
        )


def _convolutions(cardinality: int, width: int, channels: int) -> list[tuple[int, int, int, int]]:
    """Return (channels in, channels out, kernel, groups) of the three convolutions."""
    middle = bottleneck_width(channels // 4, cardinality, width)
    return [(channels, middle, 1, 1), (middle, middle, 3, cardinality), (middle, channels, 1, 1)]


def equal_width(cardinality: int, channels: int = 256) -> int:
    """Return the width whose weights come nearest to the plain block's; its MACs then do as well."""

    def weights(cardinality: int, width: int) -> int:
        return sum(conv_params(*layer) for layer in _convolutions(cardinality, width, channels))

    wanted = weights(*_PLAIN)
    return min(range(1, 65), key=lambda width: abs(weights(cardinality, width) - wanted))


def _rows(cardinality: int, width: int, channels: int) -> dict[str, int]:
    layers = _convolutions(cardinality, width, channels)
    each = [conv_params(*layer) for layer in layers]
    norms = sum(2 * layer[1] for layer in layers)
    return {
        "channels in and out": channels,
        "channels in the middle": layers[1][0],
        **dict(zip(("parameters, 1×1 reduce", "parameters, 3×3", "parameters, 1×1 expand"), each, strict=True)),
        "parameters, three convolutions": sum(each),
        "parameters, batch norms": norms,
        "parameters, whole block": sum(each) + norms,
        "MACs": sum(conv_macs(*layer[:3], STAGES[channels], layer[3]) for layer in layers),
    }
