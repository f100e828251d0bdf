"""The convolution explorer: size, kernel, stride, padding, dilation and groups, with everything that follows."""

from __future__ import annotations

from html import escape

from traitlets import Int, TraitError, validate
from traitlets.utils.bunch import Bunch

from ..shapes import conv_macs, conv_output_size, conv_params
from .base import Widget


def _state(value: int, least: int, most: int) -> Int:
    return Int(value, min=least, max=most).tag(sync=True, state=True)


class ConvolutionExplorer(Widget):
    """A window that moves over an image, the formula of the output's size, and the channels' connections.

    Args:
        size: pixels along each side of the image, 1 to 14.
        kernel: 1 to 7.
        stride: 1 to 5.
        padding: 0 to 4 on each side.
        dilation: 1 to 4.
        row, column: the output position whose window is shown, from 1.
        in_channels, out_channels: 1 to 16.
        groups: a divisor of both.

    Raises:
        TraitError: if a value is out of its range, or the groups do not divide the channels.
    """

    _script = "convolution"

    size = _state(8, 1, 14)
    kernel = _state(3, 1, 7)
    stride = _state(1, 1, 5)
    padding = _state(1, 0, 4)
    dilation = _state(1, 1, 4)
    row = _state(1, 1, 22)
    column = _state(1, 1, 22)
    in_channels = _state(8, 1, 16)
    out_channels = _state(8, 1, 16)
    groups = _state(1, 1, 16)

    @validate("groups")
    def _divides(self, proposal: Bunch) -> int:
        groups = proposal["value"]
        if self.in_channels % groups or self.out_channels % groups:
            raise TraitError(
                f"groups={groups} does not divide {self.in_channels} input and {self.out_channels} output channels."
            )
        return groups

    def fallback(self) -> str:
        """Return the numbers of these settings as a table."""
        one_axis = self.size, self.kernel, self.stride, self.padding, self.dilation
        try:
            side = conv_output_size(*one_axis)
        except ValueError:
            side = 0
        channels = self.in_channels, self.out_channels, self.kernel
        macs = conv_macs(*channels, side, groups=self.groups) if side else 0
        rows = {
            "input": f"{self.size} × {self.size}",
            "kernel, stride, padding, dilation": ", ".join(map(str, one_axis[1:])),
            "output": f"{side} × {side}" if side else "the kernel does not fit",
            "channels in, out, groups": f"{self.in_channels}, {self.out_channels}, {self.groups}",
            "weights": f"{conv_params(*channels, groups=self.groups):,}",
            "multiply-accumulates": f"{macs:,}",
        }
        cells = "".join(f"<tr><th scope='row'>{escape(name)}</th><td>{value}</td></tr>" for name, value in rows.items())
        return f"<table><caption>A convolution and what follows from its settings</caption>{cells}</table>"
