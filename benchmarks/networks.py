"""The book's networks beside torchvision's: same weights, same images, forward and backward."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torchvision.models import get_model

from benchmarks.turns import in_turns
from resnet_tutorial.train.memory import keep_freed_memory
from resnet_tutorial.zoo import build_model

NETWORKS = ("resnet50", "resnext50_32x4d")
BATCH, SIZE = 4, 128
PAIRS = 8


def forward(model: nn.Module, x: Tensor) -> None:
    """Evaluate one batch."""
    with torch.no_grad():
        model.eval()(x)


def both(model: nn.Module, x: Tensor) -> None:
    """Evaluate one batch and compute all gradients."""
    model.train()(x).sum().backward()
    model.zero_grad()


def ratio_of_one_pair(name: str, work: Callable[[nn.Module, Tensor], None], x: Tensor, ours_first: bool,
                      repeats: int) -> float:
    """Return our time by torchvision's, of one new copy of each."""
    torch.manual_seed(0)
    theirs, ours = (build(name).to(x.device) for build in (get_model, build_model))
    ours.load_state_dict(theirs.state_dict())
    order = {"ours": ours, "theirs": theirs} if ours_first else {"theirs": theirs, "ours": ours}
    times = in_turns({way: partial(work, network, x) for way, network in order.items()}, repeats)
    return times["ours"] / times["theirs"]


def measure(repeats: int) -> dict[str, float]:
    """Print and return the ratios of our time to torchvision's."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # Without this a processor's time depends on which freed block the C library happens to give back to the system:
    # two copies of one network differ by a tenth.
    keep_freed_memory()
    x = torch.randn(BATCH, 3, SIZE, SIZE, device=device)
    results = {}
    for name in NETWORKS:
        for words, work in (("forward", forward), ("forward and backward", both)):
            # Where a copy lies in memory, and which one runs before the other, is worth one or two hundredths.
            ratios = [ratio_of_one_pair(name, work, x, pair % 2 == 0, repeats) for pair in range(PAIRS)]
            results[f"{name}, {words}"] = ratio = statistics.geometric_mean(ratios)
            print(f"  {name}, {words:22} {ratio:6.3f} of torchvision's time "
                  f"({min(ratios):.3f} to {max(ratios):.3f} in {PAIRS} pairs of copies)", flush=True)
    return results
