"""The judge of whole networks and of stages: the CIFAR ResNet, ResNeXt, a stage of bottlenecks.

Both networks, the learner's and the book's, get the same numbers in all parameters of one shape, so
that names and the order of registration do not matter. Where they differ, the book's network is
built with every fault that learners make until it gives what the learner's gives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..models import make_layer
from .common import begins_alive, by, parameter_count, some
from .core import CannotGoOn, Expectations, learners_frames
from .residual import one_thread
from .residual.plan import key
from .residual.program import Values
from .residual.roles import same
from .residual.watch import Watch, materialised
from .stops import where_it_stops

# A wrong network: code, message, hint, and how to build it.
Variant = tuple[str, str, str, Callable[[], nn.Module]]


@dataclass(frozen=True)
class Network:
    """One network to look at: how the learner makes it, what it should be, for which images."""

    call: str
    make: Callable[[], Any]
    right: Callable[[], nn.Module]
    variants: Callable[[], Iterable[Variant]]
    size: tuple[int, int]
    channels: int = 3
    gives: str = "logits"


def judge_network(networks: Sequence[Network], expect: Expectations) -> bool:
    """Look at a network in all its settings and return whether everything holds."""
    with one_thread():
        return all(_Look(network, expect).holds() for network in networks)


class _Look:
    def __init__(self, network: Network, expect: Expectations) -> None:
        self.network, self.expect = network, expect
        self.shared = Values()

    def _say(self, holds: bool, code: str, message: str, hint: str) -> bool:
        return self.expect(holds, code, f"{self.network.call}: {message}", hint=hint)

    def _variants(self) -> Iterator[tuple[str, str, str, nn.Module]]:
        """Yield the wrong networks that have the learner's parameters."""
        mine = _inventory(self.mine)
        for code, message, hint, build in self.network.variants():
            with torch.device("meta"), unfilled():
                alike = _inventory(build()) == mine
            if alike:
                with unfilled():
                    yield code, message, hint, build()

    def _levelled(self, model: nn.Module) -> nn.Module:
        """Give all parameters of one shape the same numbers, smaller gains than a block's."""
        model.double().train()
        with torch.no_grad():
            for parameter in model.parameters():
                values = self.shared.of_shape(tuple(parameter.shape))
                parameter.copy_(values if parameter.dim() > 1 else values / 4)
        return model

    def _images(self, count: int, size: tuple[int, int]) -> Tensor:
        return torch.randn(count, self.network.channels, *size, dtype=torch.float64)

    def holds(self) -> bool:
        """Look at everything, each step only where the one before it holds."""
        made = self.network.make()
        if not self._say(
            isinstance(made, nn.Module), "not-a-module",
            f"it is {'nothing (None)' if made is None else f'a {type(made).__name__}'}, not an nn.Module.",
            "class …(nn.Module), with super().__init__() first." if self.network.gives == "logits"
            else "return nn.Sequential(first, *rest)",
        ):
            return False
        if not self._say(
            not isinstance(made, nn.ModuleList | nn.ModuleDict), "not-callable",
            f"it is an nn.{type(made).__name__}, which keeps modules but does not run them.",
            "nn.Sequential(*blocks) runs them one after the other.",
        ):
            return False
        with unfilled():
            other = self.network.make()
        if not apart(made, other, self.network.call, self.expect) or not self._say(
            all(module.training for module in made.modules()), "left-in-eval", "it comes in evaluation mode.",
            "Leave the mode to whoever uses it: no .eval() in here.",
        ):
            return False
        self.mine = self._levelled(materialised(made, self.network.channels))
        self.right = self._levelled(self.network.right())
        if not (self._counts_hold() and self._shapes_hold() and self._values_hold() and self._learns()):
            return False
        new = materialised(self.network.make(), self.network.channels)
        images = self._images(4, self.network.size).to(next(new.parameters()).dtype)
        return begins_alive(new, images, self.network.call, self.expect)

    def _counts_hold(self) -> bool:
        mine, right = _inventory(self.mine), _inventory(self.right)
        if mine == right:
            return self._say(True, "wrong-parameters", "", "")
        numbers = [parameter_count(model) for model in (self.mine, self.right)]
        seen = f"it has {numbers[0]:,} parameters instead of {numbers[1]:,}"
        if not mine:
            return self._say(
                False, "no-parameters", f"{seen}: its layers are hidden from PyTorch.",
                "Layers must be attributes of the module, or stand in nn.Sequential or nn.ModuleList.",
            )
        alike = list(self._variants())
        if len(alike) > 1:
            alike.sort(key=self._computes_something_else)
        for code, message, hint, _ in alike:
            return self._say(False, code, f"{seen}. {message[:1].upper()}{message[1:]}", hint)
        # If it cannot even run, what PyTorch says to that is nearer to the mistake than a list of shapes.
        watch = Watch()
        with watch, torch.no_grad():
            self._call(self.mine, self._images(2, self.network.size))
        hidden = {str(call): call for call in watch.unregistered(self.mine)}
        if hidden:
            return self._say(
                False, "unregistered-layers", f"{seen}: {len(watch.unregistered(self.mine))} convolutions that it "
                "uses are not among its parameters.",
                "Blocks in a plain Python list are hidden: nn.Sequential(*blocks), or nn.ModuleList.",
            )
        places = self.mine.named_parameters(remove_duplicate=False)
        again = sorted({name for name, _ in places} - {name for name, _ in self.mine.named_parameters()})
        if again:
            return self._say(
                False, "shared-weights",
                f"{seen}. One parameter stands in two places or more: {some(again, 2)} "
                f"{'is' if len(again) == 1 else 'are'} another layer's, too.",
                "Make each block and each layer anew, and let none have another's weight.",
            )
        lacking, beyond = _listed(right - mine), _listed(mine - right)
        where = "from the stem to the head" if self.network.gives == "logits" else "from block to block"
        return self._say(
            False, "wrong-parameters",
            seen + (f". Missing: {lacking}" if lacking else "") + (f". Too many: {beyond}" if beyond else "") + ".",
            f"Go {where} and compare the channels, and count the blocks.",
        )

    def _call(self, model: nn.Module, x: Tensor) -> Tensor:
        try:
            return model(x)
        except Exception as error:
            place = where_it_stops(model, x)
            if place and not learners_frames(error):
                raise CannotGoOn(
                    "does-not-run", f"{self.network.call}, given {by(x.shape)}, stops at {place}.",
                    "Each part takes as many channels as the one before it gives: go through them in order.",
                ) from None
            stops = f", and stops at {place}" if place else ""
            error.add_note(f"({self.network.call} was given {by(x.shape)}{stops}.)")
            raise

    def _computes_something_else(self, variant: tuple[str, str, str, nn.Module]) -> bool:
        x = self._images(4, self.network.size)
        try:
            with torch.no_grad():
                return not same(self.mine.train()(x.clone()), self._levelled(variant[3])(x))
        except RuntimeError:
            return True

    def _shapes_hold(self) -> bool:
        high, wide = self.network.size
        settings = ((2, (high, wide)), (1, (high, wide)), (3, (high + 9, wide - 5)))
        for number, (count, size) in enumerate(settings):
            x = self._images(count, size)
            wanted = tuple(self.right.eval()(x).shape)
            try:
                y = self._call(self.mine.eval(), x.clone())
            except RuntimeError as error:
                if not number:
                    raise
                pools = number == 2 and self.network.gives == "logits"
                return self._say(
                    False, "fixed-size" if number == 2 else "fixed-batch",
                    f"{count} image{'s' * (count > 1)} of {size[0]} x {size[1]} raised: {_first_line(error)}",
                    "Pool to one position whatever the size: x.mean((2, 3)) or nn.AdaptiveAvgPool2d(1)."
                    if pools else "Nothing may depend on how many images there are, or on their size.",
                )
            if not self._say(
                isinstance(y, Tensor), "wrong-type", f"it returned a {type(y).__name__}, not a tensor.",
                "The last line of forward returns the logits.",
            ):
                return False
            if tuple(y.shape) != wanted:
                seen = f"{by(x.shape)} became {by(y.shape)} instead of {by(wanted)}."
                alike = (v for v in self._variants() if not self._computes_something_else(v))
                code, message, hint = next(alike, ("wrong-shape", "", self._shape_hint()))[:3]
                return self._say(False, code, f"{seen} {message[:1].upper()}{message[1:]}".rstrip(), hint)
        return True

    def _shape_hint(self) -> str:
        if self.network.gives == "logits":
            return "One row of logits for each image: pool, flatten from dimension 1, linear layer."
        return "Print the shape behind each block."

    def _values_hold(self) -> bool:
        x = self._images(3, self.network.size)
        fed = x.clone()
        with torch.no_grad():
            y, wanted = self.mine.train()(fed), self.right.train()(x)
            if not self._say(
                torch.equal(fed, x), "input-modified", "calling it changed its input.",
                "No in-place operation on x.",
            ):
                return False
            if same(y, wanted):
                return self._say(True, "wrong-value", "", "")
            if not self._say(
                all(same(self.mine(x.clone()), y) for _ in range(12)), "random-output",
                "calls on the same images in training mode differ from each other: there is dropout or noise in it.",
                "There is no dropout in it.",
            ):
                return False
            for code, message, hint, wrong in self._variants():
                with suppress(RuntimeError):
                    if same(y, self._levelled(wrong)(x)):
                        return self._say(False, code, message, hint)
        idle = self._idle()
        if idle:
            return self._say(
                False, "unused-parameters",
                f"{some(idle, 3)} take no part in the output.",
                "Is a layer made and never called, or its result overwritten?",
            )
        return self._say(
            False, "wrong-value",
            f"with the same weights its {self.network.gives} differ from the book's by up to "
            f"{(y - wanted).abs().max():.2g}, where the largest is {wanted.abs().max():.2g}.",
            "One part after the other. Compare the shapes with trace(…), and look at what stands between "
            "the parts.",
        )

    def _idle(self) -> list[str]:
        """Return the parameters that the output does not depend on, by their names."""
        y = self.mine.train()(self._images(2, self.network.size))
        grads = torch.autograd.grad(y.square().sum(), list(self.mine.parameters()), allow_unused=True)
        return [n for (n, _), grad in zip(self.mine.named_parameters(), grads, strict=True) if grad is None]

    def _learns(self) -> bool:
        """Compare the gradient at the images, look for idle parameters, then evaluation mode."""
        x = self._images(2, self.network.size)
        slopes = []
        for model in (self.mine, self.right):
            images = x.clone().requires_grad_()
            (model.train()(images * 1).square().sum()).backward()
            slopes.append(images.grad)
        own, due = slopes
        idle = [n for n, p in self.mine.named_parameters() if p.grad is None]
        if not self._say(
            not idle, "not-trained", f"{some(idle, 3)} get no gradient.",
            "Use every layer, and leave requires_grad, .detach() and torch.no_grad() alone.",
        ) or not self._say(
            own is not None and due is not None and same(own, due), "gradient-cut",
            f"the {self.network.gives} are right, but the gradient at the input is not.",
            "Leave out .detach(), .data and torch.no_grad().",
        ):
            return False
        with torch.no_grad():
            y, wanted = self.mine.eval()(x.clone()), self.right.eval()(x)
        return self._say(
            same(y, wanted), "eval-mode",
            f"in evaluation mode, after the same steps, its {self.network.gives} differ from the book's.",
            "nn.BatchNorm2d with its default settings, and no block left in another mode.",
        )


def apart(one: nn.Module, other: nn.Module, call: str, expect: Expectations) -> bool:
    """Whether two modules that were made by the same call have no parameter in common."""
    known = {_address(parameter) for parameter in other.parameters()}
    names = [name for name, parameter in one.named_parameters() if _address(parameter) in known]
    return expect(
        not names, "parameters-shared",
        f"{call}, called twice, gave two that share {len(names)} parameter tensor{'s' * (len(names) > 1)} "
        f"({some(names, 2)}): training one trains the other.",
        hint="Make every layer anew in each call: keep none in a cache, in the class body, as a default argument or "
        "outside the function.",
    )  # fmt: skip


def _address(parameter: nn.Parameter) -> tuple[str, int]:
    """Return where a parameter's numbers stand, or which object it is while it has none."""
    if is_lazy(parameter) or parameter.is_meta:
        return "object", id(parameter)
    return "memory", parameter.data_ptr()


class Shape(nn.Module):
    """A ResNet put together from parts, with the faults that learners build in."""

    def __init__(
        self, stem: nn.Module, stages: Sequence[nn.Module], head: nn.Linear,
        pool: Callable[[Tensor], Tensor] = lambda x: x.mean((2, 3)),
        after: Callable[[Tensor], Tensor] = lambda y: y,
    ) -> None:
        super().__init__()
        self.stem, self.stages, self.head = stem, nn.Sequential(*stages), head
        self.pool, self.after = pool, after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.head(self.pool(self.stages(self.stem(x)))))


def head_variants(build: Callable[..., nn.Module]) -> Iterable[Variant]:
    """Yield the faults at the end of a network that ``build(pool=, after=)`` makes."""
    last = "The network ends with its linear layer: F.cross_entropy takes the logits as they are."
    yield ("softmax-at-the-end", "the logits go through a softmax.", last,
           lambda: build(after=lambda y: F.softmax(y, dim=1)))
    yield ("softmax-at-the-end", "the logits go through a log-softmax.", last,
           lambda: build(after=lambda y: F.log_softmax(y, dim=1)))
    yield ("relu-at-the-end", "the logits go through a ReLU, so that none is negative.", last,
           lambda: build(after=F.relu))
    yield ("max-pooling", "the head takes the largest value of each channel, not the mean.",
           "Global average pooling: x.mean((2, 3)).", lambda: build(pool=lambda x: x.amax((2, 3))))
    yield ("sum-pooling", "the head adds up each channel's values instead of averaging them.",
           "Global average pooling: x.mean((2, 3)).", lambda: build(pool=lambda x: x.sum((2, 3))))


def stages(
    block: Callable[..., nn.Module], planes: Sequence[int], counts: Sequence[int], first: int,
    strides: Sequence[int], each: bool = False, copies: bool = False, **options: Any,
) -> list[nn.Module]:  # fmt: skip
    """Build the stages: ``each`` strides in every block, ``copies`` repeats one block object."""
    channels = first
    made: list[nn.Module] = []
    for width, count, stride in zip(planes, counts, strides, strict=True):
        out = width * getattr(block, "expansion", 1)
        if each:
            ins = [channels] + [out] * (count - 1)
            made.append(nn.Sequential(*[block(c, width, stride, **options) for c in ins]))
        elif copies:
            front = block(channels, width, stride, **options)
            rest = [block(out, width, 1, **options)] * (count - 1) if count > 1 else []
            made.append(nn.Sequential(front, *rest))
        else:
            made.append(make_layer(block, channels, width, count, stride, **options))
        channels = out
    return made


def _inventory(model: nn.Module) -> Counter:
    return Counter(key(parameter.shape) for parameter in model.parameters())


@contextmanager
def unfilled() -> Iterator[None]:
    """Build layers without drawing their numbers, which are replaced at once."""
    fillers = [(layer, layer.reset_parameters) for layer in (nn.modules.conv._ConvNd, nn.Linear)]
    for layer, _ in fillers:
        layer.reset_parameters = lambda self: None  # type: ignore[method-assign]  # until the block ends
    try:
        yield
    finally:
        for layer, filler in fillers:
            layer.reset_parameters = filler  # type: ignore[method-assign]


def _listed(shapes: Counter) -> str:
    texts = [
        f"{count} parameter{'s' * (count > 1)} of shape {'×'.join(map(str, shape))}"
        for shape, count in shapes.most_common(3) if shape
    ]  # fmt: skip
    return ", ".join(texts) + (" …" if len(shapes) > 3 else "")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
