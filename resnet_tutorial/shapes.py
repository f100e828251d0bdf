"""The arithmetic of convolutions: sizes, parameters, multiply-accumulates, receptive fields.

Plain integers in, plain integers out; nothing here needs torch.
The rules are those of ``torch.nn.Conv2d`` (see its documentation, section "Shape").
"""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral  # of Python and of numpy
from typing import NamedTuple


def require_sizes(**sizes: int) -> None:
    """Raise a ``ValueError`` that names the first argument that is not a positive integer."""
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name} must be a whole number of 1 or more, not {value!r}.")


def require_groups(in_channels: int, out_channels: int, groups: int) -> None:
    """Raise a ``ValueError`` unless ``groups`` divides both numbers of channels."""
    require_sizes(in_channels=in_channels, out_channels=out_channels, groups=groups)
    for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
        if channels % groups:
            raise ValueError(
                f"groups={groups} does not divide {name}={channels}: "
                f"each group needs the same whole number of channels."
            )


def conv_output_size(
    size: int, kernel_size: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> int:
    """Return the side length, in pixels, that a convolution or a pooling gives.

    ``floor((size + 2 padding - dilation (kernel_size - 1) - 1) / stride) + 1``
    for an input of side length ``size``.

    Raises:
        ValueError: if an argument is out of range, or the kernel does not fit once.
    """
    require_sizes(size=size, kernel_size=kernel_size, stride=stride, dilation=dilation)
    if isinstance(padding, bool) or not isinstance(padding, Integral) or padding < 0:
        raise ValueError(f"padding must be a whole number of 0 or more, not {padding!r}.")
    extent = dilation * (kernel_size - 1) + 1
    if extent > size + 2 * padding:
        raise ValueError(
            f"a kernel that spans {extent} pixels does not fit into {size} pixels "
            f"with a padding of {padding}: enlarge the input or the padding."
        )
    return (size + 2 * padding - extent) // stride + 1


def conv_params(
    in_channels: int, out_channels: int, kernel_size: int, groups: int = 1,
    bias: bool = False,
) -> int:
    """Return the number of weights (and biases) of a square convolution.

    Raises:
        ValueError: if a size is not positive, or ``groups`` does not divide the
            channels.
    """
    require_sizes(kernel_size=kernel_size)
    require_groups(in_channels, out_channels, groups)
    weights = out_channels * (in_channels // groups) * kernel_size**2
    return weights + (out_channels if bias else 0)


def conv_macs(
    in_channels: int, out_channels: int, kernel_size: int, out_size: int | tuple[int, int],
    groups: int = 1,
) -> int:
    """Return the multiply-accumulates of a square convolution for one image.

    Every weight is used once at every output position; the bias is not counted.
    ``out_size`` is the height and width of the output (one number for a square).

    Raises:
        ValueError: if a size is not positive or ``groups`` does not divide the channels.
    """
    height, width = (out_size, out_size) if isinstance(out_size, int | Integral) else out_size
    require_sizes(height=height, width=width)
    return conv_params(in_channels, out_channels, kernel_size, groups) * height * width


def conv_receptive_field(kernel_size: int, dilation: int = 1) -> int:
    """Return how many input pixels (along one axis) one output pixel of one layer sees."""
    require_sizes(kernel_size=kernel_size, dilation=dilation)
    return dilation * (kernel_size - 1) + 1


class ReceptiveField(NamedTuple):
    """What a stack of layers sees: ``size`` and ``jump`` in input pixels along one axis.

    ``jump`` is the distance between the fields of two neighbouring outputs,
    that is the product of all strides so far.
    """

    size: int
    jump: int

    def through(self, kernel_size: int, stride: int = 1, dilation: int = 1) -> ReceptiveField:
        """Return the field after one more layer."""
        require_sizes(stride=stride)
        grown = self.size + (conv_receptive_field(kernel_size, dilation) - 1) * self.jump
        return ReceptiveField(grown, self.jump * stride)


def receptive_field(layers: Iterable[tuple[int, ...]]) -> ReceptiveField:
    """Return the receptive field of layers given as ``(kernel_size, stride[, dilation])``.

    >>> receptive_field([(7, 2), (3, 2)])  # the stem of a ResNet
    ReceptiveField(size=11, jump=4)
    """
    field = ReceptiveField(size=1, jump=1)
    for layer in layers:
        field = field.through(*layer)
    return field


def bottleneck_width(planes: int, groups: int = 1, base_width: int = 64) -> int:
    """Return the channels of a bottleneck's 3x3 convolution, over all groups together.

    ``int(planes * base_width / 64) * groups``: with 64 planes, 32 groups of base width 4
    give 128 channels; one group of base width 64 gives ``planes``.

    Raises:
        ValueError: if an argument is not positive, or the width of a group comes out as zero.
    """
    require_sizes(planes=planes, groups=groups, base_width=base_width)
    width_per_group = planes * base_width // 64
    if width_per_group == 0:
        raise ValueError(
            f"planes={planes} with base_width={base_width} leaves less than one channel a group: "
            f"planes x base_width must be at least 64."
        )
    return width_per_group * groups
