"""What each choice of the training engine gains in speed: all of them, against all but one."""

from __future__ import annotations

import statistics
import subprocess
import sys

import torch

SLICES = "cifar.ZeroPadShortcut, cifar.global_average = slicing, mean_of_map"
# Each line turns one choice off; a process of its own for each, since some cannot be turned on again.
WITHOUT = {
    "nothing": "",
    "nothing, once more": "",  # how far two measurements of the same lie apart
    "16-bit numbers": 'options["precision"] = "float32"',
    "compiling only for a GPU": 'options["compile"] = not torch.cuda.is_available()',
    "keeping freed memory": "prepare.keep_freed_memory = lambda: False",
    "poolings, whose gradients keep their order": SLICES,
    # In the usual order a slice is the faster one.
    "channels_last": f"{SLICES}; loop.crop_and_flip, torch.channels_last = contiguous, torch.contiguous_format",
    "one look-up for all crops": "loop.crop_and_flip = one_at_a_time",
    "a fused optimiser": "torch.optim.SGD = unfused",
}
ONLY_ON_A_PROCESSOR = ("keeping freed memory",)
SCRIPT = """
import statistics, sys, torch
from benchmarks.plain_loop import build_model, engine, some_images
from benchmarks.turns import seconds
from benchmarks.choices import contiguous, mean_of_map, one_at_a_time, slicing, unfused
from resnet_tutorial import cifar
from resnet_tutorial.train import loop, prepare
options, order = {{}}, torch.channels_last
{change}
model = build_model("cifar_resnet20", num_classes=10)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
turn = engine(model, some_images(), device, 40, **options)
torch.channels_last = order
turn()
print(statistics.median(seconds(turn) for _ in range(3)))
"""


def one_at_a_time(pixels, draws, padding):
    """Crop, mirror and normalise image by image: what `crop_and_flip` does, in a loop."""
    import torch

    from resnet_tutorial.train.augment import crop_and_flip

    ones = [crop_and_flip(pixels, draws.batch(i, i + 1), padding) for i in range(len(draws.order))]
    return torch.cat(ones)


def contiguous(pixels, draws, padding):
    """Crop and flip into the usual order in memory: channel after channel."""
    from resnet_tutorial.train.augment import crop_and_flip

    return crop_and_flip(pixels, draws, padding).contiguous()


def slicing(in_channels, out_channels, stride):
    """Return option A written with a slice."""
    from resnet_tutorial.solutions.chapter03 import ZeroPadShortcut

    return ZeroPadShortcut(in_channels, out_channels, stride)


def mean_of_map(x):
    """Average over each map with `mean`."""
    return x.mean(dim=(2, 3))


def unfused(parameters, **options):
    """Return PyTorch's SGD with a loop over the parameters in place of its fused step."""
    from torch.optim.sgd import SGD

    return SGD(parameters, **{**options, "fused": False, "foreach": False})


def measure(repeats: int) -> dict[str, float]:
    """Print and return by which factor the training is slower without each choice."""
    without = {name: change for name, change in WITHOUT.items()
               if not (torch.cuda.is_available() and name in ONLY_ON_A_PROCESSOR)}  # fmt: skip
    times: dict[str, list[float]] = {name: [] for name in without}
    for _ in range(max(1, repeats // 3)):
        for name, change in without.items():
            run = subprocess.run([sys.executable, "-c", SCRIPT.format(change=change)],
                                 stdout=subprocess.PIPE, text=True, check=True)  # fmt: skip
            times[name].append(float(run.stdout.split()[-1]))
    medians = {name: statistics.median(values) for name, values in times.items()}
    results = {name: medians[name] / medians["nothing"] for name in without if name != "nothing"}
    for name, ratio in results.items():
        print(f"  {ratio:5.2f} times as long without {name}", flush=True)
    return results
