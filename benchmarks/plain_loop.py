"""Training throughput beside the loop that everybody copies.

That loop: a `DataLoader` with worker processes, one PIL image after another through torchvision's
transforms, float32, the usual memory order, SGD.  It has a process of its own, with nothing set there
that the engine sets.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

from benchmarks.turns import in_turns_apart
from resnet_tutorial.blocks import BasicBlock
from resnet_tutorial.cifar import ZeroPadShortcut
from resnet_tutorial.data import ImageSet
from resnet_tutorial.solutions.chapter03 import ZeroPadShortcut as SlicingShortcut
from resnet_tutorial.train import get_recipe
from resnet_tutorial.train.augment import Draws
from resnet_tutorial.train.loop import _train_step
from resnet_tutorial.train.memory import keep_freed_memory
from resnet_tutorial.train.prepare import prepare
from resnet_tutorial.zoo import build_model

# Network, its options, and how many batches of 128 make one turn on a processor.
NETWORKS: tuple[tuple[str, dict[str, Any], int], ...] = (("cifar_resnet20", {}, 40), ("resnet18", {"stem": "cifar"}, 6))
BATCH = 128
WORKERS = min(8, os.cpu_count() or 2)
WORDS = {"whole": "whole images", "recipe": "the recipe, half of it on small windows",
         "kept": "the plain loop when it keeps freed memory"}  # fmt: skip
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def some_images(count: int = 10_000) -> ImageSet:
    """Return random images of CIFAR-10's size: for a timing their content does not matter."""
    chance = np.random.default_rng(0)
    pixels = chance.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    labels = chance.integers(0, 10, count)
    names = tuple(f"class {number}" for number in range(10))
    return ImageSet("random", pixels, labels, pixels[:BATCH], labels[:BATCH], names)


class PilImages(Dataset):
    """The images one at a time, as torchvision's own CIFAR10 class gives them."""

    def __init__(self, data: ImageSet) -> None:
        self.data = data
        self.transform = transforms.Compose([
            transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(),
            transforms.ToTensor(), transforms.Normalize(MEAN, STD)])  # fmt: skip

    def __len__(self) -> int:
        return len(self.data.train_labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = Image.fromarray(self.data.train_images[index])
        return self.transform(image), int(self.data.train_labels[index])


def as_usually_written(model: nn.Module) -> nn.Module:
    """Write the network's option A as a slice, which is faster in the usual memory order, and return the network.

    The last mean stays a pooling, which is the faster one in either order.
    """
    for block in list(model.modules()):
        if isinstance(block, BasicBlock) and isinstance(block.downsample, ZeroPadShortcut):
            sizes = block.conv1.in_channels, block.conv2.out_channels
            block.downsample = SlicingShortcut(*sizes, block.downsample.stride)
    return model


def plain(model: nn.Module, data: ImageSet, device: torch.device, steps: int) -> Callable[[], None]:
    """Return a function that trains for one epoch of `steps` batches, as the usual loop does."""
    # An epoch is a turn: no worker prepares images beyond its end, while the other way has its turn.
    images = RandomSampler(range(len(data.train_labels)), num_samples=steps * BATCH)
    loader = DataLoader(PilImages(data), BATCH, sampler=images, num_workers=WORKERS,
                        pin_memory=device.type == "cuda", persistent_workers=True)  # fmt: skip
    model.to(device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)

    def turn() -> None:
        for images, labels in loader:
            images, labels = images.to(device), labels.to(device)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            loss.item()  # such loops print it

    return turn


def engine(model: nn.Module, data: ImageSet, device: torch.device, steps: int, *, windows: bool = False,
           precision: str = "auto", compile: str | bool = "auto") -> Callable[[], None]:
    """Return a function that trains for `steps` batches, as `fit` does: on whole images, or on its small windows."""
    recipe = get_recipe("fast").but(early_share=float(windows), holdout=0.0, epochs=1000)
    run = prepare(model, data, recipe, seed=0, device=device, curve_on="none",
                  precision=precision, compile=compile)
    per_epoch = run.steps_per_epoch
    draws: Draws | None = None

    def turn() -> None:
        nonlocal draws
        for _ in range(steps):
            epoch, index = divmod(run.step, per_epoch)
            if index == 0 or draws is None:
                draws = run.draw(epoch)
            _train_step(run, draws.batch(index * BATCH, (index + 1) * BATCH))
        run.sums.loss.item()

    return turn


def turn_length(on_a_processor: int, device: torch.device) -> int:
    """Return how many batches make one turn: on a GPU at least 40, since it is done with a few in no time."""
    return max(40, on_a_processor) if device.type == "cuda" else on_a_processor


def make_way(way: str, name: str, options: dict[str, Any], steps: int) -> Callable[[], None]:
    """Return a turn of one way, with a new network and new images.

    The ways: ``"plain"``; ``"kept"``, the plain loop in a process that keeps the memory that it frees, as the engine's
    does on a processor; ``"whole"`` and ``"windows"``, the engine on either size of images.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    model, data = build_model(name, num_classes=10, **options), some_images()
    if way == "kept":
        keep_freed_memory()
    if way in ("plain", "kept"):
        return plain(as_usually_written(model), data, device, steps)
    return engine(model, data, device, steps, windows=way == "windows")


def measure(repeats: int) -> dict[str, float]:
    """Print and return how many times as many images a second the engine trains on.

    Ratios for each network: on whole images, as the plain loop has them; as the recipe `fast` trains, which spends
    half of its epochs on windows of 24 pixels; and, on a processor, how much faster the plain loop is when it keeps
    the memory that it frees.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    results = {}
    print(f"  the plain loop has {WORKERS} worker processes")
    for name, options, on_a_processor in NETWORKS:
        steps = turn_length(on_a_processor, device)
        names = ("plain", "whole", "windows") if device.type == "cuda" else ("plain", "kept", "whole", "windows")
        ways = {way: partial(make_way, way, name, options, steps) for way in names}
        times = in_turns_apart(ways, repeats)
        times["recipe"] = (times["whole"] + times["windows"]) / 2
        for way, words in WORDS.items():
            if way in times:
                results[f"{name}, {words}"] = ratio = times["plain"] / times[way]
                print(f"  {name:16} {BATCH * steps / times[way]:8.0f} images/s, plain loop "
                      f"{BATCH * steps / times['plain']:8.0f}: {ratio:5.2f} times as many; {words}", flush=True)
    return results
