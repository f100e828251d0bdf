"""The shape tracer: every tensor of a network, and what breaks where.

::

    from resnet_tutorial import resnet50, trace

    t = trace(resnet50(), (1, 3, 224, 224))
    print(t)                    # a table of all operations
    t.operations[4].macs        # numbers of one of them
    t.merges[0].branches        # both branches of the first addition
    t.failure, t.warnings       # what is wrong, in plain words

Nothing is computed: the network runs on tensors that have a shape and no memory, and it is left
as it was found.  The parts stand in ``resnet_tutorial/tracing/``, one purpose a file.
"""

from __future__ import annotations

from .tracing.run import trace
from .tracing.trace import Trace

__all__ = ["Trace", "trace"]
