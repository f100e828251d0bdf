"""A residual block as a small program, which can be run, and which a fault is an edit of.

The reference of every check is ``right_program(plan)``; ``faults.py`` edits it into each of the
blocks that learners write instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .plan import Layer, Plan, Role, key

EPS, MOMENTUM = 1e-5, 0.1  # nn.BatchNorm2d's defaults


class Values:
    """The numbers a program computes with: one tensor for each role.

    A role that was given none gets the tensor of its *shape*: all kernels of one shape are the
    same then, and all vectors of one length, so that a program's output does not depend on which
    of the learner's parameters plays which role. With ``track`` the running statistics are kept.
    """

    def __init__(
        self, given: dict[Role, Tensor] | None = None, shared: Values | None = None, track: bool = False
    ) -> None:
        self.given = given or {}
        self.by_shape: dict[tuple[int, ...], Tensor] = shared.by_shape if shared else {}
        self.training, self.tracks = True, track
        self.statistics: dict[str, tuple[Tensor, Tensor]] = {}
        self.momentum = MOMENTUM

    def of_shape(self, shape: tuple[int, ...]) -> Tensor:
        """Return the tensor that all roles of this shape share, drawn when first asked for.

        A matrix stored the other way round is the transposed of it, and a square one is symmetric.
        """
        name = key(shape)
        if name not in self.by_shape:
            turned = self.by_shape.get(name[::-1]) if len(name) == 2 else None
            new = draw(shape) if turned is None else turned.reshape(name[::-1]).T
            if len(name) == 2 and name[0] == name[1]:
                new = new.reshape(name)
                new = (new + new.T) / 2**0.5
            self.by_shape[name] = new
        return self.by_shape[name].reshape(shape)

    def get(self, role: Role, shape: tuple[int, ...]) -> Tensor:
        """Return the tensor of a role."""
        if role in self.given:
            return self.given[role].reshape(shape)
        return self.of_shape(shape)

    def kernel(self, layer: Layer) -> Tensor:
        """Return a layer's whole kernel."""
        if layer.parts == 1:
            return self.get((layer.name, "kernel", 0), layer.kernel)
        shape = list(layer.kernel)
        shape[layer.cut] //= layer.parts
        pieces = [self.get((layer.name, "kernel", part), tuple(shape)) for part in range(layer.parts)]
        return torch.cat(pieces, dim=layer.cut)

    def vector(self, layer: Layer, kind: str, channels: int) -> Tensor:
        """Return the gain or the shift of the batch norm behind a layer."""
        parts = layer.norm_parts
        if parts == 1:
            return self.get((layer.name, kind, 0), (channels,))
        return torch.cat([self.get((layer.name, kind, part), (channels // parts,)) for part in range(parts)])

    def track(self, name: str, x: Tensor) -> None:
        """Move a batch norm's running statistics towards those of ``x``."""
        mean, var = self.statistics_of(name, x)
        count = x.numel() // x.shape[1]
        axes = (0, 2, 3)
        seen = x.detach().mean(axes), x.detach().var(axes, unbiased=count > 1)
        moved = [old.lerp(new, self.momentum) for old, new in zip((mean, var), seen, strict=True)]
        self.statistics[name] = moved[0], moved[1]

    def statistics_of(self, name: str, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the running mean and variance, 0 and 1 before the first step."""
        return self.statistics.get(name, (x.new_zeros(x.shape[1]), x.new_ones(x.shape[1])))


def draw(shape: tuple[int, ...]) -> Tensor:
    """Draw a kernel of ordinary size, or a vector of gains and shifts, large ones and negative ones."""
    values = torch.randn(shape, dtype=torch.float64)
    if len(key(shape)) > 1:
        return values * (2 / (values.numel() / shape[0])) ** 0.5
    return (0.5 + 4 * torch.rand(shape, dtype=torch.float64)) * values.sign()


def _layer_norm(x: Tensor) -> Tensor:
    return F.group_norm(x, 1, eps=EPS)


# Besides "batch", and "running": batch norm that never leaves evaluation mode.
NORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "instance": lambda x: F.instance_norm(x, eps=EPS),
    "layer": _layer_norm,
    "group 2": lambda x: F.group_norm(x, 2, eps=EPS),
    "group 4": lambda x: F.group_norm(x, 4, eps=EPS),
    "group 8": lambda x: F.group_norm(x, 8, eps=EPS),
    "channels / 2": lambda x: F.group_norm(x, max(1, x.shape[1] // 2), eps=EPS),
    "channels / 4": lambda x: F.group_norm(x, max(1, x.shape[1] // 4), eps=EPS),
    "channels / 8": lambda x: F.group_norm(x, max(1, x.shape[1] // 8), eps=EPS),
    "channels": lambda x: F.layer_norm(x.movedim(1, -1), (x.shape[1],), eps=EPS).movedim(-1, 1),
}

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "ReLU": F.relu,
    "ReLU6": F.relu6,
    "LeakyReLU": F.leaky_relu,
    "LeakyReLU(0.1)": lambda x: F.leaky_relu(x, 0.1),
    "LeakyReLU(0.2)": lambda x: F.leaky_relu(x, 0.2),
    "LeakyReLU(0.3)": lambda x: F.leaky_relu(x, 0.3),
    "Mish": F.mish,
    "GELU": F.gelu,
    "SiLU": F.silu,
    "ELU": F.elu,
    "SELU": F.selu,
    "Softplus": F.softplus,
    "Hardswish": F.hardswish,
    "Tanh": torch.tanh,
    "Sigmoid": torch.sigmoid,
    "PReLU": lambda x: F.leaky_relu(x, 0.25),
    "absolute value": torch.abs,
}


@dataclass(frozen=True)
class Conv:
    """A layer's convolution, padded to keep the size at stride 1."""

    layer: Layer
    stride: int
    dilation: int = 1
    padding_mode: str = "zeros"

    def __call__(self, x: Tensor, values: Values) -> Tensor:
        padding = self.dilation * (self.layer.size // 2)
        if self.padding_mode == "same":  # TensorFlow's: what is missing, the odd one behind
            lacking = [max(0, (-(-n // self.stride) - 1) * self.stride + self.layer.size - n) for n in x.shape[2:]]
            x = F.pad(x, [w for n in reversed(lacking) for w in (n // 2, n - n // 2)])
            padding = 0
        elif self.padding_mode != "zeros":
            x, padding = F.pad(x, [padding] * 4, mode=self.padding_mode), 0
        kernel = values.kernel(self.layer)
        return F.conv2d(x, kernel, None, self.stride, padding, self.dilation, self.layer.groups)


@dataclass(frozen=True)
class Norm:
    """The normalisation that belongs to a layer."""

    layer: Layer
    kind: str = "batch"
    eps: float = EPS
    affine: bool = True

    def __call__(self, x: Tensor, values: Values) -> Tensor:
        gain, shift = x.new_ones(x.shape[1]), x.new_zeros(x.shape[1])
        if self.affine:
            gain = values.vector(self.layer, "gain", x.shape[1])
            shift = values.vector(self.layer, "shift", x.shape[1])
        if self.kind == "batch" and values.training:
            if values.tracks:
                values.track(self.layer.name, x)
            return F.batch_norm(x, None, None, gain, shift, True, 0.0, self.eps)
        if self.kind in ("batch", "running"):
            mean, var = values.statistics_of(self.layer.name, x)
            return F.batch_norm(x, mean, var, gain, shift, False, 0.0, self.eps)
        return NORMS[self.kind](x) * gain[:, None, None] + shift[:, None, None]


@dataclass(frozen=True)
class Bias:
    """A convolution's own bias, where no batch norm takes it away."""

    layer: Layer

    def __call__(self, x: Tensor, values: Values) -> Tensor:
        return x + values.vector(self.layer, "shift", x.shape[1])[:, None, None]


@dataclass(frozen=True)
class Act:
    """An activation."""

    name: str = "ReLU"

    def __call__(self, x: Tensor, values: Values) -> Tensor:
        return ACTIVATIONS[self.name](x)


@dataclass(frozen=True)
class Pool:
    """Average pooling in place of a stride."""

    stride: int
    largest: bool = False

    def __call__(self, x: Tensor, values: Values) -> Tensor:
        pool = F.max_pool2d if self.largest else F.avg_pool2d
        return pool(x, self.stride, ceil_mode=True)


@dataclass(frozen=True)
class Detach:
    """The end of the road for gradients."""

    def __call__(self, x: Tensor, values: Values) -> Tensor:
        return x.detach()


Step = Conv | Norm | Bias | Act | Pool | Detach

JOINS = {
    "add": lambda f, s: f + s,
    "branch only": lambda f, s: f,
    "shortcut only": lambda f, s: s,
    "shortcut twice": lambda f, s: f + 2 * s,
    "branch twice": lambda f, s: f + f,
    "branch twice and shortcut": lambda f, s: 2 * f + s,
    "branch minus shortcut": lambda f, s: f - s,
    "shortcut minus branch": lambda f, s: s - f,
    "multiply": lambda f, s: f * s,
    "shortcut times branch plus one": lambda f, s: s * (1 + f),
    "mean": lambda f, s: (f + s) / 2,
    "larger": torch.maximum,
    "smaller": torch.minimum,
    "0.5 branch": lambda f, s: 0.5 * f + s,
    "0.1 branch": lambda f, s: 0.1 * f + s,
    "0.2 branch": lambda f, s: 0.2 * f + s,
    "0.5 shortcut": lambda f, s: f + 0.5 * s,
    "0.1 shortcut": lambda f, s: f + 0.1 * s,
    "sum over the square root of 2": lambda f, s: (f + s) / 2**0.5,
    "gate": lambda f, s: torch.sigmoid(f) * s,
}


@dataclass(frozen=True)
class Program:
    """``after(join(branch(x), shortcut(x)))``, each a sequence of steps.

    ``before`` is done to ``x`` first; the shortcut starts behind that many steps of the branch as
    ``shortcut_from`` says, at ``x`` with 0.
    """

    branch: tuple[Step, ...]
    shortcut: tuple[Step, ...] = ()
    join: str = "add"
    after: tuple[Step, ...] = (Act(),)
    before: tuple[Step, ...] = ()
    shortcut_from: int = 0

    def __call__(self, x: Tensor, values: Values) -> Tensor:
        """Run it.

        Raises:
            RuntimeError: where the two sides do not fit together.
        """
        branch, shortcut = self.sides(x, values)
        if branch.shape != shortcut.shape:
            raise RuntimeError("branch and shortcut differ in shape.")
        return _through(self.after, JOINS[self.join](branch, shortcut), values)

    def sides(self, x: Tensor, values: Values) -> tuple[Tensor, Tensor]:
        """Return what arrives at the addition: from the branch, from the shortcut."""
        seen = [_through(self.before, x, values)]
        for step in self.branch:
            seen.append(step(seen[-1], values))
        return seen[-1], _through(self.shortcut, seen[self.shortcut_from], values)


def _through(steps: tuple[Step, ...], x: Tensor, values: Values) -> Tensor:
    for step in steps:
        x = step(x, values)
    return x


def right_program(plan: Plan) -> Program:
    """Return the block as it should be: batch norm behind each convolution, ReLU between layers."""
    branch: list[Step] = []
    for number, layer in enumerate(plan.branch):
        branch += [Conv(layer, layer.stride), Norm(layer)]
        if number < len(plan.branch) - 1:
            branch.append(Act())
    shortcut: tuple[Step, ...] = ()
    if plan.projection:
        shortcut = (Conv(plan.projection, plan.projection.stride), Norm(plan.projection))
    return Program(tuple(branch), shortcut)
