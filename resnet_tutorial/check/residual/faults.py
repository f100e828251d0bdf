"""The ways in which learners write a residual block wrongly, each an edit of the right program.

What a fault changes is told by running the edited program: a learner's block whose output equals
that of an edit, to eight digits on random numbers, has that fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from .plan import Layer, Plan
from .program import ACTIVATIONS, Act, Bias, Conv, Detach, Norm, Pool, Program

Edit = Callable[[Program], Program]


@dataclass(frozen=True)
class Fault:
    """One fault: its stable code, what the report says, and what it does to the program.

    ``message`` may hold ``{total}``, ``{negative}``, ``{lowest}`` and ``{right_below}``, which the
    judge fills with what it saw. ``common``: whether it is looked for together with another one.
    ``about``: the layer, where the same fault at two layers is worth two sentences.
    """

    code: str
    message: str
    hint: str
    edit: Edit
    common: bool = False
    about: str = ""

    @property
    def key(self) -> str:
        """What is not to be said twice: the code, and which layer it is about where that matters."""
        return self.code + self.about


def faults_of(plan: Plan) -> Iterator[Fault]:
    """Yield every fault that a block of this plan can have without changing the output's shape."""
    yield from _around_the_addition()
    yield from _at_the_shortcut(plan)
    yield from _between_the_layers(plan)
    yield from _at_the_norms(plan)
    yield from _at_the_convolutions(plan)
    yield _pre_activation(plan)


# --- edits


def _in_branch(change: Callable[[tuple], tuple]) -> Edit:
    return lambda program: replace(program, branch=change(program.branch))


def _in_shortcut(change: Callable[[tuple], tuple]) -> Edit:
    return lambda program: replace(program, shortcut=change(program.shortcut))


def _everywhere(change: Callable[[tuple], tuple]) -> Edit:
    return lambda program: replace(
        program, branch=change(program.branch), shortcut=change(program.shortcut), after=change(program.after)
    )


def _behind(change: Callable[[tuple], tuple]) -> Edit:
    """Change what stands behind the addition."""
    return lambda program: replace(program, after=change(program.after))


def _join(name: str) -> Edit:
    return lambda program: replace(program, join=name)


def _shortcut_from(place: int) -> Edit:
    return lambda program: replace(program, shortcut_from=place)


def _after_layer(steps: tuple, layer: Layer, kind: type) -> int | None:
    """Return the place of the first step of a kind behind a layer's convolution."""
    start = next((i for i, s in enumerate(steps) if isinstance(s, Conv) and s.layer.name == layer.name), None)
    if start is None:
        return None
    for place in range(start + 1, len(steps)):
        if isinstance(steps[place], Conv):
            return None
        if isinstance(steps[place], kind):
            return place
    return None


def _without(layer: Layer, kind: type) -> Callable[[tuple], tuple]:
    def change(steps: tuple) -> tuple:
        place = _after_layer(steps, layer, kind)
        return steps if place is None else steps[:place] + steps[place + 1 :]

    return change


def _swapped(layer: Layer) -> Callable[[tuple], tuple]:
    """Put the activation behind a layer before its norm."""

    def change(steps: tuple) -> tuple:
        norm, act = _after_layer(steps, layer, Norm), _after_layer(steps, layer, Act)
        if norm is None or act is None:
            return steps
        moved = list(steps)
        moved[norm], moved[act] = moved[act], moved[norm]
        return tuple(moved)

    return change


def _each(change_step: Callable) -> Callable[[tuple], tuple]:
    return lambda steps: tuple(change_step(step) for step in steps)


def _then(*changes: Callable[[tuple], tuple]) -> Callable[[tuple], tuple]:
    def change(steps: tuple) -> tuple:
        for one in changes:
            steps = one(steps)
        return steps

    return change


# --- the addition


def _around_the_addition() -> Iterator[Fault]:
    yield Fault(
        "relu-before-add",
        "none of the {total} outputs is smaller than the shortcut's value (in a right block "
        "{right_below} are): a ReLU stands on the branch before the addition, and the block can only add.",
        "End the branch with its last batch norm; the ReLU comes after the addition.",
        _in_branch(lambda steps: (*steps, Act())), common=True,
    )  # fmt: skip
    yield Fault(
        "relu-before-add",
        "the ReLU stands one bracket too early: relu(F(x)) + shortcut is computed, so that {negative} of {total} "
        "outputs are negative, and none is smaller than the shortcut's value.",
        "relu(F(x) + shortcut): add first.",
        lambda program: replace(program, branch=(*program.branch, Act()), after=()),
    )  # fmt: skip
    yield Fault(
        "missing-final-relu",
        "{negative} of {total} outputs are negative, the lowest is {lowest:.2f}: "
        "the ReLU after the addition is missing.",
        "return F.relu(out + shortcut).",
        lambda program: replace(program, after=tuple(s for s in program.after if not isinstance(s, Act))),
        common=True,
    )  # fmt: skip
    yield Fault(
        "no-shortcut", "the output is relu(F(x)): x is never added, and this is a plain block.",
        "Keep x, or its projection, and add it to what leaves the branch.", _join("branch only"), common=True,
    )  # fmt: skip
    yield Fault(
        "no-branch", "the output is the shortcut alone: what leaves the branch is never used.",
        "return F.relu(out + shortcut): both of them.", _join("shortcut only"), common=True,
    )  # fmt: skip
    yield Fault(
        "shortcut-twice", "the output is relu(F(x) + 2 · shortcut): the shortcut is added twice.",
        "Look for two additions, for example one += and one +.", _join("shortcut twice"), common=True,
    )  # fmt: skip
    for join, what in (("branch twice", "F(x) + F(x)"), ("branch twice and shortcut", "2 F(x) + shortcut")):
        yield Fault(
            "branch-twice", f"the branch's result is added twice: {what}.",
            "Was x given a new value on the way? Keep the input under a name of its own, and add that, once.",
            _join(join),
        )  # fmt: skip
    for join in ("branch minus shortcut", "shortcut minus branch"):
        yield Fault(
            "subtracted", f"one side is subtracted from the other ({join}).", "out + shortcut.",
            _join(join), common=True,
        )  # fmt: skip
    for join, code, what in (
        ("multiply", "multiplied", "branch and shortcut are multiplied"),
        ("shortcut times branch plus one", "multiplied", "the shortcut is multiplied by 1 + F(x)"),
        ("mean", "averaged", "branch and shortcut are averaged"),
        ("larger", "maximum", "the larger of branch and shortcut is taken"),
        ("smaller", "minimum", "the smaller of branch and shortcut is taken"),
        ("gate", "multiplied", "the branch is used as a gate, sigmoid(F(x)) · shortcut"),
        ("sum over the square root of 2", "scaled", "the sum is divided by the square root of 2"),
        ("0.5 branch", "scaled", "the branch is halved before the addition"),
        ("0.1 branch", "scaled", "the branch is multiplied by 0.1 before the addition"),
        ("0.2 branch", "scaled", "the branch is multiplied by 0.2 before the addition"),
        ("0.5 shortcut", "scaled", "the shortcut is halved before the addition"),
        ("0.1 shortcut", "scaled", "the shortcut is multiplied by 0.1 before the addition"),
    ):
        yield Fault(code, f"{what}.", "A residual block adds them as they are: out + shortcut.", _join(join))
    yield Fault(
        "relu-twice-apart", "branch and shortcut each go through a ReLU and are added then.",
        "relu(F(x) + shortcut), one ReLU on the sum, not relu(F(x)) + relu(shortcut).",
        lambda program: replace(
            program, branch=(*program.branch, Act()), shortcut=(*program.shortcut, Act()), after=()
        ),
    )  # fmt: skip


# --- the shortcut


def _at_the_shortcut(plan: Plan) -> Iterator[Fault]:
    yield Fault(
        "relu-on-shortcut", "a ReLU stands on the shortcut, so that its negative values are lost.",
        "The shortcut has no ReLU. Was x changed by an in-place ReLU before it was added?",
        _in_shortcut(lambda steps: (*steps, Act())), common=True,
    )  # fmt: skip
    yield Fault(
        "relu-on-input", "a ReLU is applied to x first, so that both ways lose its negative values.",
        "The block begins with its first convolution; x came out of a ReLU already, or is an image.",
        lambda program: replace(program, before=(Act(),)),
    )  # fmt: skip
    for place in range(1, 3 * len(plan.branch) - 1):
        yield Fault(
            "wrong-tensor-added",
            "what is added to the branch's end is not x but a result from inside the branch: "
            "the name x (or identity) was given to something else on the way.",
            "Keep the input under a name of its own before the first convolution: identity = x.",
            _shortcut_from(place),
        )  # fmt: skip
    if plan.projection is None:
        yield Fault(
            "norm-on-shortcut", "x goes through a batch norm on the shortcut.",
            "Where the shapes agree, x itself is added: no layer stands on its way.",
            _in_shortcut(lambda steps: (*steps, Norm(replace(plan.branch[-1], name="shortcut", norm_parts=1)))),
        )  # fmt: skip
        return
    projection = plan.projection
    yield Fault(
        "relu-on-shortcut", "a ReLU stands before the projection, so that the negative values of x are lost.",
        "The projection takes x as it is.", _in_shortcut(lambda steps: (Act(), *steps)),
    )  # fmt: skip
    yield Fault(
        "relu-on-shortcut", "on the shortcut a ReLU stands between the convolution and its batch norm.",
        "The projection is a 1×1 convolution and a batch norm, nothing more.",
        _in_shortcut(lambda steps: (steps[0], Act(), *steps[1:])),
    )  # fmt: skip
    if plan.stride > 1:
        for largest, word in ((False, "average"), (True, "largest value")):
            yield Fault(
                "pooled-projection",
                f"the projection takes the {word} of {{stride}} x {{stride}} pixels and strides nowhere. "
                "(With the average this is ResNet-D, a later variant.)",
                "Here the projection is a 1×1 convolution with the block's stride, and a batch norm.",
                _in_shortcut(_pooled_first(Pool(plan.stride, largest), projection)),
            )  # fmt: skip


# --- between the layers


def _between_the_layers(plan: Plan) -> Iterator[Fault]:
    inner = plan.branch[:-1]
    for layer in inner:
        yield Fault(
            "missing-inner-relu",
            f"there is no ReLU behind the {layer.name}, so that it and the next convolution are nearly one "
            "linear map.",
            "F.relu after each batch norm inside the branch.", _in_branch(_without(layer, Act)),
            common=True, about=layer.name,
        )  # fmt: skip
        yield Fault(
            "relu-before-bn", f"behind the {layer.name} the ReLU stands before the batch norm.",
            "The order is convolution, batch norm, ReLU.", _in_branch(_swapped(layer)),
            common=True, about=layer.name,
        )  # fmt: skip
    if len(inner) > 1:
        yield Fault(
            "missing-inner-relu", "there is no ReLU inside the branch at all.",
            "F.relu after each batch norm inside the branch.",
            _in_branch(_then(*(_without(layer, Act) for layer in inner))), common=True,
        )  # fmt: skip
        yield Fault(
            "relu-before-bn", "in the branch each ReLU stands before its batch norm.",
            "The order is convolution, batch norm, ReLU.",
            _in_branch(_then(*(_swapped(layer) for layer in inner))), common=True,
        )  # fmt: skip
    for name in ACTIVATIONS:
        if name == "ReLU":
            continue
        swap = _each(lambda step, name=name: Act(name) if isinstance(step, Act) else step)
        hint = "The block of this exercise uses nn.ReLU (F.relu) everywhere."
        yield Fault("wrong-activation", f"its activations are {name}, not ReLU.", hint, _everywhere(swap))
        yield Fault(
            "wrong-activation", f"the activation after the addition is {name}, not ReLU.", hint,
            _behind(swap),
        )  # fmt: skip
        yield Fault(
            "wrong-activation", f"inside the branch the activation is {name}, not ReLU.", hint, _in_branch(swap)
        )
        for layer in inner if len(inner) > 1 else ():
            yield Fault(
                "wrong-activation", f"behind the {layer.name} stands {name}, not ReLU.", hint,
                _in_branch(_one_activation(layer, name)),
            )  # fmt: skip


def _one_activation(layer: Layer, name: str) -> Callable[[tuple], tuple]:
    def change(steps: tuple) -> tuple:
        place = _after_layer(steps, layer, Act)
        return steps if place is None else (*steps[:place], Act(name), *steps[place + 1 :])

    return change


# --- batch norms


def _at_the_norms(plan: Plan) -> Iterator[Fault]:
    hint = "Each convolution is followed by a batch norm of its own, the last one of the branch too."
    for layer in plan.layers:
        code, missing = "bn-missing", f"no batch norm follows the {layer.name}."
        if layer is plan.projection:
            missing = "no batch norm follows the 1×1 convolution of the shortcut."
            hint = "A projection is a 1×1 convolution and a batch norm."
        yield Fault(code, missing, hint, _everywhere(_without(layer, Norm)), common=True, about=layer.name)
        biased = _replace_norm(layer, lambda norm: Bias(norm.layer))
        yield Fault(code, missing, hint, _everywhere(biased), common=True, about=layer.name)
    for to, but in (((), "there is no batch norm in the block."), (None, "there is no batch norm in the branch.")):
        layers = plan.layers if to == () else plan.branch
        yield Fault("bn-missing", but, hint, _everywhere(_then(*(_without(layer, Norm) for layer in layers))))
        yield Fault(
            "bn-missing", but, hint,
            _everywhere(_then(*(_replace_norm(layer, lambda n: Bias(n.layer)) for layer in layers))),
        )  # fmt: skip
    for kind, what in (
        ("instance", "instance norm"), ("layer", "a group norm with one group (a layer norm)"),
        ("group 2", "a group norm with 2 groups"), ("group 4", "a group norm with 4 groups"),
        ("group 8", "a group norm with 8 groups"), ("channels", "a layer norm over the channels"),
        ("channels / 2", "a group norm of 2 channels a group"), ("channels / 4", "a group norm of 4 channels a group"),
        ("channels / 8", "a group norm of 8 channels a group"),
    ):  # fmt: skip
        yield from _other_norms(
            plan, "wrong-norm", f"there stands {what} where a batch norm should be.",
            "nn.BatchNorm2d(channels): it normalises each channel over the whole batch.",
            lambda norm, kind=kind: replace(norm, kind=kind),
        )  # fmt: skip
    yield from _other_norms(
        plan, "bn-in-eval", "in training mode a batch norm uses its running statistics, not those of the batch.",
        "Leave the mode to whoever calls block.train() or block.eval(), and training=self.training.",
        lambda norm: replace(norm, kind="running"),
    )  # fmt: skip
    yield from _other_norms(
        plan, "bn-not-trained", "a batch norm has no weight and no bias of its own.",
        "nn.BatchNorm2d with its default settings (affine=True).", lambda norm: replace(norm, affine=False),
    )  # fmt: skip
    for eps in (1e-3, 1e-6, 1e-8, 0.0, 1e-4, 1e-2, 1e-12, 1.0, 0.1, 1e-7, 1e-9, 1e-10):
        yield from _other_norms(
            plan, "wrong-eps", f"a batch norm has eps={eps:g}, not 1e-5.",
            "nn.BatchNorm2d with its default settings, as torchvision has it.",
            lambda norm, eps=eps: replace(norm, eps=eps), each=eps in (1e-3, 1e-6),
        )  # fmt: skip
    last = plan.branch[-1]
    yield Fault(
        "bn-after-add", "the last batch norm stands after the addition, where it rescales the shortcut too.",
        "Normalise what leaves the last convolution, then add.",
        lambda program: replace(
            program, branch=_without(last, Norm)(program.branch), after=(Norm(last), *program.after)
        ),
        common=True,
    )  # fmt: skip


def _replace_norm(layer: Layer, change_norm: Callable) -> Callable[[tuple], tuple]:
    def change(steps: tuple) -> tuple:
        place = _after_layer(steps, layer, Norm)
        return steps if place is None else (*steps[:place], change_norm(steps[place]), *steps[place + 1 :])

    return change


def _other_norms(
    plan: Plan, code: str, message: str, hint: str, change: Callable, each: bool = True
) -> Iterator[Fault]:
    """Yield the same change of all norms, of the branch's, of the shortcut's, and of each single one."""
    inner, outer = plan.branch[:-1], plan.branch[-1:] + plan.layers[len(plan.branch) :]
    sets = {tuple(l.name for l in some): some for some in (
        plan.layers, plan.branch, inner, outer, *((layer,) for layer in plan.layers if each)
    )}  # fmt: skip
    for layers in sets.values():
        where = "" if layers == plan.layers else f" (behind the {', the '.join(l.name for l in layers)})"
        yield Fault(
            code, message.rstrip(".") + where + ".", hint,
            _everywhere(_then(*(_replace_norm(layer, change) for layer in layers))),
        )  # fmt: skip


# --- convolutions


def _at_the_convolutions(plan: Plan) -> Iterator[Fault]:
    if plan.stride > 1:
        right = next(layer for layer in plan.branch if layer.stride > 1)
        for layer in plan.branch:
            if layer is right:
                continue
            yield Fault(
                "stride-wrong-conv",
                f"the stride of {{stride}} stands in the {layer.name}; it belongs to the {right.name}."
                + _about_the_stride(plan, layer),
                f"Give the stride to the {right.name}, and to the projection.",
                _in_branch(_move_stride(layer, plan.stride)), common=True,
            )  # fmt: skip
        if right.size > 1:
            for largest, first in product((False, True), repeat=2):
                yield Fault(
                    "pooled-stride",
                    f"the branch strides by {'max' if largest else 'average'} pooling "
                    f"{'before' if first else 'behind'} its {right.name}, not by the convolution itself.",
                    f"Give the stride to the {right.name}.",
                    _in_branch(_strided_by(right, Pool(plan.stride, largest), first)),
                )  # fmt: skip
    wide = [layer for layer in plan.branch if layer.size > 1]
    for mode, how in (
        ("reflect", "with mirrored values, not with zeros"), ("replicate", "with copies, not with zeros"),
        ("circular", "with the other side's values, not with zeros"),
        ("same", "as TensorFlow's \"same\" does, at stride 2 on one side only"),
    ):  # fmt: skip
        borders: dict[tuple[Layer, ...], str] = {tuple(wide): ""}
        for layer in wide[:-1] and wide:
            borders[(layer,)] = f" of the {layer.name}"
        for layers, where in borders.items():
            names = {layer.name for layer in layers}
            yield Fault(
                "wrong-padding", f"the border{where} is padded {how}.",
                "padding=1 and nothing else: zeros are nn.Conv2d's default.",
                _in_branch(_each(lambda step, mode=mode, names=names: replace(step, padding_mode=mode)
                                 if isinstance(step, Conv) and step.layer.name in names else step)),
            )  # fmt: skip
    dilated: set[tuple[Layer, ...]] = {tuple(wide), *((layer,) for layer in wide)}
    for layers in dilated:
        names = {layer.name for layer in layers}
        yield Fault(
            "dilated", f"the {' and the '.join(sorted(names))} is dilated: its nine pixels are two apart.",
            "dilation=1 is the default, and padding=1 belongs to it.",
            _in_branch(_each(lambda step, names=names: replace(step, dilation=2)
                             if isinstance(step, Conv) and step.layer.name in names else step)),
        )  # fmt: skip


def _pooled_first(pool: Pool, projection: Layer) -> Callable[[tuple], tuple]:
    """Put a pooling before the projection, which has no stride then."""
    return lambda steps: (pool, Conv(projection, 1), *steps[1:])


def _strided_by(layer: Layer, pool: Pool, first: bool) -> Callable[[tuple], tuple]:
    """Let a pooling stride in the place of a layer's convolution."""
    return lambda steps: tuple(piece for step in steps for piece in _pooled(step, layer, pool, first))


def _pooled(step: Any, layer: Layer, pool: Pool, first: bool) -> tuple:
    if isinstance(step, Conv) and step.layer.name == layer.name:
        whole = replace(step, stride=1)
        return (pool, whole) if first else (whole, pool)
    return (step,)


def _move_stride(layer: Layer, stride: int) -> Callable[[tuple], tuple]:
    return _each(
        lambda step: replace(step, stride=stride if step.layer.name == layer.name else 1)
        if isinstance(step, Conv) else step
    )  # fmt: skip


def _about_the_stride(plan: Plan, layer: Layer) -> str:
    if layer.size > 1 or len(plan.branch) < 3:
        return ""
    if layer is plan.branch[0]:
        return (
            " That is v1, the paper's placement: same shapes and parameters, but three of four input "
            "pixels are never read."
        )
    return " The 3x3 is computed at every position then, and three of four results are dropped."


def _pre_activation(plan: Plan) -> Fault:
    def edit(program: Program) -> Program:
        steps: list = []
        for layer in plan.branch:
            steps += [Norm(replace(layer, norm_parts=1)), Act(), Conv(layer, layer.stride)]
        shortcut = (Conv(plan.projection, plan.projection.stride),) if plan.projection else ()
        return Program(tuple(steps), shortcut, after=())

    return Fault(
        "pre-activation",
        "batch norm and ReLU stand before each convolution and nothing after the addition: this is "
        "the pre-activated block of chapter 12.",
        "Here the order is convolution, batch norm, ReLU, and a last ReLU follows the addition.", edit,
    )  # fmt: skip


# --- gradients


def cuts() -> Iterator[tuple[str, Edit]]:
    """Yield the places where gradients may have been cut off, with the edit that does it."""
    yield "on the shortcut", _in_shortcut(lambda steps: (*steps, Detach()))
    yield "on the branch", _in_branch(lambda steps: (*steps, Detach()))
    yield "before the branch", _in_branch(lambda steps: (Detach(), *steps))
    yield "before the projection", _in_shortcut(lambda steps: (Detach(), *steps))
    yield "at the input", lambda program: replace(program, before=(Detach(),))
