"""Solutions of chapter 4, and the four branches that one of its exercises asks to read."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..blocks import needs_projection
from ..shapes import conv_macs, conv_output_size, conv_params


def pointwise_conv(x: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
    """Return the 1x1 convolution of ``x``, computed as a matrix product.

    Shapes: ``x`` is ``(N, C, H, W)``, ``weight`` is ``(D, C)``, the result is
    ``(N, D, ceil(H / stride), ceil(W / stride))``.
    """
    x = x[:, :, ::stride, ::stride]  # a 1x1 kernel reads only the pixels it stands on
    n, c, h, w = x.shape
    y = weight @ x.reshape(n, c, h * w)  # (D, C) @ (N, C, H*W) -> (N, D, H*W)
    return y.reshape(n, -1, h, w)


def bottleneck_cost(
    in_channels: int, planes: int, size: int, stride: int = 1
) -> tuple[int, int]:  # fmt: skip
    """Return parameters and multiply-accumulates of a bottleneck (v1.5).

    Parameters: convolutions without bias, batch norms with two numbers a
    channel, the projection where the block needs one.
    Multiply-accumulates: convolutions only, for one image.

    Args:
        in_channels: channels of the input.
        planes: width of the 3x3; the output has four times as many channels.
        size: height and width of the input.
        stride: of the block.
    """
    out_channels, out_size = 4 * planes, conv_output_size(size, 3, stride, padding=1)
    layers = [  # (in, out, kernel, size of the output)
        (in_channels, planes, 1, size),
        (planes, planes, 3, out_size),
        (planes, out_channels, 1, out_size),
    ]
    if needs_projection(in_channels, out_channels, stride):
        layers.append((in_channels, out_channels, 1, out_size))
    params = sum(conv_params(c_in, c_out, k) + 2 * c_out for c_in, c_out, k, _ in layers)
    return params, sum(conv_macs(*layer) for layer in layers)


def branch_a(c: int, s: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c, 64, 1, s, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Conv2d(64, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Conv2d(64, 256, 1, bias=False), nn.BatchNorm2d(256),
    )  # fmt: skip


def branch_b(c: int, s: int) -> nn.Sequential:
    layers = []
    for k, out, step in zip((1, 3, 1), (64, 64, 256), (1, s, 1), strict=True):
        conv = nn.Conv2d(c, out, k, step, k // 2, bias=False)
        layers += [conv, nn.BatchNorm2d(out), nn.ReLU()]
        c = out
    return nn.Sequential(*layers[:-1])


def branch_c(c: int, s: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c, 64, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Conv2d(64, 256, 1, stride=s, bias=False), nn.BatchNorm2d(256),
    )  # fmt: skip


def branch_d(c: int, s: int) -> nn.Sequential:
    subsample = nn.MaxPool2d(1, s) if s > 1 else nn.Identity()
    return nn.Sequential(subsample, *branch_a(c, 1))


def stride_placements() -> dict[str, str]:
    """Return which version each branch is: "v1", "v1.5" or "neither"."""
    return {
        "a": "v1",  # the fourth argument of Conv2d is the stride
        "b": "v1.5",  # of the three strides (1, s, 1) the second belongs to the 3x3
        "c": "neither",  # the last 1x1: the 3x3 is computed everywhere, then thinned out
        "d": "v1",  # pooling over one pixel only drops pixels, as a strided 1x1 does
    }


def unseen_pixels(module: nn.Module, in_channels: int, size: int) -> Tensor:
    """Return a mask, ``(size, size)``: true where no output depends on it.

    Args:
        module: maps ``(N, in_channels, size, size)`` to another feature map.
        in_channels: channels of the input.
        size: height and width of the input.
    """
    x = torch.randn(4, in_channels, size, size, requires_grad=True)
    y = module(x)
    # Random weights: a plain sum can cancel, and behind a batch norm it does.
    (gradient,) = torch.autograd.grad((y * torch.randn_like(y)).sum(), x)
    return (gradient == 0).all(dim=1).all(dim=0)
