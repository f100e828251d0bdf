"""The parts of the shape tracer, one purpose a file.

``records`` what a trace consists of; ``capture`` watches the forward pass; ``kinds`` names
operations and counts their arithmetic; ``fields`` grows receptive fields; ``state`` leaves the
model untouched; ``branches`` finds forks and merges; ``diagnosis`` explains a failure;
``warnings`` looks for quiet mistakes; ``table`` prints; ``difference`` compares; ``trace`` is
the result and ``run`` makes it.
"""
