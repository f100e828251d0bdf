"""The book's networks beside torchvision's: same weights, same images, forward and backward."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torchvision.models import get_model

from benchmarks.turns import in_turns
from resnet_tutorial.train.memory import keep_freed_memory
from resnet_tutorial.zoo import build_model

NETWORKS = ("resnet50", "resnext50_32x4d")
BATCH, SIZE = 4, 128


def forward(model: nn.Module, x: Tensor) -> None:
    """Evaluate one batch."""
    with torch.no_grad():
        model.eval()(x)


def both(model: nn.Module, x: Tensor) -> None:
    """Evaluate one batch and compute all gradients."""
    model.train()(x).sum().backward()
    model.zero_grad()


def measure(repeats: int) -> dict[str, float]:
    """Print and return the ratios of our time to torchvision's."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # Without this a processor's time depends on which freed block the C library happens to give back to the system:
    # two copies of one network differ by a tenth.
    keep_freed_memory()
    x = torch.randn(BATCH, 3, SIZE, SIZE, device=device)
    results = {}
    for name in NETWORKS:
        torch.manual_seed(0)
        theirs, ours = ([build(name).to(device) for _ in range(2)] for build in (get_model, build_model))
        for network in (*ours, theirs[1]):
            network.load_state_dict(theirs[0].state_dict())
        for words, work in (("forward", forward), ("forward and backward", both)):
            # Two of each, ours first and last: where a copy lies in memory, and what ran before it, is worth a few
            # hundredths.
            order = {"ours": ours[0], "theirs": theirs[0], "theirs, a copy": theirs[1], "ours, a copy": ours[1]}
            times = in_turns({way: partial(work, network, x) for way, network in order.items()}, repeats)
            ratio = (times["ours"] + times["ours, a copy"]) / (times["theirs"] + times["theirs, a copy"])
            results[f"{name}, {words}"] = ratio
            print(f"  {name}, {words:22} {ratio:6.3f} of torchvision's time", flush=True)
    return results
