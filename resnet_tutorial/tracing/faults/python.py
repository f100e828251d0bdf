"""What is no operation's fault: a missing attribute, a wrong number of inputs, no return."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Sequence

from torch import nn

from ..records import Shape, text_of_shape
from .evidence import Cause


def of_nothing(returned_nothing: Sequence[str], error: Exception) -> Cause | None:
    """Recognise a forward without ``return``: somebody goes on with ``None``."""
    if not returned_nothing or "NoneType" not in str(error):
        return None
    return Cause(
        "no-return",
        f"{returned_nothing[-1]} returned None, and what follows needs a tensor.",
        "Its forward ends without a return.",
        "End it with: return x",
    )


def of_forward(
    error: Exception, module: nn.Module | None, shapes: Sequence[Shape], inputs: int
) -> Cause:
    """Explain an exception that a forward raised outside every operation."""
    text = str(error)
    cause = None
    if isinstance(error, NotImplementedError) and "forward" in text:
        cause = _no_forward(module)
    elif isinstance(error, TypeError):
        cause = _wrong_arguments(text, module, inputs)
    elif isinstance(error, AttributeError):
        cause = _no_attribute(text, module)
    elif isinstance(error, RecursionError):
        cause = Cause(
            "recursion",
            "The forward pass calls itself without end.",
            "A module calls self(x), or contains itself.",
            "Call the layers, not the module itself.",
        )
    elif shapes and (match := re.search(r"expected (.*?) ?input \(got", text)):
        cause = _wrong_axes(match[1], module, shapes[0])
    return cause or Cause(
        "error",
        f"The forward pass raised {type(error).__name__}: {text}",
        "",
        "Look at the line that is named above." if text else "",
    )


def of_constructor(error: Exception) -> Cause:
    """Explain why a network could not be built."""
    text = str(error)
    if "groups" in text:
        return Cause(
            "groups",
            f"The network cannot be built: {text.rstrip('.')}.",
            "The groups do not divide the channels: each group needs the same whole number of them.",
            "Choose groups that divide both in_channels and out_channels.",
            operation="construction",
        )
    if "before Module.__init__() call" in text:
        return Cause(
            "no-super-init",
            "A layer is assigned before nn.Module is ready.",
            "__init__ does not begin with super().__init__().",
            "Make super().__init__() the first line of __init__.",
            operation="construction",
        )
    return Cause(
        "construction",
        f"The network cannot be built: {text.rstrip('.')}.",
        "",
        "Look at the line that is named above.",
        operation="construction",
    )


def _no_forward(module: nn.Module | None) -> Cause:
    kind = type(module).__name__
    if isinstance(module, (nn.ModuleList, nn.ModuleDict)):
        return Cause(
            "no-forward",
            f"A {kind} cannot be called.",
            "It only stores modules.",
            "Loop over it, or use nn.Sequential, which calls them one after another.",
            operation="call",
        )
    return Cause(
        "no-forward",
        f"{kind} has no forward method.",
        "It is missing, misspelt, or indented into __init__.",
        "Write def forward(self, x): ... at the level of __init__.",
        operation="call",
    )


def _wrong_arguments(text: str, module: nn.Module | None, inputs: int) -> Cause | None:
    if module is None or "forward() " not in text or "argument" not in text:
        return None
    parameters = inspect.signature(module.forward).parameters.values()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    fix = "Correct the call."
    if inputs != len(names):
        fix = f"Give one shape an input: trace(model, [{', '.join(['shape'] * len(names))}])."
    return Cause(
        "inputs",
        f"The forward of {type(module).__name__} takes {len(names)} inputs: {', '.join(names)}.",
        "It was called with another number of them.",
        fix,
        operation="call",
    )


def _no_attribute(text: str, module: nn.Module | None) -> Cause | None:
    match = re.search(r"'(\w+)' object has no attribute '(\w+)'", text)
    if not match:
        return None
    owner, name = match.groups()
    if owner == "NoneType":
        return Cause(
            "none",
            f"None has no {name}.",
            "Something that should be a tensor or a layer is None.",
            "Look at what the line that is named above was given.",
        )
    is_module = type(module).__name__ == owner
    close = difflib.get_close_matches(name, dir(module), n=1) if is_module else []
    if close:
        return Cause(
            "no-attribute",
            f"{owner} has no {name}.",
            f"It has {close[0]}.",
            f"Write self.{close[0]}.",
        )
    return Cause(
        "no-attribute",
        f"{owner} has no {name}.",
        "__init__ does not set it." if is_module else "It may be misspelt.",
        f"Set self.{name} in __init__."
        if is_module
        else "Compare the name with the documentation.",
    )


def _wrong_axes(expected: str, module: nn.Module | None, shape: Shape) -> Cause:
    kind = type(module).__name__
    cause = Cause("axes", f"{kind} wants {expected} input and gets {text_of_shape(shape)}.", "", "")
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        cause.operation = "batch_norm"
    if len(shape) == 3:
        cause.cause = "The batch axis is missing."
        cause.fix = f"Give a batch of one image: (1, {', '.join(map(str, shape))})."
    elif len(shape) == 2:
        cause.cause = "The map was flattened before it."
        cause.fix = "Flatten after the last convolution only; for features without a map there is nn.BatchNorm1d."
    else:
        cause.cause = "An axis is missing or too many."
        cause.fix = f"Give it {expected} input."
    return cause
