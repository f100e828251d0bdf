"""Exercise 8.6: whole loops in other styles pass, and what is wrong in one is named."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from resnet_tutorial import check
from resnet_tutorial.solutions.chapter08 import error_percent, train_epochs, train_step


def set_rate(optimizer, value):
    for group in optimizer.param_groups:
        group["lr"] = value


class Loop:
    """A loop of replaceable parts. Each fault replaces one."""

    def begin(self):
        """Do what is done once, before the first epoch."""

    def order(self, epoch):
        return torch.randperm(len(self.images))

    def batches(self, order):
        return order.split(self.size)

    def before_epoch(self, epoch):
        """Do what is done before an epoch's first batch."""

    def schedule(self, step, epoch, within):
        set_rate(self.optimizer, self.rate(step))

    def scheduled_late(self, step, epoch, within):
        """Do what is done to the rate after the step."""

    def batch(self, chosen):
        return self.augment(self.images[chosen])

    def labels_of(self, chosen):
        return self.labels[chosen]

    def learn(self, batch, labels):
        train_step(self.model, self.optimizer, batch, labels)

    def measure(self):
        return error_percent(self.model, self.val_images, self.val_labels)

    def rounds(self):
        return range(self.epochs)

    def result(self, errors):
        return errors

    def after_epoch(self, errors):
        errors.append(self.measure())

    def __call__(self, model, optimizer, rate, augment, images, labels, val_images, val_labels, epochs, batch_size):
        self.model, self.optimizer, self.rate, self.augment = model, optimizer, rate, augment
        self.images, self.labels, self.epochs, self.size = images, labels, epochs, batch_size
        self.val_images, self.val_labels = val_images, val_labels
        self.steps_per_epoch = math.ceil(len(images) / batch_size)
        self.begin()
        errors, step = [], 0
        for epoch in self.rounds():
            self.before_epoch(epoch)
            for within, chosen in enumerate(self.batches(self.order(epoch))):
                self.schedule(step, epoch, within)
                self.learn(self.batch(chosen), self.labels_of(chosen))
                self.scheduled_late(step, epoch, within)
                step += 1
            self.after_epoch(errors)
        return self.result(errors)


def loop(**parts):
    return type("Loop", (Loop,), parts)()


def first_fault(report):
    return next((f.code for f in report.findings if not f.ok), None)


# --- right in other styles


def by_loader(model, optimizer, rate, augment, images, labels, val_images, val_labels, epochs, batch_size):
    loader = DataLoader(TensorDataset(images, labels), batch_size=batch_size, shuffle=True)
    val_loader = DataLoader(TensorDataset(val_images, val_labels), batch_size=64)
    errors, step = [], 0
    for _ in range(epochs):
        model.train()
        for x, y in loader:
            for group in optimizer.param_groups:
                group["lr"] = rate(step)
            step += 1
            loss = F.cross_entropy(model(augment(x)), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)
        model.eval()
        with torch.inference_mode():
            wrong = sum(int((model(x).argmax(1) != y).sum()) for x, y in val_loader)
        errors.append(100 * wrong / len(val_images))
    return errors


def by_index_select(model, optimizer, rate, augment, images, labels, val_images, val_labels, epochs, batch_size):
    """NumPy's order, a while loop over steps, the loss of log-probabilities, all validation images at once."""
    count = len(images)
    per_epoch = -(-count // batch_size)
    errors = []
    step = 0
    while step < epochs * per_epoch:
        if step % per_epoch == 0:
            order = torch.from_numpy(np.random.permutation(count))
        start = step % per_epoch * batch_size
        chosen = order[start : start + batch_size]
        for number in range(len(optimizer.param_groups)):
            optimizer.param_groups[number]["lr"] = rate(step)
        optimizer.zero_grad()
        model.train()
        scores = model(augment(images.index_select(0, chosen)))
        loss = -scores.log_softmax(1).gather(1, labels[chosen, None]).sum() / len(chosen)
        loss.backward()
        optimizer.step()
        step += 1
        if step % per_epoch == 0:
            model.eval()
            with torch.no_grad():
                wrong = model(val_images).argmax(dim=1).ne(val_labels)
            errors.append(np.float64(100 * wrong.double().mean().item()))
    return tuple(errors)


def by_scheduler(model, optimizer, rate, augment, images, labels, val_images, val_labels, epochs, batch_size):
    base = optimizer.param_groups[0]["lr"]
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step) / base)
    errors = []
    for _ in range(epochs):
        for chosen in torch.randperm(len(images)).split(batch_size):
            train_step(model, optimizer, augment(images[chosen]), labels[chosen])
            scheduler.step()
        errors.append(error_percent(model, val_images, val_labels, batch_size))
    return errors


def whole_set_anew(self, epoch):
    """Augment all images at the beginning of each epoch: new versions all the same."""
    self.now = self.augment(self.images)


def rates_beforehand(self):
    self.rates = [self.rate(step) for step in range(self.epochs * self.steps_per_epoch)]


def one_by_one(self, chosen):
    return torch.cat([self.augment(self.images[k : k + 1]) for k in chosen.tolist()])


def also_on_training_images(self, errors):
    error_percent(self.model, self.images, self.labels)
    errors.append(self.measure())


def by_closure(self, batch, labels):
    self.model.train()

    def closure():
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(batch), labels)
        loss.backward()
        return loss

    self.optimizer.step(closure)


def stack_of_singles(self):
    self.model.eval()
    with torch.no_grad():
        wrong = [int(self.model(x[None]).argmax() != y) for x, y in zip(self.val_images, self.val_labels, strict=True)]
    return 100 * sum(wrong) / len(wrong)


RIGHT = {
    "solution": train_epochs,
    "loop": loop(),
    "loader": by_loader,
    "index_select": by_index_select,
    "LambdaLR": by_scheduler,
    "whole set anew": loop(before_epoch=whole_set_anew, batch=lambda self, chosen: self.now[chosen]),
    "rates beforehand": loop(
        begin=rates_beforehand,
        schedule=lambda self, step, epoch, within: set_rate(self.optimizer, self.rates[step])),
    "one by one": loop(batch=one_by_one),
    "training error too": loop(after_epoch=also_on_training_images),
    "a step with a closure": loop(learn=by_closure),
    "one validation image at a time": loop(measure=stack_of_singles),
    "all of them at once": loop(measure=lambda self: error_percent(self.model, self.val_images, self.val_labels, 9999)),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_right_loops_pass(name):
    report = check.train_epochs(RIGHT[name])
    assert report.passed, report


def test_the_stub_is_not_attempted():
    def stub(*arguments):
        raise NotImplementedError()

    assert not check.train_epochs(stub).attempted


# --- the rate


def rated(change):
    return loop(schedule=change)


def only_first_group(self, step, epoch, within):
    self.optimizer.param_groups[0]["lr"] = self.rate(step)


def rate_at_epochs_end(self, errors):
    errors.append(self.measure())
    set_rate(self.optimizer, self.rate(len(errors)))


def scheduler_per_epoch(model, optimizer, rate, augment, images, labels, val_images, val_labels, epochs, batch_size):
    base = optimizer.param_groups[0]["lr"]
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step) / base)
    errors = []
    for _ in range(epochs):
        for chosen in torch.randperm(len(images)).split(batch_size):
            train_step(model, optimizer, augment(images[chosen]), labels[chosen])
        scheduler.step()
        errors.append(error_percent(model, val_images, val_labels))
    return errors


def nothing(*arguments):
    return None


RATES = {
    "of the epoch": (rated(lambda s, k, e, i: set_rate(s.optimizer, s.rate(e))), "rate-per-epoch"),
    "of the epoch, from 1": (rated(lambda s, k, e, i: set_rate(s.optimizer, s.rate(e + 1))), "rate-per-epoch"),
    "asked once an epoch": (
        loop(schedule=nothing, before_epoch=lambda s, e: set_rate(s.optimizer, s.rate(e * s.steps_per_epoch))),
        "rate-per-epoch"),
    "set at an epoch's end": (loop(schedule=nothing, after_epoch=rate_at_epochs_end), "rate-per-epoch"),
    "scheduler stepped once an epoch": (scheduler_per_epoch, "rate-per-epoch"),
    "counter restarts": (rated(lambda s, k, e, i: set_rate(s.optimizer, s.rate(i))), "rate-restarts"),
    "counted from 1": (rated(lambda s, k, e, i: set_rate(s.optimizer, s.rate(k + 1))), "rate-one-ahead"),
    "set after the step": (
        loop(schedule=nothing, scheduled_late=lambda s, k, e, i: set_rate(s.optimizer, s.rate(k))),
        "rate-after-step"),
    "never set": (rated(lambda s, k, e, i: s.rate(k)), "rate-not-set"),
    "put elsewhere": (rated(lambda s, k, e, i: setattr(s.optimizer, "lr", s.rate(k))), "rate-not-set"),
    "in the defaults": (rated(lambda s, k, e, i: s.optimizer.defaults.update(lr=s.rate(k))), "rate-not-set"),
    "never asked": (rated(nothing), "rate-not-asked"),
    "once": (loop(schedule=nothing, begin=lambda s: set_rate(s.optimizer, s.rate(0))), "rate-set-once"),
    "first group": (rated(only_first_group), "rate-in-one-group"),
    "of images seen": (rated(lambda s, k, e, i: set_rate(s.optimizer, s.rate(k * s.size))), "wrong-rate"),
    "of the share of epochs": (
        rated(lambda s, k, e, i: set_rate(s.optimizer, s.rate(e + i / s.steps_per_epoch))), "wrong-rate"),
}  # fmt: skip

# --- the images


def shuffled_once(self):
    self.fixed = torch.randperm(len(self.images))


def augmented_once(self):
    self.now = self.augment(self.images)


def piles_up(self, epoch):
    self.images = self.augment(self.images)


def shuffled_batches(self, order):
    parts = torch.arange(len(order)).split(self.size)
    return [parts[k] for k in torch.randperm(len(parts))]


def all_but_the_last_shuffled(self, order):
    *parts, last = order.split(self.size)
    return [*(parts[k] for k in torch.randperm(len(parts))), last]


def short_one_second(self, order):
    first, *others, last = order.split(self.size)
    return [first, last, *others]


def sampler_with_replacement(model, optimizer, rate, augment, images, labels, val_images, val_labels, epochs, size):
    data = TensorDataset(images, labels)
    loader = DataLoader(data, batch_size=size, sampler=RandomSampler(data, replacement=True))
    errors, step = [], 0
    for _ in range(epochs):
        for x, y in loader:
            set_rate(optimizer, rate(step))
            train_step(model, optimizer, augment(x), y)
            step += 1
        errors.append(error_percent(model, val_images, val_labels))
    return errors


def filled_up(self, order):
    return torch.cat([order, order[: -len(order) % self.size]]).split(self.size)


def shuffled_without_labels(self, epoch):
    self.now = self.augment(self.images)[torch.randperm(len(self.images))]


def in_place(self, epoch):
    self.images.copy_(self.augment(self.images))


def sorts_in_place(self, epoch):
    order = torch.randperm(len(self.images))
    self.images[:], self.labels[:] = self.images[order].clone(), self.labels[order].clone()


def normalises_again(self, chosen):
    return (self.augment(self.images[chosen]) - 0.3) / 0.2


def stored_order(self, epoch):
    return torch.arange(len(self.images))


def both_sets(self):
    self.images = torch.cat([self.images, self.val_images])
    self.labels = torch.cat([self.labels, self.val_labels])


def stops_early(model, optimizer, rate, augment, images, labels, val_images, val_labels, epochs, batch_size):
    errors, step = [], 0
    for _ in range(epochs):
        for chosen in torch.randperm(len(images)).split(batch_size):
            set_rate(optimizer, rate(step))
            train_step(model, optimizer, augment(images[chosen]), labels[chosen])
            step += 1
        errors.append(error_percent(model, val_images, val_labels))
        if len(errors) > 1 and errors[-1] > errors[-2]:
            break
    return errors


IMAGES = {
    "not augmented": (loop(batch=lambda s, chosen: s.images[chosen]), "not-augmented"),
    "augmented for nothing": (loop(batch=lambda s, chosen: [s.images[chosen], s.augment(s.images[chosen])][0]),
                              "not-augmented"),
    "first epoch plain": (loop(batch=lambda s, chosen: s.images[chosen] if len(s.optimizer.state) == 0
                               else s.augment(s.images[chosen])), "not-augmented"),
    "augmented once": (loop(begin=augmented_once, batch=lambda s, chosen: s.now[chosen]), "augmented-once"),
    "augmented each epoch upon the last": (
        loop(before_epoch=piles_up, batch=lambda s, chosen: s.images[chosen]), "augmentation-piles-up"),
    "augmented twice": (loop(batch=lambda s, chosen: s.augment(s.augment(s.images[chosen]))), "augmentation-piles-up"),
    "labels left behind": (loop(labels_of=lambda s, chosen: s.labels[: len(chosen)]), "labels-mixed"),
    "set shuffled without its labels": (
        loop(before_epoch=shuffled_without_labels, batch=lambda s, chosen: s.now[chosen]), "labels-mixed"),
    "another order for the labels": (
        loop(labels_of=lambda s, chosen: s.labels[torch.randperm(len(s.labels))[: len(chosen)]]), "labels-mixed"),
    "not shuffled": (loop(order=stored_order), "not-shuffled"),
    "shuffled once": (loop(begin=shuffled_once, order=lambda s, epoch: s.fixed), "same-order-again"),
    "the seed set anew": (loop(before_epoch=lambda s, e: torch.manual_seed(0) and None), "same-order-again"),
    "batches shuffled": (loop(batches=shuffled_batches), "batches-stay-together"),
    "order turned": (
        loop(order=lambda s, epoch: torch.arange(len(s.images)).roll(3 + 4 * epoch)), "hardly-shuffled"),
    "same batches in another order": (
        loop(begin=shuffled_once, order=lambda s, epoch: s.fixed, batches=all_but_the_last_shuffled),
        "batches-stay-together"),
    "short batch first": (
        loop(batches=lambda s, order: [order[: len(order) % s.size], *order[len(order) % s.size :].split(s.size)]
             if len(order) % s.size else order.split(s.size)), "short-batch-first"),
    "short batch second": (loop(batches=short_one_second), "short-batch-first"),
    "with replacement": (
        loop(order=lambda s, epoch: torch.randint(len(s.images), (len(s.images),))), "images-repeated"),
    "a sampler with replacement": (sampler_with_replacement, "images-repeated"),
    "each batch drawn by itself": (
        loop(batches=lambda s, order: [torch.randperm(len(order))[: s.size] for _ in range(s.steps_per_epoch)]),
        "images-repeated"),
    "last batch filled up": (loop(batches=filled_up), "images-repeated"),
    "last batch dropped": (
        loop(batches=lambda s, order: order[: len(order) // s.size * s.size].split(s.size)), "last-batch-dropped"),
    "range over whole batches": (
        loop(batches=lambda s, order: [order[k * s.size : (k + 1) * s.size] for k in range(len(order) // s.size)]),
        "last-batch-dropped"),
    "batches of 64": (loop(batches=lambda s, order: order.split(64)), "batch-size-ignored"),
    "batches of one": (loop(batches=lambda s, order: order.split(1)), "batch-size-ignored"),
    "in place": (loop(before_epoch=in_place, batch=lambda s, chosen: s.images[chosen]), "input-modified"),
    "sorted in place": (loop(before_epoch=sorts_in_place, order=stored_order), "input-modified"),
    "normalised again": (loop(batch=normalises_again), "images-changed"),
    "on validation images": (loop(begin=both_sets), "trained-on-val"),
}  # fmt: skip

# --- the steps


def learns(*, clear=True, back=True, step=True, mode=True, loss=F.cross_entropy, late=False, early_step=False):
    def learn(self, batch, labels):
        if mode:
            self.model.train()
        value = loss(self.model(batch), labels)
        if clear and not late:
            self.optimizer.zero_grad()
        if early_step:
            self.optimizer.step()
        if back:
            value.backward()
        if clear and late:
            self.optimizer.zero_grad()
        if step and not early_step:
            self.optimizer.step()

    return learn


def step_at_epochs_end(self, errors):
    self.optimizer.step()
    errors.append(self.measure())


def its_own_optimizer(self):
    self.optimizer = torch.optim.SGD(self.model.body.parameters(), lr=0.1)


def leaves_eval_mode(self):
    self.model.eval()
    with torch.no_grad():
        return 100 * (self.model(self.val_images).argmax(1) != self.val_labels).double().mean().item()


def to_train_mode(self, epoch=None):
    self.model.train()


STEPS = {
    "never cleared": (loop(learn=learns(clear=False)), "gradients-accumulate"),
    "cleared once an epoch": (
        loop(learn=learns(clear=False), before_epoch=lambda s, e: s.optimizer.zero_grad()), "gradients-accumulate"),
    "cleared before the step": (loop(learn=learns(late=True)), "gradients-cleared"),
    "step before backward": (loop(learn=learns(early_step=True)), "steps-missing"),
    "no step": (loop(learn=learns(step=False)), "no-step"),
    "a step an epoch": (loop(learn=learns(step=False), after_epoch=step_at_epochs_end), "steps-missing"),
    "no backward": (loop(learn=learns(back=False)), "no-backward"),
    "its own optimizer": (loop(begin=its_own_optimizer), "other-optimizer"),
    "eval mode from the second epoch on": (
        loop(begin=to_train_mode, learn=learns(mode=False), measure=leaves_eval_mode), "trained-in-eval-mode"),
    "eval mode as it came": (loop(learn=learns(mode=False)), "trained-in-eval-mode"),
    "summed loss": (loop(learn=learns(loss=lambda s, y: F.cross_entropy(s, y, reduction="sum"))), "sum-not-mean"),
    "softmax twice": (loop(learn=learns(loss=lambda s, y: F.cross_entropy(s.softmax(1), y))), "wrong-loss"),
    "one epoch less": (loop(rounds=lambda s: range(1, s.epochs)), "epochs-miscounted"),
    "one epoch more": (loop(rounds=lambda s: range(s.epochs + 1)), "epochs-miscounted"),
    "stopped early": (stops_early, "epochs-miscounted"),
    "returned in the first epoch": (
        lambda *a: loop(rounds=lambda s: range(1))(*a), "epochs-miscounted"),
}  # fmt: skip

# --- the measurements


def measured(*, evaluate=True, record=False, images=None, labels=None, size=500,
             give=lambda wrong, sizes: 100 * sum(wrong) / sum(sizes)):  # fmt: skip
    def measure(self):
        x = self.val_images if images is None else images(self)
        y = self.val_labels if labels is None else labels(self)
        self.model.train(not evaluate)
        wrong, sizes = [], []
        with torch.set_grad_enabled(record):
            for start in range(0, len(x), size):
                scores = self.model(x[start : start + size])
                wrong.append((scores.argmax(1) != y[start : start + size]).sum().item())
                sizes.append(len(scores))
        return give(wrong, sizes)

    return measure


def mean_of_batches(wrong, sizes):
    return 100 * sum(w / n for w, n in zip(wrong, sizes, strict=True)) / len(sizes)


def before_instead(self, epoch):
    self.early = [*getattr(self, "early", []), self.measure()] if epoch else [self.measure()]


def only_at_the_end(self, errors):
    return [self.measure()]


def all_whole(self):
    kept = len(self.val_images) // 7 * 7
    return measured(images=lambda s: s.val_images[:kept], labels=lambda s: s.val_labels[:kept])(self)


def puts_other_weights(self, errors):
    with torch.no_grad():
        for parameter in self.model.body.parameters():
            parameter.zero_()
    return errors


def no_gradients_ever_after(self, errors):
    errors.append(self.measure())
    if len(errors) == self.epochs:
        torch.set_grad_enabled(False)


def val_loader_augments(self, epoch):
    self.val_images = self.augment(self.val_images) if epoch == 0 else self.val_images


def returning(change):
    return loop(result=lambda self, errors: change(errors))


MEASURED = {
    "augmented": (loop(measure=measured(images=lambda s: s.augment(s.val_images))), "val-images-augmented"),
    "augmented once, beforehand": (loop(before_epoch=val_loader_augments), "val-images-augmented"),
    "normalised again": (loop(measure=measured(images=lambda s: (s.val_images - 0.3) / 0.2)), "val-images-changed"),
    "in training mode": (loop(measure=measured(evaluate=False)), "measured-in-train-mode"),
    "with gradients": (loop(measure=measured(record=True)), "gradients-recorded"),
    "accuracy": (loop(measure=measured(give=lambda w, n: 100 - 100 * sum(w) / sum(n))), "accuracy"),
    "accuracy's share": (loop(measure=measured(give=lambda w, n: 1 - sum(w) / sum(n))), "wrong-value"),
    "fraction": (loop(measure=measured(give=lambda w, n: sum(w) / sum(n))), "share-not-percent"),
    "count": (loop(measure=measured(give=lambda w, n: sum(w))), "count-not-percent"),
    "mean of batches": (loop(measure=measured(size=10, give=mean_of_batches)), "batches-equal"),
    "mean of batches of 500": (loop(measure=measured(size=500, give=mean_of_batches)), "batches-equal"),
    "short batch left out": (loop(measure=all_whole), "val-images-missed"),
    "before the epoch": (
        loop(before_epoch=before_instead, after_epoch=nothing, result=lambda s, errors: s.early),
        "measured-before-epoch"),
    "once, at the end": (loop(after_epoch=nothing, result=only_at_the_end), "measured-once"),
    "the last, repeated": (
        loop(after_epoch=nothing, result=lambda s, e: [s.measure()] * s.epochs), "measured-once"),
    "on training images": (
        loop(measure=measured(images=lambda s: s.images, labels=lambda s: s.labels)), "measured-on-training-images"),
    "not at all": (loop(measure=lambda s: 50.0), "not-measured"),
    "after each step": (
        loop(after_epoch=nothing, begin=lambda s: setattr(s, "all", []),
             scheduled_late=lambda s, k, e, i: s.all.append(s.measure()), result=lambda s, errors: s.all),
        "wrong-length"),
    "None": (returning(nothing), "nothing-returned"),
    "the smallest": (returning(min), "one-number"),
    "the last": (returning(lambda errors: errors[-1]), "one-number"),
    "the smallest so far": (
        returning(lambda errors: [min(errors[: k + 1]) for k in range(len(errors))]), "best-epoch-chosen"),
    "tensors": (returning(lambda errors: [torch.tensor(e) for e in errors]), "tensors-returned"),
    "one tensor": (returning(torch.tensor), "wrong-type"),
    "texts": (returning(lambda errors: [f"{e:.1f} %" for e in errors]), "wrong-type"),
    "a dictionary": (returning(lambda errors: dict(enumerate(errors))), "wrong-type"),
    "rounded": (returning(lambda errors: [round(e, 1) for e in errors]), "rounded"),
    "the wrong way round": (returning(lambda errors: errors[::-1]), "wrong-order"),
    "other weights left behind": (loop(result=puts_other_weights), "weights-exchanged"),
    "gradients off for ever": (loop(after_epoch=no_gradients_ever_after), "gradients-left-off"),
}  # fmt: skip

WRONG = {
    f"{part}: {name}": case
    for part, cases in (("rate", RATES), ("images", IMAGES), ("step", STEPS), ("measured", MEASURED))
    for name, case in cases.items()
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_loops_are_named(name):
    attempt, code = WRONG[name]
    report = check.train_epochs(attempt)
    assert not report.passed and first_fault(report) == code, report
