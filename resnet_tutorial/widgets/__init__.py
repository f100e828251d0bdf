"""The book's widgets: things to drag and to click, in a notebook and on a page without a kernel."""

from __future__ import annotations

from .convolution import ConvolutionExplorer
from .resnext import ResNeXtExplorer
from .runs import RunViewer
from .tracer import ShapeTracer

__all__ = ["ConvolutionExplorer", "ResNeXtExplorer", "RunViewer", "ShapeTracer"]
