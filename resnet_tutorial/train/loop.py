"""The training loop: `fit` and the few functions it is made of."""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_tutorial.data import ImageSet, load
from resnet_tutorial.train.augment import Draws, crop_and_flip
from resnet_tutorial.train.compiling import compile_ahead
from resnet_tutorial.train.errors import TrainingError
from resnet_tutorial.train.evaluate import EVALUATION_BATCH, autocast, logits_of, loss_and_error
from resnet_tutorial.train.history import History
from resnet_tutorial.train.interrupt import StopBetweenSteps
from resnet_tutorial.train.keeper import Keeper, open_folder, restore
from resnet_tutorial.train.precision import describe_device
from resnet_tutorial.train.prepare import prepare
from resnet_tutorial.train.progress import Progress
from resnet_tutorial.train.recipes import Recipe, get_recipe
from resnet_tutorial.train.run import Run

LOOK_EVERY = 20  # steps between two looks at the loss: each look makes a GPU wait
WARMUP_WINDOW = 100  # steps over which the warm-up measures its training error


def fit(model: nn.Module, data: ImageSet | str, recipe: Recipe | str = "fast", *,
        epochs: int | None = None, seed: int = 0, device: str | torch.device | None = None,
        out: str | Path | None = None, resume: bool = False, curve_on: str = "val",
        holdout: float | None = None, precision: str = "auto", compile: str | bool = "auto",
        save_every: float = 60.0, progress: str = "auto", mirror: bool = False) -> History:
    """Train `model` in place and return what was measured.

    Args:
        model: a network for (N, 3, height, width) images with a score for each class.
        data: an image set, or the name of one.
        recipe: a recipe, or the name of one.
        epochs: passes over the training images; None leaves it to the recipe.
        seed: decides the order, crops and flips. The initial weights are the model's own.
        device: None takes a GPU where there is one.
        out: a folder for checkpoints; None keeps none.
        resume: continue from the newest checkpoint in `out`; without one, start.
        curve_on: measure after every epoch on ``"val"`` (the held-out images), on ``"test"``
            (for showing curves, never for choosing), or on ``"none"``.
        holdout: the share of the training images that is held out; None leaves it to the recipe.
        precision: ``"auto"``, ``"float32"``, ``"bfloat16"`` or ``"float16"``.
        compile: True, False, or ``"auto"``: where it is there and the run is long enough.
        save_every: seconds between two checkpoints; 0 saves after every step.
        progress: ``"bar"``, ``"lines"``, ``"none"``, or ``"auto"``.
        mirror: measure the finished network once more, with the scores of each test image and its
            mirror image added (test-time augmentation); reported apart, as `test_error_mirrored`.

    Returns:
        The curves, and the test error of the finished run. Ctrl-C or a notebook's stop button ends
        the run between two steps and returns the history so far; the weights are usable too.

    Raises:
        TrainingError: the run cannot start or go on; the message says why and what to do.
        ValueError: an argument or recipe is not one of the allowed ones.
        DataError: `data` is the name of images that cannot be had.
    """
    data = load(data) if isinstance(data, str) else data
    recipe = _changed(get_recipe(recipe), epochs, holdout)
    try:
        run = prepare(model, data, recipe, seed=seed, device=device, curve_on=curve_on,
                      precision=precision, compile=compile)
    except torch.OutOfMemoryError:
        raise TrainingError("The network and the images do not fit into the GPU's memory; end what else "
                            "uses it, or take a smaller network.") from None
    folder = run.team.first_does(lambda: open_folder(out, resume))
    if folder and resume:
        restore(run, folder)
    bar = Progress(progress if run.team.first else "none", run.epochs, run.steps, run.step,
                   recipe.batch_size)
    keeper = Keeper(run, folder, save_every)
    try:
        compile_ahead(run)
        bar.begin()
        with StopBetweenSteps() as stop:
            while run.step < run.steps and not run.history.stopped:
                _train_epoch(run, bar, keeper, stop)
                if run.step % run.steps_per_epoch == 0 or run.step == run.steps:
                    _finish_epoch(run, curve_on)
                    bar.epoch(run.history)
                    keeper.save(last=run.step == run.steps)
        if run.history.stopped:
            keeper.save(last=True)
        else:
            _measure_end(run, mirror)
    except KeyboardInterrupt:  # outside the main thread, a second Ctrl-C, or one after the last step
        run.history.stopped = _where(run)
    except torch.OutOfMemoryError:
        raise TrainingError(
            f"Batches of {recipe.batch_size} images to train on, or of {EVALUATION_BATCH} to measure, do not fit "
            f"into the memory of {describe_device(run.device)}; try half the batch, or a smaller network.") from None
    finally:
        bar.close()
    if run.average:
        model.load_state_dict(run.average.values)
    model.eval()
    return run.history


def _changed(recipe: Recipe, epochs: int | None, holdout: float | None) -> Recipe:
    """Return the recipe with the length and the share that `fit` was asked for."""
    if epochs is not None:
        if epochs < 1:
            raise ValueError(f"epochs is 1 or more, not {epochs}.")
        recipe = recipe.but(epochs=epochs, iterations=0)
    return recipe if holdout is None else recipe.but(holdout=holdout)


def _train_epoch(run: Run, bar: Progress, keeper: Keeper, stop: StopBetweenSteps) -> None:
    """Train to the end of the present epoch, of the run, or to the step where a stop was asked."""
    began = time.perf_counter()
    epoch, first = divmod(run.step, run.steps_per_epoch)
    draws = run.draw(epoch)
    last = min(run.steps_per_epoch, run.steps - epoch * run.steps_per_epoch)
    size = run.recipe.batch_size
    run.model.train()
    for index in range(first, last):
        _train_step(run, draws.batch(index * size, (index + 1) * size))
        bar.step()
        looks = run.step % LOOK_EVERY == 0 or index + 1 == last
        if looks:
            _look(run, bar, epoch + 1)
        run.sums.seconds += time.perf_counter() - began
        if _must_stop(run, stop, looks):
            run.history.stopped = _where(run)
            return
        if index + 1 < last:
            keeper.save_if_due()
        began = time.perf_counter()


def _train_step(run: Run, draws: Draws) -> None:
    """Take one step of gradient descent on one batch, or on this process's share of it."""
    draws = draws.batch(*run.team.share(run.recipe.batch_size))
    labels = run.images.train_labels[draws.order]  # (B,)
    batch = crop_and_flip(run.images.train, draws, run.recipe.padding)  # (B, 3, H, W)
    with autocast(run.device, run.precision):
        scores = run.forward(batch)  # (B, classes)
    # Outside autocast: a softmax in half precision loses the small probabilities.
    loss = F.cross_entropy(scores.float(), labels, label_smoothing=run.recipe.label_smoothing)
    _set_learning_rate(run)
    run.model.zero_grad(set_to_none=True)
    run.scaler.scale(loss).backward()
    for optimizer in run.optimizers:
        run.scaler.step(optimizer)
    run.scaler.update()
    if run.average:
        run.average.update(run.model)
    run.step += 1
    _add_up(run, loss.detach(), (scores.detach().argmax(dim=1) != labels).sum())


def _set_learning_rate(run: Run) -> None:
    """Give every optimiser the present step's learning rate: its own peak, the recipe's shape."""
    recipe = run.recipe
    rate = recipe.warmup_lr if run.warming else recipe.learning_rate(run.step, run.steps)
    peaks = (recipe.peak_lr, recipe.muon_lr)  # the second one only where there is Muon
    for optimizer, peak in zip(run.optimizers, peaks, strict=False):
        for group in optimizer.param_groups:
            group["lr"] = rate / recipe.peak_lr * peak


def _add_up(run: Run, loss: Tensor, wrong: Tensor) -> None:
    """Add one step to the totals, and end the warm-up when the training error allows it."""
    run.team.add_up(loss, wrong)
    run.sums.loss += loss / run.team.size
    run.sums.wrong += wrong
    run.sums.batches += 1
    if not run.warming:
        return
    run.sums.window_wrong += wrong
    if run.step % WARMUP_WINDOW == 0:
        error = run.sums.window_wrong.item() / (WARMUP_WINDOW * run.recipe.batch_size)
        run.warming = error >= 0.8
        run.sums.window_wrong.zero_()


def _epoch_means(run: Run) -> tuple[float, float]:
    """Return the epoch's loss and its error in percent so far."""
    seen = run.sums.batches * run.recipe.batch_size
    return run.sums.loss.item() / run.sums.batches, 100 * run.sums.wrong.item() / seen


def _look(run: Run, bar: Progress, epoch: int) -> None:
    """Show the running loss, and stop the run when it is no number any more."""
    loss, error = _epoch_means(run)
    if not math.isfinite(loss):
        raise TrainingError(
            f"The loss is {loss} in epoch {epoch}: the training has diverged. Lower the peak "
            f"learning rate (now {run.recipe.peak_lr:g}), or warm up more slowly; if the network is "
            "your own, look for a missing batch norm or a division by zero.")
    bar.look(epoch, loss, error)


def _must_stop(run: Run, stop: StopBetweenSteps, looks: bool) -> bool:
    """Return whether to stop here: several processes agree on it, at the looks."""
    if run.team.size == 1:
        return stop.asked
    return looks and run.team.any(stop.asked, run.device)


def _where(run: Run) -> str:
    """Return in words where a run was interrupted."""
    if run.step == run.steps:
        return "interrupted after the last step, before the test images were measured"
    return f"interrupted in epoch {len(run.history.epoch) + 1}"


def _finish_epoch(run: Run, curve_on: str) -> None:
    """Add one entry to every curve, and start the totals afresh."""
    loss, error = _epoch_means(run)
    history = run.history
    history.epoch.append(len(history.epoch) + 1)
    history.lr.append(run.optimizers[0].param_groups[0]["lr"])
    history.train_loss.append(loss)
    history.train_error.append(error)
    history.seconds.append(run.sums.seconds)
    run.sums = run.sums.next_epoch()
    if run.device.type == "cuda":
        history.peak_memory = max(history.peak_memory, torch.cuda.max_memory_allocated(run.device))
    if curve_on != "none":
        loss, error = _measure(run, curve_on)
        getattr(history, f"{curve_on}_loss").append(loss)
        getattr(history, f"{curve_on}_error").append(error)


def _measure(run: Run, part: str, mirror: bool = False) -> tuple[float, float]:
    """Return loss and error on the `val` or `test` part, with the averaged weights if any."""
    # The processes differ in batch norm's running statistics; the first one's are taken.
    run.team.from_first(*run.model.buffers())
    pixels = getattr(run.images, part)
    labels = getattr(run.images, f"{part}_labels")
    if run.average:
        run.team.from_first(*run.average.values.values())
        with run.average.applied(run.model):
            return loss_and_error(logits_of(run.model, pixels, run.precision, mirror=mirror), labels)
    return loss_and_error(logits_of(run.model, pixels, run.precision, mirror=mirror), labels)


def _measure_end(run: Run, mirror: bool) -> None:
    """Measure the finished network on the test images: once, after every choice is made."""
    final: dict[str, float] = {}
    for part in ("val", "test"):
        if len(getattr(run.images, f"{part}_labels")):
            final[f"{part}_loss"], final[f"{part}_error"] = _measure(run, part)
    if mirror:
        final["test_loss_mirrored"], final["test_error_mirrored"] = _measure(run, "test", mirror=True)
    run.history.final = final
