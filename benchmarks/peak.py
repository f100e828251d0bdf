"""How much of the machine a training uses: its arithmetic beside the fastest arithmetic there is.

The arithmetic of a step is counted from the network's MACs, forward and backward.  The fastest
arithmetic is a product of two large matrices, measured on the same machine in the same run and in
the format that the training uses; for GPUs whose data sheet is known, the sheet's figure as well.
The literature calls the latter share model FLOPs utilisation (MFU; Chowdhery et al. 2022, "PaLM").
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmarks import plain_loop
from benchmarks.plain_loop import BATCH, engine, some_images, turn_length
from benchmarks.turns import in_turns
from resnet_tutorial import trace
from resnet_tutorial.train.precision import choose_precision, describe_device
from resnet_tutorial.zoo import build_model

NETWORKS: tuple[tuple[str, dict[str, Any], int], ...] = (*plain_loop.NETWORKS, ("resnet50", {"stem": "cifar"}, 2))
PRODUCTS = 10  # in one turn
# 10^12 operations a second in 16 bits without sparsity, from NVIDIA's data sheets.
DATA_SHEETS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L4": 121.0, "T4": 65.0}
T4 = DATA_SHEETS["T4"] * 1e12 / 2  # multiply-adds a second of the usual GPU of free Colab sessions


def training_macs(model: nn.Module, side: int = 32) -> int:
    """Return the multiply-adds of one training step for one image, forward and backward.

    Backward takes twice the forward pass: a product for the gradient of each layer's weights and
    one for that of its input.  Only the first layer's input, the image, needs no gradient.
    """
    forward = trace(model, (1, 3, side, side))
    first = trace(next(layer for layer in model.modules() if isinstance(layer, nn.Conv2d)), (1, 3, side, side))
    return 3 * forward.macs - first.macs


def product(device: torch.device, dtype: torch.dtype) -> tuple[Callable[[], None], int]:
    """Return a function that multiplies two large matrices a few times, and its multiply-adds."""
    size = 8192 if device.type == "cuda" else 2048
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))

    def multiply() -> None:
        for _ in range(PRODUCTS):  # several, since starting one takes a GPU a share of its time
            one @ other

    return multiply, PRODUCTS * size**3


def data_sheet(card: str) -> float | None:
    """Return the multiply-adds a second of a card's data sheet; None for one that is not known."""
    words = card.replace("-", " ").split()
    return next((peak * 1e12 / 2 for name, peak in DATA_SHEETS.items() if name in words), None)


def memory_of(training: Callable[[], None], device: torch.device) -> int:
    """Return the most bytes of a GPU's memory during a turn of training, after one to warm up; 0 on a processor."""
    if device.type != "cuda":
        return 0
    training()
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    training()
    return torch.cuda.max_memory_allocated(device)


def measure(repeats: int) -> dict[str, float]:
    """Print and return which share of the fastest arithmetic the training of each network reaches.

    Also how many images a second that is, and on a GPU the memory that it takes and what it would mean on a T4.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = choose_precision(device)
    sheet = data_sheet(describe_device(device))
    data = some_images()
    multiply, macs_of_product = product(device, dtype)
    results = {}
    training = None
    for name, options, on_a_processor in NETWORKS:
        del training  # and the memory of the network before
        gc.collect()
        steps = turn_length(on_a_processor, device)
        torch.manual_seed(0)
        model = build_model(name, num_classes=10, **options)
        per_image = training_macs(model)
        others = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
        training = engine(model, data, device, steps)
        memory = memory_of(training, device) - others
        seconds = in_turns({"training": training, "product": multiply}, repeats)
        rate = BATCH * steps * per_image / seconds["training"]
        fastest = macs_of_product / seconds["product"]
        results[f"{name}, of a matrix product"] = rate / fastest
        results[f"{name}, images a second"] = rate / per_image
        words = f"{rate / fastest:.0%} of a product's {fastest / 1e9:.0f}"
        if sheet:
            results[f"{name}, of the data sheet"] = rate / sheet
            results[f"{name}, images a second of a T4, estimated"] = on_a_t4 = rate / sheet * T4 / per_image
            words += (f", {rate / sheet:.0%} of the data sheet's {sheet / 1e9:.0f} (a T4 that reached this share of "
                      f"its own would do {on_a_t4:.0f} images/s: an estimate)")
        if memory:
            results[f"{name}, GB of memory at most"] = memory / 1e9
            words += f"; {memory / 1e9:.2f} GB of memory at most"
        print(f"  {name:16} {rate / per_image:8.0f} images/s of {per_image / 1e6:.0f} million MACs: "
              f"{rate / 1e9:.0f} x 10^9 MACs/s, {words}", flush=True)
    return results
