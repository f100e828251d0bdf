"""What several exercises of chapter 8 ask of a learner's answer."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from ..common import described, number
from ..core import Expectations


def shape_of(value: Any) -> str:
    """Return a tensor's shape, as in "2 x 3", or the name of another value's type."""
    return " x ".join(map(str, value.shape)) if isinstance(value, Tensor) else type(value).__name__


def expect_number(expect: Expectations, value: Any, name: str, hint: str) -> bool:
    """Expect one number, Python's or a tensor without axes; ``name`` says where it came from."""
    return expect(
        number(value) is not None, "wrong-type", f"{name} gave {described(value)}, not one number.", hint=hint
    )


def first_match(value: float, known: dict[str, float], default: str) -> str:
    """Return the code of the known wrong value that was met."""
    for code, wrong in known.items():
        if math.isclose(value, wrong, rel_tol=1e-6, abs_tol=1e-9):
            return code
    return default


class Recorded(list):
    """What is noted of a network and of its copies, in one list."""

    def __deepcopy__(self, memo: Any) -> Recorded:
        return self

    __copy__ = __deepcopy__
