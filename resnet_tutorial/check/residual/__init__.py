"""One judge for all residual blocks: see :mod:`.judge` for how it decides."""

from .around import default_holds, given_shortcut_holds, is_class
from .judge import Case, Notes, Variant, judge, one_thread
from .plan import Layer, Plan, basic, bottleneck

__all__ = [
    "Case", "Layer", "Notes", "Plan", "Variant", "basic", "bottleneck", "default_holds", "given_shortcut_holds",
    "is_class", "judge", "one_thread",
]  # fmt: skip
