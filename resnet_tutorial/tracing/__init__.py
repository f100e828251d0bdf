"""The parts of the shape tracer, one purpose a file; ``trace()`` stands in ``run``.

Watching the forward pass: ``recorder`` is handed every call of a torch function; ``spellings``
gives it one name; ``rules`` knows the shape of the common results and ``hollow`` what torch would
refuse; ``standins`` and ``state`` leave the model untouched; ``inputs``, ``marks`` and
``whereabouts`` make the inputs, follow tensors and find the learner's line.

What comes of it: ``records`` are the parts of a trace; ``graph`` puts them together, with
``kinds`` (settings and arithmetic) and ``fields`` (receptive fields); ``branches`` finds the skip
connections; ``warnings`` and ``gradients`` look for quiet mistakes, ``diagnosis`` and ``faults``
explain a failure; ``difference`` compares two traces; ``rows``, ``text`` and ``markup`` are the
table; ``trace`` holds it all.
"""
