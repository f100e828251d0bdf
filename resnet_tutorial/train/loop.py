"""The training loop: `fit` and the few functions it is made of."""

from __future__ import annotations

import math
import time
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_tutorial.data import ImageSet, load
from resnet_tutorial.train import checkpoint
from resnet_tutorial.train.augment import Draws, Pixels, crop_and_flip, draw_epoch, measure_pixels
from resnet_tutorial.train.average import WeightAverage
from resnet_tutorial.train.errors import TrainingError
from resnet_tutorial.train.evaluate import autocast, logits_of, loss_and_error
from resnet_tutorial.train.history import History
from resnet_tutorial.train.interrupt import StopBetweenSteps
from resnet_tutorial.train.precision import choose_compile, choose_precision, describe_device
from resnet_tutorial.train.progress import Progress
from resnet_tutorial.train.recipes import Recipe, get_recipe

LOOK_EVERY = 20  # steps between two looks at the loss: each look makes a GPU wait
WARMUP_WINDOW = 100  # steps over which the warm-up measures its training error
CURVES = ("val", "test", "none")


@dataclass
class Images:
    """The three parts of the data on the device; `val` is empty when nothing is held out."""

    train: Pixels
    train_labels: Tensor
    val: Pixels
    val_labels: Tensor
    test: Pixels
    test_labels: Tensor


@dataclass
class Run:
    """Everything that one training run carries along."""

    recipe: Recipe
    model: nn.Module
    forward: nn.Module  # the model, or what torch.compile made of it: the same weights
    images: Images
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: WeightAverage | None
    history: History
    precision: torch.dtype
    seed: int
    steps: int  # in the whole run
    steps_per_epoch: int
    sums: Sums
    step: int = 0  # steps done
    warming: bool = False

    @property
    def device(self) -> torch.device:
        return self.images.train.images.device

    @property
    def epochs(self) -> int:
        return math.ceil(self.steps / self.steps_per_epoch)


@dataclass
class Sums:
    """Running totals on the device, so that adding to them does not make it wait.

    Attributes:
        loss: float64, summed over the epoch's batches.
        wrong: int64, over the epoch's images.
        window_wrong: int64, over the images of the warm-up's present window.
        batches: in the epoch so far.
        seconds: of training in the epoch so far.
    """

    loss: Tensor
    wrong: Tensor
    window_wrong: Tensor
    batches: int = 0
    seconds: float = 0.0

    @classmethod
    def zero(cls, device: torch.device) -> Sums:
        kind = torch.float32 if device.type == "mps" else torch.float64
        return cls(torch.zeros((), dtype=kind, device=device),
                   torch.zeros((), dtype=torch.int64, device=device),
                   torch.zeros((), dtype=torch.int64, device=device))


def fit(model: nn.Module, data: ImageSet | str, recipe: Recipe | str = "fast", *,
        epochs: int | None = None, seed: int = 0, device: str | torch.device | None = None,
        out: str | Path | None = None, resume: bool = False, curve_on: str = "val",
        holdout: float | None = None, precision: str = "auto", compile: str | bool = "auto",
        save_every: float = 60.0, progress: str = "auto") -> History:
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

    Returns:
        The curves, and the test error of the finished run. Ctrl-C or a notebook's stop button ends
        the run between two steps and returns the history so far; the weights are usable too.

    Raises:
        TrainingError: the run cannot start or go on; the message says why and what to do.
        ValueError: an argument or recipe is not one of the allowed ones.
        DataError: `data` is the name of images that cannot be had.
    """
    data = load(data) if isinstance(data, str) else data
    run = _prepare(model, data, get_recipe(recipe), epochs, seed, device, curve_on, holdout,
                   precision, compile)
    folder = _open_folder(out, resume)
    if folder and resume:
        _restore(run, checkpoint.load(folder, lambda state: _misfit(state, run)))
    bar = Progress(progress, run.epochs, run.steps, run.step, run.recipe.batch_size)
    keeper = _Keeper(run, folder, save_every)
    try:
        with StopBetweenSteps() as stop:
            while run.step < run.steps and not stop.asked:
                _train_epoch(run, bar, keeper, stop)
                if run.step % run.steps_per_epoch == 0 or run.step == run.steps:
                    _finish_epoch(run, curve_on)
                    bar.epoch(run.history)
                    keeper.save()
    except KeyboardInterrupt:  # outside the main thread, or a second Ctrl-C
        run.history.stopped = f"interrupted in epoch {len(run.history.epoch) + 1}"
    except torch.OutOfMemoryError:
        raise TrainingError(f"A batch of {run.recipe.batch_size} does not fit into the memory of "
                            f"{describe_device(run.device)}; try half of it.") from None
    else:
        if run.step < run.steps:
            run.history.stopped = f"interrupted in epoch {len(run.history.epoch) + 1}"
            keeper.save()
        else:
            _measure_end(run)
    finally:
        bar.close()
    if run.average:
        model.load_state_dict(run.average.values)
    model.eval()
    return run.history


def _prepare(model, data, recipe, epochs, seed, device, curve_on, holdout, precision,
             compile) -> Run:
    """Check the arguments, and build all that the loop needs."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"model is a torch.nn.Module, not {type(model).__name__}; "
                         "resnet_tutorial.zoo.build_model makes one from a name.")
    if curve_on not in CURVES:
        raise ValueError(f"curve_on is one of {', '.join(CURVES)}, not {curve_on!r}.")
    if epochs is not None:
        if epochs < 1:
            raise ValueError(f"epochs is 1 or more, not {epochs}.")
        recipe = recipe.but(epochs=epochs, iterations=0)
    if holdout is not None:
        recipe = recipe.but(holdout=holdout)
    device = _choose_device(device)
    images = _place(data, recipe, seed, device)
    count = len(images.train_labels)
    if curve_on == "val" and not len(images.val_labels):
        raise ValueError('Nothing is held out, so there is no validation curve: set holdout, or '
                         'curve_on to "test" or "none".')
    if count < recipe.batch_size:
        raise ValueError(f"A batch of {recipe.batch_size} is more than the {count} training images.")
    steps_per_epoch = count // recipe.batch_size
    steps = recipe.iterations or recipe.epochs * steps_per_epoch
    dtype = choose_precision(device, precision)
    model.to(device, memory_format=torch.channels_last).train()
    _try_out(model, images, len(data.classes))
    compiled = choose_compile(device, compile, steps)
    settings = {
        "network": f"{zlib.crc32(repr(model).encode()):08x}", "data": data.name,
        "train_images": count, "val_images": len(images.val_labels),
        "test_images": len(images.test_labels), "recipe": asdict(recipe), "seed": seed,
        "steps": steps, "curve_on": curve_on, "device": describe_device(device),
        "device_type": device.type, "threads": torch.get_num_threads(),
        "precision": str(dtype).removeprefix("torch."), "compiled": compiled,
    }
    return Run(
        recipe=recipe, model=model, forward=torch.compile(model) if compiled else model,
        images=images, optimizer=make_optimizer(model, recipe),
        scaler=torch.amp.GradScaler(device.type, enabled=dtype == torch.float16),
        average=WeightAverage(model, recipe.average) if recipe.average else None,
        history=History(settings=settings), precision=dtype, seed=seed, steps=steps,
        steps_per_epoch=steps_per_epoch, sums=Sums.zero(device), warming=recipe.warmup_lr > 0,
    )


def _choose_device(device) -> torch.device:
    """Return the device asked for, or the fastest there is."""
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(device)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as problem:
        raise TrainingError(f"There is no device {str(device)!r} here "
                            f"({str(problem).splitlines()[0]}).") from None
    return device


def _place(data: ImageSet, recipe: Recipe, seed: int, device: torch.device) -> Images:
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
        val, train = torch.arange(0, device=device), slice(None)
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


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """Return SGD over the model's parameters, decaying those that the recipe decays."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    # Pulling batch norm's scales towards zero does not make a network simpler, hence the two groups.
    decayed = [p for p in parameters if recipe.decay_all or p.ndim > 1]
    spared = [p for p in parameters if not (recipe.decay_all or p.ndim > 1)]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay},
              {"params": spared, "weight_decay": 0.0}]
    fused = parameters[0].device.type in ("cpu", "cuda")
    return torch.optim.SGD([group for group in groups if group["params"]], lr=recipe.peak_lr,
                           momentum=recipe.momentum, nesterov=recipe.nesterov, fused=fused)


def _train_epoch(run: Run, bar: Progress, keeper: _Keeper, stop: StopBetweenSteps) -> None:
    """Train to the end of the present epoch, of the run, or to the step where a stop was asked."""
    epoch, first = divmod(run.step, run.steps_per_epoch)
    draws = draw_epoch(len(run.images.train_labels), run.recipe, run.seed, epoch, run.device)
    last = min(run.steps_per_epoch, run.steps - epoch * run.steps_per_epoch)
    size = run.recipe.batch_size
    run.model.train()
    for index in range(first, last):
        began = time.perf_counter()
        _train_step(run, draws.batch(index * size, (index + 1) * size))
        bar.step()
        if run.step % LOOK_EVERY == 0 or index + 1 == last:
            _look(run, bar, epoch + 1)
        run.sums.seconds += time.perf_counter() - began
        if stop.asked:
            return
        if index + 1 < last:
            keeper.save_if_due()


def _train_step(run: Run, draws: Draws) -> None:
    """Take one step of gradient descent on one batch."""
    labels = run.images.train_labels[draws.order]  # (B,)
    batch = crop_and_flip(run.images.train, draws, run.recipe.padding)  # (B, 3, H, W)
    with autocast(run.device, run.precision):
        scores = run.forward(batch)  # (B, classes)
    # Outside autocast: a softmax in half precision loses the small probabilities.
    loss = F.cross_entropy(scores.float(), labels, label_smoothing=run.recipe.label_smoothing)
    for group in run.optimizer.param_groups:
        group["lr"] = _learning_rate(run)
    run.optimizer.zero_grad(set_to_none=True)
    run.scaler.scale(loss).backward()
    run.scaler.step(run.optimizer)
    run.scaler.update()
    if run.average:
        run.average.update(run.model)
    run.step += 1
    _add_up(run, loss.detach(), (scores.detach().argmax(dim=1) != labels).sum())


def _learning_rate(run: Run) -> float:
    """Return the present step's learning rate, warm-up included."""
    return run.recipe.warmup_lr if run.warming else run.recipe.learning_rate(run.step, run.steps)


def _add_up(run: Run, loss: Tensor, wrong: Tensor) -> None:
    """Add one step to the totals, and end the warm-up when the training error allows it."""
    run.sums.loss += loss
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


def _finish_epoch(run: Run, curve_on: str) -> None:
    """Add one entry to every curve, and start the totals afresh."""
    loss, error = _epoch_means(run)
    history = run.history
    history.epoch.append(len(history.epoch) + 1)
    history.lr.append(run.optimizer.param_groups[0]["lr"])
    history.train_loss.append(loss)
    history.train_error.append(error)
    history.seconds.append(run.sums.seconds)
    run.sums = Sums.zero(run.device)
    if curve_on != "none":
        loss, error = _measure(run, curve_on)
        getattr(history, f"{curve_on}_loss").append(loss)
        getattr(history, f"{curve_on}_error").append(error)


def _measure(run: Run, part: str) -> tuple[float, float]:
    """Return loss and error on the `val` or `test` part, with the averaged weights if any."""
    pixels = getattr(run.images, part)
    labels = getattr(run.images, f"{part}_labels")
    if run.average:
        with run.average.applied(run.model):
            return loss_and_error(logits_of(run.model, pixels, run.precision), labels)
    return loss_and_error(logits_of(run.model, pixels, run.precision), labels)


def _measure_end(run: Run) -> None:
    """Measure the finished network on the test images: once, after every choice is made."""
    run.history.stopped = ""
    for part in ("val", "test"):
        if len(getattr(run.images, f"{part}_labels")):
            loss, error = _measure(run, part)
            run.history.final |= {f"{part}_loss": loss, f"{part}_error": error}


def _open_folder(out, resume: bool) -> Path | None:
    """Return the folder for checkpoints, made and tried out; None when none is wanted."""
    if out is None:
        if resume:
            raise ValueError("resume needs the folder of the run: set out.")
        return None
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial = folder / "checkpoint.trial.part"
        trial.write_bytes(b"can this be written?")
        trial.unlink()
    except OSError as problem:
        raise TrainingError(f"{folder} cannot be written ({problem.strerror}); choose another "
                            "folder.") from None
    if not resume and checkpoint.exists(folder):
        raise TrainingError(f"{folder} already holds a run: resume it, or choose another folder.")
    return folder


class _Keeper:
    """Saves checkpoints when they are due; a full disk is a warning, not the end of the run."""

    def __init__(self, run: Run, folder: Path | None, every: float) -> None:
        self.run, self.folder, self.every = run, folder, every
        self.saved_at = time.monotonic()

    def save_if_due(self) -> None:
        if self.folder and time.monotonic() - self.saved_at >= self.every:
            self.save()

    def save(self) -> None:
        if not self.folder:
            return
        try:
            checkpoint.save(self.folder, _state(self.run))
        except OSError as problem:
            print(f"The checkpoint could not be written ({problem.strerror or problem}); the run "
                  "goes on and tries again. Make room on the disk.")
        self.saved_at = time.monotonic()


def _state(run: Run) -> dict:
    """Return all that is needed to go on from here as if nothing had happened."""
    return {
        "settings": run.history.settings,
        "parameters": _layout(run.model),
        "step": run.step,
        "warming": run.warming,
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "scaler": run.scaler.state_dict(),
        "average": run.average.values if run.average else {},
        "sums": vars(run.sums),
        "history": run.history.as_dict(),
        "random": torch.get_rng_state(),  # for networks that draw themselves, as dropout does
        "random_cuda": torch.cuda.get_rng_state_all() if run.device.type == "cuda" else [],
    }


def _restore(run: Run, state: dict | None) -> None:
    """Put a checkpoint's state back; without a checkpoint the run starts from the beginning."""
    if state is None:
        print("There is no checkpoint to resume: starting from the beginning.")
        return
    run.step, run.warming = state["step"], state["warming"]
    run.model.load_state_dict(state["model"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.scaler.load_state_dict(state["scaler"])
    if run.average:
        run.average.load(state["average"])
    sums = {name: value.to(run.device) if isinstance(value, Tensor) else value
            for name, value in state["sums"].items()}
    run.sums = Sums(**sums)
    settings = run.history.settings
    run.history = History.from_dict(state["history"])
    run.history.settings, run.history.stopped = settings, ""
    torch.set_rng_state(state["random"])
    if state["random_cuda"] and run.device.type == "cuda":
        torch.cuda.set_rng_state_all(state["random_cuda"])


def _misfit(state: dict, run: Run) -> str:
    """Return why a checkpoint cannot be continued by this run, or "" when it can."""
    theirs, ours = state["settings"], run.history.settings
    if state["parameters"] != _layout(run.model) or theirs["network"] != ours["network"]:
        return "it was made with another network"
    for name in ("data", "train_images", "seed", "steps", "curve_on"):
        if theirs[name] != ours[name]:
            return f"it was made with {name} {theirs[name]!r}, and this run has {ours[name]!r}"
    for name, value in ours["recipe"].items():
        if theirs["recipe"].get(name) != value:
            return (f"its recipe has {name} {theirs['recipe'].get(name)!r}, "
                    f"and this run has {value!r}")
    return ""


def _layout(model: nn.Module) -> dict[str, list[int]]:
    """Return the shape of everything in the model's state dict."""
    return {name: list(value.shape) for name, value in model.state_dict().items()}
