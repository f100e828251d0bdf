"""`make bench`: how fast the book's networks are beside torchvision's, as ratios inside one run.

    python -m benchmarks [--repeats N]

Both networks get the same weights and the same images, and take turns, so that whatever else the
machine does meets both; the median of the turns is compared.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torchvision

from resnet_tutorial.zoo import build_model

NETWORKS = ("resnet50", "resnext50_32x4d")
BATCH, SIZE = 4, 128


def seconds(work: Callable[[], object]) -> float:
    """Return how long one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(ours: Callable[[], object], theirs: Callable[[], object], repeats: int) -> float:
    """Return the median time of ours over that of theirs; each is warmed up once."""
    ours(), theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(repeats)]
    return statistics.median(a for a, _ in pairs) / statistics.median(b for _, b in pairs)


def main() -> None:
    """Measure each network, forward and forward with backward, and print a table of ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {BATCH} images of {SIZE} pixels")
    print(f"{'network':18} {'forward':>9} {'and backward':>13}   (ours / torchvision's)")
    x = torch.randn(BATCH, 3, SIZE, SIZE)
    for name in NETWORKS:
        torch.manual_seed(0)
        theirs = torchvision.models.get_model(name)
        ours = build_model(name)
        ours.load_state_dict(theirs.state_dict())

        def forward(model: torch.nn.Module) -> None:
            with torch.no_grad():
                model.eval()(x)

        def both(model: torch.nn.Module) -> None:
            model.train()(x).sum().backward()
            model.zero_grad()

        ratios = [
            compare(lambda work=work: work(ours), lambda work=work: work(theirs), repeats)
            for work in (forward, both)
        ]
        print(f"{name:18} {ratios[0]:9.3f} {ratios[1]:13.3f}")


if __name__ == "__main__":
    main()
