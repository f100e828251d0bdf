"""How calls of torch functions are spelt.

Torch has several spellings of one operation (``x + y``, ``x.add(y)``, ``torch.add``,
``x += y``; ``F.relu`` and ``nn.ReLU``).  A trace knows each by one name, so that two networks
which compute the same compare as equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

# what asks about a tensor and computes nothing
QUESTIONS = {
    "size", "dim", "ndimension", "numel", "nelement", "stride", "element_size", "storage_offset",
    "is_floating_point", "is_complex", "is_contiguous", "get_device", "data_ptr", "type",
    "requires_grad_", "retain_grad", "register_hook", "is_same_size", "untyped_storage",
    "__len__", "__hash__", "__repr__", "__str__", "__dir__", "_is_view", "is_inference",
    "broadcast_shapes", "result_type", "is_tensor", "has_names", "is_storage", "is_pinned",
}  # fmt: skip
# properties that are tensors made from the tensor
DERIVED = {"T", "H", "mT", "mH", "data", "real", "imag"}
# what needs the numbers in a tensor
READS = {
    "item", "tolist", "numpy", "__bool__", "__float__", "__int__", "__index__", "__complex__",
    "__format__", "__contains__", "__array__", "__reduce_ex__", "equal", "allclose", "is_nonzero",
}  # fmt: skip
# what fills a tensor that depends on no input
FILLS = {
    "zeros", "ones", "empty", "full", "rand", "randn", "randint", "randperm", "normal", "bernoulli",
}  # fmt: skip
# what moves a tensor to a device
MOVES = {"to", "cpu", "cuda"}

# other spellings -> the name that the trace uses
_SAME = {
    "iadd": "add", "radd": "add", "isub": "sub", "rsub": "sub", "subtract": "sub",
    "imul": "mul", "rmul": "mul", "multiply": "mul",
    "truediv": "div", "rtruediv": "div", "itruediv": "div", "divide": "div", "true_divide": "div",
    "rpow": "pow", "ipow": "pow", "rmatmul": "matmul", "imatmul": "matmul",
    "iand": "and", "rand": "and", "ior": "or", "ror": "or",
    "concat": "cat", "concatenate": "cat",
    "max_pool1d_with_indices": "max_pool1d", "max_pool2d_with_indices": "max_pool2d",
    "max_pool3d_with_indices": "max_pool3d",
    "arctan": "atan", "absolute": "abs", "negative": "neg", "clip": "clamp",
}  # fmt: skip


def name_of(func: Callable) -> str:
    """Return the trace's name of a torch function, for example ``"add"`` for ``Tensor.__iadd__``."""
    name = getattr(func, "__name__", None) or type(func).__name__
    if name == "__get__":  # a property such as ``x.T``
        name = getattr(getattr(func, "__self__", None), "__name__", "property")
    if name.startswith("__") and name.endswith("__"):
        name = name[2:-2]
    elif name.endswith("_") and not name.startswith("_"):
        name = name[:-1]
    return _SAME.get(name, name)


def overwrites(func: Callable, kwargs: dict[str, Any]) -> bool:
    """Tell whether a call changes a tensor that it was given."""
    name = getattr(func, "__name__", "")
    if name.startswith("__"):
        return name in _IN_PLACE_OPERATORS
    return name.endswith("_") or kwargs.get("inplace") is True or kwargs.get("out") is not None


_IN_PLACE_OPERATORS = {
    "__iadd__", "__isub__", "__imul__", "__idiv__", "__itruediv__", "__ifloordiv__", "__imod__",
    "__ipow__", "__iand__", "__ior__", "__ixor__", "__ilshift__", "__irshift__", "__setitem__",
}  # fmt: skip


def property_of(func: Any) -> str:
    """Return the name of the property that a getter such as that of ``x.T`` reads."""
    return getattr(getattr(func, "__self__", None), "__name__", "")


def without_device(args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """Return the arguments of ``x.to(...)`` without the device: a traced tensor stays on its own."""
    named = {
        key: kwargs[key] for key in kwargs if key not in ("device", "non_blocking", "memory_format")
    }
    return tuple(arg for arg in args if not isinstance(arg, (str, int, torch.device))), named
