"""The book's networks beside torchvision's: same weights, same images, forward and backward."""

from __future__ import annotations

from functools import partial

import torch
import torchvision
from torch import Tensor, nn

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
        theirs = torchvision.models.get_model(name).to(device)
        ours = build_model(name).to(device)
        ours.load_state_dict(theirs.state_dict())
        for words, work in (("forward", forward), ("forward and backward", both)):
            ways = {"ours": partial(work, ours, x), "theirs": partial(work, theirs, x)}
            times = in_turns(ways, repeats)
            results[f"{name}, {words}"] = ratio = times["ours"] / times["theirs"]
            print(f"  {name}, {words:22} {ratio:6.3f} of torchvision's time", flush=True)
    return results
