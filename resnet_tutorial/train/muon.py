"""Muon: momentum whose step has no preferred direction, for the kernels of convolutions.

Source: K. Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks",
https://kellerjordan.github.io/posts/muon/.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from resnet_tutorial.train.evaluate import autocast


def orthogonalise(matrices: Tensor, iterations: int = 4) -> Tensor:
    """Return matrices (n, rows, columns) with the same directions and all singular values near 1.

    A Newton-Schulz iteration: only products of matrices, which every device does fast.
    """
    # a s + b s^3 + c s^5 brings every s from 0 to 1 near 1 when it is applied again and again; these
    # numbers grow small ones fast, and let large ones settle between 0.7 and 1.2.
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = matrices.shape[1] <= matrices.shape[2]
    x = matrices if wide else matrices.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)  # now no singular value is above 1
    for _ in range(iterations):
        square = x @ x.mT  # the smaller of the two possible squares
        x = a * x + (b * square + c * square @ square) @ x
    return x if wide else x.mT


class Muon(torch.optim.Optimizer):
    """Nesterov momentum whose step is orthogonalised, kernel by kernel.

    A kernel (out, in, k, k) is a matrix of `out` rows. In its gradient a few directions outweigh all
    others by far, and plain descent learns those first; here every direction gets the same length.
    The weights are kept at a fixed length, one for each row: batch norm takes the scale out again,
    and so the learning rate is about the angle by which a step turns them.  (A kernel with more rows
    than columns has fewer directions than rows, and turns less: by the root of columns / rows.)

    Args:
        kernels: parameters of two or more dimensions.  A fixed length is meant for those with a batch norm
            behind them; `make_optimizers` gives it all kernels, so also a pre-activation block's last one.
        lr: the length of a step for weights of length one.
        momentum: the share of the old steps that is kept.
        products: the format in which the matrices are multiplied.
    """

    def __init__(self, kernels: Iterable[nn.Parameter], lr: float, momentum: float,
                 products: torch.dtype = torch.float32) -> None:
        super().__init__(kernels, {"lr": lr, "momentum": momentum})
        self.products = products

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # it takes none
        """Take one step; `closure` is not supported."""
        for group in self.param_groups:
            same_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for kernel in group["params"]:
                if kernel.grad is not None:
                    same_shape.setdefault(kernel.shape, []).append(kernel)
            for kernels in same_shape.values():  # together: one large product instead of many small
                self._step(kernels, group["lr"], group["momentum"])

    def _step(self, kernels: list[nn.Parameter], lr: float, momentum: float) -> None:
        """Move kernels of one shape."""
        for kernel in kernels:
            if not self.state[kernel]:
                self.state[kernel]["momentum"] = torch.zeros_like(kernel)
        gradients = [cast(Tensor, kernel.grad) for kernel in kernels]  # `step` has left out those without
        momenta = [self.state[kernel]["momentum"] for kernel in kernels]
        torch._foreach_mul_(momenta, momentum)
        torch._foreach_add_(momenta, gradients)
        directions = torch.stack([*torch._foreach_add(gradients, momenta, alpha=momentum)]).flatten(2)
        with autocast(directions.device, self.products):
            steps = orthogonalise(directions.float())  # (n, out, in * k * k)
        for kernel, step in zip(kernels, steps, strict=True):
            kernel.mul_(len(kernel) ** 0.5 / kernel.norm())
            kernel.add_(step.view_as(kernel), alpha=-lr)
