"""What a right output leaves open: whose parameter is whose, gradients, evaluation mode, the state dict."""

from __future__ import annotations

from contextlib import suppress

import torch
from torch import Tensor, nn

from resnet_tutorial.check.common import begins_alive, by, some

from .faults import cuts, faults_of
from .look import Look
from .plan import Role, key
from .program import Values, draw, right_program
from .roles import Matching, fit, is_bias, match, place, same
from .values import unchanged

TRAINED = 4  # calls in training mode, before evaluation mode is looked at


class Thorough:
    """A thorough look at a block whose output has been found right.

    ``mine`` is a new block of the learner's, and ``values`` what the reference computes with: the
    same random numbers, in the role that each parameter turned out to play.
    """

    def __init__(self, look: Look) -> None:
        self.look, self.block, self.plan = look, look.block, look.plan
        self.program = right_program(self.plan)
        self.roles: dict[str, Role] = {}

    def holds(self) -> bool:
        """Look at roles, gradients, evaluation mode and state dict, and return whether they are right."""
        found = match(self.block, self.plan, self.program, self.look.x)
        if not self._roles_hold(found):
            return False
        self.roles = found.roles
        given = {role: draw(shape) for role, shape in self.plan.roles().items()}
        self.values = Values(given, track=True)
        self.turned = found.turned
        self.mine = self._loaded(given)
        if not (self._trains() and self._evaluates() and self._survives_saving() and self._begins_alive()):
            return False
        self._remark()
        return True

    def _remark(self) -> None:
        """Say what is neither right nor wrong."""
        remark = self.look.notes.expect.remark
        last = {(self.plan.branch[-1].name, "gain", part) for part in range(self.plan.branch[-1].norm_parts)}
        fresh = dict(self.look.fresh().named_parameters())
        if not any(fresh[name].any() for name, role in self.roles.items() if role in last):
            remark(
                "The last batch norm's weight begins at zero, so that a new block only hands its shortcut on "
                "(torchvision's zero_init_residual)."
            )
        if self.look.watch.idle_relus:
            remark("A ReLU gets nothing negative, because another stands before it: it changes nothing and can go.")

    def _roles_hold(self, found: Matching) -> bool:
        for name, roles in found.several.items():
            layers = list(dict.fromkeys(role[0] for role in roles))
            code = "conv-shared" if roles[0][1] == "kernel" else "bn-shared"
            what = "kernel" if code == "conv-shared" else "batch norm"
            where = " and the ".join(layers) if len(layers) > 1 else f"{layers[0]} of {len(roles)} paths"
            return self.look.say(
                False, code, f"one {what} ({name}) serves the {where}.",
                "Each convolution is a layer of its own and has a batch norm of its own.",
            )
        vectors = [name for name in found.biases if not is_bias(self.block, self.plan, name)]
        if not self.look.say(
            not vectors, "bias-before-bn",
            f"{', '.join(vectors)} {'is' if len(vectors) == 1 else 'are'} added before a batch norm, which takes "
            "the mean away, and any bias with it.", "No bias before a batch norm.",
        ):
            return False
        missing = [role for role in self.plan.roles() if role not in found.roles.values()]
        idle = [name for name in found.idle if name not in found.biases and not is_bias(self.block, self.plan, name)]
        if not self.look.say(
            not idle, "unused-parameters",
            f"the parameters {', '.join(idle)} take no part in the output: a layer is made and never used.",
            "Use each layer once in forward, and make none that forward does not need.",
        ) or not self.look.say(
            not found.unknown, "extra-parameters",
            f"the parameters {', '.join(found.unknown)} do what no parameter of this block should.",
            "Convolutions without bias, and batch norms: nothing else is trained.",
        ):
            return False
        return self.look.say(
            not missing, "bn-not-trained" if missing and missing[0][1] != "kernel" else "missing-layer",
            f"nothing plays the part of {_roles(missing)}.",
            "nn.BatchNorm2d with its default settings (affine=True), one behind each convolution.",
        )

    def _loaded(self, given: dict[Role, Tensor]) -> nn.Module:
        """Return a new block with the given numbers in their roles."""
        block = self.look.fresh().double().train()
        for name, parameter in block.named_parameters():
            if name in self.roles:
                place(parameter, given[self.roles[name]].detach(), name in self.turned)
        return block

    def _trains(self) -> bool:
        """Compare outputs and gradients in training mode, on two sizes and two batch sizes."""
        frozen = [name for name, p in self.mine.named_parameters() if name in self.roles and not p.requires_grad]
        if not self.look.say(
            not frozen, "frozen-parameters", f"{', '.join(frozen)} will not be trained (requires_grad=False).",
            "Leave requires_grad alone.",
        ):
            return False
        high, wide = self.look.case.size
        for count, size, memory in (
            (4, (high, wide), torch.contiguous_format), (5, (wide + 1, high + 2), torch.channels_last),
            (3, (1, 1), torch.contiguous_format), (1, (high, wide), torch.contiguous_format),
        ):  # fmt: skip
            x = 3 * torch.randn(count, self.plan.in_channels, *size, dtype=torch.float64)
            x = x.contiguous(memory_format=memory)
            mine = x.clone().requires_grad_()
            try:
                y = self.mine(mine * 1)  # not the leaf itself, which torch guards against in-place changes
            except RuntimeError as error:
                order = " in channels_last order" * (memory == torch.channels_last)
                return self.look.say(
                    False, "size-written-in", f"{by(x.shape)} images{order} raise: {str(error).splitlines()[0]}",
                    "Nothing in the block may depend on the size of the batch or of the image, or on the order "
                    "in memory (.view does; .reshape and .flatten do not).",
                )
            theirs = x.clone().requires_grad_()
            for tensor in self.values.given.values():
                tensor.requires_grad_().grad = None
            wanted = self.program(theirs, self.values)
            if not self.look.say(
                y.shape == wanted.shape, "wrong-shape",
                f"{by(x.shape)} became {by(y.shape)} instead of {by(wanted.shape)}.",
                "Nothing in the block may depend on the size of the batch or of the image; squeeze() does.",
            ) or not self.look.say(
                same(y.detach(), wanted.detach()), "wrong-value",
                f"on {by(x.shape)} and random parameters the output differs from the reference's"
                + (f" by up to {(y - wanted).abs().max():.2g}." if y.shape == wanted.shape else "."),
                "Nothing in the block may depend on the size of the batch or of the image.",
            ):
                return False
            direction = torch.randn_like(wanted)
            if not self._gradients_hold(y, mine, wanted, theirs, direction):
                return False
        return True

    def _gradients_hold(self, y: Tensor, mine: Tensor, wanted: Tensor, theirs: Tensor, direction: Tensor) -> bool:
        """Compare the gradients at the inputs ``mine`` and ``theirs``, and at all parameters."""
        hint = "Leave out .detach(), .data, .item() and torch.no_grad()."
        if not self.look.say(y.requires_grad, "gradient-cut", "no gradient can get through it.", hint):
            return False
        for parameter in self.mine.parameters():
            parameter.grad = None
        try:
            (y * direction).sum().backward()
        except RuntimeError as error:
            return self.look.say(
                False, "backward-fails",
                f"forward is right, but backward() raises: {str(error).split('; expected')[0].split('. Hint')[0]}.",
                "An in-place operation (+=, inplace=True, relu_) overwrote a tensor that backward needs: "
                "write it out of place.",
            )
        (wanted * direction).sum().backward()
        # A role without gradient (none has one before a cut) counts as zero.
        pairs = {"x": (mine.grad, theirs.grad)}
        for name, parameter in self.mine.named_parameters():
            if name in self.roles:
                gradient = self.values.given[self.roles[name]].grad
                pairs[name] = (parameter.grad, _stored(gradient, parameter, name in self.turned))
        wrong = [name for name, (one, other) in pairs.items() if not _same_gradient(one, other)]
        if not wrong:
            return self.look.say(True, "gradient-cut", "", "")
        where = self._place_of_the_cut(mine, theirs.detach(), direction)
        return self.look.say(
            False, "gradient-cut",
            f"the output is right, but not the gradient of {some(wrong, 4)}: "
            + (f"it is cut off {where}." if where else "something on the way cuts or changes it."),
            hint,
        )

    def _place_of_the_cut(self, mine: Tensor, x: Tensor, direction: Tensor) -> str:
        """Say where a cut gives the gradient that the learner's block gave, if one does."""
        got = torch.zeros_like(x) if mine.grad is None else mine.grad
        for where, edit in cuts():
            leaf = x.clone().requires_grad_()
            y = edit(self.program)(leaf, self.values)
            if not y.requires_grad:
                continue
            (y * direction).sum().backward()
            grad = torch.zeros_like(x) if leaf.grad is None else leaf.grad
            if same(got, grad):
                return where
        return ""

    def _evaluates(self) -> bool:
        """After the same steps in training mode: compare in evaluation mode."""
        repeated = self._called_again()  # before evaluation mode, in which some norms go on counting
        self.mine.eval()
        self.values.training = False
        x = 3 * torch.randn(2, self.plan.in_channels, *self.look.case.size, dtype=torch.float64)
        fed = x.clone()
        y = self.mine(fed.requires_grad_() * 1)
        wanted = self.program(x, self.values).detach()
        if not self.look.say(
            y.requires_grad, "gradient-cut", "in evaluation mode no gradient can get through it.",
            "Whether gradients are recorded is the caller's choice.",
        ):
            return False
        with torch.no_grad():
            fed = x.clone()
            self.mine(fed)
            if not unchanged(self.look, fed, x):
                return False
            if same(y.detach(), wanted):
                return self._one_at_a_time(x, wanted)
            for fault in faults_of(self.plan):
                with suppress(RuntimeError, ValueError, IndexError):
                    if same(y.detach(), fault.edit(self.program)(x, self.values)):
                        return self.look.say(
                            False, "eval-mode", "in evaluation mode, and only there, "
                            + _lowered(fault.message.format(
                                total=y.numel(), negative=int((y < 0).sum()), lowest=float(y.min()),
                                right_below="some", stride=self.plan.stride)),
                            fault.hint,
                        )  # fmt: skip
        if repeated:
            return self.look.say(
                False, "bn-called-twice",
                f"in {TRAINED} calls in training mode the batch norm {repeated[0]} ran {repeated[1]} times. "
                "Each time its running statistics move, so that evaluation mode goes wrong.",
                "Call each layer once in forward, and keep its result if it is needed again.",
            )
        return self.look.say(
            False, "eval-mode",
            "in evaluation mode, after a few training steps, the output differs from the reference's by up to "
            f"{(y - wanted).abs().max():.2g}, though in training mode it is right. The running statistics are not "
            "used there, or not moved by a tenth at each step (momentum=0.1), or the block does something else.",
            "nn.BatchNorm2d with its defaults, each used once, and train() and eval() left to the caller.",
        )

    def _called_again(self) -> tuple[str, int] | None:
        """Return a batch norm that counted more batches than there were, and how many."""
        counts = {name: int(b) for name, b in self.mine.named_buffers() if name.endswith("num_batches_tracked")}
        most = max(counts, key=lambda name: counts[name], default="")
        return (most.rpartition(".")[0], counts[most]) if most and counts[most] > TRAINED else None

    def _one_at_a_time(self, x: Tensor, wanted: Tensor) -> bool:
        one, right = self.mine(x[:1].clone()), wanted[:1]
        if not self.look.say(
            one.shape == right.shape, "wrong-shape",
            f"one image alone, {by(x[:1].shape)}, became {by(one.shape)} instead of {by(right.shape)}.",
            "squeeze() takes away the batch's axis as well when there is one image.",
        ):
            return False
        return self.look.say(
            same(one, right), "eval-mode",
            "in evaluation mode an image's output depends on the images beside it or before it.",
            "nn.BatchNorm2d with its defaults switches to the running statistics by itself.",
        )

    def _begins_alive(self) -> bool:
        block = self.look.fresh().double()
        x = torch.randn(4, self.plan.in_channels, *self.look.case.size, dtype=torch.float64)
        return begins_alive(block, x, self.plan.call, self.look.notes.say, only=self.roles)

    def _survives_saving(self) -> bool:
        other = self.look.fresh().double()
        other.load_state_dict(self.mine.state_dict())
        x = torch.randn(2, self.plan.in_channels, *self.look.case.size, dtype=torch.float64)
        with torch.no_grad():
            kept = same(other.eval()(x.clone()), self.mine(x.clone()))
        if not self.look.say(
            kept, "state-not-saved",
            "a second block that loads this one's state_dict() gives another output: something that it has "
            "learnt is neither a parameter nor a buffer.",
            "register_buffer(name, tensor) for running statistics that are no nn.BatchNorm2d's.",
        ):
            return False
        mine = {p.data_ptr() for p in self.mine.parameters()}
        return self.look.say(
            not any(p.data_ptr() in mine for p in other.parameters()), "parameters-shared",
            "two blocks made one after the other share parameters: training one trains the other.",
            "Make the layers in __init__, not in the class body and not as default arguments.",
        )


def _lowered(message: str) -> str:
    return message[:1].lower() + message[1:]


def _stored(gradient: Tensor | None, parameter: nn.Parameter, turned: bool) -> Tensor | None:
    """Return a role's gradient in the form in which the block keeps the parameter."""
    if gradient is None:
        return None
    if turned:
        gradient = gradient.reshape(key(gradient.shape)).T
    found = fit(tuple(parameter.shape), [tuple(gradient.shape)])
    return found[1](gradient) if found else gradient.reshape(parameter.shape)


def _same_gradient(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return (one is None or not one.any()) and (other is None or not other.any())
    return same(one, other)


def _roles(roles: list[Role]) -> str:
    words = {"kernel": "the kernel", "gain": "the batch norm's weight", "shift": "the batch norm's bias"}
    parts = dict.fromkeys(f"{words[kind]} behind the {layer}" if kind != "kernel" else f"{words[kind]} of the {layer}"
                          for layer, kind, _ in roles)
    return some(list(parts), 3)
