"""The judge of residual blocks: the basic block, the bottleneck, Conv and Identity block, ResNeXt's.

It looks at what a block does, never at its names or at how it is written. The parameters are
compared with those that the task needs; then the block runs beside a reference on the same numbers,
and where the two differ, the reference is rewritten with every fault that learners make, and with
pairs of them, until it gives what the block gives: that fault is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from resnet_tutorial.check.core import Expectations

from .first_call import runs
from .look import Case, Look, Notes, Variant
from .parameters import biases_hold, follows_no_other_plan, is_registered, kernels_hold, lacks_norms
from .plan import Plan
from .thorough import Thorough
from .values import computes


def judge(
    cases: Sequence[Case], expect: Expectations, variants: Callable[[Plan], Iterator[Variant]] = lambda plan: iter(())
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
        if not all(look.is_module() and is_registered(look) for look in looks):
            return False
        if not all(follows_no_other_plan(look) for look in looks):
            return False
        for look in looks:
            if look.plan.projection is None and look.agrees_on_the_projection():
                _all_holds(look)
        if not {"no-shortcut", "no-branch"} & set(notes.codes):
            _survey_projections(looks, notes)
        for look in looks:
            later = look.plan.projection is not None and not (look.case.handed and notes.codes)
            if later and look.agrees_on_the_projection():
                _all_holds(look)
        if trouble is not None and not notes.codes:
            raise trouble
    named = {fault.code for fault in notes.faults}
    unseen = {"bias-before-bn", "input-modified"}  # in the output
    if named and named == set(notes.codes) - unseen:
        notes.say(True, "otherwise-right", "With this mended, the output is the reference's.", "")
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


def _all_holds(look: Look) -> None:
    """Look at everything, each step only where the one before it leaves sense in it."""
    if not kernels_hold(look):
        return
    if not lacks_norms(look):
        biases_hold(look)
    if runs(look) and computes(look) and look.case.thorough and not look.notes.codes:
        Thorough(look).holds()
