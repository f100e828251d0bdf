"""Compiling the network before the first step, so that a run's own time is training alone."""

from __future__ import annotations

import time

import torch

from resnet_tutorial.train.augment import crop_and_flip, draw_epoch
from resnet_tutorial.train.evaluate import autocast
from resnet_tutorial.train.run import Run


def compile_ahead(run: Run) -> None:
    """Make `torch.compile` do its work now, and note its seconds in the history.

    It translates a network when that is first called, for one size of image, forward and backward.
    Here it is called once for each size that is still to come; nothing that the training depends on
    is changed by that.  Where compiling fails, for want of a C compiler for instance, the run goes
    on with the network as it is.
    """
    if not run.history.settings["compiled"]:
        return
    began = time.perf_counter()
    before = {name: buffer.clone() for name, buffer in run.model.named_buffers()}
    cards = [run.device] if run.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=cards):
            for epoch in _one_of_each_size(run):
                _forward_and_backward(run, epoch)
    except torch.OutOfMemoryError:
        raise  # `fit` has a sentence for that
    except Exception as problem:  # a compiler has many ways to fail, none of which ends the run
        if run.team.first:
            print(f"torch.compile does not work here ({_first_line(problem)}); the run goes on without it, "
                  "which changes its speed and not its result.")
        run.history.settings["compiled"] = False
        run.forward = run.team.wrap(run.model)
    finally:
        with torch.no_grad():
            for name, buffer in run.model.named_buffers():
                buffer.copy_(before[name])
        run.model.zero_grad(set_to_none=True)
    run.history.compile_seconds += time.perf_counter() - began


def _one_of_each_size(run: Run) -> list[int]:
    """Return the numbers of epochs to come, one for each size of crop."""
    side = run.images.train.side
    to_come = range(run.step // run.steps_per_epoch, run.epochs)
    sizes = {run.recipe.crop_side(epoch, run.epochs, side): epoch for epoch in reversed(to_come)}
    return sorted(sizes.values())


def _forward_and_backward(run: Run, epoch: int) -> None:
    """Call the network on a batch like those of that epoch."""
    side = run.images.train.side
    draws = draw_epoch(len(run.images.train_labels), run.recipe, run.seed, epoch, side,
                       run.recipe.crop_side(epoch, run.epochs, side), run.device)
    draws = draws.batch(*run.team.share(run.recipe.batch_size))
    batch = crop_and_flip(run.images.train, draws, run.recipe.padding)
    with autocast(run.device, run.precision):
        scores = run.forward(batch)
    scores.float().sum().backward()
    if run.device.type == "cuda":
        torch.cuda.synchronize(run.device)


def _first_line(problem: Exception) -> str:
    """Return a problem's own first line; a compiler's report is pages long."""
    return next(iter(str(problem).strip().splitlines()), type(problem).__name__)
