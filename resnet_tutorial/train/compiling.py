"""Compiling the network before the first step, so that a run's own time is training alone."""

from __future__ import annotations

import time

import torch

from resnet_tutorial.train.augment import crop_and_flip
from resnet_tutorial.train.evaluate import autocast
from resnet_tutorial.train.run import Run


def compile_ahead(run: Run) -> None:
    """Call the network once for each size of image that is still to come, and note how long that took.

    At such a call `torch.compile` translates the network, forward and backward, and a GPU's library
    picks its fastest convolutions.  Nothing that the training depends on is changed.  Where compiling
    fails, for want of a C compiler for instance, the run goes on without it.
    """
    on_gpu = run.device.type == "cuda"
    if not (on_gpu or run.history.settings["compiled"]):
        return
    began = time.perf_counter()
    before = {name: buffer.clone() for name, buffer in run.model.named_buffers()}
    try:
        with torch.random.fork_rng(devices=[run.device] if on_gpu else []):
            for epoch in _one_of_each_size(run):
                _forward_and_backward(run, epoch)
    except Exception as problem:  # a compiler has many ways to fail, none of which ends the run
        if isinstance(problem, torch.OutOfMemoryError) or not run.history.settings["compiled"]:
            raise  # `fit` has a sentence for too little memory; what else fails here is the network's own
        _go_on_uncompiled(run, problem)
    finally:
        _put_back(run, before)
    run.history.compile_seconds += time.perf_counter() - began
    if on_gpu:  # trying out convolutions takes more memory than the chosen one
        torch.cuda.reset_peak_memory_stats(run.device)


def _one_of_each_size(run: Run) -> list[int]:
    """Return the numbers of epochs to come, one for each size of crop."""
    to_come = range(run.step // run.steps_per_epoch, run.epochs)
    sizes = {run.crop_side(epoch): epoch for epoch in reversed(to_come)}
    return sorted(sizes.values())


def _forward_and_backward(run: Run, epoch: int) -> None:
    """Call the network on a batch like those of that epoch."""
    draws = run.draw(epoch).batch(*run.team.share(run.recipe.batch_size))
    batch = crop_and_flip(run.images.train, draws, run.recipe.padding)
    with autocast(run.device, run.precision):
        scores = run.forward(batch)
    scores.float().sum().backward()
    if run.device.type == "cuda":
        torch.cuda.synchronize(run.device)


def _go_on_uncompiled(run: Run, problem: Exception) -> None:
    """Say why the network is not compiled, and take it as it is."""
    if run.team.first:
        # A compiler's report is pages long; its first line says enough.
        reason = next(iter(str(problem).strip().splitlines()), type(problem).__name__)
        print(f"torch.compile does not work here ({reason}); the run goes on without it, only slower.")
    run.history.settings["compiled"] = False
    run.forward = run.team.wrap(run.model)


@torch.no_grad()
def _put_back(run: Run, before: dict[str, torch.Tensor]) -> None:
    """Undo what the calls left in the network: batch norm's statistics, and the gradients."""
    for name, buffer in run.model.named_buffers():
        if name in before:
            buffer.copy_(before[name])
    run.model.zero_grad(set_to_none=True)
