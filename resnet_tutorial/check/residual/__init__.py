"""One judge for all residual blocks: see :mod:`.judge` for how it decides."""

from .around import default_holds, given_shortcut_holds, is_class
from .judge import judge, one_thread
from .look import Case, Notes, Variant
from .plan import Layer, Plan, basic, bottleneck

__all__ = [
    "Case", "Layer", "Notes", "Plan", "Variant", "basic", "bottleneck", "default_holds", "given_shortcut_holds",
    "is_class", "judge", "one_thread",
]  # fmt: skip
