"""Solutions of chapter 2, the shape of a convolution, that have no home in ``shapes``."""

from __future__ import annotations

from ..shapes import conv_output_size


def pixels_seen(
    size: int, kernel_size: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> int:
    """Return how many of the ``size`` pixels of a row reach at least one output.

    Padding is not a pixel: only positions from 0 to ``size - 1`` count.
    """
    seen = set()
    for output in range(conv_output_size(size, kernel_size, stride, padding, dilation)):
        for tap in range(kernel_size):
            seen.add(output * stride - padding + tap * dilation)
    return len(seen & set(range(size)))


def sizes_that_give_seven() -> tuple[int, int]:
    """Return the smallest and the largest image side that a ResNet turns into a map of side 7."""

    def last_map(side: int) -> int:
        for _ in range(5):  # conv1, the pooling, and the first block of stages 2, 3 and 4
            side = conv_output_size(side, kernel_size=3, stride=2, padding=1)
        return side

    sides = [side for side in range(1, 500) if last_map(side) == 7]
    return min(sides), max(sides)  # ceil(side / 32) == 7


def find_shrinking_layer() -> tuple[int, int]:
    """Return the index of the layer that changes the size, and the padding that keeps it."""
    # Taps at 0, 2 and 4: the kernel spans 2 (3 - 1) + 1 = 5 pixels, so two are needed at either end.
    return 2, 2


def field_of_stack(layers: list[tuple[int, int, int]]) -> tuple[int, int]:
    """Return the receptive field of a stack, and its jump, in input pixels along one axis.

    Each layer is ``(kernel_size, stride, dilation)``, the first layer first.
    Without a layer a value sees itself: ``(1, 1)``.
    """
    size, jump = 1, 1
    for kernel_size, stride, dilation in layers:
        size += dilation * (kernel_size - 1) * jump  # the taps stand `jump` input pixels apart
        jump *= stride
    return size, jump
