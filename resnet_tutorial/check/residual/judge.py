"""The judge of residual blocks: the basic block, the bottleneck, Conv and Identity block, ResNeXt's.

It looks at what a block does, never at its names or at how it is written. The parameters are
compared with those that the task needs; then the block runs beside a reference on the same numbers,
and where the two differ, the reference is rewritten with every fault that learners make, and with
pairs of them, until it gives what the block gives: that fault is named.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import combinations, product

import torch
from torch import Tensor, nn

from .faults import Fault, cuts, faults_of
from .plan import Plan, Role, kernels_of, key, kind, shapes_of
from .program import Program, Values, draw, right_program
from .roles import Matching, changed, fit, inventory, level, match, place, same, trained
from .watch import Watch, materialised

# How else the kernels of a block may have come about: code, message, hint, and the plan it follows.
Variant = tuple[str, str, str, Plan]
SEARCH = 1.5  # seconds for trying faults, over all cases


@dataclass(frozen=True)
class Case:
    """One block to look at: how to make it, what it should be, and on which size of image.

    ``thorough``: whether roles, gradients, evaluation mode and state dict are looked at too.
    ``handed``: whether the projection was handed to the block.
    """

    plan: Plan
    make: Callable[[], nn.Module]
    size: tuple[int, int]
    thorough: bool = True
    handed: bool = False


class Notes:
    """Records findings, a failing one only once over all cases."""

    def __init__(self, expect) -> None:
        self.expect = expect
        self.said: set[str] = set()
        self.codes: list[str] = []
        self.faults: list[tuple[str, str]] = []  # key and message of those that were named
        self.searched = 0.0  # seconds spent on looking for faults

    def say(self, holds: bool, code: str, message: str, hint: str, key: str = "") -> bool:
        """Record a finding and return whether it holds."""
        key = key or code
        if not holds and key in self.said:
            return False
        if not holds:
            self.said.add(key)
            self.codes.append(code)
        return self.expect(holds, code, message, hint)


def judge(
    cases: Sequence[Case], expect, variants: Callable[[Plan], Iterator[Variant]] = lambda plan: iter(())
) -> bool:
    """Look at a block in all cases and return whether everything holds.

    ``variants`` yields, for a plan, the other plans whose kernels a learner's block may have.
    """
    notes = Notes(expect)
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.random.seed()
        looks, trouble = [], None
        for case in cases:
            try:
                looks.append(Look(case, notes, variants))
            except Exception as error:  # kept: what is wrong with an earlier block may say more
                trouble = error
                break
        if not all(look.is_module() and look.is_registered() for look in looks):
            return False
        if not all(look.follows_no_other_plan() for look in looks):
            return False
        for look in looks:
            if look.plan.projection is None and look.agrees_on_the_projection():
                look.all_holds()
        if not {"no-shortcut", "no-branch"} & set(notes.codes):
            _survey_projections(looks, notes)
        for look in looks:
            later = look.plan.projection is not None and not (look.case.handed and notes.codes)
            if later and look.agrees_on_the_projection():
                look.all_holds()
        if trouble is not None and not notes.codes:
            raise trouble
    return not notes.codes


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: on a busy machine, threads that wait for each other take minutes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _survey_projections(looks: Sequence[Look], notes: Notes) -> None:
    """Report blocks that project where they should not, or do not where they should."""
    for look in looks:
        if look.agrees_on_the_projection() or look.unregistered or look.case.handed and notes.codes:
            continue
        plan = look.plan
        if look.case.handed:
            notes.say(
                False, "downsample-ignored",
                f"{plan.call}: a projection was handed in as downsample, and the block does without it.",
                "Choose between identity and projection only if downsample is None, and register what is handed in: "
                "self.downsample = downsample.",
            )  # fmt: skip
            continue
        if plan.projection is None:
            notes.say(
                False, "needless-projection",
                f"{plan.call}: input and output have the same shape, and yet there is a 1×1 convolution on "
                "the shortcut.",
                "Where the shapes agree, add x itself.",
            )  # fmt: skip
            continue
        done = [other.plan for other in looks if other.plan.projection and other.agrees_on_the_projection()]
        notes.say(False, *_missing_projection(plan, done), key="missing-projection")


def _missing_projection(plan: Plan, done: list[Plan]) -> tuple[str, str, str]:
    kept, made = plan.in_channels, plan.out_channels
    both = "Test both: the stride is not 1, or the channels of input and output differ."
    if kept == made and plan.stride == 1:
        return (
            "missing-projection",
            f"{plan.call}: x is added as it is, without a projection, which this block has even where the "
            "shapes agree: that is what sets it apart.",
            "A 1×1 convolution and a batch norm on the shortcut, always.",
        )
    if kept != made and plan.stride == 1:
        change = f"{kept} channels become {made} at stride 1"
        code = "projection-only-on-stride" if any(p.stride > 1 for p in done) else "missing-projection"
    elif kept == made:
        change = f"the stride of {plan.stride} shrinks the map"
        code = (
            "projection-only-on-channels"
            if any(p.in_channels != p.out_channels for p in done) else "missing-projection"
        )  # fmt: skip
    else:
        change = f"{kept} channels become {made} and the map shrinks by {plan.stride}"
        code, both = "missing-projection", "A 1×1 convolution with the block's stride, and its batch norm."
    return code, f"{plan.call}: {change}, but no 1×1 convolution works on x to do the same on the shortcut.", both


class Look:
    """One look at one block, from its parameters to its gradients."""

    def __init__(self, case: Case, notes: Notes, variants: Callable[[Plan], Iterator[Variant]]) -> None:
        self.case, self.plan, self.notes, self.variants = case, case.plan, notes, variants
        self.block = self._fresh()
        self.error: RuntimeError | None = None
        self.watch = Watch()
        self.output: object = None
        if isinstance(self.block, nn.Module):
            self._try()

    def _fresh(self) -> nn.Module:
        block = self.case.make()
        return materialised(block, self.plan.in_channels) if isinstance(block, nn.Module) else block

    def _try(self) -> None:
        """Call the block once, as it came, and keep what happened."""
        self.x = torch.randn(3, self.plan.in_channels, *self.case.size)
        try:
            with self.watch, torch.no_grad():
                self.output = self.block(self.x.clone())
        except RuntimeError as error:
            self.error = error
            error.add_note(f"({self.plan.call} was given {_by(self.x.shape)}.)")
        except Exception as error:
            error.add_note(f"({self.plan.call} was given {_by(self.x.shape)}.)")
            raise
        self.unregistered = self.watch.unregistered(self.block)

    def _say(self, holds: bool, code: str, message: str, hint: str, key: str = "") -> bool:
        return self.notes.say(holds, code, f"{self.plan.call}: {message}", hint, key)

    def is_module(self) -> bool:
        """Tell whether there is a block to look at."""
        return self._say(
            isinstance(self.block, nn.Module), "not-a-module",
            f"it is a {type(self.block).__name__}, not an nn.Module.",
            "Derive the class from nn.Module and call super().__init__() first.",
        )

    def agrees_on_the_projection(self) -> bool:
        """Tell whether there is a 1x1 from input to output channels where there should be, and only there."""
        wanted = self.plan.projection is not None
        if self.watch.calls and self.error is None:
            return self._calls_a_projection() == wanted
        mine = kernels_of(shapes_of(self.block))
        if sum(mine.values()) <= len(self.plan.branch):
            return not wanted or not mine
        beyond = mine - kernels_of(layer.kernel for layer in self.plan.branch)
        ends = {self.plan.in_channels, self.plan.out_channels}
        return any(set(shape[:2]) == ends for shape in beyond) == wanted

    def _calls_a_projection(self) -> bool:
        """Tell whether a convolution besides the branch's first works on x itself."""
        first = self.plan.branch[0]
        onto_x = [c.weight.shape for c in self.watch.calls if c.first and c.weight.shape[0] == self.plan.out_channels]
        branch = next((n for n, shape in enumerate(onto_x) if key(shape) == key(first.kernel)), None)
        if first.out_channels == self.plan.out_channels and branch is not None:
            del onto_x[branch]
        if onto_x:
            return True
        # Not with a convolution, but perhaps with a matrix.
        beyond = kernels_of(shapes_of(self.block)) - kernels_of(c.weight.shape for c in self.watch.calls)
        return any(set(shape) == {self.plan.in_channels, self.plan.out_channels} for shape in beyond if len(shape) == 2
                   ) and self.plan.projection is not None

    def all_holds(self) -> None:
        """Look at everything, each step only where the one before it leaves sense in it."""
        if not self._kernels_hold():
            return
        if not self._lacks_norms():
            self._biases_hold()
        if self._runs() and self._computes() and self.case.thorough and not self.notes.codes:
            self._thorough_holds()

    # the parameters

    def is_registered(self) -> bool:
        """Tell whether the block knows the layers that it uses."""
        hidden = {str(call): call for call in self.unregistered}
        if not self._say(
            bool(list(self.block.parameters())), "no-parameters",
            "it has no parameters, so an optimiser would find nothing to train.",
            "Layers must be attributes of the module, or stand in nn.Sequential or nn.ModuleList; "
            "a Python list hides them.",
        ):
            return False
        return self._say(
            not hidden, "unregistered-layers",
            f"it uses convolutions that are not among its parameters: {', '.join(hidden)}. "
            "An optimiser would not train them, and a state dict would not hold them.",
            "A layer made in forward, or kept in a Python list or dictionary, is hidden: make it in __init__, "
            "as an attribute, or in nn.Sequential or nn.ModuleList.",
        )

    def follows_no_other_plan(self) -> bool:
        """Look whether the kernels are those of a likely misreading of the task."""
        if not self.case.handed and not self._stored_as():
            shapes = Counter(shapes_of(self.block))
            for code, message, hint, plan in (*_other_projections(self.plan), *self.variants(self.plan)):
                mine, wanted = map(_kernels, inventory(self.block, plan))
                grouped = code == "projection-grouped" and plan.projection.kernel not in shapes
                if mine == wanted and not grouped:
                    return self._say(False, code, message, hint)
        return True

    def _stored_as(self) -> list[Plan]:
        """Return the plan in each form in which the block may keep it, the likeliest first."""
        alike = []
        for plan in self.plan.stored_in_parts():
            mine, wanted = inventory(self.block, plan)
            if _kernels(mine) == _kernels(wanted):
                alike.append((mine != wanted, len(alike), plan))
        return [plan for _, _, plan in sorted(alike)]

    def _kernels_hold(self) -> bool:
        if not self._begins_well():
            return False
        self.plans = self._stored_as() or [self.plan]
        self.plan = self.plans[0]
        mine, wanted = inventory(self.block, self.plan)
        if not _kernels(wanted) - _kernels(mine):
            return self._say(True, "wrong-kernels", "", "")  # more than are needed: the output tells
        twice = _kernels(wanted) - _kernels(mine)
        if not _kernels(mine) - _kernels(wanted):
            return self._say(
                False, "missing-layer",
                f"no parameter has the shape {_listed(twice)}: a convolution is missing, or one is used in "
                "two places.",
                "Each convolution is a layer of its own.",
            )
        return self._say(
            False, "wrong-kernels",
            f"its kernels have the shapes {_shapes(shapes_of(self.block))} instead of "
            f"{_shapes([layer.kernel for layer in self.plan.layers])}.",
            "Go from layer to layer: a kernel's shape is (outputs, inputs / groups, height, width).",
        )

    def _begins_well(self) -> bool:
        """Look at the numbers that a new block begins with."""
        kernels = [p for p in self.block.parameters() if len(key(p.shape)) > 1]
        bad = [tuple(p.shape) for p in kernels if not torch.isfinite(p).all()]
        if not self._say(
            not bad, "not-initialised", f"new kernels ({_by(bad[0]) if bad else ''}) hold NaN or infinite numbers.",
            "torch.empty gives whatever lay in memory: fill it, for example with nn.init.kaiming_normal_.",
        ):
            return False
        even = [tuple(p.shape) for p in kernels if p.numel() > 1 and bool((p == p.flatten()[0]).all())]
        return self._say(
            not even, "not-initialised",
            f"all numbers of a new kernel ({_by(even[0]) if even else ''}) are equal: its channels would stay equal.",
            "Random numbers, as nn.Conv2d begins with; zero is for the last batch norm's weight only.",
        )

    def _biases(self) -> list[int]:
        """Return how many biases each convolution has that has any."""
        mine, wanted = inventory(self.block, self.plan)
        if _kernels(mine) - _kernels(wanted):
            return []  # which layers are the block's own, only the output tells
        layers = [
            m for m in self.block.modules()
            if isinstance(m, nn.Conv2d | nn.Linear) and kind(m.weight.shape) in wanted
        ]  # fmt: skip
        if layers:
            return [m.bias.numel() for m in layers if m.bias is not None]
        # Written with functions: vectors beyond those of the batch norms.
        extra = [shape[0] for shape in (mine - wanted).elements() if len(shape) == 1]
        return extra if not Counter(extra) - Counter(self.plan.biases) else []

    def _lacks_norms(self) -> bool:
        mine, wanted = inventory(self.block, self.plan)
        mine.subtract((n,) for n in self._biases())
        return any(mine[shape] < n for shape, n in wanted.items() if len(shape) == 1)

    def _biases_hold(self) -> None:
        biases = self._biases()
        total = sum(p.numel() for p in self.block.parameters())
        self._say(
            not biases, "bias-before-bn",
            f"of its {total:,} parameters {sum(biases)} are the biases of {len(biases)} "
            f"convolution{'s' * (len(biases) != 1)}. A batch norm takes the mean away, and any bias with it.",
            "bias=False in every convolution that a batch norm follows.",
        )

    # the first call

    def _runs(self) -> bool:
        if self.error is not None:
            found = self._sizes_explained()
            if found is None and self.watch.clash is None:
                raise self.error
            return self._say(False, *(found or self._clash()), key="sizes")
        y, wanted = self.output, self.plan.output_shape(tuple(self.x.shape))
        if not self._say(
            y is not None, "nothing-returned", "forward returned nothing (None).",
            "The last line of forward: return F.relu(out + shortcut).",
        ) or not self._say(
            isinstance(y, Tensor), "wrong-type", f"forward returned a {type(y).__name__} instead of a tensor.",
            "The last line of forward: return F.relu(out + shortcut), one tensor.",
        ):
            return False
        if tuple(y.shape) != wanted:
            shape = (
                "wrong-shape", f"it turned {_by(self.x.shape)} into {_by(y.shape)} instead of {_by(wanted)}.",
                "padding=1 keeps the size of a 3×3 at stride 1, and a stride of 2 halves it, rounded up.",
            )  # fmt: skip
            if y.dim() == 4 and y.shape[1] == 2 * wanted[1] and y.shape[2:] == wanted[2:]:
                shape = (
                    "concatenated", f"{_by(self.x.shape)} became {_by(y.shape)}: twice the channels.",
                    "Branch and shortcut are added, out + shortcut, not concatenated.",
                )  # fmt: skip
            return self._say(False, *(self._sizes_explained() or shape), key="sizes")
        return self._say(
            y.dtype == self.x.dtype, "dtype-changed",
            f"{self.x.dtype} images went in and {y.dtype} came out.", "Leave the type of x as it is.",
        )

    def _clash(self) -> tuple[str, str, str]:
        one, other = self.watch.clash or ((), ())
        names = ("batch", "channels", "height", "width")
        differ = [n for n, a, b in zip(names, one, other, strict=False) if a != b and len(one) == len(other)]
        return (
            "sizes-differ",
            f"two tensors that do not fit met, {_by(one)} and {_by(other)}"
            + (f": they differ in {', '.join(differ)}." if differ else "."),
            "Print out.shape and shortcut.shape just before the addition.",
        )

    def _sizes_explained(self) -> tuple[str, str, str] | None:
        """Say which convolution made a size that it should not, as far as the calls tell it."""
        stride = self.plan.stride
        layers = {key(layer.kernel): layer for layer in reversed(self.plan.layers)}
        strided, whole = [], []
        met = f" Branch and shortcut meet as {' and '.join(map(_by, self.watch.clash))}." if self.watch.clash else ""
        for call in self.watch.calls:
            layer = layers.get(key(call.weight.shape))
            if layer is None:
                continue
            before, after = call.before[2:], call.after[2:]
            if after == before:
                whole.append(layer)
            elif any(after == tuple(-(-side // step) for side in before) for step in (2, 3, stride)):
                strided.append(layer)
            else:
                return (
                    "wrong-padding",
                    f"the {layer.name} turned {_by(before)} into {_by(after)}.{met}",
                    "padding=1 for a 3×3 and padding=0 for a 1×1 keep the size at stride 1.",
                )
        projection = self.plan.projection
        branch = [layer for layer in strided if layer is not projection]
        if projection and stride > 1 and projection in whole and branch:
            return (
                "projection-stride",
                f"the block's stride is {stride} and the projection's is 1.{met}",
                "Hand the stride to the projection too.",
            )
        if stride == 1 and strided:
            code = "projection-stride" if strided == [projection] else "stride-hard-coded"
            names = " and the ".join(dict.fromkeys(layer.name for layer in strided))
            makes = "make" if " and " in names else "makes"
            return code, f"at stride 1 the {names} {makes} the map smaller.{met}", "Hand the block's stride on."
        if stride > 1 and self.watch.calls and len(branch) != 1 and len(whole) + len(strided) >= len(self.plan.branch):
            return (
                "stride-twice" if branch else "stride-missing",
                f"{len(branch) or 'none'} of the branch's convolutions {'have' if branch else 'has'} a stride; "
                f"exactly one should, the {next(la.name for la in self.plan.branch if la.stride > 1)}.{met}",
                "Give the stride to one convolution of the branch and to the projection.",
            )
        return None

    # what it computes

    def _computes(self) -> bool:
        """Compare with the reference on levelled parameters; name the fault if they differ."""
        self.shared = Values()
        if not self._statistics_apart():
            return False
        self.block.double().train()
        level(self.block, self.plan, self.shared)
        self.x = 5 * torch.randn(3, self.plan.in_channels, *self.case.size, dtype=torch.float64)
        fed = self.x.clone()
        with torch.no_grad():
            y = self._in_double(lambda: self.block(fed))
            if y is None:
                return False
            unchanged = self._unchanged(fed, self.x)
            if not self._repeats(y):
                return False
            found = self._find_faults(y)
            if not self._nothing_extra(y):
                return False
        if found is None:
            self._say_wrong_value(y)
            return False
        self._name(found, y)
        return unchanged and not found

    def _statistics_apart(self) -> bool:
        places = [b.data_ptr() for _, b in self.block.named_buffers(remove_duplicate=False) if b.numel() > 1]
        return self._say(
            len(set(places)) == len(places), "bn-shared",
            "two batch norms keep their running statistics in the same tensor.",
            "Each convolution has a batch norm of its own.",
        )

    def _in_double(self, call: Callable[[], Tensor]) -> Tensor | None:
        """Run the block on float64; one that has run on float32 and fails now has a type written into it."""
        hint = "Leave the type of x as it is: no .float(), .half() or dtype=… in the block."
        try:
            y = call()
        except RuntimeError as error:
            if "dtype" not in str(error) and "type" not in str(error):
                raise
            self._say(False, "dtype-changed", f"float64 images raise: {str(error).splitlines()[0]}", hint)
            return None
        holds = self._say(y.dtype == torch.float64, "dtype-changed", f"float64 images came out as {y.dtype}.", hint)
        return y if holds else None

    def _unchanged(self, fed: Tensor, x: Tensor) -> bool:
        return self._say(
            torch.equal(fed, x), "input-modified",
            f"calling it changed {int((fed != x).sum())} of the {fed.numel()} values of its input x.",
            "x += … and an in-place ReLU on x write into the caller's tensor. "
            "Write out + x, which makes a new one.",
        )

    def _repeats(self, y: Tensor) -> bool:
        """Call the block again and again: what is left out now and then, is seen then."""
        calls = 1 if "repeats" in self.notes.said else 30
        self.notes.said.add("repeats")
        return self._say(
            all(same(self.block(self.x.clone()), y) for _ in range(calls)), "random-output",
            "two calls on the same input in training mode give different outputs: it draws random numbers "
            "(dropout, noise, left-out branches), or keeps something from call to call.",
            "A residual block has no dropout, and only its running statistics change.",
        )

    def _nothing_extra(self, y: Tensor) -> bool:
        """Look at parameters that no such block needs: does changing them change the output?"""
        if set(self.notes.codes) - {"bias-before-bn", "input-modified"}:
            return True  # very likely the consequence of what has been said
        mine, wanted = inventory(self.block, self.plan)
        beyond = mine - wanted
        shapes = list(self.plan.roles().values())
        for name, parameter in trained(self.block):
            known = fit(tuple(parameter.shape), shapes)
            if self._is_bias(name) or kind(known[0] if known else parameter.shape) not in beyond:
                continue
            if known and y is not None and len(key(known[0])) < 2:
                continue  # as many as a batch norm's: told apart by its role
            module = self.block.get_submodule(name.rpartition(".")[0])
            with changed(parameter, 0.3 + torch.rand_like(parameter)):
                moves = not same(self.block(self.x.clone()), y)
            if moves and isinstance(module, nn.PReLU):
                return self._say(False, "wrong-activation", "its activation is PReLU, not ReLU.", "nn.ReLU or F.relu.")
            if moves:
                return self._say(
                    False, "extra-parameters",
                    f"{name}, of shape {_by(parameter.shape) or 1}, takes part in the output; no such block has it.",
                    "Convolutions without bias, and batch norms: nothing else is trained.",
                )
        return True

    def _say_wrong_value(self, y: Tensor) -> None:
        # A 1x1 may make the map larger, and another layer make it smaller again.
        moved = any(c.weight.shape[-1] == 1 and c.after[-1] > c.before[-1] for c in self.watch.calls)
        sizes = self._sizes_explained() if moved else None
        if sizes:
            self._say(False, *sizes, key="sizes")
            return
        if self.notes.codes:
            return
        mine, wanted = inventory(self.block, self.plan)
        extra = mine - wanted
        if extra and not self._biases():
            self._say(
                False, "extra-parameters",
                f"beyond what such a block needs it has parameters of the shapes {_listed(extra)}.",
                "Convolutions without bias, and a batch norm behind each: nothing else is trained.",
            )
            return
        unused = self._unused()
        if unused:
            self._say(
                False, "unused-parameters", f"{', '.join(unused)} take no part in the output.",
                "Is a layer made and never called, or its result overwritten?",
            )
            return
        right = right_program(self.plan)(self.x, Values(shared=self.shared)).detach()
        differs = ~torch.isclose(y, right, rtol=1e-6, atol=1e-8)
        self._say(
            False, "wrong-value",
            f"on the same weights {int(differs.sum())} of {y.numel()} outputs differ from those of "
            f"relu(F(x) + shortcut), by up to {(y - right).abs().max():.2g}.",
            "Go through it line by line: convolution, batch norm, ReLU, …, the last batch norm, addition, ReLU.",
        )

    def _unused(self) -> list[str]:
        """Return the parameters that the output does not depend on, by their names."""
        with torch.enable_grad():
            y = self.block(self.x.clone())
            if not y.requires_grad:
                return []
            grads = torch.autograd.grad(y.square().sum(), list(self.block.parameters()), allow_unused=True)
        return [name for (name, _), grad in zip(self.block.named_parameters(), grads, strict=True) if grad is None]

    def _find_faults(self, y: Tensor) -> tuple[Fault, ...] | None:
        """Return the faults with which the reference gives ``y``: none, one or two; None if it never does."""
        start = time.perf_counter()

        def gives_y(program: Program) -> bool:
            try:
                return same(y, program(self.x, Values(shared=self.shared)))
            except (RuntimeError, ValueError, IndexError):  # an edit that makes no sense for this plan
                return False

        for plan in self.plans:
            if gives_y(right_program(plan)):
                self.plan = plan
                return ()
        right = right_program(self.plan)
        found = None
        for faults in self._suspects():
            if self.notes.searched + time.perf_counter() - start > SEARCH:
                break
            program = right
            for fault in faults:
                program = fault.edit(program)
            if gives_y(program):
                found = faults
                break
        self.notes.searched += time.perf_counter() - start
        return found

    def _suspects(self) -> Iterator[tuple[Fault, ...]]:
        """Yield each fault, then the pairs: of one named before with any, or else of common ones."""
        faults = list(faults_of(self.plan))
        yield from ((fault,) for fault in faults)
        if not set(self.notes.codes) - {"bias-before-bn", "input-modified"}:
            known, others = [fault for fault in faults if fault.common], None
        else:
            known = [fault for fault in faults if (fault.key, fault.message) in self.notes.faults]
            others = faults
        for one, other in combinations(known, 2) if others is None else product(known, others):
            yield one, other
            yield other, one

    def _name(self, faults: tuple[Fault, ...], y: Tensor) -> None:
        if not faults:
            return
        values = Values(shared=self.shared)
        _, shortcut = right_program(self.plan).sides(self.x, values)
        right = right_program(self.plan)(self.x, values)
        numbers = {
            "total": y.numel(), "negative": int((y < 0).sum()), "lowest": float(y.min()),
            "right_below": int((right < shortcut).sum()), "stride": self.plan.stride,
        }  # fmt: skip
        for fault in faults:
            self.notes.faults.append((fault.key, fault.message))
            self._say(False, fault.code, fault.message.format(**numbers), fault.hint, fault.key)

    # thoroughly

    def _thorough_holds(self) -> bool:
        right = right_program(self.plan)
        found = match(self.block, self.plan, right, self.x)
        if not self._roles_hold(found):
            return False
        given = {role: draw(shape) for role, shape in self.plan.roles().items()}
        self.values = Values(given, track=True)
        self.mine = self._loaded(found.roles, given)
        return (
            self._trains(right, found.roles) and self._evaluates(right) and self._survives_saving()
        )

    def _roles_hold(self, found: Matching) -> bool:
        for name, roles in found.several.items():
            layers = list(dict.fromkeys(role[0] for role in roles))
            code = "conv-shared" if roles[0][1] == "kernel" else "bn-shared"
            what = "kernel" if code == "conv-shared" else "batch norm"
            where = " and the ".join(layers) if len(layers) > 1 else f"{layers[0]} of {len(roles)} paths"
            return self._say(
                False, code, f"one {what} ({name}) serves the {where}.",
                "Each convolution is a layer of its own and has a batch norm of its own.",
            )
        vectors = [name for name in found.biases if not self._is_bias(name)]
        if not self._say(
            not vectors, "bias-before-bn",
            f"{', '.join(vectors)} {'is' if len(vectors) == 1 else 'are'} added before a batch norm, which takes "
            "the mean away, and any bias with it.", "No bias before a batch norm.",
        ):
            return False
        missing = [role for role in self.plan.roles() if role not in found.roles.values()]
        idle = [name for name in found.idle if name not in found.biases and not self._is_bias(name)]
        if not self._say(
            not idle, "unused-parameters",
            f"the parameters {', '.join(idle)} take no part in the output: a layer is made and never used.",
            "Use each layer once in forward, and make none that forward does not need.",
        ) or not self._say(
            not found.unknown, "extra-parameters",
            f"the parameters {', '.join(found.unknown)} do what no parameter of this block should.",
            "Convolutions without bias, and batch norms: nothing else is trained.",
        ):
            return False
        return self._say(
            not missing, "bn-not-trained" if missing and missing[0][1] != "kernel" else "missing-layer",
            f"nothing plays the part of {_roles(missing)}.",
            "nn.BatchNorm2d with its default settings (affine=True), one behind each convolution.",
        )

    def _is_bias(self, name: str) -> bool:
        owner, _, last = name.rpartition(".")
        module = self.block.get_submodule(owner)
        if last != "bias" or not isinstance(module, nn.Conv2d | nn.Linear):
            return False
        return fit(tuple(module.weight.shape), list(self.plan.roles().values())) is not None

    def _loaded(self, roles: dict[str, Role], given: dict[Role, Tensor]) -> nn.Module:
        """Return a new block with the given numbers in their roles."""
        block = self._fresh().double().train()
        for name, parameter in block.named_parameters():
            if name in roles:
                place(parameter, given[roles[name]].detach())
        return block

    def _trains(self, program: Program, roles: dict[str, Role]) -> bool:
        """Compare outputs and gradients in training mode, on two sizes and two batch sizes."""
        frozen = [name for name, p in self.mine.named_parameters() if name in roles and not p.requires_grad]
        if not self._say(
            not frozen, "frozen-parameters", f"{', '.join(frozen)} will not be trained (requires_grad=False).",
            "Leave requires_grad alone.",
        ):
            return False
        high, wide = self.case.size
        for count, size, memory in (
            (4, (high, wide), torch.contiguous_format), (5, (wide + 1, high + 2), torch.channels_last),
            (3, (1, 1), torch.contiguous_format),
        ):  # fmt: skip
            x = 3 * torch.randn(count, self.plan.in_channels, *size, dtype=torch.float64)
            x = x.contiguous(memory_format=memory)
            mine = x.clone().requires_grad_()
            try:
                y = self.mine(mine * 1)  # not the leaf itself, which torch guards against in-place changes
            except RuntimeError as error:
                order = " in channels_last order" * (memory == torch.channels_last)
                return self._say(
                    False, "size-written-in", f"{_by(x.shape)} images{order} raise: {str(error).splitlines()[0]}",
                    "Nothing in the block may depend on the size of the batch or of the image, or on the order "
                    "in memory (.view does; .reshape and .flatten do not).",
                )
            theirs = x.clone().requires_grad_()
            for tensor in self.values.given.values():
                tensor.requires_grad_().grad = None
            wanted = program(theirs, self.values)
            if not self._say(
                y.shape == wanted.shape, "wrong-shape",
                f"{_by(x.shape)} became {_by(y.shape)} instead of {_by(wanted.shape)}.",
                "Nothing in the block may depend on the size of the batch or of the image; squeeze() does.",
            ) or not self._say(
                same(y.detach(), wanted.detach()), "wrong-value",
                f"on {_by(x.shape)} and random parameters the output differs from the reference's"
                + (f" by up to {(y - wanted).abs().max():.2g}." if y.shape == wanted.shape else "."),
                "Nothing in the block may depend on the size of the batch or of the image.",
            ):
                return False
            direction = torch.randn_like(wanted)
            if not self._gradients_hold(y, mine, wanted, theirs, direction, program, roles):
                return False
        return True

    def _gradients_hold(self, y, mine, wanted, theirs, direction, program, roles) -> bool:
        hint = "Leave out .detach(), .data, .item() and torch.no_grad()."
        if not self._say(y.requires_grad, "gradient-cut", "no gradient can get through it.", hint):
            return False
        for parameter in self.mine.parameters():
            parameter.grad = None
        try:
            (y * direction).sum().backward()
        except RuntimeError as error:
            return self._say(
                False, "backward-fails",
                f"forward is right, but backward() raises: {str(error).split('; expected')[0].split('. Hint')[0]}.",
                "An in-place operation (+=, inplace=True, relu_) overwrote a tensor that backward needs: "
                "write it out of place.",
            )
        (wanted * direction).sum().backward()
        # A role without gradient (none has one before a cut) counts as zero.
        pairs = {"x": (mine.grad, theirs.grad)}
        for name, parameter in self.mine.named_parameters():
            if name in roles:
                pairs[name] = (parameter.grad, _stored(self.values.given[roles[name]].grad, parameter))
        wrong = [name for name, (one, other) in pairs.items() if not _same_gradient(one, other)]
        if not wrong:
            return self._say(True, "gradient-cut", "", "")
        where = self._place_of_the_cut(mine, theirs.detach(), direction, program)
        few = ", ".join(wrong[:4]) + (" …" if len(wrong) > 4 else "")
        return self._say(
            False, "gradient-cut",
            f"the output is right, but not the gradient of {few}: "
            + (f"it is cut off {where}." if where else "something on the way cuts or changes it."),
            hint,
        )

    def _place_of_the_cut(self, mine: Tensor, x: Tensor, direction: Tensor, program: Program) -> str:
        got = torch.zeros_like(x) if mine.grad is None else mine.grad
        for where, edit in cuts():
            leaf = x.clone().requires_grad_()
            y = edit(program)(leaf, self.values)
            if not y.requires_grad:
                continue
            (y * direction).sum().backward()
            grad = torch.zeros_like(x) if leaf.grad is None else leaf.grad
            if same(got, grad):
                return where
        return ""

    def _evaluates(self, program: Program) -> bool:
        """After the same steps in training mode: compare in evaluation mode."""
        self.mine.eval()
        self.values.training = False
        x = 3 * torch.randn(2, self.plan.in_channels, *self.case.size, dtype=torch.float64)
        fed = x.clone()
        y = self.mine(fed.requires_grad_() * 1)
        wanted = program(x, self.values).detach()
        if not self._say(
            y.requires_grad, "gradient-cut", "in evaluation mode no gradient can get through it.",
            "Whether gradients are recorded is the caller's choice.",
        ):
            return False
        with torch.no_grad():
            fed = x.clone()
            self.mine(fed)
            if not self._unchanged(fed, x):
                return False
            if same(y.detach(), wanted):
                return self._one_at_a_time(x, wanted)
            for fault in faults_of(self.plan):
                with suppress(RuntimeError, ValueError, IndexError):
                    if same(y.detach(), fault.edit(program)(x, self.values)):
                        return self._say(
                            False, "eval-mode", "in evaluation mode, and only there, "
                            + _lowered(fault.message.format(
                                total=y.numel(), negative=int((y < 0).sum()), lowest=float(y.min()),
                                right_below="some", stride=self.plan.stride)),
                            fault.hint,
                        )  # fmt: skip
        return self._say(
            False, "eval-mode",
            "in evaluation mode, after a few training steps, the output differs from the reference's by up to "
            f"{(y - wanted).abs().max():.2g}, though in training mode it is right. The running statistics are not "
            "used there, or not moved by a tenth at each step (momentum=0.1), or the block does something else.",
            "nn.BatchNorm2d with its defaults, each used once, and train() and eval() left to the caller.",
        )

    def _one_at_a_time(self, x: Tensor, wanted: Tensor) -> bool:
        one, right = self.mine(x[:1].clone()), wanted[:1]
        if not self._say(
            one.shape == right.shape, "wrong-shape",
            f"one image alone, {_by(x[:1].shape)}, became {_by(one.shape)} instead of {_by(right.shape)}.",
            "squeeze() takes away the batch's axis as well when there is one image.",
        ):
            return False
        return self._say(
            same(one, right), "eval-mode",
            "in evaluation mode an image's output depends on the images beside it or before it.",
            "nn.BatchNorm2d with its defaults switches to the running statistics by itself.",
        )

    def _survives_saving(self) -> bool:
        other = self._fresh().double()
        other.load_state_dict(self.mine.state_dict())
        x = torch.randn(2, self.plan.in_channels, *self.case.size, dtype=torch.float64)
        with torch.no_grad():
            kept = same(other.eval()(x.clone()), self.mine(x.clone()))
        if not self._say(
            kept, "state-not-saved",
            "a second block that loads this one's state_dict() gives another output: something that it has "
            "learnt is neither a parameter nor a buffer.",
            "register_buffer(name, tensor) for running statistics that are no nn.BatchNorm2d's.",
        ):
            return False
        mine = {p.data_ptr() for p in self.mine.parameters()}
        return self._say(
            not any(p.data_ptr() in mine for p in other.parameters()), "parameters-shared",
            "two blocks made one after the other share parameters: training one trains the other.",
            "Make the layers in __init__, not in the class body and not as default arguments.",
        )


def _other_projections(plan: Plan) -> Iterator[Variant]:
    if plan.projection is None:
        return
    for size in (3, 2, 5):
        yield (
            "projection-kernel", f"the convolution on the shortcut is {size}x{size}, not 1x1.",
            "The projection mixes channels at each position by itself: a 1×1 convolution.",
            replace(plan, projection=replace(plan.projection, size=size)),
        )  # fmt: skip
    width = plan.branch[0].out_channels
    for i, o in {(plan.in_channels, width), (width, plan.out_channels), (plan.in_channels, 4 * plan.in_channels),
                 (plan.in_channels, plan.in_channels)} - {(plan.in_channels, plan.out_channels)}:  # fmt: skip
        yield (
            "projection-channels",
            f"the projection goes from {i} to {o} channels; x has {plan.in_channels}, and the branch makes "
            f"{plan.out_channels}.", "From the block's input channels to its output channels.",
            replace(plan, projection=replace(plan.projection, in_channels=i, out_channels=o)),
        )  # fmt: skip
    for groups in (2, 4, 8, 16):
        if plan.in_channels % groups == plan.out_channels % groups == 0 and plan.in_channels > groups:
            yield (
                "projection-grouped", f"the projection is a grouped convolution, in {groups} groups.",
                "The 1×1 on the shortcut sees all channels.",
                replace(plan, projection=replace(plan.projection, groups=groups)),
            )  # fmt: skip


def _lowered(message: str) -> str:
    return message[:1].lower() + message[1:]


def _stored(gradient: Tensor | None, parameter: nn.Parameter) -> Tensor | None:
    """Return a role's gradient in the form in which the block keeps the parameter."""
    if gradient is None:
        return None
    found = fit(tuple(parameter.shape), [tuple(gradient.shape)])
    return found[1](gradient) if found else gradient.reshape(parameter.shape)


def _same_gradient(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return (one is None or not one.any()) and (other is None or not other.any())
    return same(one, other)


def _kernels(shapes: Counter) -> Counter:
    return Counter({shape: n for shape, n in shapes.items() if len(shape) > 1})


def _by(shape) -> str:
    return " x ".join(map(str, shape))


def _shapes(shapes: Iterable[tuple[int, ...]]) -> str:
    return ", ".join(map(str, (tuple(shape) for shape in shapes if len(key(shape)) > 1))) or "none"


def _listed(shapes: Counter) -> str:
    return ", ".join("×".join(map(str, shape)) for shape in sorted(shapes.elements())) or "none"


def _roles(roles: list[Role]) -> str:
    words = {"kernel": "the kernel", "gain": "the batch norm's weight", "shift": "the batch norm's bias"}
    some = dict.fromkeys(f"{words[kind]} behind the {layer}" if kind != "kernel" else f"{words[kind]} of the {layer}"
                         for layer, kind, _ in roles)
    return ", ".join(list(some)[:3]) + (" …" if len(some) > 3 else "")
