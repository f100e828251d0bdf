"""Building a run: arguments checked, images on the device, optimisers made."""

from __future__ import annotations

import zlib
from dataclasses import asdict
from typing import cast

import torch
from torch import nn

from resnet_tutorial.data import ImageSet
from resnet_tutorial.train.augment import measure_pixels
from resnet_tutorial.train.average import WeightAverage
from resnet_tutorial.train.errors import TrainingError
from resnet_tutorial.train.evaluate import logits_of
from resnet_tutorial.train.history import History
from resnet_tutorial.train.memory import keep_freed_memory
from resnet_tutorial.train.muon import Muon
from resnet_tutorial.train.precision import choose_compile, choose_precision, describe_device
from resnet_tutorial.train.provenance import commit, versions
from resnet_tutorial.train.recipes import Recipe
from resnet_tutorial.train.run import Images, Run, Sums
from resnet_tutorial.train.team import present_team

CURVES = ("val", "test", "none")


def prepare(model: nn.Module, data: ImageSet, recipe: Recipe, *, seed: int,
            device: str | torch.device | None, curve_on: str, precision: str,
            compile: str | bool) -> Run:
    """Return the run that `fit` describes, before its first step.

    Raises:
        TrainingError: the device is not there, or the network does not fit the data.
        ValueError: an argument is not one of the allowed ones.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model is a torch.nn.Module, not {type(model).__name__}; "
                         "resnet_tutorial.zoo.build_model makes one from a name.")
    if curve_on not in CURVES:
        raise ValueError(f"curve_on is one of {', '.join(CURVES)}, not {curve_on!r}.")
    team = present_team()
    team.share(recipe.batch_size)  # refuses a batch that cannot be shared
    device = _choose_device(device)
    images = _place(data, recipe, device)
    count = len(images.train_labels)
    if curve_on == "val" and not len(images.val_labels):
        raise ValueError('Nothing is held out, so there is no validation curve: set holdout, or '
                         'curve_on to "test" or "none".')
    if count < recipe.batch_size:
        raise ValueError(f"A batch of {recipe.batch_size} is more than the {count} training images.")
    steps_per_epoch = count // recipe.batch_size
    steps = recipe.iterations or recipe.epochs * steps_per_epoch
    dtype = choose_precision(device, precision)
    model.to(device).to(memory_format=torch.channels_last).train()
    _try_out(model, images, len(data.classes))
    compiled = choose_compile(device, compile, steps)
    if device.type == "cpu":
        keep_freed_memory()
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # try several ways to compute a convolution, and keep the fastest
    settings = {
        "network": f"{zlib.crc32(repr(model).encode()):08x}", "data": data.name,
        "train_images": count, "val_images": len(images.val_labels),
        "test_images": len(images.test_labels), "recipe": asdict(recipe), "seed": seed,
        "steps": steps, "curve_on": curve_on, "device": describe_device(device),
        "device_type": device.type, "processes": team.size, "threads": torch.get_num_threads(),
        "precision": str(dtype).removeprefix("torch."), "compiled": compiled,
    }
    where = {name: settings[name] for name in ("device", "device_type", "processes", "threads", "precision")}
    # Each size of image is compiled for itself: code for any size would be slower.
    forward = cast(nn.Module, torch.compile(model, dynamic=False)) if compiled else model
    return Run(
        recipe=recipe, model=model, forward=team.wrap(forward), images=images,
        # On a GPU products in 32 bits would take a good part of the step.
        optimizers=make_optimizers(model, recipe, dtype if device.type == "cuda" else torch.float32),
        scaler=torch.amp.GradScaler(device.type, enabled=dtype == torch.float16),
        average=WeightAverage(model, recipe.average) if recipe.average else None,
        history=History(settings=settings, sessions=[{"from_step": 0, "commit": commit(), **versions(), **where}]),
        precision=dtype, team=team, seed=seed, steps=steps, steps_per_epoch=steps_per_epoch,
        sums=Sums.zero(device), warming=recipe.warmup_lr > 0,
    )


def make_optimizers(model: nn.Module, recipe: Recipe,
                    products: torch.dtype = torch.float32) -> list[torch.optim.Optimizer]:
    """Return the optimisers for all parameters of the model that are trained.

    With the recipe's ``"sgd"`` that is one; with ``"muon"`` a second one has the convolutions'
    kernels, and multiplies its matrices in the format `products`.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    kernels = [p for p in parameters if recipe.optimizer == "muon" and p.ndim == 4]
    rest = [p for p in parameters if not any(p is kernel for kernel in kernels)]
    # Pulling batch norm's scales towards zero does not make a network simpler, hence the two groups.
    decayed = [p for p in rest if recipe.decay_all or p.ndim > 1]
    spared = [p for p in rest if not (recipe.decay_all or p.ndim > 1)]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay},
              {"params": spared, "weight_decay": 0.0}]
    fused = parameters[0].device.type in ("cpu", "cuda")
    optimizers: list[torch.optim.Optimizer] = [torch.optim.SGD(
        [group for group in groups if group["params"]], lr=recipe.peak_lr,
        momentum=recipe.momentum, nesterov=recipe.nesterov, fused=fused)]
    if recipe.momentum:
        # Where float16 overflows a step is left out; when that is the first, a fused SGD would start from no momentum.
        for parameter in rest:
            optimizers[0].state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    if kernels:
        optimizers.append(Muon(kernels, lr=recipe.muon_lr, momentum=recipe.muon_momentum, products=products))
    return optimizers


def _choose_device(device: str | torch.device | None) -> torch.device:
    """Return the device asked for, or the fastest there is."""
    if device is None:
        # Among several processes each has made one card its own; alone this is the first.
        return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() \
            else torch.device("cpu")
    try:
        device = torch.device(device)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as problem:
        raise TrainingError(f"There is no device {str(device)!r} here "
                            f"({str(problem).splitlines()[0]}).") from None
    return device


def _place(data: ImageSet, recipe: Recipe, device: torch.device) -> Images:
    """Split off the validation images, and put everything on the device, once."""
    images, labels = (torch.from_numpy(a).to(device) for a in (data.train_images, data.train_labels))
    labels = labels.long()
    pixels = measure_pixels(images, recipe)
    held_out = round(recipe.holdout * len(labels))
    if held_out:
        # The split is the same for every seed, so that runs can be compared.
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0)).to(device)
        val, train = order[:held_out], order[held_out:]
    else:
        val, train = torch.arange(0, device=device), torch.arange(len(labels), device=device)
    test = torch.from_numpy(data.test_images).to(device)
    return Images(pixels.with_images(images[train]), labels[train],
                  pixels.with_images(images[val]), labels[val],
                  pixels.with_images(test), torch.from_numpy(data.test_labels).to(device).long())


@torch.no_grad()
def _try_out(model: nn.Module, images: Images, classes: int) -> None:
    """Refuse a network whose output does not fit the data, before any training."""
    model.eval()  # batch norm's running statistics stay as they are
    scores = logits_of(model, images.test.with_images(images.test.images[:2]), torch.float32)
    model.train()
    if scores.ndim != 2 or scores.shape[1] < classes:
        raise TrainingError(f"The network gives scores of shape {tuple(scores.shape)} for 2 images; "
                            f"(2, {classes}) is needed. Build it with num_classes={classes}.")
