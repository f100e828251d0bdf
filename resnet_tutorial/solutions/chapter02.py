"""Solutions of chapter 2, the shape of a convolution, that have no home in ``shapes``."""

from __future__ import annotations

from ..shapes import conv_output_size


def pixels_seen(
    size: int, kernel_size: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> int:
    """Return how many of the ``size`` pixels of a row some output reads.

    Padding is not a pixel: only positions from 0 to ``size - 1`` count.
    """
    seen = set()
    outputs = conv_output_size(size, kernel_size, stride, padding, dilation)
    for output in range(outputs):
        for tap in range(kernel_size):
            seen.add(output * stride - padding + tap * dilation)
    return len(seen & set(range(size)))


def sizes_that_give_seven() -> tuple[int, int]:
    """Return the smallest and the largest image side that end as 7."""
    # Five halvings that round up are one division by 32 that does: ceil(side / 32) is 7.
    return 6 * 32 + 1, 7 * 32


def find_shrinking_layer() -> tuple[int, int]:
    """Return the index of the layer at fault, and the padding that mends it."""
    # Its taps stand at 0, 2 and 4: five pixels, so two are needed at either end.
    return 2, 2


def field_of_stack(layers: list[tuple[int, int, int]]) -> tuple[int, int]:
    """Return the receptive field's size, and the jump, in input pixels.

    Each layer is ``(kernel_size, stride, dilation)``, the first one first.
    Without a layer a value sees itself: ``(1, 1)``.
    """
    size, jump = 1, 1
    for kernel_size, stride, dilation in layers:
        size += dilation * (kernel_size - 1) * jump  # a step is one jump
        jump *= stride
    return size, jump
