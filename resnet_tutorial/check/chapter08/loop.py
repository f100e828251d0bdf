"""Exercise 8.6: the whole loop. Which images it trains on, in which order, in which form, and by which gradients."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core import Expectations, exercise
from .loop_measure import measures
from .loop_probe import Look, Run, Setting, run
from .loop_rate import sets_the_rate


@exercise(
    "train_epochs", chapter=8, number=6, title="The whole loop",
    difficulty=3, importance=5, minutes=20, points=4,
    solution="resnet_tutorial.solutions.chapter08:train_epochs",
)
def check_train_epochs(train: Any, expect: Expectations) -> None:
    """Two runs with a network and an optimiser that note what is done with them, and images that have numbers."""
    # The error rises in the second epoch: whoever stops there, or keeps the best, is seen.
    for setting in (
        Setting(25, 23, 7, 4, wrong=(20, 9, 15, 12, 4), training=True),
        Setting(24, 1003, 6, 2, wrong=(800, 411, 217), training=False),
    ):
        seen = run(train, setting)
        if not (_keeps_what_it_gets(seen, expect) and _trains(seen, expect)
                and _makes_the_batches(seen, expect) and _shuffles(seen, expect)):  # fmt: skip
            return
        # These do not depend on each other: all that is wrong is said at once.
        holds = [part(seen, expect) for part in (_augments, _learns, sets_the_rate, measures)]
        if not all(holds):
            return


def _keeps_what_it_gets(seen: Run, expect: Expectations) -> bool:
    return expect(
        not seen.modified, "input-modified", f"After the call {' and '.join(seen.modified)} hold other numbers.",
        hint="Assign nothing to the tensors that are handed over, and use no method whose name ends in _.",
    ) and expect(
        seen.recording, "gradients-left-off", "After the call PyTorch records no gradients any more, whoever computes.",
        hint="with torch.no_grad(): ends by itself; torch.set_grad_enabled(False) stays.",
    )  # fmt: skip


def _trains(seen: Run, expect: Expectations) -> bool:
    """Look at whether each batch's loss is sent backwards and followed by a step."""
    trained, steps = seen.log.trained, seen.log.steps
    val = sum(int(look.val.sum()) for look in trained)
    return expect(
        bool(trained), "no-backward",
        f"The network was called {len(seen.log.looks)} times, and no loss was ever sent backwards.",
        hint="Call train_step(model, optimizer, ...) for each batch of each epoch.",
    ) and expect(
        not val, "trained-on-val", f"{val} times the network was trained on a validation image.",
        hint="train_step gets images and labels; val_images and val_labels are for error_percent alone.",
    ) and expect(
        all(look.known for look in trained), "images-changed",
        "The network got pixels that are neither those of images nor augment's.",
        hint="The images are normalised already: a batch is images[chosen], and augment(batch) goes into the network.",
    ) and expect(
        bool(steps), "other-optimizer" if seen.moved and not steps else "no-step",
        f"{len(trained)} losses were sent backwards, and the optimiser that was handed over took no step.",
        hint="optimizer.step() after each backward(), with the optimizer of the argument.",
    ) and expect(
        len(steps) == len(trained) and all(step.backwards == k for k, step in enumerate(steps, 1)), "steps-missing",
        f"{len(trained)} losses were sent backwards, and the optimiser took {len(steps)} steps.",
        hint="One step for each batch, straight after its backward().",
    )  # fmt: skip


def _makes_the_batches(seen: Run, expect: Expectations) -> bool:
    """Look at the batches' sizes, and at whether each epoch has each image once."""
    setting = seen.setting
    count, batch = setting.count, setting.batch
    sizes = [len(look.numbers) for look in seen.log.trained]
    one_epoch = [min(batch, count - start) for start in range(0, count, batch)]
    if sizes != one_epoch * setting.epochs:
        return expect(False, *_odd_sizes(seen, sizes, one_epoch))
    for number, epoch in enumerate(seen.epochs, 1):
        missed, repeated = _never_and_twice(epoch, count)
        if not expect(
            not repeated, "images-repeated",
            f"In epoch {number} {repeated} of {count} images came more than once, and {missed} never.",
            hint="Draw an order of all images, torch.randperm(len(images)), and go through it in pieces.",
        ):
            return False
    return True


def _odd_sizes(seen: Run, sizes: list[int], one_epoch: list[int]) -> tuple[str, str, str]:
    """Return code, message and hint for batches that are not those asked for."""
    setting = seen.setting
    count, batch, epochs = setting.count, setting.batch, setting.epochs
    asked = f"{count} images in batches of {batch}, {epochs} epochs"
    rounds, rest = divmod(len(sizes), len(one_epoch))
    if not rest and sizes == one_epoch * rounds:
        return (
            "epochs-miscounted", f"It was asked for {epochs} epochs and trained for {rounds}.",
            "for _ in range(epochs): neither one more nor one less, and whatever the errors are.",
        )
    if max(sizes) != batch:
        return (
            "batch-size-ignored", f"{asked}: the largest batch had {max(sizes)} images.",
            "Cut the order of an epoch into pieces of batch_size: order.split(batch_size).",
        )
    if len(sizes) == seen.setting.steps and not any(any(_never_and_twice(looks, count)) for looks in seen.epochs):
        if _keeps_its_batches(seen):
            return "batches-stay-together", "Every epoch had the same images together in each batch.", _REORDER
        return (
            "short-batch-first", f"{asked}: the short batch came before others.",
            "Draw an order of the images, and cut it into pieces from its beginning: the short one comes last.",
        )
    full = count // batch
    parts = [seen.log.trained[start : start + full] for start in range(0, len(sizes), full)]
    twice = [_never_and_twice(looks, count)[1] for looks in parts]
    if any(twice):
        return (
            "images-repeated", f"{asked}: within {full} batches {max(twice)} images came more than once.",
            "Draw an order of all images, torch.randperm(len(images)), and go through it in pieces.",
        )
    if sizes == [batch] * full * epochs:
        return (
            "last-batch-dropped",
            f"{asked}: each epoch had {full} batches, and the last {count - full * batch} images of its order "
            "were left out.",
            "order.split(batch_size) keeps the short last piece; so does range(0, len(images), batch_size).",
        )
    return (
        "wrong-batches", f"{asked}: the batches had {', '.join(map(str, sizes[:12]))} … images.",
        f"Each epoch should have batches of {', '.join(map(str, one_epoch))}.",
    )


def _never_and_twice(looks: list[Look], count: int) -> tuple[int, int]:
    """Return how many of the training images these calls left out, and how many they had more than once."""
    times = torch.bincount(torch.cat([look.numbers for look in looks]).clamp(0, count - 1), minlength=count)
    return int((times == 0).sum()), int((times > 1).sum())


_REORDER = (
    "Draw a new order at the beginning of each epoch: torch.randperm(len(images)), inside the loop over epochs."
)


def _shuffles(seen: Run, expect: Expectations) -> bool:
    """Look at the order: by chance two are equal, or keep their batches, less than once in 10**12 runs."""
    orders = [torch.cat([look.numbers for look in epoch]).tolist() for epoch in seen.epochs]
    stored = [number for number, order in enumerate(orders, 1) if order == sorted(order)]
    again = [number for number, order in enumerate(orders, 1) if order in orders[: number - 1]]
    # All epochs alike are told first: batches that stay together may lie in the stored order once by chance.
    alike = len(stored) == len(orders) or len(again) == len(orders) - 1
    if not alike and not expect(
        not _keeps_its_batches(seen), "batches-stay-together",
        "Every epoch had the same images together in each batch; only the batches' order was new.", hint=_REORDER,
    ):
        return False
    # Neighbours that stay together: two or so by chance, sixteen less than once in 10**9 runs.
    together = max(sum(abs(a - b) == 1 for a, b in zip(order, order[1:], strict=False)) for order in orders)
    return expect(
        not stored, "not-shuffled",
        f"In {len(stored)} of {len(orders)} epochs the images came in the order in which they are stored.",
        hint=_REORDER,
    ) and expect(
        not again, "same-order-again",
        f"Of {len(orders)} epochs {len(again)} had the images in the order of an epoch before.", hint=_REORDER,
    ) and expect(
        together < 16, "hardly-shuffled",
        f"In an epoch {together} of {len(orders[0]) - 1} images came right beside one that is stored beside them.",
        hint=_REORDER,
    )  # fmt: skip


def _keeps_its_batches(seen: Run) -> bool:
    groups = [{frozenset(look.numbers.tolist()) for look in epoch} for epoch in seen.epochs]
    return all(group == groups[0] for group in groups)


def _augments(seen: Run, expect: Expectations) -> bool:
    """Look at whether each image comes augmented, once, and differently in each epoch."""
    looks, calls = seen.log.trained, seen.log.augmented
    plain = sum(int((look.times == 0).sum()) for look in looks)
    called = f"augment was called {calls} times, but" if calls else "augment was never called:"
    if not expect(
        not plain, "not-augmented",
        f"{called} of {sum(len(look.numbers) for look in looks)} training images {plain} came as they are stored.",
        hint="What augment(batch) returns goes into the network; batch itself stays as it was.",
    ):
        return False
    most = max(int(look.times.max()) for look in looks)
    if not expect(
        most == 1, "augmentation-piles-up", f"A training image had been augmented {most} times, one upon the other.",
        hint="Augment the stored images, and do not store the result under their name.",
    ):
        return False
    versions: dict[int, list[int]] = {}
    for look in looks:
        for number, version in zip(look.numbers.tolist(), look.versions.tolist(), strict=True):
            versions.setdefault(number, []).append(version)
    same = sum(len(set(own)) < len(own) for own in versions.values())
    return expect(
        not same, "augmented-once",
        f"{same} of {len(versions)} images came in the same augmented version in more than one epoch.",
        hint="Call augment inside the loop, for each batch: a new version every time.",
    )


def _learns(seen: Run, expect: Expectations) -> bool:
    """Look at mode, labels, loss and gradients of each step."""
    trained, per_epoch = seen.log.trained, seen.setting.per_epoch
    first = next((k for k, look in enumerate(trained) if not all(look.modes)), 0)
    if not expect(
        all(trained[first].modes), "trained-in-eval-mode",
        f"From step {first} on (epoch {first // per_epoch + 1}) the network was in eval mode while it was trained.",
        hint="model.train() before each step, as train_step does: measuring puts the network into eval mode.",
    ):
        return False
    wrong = sum(_foreign_labels(look, seen.setting.labels) for look in trained)
    if not expect(
        not wrong, "labels-mixed", f"{wrong} of {sum(len(look.numbers) for look in trained)} times an image came "
        "with a label that is not its own.",
        hint="Index both with the same numbers: images[chosen] and labels[chosen].",
    ):
        return False
    right = [_cross_entropy_pull(look, seen.setting.labels) for look in trained]
    pulls = [look.pull for look in trained]
    summed = all(map(_close, pulls, [pull * len(pull) for pull in right]))
    if not expect(
        all(map(_close, pulls, right)), "sum-not-mean" if summed else "wrong-loss",
        "The gradient at the scores is that of the batch's summed cross-entropy, not of its mean." if summed else
        "The gradient at the scores is not that of the batch's mean cross-entropy.",
        hint="F.cross_entropy(model(batch), labels), which takes scores and gives the mean; train_step does that.",
    ):
        return False
    return _steps_along_its_own_gradients(seen, expect)


def _foreign_labels(look: Look, labels: Tensor) -> int:
    """Return how many images pulled towards another label: the gradient at its score is the negative one."""
    assert look.pull is not None
    told = look.pull.abs().amax(1) > 1e-7
    return int((told & (look.pull.argmin(1) != labels[look.numbers])).sum())


def _cross_entropy_pull(look: Look, labels: Tensor) -> Tensor:
    target = F.one_hot(labels[look.numbers], look.scores.shape[1])
    return (look.scores.softmax(1) - target) / len(look.numbers)


def _close(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return torch.allclose(one, other, rtol=1e-4, atol=1e-6)


def _steps_along_its_own_gradients(seen: Run, expect: Expectations) -> bool:
    own = [look.gradients() for look in seen.log.trained]
    for number, step in enumerate(seen.log.steps):
        if all(map(_close, step.gradients, own[number])):
            continue
        code, hint = "wrong-gradients", "For each batch, in this order: zero_grad(), backward(), step()."
        words = "not those of its batch"
        sums = [[sum(parts) for parts in zip(*own[first : number + 1], strict=True)] for first in range(number)]
        if any(all(map(_close, step.gradients, parts)) for parts in sums):
            code, words = "gradients-accumulate", "those of several batches, added up"
            hint = "backward() adds to .grad: call optimizer.zero_grad() for each batch."
        elif not any(gradient is not None and gradient.any() for gradient in step.gradients):
            code, words = "gradients-cleared", "zero or missing"
            hint = "zero_grad() comes before backward() or after step(), never between the two."
        return expect(False, code, f"The gradients with which step {number} was taken are {words}.", hint=hint)
    return expect(True, "gradients-accumulate", "")
